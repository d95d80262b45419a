/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host asks of the zygote: one message for each new process, with
 * the descriptors of the memory that it is to see; one answer. And to kill
 * one, where the host has lost the right to (it gave up its user id).
 */
#ifndef KAON_SRC_BACKEND_PROCESS_SPAWN_H
#define KAON_SRC_BACKEND_PROCESS_SPAWN_H

#include <stdint.h>

/* The zygote finds these open, and nothing else. */
#define KAON_ZYGOTE_SOCKET 3 /* SOCK_SEQPACKET, to the host */
#define KAON_ZYGOTE_HOST 4   /* a pidfd of the host */

#define KAON_SPAWN_MAPS 64
#define KAON_SPAWN_MEMORIES 32

struct kaon_spawn_map {
    uint64_t address, size, offset; /* in bytes; whole pages */
    uint32_t memory;                /* index of the descriptor */
    uint32_t protection;            /* PROT_* */
};

struct kaon_spawn {
    uint64_t id;           /* of the request */
    uint64_t start;        /* guest addresses in the gate: locks itself in, */
    uint64_t handler;      /* handles each fault */
    uint32_t memory_count; /* descriptors that come with it */
    uint32_t map_count;    /* 0: kill the process whose pidfd is the memory;
                              without one, the last that was made */
    uint32_t kept;         /* index of the descriptor that it keeps: its */
    uint32_t by_token;     /* tokens, beside a new witness, or else that */
    uint32_t pipe;         /* a new witness is to be one */
    uint32_t reserved;
    struct kaon_spawn_map maps[KAON_SPAWN_MAPS]; /* later ones lie on top */
};

/* The answer; if error is 0, with a pidfd of the new process and, by token, its
 * witness: an eventfd, or the end of a pipe. */
struct kaon_spawned {
    uint64_t id;
    int32_t error; /* errno */
    uint32_t reserved;
};

#endif

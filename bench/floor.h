/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare floor: the least that a program must do to run a guest, without
 * any of Kaon. One for each backend.
 */
#ifndef KAON_BENCH_FLOOR_H
#define KAON_BENCH_FLOOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* A bare guest that leaves and leaves again. */
struct floor_guest {
    int vm, vcpu;    /* of KVM */
    void *run;       /* of the vCPU */
    int fd, process; /* of a process: its memory, and its id */
    unsigned char *memory;
    pthread_t thread; /* runs the vCPU from start() to stop() */
};
#define FLOOR_GUEST_NONE                      \
    ((struct floor_guest){ .vm = -1,          \
                           .vcpu = -1,        \
                           .run = MAP_FAILED, \
                           .fd = -1,          \
                           .process = -1,     \
                           .memory = MAP_FAILED })

/* Whose turn it is, and whether the guest goes on spinning. */
struct floor_words {
    uint32_t turn, spins;
};
enum { FLOOR_HOST, FLOOR_GUEST };

struct floor {
    const char *backend; /* what kaon_sandbox_backend() calls it */

    /*
     * Learns what is the same for all guests. All three return false with
     * errno, and what failed in *what.
     */
    bool (*learn)(const char **what);

    /* A new guest, with everything but its first entry. */
    bool (*create)(struct floor_guest *guest, const char **what);

    /* Enters the guest, until it leaves. */
    bool (*trip)(struct floor_guest *guest, const char **what);

    void (*destroy)(struct floor_guest *guest);

    /*
     * Has the guest spin on these words instead of leaving, on another CPU,
     * until stop(). NULL with errno; floor_ping() is for in between.
     */
    struct floor_words *(*start)(struct floor_guest *guest, const char **what);
    bool (*stop)(struct floor_guest *guest, const char **what);
};

extern const struct floor floor_kvm, floor_process;

/* Gives the turn away and spins until it is back; false with errno. */
bool floor_ping(struct floor_words *words);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/guest_host.h - the guest library as a guest uses it, natively
 *
 * A guest is ordinary code, and all that it needs of the machine around it is
 * the gate. Here the gate is a jump into this program, which plays the host: it
 * answers host calls where they are made, runs posted ones at each exit, and
 * jumps out when the guest has answered. The test is the guest: it exports and
 * imports functions as any, and has its own kaon__constructors_run().
 */
#ifndef KAON_TESTS_GUEST_HOST_H
#define KAON_TESTS_GUEST_HOST_H

#include <setjmp.h>
#include <kaon/guest.h>

#include "abi/wire.h"
#include "guest/dispatch.h"
#include "support/harness.h"

#define AREA_SIZE (256u << 10)
#define HEAP_SIZE (1u << 20)

extern const struct kaon__record __start_kaon_exports[], __stop_kaon_exports[];
extern const struct kaon__record __start_kaon_imports[];

extern unsigned char exchange[KAON_MAILBOX_SIZE + AREA_SIZE], heap[HEAP_SIZE];
extern struct kaon_mailbox *const mailbox;
extern const struct kaon_wire wire;

/* How the test answers a host call. */
struct answer {
    uint32_t kind;
    int32_t code;
    struct kaon_value value;
};

/* args is an array of 17: a call by name has its name first. answer is NULL
 * if the call was posted. */
extern void (*host)(uint32_t function, const struct kaon_value *args,
                    uint32_t count, struct answer *answer);
extern unsigned int host_calls, posted_calls, exits, restarts;
extern bool host_answers_badly;
extern jmp_buf answered;

/* A guest that was never entered. Its heap is what the last one left. */
void guest_host_begin(void);

/* Enters with the frame in the mailbox; comes back when the guest leaves. */
void run_guest(void);

/* Enters with a CALL; the answer's slot, if any, is in *result. */
struct kaon_frame enter(uint32_t function, const struct kaon_value *args,
                        uint32_t count, struct kaon_value *result);

uint32_t index_of(const char *name);

/* A call that must succeed. */
struct kaon_value call(const char *name, const struct kaon_value *args,
                       uint32_t count);

#define CALL(name, ...)                                 \
    call(name, (struct kaon_value[]){ __VA_ARGS__ },    \
         sizeof((struct kaon_value[]){ __VA_ARGS__ }) / \
             sizeof(struct kaon_value))

#endif

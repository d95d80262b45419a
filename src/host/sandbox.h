/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox inside the library. sandbox.c makes, lends and stops it, call.c
 * calls it.
 */
#ifndef KAON_SRC_HOST_SANDBOX_H
#define KAON_SRC_HOST_SANDBOX_H

#include <stdatomic.h>
#include <kaon/sandbox.h>

#include "host/domain.h"
#include "host/host_functions.h"
#include "host/memory.h"
#include "host/watch.h"

struct kaon_pool;
struct kaon_resident;
struct kaon_snapshot;

/*
 * A sandbox's state, and why a running one's call is to end before the guest
 * answers. They are one word, so that a stop hits the call that runs, from its
 * very beginning, and never the next. But for READY and POISONED, one thread
 * has the sandbox.
 */
enum kaon_life {
    KAON_LIFE_READY = KAON_SANDBOX_READY,
    KAON_LIFE_RUNNING = KAON_SANDBOX_RUNNING, /* a call, which can be stopped */
    KAON_LIFE_POISONED = KAON_SANDBOX_POISONED,
    KAON_LIFE_CANCELLED, /* a call that is to end; as is the next */
    KAON_LIFE_OVERDUE,
    KAON_LIFE_HELD, /* for what no other thread stops */
};

struct kaon_sandbox {
    struct kaon_pool *pool; /* whose it is, and its number there; or NULL */
    uint32_t number;

    struct kaon_image *image; /* a reference, as the next two */
    struct kaon_domain *domain;
    struct kaon_host_functions *functions;
    const struct kaon_host_entry **imports; /* by index, as in the image */
    struct kaon_memory *memory;
    uint64_t deadline_ns;

    _Atomic(enum kaon_life) life;

    /* The rest belongs to who has the sandbox running. */
    const struct kaon_vcpu_slot *last_slot; /* that ran the guest last */
    struct kaon_thread_pointers pointers;
    struct kaon_watch watch;
    uint64_t buffer_end; /* of kaon_sandbox_buffer(), an offset; 0 if none */
    uint64_t calls, host_calls, exits;
    unsigned char *copy; /* of strings and bytes, if exits do not stop it */
    size_t copy_room, copy_kept;
    struct kaon_resident *resident; /* a thread in the guest; or NULL */
    uint32_t spin_looks;            /* space_spin(), if resident so; or 0 */

    /* Other threads may stop a call: those that are about to are counted, and
     * a call does not end before they are done. The vCPU that they kick is
     * that of the call, if it has one yet, or the resident guest's. */
    _Atomic(struct kaon_vcpu *) running;
    atomic_uint stoppers;
};

/* One thread has the sandbox from here to kaon__sandbox_release(). */
enum kaon_status kaon__sandbox_claim(struct kaon_sandbox *sandbox,
                                     struct kaon_error *err);

/* The same for a call, which can be stopped, until it only holds it. */
enum kaon_status kaon__sandbox_claim_to_run(struct kaon_sandbox *sandbox,
                                            struct kaon_error *err);
static inline void kaon__sandbox_hold(struct kaon_sandbox *sandbox);

/* The same for one that may be poisoned. */
enum kaon_status kaon__sandbox_claim_any(struct kaon_sandbox *sandbox,
                                         bool *poisoned,
                                         struct kaon_error *err);

/* Of a sandbox that one has: its guest is left in the middle of something,
 * which it shall not go on with. */
void kaon__sandbox_halt(struct kaon_sandbox *sandbox);

/* Of a sandbox that one has, between calls: its guest runs not one more
 * instruction before the next. */
enum kaon_status kaon__sandbox_park(struct kaon_sandbox *sandbox,
                                    struct kaon_error *err);

/* Restores it and forgets what it did: it is as new. */
enum kaon_status kaon__sandbox_clean(struct kaon_sandbox *sandbox,
                                     struct kaon_snapshot *snapshot,
                                     struct kaon_error *err);

/* Of a call that somebody stopped: waits until he is done with it. */
void kaon__sandbox_await_stop(struct kaon_sandbox *sandbox);

static inline void kaon__sandbox_hold(struct kaon_sandbox *sandbox)
{
    if (atomic_exchange(&sandbox->life, KAON_LIFE_HELD) != KAON_LIFE_RUNNING)
        kaon__sandbox_await_stop(sandbox);
}

static inline void kaon__sandbox_release(struct kaon_sandbox *sandbox,
                                         bool poisoned)
{
    if (poisoned)
        kaon__sandbox_halt(sandbox);
    atomic_store_explicit(&sandbox->life,
                          poisoned ? KAON_LIFE_POISONED : KAON_LIFE_READY,
                          memory_order_release);
}

/* Maps what the options of a sandbox list, before it ever ran. */
enum kaon_status
kaon__sandbox_map_listed(struct kaon_sandbox *sandbox,
                         const struct kaon_sandbox_mapping *mappings,
                         size_t count, struct kaon_error *err);

/* Makes the running call end; nothing if none runs, or it ends already. */
void kaon__sandbox_stop(struct kaon_sandbox *sandbox, enum kaon_life why);

/* Could options have asked for just these sizes? */
bool kaon__sandbox_can_have(const struct kaon_sizes *sizes);

#endif

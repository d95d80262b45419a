/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool inside the library. pool.c has its life, pool_turn.c hands sandboxes
 * out and takes them back, pool_slot.c makes, cleans and ends them,
 * pool_worker.c is the pool's thread.
 *
 * Each sandbox has a slot, and a slot is in one place at a time:
 *
 *     empty     it has no sandbox
 *     ready     its sandbox is clean: on one of two stacks, or in a thread's
 *               pocket
 *     in use    somebody acquired it
 *     used      released, to be cleaned by the worker, or by who needs one
 *     held      by the thread that makes, cleans or ends its sandbox
 *
 * Whoever takes a slot from a stack or pocket has it alone. What is clean is
 * decided in one place: only what pool_slot.c made or cleaned since its last
 * use is given to `ready`.
 *
 * Threads that push hold nothing else of the pool afterwards: it may be freed
 * at once. Who is about to wait, or to end the pool, shuts stacks and pockets
 * first (stack.h). Those who then find them shut take the lock instead.
 */
#ifndef KAON_SRC_HOST_POOL_H
#define KAON_SRC_HOST_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <kaon/pool.h>

#include "host/stack.h"

#define KAON_POOL_NONE KAON_STACK_NONE

struct kaon_pool_slot {
    _Alignas(64) struct kaon_sandbox *sandbox;
    uint64_t first_bytes; /* that it had touched when it was made */
    atomic_bool in_use;
    _Atomic(uint64_t) acquired, cleaned; /* written by who has the slot */
};

/* Where threads leave a clean sandbox for their own next turn: each uses one,
 * by its number. */
#define KAON_POCKETS 64u
struct kaon_pocket {
    _Alignas(64) _Atomic(uint32_t) content; /* a slot plus 1; or: */
};
#define KAON_POCKET_EMPTY 0
#define KAON_POCKET_SHUT UINT32_MAX

static inline bool kaon__pocket_has(uint32_t content)
{
    return content != KAON_POCKET_EMPTY && content != KAON_POCKET_SHUT;
}

struct kaon_pool {
    struct kaon_snapshot *snapshot; /* a reference */
    struct kaon_sandbox_opts opts;  /* with references */
    uint32_t min, max;
    uint32_t resident; /* slots below this one are to be */
    uint64_t linger_ns, spin_ns;
    pid_t process; /* whose it is */

    struct kaon_pool_slot *slots; /* max of them, as the next two */
    _Atomic(uint32_t) *below;     /* of all four stacks */
    struct kaon_stack ready;      /* shut while somebody waits, as is: */
    struct kaon_stack inside;     /* ready, of the slots that are resident */
    struct kaon_stack used;       /* shut while the worker sleeps */
    struct kaon_stack empty;      /* never shut */
    struct kaon_pocket pockets[KAON_POCKETS];

    _Alignas(64) atomic_uint lowest; /* that `ready` had lately */
    atomic_bool starved; /* making one failed: the worker waits a while */
    atomic_bool closing; /* what comes back is to be ended; stacks are shut */
    _Atomic(uint64_t) created, replaced;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t work;  /* for the worker */
    pthread_cond_t back;  /* a sandbox is ready, or may be made */
    pthread_t worker;
    bool has_worker;
    unsigned waiters;
    bool closed; /* nobody has the pool: the last slot frees it */
    uint64_t waited, refused;
};

/* ---- pool.c ------------------------------------------------------------ */

void kaon__pool_free(struct kaon_pool *pool);

/* ---- pool_turn.c ------------------------------------------------------- */

/* Gives a held slot with a clean sandbox to the next. */
void kaon__pool_give(struct kaon_pool *pool, uint32_t slot);

/* How many are ready, pockets left out. */
uint32_t kaon__pool_count_ready(struct kaon_pool *pool);

/* Wakes the worker. The lock is held. */
void kaon__pool_wake(struct kaon_pool *pool);

/* Moves what is in the pockets to `ready`. */
void kaon__pool_empty_pockets(struct kaon_pool *pool);

/* From here on nobody gives anything to `ready` but under the lock, which is
 * held; all that was given before is on the stack. */
void kaon__pool_shut_ready(struct kaon_pool *pool);

/* ---- pool_slot.c ------------------------------------------------------- */

/* Makes the sandbox of an empty slot that is held. */
enum kaon_status kaon__pool_make(struct kaon_pool *pool, uint32_t slot,
                                 struct kaon_error *err);

/* Ends a held slot's sandbox, if it has one. The pool may be gone then. */
void kaon__pool_end(struct kaon_pool *pool, uint32_t slot);

/* Cleans a held slot if that takes some microseconds: else false. */
bool kaon__pool_clean_quickly(const struct kaon_pool *pool, uint32_t slot);

/* Cleans a held slot, with another sandbox if need be. Empty on failure, but
 * still held. */
enum kaon_status kaon__pool_clean(struct kaon_pool *pool, uint32_t slot,
                                  struct kaon_error *err);

/* ---- pool_worker.c ----------------------------------------------------- */

enum kaon_status kaon__pool_start_worker(struct kaon_pool *pool,
                                         struct kaon_error *err);

#endif

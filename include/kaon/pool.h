/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/pool.h - sandboxes kept ready, a clean one for each use
 *
 *     kaon_pool_create(&pool, &out, image,
 *                      KAON_POOL_OPTS(.min = 4, .max = 64), &err);
 *     for (;;) {                                        // in each thread
 *         kaon_pool_acquire(pool, &sandbox, KAON_MS(10), &err);
 *         kaon_call(sandbox, ...);                      // one request
 *         kaon_pool_release(pool, sandbox);
 *     }
 *
 * All sandboxes of a pool are in one snapshot's state when they are acquired,
 * whatever their guests did before: memory, registers, exchange, mappings,
 * statistics are as in a new one. A poisoned sandbox is healed, or replaced by
 * another. What host functions keep, and what their `user` points to, is the
 * host's: all sandboxes of a pool have the same set of them.
 *
 * With few threads, acquiring is one atomic operation; a released sandbox goes
 * to the thread that released it, if that comes first. Releasing costs what a
 * restore costs, some microseconds, if the guest touched little. Everything
 * that takes longer is done by a thread of the pool's own: restoring large
 * sandboxes, making new ones, ending those that are not needed. If no sandbox
 * is ready, kaon_pool_acquire() does what is to do itself.
 *
 * Each sandbox has a domain of its own (the strict way), or all live in one
 * that the options name. A sandbox keeps the pages that its guests touched, up
 * to some MiB; one that has more is replaced.
 *
 * Threads: any, for all but kaon_pool_destroy(). The pool's own thread blocks
 * all signals, and makes calls neither to guests nor to host functions.
 *
 * fork(): a child must not use, and need not destroy, its parent's pools;
 * acquiring there is KAON_EBACKEND.
 */
#ifndef KAON_POOL_H
#define KAON_POOL_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/image.h>
#include <kaon/outcome.h>
#include <kaon/sandbox.h>
#include <kaon/snapshot.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kaon_pool;

/* Options of a pool; make them with KAON_POOL_OPTS(). 0 is the default. */
struct kaon_pool_opts {
    size_t size; /* sizeof(struct kaon_pool_opts) */

    /* Options of each sandbox, copied; NULL: all defaults. With a `domain`,
     * all live in that one, which must have memory for `max` of them. Their
     * `mappings` are made once, and are part of the state that sandboxes are
     * put back to. */
    const struct kaon_sandbox_opts *sandbox;

    /* Sandboxes that are there from the start, and kept ready beside those in
     * use as long as max allows: up to max, default 1, or `resident`. */
    uint32_t min;

    /* Sandboxes in all, those in use too: up to 65535, default 64, or min if
     * that is more. */
    uint32_t max;

    /* How long more than min are kept that nobody needed: default 10 s. */
    uint64_t linger_ns;

    /* Of the min: so many are resident (kaon/resident.h). Ready, they wait
     * inside for their first call, and are the first to be acquired: then
     * that call crosses in shared memory. Each takes a CPU as long as it looks
     * for one, spin_ns; afterwards its first call costs what others cost. */
    uint32_t resident;
    uint64_t spin_ns; /* as in kaon_resident_opts */
};
#define KAON_POOL_OPTS(...)                                           \
    (&(struct kaon_pool_opts){ .size = sizeof(struct kaon_pool_opts), \
                               __VA_ARGS__ })

/* For kaon_pool_acquire(): as long as it takes. */
#define KAON_FOREVER UINT64_MAX

/**
 * kaon_pool_create - make a pool of an image
 *
 * Makes one sandbox, runs the guest's initialisation in it, takes a snapshot,
 * ends the sandbox, and goes on as kaon_pool_create_from(). The snapshot is
 * kept as long as the pool.
 *
 * Out:     pool   the pool, or NULL if the guest did not get through its
 *                 initialisation. Release with kaon_pool_destroy().
 *          out    what the guest did: KAON_RETURNED, if there is a pool.
 * Returns: as kaon_pool_create_from(). KAON_OK says that out was written.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_pool_create(struct kaon_pool **pool, struct kaon_outcome *out,
                 struct kaon_image *image, const struct kaon_pool_opts *opts,
                 struct kaon_error *err);

/**
 * kaon_pool_create_from - make a pool of a snapshot
 *
 * Makes `min` sandboxes before it returns. The pool keeps references to the
 * snapshot and to what the sandboxes' options name.
 *
 * Out:     pool   the pool. Release with kaon_pool_destroy().
 * Returns: as kaon_sandbox_create_from(). With KAON_ENOMEM or KAON_EBACKEND
 *          err says how many sandboxes it could make, and why no more.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_pool_create_from(struct kaon_pool **pool, struct kaon_snapshot *snapshot,
                      const struct kaon_pool_opts *opts,
                      struct kaon_error *err);

/**
 * kaon_pool_destroy - end a pool
 *
 * Ends its thread and the sandboxes that are ready. Those in use stay as they
 * are; each ends when it is released, and what is left of the pool with the
 * last. NULL is fine. May block for some milliseconds.
 *
 * Threads: one; no other may be in kaon_pool_acquire() or go there. Others
 *          may release sandboxes at any time.
 */
KAON_API void kaon_pool_destroy(struct kaon_pool *pool);

/**
 * kaon_pool_acquire - have a clean sandbox for a while
 *
 * It can be used as any other; to destroy it is to release it. Give it back
 * with kaon_pool_release().
 *
 * Out:     sandbox  in the snapshot's state.
 * In:      wait_ns  how long to wait, at most, if all are in use, or with the
 *                 pool's thread, and there may be no more: 0: not at all;
 *                 KAON_FOREVER. What it has to clean or make itself takes as
 *                 long as it takes.
 * Returns: KAON_OK; KAON_EINVAL; KAON_EBUSY (none became ready in time);
 *          KAON_ENOMEM, KAON_EBACKEND (the same, and no more can be made: err
 *          says how many there are).
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_pool_acquire(struct kaon_pool *pool, struct kaon_sandbox **sandbox,
                  uint64_t wait_ns, struct kaon_error *err);

/**
 * kaon_pool_release - give a sandbox back
 *
 * Whatever state it is in. Nothing of it may be used afterwards: no result, no
 * kaon_sandbox_buffer(). A kaon_sandbox_interrupt() that comes later would
 * stop the next user's call. NULL is fine.
 *
 * Returns: KAON_OK; KAON_EINVAL (not in use, or not of this pool);
 *          KAON_EBUSY (a call runs: it was not released).
 * Threads: any; it need not be the one that acquired it.
 */
KAON_API enum kaon_status kaon_pool_release(struct kaon_pool *pool,
                                            struct kaon_sandbox *sandbox);

/* What a pool has now, and what it did since it was made. */
struct kaon_pool_stats {
    uint64_t sandboxes; /* all; of these: */
    uint64_t ready;     /* clean, for the next to acquire */
    uint64_t in_use;    /* the others are being made, cleaned or ended */

    uint64_t acquired; /* how often one was */
    uint64_t waited;   /* of these, after waiting for a release */
    uint64_t refused;  /* how often none was to be had */
    uint64_t cleaned;  /* restored after use */
    uint64_t replaced; /* ended after use, as that is better than to restore */
    uint64_t created;  /* in all */
};

/**
 * kaon_pool_stats - count what a pool has and did
 *
 * While others use the pool, the numbers may be of different moments.
 *
 * Returns: KAON_OK, KAON_EINVAL.
 * Threads: any.
 */
KAON_API enum kaon_status kaon_pool_stats(struct kaon_pool *pool,
                                          struct kaon_pool_stats *out);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes and ends pools. Owns what all of a pool's sandboxes are made of: the
 * snapshot, the options, and the slots.
 *
 * A pool ends in two steps: kaon_pool_destroy() ends all that is in it; what
 * is in use comes back later, and the last of it frees the pool.
 */
#include "host/pool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <kaon/call.h>

#include "host/clock.h"
#include "host/domain.h"
#include "host/error.h"
#include "host/host_functions.h"
#include "host/options.h"
#include "host/snapshot.h"

#define MAX_DEFAULT 64
#define LINGER_DEFAULT (10 * KAON_SECOND)

void kaon__pool_free(struct kaon_pool *pool)
{
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->back);
    kaon_domain_destroy(pool->opts.domain);
    kaon_host_functions_destroy(pool->opts.host_functions);
    kaon_snapshot_destroy(pool->snapshot);
    free(pool->slots);
    free(pool->below);
    free(pool);
}

static void close_pool(struct kaon_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->closing, true);
    kaon__pool_shut_ready(pool);
    kaon__stack_shut(&pool->used);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    if (pool->has_worker)
        pthread_join(pool->worker, NULL);
}

static bool end_next(struct kaon_pool *pool, struct kaon_stack *stack)
{
    uint32_t slot = kaon__stack_pop(stack);

    if (slot == KAON_POOL_NONE)
        return false;
    kaon__pool_end(pool, slot);
    return true;
}

void kaon_pool_destroy(struct kaon_pool *pool)
{
    bool last;

    if (!pool || getpid() != pool->process)
        return;
    close_pool(pool);
    while (end_next(pool, &pool->ready) || end_next(pool, &pool->inside) ||
           end_next(pool, &pool->used))
        ;
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    last = kaon__stack_count(&pool->empty) == pool->max;
    pthread_mutex_unlock(&pool->lock);
    if (last)
        kaon__pool_free(pool);
}

static enum kaon_status take_opts(struct kaon_pool_opts *opts,
                                  const struct kaon_pool_opts *theirs,
                                  struct kaon_error *err)
{
    enum kaon_status status =
        kaon__options_adopt(opts, sizeof *opts, theirs, "pool options", err);

    if (status)
        return status;
    if (opts->min == 0)
        opts->min = opts->resident ? opts->resident : 1;
    if (opts->max == 0)
        opts->max = opts->min > MAX_DEFAULT ? opts->min : MAX_DEFAULT;
    if (opts->linger_ns == 0)
        opts->linger_ns = LINGER_DEFAULT;
    if (opts->max > KAON_STACK_MAX)
        return kaon__fail(err, KAON_EINVAL,
                          "max is %u: it must be from 1 to %u", opts->max,
                          KAON_STACK_MAX);
    if (opts->min > opts->max)
        return kaon__fail(err, KAON_EINVAL, "min is %u, more than max, %u",
                          opts->min, opts->max);
    if (opts->resident > opts->min)
        return kaon__fail(err, KAON_EINVAL,
                          "resident is %u, more than min, %u: those are of the "
                          "min that are kept ready",
                          opts->resident, opts->min);
    return KAON_OK;
}

/* The options are the pool's from here on: it has references. */
static enum kaon_status adopt_sandbox_opts(struct kaon_pool *pool,
                                           const struct kaon_pool_opts *opts,
                                           struct kaon_error *err)
{
    struct kaon_sandbox_opts mine;
    enum kaon_status status = kaon__options_adopt(
        &mine, sizeof mine, opts->sandbox, "sandbox options", err);

    if (!status)
        status = kaon__host_functions_use(&pool->opts.host_functions,
                                          mine.host_functions, err);
    if (status)
        return status;
    mine.host_functions = pool->opts.host_functions;
    mine.mappings = NULL; /* the snapshot has them */
    mine.mapping_count = 0;
    if (mine.domain)
        kaon__domain_hold(mine.domain);
    pool->opts = mine;
    return KAON_OK;
}

static struct kaon_pool *new_pool(const struct kaon_pool_opts *opts)
{
    struct kaon_pool *pool = aligned_alloc(64, sizeof *pool);
    size_t slots = opts->max * sizeof *pool->slots;

    if (!pool)
        return NULL;
    *pool = (struct kaon_pool){
        .min = opts->min,
        .max = opts->max,
        .resident = opts->resident,
        .linger_ns = opts->linger_ns,
        .spin_ns = opts->spin_ns,
        .process = getpid(),
        .slots = aligned_alloc(64, slots),
        .below = calloc(opts->max, sizeof *pool->below),
    };
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->back, NULL);
    if (!pool->slots || !pool->below) {
        kaon__pool_free(pool);
        return NULL;
    }
    memset(pool->slots, 0, slots);
    kaon__stack_init(&pool->ready, pool->below);
    kaon__stack_init(&pool->inside, pool->below);
    kaon__stack_init(&pool->used, pool->below);
    kaon__stack_init(&pool->empty, pool->below);
    for (uint32_t slot = opts->max; slot-- > 0;)
        kaon__stack_push(&pool->empty, slot);
    return pool;
}

static enum kaon_status make_first(struct kaon_pool *pool,
                                   struct kaon_error *err)
{
    for (uint32_t i = 0; i < pool->min; i++) {
        uint32_t slot = kaon__stack_pop(&pool->empty);
        struct kaon_error why = { 0 };
        enum kaon_status status = kaon__pool_make(pool, slot, &why);

        if (status == KAON_ENOMEM || status == KAON_EBACKEND) {
            kaon__fail_because(err, &why,
                               "the pool has %u sandboxes of min %u, and "
                               "cannot make one more: %.160s",
                               i, pool->min, why.text);
        } else if (status && err) {
            *err = why;
        }
        if (status) {
            kaon__pool_end(pool, slot);
            return status;
        }
        kaon__pool_give(pool, slot);
    }
    return KAON_OK;
}

/* opts are complete and good. */
static enum kaon_status create_from(struct kaon_pool **out,
                                    struct kaon_snapshot *snapshot,
                                    const struct kaon_pool_opts *opts,
                                    struct kaon_error *err)
{
    struct kaon_pool *pool = new_pool(opts);
    enum kaon_status status;

    if (!pool)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a pool");
    pool->snapshot = kaon_snapshot_hold(snapshot);
    status = adopt_sandbox_opts(pool, opts, err);
    if (!status)
        status = make_first(pool, err);
    if (!status)
        status = kaon__pool_start_worker(pool, err);
    if (status) {
        kaon_pool_destroy(pool);
        return status;
    }
    *out = pool;
    return KAON_OK;
}

/* What the original's sandboxes wrote, those of the copy will. */
static void hand_over_write_set(struct kaon_snapshot *copy,
                                struct kaon_snapshot *original)
{
    uint64_t write_set[KAON_WRITE_SET_MAX];
    uint32_t count = kaon__snapshot_write_set(original, write_set);

    for (uint32_t i = 0; i < count; i++)
        kaon__snapshot_learn(copy, write_set[i]);
}

/* A snapshot like that, with what the options map beside it: so that each
 * restore puts it back. */
static enum kaon_status add_mappings(struct kaon_snapshot **out,
                                     struct kaon_snapshot *snapshot,
                                     const struct kaon_sandbox_opts *theirs,
                                     struct kaon_error *err)
{
    struct kaon_sandbox_opts opts;
    struct kaon_sandbox *sandbox;
    enum kaon_status status =
        kaon__options_adopt(&opts, sizeof opts, theirs, "sandbox options", err);

    if (status)
        return status;
    if (opts.mapping_count == 0) {
        *out = kaon_snapshot_hold(snapshot);
        return KAON_OK;
    }
    status = kaon_sandbox_create_from(&sandbox, snapshot, &opts, err);
    if (status)
        return status;
    status = kaon_snapshot_take(out, sandbox, err);
    kaon_sandbox_destroy(sandbox);
    if (!status)
        hand_over_write_set(*out, snapshot);
    return status;
}

enum kaon_status kaon_pool_create_from(struct kaon_pool **out,
                                       struct kaon_snapshot *snapshot,
                                       const struct kaon_pool_opts *theirs,
                                       struct kaon_error *err)
{
    struct kaon_snapshot *mapped;
    struct kaon_pool_opts opts;
    enum kaon_status status;

    if (!out || !snapshot)
        return kaon__fail(err, KAON_EINVAL,
                          "pool and snapshot must not be NULL");
    status = take_opts(&opts, theirs, err);
    if (!status)
        status = add_mappings(&mapped, snapshot, opts.sandbox, err);
    if (status)
        return status;
    status = create_from(out, mapped, &opts, err);
    kaon_snapshot_destroy(mapped);
    return status;
}

/* The state that all sandboxes are to have; no snapshot if the guest does not
 * get there. What made it is ended: it owns all that the guest touched on its
 * way, and would be slow to restore. */
static enum kaon_status make_snapshot(struct kaon_snapshot **snapshot,
                                      struct kaon_outcome *out,
                                      struct kaon_image *image,
                                      const struct kaon_sandbox_opts *opts,
                                      struct kaon_error *err)
{
    struct kaon_sandbox *sandbox;
    enum kaon_status status = kaon_sandbox_create(&sandbox, image, opts, err);

    if (status)
        return status;
    status = kaon_sandbox_init(sandbox, out, NULL, err);
    if (!status && out->kind == KAON_RETURNED)
        status = kaon_snapshot_take(snapshot, sandbox, err);
    kaon_sandbox_destroy(sandbox);
    return status;
}

enum kaon_status kaon_pool_create(struct kaon_pool **pool,
                                  struct kaon_outcome *out,
                                  struct kaon_image *image,
                                  const struct kaon_pool_opts *theirs,
                                  struct kaon_error *err)
{
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_pool_opts opts;
    enum kaon_status status;

    if (!pool || !out || !image)
        return kaon__fail(err, KAON_EINVAL,
                          "pool, out and image must not be NULL");
    status = take_opts(&opts, theirs, err);
    if (!status)
        status = make_snapshot(&snapshot, out, image, opts.sandbox, err);
    if (status)
        return status;
    if (snapshot)
        status = create_from(pool, snapshot, &opts, err);
    else
        *pool = NULL;
    kaon_snapshot_destroy(snapshot);
    return status;
}

enum kaon_status kaon_pool_stats(struct kaon_pool *pool,
                                 struct kaon_pool_stats *out)
{
    if (!pool || !out)
        return KAON_EINVAL;
    *out = (struct kaon_pool_stats){
        .sandboxes = pool->max - kaon__stack_count(&pool->empty),
        .ready = kaon__pool_count_ready(pool),
        .created = atomic_load(&pool->created),
        .replaced = atomic_load(&pool->replaced),
    };
    for (uint32_t i = 0; i < pool->max; i++) {
        struct kaon_pool_slot *slot = &pool->slots[i];

        out->in_use += atomic_load(&slot->in_use);
        out->acquired += atomic_load(&slot->acquired);
        out->cleaned += atomic_load(&slot->cleaned);
    }
    for (unsigned i = 0; i < KAON_POCKETS; i++)
        out->ready += kaon__pocket_has(atomic_load(&pool->pockets[i].content));
    pthread_mutex_lock(&pool->lock);
    out->waited = pool->waited;
    out->refused = pool->refused;
    pthread_mutex_unlock(&pool->lock);
    return KAON_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool's own thread: does what would be slow for those who acquire and
 * release. It cleans what was used, makes what is missing, ends what nobody
 * needed, one sandbox at a time, and sleeps when there is nothing to do.
 *
 * While it sleeps, `used` is shut: whoever releases something to clean finds
 * that, and wakes it. While it works, nobody need.
 */
#include "host/pool.h"

#include <errno.h>
#include <string.h>

#include "host/clock.h"
#include "host/error.h"
#include "host/thread.h"

/* After a failure to make a sandbox. */
#define RETRY_NS (KAON_SECOND / 10)

struct worker {
    struct kaon_pool *pool;
    uint64_t check; /* when to look for what nobody needed */
    uint64_t retry; /* when to try again; KAON_NEVER if nothing failed */
    uint32_t surplus;
};

static void fail(struct worker *worker, uint32_t slot)
{
    atomic_store(&worker->pool->starved, true);
    worker->retry = kaon__clock_after(kaon__clock_now(), RETRY_NS);
    kaon__pool_end(worker->pool, slot);
}

static bool clean_one(struct worker *worker)
{
    uint32_t slot = kaon__stack_pop(&worker->pool->used);

    if (slot == KAON_POOL_NONE)
        return false;
    if (kaon__pool_clean(worker->pool, slot, NULL))
        fail(worker, slot);
    else
        kaon__pool_give(worker->pool, slot);
    return true;
}

static bool is_short(struct kaon_pool *pool)
{
    return kaon__pool_count_ready(pool) < pool->min &&
           kaon__stack_count(&pool->empty) > 0 &&
           !atomic_load(&pool->starved) && !atomic_load(&pool->closing);
}

static bool make_one(struct worker *worker)
{
    struct kaon_pool *pool = worker->pool;
    uint32_t slot;

    if (!is_short(pool))
        return false;
    slot = kaon__stack_pop(&pool->empty);
    if (slot == KAON_POOL_NONE)
        return false;
    if (kaon__pool_make(pool, slot, NULL))
        fail(worker, slot);
    else
        kaon__pool_give(pool, slot);
    return true;
}

static bool end_one(struct worker *worker)
{
    uint32_t slot;

    if (worker->surplus == 0)
        return false;
    worker->surplus--;
    slot = kaon__stack_pop(&worker->pool->ready);
    if (slot != KAON_POOL_NONE)
        kaon__pool_end(worker->pool, slot);
    return true;
}

/* What `ready` always had more than it needs is surplus. Pockets are emptied,
 * so that what lies there counts, too. */
static void check(struct worker *worker, uint64_t time)
{
    struct kaon_pool *pool = worker->pool;
    uint32_t count = kaon__pool_count_ready(pool);
    uint32_t lowest = atomic_load(&pool->lowest);

    if (lowest > count)
        lowest = count;
    worker->surplus = lowest > pool->min ? lowest - pool->min : 0;
    worker->check = kaon__clock_after(time, pool->linger_ns);
    kaon__pool_empty_pockets(pool);
    atomic_store(&pool->lowest, kaon__pool_count_ready(pool));
}

/* When to wake if nobody wakes it. */
static uint64_t next_time(struct worker *worker)
{
    struct kaon_pool *pool = worker->pool;
    uint32_t count = pool->max - kaon__stack_count(&pool->empty);

    if (count > pool->min && worker->check < worker->retry)
        return worker->check;
    return worker->retry;
}

/* False at the pool's end. */
static bool doze(struct worker *worker)
{
    struct kaon_pool *pool = worker->pool;
    bool closing;

    pthread_mutex_lock(&pool->lock);
    if (!atomic_load(&pool->closing) && kaon__stack_shut(&pool->used) == 0 &&
        !is_short(pool))
        kaon__clock_wait(&pool->work, &pool->lock, next_time(worker));
    closing = atomic_load(&pool->closing);
    if (!closing)
        kaon__stack_open(&pool->used);
    pthread_mutex_unlock(&pool->lock);
    return !closing;
}

static void look_at_clock(struct worker *worker)
{
    uint64_t time = kaon__clock_now();

    if (time >= worker->retry) {
        worker->retry = KAON_NEVER;
        atomic_store(&worker->pool->starved, false);
    }
    if (time >= worker->check)
        check(worker, time);
}

static void *run(void *user)
{
    struct kaon_pool *pool = user;
    struct worker worker = {
        .pool = pool,
        .check = kaon__clock_after(kaon__clock_now(), pool->linger_ns),
        .retry = KAON_NEVER,
    };

    do {
        while (!atomic_load(&pool->closing) &&
               (clean_one(&worker) || make_one(&worker) || end_one(&worker)))
            ;
        look_at_clock(&worker);
    } while (doze(&worker));
    return NULL;
}

enum kaon_status kaon__pool_start_worker(struct kaon_pool *pool,
                                         struct kaon_error *err)
{
    errno = kaon__thread_start(&pool->worker, NULL, run, pool);
    if (errno)
        return kaon__fail_errno(err, KAON_ENOMEM,
                                "cannot start the pool's thread: %s",
                                strerror(errno));
    pool->has_worker = true;
    return KAON_OK;
}

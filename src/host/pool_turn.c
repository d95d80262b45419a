/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands a pool's sandboxes out and takes them back. Owns nothing.
 *
 * A warm acquire and a warm release are one compare-and-swap each, beside the
 * restore. The lock is for those who find nothing ready, and for those who
 * give something back while others wait.
 */
#include "host/pool.h"

#include <unistd.h>

#include "host/clock.h"
#include "host/error.h"
#include "host/sandbox.h"

/* ---- Pockets ----------------------------------------------------------- */

static struct kaon_pocket *my_pocket(struct kaon_pool *pool)
{
    return &pool->pockets[kaon__thread_number() % KAON_POCKETS];
}

/* False if it is not empty, or shut. */
static bool put(struct kaon_pocket *pocket, uint32_t slot)
{
    uint32_t content = KAON_POCKET_EMPTY;

    return atomic_compare_exchange_strong(&pocket->content, &content, slot + 1);
}

static uint32_t take(struct kaon_pocket *pocket)
{
    uint32_t content = atomic_load(&pocket->content);

    if (!kaon__pocket_has(content) ||
        !atomic_compare_exchange_strong(&pocket->content, &content,
                                        KAON_POCKET_EMPTY))
        return KAON_POOL_NONE;
    return content - 1;
}

static uint32_t take_any(struct kaon_pool *pool)
{
    uint32_t slot = KAON_POOL_NONE;

    for (unsigned i = 0; slot == KAON_POOL_NONE && i < KAON_POCKETS; i++)
        slot = take(&pool->pockets[i]);
    return slot;
}

void kaon__pool_empty_pockets(struct kaon_pool *pool)
{
    for (unsigned i = 0; i < KAON_POCKETS; i++) {
        uint32_t slot = take(&pool->pockets[i]);

        if (slot != KAON_POOL_NONE)
            kaon__pool_give(pool, slot);
    }
}

void kaon__pool_shut_ready(struct kaon_pool *pool)
{
    kaon__stack_shut(&pool->ready);
    kaon__stack_shut(&pool->inside);
    for (unsigned i = 0; i < KAON_POCKETS; i++) {
        uint32_t content =
            atomic_exchange(&pool->pockets[i].content, KAON_POCKET_SHUT);

        if (kaon__pocket_has(content))
            kaon__stack_push_shut(&pool->ready, content - 1);
    }
}

static void open_ready(struct kaon_pool *pool)
{
    for (unsigned i = 0; i < KAON_POCKETS; i++)
        atomic_store(&pool->pockets[i].content, KAON_POCKET_EMPTY);
    kaon__stack_open(&pool->inside);
    kaon__stack_open(&pool->ready);
}

/* ---- Giving back ------------------------------------------------------- */

void kaon__pool_wake(struct kaon_pool *pool)
{
    kaon__stack_open(&pool->used);
    pthread_cond_signal(&pool->work);
}

static struct kaon_stack *place_of(struct kaon_pool *pool, uint32_t slot)
{
    return slot < pool->resident ? &pool->inside : &pool->ready;
}

/* Somebody waits, or the pool ends. */
static void give_slowly(struct kaon_pool *pool, uint32_t slot)
{
    bool closing;

    pthread_mutex_lock(&pool->lock);
    closing = atomic_load(&pool->closing);
    if (!closing) {
        kaon__stack_push_shut(place_of(pool, slot), slot);
        pthread_cond_signal(&pool->back);
    }
    pthread_mutex_unlock(&pool->lock);
    if (closing)
        kaon__pool_end(pool, slot);
}

void kaon__pool_give(struct kaon_pool *pool, uint32_t slot)
{
    if (!kaon__stack_push(place_of(pool, slot), slot))
        give_slowly(pool, slot);
}

/* The worker sleeps, or the pool ends. */
static void give_used_slowly(struct kaon_pool *pool, uint32_t slot)
{
    bool closing;

    pthread_mutex_lock(&pool->lock);
    closing = atomic_load(&pool->closing);
    if (!closing) {
        kaon__stack_push_shut(&pool->used, slot);
        kaon__pool_wake(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    if (closing)
        kaon__pool_end(pool, slot);
}

static bool is_mine(struct kaon_sandbox *sandbox, struct kaon_error *err)
{
    struct kaon_machine *machine = sandbox->domain->machine;

    return machine->backend->machine_check(machine, err) == KAON_OK;
}

/* The quick ones here and now: to wake the worker would take longer. */
static void give_back(struct kaon_pool *pool, uint32_t slot)
{
    if (kaon__pool_clean_quickly(pool, slot)) {
        if (!put(my_pocket(pool), slot))
            kaon__pool_give(pool, slot);
    } else if (!kaon__stack_push(&pool->used, slot)) {
        give_used_slowly(pool, slot);
    }
}

enum kaon_status kaon_pool_release(struct kaon_pool *pool,
                                   struct kaon_sandbox *sandbox)
{
    struct kaon_pool_slot *slot;

    if (!sandbox)
        return KAON_OK;
    if (!pool || sandbox->pool != pool || !is_mine(sandbox, NULL))
        return KAON_EINVAL;
    slot = &pool->slots[sandbox->number];
    /* Whoever cleans it has it running, too. */
    if (atomic_load(&slot->in_use) &&
        kaon_sandbox_state(sandbox) == KAON_SANDBOX_RUNNING)
        return KAON_EBUSY;
    if (!atomic_exchange(&slot->in_use, false))
        return KAON_EINVAL;
    give_back(pool, sandbox->number);
    return KAON_OK;
}

/* ---- Acquiring --------------------------------------------------------- */

/* `ready` has less than it should. If the worker sleeps, and could do anything
 * about it, it is to. */
static void call_worker(struct kaon_pool *pool)
{
    if (kaon__stack_count(&pool->empty) == 0 || atomic_load(&pool->starved) ||
        !kaon__stack_is_shut(&pool->used))
        return;
    pthread_mutex_lock(&pool->lock);
    kaon__pool_wake(pool);
    pthread_mutex_unlock(&pool->lock);
}

uint32_t kaon__pool_count_ready(struct kaon_pool *pool)
{
    return kaon__stack_count(&pool->ready) + kaon__stack_count(&pool->inside);
}

static uint32_t pop_ready(struct kaon_pool *pool)
{
    uint32_t slot = KAON_POOL_NONE;

    if (pool->resident)
        slot = kaon__stack_pop(&pool->inside);
    return slot != KAON_POOL_NONE ? slot : kaon__stack_pop(&pool->ready);
}

/* A pocket is as good as a stack, but nothing is as good as `inside`. */
static uint32_t take_ready(struct kaon_pool *pool)
{
    uint32_t slot = KAON_POOL_NONE, left;

    if (!pool->resident || kaon__stack_count(&pool->inside) == 0)
        slot = take(my_pocket(pool));
    if (slot != KAON_POOL_NONE)
        return slot;
    slot = pop_ready(pool);
    left = kaon__pool_count_ready(pool);
    if (left < atomic_load_explicit(&pool->lowest, memory_order_relaxed))
        atomic_store_explicit(&pool->lowest, left, memory_order_relaxed);
    if (left < pool->min)
        call_worker(pool);
    return slot;
}

/* Who acquires, and finds nothing ready. */
struct seeker {
    struct kaon_pool *pool;
    uint64_t until;
    uint32_t slot;
    bool waited;
    enum kaon_status shortage; /* why none could be made; err says more */
    struct kaon_error err;
};

static bool use_shortage(struct seeker *seeker, enum kaon_status status)
{
    if (!status)
        return true;
    kaon__pool_end(seeker->pool, seeker->slot);
    seeker->slot = KAON_POOL_NONE;
    seeker->shortage = status;
    return false;
}

/* One that another thread keeps, or one to be cleaned, or made. */
static bool seek(struct seeker *seeker)
{
    struct kaon_pool *pool = seeker->pool;

    seeker->slot = take_any(pool);
    if (seeker->slot != KAON_POOL_NONE)
        return true;
    seeker->slot = kaon__stack_pop(&pool->used);
    if (seeker->slot != KAON_POOL_NONE)
        return use_shortage(seeker,
                            kaon__pool_clean(pool, seeker->slot, &seeker->err));
    if (seeker->shortage)
        return false;
    seeker->slot = kaon__stack_pop(&pool->empty);
    return seeker->slot != KAON_POOL_NONE &&
           use_shortage(seeker,
                        kaon__pool_make(pool, seeker->slot, &seeker->err));
}

/* Is there anything for seek(), or nothing at all to wait for? */
static bool may_seek(const struct seeker *seeker)
{
    struct kaon_pool *pool = seeker->pool;
    uint32_t empty = kaon__stack_count(&pool->empty);

    return kaon__stack_count(&pool->used) > 0 ||
           (empty > 0 && !seeker->shortage);
}

static bool is_hopeless(const struct seeker *seeker)
{
    struct kaon_pool *pool = seeker->pool;

    return seeker->shortage && kaon__stack_count(&pool->empty) == pool->max;
}

/* Waits for one to come back: false if none did in time. What is true with the
 * lock held and `ready` shut stays so, or is signalled. */
static bool await(struct seeker *seeker)
{
    struct kaon_pool *pool = seeker->pool;
    bool again = true;

    pthread_mutex_lock(&pool->lock);
    if (pool->waiters++ == 0)
        kaon__pool_shut_ready(pool);
    seeker->slot = pop_ready(pool);
    if (seeker->slot == KAON_POOL_NONE && !may_seek(seeker)) {
        again = !is_hopeless(seeker) && kaon__clock_now() < seeker->until;
        if (again) {
            seeker->waited = true;
            kaon__clock_wait(&pool->back, &pool->lock, seeker->until);
            seeker->slot = pop_ready(pool);
        }
    }
    if (--pool->waiters == 0)
        open_ready(pool);
    if (seeker->slot != KAON_POOL_NONE)
        pool->waited += seeker->waited;
    else if (!again)
        pool->refused++;
    pthread_mutex_unlock(&pool->lock);
    return again;
}

static enum kaon_status refuse(const struct seeker *seeker,
                               struct kaon_error *err)
{
    const struct kaon_pool *pool = seeker->pool;
    uint32_t count = pool->max - kaon__stack_count(&seeker->pool->empty);

    if (seeker->shortage)
        return kaon__fail(err, seeker->shortage,
                          "the pool has %u sandboxes of max %u, none is ready, "
                          "and it cannot make one more: %.140s",
                          count, pool->max, seeker->err.text);
    return kaon__fail(err, KAON_EBUSY,
                      "all %u sandboxes of the pool are in use or being "
                      "cleaned: raise max, release them sooner, or wait longer",
                      count);
}

static enum kaon_status acquire_slowly(struct kaon_pool *pool, uint32_t *slot,
                                       uint64_t wait_ns, struct kaon_error *err)
{
    struct seeker seeker = { .pool = pool };

    if (getpid() != pool->process)
        return kaon__fail(err, KAON_EBACKEND,
                          "the pool belongs to another process: after fork(), "
                          "make a new one in the child");
    seeker.until = wait_ns ? kaon__clock_after(kaon__clock_now(), wait_ns) : 0;
    while (!seek(&seeker)) {
        if (!await(&seeker))
            return refuse(&seeker, err);
        if (seeker.slot != KAON_POOL_NONE)
            break;
    }
    *slot = seeker.slot;
    return KAON_OK;
}

enum kaon_status kaon_pool_acquire(struct kaon_pool *pool,
                                   struct kaon_sandbox **sandbox,
                                   uint64_t wait_ns, struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;
    struct kaon_pool_slot *it;
    uint64_t acquired;
    uint32_t slot;

    if (!pool || !sandbox)
        return kaon__fail(err, KAON_EINVAL,
                          "pool and sandbox must not be NULL");
    slot = take_ready(pool);
    if (slot == KAON_POOL_NONE)
        status = acquire_slowly(pool, &slot, wait_ns, err);
    if (status)
        return status;
    it = &pool->slots[slot];
    if (!is_mine(it->sandbox, err))
        return KAON_EBACKEND;
    acquired = atomic_load_explicit(&it->acquired, memory_order_relaxed);
    atomic_store_explicit(&it->acquired, acquired + 1, memory_order_relaxed);
    atomic_store_explicit(&it->in_use, true, memory_order_relaxed);
    *sandbox = it->sandbox;
    return KAON_OK;
}

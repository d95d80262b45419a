/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool's sandboxes: made, cleaned and ended. All of it is slow, but for the
 * restore of a small sandbox; nothing here runs under the pool's lock.
 *
 * The caller holds the slot.
 */
#include "host/pool.h"

#include <kaon/resident.h>

#include "host/error.h"
#include "host/sandbox.h"
#include "host/view.h"

/* What a restore copies in some microseconds. */
#define QUICK_BYTES (UINT64_C(64) * KAON_PAGE_SIZE)

/* A sandbox that grew by more is not worth the copying, each time, of what one
 * of its guests once touched. */
#define KEEP_BYTES (UINT64_C(1024) * KAON_PAGE_SIZE)

static const struct kaon_backend *backend_of(const struct kaon_sandbox *sandbox)
{
    return sandbox->domain->machine->backend;
}

/* That its guest may still touch more is no matter: the next time is soon. */
static bool is_overgrown(const struct kaon_pool_slot *slot)
{
    return kaon__memory_touched_bytes(slot->sandbox->memory) >
           slot->first_bytes + KEEP_BYTES;
}

/* A guest that was told to end is slow to enter again. */
static bool was_halted(const struct kaon_sandbox *sandbox)
{
    return backend_of(sandbox)->space_halt &&
           kaon_sandbox_state(sandbox) == KAON_SANDBOX_POISONED;
}

static bool is_still(const struct kaon_sandbox *sandbox)
{
    return backend_of(sandbox)->exit_stops_guest ||
           backend_of(sandbox)->space_is_still(sandbox->domain->machine,
                                               sandbox->memory->space);
}

/* Is it cleaned in some microseconds? */
static bool is_quick(const struct kaon_pool *pool, uint32_t slot)
{
    const struct kaon_sandbox *sandbox = pool->slots[slot].sandbox;

    return slot >= pool->resident && !kaon_sandbox_is_resident(sandbox) &&
           sandbox->memory->view->snapshot == pool->snapshot &&
           is_still(sandbox) &&
           kaon__memory_touched_bytes(sandbox->memory) <= QUICK_BYTES;
}

/* A user may have changed that. Where it takes a CPU more than there is, no
 * sandbox is resident. */
static enum kaon_status set_resident(const struct kaon_pool *pool,
                                     struct kaon_sandbox *sandbox,
                                     uint32_t slot, struct kaon_error *err)
{
    bool wanted = slot < pool->resident;

    if (kaon_sandbox_is_resident(sandbox) == wanted)
        return KAON_OK;
    if (!wanted)
        return kaon_sandbox_stop_resident(sandbox, err);
    return kaon_sandbox_start_resident(
        sandbox, KAON_RESIDENT_OPTS(.spin_ns = pool->spin_ns), err);
}

/* All that a new one needs beyond being created. */
static enum kaon_status prepare(const struct kaon_pool *pool,
                                struct kaon_sandbox *sandbox, uint32_t slot,
                                struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    if (!sandbox->domain->shared)
        status = kaon__domain_need_vcpu(sandbox->domain, err);
    return status ? status : set_resident(pool, sandbox, slot, err);
}

enum kaon_status kaon__pool_make(struct kaon_pool *pool, uint32_t slot,
                                 struct kaon_error *err)
{
    struct kaon_sandbox *sandbox;
    enum kaon_status status =
        kaon_sandbox_create_from(&sandbox, pool->snapshot, &pool->opts, err);

    if (status)
        return status;
    status = prepare(pool, sandbox, slot, err);
    if (status) {
        kaon_sandbox_destroy(sandbox);
        return status;
    }
    sandbox->pool = pool;
    sandbox->number = slot;
    pool->slots[slot].sandbox = sandbox;
    pool->slots[slot].first_bytes = kaon__memory_touched_bytes(sandbox->memory);
    atomic_fetch_add(&pool->created, 1);
    return KAON_OK;
}

static bool is_worth_keeping(const struct kaon_pool_slot *slot)
{
    return !is_overgrown(slot) && !was_halted(slot->sandbox);
}

/* A guest that is to wait inside is sent in by the restore. */
static bool restore(const struct kaon_pool *pool, uint32_t slot)
{
    struct kaon_pool_slot *it = &pool->slots[slot];
    uint64_t cleaned = atomic_load_explicit(&it->cleaned, memory_order_relaxed);

    if (kaon__sandbox_clean(it->sandbox, pool->snapshot, NULL) ||
        set_resident(pool, it->sandbox, slot, NULL))
        return false;
    atomic_store_explicit(&it->cleaned, cleaned + 1, memory_order_relaxed);
    return true;
}

static void end_sandbox(struct kaon_pool_slot *slot)
{
    if (slot->sandbox)
        slot->sandbox->pool = NULL;
    kaon_sandbox_destroy(slot->sandbox);
    slot->sandbox = NULL;
}

void kaon__pool_end(struct kaon_pool *pool, uint32_t slot)
{
    bool last;

    end_sandbox(&pool->slots[slot]);
    pthread_mutex_lock(&pool->lock);
    kaon__stack_push(&pool->empty, slot);
    last = pool->closed && kaon__stack_count(&pool->empty) == pool->max;
    pthread_cond_broadcast(&pool->back);
    pthread_mutex_unlock(&pool->lock);
    if (last)
        kaon__pool_free(pool);
}

bool kaon__pool_clean_quickly(const struct kaon_pool *pool, uint32_t slot)
{
    return is_quick(pool, slot) && restore(pool, slot);
}

enum kaon_status kaon__pool_clean(struct kaon_pool *pool, uint32_t slot,
                                  struct kaon_error *err)
{
    struct kaon_pool_slot *it = &pool->slots[slot];

    if (is_worth_keeping(it) && restore(pool, slot))
        return KAON_OK;
    end_sandbox(it);
    atomic_fetch_add(&pool->replaced, 1);
    return kaon__pool_make(pool, slot, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Answers a guest's page faults: with a page, if it may have one. */
#include "host/memory_page.h"

#include "host/memory_map.h"
#include "host/snapshot.h"

/* Pages that one fault provides at most, if faults come in sequence. */
#define WINDOW_MAX 64

/* Faults in a row that ask for what is there: more are not the CPU's cache. */
#define STALE_MAX 16

static bool in(const struct kaon_growth *growth, uint64_t address)
{
    return address >= growth->low && address < growth->high;
}

static bool shown(const struct kaon_memory *memory, uint64_t address)
{
    uint64_t physical;
    unsigned protection;

    return backend_of(memory)->space_look(memory->machine, memory->space,
                                          address, &physical, &protection);
}

static bool provide_and_learn(struct kaon_memory *memory, uint64_t page)
{
    if (!kaon__memory_provide(memory, page, 1))
        return false;
    if (memory->state)
        kaon__snapshot_learn(memory->state, page);
    return true;
}

/*
 * Provides the page that faulted, and as many more in the direction of growth
 * as faults in sequence have earned. Only the first one must succeed.
 */
static enum kaon_fault_answer grow(struct kaon_memory *memory,
                                   struct kaon_growth *growth, uint64_t page,
                                   uint64_t step)
{
    uint64_t window = 1;

    if (page == growth->expected && growth->window < WINDOW_MAX)
        window = growth->window * 2;
    else if (page == growth->expected)
        window = WINDOW_MAX;
    growth->window = window;
    for (uint64_t i = 0; i < window && in(growth, page); i++, page += step) {
        if (i && shown(memory, page))
            break;
        if (!provide_and_learn(memory, page)) {
            if (i == 0)
                return KAON_FAULT_NO_PAGE;
            break;
        }
    }
    growth->expected = page;
    return KAON_FAULT_PROVIDED;
}

static enum kaon_fault_answer on_absent(struct kaon_memory *memory,
                                        uint64_t page)
{
    if (in(&memory->heap, page))
        return grow(memory, &memory->heap, page, KAON_PAGE_SIZE);
    if (in(&memory->stack, page))
        return grow(memory, &memory->stack, page, -KAON_PAGE_SIZE);
    if (page > memory->mailbox && page < memory->heap.low)
        return kaon__memory_need_area(memory, page - memory->mailbox, NULL)
                   ? KAON_FAULT_NO_PAGE
                   : KAON_FAULT_PROVIDED;
    return KAON_FAULT_DENIED;
}

static enum kaon_fault_answer on_present(struct kaon_memory *memory,
                                         uint64_t page, unsigned protection,
                                         enum kaon_access access)
{
    /* Allowed, so the CPU or a shadow pager remembered an older state. */
    if (access == KAON_ACCESS_READ ||
        (access == KAON_ACCESS_WRITE && protection & KAON_PROTECT_WRITE) ||
        (access == KAON_ACCESS_EXECUTE && protection & KAON_PROTECT_EXECUTE))
        return memory->stale++ < STALE_MAX ? KAON_FAULT_PROVIDED
                                           : KAON_FAULT_DENIED;
    if (page >= memory->window.low)
        return kaon__memory_map_fault(memory, page, access);
    if (access != KAON_ACCESS_WRITE || !kaon__memory_content(memory, page))
        return KAON_FAULT_DENIED;
    return provide_and_learn(memory, page) ? KAON_FAULT_PROVIDED
                                           : KAON_FAULT_NO_PAGE;
}

enum kaon_fault_answer kaon__memory_fault(struct kaon_memory *memory,
                                          uint64_t address,
                                          enum kaon_access access)
{
    uint64_t page = page_of(address), physical;
    enum kaon_fault_answer answer;
    unsigned protection;

    if (address >= KAON_USER_END || !backend_of(memory)->spaces_grow)
        return KAON_FAULT_DENIED;
    if (backend_of(memory)->space_look(memory->machine, memory->space, page,
                                       &physical, &protection))
        answer = on_present(memory, page, protection, access);
    else if (access == KAON_ACCESS_EXECUTE)
        answer = KAON_FAULT_DENIED; /* what grows is never executable */
    else
        answer = on_absent(memory, page);
    if (answer == KAON_FAULT_PROVIDED)
        memory->faults++;
    return answer;
}

/*
 * It did if it touched the guard; or if its stack pointer points below the
 * stack and at nothing, and the access was near it: a frame larger than the
 * guard, in a guest without stack probes. Stack pointers of a guest's own
 * (coroutines) point at its heap or data.
 */
bool kaon__memory_is_overflow(const struct kaon_memory *memory,
                              uint64_t address, uint64_t stack_pointer)
{
    uint64_t near = memory->stack.high - memory->guard;

    if (address >= memory->guard && address < memory->stack.low)
        return true;
    if (stack_pointer >= memory->stack.low &&
        stack_pointer <= memory->stack.high)
        return false;
    if (stack_pointer < KAON_USER_END && shown(memory, page_of(stack_pointer)))
        return false;
    return address - (stack_pointer - near) < 2 * near;
}

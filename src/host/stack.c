/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack. Owns nothing.
 *
 * Invariant: a number's `below` is only written by the thread that has the
 * number, before it pushes it. Others may read it meanwhile, or long after;
 * then the tag has changed, and they do not use what they read.
 */
#include "host/stack.h"

/* The word, from its lowest bit: 16 of top plus 1 (0: empty), 16 of the count,
 * 1 that says shut, 31 of the tag. */
#define TOP UINT64_C(0xffff)
#define ONE (UINT64_C(1) << 16)
#define COUNT (TOP << 16)
#define SHUT (UINT64_C(1) << 32)
#define TAG (UINT64_C(1) << 33)

static uint32_t count_of(uint64_t head)
{
    return (uint32_t)((head & COUNT) / ONE);
}

/* Tags wrap. */
static uint64_t with_top(uint64_t head, uint64_t top)
{
    return ((head & ~TOP) | top) + TAG;
}

/* All swaps are in one order, and in one with other such atomics: a thread
 * that shuts one stack and looks at another relies on it. */
static bool swap(struct kaon_stack *stack, uint64_t *head, uint64_t wanted)
{
    return atomic_compare_exchange_weak(&stack->head, head, wanted);
}

void kaon__stack_init(struct kaon_stack *stack, _Atomic(uint32_t) *below)
{
    atomic_init(&stack->head, 0);
    stack->below = below;
}

static bool push(struct kaon_stack *stack, uint32_t number, bool shut_too)
{
    uint64_t head = atomic_load(&stack->head);

    do {
        if (head & SHUT && !shut_too)
            return false;
        atomic_store_explicit(&stack->below[number], (uint32_t)(head & TOP),
                              memory_order_relaxed);
    } while (!swap(stack, &head, with_top(head, number + 1) + ONE));
    return true;
}

bool kaon__stack_push(struct kaon_stack *stack, uint32_t number)
{
    return push(stack, number, false);
}

void kaon__stack_push_shut(struct kaon_stack *stack, uint32_t number)
{
    push(stack, number, true);
}

uint32_t kaon__stack_pop(struct kaon_stack *stack)
{
    uint64_t head = atomic_load(&stack->head);
    uint32_t below;

    do {
        if (!(head & TOP))
            return KAON_STACK_NONE;
        below = atomic_load_explicit(&stack->below[(head & TOP) - 1],
                                     memory_order_relaxed);
    } while (!swap(stack, &head, with_top(head, below) - ONE));
    return (uint32_t)(head & TOP) - 1;
}

uint32_t kaon__stack_shut(struct kaon_stack *stack)
{
    return count_of(atomic_fetch_or(&stack->head, SHUT));
}

void kaon__stack_open(struct kaon_stack *stack)
{
    atomic_fetch_and(&stack->head, ~SHUT);
}

bool kaon__stack_is_shut(struct kaon_stack *stack)
{
    return atomic_load(&stack->head) & SHUT;
}

uint32_t kaon__stack_count(struct kaon_stack *stack)
{
    return count_of(atomic_load(&stack->head));
}

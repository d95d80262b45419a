/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack of small numbers that any number of threads push and pop without a
 * lock: each is one compare-and-swap of one word.
 *
 * The word holds the top, how many there are, a tag that every change counts
 * up, and whether the stack is shut. The tag makes it safe to read what lies
 * below the top while others push and pop: the swap then fails. (It would take
 * exactly 2^31 changes between a thread's load and its swap to fool it.)
 *
 * A shut stack takes no pushes. As that is part of the word, a thread that
 * pushed knows that nobody waited, and need not look at anything else: whoever
 * is about to sleep, or to free all of it, shuts the stack first, and finds in
 * the same step what was pushed before.
 */
#ifndef KAON_SRC_HOST_STACK_H
#define KAON_SRC_HOST_STACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Numbers are below this. */
#define KAON_STACK_MAX UINT32_C(65535)

#define KAON_STACK_NONE UINT32_MAX

struct kaon_stack {
    _Alignas(64) _Atomic(uint64_t) head;
    _Atomic(uint32_t) *below; /* by number: what lies below it, plus 1 */
};

/* `below` has room for each number; stacks that share numbers may share it,
 * as long as a number is in one of them at a time. */
void kaon__stack_init(struct kaon_stack *stack, _Atomic(uint32_t) *below);

/* False, and nothing done, if the stack is shut. */
bool kaon__stack_push(struct kaon_stack *stack, uint32_t number);

/* By who shut it. */
void kaon__stack_push_shut(struct kaon_stack *stack, uint32_t number);

/* The number that was pushed last, or KAON_STACK_NONE. */
uint32_t kaon__stack_pop(struct kaon_stack *stack);

/* Shuts and opens; returns how many numbers the stack had in that moment. */
uint32_t kaon__stack_shut(struct kaon_stack *stack);
void kaon__stack_open(struct kaon_stack *stack);

bool kaon__stack_is_shut(struct kaon_stack *stack);
uint32_t kaon__stack_count(struct kaon_stack *stack);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The lock-free stack: last in, first out, each number once, and shut. */
#include "host/stack.h"

#include <pthread.h>

#include "support/harness.h"

#define NUMBERS 64u

struct stacks {
    _Atomic(uint32_t) below[NUMBERS];
    struct kaon_stack first, second;
};

static void init(struct stacks *stacks)
{
    kaon__stack_init(&stacks->first, stacks->below);
    kaon__stack_init(&stacks->second, stacks->below);
}

static void the_last_pushed_is_the_first_popped(void **state)
{
    struct stacks stacks;

    (void)state;
    init(&stacks);
    assert_int_equal(kaon__stack_pop(&stacks.first), KAON_STACK_NONE);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        assert_true(kaon__stack_push(&stacks.first, i));
        assert_int_equal(kaon__stack_count(&stacks.first), i + 1);
    }
    for (uint32_t i = NUMBERS; i-- > 0;) {
        assert_int_equal(kaon__stack_pop(&stacks.first), i);
        assert_int_equal(kaon__stack_count(&stacks.first), i);
    }
    assert_int_equal(kaon__stack_pop(&stacks.first), KAON_STACK_NONE);
    assert_int_equal(kaon__stack_count(&stacks.first), 0);
}

static void the_largest_number_fits(void **state)
{
    static _Atomic(uint32_t) below[KAON_STACK_MAX];
    struct kaon_stack stack;

    (void)state;
    kaon__stack_init(&stack, below);
    for (uint32_t i = 0; i < KAON_STACK_MAX; i++)
        assert_true(kaon__stack_push(&stack, i));
    assert_int_equal(kaon__stack_count(&stack), KAON_STACK_MAX);
    assert_false(kaon__stack_is_shut(&stack));
    for (uint32_t i = KAON_STACK_MAX; i-- > 0;)
        assert_int_equal(kaon__stack_pop(&stack), i);
    assert_int_equal(kaon__stack_pop(&stack), KAON_STACK_NONE);
}

static void a_shut_stack_takes_nothing_and_gives_all(void **state)
{
    struct stacks stacks;

    (void)state;
    init(&stacks);
    assert_true(kaon__stack_push(&stacks.first, 3));
    assert_int_equal(kaon__stack_shut(&stacks.first), 1);
    assert_true(kaon__stack_is_shut(&stacks.first));
    assert_false(kaon__stack_push(&stacks.first, 4));
    kaon__stack_push_shut(&stacks.first, 5);
    assert_int_equal(kaon__stack_pop(&stacks.first), 5);
    assert_int_equal(kaon__stack_pop(&stacks.first), 3);
    assert_int_equal(kaon__stack_pop(&stacks.first), KAON_STACK_NONE);
    assert_true(kaon__stack_is_shut(&stacks.first));
    kaon__stack_open(&stacks.first);
    assert_true(kaon__stack_push(&stacks.first, 4));
    assert_int_equal(kaon__stack_pop(&stacks.first), 4);
}

/* ---- At once ----------------------------------------------------------- */

#define THREADS 4u
#define TURNS 50000u

struct crowd {
    struct stacks stacks;
    atomic_uint holders[NUMBERS]; /* of each number, never more than one */
    unsigned plain[NUMBERS];      /* changed by its holder alone */
    atomic_uint wrong, popped;
};

static void hold(struct crowd *crowd, uint32_t number)
{
    if (number >= NUMBERS || atomic_fetch_add(&crowd->holders[number], 1) != 0)
        atomic_fetch_add(&crowd->wrong, 1);
    else
        crowd->plain[number]++;
}

static void let_go(struct crowd *crowd, uint32_t number,
                   struct kaon_stack *stack)
{
    atomic_fetch_sub(&crowd->holders[number], 1);
    if (!kaon__stack_push(stack, number))
        kaon__stack_push_shut(stack, number);
}

/* Numbers wander from stack to stack, two at a time, while the stacks are shut
 * and opened. */
static void *wander(void *user)
{
    struct crowd *crowd = user;
    struct kaon_stack *a = &crowd->stacks.first, *b = &crowd->stacks.second;

    for (unsigned i = 0; i < TURNS; i++) {
        uint32_t one = kaon__stack_pop(i % 3 ? a : b);
        uint32_t two = kaon__stack_pop(a);

        if (one != KAON_STACK_NONE)
            hold(crowd, one);
        if (two != KAON_STACK_NONE)
            hold(crowd, two);
        if (i % 64 == 0)
            kaon__stack_shut(b);
        if (i % 64 == 8)
            kaon__stack_open(b);
        if (one != KAON_STACK_NONE)
            let_go(crowd, one, a);
        if (two != KAON_STACK_NONE)
            let_go(crowd, two, i % 5 ? a : b);
        atomic_fetch_add(&crowd->popped,
                         (one != KAON_STACK_NONE) + (two != KAON_STACK_NONE));
    }
    return NULL;
}

static void each_number_has_one_holder_at_a_time(void **state)
{
    static struct crowd crowd;
    pthread_t threads[THREADS];
    unsigned changes = 0, left = 0;

    (void)state;
    crowd = (struct crowd){ .wrong = 0 };
    init(&crowd.stacks);
    for (uint32_t i = 0; i < 6; i++)
        kaon__stack_push(&crowd.stacks.first, i);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wander, &crowd), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.wrong, 0);
    while (kaon__stack_pop(&crowd.stacks.first) != KAON_STACK_NONE)
        left++;
    while (kaon__stack_pop(&crowd.stacks.second) != KAON_STACK_NONE)
        left++;
    assert_int_equal(left, 6);
    for (uint32_t i = 0; i < NUMBERS; i++)
        changes += crowd.plain[i];
    assert_int_equal(changes, crowd.popped);
}

TESTS(TEST(the_last_pushed_is_the_first_popped), TEST(the_largest_number_fits),
      TEST(a_shut_stack_takes_nothing_and_gives_all),
      TEST(each_number_has_one_holder_at_a_time))

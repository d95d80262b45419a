/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call costs in the host program, in instructions: exact and the same
 * on every machine. tests/hardware/instructions_test.c counts the rest.
 */
#include "e2e/e2e.h"

#include <stdlib.h>

#include "support/step.h"

/* 700 as gcc has it, 779 as clang does, and some room. */
#define HOST_LIMIT 850

static struct kaon_sandbox *sandbox;
static struct kaon_function add;
static struct kaon_outcome out;

static void call_add(void)
{
    if (kaon_function_call(sandbox, &out, add,
                           KAON_ARGS(kaon_i32(2), kaon_i32(40)), NULL, NULL) ||
        out.kind != KAON_RETURNED || out.value.i32 != 42)
        exit(1);
}

/* In the child: a VM belongs to the process that made it. */
static void warm_up(void)
{
    struct kaon_image *image;

    if (kaon_image_open(&image, harness_guest("echo"), NULL) ||
        kaon_function_find(&add, image, "add", NULL) ||
        kaon_sandbox_create(&sandbox, image, NULL, NULL))
        exit(2);
    for (int i = 0; i < 3; i++)
        call_add();
}

static void a_warm_call_takes_few_instructions_of_the_host(void **state)
{
    SKIP_ON_PROCESSES("the host looks for its turn again and again");

    long steps;

    (void)state;
    if (harness_sanitized())
        harness_skip("a sanitizer's instructions are not the library's");
    steps = step_count(warm_up, call_add);
    print_message("# %ld instructions, of which the test's own are few\n",
                  steps);
    assert_in_range(steps, 1, HOST_LIMIT);
}

/* What each call of a batch takes beside the entry. */
#define BATCH 16
#define BATCH_LIMIT 600

static void call_adds(void)
{
    static struct kaon_outcome outs[BATCH];
    struct kaon_value args[2] = { kaon_i32(2), kaon_i32(40) };
    struct kaon_batch_call calls[BATCH];

    for (int i = 0; i < BATCH; i++)
        calls[i] = (struct kaon_batch_call){ add, args, 2 };
    if (kaon_call_batch(sandbox, outs, calls, BATCH, NULL, NULL))
        exit(1);
    for (int i = 0; i < BATCH; i++)
        if (outs[i].kind != KAON_RETURNED || outs[i].value.i32 != 42)
            exit(1);
}

static void warm_up_batch(void)
{
    warm_up();
    for (int i = 0; i < 3; i++)
        call_adds();
}

static void a_call_of_a_batch_takes_fewer(void **state)
{
    SKIP_ON_PROCESSES("the host looks for its turn again and again");

    long steps;

    (void)state;
    if (harness_sanitized())
        harness_skip("a sanitizer's instructions are not the library's");
    steps = step_count(warm_up_batch, call_adds);
    print_message("# %ld instructions for %d calls\n", steps, BATCH);
    assert_in_range(steps, 1, HOST_LIMIT + BATCH * BATCH_LIMIT);
}

TESTS_NEED_KVM(TEST(a_warm_call_takes_few_instructions_of_the_host),
               TEST(a_call_of_a_batch_takes_fewer))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact costs, for a machine in which each instruction takes 1 ns
 * (-icount shift=0): a time is a count of instructions, of the host program,
 * its kernel and the guest together. And the exits of a first call.
 *
 * Hyperlight 0.16, measured the same way, takes 28,200 instructions for a
 * call and 49,700 for one with a callback, and 62 exits for the first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "e2e/e2e.h"

#define CALL_LIMIT 5000
#define CALLBACK_LIMIT 9500
#define EXITS_LIMIT 12
#define ROUNDS 100

#define EXITS_FILE "/sys/kernel/debug/kvm/exits"

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* A loop of a known number of instructions takes as many nanoseconds. */
static void need_icount(void)
{
    int64_t start = now(), rounds = 1000000, time;

    __asm__ volatile("1: dec %0\n jnz 1b" : "+r"(rounds));
    time = now() - start;
    if (time < 1990000 || time > 2100000)
        harness_skip("instructions take no fixed time here");
}

/* The median of many calls, each with two readings of the clock taken off. */
static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t median_call(struct kaon_sandbox *sandbox,
                           struct kaon_function function)
{
    static int64_t times[ROUNDS];
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    int64_t clock = now();

    clock = now() - clock;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = now();

        ASSERT_OK(kaon_function_call(sandbox, &out, function,
                                     KAON_ARGS(kaon_i32(40), kaon_i32(2)), NULL,
                                     &err));
        times[i] = now() - start - clock;
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_int_equal(out.value.i32, 42);
    }
    qsort(times, ROUNDS, sizeof *times, compare);
    return times[ROUNDS / 2];
}

static void check_cost(const char *guest, const char *name, int64_t limit)
{
    struct kaon_error err = { 0 };
    struct kaon_image *image = e2e_image(guest);
    struct kaon_host_functions *functions = e2e_functions();
    struct kaon_sandbox *sandbox;
    struct kaon_function function;
    int64_t cost;

    ASSERT_OK(kaon_function_find(&function, image, name, &err));
    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image, KAON_SANDBOX_OPTS(.host_functions = functions), &err));
    cost = median_call(sandbox, function);
    kaon_sandbox_destroy(sandbox);
    kaon_host_functions_destroy(functions);
    kaon_image_destroy(image);
    print_message("# %s: %lld instructions\n", name, (long long)cost);
    assert_in_range(cost, 1, limit);
}

static void a_warm_call_takes_5000_instructions_at_most(void **state)
{
    (void)state;
    need_icount();
    check_cost("echo", "add", CALL_LIMIT);
}

static void a_call_with_a_callback_takes_9500_at_most(void **state)
{
    (void)state;
    need_icount();
    check_cost("basics", "host_add", CALLBACK_LIMIT);
}

/* All exits of the machine, which runs nothing else with KVM. */
static long exits(void)
{
    FILE *file = fopen(EXITS_FILE, "re");
    long count = -1;

    if (file) {
        if (fscanf(file, "%ld", &count) != 1)
            count = -1;
        fclose(file);
    }
    return count;
}

static void a_first_result_takes_12_exits_at_most(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    long before = exits(), took;

    (void)state;
    if (before < 0)
        harness_skip("no " EXITS_FILE);
    image = e2e_image("echo");
    before = exits();
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    ASSERT_OK(kaon_call(sandbox, &out, "add",
                        KAON_ARGS(kaon_i32(40), kaon_i32(2)), NULL, &err));
    took = exits() - before;
    ASSERT_OUTCOME(KAON_RETURNED, out);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    print_message("# %ld exits\n", took);
    assert_in_range(took, 1, EXITS_LIMIT);
}

TESTS_NEED_KVM(TEST(a_warm_call_takes_5000_instructions_at_most),
               TEST(a_call_with_a_callback_takes_9500_at_most),
               TEST(a_first_result_takes_12_exits_at_most))

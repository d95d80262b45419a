/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness must fail what it says that it fails. Each test runs this very
 * program as a child with the table `faulty`, and reads what it prints.
 */
#include "support/harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD "KAON_HARNESS_TEST_CHILD"

/* The compiler must not see that what is lost here is never used. */
static void *volatile lost;

static void returns(void **state)
{
    (void)state;
}

static void prints(void **state)
{
    (void)state;
    printf("no newline behind this");
}

static void fails(void **state)
{
    (void)state;
    assert_int_equal(1, 2);
}

static void skips(void **state)
{
    (void)state;
    harness_skip("no %s here", "moon");
}

static void loses_a_descriptor(void **state)
{
    (void)state;
    assert_true(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}

static void *sleep_on(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void loses_a_thread(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, sleep_on, NULL), 0);
}

static void *end_at_once(void *unused)
{
    return unused;
}

static void joins_a_thread(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, end_at_once, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void *map_a_page(void)
{
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void loses_a_mapping(void **state)
{
    (void)state;
    assert_true(map_a_page() != MAP_FAILED);
}

static void loses_24_bytes(void **state)
{
    (void)state;
    lost = malloc(24);
}

static void loses_a_megabyte(void **state)
{
    (void)state;
    lost = malloc(1 << 20);
}

static void keeps_one_mapping_for_ever(void **state)
{
    static void *cache;

    (void)state;
    if (!cache)
        cache = map_a_page();
    assert_true(cache != MAP_FAILED);
}

static void hangs(void **state)
{
    (void)state;
    for (;;)
        pause();
}

static void aborts(void **state)
{
    (void)state;
    abort();
}

static const struct harness_test faulty[] = {
    TEST(returns),
    TEST(prints),
    TEST(fails),
    TEST(skips),
    TEST(loses_a_descriptor),
    TEST(loses_a_thread),
    TEST(joins_a_thread),
    TEST(loses_a_mapping),
    TEST(loses_24_bytes),
    TEST(loses_a_megabyte),
    TEST(keeps_one_mapping_for_ever),
    TEST_LIMIT(1, hangs),
    TEST(aborts),
};

/* Runs one row of `faulty` in a child. Returns its wait status. */
static int run_child(const char *row, char *output, size_t size)
{
    char command[4352], self[4096] = "";
    FILE *pipe;
    size_t got;

    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(command, sizeof command, "(" CHILD "=1 '%s' %s) 2>&1", self, row);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    got = fread(output, 1, size - 1, pipe);
    output[got] = '\0';
    return pclose(pipe);
}

static void expect(const char *row, int status, const char *words)
{
    char output[8192];
    int got = run_child(row, output, sizeof output);

    if (!WIFEXITED(got) || WEXITSTATUS(got) != status)
        fail_msg("%s: wait status %#x:\n%s", row, (unsigned int)got, output);
    if (!strstr(output, words))
        fail_msg("%s: \"%s\" is not in:\n%s", row, words, output);
}

static void a_test_that_returns_passes(void **state)
{
    (void)state;
    expect("returns", 0, "ok 1 - returns");
    expect("joins_a_thread", 0, "ok 1 - joins_a_thread");
}

static void what_a_test_prints_does_not_spoil_the_tap(void **state)
{
    (void)state;
    expect("prints", 0, "no newline behind this");
    expect("prints 2>/dev/null", 0, "1..1\nok 1 - prints\n");
}

static void a_failed_assertion_fails(void **state)
{
    (void)state;
    expect("fails", 1, "not ok 1 - fails");
}

static void a_skipped_test_says_why(void **state)
{
    (void)state;
    expect("skips", 0, "\nok 1 - skips # SKIP no moon here");
}

static void a_lost_descriptor_fails(void **state)
{
    (void)state;
    expect("loses_a_descriptor", 1, "(/dev/null)");
}

static void a_lost_thread_fails(void **state)
{
    (void)state;
    expect("loses_a_thread", 1, "leaked, twice: 1 threads");
}

static void lost_memory_fails(void **state)
{
    (void)state;
    if (harness_sanitized())
        harness_skip("the sanitizer watches memory in this build");
    expect("loses_a_mapping", 1, "4096 bytes mapped as r--p anonymous");
    expect("loses_24_bytes", 1, "bytes of heap");
    expect("loses_a_megabyte", 1, "bytes of heap");
}

static void what_is_kept_once_is_no_leak(void **state)
{
    (void)state;
    expect("keeps_one_mapping_for_ever", 0, "ok 1 - keeps_one");
}

static void a_test_that_hangs_is_ended_by_name(void **state)
{
    (void)state;
    expect("hangs", 1, "Bail out! over its time limit: hangs");
}

static void a_test_that_aborts_ends_the_program(void **state)
{
    char output[8192];

    (void)state;
    assert_int_not_equal(run_child("aborts", output, sizeof output), 0);
    assert_null(strstr(output, "ok 1"));
}

static const struct harness_test tests[] = {
    TEST(a_test_that_returns_passes),
    TEST(what_a_test_prints_does_not_spoil_the_tap),
    TEST(a_failed_assertion_fails),
    TEST(a_skipped_test_says_why),
    TEST(a_lost_descriptor_fails),
    TEST(a_lost_thread_fails),
    TEST(lost_memory_fails),
    TEST(what_is_kept_once_is_no_leak),
    TEST(a_test_that_hangs_is_ended_by_name),
    TEST(a_test_that_aborts_ends_the_program),
};

int main(int argc, char **argv)
{
    if (getenv(CHILD))
        return harness_main(argc, argv, faulty,
                            sizeof faulty / sizeof faulty[0], false);
    return harness_main(argc, argv, tests, sizeof tests / sizeof tests[0],
                        false);
}

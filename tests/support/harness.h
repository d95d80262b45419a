/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/harness.h - what every test program shares
 *
 * A thin layer over cmocka. A test file is functions whose names are
 * sentences, and one table:
 *
 *     static void a_call_returns_its_result(void **state)
 *     {
 *         (void)state;
 *         assert_int_equal(1 + 1, 2);
 *     }
 *
 *     TESTS(
 *         TEST(a_call_returns_its_result),
 *         TEST_ROW(19, a_deadline_stops_a_spinning_guest),
 *         TEST_LIMIT(300, two_thousand_sandboxes_live_at_once),
 *     )
 *
 * TESTS_NEED_KVM(...) is the same table for tests that run guests: without a
 * usable /dev/kvm each of them is reported as skipped.
 *
 * Around each test the harness checks what cmocka does not: the test must
 * give back every descriptor, thread, mapping and byte of heap that it took,
 * and must end within its time limit. In sanitizer builds the heap is left to
 * LeakSanitizer, which knows more.
 *
 * What a process keeps once is no leak: if a test has not given all back, it
 * runs again, and fails only if it then keeps something again. So a test must
 * be able to run twice in one process.
 *
 * Arguments of a test program: names of the tests to run (default all), or
 * --list. Environment: KAON_TEST_SLOWNESS multiplies all time limits, for
 * emulated machines; KAON_TEST_GUESTS is the directory of guest programs;
 * KAON_TEST_CPUS=1 leaves the program one CPU.
 */
#ifndef KAON_TESTS_HARNESS_H
#define KAON_TESTS_HARNESS_H

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

/* Seconds that a test may take unless its entry says otherwise. */
#define HARNESS_LIMIT 60u

struct harness_test {
    const char *name;
    void (*function)(void **state);
    unsigned int limit; /* seconds */
};

/* ROW is the row of the list of user-visible behaviour that a test proves. */
#define TEST_NAMED(name, limit, function) \
    {                                     \
        name, function, limit             \
    }
#define TEST(function) TEST_NAMED(#function, HARNESS_LIMIT, function)
#define TEST_LIMIT(limit, function) TEST_NAMED(#function, limit, function)
#define TEST_ROW(row, function) \
    TEST_NAMED("row " #row ": " #function, HARNESS_LIMIT, function)
#define TEST_ROW_LIMIT(row, limit, function) \
    TEST_NAMED("row " #row ": " #function, limit, function)

#define TESTS(...) HARNESS_MAIN(false, __VA_ARGS__)
#define TESTS_NEED_KVM(...) HARNESS_MAIN(true, __VA_ARGS__)

#define HARNESS_MAIN(need_kvm, ...)                                            \
    int main(int argc, char **argv)                                            \
    {                                                                          \
        static const struct harness_test tests[] = { __VA_ARGS__ };            \
                                                                               \
        return harness_main(argc, argv, tests, sizeof tests / sizeof tests[0], \
                            (need_kvm));                                       \
    }

int harness_main(int argc, char **argv, const struct harness_test *tests,
                 size_t count, bool need_kvm);

/*
 * Ends the running test as skipped, saying why. Like a failed assertion it
 * does not return, so call it before the test owns anything.
 */
_Noreturn void harness_skip(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* Can this process open /dev/kvm and create a VM? If not, *why is a sentence.
 */
bool harness_have_kvm(const char **why);

/* True in builds with a sanitizer, which are slower and hold memory back. */
bool harness_sanitized(void);

/* A factor for waits and limits: 1, or more where everything is slow. */
unsigned int harness_slowness(void);

/*
 * The path of the guest program NAME.elf. Fails the test if there is none.
 * The string is valid until the next call in the same thread.
 */
const char *harness_guest(const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/e2e/e2e.h - what the end-to-end tests share
 *
 * Short ways to a guest, and assertions that print the library's sentence.
 * They speak of a `struct kaon_error err` in the caller's scope, and hold for
 * each failure that it is a sentence and names the status that was returned.
 *
 * None of the assertions may be used in a thread or in a child process:
 * cmocka jumps back to the test. Threads count what went wrong; a child uses
 * CHILD_CHECK().
 */
#ifndef KAON_TESTS_E2E_H
#define KAON_TESTS_E2E_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <kaon.h>

#include "support/harness.h"
#include "support/isolation.h"

/* Asserts that a call of the library gave KAON_OK, or says why it did not. */
#define ASSERT_OK(call) \
    e2e_assert_status((call), KAON_OK, NULL, &err, #call, __FILE__, __LINE__)

/* Asserts a failure whose sentence contains `words`. */
#define ASSERT_REFUSED(status, words, call)                             \
    e2e_assert_status((call), (status), (words), &err, #call, __FILE__, \
                      __LINE__)

void e2e_assert_status(enum kaon_status got, enum kaon_status expected,
                       const char *words, const struct kaon_error *err,
                       const char *call, const char *file, int line);

/* Asserts what a guest did, or says what it did instead. */
#define ASSERT_OUTCOME(expected, out) \
    e2e_assert_outcome(&(out), (expected), __FILE__, __LINE__)

void e2e_assert_outcome(const struct kaon_outcome *out,
                        enum kaon_outcome_kind expected, const char *file,
                        int line);

#define ASSERT_CONTAINS(text, words) \
    e2e_assert_contains((text), (words), __FILE__, __LINE__)

void e2e_assert_contains(const char *text, const char *words, const char *file,
                         int line);

/* Asserts that the function returns that i32: the sandbox is usable. */
#define ASSERT_RETURNS(expected, sandbox, ...) \
    e2e_assert_returns((expected), (sandbox), __FILE__, __LINE__, __VA_ARGS__)

void e2e_assert_returns(int32_t expected, struct kaon_sandbox *sandbox,
                        const char *file, int line, const char *function,
                        const struct kaon_value *args, size_t count);

/* The image of a guest program. Fails the test if it cannot be had. */
struct kaon_image *e2e_image(const char *guest);

/*
 * The host functions that the guest "basics" imports. Prints are dropped.
 * HostAdd adds, HostFail fails with 7 and "no luck", HostEcho echoes.
 */
struct kaon_host_functions *e2e_functions(void);

/* A sandbox of a guest. Only the sandbox is the caller's to destroy. */
struct kaon_sandbox *e2e_sandbox(const char *guest,
                                 const struct kaon_sandbox_opts *opts);

/* The same, given the host functions of e2e_functions(). */
struct kaon_sandbox *e2e_basics(void);

/* What a function returns that returns bool, u32, u64 or nothing (0). */
uint64_t e2e_ask(struct kaon_sandbox *sandbox, const char *function,
                 const struct kaon_value *args, size_t count);

struct kaon_sandbox_stats e2e_stats(const struct kaon_sandbox *sandbox);

/* A snapshot; back to it; another sandbox of it, in a domain of its own if
 * that is NULL. */
struct kaon_snapshot *e2e_take(struct kaon_sandbox *sandbox);
void e2e_restore(struct kaon_sandbox *sandbox, struct kaon_snapshot *snapshot);
struct kaon_sandbox *e2e_create_from(struct kaon_snapshot *snapshot,
                                     struct kaon_domain *domain);

/* A pool's sandbox, however long that takes. */
struct kaon_sandbox *e2e_acquire(struct kaon_pool *pool);

/* A count that is less where everything is slow; at least 1. */
unsigned int e2e_scaled(unsigned int full);

/* Nanoseconds of CLOCK_MONOTONIC; sleeping for some, whatever signals come. */
uint64_t e2e_now(void);
void e2e_sleep(uint64_t nanoseconds);
#define MILLISECOND UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/*
 * Runs a function in a child process, which exits with what it returns, and
 * fails the test unless that is 0 or CHILD_SKIP. The child has as many seconds
 * as given, times harness_slowness().
 *
 * Returns: false if it was CHILD_SKIP.
 */
bool e2e_in_child(int (*function)(void *user), void *user, unsigned int limit);
#define CHILD_SKIP 77

#define CHILD_CHECK(condition)                                               \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "# in a child: %s:%d: %s\n", __FILE__, __LINE__, \
                    #condition);                                             \
            return 1;                                                        \
        }                                                                    \
    } while (0)

#endif

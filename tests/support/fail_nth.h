/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/fail_nth.h - let one allocation or system call fail
 *
 * A test does the same thing again and again, each time with the next call
 * failing, until nothing fails any more:
 *
 *     for (unsigned n = 1;; n++) {
 *         fail_nth_arm(n);
 *         status = the_function(...);
 *         if (!fail_nth_disarm())
 *             break;                      // n calls were too few: all done
 *         assert_int_not_equal(status, KAON_OK);
 *     }
 *
 * Only calls from objects of the test program itself are seen, the library's
 * among them if it is linked statically; what libc does inside is not. Which
 * functions fail, and how, is the table in fail_nth.c. For the calls to come
 * here the program is linked with -Wl,@fail_nth.wrap, which lists them.
 *
 * Calls that give back (free, close, munmap) never fail: nothing could be
 * done about it.
 *
 * Threads: calls of all threads count; arm and disarm from one.
 */
#ifndef KAON_TESTS_FAIL_NTH_H
#define KAON_TESTS_FAIL_NTH_H

#include <stdbool.h>

/* From now on the nth call fails, once. 0: none does, but they are counted. */
void fail_nth_arm(unsigned int nth);

/* Ends that. Returns whether a call was made to fail. */
bool fail_nth_disarm(void);

/* Calls since arming. */
unsigned int fail_nth_count(void);

/* The function that was made to fail last, or "none". */
const char *fail_nth_name(void);

#endif

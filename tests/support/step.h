/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/step.h - counting instructions
 *
 * Exact, on any machine: a child runs the code, one instruction at a time.
 * What the kernel or a guest executes is not counted.
 */
#ifndef KAON_TESTS_STEP_H
#define KAON_TESTS_STEP_H

/*
 * The instructions of run(), in a child process that called prepare() before.
 * Skips the test where a process may not be traced; fails it if the child
 * does not exit with 0.
 */
long step_count(void (*prepare)(void), void (*run)(void));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/processes.h - finding processes by their parents */
#ifndef KAON_TESTS_PROCESSES_H
#define KAON_TESTS_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * The children of a process, zombies too: up to `room` of them into `out`,
 * which may be NULL. Uses no heap.
 *
 * Returns: how many there are.
 */
size_t processes_of(pid_t parent, pid_t *out, size_t room);

/*
 * The process of the one sandbox that runs in one; its zygote into *zygote.
 * Waits for others to go, and fails the test if it is not just one then. In
 * harness_main() programs only: there, orphans are the test program's children.
 */
pid_t processes_sandbox(pid_t *zygote);

/* Kills a process, and waits until it has ended: false if it does not. */
bool processes_kill(pid_t pid);

/* The first letter of its state in /proc: R, S, T, Z ...; 0 if it is gone. */
char processes_state(pid_t pid);

/* How often it was given a CPU, or -1. */
long processes_switches(pid_t pid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines: one thread in the process watches all calls that have one.
 *
 * It is started by the first such call and ended with the last sandbox that
 * made one. A call with a deadline takes a lock twice and, as a rule, makes
 * no system call: it wakes the thread only if that would sleep past the new
 * deadline.
 */
#ifndef KAON_SRC_HOST_WATCH_H
#define KAON_SRC_HOST_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <kaon/error.h>

/* One call under watch; part of its sandbox. */
struct kaon_watch {
    struct kaon_watch *next, **back; /* back is NULL if not watched */
    uint64_t deadline;               /* CLOCK_MONOTONIC, ns */
    bool user;                       /* this sandbox is counted */
    /* Called once, by the watching thread, when the deadline has passed. */
    void (*expire)(struct kaon_watch *watch);
};

/* Counts a user; the first starts the thread. */
enum kaon_status kaon__watch_open(struct kaon_watch *watch,
                                  struct kaon_error *err);

/* Watches until `nanoseconds` from now; opened before. */
void kaon__watch_start(struct kaon_watch *watch, uint64_t nanoseconds);

/* Once this returns, expire() does not run and will not. */
void kaon__watch_stop(struct kaon_watch *watch);

/* Takes the count back; the last ends the thread. */
void kaon__watch_close(struct kaon_watch *watch);

#endif

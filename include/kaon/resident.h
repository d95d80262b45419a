/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/resident.h - a guest that waits for its next call without leaving
 *
 *     if (kaon_sandbox_start_resident(sandbox, NULL, &err))
 *         return complain(err.text);
 *     ... // calls as ever, at less than a microsecond each
 *
 * A call of an ordinary sandbox enters the VM and leaves it again, which is
 * most of what it costs. A resident sandbox has a thread of its own that stays
 * inside: between calls its guest looks at a word in shared memory, and a small
 * call then crosses in one cache line, without a system call. Who
 * waits in vain for a while leaves or sleeps, and is woken: that call costs
 * what others cost, and some more.
 *
 * Everything else is as it was: outcomes, deadlines, interrupts, host
 * functions, and who may call when. It takes a second CPU, which is busy as
 * long as guest or host look for each other.
 *
 * A resident guest runs beside its host, and a hostile one does so between
 * calls as well: SECURITY.md says what that means.
 */
#ifndef KAON_RESIDENT_H
#define KAON_RESIDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/sandbox.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Options of a resident sandbox; make them with KAON_RESIDENT_OPTS(). */
struct kaon_resident_opts {
    size_t size; /* sizeof(struct kaon_resident_opts) */

    /* How long guest and host look for each other before they leave or sleep,
     * about: up to a minute; 0: 1 millisecond. */
    uint64_t spin_ns;
};
#define KAON_RESIDENT_OPTS(...)                                               \
    (&(struct kaon_resident_opts){ .size = sizeof(struct kaon_resident_opts), \
                                   __VA_ARGS__ })

/**
 * kaon_sandbox_start_resident - let a guest wait inside for its calls
 *
 * Starts a thread, which has one of the domain's vCPUs from now on, and
 * installs the handler of the domain's kick_signal, as a deadline does. With
 * process isolation neither is needed: guest and host only look for longer.
 *
 * If the calling thread may use one CPU only, guest and host could not run at
 * once: the sandbox stays as it is, which is no failure, and
 * kaon_sandbox_is_resident() says so. Of a resident sandbox it sets spin_ns.
 *
 * In:      opts   KAON_RESIDENT_OPTS(...), or NULL.
 * Returns: KAON_OK, KAON_EINVAL, KAON_EBUSY (a call runs, or all vCPUs of the
 *          domain are in use: raise vcpus_max), KAON_EPOISONED, KAON_ENOMEM,
 *          KAON_EBACKEND (the program has another handler for the signal).
 * Threads: any, as for kaon_call().
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_sandbox_start_resident(struct kaon_sandbox *sandbox,
                            const struct kaon_resident_opts *opts,
                            struct kaon_error *err);

/**
 * kaon_sandbox_stop_resident - have each call enter and leave again
 *
 * Ends the thread. Nothing happens to a sandbox that is not resident. One that
 * is poisoned may be stopped; destroying it does that too.
 *
 * Returns: KAON_OK, KAON_EINVAL, KAON_EBUSY (a call runs), KAON_EBACKEND (the
 *          sandbox is of the parent of this process).
 * Threads: any, as for kaon_call().
 */
KAON_API enum kaon_status
kaon_sandbox_stop_resident(struct kaon_sandbox *sandbox,
                           struct kaon_error *err);

/**
 * kaon_sandbox_is_resident - do calls cross in shared memory?
 *
 * Returns: false for NULL as well.
 * Threads: not while a thread starts or stops that.
 */
KAON_API bool kaon_sandbox_is_resident(const struct kaon_sandbox *sandbox);

#ifdef __cplusplus
}
#endif

#endif

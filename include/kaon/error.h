/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/error.h - how a function of the host API says that it failed
 *
 * A function that can fail returns a status and fills the caller's
 * struct kaon_error with a sentence that says what to do. Statuses speak of
 * the host alone: what a guest does, however hostile, is an outcome
 * (kaon/outcome.h) and never a status.
 *
 * Rules that hold for every function of the host API:
 *   - `err` may be NULL, and is only written on failure;
 *   - out parameters are only written on success, unless said otherwise;
 *   - a NULL object or a NULL out parameter is KAON_EINVAL, never a crash;
 *   - options structs may be NULL, which means all defaults.
 */
#ifndef KAON_ERROR_H
#define KAON_ERROR_H

#include <kaon/version.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kaon_status {
    KAON_OK = 0,
    KAON_EINVAL = -1,     /* an argument or option is wrong */
    KAON_ENOMEM = -2,     /* the host, or the domain's memory, is exhausted */
    KAON_EIO = -3,        /* a file cannot be read or written */
    KAON_EIMAGE = -4,     /* not a guest image, or a damaged one */
    KAON_EABI = -5,       /* built for another version of kaon/abi.h */
    KAON_EIMPORT = -6,    /* the guest needs host functions that are missing */
    KAON_ENOFUNC = -7,    /* the guest exports no such function */
    KAON_EARGS = -8,      /* wrong number or types of arguments */
    KAON_ETOOBIG = -9,    /* arguments do not fit the exchange */
    KAON_EBUSY = -10,     /* another call or thread has it, or has them all */
    KAON_EPOISONED = -11, /* an earlier outcome left the sandbox unusable */
    KAON_EBACKEND = -12,  /* no hypervisor, no permission, or it refused */
    KAON_ESNAPSHOT = -13, /* not a saved snapshot, or a damaged one */
};

/* Bytes of kaon_error.text, its NUL included. Longer sentences are cut. */
#define KAON_ERROR_TEXT 248

/* A failure, in the caller's memory. */
struct kaon_error {
    enum kaon_status status;
    int sys_errno; /* errno where it failed, if the system said no; else 0 */
    char text[KAON_ERROR_TEXT]; /* one sentence, NUL-terminated, English */
};

/**
 * kaon_status_name - the name of a status, such as "KAON_EINVAL"
 *
 * Returns: a static string; "KAON_E?" for what is no status.
 * Threads: any.
 */
KAON_API const char *kaon_status_name(enum kaon_status status);

#ifdef __cplusplus
}
#endif

#endif

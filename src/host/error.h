/* SPDX-License-Identifier: Apache-2.0 */
/* How the library's own files report failures. */
#ifndef KAON_SRC_HOST_ERROR_H
#define KAON_SRC_HOST_ERROR_H

#include <kaon/error.h>

/*
 * Fills err (which may be NULL) and returns status, so that a failure is one
 * line: return kaon__fail(err, KAON_EINVAL, "...").
 */
enum kaon_status kaon__fail(struct kaon_error *err, enum kaon_status status,
                            const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: keeps errno in err->sys_errno. */
enum kaon_status kaon__fail_errno(struct kaon_error *err,
                                  enum kaon_status status, const char *format,
                                  ...) __attribute__((format(printf, 3, 4)));

/* Passes another failure on, in other words. */
enum kaon_status kaon__fail_because(struct kaon_error *err,
                                    const struct kaon_error *why,
                                    const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses and sentences. Owns nothing; keeps nothing. */
#include "host/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void fill(struct kaon_error *err, enum kaon_status status, int sys_errno,
                 const char *format, va_list args)
{
    if (!err)
        return;
    err->status = status;
    err->sys_errno = sys_errno;
    vsnprintf(err->text, sizeof err->text, format, args);
}

enum kaon_status kaon__fail(struct kaon_error *err, enum kaon_status status,
                            const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fill(err, status, 0, format, args);
    va_end(args);
    return status;
}

enum kaon_status kaon__fail_errno(struct kaon_error *err,
                                  enum kaon_status status, const char *format,
                                  ...)
{
    int saved = errno;
    va_list args;

    va_start(args, format);
    fill(err, status, saved, format, args);
    va_end(args);
    errno = saved;
    return status;
}

enum kaon_status kaon__fail_because(struct kaon_error *err,
                                    const struct kaon_error *why,
                                    const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fill(err, why->status, why->sys_errno, format, args);
    va_end(args);
    return why->status;
}

const char *kaon_status_name(enum kaon_status status)
{
    switch (status) {
    case KAON_OK: return "KAON_OK";
    case KAON_EINVAL: return "KAON_EINVAL";
    case KAON_ENOMEM: return "KAON_ENOMEM";
    case KAON_EIO: return "KAON_EIO";
    case KAON_EIMAGE: return "KAON_EIMAGE";
    case KAON_EABI: return "KAON_EABI";
    case KAON_EIMPORT: return "KAON_EIMPORT";
    case KAON_ENOFUNC: return "KAON_ENOFUNC";
    case KAON_EARGS: return "KAON_EARGS";
    case KAON_ETOOBIG: return "KAON_ETOOBIG";
    case KAON_EBUSY: return "KAON_EBUSY";
    case KAON_EPOISONED: return "KAON_EPOISONED";
    case KAON_EBACKEND: return "KAON_EBACKEND";
    case KAON_ESNAPSHOT: return "KAON_ESNAPSHOT";
    }
    return "KAON_E?";
}

const char *kaon_version(void)
{
    return KAON_VERSION;
}

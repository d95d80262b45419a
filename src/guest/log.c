/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing through the host, later. As print.c and printf.c, but posted.
 */
#include "guest/exchange.h"

KAON_IMPORT_POSTED(HostPrint, i32, string);

#define SHORT 256

int kaon_log(const char *text)
{
    return HostPrint(text) ? -1 : 0;
}

/* The text, made in free space of the exchange; which is free again later, so
 * the queue, which stays, must have its place before. */
static int log_long(size_t length, const char *format, va_list args)
{
    struct kaon_wire_free call;
    char *text;
    int status;

    kaon__posts_open();
    call = kaon__exchange.call;
    text = kaon_reserve(length + 1);
    if (!text)
        return -1;
    kaon_vsnprintf(text, length + 1, format, args);
    status = kaon_log(text);
    kaon__reservation_end(call);
    return status;
}

int kaon_vlogf(const char *format, va_list args)
{
    char text[SHORT];
    va_list again;
    int length, status;

    va_copy(again, args);
    length = kaon_vsnprintf(text, sizeof text, format, args);
    status = length < SHORT ? kaon_log(text)
                            : log_long((size_t)length, format, again);
    va_end(again);
    return status;
}

int kaon_logf(const char *format, ...)
{
    va_list args;
    int status;

    va_start(args, format);
    status = kaon_vlogf(format, args);
    va_end(args);
    return status;
}

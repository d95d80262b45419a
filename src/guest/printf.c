/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formatted printing through the host. Short texts are made on the stack, and
 * long ones in the exchange itself, where they are sent from: the heap is not
 * needed, so that a guest may print that it is exhausted.
 */
#include "guest/exchange.h"

#define SHORT 256

/* The text, made in free space of the exchange; which is free again later. */
static int print_long(size_t length, const char *format, va_list args)
{
    struct kaon_wire_free call = kaon__exchange.call;
    char *text = kaon_reserve(length + 1);
    int printed;

    if (!text)
        return -1;
    kaon_vsnprintf(text, length + 1, format, args);
    printed = kaon_print(text);
    kaon__reservation_end(call);
    return printed;
}

int kaon_vprintf(const char *format, va_list args)
{
    char text[SHORT];
    va_list again;
    int length, printed;

    va_copy(again, args);
    length = kaon_vsnprintf(text, sizeof text, format, args);
    printed = length < SHORT ? kaon_print(text)
                             : print_long((size_t)length, format, again);
    va_end(again);
    return printed;
}

int kaon_printf(const char *format, ...)
{
    va_list args;
    int printed;

    va_start(args, format);
    printed = kaon_vprintf(format, args);
    va_end(args);
    return printed;
}

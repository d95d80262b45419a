/* SPDX-License-Identifier: Apache-2.0 */
/* The ways in which ordinary C code gives up. Each is kaon_abort(). */
#include "guest/exchange.h"
#include "guest/text.h"

__attribute__((noreturn, weak)) void abort(void);
__attribute__((noreturn, weak)) void __assert_fail(const char *expression,
                                                   const char *file,
                                                   unsigned line,
                                                   const char *function);

void abort(void)
{
    kaon_abort(0, "abort() called");
}

void __assert_fail(const char *expression, const char *file, unsigned line,
                   const char *function)
{
    struct kaon__text text;

    kaon__text_begin(&text);
    kaon__text_add(&text, file);
    kaon__text_add(&text, ":");
    kaon__text_add_number(&text, line);
    kaon__text_add(&text, ": ");
    kaon__text_add(&text, function);
    kaon__text_add(&text, ": assertion failed: ");
    kaon__text_add(&text, expression);
    kaon_abort(0, text.data);
}

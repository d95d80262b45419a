/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as people type them, and only those: no spaces around them, nothing
 * behind them, no silent wrapping. Each function returns false for any other
 * text, and then leaves *out alone.
 */
#ifndef KAON_SRC_CLI_NUMBER_H
#define KAON_SRC_CLI_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal, or hexadecimal after 0x; a minus where the range allows it. */
bool number_signed(int64_t *out, const char *text, int64_t low, int64_t high);
bool number_unsigned(uint64_t *out, const char *text, uint64_t high);

/* As C writes it, nan and inf included; what overflows is refused. */
bool number_float(float *out, const char *text);
bool number_double(double *out, const char *text);

/* Positive bytes, with K, M or G for powers of 1024. */
bool number_size(uint64_t *out, const char *text);

/* Positive nanoseconds, with a unit: ns, us, ms, s or m. */
bool number_time(uint64_t *out, const char *text);

#endif

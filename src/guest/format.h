/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces of the formatter. */
#ifndef KAON_SRC_GUEST_FORMAT_H
#define KAON_SRC_GUEST_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

/* One conversion of a format, and what stands between its % and its letter. */
struct kaon__conversion {
    bool left, plus, space, alternate, zero;
    bool has_precision;
    size_t width, precision;
    char length; /* 0, 'l' for anything of 64 bits, 'h', or 'H' for hh */
    char letter;
};

/* Where text goes: nothing past size is written, but all is counted. */
struct kaon__output {
    char *data;
    size_t size, length;
};

void kaon__output_byte(struct kaon__output *out, char byte);
void kaon__output_fill(struct kaon__output *out, char byte, size_t count);
void kaon__output_bytes(struct kaon__output *out, const char *data,
                        size_t count);

/* A number's sign or prefix, then zeroes for the flag 0, at its width. What
 * follows has `length` bytes. Returns what is to be filled behind it. */
size_t kaon__output_pad(struct kaon__output *out,
                        const struct kaon__conversion *how, const char *prefix,
                        size_t length, bool zero);

/* Writes a double for one of fFeEgG. */
void kaon__output_double(struct kaon__output *out,
                         const struct kaon__conversion *how, double value);

#endif

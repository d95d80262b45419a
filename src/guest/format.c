/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formatter, but for doubles.
 *
 * Pure: owns nothing, allocates nothing, and is as right on the host, where
 * its tests compare it with the C library's.
 */
#include "guest/format.h"

#include <limits.h>
#include <kaon/guest.h>

/* More than anybody asks for, and small enough that sums do not overflow. */
#define NUMBER_MAX ((size_t)INT_MAX)

void kaon__output_byte(struct kaon__output *out, char byte)
{
    if (out->length < out->size)
        out->data[out->length] = byte;
    out->length++;
}

void kaon__output_fill(struct kaon__output *out, char byte, size_t count)
{
    size_t room = out->length < out->size ? out->size - out->length : 0;
    size_t written = count < room ? count : room;

    if (written)
        __builtin_memset(out->data + out->length, byte, written);
    out->length += count;
}

void kaon__output_bytes(struct kaon__output *out, const char *data,
                        size_t count)
{
    size_t room = out->length < out->size ? out->size - out->length : 0;
    size_t written = count < room ? count : room;

    if (written)
        __builtin_memcpy(out->data + out->length, data, written);
    out->length += count;
}

size_t kaon__output_pad(struct kaon__output *out,
                        const struct kaon__conversion *how, const char *prefix,
                        size_t length, bool zero)
{
    size_t before = __builtin_strlen(prefix);
    size_t pad =
        how->width > before + length ? how->width - before - length : 0;

    if (!how->left && !zero)
        kaon__output_fill(out, ' ', pad);
    kaon__output_bytes(out, prefix, before);
    if (!how->left && zero)
        kaon__output_fill(out, '0', pad);
    return how->left ? pad : 0;
}

static void output_string(struct kaon__output *out,
                          const struct kaon__conversion *how, const char *text)
{
    size_t length = 0, behind;

    if (!text)
        text = "(null)";
    /* With a precision the text needs no NUL. */
    while ((!how->has_precision || length < how->precision) && text[length])
        length++;
    behind = kaon__output_pad(out, how, "", length, false);
    kaon__output_bytes(out, text, length);
    kaon__output_fill(out, ' ', behind);
}

static unsigned base_of(char letter)
{
    switch (letter) {
    case 'x':
    case 'X':
    case 'p': return 16;
    case 'o': return 8;
    default: return 10;
    }
}

static void output_integer(struct kaon__output *out,
                           const struct kaon__conversion *how,
                           const char *prefix, uint64_t value)
{
    const char *symbols =
        how->letter == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    unsigned base = base_of(how->letter);
    char digits[24]; /* 22 octal digits of 2^64 - 1 */
    char *end = digits + sizeof digits, *at = end;
    size_t length, zeroes = 0, behind;
    uint64_t rest = value;

    for (; rest; rest /= base)
        *--at = symbols[rest % base];
    /* Zero is one digit, unless a precision of 0 says none. */
    if (!value && (!how->has_precision || how->precision))
        *--at = '0';
    length = (size_t)(end - at);
    if (how->has_precision && how->precision > length)
        zeroes = how->precision - length;
    if (how->alternate && base == 8 && !zeroes && (at == end || *at != '0'))
        zeroes = 1;
    behind = kaon__output_pad(out, how, prefix, zeroes + length,
                              how->zero && !how->has_precision);
    kaon__output_fill(out, '0', zeroes);
    kaon__output_bytes(out, at, length);
    kaon__output_fill(out, ' ', behind);
}

static void output_signed(struct kaon__output *out,
                          const struct kaon__conversion *how, int64_t value)
{
    const char *sign = value < 0    ? "-"
                       : how->plus  ? "+"
                       : how->space ? " "
                                    : "";

    output_integer(out, how, sign,
                   value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void output_unsigned(struct kaon__output *out,
                            const struct kaon__conversion *how, uint64_t value)
{
    const char *prefix = "";

    if (how->alternate && value && how->letter != 'u' && how->letter != 'o')
        prefix = how->letter == 'X' ? "0X" : "0x";
    output_integer(out, how, prefix, value);
}

static void output_pointer(struct kaon__output *out,
                           struct kaon__conversion *how, const void *pointer)
{
    how->alternate = true;
    if (pointer)
        output_unsigned(out, how, (uintptr_t)pointer);
    else
        output_string(out, how, "(nil)");
}

static size_t number(const char **at)
{
    size_t value = 0;

    for (; **at >= '0' && **at <= '9'; ++*at) {
        value = value * 10 + (size_t)(**at - '0');
        if (value > NUMBER_MAX)
            value = NUMBER_MAX;
    }
    return value;
}

static void flags_read(const char **at, struct kaon__conversion *how)
{
    for (;; ++*at) {
        switch (**at) {
        case '-': how->left = true; break;
        case '+': how->plus = true; break;
        case ' ': how->space = true; break;
        case '#': how->alternate = true; break;
        case '0': how->zero = true; break;
        default: return;
        }
    }
}

static void length_read(const char **at, struct kaon__conversion *how)
{
    switch (**at) {
    case 'h':
        how->length = 'h';
        if (*++*at == 'h') {
            how->length = 'H';
            ++*at;
        }
        break;
    case 'l':
        if (*++*at == 'l')
            ++*at;
        how->length = 'l';
        break;
    case 'z':
    case 't':
    case 'j':
        ++*at;
        how->length = 'l';
        break;
    }
}

/* A va_list that functions share: alone, it may be an array or not. */
struct arguments {
    va_list list;
};

static void width_read(const char **at, struct kaon__conversion *how,
                       struct arguments *args)
{
    if (**at == '*') {
        int width = va_arg(args->list, int);

        ++*at;
        how->left |= width < 0;
        how->width = (size_t)(width < 0 ? -(int64_t)width : width);
    } else {
        how->width = number(at);
    }
    if (**at != '.')
        return;
    how->has_precision = true;
    if (*++*at == '*') {
        int precision = va_arg(args->list, int);

        ++*at;
        how->has_precision = precision >= 0;
        how->precision = precision >= 0 ? (size_t)precision : 0;
    } else {
        how->precision = number(at);
    }
}

static int64_t signed_argument(const struct kaon__conversion *how,
                               struct arguments *args)
{
    switch (how->length) {
    case 'l': return va_arg(args->list, int64_t);
    case 'h': return (short)va_arg(args->list, int);
    case 'H': return (signed char)va_arg(args->list, int);
    default: return va_arg(args->list, int);
    }
}

static uint64_t unsigned_argument(const struct kaon__conversion *how,
                                  struct arguments *args)
{
    switch (how->length) {
    case 'l': return va_arg(args->list, uint64_t);
    case 'h': return (unsigned short)va_arg(args->list, unsigned);
    case 'H': return (unsigned char)va_arg(args->list, unsigned);
    default: return va_arg(args->list, unsigned);
    }
}

/* Writes one conversion, or returns false if its letter is unknown. */
static bool convert(struct kaon__output *out, struct kaon__conversion *how,
                    struct arguments *args)
{
    char byte;

    switch (how->letter) {
    case 'd':
    case 'i': output_signed(out, how, signed_argument(how, args)); return true;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        output_unsigned(out, how, unsigned_argument(how, args));
        return true;
    case 'p': output_pointer(out, how, va_arg(args->list, void *)); return true;
    case 's':
        output_string(out, how, va_arg(args->list, const char *));
        return true;
    case 'c': {
        size_t behind = kaon__output_pad(out, how, "", 1, false);

        byte = (char)va_arg(args->list, int);
        kaon__output_byte(out, byte);
        kaon__output_fill(out, ' ', behind);
        return true;
    }
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
        kaon__output_double(out, how, va_arg(args->list, double));
        return true;
    case '%': kaon__output_byte(out, '%'); return true;
    default: return false;
    }
}

int kaon_vsnprintf(char *data, size_t size, const char *format, va_list list)
{
    struct kaon__output out = { data, size ? size - 1 : 0, 0 };
    struct arguments args;

    va_copy(args.list, list);
    while (*format) {
        struct kaon__conversion how = { 0 };
        const char *from = format;

        if (*format != '%') {
            while (*format && *format != '%')
                format++;
            kaon__output_bytes(&out, from, (size_t)(format - from));
            continue;
        }
        format++;
        flags_read(&format, &how);
        width_read(&format, &how, &args);
        length_read(&format, &how);
        how.letter = *format;
        format += *format != 0;
        if (!convert(&out, &how, &args))
            kaon__output_bytes(&out, from, (size_t)(format - from));
    }
    va_end(args.list);
    if (size)
        data[out.length < out.size ? out.length : out.size] = 0;
    return out.length < NUMBER_MAX ? (int)out.length : INT_MAX;
}

int kaon_snprintf(char *data, size_t size, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = kaon_vsnprintf(data, size, format, args);
    va_end(args);
    return length;
}

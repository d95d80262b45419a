/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing: the C library's functions forgive too much on their own. */
#include "cli/number.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Digits in base 10, or 16 after 0x, up to what is none; NULL if too large. */
static const char *digits(uint64_t *out, const char *text)
{
    bool hex = text[0] == '0' && (text[1] | 0x20) == 'x';
    const char *start = hex ? text + 2 : text;
    char *end;

    /* strtoull() would take a sign, spaces, and a second 0x. */
    if (hex ? !isxdigit((unsigned char)*start)
            : !isdigit((unsigned char)*start))
        return NULL;
    if (hex && (start[1] | 0x20) == 'x')
        return NULL;
    errno = 0;
    *out = strtoull(start, &end, hex ? 16 : 10);
    return errno ? NULL : end;
}

bool number_unsigned(uint64_t *out, const char *text, uint64_t high)
{
    uint64_t value;
    const char *end = digits(&value, text);

    if (!end || *end || value > high)
        return false;
    *out = value;
    return true;
}

bool number_signed(int64_t *out, const char *text, int64_t low, int64_t high)
{
    bool negative = text[0] == '-';
    uint64_t value;

    if (!number_unsigned(&value, text + negative,
                         negative ? -(uint64_t)low : (uint64_t)high))
        return false;
    *out = (int64_t)(negative ? -value : value);
    return true;
}

/* Whether strtod() and strtof() may see it: they skip spaces. */
static bool looks_like_float(const char *text)
{
    text += *text == '-';
    return isdigit((unsigned char)*text) || *text == '.' ||
           (*text | 0x20) == 'n' || (*text | 0x20) == 'i';
}

bool number_float(float *out, const char *text)
{
    char *end;
    float value;

    if (!looks_like_float(text))
        return false;
    errno = 0;
    value = strtof(text, &end);
    if (end == text || *end || (errno == ERANGE && isinf(value)))
        return false;
    *out = value;
    return true;
}

bool number_double(double *out, const char *text)
{
    char *end;
    double value;

    if (!looks_like_float(text))
        return false;
    errno = 0;
    value = strtod(text, &end);
    if (end == text || *end || (errno == ERANGE && isinf(value)))
        return false;
    *out = value;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* A positive number with one of the units; a name may be "". */
static bool with_unit(uint64_t *out, const char *text, const struct unit *units)
{
    uint64_t value;
    const char *end = digits(&value, text);

    if (!end || value == 0)
        return false;
    for (; units->name; units++)
        if (strcmp(end, units->name) == 0)
            return !__builtin_mul_overflow(value, units->factor, out);
    return false;
}

bool number_size(uint64_t *out, const char *text)
{
    static const struct unit units[] = {
        { "", 1 },
        { "K", UINT64_C(1) << 10 },
        { "M", UINT64_C(1) << 20 },
        { "G", UINT64_C(1) << 30 },
        { NULL, 0 },
    };

    return with_unit(out, text, units);
}

bool number_time(uint64_t *out, const char *text)
{
    static const struct unit units[] = {
        { "ns", 1 },
        { "us", UINT64_C(1000) },
        { "ms", UINT64_C(1000000) },
        { "s", UINT64_C(1000000000) },
        { "m", UINT64_C(60000000000) },
        { NULL, 0 },
    };

    return with_unit(out, text, units);
}

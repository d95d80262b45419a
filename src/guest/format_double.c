/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doubles as decimal text, exactly.
 *
 * A double is an integer times a power of two, so its decimal expansion is
 * finite: at most 309 digits before the point and 1074 after it. All of them
 * are computed, in groups of nine, and then rounded half to even where the
 * format ends. Slower than the clever ways, and right by construction.
 *
 * Invariants: group i of a number has the weight 10^(9 * (POINT - 1 - i)), so
 * that the point is before group POINT; groups outside of [first, end) are
 * zero, and those inside are below 10^9.
 */
#include <kaon/guest.h>
#include "guest/format.h"

#define GROUP 1000000000u
#define GROUP_DIGITS 9
#define POINT 36             /* groups before the point: 2^1024 */
#define GROUPS (POINT + 120) /* and after it: 2^-1074 */

struct decimal {
    uint32_t groups[GROUPS];
    int first, end; /* what is not zero lies between */
};

/* Keeps first, and with it the search for the first digit, off zeroes. */
static void skip_zeroes(struct decimal *d)
{
    while (d->first < d->end && !d->groups[d->first])
        d->first++;
    if (d->first > d->end)
        d->first = d->end;
}

/* Multiplies by 2^bits, bits at most 32: what goes over 10^9 is carried up. */
static void shift_up(struct decimal *d, int bits)
{
    uint64_t carry = 0;

    for (int i = d->end - 1; i >= d->first; i--) {
        carry += (uint64_t)d->groups[i] << bits;
        d->groups[i] = (uint32_t)(carry % GROUP);
        carry /= GROUP;
    }
    /* At most 2^32: two groups more. */
    for (; carry; carry /= GROUP)
        d->groups[--d->first] = (uint32_t)(carry % GROUP);
}

/* Divides by 2^bits, bits at most 9: 10^9 is a multiple of 2^9, so that what
 * a group leaves over goes down into the next without a rest. */
static void shift_down(struct decimal *d, int bits)
{
    uint32_t rest = 0;

    for (int i = d->first; i < d->end; i++) {
        uint32_t group = d->groups[i];

        d->groups[i] = (group >> bits) + rest;
        rest = (group & ((1u << bits) - 1)) * (GROUP >> bits);
    }
    if (rest)
        d->groups[d->end++] = rest;
    skip_zeroes(d);
}

/* value = mantissa * 2^exponent, not negative, finite. */
static void decimal_set(struct decimal *d, double value)
{
    uint64_t bits, mantissa;
    int exponent;

    __builtin_memcpy(&bits, &value, sizeof bits);
    mantissa = bits & ((UINT64_C(1) << 52) - 1);
    exponent = (int)(bits >> 52 & 0x7ff);
    if (exponent)
        mantissa |= UINT64_C(1) << 52;
    else
        exponent = 1;
    exponent -= 1075;

    __builtin_memset(d, 0, sizeof *d);
    d->groups[POINT - 1] = (uint32_t)(mantissa % GROUP);
    d->groups[POINT - 2] = (uint32_t)(mantissa / GROUP);
    d->first = POINT - 2;
    d->end = POINT;
    for (; exponent > 0; exponent -= exponent < 32 ? exponent : 32)
        shift_up(d, exponent < 32 ? exponent : 32);
    for (; exponent<0; exponent += exponent> - 9 ? -exponent : 9)
        shift_down(d, exponent > -9 ? -exponent : 9);
    skip_zeroes(d);
}

static const uint32_t power_of_ten[GROUP_DIGITS + 1] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, GROUP,
};

/*
 * Digits are numbered by their weight: digit n counts 10^n, so that -1 is the
 * first one after the point. Returns the group that it is in, and in *weight
 * what it counts there.
 */
static int group_of(int digit, uint32_t *weight)
{
    /* Offset so that the division rounds down for digits after the point. */
    int from_end = digit + (GROUPS - POINT) * GROUP_DIGITS;

    *weight = power_of_ten[from_end % GROUP_DIGITS];
    return GROUPS - 1 - from_end / GROUP_DIGITS;
}

static char digit_at(const struct decimal *d, int digit)
{
    uint32_t weight;
    int group;

    if (digit < -(GROUPS - POINT) * GROUP_DIGITS ||
        digit >= POINT * GROUP_DIGITS)
        return '0';
    group = group_of(digit, &weight);
    return (char)('0' + d->groups[group] / weight % 10);
}

/* The number of the first digit that is not zero; 0 for zero. */
static int exponent_of(const struct decimal *d)
{
    int digit;

    if (d->first == d->end)
        return 0;
    digit = (POINT - d->first) * GROUP_DIGITS - 1;
    while (digit_at(d, digit) == '0')
        digit--;
    return digit;
}

static bool zero_from(const struct decimal *d, int group)
{
    for (; group < d->end; group++)
        if (d->groups[group])
            return false;
    return true;
}

/* Rounds half to even at a digit, which is the last one to be kept. */
static void round_at(struct decimal *d, int digit)
{
    uint32_t weight, rest, half, keep;
    int group, odd;
    bool exact;

    if (digit <= -(GROUPS - POINT) * GROUP_DIGITS)
        return;
    odd = digit_at(d, digit) & 1;
    group = group_of(digit - 1, &weight);
    keep = weight * 10;
    rest = d->groups[group] % keep;
    half = 5 * weight;
    exact = zero_from(d, group + 1);

    d->groups[group] -= rest;
    for (int i = group + 1; i < d->end; i++)
        d->groups[i] = 0;
    if (d->end > group + 1)
        d->end = group + 1;
    skip_zeroes(d);
    if (rest < half || (rest == half && exact && !odd))
        return;

    if (d->end < group + 1)
        d->end = group + 1;
    if (d->first > group)
        d->first = group;
    d->groups[group] += keep;
    while (d->groups[group] >= GROUP) {
        d->groups[group] -= GROUP;
        d->groups[--group]++;
        if (group < d->first)
            d->first = group;
    }
}

/* Digits from one down to another, both included. */
static void output_digits(struct kaon__output *out, const struct decimal *d,
                          int from, int to)
{
    int last = -(GROUPS - POINT) * GROUP_DIGITS;

    for (; from >= to && from >= last; from--)
        kaon__output_byte(out, digit_at(d, from));
    if (from >= to)
        kaon__output_fill(out, '0', (size_t)(from - to + 1));
}

static void output_fixed(struct kaon__output *out,
                         const struct kaon__conversion *how,
                         const struct decimal *d, const char *sign,
                         int precision)
{
    int top = exponent_of(d);
    bool point = precision || how->alternate;
    size_t length, behind;

    if (top < 0)
        top = 0;
    length = (size_t)top + 1 + point + (size_t)precision;
    behind = kaon__output_pad(out, how, sign, length, how->zero);
    output_digits(out, d, top, 0);
    if (point)
        kaon__output_byte(out, '.');
    output_digits(out, d, -1, -precision);
    kaon__output_fill(out, ' ', behind);
}

static void output_scientific(struct kaon__output *out,
                              const struct kaon__conversion *how,
                              const struct decimal *d, const char *sign,
                              int precision, char letter)
{
    int top = exponent_of(d);
    unsigned exponent = (unsigned)(top < 0 ? -top : top);
    bool point = precision || how->alternate;
    size_t length, behind;

    length = 1 + point + (size_t)precision + (exponent >= 100 ? 5 : 4);
    behind = kaon__output_pad(out, how, sign, length, how->zero);
    output_digits(out, d, top, top);
    if (point)
        kaon__output_byte(out, '.');
    output_digits(out, d, top - 1, top - precision);
    kaon__output_byte(out, letter);
    kaon__output_byte(out, top < 0 ? '-' : '+');
    if (exponent >= 100)
        kaon__output_byte(out, (char)('0' + exponent / 100));
    kaon__output_byte(out, (char)('0' + exponent / 10 % 10));
    kaon__output_byte(out, (char)('0' + exponent % 10));
    kaon__output_fill(out, ' ', behind);
}

/* %g: as many digits as the precision says, in the shorter of both forms. */
static void output_general(struct kaon__output *out,
                           const struct kaon__conversion *how,
                           struct decimal *d, const char *sign, int precision)
{
    int digits = precision ? precision : 1;
    int top, last;

    round_at(d, exponent_of(d) - digits + 1);
    top = exponent_of(d);
    last = top - digits + 1;
    if (!how->alternate) {
        int lowest = -(GROUPS - POINT) * GROUP_DIGITS;

        if (last < lowest)
            last = lowest;
        while (last < top && digit_at(d, last) == '0' &&
               (last < 0 || top < -4 || top >= digits))
            last++;
    }
    if (top < -4 || top >= digits)
        output_scientific(out, how, d, sign, top - last,
                          how->letter == 'G' ? 'E' : 'e');
    else
        output_fixed(out, how, d, sign, last < 0 ? -last : 0);
}

static void output_special(struct kaon__output *out,
                           const struct kaon__conversion *how, const char *sign,
                           bool nan)
{
    bool upper = how->letter < 'a';
    const char *text = nan ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    size_t behind = kaon__output_pad(out, how, sign, 3, false);

    kaon__output_bytes(out, text, 3);
    kaon__output_fill(out, ' ', behind);
}

/* A precision that no sum below can overflow with. */
static int precision_of(const struct kaon__conversion *how)
{
    if (!how->has_precision)
        return 6;
    return how->precision < 0x3fffffff ? (int)how->precision : 0x3fffffff;
}

void kaon__output_double(struct kaon__output *out,
                         const struct kaon__conversion *how, double value)
{
    int precision = precision_of(how);
    bool negative = __builtin_signbit(value);
    const char *sign = negative ? "-" : how->plus ? "+" : how->space ? " " : "";
    struct decimal d;

    if (__builtin_isnan(value) || __builtin_isinf(value)) {
        output_special(out, how, sign, __builtin_isnan(value));
        return;
    }
    decimal_set(&d, negative ? -value : value);
    switch (how->letter) {
    case 'f':
    case 'F':
        round_at(&d, -precision);
        output_fixed(out, how, &d, sign, precision);
        break;
    case 'e':
    case 'E':
        round_at(&d, exponent_of(&d) - precision);
        output_scientific(out, how, &d, sign, precision, how->letter);
        break;
    default: output_general(out, how, &d, sign, precision);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A calculator whose functions take and return every type there is.
 *
 * A function that cannot answer fails with a code and a text of its choice.
 * That is an ordinary outcome: the guest can be called again.
 */
#include <string.h>
#include <kaon/guest.h>

enum { OVERFLOW = 1, DIVISION_BY_ZERO = 2, BAD_DIGIT = 3, OUT_OF_MEMORY = 4 };

static int32_t add(int32_t a, int32_t b)
{
    int32_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        kaon_fail(OVERFLOW, "the sum does not fit an i32");
    return sum;
}
KAON_EXPORT(add, i32, i32, i32);

static uint32_t rotate(uint32_t x, uint32_t by)
{
    by %= 32;
    return by ? x << by | x >> (32 - by) : x;
}
KAON_EXPORT(rotate, u32, u32, u32);

static int64_t multiply(int64_t a, int64_t b)
{
    int64_t product;

    if (__builtin_mul_overflow(a, b, &product))
        kaon_fail(OVERFLOW, "the product does not fit an i64");
    return product;
}
KAON_EXPORT(multiply, i64, i64, i64);

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}
KAON_EXPORT(gcd, u64, u64, u64);

static float half(float x)
{
    return x / 2;
}
KAON_EXPORT(half, f32, f32);

static double divide(double a, double b)
{
    if (b == 0)
        kaon_fail(DIVISION_BY_ZERO, "division by zero");
    return a / b;
}
KAON_EXPORT(divide, f64, f64, f64);

static bool both(bool a, bool b)
{
    return a && b;
}
KAON_EXPORT_AS("and", both, bool, bool, bool);

/* "5f" -> 95. A string arrives with its NUL. */
static uint64_t hexadecimal(const char *digits)
{
    uint64_t value = 0;

    for (; *digits; digits++) {
        static const char known[] = "0123456789abcdef";
        const char *digit = strchr(known, *digits);

        if (!digit)
            kaon_fail(BAD_DIGIT, "a digit is none of 0 to 9 and a to f");
        if (value >> 60)
            kaon_fail(OVERFLOW, "the number does not fit a u64");
        value = value << 4 | (uint64_t)(digit - known);
    }
    return value;
}
KAON_EXPORT(hexadecimal, u64, string);

/* A result is copied when the function returns: it may be static. */
static const char *roman(uint32_t number)
{
    static const struct {
        uint32_t value;
        char text[3];
    } steps[] = {
        { 500, "D" }, { 400, "CD" }, { 100, "C" }, { 90, "XC" },
        { 50, "L" },  { 40, "XL" },  { 10, "X" },  { 9, "IX" },
        { 5, "V" },   { 4, "IV" },   { 1, "I" },
    };
    static char text[32];
    size_t length = 0;

    if (number >= 1000)
        kaon_fail(OVERFLOW, "there is no M on this calculator");
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        for (; number >= steps[i].value; number -= steps[i].value)
            length += strlen(strcpy(text + length, steps[i].text));
    return text;
}
KAON_EXPORT(roman, string, u32);

/* a + b of numbers of any length, lowest byte first. */
static struct kaon_span add_long(struct kaon_span a, struct kaon_span b)
{
    size_t size = (a.size > b.size ? a.size : b.size) + 1;
    uint8_t *sum = kaon_reserve(size); /* where it is not copied again */
    unsigned carry = 0;

    if (!sum)
        kaon_fail(OUT_OF_MEMORY, "the exchange has no room for the sum");
    for (size_t i = 0; i < size; i++) {
        carry += i < a.size ? ((const uint8_t *)a.data)[i] : 0u;
        carry += i < b.size ? ((const uint8_t *)b.data)[i] : 0u;
        sum[i] = (uint8_t)carry;
        carry >>= 8;
    }
    return (struct kaon_span){ sum, size };
}
KAON_EXPORT(add_long, bytes, bytes, bytes);

/* Memory lasts from call to call. */
static double memory;

static void store(double x)
{
    memory = x;
}
KAON_EXPORT(store, void, f64);

static double recall(void)
{
    return memory;
}
KAON_EXPORT(recall, f64);

/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's formatter against the C library's, text for text. */
#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <kaon/guest.h>

#include "support/harness.h"

static char got[4096], want[4096];

/* Formats here are made at run time, or meant to be odd. */
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wformat-overflow"
#pragma GCC diagnostic ignored "-Wformat-truncation"
#endif

#define SAME(...)                                                     \
    do {                                                              \
        int want_length = snprintf(want, sizeof want, __VA_ARGS__);   \
        int got_length = kaon_snprintf(got, sizeof got, __VA_ARGS__); \
                                                                      \
        assert_string_equal(got, want);                               \
        assert_int_equal(got_length, want_length);                    \
    } while (0)

static const char *const flags[] = { "",   "-",  "+",  " ",  "0",  "#",    "-0",
                                     "+0", " 0", "#0", "-+", "+ ", "#+0 -" };
static const char *const widths[] = { "",     "1",  "7",   "25",   ".0",
                                      ".1",   ".3", ".10", "12.5", "5.12",
                                      "20.0", ".",  "3.40" };
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * %#g drops zeroes in the C library of Debian 12 when rounding makes one digit
 * more of a number, so it is not compared here.
 */
static bool mistaken(const char *flag, const char *conversion)
{
    return strchr(flag, '#') && strpbrk(conversion, "gG");
}

/* Each combination of flags, width and precision, for one conversion. */
#define SAME_EACH(conversion, value)                                           \
    for (size_t f = 0; f < COUNT(flags); f++) {                                \
        for (size_t w = 0; w < COUNT(widths); w++) {                           \
            char format[32];                                                   \
                                                                               \
            if (mistaken(flags[f], conversion))                                \
                continue;                                                      \
            snprintf(format, sizeof format, "[%%%s%s%s]", flags[f], widths[w], \
                     conversion);                                              \
            SAME(format, value);                                               \
        }                                                                      \
    }

static void integers_are_as_in_c(void **state)
{
    static const int64_t values[] = {
        0,       1,       -1,        7,         8,         255,          -256,
        INT_MAX, INT_MIN, 123456789, INT64_MAX, INT64_MIN, 1000000000000
    };
    static const char *const conversions[] = { "d", "i", "u", "x", "X", "o" };

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        for (size_t c = 0; c < COUNT(conversions); c++) {
            char with_length[8];

            SAME_EACH(conversions[c], (int)values[i]);
            snprintf(with_length, sizeof with_length, "l%s", conversions[c]);
            SAME_EACH(with_length, values[i]);
            snprintf(with_length, sizeof with_length, "hh%s", conversions[c]);
            SAME_EACH(with_length, (int)values[i]);
            snprintf(with_length, sizeof with_length, "h%s", conversions[c]);
            SAME_EACH(with_length, (int)values[i]);
        }
    }
    SAME("%lld %llx %zu %zd %td %jd %ju", (long long)-5, 5ull, (size_t)6,
         (ssize_t)-7, (ptrdiff_t)-8, (intmax_t)-9, (uintmax_t)10);
}

static void text_is_as_in_c(void **state)
{
    static const char *const texts[] = { "", "a", "text", "a longer text" };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        SAME("[%s] [%10s] [%-10s] [%.2s] [%10.2s] [%-10.3s]", texts[i],
             texts[i], texts[i], texts[i], texts[i], texts[i]);
        SAME("[%.*s] [%*s] [%*.*s] [%.*s]", 2, texts[i], -9, texts[i], 9, 3,
             texts[i], -1, texts[i]);
    }
    SAME("%c%c%5c%-5c|", 'a', 'b', 'c', 'd');
    SAME("%p %20p %-20p|", (void *)0x1234, (void *)0xabc, (void *)0xdef);
    SAME("%p", (void *)NULL);
    SAME("100%% %d%%", 5);
    SAME("no conversion");
    /* With a precision the text has no NUL. */
    SAME("%.3s", (const char[]){ 'a', 'b', 'c' });
}

static const double doubles[] = {
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.5,
    0.1,
    0.2,
    0.25,
    0.125,
    0.375,
    1e-5,
    9.5,
    99.5,
    999.5,
    0.95,
    0.995,
    0.9995,
    9.9999999,
    0.00009999995,
    1e5,
    1e6,
    999999.5,
    999999.4,
    1e15,
    1e16,
    1e17,
    123456789.123456789,
    1e21,
    1e22,
    1e23,
    1e100,
    1e-100,
    1e300,
    DBL_MAX,
    DBL_MIN,
    DBL_EPSILON,
    4.9e-324,
    2.2250738585072009e-308,
    3.14159265358979,
    2.718281828,
    1e9,
    1e8,
    999999999,
    4294967296.0,
    18446744073709551616.0,
    0.3,
    2.0 / 3,
    1.0 / 3,
    5e-7,
    5e-8,
    0.000030517578125,
    8.5,
    1234567.5,
    0.45,
    4.35,
    1.005,
    6.02214076e23,
};

static void doubles_are_as_in_c(void **state)
{
    static const char *const conversions[] = { "f", "e", "g", "F", "E", "G" };

    (void)state;
    for (size_t i = 0; i < COUNT(doubles); i++)
        for (size_t c = 0; c < COUNT(conversions); c++)
            SAME_EACH(conversions[c], doubles[i]);
    for (size_t c = 0; c < COUNT(conversions); c++) {
        SAME_EACH(conversions[c], (double)INFINITY);
        SAME_EACH(conversions[c], (double)-INFINITY);
        SAME_EACH(conversions[c], (double)NAN);
    }
}

static void all_digits_of_a_double_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(doubles); i++) {
        SAME("%.1074f", doubles[i]);
        SAME("%.1100e", doubles[i]);
        SAME("%.800g", doubles[i]);
        SAME("%#.1200g", doubles[i]);
        SAME("%.3000f", doubles[i]);
    }
}

static void a_general_double_may_keep_its_zeroes(void **state)
{
    (void)state;
    SAME("%#g %#.3g %#.0g %#.10g %#G", 1.0, 100.0, 5.0, 0.0001, 1e-10);
    kaon_snprintf(got, sizeof got, "%#.3g %#.2g %#.1g %#g", 999.5, 99.5, 9.5,
                  999999.5);
    assert_string_equal(got, "1.00e+03 1.0e+02 1.e+01 1.00000e+06");
}

static void random_doubles_are_as_in_c(void **state)
{
    uint64_t random = 88172645463325252;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        double value;

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        memcpy(&value, &random, sizeof value);
        SAME("%.*e %.17g %g", (int)(random % 20), value, value, value);
        /* Near where %f has something to round. */
        value = (double)(int64_t)random / 9007199254740992.0;
        SAME("%.*f %f %.0f", (int)(random % 12), value, value, value);
    }
}

static void what_does_not_fit_is_counted(void **state)
{
    (void)state;
    for (size_t size = 0; size < 40; size++) {
        memset(got, 'x', sizeof got);
        memset(want, 'x', sizeof want);
        assert_int_equal(
            kaon_snprintf(got, size, "%s %5d %.3f %-6x|", "text", 42, 1.5, 255),
            snprintf(want, size, "%s %5d %.3f %-6x|", "text", 42, 1.5, 255));
        assert_memory_equal(got, want, sizeof got);
    }
    assert_int_equal(kaon_snprintf(NULL, 0, "%1000000d", 1), 1000000);
}

static void odd_formats_are_harmless(void **state)
{
    (void)state;
    kaon_snprintf(got, sizeof got, "%");
    assert_string_equal(got, "%");
    kaon_snprintf(got, sizeof got, "a%-5.3l");
    assert_string_equal(got, "a%-5.3l");
    kaon_snprintf(got, sizeof got, "%y %d", 5);
    assert_string_equal(got, "%y 5");
    kaon_snprintf(got, sizeof got, "%s", (const char *)NULL);
    assert_string_equal(got, "(null)");
    /* Widths that are absurd are counted, and written as far as they fit. */
    assert_true(kaon_snprintf(got, 16, "%99999999999999999999d", 1) > 0);
    assert_int_equal(kaon_snprintf(got, 16, "%2147483647d%2147483647d", 1, 1),
                     INT_MAX);
    assert_int_equal(strlen(got), 15);
}

/* clang-format off */
TESTS(
    TEST(integers_are_as_in_c),
    TEST(text_is_as_in_c),
    TEST(doubles_are_as_in_c),
    TEST(all_digits_of_a_double_are_exact),
    TEST(a_general_double_may_keep_its_zeroes),
    TEST(random_doubles_are_as_in_c),
    TEST(what_does_not_fit_is_counted),
    TEST(odd_formats_are_harmless),
)

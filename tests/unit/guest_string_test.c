/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory and string functions, under other names, against those of
 * the C library: each size and alignment that takes a path of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "support/harness.h"

void *guest_memcpy(void *to, const void *from, size_t size);
void *guest_memmove(void *to, const void *from, size_t size);
void *guest_memset(void *to, int byte, size_t size);
int guest_memcmp(const void *a, const void *b, size_t size);
int guest_bcmp(const void *a, const void *b, size_t size);
void *guest_memchr(const void *memory, int byte, size_t size);
size_t guest_strlen(const char *text);
size_t guest_strnlen(const char *text, size_t size);
int guest_strcmp(const char *a, const char *b);
int guest_strncmp(const char *a, const char *b, size_t size);
char *guest_strchr(const char *text, int byte);
char *guest_strrchr(const char *text, int byte);
char *guest_strcpy(char *to, const char *from);
char *guest_strncpy(char *to, const char *from, size_t size);

static const size_t sizes[] = { 0,   1,    2,    3,    4,   5,   7,   8,
                                9,   15,   16,   17,   31,  32,  33,  47,
                                48,  63,   64,   65,   99,  127, 128, 255,
                                256, 1000, 2047, 2048, 5000 };
#define SIZES (sizeof sizes / sizeof sizes[0])
#define ROOM 8192

static void pattern(unsigned char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        memory[i] = (unsigned char)(i * 131 + (i >> 8));
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void memcpy_copies_just_that(void **state)
{
    static unsigned char from[ROOM], got[ROOM], want[ROOM];

    (void)state;
    pattern(from, ROOM);
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t shift = 0; shift < 17; shift++) {
            memset(got, 0xaa, ROOM);
            memset(want, 0xaa, ROOM);
            memcpy(want + shift, from + 3, sizes[i]);
            assert_ptr_equal(guest_memcpy(got + shift, from + 3, sizes[i]),
                             got + shift);
            assert_memory_equal(got, want, ROOM);
        }
    }
}

static void memmove_is_right_whatever_overlaps(void **state)
{
    static unsigned char got[ROOM], want[ROOM];

    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        for (int shift = -70; shift <= 70; shift++) {
            pattern(got, ROOM);
            pattern(want, ROOM);
            memmove(want + 1000 + shift, want + 1000, sizes[i]);
            assert_ptr_equal(
                guest_memmove(got + 1000 + shift, got + 1000, sizes[i]),
                got + 1000 + shift);
            assert_memory_equal(got, want, ROOM);
        }
        pattern(got, ROOM);
        pattern(want, ROOM);
        memmove(want, want + 3000, sizes[i]);
        guest_memmove(got, got + 3000, sizes[i]);
        assert_memory_equal(got, want, ROOM);
    }
}

static void memset_sets_just_that(void **state)
{
    static unsigned char got[ROOM], want[ROOM];

    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t shift = 0; shift < 17; shift++) {
            pattern(got, ROOM);
            pattern(want, ROOM);
            memset(want + shift, 0x1fe, sizes[i]);
            assert_ptr_equal(guest_memset(got + shift, 0x1fe, sizes[i]),
                             got + shift);
            assert_memory_equal(got, want, ROOM);
        }
    }
}

static void memcmp_finds_the_first_difference(void **state)
{
    static unsigned char a[300], b[300];

    (void)state;
    pattern(a, sizeof a);
    memcpy(b, a, sizeof b);
    assert_int_equal(guest_memcmp(a, b, sizeof a), 0);
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] = (unsigned char)(b[i] + 128);
        b[299] ^= 1;
        assert_int_equal(sign(guest_memcmp(a, b, sizeof a)),
                         sign(memcmp(a, b, sizeof a)));
        assert_int_equal(guest_memcmp(a, b, i), 0);
        assert_int_not_equal(guest_bcmp(a, b, i + 1), i == 299 ? 1000 : 0);
        memcpy(b, a, sizeof b);
    }
}

static void memchr_finds_the_first_and_no_other(void **state)
{
    static char memory[200];

    (void)state;
    for (size_t start = 0; start < 9; start++) {
        for (size_t i = start; i < sizeof memory; i++) {
            memset(memory, 0x80, sizeof memory);
            memory[i] = 1;
            memory[sizeof memory - 1] = 1;
            assert_ptr_equal(
                guest_memchr(memory + start, 0x101, sizeof memory - start),
                memory + i);
            assert_null(guest_memchr(memory + start, 1, i - start));
        }
    }
    assert_null(guest_memchr(memory, 0, sizeof memory));
}

static void lengths_are_exact(void **state)
{
    (void)state;
    for (size_t length = 0; length < 100; length++) {
        for (size_t shift = 0; shift < 9; shift++) {
            char *text = malloc(shift + length + 1);

            memset(text, 0xff, shift + length);
            text[shift + length] = 0;
            assert_int_equal(guest_strlen(text + shift), length);
            assert_int_equal(guest_strnlen(text + shift, length + 1), length);
            assert_int_equal(guest_strnlen(text + shift, length), length);
            if (length)
                assert_int_equal(guest_strnlen(text + shift, length - 1),
                                 length - 1);
            free(text);
        }
    }
}

static void strings_compare_as_unsigned_bytes(void **state)
{
    static const char *const texts[] = {
        "", "a", "ab", "abc", "abd", "b", "\x7f", "\x80", "\xff", "ab\xff"
    };
    const size_t count = sizeof texts / sizeof texts[0];

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            assert_int_equal(sign(guest_strcmp(texts[i], texts[j])),
                             sign(strcmp(texts[i], texts[j])));
            for (size_t n = 0; n < 5; n++)
                assert_int_equal(sign(guest_strncmp(texts[i], texts[j], n)),
                                 sign(strncmp(texts[i], texts[j], n)));
        }
    }
}

static void characters_are_found(void **state)
{
    const char *text = "abcabc";

    (void)state;
    assert_ptr_equal(guest_strchr(text, 'b'), text + 1);
    assert_ptr_equal(guest_strrchr(text, 'b'), text + 4);
    assert_ptr_equal(guest_strchr(text, 0), text + 6);
    assert_ptr_equal(guest_strrchr(text, 0), text + 6);
    assert_null(guest_strchr(text, 'x'));
    assert_null(guest_strrchr(text, 'x'));
}

static void strings_are_copied_and_padded(void **state)
{
    char got[16], want[16];

    (void)state;
    for (size_t size = 0; size < sizeof got; size++) {
        memset(got, 7, sizeof got);
        memset(want, 7, sizeof want);
        memcpy(want, "text", size < 4 ? size : 4);
        if (size > 4)
            memset(want + 4, 0, size - 4);
        assert_ptr_equal(guest_strncpy(got, "text", size), got);
        assert_memory_equal(got, want, sizeof got);
    }
    assert_ptr_equal(guest_strcpy(got, "other"), got);
    assert_string_equal(got, "other");
}

/* clang-format off */
TESTS(
    TEST(memcpy_copies_just_that),
    TEST(memmove_is_right_whatever_overlaps),
    TEST(memset_sets_just_that),
    TEST(memcmp_finds_the_first_difference),
    TEST(memchr_finds_the_first_and_no_other),
    TEST(lengths_are_exact),
    TEST(strings_compare_as_unsigned_bytes),
    TEST(characters_are_found),
    TEST(strings_are_copied_and_padded),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory and string functions that compilers emit calls to, and a few that
 * much C code needs.
 *
 * Compiled with -fno-builtin and without loop idioms, or these would call
 * themselves. Unaligned loads and stores go through types that allow them.
 * Copies up to 2 KiB are moves of 16 bytes; beyond that the string
 * instructions win on every CPU of the last ten years.
 */
#include "guest/string.h"

#define STRING_INSTRUCTION_FROM 2048

/* A word of eight ones, and with a factor of eight of any byte. */
#define ONES UINT64_C(0x0101010101010101)

typedef uint16_t __attribute__((may_alias, aligned(1))) u16;
typedef uint32_t __attribute__((may_alias, aligned(1))) u32;
typedef uint64_t __attribute__((may_alias, aligned(1))) u64;
typedef long long __attribute__((vector_size(16), may_alias, aligned(1))) v16;

/* memcpy and memmove alike: everything is loaded before anything is stored. */
static void copy_up_to_32(unsigned char *to, const unsigned char *from,
                          size_t size)
{
    if (size >= 16) {
        v16 first = *(const v16 *)from;
        v16 last = *(const v16 *)(from + size - 16);

        *(v16 *)to = first;
        *(v16 *)(to + size - 16) = last;
    } else if (size >= 8) {
        u64 first = *(const u64 *)from, last = *(const u64 *)(from + size - 8);

        *(u64 *)to = first;
        *(u64 *)(to + size - 8) = last;
    } else if (size >= 4) {
        u32 first = *(const u32 *)from, last = *(const u32 *)(from + size - 4);

        *(u32 *)to = first;
        *(u32 *)(to + size - 4) = last;
    } else if (size >= 2) {
        u16 first = *(const u16 *)from, last = *(const u16 *)(from + size - 2);

        *(u16 *)to = first;
        *(u16 *)(to + size - 2) = last;
    } else if (size) {
        *to = *from;
    }
}

/* Upwards: right if `to` is below `from`, or they do not overlap. */
static void copy_up(unsigned char *to, const unsigned char *from, size_t size)
{
    v16 last = *(const v16 *)(from + size - 16);
    unsigned char *end = to + size - 16;

    for (; to < end; to += 16, from += 16)
        *(v16 *)to = *(const v16 *)from;
    *(v16 *)end = last;
}

static void copy_down(unsigned char *to, const unsigned char *from, size_t size)
{
    v16 first = *(const v16 *)from;

    for (size_t i = size; i > 16; i -= 16)
        *(v16 *)(to + i - 16) = *(const v16 *)(from + i - 16);
    *(v16 *)to = first;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *result = to;

    if (size <= 32)
        copy_up_to_32(to, from, size);
    else if (size < STRING_INSTRUCTION_FROM)
        copy_up(to, from, size);
    else
        __asm__ volatile("rep movsb"
                         : "+D"(to), "+S"(from), "+c"(size)
                         :
                         : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t size)
{
    uintptr_t up = (uintptr_t)to - (uintptr_t)from;
    uintptr_t down = (uintptr_t)from - (uintptr_t)to;

    if (size <= 32)
        copy_up_to_32(to, from, size);
    else if (up >= size && down >= size)
        memcpy(to, from, size);
    else if (up >= size)
        copy_up(to, from, size);
    else
        copy_down(to, from, size);
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    unsigned char *at = to, *end = at + size;
    u64 word = ONES * (unsigned char)byte;
    v16 vector = { (long long)word, (long long)word };

    if (size >= STRING_INSTRUCTION_FROM) {
        __asm__ volatile("rep stosb"
                         : "+D"(at), "+c"(size)
                         : "a"(byte)
                         : "memory");
    } else if (size >= 16) {
        for (; at < end - 16; at += 16)
            *(v16 *)at = vector;
        *(v16 *)(end - 16) = vector;
    } else if (size >= 8) {
        *(u64 *)at = word;
        *(u64 *)(end - 8) = word;
    } else {
        while (at < end)
            *at++ = (unsigned char)byte;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *p = a, *q = b;

    for (; size >= 8 && *(const u64 *)p == *(const u64 *)q; size -= 8) {
        p += 8;
        q += 8;
    }
    for (; size; size--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

int bcmp(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size);
}

/* Not zero if a byte of the word is: Mycroft's test. */
static u64 zero_bytes(u64 word)
{
    return (word - ONES) & ~word & (ONES << 7);
}

void *memchr(const void *memory, int byte, size_t size)
{
    const unsigned char *at = memory;
    u64 pattern = ONES * (unsigned char)byte;

    while (size >= 32 && !(zero_bytes(*(const u64 *)at ^ pattern) |
                           zero_bytes(*(const u64 *)(at + 8) ^ pattern) |
                           zero_bytes(*(const u64 *)(at + 16) ^ pattern) |
                           zero_bytes(*(const u64 *)(at + 24) ^ pattern))) {
        at += 32;
        size -= 32;
    }
    for (; size; size--, at++)
        if (*at == (unsigned char)byte)
            return (void *)(uintptr_t)at;
    return NULL;
}

KAON__READS_WORDS size_t strlen(const char *text)
{
    const char *at = text;

    /* Aligned words never reach into a page that the text does not. */
    for (; (uintptr_t)at % 8; at++)
        if (!*at)
            return (size_t)(at - text);
    while (!zero_bytes(*(const u64 *)(const void *)at))
        at += 8;
    while (*at)
        at++;
    return (size_t)(at - text);
}

size_t strnlen(const char *text, size_t size)
{
    const char *end = memchr(text, 0, size);

    return end ? (size_t)(end - text) : size;
}

int strcmp(const char *a, const char *b)
{
    for (; *a && *a == *b; a++)
        b++;
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t size)
{
    for (; size && *a && *a == *b; a++, size--)
        b++;
    return size ? (unsigned char)*a - (unsigned char)*b : 0;
}

char *strchr(const char *text, int byte)
{
    for (;; text++) {
        if (*text == (char)byte)
            return (char *)(uintptr_t)text;
        if (!*text)
            return NULL;
    }
}

char *strrchr(const char *text, int byte)
{
    const char *last = NULL;

    for (;; text++) {
        if (*text == (char)byte)
            last = text;
        if (!*text)
            return (char *)(uintptr_t)last;
    }
}

char *strcpy(char *restrict to, const char *restrict from)
{
    return memcpy(to, from, strlen(from) + 1);
}

char *strncpy(char *restrict to, const char *restrict from, size_t size)
{
    size_t length = strnlen(from, size);

    memcpy(to, from, length);
    memset(to + length, 0, size - length);
    return to;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parser with a bug, as parsers have: it believes the length that its input
 * states. Built with frame pointers, so that a fault has a full backtrace.
 */
#include <string.h>
#include <kaon/guest.h>

/* Functions of their own, so that a backtrace has something to show. */
#define SEPARATE __attribute__((noinline)) static

/* A copy of the text, with a NUL. */
SEPARATE char *duplicate(const char *text, uint32_t length)
{
    char *copy = kaon_malloc((size_t)length + 1);

    copy[length] = '\0'; /* the bug: there may be no copy */
    for (uint32_t i = 0; i < length; i++)
        copy[i] = text[i];
    return copy;
}

/* A record is four bytes of length, then the text. */
SEPARATE uint32_t count_words(const char *record)
{
    uint32_t length, words = 0;
    char *text;

    memcpy(&length, record, sizeof length);
    text = duplicate(record + sizeof length, length);
    for (const char *s = text; *s; s++)
        words += *s != ' ' && (s == text || s[-1] == ' ');
    kaon_free(text);
    return words;
}

static uint32_t parse(struct kaon_span input)
{
    if (input.size < sizeof(uint32_t))
        kaon_fail(1, "the input is too short for a record");
    return count_words(input.data);
}
KAON_EXPORT(parse, u32, bytes);

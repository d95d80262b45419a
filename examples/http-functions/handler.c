/* SPDX-License-Identifier: Apache-2.0 */
/* Counts words and hashes the body. Needs no library at all. */
#include "handler.h"

struct writer {
    char *at, *end;
};

static void put_char(struct writer *writer, char c)
{
    if (writer->at < writer->end)
        *writer->at++ = c;
}

static void put_text(struct writer *writer, const char *text)
{
    while (*text)
        put_char(writer, *text++);
}

static void put_number(struct writer *writer, uint64_t number, unsigned base)
{
    char digits[24];
    int count = 0;

    do
        digits[count++] = "0123456789abcdef"[number % base];
    while (number /= base);
    while (count)
        put_char(writer, digits[--count]);
}

static uint64_t count_words(const unsigned char *body, size_t size)
{
    uint64_t words = 0;
    int within = 0;

    for (size_t i = 0; i < size; i++) {
        words += body[i] > ' ' && !within;
        within = body[i] > ' ';
    }
    return words;
}

/* FNV-1a */
static uint64_t hash(const unsigned char *body, size_t size)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++)
        value = (value ^ body[i]) * UINT64_C(0x100000001b3);
    return value;
}

size_t handler_answer(struct handler *handler, const char *path,
                      const unsigned char *body, size_t size,
                      char answer[HANDLER_ROOM])
{
    struct writer writer = { answer, answer + HANDLER_ROOM - 1 };
    uint64_t words = count_words(body, size);

    handler->requests++;
    handler->seen += words;
    put_text(&writer, "request ");
    put_number(&writer, handler->requests, 10);
    put_text(&writer, " of this guest\nwords ");
    put_number(&writer, words, 10);
    put_text(&writer, ", seen ");
    put_number(&writer, handler->seen, 10);
    put_text(&writer, "\nhash ");
    put_number(&writer, hash(body, size), 16);
    put_text(&writer, "\npath ");
    put_text(&writer, path);
    put_char(&writer, '\n');
    *writer.at = '\0';
    return (size_t)(writer.at - answer);
}

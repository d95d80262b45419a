/* SPDX-License-Identifier: Apache-2.0 */
/* Escapes for terminals; decodes UTF-8. Owns nothing. */
#include "cli/text.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

size_t text_decode(uint32_t *character, const unsigned char *bytes, size_t size)
{
    /* The smallest character that needs so many bytes: less is overlong. */
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first = bytes[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;
    uint32_t value = length == 1 ? first : first & (0x7fu >> length);

    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff ||
        (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *character = value;
    return length;
}

/* C0 and C1 controls, but for line feed and tab; and what reorders a line. */
static bool is_dangerous(uint32_t character)
{
    if (character == '\n' || character == '\t')
        return false;
    return character < 0x20 || (character >= 0x7f && character < 0xa0) ||
           (character >= 0x202a && character <= 0x202e) ||
           (character >= 0x2066 && character <= 0x2069);
}

static void write_escaped(FILE *out, const unsigned char *bytes, size_t size)
{
    while (size) {
        uint32_t character;
        size_t length = text_decode(&character, bytes, size);

        if (length && !is_dangerous(character)) {
            fwrite(bytes, 1, length, out);
        } else {
            length = length ? length : 1;
            for (size_t i = 0; i < length; i++)
                fprintf(out, "\\x%02x", bytes[i]);
        }
        bytes += length;
        size -= length;
    }
}

void text_write(FILE *out, const char *text, size_t size)
{
    if (isatty(fileno(out)))
        write_escaped(out, (const unsigned char *)text, size);
    else if (size)
        fwrite(text, 1, size, out);
}

void text_put(FILE *out, const char *text)
{
    text_write(out, text, strlen(text));
}

void text_hex(FILE *out, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < size; i++)
        fprintf(out, "%02x", at[i]);
}

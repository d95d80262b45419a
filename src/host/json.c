/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes JSON. Pure but for the memory of a text that is written.
 *
 * Invariant of the reader: start <= at <= end, and nothing outside is read.
 * The levels that are open are bits of one word, so a document can ask for no
 * more of us than KAON_JSON_DEPTH_MAX.
 */
#include "host/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- UTF-8 ------------------------------------------------------------- */

/* The length of the character at `at`, or 0 if there is no good one. */
static size_t character_length(const unsigned char *at, size_t left)
{
    unsigned char first = at[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;

    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong, a surrogate, or beyond the last character? */
    if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f) ||
        (first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

static size_t encode(uint32_t character, char out[4])
{
    unsigned tail = character < 0x80 ? 0 : character < 0x800 ? 1 : 2;
    static const unsigned char heads[] = { 0, 0xc0, 0xe0, 0xf0 };

    if (character >= 0x10000)
        tail = 3;
    out[0] = (char)(heads[tail] | character >> 6 * tail);
    for (unsigned i = 1; i <= tail; i++)
        out[i] = (char)(0x80 | (character >> 6 * (tail - i) & 0x3f));
    return tail + 1;
}

/* ---- Reading: the text ------------------------------------------------- */

void kaon__json_begin(struct kaon_json *json, const char *text, size_t size)
{
    *json = (struct kaon_json){
        .at = text,
        .start = text,
        .end = text + size,
    };
}

bool kaon__json_fail(struct kaon_json *json, const char *error)
{
    if (!json->error)
        json->error = error;
    return false;
}

/* The next byte that is no white space, without taking it; 0 at the end. */
static char peek(struct kaon_json *json)
{
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' ||
                                    *json->at == '\r' || *json->at == '\t'))
        json->at++;
    return json->at < json->end ? *json->at : '\0';
}

static bool take(struct kaon_json *json, char wanted, const char *error)
{
    if (json->error)
        return false;
    if (peek(json) != wanted)
        return kaon__json_fail(json, error);
    json->at++;
    return true;
}

static int digit_worth(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Four hexadecimal digits; or -1. */
static int32_t take_unit(struct kaon_json *json)
{
    int32_t unit = 0;

    if (json->end - json->at < 4)
        return -1;
    for (unsigned i = 0; i < 4; i++) {
        int worth = digit_worth(*json->at++);

        if (worth < 0)
            return -1;
        unit = unit << 4 | worth;
    }
    return unit;
}

/* What follows \u: a character, or two halves of one; or -1. */
static int32_t take_character(struct kaon_json *json)
{
    int32_t high = take_unit(json), low;

    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || json->end - json->at < 2 || json->at[0] != '\\' ||
        json->at[1] != 'u')
        return -1;
    json->at += 2;
    low = take_unit(json);
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* What follows a backslash, as UTF-8 in out; its length, or 0. */
static size_t take_escape(struct kaon_json *json, char out[4])
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *found;
    int32_t character;

    if (json->at == json->end || *json->at == '\0')
        return 0;
    found = strchr(names, *json->at);
    if (found) {
        json->at++;
        out[0] = meant[found - names];
        return 1;
    }
    if (*json->at++ != 'u')
        return 0;
    character = take_character(json);
    return character < 0 ? 0 : encode((uint32_t)character, out);
}

/* One character of a string as UTF-8; its length, or 0. */
static size_t take_piece(struct kaon_json *json, char out[4])
{
    size_t left = (size_t)(json->end - json->at), length;

    if (*json->at == '\\') {
        json->at++;
        return take_escape(json, out);
    }
    if ((unsigned char)*json->at < 0x20)
        return 0;
    length = character_length((const unsigned char *)json->at, left);
    memcpy(out, json->at, length);
    json->at += length;
    return length;
}

/* Passes over what stands for itself and is ASCII; how long it is. */
static size_t take_plain(struct kaon_json *json)
{
    const char *from = json->at;

    while (json->at < json->end && *json->at >= ' ' && *json->at != '"' &&
           *json->at != '\\')
        json->at++;
    return (size_t)(json->at - from);
}

/* Where a string goes: what fits, in whole characters. */
struct string {
    char *out; /* NULL: nowhere */
    size_t room;
    size_t length, used; /* of all, and in out */
};

static void put(struct string *string, const char *from, size_t size)
{
    size_t left = string->room - string->used;

    if (string->out && string->used == string->length && left > 1) {
        /* ASCII comes in pieces that may be cut anywhere, all else in one. */
        size_t part = size < left ? size : *from & 0x80 ? 0 : left - 1;

        memcpy(string->out + string->used, from, part);
        string->used += part;
    }
    string->length += size;
}

/* The next characters of a string; false if there is one that may not be. */
static bool take_some(struct kaon_json *json, struct string *string)
{
    const char *from = json->at;
    size_t size = take_plain(json);
    char piece[4];

    if (size == 0) {
        from = piece;
        size = take_piece(json, piece);
        if (size == 0 || (string->out && piece[0] == '\0'))
            return false;
    }
    put(string, from, size);
    return true;
}

/*
 * A whole string. `out` (which may be NULL) gets what fits, NUL-terminated.
 * Returns the length that it has, or SIZE_MAX.
 */
static size_t take_string(struct kaon_json *json, char *out, size_t room)
{
    struct string string = { .out = out, .room = room };

    if (!take(json, '"', "a string is expected"))
        return SIZE_MAX;
    while (json->at < json->end && *json->at != '"')
        if (!take_some(json, &string)) {
            kaon__json_fail(json, "a string has a character that it may not");
            return SIZE_MAX;
        }
    if (json->at == json->end) {
        kaon__json_fail(json, "a string has no end");
        return SIZE_MAX;
    }
    json->at++;
    if (out)
        out[string.used] = '\0';
    return string.length;
}

/* ---- Reading: values --------------------------------------------------- */

static bool enter(struct kaon_json *json, char bracket, const char *error)
{
    if (!take(json, bracket, error))
        return false;
    if (json->depth == KAON_JSON_DEPTH_MAX)
        return kaon__json_fail(json, "it is nested too deeply");
    json->objects = json->objects << 1 | (bracket == '{');
    json->depth++;
    json->comma = false;
    return true;
}

bool kaon__json_object(struct kaon_json *json)
{
    return enter(json, '{', "an object is expected");
}

bool kaon__json_array(struct kaon_json *json)
{
    return enter(json, '[', "an array is expected");
}

/* Goes to the next member of a level. False leaves it, or has failed. */
static bool next(struct kaon_json *json, char bracket)
{
    if (json->error)
        return false;
    if (peek(json) == bracket) {
        json->at++;
        json->depth--;
        json->objects >>= 1;
        json->comma = true;
        return false;
    }
    if (json->comma && !take(json, ',', "a comma is expected"))
        return false;
    json->comma = true;
    return true;
}

const char *kaon__json_key(struct kaon_json *json)
{
    if (!next(json, '}') ||
        take_string(json, json->key, sizeof json->key) == SIZE_MAX ||
        !take(json, ':', "a colon is expected"))
        return NULL;
    return json->key;
}

bool kaon__json_item(struct kaon_json *json)
{
    return next(json, ']');
}

bool kaon__json_string(struct kaon_json *json, char *out, size_t room)
{
    size_t length = take_string(json, out, room);

    if (length == SIZE_MAX)
        return false;
    return length < room || kaon__json_fail(json, "a string is too long");
}

bool kaon__json_cut_string(struct kaon_json *json, char *out, size_t room)
{
    return take_string(json, out, room) != SIZE_MAX;
}

static bool is_digit(const struct kaon_json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

/* Is the number over? "1.5" or "1e9" is none of ours, and "01" is none. */
static bool ends(const struct kaon_json *json)
{
    return json->at == json->end || !strchr("0123456789.eE+-", *json->at) ||
           *json->at == '\0';
}

bool kaon__json_u64(struct kaon_json *json, uint64_t *out)
{
    uint64_t value = 0;
    bool zero;

    if (json->error)
        return false;
    peek(json);
    if (!is_digit(json))
        return kaon__json_fail(json, "a number of at least 0 is expected");
    zero = *json->at == '0';
    do {
        uint64_t digit = (uint64_t)(*json->at++ - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return kaon__json_fail(json, "a number is too large");
        value = value * 10 + digit;
    } while (!zero && is_digit(json));
    if (!ends(json))
        return kaon__json_fail(json, "a number is no plain integer");
    *out = value;
    return true;
}

static bool take_digits(struct kaon_json *json)
{
    if (!is_digit(json))
        return kaon__json_fail(json, "a number is misspelt");
    while (is_digit(json))
        json->at++;
    return true;
}

static bool take_one_of(struct kaon_json *json, const char *bytes)
{
    if (json->at == json->end || *json->at == '\0' || !strchr(bytes, *json->at))
        return false;
    json->at++;
    return true;
}

/* Any number: -? (0 | digits) (. digits)? ([eE] [+-]? digits)? */
static bool skip_number(struct kaon_json *json)
{
    take_one_of(json, "-");
    if (!take_one_of(json, "0") && !take_digits(json))
        return false;
    if (take_one_of(json, ".") && !take_digits(json))
        return false;
    if (take_one_of(json, "eE")) {
        take_one_of(json, "+-");
        if (!take_digits(json))
            return false;
    }
    return ends(json) || kaon__json_fail(json, "a number is misspelt");
}

static bool skip_word(struct kaon_json *json)
{
    static const char *const words[] = { "true", "false", "null" };
    size_t left = (size_t)(json->end - json->at);

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i]);

        if (left >= length && memcmp(json->at, words[i], length) == 0) {
            json->at += length;
            return true;
        }
    }
    return kaon__json_fail(json, "a value is expected");
}

/* Enters what can be entered, and passes over all else. */
static bool skip_into(struct kaon_json *json)
{
    char first = peek(json);

    switch (first) {
    case '{': return kaon__json_object(json);
    case '[': return kaon__json_array(json);
    case '"': return take_string(json, NULL, 0) != SIZE_MAX;
    default:
        return first == '-' || is_digit(json) ? skip_number(json)
                                              : skip_word(json);
    }
}

/* The next member of the innermost level, passing over its key if it has one;
 * as next(). */
static bool skip_to_next(struct kaon_json *json)
{
    if (!(json->objects & 1))
        return next(json, ']');
    return next(json, '}') && take_string(json, NULL, 0) != SIZE_MAX &&
           take(json, ':', "a colon is expected");
}

bool kaon__json_skip(struct kaon_json *json)
{
    uint32_t depth = json->depth;

    if (json->error || !skip_into(json))
        return false;
    while (json->depth > depth && !json->error)
        if (skip_to_next(json))
            skip_into(json);
    return !json->error;
}

bool kaon__json_end(struct kaon_json *json)
{
    if (json->error)
        return false;
    if (json->depth > 0 || (peek(json), json->at < json->end))
        return kaon__json_fail(json, "there is more than it should have");
    return true;
}

/* ---- Writing ----------------------------------------------------------- */

static void append(struct kaon_json_text *text, const char *bytes, size_t size)
{
    if (text->failed)
        return;
    if (size > text->room - text->size) {
        size_t room = (text->size + size) * 2 + 256;
        char *grown = realloc(text->text, room);

        if (!grown) {
            text->failed = true;
            return;
        }
        text->text = grown;
        text->room = room;
    }
    memcpy(text->text + text->size, bytes, size);
    text->size += size;
}

static void append_escaped(struct kaon_json_text *text, unsigned char byte)
{
    char escape[8];
    int length = snprintf(escape, sizeof escape, "\\u%04x", byte);

    append(text, escape, (size_t)length);
}

static void quote(struct kaon_json_text *text, const char *value)
{
    size_t left = strlen(value), length;

    append(text, "\"", 1);
    for (; left; left -= length, value += length) {
        unsigned char first = (unsigned char)*value;

        length = character_length((const unsigned char *)value, left);
        if (length == 0) {
            append(text, "\xef\xbf\xbd", 3);
            length = 1;
        } else if (first < 0x20 || first == '"' || first == '\\') {
            append_escaped(text, first);
        } else {
            append(text, value, length);
        }
    }
    append(text, "\"", 1);
}

static void begin(struct kaon_json_text *text, const char *key)
{
    if (text->more)
        append(text, ",", 1);
    text->more = true;
    if (key) {
        quote(text, key);
        append(text, ":", 1);
    }
}

static void open_with(struct kaon_json_text *text, const char *key,
                      const char *bracket)
{
    begin(text, key);
    append(text, bracket, 1);
    text->more = false;
}

static void close_with(struct kaon_json_text *text, const char *bracket)
{
    append(text, bracket, 1);
    text->more = true;
}

void kaon__json_put_object(struct kaon_json_text *text, const char *key)
{
    open_with(text, key, "{");
}

void kaon__json_put_array(struct kaon_json_text *text, const char *key)
{
    open_with(text, key, "[");
}

void kaon__json_put_object_end(struct kaon_json_text *text)
{
    close_with(text, "}");
}

void kaon__json_put_array_end(struct kaon_json_text *text)
{
    close_with(text, "]");
}

void kaon__json_put_u64(struct kaon_json_text *text, const char *key,
                        uint64_t value)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, value);

    begin(text, key);
    append(text, digits, (size_t)length);
}

void kaon__json_put_string(struct kaon_json_text *text, const char *key,
                           const char *value)
{
    begin(text, key);
    quote(text, value);
}

void kaon__json_put_raw(struct kaon_json_text *text, const char *key,
                        const char *value, size_t size)
{
    begin(text, key);
    append(text, value, size);
}

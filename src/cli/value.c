/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes values. Owns the bytes of arguments that were decoded or
 * read from a file, through struct argument.
 */
#include "cli/value.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <kaon/image.h>

#include "cli/number.h"
#include "cli/text.h"

/* The largest exchange: no larger argument can be passed. */
#define FILE_MAX_BYTES ((size_t)1 << 30)

/* Digits that tell two neighbouring floats or doubles apart. */
#define F32_DIGITS 9
#define F64_DIGITS 17

/* ---- Reading ----------------------------------------------------------- */

static const char *read_i32(struct kaon_value *out, const char *word)
{
    int64_t x;

    if (!number_signed(&x, word, INT32_MIN, INT32_MAX))
        return "an i32 is a number from -2147483648 to 2147483647";
    *out = kaon_i32((int32_t)x);
    return NULL;
}

static const char *read_u32(struct kaon_value *out, const char *word)
{
    uint64_t x;

    if (!number_unsigned(&x, word, UINT32_MAX))
        return "a u32 is a number from 0 to 4294967295";
    *out = kaon_u32((uint32_t)x);
    return NULL;
}

static const char *read_i64(struct kaon_value *out, const char *word)
{
    int64_t x;

    if (!number_signed(&x, word, INT64_MIN, INT64_MAX))
        return "an i64 is a number from -9223372036854775808 to "
               "9223372036854775807";
    *out = kaon_i64(x);
    return NULL;
}

static const char *read_u64(struct kaon_value *out, const char *word)
{
    uint64_t x;

    if (!number_unsigned(&x, word, UINT64_MAX))
        return "a u64 is a number from 0 to 18446744073709551615";
    *out = kaon_u64(x);
    return NULL;
}

static const char *read_f32(struct kaon_value *out, const char *word)
{
    float x;

    if (!number_float(&x, word))
        return "an f32 is a number up to 3.4028235e38, inf, -inf or nan";
    *out = kaon_f32(x);
    return NULL;
}

static const char *read_f64(struct kaon_value *out, const char *word)
{
    double x;

    if (!number_double(&x, word))
        return "an f64 is a number up to 1.7976931348623157e308, inf, -inf "
               "or nan";
    *out = kaon_f64(x);
    return NULL;
}

static const char *read_bool(struct kaon_value *out, const char *word)
{
    bool yes = strcmp(word, "true") == 0 || strcmp(word, "1") == 0;

    if (!yes && strcmp(word, "false") != 0 && strcmp(word, "0") != 0)
        return "a bool is true, false, 1 or 0";
    *out = kaon_bool(yes);
    return NULL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *read_hex(struct argument *out, const char *word)
{
    size_t size = strlen(word) / 2;
    unsigned char *bytes = malloc(size + 1);

    if (!bytes)
        return "out of memory";
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(word[2 * i]), low = hex_digit(word[2 * i + 1]);

        if (high < 0 || low < 0)
            goto refuse;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    if (word[2 * size])
        goto refuse;
    out->memory = bytes;
    out->value = kaon_bytes(bytes, size);
    return NULL;

refuse:
    free(bytes);
    return "bytes are pairs of hexadecimal digits, or @ and the name of a "
           "file";
}

/* A pipe is good as well, so the size is only known at the end. */
static const char *read_stream(struct argument *out, FILE *file)
{
    size_t room = (size_t)64 << 10, size = 0;
    unsigned char *bytes = malloc(room);

    while (bytes) {
        unsigned char *more;

        size += fread(bytes + size, 1, room - size, file);
        if (size < room || room > FILE_MAX_BYTES)
            break;
        more = realloc(bytes, room * 2);
        if (!more)
            free(bytes);
        bytes = more;
        room *= 2;
    }
    if (!bytes)
        return "out of memory for the file";
    if (ferror(file) || size > FILE_MAX_BYTES) {
        free(bytes);
        return size > FILE_MAX_BYTES ? "a file may have 1 GiB"
                                     : strerror(errno);
    }
    out->memory = bytes;
    out->value = kaon_bytes(bytes, size);
    return NULL;
}

static const char *read_file(struct argument *out, const char *path)
{
    FILE *file = fopen(path, "rbe");
    const char *wrong;

    if (!file)
        return strerror(errno);
    wrong = read_stream(out, file);
    fclose(file);
    return wrong;
}

const char *argument_read(struct argument *out, uint32_t type, const char *word)
{
    out->memory = NULL;
    switch (type) {
    case KAON_TYPE_I32: return read_i32(&out->value, word);
    case KAON_TYPE_U32: return read_u32(&out->value, word);
    case KAON_TYPE_I64: return read_i64(&out->value, word);
    case KAON_TYPE_U64: return read_u64(&out->value, word);
    case KAON_TYPE_F32: return read_f32(&out->value, word);
    case KAON_TYPE_F64: return read_f64(&out->value, word);
    case KAON_TYPE_BOOL: return read_bool(&out->value, word);
    case KAON_TYPE_STRING: out->value = kaon_string(word); return NULL;
    case KAON_TYPE_BYTES:
        return word[0] == '@' ? read_file(out, word + 1) : read_hex(out, word);
    }
    return "this version of kaon does not know the type";
}

const char *argument_read_typed(struct argument *out, const char *word)
{
    const char *colon = strchr(word, ':');
    size_t length = colon ? (size_t)(colon - word) : 0;

    out->memory = NULL;
    for (uint32_t type = KAON_TYPE_I32; type < KAON_TYPE_COUNT; type++) {
        const char *name = kaon_type_name(type);

        if (length && strlen(name) == length && memcmp(name, word, length) == 0)
            return argument_read(out, type, colon + 1);
    }
    return "the guest does not list the function, so say the type, as in "
           "i32:7 or string:hello";
}

void argument_free(struct argument *argument)
{
    free(argument->memory);
}

/* ---- Writing ----------------------------------------------------------- */

/* As few digits as give the same float, or double, back. */
static int digits_of(double x, bool single)
{
    int most = single ? F32_DIGITS : F64_DIGITS;

    for (int digits = 1; digits < most; digits++) {
        char text[40];

        snprintf(text, sizeof text, "%.*g", digits, x);
        if (single ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x)
            return digits;
    }
    return most;
}

static void write_float(FILE *out, double x, bool single)
{
    if (isnan(x))
        fputs("nan", out);
    else
        fprintf(out, "%.*g", digits_of(x, single), x);
}

void value_write(FILE *out, const struct kaon_value *value)
{
    switch (value->type) {
    case KAON_TYPE_I32: fprintf(out, "%" PRId32, value->i32); break;
    case KAON_TYPE_U32: fprintf(out, "%" PRIu32, value->u32); break;
    case KAON_TYPE_I64: fprintf(out, "%" PRId64, value->i64); break;
    case KAON_TYPE_U64: fprintf(out, "%" PRIu64, value->u64); break;
    case KAON_TYPE_F32: write_float(out, (double)value->f32, true); break;
    case KAON_TYPE_F64: write_float(out, value->f64, false); break;
    case KAON_TYPE_BOOL: fputs(value->boolean ? "true" : "false", out); break;
    case KAON_TYPE_STRING:
        text_write(out, value->span.data, value->span.size);
        break;
    case KAON_TYPE_BYTES:
        text_hex(out, value->span.data, value->span.size);
        break;
    }
}

void value_json(struct json *json, const struct kaon_value *value)
{
    static const char key[] = "value";

    json_string(json, "type", kaon_type_name(value->type));
    switch (value->type) {
    case KAON_TYPE_I32: json_signed(json, key, value->i32); break;
    case KAON_TYPE_U32: json_unsigned(json, key, value->u32); break;
    case KAON_TYPE_I64: json_signed(json, key, value->i64); break;
    case KAON_TYPE_U64: json_unsigned(json, key, value->u64); break;
    case KAON_TYPE_F32:
        json_double(json, key, (double)value->f32,
                    digits_of((double)value->f32, true));
        break;
    case KAON_TYPE_F64:
        json_double(json, key, value->f64, digits_of(value->f64, false));
        break;
    case KAON_TYPE_BOOL: json_bool(json, key, value->boolean); break;
    case KAON_TYPE_STRING:
        json_text(json, key, "value_hex", value->span.data, value->span.size);
        break;
    case KAON_TYPE_BYTES:
        json_hex(json, key, value->span.data, value->span.size);
        break;
    default: json_null(json, key); break;
    }
}

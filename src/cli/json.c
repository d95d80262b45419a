/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what RFC 8259 calls JSON, whatever the guest put into it. */
#include "cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/text.h"

/* Writes a quoted string. Returns whether all of it was UTF-8. */
static bool quote(FILE *out, const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    bool good = true;

    fputc('"', out);
    while (size) {
        uint32_t character;
        size_t length = text_decode(&character, at, size);

        if (length == 0) {
            fputs("\\ufffd", out);
            good = false;
            length = 1;
        } else if (character == '"' || character == '\\') {
            fprintf(out, "\\%c", (int)character);
        } else if (character == '\n') {
            fputs("\\n", out);
        } else if (character < 0x20 ||
                   (character >= 0x7f && character < 0xa0)) {
            fprintf(out, "\\u%04" PRIx32, character);
        } else {
            fwrite(at, 1, length, out);
        }
        at += length;
        size -= length;
    }
    fputc('"', out);
    return good;
}

static void begin(struct json *json, const char *key)
{
    if (json->more)
        fputs(", ", json->out);
    json->more = true;
    if (key) {
        quote(json->out, key, strlen(key));
        fputs(": ", json->out);
    }
}

static void open_with(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    fputc(bracket, json->out);
    json->more = false;
}

static void close_with(struct json *json, char bracket)
{
    fputc(bracket, json->out);
    json->more = true;
}

void json_object(struct json *json, const char *key)
{
    open_with(json, key, '{');
}

void json_object_end(struct json *json)
{
    close_with(json, '}');
}

void json_array(struct json *json, const char *key)
{
    open_with(json, key, '[');
}

void json_array_end(struct json *json)
{
    close_with(json, ']');
}

void json_null(struct json *json, const char *key)
{
    begin(json, key);
    fputs("null", json->out);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin(json, key);
    fputs(value ? "true" : "false", json->out);
}

void json_signed(struct json *json, const char *key, int64_t value)
{
    begin(json, key);
    fprintf(json->out, "%" PRId64, value);
}

void json_unsigned(struct json *json, const char *key, uint64_t value)
{
    begin(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void json_double(struct json *json, const char *key, double value, int digits)
{
    if (isfinite(value)) {
        begin(json, key);
        fprintf(json->out, "%.*g", digits, value);
    } else {
        json_string(json, key,
                    isnan(value) ? "NaN"
                    : value > 0  ? "Infinity"
                                 : "-Infinity");
    }
}

void json_address(struct json *json, const char *key, uint64_t value)
{
    begin(json, key);
    fprintf(json->out, "\"%#" PRIx64 "\"", value);
}

void json_string(struct json *json, const char *key, const char *text)
{
    begin(json, key);
    quote(json->out, text, strlen(text));
}

void json_text(struct json *json, const char *key, const char *hex_key,
               const char *text, size_t size)
{
    begin(json, key);
    if (!quote(json->out, text, size))
        json_hex(json, hex_key, text, size);
}

void json_hex(struct json *json, const char *key, const void *bytes,
              size_t size)
{
    begin(json, key);
    fputc('"', json->out);
    text_hex(json->out, bytes, size);
    fputc('"', json->out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON, one value after the other. Within an object each has a key;
 * within an array, and for the outermost value, key is NULL.
 */
#ifndef KAON_SRC_CLI_JSON_H
#define KAON_SRC_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    bool more; /* a comma goes before the next value */
};

void json_object(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_array(struct json *json, const char *key);
void json_array_end(struct json *json);

void json_null(struct json *json, const char *key);
void json_bool(struct json *json, const char *key, bool value);
void json_signed(struct json *json, const char *key, int64_t value);
void json_unsigned(struct json *json, const char *key, uint64_t value);

/* A number in so many digits; or the strings "NaN", "Infinity", "-Infinity". */
void json_double(struct json *json, const char *key, double value, int digits);

/* An address, as a string like "0x10000": numbers lose bits in JavaScript. */
void json_address(struct json *json, const char *key, uint64_t value);

/* A string that is UTF-8, and ours. */
void json_string(struct json *json, const char *key, const char *text);

/*
 * A string of a stranger. What is not UTF-8 in it becomes U+FFFD, and the
 * bytes follow as hexadecimal digits under `hex_key`. Not within an array.
 */
void json_text(struct json *json, const char *key, const char *hex_key,
               const char *text, size_t size);

/* Bytes, as a string of hexadecimal digits. */
void json_hex(struct json *json, const char *key, const void *bytes,
              size_t size);

#endif

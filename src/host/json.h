/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON (RFC 8259) of strangers, read piece by piece; and written.
 *
 * The reader is strict, allocates nothing and does not recurse. Its first
 * failure sticks: everything after it is refused too, so only the end of a
 * document needs asking whether all went well.
 *
 *     kaon__json_begin(&json, bytes, size);
 *     kaon__json_object(&json);
 *     while ((key = kaon__json_key(&json)))
 *         if (strcmp(key, "size") == 0)
 *             kaon__json_u64(&json, &size);
 *         else
 *             kaon__json_skip(&json);
 *     if (!kaon__json_end(&json))
 *         return ... json.error ...
 */
#ifndef KAON_SRC_HOST_JSON_H
#define KAON_SRC_HOST_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KAON_JSON_DEPTH_MAX 32u
#define KAON_JSON_KEY_MAX 63u /* bytes; what a longer one has more is cut */

struct kaon_json {
    const char *at, *start, *end;
    const char *error; /* NULL, or what is wrong at `at`: a static phrase */
    uint32_t objects;  /* a bit for each level: is it an object? */
    uint32_t depth;    /* levels that are open */
    bool comma;        /* wanted before what comes next in the level */
    char key[KAON_JSON_KEY_MAX + 1];
};

void kaon__json_begin(struct kaon_json *json, const char *text, size_t size);

/* Enters an object or array, if the next value is one. */
bool kaon__json_object(struct kaon_json *json);
bool kaon__json_array(struct kaon_json *json);

/* The next member's key; NULL leaves the object. In place until the next. */
const char *kaon__json_key(struct kaon_json *json);
/* Is there another item? False leaves the array. */
bool kaon__json_item(struct kaon_json *json);

/* The next value. A string has UTF-8, no NUL within, and fits `room`. A
 * number is an integer from 0 to UINT64_MAX. */
bool kaon__json_string(struct kaon_json *json, char *out, size_t room);
bool kaon__json_u64(struct kaon_json *json, uint64_t *out);

/* As a string, of which only the beginning is wanted if it is too long. */
bool kaon__json_cut_string(struct kaon_json *json, char *out, size_t room);

/* Passes over the next value, whatever it is. */
bool kaon__json_skip(struct kaon_json *json);

/* Was all of it good, and is nothing left? */
bool kaon__json_end(struct kaon_json *json);

/* Fails with a phrase of the caller's, unless it has failed before. Returns
 * false. */
bool kaon__json_fail(struct kaon_json *json, const char *error);

/* ---- Writing ----------------------------------------------------------- */

/*
 * A text that grows. A failure sticks here too. Keys as in the reader: NULL
 * for the outermost value and in arrays.
 */
struct kaon_json_text {
    char *text; /* the caller's to free(); not NUL-terminated */
    size_t size, room;
    bool more;   /* a comma goes before the next value */
    bool failed; /* out of memory */
};

void kaon__json_put_object(struct kaon_json_text *text, const char *key);
void kaon__json_put_array(struct kaon_json_text *text, const char *key);
void kaon__json_put_object_end(struct kaon_json_text *text);
void kaon__json_put_array_end(struct kaon_json_text *text);
void kaon__json_put_u64(struct kaon_json_text *text, const char *key,
                        uint64_t value);
/* What is not UTF-8 in it becomes U+FFFD. */
void kaon__json_put_string(struct kaon_json_text *text, const char *key,
                           const char *value);
/* A value that is JSON already. */
void kaon__json_put_raw(struct kaon_json_text *text, const char *key,
                        const char *value, size_t size);

#endif

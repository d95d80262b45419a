/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as words of a command line, and as text and JSON.
 */
#ifndef KAON_SRC_CLI_VALUE_H
#define KAON_SRC_CLI_VALUE_H

#include <stdbool.h>
#include <stdio.h>
#include <kaon/value.h>

#include "cli/json.h"

/* An argument, and the memory behind it if it has any of its own. */
struct argument {
    struct kaon_value value;
    void *memory;
};

/*
 * Reads an argument of a type. A string borrows `word`.
 *
 * Returns: NULL, or a sentence that says what is good: static, or of errno.
 */
const char *argument_read(struct argument *out, uint32_t type,
                          const char *word);

/* As above, with the type before the value: i32:7, string:hello. */
const char *argument_read_typed(struct argument *out, const char *word);

void argument_free(struct argument *argument);

/* Writes a value as text; nothing for void. */
void value_write(FILE *out, const struct kaon_value *value);

/* Writes "type" and "value" into the object that is open. */
void value_json(struct json *json, const struct kaon_value *value);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of strangers: what a guest or a guest's ELF says.
 *
 * A terminal obeys control bytes. So on a terminal they are shown, not sent.
 * A file or a pipe gets the bytes as they are.
 */
#ifndef KAON_SRC_CLI_TEXT_H
#define KAON_SRC_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Decodes one character of well-formed UTF-8 from at least 1 byte.
 *
 * Returns: its length in bytes, or 0 if there is none.
 */
size_t text_decode(uint32_t *character, const unsigned char *bytes,
                   size_t size);

/* Writes text; to a terminal with \x1b and the like for what is dangerous. */
void text_write(FILE *out, const char *text, size_t size);
void text_put(FILE *out, const char *text); /* NUL-terminated */

/* Writes bytes as hexadecimal digits. */
void text_hex(FILE *out, const void *bytes, size_t size);

#endif

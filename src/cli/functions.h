/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest exports and imports, listed for a person or a program. */
#ifndef KAON_SRC_CLI_FUNCTIONS_H
#define KAON_SRC_CLI_FUNCTIONS_H

#include <stdio.h>
#include <kaon/image.h>

#include "cli/json.h"

/* Either kaon_image_export() or kaon_image_import(). */
typedef int (*lister)(const struct kaon_image *, size_t,
                      struct kaon_signature *);

/* A line each; returns how many. */
size_t functions_lines(FILE *out, const struct kaon_image *image, lister list);

/* On the standard output, under a title; or as an array in an object. */
void functions_text(const char *title, const struct kaon_image *image,
                    lister list);
void functions_json(struct json *json, const char *key,
                    const struct kaon_image *image, lister list);

#endif

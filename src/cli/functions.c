/* SPDX-License-Identifier: Apache-2.0 */
/* Lists functions. Owns nothing. */
#include "cli/functions.h"

#include <stdio.h>
#include <string.h>

#include "cli/text.h"

size_t functions_lines(FILE *out, const struct kaon_image *image, lister list)
{
    struct kaon_signature function;
    size_t count = 0;

    for (; list(image, count, &function); count++) {
        char text[512];

        kaon_signature_format(&function, text, sizeof text);
        fputs("  ", out);
        text_put(out, text);
        fputc('\n', out);
    }
    return count;
}

void functions_text(const char *title, const struct kaon_image *image,
                    lister list)
{
    printf("%s:\n", title);
    if (functions_lines(stdout, image, list) == 0)
        puts("  none");
}

static void signature_json(struct json *json,
                           const struct kaon_signature *function)
{
    char text[512];

    kaon_signature_format(function, text, sizeof text);
    json_object(json, NULL);
    json_text(json, "name", "name_hex", function->name, strlen(function->name));
    json_string(json, "signature", text);
    json_array(json, "parameters");
    for (uint32_t i = 0; i < function->count; i++)
        json_string(json, NULL, kaon_type_name(function->params[i]));
    json_array_end(json);
    json_string(json, "result", kaon_type_name(function->result));
    json_object_end(json);
}

void functions_json(struct json *json, const char *key,
                    const struct kaon_image *image, lister list)
{
    struct kaon_signature function;

    json_array(json, key);
    for (size_t i = 0; list(image, i, &function); i++)
        signature_json(json, &function);
    json_array_end(json);
}

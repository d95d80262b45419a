/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon inspect: what a guest says of itself. Runs none of it, and needs no
 * hypervisor.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <kaon.h>

#include "cli/command.h"
#include "cli/functions.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"

/* ---- As text ----------------------------------------------------------- */

static void names_text(const struct kaon_image *image)
{
    struct kaon_signature function;

    for (size_t i = 0; kaon_image_export(image, i, &function); i++) {
        text_put(stdout, function.name);
        putchar('\n');
    }
}

static void segments_text(const struct kaon_image *image)
{
    struct kaon_segment segment;

    puts("segments:");
    for (size_t i = 0; kaon_image_segment(image, i, &segment); i++)
        printf("  %#014" PRIx64 "  %c%c%c  %" PRIu64 " bytes\n",
               segment.address, segment.readable ? 'r' : '-',
               segment.writable ? 'w' : '-', segment.executable ? 'x' : '-',
               segment.size);
}

static void entry_text(const struct kaon_image *image)
{
    uint64_t entry = kaon_image_entry(image);
    const char *symbol = kaon_image_symbol(image, entry, NULL);

    printf("entry: %#" PRIx64, entry);
    if (symbol) {
        fputs(" (", stdout);
        text_put(stdout, symbol);
        putchar(')');
    }
    printf("\ndynamic: %s\n",
           kaon_image_dynamic(image)
               ? "yes, it answers names that it does not list"
               : "no");
}

static void limits_text(void)
{
    printf("limits of this host:\n"
           "  ABI version       %u\n"
           "  parameters        %u\n"
           "  bytes of a name   %u\n"
           "  addresses         %#" PRIx64 " to %#" PRIx64 "\n"
           "  bytes of an image %" PRIu64 "\n",
           KAON_ABI_VERSION, KAON_PARAMS_MAX, KAON_NAME_MAX, KAON_IMAGE_LOW,
           KAON_IMAGE_HIGH, KAON_IMAGE_SIZE_MAX);
}

static void image_text(const struct kaon_image *image)
{
    text_put(stdout, kaon_image_name(image));
    putchar('\n');
    functions_text("exports", image, kaon_image_export);
    functions_text("imports", image, kaon_image_import);
    segments_text(image);
    entry_text(image);
    limits_text();
}

/* ---- As JSON ----------------------------------------------------------- */

static void segments_json(struct json *json, const struct kaon_image *image)
{
    struct kaon_segment segment;

    json_array(json, "segments");
    for (size_t i = 0; kaon_image_segment(image, i, &segment); i++) {
        json_object(json, NULL);
        json_address(json, "address", segment.address);
        json_unsigned(json, "size", segment.size);
        json_bool(json, "readable", segment.readable);
        json_bool(json, "writable", segment.writable);
        json_bool(json, "executable", segment.executable);
        json_object_end(json);
    }
    json_array_end(json);
}

static void limits_json(struct json *json)
{
    json_object(json, "limits");
    json_unsigned(json, "abi_version", KAON_ABI_VERSION);
    json_unsigned(json, "parameters", KAON_PARAMS_MAX);
    json_unsigned(json, "name_bytes", KAON_NAME_MAX);
    json_address(json, "lowest_address", KAON_IMAGE_LOW);
    json_address(json, "highest_address", KAON_IMAGE_HIGH);
    json_unsigned(json, "image_bytes", KAON_IMAGE_SIZE_MAX);
    json_object_end(json);
}

static void image_json(const struct kaon_image *image)
{
    struct json json = { .out = stdout };
    const char *name = kaon_image_name(image);

    json_object(&json, NULL);
    json_text(&json, "name", "name_hex", name, strlen(name));
    functions_json(&json, "exports", image, kaon_image_export);
    functions_json(&json, "imports", image, kaon_image_import);
    segments_json(&json, image);
    json_address(&json, "entry", kaon_image_entry(image));
    json_bool(&json, "dynamic", kaon_image_dynamic(image));
    limits_json(&json);
    json_object_end(&json);
    putchar('\n');
}

static int inspect_main(int argc, char **argv)
{
    bool json = false, names = false;
    const struct option options[] = {
        { "json", 0, OPTION_FLAG, &json, NULL, "print one JSON object" },
        { "names", 0, OPTION_FLAG, &names, NULL,
          "print the names of the exports, one a line" },
        { 0 },
    };
    int count = options_parse(&command_inspect, options, false, argc, argv);
    struct kaon_image *image;
    struct kaon_error err;

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count != 1)
        return usage_error("inspect", "name one guest: see kaon inspect "
                                      "--help");
    if (kaon_image_open(&image, argv[1], &err))
        return host_error("inspect", &err);
    if (names)
        names_text(image);
    else if (json)
        image_json(image);
    else
        image_text(image);
    kaon_image_destroy(image);
    return finish_output("inspect", EXIT_GOOD);
}

const struct command command_inspect = {
    .name = "inspect",
    .operands = "guest.elf",
    .summary = "show what a guest exports and imports",
    .about = "Shows the functions that a guest exports and imports, its "
             "segments, its\n"
             "entry, and the limits that it was checked against. The guest "
             "is not run.\n",
    .run = inspect_main,
};

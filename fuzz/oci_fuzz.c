/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the readers of a saved snapshot's files. The first byte chooses the
 * file, the rest is what is in it: any bytes are refused with a sentence, or
 * can be written again and then say the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <kaon/image.h>

#include "host/oci.h"
#include "support/elf_builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* Made once: the fuzzer's business is with the other files. */
static const struct kaon_image *the_image(void)
{
    static struct kaon_image *image;

    if (!image) {
        struct elf_file *file = elf_build_sample();

        check(!kaon_image_parse(&image, file->bytes, file->size, NULL));
        free(file);
    }
    return image;
}

/* Whatever the file said, a terminal may be told why it was refused. */
static void check_refusal(const struct kaon_error *err)
{
    check(err->status == KAON_ESNAPSHOT || err->status == KAON_EABI);
    check(err->text[0] != '\0');
    for (const char *at = err->text; *at; at++)
        check(*at >= ' ' && *at <= '~');
}

static bool same(const struct kaon_blob *a, const struct kaon_blob *b)
{
    return a->size == b->size && kaon__digest_equal(&a->digest, &b->digest);
}

static void try_layout(const char *text, size_t size)
{
    struct kaon_error err = { 0 };

    if (kaon__oci_read_layout(text, size, &err))
        check_refusal(&err);
}

/* What was added is found; what was there is as good or bad as before. */
static void try_adding(const char *text, size_t size, const char *tag)
{
    const struct kaon_blob added = { kaon__sha256("x", 1), 1 };
    struct kaon_json_text more = { 0 };
    struct kaon_error err = { 0 };
    struct kaon_blob found;

    if (kaon__oci_write_index(&more, text, size, tag, &added, true, &err)) {
        check_refusal(&err);
    } else {
        check(!more.failed);
        check(!kaon__oci_find(&found, more.text, more.size, tag, &err));
        check(same(&found, &added));
    }
    free(more.text);
}

static void try_index(const char *text, size_t size)
{
    static const char *const tags[] = { NULL, "a", "latest" };

    for (size_t i = 0; i < 3; i++) {
        struct kaon_error err = { 0 };
        struct kaon_blob found;

        if (kaon__oci_find(&found, text, size, tags[i], &err))
            check_refusal(&err);
        else
            check(found.size <= KAON_OCI_SIZE_MAX);
        if (tags[i])
            try_adding(text, size, tags[i]);
    }
}

static void try_manifest(const char *text, size_t size)
{
    struct kaon_json_text again = { 0 };
    struct kaon_manifest one, two;
    struct kaon_error err = { 0 };

    if (kaon__oci_read_manifest(&one, text, size, &err)) {
        check_refusal(&err);
        return;
    }
    check(one.guest.size && one.layer_count <= KAON_OCI_LAYERS_MAX);
    kaon__oci_write_manifest(&again, &one);
    check(!kaon__oci_read_manifest(&two, again.text, again.size, &err));
    check(same(&one.config, &two.config) && same(&one.guest, &two.guest));
    check(one.map.size == two.map.size && one.layer_count == two.layer_count);
    check(one.mapped.size == two.mapped.size);
    for (uint32_t i = 0; i < one.layer_count; i++)
        check(same(&one.layers[i], &two.layers[i]));
    free(again.text);
}

/* What the host relies on, whatever the rest of the layout says. */
static void check_mappings(const struct kaon_config *config)
{
    check(config->mapping_count <= KAON_OCI_MAPPINGS_MAX);
    for (uint32_t i = 0; i < config->mapping_count; i++) {
        const struct kaon_config_mapping *mapping = &config->mappings[i];

        check(kaon__oci_is_mapping(mapping->name));
        check(mapping->address % KAON_OCI_PAGE == 0);
        check(mapping->size && mapping->size <= KAON_OCI_WINDOW_MAX);
        check((unsigned)mapping->mode <= KAON_MAP_WRITE);
        check(!mapping->file || mapping->mode != KAON_MAP_WRITE);
        for (uint32_t k = 0; k < i; k++) {
            check(config->mappings[k].address + config->mappings[k].size <=
                  mapping->address);
            check(strcmp(config->mappings[k].name, mapping->name) != 0);
        }
    }
}

static void try_config(const char *text, size_t size)
{
    struct kaon_json_text again = { 0 };
    struct kaon_config one, two;
    struct kaon_error err = { 0 };

    if (kaon__oci_read_config(&one, text, size, the_image(), &err)) {
        check_refusal(&err);
        return;
    }
    check(one.write_count <= KAON_OCI_WRITE_SET_MAX);
    check_mappings(&one);
    kaon__oci_write_config(&again, &one, the_image());
    check(!kaon__oci_read_config(&two, again.text, again.size, the_image(),
                                 &err));
    check(memcmp(&one, &two, sizeof one) == 0);
    free(again.text);
}

/* Passing over a value and going through it must agree. */
static bool walk(struct kaon_json *json)
{
    char text[16];
    uint64_t number;

    kaon__json_array(json);
    while (kaon__json_item(json)) {
        struct kaon_json probe = *json;

        if (!kaon__json_u64(&probe, &number)) {
            probe = *json;
            if (!kaon__json_cut_string(&probe, text, sizeof text)) {
                probe = *json;
                kaon__json_skip(&probe);
            }
        }
        *json = probe;
    }
    return kaon__json_end(json);
}

static void try_json(const char *text, size_t size)
{
    struct kaon_json skipped, walked;
    bool is_array;

    kaon__json_begin(&walked, text, size);
    is_array = kaon__json_array(&walked);
    kaon__json_begin(&walked, text, size);
    kaon__json_begin(&skipped, text, size);
    kaon__json_skip(&skipped);
    if (is_array && kaon__json_end(&skipped))
        walk(&walked);
    check(skipped.at >= text && skipped.at <= text + size);
    check(walked.at >= text && walked.at <= text + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(const char *, size_t) = {
        try_layout, try_index, try_manifest, try_config, try_json,
    };
    char *text;

    if (size == 0)
        return 0;
    /* In memory of its own, so that a byte too far is seen. */
    text = malloc(size);
    check(text != NULL);
    memcpy(text, data + 1, size - 1);
    text = realloc(text, size > 1 ? size - 1 : 1);
    tries[(data[0] - '0') % 5u](text, size - 1);
    free(text);
    return 0;
}

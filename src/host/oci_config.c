/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config: what a snapshot is, besides its pages.
 *
 * Pure, and allocates nothing but the texts that it writes.
 */
#include "host/oci_text.h"

#include <inttypes.h>
#include <string.h>
#include <kaon/abi.h>
#include <kaon/image.h>

#include "host/error.h"

#define ARCHITECTURE "amd64" /* as OCI spells it */

/* ---- Reading ----------------------------------------------------------- */

enum {
    MACHINE = 1,
    KAON = 2,
    ABI = 4,
    GUEST = 8,
    LAYOUT = 16,
    REGISTERS = 32,
    GENERATION = 64,
    FUNCTIONS = 128,
    WRITE_SET = 256,
    ALL = 511, /* that must be there */
    MAPPINGS = 512,
};

/* A config being read. What is wrong in a way that JSON is not is kept until
 * its end: the versions decide which sentence is the helpful one. */
struct reading {
    struct kaon_json json;
    struct kaon_config *out;
    const struct kaon_image *image;
    unsigned seen;
    char architecture[16];
    uint64_t abi;
    size_t imports;
    char stranger[512]; /* an import that the image has not; "" if none */
};

static void read_area(struct kaon_json *json, uint64_t *address, uint64_t *size)
{
    unsigned seen = 0;

    kaon__json_object(json);
    while (kaon__json_key(json))
        if (kaon__oci_is(json, "address", &seen, 1))
            kaon__json_u64(json, address);
        else if (kaon__oci_is(json, "size", &seen, 2))
            kaon__json_u64(json, size);
        else
            kaon__json_skip(json);
    if (seen != 3)
        kaon__json_fail(json, "an address or a size is missing");
}

static void read_layout(struct kaon_json *json, struct kaon_config *out)
{
    unsigned seen = 0;

    kaon__json_object(json);
    while (kaon__json_key(json))
        if (kaon__oci_is(json, "heap", &seen, 1))
            read_area(json, &out->layout.heap, &out->layout.heap_size);
        else if (kaon__oci_is(json, "stack", &seen, 2))
            read_area(json, &out->layout.stack, &out->layout.stack_size);
        else if (kaon__oci_is(json, "exchange", &seen, 4))
            read_area(json, &out->layout.exchange, &out->layout.exchange_size);
        else if (kaon__oci_is(json, "window", &seen, 8))
            read_area(json, &out->layout.window, &out->layout.window_size);
        else
            kaon__json_skip(json);
    if ((seen & 7) != 7)
        kaon__json_fail(json, "heap, stack or exchange is missing");
}

static void read_registers(struct kaon_json *json, struct kaon_config *out)
{
    unsigned seen = 0;

    kaon__json_object(json);
    while (kaon__json_key(json))
        if (kaon__oci_is(json, "fs_base", &seen, 1))
            kaon__json_u64(json, &out->fs_base);
        else if (kaon__oci_is(json, "gs_base", &seen, 2))
            kaon__json_u64(json, &out->gs_base);
        else
            kaon__json_skip(json);
    if (seen != 3)
        kaon__json_fail(json, "fs_base or gs_base is missing");
}

/* They are the image's imports, one by one. */
static void read_functions(struct reading *reading)
{
    struct kaon_json *json = &reading->json;
    struct kaon_signature import;
    char text[512], expected[512];

    kaon__json_array(json);
    while (kaon__json_item(json) && kaon__oci_words(json, text, sizeof text)) {
        expected[0] = '\0';
        if (kaon_image_import(reading->image, reading->imports, &import))
            kaon_signature_format(&import, expected, sizeof expected);
        if (strcmp(text, expected) != 0 && !reading->stranger[0])
            memcpy(reading->stranger, text, sizeof text);
        reading->imports++;
    }
}

static void read_write_set(struct kaon_json *json, struct kaon_config *out)
{
    kaon__json_array(json);
    while (kaon__json_item(json)) {
        if (out->write_count == KAON_OCI_WRITE_SET_MAX) {
            kaon__json_fail(json, "the write set has too many pages");
            return;
        }
        kaon__json_u64(json, &out->write_set[out->write_count++]);
    }
}

/* One of some words: its number, from `words` on. */
static void read_word(struct kaon_json *json, const char *const *words,
                      unsigned count, unsigned *out, const char *error)
{
    char text[16];

    if (!kaon__oci_words(json, text, sizeof text))
        return;
    for (*out = 0; *out < count; ++*out)
        if (strcmp(text, words[*out]) == 0)
            return;
    kaon__json_fail(json, error);
}

static const char *const kinds[] = { "buffer", "file" };
static const char *const modes[] = { "read", "copy", "write" };

static void read_mapping_members(struct kaon_json *json,
                                 struct kaon_config_mapping *out)
{
    unsigned seen = 0, kind = 0, mode = 0;

    kaon__json_object(json);
    while (kaon__json_key(json))
        if (kaon__oci_is(json, "name", &seen, 1))
            kaon__json_string(json, out->name, sizeof out->name);
        else if (kaon__oci_is(json, "address", &seen, 2))
            kaon__json_u64(json, &out->address);
        else if (kaon__oci_is(json, "size", &seen, 4))
            kaon__json_u64(json, &out->size);
        else if (kaon__oci_is(json, "kind", &seen, 8))
            read_word(json, kinds, 2, &kind,
                      "a mapping is of a file or a buffer");
        else if (kaon__oci_is(json, "offset", &seen, 16))
            kaon__json_u64(json, &out->offset);
        else if (kaon__oci_is(json, "mode", &seen, 32))
            read_word(json, modes, 3, &mode,
                      "a mapping's mode is read, copy or write");
        else
            kaon__json_skip(json);
    if (seen != 63)
        kaon__json_fail(json, "a mapping lacks a member");
    out->file = kind == 1;
    out->mode = (enum kaon_map_mode)mode;
}

/* What is wrong with it by itself; NULL: nothing. */
static const char *judge_mapping(const struct kaon_config_mapping *mapping)
{
    if (!kaon__oci_is_mapping(mapping->name))
        return "a mapping's name is none";
    if (mapping->address == 0 || mapping->address % KAON_OCI_PAGE ||
        mapping->address > INT64_MAX)
        return "a mapping's address is no page's";
    if (mapping->size == 0 || mapping->size > KAON_OCI_WINDOW_MAX)
        return "a mapping's size is none that a guest can have";
    if (mapping->offset % KAON_OCI_PAGE || mapping->offset > INT64_MAX)
        return "a mapping's offset is no page's";
    if (!mapping->file && (mapping->offset || mapping->size % KAON_OCI_PAGE))
        return "a mapping is of a part of a buffer";
    if (mapping->file && mapping->mode == KAON_MAP_WRITE)
        return "a mapping is to write to a file";
    return NULL;
}

/* The same, among those before it. */
static const char *judge_next(const struct kaon_config *config,
                              const struct kaon_config_mapping *mapping)
{
    for (uint32_t i = 0; i < config->mapping_count; i++) {
        const struct kaon_config_mapping *other = &config->mappings[i];

        if (mapping->address <= other->address ||
            mapping->address - other->address < other->size)
            return "mappings overlap, or are not in order";
        if (strcmp(other->name, mapping->name) == 0)
            return "two mappings have one name";
    }
    return judge_mapping(mapping);
}

static void read_mappings(struct kaon_json *json, struct kaon_config *out)
{
    kaon__json_array(json);
    while (kaon__json_item(json)) {
        struct kaon_config_mapping *mapping =
            &out->mappings[out->mapping_count];
        const char *wrong;

        if (out->mapping_count == KAON_OCI_MAPPINGS_MAX) {
            kaon__json_fail(json, "there are too many mappings");
            return;
        }
        read_mapping_members(json, mapping);
        wrong = json->error ? NULL : judge_next(out, mapping);
        if (wrong)
            kaon__json_fail(json, wrong);
        out->mapping_count++;
    }
}

static void read_member(struct reading *reading)
{
    struct kaon_json *json = &reading->json;
    struct kaon_config *out = reading->out;
    unsigned *seen = &reading->seen;

    if (kaon__oci_is(json, "architecture", seen, MACHINE))
        kaon__oci_words(json, reading->architecture,
                        sizeof reading->architecture);
    else if (kaon__oci_is(json, "kaon", seen, KAON))
        kaon__oci_words(json, out->version, sizeof out->version);
    else if (kaon__oci_is(json, "abi", seen, ABI))
        kaon__json_u64(json, &reading->abi);
    else if (kaon__oci_is(json, "guest", seen, GUEST))
        kaon__oci_words(json, out->guest, sizeof out->guest);
    else if (kaon__oci_is(json, "layout", seen, LAYOUT))
        read_layout(json, out);
    else if (kaon__oci_is(json, "registers", seen, REGISTERS))
        read_registers(json, out);
    else if (kaon__oci_is(json, "generation", seen, GENERATION))
        kaon__json_u64(json, &out->generation);
    else if (kaon__oci_is(json, "host_functions", seen, FUNCTIONS))
        read_functions(reading);
    else if (kaon__oci_is(json, "write_set", seen, WRITE_SET))
        read_write_set(json, out);
    else if (kaon__oci_is(json, "mappings", seen, MAPPINGS))
        read_mappings(json, out);
    else
        kaon__json_skip(json);
}

static enum kaon_status judge_config(struct reading *reading,
                                     struct kaon_error *err)
{
    struct kaon_json *json = &reading->json;

    if (!kaon__json_end(json))
        return kaon__oci_damaged(json, "the config", err);
    if (reading->seen & MACHINE &&
        strcmp(reading->architecture, ARCHITECTURE) != 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the snapshot was taken on \"%s\": this is %s",
                          reading->architecture, ARCHITECTURE);
    if (reading->seen & ABI && reading->abi != KAON_ABI_VERSION)
        return kaon__fail(err, KAON_EABI,
                          "the snapshot is of a guest for ABI version %" PRIu64
                          ": this libkaon (%s) has version %u",
                          reading->abi, KAON_VERSION, KAON_ABI_VERSION);
    if ((reading->seen & ALL) != ALL)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the config is damaged: it lacks a member");
    if (reading->stranger[0])
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the config lists the host function \"%.100s\", "
                          "which its guest does not import",
                          reading->stranger);
    if (kaon_image_import(reading->image, reading->imports,
                          &(struct kaon_signature){ 0 }))
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the config lists fewer host functions than its "
                          "guest imports");
    return KAON_OK;
}

enum kaon_status kaon__oci_read_config(struct kaon_config *out,
                                       const char *text, size_t size,
                                       const struct kaon_image *image,
                                       struct kaon_error *err)
{
    struct reading reading = { .out = out, .image = image };

    *out = (struct kaon_config){ 0 };
    kaon__json_begin(&reading.json, text, size);
    kaon__json_object(&reading.json);
    while (kaon__json_key(&reading.json))
        read_member(&reading);
    return judge_config(&reading, err);
}

/* ---- Writing ----------------------------------------------------------- */

static void put_area(struct kaon_json_text *text, const char *key,
                     uint64_t address, uint64_t size)
{
    kaon__json_put_object(text, key);
    kaon__json_put_u64(text, "address", address);
    kaon__json_put_u64(text, "size", size);
    kaon__json_put_object_end(text);
}

static void put_functions(struct kaon_json_text *text,
                          const struct kaon_image *image)
{
    struct kaon_signature import;
    char words[512];

    kaon__json_put_array(text, "host_functions");
    for (size_t i = 0; kaon_image_import(image, i, &import); i++) {
        kaon_signature_format(&import, words, sizeof words);
        kaon__json_put_string(text, NULL, words);
    }
    kaon__json_put_array_end(text);
}

static void put_mappings(struct kaon_json_text *text,
                         const struct kaon_config *config)
{
    kaon__json_put_array(text, "mappings");
    for (uint32_t i = 0; i < config->mapping_count; i++) {
        const struct kaon_config_mapping *mapping = &config->mappings[i];

        kaon__json_put_object(text, NULL);
        kaon__json_put_string(text, "name", mapping->name);
        kaon__json_put_u64(text, "address", mapping->address);
        kaon__json_put_u64(text, "size", mapping->size);
        kaon__json_put_string(text, "kind", kinds[mapping->file]);
        kaon__json_put_u64(text, "offset", mapping->offset);
        kaon__json_put_string(text, "mode", modes[mapping->mode]);
        kaon__json_put_object_end(text);
    }
    kaon__json_put_array_end(text);
}

void kaon__oci_write_config(struct kaon_json_text *text,
                            const struct kaon_config *config,
                            const struct kaon_image *image)
{
    kaon__json_put_object(text, NULL);
    kaon__json_put_string(text, "architecture", ARCHITECTURE);
    kaon__json_put_string(text, "kaon", config->version);
    kaon__json_put_u64(text, "abi", KAON_ABI_VERSION);
    kaon__json_put_string(text, "guest", config->guest);
    kaon__json_put_object(text, "layout");
    put_area(text, "heap", config->layout.heap, config->layout.heap_size);
    put_area(text, "stack", config->layout.stack, config->layout.stack_size);
    put_area(text, "exchange", config->layout.exchange,
             config->layout.exchange_size);
    if (config->layout.window_size)
        put_area(text, "window", config->layout.window,
                 config->layout.window_size);
    kaon__json_put_object_end(text);
    kaon__json_put_object(text, "registers");
    kaon__json_put_u64(text, "fs_base", config->fs_base);
    kaon__json_put_u64(text, "gs_base", config->gs_base);
    kaon__json_put_object_end(text);
    kaon__json_put_u64(text, "generation", config->generation);
    put_functions(text, image);
    kaon__json_put_array(text, "write_set");
    for (uint32_t i = 0; i < config->write_count; i++)
        kaon__json_put_u64(text, NULL, config->write_set[i]);
    kaon__json_put_array_end(text);
    if (config->mapping_count)
        put_mappings(text, config);
    kaon__json_put_object_end(text);
}

bool kaon__oci_is_mapping(const char *name)
{
    return kaon__oci_is_tag(name) && strlen(name) <= KAON_MAP_NAME_MAX;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layout's files say: what we write can be read, all else is refused
 * with a sentence, and what others have in their files is left alone.
 */
#include "host/oci.h"
#include "support/elf_builder.h"
#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <kaon/image.h>
#include <kaon/version.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define BLOB "\"digest\":\"sha256:" HEX "\",\"size\":4096"
#define MANIFEST_TYPE \
    "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\""
#define CONFIG "\"config\":{\"mediaType\":\"" KAON_MEDIA_CONFIG "\"," BLOB "}"
#define LAYER(type) "{\"mediaType\":\"" type "\"," BLOB "}"

static struct kaon_error err;

static void assert_says(const char *words)
{
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in: %s", words, err.text);
}

static struct kaon_blob blob_of(const char *text)
{
    return (struct kaon_blob){ kaon__sha256(text, strlen(text)), strlen(text) };
}

static bool same(const struct kaon_blob *a, const struct kaon_blob *b)
{
    return a->size == b->size && kaon__digest_equal(&a->digest, &b->digest);
}

static struct kaon_image *image_of(struct elf_file *file)
{
    struct kaon_image *image = NULL;

    if (kaon_image_parse(&image, file->bytes, file->size, &err))
        fail_msg("%s", err.text);
    free(file);
    return image;
}

/* ---- oci-layout -------------------------------------------------------- */

static void a_layout_has_a_version(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        { "{\"imageLayoutVersion\":\"1.0.0\"}", NULL },
        { " { \"imageLayoutVersion\" : \"1.0.0\", \"more\": [{}] } \n", NULL },
        { "{\"imageLayoutVersion\":\"2.0.0\"}", "it must be 1.0.0" },
        { "{\"imageLayoutVersion\":\"1.0.0.0.0.0.0.0.0.0.0\"}", "1.0.0" },
        { "{\"imageLayoutVersion\":1}", "a string is expected at byte 22" },
        { "{\"imageLayoutVersion\":\"1.0.0\",\"imageLayoutVersion\":\"1\"}",
          "a member comes twice" },
        { "{}", "the version \"\"" },
        { "", "oci-layout is damaged" },
        { "[]", "an object is expected" },
        { "{\"imageLayoutVersion\":\"1.0.0\"}}", "more than it should" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *text = rows[i].text;
        enum kaon_status status =
            kaon__oci_read_layout(text, strlen(text), &err);

        assert_int_equal(status, rows[i].words ? KAON_ESNAPSHOT : KAON_OK);
        if (rows[i].words)
            assert_says(rows[i].words);
    }
    assert_int_equal(
        kaon__oci_read_layout(kaon__oci_layout, strlen(kaon__oci_layout), &err),
        KAON_OK);
}

/* ---- index.json -------------------------------------------------------- */

static enum kaon_status find(struct kaon_blob *out, const char *text,
                             const char *tag)
{
    return kaon__oci_find(out, text, strlen(text), tag, &err);
}

#define ENTRY(tag)                                                      \
    "{" MANIFEST_TYPE "," BLOB                                          \
    ",\"annotations\":{\"x\":\"y\",\"org.opencontainers.image.ref.name" \
    "\":\"" tag "\"}}"
#define INDEX(...) "{\"schemaVersion\":2,\"manifests\":[" __VA_ARGS__ "]}"

static void a_snapshot_is_found_by_its_tag(void **state)
{
    static const struct {
        const char *text, *tag, *words;
    } rows[] = {
        { INDEX(ENTRY("a")), NULL, NULL },
        { INDEX(ENTRY("a")), "a", NULL },
        { INDEX(ENTRY("a") "," ENTRY("b")), "b", NULL },
        { INDEX(ENTRY("a") "," ENTRY("latest")), NULL, NULL },
        { INDEX("{" MANIFEST_TYPE "," BLOB "}"), NULL, NULL },
        { INDEX("{\"mediaType\":\"x\"}," ENTRY("a")), "a", NULL },
        { INDEX(ENTRY("a")), "b", "no snapshot named \"b\"" },
        { INDEX(ENTRY("a")), "", "no snapshot named \"\"" },
        { INDEX(), NULL, "index.json has no snapshot" },
        { INDEX(ENTRY("a") "," ENTRY("b")), NULL, "2 snapshots and none" },
        { INDEX(ENTRY("a") "," ENTRY("a")), "a", "2 manifests that are named" },
        { INDEX(ENTRY("latest") "," ENTRY("latest")), NULL, "named latest" },
        { INDEX("{" BLOB "}"), NULL, "\"\" is no manifest" },
        { INDEX("{\"mediaType\":\"application/vnd.oci.image.index.v1+json\"," //
                BLOB "}"),
          NULL, "is no manifest of a snapshot" },
        { INDEX("{" MANIFEST_TYPE ",\"artifactType\":\"x/y\"," BLOB "}"), NULL,
          "\"x/y\" is no snapshot" },
        { INDEX("{" MANIFEST_TYPE ",\"size\":1}"), NULL, "must be sha256:" },
        { INDEX("{" MANIFEST_TYPE ",\"digest\":\"sha256:" HEX "\"}"), NULL,
          "has no size" },
        { INDEX("{" MANIFEST_TYPE ",\"digest\":\"sha256:" HEX
                "0\",\"size\":1}"),
          NULL, "must be sha256:" },
        { INDEX("{" MANIFEST_TYPE ",\"digest\":\"sha256:../../x\",\"size\":1}"),
          NULL, "../../x" },
        { INDEX("{" MANIFEST_TYPE ",\"digest\":\"sha512:" HEX "\",\"size\":1}"),
          NULL, "must be sha256:" },
        { INDEX("{" MANIFEST_TYPE ",\"digest\":\"sha256:" HEX
                "\",\"size\":18446744073709551615}"),
          NULL, "no snapshot has as much" },
        { INDEX("{" MANIFEST_TYPE "," MANIFEST_TYPE "," BLOB "}"), NULL,
          "a member comes twice" },
        { INDEX("7"), NULL, "an object is expected" },
        { "{\"manifests\":[" ENTRY("a") "]}", NULL, "is missing" },
        { "{\"schemaVersion\":2}", NULL, "is missing" },
        { "{\"schemaVersion\":1,\"manifests\":[]}", NULL, "is not 2" },
        { "{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}", NULL,
          "comes twice" },
        { "{\"schemaVersion\":2,\"manifests\":{}}", NULL, "array is expected" },
    };
    struct kaon_blob blob;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum kaon_status status = find(&blob, rows[i].text, rows[i].tag);

        if (status != (rows[i].words ? KAON_ESNAPSHOT : KAON_OK))
            fail_msg("row %zu: %d %s", i, status, err.text);
        if (rows[i].words) {
            assert_says(rows[i].words);
        } else {
            assert_int_equal(blob.size, 4096);
            assert_int_equal(blob.digest.bytes[0], 0xba);
        }
    }
}

/* index.json with one more manifest; the caller frees it. */
static char *indexed(const char *old, const char *tag, const char *content,
                     bool replace)
{
    struct kaon_blob blob = blob_of(content);
    struct kaon_json_text text = { 0 };
    enum kaon_status status = kaon__oci_write_index(
        &text, old, old ? strlen(old) : 0, tag, &blob, replace, &err);

    if (status) {
        free(text.text);
        return NULL;
    }
    text.text = realloc(text.text, text.size + 1);
    assert_non_null(text.text);
    text.text[text.size] = '\0';
    return text.text;
}

static void assert_found(const char *index, const char *tag,
                         const char *content)
{
    struct kaon_blob got, expected = blob_of(content);

    if (find(&got, index, tag))
        fail_msg("%s", err.text);
    assert_true(same(&got, &expected));
}

static void an_index_takes_more_snapshots(void **state)
{
    char *one = indexed(NULL, "latest", "1", false);
    char *two = indexed(one, "other", "2", false);
    char *three = indexed(two, "latest", "3", true);

    (void)state;
    assert_non_null(three);
    assert_found(one, NULL, "1");
    assert_found(two, "latest", "1");
    assert_found(two, "other", "2");
    assert_found(three, "latest", "3");
    assert_found(three, "other", "2");
    assert_null(indexed(two, "other", "4", false));
    assert_says("it has a snapshot named other");
    free(one);
    free(two);
    free(three);
}

static void what_others_have_in_an_index_stays(void **state)
{
    static const char foreign[] =
        "{ \"mediaType\" : \"x\", \"urls\": [1, {\"a\\n\": null}] }";
    char old[1024], *more;

    (void)state;
    snprintf(
        old, sizeof old,
        "{\"annotations\": {\"k\":\"v\"} , \"schemaVersion\":2 ,\n "
        "\"manifests\" : [ %s , " ENTRY(
            "a") "]\n, "
                 "\"a very long name of a member that nobody has ever heard of "
                 "before\" :\"\\u00e9\"}",
        foreign);
    more = indexed(old, "a", "new", true);
    assert_non_null(more);
    assert_found(more, "a", "new");
    assert_non_null(strstr(more, foreign));
    assert_non_null(strstr(more, "\"annotations\": {\"k\":\"v\"}"));
    assert_non_null(strstr(more, "a very long name of a member that nobody "
                                 "has ever heard of before\" :\"\\u00e9\""));
    assert_null(strstr(more, HEX));
    free(more);
    assert_null(indexed("{\"schemaVersion\":2,\"manifests\":[}", "a", "", 1));
    assert_says("index.json is damaged");
}

static void a_tag_is_one_that_registries_take(void **state)
{
    char tag[KAON_OCI_TAG_MAX + 2];

    (void)state;
    assert_true(kaon__oci_is_tag("latest"));
    assert_true(kaon__oci_is_tag("_1.2-rc_3"));
    assert_false(kaon__oci_is_tag(""));
    assert_false(kaon__oci_is_tag(".x"));
    assert_false(kaon__oci_is_tag("-x"));
    assert_false(kaon__oci_is_tag("a/b"));
    assert_false(kaon__oci_is_tag("a b"));
    assert_false(kaon__oci_is_tag("caf\xc3\xa9"));
    memset(tag, 'x', sizeof tag);
    tag[KAON_OCI_TAG_MAX] = '\0';
    assert_true(kaon__oci_is_tag(tag));
    tag[KAON_OCI_TAG_MAX] = 'x';
    tag[KAON_OCI_TAG_MAX + 1] = '\0';
    assert_false(kaon__oci_is_tag(tag));
}

/* ---- The manifest ------------------------------------------------------ */

static enum kaon_status read_manifest(struct kaon_manifest *out,
                                      const char *text)
{
    return kaon__oci_read_manifest(out, text, strlen(text), &err);
}

static void a_manifest_that_is_written_can_be_read(void **state)
{
    struct kaon_manifest manifest = {
        .config = blob_of("config"),
        .guest = blob_of("guest"),
        .map = blob_of("map"),
        .mapped = blob_of("mapped"),
        .layer_count = KAON_OCI_LAYERS_MAX,
    };
    struct kaon_json_text text = { 0 };
    struct kaon_manifest got;

    (void)state;
    for (uint32_t i = 0; i < KAON_OCI_LAYERS_MAX; i++) {
        manifest.layers[i] = blob_of("layer");
        manifest.layers[i].digest.bytes[0] = (uint8_t)i;
        manifest.layers[i].size = 4096 * (i + 1);
    }
    manifest.mapped.size = 8192;
    kaon__oci_write_manifest(&text, &manifest);
    assert_false(text.failed);
    if (kaon__oci_read_manifest(&got, text.text, text.size, &err))
        fail_msg("%s", err.text);
    assert_true(same(&got.config, &manifest.config));
    assert_true(same(&got.guest, &manifest.guest));
    assert_true(same(&got.map, &manifest.map));
    assert_true(same(&got.mapped, &manifest.mapped));
    assert_int_equal(got.layer_count, manifest.layer_count);
    for (uint32_t i = 0; i < KAON_OCI_LAYERS_MAX; i++)
        assert_true(same(&got.layers[i], &manifest.layers[i]));
    free(text.text);
}

#define MANIFEST(layers) \
    "{\"schemaVersion\":2," CONFIG ",\"layers\":[" layers "]}"
#define GUEST LAYER(KAON_MEDIA_GUEST)
#define PAGES LAYER(KAON_MEDIA_PAGES)
#define MAPPED LAYER(KAON_MEDIA_MAPPED)
#define FOUR(x) x "," x "," x "," x

static void a_wrong_manifest_is_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        { MANIFEST(GUEST), NULL },
        { MANIFEST(GUEST "," PAGES "," PAGES), NULL },
        { MANIFEST(PAGES "," GUEST), NULL },
        { MANIFEST(), "has no \"application/vnd.kaon.guest.elf.v1\"" },
        { MANIFEST(PAGES), "has no \"application/vnd.kaon.guest.elf.v1\"" },
        { MANIFEST(GUEST "," GUEST), "two blobs of" },
        { MANIFEST(GUEST "," LAYER(KAON_MEDIA_MAP) "," LAYER(KAON_MEDIA_MAP)),
          "two blobs of" },
        { MANIFEST(GUEST "," FOUR(FOUR(PAGES)) "," PAGES), "more than 16" },
        { MANIFEST(GUEST "," FOUR(FOUR(PAGES)) "," MAPPED), NULL },
        { MANIFEST(GUEST "," MAPPED "," MAPPED), "two blobs of" },
        { MANIFEST(GUEST ",{\"mediaType\":\"" KAON_MEDIA_MAPPED
                         "\",\"digest\":\"sha256:" HEX "\",\"size\":4097}"),
          "no whole pages" },
        { MANIFEST(GUEST "," PAGES ",{\"mediaType\":\"" KAON_MEDIA_MAPPED
                         "\",\"digest\":\"sha256:" HEX
                         "\",\"size\":68719476736}"),
          "no snapshot has as many" },
        { MANIFEST(LAYER("application/vnd.oci.image.layer.v1.tar+gzip")),
          "layer.v1.tar+gzip\", which libkaon" },
        { MANIFEST(LAYER("application/vnd.kaon.snapshot.pages.v2")),
          "pages.v2\", which libkaon " KAON_VERSION },
        { MANIFEST(GUEST ",{\"mediaType\":\"" KAON_MEDIA_PAGES
                         "\",\"digest\":\"sha256:" HEX "\",\"size\":4097}"),
          "no whole pages" },
        { MANIFEST(GUEST ",{\"mediaType\":\"" KAON_MEDIA_PAGES
                         "\",\"digest\":\"sha256:" HEX "\",\"size\":0}"),
          "an empty" },
        { MANIFEST(GUEST ",{\"mediaType\":\"" KAON_MEDIA_PAGES
                         "\",\"digest\":\"sha256:" HEX
                         "\",\"size\":68719476736}"),
          "no snapshot has as many" },
        { MANIFEST(GUEST ",{\"mediaType\":\"" KAON_MEDIA_PAGES
                         "\",\"digest\":\"sha256:" HEX
                         "\",\"size\":68719480832}"),
          "no snapshot has as much" },
        { MANIFEST("{\"mediaType\":\"" KAON_MEDIA_GUEST "\",\"size\":1}"),
          "must be sha256:" },
        { MANIFEST("{\"mediaType\":\"" KAON_MEDIA_GUEST
                   "\",\"digest\":\"sha256:" HEX "\"}"),
          "has no size" },
        { MANIFEST("[]"), "an object is expected" },
        { "{" CONFIG ",\"layers\":[" GUEST "]}", "is it a snapshot" },
        { "{\"schemaVersion\":2,\"layers\":[" GUEST "]}", "a \"\", which" },
        { "{\"schemaVersion\":2," CONFIG "}", "has no \"" KAON_MEDIA_GUEST },
        { "{\"schemaVersion\":2," CONFIG "," CONFIG ",\"layers\":[" GUEST "]}",
          "comes twice" },
        { "{\"schemaVersion\":2,\"artifactType\":\"application/"
          "vnd.kaon.snapshot.v2\"," CONFIG ",\"layers\":[" GUEST "]}",
          "snapshot.v2\", which libkaon" },
        { "{\"schemaVersion\":2,\"mediaType\":\"x\"," CONFIG
          ",\"layers\":[" GUEST "]}",
          "a \"x\", which" },
        { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
          "vnd.oci.image.config.v1+json\"," BLOB "},\"layers\":[" GUEST "]}",
          "image.config.v1+json\", which libkaon" },
    };
    struct kaon_manifest manifest;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum kaon_status status = read_manifest(&manifest, rows[i].text);

        if (status != (rows[i].words ? KAON_ESNAPSHOT : KAON_OK))
            fail_msg("row %zu: %d %s", i, status, err.text);
        if (rows[i].words)
            assert_says(rows[i].words);
    }
}

/* ---- The config -------------------------------------------------------- */

static struct kaon_config a_config(void)
{
    return (struct kaon_config){
        .version = KAON_VERSION,
        .guest = "caf\xc3\xa9 \"x\x1b\".elf",
        .layout = { .heap = 0x700000,
                    .stack = 0x500000,
                    .exchange = 0x600000,
                    .heap_size = 0x10000,
                    .stack_size = 0x20000,
                    .exchange_size = 0x30000,
                    .window = 0x800000,
                    .window_size = 0x200000 },
        .fs_base = 0x1234,
        .gs_base = 1,
        .generation = UINT64_MAX,
        .write_set = { 0x500000, 0x510000 },
        .write_count = 2,
        .mappings = { { "words", 0x800000, 4097, 4096, true, KAON_MAP_READ },
                      { "table", 0x802000, 4096, 0, true, KAON_MAP_COPY },
                      { "ring-1", 0x803000, 8192, 0, false, KAON_MAP_WRITE } },
        .mapping_count = 3,
    };
}

/* The config as text, NUL-terminated; the caller frees it. */
static char *written(const struct kaon_config *config,
                     const struct kaon_image *image)
{
    struct kaon_json_text text = { 0 };

    kaon__oci_write_config(&text, config, image);
    text.text = realloc(text.text, text.size + 1);
    assert_true(!text.failed && text.text);
    text.text[text.size] = '\0';
    return text.text;
}

static void a_config_that_is_written_can_be_read(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_config config = a_config(), got;
    char *text;

    (void)state;
    while (config.write_count < KAON_OCI_WRITE_SET_MAX) {
        config.write_set[config.write_count] = config.write_count * 4096;
        config.write_count++;
    }
    text = written(&config, image);
    if (kaon__oci_read_config(&got, text, strlen(text), image, &err))
        fail_msg("%s", err.text);
    assert_string_equal(got.guest, "caf?? \"x?\".elf");
    strcpy(config.guest, got.guest);
    assert_memory_equal(&got, &config, sizeof config);
    free(text);
    kaon_image_destroy(image);
}

/* Replaces the first `from` in a config; the caller frees it. */
static char *changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    char *out = malloc(strlen(text) + strlen(to) + 1);

    if (!at)
        fail_msg("\"%s\" is not in: %s", from, text);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void a_wrong_config_is_refused(void **state)
{
    static const struct {
        const char *from, *to, *words;
        enum kaon_status status;
    } rows[] = {
        { "{", "{\"unknown\":{\"abi\":7},", NULL, KAON_OK },
        { "\"0.1.0\"", "\"99\"", NULL, KAON_OK },
        { "amd64", "arm64", "taken on \"arm64\": this is amd64",
          KAON_ESNAPSHOT },
        { "\"abi\":1", "\"abi\":2", "ABI version 2", KAON_EABI },
        { "\"abi\":1", "\"abi\":4294967297", "ABI version 4294967297",
          KAON_EABI },
        { "HostPrint(string)", "HostPrint(bytes)",
          "the host function \"HostPrint(bytes) -> i32\", which",
          KAON_ESNAPSHOT },
        { "\"HostPrint(string) -> i32\"", "\"HostPrint(string) -> i32\",\"x\"",
          "the host function \"", KAON_ESNAPSHOT },
        { "\"host_functions\":[\"HostPrint(string) -> i32\"",
          "\"host_functions\":[], \"x\":[\"\"", "fewer host functions",
          KAON_ESNAPSHOT },
        { "\"generation\":18446744073709551615", "\"generation\":-1",
          "a number of at least 0 is expected at byte", KAON_ESNAPSHOT },
        { "\"generation\":18446744073709551615,", "", "lacks a member",
          KAON_ESNAPSHOT },
        { "\"fs_base\":4660,", "", "fs_base or gs_base is missing",
          KAON_ESNAPSHOT },
        { "\"heap\":{\"address\":7340032,", "\"heap\":{", "size is missing",
          KAON_ESNAPSHOT },
        { "\"heap\":", "\"help\":", "heap, stack or exchange is missing",
          KAON_ESNAPSHOT },
        { "\"heap\":", "\"stack\":", "comes twice", KAON_ESNAPSHOT },
        { "\"write_set\":[", "\"write_set\":[[],", "number", KAON_ESNAPSHOT },
        { "\"window\":", "\"window2\":", NULL, KAON_OK },
        { "\"window\":{", "\"window\":{\"size\":1,", "comes twice",
          KAON_ESNAPSHOT },
        { "\"mappings\":", "\"mapping\":", NULL, KAON_OK },
        { "\"mappings\":[", "\"mappings\":[{},", "a mapping lacks a member",
          KAON_ESNAPSHOT },
        { "\"mappings\":[", "\"mappings\":[],\"mappings\":[", "comes twice",
          KAON_ESNAPSHOT },
        { "\"mappings\":[", "\"mappings\":[7,", "an object is expected",
          KAON_ESNAPSHOT },
        { "\"words\"", "\"words\",\"more\":[1]", NULL, KAON_OK },
        { "\"words\"", "\"words\",\"name\":\"x\"", "comes twice",
          KAON_ESNAPSHOT },
        { "\"words\"", "\"table\"", "two mappings have one name",
          KAON_ESNAPSHOT },
        { "\"words\"", "\"..\"", "a mapping's name is none", KAON_ESNAPSHOT },
        { "\"words\"", "\"\"", "a mapping's name is none", KAON_ESNAPSHOT },
        { "\"words\"", "\"\\u001b\"", "a mapping's name is none",
          KAON_ESNAPSHOT },
        { "\"words\"",
          "\"1234567890123456789012345678901234567890123456789012345678901234\"",
          "a string is too long", KAON_ESNAPSHOT },
        { "\"file\"", "\"socket\"", "a mapping is of a file or a buffer",
          KAON_ESNAPSHOT },
        { "\"kind\":\"buffer\"", "\"kind\":\"file\"", "to write to a file",
          KAON_ESNAPSHOT },
        { "\"kind\":\"file\"", "\"kind\":\"buffer\"", "a part of a buffer",
          KAON_ESNAPSHOT },
        { "\"mode\":\"copy\"", "\"mode\":\"execute\"",
          "a mapping's mode is read, copy or write", KAON_ESNAPSHOT },
        { "\"size\":4097", "\"size\":8193", "mappings overlap",
          KAON_ESNAPSHOT },
        { "\"size\":4097", "\"size\":18446744073709551615",
          "size is none that a guest", KAON_ESNAPSHOT },
        { "\"size\":4097", "\"size\":0", "size is none that a guest",
          KAON_ESNAPSHOT },
        { "\"offset\":4096", "\"offset\":1", "offset is no page's",
          KAON_ESNAPSHOT },
        { "\"address\":8396800", "\"address\":4096",
          "mappings overlap, or are not in order", KAON_ESNAPSHOT },
        { "\"address\":8396800", "\"address\":9223372036854775808",
          "address is no page's", KAON_ESNAPSHOT },
    };
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_config config = a_config(), got;
    char *good = written(&config, image);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *text = changed(good, rows[i].from, rows[i].to);
        enum kaon_status status =
            kaon__oci_read_config(&got, text, strlen(text), image, &err);

        if (status != rows[i].status)
            fail_msg("row %zu: %d %s", i, status, err.text);
        if (status)
            assert_says(rows[i].words);
        free(text);
    }
    free(good);
    kaon_image_destroy(image);
}

static void a_write_set_is_bounded(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_config config = a_config(), got;
    char *good, *text;

    (void)state;
    config.write_count = KAON_OCI_WRITE_SET_MAX;
    good = written(&config, image);
    text = changed(good, "\"write_set\":[", "\"write_set\":[1,");
    assert_int_equal(
        kaon__oci_read_config(&got, text, strlen(text), image, &err),
        KAON_ESNAPSHOT);
    assert_says("the write set has too many pages");
    free(text);
    free(good);
    kaon_image_destroy(image);
}

static void mappings_are_bounded(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_config config = a_config(), got;
    char *good, *text;

    (void)state;
    memset(config.mappings, 0, sizeof config.mappings);
    config.mapping_count = KAON_OCI_MAPPINGS_MAX;
    for (unsigned i = 0; i < KAON_OCI_MAPPINGS_MAX; i++) {
        config.mappings[i].address = (i + 2) * UINT64_C(4096);
        config.mappings[i].size = 4096;
        snprintf(config.mappings[i].name, 8, "m%u", i);
    }
    good = written(&config, image);
    if (kaon__oci_read_config(&got, good, strlen(good), image, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(got.mappings, config.mappings, sizeof got.mappings);
    text = changed(good, "\"mappings\":[",
                   "\"mappings\":[{\"name\":\"x\",\"address\":4096,"
                   "\"size\":1,\"kind\":\"file\",\"offset\":0,"
                   "\"mode\":\"read\"},");
    assert_int_equal(
        kaon__oci_read_config(&got, text, strlen(text), image, &err),
        KAON_ESNAPSHOT);
    assert_says("there are too many mappings");
    free(text);
    free(good);
    kaon_image_destroy(image);
}

/* ---- The map ----------------------------------------------------------- */

static void a_map_has_whole_entries(void **state)
{
    const struct kaon_map_entry entry = { 0x400000, 4096, 7, 3 };
    unsigned char map[2 * KAON_MAP_ENTRY_SIZE];
    struct kaon_map_entry got;
    uint64_t count;

    (void)state;
    kaon__oci_write_entry(map, 1, &entry);
    got = kaon__oci_read_entry(map, 1);
    assert_memory_equal(&got, &entry, sizeof got);
    assert_int_equal(map[24], 0);
    assert_int_equal(map[24 + 2], 0x40);
    assert_int_equal(kaon__oci_map_count(&count, 48, &err), KAON_OK);
    assert_int_equal(count, 2);
    assert_int_equal(kaon__oci_map_count(&count, 47, &err), KAON_ESNAPSHOT);
    assert_says("it has 47 bytes");
}

TESTS(TEST(a_layout_has_a_version), TEST(a_snapshot_is_found_by_its_tag),
      TEST(an_index_takes_more_snapshots),
      TEST(what_others_have_in_an_index_stays),
      TEST(a_tag_is_one_that_registries_take),
      TEST(a_manifest_that_is_written_can_be_read),
      TEST(a_wrong_manifest_is_refused),
      TEST(a_config_that_is_written_can_be_read),
      TEST(a_wrong_config_is_refused), TEST(a_write_set_is_bounded),
      TEST(mappings_are_bounded), TEST(a_map_has_whole_entries), )

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes the texts of an OCI image layout.
 *
 * Pure, and allocates nothing but the texts that it writes. A member that we
 * use may come only once: of two, one reader may take the first and another
 * the last.
 */
#include "host/oci.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <kaon/abi.h>
#include <kaon/image.h>

#include "host/error.h"

#define INDEX_MEDIA "application/vnd.oci.image.index.v1+json"
#define MANIFEST_MEDIA "application/vnd.oci.image.manifest.v1+json"
#define TAG_ANNOTATION "org.opencontainers.image.ref.name"
#define LATEST "latest"
#define ARCHITECTURE "amd64" /* as OCI spells it */

const char kaon__oci_layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

/* ---- Failing ----------------------------------------------------------- */

static enum kaon_status damaged(const struct kaon_json *json, const char *file,
                                struct kaon_error *err)
{
    return kaon__fail(err, KAON_ESNAPSHOT, "%s is damaged: %s at byte %zu",
                      file, json->error, (size_t)(json->at - json->start));
}

/* Marks a member as seen: one of a name is enough. */
static bool once(struct kaon_json *json, unsigned *seen, unsigned bit)
{
    if (*seen & bit)
        return kaon__json_fail(json, "a member comes twice");
    *seen |= bit;
    return true;
}

/*
 * A text, as far as it is of use to us. It may be told in a message, so what
 * is not printable ASCII becomes a question mark.
 */
static bool read_words(struct kaon_json *json, char *out, size_t room)
{
    if (!kaon__json_cut_string(json, out, room))
        return false;
    for (; *out; out++)
        if (*out < ' ' || *out > '~')
            *out = '?';
    return true;
}

/* ---- Descriptors ------------------------------------------------------- */

enum { MEDIA = 1, ARTIFACT = 2, DIGEST = 4, SIZE = 8, NOTES = 16, TAG = 32 };

/* Of anything that a layout may hold: not ours until it is asked for. Texts
 * that are too long for us are cut, and then equal none of ours. */
struct descriptor {
    unsigned seen;
    char media[96], artifact[96], digest[80], tag[KAON_OCI_TAG_MAX + 2];
    uint64_t size;
};

static void read_annotations(struct kaon_json *json, struct descriptor *out)
{
    const char *key;

    kaon__json_object(json);
    while ((key = kaon__json_key(json)))
        if (strcmp(key, TAG_ANNOTATION) != 0)
            kaon__json_skip(json);
        else if (once(json, &out->seen, TAG))
            read_words(json, out->tag, sizeof out->tag);
}

static void read_descriptor(struct kaon_json *json, struct descriptor *out)
{
    unsigned *seen = &out->seen;
    const char *key;

    *out = (struct descriptor){ 0 };
    kaon__json_object(json);
    while ((key = kaon__json_key(json)))
        if (strcmp(key, "mediaType") == 0 && once(json, seen, MEDIA))
            read_words(json, out->media, sizeof out->media);
        else if (strcmp(key, "artifactType") == 0 && once(json, seen, ARTIFACT))
            read_words(json, out->artifact, sizeof out->artifact);
        else if (strcmp(key, "digest") == 0 && once(json, seen, DIGEST))
            read_words(json, out->digest, sizeof out->digest);
        else if (strcmp(key, "size") == 0 && once(json, seen, SIZE))
            kaon__json_u64(json, &out->size);
        else if (strcmp(key, "annotations") == 0 && once(json, seen, NOTES))
            read_annotations(json, out);
        else
            kaon__json_skip(json);
}

/* What it describes, if it says enough; `file` is where it stands. */
static enum kaon_status to_blob(struct kaon_blob *out,
                                const struct descriptor *from, const char *file,
                                struct kaon_error *err)
{
    static const char prefix[] = "sha256:";

    if (!(from->seen & SIZE))
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "%s is damaged: a descriptor has no size", file);
    if (strncmp(from->digest, prefix, sizeof prefix - 1) != 0 ||
        !kaon__digest_parse(&out->digest, from->digest + sizeof prefix - 1))
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "%s has the digest \"%s\": it must be sha256: and 64 "
                          "digits",
                          file, from->digest);
    if (from->size > KAON_OCI_SIZE_MAX)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "%s speaks of a blob of %" PRIu64
                          " bytes: no snapshot has as much",
                          file, from->size);
    out->size = from->size;
    return KAON_OK;
}

/* ---- oci-layout -------------------------------------------------------- */

enum kaon_status kaon__oci_read_layout(const char *text, size_t size,
                                       struct kaon_error *err)
{
    struct kaon_json json;
    char version[16] = "";
    unsigned seen = 0;
    const char *key;

    kaon__json_begin(&json, text, size);
    kaon__json_object(&json);
    while ((key = kaon__json_key(&json)))
        if (strcmp(key, "imageLayoutVersion") == 0 && once(&json, &seen, 1))
            read_words(&json, version, sizeof version);
        else
            kaon__json_skip(&json);
    if (!kaon__json_end(&json))
        return damaged(&json, "oci-layout", err);
    if (strcmp(version, "1.0.0") != 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "oci-layout has the version \"%s\": it must be 1.0.0",
                          version);
    return KAON_OK;
}

/* ---- index.json -------------------------------------------------------- */

/* Looks for a manifest while the index goes by. */
struct hunt {
    const char *tag; /* NULL: any */
    struct descriptor found;
    unsigned count, latest; /* manifests; those that are called so */
    kaon_tag_function each; /* NULL: nobody wants to know */
    void *user;
};

static void consider(struct hunt *hunt, const struct descriptor *manifest)
{
    const char *wanted = hunt->tag ? hunt->tag : LATEST;
    bool fits = strcmp(manifest->tag, wanted) == 0;

    hunt->count++;
    hunt->latest += fits;
    if (hunt->each && manifest->tag[0])
        hunt->each(manifest->tag, hunt->user);
    if (fits || (!hunt->tag && hunt->count == 1))
        hunt->found = *manifest;
}

static void read_manifests(struct kaon_json *json, struct hunt *hunt)
{
    struct descriptor manifest;

    kaon__json_array(json);
    while (kaon__json_item(json)) {
        read_descriptor(json, &manifest);
        if (!json->error)
            consider(hunt, &manifest);
    }
}

/* schemaVersion is 2 in everything that we read. */
static bool read_schema(struct kaon_json *json)
{
    uint64_t version;

    return kaon__json_u64(json, &version) &&
           (version == 2 || kaon__json_fail(json, "schemaVersion is not 2"));
}

static enum kaon_status scan_index(struct hunt *hunt, const char *text,
                                   size_t size, struct kaon_error *err)
{
    enum { SCHEMA = 1, MANIFESTS = 2 };
    struct kaon_json json;
    unsigned seen = 0;
    const char *key;

    kaon__json_begin(&json, text, size);
    kaon__json_object(&json);
    while ((key = kaon__json_key(&json)))
        if (strcmp(key, "schemaVersion") == 0 && once(&json, &seen, SCHEMA))
            read_schema(&json);
        else if (strcmp(key, "manifests") == 0 && once(&json, &seen, MANIFESTS))
            read_manifests(&json, hunt);
        else
            kaon__json_skip(&json);
    if (kaon__json_end(&json) && seen != (SCHEMA | MANIFESTS))
        kaon__json_fail(&json, "schemaVersion or manifests is missing");
    return json.error ? damaged(&json, "index.json", err) : KAON_OK;
}

static enum kaon_status fail_hunt(const struct hunt *hunt,
                                  struct kaon_error *err)
{
    if (hunt->latest > 1)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "index.json has %u manifests that are named %s",
                          hunt->latest, hunt->tag ? hunt->tag : LATEST);
    if (hunt->tag)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "index.json has no snapshot named \"%.128s\"",
                          hunt->tag);
    if (hunt->count == 0)
        return kaon__fail(err, KAON_ESNAPSHOT, "index.json has no snapshot");
    return kaon__fail(err, KAON_ESNAPSHOT,
                      "index.json has %u snapshots and none is named latest: "
                      "say which one",
                      hunt->count);
}

enum kaon_status kaon__oci_find(struct kaon_blob *out, const char *text,
                                size_t size, const char *tag,
                                struct kaon_error *err)
{
    struct hunt hunt = { .tag = tag };
    const struct descriptor *found = &hunt.found;
    enum kaon_status status = scan_index(&hunt, text, size, err);

    if (status)
        return status;
    if (hunt.latest != 1 && (tag || hunt.count != 1))
        return fail_hunt(&hunt, err);
    if (strcmp(found->media, MANIFEST_MEDIA) != 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "index.json: \"%s\" is no manifest of a snapshot",
                          found->media);
    if (found->artifact[0] && strcmp(found->artifact, KAON_MEDIA_SNAPSHOT) != 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "index.json: \"%s\" is no snapshot that libkaon %s "
                          "knows",
                          found->artifact, KAON_VERSION);
    return to_blob(out, found, "index.json", err);
}

enum kaon_status kaon__oci_each_tag(const char *text, size_t size,
                                    kaon_tag_function function, void *user,
                                    struct kaon_error *err)
{
    struct hunt hunt = { .each = function, .user = user };

    return scan_index(&hunt, text, size, err);
}

/* ---- The manifest ------------------------------------------------------ */

static enum kaon_status fail_media(const char *media, struct kaon_error *err)
{
    return kaon__fail(err, KAON_ESNAPSHOT,
                      "the manifest has a \"%s\", which libkaon %s does not "
                      "know: is it a snapshot, of this version?",
                      media, KAON_VERSION);
}

static enum kaon_status add_layer(struct kaon_manifest *out,
                                  const struct descriptor *layer,
                                  struct kaon_error *err)
{
    struct kaon_blob *to;
    bool pages = strcmp(layer->media, KAON_MEDIA_PAGES) == 0;

    if (strcmp(layer->media, KAON_MEDIA_GUEST) == 0)
        to = &out->guest;
    else if (strcmp(layer->media, KAON_MEDIA_MAP) == 0)
        to = &out->map;
    else if (strcmp(layer->media, KAON_MEDIA_MAPPED) == 0)
        to = &out->mapped;
    else if (pages && out->layer_count < KAON_OCI_LAYERS_MAX)
        to = &out->layers[out->layer_count++];
    else if (pages)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest has more than %u layers of pages",
                          KAON_OCI_LAYERS_MAX);
    else
        return fail_media(layer->media, err);
    if (to->size)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest has two blobs of \"%s\"", layer->media);
    if ((layer->seen & SIZE) && layer->size == 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest has an empty \"%s\"", layer->media);
    return to_blob(to, layer, "the manifest", err);
}

/* The first failure of either kind ends it: damaged text, or a wrong layer. */
static enum kaon_status read_layers(struct kaon_json *json,
                                    struct kaon_manifest *out,
                                    struct kaon_error *err)
{
    struct descriptor layer;
    enum kaon_status status;

    kaon__json_array(json);
    while (kaon__json_item(json)) {
        read_descriptor(json, &layer);
        status = json->error ? KAON_OK : add_layer(out, &layer, err);
        if (status)
            return status;
    }
    return KAON_OK;
}

static enum kaon_status check_config(struct kaon_manifest *out,
                                     const struct descriptor *config,
                                     const char *artifact,
                                     struct kaon_error *err)
{
    if (artifact[0] && strcmp(artifact, KAON_MEDIA_SNAPSHOT) != 0)
        return fail_media(artifact, err);
    if (strcmp(config->media, KAON_MEDIA_CONFIG) != 0)
        return fail_media(config->media, err);
    return to_blob(&out->config, config, "the manifest", err);
}

/* Each is at most KAON_OCI_SIZE_MAX, so that the sum cannot overflow. */
static enum kaon_status check_sizes(const struct kaon_manifest *manifest,
                                    struct kaon_error *err)
{
    uint64_t sum = manifest->guest.size + manifest->map.size;

    for (uint32_t i = 0; i <= manifest->layer_count; i++) {
        uint64_t size = i < manifest->layer_count ? manifest->layers[i].size
                                                  : manifest->mapped.size;

        if (size % KAON_OCI_PAGE)
            return kaon__fail(err, KAON_ESNAPSHOT,
                              "the manifest has %" PRIu64
                              " bytes of pages: these are no whole pages",
                              size);
        sum += size;
    }
    if (sum > KAON_OCI_SIZE_MAX || manifest->guest.size > KAON_OCI_GUEST_MAX ||
        manifest->map.size > KAON_OCI_MAP_MAX)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest speaks of a guest of %" PRIu64
                          " bytes, a map of %" PRIu64 ", and %" PRIu64
                          " in all: no snapshot has as many",
                          manifest->guest.size, manifest->map.size, sum);
    return KAON_OK;
}

enum kaon_status kaon__oci_read_manifest(struct kaon_manifest *out,
                                         const char *text, size_t size,
                                         struct kaon_error *err)
{
    enum { SCHEMA = 1, TYPE = 2, CONFIG = 4, LAYERS = 8, MEDIA_TYPE = 16 };
    struct descriptor config = { 0 };
    char artifact[96] = "", media[96] = MANIFEST_MEDIA;
    enum kaon_status status = KAON_OK;
    struct kaon_json json;
    unsigned seen = 0;
    const char *key;

    *out = (struct kaon_manifest){ 0 };
    kaon__json_begin(&json, text, size);
    kaon__json_object(&json);
    while (!status && (key = kaon__json_key(&json)))
        if (strcmp(key, "schemaVersion") == 0 && once(&json, &seen, SCHEMA))
            read_schema(&json);
        else if (strcmp(key, "mediaType") == 0 &&
                 once(&json, &seen, MEDIA_TYPE))
            read_words(&json, media, sizeof media);
        else if (strcmp(key, "artifactType") == 0 && once(&json, &seen, TYPE))
            read_words(&json, artifact, sizeof artifact);
        else if (strcmp(key, "config") == 0 && once(&json, &seen, CONFIG))
            read_descriptor(&json, &config);
        else if (strcmp(key, "layers") == 0 && once(&json, &seen, LAYERS))
            status = read_layers(&json, out, err);
        else
            kaon__json_skip(&json);
    if (status)
        return status;
    if (!kaon__json_end(&json))
        return damaged(&json, "the manifest", err);
    if (!(seen & SCHEMA) || strcmp(media, MANIFEST_MEDIA) != 0)
        return fail_media(media, err);
    status = check_config(out, &config, artifact, err);
    if (!status && out->guest.size == 0)
        status = kaon__fail(err, KAON_ESNAPSHOT, "the manifest has no \"%s\"",
                            KAON_MEDIA_GUEST);
    return status ? status : check_sizes(out, err);
}

/* ---- The config -------------------------------------------------------- */

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
    const char *key;

    kaon__json_object(json);
    while ((key = kaon__json_key(json)))
        if (strcmp(key, "address") == 0 && once(json, &seen, 1))
            kaon__json_u64(json, address);
        else if (strcmp(key, "size") == 0 && once(json, &seen, 2))
            kaon__json_u64(json, size);
        else
            kaon__json_skip(json);
    if (seen != 3)
        kaon__json_fail(json, "an address or a size is missing");
}

static void read_layout(struct kaon_json *json, struct kaon_config *out)
{
    unsigned seen = 0;
    const char *key;

    kaon__json_object(json);
    while ((key = kaon__json_key(json)))
        if (strcmp(key, "heap") == 0 && once(json, &seen, 1))
            read_area(json, &out->layout.heap, &out->layout.heap_size);
        else if (strcmp(key, "stack") == 0 && once(json, &seen, 2))
            read_area(json, &out->layout.stack, &out->layout.stack_size);
        else if (strcmp(key, "exchange") == 0 && once(json, &seen, 4))
            read_area(json, &out->layout.exchange, &out->layout.exchange_size);
        else if (strcmp(key, "window") == 0 && once(json, &seen, 8))
            read_area(json, &out->layout.window, &out->layout.window_size);
        else
            kaon__json_skip(json);
    if ((seen & 7) != 7)
        kaon__json_fail(json, "heap, stack or exchange is missing");
}

static void read_registers(struct kaon_json *json, struct kaon_config *out)
{
    unsigned seen = 0;
    const char *key;

    kaon__json_object(json);
    while ((key = kaon__json_key(json)))
        if (strcmp(key, "fs_base") == 0 && once(json, &seen, 1))
            kaon__json_u64(json, &out->fs_base);
        else if (strcmp(key, "gs_base") == 0 && once(json, &seen, 2))
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
    while (kaon__json_item(json) && read_words(json, text, sizeof text)) {
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

    if (!read_words(json, text, sizeof text))
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
    const char *key;

    kaon__json_object(json);
    while ((key = kaon__json_key(json)))
        if (strcmp(key, "name") == 0 && once(json, &seen, 1))
            kaon__json_string(json, out->name, sizeof out->name);
        else if (strcmp(key, "address") == 0 && once(json, &seen, 2))
            kaon__json_u64(json, &out->address);
        else if (strcmp(key, "size") == 0 && once(json, &seen, 4))
            kaon__json_u64(json, &out->size);
        else if (strcmp(key, "kind") == 0 && once(json, &seen, 8))
            read_word(json, kinds, 2, &kind,
                      "a mapping is of a file or a buffer");
        else if (strcmp(key, "offset") == 0 && once(json, &seen, 16))
            kaon__json_u64(json, &out->offset);
        else if (strcmp(key, "mode") == 0 && once(json, &seen, 32))
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

static void read_member(struct reading *reading, const char *key)
{
    struct kaon_json *json = &reading->json;
    struct kaon_config *out = reading->out;
    unsigned *seen = &reading->seen;

    if (strcmp(key, "architecture") == 0 && once(json, seen, MACHINE))
        read_words(json, reading->architecture, sizeof reading->architecture);
    else if (strcmp(key, "kaon") == 0 && once(json, seen, KAON))
        read_words(json, out->version, sizeof out->version);
    else if (strcmp(key, "abi") == 0 && once(json, seen, ABI))
        kaon__json_u64(json, &reading->abi);
    else if (strcmp(key, "guest") == 0 && once(json, seen, GUEST))
        read_words(json, out->guest, sizeof out->guest);
    else if (strcmp(key, "layout") == 0 && once(json, seen, LAYOUT))
        read_layout(json, out);
    else if (strcmp(key, "registers") == 0 && once(json, seen, REGISTERS))
        read_registers(json, out);
    else if (strcmp(key, "generation") == 0 && once(json, seen, GENERATION))
        kaon__json_u64(json, &out->generation);
    else if (strcmp(key, "host_functions") == 0 && once(json, seen, FUNCTIONS))
        read_functions(reading);
    else if (strcmp(key, "write_set") == 0 && once(json, seen, WRITE_SET))
        read_write_set(json, out);
    else if (strcmp(key, "mappings") == 0 && once(json, seen, MAPPINGS))
        read_mappings(json, out);
    else
        kaon__json_skip(json);
}

static enum kaon_status judge_config(struct reading *reading,
                                     struct kaon_error *err)
{
    struct kaon_json *json = &reading->json;

    if (!kaon__json_end(json))
        return damaged(json, "the config", err);
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
    const char *key;

    *out = (struct kaon_config){ 0 };
    kaon__json_begin(&reading.json, text, size);
    kaon__json_object(&reading.json);
    while ((key = kaon__json_key(&reading.json)))
        read_member(&reading, key);
    return judge_config(&reading, err);
}

/* ---- The map ----------------------------------------------------------- */

enum kaon_status kaon__oci_map_count(uint64_t *out, uint64_t size,
                                     struct kaon_error *err)
{
    if (size % KAON_MAP_ENTRY_SIZE)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the map is damaged: it has %" PRIu64
                          " bytes, and entries have %" PRIu64,
                          size, KAON_MAP_ENTRY_SIZE);
    *out = size / KAON_MAP_ENTRY_SIZE;
    return KAON_OK;
}

/* Little-endian, as this machine is. */
_Static_assert(sizeof(struct kaon_map_entry) == KAON_MAP_ENTRY_SIZE &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "an entry is in memory what it is in the file");

struct kaon_map_entry kaon__oci_read_entry(const unsigned char *map,
                                           uint64_t index)
{
    struct kaon_map_entry entry;

    memcpy(&entry, map + index * sizeof entry, sizeof entry);
    return entry;
}

void kaon__oci_write_entry(unsigned char *map, uint64_t index,
                           const struct kaon_map_entry *entry)
{
    memcpy(map + index * sizeof *entry, entry, sizeof *entry);
}

/* ---- Writing ----------------------------------------------------------- */

static void put_descriptor(struct kaon_json_text *text, const char *key,
                           const char *media, const struct kaon_blob *blob)
{
    char digest[7 + KAON_SHA256_TEXT] = "sha256:";

    kaon__digest_format(&blob->digest, digest + 7);
    kaon__json_put_object(text, key);
    kaon__json_put_string(text, "mediaType", media);
    kaon__json_put_string(text, "digest", digest);
    kaon__json_put_u64(text, "size", blob->size);
}

static void put_blob(struct kaon_json_text *text, const char *key,
                     const char *media, const struct kaon_blob *blob)
{
    put_descriptor(text, key, media, blob);
    kaon__json_put_object_end(text);
}

void kaon__oci_write_manifest(struct kaon_json_text *text,
                              const struct kaon_manifest *manifest)
{
    kaon__json_put_object(text, NULL);
    kaon__json_put_u64(text, "schemaVersion", 2);
    kaon__json_put_string(text, "mediaType", MANIFEST_MEDIA);
    kaon__json_put_string(text, "artifactType", KAON_MEDIA_SNAPSHOT);
    put_blob(text, "config", KAON_MEDIA_CONFIG, &manifest->config);
    kaon__json_put_array(text, "layers");
    put_blob(text, NULL, KAON_MEDIA_GUEST, &manifest->guest);
    if (manifest->map.size)
        put_blob(text, NULL, KAON_MEDIA_MAP, &manifest->map);
    for (uint32_t i = 0; i < manifest->layer_count; i++)
        put_blob(text, NULL, KAON_MEDIA_PAGES, &manifest->layers[i]);
    if (manifest->mapped.size)
        put_blob(text, NULL, KAON_MEDIA_MAPPED, &manifest->mapped);
    kaon__json_put_array_end(text);
    kaon__json_put_object_end(text);
}

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

/* ---- Writing the index ------------------------------------------------- */

static void put_tagged(struct kaon_json_text *text, const char *tag,
                       const struct kaon_blob *manifest)
{
    put_descriptor(text, NULL, MANIFEST_MEDIA, manifest);
    kaon__json_put_string(text, "artifactType", KAON_MEDIA_SNAPSHOT);
    kaon__json_put_object(text, "annotations");
    kaon__json_put_string(text, TAG_ANNOTATION, tag);
    kaon__json_put_object_end(text);
    kaon__json_put_object_end(text);
}

/* The manifests of the old index, as they are, but for the one of the tag. */
static void put_others(struct kaon_json_text *text, struct kaon_json *json,
                       const char *tag)
{
    struct descriptor manifest;

    kaon__json_array(json);
    while (kaon__json_item(json)) {
        const char *start = json->at;

        read_descriptor(json, &manifest);
        if (!json->error && strcmp(manifest.tag, tag) != 0)
            kaon__json_put_raw(text, NULL, start, (size_t)(json->at - start));
    }
}

/* All members of the old index, and the new manifest behind the others. */
static void put_index(struct kaon_json_text *text, struct kaon_json *json,
                      const char *tag, const struct kaon_blob *manifest)
{
    const char *key, *start;

    kaon__json_put_object(text, NULL);
    kaon__json_object(json);
    while (start = json->at, (key = kaon__json_key(json))) {
        if (strcmp(key, "manifests") == 0) {
            kaon__json_put_array(text, key);
            put_others(text, json, tag);
            put_tagged(text, tag, manifest);
            kaon__json_put_array_end(text);
        } else if (kaon__json_skip(json)) {
            /* Key and all: it may be longer than what we keep of it. */
            start += strspn(start, ", \n\r\t");
            kaon__json_put_raw(text, NULL, start, (size_t)(json->at - start));
        }
    }
    kaon__json_put_object_end(text);
}

static void put_new_index(struct kaon_json_text *text, const char *tag,
                          const struct kaon_blob *manifest)
{
    kaon__json_put_object(text, NULL);
    kaon__json_put_u64(text, "schemaVersion", 2);
    kaon__json_put_string(text, "mediaType", INDEX_MEDIA);
    kaon__json_put_array(text, "manifests");
    put_tagged(text, tag, manifest);
    kaon__json_put_array_end(text);
    kaon__json_put_object_end(text);
}

enum kaon_status kaon__oci_write_index(struct kaon_json_text *text,
                                       const char *old, size_t old_size,
                                       const char *tag,
                                       const struct kaon_blob *manifest,
                                       bool replace, struct kaon_error *err)
{
    struct hunt hunt = { .tag = tag };
    struct kaon_json json;
    enum kaon_status status;

    if (!old) {
        put_new_index(text, tag, manifest);
        return KAON_OK;
    }
    status = scan_index(&hunt, old, old_size, err);
    if (status)
        return status;
    if (hunt.latest && !replace)
        return kaon__fail(err, KAON_EINVAL,
                          "it has a snapshot named %s: choose another name, "
                          "or replace that one",
                          tag);
    kaon__json_begin(&json, old, old_size);
    put_index(text, &json, tag, manifest);
    return KAON_OK;
}

bool kaon__oci_is_mapping(const char *name)
{
    return kaon__oci_is_tag(name) && strlen(name) <= KAON_MAP_NAME_MAX;
}

bool kaon__oci_is_tag(const char *tag)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t length = strspn(tag, good);

    return length > 0 && length <= KAON_OCI_TAG_MAX && tag[length] == '\0' &&
           tag[0] != '.' && tag[0] != '-';
}

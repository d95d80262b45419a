/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci-layout and index.json: which snapshots an OCI image layout has.
 *
 * Pure, and allocates nothing but the texts that it writes.
 */
#include "host/oci_text.h"

#include <inttypes.h>
#include <string.h>

#include "host/error.h"

#define INDEX_MEDIA "application/vnd.oci.image.index.v1+json"
#define LATEST "latest"

const char kaon__oci_layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

/* ---- oci-layout -------------------------------------------------------- */

enum kaon_status kaon__oci_read_layout(const char *text, size_t size,
                                       struct kaon_error *err)
{
    struct kaon_json json;
    char version[16] = "";
    unsigned seen = 0;

    kaon__json_begin(&json, text, size);
    kaon__json_object(&json);
    while (kaon__json_key(&json))
        if (kaon__oci_is(&json, "imageLayoutVersion", &seen, 1))
            kaon__oci_words(&json, version, sizeof version);
        else
            kaon__json_skip(&json);
    if (!kaon__json_end(&json))
        return kaon__oci_damaged(&json, "oci-layout", err);
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
    struct kaon_descriptor found;
    unsigned count, latest; /* manifests; those that are called so */
    kaon_tag_function each; /* NULL: nobody wants to know */
    void *user;
};

static void consider(struct hunt *hunt, const struct kaon_descriptor *manifest)
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
    struct kaon_descriptor manifest;

    kaon__json_array(json);
    while (kaon__json_item(json)) {
        kaon__oci_read_descriptor(json, &manifest);
        if (!json->error)
            consider(hunt, &manifest);
    }
}

static enum kaon_status scan_index(struct hunt *hunt, const char *text,
                                   size_t size, struct kaon_error *err)
{
    enum { SCHEMA = 1, MANIFESTS = 2 };
    struct kaon_json json;
    unsigned seen = 0;

    kaon__json_begin(&json, text, size);
    kaon__json_object(&json);
    while (kaon__json_key(&json))
        if (kaon__oci_is(&json, "schemaVersion", &seen, SCHEMA))
            kaon__oci_schema(&json);
        else if (kaon__oci_is(&json, "manifests", &seen, MANIFESTS))
            read_manifests(&json, hunt);
        else
            kaon__json_skip(&json);
    if (kaon__json_end(&json) && seen != (SCHEMA | MANIFESTS))
        kaon__json_fail(&json, "schemaVersion or manifests is missing");
    return json.error ? kaon__oci_damaged(&json, "index.json", err) : KAON_OK;
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
    const struct kaon_descriptor *found = &hunt.found;
    enum kaon_status status = scan_index(&hunt, text, size, err);

    if (status)
        return status;
    if (hunt.latest != 1 && (tag || hunt.count != 1))
        return fail_hunt(&hunt, err);
    if (strcmp(found->media, KAON_MEDIA_MANIFEST) != 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "index.json: \"%s\" is no manifest of a snapshot",
                          found->media);
    if (found->artifact[0] && strcmp(found->artifact, KAON_MEDIA_SNAPSHOT) != 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "index.json: \"%s\" is no snapshot that libkaon %s "
                          "knows",
                          found->artifact, KAON_VERSION);
    return kaon__oci_to_blob(out, found, "index.json", err);
}

enum kaon_status kaon__oci_each_tag(const char *text, size_t size,
                                    kaon_tag_function function, void *user,
                                    struct kaon_error *err)
{
    struct hunt hunt = { .each = function, .user = user };

    return scan_index(&hunt, text, size, err);
}

/* ---- Writing the index ------------------------------------------------- */

static void put_tagged(struct kaon_json_text *text, const char *tag,
                       const struct kaon_blob *manifest)
{
    kaon__oci_begin_blob(text, NULL, KAON_MEDIA_MANIFEST, manifest);
    kaon__json_put_string(text, "artifactType", KAON_MEDIA_SNAPSHOT);
    kaon__json_put_object(text, "annotations");
    kaon__json_put_string(text, KAON_OCI_TAG_ANNOTATION, tag);
    kaon__json_put_object_end(text);
    kaon__json_put_object_end(text);
}

/* The manifests of the old index, as they are, but for the one of the tag. */
static void put_others(struct kaon_json_text *text, struct kaon_json *json,
                       const char *tag)
{
    struct kaon_descriptor manifest;

    kaon__json_array(json);
    while (kaon__json_item(json)) {
        const char *start = json->at;

        kaon__oci_read_descriptor(json, &manifest);
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

/* ---- Names ------------------------------------------------------------- */

bool kaon__oci_is_tag(const char *tag)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t length = strspn(tag, good);

    return length > 0 && length <= KAON_OCI_TAG_MAX && tag[length] == '\0' &&
           tag[0] != '.' && tag[0] != '-';
}

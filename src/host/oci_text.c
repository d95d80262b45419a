/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of which the JSON files of an OCI image layout are made. Pure.
 */
#include "host/oci_text.h"

#include <inttypes.h>
#include <string.h>

#include "host/error.h"

enum kaon_status kaon__oci_damaged(const struct kaon_json *json,
                                   const char *file, struct kaon_error *err)
{
    return kaon__fail(err, KAON_ESNAPSHOT, "%s is damaged: %s at byte %zu",
                      file, json->error, (size_t)(json->at - json->start));
}

bool kaon__oci_is(struct kaon_json *json, const char *name, unsigned *seen,
                  unsigned bit)
{
    if (strcmp(json->key, name) != 0)
        return false;
    if (*seen & bit)
        return kaon__json_fail(json, "a member comes twice");
    *seen |= bit;
    return true;
}

bool kaon__oci_words(struct kaon_json *json, char *out, size_t room)
{
    if (!kaon__json_cut_string(json, out, room))
        return false;
    for (; *out; out++)
        if (*out < ' ' || *out > '~')
            *out = '?';
    return true;
}

bool kaon__oci_schema(struct kaon_json *json)
{
    uint64_t version;

    return kaon__json_u64(json, &version) &&
           (version == 2 || kaon__json_fail(json, "schemaVersion is not 2"));
}

/* ---- Descriptors ------------------------------------------------------- */

static void read_annotations(struct kaon_json *json,
                             struct kaon_descriptor *out)
{
    unsigned seen = 0;

    kaon__json_object(json);
    while (kaon__json_key(json))
        if (kaon__oci_is(json, KAON_OCI_TAG_ANNOTATION, &seen, 1))
            kaon__oci_words(json, out->tag, sizeof out->tag);
        else
            kaon__json_skip(json);
}

void kaon__oci_read_descriptor(struct kaon_json *json,
                               struct kaon_descriptor *out)
{
    enum { MEDIA = 1, ARTIFACT = 2, DIGEST = 4, SIZE = 8, NOTES = 16 };
    unsigned seen = 0;

    *out = (struct kaon_descriptor){ 0 };
    kaon__json_object(json);
    while (kaon__json_key(json))
        if (kaon__oci_is(json, "mediaType", &seen, MEDIA))
            kaon__oci_words(json, out->media, sizeof out->media);
        else if (kaon__oci_is(json, "artifactType", &seen, ARTIFACT))
            kaon__oci_words(json, out->artifact, sizeof out->artifact);
        else if (kaon__oci_is(json, "digest", &seen, DIGEST))
            kaon__oci_words(json, out->digest, sizeof out->digest);
        else if (kaon__oci_is(json, "size", &seen, SIZE))
            kaon__json_u64(json, &out->size);
        else if (kaon__oci_is(json, "annotations", &seen, NOTES))
            read_annotations(json, out);
        else
            kaon__json_skip(json);
    out->has_size = seen & SIZE;
}

enum kaon_status kaon__oci_to_blob(struct kaon_blob *out,
                                   const struct kaon_descriptor *from,
                                   const char *file, struct kaon_error *err)
{
    static const char prefix[] = "sha256:";

    if (!from->has_size)
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

void kaon__oci_begin_blob(struct kaon_json_text *text, const char *key,
                          const char *media, const struct kaon_blob *blob)
{
    char digest[7 + KAON_SHA256_TEXT] = "sha256:";

    kaon__digest_format(&blob->digest, digest + 7);
    kaon__json_put_object(text, key);
    kaon__json_put_string(text, "mediaType", media);
    kaon__json_put_string(text, "digest", digest);
    kaon__json_put_u64(text, "size", blob->size);
}

void kaon__oci_put_blob(struct kaon_json_text *text, const char *key,
                        const char *media, const struct kaon_blob *blob)
{
    kaon__oci_begin_blob(text, key, media, blob);
    kaon__json_put_object_end(text);
}

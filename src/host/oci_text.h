/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the JSON files of an OCI image layout have in common: for oci_*.c.
 */
#ifndef KAON_SRC_HOST_OCI_TEXT_H
#define KAON_SRC_HOST_OCI_TEXT_H

#include "host/oci.h"

#define KAON_MEDIA_MANIFEST "application/vnd.oci.image.manifest.v1+json"

/* The annotation of a descriptor that has a snapshot's name. */
#define KAON_OCI_TAG_ANNOTATION "org.opencontainers.image.ref.name"

/* The text of a file is damaged as its reader says, which has failed. */
enum kaon_status kaon__oci_damaged(const struct kaon_json *json,
                                   const char *file, struct kaon_error *err);

/* Is it this member whose value is next? Marks it as seen, by a bit: of two of
 * a name, one reader may take the first and another the last, so the second
 * fails. */
bool kaon__oci_is(struct kaon_json *json, const char *name, unsigned *seen,
                  unsigned bit);

/* A string, as far as it is of use to us. It may be told in a message, so what
 * is not printable ASCII becomes a question mark. */
bool kaon__oci_words(struct kaon_json *json, char *out, size_t room);

/* schemaVersion, which is 2 in everything that we read. */
bool kaon__oci_schema(struct kaon_json *json);

/* ---- Descriptors ------------------------------------------------------- */

/* Of anything that a layout may hold: not ours until it is asked for. Texts
 * that are too long for us are cut, and then equal none of ours. */
struct kaon_descriptor {
    char media[96], artifact[96], digest[80], tag[KAON_OCI_TAG_MAX + 2];
    uint64_t size;
    bool has_size;
};

void kaon__oci_read_descriptor(struct kaon_json *json,
                               struct kaon_descriptor *out);

/* What it describes, if it says enough; `file` is where it stands. */
enum kaon_status kaon__oci_to_blob(struct kaon_blob *out,
                                   const struct kaon_descriptor *from,
                                   const char *file, struct kaon_error *err);

/* Writes one of a blob, or begins one: the caller ends it as an object. */
void kaon__oci_put_blob(struct kaon_json_text *text, const char *key,
                        const char *media, const struct kaon_blob *blob);
void kaon__oci_begin_blob(struct kaon_json_text *text, const char *key,
                          const char *media, const struct kaon_blob *blob);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of an OCI image layout say of a snapshot: read and written,
 * each in an oci_*.c of its own.
 * docs/snapshot-format.md is the format's description.
 *
 * Pure: texts in, structs out, and back. Nothing that is read is trusted: what
 * the readers leave has been checked, as far as it can be without the other
 * files. Members that we do not know are passed over, as OCI wants it; kinds
 * of files that we do not know are refused by name.
 */
#ifndef KAON_SRC_HOST_OCI_H
#define KAON_SRC_HOST_OCI_H

#include <stdbool.h>
#include <kaon/error.h>
#include <kaon/region.h>

#include "host/json.h"
#include "host/sha256.h"

struct kaon_image;

#define KAON_MEDIA_SNAPSHOT "application/vnd.kaon.snapshot.v1"
#define KAON_MEDIA_CONFIG "application/vnd.kaon.snapshot.config.v1+json"
#define KAON_MEDIA_GUEST "application/vnd.kaon.guest.elf.v1"
#define KAON_MEDIA_MAP "application/vnd.kaon.snapshot.map.v1"
#define KAON_MEDIA_PAGES "application/vnd.kaon.snapshot.pages.v1"
#define KAON_MEDIA_MAPPED "application/vnd.kaon.snapshot.mapped.v1"

/* Of the files with JSON; registries and their tools take no larger ones. */
#define KAON_OCI_TEXT_MAX (UINT64_C(4) << 20)

/* What no sandbox can have: of a guest's ELF, of a map, and of all blobs of a
 * snapshot together. */
#define KAON_OCI_GUEST_MAX (UINT64_C(1) << 30)
#define KAON_OCI_MAP_MAX (UINT64_C(128) << 20)
#define KAON_OCI_SIZE_MAX (UINT64_C(64) << 30)

#define KAON_OCI_PAGE UINT64_C(4096)
#define KAON_OCI_TAG_MAX 128u   /* bytes of a snapshot's name in its layout */
#define KAON_OCI_LAYERS_MAX 16u /* that hold pages */
#define KAON_OCI_WRITE_SET_MAX 512u
#define KAON_OCI_GUEST_NAME_MAX 255u
#define KAON_OCI_MAPPINGS_MAX 64u
#define KAON_OCI_WINDOW_MAX (UINT64_C(64) << 30) /* bytes of mappings */

/* A file that is named by what is in it. */
struct kaon_blob {
    struct kaon_digest digest;
    uint64_t size;
};

struct kaon_manifest {
    struct kaon_blob config, guest;
    struct kaon_blob map, mapped; /* its size is 0 if there is none */
    struct kaon_blob layers[KAON_OCI_LAYERS_MAX];
    uint32_t layer_count;
};

/* Of a mapping: what was shown where, not what that held. */
struct kaon_config_mapping {
    char name[KAON_MAP_NAME_MAX + 1];
    uint64_t address;
    uint64_t size, offset; /* of the region, in bytes; in its file, */
    bool file;             /* if it is one, and no buffer */
    enum kaon_map_mode mode;
};

/* What a snapshot is, besides its pages. */
struct kaon_config {
    char version[32]; /* of the libkaon that saved it; only to be told */
    char guest[KAON_OCI_GUEST_NAME_MAX + 1]; /* for messages */
    struct {
        uint64_t heap, stack, exchange; /* lowest address */
        uint64_t heap_size, stack_size, exchange_size;
        uint64_t window, window_size; /* of mappings; 0: not said */
    } layout;
    uint64_t fs_base, gs_base;
    uint64_t generation;
    uint64_t write_set[KAON_OCI_WRITE_SET_MAX]; /* addresses */
    uint32_t write_count;
    uint32_t mapping_count;
    struct kaon_config_mapping mappings[KAON_OCI_MAPPINGS_MAX]; /* in order */
};

/* Adjacent guest pages and where their content lies. */
struct kaon_map_entry {
    uint64_t address; /* in the guest */
    uint64_t offset;  /* in the layer */
    uint32_t pages;
    uint32_t layer; /* of a mapping's pages: the number of layers */
};
#define KAON_MAP_ENTRY_SIZE UINT64_C(24)

/*
 * The readers. Each returns KAON_OK, or KAON_ESNAPSHOT with a sentence that
 * begins with the file's name.
 */

/* oci-layout: a version that we can read? */
enum kaon_status kaon__oci_read_layout(const char *text, size_t size,
                                       struct kaon_error *err);

/*
 * index.json: the manifest of a snapshot. Without a tag (NULL) it is the only
 * one, or else the one that is called "latest".
 */
enum kaon_status kaon__oci_find(struct kaon_blob *out, const char *text,
                                size_t size, const char *tag,
                                struct kaon_error *err);

/* The same: the tags of all manifests that have one, in their order. */
typedef void (*kaon_tag_function)(const char *tag, void *user);
enum kaon_status kaon__oci_each_tag(const char *text, size_t size,
                                    kaon_tag_function function, void *user,
                                    struct kaon_error *err);

enum kaon_status kaon__oci_read_manifest(struct kaon_manifest *out,
                                         const char *text, size_t size,
                                         struct kaon_error *err);

/* The config must be of this image: it lists the image's imports. Also
 * KAON_EABI, if it was saved for another version of kaon/abi.h. */
enum kaon_status kaon__oci_read_config(struct kaon_config *out,
                                       const char *text, size_t size,
                                       const struct kaon_image *image,
                                       struct kaon_error *err);

/* Does the map's blob have whole entries? How many are they? The entry at an
 * index; nothing in it has been judged. */
enum kaon_status kaon__oci_map_count(uint64_t *out, uint64_t size,
                                     struct kaon_error *err);
struct kaon_map_entry kaon__oci_read_entry(const unsigned char *map,
                                           uint64_t index);

/*
 * The writers. The text's `failed` says that memory ran out.
 */
extern const char kaon__oci_layout[]; /* of oci-layout */

void kaon__oci_write_manifest(struct kaon_json_text *text,
                              const struct kaon_manifest *manifest);
void kaon__oci_write_config(struct kaon_json_text *text,
                            const struct kaon_config *config,
                            const struct kaon_image *image);
void kaon__oci_write_entry(unsigned char *map, uint64_t index,
                           const struct kaon_map_entry *entry);

/*
 * index.json with one more manifest. `old` is what it was, NULL if there was
 * none: all else in it stays. A manifest of that tag is replaced, or, unless
 * `replace`, KAON_EINVAL.
 */
enum kaon_status kaon__oci_write_index(struct kaon_json_text *text,
                                       const char *old, size_t old_size,
                                       const char *tag,
                                       const struct kaon_blob *manifest,
                                       bool replace, struct kaon_error *err);

/* Is it one that registries take? [A-Za-z0-9_][A-Za-z0-9_.-]* */
bool kaon__oci_is_tag(const char *tag);

/* The same of a mapping's, which is shorter. */
bool kaon__oci_is_mapping(const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves snapshots: says what there is to write; store_write.c writes it.
 *
 * Owns nothing beyond the saving. The blobs come first and the index last, so
 * that what can be found is complete.
 */
#include "host/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/image.h"
#include "host/layer.h"
#include "host/memory_map.h"
#include "host/options.h"
#include "host/store.h"

_Static_assert(KAON_LAYERS_MAX == KAON_OCI_LAYERS_MAX &&
                   KAON_WRITE_SET_MAX == KAON_OCI_WRITE_SET_MAX &&
                   KAON_PAGE_SIZE == KAON_OCI_PAGE,
               "a snapshot in memory fits the format, and back");
_Static_assert(sizeof(((struct kaon_kept_mapping *)NULL)->name) ==
                   sizeof(((struct kaon_config_mapping *)NULL)->name),
               "a mapping's name too");

/* A snapshot that is being saved. */
struct saving {
    struct kaon_snapshot *snapshot;
    struct kaon_store_writer writer;
    struct kaon_manifest manifest;
    struct kaon_error *err;
};

/* ---- Blobs ------------------------------------------------------------- */

static enum kaon_status from_layer(void *user, uint64_t offset, void *to,
                                   size_t size, struct kaon_error *err)
{
    if (!kaon__layer_read(user, offset, to, size))
        return kaon__fail(err, KAON_EIO,
                          "the file that the snapshot was opened from shrank, "
                          "or cannot be read");
    return KAON_OK;
}

static enum kaon_status put_layers(struct saving *s)
{
    const struct kaon_snapshot *snapshot = s->snapshot;
    enum kaon_status status = KAON_OK;

    for (uint32_t i = 0; !status && i < snapshot->layer_count; i++)
        status = kaon__store_put(&s->writer, &s->manifest.layers[i], from_layer,
                                 snapshot->layers[i], snapshot->layers[i]->size,
                                 s->err);
    s->manifest.layer_count = snapshot->layer_count;
    return status;
}

static enum kaon_status put_mapped(struct saving *s)
{
    const struct kaon_snapshot *snapshot = s->snapshot;

    return kaon__store_put_bytes(
        &s->writer, &s->manifest.mapped, snapshot->kept_content,
        kaon__snapshot_map_pages(snapshot) * KAON_PAGE_SIZE, s->err);
}

/* How many adjacent pages a mapping has from the kth on that it keeps. */
static uint64_t adjacent(const struct kaon_kept_mapping *kept, uint64_t k)
{
    uint64_t end = k + 1;

    while (end < kept->page_count &&
           kept->pages[end] - kept->pages[k] == end - k)
        end++;
    return end - k;
}

/* Writes the entries of what guests wrote to mappings, unless `map` is NULL;
 * returns how many they are. */
static uint64_t map_mapped(const struct kaon_snapshot *snapshot,
                           unsigned char *map, uint64_t count)
{
    struct kaon_map_entry entry = { .layer = snapshot->layer_count };
    uint64_t first = count;

    for (uint32_t i = 0; i < snapshot->kept_count; i++) {
        const struct kaon_kept_mapping *kept = &snapshot->kept[i];

        for (uint64_t k = 0; k < kept->page_count; k += entry.pages) {
            entry.pages = (uint32_t)adjacent(kept, k);
            entry.address = kept->address + kept->pages[k] * KAON_PAGE_SIZE;
            if (map)
                kaon__oci_write_entry(map, count, &entry);
            entry.offset += entry.pages * KAON_PAGE_SIZE;
            count++;
        }
    }
    return count - first;
}

static enum kaon_status put_map(struct saving *s)
{
    const struct kaon_snapshot *snapshot = s->snapshot;
    uint64_t size = (snapshot->run_count + map_mapped(snapshot, NULL, 0)) *
                    KAON_MAP_ENTRY_SIZE;
    unsigned char *map = malloc(size);
    enum kaon_status status;

    if (!map)
        return kaon__fail(s->err, KAON_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < snapshot->run_count; i++) {
        const struct kaon_run *run = &snapshot->runs[i];

        kaon__oci_write_entry(
            map, i,
            &(struct kaon_map_entry){ .address = run->address,
                                      .offset = run->offset,
                                      .pages = (uint32_t)run->pages,
                                      .layer = run->layer });
    }
    map_mapped(snapshot, map, snapshot->run_count);
    status =
        kaon__store_put_bytes(&s->writer, &s->manifest.map, map, size, s->err);
    free(map);
    return status;
}

/* A text as a blob; frees it. */
static enum kaon_status put_text(struct saving *s, struct kaon_blob *out,
                                 struct kaon_json_text *text)
{
    enum kaon_status status;

    if (text->failed)
        status = kaon__fail(s->err, KAON_ENOMEM, "out of memory");
    else if (text->size > KAON_OCI_TEXT_MAX)
        status = kaon__fail(s->err, KAON_EINVAL,
                            "its guest has too many imports to be saved");
    else
        status = kaon__store_put_bytes(&s->writer, out, text->text, text->size,
                                       s->err);
    free(text->text);
    return status;
}

/* ---- The config -------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Their names are good, and there are not too many. */
static void say_mappings(struct kaon_config *config,
                         const struct kaon_snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->kept_count; i++) {
        const struct kaon_kept_mapping *kept = &snapshot->kept[i];
        struct kaon_config_mapping *mapping = &config->mappings[i];

        memcpy(mapping->name, kept->name, sizeof mapping->name);
        mapping->address = kept->address;
        mapping->size = kept->size;
        mapping->offset = kept->offset;
        mapping->file = kept->file;
        mapping->mode = kept->mode;
    }
    config->mapping_count = snapshot->kept_count;
}

static enum kaon_status put_config(struct saving *s)
{
    struct kaon_snapshot *snapshot = s->snapshot;
    const struct kaon_sizes *sizes = &snapshot->sizes;
    const struct kaon_places at = kaon__memory_places(snapshot->image, sizes);
    struct kaon_json_text text = { 0 };
    struct kaon_config config = {
        .version = KAON_VERSION,
        .layout = { .heap = at.heap,
                    .stack = at.stack,
                    .exchange = at.exchange,
                    .heap_size = sizes->heap,
                    .stack_size = sizes->stack,
                    .exchange_size = sizes->exchange,
                    .window = at.window,
                    .window_size = sizes->map },
        .fs_base = snapshot->pointers.fs_base,
        .gs_base = snapshot->pointers.gs_base,
        .generation = snapshot->generation,
    };

    strncpy(config.guest, snapshot->image->name, sizeof config.guest - 1);
    config.write_count = kaon__snapshot_write_set(snapshot, config.write_set);
    qsort(config.write_set, config.write_count, sizeof *config.write_set,
          by_address);
    say_mappings(&config, snapshot);
    kaon__oci_write_config(&text, &config, snapshot->image);
    return put_text(s, &s->manifest.config, &text);
}

/* ---- The whole --------------------------------------------------------- */

static enum kaon_status put_blobs(struct saving *s, struct kaon_blob *out)
{
    const struct kaon_image *image = s->snapshot->image;
    struct kaon_json_text text = { 0 };
    enum kaon_status status = kaon__store_put_bytes(
        &s->writer, &s->manifest.guest, image->file, image->file_size, s->err);

    if (!status)
        status = put_layers(s);
    if (!status && s->snapshot->kept_content)
        status = put_mapped(s);
    if (!status && (s->snapshot->run_count || s->manifest.mapped.size))
        status = put_map(s);
    if (!status)
        status = put_config(s);
    if (status)
        return status;
    kaon__oci_write_manifest(&text, &s->manifest);
    return put_text(s, out, &text);
}

static enum kaon_status commit(struct saving *s, const char *old, size_t size,
                               const struct kaon_save_opts *opts,
                               const struct kaon_blob *manifest)
{
    struct kaon_json_text index = { 0 };
    enum kaon_status status = kaon__oci_write_index(
        &index, old, size, opts->name, manifest, opts->replace, s->err);

    if (!status && index.failed)
        status = kaon__fail(s->err, KAON_ENOMEM, "out of memory");
    if (!status)
        status = kaon__store_commit(&s->writer, index.text, index.size, s->err);
    free(index.text);
    return status;
}

static enum kaon_status save(struct saving *s,
                             const struct kaon_save_opts *opts)
{
    const struct kaon_blob nothing = { .size = 0 };
    struct kaon_blob manifest;
    char *old = NULL;
    size_t size = 0;
    enum kaon_status status = KAON_OK;

    if (kaon__store_was_there(&s->writer))
        status = kaon__store_read(&s->writer.store, KAON_STORE_INDEX, &old,
                                  &size, s->err);
    if (!status && old) {
        /* Is the name free? Before all the writing, not after. */
        struct kaon_json_text index = { 0 };

        status = kaon__oci_write_index(&index, old, size, opts->name, &nothing,
                                       opts->replace, s->err);
        free(index.text);
    }
    if (!status)
        status = put_blobs(s, &manifest);
    if (!status)
        status = commit(s, old, size, opts, &manifest);
    free(old);
    return status;
}

static enum kaon_status save_in(const char *directory,
                                struct kaon_snapshot *snapshot,
                                const struct kaon_save_opts *opts,
                                struct kaon_error *err)
{
    struct saving s = { .snapshot = snapshot, .err = err };
    enum kaon_status status = kaon__store_begin(&s.writer, directory, err);

    if (status)
        return status;
    status = save(&s, opts);
    kaon__store_end(&s.writer, !status);
    return status;
}

/* A region is a file or buffer that this process has: another knows no more of
 * it than its name. */
static enum kaon_status check_mappings(const struct kaon_snapshot *snapshot,
                                       struct kaon_error *err)
{
    if (snapshot->kept_count > KAON_OCI_MAPPINGS_MAX)
        return kaon__fail(err, KAON_EINVAL,
                          "the snapshot has %u mappings: with more than %u it "
                          "cannot be saved",
                          snapshot->kept_count, KAON_OCI_MAPPINGS_MAX);
    for (uint32_t i = 0; i < snapshot->kept_count; i++)
        if (!snapshot->kept[i].name[0])
            return kaon__fail(err, KAON_EINVAL,
                              "the snapshot's mapping at %#llx has no name to "
                              "be saved by: map it with KAON_MAP_OPTS(.name = "
                              "...), or unmap it before the snapshot is taken",
                              (unsigned long long)snapshot->kept[i].address);
    return kaon__snapshot_check_regions(snapshot, err);
}

enum kaon_status kaon_snapshot_save(struct kaon_snapshot *snapshot,
                                    const char *directory,
                                    const struct kaon_save_opts *given,
                                    struct kaon_error *err)
{
    struct kaon_error why = { 0 };
    struct kaon_save_opts opts;
    enum kaon_status status;

    if (!snapshot || !directory || !*directory)
        return kaon__fail(err, KAON_EINVAL,
                          "snapshot and directory must not be NULL or empty");
    status =
        kaon__options_adopt(&opts, sizeof opts, given, "kaon_save_opts", err);
    if (status)
        return status;
    opts.name = opts.name ? opts.name : "latest";
    if (!kaon__oci_is_tag(opts.name))
        return kaon__fail(err, KAON_EINVAL,
                          "\"%.128s\" is no name for a snapshot: it may have "
                          "letters, digits, _ and, not first, . and -",
                          opts.name);
    status = check_mappings(snapshot, err);
    if (status)
        return status;
    status = save_in(directory, snapshot, &opts, &why);
    return status ? kaon__store_blame(err, &why, "cannot save a snapshot to",
                                      directory)
                  : KAON_OK;
}

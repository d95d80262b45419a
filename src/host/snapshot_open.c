/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens snapshots that were saved.
 *
 * Owns nothing beyond the opening. Nothing in a layout is trusted. What is
 * checked here is what memory.h and the backends rely on: that a run lies in
 * its layer, and where a guest may own pages, so never over its text, over the
 * gate, or over what is for CPL 0 alone. What the pages hold is the guest's
 * word, as it always is. Mappings are snapshot_mapping.c.
 */
#include "host/snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/error.h"
#include "host/image.h"
#include "host/layer.h"
#include "host/memory_page.h"
#include "host/options.h"
#include "host/sandbox.h"
#include "host/snapshot_mapping.h"
#include "host/store.h"

/* A snapshot that is being opened. */
struct opening {
    const struct kaon_open_opts *opts;
    struct kaon_store store;
    struct kaon_manifest manifest;
    struct kaon_image *image; /* a reference */
    struct kaon_config config;
    struct kaon_snapshot *made;
    uint64_t window; /* where mappings begin */
    uint64_t entry;  /* entries that the map had so far */
    uint64_t reach;  /* the address behind the last */
    struct kaon_error *err;
};

static enum kaon_status refuse(struct opening *o, const char *why)
{
    return kaon__fail(o->err, KAON_ESNAPSHOT, "%s", why);
}

/* ---- Texts ------------------------------------------------------------- */

static enum kaon_status read_layout(struct opening *o)
{
    char *text;
    size_t size;
    enum kaon_status status =
        kaon__store_read(&o->store, KAON_STORE_LAYOUT, &text, &size, o->err);

    if (status)
        return status;
    status = kaon__oci_read_layout(text, size, o->err);
    free(text);
    return status;
}

static enum kaon_status read_index(struct opening *o, char **text, size_t *size)
{
    enum kaon_status status = read_layout(o);

    if (status)
        return status;
    return kaon__store_read(&o->store, KAON_STORE_INDEX, text, size, o->err);
}

static enum kaon_status find_manifest(struct opening *o, struct kaon_blob *out)
{
    char *text;
    size_t size;
    enum kaon_status status = read_index(o, &text, &size);

    if (status)
        return status;
    status = kaon__oci_find(out, text, size, o->opts->name, o->err);
    free(text);
    return status;
}

/* Manifest and config are always checked against their digests: they are
 * short, and without them nothing else means anything. */
static enum kaon_status read_text(struct opening *o,
                                  const struct kaon_blob *blob, char **text)
{
    if (blob->size > KAON_OCI_TEXT_MAX)
        return refuse(o, "a manifest or config of more than 4 MiB is no "
                         "snapshot's");
    return kaon__store_read_blob(&o->store, blob, true, text, o->err);
}

static enum kaon_status check_size(struct opening *o)
{
    uint64_t size =
        o->manifest.guest.size + o->manifest.map.size + o->manifest.mapped.size;

    for (uint32_t i = 0; i < o->manifest.layer_count; i++)
        size += o->manifest.layers[i].size;
    if (o->opts->size_max && size > o->opts->size_max)
        return kaon__fail(o->err, KAON_ESNAPSHOT,
                          "it has %" PRIu64 " bytes: you allow %" PRIu64
                          " (size_max)",
                          size, o->opts->size_max);
    return KAON_OK;
}

static enum kaon_status read_manifest(struct opening *o)
{
    struct kaon_blob blob;
    char *text;
    enum kaon_status status = find_manifest(o, &blob);

    if (!status)
        status = read_text(o, &blob, &text);
    if (status)
        return status;
    status = kaon__oci_read_manifest(&o->manifest, text, blob.size, o->err);
    free(text);
    return status ? status : check_size(o);
}

/* ---- The image --------------------------------------------------------- */

static enum kaon_status adopt_image(struct opening *o)
{
    struct kaon_image *image = o->opts->image;
    struct kaon_digest digest;
    enum kaon_status status = kaon__image_digest(image, &digest, o->err);

    if (status)
        return status;
    if (!kaon__digest_equal(&digest, &o->manifest.guest.digest))
        return kaon__fail(o->err, KAON_EINVAL,
                          "it is of another ELF file than the image %.64s",
                          image->name);
    o->image = kaon__image_hold(image);
    return KAON_OK;
}

static enum kaon_status read_image(struct opening *o)
{
    char *bytes;
    enum kaon_status status = kaon__store_read_blob(
        &o->store, &o->manifest.guest, !o->opts->skip_digests, &bytes, o->err);

    if (status)
        return status;
    status = kaon__image_adopt(&o->image, bytes, o->manifest.guest.size,
                               "its guest", true, o->err);
    if (status)
        free(bytes);
    return status;
}

/* What messages call the image is known only now, and nobody has it yet. */
static enum kaon_status name_image(struct opening *o)
{
    char *name = strdup(o->config.guest);

    if (!name)
        return kaon__fail(o->err, KAON_ENOMEM, "out of memory");
    free(o->image->name);
    o->image->name = name;
    return KAON_OK;
}

static enum kaon_status read_config(struct opening *o)
{
    const struct kaon_blob *blob = &o->manifest.config;
    char *text;
    enum kaon_status status = read_text(o, blob, &text);

    if (status)
        return status;
    status =
        kaon__oci_read_config(&o->config, text, blob->size, o->image, o->err);
    free(text);
    if (!status && !o->opts->image)
        status = name_image(o);
    return status;
}

/* ---- What the config says ---------------------------------------------- */

static enum kaon_status take_layout(struct opening *o)
{
    const struct kaon_config *config = &o->config;
    struct kaon_sizes *sizes = &o->made->sizes;
    struct kaon_places at;

    *sizes = (struct kaon_sizes){
        .heap = config->layout.heap_size,
        .stack = config->layout.stack_size,
        .exchange = config->layout.exchange_size,
        .map = config->layout.window_size,
    };
    if (!kaon__sandbox_can_have(sizes))
        return refuse(o, "no sandbox can have its sizes of heap, stack, "
                         "exchange and window");
    at = kaon__memory_places(o->image, sizes);
    o->window = at.window;
    if (config->layout.heap != at.heap || config->layout.stack != at.stack ||
        config->layout.exchange != at.exchange ||
        (sizes->map && config->layout.window != at.window))
        return kaon__fail(o->err, KAON_ESNAPSHOT,
                          "its guest's memory is laid out as by libkaon %s, "
                          "and not as by this one (%s)",
                          config->version, KAON_VERSION);
    return KAON_OK;
}

static enum kaon_status take_registers(struct opening *o)
{
    const struct kaon_config *config = &o->config;

    if (config->fs_base >= KAON_USER_END || config->gs_base >= KAON_USER_END)
        return refuse(o, "its FS or GS base is no address of a guest");
    o->made->pointers.fs_base = config->fs_base;
    o->made->pointers.gs_base = config->gs_base;
    o->made->generation = config->generation;
    return KAON_OK;
}

/* Whole pages that the guest may own? */
static bool can_own(const struct opening *o, uint64_t address, uint64_t pages)
{
    return address % KAON_PAGE_SIZE == 0 && pages > 0 &&
           kaon__memory_can_own(o->image, &o->made->sizes, address, pages);
}

static enum kaon_status take_write_set(struct opening *o)
{
    const struct kaon_config *config = &o->config;
    struct kaon_snapshot *made = o->made;

    for (uint32_t i = 0; i < config->write_count; i++) {
        uint64_t address = config->write_set[i];

        if (!can_own(o, address, 1) ||
            (i > 0 && address <= config->write_set[i - 1]))
            return refuse(o, "its write set has a page that its guest cannot "
                             "write, or is not in order");
        kaon__write_set_learn(&made->write_set, address);
    }
    return KAON_OK;
}

/* ---- Pages ------------------------------------------------------------- */

/* So small that to map it, and to read its pages one by one, takes longer than
 * to have them all. */
static bool is_small(const struct kaon_blob *blob)
{
    return blob->size <= KAON_SMALL_PAGES * KAON_PAGE_SIZE &&
           blob->size % KAON_PAGE_SIZE == 0;
}

static enum kaon_status read_layer(struct opening *o,
                                   const struct kaon_blob *blob,
                                   struct kaon_layer **out)
{
    struct kaon_layer *layer;
    enum kaon_status status = kaon__layer_allocate(&layer, blob->size, o->err);

    if (status)
        return status;
    status = kaon__store_fill(&o->store, blob, !o->opts->skip_digests,
                              layer->memory, o->err);
    if (status)
        kaon__layer_destroy(layer);
    else
        *out = layer;
    return status;
}

static enum kaon_status map_layer(struct opening *o,
                                  const struct kaon_blob *blob,
                                  struct kaon_layer **out)
{
    enum kaon_status status;
    int fd;

    status = kaon__store_open_blob(&o->store, blob, &fd, o->err);
    if (status)
        return status;
    if (!o->opts->skip_digests)
        status = kaon__store_check(fd, blob, o->err);
    if (!status)
        status = kaon__layer_open(out, fd, blob->size, o->err);
    if (status)
        close(fd);
    return status;
}

static enum kaon_status take_layer(struct opening *o,
                                   const struct kaon_blob *blob)
{
    struct kaon_snapshot *made = o->made;
    struct kaon_layer **layer = &made->layers[made->layer_count];
    enum kaon_status status =
        is_small(blob) ? read_layer(o, blob, layer) : map_layer(o, blob, layer);

    if (status)
        return status;
    made->files |= (*layer)->file;
    made->layer_count++;
    return KAON_OK;
}

static bool is_good(const struct opening *o, const struct kaon_map_entry *entry)
{
    uint64_t size;

    if (entry->layer >= o->made->layer_count)
        return false;
    size = o->made->layers[entry->layer]->size;
    return entry->offset % KAON_PAGE_SIZE == 0 && entry->offset < size &&
           entry->pages <= (size - entry->offset) / KAON_PAGE_SIZE &&
           can_own(o, entry->address, entry->pages);
}

static void take_run(struct opening *o, const struct kaon_map_entry *entry)
{
    struct kaon_snapshot *made = o->made;

    made->runs[made->run_count++] = (struct kaon_run){
        .address = entry->address,
        .pages = entry->pages,
        .offset = entry->offset,
        .layer = entry->layer,
    };
    made->own_pages += entry->pages;
}

/* By address, and disjoint: searches rely on it. */
static enum kaon_status take_entry(struct opening *o,
                                   const struct kaon_map_entry *entry)
{
    bool mapped = entry->address >= o->window;

    if (entry->address < o->reach ||
        !(mapped ? kaon__snapshot_can_adopt_written(o->made, entry,
                                                    o->manifest.mapped.size)
                 : is_good(o, entry)))
        return kaon__fail(o->err, KAON_ESNAPSHOT,
                          "the map is damaged: entry %" PRIu64
                          " is not in order, or of pages that are not there "
                          "or not the guest's",
                          o->entry);
    o->reach = entry->address + entry->pages * KAON_PAGE_SIZE;
    o->entry++;
    if (!mapped)
        take_run(o, entry);
    else if (!kaon__snapshot_adopt_written(o->made, entry))
        return kaon__fail(o->err, KAON_ENOMEM, "out of memory for a snapshot");
    return KAON_OK;
}

static enum kaon_status take_entries(struct opening *o,
                                     const unsigned char *map, uint64_t count)
{
    enum kaon_status status = KAON_OK;

    o->made->runs = malloc(count * sizeof *o->made->runs);
    if (!o->made->runs)
        return kaon__fail(o->err, KAON_ENOMEM, "out of memory for a snapshot");
    for (uint64_t i = 0; !status && i < count; i++) {
        const struct kaon_map_entry entry = kaon__oci_read_entry(map, i);

        status = take_entry(o, &entry);
    }
    return status;
}

static enum kaon_status take_map(struct opening *o)
{
    const struct kaon_blob *blob = &o->manifest.map;
    enum kaon_status status;
    uint64_t count;
    char *map;

    status = kaon__oci_map_count(&count, blob->size, o->err);
    if (!status)
        status = kaon__store_read_blob(&o->store, blob, !o->opts->skip_digests,
                                       &map, o->err);
    if (status)
        return status;
    status = take_entries(o, (const unsigned char *)map, count);
    free(map);
    return status;
}

static enum kaon_status take_pages(struct opening *o)
{
    enum kaon_status status = KAON_OK;

    for (uint32_t i = 0; !status && i < o->manifest.layer_count; i++)
        status = take_layer(o, &o->manifest.layers[i]);
    if (!status && o->manifest.map.size)
        status = take_map(o);
    if (!status)
        status = kaon__snapshot_adopt_content(o->made, &o->store,
                                              &o->manifest.mapped,
                                              !o->opts->skip_digests, o->err);
    return status;
}

/* ---- The whole --------------------------------------------------------- */

static enum kaon_status fill(struct opening *o)
{
    enum kaon_status status;

    o->made = kaon__snapshot_new(o->image);
    if (!o->made)
        return kaon__fail(o->err, KAON_ENOMEM, "out of memory for a snapshot");
    status = take_layout(o);
    if (!status)
        status = take_registers(o);
    if (!status)
        status = take_write_set(o);
    if (!status)
        status = kaon__snapshot_adopt_mappings(o->made, &o->config, o->window,
                                               o->err);
    if (!status)
        status = kaon__snapshot_adopt_regions(o->made, o->opts->regions,
                                              o->opts->region_count, o->err);
    if (!status)
        status = take_pages(o);
    return status;
}

static enum kaon_status open_in(struct opening *o)
{
    enum kaon_status status = read_manifest(o);

    if (!status)
        status = o->opts->image ? adopt_image(o) : read_image(o);
    if (!status)
        status = read_config(o);
    if (!status)
        status = fill(o);
    kaon_image_destroy(o->image);
    if (status)
        kaon_snapshot_destroy(o->made);
    return status;
}

enum kaon_status kaon_snapshot_open(struct kaon_snapshot **out,
                                    const char *directory,
                                    const struct kaon_open_opts *given,
                                    struct kaon_error *err)
{
    struct kaon_error why = { 0 };
    struct kaon_open_opts opts;
    struct opening o = { .opts = &opts, .err = &why };
    enum kaon_status status;

    if (!out || !directory)
        return kaon__fail(err, KAON_EINVAL, "%s is NULL",
                          out ? "directory" : "out");
    status =
        kaon__options_adopt(&opts, sizeof opts, given, "kaon_open_opts", err);
    if (status)
        return status;
    if (opts.region_count && !opts.regions)
        return kaon__fail(err, KAON_EINVAL,
                          "region_count is %zu, and regions are NULL",
                          opts.region_count);
    status = kaon__store_open(&o.store, directory, &why);
    if (!status) {
        status = open_in(&o);
        kaon__store_close(&o.store);
    }
    if (status)
        return kaon__store_blame(err, &why, "cannot open the snapshot in",
                                 directory);
    *out = o.made;
    return KAON_OK;
}

/* ---- What there is ----------------------------------------------------- */

static enum kaon_status list(struct opening *o, kaon_tag_function function,
                             void *user)
{
    char *text;
    size_t size;
    enum kaon_status status = read_index(o, &text, &size);

    if (status)
        return status;
    status = kaon__oci_each_tag(text, size, function, user, o->err);
    free(text);
    return status;
}

enum kaon_status kaon_snapshot_names(const char *directory,
                                     void (*function)(const char *, void *),
                                     void *user, struct kaon_error *err)
{
    struct kaon_error why = { 0 };
    struct opening o = { .err = &why };
    enum kaon_status status;

    if (!directory || !function)
        return kaon__fail(err, KAON_EINVAL, "%s is NULL",
                          directory ? "function" : "directory");
    status = kaon__store_open(&o.store, directory, &why);
    if (!status) {
        status = list(&o, function, user);
        kaon__store_close(&o.store);
    }
    return status ? kaon__store_blame(err, &why, "cannot list the snapshots in",
                                      directory)
                  : KAON_OK;
}

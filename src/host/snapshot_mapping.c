/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of snapshots that are opened.
 *
 * Owns nothing: what is taken is the snapshot's. The layout is not trusted: a
 * mapping lies in its window, and what was written to it within it. Its region
 * is the caller's; what the layout says of it is only compared with that.
 */
#include "host/snapshot_mapping.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/error.h"
#include "host/memory_map.h"
#include "host/region.h"

static enum kaon_status adopt_mapping(struct kaon_snapshot *snapshot,
                                      uint64_t start,
                                      const struct kaon_config_mapping *mapping,
                                      struct kaon_error *err)
{
    struct kaon_kept_mapping *kept = &snapshot->kept[snapshot->kept_count];
    uint64_t offset = mapping->address - start; /* wraps high when below */
    uint64_t window = snapshot->sizes.map;

    *kept = (struct kaon_kept_mapping){
        .size = mapping->size,
        .offset = mapping->offset,
        .file = mapping->file,
        .address = mapping->address,
        .mode = mapping->mode,
    };
    memcpy(kept->name, mapping->name, sizeof kept->name);
    if (offset >= window || kaon__kept_mapping_room(kept) > window - offset)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "its mapping \"%s\" is not within its window",
                          kept->name);
    snapshot->kept_count++;
    return KAON_OK;
}

enum kaon_status kaon__snapshot_adopt_mappings(struct kaon_snapshot *snapshot,
                                               const struct kaon_config *config,
                                               uint64_t window,
                                               struct kaon_error *err)
{
    uint32_t count = config->mapping_count;
    enum kaon_status status = KAON_OK;

    if (count == 0)
        return KAON_OK;
    snapshot->kept = calloc(count, sizeof *snapshot->kept);
    if (!snapshot->kept)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a snapshot");
    for (uint32_t i = 0; !status && i < count; i++)
        status = adopt_mapping(snapshot, window, &config->mappings[i], err);
    return status;
}

static struct kaon_kept_mapping *
find_mapping(const struct kaon_snapshot *snapshot, const char *name)
{
    for (uint32_t i = 0; i < snapshot->kept_count; i++)
        if (strcmp(snapshot->kept[i].name, name) == 0)
            return &snapshot->kept[i];
    return NULL;
}

static const char *kind_of(bool file)
{
    return file ? "file" : "buffer";
}

static const char *word_of(enum kaon_map_mode mode)
{
    return mode == KAON_MAP_READ    ? "read"
           : mode == KAON_MAP_COPY  ? "copy"
           : mode == KAON_MAP_WRITE ? "write"
                                    : "do what is unknown";
}

static enum kaon_status adopt_region(struct kaon_snapshot *snapshot,
                                     const struct kaon_named_region *given,
                                     struct kaon_error *err)
{
    struct kaon_kept_mapping *kept;

    if (!given->name || !given->region)
        return kaon__fail(err, KAON_EINVAL, "a region or its name is NULL");
    kept = find_mapping(snapshot, given->name);
    if (!kept)
        return kaon__fail(err, KAON_EINVAL, "it has no mapping named \"%.64s\"",
                          given->name);
    if (kept->region)
        return kaon__fail(err, KAON_EINVAL, "two regions are named \"%s\"",
                          kept->name);
    if (given->region->file != kept->file)
        return kaon__fail(err, KAON_EINVAL,
                          "the region \"%s\" is a %s: what was mapped is a %s",
                          kept->name, kind_of(given->region->file),
                          kind_of(kept->file));
    if (given->region->size != kept->size)
        return kaon__fail(err, KAON_EINVAL,
                          "the region \"%s\" has %" PRIu64
                          " bytes: what was mapped has %" PRIu64,
                          kept->name, given->region->size, kept->size);
    if (given->mode != kept->mode)
        return kaon__fail(err, KAON_EINVAL,
                          "the region \"%s\" is given to %s: it was mapped to "
                          "%s (mode)",
                          kept->name, word_of(given->mode),
                          word_of(kept->mode));
    kept->region = kaon_region_hold(given->region);
    return KAON_OK;
}

enum kaon_status
kaon__snapshot_adopt_regions(struct kaon_snapshot *snapshot,
                             const struct kaon_named_region *regions,
                             size_t count, struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    for (size_t i = 0; !status && i < count; i++)
        status = adopt_region(snapshot, &regions[i], err);
    return status;
}

/* ---- What guests wrote ------------------------------------------------- */

/* The copy-on-write mapping that all of an entry's pages are in; or NULL. */
static struct kaon_kept_mapping *
mapping_of(const struct kaon_snapshot *snapshot,
           const struct kaon_map_entry *entry)
{
    for (uint32_t i = 0; i < snapshot->kept_count; i++) {
        struct kaon_kept_mapping *kept = &snapshot->kept[i];
        uint64_t offset = entry->address - kept->address; /* may wrap */
        uint64_t room = kaon__kept_mapping_room(kept);

        if (offset < room)
            return kept->mode == KAON_MAP_COPY &&
                           offset % KAON_PAGE_SIZE == 0 && entry->pages &&
                           entry->pages <= (room - offset) / KAON_PAGE_SIZE
                       ? kept
                       : NULL;
    }
    return NULL;
}

/* How many bytes they wrote, as far as the map has told. */
static uint64_t written(const struct kaon_snapshot *snapshot)
{
    return kaon__snapshot_map_pages(snapshot) * KAON_PAGE_SIZE;
}

/* Their contents lie one behind the other, in a blob of their own. So there is
 * no more of them than the blob has. */
bool kaon__snapshot_can_adopt_written(const struct kaon_snapshot *snapshot,
                                      const struct kaon_map_entry *entry,
                                      uint64_t size)
{
    uint64_t so_far = written(snapshot);

    return mapping_of(snapshot, entry) &&
           entry->layer == snapshot->layer_count && entry->offset == so_far &&
           entry->pages <= (size - so_far) / KAON_PAGE_SIZE;
}

bool kaon__snapshot_adopt_written(struct kaon_snapshot *snapshot,
                                  const struct kaon_map_entry *entry)
{
    struct kaon_kept_mapping *kept = mapping_of(snapshot, entry);
    uint64_t first = (entry->address - kept->address) / KAON_PAGE_SIZE;
    uint64_t *pages =
        realloc(kept->pages, (kept->page_count + entry->pages) * sizeof *pages);

    if (!pages)
        return false;
    kept->pages = pages;
    for (uint32_t i = 0; i < entry->pages; i++)
        pages[kept->page_count++] = first + i;
    return true;
}

static enum kaon_status read_content(struct kaon_snapshot *snapshot,
                                     const struct kaon_store *store,
                                     const struct kaon_blob *blob, bool check,
                                     struct kaon_error *err)
{
    char *content;
    enum kaon_status status =
        kaon__store_read_blob(store, blob, check, &content, err);

    if (status)
        return status;
    snapshot->kept_content = (unsigned char *)content;
    kaon__snapshot_place_content(snapshot);
    return KAON_OK;
}

static enum kaon_status look_at_content(const struct kaon_store *store,
                                        const struct kaon_blob *blob,
                                        bool check, struct kaon_error *err)
{
    int fd;
    enum kaon_status status = kaon__store_open_blob(store, blob, &fd, err);

    if (status)
        return status;
    if (check)
        status = kaon__store_check(fd, blob, err);
    close(fd);
    return status;
}

/* Without the regions nobody is given these pages: then they may be more than
 * there is memory for. */
enum kaon_status kaon__snapshot_adopt_content(struct kaon_snapshot *snapshot,
                                              const struct kaon_store *store,
                                              const struct kaon_blob *blob,
                                              bool check,
                                              struct kaon_error *err)
{
    if (written(snapshot) != blob->size)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "its map leaves out pages of its mappings");
    if (blob->size == 0)
        return KAON_OK;
    return kaon__snapshot_check_regions(snapshot, NULL) == KAON_OK
               ? read_content(snapshot, store, blob, check, err)
               : look_at_content(store, blob, check, err);
}

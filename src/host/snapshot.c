/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What snapshots are and hold. Owns references to their layers, and nothing
 * of the sandboxes that they were taken of (snapshot_take.c) or serve.
 */
#include "host/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/image.h"
#include "host/layer.h"
#include "host/memory_map.h"

/* ---- Life -------------------------------------------------------------- */

struct kaon_snapshot *kaon__snapshot_new(struct kaon_image *image)
{
    struct kaon_snapshot *snapshot = calloc(1, sizeof *snapshot);

    if (!snapshot)
        return NULL;
    atomic_init(&snapshot->references, 1);
    if (pthread_mutex_init(&snapshot->lock, NULL) != 0) {
        free(snapshot);
        return NULL;
    }
    snapshot->image = kaon__image_hold(image);
    return snapshot;
}

struct kaon_snapshot *kaon_snapshot_hold(struct kaon_snapshot *snapshot)
{
    if (snapshot)
        atomic_fetch_add(&snapshot->references, 1);
    return snapshot;
}

void kaon_snapshot_destroy(struct kaon_snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub(&snapshot->references, 1) != 1)
        return;
    for (uint32_t i = 0; i < snapshot->layer_count; i++)
        kaon__layer_destroy(snapshot->layers[i]);
    for (uint32_t i = 0; i < snapshot->kept_count; i++)
        kaon__kept_mapping_finish(&snapshot->kept[i]);
    free(snapshot->kept);
    free(snapshot->kept_content);
    pthread_mutex_destroy(&snapshot->lock);
    kaon_image_destroy(snapshot->image);
    free(snapshot->runs);
    free(snapshot);
}

/* ---- Questions --------------------------------------------------------- */

/* The first run that ends above an address: it may begin above, too. */
static uint32_t first_above(const struct kaon_snapshot *snapshot,
                            uint64_t address)
{
    uint32_t low = 0, high = snapshot->run_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct kaon_run *run = &snapshot->runs[middle];

        if (run->address + run->pages * KAON_PAGE_SIZE <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const unsigned char *kaon__snapshot_page(const struct kaon_snapshot *snapshot,
                                         uint64_t address)
{
    uint32_t index = snapshot ? first_above(snapshot, address) : 0;
    const struct kaon_run *run;

    if (!snapshot || index == snapshot->run_count)
        return NULL;
    run = &snapshot->runs[index];
    if (run->address > address)
        return NULL;
    return snapshot->layers[run->layer]->memory + run->offset +
           (address - run->address);
}

uint64_t kaon__snapshot_reach(const struct kaon_snapshot *snapshot,
                              uint64_t address)
{
    uint32_t index = snapshot ? first_above(snapshot, address) : 0;
    const struct kaon_run *run;

    if (!snapshot || index == snapshot->run_count)
        return UINT64_MAX;
    run = &snapshot->runs[index];
    if (run->address > address)
        return (run->address - address) / KAON_PAGE_SIZE;
    return run->pages - (address - run->address) / KAON_PAGE_SIZE;
}

/* The layer that content lies in, if that is a file. */
static struct kaon_layer *file_of(const struct kaon_snapshot *snapshot,
                                  const unsigned char *content)
{
    if (!snapshot || !snapshot->files)
        return NULL;
    for (uint32_t i = 0; i < snapshot->layer_count; i++) {
        struct kaon_layer *layer = snapshot->layers[i];

        if (layer->file &&
            (uintptr_t)content - (uintptr_t)layer->memory < layer->size)
            return layer;
    }
    return NULL;
}

void kaon__snapshot_read(const struct kaon_snapshot *snapshot,
                         const unsigned char *content, void *to, size_t size)
{
    struct kaon_layer *file = file_of(snapshot, content);

    if (file)
        kaon__layer_read(file, (uint64_t)(content - file->memory), to, size);
    else
        memcpy(to, content, size);
}

bool kaon__snapshot_equal(const struct kaon_snapshot *snapshot,
                          const unsigned char *content,
                          const unsigned char *page)
{
    unsigned char copy[KAON_PAGE_SIZE];

    if (file_of(snapshot, content)) {
        kaon__snapshot_read(snapshot, content, copy, sizeof copy);
        content = copy;
    }
    return memcmp(page, content, KAON_PAGE_SIZE) == 0;
}

uint64_t kaon__snapshot_pages(const struct kaon_snapshot *snapshot)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < snapshot->run_count; i++)
        pages += snapshot->runs[i].pages;
    return pages;
}

uint64_t kaon__snapshot_map_pages(const struct kaon_snapshot *snapshot)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < snapshot->kept_count; i++)
        pages += snapshot->kept[i].page_count;
    return pages;
}

void kaon__snapshot_place_content(struct kaon_snapshot *snapshot)
{
    const unsigned char *at = snapshot->kept_content;

    for (uint32_t i = 0; at && i < snapshot->kept_count; i++) {
        snapshot->kept[i].content = at;
        at += snapshot->kept[i].page_count * KAON_PAGE_SIZE;
    }
}

enum kaon_status
kaon__snapshot_check_regions(const struct kaon_snapshot *snapshot,
                             struct kaon_error *err)
{
    for (uint32_t i = 0; i < snapshot->kept_count; i++)
        if (!snapshot->kept[i].region)
            return kaon__fail(err, KAON_EINVAL,
                              "the snapshot has a mapping \"%s\", and was "
                              "opened without its region: open it with that "
                              "among the regions of kaon_open_opts",
                              snapshot->kept[i].name);
    return KAON_OK;
}

bool kaon__snapshot_is_small(const struct kaon_snapshot *snapshot)
{
    return snapshot->run_count <= KAON_SMALL_PAGES &&
           kaon__snapshot_pages(snapshot) <= KAON_SMALL_PAGES;
}

void kaon__snapshot_learn(struct kaon_snapshot *snapshot, uint64_t address)
{
    pthread_mutex_lock(&snapshot->lock);
    kaon__write_set_learn(&snapshot->write_set, address);
    pthread_mutex_unlock(&snapshot->lock);
}

uint32_t kaon__snapshot_write_set(struct kaon_snapshot *snapshot, uint64_t *out)
{
    uint32_t count;

    pthread_mutex_lock(&snapshot->lock);
    count = kaon__write_set_list(&snapshot->write_set, out);
    pthread_mutex_unlock(&snapshot->lock);
    return count;
}

uint32_t kaon__snapshot_give_write_set(struct kaon_snapshot *snapshot,
                                       uint64_t *out)
{
    uint32_t count;

    pthread_mutex_lock(&snapshot->lock);
    count = kaon__write_set_give(&snapshot->write_set, out);
    pthread_mutex_unlock(&snapshot->lock);
    return count;
}

struct kaon_image *kaon_snapshot_image(const struct kaon_snapshot *snapshot)
{
    return snapshot ? snapshot->image : NULL;
}

int kaon_snapshot_mapping(const struct kaon_snapshot *snapshot, size_t index,
                          struct kaon_snapshot_mapping *out)
{
    const struct kaon_kept_mapping *kept;

    if (!snapshot || !out || index >= snapshot->kept_count)
        return 0;
    kept = &snapshot->kept[index];
    *out = (struct kaon_snapshot_mapping){
        .name = kept->name,
        .address = kept->address,
        .mode = kept->mode,
        .is_file = kept->file,
        .size = kept->size,
        .offset = kept->offset,
        .pages = kept->page_count,
        .region = kept->region,
    };
    return 1;
}

enum kaon_status kaon_snapshot_stats(struct kaon_snapshot *snapshot,
                                     struct kaon_snapshot_stats *out)
{
    uint64_t write_set[KAON_WRITE_SET_MAX];

    if (!snapshot || !out)
        return KAON_EINVAL;
    *out = (struct kaon_snapshot_stats){
        .pages =
            kaon__snapshot_pages(snapshot) + kaon__snapshot_map_pages(snapshot),
        .own_pages = snapshot->own_pages + kaon__snapshot_map_pages(snapshot),
        .layers = snapshot->layer_count,
        .write_set = kaon__snapshot_write_set(snapshot, write_set),
        .heap_bytes = snapshot->sizes.heap,
        .stack_bytes = snapshot->sizes.stack,
        .exchange_bytes = snapshot->sizes.exchange - KAON_PAGE_SIZE,
    };
    return KAON_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions about an image. Reads only; an image does not change, so none of
 * this takes a lock.
 */
#include "backend/backend.h"
#include "host/image.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/nearest.h"

static int signature_at(const struct kaon_signature *functions, uint32_t count,
                        size_t index, struct kaon_signature *out)
{
    if (!out || index >= count)
        return 0;
    *out = functions[index];
    return 1;
}

int kaon_image_export(const struct kaon_image *image, size_t index,
                      struct kaon_signature *out)
{
    return image ? signature_at(image->exports, image->export_count, index, out)
                 : 0;
}

int kaon_image_import(const struct kaon_image *image, size_t index,
                      struct kaon_signature *out)
{
    return image ? signature_at(image->imports, image->import_count, index, out)
                 : 0;
}

int kaon_image_segment(const struct kaon_image *image, size_t index,
                       struct kaon_segment *out)
{
    if (!image || !out || index >= image->segment_count)
        return 0;
    *out = image->segments[index];
    return 1;
}

int kaon_image_dynamic(const struct kaon_image *image)
{
    return image ? image->dynamic : 0;
}

uint64_t kaon_image_entry(const struct kaon_image *image)
{
    return image ? image->entry : 0;
}

const char *kaon_image_name(const struct kaon_image *image)
{
    return image ? image->name : "guest";
}

static int compare_name(const void *key, const void *element)
{
    const struct kaon_signature *const *function = element;

    return strcmp(key, (*function)->name);
}

int kaon__image_find_export(const struct kaon_image *image, const char *name)
{
    const struct kaon_signature **found =
        bsearch(name, image->exports_by_name, image->export_count,
                sizeof *image->exports_by_name, compare_name);

    return found ? (int)(*found - image->exports) : -1;
}

const char *kaon__image_nearest_export(const struct kaon_image *image,
                                       const char *name)
{
    struct kaon_nearest nearest = kaon__nearest_to(name);

    for (uint32_t i = 0; i < image->export_count; i++)
        kaon__nearest_offer(&nearest, image->exports[i].name);
    return nearest.best;
}

const struct kaon_image_region *
kaon__image_region(const struct kaon_image *image, uint64_t address)
{
    for (uint32_t i = 0; i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];

        if (address - region->address < region->pages * KAON_PAGE_SIZE)
            return region;
    }
    return NULL;
}

uint64_t kaon__image_end(const struct kaon_image *image)
{
    const struct kaon_image_region *last =
        &image->regions[image->region_count - 1];

    return last->address + last->pages * KAON_PAGE_SIZE;
}

const unsigned char *kaon__image_initial(const struct kaon_image *image,
                                         uint64_t address)
{
    const struct kaon_image_region *region = kaon__image_region(image, address);

    if (!region || !region->writable)
        return NULL;
    return image->memory + region->offset + (address - region->address);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the parser of guest ELFs: any bytes are refused, or become an image
 * of which every question can be asked.
 */
#include <stdlib.h>
#include <string.h>

#include "host/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* Every name can be read, and every export found by it. */
static void ask_functions(const struct kaon_image *image)
{
    struct kaon_signature function;

    for (size_t i = 0; kaon_image_export(image, i, &function); i++) {
        check(strlen(function.name) <= KAON_NAME_MAX);
        check(function.count <= KAON_PARAMS_MAX);
        check(kaon__image_find_export(image, function.name) == (int)i);
        check(kaon__image_nearest_export(image, function.name) != NULL);
    }
    for (size_t i = 0; kaon_image_import(image, i, &function); i++)
        check(strlen(function.name) <= KAON_NAME_MAX);
    kaon__image_nearest_export(image, "neighbour");
}

/* The regions cover the memory, in order, and are worth what they say. */
static void ask_memory(const struct kaon_image *image)
{
    uint64_t offset = 0, address = KAON_IMAGE_LOW;
    volatile unsigned char touched;

    for (uint32_t i = 0; i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];
        uint64_t size = region->pages * 4096;

        check(region->offset == offset && region->address >= address);
        check(!(region->writable && region->executable));
        touched = image->memory[offset];
        touched = image->memory[offset + size - 1];
        offset += size;
        address = region->address + size;
    }
    (void)touched;
    check(offset == image->memory_size && address <= KAON_IMAGE_HIGH);
}

static void ask_symbols(const struct kaon_image *image)
{
    struct kaon_segment segment;
    uint64_t offset;

    for (size_t i = 0; kaon_image_segment(image, i, &segment); i++) {
        uint64_t middle = segment.address + segment.size / 2;
        const char *name = kaon_image_symbol(image, middle, &offset);

        check(!name || (strlen(name) > 0 && offset <= middle));
        kaon_image_symbol(image, segment.address, NULL);
        kaon_image_symbol(image, segment.address + segment.size, NULL);
    }
    check(kaon_image_symbol(image, 0, NULL) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kaon_image *image = NULL;
    struct kaon_error err = { 0 };

    if (kaon_image_parse(&image, data, size, &err)) {
        check(!image && strlen(err.text) > 0);
        return 0;
    }
    ask_functions(image);
    ask_memory(image);
    ask_symbols(image);
    check(kaon_image_entry(image) >= KAON_IMAGE_LOW);
    kaon_image_dynamic(image);
    kaon_image_destroy(image);
    return 0;
}

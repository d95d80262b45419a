/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills an image from an ELF that has been judged.
 *
 * What it allocates belongs to the image, also on failure. Its memory is
 * image_memory.c.
 */
#include "host/elf.h"

#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/signature.h"

static enum kaon_status out_of_memory(const struct kaon_elf *elf)
{
    return kaon__fail(elf->err, KAON_ENOMEM,
                      "out of memory for an image of %.64s", elf->name);
}

/* An array that may be empty; zeroed. */
static void *make_array(size_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

static enum kaon_status load_layout(struct kaon_image *image,
                                    const struct kaon_elf *elf)
{
    size_t size = elf->region_count * sizeof *image->regions;

    image->regions = malloc(size);
    image->segments = make_array(elf->segment_count, sizeof *image->segments);
    if (!image->regions || !image->segments)
        return out_of_memory(elf);
    memcpy(image->regions, elf->regions, size);
    image->region_count = elf->region_count;
    for (uint32_t i = 0; i < elf->segment_count; i++)
        image->segments[i] = (struct kaon_segment){
            .address = elf->segments[i].address,
            .size = elf->segments[i].size,
            .readable = 1,
            .writable = elf->segments[i].writable,
            .executable = elf->segments[i].executable,
        };
    image->segment_count = elf->segment_count;
    return KAON_OK;
}

static enum kaon_status read_functions(const struct kaon_elf *elf,
                                       const struct kaon_elf_table *table,
                                       struct kaon_signature **out)
{
    struct kaon_signature *functions =
        make_array(table->count, sizeof *functions);

    *out = functions;
    if (!functions)
        return out_of_memory(elf);
    for (uint32_t i = 0; i < table->count; i++) {
        enum kaon_status status =
            kaon__elf_function(elf, table, i, &functions[i]);

        if (status)
            return status;
    }
    return KAON_OK;
}

static size_t names_size(const struct kaon_signature *functions, uint32_t count)
{
    size_t size = 0;

    for (uint32_t i = 0; i < count; i++)
        size += strlen(functions[i].name) + 1;
    return size;
}

/* Moves the names from the file to `to`. Returns the first byte behind. */
static char *move_names(struct kaon_signature *functions, uint32_t count,
                        char *to)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strlen(functions[i].name) + 1;

        functions[i].name = memcpy(to, functions[i].name, size);
        to += size;
    }
    return to;
}

static int by_name(const void *left, const void *right)
{
    const struct kaon_signature *const *a = left, *const *b = right;

    return strcmp((*a)->name, (*b)->name);
}

/* Pointers to the functions, in the order of their names; or NULL. */
static const struct kaon_signature **
sort_functions(const struct kaon_signature *functions, uint32_t count)
{
    const struct kaon_signature **sorted = make_array(count, sizeof *sorted);

    if (!sorted)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &functions[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    return sorted;
}

/*
 * A call by name must mean one export. An import may be declared by each of
 * a guest's files that uses it, if they agree on its types.
 */
static enum kaon_status check_names(const struct kaon_elf *elf,
                                    const struct kaon_elf_table *table,
                                    const struct kaon_signature **sorted)
{
    bool exported = table == &elf->exports;

    for (uint32_t i = 1; i < table->count; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) != 0)
            continue;
        if (exported)
            return kaon__elf_refuse(elf, "exports two functions named %s",
                                    sorted[i]->name);
        if (!kaon__signature_equal(sorted[i - 1], sorted[i]))
            return kaon__elf_refuse(
                elf, "imports %s twice, with different types", sorted[i]->name);
    }
    return KAON_OK;
}

static enum kaon_status load_functions(struct kaon_image *image,
                                       const struct kaon_elf *elf)
{
    const struct kaon_signature **imports;
    enum kaon_status status;

    status = read_functions(elf, &elf->exports, &image->exports);
    if (!status)
        status = read_functions(elf, &elf->imports, &image->imports);
    if (status)
        return status;
    image->export_count = elf->exports.count;
    image->import_count = elf->imports.count;
    image->names =
        make_array(names_size(image->exports, image->export_count) +
                       names_size(image->imports, image->import_count),
                   1);
    if (!image->names)
        return out_of_memory(elf);
    move_names(image->imports, image->import_count,
               move_names(image->exports, image->export_count, image->names));

    image->exports_by_name =
        sort_functions(image->exports, image->export_count);
    if (!image->exports_by_name)
        return out_of_memory(elf);
    status = check_names(elf, &elf->exports, image->exports_by_name);
    if (status)
        return status;
    imports = sort_functions(image->imports, image->import_count);
    if (!imports)
        return out_of_memory(elf);
    status = check_names(elf, &elf->imports, imports);
    free(imports);
    return status;
}

enum kaon_status kaon__image_load(struct kaon_image *image,
                                  const struct kaon_elf *elf)
{
    enum kaon_status status;

    image->name = strdup(elf->name);
    if (!image->name)
        return out_of_memory(elf);
    image->entry = elf->entry;
    image->dynamic = elf->dynamic;
    image->batch = elf->batch;
    status = load_layout(image, elf);
    if (!status)
        status = load_functions(image, elf);
    if (!status)
        status = kaon__image_load_memory(image, elf);
    return status;
}

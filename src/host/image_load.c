/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills an image from an ELF that has been judged.
 *
 * What it allocates belongs to the image, also on failure. The memory is one
 * mapping that holds the pages of all regions in order: written here once,
 * and read-only ever after.
 */
#include "host/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/error.h"
#include "host/memory_file.h"
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

/* Written to the file rather than to a mapping of it, which would fault for
 * each page. */
static bool write_all(int fd, const unsigned char *bytes, uint64_t size,
                      uint64_t offset)
{
    while (size) {
        ssize_t done = pwrite(fd, bytes, size, (off_t)offset);

        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            bytes += done;
            size -= (uint64_t)done;
            offset += (uint64_t)done;
        }
    }
    return true;
}

/* Where in the image's memory a segment begins. `region` is the one of the
 * segment before, or the first. */
static uint64_t place_of(const struct kaon_elf_segment *segment,
                         const struct kaon_image_region **region)
{
    while (segment->address - (*region)->address >=
           (*region)->pages * KAON_ELF_PAGE)
        ++*region;
    return (*region)->offset + (segment->address - (*region)->address);
}

static bool write_segments(int fd, const struct kaon_elf *elf)
{
    const struct kaon_image_region *region = elf->regions;

    for (uint32_t i = 0; i < elf->segment_count; i++) {
        const struct kaon_elf_segment *segment = &elf->segments[i];

        if (!write_all(fd, elf->bytes + segment->offset, segment->file_size,
                       place_of(segment, &region)))
            return false;
    }
    return true;
}

/*
 * Touches each page that the file has bytes for, so that no guest's first
 * access has to wait for the host to find it. One fault maps those around it.
 */
static void touch(const struct kaon_image *image, const struct kaon_elf *elf)
{
    const volatile unsigned char *memory = image->memory;
    const struct kaon_image_region *region = elf->regions;

    for (uint32_t i = 0; i < elf->segment_count; i++) {
        uint64_t at = place_of(&elf->segments[i], &region);
        uint64_t end = at + elf->segments[i].file_size;

        for (at &= -KAON_ELF_PAGE; at < end; at += KAON_ELF_PAGE)
            (void)memory[at];
    }
}

static enum kaon_status fail_map(const struct kaon_elf *elf)
{
    return kaon__fail_errno(elf->err, KAON_ENOMEM,
                            "cannot map %" PRIu64
                            " KiB for the image of %.64s: %s%s",
                            elf->memory_size >> 10, elf->name, strerror(errno),
                            errno == EFBIG ? "; raise `ulimit -f`" : "");
}

static enum kaon_status load_memory(struct kaon_image *image,
                                    const struct kaon_elf *elf)
{
    /* A file, so that other processes can map it too; it holds no page for
     * zeroes that nobody reads. */
    int fd = memfd_create("kaon-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *memory;

    image->memory_fd = fd;
    if (fd < 0 || !kaon__memory_file_may_have(elf->memory_size) ||
        ftruncate(fd, (off_t)elf->memory_size) != 0 || !write_segments(fd, elf))
        return fail_map(elf);
    memory = mmap(NULL, elf->memory_size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return fail_map(elf);
    image->memory = memory;
    image->memory_size = elf->memory_size;
    touch(image, elf);
    /* Nobody is given the descriptor; should somebody get it, it is of no use.
     * Older kernels lack one of the seals: then it is only ours to guard. */
    fcntl(fd, F_ADD_SEALS,
          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
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
        status = load_memory(image, elf);
    return status;
}

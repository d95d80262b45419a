/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image inside the library: the parsed ELF and its loaded memory.
 *
 * elf.c and elf_tables.c judge the file (pure, no system calls), image.c makes
 * images, image_memory.c owns their memory, image_query.c answers questions
 * about them, and image_symbols.c those about symbols.
 */
#ifndef KAON_SRC_HOST_IMAGE_H
#define KAON_SRC_HOST_IMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <kaon/image.h>

struct kaon_digest;
struct kaon_image_symbols;

/* Whole pages of one protection, in ascending, disjoint guest addresses. */
struct kaon_image_region {
    uint64_t address; /* page-aligned */
    uint64_t pages;
    uint64_t offset; /* where its first page lies in kaon_image.memory */
    uint8_t writable, executable; /* always readable; never both */
};

/* Immutable once made, but for the count of references, and for what is made
 * of the rest when it is first asked for. */
struct kaon_image {
    atomic_uint references;
    char *name;

    /* What the guest's memory starts as: page-aligned, read-only, one page
     * for each page of each region (zero-filled pages included). */
    unsigned char *memory;
    uint64_t memory_size; /* a multiple of the page size */
    atomic_int memory_fd; /* the memfd with the same; -1: there is none yet */
    bool heap;            /* in memory of malloc()'s; else it maps the memfd */
    atomic_bool shown;    /* by a machine */

    /* The ELF itself, for who saves a snapshot. Its digest and its symbols are
     * made when they are first asked for. */
    void *file;
    uint64_t file_size;
    _Atomic(struct kaon_digest *) digest;
    _Atomic(struct kaon_image_symbols *) symbols;

    struct kaon_image_region *regions;
    uint32_t region_count;
    struct kaon_segment *segments; /* as in the ELF, for kaon_image_segment */
    uint32_t segment_count;

    struct kaon_signature *exports, *imports; /* by index; names in `names` */
    uint32_t export_count, import_count;
    const struct kaon_signature **exports_by_name; /* sorted by strcmp() */
    char *names;

    uint64_t entry;
    int dynamic;
    bool batch; /* takes BATCH frames */
};

/*
 * As kaon_image_parse(), with what messages are to call it. The bytes, of
 * malloc(), become the image's; on failure they stay the caller's. `heap`: it
 * is likely to be shown once, see image_memory.c.
 */
enum kaon_status kaon__image_adopt(struct kaon_image **out, void *bytes,
                                   size_t size, const char *name, bool heap,
                                   struct kaon_error *err);

/*
 * What a machine is to show: the file that image->memory is. -1: the image is
 * small, nobody else shows it, and the machine is to copy it if it can; it can
 * if `copied` says so.
 */
enum kaon_status kaon__image_show(struct kaon_image *image, bool copied,
                                  int *fd, struct kaon_error *err);
void kaon__image_free_memory(struct kaon_image *image);

/* The SHA-256 of the ELF that it was made of. */
enum kaon_status kaon__image_digest(struct kaon_image *image,
                                    struct kaon_digest *out,
                                    struct kaon_error *err);

/* Adds a reference; kaon_image_destroy() gives one back. Returns image. */
struct kaon_image *kaon__image_hold(struct kaon_image *image);

/* The region that has an address, or NULL; and the end of the last one. */
const struct kaon_image_region *
kaon__image_region(const struct kaon_image *image, uint64_t address);
uint64_t kaon__image_end(const struct kaon_image *image);

/* What a page is at the start, if the guest may write it; or NULL. */
const unsigned char *kaon__image_initial(const struct kaon_image *image,
                                         uint64_t address);

/*
 * The index of the export of that name, or -1; and, for messages, the name
 * nearest to a wrong one (by edit distance), or NULL if none is near.
 */
int kaon__image_find_export(const struct kaon_image *image, const char *name);
const char *kaon__image_nearest_export(const struct kaon_image *image,
                                       const char *name);

#endif

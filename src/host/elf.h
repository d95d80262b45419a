/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's ELF, judged: what image.c makes an image of.
 *
 * The parser is pure. It reads a buffer that it borrows, calls no system,
 * allocates nothing and keeps nothing. All that it leaves in struct kaon_elf
 * has been checked: offsets and sizes lie in the buffer, addresses where a
 * guest may have them.
 */
#ifndef KAON_SRC_HOST_ELF_H
#define KAON_SRC_HOST_ELF_H

#include <elf.h>
#include <stdbool.h>

#include "host/image.h"

#define KAON_ELF_PAGE UINT64_C(4096)

/* Far more than linkers make or people write; each bounds some work of ours. */
#define KAON_ELF_HEADERS_MAX 128u /* program headers */
#define KAON_ELF_SEGMENTS_MAX 32u
#define KAON_ELF_FUNCTIONS_MAX 4096u /* exports, and as many imports */
#define KAON_ELF_SYMBOLS_MAX 1048576u
#define KAON_ELF_SYMBOL_NAME_MAX 511u /* longer ones are left out */

/* A loadable segment: file_size bytes of the file, zeros up to size. */
struct kaon_elf_segment {
    uint64_t address, size;
    uint64_t offset, file_size;
    bool writable, executable; /* always readable; never both */
};

/* Records of one size that follow each other in the file. */
struct kaon_elf_table {
    const char *kind; /* for messages: "export" */
    uint64_t offset;
    uint32_t count;
};

struct kaon_elf {
    /* Set by the caller. */
    const unsigned char *bytes;
    uint64_t size;
    const char *name;       /* what messages call the file */
    struct kaon_error *err; /* takes the reason for a refusal; may be NULL */
    bool heap; /* its image may lie in memory of malloc()'s, if it is small */

    /* Set by kaon__elf_parse(). Both in ascending addresses. */
    struct kaon_elf_segment segments[KAON_ELF_SEGMENTS_MAX];
    struct kaon_image_region regions[KAON_ELF_SEGMENTS_MAX];
    uint32_t segment_count, region_count;
    uint64_t memory_size; /* of all regions */

    uint64_t entry;
    bool dynamic;
    bool batch;
    struct kaon_elf_table exports, imports, symbols;
    uint64_t strings, strings_size; /* the symbols' names; the last is ended */
};

/*
 * Judges the file but for its tables' records. Returns KAON_OK, KAON_EIMAGE
 * or, if only the ABI version is wrong, KAON_EABI.
 */
enum kaon_status kaon__elf_parse(struct kaon_elf *elf);

/*
 * Judges and reads a record of elf->exports or elf->imports; index is below
 * its count. The name points into the file: a NUL-terminated string of 1 to
 * KAON_NAME_MAX printable ASCII characters.
 */
enum kaon_status kaon__elf_function(const struct kaon_elf *elf,
                                    const struct kaon_elf_table *table,
                                    uint32_t index, struct kaon_signature *out);

/* A symbol; its name is an offset into the strings. */
struct kaon_elf_symbol {
    uint64_t address, size;
    uint64_t name;
};

/*
 * Reads a record of elf->symbols. Returns whether it is a function, object or
 * label in a segment, with a printable name; only then *out is written.
 */
bool kaon__elf_symbol(const struct kaon_elf *elf, uint32_t index,
                      struct kaon_elf_symbol *out);

/* Fills a zeroed image but for its references. The caller ends it, always. */
enum kaon_status kaon__image_load(struct kaon_image *image,
                                  const struct kaon_elf *elf);

/* Of these, image->memory and all that is with it. */
enum kaon_status kaon__image_load_memory(struct kaon_image *image,
                                         const struct kaon_elf *elf);

/* The sections that matter. One that is missing has type SHT_NULL. */
struct kaon_elf_sections {
    Elf64_Shdr info, exports, imports, symbols;
};

enum kaon_status kaon__elf_read_tables(struct kaon_elf *elf,
                                       const struct kaon_elf_sections *found);

/* Fails with KAON_EIMAGE and a sentence that begins with the file's name. */
enum kaon_status kaon__elf_refuse(const struct kaon_elf *elf,
                                  const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Do length bytes at offset lie within size? */
bool kaon__elf_inside(uint64_t size, uint64_t offset, uint64_t length);

/* Copies bytes of the file to out; false if it does not have them. */
bool kaon__elf_fetch(const struct kaon_elf *elf, void *out, uint64_t offset,
                     size_t length);

#endif

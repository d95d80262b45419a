/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/elf_builder.h - guest ELFs made in memory, to be damaged
 *
 * elf_build() makes a small valid guest; its fields are then within reach as
 * the structs that they are. Nothing in it is code: it is to be parsed, never
 * run. Out of memory ends the program.
 *
 * Its segments: text (RX) at ELF_TEXT, tables and names (R) at ELF_RODATA,
 * data and bss (RW) at ELF_DATA. Its entry is ELF_TEXT; export i lies at
 * ELF_TEXT + 16 * (i + 1), as long as that is in the text.
 */
#ifndef KAON_TESTS_ELF_BUILDER_H
#define KAON_TESTS_ELF_BUILDER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <kaon/abi.h>

#define ELF_TEXT UINT64_C(0x400000)
#define ELF_TEXT_SIZE 256u
#define ELF_RODATA UINT64_C(0x500000)
#define ELF_DATA UINT64_C(0x600000)
#define ELF_DATA_SIZE 48u       /* in the file */
#define ELF_DATA_MEMORY 0x2800u /* with the bss */

struct elf_function {
    const char *name;
    uint32_t result, count;
    uint8_t params[KAON_PARAMS_MAX];
};

struct elf_symbol {
    const char *name;
    uint64_t address, size;
    unsigned char type; /* STT_* */
};

/* What a guest shall have. All zero is a valid guest, too. */
struct elf_spec {
    const struct elf_function *exports, *imports;
    uint32_t export_count, import_count;
    const struct elf_symbol *symbols;
    uint32_t symbol_count;  /* 0: no symbol table */
    uint32_t flags;         /* KAON_INFO_* */
    uint16_t spare_headers; /* more program headers, of type PT_NULL */
};

/* Counts of arrays, for the fields above. */
#define ELF_COUNT(array) (uint32_t)(sizeof(array) / sizeof((array)[0]))

struct elf_file {
    size_t size;
    unsigned char *bytes; /* in the same allocation */
};

/* Release with free(). elf_build_sample() has a bit of everything. */
struct elf_file *elf_build(const struct elf_spec *spec);
struct elf_file *elf_build_sample(void);

/* Program headers: text, rodata, data, spare ones. */
Elf64_Ehdr *elf_header(struct elf_file *file);
Elf64_Phdr *elf_segment(struct elf_file *file, size_t index);

/* A section header by name, which must be there. */
Elf64_Shdr *elf_section(struct elf_file *file, const char *name);

/* What lies in the sections. */
struct kaon_guest_info *elf_info(struct elf_file *file);
struct kaon_guest_function *elf_export(struct elf_file *file, size_t index);
struct kaon_guest_function *elf_import(struct elf_file *file, size_t index);
Elf64_Sym *elf_symbol(struct elf_file *file, size_t index);

/* The bytes at a guest address that the file has bytes for. */
char *elf_at(struct elf_file *file, uint64_t address);

#endif

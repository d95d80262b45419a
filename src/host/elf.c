/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges a guest's ELF.
 *
 * Owns nothing. The file is hostile: every offset, size, count and address in
 * it is checked before it is used, always as `length > size - offset`, and
 * structs are copied out, since nothing in it need be aligned. The work is
 * linear in the file's size. Refused is what could not run or could not be
 * told apart from damage; what does no harm (section flags, unknown segment
 * types, alignments) is not looked at.
 */
#include "host/elf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/error.h"

enum kaon_status kaon__elf_refuse(const struct kaon_elf *elf,
                                  const char *format, ...)
{
    char reason[KAON_ERROR_TEXT];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return kaon__fail(elf->err, KAON_EIMAGE, "%.64s %s", elf->name, reason);
}

bool kaon__elf_inside(uint64_t size, uint64_t offset, uint64_t length)
{
    return offset <= size && length <= size - offset;
}

bool kaon__elf_fetch(const struct kaon_elf *elf, void *out, uint64_t offset,
                     size_t length)
{
    if (!kaon__elf_inside(elf->size, offset, length))
        return false;
    memcpy(out, elf->bytes + offset, length);
    return true;
}

static enum kaon_status check_type(const struct kaon_elf *elf, unsigned type)
{
    switch (type) {
    case ET_EXEC: return KAON_OK;
    case ET_DYN:
        return kaon__elf_refuse(
            elf, "is position-independent; link it with -no-pie, "
                 "as kaon-guest.pc does");
    case ET_REL:
        return kaon__elf_refuse(elf,
                                "is an object file; link it, with the flags of "
                                "kaon-guest.pc");
    }
    return kaon__elf_refuse(elf, "is no executable: its ELF type is %u, not %u",
                            type, (unsigned)ET_EXEC);
}

static enum kaon_status read_header(const struct kaon_elf *elf,
                                    Elf64_Ehdr *header)
{
    if (elf->size == 0)
        return kaon__elf_refuse(elf, "is empty");
    if (elf->size < SELFMAG || memcmp(elf->bytes, ELFMAG, SELFMAG) != 0)
        return kaon__elf_refuse(elf, "is not an ELF file");
    if (!kaon__elf_fetch(elf, header, 0, sizeof *header))
        return kaon__elf_refuse(elf, "is truncated within its ELF header");
    if (header->e_ident[EI_CLASS] != ELFCLASS64)
        return kaon__elf_refuse(
            elf, "is not a 64-bit ELF file; build it for x86-64");
    if (header->e_ident[EI_DATA] != ELFDATA2LSB)
        return kaon__elf_refuse(elf,
                                "is not little-endian; build it for x86-64");
    if (header->e_machine != EM_X86_64)
        return kaon__elf_refuse(
            elf, "is built for ELF machine %u, not for x86-64 (%u)",
            (unsigned)header->e_machine, (unsigned)EM_X86_64);
    if (header->e_ident[EI_VERSION] != EV_CURRENT ||
        header->e_version != EV_CURRENT)
        return kaon__elf_refuse(elf, "has an unknown ELF version");
    return check_type(elf, header->e_type);
}

static enum kaon_status check_segment(const struct kaon_elf *elf,
                                      const Elf64_Phdr *header)
{
    const unsigned both = PF_W | PF_X;

    if (header->p_filesz > header->p_memsz)
        return kaon__elf_refuse(elf,
                                "has a segment at 0x%" PRIx64
                                " that is larger in the file than in memory",
                                header->p_vaddr);
    if (!kaon__elf_inside(elf->size, header->p_offset, header->p_filesz))
        return kaon__elf_refuse(elf,
                                "has a segment at 0x%" PRIx64
                                " that reaches past the end of the file; is it "
                                "truncated?",
                                header->p_vaddr);
    if (header->p_vaddr < KAON_IMAGE_LOW ||
        !kaon__elf_inside(KAON_IMAGE_HIGH, header->p_vaddr, header->p_memsz))
        return kaon__elf_refuse(elf,
                                "has a segment at 0x%" PRIx64 " of 0x%" PRIx64
                                " bytes, outside of 0x%" PRIx64 " to 0x%" PRIx64
                                "; link it elsewhere",
                                header->p_vaddr, header->p_memsz,
                                KAON_IMAGE_LOW, KAON_IMAGE_HIGH);
    if ((header->p_flags & both) == both)
        return kaon__elf_refuse(
            elf,
            "has a segment at 0x%" PRIx64
            " that is writable and executable; link it without "
            "-N, with code and data in separate segments",
            header->p_vaddr);
    if (!(header->p_flags & PF_R))
        return kaon__elf_refuse(
            elf, "has a segment at 0x%" PRIx64 " that is not readable",
            header->p_vaddr);
    return KAON_OK;
}

/* Linkers emit segments in ascending order; any other order is made so. */
static enum kaon_status add_segment(struct kaon_elf *elf,
                                    const Elf64_Phdr *header)
{
    struct kaon_elf_segment *at;
    enum kaon_status status = check_segment(elf, header);

    if (status || header->p_memsz == 0)
        return status;
    if (elf->segment_count == KAON_ELF_SEGMENTS_MAX)
        return kaon__elf_refuse(elf, "has more than %u loadable segments",
                                KAON_ELF_SEGMENTS_MAX);
    at = &elf->segments[elf->segment_count++];
    for (; at > elf->segments && at[-1].address > header->p_vaddr; at--)
        at[0] = at[-1];
    *at = (struct kaon_elf_segment){
        .address = header->p_vaddr,
        .size = header->p_memsz,
        .offset = header->p_offset,
        .file_size = header->p_filesz,
        .writable = header->p_flags & PF_W,
        .executable = header->p_flags & PF_X,
    };
    return KAON_OK;
}

/* Puts a segment, which lies above all earlier ones, into the regions. */
static enum kaon_status add_to_regions(struct kaon_elf *elf,
                                       const struct kaon_elf_segment *segment)
{
    const uint64_t mask = KAON_ELF_PAGE - 1;
    uint64_t start = segment->address & ~mask;
    uint64_t end = (segment->address + segment->size + mask) & ~mask;
    struct kaon_image_region *last =
        elf->region_count ? &elf->regions[elf->region_count - 1] : NULL;
    uint64_t last_end = last ? last->address + last->pages * KAON_ELF_PAGE : 0;
    bool same = last && last->writable == segment->writable &&
                last->executable == segment->executable;

    if (start < last_end && !same)
        return kaon__elf_refuse(
            elf,
            "has two segments of different protection on the page "
            "at 0x%" PRIx64 "; link it with -z separate-code",
            start);
    if (same && start <= last_end) {
        uint64_t more = end > last_end ? end - last_end : 0;

        last->pages += more / KAON_ELF_PAGE;
        elf->memory_size += more;
        return KAON_OK;
    }
    elf->regions[elf->region_count++] = (struct kaon_image_region){
        .address = start,
        .pages = (end - start) / KAON_ELF_PAGE,
        .offset = elf->memory_size,
        .writable = segment->writable,
        .executable = segment->executable,
    };
    elf->memory_size += end - start;
    return KAON_OK;
}

static enum kaon_status lay_out(struct kaon_elf *elf)
{
    const struct kaon_elf_segment *first = elf->segments;
    uint64_t end = 0;
    bool executable = false;

    for (uint32_t i = 0; i < elf->segment_count; i++) {
        const struct kaon_elf_segment *segment = &elf->segments[i];
        enum kaon_status status;

        if (segment->address < end)
            return kaon__elf_refuse(elf,
                                    "has overlapping segments at 0x%" PRIx64,
                                    segment->address);
        end = segment->address + segment->size;
        if (end - first->address > KAON_IMAGE_SIZE_MAX)
            return kaon__elf_refuse(
                elf,
                "spans more than the %" PRIu64
                " MiB that an image may; use the heap instead",
                KAON_IMAGE_SIZE_MAX >> 20);
        status = add_to_regions(elf, segment);
        if (status)
            return status;
        executable |= segment->executable;
    }
    if (!executable)
        return kaon__elf_refuse(elf, "has no executable segment");
    return KAON_OK;
}

static enum kaon_status read_segments(struct kaon_elf *elf,
                                      const Elf64_Ehdr *header)
{
    Elf64_Phdr segment;

    if (header->e_phnum > KAON_ELF_HEADERS_MAX)
        return kaon__elf_refuse(
            elf, "has %u program headers; at most %u are possible",
            (unsigned)header->e_phnum, KAON_ELF_HEADERS_MAX);
    if (header->e_phnum && header->e_phentsize != sizeof segment)
        return kaon__elf_refuse(elf, "has program headers of a wrong size");
    for (uint64_t i = 0; i < header->e_phnum; i++) {
        enum kaon_status status = KAON_OK;

        if (!kaon__elf_inside(elf->size, header->e_phoff, i * sizeof segment) ||
            !kaon__elf_fetch(elf, &segment,
                             header->e_phoff + i * sizeof segment,
                             sizeof segment))
            return kaon__elf_refuse(elf,
                                    "has program headers past the end of the "
                                    "file; is it truncated?");
        if (segment.p_type == PT_INTERP || segment.p_type == PT_DYNAMIC)
            return kaon__elf_refuse(
                elf, "is dynamically linked; link it with -static, "
                     "as kaon-guest.pc does");
        if (segment.p_type == PT_LOAD)
            status = add_segment(elf, &segment);
        if (status)
            return status;
    }
    return lay_out(elf);
}

static bool fetch_section(const struct kaon_elf *elf, const Elf64_Ehdr *header,
                          uint64_t index, Elf64_Shdr *out)
{
    uint64_t at = index * sizeof *out;

    return index < header->e_shnum &&
           kaon__elf_inside(elf->size, header->e_shoff, at) &&
           kaon__elf_fetch(elf, out, header->e_shoff + at, sizeof *out);
}

/* A string table in the file, not empty, with its last string ended. */
static bool is_string_table(const struct kaon_elf *elf,
                            const Elf64_Shdr *section)
{
    return section->sh_type == SHT_STRTAB && section->sh_size > 0 &&
           kaon__elf_inside(elf->size, section->sh_offset, section->sh_size) &&
           elf->bytes[section->sh_offset + section->sh_size - 1] == 0;
}

/* Where a section of this name and type belongs; NULL if it is none of ours */
static Elf64_Shdr *slot_of(struct kaon_elf_sections *found,
                           const Elf64_Shdr *section, const char *name)
{
    if (section->sh_type == SHT_NULL)
        return NULL;
    if (section->sh_type == SHT_SYMTAB)
        return &found->symbols;
    if (!strcmp(name, KAON_INFO_SECTION))
        return &found->info;
    if (!strcmp(name, KAON_EXPORTS_SECTION))
        return &found->exports;
    if (!strcmp(name, KAON_IMPORTS_SECTION))
        return &found->imports;
    return NULL;
}

static enum kaon_status find_sections(const struct kaon_elf *elf,
                                      const Elf64_Ehdr *header,
                                      struct kaon_elf_sections *found)
{
    Elf64_Shdr names, section;

    if (header->e_shnum == 0)
        return kaon__elf_refuse(
            elf, "has no section headers, so no " KAON_INFO_SECTION
                 "; keep them when stripping it");
    if (header->e_shentsize != sizeof section)
        return kaon__elf_refuse(elf, "has section headers of a wrong size");
    if (!fetch_section(elf, header, header->e_shstrndx, &names) ||
        !is_string_table(elf, &names))
        return kaon__elf_refuse(elf,
                                "has no usable table of section names; is it "
                                "truncated?");
    for (uint32_t i = 0; i < header->e_shnum; i++) {
        const char *name;
        Elf64_Shdr *slot;

        if (!fetch_section(elf, header, i, &section))
            return kaon__elf_refuse(elf,
                                    "has section headers past the end of the "
                                    "file; is it truncated?");
        if (section.sh_name >= names.sh_size)
            return kaon__elf_refuse(
                elf,
                "has a bad section %" PRIu32
                ": its name is outside of the table of names",
                i);
        name = (const char *)elf->bytes + names.sh_offset + section.sh_name;
        slot = slot_of(found, &section, name);
        if (slot && slot->sh_type != SHT_NULL)
            return kaon__elf_refuse(elf, "has two sections %.32s", name);
        if (slot)
            *slot = section;
    }
    return KAON_OK;
}

static enum kaon_status read_symbols(struct kaon_elf *elf,
                                     const Elf64_Ehdr *header,
                                     const Elf64_Shdr *section)
{
    Elf64_Shdr strings;

    if (section->sh_type == SHT_NULL)
        return KAON_OK;
    if (section->sh_entsize != sizeof(Elf64_Sym) ||
        !kaon__elf_inside(elf->size, section->sh_offset, section->sh_size) ||
        !fetch_section(elf, header, section->sh_link, &strings) ||
        !is_string_table(elf, &strings))
        return kaon__elf_refuse(
            elf, "has a damaged symbol table; rebuild it, or strip "
                 "it with strip");
    if (section->sh_size / sizeof(Elf64_Sym) > KAON_ELF_SYMBOLS_MAX)
        return kaon__elf_refuse(elf,
                                "has more than %u symbols; strip it with strip",
                                KAON_ELF_SYMBOLS_MAX);
    elf->symbols.kind = "symbol";
    elf->symbols.offset = section->sh_offset;
    elf->symbols.count = (uint32_t)(section->sh_size / sizeof(Elf64_Sym));
    elf->strings = strings.sh_offset;
    elf->strings_size = strings.sh_size;
    return KAON_OK;
}

enum kaon_status kaon__elf_parse(struct kaon_elf *elf)
{
    struct kaon_elf_sections found = { 0 };
    Elf64_Ehdr header;
    enum kaon_status status = read_header(elf, &header);

    if (!status)
        status = read_segments(elf, &header);
    if (!status)
        status = find_sections(elf, &header, &found);
    if (!status)
        status = kaon__elf_read_tables(elf, &found);
    if (!status)
        status = read_symbols(elf, &header, &found.symbols);
    return status;
}

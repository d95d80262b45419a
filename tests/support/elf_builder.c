/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds guest ELFs. Places everything on 8-byte boundaries, so that the
 * structs can be used where they lie.
 */
#include "support/elf_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum section {
    SECTION_NULL,
    SECTION_TEXT,
    SECTION_INFO,
    SECTION_EXPORTS,
    SECTION_IMPORTS,
    SECTION_DATA,
    SECTION_NAMES,
    SECTION_SYMBOLS, /* with its strings, only if there are symbols */
    SECTION_STRINGS,
    SECTION_COUNT
};

static const char section_names[] =
    "\0.text\0" KAON_INFO_SECTION "\0" KAON_EXPORTS_SECTION
    "\0" KAON_IMPORTS_SECTION "\0.data\0.shstrtab\0.symtab\0.strtab";

/* File offsets of the parts, in their order. */
struct layout {
    size_t segments, text, info, exports, imports, names, data, symbols,
        strings, section_names, sections, end;
};

static size_t names_size(const struct elf_function *functions, uint32_t count)
{
    size_t size = 0;

    for (uint32_t i = 0; i < count; i++)
        size += strlen(functions[i].name) + 1;
    return size;
}

static size_t strings_size(const struct elf_spec *spec)
{
    size_t size = 1;

    for (uint32_t i = 0; i < spec->symbol_count; i++)
        size += strlen(spec->symbols[i].name) + 1;
    return size;
}

/* Returns the offset of the next part, which follows this one. */
static size_t behind(size_t offset, size_t size)
{
    return (offset + size + 7) & ~(size_t)7;
}

static uint32_t section_count(const struct elf_spec *spec)
{
    return spec->symbol_count ? SECTION_COUNT : SECTION_SYMBOLS;
}

static struct layout lay_out(const struct elf_spec *spec)
{
    const size_t function = sizeof(struct kaon_guest_function);
    size_t symbols =
        spec->symbol_count ? (spec->symbol_count + 1) * sizeof(Elf64_Sym) : 0;
    struct layout at;

    at.segments = sizeof(Elf64_Ehdr);
    at.text =
        behind(at.segments, (3u + spec->spare_headers) * sizeof(Elf64_Phdr));
    at.info = behind(at.text, ELF_TEXT_SIZE);
    at.exports = behind(at.info, sizeof(struct kaon_guest_info));
    at.imports = behind(at.exports, spec->export_count * function);
    at.names = behind(at.imports, spec->import_count * function);
    at.data =
        behind(at.names, names_size(spec->exports, spec->export_count) +
                             names_size(spec->imports, spec->import_count));
    at.symbols = behind(at.data, ELF_DATA_SIZE);
    at.strings = behind(at.symbols, symbols);
    at.section_names = behind(at.strings, symbols ? strings_size(spec) : 0);
    at.sections = behind(at.section_names, sizeof section_names);
    at.end = behind(at.sections, section_count(spec) * sizeof(Elf64_Shdr));
    return at;
}

Elf64_Ehdr *elf_header(struct elf_file *file)
{
    return (void *)file->bytes;
}

Elf64_Phdr *elf_segment(struct elf_file *file, size_t index)
{
    return (Elf64_Phdr *)(void *)(file->bytes + sizeof(Elf64_Ehdr)) + index;
}

static Elf64_Shdr *section_at(struct elf_file *file, size_t index)
{
    return (Elf64_Shdr *)(void *)(file->bytes + elf_header(file)->e_shoff) +
           index;
}

Elf64_Shdr *elf_section(struct elf_file *file, const char *name)
{
    const char *names =
        (const char *)file->bytes + section_at(file, SECTION_NAMES)->sh_offset;

    for (size_t i = 0; i < elf_header(file)->e_shnum; i++)
        if (strcmp(names + section_at(file, i)->sh_name, name) == 0)
            return section_at(file, i);
    fprintf(stderr, "the built ELF has no section %s\n", name);
    abort();
}

static void *section_bytes(struct elf_file *file, const char *name)
{
    return file->bytes + elf_section(file, name)->sh_offset;
}

struct kaon_guest_info *elf_info(struct elf_file *file)
{
    return section_bytes(file, KAON_INFO_SECTION);
}

struct kaon_guest_function *elf_export(struct elf_file *file, size_t index)
{
    return (struct kaon_guest_function *)section_bytes(file,
                                                       KAON_EXPORTS_SECTION) +
           index;
}

struct kaon_guest_function *elf_import(struct elf_file *file, size_t index)
{
    return (struct kaon_guest_function *)section_bytes(file,
                                                       KAON_IMPORTS_SECTION) +
           index;
}

Elf64_Sym *elf_symbol(struct elf_file *file, size_t index)
{
    return (Elf64_Sym *)section_bytes(file, ".symtab") + index;
}

char *elf_at(struct elf_file *file, uint64_t address)
{
    for (size_t i = 0; i < 3; i++) {
        const Elf64_Phdr *segment = elf_segment(file, i);

        if (address - segment->p_vaddr < segment->p_filesz)
            return (char *)file->bytes + segment->p_offset +
                   (address - segment->p_vaddr);
    }
    fprintf(stderr, "the built ELF has no address %#llx\n",
            (unsigned long long)address);
    abort();
}

static void put_header(struct elf_file *file, const struct elf_spec *spec,
                       const struct layout *at)
{
    Elf64_Ehdr *header = elf_header(file);

    memcpy(header->e_ident, ELFMAG, SELFMAG);
    header->e_ident[EI_CLASS] = ELFCLASS64;
    header->e_ident[EI_DATA] = ELFDATA2LSB;
    header->e_ident[EI_VERSION] = EV_CURRENT;
    header->e_type = ET_EXEC;
    header->e_machine = EM_X86_64;
    header->e_version = EV_CURRENT;
    header->e_entry = ELF_TEXT;
    header->e_phoff = at->segments;
    header->e_shoff = at->sections;
    header->e_ehsize = sizeof *header;
    header->e_phentsize = sizeof(Elf64_Phdr);
    header->e_phnum = (Elf64_Half)(3 + spec->spare_headers);
    header->e_shentsize = sizeof(Elf64_Shdr);
    header->e_shnum = (Elf64_Half)section_count(spec);
    header->e_shstrndx = SECTION_NAMES;
}

static void put_segment(struct elf_file *file, size_t index, uint64_t address,
                        size_t offset, size_t end, size_t memory,
                        uint32_t flags)
{
    *elf_segment(file, index) = (Elf64_Phdr){
        .p_type = PT_LOAD,
        .p_flags = flags,
        .p_offset = offset,
        .p_vaddr = address,
        .p_paddr = address,
        .p_filesz = end - offset,
        .p_memsz = memory ? memory : end - offset,
        .p_align = 8,
    };
}

static void put_section(struct elf_file *file, enum section section,
                        const char *name, uint32_t type, uint64_t address,
                        size_t offset, size_t size, size_t record)
{
    uint32_t at = 0;

    /* Offsets of the names: each is found behind a NUL. */
    while (strcmp(section_names + at, name) != 0)
        at += (uint32_t)strlen(section_names + at) + 1;
    *section_at(file, section) = (Elf64_Shdr){
        .sh_name = at,
        .sh_type = type,
        .sh_flags = address ? SHF_ALLOC : 0,
        .sh_addr = address,
        .sh_offset = offset,
        .sh_size = size,
        .sh_addralign = 8,
        .sh_entsize = record,
    };
}

/* Sections of the read-only segment, which begins with the info. */
static void put_table(struct elf_file *file, const struct layout *at,
                      enum section section, const char *name, size_t offset,
                      size_t size)
{
    put_section(file, section, name, SHT_PROGBITS,
                ELF_RODATA + (offset - at->info), offset, size, 0);
}

static void put_sections(struct elf_file *file, const struct elf_spec *spec,
                         const struct layout *at)
{
    const size_t function = sizeof(struct kaon_guest_function);

    memcpy(file->bytes + at->section_names, section_names,
           sizeof section_names);
    put_section(file, SECTION_TEXT, ".text", SHT_PROGBITS, ELF_TEXT, at->text,
                ELF_TEXT_SIZE, 0);
    put_table(file, at, SECTION_INFO, KAON_INFO_SECTION, at->info,
              sizeof(struct kaon_guest_info));
    put_table(file, at, SECTION_EXPORTS, KAON_EXPORTS_SECTION, at->exports,
              spec->export_count * function);
    put_table(file, at, SECTION_IMPORTS, KAON_IMPORTS_SECTION, at->imports,
              spec->import_count * function);
    put_section(file, SECTION_DATA, ".data", SHT_PROGBITS, ELF_DATA, at->data,
                ELF_DATA_SIZE, 0);
    put_section(file, SECTION_NAMES, ".shstrtab", SHT_STRTAB, 0,
                at->section_names, sizeof section_names, 0);
    if (!spec->symbol_count)
        return;
    put_section(file, SECTION_SYMBOLS, ".symtab", SHT_SYMTAB, 0, at->symbols,
                (spec->symbol_count + 1) * sizeof(Elf64_Sym),
                sizeof(Elf64_Sym));
    section_at(file, SECTION_SYMBOLS)->sh_link = SECTION_STRINGS;
    put_section(file, SECTION_STRINGS, ".strtab", SHT_STRTAB, 0, at->strings,
                strings_size(spec), 0);
}

/* Puts a table's records at a file offset and their names at *names. */
static void put_functions(struct elf_file *file, const struct layout *at,
                          size_t offset, const struct elf_function *functions,
                          uint32_t count, size_t *names)
{
    struct kaon_guest_function *to = (void *)(file->bytes + offset);

    for (uint32_t i = 0; i < count; i++) {
        size_t size = strlen(functions[i].name) + 1;

        to[i].name = ELF_RODATA + (*names - at->info);
        if (offset == at->exports)
            to[i].code = ELF_TEXT + (16 * (i + 1)) % ELF_TEXT_SIZE;
        to[i].count = functions[i].count;
        to[i].result = functions[i].result;
        memcpy(to[i].params, functions[i].params, sizeof to[i].params);
        memcpy(file->bytes + *names, functions[i].name, size);
        *names += size;
    }
}

static void put_symbols(struct elf_file *file, const struct elf_spec *spec,
                        const struct layout *at)
{
    Elf64_Sym *to = (void *)(file->bytes + at->symbols);
    uint32_t name = 1;

    for (uint32_t i = 0; i < spec->symbol_count; i++) {
        const struct elf_symbol *symbol = &spec->symbols[i];
        size_t size = strlen(symbol->name) + 1;

        to[i + 1] = (Elf64_Sym){
            .st_name = name,
            .st_info = ELF64_ST_INFO(STB_GLOBAL, symbol->type),
            .st_shndx = SECTION_TEXT,
            .st_value = symbol->address,
            .st_size = symbol->size,
        };
        memcpy(file->bytes + at->strings + name, symbol->name, size);
        name += (uint32_t)size;
    }
}

struct elf_file *elf_build(const struct elf_spec *spec)
{
    const struct layout at = lay_out(spec);
    struct elf_file *file = calloc(1, sizeof *file + at.end);
    struct kaon_guest_info *info;
    size_t names = at.names;

    if (!file) {
        perror("elf_build");
        abort();
    }
    file->size = at.end;
    file->bytes = (unsigned char *)(file + 1);
    put_header(file, spec, &at);
    put_segment(file, 0, ELF_TEXT, at.text, at.info, 0, PF_R | PF_X);
    put_segment(file, 1, ELF_RODATA, at.info, at.data, 0, PF_R);
    put_segment(file, 2, ELF_DATA, at.data, at.data + ELF_DATA_SIZE,
                ELF_DATA_MEMORY, PF_R | PF_W);
    put_sections(file, spec, &at);
    memset(file->bytes + at.text, 0xcc, ELF_TEXT_SIZE);
    memset(file->bytes + at.data, 'd', ELF_DATA_SIZE);

    info = (void *)(file->bytes + at.info);
    info->magic = KAON_INFO_MAGIC;
    info->abi_version = KAON_ABI_VERSION;
    info->flags = spec->flags;
    info->entry = ELF_TEXT;
    put_functions(file, &at, at.exports, spec->exports, spec->export_count,
                  &names);
    put_functions(file, &at, at.imports, spec->imports, spec->import_count,
                  &names);
    if (spec->symbol_count)
        put_symbols(file, spec, &at);
    return file;
}

struct elf_file *elf_build_sample(void)
{
    static const struct elf_function exports[] = {
        { "greet", KAON_TYPE_VOID, 0, { 0 } },
        { "add", KAON_TYPE_I32, 2, { KAON_TYPE_I32, KAON_TYPE_I32 } },
        { "echo_bytes", KAON_TYPE_BYTES, 1, { KAON_TYPE_BYTES } },
    };
    static const struct elf_function imports[] = {
        { "HostPrint", KAON_TYPE_I32, 1, { KAON_TYPE_STRING } },
        { "now", KAON_TYPE_U64, 0, { 0 } },
    };
    static const struct elf_symbol symbols[] = {
        { "entry", ELF_TEXT, 16, STT_FUNC },
        { "greet", ELF_TEXT + 16, 16, STT_FUNC },
        { "add", ELF_TEXT + 32, 0, STT_NOTYPE },
        { "counter", ELF_DATA, 8, STT_OBJECT },
    };

    return elf_build(&(struct elf_spec){
        .exports = exports,
        .export_count = ELF_COUNT(exports),
        .imports = imports,
        .import_count = ELF_COUNT(imports),
        .symbols = symbols,
        .symbol_count = ELF_COUNT(symbols),
        .spare_headers = 1,
    });
}

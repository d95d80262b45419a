/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges what a guest's ELF says to Kaon: the sections of kaon/abi.h, and its
 * symbols.
 *
 * Owns nothing, and trusts the file as little as elf.c does, which has judged
 * the segments and has found the sections. Each record is copied out once and
 * only the copy is judged and used.
 */
#include "host/elf.h"

#include <inttypes.h>
#include <string.h>

#include "host/error.h"

static bool all_zero(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < size; i++)
        if (at[i])
            return false;
    return true;
}

/* ASCII only: names go to terminals, logs and JSON as they are. */
static bool printable(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return false;
    return length > 0;
}

static const struct kaon_elf_segment *segment_at(const struct kaon_elf *elf,
                                                 uint64_t address)
{
    for (uint32_t i = 0; i < elf->segment_count; i++)
        if (address >= elf->segments[i].address &&
            address - elf->segments[i].address < elf->segments[i].size)
            return &elf->segments[i];
    return NULL;
}

static bool is_code(const struct kaon_elf *elf, uint64_t address)
{
    const struct kaon_elf_segment *segment = segment_at(elf, address);

    return segment && segment->executable;
}

/*
 * What the host reads from the file must be what the guest sees in memory: a
 * section of ours is a part of one segment, at the same place in both.
 */
static enum kaon_status check_loaded(const struct kaon_elf *elf,
                                     const Elf64_Shdr *section,
                                     const char *name)
{
    const struct kaon_elf_segment *segment = segment_at(elf, section->sh_addr);
    uint64_t skip = segment ? section->sh_addr - segment->address : 0;

    if (!segment || section->sh_type != SHT_PROGBITS ||
        !kaon__elf_inside(segment->file_size, skip, section->sh_size) ||
        section->sh_offset != segment->offset + skip)
        return kaon__elf_refuse(elf,
                                "has a bad section %s: it is not a part of a "
                                "loadable segment; link it with kaon-guest's "
                                "linker script",
                                name);
    return KAON_OK;
}

static enum kaon_status read_info(struct kaon_elf *elf,
                                  const Elf64_Shdr *section)
{
    struct kaon_guest_info info;
    enum kaon_status status;

    if (section->sh_type == SHT_NULL)
        return kaon__elf_refuse(
            elf, "is no Kaon guest: it has no section " KAON_INFO_SECTION
                 "; link it with the flags of kaon-guest.pc");
    status = check_loaded(elf, section, KAON_INFO_SECTION);
    if (status)
        return status;
    if (section->sh_size < sizeof info ||
        !kaon__elf_fetch(elf, &info, section->sh_offset, sizeof info) ||
        info.magic != KAON_INFO_MAGIC)
        return kaon__elf_refuse(elf, "has a bad section " KAON_INFO_SECTION
                                     ": it does not begin with Kaon's magic");
    /* Nothing past the version means anything to us if that is not ours. */
    if (info.abi_version != KAON_ABI_VERSION)
        return kaon__fail(elf->err, KAON_EABI,
                          "%.64s is built for Kaon ABI version %" PRIu32
                          ", this library runs version %u; rebuild the guest "
                          "with the kaon-guest of this library",
                          elf->name, info.abi_version, KAON_ABI_VERSION);
    if (section->sh_size != sizeof info ||
        (info.flags & ~(KAON_INFO_DYNAMIC | KAON_INFO_BATCH)) != 0 ||
        !all_zero(info.reserved, sizeof info.reserved))
        return kaon__elf_refuse(elf,
                                "has a bad section " KAON_INFO_SECTION
                                ": its size, flags or reserved fields are not "
                                "those of ABI version %u",
                                KAON_ABI_VERSION);
    if (!is_code(elf, info.entry))
        return kaon__elf_refuse(elf,
                                "has its entry at 0x%" PRIx64
                                ", outside of its executable segments",
                                info.entry);
    elf->entry = info.entry;
    elf->dynamic = info.flags & KAON_INFO_DYNAMIC;
    elf->batch = info.flags & KAON_INFO_BATCH;
    return KAON_OK;
}

static enum kaon_status read_table(const struct kaon_elf *elf,
                                   const Elf64_Shdr *section, const char *name,
                                   const char *kind,
                                   struct kaon_elf_table *table)
{
    const uint64_t record = sizeof(struct kaon_guest_function);
    enum kaon_status status;

    table->kind = kind;
    if (section->sh_type == SHT_NULL || section->sh_size == 0)
        return KAON_OK;
    status = check_loaded(elf, section, name);
    if (status)
        return status;
    if (section->sh_size % record)
        return kaon__elf_refuse(
            elf,
            "has a bad section %s: its size is no multiple of "
            "%" PRIu64,
            name, record);
    if (section->sh_size / record > KAON_ELF_FUNCTIONS_MAX)
        return kaon__elf_refuse(
            elf, "has %" PRIu64 " %ss; at most %u are possible",
            section->sh_size / record, kind, KAON_ELF_FUNCTIONS_MAX);
    table->offset = section->sh_offset;
    table->count = (uint32_t)(section->sh_size / record);
    return KAON_OK;
}

enum kaon_status kaon__elf_read_tables(struct kaon_elf *elf,
                                       const struct kaon_elf_sections *found)
{
    enum kaon_status status = read_info(elf, &found->info);

    if (!status)
        status = read_table(elf, &found->exports, KAON_EXPORTS_SECTION,
                            "export", &elf->exports);
    if (!status)
        status = read_table(elf, &found->imports, KAON_IMPORTS_SECTION,
                            "import", &elf->imports);
    return status;
}

/* A printable string at an offset in the file, of at most max bytes and
 * ending before `end`; or NULL. */
static const char *string_at(const struct kaon_elf *elf, uint64_t offset,
                             uint64_t end, size_t max)
{
    const char *string = (const char *)elf->bytes + offset;
    size_t room = end - offset > max ? max + 1 : end - offset;
    size_t length = strnlen(string, room);

    return length < room && printable(string, length) ? string : NULL;
}

/* The function name at a guest address, or NULL if there is no good one. */
static const char *name_at(const struct kaon_elf *elf, uint64_t address)
{
    const struct kaon_elf_segment *segment = segment_at(elf, address);
    uint64_t skip = segment ? address - segment->address : 0;

    if (!segment || skip >= segment->file_size)
        return NULL;
    return string_at(elf, segment->offset + skip,
                     segment->offset + segment->file_size, KAON_NAME_MAX);
}

static bool are_types(const struct kaon_guest_function *function)
{
    if (function->count > KAON_PARAMS_MAX ||
        function->result >= KAON_TYPE_COUNT)
        return false;
    for (uint32_t i = 0; i < function->count; i++)
        if (function->params[i] == KAON_TYPE_VOID ||
            function->params[i] >= KAON_TYPE_COUNT)
            return false;
    return all_zero(function->params + function->count,
                    KAON_PARAMS_MAX - function->count);
}

enum kaon_status kaon__elf_function(const struct kaon_elf *elf,
                                    const struct kaon_elf_table *table,
                                    uint32_t index, struct kaon_signature *out)
{
    struct kaon_guest_function function;
    bool exported = table == &elf->exports;
    const char *name, *reason = NULL;

    if (index >= table->count ||
        !kaon__elf_fetch(elf, &function,
                         table->offset + index * sizeof function,
                         sizeof function))
        return kaon__elf_refuse(elf, "has no %s %" PRIu32, table->kind, index);
    name = name_at(elf, function.name);
    if (!name)
        reason = "its name is not 1 to 127 printable characters and a NUL";
    else if (!are_types(&function))
        reason = "its parameters or result are of no known type";
    else if (!all_zero(function.reserved, sizeof function.reserved))
        reason = "its reserved bytes are not zero";
    else if (exported && !is_code(elf, function.code))
        reason = "its code is outside of the executable segments";
    else if (!exported && function.code)
        reason = "it has code, which only an export has";
    if (reason)
        return kaon__elf_refuse(elf, "has a bad %s %" PRIu32 " (%.64s): %s",
                                table->kind, index, name ? name : "?", reason);
    *out = (struct kaon_signature){
        .name = name,
        .result = function.result,
        .count = function.count,
    };
    memcpy(out->params, function.params, sizeof out->params);
    return KAON_OK;
}

/* Is it the address of something in the guest that has a name of its own? */
static bool is_useful(const Elf64_Sym *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);

    return (type == STT_FUNC || type == STT_OBJECT || type == STT_NOTYPE) &&
           symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS;
}

bool kaon__elf_symbol(const struct kaon_elf *elf, uint32_t index,
                      struct kaon_elf_symbol *out)
{
    Elf64_Sym symbol;

    if (index >= elf->symbols.count ||
        !kaon__elf_fetch(elf, &symbol,
                         elf->symbols.offset + index * sizeof symbol,
                         sizeof symbol) ||
        !is_useful(&symbol) || symbol.st_name >= elf->strings_size ||
        !segment_at(elf, symbol.st_value) ||
        !string_at(elf, elf->strings + symbol.st_name,
                   elf->strings + elf->strings_size, KAON_ELF_SYMBOL_NAME_MAX))
        return false;
    *out = (struct kaon_elf_symbol){
        .address = symbol.st_value,
        .size = symbol.st_size,
        .name = symbol.st_name,
    };
    return true;
}

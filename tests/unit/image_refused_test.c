/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damaged and hostile ELFs are refused, each with its reason. A sample that
 * is otherwise valid is damaged in one place at a time.
 */
#include "support/elf_builder.h"
#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <kaon/image.h>

/* Fails unless the bytes are refused with this status and these words. */
static void expect_refusal(const void *bytes, size_t size,
                           enum kaon_status status, const char *words)
{
    struct kaon_image *image = NULL;
    struct kaon_error err = { 0 };

    assert_int_equal(kaon_image_parse(&image, bytes, size, &err), status);
    assert_null(image);
    assert_int_equal(err.status, status);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

/* The sample with damage done to it, a statement, is refused. */
#define REFUSED_AS(status, words, damage)                           \
    do {                                                            \
        struct elf_file *file = elf_build_sample();                 \
                                                                    \
        damage;                                                     \
        expect_refusal(file->bytes, file->size, (status), (words)); \
        free(file);                                                 \
    } while (0)
#define REFUSED(words, damage) REFUSED_AS(KAON_EIMAGE, words, damage)

/* Turns the sample's spare program header into a segment like another one. */
static Elf64_Phdr *another(struct elf_file *file, size_t like)
{
    *elf_segment(file, 3) = *elf_segment(file, like);
    return elf_segment(file, 3);
}

static void what_is_no_elf_is_refused(void **state)
{
    static const char script[] = "#!/bin/sh\necho hello\n";

    (void)state;
    expect_refusal("", 0, KAON_EIMAGE, "is empty");
    expect_refusal(script, sizeof script, KAON_EIMAGE, "is not an ELF file");
    expect_refusal(ELFMAG, 3, KAON_EIMAGE, "is not an ELF file");
    expect_refusal(ELFMAG, SELFMAG, KAON_EIMAGE, "truncated");
    REFUSED("is not an ELF file", file->bytes[1] = 'e');
}

static void a_guest_for_another_machine_is_refused(void **state)
{
    (void)state;
    REFUSED("is not a 64-bit ELF",
            elf_header(file)->e_ident[EI_CLASS] = ELFCLASS32);
    REFUSED("not little-endian",
            elf_header(file)->e_ident[EI_DATA] = ELFDATA2MSB);
    REFUSED("machine 183, not for x86-64",
            elf_header(file)->e_machine = EM_AARCH64);
    REFUSED("ELF version", elf_header(file)->e_version = 2);
    REFUSED("ELF version", elf_header(file)->e_ident[EI_VERSION] = 0);
}

static void what_is_no_static_executable_is_refused(void **state)
{
    (void)state;
    REFUSED("is position-independent; link it with -no-pie",
            elf_header(file)->e_type = ET_DYN);
    REFUSED("is an object file; link it", elf_header(file)->e_type = ET_REL);
    REFUSED("its ELF type is 4", elf_header(file)->e_type = ET_CORE);
    REFUSED("is dynamically linked; link it with -static",
            elf_segment(file, 3)->p_type = PT_INTERP);
    REFUSED("is dynamically linked; link it with -static",
            elf_segment(file, 3)->p_type = PT_DYNAMIC);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    struct elf_file *file = elf_build_sample();

    (void)state;
    for (size_t size = 0; size < file->size; size++) {
        /* Its own allocation, for a sanitizer to see what is read past it. */
        unsigned char *cut = malloc(size ? size : 1);

        assert_non_null(cut);
        memcpy(cut, file->bytes, size);
        expect_refusal(cut, size, KAON_EIMAGE, "guest ");
        free(cut);
    }
    free(file);
}

static void bad_program_headers_are_refused(void **state)
{
    (void)state;
    REFUSED("no executable segment", elf_header(file)->e_phnum = 0);
    REFUSED("200 program headers", elf_header(file)->e_phnum = 200);
    REFUSED("headers of a wrong size", elf_header(file)->e_phentsize = 32);
    REFUSED("headers past the end",
            elf_header(file)->e_phoff = file->size - 100);
    REFUSED("headers past the end", elf_header(file)->e_phoff = UINT64_MAX);
}

static void segments_out_of_range_are_refused(void **state)
{
    (void)state;
    REFUSED("larger in the file than in memory",
            elf_segment(file, 2)->p_memsz = 1);
    REFUSED("past the end of the file",
            elf_segment(file, 2)->p_offset = file->size - 1);
    REFUSED("past the end of the file",
            elf_segment(file, 2)->p_offset = UINT64_MAX - 8);
    REFUSED("outside of 0x310000 to 0x400000000000",
            elf_segment(file, 2)->p_vaddr = KAON_IMAGE_LOW - 1);
    REFUSED("outside of 0x310000",
            elf_segment(file, 2)->p_vaddr = KAON_IMAGE_HIGH - 1);
    REFUSED("outside of 0x310000", elf_segment(file, 2)->p_vaddr = UINT64_MAX);
    REFUSED("outside of 0x310000", elf_segment(file, 2)->p_memsz = UINT64_MAX);
    REFUSED("spans more than the 1024 MiB",
            elf_segment(file, 2)->p_memsz = KAON_IMAGE_SIZE_MAX);
    REFUSED("spans more than the 1024 MiB",
            elf_segment(file, 2)->p_vaddr = KAON_IMAGE_HIGH / 2);
}

static void segments_in_each_others_way_are_refused(void **state)
{
    (void)state;
    REFUSED("overlapping segments at 0x400000", another(file, 0));
    REFUSED("overlapping segments at 0x6000ff",
            another(file, 2)->p_vaddr += 0xff);
    REFUSED("overlapping segments at 0x600000",
            elf_segment(file, 1)->p_memsz = ELF_DATA - ELF_RODATA + 1);
    REFUSED("different protection on the page at 0x400000",
            another(file, 1)->p_vaddr = ELF_TEXT + 0x800);
    REFUSED("different protection on the page at 0x602000",
            another(file, 1)->p_vaddr = ELF_DATA + ELF_DATA_MEMORY);
}

static void segments_of_bad_protection_are_refused(void **state)
{
    (void)state;
    REFUSED("writable and executable",
            elf_segment(file, 0)->p_flags = PF_R | PF_W | PF_X);
    REFUSED("writable and executable",
            elf_segment(file, 0)->p_flags = PF_W | PF_X);
    REFUSED("is not readable", elf_segment(file, 0)->p_flags = PF_X);
    REFUSED("is not readable", elf_segment(file, 2)->p_flags = 0);
    REFUSED("no executable segment", elf_segment(file, 0)->p_flags = PF_R);
}

static void too_many_segments_are_refused(void **state)
{
    struct elf_file *file =
        elf_build(&(struct elf_spec){ .spare_headers = 30 });

    (void)state;
    for (size_t i = 0; i < 30; i++) {
        *elf_segment(file, 3 + i) = *elf_segment(file, 2);
        elf_segment(file, 3 + i)->p_vaddr += (i + 1) << 16;
    }
    expect_refusal(file->bytes, file->size, KAON_EIMAGE,
                   "more than 32 loadable segments");
    free(file);
}

static void bad_section_headers_are_refused(void **state)
{
    (void)state;
    REFUSED("no section headers", elf_header(file)->e_shnum = 0);
    REFUSED("headers of a wrong size", elf_header(file)->e_shentsize = 40);
    REFUSED("no usable table of section names",
            elf_header(file)->e_shoff = UINT64_MAX);
    REFUSED("no usable table of section names",
            elf_header(file)->e_shstrndx = 99);
    REFUSED("no usable table of section names",
            elf_section(file, ".shstrtab")->sh_type = SHT_PROGBITS);
    REFUSED("no usable table of section names",
            elf_section(file, ".shstrtab")->sh_offset = file->size);
    REFUSED("no usable table of section names",
            elf_section(file, ".shstrtab")->sh_size = 3);
    REFUSED("section headers past the end", elf_header(file)->e_shnum = 60000);
    REFUSED("outside of the table of names",
            elf_section(file, ".data")->sh_name = UINT32_MAX);
    REFUSED("two sections kaon_info",
            elf_section(file, ".data")->sh_name =
                elf_section(file, KAON_INFO_SECTION)->sh_name);
}

static void a_section_that_is_not_loaded_is_refused(void **state)
{
    (void)state;
    REFUSED("bad section kaon_info: it is not a part",
            elf_section(file, KAON_INFO_SECTION)->sh_type = SHT_NOBITS);
    REFUSED("bad section kaon_info: it is not a part",
            elf_section(file, KAON_INFO_SECTION)->sh_offset += 8);
    REFUSED("bad section kaon_info: it is not a part",
            elf_section(file, KAON_INFO_SECTION)->sh_addr = 0);
    REFUSED("bad section kaon_info: it is not a part",
            elf_section(file, KAON_INFO_SECTION)->sh_size = UINT64_MAX);
    REFUSED("bad section kaon_exports: it is not a part",
            elf_section(file, KAON_EXPORTS_SECTION)->sh_addr =
                ELF_DATA + ELF_DATA_SIZE);
    REFUSED("bad section kaon_imports: it is not a part",
            elf_section(file, KAON_IMPORTS_SECTION)->sh_size = 64 * 1024);
}

static void what_is_no_kaon_guest_is_refused(void **state)
{
    (void)state;
    REFUSED("is no Kaon guest: it has no section kaon_info",
            elf_section(file, KAON_INFO_SECTION)->sh_type = SHT_NULL);
    REFUSED("does not begin with Kaon's magic", elf_info(file)->magic = 1);
    REFUSED("does not begin with Kaon's magic",
            elf_section(file, KAON_INFO_SECTION)->sh_size = 8);
    REFUSED("size, flags or reserved",
            elf_section(file, KAON_INFO_SECTION)->sh_size += 8);
    REFUSED("size, flags or reserved", elf_info(file)->flags = 4);
    REFUSED("size, flags or reserved", elf_info(file)->reserved[4] = 1);
    REFUSED("entry at 0x500000", elf_info(file)->entry = ELF_RODATA);
    REFUSED("entry at 0x400100",
            elf_info(file)->entry = ELF_TEXT + ELF_TEXT_SIZE);
}

static void another_abi_version_is_refused_with_both_versions(void **state)
{
    (void)state;
    REFUSED_AS(KAON_EABI, "ABI version 7, this library runs version 1",
               elf_info(file)->abi_version = 7);
    /* Whatever else another version may have changed. */
    REFUSED_AS(KAON_EABI, "ABI version 2",
               (elf_info(file)->abi_version = 2, elf_info(file)->flags = 99,
                elf_section(file, KAON_INFO_SECTION)->sh_size = 128));
}

static void a_table_of_broken_records_is_refused(void **state)
{
    (void)state;
    REFUSED("bad section kaon_exports: its size is no multiple of 64",
            elf_section(file, KAON_EXPORTS_SECTION)->sh_size -= 8);
}

static void too_many_exports_are_refused(void **state)
{
    static struct elf_function many[4097];
    static char names[4097][16];
    struct elf_file *file;

    (void)state;
    for (int i = 0; i < 4097; i++) {
        snprintf(names[i], sizeof names[i], "f%d", i);
        many[i].name = names[i];
    }
    file =
        elf_build(&(struct elf_spec){ .exports = many, .export_count = 4097 });
    expect_refusal(file->bytes, file->size, KAON_EIMAGE,
                   "4097 exports; at most 4096");
    free(file);
}

static void bad_names_are_refused(void **state)
{
    static const char reason[] = "bad export 1 (?): its name is not";

    (void)state;
    REFUSED(reason, elf_export(file, 1)->name = 0);
    REFUSED(reason, elf_export(file, 1)->name = UINT64_MAX);
    REFUSED(reason, elf_export(file, 1)->name = ELF_DATA + ELF_DATA_SIZE);
    REFUSED(reason, *elf_at(file, elf_export(file, 1)->name) = '\0');
    REFUSED(reason, *elf_at(file, elf_export(file, 1)->name) = '\n');
    REFUSED(reason, *elf_at(file, elf_export(file, 1)->name) = '\x1b');
    REFUSED(reason, *elf_at(file, elf_export(file, 1)->name) = '\x7f');
    REFUSED(reason, *elf_at(file, elf_export(file, 1)->name) = '\x9b');
    /* Unterminated: the text that the file has for the data ends without. */
    REFUSED(reason, elf_export(file, 1)->name = ELF_DATA + 1);
    REFUSED("bad import 0 (?)", elf_import(file, 0)->name = 1);
}

static void a_name_may_have_127_bytes(void **state)
{
    char name[KAON_NAME_MAX + 2];
    const struct elf_function function = { .name = name };
    const struct elf_spec spec = { .exports = &function, .export_count = 1 };
    struct kaon_image *image;
    struct kaon_error err;
    struct elf_file *file;

    (void)state;
    memset(name, 'n', sizeof name);
    name[KAON_NAME_MAX + 1] = '\0';
    file = elf_build(&spec);
    expect_refusal(file->bytes, file->size, KAON_EIMAGE, "1 to 127");
    free(file);

    name[KAON_NAME_MAX] = '\0';
    file = elf_build(&spec);
    if (kaon_image_parse(&image, file->bytes, file->size, &err))
        fail_msg("%s", err.text);
    kaon_image_destroy(image);
    free(file);
}

static void bad_functions_are_refused(void **state)
{
    static const char types[] = "bad export 1 (add): its parameters or result";

    (void)state;
    REFUSED(types, elf_export(file, 1)->count = 17);
    REFUSED(types, elf_export(file, 1)->count = UINT32_MAX);
    REFUSED(types, elf_export(file, 1)->result = KAON_TYPE_COUNT);
    REFUSED(types, elf_export(file, 1)->params[1] = KAON_TYPE_COUNT);
    REFUSED(types, elf_export(file, 1)->params[0] = KAON_TYPE_VOID);
    REFUSED(types, elf_export(file, 1)->params[2] = KAON_TYPE_I32);
    REFUSED("reserved bytes", elf_export(file, 1)->reserved[23] = 1);
    REFUSED("(add): its code is outside", elf_export(file, 1)->code = 0);
    REFUSED("(add): its code is outside",
            elf_export(file, 1)->code = ELF_RODATA);
    REFUSED("bad import 1 (now): it has code",
            elf_import(file, 1)->code = ELF_TEXT);
}

static void a_name_exported_twice_is_refused(void **state)
{
    (void)state;
    REFUSED("exports two functions named add",
            elf_export(file, 2)->name = elf_export(file, 1)->name);
}

static void an_import_with_two_meanings_is_refused(void **state)
{
    (void)state;
    REFUSED("imports now twice, with different types",
            elf_import(file, 0)->name = elf_import(file, 1)->name);
}

/* Each of a guest's files may declare it. */
static void an_import_may_be_declared_twice_alike(void **state)
{
    struct elf_file *file = elf_build_sample();
    struct kaon_image *image;

    (void)state;
    *elf_import(file, 0) = *elf_import(file, 1);
    assert_int_equal(kaon_image_parse(&image, file->bytes, file->size, NULL),
                     KAON_OK);
    kaon_image_destroy(image);
    free(file);
}

static void a_damaged_symbol_table_is_refused(void **state)
{
    static const char reason[] = "damaged symbol table";

    (void)state;
    REFUSED(reason, elf_section(file, ".symtab")->sh_entsize = 16);
    REFUSED(reason, elf_section(file, ".symtab")->sh_size = UINT64_MAX);
    REFUSED(reason, elf_section(file, ".symtab")->sh_offset = file->size);
    REFUSED(reason, elf_section(file, ".symtab")->sh_link = 0);
    REFUSED(reason, elf_section(file, ".symtab")->sh_link = UINT32_MAX);
    REFUSED(reason, elf_section(file, ".strtab")->sh_offset = UINT64_MAX);
    REFUSED(reason, elf_section(file, ".strtab")->sh_size -= 1);
    REFUSED(reason, elf_section(file, ".strtab")->sh_size = 0);
    REFUSED("two sections", elf_section(file, ".data")->sh_type = SHT_SYMTAB);
}

/* Whatever comes of it; a sanitizer watches. */
static void parse(const struct elf_file *file)
{
    struct kaon_image *image = NULL;
    enum kaon_status status =
        kaon_image_parse(&image, file->bytes, file->size, NULL);

    assert_int_equal(image != NULL, status == KAON_OK);
    kaon_image_destroy(image);
}

static void no_flipped_bit_or_byte_does_harm(void **state)
{
    struct elf_file *file = elf_build_sample();

    (void)state;
    for (size_t at = 0; at < file->size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            file->bytes[at] ^= (unsigned char)(1u << bit);
            parse(file);
            file->bytes[at] ^= (unsigned char)(1u << bit);
        }
        file->bytes[at] ^= 0xff;
        parse(file);
        file->bytes[at] ^= 0xff;
    }
    free(file);
}

/* clang-format off */
TESTS(
    TEST_ROW(28, what_is_no_elf_is_refused),
    TEST_ROW(28, a_guest_for_another_machine_is_refused),
    TEST_ROW(28, what_is_no_static_executable_is_refused),
    TEST_ROW(28, a_file_cut_anywhere_is_refused),
    TEST_ROW(28, bad_program_headers_are_refused),
    TEST_ROW(28, segments_out_of_range_are_refused),
    TEST_ROW(28, segments_in_each_others_way_are_refused),
    TEST_ROW(28, segments_of_bad_protection_are_refused),
    TEST_ROW(28, too_many_segments_are_refused),
    TEST_ROW(28, bad_section_headers_are_refused),
    TEST_ROW(28, a_section_that_is_not_loaded_is_refused),
    TEST_ROW(28, what_is_no_kaon_guest_is_refused),
    TEST_ROW(28, another_abi_version_is_refused_with_both_versions),
    TEST_ROW(28, a_table_of_broken_records_is_refused),
    TEST_ROW(28, too_many_exports_are_refused),
    TEST_ROW(28, bad_names_are_refused),
    TEST(a_name_may_have_127_bytes),
    TEST_ROW(28, bad_functions_are_refused),
    TEST_ROW(28, a_name_exported_twice_is_refused),
    TEST_ROW(28, an_import_with_two_meanings_is_refused),
    TEST(an_import_may_be_declared_twice_alike),
    TEST_ROW(28, a_damaged_symbol_table_is_refused),
    TEST_ROW(28, no_flipped_bit_or_byte_does_harm),
)

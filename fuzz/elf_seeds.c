/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the seeds of fuzz/corpus/elf: elf_seeds DIRECTORY. Valid guests of
 * several kinds, and a few that are refused only late; the fuzzer does the
 * rest. To be run again when kaon/abi.h changes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/elf_builder.h"

static void save(const char *directory, const char *name, struct elf_file *elf)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "wb");
    if (!file || fwrite(elf->bytes, 1, elf->size, file) != elf->size ||
        fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    free(elf);
}

static struct elf_file *with_all_types(void)
{
    const struct elf_function function = {
        .name = "all",
        .result = KAON_TYPE_BYTES,
        .count = KAON_PARAMS_MAX,
        .params = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7 },
    };

    return elf_build(&(struct elf_spec){
        .exports = &function,
        .imports = &function,
        .export_count = 1,
        .import_count = 1,
        .flags = KAON_INFO_DYNAMIC,
    });
}

static struct elf_file *with_shared_pages(void)
{
    struct elf_file *file = elf_build_sample();

    *elf_segment(file, 3) = *elf_segment(file, 2);
    elf_segment(file, 3)->p_vaddr += ELF_DATA_MEMORY;
    return file;
}

static struct elf_file *with_another_abi(void)
{
    struct elf_file *file = elf_build_sample();

    elf_info(file)->abi_version++;
    return file;
}

static struct elf_file *with_one_name_twice(void)
{
    struct elf_file *file = elf_build_sample();

    elf_export(file, 1)->name = elf_export(file, 0)->name;
    return file;
}

static struct elf_file *with_labels(void)
{
    static const struct elf_symbol symbols[] = {
        { "a", ELF_TEXT, 0, STT_NOTYPE },
        { "b", ELF_TEXT, 0, STT_NOTYPE },
        { "c", ELF_TEXT + 8, 64, STT_FUNC },
        { "d", ELF_TEXT + 16, 0, STT_NOTYPE },
        { "e", ELF_DATA, 0, STT_OBJECT },
        { "f", 0, 0, STT_FILE },
    };

    return elf_build(&(struct elf_spec){ .symbols = symbols,
                                         .symbol_count = ELF_COUNT(symbols) });
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return EXIT_FAILURE;
    }
    save(argv[1], "sample", elf_build_sample());
    save(argv[1], "nothing", elf_build(&(struct elf_spec){ 0 }));
    save(argv[1], "all-types", with_all_types());
    save(argv[1], "shared-pages", with_shared_pages());
    save(argv[1], "another-abi", with_another_abi());
    save(argv[1], "one-name-twice", with_one_name_twice());
    save(argv[1], "labels", with_labels());
    return EXIT_SUCCESS;
}

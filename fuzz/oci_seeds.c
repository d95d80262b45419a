/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the seeds of fuzz/corpus/oci: oci_seeds DIRECTORY. One good file of
 * each kind, with all that we write and some of what others write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <kaon/image.h>

#include "host/oci.h"
#include "support/elf_builder.h"

static void save(const char *directory, const char *name, char kind,
                 const char *text, size_t size)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "wb");
    if (!file || fputc(kind, file) == EOF ||
        fwrite(text, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void save_text(const char *directory, const char *name, char kind,
                      struct kaon_json_text *text)
{
    save(directory, name, kind, text->text, text->size);
    free(text->text);
    *text = (struct kaon_json_text){ 0 };
}

static struct kaon_config a_config(void)
{
    return (struct kaon_config){
        .version = "0.1.0",
        .guest = "guest.elf",
        .layout = { 0x700000, 0x500000, 0x600000, 65536, 65536, 65536, 0x800000,
                    0x200000 },
        .fs_base = 1,
        .generation = 7,
        .write_set = { 0x500000, 0x510000 },
        .write_count = 2,
        .mappings = { { "words", 0x800000, 4097, 4096, true, KAON_MAP_READ },
                      { "table", 0x802000, 4096, 0, true, KAON_MAP_COPY },
                      { "ring-1", 0x803000, 8192, 0, false, KAON_MAP_WRITE } },
        .mapping_count = 3,
    };
}

static void save_all(const char *directory, struct kaon_image *image)
{
    const struct kaon_blob blob = { kaon__sha256("x", 1), 4096 };
    const struct kaon_manifest manifest = {
        blob, blob, blob, blob, { blob }, 1
    };
    const struct kaon_config config = a_config();
    struct kaon_json_text text = { 0 };
    static const char json[] = "[1,\"\\u00e9\\ud83d\\ude00\\n\",-0.5e+1,true,"
                               "null,[[]],{\"a\":{\"b\":[]}}]";

    save(directory, "layout", '0', kaon__oci_layout, strlen(kaon__oci_layout));
    kaon__oci_write_index(&text, NULL, 0, "latest", &blob, false, NULL);
    save_text(directory, "index", '1', &text);
    kaon__oci_write_manifest(&text, &manifest);
    save_text(directory, "manifest", '2', &text);
    kaon__oci_write_config(&text, &config, image);
    save_text(directory, "config", '3', &text);
    save(directory, "json", '4', json, sizeof json - 1);
}

int main(int argc, char **argv)
{
    struct elf_file *file = elf_build_sample();
    struct kaon_image *image;

    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (kaon_image_parse(&image, file->bytes, file->size, NULL))
        return EXIT_FAILURE;
    save_all(argv[1], image);
    kaon_image_destroy(image);
    free(file);
    return EXIT_SUCCESS;
}

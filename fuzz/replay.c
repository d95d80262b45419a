/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files, as an ordinary test that any compiler can
 * build: replay FILE-OR-DIRECTORY...
 *
 * Prints TAP, a test for each file, named after it. A file that the target
 * does not survive ends the program, and the reader of the TAP misses it; one
 * that takes more than LIMIT seconds does too.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT 30

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int done;

static _Noreturn void bail_out(const char *path)
{
    printf("Bail out! %s: %s\n", path, strerror(errno));
    exit(EXIT_FAILURE);
}

/* The file's bytes in an allocation of just their size. */
static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    uint8_t *bytes;

    if (!file || fstat(fileno(file), &info) != 0)
        bail_out(path);
    *size = (size_t)info.st_size;
    bytes = malloc(*size ? *size : 1);
    if (!bytes || fread(bytes, 1, *size, file) != *size)
        bail_out(path);
    fclose(file);
    return bytes;
}

static void replay_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t size;
    uint8_t *bytes = read_file(path, &size);

    alarm(LIMIT);
    LLVMFuzzerTestOneInput(bytes, size);
    alarm(0);
    free(bytes);
    done++;
    printf("ok %u - %s\n", done, slash ? slash + 1 : path);
    fflush(stdout);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay_directory(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);

    if (count < 0)
        bail_out(path);
    for (int i = 0; i < count; i++) {
        char file[4096];

        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        replay_file(file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat info;

        if (stat(argv[i], &info) != 0)
            bail_out(argv[i]);
        if (S_ISDIR(info.st_mode))
            replay_directory(argv[i]);
        else
            replay_file(argv[i]);
    }
    if (done == 0) {
        printf("Bail out! there is nothing to replay\n");
        return EXIT_FAILURE;
    }
    printf("1..%u\n", done);
    return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Directories for tests. Owns nothing: what a test made, it removes. */
#include "support/directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/harness.h"

static void must(bool good, const char *what, const char *path)
{
    if (!good)
        fail_msg("%s %s: %s", what, path, strerror(errno));
}

void directory_make(char path[PATH_SIZE])
{
    const char *root = getenv("TMPDIR");

    snprintf(path, PATH_SIZE, "%s/kaon-test-XXXXXX", root ? root : "/tmp");
    must(mkdtemp(path) != NULL, "mkdtemp", path);
}

/* Calls a function with each entry of a directory, and its kind. */
static void each_entry(const char *path,
                       void (*function)(const char *entry, mode_t mode,
                                        void *user),
                       void *user)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);

    must(count >= 0, "scandir", path);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        char entry[PATH_SIZE * 2];
        struct stat info;

        snprintf(entry, sizeof entry, "%s/%s", path, name);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            lstat(entry, &info) == 0)
            function(entry, info.st_mode, user);
        free(names[i]);
    }
    free(names);
}

static void remove_entry(const char *entry, mode_t mode, void *user)
{
    (void)user;
    if (S_ISDIR(mode))
        directory_remove(entry);
    else
        must(unlink(entry) == 0, "unlink", entry);
}

void directory_remove(const char *path)
{
    each_entry(path, remove_entry, NULL);
    must(rmdir(path) == 0, "rmdir", path);
}

static void count_entry(const char *entry, mode_t mode, void *user)
{
    *(unsigned *)user += 1 + (S_ISDIR(mode) ? directory_count(entry) : 0);
}

unsigned directory_count(const char *path)
{
    unsigned count = 0;

    each_entry(path, count_entry, &count);
    return count;
}

static void copy_entry(const char *entry, mode_t mode, void *user)
{
    char to[PATH_SIZE * 2];
    size_t size;
    char *bytes;

    snprintf(to, sizeof to, "%s%s", (const char *)user, strrchr(entry, '/'));
    if (S_ISDIR(mode)) {
        directory_copy(entry, to);
    } else {
        bytes = file_read(entry, &size);
        file_write(to, bytes, size);
        free(bytes);
    }
}

void directory_copy(const char *from, const char *to)
{
    must(mkdir(to, 0777) == 0, "mkdir", to);
    each_entry(from, copy_entry, (void *)(uintptr_t)to);
}

struct visit {
    void (*function)(const char *file, void *user);
    void *user;
};

static void visit_entry(const char *entry, mode_t mode, void *user)
{
    const struct visit *visit = user;

    if (S_ISDIR(mode))
        directory_each(entry, visit->function, visit->user);
    else if (S_ISREG(mode))
        visit->function(entry, visit->user);
}

void directory_each(const char *path,
                    void (*function)(const char *file, void *user), void *user)
{
    struct visit visit = { function, user };

    each_entry(path, visit_entry, &visit);
}

char *file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rbe");
    struct stat info;
    char *bytes;

    must(file && fstat(fileno(file), &info) == 0, "fopen", path);
    *size = (size_t)info.st_size;
    bytes = malloc(*size + 1);
    must(bytes && fread(bytes, 1, *size, file) == *size, "fread", path);
    bytes[*size] = '\0';
    fclose(file);
    return bytes;
}

void file_write(const char *path, const void *bytes, size_t size)
{
    FILE *file;

    unlink(path); /* it may not be ours to write to */
    file = fopen(path, "wbe");
    must(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0,
         "fwrite", path);
}

void file_each_damage(const char *path, size_t step,
                      void (*function)(const char *path, void *user),
                      void *user)
{
    size_t size;
    char *bytes = file_read(path, &size);

    for (size_t at = 0; at<size; at += size> 4096 ? step : 1) {
        bytes[at] = (char)~bytes[at];
        file_write(path, bytes, size);
        function(path, user);
        bytes[at] = (char)~bytes[at];
    }
    file_write(path, bytes, size);
    free(bytes);
}

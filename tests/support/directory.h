/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/directory.h - directories for tests, and what is in them
 *
 * All of these fail the test if the system says no.
 */
#ifndef KAON_TESTS_DIRECTORY_H
#define KAON_TESTS_DIRECTORY_H

#include <stddef.h>

#define PATH_SIZE 512

/* An empty directory of a name that nobody has; and all of it removed. */
void directory_make(char path[PATH_SIZE]);
void directory_remove(const char *path);

/* How many files and directories are in a tree, itself not counted. */
unsigned directory_count(const char *path);

/* A copy of a tree, at a path where nothing is. */
void directory_copy(const char *from, const char *to);

/* Calls a function with the path of each regular file of a tree. */
void directory_each(const char *path,
                    void (*function)(const char *file, void *user), void *user);

/* A whole file: NUL-terminated, to be freed; and written anew. */
char *file_read(const char *path, size_t *size);
void file_write(const char *path, const void *bytes, size_t size);

/* Calls a function with a file of which one byte is inverted: of a small file
 * each in turn, of one with more than 4096 bytes each `step`th. */
void file_each_damage(const char *path, size_t step,
                      void (*function)(const char *path, void *user),
                      void *user);

#endif

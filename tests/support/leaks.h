/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/leaks.h - what a process holds, to be compared
 *
 * Two censuses of the process, before and after a test, show what the test
 * did not give back.
 */
#ifndef KAON_TESTS_LEAKS_H
#define KAON_TESTS_LEAKS_H

#include <stdbool.h>
#include <stddef.h>

#define LEAKS_FDS_MAX 65536

/* Mappings of one file (or none) and protection, added up. */
struct leaks_mapping {
    char name[120]; /* "rw-p /path", or "rw-p anonymous" */
    size_t bytes;
};

struct leaks_census {
    size_t heap; /* bytes in use; 0 if the allocator cannot tell */
    size_t threads;
    size_t children; /* and orphans; zombies too */
    size_t mapping_count;
    unsigned char fds[LEAKS_FDS_MAX / 8]; /* a bit for each open one */
    struct leaks_mapping mappings[512];
};

/*
 * Must be called early in main(): makes the allocator exact (one arena, no
 * thread caches, no cached stacks). These are settings of the process's
 * start, so this may start the program anew with the same arguments.
 */
void leaks_prepare(char **argv);

/*
 * Counts. Threads and children that are more than before (NULL: than any) are
 * waited for: they may have ended, but not be gone yet.
 */
void leaks_take(struct leaks_census *census, const struct leaks_census *before);

/*
 * Says into text what `after` holds and `before` does not: "1 threads, 24
 * bytes of heap".
 *
 * Returns: whether there is any such thing.
 */
bool leaks_found(const struct leaks_census *before,
                 const struct leaks_census *after, char *text, size_t size);

#endif

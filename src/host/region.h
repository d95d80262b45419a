/* SPDX-License-Identifier: Apache-2.0 */
/* Regions inside the library: a file or a buffer, as the host has it mapped. */
#ifndef KAON_SRC_HOST_REGION_H
#define KAON_SRC_HOST_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <kaon/region.h>

#include "backend/backend.h"

/* Immutable, but for what it holds. */
struct kaon_region {
    atomic_uint references;
    int fd;
    bool file;       /* somebody's: `memory` is for machines alone */
    uint64_t offset; /* in the file */
    uint64_t size;   /* bytes */
    unsigned char *memory;
};

static inline uint64_t kaon__region_pages(const struct kaon_region *region)
{
    return (region->size + KAON_PAGE_SIZE - 1) / KAON_PAGE_SIZE;
}

/*
 * Copies from whole pages of a region, and zero from where it ends; returns
 * how many bytes it has there, or -1 if they cannot be read (errno). Never
 * touches the mapping of a file, which may have become shorter: that is a
 * SIGBUS.
 */
ssize_t kaon__region_read(const struct kaon_region *region, uint64_t offset,
                          void *to, size_t size);

#endif

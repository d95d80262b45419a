/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocator, apart from the guest: it manages whatever piece of memory it
 * is given, so that tests run it on the host.
 */
#ifndef KAON_SRC_GUEST_HEAP_H
#define KAON_SRC_GUEST_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* Bins of free blocks: four for each power of two up to 2^40. */
#define KAON__HEAP_BINS 152
#define KAON__HEAP_MAP_WORDS ((KAON__HEAP_BINS + 63) / 64)

struct kaon__heap_block;

struct kaon__heap {
    uintptr_t low, high; /* where blocks may lie */
    uintptr_t top;       /* from here on nothing is in use, or in a bin */
    uintptr_t fresh;     /* from here on nothing was ever in use: all zero */
    size_t used;         /* bytes of blocks in use, their headers included */
    uint64_t map[KAON__HEAP_MAP_WORDS]; /* bins that are not empty */
    struct kaon__heap_block *bins[KAON__HEAP_BINS];
};

/* What is wrong with a pointer that is to be freed. */
enum kaon__heap_status {
    KAON__HEAP_OK = 0,
    KAON__HEAP_FOREIGN, /* nothing that this heap gave */
    KAON__HEAP_TWICE,   /* not in use any more */
    KAON__HEAP_DAMAGED, /* its neighbours say otherwise: an overrun */
};

/* Takes over size bytes of zeroes. Touches none of them. */
void kaon__heap_init(struct kaon__heap *heap, void *memory, size_t size);

/* NULL if there is no such piece, or alignment is no power of two. */
void *kaon__heap_alloc(struct kaon__heap *heap, size_t size);
void *kaon__heap_alloc_zero(struct kaon__heap *heap, size_t size);
void *kaon__heap_alloc_aligned(struct kaon__heap *heap, size_t alignment,
                               size_t size);

/* These judge memory first, and change nothing if it is bad. */
enum kaon__heap_status kaon__heap_free(struct kaon__heap *heap, void *memory);
enum kaon__heap_status kaon__heap_resize(struct kaon__heap *heap, void *memory,
                                         size_t size, void **out);

/* Bytes not in use. */
size_t kaon__heap_available(const struct kaon__heap *heap);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the host's regions a memory shows: mappings, in a window of guest
 * addresses that has nothing else, and so page tables of its own. One mapping
 * is memory_mapping.h.
 */
#ifndef KAON_SRC_HOST_MEMORY_MAP_H
#define KAON_SRC_HOST_MEMORY_MAP_H

#include <kaon/region.h>

#include "host/memory.h"

/* What a snapshot keeps of a mapping. */
struct kaon_kept_mapping {
    struct kaon_region *region; /* a reference; NULL: it was opened without */
    uint64_t size, offset;      /* of the region, in bytes; in its file, */
    bool file;                  /* if it is one */
    uint64_t address;
    enum kaon_map_mode mode;
    char name[KAON_MAP_NAME_MAX + 1]; /* "": none */
    uint64_t page_count;              /* that the guest wrote */
    uint64_t *pages;                  /* which, ascending, */
    const unsigned char *content;     /* and what it wrote: the snapshot's */
};

/* Bytes of guest addresses that it takes. */
static inline uint64_t
kaon__kept_mapping_room(const struct kaon_kept_mapping *kept)
{
    return (kept->size + KAON_PAGE_SIZE - 1) & -KAON_PAGE_SIZE;
}

/* At the options' address, or (0) where there is room; says where. */
enum kaon_status kaon__memory_map(struct kaon_memory *memory, uint64_t *address,
                                  struct kaon_region *region,
                                  const struct kaon_map_opts *opts,
                                  struct kaon_error *err);

/* On failure the machine may still know the mapping, which stays, and its
 * place taken: to be tried again. */
enum kaon_status kaon__memory_unmap(struct kaon_memory *memory,
                                    uint64_t address, struct kaon_error *err);
enum kaon_status kaon__memory_unmap_all(struct kaon_memory *memory,
                                        struct kaon_error *err);

/* Makes the mappings those of a snapshot, with what the guest wrote to them
 * then. On failure some may be gone, but memory else is as it was. */
enum kaon_status kaon__memory_remap(struct kaon_memory *memory,
                                    const struct kaon_snapshot *snapshot,
                                    struct kaon_error *err);

/* Tells a snapshot what is mapped. */
enum kaon_status kaon__memory_keep_mappings(const struct kaon_memory *memory,
                                            struct kaon_snapshot *snapshot,
                                            struct kaon_error *err);
void kaon__kept_mapping_finish(struct kaon_kept_mapping *kept);

/* Answers a fault in the window, of a page that is shown. */
enum kaon_fault_answer kaon__memory_map_fault(struct kaon_memory *memory,
                                              uint64_t page,
                                              enum kaon_access access);

/* Copies from the window, within a page: false if nothing is there. */
bool kaon__memory_map_read(const struct kaon_memory *memory, uint64_t address,
                           void *to, size_t size);

/* With a memory that ends: takes its mappings from the machine, when no space
 * shows them; or just frees them, when the machine is about to end. */
void kaon__memory_release_mappings(struct kaon_memory *memory);
void kaon__memory_forget_mappings(struct kaon_memory *memory);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mapping: a region as a memory shows it. It is attached to the machine for
 * itself, which is how it can be taken back where spaces only grow (backend.h).
 * The pages of KAON_MAP_COPY that the guest wrote lie in a buffer of its own.
 */
#ifndef KAON_SRC_HOST_MEMORY_MAPPING_H
#define KAON_SRC_HOST_MEMORY_MAPPING_H

#include "host/memory_map.h"
#include "host/region.h"

struct kaon_mapping {
    struct kaon_mapping *next;  /* at a higher address */
    struct kaon_region *region; /* a reference */
    struct kaon_region *copy;   /* KAON_MAP_COPY: what the guest wrote */
    uint64_t address, pages;
    uint64_t physical, copy_physical; /* 0: not attached */
    enum kaon_map_mode mode;
    char name[KAON_MAP_NAME_MAX + 1]; /* "": none */
    uint64_t copied_count;
    uint64_t copied[]; /* a bit for each page that shows `copy` */
};

/* Of a whole region, as a snapshot would keep it, but without any page that
 * the guest wrote; shown nowhere yet. */
enum kaon_status kaon__mapping_create(const struct kaon_memory *memory,
                                      struct kaon_mapping **out,
                                      const struct kaon_kept_mapping *as,
                                      struct kaon_error *err);

/* Attaches and shows it: on failure the memory shows nothing of it. */
enum kaon_status kaon__mapping_show(const struct kaon_memory *memory,
                                    struct kaon_mapping *mapping,
                                    struct kaon_error *err);

/* Takes it back: on failure nothing of it is shown, but the machine may still
 * have it. To be tried again, before it is freed. */
enum kaon_status kaon__mapping_hide(const struct kaon_memory *memory,
                                    struct kaon_mapping *mapping,
                                    struct kaon_error *err);

/* Frees one that no space shows, once the machine has let go of it. What that
 * would not let go of stays for ever: two failures in a row. */
void kaon__mapping_end(const struct kaon_memory *memory,
                       struct kaon_mapping *mapping);

/* Frees one of a machine that is about to end. */
void kaon__mapping_free(struct kaon_mapping *mapping);

/* ---- Copied pages ------------------------------------------------------ */

bool kaon__mapping_is_copied(const struct kaon_mapping *mapping, uint64_t page);
void kaon__mapping_set_copied(struct kaon_mapping *mapping, uint64_t page);

/* The first page from `page` on that is copied, or else is not; the number of
 * pages if there is none. */
uint64_t kaon__mapping_next(const struct kaon_mapping *mapping, uint64_t page,
                            bool copied);

static inline unsigned char *
kaon__mapping_copy_at(const struct kaon_mapping *mapping, uint64_t page)
{
    return mapping->copy->memory + page * KAON_PAGE_SIZE;
}

/* Gives copied pages what the region has, but for those that are kept. */
enum kaon_status kaon__mapping_renew(struct kaon_mapping *mapping,
                                     const struct kaon_kept_mapping *kept,
                                     struct kaon_error *err);

#endif

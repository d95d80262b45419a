/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory's pages, one by one: what the files of memory.h share.
 */
#ifndef KAON_SRC_HOST_MEMORY_PAGE_H
#define KAON_SRC_HOST_MEMORY_PAGE_H

#include "host/memory.h"

#define KAON_USER_END (UINT64_C(1) << 47)

#define KAON_NO_PAGES_LEFT \
    "the domain's memory is used up: raise memory_bytes, or destroy sandboxes"

static inline uint64_t page_of(uint64_t address)
{
    return address & -KAON_PAGE_SIZE;
}

static inline const struct kaon_backend *
backend_of(const struct kaon_memory *memory)
{
    return memory->machine->backend;
}

/* A page's content, now and in another state: NULL if it is zero, or not the
 * guest's to write. */
const unsigned char *kaon__memory_content(const struct kaon_memory *memory,
                                          uint64_t address);
const unsigned char *kaon__memory_content_in(const struct kaon_memory *memory,
                                             const struct kaon_snapshot *state,
                                             uint64_t address);

/* May the guest write a page, so that it is its own? */
bool kaon__memory_owns(const struct kaon_memory *memory, uint64_t address);

/*
 * Shows the guest pages of its own, writable, and returns where the host sees
 * them; NULL if there are none left. One page has its content; more are zero.
 */
unsigned char *kaon__memory_provide(struct kaon_memory *memory,
                                    uint64_t address, uint64_t pages);

/* Gives pages back to the arena. */
void kaon__memory_give(const struct kaon_memory *memory, uint64_t physical,
                       uint64_t pages);

/* For a guest that is to start: nothing of the last one counts. */
void kaon__memory_start(struct kaon_memory *memory);

/* Makes all pages hold their content, whatever they hold. */
void kaon__memory_renew(struct kaon_memory *memory);

#endif

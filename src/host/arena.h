/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena: a machine's guest-physical memory, handed out in pages.
 *
 * One contiguous range of host memory, reserved once. Single pages (private
 * pages, page tables) come from the bottom, so that they lie together; runs
 * of adjacent pages (argument areas) come from the top. Fresh pages are zero;
 * single pages that were given back are zeroed when they are handed out again.
 *
 * Threads: any; each function takes the arena's lock.
 */
#ifndef KAON_SRC_HOST_ARENA_H
#define KAON_SRC_HOST_ARENA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <kaon/error.h>

struct kaon_arena {
    unsigned char *base; /* borrowed */
    uint64_t size;
    uint64_t physical; /* what the machine calls base */

    pthread_mutex_t lock;
    uint64_t low;        /* offset: pages below were handed out at least once */
    uint64_t high;       /* offset: runs lie above */
    uint64_t free_pages; /* offset of the first free page, or NO_PAGE */
    uint64_t free_runs;  /* offset of the first free run, or NO_PAGE */
    uint64_t used;       /* bytes handed out now */
};

void kaon__arena_init(struct kaon_arena *arena, void *base, uint64_t size,
                      uint64_t physical);
void kaon__arena_finish(struct kaon_arena *arena);

/* One zeroed page's physical address, or 0 if the arena is full. */
uint64_t kaon__arena_page(struct kaon_arena *arena);

/* `pages` adjacent zeroed pages, or 0. */
uint64_t kaon__arena_run(struct kaon_arena *arena, uint64_t pages);

/* Give back what the two above returned; a run, zeroed. */
void kaon__arena_page_free(struct kaon_arena *arena, uint64_t physical);
void kaon__arena_run_free(struct kaon_arena *arena, uint64_t physical,
                          uint64_t pages);

/*
 * Joins what is free to larger pieces, as far as it can be: slow, for when an
 * arena seems full. What is free must be free for any purpose.
 */
void kaon__arena_compact(struct kaon_arena *arena);

/* Bytes handed out now. */
uint64_t kaon__arena_used(struct kaon_arena *arena);

/* Where the host sees a physical address of the arena. */
static inline void *kaon__arena_at(const struct kaon_arena *arena,
                                   uint64_t physical)
{
    return arena->base + (physical - arena->physical);
}

#endif

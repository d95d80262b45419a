/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands out an arena's pages.
 *
 * Owns no memory: the free lists are threaded through the free pages, which
 * no guest can see any more (see "a space only ever grows" in backend.h).
 * Invariant: pages below `low` were handed out at least once; the bytes from
 * there to `high` are zero, and so are free runs but for their links.
 */
#include "host/arena.h"

#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

#define NO_PAGE UINT64_MAX

/* The first bytes of a free page or run. */
struct free_link {
    uint64_t next;  /* offset of the next one, or NO_PAGE */
    uint64_t pages; /* of a run */
};

static struct free_link *link_at(const struct kaon_arena *arena,
                                 uint64_t offset)
{
    return (struct free_link *)(void *)(arena->base + offset);
}

void kaon__arena_init(struct kaon_arena *arena, void *base, uint64_t size,
                      uint64_t physical)
{
    *arena = (struct kaon_arena){
        .base = base,
        .size = size,
        .physical = physical,
        .high = size,
        .free_pages = NO_PAGE,
        .free_runs = NO_PAGE,
    };
    pthread_mutex_init(&arena->lock, NULL);
}

void kaon__arena_finish(struct kaon_arena *arena)
{
    pthread_mutex_destroy(&arena->lock);
}

uint64_t kaon__arena_page(struct kaon_arena *arena)
{
    uint64_t offset;
    bool fresh = false;

    pthread_mutex_lock(&arena->lock);
    offset = arena->free_pages;
    if (offset != NO_PAGE) {
        arena->free_pages = link_at(arena, offset)->next;
    } else if (arena->high - arena->low >= KAON_PAGE_SIZE) {
        offset = arena->low;
        arena->low += KAON_PAGE_SIZE;
        fresh = true;
    }
    if (offset != NO_PAGE)
        arena->used += KAON_PAGE_SIZE;
    pthread_mutex_unlock(&arena->lock);

    if (offset == NO_PAGE)
        return 0;
    if (!fresh)
        memset(arena->base + offset, 0, KAON_PAGE_SIZE);
    return arena->physical + offset;
}

/* The first free run that is long enough, cut to size; or NO_PAGE. */
static uint64_t take_free_run(struct kaon_arena *arena, uint64_t pages)
{
    uint64_t *from = &arena->free_runs;

    while (*from != NO_PAGE && link_at(arena, *from)->pages < pages)
        from = &link_at(arena, *from)->next;
    if (*from == NO_PAGE)
        return NO_PAGE;

    uint64_t offset = *from;
    struct free_link *run = link_at(arena, offset);

    if (run->pages > pages) {
        run->pages -= pages; /* the run keeps its head, its tail is taken */
        return offset + run->pages * KAON_PAGE_SIZE;
    }
    *from = run->next;
    *run = (struct free_link){ 0 };
    return offset;
}

uint64_t kaon__arena_run(struct kaon_arena *arena, uint64_t pages)
{
    uint64_t size = pages * KAON_PAGE_SIZE, offset;

    pthread_mutex_lock(&arena->lock);
    offset = take_free_run(arena, pages);
    if (offset == NO_PAGE && arena->high - arena->low >= size) {
        arena->high -= size;
        offset = arena->high;
    }
    if (offset != NO_PAGE)
        arena->used += size;
    pthread_mutex_unlock(&arena->lock);
    return offset == NO_PAGE ? 0 : arena->physical + offset;
}

void kaon__arena_page_free(struct kaon_arena *arena, uint64_t physical)
{
    uint64_t offset = physical - arena->physical;

    pthread_mutex_lock(&arena->lock);
    link_at(arena, offset)->next = arena->free_pages;
    arena->free_pages = offset;
    arena->used -= KAON_PAGE_SIZE;
    pthread_mutex_unlock(&arena->lock);
}

static uint64_t end_of(const struct kaon_arena *arena, uint64_t run)
{
    return run + link_at(arena, run)->pages * KAON_PAGE_SIZE;
}

/* A run takes up the next one in the list, if that begins where it ends. */
static void merge(struct kaon_arena *arena, uint64_t run)
{
    struct free_link *link = link_at(arena, run), *next;

    if (link->next == NO_PAGE || link->next != end_of(arena, run))
        return;
    next = link_at(arena, link->next);
    link->pages += next->pages;
    link->next = next->next;
    *next = (struct free_link){ 0 };
}

/* Free runs are sorted, and neighbours are one: sizes that differ would
 * otherwise cut each other up. */
void kaon__arena_run_free(struct kaon_arena *arena, uint64_t physical,
                          uint64_t pages)
{
    uint64_t offset = physical - arena->physical, before = NO_PAGE;
    uint64_t *from = &arena->free_runs;

    pthread_mutex_lock(&arena->lock);
    arena->used -= pages * KAON_PAGE_SIZE;
    while (*from < offset) { /* NO_PAGE is the greatest */
        before = *from;
        from = &link_at(arena, before)->next;
    }
    *link_at(arena, offset) =
        (struct free_link){ .next = *from, .pages = pages };
    *from = offset;
    merge(arena, offset);
    if (before != NO_PAGE)
        merge(arena, before);
    if (arena->free_runs == arena->high) {
        struct free_link *first = link_at(arena, arena->high);

        arena->high = end_of(arena, arena->free_runs);
        arena->free_runs = first->next;
        *first = (struct free_link){ 0 };
    }
    pthread_mutex_unlock(&arena->lock);
}

/* ---- Compaction -------------------------------------------------------- */

/* A free piece, page or run, while they are sorted. */
struct piece {
    uint64_t offset, pages;
};

static int by_offset(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* A list's pieces in ascending order; NULL if it is empty, or no memory. */
static struct piece *sorted_pieces(const struct kaon_arena *arena,
                                   uint64_t first, bool runs, size_t *count)
{
    struct piece *pieces;
    size_t n = 0;

    for (uint64_t at = first; at != NO_PAGE; at = link_at(arena, at)->next)
        n++;
    pieces = n ? malloc(n * sizeof *pieces) : NULL;
    if (!pieces)
        return NULL;
    *count = n;
    n = 0;
    for (uint64_t at = first; at != NO_PAGE; at = link_at(arena, at)->next)
        pieces[n++] =
            (struct piece){ at, runs ? link_at(arena, at)->pages : 1 };
    qsort(pieces, n, sizeof *pieces, by_offset);
    return pieces;
}

/* Free pages at the end of what pages took go back to the middle. */
static void compact_pages(struct kaon_arena *arena)
{
    size_t count;
    struct piece *pages =
        sorted_pieces(arena, arena->free_pages, false, &count);

    if (!pages)
        return;
    while (count && pages[count - 1].offset + KAON_PAGE_SIZE == arena->low) {
        arena->low -= KAON_PAGE_SIZE;
        memset(arena->base + arena->low, 0, KAON_PAGE_SIZE);
        count--;
    }
    arena->free_pages = NO_PAGE;
    while (count--) {
        link_at(arena, pages[count].offset)->next = arena->free_pages;
        arena->free_pages = pages[count].offset;
    }
    free(pages);
}

/* So do free runs; and adjacent ones become one. */
static void compact_runs(struct kaon_arena *arena)
{
    size_t count, at = 0;
    struct piece *runs = sorted_pieces(arena, arena->free_runs, true, &count);

    if (!runs)
        return;
    for (size_t i = 0; i < count; i++)
        *link_at(arena, runs[i].offset) = (struct free_link){ 0 };
    while (at < count && runs[at].offset == arena->high)
        arena->high += runs[at++].pages * KAON_PAGE_SIZE;
    arena->free_runs = NO_PAGE;
    while (count-- > at) {
        struct piece *run = &runs[count];

        if (count > at &&
            run[-1].offset + run[-1].pages * KAON_PAGE_SIZE == run->offset) {
            run[-1].pages += run->pages;
            continue;
        }
        *link_at(arena, run->offset) =
            (struct free_link){ arena->free_runs, run->pages };
        arena->free_runs = run->offset;
    }
    free(runs);
}

void kaon__arena_compact(struct kaon_arena *arena)
{
    pthread_mutex_lock(&arena->lock);
    compact_pages(arena);
    compact_runs(arena);
    pthread_mutex_unlock(&arena->lock);
}

uint64_t kaon__arena_used(struct kaon_arena *arena)
{
    uint64_t used;

    pthread_mutex_lock(&arena->lock);
    used = arena->used;
    pthread_mutex_unlock(&arena->lock);
    return used;
}

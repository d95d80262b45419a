/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which state a memory is in: put back into one, and compared with it.
 *
 * Owns nothing. Contents are copied over what a guest left; no page is taken
 * from it, and none is remapped but by kaon__memory_make_fit().
 */
#include "host/memory_page.h"

#include <stdlib.h>
#include <string.h>

#include "host/arena.h"
#include "host/error.h"
#include "host/image.h"
#include "host/snapshot.h"
#include "host/view.h"

/* Up to here a reset clears page by page; beyond, the host takes them back. */
#define RESET_BY_HAND 64

/* The same for the argument area, in restores: a page that is taken back costs
 * as much as some twenty cleared when it is touched again. */
#define AREA_BY_HAND 4096

static void renew_page(const struct kaon_memory *memory,
                       const struct kaon_extent *extent)
{
    unsigned char *at =
        kaon__arena_at(memory->machine->arena, extent->physical);

    if (extent->content)
        kaon__snapshot_read(memory->state, extent->content, at, KAON_PAGE_SIZE);
    else
        memset(at, 0, KAON_PAGE_SIZE);
}

/* Where an extent has what lies at an address, if it does; and how much of
 * `pages` from there on. */
static unsigned char *part_of(const struct kaon_memory *memory,
                              const struct kaon_extent *extent,
                              uint64_t *address, uint64_t *pages)
{
    uint64_t end = *address + *pages * KAON_PAGE_SIZE;
    uint64_t extent_end = extent->address + extent->pages * KAON_PAGE_SIZE;

    if (*address < extent->address)
        *address = extent->address;
    if (end > extent_end)
        end = extent_end;
    if (*address >= end)
        return NULL;
    *pages = (end - *address) / KAON_PAGE_SIZE;
    return (unsigned char *)kaon__arena_at(memory->machine->arena,
                                           extent->physical) +
           (*address - extent->address);
}

static void copy_part(const struct kaon_memory *memory,
                      const struct kaon_extent *extent, uint64_t address,
                      uint64_t pages, const unsigned char *content)
{
    uint64_t from = address;
    unsigned char *at = part_of(memory, extent, &address, &pages);

    if (at)
        kaon__snapshot_read(memory->state, content + (address - from), at,
                            pages * KAON_PAGE_SIZE);
}

/* A search for pages of an extent that were ever touched. */
struct touched {
    uint64_t physical, left; /* where to look, and how far */
    uint64_t first, count;   /* found */
};

static bool next_touched(const struct kaon_memory *memory,
                         struct touched *touched)
{
    const struct kaon_backend *backend = backend_of(memory);
    uint64_t end = touched->physical + touched->left * KAON_PAGE_SIZE;

    if (touched->left == 0)
        return false;
    if (!backend->space_touched) {
        touched->first = touched->physical;
        touched->count = touched->left;
    } else if (!backend->space_touched(memory->machine, memory->space,
                                       touched->physical, touched->left,
                                       &touched->first, &touched->count)) {
        return false;
    }
    touched->physical = touched->first + touched->count * KAON_PAGE_SIZE;
    touched->left = (end - touched->physical) / KAON_PAGE_SIZE;
    return true;
}

static struct touched touched_of(const struct kaon_extent *extent)
{
    return (struct touched){ .physical = extent->physical,
                             .left = extent->pages };
}

uint64_t kaon__memory_touched_bytes(const struct kaon_memory *memory)
{
    uint64_t bytes = kaon__memory_bytes(memory);

    if (!backend_of(memory)->space_touched)
        return bytes;
    for (uint32_t i = 0; i < memory->extent_count; i++) {
        struct touched touched = touched_of(&memory->extents[i]);

        bytes -= touched.left * KAON_PAGE_SIZE;
        while (next_touched(memory, &touched))
            bytes += touched.count * KAON_PAGE_SIZE;
    }
    return bytes;
}

/* Clears pages whose content is zero. */
static void clear_touched(const struct kaon_memory *memory,
                          const struct kaon_extent *extent)
{
    struct touched touched = touched_of(extent);

    while (next_touched(memory, &touched)) {
        unsigned char *at =
            kaon__arena_at(memory->machine->arena, touched.first);
        uint64_t address = extent->address + (touched.first - extent->physical);

        for (uint64_t k = 0; k < touched.count; k++)
            if (!kaon__memory_content(memory, address + k * KAON_PAGE_SIZE))
                memset(at + k * KAON_PAGE_SIZE, 0, KAON_PAGE_SIZE);
    }
}

/* Where the state has nothing else. */
static void copy_region(const struct kaon_memory *memory,
                        const struct kaon_extent *extent,
                        const struct kaon_image_region *region)
{
    const unsigned char *content = memory->view->image->memory + region->offset;

    for (uint64_t i = 0, pages; i < region->pages; i += pages) {
        uint64_t address = region->address + i * KAON_PAGE_SIZE;

        pages = kaon__snapshot_reach(memory->state, address);
        if (pages > region->pages - i)
            pages = region->pages - i;
        if (!kaon__snapshot_page(memory->state, address))
            copy_part(memory, extent, address, pages,
                      content + i * KAON_PAGE_SIZE);
    }
}

/* Many pages, most of them zero and never touched. */
static void renew_run(struct kaon_memory *memory,
                      const struct kaon_extent *extent)
{
    const struct kaon_image *image = memory->view->image;
    const struct kaon_snapshot *state = memory->state;

    clear_touched(memory, extent);
    for (uint32_t i = 0; i < image->region_count; i++)
        if (image->regions[i].writable)
            copy_region(memory, extent, &image->regions[i]);
    for (uint32_t i = 0; state && i < state->run_count; i++)
        copy_part(memory, extent, state->runs[i].address, state->runs[i].pages,
                  kaon__snapshot_page(state, state->runs[i].address));
}

void kaon__memory_renew(struct kaon_memory *memory)
{
    for (uint32_t i = 0; i < memory->extent_count; i++) {
        const struct kaon_extent *extent = &memory->extents[i];

        if (extent->pages > 1)
            renew_run(memory, extent);
        else
            renew_page(memory, extent);
    }
}

/* Faults so far say nothing of the next guest's. */
static void forget_growth(struct kaon_memory *memory)
{
    memory->stack.expected = memory->heap.expected = 0;
    memory->stack.window = memory->heap.window = 1;
    memory->stale = 0;
}

void kaon__memory_start(struct kaon_memory *memory)
{
    /* The last that the state's guest knows is another. */
    memory->generation = memory->state ? memory->state->generation + 1 : 0;
    memory->faults = memory->copied = memory->zeroed = 0;
    forget_growth(memory);
}

/* Many pages are cheaper to take back than to clear, and then cost nothing. */
static void discard_pages(struct kaon_memory *memory)
{
    uint32_t i = 0;

    while (i < memory->extent_count) {
        uint64_t first = memory->extents[i].physical, count = 1;

        while (++i < memory->extent_count &&
               memory->extents[i].physical == first + count * KAON_PAGE_SIZE)
            count++;
        backend_of(memory)->discard(memory->machine, first, count);
    }
}

void kaon__memory_adopt(struct kaon_memory *memory,
                        struct kaon_snapshot *snapshot)
{
    struct kaon_snapshot *before = memory->state;

    memory->state = kaon_snapshot_hold(snapshot);
    kaon_snapshot_destroy(before);
    for (uint32_t i = 0; i < memory->extent_count; i++)
        memory->extents[i].content =
            kaon__memory_content(memory, memory->extents[i].address);
}

static void clear_area(struct kaon_memory *memory, bool discard)
{
    uint64_t pages = memory->area_touched;

    if (pages == 0)
        return;
    if (discard || pages > AREA_BY_HAND)
        backend_of(memory)->discard(memory->machine, memory->area_physical,
                                    pages);
    else
        memset(kaon__arena_at(memory->machine->arena, memory->area_physical), 0,
               pages * KAON_PAGE_SIZE);
}

void kaon__memory_restore(struct kaon_memory *memory,
                          struct kaon_snapshot *snapshot)
{
    if (memory->state != snapshot)
        kaon__memory_adopt(memory, snapshot);
    kaon__memory_renew(memory);
    clear_area(memory, false);
    if (snapshot && memory->generation < snapshot->generation)
        memory->generation = snapshot->generation;
    memory->generation++;
    forget_growth(memory);
}

void kaon__memory_reset(struct kaon_memory *memory)
{
    bool discard = memory->extent_count > RESET_BY_HAND;

    kaon__memory_adopt(memory, memory->view->snapshot);
    if (discard)
        discard_pages(memory);
    for (uint32_t i = 0; i < memory->extent_count; i++) {
        const struct kaon_extent *extent = &memory->extents[i];

        if (!discard || extent->content)
            renew_page(memory, extent);
    }
    clear_area(memory, true);
    kaon__memory_start(memory);
}

/* ---- Other states ------------------------------------------------------ */

/* Does a page show something else than it is to have in another state? */
static bool conflicts(const struct kaon_memory *memory,
                      const struct kaon_snapshot *snapshot, uint64_t address)
{
    const unsigned char *shown =
        kaon__memory_content_in(memory, memory->view->snapshot, address);

    return shown &&
           shown != kaon__memory_content_in(memory, snapshot, address) &&
           !kaon__memory_owns(memory, address);
}

/* From an address on: pages that two snapshots certainly have in common. One
 * taken of a sandbox that came from the other shares most of its runs. */
static uint64_t shared_pages(const struct kaon_snapshot *a,
                             const struct kaon_snapshot *b, uint64_t address)
{
    uint64_t of_a = kaon__snapshot_reach(a, address);
    uint64_t of_b = kaon__snapshot_reach(b, address);

    if (kaon__snapshot_page(a, address) != kaon__snapshot_page(b, address))
        return 0;
    return of_a < of_b ? of_a : of_b;
}

/* The next page from *address on, of all that `pages` has, that conflicts;
 * false if none does. */
static bool next_conflict(const struct kaon_memory *memory,
                          const struct kaon_snapshot *snapshot,
                          const struct kaon_snapshot *pages, uint64_t *address)
{
    const struct kaon_snapshot *seen = memory->view->snapshot;

    for (uint32_t i = 0; pages && i < pages->run_count; i++) {
        const struct kaon_run *run = &pages->runs[i];
        uint64_t end = run->address + run->pages * KAON_PAGE_SIZE;

        if (*address < run->address)
            *address = run->address;
        while (*address < end) {
            uint64_t left = (end - *address) / KAON_PAGE_SIZE;
            uint64_t shared = shared_pages(seen, snapshot, *address);

            if (shared == 0 && conflicts(memory, snapshot, *address))
                return true;
            shared = shared ? shared : 1;
            *address += (shared < left ? shared : left) * KAON_PAGE_SIZE;
        }
    }
    return false;
}

bool kaon__memory_fits(const struct kaon_memory *memory,
                       const struct kaon_snapshot *snapshot)
{
    const struct kaon_snapshot *seen = memory->view->snapshot;
    uint64_t first = 0, second = 0;

    return memory->state == snapshot || seen == snapshot ||
           !backend_of(memory)->spaces_grow ||
           (!next_conflict(memory, snapshot, seen, &first) &&
            !next_conflict(memory, snapshot, snapshot, &second));
}

static bool own_conflicts(struct kaon_memory *memory,
                          const struct kaon_snapshot *snapshot,
                          const struct kaon_snapshot *pages)
{
    uint64_t address = 0;

    while (next_conflict(memory, snapshot, pages, &address))
        if (!kaon__memory_provide(memory, address, 1))
            return false;
    return true;
}

enum kaon_status kaon__memory_make_fit(struct kaon_memory *memory,
                                       const struct kaon_snapshot *snapshot,
                                       struct kaon_error *err)
{
    if (!own_conflicts(memory, snapshot, memory->view->snapshot) ||
        !own_conflicts(memory, snapshot, snapshot))
        return kaon__fail(err, KAON_ENOMEM, KAON_NO_PAGES_LEFT);
    return KAON_OK;
}

static bool is_changed(const struct kaon_memory *memory,
                       const unsigned char *at, uint64_t address)
{
    static const unsigned char zero[KAON_PAGE_SIZE];
    const unsigned char *content = kaon__memory_content(memory, address);

    return !kaon__snapshot_equal(memory->state, content ? content : zero, at);
}

static bool in_exchange(const struct kaon_memory *memory, uint64_t address)
{
    return address >= memory->mailbox && address < memory->heap.low;
}

static int by_address(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Writes the addresses of pages that changed to out; returns how many. */
static size_t changes_in(const struct kaon_memory *memory,
                         const struct kaon_extent *extent,
                         const struct touched *touched, uint64_t *out)
{
    const unsigned char *at =
        kaon__arena_at(memory->machine->arena, touched->first);
    uint64_t address = extent->address + (touched->first - extent->physical);
    size_t found = 0;

    for (uint64_t k = 0; k < touched->count; k++) {
        if (!in_exchange(memory, address) && is_changed(memory, at, address))
            out[found++] = address;
        address += KAON_PAGE_SIZE;
        at += KAON_PAGE_SIZE;
    }
    return found;
}

enum kaon_status kaon__memory_changes(const struct kaon_memory *memory,
                                      uint64_t **out, size_t *count,
                                      struct kaon_error *err)
{
    size_t most = kaon__memory_bytes(memory) / KAON_PAGE_SIZE, found = 0;
    uint64_t *addresses = malloc(most * sizeof *addresses);

    if (!addresses)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a snapshot");
    for (uint32_t i = 0; i < memory->extent_count; i++) {
        const struct kaon_extent *extent = &memory->extents[i];
        struct touched touched = touched_of(extent);

        while (next_touched(memory, &touched))
            found += changes_in(memory, extent, &touched, addresses + found);
    }
    qsort(addresses, found, sizeof *addresses, by_address);
    *out = addresses;
    *count = found;
    return KAON_OK;
}

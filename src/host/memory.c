/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory's life, and what the host reads and writes of it: frames and slots
 * (by copy), and words of the guest's stack for backtraces.
 */
#include "host/memory_page.h"

#include <stdlib.h>
#include <string.h>

#include "host/arena.h"
#include "host/error.h"
#include "host/image.h"
#include "host/memory_mapping.h"
#include "host/seed.h"
#include "host/snapshot.h"
#include "host/view.h"

/* Below the stack: as far as a compiler's stack probes step, and then some. */
#define GUARD_SIZE (UINT64_C(64) << 10)

/* Between image and guard, so that to run past the data is not taken for
 * running out of stack. */
#define GAP_SIZE (UINT64_C(64) << 10)

/* What one page table shows: the window has its own. */
#define TABLE_SIZE (UINT64_C(2) << 20)

/* Data pages of an image up to which a sandbox gets its copies at once. */
#define EAGER_DATA_PAGES 4

/* What there is of an argument area at first, and then twice as much. */
#define AREA_FIRST_PAGES 16

static uint64_t data_pages(const struct kaon_image *image)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < image->region_count; i++)
        if (image->regions[i].writable)
            pages += image->regions[i].pages;
    return pages;
}

/* ---- What a guest starts with ------------------------------------------ */

/* A few data pages at once; more, as they are written. */
static bool provide_data(struct kaon_memory *memory)
{
    const struct kaon_image *image = memory->view->image;

    if (data_pages(image) > EAGER_DATA_PAGES)
        return true;
    for (uint32_t i = 0; i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];

        for (uint64_t k = 0; region->writable && k < region->pages; k++)
            if (!kaon__memory_provide(memory,
                                      region->address + k * KAON_PAGE_SIZE, 1))
                return false;
    }
    return true;
}

/* All of a snapshot that its view does not show. */
static bool provide_small(struct kaon_memory *memory)
{
    const struct kaon_snapshot *state = memory->state;

    for (uint32_t i = 0; i < state->run_count; i++)
        for (uint64_t k = 0; k < state->runs[i].pages; k++) {
            uint64_t address = state->runs[i].address + k * KAON_PAGE_SIZE;

            if (!kaon__memory_owns(memory, address) &&
                !kaon__memory_provide(memory, address, 1))
                return false;
        }
    return true;
}

/* What others that began in this state wrote. */
static bool provide_write_set(struct kaon_memory *memory)
{
    uint64_t pages[KAON_WRITE_SET_MAX];
    uint32_t count = kaon__snapshot_give_write_set(memory->state, pages);

    for (uint32_t i = 0; i < count; i++)
        if (!kaon__memory_owns(memory, pages[i]) &&
            !kaon__memory_provide(memory, pages[i], 1))
            return false;
    return true;
}

/* The mailbox, and the stack's first page; the rest as it is touched. */
static bool provide_start(struct kaon_memory *memory)
{
    bool small = memory->state && kaon__snapshot_is_small(memory->state);

    memory->mailbox_page = kaon__memory_provide(memory, memory->mailbox, 1);
    return memory->mailbox_page &&
           kaon__memory_provide(memory, memory->stack.high - KAON_PAGE_SIZE,
                                1) &&
           (!small || provide_small(memory)) &&
           (memory->state ? provide_write_set(memory) : provide_data(memory));
}

/* Stack, exchange and heap, in one piece as they lie, and all data. */
static bool provide_all(struct kaon_memory *memory)
{
    const struct kaon_image *image = memory->view->image;
    uint64_t size = memory->heap.high - memory->stack.low;
    unsigned char *at =
        kaon__memory_provide(memory, memory->stack.low, size / KAON_PAGE_SIZE);

    if (!at)
        return false;
    memory->mailbox_page = at + (memory->mailbox - memory->stack.low);
    memory->area_pages = memory->sizes.exchange / KAON_PAGE_SIZE - 1;
    if (memory->area_pages)
        memory->area = memory->mailbox_page + KAON_PAGE_SIZE;
    for (uint32_t i = 0; i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];

        if (region->writable &&
            !kaon__memory_provide(memory, region->address, region->pages))
            return false;
    }
    return true;
}

/* ---- Life -------------------------------------------------------------- */

static void lay_out(struct kaon_memory *memory)
{
    const struct kaon_sizes *sizes = &memory->sizes;

    memory->guard = kaon__image_end(memory->view->image) + GAP_SIZE;
    memory->stack.low = memory->guard + GUARD_SIZE;
    memory->stack.high = memory->stack.low + sizes->stack;
    memory->mailbox = memory->stack.high;
    memory->heap.low = memory->mailbox + sizes->exchange;
    memory->heap.high = memory->heap.low + sizes->heap;
    memory->window.low = kaon__memory_places(memory->view->image, sizes).window;
    memory->window.high = memory->window.low + sizes->map;
}

void kaon__memory_begin(struct kaon_memory *memory,
                        const struct kaon_seed *seed)
{
    struct kaon_mailbox *mailbox = (void *)memory->mailbox_page;

    memset(mailbox, 0, offsetof(struct kaon_mailbox, payload));
    mailbox->magic = KAON_MAILBOX_MAGIC;
    mailbox->abi_version = KAON_ABI_VERSION;
    mailbox->exchange_size = (uint32_t)memory->sizes.exchange;
    mailbox->heap = memory->heap.low;
    mailbox->heap_size = memory->sizes.heap;
    mailbox->stack_low = memory->stack.low;
    mailbox->stack_high = memory->stack.high;
    mailbox->generation = memory->generation;
    memcpy(mailbox->seed, seed->words, sizeof mailbox->seed);
}

uint64_t kaon__memory_bound(const struct kaon_image *image,
                            const struct kaon_sizes *sizes)
{
    uint64_t own = sizes->heap + sizes->stack + sizes->exchange +
                   data_pages(image) * KAON_PAGE_SIZE;
    uint64_t shown = own + kaon__image_end(image) - image->regions[0].address;

    /* View and sandbox have tables for all they show, each with up to two
     * half-filled ones, and some for upper levels; the sandbox those of its
     * window; the machine a few pages of its own. */
    return own + 2 * (shown / TABLE_SIZE) * KAON_PAGE_SIZE +
           (sizes->map / TABLE_SIZE) * KAON_PAGE_SIZE +
           (sizes->map >> 30) * KAON_PAGE_SIZE + 72 * KAON_PAGE_SIZE;
}

struct kaon_places kaon__memory_places(const struct kaon_image *image,
                                       const struct kaon_sizes *sizes)
{
    uint64_t stack = kaon__image_end(image) + GAP_SIZE + GUARD_SIZE;
    uint64_t exchange = stack + sizes->stack;
    uint64_t heap = exchange + sizes->exchange;

    return (struct kaon_places){
        .stack = stack,
        .exchange = exchange,
        .heap = heap,
        .window =
            (heap + sizes->heap + GAP_SIZE + TABLE_SIZE - 1) & -TABLE_SIZE,
    };
}

bool kaon__memory_can_own(const struct kaon_image *image,
                          const struct kaon_sizes *sizes, uint64_t address,
                          uint64_t pages)
{
    const struct kaon_places at = kaon__memory_places(image, sizes);
    const struct kaon_image_region *region = kaon__image_region(image, address);

    if (region)
        return region->writable &&
               pages <=
                   region->pages - (address - region->address) / KAON_PAGE_SIZE;
    if (address >= at.stack && address < at.exchange)
        return pages <= (at.exchange - address) / KAON_PAGE_SIZE;
    return address >= at.heap && address - at.heap < sizes->heap &&
           pages <= (at.heap + sizes->heap - address) / KAON_PAGE_SIZE;
}

enum kaon_status kaon__memory_create(struct kaon_memory **out,
                                     struct kaon_machine *machine,
                                     struct kaon_view *view,
                                     const struct kaon_sizes *sizes,
                                     struct kaon_error *err)
{
    struct kaon_memory *memory = calloc(1, sizeof *memory);
    enum kaon_status status;

    if (!memory)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
    memory->machine = machine;
    memory->view = view;
    memory->sizes = *sizes;
    lay_out(memory);
    memory->state = kaon_snapshot_hold(view->snapshot);
    kaon__memory_start(memory);
    status = machine->backend->space_create(machine, &memory->space,
                                            view->space, err);
    if (status)
        goto release;
    if (!(machine->backend->spaces_grow ? provide_start(memory)
                                        : provide_all(memory))) {
        status = kaon__fail(err, KAON_ENOMEM, KAON_NO_PAGES_LEFT);
        goto release;
    }
    if (!machine->backend->spaces_grow)
        kaon__memory_renew(memory);
    status = machine->backend->space_seal(machine, memory->space, err);
    if (status)
        goto release;
    memory->copied = memory->zeroed = 0;
    *out = memory;
    return KAON_OK;

release:
    kaon__memory_release(memory);
    return status;
}

void kaon__memory_destroy(struct kaon_memory *memory)
{
    kaon__memory_forget_mappings(memory);
    kaon_snapshot_destroy(memory->state);
    free(memory->extents);
    free(memory);
}

void kaon__memory_release(struct kaon_memory *memory)
{
    /* First the space: whatever runs in it, no longer does. */
    backend_of(memory)->space_destroy(memory->machine, memory->space);
    kaon__memory_release_mappings(memory);
    for (uint32_t i = 0; i < memory->extent_count; i++)
        kaon__memory_give(memory, memory->extents[i].physical,
                          memory->extents[i].pages);
    if (memory->area_physical)
        kaon__memory_give(memory, memory->area_physical,
                          memory->sizes.exchange / KAON_PAGE_SIZE - 1);
    kaon__memory_destroy(memory);
}

uint64_t kaon__memory_bytes(const struct kaon_memory *memory)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < memory->extent_count; i++)
        bytes += memory->extents[i].pages * KAON_PAGE_SIZE;
    bytes += memory->area_touched * KAON_PAGE_SIZE;
    for (const struct kaon_mapping *m = memory->mappings; m; m = m->next)
        bytes += m->copied_count * KAON_PAGE_SIZE;
    return bytes;
}

/* ---- The exchange ------------------------------------------------------ */

/* How many pages it is to have; no more than it has if that is enough. */
static uint64_t area_goal(const struct kaon_memory *memory, uint64_t bytes)
{
    uint64_t most = memory->sizes.exchange / KAON_PAGE_SIZE - 1;
    uint64_t goal = memory->area_pages ? memory->area_pages : AREA_FIRST_PAGES;

    while (goal < most && goal * KAON_PAGE_SIZE < bytes)
        goal *= 2;
    return goal < most ? goal : most;
}

/*
 * The area is one run, so that the host can use what lies in it in place. Of
 * that, only a beginning is mapped and used, since what is there is cleared at
 * each restore: it grows as it is needed, and never shrinks.
 */
enum kaon_status kaon__memory_need_area(struct kaon_memory *memory,
                                        uint64_t bytes, struct kaon_error *err)
{
    struct kaon_arena *arena = memory->machine->arena;
    uint64_t most = memory->sizes.exchange / KAON_PAGE_SIZE - 1;
    uint64_t goal = area_goal(memory, bytes), pages = memory->area_pages;
    enum kaon_status status;

    if (goal == pages)
        return KAON_OK;
    if (!memory->area_physical)
        memory->area_physical = kaon__arena_run(arena, most);
    if (!memory->area_physical)
        return kaon__fail(err, KAON_ENOMEM,
                          "the domain's memory has no %llu KiB for an "
                          "argument area: raise memory_bytes, or lower "
                          "exchange_bytes",
                          (unsigned long long)most * 4);
    /* Mapped in part once, its addresses can show nothing else any more: the
     * rest may find room for its tables later. */
    if (memory->area_touched < goal)
        memory->area_touched = goal;
    status = backend_of(memory)->space_map(
        memory->machine, memory->space,
        memory->mailbox + (1 + pages) * KAON_PAGE_SIZE,
        memory->area_physical + pages * KAON_PAGE_SIZE, goal - pages,
        KAON_PROTECT_WRITE, err);
    if (status)
        return status;
    memory->area = kaon__arena_at(arena, memory->area_physical);
    memory->area_pages = goal;
    memory->zeroed += goal - pages;
    return KAON_OK;
}

/* ---- A resident guest's turn ------------------------------------------- */

static struct kaon_gate_words *gate_words(const struct kaon_memory *memory)
{
    void *words = memory->mailbox_page + offsetof(struct kaon_mailbox, gate);

    return words;
}

void kaon__memory_gate_open(struct kaon_memory *memory, uint64_t call,
                            uint32_t looks)
{
    *gate_words(memory) = (struct kaon_gate_words){
        .call = call,
        .stack = memory->stack.high,
        .looks = looks,
    };
    *kaon__memory_turn(memory) = KAON_TURN_OF_HOST;
}

void kaon__memory_gate_close(struct kaon_memory *memory)
{
    *gate_words(memory) = (struct kaon_gate_words){ 0 };
    *kaon__memory_turn(memory) = 0;
}

bool kaon__memory_turn_sleep(struct kaon_memory *memory)
{
    uint32_t turn = KAON_TURN_OF_GUEST;

    return __atomic_compare_exchange_n(kaon__memory_turn(memory), &turn,
                                       KAON_TURN_OF_GUEST_ALONE, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ||
           turn == KAON_TURN_OF_GUEST_ALONE;
}

/* ---- Looking at guest memory ------------------------------------------- */

/* Where the host sees what a guest address shows; NULL if nothing. */
static const unsigned char *see(const struct kaon_memory *memory,
                                uint64_t address)
{
    const struct kaon_arena *arena = memory->machine->arena;
    uint64_t physical;
    unsigned protection;

    if (address >= KAON_USER_END ||
        !backend_of(memory)->space_look(memory->machine, memory->space,
                                        page_of(address), &physical,
                                        &protection))
        return NULL;
    physical += address % KAON_PAGE_SIZE;
    if (physical - arena->physical < arena->size)
        return kaon__arena_at(arena, physical);
    return kaon__view_at(memory->view, physical);
}

/* Within a page. */
static bool read_part(const struct kaon_memory *memory, uint64_t address,
                      void *to, size_t size)
{
    const unsigned char *from;

    if (address >= memory->window.low)
        return kaon__memory_map_read(memory, address, to, size);
    from = see(memory, address);
    if (from)
        kaon__snapshot_read(memory->view->snapshot, from, to, size);
    return from;
}

bool kaon__memory_read(const struct kaon_memory *memory, uint64_t address,
                       void *to, size_t size)
{
    unsigned char *at = to;

    while (size) {
        size_t part = KAON_PAGE_SIZE - address % KAON_PAGE_SIZE;

        if (part > size)
            part = size;
        if (!read_part(memory, address, at, part))
            return false;
        at += part;
        address += part;
        size -= part;
    }
    return true;
}

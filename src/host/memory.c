/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one file that touches guest memory.
 *
 * Owns each sandbox's private pages, through the arena. Reads nothing from a
 * guest but frames and slots (by copy), and words of its stack for backtraces.
 */
#include "host/memory.h"

#include <stdlib.h>
#include <string.h>

#include "host/arena.h"
#include "host/error.h"
#include "host/image.h"

/* Below the stack: as far as a compiler's stack probes step, and then some. */
#define GUARD_SIZE (UINT64_C(64) << 10)

/* Between image and guard, so that to run past the data is not taken for
 * running out of stack. */
#define GAP_SIZE (UINT64_C(64) << 10)

/* Data pages of an image up to which a sandbox gets its copies at once. */
#define EAGER_DATA_PAGES 4

/* Pages that one fault provides at most, if faults come in sequence. */
#define WINDOW_MAX 64

/* Faults in a row that ask for what is there: more are not the CPU's cache. */
#define STALE_MAX 16

/* Up to here a reset clears page by page; beyond, the host takes them back. */
#define RESET_BY_HAND 64
#define NO_PAGES_LEFT \
    "the domain's memory is used up: raise memory_bytes, or destroy sandboxes"

#define USER_END (UINT64_C(1) << 47)

static uint64_t page_of(uint64_t address)
{
    return address & -KAON_PAGE_SIZE;
}

static const struct kaon_image_region *region_at(const struct kaon_image *image,
                                                 uint64_t address)
{
    for (uint32_t i = 0; i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];

        if (address - region->address < region->pages * KAON_PAGE_SIZE)
            return region;
    }
    return NULL;
}

static uint64_t image_end(const struct kaon_image *image)
{
    const struct kaon_image_region *last =
        &image->regions[image->region_count - 1];

    return last->address + last->pages * KAON_PAGE_SIZE;
}

static uint64_t data_pages(const struct kaon_image *image)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < image->region_count; i++)
        if (image->regions[i].writable)
            pages += image->regions[i].pages;
    return pages;
}

static const struct kaon_backend *backend_of(const struct kaon_memory *memory)
{
    return memory->machine->backend;
}

/* ---- Views ------------------------------------------------------------- */

/* Everything is read-only here: a writable page is copied when written. */
static enum kaon_status map_image(struct kaon_machine *machine,
                                  const struct kaon_view *view,
                                  struct kaon_error *err)
{
    const struct kaon_image *image = view->image;
    enum kaon_status status = KAON_OK;

    for (uint32_t i = 0; !status && i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];

        status = machine->backend->space_map(
            machine, view->space, region->address,
            view->physical + region->offset, region->pages,
            region->executable ? KAON_PROTECT_EXECUTE : KAON_PROTECT_READ, err);
    }
    return status;
}

enum kaon_status kaon__view_show(struct kaon_view *view,
                                 struct kaon_machine *machine,
                                 struct kaon_error *err)
{
    enum kaon_status status = machine->backend->space_create(
        machine, &view->space, (struct kaon_space){ 0 }, err);

    if (!status)
        status = map_image(machine, view, err);
    if (status)
        kaon__view_hide(view, machine);
    return status;
}

void kaon__view_hide(struct kaon_view *view, struct kaon_machine *machine)
{
    machine->backend->space_destroy(machine, view->space);
    view->space.root = 0;
}

enum kaon_status kaon__view_create(struct kaon_view **out,
                                   struct kaon_machine *machine,
                                   struct kaon_image *image,
                                   struct kaon_error *err)
{
    struct kaon_view *view = calloc(1, sizeof *view);
    enum kaon_status status;

    if (!view)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for an image");
    view->image = kaon__image_hold(image);
    status = machine->backend->machine_attach(
        machine, image->memory, image->memory_fd, image->memory_size,
        &view->physical, err);
    if (status) {
        kaon__view_destroy(view);
        return status;
    }
    *out = view;
    return KAON_OK;
}

void kaon__view_destroy(struct kaon_view *view)
{
    kaon_image_destroy(view->image);
    free(view);
}

/* ---- Pages ------------------------------------------------------------- */

/* Room to note one more extent, so that noting cannot fail later. */
static bool make_room(struct kaon_memory *memory)
{
    uint32_t room = memory->extent_room ? 2 * memory->extent_room : 8;
    struct kaon_extent *extents;

    if (memory->extent_count < memory->extent_room)
        return true;
    if (room > UINT32_MAX / 4)
        return false;
    extents = realloc(memory->extents, room * sizeof *extents);
    if (!extents)
        return false;
    memory->extents = extents;
    memory->extent_room = room;
    return true;
}

static uint64_t take(struct kaon_arena *arena, uint64_t pages)
{
    return pages == 1 ? kaon__arena_page(arena) : kaon__arena_run(arena, pages);
}

static void give(const struct kaon_memory *memory, uint64_t physical,
                 uint64_t pages)
{
    struct kaon_arena *arena = memory->machine->arena;

    if (pages == 1) {
        kaon__arena_page_free(arena, physical);
    } else {
        backend_of(memory)->discard(memory->machine, physical, pages);
        kaon__arena_run_free(arena, physical, pages);
    }
}

/*
 * Shows the guest pages of its own, writable, filled from `content` (zeroes
 * if NULL), and returns where the host sees them; NULL if there are none left.
 */
static unsigned char *provide(struct kaon_memory *memory, uint64_t address,
                              uint64_t pages, const unsigned char *content)
{
    uint64_t physical;
    unsigned char *at;

    memory->stale = 0;
    if (!make_room(memory))
        return NULL;
    physical = take(memory->machine->arena, pages);
    if (!physical)
        return NULL;
    at = kaon__arena_at(memory->machine->arena, physical);
    if (content)
        memcpy(at, content, pages * KAON_PAGE_SIZE);
    /* Mapped in part, they may be mapped still: they stay the sandbox's. */
    memory->extents[memory->extent_count++] = (struct kaon_extent){
        .address = address, .physical = physical, .pages = pages
    };
    if (backend_of(memory)->space_map(memory->machine, memory->space, address,
                                      physical, pages, KAON_PROTECT_WRITE,
                                      NULL))
        return NULL;
    if (content)
        memory->copied += pages;
    else
        memory->zeroed += pages;
    return at;
}

/* What the image has at a page, if the guest may write there. */
static const unsigned char *initial_data(const struct kaon_memory *memory,
                                         uint64_t address)
{
    const struct kaon_image *image = memory->view->image;
    const struct kaon_image_region *region = region_at(image, address);

    if (!region || !region->writable)
        return NULL;
    return image->memory + region->offset + (address - region->address);
}

static bool provide_data(struct kaon_memory *memory)
{
    const struct kaon_image *image = memory->view->image;
    bool grows = backend_of(memory)->spaces_grow;

    if (grows && data_pages(image) > EAGER_DATA_PAGES)
        return true; /* as they are written */
    for (uint32_t i = 0; i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];
        uint64_t step = grows ? 1 : region->pages;

        for (uint64_t k = 0; region->writable && k < region->pages; k += step) {
            uint64_t address = region->address + k * KAON_PAGE_SIZE;

            if (!provide(memory, address, step, initial_data(memory, address)))
                return false;
        }
    }
    return true;
}

/* The mailbox, and the stack's first page; the rest as it is touched. */
static bool provide_start(struct kaon_memory *memory)
{
    memory->mailbox_page = provide(memory, memory->mailbox, 1, NULL);
    return memory->mailbox_page &&
           provide(memory, memory->stack.high - KAON_PAGE_SIZE, 1, NULL);
}

/* Stack, exchange and heap, in one piece as they lie. */
static bool provide_all(struct kaon_memory *memory)
{
    uint64_t size = memory->heap.high - memory->stack.low;
    unsigned char *at =
        provide(memory, memory->stack.low, size / KAON_PAGE_SIZE, NULL);

    if (!at)
        return false;
    memory->mailbox_page = at + (memory->mailbox - memory->stack.low);
    if (memory->sizes.exchange > KAON_PAGE_SIZE)
        memory->area = memory->mailbox_page + KAON_PAGE_SIZE;
    return true;
}

/* ---- Life -------------------------------------------------------------- */

static void lay_out(struct kaon_memory *memory)
{
    const struct kaon_sizes *sizes = &memory->sizes;

    memory->guard = image_end(memory->view->image) + GAP_SIZE;
    memory->stack.low = memory->guard + GUARD_SIZE;
    memory->stack.high = memory->stack.low + sizes->stack;
    memory->mailbox = memory->stack.high;
    memory->heap.low = memory->mailbox + sizes->exchange;
    memory->heap.high = memory->heap.low + sizes->heap;
}

/* Faults so far say nothing of the next guest's. */
static void forget_growth(struct kaon_memory *memory)
{
    memory->stack.expected = memory->heap.expected = 0;
    memory->stack.window = memory->heap.window = 1;
    memory->stale = 0;
    memory->faults = memory->copied = memory->zeroed = 0;
}

static void fill_mailbox(struct kaon_memory *memory)
{
    const struct kaon_mailbox start = {
        .magic = KAON_MAILBOX_MAGIC,
        .abi_version = KAON_ABI_VERSION,
        .exchange_size = (uint32_t)memory->sizes.exchange,
        .heap = memory->heap.low,
        .heap_size = memory->sizes.heap,
        .stack_low = memory->stack.low,
        .stack_high = memory->stack.high,
    };

    memcpy(memory->mailbox_page, &start,
           offsetof(struct kaon_mailbox, payload));
}

uint64_t kaon__memory_bound(const struct kaon_image *image,
                            const struct kaon_sizes *sizes)
{
    uint64_t own = sizes->heap + sizes->stack + sizes->exchange +
                   data_pages(image) * KAON_PAGE_SIZE;
    uint64_t shown = own + image_end(image) - image->regions[0].address;

    /* A leaf table shows 2 MiB. View and sandbox have tables for all they
     * show, each with up to two half-filled ones, and one per upper level;
     * the machine has a few pages of its own. */
    return own + 2 * (shown >> 21) * KAON_PAGE_SIZE + 64 * KAON_PAGE_SIZE;
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
    forget_growth(memory);
    status = machine->backend->space_create(machine, &memory->space,
                                            view->space, err);
    if (status)
        goto release;
    if (!(machine->backend->spaces_grow ? provide_start(memory)
                                        : provide_all(memory)) ||
        !provide_data(memory)) {
        status = kaon__fail(err, KAON_ENOMEM, NO_PAGES_LEFT);
        goto release;
    }
    status = machine->backend->space_seal(machine, memory->space, err);
    if (status)
        goto release;
    fill_mailbox(memory);
    memory->copied = memory->zeroed = 0;
    *out = memory;
    return KAON_OK;

release:
    kaon__memory_release(memory);
    return status;
}

static void reset_page(const struct kaon_memory *memory,
                       const struct kaon_extent *page)
{
    void *at = kaon__arena_at(memory->machine->arena, page->physical);
    const unsigned char *initial = initial_data(memory, page->address);

    if (initial)
        memcpy(at, initial, KAON_PAGE_SIZE);
    else
        memset(at, 0, KAON_PAGE_SIZE);
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

void kaon__memory_reset(struct kaon_memory *memory)
{
    bool discard = memory->extent_count > RESET_BY_HAND;

    if (discard)
        discard_pages(memory);
    for (uint32_t i = 0; i < memory->extent_count; i++)
        if (!discard || initial_data(memory, memory->extents[i].address))
            reset_page(memory, &memory->extents[i]);
    if (memory->area_physical) /* mapped at least in part, so maybe written */
        backend_of(memory)->discard(memory->machine, memory->area_physical,
                                    memory->sizes.exchange / KAON_PAGE_SIZE -
                                        1);
    fill_mailbox(memory);
    forget_growth(memory);
}

void kaon__memory_destroy(struct kaon_memory *memory)
{
    free(memory->extents);
    free(memory);
}

void kaon__memory_release(struct kaon_memory *memory)
{
    /* First the space: whatever runs in it, no longer does. */
    backend_of(memory)->space_destroy(memory->machine, memory->space);
    for (uint32_t i = 0; i < memory->extent_count; i++)
        give(memory, memory->extents[i].physical, memory->extents[i].pages);
    if (memory->area_physical)
        give(memory, memory->area_physical,
             memory->sizes.exchange / KAON_PAGE_SIZE - 1);
    kaon__memory_destroy(memory);
}

uint64_t kaon__memory_bytes(const struct kaon_memory *memory)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < memory->extent_count; i++)
        bytes += memory->extents[i].pages * KAON_PAGE_SIZE;
    if (memory->area_physical)
        bytes += memory->sizes.exchange - KAON_PAGE_SIZE;
    return bytes;
}

/* ---- Faults ------------------------------------------------------------ */

static bool in(const struct kaon_growth *growth, uint64_t address)
{
    return address >= growth->low && address < growth->high;
}

static bool shown(const struct kaon_memory *memory, uint64_t address)
{
    uint64_t physical;
    unsigned protection;

    return backend_of(memory)->space_look(memory->machine, memory->space,
                                          address, &physical, &protection);
}

/*
 * Provides the page that faulted, and as many more in the direction of growth
 * as faults in sequence have earned. Only the first one must succeed.
 */
static enum kaon_fault_answer grow(struct kaon_memory *memory,
                                   struct kaon_growth *growth, uint64_t page,
                                   uint64_t step)
{
    uint64_t window = 1;

    if (page == growth->expected && growth->window < WINDOW_MAX)
        window = growth->window * 2;
    else if (page == growth->expected)
        window = WINDOW_MAX;
    growth->window = window;
    for (uint64_t i = 0; i < window && in(growth, page); i++, page += step) {
        if (i && shown(memory, page))
            break;
        if (!provide(memory, page, 1, NULL)) {
            if (i == 0)
                return KAON_FAULT_NO_PAGE;
            break;
        }
    }
    growth->expected = page;
    return KAON_FAULT_PROVIDED;
}

static enum kaon_fault_answer on_absent(struct kaon_memory *memory,
                                        uint64_t page)
{
    if (in(&memory->heap, page))
        return grow(memory, &memory->heap, page, KAON_PAGE_SIZE);
    if (in(&memory->stack, page))
        return grow(memory, &memory->stack, page, -KAON_PAGE_SIZE);
    if (page > memory->mailbox && page < memory->heap.low)
        return kaon__memory_need_area(memory, NULL) ? KAON_FAULT_NO_PAGE
                                                    : KAON_FAULT_PROVIDED;
    return KAON_FAULT_DENIED;
}

static enum kaon_fault_answer on_present(struct kaon_memory *memory,
                                         uint64_t page, unsigned protection,
                                         enum kaon_access access)
{
    const unsigned char *initial;

    /* Allowed, so the CPU or a shadow pager remembered an older state. */
    if (access == KAON_ACCESS_READ ||
        (access == KAON_ACCESS_WRITE && protection & KAON_PROTECT_WRITE) ||
        (access == KAON_ACCESS_EXECUTE && protection & KAON_PROTECT_EXECUTE))
        return memory->stale++ < STALE_MAX ? KAON_FAULT_PROVIDED
                                           : KAON_FAULT_DENIED;
    initial = access == KAON_ACCESS_WRITE ? initial_data(memory, page) : NULL;
    if (!initial)
        return KAON_FAULT_DENIED;
    return provide(memory, page, 1, initial) ? KAON_FAULT_PROVIDED
                                             : KAON_FAULT_NO_PAGE;
}

enum kaon_fault_answer kaon__memory_fault(struct kaon_memory *memory,
                                          uint64_t address,
                                          enum kaon_access access)
{
    uint64_t page = page_of(address), physical;
    enum kaon_fault_answer answer;
    unsigned protection;

    if (address >= USER_END || !backend_of(memory)->spaces_grow)
        return KAON_FAULT_DENIED;
    if (backend_of(memory)->space_look(memory->machine, memory->space, page,
                                       &physical, &protection))
        answer = on_present(memory, page, protection, access);
    else if (access == KAON_ACCESS_EXECUTE)
        answer = KAON_FAULT_DENIED; /* what grows is never executable */
    else
        answer = on_absent(memory, page);
    if (answer == KAON_FAULT_PROVIDED)
        memory->faults++;
    return answer;
}

/*
 * It did if it touched the guard; or if its stack pointer points below the
 * stack and at nothing, and the access was near it: a frame larger than the
 * guard, in a guest without stack probes. Stack pointers of a guest's own
 * (coroutines) point at its heap or data.
 */
bool kaon__memory_is_overflow(const struct kaon_memory *memory,
                              uint64_t address, uint64_t stack_pointer)
{
    uint64_t near = memory->sizes.stack + GUARD_SIZE;

    if (address >= memory->guard && address < memory->stack.low)
        return true;
    if (stack_pointer >= memory->stack.low &&
        stack_pointer <= memory->stack.high)
        return false;
    if (stack_pointer < USER_END && shown(memory, page_of(stack_pointer)))
        return false;
    return address - (stack_pointer - near) < 2 * near;
}

/* ---- The exchange ------------------------------------------------------ */

struct kaon_wire kaon__memory_wire(const struct kaon_memory *memory)
{
    uint64_t size = memory->area ? memory->sizes.exchange - KAON_PAGE_SIZE : 0;

    return (struct kaon_wire){ .page = memory->mailbox_page,
                               .area = memory->area,
                               .area_size = (uint32_t)size };
}

/* The area is one run, so that the host can use what lies in it in place. */
enum kaon_status kaon__memory_need_area(struct kaon_memory *memory,
                                        struct kaon_error *err)
{
    struct kaon_arena *arena = memory->machine->arena;
    uint64_t pages = memory->sizes.exchange / KAON_PAGE_SIZE - 1, physical;
    enum kaon_status status;

    if (memory->area || pages == 0)
        return KAON_OK;
    /* Mapped in part once, its addresses can show nothing else any more: the
     * rest may find room for its tables now. */
    physical = memory->area_physical ? memory->area_physical
                                     : kaon__arena_run(arena, pages);
    if (!physical)
        return kaon__fail(err, KAON_ENOMEM,
                          "the domain's memory has no %llu KiB for an "
                          "argument area: raise memory_bytes, or lower "
                          "exchange_bytes",
                          (unsigned long long)pages * 4);
    memory->area_physical = physical;
    status = backend_of(memory)->space_map(
        memory->machine, memory->space, memory->mailbox + KAON_PAGE_SIZE,
        physical, pages, KAON_PROTECT_WRITE, err);
    if (status)
        return status;
    memory->area = kaon__arena_at(arena, physical);
    memory->zeroed += pages;
    return KAON_OK;
}

void kaon__memory_put_frame(struct kaon_memory *memory,
                            const struct kaon_frame *frame)
{
    memory->stale = 0; /* the guest got on: what it met was not in a row */
    memcpy(memory->mailbox_page + offsetof(struct kaon_mailbox, frame), frame,
           sizeof *frame);
}

void kaon__memory_get_frame(const struct kaon_memory *memory,
                            struct kaon_frame *frame)
{
    memcpy(frame, memory->mailbox_page + offsetof(struct kaon_mailbox, frame),
           sizeof *frame);
}

/* Where the host sees what a guest address shows; NULL if nothing. */
static const unsigned char *see(const struct kaon_memory *memory,
                                uint64_t address)
{
    const struct kaon_view *view = memory->view;
    const struct kaon_arena *arena = memory->machine->arena;
    uint64_t physical;
    unsigned protection;

    if (address >= USER_END || !backend_of(memory)->space_look(
                                   memory->machine, memory->space,
                                   page_of(address), &physical, &protection))
        return NULL;
    physical += address % KAON_PAGE_SIZE;
    if (physical - arena->physical < arena->size)
        return kaon__arena_at(arena, physical);
    return view->image->memory + (physical - view->physical);
}

bool kaon__memory_read(const struct kaon_memory *memory, uint64_t address,
                       void *to, size_t size)
{
    unsigned char *at = to;

    while (size) {
        const unsigned char *from = see(memory, address);
        size_t part = KAON_PAGE_SIZE - address % KAON_PAGE_SIZE;

        if (!from)
            return false;
        if (part > size)
            part = size;
        memcpy(at, from, part);
        at += part;
        address += part;
        size -= part;
    }
    return true;
}

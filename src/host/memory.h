/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's memory: what its guest can address, and the pages it owns.
 *
 * Only memory.c and its like (memory_page.c, memory_state.c, memory_fault.c)
 * touch guest memory. A sandbox's memory starts as the space
 * of a view (view.h), read-only, and differs from it only in pages of its
 * own: the exchange, stack and heap, and copies of pages that the guest
 * writes.
 *
 * What a page is to hold when the sandbox is clean is its *content*: what the
 * snapshot that the sandbox was last restored to has there, or the image, or
 * zero. A page that is not the sandbox's own shows its content, or nothing.
 *
 * Where spaces grow, most pages are provided when the guest first touches
 * them, by kaon__memory_fault(), and none is ever taken away: see backend.h.
 * Elsewhere the guest is given all that it may have at once.
 *
 * The layout, upwards, each page-aligned:
 *
 *     image | gap | guard | stack | mailbox page | argument area | heap
 *
 * and after a gap the window of mappings (memory_map.h), in page tables of its
 * own. All others are adjacent, behind the gate (kaon/abi.h): a small guest's
 * page tables are four pages, gate included. (At the top of the lower half,
 * gate and exchange would take three more, and as many exits of a first call
 * under SVM.)
 */
#ifndef KAON_SRC_HOST_MEMORY_H
#define KAON_SRC_HOST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <kaon/error.h>
#include <kaon/outcome.h>
#include <kaon/sandbox.h>

#include "abi/wire.h"
#include "backend/backend.h"
#include "gate/gate.h"

struct kaon_image;
struct kaon_mapping;
struct kaon_seed;
struct kaon_snapshot;
struct kaon_view;

/* Sizes that a sandbox is made with; whole pages. */
struct kaon_sizes {
    uint64_t heap, stack, exchange;
    uint64_t map; /* the window of mappings: whole page tables */
};

/* Adjacent pages of the sandbox's own. */
struct kaon_extent {
    uint64_t address;
    uint64_t physical;
    uint64_t pages;               /* more than one: a run of the arena */
    const unsigned char *content; /* if one page; NULL: zero */
};

/* A region whose pages come as the guest touches them. */
struct kaon_growth {
    uint64_t low, high;
    uint64_t expected; /* the page that goes on where the last fault ended */
    uint64_t window;   /* pages to provide at once */
};

struct kaon_memory {
    struct kaon_memory *next; /* in its view's list of spare ones */
    struct kaon_machine *machine;
    struct kaon_view *view;
    struct kaon_snapshot *state; /* a reference; NULL: as the image starts */
    struct kaon_sizes sizes;
    struct kaon_space space;
    uint64_t generation; /* how often its state was another's, so far */

    uint64_t guard; /* the stack's guard begins here */
    struct kaon_growth stack, heap;
    struct {
        uint64_t low, high;
    } window;
    uint64_t mailbox; /* guest address */

    unsigned char *mailbox_page; /* where the host sees it */
    unsigned char *area;         /* NULL until it is first needed */
    uint64_t area_physical;      /* of all of it, when some is needed */
    uint64_t area_pages;         /* there, from its beginning on */
    uint64_t area_touched;       /* that may be, and so may have been written */

    struct kaon_extent *extents; /* without an area that came later */
    uint32_t extent_count, extent_room;
    uint32_t stale; /* faults since the last page, for what was there */

    struct kaon_mapping *mappings; /* by address */
    uint64_t remapped;             /* how often that changed */

    uint64_t faults, copied, zeroed; /* what kaon_sandbox_stats tells */
};

/* Bytes of arena that a sandbox alone in its machine can need at most. */
uint64_t kaon__memory_bound(const struct kaon_image *image,
                            const struct kaon_sizes *sizes);

/* A memory as the view has it: makes no system call where spaces grow. */
enum kaon_status kaon__memory_create(struct kaon_memory **out,
                                     struct kaon_machine *machine,
                                     struct kaon_view *view,
                                     const struct kaon_sizes *sizes,
                                     struct kaon_error *err);

/* Before a guest's first entry, and the first after a restore: what the
 * mailbox tells it. */
void kaon__memory_begin(struct kaon_memory *memory,
                        const struct kaon_seed *seed);

/*
 * Does each page that is not the memory's own show what the snapshot (NULL:
 * the image) has there? And makes such pages its own that do not: their
 * content stays as it is. Then translations are to be forgotten, by
 * machine_reclaim(), even if it failed.
 */
bool kaon__memory_fits(const struct kaon_memory *memory,
                       const struct kaon_snapshot *snapshot);
enum kaon_status kaon__memory_make_fit(struct kaon_memory *memory,
                                       const struct kaon_snapshot *snapshot,
                                       struct kaon_error *err);

/* Gives each page the content that it has in a snapshot (NULL: the image)
 * which fits. No guest runs in it. */
void kaon__memory_restore(struct kaon_memory *memory,
                          struct kaon_snapshot *snapshot);

/* It is in this state as it is: for a snapshot just taken of it. */
void kaon__memory_adopt(struct kaon_memory *memory,
                        struct kaon_snapshot *snapshot);

/* As it was created, whatever a guest did with it; the counters too. Keeps
 * little memory. Only where spaces grow. */
void kaon__memory_reset(struct kaon_memory *memory);

/* The addresses, ascending, of pages that do not have their content any more
 * (none of the exchange). The caller frees *out, which may be NULL. */
enum kaon_status kaon__memory_changes(const struct kaon_memory *memory,
                                      uint64_t **out, size_t *count,
                                      struct kaon_error *err);

/* Where a sandbox of this image and sizes has what: lowest addresses. */
struct kaon_places {
    uint64_t stack, exchange, heap, window;
};
struct kaon_places kaon__memory_places(const struct kaon_image *image,
                                       const struct kaon_sizes *sizes);

/* May a sandbox of this image and sizes have pages of its own there? */
bool kaon__memory_can_own(const struct kaon_image *image,
                          const struct kaon_sizes *sizes, uint64_t address,
                          uint64_t pages);

/* Frees the host's part; the machine is about to end. */
void kaon__memory_destroy(struct kaon_memory *memory);

/* Frees all. Where spaces grow: only if it never ran, or before
 * machine_reclaim(). */
void kaon__memory_release(struct kaon_memory *memory);

/* Does a fault ask for a page that the guest may have? */
enum kaon_fault_answer {
    KAON_FAULT_PROVIDED, /* go on */
    KAON_FAULT_DENIED,   /* the guest's fault */
    KAON_FAULT_NO_PAGE,  /* it may, but the domain has none left */
};
enum kaon_fault_answer kaon__memory_fault(struct kaon_memory *memory,
                                          uint64_t address,
                                          enum kaon_access access);

/* Did a guest with this stack pointer leave its stack at this address? */
bool kaon__memory_is_overflow(const struct kaon_memory *memory,
                              uint64_t address, uint64_t stack_pointer);

/* The exchange as it is. This and the next few are of each call: inline. */
static inline struct kaon_wire
kaon__memory_wire(const struct kaon_memory *memory)
{
    uint64_t size = memory->area_pages * KAON_PAGE_SIZE;

    return (struct kaon_wire){ .page = memory->mailbox_page,
                               .area = memory->area,
                               .area_size = (uint32_t)size };
}

/* Sees to it that its argument area has `bytes`, or as many as it may have. */
enum kaon_status kaon__memory_need_area(struct kaon_memory *memory,
                                        uint64_t bytes, struct kaon_error *err);

/* The frame in the mailbox: one copy each way. */
static inline void kaon__memory_put_frame(struct kaon_memory *memory,
                                          const struct kaon_frame *frame)
{
    memory->stale = 0; /* the guest got on: what it met was not in a row */
    kaon_wire_send_frame(
        memory->mailbox_page + offsetof(struct kaon_mailbox, frame), frame);
}

static inline void kaon__memory_get_frame(const struct kaon_memory *memory,
                                          struct kaon_frame *frame)
{
    memcpy(frame, memory->mailbox_page + offsetof(struct kaon_mailbox, frame),
           sizeof *frame);
}

/* What the guest says that it posted: one copy, which the host has then. False
 * if there is nothing. */
static inline bool kaon__memory_take_posted(struct kaon_memory *memory,
                                            struct kaon_posted *posted)
{
    volatile uint64_t *at =
        (volatile uint64_t *)(void *)(memory->mailbox_page +
                                      offsetof(struct kaon_mailbox, posted));
    uint64_t word = *at;

    posted->frames = (uint32_t)word;
    posted->count = (uint32_t)(word >> 32);
    if (!posted->count)
        return false;
    *at = 0;
    return true;
}

/*
 * The gate's words in the mailbox (gate/gate.h), for a guest that is resident:
 * filled before it is entered to wait, the host's turn; and cleared.
 */
void kaon__memory_gate_open(struct kaon_memory *memory, uint64_t call,
                            uint32_t looks);
void kaon__memory_gate_close(struct kaon_memory *memory);

static inline uint32_t *kaon__memory_turn(const struct kaon_memory *memory)
{
    void *turn = memory->mailbox_page + offsetof(struct kaon_mailbox, turn);

    return turn;
}

/* Gives the guest its turn; the frame is in place. */
static inline void kaon__memory_turn_give(struct kaon_memory *memory)
{
    __atomic_store_n(kaon__memory_turn(memory), KAON_TURN_OF_GUEST,
                     __ATOMIC_RELEASE);
}

/* Is it the host's turn, as the guest says? */
static inline bool kaon__memory_turn_came(const struct kaon_memory *memory)
{
    uint32_t turn =
        __atomic_load_n(kaon__memory_turn(memory), __ATOMIC_ACQUIRE);

    return turn != KAON_TURN_OF_GUEST && turn != KAON_TURN_OF_GUEST_ALONE;
}

/* Tells the guest that the host looks no longer: false if its turn came. */
bool kaon__memory_turn_sleep(struct kaon_memory *memory);

/* Bytes that are the sandbox's own. */
uint64_t kaon__memory_bytes(const struct kaon_memory *memory);

/* Those of them that were ever touched: what a restore may have to put back.
 * No guest runs in it. */
uint64_t kaon__memory_touched_bytes(const struct kaon_memory *memory);

/* Copies from guest memory, as far as it is there: false if not all is. */
bool kaon__memory_read(const struct kaon_memory *memory, uint64_t address,
                       void *to, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's memory: what its guest can address, and the pages it owns.
 *
 * Only memory.c touches guest memory. What every sandbox of an image shows
 * alike (text, read-only data, the initial data) is a *view*: the image's one
 * physical copy, attached to the machine once, and a space that shows it
 * read-only. A sandbox's memory starts as that space and differs from it only
 * in pages of its own: the exchange, stack and heap, and copies of data pages
 * that the guest writes. (A snapshot will be the second kind of view.)
 *
 * Where spaces grow, most pages are provided when the guest first touches
 * them, by kaon__memory_fault(), and none is ever taken away: see backend.h.
 * Elsewhere the guest is given all that it may have at once.
 *
 * The layout, upwards, each page-aligned:
 *
 *     image | gap | guard | stack | mailbox page | argument area | heap
 *
 * all adjacent, behind the gate (kaon/abi.h): a small guest's page tables are
 * four pages, gate included. (At the top of the lower half, gate and exchange
 * would take three more, and as many exits of a first call under SVM.)
 */
#ifndef KAON_SRC_HOST_MEMORY_H
#define KAON_SRC_HOST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/outcome.h>
#include <kaon/sandbox.h>

#include "abi/wire.h"
#include "backend/backend.h"

struct kaon_image;
struct kaon_memory;

/* An image as a machine shows it. Made once for each, lives as long as it. */
struct kaon_view {
    struct kaon_view *next;
    struct kaon_image *image;  /* a reference */
    uint64_t physical;         /* of image->memory */
    struct kaon_space space;   /* none while it is hidden */
    uint64_t users;            /* the domain's: memories that are not spare */
    struct kaon_memory *spare; /* the domain's: clean, of ended sandboxes */
};

/* Sizes that a sandbox is made with; whole pages. */
struct kaon_sizes {
    uint64_t heap, stack, exchange;
};

/* Adjacent pages of the sandbox's own. */
struct kaon_extent {
    uint64_t address;
    uint64_t physical;
    uint64_t pages; /* more than one: a run of the arena */
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
    struct kaon_sizes sizes;
    struct kaon_space space;

    uint64_t guard; /* the stack's guard begins here */
    struct kaon_growth stack, heap;
    uint64_t mailbox; /* guest address */

    unsigned char *mailbox_page; /* where the host sees it */
    unsigned char *area;         /* NULL until it is first needed */
    uint64_t area_physical;

    struct kaon_extent *extents; /* without an area that came later */
    uint32_t extent_count, extent_room;
    uint32_t stale; /* faults since the last page, for what was there */

    uint64_t faults, copied, zeroed; /* what kaon_sandbox_stats tells */
};

/* Attaches an image to a machine; hidden at first. */
enum kaon_status kaon__view_create(struct kaon_view **out,
                                   struct kaon_machine *machine,
                                   struct kaon_image *image,
                                   struct kaon_error *err);
/* After the machine: nothing takes an image from that. */
void kaon__view_destroy(struct kaon_view *view);

/* Gives up the space, before machine_reclaim() and with no memory left that
 * grew from it; and makes it again. */
void kaon__view_hide(struct kaon_view *view, struct kaon_machine *machine);
enum kaon_status kaon__view_show(struct kaon_view *view,
                                 struct kaon_machine *machine,
                                 struct kaon_error *err);

/* Bytes of arena that a sandbox alone in its machine can need at most. */
uint64_t kaon__memory_bound(const struct kaon_image *image,
                            const struct kaon_sizes *sizes);

/* A memory as a guest starts with: makes no system call. */
enum kaon_status kaon__memory_create(struct kaon_memory **out,
                                     struct kaon_machine *machine,
                                     struct kaon_view *view,
                                     const struct kaon_sizes *sizes,
                                     struct kaon_error *err);

/* As it was created, whatever a guest did with it; the counters too. Only
 * where spaces grow. */
void kaon__memory_reset(struct kaon_memory *memory);

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

/* The exchange as it is; and with the argument area for certain. */
struct kaon_wire kaon__memory_wire(const struct kaon_memory *memory);
enum kaon_status kaon__memory_need_area(struct kaon_memory *memory,
                                        struct kaon_error *err);

/* The frame in the mailbox: one copy each way. */
void kaon__memory_put_frame(struct kaon_memory *memory,
                            const struct kaon_frame *frame);
void kaon__memory_get_frame(const struct kaon_memory *memory,
                            struct kaon_frame *frame);

/* Bytes that are the sandbox's own. */
uint64_t kaon__memory_bytes(const struct kaon_memory *memory);

/* Copies from guest memory, as far as it is there: false if not all is. */
bool kaon__memory_read(const struct kaon_memory *memory, uint64_t address,
                       void *to, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: what every sandbox of an image, or of a snapshot, shows alike.
 *
 * An image's view is its one physical copy, attached to the machine once, and
 * a space that shows it read-only. A snapshot's is the same of its layers, on
 * top of its image's. Sandboxes' spaces grow from a view's, which never
 * changes. Made once for each in a domain, it lives as long as somebody but the
 * domain knows the image or snapshot, and then until the domain tidies up.
 */
#ifndef KAON_SRC_HOST_VIEW_H
#define KAON_SRC_HOST_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <kaon/error.h>

#include "backend/backend.h"

struct kaon_image;
struct kaon_memory;
struct kaon_snapshot;

/* Host memory that a machine has attached. */
struct kaon_attachment {
    uint64_t physical, size;
    const unsigned char *memory;
};

struct kaon_view {
    struct kaon_view *next;
    struct kaon_view *base;         /* of a snapshot: its image's */
    struct kaon_image *image;       /* a reference */
    struct kaon_snapshot *snapshot; /* a reference; NULL: the image itself */
    struct kaon_space space;        /* none while it is hidden */
    uint64_t users; /* the domain's: memories that are not spare, and shown
                       views on top */
    struct kaon_memory *spare; /* the domain's: clean, of ended sandboxes */
    uint32_t attachment_count;
    struct kaon_attachment attachments[];
};

/* Attaches an image, or a snapshot (then on the view of its image, `base`),
 * to a machine; hidden at first. */
enum kaon_status
kaon__view_create(struct kaon_view **out, struct kaon_machine *machine,
                  struct kaon_image *image, struct kaon_snapshot *snapshot,
                  struct kaon_view *base, struct kaon_error *err);
/* After the machine, or when nothing of it is attached any more. */
void kaon__view_destroy(struct kaon_view *view);

/* Does nobody know the image or snapshot any more but the view? */
bool kaon__view_is_orphan(const struct kaon_view *view);

/* Takes a hidden view that is an orphan from the machine, for good. False if
 * that failed, as it may with the host short of memory: try again. */
bool kaon__view_detach(struct kaon_view *view, struct kaon_machine *machine);

/* Gives up the space, before machine_reclaim() and with no memory left that
 * grew from it; and makes it again, when base is shown. */
void kaon__view_hide(struct kaon_view *view, struct kaon_machine *machine);
enum kaon_status kaon__view_show(struct kaon_view *view,
                                 struct kaon_machine *machine,
                                 struct kaon_error *err);

/* Where the host sees a physical address of what is attached, or NULL. */
const unsigned char *kaon__view_at(const struct kaon_view *view,
                                   uint64_t physical);

#endif

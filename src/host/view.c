/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows images and snapshots. Owns references to them, attachments and the
 * view's space; the memory is theirs. Everything is read-only here: a page that
 * the guest may write is copied when it is written.
 */
#include "host/view.h"

#include <stdlib.h>

#include "host/error.h"
#include "host/image.h"
#include "host/layer.h"
#include "host/snapshot.h"

static enum kaon_status map_image(const struct kaon_view *view,
                                  struct kaon_machine *machine,
                                  struct kaon_error *err)
{
    const struct kaon_image *image = view->image;
    enum kaon_status status = KAON_OK;

    for (uint32_t i = 0; !status && i < image->region_count; i++) {
        const struct kaon_image_region *region = &image->regions[i];

        status = machine->backend->space_map(
            machine, view->space, region->address,
            view->attachments[0].physical + region->offset, region->pages,
            region->executable ? KAON_PROTECT_EXECUTE : KAON_PROTECT_READ, err);
    }
    return status;
}

static enum kaon_status map_snapshot(const struct kaon_view *view,
                                     struct kaon_machine *machine,
                                     struct kaon_error *err)
{
    const struct kaon_snapshot *snapshot = view->snapshot;
    enum kaon_status status = KAON_OK;

    if (view->attachment_count == 0)
        return KAON_OK;
    for (uint32_t i = 0; !status && i < snapshot->run_count; i++) {
        const struct kaon_run *run = &snapshot->runs[i];

        status = machine->backend->space_map(
            machine, view->space, run->address,
            view->attachments[run->layer].physical + run->offset, run->pages,
            KAON_PROTECT_READ, err);
    }
    return status;
}

enum kaon_status kaon__view_show(struct kaon_view *view,
                                 struct kaon_machine *machine,
                                 struct kaon_error *err)
{
    struct kaon_space parent = { 0 };
    enum kaon_status status;

    if (view->base)
        parent = view->base->space;
    status = machine->backend->space_create(machine, &view->space, parent, err);
    if (status)
        return status;
    if (view->base)
        view->base->users++;
    status = view->snapshot ? map_snapshot(view, machine, err)
                            : map_image(view, machine, err);
    if (status)
        kaon__view_hide(view, machine);
    return status;
}

void kaon__view_hide(struct kaon_view *view, struct kaon_machine *machine)
{
    if (!view->space.root)
        return;
    machine->backend->space_destroy(machine, view->space);
    view->space.root = 0;
    if (view->base)
        view->base->users--;
}

static enum kaon_status attach(struct kaon_view *view,
                               struct kaon_machine *machine,
                               unsigned char *memory, int fd, uint64_t size,
                               struct kaon_error *err)
{
    const struct kaon_host_memory shown = { .at = memory,
                                            .fd = fd,
                                            .size = size };
    struct kaon_attachment *attachment =
        &view->attachments[view->attachment_count];
    enum kaon_status status = machine->backend->machine_attach(
        machine, &shown, &attachment->physical, err);

    if (status)
        return status;
    attachment->memory = memory;
    attachment->size = size;
    view->attachment_count++;
    return KAON_OK;
}

/* Spaces that do not grow are of processes, which map files. */
static enum kaon_status attach_image(struct kaon_view *view,
                                     struct kaon_machine *machine,
                                     struct kaon_error *err)
{
    struct kaon_image *image = view->image;
    int fd;
    enum kaon_status status =
        kaon__image_show(image, machine->backend->spaces_grow, &fd, err);

    return status ? status
                  : attach(view, machine, image->memory, fd, image->memory_size,
                           err);
}

bool kaon__view_detach(struct kaon_view *view, struct kaon_machine *machine)
{
    for (; view->attachment_count; view->attachment_count--)
        if (machine->backend->machine_detach(
                machine, view->attachments[view->attachment_count - 1].physical,
                NULL))
            return false;
    return true;
}

/* Where spaces do not grow, or if it is small, a snapshot is copied and nobody
 * sees it here. */
static enum kaon_status attach_all(struct kaon_view *view,
                                   struct kaon_machine *machine,
                                   struct kaon_error *err)
{
    const struct kaon_snapshot *snapshot = view->snapshot;
    enum kaon_status status = KAON_OK;

    if (!snapshot)
        return attach_image(view, machine, err);
    if (!machine->backend->spaces_grow || kaon__snapshot_is_small(snapshot))
        return KAON_OK;
    for (uint32_t i = 0; !status && i < snapshot->layer_count; i++) {
        const struct kaon_layer *layer = snapshot->layers[i];

        status =
            attach(view, machine, layer->memory, layer->fd, layer->size, err);
    }
    return status;
}

enum kaon_status
kaon__view_create(struct kaon_view **out, struct kaon_machine *machine,
                  struct kaon_image *image, struct kaon_snapshot *snapshot,
                  struct kaon_view *base, struct kaon_error *err)
{
    size_t count = snapshot ? snapshot->layer_count : 1;
    struct kaon_view *view =
        calloc(1, sizeof *view + count * sizeof *view->attachments);
    enum kaon_status status;

    if (!view)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for an image");
    view->image = kaon__image_hold(image);
    view->snapshot = snapshot ? kaon_snapshot_hold(snapshot) : NULL;
    view->base = base;
    status = attach_all(view, machine, err);
    if (status) {
        /* Else the machine still has what the view must then keep. */
        if (kaon__view_detach(view, machine))
            kaon__view_destroy(view);
        return status;
    }
    *out = view;
    return KAON_OK;
}

void kaon__view_destroy(struct kaon_view *view)
{
    kaon_snapshot_destroy(view->snapshot);
    kaon_image_destroy(view->image);
    free(view);
}

bool kaon__view_is_orphan(const struct kaon_view *view)
{
    return atomic_load(view->snapshot ? &view->snapshot->references
                                      : &view->image->references) == 1;
}

const unsigned char *kaon__view_at(const struct kaon_view *view,
                                   uint64_t physical)
{
    for (; view; view = view->base)
        for (uint32_t i = 0; i < view->attachment_count; i++) {
            const struct kaon_attachment *attachment = &view->attachments[i];

            if (physical - attachment->physical < attachment->size)
                return attachment->memory + (physical - attachment->physical);
        }
    return NULL;
}

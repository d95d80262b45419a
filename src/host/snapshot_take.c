/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes snapshots: the pages that changed go into a layer of their own, all
 * others stay in those of the snapshot that the sandbox came from.
 *
 * Owns nothing beyond the taking.
 */
#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/layer.h"
#include "host/memory_map.h"
#include "host/resident.h"
#include "host/sandbox.h"
#include "host/snapshot.h"

/* The older ones, that of the changes, and one to take the place of all. */
#define TAKING_LAYERS (KAON_LAYERS_MAX + 2)

/* A snapshot that is being taken. */
struct taking {
    const struct kaon_memory *memory;
    struct kaon_snapshot *made;
    uint32_t run_room;
    uint64_t *changes; /* addresses of the pages that changed */
    size_t change_count;
    struct kaon_layer *layers[TAKING_LAYERS]; /* references; runs are in */
    uint32_t layer_count, older_count;
    struct kaon_error *err;
};

/* ---- Runs -------------------------------------------------------------- */

static bool continues(const struct kaon_run *last, const struct kaon_run *run)
{
    uint64_t size = last->pages * KAON_PAGE_SIZE;

    return last->layer == run->layer && last->address + size == run->address &&
           last->offset + size == run->offset;
}

/* Adds a run behind all others. */
static bool add_run(struct taking *t, const struct kaon_run *run)
{
    struct kaon_snapshot *made = t->made;

    if (made->run_count && continues(&made->runs[made->run_count - 1], run)) {
        made->runs[made->run_count - 1].pages += run->pages;
        return true;
    }
    if (made->run_count == t->run_room) {
        uint32_t room = t->run_room ? 2 * t->run_room : 16;
        struct kaon_run *runs = realloc(made->runs, room * sizeof *runs);

        if (!runs)
            return false;
        made->runs = runs;
        t->run_room = room;
    }
    made->runs[made->run_count++] = *run;
    return true;
}

/* Changes up to an address, from *next on. */
static bool add_changes(struct taking *t, size_t *next, uint64_t end)
{
    for (; *next < t->change_count && t->changes[*next] < end; ++*next) {
        const struct kaon_run run = {
            .address = t->changes[*next],
            .pages = 1,
            .offset = *next * KAON_PAGE_SIZE,
            .layer = t->layer_count - 1,
        };

        if (!add_run(t, &run))
            return false;
    }
    return true;
}

/* An older run, but for what changed of it. */
static bool add_older(struct taking *t, size_t *next,
                      const struct kaon_run *older)
{
    uint64_t at = older->address;
    uint64_t end = at + older->pages * KAON_PAGE_SIZE;

    while (at < end) {
        uint64_t stop = end;

        if (*next < t->change_count && t->changes[*next] < end)
            stop = t->changes[*next];
        if (stop > at &&
            !add_run(t, &(struct kaon_run){
                            .address = at,
                            .pages = (stop - at) / KAON_PAGE_SIZE,
                            .offset = older->offset + (at - older->address),
                            .layer = older->layer }))
            return false;
        if (stop < end && !add_changes(t, next, stop + 1))
            return false;
        at = stop < end ? stop + KAON_PAGE_SIZE : end;
    }
    return true;
}

/* The state before and what changed, merged. */
static bool add_runs(struct taking *t)
{
    const struct kaon_snapshot *before = t->memory->state;
    size_t next = 0;

    for (uint32_t i = 0; before && i < before->run_count; i++)
        if (!add_changes(t, &next, before->runs[i].address) ||
            !add_older(t, &next, &before->runs[i]))
            return false;
    return add_changes(t, &next, UINT64_MAX);
}

/* ---- Layers ------------------------------------------------------------ */

static void hold_older_layers(struct taking *t)
{
    const struct kaon_snapshot *before = t->memory->state;

    for (uint32_t i = 0; before && i < before->layer_count; i++)
        t->layers[t->layer_count++] = kaon__layer_hold(before->layers[i]);
    t->older_count = t->layer_count;
}

/* The changed pages, in the order of their addresses. */
static enum kaon_status copy_changes(struct taking *t)
{
    struct kaon_layer *layer;
    enum kaon_status status;

    if (t->change_count == 0)
        return KAON_OK;
    status =
        kaon__layer_create(&layer, t->change_count * KAON_PAGE_SIZE, t->err);
    if (status)
        return status;
    t->layers[t->layer_count++] = layer;
    for (size_t i = 0; i < t->change_count; i++)
        kaon__memory_read(t->memory, t->changes[i],
                          layer->memory + i * KAON_PAGE_SIZE, KAON_PAGE_SIZE);
    return kaon__layer_seal(layer, t->err);
}

/* Which layers some run is in; returns how many. */
static uint32_t find_used(const struct taking *t, bool *used)
{
    const struct kaon_snapshot *made = t->made;
    uint32_t count = 0;

    memset(used, 0, TAKING_LAYERS * sizeof *used);
    for (uint32_t i = 0; i < made->run_count; i++) {
        count += !used[made->runs[i].layer];
        used[made->runs[i].layer] = true;
    }
    return count;
}

/* Too many layers, or most of what they hold is in no run any more? */
static bool wants_flattening(const struct taking *t)
{
    bool used[TAKING_LAYERS];
    uint32_t count = find_used(t, used);
    uint64_t held = 0;

    for (uint32_t i = 0; i < t->layer_count; i++)
        held += used[i] ? t->layers[i]->size : 0;
    return count > KAON_LAYERS_MAX ||
           held > 2 * kaon__snapshot_pages(t->made) * KAON_PAGE_SIZE;
}

/* All pages in one new layer; runs that are adjacent become one. */
static enum kaon_status flatten(struct taking *t)
{
    struct kaon_snapshot *made = t->made;
    uint32_t count = made->run_count;
    uint64_t offset = 0;
    struct kaon_layer *layer;
    enum kaon_status status = kaon__layer_create(
        &layer, kaon__snapshot_pages(made) * KAON_PAGE_SIZE, t->err);

    if (status)
        return status;
    made->run_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct kaon_run run = made->runs[i];
        uint64_t size = run.pages * KAON_PAGE_SIZE;

        kaon__layer_read(t->layers[run.layer], run.offset,
                         layer->memory + offset, size);
        run.layer = t->layer_count;
        run.offset = offset;
        offset += size;
        (void)add_run(t, &run); /* in the place of one that was */
    }
    t->layers[t->layer_count++] = layer;
    return kaon__layer_seal(layer, t->err);
}

/* Gives the snapshot the layers that its runs are in. */
static void hand_over_layers(struct taking *t)
{
    struct kaon_snapshot *made = t->made;
    uint32_t place[TAKING_LAYERS] = { 0 };
    bool used[TAKING_LAYERS];

    find_used(t, used);
    for (uint32_t i = 0; i < t->layer_count; i++) {
        if (!used[i])
            continue;
        place[i] = made->layer_count;
        made->layers[made->layer_count++] = kaon__layer_hold(t->layers[i]);
        made->files |= t->layers[i]->file;
    }
    for (uint32_t i = 0; i < made->run_count; i++) {
        struct kaon_run *run = &made->runs[i];

        if (run->layer >= t->older_count)
            made->own_pages += run->pages;
        run->layer = place[run->layer];
    }
}

/* ---- Taking ------------------------------------------------------------ */

static enum kaon_status fill(struct taking *t)
{
    enum kaon_status status =
        kaon__memory_changes(t->memory, &t->changes, &t->change_count, t->err);

    if (status)
        return status;
    hold_older_layers(t);
    status = copy_changes(t);
    if (!status && !add_runs(t))
        status =
            kaon__fail(t->err, KAON_ENOMEM, "out of memory for a snapshot");
    if (!status && wants_flattening(t))
        status = flatten(t);
    if (!status)
        hand_over_layers(t);
    return status;
}

/* Of a sandbox that the caller has claimed. */
static enum kaon_status take(struct kaon_snapshot **out,
                             struct kaon_sandbox *sandbox,
                             struct kaon_error *err)
{
    struct taking t = {
        .memory = sandbox->memory,
        .made = kaon__snapshot_new(sandbox->image),
        .err = err,
    };
    enum kaon_status status;

    if (!t.made)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a snapshot");
    t.made->sizes = sandbox->memory->sizes;
    t.made->pointers = sandbox->pointers;
    t.made->generation = sandbox->memory->generation;
    status = fill(&t);
    if (!status)
        status = kaon__memory_keep_mappings(t.memory, t.made, err);
    for (uint32_t i = 0; i < t.layer_count; i++)
        kaon__layer_destroy(t.layers[i]);
    free(t.changes);
    if (status) {
        kaon_snapshot_destroy(t.made);
        return status;
    }
    kaon__memory_adopt(sandbox->memory, t.made);
    *out = t.made;
    return KAON_OK;
}

enum kaon_status kaon_snapshot_take(struct kaon_snapshot **out,
                                    struct kaon_sandbox *sandbox,
                                    struct kaon_error *err)
{
    enum kaon_status status;

    if (!out || !sandbox)
        return kaon__fail(err, KAON_EINVAL, "out and sandbox must not be NULL");
    status = kaon__sandbox_claim(sandbox, err);
    if (status)
        return status;
    status = kaon__sandbox_park(sandbox, err);
    if (!status)
        status = take(out, sandbox, err);
    kaon__resident_go(sandbox);
    kaon__sandbox_release(sandbox, false);
    return status;
}

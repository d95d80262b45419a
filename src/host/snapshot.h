/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots inside the library.
 *
 * A snapshot is a list of runs: guest pages that differ from the image, and
 * where their content lies in one of its layers (layer.h). Snapshots taken
 * one after the other share layers. Pages in
 * no run are the image's initial data, or zero.
 */
#ifndef KAON_SRC_HOST_SNAPSHOT_H
#define KAON_SRC_HOST_SNAPSHOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <kaon/snapshot.h>

#include "backend/backend.h"
#include "host/memory.h"
#include "host/write_set.h"

/* More than these are made one: each takes a memslot in a domain. */
#define KAON_LAYERS_MAX 16u

struct kaon_layer;

/* Adjacent guest pages whose content lies together. */
struct kaon_run {
    uint64_t address, pages;
    uint64_t offset; /* in the layer */
    uint32_t layer;  /* its index */
};

/* Immutable once made, but for references and the write set. */
struct kaon_snapshot {
    atomic_uint references;
    struct kaon_image *image; /* a reference */
    struct kaon_sizes sizes;
    struct kaon_thread_pointers pointers;
    uint64_t generation;   /* the last that its guest can have seen */
    struct kaon_run *runs; /* by address, disjoint */
    uint32_t run_count;
    uint32_t layer_count;
    uint64_t own_pages; /* in layers that were made for it */
    struct kaon_layer *layers[KAON_LAYERS_MAX]; /* references */
    bool files;                                 /* some of the layers are */
    struct kaon_kept_mapping *kept;             /* memory_map.h; by address */
    uint32_t kept_count;
    unsigned char *kept_content; /* pages of all of them, in that order */
    pthread_mutex_t lock;        /* guards the rest */
    struct kaon_write_set write_set;
};

/* An empty one, to fill in; the caller ends it with kaon_snapshot_destroy(). */
struct kaon_snapshot *kaon__snapshot_new(struct kaon_image *image);

/* What a page has in the snapshot; NULL if no run has it, or for NULL. The
 * pointer tells contents apart; what is there, kaon__snapshot_read() reads. */
const unsigned char *kaon__snapshot_page(const struct kaon_snapshot *snapshot,
                                         uint64_t address);

/* Copies content that may lie in a layer of the snapshot (which may be NULL),
 * or elsewhere; and compares a page with it. */
void kaon__snapshot_read(const struct kaon_snapshot *snapshot,
                         const unsigned char *content, void *to, size_t size);
bool kaon__snapshot_equal(const struct kaon_snapshot *snapshot,
                          const unsigned char *content,
                          const unsigned char *page);

/* How many pages from there on are as that one: next to it in one run, or in
 * none. */
uint64_t kaon__snapshot_reach(const struct kaon_snapshot *snapshot,
                              uint64_t address);

/* How many pages its runs have; and of its mappings, guests wrote. */
uint64_t kaon__snapshot_pages(const struct kaon_snapshot *snapshot);
uint64_t kaon__snapshot_map_pages(const struct kaon_snapshot *snapshot);

/* Tells each mapping where the content of its pages begins. */
void kaon__snapshot_place_content(struct kaon_snapshot *snapshot);

/* Has it the regions of all its mappings? Nothing can be made of it else. */
enum kaon_status
kaon__snapshot_check_regions(const struct kaon_snapshot *snapshot,
                             struct kaon_error *err);

/* So few pages that a sandbox is better given copies of all of them at once,
 * than a memslot to see them by and an exit for each that it writes. */
#define KAON_SMALL_PAGES 8u
bool kaon__snapshot_is_small(const struct kaon_snapshot *snapshot);

/* A sandbox wrote a page that it shared so far. */
void kaon__snapshot_learn(struct kaon_snapshot *snapshot, uint64_t address);

/* Copies the write set to out[KAON_WRITE_SET_MAX]; returns its size. And for
 * a new sandbox, which is given all of it. */
uint32_t kaon__snapshot_write_set(struct kaon_snapshot *snapshot,
                                  uint64_t *out);
uint32_t kaon__snapshot_give_write_set(struct kaon_snapshot *snapshot,
                                       uint64_t *out);

#endif

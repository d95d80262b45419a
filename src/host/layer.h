/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers: host memory that never changes once it is sealed, with references
 * to it. Each is a file of its own, so that a process can map it too, but for
 * small ones that were read from a file.
 *
 * A layer may also be somebody's file, that of a saved snapshot, so that all
 * who have it open share its pages. Such a file can change and shrink, which
 * must hurt none but the guest: the host never reads it through its mapping,
 * which would be SIGBUS, but by kaon__layer_read(). Whatever else touches the
 * mapping is KVM or a guest's process, for which it is a fault of the guest.
 * A page that is wanted by itself is likely to be wanted again, at each
 * restore: it is read once, and kept.
 */
#ifndef KAON_SRC_HOST_LAYER_H
#define KAON_SRC_HOST_LAYER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>

/* Pages of a file that are kept at most. Each has one place, the first that
 * wants it stays there. */
#define KAON_KEPT_MAX 512u

struct kaon_kept_page;

struct kaon_layer {
    atomic_uint references;
    unsigned char *memory; /* whole pages; read-only, once sealed */
    uint64_t size;
    int fd;    /* the file that it maps; or -1 */
    bool file; /* somebody's: never to be read through `memory` */
    bool heap; /* in memory of malloc()'s */
    _Atomic(struct kaon_kept_page *) kept[]; /* KAON_KEPT_MAX, of a file */
};

/* One of so many bytes, all zero, to be filled in and sealed. */
enum kaon_status kaon__layer_create(struct kaon_layer **out, uint64_t size,
                                    struct kaon_error *err);
enum kaon_status kaon__layer_seal(struct kaon_layer *layer,
                                  struct kaon_error *err);

/* Somebody's file, of so many bytes. Takes the descriptor, unless it fails. */
enum kaon_status kaon__layer_open(struct kaon_layer **out, int fd,
                                  uint64_t size, struct kaon_error *err);

/* In memory that the caller fills in at once, for what is small; not sealed. */
enum kaon_status kaon__layer_allocate(struct kaon_layer **out, uint64_t size,
                                      struct kaon_error *err);

/* Copies from a layer of any kind. What a file does not have any more is zero,
 * and the result false. Threads: any. */
bool kaon__layer_read(struct kaon_layer *layer, uint64_t offset, void *to,
                      size_t size);

struct kaon_layer *kaon__layer_hold(struct kaon_layer *layer);
void kaon__layer_destroy(struct kaon_layer *layer);

#endif

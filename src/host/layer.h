/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers: host memory that never changes once it is sealed, with references
 * to it. Each is a file of its own, so that a process can map it too.
 */
#ifndef KAON_SRC_HOST_LAYER_H
#define KAON_SRC_HOST_LAYER_H

#include <stdatomic.h>
#include <stdint.h>
#include <kaon/error.h>

struct kaon_layer {
    atomic_uint references;
    unsigned char *memory; /* whole pages; read-only, once sealed */
    uint64_t size;
    int fd; /* the file that it maps */
};

/* One of so many bytes, all zero, to be filled in and sealed. */
enum kaon_status kaon__layer_create(struct kaon_layer **out, uint64_t size,
                                    struct kaon_error *err);
enum kaon_status kaon__layer_seal(struct kaon_layer *layer,
                                  struct kaon_error *err);

struct kaon_layer *kaon__layer_hold(struct kaon_layer *layer);
void kaon__layer_destroy(struct kaon_layer *layer);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of host functions inside the library. */
#ifndef KAON_SRC_HOST_HOST_FUNCTIONS_H
#define KAON_SRC_HOST_HOST_FUNCTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <kaon/host.h>
#include <kaon/image.h>
#include <kaon/outcome.h>

#include "abi/wire.h"

struct kaon_host_entry {
    char *name; /* owned */
    struct kaon_signature signature;
    kaon_host_function function;
    void *user;
};

/* Entries are sorted by name, and fixed once a sandbox uses the set. */
struct kaon_host_functions {
    atomic_uint references;
    atomic_bool in_use;
    struct kaon_host_entry *entries;
    size_t count, room;
};

/* One call of a host function, as the function sees it. */
struct kaon_host_call {
    struct kaon_wire wire;
    struct kaon_wire_free free; /* where the answer may go */
    /* Gives the exchange more area, for a buffer that does not fit: `bytes`, or
     * as many as it may have. */
    bool (*need_area)(struct kaon_host_call *call, struct kaon_wire *wire,
                      uint64_t bytes);
    void *sandbox;
    bool failed;
    int32_t code;
    char text[KAON_OUTCOME_TEXT];
};

/* Adds a reference and fixes the set. NULL makes a set with HostPrint. */
enum kaon_status kaon__host_functions_use(struct kaon_host_functions **out,
                                          struct kaon_host_functions *set,
                                          struct kaon_error *err);

/* The entry of that name, or NULL. */
const struct kaon_host_entry *
kaon__host_functions_find(const struct kaon_host_functions *set,
                          const char *name);

/*
 * Resolves an image's imports into entries[0 .. import_count). If some are
 * missing or of another type, fails with a sentence that lists them.
 */
enum kaon_status kaon__host_functions_resolve(
    const struct kaon_host_functions *set, const struct kaon_image *image,
    const struct kaon_host_entry **entries, struct kaon_error *err);

#endif

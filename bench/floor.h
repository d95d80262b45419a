/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare floor: the least that a program must do to run a guest, without
 * any of Kaon. One for each backend.
 */
#ifndef KAON_BENCH_FLOOR_H
#define KAON_BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>

/* A bare guest that leaves and leaves again. */
struct floor_guest {
    int vm, vcpu;
    void *run;
    unsigned char *memory;
};

struct floor {
    const char *backend; /* what kaon_sandbox_backend() calls it */

    /*
     * Learns what is the same for all guests. All three return false with
     * errno, and what failed in *what.
     */
    bool (*learn)(const char **what);

    /* A new guest, with everything but its first entry. */
    bool (*create)(struct floor_guest *guest, const char **what);

    /* Enters the guest, until it leaves. */
    bool (*trip)(struct floor_guest *guest, const char **what);

    void (*destroy)(struct floor_guest *guest);
};

extern const struct floor floor_kvm;

#endif

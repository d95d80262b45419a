/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare floor: the least that a program must do to run a guest, without
 * any of Kaon. One for each backend.
 */
#ifndef KAON_BENCH_FLOOR_H
#define KAON_BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

/* A bare guest that leaves and leaves again. */
struct floor_guest {
    int vm, vcpu;    /* of KVM */
    void *run;       /* of the vCPU */
    int fd, process; /* of a process: its memory, and its id */
    unsigned char *memory;
};
#define FLOOR_GUEST_NONE \
    ((struct floor_guest){ -1, -1, MAP_FAILED, -1, -1, MAP_FAILED })

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

    /*
     * Has the guest spin instead of leaving, on another CPU, until stop().
     * ping() is a round trip through shared memory in between; it returns
     * false with errno. NULL if the floor has no such thing.
     */
    bool (*start)(struct floor_guest *guest, const char **what);
    bool (*ping)(struct floor_guest *guest);
    bool (*stop)(struct floor_guest *guest, const char **what);
};

extern const struct floor floor_kvm, floor_process;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write set of a snapshot: pages that its sandboxes wrote, to be given to
 * new ones at once, instead of at a fault each.
 *
 * A page is given to so many new sandboxes as cost about as much as one fault:
 * if nobody writes it, that is what it costs. Then it is left out, until a
 * sandbox faults on it. If that is soon, it was left out wrongly, and is given
 * for twice as long. So a page that each sandbox writes costs few faults, ever
 * fewer; and one that a single sandbox wrote is forgotten. Those that were
 * learned together are left out a few at a time: no sandbox has all faults.
 *
 * Threads: the caller's to serialise.
 */
#ifndef KAON_SRC_HOST_WRITE_SET_H
#define KAON_SRC_HOST_WRITE_SET_H

#include <stdbool.h>
#include <stdint.h>

#define KAON_WRITE_SET_MAX 512u

/* To how many new sandboxes a page is given at first. */
#define KAON_WRITE_SET_TERM 256u

struct kaon_written_page {
    uint64_t address;
    uint64_t until; /* given until so many sandboxes were made, or left out */
    uint64_t term;  /* for how many it is given */
    bool given;
};

/* Zero is empty. */
struct kaon_write_set {
    uint64_t made; /* new sandboxes so far */
    uint32_t count;
    struct kaon_written_page pages[KAON_WRITE_SET_MAX]; /* in no order */
};

/* A sandbox faulted on a page. Where there is no room, a page that is left out
 * is forgotten for it; if there is none, it is not learned. */
void kaon__write_set_learn(struct kaon_write_set *set, uint64_t address);

/* What is given now, to out[KAON_WRITE_SET_MAX]; returns how many. */
uint32_t kaon__write_set_list(const struct kaon_write_set *set, uint64_t *out);

/* The same for a new sandbox, which counts. */
uint32_t kaon__write_set_give(struct kaon_write_set *set, uint64_t *out);

#endif

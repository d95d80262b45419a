/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before the first look for an answer from another CPU. Each
 * look takes the cache line away from who is about to write the answer there,
 * so one that comes too early costs more than one that comes late: the first
 * comes when the answer did the last few times.
 */
#ifndef KAON_SRC_HOST_PATIENCE_H
#define KAON_SRC_HOST_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "host/pause.h"

/* Pauses: about what the quickest answers take. If so many answers in a row
 * were there at the first look, one pause less is tried. */
#define KAON_PATIENCE_MAX 8
#define KAON_PATIENCE_TERM 8

/* Zero is none yet. */
struct kaon_patience {
    uint32_t pauses;
    uint32_t late; /* how often in a row they were long enough */
};

static inline void kaon__patience_wait(const struct kaon_patience *patience)
{
    for (uint32_t i = 0; i < patience->pauses; i++)
        kaon__pause();
}

/* The answer came: was the first look too early? */
static inline void kaon__patience_learn(struct kaon_patience *patience,
                                        bool early)
{
    if (early) {
        patience->late = 0;
        if (patience->pauses < KAON_PATIENCE_MAX)
            patience->pauses++;
    } else if (patience->pauses && ++patience->late == KAON_PATIENCE_TERM) {
        patience->late = 0;
        patience->pauses--;
    }
}

#endif

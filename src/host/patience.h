/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before the first look for an answer from another CPU. Each
 * look takes the cache line away from who is about to write the answer there,
 * so one that comes too early costs more than one that comes late: the first
 * comes when the answer did the last few times.
 */
#ifndef KAON_SRC_HOST_PATIENCE_H
#define KAON_SRC_HOST_PATIENCE_H

#include <stdint.h>

/* Beats: what the quickest answers take between distant CPUs. If so many
 * answers in a row were there at the first look, it comes a beat earlier. An
 * answer after that many looks took its time, and the next need not. */
#define KAON_PATIENCE_MAX 128
#define KAON_PATIENCE_TERM 16
#define KAON_PATIENCE_LOOKS 16

/* Zero is none yet. */
struct kaon_patience {
    uint32_t beats;
    uint32_t late; /* how often in a row they were enough */
};

/* A beat is two multiplications, one after the other: some six cycles. A pause,
 * which is ten times as long on some CPUs, is too coarse to aim with. */
static inline void kaon__patience_wait(const struct kaon_patience *patience)
{
    uint32_t x = 1;

    for (uint32_t i = 0; i < 2 * patience->beats; i++) {
        x *= 2654435761u;
        __asm__ volatile("" : "+r"(x));
    }
}

/* The answer came, after so many looks in vain. */
static inline void kaon__patience_learn(struct kaon_patience *patience,
                                        uint32_t looks)
{
    if (looks) {
        patience->late = 0;
        if (looks < KAON_PATIENCE_LOOKS && patience->beats < KAON_PATIENCE_MAX)
            patience->beats++;
    } else if (patience->beats && ++patience->late == KAON_PATIENCE_TERM) {
        patience->late = 0;
        patience->beats--;
    }
}

#endif

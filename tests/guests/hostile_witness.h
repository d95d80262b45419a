/* SPDX-License-Identifier: Apache-2.0 */
/* What the witness computes, in the guest and again in the test. */
#ifndef KAON_TESTS_HOSTILE_WITNESS_H
#define KAON_TESTS_HOSTILE_WITNESS_H

#include <stdint.h>

/* The host's part: HostMix. */
static inline uint64_t witness_mix(uint64_t x)
{
    return (x ^ UINT64_C(0x6b616f6e)) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The guest's part. Needs general, SSE and x87 registers to be sound, and
 * floating point to round to nearest. */
static inline uint64_t witness_sum(uint64_t seed, uint64_t mixed)
{
    volatile double third = 1.0 / (double)(seed + 3);
    volatile long double root = (long double)third;
    uint64_t sum = seed;

    for (uint64_t i = 1; i <= 20; i++) {
        sum = sum * UINT64_C(6364136223846793005) + i;
        third = third * 1.1 + (double)i / 7;
        root = root * 1.25L + (long double)i / 3;
    }
    return sum ^ mixed ^ (uint64_t)(third * 1e9) ^
           (uint64_t)(int64_t)(root * 1e9L) << 20;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Freestanding, without data of its own. */
#include "compute.h"

uint64_t compute(uint64_t *words, uint32_t rounds)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    double sum = 0;

    for (uint32_t i = 0; i < COMPUTE_WORDS; i++)
        words[i] = i * state;
    for (uint32_t i = 0; i < rounds; i++) {
        uint64_t *word = &words[state % COMPUTE_WORDS];

        state ^= state << 13; /* xorshift */
        state ^= state >> 7;
        state ^= state << 17;
        sum = sum * 0.5 + (double)(*word & 0xffff);
        *word += state;
        state += *word >> 32;
    }
    return state ^ (uint64_t)sum;
}

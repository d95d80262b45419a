/* SPDX-License-Identifier: Apache-2.0 */
/* ChaCha20. Keeps nothing. */
#include "abi/chacha20.h"

#define DOUBLE_ROUNDS 10

static inline uint32_t rotate(uint32_t value, unsigned by)
{
    return value << by | value >> (32 - by);
}

/* A macro, so that the words are in registers. */
#define QUARTER_ROUND(a, b, c, d)                                          \
    (a += b, d = rotate(d ^ a, 16), c += d, b = rotate(b ^ c, 12), a += b, \
     d = rotate(d ^ a, 8), c += d, b = rotate(b ^ c, 7))

static void double_round(uint32_t *x)
{
    QUARTER_ROUND(x[0], x[4], x[8], x[12]);
    QUARTER_ROUND(x[1], x[5], x[9], x[13]);
    QUARTER_ROUND(x[2], x[6], x[10], x[14]);
    QUARTER_ROUND(x[3], x[7], x[11], x[15]);
    QUARTER_ROUND(x[0], x[5], x[10], x[15]);
    QUARTER_ROUND(x[1], x[6], x[11], x[12]);
    QUARTER_ROUND(x[2], x[7], x[8], x[13]);
    QUARTER_ROUND(x[3], x[4], x[9], x[14]);
}

void kaon_chacha20_block(uint32_t block[KAON_CHACHA20_BLOCK_WORDS],
                         const uint32_t key[KAON_CHACHA20_KEY_WORDS],
                         uint64_t number)
{
    uint32_t input[KAON_CHACHA20_BLOCK_WORDS] = {
        0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, /* "expand 32-..." */
    };

    for (unsigned i = 0; i < KAON_CHACHA20_KEY_WORDS; i++)
        input[4 + i] = key[i];
    input[12] = (uint32_t)number;
    input[13] = (uint32_t)(number >> 32);
    for (unsigned i = 0; i < KAON_CHACHA20_BLOCK_WORDS; i++)
        block[i] = input[i];
    for (unsigned i = 0; i < DOUBLE_ROUNDS; i++)
        double_round(block);
    for (unsigned i = 0; i < KAON_CHACHA20_BLOCK_WORDS; i++)
        block[i] += input[i];
}

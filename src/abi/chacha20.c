/* SPDX-License-Identifier: Apache-2.0 */
/* ChaCha20. Keeps nothing. */
#include "abi/chacha20.h"

#define DOUBLE_ROUNDS 10

static uint32_t rotate(uint32_t value, unsigned by)
{
    return value << by | value >> (32 - by);
}

static void quarter_round(uint32_t *x, unsigned a, unsigned b, unsigned c,
                          unsigned d)
{
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 7);
}

static void double_round(uint32_t *x)
{
    for (unsigned i = 0; i < 4; i++)
        quarter_round(x, i, 4 + i, 8 + i, 12 + i);
    for (unsigned i = 0; i < 4; i++)
        quarter_round(x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
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

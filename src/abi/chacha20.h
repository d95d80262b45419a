/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ChaCha20 block function (RFC 8439, section 2.3), for random numbers on
 * both sides.
 */
#ifndef KAON_SRC_ABI_CHACHA20_H
#define KAON_SRC_ABI_CHACHA20_H

#include <stdint.h>

#define KAON_CHACHA20_KEY_WORDS 8
#define KAON_CHACHA20_BLOCK_WORDS 16

/* The block of that number, of 64 bits as in the original design. */
void kaon_chacha20_block(uint32_t block[KAON_CHACHA20_BLOCK_WORDS],
                         const uint32_t key[KAON_CHACHA20_KEY_WORDS],
                         uint64_t number);

#endif

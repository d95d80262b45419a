/* SPDX-License-Identifier: Apache-2.0 */
/* ChaCha20 against published vectors; seeds that differ. */
#include "support/harness.h"

#include <string.h>

#include "abi/chacha20.h"
#include "host/seed.h"

/* RFC 8439, appendix A.1, test vectors 1 and 2 (nonce and key zero). */
static void blocks_are_those_of_the_rfc(void **state)
{
    static const uint32_t key[KAON_CHACHA20_KEY_WORDS];
    static const uint32_t first[KAON_CHACHA20_BLOCK_WORDS] = {
        0xade0b876, 0x903df1a0, 0xe56a5d40, 0x28bd8653, 0xb819d2bd, 0x1aed8da0,
        0xccef36a8, 0xc70d778b, 0x7c5941da, 0x8d485751, 0x3fe02477, 0x374ad8b8,
        0xf4b8436a, 0x1ca11815, 0x69b687c3, 0x8665eeb2,
    };
    static const uint32_t second[KAON_CHACHA20_BLOCK_WORDS] = {
        0xbee7079f, 0x7a385155, 0x7c97ba98, 0x0d082d73, 0xa0290fcb, 0x6965e348,
        0x3e53c612, 0xed7aee32, 0x7621b729, 0x434ee69c, 0xb03371d5, 0xd539d874,
        0x281fed31, 0x45fb0a51, 0x1f0ae1ac, 0x6f4d794b,
    };
    uint32_t block[KAON_CHACHA20_BLOCK_WORDS];

    (void)state;
    kaon_chacha20_block(block, key, 0);
    assert_memory_equal(block, first, sizeof block);
    kaon_chacha20_block(block, key, 1);
    assert_memory_equal(block, second, sizeof block);
}

static void no_two_seeds_are_the_same(void **state)
{
    struct kaon_seeder seeders[2];
    struct kaon_seed seeds[200];

    (void)state;
    assert_int_equal(kaon__seeder_init(&seeders[0], NULL), KAON_OK);
    assert_int_equal(kaon__seeder_init(&seeders[1], NULL), KAON_OK);
    for (int i = 0; i < 200; i++)
        seeds[i] = kaon__seeder_next(&seeders[i % 2]);
    for (int i = 0; i < 200; i++)
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(&seeds[i], &seeds[k], sizeof seeds[i]);
}

/* clang-format off */
TESTS(
    TEST(blocks_are_those_of_the_rfc),
    TEST(no_two_seeds_are_the_same),
)

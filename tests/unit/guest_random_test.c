/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's random numbers, on the host. */
#include "support/harness.h"

#include <string.h>

#include "abi/chacha20.h"
#include "guest/exchange.h"

static struct kaon_mailbox mailbox;

/* As the host does before a guest's first entry, and after a restore. */
static void begin(uint64_t generation, uint64_t seed)
{
    mailbox.generation = generation;
    for (unsigned i = 0; i < 4; i++)
        mailbox.seed[i] = seed + i;
    kaon__exchange.mailbox = &mailbox;
}

/* What a seed gives: the second half of each block, the first is the key. */
static void expect(unsigned char *out, size_t blocks, uint64_t seed)
{
    uint64_t words[4] = { seed, seed + 1, seed + 2, seed + 3 };
    uint32_t key[KAON_CHACHA20_KEY_WORDS], block[KAON_CHACHA20_BLOCK_WORDS];

    memcpy(key, words, sizeof key);
    for (size_t i = 0; i < blocks; i++) {
        kaon_chacha20_block(block, key, 0);
        memcpy(key, block, sizeof key);
        memcpy(out + 32 * i, block + 8, 32);
    }
}

static void numbers_are_those_of_the_seed_however_they_are_drawn(void **state)
{
    static const size_t sizes[] = { 1, 0, 7, 31, 32, 33, 64, 100, 3 };
    unsigned char expected[320], got[320];
    size_t at = 0;

    (void)state;
    begin(1, 1000);
    expect(expected, 10, 1000);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        kaon_random(got + at, sizes[i]);
        at += sizes[i];
    }
    assert_memory_equal(got, expected, at);
}

static void another_generation_is_another_sequence(void **state)
{
    unsigned char first[48], again[48], expected[64];

    (void)state;
    begin(10, 7);
    kaon_random(first, 20);
    begin(11, 8); /* what was left of the sequence counts no more */
    kaon_random(again, sizeof again);
    expect(expected, 2, 8);
    assert_memory_equal(again, expected, sizeof again);
    kaon_random(first, sizeof first);
    assert_memory_not_equal(first, again, sizeof first);
}

static void a_seed_is_used_once(void **state)
{
    static const uint64_t none[4];
    unsigned char bytes[8];

    (void)state;
    begin(20, 9);
    kaon_random(bytes, sizeof bytes);
    assert_memory_equal(mailbox.seed, none, sizeof none);
}

static void the_generation_is_the_mailboxs(void **state)
{
    (void)state;
    begin(UINT64_MAX, 1);
    assert_true(kaon_generation() == UINT64_MAX);
    begin(3, 1);
    assert_int_equal(kaon_generation(), 3);
}

TESTS(TEST(numbers_are_those_of_the_seed_however_they_are_drawn),
      TEST(another_generation_is_another_sequence), TEST(a_seed_is_used_once),
      TEST(the_generation_is_the_mailboxs))

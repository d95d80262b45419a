/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers, from the seed that the host gives with each generation.
 *
 * Owns the generator: a key, and bytes that nobody had yet. What was given
 * out, and what it was made from, is wiped: neither the guest's memory nor a
 * snapshot of it tells numbers of before. A guest that was restored notices
 * by the generation, and takes the seed that came with it.
 */
#include "guest/exchange.h"

#include "abi/chacha20.h"

#define FRESH_MAX (4 * (KAON_CHACHA20_BLOCK_WORDS - KAON_CHACHA20_KEY_WORDS))

static struct generator {
    uint32_t key[KAON_CHACHA20_KEY_WORDS];
    unsigned char fresh[FRESH_MAX];
    uint32_t fresh_count; /* the last so many of them */
    bool seeded;
    uint64_t generation; /* that it was seeded in */
} generator;

_Static_assert(sizeof generator.key ==
                   sizeof((struct kaon_mailbox *)NULL)->seed,
               "a seed is a key");

uint64_t kaon_generation(void)
{
    return kaon__exchange.mailbox->generation;
}

static void seed(struct generator *g)
{
    struct kaon_mailbox *mailbox = kaon__exchange.mailbox;

    if (g->seeded && g->generation == mailbox->generation)
        return;
    __builtin_memcpy(g->key, mailbox->seed, sizeof g->key);
    __builtin_memset(mailbox->seed, 0, sizeof mailbox->seed);
    g->fresh_count = 0;
    g->generation = mailbox->generation;
    g->seeded = true;
}

/* Half of a block is the next key, and half is to be given out. */
static void refill(struct generator *g)
{
    uint32_t block[KAON_CHACHA20_BLOCK_WORDS];

    kaon_chacha20_block(block, g->key, 0);
    __builtin_memcpy(g->key, block, sizeof g->key);
    __builtin_memcpy(g->fresh, block + KAON_CHACHA20_KEY_WORDS,
                     sizeof g->fresh);
    g->fresh_count = sizeof g->fresh;
    for (volatile uint32_t *word = block;
         word < block + KAON_CHACHA20_BLOCK_WORDS; word++)
        *word = 0;
}

void kaon_random(void *buffer, size_t size)
{
    struct generator *g = &generator;
    unsigned char *to = buffer;

    seed(g);
    while (size) {
        unsigned char *from;
        size_t count;

        if (g->fresh_count == 0)
            refill(g);
        from = g->fresh + sizeof g->fresh - g->fresh_count;
        count = size < g->fresh_count ? size : g->fresh_count;
        __builtin_memcpy(to, from, count);
        __builtin_memset(from, 0, count);
        g->fresh_count -= (uint32_t)count;
        to += count;
        size -= count;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heap that is read and written page by page, wherever it lies: what a
 * snapshot of much state is taken of.
 */
#include <kaon/guest.h>

/* The mailbox, as the exchange begins in its page. */
static const struct kaon_mailbox *mailbox(void)
{
    static const struct kaon_mailbox *known;
    uintptr_t inside;

    if (!known) {
        inside = (uintptr_t)kaon_reserve(16);
        if (!inside)
            kaon_fail(1, "the exchange is full");
        known = (const struct kaon_mailbox *)(inside & ~(uintptr_t)4095);
    }
    return known;
}

static volatile uint64_t *word_of(uint32_t page)
{
    if (page >= mailbox()->heap_size / 4096)
        kaon_fail(1, "there is no such page");
    return (volatile uint64_t *)(mailbox()->heap + (uint64_t)page * 4096);
}

static uint64_t peek(uint32_t page)
{
    return *word_of(page);
}
KAON_EXPORT(peek, u64, u32);

static void poke(uint32_t page, uint64_t value)
{
    *word_of(page) = value;
}
KAON_EXPORT(poke, void, u32, u64);

/* Writes first, first + step, ... `count` pages, each value + its number. */
static void poke_many(uint32_t first, uint32_t count, uint32_t step,
                      uint64_t value)
{
    for (uint32_t i = 0; i < count; i++)
        *word_of(first + i * step) = value + first + i * step;
}
KAON_EXPORT(poke_many, void, u32, u32, u32, u64);

/* The first of these pages that is not as poke_many() left it; or ~0. */
static uint32_t find_other(uint32_t first, uint32_t count, uint32_t step,
                           uint64_t value)
{
    for (uint32_t i = 0; i < count; i++)
        if (*word_of(first + i * step) != value + first + i * step)
            return first + i * step;
    return UINT32_MAX;
}
KAON_EXPORT(find_other, u32, u32, u32, u32, u64);

/* ---- What differs though the state is the same ------------------------- */

static uint64_t generation(void)
{
    return kaon_generation();
}
KAON_EXPORT(generation, u64);

static uint64_t random_number(void)
{
    uint64_t number;

    kaon_random(&number, sizeof number);
    return number;
}
KAON_EXPORT(random_number, u64);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers requests from a table that takes a while to build: squares of digit
 * sums. Some requests spoil it, by mistake or by design.
 */
#include <kaon/guest.h>

#define SIZE 20000u

static uint32_t *table;
static uint32_t requests;

/* Before the first call, once for all sandboxes made from the snapshot. */
void kaon_guest_init(void)
{
    table = kaon_malloc(SIZE * sizeof *table);
    if (!table)
        kaon_abort(1, "the heap is too small");
    for (uint32_t i = 0; i < SIZE; i++) {
        uint32_t sum = 0;

        for (uint32_t rest = i; rest; rest /= 10)
            sum += rest % 10;
        table[i] = sum * sum;
    }
}

static uint32_t look_up(uint32_t number)
{
    requests++;
    return number < SIZE ? table[number] : 0;
}
KAON_EXPORT(look_up, u32, u32);

/* How many requests this sandbox has had. */
static uint32_t seen(void)
{
    return requests;
}
KAON_EXPORT(seen, u32);

/* Nobody checks the number: a bug. */
static void update(uint32_t number, uint32_t value)
{
    requests++;
    table[number] = value;
}
KAON_EXPORT(update, void, u32, u32);

static uint64_t token(void)
{
    uint64_t bits;

    kaon_random(&bits, sizeof bits);
    return bits;
}
KAON_EXPORT(token, u64);

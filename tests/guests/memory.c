/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of every kind, written and searched. Its data are so many pages that
 * no sandbox gets copies of all of them at once.
 */
#include <kaon/guest.h>

#define PAGES 64
#define WORDS 512 /* of 8 bytes, in a page */

/* In each page the first word is 7, and the rest 0. */
static volatile uint64_t table[PAGES][WORDS]
    __attribute__((aligned(4096))) = { [0 ... PAGES - 1] = { 7 } };
static volatile uint64_t zeroes[8][WORDS];

static void check(uint32_t page)
{
    if (page >= PAGES)
        kaon_fail(1, "there is no such page");
}

static uint64_t read_page(uint32_t page)
{
    check(page);
    return table[page][0];
}
KAON_EXPORT(read_page, u64, u32);

static void write_page(uint32_t page, uint64_t value)
{
    check(page);
    table[page][0] = value;
}
KAON_EXPORT(write_page, void, u32, u64);

/* Adds 1 to each page's first word, all of which must be the same. */
static uint64_t step_all(void)
{
    uint64_t first = table[0][0];

    for (uint32_t page = 0; page < PAGES; page++) {
        if (table[page][0] != first)
            kaon_fail((int32_t)page, "a page has another count");
        table[page][0] = first + 1;
    }
    return first + 1;
}
KAON_EXPORT(step_all, u64);

/* Each page's first word, which must be the same in all. Writes nothing. */
static uint64_t read_all(void)
{
    for (uint32_t page = 1; page < PAGES; page++)
        if (table[page][0] != table[0][0])
            kaon_fail((int32_t)page, "a page has another count");
    return table[0][0];
}
KAON_EXPORT(read_all, u64);

/* Whole pages of heap, given back at the end; how many could be had. */
static uint32_t touch_heap(uint32_t pages)
{
    volatile unsigned char *memory = kaon_malloc((size_t)pages * 4096);

    if (!memory)
        kaon_fail(1, "the heap is exhausted");
    for (uint32_t i = 0; i < pages; i++)
        memory[(size_t)i * 4096] = 1;
    kaon_free((void *)(uintptr_t)memory);
    return pages;
}
KAON_EXPORT(touch_heap, u32, u32);

/* ---- Secrets ----------------------------------------------------------- */

/* The first byte of all that host and guest share. */
static volatile uint64_t *mailbox(void)
{
    uintptr_t inside = (uintptr_t)kaon_reserve(16);

    if (!inside)
        kaon_fail(1, "the exchange is full");
    return (volatile uint64_t *)(inside & ~(uintptr_t)4095);
}

static void fill(volatile uint64_t *from, uint64_t bytes, uint64_t word)
{
    for (uint64_t i = 0; i < bytes / 8; i++)
        from[i] = word;
}

/*
 * How many words are `word`. It is told inverted, so that neither the
 * argument nor a register that is spilled can be taken for it.
 */
static uint64_t count(const volatile uint64_t *from, uint64_t bytes,
                      uint64_t inverted)
{
    uint64_t found = 0;

    for (uint64_t i = 0; i < bytes / 8; i++)
        found += ~from[i] == inverted;
    return found;
}

/* Leaves a word wherever a guest can write: data, heap, stack, exchange. */
static void bury(uint64_t inverted)
{
    const volatile struct kaon_mailbox *box =
        (const volatile struct kaon_mailbox *)(const volatile void *)mailbox();
    uint64_t room = (uintptr_t)__builtin_frame_address(0) - box->stack_low;
    volatile uint64_t *stack = __builtin_alloca(room - 4096);
    volatile uint64_t *area =
        (volatile uint64_t *)((uintptr_t)mailbox() + KAON_MAILBOX_SIZE);

    fill(stack, room - 8192, ~inverted);
    fill(&table[0][0], sizeof table, ~inverted);
    fill(&zeroes[0][0], sizeof zeroes, ~inverted);
    fill((volatile uint64_t *)box->heap, box->heap_size, ~inverted);
    fill(area, box->exchange_size - KAON_MAILBOX_SIZE, ~inverted);
    /* Of the mailbox page what lies behind this call's own words. */
    fill((volatile uint64_t *)((uintptr_t)mailbox() + 1024), 3072, ~inverted);
}
KAON_EXPORT(bury, void, u64);

/* How many words of all memory that there is are the one. */
static uint64_t dig(uint64_t inverted)
{
    const volatile struct kaon_mailbox *box =
        (const volatile struct kaon_mailbox *)(const volatile void *)mailbox();

    return count(&table[0][0], sizeof table, inverted) +
           count(&zeroes[0][0], sizeof zeroes, inverted) +
           count((const volatile uint64_t *)box->heap, box->heap_size,
                 inverted) +
           count((const volatile uint64_t *)box->stack_low,
                 box->stack_high - box->stack_low, inverted) +
           count(mailbox(), box->exchange_size, inverted);
}
KAON_EXPORT(dig, u64, u64);

/* Whether the memory is as a guest must find it at its start. */
static bool is_pristine(void)
{
    const volatile struct kaon_mailbox *box =
        (const volatile struct kaon_mailbox *)(const volatile void *)mailbox();
    uint64_t zero_words = count(&table[0][0], sizeof table, ~UINT64_C(0)) +
                          count(&zeroes[0][0], sizeof zeroes, ~UINT64_C(0)) +
                          count((const volatile uint64_t *)box->heap,
                                box->heap_size, ~UINT64_C(0));

    return zero_words == sizeof table / 8 - PAGES + sizeof zeroes / 8 +
                             box->heap_size / 8 &&
           count(&table[0][0], sizeof table, ~UINT64_C(7)) == PAGES;
}
KAON_EXPORT(is_pristine, bool);

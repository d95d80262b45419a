/* SPDX-License-Identifier: Apache-2.0 */
/* The guest that kaon bench measures. */
#include <kaon/guest.h>

#include "compute.h"

KAON_IMPORT(HostAdd, i32, i32, i32);

static int32_t add(int32_t a, int32_t b)
{
    return a + b;
}
KAON_EXPORT(add, i32, i32, i32);

/* The same by the host: one callback. */
static int32_t add_by_host(int32_t a, int32_t b)
{
    int32_t sum;

    if (HostAdd(&sum, a, b))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    return sum;
}
KAON_EXPORT(add_by_host, i32, i32, i32);

static struct kaon_span echo(struct kaon_span bytes)
{
    return bytes;
}
KAON_EXPORT(echo, bytes, bytes);

#define PAGE 4096u

/* Writes to so many pages of its own, up to DIRTY_MAX. */
#define DIRTY_MAX 256u
static uint32_t dirty(uint32_t pages)
{
    static unsigned char *memory;
    uint32_t i;

    if (!memory)
        memory = kaon_malloc(DIRTY_MAX * PAGE);
    if (!memory || pages > DIRTY_MAX)
        kaon_fail(1, "the heap is too small");
    for (i = 0; i < pages; i++)
        memory[i * PAGE]++;
    return i;
}
KAON_EXPORT(dirty, u32, u32);

/* A large state, as of an interpreter that has started. */
static unsigned char *state;
static uint32_t state_pages;

static uint32_t fill(uint32_t pages)
{
    state = kaon_malloc((size_t)pages * PAGE);
    if (!state)
        kaon_fail(1, "the heap is too small");
    for (uint32_t i = 0; i < pages; i++)
        *(uint32_t *)(state + (size_t)i * PAGE) = i + 1;
    state_pages = pages;
    return pages;
}
KAON_EXPORT(fill, u32, u32);

/*
 * What a request does to such a state: writes to so many pages of it and reads
 * as many others, in four places far apart. Returns what is wrong with it.
 */
static uint32_t visit(uint32_t pages)
{
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < pages; i++) {
        uint32_t place = i % 4 * (state_pages / 4) + i / 4;
        uint32_t *written = (uint32_t *)(state + (size_t)place * PAGE);
        const uint32_t *read = written + pages / 4 * (PAGE / sizeof *read);

        wrong += *written != place + 1;
        wrong += *read != place + pages / 4 + 1;
        *written = 0;
    }
    return wrong;
}
KAON_EXPORT(visit, u32, u32);

static uint64_t compute_rounds(uint32_t rounds)
{
    static uint64_t *words;

    if (!words)
        words = kaon_malloc(COMPUTE_WORDS * sizeof *words);
    if (!words)
        kaon_fail(1, "the heap is too small");
    return compute(words, rounds);
}
KAON_EXPORT_AS("compute", compute_rounds, u64, u32);

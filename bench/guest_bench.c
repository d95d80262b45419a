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

/* SPDX-License-Identifier: Apache-2.0 */
/* Warm calls: what they cost beyond the exits, the copies and the CPU. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "compute.h"

/* Calls in one sample: the clock and the change of VMs must not show. */
#define BATCH 16

/*
 * So many samples of `trips` exits, and of calls of a function, in turns. The
 * first of each turn finds cold caches and another VM loaded; it is not timed.
 */
static bool measure_calls(struct context *context, struct result *result,
                          struct kaon_function function, unsigned trips)
{
    for (unsigned round = rounds(context, 300); round; round--) {
        double start;

        if (!trip(context, &context->bare))
            return false;
        start = now_us();
        for (unsigned i = 0; i < BATCH * trips; i++)
            if (!trip(context, &context->bare))
                return false;
        samples_add(&result->floor, (now_us() - start) / BATCH);

        if (!call_adder(context, context->sandbox, function))
            return false;
        start = now_us();
        for (unsigned i = 0; i < BATCH; i++)
            if (!call_adder(context, context->sandbox, function))
                return false;
        sample_ours(result, (now_us() - start) / BATCH);
    }
    return true;
}

bool measure_call(struct context *context, struct result *result)
{
    return measure_calls(context, result, context->add, 1);
}

bool measure_callback(struct context *context, struct result *result)
{
    return measure_calls(context, result, context->add_by_host, 2);
}

/* ---- Echo -------------------------------------------------------------- */

struct buffers {
    unsigned char *from, *between, *to;
    size_t size;
};

/* The floor: a call that carries nothing, and the bytes there and back. */
static bool carry_by_hand(struct context *context, const struct buffers *b)
{
    memcpy(b->between, b->from, b->size);
    if (!call_adder(context, context->sandbox, context->add))
        return false;
    for (unsigned i = 1; i < context->suite->copies; i++)
        memcpy(i % 2 ? b->to : b->from, i % 2 ? b->between : b->to, b->size);
    return true;
}

static bool carry_by_guest(struct context *context, const struct buffers *b)
{
    struct kaon_outcome out;

    if (!call(context, context->sandbox, context->echo,
              KAON_ARGS(kaon_bytes(b->from, b->size)), &out))
        return false;
    if (out.value.span.size != b->size)
        return fail(context, "the guest gives %zu bytes back, not %zu",
                    out.value.span.size, b->size);
    memcpy(b->to, out.value.span.data, b->size);
    return true;
}

static bool measure_carried(struct context *context, struct result *result,
                            const struct buffers *b, unsigned batch)
{
    for (unsigned round = rounds(context, 200); round; round--) {
        double start = now_us();

        for (unsigned i = 0; i < batch; i++)
            if (!carry_by_hand(context, b))
                return false;
        samples_add(&result->floor, (now_us() - start) / batch);

        start = now_us();
        for (unsigned i = 0; i < batch; i++)
            if (!carry_by_guest(context, b))
                return false;
        sample_ours(result, (now_us() - start) / batch);
    }
    if (memcmp(b->from, b->to, b->size) != 0)
        return fail(context, "the guest gives other bytes back");
    return true;
}

static bool measure_echo(struct context *context, struct result *result,
                         size_t size, unsigned batch)
{
    unsigned char *memory = malloc(3 * size);
    const struct buffers b = { memory, memory + size, memory + 2 * size, size };
    bool good;

    if (!memory)
        return fail(context, "out of memory");
    for (size_t i = 0; i < 3 * size; i++)
        memory[i] = (unsigned char)(i * 7 + i / 256);
    good = carry_by_guest(context, &b) &&
           measure_carried(context, result, &b, batch);
    free(memory);
    return good;
}

bool measure_echo_small(struct context *context, struct result *result)
{
    return measure_echo(context, result, (size_t)1 << 10, BATCH);
}

bool measure_echo_large(struct context *context, struct result *result)
{
    return measure_echo(context, result, (size_t)1 << 20, 2);
}

/* ---- Compute ----------------------------------------------------------- */

/* Enough for the call around them not to show. */
#define COMPUTE_ROUNDS 1500000u

bool measure_compute(struct context *context, struct result *result)
{
    uint64_t *words = malloc(COMPUTE_WORDS * sizeof *words);
    bool good = words != NULL;

    if (!words)
        fail(context, "out of memory");
    for (unsigned round = rounds(context, 100); good && round; round--) {
        struct kaon_outcome out;
        double start = now_us(), middle;
        uint64_t native = compute(words, COMPUTE_ROUNDS);

        middle = now_us();
        good = call(context, context->sandbox, context->compute,
                    KAON_ARGS(kaon_u32(COMPUTE_ROUNDS)), &out);
        samples_add(&result->floor, (middle - start) / 1e3);
        sample_ours(result, (now_us() - middle) / 1e3);
        if (good && out.value.u64 != native)
            good = fail(context, "the guest computes something else");
    }
    free(words);
    return good;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that cross in shared memory, between two CPUs that both look for them.
 */
#include "bench.h"

#include <errno.h>
#include <string.h>

/* Many in one sample, and some first that find the other side asleep. */
#define BATCH 512
#define FIRST 64

/* The bare guest spins only meanwhile: there may be no third CPU. */
static bool spin_bare(struct context *context, struct result *result)
{
    const struct floor *floor = context->floor;
    const char *what;
    struct floor_words *words = floor->start(&context->bare, &what);
    double start = 0;

    if (!words)
        return fail(context, "the floor: %s: %s", what, strerror(errno));
    for (int i = -FIRST; i < BATCH; i++) {
        if (i == 0)
            start = now_us();
        if (!floor_ping(words))
            return fail(context, "the floor: it spins no more");
    }
    samples_add(&result->floor, (now_us() - start) / BATCH);
    if (!floor->stop(&context->bare, &what))
        return fail(context, "the floor: %s: %s", what, strerror(errno));
    return true;
}

static bool spin_ours(struct context *context, struct result *result,
                      struct kaon_sandbox *sandbox,
                      struct kaon_function function)
{
    double start = 0;

    for (int i = -FIRST; i < BATCH; i++) {
        if (i == 0)
            start = now_us();
        if (!call_adder(context, sandbox, function))
            return false;
    }
    sample_ours(result, (now_us() - start) / BATCH);
    return true;
}

/* On a machine whose CPUs are taken this takes long: less will do then. */
#define LIMIT_US 5e6

static bool measure_with(struct context *context, struct result *result,
                         struct kaon_sandbox *sandbox,
                         struct kaon_function function)
{
    double start = now_us();

    for (unsigned round = rounds(context, 300);
         round && now_us() - start < LIMIT_US; round--)
        if (!spin_bare(context, result) ||
            !spin_ours(context, result, sandbox, function))
            return false;
    return true;
}

/* Where guests look for their next call for a while without being told. */
bool measure_spinning(struct context *context, struct result *result)
{
    if (!use_all_cpus(context, result))
        return false;
    if (result->skipped)
        return true;
    return measure_with(context, result, context->sandbox, context->add) &&
           use_usual_cpus(context);
}

/* ---- Resident ---------------------------------------------------------- */

/* What crosses is measured, not what it takes to sleep: on a busy machine one
 * side may be without a CPU for longer than is usual to wait. */
#define RESIDENT_SPIN_NS UINT64_C(20000000)

static bool measure_resident_sandbox(struct context *context,
                                     struct result *result,
                                     struct kaon_function function)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;
    bool good;

    if (!make_sandbox(context, &sandbox, NULL))
        return false;
    if (kaon_sandbox_start_resident(
            sandbox, KAON_RESIDENT_OPTS(.spin_ns = RESIDENT_SPIN_NS), &err))
        good = fail(context, "%s", err.text);
    else
        good = measure_with(context, result, sandbox, function);
    kaon_sandbox_destroy(sandbox);
    return good;
}

static bool measure_resident(struct context *context, struct result *result,
                             struct kaon_function function)
{
    if (!use_all_cpus(context, result))
        return false;
    if (result->skipped)
        return true;
    return measure_resident_sandbox(context, result, function) &&
           use_usual_cpus(context);
}

bool measure_resident_call(struct context *context, struct result *result)
{
    return measure_resident(context, result, context->add);
}

bool measure_resident_callback(struct context *context, struct result *result)
{
    return measure_resident(context, result, context->add_by_host);
}

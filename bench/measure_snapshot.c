/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New sandboxes from a large state, of which each request uses a little: 64
 * MiB, 16 pages written and 16 read.
 */
#include "bench.h"

#include <stdlib.h>
#include <unistd.h>

#include "memory.h"

#define STATE_PAGES ((uint32_t)(64 << 20) / 4096)
#define VISITED 16 /* pages written, and as many read */
#define HEAP ((uint64_t)80 << 20)

#define CROWD 10000
#define CROWD_MEMORY (UINT64_C(4) << 30) /* to have free for them */
#define SWITCHED 1000
#define WARM_CALLS 8

struct large {
    struct kaon_domain *domain;
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *sandboxes[CROWD]; /* NULL after those that there are */
};

static bool make_from(struct context *context, const struct large *large,
                      struct kaon_sandbox **out)
{
    struct kaon_error err;

    if (kaon_sandbox_create_from(
            out, large->snapshot,
            KAON_SANDBOX_OPTS(.domain = large->domain,
                              .host_functions = context->functions),
            &err))
        return fail(context, "%s", err.text);
    return true;
}

static bool visit(struct context *context, struct kaon_sandbox *sandbox)
{
    struct kaon_outcome out;

    if (!call(context, sandbox, context->visit, KAON_ARGS(kaon_u32(VISITED)),
              &out))
        return false;
    if (out.value.u32 != 0)
        return fail(context, "%u pages are not the snapshot's", out.value.u32);
    return true;
}

static bool take_large(struct context *context, struct large *large)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_error err;
    bool good;

    if (kaon_sandbox_create(
            &sandbox, context->image,
            KAON_SANDBOX_OPTS(.host_functions = context->functions,
                              .heap_bytes = HEAP,
                              .isolation = context->suite->isolation),
            &err))
        return fail(context, "%s", err.text);
    good = call(context, sandbox, context->fill,
                KAON_ARGS(kaon_u32(STATE_PAGES)), &out);
    if (good && kaon_snapshot_take(&large->snapshot, sandbox, &err))
        good = fail(context, "%s", err.text);
    kaon_sandbox_destroy(sandbox);
    return good;
}

static void large_destroy(struct large *large)
{
    if (!large)
        return;
    for (unsigned i = 0; i < CROWD; i++)
        kaon_sandbox_destroy(large->sandboxes[i]);
    kaon_snapshot_destroy(large->snapshot);
    kaon_domain_destroy(large->domain);
    free(large);
}

/* The snapshot knows its write set: one sandbox of it has been used. */
static struct large *large_create(struct context *context)
{
    struct large *large = calloc(1, sizeof *large);
    struct kaon_sandbox *sandbox = NULL;
    bool good;

    if (!large) {
        fail(context, "out of memory");
        return NULL;
    }
    good = take_large(context, large) && make_domain(context, &large->domain) &&
           make_from(context, large, &sandbox) && visit(context, sandbox);
    kaon_sandbox_destroy(sandbox);
    if (good)
        return large;
    large_destroy(large);
    return NULL;
}

/* ---- Measurements ------------------------------------------------------ */

static bool sample_warm(struct context *context, struct result *result)
{
    double start;

    if (!call_adder(context, context->sandbox, context->add))
        return false;
    start = now_us();
    for (unsigned i = 0; i < WARM_CALLS; i++)
        if (!call_adder(context, context->sandbox, context->add))
            return false;
    samples_add(&result->floor, (now_us() - start) / WARM_CALLS);
    return true;
}

/* So many that have been used once; each is timed for one of the two. */
enum timed { NOTHING, CREATE, CREATE_AND_CALL };

static bool fill_crowd(struct context *context, struct large *large,
                       unsigned count, struct result *result, enum timed timed)
{
    for (unsigned i = 0; i < count; i++) {
        double start, created;

        if (timed == CREATE_AND_CALL && i % 16 == 0 &&
            !sample_warm(context, result))
            return false;
        start = now_us();
        if (!make_from(context, large, &large->sandboxes[i]))
            return false;
        created = now_us();
        if (!visit(context, large->sandboxes[i]))
            return false;
        if (timed == CREATE)
            sample_ours(result, created - start);
        else if (timed == CREATE_AND_CALL)
            sample_ours(result, now_us() - start);
    }
    return true;
}

static bool measure_new(struct context *context, struct result *result,
                        enum timed timed)
{
    bool good = true;

    for (unsigned round = rounds(context, 3); good && round; round--) {
        struct large *large = large_create(context);

        good = large && fill_crowd(context, large, SWITCHED, result, timed);
        large_destroy(large);
    }
    return good;
}

bool measure_create_from(struct context *context, struct result *result)
{
    return measure_new(context, result, CREATE);
}

bool measure_create_from_first(struct context *context, struct result *result)
{
    return measure_new(context, result, CREATE_AND_CALL);
}

/* Every call is to another sandbox than the one before. */
static bool go_round(struct context *context, const struct large *large,
                     struct result *result)
{
    for (unsigned i = 0; i < SWITCHED; i++) {
        double start;

        if (i % 16 == 0 && !sample_warm(context, result))
            return false;
        start = now_us();
        if (!call_adder(context, large->sandboxes[i], context->add))
            return false;
        if (i % 16) /* the first after the warm calls changes the VM too */
            sample_ours(result, now_us() - start);
    }
    return true;
}

bool measure_switch_from(struct context *context, struct result *result)
{
    struct large *large = large_create(context);
    bool good = large && fill_crowd(context, large, SWITCHED, result, NOTHING);

    for (unsigned round = rounds(context, 10); good && round; round--)
        good = go_round(context, large, result);
    large_destroy(large);
    return good;
}

/* What the snapshot and the domain take themselves is not theirs. */
static bool idle_round(struct context *context, struct large *large,
                       struct result *result)
{
    struct memory before, after;

    memory_settle();
    if (!memory_now(context, &before) ||
        !fill_crowd(context, large, CROWD, result, NOTHING) ||
        !memory_now(context, &after))
        return false;
    sample_ours(result, (after.process - before.process + after.kernel -
                         before.kernel) /
                            CROWD);
    samples_add(&result->kernel, (after.kernel - before.kernel) / CROWD);
    return true;
}

static bool has_memory(uint64_t bytes)
{
    return (uint64_t)sysconf(_SC_AVPHYS_PAGES) >=
           bytes / (uint64_t)sysconf(_SC_PAGESIZE);
}

bool measure_idle_from(struct context *context, struct result *result)
{
    bool good = true;

    if (!has_memory(CROWD_MEMORY)) {
        result->skipped = "it takes 4 GiB of free memory";
        return true;
    }
    for (unsigned round = rounds(context, 3); good && round; round--) {
        struct large *large = large_create(context);

        good = large && idle_round(context, large, result);
        large_destroy(large);
    }
    return good;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A clean sandbox for each request, from a pool. */
#include "bench.h"

#define SPIN_NS UINT64_C(50000000)
#define BATCH 8 /* in one sample */
#define INSIDE_US 300
#define WARM_UP 64 /* until the pool is what it will be, and has learned */

/* Acquires, calls, releases: as a request does, cleaning included. */
static bool serve(struct context *context, struct kaon_pool *pool)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;
    bool good;

    if (kaon_pool_acquire(pool, &sandbox, KAON_FOREVER, &err))
        return fail(context, "%s", err.text);
    good = call_adder(context, sandbox, context->add);
    kaon_pool_release(pool, sandbox);
    return good;
}

static bool time_calls(struct context *context, struct kaon_pool *pool,
                       double *each)
{
    double start = 0;

    for (int i = -1; i < BATCH; i++) {
        if (i == 0)
            start = now_us();
        if (pool ? !serve(context, pool)
                 : !call_adder(context, context->sandbox, context->add))
            return false;
    }
    *each = (now_us() - start) / BATCH;
    return true;
}

static bool measure_served(struct context *context, struct result *result,
                           struct kaon_pool *pool)
{
    for (unsigned i = 0; i < WARM_UP; i++)
        if (!serve(context, pool))
            return false;
    for (unsigned round = rounds(context, 300); round; round--) {
        double warm, ours;

        if (!time_calls(context, NULL, &warm) ||
            !time_calls(context, pool, &ours))
            return false;
        samples_add(&result->floor, warm);
        sample_ours(result, ours);
    }
    return true;
}

static bool make_pool(struct context *context, struct kaon_pool **pool,
                      uint32_t resident)
{
    struct kaon_outcome out;
    struct kaon_error err;

    if (kaon_pool_create(
            pool, &out, context->image,
            KAON_POOL_OPTS(.max = resident ? resident : 0, .resident = resident,
                           .spin_ns = SPIN_NS,
                           .sandbox = KAON_SANDBOX_OPTS(
                                   .host_functions = context->functions,
                                   .isolation = context->suite->isolation)),
            &err))
        return fail(context, "%s", err.text);
    if (!*pool)
        return fail(context, "the guest did not start: %s", out.text);
    return true;
}

bool measure_pool(struct context *context, struct result *result)
{
    struct kaon_pool *pool;
    bool good;

    if (!make_pool(context, &pool, 0))
        return false;
    good = measure_served(context, result, pool);
    kaon_pool_destroy(pool);
    return good;
}

/* ---- One that waits inside --------------------------------------------- */

/* Until one is ready, and has most likely come inside. */
static void await_ready(struct kaon_pool *pool)
{
    struct kaon_pool_stats stats = { .ready = 0 };
    double start;

    while (!stats.ready)
        (void)kaon_pool_stats(pool, &stats);
    start = now_us();
    while (now_us() - start < INSIDE_US)
        ;
}

/* Only what comes before the release is timed: cleaning is not the caller's. */
static bool serve_at_once(struct context *context, struct result *result,
                          struct kaon_pool *pool)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;
    double start;
    bool good;

    await_ready(pool);
    start = now_us();
    if (kaon_pool_acquire(pool, &sandbox, KAON_FOREVER, &err))
        return fail(context, "%s", err.text);
    good = call_adder(context, sandbox, context->add);
    sample_ours(result, now_us() - start);
    kaon_pool_release(pool, sandbox);
    return good;
}

bool measure_pool_resident(struct context *context, struct result *result)
{
    struct kaon_pool *pool;
    bool good = true;

    if (CPU_COUNT(&context->cpus) < 2) {
        result->skipped = "it takes two CPUs";
        return true;
    }
    if (!make_pool(context, &pool, 1))
        return false;
    for (unsigned round = rounds(context, 500); good && round; round--)
        good = serve_at_once(context, result, pool);
    kaon_pool_destroy(pool);
    return good;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A clean sandbox for each request, from a pool. */
#include "bench.h"

#define BATCH 8    /* in one sample */
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

bool measure_pool(struct context *context, struct result *result)
{
    struct kaon_pool *pool;
    struct kaon_outcome out;
    struct kaon_error err;
    bool good;

    if (kaon_pool_create(
            &pool, &out, context->image,
            KAON_POOL_OPTS(.sandbox = KAON_SANDBOX_OPTS(
                                   .host_functions = context->functions,
                                   .isolation = context->suite->isolation)),
            &err))
        return fail(context, "%s", err.text);
    if (!pool)
        return fail(context, "the guest did not start: %s", out.text);
    good = measure_served(context, result, pool);
    kaon_pool_destroy(pool);
    return good;
}

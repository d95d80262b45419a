/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen calls in one entry, against one call. */
#include "bench.h"

#define CALLS 16
#define TIMES 16 /* in one sample */

struct batch {
    struct kaon_batch_call calls[CALLS];
    struct kaon_value args[CALLS][2];
    struct kaon_outcome outcomes[CALLS];
};

static void fill(struct batch *batch, struct kaon_function add)
{
    for (int32_t i = 0; i < CALLS; i++) {
        batch->args[i][0] = kaon_i32(i);
        batch->args[i][1] = kaon_i32(1000);
        batch->calls[i] = (struct kaon_batch_call){ .function = add,
                                                    .args = batch->args[i],
                                                    .count = 2 };
    }
}

static bool make(struct context *context, struct batch *batch)
{
    struct kaon_error err;

    if (kaon_call_batch(context->sandbox, batch->outcomes, batch->calls, CALLS,
                        NULL, &err))
        return fail(context, "%s", err.text);
    for (int32_t i = 0; i < CALLS; i++)
        if (batch->outcomes[i].kind != KAON_RETURNED ||
            batch->outcomes[i].value.i32 != 1000 + i)
            return fail(context, "call %d of a batch: %s", i + 1,
                        kaon_outcome_name(batch->outcomes[i].kind));
    return true;
}

bool measure_batch(struct context *context, struct result *result)
{
    struct batch batch;

    fill(&batch, context->add);
    for (unsigned round = rounds(context, 300); round; round--) {
        double start;

        if (!make(context, &batch))
            return false;
        start = now_us();
        for (unsigned i = 0; i < TIMES; i++)
            if (!call_adder(context, context->sandbox, context->add))
                return false;
        samples_add(&result->floor, (now_us() - start) / TIMES);

        start = now_us();
        for (unsigned i = 0; i < TIMES; i++)
            if (!make(context, &batch))
                return false;
        sample_ours(result, (now_us() - start) / TIMES);
    }
    return true;
}

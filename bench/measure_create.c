/* SPDX-License-Identifier: Apache-2.0 */
/* New guests: in VMs of their own, and many in one. */
#include "bench.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- A VM each --------------------------------------------------------- */

/* Closing a VM is not timed, nor what the kernel does after it: wait. */
#define SETTLE_US 3000

static bool create_bare(struct context *context, struct result *result)
{
    struct floor_guest bare;
    double start;
    bool good;

    usleep(SETTLE_US);
    start = now_us();
    if (!make_bare(context, &bare))
        return false;
    good = trip(context, &bare);
    samples_add(&result->floor, now_us() - start);
    context->floor->destroy(&bare);
    return good;
}

static bool create_ours(struct context *context, struct result *result)
{
    struct kaon_sandbox *sandbox;
    double start;
    bool good;

    usleep(SETTLE_US);
    start = now_us();
    if (!make_sandbox(context, &sandbox, NULL))
        return false;
    good = call_adder(context, sandbox, context->add);
    sample_ours(result, now_us() - start);
    kaon_sandbox_destroy(sandbox);
    return good;
}

/* Each goes first as often: what a closed VM leaves to do meets both. */
bool measure_create_vm(struct context *context, struct result *result)
{
    for (unsigned round = rounds(context, 200); round; round--) {
        bool good = round % 2 ? create_bare(context, result) &&
                                    create_ours(context, result)
                              : create_ours(context, result) &&
                                    create_bare(context, result);

        if (!good)
            return false;
    }
    return true;
}

/* ---- Many in one domain ------------------------------------------------ */

#define CROWD 1000

struct crowd {
    struct kaon_domain *domain;
    struct kaon_sandbox *sandboxes[CROWD];
};

static void crowd_destroy(struct crowd *crowd)
{
    for (unsigned i = 0; i < CROWD; i++)
        kaon_sandbox_destroy(crowd->sandboxes[i]);
    kaon_domain_destroy(crowd->domain);
    free(crowd);
}

/* How long a warm call of the sandbox with its own domain takes. */
static bool sample_warm_calls(struct context *context, struct samples *samples)
{
    double start;

    if (!call_adder(context, context->sandbox, context->add))
        return false;
    start = now_us();
    for (unsigned i = 0; i < 8; i++)
        if (!call_adder(context, context->sandbox, context->add))
            return false;
    samples_add(samples, (now_us() - start) / 8);
    return true;
}

/* What a new sandbox is timed for, if at all. */
enum timed { NOTHING, CREATE, CREATE_AND_CALL };

static bool add_one(struct context *context, struct kaon_sandbox **out,
                    struct kaon_domain *domain, struct result *result,
                    enum timed timed)
{
    double start = now_us(), created;

    if (!make_sandbox(context, out, domain))
        return false;
    created = now_us();
    if (!call_adder(context, *out, context->add))
        return false;
    if (timed == CREATE)
        sample_ours(result, created - start);
    else if (timed == CREATE_AND_CALL)
        sample_ours(result, now_us() - start);
    return true;
}

static struct crowd *crowd_create(struct context *context,
                                  struct result *result, enum timed timed)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    bool good = crowd && make_domain(context, &crowd->domain);

    if (!crowd) {
        fail(context, "out of memory");
        return NULL;
    }
    for (unsigned i = 0; good && i < CROWD; i++) {
        if (timed == CREATE_AND_CALL && i % 16 == 0)
            good = sample_warm_calls(context, &result->floor);
        good = good && add_one(context, &crowd->sandboxes[i], crowd->domain,
                               result, timed);
    }
    if (good)
        return crowd;
    crowd_destroy(crowd);
    return NULL;
}

static bool measure_crowd(struct context *context, struct result *result,
                          enum timed timed)
{
    for (unsigned round = rounds(context, 5); round; round--) {
        struct crowd *crowd = crowd_create(context, result, timed);

        if (!crowd)
            return false;
        crowd_destroy(crowd);
    }
    return true;
}

bool measure_create(struct context *context, struct result *result)
{
    return measure_crowd(context, result, CREATE);
}

bool measure_create_first(struct context *context, struct result *result)
{
    return measure_crowd(context, result, CREATE_AND_CALL);
}

/* Every call is to another sandbox than the one before. */
static bool go_round(struct context *context, const struct crowd *crowd,
                     struct result *result)
{
    for (unsigned i = 0; i < CROWD; i++) {
        double start;

        if (i % 16 == 0 && !sample_warm_calls(context, &result->floor))
            return false;
        start = now_us();
        if (!call_adder(context, crowd->sandboxes[i], context->add))
            return false;
        if (i % 16) /* the first after the warm calls changes the VM too */
            sample_ours(result, now_us() - start);
    }
    return true;
}

bool measure_switch(struct context *context, struct result *result)
{
    struct crowd *crowd = crowd_create(context, result, NOTHING);
    bool good = crowd != NULL;

    for (unsigned round = rounds(context, 10); good && round; round--)
        good = go_round(context, crowd, result);
    if (crowd)
        crowd_destroy(crowd);
    return good;
}

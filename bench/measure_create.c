/* SPDX-License-Identifier: Apache-2.0 */
/* New guests: in VMs of their own, and many in one. */
#include "bench.h"

#include <stdlib.h>
#include <unistd.h>

/* What a new guest is timed for, if at all. */
enum timed { NOTHING, CREATE, CREATE_AND_CALL };

/* ---- Each against a bare one ------------------------------------------- */

/* What an end leaves to the kernel to do is not timed: wait. */
#define SETTLE_US 3000

static bool create_bare(struct context *context, struct result *result,
                        enum timed timed)
{
    struct floor_guest bare;
    double start;
    bool good;

    usleep(SETTLE_US);
    start = now_us();
    if (!make_bare(context, &bare))
        return false;
    good = timed == CREATE || trip(context, &bare);
    samples_add(&result->floor, now_us() - start);
    context->floor->destroy(&bare);
    return good;
}

static bool create_ours(struct context *context, struct result *result,
                        struct kaon_domain *domain, enum timed timed)
{
    struct kaon_sandbox *sandbox;
    double start;
    bool good;

    usleep(SETTLE_US);
    start = now_us();
    if (!make_sandbox(context, &sandbox, domain))
        return false;
    good = timed == CREATE || call_adder(context, sandbox, context->add);
    sample_ours(result, now_us() - start);
    kaon_sandbox_destroy(sandbox);
    return good;
}

/* Each goes first as often: what one that ended leaves to do meets both. */
static bool measure_new(struct context *context, struct result *result,
                        struct kaon_domain *domain, enum timed timed)
{
    for (unsigned round = rounds(context, 200); round; round--) {
        bool good = round % 2 ? create_bare(context, result, timed) &&
                                    create_ours(context, result, domain, timed)
                              : create_ours(context, result, domain, timed) &&
                                    create_bare(context, result, timed);

        if (!good)
            return false;
    }
    return true;
}

bool measure_create_vm(struct context *context, struct result *result)
{
    return measure_new(context, result, NULL, CREATE_AND_CALL);
}

/* For backends where a sandbox of a living domain is a process all the same. */
static bool measure_new_in_domain(struct context *context,
                                  struct result *result, enum timed timed)
{
    struct kaon_domain *domain;
    bool good;

    if (!make_domain(context, &domain))
        return false;
    good = measure_new(context, result, domain, timed);
    kaon_domain_destroy(domain);
    return good;
}

bool measure_fork(struct context *context, struct result *result)
{
    return measure_new_in_domain(context, result, CREATE);
}

bool measure_fork_first(struct context *context, struct result *result)
{
    return measure_new_in_domain(context, result, CREATE_AND_CALL);
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

/* ---- Switching among bare guests too ----------------------------------- */

struct bare_crowd {
    struct floor_guest guests[CROWD];
    unsigned count;
};

static void bare_crowd_destroy(struct context *context,
                               struct bare_crowd *crowd)
{
    while (crowd && crowd->count)
        context->floor->destroy(&crowd->guests[--crowd->count]);
    free(crowd);
}

static struct bare_crowd *bare_crowd_create(struct context *context)
{
    struct bare_crowd *crowd = calloc(1, sizeof *crowd);

    if (!crowd) {
        fail(context, "out of memory");
        return NULL;
    }
    for (; crowd->count < CROWD; crowd->count++)
        if (!make_bare(context, &crowd->guests[crowd->count])) {
            bare_crowd_destroy(context, crowd);
            return NULL;
        }
    return crowd;
}

/* Both crowds in step: what is cold for one is for the other. */
static bool go_round_both(struct context *context, const struct crowd *crowd,
                          struct bare_crowd *bare, struct result *result)
{
    for (unsigned i = 0; i < CROWD; i++) {
        double start = now_us(), middle;

        if (!trip(context, &bare->guests[i]))
            return false;
        middle = now_us();
        if (!call_adder(context, crowd->sandboxes[i], context->add))
            return false;
        samples_add(&result->floor, middle - start);
        sample_ours(result, now_us() - middle);
    }
    return true;
}

bool measure_switch_processes(struct context *context, struct result *result)
{
    struct crowd *crowd = crowd_create(context, result, NOTHING);
    struct bare_crowd *bare = crowd ? bare_crowd_create(context) : NULL;
    bool good = bare != NULL;

    for (unsigned round = rounds(context, 10); good && round; round--)
        good = go_round_both(context, crowd, bare, result);
    bare_crowd_destroy(context, bare);
    if (crowd)
        crowd_destroy(crowd);
    return good;
}

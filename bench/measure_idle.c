/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of idle guests that have run once. The kernel's part is the whole
 * machine's, so many guests are made at once, and the rounds' median counts.
 */
#include "bench.h"

#include <stdlib.h>

#include "memory.h"

#define OWN 100
#define SHARED 2000

/* ---- A VM each --------------------------------------------------------- */

static bool fill_bare(struct context *context, struct floor_guest *guests,
                      unsigned *made)
{
    while (*made < OWN) {
        if (!make_bare(context, &guests[*made]))
            return false;
        ++*made;
        if (!trip(context, &guests[*made - 1]))
            return false;
    }
    return true;
}

static bool idle_bare(struct context *context, struct result *result)
{
    static struct floor_guest guests[OWN];
    struct memory before, after;
    unsigned made = 0;
    bool good;

    memory_settle();
    good = memory_now(context, &before) && fill_bare(context, guests, &made) &&
           memory_now(context, &after);
    while (made)
        context->floor->destroy(&guests[--made]);
    if (good)
        samples_add(&result->floor, (after.process - before.process +
                                     after.kernel - before.kernel) /
                                        OWN);
    return good;
}

/* ---- Ours -------------------------------------------------------------- */

static bool fill(struct context *context, struct kaon_sandbox **sandboxes,
                 unsigned count, struct kaon_domain *domain)
{
    for (unsigned i = 0; i < count; i++)
        if (!make_sandbox(context, &sandboxes[i], domain) ||
            !call_adder(context, sandboxes[i], context->add))
            return false;
    return true;
}

/* Makes `count` sandboxes, and says what each of them takes. */
static bool idle_ours(struct context *context, unsigned count,
                      struct kaon_domain *domain, struct memory *each)
{
    struct kaon_sandbox **sandboxes = calloc(count, sizeof(*sandboxes));
    struct memory before, after;
    bool good;

    if (!sandboxes)
        return fail(context, "out of memory");
    memory_settle();
    good = memory_now(context, &before) &&
           fill(context, sandboxes, count, domain) &&
           memory_now(context, &after);
    for (unsigned i = 0; i < count; i++)
        kaon_sandbox_destroy(sandboxes[i]);
    free(sandboxes);
    if (good)
        *each = (struct memory){ (after.process - before.process) / count,
                                 (after.kernel - before.kernel) / count };
    return good;
}

bool measure_idle_own(struct context *context, struct result *result)
{
    for (unsigned round = rounds(context, 5); round; round--) {
        struct memory each;

        if (!idle_bare(context, result) ||
            !idle_ours(context, OWN, NULL, &each))
            return false;
        sample_ours(result, each.process + each.kernel);
        samples_add(&result->kernel, each.kernel);
    }
    return true;
}

/* For backends where a sandbox of a shared domain is a process all the same. */
bool measure_idle_processes(struct context *context, struct result *result)
{
    for (unsigned round = rounds(context, 5); round; round--) {
        struct kaon_domain *domain;
        struct memory each;
        bool good;

        if (!idle_bare(context, result) || !make_domain(context, &domain))
            return false;
        good = idle_ours(context, OWN, domain, &each);
        kaon_domain_destroy(domain);
        if (!good)
            return false;
        sample_ours(result, each.process + each.kernel);
        samples_add(&result->kernel, each.kernel);
    }
    return true;
}

bool measure_idle_shared(struct context *context, struct result *result)
{
    for (unsigned round = rounds(context, 3); round; round--) {
        struct kaon_domain *domain;
        struct memory each;
        bool good;

        if (!make_domain(context, &domain))
            return false;
        good = idle_ours(context, SHARED, domain, &each);
        kaon_domain_destroy(domain);
        if (!good)
            return false;
        sample_ours(result, each.process);
        samples_add(&result->kernel, each.kernel);
    }
    return true;
}

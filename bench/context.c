/* SPDX-License-Identifier: Apache-2.0 */
/* What measurements have in common: sandboxes, calls, trips and failures. */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* Room for 1 MiB each way. */
#define EXCHANGE ((uint64_t)2 << 20)

bool fail(struct context *context, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(context->error, sizeof context->error, format, args);
    va_end(args);
    return false;
}

void sample_ours(struct result *result, double value)
{
    const struct samples *floor = &result->floor;

    samples_add(&result->ours, value);
    if (floor->count)
        samples_add(&result->ratios, value / floor->values[floor->count - 1]);
}

unsigned rounds(const struct context *context, unsigned count)
{
    if (context->quick)
        count /= 5;
    return count ? count : 1;
}

bool make_sandbox(struct context *context, struct kaon_sandbox **out,
                  struct kaon_domain *domain)
{
    struct kaon_error err;

    if (kaon_sandbox_create(
            out, context->image,
            KAON_SANDBOX_OPTS(.domain = domain,
                              .host_functions = context->functions,
                              .isolation =
                                  domain ? 0 : context->suite->isolation),
            &err))
        return fail(context, "%s", err.text);
    return true;
}

bool make_domain(struct context *context, struct kaon_domain **out)
{
    struct kaon_error err;

    if (kaon_domain_create(
            out,
            KAON_DOMAIN_OPTS(.memory_bytes = context->suite->domain_bytes,
                             .isolation = context->suite->isolation),
            &err))
        return fail(context, "%s", err.text);
    return true;
}

bool call(struct context *context, struct kaon_sandbox *sandbox,
          struct kaon_function function, const struct kaon_value *args,
          size_t count, struct kaon_outcome *out)
{
    struct kaon_error err;

    if (kaon_function_call(sandbox, out, function, args, count, NULL, &err))
        return fail(context, "%s", err.text);
    if (out->kind != KAON_RETURNED)
        return fail(context, "the guest did not return: %s", out->text);
    return true;
}

bool call_adder(struct context *context, struct kaon_sandbox *sandbox,
                struct kaon_function function)
{
    struct kaon_outcome out;

    if (!call(context, sandbox, function, KAON_ARGS(kaon_i32(2), kaon_i32(3)),
              &out))
        return false;
    if (out.value.i32 != 5)
        return fail(context, "the guest adds 2 and 3 to %d", out.value.i32);
    return true;
}

bool make_bare(struct context *context, struct floor_guest *out)
{
    const char *what;

    if (!context->floor->create(out, &what))
        return fail(context, "the floor: %s: %s", what, strerror(errno));
    return true;
}

bool trip(struct context *context, struct floor_guest *bare)
{
    const char *what;

    if (!context->floor->trip(bare, &what))
        return fail(context, "the floor: %s: %s", what, strerror(errno));
    return true;
}

static int host_add(struct kaon_host_call *host_call,
                    const struct kaon_value *args, struct kaon_value *result,
                    void *user)
{
    (void)host_call;
    (void)user;
    *result = kaon_i32(args[0].i32 + args[1].i32);
    return 0;
}

/* The embedded guest_bench.elf. */
extern const unsigned char guest_bench[], guest_bench_end[];

static bool find_functions(struct context *context, struct kaon_error *err)
{
    const struct {
        const char *name;
        struct kaon_function *to;
    } functions[] = {
        { "add", &context->add },
        { "dirty", &context->dirty },
        { "echo", &context->echo },
        { "fill", &context->fill },
        { "compute", &context->compute },
        { "visit", &context->visit },
        { "add_by_host", &context->add_by_host },
    };

    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (kaon_function_find(functions[i].to, context->image,
                               functions[i].name, err))
            return false;
    return true;
}

static bool load(struct context *context)
{
    struct kaon_error err;

    if (kaon_image_parse(&context->image, guest_bench,
                         (size_t)(guest_bench_end - guest_bench), &err) ||
        !find_functions(context, &err) ||
        kaon_host_functions_create(&context->functions, &err) ||
        kaon_host_functions_add(context->functions, "HostAdd", KAON_TYPE_I32,
                                KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                host_add, NULL, &err))
        return fail(context, "%s", err.text);
    return true;
}

static bool make_warm_sandbox(struct context *context)
{
    struct kaon_error err;

    if (kaon_sandbox_create(
            &context->sandbox, context->image,
            KAON_SANDBOX_OPTS(.host_functions = context->functions,
                              .exchange_bytes = EXCHANGE,
                              .isolation = context->suite->isolation),
            &err))
        return fail(context, "%s", err.text);
    return call_adder(context, context->sandbox, context->add);
}

static bool warm_up(struct context *context)
{
    context->have_bare = make_bare(context, &context->bare);
    return context->have_bare && trip(context, &context->bare) &&
           make_warm_sandbox(context);
}

static void cool_down(struct context *context)
{
    kaon_sandbox_destroy(context->sandbox);
    context->sandbox = NULL;
    if (context->have_bare)
        context->floor->destroy(&context->bare);
    context->have_bare = false;
}

/* ---- CPUs -------------------------------------------------------------- */

/* What starts from now on runs where this thread does. */
static void choose_cpus(const struct context *context, bool all)
{
    cpu_set_t one;
    int cpu = 0;

    CPU_ZERO(&one);
    while (!CPU_ISSET(cpu, &context->cpus))
        cpu++;
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, all ? &context->cpus : &one);
}

bool use_all_cpus(struct context *context, struct result *result)
{
    if (CPU_COUNT(&context->cpus) < 2) {
        result->skipped = "it takes two CPUs";
        return true;
    }
    if (!context->suite->one_cpu)
        return true;
    cool_down(context);
    choose_cpus(context, true);
    return warm_up(context);
}

bool use_usual_cpus(struct context *context)
{
    if (!context->suite->one_cpu)
        return true;
    cool_down(context);
    choose_cpus(context, false);
    return warm_up(context);
}

/* ---- Beginning and end ------------------------------------------------- */

/* Some benchmarks need a descriptor for each of a thousand sandboxes. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

bool context_init(struct context *context)
{
    const char *what;

    context->floor = context->suite->floor;
    raise_descriptors();
    if (sched_getaffinity(0, sizeof context->cpus, &context->cpus) != 0)
        return fail(context, "sched_getaffinity: %s", strerror(errno));
    if (context->suite->one_cpu)
        choose_cpus(context, false);
    if (!context->floor->learn(&what))
        return fail(context, "the floor: %s: %s", what, strerror(errno));
    return load(context) && warm_up(context);
}

void context_finish(struct context *context)
{
    cool_down(context);
    kaon_host_functions_destroy(context->functions);
    kaon_image_destroy(context->image);
}

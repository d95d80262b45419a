/* SPDX-License-Identifier: Apache-2.0 */
/* What measurements have in common: sandboxes, calls, trips and failures. */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
                              .host_functions = context->functions),
            &err))
        return fail(context, "%s", err.text);
    return true;
}

bool make_domain(struct context *context, struct kaon_domain **out)
{
    struct kaon_error err;

    if (kaon_domain_create(out, NULL, &err))
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

static bool load(struct context *context)
{
    struct kaon_error err;

    if (kaon_image_parse(&context->image, guest_bench,
                         (size_t)(guest_bench_end - guest_bench), &err) ||
        kaon_function_find(&context->add, context->image, "add", &err) ||
        kaon_function_find(&context->add_by_host, context->image, "add_by_host",
                           &err) ||
        kaon_function_find(&context->echo, context->image, "echo", &err) ||
        kaon_function_find(&context->compute, context->image, "compute",
                           &err) ||
        kaon_host_functions_create(&context->functions, &err) ||
        kaon_host_functions_add(context->functions, "HostAdd", KAON_TYPE_I32,
                                KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                host_add, NULL, &err) ||
        kaon_sandbox_create(
            &context->sandbox, context->image,
            KAON_SANDBOX_OPTS(.host_functions = context->functions,
                              .exchange_bytes = EXCHANGE),
            &err))
        return fail(context, "%s", err.text);
    return true;
}

bool context_init(struct context *context)
{
    const char *what;

    if (!context->floor->learn(&what))
        return fail(context, "the floor: %s: %s", what, strerror(errno));
    context->have_bare = make_bare(context, &context->bare);
    return context->have_bare && trip(context, &context->bare) &&
           load(context) &&
           call_adder(context, context->sandbox, context->add);
}

void context_finish(struct context *context)
{
    kaon_sandbox_destroy(context->sandbox);
    kaon_host_functions_destroy(context->functions);
    kaon_image_destroy(context->image);
    if (context->have_bare)
        context->floor->destroy(&context->bare);
}

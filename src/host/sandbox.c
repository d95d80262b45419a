/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes, stops and ends sandboxes. Owns references to what a sandbox needs,
 * and its memory, which goes back to the domain.
 */
#include "host/sandbox.h"

#include <stdlib.h>

#include "host/error.h"
#include "host/image.h"
#include "host/options.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A size option: its default and its limits. */
struct limits {
    const char *name;
    uint64_t usual, least, most;
};

static enum kaon_status take_size(uint64_t *out, uint64_t given,
                                  const struct limits *limits,
                                  struct kaon_error *err)
{
    uint64_t size = given ? given : limits->usual;

    if (size < limits->least || size > limits->most)
        return kaon__fail(err, KAON_EINVAL,
                          "%s is %llu: it must be from %llu to %llu",
                          limits->name, (unsigned long long)size,
                          (unsigned long long)limits->least,
                          (unsigned long long)limits->most);
    *out = (size + KAON_PAGE_SIZE - 1) & -KAON_PAGE_SIZE;
    return KAON_OK;
}

static enum kaon_status take_sizes(struct kaon_sizes *sizes,
                                   const struct kaon_sandbox_opts *opts,
                                   struct kaon_error *err)
{
    static const struct limits heap = { "heap_bytes", 16 * MIB, 1, 16 * GIB };
    static const struct limits stack = { "stack_bytes", 256 * KIB, 16 * KIB,
                                         GIB };
    static const struct limits exchange = { "exchange_bytes", MIB, 4 * KIB,
                                            GIB };
    enum kaon_status status =
        take_size(&sizes->heap, opts->heap_bytes, &heap, err);

    if (!status)
        status = take_size(&sizes->stack, opts->stack_bytes, &stack, err);
    if (!status)
        status =
            take_size(&sizes->exchange, opts->exchange_bytes, &exchange, err);
    sizes->exchange += KAON_PAGE_SIZE; /* the mailbox's */
    return status;
}

static enum kaon_status take_functions(struct kaon_sandbox *sandbox,
                                       struct kaon_host_functions *set,
                                       struct kaon_error *err)
{
    const struct kaon_image *image = sandbox->image;
    enum kaon_status status =
        kaon__host_functions_use(&sandbox->functions, set, err);

    if (status)
        return status;
    sandbox->imports =
        calloc(image->import_count + 1, sizeof *sandbox->imports);
    if (!sandbox->imports)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
    return kaon__host_functions_resolve(sandbox->functions, image,
                                        sandbox->imports, err);
}

static enum kaon_status take_domain(struct kaon_sandbox *sandbox,
                                    const struct kaon_sandbox_opts *opts,
                                    const struct kaon_sizes *sizes,
                                    struct kaon_error *err)
{
    if (!opts->domain)
        return kaon__domain_create_own(&sandbox->domain, sandbox->image, sizes,
                                       opts->kick_signal, opts->isolation, err);
    if (opts->kick_signal || opts->isolation)
        return kaon__fail(err, KAON_EINVAL,
                          "kick_signal and isolation are the domain's: set "
                          "them in kaon_domain_opts");
    sandbox->domain = kaon__domain_hold(opts->domain);
    return KAON_OK;
}

enum kaon_status kaon_sandbox_create(struct kaon_sandbox **out,
                                     struct kaon_image *image,
                                     const struct kaon_sandbox_opts *theirs,
                                     struct kaon_error *err)
{
    struct kaon_sandbox_opts opts;
    struct kaon_sandbox *sandbox;
    struct kaon_sizes sizes;
    enum kaon_status status;

    if (!out || !image)
        return kaon__fail(err, KAON_EINVAL, "out and image must not be NULL");
    status =
        kaon__options_adopt(&opts, sizeof opts, theirs, "sandbox options", err);
    if (!status)
        status = take_sizes(&sizes, &opts, err);
    if (status)
        return status;
    sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
    atomic_init(&sandbox->life, KAON_LIFE_READY);
    sandbox->deadline_ns = opts.deadline_ns;
    sandbox->image = kaon__image_hold(image);

    status = take_functions(sandbox, opts.host_functions, err);
    if (!status)
        status = take_domain(sandbox, &opts, &sizes, err);
    if (!status)
        status = kaon__domain_take_memory(sandbox->domain, &sandbox->memory,
                                          image, &sizes, err);
    if (status) {
        kaon_sandbox_destroy(sandbox);
        return status;
    }
    *out = sandbox;
    return KAON_OK;
}

void kaon_sandbox_destroy(struct kaon_sandbox *sandbox)
{
    if (!sandbox)
        return;
    kaon__watch_close(&sandbox->watch);
    if (sandbox->memory)
        kaon__domain_give_memory(sandbox->domain, sandbox->memory);
    kaon_domain_destroy(sandbox->domain);
    kaon_host_functions_destroy(sandbox->functions);
    free(sandbox->imports);
    free(sandbox->copy);
    kaon_image_destroy(sandbox->image);
    free(sandbox);
}

enum kaon_status kaon__sandbox_claim(struct kaon_sandbox *sandbox,
                              struct kaon_error *err)
{
    struct kaon_machine *machine = sandbox->domain->machine;
    enum kaon_life life = KAON_LIFE_READY;

    if (machine->backend->machine_check) {
        enum kaon_status status = machine->backend->machine_check(machine, err);

        if (status)
            return status;
    }
    if (atomic_compare_exchange_strong(&sandbox->life, &life,
                                       KAON_LIFE_RUNNING))
        return KAON_OK;
    if (life != KAON_LIFE_POISONED)
        return kaon__fail(err, KAON_EBUSY,
                          "the sandbox is running another call: one at a "
                          "time, or one sandbox for each thread");
    return kaon__fail(err, KAON_EPOISONED,
                      "an earlier call left the sandbox poisoned: destroy it "
                      "and create another");
}

void kaon__sandbox_halt(struct kaon_sandbox *sandbox)
{
    struct kaon_machine *machine = sandbox->domain->machine;

    if (machine->backend->space_halt)
        machine->backend->space_halt(machine, sandbox->memory->space);
}

/* A call that finds no vCPU here looks at `life` before it enters the guest. */
void kaon__sandbox_stop(struct kaon_sandbox *sandbox, enum kaon_life why)
{
    enum kaon_life running = KAON_LIFE_RUNNING;
    struct kaon_vcpu *vcpu;

    atomic_fetch_add(&sandbox->stoppers, 1);
    if (atomic_compare_exchange_strong(&sandbox->life, &running, why)) {
        vcpu = atomic_load(&sandbox->running);
        if (vcpu)
            sandbox->domain->machine->backend->vcpu_kick(vcpu);
    }
    atomic_fetch_sub(&sandbox->stoppers, 1);
}

enum kaon_status kaon_sandbox_interrupt(struct kaon_sandbox *sandbox,
                                        struct kaon_error *err)
{
    enum kaon_status status;

    if (!sandbox)
        return kaon__fail(err, KAON_EINVAL, "sandbox is NULL");
    status = sandbox->domain->machine->backend->kick_ready(
        sandbox->domain->machine, err);
    if (!status)
        kaon__sandbox_stop(sandbox, KAON_LIFE_CANCELLED);
    return status;
}

enum kaon_sandbox_state kaon_sandbox_state(const struct kaon_sandbox *sandbox)
{
    enum kaon_life life =
        sandbox ? atomic_load(&sandbox->life) : KAON_LIFE_POISONED;

    return life > KAON_LIFE_POISONED ? KAON_SANDBOX_RUNNING
                                     : (enum kaon_sandbox_state)life;
}

const char *kaon_sandbox_backend(const struct kaon_sandbox *sandbox)
{
    return sandbox ? sandbox->domain->machine->backend->name : "";
}

enum kaon_status kaon_sandbox_stats(const struct kaon_sandbox *sandbox,
                                    struct kaon_sandbox_stats *out)
{
    const struct kaon_memory *memory;

    if (!sandbox || !out)
        return KAON_EINVAL;
    memory = sandbox->memory;
    *out = (struct kaon_sandbox_stats){
        .calls = sandbox->calls,
        .host_calls = sandbox->host_calls,
        .exits = sandbox->exits,
        .page_faults = memory->faults,
        .copied_pages = memory->copied,
        .zero_pages = memory->zeroed,
        .memory_bytes = kaon__memory_bytes(memory),
    };
    return KAON_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes, stops and ends sandboxes. Owns references to what a sandbox needs,
 * and its memory, which goes back to the domain.
 */
#include "host/sandbox.h"

#include <sched.h>
#include <stdlib.h>
#include <kaon/pool.h>

#include "host/error.h"
#include "host/image.h"
#include "host/options.h"
#include "host/resident.h"
#include "host/snapshot.h"

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

/* The window is whole page tables, of 2 MiB each. */
static enum kaon_status take_map(uint64_t *out, uint64_t given,
                                 struct kaon_error *err)
{
    static const struct limits map = { "map_bytes", GIB, 1, 64 * GIB };
    enum kaon_status status = take_size(out, given, &map, err);

    if (!status)
        *out = (*out + 2 * MIB - 1) & -(2 * MIB);
    return status;
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
    return status ? status : take_map(&sizes->map, opts->map_bytes, err);
}

bool kaon__sandbox_can_have(const struct kaon_sizes *sizes)
{
    const struct kaon_sandbox_opts opts = {
        .heap_bytes = sizes->heap,
        .stack_bytes = sizes->stack,
        .exchange_bytes = sizes->exchange - KAON_PAGE_SIZE,
        .map_bytes = sizes->map,
    };
    struct kaon_sizes taken;

    return !take_sizes(&taken, &opts, NULL) && taken.heap == sizes->heap &&
           taken.stack == sizes->stack && taken.exchange == sizes->exchange &&
           (sizes->map == 0 || taken.map == sizes->map);
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

static enum kaon_status fail_null(struct kaon_error *err, const char *what)
{
    return kaon__fail(err, KAON_EINVAL, "%s must not be NULL", what);
}

/* One size of a snapshot's: the option is not given, or the same. */
static enum kaon_status check_size(const char *name, uint64_t size,
                                   uint64_t given, struct kaon_error *err)
{
    uint64_t pages = (given + KAON_PAGE_SIZE - 1) & -KAON_PAGE_SIZE;

    if (given == 0 || pages == size)
        return KAON_OK;
    return kaon__fail(err, KAON_EINVAL,
                      "%s is %llu, the snapshot's is %llu: leave it out, or "
                      "take a snapshot of a sandbox of that size",
                      name, (unsigned long long)given,
                      (unsigned long long)size);
}

static enum kaon_status adopt_sizes(struct kaon_sizes *sizes,
                                    const struct kaon_snapshot *snapshot,
                                    const struct kaon_sandbox_opts *opts,
                                    struct kaon_error *err)
{
    enum kaon_status status;

    *sizes = snapshot->sizes;
    status = kaon__snapshot_check_regions(snapshot, err);
    if (!status)
        status = check_size("heap_bytes", sizes->heap, opts->heap_bytes, err);
    if (!status)
        status =
            check_size("stack_bytes", sizes->stack, opts->stack_bytes, err);
    if (!status)
        status = check_size("exchange_bytes", sizes->exchange - KAON_PAGE_SIZE,
                            opts->exchange_bytes, err);
    if (!status && (opts->map_bytes || sizes->map == 0))
        status = take_map(&sizes->map, opts->map_bytes, err);
    return status;
}

/* As the image starts or, if it is not NULL, a snapshot goes on. */
static enum kaon_status create(struct kaon_sandbox **out,
                               struct kaon_image *image,
                               struct kaon_snapshot *snapshot,
                               const struct kaon_sandbox_opts *theirs,
                               struct kaon_error *err)
{
    struct kaon_sandbox_opts opts;
    struct kaon_sandbox *sandbox;
    struct kaon_sizes sizes;
    enum kaon_status status;

    status =
        kaon__options_adopt(&opts, sizeof opts, theirs, "sandbox options", err);
    if (!status)
        status = snapshot ? adopt_sizes(&sizes, snapshot, &opts, err)
                          : take_sizes(&sizes, &opts, err);
    if (status)
        return status;
    sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
    atomic_init(&sandbox->life, KAON_LIFE_READY);
    sandbox->deadline_ns = opts.deadline_ns;
    sandbox->image = kaon__image_hold(image);
    if (snapshot)
        sandbox->pointers = snapshot->pointers;

    status = take_functions(sandbox, opts.host_functions, err);
    if (!status)
        status = take_domain(sandbox, &opts, &sizes, err);
    if (!status)
        status = kaon__domain_take_memory(sandbox->domain, &sandbox->memory,
                                          image, snapshot, &sizes, err);
    if (!status)
        status = kaon__sandbox_map_listed(sandbox, opts.mappings,
                                          opts.mapping_count, err);
    if (status) {
        kaon_sandbox_destroy(sandbox);
        return status;
    }
    *out = sandbox;
    return KAON_OK;
}

enum kaon_status kaon_sandbox_create(struct kaon_sandbox **out,
                                     struct kaon_image *image,
                                     const struct kaon_sandbox_opts *opts,
                                     struct kaon_error *err)
{
    if (!out || !image)
        return fail_null(err, "out and image");
    return create(out, image, NULL, opts, err);
}

enum kaon_status kaon_sandbox_create_from(struct kaon_sandbox **out,
                                          struct kaon_snapshot *snapshot,
                                          const struct kaon_sandbox_opts *opts,
                                          struct kaon_error *err)
{
    if (!out || !snapshot)
        return fail_null(err, "out and snapshot");
    return create(out, snapshot->image, snapshot, opts, err);
}

void kaon_sandbox_destroy(struct kaon_sandbox *sandbox)
{
    if (!sandbox)
        return;
    if (sandbox->pool) { /* somebody's who acquired it */
        kaon_pool_release(sandbox->pool, sandbox);
        return;
    }
    kaon__watch_close(&sandbox->watch);
    if (sandbox->memory)
        kaon__resident_end(sandbox);
    if (sandbox->memory)
        kaon__domain_give_memory(sandbox->domain, sandbox->memory);
    kaon_domain_destroy(sandbox->domain);
    kaon_host_functions_destroy(sandbox->functions);
    free(sandbox->imports);
    free(sandbox->copy);
    kaon_image_destroy(sandbox->image);
    free(sandbox);
}

/* Who has it runs it: no call, snapshot or restore beside. */
static enum kaon_status claim(struct kaon_sandbox *sandbox, enum kaon_life from,
                              enum kaon_life to, struct kaon_error *err)
{
    struct kaon_machine *machine = sandbox->domain->machine;
    enum kaon_status status = machine->backend->machine_check(machine, err);
    enum kaon_life life = from;

    if (status)
        return status;
    if (atomic_compare_exchange_strong(&sandbox->life, &life, to))
        return KAON_OK;
    if (life == KAON_LIFE_POISONED)
        return kaon__fail(err, KAON_EPOISONED,
                          "an earlier call left the sandbox poisoned: restore "
                          "it, or destroy it and create another");
    return kaon__fail(err, KAON_EBUSY,
                      "the sandbox is running another call: one at a time, or "
                      "one sandbox for each thread");
}

void kaon__sandbox_halt(struct kaon_sandbox *sandbox)
{
    struct kaon_machine *machine = sandbox->domain->machine;

    kaon__resident_pause(sandbox);
    if (machine->backend->space_halt)
        machine->backend->space_halt(machine, sandbox->memory->space);
}

enum kaon_status kaon__sandbox_park(struct kaon_sandbox *sandbox,
                                    struct kaon_error *err)
{
    struct kaon_machine *machine = sandbox->domain->machine;

    kaon__resident_pause(sandbox);
    if (!machine->backend->space_park ||
        machine->backend->space_park(machine, sandbox->memory->space))
        return KAON_OK;
    return kaon__fail(err, KAON_EBACKEND,
                      "the sandbox's guest could not be stopped: destroy it");
}

enum kaon_status kaon__sandbox_claim(struct kaon_sandbox *sandbox,
                                     struct kaon_error *err)
{
    return claim(sandbox, KAON_LIFE_READY, KAON_LIFE_HELD, err);
}

enum kaon_status kaon__sandbox_claim_to_run(struct kaon_sandbox *sandbox,
                                            struct kaon_error *err)
{
    return claim(sandbox, KAON_LIFE_READY, KAON_LIFE_RUNNING, err);
}

/* A kick that came too late is taken back, or a resident guest would not stay
 * in the next call. */
void kaon__sandbox_await_stop(struct kaon_sandbox *sandbox)
{
    while (atomic_load(&sandbox->stoppers))
        sched_yield();
    if (sandbox->resident)
        kaon__resident_unkick(sandbox->resident);
}

enum kaon_status kaon__sandbox_claim_any(struct kaon_sandbox *sandbox,
                                         bool *poisoned, struct kaon_error *err)
{
    enum kaon_status status = kaon__sandbox_claim(sandbox, err);

    *poisoned = status == KAON_EPOISONED;
    return *poisoned ? claim(sandbox, KAON_LIFE_POISONED, KAON_LIFE_HELD, err)
                     : status;
}

/* ---- Restoring --------------------------------------------------------- */

static enum kaon_status check_restore(const struct kaon_sandbox *sandbox,
                                      const struct kaon_snapshot *snapshot,
                                      struct kaon_error *err)
{
    const struct kaon_sizes *mine = &sandbox->memory->sizes;
    const struct kaon_sizes *its = &snapshot->sizes;

    if (sandbox->image != snapshot->image)
        return kaon__fail(err, KAON_EINVAL,
                          "the snapshot is of another image (%.64s), the "
                          "sandbox of %.64s: create one from the snapshot",
                          snapshot->image->name, sandbox->image->name);
    if (mine->heap != its->heap || mine->stack != its->stack ||
        mine->exchange != its->exchange)
        return kaon__fail(
            err, KAON_EINVAL,
            "the snapshot is of another layout (heap, stack and "
            "exchange of %llu, %llu and %llu KiB): create a "
            "sandbox from it",
            (unsigned long long)its->heap >> 10,
            (unsigned long long)its->stack >> 10,
            (unsigned long long)(its->exchange - KAON_PAGE_SIZE) >> 10);
    return kaon__snapshot_check_regions(snapshot, err);
}

/* The sandbox is claimed. */
static enum kaon_status restore(struct kaon_sandbox *sandbox,
                                struct kaon_snapshot *snapshot,
                                struct kaon_error *err)
{
    const struct kaon_memory *before = sandbox->memory;
    uint64_t remapped = before->remapped;
    enum kaon_status status = check_restore(sandbox, snapshot, err);

    if (!status)
        status = kaon__sandbox_park(sandbox, err);
    if (!status)
        status = kaon__domain_restore_memory(sandbox->domain, &sandbox->memory,
                                             snapshot, err);
    /* Nobody ran that; or who did knows something else of its space. */
    if (sandbox->memory != before || sandbox->memory->remapped != remapped)
        sandbox->last_slot = NULL;
    if (status)
        return status;
    sandbox->pointers = snapshot->pointers;
    sandbox->buffer_end = 0;
    return KAON_OK;
}

enum kaon_status kaon_sandbox_restore(struct kaon_sandbox *sandbox,
                                      struct kaon_snapshot *snapshot,
                                      struct kaon_error *err)
{
    enum kaon_status status;
    bool poisoned;

    if (!sandbox || !snapshot)
        return fail_null(err, "sandbox and snapshot");
    status = kaon__sandbox_claim_any(sandbox, &poisoned, err);
    if (status)
        return status;
    status = restore(sandbox, snapshot, err);
    poisoned = poisoned && status;
    if (!poisoned)
        kaon__resident_go(sandbox);
    kaon__sandbox_release(sandbox, poisoned);
    return status;
}

enum kaon_status kaon__sandbox_clean(struct kaon_sandbox *sandbox,
                                     struct kaon_snapshot *snapshot,
                                     struct kaon_error *err)
{
    enum kaon_status status = kaon_sandbox_restore(sandbox, snapshot, err);

    if (status)
        return status;
    sandbox->calls = sandbox->host_calls = sandbox->exits = 0;
    sandbox->memory->faults = 0;
    sandbox->memory->copied = sandbox->memory->zeroed = 0;
    return KAON_OK;
}

/* ---- Stopping ---------------------------------------------------------- */

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

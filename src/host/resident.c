/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resident guests. Owns the runner, a thread that borrows a vCPU for as long
 * as the sandbox is resident and stays in it.
 *
 * Two words say who may do what.
 *
 * `turn`, in the mailbox, is the guest's to write whenever it likes: whose turn
 * it is to use the exchange (gate/gate.h). Nothing that keeps the host safe
 * depends on it. What the guest wrote is copied before it is looked at.
 *
 * `job`, the host's, says where the vCPU is. While it is OUT, nobody runs the
 * guest, for certain, and all of this is of the thread that has the sandbox;
 * it sends the runner in by ENTER or RESUME. From then on until the runner
 * says OUT again, the exit and the vCPU are the runner's.
 *
 * The caller waits for either of the two to change, so whatever ends the
 * guest's run wakes it: an exit, a fault, a kick. An order of memory accesses
 * is needed in two places. What a side wrote into the exchange is there when
 * the other sees its turn: a release store and an acquire load here, exchanges
 * and the CPU's order in the gate. And a side that no longer looks says so by
 * a compare-and-exchange of the turn, so the other's handing over sees that, or
 * makes it fail. tests/model/turn.pml is all of this for a model checker.
 */
#include "host/resident.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <kaon/resident.h>
#include <linux/futex.h>

#include "gate/gate.h"
#include "host/clock.h"
#include "host/error.h"
#include "host/image.h"
#include "host/options.h"
#include "host/patience.h"
#include "host/pause.h"
#include "host/thread.h"

/* Some times what it takes to wake a thread, which in a virtual machine is up
 * to 0.1 ms: calls in a row are not to sleep. */
#define SPIN_DEFAULT UINT64_C(1000000)
#define SPIN_MAX (60 * KAON_SECOND)

/* Its own calls of ours are not deep. Sanitizers want some more. */
#define RUNNER_STACK ((size_t)256 << 10)

enum job { OUT, ENTER, RESUME, QUIT };

struct kaon_resident {
    struct kaon_sandbox *sandbox;
    struct kaon_vcpu_slot *slot;
    pthread_t runner;
    uint32_t looks; /* before who waits sleeps */

    atomic_uint job;     /* a futex */
    atomic_bool awaited; /* somebody sleeps until the guest is out */

    /* Of who the job says. */
    struct kaon_exit exit;
    enum kaon_status status; /* of entering the guest; error says more */
    struct kaon_error error;
    bool pending; /* an exit that nobody has looked at */
    bool fresh;   /* entered anew, on the vCPU that ran it last */

    /* Of who has the sandbox. */
    struct kaon_patience patience;
    bool entered; /* since it was paused */
    bool my_turn; /* the guest gets it by the next run() */
};

/* ---- The job ----------------------------------------------------------- */

static enum job job_of(const struct kaon_resident *resident)
{
    return atomic_load_explicit(&resident->job, memory_order_acquire);
}

static void sleep_while(struct kaon_resident *resident, enum job job)
{
    syscall(SYS_futex, &resident->job, FUTEX_WAIT_PRIVATE, job, NULL, NULL, 0);
}

static void set_job(struct kaon_resident *resident, enum job job)
{
    atomic_store(&resident->job, job);
    syscall(SYS_futex, &resident->job, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await_out(struct kaon_resident *resident)
{
    enum job job;

    while ((job = job_of(resident)) != OUT)
        sleep_while(resident, job);
}

static enum job await_job(struct kaon_resident *resident, uint32_t looks)
{
    while (looks-- && job_of(resident) == OUT)
        kaon__pause();
    while (job_of(resident) == OUT)
        sleep_while(resident, OUT);
    return job_of(resident);
}

/* ---- The runner -------------------------------------------------------- */

static const struct kaon_backend *backend_of(const struct kaon_resident *r)
{
    return r->sandbox->domain->machine->backend;
}

/* The guest waits in the gate for its first turn. */
static enum kaon_status enter(struct kaon_resident *resident)
{
    struct kaon_sandbox *sandbox = resident->sandbox;
    struct kaon_vcpu_slot *slot = resident->slot;
    const struct kaon_entry entry = {
        .ip = KAON_GATE_ADDRESS + KAON_GATE_WAIT,
        .sp = sandbox->memory->stack.high,
        .argument = sandbox->memory->mailbox,
    };

    return backend_of(resident)->vcpu_enter(
        slot->vcpu, sandbox->memory->space, resident->fresh, &entry,
        &sandbox->pointers, &resident->exit, &resident->error);
}

/* Is it worth looking for the next job? Not if the guest gave up waiting. */
static bool is_answered_soon(const struct kaon_resident *resident)
{
    return resident->exit.kind != KAON_EXIT_GATE ||
           atomic_load(&resident->awaited);
}

static void *runner(void *user)
{
    struct kaon_resident *resident = user;
    uint32_t looks = 0;

    resident->status = kaon__domain_borrow(resident->sandbox->domain,
                                           &resident->slot, &resident->error);
    for (;;) {
        enum job job;

        set_job(resident, OUT);
        job = await_job(resident, looks);
        if (job == QUIT)
            break;
        if (job == ENTER)
            resident->status = enter(resident);
        else
            resident->status = backend_of(resident)->vcpu_resume(
                resident->slot->vcpu, &resident->exit, &resident->error);
        resident->pending = true;
        looks = is_answered_soon(resident) ? resident->looks : 0;
    }
    if (resident->slot)
        kaon__domain_return(resident->slot);
    return NULL;
}

/* The kick's signal is let in when the runner borrows its vCPU. */
static int start_runner(struct kaon_resident *resident)
{
    pthread_attr_t attributes;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, RUNNER_STACK);
    error =
        kaon__thread_start(&resident->runner, &attributes, runner, resident);
    pthread_attr_destroy(&attributes);
    return error;
}

/* ---- Running ----------------------------------------------------------- */

struct kaon_vcpu_slot *kaon__resident_slot(const struct kaon_resident *resident)
{
    return resident->slot;
}

void kaon__resident_unkick(struct kaon_resident *resident)
{
    backend_of(resident)->vcpu_unkick(resident->slot->vcpu);
}

/* The guest gives up the turn by an exit from here on, if it has not yet. */
static void sleep_till_out(struct kaon_resident *resident)
{
    atomic_store(&resident->awaited, true);
    if (kaon__memory_turn_sleep(resident->sandbox->memory))
        await_out(resident);
    atomic_store(&resident->awaited, false);
}

/* False if the vCPU is out instead. */
static bool await_turn(struct kaon_resident *resident)
{
    const struct kaon_memory *memory = resident->sandbox->memory;

    kaon__patience_wait(&resident->patience);
    for (;; sleep_till_out(resident)) {
        for (uint32_t i = 0; i < resident->looks; i++) {
            if (job_of(resident) == OUT)
                return false;
            if (kaon__memory_turn_came(memory)) {
                kaon__patience_learn(&resident->patience, i);
                return true;
            }
            kaon__pause();
        }
    }
}

/*
 * The vCPU is out, and says why. That a guest left is its handing over, unless
 * it left before it had the turn: then it is to go on. If it did hand over it
 * goes in again at once, to wait for its next turn while the host is busy with
 * this one: else each call in a row would find it out, and the host be woken
 * by the next exit.
 */
static enum kaon_status take_exit(struct kaon_resident *resident,
                                  struct kaon_exit *exit,
                                  struct kaon_error *err)
{
    resident->pending = false;
    if (resident->status) {
        if (err)
            *err = resident->error;
        return resident->status;
    }
    *exit = resident->exit;
    if (exit->kind == KAON_EXIT_GATE &&
        !kaon__memory_turn_came(resident->sandbox->memory))
        exit->kind = KAON_EXIT_KICKED;
    resident->my_turn = exit->kind == KAON_EXIT_GATE;
    if (resident->my_turn)
        set_job(resident, RESUME);
    return KAON_OK;
}

enum kaon_status kaon__resident_run(struct kaon_resident *resident,
                                    struct kaon_exit *exit,
                                    struct kaon_error *err)
{
    struct kaon_memory *memory = resident->sandbox->memory;

    if (!resident->entered)
        kaon__resident_go(resident->sandbox);
    if (resident->my_turn)
        kaon__memory_turn_give(memory);
    resident->my_turn = false;
    if (job_of(resident) == OUT && !resident->pending)
        set_job(resident, RESUME);
    if (!await_turn(resident))
        return take_exit(resident, exit, err);
    *exit = (struct kaon_exit){ .kind = KAON_EXIT_GATE, .crossed = true };
    resident->my_turn = true;
    return KAON_OK;
}

/* ---- Out and in again -------------------------------------------------- */

struct kaon_vcpu_slot *kaon__resident_halt(struct kaon_resident *resident)
{
    if (job_of(resident) != OUT) {
        backend_of(resident)->vcpu_kick(resident->slot->vcpu);
        await_out(resident);
        kaon__resident_unkick(resident);
    }
    return resident->slot;
}

void kaon__resident_pause(struct kaon_sandbox *sandbox)
{
    struct kaon_resident *resident = sandbox->resident;

    if (!resident || !resident->entered)
        return;
    kaon__resident_halt(resident);
    if (!resident->status)
        sandbox->pointers =
            backend_of(resident)->vcpu_pointers(resident->slot->vcpu);
    resident->entered = resident->pending = false;
    kaon__memory_gate_close(sandbox->memory);
}

void kaon__resident_go(struct kaon_sandbox *sandbox)
{
    struct kaon_machine *machine = sandbox->domain->machine;
    struct kaon_resident *resident = sandbox->resident;

    if (sandbox->spin_looks) /* its space may be another than before */
        machine->backend->space_spin(machine, sandbox->memory->space,
                                     sandbox->spin_looks);
    if (!resident || resident->entered)
        return;
    kaon__memory_gate_open(sandbox->memory, sandbox->image->entry,
                           resident->looks);
    kaon__resident_unkick(resident);
    resident->fresh = sandbox->last_slot == resident->slot;
    sandbox->last_slot = resident->slot;
    resident->entered = resident->my_turn = true;
    set_job(resident, ENTER);
}

/* ---- Starting and stopping --------------------------------------------- */

/* A child of fork() has the words, but not the thread. */
static bool is_of_parent(const struct kaon_sandbox *sandbox)
{
    struct kaon_machine *machine = sandbox->domain->machine;

    return machine->backend->machine_check(machine, NULL) != KAON_OK;
}

static void free_resident(struct kaon_resident *resident)
{
    set_job(resident, QUIT);
    pthread_join(resident->runner, NULL);
    free(resident);
}

void kaon__resident_end(struct kaon_sandbox *sandbox)
{
    struct kaon_machine *machine = sandbox->domain->machine;

    if (sandbox->resident && is_of_parent(sandbox)) {
        free(sandbox->resident);
    } else if (sandbox->resident) {
        kaon__resident_pause(sandbox);
        free_resident(sandbox->resident);
    } else if (sandbox->spin_looks && !is_of_parent(sandbox)) {
        machine->backend->space_spin(machine, sandbox->memory->space, 0);
    }
    sandbox->resident = NULL;
    sandbox->spin_looks = 0;
    atomic_store(&sandbox->running, NULL);
}

/* So many looks take about that long: CPUs differ by a factor of ten in what a
 * pause takes. The shortest of a few samples, for the thread may be stopped in
 * one. */
static uint32_t looks_of(uint64_t nanoseconds)
{
    const unsigned sample = 256;
    uint64_t shortest = UINT64_MAX, looks;

    for (int i = 0; i < 4; i++) {
        uint64_t start = kaon__clock_now(), taken;

        for (unsigned k = 0; k < sample; k++)
            kaon__pause();
        taken = kaon__clock_now() - start;
        if (taken < shortest)
            shortest = taken;
    }
    looks = nanoseconds * sample / (shortest ? shortest : 1) + 1;
    return looks < UINT32_MAX ? (uint32_t)looks : UINT32_MAX;
}

static enum kaon_status start_thread(struct kaon_sandbox *sandbox,
                                     struct kaon_error *err)
{
    struct kaon_machine *machine = sandbox->domain->machine;
    enum kaon_status status = machine->backend->kick_ready(machine, err);
    struct kaon_resident *resident;

    if (status)
        return status;
    resident = calloc(1, sizeof *resident);
    if (!resident)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a thread");
    resident->sandbox = sandbox;
    atomic_init(&resident->job, RESUME);
    errno = start_runner(resident);
    if (errno) {
        status = kaon__fail_errno(err, KAON_ENOMEM,
                                  "cannot start the thread of a resident "
                                  "sandbox: %s",
                                  strerror(errno));
        free(resident);
        return status;
    }
    await_out(resident);
    status = resident->status;
    if (!status) {
        sandbox->resident = resident;
        return KAON_OK;
    }
    if (err)
        *err = resident->error;
    free_resident(resident);
    return status;
}

static bool has_cpus_for_two(void)
{
    cpu_set_t cpus;

    return sched_getaffinity(0, sizeof cpus, &cpus) != 0 ||
           CPU_COUNT(&cpus) > 1;
}

static enum kaon_status start(struct kaon_sandbox *sandbox, uint64_t spin_ns,
                              struct kaon_error *err)
{
    uint32_t looks = looks_of(spin_ns);
    enum kaon_status status = KAON_OK;

    if (!has_cpus_for_two())
        return KAON_OK;
    if (sandbox->domain->machine->backend->space_spin)
        sandbox->spin_looks = looks;
    else if (!sandbox->resident)
        status = start_thread(sandbox, err);
    if (status)
        return status;
    if (sandbox->resident) {
        kaon__resident_pause(sandbox);
        sandbox->resident->looks = looks;
    }
    kaon__resident_go(sandbox);
    return KAON_OK;
}

enum kaon_status
kaon_sandbox_start_resident(struct kaon_sandbox *sandbox,
                            const struct kaon_resident_opts *theirs,
                            struct kaon_error *err)
{
    struct kaon_resident_opts opts;
    enum kaon_status status;

    if (!sandbox)
        return kaon__fail(err, KAON_EINVAL, "sandbox is NULL");
    status = kaon__options_adopt(&opts, sizeof opts, theirs, "resident options",
                                 err);
    if (status)
        return status;
    if (opts.spin_ns > SPIN_MAX)
        return kaon__fail(err, KAON_EINVAL,
                          "spin_ns is %llu: it must be a minute at most",
                          (unsigned long long)opts.spin_ns);
    status = kaon__sandbox_claim(sandbox, err);
    if (status)
        return status;
    status = start(sandbox, opts.spin_ns ? opts.spin_ns : SPIN_DEFAULT, err);
    kaon__sandbox_release(sandbox, false);
    return status;
}

enum kaon_status kaon_sandbox_stop_resident(struct kaon_sandbox *sandbox,
                                            struct kaon_error *err)
{
    bool poisoned;
    enum kaon_status status;

    if (!sandbox)
        return kaon__fail(err, KAON_EINVAL, "sandbox is NULL");
    status = kaon__sandbox_claim_any(sandbox, &poisoned, err);
    if (status)
        return status;
    kaon__resident_end(sandbox);
    kaon__sandbox_release(sandbox, poisoned);
    return KAON_OK;
}

bool kaon_sandbox_is_resident(const struct kaon_sandbox *sandbox)
{
    return sandbox && (sandbox->resident || sandbox->spin_looks);
}

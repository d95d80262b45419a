/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs of the process backend: the right to give a process its turn, and to
 * wait for it.
 *
 * A kick is the one thing that no guest can parry: it kills the process.
 * Should its sandbox be called again, it gets another.
 *
 * What a process writes is hostile, whosever turn it is: a word of the control
 * page is read once, and an exit says only what a guest could have caused.
 */
#include "backend/process/inside.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ucontext.h>
#include <linux/audit.h>

#include "host/error.h"

/* How often to meet a trap that comes late: a process has a few at most. */
#define LATE_MAX 4

/* After so many calls in a row with a proof each, it would have been cheaper to
 * ask in the end. */
#define PROOFS_MAX 16

struct kaon_vcpu {
    struct process_machine *machine;
    _Atomic(struct process_space *) space; /* whose process a kick kills */
    atomic_bool kicked;
    struct kaon_registers registers;
    struct kaon_thread_pointers pointers;
};

enum kaon_status kaon__process_vcpu_create(struct kaon_vcpu **out,
                                           struct kaon_machine *machine,
                                           uint32_t index,
                                           struct kaon_error *err)
{
    struct kaon_vcpu *vcpu = calloc(1, sizeof *vcpu);

    (void)index;
    if (!vcpu)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a vCPU");
    vcpu->machine = process_machine(machine);
    *out = vcpu;
    return KAON_OK;
}

void kaon__process_vcpu_destroy(struct kaon_vcpu *vcpu)
{
    free(vcpu);
}

void kaon__process_vcpu_bind(struct kaon_vcpu *vcpu)
{
    (void)vcpu;
}

static void stopped(struct kaon_exit *exit, const char *reason)
{
    exit->kind = KAON_EXIT_STOPPED;
    exit->reason = reason;
}

/* What the process says of its registers, which may be anything. */
static void copy_context(struct kaon_vcpu *vcpu, const uint64_t *c)
{
    vcpu->registers = (struct kaon_registers){
        c[REG_RAX], c[REG_RBX], c[REG_RCX], c[REG_RDX], c[REG_RSI], c[REG_RDI],
        c[REG_RBP], c[REG_RSP], c[REG_R8],  c[REG_R9],  c[REG_R10], c[REG_R11],
        c[REG_R12], c[REG_R13], c[REG_R14], c[REG_R15], c[REG_RIP], c[REG_EFL],
    };
}

/* A system call that was not made: the fault it is under KVM. */
static void on_system_call(struct kaon_vcpu *vcpu, const struct kaon_control *c,
                           struct kaon_exit *exit)
{
    bool native = c->signal != SIGSYS || c->arch == AUDIT_ARCH_X86_64;

    exit->kind = KAON_EXIT_FAULT;
    exit->vector = native ? 6 : 13;
    exit->error_code = native ? 0 : 0x80 * 8 + 2; /* of `int 0x80` */
    vcpu->registers.rip -= 2; /* all of its entries are two bytes */
}

static void on_signal(struct kaon_vcpu *vcpu, const struct process_space *space,
                      struct kaon_exit *exit)
{
    struct kaon_control copy;
    const struct kaon_control *c = &copy;

    memcpy(&copy, space->control, sizeof copy);
    copy_context(vcpu, c->context);
    switch (c->signal) {
    case SIGSYS: on_system_call(vcpu, c, exit); return;
    case SIGILL:
        /* The kernel's answer to uretprobe(), which no filter sees. */
        if (c->context[REG_TRAPNO] != 6) {
            on_system_call(vcpu, c, exit);
            return;
        }
        break;
    case SIGBUS:
        if (c->context[REG_TRAPNO] == 14) {
            exit->kind = KAON_EXIT_MEMORY;
            exit->reason = KAON_NO_HOST_PAGE;
            return;
        }
        break;
    }
    if (c->context[REG_TRAPNO] >= 32) {
        stopped(exit, "its process got a signal that no fault explains");
        return;
    }
    exit->kind = KAON_EXIT_FAULT;
    exit->vector = (uint32_t)c->context[REG_TRAPNO];
    exit->error_code = (uint32_t)c->context[REG_ERR];
    exit->address = c->context[REG_CR2];
}

/* Each word of what the process says is read once. */
static void read_exit(struct kaon_vcpu *vcpu, const struct process_space *space,
                      struct kaon_exit *exit)
{
    const volatile struct kaon_control *c = space->control;

    vcpu->pointers = (struct kaon_thread_pointers){ c->fs_base, c->gs_base };
    switch (c->reason) {
    case KAON_REASON_GATE: exit->kind = KAON_EXIT_GATE; return;
    case KAON_REASON_SIGNAL: on_signal(vcpu, space, exit); return;
    }
    vcpu->registers = (struct kaon_registers){ 0 };
    stopped(exit, "its process handed over for no reason");
}

static void run(struct kaon_vcpu *vcpu, struct process_space *space,
                uint32_t turn, struct kaon_exit *exit)
{
    bool came = false, slept = true;

    *exit = (struct kaon_exit){ 0 };
    space->left = false;
    if (vcpu->machine->by_token) {
        came = kaon__process_give_token(space, turn, &vcpu->kicked);
    } else {
        space->turns++;
        kaon__process_give_turn(space, turn);
        if (atomic_load(&vcpu->kicked)) /* which perhaps saw no space */
            kaon__process_kill(space);
        else
            came = kaon__process_await_turn(space, &vcpu->kicked, &slept);
    }
    exit->crossed = !slept && space->spin != vcpu->machine->spin;
    if (atomic_load(&vcpu->kicked)) {
        exit->kind = KAON_EXIT_KICKED;
    } else if (came) {
        read_exit(vcpu, space, exit);
        space->left = exit->kind == KAON_EXIT_GATE;
    } else {
        kaon__process_kill(space); /* if the zygote ended, it does later */
        vcpu->registers = (struct kaon_registers){ 0 };
        stopped(exit, "its process was killed");
    }
}

/* Whoever was killed or parked has a process again that waits for its turn;
 * or we were kicked. */
static enum kaon_status make_ready(struct kaon_vcpu *vcpu,
                                   struct process_space *space,
                                   struct kaon_error *err)
{
    struct process_machine *m = vcpu->machine;

    if (!atomic_load(&space->killed) &&
        (!space->parked || kaon__process_unpark(m, space, &vcpu->kicked) ||
         atomic_load(&vcpu->kicked)))
        return KAON_OK;
    return kaon__process_launch(m, space, err);
}

/* A cache line that nobody writes need not cross. */
static void set(uint64_t *word, uint64_t value)
{
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != value)
        __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static void set32(uint32_t *word, uint32_t value)
{
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != value)
        __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* All of it, whatever the process ran before. */
static void prepare_afresh(struct kaon_vcpu *vcpu, struct process_space *space,
                           const struct kaon_thread_pointers *pointers)
{
    struct kaon_control *control = space->control;

    /* Once: what a late trap writes from here on must not be lost. */
    if (space->proved)
        kaon__process_scrub(vcpu->machine, space);
    else
        control->reason = control->frame = 0;
    control->fs_base = pointers->fs_base;
    control->gs_base = pointers->gs_base;
    control->entered = 0;
    space->near = NULL;
    space->in_a_row = 0;
}

/*
 * Is it as it was when it left? If the guest lies about that, or about what a
 * call finds, then to itself. By token, the gate is to say that it entered.
 * Who is called may leave by the mailbox.
 */
static bool may_call(const struct kaon_vcpu *vcpu,
                     const struct process_space *space,
                     const struct kaon_entry *entry,
                     const struct kaon_thread_pointers *pointers)
{
    const volatile struct kaon_control *control = space->control;

    return space->left && !space->proved && !vcpu->machine->by_token &&
           entry->turn && control->fs_base == pointers->fs_base &&
           control->gs_base == pointers->gs_base;
}

static void enter(struct kaon_vcpu *vcpu, struct process_space *space,
                  const struct kaon_entry *entry,
                  const struct kaon_thread_pointers *pointers,
                  struct kaon_exit *exit)
{
    struct kaon_control *control = space->control;
    uint32_t turn = KAON_TURN_CALL;

    if (atomic_load(&vcpu->kicked)) {
        *exit = (struct kaon_exit){ .kind = KAON_EXIT_KICKED };
        return;
    }
    if (may_call(vcpu, space, entry, pointers)) {
        if (++space->in_a_row == PROOFS_MAX)
            space->proves = false;
        space->near = space->proves ? NULL : entry->turn;
    } else {
        prepare_afresh(vcpu, space, pointers);
        turn = KAON_TURN_ENTER;
    }
    set32(&control->spin, space->spin);
    set(&control->ip, entry->ip);
    set(&control->sp, entry->sp);
    set(&control->argument, entry->argument);
    set32(&control->prove, space->proves);
    run(vcpu, space, turn, exit);
}

/* The gate never came to enter: a trap was late, or the process is gone. */
static bool was_missed(const struct process_space *space,
                       const struct kaon_exit *exit)
{
    return (space->proved || space->stands) && exit->kind != KAON_EXIT_KICKED &&
           !space->control->entered;
}

/*
 * Either a kick sees the space, or we see the kick: before we enter, or after
 * the turn was given, by an exchange, which brings the two in order as well as
 * one here would. But here, it would wait for the mailbox's cache line, which
 * was just written.
 */
static void show(struct kaon_vcpu *vcpu, struct process_space *space)
{
    if (vcpu->machine->by_token)
        atomic_store(&vcpu->space, space);
    else
        atomic_store_explicit(&vcpu->space, space, memory_order_relaxed);
}

enum kaon_status
kaon__process_vcpu_enter(struct kaon_vcpu *vcpu, struct kaon_space handle,
                         bool fresh, const struct kaon_entry *entry,
                         const struct kaon_thread_pointers *pointers,
                         struct kaon_exit *exit, struct kaon_error *err)
{
    struct process_space *space = space_of(handle);
    enum kaon_status status = make_ready(vcpu, space, err);

    (void)fresh;
    if (status)
        return status;
    show(vcpu, space);
    enter(vcpu, space, entry, pointers, exit);
    for (int i = 0; i < LATE_MAX && was_missed(space, exit); i++) {
        if (atomic_load(&space->killed) || kaon__process_is_gone(space))
            status = kaon__process_launch(vcpu->machine, space, err);
        if (status)
            return status;
        enter(vcpu, space, entry, pointers, exit);
    }
    space->proved = false;
    return KAON_OK;
}

/* After GATE only: faults are final, and who was kicked is dead. */
enum kaon_status kaon__process_vcpu_resume(struct kaon_vcpu *vcpu,
                                           struct kaon_exit *exit,
                                           struct kaon_error *err)
{
    struct process_space *space = atomic_load(&vcpu->space);

    (void)err;
    run(vcpu, space, KAON_TURN_RESUME, exit);
    return KAON_OK;
}

void kaon__process_vcpu_registers(const struct kaon_vcpu *vcpu,
                                  struct kaon_registers *registers)
{
    *registers = vcpu->registers;
}

struct kaon_thread_pointers
kaon__process_vcpu_pointers(const struct kaon_vcpu *vcpu)
{
    return vcpu->pointers;
}

enum kaon_status kaon__process_kick_ready(struct kaon_machine *machine,
                                          struct kaon_error *err)
{
    (void)machine; /* it takes nothing of ours */
    (void)err;
    return KAON_OK;
}

/*
 * Kills the process, and wakes who waits for it: he finds his turn has come,
 * unless the guest is quick to take it back, and then looks a little later. By
 * token, its end wakes him.
 */
void kaon__process_vcpu_kick(struct kaon_vcpu *vcpu)
{
    struct process_space *space;

    atomic_store(&vcpu->kicked, true);
    space = atomic_load(&vcpu->space);
    if (space && kaon__process_kill(space))
        kaon__process_take_turn(space);
}

/* Nobody kicks it now. Who does it next is told of the vCPU after this. */
void kaon__process_vcpu_unkick(struct kaon_vcpu *vcpu)
{
    atomic_store_explicit(&vcpu->kicked, false, memory_order_release);
    atomic_store_explicit(&vcpu->space, NULL, memory_order_release);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs: enters guests, and says why they left.
 *
 * Owns its descriptor and state. Never makes a system call in enter or resume
 * but KVM_RUN, unless the guest faulted or broke its CPU.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "backend/kvm/inside.h"
#include "gate/gate.h"
#include "host/error.h"

/* CR3's page-level write-through bit; see load_sregs(). */
#define CR3_PWT UINT64_C(0x8)

#define RFLAGS_TRAP UINT64_C(0x100)

#define MSR_LSTAR 0xc0000082u

struct kaon_vcpu {
    struct kvm_machine *machine;
    int fd;
    struct kvm_run *run;
    unsigned char *system_page;
    struct kvm_sregs sregs; /* what a guest starts with, but for CR3 */
    uint64_t loaded_cr3;    /* last written */
    enum kaon_exit_kind last;
    struct kvm_sregs at_fault; /* if last is FAULT */
    pthread_t thread;
};

/* What SYNC_REGS cannot carry. */
static enum kaon_status set_up(const struct kaon_vcpu *vcpu,
                               struct kaon_error *err)
{
    const struct kvm_xcrs xcrs = {
        .nr_xcrs = 1,
        .xcrs[0] = { .xcr = 0, .value = kaon__kvm_facts()->cpu.xcr0 },
    };
    /* PVM ignores EFER.SCE and jumps to LSTAR, at CPL 3. */
    union {
        struct kvm_msrs head;
        unsigned char
            room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
    } msrs = { .head.nmsrs = 1 };

    msrs.head.entries[0] = (struct kvm_msr_entry){
        .index = MSR_LSTAR,
        .data = KAON_GATE_ADDRESS + KAON_GATE_SYSCALL,
    };

    if (ioctl(vcpu->fd, KVM_SET_CPUID2, &kaon__kvm_facts()->cpu.cpuid.head) < 0)
        return kaon__kvm_fail(err, "KVM_SET_CPUID2");
    if (kaon__kvm_facts()->cpu.xcr0 && ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs) < 0)
        return kaon__kvm_fail(err, "KVM_SET_XCRS");
    if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) != 1)
        return kaon__kvm_fail(err, "KVM_SET_MSRS");
    return KAON_OK;
}

enum kaon_status kaon__kvm_vcpu_create(struct kaon_vcpu **out,
                                       struct kaon_machine *machine,
                                       uint32_t index, struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);
    struct kaon_vcpu *vcpu;
    enum kaon_status status = kaon__kvm_give_arena(m, err);

    if (status)
        return status;
    vcpu = calloc(1, sizeof *vcpu);
    if (!vcpu)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a vCPU");
    vcpu->machine = m;
    vcpu->fd = ioctl(m->vm, KVM_CREATE_VCPU, (unsigned long)m->next_vcpu);
    if (vcpu->fd >= 0)
        m->next_vcpu++;
    if (vcpu->fd < 0) {
        status = kaon__kvm_fail(err, "KVM_CREATE_VCPU");
        goto free_vcpu;
    }
    vcpu->run = mmap(NULL, kaon__kvm_facts()->run_size, PROT_READ | PROT_WRITE,
                     MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        status = kaon__kvm_fail(err, "to map a vCPU's state");
        goto close_fd;
    }
    status = set_up(vcpu, err);
    if (status)
        goto unmap_run;
    vcpu->system_page = m->system_pages + index * KAON_PAGE_SIZE;
    kaon__kvm_system_page(vcpu->system_page, kaon__kvm_system_address(index));
    kaon__kvm_sregs(&vcpu->sregs, &kaon__kvm_facts()->cpu,
                    kaon__kvm_system_address(index));
    vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    *out = vcpu;
    return KAON_OK;

unmap_run:
    munmap(vcpu->run, kaon__kvm_facts()->run_size);
close_fd:
    close(vcpu->fd);
free_vcpu:
    free(vcpu);
    return status;
}

void kaon__kvm_vcpu_destroy(struct kaon_vcpu *vcpu)
{
    munmap(vcpu->run, kaon__kvm_facts()->run_size);
    close(vcpu->fd);
    free(vcpu);
}

void kaon__kvm_vcpu_bind(struct kaon_vcpu *vcpu)
{
    vcpu->thread = pthread_self();
    kaon__kick_admit(&vcpu->machine->kick);
}

/*
 * Completes what an exit left pending. A guest's `in`, say, would else write
 * its result into the registers of whoever is entered next.
 */
static void settle(struct kaon_vcpu *vcpu)
{
    vcpu->run->immediate_exit = 1;
    ioctl(vcpu->fd, KVM_RUN, 0);
    vcpu->run->immediate_exit = 0;
}

static void stopped(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                    const char *reason)
{
    settle(vcpu);
    exit->kind = KAON_EXIT_STOPPED;
    exit->reason = reason;
}

/*
 * The special registers are wanted after a fault only: to copy them out at
 * each exit would cost every call 700 instructions of the kernel.
 */
static enum kaon_status on_fault(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                                 struct kaon_error *err)
{
    struct kvm_regs *regs = &vcpu->run->s.regs.regs;
    struct kaon_kvm_frame frame;

    if (ioctl(vcpu->fd, KVM_GET_SREGS, &vcpu->at_fault) < 0)
        return kaon__kvm_fail(err, "KVM_GET_SREGS");
    exit->kind = KAON_EXIT_FAULT;
    exit->vector = vcpu->run->io.port - KAON_KVM_FAULT_PORT;
    exit->address = vcpu->at_fault.cr2;
    kaon__kvm_frame(&frame, vcpu->system_page, exit->vector);
    exit->error_code = (uint32_t)frame.error_code;
    regs->rip = frame.rip;
    regs->rsp = frame.rsp;
    regs->rflags = frame.rflags;
    /* PVM took a `syscall` to the gate, its address in rcx: put it back. */
    if (exit->vector == KAON_KVM_INVALID_OPCODE &&
        regs->rip == KAON_GATE_ADDRESS + KAON_GATE_SYSCALL)
        regs->rip = regs->rcx - 2;
    if (exit->vector == KAON_KVM_INVALID_OPCODE &&
        frame.rip == KAON_GATE_ADDRESS + KAON_GATE_ENTRY)
        return kaon__fail(err, KAON_EBACKEND,
                          "this CPU lacks FSGSBASE, which Intel's have since "
                          "2012 and AMD's since 2017; `kaon doctor` tells "
                          "more");
    return KAON_OK;
}

static enum kaon_status on_port(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                                struct kaon_error *err)
{
    const struct kvm_run *run = vcpu->run;
    bool out = run->io.direction == KVM_EXIT_IO_OUT && run->io.count == 1;

    /* With the trap flag set a trap is due, which the next borrower of the
     * vCPU is not to meet (VMX would not even enter): it comes first. */
    if (out && run->io.port == KAON_GATE_PORT && run->io.size == 4)
        exit->kind = run->s.regs.regs.rflags & RFLAGS_TRAP ? KAON_EXIT_KICKED
                                                           : KAON_EXIT_GATE;
    else if (out && run->io.port >= KAON_KVM_FAULT_PORT &&
             run->io.port < KAON_KVM_FAULT_PORT + KAON_KVM_VECTORS)
        return on_fault(vcpu, exit, err);
    else
        stopped(vcpu, exit, "it used an I/O instruction of its own");
    return KAON_OK;
}

static enum kaon_status on_error(struct kaon_exit *exit, struct kaon_error *err)
{
    switch (errno) {
    case EINTR:
    case EAGAIN: exit->kind = KAON_EXIT_KICKED; return KAON_OK;
    case EFAULT:
        exit->kind = KAON_EXIT_MEMORY;
        exit->reason = KAON_NO_HOST_PAGE;
        return KAON_OK;
    default: return kaon__kvm_fail(err, "KVM_RUN");
    }
}

static enum kaon_status run(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                            struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    *exit = (struct kaon_exit){ 0 };
    if (atomic_load_explicit(&vcpu->machine->arena_absent,
                             memory_order_relaxed)) {
        status = kaon__kvm_give_arena(vcpu->machine, err);
        if (status) {
            vcpu->last = KAON_EXIT_STOPPED;
            return status;
        }
    }
    if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
        status = on_error(exit, err);
    } else {
        switch (vcpu->run->exit_reason) {
        case KVM_EXIT_IO: status = on_port(vcpu, exit, err); break;
        case KVM_EXIT_INTR: exit->kind = KAON_EXIT_KICKED; break;
        case KVM_EXIT_SHUTDOWN:
            stopped(vcpu, exit, "its CPU shut down (a triple fault)");
            break;
        case KVM_EXIT_MMIO:
            stopped(vcpu, exit, "it touched memory that does not exist");
            break;
        case KVM_EXIT_INTERNAL_ERROR:
            stopped(vcpu, exit, "KVM cannot emulate an instruction of it");
            break;
        case KVM_EXIT_FAIL_ENTRY:
            status = kaon__fail(err, KAON_EBACKEND,
                                "the CPU refused to enter the guest (reason "
                                "%#llx); `kaon doctor` tells more",
                                (unsigned long long)vcpu->run->fail_entry
                                    .hardware_entry_failure_reason);
            break;
        default:
            stopped(vcpu, exit, "its CPU stopped for a reason unknown here");
        }
    }
    vcpu->last = status ? KAON_EXIT_STOPPED : exit->kind;
    return status;
}

/*
 * Sends the special registers along. KVM flushes the TLB when CR3 changes;
 * where it must forget what it knows of a space and the root is the same, a
 * bit of CR3 that does not matter to it changes instead.
 */
static void load_sregs(struct kaon_vcpu *vcpu, uint64_t cr3)
{
    vcpu->run->s.regs.sregs = vcpu->sregs;
    vcpu->run->s.regs.sregs.cr3 = cr3;
    vcpu->loaded_cr3 = cr3;
    vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

/*
 * A kick may have come while the CPU delivered an exception: KVM would deliver
 * it again, to whoever is entered next.
 */
static void drop_events(struct kaon_vcpu *vcpu)
{
    memset(&vcpu->run->s.regs.events, 0, sizeof vcpu->run->s.regs.events);
    vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
}

enum kaon_status
kaon__kvm_vcpu_enter(struct kaon_vcpu *vcpu, struct kaon_space space,
                     bool fresh, const struct kaon_entry *entry,
                     const struct kaon_thread_pointers *pointers,
                     struct kaon_exit *exit, struct kaon_error *err)
{
    bool same = (vcpu->loaded_cr3 & ~CR3_PWT) == space.root;

    vcpu->run->s.regs.regs = (struct kvm_regs){
        .rip = KAON_GATE_ADDRESS + KAON_GATE_ENTRY,
        .rsp = entry->sp,
        .rdi = entry->argument,
        .r8 = pointers->fs_base,
        .r9 = pointers->gs_base,
        .r11 = entry->ip,
        .rflags = 2,
    };
    if (same && fresh && vcpu->last == KAON_EXIT_GATE)
        vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    else
        load_sregs(vcpu,
                   same && !fresh ? vcpu->loaded_cr3 ^ CR3_PWT : space.root);
    if (vcpu->last == KAON_EXIT_KICKED)
        drop_events(vcpu);
    return run(vcpu, exit, err);
}

enum kaon_status kaon__kvm_vcpu_resume(struct kaon_vcpu *vcpu,
                                       struct kaon_exit *exit,
                                       struct kaon_error *err)
{
    if (vcpu->last == KAON_EXIT_FAULT) {
        load_sregs(vcpu, vcpu->loaded_cr3);
        vcpu->run->s.regs.sregs.fs.base = vcpu->at_fault.fs.base;
        vcpu->run->s.regs.sregs.gs.base = vcpu->at_fault.gs.base;
    }
    return run(vcpu, exit, err);
}

void kaon__kvm_vcpu_registers(const struct kaon_vcpu *vcpu,
                              struct kaon_registers *registers)
{
    const struct kvm_regs *r = &vcpu->run->s.regs.regs;

    *registers = (struct kaon_registers){
        r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi,
        r->rbp, r->rsp, r->r8,  r->r9,  r->r10, r->r11,
        r->r12, r->r13, r->r14, r->r15, r->rip, r->rflags,
    };
}

/* As the gate's leave code tells them. */
struct kaon_thread_pointers
kaon__kvm_vcpu_pointers(const struct kaon_vcpu *vcpu)
{
    const struct kvm_regs *r = &vcpu->run->s.regs.regs;

    return (struct kaon_thread_pointers){ r->r8, r->r9 };
}
/* ---- Kicks ------------------------------------------------------------- */

enum kaon_status kaon__kvm_kick_ready(struct kaon_machine *machine,
                                      struct kaon_error *err)
{
    return kaon__kick_install(&kvm_machine(machine)->kick, err);
}

/*
 * A vCPU that is about to run sees immediate_exit; one that runs is stopped
 * by the signal. KVM looks at the former before the latter can get lost.
 */
void kaon__kvm_vcpu_kick(struct kaon_vcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    kaon__kick_send(&vcpu->machine->kick, vcpu->thread);
}

void kaon__kvm_vcpu_unkick(struct kaon_vcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

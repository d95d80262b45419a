/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What KVM needs to know of x86-64: the registers of a guest at CPL 3, and
 * the page of system structures that turns its faults into exits.
 *
 * Guests run at CPL 3 in 64-bit mode from their first instruction. What CPL 0
 * there is, the host wrote: one supervisor-only page for each vCPU with GDT,
 * TSS, IDT, a stub for each exception and the stack that they run on. A stub
 * is one `out` to a port that names the exception. The TSS's bitmap opens one
 * port to the guest, that of the gate: an exit on any other port is a fault
 * for certain, as the guest cannot forge one.
 */
#ifndef KAON_SRC_BACKEND_KVM_X86_64_H
#define KAON_SRC_BACKEND_KVM_X86_64_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "backend/backend.h"

/* The most entries that KVM is known to report, with room to spare. */
#define KAON_KVM_CPUID_MAX 256

/* What this machine's KVM offers to a vCPU. */
struct kaon_kvm_cpu {
    uint64_t cr4;
    uint64_t xcr0;         /* 0: leave it alone */
    bool tcg;              /* an emulator with a quirk: see x86_64.c */
    uint64_t physical_end; /* what guest-physical addresses are below */
    union {
        struct kvm_cpuid2 head;
        unsigned char
            room[sizeof(struct kvm_cpuid2) +
                 KAON_KVM_CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
    } cpuid;
};

/* From the filled-in cpuid, what else there is to know. */
void kaon__kvm_cpu_learn(struct kaon_kvm_cpu *cpu);

/* Where vCPU `index` has its system page: behind the gate, so that a small
 * guest's page tables show it too. */
uint64_t kaon__kvm_system_address(uint32_t index);

/* As many vCPUs as there are places for system pages. */
#define KAON_KVM_VCPUS_MAX 256u

/* Fills the system page that guests will see at `address`. */
void kaon__kvm_system_page(unsigned char *page, uint64_t address);

/* The special registers of a guest that uses this system page. */
void kaon__kvm_sregs(struct kvm_sregs *sregs, const struct kaon_kvm_cpu *cpu,
                     uint64_t system_address);

/* What the CPU pushed when a stub ran, taken from the system page. */
struct kaon_kvm_frame {
    uint64_t error_code; /* 0 for exceptions that have none */
    uint64_t rip, rflags, rsp;
};
void kaon__kvm_frame(struct kaon_kvm_frame *frame, const unsigned char *page,
                     uint32_t vector);

/* The port of the stub for exception 0; the others follow. */
#define KAON_KVM_FAULT_PORT 0x80u
#define KAON_KVM_VECTORS 32u
#define KAON_KVM_PAGE_FAULT 14u
#define KAON_KVM_INVALID_OPCODE 6u

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Lays out the system page and the register state of a CPL 3 guest. */
#include "backend/kvm/x86_64.h"

#include <cpuid.h>
#include <string.h>

#include <kaon/image.h>

#include "gate/gate.h"

/* The system page. The guest's pushes end well above the stubs. */
#define GDT_OFFSET 0x000
#define TSS_OFFSET 0x040
#define IDT_OFFSET 0x100
#define STUBS_OFFSET 0x300
#define STACK_OFFSET 0x1000 /* grows down from the page's end */
#define STUB_SIZE 4

/* Selectors: index in the GDT, and privilege level. */
#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define USER_DATA 0x23
#define USER_CODE 0x2b
#define TASK 0x30

/*
 * The TSS: 0x68 bytes, then the I/O bitmap as far as the gate's port, then
 * the byte of ones that ends a bitmap. Ports past the limit are closed.
 */
#define TSS_RSP0 0x04
#define TSS_IST1 0x24
#define TSS_BITMAP_BASE 0x66
#define TSS_SIZE 0x68
#define TSS_LIMIT (TSS_SIZE + KAON_GATE_PORT / 8 + 1)
_Static_assert(KAON_GATE_PORT % 8 == 0, "the gate's four bits are one nibble");
_Static_assert(TSS_OFFSET + TSS_LIMIT < IDT_OFFSET, "the TSS fits");
_Static_assert(KAON_GATE_ADDRESS + (1 + KAON_KVM_VCPUS_MAX) * KAON_PAGE_SIZE <=
                   KAON_IMAGE_LOW,
               "system pages are out of the images' way");
_Static_assert(KAON_GATE_PORT + 4 <= KAON_KVM_FAULT_PORT, "ports are apart");

/* CR0: PG AM WP NE ET MP PE. EFER: NXE LMA LME; not SCE: syscall is #UD. */
#define CR0 0x80050033u
#define EFER 0xd00u
#define CR4_BASE 0x620u /* OSXMMEXCPT OSFXSR PAE */
#define CR4_FSGSBASE (UINT64_C(1) << 16)
#define CR4_OSXSAVE (UINT64_C(1) << 18)

/* XCR0: x87, SSE, AVX and the three parts of AVX-512; not PKRU, not AMX. */
#define XCR0_WANTED 0xe7u

/* A CPU without APIC changes has this base; KVM wants it back. */
#define APIC_BASE 0xfee00900u

/* Each CPU with 64-bit mode has as many address lines. */
#define PHYSICAL_BITS_LEAST 36

static void put(unsigned char *at, uint64_t value, size_t size)
{
    memcpy(at, &value, size);
}

static const struct kvm_cpuid_entry2 *leaf(const struct kaon_kvm_cpu *cpu,
                                           uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < cpu->cpuid.head.nent; i++)
        if (cpu->cpuid.head.entries[i].function == function &&
            cpu->cpuid.head.entries[i].index == index)
            return &cpu->cpuid.head.entries[i];
    return NULL;
}

/*
 * QEMU's emulator checks that a TSS is of type 9, available, where CPUs have
 * 11, busy; with 11 each `out` of a guest is refused. The one place that
 * knows: the tests on emulated SVM need it, hardware never sees it.
 */
static bool runs_on_tcg(void)
{
    unsigned eax, ebx, ecx, edx, name[3];

    __cpuid(1, eax, ebx, ecx, edx);
    if (!(ecx & (1u << 31))) /* not under a hypervisor */
        return false;
    __cpuid(0x40000000, eax, name[0], name[1], name[2]);
    return memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
}

/*
 * What is all zero is what KVM answers for an entry that is not there. It
 * reports some fifty of those, and PVM takes longer to make a vCPU for each.
 */
static void drop_empty(struct kvm_cpuid2 *cpuid)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

        if (entry->eax || entry->ebx || entry->ecx || entry->edx)
            cpuid->entries[kept++] = *entry;
    }
    cpuid->nent = kept;
}

static void find_features(struct kaon_kvm_cpu *cpu)
{
    const struct kvm_cpuid_entry2 *features = leaf(cpu, 1, 0);
    const struct kvm_cpuid_entry2 *extended = leaf(cpu, 7, 0);
    const struct kvm_cpuid_entry2 *states = leaf(cpu, 0xd, 0);
    const struct kvm_cpuid_entry2 *sizes = leaf(cpu, 0x80000008, 0);

    cpu->physical_end = UINT64_C(1) << PHYSICAL_BITS_LEAST;
    if (sizes && (sizes->eax & 0xff) > PHYSICAL_BITS_LEAST)
        cpu->physical_end = UINT64_C(1) << (sizes->eax & 0x3f);
    cpu->cr4 = CR4_BASE;
    cpu->xcr0 = 0;
    cpu->tcg = runs_on_tcg();
    if (extended && extended->ebx & 1)
        cpu->cr4 |= CR4_FSGSBASE;
    if (features && states && features->ecx & (1u << 26)) { /* XSAVE */
        cpu->cr4 |= CR4_OSXSAVE;
        cpu->xcr0 = states->eax & XCR0_WANTED;
    }
}

void kaon__kvm_cpu_learn(struct kaon_kvm_cpu *cpu)
{
    drop_empty(&cpu->cpuid.head);
    find_features(cpu);
}

uint64_t kaon__kvm_system_address(uint32_t index)
{
    return KAON_GATE_ADDRESS + (1 + (uint64_t)index) * KAON_PAGE_SIZE;
}

/* A flat code or data segment: access byte and flags of the manual. */
static uint64_t flat_segment(unsigned access, unsigned flags)
{
    return 0xffffu | (uint64_t)access << 40 | (uint64_t)0xf << 48 |
           (uint64_t)flags << 52;
}

/* There is no 32-bit code segment: a far jump finds nothing to jump to. */
static void fill_gdt(unsigned char *gdt, uint64_t tss)
{
    put(gdt + KERNEL_CODE, flat_segment(0x9b, 0xa), 8);
    put(gdt + KERNEL_DATA, flat_segment(0x93, 0xc), 8);
    put(gdt + (USER_DATA & ~7), flat_segment(0xf3, 0xc), 8);
    put(gdt + (USER_CODE & ~7), flat_segment(0xfb, 0xa), 8);
    put(gdt + TASK,
        TSS_LIMIT | (tss & 0xffffff) << 16 | UINT64_C(0x8b) << 40 |
            (tss >> 24 & 0xff) << 56,
        8);
    put(gdt + TASK + 8, tss >> 32, 8);
}

static void fill_tss(unsigned char *tss, uint64_t stack)
{
    put(tss + TSS_RSP0, stack, 8);
    put(tss + TSS_IST1, stack, 8);
    put(tss + TSS_BITMAP_BASE, TSS_SIZE, 2);
    memset(tss + TSS_SIZE, 0xff, TSS_LIMIT + 1 - TSS_SIZE);
    tss[TSS_SIZE + KAON_GATE_PORT / 8] = 0xf0;
}

/* Each exception jumps to its stub; int3 alone may be raised on purpose. */
static void fill_idt(unsigned char *idt, uint64_t stubs)
{
    for (unsigned i = 0; i < KAON_KVM_VECTORS; i++) {
        uint64_t stub = stubs + i * STUB_SIZE;
        uint64_t type = i == 3 ? 0xee : 0x8e;

        put(idt + i * 16,
            (stub & 0xffff) | KERNEL_CODE << 16 | type << 40 |
                (stub >> 16 & 0xffff) << 48,
            8);
        put(idt + i * 16 + 8, stub >> 32, 8);
    }
}

/* out %al, $port; hlt; hlt. The host never lets one go on. */
static void fill_stubs(unsigned char *stubs)
{
    for (unsigned i = 0; i < KAON_KVM_VECTORS; i++) {
        const unsigned char stub[STUB_SIZE] = {
            0xe6, (unsigned char)(KAON_KVM_FAULT_PORT + i), 0xf4, 0xf4
        };

        memcpy(stubs + i * STUB_SIZE, stub, STUB_SIZE);
    }
}

void kaon__kvm_system_page(unsigned char *page, uint64_t address)
{
    fill_gdt(page + GDT_OFFSET, address + TSS_OFFSET);
    fill_tss(page + TSS_OFFSET, address + STACK_OFFSET);
    fill_idt(page + IDT_OFFSET, address + STUBS_OFFSET);
    fill_stubs(page + STUBS_OFFSET);
}

void kaon__kvm_sregs(struct kvm_sregs *sregs, const struct kaon_kvm_cpu *cpu,
                     uint64_t system_address)
{
    const struct kvm_segment data = {
        .limit = 0xffffffff,
        .selector = USER_DATA,
        .type = 3,
        .present = 1,
        .dpl = 3,
        .db = 1,
        .s = 1,
        .g = 1,
    };

    *sregs = (struct kvm_sregs){
        .cs = { .limit = 0xffffffff,
                .selector = USER_CODE,
                .type = 11,
                .present = 1,
                .dpl = 3,
                .s = 1,
                .l = 1,
                .g = 1 },
        .ds = data,
        .es = data,
        .fs = data,
        .gs = data,
        .ss = data,
        .tr = { .base = system_address + TSS_OFFSET,
                .limit = TSS_LIMIT,
                .selector = TASK,
                .type = cpu->tcg ? 9 : 11,
                .present = 1 },
        .ldt = { .unusable = 1 },
        .gdt = { .base = system_address + GDT_OFFSET, .limit = TASK + 16 - 1 },
        .idt = { .base = system_address + IDT_OFFSET,
                 .limit = KAON_KVM_VECTORS * 16 - 1 },
        .cr0 = CR0,
        .cr4 = cpu->cr4,
        .efer = EFER,
        .apic_base = APIC_BASE,
    };
}

/* Exceptions whose frame starts with an error code. */
static bool has_error_code(uint32_t vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 ||
           vector == 21 || vector == 29 || vector == 30;
}

void kaon__kvm_frame(struct kaon_kvm_frame *frame, const unsigned char *page,
                     uint32_t vector)
{
    uint64_t pushed[5]; /* rip, cs, rflags, rsp, ss */

    memcpy(pushed, page + STACK_OFFSET - sizeof pushed, sizeof pushed);
    frame->error_code = 0;
    if (has_error_code(vector))
        memcpy(&frame->error_code, page + STACK_OFFSET - sizeof pushed - 8, 8);
    frame->rip = pushed[0];
    frame->rflags = pushed[2];
    frame->rsp = pushed[3];
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system page and the registers of a guest, read as a CPU reads them: by
 * the manual's offsets, not by those of the code that wrote them.
 */
#include <kaon/image.h>

#include "backend/kvm/x86_64.h"
#include "gate/gate.h"
#include "support/harness.h"

#include <string.h>
#include <kaon/abi.h>

#define USER_CODE 0x2b
#define USER_DATA 0x23

struct fixture {
    unsigned char page[KAON_PAGE_SIZE];
    uint64_t address;
    struct kvm_sregs sregs;
    struct kaon_kvm_cpu cpu; /* last: it ends in an array */
};

static struct fixture fixture;

static struct fixture *begin(uint32_t index, bool tcg)
{
    memset(&fixture, 0, sizeof fixture);
    fixture.address = kaon__kvm_system_address(index);
    fixture.cpu.cr4 = 0x620;
    fixture.cpu.tcg = tcg;
    kaon__kvm_system_page(fixture.page, fixture.address);
    kaon__kvm_sregs(&fixture.sregs, &fixture.cpu, fixture.address);
    return &fixture;
}

/* Where the page has what the CPU finds at a guest address. */
static const unsigned char *at(const struct fixture *f, uint64_t address)
{
    assert_true(address - f->address < KAON_PAGE_SIZE);
    return f->page + (address - f->address);
}

static uint64_t word(const unsigned char *from, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, from, size);
    return value;
}

static uint64_t descriptor(const struct fixture *f, unsigned selector)
{
    assert_true((selector & ~7u) + 7 <= f->sregs.gdt.limit);
    return word(at(f, f->sregs.gdt.base + (selector & ~7u)), 8);
}

static void system_pages_lie_apart_above_the_gate(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < KAON_KVM_VCPUS_MAX; i++) {
        uint64_t address = kaon__kvm_system_address(i);

        assert_int_equal(address, KAON_GATE_ADDRESS + (i + 1) * KAON_PAGE_SIZE);
        assert_true(address + KAON_PAGE_SIZE <= KAON_IMAGE_LOW);
        /* One leaf table for all, that of a small guest. */
        assert_int_equal(address >> 21, KAON_GATE_ADDRESS >> 21);
    }
}

/* The CPU closes a port if its bit is set, or lies past the TSS's limit. */
static bool port_is_open(const struct fixture *f, unsigned port)
{
    uint64_t tss = f->sregs.tr.base;
    uint64_t bitmap = word(at(f, tss + 0x66), 2);

    if (bitmap + port / 8 + 1 > f->sregs.tr.limit)
        return false;
    return !(*at(f, tss + bitmap + port / 8) >> port % 8 & 1);
}

static void the_bitmap_opens_four_bits_for_one_port(void **state)
{
    struct fixture *f = begin(0, false);
    unsigned open = 0;

    (void)state;
    for (unsigned port = 0; port < 65536; port++)
        open += port_is_open(f, port);
    assert_int_equal(open, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_true(port_is_open(f, KAON_GATE_PORT + i));
    /* The CPU reads two bytes: the last within the limit is all ones. */
    assert_int_equal(*at(f, f->sregs.tr.base + f->sregs.tr.limit), 0xff);
}

static void the_tss_in_the_gdt_is_the_one_in_tr(void **state)
{
    struct fixture *f = begin(3, false);
    uint64_t low = descriptor(f, f->sregs.tr.selector);
    uint64_t high = descriptor(f, f->sregs.tr.selector + 8u);
    uint64_t base = (low >> 16 & 0xffffff) | (low >> 56) << 24 | high << 32;

    (void)state;
    assert_int_equal(base, f->sregs.tr.base);
    assert_int_equal(low & 0xffff, f->sregs.tr.limit);
    assert_int_equal(low >> 48 & 0xf, 0); /* limit's upper bits */
    assert_int_equal(low >> 40 & 0xff, 0x8b);
    assert_int_equal(f->sregs.tr.type, 11);
    assert_true(f->sregs.tr.present);
    assert_int_equal(begin(3, true)->sregs.tr.type, 9);
}

static void faults_come_in_on_the_top_of_the_page(void **state)
{
    struct fixture *f = begin(0, false);

    (void)state;
    assert_int_equal(word(at(f, f->sregs.tr.base + 4), 8),
                     f->address + KAON_PAGE_SIZE);
}

/* Bits of a segment descriptor. */
#define IS_SEGMENT(d) ((d) >> 44 & 1)
#define IS_CODE(d) (IS_SEGMENT(d) && (d) >> 43 & 1)
#define DPL(d) ((d) >> 45 & 3)
#define IS_LONG(d) ((d) >> 53 & 1)
#define IS_DEFAULT_32(d) ((d) >> 54 & 1)

static void there_is_no_32_bit_code(void **state)
{
    struct fixture *f = begin(0, false);
    unsigned code = 0;

    (void)state;
    for (unsigned selector = 0; selector < f->sregs.gdt.limit; selector += 8) {
        uint64_t d = descriptor(f, selector);

        if (!IS_CODE(d))
            continue;
        code++;
        assert_true(IS_LONG(d));
        assert_false(IS_DEFAULT_32(d));
    }
    assert_int_equal(code, 2); /* the guest's, and the stubs' */
    assert_int_equal(descriptor(f, 0), 0);
    assert_true(f->sregs.ldt.unusable);
}

static void no_call_gate_leads_inwards(void **state)
{
    struct fixture *f = begin(0, false);

    (void)state;
    /* The upper half of the TSS's descriptor is the last of the table. */
    for (unsigned selector = 8; selector + 15 < f->sregs.gdt.limit;
         selector += 8) {
        uint64_t d = descriptor(f, selector);

        if (!IS_SEGMENT(d) && selector != f->sregs.tr.selector)
            assert_int_equal(d, 0);
    }
    assert_int_equal(DPL(descriptor(f, f->sregs.tr.selector)), 0);
}

static void a_guest_starts_at_the_outer_ring(void **state)
{
    struct fixture *f = begin(0, false);

    (void)state;
    assert_int_equal(f->sregs.cs.selector, USER_CODE);
    assert_int_equal(f->sregs.ss.selector, USER_DATA);
    assert_int_equal(f->sregs.cs.dpl, 3);
    assert_int_equal(f->sregs.ss.dpl, 3);
    assert_true(f->sregs.cs.l && !f->sregs.cs.db);
    assert_int_equal(DPL(descriptor(f, USER_CODE)), 3);
    assert_int_equal(DPL(descriptor(f, USER_DATA)), 3);
    assert_true(f->sregs.cr0 & 1u << 31);  /* paging */
    assert_true(f->sregs.cr0 & 1u << 16);  /* write protection */
    assert_true(f->sregs.efer & 1u << 11); /* no-execute */
    assert_true(f->sregs.efer & 1u << 10); /* long mode */
    assert_false(f->sregs.efer & 1);       /* no syscall */
}

static void each_exception_runs_its_own_stub(void **state)
{
    struct fixture *f = begin(7, false);

    (void)state;
    assert_int_equal(f->sregs.idt.limit, 32 * 16 - 1);
    for (unsigned vector = 0; vector < KAON_KVM_VECTORS; vector++) {
        const unsigned char *gate = at(f, f->sregs.idt.base + vector * 16);
        uint64_t low = word(gate, 8);
        uint64_t stub =
            (low & 0xffff) | (low >> 48) << 16 | word(gate + 8, 4) << 32;
        const unsigned char *code = at(f, stub);

        assert_int_equal(low >> 16 & 0xffff, 8); /* the stubs' code segment */
        assert_int_equal(low >> 32 & 0xff, 0);   /* no stack of its own */
        assert_int_equal(low >> 40 & 0xf, 0xe);  /* an interrupt gate */
        assert_true(low >> 47 & 1);
        assert_int_equal(word(gate + 12, 4), 0);
        /* Only a breakpoint may be raised by the guest's own `int`. */
        assert_int_equal(DPL(low), vector == 3 ? 3 : 0);
        assert_int_equal(code[0], 0xe6); /* out %al, $port */
        assert_int_equal(code[1], KAON_KVM_FAULT_PORT + vector);
        assert_int_equal(code[2], 0xf4); /* hlt */
        assert_false(port_is_open(f, code[1]));
    }
    assert_int_equal(DPL(descriptor(f, 8)), 0);
}

/* Pushes what a CPU pushes when a guest at CPL 3 faults. */
static void push(struct fixture *f, uint64_t rip, uint64_t rflags, uint64_t rsp,
                 const uint64_t *error_code)
{
    const uint64_t pushed[] = { rip, USER_CODE, rflags, rsp, USER_DATA };
    unsigned char *top = f->page + KAON_PAGE_SIZE - sizeof pushed;

    memcpy(top, pushed, sizeof pushed);
    if (error_code)
        memcpy(top - 8, error_code, 8);
}

static void a_frame_is_what_the_cpu_pushed(void **state)
{
    const uint64_t error_code = 6, stale = UINT64_MAX;
    struct fixture *f = begin(0, false);
    struct kaon_kvm_frame frame;

    (void)state;
    push(f, 0x401234, 0x10246, 0x7ff0, &error_code);
    kaon__kvm_frame(&frame, f->page, KAON_KVM_PAGE_FAULT);
    assert_int_equal(frame.rip, 0x401234);
    assert_int_equal(frame.rflags, 0x10246);
    assert_int_equal(frame.rsp, 0x7ff0);
    assert_int_equal(frame.error_code, 6);
    /* Without one, what lies there is of an earlier fault. */
    push(f, 0x400000, 2, 0, &stale);
    kaon__kvm_frame(&frame, f->page, KAON_KVM_INVALID_OPCODE);
    assert_int_equal(frame.error_code, 0);
}

static void error_codes_belong_to_these_exceptions(void **state)
{
    const uint32_t with = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 |
                          1u << 14 | 1u << 17 | 1u << 21 | 1u << 29 | 1u << 30;
    const uint64_t error_code = 77;
    struct fixture *f = begin(0, false);

    (void)state;
    push(f, 0, 0, 0, &error_code);
    for (uint32_t vector = 0; vector < KAON_KVM_VECTORS; vector++) {
        struct kaon_kvm_frame frame;

        kaon__kvm_frame(&frame, f->page, vector);
        assert_int_equal(frame.error_code, with >> vector & 1 ? 77 : 0);
    }
}

static void a_cpu_is_used_as_far_as_kvm_offers_it(void **state)
{
    struct kaon_kvm_cpu *cpu = &begin(0, false)->cpu;

    (void)state;
    kaon__kvm_cpu_learn(cpu);
    assert_int_equal(cpu->cr4, 0x620);
    assert_int_equal(cpu->xcr0, 0);
    assert_int_equal(cpu->physical_end, UINT64_C(1) << 36);

    cpu->cpuid.head.nent = 4;
    cpu->cpuid.head.entries[0] =
        (struct kvm_cpuid_entry2){ .function = 1, .ecx = 1u << 26 };
    cpu->cpuid.head.entries[1] =
        (struct kvm_cpuid_entry2){ .function = 7, .ebx = 1 };
    cpu->cpuid.head.entries[2] =
        (struct kvm_cpuid_entry2){ .function = 0xd, .eax = 0x2ff };
    cpu->cpuid.head.entries[3] =
        (struct kvm_cpuid_entry2){ .function = 0x80000008, .eax = 0x3028 };
    kaon__kvm_cpu_learn(cpu);
    assert_int_equal(cpu->cr4, 0x620 | 1 << 16 | 1 << 18);
    assert_int_equal(cpu->xcr0, 0xe7); /* without PKRU: not a guest's */
    assert_int_equal(cpu->physical_end, UINT64_C(1) << 40);
}

/* clang-format off */
TESTS(
    TEST(system_pages_lie_apart_above_the_gate),
    TEST_ROW(17, the_bitmap_opens_four_bits_for_one_port),
    TEST(the_tss_in_the_gdt_is_the_one_in_tr),
    TEST(faults_come_in_on_the_top_of_the_page),
    TEST_ROW(17, there_is_no_32_bit_code),
    TEST_ROW(17, no_call_gate_leads_inwards),
    TEST(a_guest_starts_at_the_outer_ring),
    TEST(each_exception_runs_its_own_stub),
    TEST(a_frame_is_what_the_cpu_pushed),
    TEST(error_codes_belong_to_these_exceptions),
    TEST(a_cpu_is_used_as_far_as_kvm_offers_it),
)

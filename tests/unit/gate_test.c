/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate page: what is at the places that others jump to. It is code for a
 * guest, so its bytes are compared, as assembled by hand from the manual.
 */
#include "backend/backend.h"
#include "gate/gate.h"
#include "support/harness.h"

#include <string.h>
#include <kaon/abi.h>

static size_t size(void)
{
    return (size_t)(kaon__gate_kvm_end - kaon__gate_kvm);
}

static void the_gate_fits_a_page(void **state)
{
    (void)state;
    assert_true(size() > 0 && size() <= KAON_PAGE_SIZE);
    assert_int_equal(KAON_GATE_ADDRESS % KAON_PAGE_SIZE, 0);
}

static void places_are_where_the_contract_says(void **state)
{
    (void)state;
    assert_int_equal(KAON_GATE_ADDRESS + KAON_GATE_LEAVE_OFFSET,
                     KAON_GATE_LEAVE);
    assert_int_equal(KAON_GATE_ENTRY, 0);
    assert_true(KAON_GATE_SYSCALL > KAON_GATE_LEAVE_OFFSET);
    assert_true(KAON_GATE_SYSCALL < size());
}

static void entry_sets_the_bases_and_scrubs_before_it_jumps(void **state)
{
    static const unsigned char expected[] = {
        0xf3, 0x49, 0x0f, 0xae, 0xd0, /* wrfsbase %r8 */
        0xf3, 0x49, 0x0f, 0xae, 0xd9, /* wrgsbase %r9 */
        0xb8, 0xff, 0xff, 0xff, 0xff, /* mov $-1, %eax */
        0xba, 0xff, 0xff, 0xff, 0xff, /* mov $-1, %edx */
        0x0f, 0xae, 0x2d,             /* xrstor disp32(%rip) */
    };
    static const unsigned char tail[] = {
        0x31, 0xc0,                   /* xor %eax, %eax */
        0x31, 0xd2,                   /* xor %edx, %edx */
        0x8e, 0xd8,                   /* mov %eax, %ds */
        0x8e, 0xc0,                   /* mov %eax, %es */
        0x8e, 0xe0,                   /* mov %eax, %fs */
        0x8e, 0xe8,                   /* mov %eax, %gs */
        0xf3, 0x49, 0x0f, 0xae, 0xd0, /* wrfsbase %r8 */
        0xf3, 0x49, 0x0f, 0xae, 0xd9, /* wrgsbase %r9 */
        0x41, 0xff, 0xe3,             /* jmp *%r11 */
    };
    const unsigned char *entry = kaon__gate_kvm + KAON_GATE_ENTRY;
    int32_t displacement;

    (void)state;
    assert_memory_equal(entry, expected, sizeof expected);
    memcpy(&displacement, entry + sizeof expected, 4);
    assert_memory_equal(entry + sizeof expected + 4, tail, sizeof tail);
    /* XRSTOR takes an image of 576 bytes at least, aligned to 64. */
    displacement += (int32_t)sizeof expected + 4;
    assert_int_equal(displacement % 64, 0);
    assert_true(displacement > 0 && (size_t)displacement + 576 <= size());
}

static void the_scrub_image_is_the_state_after_reset(void **state)
{
    const unsigned char *image = kaon__gate_kvm + (size() - 576);
    uint16_t control;
    uint32_t mxcsr;

    (void)state;
    memcpy(&control, image, sizeof control);
    memcpy(&mxcsr, image + 24, sizeof mxcsr);
    assert_int_equal(control, 0x37f);
    assert_int_equal(mxcsr, 0x1f80);
    for (size_t i = 2; i < 576; i++)
        if (i < 24 || i >= 28)
            assert_int_equal(image[i], 0);
}

static void leave_is_one_out_to_the_one_port(void **state)
{
    static const unsigned char expected[] = {
        0xf3, 0x49, 0x0f,
        0xae, 0xc0, /* rdfsbase %r8 */
        0xf3, 0x49, 0x0f,
        0xae, 0xc9, /* rdgsbase %r9 */
        0x83, 0x7f, KAON_GATE_LOOKS,
        0,    /* cmpl $0, looks */
        0x75, /* jne hand_over, but for how far that is */
    };
    static const unsigned char tail[] = {
        0xe7, KAON_GATE_PORT, /* out %eax, $port */
        0xc3,                 /* ret */
    };
    const unsigned char *leave = kaon__gate_kvm + KAON_GATE_LEAVE_OFFSET;

    (void)state;
    assert_memory_equal(leave, expected, sizeof expected);
    assert_memory_equal(leave + sizeof expected + 1, tail, sizeof tail);
}

static void a_syscall_lands_on_an_invalid_opcode(void **state)
{
    static const unsigned char ud2[] = { 0x0f, 0x0b };

    (void)state;
    assert_memory_equal(kaon__gate_kvm + KAON_GATE_SYSCALL, ud2, sizeof ud2);
}

/* clang-format off */
TESTS(
    TEST(the_gate_fits_a_page),
    TEST(places_are_where_the_contract_says),
    TEST(entry_sets_the_bases_and_scrubs_before_it_jumps),
    TEST(the_scrub_image_is_the_state_after_reset),
    TEST(leave_is_one_out_to_the_one_port),
    TEST(a_syscall_lands_on_an_invalid_opcode),
)

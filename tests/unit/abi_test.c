/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract is frozen: a guest built years ago has these numbers in it.
 * Whoever changes one here must raise KAON_ABI_VERSION with it.
 */
#include "support/harness.h"

#include <stddef.h>
#include <kaon/abi.h>
#include <kaon/value.h>

/* A member of a struct: where it is, and how large. */
#define AT(type, member, offset, size)                        \
    do {                                                      \
        assert_int_equal(offsetof(type, member), (offset));   \
        assert_int_equal(sizeof((type){ 0 }.member), (size)); \
    } while (0)

static void the_version_is_1(void **state)
{
    (void)state;
    assert_int_equal(KAON_ABI_VERSION, 1);
}

static void types_have_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(KAON_TYPE_VOID, 0);
    assert_int_equal(KAON_TYPE_I32, 1);
    assert_int_equal(KAON_TYPE_U32, 2);
    assert_int_equal(KAON_TYPE_I64, 3);
    assert_int_equal(KAON_TYPE_U64, 4);
    assert_int_equal(KAON_TYPE_F32, 5);
    assert_int_equal(KAON_TYPE_F64, 6);
    assert_int_equal(KAON_TYPE_BOOL, 7);
    assert_int_equal(KAON_TYPE_STRING, 8);
    assert_int_equal(KAON_TYPE_BYTES, 9);
    assert_int_equal(KAON_TYPE_COUNT, 10);
    assert_int_equal(KAON_PARAMS_MAX, 16);
    assert_int_equal(KAON_NAME_MAX, 127);
}

static void frames_have_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(KAON_FRAME_CALL, 1);
    assert_int_equal(KAON_FRAME_RESULT, 2);
    assert_int_equal(KAON_FRAME_ERROR, 3);
    assert_int_equal(KAON_FRAME_ABORT, 4);
    assert_int_equal(KAON_FRAME_HOST_CALL, 5);
    assert_int_equal(KAON_FRAME_HOST_RESULT, 6);
    assert_int_equal(KAON_FRAME_HOST_ERROR, 7);
    assert_int_equal(KAON_FRAME_HOST_REFUSED, 8);
    assert_int_equal(KAON_FRAME_REFUSED, 9);
    assert_int_equal(KAON_FRAME_BATCH, 10);
    assert_int_equal(KAON_FUNCTION_BY_NAME, 0xffffffff);
    assert_int_equal(KAON_FUNCTION_INIT, 0xfffffffe);
    assert_int_equal(KAON_REFUSED_UNKNOWN, 1);
    assert_int_equal(KAON_REFUSED_ARGUMENTS, 2);
    assert_int_equal(KAON_REFUSED_TOO_LARGE, 3);
}

static void the_gate_is_at_its_address(void **state)
{
    (void)state;
    assert_int_equal(KAON_GATE_ADDRESS, 0x200000);
    assert_int_equal(KAON_GATE_LEAVE, 0x200080);
}

static void a_frame_is_laid_out_so(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct kaon_frame), 28);
    AT(struct kaon_frame, kind, 0, 4);
    AT(struct kaon_frame, function, 4, 4);
    AT(struct kaon_frame, count, 8, 4);
    AT(struct kaon_frame, code, 12, 4);
    AT(struct kaon_frame, slots, 16, 4);
    AT(struct kaon_frame, free_page, 20, 4);
    AT(struct kaon_frame, free_area, 24, 4);
}

static void a_slot_is_laid_out_so(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct kaon_slot), 16);
    AT(struct kaon_slot, type, 0, 4);
    AT(struct kaon_slot, size, 4, 4);
    AT(struct kaon_slot, bits, 8, 8);
}

static void the_mailbox_is_laid_out_so(void **state)
{
    (void)state;
    assert_int_equal(KAON_MAILBOX_SIZE, 4096);
    assert_int_equal(KAON_MAILBOX_FREE, 160);
    assert_int_equal(KAON_POSTED_MAX, 256);
    assert_int_equal(KAON_MAILBOX_MAGIC, 0x4e4f414b);
    assert_int_equal(sizeof(struct kaon_mailbox), 4096);
    AT(struct kaon_mailbox, magic, 0, 4);
    AT(struct kaon_mailbox, abi_version, 4, 4);
    AT(struct kaon_mailbox, exchange_size, 8, 4);
    AT(struct kaon_mailbox, reserved0, 12, 4);
    AT(struct kaon_mailbox, heap, 16, 8);
    AT(struct kaon_mailbox, heap_size, 24, 8);
    AT(struct kaon_mailbox, stack_low, 32, 8);
    AT(struct kaon_mailbox, stack_high, 40, 8);
    AT(struct kaon_mailbox, generation, 48, 8);
    AT(struct kaon_mailbox, seed, 56, 32);
    AT(struct kaon_mailbox, posted, 88, 8);
    AT(struct kaon_mailbox, posted.frames, 88, 4);
    AT(struct kaon_mailbox, posted.count, 92, 4);
    AT(struct kaon_mailbox, reserved1, 96, 8);
    AT(struct kaon_mailbox, gate, 104, 24);
    AT(struct kaon_mailbox, frame, 128, 28);
    AT(struct kaon_mailbox, turn, 156, 4);
    AT(struct kaon_mailbox, payload, 160, 3936);
}

#define LINE_OF(offset) ((offset) / 64)

static void a_small_call_crosses_in_one_cache_line(void **state)
{
    size_t line = LINE_OF(offsetof(struct kaon_mailbox, frame));
    size_t second = KAON_MAILBOX_FREE + sizeof(struct kaon_slot);

    (void)state;
    assert_int_equal(LINE_OF(offsetof(struct kaon_mailbox, turn)), line);
    assert_int_equal(LINE_OF(second + sizeof(struct kaon_slot) - 1), line);
    assert_true(LINE_OF(offsetof(struct kaon_mailbox, posted)) < line);
    assert_true(LINE_OF(offsetof(struct kaon_mailbox, gate)) < line);
}

static void the_tables_of_a_guest_are_laid_out_so(void **state)
{
    (void)state;
    assert_int_equal(KAON_INFO_MAGIC, 0x54534555474e414b);
    assert_string_equal(KAON_INFO_SECTION, "kaon_info");
    assert_string_equal(KAON_EXPORTS_SECTION, "kaon_exports");
    assert_string_equal(KAON_IMPORTS_SECTION, "kaon_imports");
    assert_int_equal(KAON_INFO_DYNAMIC, 1);
    assert_int_equal(KAON_INFO_BATCH, 2);

    assert_int_equal(sizeof(struct kaon_guest_info), 64);
    AT(struct kaon_guest_info, magic, 0, 8);
    AT(struct kaon_guest_info, abi_version, 8, 4);
    AT(struct kaon_guest_info, flags, 12, 4);
    AT(struct kaon_guest_info, entry, 16, 8);
    AT(struct kaon_guest_info, reserved, 24, 40);

    assert_int_equal(sizeof(struct kaon_guest_function), 64);
    AT(struct kaon_guest_function, name, 0, 8);
    AT(struct kaon_guest_function, code, 8, 8);
    AT(struct kaon_guest_function, count, 16, 4);
    AT(struct kaon_guest_function, result, 20, 4);
    AT(struct kaon_guest_function, params, 24, 16);
    AT(struct kaon_guest_function, reserved, 40, 24);
}

static void constructors_keep_every_bit(void **state)
{
    const union {
        uint32_t bits;
        float f32;
    } odd_nan = { 0x7fa00001 };
    const union {
        uint64_t bits;
        double f64;
    } minus_zero = { UINT64_C(1) << 63 };
    struct kaon_value value;

    (void)state;
    assert_int_equal(kaon_i32(INT32_MIN).u64, UINT64_C(0x80000000));
    assert_int_equal(kaon_u64(UINT64_MAX).u64, UINT64_MAX);
    assert_int_equal(kaon_f64(minus_zero.f64).u64, minus_zero.bits);
    value = kaon_f32(odd_nan.f32);
    assert_int_equal(value.u32 & 0x3fffff, odd_nan.bits & 0x3fffff);
    assert_int_equal(kaon_bool(true).u64, 1);
    assert_int_equal(kaon_string(NULL).span.size, 0);
    assert_string_equal(kaon_string(NULL).span.data, "");
    assert_int_equal(kaon_string("abc").span.size, 3);
    assert_int_equal(kaon_void().type, KAON_TYPE_VOID);
}

/* clang-format off */
TESTS(
    TEST(the_version_is_1),
    TEST(types_have_their_numbers),
    TEST(frames_have_their_numbers),
    TEST(the_gate_is_at_its_address),
    TEST(a_frame_is_laid_out_so),
    TEST(a_slot_is_laid_out_so),
    TEST(the_mailbox_is_laid_out_so),
    TEST(a_small_call_crosses_in_one_cache_line),
    TEST(the_tables_of_a_guest_are_laid_out_so),
    TEST(constructors_keep_every_bit),
)

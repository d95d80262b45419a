/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a guest may not touch, or does not have. Rows 15 and 16: each
 * fault says its kind, access, address, instruction and symbol; the sandbox
 * is poisoned, and the next one is fine.
 */
#include <stdio.h>
#include <string.h>

#include "stage.h"
#include "support/harness.h"

#define UNMAPPED UINT64_C(0x3fff0000)
#define NOT_CANONICAL UINT64_C(0x800000000000)

enum { TEXT, RODATA, DATA, BSS, HEAP, STACK, EXCHANGE, PLACES };

static uint64_t where(struct stage *stage, uint32_t what)
{
    struct kaon_outcome out;

    stage_try(stage, &out, "where",
              KAON_ARGS(kaon_u32(what), kaon_bytes("x", 1)));
    assert_int_equal(out.kind, KAON_RETURNED);
    assert_true(out.value.u64 != 0);
    return out.value.u64;
}

/* The fault was the first instruction of the function. */
static void assert_symbol(const struct kaon_outcome *out, const char *function,
                          uint64_t offset)
{
    char place[64];

    snprintf(place, sizeof place, "%s+%#llx", function,
             (unsigned long long)offset);
    if (!offset)
        snprintf(place, sizeof place, "%s+0", function);
    assert_non_null(out->fault.symbol);
    assert_string_equal(out->fault.symbol, function);
    assert_int_equal(out->fault.symbol_offset, offset);
    assert_int_equal(out->fault.ip, out->fault.registers.rip);
    assert_non_null(strstr(out->text, place));
    assert_non_null(strstr(out->text, "hostile_memory.elf"));
}

/* function(address) is a page fault at the function's first instruction. */
static void assert_page_fault(struct stage *stage, const char *function,
                              uint64_t address, enum kaon_access access)
{
    struct kaon_outcome out;

    stage_try(stage, &out, function, KAON_ARGS(kaon_u64(address)));
    assert_fault(&out, KAON_FAULT_PAGE, access);
    assert_int_equal(out.fault.vector, 14);
    if (out.fault.address != address)
        fail_msg("%s(%#llx): %s", function, (unsigned long long)address,
                 out.text);
    if (access == KAON_ACCESS_EXECUTE)
        assert_int_equal(out.fault.ip, address);
    else
        assert_symbol(&out, function, 0);
}

static void text_rodata_and_gate_cannot_be_written(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    const uint64_t places[] = { where(&stage, TEXT), where(&stage, RODATA),
                                KAON_GATE_ADDRESS, KAON_GATE_LEAVE,
                                KAON_GATE_ADDRESS + 4095 };

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        assert_page_fault(&stage, "write8", places[i], KAON_ACCESS_WRITE);
        assert_page_fault(&stage, "add64", places[i] & ~UINT64_C(7),
                          KAON_ACCESS_WRITE);
    }
    stage_close(&stage);
}

static void the_hosts_system_pages_do_not_exist_for_a_guest(void **state)
{
    SKIP_ON_PROCESSES("the host keeps no pages in a guest");

    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    for (unsigned i = 0; i < 4; i++) {
        uint64_t page = stage_system_page(i);

        assert_page_fault(&stage, "read8", page, KAON_ACCESS_READ);
        assert_page_fault(&stage, "write8", page, KAON_ACCESS_WRITE);
        assert_page_fault(&stage, "read8", page + 0x108, KAON_ACCESS_READ);
        assert_page_fault(&stage, "write8", page + 0xfd8, KAON_ACCESS_WRITE);
        /* The stubs, whose `out` would be believed. */
        assert_page_fault(&stage, "jump_to", page + 0x300, KAON_ACCESS_EXECUTE);
        assert_page_fault(&stage, "jump_to", page + 0x338, KAON_ACCESS_EXECUTE);
    }
    stage_close(&stage);
}

/* Each byte of the gate as an instruction's first: nobody but the guest gets
 * what comes of it. The page is zero behind its code, which is an addition to
 * memory, and the guest's registers say where. */
static void a_jump_anywhere_into_the_gate_harms_nobody(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    for (uint64_t offset = 0; offset < 4096; offset += offset < 1024 ? 1 : 61) {
        struct kaon_sandbox *sandbox = stage_sandbox(&stage);

        stage_call_for(sandbox, &out, "jump_to",
                       KAON_ARGS(kaon_u64(KAON_GATE_ADDRESS + offset)),
                       100 * harness_slowness());
        /* It may meet the gate's `ret`, or leave with the host's own frame, or
         * wait there for a turn that does not come, or in a process make the
         * gate enter it again and again. */
        if (out.kind != KAON_FAULT && out.kind != KAON_PROTOCOL &&
            out.kind != KAON_STACK_OVERFLOW && out.kind != KAON_RETURNED &&
            out.kind != KAON_DEADLINE)
            fail_msg("gate+%#llx: %s: %s", (unsigned long long)offset,
                     kaon_outcome_name(out.kind), out.text);
        stage_check(&stage);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

static void what_can_be_written_cannot_be_executed(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    for (uint32_t what = RODATA; what < PLACES; what++) {
        uint64_t place = where(&stage, what);

        assert_page_fault(&stage, "jump_to", place, KAON_ACCESS_EXECUTE);
        assert_page_fault(&stage, "call_to", place, KAON_ACCESS_EXECUTE);
    }
    /* Of heap and stack, what was never touched either. */
    assert_page_fault(&stage, "jump_to", where(&stage, HEAP) + (512 << 10),
                      KAON_ACCESS_EXECUTE);
    stage_close(&stage);
}

static void what_is_not_there_cannot_be_touched(void **state)
{
    const uint64_t places[] = { 0,
                                8,
                                4095,
                                0x10000,
                                UNMAPPED,
                                KAON_GATE_ADDRESS - 1,
                                KAON_GATE_ADDRESS + 4096,
                                UINT64_C(0x7fffffe00000),
                                UINT64_C(0x7fffffffffff) };
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        /* A process has its control page there: hostile input to the host. */
        if (isolation_is_process() && places[i] == KAON_GATE_ADDRESS + 4096)
            continue;
        assert_page_fault(&stage, "read8", places[i], KAON_ACCESS_READ);
        assert_page_fault(&stage, "write8", places[i], KAON_ACCESS_WRITE);
        if (places[i] != UINT64_C(0x7fffffffffff))
            assert_page_fault(&stage, "jump_to", places[i],
                              KAON_ACCESS_EXECUTE);
    }
    stage_close(&stage);
}

/* The upper half: canonical, so a page fault to a CPU; PVM calls some of it
 * out of bounds. Beyond both halves there is no page to fault. */
static void beyond_the_lower_half_is_nothing(void **state)
{
    static const uint64_t upper[] = {
        UINT64_C(0xffff800000000000),
        UINT64_C(0xffffffff81000000),
        UINT64_C(0xffffffffff600000),
        UINT64_C(0xfffffffffffffff8),
    };
    static const char *const ways[] = { "read8", "write8", "jump_to", "call_to",
                                        "add64" };
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    for (size_t i = 0; i < sizeof upper / sizeof *upper; i++)
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            stage_try(&stage, &out, ways[k], KAON_ARGS(kaon_u64(upper[i])));
            assert_int_equal(out.kind, KAON_FAULT);
            if (out.fault.kind == KAON_FAULT_PAGE)
                assert_int_equal(out.fault.address, upper[i]);
            else
                assert_int_equal(out.fault.kind, KAON_FAULT_PROTECTION);
        }
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        stage_try(&stage, &out, ways[k], KAON_ARGS(kaon_u64(NOT_CANONICAL)));
        assert_fault(&out, KAON_FAULT_PROTECTION, KAON_ACCESS_NONE);
        assert_int_equal(out.fault.address, 0);
        if (k < 2)
            assert_symbol(&out, ways[k], 0);
    }
    stage_close(&stage);
}

/* #SS is what a bad base of rbp is, too: no overflow of the stack. (#GP, says
 * QEMU's emulator.) */
static void a_wild_frame_pointer_is_a_fault(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    stage_try(&stage, &out, "read_base", KAON_ARGS(kaon_u64(NOT_CANONICAL)));
    assert_fault(&out,
                 stage_is_emulated() ? KAON_FAULT_PROTECTION : KAON_FAULT_STACK,
                 KAON_ACCESS_NONE);
    assert_symbol(&out, "read_base", 3);
    stage_close(&stage);
}

/* function(argument, if it has one) faults at its first instruction. */
static void assert_kind(struct stage *stage, const char *function,
                        const struct kaon_value *args, size_t count,
                        enum kaon_fault_kind kind, uint32_t vector,
                        const char *symbol, uint64_t offset)
{
    struct kaon_outcome out;

    stage_try(stage, &out, function, args, count);
    assert_fault(&out, kind, KAON_ACCESS_NONE);
    assert_int_equal(out.fault.vector, vector);
    assert_int_equal(out.fault.address, 0);
    assert_symbol(&out, symbol, offset);
}

static void exceptions_say_what_they_are(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    assert_kind(&stage, "divide", KAON_ARGS(kaon_u64(0)), KAON_FAULT_DIVIDE, 0,
                "divide", 0);
    assert_kind(&stage, "undefined", KAON_NO_ARGS, KAON_FAULT_OPCODE, 6,
                "undefined", 0);
    /* A trap, so it tells of the instruction behind. */
    assert_kind(&stage, "breakpoint", KAON_NO_ARGS, KAON_FAULT_BREAKPOINT, 3,
                "breakpoint", 1);
    assert_kind(&stage, "privileged", KAON_NO_ARGS, KAON_FAULT_PROTECTION, 13,
                "privileged", 0);
    assert_kind(&stage, "x87_divide", KAON_NO_ARGS, KAON_FAULT_FLOAT, 16,
                "float_wait", 0);
    if (!stage_is_emulated()) /* raises no SSE exceptions */
        assert_kind(&stage, "sse_invalid", KAON_NO_ARGS, KAON_FAULT_FLOAT, 19,
                    "sse_divide", 0);
    stage_close(&stage);
}

static void an_unaligned_sse_access_faults(void **state)
{
    struct stage stage;
    uint64_t data;

    (void)state;
    stage_open(&stage, "hostile_memory");
    data = where(&stage, BSS) | 8;
    assert_kind(&stage, "read_aligned", KAON_ARGS(kaon_u64(data)),
                KAON_FAULT_PROTECTION, 13, "read_aligned", 0);
    assert_kind(&stage, "write_aligned", KAON_ARGS(kaon_u64(data)),
                KAON_FAULT_PROTECTION, 13, "write_aligned", 0);
    stage_close(&stage);
}

static void a_poisoned_sandbox_runs_no_more_code(void **state)
{
    struct kaon_sandbox *sandbox;
    struct kaon_sandbox_stats before, after;
    struct kaon_outcome out;
    struct kaon_error err;
    struct stage stage;
    void *buffer;

    (void)state;
    stage_open(&stage, "hostile_memory");
    sandbox = stage_sandbox(&stage);
    stage_call(sandbox, &out, "undefined", KAON_NO_ARGS);
    assert_int_equal(kaon_sandbox_stats(sandbox, &before), KAON_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(kaon_call(sandbox, &out, "allocate",
                                   KAON_ARGS(kaon_u64(1)), NULL, &err),
                         KAON_EPOISONED);
        assert_int_equal(kaon_sandbox_init(sandbox, &out, NULL, &err),
                         KAON_EPOISONED);
        assert_int_equal(kaon_sandbox_buffer(sandbox, &buffer, 8, &err),
                         KAON_EPOISONED);
    }
    assert_int_equal(kaon_sandbox_stats(sandbox, &after), KAON_OK);
    assert_int_equal(before.exits, after.exits);
    kaon_sandbox_destroy(sandbox);
    stage_close(&stage);
}

/* ---- Row 15 ------------------------------------------------------------ */

static void memory_beyond_the_heap_is_null(void **state)
{
    static const uint64_t sizes[] = { 1 << 20,           (1 << 20) + 1,
                                      128 << 20,         UINT64_C(1) << 40,
                                      UINT64_MAX,        UINT64_MAX - 15,
                                      UINT64_MAX - 4096, INT64_MAX };
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    sandbox = stage_sandbox(&stage);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        stage_call(sandbox, &out, "allocate", KAON_ARGS(kaon_u64(sizes[i])));
        assert_int_equal(out.kind, KAON_RETURNED);
        assert_false(out.value.boolean);
    }
    stage_call(sandbox, &out, "allocate", KAON_ARGS(kaon_u64(512 << 10)));
    assert_int_equal(out.kind, KAON_RETURNED);
    assert_true(out.value.boolean);
    stage_check(&stage);
    kaon_sandbox_destroy(sandbox);
    stage_close(&stage);
}

static void assert_overflow(struct stage *stage, const char *function,
                            const struct kaon_value *args, size_t count)
{
    struct kaon_outcome out;

    stage_try(stage, &out, function, args, count);
    if (out.kind != KAON_STACK_OVERFLOW)
        fail_msg("%s: %s: %s", function, kaon_outcome_name(out.kind), out.text);
    assert_non_null(strstr(out.text, "stack overflow"));
    assert_non_null(out.fault.symbol);
    assert_string_equal(out.fault.symbol, function);
    stage_try(stage, &out, "allocate", KAON_ARGS(kaon_u64(1000)));
    assert_int_equal(out.kind, KAON_RETURNED);
}

static void too_much_stack_is_an_overflow(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    assert_overflow(&stage, "recurse", KAON_ARGS(kaon_i32(0)));
    assert_overflow(&stage, "huge_array", KAON_NO_ARGS);
    assert_overflow(&stage, "use_alloca", KAON_ARGS(kaon_u64(128 << 20)));
    assert_overflow(&stage, "use_alloca", KAON_ARGS(kaon_u64(65 << 10)));
    assert_overflow(&stage, "leap", KAON_ARGS(kaon_u64(65 << 10)));
    stage_close(&stage);
}

/* Without probes, a leap may end in nothing, or in the image: a fault either
 * way, and nobody else's memory. */
static void a_leap_over_the_guard_harms_nobody(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_memory");
    for (uint64_t size = 64 << 10; size < (UINT64_C(1) << 46); size *= 2) {
        stage_try(&stage, &out, "leap", KAON_ARGS(kaon_u64(size - 8)));
        assert_true(out.kind == KAON_STACK_OVERFLOW || out.kind == KAON_FAULT ||
                    (size < (1 << 20) && out.kind == KAON_RETURNED));
    }
    stage_close(&stage);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW(15, memory_beyond_the_heap_is_null),
    TEST_ROW(15, too_much_stack_is_an_overflow),
    TEST_ROW(15, a_leap_over_the_guard_harms_nobody),
    TEST_ROW(16, text_rodata_and_gate_cannot_be_written),
    TEST_ROW(16, the_hosts_system_pages_do_not_exist_for_a_guest),
    TEST_ROW(16, a_jump_anywhere_into_the_gate_harms_nobody),
    TEST_ROW(16, what_can_be_written_cannot_be_executed),
    TEST_ROW(16, what_is_not_there_cannot_be_touched),
    TEST_ROW(16, beyond_the_lower_half_is_nothing),
    TEST_ROW(16, a_wild_frame_pointer_is_a_fault),
    TEST_ROW(16, exceptions_say_what_they_are),
    TEST_ROW(16, an_unaligned_sse_access_faults),
    TEST_ROW(11, a_poisoned_sandbox_runs_no_more_code),
)

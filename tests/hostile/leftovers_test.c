/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing of one use is visible to the next user of the same vCPU and memory.
 * Row 25, but for pools: registers, FPU, AVX-512 state, segment bases, heap,
 * stack, data, exchange. The guest is code of the test's own, which looks at
 * its first instruction.
 */
#include <string.h>
#include <sys/auxv.h>

#include "leftovers.h"
#include "stage.h"
#include "support/elf_builder.h"
#include "support/harness.h"

#define FLAGS_ALLOWED                                      \
    0xad7u /* CF PF AF ZF SF IF OF, and the one always set \
            */

static const struct elf_function functions[] = {
    [FILL] = { "fill", KAON_TYPE_VOID, 0, { 0 } },
    [FILL_FAULT] = { "fill_fault", KAON_TYPE_VOID, 0, { 0 } },
    [FILL_SPIN] = { "fill_spin", KAON_TYPE_VOID, 0, { 0 } },
    [TELL] = { "tell", KAON_TYPE_BYTES, 0, { 0 } },
    [SEARCH] = { "search", KAON_TYPE_BYTES, 0, { 0 } },
    [TAKE] = { "take", KAON_TYPE_BYTES, 1, { KAON_TYPE_BYTES } },
    [PEEK] = { "peek", KAON_TYPE_BYTES, 0, { 0 } },
    [DRAIN] = { "drain", KAON_TYPE_BYTES, 0, { 0 } },
    [LIE] = { "lie", KAON_TYPE_VOID, 0, { 0 } },
};

/* Sizes that a reset clears by hand, and sizes that it gives back instead. */
struct sizes {
    uint64_t heap, stack, exchange;
};
static const struct sizes small = { 32 << 10, 16 << 10, 32 << 10 };
static const struct sizes large = { 4 << 20, 256 << 10, 1 << 20 };
static const struct sizes tight = { 4 << 10, 16 << 10, 4 << 10 };

static void open_stage(struct stage *stage)
{
    size_t size = (size_t)(leftovers_code_end - leftovers_code);
    unsigned char code[4096];
    uint32_t has = getauxval(AT_HWCAP2) & 2 ? HAS_FSGSBASE : 0;

    assert_in_range(size, 1, sizeof code);
    memcpy(code, leftovers_code, size);
    memcpy(code + 8, &has, sizeof has);
    stage_open(stage, NULL);
    stage->image = code_image(code, size, 0, functions, ELF_COUNT(functions));
}

static struct kaon_sandbox *sandbox_with(const struct stage *stage,
                                         const struct sizes *sizes)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_sandbox_create(
            &sandbox, stage->image,
            KAON_SANDBOX_OPTS(.domain = stage->domain,
                              .heap_bytes = sizes->heap,
                              .stack_bytes = sizes->stack,
                              .exchange_bytes = sizes->exchange),
            &err))
        fail_msg("no sandbox: %s", err.text);
    return sandbox;
}

/* Fills everything and ends as `function` does. In a process its own `out` is
 * a fault. */
static void fill(struct kaon_sandbox *sandbox, unsigned function)
{
    const bool faults =
        function == FILL_FAULT || (function == FILL && isolation_is_process());
    struct kaon_outcome out;

    stage_call_for(sandbox, &out, functions[function].name, KAON_NO_ARGS,
                   function == FILL_SPIN ? 50 * harness_slowness() : 10000);
    assert_int_equal(out.kind, faults                  ? KAON_FAULT
                               : function == FILL_SPIN ? KAON_DEADLINE
                                                       : KAON_RETURNED);
    /* That it got there with its registers full: */
    if (function == FILL_FAULT)
        assert_int_equal(out.fault.registers.r15, UINT64_C(0x5ec4e75ec4e75ec4));
}

static void tell(struct kaon_sandbox *sandbox, unsigned char told[TOLD_SIZE])
{
    struct kaon_outcome out;

    stage_call(sandbox, &out, "tell", KAON_NO_ARGS);
    if (out.kind != KAON_RETURNED)
        fail_msg("tell: %s: %s", kaon_outcome_name(out.kind), out.text);
    assert_int_equal(out.value.span.size, TOLD_SIZE);
    memcpy(told, out.value.span.data, TOLD_SIZE);
    /* QEMU's emulator keeps the last x87 instruction's address through XRSTOR
     * and any other load of FPU state. CPUs do not. */
    if (stage_is_emulated())
        memset(told + TOLD_FENV + 12, 0, 12);
}

static uint64_t word(const unsigned char *told, size_t at)
{
    uint64_t value;

    memcpy(&value, told + at, sizeof value);
    return value;
}

static void assert_zero(const unsigned char *told, size_t from, size_t size)
{
    for (size_t i = from; i < from + size; i++)
        if (told[i])
            fail_msg("byte %#zx of what was told is %#x", i, told[i]);
}

/* What the first instruction of a guest has to see. */
static void assert_initial(const unsigned char *told)
{
    const unsigned char *fx = told + TOLD_FXSAVE;

    for (size_t i = 0; i < 16; i++) {
        uint64_t value = word(told, TOLD_REGISTERS + 8 * i);

        switch (i) {
        case 5: /* rdi: the mailbox, right behind the stack */
            assert_int_equal(value, word(told, TOLD_REGISTERS + 8 * 7));
            break;
        case 7: break; /* rsp */
        case 8:        /* how the host may say what the bases are */
        case 9:
            assert_true(value == 0 ||
                        value == word(told, TOLD_FS_BASE + 8 * (i - 8)));
            break;
        case 11: assert_true(value == 0 || value == CODE_START); break;
        default:
            if (value)
                fail_msg("register %zu is %#llx", i, (unsigned long long)value);
        }
    }
    assert_int_equal(word(told, TOLD_FLAGS) & ~(uint64_t)FLAGS_ALLOWED, 0);
    assert_int_equal(word(fx, 0), 0x37f); /* FCW, FSW, FTW, FOP */
    assert_zero(fx, 8, 16);               /* FIP, FDP */
    assert_int_equal((uint32_t)word(fx, 24), 0x1f80);
    for (size_t i = 0; i < 8; i++)
        assert_zero(fx, 32 + 16 * i, 10);
    assert_zero(fx, 160, 256);
    assert_zero(told, TOLD_VECTORS, TOLD_FENV - TOLD_VECTORS);
    assert_zero(told, TOLD_FENV + 12, 12); /* FIP, FCS, FOP, FDP */
}

/* And it must be what a guest sees in a machine that nobody used. */
static void learn_initial(unsigned char reference[TOLD_SIZE])
{
    struct kaon_sandbox *sandbox;
    struct stage stage;

    open_stage(&stage);
    sandbox = sandbox_with(&stage, &small);
    tell(sandbox, reference);
    kaon_sandbox_destroy(sandbox);
    stage_close(&stage);
    assert_initial(reference);
    assert_zero(reference, TOLD_FS_BASE, 16);
}

static void assert_same(const unsigned char *told,
                        const unsigned char *reference)
{
    assert_initial(told);
    for (size_t i = 0; i < TOLD_SIZE; i++)
        if (told[i] != reference[i])
            fail_msg("byte %#zx of what was told is %#x, in a new machine %#x",
                     i, told[i], reference[i]);
}

/* The next user of the vCPU: another living sandbox, one with the memory of
 * the last, and the same sandbox again if it may. */
static void the_next_user_sees_no_registers(void **state)
{
    SKIP_ON_PROCESSES("no guest runs where another did");

    unsigned char reference[TOLD_SIZE], told[TOLD_SIZE];
    struct stage stage;

    (void)state;
    learn_initial(reference);
    open_stage(&stage);
    for (unsigned function = FILL; function <= FILL_SPIN; function++) {
        struct kaon_sandbox *neighbour = sandbox_with(&stage, &small);
        struct kaon_sandbox *filler = sandbox_with(&stage, &small);

        fill(filler, function);
        tell(neighbour, told);
        assert_same(told, reference);
        kaon_sandbox_destroy(filler);
        filler = sandbox_with(&stage, &small);
        fill(filler, function);
        kaon_sandbox_destroy(filler);
        filler = sandbox_with(&stage, &small);
        tell(filler, told);
        assert_same(told, reference);
        kaon_sandbox_destroy(filler);
        kaon_sandbox_destroy(neighbour);
    }
    stage_close(&stage);
}

/* Between calls of its own a sandbox keeps FS and GS, and nothing else. */
static void a_sandbox_keeps_only_its_thread_pointers(void **state)
{
    SKIP_ON_PROCESSES("no guest runs where another did");

    unsigned char reference[TOLD_SIZE], told[TOLD_SIZE];
    struct kaon_sandbox *sandbox;
    struct stage stage;

    (void)state;
    learn_initial(reference);
    open_stage(&stage);
    for (unsigned other = 0; other < 2; other++) {
        sandbox = sandbox_with(&stage, &small);
        fill(sandbox, FILL);
        if (other)
            stage_check(&stage);
        tell(sandbox, told);
        if (getauxval(AT_HWCAP2) & 2) {
            assert_int_equal(word(told, TOLD_FS_BASE),
                             UINT64_C(0x5ec4e75ec4e7));
            assert_int_equal(word(told, TOLD_GS_BASE),
                             UINT64_C(0x5ec4e75ec4e7));
        }
        memset(told + TOLD_FS_BASE, 0, 16);
        memset(told + TOLD_REGISTERS + 8 * 8, 0, 16); /* r8 and r9 */
        assert_same(told, reference);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

static void a_lie_about_thread_pointers_hurts_the_liar_alone(void **state)
{
    unsigned char reference[TOLD_SIZE], told[TOLD_SIZE];
    struct kaon_sandbox *liar, *neighbour;
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    learn_initial(reference);
    open_stage(&stage);
    liar = sandbox_with(&stage, &small);
    neighbour = sandbox_with(&stage, &small);
    for (unsigned i = 0; i < 3; i++) {
        stage_call(liar, &out, "lie", KAON_NO_ARGS);
        tell(neighbour, told);
        assert_same(told, reference);
        stage_check(&stage);
        if (out.kind != KAON_RETURNED)
            break;
        stage_call(liar, &out, "tell", KAON_NO_ARGS);
        assert_true(out.kind == KAON_RETURNED || out.kind == KAON_FAULT);
        tell(neighbour, told);
        assert_same(told, reference);
        kaon_sandbox_destroy(liar);
        liar = sandbox_with(&stage, &small);
        tell(liar, told);
        assert_same(told, reference);
    }
    kaon_sandbox_destroy(liar);
    kaon_sandbox_destroy(neighbour);
    stage_close(&stage);
}

/* How many bytes are not zero, place by place. */
static void count_found(struct kaon_sandbox *sandbox,
                        uint64_t found[FOUND_COUNT])
{
    struct kaon_outcome out;

    stage_call_for(sandbox, &out, "search", KAON_NO_ARGS,
                   10000 * harness_slowness());
    assert_int_equal(out.kind, KAON_RETURNED);
    assert_int_equal(out.value.span.size, 8 * FOUND_COUNT);
    for (unsigned i = 0; i < FOUND_COUNT; i++)
        found[i] = word(out.value.span.data, 8 * i);
}

static void search_in(struct kaon_sandbox *sandbox,
                      const uint64_t usual[FOUND_COUNT])
{
    static const char *const places[FOUND_COUNT] = {
        [FOUND_MAILBOX] = "the mailbox page",
        [FOUND_AREA] = "the area",
        [FOUND_HEAP] = "the heap",
        [FOUND_STACK] = "the stack",
        [FOUND_DATA] = "the data",
    };
    uint64_t found[FOUND_COUNT];

    count_found(sandbox, found);
    for (unsigned i = 0; i < FOUND_COUNT; i++)
        if (found[i] != usual[i])
            fail_msg("%s holds %llu bytes of somebody", places[i],
                     (unsigned long long)found[i]);
}

static void search(const struct stage *stage, const struct sizes *sizes)
{
    static const uint64_t nothing[FOUND_COUNT];
    struct kaon_sandbox *sandbox = sandbox_with(stage, sizes);

    search_in(sandbox, nothing);
    kaon_sandbox_destroy(sandbox);
}

static void the_next_user_sees_no_memory(void **state)
{
    SKIP_ON_PROCESSES("no guest runs where another did");

    static const struct sizes *const all[] = { &small, &large, &tight };
    struct kaon_domain_stats before, after;
    struct kaon_sandbox *sandbox;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned function = FILL; function <= FILL_SPIN; function++) {
            sandbox = sandbox_with(&stage, all[i]);
            fill(sandbox, function);
            assert_int_equal(kaon_domain_stats(stage.domain, &before), KAON_OK);
            kaon_sandbox_destroy(sandbox);
            search(&stage, all[i]);
            /* It was that memory, then, or the test says nothing. */
            assert_int_equal(kaon_domain_stats(stage.domain, &after), KAON_OK);
            assert_int_equal(before.memory_used_bytes, after.memory_used_bytes);
        }
    stage_close(&stage);
}

/* Filled to the brim, however that ended: the same sandbox after a restore. */
static void a_restored_sandbox_sees_nothing_of_before(void **state)
{
    static const struct sizes *const all[] = { &small, &large, &tight };
    unsigned char reference[TOLD_SIZE], told[TOLD_SIZE];
    struct stage stage;

    (void)state;
    learn_initial(reference);
    open_stage(&stage);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct kaon_sandbox *sandbox = sandbox_with(&stage, all[i]);
        struct kaon_snapshot *snapshot;
        uint64_t usual[FOUND_COUNT]; /* a process's gate has pushed something */
        struct kaon_error err;

        if (kaon_snapshot_take(&snapshot, sandbox, &err))
            fail_msg("%s", err.text);
        count_found(sandbox, usual);
        if (!isolation_is_process())
            assert_zero((const unsigned char *)usual, 0, sizeof usual);
        for (unsigned function = FILL; function <= FILL_SPIN; function++) {
            fill(sandbox, function);
            assert_int_equal(kaon_sandbox_restore(sandbox, snapshot, &err),
                             KAON_OK);
            if (all[i] == &small) {
                tell(sandbox, told);
                assert_same(told, reference);
                fill(sandbox, function);
                assert_int_equal(kaon_sandbox_restore(sandbox, snapshot, &err),
                                 KAON_OK);
            }
            search_in(sandbox, usual);
            stage_check(&stage);
        }
        kaon_snapshot_destroy(snapshot);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

static void drain(const struct kaon_sandbox *sandbox)
{
    struct kaon_outcome out;

    stage_call_for((struct kaon_sandbox *)sandbox, &out, "drain", KAON_NO_ARGS,
                   10000 * harness_slowness());
    assert_int_equal(out.kind, KAON_OUT_OF_MEMORY);
}

/*
 * A domain so full that a sandbox can have the pages of its argument area,
 * but not the tables that lead to all of them. What it leaves in those that
 * it could reach is not for the next.
 */
static void a_full_domain_gives_nothing_away(void **state)
{
    SKIP_ON_PROCESSES("a sandbox claims its memory at once");

    static const struct sizes wide = { 4 << 10, 16 << 10, 8 << 20 };
    static const struct sizes hog = { 128 << 20, 16 << 10, 4 << 10 };
    static const struct sizes hog_too = { 64 << 20, 16 << 10, 4 << 10 };
    static unsigned char megabyte[1 << 20];
    struct kaon_sandbox *filler, *holder, *first, *second;
    struct kaon_outcome out;
    struct kaon_error err;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    filler = sandbox_with(&stage, &wide);
    holder = sandbox_with(&stage, &wide);
    stage_call(holder, &out, "take",
               KAON_ARGS(kaon_bytes(megabyte, sizeof megabyte)));
    assert_int_equal(out.kind, KAON_RETURNED);
    first = sandbox_with(&stage, &hog);
    drain(first);
    kaon_sandbox_destroy(holder);
    second = sandbox_with(&stage, &hog_too); /* has the holder's reclaimed */
    drain(second);

    /* Refused, and not entered: it may be called again. */
    assert_int_not_equal(
        kaon_call(filler, &out, "take",
                  KAON_ARGS(kaon_bytes(megabyte, sizeof megabyte)), NULL, &err),
        KAON_OK);
    stage_call(filler, &out, "take", KAON_ARGS(kaon_bytes("x", 1)));
    assert_true(out.kind == KAON_RETURNED || out.kind == KAON_OUT_OF_MEMORY);
    kaon_sandbox_destroy(filler);
    filler = sandbox_with(&stage, &wide);
    stage_call(filler, &out, "peek", KAON_NO_ARGS);
    if (out.kind == KAON_RETURNED)
        assert_int_equal(word(out.value.span.data, 0), 0);
    else
        assert_int_equal(out.kind, KAON_OUT_OF_MEMORY);
    kaon_sandbox_destroy(filler);
    kaon_sandbox_destroy(first);
    kaon_sandbox_destroy(second);
    stage_close(&stage);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW(25, the_next_user_sees_no_registers),
    TEST_ROW(25, a_sandbox_keeps_only_its_thread_pointers),
    TEST_ROW(25, a_lie_about_thread_pointers_hurts_the_liar_alone),
    TEST_ROW(25, the_next_user_sees_no_memory),
    TEST_ROW(25, a_restored_sandbox_sees_nothing_of_before),
    TEST_ROW(25, a_full_domain_gives_nothing_away),
)

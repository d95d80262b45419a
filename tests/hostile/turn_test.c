/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resident guests that lie about their turn. Row 18: the outcome is a protocol
 * violation, or a correct value, or what a deadline brings; never a hang, and
 * never anything that the host did not look at.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "backend/process/control.h"
#include "stage.h"
#include "support/harness.h"
#include "support/isolation.h"

/* In a process, the turn is in the mailbox from the third call in a row on. */
static void call_in_a_row(struct kaon_sandbox *sandbox)
{
    struct kaon_outcome out;

    for (uint64_t i = 0; i < 3; i++) {
        stage_call(sandbox, &out, "add", KAON_ARGS(kaon_u64(i), kaon_u64(2)));
        assert_int_equal(out.kind, KAON_RETURNED);
        assert_true(out.value.u64 == i + 2);
    }
}

/* Of the stage's image, in a domain of its own. */
static struct kaon_sandbox *resident(const struct stage *stage,
                                     uint64_t spin_ns)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_sandbox_create(
            &sandbox, stage->image,
            KAON_SANDBOX_OPTS(.host_functions = stage->functions,
                              .heap_bytes = 1 << 20, .stack_bytes = 64 << 10,
                              .exchange_bytes = 64 << 10),
            &err) ||
        kaon_sandbox_start_resident(
            sandbox, KAON_RESIDENT_OPTS(.spin_ns = spin_ns), &err))
        fail_msg("no resident sandbox: %s", err.text);
    call_in_a_row(sandbox);
    return sandbox;
}

static void open_stage(struct stage *stage)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) < 2)
        harness_skip("guest and host need a CPU each");
    stage_open(stage, "hostile_turn");
}

#define SOON (50 * harness_slowness()) /* ms, for what never ends */
#define ANYTHING kaon_bytes("?", 1)

static const uint64_t spins[] = { 1000, KAON_SECONDS(60) };
#define SPINS (sizeof spins / sizeof *spins)

/* A host that sleeps is woken by an exit, not by a word: these guests may let
 * it sleep until the deadline. It does not sleep if it spins for a minute. */
static void assert_outcome(const struct kaon_outcome *out,
                           enum kaon_outcome_kind expected, uint64_t spin_ns)
{
    if (out->kind != expected &&
        (out->kind != KAON_DEADLINE || spin_ns == spins[1]))
        fail_msg("%s, not %s: %s", kaon_outcome_name(out->kind),
                 kaon_outcome_name(expected), out->text);
}

/* No turn but the guest's own is its to keep; in a process, only the host's is
 * one that it gave. */
static enum kaon_outcome_kind without_a_frame(uint32_t turn)
{
    return isolation_is_process() && turn ? KAON_DEADLINE : KAON_PROTOCOL;
}

static const uint32_t turns[] = { 0, 2, 4, 5, 0x7fffffff, 0xffffffff };

static void a_turn_without_a_frame_is_a_violation(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    for (size_t s = 0; s < SPINS; s++)
        for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
            struct kaon_sandbox *sandbox = resident(&stage, spins[s]);

            stage_call_for(sandbox, &out, "hand_over_nothing",
                           KAON_ARGS(ANYTHING, kaon_u32(turns[i])),
                           s && !isolation_is_process() ? 10000 : SOON);
            assert_outcome(&out, without_a_frame(turns[i]), spins[s]);
            kaon_sandbox_destroy(sandbox);
        }
    stage_close(&stage);
}

static void a_turn_that_is_kept_meets_the_deadline(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    for (size_t s = 0; s < SPINS; s++)
        for (uint32_t turn = 1; turn <= 3; turn += 2) {
            struct kaon_sandbox *sandbox = resident(&stage, spins[s]);

            stage_call_for(sandbox, &out, "hand_over_nothing",
                           KAON_ARGS(ANYTHING, kaon_u32(turn)), SOON);
            assert_int_equal(out.kind, KAON_DEADLINE);
            kaon_sandbox_destroy(sandbox);
        }
    stage_close(&stage);
}

/* Its answer is good, whatever it does then; the next call is late. */
static void a_guest_that_never_looks_again_meets_the_deadline(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    for (size_t s = 0; s < SPINS; s++)
        for (uint32_t turn = 0; turn <= 2; turn += 2) {
            if (isolation_is_process() && turn)
                continue;
            struct kaon_sandbox *sandbox = resident(&stage, spins[s]);

            stage_call_for(sandbox, &out, "answer_and_stay",
                           KAON_ARGS(ANYTHING, kaon_u32(turn)),
                           s ? 10000 : SOON);
            assert_outcome(&out, KAON_RETURNED, spins[s]);
            if (out.kind == KAON_RETURNED)
                stage_call_for(sandbox, &out, "add",
                               KAON_ARGS(kaon_u64(1), kaon_u64(2)), SOON);
            assert_int_equal(out.kind, KAON_DEADLINE);
            kaon_sandbox_destroy(sandbox);
        }
    stage_close(&stage);
}

static void
a_guest_that_works_on_changes_nothing_that_was_looked_at(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    for (unsigned i = 0; i < stage_rounds(10); i++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[i % SPINS]);

        stage_call_for(sandbox, &out, "answer_and_scribble",
                       KAON_ARGS(ANYTHING), SOON);
        if (out.kind == KAON_RETURNED)
            stage_call_for(sandbox, &out, "add",
                           KAON_ARGS(kaon_u64(1), kaon_u64(2)), SOON);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

/* Nor what a restore puts there: it runs no more by then. */
static void a_guest_that_works_on_is_stopped_by_a_restore(void **state)
{
    static const char *const functions[] = { "answer_and_scribble", "add" };
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    for (unsigned i = 0; i < stage_rounds(10); i++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[i % SPINS]);

        for (unsigned k = 0; k < 4; k++) {
            if (k % 2)
                stage_call(sandbox, &out, functions[1],
                           KAON_ARGS(kaon_u64(1), kaon_u64(2)));
            else
                stage_call_for(sandbox, &out, functions[0], KAON_ARGS(ANYTHING),
                               SOON);
            if (k % 2) /* what was restored is a guest as any */
                assert_int_equal(out.kind, KAON_RETURNED);
            stage_heal(&stage, sandbox);
            assert_true(kaon_sandbox_is_resident(sandbox));
        }
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

/* The stage's HostTake fails the test if a string's length is not its own. */
static void strings_that_change_are_copied_before_they_are_judged(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    for (unsigned i = 0; i < stage_rounds(10); i++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[i % SPINS]);

        stage_call_for(sandbox, &out, "hand_over_changing",
                       KAON_ARGS(ANYTHING, kaon_u32(20000)),
                       500 * harness_slowness());
        if (out.kind == KAON_FAULT)
            fail_msg("it faulted by itself: %s", out.text);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

static void leaving_without_handing_over_is_no_answer(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    SKIP_ON_PROCESSES("there is no such port");
    open_stage(&stage);
    for (size_t s = 0; s < SPINS; s++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[s]);

        stage_call_for(sandbox, &out, "leave_without_handing_over",
                       KAON_ARGS(ANYTHING, kaon_u32(100)), s ? 10000 : SOON);
        assert_outcome(&out, KAON_RETURNED, spins[s]);
        kaon_sandbox_destroy(sandbox);
        sandbox = resident(&stage, spins[s]);
        stage_call_for(sandbox, &out, "leave_without_handing_over",
                       KAON_ARGS(ANYTHING, kaon_u32(UINT32_MAX)), SOON);
        assert_int_equal(out.kind, KAON_DEADLINE);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

static void a_fault_behind_the_host_s_back_is_the_next_call_s(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    SKIP_ON_PROCESSES("the next call enters it again");
    open_stage(&stage);
    for (size_t s = 0; s < SPINS; s++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[s]);

        stage_call(sandbox, &out, "answer_and_fault", KAON_ARGS(ANYTHING));
        if (out.kind == KAON_RETURNED)
            stage_call_for(sandbox, &out, "add",
                           KAON_ARGS(kaon_u64(1), kaon_u64(2)), SOON);
        assert_int_equal(out.kind, KAON_FAULT);
        assert_fault(&out, KAON_FAULT_PAGE, KAON_ACCESS_WRITE);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

static void a_spoilt_gate_spoils_its_own_guest_only(void **state)
{
    static const uint64_t places[] = { 0,          16,         0x200000,
                                       0x200080,   0x2000c0,   0x310000,
                                       UINT64_MAX, 1ull << 47, 1ull << 63 };
    struct kaon_outcome out;
    struct stage stage;
    uint64_t seed;

    (void)state;
    open_stage(&stage);
    seed = stage_seed("a_spoilt_gate");
    for (unsigned i = 0; i < stage_rounds(40); i++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[i % SPINS]);
        uint64_t word = stage_random(&seed);

        stage_call_for(sandbox, &out, "spoil_gate",
                       KAON_ARGS(ANYTHING, kaon_u64(word & 1 ? word : word & 6),
                                 kaon_u64(places[word >> 8 & 7]),
                                 kaon_u64(places[(word >> 16) % 9])),
                       SOON);
        if (out.kind == KAON_RETURNED)
            stage_call_for(sandbox, &out, "add",
                           KAON_ARGS(kaon_u64(1), kaon_u64(2)), SOON);
        if (out.kind == KAON_RETURNED)
            assert_true(out.value.type == KAON_TYPE_U64);
        kaon_sandbox_destroy(sandbox);
        stage_check(&stage);
    }
    stage_close(&stage);
}

static void turns_by_chance_neither_hang_nor_harm(void **state)
{
    struct kaon_outcome out;
    struct stage stage;
    uint64_t seed;

    (void)state;
    open_stage(&stage);
    seed = stage_seed("turns_by_chance");
    for (unsigned i = 0; i < stage_rounds(60); i++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[i % SPINS]);

        for (unsigned k = 0; k < 20; k++) {
            stage_call_for(sandbox, &out, "flip",
                           KAON_ARGS(ANYTHING, kaon_u64(stage_random(&seed)),
                                     kaon_u32(200)),
                           SOON);
            if (out.kind >= KAON_ABORT)
                break;
        }
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

/* The control page has all else that a process and its host go by. */
static void a_control_page_by_chance_neither_hangs_nor_harms(void **state)
{
    unsigned seen[KAON_OUT_OF_MEMORY + 1] = { 0 };
    struct stage stage;
    uint64_t seed;

    (void)state;
    if (!isolation_is_process())
        harness_skip("a VM has none");
    open_stage(&stage);
    seed = stage_seed("a_control_page_by_chance");
    for (unsigned i = 0; i < stage_rounds(100); i++) {
        struct kaon_sandbox *sandbox = resident(&stage, spins[i % SPINS]);
        struct kaon_outcome out = { .kind = KAON_RETURNED };

        for (unsigned k = 0; k < 8 && out.kind < KAON_ABORT; k++) {
            stage_call_for(sandbox, &out, "flip_control",
                           KAON_ARGS(ANYTHING, kaon_u64(KAON_PROCESS_CONTROL),
                                     kaon_u64(stage_random(&seed)),
                                     kaon_u32(k * k)),
                           SOON);
            seen[out.kind]++;
        }
        stage_heal(&stage, sandbox);
        call_in_a_row(sandbox);
        kaon_sandbox_destroy(sandbox);
        stage_check(&stage);
    }
    for (int kind = 0; kind <= KAON_OUT_OF_MEMORY; kind++)
        if (seen[kind])
            print_message("# %s: %u\n", kaon_outcome_name(kind), seen[kind]);
    stage_close(&stage);
}

/* A well-behaved one beside it: longer strings, to see that they are whole. */
static void honest_answers_are_whole(void **state)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    open_stage(&stage);
    sandbox = resident(&stage, spins[1]);
    for (uint32_t size = 0; size < 40000; size += 997) {
        stage_call(sandbox, &out, "text", KAON_ARGS(kaon_u32(size)));
        assert_int_equal(out.kind, KAON_RETURNED);
        assert_int_equal(out.value.span.size, size);
        assert_int_equal(strlen(out.value.span.data), size);
    }
    kaon_sandbox_destroy(sandbox);
    stage_close(&stage);
}

TESTS_NEED_KVM(
    TEST_ROW(18, a_turn_without_a_frame_is_a_violation),
    TEST_ROW(18, a_turn_that_is_kept_meets_the_deadline),
    TEST_ROW(18, a_guest_that_never_looks_again_meets_the_deadline),
    TEST_ROW(18, a_guest_that_works_on_changes_nothing_that_was_looked_at),
    TEST_ROW(18, a_guest_that_works_on_is_stopped_by_a_restore),
    TEST_ROW_LIMIT(18, 120,
                   strings_that_change_are_copied_before_they_are_judged),
    TEST_ROW(18, leaving_without_handing_over_is_no_answer),
    TEST_ROW(18, a_fault_behind_the_host_s_back_is_the_next_call_s),
    TEST_ROW(18, a_spoilt_gate_spoils_its_own_guest_only),
    TEST_ROW_LIMIT(18, 120, turns_by_chance_neither_hang_nor_harm),
    TEST_ROW_LIMIT(18, 120, a_control_page_by_chance_neither_hangs_nor_harms),
    TEST_ROW(18, honest_answers_are_whole))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that scribbles over the exchange. Row 18: the outcome is a protocol
 * violation or a correct value, and the host goes on.
 */
#include <string.h>

#include "stage.h"
#include "support/harness.h"

#define EXCHANGE (4096u + 65536u) /* page and area of the sandboxes */

/* What the guest leaves with: a frame, and up to this many slots or bytes. */
struct departure {
    struct kaon_frame frame;
    union {
        struct kaon_slot slots[18];
        char text[288];
    };
};

#define SLOT(t, s, b)                                   \
    {                                                   \
        .type = KAON_TYPE_##t, .size = (s), .bits = (b) \
    }

/* Sends a departure, its slots at 2048, and makes the guest leave with it. */
static void depart(struct stage *stage, const struct departure *departure,
                   struct kaon_outcome *out)
{
    stage_try(stage, out, "leave_with",
              KAON_ARGS(kaon_bytes(departure, sizeof *departure),
                        kaon_u32(2048), kaon_bool(false)));
}

static void assert_refused(struct stage *stage,
                           const struct departure *departure, const char *what)
{
    struct kaon_outcome out;

    depart(stage, departure, &out);
    if (out.kind != KAON_PROTOCOL)
        fail_msg("%s: %s: %s", what, kaon_outcome_name(out.kind), out.text);
    assert_true(strlen(out.text) > 0);
}

static void a_frame_that_a_guest_never_sends_is_refused(void **state)
{
    static const uint32_t kinds[] = { 0,
                                      KAON_FRAME_CALL,
                                      KAON_FRAME_HOST_RESULT,
                                      KAON_FRAME_HOST_ERROR,
                                      KAON_FRAME_HOST_REFUSED,
                                      KAON_FRAME_BATCH,
                                      11,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff };
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        assert_refused(&stage, &(struct departure){ .frame.kind = kinds[i] },
                       "a kind");
    stage_close(&stage);
}

/* In a RESULT of type u64, as declared. */
static void counts_and_places_of_slots_are_checked(void **state)
{
    static const struct {
        uint32_t count, slots;
    } bad[] = {
        { 0, 0 },
        { 0, 2048 },
        { 2, 2048 },
        { 17, 2048 },
        { 18, 2048 },
        { 0xffffffff, 2048 },
        { 0x10000001, 2048 },
        { 1, 0 },
        { 1, 8 },
        { 1, 128 },
        { 1, KAON_MAILBOX_FREE - 16 },
        { 1, KAON_MAILBOX_FREE - 8 },
        { 1, 2049 },
        { 1, 2052 },
        { 1, 4088 },
        { 1, 4095 },
        { 1, EXCHANGE - 8 },
        { 1, EXCHANGE },
        { 1, 0x7ffffff8 },
        { 1, 0x80000000 },
        { 1, 0xfffffff0 },
        { 1, 0xfffffff8 },
        { 1, 0xffffffff },
    };
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(&stage,
                       &(struct departure){
                           .frame = { .kind = KAON_FRAME_RESULT,
                                      .count = bad[i].count,
                                      .slots = bad[i].slots },
                           .slots = { SLOT(U64, 0, 42), SLOT(U64, 0, 43) },
                       },
                       "a count or place");
    stage_close(&stage);
}

static void values_are_checked(void **state)
{
    static const struct kaon_slot bad[] = {
        SLOT(VOID, 0, 0),          SLOT(U32, 0, 42), /* not what was declared */
        SLOT(I64, 0, 42),          SLOT(BOOL, 0, 1),
        SLOT(BYTES, 4, 2048),      SLOT(STRING, 0, 4000),
        SLOT(U64, 8, 42), /* not canonical */
        SLOT(U64, 0xffffffff, 42), SLOT(I32, 0, 0x100000000),
        SLOT(COUNT, 0, 0),         { .type = 0xffffffff },
        { .type = 0x80000006 },
    };
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(&stage,
                       &(struct departure){
                           .frame = { .kind = KAON_FRAME_RESULT,
                                      .count = 1,
                                      .slots = 2048 },
                           .slots = { bad[i] },
                       },
                       "a value");
    /* That it was not the departure as such: */
    depart(
        &stage,
        &(struct departure){
            .frame = { .kind = KAON_FRAME_RESULT, .count = 1, .slots = 2048 },
            .slots = { SLOT(U64, 0, 42) } },
        &out);
    assert_int_equal(out.kind, KAON_RETURNED);
    assert_int_equal(out.value.u64, 42);
    stage_close(&stage);
}

/* In the words of an ERROR, where the value is a string. */
static void places_of_data_are_checked(void **state)
{
    static const struct kaon_slot bad[] = {
        SLOT(STRING, 0, 0),
        SLOT(STRING, 1, 128),
        SLOT(STRING, 16, 255),
        SLOT(STRING, 0xffffffff, 2064),
        SLOT(STRING, 0x7fffffff, 2064),
        SLOT(STRING, 2032, 2064), /* its NUL would be in the area */
        SLOT(STRING, 4000, 2064),
        SLOT(STRING, 0, EXCHANGE),
        SLOT(STRING, 1, EXCHANGE - 1),
        SLOT(STRING, 1, EXCHANGE),
        SLOT(STRING, 1, 0xffffffff),
        SLOT(STRING, 1, 0x100000000 + 2064),
        SLOT(STRING, 1, UINT64_MAX),
        SLOT(STRING, 1, UINT64_MAX - 2063),
        SLOT(STRING, 4, 2065), /* no NUL behind */
        SLOT(STRING, 9, 2064), /* a NUL inside */
        SLOT(BYTES, 1, 2064),
        SLOT(U64, 0, 1),
    };
    static const uint32_t kinds[] = { KAON_FRAME_ERROR, KAON_FRAME_REFUSED,
                                      KAON_FRAME_ABORT };
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct departure departure = {
            .frame = { .kind = kinds[k],
                       .count = 1,
                       .code = -7,
                       .slots = 2048 },
        };

        memcpy(departure.text + 16, "a text\0cut", 11);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            departure.slots[0] = bad[i];
            assert_refused(&stage, &departure, "a place");
        }
        departure.slots[0] = (struct kaon_slot)SLOT(STRING, 6, 2064);
        depart(&stage, &departure, &out);
        assert_int_equal(out.kind,
                         kinds[k] == KAON_FRAME_ERROR   ? KAON_GUEST_ERROR
                         : kinds[k] == KAON_FRAME_ABORT ? KAON_ABORT
                                                        : KAON_GUEST_REFUSED);
        assert_int_equal(out.code, -7);
        assert_string_equal(out.text, "a text");
        departure.frame.count = departure.frame.slots = 0;
        depart(&stage, &departure, &out);
        assert_int_equal(out.code, -7);
        assert_string_equal(out.text, "");
    }
    stage_close(&stage);
}

/* What the guest is told of a host call of its making. */
static uint64_t host_call(struct stage *stage, struct departure departure)
{
    struct kaon_outcome out;

    depart(stage, &departure, &out);
    if (out.kind == KAON_PROTOCOL)
        return 0;
    assert_int_equal(out.kind, KAON_RETURNED);
    return out.value.u64;
}

#define ANSWER(kind, code) ((uint64_t)(uint32_t)(code) << 32 | (kind))

static void host_calls_of_unknown_functions_are_refused(void **state)
{
    static const uint32_t functions[] = { 1, 2, 0x7fffffff, 0x80000000,
                                          KAON_FUNCTION_INIT };
    struct stage stage;
    struct departure call = {
        .frame = { .kind = KAON_FRAME_HOST_CALL,
                   .count = 3,
                   .slots = 2048,
                   .free_page = 3000 / 16 * 16 },
        .slots = { SLOT(STRING, 4, 2112), SLOT(BYTES, 4, 2112),
                   SLOT(U32, 0, 2) },
    };

    (void)state;
    stage_open(&stage, "hostile_exchange");
    strcpy(call.text + 64, "name");
    assert_int_equal(host_call(&stage, call),
                     ANSWER(KAON_FRAME_HOST_RESULT, 0));
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        call.frame.function = functions[i];
        assert_int_equal(host_call(&stage, call),
                         ANSWER(KAON_FRAME_HOST_REFUSED, KAON_REFUSED_UNKNOWN));
    }
    /* By a name that the host has not, by a number as name, by no name. */
    call.frame.function = KAON_FUNCTION_BY_NAME;
    assert_int_equal(host_call(&stage, call),
                     ANSWER(KAON_FRAME_HOST_REFUSED, KAON_REFUSED_UNKNOWN));
    call.slots[0] = (struct kaon_slot)SLOT(U64, 0, 2112);
    assert_int_equal(host_call(&stage, call),
                     ANSWER(KAON_FRAME_HOST_REFUSED, KAON_REFUSED_UNKNOWN));
    call.frame.count = call.frame.slots = 0;
    assert_int_equal(host_call(&stage, call),
                     ANSWER(KAON_FRAME_HOST_REFUSED, KAON_REFUSED_UNKNOWN));
    stage_close(&stage);
}

static void arguments_of_host_calls_are_checked(void **state)
{
    struct stage stage;
    struct departure call = {
        .frame = { .kind = KAON_FRAME_HOST_CALL,
                   .count = 3,
                   .slots = 2048,
                   .free_page = 3008 },
        .slots = { SLOT(STRING, 4, 2112), SLOT(BYTES, 4, 2112),
                   SLOT(U32, 0, 2) },
    };
    struct departure good = call;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    strcpy(good.text + 64, "name");
    for (uint32_t count = 0; count < 20; count++) {
        call = good;
        call.frame.count = count;
        call.frame.slots = count ? 2048 : 0;
        for (uint32_t i = 3; i < 17; i++)
            if (i != 4) /* where the text is, as a slot of no known type */
                call.slots[i] = (struct kaon_slot)SLOT(U32, 0, i);
        assert_int_equal(host_call(&stage, call),
                         count == 3   ? ANSWER(KAON_FRAME_HOST_RESULT, 0)
                         : count <= 4 ? ANSWER(KAON_FRAME_HOST_REFUSED,
                                               KAON_REFUSED_ARGUMENTS)
                                      : 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        call = good;
        call.slots[i] = (struct kaon_slot)SLOT(I32, 0, 7);
        assert_int_equal(
            host_call(&stage, call),
            ANSWER(KAON_FRAME_HOST_REFUSED, KAON_REFUSED_ARGUMENTS));
        call.slots[i] = (struct kaon_slot)SLOT(COUNT, 0, 7);
        assert_int_equal(host_call(&stage, call), 0);
        call.slots[i] = (struct kaon_slot)SLOT(BYTES, 0xffffffff, 2048);
        assert_int_equal(host_call(&stage, call), 0);
    }
    stage_close(&stage);
}

/* Where the answer may go is the guest's word, too. */
static void an_answer_goes_only_into_the_exchange(void **state)
{
    static const uint32_t pages[] = { 0,
                                      1,
                                      128,
                                      KAON_MAILBOX_FREE - 1,
                                      KAON_MAILBOX_FREE,
                                      2048,
                                      2064,
                                      4080,
                                      4095,
                                      4096,
                                      4112,
                                      0x7fffffff,
                                      0xfffffff0,
                                      0xffffffff };
    static const uint32_t areas[] = {
        0, 4095, 4096, 4097, EXCHANGE - 16, EXCHANGE, EXCHANGE + 16, 0xfffffff0
    };
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    for (size_t p = 0; p < sizeof pages / sizeof *pages; p++)
        for (size_t a = 0; a < sizeof areas / sizeof *areas; a++)
            for (uint32_t room = 0; room < 7; room++) {
                static const uint32_t rooms[] = { 1,    2,     16,   1001,
                                                  4001, 65001, 99999 };
                struct departure call = {
                    .frame = { .kind = KAON_FRAME_HOST_CALL,
                               .count = 3,
                               .slots = 2048,
                               .free_page = pages[p],
                               .free_area = areas[a] },
                    .slots = { SLOT(STRING, 4, 2112), SLOT(BYTES, 4, 2112),
                               SLOT(U32, 0, rooms[room]) },
                };

                strcpy(call.text + 64, "name");
                depart(&stage, &call, &out);
                /* An answer over the guest's own frame is its own affair. */
                assert_true(out.kind == KAON_RETURNED ||
                            out.kind == KAON_PROTOCOL);
            }
    stage_close(&stage);
}

/* The area comes when it is first needed; what the guest keeps in it counts
 * before that, too. */
static void an_answer_goes_only_where_the_guest_has_room(void **state)
{
    static const uint32_t areas[] = { 4096, 8192, 16384, 32768 };
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        struct departure call = {
            .frame = { .kind = KAON_FRAME_HOST_CALL,
                       .count = 3,
                       .slots = 2048,
                       .free_page = 3008,
                       .free_area = areas[i] },
            .slots = { SLOT(STRING, 4, 2112), SLOT(BYTES, 4, 2112),
                       SLOT(U32, 0, 5001) },
        };

        stage_open(&stage, "hostile_exchange"); /* anew: with no area yet */
        strcpy(call.text + 64, "name");
        stage_try(&stage, &out, "leave_with",
                  KAON_ARGS(kaon_bytes(&call, sizeof call), kaon_u32(2048),
                            kaon_bool(true)));
        assert_int_equal(out.kind, KAON_RETURNED);
        assert_int_equal((uint32_t)out.value.u64, KAON_FRAME_HOST_RESULT);
        assert_true(out.value.u64 >> 32 >= areas[i]);
        stage_close(&stage);
    }
}

static void check_value(const struct kaon_value *value)
{
    const unsigned char *bytes = value->span.data;
    size_t sum = 0;

    assert_in_range(value->type, KAON_TYPE_VOID, KAON_TYPE_BYTES);
    if (value->type < KAON_TYPE_STRING)
        return;
    assert_in_range(value->span.size, 0, EXCHANGE);
    for (size_t i = 0; i < value->span.size; i++)
        sum += bytes[i];
    if (value->type == KAON_TYPE_STRING)
        assert_int_equal(strlen((const char *)bytes), value->span.size);
    assert_true(sum <= 255 * value->span.size);
}

static const char *const by_chance[] = { "by_chance", "number_by_chance",
                                         "bytes_by_chance", "text_by_chance" };
static const uint32_t declared[] = { KAON_TYPE_VOID, KAON_TYPE_U64,
                                     KAON_TYPE_BYTES, KAON_TYPE_STRING };

/* One life that ends in garbage; negative rounds begin before the guest is
 * ready. */
static void scribble(struct stage *stage, unsigned which, uint64_t seed,
                     int32_t rounds, unsigned *outcomes)
{
    struct kaon_sandbox *sandbox = stage_sandbox(stage);
    struct kaon_outcome out;

    do {
        stage_call(sandbox, &out, by_chance[which],
                   KAON_ARGS(kaon_bytes("x", 1), kaon_u64(seed),
                             kaon_u32((uint32_t)rounds)));
        outcomes[out.kind]++;
        if (out.kind == KAON_RETURNED) {
            assert_int_equal(out.value.type, declared[which]);
            check_value(&out.value);
        } else if (out.kind != KAON_PROTOCOL && out.kind != KAON_GUEST_ERROR &&
                   out.kind != KAON_GUEST_REFUSED && out.kind != KAON_ABORT) {
            fail_msg("seed %#llx: %s: %s", (unsigned long long)seed,
                     kaon_outcome_name(out.kind), out.text);
        }
        seed++;
    } while (out.kind < KAON_ABORT && seed % 4);
    kaon_sandbox_destroy(sandbox);
}

static void garbage_in_the_exchange_harms_nobody(void **state)
{
    uint64_t chance = stage_seed("garbage in the exchange");
    unsigned rounds = stage_rounds(4000);
    unsigned outcomes[KAON_OUT_OF_MEMORY + 1] = { 0 };
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    for (unsigned i = 0; i < rounds; i++) {
        scribble(&stage, i % 4, stage_random(&chance),
                 i % 8 == 7 ? -20 : 1 + (int32_t)(i % 40), outcomes);
        if (i % 16 == 0)
            stage_check(&stage);
    }
    stage_close(&stage);
    /* Chance was no excuse: both sides of the checks were seen. */
    if (rounds >= 400) {
        assert_true(outcomes[KAON_RETURNED] > rounds / 100);
        assert_true(outcomes[KAON_PROTOCOL] > rounds / 10);
        assert_true(outcomes[KAON_GUEST_ERROR] > rounds / 100);
        assert_true(outcomes[KAON_ABORT] > rounds / 100);
    }
}

/* ---- Batches ----------------------------------------------------------- */

#define BATCH 5

/* The outcomes of a batch: up to the first that poisons any, then none. */
static void check_batch(const struct kaon_sandbox *sandbox,
                        const struct kaon_outcome *outs, unsigned *outcomes)
{
    enum kaon_outcome_kind worst = KAON_RETURNED;

    for (unsigned i = 0; i < BATCH; i++) {
        const struct kaon_outcome *out = &outs[i];

        outcomes[out->kind]++;
        if (worst >= KAON_ABORT) {
            assert_int_equal(out->kind, KAON_NOT_RUN);
            continue;
        }
        worst = out->kind;
        if (out->kind == KAON_RETURNED) {
            assert_int_equal(out->value.type, declared[i % 4]);
            check_value(&out->value);
        } else {
            assert_in_range(out->kind, KAON_GUEST_ERROR, KAON_PROTOCOL);
            assert_non_null(memchr(out->text, 0, sizeof out->text));
        }
    }
    assert_int_equal(kaon_sandbox_state(sandbox), worst >= KAON_ABORT
                                                      ? KAON_SANDBOX_POISONED
                                                      : KAON_SANDBOX_READY);
}

static void scribble_in_batch(const struct stage *stage, uint64_t seed,
                              uint32_t rounds, unsigned *outcomes)
{
    struct kaon_sandbox *sandbox = stage_sandbox(stage);
    struct kaon_batch_call calls[BATCH];
    struct kaon_value args[BATCH][3];
    struct kaon_outcome outs[BATCH];
    struct kaon_error err;

    for (unsigned i = 0; i < BATCH; i++) {
        args[i][0] = kaon_bytes("x", 1);
        args[i][1] = kaon_u64(seed + i);
        args[i][2] = kaon_u32(rounds);
        calls[i].args = args[i];
        calls[i].count = 3;
        assert_int_equal(kaon_function_find(&calls[i].function, stage->image,
                                            by_chance[i % 4], &err),
                         KAON_OK);
    }
    if (kaon_call_batch(
            sandbox, outs, calls, BATCH,
            KAON_CALL_OPTS(.deadline_ns = KAON_SECONDS(harness_slowness())),
            &err))
        fail_msg("a batch made the host fail: %s", err.text);
    check_batch(sandbox, outs, outcomes);
    kaon_sandbox_destroy(sandbox);
}

static void garbage_in_a_batch_harms_nobody(void **state)
{
    uint64_t chance = stage_seed("garbage in a batch");
    unsigned rounds = stage_rounds(2000);
    unsigned outcomes[KAON_NOT_RUN + 1] = { 0 };
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_exchange");
    for (unsigned i = 0; i < rounds; i++) {
        scribble_in_batch(&stage, stage_random(&chance), 1 + i % 10, outcomes);
        if (i % 16 == 0)
            stage_check(&stage);
    }
    stage_close(&stage);
    if (rounds >= 400) {
        assert_true(outcomes[KAON_RETURNED] > rounds / 50);
        assert_true(outcomes[KAON_PROTOCOL] > rounds / 10);
        assert_true(outcomes[KAON_GUEST_ERROR] > rounds / 100);
        assert_true(outcomes[KAON_NOT_RUN] > rounds / 10);
    }
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW(18, a_frame_that_a_guest_never_sends_is_refused),
    TEST_ROW(18, counts_and_places_of_slots_are_checked),
    TEST_ROW(18, values_are_checked),
    TEST_ROW(18, places_of_data_are_checked),
    TEST_ROW(18, host_calls_of_unknown_functions_are_refused),
    TEST_ROW(18, arguments_of_host_calls_are_checked),
    TEST_ROW(18, an_answer_goes_only_into_the_exchange),
    TEST_ROW(18, an_answer_goes_only_where_the_guest_has_room),
    TEST_ROW(18, garbage_in_the_exchange_harms_nobody),
    TEST_ROW(18, garbage_in_a_batch_harms_nobody),
)

/* SPDX-License-Identifier: Apache-2.0 */
/* Many calls in one entry, many host calls in one exit. */
#include "e2e/e2e.h"

#include <pthread.h>
#include <stdlib.h>

/* What the host was told, in its order. */
struct journal {
    char text[1 << 16];
    int32_t notes; /* note(i) is to be the i-th */
    bool note_fails;
};

static void keep(struct journal *journal, const char *text)
{
    size_t length = strlen(journal->text);

    snprintf(journal->text + length, sizeof journal->text - length, "%.60s",
             text);
}

static int32_t keep_print(const char *text, size_t size, void *user)
{
    keep(user, text);
    return (int32_t)size;
}

static int host_echo(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    char *buffer = kaon_host_buffer(call, args[0].span.size + 1);

    if (!buffer)
        return kaon_host_fail(call, 1, "no room");
    memcpy(buffer, args[0].span.data, args[0].span.size + 1);
    keep(user, buffer);
    *result = kaon_string(buffer);
    return 0;
}

static int note(struct kaon_host_call *call, const struct kaon_value *args,
                struct kaon_value *result, void *user)
{
    struct journal *journal = user;

    (void)result;
    if (journal->note_fails)
        return kaon_host_fail(call, 7, "nobody hears this");
    assert_int_equal(args[0].i32, journal->notes);
    journal->notes++;
    return 0;
}

#define MAX 64

/* A sandbox of the guest "batch", and a batch that is being made. */
struct stage {
    struct journal journal;
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_batch_call calls[MAX];
    struct kaon_value args[MAX][2];
    struct kaon_outcome outcomes[MAX];
    size_t count;
};

static struct stage *begin(void)
{
    struct stage *stage = calloc(1, sizeof *stage);
    struct journal *journal = &stage->journal;
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_print(set, keep_print, journal, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostEcho", KAON_TYPE_STRING,
                                      KAON_PARAMS(KAON_TYPE_STRING), host_echo,
                                      journal, &err));
    ASSERT_OK(kaon_host_functions_add(set, "note", KAON_TYPE_VOID,
                                      KAON_PARAMS(KAON_TYPE_I32), note, journal,
                                      &err));
    stage->image = e2e_image("batch");
    ASSERT_OK(kaon_sandbox_create(&stage->sandbox, stage->image,
                                  KAON_SANDBOX_OPTS(.host_functions = set),
                                  &err));
    kaon_host_functions_destroy(set);
    return stage;
}

static void finish(struct stage *stage)
{
    kaon_sandbox_destroy(stage->sandbox);
    kaon_image_destroy(stage->image);
    free(stage);
}

static void add(struct stage *stage, const char *function,
                const struct kaon_value *args, size_t count)
{
    struct kaon_batch_call *call = &stage->calls[stage->count];
    struct kaon_error err = { 0 };

    assert_true(stage->count < MAX && count <= 2);
    ASSERT_OK(
        kaon_function_find(&call->function, stage->image, function, &err));
    for (size_t i = 0; i < count; i++)
        stage->args[stage->count][i] = args[i];
    call->args = stage->args[stage->count];
    call->count = count;
    stage->count++;
}

static void make(struct stage *stage, uint64_t deadline_ns)
{
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_call_batch(
        stage->sandbox, stage->outcomes, stage->calls, stage->count,
        KAON_CALL_OPTS(.deadline_ns = deadline_ns), &err));
}

/* A call by itself. */
static struct kaon_outcome call(struct stage *stage, const char *function,
                                const struct kaon_value *args, size_t count)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(
        kaon_call(stage->sandbox, &out, function, args, count, NULL, &err));
    return out;
}

static void call_to_return(struct stage *stage, const char *function,
                           const struct kaon_value *args, size_t count)
{
    struct kaon_outcome out = call(stage, function, args, count);

    ASSERT_OUTCOME(KAON_RETURNED, out);
}

static void assert_text(const struct kaon_outcome *out, const char *text)
{
    ASSERT_OUTCOME(KAON_RETURNED, *out);
    assert_string_equal(out->value.span.data, text);
}

static uint64_t exits(const struct stage *stage)
{
    struct kaon_sandbox_stats stats;

    kaon_sandbox_stats(stage->sandbox, &stats);
    return stats.exits;
}

/* ---- Batches ----------------------------------------------------------- */

static void sixteen_calls_are_one_exit(void **state)
{
    SKIP_ON_RESIDENTS("they make none, or as many as they give up waiting");

    struct stage *stage = begin();
    uint64_t before;

    (void)state;
    for (int32_t i = 0; i < 16; i++)
        add(stage, "add", KAON_ARGS(kaon_i32(i), kaon_i32(100)));
    make(stage, 0);
    before = exits(stage);
    make(stage, 0);
    assert_int_equal(exits(stage) - before, 1);
    for (int32_t i = 0; i < 16; i++) {
        ASSERT_OUTCOME(KAON_RETURNED, stage->outcomes[i]);
        assert_int_equal(stage->outcomes[i].value.i32, 100 + i);
    }
    finish(stage);
}

static void calls_see_what_the_ones_before_left(void **state)
{
    struct stage *stage = begin();

    (void)state;
    for (int i = 0; i < 10; i++)
        add(stage, "count", KAON_NO_ARGS);
    make(stage, 0);
    for (int32_t i = 0; i < 10; i++)
        assert_int_equal(stage->outcomes[i].value.i32, 1 + i);
    ASSERT_RETURNS(11, stage->sandbox, "count", KAON_NO_ARGS);
    finish(stage);
}

static void all_results_are_there_at_the_end(void **state)
{
    struct stage *stage = begin();
    static char text[20001];

    (void)state;
    memset(text, 't', 20000);
    add(stage, "echo", KAON_ARGS(kaon_string("an argument")));
    add(stage, "through", KAON_ARGS(kaon_string("the host")));
    add(stage, "fill", KAON_ARGS(kaon_u32(1000), kaon_u32('a')));
    add(stage, "through", KAON_ARGS(kaon_string(text)));
    add(stage, "fill", KAON_ARGS(kaon_u32(100000), kaon_u32('b')));
    add(stage, "echo", KAON_ARGS(kaon_string(text)));
    for (int round = 0; round < 3; round++) {
        make(stage, 0);
        assert_text(&stage->outcomes[0], "an argument");
        assert_text(&stage->outcomes[1], "the host");
        assert_text(&stage->outcomes[3], text);
        assert_text(&stage->outcomes[5], text);
        for (size_t i = 2; i < 5; i += 2) {
            const struct kaon_span *span = &stage->outcomes[i].value.span;

            assert_int_equal(span->size, i == 2 ? 1000 : 100000);
            for (size_t k = 0; k < span->size; k++)
                assert_int_equal(((const char *)span->data)[k],
                                 i == 2 ? 'a' : 'b');
        }
    }
    finish(stage);
}

static void results_may_be_the_next_arguments(void **state)
{
    struct stage *stage = begin();

    (void)state;
    add(stage, "echo", KAON_ARGS(kaon_string("one")));
    add(stage, "through", KAON_ARGS(kaon_string("two")));
    make(stage, 0);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < 2; i++)
            stage->args[i][0] = stage->outcomes[1 - i].value;
        make(stage, 0);
        assert_text(&stage->outcomes[round % 2], "two");
        assert_text(&stage->outcomes[1 - round % 2], "one");
    }
    finish(stage);
}

static void each_call_begins_as_after_an_entry(void **state)
{
    struct stage *stage = begin();

    (void)state;
    add(stage, "stack", KAON_NO_ARGS);
    add(stage, "see_cpu", KAON_NO_ARGS);
    add(stage, "fail_deep", KAON_ARGS(kaon_i32(50)));
    add(stage, "spoil_cpu", KAON_NO_ARGS);
    add(stage, "stack", KAON_NO_ARGS);
    add(stage, "see_cpu", KAON_NO_ARGS);
    make(stage, 0);
    ASSERT_OUTCOME(KAON_GUEST_ERROR, stage->outcomes[2]);
    assert_int_equal(stage->outcomes[2].code, 7);
    assert_string_equal(stage->outcomes[2].text, "no such thing");
    ASSERT_OUTCOME(KAON_GUEST_ERROR, stage->outcomes[3]);
    assert_int_equal(stage->outcomes[4].value.u64,
                     stage->outcomes[0].value.u64);
    assert_int_equal(stage->outcomes[5].value.u32,
                     stage->outcomes[1].value.u32);
    assert_int_equal(stage->outcomes[5].value.u32, 0x1f80u << 16);
    /* And as a call by itself does. */
    assert_int_equal(call(stage, "stack", KAON_NO_ARGS).value.u64,
                     stage->outcomes[0].value.u64);
    assert_int_equal(call(stage, "see_cpu", KAON_NO_ARGS).value.u32,
                     0x1f80u << 16);
    finish(stage);
}

static void assert_ended(const struct stage *stage, size_t at,
                         enum kaon_outcome_kind kind, const char *words)
{
    for (size_t i = 0; i < at; i++)
        assert_text(&stage->outcomes[i], "kept");
    ASSERT_OUTCOME(kind, stage->outcomes[at]);
    ASSERT_CONTAINS(stage->outcomes[at].text, words);
    for (size_t i = at + 1; i < stage->count; i++)
        ASSERT_OUTCOME(KAON_NOT_RUN, stage->outcomes[i]);
    assert_int_equal(kaon_sandbox_state(stage->sandbox), KAON_SANDBOX_POISONED);
}

/* How a call ends that the sandbox does not survive. */
struct end {
    const char *function;
    struct kaon_value arg;
    uint64_t deadline_ns;
    enum kaon_outcome_kind kind;
    const char *words;
};

/* Three calls, of which the one at `at` ends so. */
static struct stage *begin_and_end(const struct end *end, size_t at,
                                   uint64_t deadline_ns)
{
    struct stage *stage = begin();

    for (size_t i = 0; i < 3; i++) {
        if (i == at)
            add(stage, end->function, &end->arg,
                end->arg.type != KAON_TYPE_VOID);
        else
            add(stage, i % 2 ? "through" : "echo",
                KAON_ARGS(kaon_string("kept")));
    }
    make(stage, deadline_ns);
    return stage;
}

/* A deadline may be over before a busy machine comes to the call that is to
 * be stopped: it is of twice the time then. */
static void a_call_that_poisons_keeps_what_was_before(void **state)
{
    static const struct end ends[] = {
        { "give_up", { 0 }, 0, KAON_ABORT, "enough" },
        { "touch",
          { .type = KAON_TYPE_U64, .u64 = 0x1000 },
          0,
          KAON_FAULT,
          "page fault writing 0x1000 at touch" },
        { "spin",
          { 0 },
          50 * MILLISECOND,
          KAON_DEADLINE,
          "spin did not return before its deadline" },
    };

    (void)state;
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
        for (size_t at = 0; at < 3; at++) {
            uint64_t deadline = ends[k].deadline_ns;
            struct stage *stage = begin_and_end(&ends[k], at, deadline);

            while (deadline && stage->outcomes[at].kind == KAON_NOT_RUN) {
                finish(stage);
                stage = begin_and_end(&ends[k], at, deadline *= 2);
            }
            assert_ended(stage, at, ends[k].kind, ends[k].words);
            finish(stage);
        }
}

struct interrupter {
    struct kaon_sandbox *sandbox;
    uint64_t delay; /* from when the batch runs */
    enum kaon_status status;
};

static void *interrupt_later(void *user)
{
    struct interrupter *interrupter = user;

    while (kaon_sandbox_state(interrupter->sandbox) != KAON_SANDBOX_RUNNING)
        e2e_sleep(MILLISECOND / 10);
    e2e_sleep(interrupter->delay);
    interrupter->status = kaon_sandbox_interrupt(interrupter->sandbox, NULL);
    return NULL;
}

/* The second of three calls spins. */
static struct stage *begin_and_interrupt(uint64_t delay)
{
    struct stage *stage = begin();
    struct interrupter interrupter = { stage->sandbox, delay, KAON_OK };
    pthread_t thread;

    add(stage, "echo", KAON_ARGS(kaon_string("kept")));
    add(stage, "spin", KAON_NO_ARGS);
    add(stage, "count", KAON_NO_ARGS);
    assert_int_equal(
        pthread_create(&thread, NULL, interrupt_later, &interrupter), 0);
    make(stage, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(interrupter.status, KAON_OK);
    return stage;
}

/* After twice the time, where the first call was still to end. */
static void an_interrupt_stops_the_call_that_runs(void **state)
{
    uint64_t delay = 10 * MILLISECOND;
    struct stage *stage = begin_and_interrupt(delay);

    (void)state;
    while (stage->outcomes[1].kind == KAON_NOT_RUN) {
        finish(stage);
        stage = begin_and_interrupt(delay *= 2);
    }
    assert_ended(stage, 1, KAON_CANCELLED, "spin was interrupted");
    finish(stage);
}

/* One that is as large as the exchange lets it be, and one that is larger. */
static void a_batch_fits_the_exchange_or_is_refused(void **state)
{
    struct stage *stage = begin();
    const size_t size = 65000;
    char *text = calloc(1, size + 1);
    struct kaon_error err = { 0 };

    (void)state;
    memset(text, 'x', size);
    for (int i = 0; i < 17; i++)
        add(stage, "echo", KAON_ARGS(kaon_string(text)));
    ASSERT_REFUSED(KAON_ETOOBIG, "raise exchange_bytes, or make smaller",
                   kaon_call_batch(stage->sandbox, stage->outcomes,
                                   stage->calls, 17, NULL, &err));
    stage->count = 16;
    make(stage, 0);
    for (size_t i = 0; i < 16; i++)
        assert_text(&stage->outcomes[i], text);
    free(text);
    finish(stage);
}

/* ---- Posted calls ------------------------------------------------------ */

static void assert_lines(const struct journal *journal, unsigned count)
{
    const char *at = journal->text;

    for (unsigned i = 0; i < count; i++) {
        char line[32];

        snprintf(line, sizeof line, "line %u\n", i);
        if (strncmp(at, line, strlen(line)) != 0)
            fail_msg("line %u is \"%.20s\"", i, at);
        at += strlen(line);
    }
    assert_string_equal(at, "");
}

static void logging_costs_a_fraction_of_printing(void **state)
{
    SKIP_ON_RESIDENTS("they make none, or as many as they give up waiting");

    struct stage *stage = begin();
    uint64_t start, logged, printed;

    (void)state;
    call(stage, "log_lines", KAON_ARGS(kaon_u32(1)));
    call(stage, "print_lines", KAON_ARGS(kaon_u32(1)));
    stage->journal.text[0] = '\0';
    start = exits(stage);
    call(stage, "log_lines", KAON_ARGS(kaon_u32(16)));
    logged = exits(stage) - start;
    assert_lines(&stage->journal, 16);
    stage->journal.text[0] = '\0';
    start = exits(stage);
    call(stage, "print_lines", KAON_ARGS(kaon_u32(16)));
    printed = exits(stage) - start;
    assert_lines(&stage->journal, 16);
    assert_int_equal(logged, 1);
    assert_int_equal(printed, 17);
    finish(stage);
}

static void any_number_of_posted_calls_arrives(void **state)
{
    struct stage *stage = begin();
    int32_t count = (int32_t)e2e_scaled(10000);

    (void)state;
    call_to_return(stage, "post", KAON_ARGS(kaon_i32(0), kaon_i32(count)));
    assert_int_equal(stage->journal.notes, count);
    for (int32_t i = 0; i < 40; i++)
        add(stage, "post", KAON_ARGS(kaon_i32(count + 3 * i), kaon_i32(3)));
    make(stage, 0);
    ASSERT_OUTCOME(KAON_RETURNED, stage->outcomes[39]);
    assert_int_equal(stage->journal.notes, count + 120);
    finish(stage);
}

static void their_order_with_host_calls_is_kept(void **state)
{
    struct stage *stage = begin();

    (void)state;
    call_to_return(stage, "mix", KAON_NO_ARGS);
    assert_string_equal(stage->journal.text, "123445");
    finish(stage);
}

static struct stage *begin_and_log(uint32_t what, uint64_t deadline,
                                   struct kaon_outcome *out)
{
    struct stage *stage = begin();
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_call(stage->sandbox, out, "log_and",
                        KAON_ARGS(kaon_string("last words"), kaon_u32(what)),
                        KAON_CALL_OPTS(.deadline_ns = deadline), &err));
    return stage;
}

/* The guest that spins gets a deadline of twice the time, if one was over
 * before it had said something. */
static void what_was_posted_arrives_whatever_ends_the_call(void **state)
{
    static const enum kaon_outcome_kind kinds[] = {
        KAON_GUEST_ERROR, KAON_ABORT, KAON_FAULT, KAON_DEADLINE, KAON_RETURNED
    };

    (void)state;
    for (uint32_t what = 0; what < 5; what++) {
        const bool spins = kinds[what] == KAON_DEADLINE;
        uint64_t deadline = spins ? 50 * MILLISECOND : 0;
        struct kaon_outcome out;
        struct stage *stage = begin_and_log(what, deadline, &out);

        while (spins && !stage->journal.text[0]) {
            finish(stage);
            stage = begin_and_log(what, deadline *= 2, &out);
        }
        ASSERT_OUTCOME(kinds[what], out);
        assert_string_equal(stage->journal.text, "last words");
        finish(stage);
    }
}

static void large_texts_are_logged_or_refused(void **state)
{
    struct stage *stage = begin();
    struct kaon_outcome out;

    (void)state;
    call_to_return(stage, "log_large", KAON_ARGS(kaon_u32(50000)));
    assert_string_equal(
        stage->journal.text,
        "beforellllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
        "after");
    stage->journal.text[0] = '\0';
    out = call(stage, "log_large", KAON_ARGS(kaon_u32(2000000)));
    ASSERT_OUTCOME(KAON_GUEST_ERROR, out);
    assert_int_equal(out.code, KAON_REFUSED_TOO_LARGE);
    assert_string_equal(stage->journal.text, "before");
    finish(stage);
}

static void a_posted_call_that_fails_is_dropped(void **state)
{
    struct stage *stage = begin();

    (void)state;
    stage->journal.note_fails = true;
    call_to_return(stage, "post", KAON_ARGS(kaon_i32(0), kaon_i32(10)));
    stage->journal.note_fails = false;
    call_to_return(stage, "post", KAON_ARGS(kaon_i32(0), kaon_i32(10)));
    assert_int_equal(stage->journal.notes, 10);
    finish(stage);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST(sixteen_calls_are_one_exit),
    TEST(calls_see_what_the_ones_before_left),
    TEST(all_results_are_there_at_the_end),
    TEST(results_may_be_the_next_arguments),
    TEST(each_call_begins_as_after_an_entry),
    TEST(a_call_that_poisons_keeps_what_was_before),
    TEST(an_interrupt_stops_the_call_that_runs),
    TEST(a_batch_fits_the_exchange_or_is_refused),
    TEST(logging_costs_a_fraction_of_printing),
    TEST(any_number_of_posted_calls_arrives),
    TEST(their_order_with_host_calls_is_kept),
    TEST(what_was_posted_arrives_whatever_ends_the_call),
    TEST(large_texts_are_logged_or_refused),
    TEST(a_posted_call_that_fails_is_dropped))

/* SPDX-License-Identifier: Apache-2.0 */
/* Batches in the guest library, and host calls that it posts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest_host.h"

/* The guest's functions */

static int32_t add(int32_t a, int32_t b)
{
    return a + b;
}
KAON_EXPORT(add, i32, i32, i32);

static const char *echo(const char *text)
{
    return text;
}
KAON_EXPORT(echo, string, string);

/* Not in the exchange: copied there. */
static const char *big_result;

static const char *big(void)
{
    return big_result;
}
KAON_EXPORT(big, string);

/* Built in the exchange, where the next call must not build. */
static const char *twice(const char *text)
{
    size_t size = strlen(text);
    char *memory = kaon_reserve(2 * size + 1);

    if (!memory)
        kaon_fail(1, "no room");
    memcpy(memory, text, size);
    memcpy(memory + size, text, size + 1);
    return memory;
}
KAON_EXPORT(twice, string, string);

static void fail_with(int32_t code, const char *text)
{
    kaon_fail(code, text);
}
KAON_EXPORT(fail_with, void, i32, string);

static void abort_with(int32_t code, const char *text)
{
    kaon_abort(code, text);
}
KAON_EXPORT(abort_with, void, i32, string);

static void (*body)(void);

static void run_body(void)
{
    body();
}
KAON_EXPORT(run_body, void);

KAON_IMPORT(HostEcho, string, string);
KAON_IMPORT(HostNumber, i32, i32);
KAON_IMPORT_POSTED(note, void, string);
KAON_IMPORT_POSTED(count_up, i32, i32);

/* The result of a host call, which the next call's must not overwrite. */
static const char *through(const char *text)
{
    const char *back = "";

    HostEcho(&back, text);
    return back;
}
KAON_EXPORT(through, string, string);

/* Takes what it can of the exchange, for a number. */
static int32_t greedy(int32_t x)
{
    const char *back;

    kaon_reserve(500);
    HostEcho(&back, "anything");
    HostNumber(&x, x);
    return x;
}
KAON_EXPORT(greedy, i32, i32);

static void post_and_add(int32_t x)
{
    note("in a batch");
    count_up(x);
}
KAON_EXPORT(post_and_add, void, i32);

static int initialised;

void kaon__constructors_run(void)
{
}

void kaon_guest_init(void)
{
    initialised++;
}

/* The host */

/* What host functions were called with, in their order. */
static char journal[1 << 16];
static int32_t counted;

static void keep(const char *who, const char *text)
{
    size_t length = strlen(journal);

    snprintf(journal + length, sizeof journal - length, "%s(%.40s) ", who,
             text);
}

static void serve(uint32_t function, const struct kaon_value *args,
                  uint32_t count, struct answer *answer)
{
    const char *name = __start_kaon_imports[function].name;
    const char *text =
        count && args[0].type == KAON_TYPE_STRING ? args[0].span.data : "";
    static char echoed[70000];

    assert_int_equal(count, 1);
    if (strcmp(name, "count_up") == 0) {
        assert_int_equal(args[0].i32, counted);
        counted++;
        if (answer)
            answer->value = kaon_i32(counted);
        return;
    }
    if (strcmp(name, "HostNumber") == 0) {
        answer->value = kaon_i32(args[0].i32);
        return;
    }
    keep(name, text);
    if (!answer)
        return;
    if (strcmp(name, "HostEcho") == 0) {
        snprintf(echoed, sizeof echoed, "%s", text);
        answer->value = kaon_string(echoed);
    } else if (strcmp(name, "HostPrint") == 0) {
        answer->value = kaon_i32((int32_t)strlen(text));
    }
}

static void guest_begin(void)
{
    guest_host_begin();
    host = serve;
    journal[0] = '\0';
    initialised = counted = 0;
}

static void run(void (*function)(void))
{
    body = function;
    call("run_body", NULL, 0);
}

/* A batch that is being made and was run. */
static struct {
    struct kaon_frame frame; /* the BATCH, then what the guest left with */
    uint32_t frames, made;
} batch;

static void batch_begin(uint32_t count)
{
    batch.made = 0;
    batch.frame = (struct kaon_frame){ .kind = KAON_FRAME_BATCH };
    assert_int_equal(
        kaon_wire_put_frames(&wire, kaon_wire_all_free(), count, &batch.frame),
        KAON_WIRE_OK);
    batch.frames = batch.frame.slots;
}

static void batch_add(uint32_t function, const struct kaon_value *args,
                      uint32_t count)
{
    struct kaon_wire_free free = { batch.frame.free_page,
                                   batch.frame.free_area };
    struct kaon_frame frame = { .kind = KAON_FRAME_CALL, .function = function };

    assert_int_equal(kaon_wire_put(&wire, free, args, count, &frame),
                     KAON_WIRE_OK);
    batch.frame.free_page = frame.free_page;
    batch.frame.free_area = frame.free_area;
    kaon_wire_write_frame(&wire, batch.frames, batch.made++, &frame);
}

#define ADD(name, ...)                                              \
    batch_add(index_of(name), (struct kaon_value[]){ __VA_ARGS__ }, \
              sizeof((struct kaon_value[]){ __VA_ARGS__ }) /        \
                  sizeof(struct kaon_value))

/* Runs it; the guest must leave with a frame of this kind. */
static void batch_run(uint32_t kind)
{
    mailbox->frame = batch.frame;
    run_guest();
    batch.frame = mailbox->frame;
    assert_int_equal(batch.frame.kind, kind);
    if (kind == KAON_FRAME_RESULT)
        assert_int_equal(batch.frame.count, 0);
}

/* The answer to a call, which must be of that kind. */
static struct kaon_value answer_of(uint32_t i, uint32_t kind, int32_t code)
{
    struct kaon_value value = kaon_void();
    struct kaon_frame frame;

    kaon_wire_read_frame(&wire, batch.frames, i, &frame);
    if (kind == KAON_FRAME_CALL) {
        assert_int_equal(frame.kind, kind);
        return value;
    }
    assert_int_equal(kaon_wire_get(&wire, &frame, &value, 1), KAON_WIRE_OK);
    if (frame.kind != kind)
        fail_msg("call %u: frame %u, code %d, %s", i, frame.kind, frame.code,
                 frame.count ? (const char *)value.span.data : "no text");
    assert_int_equal(frame.code, code);
    return value;
}

static struct kaon_value result_of(uint32_t i)
{
    return answer_of(i, KAON_FRAME_RESULT, 0);
}

/* Batches */

static void its_calls_run_in_their_order_and_leave_once(void **state)
{
    (void)state;
    guest_begin();
    batch_begin(100);
    for (int32_t i = 0; i < 100; i++)
        ADD("add", kaon_i32(i), kaon_i32(1000));
    batch_run(KAON_FRAME_RESULT);
    for (int32_t i = 0; i < 100; i++)
        assert_int_equal(result_of((uint32_t)i).i32, 1000 + i);
    assert_int_equal(exits, 1);
    assert_int_equal(restarts, 100);
    assert_int_equal(initialised, 1);
    /* And the next entry may be a call. */
    assert_int_equal(CALL("add", kaon_i32(40), kaon_i32(2)).i32, 42);
}

static void all_results_stay_until_it_ends(void **state)
{
    (void)state;
    guest_begin();
    big_result = "not of the exchange";
    batch_begin(7);
    ADD("echo", kaon_string("an argument"));
    ADD("twice", kaon_string("built "));
    batch_add(index_of("big"), NULL, 0);
    ADD("through", kaon_string("the host"));
    ADD("twice", kaon_string("again "));
    ADD("through", kaon_string("the host once more"));
    ADD("greedy", kaon_i32(7));
    batch_run(KAON_FRAME_RESULT);
    assert_string_equal(result_of(0).span.data, "an argument");
    assert_string_equal(result_of(1).span.data, "built built ");
    assert_string_equal(result_of(2).span.data, "not of the exchange");
    assert_string_equal(result_of(3).span.data, "the host");
    assert_string_equal(result_of(4).span.data, "again again ");
    assert_string_equal(result_of(5).span.data, "the host once more");
    assert_int_equal(result_of(6).i32, 7);
}

static void a_call_that_fails_does_not_stop_it(void **state)
{
    (void)state;
    guest_begin();
    batch_begin(4);
    ADD("fail_with", kaon_i32(-5), kaon_string("no such thing"));
    ADD("add", kaon_i32(1), kaon_i32(2));
    batch_add(0xffff, NULL, 0);
    ADD("echo", kaon_string("the end"));
    batch_run(KAON_FRAME_RESULT);
    assert_string_equal(answer_of(0, KAON_FRAME_ERROR, -5).span.data,
                        "no such thing");
    assert_int_equal(result_of(1).i32, 3);
    answer_of(2, KAON_FRAME_REFUSED, KAON_REFUSED_UNKNOWN);
    assert_string_equal(result_of(3).span.data, "the end");
    assert_int_equal(exits, 1);
}

static void an_abort_ends_it_at_once(void **state)
{
    (void)state;
    guest_begin();
    batch_begin(3);
    ADD("add", kaon_i32(1), kaon_i32(2));
    ADD("abort_with", kaon_i32(9), kaon_string("enough"));
    ADD("add", kaon_i32(3), kaon_i32(4));
    batch_run(KAON_FRAME_ABORT);
    assert_int_equal(batch.frame.code, 9);
    assert_int_equal(result_of(0).i32, 3);
    answer_of(1, KAON_FRAME_CALL, 0);
    answer_of(2, KAON_FRAME_CALL, 0);
}

static void a_start_that_fails_runs_none(void **state)
{
    (void)state;
    guest_begin();
    batch_begin(1);
    ADD("add", kaon_i32(1), kaon_i32(2));
    kaon__exchange.life = KAON__STARTING;
    batch_run(KAON_FRAME_ABORT);
    answer_of(0, KAON_FRAME_CALL, 0);
    assert_int_equal(restarts, 0);
}

static void an_empty_batch_leaves(void **state)
{
    (void)state;
    guest_begin();
    batch_begin(0);
    batch_run(KAON_FRAME_RESULT);
    assert_int_equal(exits, 1);
    assert_int_equal(restarts, 0);
}

static void calls_by_name_may_be_in_it(void **state)
{
    const struct kaon_value args[] = { kaon_string("add"), kaon_i32(1),
                                       kaon_i32(2) };

    (void)state;
    guest_begin();
    batch_begin(2);
    batch_add(KAON_FUNCTION_BY_NAME, args, 3);
    batch_add(KAON_FUNCTION_BY_NAME, args, 2);
    batch_run(KAON_FRAME_RESULT);
    assert_int_equal(result_of(0).i32, 3);
    answer_of(1, KAON_FRAME_REFUSED, KAON_REFUSED_ARGUMENTS);
}

/* A result without room is refused, those before and after it are there. */
static void results_share_the_exchange(void **state)
{
    char *text = malloc(100001);

    (void)state;
    guest_begin();
    memset(text, 'r', 100000);
    text[100000] = '\0';
    big_result = text;
    batch_begin(5);
    ADD("add", kaon_i32(1), kaon_i32(2));
    for (int i = 0; i < 3; i++)
        batch_add(index_of("big"), NULL, 0);
    ADD("echo", kaon_string("still here"));
    batch_run(KAON_FRAME_RESULT);
    assert_int_equal(result_of(0).i32, 3);
    for (uint32_t i = 1; i < 3; i++) {
        assert_int_equal(result_of(i).span.size, 100000);
        assert_memory_equal(result_of(i).span.data, text, 100001);
    }
    assert_non_null(strstr(
        answer_of(3, KAON_FRAME_REFUSED, KAON_REFUSED_TOO_LARGE).span.data,
        "raise exchange_bytes"));
    assert_string_equal(result_of(4).span.data, "still here");
    free(text);
}

static void take_all_and_fail(void)
{
    while (kaon_reserve(64))
        ;
    while (kaon_reserve(16))
        ;
    kaon_fail(3, "there was no room for this");
}

/* The text of a failure overwrites what its own call had, and no more. */
static void the_words_of_a_failure_leave_results_alone(void **state)
{
    (void)state;
    guest_begin();
    body = take_all_and_fail;
    batch_begin(4);
    ADD("twice", kaon_string("first"));
    batch_add(index_of("run_body"), NULL, 0);
    ADD("twice", kaon_string("second"));
    batch_add(index_of("run_body"), NULL, 0);
    batch_run(KAON_FRAME_RESULT);
    assert_string_equal(result_of(0).span.data, "firstfirst");
    assert_string_equal(answer_of(1, KAON_FRAME_ERROR, 3).span.data,
                        "there was no room for this");
    assert_string_equal(result_of(2).span.data, "secondsecond");
    assert_string_equal(answer_of(3, KAON_FRAME_ERROR, 3).span.data,
                        "there was no room for this");
}

/* Full to the last byte: what there is no room for at all goes without. */
static void where_nothing_fits_a_code_goes_alone(void **state)
{
    char *text = malloc(AREA_SIZE);

    (void)state;
    guest_begin();
    memset(text, 'r', AREA_SIZE);
    batch_begin(3);
    ADD("fail_with", kaon_i32(77), kaon_string("words"));
    text[KAON_MAILBOX_SIZE - batch.frame.free_page - 17] = '\0';
    ADD("echo", kaon_string(text));
    memset(text, 'r', AREA_SIZE);
    text[AREA_SIZE - 17] = '\0';
    ADD("echo", kaon_string(text));
    assert_int_equal(batch.frame.free_page, KAON_MAILBOX_SIZE);
    assert_int_equal(batch.frame.free_area, KAON_MAILBOX_SIZE + AREA_SIZE);
    batch_run(KAON_FRAME_RESULT);
    assert_int_equal(answer_of(0, KAON_FRAME_ERROR, 77).type, KAON_TYPE_VOID);
    for (uint32_t i = 1; i < 3; i++)
        assert_int_equal(
            answer_of(i, KAON_FRAME_REFUSED, KAON_REFUSED_TOO_LARGE).type,
            KAON_TYPE_VOID);
    free(text);
}

/* Numbers cost a slot each, whatever the calls did to get them. */
static void numbers_leave_nothing_behind(void **state)
{
    (void)state;
    guest_begin();
    batch_begin(60);
    for (int32_t i = 0; i < 60; i++)
        ADD("greedy", kaon_i32(i));
    assert_in_range(batch.frame.free_page, 0, 3200);
    batch_run(KAON_FRAME_RESULT);
    for (int32_t i = 0; i < 60; i++)
        assert_int_equal(result_of((uint32_t)i).i32, i);
    assert_int_equal(host_calls, 120);
}

/* Posted calls */

static void post_three(void)
{
    char text[8] = "one";

    assert_int_equal(note(text), KAON_HOST_OK);
    strcpy(text, "two");
    assert_int_equal(note(text), KAON_HOST_OK);
    memset(text, 'x', 7);
    assert_int_equal(count_up(0), KAON_HOST_OK);
    assert_int_equal(exits, 0);
    assert_int_equal(mailbox->posted.count, 3);
}

static void posted_calls_run_at_the_next_exit(void **state)
{
    (void)state;
    guest_begin();
    run(post_three);
    assert_string_equal(journal, "note(one) note(two) ");
    assert_int_equal(counted, 1);
    assert_int_equal(exits, 1);
    assert_int_equal(host_calls, 0);
    assert_int_equal(posted_calls, 3);
}

static void mix(void)
{
    const char *back = "";

    note("a");
    assert_int_equal(HostEcho(&back, "b"), KAON_HOST_OK);
    note(back);
    note("c");
    assert_int_equal(HostEcho(&back, "d"), KAON_HOST_OK);
    assert_string_equal(back, "d");
    note("e");
}

static void they_keep_their_order_with_other_host_calls(void **state)
{
    (void)state;
    guest_begin();
    run(mix);
    assert_string_equal(
        journal, "note(a) HostEcho(b) note(b) note(c) HostEcho(d) note(e) ");
    assert_int_equal(exits, 3);
}

static void post_many(void)
{
    for (int32_t i = 0; i < 10000; i++)
        assert_int_equal(count_up(i), KAON_HOST_OK);
}

static void a_full_queue_makes_an_exit(void **state)
{
    (void)state;
    guest_begin();
    run(post_many);
    assert_int_equal(counted, 10000);
    /* 48 bytes each in 2 KiB, and one more that is made at once. */
    assert_in_range(exits, 2, 10000 / 40);
    assert_int_equal(posted_calls + host_calls, 10000);
}

static void fill_the_page_and_post(void)
{
    while (kaon_reserve(1000) < (void *)(exchange + KAON_MAILBOX_SIZE))
        ;
    for (int32_t i = 0; i < 1000; i++)
        assert_int_equal(count_up(i), KAON_HOST_OK);
}

static void without_room_in_the_page_it_is_in_the_area(void **state)
{
    (void)state;
    guest_begin();
    run(fill_the_page_and_post);
    assert_int_equal(counted, 1000);
    assert_in_range(exits, 1, 1000 / KAON_POSTED_MAX + 1);
}

static void fill_all_and_post(void)
{
    while (kaon_reserve(1000))
        ;
    for (int32_t i = 0; i < 5; i++)
        assert_int_equal(count_up(i), KAON_HOST_OK);
}

static void without_any_room_each_is_made_at_once(void **state)
{
    (void)state;
    guest_begin();
    run(fill_all_and_post);
    assert_int_equal(counted, 5);
    assert_int_equal(host_calls, 5);
}

static void post_large(void)
{
    static char text[AREA_SIZE + 1];

    memset(text, 't', 60000);
    note("before");
    assert_int_equal(note(text), KAON_HOST_OK);
    note("after");
    memset(text, 't', AREA_SIZE);
    assert_int_equal(note(text), KAON_HOST_REFUSED);
    assert_int_equal(kaon_host_error().code, KAON_REFUSED_TOO_LARGE);
}

static void one_that_the_queue_cannot_hold_is_made_at_once(void **state)
{
    (void)state;
    guest_begin();
    run(post_large);
    assert_string_equal(
        journal, "note(before) note(tttttttttttttttttttttttttttttttttttttttt) "
                 "note(after) ");
}

static void post_and_fail(void)
{
    note("first");
    kaon_fail(1, "failed");
}

static void post_and_abort_without_room(void)
{
    note("first");
    take_all_and_fail();
}

static void they_run_before_a_failure_is_told(void **state)
{
    struct kaon_value text;

    (void)state;
    guest_begin();
    body = post_and_fail;
    assert_int_equal(enter(index_of("run_body"), NULL, 0, &text).kind,
                     KAON_FRAME_ERROR);
    assert_string_equal(journal, "note(first) ");
    assert_string_equal(text.span.data, "failed");

    guest_begin();
    body = post_and_abort_without_room;
    assert_int_equal(enter(index_of("run_body"), NULL, 0, &text).kind,
                     KAON_FRAME_ERROR);
    assert_string_equal(journal, "note(first) ");
    assert_string_equal(text.span.data, "there was no room for this");
}

static void a_batch_posts_as_one_call_does(void **state)
{
    (void)state;
    guest_begin();
    batch_begin(42);
    ADD("twice", kaon_string("ab"));
    for (int32_t i = 0; i < 40; i++)
        ADD("post_and_add", kaon_i32(i));
    ADD("twice", kaon_string("cd"));
    batch_run(KAON_FRAME_RESULT);
    assert_int_equal(counted, 40);
    assert_string_equal(result_of(0).span.data, "abab");
    assert_string_equal(result_of(41).span.data, "cdcd");
    assert_in_range(exits, 1, 5);
}

static void log_and_print(void)
{
    char *memory;

    assert_int_equal(kaon_log("one"), 0);
    assert_int_equal(kaon_logf("%s %d", "two", 2), 0);
    assert_int_equal(kaon_print("three"), 5);
    assert_int_equal(kaon_logf("four%300s", "."), 0);
    memory = kaon_reserve(1200);
    memset(memory, 0xff, 1200);
    assert_int_equal(kaon_logf("five%2000s", "."), 0);
    assert_int_equal(kaon_logf("six%*s", AREA_SIZE, "."), -1);
    for (int i = 0; i < 1200; i++)
        assert_int_equal((unsigned char)memory[i], 0xff);
}

static void logging_is_printing_later(void **state)
{
    (void)state;
    guest_begin();
    run(log_and_print);
    assert_string_equal(journal,
                        "HostPrint(one) HostPrint(two 2) HostPrint(three) "
                        "HostPrint(four                                    ) "
                        "HostPrint(five                                    ) ");
    assert_int_equal(posted_calls + host_calls, 5);
    assert_in_range(exits, 2, 3);
}

static void log_long_first(void)
{
    unsigned char *memory;

    assert_int_equal(kaon_logf("one%500s", "."), 0);
    memory = kaon_reserve(1500);
    memset(memory, 0xff, 1500);
}

/* The queue has its place before the text has, which is free again. */
static void a_long_text_may_be_the_first(void **state)
{
    (void)state;
    guest_begin();
    run(log_long_first);
    assert_string_equal(journal,
                        "HostPrint(one                                     ) ");
}

/* clang-format off */
TESTS(
    TEST(its_calls_run_in_their_order_and_leave_once),
    TEST(all_results_stay_until_it_ends),
    TEST(a_call_that_fails_does_not_stop_it),
    TEST(an_abort_ends_it_at_once),
    TEST(a_start_that_fails_runs_none),
    TEST(an_empty_batch_leaves),
    TEST(calls_by_name_may_be_in_it),
    TEST(results_share_the_exchange),
    TEST(the_words_of_a_failure_leave_results_alone),
    TEST(where_nothing_fits_a_code_goes_alone),
    TEST(numbers_leave_nothing_behind),
    TEST(posted_calls_run_at_the_next_exit),
    TEST(they_keep_their_order_with_other_host_calls),
    TEST(a_full_queue_makes_an_exit),
    TEST(without_room_in_the_page_it_is_in_the_area),
    TEST(without_any_room_each_is_made_at_once),
    TEST(one_that_the_queue_cannot_hold_is_made_at_once),
    TEST(they_run_before_a_failure_is_told),
    TEST(a_batch_posts_as_one_call_does),
    TEST(logging_is_printing_later),
    TEST(a_long_text_may_be_the_first))

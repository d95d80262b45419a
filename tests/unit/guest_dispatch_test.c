/* SPDX-License-Identifier: Apache-2.0 */
/* Calls into the guest library, and host calls out of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kaon/guest.h>

#include "guest_host.h"
#include "support/step.h"

/* The guest's functions */

static int32_t add(int32_t a, int32_t b)
{
    return a + b;
}
KAON_EXPORT(add, i32, i32, i32);

static void nothing(void)
{
}
KAON_EXPORT(nothing, void);

#define ECHO(word, type)            \
    static type echo_##word(type x) \
    {                               \
        return x;                   \
    }                               \
    KAON_EXPORT(echo_##word, word, word)
ECHO(i32, int32_t);
ECHO(u32, uint32_t);
ECHO(i64, int64_t);
ECHO(u64, uint64_t);
ECHO(f32, float);
ECHO(f64, double);
ECHO(string, const char *);
ECHO(bytes, struct kaon_span);

static bool negate(bool x)
{
    return !x;
}
KAON_EXPORT_AS("not", negate, bool, bool);

static uint64_t weigh(int32_t a, uint32_t b, int64_t c, uint64_t d, float e,
                      double f, bool g, const char *h, struct kaon_span i,
                      int32_t j, int32_t k, int32_t l, int32_t m, int32_t n,
                      int32_t o, int32_t p)
{
    return (uint64_t)a + b * 2 + (uint64_t)c * 3 + d * 4 + (uint64_t)e * 5 +
           (uint64_t)f * 6 + g * 7 + strlen(h) * 8 + i.size * 9 +
           (uint64_t)(j * 10 + k * 11 + l * 12 + m * 13 + n * 14 + o * 15 +
                      p * 16);
}
KAON_EXPORT(weigh, u64, i32, u32, i64, u64, f32, f64, bool, string, bytes, i32,
            i32, i32, i32, i32, i32, i32);

static const char *big_result;

static const char *big(void)
{
    return big_result;
}
KAON_EXPORT(big, string);

/* What a call does is up to the test. */
static void (*body)(void);

static void run_body(void)
{
    body();
}
KAON_EXPORT(run_body, void);

static struct kaon_value body_value;

static const char *run_body_for_string(void)
{
    body();
    return body_value.span.data;
}
KAON_EXPORT(run_body_for_string, string);

KAON_IMPORT(HostAdd, i32, i32, i32);
KAON_IMPORT(HostEcho, string, string);
KAON_IMPORT(HostBytes, bytes, bytes, bool);
KAON_IMPORT(HostNothing, void);

static bool fallback(const char *name, const struct kaon_value *args,
                     uint32_t count, struct kaon_value *result)
{
    if (strcmp(name, "fallen") != 0)
        return false;
    *result = kaon_u32(count ? args[0].u32 : 0);
    return true;
}
KAON_FALLBACK(fallback);

static int constructed, initialised;
static void (*init_body)(void);

/* In place of the library's, which would run this program's own. */
void kaon__constructors_run(void)
{
    constructed++;
}

void kaon_guest_init(void)
{
    initialised++;
    if (init_body)
        init_body();
}

static void guest_begin(void)
{
    guest_host_begin();
    constructed = initialised = 0;
    init_body = NULL;
}

static struct kaon_frame call_by_name(const char *name,
                                      const struct kaon_value *args,
                                      uint32_t count, struct kaon_value *result)
{
    struct kaon_value values[KAON_PARAMS_MAX + 1] = { kaon_string(name) };

    memcpy(values + 1, args, count * sizeof *args);
    return enter(KAON_FUNCTION_BY_NAME, values, count + 1, result);
}

static void run(void (*function)(void))
{
    body = function;
    call("run_body", NULL, 0);
}

/* Runs a body that must end the call with this kind of frame. */
static struct kaon_frame run_to(uint32_t kind, void (*function)(void),
                                struct kaon_value *text)
{
    struct kaon_frame frame;

    body = function;
    frame = enter(index_of("run_body"), NULL, 0, text);
    assert_int_equal(frame.kind, kind);
    return frame;
}

/* Calls */

static void each_type_goes_in_and_out(void **state)
{
    (void)state;
    guest_begin();
    assert_int_equal(CALL("echo_i32", kaon_i32(INT32_MIN)).i32, INT32_MIN);
    assert_int_equal(CALL("echo_u32", kaon_u32(UINT32_MAX)).u32, UINT32_MAX);
    assert_true(CALL("echo_i64", kaon_i64(INT64_MIN)).i64 == INT64_MIN);
    assert_true(CALL("echo_u64", kaon_u64(UINT64_MAX)).u64 == UINT64_MAX);
    assert_int_equal(CALL("echo_f32", kaon_f32(-0.0f)).u32, 0x80000000);
    assert_true(CALL("echo_f64", kaon_f64(-0.0)).u64 == UINT64_C(1) << 63);
    assert_true(CALL("not", kaon_bool(false)).boolean);
    assert_false(CALL("not", kaon_bool(true)).boolean);
    assert_string_equal(CALL("echo_string", kaon_string("x")).span.data, "x");
    assert_int_equal(CALL("echo_bytes", kaon_bytes("\0\1", 2)).span.size, 2);
    assert_int_equal(CALL("echo_bytes", kaon_bytes("", 0)).span.size, 0);
    assert_int_equal(CALL("add", kaon_i32(40), kaon_i32(2)).i32, 42);
    assert_int_equal(call("nothing", NULL, 0).type, KAON_TYPE_VOID);
}

static void sixteen_parameters_arrive_in_order(void **state)
{
    struct kaon_value result;

    (void)state;
    guest_begin();
    result = CALL("weigh", kaon_i32(1), kaon_u32(2), kaon_i64(3), kaon_u64(4),
                  kaon_f32(5), kaon_f64(6), kaon_bool(true),
                  kaon_string("eight..."), kaon_bytes("nine.....", 9),
                  kaon_i32(10), kaon_i32(11), kaon_i32(12), kaon_i32(13),
                  kaon_i32(14), kaon_i32(15), kaon_i32(16));
    /* The sum of squares, but for the bool: 1 * 7. */
    assert_int_equal(result.u64, 1496 - 49 + 7);
}

static void the_table_says_the_types(void **state)
{
    const struct kaon__record *record =
        &__start_kaon_exports[index_of("weigh")];
    static const uint8_t types[] = {
        KAON_TYPE_I32,   KAON_TYPE_U32, KAON_TYPE_I64,  KAON_TYPE_U64,
        KAON_TYPE_F32,   KAON_TYPE_F64, KAON_TYPE_BOOL, KAON_TYPE_STRING,
        KAON_TYPE_BYTES, KAON_TYPE_I32, KAON_TYPE_I32,  KAON_TYPE_I32,
        KAON_TYPE_I32,   KAON_TYPE_I32, KAON_TYPE_I32,  KAON_TYPE_I32,
    };

    (void)state;
    assert_int_equal(record->count, 16);
    assert_int_equal(record->result, KAON_TYPE_U64);
    assert_memory_equal(record->params, types, sizeof types);
    record = &__start_kaon_exports[index_of("nothing")];
    assert_int_equal(record->count, 0);
    assert_int_equal(record->result, KAON_TYPE_VOID);
}

static void arguments_given_back_are_not_copied(void **state)
{
    static char large[AREA_SIZE - 4096];
    struct kaon_value result;

    (void)state;
    guest_begin();
    memset(large, 'l', sizeof large);
    result = CALL("echo_bytes", kaon_bytes(large, sizeof large));
    assert_int_equal(result.span.size, sizeof large);
    assert_ptr_equal(result.span.data, wire.area + 16);
    result = CALL("echo_string", kaon_string("small"));
    assert_ptr_equal(result.span.data, exchange + KAON_MAILBOX_FREE + 16);
}

static void a_result_that_does_not_fit_is_refused(void **state)
{
    static char large[AREA_SIZE + 1];
    struct kaon_value result;
    struct kaon_frame frame;

    (void)state;
    guest_begin();
    memset(large, 'l', sizeof large - 1);
    big_result = large;
    frame = enter(index_of("big"), NULL, 0, &result);
    assert_int_equal(frame.kind, KAON_FRAME_REFUSED);
    assert_int_equal(frame.code, KAON_REFUSED_TOO_LARGE);
    assert_non_null(strstr(result.span.data, "the exchange has 262144: raise "
                                             "exchange_bytes"));
    big_result = NULL;
    assert_int_equal(call("big", NULL, 0).span.size, 0);
}

static void an_unknown_index_is_refused(void **state)
{
    struct kaon_value result;
    struct kaon_frame frame;

    (void)state;
    guest_begin();
    frame = enter(12345, NULL, 0, &result);
    assert_int_equal(frame.kind, KAON_FRAME_REFUSED);
    assert_int_equal(frame.code, KAON_REFUSED_UNKNOWN);
    frame = enter(index_of("add"), NULL, 0, &result);
    assert_int_equal(frame.kind, KAON_FRAME_ABORT);
}

/* The start */

static void the_guest_starts_once(void **state)
{
    struct kaon_value result;
    struct kaon_frame frame;

    (void)state;
    guest_begin();
    frame = enter(KAON_FUNCTION_INIT, NULL, 0, &result);
    assert_int_equal(frame.kind, KAON_FRAME_RESULT);
    assert_int_equal(frame.count, 0);
    call("nothing", NULL, 0);
    enter(KAON_FUNCTION_INIT, NULL, 0, &result);
    assert_int_equal(constructed, 1);
    assert_int_equal(initialised, 1);
}

static void another_version_is_named_and_refused(void **state)
{
    struct kaon_value text;
    struct kaon_frame frame;

    (void)state;
    guest_begin();
    mailbox->abi_version = 77;
    frame = enter(KAON_FUNCTION_INIT, NULL, 0, &text);
    assert_int_equal(frame.kind, KAON_FRAME_ABORT);
    assert_string_equal(text.span.data,
                        "the guest was built for version 1 of the ABI, the "
                        "host speaks version 77");
    assert_int_equal(constructed, 0);
}

static void fail_five(void)
{
    kaon_fail(5, "five");
}

static void a_start_that_fails_is_not_repeated(void **state)
{
    struct kaon_value text;
    struct kaon_frame frame;

    (void)state;
    guest_begin();
    init_body = fail_five;
    frame = enter(index_of("nothing"), NULL, 0, &text);
    assert_int_equal(frame.kind, KAON_FRAME_ABORT);
    assert_int_equal(frame.code, 5);
    frame = enter(index_of("nothing"), NULL, 0, &text);
    assert_int_equal(frame.kind, KAON_FRAME_ABORT);
    assert_non_null(strstr(text.span.data, "did not finish"));
    assert_int_equal(initialised, 1);
}

/* Errors */

static void a_failed_call_says_code_and_text(void **state)
{
    struct kaon_value text;

    (void)state;
    guest_begin();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_to(KAON_FRAME_ERROR, fail_five, &text).code, 5);
        assert_string_equal(text.span.data, "five");
        assert_int_equal(CALL("add", kaon_i32(1), kaon_i32(2)).i32, 3);
    }
}

static void abort_without_text(void)
{
    kaon_abort(-1, NULL);
}

static char *long_text;

static void abort_at_length(void)
{
    kaon_abort(25, long_text);
}

static void an_abort_says_code_and_text(void **state)
{
    struct kaon_value text;

    (void)state;
    guest_begin();
    assert_int_equal(run_to(KAON_FRAME_ABORT, abort_without_text, &text).code,
                     -1);
    assert_string_equal(text.span.data, "");
}

static void a_long_text_is_cut_between_characters(void **state)
{
    struct kaon_value text;

    (void)state;
    guest_begin();
    long_text = malloc(300001);
    memset(long_text, 'x', 300000);
    long_text[300000] = 0;
    assert_int_equal(run_to(KAON_FRAME_ABORT, abort_at_length, &text).code, 25);
    assert_int_equal(text.span.size, 65536);
    /* A character of three bytes across the limit. */
    memcpy(long_text + 65534, "\xe2\x82\xac", 3);
    run_to(KAON_FRAME_ABORT, abort_at_length, &text);
    assert_int_equal(text.span.size, 65534);
    free(long_text);
}

static void take_the_exchange_and_abort(void)
{
    while (kaon_reserve(4096))
        ;
    while (kaon_reserve(16))
        ;
    kaon_abort(9, "heard all the same");
}

static void without_room_a_text_takes_the_place_of_the_rest(void **state)
{
    struct kaon_value text;
    struct kaon_frame frame;

    (void)state;
    guest_begin();
    frame = run_to(KAON_FRAME_ABORT, take_the_exchange_and_abort, &text);
    assert_int_equal(frame.code, 9);
    assert_string_equal(text.span.data, "heard all the same");
}

static void fail_with(const char *text)
{
    kaon_fail(1, text);
}
KAON_EXPORT(fail_with, void, string);

/* Texts from the exchange, which they leave no room in. */
static void an_argument_may_be_the_text(void **state)
{
    static const size_t sizes[] = { 3822,  3823,  3824,  3825,
                                    65535, 65536, 65537, AREA_SIZE - 17 };

    (void)state;
    guest_begin();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kaon_value argument, text;
        char *data = malloc(sizes[i] + 1);

        memset(data, 'a', sizes[i]);
        data[0] = 'f';
        data[sizes[i]] = 0;
        argument = kaon_string(data);
        assert_int_equal(enter(index_of("fail_with"), &argument, 1, &text).kind,
                         KAON_FRAME_ERROR);
        assert_int_equal(text.span.size, sizes[i] < 65536 ? sizes[i] : 65536);
        assert_memory_equal(text.span.data, data, text.span.size);
        free(data);
    }
}

/* Host calls */

static void host_adds(uint32_t function, const struct kaon_value *args,
                      uint32_t count, struct answer *answer)
{
    assert_string_equal(__start_kaon_imports[function].name, "HostAdd");
    assert_int_equal(count, 2);
    answer->value = kaon_i32(args[0].i32 + args[1].i32);
}

static void add_through_the_host(void)
{
    int32_t sum = 0;

    assert_int_equal(HostAdd(&sum, 20, 22), KAON_HOST_OK);
    assert_int_equal(sum, 42);
    assert_int_equal(HostAdd(NULL, 1, 1), KAON_HOST_OK);
    assert_int_equal(kaon_host_error().code, 0);
    assert_string_equal(kaon_host_error().text, "");
}

static void a_host_function_returns_its_result(void **state)
{
    (void)state;
    guest_begin();
    host = host_adds;
    run(add_through_the_host);
    assert_int_equal(host_calls, 2);
}

static void host_fails(uint32_t function, const struct kaon_value *args,
                       uint32_t count, struct answer *answer)
{
    (void)function;
    (void)args;
    (void)count;
    answer->kind = KAON_FRAME_HOST_ERROR;
    answer->code = -7;
    answer->value = kaon_string("no such thing");
}

static void survive_failures(void)
{
    for (int i = 0; i < 1000; i++) {
        int32_t sum = 99;

        assert_int_equal(HostAdd(&sum, 1, 2), KAON_HOST_FAILED);
        assert_int_equal(sum, 99);
        assert_int_equal(kaon_host_error().code, -7);
        assert_string_equal(kaon_host_error().text, "no such thing");
        assert_int_equal(HostNothing(), KAON_HOST_FAILED);
    }
}

static void a_failing_host_function_is_a_value(void **state)
{
    (void)state;
    guest_begin();
    host = host_fails;
    run(survive_failures);
}

static void host_refuses(uint32_t function, const struct kaon_value *args,
                         uint32_t count, struct answer *answer)
{
    assert_int_equal(function, KAON_FUNCTION_BY_NAME);
    assert_int_equal(count, 3);
    assert_string_equal(args[0].span.data, "HostMissing");
    answer->kind = KAON_FRAME_HOST_REFUSED;
    answer->code = KAON_REFUSED_UNKNOWN;
}

static void call_what_is_missing(void)
{
    struct kaon_value result = kaon_i32(1);

    assert_int_equal(kaon_host_call("HostMissing", &result,
                                    KAON_ARGS(kaon_i32(1), kaon_bool(true))),
                     KAON_HOST_REFUSED);
    assert_int_equal(result.i32, 1);
    assert_int_equal(kaon_host_error().code, KAON_REFUSED_UNKNOWN);
    assert_string_equal(kaon_host_error().text, "");
}

static void a_call_by_name_may_be_refused(void **state)
{
    (void)state;
    guest_begin();
    host = host_refuses;
    run(call_what_is_missing);
    assert_int_equal(host_calls, 1);
}

static void send_what_cannot_be_sent(void)
{
    static char large[AREA_SIZE + 1];
    struct kaon_value args[KAON_PARAMS_MAX + 1];
    const char *back;

    memset(large, 'l', sizeof large - 1);
    assert_int_equal(HostEcho(&back, large), KAON_HOST_REFUSED);
    assert_int_equal(kaon_host_error().code, KAON_REFUSED_TOO_LARGE);
    assert_non_null(strstr(kaon_host_error().text, "raise exchange_bytes"));
    for (uint32_t i = 0; i <= KAON_PARAMS_MAX; i++)
        args[i] = kaon_i32(0);
    assert_int_equal(kaon_host_call("x", NULL, args, KAON_PARAMS_MAX + 1),
                     KAON_HOST_REFUSED);
    assert_int_equal(kaon_host_error().code, KAON_REFUSED_ARGUMENTS);
    args[3] = kaon_void();
    assert_int_equal(kaon_host_call("x", NULL, args, KAON_PARAMS_MAX),
                     KAON_HOST_REFUSED);
    assert_int_equal(kaon_host_error().code, KAON_REFUSED_ARGUMENTS);
}

static void what_cannot_be_sent_does_not_leave(void **state)
{
    (void)state;
    guest_begin();
    run(send_what_cannot_be_sent);
    assert_int_equal(host_calls, 0);
}

static void host_echoes(uint32_t function, const struct kaon_value *args,
                        uint32_t count, struct answer *answer)
{
    static char text[AREA_SIZE];

    (void)function;
    (void)count;
    /* From memory of the host's own, so that it is copied into the exchange. */
    memcpy(text, args[0].span.data, args[0].span.size + 1);
    answer->value = args[0].type == KAON_TYPE_STRING
                        ? kaon_string(text)
                        : kaon_bytes(text, args[0].span.size);
}

static const char *kept; /* the call's own argument */

static const char *keep_argument(const char *text)
{
    const char *back = NULL;

    kept = text;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(HostEcho(&back, "something else"), KAON_HOST_OK);
        assert_string_equal(back, "something else");
        assert_string_equal(kept, "the argument");
    }
    assert_int_equal(HostEcho(&back, text), KAON_HOST_OK);
    assert_string_equal(back, "the argument");
    return back;
}
KAON_EXPORT(keep_argument, string, string);

static void arguments_outlive_host_calls(void **state)
{
    (void)state;
    guest_begin();
    host = host_echoes;
    assert_string_equal(
        CALL("keep_argument", kaon_string("the argument")).span.data,
        "the argument");
}

static void chain_answers(void)
{
    const char *text = "0123456789";
    struct kaon_span bytes = { "\0bytes", 6 };

    for (int i = 0; i < 20000; i++) {
        assert_int_equal(HostEcho(&text, text), KAON_HOST_OK);
        assert_string_equal(text, "0123456789");
    }
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(HostBytes(&bytes, bytes, true), KAON_HOST_OK);
        assert_int_equal(bytes.size, 6);
        assert_memory_equal(bytes.data, "\0bytes", 6);
    }
    body_value = kaon_string(text);
}

/* Far more than would fit the exchange side by side. */
static void each_answer_may_be_the_next_argument(void **state)
{
    (void)state;
    guest_begin();
    host = host_echoes;
    run(chain_answers);
    assert_int_equal(host_calls, 40000);
}

static void chain_large_parts(void)
{
    static char large[AREA_SIZE / 3];
    const char *text = large;

    memset(large, 'l', sizeof large - 1);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(HostEcho(&text, text), KAON_HOST_OK);
        assert_int_equal(strlen(text), sizeof large - 1 - (size_t)i);
        text++; /* part of the answer, with its end */
    }
    body_value = kaon_string(text);
}

static void part_of_a_large_answer_may_be_the_next_argument(void **state)
{
    struct kaon_value result;

    (void)state;
    guest_begin();
    host = host_echoes;
    body = chain_large_parts;
    result = call("run_body_for_string", NULL, 0);
    assert_int_equal(result.span.size, AREA_SIZE / 3 - 101);
    assert_int_equal(((const char *)result.span.data)[0], 'l');
}

static void host_of_another_type(uint32_t function,
                                 const struct kaon_value *args, uint32_t count,
                                 struct answer *answer)
{
    (void)function;
    (void)args;
    (void)count;
    answer->value = kaon_u32(1);
}

static void call_for_nothing(void)
{
    HostNothing();
}

static void an_answer_that_is_none_aborts(void **state)
{
    struct kaon_value text;

    (void)state;
    guest_begin();
    host = host_of_another_type;
    run_to(KAON_FRAME_ABORT, call_for_nothing, &text);
    assert_non_null(strstr(text.span.data, "not of the type"));
    host_answers_badly = true;
    run_to(KAON_FRAME_ABORT, call_for_nothing, &text);
    assert_non_null(strstr(text.span.data, "malformed"));
}

/* Memory of the exchange */

static void reserve_and_fill(void)
{
    char *text = kaon_reserve(10000);

    assert_non_null(text);
    assert_int_equal((uintptr_t)text % 16, 0);
    memset(text, 'r', 9999);
    text[9999] = 0;
    body_value = kaon_string(text);
}

static void what_is_built_in_place_is_not_copied(void **state)
{
    struct kaon_value result;

    (void)state;
    guest_begin();
    body = reserve_and_fill;
    result = call("run_body_for_string", NULL, 0);
    assert_int_equal(result.span.size, 9999);
    assert_ptr_equal(result.span.data, wire.area);
}

static void reserve_beside_an_answer(void)
{
    const char *first, *second;
    char *reserved;

    assert_int_equal(HostEcho(&first, "first"), KAON_HOST_OK);
    reserved = kaon_reserve(100);
    memset(reserved, 'r', 100);
    assert_int_equal(HostEcho(&second, "second"), KAON_HOST_OK);
    assert_string_equal(first, "first");
    assert_string_equal(second, "second");
    assert_int_equal(reserved[0], 'r');
    assert_int_equal(reserved[99], 'r');
    assert_null(kaon_reserve(AREA_SIZE + 1));
    assert_null(kaon_reserve(SIZE_MAX));
    assert_non_null(kaon_reserve(0));
}

static void a_reservation_stays_for_the_call(void **state)
{
    (void)state;
    guest_begin();
    host = host_echoes;
    run(reserve_beside_an_answer);
    /* And not longer: a later call has all of the exchange again. */
    body = reserve_and_fill;
    assert_ptr_equal(call("run_body_for_string", NULL, 0).span.data, wire.area);
}

/* Printing */

static char printed[70000];

static void host_prints(uint32_t function, const struct kaon_value *args,
                        uint32_t count, struct answer *answer)
{
    assert_string_equal(__start_kaon_imports[function].name, "HostPrint");
    assert_int_equal(count, 1);
    strcpy(printed, args[0].span.data);
    answer->value = kaon_i32((int32_t)args[0].span.size);
}

static void print_something(void)
{
    assert_int_equal(kaon_print("plain"), 5);
    assert_string_equal(printed, "plain");
    assert_int_equal(kaon_printf("%d %s", 7, "seven"), 7);
    assert_string_equal(printed, "7 seven");
    assert_int_equal(kaon_printf("%60000d", 1), 60000);
    assert_int_equal(strlen(printed), 60000);
    assert_int_equal(kaon_printf("%255d", 1), 255);
    assert_int_equal(kaon_printf("%256d", 1), 256);
    /* A long text takes no room once it is printed. */
    for (int i = 0; i < 100; i++)
        assert_int_equal(kaon_printf("%60000d", i), 60000);
    assert_int_equal(kaon_printf("%1000000d", 1), -1);
}

static void print_in_vain(void)
{
    assert_int_equal(kaon_print("x"), -1);
    assert_int_equal(kaon_printf("%d", 1), -1);
}

static void printing_goes_through_the_host(void **state)
{
    (void)state;
    guest_begin();
    host = host_prints;
    run(print_something);
    host = host_fails;
    run(print_in_vain);
}

/* The heap and the stack */

static void use_the_heap(void)
{
    size_t available = kaon_heap_free();
    volatile size_t absurd = SIZE_MAX / 2;
    unsigned char *a = kaon_malloc(1000);
    unsigned char *b = kaon_calloc(10, 100);
    unsigned char *c = kaon_aligned_alloc(4096, 1);

    assert_true(a > heap && a < heap + HEAP_SIZE);
    assert_int_equal(b[999], 0);
    assert_int_equal((uintptr_t)c % 4096, 0);
    a = kaon_realloc(a, 2000);
    assert_non_null(a);
    assert_true(kaon_heap_free() < available - 3000);
    assert_null(kaon_malloc(HEAP_SIZE));
    assert_null(kaon_calloc(absurd, 3));
    assert_null(kaon_realloc(a, 0));
    kaon_free(b);
    kaon_free(c);
    kaon_free(NULL);
    assert_int_equal(kaon_heap_free(), available);
}

static void free_twice(void)
{
    void *memory = kaon_malloc(10);

    kaon_free(memory);
    kaon_free(memory);
}

static void free_the_stack(void)
{
    _Alignas(16) char memory[64];
    void *volatile stack = memory;

    kaon_free(stack);
}

static void the_heap_is_where_the_mailbox_says(void **state)
{
    struct kaon_value text;

    (void)state;
    guest_begin();
    run(use_the_heap);
    run_to(KAON_FRAME_ABORT, free_twice, &text);
    assert_non_null(strstr(text.span.data, "free already"));
    run_to(KAON_FRAME_ABORT, free_the_stack, &text);
    assert_non_null(strstr(text.span.data, "not from malloc"));
}

static void look_at_the_stack(void)
{
    assert_true(kaon_stack_free() > 1000);
    assert_true(kaon_stack_free() < 1 << 20);
}

static void the_stack_left_is_known(void **state)
{
    (void)state;
    guest_begin();
    run(look_at_the_stack);
}

/* Names known at run time */

static void multiply(const struct kaon_value *args, uint32_t count,
                     struct kaon_value *result, void *user)
{
    assert_int_equal(count, 2);
    *result = kaon_i64(args[0].i64 * args[1].i64 * *(const int64_t *)user);
}

static int64_t factor = 10;

static void register_some(void)
{
    char name[] = "multiply";
    char too_long[KAON_NAME_MAX + 2];
    struct kaon_guest_signature good = KAON_SIGNATURE(i64, i64, i64);
    struct kaon_guest_signature bad = good;

    assert_int_equal(kaon_register(name, multiply, &factor, good), 0);
    name[0] = 0; /* it was copied */

    memset(too_long, 'n', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = 0;
    assert_int_equal(kaon_register(too_long, multiply, NULL, good), -1);
    assert_int_equal(kaon_register("", multiply, NULL, good), -1);
    assert_int_equal(kaon_register(NULL, multiply, NULL, good), -1);
    bad.count = KAON_PARAMS_MAX + 1;
    assert_int_equal(kaon_register("x", multiply, NULL, bad), -1);
    bad = good;
    bad.params[1] = KAON_TYPE_VOID;
    assert_int_equal(kaon_register("x", multiply, NULL, bad), -1);
    bad = good;
    bad.result = KAON_TYPE_COUNT;
    assert_int_equal(kaon_register("x", multiply, NULL, bad), -1);

    /* Over an exported function, and one that lies about its result. */
    assert_int_equal(kaon_register("add", multiply, &factor, good), 0);
    assert_int_equal(
        kaon_register("liar", multiply, &factor, KAON_SIGNATURE(i32, i64, i64)),
        0);
    for (int i = 0; i < 200; i++) {
        kaon_snprintf(too_long, sizeof too_long, "f%d", i * 7919 % 200);
        assert_int_equal(kaon_register(too_long, multiply, &factor, good), 0);
    }
}

static void take_some_back(void)
{
    struct kaon_guest_signature any = KAON_SIGNATURE(void);
    char name[8];

    assert_int_equal(kaon_register("multiply", NULL, NULL, any), 0);
    assert_int_equal(kaon_register("never there", NULL, NULL, any), 0);
    assert_int_equal(kaon_register("add", NULL, NULL, any), 0);
    assert_int_equal(kaon_register("liar", NULL, NULL, any), 0);
    for (int i = 0; i < 200; i++) {
        kaon_snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(kaon_register(name, NULL, NULL, any), 0);
    }
}

static void registered_functions_are_called_by_name(void **state)
{
    const struct kaon_value args[] = { kaon_i64(2), kaon_i64(3), kaon_i64(4) };
    const struct kaon_value numbers[] = { kaon_i32(2), kaon_i32(3) };
    struct kaon_value result;
    char name[16];

    (void)state;
    guest_begin();
    run(register_some);
    assert_int_equal(call_by_name("multiply", args, 2, &result).kind,
                     KAON_FRAME_RESULT);
    assert_int_equal(result.i64, 60);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(call_by_name(name, args, 2, &result).kind,
                         KAON_FRAME_RESULT);
    }
    assert_int_equal(call_by_name("multiply", args, 3, &result).code,
                     KAON_REFUSED_ARGUMENTS);
    assert_string_equal(result.span.data, "multiply takes 2 arguments, not 3");
    assert_int_equal(call_by_name("multiply", numbers, 2, &result).kind,
                     KAON_FRAME_REFUSED);
    assert_string_equal(result.span.data,
                        "multiply takes i64 as argument 1, not i32");
    assert_int_equal(call_by_name("liar", args, 2, &result).kind,
                     KAON_FRAME_ABORT);
    call_by_name("add", args, 2, &result);
    assert_int_equal(result.i64, 60);

    run(take_some_back);
    assert_int_equal(call_by_name("multiply", args, 2, &result).code,
                     KAON_REFUSED_UNKNOWN);
    call_by_name("add", numbers, 2, &result);
    assert_int_equal(result.i32, 5);
}

static void exported_functions_are_called_by_name(void **state)
{
    const struct kaon_value numbers[] = { kaon_i32(2), kaon_i32(3) };
    struct kaon_value result;

    (void)state;
    guest_begin();
    assert_int_equal(call_by_name("add", numbers, 2, &result).kind,
                     KAON_FRAME_RESULT);
    assert_int_equal(result.i32, 5);
    assert_int_equal(call_by_name("add", numbers, 1, &result).code,
                     KAON_REFUSED_ARGUMENTS);
}

static void other_names_go_to_the_fallback(void **state)
{
    const struct kaon_value number = kaon_u32(123);
    struct kaon_value result;
    struct kaon_frame frame;

    (void)state;
    guest_begin();
    assert_int_equal(call_by_name("fallen", &number, 1, &result).kind,
                     KAON_FRAME_RESULT);
    assert_int_equal(result.u32, 123);
    frame = call_by_name("whatever", &number, 1, &result);
    assert_int_equal(frame.kind, KAON_FRAME_REFUSED);
    assert_int_equal(frame.code, KAON_REFUSED_UNKNOWN);
    assert_string_equal(result.span.data,
                        "the guest has no function \"whatever\"");
}

/* The guest's part of a call, from its first instruction to the gate */

#define CALL_LIMIT 300

static struct kaon_frame warm_frame;

static void warm_up(void)
{
    struct kaon_value args[] = { kaon_i32(40), kaon_i32(2) }, result;

    guest_begin();
    warm_frame = (struct kaon_frame){ .kind = KAON_FRAME_CALL,
                                      .function = index_of("add") };
    for (int i = 0; i < 3; i++)
        enter(warm_frame.function, args, 2, &result);
    if (kaon_wire_put(&wire, kaon_wire_all_free(), args, 2, &warm_frame))
        abort();
    mailbox->frame = warm_frame;
}

static void dispatch(void)
{
    if (!setjmp(answered))
        kaon__dispatch(mailbox);
}

static void jump_only(void)
{
    if (!setjmp(answered))
        ((void (*)(void))KAON_GATE_LEAVE)();
}

static void a_warm_call_takes_few_instructions_of_the_guest(void **state)
{
    long steps;

    (void)state;
    if (harness_sanitized())
        harness_skip("a sanitizer's instructions are not the guest's");
    steps = step_count(warm_up, dispatch) - step_count(warm_up, jump_only);
    print_message("# %ld instructions\n", steps);
    assert_in_range(steps, 1, CALL_LIMIT);
}

/* clang-format off */
TESTS(
    TEST(each_type_goes_in_and_out),
    TEST(sixteen_parameters_arrive_in_order),
    TEST(the_table_says_the_types),
    TEST(arguments_given_back_are_not_copied),
    TEST(a_result_that_does_not_fit_is_refused),
    TEST(an_unknown_index_is_refused),
    TEST(the_guest_starts_once),
    TEST(another_version_is_named_and_refused),
    TEST(a_start_that_fails_is_not_repeated),
    TEST(a_failed_call_says_code_and_text),
    TEST(an_abort_says_code_and_text),
    TEST(a_long_text_is_cut_between_characters),
    TEST(without_room_a_text_takes_the_place_of_the_rest),
    TEST(an_argument_may_be_the_text),
    TEST(a_host_function_returns_its_result),
    TEST(a_failing_host_function_is_a_value),
    TEST(a_call_by_name_may_be_refused),
    TEST(what_cannot_be_sent_does_not_leave),
    TEST(arguments_outlive_host_calls),
    TEST(each_answer_may_be_the_next_argument),
    TEST(part_of_a_large_answer_may_be_the_next_argument),
    TEST(an_answer_that_is_none_aborts),
    TEST(what_is_built_in_place_is_not_copied),
    TEST(a_reservation_stays_for_the_call),
    TEST(printing_goes_through_the_host),
    TEST(the_heap_is_where_the_mailbox_says),
    TEST(the_stack_left_is_known),
    TEST(registered_functions_are_called_by_name),
    TEST(exported_functions_are_called_by_name),
    TEST(other_names_go_to_the_fallback),
    TEST(a_warm_call_takes_few_instructions_of_the_guest))

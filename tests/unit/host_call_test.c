/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls: what a guest may ask for, what the host function sees of it,
 * and what becomes of its answer.
 */
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One host call, and what its answer must be. */
struct request {
    uint32_t function; /* PLAY_*, or KAON_FUNCTION_BY_NAME */
    struct kaon_value args[KAON_PARAMS_MAX + 1];
    uint32_t count;
    uint32_t free_page, free_area; /* if not 0: spoils what it offers */

    uint32_t kind; /* KAON_FRAME_HOST_* */
    int32_t code;
    struct kaon_value value; /* void: none */
};

static void check_value(struct kaon_value got, struct kaon_value expected)
{
    assert_int_equal(got.type, expected.type);
    if (got.type < KAON_TYPE_STRING) {
        assert_int_equal(got.u64, expected.u64);
        return;
    }
    assert_int_equal(got.span.size, expected.span.size);
    assert_memory_equal(got.span.data, expected.span.data, got.span.size);
}

static enum kaon_status requests(struct kaon_scripted_guest *guest,
                                 struct kaon_exit *exit, void *user)
{
    const struct request *request = ((struct play *)user)->user;
    const struct kaon_frame *answer = play_frame(guest);

    if (guest->turn == 0) {
        play_host_call(guest, exit, request->function, request->args,
                       request->count);
        if (request->free_page)
            play_frame(guest)->free_page = request->free_page;
        if (request->free_area)
            play_frame(guest)->free_area = request->free_area;
        return KAON_OK;
    }
    assert_int_equal(answer->kind, request->kind);
    assert_int_equal(answer->code, request->code);
    assert_int_equal(answer->function, 0);
    if (request->value.type)
        check_value(play_received(guest, 0), request->value);
    else
        assert_int_equal(answer->count, 0);
    return play_return_void(guest, exit);
}

/* Makes the request as the guest of one call, which must then return. */
static void ask(struct play *play, const struct request *request)
{
    struct request copy = *request;

    play->user = &copy;
    play->guest = requests;
    play_call(play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
}

static void refused(struct play *play, struct request request, int32_t code,
                    const char *text)
{
    request.kind = KAON_FRAME_HOST_REFUSED;
    request.code = code;
    request.value = text ? kaon_string(text) : kaon_void();
    ask(play, &request);
}

static void a_host_function_is_called_by_its_index(void **state)
{
    struct play play = { 0 };

    (void)state;
    play_begin(&play);
    ask(&play, &(struct request){ .function = PLAY_TRIPLE,
                                  .args = { kaon_i32(-14) },
                                  .count = 1,
                                  .kind = KAON_FRAME_HOST_RESULT,
                                  .value = kaon_i32(-42) });
    ask(&play, &(struct request){ .function = PLAY_PRINT,
                                  .args = { kaon_string("Hello, host!\n") },
                                  .count = 1,
                                  .kind = KAON_FRAME_HOST_RESULT,
                                  .value = kaon_i32(13) });
    assert_string_equal(play.printed, "Hello, host!\n");
    play_end(&play);
}

static void a_host_function_is_called_by_its_name(void **state)
{
    struct play play = { 0 };

    (void)state;
    play_begin(&play);
    ask(&play,
        &(struct request){ .function = KAON_FUNCTION_BY_NAME,
                           .args = { kaon_string("triple"), kaon_i32(7) },
                           .count = 2,
                           .kind = KAON_FRAME_HOST_RESULT,
                           .value = kaon_i32(21) });
    play_end(&play);
}

static void what_the_host_does_not_have_is_an_error_value(void **state)
{
    static const char *const unknown = "the host has no such function";
    static const struct request cases[] = {
        { .function = PLAY_IMPORTS },
        { .function = KAON_FUNCTION_INIT },
        { .function = 0x7fffffff },
        { .function = KAON_FUNCTION_BY_NAME }, /* no name at all */
    };
    struct play play = { 0 };
    struct kaon_sandbox_stats stats;

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(&play, cases[i], KAON_REFUSED_UNKNOWN, unknown);
    refused(&play,
            (struct request){ .function = KAON_FUNCTION_BY_NAME,
                              .args = { kaon_string("tripl") },
                              .count = 1 },
            KAON_REFUSED_UNKNOWN, unknown);
    refused(&play,
            (struct request){ .function = KAON_FUNCTION_BY_NAME,
                              .args = { kaon_string("") },
                              .count = 1 },
            KAON_REFUSED_UNKNOWN, unknown);
    refused(&play,
            (struct request){ .function = KAON_FUNCTION_BY_NAME,
                              .args = { kaon_bytes("triple", 7) },
                              .count = 1 },
            KAON_REFUSED_UNKNOWN, unknown);
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_READY);
    kaon_sandbox_stats(play.sandbox, &stats);
    assert_int_equal(stats.host_calls, 7);
    assert_int_equal(stats.exits, 14);
    play_end(&play);
}

static void wrong_arguments_never_reach_the_host_function(void **state)
{
    struct play play = { 0 }; /* without a handler: it would fail the test */

    (void)state;
    play_begin(&play);
    refused(&play, (struct request){ .function = PLAY_HANDLE },
            KAON_REFUSED_ARGUMENTS,
            "handle takes 1 arguments, not 0: handle(bytes) -> bytes");
    refused(&play,
            (struct request){ .function = PLAY_HANDLE,
                              .args = { kaon_string("text") },
                              .count = 1 },
            KAON_REFUSED_ARGUMENTS,
            "argument 1 of handle is string, expected bytes");
    refused(&play,
            (struct request){
                .function = KAON_FUNCTION_BY_NAME,
                .args = { kaon_string("triple"), kaon_i32(1), kaon_i32(2) },
                .count = 3 },
            KAON_REFUSED_ARGUMENTS,
            "triple takes 1 arguments, not 2: triple(i32) -> i32");
    play_end(&play);
}

/* ---- Answers ----------------------------------------------------------- */

static int fails(struct kaon_host_call *call, const struct kaon_value *args,
                 struct kaon_value *result, void *user)
{
    char text[64];

    (void)user;
    *result = kaon_i32(1); /* does not matter */
    snprintf(text, sizeof text, "no key %.*s", (int)args[0].span.size,
             (const char *)args[0].span.data);
    return kaon_host_fail(call, -7, text);
}

static int fails_without_words(struct kaon_host_call *call,
                               const struct kaon_value *args,
                               struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)result;
    (void)user;
    return 12345;
}

static void a_failure_arrives_with_code_and_text(void **state)
{
    const struct request request = { .function = PLAY_HANDLE,
                                     .args = { kaon_bytes("abc", 3) },
                                     .count = 1,
                                     .kind = KAON_FRAME_HOST_ERROR,
                                     .code = -7,
                                     .value = kaon_string("no key abc") };
    struct request silent = request;
    struct play play = { .handler = fails };

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 1000; i++)
        ask(&play, &request);
    play.handler = fails_without_words;
    silent.code = -1;
    silent.value = kaon_string("");
    ask(&play, &silent);
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_READY);
    assert_int_equal(kaon_host_fail(NULL, 1, "text") == 0, 0);
    play_end(&play);
}

static int fails_at_length(struct kaon_host_call *call,
                           const struct kaon_value *args,
                           struct kaon_value *result, void *user)
{
    char text[2000];

    (void)args;
    (void)result;
    (void)user;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return kaon_host_fail(call, 1, text);
}

static void a_long_failure_is_cut(void **state)
{
    char text[KAON_OUTCOME_TEXT];
    struct play play = { .handler = fails_at_length };

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    play_begin(&play);
    ask(&play, &(struct request){ .function = PLAY_HANDLE,
                                  .args = { kaon_bytes("", 0) },
                                  .count = 1,
                                  .kind = KAON_FRAME_HOST_ERROR,
                                  .code = 1,
                                  .value = kaon_string(text) });
    play_end(&play);
}

static int returns_a_number(struct kaon_host_call *call,
                            const struct kaon_value *args,
                            struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)user;
    *result = kaon_i32(1);
    return 0;
}

static int returns_nothing(struct kaon_host_call *call,
                           const struct kaon_value *args,
                           struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)user;
    assert_int_equal(result->type, KAON_TYPE_VOID); /* preset */
    return 0;
}

static int returns_no_data(struct kaon_host_call *call,
                           const struct kaon_value *args,
                           struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)user;
    *result = kaon_bytes(NULL, 10);
    return 0;
}

/* The host program's mistake, so the host's failure, and no outcome. */
static void a_host_function_that_returns_another_type_is_told(void **state)
{
    static const struct {
        kaon_host_function function;
        const char *words;
    } cases[] = {
        { returns_a_number, "handle returned i32" },
        { returns_nothing, "handle returned void" },
        { returns_no_data, "handle returned bytes" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct request request = { .function = PLAY_HANDLE,
                                   .args = { kaon_bytes("", 0) },
                                   .count = 1 };
        struct play play = { .guest = requests,
                             .user = &request,
                             .handler = cases[i].function };

        play_begin(&play);
        play_fail(&play, KAON_EINVAL, cases[i].words, "nothing", KAON_NO_ARGS);
        assert_int_equal(kaon_sandbox_state(play.sandbox),
                         KAON_SANDBOX_POISONED);
        play_end(&play);
    }
}

/* ---- Where answers go -------------------------------------------------- */

static int returns_its_argument(struct kaon_host_call *call,
                                const struct kaon_value *args,
                                struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = args[0];
    return 0;
}

struct blob {
    unsigned char *data;
    size_t size;
};

static struct blob make_blob(size_t size)
{
    struct blob blob = { malloc(size + 1), size };

    for (size_t i = 0; i < size; i++)
        blob.data[i] = (unsigned char)(i * 7 + 3);
    return blob;
}

static void bytes_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 3000, 3808, 3809, 5000, 58000 };
    struct play play = { .handler = returns_its_argument,
                         .opts.exchange_bytes = 60 << 10 };

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct blob blob = make_blob(sizes[i]);
        struct request request = { .function = PLAY_HANDLE,
                                   .args = { kaon_bytes(blob.data, blob.size) },
                                   .count = 1,
                                   .kind = KAON_FRAME_HOST_RESULT };
        void *buffer;

        /* The guest may have to touch the area, to send so much. */
        assert_int_equal(
            kaon_sandbox_buffer(play.sandbox, &buffer, 1, &play.err), KAON_OK);
        request.value = request.args[0];
        ask(&play, &request);
        free(blob.data);
    }
    play_end(&play);
}

/* The size of the buffer that it takes is what its argument says. */
static int builds_in_place(struct kaon_host_call *call,
                           const struct kaon_value *args,
                           struct kaon_value *result, void *user)
{
    unsigned char *buffer;
    uint32_t size;

    (void)user;
    memcpy(&size, args[0].span.data, sizeof size);
    buffer = kaon_host_buffer(call, size);
    if (!buffer)
        return kaon_host_fail(call, 1, "no room");
    memset(buffer, 0xb5, size);
    *result = kaon_bytes(buffer, size);
    return 0;
}

static void a_result_may_be_built_in_place(void **state)
{
    static const uint32_t sizes[] = { 1, 100, 3700, 3800, 4096, 61424 };
    const uint32_t area = (64 << 10) - KAON_MAILBOX_SIZE;
    struct play play = { .handler = builds_in_place,
                         .opts.exchange_bytes = 60 << 10 };
    unsigned char *expected = malloc(area);

    (void)state;
    memset(expected, 0xb5, area);
    play_begin(&play);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ask(&play,
            &(struct request){ .function = PLAY_HANDLE,
                               .args = { kaon_bytes(&sizes[i], sizeof *sizes) },
                               .count = 1,
                               .kind = KAON_FRAME_HOST_RESULT,
                               .value = kaon_bytes(expected, sizes[i]) });
    for (uint32_t size = area + 1; size >= area; size += UINT32_MAX / 3)
        ask(&play,
            &(struct request){ .function = PLAY_HANDLE,
                               .args = { kaon_bytes(&size, sizeof size) },
                               .count = 1,
                               .kind = KAON_FRAME_HOST_ERROR,
                               .code = 1,
                               .value = kaon_string("no room") });
    assert_null(kaon_host_buffer(NULL, 1));
    free(expected);
    play_end(&play);
}

static int returns_much(struct kaon_host_call *call,
                        const struct kaon_value *args,
                        struct kaon_value *result, void *user)
{
    static const unsigned char much[20000];

    (void)call;
    (void)args;
    (void)user;
    *result = kaon_bytes(much, sizeof much);
    return 0;
}

static void a_result_that_does_not_fit_is_an_error_value(void **state)
{
    const struct request request = { .function = PLAY_HANDLE,
                                     .args = { kaon_bytes("", 0) },
                                     .count = 1 };
    struct request full = request;
    struct play play = { .handler = returns_much,
                         .opts.exchange_bytes = 12 << 10 };

    (void)state;
    play_begin(&play);
    refused(&play, request, KAON_REFUSED_TOO_LARGE,
            "the host's answer needs 20031 bytes, the exchange has 12288: "
            "raise exchange_bytes");
    /* A guest that leaves no room for the words gets the code alone. */
    full.free_page = KAON_MAILBOX_SIZE;
    full.free_area = 16 << 10;
    refused(&play, full, KAON_REFUSED_TOO_LARGE, NULL);
    play.handler = fails; /* nor is there any for a failure's words */
    refused(&play, full, KAON_REFUSED_TOO_LARGE, NULL);
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_READY);
    play_end(&play);
}

/* Offers that cannot be: nothing may be written outside of the exchange. */
static void a_hostile_offer_harms_nobody(void **state)
{
    static const uint32_t offers[] = {
        1,     15,    16,       128,        240,        248,        257,
        4080,  4088,  4096,     4097,       4112,       8192,       16368,
        16384, 16400, 1u << 20, 0x7ffffff0, 0x80000000, 0xfffffff0, 0xffffffff,
    };
    const size_t count = sizeof offers / sizeof *offers;
    struct play play = { .opts.exchange_bytes = 12 << 10 };

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < count * count; i++) {
        struct request request = { .function = PLAY_TRIPLE,
                                   .args = { kaon_i32(1) },
                                   .count = 1,
                                   .free_page = offers[i % count],
                                   .free_area = offers[i / count],
                                   .kind = KAON_FRAME_HOST_RESULT,
                                   .value = kaon_i32(3) };
        bool page_ok = request.free_page % 16 == 0 &&
                       request.free_page >= KAON_MAILBOX_FREE &&
                       request.free_page <= 4080;
        bool area_ok = request.free_area % 16 == 0 &&
                       request.free_area >= KAON_MAILBOX_SIZE &&
                       request.free_area <= (16 << 10) - 16;

        if (page_ok || area_ok)
            ask(&play, &request);
        else
            refused(&play, request, KAON_REFUSED_TOO_LARGE, NULL);
    }
    play_end(&play);
}

/* ---- Calls within calls ------------------------------------------------ */

static int calls_another(struct kaon_host_call *call,
                         const struct kaon_value *args,
                         struct kaon_value *result, void *user)
{
    struct play *play = user;
    struct play *inner = play->user;

    (void)call;
    (void)args;
    play_call(inner, KAON_RETURNED, "add", KAON_ARGS(kaon_i32(3), kaon_i32(4)));
    assert_int_equal(inner->out.value.i32, 12);
    *result = kaon_bytes("inner", 5);
    return 0;
}

static enum kaon_status triples_first(struct kaon_scripted_guest *guest,
                                      struct kaon_exit *exit, void *user)
{
    (void)user;
    if (guest->turn == 0)
        return play_host_call(guest, exit, PLAY_TRIPLE, KAON_ARGS(kaon_i32(4)));
    return play_return(guest, exit, play_received(guest, 0));
}

static enum kaon_status calls_out(struct kaon_scripted_guest *guest,
                                  struct kaon_exit *exit, void *user)
{
    (void)user;
    if (guest->turn == 0)
        return play_host_call(guest, exit, PLAY_HANDLE,
                              KAON_ARGS(kaon_bytes("outer", 5)));
    assert_memory_equal(play_received(guest, 0).span.data, "inner", 5);
    return play_return_void(guest, exit);
}

static void a_host_function_may_call_another_sandbox(void **state)
{
    struct play inner = { .guest = triples_first };
    struct play play = { .guest = calls_out,
                         .handler = calls_another,
                         .user = &inner };

    (void)state;
    play_begin(&inner);
    play_begin(&play);
    for (int i = 0; i < 3; i++)
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play_end(&play);
    play_end(&inner);
}

/* Sandboxes of one domain, each called by a host function of the last. */
static int calls_the_next(struct kaon_host_call *call,
                          const struct kaon_value *args,
                          struct kaon_value *result, void *user)
{
    struct play *play = user;
    struct kaon_sandbox **next = play->user;

    (void)call;
    (void)args;
    play->user = next + 1;
    if (*next) {
        struct kaon_outcome out;

        if (kaon_call(*next, &out, "nothing", KAON_NO_ARGS, NULL, &play->err))
            fail_msg("%s", play->err.text);
        assert_int_equal(out.kind, KAON_RETURNED);
    }
    *result = kaon_bytes("inner", 5);
    return 0;
}

static void sandboxes_of_one_domain_call_each_other(void **state)
{
    struct kaon_sandbox *sandboxes[5] = { 0 };
    struct play play = { .guest = calls_out,
                         .handler = calls_the_next,
                         .user = sandboxes };
    struct kaon_domain_stats stats;

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 4; i++)
        sandboxes[i] = play_sandbox(&play);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_ptr_equal(play.user, sandboxes + 5);
    assert_int_equal(kaon_domain_stats(play.domain, &stats), KAON_OK);
    assert_int_equal(stats.vcpus, 5);
    assert_int_equal(stats.sandboxes, 5);
    for (int i = 0; i < 4; i++)
        kaon_sandbox_destroy(sandboxes[i]);
    play_end(&play);
}

static int calls_its_own_sandbox(struct kaon_host_call *call,
                                 const struct kaon_value *args,
                                 struct kaon_value *result, void *user)
{
    struct play *play = user;
    void *buffer;

    (void)call;
    (void)args;
    assert_int_equal(kaon_sandbox_state(play->sandbox), KAON_SANDBOX_RUNNING);
    play_fail(play, KAON_EBUSY, "running another call", "nothing",
              KAON_NO_ARGS);
    assert_int_equal(kaon_sandbox_buffer(play->sandbox, &buffer, 1, NULL),
                     KAON_EBUSY);
    assert_int_equal(kaon_sandbox_init(play->sandbox, &play->out, NULL, NULL),
                     KAON_EBUSY);
    *result = kaon_bytes("inner", 5);
    return 0;
}

static void a_host_function_that_calls_its_own_sandbox_is_told(void **state)
{
    struct play play = { .guest = calls_out, .handler = calls_its_own_sandbox };

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play_end(&play);
}

/* clang-format off */
TESTS(
    TEST(a_host_function_is_called_by_its_index),
    TEST(a_host_function_is_called_by_its_name),
    TEST_ROW(5, what_the_host_does_not_have_is_an_error_value),
    TEST(wrong_arguments_never_reach_the_host_function),
    TEST_ROW(7, a_failure_arrives_with_code_and_text),
    TEST(a_long_failure_is_cut),
    TEST(a_host_function_that_returns_another_type_is_told),
    TEST(bytes_of_every_size_come_back),
    TEST(a_result_may_be_built_in_place),
    TEST_ROW(24, a_result_that_does_not_fit_is_an_error_value),
    TEST_ROW(18, a_hostile_offer_harms_nobody),
    TEST(a_host_function_may_call_another_sandbox),
    TEST(sandboxes_of_one_domain_call_each_other),
    TEST_ROW(26, a_host_function_that_calls_its_own_sandbox_is_told),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls, as far as the host's half goes: what is refused before the guest
 * runs, what reaches it, and what becomes of its answers.
 */
#include "play.h"

#include <stdlib.h>
#include <string.h>

static enum kaon_status adds(struct kaon_scripted_guest *guest,
                             struct kaon_exit *exit, void *user)
{
    (void)user;
    return play_return(
        guest, exit,
        kaon_i32(play_received(guest, 0).i32 + play_received(guest, 1).i32));
}

static enum kaon_status echoes(struct kaon_scripted_guest *guest,
                               struct kaon_exit *exit, void *user)
{
    (void)user;
    return play_return(guest, exit, play_received(guest, 0));
}

static void a_call_returns_its_result(void **state)
{
    struct play play = { .guest = adds };

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    assert_int_equal(play.out.value.type, KAON_TYPE_I32);
    assert_int_equal(play.out.value.i32, 5);
    assert_int_equal(play.out.code, 0);
    assert_string_equal(play.out.text, "");
    play.guest = NULL;
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_int_equal(play.out.value.type, KAON_TYPE_VOID);
    play_end(&play);
}

static void the_guest_is_entered_as_the_contract_says(void **state);

static enum kaon_status looks_around(struct kaon_scripted_guest *guest,
                                     struct kaon_exit *exit, void *user)
{
    const struct kaon_mailbox *mailbox = play_mailbox(guest);
    const struct kaon_frame *frame = play_frame(guest);
    struct play *play = user;

    assert_int_equal(guest->entry.ip, ELF_TEXT);
    assert_int_equal(guest->entry.sp, mailbox->stack_high);
    assert_int_equal(mailbox->magic, KAON_MAILBOX_MAGIC);
    assert_int_equal(mailbox->abi_version, KAON_ABI_VERSION);
    assert_int_equal(mailbox->exchange_size, (64 << 10) + KAON_MAILBOX_SIZE);
    assert_int_equal(mailbox->heap_size, 128 << 10);
    assert_int_equal(mailbox->stack_high - mailbox->stack_low, 32 << 10);
    assert_int_equal(frame->kind, KAON_FRAME_CALL);
    assert_int_equal(frame->function, PLAY_ADD);
    assert_int_equal(frame->count, 2);
    assert_int_equal(frame->code, 0);
    assert_int_equal(frame->slots, KAON_MAILBOX_FREE);
    assert_int_equal(frame->free_page, KAON_MAILBOX_FREE + 32);
    assert_int_equal(frame->free_area, KAON_MAILBOX_SIZE);
    play->user = NULL; /* it was here */
    return adds(guest, exit, user);
}

static void the_guest_is_entered_as_the_contract_says(void **state)
{
    struct play play = { .guest = looks_around,
                         .opts = { .heap_bytes = 128 << 10,
                                   .stack_bytes = 32 << 10,
                                   .exchange_bytes = 64 << 10 } };

    (void)state;
    play.user = &play;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    assert_null(play.user);
    play_end(&play);
}

static void what_is_wrong_is_refused_and_the_sandbox_usable(void **state)
{
    struct kaon_value typeless = { .type = 99 };
    struct play play = { .guest = adds };

    (void)state;
    play_begin(&play);
    play_fail(&play, KAON_ENOFUNC, "did you mean add", "ad", KAON_NO_ARGS);
    play_fail(&play, KAON_EINVAL, "function is NULL", NULL, KAON_NO_ARGS);
    play_fail(&play, KAON_EINVAL, "or empty", "", KAON_NO_ARGS);
    play_fail(&play, KAON_EARGS, "add takes 2 arguments, not 0", "add",
              KAON_NO_ARGS);
    play_fail(&play, KAON_EARGS, "argument 2 of add is i64, expected i32",
              "add", KAON_ARGS(kaon_i32(1), kaon_i64(2)));
    play_fail(&play, KAON_EARGS, "argument 1 of add is ?", "add",
              KAON_ARGS(typeless, kaon_i32(2)));
    play_fail(&play, KAON_EINVAL, "args is NULL, but there are 2", "add", NULL,
              2);
    play_fail(&play, KAON_EARGS, "argument 1 of echo is a string with a NUL",
              "echo", KAON_ARGS(kaon_string_n("a\0b", 3)));
    play_fail(&play, KAON_EINVAL, "argument 1 of echo_bytes has a size but no",
              "echo_bytes", KAON_ARGS(kaon_bytes(NULL, 5)));
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_READY);
    play_call(&play, KAON_RETURNED, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    play_end(&play);
}

static void null_is_told_everywhere(void **state)
{
    const struct kaon_call_opts bad = { .size = 3 };
    struct play play = { .guest = adds };
    struct kaon_function function;
    void *buffer;

    (void)state;
    play_begin(&play);
    assert_int_equal(
        kaon_call(NULL, &play.out, "add", KAON_NO_ARGS, NULL, &play.err),
        KAON_EINVAL);
    assert_int_equal(
        kaon_call(play.sandbox, NULL, "add", KAON_NO_ARGS, NULL, NULL),
        KAON_EINVAL);
    assert_int_equal(kaon_call(play.sandbox, &play.out, "nothing", KAON_NO_ARGS,
                               &bad, &play.err),
                     KAON_EINVAL);
    play_words(play.err.text, "call options.size is 3");
    assert_int_equal(kaon_sandbox_init(NULL, &play.out, NULL, NULL),
                     KAON_EINVAL);
    assert_int_equal(kaon_sandbox_init(play.sandbox, NULL, NULL, NULL),
                     KAON_EINVAL);
    assert_int_equal(kaon_sandbox_buffer(NULL, &buffer, 1, NULL), KAON_EINVAL);
    assert_int_equal(kaon_sandbox_buffer(play.sandbox, NULL, 1, NULL),
                     KAON_EINVAL);
    assert_int_equal(kaon_function_find(NULL, play.image, "add", NULL),
                     KAON_EINVAL);
    assert_int_equal(kaon_function_find(&function, NULL, "add", NULL),
                     KAON_EINVAL);
    assert_int_equal(kaon_function_find(&function, play.image, NULL, NULL),
                     KAON_EINVAL);
    assert_int_equal(kaon_sandbox_interrupt(NULL, NULL), KAON_EINVAL);
    assert_int_equal(kaon_sandbox_state(NULL), KAON_SANDBOX_POISONED);
    assert_string_equal(kaon_sandbox_backend(NULL), "");
    assert_string_equal(kaon_sandbox_backend(play.sandbox), "scripted");
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_READY);
    play_end(&play);
}

static void a_resolved_function_belongs_to_its_image(void **state)
{
    struct play play = { .guest = adds };
    struct kaon_function function, other;
    struct kaon_image *image = play_image(0, 0);

    (void)state;
    play_begin(&play);
    assert_int_equal(kaon_function_find(&function, play.image, "add", NULL),
                     KAON_OK);
    assert_int_equal(kaon_function_call(play.sandbox, &play.out, function,
                                        KAON_ARGS(kaon_i32(20), kaon_i32(-8)),
                                        NULL, NULL),
                     KAON_OK);
    assert_int_equal(play.out.value.i32, 12);
    assert_int_equal(kaon_function_find(&other, image, "add", NULL), KAON_OK);
    assert_int_equal(kaon_function_call(play.sandbox, &play.out, other,
                                        KAON_NO_ARGS, NULL, &play.err),
                     KAON_EINVAL);
    play_words(play.err.text, "not of the sandbox's image");
    function.index = 4;
    assert_int_equal(kaon_function_call(play.sandbox, &play.out, function,
                                        KAON_NO_ARGS, NULL, NULL),
                     KAON_EINVAL);
    assert_int_equal(
        kaon_function_find(&function, play.image, "sub", &play.err),
        KAON_ENOFUNC);
    kaon_image_destroy(image);
    play_end(&play);
}

/* ---- Other outcomes ---------------------------------------------------- */

struct answer {
    uint32_t kind;
    int32_t code;
    const char *text; /* NULL: none */
};

static enum kaon_status answers(struct kaon_scripted_guest *guest,
                                struct kaon_exit *exit, void *user)
{
    const struct answer *answer = ((struct play *)user)->user;
    struct kaon_value text = kaon_string(answer->text);

    return play_leave(guest, exit, answer->kind, answer->code,
                      answer->text ? &text : NULL);
}

static void words_of_the_guest_arrive_with_their_code(void **state)
{
    static const struct {
        struct answer answer;
        enum kaon_outcome_kind kind;
    } cases[] = {
        { { KAON_FRAME_ERROR, 7, "no such key" }, KAON_GUEST_ERROR },
        { { KAON_FRAME_ERROR, INT32_MIN, "" }, KAON_GUEST_ERROR },
        { { KAON_FRAME_ERROR, 0, NULL }, KAON_GUEST_ERROR },
        { { KAON_FRAME_REFUSED, KAON_REFUSED_ARGUMENTS, "what?" },
          KAON_GUEST_REFUSED },
        { { KAON_FRAME_ABORT, 25, "Oh no" }, KAON_ABORT },
    };
    struct play play = { .guest = answers };

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer = cases[i].answer;

        play.user = &answer;
        play_call(&play, cases[i].kind, "nothing", KAON_NO_ARGS);
        assert_int_equal(play.out.code, answer.code);
        assert_string_equal(play.out.text, answer.text ? answer.text : "");
    }
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_POISONED);
    play_end(&play);
}

static void a_long_text_is_cut(void **state)
{
    char text[3000];
    struct answer answer = { KAON_FRAME_ABORT, 1, text };
    struct play play = { .guest = answers, .user = &answer };

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    play_begin(&play);
    play_call(&play, KAON_ABORT, "nothing", KAON_NO_ARGS);
    assert_int_equal(strlen(play.out.text), KAON_OUTCOME_TEXT - 1);
    assert_int_equal(strspn(play.out.text, "x"), KAON_OUTCOME_TEXT - 1);
    play_end(&play);
}

static void a_poisoned_sandbox_refuses_everything(void **state)
{
    struct answer answer = { KAON_FRAME_ABORT, 1, "" };
    struct play play = { .guest = answers, .user = &answer };
    struct kaon_sandbox_stats stats;
    void *buffer;

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_ABORT, "nothing", KAON_NO_ARGS);
    play_fail(&play, KAON_EPOISONED, "destroy it", "nothing", KAON_NO_ARGS);
    assert_int_equal(kaon_sandbox_init(play.sandbox, &play.out, NULL, NULL),
                     KAON_EPOISONED);
    assert_int_equal(kaon_sandbox_buffer(play.sandbox, &buffer, 1, NULL),
                     KAON_EPOISONED);
    assert_int_equal(kaon_sandbox_stats(play.sandbox, &stats), KAON_OK);
    assert_int_equal(stats.calls, 1);
    play_end(&play);
}

/* ---- Sizes and places -------------------------------------------------- */

static void arguments_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = { 0,    1,    15,   3800,  3824,
                                    3825, 3840, 4096, 60000, 61400 };
    struct play play = { .guest = echoes, .opts.exchange_bytes = 64 << 10 };
    char *text = calloc(1, 61401);

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            text[k] = (char)('a' + (k + i) % 26);
        text[sizes[i]] = '\0';
        play_call(&play, KAON_RETURNED, "echo", KAON_ARGS(kaon_string(text)));
        assert_int_equal(play.out.value.span.size, sizes[i]);
        assert_string_equal(play.out.value.span.data, text);
        play_call(&play, KAON_RETURNED, "echo_bytes",
                  KAON_ARGS(kaon_bytes(text, sizes[i])));
        assert_int_equal(play.out.value.span.size, sizes[i]);
        assert_memory_equal(play.out.value.span.data, text, sizes[i]);
    }
    free(text);
    play_end(&play);
}

static void what_does_not_fit_names_the_limit_and_the_option(void **state)
{
    struct play play = { .guest = echoes, .opts.exchange_bytes = 16 << 10 };
    char *data = calloc(1, 16 << 10);

    (void)state;
    play_begin(&play);
    play_fail(&play, KAON_ETOOBIG, "raise exchange_bytes", "echo_bytes",
              KAON_ARGS(kaon_bytes(data, 16 << 10)));
    play_words(play.err.text, "16384");
    play_words(play.err.text, "echo_bytes");
    play_fail(&play, KAON_ETOOBIG, "1 GiB", "echo_bytes",
              KAON_ARGS(kaon_bytes(data, SIZE_MAX)));
    play_call(&play, KAON_RETURNED, "echo_bytes",
              KAON_ARGS(kaon_bytes(data, 12000)));
    free(data);
    play_end(&play);
}

static void the_smallest_exchange_holds_a_page(void **state)
{
    struct play play = { .guest = echoes };
    char data[4096] = { 1 };
    void *buffer;

    (void)state;
    play.opts.exchange_bytes = 4 << 10;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "echo_bytes",
              KAON_ARGS(kaon_bytes(data, 4080)));
    assert_memory_equal(play.out.value.span.data, data, 4080);
    play_fail(&play, KAON_ETOOBIG, "exchange_bytes", "echo_bytes",
              KAON_ARGS(kaon_bytes(data, 4081)));
    assert_int_equal(
        kaon_sandbox_buffer(play.sandbox, &buffer, 4097, &play.err),
        KAON_ETOOBIG);
    play_words(play.err.text, "exchange_bytes");
    assert_int_equal(
        kaon_sandbox_buffer(play.sandbox, &buffer, 4096, &play.err), KAON_OK);
    play_call(&play, KAON_RETURNED, "echo_bytes",
              KAON_ARGS(kaon_bytes(data, 1)));
    play_end(&play);
}

/* Expects its argument in the area, and returns it from there. */
static enum kaon_status echoes_in_place(struct kaon_scripted_guest *guest,
                                        struct kaon_exit *exit, void *user)
{
    struct kaon_value value = play_received(guest, 0);
    struct kaon_wire wire = play_wire(guest);

    (void)user;
    assert_ptr_equal(value.span.data, wire.area);
    return play_return(guest, exit, value);
}

static void an_argument_built_in_place_is_not_copied(void **state)
{
    struct play play = { .guest = echoes_in_place,
                         .opts.exchange_bytes = 1 << 20 };
    const size_t all = 1 << 20;
    unsigned char *buffer;

    (void)state;
    play_begin(&play);
    assert_int_equal(
        kaon_sandbox_buffer(play.sandbox, (void **)&buffer, all, &play.err),
        KAON_OK);
    memset(buffer, 0x5a, all);
    play_call(&play, KAON_RETURNED, "echo_bytes",
              KAON_ARGS(kaon_bytes(buffer, all)));
    assert_ptr_equal(play.out.value.span.data, buffer);
    assert_int_equal(play.out.value.span.size, all);
    assert_int_equal(buffer[0] + buffer[all - 1], 2 * 0x5a);
    assert_int_equal(
        kaon_sandbox_buffer(play.sandbox, (void **)&buffer, all + 1, &play.err),
        KAON_ETOOBIG);
    assert_int_equal(kaon_sandbox_buffer(play.sandbox, (void **)&buffer,
                                         SIZE_MAX, &play.err),
                     KAON_ETOOBIG);
    assert_int_equal(
        kaon_sandbox_buffer(play.sandbox, (void **)&buffer, 6, &play.err),
        KAON_OK);
    memcpy(buffer, "hello", 6);
    play_call(&play, KAON_RETURNED, "echo",
              KAON_ARGS(kaon_string_n((char *)buffer, 5)));
    assert_string_equal(play.out.value.span.data, "hello");
    play_end(&play);
}

/* What a result borrows may well be an argument of the next call. */
static void a_result_may_be_the_next_calls_argument(void **state)
{
    static const size_t sizes[] = { 5, 100, 3000, 3800, 6000, 20000 };
    struct play play = { .guest = echoes, .opts.exchange_bytes = 64 << 10 };
    char *text = calloc(1, 20001);

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(text, (int)('a' + i), sizes[i]);
        play_call(&play, KAON_RETURNED, "echo", KAON_ARGS(kaon_string(text)));
        for (int k = 0; k < 5; k++) {
            struct kaon_value last = play.out.value;

            play_call(&play, KAON_RETURNED, "echo", KAON_ARGS(last));
            assert_string_equal(play.out.value.span.data, text);
        }
        /* A part of it, too, which has no NUL of its own. */
        struct kaon_value part = kaon_string_n(play.out.value.span.data, 3);

        play_call(&play, KAON_RETURNED, "echo", KAON_ARGS(part));
        assert_memory_equal(play.out.value.span.data, text, 3);
        assert_int_equal(play.out.value.span.size, 3);
    }
    free(text);
    play_end(&play);
}

static void a_buffer_lasts_for_one_call(void **state)
{
    struct play play = { .guest = echoes };
    char *buffer;

    (void)state;
    play_begin(&play);
    assert_int_equal(
        kaon_sandbox_buffer(play.sandbox, (void **)&buffer, 6, &play.err),
        KAON_OK);
    memcpy(buffer, "hello", 6);
    play_fail(&play, KAON_ENOFUNC, "exports no function", "nobody",
              KAON_NO_ARGS); /* no call: the buffer is still there */
    play_call(&play, KAON_RETURNED, "echo", KAON_ARGS(kaon_string(buffer)));
    assert_string_equal(play.out.value.span.data, "hello");
    assert_int_equal(play.sandbox->buffer_end, 0);
    play_end(&play);
}

static void a_domain_without_room_for_the_area_says_so(void **state)
{
    struct play play = { .guest = echoes,
                         .memory_bytes = 2 << 20,
                         .opts.exchange_bytes = 16 << 20 };
    char data[8000] = { 0 };
    void *buffer;

    (void)state;
    play_begin(&play);
    assert_int_equal(
        kaon_sandbox_buffer(play.sandbox, &buffer, 8000, &play.err),
        KAON_ENOMEM);
    play_words(play.err.text, "memory_bytes");
    play_fail(&play, KAON_ENOMEM, "memory_bytes", "echo_bytes",
              KAON_ARGS(kaon_bytes(data, sizeof data)));
    play_call(&play, KAON_RETURNED, "echo_bytes",
              KAON_ARGS(kaon_bytes(data, 100)));
    play_end(&play);
}

/* ---- Names that only the guest knows ----------------------------------- */

static enum kaon_status answers_to_a_name(struct kaon_scripted_guest *guest,
                                          struct kaon_exit *exit, void *user)
{
    const struct kaon_frame *frame = play_frame(guest);

    (void)user;
    assert_int_equal(frame->function, KAON_FUNCTION_BY_NAME);
    assert_string_equal(play_received(guest, 0).span.data, "made_up");
    return play_return(guest, exit, play_received(guest, frame->count - 1));
}

static void a_dynamic_guest_gets_names_and_arguments(void **state)
{
    struct play play = { .guest = answers_to_a_name,
                         .image_flags = KAON_INFO_DYNAMIC };
    struct kaon_value args[KAON_PARAMS_MAX + 1];
    char long_name[KAON_NAME_MAX + 2];

    (void)state;
    for (uint32_t i = 0; i <= KAON_PARAMS_MAX; i++)
        args[i] = kaon_u64(i);
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "made_up", KAON_NO_ARGS);
    assert_string_equal(play.out.value.span.data, "made_up");
    play_call(&play, KAON_RETURNED, "made_up", args, KAON_PARAMS_MAX);
    assert_int_equal(play.out.value.u64, KAON_PARAMS_MAX - 1);
    play_fail(&play, KAON_EARGS, "at most 16", "made_up", args,
              KAON_PARAMS_MAX + 1);
    play_fail(&play, KAON_EARGS, "at most 16", "made_up", args, SIZE_MAX);
    play_fail(&play, KAON_ENOFUNC, "more than 127", long_name, KAON_NO_ARGS);
    play_fail(&play, KAON_EINVAL, "argument 1 of made_up has no type",
              "made_up", KAON_ARGS(kaon_void()));
    play_end(&play);
}

static enum kaon_status initialises(struct kaon_scripted_guest *guest,
                                    struct kaon_exit *exit, void *user)
{
    (void)user;
    assert_int_equal(play_frame(guest)->kind, KAON_FRAME_CALL);
    assert_int_equal(play_frame(guest)->function, KAON_FUNCTION_INIT);
    assert_int_equal(play_frame(guest)->count, 0);
    return play_return_void(guest, exit);
}

static void init_asks_for_nothing_but_initialisation(void **state)
{
    struct play play = { .guest = initialises };

    (void)state;
    play_begin(&play);
    assert_int_equal(
        kaon_sandbox_init(play.sandbox, &play.out, NULL, &play.err), KAON_OK);
    assert_int_equal(play.out.kind, KAON_RETURNED);
    assert_int_equal(play.out.value.type, KAON_TYPE_VOID);
    play_end(&play);
}

/* ---- vCPUs and what they keep ------------------------------------------ */

static enum kaon_status keeps_pointers(struct kaon_scripted_guest *guest,
                                       struct kaon_exit *exit, void *user)
{
    (void)user;
    guest->pointers.fs_base++;
    guest->pointers.gs_base += 2;
    return play_return(guest, exit, kaon_i32((int32_t)guest->pointers.fs_base));
}

static void a_sandbox_keeps_its_thread_pointers(void **state)
{
    struct play play = { .guest = keeps_pointers };
    struct kaon_sandbox *first, *second;

    (void)state;
    play_begin(&play);
    first = play.sandbox;
    second = play_sandbox(&play);
    for (int i = 1; i <= 3; i++) {
        play.sandbox = first;
        play_call(&play, KAON_RETURNED, "add",
                  KAON_ARGS(kaon_i32(0), kaon_i32(0)));
        assert_int_equal(play.out.value.i32, i);
    }
    play.sandbox = second;
    play_call(&play, KAON_RETURNED, "add", KAON_ARGS(kaon_i32(0), kaon_i32(0)));
    assert_int_equal(play.out.value.i32, 1);
    kaon_sandbox_destroy(second);
    play.sandbox = first;
    play_end(&play);
}

static enum kaon_status fails(struct kaon_scripted_guest *guest,
                              struct kaon_exit *exit, void *user)
{
    const unsigned *turn = ((struct play *)user)->user;

    if (guest->turn == *turn)
        return KAON_EBACKEND;
    return play_host_call(guest, exit, PLAY_TRIPLE, KAON_ARGS(kaon_i32(1)));
}

static void a_backend_that_fails_poisons_the_sandbox(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 3; turn++) {
        struct play play = { .guest = fails, .user = &turn };

        play_begin(&play);
        play.out.kind = KAON_GUEST_ERROR;
        play_fail(&play, KAON_EBACKEND, "the host failed", "nothing",
                  KAON_NO_ARGS);
        assert_int_equal(play.out.kind, KAON_GUEST_ERROR); /* not written */
        assert_int_equal(kaon_sandbox_state(play.sandbox),
                         KAON_SANDBOX_POISONED);
        play_fail(&play, KAON_EPOISONED, "poisoned", "nothing", KAON_NO_ARGS);
        play_end(&play);
    }
}

static void counters_are_exact(void **state)
{
    struct play play = { .guest = adds };
    struct kaon_sandbox_stats stats;

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 3; i++)
        play_call(&play, KAON_RETURNED, "add",
                  KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    play_fail(&play, KAON_EARGS, "takes", "add", KAON_NO_ARGS);
    assert_int_equal(kaon_sandbox_stats(play.sandbox, &stats), KAON_OK);
    assert_int_equal(stats.calls, 3);
    assert_int_equal(stats.exits, 3);
    assert_int_equal(stats.host_calls, 0);
    assert_int_equal(stats.page_faults, 0);
    assert_int_equal(kaon_sandbox_stats(NULL, &stats), KAON_EINVAL);
    assert_int_equal(kaon_sandbox_stats(play.sandbox, NULL), KAON_EINVAL);
    play_end(&play);
}

/* clang-format off */
TESTS(
    TEST(a_call_returns_its_result),
    TEST(the_guest_is_entered_as_the_contract_says),
    TEST_ROW(4, what_is_wrong_is_refused_and_the_sandbox_usable),
    TEST(null_is_told_everywhere),
    TEST(a_resolved_function_belongs_to_its_image),
    TEST_ROW(8, words_of_the_guest_arrive_with_their_code),
    TEST_ROW(9, a_long_text_is_cut),
    TEST_ROW(11, a_poisoned_sandbox_refuses_everything),
    TEST(arguments_of_every_size_come_back),
    TEST_ROW(24, what_does_not_fit_names_the_limit_and_the_option),
    TEST(the_smallest_exchange_holds_a_page),
    TEST(an_argument_built_in_place_is_not_copied),
    TEST(a_result_may_be_the_next_calls_argument),
    TEST(a_buffer_lasts_for_one_call),
    TEST(a_domain_without_room_for_the_area_says_so),
    TEST_ROW(6, a_dynamic_guest_gets_names_and_arguments),
    TEST(init_asks_for_nothing_but_initialisation),
    TEST(a_sandbox_keeps_its_thread_pointers),
    TEST(a_backend_that_fails_poisons_the_sandbox),
    TEST(counters_are_exact),
)

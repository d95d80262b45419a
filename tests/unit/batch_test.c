/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: what the host makes of an array of answers, and what it says of
 * calls that have none. Each test of results runs twice: with a guest that
 * takes batches, and with one that is entered for each call.
 */
#include "play.h"

#include "support/fail_nth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX 64

/* How a guest that answers call by call goes about it. */
struct part {
    bool limited;
    uint32_t limit; /* answers so many, if limited, then `ending` */
    enum { OVER, ABORT, FAULT, SPIN, NO_CPU } ending;
    /* Then spoils the array, or the frame that it leaves with. */
    void (*spoil)(struct kaon_frame *frames, struct kaon_frame *frame);
};

/* What an echo of "large" gives. */
static char large[400 << 10];

static struct kaon_value result_of(const struct kaon_frame *call,
                                   const struct kaon_value *args)
{
    switch (call->function) {
    case PLAY_ADD: return kaon_i32(args[0].i32 + args[1].i32);
    case PLAY_ECHO:
        if (strcmp(args[0].span.data, "large") == 0)
            return kaon_string(large);
        return args[0];
    case PLAY_ECHO_BYTES: return args[0];
    }
    return kaon_void();
}

/* A call, and where its answer may go; the answer in its place. An echo of
 * "fail" is an error. */
static void answer(const struct kaon_wire *wire, struct kaon_frame *call,
                   struct kaon_wire_free *free)
{
    struct kaon_value args[KAON_PARAMS_MAX + 1], value;
    struct kaon_frame frame = { .kind = KAON_FRAME_RESULT };

    assert_int_equal(call->kind, KAON_FRAME_CALL);
    assert_int_equal(kaon_wire_get(wire, call, args, KAON_PARAMS_MAX + 1),
                     KAON_WIRE_OK);
    value = result_of(call, args);
    if (value.type == KAON_TYPE_STRING &&
        strcmp(value.span.data, "fail") == 0) {
        frame.kind = KAON_FRAME_ERROR;
        frame.code = 7;
        value = kaon_string("as was asked");
    }
    assert_int_equal(kaon_wire_put(wire, *free, &value,
                                   value.type != KAON_TYPE_VOID, &frame),
                     KAON_WIRE_OK);
    *free = (struct kaon_wire_free){ frame.free_page, frame.free_area };
    *call = frame;
}

static enum kaon_status end(struct kaon_scripted_guest *guest,
                            struct kaon_exit *exit, const struct part *part)
{
    const struct kaon_value text = kaon_string("enough");

    switch (part->ending) {
    case OVER: return play_return_void(guest, exit);
    case ABORT: return play_leave(guest, exit, KAON_FRAME_ABORT, 9, &text);
    case FAULT:
        kaon__scripted_fault(exit, 0x1234, KAON_ACCESS_WRITE);
        return KAON_OK;
    case SPIN: kaon__scripted_spin(guest, exit); return KAON_OK;
    case NO_CPU:
        exit->kind = KAON_EXIT_STOPPED;
        exit->reason = "it broke its CPU";
        return KAON_OK;
    }
    return KAON_OK;
}

/* Where an array of frames lies in the guest. */
static struct kaon_frame *frames_at(const struct kaon_wire *wire, uint32_t at)
{
    unsigned char *bytes = at < KAON_MAILBOX_SIZE
                               ? wire->page + at
                               : wire->area + (at - KAON_MAILBOX_SIZE);

    return (struct kaon_frame *)(void *)bytes;
}

static enum kaon_status takes_batches(struct kaon_scripted_guest *guest,
                                      struct kaon_exit *exit, void *user)
{
    const struct part nothing = { 0 }, *part = ((struct play *)user)->user;
    struct kaon_frame frame = *play_frame(guest), *frames;
    struct kaon_wire wire = play_wire(guest);
    struct kaon_wire_free free = kaon_wire_offer(&wire, &frame);
    enum kaon_status status;

    part = part ? part : &nothing;
    if (guest->turn) /* after a host call that was none of its own */
        return play_return_void(guest, exit);
    assert_int_equal(frame.kind, KAON_FRAME_BATCH);
    frames = frames_at(&wire, frame.slots);
    for (uint32_t i = 0; i < frame.count; i++) {
        if (part->limited && i == part->limit)
            break;
        answer(&wire, &frames[i], &free);
    }
    /* What it leaves with lies behind the answers. */
    play_frame(guest)->free_page = free.page;
    play_frame(guest)->free_area = free.area;
    status = end(guest, exit, part);
    if (part->spoil)
        part->spoil(frames, play_frame(guest));
    return status;
}

/* The same for a guest that gets one call at a time. */
static unsigned singles;

static enum kaon_status takes_calls(struct kaon_scripted_guest *guest,
                                    struct kaon_exit *exit, void *user)
{
    const struct part *part = ((struct play *)user)->user;
    struct kaon_frame frame = *play_frame(guest);
    struct kaon_wire wire = play_wire(guest);
    struct kaon_wire_free free = kaon_wire_offer(&wire, &frame);

    if (part && part->limited && singles == part->limit)
        return end(guest, exit, part);
    if (large[0] && play_need_area(guest, exit, &wire)) /* it will need it */
        return KAON_OK;
    singles++;
    answer(&wire, &frame, &free);
    *play_frame(guest) = frame;
    kaon__scripted_leave(exit);
    return KAON_OK;
}

/* ---- Batches of the tests ---------------------------------------------- */

struct trial {
    struct play play;
    struct part part;
    struct kaon_batch_call calls[MAX];
    struct kaon_value args[MAX][2];
    struct kaon_outcome outcomes[MAX];
    size_t count;
};

static void begin(struct trial *trial, bool together)
{
    memset(trial, 0, sizeof *trial);
    trial->play.guest = together ? takes_batches : takes_calls;
    trial->play.image_flags = together ? KAON_INFO_BATCH : 0;
    play_begin(&trial->play);
    trial->play.user = &trial->part;
    singles = 0;
}

static void add(struct trial *trial, enum play_export function,
                struct kaon_value a, struct kaon_value b)
{
    size_t i = trial->count++;

    assert_true(i < MAX);
    trial->args[i][0] = a;
    trial->args[i][1] = b;
    trial->calls[i] = (struct kaon_batch_call){
        .function = { trial->play.image, function },
        .args = trial->args[i],
        .count = b.type   ? 2
                 : a.type ? 1
                          : 0,
    };
}

static void add_sum(struct trial *trial, int32_t a, int32_t b)
{
    add(trial, PLAY_ADD, kaon_i32(a), kaon_i32(b));
}

static void add_echo(struct trial *trial, const char *text)
{
    add(trial, PLAY_ECHO, kaon_string(text), kaon_void());
}

static enum kaon_status make(struct trial *trial)
{
    memset(trial->outcomes, 0x5a, sizeof trial->outcomes);
    return kaon_call_batch(trial->play.sandbox, trial->outcomes, trial->calls,
                           trial->count, NULL, &trial->play.err);
}

/* Makes the batch, which ends with call `last` as this kind. */
static void make_to(struct trial *trial, size_t last,
                    enum kaon_outcome_kind kind)
{
    if (make(trial))
        fail_msg("%s", trial->play.err.text);
    for (size_t i = 0; i < last; i++)
        assert_true(trial->outcomes[i].kind < KAON_ABORT);
    if (trial->outcomes[last].kind != kind)
        fail_msg("call %zu: %s, not %s: %s", last,
                 kaon_outcome_name(trial->outcomes[last].kind),
                 kaon_outcome_name(kind), trial->outcomes[last].text);
    for (size_t i = last + 1; i < trial->count; i++) {
        assert_int_equal(trial->outcomes[i].kind, KAON_NOT_RUN);
        play_words(trial->outcomes[i].text, "was not run");
        play_words(trial->outcomes[i].text, kaon_outcome_name(kind));
    }
    assert_int_equal(kaon_sandbox_state(trial->play.sandbox),
                     kind >= KAON_ABORT ? KAON_SANDBOX_POISONED
                                        : KAON_SANDBOX_READY);
}

static void make_all(struct trial *trial)
{
    make_to(trial, trial->count - 1, KAON_RETURNED);
}

static void assert_text(const struct trial *trial, size_t i, const char *text)
{
    const struct kaon_outcome *out = &trial->outcomes[i];

    assert_int_equal(out->kind, KAON_RETURNED);
    assert_int_equal(out->value.type, KAON_TYPE_STRING);
    assert_string_equal(out->value.span.data, text);
    assert_int_equal(out->value.span.size, strlen(text));
}

static void assert_entered(const struct trial *trial, uint64_t exits,
                           uint64_t calls)
{
    struct kaon_sandbox_stats stats;

    kaon_sandbox_stats(trial->play.sandbox, &stats);
    assert_int_equal(stats.exits - stats.page_faults, exits);
    assert_int_equal(stats.calls, calls);
}

static void finish(struct trial *trial)
{
    play_end(&trial->play);
}

/* ---- Results ----------------------------------------------------------- */

static void sixteen_calls_are_one_exit(void **state)
{
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        for (int32_t i = 0; i < 16; i++)
            add_sum(&trial, i, 100);
        make_all(&trial);
        for (int32_t i = 0; i < 16; i++)
            assert_int_equal(trial.outcomes[i].value.i32, 100 + i);
        assert_entered(&trial, together ? 1 : 16, 16);
        make_all(&trial);
        assert_entered(&trial, together ? 2 : 32, 32);
        finish(&trial);
    }
}

static void results_of_all_calls_are_there_together(void **state)
{
    static const char bytes[] = "\0\1\2";
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        add_echo(&trial, "first");
        add(&trial, PLAY_NOTHING, kaon_void(), kaon_void());
        add(&trial, PLAY_ECHO_BYTES, kaon_bytes(bytes, 4), kaon_void());
        add_sum(&trial, 40, 2);
        add_echo(&trial, "");
        add_echo(&trial, "last");
        make_all(&trial);
        assert_text(&trial, 0, "first");
        assert_int_equal(trial.outcomes[1].value.type, KAON_TYPE_VOID);
        assert_int_equal(trial.outcomes[2].value.span.size, 4);
        assert_memory_equal(trial.outcomes[2].value.span.data, bytes, 4);
        assert_int_equal(trial.outcomes[3].value.i32, 42);
        assert_text(&trial, 4, "");
        assert_text(&trial, 5, "last");
        finish(&trial);
    }
}

static void results_may_be_arguments_of_the_next_batch(void **state)
{
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        for (int i = 0; i < 8; i++) {
            char text[2] = { (char)('a' + i) };

            add_echo(&trial, text);
            make_to(&trial, 0, KAON_RETURNED);
            trial.count = 0;
        }
        add_echo(&trial, "one");
        add_echo(&trial, "two");
        make_all(&trial);
        for (int round = 0; round < 3; round++) {
            /* The other way round, so that each lies where the other will. */
            for (size_t i = 0; i < 2; i++)
                trial.args[i][0] = trial.outcomes[1 - i].value;
            make_all(&trial);
            assert_text(&trial, 0, round % 2 ? "one" : "two");
            assert_text(&trial, 1, round % 2 ? "two" : "one");
        }
        finish(&trial);
    }
}

/* Of an empty string there is a NUL that may be overwritten. */
static void so_may_empty_ones(void **state)
{
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        for (int i = 0; i < 40; i++)
            add_echo(&trial, "");
        for (int round = 0; round < 3; round++) {
            make_all(&trial);
            for (size_t i = 0; i < 40; i++) {
                assert_text(&trial, i, "");
                trial.args[i][0] = trial.outcomes[39 - i].value;
            }
        }
        finish(&trial);
    }
}

static void arguments_may_be_built_in_place(void **state)
{
    struct kaon_error err;
    struct trial trial;
    char *buffer;
    void *room;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        assert_int_equal(
            kaon_sandbox_buffer(trial.play.sandbox, &room, 100, &err), KAON_OK);
        buffer = room;
        strcpy(buffer, "one");
        strcpy(buffer + 50, "two");
        add_echo(&trial, buffer + 50);
        add_echo(&trial, buffer);
        make_all(&trial);
        assert_text(&trial, 0, "two");
        assert_text(&trial, 1, "one");
        if (together)
            assert_ptr_equal(trial.outcomes[1].value.span.data, buffer);
        finish(&trial);
    }
}

/* More than the exchange has, if each was copied. */
static void one_buffer_may_be_many_arguments(void **state)
{
    const size_t size = 600 << 10;
    struct kaon_error err;
    struct trial trial;
    void *room;

    (void)state;
    begin(&trial, true);
    assert_int_equal(
        kaon_sandbox_buffer(trial.play.sandbox, &room, size + 1, &err),
        KAON_OK);
    memset(room, 'b', size);
    ((char *)room)[size] = '\0';
    for (int i = 0; i < 3; i++)
        add_echo(&trial, room);
    make_all(&trial);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(trial.outcomes[i].value.span.data, room);
    finish(&trial);
}

static void large_arguments_go_to_the_area(void **state)
{
    static char text[3][10001];
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        for (int i = 0; i < 3; i++) {
            memset(text[i], 'a' + i, 10000);
            add_echo(&trial, text[i]);
            add_sum(&trial, i, i);
        }
        make_all(&trial);
        for (size_t i = 0; i < 3; i++) {
            assert_text(&trial, 2 * i, text[i]);
            assert_int_equal(trial.outcomes[2 * i + 1].value.i32, 2 * i);
        }
        finish(&trial);
    }
}

static void a_call_that_fails_does_not_stop_the_others(void **state)
{
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        add_echo(&trial, "fail");
        add_sum(&trial, 1, 2);
        add_echo(&trial, "fail");
        make_to(&trial, 2, KAON_GUEST_ERROR);
        assert_int_equal(trial.outcomes[0].kind, KAON_GUEST_ERROR);
        assert_int_equal(trial.outcomes[0].code, 7);
        assert_string_equal(trial.outcomes[0].text, "as was asked");
        assert_int_equal(trial.outcomes[1].value.i32, 3);
        finish(&trial);
    }
}

/* ---- Ends -------------------------------------------------------------- */

static void a_call_that_poisons_ends_the_batch(void **state)
{
    static const struct {
        int ending;
        enum kaon_outcome_kind kind;
        const char *words;
    } ends[] = {
        { ABORT, KAON_ABORT, "enough" },
        { FAULT, KAON_FAULT, "page fault writing 0x1234" },
        { NO_CPU, KAON_FAULT, "it broke its CPU" },
    };
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++)
        for (size_t k = 0; k < ELF_COUNT(ends); k++)
            for (uint32_t at = 0; at < 4; at++) {
                begin(&trial, together);
                trial.part.limited = true;
                trial.part.limit = at;
                trial.part.ending = ends[k].ending;
                for (int32_t i = 0; i < 4; i++)
                    add_echo(&trial, "a result");
                make_to(&trial, at, ends[k].kind);
                play_words(trial.outcomes[at].text, ends[k].words);
                for (uint32_t i = 0; i < at; i++)
                    assert_text(&trial, i, "a result");
                assert_int_equal(make(&trial), KAON_EPOISONED);
                finish(&trial);
            }
}

/* Its outcome is then not what it answered. */
static void a_fault_after_the_last_answer_is_of_the_last_call(void **state)
{
    struct trial trial;

    (void)state;
    begin(&trial, true);
    trial.part.ending = FAULT;
    add_sum(&trial, 1, 2);
    add_sum(&trial, 3, 4);
    make_to(&trial, 1, KAON_FAULT);
    assert_int_equal(trial.outcomes[0].value.i32, 3);
    finish(&trial);
}

/* The second of three calls spins. */
static void begin_and_spin(struct trial *trial, bool together,
                           uint64_t deadline)
{
    begin(trial, together);
    trial->part.limited = true;
    trial->part.limit = 1;
    trial->part.ending = SPIN;
    add_sum(trial, 1, 2);
    add_echo(trial, "never");
    add_echo(trial, "neither");
    assert_int_equal(kaon_call_batch(trial->play.sandbox, trial->outcomes,
                                     trial->calls, 3,
                                     KAON_CALL_OPTS(.deadline_ns = deadline),
                                     &trial->play.err),
                     KAON_OK);
}

/* Of twice the time, where it was over before the first call was. */
static void a_deadline_is_for_all_of_it(void **state)
{
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        uint64_t deadline = KAON_MS(20);

        begin_and_spin(&trial, together, deadline);
        while (trial.outcomes[0].kind == KAON_DEADLINE) {
            finish(&trial);
            begin_and_spin(&trial, together, deadline *= 2);
        }
        assert_int_equal(trial.outcomes[0].value.i32, 3);
        assert_int_equal(trial.outcomes[1].kind, KAON_DEADLINE);
        play_words(trial.outcomes[1].text,
                   "echo did not return before its deadline");
        assert_int_equal(trial.outcomes[2].kind, KAON_NOT_RUN);
        play_words(trial.outcomes[2].text,
                   "echo was not run: echo, before it in the batch, ended as "
                   "DEADLINE");
        finish(&trial);
    }
}

/* ---- Refused ----------------------------------------------------------- */

static void refuse(struct trial *trial, enum kaon_status status,
                   const char *words)
{
    assert_int_equal(make(trial), status);
    assert_int_equal(trial->play.err.status, status);
    play_words(trial->play.err.text, words);
    assert_int_equal(trial->outcomes[0].kind, 0x5a5a5a5a);
    assert_int_equal(kaon_sandbox_state(trial->play.sandbox),
                     KAON_SANDBOX_READY);
    assert_entered(trial, 0, 0);
}

static void one_bad_call_refuses_all(void **state)
{
    struct kaon_image *other = play_image(0, 0);
    struct trial trial;

    (void)state;
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        add_sum(&trial, 1, 2);
        add_sum(&trial, 3, 4);
        trial.args[1][1] = kaon_u32(4);
        refuse(&trial, KAON_EARGS, "call 2 of the batch: ");
        trial.args[1][1] = kaon_i32(4);
        trial.calls[1].count = 1;
        refuse(&trial, KAON_EARGS, "call 2 of the batch: ");
        trial.calls[1].count = 2;
        trial.calls[0].args = NULL;
        refuse(&trial, KAON_EINVAL, "call 1 of the batch: args is NULL");
        trial.calls[0].args = trial.args[0];
        trial.calls[1].function.index = 99;
        refuse(&trial, KAON_EINVAL, "call 2 of the batch: the function is not");
        trial.calls[1].function.index = PLAY_ADD;
        trial.calls[1].function.image = other;
        refuse(&trial, KAON_EINVAL, "call 2 of the batch: the function is not");
        trial.calls[1].function.image = trial.play.image;
        make_all(&trial);
        finish(&trial);
    }
    kaon_image_destroy(other);
}

static void what_does_not_fit_the_exchange_is_refused(void **state)
{
    static char text[100 << 10];
    struct trial trial;

    (void)state;
    memset(text, 't', sizeof text - 1);
    for (int together = 0; together < 2; together++) {
        begin(&trial, together);
        for (int i = 0; i < 11; i++)
            add_echo(&trial, text);
        refuse(&trial, KAON_ETOOBIG, "raise exchange_bytes");
        play_words(trial.play.err.text, "the exchange has 1048576");
        trial.count = 10;
        make_all(&trial);
        assert_text(&trial, 9, text);
        finish(&trial);
    }
}

/* One by one as together: there is no room for more than an exchange. */
static void results_together_fit_an_exchange(void **state)
{
    struct trial trial;

    (void)state;
    memset(large, 'l', sizeof large - 1);
    begin(&trial, false);
    add_echo(&trial, "large");
    add_echo(&trial, "large");
    add_echo(&trial, "large");
    add_echo(&trial, "small");
    make_all(&trial);
    assert_text(&trial, 1, large);
    assert_int_equal(trial.outcomes[2].kind, KAON_GUEST_REFUSED);
    assert_int_equal(trial.outcomes[2].code, KAON_REFUSED_TOO_LARGE);
    play_words(trial.outcomes[2].text, "raise exchange_bytes");
    assert_text(&trial, 3, "small");
    finish(&trial);
}

/* Two batches, whose second has the results of the first as arguments. */
static enum kaon_status make_two(struct trial *trial)
{
    enum kaon_status status = make(trial);

    if (status)
        return status;
    for (size_t i = 0; i < 2; i++)
        trial->args[i][0] = trial->outcomes[1 - i].value;
    return make(trial);
}

static unsigned fail_each(bool together)
{
    for (unsigned nth = 1;; nth++) {
        enum kaon_status status;
        struct trial trial;
        bool failed;

        begin(&trial, together);
        add_sum(&trial, 1, 2);
        make_all(&trial); /* there is a vCPU, then */
        trial.count = 0;
        add_echo(&trial, "one");
        add_echo(&trial, "two");
        fail_nth_arm(nth);
        status = make_two(&trial);
        failed = fail_nth_disarm();
        if (failed) {
            assert_int_equal(status, KAON_ENOMEM);
            play_words(trial.play.err.text, "out of memory for");
        } else {
            assert_int_equal(status, KAON_OK);
            assert_text(&trial, 0, "two");
            assert_text(&trial, 1, "one");
        }
        finish(&trial);
        if (!failed)
            return nth - 1;
    }
}

static void want_of_memory_is_a_status(void **state)
{
    (void)state;
    assert_int_equal(fail_each(true), 1);
    assert_int_equal(fail_each(false), 3);
}

static void no_calls_are_no_entry(void **state)
{
    struct play play = { .image_flags = KAON_INFO_BATCH };

    (void)state;
    play_begin(&play);
    assert_int_equal(
        kaon_call_batch(play.sandbox, NULL, NULL, 0, NULL, &play.err), KAON_OK);
    assert_int_equal(play.sandbox->exits, 0);
    assert_int_equal(kaon_call_batch(NULL, NULL, NULL, 0, NULL, &play.err),
                     KAON_EINVAL);
    assert_int_equal(
        kaon_call_batch(play.sandbox, NULL, NULL, 1, NULL, &play.err),
        KAON_EINVAL);
    play_end(&play);
}

/* ---- Hostile guests ---------------------------------------------------- */

/* A batch of add, echo, add whose array is spoilt: call `last` ends it. */
static void breach(void (*spoil)(struct kaon_frame *frames,
                                 struct kaon_frame *frame),
                   size_t last, const char *words)
{
    struct trial trial;

    begin(&trial, true);
    trial.part.spoil = spoil;
    add_sum(&trial, 1, 2);
    add_echo(&trial, "text");
    add_sum(&trial, 3, 4);
    make_to(&trial, last, KAON_PROTOCOL);
    play_words(trial.outcomes[last].text, "the guest broke the contract");
    play_words(trial.outcomes[last].text, words);
    if (last > 0)
        assert_int_equal(trial.outcomes[0].value.i32, 3);
    if (last > 1)
        assert_text(&trial, 1, "text");
    finish(&trial);
}

#define SPOIL(name, what)                                                 \
    static void name(struct kaon_frame *frames, struct kaon_frame *frame) \
    {                                                                     \
        (void)frames;                                                     \
        (void)frame;                                                      \
        what;                                                             \
    }
SPOIL(no_answer, frames[1].kind = KAON_FRAME_CALL)
SPOIL(no_last_answer, frames[2].kind = KAON_FRAME_CALL)
SPOIL(no_kind, frames[1].kind = 0)
SPOIL(host_call, frames[1].kind = KAON_FRAME_HOST_CALL)
SPOIL(abort_inside, frames[0].kind = KAON_FRAME_ABORT)
SPOIL(batch_inside, frames[2].kind = KAON_FRAME_BATCH)
SPOIL(no_result, (frames[1].count = 0, frames[1].slots = 0))
SPOIL(other_type, frames[1] = frames[0])
SPOIL(two_results, frames[0].count = 2)
SPOIL(many_results, frames[2].count = UINT32_MAX)
SPOIL(outside, frames[1].slots = 0x7ffffff8)
SPOIL(in_the_header, frames[0].slots = 128)
SPOIL(unaligned, frames[0].slots += 4)
SPOIL(words_are_a_number, frames[0].kind = KAON_FRAME_ERROR)
SPOIL(leaves_with_an_error, frame->kind = KAON_FRAME_ERROR)
SPOIL(leaves_with_refused, frame->kind = KAON_FRAME_REFUSED)
SPOIL(leaves_with_a_batch, frame->kind = KAON_FRAME_BATCH)
SPOIL(leaves_with_a_value, frame->count = 1)
SPOIL(leaves_early, (frames[1].kind = KAON_FRAME_CALL, frame->count = 1))

static void answers_are_checked_as_any(void **state)
{
    (void)state;
    breach(no_answer, 1, "before its end");
    breach(no_last_answer, 2, "before its end");
    breach(no_kind, 1, "unknown kind");
    breach(host_call, 1, "unknown kind");
    breach(abort_inside, 0, "unknown kind");
    breach(batch_inside, 2, "unknown kind");
    breach(no_result, 1, "its result is of type void");
    breach(other_type, 1, "its result is of type i32");
    breach(two_results, 0, "more slots");
    breach(many_results, 2, "more slots");
    breach(outside, 1, "outside");
    breach(in_the_header, 0, "outside");
    breach(unaligned, 0, "outside");
    breach(words_are_a_number, 0, "its words are of type i32");
    breach(leaves_with_an_error, 2, "it left a batch with");
    breach(leaves_with_refused, 2, "it left a batch with");
    breach(leaves_with_a_batch, 2, "it left a batch with");
    breach(leaves_with_a_value, 2, "it left a batch with");
    breach(leaves_early, 1, "it left a batch with");
}

/* An answer of a later call while an earlier one has none is not looked at. */
SPOIL(only_the_last,
      (frames[0].kind = KAON_FRAME_CALL, frames[1].slots = UINT32_MAX))

static void nothing_counts_behind_a_call_without_answer(void **state)
{
    (void)state;
    breach(only_the_last, 0, "before its end");
}

/* Results may overlap: that hurts nobody but the guest. */
SPOIL(the_same_twice, frames[2] = frames[0])

static void results_may_be_the_same(void **state)
{
    struct trial trial;

    (void)state;
    begin(&trial, true);
    trial.part.spoil = the_same_twice;
    add_sum(&trial, 1, 2);
    add_echo(&trial, "text");
    add_sum(&trial, 3, 4);
    make_all(&trial);
    assert_int_equal(trial.outcomes[2].value.i32, 3);
    finish(&trial);
}

/* By chance: some outcome for each, and the sandbox knows which. */
static void spoil_by_chance(struct kaon_frame *frames, struct kaon_frame *frame)
{
    unsigned char *bytes = (unsigned char *)frames;

    for (int i = 0; i < 4; i++)
        bytes[(size_t)random() % (3 * sizeof *frames)] =
            (unsigned char)(random() % 4 ? random() % 17 : random());
    if (random() % 8 == 0)
        frame->kind = (uint32_t)random() % 12;
}

static void scribbled_answers_are_some_outcomes(void **state)
{
    struct trial trial;

    (void)state;
    srandom(5);
    for (int round = 0; round < 500; round++) {
        enum kaon_outcome_kind worst = 0;

        begin(&trial, true);
        trial.part.spoil = spoil_by_chance;
        add_sum(&trial, 1, 2);
        add_echo(&trial, "text");
        add_sum(&trial, 3, 4);
        assert_int_equal(make(&trial), KAON_OK);
        for (size_t i = 0; i < 3; i++) {
            assert_in_range(trial.outcomes[i].kind, 0, KAON_NOT_RUN);
            if (worst >= KAON_ABORT)
                assert_int_equal(trial.outcomes[i].kind, KAON_NOT_RUN);
            else
                worst = trial.outcomes[i].kind;
        }
        assert_int_equal(kaon_sandbox_state(trial.play.sandbox),
                         worst >= KAON_ABORT ? KAON_SANDBOX_POISONED
                                             : KAON_SANDBOX_READY);
        finish(&trial);
    }
}

/* clang-format off */
TESTS(
    TEST(sixteen_calls_are_one_exit),
    TEST(results_of_all_calls_are_there_together),
    TEST(results_may_be_arguments_of_the_next_batch),
    TEST(so_may_empty_ones),
    TEST(arguments_may_be_built_in_place),
    TEST(one_buffer_may_be_many_arguments),
    TEST(large_arguments_go_to_the_area),
    TEST(a_call_that_fails_does_not_stop_the_others),
    TEST(a_call_that_poisons_ends_the_batch),
    TEST(a_fault_after_the_last_answer_is_of_the_last_call),
    TEST(a_deadline_is_for_all_of_it),
    TEST(one_bad_call_refuses_all),
    TEST(what_does_not_fit_the_exchange_is_refused),
    TEST(results_together_fit_an_exchange),
    TEST_ROW(27, want_of_memory_is_a_status),
    TEST(no_calls_are_no_entry),
    TEST_ROW(18, answers_are_checked_as_any),
    TEST_ROW(18, nothing_counts_behind_a_call_without_answer),
    TEST_ROW(18, results_may_be_the_same),
    TEST_ROW(18, scribbled_answers_are_some_outcomes))

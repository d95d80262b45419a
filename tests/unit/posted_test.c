/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posted host calls: when the host runs them, what it makes of those that are
 * none, and that nobody gets an answer.
 */
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES 1024u /* where the array lies in these tests */
#define VALUES 2048u /* and what it refers to */

/* A guest that posts on its first turn, then ends its call. */
struct poster {
    uint32_t count; /* of frames */
    struct {
        uint32_t function;
        struct kaon_value args[3];
        uint32_t arg_count;
    } calls[8];
    /* Spoils what was posted. */
    void (*spoil)(const struct kaon_scripted_guest *guest,
                  struct kaon_frame *frames, struct kaon_posted *posted);
    enum {
        RETURNS,
        FAILS,
        ABORTS,
        FAULTS,
        SPINS,
        CALLS_HOST,
        BAD_FRAME
    } ending;
};

static bool posted_all; /* the guest of this call came so far */

static void post(const struct kaon_scripted_guest *guest,
                 const struct poster *poster)
{
    struct kaon_posted *posted = &play_mailbox(guest)->posted;
    struct kaon_wire wire = play_wire(guest);
    struct kaon_frame *frames =
        (struct kaon_frame *)(void *)(wire.page + FRAMES);
    uint32_t high = KAON_MAILBOX_SIZE;

    for (uint32_t i = 0; i < poster->count; i++) {
        struct kaon_frame frame = { .kind = KAON_FRAME_HOST_CALL,
                                    .function = poster->calls[i].function };

        assert_int_equal(
            kaon_wire_put_below(&wire, VALUES, high, poster->calls[i].args,
                                poster->calls[i].arg_count, &frame),
            KAON_WIRE_OK);
        high = frame.slots ? frame.slots : high;
        frames[i] = frame;
    }
    *posted = (struct kaon_posted){ FRAMES, poster->count };
    if (poster->spoil)
        poster->spoil(guest, frames, posted);
    posted_all = true;
}

static enum kaon_status posts(struct kaon_scripted_guest *guest,
                              struct kaon_exit *exit, void *user)
{
    const struct poster *poster = ((struct play *)user)->user;
    const struct kaon_value words = kaon_string("last words");

    if (guest->turn > 0) {
        assert_int_equal(play_mailbox(guest)->posted.count, 0);
        assert_int_equal(play_frame(guest)->kind, KAON_FRAME_HOST_RESULT);
        assert_int_equal(play_received(guest, 0).i32, 21);
        return play_return_void(guest, exit);
    }
    post(guest, poster);
    switch (poster->ending) {
    case RETURNS: return play_return_void(guest, exit);
    case FAILS: return play_leave(guest, exit, KAON_FRAME_ERROR, 7, &words);
    case ABORTS: return play_leave(guest, exit, KAON_FRAME_ABORT, 7, &words);
    case FAULTS:
        kaon__scripted_fault(exit, 0x1234, KAON_ACCESS_WRITE);
        return KAON_OK;
    case SPINS: kaon__scripted_spin(guest, exit); return KAON_OK;
    case CALLS_HOST:
        return play_host_call(guest, exit, PLAY_TRIPLE, KAON_ARGS(kaon_i32(7)));
    case BAD_FRAME: return play_leave(guest, exit, 99, 0, NULL);
    }
    return KAON_OK;
}

static void add_bytes(struct poster *poster, const char *text)
{
    uint32_t i = poster->count++;

    poster->calls[i].function = PLAY_HANDLE;
    poster->calls[i].args[0] = kaon_bytes(text, strlen(text));
    poster->calls[i].arg_count = 1;
}

/* What "handle" was given, in its order. */
static char journal[256];
static bool handle_fails, handle_is_unsound;

static int handle(struct kaon_host_call *call, const struct kaon_value *args,
                  struct kaon_value *result, void *user)
{
    size_t length = strlen(journal);

    (void)user;
    snprintf(journal + length, sizeof journal - length, "%.*s ",
             (int)args[0].span.size, (const char *)args[0].span.data);
    /* There is no answer, and so no room for one. */
    assert_null(kaon_host_buffer(call, 0));
    assert_null(kaon_host_buffer(call, 100));
    if (handle_fails)
        return kaon_host_fail(call, 9, "nobody hears this");
    *result = handle_is_unsound ? kaon_i32(1) : args[0];
    return 0;
}

static void begin(struct play *play, struct poster *poster)
{
    *play = (struct play){ .guest = posts, .handler = handle, .user = poster };
    play_begin(play);
    play->user = poster;
    journal[0] = '\0';
    handle_fails = handle_is_unsound = posted_all = false;
}

/* Calls the guest, and ends it by a deadline if it spins: by one of twice the
 * time again, where the first was over before the machine came to the guest. */
static void begin_and_call(struct play *play, struct poster *poster)
{
    uint64_t deadline = poster->ending == SPINS ? KAON_MS(20) : 0;

    for (;; deadline *= 2) {
        begin(play, poster);
        if (kaon_call(play->sandbox, &play->out, "nothing", KAON_NO_ARGS,
                      KAON_CALL_OPTS(.deadline_ns = deadline), &play->err))
            fail_msg("%s", play->err.text);
        if (posted_all)
            return;
        assert_int_equal(play->out.kind, KAON_DEADLINE);
        play_end(play);
    }
}

/* Two calls of "handle", whatever ends the guest's call. */
static void run_to(int ending, enum kaon_outcome_kind kind)
{
    struct poster poster = { .ending = ending };
    struct kaon_sandbox_stats stats;
    struct play play;

    add_bytes(&poster, "one");
    add_bytes(&poster, "two");
    begin_and_call(&play, &poster);
    assert_int_equal(play.out.kind, kind);
    assert_string_equal(journal, "one two ");
    kaon_sandbox_stats(play.sandbox, &stats);
    assert_int_equal(stats.host_calls, 2 + (ending == CALLS_HOST));
    play_end(&play);
}

static void they_run_whatever_ends_the_call(void **state)
{
    (void)state;
    run_to(RETURNS, KAON_RETURNED);
    run_to(FAILS, KAON_GUEST_ERROR);
    run_to(ABORTS, KAON_ABORT);
    run_to(FAULTS, KAON_FAULT);
    run_to(SPINS, KAON_DEADLINE);
    run_to(CALLS_HOST, KAON_RETURNED);
    run_to(BAD_FRAME, KAON_PROTOCOL);
}

static void those_that_fail_are_dropped(void **state)
{
    struct poster poster = { 0 };
    struct play play;

    (void)state;
    add_bytes(&poster, "one");
    add_bytes(&poster, "two");
    begin(&play, &poster);
    handle_fails = true;
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_string_equal(journal, "one two ");
    play_end(&play);
}

static void those_that_the_host_refuses_are_dropped(void **state)
{
    struct poster poster = { 0 };
    struct play play;

    (void)state;
    add_bytes(&poster, "one");
    poster.calls[1].function = 99;
    poster.calls[2].function = KAON_FUNCTION_BY_NAME; /* without one */
    poster.calls[3].function = PLAY_HANDLE;           /* without its argument */
    poster.calls[4].function = PLAY_HANDLE;
    poster.calls[4].args[0] = kaon_i32(5);
    poster.calls[4].arg_count = 1;
    poster.calls[5].function = KAON_FUNCTION_BY_NAME;
    poster.calls[5].args[0] = kaon_string("handle");
    poster.calls[5].args[1] = kaon_bytes("by name", 7);
    poster.calls[5].arg_count = 2;
    poster.count = 6;
    begin(&play, &poster);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_string_equal(journal, "one by name ");
    play_end(&play);
}

/* That the host is wrong is its caller's to know, whatever the guest did. */
static void an_unsound_host_function_fails_the_call(void **state)
{
    static const int endings[] = { RETURNS, FAULTS, ABORTS };

    (void)state;
    for (size_t i = 0; i < ELF_COUNT(endings); i++) {
        struct poster poster = { .ending = endings[i] };
        struct play play;

        add_bytes(&poster, "one");
        add_bytes(&poster, "two");
        begin(&play, &poster);
        handle_is_unsound = true;
        play_fail(&play, KAON_EINVAL, "the host function handle returned i32",
                  "nothing", KAON_NO_ARGS);
        assert_string_equal(journal, "one ");
        assert_int_equal(kaon_sandbox_state(play.sandbox),
                         KAON_SANDBOX_POISONED);
        play_end(&play);
    }
}

/* ---- Hostile guests ---------------------------------------------------- */

#define SPOIL(name, what)                                                   \
    static void name(const struct kaon_scripted_guest *guest,               \
                     struct kaon_frame *frames, struct kaon_posted *posted) \
    {                                                                       \
        (void)guest;                                                        \
        (void)frames;                                                       \
        (void)posted;                                                       \
        what;                                                               \
    }
SPOIL(too_many, posted->count = KAON_POSTED_MAX + 1)
SPOIL(far_too_many, posted->count = UINT32_MAX)
SPOIL(no_place, posted->frames = 0)
SPOIL(in_the_header, posted->frames = 128)
SPOIL(across_the_page, posted->frames = KAON_MAILBOX_SIZE - 16)
SPOIL(no_area_there, posted->frames = KAON_MAILBOX_SIZE)
SPOIL(outside, posted->frames = 0xfffffff0)
SPOIL(unaligned, posted->frames += 8)
SPOIL(no_call, frames[1].kind = KAON_FRAME_RESULT)
SPOIL(nothing, frames[1].kind = 0)
SPOIL(many_slots, frames[1].count = 18)
SPOIL(bad_slots, frames[1].slots = 0x7ffffff8)
SPOIL(bad_slot, play_wire(guest).page[frames[1].slots] = 77)

static void breach(void (*spoil)(const struct kaon_scripted_guest *guest,
                                 struct kaon_frame *frames,
                                 struct kaon_posted *posted),
                   const char *done, const char *words)
{
    static const struct {
        int ending;
        enum kaon_outcome_kind kind;
    } ends[] = { { RETURNS, KAON_PROTOCOL },
                 { CALLS_HOST, KAON_PROTOCOL },
                 { ABORTS, KAON_PROTOCOL },
                 { FAULTS, KAON_FAULT }, /* which says more */
                 { SPINS, KAON_DEADLINE } };

    for (size_t i = 0; i < ELF_COUNT(ends); i++) {
        struct poster poster = { .spoil = spoil, .ending = ends[i].ending };
        struct play play;

        add_bytes(&poster, "one");
        add_bytes(&poster, "two");
        add_bytes(&poster, "three");
        begin_and_call(&play, &poster);
        assert_int_equal(play.out.kind, ends[i].kind);
        assert_string_equal(journal, done);
        if (ends[i].kind == KAON_PROTOCOL)
            play_words(play.out.text, words);
        play_end(&play);
    }
}

static void what_is_posted_is_checked_as_any_frame(void **state)
{
    (void)state;
    breach(too_many, "", "too many calls at once");
    breach(far_too_many, "", "too many calls at once");
    breach(no_place, "", "outside of the exchange");
    breach(in_the_header, "", "outside of the exchange");
    breach(across_the_page, "", "outside of the exchange");
    breach(no_area_there, "", "outside of the exchange");
    breach(outside, "", "outside of the exchange");
    breach(unaligned, "", "outside of the exchange");
    breach(no_call, "one ", "another kind than HOST_CALL");
    breach(nothing, "one ", "another kind than HOST_CALL");
    breach(many_slots, "one ", "in a posted call, there are more slots");
    breach(bad_slots, "one ", "in a posted call, a place is outside");
    breach(bad_slot, "one ", "in a posted call, a slot has");
}

/* A queue that is as long as it may be. */
SPOIL(as_many_as_may_be,
      for (uint32_t i = 1; i < 32; i++) frames[i] = frames[0];
      posted->count = 32)

static void calls_may_be_the_same_frame_again_and_again(void **state)
{
    struct poster poster = { .spoil = as_many_as_may_be };
    struct kaon_sandbox_stats stats;
    struct play play;

    (void)state;
    add_bytes(&poster, "x");
    begin(&play, &poster);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    kaon_sandbox_stats(play.sandbox, &stats);
    assert_int_equal(stats.host_calls, 32);
    play_end(&play);
}

/* What a guest leaves in its mailbox after the host has taken it. */
static enum kaon_status leaves_frames(struct kaon_scripted_guest *guest,
                                      struct kaon_exit *exit, void *user)
{
    (void)user;
    assert_int_equal(play_mailbox(guest)->posted.count, 0);
    return play_return_void(guest, exit);
}

static void each_runs_once(void **state)
{
    struct poster poster = { 0 };
    struct play play;

    (void)state;
    add_bytes(&poster, "once");
    begin(&play, &poster);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play.guest = leaves_frames;
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_string_equal(journal, "once ");
    play_end(&play);
}

/* clang-format off */
TESTS(
    TEST(they_run_whatever_ends_the_call),
    TEST(those_that_fail_are_dropped),
    TEST(those_that_the_host_refuses_are_dropped),
    TEST(an_unsound_host_function_fails_the_call),
    TEST_ROW(18, what_is_posted_is_checked_as_any_frame),
    TEST_ROW(18, calls_may_be_the_same_frame_again_and_again),
    TEST(each_runs_once))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that break the contract: each way of it is the outcome PROTOCOL, or
 * an error value for the guest, and the host is none the worse.
 */
#include "play.h"

#include <stdlib.h>
#include <string.h>

/* A frame and slots that the guest leaves with, as they are. */
struct breach {
    const char *what; /* words of the outcome's text */
    const char *call; /* function; default "add" */
    struct kaon_frame frame;
    struct kaon_slot slots[KAON_PARAMS_MAX + 2]; /* at frame.slots */
    const char *data;                            /* at offset 1024 */
    size_t data_size;
};

#define SLOTS 512u /* where slots usually are */
#define DATA 1024u

static void put(unsigned char *page, uint64_t offset, const void *from,
                size_t size)
{
    if (offset < KAON_MAILBOX_FREE || offset >= KAON_MAILBOX_SIZE)
        return;
    if (size > KAON_MAILBOX_SIZE - offset)
        size = KAON_MAILBOX_SIZE - offset;
    memcpy(page + offset, from, size);
}

static enum kaon_status breaks(struct kaon_scripted_guest *guest,
                               struct kaon_exit *exit, void *user)
{
    const struct breach *breach = ((struct play *)user)->user;
    unsigned char *page = (unsigned char *)play_mailbox(guest);

    put(page, breach->frame.slots, breach->slots, sizeof breach->slots);
    if (breach->data)
        put(page, DATA, breach->data, breach->data_size);
    *play_frame(guest) = breach->frame;
    kaon__scripted_leave(exit);
    return KAON_OK;
}

static void expect_breach(const struct breach *breach)
{
    struct breach copy = *breach;
    struct play play = { .guest = breaks,
                         .user = &copy,
                         .opts.exchange_bytes = 12 << 10 };

    play_begin(&play);
    if (copy.call)
        play_call(&play, KAON_PROTOCOL, copy.call,
                  KAON_ARGS(kaon_string("text")));
    else
        play_call(&play, KAON_PROTOCOL, "add",
                  KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    play_words(play.out.text, "the guest broke the contract");
    play_words(play.out.text, breach->what);
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_POISONED);
    play_fail(&play, KAON_EPOISONED, "", "add",
              KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    play_end(&play);
}

static void expect_breaches(const struct breach *breaches, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_breach(&breaches[i]);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void a_frame_must_be_a_guests(void **state)
{
    static const uint32_t kinds[] = {
        0,
        KAON_FRAME_CALL,
        KAON_FRAME_HOST_RESULT,
        KAON_FRAME_HOST_ERROR,
        KAON_FRAME_HOST_REFUSED,
        KAON_FRAME_BATCH,
        11,
        0x80000002,
        UINT32_MAX,
    };

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++)
        expect_breach(
            &(struct breach){ "unknown kind", .frame = { .kind = kinds[i] } });
}

static void a_result_must_be_what_the_export_says(void **state)
{
    static const struct breach breaches[] = {
        { "its result is of type void",
          .frame = { .kind = KAON_FRAME_RESULT } },
        { "its result is of type u32",
          .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_U32, 0, 1 } } },
        { "its result is of type i32", .call = "echo",
          .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_I32, 0, 1 } } },
        { "its result is of type bytes", .call = "echo",
          .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_BYTES, 4, DATA } } },
        { "in its result, there are more slots",
          .frame = { KAON_FRAME_RESULT, 0, 2, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_I32, 0, 1 }, { KAON_TYPE_I32, 0, 1 } } },
        { "in its result, there are more slots",
          .frame = { KAON_FRAME_RESULT, 0, UINT32_MAX, 0, SLOTS, 0, 0 } },
    };

    (void)state;
    expect_breaches(breaches, COUNT(breaches));
}

static void slots_must_lie_in_the_exchange(void **state)
{
    static const uint32_t offsets[] = {
        0,        8,     128,        KAON_MAILBOX_FREE - 8,
        4096 - 8, 4096,  4104,       8192,
        16376,    16384, 0x7ffffff8, 0xfffffff8,
    };
    static const uint32_t unaligned[] = { 513, 516, 519, 4095, 0xffffffff };

    (void)state;
    /* The area is not there yet: all of its offsets are outside, too. */
    for (size_t i = 0; i < COUNT(offsets); i++)
        expect_breach(&(struct breach){
            "outside of the exchange",
            .frame = { KAON_FRAME_RESULT, 0, 1, 0, offsets[i], 0, 0 } });
    for (size_t i = 0; i < COUNT(unaligned); i++)
        expect_breach(&(struct breach){
            "outside of the exchange",
            .frame = { KAON_FRAME_RESULT, 0, 1, 0, unaligned[i], 0, 0 } });
    expect_breach(&(struct breach){
        "outside of the exchange", /* no slots, but a place for them */
        .frame = { KAON_FRAME_RESULT, 0, 0, 0, SLOTS, 0, 0 } });
}

static void slots_must_be_canonical(void **state)
{
    static const struct breach breaches[] = {
        { "unknown type", .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_VOID, 0, 0 } } },
        { "unknown type", .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_COUNT, 0, 0 } } },
        { "unknown type", .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { UINT32_MAX, 0, 0 } } },
        { "canonical", .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_I32, 0, UINT64_C(1) << 32 } } },
        { "canonical", .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_I32, 4, 1 } } },
        { "canonical", .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_BOOL, 0, 2 } } },
    };

    (void)state;
    expect_breaches(breaches, COUNT(breaches));
}

static void a_string_must_be_one(void **state)
{
#define STRING(size, offset)                                              \
    .call = "echo", .frame = { KAON_FRAME_RESULT, 0, 1, 0, SLOTS, 0, 0 }, \
    .slots = { { KAON_TYPE_STRING, size, offset } }, .data = "abc\0d!",   \
    .data_size = 6
    static const struct breach breaches[] = {
        { "a NUL inside", STRING(5, DATA) }, /* has a NUL inside */
        { "none after", STRING(2, DATA) },   /* has none behind */
        { "a NUL inside", STRING(4, DATA) }, /* the NUL counted */
        { "outside", STRING(3, KAON_MAILBOX_FREE - 1) },
        { "outside", STRING(3, 0) },
        { "outside", STRING(4, 4093) }, /* its NUL is outside */
        { "outside", STRING(3, 4096) },
        { "outside", STRING(UINT32_MAX, DATA) },
        { "outside", STRING(3, UINT64_MAX) },
        { "outside", STRING(3, UINT64_MAX - 2) },
        { "outside", STRING(3, UINT64_C(1) << 32 | DATA) },
    };
#undef STRING

    (void)state;
    expect_breaches(breaches, COUNT(breaches));
}

static void words_must_be_a_string(void **state)
{
    static const uint32_t kinds[] = { KAON_FRAME_ERROR, KAON_FRAME_ABORT,
                                      KAON_FRAME_REFUSED };

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        expect_breach(
            &(struct breach){ "its words are of type i32",
                              .frame = { kinds[i], 0, 1, 0, SLOTS, 0, 0 },
                              .slots = { { KAON_TYPE_I32, 0, 1 } } });
        expect_breach(
            &(struct breach){ "its words are of type bytes",
                              .frame = { kinds[i], 0, 1, 0, SLOTS, 0, 0 },
                              .slots = { { KAON_TYPE_BYTES, 0, DATA } } });
        expect_breach(
            &(struct breach){ "in its words, there are more slots",
                              .frame = { kinds[i], 0, 2, 0, SLOTS, 0, 0 } });
        expect_breach(
            &(struct breach){ "in its words, a place is outside",
                              .frame = { kinds[i], 0, 1, 0, 40, 0, 0 } });
    }
}

static void a_host_call_must_be_well_formed(void **state)
{
    static const struct breach breaches[] = {
        { "in a host call, there are more slots",
          .frame = { KAON_FRAME_HOST_CALL, 0, KAON_PARAMS_MAX + 2, 0, SLOTS, 0,
                     0 } },
        { "in a host call, a place is outside",
          .frame = { KAON_FRAME_HOST_CALL, 0, 1, 0, 4088, 0, 0 } },
        { "in a host call, a slot has an unknown type",
          .frame = { KAON_FRAME_HOST_CALL, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { 77, 0, 0 } } },
        { "in a host call, a string has a NUL",
          .frame = { KAON_FRAME_HOST_CALL, 0, 1, 0, SLOTS, 0, 0 },
          .slots = { { KAON_TYPE_STRING, 3, DATA } }, .data = "a\0c",
          .data_size = 4 },
    };

    (void)state;
    expect_breaches(breaches, COUNT(breaches));
}

/* ---- The area ---------------------------------------------------------- */

/* Touches the area first, so that it is there. */
static enum kaon_status breaks_in_area(struct kaon_scripted_guest *guest,
                                       struct kaon_exit *exit, void *user)
{
    const struct breach *breach = ((struct play *)user)->user;
    uint64_t area = guest->entry.argument + KAON_MAILBOX_SIZE;
    unsigned char *at = play_touch(guest, exit, area, KAON_ACCESS_WRITE);

    if (!at)
        return KAON_OK;
    if (breach->frame.slots >= KAON_MAILBOX_SIZE &&
        breach->frame.slots <= (16 << 10) - 16)
        memcpy(at + breach->frame.slots - KAON_MAILBOX_SIZE, breach->slots, 16);
    return breaks(guest, exit, user);
}

static enum kaon_outcome_kind with_area(struct breach breach)
{
    struct play play = { .guest = breaks_in_area,
                         .user = &breach,
                         .opts.exchange_bytes = 12 << 10 };
    struct kaon_error err;

    play_begin(&play);
    assert_int_equal(kaon_call(play.sandbox, &play.out, "echo_bytes",
                               KAON_ARGS(kaon_bytes(NULL, 0)), NULL, &err),
                     KAON_OK);
    play_end(&play);
    return play.out.kind;
}

static struct breach in_area(uint32_t slots, uint64_t data, uint32_t size)
{
    return (
        struct breach){ .frame = { KAON_FRAME_RESULT, 0, 1, 0, slots, 0, 0 },
                        .slots = { { KAON_TYPE_BYTES, size, data } } };
}

static void the_area_ends_where_it_ends(void **state)
{
    const uint32_t end = 16 << 10;

    (void)state;
    assert_int_equal(with_area(in_area(4096, 4112, end - 4112)), KAON_RETURNED);
    assert_int_equal(with_area(in_area(4096, 4112, end - 4111)), KAON_PROTOCOL);
    assert_int_equal(with_area(in_area(end - 16, 4096, 16)), KAON_RETURNED);
    assert_int_equal(with_area(in_area(end - 8, 4096, 16)), KAON_PROTOCOL);
    assert_int_equal(with_area(in_area(end, 4096, 16)), KAON_PROTOCOL);
    assert_int_equal(with_area(in_area(4096, end, 0)), KAON_RETURNED);
    assert_int_equal(with_area(in_area(4096, end, 1)), KAON_PROTOCOL);
    assert_int_equal(with_area(in_area(4096, end + 1, 0)), KAON_PROTOCOL);
    /* Nothing may lie across the border of page and area. */
    assert_int_equal(with_area(in_area(4088, 4096, 16)), KAON_PROTOCOL);
    assert_int_equal(with_area(in_area(4096, 4090, 6)), KAON_RETURNED);
    assert_int_equal(with_area(in_area(4096, 4090, 7)), KAON_PROTOCOL);
}

/* ---- What it must not break -------------------------------------------- */

/* Spoils all that the host wrote and must not read again. */
static enum kaon_status scribbles(struct kaon_scripted_guest *guest,
                                  struct kaon_exit *exit, void *user)
{
    (void)user;
    memset(play_mailbox(guest), 0xff, offsetof(struct kaon_mailbox, frame));
    play_mailbox(guest)->posted.count = 0;
    memset(&play_mailbox(guest)->turn, 0xff,
           96 + KAON_MAILBOX_FREE - offsetof(struct kaon_mailbox, turn));
    *play_frame(guest) = (struct kaon_frame){ .kind = KAON_FRAME_RESULT,
                                              .function = 77,
                                              .code = 5,
                                              .free_page = 9,
                                              .free_area = UINT32_MAX };
    kaon__scripted_leave(exit);
    return KAON_OK;
}

static void a_spoilt_mailbox_does_not_matter(void **state)
{
    struct play play = { .guest = scribbles };

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 3; i++)
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play_end(&play);
}

/* Bytes by chance; the kind often one of a guest, so that more is looked at. */
static enum kaon_status babbles(struct kaon_scripted_guest *guest,
                                struct kaon_exit *exit, void *user)
{
    unsigned char *page = (unsigned char *)play_mailbox(guest);
    struct kaon_frame *frame = play_frame(guest);

    (void)user;
    for (size_t i = 0; i < KAON_MAILBOX_SIZE; i++)
        page[i] = (unsigned char)(random() % 4 ? random() % 17 : random());
    frame->kind = (uint32_t)random() % 10;
    if (random() % 8)
        play_mailbox(guest)->posted.count = 0;
    frame->function = random() % 2 ? (uint32_t)random() % 4 : UINT32_MAX;
    frame->count = (uint32_t)random() % 4;
    frame->slots = frame->count ? (uint32_t)random() % 600 * 8 : 0;
    if (random() % 8 == 0)
        frame->slots = (uint32_t)random();
    kaon__scripted_leave(exit);
    return guest->turn > 50 ? play_return_void(guest, exit) : KAON_OK;
}

static int takes_bytes(struct kaon_host_call *call,
                       const struct kaon_value *args, struct kaon_value *result,
                       void *user)
{
    (void)call;
    (void)user;
    *result = args[0];
    return 0;
}

static void babble_is_some_outcome(void **state)
{
    unsigned kinds = 0;

    (void)state;
    srandom(3);
    for (int i = 0; i < 1000; i++) {
        struct play play = { .guest = babbles,
                             .handler = takes_bytes,
                             .memory_bytes = 2 << 20,
                             .opts.exchange_bytes = 12 << 10 };

        play_begin(&play);
        if (kaon_call(play.sandbox, &play.out, "nothing", KAON_NO_ARGS, NULL,
                      &play.err))
            fail_msg("%s", play.err.text);
        assert_int_equal(kaon_sandbox_state(play.sandbox),
                         play.out.kind >= KAON_ABORT ? KAON_SANDBOX_POISONED
                                                     : KAON_SANDBOX_READY);
        kinds |= 1u << play.out.kind;
        play_end(&play);
    }
    assert_true(kinds & 1u << KAON_PROTOCOL);
    assert_true(kinds & 1u << KAON_ABORT);
    assert_true(kinds & 1u << KAON_GUEST_ERROR);
}

/* clang-format off */
TESTS(
    TEST_ROW(18, a_frame_must_be_a_guests),
    TEST_ROW(18, a_result_must_be_what_the_export_says),
    TEST_ROW(18, slots_must_lie_in_the_exchange),
    TEST_ROW(18, slots_must_be_canonical),
    TEST_ROW(18, a_string_must_be_one),
    TEST_ROW(18, words_must_be_a_string),
    TEST_ROW(18, a_host_call_must_be_well_formed),
    TEST_ROW(18, the_area_ends_where_it_ends),
    TEST_ROW(18, a_spoilt_mailbox_does_not_matter),
    TEST_ROW(18, babble_is_some_outcome),
)

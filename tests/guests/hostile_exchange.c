/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaves with whatever it likes in the exchange: what the host sends along,
 * or what chance says. The host must offer HostTake(string, bytes, u32) ->
 * bytes.
 */
#include <kaon/guest.h>

KAON_IMPORT(HostTake, bytes, string, bytes, u32);

#define FREE KAON_MAILBOX_FREE

static struct kaon_mailbox *mailbox_of(const void *in_it)
{
    return (void *)((uintptr_t)in_it & ~(uintptr_t)4095);
}

static void leave(struct kaon_mailbox *mailbox)
{
    ((void (*)(struct kaon_mailbox *))KAON_GATE_LEAVE)(mailbox);
}

/* Leaves with an empty result, by hand. */
__attribute__((noreturn)) static void give_up(struct kaon_mailbox *mailbox)
{
    mailbox->frame = (struct kaon_frame){ .kind = KAON_FRAME_RESULT };
    for (;;)
        leave(mailbox);
}

/*
 * `what` is a frame, then what is to lie at `at` in the exchange. Leaves; if
 * that was a host call, tells the frame of the answer as the result: its
 * kind, and its code above, or where its data lies.
 */
static uint64_t leave_with(struct kaon_span what, uint32_t at, bool place)
{
    struct kaon_mailbox *mailbox = mailbox_of(what.data);
    struct kaon_slot *slot;
    uint64_t copy[256];
    size_t rest = what.size - 32; /* what follows is aligned */
    uint64_t answer;

    __builtin_memcpy(copy, what.data, what.size < 2048 ? what.size : 2048);
    __builtin_memcpy((unsigned char *)mailbox + at, copy + 4, rest);
    __builtin_memcpy(&mailbox->frame, copy, sizeof mailbox->frame);
    leave(mailbox);
    answer = mailbox->frame.kind;
    slot = (void *)((unsigned char *)mailbox + mailbox->frame.slots);
    answer |= (place ? slot->bits : (uint32_t)mailbox->frame.code) << 32;
    slot = (void *)(mailbox->payload);
    *slot = (struct kaon_slot){ .type = KAON_TYPE_U64, .bits = answer };
    mailbox->frame = (struct kaon_frame){ .kind = KAON_FRAME_RESULT,
                                          .count = 1,
                                          .slots = FREE };
    leave(mailbox);
    return 0; /* never: nobody comes back from a result */
}
KAON_EXPORT(leave_with, u64, bytes, u32, bool);

/* ---- By chance --------------------------------------------------------- */

static uint64_t state;
static uint32_t declared; /* type of the result of the function that runs */
static uint32_t exchange; /* bytes; what the mailbox says is scribbled over */

/* SplitMix64, as in the tests. */
static uint64_t chance(void)
{
    uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(chance() >> 32) % limit;
}

/* A number that somebody may have forgotten to think of. */
static uint64_t odd_number(void)
{
    static const uint64_t edges[] = {
        0,
        1,
        15,
        16,
        17,
        127,
        128,
        FREE - 1,
        FREE,
        FREE + 1,
        4079,
        4080,
        4095,
        4096,
        4097,
        0x7fffffff,
        0x80000000,
        0xfffffff0,
        0xffffffff,
        0x100000000,
        INT64_MAX,
        UINT64_MAX,
        UINT64_MAX - 4095,
    };

    switch (below(5)) {
    case 0: return edges[below(sizeof edges / sizeof *edges)];
    case 1: return exchange - below(64) + 32;
    case 2: return below(exchange);
    case 3: return chance();
    default: return FREE + below(KAON_MAILBOX_SIZE - FREE);
    }
}

/* A slot that is good, as often as not. */
static struct kaon_slot odd_slot(uint32_t type)
{
    struct kaon_slot slot = { .type = type };

    if (type >= KAON_TYPE_STRING) {
        slot.bits = FREE + below(KAON_MAILBOX_SIZE - FREE);
        slot.size = below(below(4) ? 32 : 4096);
    } else {
        slot.bits = below(2);
    }
    switch (below(12)) {
    case 0: slot.type = (uint32_t)odd_number(); break;
    case 1: slot.size = (uint32_t)odd_number(); break;
    case 2:
    case 3: slot.bits = odd_number(); break;
    }
    return slot;
}

static void put_slots(unsigned char *mailbox, const struct kaon_frame *frame,
                      uint32_t kind, uint32_t result)
{
    static const uint32_t types[] = { KAON_TYPE_STRING, KAON_TYPE_BYTES,
                                      KAON_TYPE_U32 };

    for (uint32_t i = 0; i < 17; i++) {
        uint64_t at = (uint64_t)frame->slots + i * sizeof(struct kaon_slot);
        uint32_t type = kind == KAON_FRAME_HOST_CALL ? types[i % 3]
                        : kind == KAON_FRAME_RESULT  ? result
                                                     : KAON_TYPE_STRING;
        struct kaon_slot slot = odd_slot(type);

        if (at >= FREE && at + sizeof slot <= exchange)
            __builtin_memcpy(mailbox + at, &slot, sizeof slot);
    }
}

/* A frame of a kind, with a result of a type, that is good as often as not. */
static struct kaon_frame odd_frame_of(uint32_t kind, uint32_t result)
{
    struct kaon_frame frame = {
        .kind = kind,
        .count = kind == KAON_FRAME_HOST_CALL ? 3
                 : kind == KAON_FRAME_RESULT  ? result != KAON_TYPE_VOID
                                              : below(2),
        .code = (int32_t)chance(),
        .slots = FREE + 8 * below(400),
        .free_page = 16 * below(257),
        .free_area = 4096 + 16 * below(4096),
    };

    if (kind == KAON_FRAME_HOST_CALL && !below(4))
        frame.function = KAON_FUNCTION_BY_NAME;
    if (!frame.count)
        frame.slots = 0;
    switch (below(16)) {
    case 0: frame.kind = (uint32_t)odd_number(); break;
    case 1: frame.function = (uint32_t)odd_number(); break;
    case 2: frame.count = (uint32_t)odd_number(); break;
    case 3:
    case 4: frame.slots = (uint32_t)odd_number(); break;
    case 5: frame.free_page = (uint32_t)odd_number(); break;
    case 6: frame.free_area = (uint32_t)odd_number(); break;
    }
    return frame;
}

static struct kaon_frame odd_frame(void)
{
    static const uint32_t kinds[] = {
        KAON_FRAME_HOST_CALL, KAON_FRAME_HOST_CALL,    KAON_FRAME_HOST_CALL,
        KAON_FRAME_HOST_CALL, KAON_FRAME_RESULT,       KAON_FRAME_ERROR,
        KAON_FRAME_REFUSED,   KAON_FRAME_HOST_RESULT,  KAON_FRAME_CALL,
        KAON_FRAME_ABORT,     KAON_FRAME_HOST_REFUSED, 0,
    };

    return odd_frame_of(kinds[below(sizeof kinds / sizeof *kinds)], declared);
}

/* Where an array of frames begins, if so many can lie there. */
static struct kaon_frame *array_at(unsigned char *mailbox, uint32_t frames,
                                   uint32_t count)
{
    uint64_t end = frames + (uint64_t)count * sizeof(struct kaon_frame);

    return frames >= FREE && end <= exchange ? (void *)(mailbox + frames)
                                             : NULL;
}

#define ARRAY 8u

/* Posts some calls that may be well. */
static void post(struct kaon_mailbox *mailbox)
{
    unsigned char *bytes = (unsigned char *)mailbox;
    struct kaon_posted posted = { FREE + 16 * below(240), 1 + below(4) };
    struct kaon_frame *at = array_at(bytes, posted.frames, posted.count);
    struct kaon_frame frames[ARRAY];

    for (uint32_t i = 0; i < posted.count; i++) {
        frames[i] = odd_frame_of(KAON_FRAME_HOST_CALL, KAON_TYPE_VOID);
        put_slots(bytes, &frames[i], KAON_FRAME_HOST_CALL, KAON_TYPE_VOID);
    }
    if (at)
        __builtin_memcpy(at, frames, posted.count * sizeof *at);
    switch (below(8)) {
    case 0: posted.frames = (uint32_t)odd_number(); break;
    case 1: posted.count = (uint32_t)odd_number(); break;
    }
    mailbox->posted = posted;
}

/* Answers the calls of a batch, if the call is in one, but for some: the test
 * calls the functions below in their order. */
static void answer_batch(unsigned char *mailbox, const struct kaon_frame *batch)
{
    static const uint32_t kinds[] = { KAON_FRAME_RESULT, KAON_FRAME_RESULT,
                                      KAON_FRAME_ERROR, KAON_FRAME_REFUSED };
    static const uint32_t results[] = { KAON_TYPE_VOID, KAON_TYPE_U64,
                                        KAON_TYPE_BYTES, KAON_TYPE_STRING };
    struct kaon_frame *at = array_at(mailbox, batch->slots, batch->count);
    struct kaon_frame frames[ARRAY];

    for (uint32_t i = 0; i < batch->count && i < ARRAY; i++) {
        uint32_t kind = kinds[below(4)];

        frames[i] = odd_frame_of(kind, results[i % 4]);
        put_slots(mailbox, &frames[i], kind, results[i % 4]);
    }
    for (uint32_t i = 0; at && i < batch->count && i < ARRAY; i++)
        if (below(8))
            at[i] = frames[i];
}

/* Leaves up to `rounds` times, with something else each time. */
__attribute__((noreturn)) static void scribble(struct kaon_mailbox *mailbox,
                                               uint64_t seed, uint32_t rounds)
{
    unsigned char *bytes = (unsigned char *)mailbox;
    struct kaon_frame batch = mailbox->frame;

    if (batch.kind != KAON_FRAME_BATCH)
        batch.count = 0;
    state = seed;
    if (below(2))
        bytes[4096 + below(exchange - 4096)] = 1; /* there is an area, then */
    for (uint32_t i = 0; i < rounds; i++) {
        struct kaon_frame frame = odd_frame();

        put_slots(bytes, &frame, frame.kind, declared);
        for (uint32_t k = below(8); k; k--)
            bytes[FREE + below(KAON_MAILBOX_SIZE - FREE)] =
                (unsigned char)chance();
        if (!below(8)) /* what the host wrote once and does not read */
            __builtin_memset(bytes, (int)chance(),
                             offsetof(struct kaon_mailbox, gate));
        answer_batch(bytes, &batch);
        if (!below(16))
            post(mailbox);
        mailbox->frame = frame;
        leave(mailbox);
    }
    give_up(mailbox);
}

static void by_chance(struct kaon_span anything, uint64_t seed, uint32_t rounds)
{
    declared = KAON_TYPE_VOID;
    scribble(mailbox_of(anything.data), seed, rounds);
}
KAON_EXPORT(by_chance, void, bytes, u64, u32);

/* The same with other declared results. */
static uint64_t number_by_chance(struct kaon_span anything, uint64_t seed,
                                 uint32_t rounds)
{
    declared = KAON_TYPE_U64;
    scribble(mailbox_of(anything.data), seed, rounds);
}
KAON_EXPORT(number_by_chance, u64, bytes, u64, u32);

static struct kaon_span bytes_by_chance(struct kaon_span anything,
                                        uint64_t seed, uint32_t rounds)
{
    declared = KAON_TYPE_BYTES;
    scribble(mailbox_of(anything.data), seed, rounds);
}
KAON_EXPORT(bytes_by_chance, bytes, bytes, u64, u32);

static const char *text_by_chance(struct kaon_span anything, uint64_t seed,
                                  uint32_t rounds)
{
    declared = KAON_TYPE_STRING;
    scribble(mailbox_of(anything.data), seed, rounds);
}
KAON_EXPORT(text_by_chance, string, bytes, u64, u32);

/*
 * Scribbles before it is ready, if the first call is one with three arguments
 * of which the last is negative. The exchange lies right behind the stack, of
 * which this is the first page.
 */
void kaon_guest_init(void)
{
    struct kaon_mailbox *mailbox =
        mailbox_of((unsigned char *)__builtin_frame_address(0) + 4096);
    const struct kaon_slot *slots;

    exchange = mailbox->exchange_size;
    slots = (void *)((unsigned char *)mailbox + mailbox->frame.slots);
    if (mailbox->frame.count == 3 && (int32_t)slots[2].bits < 0)
        scribble(mailbox, slots[1].bits, (uint32_t)-slots[2].bits);
}

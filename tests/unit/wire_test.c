/* SPDX-License-Identifier: Apache-2.0 */
/* The wire codec: what is put is got, and what is hostile is refused. */
#include <stdlib.h>
#include <string.h>

#include "abi/wire.h"
#include "support/harness.h"

#define AREA_SIZE 65536u
#define AREA KAON_MAILBOX_SIZE /* the area's first offset */

/* An exchange in two allocations of just their size, so that sanitizers see
 * a step outside of either. */
static struct kaon_wire wire_create(uint32_t area_size)
{
    struct kaon_wire wire = { .area_size = area_size };

    wire.page = aligned_alloc(16, KAON_MAILBOX_SIZE);
    assert_non_null(wire.page);
    memset(wire.page, 0xa5, KAON_MAILBOX_SIZE);
    if (area_size) {
        wire.area = aligned_alloc(16, area_size);
        assert_non_null(wire.area);
        memset(wire.area, 0x5a, area_size);
    }
    return wire;
}

static void wire_destroy(struct kaon_wire *wire)
{
    free(wire->page);
    free(wire->area);
}

static unsigned char *at(const struct kaon_wire *wire, uint64_t offset)
{
    return offset < KAON_MAILBOX_SIZE ? wire->page + offset
                                      : wire->area + (offset - AREA);
}

static struct kaon_slot slot_of(const struct kaon_wire *wire,
                                const struct kaon_frame *frame, uint32_t i)
{
    struct kaon_slot slot;

    memcpy(&slot, at(wire, frame->slots) + i * sizeof slot, sizeof slot);
    return slot;
}

/* A frame with one slot, wherever and whatever it is. */
static struct kaon_frame frame_with(const struct kaon_wire *wire,
                                    uint32_t slots, struct kaon_slot slot)
{
    memcpy(at(wire, slots), &slot, sizeof slot);
    return (struct kaon_frame){ .count = 1, .slots = slots };
}

static enum kaon_wire_status get_slot(struct kaon_slot slot)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_frame frame = frame_with(&wire, KAON_MAILBOX_FREE, slot);
    struct kaon_value value;
    enum kaon_wire_status status = kaon_wire_get(&wire, &frame, &value, 1);

    wire_destroy(&wire);
    return status;
}

static void each_type_arrives_bit_for_bit(void **state)
{
    static const uint64_t quiet_nan = 0x7ff8dead0000beef;
    static const uint32_t signalling_nan = 0x7fa00001;
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_frame frame = { 0 };
    struct kaon_value got[KAON_PARAMS_MAX];
    float f32;
    double f64;

    (void)state;
    memcpy(&f32, &signalling_nan, sizeof f32);
    memcpy(&f64, &quiet_nan, sizeof f64);
    const struct kaon_value values[] = {
        kaon_i32(INT32_MIN),    kaon_i32(-1),         kaon_u32(UINT32_MAX),
        kaon_i64(INT64_MIN),    kaon_u64(UINT64_MAX), kaon_f32(-0.0f),
        kaon_f64(-0.0),         kaon_f64(f64),        kaon_bool(true),
        kaon_bool(false),       kaon_string("text"),  kaon_string(""),
        kaon_bytes("\0a\0", 3), kaon_bytes(NULL, 0),  kaon_string(NULL),
    };
    const uint32_t count = sizeof values / sizeof values[0];

    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), values, count, &frame),
        KAON_WIRE_OK);
    assert_int_equal(kaon_wire_get(&wire, &frame, got, KAON_PARAMS_MAX),
                     KAON_WIRE_OK);
    assert_int_equal(frame.count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(got[i].type, values[i].type);
        if (values[i].type < KAON_TYPE_STRING) {
            assert_true(got[i].u64 == values[i].u64);
            continue;
        }
        assert_int_equal(got[i].span.size, values[i].span.size);
        if (got[i].span.size)
            assert_memory_equal(got[i].span.data, values[i].span.data,
                                got[i].span.size);
    }
    assert_string_equal(got[10].span.data, "text");

    /* Floats as the value's bits, a signalling NaN included. */
    struct kaon_value nan = { .type = KAON_TYPE_F32 };
    nan.u32 = signalling_nan;
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), &nan, 1, &frame), 0);
    assert_int_equal(slot_of(&wire, &frame, 0).bits, signalling_nan);
    wire_destroy(&wire);
}

static void numbers_are_canonical_on_the_wire(void **state)
{
    struct kaon_wire wire = wire_create(0);
    struct kaon_frame frame = { 0 };
    struct kaon_value values[2] = { kaon_i32(-1), kaon_bool(true) };

    (void)state;
    /* What lies beside the number in the union stays here. */
    memset((char *)&values[0] + 12, 0xee, sizeof values[0] - 12);
    memset((char *)&values[1] + 9, 0xee, sizeof values[1] - 9);
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), values, 2, &frame), 0);
    assert_true(slot_of(&wire, &frame, 0).bits == 0xffffffff);
    assert_true(slot_of(&wire, &frame, 1).bits == 1);
    assert_int_equal(slot_of(&wire, &frame, 0).size, 0);
    wire_destroy(&wire);
}

static void nothing_takes_no_slot(void **state)
{
    struct kaon_wire wire = wire_create(0);
    struct kaon_frame frame = { .slots = 7, .count = 7 };

    (void)state;
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), NULL, 0, &frame), 0);
    assert_int_equal(frame.count, 0);
    assert_int_equal(frame.slots, 0);
    assert_int_equal(frame.free_page, KAON_MAILBOX_FREE);
    assert_int_equal(frame.free_area, AREA);
    assert_int_equal(kaon_wire_get(&wire, &frame, NULL, 0), 0);
    wire_destroy(&wire);
}

static void values_go_to_the_page_if_all_fit_there(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    static char text[KAON_MAILBOX_SIZE];
    struct kaon_frame frame = { 0 };
    struct kaon_value value;
    const size_t room =
        KAON_MAILBOX_SIZE - KAON_MAILBOX_FREE - sizeof(struct kaon_slot) - 1;

    (void)state;
    memset(text, 'x', sizeof text);
    value = kaon_string_n(text, room);
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), &value, 1, &frame), 0);
    assert_int_equal(frame.slots, KAON_MAILBOX_FREE);
    assert_int_equal(frame.free_page, KAON_MAILBOX_SIZE);
    assert_int_equal(frame.free_area, AREA);

    value = kaon_string_n(text, room + 1);
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), &value, 1, &frame), 0);
    assert_int_equal(frame.slots, AREA);
    assert_int_equal(frame.free_page, KAON_MAILBOX_FREE);
    assert_int_equal(frame.free_area % 16, 0);
    wire_destroy(&wire);
}

static void what_fills_the_area_fits_and_a_byte_more_does_not(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_frame frame = { .kind = 99 };
    char *bytes = calloc(1, AREA_SIZE);
    const size_t room = AREA_SIZE - sizeof(struct kaon_slot);
    struct kaon_value value = kaon_bytes(bytes, room);

    (void)state;
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), &value, 1, &frame), 0);
    assert_int_equal(frame.free_area, AREA + AREA_SIZE);
    assert_true(kaon_wire_size(&value, 1) >= AREA_SIZE);

    struct kaon_frame before = frame;
    value = kaon_bytes(bytes, room + 1);
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), &value, 1, &frame),
        KAON_WIRE_TOO_LARGE);
    assert_memory_equal(&before, &frame, sizeof frame);
    free(bytes);
    wire_destroy(&wire);
}

static void absurd_sizes_are_too_large_and_not_read(void **state)
{
    static const uint64_t sizes[] = { UINT32_MAX - 1, UINT32_MAX,
                                      (uint64_t)UINT32_MAX + 1, SIZE_MAX - 15,
                                      SIZE_MAX };
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_frame frame = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kaon_value values[] = { kaon_bytes(wire.page, sizes[i]),
                                       kaon_string_n("x", sizes[i]) };

        assert_int_equal(
            kaon_wire_put(&wire, kaon_wire_all_free(), values, 1, &frame),
            KAON_WIRE_TOO_LARGE);
        assert_int_equal(
            kaon_wire_put(&wire, kaon_wire_all_free(), values + 1, 1, &frame),
            KAON_WIRE_TOO_LARGE);
        assert_true(kaon_wire_size(values, 2) > AREA_SIZE);
    }
    wire_destroy(&wire);
}

static void what_cannot_be_sent_is_refused(void **state)
{
    struct kaon_wire wire = wire_create(0);
    struct kaon_frame frame = { 0 };
    struct kaon_value values[KAON_PARAMS_MAX + 2] = { { 0 } };

    (void)state;
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), values, 1, &frame),
        KAON_WIRE_BAD_TYPE);
    values[0].type = KAON_TYPE_COUNT;
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), values, 1, &frame),
        KAON_WIRE_BAD_TYPE);
    assert_int_equal(kaon_wire_put(&wire, kaon_wire_all_free(), values,
                                   KAON_PARAMS_MAX + 2, &frame),
                     KAON_WIRE_BAD_COUNT);
    wire_destroy(&wire);
}

static void bytes_that_are_copied_start_at_a_multiple_of_16(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_frame frame = { 0 };
    const struct kaon_value values[] = {
        kaon_string("odd"),
        kaon_bytes("12345", 5),
        kaon_bytes("1", 1),
    };

    (void)state;
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), values, 3, &frame), 0);
    assert_int_equal(slot_of(&wire, &frame, 1).bits % 16, 0);
    assert_int_equal(slot_of(&wire, &frame, 2).bits % 16, 0);
    wire_destroy(&wire);
}

static void data_in_the_exchange_is_not_copied(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_wire_free free = { KAON_MAILBOX_FREE + 64, AREA + 4096 };
    struct kaon_frame frame = { 0 };
    const struct kaon_value values[] = {
        kaon_string(strcpy((char *)wire.page + KAON_MAILBOX_FREE, "page")),
        kaon_bytes(wire.area + 3, 4000),
    };

    (void)state;
    assert_int_equal(kaon_wire_put(&wire, free, values, 2, &frame), 0);
    assert_int_equal(slot_of(&wire, &frame, 0).bits, KAON_MAILBOX_FREE);
    assert_int_equal(slot_of(&wire, &frame, 1).bits, AREA + 3);
    assert_int_equal(frame.free_page, KAON_MAILBOX_FREE + 64 + 32);
    wire_destroy(&wire);
}

static void part_of_a_string_in_the_exchange_is_copied(void **state)
{
    struct kaon_wire wire = wire_create(0);
    struct kaon_wire_free free = { KAON_MAILBOX_FREE + 64, AREA };
    struct kaon_frame frame = { 0 };
    struct kaon_value value, got;

    (void)state;
    strcpy((char *)wire.page + KAON_MAILBOX_FREE, "Hello, World!");
    value = kaon_string_n((char *)wire.page + KAON_MAILBOX_FREE, 5);
    assert_int_equal(kaon_wire_put(&wire, free, &value, 1, &frame), 0);
    assert_true(slot_of(&wire, &frame, 0).bits > KAON_MAILBOX_FREE);
    assert_int_equal(kaon_wire_get(&wire, &frame, &got, 1), 0);
    assert_string_equal(got.span.data, "Hello");
    wire_destroy(&wire);
}

/* A string whose NUL would be the first byte outside is not in place. */
static void a_string_up_to_the_very_end_is_copied(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_frame frame = { 0 };
    struct kaon_value values[2];

    (void)state;
    memset(wire.page + KAON_MAILBOX_SIZE - 8, 'p', 8);
    memset(wire.area + AREA_SIZE - 8, 'a', 8);
    values[0] = kaon_string_n((char *)wire.page + KAON_MAILBOX_SIZE - 8, 8);
    values[1] = kaon_string_n((char *)wire.area + AREA_SIZE - 8, 8);
    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), values, 2, &frame), 0);
    assert_int_equal(slot_of(&wire, &frame, 0).bits, KAON_MAILBOX_FREE + 32);
    assert_int_equal(slot_of(&wire, &frame, 1).bits, KAON_MAILBOX_FREE + 41);
    wire_destroy(&wire);
}

static void numbers_out_of_canonical_form_are_refused(void **state)
{
    static const struct kaon_slot good[] = {
        { KAON_TYPE_I32, 0, UINT32_MAX },
        { KAON_TYPE_U64, 0, UINT64_MAX },
        { KAON_TYPE_BOOL, 0, 1 },
        { KAON_TYPE_F64, 0, UINT64_MAX },
    };
    static const struct kaon_slot bad[] = {
        { KAON_TYPE_I32, 0, UINT64_MAX },
        { KAON_TYPE_U32, 0, UINT64_C(1) << 32 },
        { KAON_TYPE_F32, 0, UINT64_C(1) << 63 },
        { KAON_TYPE_BOOL, 0, 2 },
        { KAON_TYPE_I64, 8, 0 },
        { KAON_TYPE_BOOL, UINT32_MAX, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(get_slot(good[i]), KAON_WIRE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(get_slot(bad[i]), KAON_WIRE_BAD_BITS);
}

static void unknown_types_and_void_are_refused(void **state)
{
    static const uint32_t types[] = { KAON_TYPE_VOID, KAON_TYPE_COUNT, 0x100,
                                      0x80000001, UINT32_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        assert_int_equal(get_slot((struct kaon_slot){ types[i], 0, 0 }),
                         KAON_WIRE_BAD_TYPE);
}

static void data_outside_of_the_exchange_is_refused(void **state)
{
    static const struct kaon_slot bad[] = {
        { KAON_TYPE_BYTES, 0, 0 },
        { KAON_TYPE_BYTES, 1, KAON_MAILBOX_FREE - 1 },
        { KAON_TYPE_BYTES, 2, KAON_MAILBOX_SIZE - 1 }, /* across the border */
        { KAON_TYPE_BYTES, AREA_SIZE, KAON_MAILBOX_FREE },
        { KAON_TYPE_BYTES, 1, AREA + AREA_SIZE },
        { KAON_TYPE_BYTES, 0, AREA + AREA_SIZE + 1 },
        { KAON_TYPE_BYTES, AREA_SIZE + 1, AREA },
        { KAON_TYPE_BYTES, UINT32_MAX, AREA },
        { KAON_TYPE_BYTES, UINT32_MAX, KAON_MAILBOX_FREE },
        { KAON_TYPE_BYTES, 1, UINT64_MAX },
        { KAON_TYPE_BYTES, 16, UINT64_MAX - 7 },
        { KAON_TYPE_BYTES, 0, UINT64_C(1) << 32 },
        { KAON_TYPE_BYTES, 4, (UINT64_C(1) << 32) + AREA },
        { KAON_TYPE_STRING, UINT32_MAX, AREA },
        { KAON_TYPE_STRING, AREA_SIZE, AREA }, /* no room for its NUL */
        { KAON_TYPE_STRING, 1, KAON_MAILBOX_SIZE - 1 },
    };
    static const struct kaon_slot good[] = {
        { KAON_TYPE_BYTES, 0, AREA + AREA_SIZE },
        { KAON_TYPE_BYTES, AREA_SIZE, AREA },
        { KAON_TYPE_BYTES, 1, KAON_MAILBOX_SIZE - 1 },
        { KAON_TYPE_BYTES, 0, KAON_MAILBOX_SIZE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(get_slot(bad[i]), KAON_WIRE_BAD_OFFSET);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(get_slot(good[i]), KAON_WIRE_OK);
}

static void strings_need_their_nul_and_no_other(void **state)
{
    static const struct {
        char text[4];
        uint32_t size;
        enum kaon_wire_status status;
    } cases[] = {
        { "abc", 3, KAON_WIRE_OK },
        { "", 0, KAON_WIRE_OK },
        { "abc", 2, KAON_WIRE_BAD_STRING },
        { "a\0c", 3, KAON_WIRE_BAD_STRING },
        { "\0bc", 3, KAON_WIRE_BAD_STRING },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kaon_wire wire = wire_create(AREA_SIZE);
        struct kaon_frame frame = frame_with(
            &wire, KAON_MAILBOX_FREE,
            (struct kaon_slot){ KAON_TYPE_STRING, cases[i].size, AREA + 7 });
        struct kaon_value value;

        memcpy(wire.area + 7, cases[i].text, 4);
        assert_int_equal(kaon_wire_get(&wire, &frame, &value, 1),
                         cases[i].status);
        wire_destroy(&wire);
    }
}

static void slots_outside_of_the_exchange_are_refused(void **state)
{
    static const struct {
        uint32_t slots, count;
        enum kaon_wire_status status;
    } cases[] = {
        { KAON_MAILBOX_FREE, 17, KAON_WIRE_OK },
        { AREA + AREA_SIZE - 17 * 16, 17, KAON_WIRE_OK },
        { AREA + AREA_SIZE - 17 * 16 + 8, 17, KAON_WIRE_BAD_OFFSET },
        { KAON_MAILBOX_FREE, 18, KAON_WIRE_BAD_COUNT },
        { KAON_MAILBOX_FREE, UINT32_MAX, KAON_WIRE_BAD_COUNT },
        { KAON_MAILBOX_FREE, 0x10000001, KAON_WIRE_BAD_COUNT },
        { 0, 1, KAON_WIRE_BAD_OFFSET },
        { KAON_MAILBOX_FREE - 8, 1, KAON_WIRE_BAD_OFFSET },
        { KAON_MAILBOX_FREE + 4, 1, KAON_WIRE_BAD_OFFSET },
        { KAON_MAILBOX_SIZE - 8, 1, KAON_WIRE_BAD_OFFSET },
        { AREA + AREA_SIZE, 1, KAON_WIRE_BAD_OFFSET },
        { UINT32_MAX - 7, 1, KAON_WIRE_BAD_OFFSET },
        { KAON_MAILBOX_FREE, 0, KAON_WIRE_BAD_OFFSET },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kaon_wire wire = wire_create(AREA_SIZE);
        struct kaon_frame frame = { .count = cases[i].count,
                                    .slots = cases[i].slots };
        struct kaon_value values[KAON_PARAMS_MAX + 1];

        /* An i64 each, wherever they are. */
        memset(wire.page, 0, KAON_MAILBOX_SIZE);
        memset(wire.area, 0, AREA_SIZE);
        for (uint32_t j = 0; j < KAON_MAILBOX_SIZE; j += 16)
            wire.page[j] = KAON_TYPE_I64;
        for (uint32_t j = 0; j < AREA_SIZE; j += 16)
            wire.area[j] = KAON_TYPE_I64;
        assert_int_equal(kaon_wire_get(&wire, &frame, values, 17),
                         cases[i].status);
        wire_destroy(&wire);
    }
}

static void an_exchange_may_have_no_area(void **state)
{
    struct kaon_wire wire = wire_create(0);
    struct kaon_frame frame =
        frame_with(&wire, KAON_MAILBOX_FREE,
                   (struct kaon_slot){ KAON_TYPE_BYTES, 1, KAON_MAILBOX_SIZE });
    struct kaon_value value;

    (void)state;
    assert_int_equal(kaon_wire_get(&wire, &frame, &value, 1),
                     KAON_WIRE_BAD_OFFSET);
    frame.slots = AREA;
    assert_int_equal(kaon_wire_get(&wire, &frame, &value, 1),
                     KAON_WIRE_BAD_OFFSET);
    wire_destroy(&wire);
}

static void an_offer_is_clipped_to_the_exchange(void **state)
{
    static const struct {
        uint32_t page, area, page_is, area_is;
    } cases[] = {
        { 256, AREA, 256, AREA },
        { 4080, AREA + 16, 4080, AREA + 16 },
        { 4096, AREA + AREA_SIZE, 4096, AREA + AREA_SIZE },
        { 0, 0, 4096, AREA + AREA_SIZE },
        { 255, AREA - 16, 4096, AREA + AREA_SIZE },
        { 257, AREA + 8, 4096, AREA + AREA_SIZE },
        { 4112, AREA + AREA_SIZE + 16, 4096, AREA + AREA_SIZE },
        { UINT32_MAX, UINT32_MAX, 4096, AREA + AREA_SIZE },
    };
    struct kaon_wire wire = wire_create(AREA_SIZE);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kaon_frame frame = { .free_page = cases[i].page,
                                    .free_area = cases[i].area };
        struct kaon_wire_free free = kaon_wire_offer(&wire, &frame);

        assert_int_equal(free.page, cases[i].page_is);
        assert_int_equal(free.area, cases[i].area_is);
    }
    wire_destroy(&wire);
}

static void the_size_is_never_less_than_what_is_taken(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    char data[64] = "";

    (void)state;
    for (size_t a = 0; a < sizeof data; a++) {
        for (size_t b = 0; b < sizeof data; b++) {
            const struct kaon_value values[] = { kaon_string_n(data, a),
                                                 kaon_bytes(data, b),
                                                 kaon_i32(1) };
            struct kaon_frame frame = { 0 };

            assert_int_equal(
                kaon_wire_put(&wire, kaon_wire_all_free(), values, 3, &frame),
                0);
            assert_true(frame.free_page - KAON_MAILBOX_FREE <=
                        kaon_wire_size(values, 3) + 15);
        }
    }
    wire_destroy(&wire);
}

/* ---- Behind one another, downwards ------------------------------------- */

static void copies_go_below_what_is_taken(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    const struct kaon_value values[] = { kaon_string("text"), kaon_i32(-7),
                                         kaon_bytes("\0b", 2) };
    struct kaon_frame frame = { .kind = 77, .free_page = 1, .free_area = 2 };
    uint32_t high = AREA + 4096, taken = 0;
    struct kaon_value got[3];

    (void)state;
    /* 3 slots, "text" and its NUL, then at 64 two bytes: 80 in all. */
    while (kaon_wire_put_below(&wire, AREA + 1024, high, values, 3, &frame) ==
           KAON_WIRE_OK) {
        assert_int_equal(frame.slots, high - 80);
        assert_int_equal(kaon_wire_get(&wire, &frame, got, 3), KAON_WIRE_OK);
        assert_string_equal(got[0].span.data, "text");
        assert_int_equal(got[1].i32, -7);
        assert_memory_equal(got[2].span.data, "\0b", 2);
        high = frame.slots;
        taken++;
    }
    assert_int_equal(taken, 3072 / 80);
    assert_int_equal(frame.kind, 77);
    assert_int_equal(frame.free_page, 1);
    assert_int_equal(frame.free_area, 2);
    assert_int_equal(*at(&wire, AREA + 4096), 0x5a);
    assert_int_equal(*at(&wire, AREA + 1023), 0x5a);
    wire_destroy(&wire);
}

/* What lies in the exchange may be changed by whoever goes on. */
static void copies_are_made_of_what_is_in_the_exchange_too(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_value value, got;
    struct kaon_frame frame = { 0 };

    (void)state;
    memcpy(at(&wire, 512), "in place", 9);
    value = kaon_string((const char *)at(&wire, 512));
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 2048, &value, 1, &frame),
                     KAON_WIRE_OK);
    memset(at(&wire, 512), 'x', 9);
    assert_int_equal(kaon_wire_get(&wire, &frame, &got, 1), KAON_WIRE_OK);
    assert_string_equal(got.span.data, "in place");
    wire_destroy(&wire);
}

static void what_cannot_go_below_is_refused(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_value values[KAON_PARAMS_MAX + 2] = { kaon_string("text") };
    struct kaon_frame frame = { 0 };

    (void)state;
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 1024, values, 0, &frame),
                     KAON_WIRE_OK);
    assert_int_equal(frame.slots, 0);
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 1055, values, 1, &frame),
                     KAON_WIRE_TOO_LARGE);
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 1008, values, 1, &frame),
                     KAON_WIRE_TOO_LARGE);
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 1056, values, 1, &frame),
                     KAON_WIRE_OK);
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 4096, values, 2, &frame),
                     KAON_WIRE_BAD_TYPE);
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 4096, values,
                                         KAON_PARAMS_MAX + 2, &frame),
                     KAON_WIRE_BAD_COUNT);
    values[0].span.size = SIZE_MAX;
    assert_int_equal(kaon_wire_put_below(&wire, 1024, 4096, values, 1, &frame),
                     KAON_WIRE_TOO_LARGE);
    wire_destroy(&wire);
}

/* ---- Arrays of frames -------------------------------------------------- */

/* Frames that the mailbox page has room for. */
#define IN_PAGE ((KAON_MAILBOX_SIZE - KAON_MAILBOX_FREE) / 28)

static void an_array_of_frames_is_written_and_read(void **state)
{
    struct kaon_wire wire = wire_create(AREA_SIZE);
    struct kaon_frame array = { .kind = KAON_FRAME_BATCH }, frame;
    static const uint32_t counts[] = { 1, IN_PAGE, IN_PAGE + 1,
                                       AREA_SIZE / 28 };

    (void)state;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        assert_int_equal(kaon_wire_put_frames(&wire, kaon_wire_all_free(),
                                              counts[k], &array),
                         KAON_WIRE_OK);
        assert_int_equal(array.slots,
                         counts[k] <= IN_PAGE ? KAON_MAILBOX_FREE : AREA);
        assert_int_equal(array.count, counts[k]);
        assert_int_equal(
            kaon_wire_check_frames(&wire, array.slots, array.count),
            KAON_WIRE_OK);
        for (uint32_t i = 0; i < counts[k]; i++)
            kaon_wire_write_frame(&wire, array.slots, i,
                                  &(struct kaon_frame){ 1, i, 3, -4, 5, 6, 7 });
        for (uint32_t i = 0; i < counts[k]; i++) {
            kaon_wire_read_frame(&wire, array.slots, i, &frame);
            assert_memory_equal(&frame,
                                (&(struct kaon_frame){ 1, i, 3, -4, 5, 6, 7 }),
                                sizeof frame);
        }
    }
    assert_int_equal(kaon_wire_put_frames(&wire, kaon_wire_all_free(),
                                          AREA_SIZE / 28 + 1, &array),
                     KAON_WIRE_TOO_LARGE);
    assert_int_equal(
        kaon_wire_put_frames(&wire, kaon_wire_all_free(), UINT32_MAX, &array),
        KAON_WIRE_TOO_LARGE);
    wire_destroy(&wire);
}

static void an_array_of_frames_lies_in_one_piece(void **state)
{
    static const struct {
        uint32_t frames, count;
    } bad[] = {
        { 0, 1 },
        { KAON_MAILBOX_FREE - 16, 1 },
        { KAON_MAILBOX_FREE + 8, 1 },
        { KAON_MAILBOX_SIZE - 16, 1 },
        { KAON_MAILBOX_FREE, IN_PAGE + 1 },
        { AREA, AREA_SIZE / 28 + 1 },
        { AREA + AREA_SIZE, 1 },
        { 0xfffffff0, 1 },
        { 0xfffffff0, UINT32_MAX },
        { AREA, UINT32_MAX },
    };
    struct kaon_wire wire = wire_create(AREA_SIZE);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(
            kaon_wire_check_frames(&wire, bad[i].frames, bad[i].count),
            KAON_WIRE_BAD_OFFSET);
    wire_destroy(&wire);
}

static void each_status_has_its_reason(void **state)
{
    (void)state;
    for (int a = KAON_WIRE_OK; a <= KAON_WIRE_BAD_STRING; a++)
        for (int b = KAON_WIRE_OK; b < a; b++)
            assert_string_not_equal(kaon_wire_reason((enum kaon_wire_status)a),
                                    kaon_wire_reason((enum kaon_wire_status)b));
}

/* clang-format off */
TESTS(
    TEST(each_type_arrives_bit_for_bit),
    TEST(numbers_are_canonical_on_the_wire),
    TEST(nothing_takes_no_slot),
    TEST(values_go_to_the_page_if_all_fit_there),
    TEST(what_fills_the_area_fits_and_a_byte_more_does_not),
    TEST(absurd_sizes_are_too_large_and_not_read),
    TEST(what_cannot_be_sent_is_refused),
    TEST(bytes_that_are_copied_start_at_a_multiple_of_16),
    TEST(data_in_the_exchange_is_not_copied),
    TEST(part_of_a_string_in_the_exchange_is_copied),
    TEST(a_string_up_to_the_very_end_is_copied),
    TEST(numbers_out_of_canonical_form_are_refused),
    TEST(unknown_types_and_void_are_refused),
    TEST(data_outside_of_the_exchange_is_refused),
    TEST(strings_need_their_nul_and_no_other),
    TEST(slots_outside_of_the_exchange_are_refused),
    TEST(an_exchange_may_have_no_area),
    TEST(an_offer_is_clipped_to_the_exchange),
    TEST(the_size_is_never_less_than_what_is_taken),
    TEST(copies_go_below_what_is_taken),
    TEST(copies_are_made_of_what_is_in_the_exchange_too),
    TEST(what_cannot_go_below_is_refused),
    TEST(an_array_of_frames_is_written_and_read),
    TEST(an_array_of_frames_lies_in_one_piece),
    TEST(each_status_has_its_reason),
)

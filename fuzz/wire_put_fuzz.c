/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the way through the exchange: whatever values fit arrive as they
 * were, and what does not fit leaves no trace outside of it.
 *
 * Input: a byte for the area's size, two for what is free, then values: a byte
 * of type, a byte of length for strings and bytes, and their data.
 */
#include <stdlib.h>
#include <string.h>

#include "abi/wire.h"

#define VALUES (KAON_PARAMS_MAX + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static void check(int holds)
{
    if (!holds)
        abort();
}

static uint8_t take_byte(struct input *in)
{
    if (!in->size)
        return 0;
    in->size--;
    return *in->data++;
}

static const void *take_bytes(struct input *in, size_t *size)
{
    const void *data = in->data;

    if (*size > in->size)
        *size = in->size;
    in->data += *size;
    in->size -= *size;
    return data;
}

static struct kaon_value take_number(struct input *in, uint32_t type)
{
    struct kaon_value value = { .type = type };
    size_t size = 8;
    uint64_t bits = 0;
    const void *data;

    if (type <= KAON_TYPE_U32 || type == KAON_TYPE_F32)
        size = 4;
    if (type == KAON_TYPE_BOOL)
        size = 1;
    data = take_bytes(in, &size);
    if (size)
        memcpy(&bits, data, size);
    value.u64 = type == KAON_TYPE_BOOL ? bits & 1 : bits;
    return value;
}

/* Any type, now and then one that cannot be sent. */
static struct kaon_value take_value(struct input *in)
{
    uint32_t type = take_byte(in) % (KAON_TYPE_COUNT + 1);
    size_t length;
    const void *data;

    if (type < KAON_TYPE_STRING || type == KAON_TYPE_COUNT)
        return take_number(in, type);
    /* Lengths that fill a page, too. */
    length = (size_t)take_byte(in) * (type == KAON_TYPE_BYTES ? 33 : 1);
    data = take_bytes(in, &length);
    if (type == KAON_TYPE_BYTES)
        return kaon_bytes(data, length);
    return kaon_string_n(data, length ? strnlen(data, length) : 0);
}

static int same(const struct kaon_value *a, const struct kaon_value *b)
{
    if (a->type != b->type)
        return 0;
    if (a->type < KAON_TYPE_STRING)
        return a->u64 == b->u64;
    return a->span.size == b->span.size &&
           (!a->span.size ||
            memcmp(a->span.data, b->span.data, a->span.size) == 0);
}

static int sendable(const struct kaon_value *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (values[i].type == KAON_TYPE_VOID ||
            values[i].type >= KAON_TYPE_COUNT)
            return 0;
    return 1;
}

static void there_and_back(const struct kaon_wire *wire,
                           struct kaon_wire_free free,
                           const struct kaon_value *values, uint32_t count)
{
    struct kaon_value got[VALUES];
    struct kaon_frame frame = { 0 }, untouched = frame;
    enum kaon_wire_status status =
        kaon_wire_put(wire, free, values, count, &frame);

    if (status) {
        check(memcmp(&frame, &untouched, sizeof frame) == 0);
        check((status == KAON_WIRE_BAD_TYPE) == !sendable(values, count));
        check(status == KAON_WIRE_BAD_TYPE ||
              kaon_wire_size(values, count) > KAON_MAILBOX_SIZE - free.page);
        return;
    }
    check(sendable(values, count));
    check(kaon_wire_get(wire, &frame, got, VALUES) == KAON_WIRE_OK);
    for (uint32_t i = 0; i < count; i++)
        check(same(&values[i], &got[i]));

    /* Behind it as much is free as it says, and the values are in place now:
     * sent on, only their slots are new. */
    free = kaon_wire_offer(wire, &frame);
    check(free.page == frame.free_page && free.area == frame.free_area);
    if (kaon_wire_put(wire, free, got, count, &frame))
        return;
    check(kaon_wire_get(wire, &frame, got, VALUES) == KAON_WIRE_OK);
    for (uint32_t i = 0; i < count; i++)
        check(same(&values[i], &got[i]));
}

/* The same with copies of all, between two places of a page, twice. */
static void there_and_back_below(const struct kaon_wire *wire, uint32_t low,
                                 const struct kaon_value *values,
                                 uint32_t count)
{
    struct kaon_value got[VALUES];
    struct kaon_frame frame = { 0 };
    uint32_t high = KAON_MAILBOX_SIZE;

    memset(wire->page, 0xa5, KAON_MAILBOX_SIZE);
    for (int round = 0; round < 2; round++) {
        enum kaon_wire_status status =
            kaon_wire_put_below(wire, low, high, values, count, &frame);

        for (uint32_t i = 0; i < low; i++)
            check(wire->page[i] == 0xa5);
        if (status) {
            check((status == KAON_WIRE_BAD_TYPE) == !sendable(values, count));
            check(status == KAON_WIRE_BAD_TYPE ||
                  kaon_wire_size(values, count) + 15 > high - low);
            return;
        }
        check(kaon_wire_get(wire, &frame, got, VALUES) == KAON_WIRE_OK);
        for (uint32_t i = 0; i < count; i++)
            check(same(&values[i], &got[i]));
        check(!count || (frame.slots >= low && frame.slots < high));
        high = count ? frame.slots : high;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    struct kaon_value values[VALUES];
    struct kaon_wire wire = { 0 };
    struct kaon_wire_free free_space = kaon_wire_all_free();
    uint32_t count = 0;

    wire.area_size = (uint32_t)take_byte(&in) * 48;
    free_space.page += take_byte(&in) % 241u * 16;
    free_space.area += take_byte(&in) % (wire.area_size / 16 + 1) * 16;
    wire.page = calloc(1, KAON_MAILBOX_SIZE);
    wire.area = wire.area_size ? calloc(1, wire.area_size) : NULL;
    while (in.size && count < VALUES)
        values[count++] = take_value(&in);
    if (wire.page && (wire.area || !wire.area_size)) {
        there_and_back(&wire, free_space, values, count);
        there_and_back_below(&wire, free_space.page, values, count);
    }
    free(wire.page);
    free(wire.area);
    return 0;
}

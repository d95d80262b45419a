/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values to slots and back.
 *
 * Owns nothing and keeps nothing. Never touches memory outside of the two
 * pieces that a kaon_wire names, but for the data of values to be sent; never
 * reads a slot twice; needs nothing of a C library but memmove and memchr.
 *
 * Invariants: offsets count from the mailbox page's start, the area's first
 * byte is at KAON_MAILBOX_SIZE, and both pieces are aligned to 16 bytes. The
 * wire is little-endian, as is every machine that this is built for. Data of
 * bytes that is copied starts at a multiple of 16, so that a receiver may
 * use it as an array of whatever it holds.
 */
#include "abi/wire.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "slots are read as little-endian words");

#define SLOTS_MAX (KAON_PARAMS_MAX + 1)
#define SLOT_SIZE ((uint32_t)sizeof(struct kaon_slot))
#define ALIGNMENT 16u

/* Memory that the other side wrote, whatever type it had there. */
typedef uint64_t __attribute__((may_alias)) wire_word;

static uint64_t round_up(uint64_t offset)
{
    return (offset + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

static uint64_t area_end(const struct kaon_wire *wire)
{
    return (uint64_t)KAON_MAILBOX_SIZE + wire->area_size;
}

/* Where size bytes at offset lie, or NULL if they are not all in one piece. */
static inline unsigned char *locate(const struct kaon_wire *wire,
                                    uint64_t offset, uint64_t size)
{
    if (offset < KAON_MAILBOX_FREE)
        return NULL;
    if (offset < KAON_MAILBOX_SIZE)
        return size <= KAON_MAILBOX_SIZE - offset ? wire->page + offset : NULL;
    if (offset > area_end(wire) || size > area_end(wire) - offset)
        return NULL;
    /* The end of the page is as good a place for nothing as any. */
    if (!wire->area)
        return wire->page + KAON_MAILBOX_SIZE;
    return wire->area + (offset - KAON_MAILBOX_SIZE);
}

/* The offset of size bytes that already lie in the exchange, or 0. */
static uint64_t offset_of(const struct kaon_wire *wire, const void *data,
                          uint64_t size)
{
    uint64_t offset = (uintptr_t)data - (uintptr_t)wire->page;

    if (offset >= KAON_MAILBOX_FREE && offset < KAON_MAILBOX_SIZE &&
        size <= KAON_MAILBOX_SIZE - offset)
        return offset;
    offset = (uintptr_t)data - (uintptr_t)wire->area;
    if (offset < wire->area_size && size <= wire->area_size - offset)
        return KAON_MAILBOX_SIZE + offset;
    return 0;
}

const char *kaon_wire_reason(enum kaon_wire_status status)
{
    switch (status) {
    case KAON_WIRE_OK: return "nothing is wrong";
    case KAON_WIRE_TOO_LARGE: return "the values do not fit the exchange";
    case KAON_WIRE_BAD_COUNT: return "there are more slots than allowed";
    case KAON_WIRE_BAD_OFFSET: return "a place is outside of the exchange";
    case KAON_WIRE_BAD_TYPE: return "a slot has an unknown type";
    case KAON_WIRE_BAD_BITS: return "a number is not in canonical form";
    case KAON_WIRE_BAD_STRING:
        return "a string has a NUL inside, or none after its end";
    }
    return "the reason is unknown";
}

struct kaon_wire_free kaon_wire_offer(const struct kaon_wire *wire,
                                      const struct kaon_frame *frame)
{
    struct kaon_wire_free free = { frame->free_page, frame->free_area };

    if (free.page < KAON_MAILBOX_FREE || free.page > KAON_MAILBOX_SIZE ||
        free.page % ALIGNMENT)
        free.page = KAON_MAILBOX_SIZE;
    if (free.area < KAON_MAILBOX_SIZE || free.area > area_end(wire) ||
        free.area % ALIGNMENT)
        free.area = (uint32_t)area_end(wire);
    return free;
}

static int has_span(const struct kaon_value *value)
{
    return value->type == KAON_TYPE_STRING || value->type == KAON_TYPE_BYTES;
}

uint64_t kaon_wire_size(const struct kaon_value *values, uint32_t count)
{
    uint64_t size = (uint64_t)count * SLOT_SIZE;

    for (uint32_t i = 0; i < count; i++) {
        if (!has_span(&values[i]))
            continue;
        if (values[i].span.size > UINT32_MAX)
            return UINT64_MAX;
        /* A string's NUL, or the padding before bytes. */
        size += values[i].span.size + ALIGNMENT - 1;
    }
    return size;
}

/* A string's NUL, which its size does not count. */
static uint32_t nul_of(const struct kaon_value *value)
{
    return value->type == KAON_TYPE_STRING;
}

/* Where data that is to be copied starts, behind what ends at `end`. */
static uint64_t data_start(const struct kaon_value *value, uint64_t end)
{
    return value->type == KAON_TYPE_BYTES ? round_up(end) : end;
}

static uint64_t data_end(const struct kaon_value *value, uint64_t end)
{
    return data_start(value, end) + value->span.size + nul_of(value);
}

static uint64_t data_offset(const struct kaon_wire *wire,
                            const struct kaon_value *value)
{
    return offset_of(wire, value->span.data,
                     (uint64_t)value->span.size + nul_of(value));
}

/* Part of a string in the exchange has no NUL of its own, and is copied. */
static int is_in_place(const struct kaon_wire *wire,
                       const struct kaon_value *value)
{
    const char *data = value->span.data;

    return data_offset(wire, value) &&
           (!nul_of(value) || !data[value->span.size]);
}

/* The offset of size free bytes, or 0 if neither piece has so many. */
static uint32_t place(const struct kaon_wire *wire, struct kaon_wire_free free,
                      uint64_t size)
{
    if (free.page <= KAON_MAILBOX_SIZE && size <= KAON_MAILBOX_SIZE - free.page)
        return free.page;
    if (free.area <= area_end(wire) && size <= area_end(wire) - free.area)
        return free.area;
    return 0;
}

/* Copies the data of one value behind the slots, and the NUL of a string. */
static void data_write(const struct kaon_value *value, unsigned char *to)
{
    /* Part of a string in the exchange may be sent as a string of its own:
     * the source may then overlap. */
    if (value->span.size)
        __builtin_memmove(to, value->span.data, value->span.size);
    if (value->type == KAON_TYPE_STRING)
        to[value->span.size] = 0;
}

static void slot_write(unsigned char *to, uint32_t i, struct kaon_slot slot)
{
    __builtin_memcpy(to + i * SLOT_SIZE, &slot, SLOT_SIZE);
}

/* Says in *frame where `size` bytes of slots and data lie: at `start`. */
static void frame_fill(struct kaon_frame *frame, struct kaon_wire_free free,
                       uint32_t start, uint64_t size, uint32_t count)
{
    frame->slots = start;
    frame->count = count;
    frame->free_page = free.page;
    frame->free_area = free.area;
    if (start >= KAON_MAILBOX_SIZE)
        frame->free_area = (uint32_t)round_up(start + size);
    else if (start)
        frame->free_page = (uint32_t)round_up(start + size);
}

/*
 * Adds the data of a value to *end if it is to be copied, and says so in
 * *copied. That is decided here and not again: where the other side can write,
 * a second look might see another NUL.
 */
static enum kaon_wire_status measure(const struct kaon_wire *wire,
                                     const struct kaon_value *value,
                                     uint64_t *end, uint32_t *copied,
                                     uint32_t bit)
{
    if (kaon_wire_number_bits(value->type))
        return KAON_WIRE_OK;
    if (!has_span(value))
        return KAON_WIRE_BAD_TYPE;
    if (value->span.size >= UINT32_MAX)
        return KAON_WIRE_TOO_LARGE;
    if (is_in_place(wire, value))
        return KAON_WIRE_OK;
    *copied |= bit;
    *end = data_end(value, *end);
    return KAON_WIRE_OK;
}

/*
 * Writes slots and data to `to`, which is at offset `start`. Data that is to
 * be copied goes behind the slots, one after the other.
 */
static void values_write(const struct kaon_wire *wire,
                         const struct kaon_value *values, uint32_t count,
                         uint32_t copied, unsigned char *to, uint32_t start)
{
    uint64_t end = (uint64_t)count * SLOT_SIZE;

    for (uint32_t i = 0; i < count; i++) {
        const struct kaon_value *value = &values[i];
        struct kaon_slot slot = kaon_wire_number_slot(value);

        if (has_span(value)) {
            slot.size = (uint32_t)value->span.size;
            if (copied >> i & 1) {
                slot.bits = start + data_start(value, end);
                data_write(value, to + data_start(value, end));
                end = data_end(value, end);
            } else {
                slot.bits = data_offset(wire, value);
            }
        }
        slot_write(to, i, slot);
    }
}

/* kaon_wire_put() if not all values are numbers. */
__attribute__((noinline)) static enum kaon_wire_status
put_any(const struct kaon_wire *wire, struct kaon_wire_free free,
        const struct kaon_value *values, uint32_t count,
        struct kaon_frame *frame)
{
    uint64_t size = (uint64_t)count * SLOT_SIZE;
    uint32_t copied = 0, start;

    for (uint32_t i = 0; i < count; i++) {
        enum kaon_wire_status status =
            measure(wire, &values[i], &size, &copied, 1u << i);

        if (status)
            return status;
    }
    start = place(wire, free, size);
    if (!start)
        return KAON_WIRE_TOO_LARGE;
    values_write(wire, values, count, copied, locate(wire, start, size), start);
    frame_fill(frame, free, start, size, count);
    return KAON_WIRE_OK;
}

enum kaon_wire_status kaon_wire_put(const struct kaon_wire *wire,
                                    struct kaon_wire_free free,
                                    const struct kaon_value *values,
                                    uint32_t count, struct kaon_frame *frame)
{
    uint64_t size = (uint64_t)count * SLOT_SIZE;

    if (count > SLOTS_MAX)
        return KAON_WIRE_BAD_COUNT;
    for (uint32_t i = 0; i < count; i++)
        if (!kaon_wire_number_bits(values[i].type))
            return put_any(wire, free, values, count, frame);
    if (count &&
        (free.page > KAON_MAILBOX_SIZE || size > KAON_MAILBOX_SIZE - free.page))
        return put_any(wire, free, values, count, frame);
    kaon_wire_put_numbers(wire->page, free, values, count, frame);
    return KAON_WIRE_OK;
}

enum kaon_wire_status kaon_wire_put_below(const struct kaon_wire *wire,
                                          uint32_t low, uint32_t high,
                                          const struct kaon_value *values,
                                          uint32_t count,
                                          struct kaon_frame *frame)
{
    uint64_t size = (uint64_t)count * SLOT_SIZE;
    uint32_t start = 0;

    if (count > SLOTS_MAX)
        return KAON_WIRE_BAD_COUNT;
    for (uint32_t i = 0; i < count; i++) {
        if (kaon_wire_number_bits(values[i].type))
            continue;
        if (!has_span(&values[i]))
            return KAON_WIRE_BAD_TYPE;
        if (values[i].span.size >= UINT32_MAX)
            return KAON_WIRE_TOO_LARGE;
        size = data_end(&values[i], size);
    }
    if (low > high || round_up(size) > high - low)
        return KAON_WIRE_TOO_LARGE;
    if (size) {
        start = (high - (uint32_t)size) & ~(ALIGNMENT - 1);
        values_write(wire, values, count, UINT32_MAX, locate(wire, start, size),
                     start);
    }
    frame->slots = start;
    frame->count = count;
    return KAON_WIRE_OK;
}

/* The only read of a slot: volatile, so that it is one read. */
static struct kaon_slot slot_read(const unsigned char *at)
{
    const volatile wire_word *words =
        (const volatile wire_word *)(const void *)at;
    uint64_t head = words[0];

    return (struct kaon_slot){ .type = (uint32_t)head,
                               .size = (uint32_t)(head >> 32),
                               .bits = words[1] };
}

/* Out of line: most values are numbers. */
__attribute__((noinline)) static enum kaon_wire_status
span_get(const struct kaon_wire *wire, struct kaon_slot slot,
         struct kaon_value *value)
{
    uint32_t nul = nul_of(value);
    const unsigned char *data =
        locate(wire, slot.bits, (uint64_t)slot.size + nul);

    if (!data)
        return KAON_WIRE_BAD_OFFSET;
    if (nul && (data[slot.size] || __builtin_memchr(data, 0, slot.size)))
        return KAON_WIRE_BAD_STRING;
    value->span.data = data;
    value->span.size = slot.size;
    return KAON_WIRE_OK;
}

static enum kaon_wire_status number_get(struct kaon_slot slot,
                                        struct kaon_value *value)
{
    uint64_t allowed = kaon_wire_number_bits(slot.type);

    if (!allowed)
        return KAON_WIRE_BAD_TYPE;
    if (slot.size || slot.bits & ~allowed)
        return KAON_WIRE_BAD_BITS;
    value->u64 = slot.bits; /* little-endian: the low bytes are the value */
    return KAON_WIRE_OK;
}

static inline enum kaon_wire_status slot_get(const struct kaon_wire *wire,
                                             const unsigned char *at,
                                             struct kaon_value *value)
{
    struct kaon_slot slot = slot_read(at);

    *value = kaon__number(slot.type, 0);
    return has_span(value) ? span_get(wire, slot, value)
                           : number_get(slot, value);
}

enum kaon_wire_status kaon_wire_get(const struct kaon_wire *wire,
                                    const struct kaon_frame *frame,
                                    struct kaon_value *values, uint32_t max)
{
    const unsigned char *slots;

    if (frame->count > max)
        return KAON_WIRE_BAD_COUNT;
    if (!frame->count)
        return frame->slots ? KAON_WIRE_BAD_OFFSET : KAON_WIRE_OK;
    if (frame->slots % sizeof(wire_word))
        return KAON_WIRE_BAD_OFFSET;
    slots = locate(wire, frame->slots, (uint64_t)frame->count * SLOT_SIZE);
    if (!slots)
        return KAON_WIRE_BAD_OFFSET;

    if (frame->count == 1)
        return slot_get(wire, slots, values);
    for (uint32_t i = 0; i < frame->count; i++) {
        enum kaon_wire_status status =
            slot_get(wire, slots + (uint64_t)i * SLOT_SIZE, &values[i]);

        if (status)
            return status;
    }
    return KAON_WIRE_OK;
}

/* ---- Arrays of frames -------------------------------------------------- */

typedef uint32_t __attribute__((may_alias)) frame_word;

#define FRAME_WORDS (sizeof(struct kaon_frame) / sizeof(frame_word))

static unsigned char *locate_frame(const struct kaon_wire *wire,
                                   uint32_t frames, uint32_t i)
{
    return locate(wire, frames + (uint64_t)i * sizeof(struct kaon_frame),
                  sizeof(struct kaon_frame));
}

enum kaon_wire_status kaon_wire_put_frames(const struct kaon_wire *wire,
                                           struct kaon_wire_free free,
                                           uint32_t count,
                                           struct kaon_frame *frame)
{
    uint64_t size = (uint64_t)count * sizeof *frame;
    uint32_t start = place(wire, free, size);

    if (!start)
        return KAON_WIRE_TOO_LARGE;
    frame_fill(frame, free, start, size, count);
    return KAON_WIRE_OK;
}

enum kaon_wire_status kaon_wire_check_frames(const struct kaon_wire *wire,
                                             uint32_t frames, uint32_t count)
{
    uint64_t size = (uint64_t)count * sizeof(struct kaon_frame);

    return frames % ALIGNMENT || !locate(wire, frames, size)
               ? KAON_WIRE_BAD_OFFSET
               : KAON_WIRE_OK;
}

void kaon_wire_write_frame(const struct kaon_wire *wire, uint32_t frames,
                           uint32_t i, const struct kaon_frame *frame)
{
    kaon_wire_send_frame(locate_frame(wire, frames, i), frame);
}

/* Volatile, so that each word is read once. */
void kaon_wire_read_frame(const struct kaon_wire *wire, uint32_t frames,
                          uint32_t i, struct kaon_frame *frame)
{
    const volatile frame_word *from =
        (const volatile frame_word *)(const void *)locate_frame(wire, frames,
                                                                i);
    uint32_t words[FRAME_WORDS];

    for (uint32_t k = 0; k < FRAME_WORDS; k++)
        words[k] = from[k];
    __builtin_memcpy(frame, words, sizeof *frame);
}

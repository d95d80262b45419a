/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire codec: values to slots and back, in an exchange.
 *
 * Compiled for both sides, freestanding. Encoding trusts its caller and checks
 * only that things fit. Decoding trusts nothing: each slot is read once, and
 * only the copy is judged and used.
 */
#ifndef KAON_SRC_ABI_WIRE_H
#define KAON_SRC_ABI_WIRE_H

#include <kaon/abi.h>
#include <kaon/value.h>

/*
 * An exchange as this side sees it: two pieces of memory, which need not be
 * adjacent here. area may be NULL with area_size 0.
 */
struct kaon_wire {
    unsigned char *page; /* the mailbox page */
    unsigned char *area;
    uint32_t area_size;
};

/* The first free byte of each piece, as an offset; multiples of 16. */
struct kaon_wire_free {
    uint32_t page;
    uint32_t area;
};

enum kaon_wire_status {
    KAON_WIRE_OK = 0,
    KAON_WIRE_TOO_LARGE,  /* does not fit in what is free */
    KAON_WIRE_BAD_COUNT,  /* more slots than allowed */
    KAON_WIRE_BAD_OFFSET, /* slots or data outside of the exchange */
    KAON_WIRE_BAD_TYPE,   /* unknown type, or void in a slot */
    KAON_WIRE_BAD_BITS,   /* number not in canonical form */
    KAON_WIRE_BAD_STRING, /* NUL inside, or none after the end */
};

/* A sentence's half for each status: "a slot has an unknown type". */
const char *kaon_wire_reason(enum kaon_wire_status status);

/* The free space of an exchange that holds nothing. */
static inline struct kaon_wire_free kaon_wire_all_free(void)
{
    return (struct kaon_wire_free){ KAON_MAILBOX_FREE, KAON_MAILBOX_SIZE };
}

/* The bits that a number of a type may have; 0 for what is no number. */
static inline uint64_t kaon_wire_number_bits(uint32_t type)
{
    static const uint64_t bits[KAON_TYPE_COUNT] = {
        [KAON_TYPE_I32] = UINT32_MAX, [KAON_TYPE_U32] = UINT32_MAX,
        [KAON_TYPE_I64] = UINT64_MAX, [KAON_TYPE_U64] = UINT64_MAX,
        [KAON_TYPE_F32] = UINT32_MAX, [KAON_TYPE_F64] = UINT64_MAX,
        [KAON_TYPE_BOOL] = 1,
    };

    return type < KAON_TYPE_COUNT ? bits[type] : 0;
}

/* A number's slot. Little-endian: what lies beside a small one is masked. */
static inline struct kaon_slot
kaon_wire_number_slot(const struct kaon_value *value)
{
    return (struct kaon_slot){
        value->type, 0, value->u64 & kaon_wire_number_bits(value->type)
    };
}

/* Bytes of payload that kaon_wire_put() needs for these values at most. */
uint64_t kaon_wire_size(const struct kaon_value *values, uint32_t count);

/*
 * Writes values as slots and data behind `free`, in the page if all fit
 * there, else in the area, and sets slots, count, free_page and free_area of
 * *frame (the caller's copy, not the one in the exchange). Data that already
 * lies in the exchange is not copied: its slot refers to it in place. (A
 * string in place must have its NUL.) On failure *frame is untouched.
 */
enum kaon_wire_status kaon_wire_put(const struct kaon_wire *wire,
                                    struct kaon_wire_free free,
                                    const struct kaon_value *values,
                                    uint32_t count, struct kaon_frame *frame);

/*
 * The same for numbers that fit what is free of the page. Inline: most calls
 * and results are that and nothing else.
 */
static inline void kaon_wire_put_numbers(unsigned char *page,
                                         struct kaon_wire_free free,
                                         const struct kaon_value *values,
                                         uint32_t count,
                                         struct kaon_frame *frame)
{
    const uint32_t size = (uint32_t)sizeof(struct kaon_slot);

    for (uint32_t i = 0; i < count; i++) {
        struct kaon_slot slot = kaon_wire_number_slot(&values[i]);

        __builtin_memcpy(page + free.page + i * size, &slot, size);
    }
    frame->slots = count ? free.page : 0;
    frame->count = count;
    frame->free_page = free.page + count * size;
    frame->free_area = free.area;
}

/*
 * As kaon_wire_put(), with a copy of all data, wherever it lies: ending at or
 * before offset `high`, and not beginning before `low`. Both lie in one piece,
 * and low is a multiple of 16. Sets slots and count of *frame only.
 */
enum kaon_wire_status kaon_wire_put_below(const struct kaon_wire *wire,
                                          uint32_t low, uint32_t high,
                                          const struct kaon_value *values,
                                          uint32_t count,
                                          struct kaon_frame *frame);

/*
 * Reads the values of a frame, which is the caller's copy. At most max values
 * are accepted. Strings and bytes point into the exchange. On failure values
 * is undefined.
 */
enum kaon_wire_status kaon_wire_get(const struct kaon_wire *wire,
                                    const struct kaon_frame *frame,
                                    struct kaon_value *values, uint32_t max);

/*
 * The free space that a frame of the other side offers for the answer: what
 * it says, if that is possible, clipped to the exchange otherwise (the answer
 * then does not fit).
 */
struct kaon_wire_free kaon_wire_offer(const struct kaon_wire *wire,
                                      const struct kaon_frame *frame);

/*
 * Room for an array of frames, found as kaon_wire_put() finds it: sets slots,
 * count, free_page and free_area of *frame.
 */
enum kaon_wire_status kaon_wire_put_frames(const struct kaon_wire *wire,
                                           struct kaon_wire_free free,
                                           uint32_t count,
                                           struct kaon_frame *frame);

/* May an array of frames lie there? */
enum kaon_wire_status kaon_wire_check_frames(const struct kaon_wire *wire,
                                             uint32_t frames, uint32_t count);

/*
 * A frame to where the other side reads it. By its words, each just as it was
 * written here: a wider load of several that still are on their way to the
 * cache would wait until they, and all written before them, have arrived. What
 * it is comes last, since whoever writes may be stopped at any point.
 */
static inline void kaon_wire_send_frame(void *to,
                                        const struct kaon_frame *frame)
{
    volatile uint32_t *at = to;

    at[6] = frame->free_area;
    at[5] = frame->free_page;
    at[4] = frame->slots;
    at[3] = (uint32_t)frame->code;
    at[2] = frame->count;
    at[1] = frame->function;
    at[0] = frame->kind;
}

/* A frame of an array that may: one copy each way. */
void kaon_wire_write_frame(const struct kaon_wire *wire, uint32_t frames,
                           uint32_t i, const struct kaon_frame *frame);
void kaon_wire_read_frame(const struct kaon_wire *wire, uint32_t frames,
                          uint32_t i, struct kaon_frame *frame);

#endif

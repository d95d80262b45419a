/* SPDX-License-Identifier: Apache-2.0 */
/* Values into and out of the exchange of a call. */
#ifndef KAON_SRC_HOST_EXCHANGE_H
#define KAON_SRC_HOST_EXCHANGE_H

#include "abi/wire.h"
#include "host/call.h"

/* Bytes of values that a call or an answer can have at most. */
static inline unsigned long long
kaon__exchange_limit(const struct kaon_memory *memory)
{
    return memory->sizes.exchange - KAON_PAGE_SIZE;
}

/* Sees to it that the exchange has `bytes` of area, or as many as it may have,
 * if the domain can find the memory. */
enum kaon_status kaon__exchange_need_area(struct kaon_call *call,
                                          uint64_t bytes,
                                          struct kaon_error *err);

/*
 * Puts values into the exchange; gives it more area if they do not fit.
 * err says why there is none; it is for KAON_WIRE_TOO_LARGE, and its status
 * is KAON_OK if values are.
 */
enum kaon_wire_status
kaon__exchange_put(struct kaon_call *call, struct kaon_wire_free free,
                   const struct kaon_value *values, uint32_t count,
                   struct kaon_frame *frame, struct kaon_error *err);

/* Puts a CALL frame and its arguments. */
enum kaon_status kaon__exchange_put_call(struct kaon_call *call,
                                         uint32_t function,
                                         const struct kaon_value *values,
                                         uint32_t count);

/* The same if they are numbers, for which there always is room. */
static inline void kaon__exchange_put_numbers(struct kaon_call *call,
                                              uint32_t function,
                                              const struct kaon_value *values,
                                              uint32_t count)
{
    struct kaon_frame frame = { .kind = KAON_FRAME_CALL, .function = function };
    struct kaon_wire_free free = kaon_wire_all_free();
    struct kaon_sandbox *sandbox = call->sandbox;

    if (sandbox->buffer_end)
        free.area = (uint32_t)sandbox->buffer_end;
    sandbox->buffer_end = 0;
    kaon_wire_put_numbers(call->memory->mailbox_page, free, values, count,
                          &frame);
    kaon__memory_put_frame(call->memory, &frame);
}

/*
 * Copies of the calls' arguments, one after the other, that hold nothing which
 * lies where a frame that is to be put may overwrite it: an earlier result,
 * say. What kaon_sandbox_buffer() gave stays in its place, unless the guest is
 * to run before the last call is put (`later`). *moved is NULL if there was
 * nothing to move; free() it.
 */
enum kaon_status kaon__exchange_move_out(struct kaon_call *call,
                                         const struct kaon_batch_call *calls,
                                         size_t count, bool later,
                                         struct kaon_value **moved);

/* Sees to it that there is an area, if a batch needs one; fails if that cannot
 * hold it. What may lie in place is not judged yet. */
enum kaon_status kaon__exchange_fit_batch(struct kaon_call *call,
                                          const struct kaon_batch_call *calls,
                                          size_t count, bool in_place);

/* Puts a BATCH frame and its calls; *frames is where these are. The arguments
 * are those of the calls, or moved, if that is not NULL. */
enum kaon_status kaon__exchange_put_batch(struct kaon_call *call,
                                          const struct kaon_batch_call *calls,
                                          uint32_t count,
                                          const struct kaon_value *moved,
                                          uint32_t *frames);

/* Numbers are copies, and refer to nothing. */
static inline bool kaon__exchange_are_numbers(const struct kaon_value *values,
                                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (values[i].type >= KAON_TYPE_STRING)
            return false;
    return true;
}

/*
 * A guest that an exit does not stop may change what it handed over: its
 * strings and bytes are copied, and the copies judged. They go behind what is
 * kept of earlier results.
 */
enum kaon_wire_status kaon__exchange_own(struct kaon_sandbox *sandbox,
                                         struct kaon_value *values,
                                         uint32_t count);

/* What lies behind the area as it is may lie in the area as it may be, where
 * the guest never looked: true if there is more of it now. */
bool kaon__exchange_reach(struct kaon_call *call);

/* The values of a frame of the guest's, which is a copy already. */
static inline enum kaon_wire_status
kaon__exchange_get(struct kaon_call *call, const struct kaon_frame *frame,
                   struct kaon_value *values, uint32_t max)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    enum kaon_wire_status bad = kaon_wire_get(&wire, frame, values, max);

    if (bad == KAON_WIRE_BAD_OFFSET && kaon__exchange_reach(call)) {
        wire = kaon__memory_wire(call->memory);
        bad = kaon_wire_get(&wire, frame, values, max);
    }
    if (bad || !(call->keeps || kaon__call_races(call)) ||
        kaon__exchange_are_numbers(values, frame->count))
        return bad;
    return kaon__exchange_own(call->sandbox, values, frame->count);
}

/* Does a value's data lie at `memory`? */
static inline bool kaon__lies_in(const struct kaon_value *value,
                                 const void *memory, size_t size)
{
    return value->type >= KAON_TYPE_STRING && memory &&
           (uintptr_t)value->span.data - (uintptr_t)memory < size;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values into and out of the exchange.
 *
 * Owns nothing: a sandbox has its exchange, and what is copied out of it.
 * Never believes a guest: frames that come here are copies, slots are read
 * once (abi/wire.h), and where an exit does not stop the guest, strings and
 * bytes are copied before they are judged.
 */
#include "host/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/resident.h"

/* ---- Into the exchange ------------------------------------------------- */

enum kaon_status kaon__exchange_need_area(struct kaon_call *call,
                                          uint64_t bytes,
                                          struct kaon_error *err)
{
    enum kaon_status status = kaon__memory_need_area(call->memory, bytes, err);
    struct kaon_resident *resident = call->sandbox->resident;
    const struct kaon_vcpu_slot *mine = call->slot;

    if (status != KAON_ENOMEM)
        return status;
    if (resident)
        mine = kaon__resident_halt(resident);
    if (kaon__domain_make_room(call->sandbox->domain, mine))
        status = kaon__memory_need_area(call->memory, bytes, err);
    return status;
}

/* Bytes of area that values need at most, where `free` says that it is free. */
static uint64_t area_needed(struct kaon_wire_free free,
                            const struct kaon_value *values, uint32_t count)
{
    uint64_t size = kaon_wire_size(values, count);

    if (free.area < KAON_MAILBOX_SIZE || size > UINT32_MAX)
        return UINT32_MAX;
    return free.area - KAON_MAILBOX_SIZE + size;
}

enum kaon_wire_status
kaon__exchange_put(struct kaon_call *call, struct kaon_wire_free free,
                   const struct kaon_value *values, uint32_t count,
                   struct kaon_frame *frame, struct kaon_error *err)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    enum kaon_wire_status status =
        kaon_wire_put(&wire, free, values, count, frame);

    if (status != KAON_WIRE_TOO_LARGE)
        return status;
    err->status = KAON_OK;
    if (wire.area_size == kaon__exchange_limit(call->memory))
        return status;
    if (kaon__exchange_need_area(call, area_needed(free, values, count), err)) {
        /* With an area it would not fit either: that is the better reason. */
        if (kaon_wire_size(values, count) > kaon__exchange_limit(call->memory))
            err->status = KAON_OK;
        return status;
    }
    wire = kaon__memory_wire(call->memory);
    return kaon_wire_put(&wire, free, values, count, frame);
}

/* Is a value where kaon_sandbox_buffer() wants it, whole, with its NUL? */
static bool is_in_buffer(const struct kaon_value *value, const void *buffer,
                         size_t size)
{
    size_t string = value->type == KAON_TYPE_STRING;
    uintptr_t before = (uintptr_t)value->span.data - (uintptr_t)buffer;

    return kaon__lies_in(value, buffer, size) &&
           value->span.size + string <= size - before;
}

/*
 * Does a value lie where a frame that is to be put may overwrite it, such as
 * an earlier result? `later`: or what a guest that runs before that may leave.
 */
static bool must_move(struct kaon_call *call, const struct kaon_wire *wire,
                      const struct kaon_value *value, bool later)
{
    const struct kaon_sandbox *sandbox = call->sandbox;
    uint64_t end = sandbox->buffer_end;

    if (!later && end &&
        is_in_buffer(value, wire->area, end - KAON_MAILBOX_SIZE))
        return false;
    return kaon__lies_in(value, wire->page, KAON_MAILBOX_SIZE) ||
           kaon__lies_in(value, wire->area, wire->area_size) ||
           (later && kaon__lies_in(value, sandbox->copy, sandbox->copy_room));
}

/* Copies what a value holds to *at, if it must be moved, and *at goes on. */
static void move(struct kaon_call *call, const struct kaon_wire *wire,
                 struct kaon_value *value, bool later, unsigned char **at)
{
    if (!must_move(call, wire, value, later))
        return;
    memcpy(*at, value->span.data, value->span.size);
    value->span.data = *at;
    *at += value->span.size;
}

enum kaon_status kaon__exchange_move_out(struct kaon_call *call,
                                         const struct kaon_batch_call *calls,
                                         size_t count, bool later,
                                         struct kaon_value **moved)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    size_t values = 0, need = 0;
    struct kaon_value *to;
    unsigned char *at;

    *moved = NULL;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < calls[i].count; k++, values++)
            if (must_move(call, &wire, &calls[i].args[k], later))
                need += calls[i].args[k].span.size + 1; /* an empty one, too */
    if (!need)
        return KAON_OK;
    *moved = to = malloc(values * sizeof *to + need);
    if (!to)
        return kaon__fail(call->err, KAON_ENOMEM,
                          "out of memory for the arguments of %s", call->name);
    at = (unsigned char *)(to + values);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < calls[i].count; k++, to++) {
            *to = calls[i].args[k];
            move(call, &wire, to, later, &at);
        }
    }
    return KAON_OK;
}

/* Out of line: most calls need neither an area nor these words. */
__attribute__((noinline)) static enum kaon_status
put_in_area(struct kaon_call *call, struct kaon_wire_free free,
            const struct kaon_value *values, uint32_t count,
            struct kaon_frame *frame)
{
    struct kaon_error why;

    if (!kaon__exchange_put(call, free, values, count, frame, &why))
        return KAON_OK;
    if (why.status)
        return kaon__fail(call->err, why.status, "%s", why.text);
    return kaon__fail(
        call->err, KAON_ETOOBIG,
        "the arguments of %s need %llu bytes, the exchange has %llu: raise "
        "exchange_bytes",
        call->name, (unsigned long long)kaon_wire_size(values, count),
        kaon__exchange_limit(call->memory));
}

static enum kaon_status put_values(struct kaon_call *call, uint32_t function,
                                   const struct kaon_value *values,
                                   uint32_t count)
{
    struct kaon_frame frame = { .kind = KAON_FRAME_CALL, .function = function };
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_wire_free free = kaon_wire_all_free();
    struct kaon_wire wire = kaon__memory_wire(call->memory);

    if (sandbox->buffer_end)
        free.area = (uint32_t)sandbox->buffer_end;
    if (kaon_wire_put(&wire, free, values, count, &frame)) {
        enum kaon_status status =
            put_in_area(call, free, values, count, &frame);

        if (status)
            return status;
    }
    sandbox->buffer_end = 0;
    kaon__memory_put_frame(call->memory, &frame);
    return KAON_OK;
}

enum kaon_status kaon__exchange_put_call(struct kaon_call *call,
                                         uint32_t function,
                                         const struct kaon_value *values,
                                         uint32_t count)
{
    const struct kaon_batch_call alone = { .args = values, .count = count };
    struct kaon_value *moved;
    enum kaon_status status =
        kaon__exchange_move_out(call, &alone, 1, false, &moved);

    if (!status)
        status = put_values(call, function, moved ? moved : values, count);
    free(moved);
    return status;
}

/* Bytes that a batch needs at most; UINT64_MAX if no exchange has so many. */
static uint64_t batch_size(const struct kaon_batch_call *calls, size_t count)
{
    uint64_t size = count * sizeof(struct kaon_frame);

    for (size_t i = 0; i < count; i++) {
        uint64_t more = kaon_wire_size(calls[i].args, (uint32_t)calls[i].count);

        if (more > UINT32_MAX || size > UINT32_MAX)
            return UINT64_MAX;
        size += more;
    }
    return size;
}

static enum kaon_status fail_batch(struct kaon_call *call, uint64_t size)
{
    return kaon__fail(call->err, KAON_ETOOBIG,
                      "the batch and its arguments need %llu bytes, the "
                      "exchange has %llu: raise exchange_bytes, or make "
                      "smaller batches",
                      (unsigned long long)size,
                      kaon__exchange_limit(call->memory));
}

/* Bytes of area that are taken by what kaon_sandbox_buffer() gave. */
static uint64_t buffer_size(const struct kaon_sandbox *sandbox)
{
    return sandbox->buffer_end ? sandbox->buffer_end - KAON_MAILBOX_SIZE : 0;
}

enum kaon_status kaon__exchange_fit_batch(struct kaon_call *call,
                                          const struct kaon_batch_call *calls,
                                          size_t count, bool in_place)
{
    const uint64_t page = KAON_MAILBOX_SIZE - KAON_MAILBOX_FREE;
    uint64_t size = batch_size(calls, count);
    bool too_large = size > page + kaon__exchange_limit(call->memory);
    enum kaon_status status = KAON_OK;

    if (too_large && !in_place)
        return fail_batch(call, size);
    if (size > page)
        status = kaon__exchange_need_area(
            call, buffer_size(call->sandbox) + size, call->err);
    return status && too_large ? fail_batch(call, size) : status;
}

/* Puts one call behind the others, and says in *frame what is free now. */
static enum kaon_wire_status put_next(const struct kaon_wire *wire,
                                      const struct kaon_batch_call *next,
                                      const struct kaon_value *values,
                                      struct kaon_frame *frame, uint32_t i)
{
    const struct kaon_wire_free free = { frame->free_page, frame->free_area };
    struct kaon_frame one = { .kind = KAON_FRAME_CALL,
                              .function = next->function.index };
    enum kaon_wire_status status =
        kaon_wire_put(wire, free, values, (uint32_t)next->count, &one);

    if (status)
        return status;
    frame->free_page = one.free_page;
    frame->free_area = one.free_area;
    kaon_wire_write_frame(wire, frame->slots, i, &one);
    return KAON_WIRE_OK;
}

enum kaon_status kaon__exchange_put_batch(struct kaon_call *call,
                                          const struct kaon_batch_call *calls,
                                          uint32_t count,
                                          const struct kaon_value *moved,
                                          uint32_t *frames)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    struct kaon_wire_free free = kaon_wire_all_free();
    struct kaon_frame frame = { .kind = KAON_FRAME_BATCH };

    if (call->sandbox->buffer_end)
        free.area = (uint32_t)call->sandbox->buffer_end;
    if (kaon_wire_put_frames(&wire, free, count, &frame))
        return fail_batch(call, batch_size(calls, count));
    for (uint32_t i = 0; i < count; i++) {
        if (put_next(&wire, &calls[i], moved ? moved : calls[i].args, &frame,
                     i))
            return fail_batch(call, batch_size(calls, count));
        if (moved)
            moved += calls[i].count;
    }
    call->sandbox->buffer_end = 0;
    kaon__memory_put_frame(call->memory, &frame);
    *frames = frame.slots;
    return KAON_OK;
}

/* ---- Out of the exchange ----------------------------------------------- */

bool kaon__exchange_reach(struct kaon_call *call)
{
    uint64_t limit = kaon__exchange_limit(call->memory);
    uint64_t size = kaon__memory_wire(call->memory).area_size;

    return size > 0 && size < limit &&
           kaon__exchange_need_area(call, limit, NULL) == KAON_OK;
}

enum kaon_wire_status kaon__exchange_own(struct kaon_sandbox *sandbox,
                                         struct kaon_value *values,
                                         uint32_t count)
{
    unsigned char *at;
    size_t need = 0;

    for (uint32_t i = 0; i < count; i++)
        if (values[i].type >= KAON_TYPE_STRING)
            need += values[i].span.size + 1;
    need += sandbox->copy_kept;
    if (need > sandbox->copy_room) {
        at = realloc(sandbox->copy, need);
        if (!at)
            return KAON_WIRE_TOO_LARGE;
        sandbox->copy = at;
        sandbox->copy_room = need;
    }
    at = sandbox->copy + sandbox->copy_kept;
    for (uint32_t i = 0; i < count; i++) {
        struct kaon_span *span = &values[i].span;

        if (values[i].type < KAON_TYPE_STRING)
            continue;
        memcpy(at, span->data, span->size);
        at[span->size] = '\0';
        span->data = at;
        at += span->size + 1;
        if (values[i].type == KAON_TYPE_STRING &&
            memchr(span->data, '\0', span->size))
            return KAON_WIRE_BAD_STRING;
    }
    return KAON_WIRE_OK;
}

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

/* ---- Into the exchange ------------------------------------------------- */

enum kaon_status kaon__exchange_need_area(struct kaon_call *call,
                                          struct kaon_error *err)
{
    enum kaon_status status = kaon__memory_need_area(call->memory, err);

    if (status == KAON_ENOMEM &&
        kaon__domain_make_room(call->sandbox->domain, call->slot))
        status = kaon__memory_need_area(call->memory, err);
    return status;
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
    if (wire.area)
        return status;
    if (kaon__exchange_need_area(call, err)) {
        /* With an area it would not fit either: that is the better reason. */
        if (kaon_wire_size(values, count) > kaon__exchange_limit(call->memory))
            err->status = KAON_OK;
        return status;
    }
    wire = kaon__memory_wire(call->memory);
    return kaon_wire_put(&wire, free, values, count, frame);
}

/* Is a value where kaon_sandbox_buffer() wants it, whole, with its NUL? */
static bool is_in_place(const struct kaon_value *value, const void *buffer,
                        size_t size)
{
    const unsigned char *data = value->span.data;
    size_t before, string = value->type == KAON_TYPE_STRING;

    if (!kaon__lies_in(value, buffer, size))
        return false;
    before = (size_t)(data - (const unsigned char *)buffer);
    return value->span.size + string <= size - before &&
           (!string || data[value->span.size] == '\0');
}

/*
 * Copies what lies in the exchange from an earlier call, such as a result, to
 * where the new frame cannot overwrite it; what is in a buffer of
 * kaon_sandbox_buffer() is in its place. Returns what to free after the call
 * is put, through *copies, which may be NULL.
 */
static enum kaon_status move_out(struct kaon_call *call,
                                 struct kaon_value *values, uint32_t count,
                                 void **copies)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    uint64_t end = call->sandbox->buffer_end;
    size_t kept = end ? end - KAON_MAILBOX_SIZE : 0, need = 0;
    bool moves[KAON_PARAMS_MAX + 1] = { false };
    unsigned char *at;

    for (uint32_t i = 0; i < count; i++) {
        moves[i] = !is_in_place(&values[i], wire.area, kept) &&
                   (kaon__lies_in(&values[i], wire.page, KAON_MAILBOX_SIZE) ||
                    kaon__lies_in(&values[i], wire.area, wire.area_size));
        if (moves[i])
            need += values[i].span.size;
    }
    *copies = at = need ? malloc(need) : NULL;
    if (need && !at)
        return kaon__fail(call->err, KAON_ENOMEM,
                          "out of memory for the arguments of %s", call->name);
    for (uint32_t i = 0; need && i < count; i++) {
        struct kaon_span *span = &values[i].span;

        if (!moves[i])
            continue;
        memcpy(at, span->data, span->size);
        span->data = at;
        at += span->size;
    }
    return KAON_OK;
}

static enum kaon_status put_values(struct kaon_call *call,
                                   const struct kaon_value *values,
                                   uint32_t count, struct kaon_frame *frame)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_wire_free free = kaon_wire_all_free();
    struct kaon_error why;

    if (sandbox->buffer_end)
        free.area = (uint32_t)sandbox->buffer_end;
    if (kaon__exchange_put(call, free, values, count, frame, &why)) {
        if (why.status)
            return kaon__fail(call->err, why.status, "%s", why.text);
        return kaon__fail(
            call->err, KAON_ETOOBIG,
            "the arguments of %s need %llu bytes, the exchange has %llu: raise "
            "exchange_bytes",
            call->name, (unsigned long long)kaon_wire_size(values, count),
            kaon__exchange_limit(call->memory));
    }
    sandbox->buffer_end = 0;
    kaon__memory_put_frame(call->memory, frame);
    return KAON_OK;
}

static enum kaon_status put_spans(struct kaon_call *call,
                                  const struct kaon_value *values,
                                  uint32_t count, struct kaon_frame *frame)
{
    struct kaon_value moved[KAON_PARAMS_MAX + 1];
    enum kaon_status status;
    void *copies;

    memcpy(moved, values, count * sizeof *values);
    status = move_out(call, moved, count, &copies);
    if (!status)
        status = put_values(call, moved, count, frame);
    free(copies);
    return status;
}

enum kaon_status kaon__exchange_put_call(struct kaon_call *call,
                                         uint32_t function,
                                         const struct kaon_value *values,
                                         uint32_t count)
{
    struct kaon_frame frame = { .kind = KAON_FRAME_CALL, .function = function };

    return call->has_spans ? put_spans(call, values, count, &frame)
                           : put_values(call, values, count, &frame);
}

/* ---- Out of the exchange ----------------------------------------------- */

/*
 * A guest that an exit does not stop may change what it handed over: its
 * strings and bytes are copied, and the copies judged.
 */
static enum kaon_wire_status own_spans(struct kaon_sandbox *sandbox,
                                       struct kaon_value *values,
                                       uint32_t count)
{
    unsigned char *at;
    size_t need = 0;

    for (uint32_t i = 0; i < count; i++)
        if (values[i].type >= KAON_TYPE_STRING)
            need += values[i].span.size + 1;
    if (need > sandbox->copy_room) {
        at = realloc(sandbox->copy, need);
        if (!at)
            return KAON_WIRE_TOO_LARGE;
        sandbox->copy = at;
        sandbox->copy_room = need;
    }
    at = sandbox->copy;
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

enum kaon_wire_status kaon__exchange_get(const struct kaon_call *call,
                                         const struct kaon_frame *frame,
                                         struct kaon_value *values,
                                         uint32_t max)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    enum kaon_wire_status bad = kaon_wire_get(&wire, frame, values, max);

    if (bad || call->backend->exit_stops_guest)
        return bad;
    return own_spans(call->sandbox, values, frame->count);
}

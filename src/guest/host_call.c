/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calling the host.
 *
 * Never fails the guest's own call: whatever goes wrong is a value, and left
 * in kaon__exchange.failure. The one exception is an answer that is no answer.
 *
 * Invariant: the arguments of a host call are put behind the call's own, so
 * that these stay; and behind the last host answer if they refer to it, which
 * then is moved to lie behind the call's own as well.
 */
#include "guest/exchange.h"

extern const struct kaon__record __start_kaon_imports[]
    __attribute__((weak, visibility("hidden")));

struct kaon_host_failure kaon_host_error(void)
{
    return kaon__exchange.failure;
}

/* The guest may look at why until its next host call. */
static struct kaon__text why_too_large;

static int refuse(int32_t code, const char *text)
{
    kaon__exchange.failure = (struct kaon_host_failure){ code, text };
    return KAON_HOST_REFUSED;
}

/* Where in the last host answer the data of a value begins, or -1. */
static intptr_t in_last_answer(const struct kaon_value *value)
{
    const struct kaon_span *answer = &kaon__exchange.answer;
    uintptr_t at;

    if (value->type != KAON_TYPE_STRING && value->type != KAON_TYPE_BYTES)
        return -1;
    at = (uintptr_t)value->span.data - (uintptr_t)answer->data;
    return answer->data && at <= answer->size ? (intptr_t)at : -1;
}

static int any_in_last_answer(const struct kaon_value *args, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (in_last_answer(&args[i]) >= 0)
            return 1;
    return 0;
}

/*
 * Moves the last host answer down to the call's own data, and the values that
 * refer to it with it. Otherwise a guest that feeds each answer to the next
 * host call would climb through the exchange and out of it. Returns the free
 * space behind it.
 */
static struct kaon_wire_free answer_move_down(struct kaon_value *args,
                                              uint32_t count)
{
    struct kaon__exchange *x = &kaon__exchange;
    struct kaon_wire_free free = x->call;
    uint32_t from =
        (uint32_t)((uintptr_t)x->answer.data - (uintptr_t)x->wire.page);
    uint32_t *at = from < KAON_MAILBOX_SIZE ? &free.page : &free.area;
    unsigned char *to = x->wire.page + *at;

    for (uint32_t i = 0; i < count; i++) {
        intptr_t offset = in_last_answer(&args[i]);

        if (offset >= 0)
            args[i].span.data = to + offset;
    }
    __builtin_memmove(to, x->wire.page + from, x->answer.size);
    *at += ((uint32_t)x->answer.size + 15) & ~15u;
    return free;
}

static enum kaon_wire_status
arguments_put(struct kaon_value *args, uint32_t count, struct kaon_frame *frame)
{
    struct kaon__exchange *x = &kaon__exchange;
    struct kaon_wire_free free = x->call;

    if (any_in_last_answer(args, count))
        free = answer_move_down(args, count);
    return kaon_wire_put(&x->wire, free, args, count, frame);
}

/*
 * Remembers where the data of the host's answer lies, a string's NUL too, and
 * keeps it. A number has been read, and what it lay in is free again.
 */
static void answer_keep(const struct kaon_frame *frame,
                        const struct kaon_value *value)
{
    struct kaon__exchange *x = &kaon__exchange;

    x->answer = (struct kaon_span){ 0 };
    x->last = x->call;
    if (value->type == KAON_TYPE_STRING || value->type == KAON_TYPE_BYTES) {
        x->answer = value->span;
        x->answer.size += value->type == KAON_TYPE_STRING;
        x->last = kaon_wire_offer(&x->wire, frame);
    }
}

/* Takes code and text out of the host's answer. */
static int failure_get(const struct kaon_frame *frame)
{
    struct kaon__exchange *x = &kaon__exchange;
    struct kaon_value text = kaon_void();

    x->failure = (struct kaon_host_failure){ frame->code, "" };
    if (!kaon_wire_get(&x->wire, frame, &text, 1) &&
        text.type == KAON_TYPE_STRING) {
        x->failure.text = text.span.data;
        answer_keep(frame, &text);
    }
    return frame->kind == KAON_FRAME_HOST_ERROR ? KAON_HOST_FAILED
                                                : KAON_HOST_REFUSED;
}

static int host_call(uint32_t function, struct kaon_value *args, uint32_t count,
                     struct kaon_value *result)
{
    struct kaon__exchange *x = &kaon__exchange;
    struct kaon_frame frame = { .kind = KAON_FRAME_HOST_CALL,
                                .function = function };

    switch (arguments_put(args, count, &frame)) {
    case KAON_WIRE_OK: break;
    case KAON_WIRE_TOO_LARGE:
        kaon__text_too_large(&why_too_large, "the arguments", args, count);
        return refuse(KAON_REFUSED_TOO_LARGE, why_too_large.data);
    default:
        return refuse(KAON_REFUSED_ARGUMENTS,
                      "an argument has no type that can be sent");
    }

    kaon__leave(&frame);
    *result = kaon_void();
    answer_keep(&frame, result);
    if (frame.kind == KAON_FRAME_HOST_ERROR ||
        frame.kind == KAON_FRAME_HOST_REFUSED)
        return failure_get(&frame);
    if (frame.kind != KAON_FRAME_HOST_RESULT ||
        kaon_wire_get(&x->wire, &frame, result, 1))
        kaon_abort(0, "the host's answer to a host call is malformed");
    answer_keep(&frame, result);
    return KAON_HOST_OK;
}

int kaon__import_call(const struct kaon__record *import,
                      struct kaon_value *result, struct kaon_value *args,
                      uint32_t count)
{
    struct kaon_value value;
    uint32_t index = (uint32_t)(import - __start_kaon_imports);
    int status = host_call(index, args, count, &value);

    if (status)
        return status;
    if (value.type != import->result)
        kaon_abort(0, "a host function's result is not of the type imported");
    if (result)
        *result = value;
    return KAON_HOST_OK;
}

int kaon_host_call(const char *name, struct kaon_value *result,
                   const struct kaon_value *args, size_t count)
{
    struct kaon_value values[KAON_PARAMS_MAX + 1];
    struct kaon_value value;
    int status;

    if (count > KAON_PARAMS_MAX)
        return refuse(KAON_REFUSED_ARGUMENTS,
                      "a function has at most 16 parameters");
    values[0] = kaon_string(name);
    for (uint32_t i = 0; i < count; i++)
        values[i + 1] = args[i];
    status =
        host_call(KAON_FUNCTION_BY_NAME, values, (uint32_t)count + 1, &value);
    if (!status && result)
        *result = value;
    return status;
}

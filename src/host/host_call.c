/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls: a host function runs, and its answer goes into the exchange.
 *
 * Owns nothing. Never lets an answer overwrite what the guest passed, and
 * never fails the host for what a guest passed.
 */
#include "host/host_call.h"

#include <stdio.h>

#include "host/error.h"
#include "host/exchange.h"
#include "host/image.h"
#include "host/signature.h"

/* Says to the guest that there is no room, if there is room for that. */
static void answer_too_large(struct kaon_call *call, struct kaon_wire_free free,
                             const struct kaon_value *value,
                             const struct kaon_error *why)
{
    struct kaon_frame frame = { .kind = KAON_FRAME_HOST_REFUSED,
                                .code = KAON_REFUSED_TOO_LARGE };
    char words[KAON_ERROR_TEXT];
    struct kaon_value text;
    struct kaon_error unused;

    snprintf(words, sizeof words,
             "the host's answer needs %llu bytes, the exchange has %llu: raise "
             "exchange_bytes",
             (unsigned long long)kaon_wire_size(value, 1),
             kaon__exchange_limit(call->memory));
    text = kaon_string(why->status ? why->text : words);
    kaon__exchange_put(call, free, &text, 1, &frame, &unused);
    kaon__memory_put_frame(call->memory, &frame);
}

static void answer(struct kaon_call *call, struct kaon_wire_free free,
                   uint32_t kind, int32_t code, const struct kaon_value *value)
{
    struct kaon_frame frame = { .kind = kind, .code = code };
    struct kaon_error why;

    if (kaon__exchange_put(call, free, value, value->type != KAON_TYPE_VOID,
                           &frame, &why))
        answer_too_large(call, free, value, &why);
    else
        kaon__memory_put_frame(call->memory, &frame);
}

static void refuse(struct kaon_call *call, struct kaon_wire_free free,
                   int32_t code, const char *text)
{
    struct kaon_value value = kaon_string(text);

    answer(call, free, KAON_FRAME_HOST_REFUSED, code, &value);
}

static bool need_area(struct kaon_host_call *host_call, struct kaon_wire *wire)
{
    struct kaon_call *call = host_call->sandbox;

    if (kaon__exchange_need_area(call, NULL))
        return false;
    *wire = kaon__memory_wire(call->memory);
    return wire->area != NULL;
}

static enum kaon_step run_host_function(struct kaon_call *call,
                                        const struct kaon_host_entry *entry,
                                        const struct kaon_value *args,
                                        struct kaon_wire_free free)
{
    struct kaon_host_call host_call;
    struct kaon_value result = kaon_void();
    enum kaon_status unsound = KAON_OK;
    struct kaon_error why;

    host_call.wire = kaon__memory_wire(call->memory);
    host_call.free = free;
    host_call.need_area = need_area;
    host_call.sandbox = call;
    host_call.failed = false;
    if (entry->function(&host_call, args, &result, entry->user)) {
        struct kaon_value text;

        if (!host_call.failed) {
            host_call.code = -1;
            host_call.text[0] = '\0';
        }
        text = kaon_string(host_call.text);
        answer(call, free, KAON_FRAME_HOST_ERROR, host_call.code, &text);
        return KAON_STEP_GO_ON;
    }
    if (result.type)
        unsound = kaon__value_check(&result, "the host's result", &why);
    if (result.type != entry->signature.result || unsound == KAON_EINVAL) {
        kaon__fail(call->err, KAON_EINVAL,
                   "the host function %s returned %s, not a sound %s as it is "
                   "registered with",
                   entry->name, kaon_type_name(result.type),
                   kaon_type_name(entry->signature.result));
        return KAON_STEP_FAILED;
    }
    /* What a value holds may be the guest's doing, and is then its problem. */
    if (unsound) {
        struct kaon_value text = kaon_string(why.text);

        answer(call, free, KAON_FRAME_HOST_ERROR, -1, &text);
        return KAON_STEP_GO_ON;
    }
    answer(call, host_call.free, KAON_FRAME_HOST_RESULT, 0, &result);
    return KAON_STEP_GO_ON;
}

/* Raises an offset to the next multiple of 16 from `end` on. */
static void raise_to(uint32_t *offset, uint64_t end)
{
    end = (end + 15) & ~UINT64_C(15);
    if (*offset < end)
        *offset = (uint32_t)end;
}

/* A name is the first value; the arguments follow. */
static const struct kaon_host_entry *
find_by_name(const struct kaon_sandbox *sandbox, const struct kaon_value *name)
{
    if (name->type != KAON_TYPE_STRING)
        return NULL;
    return kaon__host_functions_find(sandbox->functions, name->span.data);
}

/* Where a guest may have an answer, but never over what it passed. */
static void spare_arguments(struct kaon_wire_free *free,
                            const struct kaon_wire *wire,
                            const struct kaon_value *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char *end = values[i].span.data;

        if (values[i].type < KAON_TYPE_STRING)
            continue;
        /* To its piece's end at most, which is a multiple of 16: what was
         * accepted lies within, a string with its NUL. */
        end += values[i].span.size + (values[i].type == KAON_TYPE_STRING);
        if (kaon__lies_in(&values[i], wire->page, KAON_MAILBOX_SIZE))
            raise_to(&free->page, (uint64_t)(end - wire->page));
        else if (kaon__lies_in(&values[i], wire->area, wire->area_size))
            raise_to(&free->area,
                     KAON_MAILBOX_SIZE + (uint64_t)(end - wire->area));
    }
}

enum kaon_step kaon__host_call(struct kaon_call *call,
                               const struct kaon_frame *frame)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    struct kaon_value values[KAON_PARAMS_MAX + 1], *args = values;
    /* An area that is not there yet can still be offered. */
    const struct kaon_wire whole = {
        .page = wire.page,
        .area_size = (uint32_t)kaon__exchange_limit(call->memory)
    };
    struct kaon_wire_free free = kaon_wire_offer(&whole, frame);
    enum kaon_wire_status bad =
        kaon__exchange_get(call, frame, values, KAON_PARAMS_MAX + 1);
    const struct kaon_host_entry *entry = NULL;
    uint32_t count = frame->count;
    struct kaon_error why;

    if (bad)
        return kaon__call_protocol(call, "in a host call,",
                                   kaon_wire_reason(bad));
    sandbox->host_calls++;
    spare_arguments(&free, &wire, values, count);
    if (frame->function < sandbox->image->import_count) {
        entry = sandbox->imports[frame->function];
    } else if (frame->function == KAON_FUNCTION_BY_NAME && count) {
        entry = find_by_name(sandbox, values);
        args++;
        count--;
    }
    if (!entry)
        refuse(call, free, KAON_REFUSED_UNKNOWN,
               "the host has no such function");
    else if (kaon__signature_check(&entry->signature, args, count, &why))
        refuse(call, free, KAON_REFUSED_ARGUMENTS, why.text);
    else
        return run_host_function(call, entry, args, free);
    return KAON_STEP_GO_ON;
}

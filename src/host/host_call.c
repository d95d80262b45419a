/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls: a host function runs, and its answer goes into the exchange;
 * or, if the guest posted the call, nowhere.
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

/* A host call that is being made. */
struct request {
    struct kaon_call *call;
    const struct kaon_host_entry *entry; /* NULL: there is no such function */
    struct kaon_value values[KAON_PARAMS_MAX + 1];
    const struct kaon_value *args; /* in values, behind a name */
    uint32_t count;
    bool posted;                /* nobody waits for the answer */
    struct kaon_wire_free free; /* where it may go */
};

/* ---- Answers ----------------------------------------------------------- */

/* Says to the guest that there is no room, if there is room for that. */
static void answer_too_large(const struct request *request,
                             const struct kaon_value *value,
                             const struct kaon_error *why)
{
    struct kaon_frame frame = { .kind = KAON_FRAME_HOST_REFUSED,
                                .code = KAON_REFUSED_TOO_LARGE };
    struct kaon_memory *memory = request->call->memory;
    char words[KAON_ERROR_TEXT];
    struct kaon_value text;
    struct kaon_error unused;

    snprintf(words, sizeof words,
             "the host's answer needs %llu bytes, the exchange has %llu: raise "
             "exchange_bytes",
             (unsigned long long)kaon_wire_size(value, 1),
             kaon__exchange_limit(memory));
    text = kaon_string(why->status ? why->text : words);
    kaon__exchange_put(request->call, request->free, &text, 1, &frame, &unused);
    kaon__memory_put_frame(memory, &frame);
}

static void answer(const struct request *request, uint32_t kind, int32_t code,
                   const struct kaon_value *value)
{
    struct kaon_frame frame = { .kind = kind, .code = code };
    struct kaon_error why;

    if (request->posted)
        return;
    if (kaon__exchange_put(request->call, request->free, value,
                           value->type != KAON_TYPE_VOID, &frame, &why))
        answer_too_large(request, value, &why);
    else
        kaon__memory_put_frame(request->call->memory, &frame);
}

static void answer_text(const struct request *request, uint32_t kind,
                        int32_t code, const char *text)
{
    struct kaon_value value = kaon_string(text);

    answer(request, kind, code, &value);
}

/* ---- The function ------------------------------------------------------ */

static bool need_area(struct kaon_host_call *host_call, struct kaon_wire *wire,
                      uint64_t bytes)
{
    const struct request *request = host_call->sandbox;

    if (request->posted || kaon__exchange_need_area(request->call, bytes, NULL))
        return false;
    *wire = kaon__memory_wire(request->call->memory);
    return wire->area != NULL;
}

static enum kaon_step run(struct request *request)
{
    const struct kaon_host_entry *entry = request->entry;
    struct kaon_host_call host_call;
    struct kaon_value result = kaon_void();
    enum kaon_status unsound = KAON_OK;
    struct kaon_error why;

    host_call.wire = kaon__memory_wire(request->call->memory);
    host_call.free = request->free;
    host_call.need_area = need_area;
    host_call.sandbox = request;
    host_call.failed = false;
    if (entry->function(&host_call, request->args, &result, entry->user)) {
        if (!host_call.failed) {
            host_call.code = -1;
            host_call.text[0] = '\0';
        }
        answer_text(request, KAON_FRAME_HOST_ERROR, host_call.code,
                    host_call.text);
        return KAON_STEP_GO_ON;
    }
    if (result.type)
        unsound = kaon__value_check(&result, "the host's result", &why);
    if (result.type != entry->signature.result || unsound == KAON_EINVAL) {
        request->call->failure = kaon__fail(
            request->call->err, KAON_EINVAL,
            "the host function %s returned %s, not a sound %s as it is "
            "registered with",
            entry->name, kaon_type_name(result.type),
            kaon_type_name(entry->signature.result));
        return KAON_STEP_FAILED;
    }
    /* What a value holds may be the guest's doing, and is then its problem. */
    if (unsound) {
        answer_text(request, KAON_FRAME_HOST_ERROR, -1, why.text);
        return KAON_STEP_GO_ON;
    }
    request->free = host_call.free;
    answer(request, KAON_FRAME_HOST_RESULT, 0, &result);
    return KAON_STEP_GO_ON;
}

/* ---- What the guest asks for ------------------------------------------- */

/* A name is the first value; the arguments follow. */
static const struct kaon_host_entry *
find_by_name(const struct kaon_sandbox *sandbox, const struct kaon_value *name)
{
    if (name->type != KAON_TYPE_STRING)
        return NULL;
    return kaon__host_functions_find(sandbox->functions, name->span.data);
}

/* Takes function and arguments out of a frame; returns what is wrong. */
static enum kaon_wire_status take(struct request *request,
                                  const struct kaon_frame *frame)
{
    struct kaon_sandbox *sandbox = request->call->sandbox;
    enum kaon_wire_status bad = kaon__exchange_get(
        request->call, frame, request->values, KAON_PARAMS_MAX + 1);

    if (bad)
        return bad;
    sandbox->host_calls++;
    request->entry = NULL;
    request->args = request->values;
    request->count = frame->count;
    if (frame->function < sandbox->image->import_count) {
        request->entry = sandbox->imports[frame->function];
    } else if (frame->function == KAON_FUNCTION_BY_NAME && request->count) {
        request->entry = find_by_name(sandbox, request->values);
        request->args++;
        request->count--;
    }
    return KAON_WIRE_OK;
}

static enum kaon_step serve(struct request *request)
{
    struct kaon_error why;

    if (!request->entry)
        answer_text(request, KAON_FRAME_HOST_REFUSED, KAON_REFUSED_UNKNOWN,
                    "the host has no such function");
    else if (kaon__signature_check(&request->entry->signature, request->args,
                                   request->count, &why))
        answer_text(request, KAON_FRAME_HOST_REFUSED, KAON_REFUSED_ARGUMENTS,
                    why.text);
    else
        return run(request);
    return KAON_STEP_GO_ON;
}

/* Raises an offset to the next multiple of 16 from `end` on. */
static void raise_to(uint32_t *offset, uint64_t end)
{
    end = (end + 15) & ~UINT64_C(15);
    if (*offset < end)
        *offset = (uint32_t)end;
}

/* Where a guest may have an answer, but never over what it passed. */
static void spare_arguments(struct request *request, uint32_t count)
{
    struct kaon_wire wire = kaon__memory_wire(request->call->memory);

    for (uint32_t i = 0; i < count; i++) {
        const struct kaon_value *value = &request->values[i];
        const unsigned char *end = value->span.data;

        if (value->type < KAON_TYPE_STRING)
            continue;
        /* To its piece's end at most, which is a multiple of 16: what was
         * accepted lies within, a string with its NUL. */
        end += value->span.size + (value->type == KAON_TYPE_STRING);
        if (kaon__lies_in(value, wire.page, KAON_MAILBOX_SIZE))
            raise_to(&request->free.page, (uint64_t)(end - wire.page));
        else if (kaon__lies_in(value, wire.area, wire.area_size))
            raise_to(&request->free.area,
                     KAON_MAILBOX_SIZE + (uint64_t)(end - wire.area));
    }
}

enum kaon_step kaon__host_call(struct kaon_call *call,
                               const struct kaon_frame *frame)
{
    /* An area that is not there yet can still be offered. */
    const struct kaon_wire whole = {
        .page = kaon__memory_wire(call->memory).page,
        .area_size = (uint32_t)kaon__exchange_limit(call->memory)
    };
    struct request request;
    enum kaon_wire_status bad;

    request.call = call;
    request.posted = false;
    request.free = kaon_wire_offer(&whole, frame);
    bad = take(&request, frame);
    if (bad)
        return kaon__call_unread(call, "in a host call,", bad);
    spare_arguments(&request, frame->count);
    return serve(&request);
}

/* ---- Posted calls ------------------------------------------------------ */

/* There is no room for an answer; what is refused or fails is dropped. */
static enum kaon_step serve_posted(struct kaon_call *call,
                                   const struct kaon_frame *frame)
{
    struct request request;
    enum kaon_wire_status bad;

    request.call = call;
    request.posted = true;
    request.free = (struct kaon_wire_free){ UINT32_MAX, UINT32_MAX };
    if (frame->kind != KAON_FRAME_HOST_CALL)
        return kaon__call_protocol(call, "it posted a frame of",
                                   "another kind than HOST_CALL");
    bad = take(&request, frame);
    if (bad)
        return kaon__call_unread(call, "in a posted call,", bad);
    return serve(&request);
}

enum kaon_step kaon__host_serve_posted(struct kaon_call *call,
                                       const struct kaon_posted *posted)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    enum kaon_step step = KAON_STEP_GO_ON;

    if (posted->count > KAON_POSTED_MAX)
        return kaon__call_protocol(call, "it posted", "too many calls at once");
    if (kaon_wire_check_frames(&wire, posted->frames, posted->count))
        return kaon__call_protocol(call, "it posted calls that are",
                                   "outside of the exchange");
    for (uint32_t i = 0; step == KAON_STEP_GO_ON && i < posted->count; i++) {
        struct kaon_frame frame;

        kaon_wire_read_frame(&wire, posted->frames, i, &frame);
        step = serve_posted(call, &frame);
    }
    return step;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: many calls to one sandbox in one entry.
 *
 * The calls are an array of frames in the exchange, in which the guest puts an
 * answer in place of each call. The host looks at that array when the guest
 * has left for good, or was stopped, and then once, from the start to the
 * first call without an answer: that is the one which the guest was in. What a
 * guest says in it concerns its own outcomes and nothing else.
 *
 * Owns nothing beyond the batch. Results that lie where they may change or
 * be overwritten are kept in sandbox->copy, which may move while it grows:
 * until all are there, the data of a kept value is an offset into it.
 */
#include "host/batch.h"

#include <stdlib.h>

#include "host/error.h"
#include "host/exchange.h"
#include "host/image.h"

struct kaon_batch {
    const struct kaon_batch_call *calls;
    struct kaon_outcome *outcomes;
    size_t count;
    struct kaon_value
        *moved;      /* the arguments, or NULL: as the caller has them */
    uint32_t frames; /* where the array is */
};

/* Which of the calls it is from here on. */
static void go_to(struct kaon_call *call, const struct kaon_batch *batch,
                  size_t i)
{
    const struct kaon_image *image = call->sandbox->image;

    call->out = &batch->outcomes[i];
    call->signature = &image->exports[batch->calls[i].function.index];
    call->name = call->signature->name;
}

/* ---- Results ----------------------------------------------------------- */

static bool is_kept(const struct kaon_call *call,
                    const struct kaon_outcome *out)
{
    return call->keeps && out->kind == KAON_RETURNED &&
           out->value.type >= KAON_TYPE_STRING;
}

/* Keeps a result that was copied, if all of them would fit an exchange. */
static void keep(struct kaon_call *call)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_span *span = &call->out->value.span;

    if (!is_kept(call, call->out))
        return;
    if (span->size >= kaon__exchange_limit(call->memory) - sandbox->copy_kept) {
        kaon__outcome_say(call->out, KAON_GUEST_REFUSED,
                          "the results of the batch need more than the "
                          "exchange has, %llu bytes: raise exchange_bytes",
                          kaon__exchange_limit(call->memory));
        call->out->code = KAON_REFUSED_TOO_LARGE;
        return;
    }
    span->data = (const void *)(uintptr_t)sandbox->copy_kept;
    sandbox->copy_kept += span->size + 1;
}

/* Each call has its outcome: those that did not run, too. */
static void finish(struct kaon_call *call, const struct kaon_batch *batch)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_outcome *out = batch->outcomes, *last = call->out;
    const char *last_name = call->name;

    for (; out <= last; out++)
        if (is_kept(call, out))
            out->value.span.data =
                sandbox->copy + (uintptr_t)out->value.span.data;
    sandbox->calls += (uint64_t)(last - batch->outcomes);
    for (; out < batch->outcomes + batch->count; out++) {
        go_to(call, batch, (size_t)(out - batch->outcomes));
        kaon__outcome_say(out, KAON_NOT_RUN,
                          "%s was not run: %s, before it in the batch, ended "
                          "as %s",
                          call->name, last_name, kaon_outcome_name(last->kind));
    }
    call->out = last;
}

/* ---- In one entry ------------------------------------------------------ */

static enum kaon_step take_answer(struct kaon_call *call,
                                  const struct kaon_frame *frame)
{
    switch (frame->kind) {
    case KAON_FRAME_RESULT: return kaon__call_result(call, frame);
    case KAON_FRAME_ERROR:
        return kaon__call_words(call, frame, KAON_GUEST_ERROR);
    case KAON_FRAME_REFUSED:
        return kaon__call_words(call, frame, KAON_GUEST_REFUSED);
    }
    return kaon__call_protocol(call, "in a batch, it answered with a frame of",
                               "unknown kind");
}

enum kaon_step kaon__batch_settle(struct kaon_call *call)
{
    const struct kaon_batch *batch = call->batch;
    struct kaon_wire wire = kaon__memory_wire(call->memory);

    call->batch = NULL;
    for (size_t i = 0; i < batch->count; i++) {
        struct kaon_frame frame;

        go_to(call, batch, i);
        kaon_wire_read_frame(&wire, batch->frames, (uint32_t)i, &frame);
        if (frame.kind == KAON_FRAME_CALL)
            return KAON_STEP_GO_ON;
        if (take_answer(call, &frame) == KAON_STEP_FAILED)
            return KAON_STEP_FAILED;
        if (call->out->kind >= KAON_ABORT)
            break;
        keep(call);
    }
    return KAON_STEP_DONE;
}

enum kaon_step kaon__batch_over(struct kaon_call *call,
                                const struct kaon_frame *frame)
{
    enum kaon_step settled = kaon__batch_settle(call);

    if (settled == KAON_STEP_FAILED)
        return settled;
    if (frame->kind == KAON_FRAME_ABORT)
        return kaon__call_words(call, frame, KAON_ABORT);
    if (frame->kind != KAON_FRAME_RESULT || frame->count)
        return kaon__call_protocol(call, "it left a batch with a frame of",
                                   "unknown kind");
    if (settled == KAON_STEP_GO_ON)
        return kaon__call_protocol(call, "it left a batch", "before its end");
    return KAON_STEP_DONE;
}

static enum kaon_status run_together(struct kaon_call *call,
                                     struct kaon_batch *batch)
{
    enum kaon_status status =
        kaon__exchange_put_batch(call, batch->calls, (uint32_t)batch->count,
                                 batch->moved, &batch->frames);

    if (!status)
        status = kaon__call_begin(call);
    if (status)
        return status;
    call->batch = batch;
    status = kaon__call_run(call);
    kaon__call_end(call);
    return status;
}

/* ---- One by one -------------------------------------------------------- */

static enum kaon_status run_one(struct kaon_call *call,
                                const struct kaon_batch_call *one,
                                const struct kaon_value *args)
{
    enum kaon_status status = kaon__exchange_put_call(
        call, one->function.index, args, (uint32_t)one->count);

    return status ? status : kaon__call_run(call);
}

/* For a guest that knows no batches: an entry for each, all else is the same.
 * Whether they fit was checked, so that none fails after others ran. */
static enum kaon_status run_singly(struct kaon_call *call,
                                   struct kaon_batch *batch)
{
    const struct kaon_value *moved = batch->moved;
    enum kaon_status status = kaon__call_begin(call);

    if (status)
        return status;
    call->sandbox->buffer_end = 0;
    for (size_t i = 0; !status && i < batch->count; i++) {
        const struct kaon_batch_call *one = &batch->calls[i];

        go_to(call, batch, i);
        status = run_one(call, one, moved ? moved : one->args);
        if (status || call->out->kind >= KAON_ABORT)
            break;
        keep(call);
        if (moved)
            moved += one->count;
    }
    kaon__call_end(call);
    return status;
}

/* ---- From start to end ------------------------------------------------- */

static enum kaon_status make(struct kaon_call *call, struct kaon_batch *batch)
{
    bool together = call->sandbox->image->batch;
    enum kaon_status status = KAON_OK;

    if (call->has_spans)
        status = kaon__exchange_move_out(call, batch->calls, batch->count,
                                         !together, &batch->moved);
    if (!status)
        status = kaon__exchange_fit_batch(call, batch->calls, batch->count,
                                          together);
    if (status)
        return status;
    call->keeps = !together || kaon__call_races(call);
    status = together ? run_together(call, batch) : run_singly(call, batch);
    if (!status)
        finish(call, batch);
    call->sandbox->copy_kept = 0;
    return status;
}

static enum kaon_status check_one(struct kaon_call *call,
                                  const struct kaon_batch_call *one)
{
    const struct kaon_image *image = call->sandbox->image;

    if (one->function.image != image ||
        one->function.index >= image->export_count)
        return kaon__fail(call->err, KAON_EINVAL,
                          "the function is not of the sandbox's image: find "
                          "it in %.64s",
                          image->name);
    if (one->count && !one->args)
        return kaon__fail(call->err, KAON_EINVAL,
                          "args is NULL, but there are %zu of them",
                          one->count);
    return kaon__call_check(call, &image->exports[one->function.index],
                            one->args, one->count);
}

/* Says which of the calls is wrong. */
static enum kaon_status check_all(struct kaon_call *call,
                                  const struct kaon_batch *batch)
{
    struct kaon_error *err = call->err, why;
    enum kaon_status status = KAON_OK;

    call->err = &why;
    for (size_t i = 0; !status && i < batch->count; i++) {
        status = check_one(call, &batch->calls[i]);
        if (status)
            kaon__fail(err, status, "call %zu of the batch: %.200s", i + 1,
                       why.text);
    }
    call->err = err;
    call->name = "the batch";
    return status;
}

enum kaon_status
kaon_call_batch(struct kaon_sandbox *sandbox, struct kaon_outcome *outcomes,
                const struct kaon_batch_call *calls, size_t count,
                const struct kaon_call_opts *opts, struct kaon_error *err)
{
    struct kaon_batch batch = { .calls = calls,
                                .outcomes = outcomes,
                                .count = count };
    enum kaon_status status;
    struct kaon_call call;

    if (!sandbox || (count && (!outcomes || !calls)))
        return kaon__fail(err, KAON_EINVAL,
                          "sandbox, outcomes and calls must not be NULL");
    call = kaon__call(sandbox, NULL, outcomes, err);
    status = check_all(&call, &batch);
    if (!status)
        status = kaon__call_claim(&call, opts);
    if (status)
        return status;
    if (count)
        status = make(&call, &batch);
    free(batch.moved);
    kaon__call_release(&call, status);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a call: a vCPU into the guest, and whatever comes out into an
 * outcome. exchange.c moves its values, host_call.c serves its guest.
 *
 * Owns nothing beyond the call. A warm call makes one system call, KVM_RUN,
 * and one more for each host call.
 */
#include "host/call.h"

#include <stdio.h>
#include <string.h>

#include "host/batch.h"
#include "host/error.h"
#include "host/exchange.h"
#include "host/host_call.h"
#include "host/image.h"
#include "host/options.h"
#include "host/resident.h"
#include "host/signature.h"

/* ---- Answers ----------------------------------------------------------- */

enum kaon_step kaon__call_protocol(struct kaon_call *call, const char *what,
                                   const char *why)
{
    if (call->batch && kaon__batch_settle(call) == KAON_STEP_FAILED)
        return KAON_STEP_FAILED;
    kaon__outcome_say(call->out, KAON_PROTOCOL,
                      "the guest broke the contract: %s %s", what, why);
    return KAON_STEP_DONE;
}

enum kaon_step kaon__call_unread(struct kaon_call *call, const char *what,
                                 enum kaon_wire_status bad)
{
    if (bad != KAON_WIRE_TOO_LARGE)
        return kaon__call_protocol(call, what, kaon_wire_reason(bad));
    call->failure =
        kaon__fail(call->err, KAON_ENOMEM,
                   "out of memory for what the guest of %s says", call->name);
    return KAON_STEP_FAILED;
}

enum kaon_step kaon__call_result(struct kaon_call *call,
                                 const struct kaon_frame *frame)
{
    enum kaon_wire_status bad =
        kaon__exchange_get(call, frame, &call->out->value, 1);

    if (bad)
        return kaon__call_unread(call, "in its result,", bad);
    if (frame->count == 0)
        call->out->value = kaon_void();
    if (call->signature && call->out->value.type != call->signature->result)
        return kaon__call_protocol(call, "its result is of type",
                                   kaon_type_name(call->out->value.type));
    call->out->kind = KAON_RETURNED;
    call->out->code = 0;
    call->out->text[0] = '\0';
    return KAON_STEP_DONE;
}

enum kaon_step kaon__call_words(struct kaon_call *call,
                                const struct kaon_frame *frame,
                                enum kaon_outcome_kind kind)
{
    struct kaon_value text = kaon_string("");
    enum kaon_wire_status bad = kaon__exchange_get(call, frame, &text, 1);

    if (bad)
        return kaon__call_unread(call, "in its words,", bad);
    if (text.type != KAON_TYPE_STRING)
        return kaon__call_protocol(call, "its words are of type",
                                   kaon_type_name(text.type));
    kaon__outcome_quote(call->out, kind, frame->code, text.span.data,
                        text.span.size);
    return KAON_STEP_DONE;
}

/* What was posted comes first, as the guest did it first. */
static enum kaon_step on_gate(struct kaon_call *call)
{
    struct kaon_frame frame;
    enum kaon_step step = kaon__host_posted(call);

    if (step != KAON_STEP_GO_ON)
        return step;
    kaon__memory_get_frame(call->memory, &frame);
    if (frame.kind == KAON_FRAME_HOST_CALL)
        return kaon__host_call(call, &frame);
    if (call->batch)
        return kaon__batch_over(call, &frame);
    switch (frame.kind) {
    case KAON_FRAME_RESULT: return kaon__call_result(call, &frame);
    case KAON_FRAME_ERROR:
        return kaon__call_words(call, &frame, KAON_GUEST_ERROR);
    case KAON_FRAME_REFUSED:
        return kaon__call_words(call, &frame, KAON_GUEST_REFUSED);
    case KAON_FRAME_ABORT: return kaon__call_words(call, &frame, KAON_ABORT);
    }
    return kaon__call_protocol(call, "it left with a frame of", "unknown kind");
}

/* ---- Running ----------------------------------------------------------- */

/*
 * The guest did not leave by itself. What it posted and answered until then
 * counts; if it broke the contract in that, what ended it is the better
 * outcome. FAILED if the host did.
 */
static enum kaon_step cut_off(struct kaon_call *call)
{
    enum kaon_step step = kaon__host_posted(call);

    if (step != KAON_STEP_FAILED && call->batch)
        step = kaon__batch_settle(call);
    return step == KAON_STEP_FAILED ? step : KAON_STEP_DONE;
}

__attribute__((noinline)) static enum kaon_step
fault(struct kaon_call *call, const struct kaon_exit *exit)
{
    struct kaon_registers registers;
    enum kaon_step step = cut_off(call);

    call->backend->vcpu_registers(call->slot->vcpu, &registers);
    kaon__outcome_fault(call->out, call->memory, exit, &registers);
    return step;
}

/* Out of line, as is stopped(): a warm call needs neither. */
__attribute__((noinline)) static enum kaon_step
on_fault(struct kaon_call *call, const struct kaon_exit *exit)
{
    enum kaon_access access = kaon__exit_access(exit);
    enum kaon_fault_answer answered = KAON_FAULT_DENIED;
    enum kaon_step step;

    if (access != KAON_ACCESS_NONE)
        answered = kaon__memory_fault(call->memory, exit->address, access);
    if (answered == KAON_FAULT_NO_PAGE &&
        kaon__domain_make_room(call->sandbox->domain, call->slot))
        answered = kaon__memory_fault(call->memory, exit->address, access);
    if (answered == KAON_FAULT_PROVIDED)
        return KAON_STEP_GO_ON;
    if (answered == KAON_FAULT_DENIED)
        return fault(call, exit);
    step = cut_off(call);
    kaon__outcome_say(call->out, KAON_OUT_OF_MEMORY,
                      "the domain has no page left for the guest at %#llx: "
                      "raise memory_bytes, or destroy sandboxes",
                      (unsigned long long)exit->address);
    return step;
}

static enum kaon_step handle_exit(struct kaon_call *call,
                                  const struct kaon_exit *exit)
{
    switch (exit->kind) {
    case KAON_EXIT_GATE: return on_gate(call);
    case KAON_EXIT_FAULT: return on_fault(call, exit);
    case KAON_EXIT_KICKED: return KAON_STEP_GO_ON; /* run() knows whether */
    case KAON_EXIT_MEMORY:
    case KAON_EXIT_STOPPED: break;
    }
    return fault(call, exit);
}

/* Somebody stopped the call. */
__attribute__((noinline)) static enum kaon_step stopped(struct kaon_call *call,
                                                        enum kaon_life why)
{
    enum kaon_step step = cut_off(call);

    if (why == KAON_LIFE_CANCELLED)
        kaon__outcome_say(call->out, KAON_CANCELLED,
                          "%s was interrupted by the host", call->name);
    else
        kaon__outcome_say(call->out, KAON_DEADLINE,
                          "%s did not return before its deadline", call->name);
    return step;
}

/* Enters the guest, the first time, or lets it go on after an exit. */
static enum kaon_status enter(struct kaon_call *call, bool first,
                              struct kaon_exit *exit)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_entry entry;
    bool fresh;

    if (sandbox->resident) /* its thread has what follows */
        return kaon__resident_run(sandbox->resident, exit, call->err);
    if (!first)
        return call->backend->vcpu_resume(call->slot->vcpu, exit, call->err);
    fresh = sandbox->last_slot == call->slot;
    sandbox->last_slot = call->slot;
    entry.ip = sandbox->image->entry;
    entry.sp = call->memory->stack.high;
    entry.argument = call->memory->mailbox;
    entry.turn = kaon__memory_turn(call->memory);
    return call->backend->vcpu_enter(call->slot->vcpu, call->memory->space,
                                     fresh, &entry, &sandbox->pointers, exit,
                                     call->err);
}

/* A call that is stopped before it begins never enters the guest. */
enum kaon_status kaon__call_run(struct kaon_call *call)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    enum kaon_step step = KAON_STEP_GO_ON;
    struct kaon_exit exit;

    for (bool first = true; step == KAON_STEP_GO_ON; first = false) {
        enum kaon_life life = atomic_load(&sandbox->life);
        enum kaon_status status;

        if (life != KAON_LIFE_RUNNING) {
            step = stopped(call, life);
            exit.kind = KAON_EXIT_KICKED;
            break;
        }
        status = enter(call, first, &exit);
        if (status)
            return status;
        sandbox->exits += !exit.crossed;
        step = handle_exit(call, &exit);
    }
    if (step == KAON_STEP_DONE && exit.kind == KAON_EXIT_GATE &&
        !sandbox->resident)
        sandbox->pointers = call->backend->vcpu_pointers(call->slot->vcpu);
    return step == KAON_STEP_FAILED ? call->failure : KAON_OK;
}

/* ---- A call from start to end ------------------------------------------ */

static void expire(struct kaon_watch *watch)
{
    struct kaon_sandbox *sandbox =
        (struct kaon_sandbox *)((char *)watch -
                                offsetof(struct kaon_sandbox, watch));

    kaon__sandbox_stop(sandbox, KAON_LIFE_OVERDUE);
}

/* What a deadline needs, made by the first call that has one. */
static enum kaon_status prepare_deadline(struct kaon_call *call)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    enum kaon_status status;

    if (sandbox->watch.user)
        return KAON_OK;
    status = call->backend->kick_ready(sandbox->domain->machine, call->err);
    sandbox->watch.expire = expire;
    return status ? status : kaon__watch_open(&sandbox->watch, call->err);
}

/* Who stops the call from here on kicks the vCPU, too; until it ends. */
enum kaon_status kaon__call_begin(struct kaon_call *call)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_resident *resident = sandbox->resident;
    enum kaon_status status = KAON_OK;

    if (call->deadline_ns)
        status = prepare_deadline(call);
    if (resident)
        call->slot = kaon__resident_slot(resident);
    else if (!status)
        status = kaon__domain_borrow(sandbox->domain, &call->slot, call->err);
    if (status)
        return status;
    sandbox->calls++;
    /* A resident guest's vCPU may be kicked from its first call on. */
    if (atomic_load_explicit(&sandbox->running, memory_order_relaxed) !=
        call->slot->vcpu) {
        call->backend->vcpu_unkick(call->slot->vcpu);
        atomic_store(&sandbox->running, call->slot->vcpu);
    }
    if (call->deadline_ns)
        kaon__watch_start(&sandbox->watch, call->deadline_ns);
    return KAON_OK;
}

void kaon__call_end(struct kaon_call *call)
{
    struct kaon_sandbox *sandbox = call->sandbox;

    if (call->deadline_ns)
        kaon__watch_stop(&sandbox->watch);
    kaon__sandbox_hold(sandbox);
    if (sandbox->resident)
        return;
    atomic_store_explicit(&sandbox->running, NULL, memory_order_relaxed);
    kaon__domain_return(call->slot);
}

/* Out of line: most calls have none. */
__attribute__((noinline)) static enum kaon_status
take_options(struct kaon_call *call, const struct kaon_call_opts *theirs)
{
    struct kaon_call_opts opts;
    enum kaon_status status = kaon__options_adopt(&opts, sizeof opts, theirs,
                                                  "call options", call->err);

    if (!status && opts.deadline_ns)
        call->deadline_ns = opts.deadline_ns;
    return status;
}

enum kaon_status kaon__call_claim(struct kaon_call *call,
                                  const struct kaon_call_opts *opts)
{
    enum kaon_status status = KAON_OK;

    call->deadline_ns = call->sandbox->deadline_ns;
    if (opts)
        status = take_options(call, opts);
    if (!status)
        status = kaon__sandbox_claim_to_run(call->sandbox, call->err);
    if (!status)
        call->memory = call->sandbox->memory; /* a restore may change it */
    return status;
}

/* If the guest was entered: only an outcome that it can live on with leaves
 * the sandbox ready. */
void kaon__call_release(struct kaon_call *call, enum kaon_status status)
{
    bool entered = call->slot != NULL;

    if (!entered)
        kaon__sandbox_hold(call->sandbox);
    kaon__sandbox_release(call->sandbox,
                          entered && (status || call->out->kind >= KAON_ABORT));
}

static enum kaon_status make(struct kaon_call *call, uint32_t function,
                             const struct kaon_value *values, uint32_t count,
                             const struct kaon_call_opts *opts)
{
    enum kaon_status status = kaon__call_claim(call, opts);

    if (status)
        return status;
    if (call->has_spans)
        status = kaon__exchange_put_call(call, function, values, count);
    if (!status)
        status = kaon__call_begin(call);
    if (!status) {
        /* Last, so that a resident guest, which looks there all the time,
         * finds it written all at once. */
        if (!call->has_spans)
            kaon__exchange_put_numbers(call, function, values, count);
        status = kaon__call_run(call);
        kaon__call_end(call);
    }
    kaon__call_release(call, status);
    return status;
}

/* Out of line: numbers, the usual case, need no words and none of the stack
 * that these take. */
__attribute__((noinline)) static enum kaon_status
check_span(const struct kaon_call *call, const struct kaon_value *args,
           size_t i)
{
    char what[KAON_NAME_MAX + 40];

    snprintf(what, sizeof what, "argument %zu of %.*s", i + 1,
             (int)KAON_NAME_MAX, call->name);
    return kaon__value_check(&args[i], what, call->err);
}

static enum kaon_status check_values(struct kaon_call *call,
                                     const struct kaon_value *args,
                                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum kaon_status status;

        if (args[i].type - 1 < KAON_TYPE_BOOL)
            continue;
        status = check_span(call, args, i);
        if (status)
            return status;
        call->has_spans = true;
    }
    return KAON_OK;
}

__attribute__((noinline)) static enum kaon_status
check_closely(struct kaon_call *call, const struct kaon_signature *signature,
              const struct kaon_value *args, size_t count)
{
    enum kaon_status status =
        kaon__signature_check(signature, args, count, call->err);

    return status ? status : check_values(call, args, count);
}

/* Numbers that the function takes: there is nothing else to look at. */
static bool are_numbers_of(const struct kaon_signature *signature,
                           const struct kaon_value *args, size_t count)
{
    if (count != signature->count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (args[i].type != signature->params[i] ||
            args[i].type >= KAON_TYPE_STRING)
            return false;
    return true;
}

enum kaon_status kaon__call_check(struct kaon_call *call,
                                  const struct kaon_signature *signature,
                                  const struct kaon_value *args, size_t count)
{
    call->signature = signature;
    call->name = signature->name;
    return are_numbers_of(signature, args, count)
               ? KAON_OK
               : check_closely(call, signature, args, count);
}

/* Inline, for handing seven arguments on takes longer than the rest of it. */
__attribute__((always_inline)) static inline enum kaon_status
call_export(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
            uint32_t index, const struct kaon_value *args, size_t count,
            const struct kaon_call_opts *opts, struct kaon_error *err)
{
    struct kaon_call call = kaon__call(sandbox, NULL, out, err);
    enum kaon_status status =
        kaon__call_check(&call, &sandbox->image->exports[index], args, count);

    return status ? status : make(&call, index, args, (uint32_t)count, opts);
}

/* The guest knows names that the host does not: the name goes along. */
static enum kaon_status call_name(struct kaon_sandbox *sandbox,
                                  struct kaon_outcome *out, const char *name,
                                  const struct kaon_value *args, size_t count,
                                  const struct kaon_call_opts *opts,
                                  struct kaon_error *err)
{
    struct kaon_call call = kaon__call(sandbox, name, out, err);
    struct kaon_value values[KAON_PARAMS_MAX + 1];
    enum kaon_status status;

    if (count > KAON_PARAMS_MAX)
        return kaon__fail(err, KAON_EARGS,
                          "%.128s is called with %zu arguments, at most %u are "
                          "possible",
                          name, count, KAON_PARAMS_MAX);
    if (strnlen(name, KAON_NAME_MAX + 1) > KAON_NAME_MAX)
        return kaon__fail(err, KAON_ENOFUNC,
                          "no function has a name of more than %u bytes",
                          KAON_NAME_MAX);
    status = check_values(&call, args, count);
    if (status)
        return status;
    call.has_spans = true;
    values[0] = kaon_string(name);
    if (count)
        memcpy(values + 1, args, count * sizeof *args);
    return make(&call, KAON_FUNCTION_BY_NAME, values, (uint32_t)count + 1,
                opts);
}

static enum kaon_status fail_unknown(const struct kaon_image *image,
                                     const char *name, struct kaon_error *err)
{
    const char *nearest = kaon__image_nearest_export(image, name);

    return kaon__fail(err, KAON_ENOFUNC,
                      "%.48s exports no function %.60s%s%.100s%s", image->name,
                      name, nearest ? ": did you mean " : "",
                      nearest ? nearest : "", nearest ? "?" : "");
}

static enum kaon_status check_call(const struct kaon_sandbox *sandbox,
                                   const struct kaon_outcome *out,
                                   const struct kaon_value *args, size_t count,
                                   struct kaon_error *err)
{
    if (!sandbox || !out)
        return kaon__fail(err, KAON_EINVAL, "sandbox and out must not be NULL");
    if (count && !args)
        return kaon__fail(err, KAON_EINVAL,
                          "args is NULL, but there are %zu of them", count);
    return KAON_OK;
}

/* ---- The public functions ---------------------------------------------- */

enum kaon_status kaon_call(struct kaon_sandbox *sandbox,
                           struct kaon_outcome *out, const char *function,
                           const struct kaon_value *args, size_t count,
                           const struct kaon_call_opts *opts,
                           struct kaon_error *err)
{
    enum kaon_status status = check_call(sandbox, out, args, count, err);
    int index;

    if (status)
        return status;
    if (!function || !*function)
        return kaon__fail(err, KAON_EINVAL, "function is NULL or empty");
    index = kaon__image_find_export(sandbox->image, function);
    if (index >= 0)
        return call_export(sandbox, out, (uint32_t)index, args, count, opts,
                           err);
    if (!sandbox->image->dynamic)
        return fail_unknown(sandbox->image, function, err);
    return call_name(sandbox, out, function, args, count, opts, err);
}

enum kaon_status kaon_function_find(struct kaon_function *out,
                                    const struct kaon_image *image,
                                    const char *name, struct kaon_error *err)
{
    int index;

    if (!out || !image || !name || !*name)
        return kaon__fail(err, KAON_EINVAL,
                          "out, image and name must not be NULL or empty");
    index = kaon__image_find_export(image, name);
    if (index < 0)
        return fail_unknown(image, name, err);
    *out = (struct kaon_function){ .image = image, .index = (uint32_t)index };
    return KAON_OK;
}

/* Flat: what a warm call needs of this file is in one function. */
__attribute__((flatten)) enum kaon_status
kaon_function_call(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
                   struct kaon_function function, const struct kaon_value *args,
                   size_t count, const struct kaon_call_opts *opts,
                   struct kaon_error *err)
{
    enum kaon_status status = check_call(sandbox, out, args, count, err);

    if (status)
        return status;
    if (function.image != sandbox->image ||
        function.index >= sandbox->image->export_count)
        return kaon__fail(err, KAON_EINVAL,
                          "the function is not of the sandbox's image: find "
                          "it in %s",
                          sandbox->image->name);
    return call_export(sandbox, out, function.index, args, count, opts, err);
}

enum kaon_status kaon_sandbox_init(struct kaon_sandbox *sandbox,
                                   struct kaon_outcome *out,
                                   const struct kaon_call_opts *opts,
                                   struct kaon_error *err)
{
    static const struct kaon_signature nothing = { .name = "initialisation" };
    enum kaon_status status = check_call(sandbox, out, NULL, 0, err);
    struct kaon_call call;

    if (status)
        return status;
    call = kaon__call(sandbox, nothing.name, out, err);
    call.signature = &nothing;
    return make(&call, KAON_FUNCTION_INIT, NULL, 0, opts);
}

enum kaon_status kaon_sandbox_buffer(struct kaon_sandbox *sandbox, void **out,
                                     size_t size, struct kaon_error *err)
{
    enum kaon_status status;
    unsigned long long limit;
    struct kaon_call call;

    if (!sandbox || !out)
        return kaon__fail(err, KAON_EINVAL, "sandbox and out must not be NULL");
    status = kaon__sandbox_claim(sandbox, err);
    if (status)
        return status;
    call = kaon__call(sandbox, "kaon_sandbox_buffer", NULL, err);
    call.memory = sandbox->memory;
    limit = kaon__exchange_limit(sandbox->memory);
    if (size > limit)
        status = kaon__fail(err, KAON_ETOOBIG,
                            "a buffer of %zu bytes does not fit the exchange, "
                            "which has %llu for it: raise exchange_bytes",
                            size, limit);
    else
        status = kaon__exchange_need_area(&call, size, err);
    if (!status) {
        sandbox->buffer_end = (KAON_MAILBOX_SIZE + size + 15) & ~UINT64_C(15);
        *out = kaon__memory_wire(sandbox->memory).area;
    }
    kaon__sandbox_release(sandbox, false);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: arguments into the exchange, a vCPU into the guest, and whatever
 * comes out into an outcome.
 *
 * Owns nothing beyond the call. A warm call makes one system call, KVM_RUN,
 * and one more for each host call.
 */
#include <kaon/call.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/image.h"
#include "host/options.h"
#include "host/outcome.h"
#include "host/sandbox.h"
#include "host/signature.h"

/* A call that is being made. */
struct call {
    struct kaon_sandbox *sandbox;
    const struct kaon_backend *backend;
    struct kaon_memory *memory;
    struct kaon_vcpu_slot *slot;
    const struct kaon_signature *signature; /* NULL: not known to the host */
    const char *name;                       /* of the function */
    bool has_spans; /* strings or bytes among the arguments */
    struct kaon_outcome *out;
    struct kaon_error *err;
};

/* Goes on with the guest, or the outcome is there, or the host failed. */
enum step { GO_ON, DONE, FAILED };

/* ---- Into the exchange ------------------------------------------------- */

/* Bytes of values that a call or an answer can have at most. */
static unsigned long long exchange_limit(const struct kaon_memory *memory)
{
    return memory->sizes.exchange - KAON_PAGE_SIZE;
}

/* Gives the exchange its area, if the domain can find the memory. */
static enum kaon_status get_area(struct call *call, struct kaon_error *err)
{
    enum kaon_status status = kaon__memory_need_area(call->memory, err);

    if (status == KAON_ENOMEM &&
        kaon__domain_make_room(call->sandbox->domain, call->slot))
        status = kaon__memory_need_area(call->memory, err);
    return status;
}

/*
 * Puts values into the exchange; gives it its area if the page is too small.
 * err says why there is none; it is for KAON_WIRE_TOO_LARGE, and its status
 * is KAON_OK if values are.
 */
static enum kaon_wire_status put(struct call *call, struct kaon_wire_free free,
                                 const struct kaon_value *values,
                                 uint32_t count, struct kaon_frame *frame,
                                 struct kaon_error *err)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    enum kaon_wire_status status =
        kaon_wire_put(&wire, free, values, count, frame);

    if (status != KAON_WIRE_TOO_LARGE)
        return status;
    err->status = KAON_OK;
    if (wire.area)
        return status;
    if (get_area(call, err)) {
        /* With an area it would not fit either: that is the better reason. */
        if (kaon_wire_size(values, count) > exchange_limit(call->memory))
            err->status = KAON_OK;
        return status;
    }
    wire = kaon__memory_wire(call->memory);
    return kaon_wire_put(&wire, free, values, count, frame);
}

/* Does a value's data lie at `memory`? */
static bool lies_in(const struct kaon_value *value, const void *memory,
                    size_t size)
{
    return value->type >= KAON_TYPE_STRING && memory &&
           (uintptr_t)value->span.data - (uintptr_t)memory < size;
}

/* Is a value where kaon_sandbox_buffer() wants it, whole, with its NUL? */
static bool is_in_place(const struct kaon_value *value, const void *buffer,
                        size_t size)
{
    const unsigned char *data = value->span.data;
    size_t before, string = value->type == KAON_TYPE_STRING;

    if (!lies_in(value, buffer, size))
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
static enum kaon_status move_out(struct call *call, struct kaon_value *values,
                                 uint32_t count, void **copies)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    uint64_t end = call->sandbox->buffer_end;
    size_t kept = end ? end - KAON_MAILBOX_SIZE : 0, need = 0;
    bool moves[KAON_PARAMS_MAX + 1] = { false };
    unsigned char *at;

    for (uint32_t i = 0; i < count; i++) {
        moves[i] = !is_in_place(&values[i], wire.area, kept) &&
                   (lies_in(&values[i], wire.page, KAON_MAILBOX_SIZE) ||
                    lies_in(&values[i], wire.area, wire.area_size));
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

static enum kaon_status put_values(struct call *call,
                                   const struct kaon_value *values,
                                   uint32_t count, struct kaon_frame *frame)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_wire_free free = kaon_wire_all_free();
    struct kaon_error why;

    if (sandbox->buffer_end)
        free.area = (uint32_t)sandbox->buffer_end;
    if (put(call, free, values, count, frame, &why)) {
        if (why.status)
            return kaon__fail(call->err, why.status, "%s", why.text);
        return kaon__fail(
            call->err, KAON_ETOOBIG,
            "the arguments of %s need %llu bytes, the exchange has %llu: raise "
            "exchange_bytes",
            call->name, (unsigned long long)kaon_wire_size(values, count),
            exchange_limit(call->memory));
    }
    sandbox->buffer_end = 0;
    kaon__memory_put_frame(call->memory, frame);
    return KAON_OK;
}

static enum kaon_status put_spans(struct call *call,
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

static enum kaon_status put_call(struct call *call, uint32_t function,
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

/* The values of a frame of the guest's, which is a copy already. */
static enum kaon_wire_status get(const struct call *call,
                                 const struct kaon_frame *frame,
                                 struct kaon_value *values, uint32_t max)
{
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    enum kaon_wire_status bad = kaon_wire_get(&wire, frame, values, max);

    if (bad || call->backend->exit_stops_guest)
        return bad;
    return own_spans(call->sandbox, values, frame->count);
}

/* ---- Host functions ---------------------------------------------------- */

/* Says to the guest that there is no room, if there is room for that. */
static void answer_too_large(struct call *call, struct kaon_wire_free free,
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
             exchange_limit(call->memory));
    text = kaon_string(why->status ? why->text : words);
    put(call, free, &text, 1, &frame, &unused);
    kaon__memory_put_frame(call->memory, &frame);
}

static void answer(struct call *call, struct kaon_wire_free free, uint32_t kind,
                   int32_t code, const struct kaon_value *value)
{
    struct kaon_frame frame = { .kind = kind, .code = code };
    struct kaon_error why;

    if (put(call, free, value, value->type != KAON_TYPE_VOID, &frame, &why))
        answer_too_large(call, free, value, &why);
    else
        kaon__memory_put_frame(call->memory, &frame);
}

static void refuse(struct call *call, struct kaon_wire_free free, int32_t code,
                   const char *text)
{
    struct kaon_value value = kaon_string(text);

    answer(call, free, KAON_FRAME_HOST_REFUSED, code, &value);
}

static bool need_area(struct kaon_host_call *host_call, struct kaon_wire *wire)
{
    struct call *call = host_call->sandbox;

    if (get_area(call, NULL))
        return false;
    *wire = kaon__memory_wire(call->memory);
    return wire->area != NULL;
}

static enum step run_host_function(struct call *call,
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
        return GO_ON;
    }
    if (result.type)
        unsound = kaon__value_check(&result, "the host's result", &why);
    if (result.type != entry->signature.result || unsound == KAON_EINVAL) {
        kaon__fail(call->err, KAON_EINVAL,
                   "the host function %s returned %s, not a sound %s as it is "
                   "registered with",
                   entry->name, kaon_type_name(result.type),
                   kaon_type_name(entry->signature.result));
        return FAILED;
    }
    /* What a value holds may be the guest's doing, and is then its problem. */
    if (unsound) {
        struct kaon_value text = kaon_string(why.text);

        answer(call, free, KAON_FRAME_HOST_ERROR, -1, &text);
        return GO_ON;
    }
    answer(call, host_call.free, KAON_FRAME_HOST_RESULT, 0, &result);
    return GO_ON;
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

static enum step protocol(struct call *call, const char *what, const char *why)
{
    kaon__outcome_say(call->out, KAON_PROTOCOL,
                      "the guest broke the contract: %s %s", what, why);
    return DONE;
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
        if (lies_in(&values[i], wire->page, KAON_MAILBOX_SIZE))
            raise_to(&free->page, (uint64_t)(end - wire->page));
        else if (lies_in(&values[i], wire->area, wire->area_size))
            raise_to(&free->area,
                     KAON_MAILBOX_SIZE + (uint64_t)(end - wire->area));
    }
}

static enum step on_host_call(struct call *call, const struct kaon_frame *frame)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    struct kaon_wire wire = kaon__memory_wire(call->memory);
    struct kaon_value values[KAON_PARAMS_MAX + 1], *args = values;
    /* An area that is not there yet can still be offered. */
    const struct kaon_wire whole = {
        .page = wire.page, .area_size = (uint32_t)exchange_limit(call->memory)
    };
    struct kaon_wire_free free = kaon_wire_offer(&whole, frame);
    enum kaon_wire_status bad = get(call, frame, values, KAON_PARAMS_MAX + 1);
    const struct kaon_host_entry *entry = NULL;
    uint32_t count = frame->count;
    struct kaon_error why;

    if (bad)
        return protocol(call, "in a host call,", kaon_wire_reason(bad));
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
    return GO_ON;
}

/* ---- Answers ----------------------------------------------------------- */

static enum step on_result(struct call *call, const struct kaon_frame *frame)
{
    enum kaon_wire_status bad = get(call, frame, &call->out->value, 1);

    if (bad)
        return protocol(call, "in its result,", kaon_wire_reason(bad));
    if (frame->count == 0)
        call->out->value = kaon_void();
    if (call->signature && call->out->value.type != call->signature->result)
        return protocol(call, "its result is of type",
                        kaon_type_name(call->out->value.type));
    call->out->kind = KAON_RETURNED;
    call->out->code = 0;
    call->out->text[0] = '\0';
    return DONE;
}

/* A code, and a text or none. */
static enum step on_words(struct call *call, const struct kaon_frame *frame,
                          enum kaon_outcome_kind kind)
{
    struct kaon_value text = kaon_string("");
    enum kaon_wire_status bad = get(call, frame, &text, 1);

    if (bad)
        return protocol(call, "in its words,", kaon_wire_reason(bad));
    if (text.type != KAON_TYPE_STRING)
        return protocol(call, "its words are of type",
                        kaon_type_name(text.type));
    kaon__outcome_quote(call->out, kind, frame->code, text.span.data,
                        text.span.size);
    return DONE;
}

static enum step on_gate(struct call *call)
{
    struct kaon_frame frame;

    kaon__memory_get_frame(call->memory, &frame);
    switch (frame.kind) {
    case KAON_FRAME_HOST_CALL: return on_host_call(call, &frame);
    case KAON_FRAME_RESULT: return on_result(call, &frame);
    case KAON_FRAME_ERROR: return on_words(call, &frame, KAON_GUEST_ERROR);
    case KAON_FRAME_REFUSED: return on_words(call, &frame, KAON_GUEST_REFUSED);
    case KAON_FRAME_ABORT: return on_words(call, &frame, KAON_ABORT);
    }
    return protocol(call, "it left with a frame of", "unknown kind");
}

/* ---- Running ----------------------------------------------------------- */

static enum step fault(struct call *call, const struct kaon_exit *exit)
{
    struct kaon_registers registers;

    call->backend->vcpu_registers(call->slot->vcpu, &registers);
    kaon__outcome_fault(call->out, call->memory, exit, &registers);
    return DONE;
}

static enum step on_fault(struct call *call, const struct kaon_exit *exit)
{
    enum kaon_access access = kaon__exit_access(exit);
    enum kaon_fault_answer answered = KAON_FAULT_DENIED;

    if (access != KAON_ACCESS_NONE)
        answered = kaon__memory_fault(call->memory, exit->address, access);
    if (answered == KAON_FAULT_NO_PAGE &&
        kaon__domain_make_room(call->sandbox->domain, call->slot))
        answered = kaon__memory_fault(call->memory, exit->address, access);
    if (answered == KAON_FAULT_PROVIDED)
        return GO_ON;
    if (answered == KAON_FAULT_DENIED)
        return fault(call, exit);
    kaon__outcome_say(call->out, KAON_OUT_OF_MEMORY,
                      "the domain has no page left for the guest at %#llx: "
                      "raise memory_bytes, or destroy sandboxes",
                      (unsigned long long)exit->address);
    return DONE;
}

static enum step handle_exit(struct call *call, const struct kaon_exit *exit)
{
    switch (exit->kind) {
    case KAON_EXIT_GATE: return on_gate(call);
    case KAON_EXIT_FAULT: return on_fault(call, exit);
    case KAON_EXIT_KICKED: return GO_ON; /* may_go_on() knows whether */
    case KAON_EXIT_MEMORY:
    case KAON_EXIT_STOPPED: break;
    }
    return fault(call, exit);
}

/* False, with the outcome, if somebody stopped the call. */
static bool may_go_on(struct call *call)
{
    enum kaon_life life = atomic_load(&call->sandbox->life);

    if (life == KAON_LIFE_CANCELLED)
        kaon__outcome_say(call->out, KAON_CANCELLED,
                          "%s was interrupted by the host", call->name);
    else if (life == KAON_LIFE_OVERDUE)
        kaon__outcome_say(call->out, KAON_DEADLINE,
                          "%s did not return before its deadline", call->name);
    return life == KAON_LIFE_RUNNING;
}

/* Enters the guest, the first time, or lets it go on after an exit. */
static enum kaon_status enter(struct call *call, bool first,
                              struct kaon_exit *exit)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    const struct kaon_entry entry = {
        .ip = sandbox->image->entry,
        .sp = call->memory->stack.high,
        .argument = call->memory->mailbox,
    };
    bool fresh = sandbox->last_slot == call->slot;

    if (!first)
        return call->backend->vcpu_resume(call->slot->vcpu, exit, call->err);
    sandbox->last_slot = call->slot;
    return call->backend->vcpu_enter(call->slot->vcpu, call->memory->space,
                                     fresh, &entry, &sandbox->pointers, exit,
                                     call->err);
}

/* A call that is stopped before it begins never enters the guest. */
static enum kaon_status run(struct call *call)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    enum step step = GO_ON;
    struct kaon_exit exit;

    for (bool first = true; step == GO_ON && may_go_on(call); first = false) {
        enum kaon_status status = enter(call, first, &exit);

        if (status)
            return status;
        sandbox->exits++;
        step = handle_exit(call, &exit);
    }
    if (step == DONE && exit.kind == KAON_EXIT_GATE)
        sandbox->pointers = call->backend->vcpu_pointers(call->slot->vcpu);
    return step == FAILED ? KAON_EINVAL : KAON_OK;
}

/* ---- A call from start to end ------------------------------------------ */

static void expire(struct kaon_watch *watch)
{
    struct kaon_sandbox *sandbox =
        (struct kaon_sandbox *)((char *)watch -
                                offsetof(struct kaon_sandbox, watch));

    kaon__sandbox_stop(sandbox, KAON_LIFE_OVERDUE);
}

/* Who stops the call from here on kicks the vCPU, too; until end(). */
static void begin(struct call *call, uint64_t deadline_ns)
{
    struct kaon_sandbox *sandbox = call->sandbox;

    call->backend->vcpu_unkick(call->slot->vcpu);
    atomic_store(&sandbox->running, call->slot->vcpu);
    if (deadline_ns)
        kaon__watch_start(&sandbox->watch, deadline_ns);
}

static void end(struct call *call, uint64_t deadline_ns)
{
    struct kaon_sandbox *sandbox = call->sandbox;

    if (deadline_ns)
        kaon__watch_stop(&sandbox->watch);
    atomic_store(&sandbox->running, NULL);
    while (atomic_load(&sandbox->stoppers))
        sched_yield();
}

/* What a deadline needs, made by the first call that has one. */
static enum kaon_status prepare_deadline(struct call *call)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    enum kaon_status status;

    if (sandbox->watch.user)
        return KAON_OK;
    status = call->backend->kick_ready(sandbox->domain->machine, call->err);
    sandbox->watch.expire = expire;
    return status ? status : kaon__watch_open(&sandbox->watch, call->err);
}

/* Makes the call of a claimed sandbox: returns whether the guest was entered
 * through *entered. */
static enum kaon_status make(struct call *call, uint32_t function,
                             const struct kaon_value *values, uint32_t count,
                             uint64_t deadline_ns, bool *entered)
{
    struct kaon_sandbox *sandbox = call->sandbox;
    enum kaon_status status = put_call(call, function, values, count);

    if (!status && deadline_ns)
        status = prepare_deadline(call);
    if (!status)
        status = kaon__domain_borrow(sandbox->domain, &call->slot, call->err);
    if (status)
        return status;
    *entered = true;
    sandbox->calls++;
    begin(call, deadline_ns);
    status = run(call);
    end(call, deadline_ns);
    kaon__domain_return(call->slot);
    return status;
}

/* One thread has the sandbox from here to release(), and can be stopped. */
static enum kaon_status claim(struct kaon_sandbox *sandbox,
                              struct kaon_error *err)
{
    struct kaon_machine *machine = sandbox->domain->machine;
    enum kaon_life life = KAON_LIFE_READY;

    if (machine->backend->machine_check) {
        enum kaon_status status = machine->backend->machine_check(machine, err);

        if (status)
            return status;
    }
    if (atomic_compare_exchange_strong(&sandbox->life, &life,
                                       KAON_LIFE_RUNNING))
        return KAON_OK;
    if (life != KAON_LIFE_POISONED)
        return kaon__fail(err, KAON_EBUSY,
                          "the sandbox is running another call: one at a "
                          "time, or one sandbox for each thread");
    return kaon__fail(err, KAON_EPOISONED,
                      "an earlier call left the sandbox poisoned: destroy it "
                      "and create another");
}

static void release(struct kaon_sandbox *sandbox, bool poisoned)
{
    atomic_store(&sandbox->life,
                 poisoned ? KAON_LIFE_POISONED : KAON_LIFE_READY);
}

static enum kaon_status call_claimed(struct call *call, uint32_t function,
                                     const struct kaon_value *values,
                                     uint32_t count,
                                     const struct kaon_call_opts *theirs)
{
    uint64_t deadline_ns = call->sandbox->deadline_ns;
    struct kaon_call_opts opts;
    enum kaon_status status;
    bool entered = false;

    if (theirs) {
        status = kaon__options_adopt(&opts, sizeof opts, theirs, "call options",
                                     call->err);
        if (status)
            return status;
        if (opts.deadline_ns)
            deadline_ns = opts.deadline_ns;
    }
    status = claim(call->sandbox, call->err);
    if (status)
        return status;
    status = make(call, function, values, count, deadline_ns, &entered);
    release(call->sandbox,
            entered && (status || call->out->kind >= KAON_ABORT));
    return status;
}

static enum kaon_status
check_values(struct call *call, const struct kaon_value *args, size_t count)
{
    char what[KAON_NAME_MAX + 40];

    for (size_t i = 0; i < count; i++) {
        enum kaon_status status;

        if (args[i].type - 1 < KAON_TYPE_BOOL)
            continue; /* the usual case needs no words */
        snprintf(what, sizeof what, "argument %zu of %.*s", i + 1,
                 (int)KAON_NAME_MAX, call->name);
        status = kaon__value_check(&args[i], what, call->err);
        if (status)
            return status;
        call->has_spans = true;
    }
    return KAON_OK;
}

static struct call start(struct kaon_sandbox *sandbox, const char *name,
                         struct kaon_outcome *out, struct kaon_error *err)
{
    return (struct call){
        .sandbox = sandbox,
        .backend = sandbox->domain->machine->backend,
        .memory = sandbox->memory,
        .name = name,
        .out = out,
        .err = err,
    };
}

static enum kaon_status call_export(struct kaon_sandbox *sandbox,
                                    struct kaon_outcome *out, uint32_t index,
                                    const struct kaon_value *args, size_t count,
                                    const struct kaon_call_opts *opts,
                                    struct kaon_error *err)
{
    const struct kaon_signature *signature = &sandbox->image->exports[index];
    struct call call = start(sandbox, signature->name, out, err);
    enum kaon_status status =
        kaon__signature_check(signature, args, count, err);

    if (!status)
        status = check_values(&call, args, count);
    if (status)
        return status;
    call.signature = signature;
    return call_claimed(&call, index, args, (uint32_t)count, opts);
}

/* The guest knows names that the host does not: the name goes along. */
static enum kaon_status call_name(struct kaon_sandbox *sandbox,
                                  struct kaon_outcome *out, const char *name,
                                  const struct kaon_value *args, size_t count,
                                  const struct kaon_call_opts *opts,
                                  struct kaon_error *err)
{
    struct call call = start(sandbox, name, out, err);
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
    return call_claimed(&call, KAON_FUNCTION_BY_NAME, values,
                        (uint32_t)count + 1, opts);
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

enum kaon_status kaon_function_call(struct kaon_sandbox *sandbox,
                                    struct kaon_outcome *out,
                                    struct kaon_function function,
                                    const struct kaon_value *args, size_t count,
                                    const struct kaon_call_opts *opts,
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
    struct call call;

    if (status)
        return status;
    call = start(sandbox, nothing.name, out, err);
    call.signature = &nothing;
    return call_claimed(&call, KAON_FUNCTION_INIT, NULL, 0, opts);
}

enum kaon_status kaon_sandbox_buffer(struct kaon_sandbox *sandbox, void **out,
                                     size_t size, struct kaon_error *err)
{
    enum kaon_status status;
    struct kaon_wire wire;
    struct call call;

    if (!sandbox || !out)
        return kaon__fail(err, KAON_EINVAL, "sandbox and out must not be NULL");
    status = claim(sandbox, err);
    if (status)
        return status;
    call = start(sandbox, "kaon_sandbox_buffer", NULL, err);
    status = get_area(&call, err);
    wire = kaon__memory_wire(sandbox->memory);
    if (!status && size > wire.area_size) {
        status = kaon__fail(err, KAON_ETOOBIG,
                            "a buffer of %zu bytes does not fit the exchange, "
                            "which has %u for it: raise exchange_bytes",
                            size, wire.area_size);
    } else if (!status) {
        sandbox->buffer_end = (KAON_MAILBOX_SIZE + size + 15) & ~UINT64_C(15);
        *out = wire.area;
    }
    release(sandbox, false);
    return status;
}

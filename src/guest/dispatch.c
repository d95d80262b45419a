/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the entry to the guest's functions.
 *
 * Each call enters here anew, on an empty stack, and leaves through one of
 * kaon__answer's kin; nothing here returns to the entry. The host is trusted
 * as far as a guest must: frames that it checks against the export table are
 * not checked again, calls by name are.
 */
#include "guest/dispatch.h"

#include "guest/entry_x86_64.h"
#include "guest/text.h"

_Static_assert(KAON__ENTRY_INFO_MAGIC == KAON_INFO_MAGIC &&
                   KAON__ENTRY_ABI_VERSION == KAON_ABI_VERSION &&
                   KAON__ENTRY_INFO_BATCH == KAON_INFO_BATCH,
               "the entry's copies of these are the contract's");

extern const struct kaon__record __start_kaon_exports[]
    __attribute__((weak, visibility("hidden")));
extern const struct kaon__record __stop_kaon_exports[]
    __attribute__((weak, visibility("hidden")));

void kaon_guest_init(void) __attribute__((weak));

static uint32_t export_count(void)
{
    return (uint32_t)(__stop_kaon_exports - __start_kaon_exports);
}

static void version_check(const struct kaon_mailbox *mailbox)
{
    struct kaon__text text;

    if (mailbox->magic == KAON_MAILBOX_MAGIC &&
        mailbox->abi_version == KAON_ABI_VERSION)
        return;
    kaon__text_begin(&text);
    kaon__text_add(&text, "the guest was built for version ");
    kaon__text_add_number(&text, KAON_ABI_VERSION);
    kaon__text_add(&text, " of the ABI, the host speaks version ");
    kaon__text_add_number(&text, mailbox->abi_version);
    kaon_abort(0, text.data);
}

/* Out of line, as by-name calls are: what they need of registers and stack
 * would otherwise be made ready at each entry. */
__attribute__((noinline)) static void start(const struct kaon_mailbox *mailbox)
{
    version_check(mailbox);
    if (kaon__exchange.life == KAON__STARTING)
        kaon_abort(0, "the guest's initialisation did not finish");
    kaon__exchange.life = KAON__STARTING;
    kaon__constructors_run();
    if (kaon_guest_init)
        kaon_guest_init();
    kaon__exchange.life = KAON__READY;
}

__attribute__((noreturn)) static void refuse_unknown(const char *name)
{
    struct kaon__text text;

    kaon__text_begin(&text);
    kaon__text_add(&text, "the guest has no function \"");
    kaon__text_add(&text, name);
    kaon__text_add(&text, "\"");
    kaon__answer_text(KAON_FRAME_REFUSED, KAON_REFUSED_UNKNOWN, text.data);
}

void kaon__arguments_check(const struct kaon__named_call *call,
                           const uint8_t *params, uint32_t count)
{
    struct kaon__text text;
    uint32_t good = 0;

    while (good < count && good < call->count &&
           call->args[good].type == params[good])
        good++;
    if (good == count && good == call->count)
        return;

    kaon__text_begin(&text);
    kaon__text_add(&text, call->name);
    if (call->count != count) {
        kaon__text_add(&text, " takes ");
        kaon__text_add_number(&text, count);
        kaon__text_add(&text, " arguments, not ");
        kaon__text_add_number(&text, call->count);
    } else {
        kaon__text_add(&text, " takes ");
        kaon__text_add(&text, kaon__type_name(params[good]));
        kaon__text_add(&text, " as argument ");
        kaon__text_add_number(&text, good + 1);
        kaon__text_add(&text, ", not ");
        kaon__text_add(&text, kaon__type_name(call->args[good].type));
    }
    kaon__answer_text(KAON_FRAME_REFUSED, KAON_REFUSED_ARGUMENTS, text.data);
}

static bool exported_call(const struct kaon__named_call *call,
                          struct kaon_value *result)
{
    for (uint32_t i = 0; i < export_count(); i++) {
        const struct kaon__record *export = &__start_kaon_exports[i];

        if (__builtin_strcmp(export->name, call->name) != 0)
            continue;
        kaon__arguments_check(call, export->params, export->count);
        export->code(kaon__exchange.wire.page, call->slots, result);
        return true;
    }
    return false;
}

__attribute__((noreturn, noinline)) static void
call_by_name(const struct kaon_frame *frame)
{
    const struct kaon_wire *wire = &kaon__exchange.wire;
    struct kaon_value values[KAON_PARAMS_MAX + 1];
    struct kaon_value result = kaon_void();
    struct kaon__named_call call;

    if (kaon_wire_get(wire, frame, values, KAON_PARAMS_MAX + 1) ||
        !frame->count || values[0].type != KAON_TYPE_STRING)
        kaon_abort(0, "the host's call by name is malformed");
    call.name = values[0].span.data;
    call.args = values + 1;
    call.slots =
        (const struct kaon_slot *)(const void *)(wire->page + frame->slots) + 1;
    call.count = frame->count - 1;

    if (kaon__registered_call && kaon__registered_call(&call, &result))
        kaon__answer(&result);
    if (exported_call(&call, &result))
        kaon__answer(&result);
    if (kaon__fallback_call && kaon__fallback_call(&call, &result))
        kaon__answer(&result);
    refuse_unknown(call.name);
}

/* The path that counts: the host has checked count and types. */
__attribute__((noreturn)) static void
call_by_index(const struct kaon_frame *frame)
{
    const struct kaon__record *export = &__start_kaon_exports[frame->function];
    const unsigned char *page = kaon__exchange.wire.page;
    struct kaon_value result;

    if (frame->count != export->count)
        kaon_abort(0, "the host's call has the wrong number of arguments");
    export->code(page,
                 (const struct kaon_slot *)(const void *)(page + frame->slots),
                 &result);
    kaon__answer(&result);
}

void kaon__call(const struct kaon_frame *frame)
{
    struct kaon_value nothing = kaon_void();

    if (frame->kind != KAON_FRAME_CALL)
        kaon_abort(0, "the host's frame is no call");
    if (frame->function < export_count())
        call_by_index(frame);
    if (frame->function == KAON_FUNCTION_BY_NAME)
        call_by_name(frame);
    if (frame->function == KAON_FUNCTION_INIT)
        kaon__answer(&nothing);
    kaon__answer_text(KAON_FRAME_REFUSED, KAON_REFUSED_UNKNOWN,
                      "the guest has no function of that index");
}

void kaon__dispatch(struct kaon_mailbox *mailbox)
{
    struct kaon_frame frame = mailbox->frame;

    kaon__exchange_open(mailbox, &frame);
    if (__builtin_expect(kaon__exchange.life != KAON__READY, 0))
        start(mailbox);
    if (frame.kind == KAON_FRAME_BATCH)
        kaon__batch_run(&frame);
    kaon__call(&frame);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange, and leaving.
 *
 * Owns the guest's only record of the call that runs. Never waits, and never
 * touches the heap. Every way out of the guest passes kaon__leave().
 */
#include "guest/dispatch.h"

#define TEXT_MAX 65536u /* bytes of an error's or abort's text */

struct kaon__exchange kaon__exchange;

void kaon__exchange_open(struct kaon_mailbox *mailbox,
                         const struct kaon_frame *frame)
{
    struct kaon__exchange *x = &kaon__exchange;

    x->mailbox = mailbox;
    x->wire.page = (unsigned char *)mailbox;
    x->wire.area = (unsigned char *)mailbox + KAON_MAILBOX_SIZE;
    x->wire.area_size = mailbox->exchange_size - KAON_MAILBOX_SIZE;
    x->kept = kaon_wire_all_free();
    x->call = kaon_wire_offer(&x->wire, frame);
    x->last = x->call;
    x->answer = (struct kaon_span){ 0 };
    x->failure = (struct kaon_host_failure){ 0, "" };
    x->batch.count = 0;
    x->posts.end = 0;
}

void kaon__leave(struct kaon_frame *frame)
{
    struct kaon_mailbox *mailbox = kaon__exchange.mailbox;

    kaon_wire_send_frame(&mailbox->frame, frame);
    ((void (*)(struct kaon_mailbox *))KAON_GATE_LEAVE)(mailbox);
    *frame = mailbox->frame;
}

/* Leaves for good. That the gate came back would be the host's bug. */
__attribute__((noreturn)) static void leave_for_good(struct kaon_frame *frame)
{
    kaon__leave(frame);
    __builtin_trap();
}

/* The call is over; in a batch, the next one begins. */
__attribute__((noreturn)) static void end_with(struct kaon_frame *frame)
{
    if (kaon__exchange.batch.count && frame->kind != KAON_FRAME_ABORT)
        kaon__batch_answer(frame);
    leave_for_good(frame);
}

void kaon__text_too_large(struct kaon__text *text, const char *what,
                          const struct kaon_value *values, uint32_t count)
{
    kaon__text_begin(text);
    kaon__text_add(text, what);
    kaon__text_add(text, " need ");
    kaon__text_add_number(text, kaon_wire_size(values, count));
    kaon__text_add(text, " bytes beside what is in use, the exchange has ");
    kaon__text_add_number(text, kaon__exchange.wire.area_size);
    kaon__text_add(text, ": raise exchange_bytes");
}

/* Out of line, for its text is on the stack. */
__attribute__((noreturn, noinline)) static void
answer_too_large(const struct kaon_value *result)
{
    struct kaon__text text;

    kaon__text_too_large(&text, "the result and its slot", result, 1);
    kaon__answer_text(KAON_FRAME_REFUSED, KAON_REFUSED_TOO_LARGE, text.data);
}

void kaon__answer(const struct kaon_value *result)
{
    const struct kaon__exchange *x = &kaon__exchange;
    struct kaon_frame frame = { .kind = KAON_FRAME_RESULT };
    uint32_t count = result->type != KAON_TYPE_VOID;
    bool number = result->type < KAON_TYPE_STRING; /* or nothing */
    struct kaon_wire_free free = number ? x->kept : x->last;

    /* A number refers to nothing that the call had. */
    if (number && free.page < KAON_MAILBOX_SIZE)
        kaon_wire_put_numbers(x->wire.page, free, result, count, &frame);
    else if (kaon_wire_put(&x->wire, free, result, count, &frame))
        answer_too_large(result);
    end_with(&frame);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Bytes of a slot and a NUL. */
#define BESIDE_TEXT (sizeof(struct kaon_slot) + 1)

static bool text_fits(size_t size)
{
    const struct kaon__exchange *x = &kaon__exchange;
    size_t page = KAON_MAILBOX_SIZE - x->last.page;
    size_t area = KAON_MAILBOX_SIZE + (size_t)x->wire.area_size - x->last.area;
    size_t room = page > area ? page : area;

    return size <= TEXT_MAX && size + BESIDE_TEXT <= room;
}

/* Bytes of text that fit from `at` on, with a slot behind the NUL. */
static size_t text_room(uint64_t at, uint64_t end)
{
    uint64_t room = at < end ? (end - at) & ~UINT64_C(15) : 0;

    return room > BESIDE_TEXT ? smaller(room - BESIDE_TEXT, TEXT_MAX) : 0;
}

/*
 * Moves a text over what the exchange holds, now that the call is over, and
 * cuts it to what fits: the page or the area, behind what is kept. It may come
 * from the exchange itself.
 */
static struct kaon_value text_over_all(const char *text, size_t size)
{
    struct kaon__exchange *x = &kaon__exchange;
    uint64_t end = (uint64_t)KAON_MAILBOX_SIZE + x->wire.area_size;
    size_t room = text_room(x->kept.page, KAON_MAILBOX_SIZE);
    size_t in_area = text_room(x->kept.area, end);
    uint32_t *at = &x->last.page;
    char *to;

    x->last = x->kept;
    if (size > room && in_area > room) {
        at = &x->last.area;
        room = in_area;
    }
    if (size > room) {
        size = room;
        /* Not in the middle of a UTF-8 character. */
        while (size && (text[size] & 0xc0) == 0x80)
            size--;
    }
    if (!size)
        return kaon_string("");
    to = (char *)x->wire.page + *at;
    __builtin_memmove(to, text, size);
    to[size] = 0;
    *at += ((uint32_t)size + 16) & ~15u;
    return kaon_string_n(to, size);
}

void kaon__answer_text(uint32_t kind, int32_t code, const char *text)
{
    struct kaon_frame frame = { .kind = kind, .code = code };
    struct kaon_value value = kaon_string(text);

    if (!text_fits(value.span.size))
        value = text_over_all(text, value.span.size);
    /* It fits now. If it did not, the code would go alone. */
    (void)kaon_wire_put(&kaon__exchange.wire, kaon__exchange.last, &value, 1,
                        &frame);
    end_with(&frame);
}

void kaon_fail(int32_t code, const char *text)
{
    kaon__answer_text(kaon__exchange.life == KAON__READY ? KAON_FRAME_ERROR
                                                         : KAON_FRAME_ABORT,
                      code, text);
}

void kaon_abort(int32_t code, const char *text)
{
    kaon__answer_text(KAON_FRAME_ABORT, code, text);
}

/* Takes size bytes of the free space that *at counts from, or returns NULL. */
static void *take(uint32_t *at, uint64_t end, size_t size)
{
    void *memory = kaon__exchange.wire.page + *at;

    if (*at > end || size > end - *at)
        return NULL;
    *at += ((uint32_t)size + 15) & ~15u;
    return memory;
}

void *kaon_reserve(size_t size)
{
    struct kaon__exchange *x = &kaon__exchange;
    struct kaon_wire_free free = x->last;
    uint64_t end = (uint64_t)KAON_MAILBOX_SIZE + x->wire.area_size;
    void *memory = take(&free.page, KAON_MAILBOX_SIZE, size);

    if (!memory)
        memory = take(&free.area, end, size);
    if (memory) {
        /* The last host answer stays as well, now for as long. */
        x->call = x->last = free;
        x->answer = (struct kaon_span){ 0 };
    }
    return memory;
}

void kaon__reservation_end(struct kaon_wire_free call)
{
    struct kaon__exchange *x = &kaon__exchange;

    x->call = call;
    if (!x->answer.data)
        x->last = call;
}

size_t kaon_stack_free(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uint64_t low = kaon__exchange.mailbox->stack_low;

    return here > low ? here - low : 0;
}

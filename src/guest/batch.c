/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: the calls of one entry, one after the other.
 *
 * A call may end anywhere, so the next one begins anew: on an empty stack, as
 * after an entry. Each answer goes in place of its call, and what it refers to
 * stays behind what was there (kaon__exchange.kept).
 */
#include "guest/dispatch.h"

__attribute__((noreturn)) static void next_call(void)
{
    struct kaon__exchange *x = &kaon__exchange;
    struct kaon_frame frame;

    kaon_wire_read_frame(&x->wire, x->batch.frames, x->batch.next, &frame);
    x->call = x->last = x->kept;
    x->answer = (struct kaon_span){ 0 };
    x->failure = (struct kaon_host_failure){ 0, "" };
    kaon__call(&frame);
}

__attribute__((noreturn)) static void go_on(void)
{
    struct kaon__exchange *x = &kaon__exchange;
    struct kaon_value nothing = kaon_void();

    if (x->batch.next < x->batch.count)
        kaon__restart(x->mailbox->stack_high, next_call);
    x->batch.count = 0;
    kaon__answer(&nothing);
}

void kaon__batch_run(const struct kaon_frame *frame)
{
    struct kaon__exchange *x = &kaon__exchange;

    x->batch.frames = frame->slots;
    x->batch.count = frame->count;
    x->batch.next = 0;
    x->kept = x->call;
    go_on();
}

void kaon__batch_answer(const struct kaon_frame *frame)
{
    struct kaon__exchange *x = &kaon__exchange;

    kaon_wire_write_frame(&x->wire, x->batch.frames, x->batch.next++, frame);
    x->kept = (struct kaon_wire_free){ frame->free_page, frame->free_area };
    go_on();
}

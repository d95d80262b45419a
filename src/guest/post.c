/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posted host calls: queued, for the host to run at the next exit.
 *
 * The queue is a reservation that lasts as long as the call, or the batch: an
 * array of frames from its start upwards, their values from its end downwards.
 * That the host has taken what was in it, it says in the mailbox. Values are
 * copied, as the guest goes on and may change what they came from. A call for
 * which there is no room left is made at once: that is an exit, at which the
 * host runs the others first.
 */
#include "guest/exchange.h"

extern const struct kaon__record __start_kaon_imports[]
    __attribute__((weak, visibility("hidden")));

/* Small where it is in the way, and where the area costs nothing, large. */
#define IN_PAGE 2048u
#define IN_AREA 16384u

void kaon__posts_open(void)
{
    struct kaon__exchange *x = &kaon__exchange;
    uint32_t size =
        KAON_MAILBOX_SIZE - x->last.page >= IN_PAGE ? IN_PAGE : IN_AREA;
    unsigned char *memory;

    if (x->posts.end)
        return;
    memory = kaon_reserve(size);
    if (!memory)
        return;
    x->posts.start = (uint32_t)(memory - x->wire.page);
    x->posts.end = x->posts.start + size;
    x->kept = x->call;
}

/* Adds a call to the queue, or returns false. */
static bool queue(uint32_t function, const struct kaon_value *args,
                  uint32_t count)
{
    struct kaon__exchange *x = &kaon__exchange;
    volatile struct kaon_posted *posted = &x->mailbox->posted;
    struct kaon_frame frame = { .kind = KAON_FRAME_HOST_CALL,
                                .function = function };
    uint32_t queued = posted->count, low;

    kaon__posts_open();
    if (!x->posts.end || queued >= KAON_POSTED_MAX)
        return false;
    if (!queued) {
        x->posts.high = x->posts.end;
        posted->frames = x->posts.start;
    }
    low = x->posts.start + (queued + 1) * (uint32_t)sizeof frame;
    low = (low + 15) & ~15u;
    if (kaon_wire_put_below(&x->wire, low, x->posts.high, args, count, &frame))
        return false;
    if (frame.slots)
        x->posts.high = frame.slots;
    kaon_wire_write_frame(&x->wire, x->posts.start, queued, &frame);
    posted->count = queued + 1;
    return true;
}

int kaon__import_post(const struct kaon__record *import,
                      struct kaon_value *args, uint32_t count)
{
    uint32_t function = (uint32_t)(import - __start_kaon_imports);

    if (queue(function, args, count))
        return KAON_HOST_OK;
    return kaon__import_call(import, NULL, args, count) == KAON_HOST_REFUSED
               ? KAON_HOST_REFUSED
               : KAON_HOST_OK;
}

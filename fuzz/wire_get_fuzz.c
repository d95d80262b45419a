/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the host's side of the exchange: any frame over any memory is refused,
 * or becomes values that lie in the exchange and can be sent back.
 *
 * Input: a struct kaon_frame, two bytes of area size, and then what lies in
 * the mailbox page's payload and, behind it, in the area.
 */
#include <stdlib.h>
#include <string.h>

#include "abi/wire.h"

#define VALUES (KAON_PARAMS_MAX + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* Moves up to `room` bytes of the input. */
static void take(void *to, size_t room, const uint8_t **data, size_t *size)
{
    size_t taken = room < *size ? room : *size;

    if (taken)
        memcpy(to, *data, taken);
    *data += taken;
    *size -= taken;
}

static int lies_in(const unsigned char *piece, size_t first, size_t end,
                   const struct kaon_span *span, size_t nul)
{
    uintptr_t at = (uintptr_t)span->data - (uintptr_t)piece;

    return piece && at >= first && at <= end && span->size + nul <= end - at;
}

static void check_span(const struct kaon_wire *wire,
                       const struct kaon_value *value)
{
    size_t nul = value->type == KAON_TYPE_STRING;

    check(lies_in(wire->page, KAON_MAILBOX_FREE, KAON_MAILBOX_SIZE,
                  &value->span, nul) ||
          lies_in(wire->area, 0, wire->area_size, &value->span, nul));
    if (nul)
        check(strlen(value->span.data) == value->span.size);
}

static void check_values(const struct kaon_wire *wire,
                         const struct kaon_value *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        check(values[i].type != KAON_TYPE_VOID &&
              values[i].type < KAON_TYPE_COUNT);
        if (values[i].type >= KAON_TYPE_STRING)
            check_span(wire, &values[i]);
        if (values[i].type == KAON_TYPE_BOOL)
            check(values[i].u64 <= 1);
    }
}

/*
 * Sends the values back where the frame offers room. That may overlap them,
 * so what arrives may be anything; but never outside of the exchange.
 */
static void send_back(const struct kaon_wire *wire,
                      const struct kaon_frame *frame,
                      const struct kaon_value *values, uint32_t count)
{
    struct kaon_wire_free free = kaon_wire_offer(wire, frame);
    struct kaon_frame answer = { .kind = KAON_FRAME_HOST_RESULT };
    struct kaon_value again[VALUES];

    check(free.page >= KAON_MAILBOX_FREE && free.page <= KAON_MAILBOX_SIZE);
    check(free.area >= KAON_MAILBOX_SIZE &&
          free.area <= KAON_MAILBOX_SIZE + wire->area_size);
    if (kaon_wire_put(wire, free, values, count, &answer))
        return;
    check(answer.count == count);
    check(!count || answer.slots >= free.page);
    if (!kaon_wire_get(wire, &answer, again, VALUES))
        check_values(wire, again, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kaon_value values[VALUES];
    struct kaon_frame frame = { 0 };
    struct kaon_wire wire = { 0 };
    uint16_t area_size = 0;

    take(&frame, sizeof frame, &data, &size);
    take(&area_size, sizeof area_size, &data, &size);
    /* Allocations of their own, so that a step outside is seen. */
    wire.area_size = area_size & ~15u;
    wire.page = calloc(1, KAON_MAILBOX_SIZE);
    wire.area = wire.area_size ? calloc(1, wire.area_size) : NULL;
    if (wire.page && (wire.area || !wire.area_size)) {
        take(wire.page + KAON_MAILBOX_FREE,
             KAON_MAILBOX_SIZE - KAON_MAILBOX_FREE, &data, &size);
        take(wire.area, wire.area_size, &data, &size);
        if (!kaon_wire_get(&wire, &frame, values, VALUES)) {
            check(frame.count <= VALUES);
            check_values(&wire, values, frame.count);
            send_back(&wire, &frame, values, frame.count);
        }
    }
    free(wire.page);
    free(wire.area);
    return 0;
}

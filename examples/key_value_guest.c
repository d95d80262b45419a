/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts visits in a store that the host keeps.
 *
 * Each import becomes a function that returns whether the host did it; the
 * result, if any, comes through the first parameter. That a host function
 * fails is no reason to give up: a guest goes on.
 */
#include <string.h>
#include <kaon/guest.h>

KAON_IMPORT(store_get, bytes, string);
KAON_IMPORT(store_put, void, string, bytes);

/* The host's code for a key that is not there. */
#define NO_SUCH_KEY 1

static uint32_t visit(const char *who)
{
    struct kaon_span stored;
    uint32_t visits = 0;

    if (store_get(&stored, who) == KAON_HOST_OK) {
        if (stored.size != sizeof visits)
            kaon_fail(1, "the store holds something else under this name");
        memcpy(&visits, stored.data, sizeof visits);
    } else if (kaon_host_error().code != NO_SUCH_KEY) {
        kaon_fail(2, kaon_host_error().text);
    }

    visits++;
    if (store_put(who, (struct kaon_span){ &visits, sizeof visits }))
        kaon_fail(3, kaon_host_error().text);
    return visits;
}
KAON_EXPORT(visit, u32, string);

/* SPDX-License-Identifier: Apache-2.0 */
/* What all floors do alike: the host's half of a spinning hand-over. */
#include "floor.h"

#include <errno.h>

/* Some seconds: longer than any guest that still runs is kept from a CPU. */
#define PATIENCE (1u << 28)

bool floor_ping(struct floor_words *words)
{
    __atomic_store_n(&words->turn, FLOOR_GUEST, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < PATIENCE; i++) {
        if (__atomic_load_n(&words->turn, __ATOMIC_ACQUIRE) == FLOOR_HOST)
            return true;
        __builtin_ia32_pause();
    }
    errno = ETIMEDOUT;
    return false;
}

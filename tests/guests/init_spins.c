/* SPDX-License-Identifier: Apache-2.0 */
/* Never ends its initialisation. */
#include <kaon/guest.h>

void kaon_guest_init(void)
{
    for (;;)
        __asm__ volatile("");
}

static int32_t never(void)
{
    return 1;
}
KAON_EXPORT(never, i32);

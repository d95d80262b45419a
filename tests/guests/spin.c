/* SPDX-License-Identifier: Apache-2.0 */
/* Never returns, and needs nothing for it. */
#include <kaon/guest.h>

static void spin(void)
{
    for (;;)
        __asm__ volatile("");
}
KAON_EXPORT(spin, void);

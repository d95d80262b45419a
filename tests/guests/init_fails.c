/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot be initialised. */
#include <kaon/guest.h>

void kaon_guest_init(void)
{
    kaon_fail(3, "nothing works today");
}

static int32_t never(void)
{
    return 1;
}
KAON_EXPORT(never, i32);

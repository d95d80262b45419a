/* SPDX-License-Identifier: Apache-2.0 */
/* A packet filter: some addresses, some ports. */
#include <kaon/guest.h>

static bool allow(uint32_t address, uint32_t port)
{
    if (address >> 24 != 10)
        return false;
    return port == 22 || port == 80 || port == 443;
}
KAON_EXPORT(allow, bool, u32, u32);

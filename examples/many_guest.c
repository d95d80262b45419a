/* SPDX-License-Identifier: Apache-2.0 */
/* A cell that holds one number: each sandbox has its own. */
#include <kaon/guest.h>

static uint64_t cell;

static void put(uint64_t number)
{
    cell = number;
}
KAON_EXPORT(put, void, u64);

static uint64_t get(void)
{
    return cell;
}
KAON_EXPORT(get, u64);

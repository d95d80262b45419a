/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the steps to 1 of the Collatz sequence: it knows no other way out. */
#include <kaon/guest.h>

static uint64_t steps(uint64_t n)
{
    uint64_t count = 0;

    for (; n != 1; count++)
        n = n % 2 ? 3 * n + 1 : n / 2;
    return count;
}
KAON_EXPORT(steps, u64, u64);

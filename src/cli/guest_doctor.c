/* SPDX-License-Identifier: Apache-2.0 */
/* The guest that kaon doctor runs to see whether guests run. */
#include <kaon/guest.h>

static int32_t add(int32_t a, int32_t b)
{
    return a + b;
}
KAON_EXPORT(add, i32, i32, i32);

/* SPDX-License-Identifier: Apache-2.0 */
#include <kaon/guest.h>

static int32_t greet(const char *name)
{
    return kaon_printf("Hello, %s! I am executing inside of a VM :)\n", name);
}
KAON_EXPORT(greet, i32, string);

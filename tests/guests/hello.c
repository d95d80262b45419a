/* SPDX-License-Identifier: Apache-2.0 */
/* The classic: a guest that greets through the host. */
#include <kaon/guest.h>

static int32_t hello(void)
{
    return kaon_print("Hello, World! I am executing inside of a VM :)");
}
KAON_EXPORT(hello, i32);

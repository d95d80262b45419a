/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that greets. It has no console: its text goes to HostPrint. */
#include <kaon/guest.h>

static void hello(void)
{
    if (kaon_print("Hello, World! I am executing inside of a VM :)\n") < 0)
        kaon_fail(1, "the host did not print");
}
KAON_EXPORT(hello, void);

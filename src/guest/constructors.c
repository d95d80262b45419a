/* SPDX-License-Identifier: Apache-2.0 */
/* Running constructors. Apart, as a hosted test has some of its own. */
#include "guest/dispatch.h"

extern void (*const __init_array_start[])(void)
    __attribute__((weak, visibility("hidden")));
extern void (*const __init_array_end[])(void)
    __attribute__((weak, visibility("hidden")));

void kaon__constructors_run(void)
{
    uintptr_t count = (uintptr_t)(__init_array_end - __init_array_start);

    for (uintptr_t i = 0; i < count; i++)
        __init_array_start[i]();
}

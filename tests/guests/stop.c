/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the host where it is, so that it can be stopped there. */
#include <kaon/guest.h>

KAON_IMPORT(HostHere, void, i32);

static int32_t calls;

static int32_t here(void)
{
    HostHere(1);
    HostHere(2);
    return ++calls;
}
KAON_EXPORT(here, i32);

static void here_then_spin(void)
{
    HostHere(1);
    for (;;)
        __asm__ volatile("");
}
KAON_EXPORT(here_then_spin, void);

static void spin(void)
{
    for (;;)
        __asm__ volatile("");
}
KAON_EXPORT(spin, void);

/* Counts its calls, the first of them 1, after so many turns of a loop. */
static int32_t work(uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++)
        __asm__ volatile("");
    return ++calls;
}
KAON_EXPORT(work, i32, u32);

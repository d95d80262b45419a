/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The neighbour of hostile guests: says what is wrong with its CPU, and
 * computes with all of it. The host must offer HostMix(u64) -> u64.
 */
#include <kaon/guest.h>

#include "hostile_witness.h"

KAON_IMPORT(HostMix, u64, u64);

#define FLAGS_BAD 0x264500u /* TF DF NT VM AC ID */

static uint32_t mxcsr(void)
{
    uint32_t value;

    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}

static uint16_t x87_control(void)
{
    uint16_t value;

    __asm__ volatile("fnstcw %0" : "=m"(value));
    return value;
}

static uint16_t x87_status(void)
{
    uint16_t value;

    __asm__ volatile("fnstsw %0" : "=m"(value));
    return value;
}

static uint64_t flags(void)
{
    uint64_t value;

    __asm__ volatile("pushfq\n\tpop %0" : "=r"(value));
    return value;
}

static uint64_t witness(uint64_t seed)
{
    uint64_t mixed = 0;

    if (mxcsr() != 0x1f80)
        kaon_fail(1, "MXCSR is not what it has to be");
    if (x87_control() != 0x37f)
        kaon_fail(2, "the x87 control word is not what it has to be");
    if (x87_status() != 0)
        kaon_fail(3, "the x87 status word is not what it has to be");
    if (flags() & FLAGS_BAD)
        kaon_fail(4, "the flags are not what they have to be");
    if (HostMix(&mixed, seed))
        kaon_fail(5, kaon_host_error().text);
    return witness_sum(seed, mixed);
}
KAON_EXPORT(witness, u64, u64);

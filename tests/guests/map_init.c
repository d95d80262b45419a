/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at what is mapped as soon as it can: in a constructor, and in its
 * initialisation. The host says where that is; 0: nothing is.
 */
#include <kaon/guest.h>

KAON_IMPORT(place_of, u64, u32);

static uint32_t seen[2];

static volatile unsigned char *at(uint64_t address)
{
    return (volatile unsigned char *)(uintptr_t)address;
}

/* NULL if nothing is there. */
static volatile unsigned char *mapped(uint32_t number)
{
    uint64_t address = 0;

    if (place_of(&address, number))
        kaon_fail(1, "the host does not say where");
    return at(address);
}

static uint32_t look(uint32_t number)
{
    return mapped(number) ? *mapped(number) : 0;
}

__attribute__((constructor)) static void construct(void)
{
    seen[0] = look(0);
}

/* The second and third can be written. */
void kaon_guest_init(void)
{
    seen[1] = look(1);
    for (uint32_t i = 1; i < 3; i++)
        if (mapped(i))
            mapped(i)[1] = (unsigned char)(40 + i);
}

static uint32_t seen_at_start(uint32_t number)
{
    return seen[number % 2];
}
KAON_EXPORT(seen_at_start, u32, u32);

static uint32_t read_byte(uint64_t address)
{
    return *at(address);
}
KAON_EXPORT(read_byte, u32, u64);

static void write_byte(uint64_t address, uint32_t value)
{
    *at(address) = (unsigned char)value;
}
KAON_EXPORT(write_byte, void, u64, u32);

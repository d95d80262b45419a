/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes wherever it is told to. */
#include <kaon/guest.h>

static volatile unsigned char *at(uint64_t address)
{
    return (volatile unsigned char *)(uintptr_t)address;
}

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

/* A sum in which each byte's place counts. */
static uint64_t digest(uint64_t address, uint64_t size)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < size; i++)
        sum = sum * 31 + *at(address + i);
    return sum;
}
KAON_EXPORT(digest, u64, u64, u64);

/* Writes the first byte of each of so many pages. */
static void write_pages(uint64_t address, uint32_t pages, uint32_t value)
{
    for (uint32_t i = 0; i < pages; i++)
        *at(address + i * UINT64_C(4096)) = (unsigned char)value;
}
KAON_EXPORT(write_pages, void, u64, u32, u32);

static void jump(uint64_t address)
{
    ((void (*)(void))(uintptr_t)address)();
}
KAON_EXPORT(jump, void, u64);

/* Reads one byte until it is another. */
static uint32_t watch(uint64_t address)
{
    unsigned char first = *at(address);

    while (*at(address) == first)
        ;
    return *at(address);
}
KAON_EXPORT(watch, u32, u64);

/* Faults with a frame pointer that points there, for the host to follow. */
static void fault_with_frame(uint64_t frame)
{
    __asm__ volatile("mov %0, %%rbp\n"
                     "ud2"
                     :
                     : "r"(frame)
                     : "memory");
}
KAON_EXPORT(fault_with_frame, void, u64);

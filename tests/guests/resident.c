/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a resident guest is asked to do. The host must offer HostAdd(i32, i32)
 * -> i32 and HostEcho(string) -> string.
 */
#include <kaon/guest.h>

KAON_IMPORT(HostAdd, i32, i32, i32);
KAON_IMPORT(HostEcho, string, string);

static int32_t calls;

static int32_t count(void)
{
    return ++calls;
}
KAON_EXPORT(count, i32);

static int32_t add(int32_t a, int32_t b)
{
    return a + b;
}
KAON_EXPORT(add, i32, i32, i32);

/* The same by the host: one callback. */
static int32_t host_add(int32_t a, int32_t b)
{
    int32_t sum;

    if (HostAdd(&sum, a, b))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    return sum;
}
KAON_EXPORT(host_add, i32, i32, i32);

static const char *host_echo(const char *text)
{
    const char *answer;

    if (HostEcho(&answer, text))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    return answer;
}
KAON_EXPORT(host_echo, string, string);

static struct kaon_span echo(struct kaon_span bytes)
{
    return bytes;
}
KAON_EXPORT(echo, bytes, bytes);

/* Computes for a while: so many turns. */
static uint32_t work(uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++)
        __asm__ volatile("");
    return turns;
}
KAON_EXPORT(work, u32, u32);

static void spin(void)
{
    for (;;)
        __asm__ volatile("");
}
KAON_EXPORT(spin, void);

static void fault(void)
{
    __asm__ volatile("movl $1, 16" : : : "memory");
}
KAON_EXPORT(fault, void);

static void give_up(void)
{
    kaon_abort(7, "enough");
}
KAON_EXPORT_AS("abort", give_up, void);

/* Touches new memory, so many bytes. */
static uint64_t touch(uint64_t size)
{
    volatile unsigned char *memory = kaon_malloc(size);

    if (!memory)
        kaon_fail(1, "the heap is too small");
    for (uint64_t i = 0; i < size; i += 4096)
        memory[i] = 1;
    kaon_free((void *)(uintptr_t)memory);
    return size;
}
KAON_EXPORT(touch, u64, u64);

/* Registers that last from call to call, and some that must not. */
static void bases_set(uint64_t fs, uint64_t gs)
{
    __asm__ volatile("wrfsbase %0\n\twrgsbase %1" : : "r"(fs), "r"(gs));
}
KAON_EXPORT(bases_set, void, u64, u64);

static uint64_t base_of_fs(void)
{
    uint64_t base;

    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}
KAON_EXPORT(base_of_fs, u64);

static uint64_t base_of_gs(void)
{
    uint64_t base;

    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}
KAON_EXPORT(base_of_gs, u64);

/* MXCSR, and above it the x87 control and status words. */
static uint64_t float_state(void)
{
    uint32_t mxcsr;
    uint16_t control, status;

    __asm__ volatile("stmxcsr %0\n\tfnstcw %1\n\tfnstsw %2"
                     : "=m"(mxcsr), "=m"(control), "=m"(status));
    return mxcsr | (uint64_t)control << 32 | (uint64_t)status << 48;
}
KAON_EXPORT(float_state, u64);

static uint64_t flags(void)
{
    uint64_t flags;

    __asm__ volatile("pushfq\n\tpop %0" : "=r"(flags));
    return flags & ~UINT64_C(0x8d5); /* but for what arithmetic leaves */
}
KAON_EXPORT(flags, u64);

/* Returns with all of that disturbed, and an x87 exception that waits for the
 * next x87 instruction: the answer is given from here. */
static void disturb(void)
{
    const uint32_t mxcsr = 0x7f80;   /* rounds to zero */
    const uint16_t control = 0x0f7b; /* a division by zero is unmasked */

    __asm__ volatile("ldmxcsr %0\n\tfldcw %1\n\tfld1\n\tfld1\n\t"
                     "fldz\n\tfdivrp\n\t"
                     "pushfq\n\torq $0x200000, (%%rsp)\n\tpopfq" /* ID */
                     :
                     : "m"(mxcsr), "m"(control)
                     : "cc", "memory");
}
KAON_EXPORT(disturb, void);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For batches and posted calls: functions that end in each way, leave things
 * behind, and post. The host must offer HostPrint(string) -> i32,
 * HostEcho(string) -> string and note(i32).
 */
#include <kaon/guest.h>

KAON_IMPORT(HostEcho, string, string);
KAON_IMPORT_POSTED(note, void, i32);

static int32_t counter;

static int32_t count(void)
{
    return ++counter;
}
KAON_EXPORT(count, i32);

static int32_t add(int32_t a, int32_t b)
{
    return a + b;
}
KAON_EXPORT(add, i32, i32, i32);

static const char *echo(const char *text)
{
    return text;
}
KAON_EXPORT(echo, string, string);

static const char *through(const char *text)
{
    const char *back = "";

    if (HostEcho(&back, text))
        kaon_fail(1, kaon_host_error().text);
    return back;
}
KAON_EXPORT(through, string, string);

static struct kaon_span fill(uint32_t size, uint32_t byte)
{
    struct kaon_span bytes = { kaon_reserve(size), size };

    if (!bytes.data)
        kaon_fail(1, "no room");
    __builtin_memset((void *)(uintptr_t)bytes.data, (int)byte, size);
    return bytes;
}
KAON_EXPORT(fill, bytes, u32, u32);

/* Leaves from deep in the stack. */
static int32_t fail_deep(int32_t depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    if (depth == 0)
        kaon_fail(7, "no such thing");
    if (depth < 0)
        return 0;
    return fail_deep(depth - 1) + frame[0];
}
KAON_EXPORT(fail_deep, i32, i32);

static void give_up(void)
{
    kaon_abort(25, "enough");
}
KAON_EXPORT(give_up, void);

__attribute__((noinline)) static void touch(uint64_t address)
{
    *(volatile char *)address = 1;
}
KAON_EXPORT(touch, void, u64);

static void spin(void)
{
    for (;;)
        __asm__ volatile("pause");
}
KAON_EXPORT(spin, void);

/* What a call makes of its CPU, which the next one must not see. */
static uint32_t spoil_cpu(void)
{
    uint32_t mxcsr = 0x7f80;   /* rounds towards zero */
    uint16_t control = 0x0f7b; /* a division by zero is unmasked, and waits */

    __asm__ volatile("ldmxcsr %0; fldcw %1; fld1; fld1; fldz; fdivrp; std"
                     :
                     : "m"(mxcsr), "m"(control)
                     : "st", "st(1)");
    kaon_fail(1, "spoilt");
}
KAON_EXPORT(spoil_cpu, u32);

static uint32_t see_cpu(void)
{
    struct {
        uint16_t control, status, tags, rest[11];
    } x87;
    uint64_t flags;
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0; fnstenv %1; pushf; pop %2"
                     : "=m"(mxcsr), "=m"(x87), "=r"(flags));
    return mxcsr << 16 | (x87.control ^ 0x37fu) |
           (uint32_t)(flags >> 10 & 1) << 15;
}
KAON_EXPORT(see_cpu, u32);

static uint64_t stack(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}
KAON_EXPORT(stack, u64);

/* ---- Posting ----------------------------------------------------------- */

static void post(int32_t first, int32_t times)
{
    for (int32_t i = 0; i < times; i++)
        note(first + i);
}
KAON_EXPORT(post, void, i32, i32);

static void log_lines(uint32_t times)
{
    for (uint32_t i = 0; i < times; i++)
        kaon_logf("line %u\n", i);
}
KAON_EXPORT(log_lines, void, u32);

static void print_lines(uint32_t times)
{
    for (uint32_t i = 0; i < times; i++)
        kaon_printf("line %u\n", i);
}
KAON_EXPORT(print_lines, void, u32);

static void mix(void)
{
    const char *back = "";

    kaon_log("1");
    kaon_print("2");
    kaon_log("3");
    HostEcho(&back, "4");
    kaon_log(back);
    kaon_log("5");
}
KAON_EXPORT(mix, void);

static void log_and(const char *text, uint32_t what)
{
    kaon_log(text);
    switch (what) {
    case 0: kaon_fail(1, "failed");
    case 1: kaon_abort(1, "aborted");
    case 2: touch(0); break;
    case 3: spin(); break;
    }
}
KAON_EXPORT(log_and, void, string, u32);

static void log_large(uint32_t size)
{
    char *text = kaon_malloc(size + 1);

    __builtin_memset(text, 'l', size);
    text[size] = '\0';
    kaon_log("before");
    if (kaon_log(text))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    kaon_log("after");
}
KAON_EXPORT(log_large, void, u32);

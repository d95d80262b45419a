/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Touches memory as it is told, with instructions whose places are known: the
 * faulting one is always the first of its function, so that a fault names the
 * function and an offset of 0.
 */
#include <kaon/guest.h>

#define FIRST(name, code)                                                     \
    __asm__(".pushsection .text\n.globl " name "\n.type " name                \
            ", @function\n.balign 16\n" name ":\n" code "\n ret\n.size " name \
            ", . - " name "\n.popsection")

FIRST("read8", "mov (%rdi), %al");
FIRST("write8", "movb $1, (%rdi)");
FIRST("add64", "addq $1, (%rdi)");
FIRST("jump_to", "jmp *%rdi");
FIRST("call_to", "call *%rdi");
FIRST("read_aligned", "movaps (%rdi), %xmm0");
FIRST("write_aligned", "movaps %xmm0, (%rdi)");
FIRST("read_base", "mov %rdi, %rbp\n mov (%rbp), %al");
FIRST("divide", "div %rdi"); /* rdx:rax by rdi */
FIRST("undefined", "ud2");
FIRST("breakpoint", "int3");
FIRST("privileged", "hlt");
FIRST("float_wait", "fwait");
void read8(uint64_t address);
void write8(uint64_t address);
void add64(uint64_t address);
void jump_to(uint64_t address);
void call_to(uint64_t address);
void read_aligned(uint64_t address);
void write_aligned(uint64_t address);
void read_base(uint64_t address);
void divide(uint64_t by);
void undefined(void);
void breakpoint(void);
void privileged(void);
void float_wait(void);
KAON_EXPORT(read8, void, u64);
KAON_EXPORT(write8, void, u64);
KAON_EXPORT(add64, void, u64);
KAON_EXPORT(jump_to, void, u64);
KAON_EXPORT(call_to, void, u64);
KAON_EXPORT(read_aligned, void, u64);
KAON_EXPORT(write_aligned, void, u64);
KAON_EXPORT(read_base, void, u64);
KAON_EXPORT(divide, void, u64);
KAON_EXPORT(undefined, void);
KAON_EXPORT(breakpoint, void);
KAON_EXPORT(privileged, void);

/* An x87 exception waits for the next x87 instruction: that is float_wait's
 * first. */
static void x87_divide(void)
{
    uint16_t control = 0x37b; /* zero divide unmasked */

    __asm__ volatile("fldcw %0\n\tfld1\n\tfldz\n\tfdivrp" : : "m"(control));
    float_wait();
}
KAON_EXPORT(x87_divide, void);

/* SSE has none of that: the division itself faults. */
FIRST("sse_divide", "divps %xmm1, %xmm1");
void sse_divide(void);
static void sse_invalid(void)
{
    uint32_t control = 0x1f00; /* invalid operation unmasked */

    __asm__ volatile("ldmxcsr %0\n\txorps %%xmm1, %%xmm1"
                     :
                     : "m"(control)
                     : "xmm1");
    sse_divide();
}
KAON_EXPORT(sse_invalid, void);

/* Where things are: 0 text, 1 rodata, 2 data, 3 bss, 4 heap, 5 stack, 6 the
 * exchange. */
static const uint64_t constant = 1;
static uint64_t initialised = 1;
static uint64_t zeroed;

static uint64_t where(uint32_t what, struct kaon_span anything)
{
    uint64_t here = 0;

    switch (what) {
    case 0: return (uintptr_t)read8;
    case 1: return (uintptr_t)&constant;
    case 2: return (uintptr_t)&initialised;
    case 3: return (uintptr_t)&zeroed;
    case 4: return (uintptr_t)kaon_malloc(64);
    case 5: return (uintptr_t)&here - 256;
    default: return (uintptr_t)anything.data;
    }
}
KAON_EXPORT(where, u64, u32, bytes);

/* Beyond the stack, in four ways */

__attribute__((noinline)) static int32_t recurse(int32_t depth)
{
    volatile int32_t here[16] = { depth };

    if (depth < 0)
        return 0;
    return recurse(depth + 1) + here[depth % 16];
}
KAON_EXPORT(recurse, i32, i32);

__attribute__((noinline)) static uint64_t huge_array(void)
{
    volatile unsigned char array[512 << 20];

    array[0] = 1;
    return array[0];
}
KAON_EXPORT(huge_array, u64);

__attribute__((noinline)) static uint64_t use_alloca(uint64_t size)
{
    volatile unsigned char *memory = __builtin_alloca(size);

    for (uint64_t i = 0; i < size; i += 4096)
        memory[i] = 1;
    return memory[0];
}
KAON_EXPORT(use_alloca, u64, u64);

/* An alloca as compilers without stack probes make it: only its far end is
 * touched. */
__attribute__((noinline)) static void leap(uint64_t size)
{
    __asm__ volatile("sub %0, %%rsp\n\tmovb $1, (%%rsp)\n\tadd %0, %%rsp"
                     :
                     : "r"(size)
                     : "memory", "cc");
}
KAON_EXPORT(leap, void, u64);

/* The heap: is there a block of that size? */
static bool allocate(uint64_t size)
{
    void *memory = kaon_malloc(size);

    kaon_free(memory);
    return memory;
}
KAON_EXPORT(allocate, bool, u64);

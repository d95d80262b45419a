/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest may do short of misbehaving: state, errors, the heap, the
 * stack, floating point, host functions, printing, registering functions.
 * The host must offer HostPrint(string) -> i32, HostAdd(i32, i32) -> i32,
 * HostFail() and HostEcho(string) -> string.
 */
#include <kaon/guest.h>

KAON_IMPORT(HostAdd, i32, i32, i32);
KAON_IMPORT(HostFail, void);
KAON_IMPORT(HostEcho, string, string);

/* State */

static int32_t counter;

static int32_t count(void)
{
    return ++counter;
}
KAON_EXPORT(count, i32);

static int32_t constructed;

__attribute__((constructor(202))) static void construct_second(void)
{
    constructed = constructed * 10 + 2;
}

__attribute__((constructor(201))) static void construct_first(void)
{
    constructed = constructed * 10 + 1;
}

void kaon_guest_init(void)
{
    constructed = constructed * 10 + 3;
}

/* 123: constructors in the order of their priority, then init. */
static int32_t init_order(void)
{
    return constructed;
}
KAON_EXPORT(init_order, i32);

/* Errors */

static void fail(int32_t code, const char *text)
{
    kaon_fail(code, text);
}
KAON_EXPORT(fail, void, i32, string);

static void give_up(int32_t code, const char *text)
{
    kaon_abort(code, text);
}
KAON_EXPORT_AS("abort", give_up, void, i32, string);

/* An abort with a text of so many 'x'. */
static void abort_long(int32_t code, uint32_t size)
{
    char *text = kaon_malloc((size_t)size + 1);

    if (!text)
        kaon_fail(1, "the heap is exhausted");
    __builtin_memset(text, 'x', size);
    text[size] = 0;
    kaon_abort(code, text);
}
KAON_EXPORT(abort_long, void, i32, u32);

/* The heap */

/* Whether so many bytes can be had, used, and given back. */
static bool can_allocate(uint64_t size)
{
    volatile unsigned char *memory = kaon_malloc(size);

    if (!memory)
        return false;
    memory[0] = 1;
    memory[size - 1] = 2;
    kaon_free((void *)(uintptr_t)memory);
    return true;
}
KAON_EXPORT(can_allocate, bool, u64);

/* Takes blocks until none is left; how many there were. All are given back. */
static uint32_t exhaust_heap(uint32_t size)
{
    struct block {
        struct block *next;
    } *blocks = NULL, *block;
    uint32_t number = 0;

    if (size < sizeof *block)
        kaon_fail(1, "blocks have at least 8 bytes");
    while ((block = kaon_malloc(size))) {
        block->next = blocks;
        blocks = block;
        number++;
    }
    while ((block = blocks)) {
        blocks = block->next;
        kaon_free(block);
    }
    return number;
}
KAON_EXPORT(exhaust_heap, u32, u32);

static uint64_t heap_free(void)
{
    return kaon_heap_free();
}
KAON_EXPORT(heap_free, u64);

static void free_twice(void)
{
    void *memory = kaon_malloc(100);

    kaon_free(memory);
    kaon_free(memory);
}
KAON_EXPORT(free_twice, void);

/* The stack */

static volatile int32_t bottom;

/* Deeper than any stack; the sum keeps it from being a loop. */
static int32_t recurse(int32_t depth)
{
    volatile int32_t here = depth;

    if (depth == bottom - 1)
        return 0;
    return recurse(depth + 1) + here;
}
KAON_EXPORT(recurse, i32, i32);

/* Touches size bytes of stack, from the first to the last. */
static uint64_t use_stack(uint64_t size)
{
    volatile unsigned char *memory = __builtin_alloca(size);

    for (uint64_t i = size; i; i--)
        memory[i - 1] = (unsigned char)i;
    return memory[size / 2];
}
KAON_EXPORT(use_stack, u64, u64);

/* An array much larger than any stack, of which one byte is touched. */
static int32_t huge_array(int32_t at)
{
    volatile unsigned char array[256 << 20];

    array[at] = 7;
    return array[at];
}
KAON_EXPORT(huge_array, i32, i32);

static uint64_t stack_free(void)
{
    return kaon_stack_free();
}
KAON_EXPORT(stack_free, u64);

/* The CPU */

static double hypotenuse(double a, double b)
{
    return __builtin_sqrt(a * a + b * b);
}
KAON_EXPORT(hypotenuse, f64, f64, f64);

/* Dot product of vectors on the stack, which compilers make SSE of. */
static float dot(uint32_t size)
{
    _Alignas(16) float a[64], b[64];
    float sum = 0;

    for (uint32_t i = 0; i < 64; i++) {
        a[i] = (float)i;
        b[i] = 2;
    }
    for (uint32_t i = 0; i < size && i < 64; i++)
        sum += a[i] * b[i];
    return sum;
}
KAON_EXPORT(dot, f32, u32);

/* A leaf function's locals lie below the stack pointer: the red zone. */
static uint32_t red_zone(uint32_t seed)
{
    volatile uint32_t state[16];

    for (uint32_t i = 0; i < 16; i++)
        state[i] = seed + i;
    for (uint32_t round = 0; round < 1000; round++)
        for (uint32_t i = 0; i < 16; i++)
            state[i] = state[i] * 1664525 + state[(i + 1) % 16];
    return state[0];
}
KAON_EXPORT(red_zone, u32, u32);

static void spin(void)
{
    for (;;)
        __asm__ volatile("");
}
KAON_EXPORT(spin, void);

/* Host functions */

static int32_t host_add(int32_t a, int32_t b)
{
    int32_t sum;

    if (HostAdd(&sum, a, b))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    return sum;
}
KAON_EXPORT(host_add, i32, i32, i32);

/* As many host calls; the sum of 1 to n. */
static int32_t host_sum(int32_t n)
{
    int32_t sum = 0;

    for (int32_t i = 1; i <= n; i++)
        sum = host_add(sum, i);
    return sum;
}
KAON_EXPORT(host_sum, i32, i32);

/* Lets HostFail fail so many times; the last failure, told as text. */
static const char *host_fail(uint32_t times)
{
    static char text[256];

    for (uint32_t i = 0; i < times; i++) {
        int status = HostFail();

        kaon_snprintf(text, sizeof text, "%d: code %d, %s", status,
                      kaon_host_error().code, kaon_host_error().text);
    }
    return text;
}
KAON_EXPORT(host_fail, string, u32);

static const char *host_echo(const char *text)
{
    const char *back = "";

    if (HostEcho(&back, text))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    return back;
}
KAON_EXPORT(host_echo, string, string);

/* Each answer is the next argument. */
static const char *host_echo_chain(const char *text, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++)
        text = host_echo(text);
    return text;
}
KAON_EXPORT(host_echo_chain, string, string, u32);

/* Calls a host function of that name, without arguments; what came of it. */
static const char *host_by_name(const char *name)
{
    static char text[256];
    struct kaon_value result;
    int status = kaon_host_call(name, &result, KAON_NO_ARGS);

    if (status)
        kaon_snprintf(text, sizeof text, "%d: code %d, %s", status,
                      kaon_host_error().code, kaon_host_error().text);
    else
        kaon_snprintf(text, sizeof text, "0: type %u", result.type);
    return text;
}
KAON_EXPORT(host_by_name, string, string);

/* Printing: 2 to 16 mixed arguments */

static int32_t print2(const char *a, int32_t b)
{
    return kaon_printf("%s %d.\n", a, b);
}
KAON_EXPORT(print2, i32, string, i32);

static int32_t print5(const char *a, int32_t b, int64_t c, const char *d,
                      const char *e)
{
    return kaon_printf("%s %d %lld %s %s.\n", a, b, (long long)c, d, e);
}
KAON_EXPORT(print5, i32, string, i32, i64, string, string);

static int32_t print11(const char *a, int32_t b, int64_t c, const char *d,
                       const char *e, bool f, bool g, uint32_t h, uint64_t i,
                       int32_t j, float k)
{
    return kaon_printf("%s %d %lld %s %s %d %d %u %llu %d %.3f.\n", a, b,
                       (long long)c, d, e, f, g, h, (unsigned long long)i, j,
                       (double)k);
}
KAON_EXPORT(print11, i32, string, i32, i64, string, string, bool, bool, u32,
            u64, i32, f32);

static int32_t print16(const char *a, int32_t b, int64_t c, const char *d,
                       const char *e, bool f, bool g, uint32_t h, uint64_t i,
                       int32_t j, float k, double l, struct kaon_span m,
                       int32_t n, uint32_t o, const char *p)
{
    return kaon_printf(
        "%s %d %lld %s %s %d %d %u %llu %d %.3f %g %zu %x %o %s.\n", a, b,
        (long long)c, d, e, f, g, h, (unsigned long long)i, j, (double)k, l,
        m.size, (unsigned)n, o, p);
}
KAON_EXPORT(print16, i32, string, i32, i64, string, string, bool, bool, u32,
            u64, i32, f32, f64, bytes, i32, u32, string);

/* One text of so many 'y'. */
static int32_t print_long(uint32_t size)
{
    return kaon_printf("%s%*s", "y", (int)size - 1, "");
}
KAON_EXPORT(print_long, i32, u32);

/* Registering */

static void multiply(const struct kaon_value *args, uint32_t number,
                     struct kaon_value *result, void *user)
{
    (void)number;
    *result = kaon_i64(args[0].i64 * *(const int64_t *)user);
}

/* From then on `name` multiplies an i64 by the factor. */
static void register_multiply(const char *name, int64_t factor)
{
    int64_t *user = kaon_malloc(sizeof *user);

    if (!user)
        kaon_fail(1, "the heap is exhausted");
    *user = factor;
    if (kaon_register(name, multiply, user, KAON_SIGNATURE(i64, i64)))
        kaon_fail(2, "the name cannot be registered");
}
KAON_EXPORT(register_multiply, void, string, i64);

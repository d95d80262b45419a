/* SPDX-License-Identifier: Apache-2.0 */
/* One function for each outcome, and some that say what a terminal obeys. */
#include <kaon/guest.h>

static void fail(int32_t code, const char *text)
{
    kaon_fail(code, text);
}
KAON_EXPORT(fail, void, i32, string);

static void give_up(int32_t code, const char *text)
{
    kaon_abort(code, text);
}
KAON_EXPORT(give_up, void, i32, string);

__attribute__((noinline)) static void write_constant(void)
{
    static const char constant[] = "constant";
    char *at = (char *)(uintptr_t)constant;

    __asm__("" : "+r"(at)); /* the compiler must not know either */
    *at = 0;
}
KAON_EXPORT(write_constant, void);

static int32_t recurse(int32_t depth)
{
    volatile int32_t here = depth;

    if (depth == -1)
        return 0;
    return recurse(depth + 1) + here;
}
KAON_EXPORT(recurse, i32, i32);

static void spin(void)
{
    for (;;)
        __asm__ volatile("");
}
KAON_EXPORT(spin, void);

static bool can_allocate(uint64_t size)
{
    void *memory = kaon_malloc(size);

    kaon_free(memory);
    return memory != NULL;
}
KAON_EXPORT(can_allocate, bool, u64);

static void print(const char *text)
{
    kaon_print(text);
}
KAON_EXPORT(print, void, string);

/* A string that is not UTF-8 and would turn a terminal red. */
static const char *dirt(void)
{
    return "\x1b[31m\"caf\xe9\"\\\n";
}
KAON_EXPORT(dirt, string);

static void print_dirt(void)
{
    kaon_print(dirt());
}
KAON_EXPORT(print_dirt, void);

static void fail_with_dirt(void)
{
    kaon_fail(1, dirt());
}
KAON_EXPORT(fail_with_dirt, void);

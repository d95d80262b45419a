/* SPDX-License-Identifier: Apache-2.0 */
/* Gives each type back as it came, and takes up to 16 parameters. */
#include <kaon/guest.h>

#define ECHO(word, type)            \
    static type echo_##word(type x) \
    {                               \
        return x;                   \
    }                               \
    KAON_EXPORT(echo_##word, word, word)

ECHO(i32, int32_t);
ECHO(u32, uint32_t);
ECHO(i64, int64_t);
ECHO(u64, uint64_t);
ECHO(f32, float);
ECHO(f64, double);
ECHO(string, const char *);
ECHO(bytes, struct kaon_span);

/* bool is a macro, which ECHO would paste expanded. */
static bool echo_bool(bool x)
{
    return x;
}
KAON_EXPORT(echo_bool, bool, bool);

static void nothing(void)
{
}
KAON_EXPORT(nothing, void);

static int32_t add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}
KAON_EXPORT(add, i32, i32, i32);

static int64_t sum16(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e,
                     int64_t f, int64_t g, int64_t h, int64_t i, int64_t j,
                     int64_t k, int64_t l, int64_t m, int64_t n, int64_t o,
                     int64_t p)
{
    return a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p;
}
KAON_EXPORT(sum16, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64,
            i64, i64, i64, i64, i64);

/* All types at once, in order of their numbers, told back as text. */
static const char *describe(int32_t a, uint32_t b, int64_t c, uint64_t d,
                            float e, double f, bool g, const char *h,
                            struct kaon_span i)
{
    static char text[512];

    kaon_snprintf(text, sizeof text, "%d %u %lld %llu %g %g %s \"%s\" %zu", a,
                  b, (long long)c, (unsigned long long)d, (double)e, f,
                  g ? "true" : "false", h, i.size);
    return text;
}
KAON_EXPORT(describe, string, i32, u32, i64, u64, f32, f64, bool, string,
            bytes);

/* Built where it is sent from. */
static const char *concat(const char *a, const char *b)
{
    size_t first = __builtin_strlen(a), second = __builtin_strlen(b);
    char *text = kaon_reserve(first + second + 1);

    if (!text)
        kaon_fail(1, "the strings are too long together");
    __builtin_memcpy(text, a, first);
    __builtin_memcpy(text + first, b, second + 1);
    return text;
}
KAON_EXPORT(concat, string, string, string);

/* As many bytes of one value, from the heap: the library copies them. */
static struct kaon_span fill(uint32_t size, uint32_t byte)
{
    static unsigned char *memory;
    struct kaon_span bytes = { NULL, size };

    kaon_free(memory);
    memory = kaon_malloc(size);
    if (!memory)
        kaon_fail(1, "the heap is exhausted");
    __builtin_memset(memory, (int)byte, size);
    bytes.data = memory;
    return bytes;
}
KAON_EXPORT(fill, bytes, u32, u32);

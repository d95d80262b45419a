/* SPDX-License-Identifier: Apache-2.0 */
/* Hands each type on to a host function, and its answer back. */
#include <kaon/guest.h>

#define THROUGH(word, type)                                            \
    KAON_IMPORT(Host_##word, word, word);                              \
    static type through_##word(type x)                                 \
    {                                                                  \
        type back = { 0 };                                             \
                                                                       \
        if (Host_##word(&back, x))                                     \
            kaon_fail(kaon_host_error().code, kaon_host_error().text); \
        return back;                                                   \
    }                                                                  \
    KAON_EXPORT(through_##word, word, word)

THROUGH(i32, int32_t);
THROUGH(u32, uint32_t);
THROUGH(i64, int64_t);
THROUGH(u64, uint64_t);
THROUGH(f32, float);
THROUGH(f64, double);
THROUGH(string, const char *);
THROUGH(bytes, struct kaon_span);

/* bool is a macro, which THROUGH would paste expanded. */
KAON_IMPORT(Host_bool, bool, bool);
static bool through_bool(bool x)
{
    bool back = !x;

    if (Host_bool(&back, x))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    return back;
}
KAON_EXPORT(through_bool, bool, bool);

/* So many bytes that the host makes; their sum. */
KAON_IMPORT(HostMake, bytes, u32);
static uint64_t sum_made(uint32_t size)
{
    struct kaon_span made;
    uint64_t sum = 0;

    if (HostMake(&made, size))
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    if (made.size != size)
        kaon_fail(1, "the host made another number of bytes");
    for (size_t i = 0; i < made.size; i++)
        sum += ((const unsigned char *)made.data)[i];
    return sum;
}
KAON_EXPORT(sum_made, u64, u32);

/* The sum of the bytes that the host gives. */
static uint64_t sum(struct kaon_span bytes)
{
    uint64_t total = 0;

    for (size_t i = 0; i < bytes.size; i++)
        total += ((const unsigned char *)bytes.data)[i];
    return total;
}
KAON_EXPORT(sum, u64, bytes);

/* Sends the host so many bytes of the guest's own heap. */
static uint32_t send(uint32_t size)
{
    struct kaon_span bytes = { kaon_calloc(1, size), size }, back;

    if (!bytes.data)
        kaon_fail(1, "the heap is exhausted");
    if (Host_bytes(&back, bytes)) {
        kaon_free((void *)(uintptr_t)bytes.data);
        kaon_fail(kaon_host_error().code, kaon_host_error().text);
    }
    kaon_free((void *)(uintptr_t)bytes.data);
    return (uint32_t)back.size;
}
KAON_EXPORT(send, u32, u32);

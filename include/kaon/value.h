/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/value.h - the arguments and results of calls
 *
 * A value is a type and its bits. Host and guest use the same struct in their
 * own memory; what crosses between them is laid out in kaon/abi.h. A string
 * or bytes value borrows its data: whoever makes the value keeps the data
 * alive as long as the function that takes the value says.
 *
 * Freestanding C11: guests include this too.
 */
#ifndef KAON_VALUE_H
#define KAON_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <kaon/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Length and data of a string (NUL-terminated, the NUL not counted) or bytes.
 */
struct kaon_span {
    const void *data;
    size_t size;
};

/* A value; `type` (KAON_TYPE_*) says which member holds it. */
struct kaon_value {
    uint32_t type;
    union {
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
        float f32;
        double f64;
        bool boolean;
        struct kaon_span span; /* string and bytes */
    };
};

/*
 * A number's bits as they cross: little-endian, zero-extended. All members are
 * set, each by one store, so that what copies the value reads whole stores: it
 * would wait for parts of one to reach the cache.
 */
static inline struct kaon_value kaon__number(uint32_t type, uint64_t bits)
{
    struct kaon_value v;
    v.type = type;
    v.u64 = bits;
    v.span.size = 0;
    return v;
}

/* Constructors: each returns a value of the type that its name says. */
static inline struct kaon_value kaon_void(void)
{
    return kaon__number(KAON_TYPE_VOID, 0);
}

static inline struct kaon_value kaon_i32(int32_t x)
{
    return kaon__number(KAON_TYPE_I32, (uint32_t)x);
}

static inline struct kaon_value kaon_u32(uint32_t x)
{
    return kaon__number(KAON_TYPE_U32, x);
}

static inline struct kaon_value kaon_i64(int64_t x)
{
    return kaon__number(KAON_TYPE_I64, (uint64_t)x);
}

static inline struct kaon_value kaon_u64(uint64_t x)
{
    return kaon__number(KAON_TYPE_U64, x);
}

static inline struct kaon_value kaon_f32(float x)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return kaon__number(KAON_TYPE_F32, bits);
}

static inline struct kaon_value kaon_f64(double x)
{
    uint64_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return kaon__number(KAON_TYPE_F64, bits);
}

static inline struct kaon_value kaon_bool(bool x)
{
    return kaon__number(KAON_TYPE_BOOL, x);
}

/* A string of `size` bytes; none of them NUL. Borrows data. */
static inline struct kaon_value kaon_string_n(const char *data, size_t size)
{
    struct kaon_value v;
    v.type = KAON_TYPE_STRING;
    v.span.data = data;
    v.span.size = size;
    return v;
}

/* A NUL-terminated string. Borrows text; NULL is taken as "". */
static inline struct kaon_value kaon_string(const char *text)
{
    return kaon_string_n(text ? text : "", text ? __builtin_strlen(text) : 0);
}

/* `size` bytes, NULs included. Borrows data; NULL is good if size is 0. */
static inline struct kaon_value kaon_bytes(const void *data, size_t size)
{
    struct kaon_value v;
    v.type = KAON_TYPE_BYTES;
    v.span.data = data;
    v.span.size = size;
    return v;
}

/*
 * Arguments, written where they are used:
 *
 *     kaon_call(sb, &out, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)), NULL,
 *               &err);
 *
 * KAON_ARGS stands for two arguments, an array and its length, that live to
 * the end of the enclosing block. A function without parameters takes
 * KAON_NO_ARGS.
 */
#define KAON_ARGS(...)                                       \
    (const struct kaon_value[]){ __VA_ARGS__ },              \
        sizeof((const struct kaon_value[]){ __VA_ARGS__ }) / \
            sizeof(struct kaon_value)
#define KAON_NO_ARGS NULL, 0

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/guest_macros.h - how the macros of kaon/guest.h are made
 *
 * Private: include kaon/guest.h, and use no name with two underscores.
 *
 * An exported function becomes a thunk, which takes its arguments out of the
 * slots of a frame, and a record in the section kaon_exports. An imported one
 * becomes an inline function, which puts its arguments into values, and a
 * record in kaon_imports. A record is struct kaon_guest_function of kaon/abi.h
 * with its addresses as pointers, for the linker to fill in.
 */
#ifndef KAON_GUEST_MACROS_H
#define KAON_GUEST_MACROS_H

#include <kaon/abi.h>
#include <kaon/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Slots trusted: the host has checked them against the record. */
typedef void (*kaon__thunk)(const unsigned char *exchange,
                            const struct kaon_slot *slots,
                            struct kaon_value *result);

struct kaon__record {
    const char *name;
    kaon__thunk code; /* NULL in imports */
    uint32_t count;
    uint32_t result;
    uint8_t params[KAON_PARAMS_MAX];
    uint8_t reserved[24];
};

/* Calls an import. args may be changed. A NULL result is fine. */
int kaon__import_call(const struct kaon__record *import,
                      struct kaon_value *result, struct kaon_value *args,
                      uint32_t count);

/* Posts one. args may be changed. */
int kaon__import_post(const struct kaon__record *import,
                      struct kaon_value *args, uint32_t count);

/* What KAON_FALLBACK defines. The anchor makes the linker take the part of
 * the library that marks the guest as dynamic. */
struct kaon__fallback {
    bool (*function)(const char *name, const struct kaon_value *args,
                     uint32_t count, struct kaon_value *result);
    const char *anchor;
};
extern const char kaon__dynamic_anchor;
extern const struct kaon__fallback kaon__fallback;

#ifdef __cplusplus
}
#endif

KAON_STATIC_ASSERT(sizeof(struct kaon__record) ==
                       sizeof(struct kaon_guest_function),
                   "a record is a struct kaon_guest_function");
KAON_STATIC_ASSERT(offsetof(struct kaon__record, params) ==
                       offsetof(struct kaon_guest_function, params),
                   "a record is a struct kaon_guest_function");

/*
 * Nothing refers to a record by its name, so compiler and linker must be told
 * to keep it. Without the alignment a compiler might pad between records.
 */
#ifdef __has_attribute
#if __has_attribute(retain)
#define KAON__RETAIN , retain
#endif
#endif
#ifndef KAON__RETAIN
#define KAON__RETAIN
#endif
#define KAON__IN_SECTION(name) \
    __attribute__((used, section(name), aligned(8) KAON__RETAIN))

#define KAON__PASTE_(a, b) a##b
#define KAON__PASTE(a, b) KAON__PASTE_(a, b)
#define KAON__UNIQUE(name) KAON__PASTE(name##_, __LINE__)

/* Parameters of (result, parameters...). */
#define KAON__COUNT(...)                                                       \
    KAON__COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, \
                 2, 1, 0, 0)
#define KAON__COUNT_(r, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, count, \
                     ...)                                                      \
    count

/* macro(result) of (result, parameters...). */
#define KAON__FIRST(macro, ...) KAON__FIRST_(macro, __VA_ARGS__, 0)
#define KAON__FIRST_(macro, result, ...) macro(0, result)

/*
 * first(0, type) next(1, type) next(2, type) ... for the parameters of
 * (result, parameters...); `none` if there are none.
 */
#define KAON__EACH(none, first, next, ...)             \
    KAON__PASTE(KAON__EACH_, KAON__COUNT(__VA_ARGS__)) \
    (none, first, next, __VA_ARGS__)
#define KAON__EACH_0(Z, F, N, r) Z
#define KAON__EACH_1(Z, F, N, r, a) F(0, a)
#define KAON__EACH_2(Z, F, N, r, a, b) F(0, a) N(1, b)
#define KAON__EACH_3(Z, F, N, r, a, b, c) KAON__EACH_2(Z, F, N, r, a, b) N(2, c)
#define KAON__EACH_4(Z, F, N, r, a, b, c, d) \
    KAON__EACH_3(Z, F, N, r, a, b, c) N(3, d)
#define KAON__EACH_5(Z, F, N, r, a, b, c, d, e) \
    KAON__EACH_4(Z, F, N, r, a, b, c, d) N(4, e)
#define KAON__EACH_6(Z, F, N, r, a, b, c, d, e, f) \
    KAON__EACH_5(Z, F, N, r, a, b, c, d, e) N(5, f)
#define KAON__EACH_7(Z, F, N, r, a, b, c, d, e, f, g) \
    KAON__EACH_6(Z, F, N, r, a, b, c, d, e, f) N(6, g)
#define KAON__EACH_8(Z, F, N, r, a, b, c, d, e, f, g, h) \
    KAON__EACH_7(Z, F, N, r, a, b, c, d, e, f, g) N(7, h)
#define KAON__EACH_9(Z, F, N, r, a, b, c, d, e, f, g, h, i) \
    KAON__EACH_8(Z, F, N, r, a, b, c, d, e, f, g, h) N(8, i)
#define KAON__EACH_10(Z, F, N, r, a, b, c, d, e, f, g, h, i, j) \
    KAON__EACH_9(Z, F, N, r, a, b, c, d, e, f, g, h, i) N(9, j)
#define KAON__EACH_11(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k) \
    KAON__EACH_10(Z, F, N, r, a, b, c, d, e, f, g, h, i, j) N(10, k)
#define KAON__EACH_12(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l) \
    KAON__EACH_11(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k) N(11, l)
#define KAON__EACH_13(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l, m) \
    KAON__EACH_12(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l) N(12, m)
#define KAON__EACH_14(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l, m, n) \
    KAON__EACH_13(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l, m) N(13, n)
#define KAON__EACH_15(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o) \
    KAON__EACH_14(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l, m, n)        \
    N(14, o)
#define KAON__EACH_16(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, \
                      p)                                                       \
    KAON__EACH_15(Z, F, N, r, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)     \
    N(15, p)

/*
 * What each type word stands for. In C, bool is a macro for _Bool and may
 * arrive here expanded: hence two of each.
 */
#define KAON__C_void void
#define KAON__C_i32 int32_t
#define KAON__C_u32 uint32_t
#define KAON__C_i64 int64_t
#define KAON__C_u64 uint64_t
#define KAON__C_f32 float
#define KAON__C_f64 double
#define KAON__C_bool bool
#define KAON__C__Bool bool
#define KAON__C_string const char *
#define KAON__C_bytes struct kaon_span

#define KAON__TYPE_void KAON_TYPE_VOID
#define KAON__TYPE_i32 KAON_TYPE_I32
#define KAON__TYPE_u32 KAON_TYPE_U32
#define KAON__TYPE_i64 KAON_TYPE_I64
#define KAON__TYPE_u64 KAON_TYPE_U64
#define KAON__TYPE_f32 KAON_TYPE_F32
#define KAON__TYPE_f64 KAON_TYPE_F64
#define KAON__TYPE_bool KAON_TYPE_BOOL
#define KAON__TYPE__Bool KAON_TYPE_BOOL
#define KAON__TYPE_string KAON_TYPE_STRING
#define KAON__TYPE_bytes KAON_TYPE_BYTES

/* A value of the type, of an expression. */
static inline struct kaon_value kaon__bytes_value(struct kaon_span span)
{
    return kaon_bytes(span.data, span.size);
}
#define KAON__VALUE_void(call) ((call), kaon_void())
#define KAON__VALUE_i32 kaon_i32
#define KAON__VALUE_u32 kaon_u32
#define KAON__VALUE_i64 kaon_i64
#define KAON__VALUE_u64 kaon_u64
#define KAON__VALUE_f32 kaon_f32
#define KAON__VALUE_f64 kaon_f64
#define KAON__VALUE_bool kaon_bool
#define KAON__VALUE__Bool kaon_bool
#define KAON__VALUE_string kaon_string
#define KAON__VALUE_bytes kaon__bytes_value

/* The member of struct kaon_value. */
#define KAON__MEMBER_i32(value) ((value).i32)
#define KAON__MEMBER_u32(value) ((value).u32)
#define KAON__MEMBER_i64(value) ((value).i64)
#define KAON__MEMBER_u64(value) ((value).u64)
#define KAON__MEMBER_f32(value) ((value).f32)
#define KAON__MEMBER_f64(value) ((value).f64)
#define KAON__MEMBER_bool(value) ((value).boolean)
#define KAON__MEMBER__Bool(value) ((value).boolean)
#define KAON__MEMBER_string(value) ((const char *)(value).span.data)
#define KAON__MEMBER_bytes(value) ((value).span)

/* An argument, out of its slot. */
static inline float kaon__slot_f32(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float x;

    __builtin_memcpy(&x, &low, sizeof x);
    return x;
}

static inline double kaon__slot_f64(uint64_t bits)
{
    double x;

    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

static inline struct kaon_span kaon__slot_bytes(const unsigned char *exchange,
                                                const struct kaon_slot *slot)
{
    struct kaon_span span = { exchange + slot->bits, slot->size };

    return span;
}
#define KAON__SLOT_i32(i) ((int32_t)(uint32_t)kaon__slots[i].bits)
#define KAON__SLOT_u32(i) ((uint32_t)kaon__slots[i].bits)
#define KAON__SLOT_i64(i) ((int64_t)kaon__slots[i].bits)
#define KAON__SLOT_u64(i) ((uint64_t)kaon__slots[i].bits)
#define KAON__SLOT_f32(i) kaon__slot_f32(kaon__slots[i].bits)
#define KAON__SLOT_f64(i) kaon__slot_f64(kaon__slots[i].bits)
#define KAON__SLOT_bool(i) (kaon__slots[i].bits != 0)
#define KAON__SLOT__Bool(i) (kaon__slots[i].bits != 0)
#define KAON__SLOT_string(i) ((const char *)(kaon__base + kaon__slots[i].bits))
#define KAON__SLOT_bytes(i) kaon__slot_bytes(kaon__base, &kaon__slots[i])

/* The same, as what KAON__EACH and KAON__FIRST apply. */
#define KAON__C(i, type) KAON__C_##type
#define KAON__C_NEXT(i, type) , KAON__C_##type
#define KAON__DECLARE(i, type) KAON__C_##type kaon__##i
#define KAON__DECLARE_NEXT(i, type) , KAON__C_##type kaon__##i
#define KAON__TYPE(i, type) KAON__TYPE_##type
#define KAON__PARAM(i, type) (uint8_t) KAON__TYPE_##type
#define KAON__PARAM_NEXT(i, type) , (uint8_t)KAON__TYPE_##type
#define KAON__SLOT(i, type) KAON__SLOT_##type(i)
#define KAON__SLOT_NEXT(i, type) , KAON__SLOT_##type(i)
#define KAON__ARGUMENT(i, type) KAON__VALUE_##type(kaon__##i)
#define KAON__ARGUMENT_NEXT(i, type) , KAON__VALUE_##type(kaon__##i)
#define KAON__VALUE(i, type) KAON__VALUE_##type
#define KAON__MEMBER(i, type) KAON__MEMBER_##type

/* Nothing converts: the function has these types, or the guest is refused. */
#ifdef __cplusplus
#define KAON__CHECK_TYPES(function, prototype, pointer) \
    static constexpr pointer = function;                \
    static_assert(KAON__UNIQUE(kaon__is_##function) != nullptr, "")
#else
#define KAON__CHECK_TYPES(function, prototype, pointer)                \
    _Static_assert(                                                    \
        __builtin_types_compatible_p(__typeof__(function), prototype), \
        "the types given for " #function " are not those it has in C")
#endif

#define KAON__EXPORT(label, function, ...)                                     \
    KAON__CHECK_TYPES(function,                                                \
                      KAON__FIRST(KAON__C, __VA_ARGS__)(KAON__EACH(            \
                          void, KAON__C, KAON__C_NEXT, __VA_ARGS__)),          \
                      KAON__FIRST(KAON__C, __VA_ARGS__) (                      \
                          *KAON__UNIQUE(kaon__is_##function))(KAON__EACH(      \
                          void, KAON__C, KAON__C_NEXT, __VA_ARGS__)));         \
    KAON__CHECK_NAME(label);                                                   \
    static void KAON__UNIQUE(kaon__thunk_##function)(                          \
        const unsigned char *kaon__base, const struct kaon_slot *kaon__slots,  \
        struct kaon_value *kaon__result)                                       \
    {                                                                          \
        (void)kaon__base;                                                      \
        (void)kaon__slots;                                                     \
        *kaon__result = KAON__FIRST(KAON__VALUE, __VA_ARGS__)(                 \
            function(KAON__EACH(, KAON__SLOT, KAON__SLOT_NEXT, __VA_ARGS__))); \
    }                                                                          \
    KAON__RECORD(KAON_EXPORTS_SECTION, KAON__UNIQUE(kaon__export_##function),  \
                 label, KAON__UNIQUE(kaon__thunk_##function), __VA_ARGS__)

#define KAON__RECORD(in, symbol, label, thunk, ...)                    \
    KAON__IN_SECTION(in)                                               \
    static const struct kaon__record symbol = {                        \
        label,                                                         \
        thunk,                                                         \
        KAON__COUNT(__VA_ARGS__),                                      \
        KAON__FIRST(KAON__TYPE, __VA_ARGS__),                          \
        { KAON__EACH(0, KAON__PARAM, KAON__PARAM_NEXT, __VA_ARGS__) }, \
        { 0 },                                                         \
    }

#define KAON__CHECK_NAME(label)                                \
    KAON_STATIC_ASSERT(sizeof(label) > 1 &&                    \
                           sizeof(label) - 1 <= KAON_NAME_MAX, \
                       "a function's name has 1 to KAON_NAME_MAX bytes")

/*
 * An import without a result has no result parameter. One element more than
 * there are arguments, as an array has at least one.
 */
#define KAON__IMPORT(label, function, ...)                                   \
    KAON__CHECK_NAME(label);                                                 \
    KAON__RECORD(KAON_IMPORTS_SECTION, kaon__import_##function, label, NULL, \
                 __VA_ARGS__);                                               \
    __attribute__((unused)) static inline int function(                      \
        KAON__FIRST(KAON__IMPORT_PARAMS, __VA_ARGS__)(__VA_ARGS__))          \
    {                                                                        \
        struct kaon_value kaon__args[KAON__COUNT(__VA_ARGS__) + 1] = {       \
            KAON__EACH(kaon_void(), KAON__ARGUMENT, KAON__ARGUMENT_NEXT,     \
                       __VA_ARGS__)                                          \
        };                                                                   \
        KAON__FIRST(KAON__IMPORT_CALL, __VA_ARGS__)                          \
        (kaon__import_##function, KAON__COUNT(__VA_ARGS__), __VA_ARGS__)     \
    }                                                                        \
    KAON_STATIC_ASSERT(1, "so that a semicolon may follow")

/* A posted import has no result parameter, whatever the function's result. */
#define KAON__IMPORT_POSTED(label, function, ...)                            \
    KAON__CHECK_NAME(label);                                                 \
    KAON__RECORD(KAON_IMPORTS_SECTION, kaon__import_##function, label, NULL, \
                 __VA_ARGS__);                                               \
    __attribute__((unused)) static inline int function(                      \
        KAON__IMPORT_PARAMS_VOID(__VA_ARGS__))                               \
    {                                                                        \
        struct kaon_value kaon__args[KAON__COUNT(__VA_ARGS__) + 1] = {       \
            KAON__EACH(kaon_void(), KAON__ARGUMENT, KAON__ARGUMENT_NEXT,     \
                       __VA_ARGS__)                                          \
        };                                                                   \
        return kaon__import_post(&kaon__import_##function, kaon__args,       \
                                 KAON__COUNT(__VA_ARGS__));                  \
    }                                                                        \
    KAON_STATIC_ASSERT(1, "so that a semicolon may follow")

#define KAON__KIND_void VOID
#define KAON__KIND_i32 VALUE
#define KAON__KIND_u32 VALUE
#define KAON__KIND_i64 VALUE
#define KAON__KIND_u64 VALUE
#define KAON__KIND_f32 VALUE
#define KAON__KIND_f64 VALUE
#define KAON__KIND_bool VALUE
#define KAON__KIND__Bool VALUE
#define KAON__KIND_string VALUE
#define KAON__KIND_bytes VALUE
#define KAON__IMPORT_PARAMS(i, type) \
    KAON__PASTE(KAON__IMPORT_PARAMS_, KAON__KIND_##type)
#define KAON__IMPORT_CALL(i, type) \
    KAON__PASTE(KAON__IMPORT_CALL_, KAON__KIND_##type)

#define KAON__IMPORT_PARAMS_VOID(...) \
    KAON__EACH(void, KAON__DECLARE, KAON__DECLARE_NEXT, __VA_ARGS__)
#define KAON__IMPORT_PARAMS_VALUE(...)                                    \
    KAON__FIRST(KAON__C, __VA_ARGS__) *                                   \
        kaon__result KAON__EACH(, KAON__DECLARE_NEXT, KAON__DECLARE_NEXT, \
                                __VA_ARGS__)
#define KAON__IMPORT_CALL_VOID(import, count, ...) \
    return kaon__import_call(&import, NULL, kaon__args, count);
#define KAON__IMPORT_CALL_VALUE(import, count, ...)                        \
    struct kaon_value kaon__out;                                           \
    int kaon__status =                                                     \
        kaon__import_call(&import, &kaon__out, kaon__args, count);         \
                                                                           \
    if (!kaon__status && kaon__result)                                     \
        *kaon__result = KAON__FIRST(KAON__MEMBER, __VA_ARGS__)(kaon__out); \
    return kaon__status;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Values cross bit for bit, to the guest and on to the host and back. */
#include "e2e/e2e.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* What each host function of the guest "through" does: note, and give back. */
static int host_echo(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    (void)call;
    ++*(unsigned int *)user;
    *result = args[0];
    return 0;
}

static int host_make(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    (void)args;
    (void)result;
    (void)user;
    return kaon_host_fail(call, 1, "not in this test");
}

static struct kaon_sandbox *through_sandbox(unsigned int *count)
{
    static const struct {
        const char *name;
        uint32_t type;
    } functions[] = {
        { "Host_i32", KAON_TYPE_I32 },     { "Host_u32", KAON_TYPE_U32 },
        { "Host_i64", KAON_TYPE_I64 },     { "Host_u64", KAON_TYPE_U64 },
        { "Host_f32", KAON_TYPE_F32 },     { "Host_f64", KAON_TYPE_F64 },
        { "Host_bool", KAON_TYPE_BOOL },   { "Host_string", KAON_TYPE_STRING },
        { "Host_bytes", KAON_TYPE_BYTES },
    };
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        ASSERT_OK(kaon_host_functions_add(
            set, functions[i].name, functions[i].type,
            KAON_PARAMS(functions[i].type), host_echo, count, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostMake", KAON_TYPE_BYTES,
                                      KAON_PARAMS(KAON_TYPE_U32), host_make,
                                      NULL, &err));
    sandbox = e2e_sandbox("through", KAON_SANDBOX_OPTS(.host_functions = set));
    kaon_host_functions_destroy(set);
    return sandbox;
}

/* A sandbox of each kind, and what they are called by. */
struct pair {
    struct kaon_sandbox *echo, *through;
    unsigned int host_calls;
};

static void open_pair(struct pair *pair)
{
    pair->host_calls = 0;
    pair->echo = e2e_sandbox("echo", NULL);
    pair->through = through_sandbox(&pair->host_calls);
}

static void close_pair(struct pair *pair)
{
    kaon_sandbox_destroy(pair->echo);
    kaon_sandbox_destroy(pair->through);
}

static void assert_same(const struct kaon_value *got,
                        const struct kaon_value *sent)
{
    assert_int_equal(got->type, sent->type);
    switch (sent->type) {
    case KAON_TYPE_I32:
    case KAON_TYPE_U32:
    case KAON_TYPE_F32: assert_int_equal(got->u32, sent->u32); return;
    case KAON_TYPE_BOOL: assert_int_equal(got->boolean, sent->boolean); return;
    case KAON_TYPE_STRING:
    case KAON_TYPE_BYTES:
        assert_int_equal(got->span.size, sent->span.size);
        assert_memory_equal(got->span.data, sent->span.data, sent->span.size);
        if (sent->type == KAON_TYPE_STRING)
            assert_int_equal(((const char *)got->span.data)[got->span.size], 0);
        return;
    default: assert_int_equal(got->u64, sent->u64);
    }
}

/* Sends a value to the guest and back, and to the host by way of the guest. */
static void check(struct pair *pair, struct kaon_value value)
{
    struct kaon_sandbox *const sandboxes[] = { pair->echo, pair->through };
    static const char *const prefixes[] = { "echo", "through" };
    unsigned int host_calls = pair->host_calls;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char function[32];

    for (int i = 0; i < 2; i++) {
        snprintf(function, sizeof function, "%s_%s", prefixes[i],
                 kaon_type_name(value.type));
        ASSERT_OK(
            kaon_call(sandboxes[i], &out, function, &value, 1, NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_same(&out.value, &value);
    }
    assert_int_equal(pair->host_calls, host_calls + 1);
}

static struct kaon_value f32_bits(uint32_t bits)
{
    struct kaon_value value = kaon_f32(0);

    memcpy(&value.f32, &bits, sizeof bits);
    return value;
}

static struct kaon_value f64_bits(uint64_t bits)
{
    struct kaon_value value = kaon_f64(0);

    memcpy(&value.f64, &bits, sizeof bits);
    return value;
}

static void integers_come_back_with_their_extremes(void **state)
{
    static const uint64_t patterns[] = {
        0,
        1,
        2,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        0x7fffffffffffffff,
        0x8000000000000000,
        0x8000000000000001,
        0xffffffffffffffff,
        0x0123456789abcdef,
        0xfedcba9876543210,
    };
    struct pair pair;

    (void)state;
    open_pair(&pair);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        check(&pair, kaon_i32((int32_t)(uint32_t)patterns[i]));
        check(&pair, kaon_u32((uint32_t)patterns[i]));
        check(&pair, kaon_i64((int64_t)patterns[i]));
        check(&pair, kaon_u64(patterns[i]));
    }
    check(&pair, kaon_bool(true));
    check(&pair, kaon_bool(false));
    close_pair(&pair);
}

static void floats_come_back_with_signs_and_payloads(void **state)
{
    /* 0, -0, one, smallest, largest, infinities, quiet and signalling NaNs. */
    static const uint32_t singles[] = {
        0,          0x80000000, 0x3f800000, 1,          0x80000001, 0x007fffff,
        0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
        0x7fc12345, 0xffffffff, 0x7f800001, 0xff812345, 0x7fbfffff,
    };
    static const uint64_t doubles[] = {
        0,
        0x8000000000000000,
        0x3ff0000000000000,
        1,
        0x8000000000000001,
        0x000fffffffffffff,
        0x0010000000000000,
        0x7fefffffffffffff,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x7ff8000000000000,
        0xfff8000000000000,
        0x7ff8123456789abc,
        0xffffffffffffffff,
        0x7ff0000000000001,
        0xfff4123456789abc,
        0x7ff7ffffffffffff,
    };
    struct pair pair;

    (void)state;
    open_pair(&pair);
    for (size_t i = 0; i < sizeof singles / sizeof singles[0]; i++)
        check(&pair, f32_bits(singles[i]));
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++)
        check(&pair, f64_bits(doubles[i]));
    check(&pair, kaon_f32(FLT_MIN));
    check(&pair, kaon_f64(DBL_EPSILON));
    check(&pair, kaon_f64(-0.0));
    close_pair(&pair);
}

static void strings_come_back_empty_short_and_long(void **state)
{
    const size_t sizes[] = {
        1, 15, 16, 17, 255, 3800, 4095, 4096, 4097, 300000
    };
    struct pair pair;
    char *text = malloc(300001);

    (void)state;
    assert_non_null(text);
    open_pair(&pair);
    check(&pair, kaon_string(""));
    check(&pair, kaon_string(NULL));
    check(&pair, kaon_string("a \x01 tab\t, \xff and gr\xc3\xbc\xc3\x9f\x65"));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            text[k] = (char)(1 + (k * 7 + i) % 255);
        check(&pair, kaon_string_n(text, sizes[i]));
    }
    close_pair(&pair);
    free(text);
}

static void bytes_come_back_with_their_nuls(void **state)
{
    const size_t sizes[] = { 0, 1, 15, 16, 17, 3800, 4095, 4096, 4097, 500000 };
    struct pair pair;
    unsigned char *data = malloc(500000);

    (void)state;
    assert_non_null(data);
    open_pair(&pair);
    check(&pair, kaon_bytes(NULL, 0));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            data[k] = (unsigned char)(k * 13 + i);
        check(&pair, kaon_bytes(data, sizes[i]));
        memset(data, 0, sizes[i]);
        check(&pair, kaon_bytes(data, sizes[i]));
    }
    close_pair(&pair);
    free(data);
}

static void random_bits_come_back(void **state)
{
    uint64_t bits = 0x9e3779b97f4a7c15;
    struct pair pair;

    (void)state;
    open_pair(&pair);
    for (unsigned int i = 0; i < e2e_scaled(200); i++) {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        check(&pair, kaon_u64(bits));
        check(&pair, kaon_i32((int32_t)(uint32_t)bits));
        check(&pair, f32_bits((uint32_t)bits));
        check(&pair, f64_bits(bits));
        check(&pair, kaon_bytes(&bits, bits % 9));
    }
    close_pair(&pair);
}

static void all_types_cross_in_one_call(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(
        kaon_call(sandbox, &out, "describe",
                  KAON_ARGS(kaon_i32(INT32_MIN), kaon_u32(UINT32_MAX),
                            kaon_i64(INT64_MIN), kaon_u64(UINT64_MAX),
                            kaon_f32(-0.5f), kaon_f64(1e100), kaon_bool(true),
                            kaon_string("a b"), kaon_bytes("\0\0\0", 3)),
                  NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_string_equal(out.value.span.data,
                        "-2147483648 4294967295 -9223372036854775808 "
                        "18446744073709551615 -0.5 1e+100 true \"a b\" 3");
    kaon_sandbox_destroy(sandbox);
}

static void sixteen_arguments_arrive_in_order(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_value args[KAON_PARAMS_MAX];
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < KAON_PARAMS_MAX; i++)
        args[i] = kaon_i64((int64_t)1 << (3 * i));
    ASSERT_OK(
        kaon_call(sandbox, &out, "sum16", args, KAON_PARAMS_MAX, NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.i64, 0x249249249249);
    kaon_sandbox_destroy(sandbox);
}

static void a_function_without_result_returns_void(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "nothing", KAON_NO_ARGS, NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.type, KAON_TYPE_VOID);
    kaon_sandbox_destroy(sandbox);
}

/* ---- Printing ---------------------------------------------------------- */

/* What the guest printed, and what it is told of it. */
struct printed {
    char text[1024];
    size_t size;
    unsigned int count;
    int32_t answer;
};

static int32_t note(const char *text, size_t size, void *user)
{
    struct printed *printed = user;

    if (size < sizeof printed->text && text[size] == '\0')
        memcpy(printed->text, text, size + 1);
    printed->size = size;
    printed->count++;
    return printed->answer;
}

static struct kaon_sandbox *printing_sandbox(struct printed *printed)
{
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    ASSERT_OK(kaon_host_functions_print(set, note, printed, &err));
    sandbox = e2e_sandbox("basics", KAON_SANDBOX_OPTS(.host_functions = set));
    kaon_host_functions_destroy(set);
    return sandbox;
}

static void prints_of_2_to_16_arguments_reach_the_host(void **state)
{
    const struct kaon_value args[] = {
        kaon_string("Test"),     kaon_i32(-5),         kaon_i64(INT64_MIN),
        kaon_string("x y"),      kaon_string(""),      kaon_bool(true),
        kaon_bool(false),        kaon_u32(UINT32_MAX), kaon_u64(UINT64_MAX),
        kaon_i32(INT32_MAX),     kaon_f32(-3.1415f),   kaon_f64(2.5e-7),
        kaon_bytes("\0\1\2", 3), kaon_i32(0xbeef),     kaon_u32(8),
        kaon_string("end"),
    };
    static const struct {
        const char *function;
        size_t count;
        const char *text;
    } cases[] = {
        { "print2", 2, "Test -5.\n" },
        { "print5", 5, "Test -5 -9223372036854775808 x y .\n" },
        { "print11", 11,
          "Test -5 -9223372036854775808 x y  1 0 4294967295 "
          "18446744073709551615 2147483647 -3.141.\n" },
        { "print16", 16,
          "Test -5 -9223372036854775808 x y  1 0 4294967295 "
          "18446744073709551615 2147483647 -3.141 2.5e-07 3 beef 10 end.\n" },
    };
    struct printed printed = { .answer = 4711 };
    struct kaon_sandbox *sandbox = printing_sandbox(&printed);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        printed.answer = 4711 + (int32_t)i;
        ASSERT_RETURNS(printed.answer, sandbox, cases[i].function, args,
                       cases[i].count);
        assert_string_equal(printed.text, cases[i].text);
        assert_int_equal(printed.size, strlen(cases[i].text));
        assert_int_equal(printed.count, i + 1);
    }
    kaon_sandbox_destroy(sandbox);
}

static void a_long_print_arrives_in_one_piece(void **state)
{
    struct printed printed = { .answer = -1 };
    struct kaon_sandbox *sandbox = printing_sandbox(&printed);

    (void)state;
    ASSERT_RETURNS(-1, sandbox, "print_long", KAON_ARGS(kaon_u32(100000)));
    assert_int_equal(printed.count, 1);
    assert_int_equal(printed.size, 100000);
    kaon_sandbox_destroy(sandbox);
}

static void dropped_prints_answer_with_their_size(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();

    (void)state;
    ASSERT_RETURNS(9, sandbox, "print2",
                   KAON_ARGS(kaon_string("Test"), kaon_i32(-5)));
    kaon_sandbox_destroy(sandbox);
}

TESTS_NEED_KVM(TEST_ROW(1, integers_come_back_with_their_extremes),
               TEST_ROW(1, floats_come_back_with_signs_and_payloads),
               TEST_ROW(1, strings_come_back_empty_short_and_long),
               TEST_ROW(1, bytes_come_back_with_their_nuls),
               TEST_ROW(1, random_bits_come_back),
               TEST_ROW(1, all_types_cross_in_one_call),
               TEST_ROW(1, sixteen_arguments_arrive_in_order),
               TEST_ROW(1, a_function_without_result_returns_void),
               TEST_ROW(2, prints_of_2_to_16_arguments_reach_the_host),
               TEST_ROW(2, a_long_print_arrives_in_one_piece),
               TEST_ROW(2, dropped_prints_answer_with_their_size))

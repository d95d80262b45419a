/* SPDX-License-Identifier: Apache-2.0 */
/* Types and signatures: compared, checked, in words. */
#include "host/signature.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>
#include <kaon.h>

static const struct kaon_signature put = {
    .name = "put",
    .result = KAON_TYPE_BOOL,
    .count = 2,
    .params = { KAON_TYPE_STRING, KAON_TYPE_BYTES },
};

static void types_have_names(void **state)
{
    static const char *const names[] = { "void",   "i32",  "u32", "i64",
                                         "u64",    "f32",  "f64", "bool",
                                         "string", "bytes" };

    (void)state;
    for (uint32_t type = 0; type < KAON_TYPE_COUNT; type++)
        assert_string_equal(kaon_type_name(type), names[type]);
    assert_string_equal(kaon_type_name(KAON_TYPE_COUNT), "?");
    assert_string_equal(kaon_type_name(UINT32_MAX), "?");
}

static void a_signature_reads_well(void **state)
{
    const struct kaon_signature nothing = { .name = "nothing" };
    const struct kaon_signature unnamed = { .count = 1,
                                            .params = { KAON_TYPE_F64 } };
    char text[64];

    (void)state;
    assert_int_equal(kaon_signature_format(&put, text, sizeof text), 26);
    assert_string_equal(text, "put(string, bytes) -> bool");
    assert_int_equal(kaon_signature_format(&nothing, text, sizeof text), 17);
    assert_string_equal(text, "nothing() -> void");
    kaon_signature_format(&unnamed, text, sizeof text);
    assert_string_equal(text, "(f64) -> void");
}

static void a_small_buffer_gets_as_much_as_fits(void **state)
{
    char text[32], whole[32];

    (void)state;
    kaon_signature_format(&put, whole, sizeof whole);
    for (size_t size = 0; size < sizeof text; size++) {
        memset(text, '#', sizeof text);
        assert_int_equal(kaon_signature_format(&put, text, size), 26);
        if (size) {
            size_t length = size - 1 < 26 ? size - 1 : 26;

            assert_int_equal(strlen(text), length);
            assert_memory_equal(text, whole, length);
        }
        for (size_t i = size > 27 ? 27 : size; i < sizeof text; i++)
            assert_int_equal(text[i], '#');
    }
    assert_int_equal(kaon_signature_format(&put, NULL, 0), 26);
    assert_int_equal(kaon_signature_format(&put, NULL, 8), 0);
    assert_int_equal(kaon_signature_format(NULL, text, sizeof text), 0);
}

static void a_count_that_lies_is_not_believed(void **state)
{
    struct kaon_signature lying = put;
    char text[256];

    (void)state;
    lying.count = UINT32_MAX;
    kaon_signature_format(&lying, text, sizeof text);
    assert_non_null(strstr(text, "put(string, bytes, void"));
}

static void signatures_are_equal_by_their_types_alone(void **state)
{
    struct kaon_signature other = put;

    (void)state;
    other.name = "get";
    other.params[2] = KAON_TYPE_I32; /* past the last */
    assert_true(kaon__signature_equal(&put, &other));
    other.result = KAON_TYPE_VOID;
    assert_false(kaon__signature_equal(&put, &other));
    other = put;
    other.count = 1;
    assert_false(kaon__signature_equal(&put, &other));
    other = put;
    other.params[1] = KAON_TYPE_STRING;
    assert_false(kaon__signature_equal(&put, &other));
}

static void fits(const struct kaon_value *values, size_t count,
                 const char *words)
{
    struct kaon_error err = { 0 };
    enum kaon_status status = kaon__signature_check(&put, values, count, &err);

    if (!words) {
        assert_int_equal(status, KAON_OK);
        return;
    }
    assert_int_equal(status, KAON_EARGS);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

static void arguments_must_fit_the_signature(void **state)
{
    (void)state;
    fits(KAON_ARGS(kaon_string("a"), kaon_bytes("b", 1)), NULL);
    fits(KAON_NO_ARGS, "put takes 2 arguments, not 0: put(string, ");
    fits(KAON_ARGS(kaon_string("a")), "not 1");
    fits(KAON_ARGS(kaon_string("a"), kaon_bytes("b", 1), kaon_i32(1)), "not 3");
    fits(KAON_ARGS(kaon_string("a"), kaon_string("b")),
         "argument 2 of put is string, expected bytes");
    fits(KAON_ARGS(kaon_i32(1), kaon_bytes("b", 1)),
         "argument 1 of put is i32, expected string");
    fits(KAON_ARGS(kaon_void(), kaon_bytes("b", 1)),
         "argument 1 of put is void");
}

static void is_sound(struct kaon_value value, enum kaon_status status,
                     const char *words)
{
    struct kaon_error err = { 0 };

    assert_int_equal(kaon__value_check(&value, "it", &err), status);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

static void a_value_must_be_sound(void **state)
{
    struct kaon_value typeless = { .type = KAON_TYPE_COUNT };

    (void)state;
    is_sound(kaon_i32(-1), KAON_OK, "");
    is_sound(kaon_bool(true), KAON_OK, "");
    is_sound(kaon_string(""), KAON_OK, "");
    is_sound(kaon_bytes(NULL, 0), KAON_OK, "");
    is_sound(kaon_bytes("\0a", 2), KAON_OK, "");
    is_sound(kaon_void(), KAON_EINVAL, "it has no type");
    is_sound(typeless, KAON_EINVAL, "it has no type");
    is_sound(kaon_bytes(NULL, 1), KAON_EINVAL, "a size but no data");
    is_sound(kaon_string_n(NULL, 1), KAON_EINVAL, "a size but no data");
    is_sound(kaon_string_n("a\0b", 3), KAON_EARGS, "pass it as bytes");
    is_sound(kaon_string_n("ab", 3), KAON_EARGS, "a NUL inside");
    is_sound(kaon_bytes("a", SIZE_MAX), KAON_ETOOBIG, "1 GiB");
}

/* clang-format off */
TESTS(
    TEST(types_have_names),
    TEST(a_signature_reads_well),
    TEST(a_small_buffer_gets_as_much_as_fits),
    TEST(a_count_that_lies_is_not_believed),
    TEST(signatures_are_equal_by_their_types_alone),
    TEST_ROW(4, arguments_must_fit_the_signature),
    TEST(a_value_must_be_sound),
)

/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of strangers: read strictly; and what we write can be read. */
#include "host/json.h"
#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct kaon_json reader(const char *text)
{
    struct kaon_json json;

    kaon__json_begin(&json, text, strlen(text));
    return json;
}

static bool is_good(const char *text)
{
    struct kaon_json json = reader(text);

    kaon__json_skip(&json);
    return kaon__json_end(&json);
}

static void a_document_is_read_piece_by_piece(void **state)
{
    struct kaon_json json =
        reader(" {\"name\" : \"caf\\u00e9 \\ud83d\\ude00\\n\",\n\t\"more\": "
               "{\"x\": [1, -2.5e+3, null, {}]}, \"sizes\": [0, 1, "
               "18446744073709551615]}\r\n");
    uint64_t value, sum = 0;
    char text[32] = "";
    const char *key;
    unsigned skipped = 0;

    (void)state;
    assert_true(kaon__json_object(&json));
    while ((key = kaon__json_key(&json))) {
        if (strcmp(key, "name") == 0) {
            assert_true(kaon__json_string(&json, text, sizeof text));
        } else if (strcmp(key, "sizes") == 0) {
            assert_true(kaon__json_array(&json));
            while (kaon__json_item(&json) && kaon__json_u64(&json, &value))
                sum += value;
        } else {
            assert_true(kaon__json_skip(&json));
            skipped++;
        }
    }
    assert_true(kaon__json_end(&json));
    assert_string_equal(text, "caf\xc3\xa9 \xf0\x9f\x98\x80\n");
    assert_int_equal(sum, 0); /* 0 + 1 + (2^64 - 1) */
    assert_int_equal(skipped, 1);
}

static void what_is_json_is_passed_over(void **state)
{
    static const char *const good[] = {
        "{}",
        "[]",
        " [ ] ",
        "\"\"",
        "0",
        "-0",
        "-0.0",
        "1e9",
        "1E-9",
        "0.5",
        "true",
        "false",
        "null",
        "[[],[[]],{}]",
        "{\"\":{\"\":[]},\"a\":1}",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\"]",
        "\"\xf4\x8f\xbf\xbf\"",
        "\"\x7f\xed\x9f\xbf\xee\x80\x80\"",
        "123456789012345678901234567890",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        if (!is_good(good[i]))
            fail_msg("%s was refused", good[i]);
}

static void what_is_no_json_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1]",
        "[1}",
        "\"",
        "\"a",
        "\"\\",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\n\"",
        "\"\\udc00\"",
        "\"\n\"",
        "\"\x1f\"",
        "\"\x80\"",
        "\"\xc0\x80\"",
        "\"\xc1\xbf\"",
        "\"\xc3\"",
        "\"\xe0\x80\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf0\x80\x80\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "\"\xff\"",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "--1",
        "1-1",
        "1.5.5",
        "0x10",
        "nul",
        "tru",
        "True",
        "nan",
        "Infinity",
        "'a'",
        "[] []",
        "1 1",
        "/**/1",
        "\xef\xbb\xbf{}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (is_good(bad[i]))
            fail_msg("%s was taken", bad[i]);
}

static void depth_is_bounded(void **state)
{
    char text[2 * KAON_JSON_DEPTH_MAX + 3];

    (void)state;
    for (unsigned depth = 1; depth <= KAON_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        assert_int_equal(is_good(text), depth <= KAON_JSON_DEPTH_MAX);
    }
}

/* A million brackets cost a comparison each, and no stack. */
static void depth_costs_nothing(void **state)
{
    size_t size = 1000000;
    char *text = malloc(size);
    struct kaon_json json;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = "[{"[i % 2];
    kaon__json_begin(&json, text, size);
    assert_false(kaon__json_skip(&json));
    assert_true(json.at - json.start < 100);
    free(text);
}

static void a_number_is_what_64_bits_hold(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } rows[] = {
        { "0", true, 0 },
        { " 7 ", true, 7 },
        { "18446744073709551615", true, UINT64_MAX },
        { "18446744073709551616", false, 0 },
        { "18446744073709551620", false, 0 },
        { "99999999999999999999", false, 0 },
        { "100000000000000000000", false, 0 },
        { "-1", false, 0 },
        { "-0", false, 0 },
        { "1.0", false, 0 },
        { "1e2", false, 0 },
        { "00", false, 0 },
        { "\"1\"", false, 0 },
        { "", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct kaon_json json = reader(rows[i].text);
        uint64_t value = 42;
        bool good = kaon__json_u64(&json, &value) && kaon__json_end(&json);

        assert_int_equal(good, rows[i].good);
        assert_int_equal(value, rows[i].good ? rows[i].value : 42);
    }
}

static void a_string_must_fit_and_have_no_nul(void **state)
{
    struct kaon_json json = reader("\"abc\"");
    char text[4];

    (void)state;
    assert_true(kaon__json_string(&json, text, 4));
    assert_string_equal(text, "abc");
    json = reader("\"abc\"");
    assert_false(kaon__json_string(&json, text, 3));
    json = reader("\"a\\u0000\"");
    assert_false(kaon__json_string(&json, text, 4));
    json = reader("7");
    assert_false(kaon__json_string(&json, text, 4));
}

/* Of a key only the beginning is kept; it is like no key that is shorter. */
static void long_keys_are_like_no_other(void **state)
{
    char text[300] = "{\"";
    struct kaon_json json;
    const char *key;

    (void)state;
    for (size_t length = 1; length < 200; length++) {
        memset(text + 2, 'k', length);
        strcpy(text + 2 + length, "\xe2\x82\xac\":1}");
        json = reader(text);
        assert_true(kaon__json_object(&json));
        key = kaon__json_key(&json);
        assert_non_null(key);
        assert_int_equal(strlen(key),
                         length + 3 <= KAON_JSON_KEY_MAX ? length + 3
                         : length < KAON_JSON_KEY_MAX    ? length
                                                         : KAON_JSON_KEY_MAX);
        assert_true(kaon__json_skip(&json));
        assert_null(kaon__json_key(&json));
        assert_true(kaon__json_end(&json));
    }
    json = reader("{\"a\\u0000\":1}");
    assert_true(kaon__json_object(&json));
    assert_null(kaon__json_key(&json));
    assert_false(kaon__json_end(&json));
}

static void the_first_failure_sticks(void **state)
{
    struct kaon_json json = reader("[x, 1, \"a\", {}]");
    const char *error;
    uint64_t value;
    char text[8];

    (void)state;
    assert_true(kaon__json_array(&json) && kaon__json_item(&json));
    assert_false(kaon__json_u64(&json, &value));
    error = json.error;
    assert_non_null(error);
    assert_false(kaon__json_item(&json));
    assert_false(kaon__json_skip(&json));
    assert_false(kaon__json_object(&json));
    assert_false(kaon__json_array(&json));
    assert_false(kaon__json_string(&json, text, sizeof text));
    assert_null(kaon__json_key(&json));
    assert_false(kaon__json_fail(&json, "another"));
    assert_false(kaon__json_end(&json));
    assert_ptr_equal(json.error, error);
}

/* Nothing is read behind the last byte: ends are tried in their own memory. */
static void a_document_may_end_anywhere(void **state)
{
    static const char whole[] = "{\"a\": [1.5e3, \"\\u00e9\\ud83d\\ude00\xc3"
                                "\xa9\", true, null, {\"b\": -0}], \"c\": 7}";

    (void)state;
    assert_true(is_good(whole));
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        char *text = malloc(size ? size : 1);
        struct kaon_json json;

        assert_non_null(text);
        memcpy(text, whole, size);
        kaon__json_begin(&json, text, size);
        kaon__json_skip(&json);
        assert_false(kaon__json_end(&json));
        free(text);
    }
}

static void what_is_written_can_be_read(void **state)
{
    static const char name[] = "\"\\\n\x01 caf\xc3\xa9 \xff\xed\xa0\x80";
    static const char read[] = "\"\\\n\x01 caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd"
                               "\xef\xbf\xbd\xef\xbf\xbd";
    struct kaon_json_text text = { 0 };
    struct kaon_json json;
    char got[64];
    uint64_t value;

    (void)state;
    kaon__json_put_object(&text, NULL);
    kaon__json_put_array(&text, "list");
    kaon__json_put_u64(&text, NULL, UINT64_MAX);
    kaon__json_put_raw(&text, NULL, "{}", 2);
    kaon__json_put_array_end(&text);
    kaon__json_put_string(&text, "name", name);
    kaon__json_put_object_end(&text);
    assert_false(text.failed);

    kaon__json_begin(&json, text.text, text.size);
    assert_true(kaon__json_object(&json));
    assert_string_equal(kaon__json_key(&json), "list");
    assert_true(kaon__json_array(&json) && kaon__json_item(&json));
    assert_true(kaon__json_u64(&json, &value));
    assert_int_equal(value, UINT64_MAX);
    assert_true(kaon__json_item(&json) && kaon__json_skip(&json));
    assert_false(kaon__json_item(&json));
    assert_string_equal(kaon__json_key(&json), "name");
    assert_true(kaon__json_string(&json, got, sizeof got));
    assert_string_equal(got, read);
    assert_null(kaon__json_key(&json));
    assert_true(kaon__json_end(&json));
    free(text.text);
}

TESTS(TEST(a_document_is_read_piece_by_piece),
      TEST(what_is_json_is_passed_over), TEST(what_is_no_json_is_refused),
      TEST(depth_is_bounded), TEST(depth_costs_nothing),
      TEST(a_number_is_what_64_bits_hold),
      TEST(a_string_must_fit_and_have_no_nul),
      TEST(long_keys_are_like_no_other), TEST(the_first_failure_sticks),
      TEST(a_document_may_end_anywhere), TEST(what_is_written_can_be_read), )

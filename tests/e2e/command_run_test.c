/* SPDX-License-Identifier: Apache-2.0 */
/* kaon run: arguments in; results, outcomes and strangers' words out. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- run: arguments ---------------------------------------------------- */

static void each_type_is_read_and_printed(void **state)
{
    static const struct {
        const char *type, *given, *printed;
    } rows[] = {
        { "i32", "-2147483648", "-2147483648" },
        { "i32", "0x7fffffff", "2147483647" },
        { "u32", "4294967295", "4294967295" },
        { "i64", "-9223372036854775808", "-9223372036854775808" },
        { "i64", "-0x10", "-16" },
        { "u64", "0xffffffffffffffff", "18446744073709551615" },
        { "f32", "0.1", "0.1" },
        { "f32", "-inf", "-inf" },
        { "f64", "0.1", "0.1" },
        { "f64", "1e308", "1e+308" },
        { "f64", "-0", "-0" },
        { "f64", "nan", "nan" },
        { "bool", "true", "true" },
        { "bool", "0", "false" },
        { "string", "--json", "--json" },
        { "string", "", "" },
        { "bytes", "00fFa5", "00ffa5" },
        { "bytes", "", "" },
    };
    struct ran ran;

    (void)state;
    need_guests();
    for (size_t i = 0; i < COUNT(rows); i++) {
        char function[32], printed[64];

        snprintf(function, sizeof function, "echo_%s", rows[i].type);
        snprintf(printed, sizeof printed, "%s\n", rows[i].printed);
        RUN(&ran, "run", harness_guest("echo"), function, rows[i].given);
        assert_string_equal(ran.err, "");
        assert_string_equal(ran.out, printed);
        assert_int_equal(ran.status, 0);
    }
}

static void what_a_type_cannot_hold_is_refused(void **state)
{
    static const struct {
        const char *type, *given;
    } rows[] = {
        { "i32", "2147483648" },
        { "i32", "-2147483649" },
        { "i32", "0xffffffff" },
        { "i32", "" },
        { "i32", "-" },
        { "i32", "+1" },
        { "i32", " 1" },
        { "i32", "1 " },
        { "i32", "1.0" },
        { "i32", "0x" },
        { "i32", "0x0x1" },
        { "i32", "--1" },
        { "u32", "-1" },
        { "u32", "4294967296" },
        { "i64", "9223372036854775808" },
        { "i64", "-9223372036854775809" },
        { "u64", "18446744073709551616" },
        { "u64", "-0" },
        { "f32", "1e39" },
        { "f32", " 1" },
        { "f64", "1e309" },
        { "f64", "1,5" },
        { "f64", "nano" },
        { "bool", "yes" },
        { "bool", "True" },
        { "bytes", "0" },
        { "bytes", "0g" },
        { "bytes", "@/nowhere/at/all" },
    };
    struct ran ran;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char function[32], wanted[64];

        snprintf(function, sizeof function, "echo_%s", rows[i].type);
        snprintf(wanted, sizeof wanted, "argument 1, \"%s\": ", rows[i].given);
        RUN(&ran, "run", harness_guest("echo"), function, rows[i].given);
        assert_has(ran.err, wanted);
        assert_int_equal(ran.status, 2);
        assert_string_equal(ran.out, "");
    }
}

static void the_function_and_the_count_are_checked_first(void **state)
{
    struct ran ran;

    (void)state;
    RUN(&ran, "run", harness_guest("echo"), "ad", "1", "2");
    assert_int_equal(ran.status, 2);
    assert_has(ran.err, "did you mean add?");
    RUN(&ran, "run", harness_guest("echo"), "add", "1");
    assert_int_equal(ran.status, 2);
    assert_has(ran.err, "add(i32, i32) -> i32 takes 2 arguments, not 1");
    RUN(&ran, "run", harness_guest("echo"));
    assert_int_equal(ran.status, 2);
    assert_has(ran.err, "  add(i32, i32) -> i32\n");
}

static void a_file_is_passed_as_bytes(void **state)
{
    char path[] = "/tmp/kaon-command-XXXXXX", word[64];
    int fd = mkstemp(path);
    struct ran ran;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "A\0B", 3), 3);
    close(fd);
    snprintf(word, sizeof word, "@%s", path);
    RUN(&ran, "run", harness_guest("echo"), "echo_bytes", word);
    unlink(path);
    need_guests();
    assert_string_equal(ran.out, "410042\n");
}

static void a_name_that_is_not_listed_takes_typed_arguments(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    RUN(&ran, "run", harness_guest("fallback"), "sum", "i32:40", "i32:0x2");
    assert_string_equal(ran.out, "42\n");
    RUN(&ran, "run", harness_guest("fallback"), "sum", "40");
    assert_int_equal(ran.status, 2);
    assert_has(ran.err, "so say the type");
    RUN(&ran, "run", harness_guest("fallback"), "unknown");
    assert_int_equal(ran.status, 3);
}

static void options_reach_the_sandbox(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    RUN(&ran, "run", harness_guest("command"), "can_allocate", "20000000");
    assert_string_equal(ran.out, "false\n");
    RUN(&ran, "run", "--heap", "64M", harness_guest("command"), "can_allocate",
        "20000000");
    assert_string_equal(ran.out, "true\n");
    RUN(&ran, "run", "--exchange=4G", harness_guest("hello"), "hello");
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "exchange_bytes");
}

/* ---- run: outcomes ----------------------------------------------------- */

static void a_print_goes_before_the_result(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    RUN(&ran, "run", harness_guest("hello"), "hello");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.out,
                        "Hello, World! I am executing inside of a VM :)\n46\n");
    RUN(&ran, "run", "--json", harness_guest("hello"), "hello");
    assert_has(ran.out, "{\"status\": \"KAON_OK\", \"backend\": \"");
    assert_has(ran.out, "\", \"outcome\": \"RETURNED\", \"type\": \"i32\", "
                        "\"value\": 46}\n");
    assert_string_equal(ran.err,
                        "Hello, World! I am executing inside of a VM :)\n");
}

static void each_outcome_has_its_status_and_sentence(void **state)
{
    static const struct {
        const char *words[6];
        int status;
        const char *said, *outcome;
    } rows[] = {
        { { "fail", "-7", "no such key" },
          3,
          "kaon run: fail failed with code -7: no such key\n",
          "\"outcome\": \"GUEST_ERROR\", \"code\": -7, \"text\": \"no such "
          "key\"}\n" },
        { { "give_up", "25", "Oh no" },
          4,
          "kaon run: give_up aborted the guest with code 25: Oh no\n",
          "\"outcome\": \"ABORT\", \"code\": 25, \"text\": \"Oh no\"}\n" },
        { { "write_constant" },
          5,
          "at write_constant+0x",
          "\"fault\": {\"kind\": \"page fault\", \"access\": \"write\", " },
        { { "recurse", "0" },
          5,
          "stack overflow",
          "\"outcome\": \"STACK_OVERFLOW\", " },
        { { "spin" }, 6, "deadline", "\"outcome\": \"DEADLINE\", " },
    };
    struct ran ran;

    (void)state;
    need_guests();
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *words[WORDS_MAX] = { "run", "--deadline", "2s",
                                         harness_guest("command") };

        memcpy(words + 4, rows[i].words, sizeof rows[i].words);
        run(&ran, words);
        assert_has(ran.err, rows[i].said);
        assert_int_equal(ran.status, rows[i].status);
        assert_string_equal(ran.out, "");

        words[1] = "--json";
        words[2] = "--deadline=2s";
        run(&ran, words);
        assert_has(ran.out, rows[i].outcome);
        assert_int_equal(ran.status, rows[i].status);
        assert_string_equal(ran.err, "");
    }
}

static void a_fault_is_told_in_full_if_asked(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    RUN(&ran, "run", harness_guest("command"), "write_constant");
    assert_has_not(ran.err, "registers:");
    RUN(&ran, "run", "-v", harness_guest("command"), "write_constant");
    assert_int_equal(ran.status, 5);
    assert_has(ran.err, "registers:\n  rax ");
    assert_has(ran.err, "rip ");
    assert_has(ran.err, "backtrace:\n  0x");
    assert_has(ran.err, "  write_constant+0x");
}

static void a_missing_host_function_is_named(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    RUN(&ran, "run", harness_guest("basics"), "count");
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "HostAdd");
}

/* ---- run: what strangers say ------------------------------------------- */

static void json_stays_json_whatever_the_guest_says(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    RUN(&ran, "run", "--json", harness_guest("command"), "dirt");
    assert_has(
        ran.out,
        "\"outcome\": \"RETURNED\", \"type\": "
        "\"string\", \"value\": \"\\u001b[31m\\\"caf\\ufffd\\\"\\\\\\n\", "
        "\"value_hex\": \"1b5b33316d22636166e9225c0a\"}\n");
    RUN(&ran, "run", "--json", harness_guest("command"), "fail_with_dirt");
    assert_has(ran.out, "\"text_hex\": \"1b5b33316d22636166e9225c0a\"}\n");
    RUN(&ran, "run", "--json", harness_guest("echo"), "echo_f64", "-inf");
    assert_has(ran.out, "\"value\": \"-Infinity\"}\n");
    RUN(&ran, "run", "--json", harness_guest("echo"), "echo_f32", "0.1");
    assert_has(ran.out, "\"value\": 0.1}\n");
    RUN(&ran, "run", "--json", harness_guest("echo"), "nothing");
    assert_has(ran.out, "\"type\": \"void\", \"value\": null}\n");
}

static void a_pipe_gets_the_bytes_as_they_are(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    RUN(&ran, "run", harness_guest("command"), "print_dirt");
    assert_string_equal(ran.out, "\x1b[31m\"caf\xe9\"\\\n");
}

static void a_terminal_gets_no_control_bytes(void **state)
{
    static const char *const functions[] = { "dirt", "print_dirt",
                                             "fail_with_dirt" };
    char text[4096];

    (void)state;
    need_guests();
    for (size_t i = 0; i < COUNT(functions); i++) {
        const char *const words[] = { "run", harness_guest("command"),
                                      functions[i], NULL };

        run_on_terminal(words, text, sizeof text);
        assert_has(text, "\\x1b[31m\"caf\\xe9\"\\");
        assert_has_not(text, "\x1b");
        assert_has_not(text, "\xe9");
    }
    run_on_terminal((const char *const[]){ "run", harness_guest("command"),
                                           "print", "caf\xc3\xa9 \xc2\x9b",
                                           NULL },
                    text, sizeof text);
    assert_has(text, "caf\xc3\xa9 \\xc2\\x9b");
}

/* clang-format off */
TESTS(
    TEST(each_type_is_read_and_printed),
    TEST(what_a_type_cannot_hold_is_refused),
    TEST_ROW(3, the_function_and_the_count_are_checked_first),
    TEST(a_file_is_passed_as_bytes),
    TEST_ROW(6, a_name_that_is_not_listed_takes_typed_arguments),
    TEST(options_reach_the_sandbox),
    TEST(a_print_goes_before_the_result),
    TEST(each_outcome_has_its_status_and_sentence),
    TEST(a_fault_is_told_in_full_if_asked),
    TEST_ROW(5, a_missing_host_function_is_named),
    TEST(json_stays_json_whatever_the_guest_says),
    TEST(a_pipe_gets_the_bytes_as_they_are),
    TEST(a_terminal_gets_no_control_bytes),
)

/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions that fail, guests that fail, guests that give up. */
#include "e2e/e2e.h"

#include <stdlib.h>

/* Fails with the number of the call, and says so. */
static int host_fail_counting(struct kaon_host_call *call,
                              const struct kaon_value *args,
                              struct kaon_value *result, void *user)
{
    int32_t *count = user;
    char text[64];

    (void)args;
    (void)result;
    snprintf(text, sizeof text, "failure number %d", ++*count);
    return kaon_host_fail(call, -*count, text);
}

static int host_unused(struct kaon_host_call *call,
                       const struct kaon_value *args, struct kaon_value *result,
                       void *user)
{
    (void)args;
    (void)result;
    (void)user;
    return kaon_host_fail(call, 1, "not in this test");
}

/* "basics" with a HostFail of the test's own. */
static struct kaon_sandbox *failing_sandbox(kaon_host_function fail, void *user)
{
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostAdd", KAON_TYPE_I32,
                                      KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                      host_unused, NULL, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostFail", KAON_TYPE_VOID,
                                      KAON_NO_PARAMS, fail, user, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostEcho", KAON_TYPE_STRING,
                                      KAON_PARAMS(KAON_TYPE_STRING),
                                      host_unused, NULL, &err));
    sandbox = e2e_sandbox("basics", KAON_SANDBOX_OPTS(.host_functions = set));
    kaon_host_functions_destroy(set);
    return sandbox;
}

static const char *fail_times(struct kaon_sandbox *sandbox,
                              struct kaon_outcome *out, uint32_t times)
{
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_call(sandbox, out, "host_fail", KAON_ARGS(kaon_u32(times)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, *out);
    return out->value.span.data;
}

static void a_host_function_fails_1000_times_in_a_row(void **state)
{
    const uint32_t times = e2e_scaled(1000);
    int32_t count = 0;
    struct kaon_sandbox *sandbox = failing_sandbox(host_fail_counting, &count);
    struct kaon_sandbox_stats before, after;
    struct kaon_outcome out;
    char expected[64];

    (void)state;
    fail_times(sandbox, &out, 10);
    kaon_sandbox_stats(sandbox, &before);
    snprintf(expected, sizeof expected, "1: code %d, failure number %u",
             -(int32_t)times - 10, times + 10);
    assert_string_equal(fail_times(sandbox, &out, times), expected);
    assert_int_equal(count, times + 10);
    kaon_sandbox_stats(sandbox, &after);
    assert_int_equal(after.host_calls - before.host_calls, times);
    assert_int_equal(after.memory_bytes, before.memory_bytes);
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    kaon_sandbox_destroy(sandbox);
}

/* Fails with a text that is longer than any is kept, or with none. */
static int host_fail_at_length(struct kaon_host_call *call,
                               const struct kaon_value *args,
                               struct kaon_value *result, void *user)
{
    const size_t *size = user;
    char *text;
    int failed;

    (void)args;
    (void)result;
    if (!*size)
        return kaon_host_fail(call, INT32_MIN, NULL);
    text = malloc(*size + 1);
    if (!text)
        return kaon_host_fail(call, 1, "out of memory");
    memset(text, 'z', *size);
    text[*size] = '\0';
    failed = kaon_host_fail(call, INT32_MAX, text);
    free(text);
    return failed;
}

static void the_text_of_a_host_failure_is_cut_not_refused(void **state)
{
    size_t size = 1 << 20;
    struct kaon_sandbox *sandbox = failing_sandbox(host_fail_at_length, &size);
    struct kaon_outcome out;
    const char *text;

    (void)state;
    /* The guest keeps 255 bytes of what it says of it. */
    text = fail_times(sandbox, &out, 1);
    ASSERT_CONTAINS(text, "1: code 2147483647, zzzz");
    assert_int_equal(strlen(text), 255);
    size = 0;
    assert_string_equal(fail_times(sandbox, &out, 1), "1: code -2147483648, ");
    kaon_sandbox_destroy(sandbox);
}

static int host_fail_mutely(struct kaon_host_call *call,
                            const struct kaon_value *args,
                            struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)user;
    *result = kaon_i32(1); /* of no matter */
    return 5;
}

static void a_host_function_may_fail_without_a_word(void **state)
{
    struct kaon_sandbox *sandbox = failing_sandbox(host_fail_mutely, NULL);
    struct kaon_outcome out;

    (void)state;
    assert_string_equal(fail_times(sandbox, &out, 1), "1: code -1, ");
    kaon_sandbox_destroy(sandbox);
}

static void a_guest_error_has_code_and_text(void **state)
{
    static const int32_t codes[] = { 0, 1, -1, INT32_MAX, INT32_MIN };
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        ASSERT_OK(kaon_call(
            sandbox, &out, "fail",
            KAON_ARGS(kaon_i32(codes[i]), kaon_string("gr\xc3\xbcn\n")), NULL,
            &err));
        ASSERT_OUTCOME(KAON_GUEST_ERROR, out);
        assert_int_equal(out.code, codes[i]);
        assert_string_equal(out.text, "gr\xc3\xbcn\n");
        ASSERT_RETURNS((int32_t)i + 1, sandbox, "count", KAON_NO_ARGS);
    }
    ASSERT_OK(kaon_call(sandbox, &out, "fail",
                        KAON_ARGS(kaon_i32(2), kaon_string("")), NULL, &err));
    ASSERT_OUTCOME(KAON_GUEST_ERROR, out);
    assert_string_equal(out.text, "");
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    kaon_sandbox_destroy(sandbox);
}

/* Poisoned: each way to use it is refused, and the guest is not entered. */
static void assert_poisoned(struct kaon_sandbox *sandbox)
{
    struct kaon_sandbox_stats before, after;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    void *buffer;

    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
    kaon_sandbox_stats(sandbox, &before);
    ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                   kaon_call(sandbox, &out, "count", KAON_NO_ARGS, NULL, &err));
    ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                   kaon_sandbox_init(sandbox, &out, NULL, &err));
    ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                   kaon_sandbox_buffer(sandbox, &buffer, 8, &err));
    kaon_sandbox_stats(sandbox, &after);
    assert_memory_equal(&before, &after, sizeof before);
}

static void an_abort_has_code_and_text_and_poisons(void **state)
{
    static const struct {
        int32_t code;
        const char *text;
    } aborts[] = { { 0, "" }, { 25, "Oh no" }, { -1, "%s%n" } };
    struct kaon_sandbox *other = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof aborts / sizeof aborts[0]; i++) {
        struct kaon_sandbox *sandbox = e2e_basics();

        ASSERT_OK(kaon_call(
            sandbox, &out, "abort",
            KAON_ARGS(kaon_i32(aborts[i].code), kaon_string(aborts[i].text)),
            NULL, &err));
        ASSERT_OUTCOME(KAON_ABORT, out);
        assert_int_equal(out.code, aborts[i].code);
        assert_string_equal(out.text, aborts[i].text);
        assert_poisoned(sandbox);
        ASSERT_RETURNS((int32_t)i + 1, other, "count", KAON_NO_ARGS);
        kaon_sandbox_destroy(sandbox);
    }
    kaon_sandbox_destroy(other);
}

static void the_text_of_an_abort_is_cut_not_refused(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "abort_long",
                        KAON_ARGS(kaon_i32(25), kaon_u32(1 << 20)), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_ABORT, out);
    assert_int_equal(out.code, 25);
    assert_int_equal(strlen(out.text), KAON_OUTCOME_TEXT - 1);
    assert_int_equal(strspn(out.text, "x"), KAON_OUTCOME_TEXT - 1);
    assert_poisoned(sandbox);
    kaon_sandbox_destroy(sandbox);
}

TESTS_NEED_KVM(TEST_ROW(7, a_host_function_fails_1000_times_in_a_row),
               TEST_ROW(7, the_text_of_a_host_failure_is_cut_not_refused),
               TEST_ROW(7, a_host_function_may_fail_without_a_word),
               TEST_ROW(8, a_guest_error_has_code_and_text),
               TEST_ROW(9, an_abort_has_code_and_text_and_poisons),
               TEST_ROW(9, the_text_of_an_abort_is_cut_not_refused))

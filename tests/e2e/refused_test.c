/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are wrong are refused before the guest is entered. */
#include "e2e/e2e.h"

static void an_unknown_name_is_refused_with_the_nearest(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_RETURNS(5, sandbox, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    ASSERT_REFUSED(
        KAON_ENOFUNC, "ecko_string",
        kaon_call(sandbox, &out, "ecko_string", KAON_NO_ARGS, NULL, &err));
    ASSERT_CONTAINS(err.text, "echo_string");
    ASSERT_CONTAINS(err.text, "echo.elf");
    ASSERT_REFUSED(KAON_ENOFUNC, "quite_different",
                   kaon_call(sandbox, &out, "quite_different",
                             KAON_ARGS(kaon_i32(1)), NULL, &err));
    assert_null(strstr(err.text, "did you mean"));
    assert_int_equal(e2e_stats(sandbox).calls, 1);
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    ASSERT_RETURNS(5, sandbox, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    kaon_sandbox_destroy(sandbox);
}

static void an_unknown_name_is_not_found_either(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_function function = { NULL, 4711 };
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_REFUSED(KAON_ENOFUNC, "echo_i32",
                   kaon_function_find(&function, image, "echo_i3", &err));
    assert_int_equal(function.index, 4711);
    kaon_image_destroy(image);
}

static void an_absurdly_long_name_is_refused(void **state)
{
    static const char *const guests[] = { "echo", "fallback" };
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char name[5000];

    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < 2; i++) {
        struct kaon_sandbox *sandbox = e2e_sandbox(guests[i], NULL);

        ASSERT_REFUSED(
            KAON_ENOFUNC, NULL,
            kaon_call(sandbox, &out, name, KAON_NO_ARGS, NULL, &err));
        assert_int_equal(e2e_stats(sandbox).calls, 0);
        kaon_sandbox_destroy(sandbox);
    }
}

static void wrong_types_are_refused_with_both_types(void **state)
{
    const struct kaon_value wrong[] = {
        kaon_void(),     kaon_u32(3),      kaon_i64(3),
        kaon_u64(3),     kaon_f32(3),      kaon_f64(3),
        kaon_bool(true), kaon_string("3"), kaon_bytes("3", 1),
    };
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *given = kaon_type_name(wrong[i].type);

        ASSERT_REFUSED(KAON_EARGS, given,
                       kaon_call(sandbox, &out, "add",
                                 KAON_ARGS(kaon_i32(2), wrong[i]), NULL, &err));
        ASSERT_CONTAINS(err.text, "argument 2");
        ASSERT_CONTAINS(err.text, "add");
        ASSERT_CONTAINS(err.text, "i32");
    }
    assert_int_equal(e2e_stats(sandbox).calls, 0);
    ASSERT_RETURNS(5, sandbox, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    kaon_sandbox_destroy(sandbox);
}

static void a_type_that_does_not_exist_is_refused(void **state)
{
    struct kaon_sandbox *sandboxes[] = { e2e_sandbox("echo", NULL),
                                         e2e_sandbox("fallback", NULL) };
    static const char *const functions[] = { "echo_i32", "anything" };
    struct kaon_value value = kaon_i32(1);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int i = 0; i < 2; i++) {
        for (uint32_t type = KAON_TYPE_COUNT; type; type *= 3) {
            value.type = type;
            assert_int_not_equal(kaon_call(sandboxes[i], &out, functions[i],
                                           &value, 1, NULL, &err),
                                 KAON_OK);
            ASSERT_CONTAINS(err.text, functions[i]);
            if (type > UINT32_MAX / 3)
                break;
        }
        value.type = UINT32_MAX;
        assert_int_not_equal(
            kaon_call(sandboxes[i], &out, functions[i], &value, 1, NULL, &err),
            KAON_OK);
        assert_int_equal(e2e_stats(sandboxes[i]).calls, 0);
        kaon_sandbox_destroy(sandboxes[i]);
    }
}

static void a_wrong_count_is_refused_with_both_counts(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_value args[20];
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < 20; i++)
        args[i] = kaon_i32(1);
    for (size_t count = 0; count < 20; count++) {
        char given[8];

        if (count == 2)
            continue;
        snprintf(given, sizeof given, "not %zu", count);
        ASSERT_REFUSED(
            KAON_EARGS, given,
            kaon_call(sandbox, &out, "add", args, count, NULL, &err));
        ASSERT_CONTAINS(err.text, "add(i32, i32) -> i32");
    }
    ASSERT_REFUSED(KAON_EARGS, NULL,
                   kaon_call(sandbox, &out, "add", args, SIZE_MAX, NULL, &err));
    assert_int_equal(e2e_stats(sandbox).calls, 0);
    ASSERT_RETURNS(2, sandbox, "add", args, 2);
    kaon_sandbox_destroy(sandbox);
}

static void a_string_with_a_nul_inside_is_refused(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_REFUSED(KAON_EARGS, "bytes",
                   kaon_call(sandbox, &out, "echo_string",
                             KAON_ARGS(kaon_string_n("a\0b", 3)), NULL, &err));
    assert_int_equal(e2e_stats(sandbox).calls, 0);
    kaon_sandbox_destroy(sandbox);
}

static void a_handle_calls_only_sandboxes_of_its_image(void **state)
{
    struct kaon_image *image = e2e_image("echo"), *same = e2e_image("echo");
    struct kaon_function function, past;
    struct kaon_sandbox *own, *other;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_sandbox_create(&own, image, NULL, &err));
    ASSERT_OK(kaon_sandbox_create(&other, same, NULL, &err));
    ASSERT_OK(kaon_function_find(&function, image, "add", &err));
    ASSERT_OK(kaon_function_call(
        own, &out, function, KAON_ARGS(kaon_i32(40), kaon_i32(2)), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.i32, 42);
    ASSERT_REFUSED(KAON_EINVAL, "echo.elf",
                   kaon_function_call(other, &out, function,
                                      KAON_ARGS(kaon_i32(40), kaon_i32(2)),
                                      NULL, &err));
    ASSERT_REFUSED(
        KAON_EARGS, "add",
        kaon_function_call(own, &out, function, KAON_NO_ARGS, NULL, &err));
    past = (struct kaon_function){ .image = image, .index = UINT32_MAX };
    ASSERT_REFUSED(
        KAON_EINVAL, NULL,
        kaon_function_call(own, &out, past, KAON_NO_ARGS, NULL, &err));
    kaon_sandbox_destroy(own);
    kaon_sandbox_destroy(other);
    kaon_image_destroy(image);
    kaon_image_destroy(same);
}

/* ---- Imports ----------------------------------------------------------- */

static int host_nothing(struct kaon_host_call *call,
                        const struct kaon_value *args,
                        struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    *result = *(const struct kaon_value *)user;
    return 0;
}

static void missing_imports_are_refused_and_listed(void **state)
{
    struct kaon_image *image = e2e_image("basics");
    struct kaon_value two = kaon_i32(2);
    struct kaon_host_functions *set;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_REFUSED(KAON_EIMPORT, "HostAdd",
                   kaon_sandbox_create(&sandbox, image, NULL, &err));
    ASSERT_CONTAINS(err.text, "HostFail");
    ASSERT_CONTAINS(err.text, "HostEcho");
    ASSERT_CONTAINS(err.text, "basics.elf");
    assert_null(strstr(err.text, "HostPrint"));

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostAdd", KAON_TYPE_I32,
                                      KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                      host_nothing, &two, &err));
    ASSERT_REFUSED(KAON_EIMPORT, "HostFail",
                   kaon_sandbox_create(&sandbox, image,
                                       KAON_SANDBOX_OPTS(.host_functions = set),
                                       &err));
    assert_null(strstr(err.text, "HostAdd"));
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
}

static void an_import_of_other_types_is_refused_with_both(void **state)
{
    struct kaon_image *image = e2e_image("basics");
    struct kaon_value two = kaon_i32(2);
    struct kaon_host_functions *set;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostAdd", KAON_TYPE_I32,
                                      KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I64),
                                      host_nothing, &two, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostFail", KAON_TYPE_VOID,
                                      KAON_NO_PARAMS, host_nothing, &two,
                                      &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostEcho", KAON_TYPE_STRING,
                                      KAON_PARAMS(KAON_TYPE_STRING),
                                      host_nothing, &two, &err));
    ASSERT_REFUSED(KAON_EIMPORT, "HostAdd(i32, i32) -> i32",
                   kaon_sandbox_create(&sandbox, image,
                                       KAON_SANDBOX_OPTS(.host_functions = set),
                                       &err));
    ASSERT_CONTAINS(err.text, "HostAdd(i32, i64) -> i32");
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
}

static void a_name_looked_up_at_run_time_is_an_error_value(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "host_by_name",
                        KAON_ARGS(kaon_string("NoSuchFunction")), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    ASSERT_CONTAINS(out.value.span.data, "2: code 1,"); /* REFUSED, UNKNOWN */
    ASSERT_CONTAINS(out.value.span.data, "no such function");
    /* It is there, but takes two arguments. */
    ASSERT_OK(kaon_call(sandbox, &out, "host_by_name",
                        KAON_ARGS(kaon_string("HostAdd")), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    ASSERT_CONTAINS(out.value.span.data, "2: code 2,"); /* ARGUMENTS */
    ASSERT_CONTAINS(out.value.span.data, "HostAdd");
    ASSERT_OK(kaon_call(sandbox, &out, "host_by_name",
                        KAON_ARGS(kaon_string("HostFail")), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    ASSERT_CONTAINS(out.value.span.data, "1: code 7, no luck");
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    kaon_sandbox_destroy(sandbox);
}

/* A host function that does not keep to its registration is the host's bug. */
static void a_host_function_with_another_result_fails_the_call(void **state)
{
    const struct kaon_value wrong[] = {
        kaon_void(),
        kaon_i64(2),
        kaon_string("2"),
        { .type = 77 },
    };
    struct kaon_image *image = e2e_image("basics");
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct kaon_value value = wrong[i];
        struct kaon_host_functions *set;
        struct kaon_sandbox *sandbox;

        ASSERT_OK(kaon_host_functions_create(&set, &err));
        ASSERT_OK(
            kaon_host_functions_add(set, "HostAdd", KAON_TYPE_I32,
                                    KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                    host_nothing, &value, &err));
        ASSERT_OK(kaon_host_functions_add(set, "HostFail", KAON_TYPE_VOID,
                                          KAON_NO_PARAMS, host_nothing, &value,
                                          &err));
        ASSERT_OK(kaon_host_functions_add(set, "HostEcho", KAON_TYPE_STRING,
                                          KAON_PARAMS(KAON_TYPE_STRING),
                                          host_nothing, &value, &err));
        ASSERT_OK(kaon_sandbox_create(
            &sandbox, image, KAON_SANDBOX_OPTS(.host_functions = set), &err));
        kaon_host_functions_destroy(set);
        ASSERT_REFUSED(KAON_EINVAL, "HostAdd",
                       kaon_call(sandbox, &out, "host_add",
                                 KAON_ARGS(kaon_i32(1), kaon_i32(1)), NULL,
                                 &err));
        assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
        kaon_sandbox_destroy(sandbox);
    }
    kaon_image_destroy(image);
}

/* ---- Dynamic guests ---------------------------------------------------- */

static void a_fallback_dispatcher_gets_unknown_names(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("fallback", NULL);
    struct kaon_value args[KAON_PARAMS_MAX + 1];
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i <= KAON_PARAMS_MAX; i++)
        args[i] = kaon_i32((int32_t)i);
    ASSERT_RETURNS(1, sandbox, "known", KAON_NO_ARGS);
    ASSERT_RETURNS(120, sandbox, "sum", args, KAON_PARAMS_MAX);
    ASSERT_OK(kaon_call(sandbox, &out, "whatever it is",
                        KAON_ARGS(kaon_string("a"), kaon_f64(2)), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_string_equal(out.value.span.data,
                        "fallback: whatever it is with 2 arguments");
    ASSERT_OK(kaon_call(sandbox, &out, "unknown", KAON_NO_ARGS, NULL, &err));
    ASSERT_OUTCOME(KAON_GUEST_REFUSED, out);
    assert_int_equal(out.code, KAON_REFUSED_UNKNOWN);
    ASSERT_CONTAINS(out.text, "unknown");
    ASSERT_REFUSED(
        KAON_EARGS, "17",
        kaon_call(sandbox, &out, "sum", args, KAON_PARAMS_MAX + 1, NULL, &err));
    /* What it exports is checked all the same. */
    ASSERT_REFUSED(KAON_EARGS, "known",
                   kaon_call(sandbox, &out, "known", args, 1, NULL, &err));
    ASSERT_RETURNS(1, sandbox, "known", KAON_NO_ARGS);
    kaon_sandbox_destroy(sandbox);
}

static void a_function_registered_at_run_time_can_be_called(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "times_6", KAON_ARGS(kaon_i64(7)), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_GUEST_REFUSED, out);
    ASSERT_OK(kaon_call(sandbox, &out, "register_multiply",
                        KAON_ARGS(kaon_string("times_6"), kaon_i64(6)), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    ASSERT_OK(kaon_call(sandbox, &out, "times_6", KAON_ARGS(kaon_i64(7)), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.type, KAON_TYPE_I64);
    assert_int_equal(out.value.i64, 42);
    /* Its types are the guest's to check. */
    ASSERT_OK(kaon_call(sandbox, &out, "times_6", KAON_ARGS(kaon_i32(7)), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_GUEST_REFUSED, out);
    assert_int_equal(out.code, KAON_REFUSED_ARGUMENTS);
    ASSERT_CONTAINS(out.text, "i64");
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    kaon_sandbox_destroy(sandbox);
}

TESTS_NEED_KVM(TEST_ROW(3, an_unknown_name_is_refused_with_the_nearest),
               TEST_ROW(3, an_unknown_name_is_not_found_either),
               TEST_ROW(3, an_absurdly_long_name_is_refused),
               TEST_ROW(4, wrong_types_are_refused_with_both_types),
               TEST_ROW(4, a_type_that_does_not_exist_is_refused),
               TEST_ROW(4, a_wrong_count_is_refused_with_both_counts),
               TEST_ROW(4, a_string_with_a_nul_inside_is_refused),
               TEST_ROW(4, a_handle_calls_only_sandboxes_of_its_image),
               TEST_ROW(5, missing_imports_are_refused_and_listed),
               TEST_ROW(5, an_import_of_other_types_is_refused_with_both),
               TEST_ROW(5, a_name_looked_up_at_run_time_is_an_error_value),
               TEST_ROW(5, a_host_function_with_another_result_fails_the_call),
               TEST_ROW(6, a_fallback_dispatcher_gets_unknown_names),
               TEST_ROW(6, a_function_registered_at_run_time_can_be_called))

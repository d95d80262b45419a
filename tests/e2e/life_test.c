/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox from its creation to its end; what lasts from call to call. */
#include "e2e/e2e.h"
#include "support/isolation.h"

static void creating_a_sandbox_runs_nothing_of_the_guest(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("init_spins", NULL);

    (void)state;
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    assert_string_equal(kaon_sandbox_backend(sandbox),
                        isolation_is_process() ? "process" : "kvm");
    assert_int_equal(e2e_stats(sandbox).calls, 0);
    assert_int_equal(e2e_stats(sandbox).exits, 0);
    kaon_sandbox_destroy(sandbox);
}

static void constructors_and_init_run_once_in_their_order(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int explicit = 0; explicit < 2; explicit ++) {
        struct kaon_sandbox *sandbox = e2e_basics();

        for (int i = 0; explicit && i < 3; i++) {
            ASSERT_OK(kaon_sandbox_init(sandbox, &out, NULL, &err));
            ASSERT_OUTCOME(KAON_RETURNED, out);
            assert_int_equal(out.value.type, KAON_TYPE_VOID);
        }
        ASSERT_RETURNS(123, sandbox, "init_order", KAON_NO_ARGS);
        ASSERT_RETURNS(123, sandbox, "init_order", KAON_NO_ARGS);
        kaon_sandbox_destroy(sandbox);
    }
}

static void an_initialisation_that_fails_poisons(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int explicit = 0; explicit < 2; explicit ++) {
        struct kaon_sandbox *sandbox = e2e_sandbox("init_fails", NULL);

        if (explicit)
            ASSERT_OK(kaon_sandbox_init(sandbox, &out, NULL, &err));
        else
            ASSERT_OK(
                kaon_call(sandbox, &out, "never", KAON_NO_ARGS, NULL, &err));
        ASSERT_OUTCOME(KAON_ABORT, out);
        assert_int_equal(out.code, 3);
        assert_string_equal(out.text, "nothing works today");
        assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
        ASSERT_REFUSED(
            KAON_EPOISONED, "poisoned",
            kaon_call(sandbox, &out, "never", KAON_NO_ARGS, NULL, &err));
        kaon_sandbox_destroy(sandbox);
    }
}

static void
state_lasts_from_call_to_call_and_is_each_sandbox_s_own(void **state)
{
    struct kaon_sandbox *a = e2e_basics(), *b = e2e_basics();

    (void)state;
    for (int32_t i = 1; i <= 100; i++) {
        ASSERT_RETURNS(i, a, "count", KAON_NO_ARGS);
        if (i % 2 == 0)
            ASSERT_RETURNS(i / 2, b, "count", KAON_NO_ARGS);
    }
    kaon_sandbox_destroy(a);
    ASSERT_RETURNS(51, b, "count", KAON_NO_ARGS);
    kaon_sandbox_destroy(b);
}

static void a_sandbox_keeps_what_it_was_made_of(void **state)
{
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_image *image = e2e_image("basics");
    struct kaon_domain *domain;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.domain = domain, .host_functions = set), &err));
    kaon_host_functions_destroy(set);
    kaon_domain_destroy(domain);
    kaon_image_destroy(image);
    ASSERT_RETURNS(7, sandbox, "host_add", KAON_ARGS(kaon_i32(3), kaon_i32(4)));
    kaon_sandbox_destroy(sandbox);
}

static void a_set_of_host_functions_is_fixed_once_it_is_used(void **state)
{
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_sandbox *sandbox =
        e2e_sandbox("basics", KAON_SANDBOX_OPTS(.host_functions = set));
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_REFUSED(KAON_EINVAL, "uses the set",
                   kaon_host_functions_print(set, NULL, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "Another",
                   kaon_host_functions_add(set, "Another", KAON_TYPE_VOID,
                                           KAON_NO_PARAMS,
                                           (kaon_host_function)1, NULL, &err));
    kaon_host_functions_destroy(set);
    kaon_sandbox_destroy(sandbox);
}

static void the_heap_has_the_size_that_was_asked_for(void **state)
{
    const uint64_t sizes[] = { 1, 64 << 10, 1 << 20, 100 << 20 };
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kaon_sandbox *sandbox =
            e2e_sandbox("basics", KAON_SANDBOX_OPTS(.host_functions = set,
                                                    .heap_bytes = sizes[i]));
        uint64_t whole = (sizes[i] + 4095) & ~UINT64_C(4095);

        ASSERT_OK(
            kaon_call(sandbox, &out, "heap_free", KAON_NO_ARGS, NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_true(out.value.u64 <= whole);
        assert_true(out.value.u64 >= whole - whole / 16 - 2048);
        ASSERT_OK(kaon_call(sandbox, &out, "can_allocate",
                            KAON_ARGS(kaon_u64(whole / 2)), NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_true(out.value.boolean);
        ASSERT_OK(kaon_call(sandbox, &out, "can_allocate",
                            KAON_ARGS(kaon_u64(whole + 1)), NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_false(out.value.boolean);
        kaon_sandbox_destroy(sandbox);
    }
    kaon_host_functions_destroy(set);
}

static void the_stack_has_the_size_that_was_asked_for(void **state)
{
    const uint64_t sizes[] = { 16 << 10, 256 << 10, 8 << 20 };
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kaon_sandbox *sandbox =
            e2e_sandbox("basics", KAON_SANDBOX_OPTS(.host_functions = set,
                                                    .stack_bytes = sizes[i]));

        ASSERT_OK(
            kaon_call(sandbox, &out, "stack_free", KAON_NO_ARGS, NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_in_range(out.value.u64, sizes[i] - 4096, sizes[i]);
        ASSERT_OK(kaon_call(sandbox, &out, "use_stack",
                            KAON_ARGS(kaon_u64(sizes[i] - 4096)), NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        ASSERT_OK(kaon_call(sandbox, &out, "use_stack",
                            KAON_ARGS(kaon_u64(sizes[i] + 4096)), NULL, &err));
        ASSERT_OUTCOME(KAON_STACK_OVERFLOW, out);
        kaon_sandbox_destroy(sandbox);
    }
    kaon_host_functions_destroy(set);
}

static void floating_point_and_the_red_zone_just_work(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "hypotenuse",
                        KAON_ARGS(kaon_f64(3), kaon_f64(4)), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_true(out.value.f64 == 5.0);
    ASSERT_OK(
        kaon_call(sandbox, &out, "dot", KAON_ARGS(kaon_u32(64)), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_true(out.value.f32 == 4032.0f);
    ASSERT_OK(kaon_call(sandbox, &out, "red_zone", KAON_ARGS(kaon_u32(1)), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    kaon_sandbox_destroy(sandbox);
}

static void host_answers_can_be_passed_on(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_call(
        sandbox, &out, "host_echo_chain",
        KAON_ARGS(kaon_string("round and round"), kaon_u32(e2e_scaled(2000))),
        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_string_equal(out.value.span.data, "round and round");
    kaon_sandbox_destroy(sandbox);
}

static void statistics_count_what_happened(void **state)
{
    SKIP_ON_RESIDENTS("exits come when guest or host give up waiting");

    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_sandbox_stats before, after;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    assert_true(e2e_stats(sandbox).memory_bytes > 0);
    ASSERT_OK(kaon_sandbox_init(sandbox, &out, NULL, &err));
    ASSERT_RETURNS(2, sandbox, "host_add", KAON_ARGS(kaon_i32(1), kaon_i32(1)));

    /* Warm: one exit for a call, one more for each of the host's. */
    before = e2e_stats(sandbox);
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    after = e2e_stats(sandbox);
    assert_int_equal(after.calls, before.calls + 1);
    assert_int_equal(after.exits, before.exits + 1);
    assert_int_equal(after.host_calls, before.host_calls);
    before = after;
    ASSERT_RETURNS(5, sandbox, "host_add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    after = e2e_stats(sandbox);
    assert_int_equal(after.calls, before.calls + 1);
    assert_int_equal(after.exits, before.exits + 2);
    assert_int_equal(after.host_calls, before.host_calls + 1);
    assert_int_equal(after.page_faults, before.page_faults);
    assert_int_equal(after.memory_bytes, before.memory_bytes);

    if (isolation_is_process()) { /* which has all pages at once */
        assert_int_equal(after.zero_pages + after.page_faults, 0);
        kaon_sandbox_destroy(sandbox);
        return;
    }

    /* New stack: faults, and pages for them. */
    ASSERT_OK(kaon_call(sandbox, &out, "use_stack", KAON_ARGS(kaon_u64(65536)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    before = after;
    after = e2e_stats(sandbox);
    assert_in_range(after.zero_pages - before.zero_pages, 15, 64);
    assert_in_range(after.page_faults - before.page_faults, 1, 16);
    assert_int_equal(after.memory_bytes - before.memory_bytes,
                     (after.zero_pages - before.zero_pages) * 4096);
    assert_int_equal(after.exits - before.exits,
                     1 + after.page_faults - before.page_faults);
    kaon_sandbox_destroy(sandbox);
}

static void an_image_says_what_it_exports_and_imports(void **state)
{
    struct kaon_image *image = e2e_image("basics");
    struct kaon_signature signature;
    char text[256];
    bool has_print16 = false, has_echo = false;

    (void)state;
    assert_string_equal(kaon_image_name(image), "basics.elf");
    assert_int_equal(kaon_image_dynamic(image), 1);
    for (size_t i = 0; kaon_image_export(image, i, &signature); i++) {
        kaon_signature_format(&signature, text, sizeof text);
        has_print16 |=
            strcmp(text, "print16(string, i32, i64, string, string, bool, "
                         "bool, u32, u64, i32, f32, f64, bytes, i32, u32, "
                         "string) -> i32") == 0;
    }
    assert_true(has_print16);
    for (size_t i = 0; kaon_image_import(image, i, &signature); i++) {
        kaon_signature_format(&signature, text, sizeof text);
        has_echo |= strcmp(text, "HostEcho(string) -> string") == 0;
    }
    assert_true(has_echo);
    assert_string_equal(kaon_image_symbol(image, kaon_image_entry(image), NULL),
                        "kaon_guest_entry");
    kaon_image_destroy(image);
}

TESTS_NEED_KVM(
    TEST(creating_a_sandbox_runs_nothing_of_the_guest),
    TEST(constructors_and_init_run_once_in_their_order),
    TEST(an_initialisation_that_fails_poisons),
    TEST_ROW(10, state_lasts_from_call_to_call_and_is_each_sandbox_s_own),
    TEST(a_sandbox_keeps_what_it_was_made_of),
    TEST(a_set_of_host_functions_is_fixed_once_it_is_used),
    TEST(the_heap_has_the_size_that_was_asked_for),
    TEST(the_stack_has_the_size_that_was_asked_for),
    TEST(floating_point_and_the_red_zone_just_work),
    TEST(host_answers_can_be_passed_on), TEST(statistics_count_what_happened),
    TEST(an_image_says_what_it_exports_and_imports))

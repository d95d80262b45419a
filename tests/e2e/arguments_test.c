/* SPDX-License-Identifier: Apache-2.0 */
/* Every function of the API with NULL, zero, huge and foreign arguments. */
#include "e2e/e2e.h"
#include "support/isolation.h"

/* A host function that is only ever registered. */
static int unused(struct kaon_host_call *call, const struct kaon_value *args,
                  struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)result;
    (void)user;
    return -1;
}

#define INVALID(call) ASSERT_REFUSED(KAON_EINVAL, NULL, call)

static void images_refuse_what_makes_no_sense(void **state)
{
    struct kaon_image *image = NULL;
    struct kaon_error err = { 0 };
    char path[10000];

    (void)state;
    INVALID(kaon_image_open(NULL, "x", &err));
    INVALID(kaon_image_open(&image, NULL, &err));
    INVALID(kaon_image_parse(NULL, "x", 1, &err));
    INVALID(kaon_image_parse(&image, NULL, 0, &err));
    INVALID(kaon_image_parse(&image, NULL, 100, &err));
    ASSERT_REFUSED(KAON_EIMAGE, "empty",
                   kaon_image_parse(&image, "x", 0, &err));
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    ASSERT_REFUSED(KAON_EIO, NULL, kaon_image_open(&image, path, &err));
    assert_null(image);
    kaon_image_destroy(NULL);
}

static void questions_about_an_image_have_answers_past_its_end(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_signature signature;
    struct kaon_segment segment;
    uint64_t offset = 4711;

    (void)state;
    memset(&signature, 0x55, sizeof signature);
    assert_int_equal(kaon_image_export(image, SIZE_MAX, &signature), 0);
    assert_int_equal(kaon_image_export(image, 1000, &signature), 0);
    assert_int_equal(kaon_image_import(image, 0, &signature), 0);
    assert_int_equal(signature.count, 0x55555555);
    assert_int_equal(kaon_image_export(image, 0, NULL), 0);
    assert_int_equal(kaon_image_export(NULL, 0, &signature), 0);
    assert_int_equal(kaon_image_import(NULL, 0, &signature), 0);
    assert_int_equal(kaon_image_segment(image, 3, &segment), 0);
    assert_int_equal(kaon_image_segment(image, SIZE_MAX, &segment), 0);
    assert_int_equal(kaon_image_segment(image, 0, NULL), 0);
    assert_int_equal(kaon_image_segment(NULL, 0, &segment), 0);
    assert_int_equal(kaon_image_dynamic(NULL), 0);
    assert_int_equal(kaon_image_entry(NULL), 0);
    assert_non_null(kaon_image_name(NULL));
    assert_null(kaon_image_symbol(NULL, 0, &offset));
    assert_null(kaon_image_symbol(image, 0, &offset));
    assert_null(kaon_image_symbol(image, UINT64_MAX, &offset));
    assert_int_equal(offset, 4711);
    assert_non_null(kaon_image_symbol(image, kaon_image_entry(image), &offset));
    assert_int_equal(offset, 0);
    kaon_image_destroy(image);
}

static void names_exist_for_what_does_not(void **state)
{
    struct kaon_signature signature = { .name = "f",
                                        .count = UINT32_MAX,
                                        .result = UINT32_MAX };
    char text[16] = "unchanged";

    (void)state;
    assert_string_equal(kaon_version(), KAON_VERSION);
    assert_string_equal(kaon_status_name((enum kaon_status)4711), "KAON_E?");
    assert_string_equal(kaon_outcome_name((enum kaon_outcome_kind)4711), "?");
    assert_string_equal(kaon_fault_name((enum kaon_fault_kind)4711), "fault");
    assert_string_equal(kaon_type_name(UINT32_MAX), "?");
    assert_int_equal(kaon_signature_format(NULL, text, sizeof text), 0);
    assert_string_equal(text, "unchanged");
    assert_true(kaon_signature_format(&signature, NULL, 0) > 1);
    assert_true(kaon_signature_format(&signature, text, sizeof text) >
                sizeof text);
    assert_int_equal(strlen(text), sizeof text - 1);
    signature = (struct kaon_signature){ 0 };
    kaon_signature_format(&signature, text, sizeof text);
    assert_string_equal(text, "() -> void");
    kaon_signature_format(&signature, text, 1);
    assert_string_equal(text, "");
}

static void host_functions_refuse_what_makes_no_sense(void **state)
{
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };
    uint32_t params[KAON_PARAMS_MAX + 1];
    char name[KAON_NAME_MAX + 2];

    (void)state;
    INVALID(kaon_host_functions_create(NULL, &err));
    ASSERT_OK(kaon_host_functions_create(&set, &err));
    INVALID(kaon_host_functions_add(NULL, "f", KAON_TYPE_VOID, KAON_NO_PARAMS,
                                    unused, NULL, &err));
    INVALID(kaon_host_functions_add(set, NULL, KAON_TYPE_VOID, KAON_NO_PARAMS,
                                    unused, NULL, &err));
    INVALID(kaon_host_functions_add(set, "", KAON_TYPE_VOID, KAON_NO_PARAMS,
                                    unused, NULL, &err));
    INVALID(kaon_host_functions_add(set, "f", KAON_TYPE_VOID, KAON_NO_PARAMS,
                                    NULL, NULL, &err));
    INVALID(kaon_host_functions_add(set, "f", KAON_TYPE_VOID, NULL, 1, unused,
                                    NULL, &err));
    INVALID(kaon_host_functions_add(set, "f", KAON_TYPE_COUNT, KAON_NO_PARAMS,
                                    unused, NULL, &err));
    INVALID(kaon_host_functions_add(set, "f", UINT32_MAX, KAON_NO_PARAMS,
                                    unused, NULL, &err));
    for (size_t i = 0; i <= KAON_PARAMS_MAX; i++)
        params[i] = KAON_TYPE_I32;
    INVALID(kaon_host_functions_add(set, "f", KAON_TYPE_VOID, params,
                                    KAON_PARAMS_MAX + 1, unused, NULL, &err));
    INVALID(kaon_host_functions_add(set, "f", KAON_TYPE_VOID, params, SIZE_MAX,
                                    unused, NULL, &err));
    params[1] = KAON_TYPE_VOID;
    ASSERT_REFUSED(KAON_EINVAL, "parameter 2",
                   kaon_host_functions_add(set, "f", KAON_TYPE_VOID, params, 2,
                                           unused, NULL, &err));
    params[1] = 4711;
    ASSERT_REFUSED(KAON_EINVAL, "parameter 2",
                   kaon_host_functions_add(set, "f", KAON_TYPE_VOID, params, 2,
                                           unused, NULL, &err));
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ASSERT_REFUSED(KAON_EINVAL, "127",
                   kaon_host_functions_add(set, name, KAON_TYPE_VOID,
                                           KAON_NO_PARAMS, unused, NULL, &err));
    /* One byte less is a name, and can be taken once. */
    ASSERT_OK(kaon_host_functions_add(set, name + 1, KAON_TYPE_VOID,
                                      KAON_NO_PARAMS, unused, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "already",
                   kaon_host_functions_add(set, name + 1, KAON_TYPE_VOID,
                                           KAON_NO_PARAMS, unused, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "kaon_host_functions_print",
                   kaon_host_functions_add(set, "HostPrint", KAON_TYPE_VOID,
                                           KAON_NO_PARAMS, unused, NULL, &err));
    INVALID(kaon_host_functions_print(NULL, NULL, NULL, &err));
    kaon_host_functions_destroy(set);
    kaon_host_functions_destroy(NULL);
    assert_int_not_equal(kaon_host_fail(NULL, 1, "x"), 0);
    assert_null(kaon_host_buffer(NULL, 1));
}

static void domains_refuse_what_makes_no_sense(void **state)
{
    const uint64_t sizes[] = { 1, 4096, (2 << 20) - 1, (UINT64_C(64) << 30) + 1,
                               UINT64_MAX };
    struct kaon_domain *domain;
    struct kaon_domain_stats stats;
    struct kaon_error err = { 0 };

    (void)state;
    INVALID(kaon_domain_create(NULL, NULL, &err));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        ASSERT_REFUSED(
            KAON_EINVAL, "memory_bytes",
            kaon_domain_create(
                &domain, KAON_DOMAIN_OPTS(.memory_bytes = sizes[i]), &err));
    ASSERT_REFUSED(
        KAON_EINVAL, "vcpus_max",
        kaon_domain_create(&domain, KAON_DOMAIN_OPTS(.vcpus_max = 257), &err));
    ASSERT_REFUSED(KAON_EINVAL, "vcpus_max",
                   kaon_domain_create(&domain,
                                      KAON_DOMAIN_OPTS(.vcpus_max = UINT32_MAX),
                                      &err));
    /* The limits themselves are good. */
    ASSERT_OK(kaon_domain_create(
        &domain, KAON_DOMAIN_OPTS(.memory_bytes = 2 << 20, .vcpus_max = 256),
        &err));
    assert_int_equal(kaon_domain_stats(NULL, &stats), KAON_EINVAL);
    assert_int_equal(kaon_domain_stats(domain, NULL), KAON_EINVAL);
    kaon_domain_destroy(domain);
    if (!harness_sanitized()) {
        ASSERT_OK(kaon_domain_create(
            &domain, KAON_DOMAIN_OPTS(.memory_bytes = UINT64_C(64) << 30),
            &err));
        kaon_domain_destroy(domain);
    }
    kaon_domain_destroy(NULL);
}

static void sandboxes_refuse_what_makes_no_sense(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_sandbox_stats stats;
    struct kaon_error err = { 0 };
    void *buffer;

    (void)state;
    INVALID(kaon_sandbox_create(NULL, image, NULL, &err));
    INVALID(kaon_sandbox_create(&sandbox, NULL, NULL, &err));
#define REFUSE(words, ...)                              \
    ASSERT_REFUSED(KAON_EINVAL, words,                  \
                   kaon_sandbox_create(&sandbox, image, \
                                       KAON_SANDBOX_OPTS(__VA_ARGS__), &err))
    REFUSE("heap_bytes", .heap_bytes = (UINT64_C(16) << 30) + 1);
    REFUSE("heap_bytes", .heap_bytes = UINT64_MAX);
    REFUSE("stack_bytes", .stack_bytes = 1);
    REFUSE("stack_bytes", .stack_bytes = (16 << 10) - 1);
    REFUSE("stack_bytes", .stack_bytes = (1 << 30) + 1);
    REFUSE("stack_bytes", .stack_bytes = UINT64_MAX);
    REFUSE("exchange_bytes", .exchange_bytes = 4095);
    REFUSE("exchange_bytes", .exchange_bytes = (1 << 30) + 1);
    REFUSE("exchange_bytes", .exchange_bytes = UINT64_MAX);
#undef REFUSE
    assert_null(sandbox);
    INVALID(kaon_sandbox_interrupt(NULL, &err));
    INVALID(kaon_sandbox_buffer(NULL, &buffer, 1, &err));
    assert_int_equal(kaon_sandbox_stats(NULL, &stats), KAON_EINVAL);
    assert_int_equal(kaon_sandbox_state(NULL), KAON_SANDBOX_POISONED);
    assert_string_equal(kaon_sandbox_backend(NULL), "");
    kaon_sandbox_destroy(NULL);

    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    INVALID(kaon_sandbox_buffer(sandbox, NULL, 1, &err));
    assert_int_equal(kaon_sandbox_stats(sandbox, NULL), KAON_EINVAL);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
}

static void the_largest_sandbox_can_be_made_and_called(void **state)
{
    struct kaon_sandbox *sandbox;

    (void)state;
    if (harness_sanitized())
        harness_skip("sanitizers need the address space");
    sandbox =
        e2e_sandbox("echo", KAON_SANDBOX_OPTS(.heap_bytes = UINT64_C(16) << 30,
                                              .stack_bytes = 1 << 30,
                                              .exchange_bytes = 1 << 30));
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
}

static void the_smallest_sandbox_can_be_made_and_called(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox(
        "echo", KAON_SANDBOX_OPTS(.heap_bytes = 1, .stack_bytes = 16 << 10,
                                  .exchange_bytes = 4096));

    (void)state;
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
}

static void calls_refuse_what_makes_no_sense(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    const struct kaon_value one = kaon_i32(1);
    struct kaon_function function = { NULL, 0 };
    struct kaon_value odd;
    struct kaon_sandbox *sandbox;
    struct kaon_sandbox_stats stats;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    memset(&out, 0x55, sizeof out);
    INVALID(kaon_call(NULL, &out, "add", &one, 1, NULL, &err));
    INVALID(kaon_call(sandbox, NULL, "add", &one, 1, NULL, &err));
    INVALID(kaon_call(sandbox, &out, NULL, &one, 1, NULL, &err));
    INVALID(kaon_call(sandbox, &out, "", &one, 1, NULL, &err));
    INVALID(kaon_call(sandbox, &out, "echo_i32", NULL, 1, NULL, &err));
    INVALID(kaon_call(sandbox, &out, "echo_i32", NULL, SIZE_MAX, NULL, &err));
    INVALID(kaon_function_find(NULL, image, "add", &err));
    INVALID(kaon_function_find(&function, NULL, "add", &err));
    INVALID(kaon_function_find(&function, image, NULL, &err));
    INVALID(kaon_function_find(&function, image, "", &err));
    INVALID(kaon_function_call(sandbox, &out, function, &one, 1, NULL, &err));
    function.image = image;
    INVALID(kaon_function_call(NULL, &out, function, &one, 1, NULL, &err));
    INVALID(kaon_function_call(sandbox, NULL, function, &one, 1, NULL, &err));
    INVALID(kaon_function_call(sandbox, &out, function, NULL, 1, NULL, &err));
    INVALID(kaon_sandbox_init(NULL, &out, NULL, &err));
    INVALID(kaon_sandbox_init(sandbox, NULL, NULL, &err));
    odd = kaon_bytes(NULL, 0);
    odd.span.size = 5;
    INVALID(kaon_call(sandbox, &out, "echo_bytes", &odd, 1, NULL, &err));
    odd = kaon_string("x");
    odd.span.data = NULL;
    INVALID(kaon_call(sandbox, &out, "echo_string", &odd, 1, NULL, &err));

    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(((const unsigned char *)&out)[i], 0x55);
    assert_int_equal(kaon_sandbox_stats(sandbox, &stats), KAON_OK);
    assert_int_equal(stats.calls, 0);
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
}

static void failures_can_be_left_unread(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_outcome out;

    (void)state;
    assert_int_equal(
        kaon_call(sandbox, &out, "nobody", KAON_NO_ARGS, NULL, NULL),
        KAON_ENOFUNC);
    assert_int_equal(kaon_call(sandbox, &out, "add", KAON_NO_ARGS, NULL, NULL),
                     KAON_EARGS);
    assert_int_equal(kaon_image_open(NULL, NULL, NULL), KAON_EINVAL);
    assert_int_equal(kaon_domain_create(NULL, NULL, NULL), KAON_EINVAL);
    assert_int_equal(kaon_sandbox_create(NULL, NULL, NULL, NULL), KAON_EINVAL);
    assert_int_equal(kaon_sandbox_init(NULL, NULL, NULL, NULL), KAON_EINVAL);
    kaon_sandbox_destroy(sandbox);
}

/* ---- Options of other versions of the headers -------------------------- */

/* An options struct with what a later version may have appended. */
struct later_sandbox_opts {
    struct kaon_sandbox_opts known;
    uint64_t unknown[4];
};

static void options_of_an_older_header_are_padded(void **state)
{
    struct kaon_image *image;
    struct kaon_sandbox_opts opts = {
        .size = offsetof(struct kaon_sandbox_opts, stack_bytes),
        .heap_bytes = 1 << 20,
        /* Past the end of the older struct, so of no matter: */
        .stack_bytes = 1,
        .exchange_bytes = 1,
        .kick_signal = -1,
    };
    struct kaon_call_opts call = { .size = sizeof(size_t), .deadline_ns = 1 };
    struct kaon_domain_opts domain_opts = { .size = sizeof(size_t),
                                            .vcpus_max = 4711 };
    struct kaon_domain *domain;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    SKIP_ON_PROCESSES("no isolation can be added to such options");
    image = e2e_image("echo");
    ASSERT_OK(kaon_domain_create(&domain, &domain_opts, &err));
    kaon_domain_destroy(domain);
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, &opts, &err));
    for (int i = 0; i < 50; i++) {
        ASSERT_OK(kaon_call(sandbox, &out, "add",
                            KAON_ARGS(kaon_i32(1), kaon_i32(2)), &call, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
    }
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
}

static void options_of_a_newer_header_are_good_if_unused(void **state)
{
    struct kaon_image *image;
    struct later_sandbox_opts opts = { .known.size = sizeof opts };
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    (void)state;
    SKIP_ON_PROCESSES("no isolation can be added to such options");
    image = e2e_image("echo");
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, &opts.known, &err));
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
    for (size_t i = 0; i < 4; i++) {
        memset(opts.unknown, 0, sizeof opts.unknown);
        opts.unknown[i] = UINT64_C(1) << (i * 21);
        ASSERT_REFUSED(KAON_EINVAL, "sandbox options",
                       kaon_sandbox_create(&sandbox, image, &opts.known, &err));
        ASSERT_CONTAINS(err.text, "does not know");
    }
    kaon_image_destroy(image);
}

static void options_without_a_sound_size_are_refused(void **state)
{
    const size_t sizes[] = { 0, 1, sizeof(size_t) - 1, 65537, SIZE_MAX };
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL), *other;
    struct kaon_image *image = e2e_image("echo");
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct kaon_sandbox_opts sandbox_opts = { .size = sizes[i] };
        const struct kaon_domain_opts domain_opts = { .size = sizes[i] };
        const struct kaon_call_opts call_opts = { .size = sizes[i] };

        ASSERT_REFUSED(KAON_EINVAL, "sandbox options.size",
                       kaon_sandbox_create(&other, image, &sandbox_opts, &err));
        ASSERT_REFUSED(KAON_EINVAL, "domain options.size",
                       kaon_domain_create(&domain, &domain_opts, &err));
        ASSERT_REFUSED(KAON_EINVAL, "call options.size",
                       kaon_call(sandbox, &out, "add",
                                 KAON_ARGS(kaon_i32(1), kaon_i32(2)),
                                 &call_opts, &err));
        ASSERT_REFUSED(KAON_EINVAL, "call options.size",
                       kaon_sandbox_init(sandbox, &out, &call_opts, &err));
    }
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
}

TESTS_NEED_KVM(TEST(images_refuse_what_makes_no_sense),
               TEST(questions_about_an_image_have_answers_past_its_end),
               TEST(names_exist_for_what_does_not),
               TEST(host_functions_refuse_what_makes_no_sense),
               TEST(domains_refuse_what_makes_no_sense),
               TEST(sandboxes_refuse_what_makes_no_sense),
               TEST(the_largest_sandbox_can_be_made_and_called),
               TEST(the_smallest_sandbox_can_be_made_and_called),
               TEST(calls_refuse_what_makes_no_sense),
               TEST(failures_can_be_left_unread),
               TEST(options_of_an_older_header_are_padded),
               TEST(options_of_a_newer_header_are_good_if_unused),
               TEST(options_without_a_sound_size_are_refused))

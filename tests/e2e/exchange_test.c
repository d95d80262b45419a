/* SPDX-License-Identifier: Apache-2.0 */
/* What fits the exchange and what does not; what is built and left in it. */
#include "e2e/e2e.h"

#include <stdlib.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

/* How the host functions of "through" behave in these tests. */
struct maker {
    unsigned char *made; /* what HostMake returns, if not in place */
    bool in_place;
    bool no_room; /* kaon_host_buffer() had none */
};

static int host_make(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    struct maker *maker = user;
    size_t size = args[0].u32;
    unsigned char *bytes = maker->made;

    if (maker->in_place)
        bytes = kaon_host_buffer(call, size);
    maker->no_room = !bytes;
    if (!bytes)
        return kaon_host_fail(call, 12, "no room");
    memset(bytes, 3, size);
    *result = kaon_bytes(bytes, size);
    return 0;
}

static int host_echo(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = args[0];
    return 0;
}

static struct kaon_sandbox *through(struct maker *maker, uint64_t exchange)
{
    static const uint32_t types[] = {
        KAON_TYPE_I32,    KAON_TYPE_U32,   KAON_TYPE_I64,
        KAON_TYPE_U64,    KAON_TYPE_F32,   KAON_TYPE_F64,
        KAON_TYPE_STRING, KAON_TYPE_BYTES, KAON_TYPE_BOOL,
    };
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char name[32];

        snprintf(name, sizeof name, "Host_%s", kaon_type_name(types[i]));
        ASSERT_OK(kaon_host_functions_add(
            set, name, types[i], KAON_PARAMS(types[i]), host_echo, NULL, &err));
    }
    ASSERT_OK(kaon_host_functions_add(set, "HostMake", KAON_TYPE_BYTES,
                                      KAON_PARAMS(KAON_TYPE_U32), host_make,
                                      maker, &err));
    sandbox =
        e2e_sandbox("through", KAON_SANDBOX_OPTS(.host_functions = set,
                                                 .exchange_bytes = exchange));
    kaon_host_functions_destroy(set);
    return sandbox;
}

static struct kaon_sandbox *echo(uint64_t exchange)
{
    return e2e_sandbox("echo", KAON_SANDBOX_OPTS(.exchange_bytes = exchange));
}

/*
 * Echoes so many bytes. If they do not fit, whoever finds that says so: the
 * host, or the guest, if there is no room beside them for its answer.
 */
static bool can_echo(struct kaon_sandbox *sandbox, uint64_t exchange,
                     const void *data, size_t size)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char limit[24];

    snprintf(limit, sizeof limit, "%llu", (unsigned long long)exchange);
    if (kaon_call(sandbox, &out, "echo_bytes",
                  KAON_ARGS(kaon_bytes(data, size)), NULL, &err)) {
        ASSERT_REFUSED(KAON_ETOOBIG, "exchange_bytes", err.status);
        ASSERT_CONTAINS(err.text, limit);
        ASSERT_CONTAINS(err.text, "echo_bytes");
        return false;
    }
    if (out.kind == KAON_GUEST_REFUSED) {
        assert_int_equal(out.code, KAON_REFUSED_TOO_LARGE);
        ASSERT_CONTAINS(out.text, "exchange_bytes");
        ASSERT_CONTAINS(out.text, limit);
        return false;
    }
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.span.size, size);
    assert_memory_equal(out.value.span.data, data, size);
    return true;
}

static void arguments_fit_to_the_last_byte(void **state)
{
    const uint64_t sizes[] = { 4 * KIB, 8 * KIB, 64 * KIB, MIB };
    unsigned char *data = malloc(2 * MIB);

    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < 2 * MIB; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kaon_sandbox *sandbox = echo(sizes[i]);
        size_t low = 0, high = 2 * MIB;

        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;

            if (can_echo(sandbox, sizes[i], data, middle))
                low = middle;
            else
                high = middle;
        }
        /* What kaon_sandbox_opts promises: 16 bytes for each argument. */
        assert_true(low + 16 >= sizes[i]);
        assert_true(low <= sizes[i] + 4 * KIB);
        ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        kaon_sandbox_destroy(sandbox);
    }
    free(data);
}

static void sizes_that_nothing_can_hold_are_refused_unread(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    const size_t sizes[] = { 1 << 20,         (size_t)1 << 31,
                             (size_t)1 << 32, ((size_t)1 << 32) + 8,
                             SIZE_MAX / 2,    SIZE_MAX };
    char *text = malloc(1 << 20);

    (void)state;
    assert_non_null(text);
    memset(text, 't', 1 << 20);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ASSERT_REFUSED(KAON_ETOOBIG, NULL,
                       kaon_call(sandbox, &out, "echo_bytes",
                                 KAON_ARGS(kaon_bytes(text, sizes[i])), NULL,
                                 &err));
        ASSERT_REFUSED(KAON_ETOOBIG, NULL,
                       kaon_call(sandbox, &out, "echo_string",
                                 KAON_ARGS(kaon_string_n(text, sizes[i])), NULL,
                                 &err));
    }
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
    free(text);
}

static void a_result_that_does_not_fit_is_refused_by_the_guest(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int i = 0; i < 10; i++) {
        ASSERT_OK(kaon_call(sandbox, &out, "fill",
                            KAON_ARGS(kaon_u32(128 * KIB), kaon_u32(5)), NULL,
                            &err));
        ASSERT_OUTCOME(KAON_GUEST_REFUSED, out);
        assert_int_equal(out.code, KAON_REFUSED_TOO_LARGE);
        ASSERT_CONTAINS(out.text, "exchange_bytes");
        ASSERT_CONTAINS(out.text, "65536");
        ASSERT_OK(kaon_call(sandbox, &out, "fill",
                            KAON_ARGS(kaon_u32(32 * KIB), kaon_u32(5)), NULL,
                            &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_int_equal(out.value.span.size, 32 * KIB);
        assert_int_equal(((const unsigned char *)out.value.span.data)[9], 5);
    }
    kaon_sandbox_destroy(sandbox);
}

static void assert_made(struct kaon_sandbox *sandbox, uint32_t size)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, "sum_made", KAON_ARGS(kaon_u32(size)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.u64, 3 * (uint64_t)size);
}

static void a_host_result_that_does_not_fit_is_an_error_value(void **state)
{
    struct maker maker = { .made = malloc(128 * KIB) };
    struct kaon_sandbox *sandbox = through(&maker, 64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    assert_non_null(maker.made);
    assert_made(sandbox, 32 * KIB);
    ASSERT_OK(kaon_call(sandbox, &out, "sum_made",
                        KAON_ARGS(kaon_u32(128 * KIB)), NULL, &err));
    ASSERT_OUTCOME(KAON_GUEST_ERROR, out);
    assert_int_equal(out.code, KAON_REFUSED_TOO_LARGE);
    ASSERT_CONTAINS(out.text, "exchange_bytes");
    ASSERT_CONTAINS(out.text, "65536");
    assert_made(sandbox, 32 * KIB);
    kaon_sandbox_destroy(sandbox);
    free(maker.made);
}

static void host_arguments_that_do_not_fit_are_an_error_value(void **state)
{
    struct maker maker = { 0 };
    struct kaon_sandbox *sandbox = through(&maker, 64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "send", KAON_ARGS(kaon_u32(128 * KIB)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_GUEST_ERROR, out);
    assert_int_equal(out.code, KAON_REFUSED_TOO_LARGE);
    ASSERT_CONTAINS(out.text, "exchange");
    ASSERT_OK(kaon_call(sandbox, &out, "send", KAON_ARGS(kaon_u32(16 * KIB)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.u32, 16 * KIB);
    kaon_sandbox_destroy(sandbox);
}

static void tens_of_megabytes_cross_if_the_exchange_is_made_for_it(void **state)
{
    /* The answer goes out in place; but what a guest that runs on hands over is
     * copied, and then takes room of its own. */
    const uint32_t size = isolation_copies() ? 24 << 20 : 48 << 20;
    struct maker maker = { .in_place = true };
    struct kaon_sandbox *sandbox = through(&maker, 64 * MIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    unsigned char *data = calloc(1, size);

    (void)state;
    assert_non_null(data);
    data[0] = data[size - 1] = data[size / 2] = 50;
    assert_made(sandbox, size / 4);
    ASSERT_OK(kaon_call(sandbox, &out, "sum", KAON_ARGS(kaon_bytes(data, size)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.u64, 150);
    ASSERT_OK(kaon_call(sandbox, &out, "through_bytes",
                        KAON_ARGS(kaon_bytes(data, size)), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.span.size, size);
    assert_memory_equal(out.value.span.data, data, size);
    kaon_sandbox_destroy(sandbox);
    free(data);
}

/* ---- In place ---------------------------------------------------------- */

static void an_argument_built_in_place_is_not_copied(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    void *buffer;

    (void)state;
    for (int i = 0; i < 10; i++) {
        ASSERT_OK(kaon_sandbox_buffer(sandbox, &buffer, 10000, &err));
        memset(buffer, 'a' + i, 9999);
        ((char *)buffer)[9999] = '\0';
        ASSERT_OK(kaon_call(sandbox, &out, "echo_string",
                            KAON_ARGS(kaon_string(buffer)), NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        /* A guest that runs on could write what it handed over. */
        if (!isolation_copies())
            assert_ptr_equal(out.value.span.data, buffer);
        assert_int_equal(out.value.span.size, 9999);
        assert_int_equal(((char *)buffer)[9998], 'a' + i);
    }
    kaon_sandbox_destroy(sandbox);
}

static void copied_arguments_lie_beside_the_one_in_place(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char other[8001];
    void *buffer;

    (void)state;
    memset(other, 'o', 8000);
    other[8000] = '\0';
    ASSERT_OK(kaon_sandbox_buffer(sandbox, &buffer, 5001, &err));
    memset(buffer, 'i', 5000);
    ((char *)buffer)[5000] = '\0';
    ASSERT_OK(kaon_call(sandbox, &out, "concat",
                        KAON_ARGS(kaon_string(other), kaon_string(buffer)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.span.size, 13000);
    assert_int_equal(strspn(out.value.span.data, "o"), 8000);
    assert_int_equal(strspn((const char *)out.value.span.data + 8000, "i"),
                     5000);
    kaon_sandbox_destroy(sandbox);
}

static void a_buffer_is_as_large_as_the_exchange_allows(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    size_t most = 64 * KIB;
    void *buffer = NULL;

    (void)state;
    ASSERT_OK(kaon_sandbox_buffer(sandbox, &buffer, 0, &err));
    while (kaon_sandbox_buffer(sandbox, &buffer, most, &err) == KAON_ETOOBIG)
        most--;
    assert_true(most >= 60 * KIB);
    memset(buffer, 1, most);
    ASSERT_OK(kaon_call(sandbox, &out, "echo_bytes",
                        KAON_ARGS(kaon_bytes(buffer, most)), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(out.value.span.size, most);
    ASSERT_REFUSED(KAON_ETOOBIG, "exchange_bytes",
                   kaon_sandbox_buffer(sandbox, &buffer, 128 * KIB, &err));
    ASSERT_REFUSED(KAON_ETOOBIG, "exchange_bytes",
                   kaon_sandbox_buffer(sandbox, &buffer, SIZE_MAX, &err));
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
}

/* A refused call is none: what was built for it is still good. */
static void a_buffer_outlives_a_refused_call(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char *large = calloc(1, 128 * KIB);
    char other[5001];
    void *buffer;

    (void)state;
    assert_non_null(large);
    memset(other, 'o', 5000);
    other[5000] = '\0';
    ASSERT_OK(kaon_sandbox_buffer(sandbox, &buffer, 5001, &err));
    memset(buffer, 'i', 5000);
    ((char *)buffer)[5000] = '\0';
    ASSERT_REFUSED(KAON_ENOFUNC, "no_such",
                   kaon_call(sandbox, &out, "no_such",
                             KAON_ARGS(kaon_string(buffer)), NULL, &err));
    ASSERT_REFUSED(KAON_ETOOBIG, "exchange_bytes",
                   kaon_call(sandbox, &out, "echo_bytes",
                             KAON_ARGS(kaon_bytes(large, 128 * KIB)), NULL,
                             &err));
    ASSERT_OK(kaon_call(sandbox, &out, "concat",
                        KAON_ARGS(kaon_string(buffer), kaon_string(other)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(strspn(out.value.span.data, "i"), 5000);
    assert_int_equal(strspn((const char *)out.value.span.data + 5000, "o"),
                     5000);
    kaon_sandbox_destroy(sandbox);
    free(large);
}

static void a_host_result_built_in_place_arrives(void **state)
{
    const uint32_t sizes[] = { 0, 1, 100, 3000, 4000, 4096, 10000, 60000 };
    struct maker maker = { .in_place = true };
    struct kaon_sandbox *sandbox = through(&maker, 128 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_made(sandbox, sizes[i]);
        assert_false(maker.no_room);
    }
    ASSERT_OK(kaon_call(sandbox, &out, "sum_made",
                        KAON_ARGS(kaon_u32(UINT32_MAX)), NULL, &err));
    ASSERT_OUTCOME(KAON_GUEST_ERROR, out);
    assert_int_equal(out.code, 12);
    assert_true(maker.no_room);
    assert_made(sandbox, 5);
    kaon_sandbox_destroy(sandbox);
}

/* ---- Borrowed results -------------------------------------------------- */

static void a_result_stays_until_the_next_call(void **state)
{
    struct kaon_domain *domain;
    struct kaon_sandbox *sandbox, *other;
    struct kaon_sandbox_stats stats;
    struct kaon_error err = { 0 };
    struct kaon_outcome out, unused;

    (void)state;
    ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
    sandbox = e2e_sandbox("echo", KAON_SANDBOX_OPTS(.domain = domain));
    other = e2e_sandbox("echo", KAON_SANDBOX_OPTS(.domain = domain));
    for (uint32_t size = 10; size < 500000; size *= 7) {
        ASSERT_OK(kaon_call(sandbox, &out, "fill",
                            KAON_ARGS(kaon_u32(size), kaon_u32(9)), NULL,
                            &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        ASSERT_OK(kaon_call(other, &unused, "fill",
                            KAON_ARGS(kaon_u32(size), kaon_u32(1)), NULL,
                            &err));
        ASSERT_REFUSED(
            KAON_ENOFUNC, NULL,
            kaon_call(sandbox, &unused, "nobody", KAON_NO_ARGS, NULL, &err));
        ASSERT_REFUSED(
            KAON_EARGS, NULL,
            kaon_call(sandbox, &unused, "fill", KAON_NO_ARGS, NULL, &err));
        ASSERT_OK(kaon_sandbox_interrupt(sandbox, &err));
        assert_int_equal(kaon_sandbox_stats(sandbox, &stats), KAON_OK);
        assert_int_equal(out.value.span.size, size);
        for (uint32_t i = 0; i < size; i++)
            assert_int_equal(((const unsigned char *)out.value.span.data)[i],
                             9);
    }
    kaon_sandbox_destroy(sandbox);
    kaon_sandbox_destroy(other);
    kaon_domain_destroy(domain);
}

/* Until the next call, which takes it as any other argument. */
static void a_result_can_be_an_argument_of_the_next_call(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char expected[1024] = "seed";

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "echo_string",
                        KAON_ARGS(kaon_string(expected)), NULL, &err));
    for (int i = 0; i < 100; i++) {
        ASSERT_OUTCOME(KAON_RETURNED, out);
        ASSERT_OK(kaon_call(sandbox, &out, "concat",
                            KAON_ARGS(out.value, kaon_string("-more")), NULL,
                            &err));
        strcat(expected, "-more");
        assert_string_equal(out.value.span.data, expected);
    }
    kaon_sandbox_destroy(sandbox);
}

static void a_large_result_can_be_an_argument_twice(void **state)
{
    struct kaon_sandbox *sandbox = echo(64 * KIB);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char text[9001];

    (void)state;
    memset(text, 'd', 9000);
    text[9000] = '\0';
    ASSERT_OK(kaon_call(sandbox, &out, "echo_string",
                        KAON_ARGS(kaon_string(text)), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    ASSERT_OK(kaon_call(sandbox, &out, "concat",
                        KAON_ARGS(out.value, out.value), NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_int_equal(strspn(out.value.span.data, "d"), 18000);
    kaon_sandbox_destroy(sandbox);
}

TESTS_NEED_KVM(TEST_ROW(24, arguments_fit_to_the_last_byte),
               TEST_ROW(24, sizes_that_nothing_can_hold_are_refused_unread),
               TEST_ROW(24, a_result_that_does_not_fit_is_refused_by_the_guest),
               TEST_ROW(24, a_host_result_that_does_not_fit_is_an_error_value),
               TEST_ROW(24, host_arguments_that_do_not_fit_are_an_error_value),
               TEST_ROW(24,
                        tens_of_megabytes_cross_if_the_exchange_is_made_for_it),
               TEST_ROW(24, an_argument_built_in_place_is_not_copied),
               TEST_ROW(24, copied_arguments_lie_beside_the_one_in_place),
               TEST_ROW(24, a_buffer_is_as_large_as_the_exchange_allows),
               TEST_ROW(24, a_buffer_outlives_a_refused_call),
               TEST_ROW(24, a_host_result_built_in_place_arrives),
               TEST_ROW(24, a_result_stays_until_the_next_call),
               TEST_ROW(24, a_result_can_be_an_argument_of_the_next_call),
               TEST_ROW(24, a_large_result_can_be_an_argument_twice))

/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes for one use each: clean, whatever the last use was. */
#include "e2e/e2e.h"

#include <pthread.h>
#include <stdlib.h>

static struct kaon_domain *make_domain(void)
{
    struct kaon_domain *domain = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_domain_create(
        &domain,
        KAON_DOMAIN_OPTS(.memory_bytes = isolation_memory(UINT64_C(256) << 20)),
        &err));
    return domain;
}

/* A pool of "basics"; in one domain, or each of its sandboxes in its own. */
static struct kaon_pool *make_pool(bool shared, struct kaon_pool_opts opts)
{
    struct kaon_domain *domain = shared ? make_domain() : NULL;
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_image *image = e2e_image("basics");
    struct kaon_pool *pool = NULL;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    opts.size = sizeof opts;
    opts.sandbox = KAON_SANDBOX_OPTS(.domain = domain, .host_functions = set);
    ASSERT_OK(kaon_pool_create(&pool, &out, image, &opts, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_non_null(pool);
    kaon_domain_destroy(domain);
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
    return pool;
}
#define POOL(shared, ...) \
    make_pool((shared), (struct kaon_pool_opts){ __VA_ARGS__ })

static void release(struct kaon_pool *pool, struct kaon_sandbox *sandbox)
{
    assert_int_equal(kaon_pool_release(pool, sandbox), KAON_OK);
}

static struct kaon_pool_stats stats_of(struct kaon_pool *pool)
{
    struct kaon_pool_stats stats;

    assert_int_equal(kaon_pool_stats(pool, &stats), KAON_OK);
    return stats;
}

/* Waits until a count of the pool's is what it should be; the test's limit is
 * the limit. */
#define AWAIT(pool, condition)                     \
    do {                                           \
        struct kaon_pool_stats s = stats_of(pool); \
                                                   \
        while (!(condition)) {                     \
            e2e_sleep(MILLISECOND);                \
            s = stats_of(pool);                    \
        }                                          \
    } while (0)

static void assert_clean(struct kaon_sandbox *sandbox)
{
    struct kaon_sandbox_stats stats;

    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    assert_int_equal(kaon_sandbox_stats(sandbox, &stats), KAON_OK);
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats.exits, 0);
    ASSERT_RETURNS(123, sandbox, "init_order", KAON_NO_ARGS);
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
}

static void call(struct kaon_sandbox *sandbox, enum kaon_outcome_kind kind,
                 uint64_t deadline_ns, const char *function,
                 const struct kaon_value *args, size_t count)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, function, args, count,
                        KAON_CALL_OPTS(.deadline_ns = deadline_ns), &err));
    ASSERT_OUTCOME(kind, out);
}

/* ---- Clean ------------------------------------------------------------- */

static void each_user_finds_the_guest_as_it_was_initialised(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool = POOL(shared, .min = 2, .max = 4);

        for (unsigned i = 0; i < 20; i++) {
            struct kaon_sandbox *sandboxes[3];

            for (unsigned j = 0; j < 3; j++)
                sandboxes[j] = e2e_acquire(pool);
            for (unsigned j = 0; j < 3; j++)
                assert_clean(sandboxes[j]);
            for (unsigned j = 0; j < 3; j++)
                release(pool, sandboxes[j]);
        }
        assert_int_equal(stats_of(pool).acquired, 60);
        assert_int_equal(stats_of(pool).in_use, 0);
        kaon_pool_destroy(pool);
    }
}

/* Acquires, calls and releases: is it clean by then? */
static bool is_cleaned_at_once(struct kaon_pool *pool)
{
    uint64_t cleaned = stats_of(pool).cleaned;
    struct kaon_sandbox *sandbox = e2e_acquire(pool);

    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    release(pool, sandbox);
    return stats_of(pool).cleaned > cleaned && stats_of(pool).ready == 1;
}

/* By who releases it, not by another thread. A process has to be asked first
 * if it can tell that it stands still. */
static void what_is_small_is_cleaned_at_once(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool = POOL(shared, .max = 1);

        while (!is_cleaned_at_once(pool))
            AWAIT(pool, s.ready == 1);
        for (unsigned i = 0; i < 100; i++)
            assert_true(is_cleaned_at_once(pool));
        kaon_pool_destroy(pool);
    }
}

static void a_poisoned_one_is_healed_or_replaced(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool = POOL(shared, .max = 1);

        for (unsigned i = 0; i < 12; i++) {
            struct kaon_sandbox *sandbox = e2e_acquire(pool);

            assert_clean(sandbox);
            if (i % 4 == 0)
                call(sandbox, KAON_ABORT, 0, "abort",
                     KAON_ARGS(kaon_i32(1), kaon_string("enough")));
            else if (i % 4 == 1)
                call(sandbox, KAON_DEADLINE, 5 * MILLISECOND, "spin",
                     KAON_NO_ARGS);
            else if (i % 4 == 2)
                call(sandbox, KAON_STACK_OVERFLOW, 0, "recurse",
                     KAON_ARGS(kaon_i32(0)));
            release(pool, sandbox);
        }
        kaon_pool_destroy(pool);
    }
}

/* A deadline that is left over, or a stop that comes when nothing runs, does
 * not meet the next call. */
static void a_stop_does_not_hit_the_next_user(void **state)
{
    struct kaon_pool *pool = POOL(true, .max = 1);
    struct kaon_error err = { 0 };

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        struct kaon_sandbox *sandbox = e2e_acquire(pool);

        call(sandbox, KAON_RETURNED, SECOND * 1000, "count", KAON_NO_ARGS);
        ASSERT_OK(kaon_sandbox_interrupt(sandbox, &err));
        release(pool, sandbox);
        sandbox = e2e_acquire(pool);
        assert_clean(sandbox);
        release(pool, sandbox);
        AWAIT(pool, s.ready == 1);
    }
    kaon_pool_destroy(pool);
}

static void one_that_grew_is_replaced(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool = POOL(shared, .max = 1);
        struct kaon_sandbox *sandbox = e2e_acquire(pool);
        struct kaon_sandbox_stats stats;

        call(sandbox, KAON_RETURNED, 0, "exhaust_heap",
             KAON_ARGS(kaon_u32(4096)));
        release(pool, sandbox);
        sandbox = e2e_acquire(pool);
        assert_clean(sandbox);
        assert_int_equal(stats_of(pool).replaced, 1);
        assert_int_equal(stats_of(pool).created, 2);
        assert_int_equal(kaon_sandbox_stats(sandbox, &stats), KAON_OK);
        if (!shared && !isolation_is_process())
            assert_true(stats.memory_bytes < 4 << 20);
        release(pool, sandbox);
        kaon_pool_destroy(pool);
    }
}

static void
a_snapshot_taken_and_restored_meanwhile_is_of_no_matter(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool = POOL(shared, .max = 2);
        struct kaon_sandbox *a = e2e_acquire(pool), *b = e2e_acquire(pool);
        struct kaon_snapshot *snapshot;

        call(a, KAON_RETURNED, 0, "count", KAON_NO_ARGS);
        snapshot = e2e_take(a);
        e2e_restore(b, snapshot);
        ASSERT_RETURNS(2, b, "count", KAON_NO_ARGS);
        release(pool, a);
        release(pool, b);
        kaon_snapshot_destroy(snapshot);
        a = e2e_acquire(pool);
        b = e2e_acquire(pool);
        assert_clean(a);
        assert_clean(b);
        release(pool, a);
        release(pool, b);
        kaon_pool_destroy(pool);
    }
}

/* What a user shows to his guest, the next user's does not see. */
static void mappings_are_gone_for_the_next_user(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = shared ? make_domain() : NULL;
        struct kaon_image *image = e2e_image("map");
        struct kaon_region *region;
        struct kaon_pool *pool = NULL;
        struct kaon_error err = { 0 };
        struct kaon_outcome out;

        ASSERT_OK(kaon_region_create(&region, 8192, &err));
        ASSERT_OK(kaon_pool_create(
            &pool, &out, image,
            KAON_POOL_OPTS(.max = 1,
                           .sandbox = KAON_SANDBOX_OPTS(.domain = domain)),
            &err));
        for (unsigned i = 0; i < 6; i++) {
            struct kaon_sandbox *sandbox = e2e_acquire(pool);
            uint64_t address = 0;

            ASSERT_OK(kaon_sandbox_map(
                sandbox, &address, region,
                KAON_MAP_OPTS(.mode = i % 2 ? KAON_MAP_WRITE : KAON_MAP_COPY),
                &err));
            call(sandbox, KAON_RETURNED, 0, "write_byte",
                 KAON_ARGS(kaon_u64(address), kaon_u32(0x5e)));
            release(pool, sandbox);
            sandbox = e2e_acquire(pool);
            call(sandbox, KAON_FAULT, 0, "read_byte",
                 KAON_ARGS(kaon_u64(address)));
            release(pool, sandbox);
        }
        kaon_pool_destroy(pool);
        kaon_region_destroy(region);
        kaon_image_destroy(image);
        kaon_domain_destroy(domain);
    }
}

/* ---- Resident ---------------------------------------------------------- */

static void the_first_call_of_a_resident_one_is_clean(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool = POOL(shared, .max = 3, .resident = 2);

        for (unsigned i = 0; i < 30; i++) {
            struct kaon_sandbox *sandbox = e2e_acquire(pool);

            assert_clean(sandbox);
            if (i % 5 == 1)
                call(sandbox, KAON_ABORT, 0, "abort",
                     KAON_ARGS(kaon_i32(1), kaon_string("enough")));
            else if (i % 5 == 2)
                call(sandbox, KAON_DEADLINE, 5 * MILLISECOND, "spin",
                     KAON_NO_ARGS);
            release(pool, sandbox);
        }
        kaon_pool_destroy(pool);
    }
}

static void what_a_user_makes_resident_or_not_is_undone(void **state)
{
    struct kaon_pool *pool = POOL(false, .max = 2, .min = 2, .resident = 1);
    struct kaon_sandbox *a, *b;
    struct kaon_error err = { 0 };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        a = e2e_acquire(pool);
        b = e2e_acquire(pool);
        /* Neither is where there is no CPU for that. */
        assert_false(kaon_sandbox_is_resident(a) &&
                     kaon_sandbox_is_resident(b));
        ASSERT_OK(kaon_sandbox_start_resident(a, NULL, &err));
        ASSERT_OK(kaon_sandbox_stop_resident(b, &err));
        if (i % 2) {
            ASSERT_OK(kaon_sandbox_start_resident(b, NULL, &err));
            ASSERT_OK(kaon_sandbox_stop_resident(a, &err));
        }
        assert_clean(a);
        release(pool, a);
        release(pool, b);
        AWAIT(pool, s.ready == 2);
    }
    kaon_pool_destroy(pool);
}

/* ---- How many ---------------------------------------------------------- */

static void all_in_use_is_busy_and_says_so(void **state)
{
    struct kaon_pool *pool = POOL(true, .min = 2, .max = 2);
    struct kaon_sandbox *a = e2e_acquire(pool), *b = e2e_acquire(pool),
                        *c = NULL;
    struct kaon_error err = { 0 };
    uint64_t start = e2e_now();

    (void)state;
    ASSERT_REFUSED(KAON_EBUSY, "all 2 sandboxes of the pool are in use",
                   kaon_pool_acquire(pool, &c, 0, &err));
    ASSERT_REFUSED(KAON_EBUSY, "raise max",
                   kaon_pool_acquire(pool, &c, 20 * MILLISECOND, &err));
    assert_true(e2e_now() - start >= 20 * MILLISECOND);
    assert_null(c);
    assert_int_equal(stats_of(pool).refused, 2);
    release(pool, b);
    b = e2e_acquire(pool);
    release(pool, a);
    release(pool, b);
    kaon_pool_destroy(pool);
}

struct waiter {
    struct kaon_pool *pool;
    struct kaon_sandbox *sandbox;
    enum kaon_status status;
};

static void *wait_for_one(void *user)
{
    struct waiter *waiter = user;

    waiter->status =
        kaon_pool_acquire(waiter->pool, &waiter->sandbox, KAON_FOREVER, NULL);
    return NULL;
}

static void who_waits_gets_what_is_released(void **state)
{
    (void)state;
    for (int poisoned = 0; poisoned < 2; poisoned++) {
        struct kaon_pool *pool = POOL(true, .min = 2, .max = 2);
        struct kaon_sandbox *mine[2] = { e2e_acquire(pool), e2e_acquire(pool) };
        struct waiter waiters[2];
        pthread_t threads[2];

        for (unsigned i = 0; i < 2; i++) {
            waiters[i] = (struct waiter){ .pool = pool };
            pthread_create(&threads[i], NULL, wait_for_one, &waiters[i]);
        }
        e2e_sleep(20 * MILLISECOND); /* most likely they wait by now */
        for (unsigned i = 0; i < 2; i++) {
            if (poisoned)
                call(mine[i], KAON_ABORT, 0, "abort",
                     KAON_ARGS(kaon_i32(1), kaon_string("enough")));
            release(pool, mine[i]);
        }
        for (unsigned i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(waiters[i].status, KAON_OK);
            assert_clean(waiters[i].sandbox);
            release(pool, waiters[i].sandbox);
        }
        kaon_pool_destroy(pool);
    }
}

static void min_are_ready_beside_those_in_use(void **state)
{
    struct kaon_pool *pool = POOL(false, .min = 2, .max = 5);
    struct kaon_sandbox *sandboxes[5];

    (void)state;
    assert_int_equal(stats_of(pool).ready, 2);
    for (unsigned i = 0; i < 3; i++) {
        sandboxes[i] = e2e_acquire(pool);
        AWAIT(pool, s.ready == 2);
    }
    sandboxes[3] = e2e_acquire(pool);
    sandboxes[4] = e2e_acquire(pool);
    assert_int_equal(stats_of(pool).sandboxes, 5);
    assert_int_equal(stats_of(pool).in_use, 5);
    for (unsigned i = 0; i < 5; i++)
        release(pool, sandboxes[i]);
    kaon_pool_destroy(pool);
}

static void what_nobody_needs_is_ended(void **state)
{
    struct kaon_pool *pool =
        POOL(false, .min = 2, .max = 8, .linger_ns = 20 * MILLISECOND);
    struct kaon_sandbox *sandboxes[8];

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        sandboxes[i] = e2e_acquire(pool);
    assert_int_equal(stats_of(pool).sandboxes, 8);
    for (unsigned i = 0; i < 8; i++)
        release(pool, sandboxes[i]);
    AWAIT(pool, s.sandboxes == 2 && s.ready == 2);
    sandboxes[0] = e2e_acquire(pool);
    assert_clean(sandboxes[0]);
    release(pool, sandboxes[0]);
    kaon_pool_destroy(pool);
}

static struct kaon_snapshot *snapshot_of(const char *guest)
{
    struct kaon_sandbox *sandbox = e2e_sandbox(guest, NULL);
    struct kaon_snapshot *snapshot = NULL;

    snapshot = e2e_take(sandbox);
    kaon_sandbox_destroy(sandbox);
    return snapshot;
}

static void a_pool_too_large_says_how_many_it_has(void **state)
{
    struct kaon_snapshot *snapshot = snapshot_of("memory");
    struct kaon_sandbox *sandboxes[1000], *one = NULL;
    struct kaon_domain *domain = NULL;
    struct kaon_pool *pool = NULL;
    struct kaon_error err = { 0 };
    unsigned count = 0;

    (void)state;
    ASSERT_OK(kaon_domain_create(
        &domain, KAON_DOMAIN_OPTS(.memory_bytes = isolation_memory(8 << 20)),
        &err));
    ASSERT_REFUSED(
        KAON_ENOMEM, "sandboxes of min 1000, and cannot make one more: ",
        kaon_pool_create_from(
            &pool, snapshot,
            KAON_POOL_OPTS(.min = 1000,
                           .sandbox = KAON_SANDBOX_OPTS(.domain = domain)),
            &err));
    assert_null(pool);
    ASSERT_OK(kaon_pool_create_from(
        &pool, snapshot,
        KAON_POOL_OPTS(.max = 1000,
                       .sandbox = KAON_SANDBOX_OPTS(.domain = domain)),
        &err));
    /* The pool's thread may have the last one, or fail to make it. */
    while (count < 1000 && (kaon_pool_acquire(pool, &one, 0, &err) == KAON_OK ||
                            stats_of(pool).sandboxes > count)) {
        if (one)
            sandboxes[count++] = one;
        one = NULL;
    }
    assert_in_range(count, 1, 999);
    ASSERT_REFUSED(KAON_ENOMEM, "of max 1000, none is ready",
                   kaon_pool_acquire(pool, &one, MILLISECOND, &err));
    /* One that comes back is as good as ever. */
    release(pool, sandboxes[--count]);
    sandboxes[count++] = e2e_acquire(pool);
    while (count)
        release(pool, sandboxes[--count]);
    kaon_pool_destroy(pool);
    kaon_domain_destroy(domain);
    kaon_snapshot_destroy(snapshot);
}

/* ---- Life -------------------------------------------------------------- */

static void a_guest_that_cannot_start_is_an_outcome(void **state)
{
    struct kaon_pool *pool = (struct kaon_pool *)state;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct kaon_image *image = e2e_image("init_fails");

    ASSERT_OK(kaon_pool_create(&pool, &out, image, NULL, &err));
    ASSERT_OUTCOME(KAON_ABORT, out);
    assert_null(pool);
    kaon_image_destroy(image);

    image = e2e_image("init_spins");
    ASSERT_OK(kaon_pool_create(
        &pool, &out, image,
        KAON_POOL_OPTS(.sandbox =
                           KAON_SANDBOX_OPTS(.deadline_ns = 20 * MILLISECOND)),
        &err));
    ASSERT_OUTCOME(KAON_DEADLINE, out);
    assert_null(pool);
    kaon_image_destroy(image);
    kaon_pool_destroy(pool);
}

static void options_are_refused_by_name(void **state)
{
    struct kaon_snapshot *snapshot = snapshot_of("memory");
    struct kaon_image *image = kaon_snapshot_image(snapshot);
    struct kaon_pool *pool = NULL;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_REFUSED(KAON_EINVAL, "min is 5, more than max, 4",
                   kaon_pool_create_from(&pool, snapshot,
                                         KAON_POOL_OPTS(.min = 5, .max = 4),
                                         &err));
    ASSERT_REFUSED(KAON_EINVAL, "max is 65536: it must be from 1 to 65535",
                   kaon_pool_create_from(&pool, snapshot,
                                         KAON_POOL_OPTS(.max = 65536), &err));
    ASSERT_REFUSED(
        KAON_EINVAL, "resident is 3, more than min, 2",
        kaon_pool_create_from(&pool, snapshot,
                              KAON_POOL_OPTS(.min = 2, .resident = 3), &err));
    ASSERT_REFUSED(KAON_EINVAL, "max is 70000",
                   kaon_pool_create(&pool, &out, image,
                                    KAON_POOL_OPTS(.min = 70000), &err));
    ASSERT_REFUSED(
        KAON_EINVAL, "heap_bytes is 4096, the snapshot's is",
        kaon_pool_create_from(
            &pool, snapshot,
            KAON_POOL_OPTS(.sandbox = KAON_SANDBOX_OPTS(.heap_bytes = 4096)),
            &err));
    ASSERT_REFUSED(KAON_EINVAL, "must not be NULL",
                   kaon_pool_create_from(&pool, NULL, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "must not be NULL",
                   kaon_pool_create(&pool, NULL, image, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "must not be NULL",
                   kaon_pool_acquire(NULL, NULL, 0, &err));
    assert_int_equal(kaon_pool_stats(NULL, NULL), KAON_EINVAL);
    assert_null(pool);
    kaon_pool_destroy(NULL);
    kaon_snapshot_destroy(snapshot);
}

static int release_within(struct kaon_host_call *host_call,
                          const struct kaon_value *args,
                          struct kaon_value *result, void *user)
{
    struct waiter *waiter = user;

    (void)host_call;
    (void)args;
    (void)result;
    waiter->status = kaon_pool_release(waiter->pool, waiter->sandbox);
    return 0;
}

static void a_release_that_cannot_be_is_refused(void **state)
{
    struct waiter waiter = { .status = KAON_OK };
    struct kaon_sandbox *alone = e2e_basics();
    struct kaon_image *image = e2e_image("stop");
    struct kaon_pool *other = POOL(true, .max = 1);
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostHere", KAON_TYPE_VOID,
                                      KAON_PARAMS(KAON_TYPE_I32),
                                      release_within, &waiter, &err));
    ASSERT_OK(kaon_pool_create(
        &waiter.pool, &out, image,
        KAON_POOL_OPTS(.sandbox = KAON_SANDBOX_OPTS(.host_functions = set)),
        &err));
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);

    waiter.sandbox = e2e_acquire(waiter.pool);
    ASSERT_RETURNS(1, waiter.sandbox, "here", KAON_NO_ARGS);
    assert_int_equal(waiter.status, KAON_EBUSY);
    assert_int_equal(kaon_pool_release(other, waiter.sandbox), KAON_EINVAL);
    assert_int_equal(kaon_pool_release(other, alone), KAON_EINVAL);
    assert_int_equal(kaon_pool_release(NULL, alone), KAON_EINVAL);
    assert_int_equal(kaon_pool_release(other, NULL), KAON_OK);
    release(waiter.pool, waiter.sandbox);
    assert_int_equal(kaon_pool_release(waiter.pool, waiter.sandbox),
                     KAON_EINVAL);
    kaon_sandbox_destroy(alone);
    kaon_pool_destroy(waiter.pool);
    kaon_pool_destroy(other);
}

static void to_destroy_one_is_to_release_it(void **state)
{
    struct kaon_pool *pool = POOL(true, .max = 1);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct kaon_sandbox *sandbox = e2e_acquire(pool);

        assert_clean(sandbox);
        kaon_sandbox_destroy(sandbox);
    }
    assert_int_equal(stats_of(pool).created, 1);
    kaon_pool_destroy(pool);
}

static void what_is_in_use_outlives_its_pool(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool = POOL(shared, .min = 3, .max = 4);
        struct kaon_sandbox *a = e2e_acquire(pool), *b = e2e_acquire(pool);

        kaon_pool_destroy(pool);
        assert_clean(a);
        release(pool, a);
        call(b, KAON_ABORT, 0, "abort",
             KAON_ARGS(kaon_i32(1), kaon_string("enough")));
        release(pool, b);
    }
}

static int use_in_child(void *user)
{
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };

    CHILD_CHECK(kaon_pool_acquire(user, &sandbox, SECOND, &err) ==
                KAON_EBACKEND);
    CHILD_CHECK(kaon_pool_acquire(user, &sandbox, SECOND, &err) ==
                KAON_EBACKEND);
    CHILD_CHECK(strstr(err.text, "fork()"));
    kaon_pool_destroy(user);
    return 0;
}

static void a_child_is_told_that_it_has_no_pool(void **state)
{
    struct kaon_pool *pool = POOL(true, .max = 1);
    struct kaon_sandbox *sandbox;

    (void)state;
    e2e_in_child(use_in_child, pool, 10);
    sandbox = e2e_acquire(pool);
    assert_clean(sandbox);
    release(pool, sandbox);
    kaon_pool_destroy(pool);
}

/* ---- Many at once ------------------------------------------------------ */

#define THREADS 16

struct user {
    struct kaon_pool *pool;
    unsigned turns, wrong;
};

static void *use(void *data)
{
    struct user *user = data;

    for (unsigned i = 0; i < user->turns; i++) {
        struct kaon_sandbox *sandbox;
        struct kaon_outcome out;

        if (kaon_pool_acquire(user->pool, &sandbox, KAON_FOREVER, NULL) ||
            kaon_call(sandbox, &out, "count", KAON_NO_ARGS, NULL, NULL) ||
            out.kind != KAON_RETURNED || out.value.i32 != 1 ||
            kaon_pool_release(user->pool, sandbox))
            user->wrong++;
    }
    return NULL;
}

/* More threads than sandboxes: most of them wait, most of the time. */
static void threads_take_turns(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_pool *pool =
            POOL(shared, .max = 4, .linger_ns = MILLISECOND);
        struct user users[THREADS];
        pthread_t threads[THREADS];

        for (unsigned i = 0; i < THREADS; i++) {
            users[i] = (struct user){ .pool = pool, .turns = e2e_scaled(500) };
            pthread_create(&threads[i], NULL, use, &users[i]);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(users[i].wrong, 0);
        }
        assert_int_equal(stats_of(pool).acquired, THREADS * e2e_scaled(500));
        assert_int_equal(stats_of(pool).in_use, 0);
        kaon_pool_destroy(pool);
    }
}

TESTS_NEED_KVM(TEST_ROW(25, each_user_finds_the_guest_as_it_was_initialised),
               TEST(what_is_small_is_cleaned_at_once),
               TEST_ROW(25, a_poisoned_one_is_healed_or_replaced),
               TEST(a_stop_does_not_hit_the_next_user),
               TEST(one_that_grew_is_replaced),
               TEST(a_snapshot_taken_and_restored_meanwhile_is_of_no_matter),
               TEST_ROW(25, mappings_are_gone_for_the_next_user),
               TEST_ROW(25, the_first_call_of_a_resident_one_is_clean),
               TEST(what_a_user_makes_resident_or_not_is_undone),
               TEST(all_in_use_is_busy_and_says_so),
               TEST(who_waits_gets_what_is_released),
               TEST(min_are_ready_beside_those_in_use),
               TEST(what_nobody_needs_is_ended),
               TEST(a_pool_too_large_says_how_many_it_has),
               TEST(a_guest_that_cannot_start_is_an_outcome),
               TEST(options_are_refused_by_name),
               TEST(a_release_that_cannot_be_is_refused),
               TEST(to_destroy_one_is_to_release_it),
               TEST(what_is_in_use_outlives_its_pool),
               TEST(a_child_is_told_that_it_has_no_pool),
               TEST_ROW_LIMIT(26, 120, threads_take_turns))

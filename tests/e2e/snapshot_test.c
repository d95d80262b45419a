/* SPDX-License-Identifier: Apache-2.0 */
/* State that is kept, put back, and gone on from. */
#include "e2e/e2e.h"

#include <stdlib.h>

#define SECRET UINT64_C(0x5ec2e75ec2e75ec2)

static struct kaon_snapshot_stats kept_by(struct kaon_snapshot *snapshot)
{
    struct kaon_snapshot_stats stats;

    assert_int_equal(kaon_snapshot_stats(snapshot, &stats), KAON_OK);
    return stats;
}

static struct kaon_domain *make_domain(void)
{
    struct kaon_domain *domain = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_domain_create(
        &domain, KAON_DOMAIN_OPTS(.memory_bytes = UINT64_C(512) << 20), &err));
    return domain;
}

static void write_page(struct kaon_sandbox *sandbox, uint32_t page,
                       uint64_t value)
{
    e2e_ask(sandbox, "write_page", KAON_ARGS(kaon_u32(page), kaon_u64(value)));
}

static uint64_t read_page(struct kaon_sandbox *sandbox, uint32_t page)
{
    return e2e_ask(sandbox, "read_page", KAON_ARGS(kaon_u32(page)));
}

/* ---- Restoring --------------------------------------------------------- */

static void the_old_value_is_back(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("memory", NULL);
    struct kaon_snapshot *snapshot;

    (void)state;
    write_page(sandbox, 3, 30);
    snapshot = e2e_take(sandbox);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(read_page(sandbox, 3), 30);
        write_page(sandbox, 3, 31);
        write_page(sandbox, (uint32_t)(4 + i), 40);
        e2e_restore(sandbox, snapshot);
        assert_int_equal(read_page(sandbox, (uint32_t)(4 + i)), 7);
    }
    kaon_snapshot_destroy(snapshot);
    assert_int_equal(read_page(sandbox, 3), 30);
    kaon_sandbox_destroy(sandbox);
}

static void each_of_many_snapshots_keeps_its_own(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("memory", NULL);
    struct kaon_snapshot *snapshots[40];

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        write_page(sandbox, i, 100 + i);
        snapshots[i] = e2e_take(sandbox);
        assert_in_range(kept_by(snapshots[i]).layers, 1, 16);
    }
    for (uint32_t i = 40; i-- > 0;) {
        e2e_restore(sandbox, snapshots[(i * 7) % 40]);
        for (uint32_t page = 0; page < 64; page++)
            assert_int_equal(read_page(sandbox, page),
                             page <= (i * 7) % 40 ? 100 + page : 7);
    }
    for (uint32_t i = 0; i < 40; i++)
        kaon_snapshot_destroy(snapshots[i]);
    kaon_sandbox_destroy(sandbox);
}

static void a_snapshot_of_another_sandbox_fits(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = shared ? make_domain() : NULL;
        struct kaon_image *image = e2e_image("memory");
        struct kaon_sandbox *a, *b, *c;
        struct kaon_snapshot *snapshot, *first;
        struct kaon_error err = { 0 };

        ASSERT_OK(kaon_sandbox_create(
            &a, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        ASSERT_OK(kaon_sandbox_create(
            &b, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        ASSERT_OK(kaon_sandbox_create(
            &c, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        first = e2e_take(a);
        for (uint32_t page = 0; page < 32; page++)
            write_page(a, page, 1000 + page);
        snapshot = e2e_take(a);
        for (uint32_t page = 20; page < 64; page++)
            write_page(b, page, 2000 + page);
        for (int round = 0; round < 3; round++) {
            for (uint32_t page = 0; page < 64; page++) /* as b's CPU sees it */
                read_page(b, page);
            e2e_restore(b, snapshot);
            for (uint32_t page = 0; page < 64; page++)
                assert_int_equal(read_page(b, page),
                                 page < 32 ? 1000 + page : 7);
            e2e_restore(b, first);
            for (uint32_t page = 0; page < 64; page++)
                assert_int_equal(read_page(b, page), 7);
        }
        assert_int_equal(read_page(c, 5), 7);
        assert_int_equal(read_page(a, 5), 1005);
        kaon_snapshot_destroy(first);
        kaon_snapshot_destroy(snapshot);
        kaon_sandbox_destroy(a);
        kaon_sandbox_destroy(b);
        kaon_sandbox_destroy(c);
        kaon_image_destroy(image);
        kaon_domain_destroy(domain);
    }
}

static void nothing_of_a_use_is_seen_after_a_restore(void **state)
{
    struct kaon_sandbox *sandbox =
        e2e_sandbox("memory", KAON_SANDBOX_OPTS(.heap_bytes = 1 << 20));
    struct kaon_snapshot *snapshot = e2e_take(sandbox);

    (void)state;
    for (int i = 0; i < 3; i++) {
        e2e_ask(sandbox, "bury", KAON_ARGS(kaon_u64(~SECRET)));
        assert_true(e2e_ask(sandbox, "dig", KAON_ARGS(kaon_u64(~SECRET))) >
                    1000);
        e2e_restore(sandbox, snapshot);
        assert_int_equal(e2e_ask(sandbox, "dig", KAON_ARGS(kaon_u64(~SECRET))),
                         0);
        assert_true(e2e_ask(sandbox, "is_pristine", KAON_NO_ARGS));
    }
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
}

static void a_poisoned_sandbox_is_ready_again(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot, *none = NULL;
    struct kaon_outcome out;

    (void)state;
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    snapshot = e2e_take(sandbox);
    for (int i = 0; i < 5; i++) {
        ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
        if (i % 2)
            ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                                KAON_CALL_OPTS(.deadline_ns = 20 * MILLISECOND),
                                &err));
        else
            ASSERT_OK(kaon_call(sandbox, &out, "recurse",
                                KAON_ARGS(kaon_i32(1 << 30)), NULL, &err));
        ASSERT_OUTCOME(i % 2 ? KAON_DEADLINE : KAON_STACK_OVERFLOW, out);
        ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                       kaon_snapshot_take(&none, sandbox, &err));
        e2e_restore(sandbox, snapshot);
        assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    }
    ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
}

static void a_snapshot_of_another_kind_is_refused(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_sandbox *other = e2e_sandbox("memory", NULL);
    struct kaon_sandbox *larger =
        e2e_sandbox("memory", KAON_SANDBOX_OPTS(.heap_bytes = 1 << 20));
    struct kaon_snapshot *snapshot = e2e_take(other), *large = e2e_take(larger);
    struct kaon_sandbox *none = NULL;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    ASSERT_REFUSED(KAON_EINVAL, "another image",
                   kaon_sandbox_restore(sandbox, snapshot, &err));
    ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
    write_page(other, 1, 5);
    ASSERT_REFUSED(KAON_EINVAL, "another image",
                   kaon_sandbox_restore(other, large, &err));
    assert_int_equal(read_page(other, 1), 5);
    ASSERT_REFUSED(
        KAON_EINVAL, "heap_bytes is 4096, the snapshot's is 16777216",
        kaon_sandbox_create_from(&none, snapshot,
                                 KAON_SANDBOX_OPTS(.heap_bytes = 4096), &err));
    assert_null(none);
    kaon_snapshot_destroy(snapshot);
    kaon_snapshot_destroy(large);
    kaon_sandbox_destroy(sandbox);
    kaon_sandbox_destroy(other);
    kaon_sandbox_destroy(larger);
}

static void another_layout_is_refused(void **state)
{
    struct kaon_image *image = e2e_image("memory");
    struct kaon_sandbox *sandbox, *larger;
    struct kaon_snapshot *snapshot;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    ASSERT_OK(kaon_sandbox_create(
        &larger, image, KAON_SANDBOX_OPTS(.stack_bytes = 1 << 20), &err));
    snapshot = e2e_take(larger);
    write_page(sandbox, 1, 5);
    ASSERT_REFUSED(KAON_EINVAL, "another layout",
                   kaon_sandbox_restore(sandbox, snapshot, &err));
    assert_int_equal(read_page(sandbox, 1), 5);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
    kaon_sandbox_destroy(larger);
    kaon_image_destroy(image);
}

/* ---- Creating ---------------------------------------------------------- */

static void sandboxes_go_on_from_a_snapshot(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = shared ? make_domain() : NULL;
        struct kaon_sandbox *origin = e2e_sandbox("memory", NULL);
        struct kaon_sandbox *made[10];
        struct kaon_snapshot *snapshot;

        write_page(origin, 9, 90);
        assert_int_equal(
            e2e_ask(origin, "touch_heap", KAON_ARGS(kaon_u32(100))), 100);
        snapshot = e2e_take(origin);
        write_page(origin, 9, 91);
        for (uint32_t i = 0; i < 10; i++) {
            made[i] = e2e_create_from(snapshot, domain);
            assert_int_equal(read_page(made[i], 9), 90);
            write_page(made[i], 10 + i, i);
            write_page(made[i], 9, i);
        }
        for (uint32_t i = 0; i < 10; i++)
            for (uint32_t page = 9; page < 20; page++)
                assert_int_equal(read_page(made[i], page),
                                 page == 9 || page == 10 + i ? i : 7);
        for (uint32_t i = 0; i < 10; i++) {
            e2e_restore(made[i], snapshot);
            assert_int_equal(read_page(made[i], 9), 90);
            assert_int_equal(read_page(made[i], 10 + i), 7);
            kaon_sandbox_destroy(made[i]);
        }
        assert_int_equal(read_page(origin, 9), 91);
        kaon_snapshot_destroy(snapshot);
        kaon_sandbox_destroy(origin);
        kaon_domain_destroy(domain);
    }
}

static void initialisation_does_not_run_again(void **state)
{
    struct kaon_sandbox *origin = e2e_basics(), *made = NULL;
    struct kaon_host_functions *functions = e2e_functions();
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot;

    (void)state;
    ASSERT_RETURNS(1, origin, "count", KAON_NO_ARGS);
    snapshot = e2e_take(origin);
    ASSERT_OK(kaon_sandbox_create_from(
        &made, snapshot, KAON_SANDBOX_OPTS(.host_functions = functions), &err));
    ASSERT_RETURNS(2, made, "count", KAON_NO_ARGS);
    ASSERT_RETURNS(123, made, "init_order", KAON_NO_ARGS);
    kaon_sandbox_destroy(made);
    ASSERT_REFUSED(KAON_EIMPORT, "HostAdd",
                   kaon_sandbox_create_from(&made, snapshot, NULL, &err));
    kaon_host_functions_destroy(functions);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(origin);
}

static void what_sandboxes_wrote_the_next_gets_at_once(void **state)
{
    struct kaon_domain *domain = make_domain();
    struct kaon_sandbox *origin = e2e_sandbox("memory", NULL);
    struct kaon_snapshot *snapshot = e2e_take(origin);
    struct kaon_sandbox *first = e2e_create_from(snapshot, domain), *second;

    (void)state;
    for (uint32_t page = 0; page < 16; page++)
        write_page(first, page, 1);
    if (!isolation_is_process()) {
        assert_true(e2e_stats(first).page_faults >= 16);
        assert_true(kept_by(snapshot).write_set >= 16);
    }
    second = e2e_create_from(snapshot, domain);
    for (uint32_t page = 0; page < 16; page++)
        write_page(second, page, 2);
    assert_int_equal(e2e_stats(second).page_faults, 0);
    assert_int_equal(e2e_stats(second).exits, 16);
    kaon_sandbox_destroy(first);
    kaon_sandbox_destroy(second);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(origin);
    kaon_domain_destroy(domain);
}

/* One sandbox wrote 40 pages, and hundreds that follow write one. */
static void what_no_sandbox_writes_again_is_forgotten(void **state)
{
    enum { MADE = 310 };
    struct kaon_domain *domain = make_domain();
    struct kaon_sandbox *origin = e2e_sandbox("memory", NULL), *made[MADE];
    struct kaon_snapshot *snapshot = e2e_take(origin);
    uint64_t given[MADE], faults = 0;
    size_t count = isolation_is_process() ? 2 : MADE; /* no faults there */

    (void)state;
    made[0] = e2e_create_from(snapshot, domain);
    for (uint32_t page = 0; page < 40; page++)
        write_page(made[0], page, 1);
    for (size_t i = 1; i < count; i++) {
        given[i] = kept_by(snapshot).write_set;
        made[i] = e2e_create_from(snapshot, domain);
        write_page(made[i], 7, 2);
        faults += e2e_stats(made[i]).page_faults;
    }
    if (count == MADE) {
        assert_in_range(given[1], 40, 50);
        assert_int_equal(given[256], given[1]);
        assert_in_range(given[MADE - 1], 1, 10);
        /* Each page that it writes, its stack's too, was left out once. */
        assert_int_equal(faults, given[MADE - 1]);
    }
    for (size_t i = 0; i < count; i++)
        kaon_sandbox_destroy(made[i]);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(origin);
    kaon_domain_destroy(domain);
}

static void a_layered_snapshot_shares_what_did_not_change(void **state)
{
    struct kaon_sandbox *origin = e2e_sandbox("memory", NULL), *made;
    struct kaon_snapshot *first, *second;

    (void)state;
    for (uint32_t page = 0; page < 60; page++)
        write_page(origin, page, 100 + page);
    first = e2e_take(origin);
    made = e2e_create_from(first, NULL);
    write_page(made, 50, 1);
    second = e2e_take(made);
    assert_true(kept_by(second).pages >= 60);
    assert_in_range(kept_by(second).own_pages, 1, 8);
    assert_int_equal(kept_by(second).layers, 2);
    kaon_snapshot_destroy(first);
    kaon_sandbox_destroy(origin);
    e2e_restore(made, second);
    kaon_sandbox_destroy(made);
    made = e2e_create_from(second, NULL);
    for (uint32_t page = 0; page < 60; page++)
        assert_int_equal(read_page(made, page), page == 50 ? 1 : 100 + page);
    kaon_sandbox_destroy(made);
    kaon_snapshot_destroy(second);
}

/* ---- Pages that many share --------------------------------------------- */

#define PAGES 16384u /* 64 MiB */
#define STEP 512u    /* so many pages a table has */
#define BASE UINT64_C(0x1000000)

static void poke(struct kaon_sandbox *sandbox, uint32_t page, uint64_t value)
{
    e2e_ask(sandbox, "poke", KAON_ARGS(kaon_u32(page), kaon_u64(value)));
}

static uint64_t peek(struct kaon_sandbox *sandbox, uint32_t page)
{
    return e2e_ask(sandbox, "peek", KAON_ARGS(kaon_u32(page)));
}

/* Reads pages in each table: as a CPU sees them that has seen them before. */
static void assert_state(struct kaon_sandbox *sandbox)
{
    assert_int_equal(e2e_ask(sandbox, "find_other",
                             KAON_ARGS(kaon_u32(0), kaon_u32(PAGES / STEP * 4),
                                       kaon_u32(STEP / 4), kaon_u64(BASE))),
                     UINT32_MAX);
}

/* A sandbox whose heap is full, and a snapshot of it. */
static struct kaon_snapshot *take_large(void)
{
    struct kaon_sandbox *origin = e2e_sandbox(
        "state", KAON_SANDBOX_OPTS(.heap_bytes = PAGES * UINT64_C(4096)));
    struct kaon_snapshot *snapshot;

    e2e_ask(
        origin, "poke_many",
        KAON_ARGS(kaon_u32(0), kaon_u32(PAGES), kaon_u32(1), kaon_u64(BASE)));
    snapshot = e2e_take(origin);
    kaon_sandbox_destroy(origin);
    return snapshot;
}

static void what_one_writes_the_others_do_not_see(void **state)
{
    struct kaon_snapshot *snapshot = take_large();
    struct kaon_domain *domain = make_domain();
    struct kaon_sandbox *made[4];

    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        made[i] = e2e_create_from(snapshot, domain);
    for (uint32_t i = 0; i < 4; i++)
        assert_state(made[i]);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 4; i++)
            for (uint32_t table = 0; table < 8; table++)
                poke(made[i], table * STEP + round * 8 + i, 100 * i + round);
        for (uint32_t i = 0; i < 4; i++)
            for (uint32_t other = 0; other < 4; other++)
                for (uint32_t table = 0; table < 8; table++) {
                    uint32_t page = table * STEP + round * 8 + other;

                    assert_int_equal(peek(made[i], page), i == other
                                                              ? 100 * i + round
                                                              : BASE + page);
                }
        for (uint32_t i = 0; i < 4; i++) {
            e2e_restore(made[i], snapshot);
            assert_state(made[i]);
        }
    }
    for (uint32_t i = 0; i < 4; i++)
        kaon_sandbox_destroy(made[i]);
    kaon_snapshot_destroy(snapshot);
    kaon_domain_destroy(domain);
}

/* ---- What differs though the state is the same ------------------------- */

static uint64_t draw(struct kaon_sandbox *sandbox)
{
    return e2e_ask(sandbox, "random_number", KAON_NO_ARGS);
}

static void equal_sandboxes_draw_other_numbers(void **state)
{
    struct kaon_sandbox *origin = e2e_sandbox("state", NULL), *a, *b;
    struct kaon_domain *domain = make_domain();
    struct kaon_snapshot *snapshot;
    uint64_t drawn[24];
    unsigned count = 0;

    (void)state;
    drawn[count++] = draw(origin); /* so that the generator is in the state */
    snapshot = e2e_take(origin);
    a = e2e_create_from(snapshot, domain);
    b = e2e_create_from(snapshot, domain);
    for (int i = 0; i < 4; i++) {
        drawn[count++] = draw(origin);
        drawn[count++] = draw(a);
        drawn[count++] = draw(b);
        e2e_restore(origin, snapshot);
        e2e_restore(a, snapshot);
    }
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(drawn[i], drawn[j]);
    kaon_sandbox_destroy(origin);
    kaon_sandbox_destroy(a);
    kaon_sandbox_destroy(b);
    kaon_snapshot_destroy(snapshot);
    kaon_domain_destroy(domain);
}

static uint64_t generation(struct kaon_sandbox *sandbox)
{
    return e2e_ask(sandbox, "generation", KAON_NO_ARGS);
}

static void a_guest_can_tell_that_it_was_put_back(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = shared ? make_domain() : NULL;
        struct kaon_image *image = e2e_image("state");
        struct kaon_sandbox *a, *b, *made;
        struct kaon_snapshot *first, *second;
        struct kaon_error err = { 0 };
        uint64_t seen;

        ASSERT_OK(kaon_sandbox_create(
            &a, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        ASSERT_OK(kaon_sandbox_create(
            &b, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        seen = generation(a);
        assert_int_equal(generation(a), seen);
        first = e2e_take(a);
        assert_int_equal(generation(a), seen);
        for (int i = 0; i < 3; i++) {
            e2e_restore(a, first);
            assert_true(generation(a) > seen);
            seen = generation(a);
            assert_int_equal(generation(a), seen);
        }
        second = e2e_take(a); /* whose guest has seen all of these */
        made = e2e_create_from(second, domain);
        assert_true(generation(made) > seen);
        e2e_restore(b, second);
        assert_true(generation(b) > seen);
        seen = generation(b);
        e2e_restore(b, first);
        assert_true(generation(b) > seen);
        kaon_sandbox_destroy(made);
        kaon_sandbox_destroy(a);
        kaon_sandbox_destroy(b);
        kaon_snapshot_destroy(first);
        kaon_snapshot_destroy(second);
        kaon_image_destroy(image);
        kaon_domain_destroy(domain);
    }
}

/* ---- In numbers -------------------------------------------------------- */

/* Each takes memory of the domain, a memslot and a descriptor. */
static void a_domain_outlives_ten_thousand_snapshots(void **state)
{
    unsigned rounds = e2e_scaled(isolation_is_process() ? 300 : 10000);
    struct kaon_domain *domain = NULL;
    struct kaon_sandbox *origin = e2e_sandbox("memory", NULL);
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_OK(kaon_domain_create(
        &domain, KAON_DOMAIN_OPTS(.memory_bytes = isolation_memory(8 << 20)),
        &err));
    for (uint32_t i = 0; i < rounds; i++) {
        struct kaon_snapshot *snapshot;
        struct kaon_sandbox *made;

        write_page(origin, i % 64, i);
        snapshot = e2e_take(origin);
        made = e2e_create_from(snapshot, domain);
        kaon_snapshot_destroy(snapshot);
        assert_int_equal(read_page(made, i % 64), i);
        kaon_sandbox_destroy(made);
    }
    kaon_sandbox_destroy(origin);
    kaon_domain_destroy(domain);
}

/* ---- Limits ------------------------------------------------------------ */

static void null_is_refused_or_fine(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("memory", NULL), *made;
    struct kaon_snapshot *snapshot = e2e_take(sandbox);
    struct kaon_snapshot_stats stats;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_snapshot_take(NULL, sandbox, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_snapshot_take(&snapshot, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_sandbox_restore(NULL, snapshot, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_sandbox_restore(sandbox, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_sandbox_create_from(NULL, snapshot, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_sandbox_create_from(&made, NULL, NULL, &err));
    assert_int_equal(kaon_snapshot_stats(NULL, &stats), KAON_EINVAL);
    assert_int_equal(kaon_snapshot_stats(snapshot, NULL), KAON_EINVAL);
    assert_null(kaon_snapshot_image(NULL));
    assert_null(kaon_snapshot_hold(NULL));
    kaon_snapshot_destroy(NULL);
    assert_ptr_equal(kaon_snapshot_hold(snapshot), snapshot);
    kaon_snapshot_destroy(snapshot);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
}

TESTS_NEED_KVM(TEST_ROW(10, the_old_value_is_back),
               TEST(each_of_many_snapshots_keeps_its_own),
               TEST_ROW(12, a_snapshot_of_another_sandbox_fits),
               TEST_ROW(25, nothing_of_a_use_is_seen_after_a_restore),
               TEST_ROW(11, a_poisoned_sandbox_is_ready_again),
               TEST_ROW(13, a_snapshot_of_another_kind_is_refused),
               TEST_ROW(13, another_layout_is_refused),
               TEST(sandboxes_go_on_from_a_snapshot),
               TEST(initialisation_does_not_run_again),
               TEST(what_sandboxes_wrote_the_next_gets_at_once),
               TEST(what_no_sandbox_writes_again_is_forgotten),
               TEST(a_layered_snapshot_shares_what_did_not_change),
               TEST(what_one_writes_the_others_do_not_see),
               TEST(equal_sandboxes_draw_other_numbers),
               TEST(a_guest_can_tell_that_it_was_put_back),
               TEST_LIMIT(300, a_domain_outlives_ten_thousand_snapshots),
               TEST(null_is_refused_or_fine))

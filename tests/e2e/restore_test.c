/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restores beside calls, in other threads and of other sandboxes; and of
 * sandboxes that were stopped in the middle of something.
 */
#include "e2e/e2e.h"
#include "support/processes.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct kaon_domain *make_domain(uint32_t vcpus)
{
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_domain_create(
        &domain,
        KAON_DOMAIN_OPTS(.vcpus_max = vcpus,
                         .memory_bytes = isolation_memory(1 << 30)),
        &err));
    return domain;
}

/* ---- A hundred of one snapshot ----------------------------------------- */

#define THREADS 100u
#define PAGES 600u /* of heap: in more than one table */
#define BASE 1000u

struct worker {
    pthread_t thread;
    struct kaon_domain *domain;
    struct kaon_snapshot *snapshot;
    unsigned number, turns;
    bool good;
};

/* Without assertions, which are the first thread's. */
static bool get(struct kaon_sandbox *sandbox, const char *function,
                const struct kaon_value *args, size_t count, uint64_t *value)
{
    struct kaon_outcome out;

    if (kaon_call(sandbox, &out, function, args, count, NULL, NULL) ||
        out.kind != KAON_RETURNED)
        return false;
    if (value)
        *value = out.value.u64;
    return true;
}

/* Writes where the others read, reads where the others write, and is put
 * back. */
static bool take_turn(const struct worker *worker, struct kaon_sandbox *sandbox,
                      uint32_t turn)
{
    const uint32_t mine = (worker->number * 5 + turn * 101) % PAGES;
    const uint32_t other = (mine + 5) % PAGES;
    uint64_t value;

    return get(sandbox, "poke",
               KAON_ARGS(kaon_u32(mine), kaon_u64(worker->number)), NULL) &&
           get(sandbox, "peek", KAON_ARGS(kaon_u32(other)), &value) &&
           value == BASE + other &&
           get(sandbox, "peek", KAON_ARGS(kaon_u32(mine)), &value) &&
           value == worker->number &&
           kaon_sandbox_restore(sandbox, worker->snapshot, NULL) == KAON_OK &&
           get(sandbox, "peek", KAON_ARGS(kaon_u32(mine)), &value) &&
           value == BASE + mine;
}

static void *work(void *user)
{
    struct worker *worker = user;
    struct kaon_sandbox *sandbox;

    if (kaon_sandbox_create_from(&sandbox, worker->snapshot,
                                 KAON_SANDBOX_OPTS(.domain = worker->domain),
                                 NULL))
        return NULL;
    worker->good = true;
    for (uint32_t i = 0; worker->good && i < worker->turns; i++)
        worker->good = take_turn(worker, sandbox, i);
    kaon_sandbox_destroy(sandbox);
    return NULL;
}

static void a_hundred_threads_restore_and_call_their_own(void **state)
{
    static struct worker workers[THREADS];
    struct kaon_sandbox *origin =
        e2e_sandbox("state", KAON_SANDBOX_OPTS(.heap_bytes = 4 << 20));
    struct kaon_domain *domain = make_domain(THREADS);
    struct kaon_snapshot *snapshot;

    (void)state;
    e2e_ask(
        origin, "poke_many",
        KAON_ARGS(kaon_u32(0), kaon_u32(PAGES), kaon_u32(1), kaon_u64(BASE)));
    snapshot = e2e_take(origin);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .domain = domain,
                                      .snapshot = snapshot,
                                      .number = i,
                                      .turns = e2e_scaled(20) };
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        assert_true(workers[i].good);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(origin);
    kaon_domain_destroy(domain);
}

/* ---- One that two threads want ----------------------------------------- */

struct restorer {
    struct kaon_sandbox *sandbox;
    struct kaon_snapshot *snapshots[2];
    atomic_bool stop;
    atomic_uint restores;
    unsigned failures;
};

static void *restore_in_turn(void *user)
{
    struct restorer *restorer = user;

    for (unsigned i = 0; !atomic_load(&restorer->stop); i++) {
        enum kaon_status status = kaon_sandbox_restore(
            restorer->sandbox, restorer->snapshots[i % 2], NULL);

        if (status == KAON_OK)
            atomic_fetch_add(&restorer->restores, 1);
        restorer->failures += status != KAON_OK && status != KAON_EBUSY;
        sched_yield();
    }
    return NULL;
}

/*
 * All pages of the guest's data count the same: the guest fails if not. Each
 * snapshot is of another count, and the sandbox only reads: it owns none of
 * the pages, so that each restore gives it another memory.
 */
static void a_call_runs_in_one_state_whoever_restores_beside_it(void **state)
{
    struct kaon_domain *domain = make_domain(4);
    struct kaon_image *image = e2e_image("memory");
    struct kaon_sandbox *sandbox, *neighbour;
    struct restorer restorer = { .failures = 0 };
    struct kaon_error err = { 0 };
    unsigned calls = 0;
    pthread_t thread;

    (void)state;
    ASSERT_OK(kaon_sandbox_create(&sandbox, image,
                                  KAON_SANDBOX_OPTS(.domain = domain), &err));
    ASSERT_OK(kaon_sandbox_create(&neighbour, image,
                                  KAON_SANDBOX_OPTS(.domain = domain), &err));
    restorer.snapshots[0] = e2e_take(neighbour);
    e2e_ask(neighbour, "step_all", KAON_NO_ARGS);
    e2e_ask(neighbour, "step_all", KAON_NO_ARGS);
    restorer.snapshots[1] = e2e_take(neighbour);
    restorer.sandbox = sandbox;
    assert_int_equal(pthread_create(&thread, NULL, restore_in_turn, &restorer),
                     0);
    for (unsigned i = 0;
         i < e2e_scaled(300) || !calls || atomic_load(&restorer.restores) < 4;
         i++) {
        struct kaon_outcome out;
        enum kaon_status status =
            kaon_call(sandbox, &out, "read_all", KAON_NO_ARGS, NULL, &err);

        assert_true(status == KAON_OK || status == KAON_EBUSY);
        if (status == KAON_OK)
            ASSERT_OUTCOME(KAON_RETURNED, out);
        calls += status == KAON_OK;
        assert_int_equal(e2e_ask(neighbour, "step_all", KAON_NO_ARGS), 10 + i);
    }
    atomic_store(&restorer.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(restorer.failures, 0);
    kaon_snapshot_destroy(restorer.snapshots[0]);
    kaon_snapshot_destroy(restorer.snapshots[1]);
    kaon_sandbox_destroy(sandbox);
    kaon_sandbox_destroy(neighbour);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* ---- Resident ---------------------------------------------------------- */

/* To states that fit it and to others, in place and with another memory. */
static void a_resident_sandbox_is_put_back(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = shared ? make_domain(4) : NULL;
        struct kaon_image *image = e2e_image("memory");
        struct kaon_sandbox *sandbox, *other;
        struct kaon_snapshot *snapshots[2];
        struct kaon_error err = { 0 };

        ASSERT_OK(kaon_sandbox_create(
            &sandbox, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        ASSERT_OK(kaon_sandbox_create(
            &other, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        snapshots[0] = e2e_take(other);
        e2e_ask(other, "step_all", KAON_NO_ARGS);
        snapshots[1] = e2e_take(other);
        ASSERT_OK(kaon_sandbox_start_resident(sandbox, NULL, &err));
        for (unsigned i = 0; i < 20; i++) {
            e2e_restore(sandbox, snapshots[i / 2 % 2]);
            assert_int_equal(e2e_ask(sandbox, "read_all", KAON_NO_ARGS),
                             7 + i / 2 % 2);
            if (i > 10)
                assert_int_equal(e2e_ask(sandbox, "step_all", KAON_NO_ARGS),
                                 8 + i / 2 % 2);
        }
        assert_int_equal(e2e_ask(other, "step_all", KAON_NO_ARGS), 9);
        kaon_snapshot_destroy(snapshots[0]);
        kaon_snapshot_destroy(snapshots[1]);
        kaon_sandbox_destroy(sandbox);
        kaon_sandbox_destroy(other);
        kaon_image_destroy(image);
        kaon_domain_destroy(domain);
    }
}

/* ---- Stopped in the middle --------------------------------------------- */

static void *spin(void *user)
{
    struct kaon_outcome out = { .kind = KAON_RETURNED };

    if (kaon_call(user, &out, "spin", KAON_NO_ARGS, NULL, NULL) ||
        out.kind != KAON_CANCELLED)
        return user;
    return NULL;
}

static void a_sandbox_that_runs_is_busy_and_ready_once_stopped(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_snapshot *snapshot, *none = NULL;
    struct kaon_error err = { 0 };
    pthread_t thread;
    void *failed;

    (void)state;
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    snapshot = e2e_take(sandbox);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&thread, NULL, spin, sandbox), 0);
        while (kaon_sandbox_state(sandbox) != KAON_SANDBOX_RUNNING)
            e2e_sleep(MILLISECOND);
        ASSERT_REFUSED(KAON_EBUSY, "running",
                       kaon_sandbox_restore(sandbox, snapshot, &err));
        ASSERT_REFUSED(KAON_EBUSY, "running",
                       kaon_snapshot_take(&none, sandbox, &err));
        ASSERT_OK(kaon_sandbox_interrupt(sandbox, &err));
        pthread_join(thread, &failed);
        assert_null(failed);
        e2e_restore(sandbox, snapshot);
        ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
    }
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
}

/* An interrupt finds no call, but a restore: nothing is left of it. */
static void *interrupt_often(void *user)
{
    struct restorer *restorer = user;

    while (!atomic_load(&restorer->stop)) {
        restorer->failures +=
            kaon_sandbox_interrupt(restorer->sandbox, NULL) != KAON_OK;
        sched_yield();
    }
    return NULL;
}

static void an_interrupt_during_a_restore_stops_no_later_call(void **state)
{
    struct kaon_sandbox *sandbox = e2e_basics();
    struct kaon_snapshot *snapshot;

    (void)state;
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    snapshot = e2e_take(sandbox);
    for (int i = 0; i < 10; i++) {
        struct restorer restorer = { .sandbox = sandbox };
        pthread_t thread;

        assert_int_equal(
            pthread_create(&thread, NULL, interrupt_often, &restorer), 0);
        for (int k = 0; k < 200; k++)
            e2e_restore(sandbox, snapshot);
        atomic_store(&restorer.stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(restorer.failures, 0);
        ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
    }
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
}

static void a_sandbox_whose_process_was_killed_goes_on(void **state)
{
    struct kaon_sandbox *sandbox, *made;
    struct kaon_snapshot *snapshot;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    pid_t zygote;

    (void)state;
    if (!isolation_is_process())
        harness_skip("there is no process");
    sandbox = e2e_basics();
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    snapshot = e2e_take(sandbox);
    for (int i = 0; i < 3; i++) {
        assert_true(processes_kill(processes_sandbox(&zygote)));
        if (i != 1) { /* else it was not noticed before */
            ASSERT_OK(
                kaon_call(sandbox, &out, "count", KAON_NO_ARGS, NULL, &err));
            assert_true(out.kind >= KAON_ABORT || out.value.i32 == 2);
        }
        e2e_restore(sandbox, snapshot);
        ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
        ASSERT_RETURNS(3, sandbox, "count", KAON_NO_ARGS);
    }
    kaon_sandbox_destroy(sandbox);
    ASSERT_REFUSED(KAON_EIMPORT, "HostAdd",
                   kaon_sandbox_create_from(&made, snapshot, NULL, &err));
    kaon_snapshot_destroy(snapshot);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW(26, a_hundred_threads_restore_and_call_their_own),
    TEST_ROW(26, a_call_runs_in_one_state_whoever_restores_beside_it),
    TEST(a_resident_sandbox_is_put_back),
    TEST_ROW(19, a_sandbox_that_runs_is_busy_and_ready_once_stopped),
    TEST_ROW(20, an_interrupt_during_a_restore_stops_no_later_call),
    TEST(a_sandbox_whose_process_was_killed_goes_on))

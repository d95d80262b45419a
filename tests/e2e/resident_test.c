/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resident sandboxes: that calls cross without an exit, that all else is as it
 * was, and what starting and stopping promise. The other end-to-end tests run
 * with resident sandboxes as well (support/isolation.h).
 */
#include "e2e/e2e.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Nobody gives up waiting during a test. */
#define FOR_EVER KAON_SECONDS(60)

/* What HostAdd does besides adding, for tests that want something. */
static void (*on_add)(void *user);
static void *on_add_user;

static int host_add(struct kaon_host_call *call, const struct kaon_value *args,
                    struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    if (on_add)
        on_add(on_add_user);
    *result = kaon_i32(args[0].i32 + args[1].i32);
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

static struct kaon_host_functions *functions(void)
{
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };

    on_add = NULL;
    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostAdd", KAON_TYPE_I32,
                                      KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                      host_add, NULL, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostEcho", KAON_TYPE_STRING,
                                      KAON_PARAMS(KAON_TYPE_STRING), host_echo,
                                      NULL, &err));
    return set;
}

static struct kaon_sandbox *make(struct kaon_domain *domain)
{
    struct kaon_host_functions *set = functions();
    struct kaon_sandbox *sandbox = e2e_sandbox(
        "resident", KAON_SANDBOX_OPTS(.host_functions = set, .domain = domain));

    kaon_host_functions_destroy(set);
    return sandbox;
}

static void need_two_cpus(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) < 2)
        harness_skip("guest and host need a CPU each");
}

static void start(struct kaon_sandbox *sandbox, uint64_t spin_ns)
{
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_sandbox_start_resident(
        sandbox, KAON_RESIDENT_OPTS(.spin_ns = spin_ns), &err));
    assert_true(kaon_sandbox_is_resident(sandbox));
}

static void stop(struct kaon_sandbox *sandbox)
{
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_sandbox_stop_resident(sandbox, &err));
    assert_false(kaon_sandbox_is_resident(sandbox));
}

static struct kaon_sandbox *make_resident(struct kaon_domain *domain,
                                          uint64_t spin_ns)
{
    struct kaon_sandbox *sandbox;

    need_two_cpus();
    sandbox = make(domain);
    start(sandbox, spin_ns);
    return sandbox;
}

static uint64_t number(struct kaon_sandbox *sandbox, const char *function)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, function, KAON_NO_ARGS, NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    return out.value.u64;
}

static void assert_ends(struct kaon_sandbox *sandbox, const char *function,
                        enum kaon_outcome_kind kind, uint64_t deadline_ns)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, function, KAON_NO_ARGS,
                        KAON_CALL_OPTS(.deadline_ns = deadline_ns), &err));
    ASSERT_OUTCOME(kind, out);
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
}

/* ---- Without an exit --------------------------------------------------- */

static void a_warm_call_makes_no_exit(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, FOR_EVER);
    uint64_t before;

    (void)state;
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    before = e2e_stats(sandbox).exits;
    for (int i = 0; i < 1000; i++)
        ASSERT_RETURNS(i + 2, sandbox, "add",
                       KAON_ARGS(kaon_i32(i), kaon_i32(2)));
    assert_int_equal(e2e_stats(sandbox).exits, before);
    kaon_sandbox_destroy(sandbox);
}

static void a_host_call_makes_none_either(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, FOR_EVER);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    uint64_t before;

    (void)state;
    ASSERT_RETURNS(3, sandbox, "host_add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    ASSERT_OK(kaon_call(sandbox, &out, "host_echo",
                        KAON_ARGS(kaon_string("warm")), NULL, &err));
    before = e2e_stats(sandbox).exits;
    for (int i = 0; i < 1000; i++) {
        ASSERT_RETURNS(i + 2, sandbox, "host_add",
                       KAON_ARGS(kaon_i32(i), kaon_i32(2)));
        ASSERT_OK(kaon_call(sandbox, &out, "host_echo",
                            KAON_ARGS(kaon_string("there and back")), NULL,
                            &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_string_equal(out.value.span.data, "there and back");
    }
    assert_int_equal(e2e_stats(sandbox).exits, before);
    kaon_sandbox_destroy(sandbox);
}

/* ---- Sleeping and waking ----------------------------------------------- */

static void a_guest_that_left_is_woken(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, 1000);
    uint64_t start = e2e_stats(sandbox).exits;

    (void)state;
    for (int32_t i = 1; e2e_stats(sandbox).exits < start + 10; i++) {
        e2e_sleep(MILLISECOND);
        ASSERT_RETURNS(i, sandbox, "count", KAON_NO_ARGS);
    }
    kaon_sandbox_destroy(sandbox);
}

static void a_host_that_sleeps_is_woken(void **state)
{
    const uint32_t turns = 20000000 / harness_slowness();
    struct kaon_sandbox *sandbox = make_resident(NULL, 1000);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int i = 0; i < 10; i++) {
        ASSERT_OK(kaon_call(sandbox, &out, "work", KAON_ARGS(kaon_u32(turns)),
                            NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_int_equal(out.value.u32, turns);
    }
    kaon_sandbox_destroy(sandbox);
}

static void sleep_a_little(void *user)
{
    (void)user;
    e2e_sleep(MILLISECOND);
}

static void a_guest_leaves_during_a_long_host_function(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, 1000);
    uint64_t before = e2e_stats(sandbox).exits;

    (void)state;
    on_add = sleep_a_little;
    for (int i = 0; i < 20; i++)
        ASSERT_RETURNS(i + 2, sandbox, "host_add",
                       KAON_ARGS(kaon_i32(i), kaon_i32(2)));
    assert_true(e2e_stats(sandbox).exits > before);
    kaon_sandbox_destroy(sandbox);
}

static void the_shortest_spin_still_works(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, 1);

    (void)state;
    for (unsigned i = 0; i < e2e_scaled(500); i++)
        ASSERT_RETURNS((int)i + 2, sandbox, "host_add",
                       KAON_ARGS(kaon_i32((int)i), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
}

/* ---- The guest's state ------------------------------------------------- */

static void state_lasts_through_starting_and_stopping(void **state)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    int32_t calls = 0;

    (void)state;
    need_two_cpus();
    sandbox = make(NULL);
    ASSERT_OK(kaon_call(sandbox, &out, "bases_set",
                        KAON_ARGS(kaon_u64(0x1234), kaon_u64(0x5678)), NULL,
                        &err));
    for (int round = 0; round < 5; round++) {
        ASSERT_RETURNS(++calls, sandbox, "count", KAON_NO_ARGS);
        start(sandbox, FOR_EVER);
        ASSERT_RETURNS(++calls, sandbox, "count", KAON_NO_ARGS);
        assert_int_equal(number(sandbox, "base_of_fs"), 0x1234 + round);
        assert_int_equal(number(sandbox, "base_of_gs"), 0x5678);
        ASSERT_OK(kaon_call(
            sandbox, &out, "bases_set",
            KAON_ARGS(kaon_u64(0x1235 + round), kaon_u64(0x5678)), NULL, &err));
        stop(sandbox);
        assert_int_equal(number(sandbox, "base_of_fs"), 0x1235 + round);
    }
    kaon_sandbox_destroy(sandbox);
}

static void each_call_starts_with_a_fresh_fpu_and_flags(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, FOR_EVER);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(number(sandbox, "float_state"),
                         UINT64_C(0x037f00001f80));
        assert_int_equal(number(sandbox, "flags") & ~UINT64_C(0x200), 2);
        ASSERT_OK(
            kaon_call(sandbox, &out, "disturb", KAON_NO_ARGS, NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
    }
    kaon_sandbox_destroy(sandbox);
}

static void new_memory_comes_as_it_is_touched(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, FOR_EVER);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char large[100000];

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "touch", KAON_ARGS(kaon_u64(4 << 20)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    /* The area, by the host, while the guest looks for its turn. */
    memset(large, 'l', sizeof large);
    ASSERT_OK(kaon_call(sandbox, &out, "echo",
                        KAON_ARGS(kaon_bytes(large, sizeof large)), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    assert_memory_equal(out.value.span.data, large, sizeof large);
    kaon_sandbox_destroy(sandbox);
}

/* ---- Snapshots --------------------------------------------------------- */

static void assert_restored(struct kaon_sandbox *sandbox,
                            struct kaon_snapshot *snapshot, int32_t calls)
{
    e2e_restore(sandbox, snapshot);
    assert_true(kaon_sandbox_is_resident(sandbox));
    assert_int_equal(number(sandbox, "base_of_fs"), 0x1234);
    ASSERT_RETURNS(calls + 1, sandbox, "count", KAON_NO_ARGS);
}

static void state_is_kept_and_put_back_in_between(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, FOR_EVER);
    struct kaon_host_functions *set;
    struct kaon_snapshot *snapshot;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    uint64_t before;

    (void)state;
    ASSERT_OK(kaon_call(sandbox, &out, "bases_set",
                        KAON_ARGS(kaon_u64(0x1234), kaon_u64(0)), NULL, &err));
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    snapshot = e2e_take(sandbox);
    ASSERT_OK(kaon_call(sandbox, &out, "bases_set",
                        KAON_ARGS(kaon_u64(0x5678), kaon_u64(0)), NULL, &err));
    for (unsigned i = 0; i < 20; i++)
        assert_restored(sandbox, snapshot, 1);
    assert_ends(sandbox, "fault", KAON_FAULT, SECOND);
    assert_restored(sandbox, snapshot, 1);
    assert_ends(sandbox, "spin", KAON_DEADLINE,
                20 * MILLISECOND * harness_slowness());
    assert_restored(sandbox, snapshot, 1);
    before = e2e_stats(sandbox).exits;
    for (int32_t i = 3; i < 100; i++)
        ASSERT_RETURNS(i, sandbox, "count", KAON_NO_ARGS);
    assert_int_equal(e2e_stats(sandbox).exits, before);
    kaon_sandbox_destroy(sandbox);

    /* What was kept of a resident guest goes on as any other's. */
    set = functions();
    ASSERT_OK(kaon_sandbox_create_from(
        &sandbox, snapshot, KAON_SANDBOX_OPTS(.host_functions = set), &err));
    kaon_host_functions_destroy(set);
    ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
}

/* ---- Bad ends ---------------------------------------------------------- */

static void a_bad_end_poisons_and_can_be_stopped(void **state)
{
    static const struct {
        const char *function;
        enum kaon_outcome_kind kind;
    } ends[] = { { "fault", KAON_FAULT },
                 { "abort", KAON_ABORT },
                 { "spin", KAON_DEADLINE } };

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct kaon_sandbox *sandbox =
            make_resident(NULL, i % 2 ? FOR_EVER : 1000);
        struct kaon_error err = { 0 };
        struct kaon_outcome out;

        assert_ends(sandbox, ends[i].function, ends[i].kind,
                    20 * MILLISECOND * harness_slowness());
        ASSERT_REFUSED(
            KAON_EPOISONED, "poisoned",
            kaon_call(sandbox, &out, "count", KAON_NO_ARGS, NULL, &err));
        ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                       kaon_sandbox_start_resident(sandbox, NULL, &err));
        if (i != 1)
            stop(sandbox);
        assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
        kaon_sandbox_destroy(sandbox);
    }
}

/* Interrupts a sandbox until it is told not to. */
struct heckler {
    struct kaon_sandbox *sandbox;
    atomic_bool done;
};

static void *heckle(void *user)
{
    struct heckler *heckler = user;

    while (!atomic_load(&heckler->done)) {
        kaon_sandbox_interrupt(heckler->sandbox, NULL);
        e2e_sleep(50000);
    }
    return NULL;
}

/* Short calls under fire: each returns, or is cancelled and nothing else. */
static void an_interrupt_cancels_the_call_that_runs_or_none(void **state)
{
    unsigned cancelled = 0;

    (void)state;
    for (unsigned round = 0; round < e2e_scaled(20); round++) {
        struct kaon_sandbox *sandbox =
            make_resident(NULL, round % 2 ? FOR_EVER : 1000);
        struct heckler heckler = { .sandbox = sandbox };
        struct kaon_error err = { 0 };
        struct kaon_outcome out;
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, heckle, &heckler), 0);
        for (int32_t i = 1; i < 3000; i++) {
            ASSERT_OK(
                kaon_call(sandbox, &out, "count", KAON_NO_ARGS, NULL, &err));
            if (out.kind == KAON_CANCELLED)
                break;
            ASSERT_OUTCOME(KAON_RETURNED, out);
            assert_int_equal(out.value.i32, i);
        }
        cancelled += out.kind == KAON_CANCELLED;
        atomic_store(&heckler.done, true);
        pthread_join(thread, NULL);
        kaon_sandbox_destroy(sandbox);
    }
    print_message("# %u of the rounds were cancelled\n", cancelled);
}

static void a_sandbox_may_end_at_any_moment(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct kaon_sandbox *sandbox =
            make_resident(NULL, round % 2 ? FOR_EVER : 1);

        for (unsigned i = 0; i < round % 4; i++)
            ASSERT_OK(
                kaon_call(sandbox, &out, "count", KAON_NO_ARGS, NULL, &err));
        if (round % 3 == 0)
            stop(sandbox);
        kaon_sandbox_destroy(sandbox);
    }
}

/* ---- Others ------------------------------------------------------------ */

static void add_elsewhere(void *user)
{
    struct kaon_outcome out;

    if (kaon_call(user, &out, "add", KAON_ARGS(kaon_i32(1), kaon_i32(1)), NULL,
                  NULL) ||
        out.kind != KAON_RETURNED || out.value.i32 != 2)
        abort();
}

static void a_host_function_may_call_another_resident_sandbox(void **state)
{
    struct kaon_sandbox *outer, *inner;
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    (void)state;
    need_two_cpus();
    ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
    inner = make_resident(domain, 50000);
    outer = make_resident(domain, 50000);
    kaon_domain_destroy(domain);
    on_add = add_elsewhere;
    on_add_user = inner;
    for (unsigned i = 0; i < e2e_scaled(200); i++)
        ASSERT_RETURNS(5, outer, "host_add",
                       KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    kaon_sandbox_destroy(outer);
    kaon_sandbox_destroy(inner);
}

struct worker {
    struct kaon_sandbox *sandbox;
    unsigned rounds, wrong;
};

static void *work(void *user)
{
    struct worker *worker = user;

    for (unsigned i = 0; i < worker->rounds; i++) {
        struct kaon_outcome out;

        if (kaon_call(worker->sandbox, &out, "host_add",
                      KAON_ARGS(kaon_i32((int)i), kaon_i32(1)), NULL, NULL) ||
            out.kind != KAON_RETURNED || out.value.i32 != (int)i + 1)
            worker->wrong++;
    }
    return NULL;
}

/* More of them than there are CPUs, and calls from other threads. */
static void many_are_resident_at_once(void **state)
{
    enum { COUNT = 6 };
    struct worker workers[COUNT];
    pthread_t threads[COUNT];
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    (void)state;
    need_two_cpus();
    ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
    for (int i = 0; i < COUNT; i++)
        workers[i] = (struct worker){ .sandbox = make_resident(
                                          i % 2 ? domain : NULL, 20000),
                                      .rounds = e2e_scaled(300) };
    kaon_domain_destroy(domain);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]),
                         0);
    for (int i = 0; i < COUNT; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
        kaon_sandbox_destroy(workers[i].sandbox);
    }
}

/* ---- Refusals ---------------------------------------------------------- */

static void try_to_start_and_stop(void *user)
{
    struct kaon_error err;

    if (kaon_sandbox_start_resident(user, NULL, &err) != KAON_EBUSY ||
        kaon_sandbox_stop_resident(user, &err) != KAON_EBUSY)
        abort();
}

static void it_is_refused_during_a_call(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, 0);

    (void)state;
    on_add = try_to_start_and_stop;
    on_add_user = sandbox;
    ASSERT_RETURNS(5, sandbox, "host_add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    stop(sandbox);
    on_add_user = sandbox;
    ASSERT_RETURNS(5, sandbox, "host_add", KAON_ARGS(kaon_i32(2), kaon_i32(3)));
    kaon_sandbox_destroy(sandbox);
}

static void wrong_arguments_are_named(void **state)
{
    struct kaon_sandbox *sandbox = make(NULL);
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_REFUSED(KAON_EINVAL, "sandbox",
                   kaon_sandbox_start_resident(NULL, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "sandbox",
                   kaon_sandbox_stop_resident(NULL, &err));
    ASSERT_REFUSED(
        KAON_EINVAL, "spin_ns",
        kaon_sandbox_start_resident(
            sandbox, KAON_RESIDENT_OPTS(.spin_ns = FOR_EVER + 1), &err));
    assert_false(kaon_sandbox_is_resident(NULL));
    assert_false(kaon_sandbox_is_resident(sandbox));
    ASSERT_OK(kaon_sandbox_stop_resident(sandbox, &err));
    kaon_sandbox_destroy(sandbox);
}

static void without_a_vcpu_left_it_stays_as_it_is(void **state)
{
    struct kaon_sandbox *first, *second;
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    (void)state;
    SKIP_ON_PROCESSES("a resident sandbox takes no vCPU");
    need_two_cpus();
    ASSERT_OK(
        kaon_domain_create(&domain, KAON_DOMAIN_OPTS(.vcpus_max = 2), &err));
    first = make_resident(domain, 0);
    second = make_resident(domain, 0);
    stop(second);
    start(first, 0); /* of one that is: another spin */
    start(second, 0);
    kaon_sandbox_destroy(second);
    second = make(domain);
    ASSERT_RETURNS(1, second, "count", KAON_NO_ARGS);
    start(second, 0);
    struct kaon_sandbox *third = make(domain);
    ASSERT_REFUSED(KAON_EBUSY, "vcpus_max",
                   kaon_sandbox_start_resident(third, NULL, &err));
    assert_false(kaon_sandbox_is_resident(third));
    stop(first);
    ASSERT_RETURNS(1, third, "count", KAON_NO_ARGS);
    kaon_domain_destroy(domain);
    kaon_sandbox_destroy(first);
    kaon_sandbox_destroy(second);
    kaon_sandbox_destroy(third);
}

static void handle(int signal)
{
    (void)signal;
}

static void a_signal_that_is_taken_is_named(void **state)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    (void)state;
    SKIP_ON_PROCESSES("no signal handler is needed");
    need_two_cpus();
    sandbox = make(NULL);
    signal(SIGRTMIN + 7, handle);
    ASSERT_REFUSED(KAON_EBACKEND, "kick_signal",
                   kaon_sandbox_start_resident(sandbox, NULL, &err));
    signal(SIGRTMIN + 7, SIG_DFL);
    assert_false(kaon_sandbox_is_resident(sandbox));
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    start(sandbox, 0);
    ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
    kaon_sandbox_destroy(sandbox);
}

/* ---- Where it cannot be ------------------------------------------------ */

static int use_one_cpu(void *user)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_image *image;
    cpu_set_t cpus;
    int cpu = 0;

    CHILD_CHECK(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    while (!CPU_ISSET(cpu, &cpus))
        cpu++;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    CHILD_CHECK(sched_setaffinity(0, sizeof cpus, &cpus) == 0);
    CHILD_CHECK(kaon_image_open(&image, user, NULL) == KAON_OK);
    CHILD_CHECK(kaon_sandbox_create(&sandbox, image, NULL, NULL) == KAON_OK);
    CHILD_CHECK(kaon_sandbox_start_resident(sandbox, NULL, NULL) == KAON_OK);
    CHILD_CHECK(!kaon_sandbox_is_resident(sandbox));
    for (int i = 0; i < 10; i++)
        CHILD_CHECK(kaon_call(sandbox, &out, "add",
                              KAON_ARGS(kaon_i32(i), kaon_i32(2)), NULL,
                              NULL) == KAON_OK &&
                    out.value.i32 == i + 2);
    CHILD_CHECK(kaon_sandbox_stop_resident(sandbox, NULL) == KAON_OK);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

static void with_one_cpu_calls_enter_and_leave(void **state)
{
    char path[4096];

    (void)state;
    snprintf(path, sizeof path, "%s", harness_guest("echo"));
    e2e_in_child(use_one_cpu, path, 30);
}

static int call_as_child(void *user)
{
    struct kaon_outcome out;
    struct kaon_error err;

    CHILD_CHECK(kaon_call(user, &out, "count", KAON_NO_ARGS, NULL, &err) ==
                KAON_EBACKEND);
    CHILD_CHECK(kaon_sandbox_stop_resident(user, &err) == KAON_EBACKEND);
    kaon_sandbox_destroy(user);
    return 0;
}

static void a_child_of_fork_is_refused_and_may_destroy(void **state)
{
    struct kaon_sandbox *sandbox = make_resident(NULL, 1000);

    (void)state;
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    e2e_in_child(call_as_child, sandbox, 30);
    ASSERT_RETURNS(2, sandbox, "count", KAON_NO_ARGS);
    kaon_sandbox_destroy(sandbox);
}

TESTS_NEED_KVM(TEST(a_warm_call_makes_no_exit),
               TEST(a_host_call_makes_none_either),
               TEST(a_guest_that_left_is_woken),
               TEST(a_host_that_sleeps_is_woken),
               TEST(a_guest_leaves_during_a_long_host_function),
               TEST(the_shortest_spin_still_works),
               TEST(state_lasts_through_starting_and_stopping),
               TEST(each_call_starts_with_a_fresh_fpu_and_flags),
               TEST(new_memory_comes_as_it_is_touched),
               TEST(state_is_kept_and_put_back_in_between),
               TEST(a_bad_end_poisons_and_can_be_stopped),
               TEST(an_interrupt_cancels_the_call_that_runs_or_none),
               TEST(a_sandbox_may_end_at_any_moment),
               TEST(a_host_function_may_call_another_resident_sandbox),
               TEST(many_are_resident_at_once),
               TEST(it_is_refused_during_a_call),
               TEST(wrong_arguments_are_named),
               TEST(without_a_vcpu_left_it_stays_as_it_is),
               TEST(a_signal_that_is_taken_is_named),
               TEST(with_one_cpu_calls_enter_and_leave),
               TEST(a_child_of_fork_is_refused_and_may_destroy))

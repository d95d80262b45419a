/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process isolation as the system around it sees it: who dies with whom, and
 * who waits for whom.
 */
#include "e2e/isolated.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/processes.h"

/* ---- Who is killed or stopped ------------------------------------------ */

static void assert_killed(struct kaon_sandbox *sandbox, const char *function,
                          const struct kaon_value *args, size_t count)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, function, args, count, NULL, &err));
    ASSERT_OUTCOME(KAON_FAULT, out);
    ASSERT_CONTAINS(out.text, "killed");
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
}

static void a_process_killed_between_calls_is_a_fault(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_sandbox *sandbox, *other;
    struct kaon_error err = { 0 };
    pid_t zygote, child;

    (void)state;
    for (int called = 0; called < 2; called++) {
        ASSERT_OK(isolated_create(&sandbox, image, &err));
        if (called)
            assert_true(isolated_adds(sandbox));
        child = processes_sandbox(&zygote);
        ASSERT_OK(isolated_create(&other, image, &err));
        assert_true(processes_kill(child));
        assert_killed(sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        assert_true(isolated_adds(other));
        kaon_sandbox_destroy(sandbox);
        kaon_sandbox_destroy(other);
    }
    kaon_image_destroy(image);
}

struct killer {
    pid_t pid;
    uint64_t after;
};

static void *kill_later(void *user)
{
    const struct killer *killer = user;

    e2e_sleep(killer->after);
    kill(killer->pid, SIGKILL);
    return NULL;
}

static void a_process_killed_in_a_call_is_a_fault(void **state)
{
    struct kaon_image *image = e2e_image("spin");
    struct kaon_error err = { 0 };

    (void)state;
    for (unsigned int i = 0; i < e2e_scaled(20); i++) {
        struct killer killer = { .after = i * 50000 };
        struct kaon_sandbox *sandbox;
        pthread_t thread;
        pid_t zygote;

        ASSERT_OK(isolated_create(&sandbox, image, &err));
        killer.pid = processes_sandbox(&zygote);
        pthread_create(&thread, NULL, kill_later, &killer);
        assert_killed(sandbox, "spin", KAON_NO_ARGS);
        pthread_join(thread, NULL);
        kaon_sandbox_destroy(sandbox);
    }
    kaon_image_destroy(image);
}

/* Its process ends with it: a little later than the host may hear of it. If it
 * is gone before the guest entered, the call goes to another. */
static void a_zygote_killed_in_a_call_is_a_fault(void **state)
{
    struct kaon_image *image = e2e_image("spin");
    struct kaon_error err = { 0 };
    unsigned int faults = 0;

    (void)state;
    for (unsigned int i = 0; i < e2e_scaled(20); i++) {
        struct killer killer = { .after = i * 5 * MILLISECOND };
        struct kaon_snapshot *snapshot;
        struct kaon_sandbox *sandbox;
        struct kaon_outcome out;
        pthread_t thread;

        ASSERT_OK(isolated_create(&sandbox, image, &err));
        snapshot = e2e_take(sandbox);
        processes_sandbox(&killer.pid);
        pthread_create(&thread, NULL, kill_later, &killer);
        ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                            KAON_CALL_OPTS(.deadline_ns = 200 * MILLISECOND),
                            &err));
        if (out.kind != KAON_DEADLINE) {
            ASSERT_OUTCOME(KAON_FAULT, out);
            ASSERT_CONTAINS(out.text, "killed");
            faults++;
        }
        ASSERT_OK(kaon_sandbox_restore(sandbox, snapshot, &err));
        pthread_join(thread, NULL);
        ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                            KAON_CALL_OPTS(.deadline_ns = MILLISECOND), &err));
        ASSERT_OUTCOME(KAON_DEADLINE, out);
        kaon_sandbox_destroy(sandbox);
        kaon_snapshot_destroy(snapshot);
    }
    assert_true(faults > 0);
    kaon_image_destroy(image);
}

static int kill_from_within(struct kaon_host_call *call,
                            const struct kaon_value *args,
                            struct kaon_value *result, void *user)
{
    const struct killer *killer = user;

    (void)call;
    if (!processes_kill(killer->pid))
        return kaon_host_fail(call, 1, "it lives");
    *result = kaon_i32(args[0].i32 + args[1].i32);
    return 0;
}

static void a_process_killed_in_a_host_call_is_a_fault(void **state)
{
    struct kaon_image *image = e2e_image("basics");
    struct killer killer = { 0 };
    struct kaon_host_functions *set;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    pid_t zygote;

    (void)state;
    set = e2e_functions();
    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.isolation = KAON_ISOLATION_PROCESS,
                          .host_functions = set),
        &err));
    kaon_sandbox_destroy(sandbox);
    kaon_host_functions_destroy(set);

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_print(set, NULL, NULL, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostAdd", KAON_TYPE_I32,
                                      KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                      kill_from_within, &killer, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostFail", KAON_TYPE_VOID,
                                      KAON_NO_PARAMS, kill_from_within, NULL,
                                      &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostEcho", KAON_TYPE_STRING,
                                      KAON_PARAMS(KAON_TYPE_STRING),
                                      kill_from_within, NULL, &err));
    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.isolation = KAON_ISOLATION_PROCESS,
                          .host_functions = set),
        &err));
    killer.pid = processes_sandbox(&zygote);
    assert_killed(sandbox, "host_add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
}

static void stop_for_certain(pid_t pid)
{
    kill(pid, SIGSTOP);
    for (int i = 0; i < 30000 && processes_state(pid) != 'T'; i++)
        e2e_sleep(MILLISECOND);
    assert_int_equal(processes_state(pid), 'T');
}

static void a_process_that_is_stopped_meets_its_deadline(void **state)
{
    struct kaon_image *image = e2e_image("spin");
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    pid_t zygote;

    (void)state;
    ASSERT_OK(isolated_create(&sandbox, image, &err));
    stop_for_certain(processes_sandbox(&zygote));
    ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                        KAON_CALL_OPTS(.deadline_ns = 20 * MILLISECOND), &err));
    ASSERT_OUTCOME(KAON_DEADLINE, out);
    kaon_sandbox_destroy(sandbox);
    ASSERT_OK(isolated_create(&sandbox, image, &err));
    stop_for_certain(processes_sandbox(&zygote));
    kaon_sandbox_destroy(sandbox); /* does not wait for it */
    kaon_image_destroy(image);
}

static void a_zygote_that_is_killed_is_replaced(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_sandbox *before, *after;
    struct kaon_error err = { 0 };
    pid_t zygote;

    (void)state;
    for (int round = 0; round < 5; round++) {
        ASSERT_OK(isolated_create(&before, image, &err));
        assert_true(isolated_adds(before));
        processes_sandbox(&zygote);
        assert_true(processes_kill(zygote));
        isolated_await(0);
        assert_killed(before, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        ASSERT_OK(isolated_create(&after, image, &err));
        assert_true(isolated_adds(after));
        kaon_sandbox_destroy(before);
        assert_true(isolated_adds(after));
        kaon_sandbox_destroy(after);
    }
    kaon_image_destroy(image);
}

static void a_zygote_that_is_stopped_is_a_status(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_sandbox *before, *after;
    struct kaon_error err = { 0 };
    pid_t zygote;

    (void)state;
    ASSERT_OK(isolated_create(&before, image, &err));
    processes_sandbox(&zygote);
    kill(zygote, SIGSTOP);
    ASSERT_REFUSED(KAON_EBACKEND, "timed out",
                   isolated_create(&after, image, &err));
    assert_true(isolated_adds(before));
    kill(zygote, SIGCONT);
    /* It answers the old question first, which nobody waits for. */
    ASSERT_OK(isolated_create(&after, image, &err));
    assert_true(isolated_adds(after));
    kaon_sandbox_destroy(before);
    assert_true(isolated_adds(after));
    kaon_sandbox_destroy(after);
    kaon_image_destroy(image);
}

/* ---- At any moment ----------------------------------------------------- */

/* Has it in for the processes of this program's sandboxes, and their zygotes.
 */
struct hunter {
    atomic_bool done;
    bool kills; /* else it stops, and lets go on */
    unsigned seed;
};

static void hurt(const struct hunter *hunter, pid_t pid)
{
    if (hunter->kills) {
        kill(pid, SIGKILL);
        return;
    }
    kill(pid, SIGSTOP);
    e2e_sleep(MILLISECOND / 2);
    kill(pid, SIGCONT);
}

static void *hunt(void *user)
{
    struct hunter *hunter = user;

    while (!atomic_load(&hunter->done)) {
        unsigned chance = (unsigned)rand_r(&hunter->seed);
        pid_t zygote, child;

        e2e_sleep(chance % 512 * 1000);
        if (processes_of(getpid(), &zygote, 1) == 0)
            continue;
        if (processes_of(zygote, &child, 1))
            hurt(hunter, child);
        if (chance % 16 == 0)
            hurt(hunter, zygote);
    }
    return NULL;
}

/* One life, in danger: whatever comes of it is told as it should be. */
static void live(struct kaon_image *image, struct kaon_snapshot *snapshot,
                 bool safe, unsigned *lives)
{
    enum kaon_status status;
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    status = isolated_create(&sandbox, image, &err);
    for (int i = 0; i < 4 && status == KAON_OK; i++) {
        status = kaon_call(sandbox, &out, "add",
                           KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL, &err);
        if (status)
            break;
        if (out.kind == KAON_RETURNED) {
            assert_int_equal(out.value.i32, 3);
            ++*lives;
        } else {
            ASSERT_OUTCOME(KAON_FAULT, out);
            assert_false(safe);
        }
        status = kaon_sandbox_restore(sandbox, snapshot, &err);
    }
    kaon_sandbox_destroy(sandbox);
    if (status) {
        assert_false(safe);
        assert_int_equal(status, KAON_EBACKEND);
        assert_true(strlen(err.text) > 20);
    }
}

static void live_with(struct hunter *hunter, unsigned rounds)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    unsigned lives = 0;
    pthread_t thread;

    ASSERT_OK(isolated_create(&sandbox, image, &err));
    snapshot = e2e_take(sandbox);
    pthread_create(&thread, NULL, hunt, hunter);
    for (unsigned i = 0; i < rounds; i++)
        live(image, snapshot, !hunter->kills, &lives);
    atomic_store(&hunter->done, true);
    pthread_join(thread, NULL);
    live(image, snapshot, !hunter->kills, &lives);
    print_message("# %u of %u calls returned\n", lives, 4 * (rounds + 1));
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    kaon_image_destroy(image);
    isolated_await(0);
}

static void a_process_killed_at_any_moment_is_a_status_or_a_fault(void **state)
{
    struct hunter hunter = { .kills = true, .seed = 1 };

    (void)state;
    live_with(&hunter, e2e_scaled(200));
}

static void a_process_stopped_at_any_moment_goes_on_later(void **state)
{
    struct hunter hunter = { .kills = false, .seed = 2 };

    (void)state;
    live_with(&hunter, e2e_scaled(200));
}

/* Killed, stopped, or busy with something else. */
static void a_restore_asks_nothing_of_the_process(void **state)
{
    struct kaon_image *images[2] = { e2e_image("echo"), e2e_image("spin") };
    struct kaon_error err = { 0 };

    (void)state;
    for (int how = 0; how < 3; how++) {
        struct kaon_image *image = images[how == 2];
        struct kaon_snapshot *snapshot;
        struct kaon_sandbox *sandbox;
        struct kaon_outcome out;
        pid_t zygote, child;

        ASSERT_OK(isolated_create(&sandbox, image, &err));
        snapshot = e2e_take(sandbox);
        ASSERT_OK(kaon_sandbox_init(sandbox, &out, NULL, &err));
        child = processes_sandbox(&zygote);
        if (how == 0)
            assert_true(processes_kill(child));
        if (how == 1)
            stop_for_certain(child);
        if (how == 2) {
            ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                                KAON_CALL_OPTS(.deadline_ns = MILLISECOND),
                                &err));
            ASSERT_OUTCOME(KAON_DEADLINE, out);
        }
        e2e_restore(sandbox, snapshot);
        if (how == 1) { /* it has left, and is found to be stopped later */
            ASSERT_OK(kaon_sandbox_init(
                sandbox, &out, KAON_CALL_OPTS(.deadline_ns = MILLISECOND),
                &err));
            ASSERT_OUTCOME(KAON_DEADLINE, out);
            e2e_restore(sandbox, snapshot);
        }
        if (how == 2)
            ASSERT_OK(kaon_sandbox_init(sandbox, &out, NULL, &err));
        else
            assert_true(isolated_adds(sandbox));
        kaon_snapshot_destroy(snapshot);
        kaon_sandbox_destroy(sandbox);
    }
    kaon_image_destroy(images[0]);
    kaon_image_destroy(images[1]);
}

/* Though it only left through the gate, and could go on. */
static void a_poisoned_sandbox_has_no_process(void **state)
{
    struct kaon_image *image = e2e_image("basics");
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    pid_t zygote, child;

    (void)state;
    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.isolation = KAON_ISOLATION_PROCESS,
                          .host_functions = set),
        &err));
    child = processes_sandbox(&zygote);
    ASSERT_OK(kaon_call(sandbox, &out, "abort",
                        KAON_ARGS(kaon_i32(1), kaon_string("enough")), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_ABORT, out);
    for (int i = 0; i < 30000 && processes_state(child); i++)
        e2e_sleep(MILLISECOND);
    assert_int_equal(processes_state(child), 0);
    kaon_sandbox_destroy(sandbox);
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
}

/* ---- The host ends ----------------------------------------------------- */

/* Makes sandboxes, one of them in a call, and a copy of itself that lives on.
 * Tells when it is ready. Neither outlives a test that failed. */
static _Noreturn void be_a_host(struct kaon_image *image, int ready)
{
    struct kaon_sandbox *sandboxes[3];
    struct kaon_outcome out;

    signal(SIGALRM, SIG_DFL);
    alarm(120);
    for (int i = 0; i < 3; i++)
        if (isolated_create(&sandboxes[i], image, NULL))
            _exit(1);
    if (fork() == 0) {
        prctl(PR_SET_NAME, "the copy");
        alarm(120);
        for (;;)
            pause();
    }
    if (write(ready, "", 1) != 1)
        _exit(1);
    if (kaon_call(sandboxes[0], &out, "spin", KAON_NO_ARGS, NULL, NULL))
        _exit(1);
    for (;;)
        pause();
}

static void no_process_survives_its_host(void **state)
{
    struct kaon_image *image = e2e_image("spin");
    pid_t host, left[2];
    char byte;
    int ready[2];

    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(pipe(ready), 0);
        host = fork();
        if (host == 0)
            be_a_host(image, ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(processes_of(getpid(), NULL, 0), 2); /* and a zygote */
        e2e_sleep(20 * MILLISECOND);
        kill(host, SIGKILL);
        isolated_await(1); /* its copy */
        assert_int_equal(processes_of(getpid(), left, 2), 1);
        kill(left[0], SIGKILL);
        isolated_await(0);
        close(ready[0]);
        close(ready[1]);
    }
    kaon_image_destroy(image);
}

/* ---- The host's signals and waits -------------------------------------- */

static int ignore_children(void *user)
{
    signal(SIGCHLD, SIG_IGN);
    return isolated_use_one(user) || isolated_use_one(user);
}

static volatile sig_atomic_t signals_seen;

static void see_signal(int signal)
{
    (void)signal;
    signals_seen++;
}

/* A sandbox's process is no child: no signal, and nothing to wait for. */
static int expect_no_children(void *user)
{
    struct kaon_sandbox *sandbox;

    signal(SIGCHLD, see_signal);
    CHILD_CHECK(isolated_create(&sandbox, user, NULL) == KAON_OK);
    CHILD_CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHILD_CHECK(isolated_adds(sandbox));
    kaon_sandbox_destroy(sandbox);
    CHILD_CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHILD_CHECK(signals_seen == 0);
    return 0;
}

static atomic_bool reaped_enough;

static void *reap(void *user)
{
    while (!atomic_load(&reaped_enough))
        waitpid(-1, NULL, WNOHANG | __WALL);
    return user;
}

static int reap_all_meanwhile(void *user)
{
    pthread_t thread;
    int result = 0;

    /* Orphans come to us, as to the first process of a container. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    atomic_store(&reaped_enough, false);
    CHILD_CHECK(pthread_create(&thread, NULL, reap, NULL) == 0);
    for (int i = 0; i < 20 && !result; i++)
        result = isolated_use_one(user);
    atomic_store(&reaped_enough, true);
    pthread_join(thread, NULL);
    return result;
}

/* As a terminal's ^C: to the whole group. */
static int interrupt_the_group(void *user)
{
    struct kaon_sandbox *sandbox;

    setpgid(0, 0);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    CHILD_CHECK(isolated_create(&sandbox, user, NULL) == KAON_OK);
    kill(0, SIGINT);
    kill(0, SIGHUP);
    e2e_sleep(20 * MILLISECOND);
    CHILD_CHECK(isolated_adds(sandbox));
    kaon_sandbox_destroy(sandbox);
    return isolated_use_one(user);
}

static void a_host_may_do_as_it_likes_with_its_children(void **state)
{
    (void)state;
    IN_CHILDREN(CHECK(ignore_children), CHECK(expect_no_children),
                CHECK(reap_all_meanwhile), CHECK(interrupt_the_group));
}

/* ---- Many, and idle ---------------------------------------------------- */

static void two_hundred_live_at_once(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_sandbox *sandboxes[200];
    struct kaon_error err = { 0 };

    (void)state;
    for (int i = 0; i < 200; i++)
        ASSERT_OK(isolated_create(&sandboxes[i], image, &err));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 200; i++)
            assert_true(isolated_adds(sandboxes[i]));
    for (int i = 0; i < 200; i++)
        kaon_sandbox_destroy(sandboxes[i]);
    kaon_image_destroy(image);
}

static void await_sleep(pid_t pid)
{
    for (int i = 0; i < 3000 && processes_state(pid) != 'S'; i++)
        e2e_sleep(10 * MILLISECOND);
    assert_int_equal(processes_state(pid), 'S');
}

static void an_idle_sandbox_takes_no_time(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    pid_t zygote, child;
    long before;

    (void)state;
    ASSERT_OK(isolated_create(&sandbox, image, &err));
    child = processes_sandbox(&zygote);
    assert_true(isolated_adds(sandbox));
    await_sleep(child);
    await_sleep(zygote);
    before = processes_switches(child) + processes_switches(zygote);
    assert_true(before > 0);
    e2e_sleep(500 * MILLISECOND);
    assert_int_equal(processes_switches(child) + processes_switches(zygote),
                     before);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
}

/* ---- Stopped, and used again ------------------------------------------- */

static void *interrupt_later(void *user)
{
    struct kaon_sandbox *sandbox = user;

    for (int i = 0; i < 40; i++) {
        kaon_sandbox_interrupt(sandbox, NULL);
        e2e_sleep(20000);
    }
    return NULL;
}

/* A call that returned leaves a sandbox that can be called, even if a kick
 * came just too late for it. */
static void a_late_interrupt_costs_no_sandbox(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    unsigned int returned = 0, cancelled = 0;
    struct kaon_error err = { 0 };

    (void)state;
    for (unsigned int i = 0; i < e2e_scaled(100); i++) {
        struct kaon_sandbox *sandbox;
        struct kaon_outcome out = { .kind = KAON_RETURNED };
        pthread_t thread;

        ASSERT_OK(isolated_create(&sandbox, image, &err));
        assert_true(isolated_adds(sandbox));
        pthread_create(&thread, NULL, interrupt_later, sandbox);
        for (int32_t k = 0; k < 100 && out.kind == KAON_RETURNED; k++) {
            ASSERT_OK(kaon_call(sandbox, &out, "add",
                                KAON_ARGS(kaon_i32(k), kaon_i32(1)), NULL,
                                &err));
            if (out.kind == KAON_RETURNED) {
                assert_int_equal(out.value.i32, k + 1);
                returned++;
            } else {
                ASSERT_OUTCOME(KAON_CANCELLED, out);
                cancelled++;
            }
        }
        pthread_join(thread, NULL);
        kaon_sandbox_destroy(sandbox);
    }
    /* How many are of which kind is up to the machine. */
    print_message("# %u returned, %u cancelled\n", returned, cancelled);
    kaon_image_destroy(image);
}

/* clang-format off */
TESTS(
    TEST_LIMIT(300, a_process_killed_between_calls_is_a_fault),
    TEST_LIMIT(300, a_process_killed_in_a_call_is_a_fault),
    TEST_LIMIT(300, a_zygote_killed_in_a_call_is_a_fault),
    TEST_LIMIT(300, a_process_killed_in_a_host_call_is_a_fault),
    TEST_LIMIT(300, a_process_that_is_stopped_meets_its_deadline),
    TEST_LIMIT(300, a_zygote_that_is_killed_is_replaced),
    TEST_LIMIT(300, a_zygote_that_is_stopped_is_a_status),
    TEST_LIMIT(300, a_process_killed_at_any_moment_is_a_status_or_a_fault),
    TEST_LIMIT(300, a_process_stopped_at_any_moment_goes_on_later),
    TEST_LIMIT(300, a_restore_asks_nothing_of_the_process),
    TEST_LIMIT(300, a_poisoned_sandbox_has_no_process),
    TEST_LIMIT(300, no_process_survives_its_host),
    TEST_LIMIT(300, a_host_may_do_as_it_likes_with_its_children),
    TEST_LIMIT(300, two_hundred_live_at_once),
    TEST_LIMIT(300, an_idle_sandbox_takes_no_time),
    TEST_LIMIT(300, a_late_interrupt_costs_no_sandbox),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process isolation as the system around it sees it: who dies with whom, what
 * a kernel may lack, and what a user may not do.
 */
#include "e2e/e2e.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "support/processes.h"

#define NOBODY 65534

static enum kaon_status create(struct kaon_sandbox **out,
                               struct kaon_image *image, struct kaon_error *err)
{
    return kaon_sandbox_create(
        out, image,
        KAON_SANDBOX_OPTS(.isolation = KAON_ISOLATION_PROCESS,
                          .heap_bytes = 1 << 20),
        err);
}

static bool adds(struct kaon_sandbox *sandbox)
{
    struct kaon_outcome out;

    return kaon_call(sandbox, &out, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)),
                     NULL, NULL) == KAON_OK &&
           out.kind == KAON_RETURNED && out.value.i32 == 3;
}

/* One from start to end, as a child's check: 0 if all is well. */
static int use_one(void *user)
{
    struct kaon_image *image = user;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    if (create(&sandbox, image, &err)) {
        fprintf(stderr, "# in a child: %s\n", err.text);
        return 1;
    }
    CHILD_CHECK(strcmp(kaon_sandbox_backend(sandbox), "process") == 0);
    CHILD_CHECK(adds(sandbox));
    CHILD_CHECK(adds(sandbox));
    kaon_sandbox_destroy(sandbox);
    return 0;
}

/* Waits until no more than `count` processes of ours are left. */
static void await_children(size_t count)
{
    for (int i = 0; i < 3000; i++) {
        siginfo_t info = { 0 };

        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid)
            info.si_pid = 0;
        if (processes_of(getpid(), NULL, 0) <= count)
            return;
        e2e_sleep(10 * MILLISECOND);
    }
    fail_msg("%zu processes are left", processes_of(getpid(), NULL, 0));
}

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
        ASSERT_OK(create(&sandbox, image, &err));
        if (called)
            assert_true(adds(sandbox));
        child = processes_sandbox(&zygote);
        ASSERT_OK(create(&other, image, &err));
        assert_true(processes_kill(child));
        assert_killed(sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        assert_true(adds(other));
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

        ASSERT_OK(create(&sandbox, image, &err));
        killer.pid = processes_sandbox(&zygote);
        pthread_create(&thread, NULL, kill_later, &killer);
        assert_killed(sandbox, "spin", KAON_NO_ARGS);
        pthread_join(thread, NULL);
        kaon_sandbox_destroy(sandbox);
    }
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
    ASSERT_OK(kaon_host_functions_add(
        set, "HostAdd", KAON_TYPE_I32,
        KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32), kill_from_within, &killer,
        &err));
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

static void a_process_that_is_stopped_meets_its_deadline(void **state)
{
    struct kaon_image *image = e2e_image("spin");
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    pid_t zygote;

    (void)state;
    ASSERT_OK(create(&sandbox, image, &err));
    kill(processes_sandbox(&zygote), SIGSTOP);
    ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                        KAON_CALL_OPTS(.deadline_ns = 20 * MILLISECOND), &err));
    ASSERT_OUTCOME(KAON_DEADLINE, out);
    kaon_sandbox_destroy(sandbox);
    ASSERT_OK(create(&sandbox, image, &err));
    kill(processes_sandbox(&zygote), SIGSTOP);
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
        ASSERT_OK(create(&before, image, &err));
        assert_true(adds(before));
        processes_sandbox(&zygote);
        assert_true(processes_kill(zygote));
        await_children(0);
        assert_killed(before, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        ASSERT_OK(create(&after, image, &err));
        assert_true(adds(after));
        kaon_sandbox_destroy(before);
        assert_true(adds(after));
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
    ASSERT_OK(create(&before, image, &err));
    processes_sandbox(&zygote);
    kill(zygote, SIGSTOP);
    ASSERT_REFUSED(KAON_EBACKEND, "timed out", create(&after, image, &err));
    assert_true(adds(before));
    kill(zygote, SIGCONT);
    /* It answers the old question first, which nobody waits for. */
    ASSERT_OK(create(&after, image, &err));
    assert_true(adds(after));
    kaon_sandbox_destroy(before);
    assert_true(adds(after));
    kaon_sandbox_destroy(after);
    kaon_image_destroy(image);
}

/* ---- The host ends ----------------------------------------------------- */

/* Makes sandboxes, one of them in a call, and a copy of itself that lives on.
 * Tells when it is ready. */
static _Noreturn void be_a_host(struct kaon_image *image, int ready)
{
    struct kaon_sandbox *sandboxes[3];
    struct kaon_outcome out;

    for (int i = 0; i < 3; i++)
        if (create(&sandboxes[i], image, NULL))
            _exit(1);
    if (fork() == 0) {
        prctl(PR_SET_NAME, "the copy");
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
        await_children(1); /* its copy */
        assert_int_equal(processes_of(getpid(), left, 2), 1);
        kill(left[0], SIGKILL);
        await_children(0);
        close(ready[0]);
        close(ready[1]);
    }
    kaon_image_destroy(image);
}

/* ---- The host's signals and waits -------------------------------------- */

static int ignore_children(void *user)
{
    signal(SIGCHLD, SIG_IGN);
    return use_one(user) || use_one(user);
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
    CHILD_CHECK(create(&sandbox, user, NULL) == KAON_OK);
    CHILD_CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHILD_CHECK(adds(sandbox));
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
        result = use_one(user);
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
    CHILD_CHECK(create(&sandbox, user, NULL) == KAON_OK);
    kill(0, SIGINT);
    kill(0, SIGHUP);
    e2e_sleep(20 * MILLISECOND);
    CHILD_CHECK(adds(sandbox));
    kaon_sandbox_destroy(sandbox);
    return use_one(user);
}

static void in_children(int (*const *functions)(void *), size_t count)
{
    struct kaon_image *image = e2e_image("echo");

    for (size_t i = 0; i < count; i++)
        e2e_in_child(functions[i], image, 120);
    kaon_image_destroy(image);
    await_children(0);
}
#define IN_CHILDREN(...)                                                      \
    do {                                                                      \
        static int (*const functions[])(void *) = { __VA_ARGS__ };            \
                                                                              \
        in_children(functions, sizeof functions / sizeof *functions);         \
    } while (0)

static void a_host_may_do_as_it_likes_with_its_children(void **state)
{
    (void)state;
    IN_CHILDREN(ignore_children, expect_no_children, reap_all_meanwhile,
                interrupt_the_group);
}

/* ---- Users and limits -------------------------------------------------- */

static bool become_nobody(void)
{
    return setgid(NOBODY) == 0 && setuid(NOBODY) == 0;
}

static int as_nobody(void *user)
{
    if (!become_nobody())
        return CHILD_SKIP;
    return use_one(user);
}

static int in_a_user_namespace(void *user)
{
    if (!become_nobody() || unshare(CLONE_NEWUSER) != 0)
        return CHILD_SKIP;
    return use_one(user);
}

/* Made by root, used and ended by somebody who may not kill what root owns. */
static int across_a_change_of_user(void *user)
{
    struct kaon_sandbox *sandboxes[2];
    struct kaon_outcome out;
    struct kaon_error err;

    CHILD_CHECK(create(&sandboxes[0], user, NULL) == KAON_OK);
    CHILD_CHECK(create(&sandboxes[1], user, NULL) == KAON_OK);
    if (!become_nobody())
        return CHILD_SKIP;
    CHILD_CHECK(adds(sandboxes[0]));
    CHILD_CHECK(kaon_call(sandboxes[0], &out, "echo_string",
                          KAON_ARGS(kaon_string("still here")),
                          KAON_CALL_OPTS(.deadline_ns = 1), &err) == KAON_OK);
    CHILD_CHECK(out.kind == KAON_DEADLINE || out.kind == KAON_RETURNED);
    kaon_sandbox_destroy(sandboxes[0]);
    CHILD_CHECK(adds(sandboxes[1]));
    kaon_sandbox_destroy(sandboxes[1]);
    return use_one(user);
}

static void any_user_may_have_sandboxes(void **state)
{
    (void)state;
    IN_CHILDREN(as_nobody, in_a_user_namespace, across_a_change_of_user);
}

/* Creates until that fails: a status and a sentence with `words`; all that
 * was made works, and there is nothing left of it later. */
static int until_full(struct kaon_image *image, const char *words)
{
    enum { MOST = 400 };
    static struct kaon_sandbox *sandboxes[MOST];
    struct kaon_error err = { 0 };
    size_t count = 0;

    while (count < MOST && create(&sandboxes[count], image, &err) == KAON_OK)
        count++;
    if (count == MOST || !strstr(err.text, words)) {
        fprintf(stderr, "# after %zu: %s\n", count, err.text);
        return 1;
    }
    CHILD_CHECK(err.status == KAON_EBACKEND || err.status == KAON_ENOMEM);
    for (size_t i = 0; i < count; i++)
        CHILD_CHECK(adds(sandboxes[i]));
    while (count)
        kaon_sandbox_destroy(sandboxes[--count]);
    return 0;
}

static int with_few_processes(void *user)
{
    const struct rlimit limit = { 40, 40 };

    if (!become_nobody() || setrlimit(RLIMIT_NPROC, &limit) != 0)
        return CHILD_SKIP;
    return until_full(user, "ulimit -u") || use_one(user);
}

static int with_few_descriptors(void *user)
{
    const struct rlimit limit = { 60, 60 };

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CHILD_SKIP;
    return until_full(user, "ulimit -n") || use_one(user);
}

static int with_hardly_a_descriptor(void *user)
{
    for (rlim_t most = 3; most < 24; most++) {
        const struct rlimit limit = { most, 60 };
        struct kaon_error err = { 0 };
        struct kaon_sandbox *sandbox;

        CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        if (create(&sandbox, user, &err) == KAON_OK) {
            CHILD_CHECK(adds(sandbox));
            kaon_sandbox_destroy(sandbox);
        } else {
            CHILD_CHECK(strlen(err.text) > 20);
        }
    }
    return 0;
}

static int with_little_address_space(void *user)
{
    const struct rlimit limit = { UINT64_C(256) << 20, UINT64_C(256) << 20 };

    if (harness_sanitized() || setrlimit(RLIMIT_AS, &limit) != 0)
        return CHILD_SKIP;
    return until_full(user, "ulimit -v") || use_one(user);
}

static void limits_are_told_in_a_sentence(void **state)
{
    (void)state;
    IN_CHILDREN(with_few_processes, with_few_descriptors,
                with_hardly_a_descriptor, with_little_address_space);
}

/* ---- Kernels that lack something --------------------------------------- */

/* Makes a system call fail in this process and all that it starts. */
static bool deny(unsigned int number, unsigned int error)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { sizeof code / sizeof *code,
                                        (struct sock_filter *)code };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int without_second_lines(void *user)
{
    if (!deny(SYS_landlock_create_ruleset, ENOSYS) ||
        !deny(SYS_unshare, EPERM) || !deny(SYS_close_range, ENOSYS) ||
        !deny(SYS_clone3, ENOSYS))
        return CHILD_SKIP;
    return use_one(user);
}

static int refused_without(struct kaon_image *image, unsigned int number,
                           unsigned int error, const char *words)
{
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    if (!deny(number, error))
        return CHILD_SKIP;
    CHILD_CHECK(create(&sandbox, image, &err) == KAON_EBACKEND);
    if (strstr(err.text, words))
        return 0;
    fprintf(stderr, "# no \"%s\" in: %s\n", words, err.text);
    return 1;
}

static int without_seccomp(void *user)
{
    return refused_without(user, SYS_seccomp, ENOSYS, "seccomp");
}

static int with_seccomp_forbidden(void *user)
{
    return refused_without(user, SYS_seccomp, EPERM, "seccomp");
}

static int without_pidfds(void *user)
{
    return refused_without(user, SYS_pidfd_open, ENOSYS, "5.3");
}

static int without_memfds(void *user)
{
    return refused_without(user, SYS_memfd_create, EPERM, "memfd_create");
}

static int without_execveat(void *user)
{
    return refused_without(user, SYS_execveat, EACCES, "execveat");
}

static void kernels_that_lack_something_are_told_in_a_sentence(void **state)
{
    (void)state;
    IN_CHILDREN(without_second_lines, without_seccomp, with_seccomp_forbidden,
                without_pidfds, without_memfds, without_execveat);
}

/* ---- Many, and idle ---------------------------------------------------- */

static void two_hundred_live_at_once(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_sandbox *sandboxes[200];
    struct kaon_error err = { 0 };

    (void)state;
    for (int i = 0; i < 200; i++)
        ASSERT_OK(create(&sandboxes[i], image, &err));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 200; i++)
            assert_true(adds(sandboxes[i]));
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
    ASSERT_OK(create(&sandbox, image, &err));
    child = processes_sandbox(&zygote);
    assert_true(adds(sandbox));
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

        ASSERT_OK(create(&sandbox, image, &err));
        assert_true(adds(sandbox));
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

TESTS(
    TEST_LIMIT(300, a_process_killed_between_calls_is_a_fault),
    TEST_LIMIT(300, a_process_killed_in_a_call_is_a_fault),
    TEST_LIMIT(300, a_process_killed_in_a_host_call_is_a_fault),
    TEST_LIMIT(300, a_process_that_is_stopped_meets_its_deadline),
    TEST_LIMIT(300, a_zygote_that_is_killed_is_replaced),
    TEST_LIMIT(300, a_zygote_that_is_stopped_is_a_status),
    TEST_LIMIT(300, no_process_survives_its_host),
    TEST_LIMIT(300, a_host_may_do_as_it_likes_with_its_children),
    TEST_LIMIT(300, any_user_may_have_sandboxes),
    TEST_LIMIT(300, limits_are_told_in_a_sentence),
    TEST_LIMIT(300, kernels_that_lack_something_are_told_in_a_sentence),
    TEST_LIMIT(300, two_hundred_live_at_once),
    TEST_LIMIT(300, an_idle_sandbox_takes_no_time),
    TEST_LIMIT(300, a_late_interrupt_costs_no_sandbox),
)

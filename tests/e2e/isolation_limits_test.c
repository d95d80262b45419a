/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process isolation where there is not enough of something: privileges, limits
 * of a user or a control group, features of the kernel.
 */
#include "e2e/isolated.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "support/processes.h"

#define NOBODY 65534

/* ---- Users and limits -------------------------------------------------- */

static bool become_nobody(void)
{
    return setgid(NOBODY) == 0 && setuid(NOBODY) == 0;
}

static int as_nobody(void *user)
{
    if (!become_nobody())
        return CHILD_SKIP;
    return isolated_use_one(user);
}

static int in_a_user_namespace(void *user)
{
    if (!become_nobody() || unshare(CLONE_NEWUSER) != 0)
        return CHILD_SKIP;
    return isolated_use_one(user);
}

/* The first process there, with no privileges outside: to be its init too. */
static int in_a_container(void *user)
{
    int status;
    pid_t init;

    if (!become_nobody() ||
        unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET) != 0)
        return CHILD_SKIP;
    init = fork();
    if (init == 0)
        _exit(isolated_use_one(user) || isolated_use_one(user));
    CHILD_CHECK(init > 0 && waitpid(init, &status, 0) == init);
    CHILD_CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Made by root, used and ended by somebody who may not kill what root owns. */
static int across_a_change_of_user(void *user)
{
    struct kaon_sandbox *sandboxes[2];
    struct kaon_outcome out;
    struct kaon_error err;

    CHILD_CHECK(isolated_create(&sandboxes[0], user, NULL) == KAON_OK);
    CHILD_CHECK(isolated_create(&sandboxes[1], user, NULL) == KAON_OK);
    if (!become_nobody())
        return CHILD_SKIP;
    CHILD_CHECK(isolated_adds(sandboxes[0]));
    CHILD_CHECK(kaon_call(sandboxes[0], &out, "echo_string",
                          KAON_ARGS(kaon_string("still here")),
                          KAON_CALL_OPTS(.deadline_ns = 1), &err) == KAON_OK);
    CHILD_CHECK(out.kind == KAON_DEADLINE || out.kind == KAON_RETURNED);
    kaon_sandbox_destroy(sandboxes[0]);
    CHILD_CHECK(isolated_adds(sandboxes[1]));
    kaon_sandbox_destroy(sandboxes[1]);
    return isolated_use_one(user);
}

static void any_user_may_have_sandboxes(void **state)
{
    (void)state;
    IN_CHILDREN(CHECK(as_nobody), CHECK(in_a_user_namespace),
                CHECK(in_a_container), CHECK(across_a_change_of_user));
}

/* Creates until that fails: a status and a sentence with `words`; all that
 * was made works, and there is nothing left of it later. */
static int until_full(struct kaon_image *image, const char *words)
{
    enum { MOST = 400 };
    static struct kaon_sandbox *sandboxes[MOST];
    struct kaon_error err = { 0 };
    size_t count = 0;

    while (count < MOST &&
           isolated_create(&sandboxes[count], image, &err) == KAON_OK)
        count++;
    if (count == MOST || !strstr(err.text, words)) {
        fprintf(stderr, "# after %zu: %s\n", count, err.text);
        return 1;
    }
    CHILD_CHECK(err.status == KAON_EBACKEND || err.status == KAON_ENOMEM);
    for (size_t i = 0; i < count; i++)
        CHILD_CHECK(isolated_adds(sandboxes[i]));
    while (count)
        kaon_sandbox_destroy(sandboxes[--count]);
    return 0;
}

static int with_few_processes(void *user)
{
    const struct rlimit limit = { 40, 40 };

    if (!become_nobody() || setrlimit(RLIMIT_NPROC, &limit) != 0)
        return CHILD_SKIP;
    return until_full(user, "ulimit -u") || isolated_use_one(user);
}

static int with_few_descriptors(void *user)
{
    const struct rlimit limit = { 60, 60 };

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CHILD_SKIP;
    return until_full(user, "ulimit -n") || isolated_use_one(user);
}

static int with_hardly_a_descriptor(void *user)
{
    for (rlim_t most = 3; most < 24; most++) {
        const struct rlimit limit = { most, 60 };
        struct kaon_error err = { 0 };
        struct kaon_sandbox *sandbox;

        CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        if (isolated_create(&sandbox, user, &err) == KAON_OK) {
            CHILD_CHECK(isolated_adds(sandbox));
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
    return until_full(user, "ulimit -v") || isolated_use_one(user);
}

/* The kernel's answer to a file that is too large is a signal, that ends. */
static int with_small_files(void *user)
{
    const struct rlimit limit = { 4096, 4096 };
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *sandbox, *other;
    struct kaon_error err = { 0 };
    struct kaon_image *image;

    CHILD_CHECK(isolated_create(&sandbox, user, &err) == KAON_OK);
    CHILD_CHECK(isolated_adds(sandbox));
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHILD_CHECK(isolated_create(&other, user, &err) == KAON_EBACKEND);
    CHILD_CHECK(strstr(err.text, "ulimit -f"));
    CHILD_CHECK(kaon_snapshot_take(&snapshot, sandbox, &err) == KAON_ENOMEM);
    CHILD_CHECK(strstr(err.text, "ulimit -f"));
    CHILD_CHECK(isolated_adds(sandbox));
    CHILD_CHECK(kaon_image_open(&image, harness_guest("echo"), &err) ==
                KAON_ENOMEM);
    CHILD_CHECK(strstr(err.text, "ulimit -f"));
    kaon_sandbox_destroy(sandbox);
    return 0;
}

static void limits_are_told_in_a_sentence(void **state)
{
    (void)state;
    IN_CHILDREN(CHECK(with_few_processes), CHECK(with_few_descriptors),
                CHECK(with_hardly_a_descriptor),
                CHECK(with_little_address_space), CHECK(with_small_files));
}

/* ---- Control groups ---------------------------------------------------- */

/* A group of our own, in either version of the interface. */
struct group {
    char path[96], parent[96];
};

static bool put(const char *directory, const char *file, long long value)
{
    char path[160], text[32];
    int fd, size = snprintf(text, sizeof text, "%lld", value);
    bool done;

    snprintf(path, sizeof path, "%s/%s", directory, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    done = fd >= 0 && write(fd, text, (size_t)size) == size;
    if (fd >= 0)
        close(fd);
    return done;
}

static bool try_group(struct group *group, const char *parent, const char *file,
                      long long limit)
{
    snprintf(group->parent, sizeof group->parent, "%s", parent);
    snprintf(group->path, sizeof group->path, "%s/kaon-test-%d", parent,
             getpid());
    if (mkdir(group->path, 0700) != 0)
        return false;
    if (put(group->path, file, limit))
        return true;
    rmdir(group->path);
    return false;
}

/* False if we may not have one here. */
static bool group_open(struct group *group, bool memory, long long limit)
{
    if (memory)
        return try_group(group, "/sys/fs/cgroup/memory",
                         "memory.limit_in_bytes", limit) ||
               try_group(group, "/sys/fs/cgroup", "memory.max", limit);
    return try_group(group, "/sys/fs/cgroup/pids", "pids.max", limit) ||
           try_group(group, "/sys/fs/cgroup", "pids.max", limit);
}

static bool group_add(const struct group *group, pid_t pid)
{
    return put(group->path, "cgroup.procs", pid);
}

/* Who is in it has ended, or soon has: false if not. */
static bool group_close(const struct group *group)
{
    for (int i = 0; i < 3000; i++) {
        if (rmdir(group->path) == 0)
            return true;
        e2e_sleep(10 * MILLISECOND);
    }
    return false;
}

static int in_a_group_of_few_processes(void *user)
{
    struct group group;
    int result;

    if (!group_open(&group, false, 8))
        return CHILD_SKIP;
    CHILD_CHECK(group_add(&group, getpid()));
    result = until_full(user, "pids limit") || isolated_use_one(user);
    CHILD_CHECK(put(group.parent, "cgroup.procs", getpid()));
    CHILD_CHECK(group_close(&group));
    return result;
}

static void a_full_group_is_told_in_a_sentence(void **state)
{
    (void)state;
    IN_CHILDREN(CHECK(in_a_group_of_few_processes));
}

static void assert_touches(struct kaon_sandbox *sandbox, uint32_t pages)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, "touch_heap", KAON_ARGS(kaon_u32(pages)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
}

static void a_guest_that_runs_out_of_its_groups_memory_is_killed(void **state)
{
    struct kaon_image *image = e2e_image("memory");
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct group group;
    pid_t zygote, child;

    (void)state;
    if (!group_open(&group, true, 16 << 20)) {
        kaon_image_destroy(image);
        harness_skip("no control group for memory can be made here");
    }
    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.isolation = KAON_ISOLATION_PROCESS,
                          .heap_bytes = 64 << 20),
        &err));
    snapshot = e2e_take(sandbox);
    assert_touches(sandbox, 1024); /* which it has a process for */
    child = processes_sandbox(&zygote);
    assert_true(group_add(&group, child));
    ASSERT_OK(kaon_call(sandbox, &out, "touch_heap", KAON_ARGS(kaon_u32(15000)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_FAULT, out);
    ASSERT_CONTAINS(out.text, "killed");

    /* Another process, where there is enough. */
    e2e_restore(sandbox, snapshot);
    assert_touches(sandbox, 15000);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    kaon_image_destroy(image);
    assert_true(group_close(&group));
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
    return isolated_use_one(user);
}

/* By token, the host hears of an end in another way then. */
static int hears_of_ends_without(struct kaon_image *image, unsigned int number,
                                 unsigned int error)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    pid_t zygote;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (!deny(number, error))
        return CHILD_SKIP;
    for (int i = 0; i < 3; i++) {
        CHILD_CHECK(isolated_create(&sandbox, image, NULL) == KAON_OK);
        CHILD_CHECK(isolated_adds(sandbox));
        CHILD_CHECK(processes_kill(processes_sandbox(&zygote)));
        CHILD_CHECK(kaon_call(sandbox, &out, "add",
                              KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL,
                              NULL) == KAON_OK);
        CHILD_CHECK(out.kind == KAON_FAULT && strstr(out.text, "killed"));
        kaon_sandbox_destroy(sandbox);
    }
    return isolated_use_one(image);
}

static int without_asynchronous_io(void *user)
{
    return hears_of_ends_without(user, SYS_io_setup, ENOSYS);
}

static int with_asynchronous_io_used_up(void *user)
{
    return hears_of_ends_without(user, SYS_io_submit, EAGAIN);
}

static int refused_without(struct kaon_image *image, unsigned int number,
                           unsigned int error, const char *words)
{
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    if (!deny(number, error))
        return CHILD_SKIP;
    CHILD_CHECK(isolated_create(&sandbox, image, &err) == KAON_EBACKEND);
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

static void no_end_is_missed_without_asynchronous_io(void **state)
{
    (void)state;
    IN_CHILDREN(CHECK(without_asynchronous_io),
                CHECK(with_asynchronous_io_used_up));
}

static void kernels_that_lack_something_are_told_in_a_sentence(void **state)
{
    (void)state;
    IN_CHILDREN(CHECK(without_second_lines), CHECK(without_seccomp),
                CHECK(with_seccomp_forbidden), CHECK(without_pidfds),
                CHECK(without_memfds), CHECK(without_execveat));
}

/* clang-format off */
TESTS(
    TEST_LIMIT(300, any_user_may_have_sandboxes),
    TEST_LIMIT(300, limits_are_told_in_a_sentence),
    TEST_LIMIT(300, a_full_group_is_told_in_a_sentence),
    TEST_LIMIT(300, a_guest_that_runs_out_of_its_groups_memory_is_killed),
    TEST_LIMIT(300, no_end_is_missed_without_asynchronous_io),
    TEST_LIMIT(300, kernels_that_lack_something_are_told_in_a_sentence),
)

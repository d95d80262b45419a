/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many system calls are made, exactly: a child does the work under
 * ptrace(), and its parent looks at each system call that it makes between
 * two marks.
 */
#include "e2e/e2e.h"
#include "support/isolation.h"

#include <errno.h>
#include <linux/kvm.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child did between its marks. */
struct tally {
    unsigned int runs;   /* KVM_RUN */
    unsigned int ioctls; /* any other */
    unsigned int others;
    long one_of_them; /* the number of one of the others, to be told */
};

/* A system call that nobody makes by accident, and that does nothing. */
#define MARK_NUMBER SYS_getpriority
#define MARK_ARGUMENT 4711

static void mark(void)
{
    syscall(MARK_NUMBER, MARK_ARGUMENT, 0);
}

struct setting {
    struct kaon_sandbox *sandbox;
    struct kaon_domain *domain;
    struct kaon_image *image;
    struct kaon_host_functions *set;
    struct kaon_function function;
    struct kaon_snapshot *snapshot; /* of the sandbox, once restored */
    struct kaon_pool *pool;         /* of sandboxes with domains of their own */
};

/* All of it in the child, as a VM belongs to its process. */
static bool setting_make(struct setting *setting, const char *path)
{
    struct kaon_error err;
    struct kaon_outcome out;

    setting->set = e2e_functions();
    if (kaon_image_open(&setting->image, path, &err) ||
        kaon_domain_create(&setting->domain, NULL, &err) ||
        kaon_sandbox_create(&setting->sandbox, setting->image,
                            KAON_SANDBOX_OPTS(.domain = setting->domain,
                                              .host_functions = setting->set),
                            &err) ||
        kaon_function_find(&setting->function, setting->image, "host_add",
                           &err) ||
        kaon_pool_create(
            &setting->pool, &out, setting->image,
            KAON_POOL_OPTS(.sandbox = KAON_SANDBOX_OPTS(.host_functions =
                                                            setting->set)),
            &err)) {
        fprintf(stderr, "# %s\n", err.text);
        return false;
    }
    return true;
}

#define TIMES 50

/* Calls of each kind, some of which are to warm up. */
static bool call_count(struct setting *setting)
{
    struct kaon_outcome out;

    return !kaon_call(setting->sandbox, &out, "count", KAON_NO_ARGS, NULL,
                      NULL) &&
           out.kind == KAON_RETURNED;
}

static bool call_host_add(struct setting *setting)
{
    struct kaon_outcome out;

    return !kaon_function_call(setting->sandbox, &out, setting->function,
                               KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL,
                               NULL) &&
           out.kind == KAON_RETURNED && out.value.i32 == 3;
}

static bool call_batch(struct setting *setting)
{
    struct kaon_batch_call calls[16];
    struct kaon_outcome outs[16];
    bool good = true;

    for (int i = 0; i < 16; i++) {
        calls[i] = (struct kaon_batch_call){ .args = NULL, .count = 0 };
        if (kaon_function_find(&calls[i].function, setting->image, "count",
                               NULL))
            return false;
    }
    if (kaon_call_batch(setting->sandbox, outs, calls, 16, NULL, NULL))
        return false;
    for (int i = 0; i < 16; i++)
        good = good && outs[i].kind == KAON_RETURNED;
    return good;
}

static bool call_with_deadline(struct setting *setting)
{
    struct kaon_outcome out;

    return !kaon_call(setting->sandbox, &out, "count", KAON_NO_ARGS,
                      KAON_CALL_OPTS(.deadline_ns = 1000 * SECOND), NULL) &&
           out.kind == KAON_RETURNED;
}

static bool call_large(struct setting *setting)
{
    static char text[20000];
    struct kaon_outcome out;

    memset(text, 't', sizeof text - 1);
    return !kaon_call(setting->sandbox, &out, "host_echo",
                      KAON_ARGS(kaon_string(text)), NULL, NULL) &&
           out.kind == KAON_RETURNED;
}

/* Keeps what it makes, so that each is made of memory that is new. */
static bool create(struct setting *setting)
{
    struct kaon_sandbox *sandbox;

    return !kaon_sandbox_create(
        &sandbox, setting->image,
        KAON_SANDBOX_OPTS(.domain = setting->domain,
                          .host_functions = setting->set),
        NULL);
}

static bool create_and_destroy(struct setting *setting)
{
    struct kaon_sandbox *sandbox;

    if (kaon_sandbox_create(&sandbox, setting->image,
                            KAON_SANDBOX_OPTS(.domain = setting->domain,
                                              .host_functions = setting->set),
                            NULL))
        return false;
    kaon_sandbox_destroy(sandbox);
    return true;
}

/* ---- With snapshots ---------------------------------------------------- */

/* The first time makes the snapshot. */
static bool restore(struct setting *setting)
{
    if (!setting->snapshot &&
        (!call_count(setting) ||
         kaon_snapshot_take(&setting->snapshot, setting->sandbox, NULL)))
        return false;
    return !kaon_sandbox_restore(setting->sandbox, setting->snapshot, NULL);
}

static bool restore_and_call(struct setting *setting)
{
    return restore(setting) && call_count(setting);
}

static struct kaon_sandbox *make_from(struct setting *setting)
{
    struct kaon_sandbox *sandbox;

    if ((!setting->snapshot && !restore(setting)) ||
        kaon_sandbox_create_from(
            &sandbox, setting->snapshot,
            KAON_SANDBOX_OPTS(.domain = setting->domain,
                              .host_functions = setting->set),
            NULL))
        return NULL;
    return sandbox;
}

/* Keeps what it makes, as create() does. */
static bool create_from(struct setting *setting)
{
    return make_from(setting) != NULL;
}

static bool create_from_and_destroy(struct setting *setting)
{
    struct kaon_sandbox *sandbox = make_from(setting);

    kaon_sandbox_destroy(sandbox);
    return sandbox != NULL;
}

/* Poisons the sandbox each time: what it left is cleaned, too. */
static bool heal_and_call(struct setting *setting)
{
    struct kaon_outcome out;

    return restore(setting) &&
           !kaon_call(setting->sandbox, &out, "abort",
                      KAON_ARGS(kaon_i32(1), kaon_string("")), NULL, NULL) &&
           out.kind == KAON_ABORT && restore_and_call(setting);
}

/* A clean sandbox for each call. */
static bool call_from_pool(struct setting *setting)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;

    return !kaon_pool_acquire(setting->pool, &sandbox, 0, NULL) &&
           !kaon_call(sandbox, &out, "count", KAON_NO_ARGS, NULL, NULL) &&
           out.kind == KAON_RETURNED && out.value.i32 == 1 &&
           !kaon_pool_release(setting->pool, sandbox);
}

/* Resident from the first time on; nobody gives up looking for the other. */
static bool call_resident(struct setting *setting)
{
    if (!kaon_sandbox_is_resident(setting->sandbox) &&
        kaon_sandbox_start_resident(
            setting->sandbox, KAON_RESIDENT_OPTS(.spin_ns = 60 * SECOND), NULL))
        return false;
    return call_count(setting) && call_host_add(setting) &&
           call_large(setting) && call_with_deadline(setting);
}

/* What the child is to do, and what comes of it. */
struct task {
    const char *path; /* of the guest */
    bool (*step)(struct setting *setting);
};

/* The C library's heap shall not grow between the marks: it does so now, and
 * keeps what it got. */
static void grow_heap(void)
{
    void *volatile room; /* else compilers leave it out */

    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    room = malloc(16 << 20);
    free(room);
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

static int child_main(const struct task *task)
{
    struct setting setting = { 0 };

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        return CHILD_SKIP;
    raise(SIGSTOP);
    grow_heap();
    if (!setting_make(&setting, task->path))
        return 1;
    for (int i = 0; i < 5; i++)
        if (!task->step(&setting))
            return 2;
    mark();
    for (int i = 0; i < TIMES; i++)
        if (!task->step(&setting))
            return 3;
    mark();
    return 0;
}

/* Reading the clock enters the kernel only where there is no better way. */
static void count(struct tally *tally, const struct user_regs_struct *regs)
{
    if (regs->orig_rax == SYS_clock_gettime)
        return;
    if (regs->orig_rax != SYS_ioctl) {
        tally->others++;
        tally->one_of_them = (long)regs->orig_rax;
    } else if (regs->rsi == KVM_RUN) {
        tally->runs++;
    } else {
        tally->ioctls++;
    }
}

/* Follows the child to its end; returns its wait status. */
static int follow(pid_t child, struct tally *tally)
{
    bool counting = false, entering = true;
    int status, number = 0;

    for (;;) {
        struct user_regs_struct regs;

        if (ptrace(PTRACE_SYSCALL, child, NULL, number) != 0)
            break;
        if (waitpid(child, &status, 0) != child)
            break;
        if (!WIFSTOPPED(status))
            return status;
        number = WSTOPSIG(status);
        if (number != (SIGTRAP | 0x80))
            continue; /* a signal, which it shall get */
        number = 0;
        entering = !entering;
        if (entering || ptrace(PTRACE_GETREGS, child, NULL, &regs) != 0)
            continue;
        if (regs.orig_rax == MARK_NUMBER && regs.rdi == MARK_ARGUMENT)
            counting = !counting;
        else if (counting)
            count(tally, &regs);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return status;
}

static struct tally tally_of(bool (*step)(struct setting *setting))
{
    struct task task = { harness_guest("basics"), step };
    struct tally tally = { 0 };
    int status;
    pid_t child;

    if (harness_sanitized())
        harness_skip("sanitizers make system calls of their own");
    if (isolation_is_process())
        harness_skip("the counts are KVM's");
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(30 * harness_slowness());
        _exit(child_main(&task));
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIP)
        harness_skip("ptrace() is not allowed");
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, child, NULL,
                            PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
                     0);
    status = follow(child, &tally);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return tally;
}

static void assert_tally(const struct tally *tally, unsigned int runs)
{
    if (tally->others)
        print_error("# a system call of number %ld\n", tally->one_of_them);
    assert_int_equal(tally->others, 0);
    assert_int_equal(tally->ioctls, 0);
    assert_int_equal(tally->runs, runs);
}

static void a_warm_call_is_one_kvm_run_and_nothing_else(void **state)
{
    struct tally tally = tally_of(call_count);

    (void)state;
    assert_tally(&tally, TIMES);
}

static void so_are_sixteen_calls_in_a_batch(void **state)
{
    struct tally tally = tally_of(call_batch);

    (void)state;
    assert_tally(&tally, TIMES);
}

static void a_host_call_is_one_kvm_run_more(void **state)
{
    struct tally tally = tally_of(call_host_add);

    (void)state;
    assert_tally(&tally, 2 * TIMES);
}

static void large_arguments_take_no_more(void **state)
{
    struct tally tally = tally_of(call_large);

    (void)state;
    assert_tally(&tally, 2 * TIMES);
}

static void a_deadline_takes_no_more(void **state)
{
    struct tally tally = tally_of(call_with_deadline);

    (void)state;
    assert_tally(&tally, TIMES);
}

static void creating_in_a_living_domain_takes_none(void **state)
{
    struct tally tally = tally_of(create);

    (void)state;
    assert_tally(&tally, 0);
}

static void neither_does_destroying(void **state)
{
    struct tally tally = tally_of(create_and_destroy);

    (void)state;
    assert_tally(&tally, 0);
}

static void a_restore_takes_none(void **state)
{
    struct tally tally = tally_of(restore);

    (void)state;
    assert_tally(&tally, 0);
}

static void a_restore_and_a_call_are_one_kvm_run(void **state)
{
    struct tally tally = tally_of(restore_and_call);

    (void)state;
    assert_tally(&tally, TIMES);
}

static void to_heal_a_sandbox_takes_no_more(void **state)
{
    struct tally tally = tally_of(heal_and_call);

    (void)state;
    assert_tally(&tally, 2 * TIMES);
}

static void creating_from_a_snapshot_takes_none(void **state)
{
    struct tally tally = tally_of(create_from);

    (void)state;
    assert_tally(&tally, 0);
}

static void neither_does_destroying_what_was_made_so(void **state)
{
    struct tally tally = tally_of(create_from_and_destroy);

    (void)state;
    assert_tally(&tally, 0);
}

static void a_clean_sandbox_for_a_call_takes_no_more_than_the_call(void **state)
{
    struct tally tally = tally_of(call_from_pool);

    (void)state;
    assert_tally(&tally, TIMES);
}

static void calls_of_a_resident_guest_take_none(void **state)
{
    cpu_set_t cpus;
    struct tally tally;

    (void)state;
    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) < 2)
        harness_skip("guest and host need a CPU each");
    tally = tally_of(call_resident);
    assert_tally(&tally, 0);
}

TESTS_NEED_KVM(TEST(a_warm_call_is_one_kvm_run_and_nothing_else),
               TEST(so_are_sixteen_calls_in_a_batch),
               TEST(a_host_call_is_one_kvm_run_more),
               TEST(large_arguments_take_no_more),
               TEST(a_deadline_takes_no_more),
               TEST(creating_in_a_living_domain_takes_none),
               TEST(neither_does_destroying), TEST(a_restore_takes_none),
               TEST(a_restore_and_a_call_are_one_kvm_run),
               TEST(to_heal_a_sandbox_takes_no_more),
               TEST(creating_from_a_snapshot_takes_none),
               TEST(neither_does_destroying_what_was_made_so),
               TEST(a_clean_sandbox_for_a_call_takes_no_more_than_the_call),
               TEST(calls_of_a_resident_guest_take_none))

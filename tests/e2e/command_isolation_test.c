/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line where there is no hypervisor: what falls back says so, in
 * one line; what must not fall back says how to choose.
 */
#include "command.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/directory.h"
#include "support/isolation.h"

#define GREETING "Hello, World! I am executing inside of a VM :)\n46\n"

/* ---- Worlds ------------------------------------------------------------ */

static bool without_kvm(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 &&
        errno != EINVAL) /* a root that is no mount point */
        return false;
    return mount("none", "/dev", "tmpfs", 0, NULL) == 0;
}

/* One in which the command and the guest can still be read. */
static bool without_permission(void)
{
    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return false;
    return access("/dev/kvm", F_OK) == 0 && access("/dev/kvm", R_OK) != 0 &&
           access(command(), X_OK) == 0 &&
           access(harness_guest("hello"), R_OK) == 0;
}

/* Enough for the guest's file and its copy, and for nothing else. */
static bool without_descriptors(void)
{
    const struct rlimit five = { 5, 5 };

    return setrlimit(RLIMIT_NOFILE, &five) == 0;
}

/* The tests choose for themselves. */
static void where(struct ran *ran, bool (*prepare)(void),
                  const char *const *words)
{
    if (isolation_is_process())
        harness_skip("on processes there is nothing to choose");
    if (!run_where(ran, prepare, words))
        harness_skip("this process may not make such a world");
}
#define WHERE(ran, prepare, ...) \
    where(ran, prepare, (const char *const[]){ __VA_ARGS__, NULL })

static void assert_one_line(const char *text)
{
    const char *end = strchr(text, '\n');

    if (!end || end[1])
        fail_msg("this is not one line: %s", text);
}

/* ---- What they see ----------------------------------------------------- */

static void without_a_hypervisor_a_process_runs_the_guest(void **state)
{
    struct ran ran;

    (void)state;
    need_processes();
    WHERE(&ran, without_kvm, "run", harness_guest("hello"), "hello");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.out, GREETING);
    assert_one_line(ran.err);
    assert_has(ran.err, "kaon run: the guest runs in a process");
    assert_has(ran.err, "there is no /dev/kvm");
    assert_has(ran.err, "kaon doctor");
}

static void best_is_the_default_and_the_object_says_what_it_was(void **state)
{
    struct ran ran;

    (void)state;
    need_processes();
    WHERE(&ran, without_kvm, "run", "--isolation=best", "--json",
          harness_guest("echo"), "add", "1", "2");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.out,
                        "{\"status\": \"KAON_OK\", \"backend\": \"process\", "
                        "\"outcome\": \"RETURNED\", \"type\": \"i32\", "
                        "\"value\": 3}\n");
    assert_one_line(ran.err);
}

static void without_permission_the_line_says_that(void **state)
{
    struct ran ran;

    (void)state;
    need_processes();
    WHERE(&ran, without_permission, "run", harness_guest("hello"), "hello");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.out, GREETING);
    assert_one_line(ran.err);
    assert_has(ran.err, "no permission to open /dev/kvm");
}

static void who_wants_a_vm_gets_no_less(void **state)
{
    struct ran ran;

    (void)state;
    WHERE(&ran, without_kvm, "run", "--isolation", "vm", harness_guest("hello"),
          "hello");
    assert_int_equal(ran.status, 1);
    assert_string_equal(ran.out, "");
    assert_one_line(ran.err);
    assert_has(ran.err, "there is no /dev/kvm");
    assert_has(ran.err, "KAON_ISOLATION_PROCESS");
    assert_has(ran.err, "--isolation process");
}

static void who_asks_for_a_process_is_told_nothing(void **state)
{
    struct ran ran;

    (void)state;
    need_processes();
    WHERE(&ran, without_kvm, "run", "--isolation", "process",
          harness_guest("hello"), "hello");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.out, GREETING);
    assert_string_equal(ran.err, "");
    WHERE(&ran, NULL, "run", "--isolation", "process", harness_guest("hello"),
          "hello");
    assert_string_equal(ran.out, GREETING);
    assert_string_equal(ran.err, "");
}

static void with_a_hypervisor_the_best_is_a_vm(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    WHERE(&ran, NULL, "run", "--json", harness_guest("echo"), "nothing");
    assert_has(ran.out, "\"backend\": \"kvm\"");
    assert_string_equal(ran.err, "");
}

static void snapshots_fall_back_likewise(void **state)
{
    char root[PATH_SIZE], layout[PATH_SIZE + 8];
    struct ran saved, ran, refused;

    (void)state;
    need_processes();
    if (isolation_is_process())
        harness_skip("on processes there is nothing to choose");
    directory_make(root);
    snprintf(layout, sizeof layout, "%s/layout", root);
    if (!run_where(&saved, without_kvm,
                   (const char *const[]){ "snapshot", "save",
                                          harness_guest("memory"), layout,
                                          "write_page", "3", "77", NULL })) {
        directory_remove(root);
        harness_skip("this process may not make such a world");
    }
    WHERE(&ran, without_kvm, "snapshot", "run", layout, "read_page", "3");
    WHERE(&refused, without_kvm, "snapshot", "run", "--isolation=vm", layout,
          "read_page", "3");
    directory_remove(root);
    assert_int_equal(saved.status, 0);
    assert_one_line(saved.err);
    assert_has(saved.err, "kaon snapshot save: the guest runs in a process");
    assert_string_equal(ran.out, "77\n");
    assert_one_line(ran.err);
    assert_has(ran.err, "kaon snapshot run: the guest runs in a process");
    assert_int_equal(refused.status, 1);
    assert_has(refused.err, "there is no /dev/kvm");
}

/* A shortage passes; a wall that it lowers would be lower for good. */
static void a_shortage_of_descriptors_is_no_reason_to_fall_back(void **state)
{
    struct ran ran;

    (void)state;
    need_guests();
    if (harness_sanitized())
        harness_skip("sanitizers open files");
    WHERE(&ran, without_descriptors, "run", harness_guest("hello"), "hello");
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "ulimit -n");
    assert_has_not(ran.err, "thinner wall");
}

static void what_isolation_takes_is_told(void **state)
{
    struct ran ran;

    (void)state;
    WHERE(&ran, NULL, "run", "--isolation", "none", harness_guest("hello"),
          "hello");
    assert_int_equal(ran.status, 2);
    assert_has(ran.err, "--isolation none: it must be vm, process or best");
    RUN(&ran, "run", "--help");
    assert_has(ran.out, "--isolation KIND");
}

/* ---- The doctor -------------------------------------------------------- */

static void the_doctor_explains_both_ways(void **state)
{
    struct ran ran;

    (void)state;
    need_processes();
    WHERE(&ran, without_kvm, "doctor");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "BAD   there is no /dev/kvm\n      -> ");
    assert_has(ran.out, "ok    a guest ran in a new process");
    assert_has(ran.out, "seccomp");
    assert_has(ran.out, "Landlock");
    assert_has(ran.out, "namespaces");
    assert_has(ran.out, "Guests can run here in processes, but not in VMs.");
    WHERE(&ran, without_kvm, "doctor", "--json");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "{\"ok\": true, \"vm\": false, \"process\": true, ");
    assert_has(ran.out, "{\"about\": \"process\", \"name\": \"memfd\", "
                        "\"state\": \"good\", ");
    WHERE(&ran, without_kvm, "doctor", "--isolation", "vm", "--json");
    assert_int_equal(ran.status, 1);
    assert_has(ran.out, "{\"ok\": false, \"vm\": false, \"process\": true, ");
}

static void without_permission_the_doctor_knows_how_to_get_it(void **state)
{
    struct ran ran;

    (void)state;
    need_processes();
    WHERE(&ran, without_permission, "doctor");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "BAD   no permission on /dev/kvm");
    assert_has(ran.out, "group");
    assert_has(ran.out, "Guests can run here in processes");
}

/* clang-format off */
TESTS(
    TEST_ROW(27, without_a_hypervisor_a_process_runs_the_guest),
    TEST(best_is_the_default_and_the_object_says_what_it_was),
    TEST_ROW(27, without_permission_the_line_says_that),
    TEST_ROW(27, who_wants_a_vm_gets_no_less),
    TEST(who_asks_for_a_process_is_told_nothing),
    TEST(with_a_hypervisor_the_best_is_a_vm),
    TEST(snapshots_fall_back_likewise),
    TEST(a_shortage_of_descriptors_is_no_reason_to_fall_back),
    TEST(what_isolation_takes_is_told),
    TEST_ROW(27, the_doctor_explains_both_ways),
    TEST_ROW(27, without_permission_the_doctor_knows_how_to_get_it),
)

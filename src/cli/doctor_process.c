/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kaon doctor finds out about process isolation: what a sandbox's process
 * is made with, each tried by itself, in a child where it changes something.
 *
 * A kernel may know a thing and a container, a sysctl or a security module
 * forbid it, so nothing is concluded from versions.
 */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

#define HWCAP2_FSGSBASE 2        /* of <asm/hwcap2.h> */
#define LANDLOCK_VERSION_FLAG 1u /* LANDLOCK_CREATE_RULESET_VERSION */
#define PROCESSES_GOOD 4096

/* Tries something in a child. Returns 0, or the errno of its failure. */
static int try_in_child(bool (*attempt)(void))
{
    pid_t child = fork();
    int status;

    if (child < 0)
        return errno;
    if (child == 0)
        _exit(attempt() ? 0 : errno);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* ---- What it cannot do without ----------------------------------------- */

static void check_fsgsbase(struct diagnosis *d)
{
    if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)
        found(d, "fsgsbase", GOOD,
              "the CPU has FSGSBASE and the kernel lets programs use it");
    else
        advise(found(d, "fsgsbase", BAD, "programs cannot use FSGSBASE here"),
               "use Linux 5.9 or newer, on an Intel CPU since 2012 or an AMD "
               "CPU since 2017");
}

static bool install_filter(void)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = { 1, &allow };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static void check_seccomp(struct diagnosis *d)
{
    int error = try_in_child(install_filter);

    if (!error)
        found(d, "seccomp", GOOD, "seccomp filters can be installed");
    else
        advise(found(d, "seccomp", BAD,
                     "no seccomp filter can be installed (%s): nothing would "
                     "keep a guest from system calls",
                     strerror(error)),
               "use a kernel with CONFIG_SECCOMP_FILTER, and a container that "
               "lets seccomp() through");
}

/* What is no program cannot be run; but was it for that, or is it forbidden? */
static bool execute_memory(void)
{
    char *const none[] = { NULL };
    int fd = memfd_create("kaon-doctor", MFD_CLOEXEC | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* MFD_EXEC is of Linux 6.3 */
        fd = memfd_create("kaon-doctor", MFD_CLOEXEC);
    if (fd < 0 || write(fd, "none", 4) != 4)
        return false;
    syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH);
    return errno == ENOEXEC;
}

static void check_memfd(struct diagnosis *d)
{
    int error = try_in_child(execute_memory);
    char line[16];

    if (!error) {
        found(d, "memfd", GOOD, "programs can be run from memory (memfd)");
        return;
    }
    read_line("/proc/sys/vm/memfd_noexec", line, sizeof line);
    advise(found(d, "memfd", BAD, "no program can be run from memory: %s",
                 strerror(error)),
           line[0] == '2' ? "sudo sysctl vm.memfd_noexec=1"
                          : "let the container or the security module allow "
                            "memfd_create() and execveat()");
}

static void check_pidfd(struct diagnosis *d)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (fd >= 0)
        found(d, "pidfd", GOOD, "processes can be held by descriptors (pidfd)");
    else
        advise(
            found(d, "pidfd", BAD, "there are no pidfds: %s", strerror(errno)),
            "use Linux 5.3 or newer, and a container that lets "
            "pidfd_open() through");
    if (fd >= 0)
        close(fd);
}

/* ---- Second lines of defence ------------------------------------------- */

static bool leave_namespaces(void)
{
    return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
                   CLONE_NEWUTS) == 0;
}

static const char *how_to_get_namespaces(void)
{
    static const struct {
        const char *path, *off, *advice;
    } knobs[] = {
        { "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
          "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0" },
        { "/proc/sys/kernel/unprivileged_userns_clone", "0",
          "sudo sysctl kernel.unprivileged_userns_clone=1" },
        { "/proc/sys/user/max_user_namespaces", "0",
          "sudo sysctl user.max_user_namespaces=10000" },
    };
    char line[16];

    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++) {
        read_line(knobs[i].path, line, sizeof line);
        if (strcmp(line, knobs[i].off) == 0)
            return knobs[i].advice;
    }
    return "start the container with a seccomp profile that lets unshare() "
           "through";
}

static void check_namespaces(struct diagnosis *d)
{
    int error = try_in_child(leave_namespaces);

    if (!error)
        found(d, "namespaces", GOOD,
              "a second line: sandboxes get namespaces of their own");
    else
        advise(found(d, "namespaces", NOTE,
                     "a second line is missing: this user may make no "
                     "namespaces (%s)",
                     strerror(error)),
               "%s", how_to_get_namespaces());
}

static void check_landlock(struct diagnosis *d)
{
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);

    if (version > 0)
        found(d, "landlock", GOOD,
              "a second line: Landlock (version %ld) closes the file system",
              version);
    else
        advise(found(d, "landlock", NOTE,
                     "a second line is missing: no Landlock (%s)",
                     strerror(errno)),
               "use Linux 5.13 or newer, with landlock among the kernel's "
               "lsm= parameters");
}

/* ---- How many ---------------------------------------------------------- */

/* Of this process's own group; 0: no limit is known. */
static unsigned long long read_pids_limit(void)
{
    char line[256], path[320];

    read_line("/proc/self/cgroup", line, sizeof line);
    if (strncmp(line, "0::", 3) != 0)
        return 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/pids.max", line + 3);
    read_line(path, line, sizeof line);
    return strtoull(line, NULL, 10);
}

static void check_processes(struct diagnosis *d)
{
    unsigned long long pids = read_pids_limit(), most = pids;
    struct finding *finding;
    struct rlimit limit;
    bool few;

    if (getrlimit(RLIMIT_NPROC, &limit) < 0)
        return;
    /* The limit is one of ordinary users. */
    if (geteuid() != 0 && limit.rlim_cur != RLIM_INFINITY &&
        (!pids || limit.rlim_cur < pids))
        most = limit.rlim_cur;
    if (!most) {
        found(d, "processes", GOOD,
              "no limit on processes, of which each "
              "sandbox takes one");
        return;
    }
    few = most < PROCESSES_GOOD;
    finding = found(d, "processes", few ? NOTE : GOOD,
                    "%s may have %llu processes: one for each sandbox",
                    most == pids ? "this control group" : "this user", most);
    if (few)
        advise(finding, "for more: %s",
               most == pids ? "raise the container's pids limit"
                            : "ulimit -u 65536");
}

void check_process(struct diagnosis *d)
{
    check_fsgsbase(d);
    check_seccomp(d);
    check_memfd(d);
    check_pidfd(d);
    check_namespaces(d);
    check_landlock(d);
    check_processes(d);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a table of tests through cmocka, with a census around each and a time
 * limit on each. Prints TAP.
 *
 * Owns the process: this is the one file that may keep globals, set the
 * alarm, and exit.
 */
#include "support/harness.h"
#include "support/leaks.h"
#include "support/sanitizers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NAME_MAX_BYTES 512

/* One row of the table, on its way through cmocka. */
struct run {
    const struct harness_test *test;
    const char *not_here; /* why no test can run; or NULL */
    char name[NAME_MAX_BYTES];
};

static const struct harness_test *running; /* for the alarm */
static int tap_fd; /* the true standard output, where TAP goes */
static jmp_buf skip_point;
static char skip_reason[256];

unsigned int harness_slowness(void)
{
    const char *text = getenv("KAON_TEST_SLOWNESS");
    unsigned long factor = text ? strtoul(text, NULL, 10) : 1;

    if (factor < 1)
        factor = 1;
    if (factor > 1000)
        factor = 1000;
    return (unsigned int)factor * (SANITIZED ? 4 : 1);
}

bool harness_sanitized(void)
{
    return SANITIZED;
}

bool harness_have_kvm(const char **why)
{
    static char text[128];
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm;

    *why = text;
    if (kvm < 0) {
        snprintf(text, sizeof text, "/dev/kvm: %s", strerror(errno));
        return false;
    }
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        snprintf(text, sizeof text, "/dev/kvm creates no VM: %s",
                 strerror(errno));
    else
        close(vm);
    close(kvm);
    return vm >= 0;
}

const char *harness_guest(const char *name)
{
    static _Thread_local char path[4096];
    const char *directory = getenv("KAON_TEST_GUESTS");

    if (directory) {
        snprintf(path, sizeof path, "%s/%s.elf", directory, name);
    } else {
        char self[2048] = "";
        char *slash;

        if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
            fail_msg("/proc/self/exe: %s", strerror(errno));
        slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        snprintf(path, sizeof path, "%s/../guests/%s.elf", self, name);
    }
    if (access(path, R_OK) != 0)
        fail_msg("no guest program %s: %s", path, strerror(errno));
    return path;
}

_Noreturn void harness_skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(skip_reason, sizeof skip_reason, format, args);
    va_end(args);
    longjmp(skip_point, 1);
}

/*
 * There is no way back from a test that hangs: say which, and end. A TAP
 * reader counts the bail-out as a failure.
 */
static void on_alarm(int signal)
{
    static const char start[] = "\nBail out! over its time limit: ";
    ssize_t ignored;

    (void)signal;
    ignored = write(tap_fd, start, sizeof start - 1);
    ignored = write(tap_fd, running->name, strlen(running->name));
    ignored = write(tap_fd, "\n", 1);
    (void)ignored;
    _exit(EXIT_FAILURE);
}

/* What a test prints must not mix with the TAP: it goes where errors go. */
static void send_stdout_to(int fd)
{
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
}

/* Returns: does the process hold more than before? What is then in text. */
static bool run_once(const struct harness_test *test, char *text, size_t size)
{
    static struct leaks_census before, after; /* static: they are large */
    void *state = NULL;

    leaks_take(&before, NULL);
    test->function(&state);
    leaks_take(&after, &before);
    return leaks_found(&before, &after, text, size);
}

/* Turns a skip into TAP's way to say so, a comment behind the name. */
static void rename_as_skipped(struct run *run, const char *reason)
{
    snprintf(run->name, sizeof run->name, "%s # SKIP %s", run->test->name,
             reason);
}

static void run_case(void **state)
{
    struct run *run = *state;
    char text[1024];

    if (run->not_here) {
        rename_as_skipped(run, run->not_here);
        return;
    }
    if (setjmp(skip_point) != 0) {
        rename_as_skipped(run, skip_reason);
        return;
    }
    running = run->test;
    send_stdout_to(STDERR_FILENO);
    alarm(run->test->limit * harness_slowness());
    if (run_once(run->test, text, sizeof text) &&
        run_once(run->test, text, sizeof text))
        fail_msg("leaked, twice: %s", text);
}

/* However the test has ended: failed assertions and skips jump. */
static int end_case(void **state)
{
    (void)state;
    alarm(0);
    send_stdout_to(tap_fd);
    return 0;
}

static bool is_wanted(const struct harness_test *test, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strstr(test->name, argv[i]))
            return true;
    }
    return argc <= 1;
}

static int list(const struct harness_test *tests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        puts(tests[i].name);
    return EXIT_SUCCESS;
}

static void fill(struct run *run, struct CMUnitTest *unit,
                 const struct harness_test *test, const char *not_here)
{
    run->test = test;
    run->not_here = not_here;
    snprintf(run->name, sizeof run->name, "%s", test->name);
    *unit = (struct CMUnitTest){
        .name = run->name,
        .test_func = run_case,
        .teardown_func = end_case,
        .initial_state = run,
    };
}

/* Both arrays have room for all tests. */
static int run_all(int argc, char **argv, const struct harness_test *tests,
                   size_t count, const char *not_here, struct run *runs,
                   struct CMUnitTest *units)
{
    size_t wanted = 0;

    for (size_t i = 0; i < count; i++) {
        if (!is_wanted(&tests[i], argc, argv))
            continue;
        fill(&runs[wanted], &units[wanted], &tests[i], not_here);
        wanted++;
    }
    if (wanted == 0) {
        fprintf(stderr, "%s: no such test; --list shows them\n", argv[0]);
        return EXIT_FAILURE;
    }
    return _cmocka_run_group_tests("tests", units, wanted, NULL, NULL)
               ? EXIT_FAILURE
               : EXIT_SUCCESS;
}

/* As support/isolation.c decides, which not every test program has. */
static bool on_processes(void)
{
    const char *name = getenv("KAON_TEST_ISOLATION");

    return name && strcmp(name, "process") == 0;
}

static void limit_cpus(void)
{
    const char *wanted = getenv("KAON_TEST_CPUS");
    cpu_set_t all, one;
    int cpu = 0;

    if (!wanted || strcmp(wanted, "1") != 0 ||
        sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

int harness_main(int argc, char **argv, const struct harness_test *tests,
                 size_t count, bool need_kvm)
{
    const struct sigaction action = { .sa_handler = on_alarm };
    const char *not_here = NULL;
    struct CMUnitTest *units;
    struct run *runs;
    int result;

    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list(tests, count);
    limit_cpus();
    leaks_prepare(argv);
    tap_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (tap_fd < 0) {
        perror("standard output");
        return EXIT_FAILURE;
    }
    sigaction(SIGALRM, &action, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* whoever is left behind is seen */
    cmocka_set_message_output(CM_OUTPUT_TAP);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (need_kvm && (on_processes() || harness_have_kvm(&not_here)))
        not_here = NULL;

    runs = calloc(count, sizeof *runs);
    units = calloc(count, sizeof *units);
    if (!runs || !units)
        return EXIT_FAILURE;
    result = run_all(argc, argv, tests, count, not_here, runs, units);
    free(units);
    free(runs);
    close(tap_fd);
    return result;
}

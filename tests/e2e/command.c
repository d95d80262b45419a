/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the command with its output caught. Leaves no child behind. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/isolation.h"
#include "support/sanitizers.h"

/* What start() exits with if the world could not be made. */
#define NO_WORLD 126

const char *command(void)
{
    static char path[4096];
    const char *told = getenv("KAON_TEST_COMMAND");
    char self[2048] = "";
    char *slash;

    if (told)
        return told;
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        fail_msg("/proc/self/exe: %s", strerror(errno));
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    snprintf(path, sizeof path, "%s/../../src/cli/kaon", self);
    return path;
}

/* The words, and behind the subcommand where its guests are to run. */
static void fill_argv(const char **argv, const char *const *words)
{
    const char *option = NULL;
    size_t behind = 0;

    *argv++ = command();
    if (words[0] && strcmp(words[0], "snapshot") == 0)
        behind = 1;
    if (isolation_is_process() && words[0] && words[behind] &&
        (strcmp(words[behind], "run") == 0 ||
         strcmp(words[behind], "save") == 0))
        option = "--isolation=process";
    if (isolation_is_process() && words[0] && strcmp(words[0], "bench") == 0)
        option = "--backend=process";
    for (size_t i = 0; i < WORDS_MAX && words[i]; i++) {
        *argv++ = words[i];
        if (i == behind && option)
            *argv++ = option;
    }
}

/* Dies with its parent, so that a test that is stopped leaves nothing. */
static pid_t start(bool (*prepare)(void), const char *const *words, int out,
                   int err)
{
    const char *path = command();
    const char *argv[WORDS_MAX + 3] = { NULL };
    pid_t child = fork();

    if (child)
        return child;
    fill_argv(argv, words);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (prepare && !prepare())
        _exit(NO_WORLD);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(path, (char *const *)argv);
    _exit(127);
}

static int wait_for(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        fail_msg("kaon was killed by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

int run_into(const char *const *words, int out, int err)
{
    return wait_for(start(NULL, words, out, err));
}

int file(void)
{
    int fd = memfd_create("output", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

void take(int fd, char *text, size_t size)
{
    ssize_t got = pread(fd, text, size - 1, 0);

    assert_true(got >= 0);
    text[got] = '\0';
    close(fd);
}

bool run_where(struct ran *ran, bool (*prepare)(void), const char *const *words)
{
    int out = file(), err = file();

    ran->status = wait_for(start(prepare, words, out, err));
    take(out, ran->out, sizeof ran->out);
    take(err, ran->err, sizeof ran->err);
    return ran->status != NO_WORLD;
}

void run(struct ran *ran, const char *const *words)
{
    run_where(ran, NULL, words);
}

void need_guests(void)
{
    const char *why;

    if (!isolation_is_process() && !harness_have_kvm(&why))
        harness_skip("%s", why);
}

void need_processes(void)
{
    if (THREAD_SANITIZED)
        harness_skip("ThreadSanitizer loses track when processes are started");
}

void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in: %s", part, text);
}

void assert_has_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" is in: %s", part, text);
}

void run_on_terminal(const char *const *words, char *text, size_t size)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
    size_t length = 0;
    ssize_t got;

    if (master < 0 || grantpt(master) || unlockpt(master))
        harness_skip("no pseudo terminals: %s", strerror(errno));
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    run_into(words, slave, slave);
    close(slave);
    /* With the other end closed, EIO comes after the last byte. */
    while (length < size - 1 &&
           (got = read(master, text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(master);
}

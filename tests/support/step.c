/* SPDX-License-Identifier: Apache-2.0 */
/* Counts by single-stepping a child from one stop of its own to the next. */
#include "support/step.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/harness.h"

#define MARK SIGUSR1

static void nothing(void)
{
}

static _Noreturn void be_traced(void (*prepare)(void), void (*run)(void))
{
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
        _exit(77);
    prepare();
    raise(MARK);
    run();
    raise(MARK);
    _exit(0);
}

/* From mark to mark, the way of raise() itself included. */
static long count_steps(void (*prepare)(void), void (*run)(void))
{
    pid_t child = fork();
    bool counting = false;
    long steps = 0;
    int status;

    assert_true(child >= 0);
    if (child == 0)
        be_traced(prepare, run);
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        int signal = WSTOPSIG(status);

        if (signal == MARK)
            counting = !counting;
        else if (signal == SIGTRAP)
            steps++;
        ptrace(counting ? PTRACE_SINGLESTEP : PTRACE_CONT, child, 0,
               signal == MARK || signal == SIGTRAP ? 0 : signal);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        harness_skip("this process may not be traced");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return steps;
}

long step_count(void (*prepare)(void), void (*run)(void))
{
    long empty = count_steps(nothing, nothing);
    long steps = count_steps(prepare, run);

    assert_true(empty > 0 && steps > empty);
    return steps - empty;
}

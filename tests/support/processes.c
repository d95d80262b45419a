/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc. Keeps nothing, and no descriptor open. */
#include "support/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "support/harness.h"

#define WAIT_MS 30000 /* for what takes no time on a machine that is idle */

static bool read_text(long pid, const char *name, char *text, size_t size)
{
    char path[48];
    ssize_t got = -1;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        got = read(fd, text, size - 1);
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* The rest of its stat behind a name that may hold anything: state, parent. */
static const char *stat_of(long pid, char *text, size_t size)
{
    const char *name_end;

    read_text(pid, "stat", text, size);
    name_end = strrchr(text, ')');
    return name_end && strlen(name_end) >= 5 ? name_end + 2 : "";
}

static pid_t parent_of(long pid)
{
    char text[512];
    const char *stat = stat_of(pid, text, sizeof text);

    return *stat ? (pid_t)strtol(stat + 2, NULL, 10) : 0;
}

char processes_state(pid_t pid)
{
    char text[512];

    return *stat_of(pid, text, sizeof text);
}

long processes_switches(pid_t pid)
{
    static const char *const names[] = { "\nvoluntary_ctxt_switches:",
                                         "\nnonvoluntary_ctxt_switches:" };
    char text[4096];
    long sum = 0;

    if (!read_text(pid, "status", text, sizeof text))
        return -1;
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(text, names[i]);

        if (!at)
            return -1;
        sum += strtol(at + strlen(names[i]), NULL, 10);
    }
    return sum;
}

size_t processes_of(pid_t parent, pid_t *out, size_t room)
{
    static _Thread_local _Alignas(8) char buffer[32768];
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t count = 0;
    long got;

    while ((got = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(buffer + at);
            long pid = strtol(entry->d_name, NULL, 10);

            at += entry->d_reclen;
            if (pid <= 0 || parent_of(pid) != parent)
                continue;
            if (out && count < room)
                out[count] = (pid_t)pid;
            count++;
        }
    }
    if (fd >= 0)
        close(fd);
    return count;
}

pid_t processes_sandbox(pid_t *zygote)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    size_t zygotes = 0, children = 0;
    pid_t child = 0;

    for (int ms = 0; ms < WAIT_MS; ms++) {
        zygotes = processes_of(getpid(), zygote, 1);
        children = zygotes == 1 ? processes_of(*zygote, &child, 1) : 0;
        if (children == 1)
            return child;
        nanosleep(&pause, NULL); /* who has ended is listed for a moment */
    }
    fail_msg("%zu zygotes, %zu children", zygotes, children);
    return 0;
}

bool processes_kill(pid_t pid)
{
    struct pollfd end = { .events = POLLIN };
    bool ended;

    end.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (end.fd < 0)
        return false;
    syscall(SYS_pidfd_send_signal, end.fd, SIGKILL, NULL, 0);
    ended = poll(&end, 1, WAIT_MS) == 1;
    close(end.fd);
    return ended;
}

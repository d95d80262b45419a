/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc. Keeps nothing, and no descriptor open. */
#include "support/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/harness.h"

/* The fourth word of its stat, behind a name that may hold anything. */
static pid_t parent_of(long pid)
{
    char path[40], text[512];
    ssize_t got = -1;
    const char *name_end;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        got = read(fd, text, sizeof text - 1);
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    name_end = strrchr(text, ')');
    if (!name_end || strlen(name_end) < 5)
        return 0;
    return (pid_t)strtol(name_end + 4, NULL, 10);
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
    pid_t child = 0;

    assert_int_equal(processes_of(getpid(), zygote, 1), 1);
    assert_int_equal(processes_of(*zygote, &child, 1), 1);
    return child;
}

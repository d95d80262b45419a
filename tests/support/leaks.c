/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The census of a process: /proc/self and the allocator's own count.
 *
 * Owns nothing between calls. Takes care not to be seen in its own census:
 * it uses no heap while it counts, and closes what it opened before the
 * descriptors are listed.
 */
#include "support/leaks.h"
#include "support/processes.h"
#include "support/sanitizers.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TUNABLES                                            \
    "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0:" \
    "glibc.pthread.stack_cache_size=0"

static void *end_at_once(void *unused)
{
    return unused;
}

/* ThreadSanitizer starts a thread of its own along with the first. */
static void start_first_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, end_at_once, NULL) == 0)
        pthread_join(thread, NULL);
}

void leaks_prepare(char **argv)
{
    const char *now = getenv("GLIBC_TUNABLES");

    if (SANITIZED) {
        start_first_thread();
        return;
    }
    if (now && strcmp(now, TUNABLES) == 0)
        return;
    setenv("GLIBC_TUNABLES", TUNABLES, 1);
    execv("/proc/self/exe", argv);
    /* Still here: the census is less exact, and a test may fail for it. */
    perror("restarting with GLIBC_TUNABLES");
}

/* Calls `see` with each number that names an entry of the directory. */
static void each_number(const char *path, void (*see)(void *user, long number),
                        void *user)
{
    static _Alignas(8) char buffer[32768];
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got;

    while ((got = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(buffer + at);
            char *end;
            long number = strtol(entry->d_name, &end, 10);

            at += entry->d_reclen;
            if (end != entry->d_name && *end == '\0' && number != fd)
                see(user, number);
        }
    }
    if (fd >= 0)
        close(fd);
}

static void see_fd(void *user, long number)
{
    struct leaks_census *census = user;

    if (number < LEAKS_FDS_MAX)
        census->fds[number / 8] |= (unsigned char)(1u << (number % 8));
}

static void see_thread(void *user, long number)
{
    (void)number;
    ++*(size_t *)user;
}

static size_t count_threads(void)
{
    size_t count = 0;

    each_number("/proc/self/task", see_thread, &count);
    return count;
}

/* Orphans that have ended come to us, and are nobody's fault. Who was our
 * own from the start has no exit signal, and is not found by this wait. */
static size_t count_children(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return processes_of(getpid(), NULL, 0);
}

/* What has just ended may be listed for a moment, a loaded machine's. */
static size_t settled(size_t (*count)(void), size_t expected)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    size_t now = count();

    for (int i = 0; i < 10000 && now > expected; i++) {
        nanosleep(&pause, NULL);
        now = count();
    }
    return now;
}

/* The heap and stacks that the kernel grows are counted, or bounded, anew. */
static bool is_elastic(const char *path)
{
    return strcmp(path, "[heap]") == 0 || strcmp(path, "[stack]") == 0;
}

static void add_mapping(struct leaks_census *census, const char *name,
                        size_t bytes)
{
    size_t i = 0;

    while (i < census->mapping_count &&
           strcmp(census->mappings[i].name, name) != 0)
        i++;
    if (i == sizeof census->mappings / sizeof census->mappings[0])
        return;
    if (i == census->mapping_count) {
        snprintf(census->mappings[i].name, sizeof census->mappings[i].name,
                 "%s", name);
        census->mapping_count++;
    }
    census->mappings[i].bytes += bytes;
}

static void see_mapping(struct leaks_census *census, const char *line)
{
    unsigned long start, end;
    char mode[5], path[101] = "anonymous", name[120];

    if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %100[^\n]", &start, &end, mode,
               path) < 3 ||
        is_elastic(path))
        return;
    snprintf(name, sizeof name, "%s %s", mode, path);
    add_mapping(census, name, end - start);
}

/* Reads /proc/self/maps line by line, without the heap that stdio needs. */
static void take_mappings(struct leaks_census *census)
{
    char buffer[8192 + 1];
    size_t held = 0;
    ssize_t got;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    while ((got = read(fd, buffer + held, sizeof buffer - 1 - held)) > 0) {
        char *line = buffer, *end;

        held += (size_t)got;
        buffer[held] = '\0';
        while ((end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            see_mapping(census, line);
            line = end + 1;
        }
        held = (size_t)(buffer + held - line);
        memmove(buffer, line, held);
    }
    close(fd);
}

static size_t heap_in_use(void)
{
    struct mallinfo2 info;

    if (SANITIZED)
        return 0;
    info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

void leaks_take(struct leaks_census *census, const struct leaks_census *before)
{
    const size_t any = SIZE_MAX;

    memset(census, 0, sizeof *census);
    census->threads = settled(count_threads, before ? before->threads : any);
    census->children = settled(count_children, before ? before->children : any);
    census->heap = heap_in_use();
    if (!SANITIZED)
        take_mappings(census);
    each_number("/proc/self/fd", see_fd, census);
}

/* Appends to a list in words, which is cut, never overrun. */
__attribute__((format(printf, 3, 4))) static void say(char *text, size_t size,
                                                      const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    if (used && used + 2 < size)
        used = (size_t)(stpcpy(text + used, ", ") - text);
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static void say_fd(char *text, size_t size, int fd)
{
    char link[64], target[128] = "?";
    ssize_t length;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, target, sizeof target - 1);
    if (length >= 0)
        target[length] = '\0';
    say(text, size, "descriptor %d (%s)", fd, target);
}

static bool has_fd(const struct leaks_census *census, int fd)
{
    return census->fds[fd / 8] >> (fd % 8) & 1;
}

static void compare_fds(const struct leaks_census *before,
                        const struct leaks_census *after, char *text,
                        size_t size)
{
    for (int fd = 0; fd < LEAKS_FDS_MAX; fd++) {
        if (has_fd(after, fd) && !has_fd(before, fd))
            say_fd(text, size, fd);
    }
}

static size_t bytes_of(const struct leaks_census *census, const char *name)
{
    for (size_t i = 0; i < census->mapping_count; i++) {
        if (strcmp(census->mappings[i].name, name) == 0)
            return census->mappings[i].bytes;
    }
    return 0;
}

static void compare_mappings(const struct leaks_census *before,
                             const struct leaks_census *after, char *text,
                             size_t size)
{
    for (size_t i = 0; i < after->mapping_count; i++) {
        const struct leaks_mapping *mapping = &after->mappings[i];
        size_t had = bytes_of(before, mapping->name);

        if (mapping->bytes > had)
            say(text, size, "%zu bytes mapped as %s", mapping->bytes - had,
                mapping->name);
    }
}

bool leaks_found(const struct leaks_census *before,
                 const struct leaks_census *after, char *text, size_t size)
{
    text[0] = '\0';
    if (after->threads > before->threads)
        say(text, size, "%zu threads", after->threads - before->threads);
    if (after->children > before->children)
        say(text, size, "%zu processes", after->children - before->children);
    compare_fds(before, after, text, size);
    compare_mappings(before, after, text, size);
    if (after->heap > before->heap)
        say(text, size, "%zu bytes of heap", after->heap - before->heap);
    return text[0] != '\0';
}

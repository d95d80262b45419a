/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between the program's objects and libc (ld's --wrap), counts, and
 * fails one call as libc would.
 *
 * Owns the counters. Calls no function that it wraps, but for the real one.
 */
#include "support/fail_nth.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

static atomic_bool armed;
static atomic_uint target, counted;
static _Atomic(const char *) failed;

void fail_nth_arm(unsigned int nth)
{
    atomic_store(&counted, 0);
    atomic_store(&target, nth);
    atomic_store(&failed, NULL);
    atomic_store(&armed, true);
}

bool fail_nth_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&failed) != NULL;
}

unsigned int fail_nth_count(void)
{
    return atomic_load(&counted);
}

const char *fail_nth_name(void)
{
    const char *name = atomic_load(&failed);

    return name ? name : "none";
}

static bool is_due(const char *name)
{
    if (!atomic_load(&armed) ||
        atomic_fetch_add(&counted, 1) + 1 != atomic_load(&target))
        return false;
    atomic_store(&failed, name);
    return true;
}

/*
 * Each wrapper fails with the error given, or passes on its arguments. ld
 * names both functions; no header can declare them.
 */
#define WRAP(error, failure, type, name, parameters, ...) \
    type __real_##name parameters;                        \
    type __wrap_##name parameters;                        \
    type __wrap_##name parameters                         \
    {                                                     \
        if (is_due(#name)) {                              \
            errno = (error);                              \
            return failure;                               \
        }                                                 \
        return __real_##name(__VA_ARGS__);                \
    }

WRAP(ENOMEM, NULL, void *, malloc, (size_t size), size)
WRAP(ENOMEM, NULL, void *, calloc, (size_t count, size_t size), count, size)
WRAP(ENOMEM, NULL, void *, realloc, (void *old, size_t size), old, size)
WRAP(ENOMEM, NULL, void *, aligned_alloc, (size_t align, size_t size), align,
     size)
WRAP(ENOMEM, NULL, char *, strdup, (const char *text), text)
WRAP(ENOMEM, NULL, char *, strndup, (const char *text, size_t size), text, size)

WRAP(ENOMEM, MAP_FAILED, void *, mmap,
     (void *at, size_t size, int prot, int flags, int fd, off_t offset), at,
     size, prot, flags, fd, offset)
WRAP(ENOMEM, MAP_FAILED, void *, mmap64,
     (void *at, size_t size, int prot, int flags, int fd, off64_t offset), at,
     size, prot, flags, fd, offset)
WRAP(ENOMEM, -1, int, mprotect, (void *at, size_t size, int prot), at, size,
     prot)
WRAP(ENOMEM, -1, int, madvise, (void *at, size_t size, int advice), at, size,
     advice)

WRAP(EIO, -1, ssize_t, read, (int fd, void *to, size_t size), fd, to, size)
WRAP(EIO, -1, ssize_t, __read_chk, (int fd, void *to, size_t size, size_t room),
     fd, to, size, room)
WRAP(EIO, -1, ssize_t, pread, (int fd, void *to, size_t size, off_t offset), fd,
     to, size, offset)
WRAP(EIO, -1, ssize_t, pread64, (int fd, void *to, size_t size, off64_t offset),
     fd, to, size, offset)
WRAP(EIO, -1, ssize_t, __pread_chk,
     (int fd, void *to, size_t size, off_t offset, size_t room), fd, to, size,
     offset, room)
WRAP(EIO, -1, ssize_t, __pread64_chk,
     (int fd, void *to, size_t size, off64_t offset, size_t room), fd, to, size,
     offset, room)
WRAP(ENOSPC, -1, ssize_t, write, (int fd, const void *from, size_t size), fd,
     from, size)
WRAP(ENOSPC, -1, ssize_t, pwrite,
     (int fd, const void *from, size_t size, off_t offset), fd, from, size,
     offset)
WRAP(ENOSPC, -1, ssize_t, pwrite64,
     (int fd, const void *from, size_t size, off64_t offset), fd, from, size,
     offset)
WRAP(EIO, -1, int, fsync, (int fd), fd)
WRAP(EACCES, -1, int, mkdirat, (int directory, const char *name, mode_t mode),
     directory, name, mode)
WRAP(EACCES, -1, int, renameat,
     (int from, const char *old, int to, const char *new), from, old, to, new)
WRAP(ENOLCK, -1, int, flock, (int fd, int operation), fd, operation)
WRAP(EIO, -1, int, fstat, (int fd, struct stat *out), fd, out)
WRAP(EIO, -1, int, fstat64, (int fd, struct stat64 *out), fd, out)
WRAP(EMFILE, -1, int, memfd_create, (const char *name, unsigned int flags),
     name, flags)
WRAP(EMFILE, -1, int, eventfd, (unsigned int value, int flags), value, flags)
WRAP(EINVAL, -1, int, sigaction,
     (int number, const struct sigaction *action, struct sigaction *old),
     number, action, old)

/* The last argument of these is there or not; passing it does no harm. */
#define WRAP_LAST(error, last, name, parameters, before, ...) \
    int __real_##name parameters;                             \
    int __wrap_##name parameters;                             \
    int __wrap_##name parameters                              \
    {                                                         \
        va_list rest;                                         \
        last value;                                           \
                                                              \
        va_start(rest, before);                               \
        value = va_arg(rest, last);                           \
        va_end(rest);                                         \
        if (is_due(#name)) {                                  \
            errno = (error);                                  \
            return -1;                                        \
        }                                                     \
        return __real_##name(__VA_ARGS__, value);             \
    }

WRAP_LAST(EMFILE, mode_t, open, (const char *path, int flags, ...), flags, path,
          flags)
WRAP_LAST(EMFILE, mode_t, open64, (const char *path, int flags, ...), flags,
          path, flags)
WRAP_LAST(EMFILE, mode_t, openat, (int at, const char *path, int flags, ...),
          flags, at, path, flags)
WRAP_LAST(EMFILE, mode_t, openat64, (int at, const char *path, int flags, ...),
          flags, at, path, flags)
WRAP_LAST(EIO, void *, ioctl, (int fd, unsigned long request, ...), request, fd,
          request)

/* These return the error instead of setting errno. */
WRAP(EAGAIN, EAGAIN, int, pthread_create,
     (pthread_t * out, const pthread_attr_t *attributes, void *(*start)(void *),
      void *user),
     out, attributes, start, user)
WRAP(ENOMEM, ENOMEM, int, posix_memalign,
     (void **out, size_t align, size_t size), out, align, size)
WRAP(ENOMEM, ENOMEM, int, pthread_mutex_init,
     (pthread_mutex_t * mutex, const pthread_mutexattr_t *attributes), mutex,
     attributes)
WRAP(ENOMEM, ENOMEM, int, pthread_cond_init,
     (pthread_cond_t * cond, const pthread_condattr_t *attributes), cond,
     attributes)

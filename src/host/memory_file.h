/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in memory (memfd_create) are files: a limit on the size of files holds
 * for them, and whoever exceeds it is not refused but ended, by SIGXFSZ.
 */
#ifndef KAON_SRC_HOST_MEMORY_FILE_H
#define KAON_SRC_HOST_MEMORY_FILE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* May a file have this size? If not, errno is EFBIG. */
static inline bool kaon__memory_file_may_have(uint64_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur >= size)
        return true;
    errno = EFBIG;
    return false;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Reads files. */
#ifndef KAON_SRC_HOST_READ_H
#define KAON_SRC_HOST_READ_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* Reads from an offset on until there are `size` bytes; returns how many. If
 * there are fewer, errno says why, and is 0 if the file ends there. */
static inline size_t kaon__read_at(int fd, void *to, size_t size,
                                   uint64_t offset)
{
    size_t had = 0;

    while (had < size) {
        ssize_t got =
            pread(fd, (char *)to + had, size - had, (off_t)(offset + had));

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = 0;
        if (got <= 0)
            break;
        had += (size_t)got;
    }
    return had;
}

#endif

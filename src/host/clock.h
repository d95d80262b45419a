/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that deadlines are told by: CLOCK_MONOTONIC, in nanoseconds. */
#ifndef KAON_SRC_HOST_CLOCK_H
#define KAON_SRC_HOST_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define KAON_NEVER UINT64_MAX
#define KAON_SECOND UINT64_C(1000000000)

static inline uint64_t kaon__clock_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * KAON_SECOND + (uint64_t)t.tv_nsec;
}

/* So long from `time` on, or never. */
static inline uint64_t kaon__clock_after(uint64_t time, uint64_t nanoseconds)
{
    return nanoseconds < KAON_NEVER - time ? time + nanoseconds : KAON_NEVER;
}

/* Waits for a condition, but not past `until`. */
static inline void kaon__clock_wait(pthread_cond_t *condition,
                                    pthread_mutex_t *lock, uint64_t until)
{
    const struct timespec end = {
        .tv_sec = (time_t)(until / KAON_SECOND),
        .tv_nsec = (long)(until % KAON_SECOND),
    };

    if (until == KAON_NEVER)
        pthread_cond_wait(condition, lock);
    else
        pthread_cond_clockwait(condition, lock, CLOCK_MONOTONIC, &end);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the locks, and frees them in children. */
#include "host/locks.h"

#include <pthread.h>

static pthread_mutex_t locks[KAON_LOCKS] = {
    [KAON_LOCK_DEVICE] = PTHREAD_MUTEX_INITIALIZER,
    [KAON_LOCK_KICK] = PTHREAD_MUTEX_INITIALIZER,
    [KAON_LOCK_PROCESS] = PTHREAD_MUTEX_INITIALIZER,
    [KAON_LOCK_ZYGOTE] = PTHREAD_MUTEX_INITIALIZER,
};

static void free_all(void)
{
    for (int i = 0; i < KAON_LOCKS; i++)
        pthread_mutex_init(&locks[i], NULL);
}

static void free_at_fork(void)
{
    pthread_atfork(NULL, NULL, free_all);
}

void kaon__lock(enum kaon_lock lock)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, free_at_fork);
    pthread_mutex_lock(&locks[lock]);
}

void kaon__unlock(enum kaon_lock lock)
{
    pthread_mutex_unlock(&locks[lock]);
}

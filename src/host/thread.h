/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library's own. */
#ifndef KAON_SRC_HOST_THREAD_H
#define KAON_SRC_HOST_THREAD_H

#include <pthread.h>
#include <signal.h>

/* Starts one with all signals blocked: the program's are for its own threads.
 * Returns as pthread_create() does. */
static inline int kaon__thread_start(pthread_t *thread,
                                     const pthread_attr_t *attributes,
                                     void *(*function)(void *user), void *user)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(thread, attributes, function, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watching thread: the process's, so counted for all.
 *
 * Owns the list of watched calls. expire() runs with the lock held, so that
 * kaon__watch_stop() is the end of it.
 */
#include "host/watch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "host/clock.h"
#include "host/error.h"
#include "host/thread.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    unsigned users;
    bool running, ending;
    uint64_t wake; /* when the thread will look again */
    struct kaon_watch *calls;
} watcher = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
};

static void unlink_call(struct kaon_watch *watch)
{
    *watch->back = watch->next;
    if (watch->next)
        watch->next->back = watch->back;
    watch->back = NULL;
}

/* Expires what is due; returns when the next is. */
static uint64_t expire_due(uint64_t time)
{
    struct kaon_watch *watch = watcher.calls;
    uint64_t next = KAON_NEVER;

    while (watch) {
        struct kaon_watch *following = watch->next;

        if (watch->deadline <= time) {
            unlink_call(watch);
            watch->expire(watch);
        } else if (watch->deadline < next) {
            next = watch->deadline;
        }
        watch = following;
    }
    return next;
}

/*
 * When no call is left, the thread sleeps on until it was last told to wake:
 * calls in quick succession then need not wake it, however late it is.
 */
static void *run(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&watcher.lock);
    while (!watcher.ending) {
        uint64_t time = kaon__clock_now();
        uint64_t next = expire_due(time);

        if (next < watcher.wake || watcher.wake <= time)
            watcher.wake = next;
        kaon__clock_wait(&watcher.changed, &watcher.lock, watcher.wake);
    }
    pthread_mutex_unlock(&watcher.lock);
    return NULL;
}

/* A child has the memory, but not the thread, and a lock that may be held. */
static void forget(void)
{
    pthread_mutex_init(&watcher.lock, NULL);
    pthread_cond_init(&watcher.changed, NULL);
    watcher.users = 0;
    watcher.running = watcher.ending = false;
    watcher.calls = NULL;
}

static void forget_at_fork(void)
{
    pthread_atfork(NULL, NULL, forget);
}

enum kaon_status kaon__watch_open(struct kaon_watch *watch,
                                  struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (watch->user)
        return KAON_OK;
    pthread_once(&once, forget_at_fork);
    pthread_mutex_lock(&watcher.lock);
    /* A thread that is about to end is waited for in close(), unlocked. */
    while (watcher.ending)
        pthread_cond_wait(&watcher.changed, &watcher.lock);
    if (!watcher.running) {
        watcher.wake = KAON_NEVER;
        errno = kaon__thread_start(&watcher.thread, NULL, run, NULL);
        if (errno)
            status = kaon__fail_errno(err, KAON_ENOMEM,
                                      "cannot start the thread that watches "
                                      "deadlines: %s",
                                      strerror(errno));
        else
            watcher.running = true;
    }
    if (!status) {
        watcher.users++;
        watch->user = true;
    }
    pthread_mutex_unlock(&watcher.lock);
    return status;
}

void kaon__watch_start(struct kaon_watch *watch, uint64_t nanoseconds)
{
    watch->deadline = kaon__clock_after(kaon__clock_now(), nanoseconds);
    pthread_mutex_lock(&watcher.lock);
    watch->next = watcher.calls;
    watch->back = &watcher.calls;
    if (watch->next)
        watch->next->back = &watch->next;
    watcher.calls = watch;
    if (watch->deadline < watcher.wake) {
        watcher.wake = watch->deadline;
        pthread_cond_broadcast(&watcher.changed);
    }
    pthread_mutex_unlock(&watcher.lock);
}

void kaon__watch_stop(struct kaon_watch *watch)
{
    pthread_mutex_lock(&watcher.lock);
    if (watch->back)
        unlink_call(watch);
    pthread_mutex_unlock(&watcher.lock);
}

void kaon__watch_close(struct kaon_watch *watch)
{
    pthread_t thread;

    if (!watch->user)
        return;
    pthread_mutex_lock(&watcher.lock);
    watch->user = false;
    /* In a child of fork(), the parent's sandboxes count no longer. */
    if (watcher.users == 0 || --watcher.users > 0) {
        pthread_mutex_unlock(&watcher.lock);
        return;
    }
    watcher.ending = true;
    thread = watcher.thread;
    pthread_cond_broadcast(&watcher.changed);
    pthread_mutex_unlock(&watcher.lock);

    pthread_join(thread, NULL);

    pthread_mutex_lock(&watcher.lock);
    watcher.ending = watcher.running = false;
    pthread_cond_broadcast(&watcher.changed);
    pthread_mutex_unlock(&watcher.lock);
}

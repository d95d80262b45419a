/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines expire in time, once, and never after they were stopped. */
#include "host/watch.h"
#include "support/fail_nth.h"
#include "support/harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS UINT64_C(1000000)

struct timer {
    struct kaon_watch watch; /* the first: a timer's watch is the timer */
    atomic_int expired;
    uint64_t at;
};

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

static void pass(uint64_t ns)
{
    const struct timespec t = { (time_t)(ns / (1000 * MS)),
                                (long)(ns % (1000 * MS)) };

    nanosleep(&t, NULL);
}

static void expire(struct kaon_watch *watch)
{
    struct timer *timer = (struct timer *)watch;

    timer->at = now();
    atomic_fetch_add(&timer->expired, 1);
}

static void open_timer(struct timer *timer)
{
    struct kaon_error err;

    *timer = (struct timer){ .watch.expire = expire };
    if (kaon__watch_open(&timer->watch, &err))
        fail_msg("%s", err.text);
}

/* The test's own time limit ends a wait that is in vain. */
static void await(struct timer *timer)
{
    while (!atomic_load(&timer->expired))
        pass(MS / 10);
}

static void a_deadline_expires_once_and_not_early(void **state)
{
    struct timer timer;
    uint64_t start;

    (void)state;
    open_timer(&timer);
    start = now();
    kaon__watch_start(&timer.watch, 5 * MS);
    await(&timer);
    assert_true(timer.at >= start + 5 * MS);
    pass(5 * MS);
    kaon__watch_stop(&timer.watch);
    assert_int_equal(atomic_load(&timer.expired), 1);
    kaon__watch_close(&timer.watch);
}

static void a_stopped_deadline_never_expires(void **state)
{
    struct timer timer;

    (void)state;
    open_timer(&timer);
    for (int i = 0; i < 200; i++) {
        kaon__watch_start(&timer.watch, 50 * MS);
        kaon__watch_stop(&timer.watch);
        kaon__watch_stop(&timer.watch);
    }
    pass(60 * MS);
    assert_int_equal(atomic_load(&timer.expired), 0);
    kaon__watch_close(&timer.watch);
}

/* When stop() returns, expire() is over, whoever was first. */
static void stop_waits_for_an_expiry_in_progress(void **state)
{
    struct timer timer;

    (void)state;
    open_timer(&timer);
    for (int i = 0; i < 300; i++) {
        int before;

        kaon__watch_start(&timer.watch, (uint64_t)(random() % 100000));
        pass((uint64_t)(random() % 100000));
        kaon__watch_stop(&timer.watch);
        before = atomic_load(&timer.expired);
        sched_yield();
        assert_int_equal(atomic_load(&timer.expired), before);
    }
    kaon__watch_close(&timer.watch);
}

static void deadlines_expire_in_their_order(void **state)
{
    static const uint64_t due[] = { 40, 10, 30, 20 };
    struct timer timers[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        open_timer(&timers[i]);
    for (int i = 0; i < 4; i++)
        kaon__watch_start(&timers[i].watch, due[i] * MS);
    for (int i = 0; i < 4; i++)
        await(&timers[i]);
    assert_true(timers[1].at <= timers[3].at);
    assert_true(timers[3].at <= timers[2].at);
    assert_true(timers[2].at <= timers[0].at);
    for (int i = 0; i < 4; i++)
        kaon__watch_close(&timers[i].watch);
}

static void a_shorter_deadline_wakes_a_thread_that_sleeps_long(void **state)
{
    struct timer far, near;

    (void)state;
    open_timer(&far);
    open_timer(&near);
    kaon__watch_start(&far.watch, 3600 * 1000 * MS);
    pass(2 * MS);
    kaon__watch_start(&near.watch, MS);
    await(&near);
    assert_int_equal(atomic_load(&far.expired), 0);
    kaon__watch_stop(&far.watch);
    kaon__watch_close(&near.watch);
    kaon__watch_close(&far.watch);
}

static void the_longest_deadline_is_never(void **state)
{
    struct timer timer, other;

    (void)state;
    open_timer(&timer);
    open_timer(&other);
    kaon__watch_start(&timer.watch, UINT64_MAX);
    kaon__watch_start(&other.watch, 1);
    await(&other);
    assert_int_equal(atomic_load(&timer.expired), 0);
    kaon__watch_stop(&timer.watch);
    kaon__watch_close(&other.watch);
    kaon__watch_close(&timer.watch);
}

/* The harness finds the thread, if it is not gone with its last user. */
static void the_thread_comes_and_goes_with_its_users(void **state)
{
    struct timer one, two;

    (void)state;
    for (int i = 0; i < 50; i++) {
        open_timer(&one);
        open_timer(&two);
        assert_int_equal(kaon__watch_open(&two.watch, NULL), KAON_OK);
        kaon__watch_close(&one.watch);
        kaon__watch_start(&two.watch, 1);
        await(&two);
        kaon__watch_close(&two.watch);
        kaon__watch_close(&two.watch); /* counted once, so once is enough */
    }
}

static void *come_and_go(void *unused)
{
    for (int i = 0; i < 100; i++) {
        struct timer timer;

        open_timer(&timer);
        kaon__watch_start(&timer.watch, (uint64_t)(i % 3) * MS / 10);
        if (i % 2)
            await(&timer);
        kaon__watch_stop(&timer.watch);
        kaon__watch_close(&timer.watch);
    }
    return unused;
}

static void threads_come_and_go_at_once(void **state)
{
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL),
                         0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void no_thread_is_a_status_and_may_be_tried_again(void **state)
{
    struct timer timer = { .watch.expire = expire };
    struct kaon_error err = { 0 };

    (void)state;
    fail_nth_arm(1);
    assert_int_equal(kaon__watch_open(&timer.watch, &err), KAON_ENOMEM);
    assert_true(fail_nth_disarm());
    assert_int_equal(err.sys_errno, EAGAIN);
    assert_non_null(strstr(err.text, "thread"));
    kaon__watch_close(&timer.watch);
    open_timer(&timer);
    kaon__watch_start(&timer.watch, 1);
    await(&timer);
    kaon__watch_close(&timer.watch);
}

/* clang-format off */
TESTS(
    TEST(a_deadline_expires_once_and_not_early),
    TEST(a_stopped_deadline_never_expires),
    TEST(stop_waits_for_an_expiry_in_progress),
    TEST(deadlines_expire_in_their_order),
    TEST(a_shorter_deadline_wakes_a_thread_that_sleeps_long),
    TEST(the_longest_deadline_is_never),
    TEST(the_thread_comes_and_goes_with_its_users),
    TEST(threads_come_and_go_at_once),
    TEST(no_thread_is_a_status_and_may_be_tried_again),
)

/* SPDX-License-Identifier: Apache-2.0 */
/* The kick signal: whose handler it is, and for how long. */
#include "backend/kick.h"
#include "support/fail_nth.h"
#include "support/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One that no other test of this program uses. */
#define SIGNAL (SIGRTMIN + 3)

static struct sigaction current(void)
{
    struct sigaction action;

    assert_int_equal(sigaction(SIGNAL, NULL, &action), 0);
    return action;
}

static void set(void (*handler)(int))
{
    const struct sigaction action = { .sa_handler = handler };

    assert_int_equal(sigaction(SIGNAL, &action, NULL), 0);
}

static void not_ours(int number)
{
    (void)number;
}

static void the_handler_is_there_from_the_first_user_to_the_last(void **state)
{
    struct kaon_kick one, two;

    (void)state;
    set(SIG_DFL);
    kaon__kick_init(&one, SIGNAL);
    kaon__kick_init(&two, SIGNAL);
    assert_ptr_equal(current().sa_handler, SIG_DFL);
    assert_int_equal(kaon__kick_install(&one, NULL), KAON_OK);
    assert_int_equal(kaon__kick_install(&one, NULL), KAON_OK);
    assert_int_equal(kaon__kick_install(&two, NULL), KAON_OK);
    assert_ptr_not_equal(current().sa_handler, SIG_DFL);
    assert_true(current().sa_flags & SA_RESTART);
    kaon__kick_finish(&one);
    assert_ptr_not_equal(current().sa_handler, SIG_IGN);
    kaon__kick_finish(&two);
    assert_ptr_equal(current().sa_handler, SIG_IGN);
    set(SIG_DFL);
}

static void what_was_never_installed_changes_nothing(void **state)
{
    struct kaon_kick kick;

    (void)state;
    set(not_ours);
    kaon__kick_init(&kick, SIGNAL);
    kaon__kick_finish(&kick);
    assert_ptr_equal(current().sa_handler, not_ours);
    set(SIG_DFL);
}

static void the_programs_own_handler_is_left_alone(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_kick kick;

    (void)state;
    set(not_ours);
    kaon__kick_init(&kick, SIGNAL);
    assert_int_equal(kaon__kick_install(&kick, &err), KAON_EBACKEND);
    assert_non_null(strstr(err.text, "kick_signal"));
    assert_ptr_equal(current().sa_handler, not_ours);
    kaon__kick_finish(&kick);
    assert_ptr_equal(current().sa_handler, not_ours);
    /* Once it is gone, the same machine can have it. */
    set(SIG_DFL);
    assert_int_equal(kaon__kick_install(&kick, &err), KAON_OK);
    kaon__kick_finish(&kick);
    set(SIG_DFL);
}

static void a_handler_that_took_our_place_stays(void **state)
{
    struct kaon_kick kick;

    (void)state;
    kaon__kick_init(&kick, SIGNAL);
    assert_int_equal(kaon__kick_install(&kick, NULL), KAON_OK);
    set(not_ours);
    kaon__kick_finish(&kick);
    assert_ptr_equal(current().sa_handler, not_ours);
    set(SIG_DFL);
}

static void a_system_that_refuses_is_told(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth <= 2; nth++) {
        struct kaon_error err = { 0 };
        struct kaon_kick kick;

        kaon__kick_init(&kick, SIGNAL);
        fail_nth_arm(nth);
        assert_int_equal(kaon__kick_install(&kick, &err), KAON_EBACKEND);
        assert_true(fail_nth_disarm());
        assert_int_equal(err.sys_errno, EINVAL);
        assert_non_null(strstr(err.text, "signal"));
        assert_int_equal(kaon__kick_install(&kick, &err), KAON_OK);
        kaon__kick_finish(&kick);
    }
    set(SIG_DFL);
}

/* ---- Kicking ----------------------------------------------------------- */

struct sleeper {
    struct kaon_kick *kick;
    atomic_bool admitted;
    int error; /* of the sleep */
};

/* With all signals blocked, as a program's worker thread may be. */
static void *sleep_long(void *user)
{
    const struct timespec long_time = { .tv_sec = 50 };
    struct sleeper *sleeper = user;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    kaon__kick_admit(sleeper->kick);
    atomic_store(&sleeper->admitted, true);
    sleeper->error = nanosleep(&long_time, NULL) ? errno : 0;
    return NULL;
}

static void a_kick_ends_a_system_call_of_a_thread_that_admits_it(void **state)
{
    const struct timespec short_time = { .tv_nsec = 1000000 };
    struct sleeper sleeper = { 0 };
    struct kaon_kick kick;
    pthread_t thread;

    (void)state;
    kaon__kick_init(&kick, SIGNAL);
    assert_int_equal(kaon__kick_install(&kick, NULL), KAON_OK);
    sleeper.kick = &kick;
    assert_int_equal(pthread_create(&thread, NULL, sleep_long, &sleeper), 0);
    while (!atomic_load(&sleeper.admitted))
        nanosleep(&short_time, NULL);
    /* Until it sleeps a kick may come too early. */
    while (pthread_tryjoin_np(thread, NULL) == EBUSY) {
        kaon__kick_send(&kick, thread);
        nanosleep(&short_time, NULL);
    }
    assert_int_equal(sleeper.error, EINTR);
    kaon__kick_finish(&kick);
    set(SIG_DFL);
}

/* clang-format off */
TESTS(
    TEST(the_handler_is_there_from_the_first_user_to_the_last),
    TEST(what_was_never_installed_changes_nothing),
    TEST(the_programs_own_handler_is_left_alone),
    TEST(a_handler_that_took_our_place_stays),
    TEST(a_system_that_refuses_is_told),
    TEST(a_kick_ends_a_system_call_of_a_thread_that_admits_it),
)

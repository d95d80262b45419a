/* SPDX-License-Identifier: Apache-2.0 */
/* The one signal that the library uses, in programs with signals of their own.
 */
#include "e2e/e2e.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#define USUAL (SIGRTMIN + 7) /* the default kick_signal */
#define OTHER (SIGRTMIN + 2)

static bool has_handler(int number)
{
    struct sigaction action;

    assert_int_equal(sigaction(number, NULL, &action), 0);
    return (action.sa_flags & SA_SIGINFO) ||
           (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

static struct kaon_sandbox *make(int32_t kick_signal)
{
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_sandbox *sandbox =
        e2e_sandbox("basics", KAON_SANDBOX_OPTS(.host_functions = set,
                                                .kick_signal = kick_signal));

    kaon_host_functions_destroy(set);
    return sandbox;
}

static enum kaon_status spin(struct kaon_sandbox *sandbox,
                             struct kaon_outcome *out, struct kaon_error *err)
{
    return kaon_call(sandbox, out, "spin", KAON_NO_ARGS,
                     KAON_CALL_OPTS(.deadline_ns = 5 * MILLISECOND), err);
}

static void the_handler_is_there_only_while_it_is_needed(void **state)
{
    SKIP_ON_PROCESSES("no signal handler is needed");

    struct kaon_sandbox *sandbox = make(0), *second = make(0);
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
    assert_false(has_handler(USUAL));
    ASSERT_OK(kaon_sandbox_interrupt(sandbox, &err));
    assert_true(has_handler(USUAL));
    ASSERT_OK(kaon_sandbox_interrupt(second, &err));
    kaon_sandbox_destroy(sandbox);
    assert_true(has_handler(USUAL));
    kaon_sandbox_destroy(second);
    assert_false(has_handler(USUAL));
    /* One that is still on its way does no harm. */
    assert_int_equal(raise(USUAL), 0);
}

static void each_real_time_signal_can_be_chosen(void **state)
{
    SKIP_ON_PROCESSES("no signal handler is needed");

    (void)state;
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        struct kaon_sandbox *sandbox = make(number);
        struct kaon_error err = { 0 };
        struct kaon_outcome out;

        ASSERT_OK(spin(sandbox, &out, &err));
        ASSERT_OUTCOME(KAON_DEADLINE, out);
        assert_true(has_handler(number));
        assert_true(number == USUAL || !has_handler(USUAL));
        kaon_sandbox_destroy(sandbox);
        assert_false(has_handler(number));
    }
}

static void other_signals_are_refused(void **state)
{
    const int32_t numbers[] = { SIGUSR1, SIGKILL,   SIGRTMIN - 1, SIGRTMAX + 1,
                                -1,      INT32_MAX, INT32_MIN };
    struct kaon_image *image = e2e_image("echo");
    struct kaon_domain *domain;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char given[16];

        snprintf(given, sizeof given, "%d", numbers[i]);
        ASSERT_REFUSED(KAON_EINVAL, "kick_signal",
                       kaon_sandbox_create(
                           &sandbox, image,
                           KAON_SANDBOX_OPTS(.kick_signal = numbers[i]), &err));
        ASSERT_CONTAINS(err.text, given);
        ASSERT_REFUSED(
            KAON_EINVAL, "kick_signal",
            kaon_domain_create(
                &domain, KAON_DOMAIN_OPTS(.kick_signal = numbers[i]), &err));
    }
    /* A domain has one for all. */
    ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "kick_signal",
                   kaon_sandbox_create(&sandbox, image,
                                       KAON_SANDBOX_OPTS(.domain = domain,
                                                         .kick_signal = OTHER),
                                       &err));
    kaon_domain_destroy(domain);
    kaon_image_destroy(image);
}

/* ---- A program with a handler of its own ------------------------------- */

static volatile sig_atomic_t seen;

static void on_signal(int number)
{
    (void)number;
    seen++;
}

static void on_signal_with_info(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    seen++;
}

static void check_own_handler(const struct sigaction *own)
{
    struct kaon_sandbox *sandbox = make(0), *other = make(OTHER);
    struct sigaction now;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char number[16];

    snprintf(number, sizeof number, "%d", USUAL);
    assert_int_equal(sigaction(USUAL, own, NULL), 0);
    ASSERT_REFUSED(KAON_EBACKEND, "kick_signal",
                   kaon_sandbox_interrupt(sandbox, &err));
    ASSERT_CONTAINS(err.text, number);
    ASSERT_REFUSED(KAON_EBACKEND, "kick_signal", spin(sandbox, &out, &err));
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);

    /* Another signal works beside it. */
    ASSERT_OK(spin(other, &out, &err));
    ASSERT_OUTCOME(KAON_DEADLINE, out);
    kaon_sandbox_destroy(other);
    kaon_sandbox_destroy(sandbox);

    assert_int_equal(sigaction(USUAL, NULL, &now), 0);
    assert_ptr_equal(now.sa_handler, own->sa_handler);
    seen = 0;
    raise(USUAL);
    assert_int_equal(seen, 1);
}

static void a_program_keeps_the_handler_that_it_has(void **state)
{
    SKIP_ON_PROCESSES("no signal handler is needed");

    const struct sigaction simple = { .sa_handler = on_signal };
    const struct sigaction full = { .sa_sigaction = on_signal_with_info,
                                    .sa_flags = SA_SIGINFO };
    struct sigaction before;

    (void)state;
    assert_int_equal(sigaction(USUAL, NULL, &before), 0);
    check_own_handler(&simple);
    check_own_handler(&full);
    assert_int_equal(sigaction(USUAL, &before, NULL), 0);
}

/* The refusal is not for ever: the program may give the signal up. */
static void a_signal_that_becomes_free_is_used(void **state)
{
    SKIP_ON_PROCESSES("no signal handler is needed");

    const struct sigaction own = { .sa_handler = on_signal };
    const struct sigaction none = { .sa_handler = SIG_DFL };
    struct kaon_sandbox *sandbox = make(0);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    assert_int_equal(sigaction(USUAL, &own, NULL), 0);
    ASSERT_REFUSED(KAON_EBACKEND, "kick_signal", spin(sandbox, &out, &err));
    assert_int_equal(sigaction(USUAL, &none, NULL), 0);
    ASSERT_OK(spin(sandbox, &out, &err));
    ASSERT_OUTCOME(KAON_DEADLINE, out);
    kaon_sandbox_destroy(sandbox);
}

/* ---- Blocked signals --------------------------------------------------- */

/* What a thread with all signals blocked found. */
struct blocked {
    struct kaon_sandbox *sandbox;
    enum kaon_status status;
    struct kaon_outcome out;
    bool others_blocked; /* afterwards, as before */
};

static void *spin_blocked(void *user)
{
    struct blocked *blocked = user;
    sigset_t set;

    blocked->status = spin(blocked->sandbox, &blocked->out, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    blocked->others_blocked =
        sigismember(&set, SIGUSR1) == 1 && sigismember(&set, OTHER) == 1;
    return NULL;
}

static void *call_blocked(void *user)
{
    struct blocked *blocked = user;

    blocked->status = kaon_call(blocked->sandbox, &blocked->out, "count",
                                KAON_NO_ARGS, NULL, NULL);
    return NULL;
}

/* Starts a thread, as careful programs do, with all signals blocked. */
static void run_blocked(void *(*function)(void *user), struct blocked *blocked)
{
    sigset_t all, before;
    pthread_t thread;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    assert_int_equal(pthread_create(&thread, NULL, function, blocked), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_join(thread, NULL);
    assert_int_equal(blocked->status, KAON_OK);
}

static void a_thread_that_blocks_all_signals_can_be_stopped(void **state)
{
    struct blocked blocked = { .sandbox = make(0) };

    (void)state;
    run_blocked(spin_blocked, &blocked);
    ASSERT_OUTCOME(KAON_DEADLINE, blocked.out);
    assert_true(blocked.others_blocked);
    kaon_sandbox_destroy(blocked.sandbox);
}

/* A thread may be given the pthread_t of one that has ended. */
static void so_can_the_thread_that_comes_after_it(void **state)
{
    struct blocked blocked = { .sandbox = make(0) };

    (void)state;
    for (int i = 0; i < 3; i++) {
        run_blocked(call_blocked, &blocked);
        ASSERT_OUTCOME(KAON_RETURNED, blocked.out);
    }
    run_blocked(spin_blocked, &blocked);
    ASSERT_OUTCOME(KAON_DEADLINE, blocked.out);
    kaon_sandbox_destroy(blocked.sandbox);
}

/* ---- A program full of signals ----------------------------------------- */

static void signals_of_the_program_stop_nothing(void **state)
{
    const struct itimerval often = { .it_interval.tv_usec = 500,
                                     .it_value.tv_usec = 500 };
    const struct itimerval never = { 0 };
    const struct sigaction own = { .sa_handler = on_signal };
    struct kaon_sandbox *sandbox = make(0);
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct sigaction before;

    (void)state;
    seen = 0;
    assert_int_equal(sigaction(SIGVTALRM, &own, &before), 0);
    assert_int_equal(setitimer(ITIMER_VIRTUAL, &often, NULL), 0);
    for (unsigned int i = 0; i < e2e_scaled(500) || seen < 3; i++) {
        ASSERT_OK(kaon_call(sandbox, &out, "red_zone", KAON_ARGS(kaon_u32(i)),
                            NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        assert_int_equal(out.value.type, KAON_TYPE_U32);
    }
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    sigaction(SIGVTALRM, &before, NULL);
    kaon_sandbox_destroy(sandbox);
}

struct pest {
    pthread_t victim;
    atomic_bool enough;
    int number;
};

static void *send_signals(void *user)
{
    struct pest *pest = user;

    while (!pest->enough) {
        pthread_kill(pest->victim, pest->number);
        e2e_sleep(50000);
    }
    return NULL;
}

static void stray_kicks_stop_nothing(void **state)
{
    SKIP_ON_PROCESSES("no signal handler is needed");

    struct kaon_sandbox *sandbox = make(0);
    struct pest pest = { .victim = pthread_self(), .number = USUAL };
    struct kaon_error err = { 0 };
    struct kaon_sandbox_stats stats;
    pthread_t thread;

    (void)state;
    ASSERT_OK(kaon_sandbox_interrupt(sandbox, &err));
    assert_int_equal(pthread_create(&thread, NULL, send_signals, &pest), 0);
    for (int32_t i = 1; i <= (int32_t)e2e_scaled(1000); i++) {
        ASSERT_RETURNS(210, sandbox, "host_sum", KAON_ARGS(kaon_i32(20)));
        ASSERT_RETURNS(i, sandbox, "count", KAON_NO_ARGS);
    }
    pest.enough = true;
    pthread_join(thread, NULL);
    kaon_sandbox_stats(sandbox, &stats);
    assert_int_equal(stats.calls, 2 * e2e_scaled(1000));
    kaon_sandbox_destroy(sandbox);
}

TESTS_NEED_KVM(TEST_ROW(19, the_handler_is_there_only_while_it_is_needed),
               TEST_ROW(19, each_real_time_signal_can_be_chosen),
               TEST_ROW(19, other_signals_are_refused),
               TEST_ROW(19, a_program_keeps_the_handler_that_it_has),
               TEST_ROW(19, a_signal_that_becomes_free_is_used),
               TEST_ROW_LIMIT(19, 10,
                              a_thread_that_blocks_all_signals_can_be_stopped),
               TEST_ROW(19, signals_of_the_program_stop_nothing),
               TEST_ROW(19, stray_kicks_stop_nothing),
               TEST_ROW_LIMIT(19, 10, so_can_the_thread_that_comes_after_it))

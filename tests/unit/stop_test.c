/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts and deadlines, at each moment of a call; kicks that nobody sent;
 * and threads that share what they may share.
 */
#include "play.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

static atomic_bool spinning;

static enum kaon_status spins(struct kaon_scripted_guest *guest,
                              struct kaon_exit *exit, void *user)
{
    (void)user;
    atomic_store(&spinning, true);
    kaon__scripted_spin(guest, exit);
    return KAON_OK;
}

static void *interrupt_when_it_spins(void *sandbox)
{
    struct kaon_error err;

    while (!atomic_load(&spinning))
        sched_yield();
    if (kaon_sandbox_interrupt(sandbox, &err))
        fail_msg("%s", err.text);
    return NULL;
}

static void an_interrupt_stops_a_spinning_guest(void **state)
{
    struct play play = { .guest = spins };
    pthread_t thread;

    (void)state;
    atomic_store(&spinning, false);
    play_begin(&play);
    assert_int_equal(
        pthread_create(&thread, NULL, interrupt_when_it_spins, play.sandbox),
        0);
    play_call(&play, KAON_CANCELLED, "nothing", KAON_NO_ARGS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    play_words(play.out.text, "nothing was interrupted by the host");
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_POISONED);
    play_fail(&play, KAON_EPOISONED, "poisoned", "nothing", KAON_NO_ARGS);
    play_end(&play);
}

/* From the moment on that the sandbox says that it runs. */
static void *interrupt_when_it_runs(void *user)
{
    struct kaon_sandbox *sandbox = user;

    while (kaon_sandbox_state(sandbox) != KAON_SANDBOX_RUNNING)
        sched_yield();
    if (kaon_sandbox_interrupt(sandbox, NULL))
        fail_msg("there is no interrupt");
    return NULL;
}

static void an_interrupt_is_not_lost_while_a_call_begins(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct play play = { .guest = spins };
        pthread_t thread;

        play_begin(&play);
        assert_int_equal(
            pthread_create(&thread, NULL, interrupt_when_it_runs, play.sandbox),
            0);
        play_call(&play, KAON_CANCELLED, "nothing", KAON_NO_ARGS);
        assert_int_equal(pthread_join(thread, NULL), 0);
        play_end(&play);
    }
}

/* The same, at that very moment: the backend is asked for a vCPU. */
static struct kaon_sandbox *beginning;

static enum kaon_status interrupt_first(struct kaon_vcpu **out,
                                        struct kaon_machine *machine,
                                        uint32_t index, struct kaon_error *err)
{
    assert_int_equal(kaon_sandbox_state(beginning), KAON_SANDBOX_RUNNING);
    assert_int_equal(kaon_sandbox_interrupt(beginning, NULL), KAON_OK);
    return kaon__backend_scripted.vcpu_create(out, machine, index, err);
}

static void a_call_that_is_interrupted_first_does_not_begin(void **state)
{
    struct kaon_backend backend = kaon__backend_scripted;
    struct play play = { .guest = spins };

    (void)state;
    atomic_store(&spinning, false);
    play_begin(&play);
    backend.vcpu_create = interrupt_first;
    play.domain->machine->backend = &backend;
    beginning = play.sandbox;
    play_call(&play, KAON_CANCELLED, "nothing", KAON_NO_ARGS);
    assert_false(atomic_load(&spinning));
    play_end(&play);
}

static void an_interrupt_between_calls_does_nothing(void **state)
{
    struct play play = { 0 };
    void *buffer;

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kaon_sandbox_interrupt(play.sandbox, NULL), KAON_OK);
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    }
    assert_int_equal(kaon_sandbox_interrupt(play.sandbox, NULL), KAON_OK);
    assert_int_equal(kaon_sandbox_buffer(play.sandbox, &buffer, 1, NULL),
                     KAON_OK);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play_end(&play);
}

/* ---- During host functions --------------------------------------------- */

static enum kaon_status handles_then_counts(struct kaon_scripted_guest *guest,
                                            struct kaon_exit *exit, void *user)
{
    unsigned *turns = ((struct play *)user)->user;

    *turns = guest->turn;
    if (guest->turn < 2)
        return play_host_call(guest, exit, PLAY_HANDLE,
                              KAON_ARGS(kaon_bytes("", 0)));
    return play_return_void(guest, exit);
}

static int interrupts(struct kaon_host_call *call,
                      const struct kaon_value *args, struct kaon_value *result,
                      void *user)
{
    struct play *play = user;

    (void)call;
    (void)args;
    assert_int_equal(kaon_sandbox_interrupt(play->sandbox, NULL), KAON_OK);
    assert_int_equal(kaon_sandbox_interrupt(play->sandbox, NULL), KAON_OK);
    *result = kaon_bytes("", 0);
    return 0;
}

static void an_interrupt_during_a_host_function_waits_for_its_end(void **state)
{
    unsigned turns = 99;
    struct play play = { .guest = handles_then_counts,
                         .handler = interrupts,
                         .user = &turns };

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_CANCELLED, "nothing", KAON_NO_ARGS);
    assert_int_equal(turns, 0); /* the guest did not go on */
    play_end(&play);
}

/* Interrupts the outer call from the inner: only the outer ends. */
static int calls_and_interrupts(struct kaon_host_call *call,
                                const struct kaon_value *args,
                                struct kaon_value *result, void *user)
{
    struct play *play = user;
    struct play inner = { 0 };

    play_begin(&inner);
    assert_int_equal(interrupts(call, args, result, user), 0);
    play_call(&inner, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_int_equal(kaon_sandbox_state(inner.sandbox), KAON_SANDBOX_READY);
    assert_int_equal(kaon_sandbox_state(play->sandbox), KAON_SANDBOX_RUNNING);
    play_end(&inner);
    return 0;
}

static void an_interrupt_stops_one_of_two_nested_calls(void **state)
{
    unsigned turns = 99;
    struct play play = { .guest = handles_then_counts,
                         .handler = calls_and_interrupts,
                         .user = &turns };

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_CANCELLED, "nothing", KAON_NO_ARGS);
    play_end(&play);
}

/* ---- Kicks that nobody sent -------------------------------------------- */

static enum kaon_status is_disturbed(struct kaon_scripted_guest *guest,
                                     struct kaon_exit *exit, void *user)
{
    unsigned *left = ((struct play *)user)->user;

    if ((*left)--) {
        exit->kind = KAON_EXIT_KICKED;
        return KAON_OK;
    }
    return play_return_void(guest, exit);
}

static void a_stray_kick_changes_nothing(void **state)
{
    unsigned left = 100;
    struct play play = { .guest = is_disturbed, .user = &left };
    struct kaon_sandbox_stats stats;

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_int_equal(kaon_sandbox_stats(play.sandbox, &stats), KAON_OK);
    assert_int_equal(stats.exits, 101);
    play_end(&play);
}

/* The vCPU was kicked for another's call; its next borrower is not stopped. */
static void a_kick_ends_with_its_call(void **state)
{
    struct play play = { .guest = spins };
    struct kaon_sandbox *first, *second;
    pthread_t thread;

    (void)state;
    atomic_store(&spinning, false);
    play_begin(&play);
    first = play.sandbox;
    second = play_sandbox(&play);
    assert_int_equal(
        pthread_create(&thread, NULL, interrupt_when_it_spins, first), 0);
    play_call(&play, KAON_CANCELLED, "nothing", KAON_NO_ARGS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    play.guest = NULL;
    play.sandbox = second;
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    kaon_sandbox_destroy(first);
    play_end(&play);
}

static enum kaon_status no_kicks(struct kaon_machine *machine,
                                 struct kaon_error *err)
{
    (void)machine;
    if (err)
        *err = (struct kaon_error){ KAON_EBACKEND, 0, "no kicks here" };
    return KAON_EBACKEND;
}

static void where_no_kick_is_possible_both_are_refused(void **state)
{
    struct kaon_backend backend = kaon__backend_scripted;
    struct play play = { 0 };

    (void)state;
    play_begin(&play);
    backend.kick_ready = no_kicks;
    play.domain->machine->backend = &backend;
    assert_int_equal(kaon_sandbox_interrupt(play.sandbox, &play.err),
                     KAON_EBACKEND);
    assert_string_equal(play.err.text, "no kicks here");
    assert_int_equal(kaon_call(play.sandbox, &play.out, "nothing", KAON_NO_ARGS,
                               KAON_CALL_OPTS(.deadline_ns = 1), &play.err),
                     KAON_EBACKEND);
    /* The guest was not entered, and can be. */
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play_end(&play);
}

/* ---- Deadlines --------------------------------------------------------- */

static void a_deadline_stops_a_spinning_guest(void **state)
{
    static const uint64_t deadlines[] = { 1, 1000, MS, 20 * MS };

    (void)state;
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
        struct play play = { .guest = spins };

        play_begin(&play);
        assert_int_equal(
            kaon_call(play.sandbox, &play.out, "nothing", KAON_NO_ARGS,
                      KAON_CALL_OPTS(.deadline_ns = deadlines[i]), &play.err),
            KAON_OK);
        assert_int_equal(play.out.kind, KAON_DEADLINE);
        play_words(play.out.text, "nothing did not return before its deadline");
        play_fail(&play, KAON_EPOISONED, "", "nothing", KAON_NO_ARGS);
        play_end(&play);
    }
}

static void a_sandboxs_deadline_holds_for_each_call(void **state)
{
    struct play play = { .opts.deadline_ns = 500 * MS * harness_slowness() };

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 100; i++)
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    play.guest = spins;
    play_call(&play, KAON_DEADLINE, "nothing", KAON_NO_ARGS);
    play_end(&play);
}

static enum kaon_status rests(struct kaon_scripted_guest *guest,
                              struct kaon_exit *exit, void *user)
{
    const struct timespec time = { .tv_nsec = 30 * (long)MS };

    (void)user;
    nanosleep(&time, NULL);
    return play_return_void(guest, exit);
}

static void a_calls_own_deadline_goes_before_the_sandboxs(void **state)
{
    struct play play = { .guest = rests, .opts.deadline_ns = MS };

    (void)state;
    play_begin(&play);
    assert_int_equal(kaon_call(play.sandbox, &play.out, "nothing", KAON_NO_ARGS,
                               KAON_CALL_OPTS(.deadline_ns = UINT64_MAX),
                               &play.err),
                     KAON_OK);
    assert_int_equal(play.out.kind, KAON_RETURNED);
    play_end(&play);
}

/* For ever, if time stood still meanwhile. */
static int stays_till_the_deadline(struct kaon_host_call *call,
                                   const struct kaon_value *args,
                                   struct kaon_value *result, void *user)
{
    struct play *play = user;

    (void)call;
    (void)args;
    while (atomic_load(&play->sandbox->life) == KAON_LIFE_RUNNING)
        sched_yield();
    *result = kaon_bytes("", 0);
    return 0;
}

/* A busy machine may come to the guest only after the deadline: it gets
 * another then, of twice the time. */
static void a_deadline_counts_host_functions_too(void **state)
{
    unsigned turns = 99;

    (void)state;
    for (uint64_t deadline = 5 * MS; turns == 99; deadline *= 2) {
        struct play play = { .guest = handles_then_counts,
                             .handler = stays_till_the_deadline,
                             .user = &turns,
                             .opts.deadline_ns = deadline };

        play_begin(&play);
        play_call(&play, KAON_DEADLINE, "nothing", KAON_NO_ARGS);
        play_end(&play);
    }
    assert_int_equal(turns, 0); /* the guest did not go on */
}

static void a_deadline_that_is_over_disturbs_no_later_call(void **state)
{
    struct play play = { 0 };

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 200; i++) {
        uint64_t deadline = (uint64_t)(random() % 200000) + 1;

        assert_int_equal(
            kaon_call(play.sandbox, &play.out, "nothing", KAON_NO_ARGS,
                      KAON_CALL_OPTS(.deadline_ns = deadline), &play.err),
            KAON_OK);
        if (play.out.kind == KAON_DEADLINE) { /* it was that slow */
            kaon_sandbox_destroy(play.sandbox);
            play.sandbox = play_sandbox(&play);
            continue;
        }
        assert_int_equal(play.out.kind, KAON_RETURNED);
        sched_yield();
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    }
    play_end(&play);
}

/* ---- Threads ----------------------------------------------------------- */

#define THREADS 8
#define CALLS 200

static enum kaon_status triples(struct kaon_scripted_guest *guest,
                                struct kaon_exit *exit, void *user)
{
    (void)user;
    if (guest->turn == 0)
        return play_host_call(guest, exit, PLAY_TRIPLE,
                              KAON_ARGS(play_received(guest, 0)));
    return play_return(guest, exit, play_received(guest, 0));
}

/* A sandbox of its own, in the common domain; again and again another. */
static void *make_and_call(void *user)
{
    struct play *play = user;
    struct kaon_sandbox_opts opts = { .size = sizeof opts,
                                      .domain = play->domain,
                                      .host_functions = play->functions,
                                      .exchange_bytes = 16 << 10 };

    for (int i = 0; i < CALLS; i++) {
        struct kaon_sandbox *sandbox;
        struct kaon_outcome out;
        struct kaon_error err;

        if (kaon_sandbox_create(&sandbox, play->image, &opts, &err) ||
            kaon_call(sandbox, &out, "add", KAON_ARGS(kaon_i32(i), kaon_i32(0)),
                      NULL, &err))
            fail_msg("%s", err.text);
        assert_int_equal(out.kind, KAON_RETURNED);
        assert_int_equal(out.value.i32, 3 * i);
        kaon_sandbox_destroy(sandbox);
    }
    return NULL;
}

static void threads_share_a_domain(void **state)
{
    struct play play = { .guest = triples };
    struct kaon_domain_stats stats;
    pthread_t threads[THREADS];

    (void)state;
    play_begin(&play);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, make_and_call, &play), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(kaon_domain_stats(play.domain, &stats), KAON_OK);
    assert_int_equal(stats.sandboxes, 1);
    assert_true(stats.vcpus >= 1 && stats.vcpus <= THREADS);
    play_end(&play);
}

struct rivals {
    struct play *play;
    atomic_int returned, busy;
};

static void *call_the_same(void *user)
{
    struct rivals *rivals = user;

    for (int i = 0; i < CALLS; i++) {
        struct kaon_outcome out;
        struct kaon_error err;
        enum kaon_status status =
            kaon_call(rivals->play->sandbox, &out, "add",
                      KAON_ARGS(kaon_i32(i), kaon_i32(0)), NULL, &err);

        if (status == KAON_EBUSY) {
            atomic_fetch_add(&rivals->busy, 1);
            continue;
        }
        assert_int_equal(status, KAON_OK);
        assert_int_equal(out.value.i32, 3 * i);
        atomic_fetch_add(&rivals->returned, 1);
    }
    return NULL;
}

static void a_sandbox_serves_one_thread_at_a_time(void **state)
{
    struct play play = { .guest = triples };
    struct rivals rivals = { .play = &play };
    struct kaon_sandbox_stats stats;
    pthread_t threads[THREADS];

    (void)state;
    play_begin(&play);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, call_the_same, &rivals), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(kaon_sandbox_stats(play.sandbox, &stats), KAON_OK);
    assert_int_equal(stats.calls, atomic_load(&rivals.returned));
    assert_int_equal(rivals.returned + rivals.busy, THREADS * CALLS);
    play_end(&play);
}

/* ---- Interrupts by chance ---------------------------------------------- */

static enum kaon_status spins_or_returns(struct kaon_scripted_guest *guest,
                                         struct kaon_exit *exit, void *user)
{
    const unsigned *spin = ((struct play *)user)->user;

    return *spin ? spins(guest, exit, user) : play_return_void(guest, exit);
}

/* Two sandboxes on one thread; only the one that is meant ends. */
static void only_the_interrupted_call_ends(void **state)
{
    unsigned spin = 0;
    struct play play = { .guest = spins_or_returns, .user = &spin };
    struct kaon_sandbox *sandboxes[2];

    (void)state;
    play_begin(&play);
    sandboxes[0] = play.sandbox;
    sandboxes[1] = play_sandbox(&play);
    srandom(4);
    for (int i = 0; i < 500; i++) {
        int which = (int)(random() % 2);
        pthread_t thread;

        atomic_store(&spinning, false);
        spin = random() % 4 == 0;
        play.sandbox = sandboxes[which];
        if (!spin) {
            kaon_sandbox_interrupt(sandboxes[!which], NULL);
            play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
            continue;
        }
        assert_int_equal(pthread_create(&thread, NULL, interrupt_when_it_spins,
                                        sandboxes[which]),
                         0);
        play_call(&play, KAON_CANCELLED, "nothing", KAON_NO_ARGS);
        assert_int_equal(pthread_join(thread, NULL), 0);
        kaon_sandbox_destroy(sandboxes[which]);
        sandboxes[which] = play_sandbox(&play);
    }
    kaon_sandbox_destroy(sandboxes[1]);
    play.sandbox = sandboxes[0];
    play_end(&play);
}

/* clang-format off */
TESTS(
    TEST_ROW(19, an_interrupt_stops_a_spinning_guest),
    TEST_ROW(20, an_interrupt_is_not_lost_while_a_call_begins),
    TEST_ROW(20, a_call_that_is_interrupted_first_does_not_begin),
    TEST_ROW(20, an_interrupt_between_calls_does_nothing),
    TEST_ROW(20, an_interrupt_during_a_host_function_waits_for_its_end),
    TEST_ROW(20, an_interrupt_stops_one_of_two_nested_calls),
    TEST(a_stray_kick_changes_nothing),
    TEST(a_kick_ends_with_its_call),
    TEST(where_no_kick_is_possible_both_are_refused),
    TEST_ROW(19, a_deadline_stops_a_spinning_guest),
    TEST_ROW(19, a_sandboxs_deadline_holds_for_each_call),
    TEST(a_calls_own_deadline_goes_before_the_sandboxs),
    TEST(a_deadline_counts_host_functions_too),
    TEST(a_deadline_that_is_over_disturbs_no_later_call),
    TEST_ROW(26, threads_share_a_domain),
    TEST_ROW(26, a_sandbox_serves_one_thread_at_a_time),
    TEST_ROW(21, only_the_interrupted_call_ends),
)

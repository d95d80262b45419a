/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts and deadlines stop the call that runs, and no other. */
#include "e2e/e2e.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Longer than any stop takes, wherever the tests run. */
#define PROMPT (2 * SECOND * harness_slowness())

/* What HostHere does, each time with the number that the guest gives. */
struct here {
    void (*function)(struct here *here, int32_t number);
    struct kaon_sandbox *sandbox;
    sem_t entered, leave;
    unsigned int count;
    enum kaon_status status; /* of what the function tried */
    struct kaon_error err;
};

static int host_here(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    struct here *here = user;

    (void)call;
    (void)result;
    here->count++;
    if (here->function)
        here->function(here, args[0].i32);
    return 0;
}

static void here_open(struct here *here,
                      void (*function)(struct here *here, int32_t number))
{
    memset(here, 0, sizeof *here);
    here->function = function;
    sem_init(&here->entered, 0, 0);
    sem_init(&here->leave, 0, 0);
}

static struct kaon_sandbox *make(struct here *here, struct kaon_domain *domain,
                                 uint64_t deadline_ns)
{
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostHere", KAON_TYPE_VOID,
                                      KAON_PARAMS(KAON_TYPE_I32), host_here,
                                      here, &err));
    sandbox = e2e_sandbox(
        "stop", KAON_SANDBOX_OPTS(.host_functions = set, .domain = domain,
                                  .deadline_ns = deadline_ns));
    kaon_host_functions_destroy(set);
    here->sandbox = sandbox;
    return sandbox;
}

/* Ends what here_open() and make() began. */
static void here_close(struct here *here)
{
    kaon_sandbox_destroy(here->sandbox);
    sem_destroy(&here->entered);
    sem_destroy(&here->leave);
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        ; /* EINTR: a kick */
}

/* A call in a thread of its own. */
struct caller {
    struct kaon_sandbox *sandbox;
    const char *function;
    uint64_t deadline_ns;
    pthread_t thread;
    enum kaon_status status;
    struct kaon_outcome out;
    struct kaon_error err;
};

static void *caller_main(void *user)
{
    struct caller *caller = user;

    caller->status = kaon_call(
        caller->sandbox, &caller->out, caller->function, KAON_NO_ARGS,
        KAON_CALL_OPTS(.deadline_ns = caller->deadline_ns), &caller->err);
    return NULL;
}

static void caller_start(struct caller *caller)
{
    assert_int_equal(pthread_create(&caller->thread, NULL, caller_main, caller),
                     0);
}

static void assert_stopped(struct kaon_sandbox *sandbox,
                           const struct kaon_outcome *out,
                           enum kaon_outcome_kind kind)
{
    struct kaon_sandbox_stats before, after;
    struct kaon_error err = { 0 };
    struct kaon_outcome unused;

    ASSERT_OUTCOME(kind, *out);
    assert_true(strlen(out->text) > 8);
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
    kaon_sandbox_stats(sandbox, &before);
    ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                   kaon_call(sandbox, &unused, "work", KAON_ARGS(kaon_u32(1)),
                             NULL, &err));
    kaon_sandbox_stats(sandbox, &after);
    assert_int_equal(after.exits, before.exits);
}

/* ---- Row 19 ------------------------------------------------------------ */

static void tell(struct here *here, int32_t number)
{
    (void)number;
    sem_post(&here->entered);
}

static void an_interrupt_stops_a_spinning_guest(void **state)
{
    struct kaon_error err = { 0 };
    struct here here, other;

    (void)state;
    here_open(&here, tell);
    here_open(&other, NULL);
    make(&other, NULL, 0);
    for (unsigned int i = 0; i < e2e_scaled(20); i++) {
        struct caller caller = { .sandbox = make(&here, NULL, 0),
                                 .function = "here_then_spin" };
        uint64_t start;

        caller_start(&caller);
        wait_for(&here.entered);
        e2e_sleep(i % 4 * MILLISECOND);
        assert_int_equal(kaon_sandbox_state(here.sandbox),
                         KAON_SANDBOX_RUNNING);
        start = e2e_now();
        ASSERT_OK(kaon_sandbox_interrupt(here.sandbox, &err));
        pthread_join(caller.thread, NULL);
        assert_true(e2e_now() - start < PROMPT);
        assert_int_equal(caller.status, KAON_OK);
        assert_stopped(here.sandbox, &caller.out, KAON_CANCELLED);
        /* It stays so, whatever comes. */
        ASSERT_OK(kaon_sandbox_interrupt(here.sandbox, &err));
        kaon_sandbox_destroy(here.sandbox);
        here.sandbox = NULL;
        ASSERT_RETURNS((int32_t)i + 1, other.sandbox, "work",
                       KAON_ARGS(kaon_u32(1000)));
    }
    here_close(&here);
    here_close(&other);
}

static void a_deadline_stops_a_spinning_guest(void **state)
{
    static const uint64_t deadlines[] = { 1, 1000, 100000, 5 * MILLISECOND,
                                          50 * MILLISECOND };
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct here here;

    (void)state;
    here_open(&here, NULL);
    for (size_t i = 0; i < sizeof deadlines / sizeof deadlines[0]; i++) {
        uint64_t start, took;

        make(&here, NULL, 0);
        start = e2e_now();
        ASSERT_OK(kaon_call(here.sandbox, &out, "spin", KAON_NO_ARGS,
                            KAON_CALL_OPTS(.deadline_ns = deadlines[i]), &err));
        took = e2e_now() - start;
        assert_true(took >= deadlines[i]);
        assert_true(took < deadlines[i] + PROMPT);
        assert_stopped(here.sandbox, &out, KAON_DEADLINE);
        ASSERT_CONTAINS(out.text, "spin");
        kaon_sandbox_destroy(here.sandbox);
        here.sandbox = NULL;
    }
    here_close(&here);
}

static void the_sandbox_has_a_deadline_for_all_its_calls(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct here here;

    (void)state;
    here_open(&here, NULL);
    make(&here, NULL, 20 * MILLISECOND);
    /* A call's own goes before it. */
    ASSERT_OK(kaon_call(here.sandbox, &out, "work", KAON_ARGS(kaon_u32(10)),
                        KAON_CALL_OPTS(.deadline_ns = 100 * SECOND), &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    ASSERT_OK(kaon_call(here.sandbox, &out, "spin", KAON_NO_ARGS,
                        KAON_CALL_OPTS(0), &err));
    assert_stopped(here.sandbox, &out, KAON_DEADLINE);
    here_close(&here);
}

static void initialisation_has_a_deadline_too(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kaon_sandbox *sandbox = e2e_sandbox("init_spins", NULL);
        const struct kaon_call_opts *opts =
            KAON_CALL_OPTS(.deadline_ns = 5 * MILLISECOND);

        if (i)
            ASSERT_OK(kaon_sandbox_init(sandbox, &out, opts, &err));
        else
            ASSERT_OK(
                kaon_call(sandbox, &out, "never", KAON_NO_ARGS, opts, &err));
        ASSERT_OUTCOME(KAON_DEADLINE, out);
        ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                       kaon_sandbox_init(sandbox, &out, NULL, &err));
        kaon_sandbox_destroy(sandbox);
    }
}

static void a_deadline_that_is_met_stops_nothing(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct here here;

    (void)state;
    here_open(&here, NULL);
    make(&here, NULL, 0);
    /* Each ends well before its deadline, and each deadline passes. */
    for (int32_t i = 1; i <= 10; i++) {
        const uint64_t far = harness_slowness() * 100 * MILLISECOND;

        ASSERT_OK(kaon_call(here.sandbox, &out, "work", KAON_ARGS(kaon_u32(1)),
                            KAON_CALL_OPTS(.deadline_ns = far), &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        if (i % 5 == 0)
            e2e_sleep(far + 10 * MILLISECOND);
    }
    for (unsigned int i = 0; i < e2e_scaled(1000); i++) {
        ASSERT_OK(kaon_call(
            here.sandbox, &out, "work", KAON_ARGS(kaon_u32(1)),
            KAON_CALL_OPTS(.deadline_ns = i % 2 ? UINT64_MAX : 1000 * SECOND),
            &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
    }
    ASSERT_RETURNS((int32_t)e2e_scaled(1000) + 11, here.sandbox, "work",
                   KAON_ARGS(kaon_u32(1)));
    here_close(&here);
}

static void many_deadlines_pass_each_in_its_time(void **state)
{
    enum { CALLERS = 16 };
    struct caller callers[CALLERS];
    struct here here[CALLERS];

    (void)state;
    for (size_t i = 0; i < CALLERS; i++) {
        here_open(&here[i], NULL);
        /* In no order; every fourth has none near, and is interrupted. */
        callers[i] = (struct caller){
            .sandbox = make(&here[i], NULL, 0),
            .function = "spin",
            .deadline_ns =
                i % 4 ? (i * 7 % CALLERS + 1) * 5 * MILLISECOND : 1000 * SECOND,
        };
    }
    for (size_t i = 0; i < CALLERS; i++)
        caller_start(&callers[i]);
    for (size_t i = 0; i < CALLERS; i++)
        if (i % 4)
            pthread_join(callers[i].thread, NULL);
    for (size_t i = 0; i < CALLERS; i += 4) {
        assert_int_equal(kaon_sandbox_state(here[i].sandbox),
                         KAON_SANDBOX_RUNNING);
        assert_int_equal(kaon_sandbox_interrupt(here[i].sandbox, NULL),
                         KAON_OK);
        pthread_join(callers[i].thread, NULL);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].status, KAON_OK);
        assert_stopped(here[i].sandbox, &callers[i].out,
                       i % 4 ? KAON_DEADLINE : KAON_CANCELLED);
        here_close(&here[i]);
    }
}

/* ---- Row 20 ------------------------------------------------------------ */

static void an_interrupt_between_calls_does_nothing(void **state)
{
    struct kaon_error err = { 0 };
    struct here here;

    (void)state;
    here_open(&here, NULL);
    make(&here, NULL, 0);
    ASSERT_OK(kaon_sandbox_interrupt(here.sandbox, &err));
    assert_int_equal(kaon_sandbox_state(here.sandbox), KAON_SANDBOX_READY);
    for (int32_t i = 1; i <= 20; i++) {
        ASSERT_RETURNS(i, here.sandbox, "work", KAON_ARGS(kaon_u32(1000)));
        for (int k = 0; k < i; k++)
            ASSERT_OK(kaon_sandbox_interrupt(here.sandbox, &err));
    }
    here_close(&here);
}

static void interrupt_itself(struct here *here, int32_t number)
{
    (void)number;
    here->status = kaon_sandbox_interrupt(here->sandbox, &here->err);
}

static void
an_interrupt_in_a_host_function_stops_the_guest_after_it(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct here here;

    (void)state;
    here_open(&here, interrupt_itself);
    make(&here, NULL, 0);
    ASSERT_OK(kaon_call(here.sandbox, &out, "here", KAON_NO_ARGS, NULL, &err));
    assert_int_equal(here.status, KAON_OK);
    assert_int_equal(here.count, 1); /* the guest did not go on */
    assert_stopped(here.sandbox, &out, KAON_CANCELLED);
    here_close(&here);
}

static void tell_and_wait(struct here *here, int32_t number)
{
    (void)number;
    sem_post(&here->entered);
    wait_for(&here->leave);
}

static void an_interrupt_waits_for_a_host_function_to_end(void **state)
{
    struct kaon_error err = { 0 };
    struct caller caller;
    struct here here;

    (void)state;
    here_open(&here, tell_and_wait);
    caller =
        (struct caller){ .sandbox = make(&here, NULL, 0), .function = "here" };
    caller_start(&caller);
    wait_for(&here.entered);
    ASSERT_OK(kaon_sandbox_interrupt(here.sandbox, &err));
    e2e_sleep(20 * MILLISECOND);
    assert_int_equal(kaon_sandbox_state(here.sandbox), KAON_SANDBOX_RUNNING);
    sem_post(&here.leave);
    pthread_join(caller.thread, NULL);
    assert_int_equal(caller.status, KAON_OK);
    assert_int_equal(here.count, 1);
    assert_stopped(here.sandbox, &caller.out, KAON_CANCELLED);
    here_close(&here);
}

/* Two deadlines of the same time pass in the order in which they began. */
static void spin_past_the_deadline(struct here *here, int32_t number)
{
    struct here *other = here + 1;
    struct kaon_outcome out = { 0 };

    (void)number;
    other->status = kaon_call(other->sandbox, &out, "spin", KAON_NO_ARGS, NULL,
                              &other->err);
    other->count += out.kind == KAON_DEADLINE;
}

/* Whether the guest came to its host function; else all of the time went by
 * before, on a busy machine. */
static bool outlast(uint64_t deadline)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct here here[2];
    unsigned int count;

    here_open(&here[0], spin_past_the_deadline);
    here_open(&here[1], NULL);
    make(&here[0], NULL, deadline);
    make(&here[1], NULL, deadline);
    ASSERT_OK(
        kaon_call(here[0].sandbox, &out, "here", KAON_NO_ARGS, NULL, &err));
    err = here[1].err;
    ASSERT_OK(here[1].status);
    count = here[0].count;
    assert_in_range(count, 0, 1);
    assert_int_equal(here[1].count, count);
    assert_stopped(here[0].sandbox, &out, KAON_DEADLINE);
    here_close(&here[0]);
    here_close(&here[1]);
    return count;
}

static void a_deadline_counts_the_time_of_host_functions(void **state)
{
    (void)state;
    for (uint64_t deadline = 20 * MILLISECOND; !outlast(deadline);)
        deadline *= 2;
}

static void call_another(struct here *here, int32_t number)
{
    struct kaon_sandbox *other = here[1].sandbox;
    struct kaon_outcome out;

    /* The other is untouched by what happens to the one that waits. */
    if (number == 1)
        here->status = kaon_sandbox_interrupt(here->sandbox, &here->err);
    if (!here->status)
        here->status = kaon_call(other, &out, "work",
                                 KAON_ARGS(kaon_u32(100000)), NULL, &here->err);
    if (!here->status && out.kind == KAON_RETURNED)
        here[1].count++;
}

static void
an_interrupt_spares_the_sandbox_that_a_host_function_calls(void **state)
{
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = NULL;
        struct kaon_error err = { 0 };
        struct kaon_outcome out;
        struct here here[2];

        (void)state;
        if (shared)
            ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
        here_open(&here[0], call_another);
        here_open(&here[1], NULL);
        make(&here[0], domain, 0);
        make(&here[1], domain, 0);
        kaon_domain_destroy(domain);
        ASSERT_OK(
            kaon_call(here[0].sandbox, &out, "here", KAON_NO_ARGS, NULL, &err));
        assert_int_equal(here[0].status, KAON_OK);
        assert_int_equal(here[1].count, 1);
        assert_stopped(here[0].sandbox, &out, KAON_CANCELLED);
        ASSERT_RETURNS(2, here[1].sandbox, "work", KAON_ARGS(kaon_u32(1)));
        here_close(&here[0]);
        here_close(&here[1]);
    }
}

/* ---- Row 21 ------------------------------------------------------------ */

/* Two sandboxes that threads call; one of them is interrupted. */
struct race {
    struct here here[2];
    struct kaon_domain *domain; /* of both, or NULL */
    pthread_barrier_t barrier;
    sem_t started;          /* a thread is there, about to call */
    uint64_t usual;         /* nanoseconds that a round takes */
    unsigned int calls[2];  /* that returned */
    unsigned int cancelled; /* of the first one */
    atomic_uint wrong;
};

/* One of the two threads of a race. */
struct swapper {
    struct race *race;
    int first; /* the sandbox that it calls first */
};

#define CALLS 12 /* to each sandbox in a round; even */

static uint32_t random_below(uint32_t *seed, uint32_t limit)
{
    *seed = *seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)*seed * limit) >> 32);
}

/* Sandbox 0 may be cancelled once, and is then poisoned. 1 must not. */
static void call_one(struct race *race, int which)
{
    struct kaon_sandbox *sandbox = race->here[which].sandbox;
    struct kaon_outcome out;
    enum kaon_status status = kaon_call(sandbox, &out, "work",
                                        KAON_ARGS(kaon_u32(60000)), NULL, NULL);

    if (!status && out.kind == KAON_RETURNED &&
        out.value.i32 == (int32_t)++race->calls[which])
        return;
    if (which == 0 && !status && out.kind == KAON_CANCELLED &&
        race->cancelled++ == 0)
        return;
    if (which == 0 && status == KAON_EPOISONED && race->cancelled == 1)
        return;
    race->wrong++;
}

static void race_open(struct race *race, bool shared)
{
    struct kaon_error err = { 0 };

    memset(race, 0, sizeof *race);
    if (shared)
        ASSERT_OK(kaon_domain_create(
            &race->domain,
            KAON_DOMAIN_OPTS(.memory_bytes = isolation_memory(16 << 20)),
            &err));
    here_open(&race->here[0], NULL);
    here_open(&race->here[1], NULL);
    make(&race->here[0], race->domain, 0);
    make(&race->here[1], race->domain, 0);
    pthread_barrier_init(&race->barrier, NULL, 2);
    sem_init(&race->started, 0, 0);
}

/* Only the first sandbox is replaced: the second lives through all rounds. */
static void race_again(struct race *race)
{
    kaon_sandbox_destroy(race->here[0].sandbox);
    make(&race->here[0], race->domain, 0);
    race->calls[0] = race->cancelled = 0;
}

static void race_close(struct race *race)
{
    here_close(&race->here[0]);
    here_close(&race->here[1]);
    kaon_domain_destroy(race->domain);
    pthread_barrier_destroy(&race->barrier);
    sem_destroy(&race->started);
}

/*
 * Runs rounds of two threads, with an interrupt of the first sandbox at a
 * random moment of each; goes on until some interrupts came in time.
 */
static void run_races(void *(*function)(void *user), uint32_t seed)
{
    const unsigned int rounds = e2e_scaled(500);
    unsigned int cancelled = 0, done = 0;

    for (int shared = 0; shared < 2; shared++) {
        struct race race;

        race_open(&race, shared);
        for (unsigned int i = 0; i < rounds / 2 + 1 || !cancelled; i++) {
            struct swapper swappers[2] = { { &race, 0 }, { &race, 1 } };
            pthread_t threads[2];
            uint64_t start;

            for (int k = 0; k < 2; k++)
                pthread_create(&threads[k], NULL, function, &swappers[k]);
            wait_for(&race.started);
            start = e2e_now();
            if (i > 0) {
                e2e_sleep(random_below(&seed, (uint32_t)race.usual));
                assert_int_equal(
                    kaon_sandbox_interrupt(race.here[0].sandbox, NULL),
                    KAON_OK);
            }
            for (int k = 0; k < 2; k++)
                pthread_join(threads[k], NULL);
            wait_for(&race.started);
            if (i == 0)
                race.usual = e2e_now() - start;
            assert_int_equal(race.wrong, 0);
            cancelled += race.cancelled;
            done++;
            race_again(&race);
        }
        race_close(&race);
    }
    print_message("# %u of %u interrupts came in time\n", cancelled, done);
}

/* One thread makes all calls, the other none. */
static void *call_both_in_turn(void *user)
{
    const struct swapper *swapper = user;
    struct race *race = swapper->race;

    sem_post(&race->started);
    for (int i = 0; swapper->first == 0 && i < CALLS; i++) {
        call_one(race, 0);
        call_one(race, 1);
    }
    return NULL;
}

static void interrupting_one_of_two_on_one_thread_spares_the_other(void **state)
{
    (void)state;
    run_races(call_both_in_turn, 21);
}

/* The threads swap the sandboxes after each call. */
static void *call_each_in_turn(void *user)
{
    const struct swapper *swapper = user;
    struct race *race = swapper->race;

    sem_post(&race->started);
    for (int i = 0; i < CALLS; i++) {
        pthread_barrier_wait(&race->barrier);
        call_one(race, (swapper->first + i) % 2);
    }
    return NULL;
}

static void interrupting_one_of_two_that_move_spares_the_other(void **state)
{
    (void)state;
    run_races(call_each_in_turn, 22);
}

static void random_deadlines_stop_only_their_own_call(void **state)
{
    const unsigned int rounds = e2e_scaled(500);
    struct kaon_error err = { 0 };
    uint32_t seed = 23;
    unsigned int stopped = 0;
    struct race race;

    (void)state;
    race_open(&race, true);
    for (unsigned int i = 0; i < rounds || !stopped; i++) {
        struct kaon_outcome out;
        uint64_t deadline = 1 + random_below(&seed, (uint32_t)MILLISECOND);

        for (int k = 0; k < 2; k++) {
            ASSERT_OK(
                kaon_call(race.here[0].sandbox, &out, "work",
                          KAON_ARGS(kaon_u32(random_below(&seed, 1000000))),
                          KAON_CALL_OPTS(.deadline_ns = deadline), &err));
            if (out.kind == KAON_DEADLINE)
                break;
            ASSERT_OUTCOME(KAON_RETURNED, out);
            call_one(&race, 1);
        }
        call_one(&race, 1);
        assert_int_equal(race.wrong, 0);
        if (out.kind == KAON_DEADLINE) {
            stopped++;
            race_again(&race);
        }
    }
    race_close(&race);
    print_message("# %u of %u deadlines came in time\n", stopped, rounds);
}

TESTS_NEED_KVM(
    TEST_ROW(19, an_interrupt_stops_a_spinning_guest),
    TEST_ROW(19, a_deadline_stops_a_spinning_guest),
    TEST_ROW(19, the_sandbox_has_a_deadline_for_all_its_calls),
    TEST_ROW(19, initialisation_has_a_deadline_too),
    TEST_ROW(19, a_deadline_that_is_met_stops_nothing),
    TEST_ROW(19, many_deadlines_pass_each_in_its_time),
    TEST_ROW(20, an_interrupt_between_calls_does_nothing),
    TEST_ROW(20, an_interrupt_in_a_host_function_stops_the_guest_after_it),
    TEST_ROW(20, an_interrupt_waits_for_a_host_function_to_end),
    TEST_ROW(20, a_deadline_counts_the_time_of_host_functions),
    TEST_ROW(20, an_interrupt_spares_the_sandbox_that_a_host_function_calls),
    TEST_ROW(21, interrupting_one_of_two_on_one_thread_spares_the_other),
    TEST_ROW(21, interrupting_one_of_two_that_move_spares_the_other),
    TEST_ROW(21, random_deadlines_stop_only_their_own_call))

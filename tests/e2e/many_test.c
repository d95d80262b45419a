/* SPDX-License-Identifier: Apache-2.0 */
/* Many sandboxes, many threads, and one sandbox that too many want. */
#include "e2e/e2e.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Lets the process have so many descriptors, or skips the test. */
static void need_descriptors(rlim_t count)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < count)
        harness_skip("ulimit -Hn allows %llu descriptors, not %llu",
                     (unsigned long long)limit.rlim_max,
                     (unsigned long long)count);
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= count)
        return;
    limit.rlim_cur = count;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static struct kaon_sandbox **make_many(size_t count, struct kaon_domain *domain,
                                       struct kaon_image *image)
{
    struct kaon_sandbox **sandboxes = calloc(count, sizeof *sandboxes);
    struct kaon_error err = { 0 };

    assert_non_null(sandboxes);
    for (size_t i = 0; i < count; i++)
        ASSERT_OK(kaon_sandbox_create(
            &sandboxes[i], image, KAON_SANDBOX_OPTS(.domain = domain), &err));
    return sandboxes;
}

static void call_all(struct kaon_sandbox **sandboxes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ASSERT_RETURNS((int32_t)i + 1, sandboxes[i], "add",
                       KAON_ARGS(kaon_i32((int32_t)i), kaon_i32(1)));
}

static void destroy_many(struct kaon_sandbox **sandboxes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kaon_sandbox_destroy(sandboxes[i]);
    free(sandboxes);
}

static void two_thousand_sandboxes_live_each_in_its_own_domain(void **state)
{
    const size_t count = e2e_scaled(2000);
    struct kaon_sandbox **sandboxes;
    struct kaon_image *image;

    (void)state;
    need_descriptors(2 * count + 100);
    image = e2e_image("echo");
    sandboxes = make_many(count, NULL, image);
    kaon_image_destroy(image);
    call_all(sandboxes, count);
    call_all(sandboxes, count);
    destroy_many(sandboxes, count);
}

static void fifty_thousand_sandboxes_live_in_one_domain(void **state)
{
    SKIP_ON_PROCESSES("each sandbox has a process");

    const size_t count = e2e_scaled(50000);
    struct kaon_sandbox **sandboxes;
    struct kaon_image *image;
    struct kaon_domain_stats stats;
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    (void)state;
    image = e2e_image("echo");
    ASSERT_OK(kaon_domain_create(
        &domain, KAON_DOMAIN_OPTS(.memory_bytes = UINT64_C(8) << 30), &err));
    sandboxes = make_many(count, domain, image);
    kaon_image_destroy(image);
    call_all(sandboxes, count);
    call_all(sandboxes, count);
    assert_int_equal(kaon_domain_stats(domain, &stats), KAON_OK);
    assert_int_equal(stats.sandboxes, count);
    assert_int_equal(stats.vcpus, 1);
    assert_true(stats.memory_used_bytes / count <= 32 * 1024);
    destroy_many(sandboxes, count);
    kaon_domain_destroy(domain);
}

/* ---- Threads ----------------------------------------------------------- */

#define THREADS 100

struct worker {
    struct kaon_sandbox *sandbox;
    pthread_barrier_t *start;
    unsigned int calls;
    unsigned int wrong;
};

static void *work(void *user)
{
    struct worker *worker = user;

    pthread_barrier_wait(worker->start);
    for (unsigned int i = 0; i < worker->calls; i++) {
        struct kaon_outcome out;

        if (kaon_call(worker->sandbox, &out, "count", KAON_NO_ARGS, NULL,
                      NULL) ||
            out.kind != KAON_RETURNED || out.value.i32 != (int32_t)i + 1)
            worker->wrong++;
    }
    return NULL;
}

static void run_workers(struct kaon_domain *domain)
{
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_image *image = e2e_image("basics");
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t start;
    struct kaon_error err = { 0 };

    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        workers[i] =
            (struct worker){ .start = &start, .calls = e2e_scaled(100) };
        ASSERT_OK(kaon_sandbox_create(
            &workers[i].sandbox, image,
            KAON_SANDBOX_OPTS(.domain = domain, .host_functions = set), &err));
    }
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]),
                         0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].wrong, 0);
        kaon_sandbox_destroy(workers[i].sandbox);
    }
    pthread_barrier_destroy(&start);
}

static void
a_hundred_threads_call_sandboxes_in_domains_of_their_own(void **state)
{
    (void)state;
    run_workers(NULL);
}

static void a_hundred_threads_call_sandboxes_in_one_domain(void **state)
{
    struct kaon_domain_stats stats;
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_OK(kaon_domain_create(
        &domain,
        KAON_DOMAIN_OPTS(.vcpus_max = THREADS,
                         .memory_bytes = isolation_memory(1 << 30)),
        &err));
    run_workers(domain);
    assert_int_equal(kaon_domain_stats(domain, &stats), KAON_OK);
    assert_in_range(stats.vcpus, 1, THREADS);
    kaon_domain_destroy(domain);
}

/* ---- Too many for one -------------------------------------------------- */

/* A guest that waits in HostHere until it is let go. */
struct waiting {
    struct kaon_sandbox *sandbox;
    sem_t entered, leave;
    enum kaon_status status;
    struct kaon_outcome out;
    enum kaon_status inside; /* of a call from inside of HostHere */
    struct kaon_error err;
    pthread_t thread;
};

static int host_here(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    struct waiting *waiting = user;
    struct kaon_outcome out;

    (void)call;
    (void)result;
    if (args[0].i32 != 1)
        return 0;
    waiting->inside = kaon_call(waiting->sandbox, &out, "here", KAON_NO_ARGS,
                                NULL, &waiting->err);
    sem_post(&waiting->entered);
    while (sem_wait(&waiting->leave) != 0)
        ;
    return 0;
}

static void *call_here(void *user)
{
    struct waiting *waiting = user;

    waiting->status = kaon_call(waiting->sandbox, &waiting->out, "here",
                                KAON_NO_ARGS, NULL, NULL);
    return NULL;
}

static void waiting_make(struct waiting *waiting, struct kaon_domain *domain)
{
    struct kaon_host_functions *set;
    struct kaon_error err = { 0 };

    memset(waiting, 0, sizeof *waiting);
    sem_init(&waiting->entered, 0, 0);
    sem_init(&waiting->leave, 0, 0);
    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostHere", KAON_TYPE_VOID,
                                      KAON_PARAMS(KAON_TYPE_I32), host_here,
                                      waiting, &err));
    waiting->sandbox = e2e_sandbox(
        "stop", KAON_SANDBOX_OPTS(.host_functions = set, .domain = domain));
    kaon_host_functions_destroy(set);
}

static void waiting_start(struct waiting *waiting)
{
    assert_int_equal(pthread_create(&waiting->thread, NULL, call_here, waiting),
                     0);
    sem_wait(&waiting->entered);
}

static void waiting_end(struct waiting *waiting)
{
    sem_post(&waiting->leave);
    pthread_join(waiting->thread, NULL);
    assert_int_equal(waiting->status, KAON_OK);
    ASSERT_OUTCOME(KAON_RETURNED, waiting->out);
    assert_int_equal(waiting->out.value.i32, 1);
}

static void waiting_destroy(struct waiting *waiting)
{
    kaon_sandbox_destroy(waiting->sandbox);
    sem_destroy(&waiting->entered);
    sem_destroy(&waiting->leave);
}

static void a_second_thread_is_told_that_the_sandbox_is_busy(void **state)
{
    struct waiting waiting;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    void *buffer;

    (void)state;
    waiting_make(&waiting, NULL);
    waiting_start(&waiting);
    assert_int_equal(kaon_sandbox_state(waiting.sandbox), KAON_SANDBOX_RUNNING);
    ASSERT_REFUSED(KAON_EBUSY, "another call",
                   kaon_call(waiting.sandbox, &out, "work",
                             KAON_ARGS(kaon_u32(1)), NULL, &err));
    ASSERT_REFUSED(KAON_EBUSY, "another call",
                   kaon_sandbox_init(waiting.sandbox, &out, NULL, &err));
    ASSERT_REFUSED(KAON_EBUSY, "another call",
                   kaon_sandbox_buffer(waiting.sandbox, &buffer, 8, &err));
    err = waiting.err;
    ASSERT_REFUSED(KAON_EBUSY, "another call", waiting.inside);
    waiting_end(&waiting);
    ASSERT_RETURNS(2, waiting.sandbox, "work", KAON_ARGS(kaon_u32(1)));
    waiting_destroy(&waiting);
}

static void more_threads_than_vcpus_are_told_so(void **state)
{
    struct kaon_domain *domain;
    struct waiting waiting[3];
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(
        kaon_domain_create(&domain, KAON_DOMAIN_OPTS(.vcpus_max = 2), &err));
    for (int i = 0; i < 3; i++)
        waiting_make(&waiting[i], domain);
    waiting_start(&waiting[0]);
    waiting_start(&waiting[1]);
    ASSERT_REFUSED(KAON_EBUSY, "vcpus_max",
                   kaon_call(waiting[2].sandbox, &out, "work",
                             KAON_ARGS(kaon_u32(1)), NULL, &err));
    assert_int_equal(kaon_sandbox_state(waiting[2].sandbox),
                     KAON_SANDBOX_READY);
    waiting_end(&waiting[0]);
    ASSERT_RETURNS(1, waiting[2].sandbox, "work", KAON_ARGS(kaon_u32(1)));
    waiting_end(&waiting[1]);
    for (int i = 0; i < 3; i++)
        waiting_destroy(&waiting[i]);
    kaon_domain_destroy(domain);
}

/* ---- Many who want the same -------------------------------------------- */

struct rivals {
    struct kaon_sandbox *sandbox;
    atomic_uint returned, busy, wrong;
    unsigned int calls;
};

static void *contend(void *user)
{
    struct rivals *rivals = user;

    for (unsigned int i = 0; i < rivals->calls; i++) {
        struct kaon_outcome out;
        enum kaon_status status =
            kaon_call(rivals->sandbox, &out, "work", KAON_ARGS(kaon_u32(100)),
                      NULL, NULL);

        if (status == KAON_EBUSY)
            rivals->busy++;
        else if (status == KAON_OK && out.kind == KAON_RETURNED)
            rivals->returned++;
        else
            rivals->wrong++;
    }
    return NULL;
}

static void each_call_of_rivals_returns_or_is_told_busy(void **state)
{
    struct rivals rivals = { .calls = e2e_scaled(2000) };
    pthread_t threads[4];
    struct waiting waiting;

    (void)state;
    waiting_make(&waiting, NULL);
    rivals.sandbox = waiting.sandbox;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, contend, &rivals);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rivals.wrong, 0);
    assert_int_equal(rivals.returned + rivals.busy, 4 * rivals.calls);
    assert_true(rivals.returned > 0);
    ASSERT_RETURNS((int32_t)rivals.returned + 1, waiting.sandbox, "work",
                   KAON_ARGS(kaon_u32(1)));
    waiting_destroy(&waiting);
}

TESTS_NEED_KVM(
    TEST_ROW_LIMIT(26, 240, two_thousand_sandboxes_live_each_in_its_own_domain),
    TEST_ROW_LIMIT(26, 240, fifty_thousand_sandboxes_live_in_one_domain),
    TEST_ROW(26, a_hundred_threads_call_sandboxes_in_domains_of_their_own),
    TEST_ROW(26, a_hundred_threads_call_sandboxes_in_one_domain),
    TEST_ROW(26, a_second_thread_is_told_that_the_sandbox_is_busy),
    TEST_ROW(26, more_threads_than_vcpus_are_told_so),
    TEST_ROW(26, each_call_of_rivals_returns_or_is_told_busy))

/* SPDX-License-Identifier: Apache-2.0 */
/* Many sandboxes in one domain: apart from each other, and each from the last.
 */
#include "e2e/e2e.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static struct kaon_domain *domain_of(uint64_t memory_bytes)
{
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_domain_create(
        &domain, KAON_DOMAIN_OPTS(.memory_bytes = memory_bytes), &err));
    return domain;
}

/* For what happens as guests touch more and more of a domain's memory. */
static struct kaon_domain *domain_to_fill(uint64_t memory_bytes)
{
    SKIP_ON_PROCESSES("a sandbox claims all of its memory at once");
    return domain_of(memory_bytes);
}

static struct kaon_domain_stats stats_of(struct kaon_domain *domain)
{
    struct kaon_domain_stats stats;

    assert_int_equal(kaon_domain_stats(domain, &stats), KAON_OK);
    return stats;
}

static struct kaon_sandbox *sandbox_in(struct kaon_domain *domain,
                                       struct kaon_image *image)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.domain = domain, .heap_bytes = 256 * KIB,
                          .stack_bytes = 64 * KIB, .exchange_bytes = 64 * KIB),
        &err));
    return sandbox;
}

static uint64_t call_u64(struct kaon_sandbox *sandbox, const char *function,
                         const struct kaon_value *args, size_t count)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, function, args, count, NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    return out.value.type == KAON_TYPE_BOOL ? out.value.boolean : out.value.u64;
}

static void sandboxes_of_several_images_share_a_domain(void **state)
{
    struct kaon_domain *domain = domain_of(64 * MIB);
    struct kaon_image *echo = e2e_image("echo"), *memory = e2e_image("memory");
    struct kaon_sandbox *a[8], *b[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        a[i] = sandbox_in(domain, echo);
        b[i] = sandbox_in(domain, memory);
    }
    assert_int_equal(stats_of(domain).sandboxes, 16);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 8; i++) {
            ASSERT_RETURNS(i + round, a[i], "add",
                           KAON_ARGS(kaon_i32(i), kaon_i32(round)));
            assert_int_equal(call_u64(b[i], "step_all", KAON_NO_ARGS),
                             7 + round);
        }
    }
    assert_int_equal(stats_of(domain).vcpus, 1);
    for (int i = 0; i < 8; i++) {
        kaon_sandbox_destroy(a[i]);
        kaon_sandbox_destroy(b[i]);
    }
    assert_int_equal(stats_of(domain).sandboxes, 0);
    kaon_image_destroy(echo);
    kaon_image_destroy(memory);
    kaon_domain_destroy(domain);
}

static void a_write_of_one_sandbox_is_not_seen_by_another(void **state)
{
    struct kaon_domain *domain = domain_of(64 * MIB);
    struct kaon_image *image = e2e_image("memory");
    struct kaon_sandbox *a = sandbox_in(domain, image),
                        *b = sandbox_in(domain, image), *c;

    (void)state;
    for (uint32_t page = 0; page < 64; page += 9) {
        const struct kaon_value write[] = { kaon_u32(page),
                                            kaon_u64(page + 1000) };

        assert_int_equal(call_u64(b, "read_page", write, 1), 7);
        call_u64(a, "write_page", write, 2);
        assert_int_equal(call_u64(a, "read_page", write, 1), page + 1000);
        assert_int_equal(call_u64(b, "read_page", write, 1), 7);
    }
    c = sandbox_in(domain, image);
    assert_true(call_u64(c, "is_pristine", KAON_NO_ARGS));
    kaon_sandbox_destroy(a);
    kaon_sandbox_destroy(b);
    kaon_sandbox_destroy(c);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* ---- The next in its place --------------------------------------------- */

static void what_a_sandbox_leaves_behind_is_not_seen_by_the_next(void **state)
{
    const uint64_t secret = 0x5ec3e7c0de5ec3e7;
    struct kaon_domain *domain = domain_of(64 * MIB);
    struct kaon_image *image = e2e_image("memory");
    uint64_t used = 0;

    (void)state;
    for (int round = 0; round < 6; round++) {
        struct kaon_sandbox *sandbox = sandbox_in(domain, image);
        const struct kaon_value inverted = kaon_u64(~secret);
        struct kaon_sandbox_stats stats;

        if (round && !isolation_is_process())
            assert_int_equal(stats_of(domain).memory_used_bytes, used);
        assert_int_equal(kaon_sandbox_stats(sandbox, &stats), KAON_OK);
        assert_int_equal(stats.page_faults + stats.zero_pages +
                             stats.copied_pages + stats.calls,
                         0);
        assert_int_equal(call_u64(sandbox, "dig", &inverted, 1), 0);
        assert_true(call_u64(sandbox, "is_pristine", KAON_NO_ARGS));
        call_u64(sandbox, "bury", &inverted, 1);
        assert_in_range(call_u64(sandbox, "dig", &inverted, 1), 50000, 100000);
        kaon_sandbox_destroy(sandbox);
        used = stats_of(domain).memory_used_bytes;
    }
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* Also those that were stopped in the middle of something. */
static void nor_is_what_a_poisoned_sandbox_leaves(void **state)
{
    struct kaon_domain *domain = domain_of(64 * MIB);
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_image *image = e2e_image("basics");
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    for (int round = 0; round < 10; round++) {
        struct kaon_sandbox *sandbox;

        ASSERT_OK(kaon_sandbox_create(
            &sandbox, image,
            KAON_SANDBOX_OPTS(.domain = domain, .host_functions = set), &err));
        ASSERT_RETURNS(123, sandbox, "init_order", KAON_NO_ARGS);
        ASSERT_RETURNS(1, sandbox, "count", KAON_NO_ARGS);
        switch (round % 3) {
        case 0:
            ASSERT_OK(kaon_call(sandbox, &out, "recurse",
                                KAON_ARGS(kaon_i32(0)), NULL, &err));
            ASSERT_OUTCOME(KAON_STACK_OVERFLOW, out);
            break;
        case 1:
            ASSERT_OK(kaon_call(sandbox, &out, "abort",
                                KAON_ARGS(kaon_i32(1), kaon_string("")), NULL,
                                &err));
            ASSERT_OUTCOME(KAON_ABORT, out);
            break;
        default:
            ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                                KAON_CALL_OPTS(.deadline_ns = MILLISECOND),
                                &err));
            ASSERT_OUTCOME(KAON_DEADLINE, out);
        }
        kaon_sandbox_destroy(sandbox);
    }
    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* ---- A full domain ----------------------------------------------------- */

/* Creates until the domain is full; returns how many there are. */
static size_t fill(struct kaon_domain *domain, struct kaon_image *image,
                   struct kaon_sandbox **sandboxes, size_t most)
{
    struct kaon_error err = { 0 };
    size_t count = 0;

    while (count < most &&
           kaon_sandbox_create(
               &sandboxes[count], image,
               KAON_SANDBOX_OPTS(.domain = domain, .heap_bytes = 4 * MIB),
               &err) == KAON_OK)
        count++;
    if (count < most)
        ASSERT_REFUSED(KAON_ENOMEM, "memory_bytes", err.status);
    return count;
}

static void destroy_all(struct kaon_sandbox **sandboxes, size_t count)
{
    while (count)
        kaon_sandbox_destroy(sandboxes[--count]);
}

static void a_full_domain_refuses_more_and_serves_those_it_has(void **state)
{
    struct kaon_sandbox *sandboxes[200];
    struct kaon_domain *domain = domain_to_fill(2 * MIB);
    struct kaon_image *image = e2e_image("echo");
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    size_t count = fill(domain, image, sandboxes, 200);

    (void)state;
    assert_in_range(count, 30, 199);
    assert_int_equal(stats_of(domain).sandboxes, count);
    assert_true(stats_of(domain).memory_used_bytes > 2 * MIB - 64 * KIB);
    assert_true(stats_of(domain).memory_used_bytes <= 2 * MIB);

    /* There is not even room for a first vCPU: a status, and no harm. */
    if (kaon_call(sandboxes[0], &out, "add",
                  KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL, &err))
        ASSERT_REFUSED(KAON_ENOMEM, "memory_bytes", err.status);
    kaon_sandbox_destroy(sandboxes[--count]);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < count; i++)
            ASSERT_RETURNS((int32_t)i + 1, sandboxes[i], "add",
                           KAON_ARGS(kaon_i32((int32_t)i), kaon_i32(1)));
    destroy_all(sandboxes, count);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

static void a_guest_that_finds_no_page_stops_alone(void **state)
{
    struct kaon_domain *domain = domain_to_fill(4 * MIB);
    struct kaon_image *image = e2e_image("memory");
    struct kaon_sandbox *greedy, *modest, *next;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    ASSERT_OK(kaon_sandbox_create(
        &greedy, image,
        KAON_SANDBOX_OPTS(.domain = domain, .heap_bytes = 16 * MIB), &err));
    modest = sandbox_in(domain, image);
    assert_int_equal(call_u64(modest, "step_all", KAON_NO_ARGS), 8);
    ASSERT_OK(kaon_call(greedy, &out, "touch_heap", KAON_ARGS(kaon_u32(3000)),
                        NULL, &err));
    ASSERT_OUTCOME(KAON_OUT_OF_MEMORY, out);
    ASSERT_CONTAINS(out.text, "memory_bytes");
    assert_int_equal(kaon_sandbox_state(greedy), KAON_SANDBOX_POISONED);
    assert_int_equal(call_u64(modest, "step_all", KAON_NO_ARGS), 9);
    kaon_sandbox_destroy(greedy);
    /* What the greedy one had is there for others. */
    next = sandbox_in(domain, image);
    assert_true(call_u64(next, "is_pristine", KAON_NO_ARGS));
    assert_int_equal(call_u64(next, "step_all", KAON_NO_ARGS), 8);
    assert_int_equal(call_u64(modest, "step_all", KAON_NO_ARGS), 10);
    kaon_sandbox_destroy(modest);
    kaon_sandbox_destroy(next);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* It is the domain's memory that is short, not the exchange. */
static void a_full_domain_has_no_room_for_large_arguments(void **state)
{
    struct kaon_sandbox *sandboxes[200];
    struct kaon_domain *domain = domain_to_fill(2 * MIB);
    struct kaon_image *image = e2e_image("echo");
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    size_t count = fill(domain, image, sandboxes, 200);
    char large[10000] = "";
    void *buffer;

    (void)state;
    kaon_sandbox_destroy(sandboxes[--count]);
    ASSERT_RETURNS(3, sandboxes[0], "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    ASSERT_REFUSED(KAON_ENOMEM, "memory_bytes",
                   kaon_sandbox_buffer(sandboxes[0], &buffer, 5000, &err));
    ASSERT_REFUSED(KAON_ENOMEM, "memory_bytes",
                   kaon_call(sandboxes[0], &out, "echo_bytes",
                             KAON_ARGS(kaon_bytes(large, sizeof large)), NULL,
                             &err));
    ASSERT_RETURNS(3, sandboxes[0], "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    destroy_all(sandboxes, count);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* ---- Memory of one image for another ----------------------------------- */

static void sandboxes_of_one_image_make_room_for_those_of_another(void **state)
{
    struct kaon_sandbox *sandboxes[400];
    struct kaon_domain *domain = domain_to_fill(4 * MIB);
    struct kaon_image *images[2] = { e2e_image("echo"), e2e_image("memory") };
    size_t counts[2] = { 0 };

    (void)state;
    for (int round = 0; round < 6; round++) {
        struct kaon_image *image = images[round % 2];
        size_t count = fill(domain, image, sandboxes, 400);

        assert_in_range(count, 40, 399);
        if (round >= 2)
            assert_int_equal(count, counts[round % 2]);
        counts[round % 2] = count;
        destroy_all(sandboxes + count / 2, count - count / 2);
        for (size_t i = 0; i < count / 2; i++) {
            if (round % 2)
                assert_int_equal(
                    call_u64(sandboxes[i], "read_page", KAON_ARGS(kaon_u32(3))),
                    7);
            else
                ASSERT_RETURNS(3, sandboxes[i], "add",
                               KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        }
        destroy_all(sandboxes, count / 2);
        assert_int_equal(stats_of(domain).sandboxes, 0);
    }
    kaon_image_destroy(images[0]);
    kaon_image_destroy(images[1]);
    kaon_domain_destroy(domain);
}

/* What was used as single pages serves as an argument area, and back. */
static void freed_memory_serves_any_purpose(void **state)
{
    struct kaon_sandbox *sandboxes[400], *large;
    struct kaon_domain *domain = domain_to_fill(4 * MIB);
    struct kaon_image *echo = e2e_image("echo"), *memory = e2e_image("memory");
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char *data = calloc(1, 2 * MIB);

    (void)state;
    assert_non_null(data);
    for (int round = 0; round < 3; round++) {
        destroy_all(sandboxes, fill(domain, echo, sandboxes, 400));
        ASSERT_OK(kaon_sandbox_create(
            &large, memory,
            KAON_SANDBOX_OPTS(.domain = domain,
                              .exchange_bytes = (2 + round % 2) * MIB),
            &err));
        assert_int_equal(call_u64(large, "read_page", KAON_ARGS(kaon_u32(1))),
                         7);
        kaon_sandbox_destroy(large);
        ASSERT_OK(kaon_sandbox_create(
            &large, echo,
            KAON_SANDBOX_OPTS(.domain = domain,
                              .exchange_bytes = (2 + round % 2) * MIB + 65536),
            &err));
        ASSERT_OK(kaon_call(large, &out, "echo_bytes",
                            KAON_ARGS(kaon_bytes(data, 2 * MIB)), NULL, &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        kaon_sandbox_destroy(large);
    }
    free(data);
    kaon_image_destroy(echo);
    kaon_image_destroy(memory);
    kaon_domain_destroy(domain);
}

static void many_images_come_and_go_in_a_domain(void **state)
{
    struct kaon_domain *domain = domain_of(64 * MIB);

    (void)state;
    for (unsigned int i = 0; i < e2e_scaled(100); i++) {
        struct kaon_image *image = e2e_image("echo");
        struct kaon_sandbox *sandbox = sandbox_in(domain, image);

        kaon_image_destroy(image);
        ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        kaon_sandbox_destroy(sandbox);
    }
    assert_int_equal(stats_of(domain).sandboxes, 0);
    kaon_domain_destroy(domain);
}

/* ---- Threads ----------------------------------------------------------- */

static void a_domain_lends_as_many_vcpus_as_it_may(void **state)
{
    struct kaon_domain *domain;
    struct kaon_error err = { 0 };

    (void)state;
    for (uint32_t most = 1; most <= 256; most = most * 3 + 1) {
        ASSERT_OK(kaon_domain_create(
            &domain, KAON_DOMAIN_OPTS(.vcpus_max = most), &err));
        assert_int_equal(stats_of(domain).vcpus, 0);
        assert_int_equal(stats_of(domain).sandboxes, 0);
        assert_int_equal(stats_of(domain).memory_bytes, 1024 * MIB);
        kaon_domain_destroy(domain);
    }
}

/* Two threads that take turns with one sandbox, each on its own vCPU. */
struct turns {
    struct kaon_sandbox *sandbox;
    struct kaon_sandbox *meeting[2]; /* see meet() */
    pthread_barrier_t barrier;
    unsigned int rounds;
    atomic_int wrong;
};

struct turn {
    struct turns *turns;
    unsigned int who;
};

static int host_here(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)result;
    pthread_barrier_wait(user);
    return 0;
}

/* A guest in which a thread waits until the other is in its own. */
static struct kaon_sandbox *meeting_in(struct kaon_domain *domain,
                                       pthread_barrier_t *barrier)
{
    struct kaon_host_functions *set;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostHere", KAON_TYPE_VOID,
                                      KAON_PARAMS(KAON_TYPE_I32), host_here,
                                      barrier, &err));
    sandbox = e2e_sandbox(
        "stop", KAON_SANDBOX_OPTS(.domain = domain, .host_functions = set));
    kaon_host_functions_destroy(set);
    return sandbox;
}

/* Both threads are in calls at once: each has a vCPU to itself from here. */
static void meet(struct turn *turn)
{
    struct kaon_outcome out;

    if (kaon_call(turn->turns->meeting[turn->who], &out, "here", KAON_NO_ARGS,
                  NULL, NULL) ||
        out.kind != KAON_RETURNED)
        turn->turns->wrong++;
}

static uint64_t ask(struct turns *turns, const char *function,
                    const struct kaon_value *args, size_t count)
{
    struct kaon_outcome out;

    if (kaon_call(turns->sandbox, &out, function, args, count, NULL, NULL) ||
        out.kind != KAON_RETURNED) {
        turns->wrong++;
        return UINT64_MAX;
    }
    return out.value.u64;
}

/*
 * In each round one thread reads a page, the other writes it (its first
 * write copies the page), and the first must see that.
 */
static void *take_turns(void *user)
{
    struct turn *turn = user;
    struct turns *turns = turn->turns;

    meet(turn);
    for (unsigned int i = 0; i < turns->rounds; i++) {
        const struct kaon_value args[] = { kaon_u32(i % 64),
                                           kaon_u64(i + 1000) };
        uint64_t before = i < 64 ? 7 : i - 64 + 1000;
        bool reader = i % 2 == turn->who;

        if (reader && ask(turns, "read_page", args, 1) != before)
            turns->wrong++;
        pthread_barrier_wait(&turns->barrier);
        if (!reader)
            ask(turns, "write_page", args, 2);
        pthread_barrier_wait(&turns->barrier);
        if (reader && ask(turns, "read_page", args, 1) != i + 1000)
            turns->wrong++;
        pthread_barrier_wait(&turns->barrier);
    }
    return NULL;
}

/* By default. Where KVM takes long to pass one on, each thread has its own. */
#define VCPUS_MAX 64

/* Runs both threads to their end. */
static void run_turns(struct turns *turns, struct kaon_domain *domain,
                      void *(*function)(void *user))
{
    struct turn turn[2] = { { turns, 0 }, { turns, 1 } };
    pthread_t threads[2];

    pthread_barrier_init(&turns->barrier, NULL, 2);
    for (int i = 0; i < 2; i++)
        turns->meeting[i] = meeting_in(domain, &turns->barrier);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, function, &turn[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        kaon_sandbox_destroy(turns->meeting[i]);
    pthread_barrier_destroy(&turns->barrier);
}

static void a_page_written_on_one_thread_is_read_on_the_other(void **state)
{
    struct kaon_domain *domain = domain_of(64 * MIB);
    struct kaon_image *image = e2e_image("memory");

    (void)state;
    for (unsigned int i = 0; i < e2e_scaled(20); i++) {
        struct turns turns = { .sandbox = sandbox_in(domain, image),
                               .rounds = 192 };

        run_turns(&turns, domain, take_turns);
        assert_int_equal(turns.wrong, 0);
        kaon_sandbox_destroy(turns.sandbox);
    }
    assert_in_range(stats_of(domain).vcpus, 2, VCPUS_MAX);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* As above, but with other sandboxes on the same vCPUs in between. */
static void *take_turns_among_many(void *user)
{
    struct turn *turn = user;
    struct turns *turns = turn->turns;

    meet(turn);
    for (unsigned int i = 0; i < turns->rounds; i++) {
        pthread_barrier_wait(&turns[0].barrier);
        for (unsigned int k = 0; k < 4; k++) {
            unsigned int which = (k + 2 * turn->who) % 4;

            if (ask(&turns[which], "step_all", KAON_NO_ARGS) == UINT64_MAX)
                turns[which].wrong++;
            if (k % 2)
                pthread_barrier_wait(&turns[0].barrier);
        }
    }
    return NULL;
}

static void sandboxes_step_in_turn_on_two_threads(void **state)
{
    struct kaon_domain *domain = domain_of(64 * MIB);
    struct kaon_image *image = e2e_image("memory");
    const unsigned int rounds = e2e_scaled(100);
    struct turns turns[4] = { 0 };

    (void)state;
    for (int i = 0; i < 4; i++) {
        turns[i].sandbox = sandbox_in(domain, image);
        turns[i].rounds = rounds;
    }
    run_turns(turns, domain, take_turns_among_many);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(turns[i].wrong, 0);
        assert_int_equal(call_u64(turns[i].sandbox, "step_all", KAON_NO_ARGS),
                         7 + 2 * rounds + 1);
        kaon_sandbox_destroy(turns[i].sandbox);
    }
    assert_in_range(stats_of(domain).vcpus, 2, VCPUS_MAX);
    kaon_image_destroy(image);
    kaon_domain_destroy(domain);
}

/* Threads that create, call and destroy in one domain, of two images. */
struct churner {
    struct kaon_domain *domain;
    struct kaon_image *images[2];
    unsigned int rounds, seed;
    unsigned int wrong;
};

static void *churn(void *user)
{
    struct churner *churner = user;

    for (unsigned int i = 0; i < churner->rounds; i++) {
        struct kaon_sandbox *sandbox;
        struct kaon_outcome out;
        unsigned int which = (i + churner->seed) % 2;

        if (kaon_sandbox_create(&sandbox, churner->images[which],
                                KAON_SANDBOX_OPTS(.domain = churner->domain),
                                NULL)) {
            churner->wrong++;
            continue;
        }
        if (which) {
            if (kaon_call(sandbox, &out, "step_all", KAON_NO_ARGS, NULL,
                          NULL) ||
                out.kind != KAON_RETURNED || out.value.u64 != 8)
                churner->wrong++;
        } else if (kaon_call(sandbox, &out, "add",
                             KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL, NULL) ||
                   out.kind != KAON_RETURNED || out.value.i32 != 3) {
            churner->wrong++;
        }
        kaon_sandbox_destroy(sandbox);
    }
    return NULL;
}

static void threads_create_and_destroy_in_one_domain(void **state)
{
    enum { THREADS = 4 };
    struct kaon_domain *domain = domain_of(isolation_memory(64 * MIB));
    struct kaon_image *images[2] = { e2e_image("echo"), e2e_image("memory") };
    struct churner churners[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (unsigned int i = 0; i < THREADS; i++) {
        churners[i] = (struct churner){
            .domain = domain,
            .images = { images[0], images[1] },
            .rounds = e2e_scaled(300),
            .seed = i,
        };
        pthread_create(&threads[i], NULL, churn, &churners[i]);
    }
    for (unsigned int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(churners[i].wrong, 0);
    }
    assert_int_equal(stats_of(domain).sandboxes, 0);
    kaon_image_destroy(images[0]);
    kaon_image_destroy(images[1]);
    kaon_domain_destroy(domain);
}

TESTS_NEED_KVM(TEST(sandboxes_of_several_images_share_a_domain),
               TEST(a_write_of_one_sandbox_is_not_seen_by_another),
               TEST_ROW(25,
                        what_a_sandbox_leaves_behind_is_not_seen_by_the_next),
               TEST_ROW(25, nor_is_what_a_poisoned_sandbox_leaves),
               TEST_ROW(27, a_full_domain_refuses_more_and_serves_those_it_has),
               TEST_ROW(27, a_guest_that_finds_no_page_stops_alone),
               TEST_ROW(27, a_full_domain_has_no_room_for_large_arguments),
               TEST(sandboxes_of_one_image_make_room_for_those_of_another),
               TEST(freed_memory_serves_any_purpose),
               TEST(many_images_come_and_go_in_a_domain),
               TEST(a_domain_lends_as_many_vcpus_as_it_may),
               TEST(a_page_written_on_one_thread_is_read_on_the_other),
               TEST(sandboxes_step_in_turn_on_two_threads),
               TEST(threads_create_and_destroy_in_one_domain))

/* SPDX-License-Identifier: Apache-2.0 */
/* What a process does to its sandboxes: fork(), and make thousands of them. */
#include "e2e/e2e.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#if defined __SANITIZE_THREAD__
#define TSAN 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#ifndef TSAN
#define TSAN 0
#endif

/* ---- fork() ------------------------------------------------------------ */

struct family {
    struct kaon_sandbox *sandbox;
    struct kaon_domain *domain;
    struct kaon_image *image;
    int started[2]; /* a pipe that the child writes to when it is there */
    bool ended;
    atomic_bool enough; /* of the sandboxes that a thread makes, */
    unsigned made;      /* which it counts */
};

static int call_as_child(void *user)
{
    struct family *family = user;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    CHILD_CHECK(kaon_call(family->sandbox, &out, "add",
                          KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL,
                          &err) == KAON_EBACKEND);
    CHILD_CHECK(err.status == KAON_EBACKEND);
    CHILD_CHECK(strstr(err.text, "fork"));
    /* Not even in a living domain. */
    if (kaon_sandbox_create(&sandbox, family->image,
                            KAON_SANDBOX_OPTS(.domain = family->domain),
                            &err) == KAON_OK) {
        CHILD_CHECK(kaon_call(sandbox, &out, "add",
                              KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL,
                              &err) == KAON_EBACKEND);
        kaon_sandbox_destroy(sandbox);
    }
    CHILD_CHECK(strstr(err.text, "fork"));
    return 0;
}

static void a_child_cannot_call_its_parent_s_sandboxes(void **state)
{
    struct kaon_error err = { 0 };

    (void)state;
    for (int called = 0; called < 2; called++) {
        struct family family = { .image = e2e_image("echo") };

        ASSERT_OK(kaon_domain_create(&family.domain, NULL, &err));
        ASSERT_OK(kaon_sandbox_create(
            &family.sandbox, family.image,
            KAON_SANDBOX_OPTS(.domain = family.domain), &err));
        for (int i = 0; i < 3; i++) {
            if (called)
                ASSERT_RETURNS(3, family.sandbox, "add",
                               KAON_ARGS(kaon_i32(1), kaon_i32(2)));
            e2e_in_child(call_as_child, &family, 20);
        }
        ASSERT_RETURNS(3, family.sandbox, "add",
                       KAON_ARGS(kaon_i32(1), kaon_i32(2)));
        kaon_sandbox_destroy(family.sandbox);
        kaon_domain_destroy(family.domain);
        kaon_image_destroy(family.image);
    }
}

/* The parent calls on while a child tries to, on what they seem to share. */
static int pester(void *user)
{
    struct family *family = user;
    uint64_t end = e2e_now() + 300 * MILLISECOND;

    CHILD_CHECK(write(family->started[1], "", 1) == 1);
    while (e2e_now() < end) {
        struct kaon_sandbox *sandbox;
        struct kaon_outcome out;

        if (kaon_sandbox_create(&sandbox, family->image,
                                KAON_SANDBOX_OPTS(.domain = family->domain),
                                NULL))
            continue;
        CHILD_CHECK(kaon_call(sandbox, &out, "add",
                              KAON_ARGS(kaon_i32(100), kaon_i32(200)), NULL,
                              NULL) == KAON_EBACKEND);
        kaon_sandbox_destroy(sandbox);
    }
    return 0;
}

static void *run_child(void *user)
{
    struct family *family = user;

    /* In a thread, as it waits for the child. Asserts nothing. */
    family->ended = e2e_in_child(pester, family, 20);
    return NULL;
}

static void a_child_that_tries_does_not_disturb_its_parent(void **state)
{
    struct family family = { .image = e2e_image("echo") };
    struct kaon_error err = { 0 };
    uint64_t end;
    pthread_t thread;
    char byte;

    (void)state;
    if (TSAN)
        harness_skip("ThreadSanitizer does not follow fork() in a thread");
    ASSERT_OK(kaon_domain_create(&family.domain, NULL, &err));
    ASSERT_OK(kaon_sandbox_create(&family.sandbox, family.image,
                                  KAON_SANDBOX_OPTS(.domain = family.domain),
                                  &err));
    ASSERT_RETURNS(3, family.sandbox, "add",
                   KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    assert_int_equal(pipe(family.started), 0);
    pthread_create(&thread, NULL, run_child, &family);
    assert_int_equal(read(family.started[0], &byte, 1), 1);
    end = e2e_now() + 200 * MILLISECOND;
    for (int32_t i = 0; e2e_now() < end; i++)
        ASSERT_RETURNS(i + 1, family.sandbox, "add",
                       KAON_ARGS(kaon_i32(i), kaon_i32(1)));
    pthread_join(thread, NULL);
    assert_true(family.ended);
    close(family.started[0]);
    close(family.started[1]);
    kaon_sandbox_destroy(family.sandbox);
    kaon_domain_destroy(family.domain);
    kaon_image_destroy(family.image);
}

static int make_own(void *user)
{
    struct family *family = user;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    for (int i = 0; i < 3; i++) {
        struct kaon_sandbox *sandbox;

        CHILD_CHECK(kaon_sandbox_create(&sandbox, family->image, NULL, &err) ==
                    KAON_OK);
        CHILD_CHECK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                              KAON_CALL_OPTS(.deadline_ns = 5 * MILLISECOND),
                              &err) == KAON_OK);
        CHILD_CHECK(out.kind == KAON_DEADLINE);
        kaon_sandbox_destroy(sandbox);
    }
    return 0;
}

/* Deadlines too, which take a thread that fork() does not copy. */
static void a_child_makes_sandboxes_of_its_own(void **state)
{
    struct family family = { .image = e2e_image("spin") };
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    (void)state;
    if (TSAN)
        harness_skip("ThreadSanitizer starts no threads after fork()");
    e2e_in_child(make_own, &family, 10);
    ASSERT_OK(kaon_sandbox_create(&sandbox, family.image, NULL, &err));
    ASSERT_OK(kaon_call(sandbox, &out, "spin", KAON_NO_ARGS,
                        KAON_CALL_OPTS(.deadline_ns = MILLISECOND), &err));
    ASSERT_OUTCOME(KAON_DEADLINE, out);
    e2e_in_child(make_own, &family, 10);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(family.image);
}

static int make_one(void *user)
{
    struct family *family = user;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    CHILD_CHECK(kaon_sandbox_create(&sandbox, family->image, NULL, &err) ==
                KAON_OK);
    CHILD_CHECK(kaon_call(sandbox, &out, "add",
                          KAON_ARGS(kaon_i32(1), kaon_i32(2)),
                          KAON_CALL_OPTS(.deadline_ns = 10000 * MILLISECOND),
                          &err) == KAON_OK);
    CHILD_CHECK(out.kind == KAON_RETURNED);
    kaon_sandbox_destroy(sandbox);
    return 0;
}

static void *make_all_the_time(void *user)
{
    struct family *family = user;

    while (!atomic_load(&family->enough))
        family->made += make_one(family) == 0;
    return NULL;
}

/* Whatever the parent's other threads are about to do, and have locked. */
static void a_child_makes_one_whatever_its_parent_does(void **state)
{
    struct family family = { .image = e2e_image("echo") };
    pthread_t thread;

    (void)state;
    if (TSAN)
        harness_skip("ThreadSanitizer starts no threads after fork()");
    pthread_create(&thread, NULL, make_all_the_time, &family);
    for (int i = 0; i < 40; i++)
        e2e_in_child(make_one, &family, 20);
    atomic_store(&family.enough, true);
    pthread_join(thread, NULL);
    assert_true(family.made > 0);
    kaon_image_destroy(family.image);
}

/* ---- Thousands --------------------------------------------------------- */

static void ten_thousand_come_and_go_in_a_domain(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_domain *domain;
    struct kaon_domain_stats first = { 0 }, now;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
    for (int32_t i = 0; i < (int32_t)e2e_scaled(10000); i++) {
        struct kaon_sandbox *sandbox;

        ASSERT_OK(kaon_sandbox_create(
            &sandbox, image, KAON_SANDBOX_OPTS(.domain = domain), &err));
        ASSERT_RETURNS(i + 1, sandbox, "add",
                       KAON_ARGS(kaon_i32(i), kaon_i32(1)));
        kaon_sandbox_destroy(sandbox);
        assert_int_equal(kaon_domain_stats(domain, &now), KAON_OK);
        if (i == 0)
            first = now;
    }
    assert_int_equal(now.memory_used_bytes, first.memory_used_bytes);
    assert_int_equal(now.sandboxes, 0);
    kaon_domain_destroy(domain);
    kaon_image_destroy(image);
}

static void ten_thousand_come_and_go_in_domains_of_their_own(void **state)
{
    struct kaon_image *image = e2e_image("echo");
    struct kaon_error err = { 0 };

    (void)state;
    for (int32_t i = 0; i < (int32_t)e2e_scaled(10000); i++) {
        struct kaon_sandbox *sandbox;

        ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
        if (i % 8 == 0)
            ASSERT_RETURNS(i + 1, sandbox, "add",
                           KAON_ARGS(kaon_i32(i), kaon_i32(1)));
        kaon_sandbox_destroy(sandbox);
    }
    kaon_image_destroy(image);
}

static void images_and_sets_come_and_go(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < e2e_scaled(1000); i++) {
        kaon_host_functions_destroy(e2e_functions());
        kaon_image_destroy(e2e_image("basics"));
    }
}

TESTS_NEED_KVM(TEST_ROW(29, a_child_cannot_call_its_parent_s_sandboxes),
               TEST_ROW(29, a_child_that_tries_does_not_disturb_its_parent),
               TEST_ROW(29, a_child_makes_sandboxes_of_its_own),
               TEST_ROW(29, a_child_makes_one_whatever_its_parent_does),
               TEST_ROW(29, ten_thousand_come_and_go_in_a_domain),
               TEST_ROW_LIMIT(29, 240,
                              ten_thousand_come_and_go_in_domains_of_their_own),
               TEST_ROW(29, images_and_sets_come_and_go))

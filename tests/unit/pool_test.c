/* SPDX-License-Identifier: Apache-2.0 */
/* A pool when the system refuses things, and what it does when. */
#include "play.h"

#include "host/pool.h"

#include "support/fail_nth.h"

static enum kaon_status create(struct play *play, struct kaon_pool **pool,
                               struct kaon_pool_opts opts)
{
    opts.size = sizeof opts;
    opts.sandbox =
        KAON_SANDBOX_OPTS(.domain = play->domain,
                          .host_functions = play->functions, .heap_bytes = 4096,
                          .stack_bytes = 16384, .exchange_bytes = 8192);
    return kaon_pool_create(pool, &play->out, play->image, &opts, &play->err);
}

static struct kaon_pool *make(struct play *play, struct kaon_pool_opts opts)
{
    struct kaon_pool *pool = NULL;

    if (create(play, &pool, opts))
        fail_msg("%s", play->err.text);
    assert_non_null(pool);
    return pool;
}
#define POOL(play, ...) make((play), (struct kaon_pool_opts){ __VA_ARGS__ })

static struct kaon_sandbox *acquire(struct kaon_pool *pool)
{
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err;

    if (kaon_pool_acquire(pool, &sandbox, KAON_FOREVER, &err))
        fail_msg("%s", err.text);
    return sandbox;
}

static void creating_fails_cleanly_wherever_it_does(void **state)
{
    struct play play = { .memory_bytes = 16 << 20 };
    unsigned nth;

    (void)state;
    play_begin(&play);
    for (nth = 1;; nth++) {
        struct kaon_pool *pool = NULL;
        enum kaon_status status;
        bool failed;

        fail_nth_arm(nth);
        status =
            create(&play, &pool, (struct kaon_pool_opts){ .min = 2, .max = 2 });
        failed = fail_nth_disarm();
        kaon_pool_destroy(pool);
        if (!failed)
            break;
        if (status)
            assert_true(play.err.text[0] != '\0');
    }
    assert_true(nth > 10);
    play_end(&play);
}

/* Of a snapshot, with more mapped: that takes a sandbox and a snapshot more. */
static void mapping_for_a_pool_fails_cleanly_wherever_it_does(void **state)
{
    struct play play = { .memory_bytes = 16 << 20 };
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_sandbox_mapping mapping = { 0 };
    unsigned nth;

    (void)state;
    play_begin(&play);
    assert_int_equal(kaon_region_create(&mapping.region, 8192, NULL), KAON_OK);
    assert_int_equal(kaon_snapshot_take(&snapshot, play.sandbox, NULL),
                     KAON_OK);
    for (nth = 1;; nth++) {
        struct kaon_pool *pool = NULL;
        enum kaon_status status;
        bool failed;

        fail_nth_arm(nth);
        status = kaon_pool_create_from(
            &pool, snapshot,
            KAON_POOL_OPTS(.max = 2,
                           .sandbox = KAON_SANDBOX_OPTS(.domain = play.domain,
                                                        .host_functions =
                                                            play.functions,
                                                        .mappings = &mapping,
                                                        .mapping_count = 1)),
            &play.err);
        failed = fail_nth_disarm();
        assert_int_equal(status != 0, pool == NULL);
        kaon_pool_destroy(pool);
        if (!failed)
            break;
        if (status)
            assert_true(play.err.text[0] != '\0');
    }
    assert_true(nth > 20);
    kaon_snapshot_destroy(snapshot);
    kaon_region_destroy(mapping.region);
    play_end(&play);
}

/* Whoever needs one that cannot be cleaned is given another, or a reason. */
static void acquiring_fails_cleanly_wherever_it_does(void **state)
{
    struct play play = { .memory_bytes = 16 << 20 };
    unsigned nth;

    (void)state;
    play_begin(&play);
    for (nth = 1;; nth++) {
        struct kaon_pool *pool = POOL(&play, .min = 1, .max = 3);
        struct kaon_sandbox *first = acquire(pool), *second = NULL;
        enum kaon_status status;
        bool failed;

        fail_nth_arm(nth);
        status = kaon_pool_acquire(pool, &second, 0, &play.err);
        failed = fail_nth_disarm();
        if (status) {
            play_words(play.err.text, "sandboxes of max 3, none is ready");
            assert_null(second);
            second = acquire(pool);
        }
        kaon_pool_release(pool, first);
        kaon_pool_release(pool, second);
        kaon_pool_destroy(pool);
        if (!failed)
            break;
    }
    play_end(&play);
}

static void the_same_thread_gets_what_it_released(void **state)
{
    struct play play = { .memory_bytes = 16 << 20 };
    struct kaon_sandbox *sandbox, *other;
    struct kaon_pool *pool;

    (void)state;
    play_begin(&play);
    pool = POOL(&play, .min = 3, .max = 3);
    sandbox = acquire(pool);
    other = acquire(pool);
    kaon_pool_release(pool, sandbox);
    kaon_pool_release(pool, other);
    for (unsigned i = 0; i < 10; i++) {
        assert_ptr_equal(acquire(pool), sandbox);
        kaon_pool_release(pool, sandbox);
    }
    kaon_pool_destroy(pool);
    play_end(&play);
}

/* What a thread left in its pocket is there for all. */
static void pockets_are_not_for_keeping(void **state)
{
    struct play play = { .memory_bytes = 16 << 20 };
    struct kaon_sandbox *sandbox;
    struct kaon_pool *pool;

    (void)state;
    play_begin(&play);
    pool = POOL(&play, .max = 1);
    sandbox = acquire(pool);
    kaon_pool_release(pool, sandbox);
    /* As if another thread had: */
    for (unsigned i = 0; i < KAON_POCKETS; i++) {
        uint32_t content = atomic_exchange(&pool->pockets[i].content, 0);

        if (content)
            atomic_store(&pool->pockets[(i + 1) % KAON_POCKETS].content,
                         content);
        if (content)
            break;
    }
    assert_ptr_equal(acquire(pool), sandbox);
    kaon_pool_release(pool, sandbox);
    kaon_pool_destroy(pool);
    play_end(&play);
}

static enum kaon_status fills_memory(struct kaon_scripted_guest *guest,
                                     struct kaon_exit *exit, void *user)
{
    struct play *play = user;
    unsigned char *stack =
        play_touch(guest, exit, guest->entry.sp - 64, KAON_ACCESS_WRITE);

    if (!stack)
        return KAON_OK;
    if (stack[0])
        play->printed[0] = 'd'; /* dirty */
    stack[0] = 0x5e;
    return play_return_void(guest, exit);
}

static void no_byte_of_one_user_is_there_for_the_next(void **state)
{
    struct play play = { .memory_bytes = 16 << 20 };
    struct kaon_pool *pool;

    (void)state;
    play_begin(&play);
    pool = POOL(&play, .max = 2);
    play.guest = fills_memory;
    for (unsigned i = 0; i < 20; i++) {
        struct kaon_sandbox *sandbox = acquire(pool);

        assert_int_equal(kaon_call(sandbox, &play.out, "nothing", KAON_NO_ARGS,
                                   NULL, &play.err),
                         KAON_OK);
        assert_int_equal(play.printed[0], 0);
        kaon_pool_release(pool, sandbox);
    }
    kaon_pool_destroy(pool);
    play_end(&play);
}

TESTS(TEST(creating_fails_cleanly_wherever_it_does),
      TEST_ROW(27, mapping_for_a_pool_fails_cleanly_wherever_it_does),
      TEST(acquiring_fails_cleanly_wherever_it_does),
      TEST(the_same_thread_gets_what_it_released),
      TEST(pockets_are_not_for_keeping),
      TEST(no_byte_of_one_user_is_there_for_the_next))

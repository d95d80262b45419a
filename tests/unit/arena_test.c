/* SPDX-License-Identifier: Apache-2.0 */
/* The arena hands pages out zeroed, never twice, and takes them all back. */
#include "backend/backend.h"
#include "host/arena.h"
#include "support/harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PHYSICAL UINT64_C(0x200000)
#define PAGE ((size_t)KAON_PAGE_SIZE)

struct fixture {
    struct kaon_arena arena;
    void *memory;
};

static void begin(struct fixture *f, size_t pages)
{
    f->memory = calloc(pages, PAGE);
    assert_non_null(f->memory);
    kaon__arena_init(&f->arena, f->memory, pages * PAGE, PHYSICAL);
}

static void end(struct fixture *f)
{
    kaon__arena_finish(&f->arena);
    free(f->memory);
}

static bool is_zero(const struct kaon_arena *arena, uint64_t physical,
                    size_t pages)
{
    const unsigned char *at = kaon__arena_at(arena, physical);

    for (size_t i = 0; i < pages * PAGE; i++)
        if (at[i])
            return false;
    return true;
}

/* Runs are to be given back zeroed. */
static void give_run(struct kaon_arena *arena, uint64_t physical,
                     uint64_t pages)
{
    memset(kaon__arena_at(arena, physical), 0, pages * PAGE);
    kaon__arena_run_free(arena, physical, pages);
}

static void a_full_arena_gives_nothing_more(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 4);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(kaon__arena_page(&f.arena), PHYSICAL + i * PAGE);
    assert_int_equal(kaon__arena_page(&f.arena), 0);
    assert_int_equal(kaon__arena_run(&f.arena, 1), 0);
    assert_int_equal(kaon__arena_used(&f.arena), 4 * PAGE);
    kaon__arena_page_free(&f.arena, PHYSICAL + 2 * PAGE);
    assert_int_equal(kaon__arena_used(&f.arena), 3 * PAGE);
    assert_int_equal(kaon__arena_page(&f.arena), PHYSICAL + 2 * PAGE);
    assert_int_equal(kaon__arena_page(&f.arena), 0);
    end(&f);
}

static void pages_come_from_below_and_runs_from_above(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 8);
    assert_int_equal(kaon__arena_page(&f.arena), PHYSICAL);
    assert_int_equal(kaon__arena_run(&f.arena, 3), PHYSICAL + 5 * PAGE);
    assert_int_equal(kaon__arena_page(&f.arena), PHYSICAL + PAGE);
    assert_int_equal(kaon__arena_run(&f.arena, 4), 0);
    assert_int_equal(kaon__arena_run(&f.arena, 3), PHYSICAL + 2 * PAGE);
    assert_int_equal(kaon__arena_page(&f.arena), 0);
    end(&f);
}

static void a_run_that_cannot_be_is_refused(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 8);
    assert_int_equal(kaon__arena_run(&f.arena, 9), 0);
    assert_int_equal(kaon__arena_run(&f.arena, UINT64_C(1) << 40), 0);
    assert_int_equal(kaon__arena_used(&f.arena), 0);
    assert_int_equal(kaon__arena_run(&f.arena, 8), PHYSICAL);
    end(&f);
}

static void what_is_used_again_is_zero(void **state)
{
    struct fixture f;
    uint64_t page, run;

    (void)state;
    begin(&f, 8);
    page = kaon__arena_page(&f.arena);
    run = kaon__arena_run(&f.arena, 4);
    memset(kaon__arena_at(&f.arena, page), 0xa5, PAGE);
    kaon__arena_page_free(&f.arena, page);
    give_run(&f.arena, run, 4);
    assert_int_equal(kaon__arena_page(&f.arena), page);
    assert_int_equal(kaon__arena_run(&f.arena, 4), run);
    assert_true(is_zero(&f.arena, page, 1));
    assert_true(is_zero(&f.arena, run, 4)); /* no links are left in it */
    end(&f);
}

static void a_longer_free_run_is_cut(void **state)
{
    struct fixture f;
    uint64_t run, part, rest;

    (void)state;
    begin(&f, 8);
    run = kaon__arena_run(&f.arena, 8);
    give_run(&f.arena, run, 8);
    part = kaon__arena_run(&f.arena, 3);
    rest = kaon__arena_run(&f.arena, 5);
    assert_int_equal(part, run + 5 * PAGE);
    assert_int_equal(rest, run);
    assert_true(is_zero(&f.arena, run, 8));
    assert_int_equal(kaon__arena_run(&f.arena, 1), 0);
    end(&f);
}

static void a_free_run_that_is_too_short_is_passed_over(void **state)
{
    struct fixture f;
    uint64_t first, kept, last;

    (void)state;
    begin(&f, 8);
    last = kaon__arena_run(&f.arena, 3);
    kept = kaon__arena_run(&f.arena, 1);
    first = kaon__arena_run(&f.arena, 2);
    give_run(&f.arena, last, 3);
    give_run(&f.arena, first, 2);
    assert_int_equal(kaon__arena_run(&f.arena, 3), last);
    assert_int_equal(kaon__arena_run(&f.arena, 2), first);
    assert_int_equal(kaon__arena_used(&f.arena), 6 * PAGE);
    give_run(&f.arena, kept, 1);
    assert_int_equal(kaon__arena_run(&f.arena, 1), kept);
    end(&f);
}

/* ---- A life by chance, against a model --------------------------------- */

#define PAGES 64
#define HELD_MAX 40

struct held {
    uint64_t physical, pages; /* one page, and not of a run: pages is 0 */
    unsigned char mark;
};

static size_t size_of(const struct held *held)
{
    return (held->pages ? held->pages : 1) * PAGE;
}

static void take(struct kaon_arena *arena, struct held *held, uint64_t pages,
                 unsigned char mark)
{
    held->physical =
        pages ? kaon__arena_run(arena, pages) : kaon__arena_page(arena);
    held->pages = pages;
    held->mark = mark;
    if (!held->physical)
        return;
    assert_true(is_zero(arena, held->physical, size_of(held) / PAGE));
    memset(kaon__arena_at(arena, held->physical), mark, size_of(held));
}

/* Whoever else had got a part of it would have left his mark there. */
static void give_back(struct kaon_arena *arena, struct held *held)
{
    const unsigned char *at = kaon__arena_at(arena, held->physical);

    for (size_t i = 0; i < size_of(held); i++)
        assert_int_equal(at[i], held->mark);
    if (held->pages)
        give_run(arena, held->physical, held->pages);
    else
        kaon__arena_page_free(arena, held->physical);
    held->physical = 0;
}

static void nothing_is_handed_out_twice(void **state)
{
    struct held held[HELD_MAX] = { 0 };
    struct fixture f;
    uint64_t used = 0;

    (void)state;
    begin(&f, PAGES);
    srandom(1);
    for (int i = 0; i < 20000; i++) {
        struct held *at = &held[random() % HELD_MAX];
        unsigned char mark = (unsigned char)(1 + i % 255);

        if (at->physical) {
            used -= size_of(at);
            give_back(&f.arena, at);
        } else {
            take(&f.arena, at, (uint64_t)(random() % 5), mark);
            used += at->physical ? size_of(at) : 0;
        }
        assert_int_equal(kaon__arena_used(&f.arena), used);
    }
    for (int i = 0; i < HELD_MAX; i++)
        if (held[i].physical)
            give_back(&f.arena, &held[i]);
    assert_int_equal(kaon__arena_used(&f.arena), 0);
    end(&f);
}

/* ---- Threads ----------------------------------------------------------- */

static void *take_and_give(void *arena)
{
    struct held held[4];

    for (int i = 0; i < 2000; i++) {
        for (unsigned k = 0; k < 4; k++)
            take(arena, &held[k], k, (unsigned char)(k + 1));
        for (unsigned k = 0; k < 4; k++)
            if (held[k].physical)
                give_back(arena, &held[k]);
    }
    return NULL;
}

static void threads_share_an_arena(void **state)
{
    pthread_t threads[3];
    struct fixture f;

    (void)state;
    begin(&f, PAGES);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, take_and_give, &f.arena), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(kaon__arena_used(&f.arena), 0);
    end(&f);
}

/* clang-format off */
TESTS(
    TEST(a_full_arena_gives_nothing_more),
    TEST(pages_come_from_below_and_runs_from_above),
    TEST(a_run_that_cannot_be_is_refused),
    TEST(what_is_used_again_is_zero),
    TEST(a_longer_free_run_is_cut),
    TEST(a_free_run_that_is_too_short_is_passed_over),
    TEST(nothing_is_handed_out_twice),
    TEST(threads_share_an_arena),
)

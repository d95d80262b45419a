/* SPDX-License-Identifier: Apache-2.0 */
/* Write sets: what new sandboxes are given, and what they are then missing. */
#include "host/write_set.h"

#include "support/harness.h"

#define TERM KAON_WRITE_SET_TERM
#define PAGE UINT64_C(4096)

static bool has(const uint64_t *pages, uint32_t count, uint64_t address)
{
    while (count > 0)
        if (pages[--count] == address)
            return true;
    return false;
}

/* Makes a sandbox that writes the pages 1 to `used`. Returns its faults. */
static uint32_t make(struct kaon_write_set *set, uint32_t used)
{
    uint64_t given[KAON_WRITE_SET_MAX];
    uint32_t count = kaon__write_set_give(set, given), faults = 0;

    for (uint64_t page = 1; page <= used; page++)
        if (!has(given, count, page * PAGE)) {
            kaon__write_set_learn(set, page * PAGE);
            faults++;
        }
    return faults;
}

static uint32_t make_many(struct kaon_write_set *set, uint32_t used,
                          uint64_t sandboxes)
{
    uint32_t faults = 0;

    while (sandboxes-- > 0)
        faults += make(set, used);
    return faults;
}

static uint32_t size_of(const struct kaon_write_set *set)
{
    uint64_t given[KAON_WRITE_SET_MAX];

    return kaon__write_set_list(set, given);
}

static void the_first_teaches_the_next(void **state)
{
    struct kaon_write_set set = { 0 };

    (void)state;
    assert_int_equal(make(&set, 16), 16);
    assert_int_equal(size_of(&set), 16);
    assert_int_equal(make_many(&set, 16, TERM), 0);
    kaon__write_set_learn(&set, PAGE); /* again: one that was there before */
    assert_int_equal(size_of(&set), 16);
}

static void what_nobody_writes_is_forgotten(void **state)
{
    struct kaon_write_set set = { 0 };

    (void)state;
    make(&set, 40);
    assert_int_equal(make_many(&set, 0, TERM), 0);
    assert_int_equal(size_of(&set), 40);
    for (uint32_t left = 38;; left -= 2) { /* 1 and 40 / 32 at once */
        make(&set, 0);
        assert_int_equal(size_of(&set), left);
        if (left == 0)
            break;
    }
    assert_int_equal(make_many(&set, 0, 10 * TERM), 0);
    assert_int_equal(size_of(&set), 0);
}

/* One sandbox wrote all that can be remembered; the others write little. */
static void a_greedy_one_is_forgotten(void **state)
{
    struct kaon_write_set set = { 0 };
    uint32_t faults;

    (void)state;
    make(&set, 10000);
    assert_int_equal(size_of(&set), KAON_WRITE_SET_MAX);
    assert_int_equal(make_many(&set, 16, TERM), 0);
    assert_int_equal(size_of(&set), KAON_WRITE_SET_MAX);
    faults = make_many(&set, 16, KAON_WRITE_SET_MAX / 17 + 1);
    assert_int_equal(faults, 16); /* each of the 16 was left out once */
    assert_int_equal(size_of(&set), 16);
}

/* Each time for twice as long. */
static void what_all_write_costs_ever_fewer_faults(void **state)
{
    struct kaon_write_set set = { 0 };
    uint64_t made = 1;

    (void)state;
    assert_int_equal(make(&set, 1), 1);
    for (uint64_t term = TERM; term <= 64 * TERM; term *= 2) {
        assert_int_equal(make_many(&set, 1, term), 0);
        assert_int_equal(make(&set, 1), 1);
        made += term + 1;
    }
    assert_int_equal(set.made, made);
    assert_int_equal(set.count, 1);
}

static void no_sandbox_has_all_faults(void **state)
{
    struct kaon_write_set set = { 0 };

    (void)state;
    make(&set, 64);
    make_many(&set, 64, TERM);
    for (int i = 0; i < 22; i++) /* three each, one the last */
        assert_int_equal(make(&set, 64), i < 21 ? 3 : 1);
    assert_int_equal(make(&set, 64), 0);
}

/* What is written now and then is not given for longer and longer. */
static void a_page_that_is_missed_late_begins_anew(void **state)
{
    struct kaon_write_set set = { 0 };

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(make(&set, 1), 1);
        assert_int_equal(set.pages[0].term, TERM);
        make_many(&set, 0, TERM + 1); /* the last one lacks it */
        assert_int_equal(size_of(&set), 0);
        make_many(&set, 0, TERM - 1);
    }
    assert_int_equal(make(&set, 1), 1);
    make_many(&set, 0, TERM + 1);
    make_many(&set, 0, TERM - 2);
    assert_int_equal(make(&set, 1), 1); /* just in time */
    assert_int_equal(set.pages[0].term, 2 * TERM);
}

static void it_is_bounded_and_has_room_again(void **state)
{
    struct kaon_write_set set = { 0 };
    const uint64_t other = 1000 * PAGE;
    uint64_t given[KAON_WRITE_SET_MAX];

    (void)state;
    make(&set, 600);
    kaon__write_set_learn(&set, other);
    assert_int_equal(kaon__write_set_list(&set, given), KAON_WRITE_SET_MAX);
    assert_false(has(given, KAON_WRITE_SET_MAX, other));
    make_many(&set, 0, TERM + 1);
    assert_int_equal(size_of(&set), KAON_WRITE_SET_MAX - 17);
    kaon__write_set_learn(&set, other);
    assert_true(has(given, kaon__write_set_list(&set, given), other));
    assert_int_equal(size_of(&set), KAON_WRITE_SET_MAX - 16);
    assert_int_equal(set.count, KAON_WRITE_SET_MAX);
}

/* clang-format off */
TESTS(
    TEST(the_first_teaches_the_next),
    TEST(what_nobody_writes_is_forgotten),
    TEST(a_greedy_one_is_forgotten),
    TEST(what_all_write_costs_ever_fewer_faults),
    TEST(no_sandbox_has_all_faults),
    TEST(a_page_that_is_missed_late_begins_anew),
    TEST(it_is_bounded_and_has_room_again),
)

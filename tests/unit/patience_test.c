/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for another CPU learns when to look. */
#include "host/patience.h"
#include "support/harness.h"

/* An answer takes so many beats; who looks in vain does so every `look`. */
static void answer_after(struct kaon_patience *patience, uint32_t beats,
                         uint32_t look)
{
    uint32_t looks = 0;

    while (patience->beats + looks * look < beats)
        looks++;
    kaon__patience_learn(patience, looks);
}

static void answers_after(struct kaon_patience *patience, uint32_t beats,
                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        answer_after(patience, beats, 10);
}

static void the_first_look_comes_when_the_answer_does(void **state)
{
    struct kaon_patience patience = { 0 };

    (void)state;
    answers_after(&patience, 40, 200);
    assert_in_range(patience.beats, 39, 40);
    answers_after(&patience, 60, 200);
    assert_in_range(patience.beats, 59, 60);
    answers_after(&patience, 20, 60 * KAON_PATIENCE_TERM);
    assert_in_range(patience.beats, 19, 20);
}

static void few_looks_are_in_vain(void **state)
{
    struct kaon_patience patience = { 0 };
    uint32_t early = 0;

    (void)state;
    answers_after(&patience, 40, 200);
    for (uint32_t i = 0; i < 100 * KAON_PATIENCE_TERM; i++) {
        early += patience.beats < 40;
        answer_after(&patience, 40, 10);
    }
    assert_in_range(early, 90, 100);
}

static void slow_answers_teach_nothing(void **state)
{
    struct kaon_patience patience = { 0 };

    (void)state;
    answers_after(&patience, 40, 200);
    answers_after(&patience, 100000, 200);
    assert_in_range(patience.beats, 39, 40);
}

static void it_ends_somewhere(void **state)
{
    struct kaon_patience patience = { 0 };

    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        kaon__patience_learn(&patience, 1);
    assert_int_equal(patience.beats, KAON_PATIENCE_MAX);
    kaon__patience_wait(&patience);
}

/* clang-format off */
TESTS(
    TEST(the_first_look_comes_when_the_answer_does),
    TEST(few_looks_are_in_vain),
    TEST(slow_answers_teach_nothing),
    TEST(it_ends_somewhere),
)

/* SPDX-License-Identifier: Apache-2.0 */
/* Options of callers older and newer than the library. */
#include "host/options.h"
#include "support/harness.h"

#include <stdint.h>
#include <string.h>

struct now {
    size_t size;
    uint64_t first, second;
};

struct before {
    size_t size;
    uint64_t first;
};

struct later {
    size_t size;
    uint64_t first, second, third;
};

static enum kaon_status adopt(struct now *mine, const void *theirs,
                              struct kaon_error *err)
{
    memset(mine, 0xa5, sizeof *mine);
    *err = (struct kaon_error){ 0 };
    return kaon__options_adopt(mine, sizeof *mine, theirs, "test options", err);
}

static void no_options_are_all_defaults(void **state)
{
    struct kaon_error err;
    struct now mine;

    (void)state;
    assert_int_equal(adopt(&mine, NULL, &err), KAON_OK);
    assert_int_equal(mine.size, sizeof mine);
    assert_int_equal(mine.first | mine.second, 0);
}

static void todays_options_are_copied(void **state)
{
    const struct now theirs = { sizeof theirs, 1, 2 };
    struct kaon_error err;
    struct now mine;

    (void)state;
    assert_int_equal(adopt(&mine, &theirs, &err), KAON_OK);
    assert_memory_equal(&mine, &theirs, sizeof mine);
}

static void an_older_callers_options_are_padded_with_defaults(void **state)
{
    const struct before theirs = { sizeof theirs, 1 };
    struct kaon_error err;
    struct now mine;

    (void)state;
    assert_int_equal(adopt(&mine, &theirs, &err), KAON_OK);
    assert_int_equal(mine.size, sizeof mine);
    assert_int_equal(mine.first, 1);
    assert_int_equal(mine.second, 0);
}

static void a_newer_callers_defaults_are_fine(void **state)
{
    const struct later theirs = { sizeof theirs, 1, 2, 0 };
    struct kaon_error err;
    struct now mine;

    (void)state;
    assert_int_equal(adopt(&mine, &theirs, &err), KAON_OK);
    assert_int_equal(mine.size, sizeof mine);
    assert_int_equal(mine.second, 2);
}

static void a_newer_option_is_refused_by_name(void **state)
{
    const struct later theirs = { sizeof theirs, 1, 2, UINT64_C(1) << 63 };
    struct kaon_error err;
    struct now mine;

    (void)state;
    assert_int_equal(adopt(&mine, &theirs, &err), KAON_EINVAL);
    assert_non_null(strstr(err.text, "test options"));
    assert_non_null(strstr(err.text, "update the library"));
}

static void a_size_that_cannot_be_is_refused(void **state)
{
    static const size_t sizes[] = { 0, 1, 7, 65537, SIZE_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct now theirs = { .size = sizes[i] };
        struct kaon_error err;
        struct now mine;

        assert_int_equal(adopt(&mine, &theirs, &err), KAON_EINVAL);
        assert_non_null(strstr(err.text, "test options.size is"));
    }
}

/* clang-format off */
TESTS(
    TEST(no_options_are_all_defaults),
    TEST(todays_options_are_copied),
    TEST(an_older_callers_options_are_padded_with_defaults),
    TEST(a_newer_callers_defaults_are_fine),
    TEST(a_newer_option_is_refused_by_name),
    TEST(a_size_that_cannot_be_is_refused),
)

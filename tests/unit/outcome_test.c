/* SPDX-License-Identifier: Apache-2.0 */
/* Names of outcomes, faults and statuses, and the sentences about them. */
#include "host/outcome.h"

#include "host/error.h"
#include "support/harness.h"

#include <errno.h>
#include <string.h>
#include <kaon.h>

static void outcomes_have_names(void **state)
{
    (void)state;
    assert_string_equal(kaon_outcome_name(KAON_RETURNED), "RETURNED");
    assert_string_equal(kaon_outcome_name(KAON_GUEST_ERROR), "GUEST_ERROR");
    assert_string_equal(kaon_outcome_name(KAON_GUEST_REFUSED), "GUEST_REFUSED");
    assert_string_equal(kaon_outcome_name(KAON_ABORT), "ABORT");
    assert_string_equal(kaon_outcome_name(KAON_FAULT), "FAULT");
    assert_string_equal(kaon_outcome_name(KAON_STACK_OVERFLOW),
                        "STACK_OVERFLOW");
    assert_string_equal(kaon_outcome_name(KAON_PROTOCOL), "PROTOCOL");
    assert_string_equal(kaon_outcome_name(KAON_CANCELLED), "CANCELLED");
    assert_string_equal(kaon_outcome_name(KAON_DEADLINE), "DEADLINE");
    assert_string_equal(kaon_outcome_name(KAON_OUT_OF_MEMORY), "OUT_OF_MEMORY");
    assert_string_equal(kaon_outcome_name((enum kaon_outcome_kind)99), "?");
}

static void faults_have_names_of_their_own(void **state)
{
    (void)state;
    for (int i = 0; i <= KAON_FAULT_MACHINE; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(kaon_fault_name((enum kaon_fault_kind)i),
                                    kaon_fault_name((enum kaon_fault_kind)k));
    assert_string_equal(kaon_fault_name(KAON_FAULT_PAGE), "page fault");
    assert_string_equal(kaon_fault_name((enum kaon_fault_kind)99), "fault");
}

static void statuses_have_names_of_their_own(void **state)
{
    (void)state;
    assert_string_equal(kaon_status_name(KAON_OK), "KAON_OK");
    assert_string_equal(kaon_status_name(KAON_EBACKEND), "KAON_EBACKEND");
    for (int i = KAON_EBACKEND; i <= KAON_OK; i++)
        for (int k = i + 1; k <= KAON_OK; k++)
            assert_string_not_equal(kaon_status_name((enum kaon_status)i),
                                    kaon_status_name((enum kaon_status)k));
    assert_string_equal(kaon_status_name((enum kaon_status)1), "KAON_E?");
    assert_string_equal(kaon_version(), KAON_VERSION);
}

static enum kaon_access access_of(uint32_t vector, uint32_t error_code)
{
    return kaon__exit_access(&(struct kaon_exit){
        .kind = KAON_EXIT_FAULT, .vector = vector, .error_code = error_code });
}

static void a_page_faults_error_code_tells_the_access(void **state)
{
    const struct kaon_exit stopped = { .kind = KAON_EXIT_STOPPED,
                                       .vector = 14,
                                       .error_code = 2 };

    (void)state;
    assert_int_equal(access_of(14, 4), KAON_ACCESS_READ);
    assert_int_equal(access_of(14, 5), KAON_ACCESS_READ);
    assert_int_equal(access_of(14, 6), KAON_ACCESS_WRITE);
    assert_int_equal(access_of(14, 7), KAON_ACCESS_WRITE);
    assert_int_equal(access_of(14, 0x14), KAON_ACCESS_EXECUTE);
    assert_int_equal(access_of(14, 0x15), KAON_ACCESS_EXECUTE);
    assert_int_equal(access_of(13, 6), KAON_ACCESS_NONE);
    assert_int_equal(kaon__exit_access(&stopped), KAON_ACCESS_NONE);
}

static void what_a_guest_says_is_cut_and_ended(void **state)
{
    struct kaon_outcome out;
    char text[2 * KAON_OUTCOME_TEXT];

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t size = 0; size <= sizeof text; size += 73) {
        size_t kept = size < KAON_OUTCOME_TEXT ? size : KAON_OUTCOME_TEXT - 1;

        memset(&out, 0xa5, sizeof out);
        kaon__outcome_quote(&out, KAON_ABORT, 7, text, size);
        assert_int_equal(out.kind, KAON_ABORT);
        assert_int_equal(out.code, 7);
        assert_int_equal(strlen(out.text), kept);
    }
    kaon__outcome_quote(&out, KAON_GUEST_ERROR, 0, NULL, 0);
    assert_string_equal(out.text, "");
}

static void a_sentence_is_cut_and_ended(void **state)
{
    struct kaon_outcome out;
    struct kaon_error err;
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    kaon__outcome_say(&out, KAON_PROTOCOL, "%s", text);
    assert_int_equal(out.kind, KAON_PROTOCOL);
    assert_int_equal(out.code, 0);
    assert_int_equal(strlen(out.text), KAON_OUTCOME_TEXT - 1);
    assert_int_equal(kaon__fail(&err, KAON_EIO, "%s", text), KAON_EIO);
    assert_int_equal(strlen(err.text), KAON_ERROR_TEXT - 1);
}

static void a_failure_keeps_errno_if_the_system_failed(void **state)
{
    struct kaon_error err;

    (void)state;
    errno = ENOSPC;
    assert_int_equal(kaon__fail_errno(&err, KAON_EIO, "disk %d", 1), KAON_EIO);
    assert_int_equal(err.status, KAON_EIO);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_int_equal(errno, ENOSPC);
    assert_string_equal(err.text, "disk 1");
    kaon__fail(&err, KAON_EINVAL, "no");
    assert_int_equal(err.sys_errno, 0);
    assert_int_equal(kaon__fail(NULL, KAON_EINVAL, "no"), KAON_EINVAL);
    assert_int_equal(kaon__fail_errno(NULL, KAON_EIO, "no"), KAON_EIO);
}

/* clang-format off */
TESTS(
    TEST(outcomes_have_names),
    TEST(faults_have_names_of_their_own),
    TEST(statuses_have_names_of_their_own),
    TEST(a_page_faults_error_code_tells_the_access),
    TEST(what_a_guest_says_is_cut_and_ended),
    TEST(a_sentence_is_cut_and_ended),
    TEST(a_failure_keeps_errno_if_the_system_failed),
)

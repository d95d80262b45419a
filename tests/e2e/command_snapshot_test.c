/* SPDX-License-Identifier: Apache-2.0 */
/* kaon snapshot: guests go on where others were left. */
#include "command.h"
#include "support/directory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A directory, and the path of a layout in it that is not there yet. */
struct place {
    char root[PATH_SIZE], layout[PATH_SIZE + 8];
};

static void make(struct place *place)
{
    directory_make(place->root);
    snprintf(place->layout, sizeof place->layout, "%s/layout", place->root);
}

static void a_saved_guest_goes_on(void **state)
{
    struct place place;
    struct ran ran;

    (void)state;
    need_guests();
    make(&place);
    RUN(&ran, "snapshot", "save", harness_guest("memory"), place.layout,
        "write_page", "3", "77");
    assert_string_equal(ran.err, "");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "saved latest in ");
    for (int i = 0; i < 2; i++) {
        RUN(&ran, "snapshot", "run", place.layout, "read_page", "3");
        assert_string_equal(ran.err, "");
        assert_string_equal(ran.out, "77\n");
        assert_int_equal(ran.status, 0);
        RUN(&ran, "snapshot", "run", place.layout, "write_page", "3", "1");
        assert_int_equal(ran.status, 0);
    }
    RUN(&ran, "snapshot", "run", "--json", "--skip-digests", place.layout,
        "read_page", "4");
    assert_has(ran.out, "\"outcome\": \"RETURNED\"");
    assert_has(ran.out, "\"value\": 7");
    directory_remove(place.root);
}

static void several_have_names(void **state)
{
    struct place place;
    struct ran ran;

    (void)state;
    need_guests();
    make(&place);
    RUN(&ran, "snapshot", "save", "--name=one", harness_guest("memory"),
        place.layout, "write_page", "3", "1");
    RUN(&ran, "snapshot", "save", "--name=two", "--json",
        harness_guest("memory"), place.layout, "write_page", "3", "2");
    assert_has(ran.out, "{\"status\": \"KAON_OK\", \"name\": \"two\", ");
    RUN(&ran, "snapshot", "run", "--name", "one", place.layout, "read_page",
        "3");
    assert_string_equal(ran.out, "1\n");
    RUN(&ran, "snapshot", "run", "--name", "two", place.layout, "read_page",
        "3");
    assert_string_equal(ran.out, "2\n");
    RUN(&ran, "snapshot", "run", place.layout, "read_page", "3");
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "2 snapshots and none is named latest");
    RUN(&ran, "snapshot", "save", "--name=two", harness_guest("memory"),
        place.layout);
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "kaon snapshot save: cannot save a snapshot to ");
    assert_has(ran.err, "it has a snapshot named two");
    RUN(&ran, "snapshot", "save", "--name=two", "--replace",
        harness_guest("memory"), place.layout);
    assert_int_equal(ran.status, 0);
    RUN(&ran, "snapshot", "run", "--name", "two", place.layout, "read_page",
        "3");
    assert_string_equal(ran.out, "7\n");
    directory_remove(place.root);
}

static void inspect_shows_what_is_saved(void **state)
{
    struct place place;
    struct ran ran;

    (void)state;
    need_guests();
    make(&place);
    RUN(&ran, "snapshot", "save", "--heap=1M", harness_guest("command"),
        place.layout);
    assert_int_equal(ran.status, 0);
    RUN(&ran, "snapshot", "inspect", place.layout);
    assert_string_equal(ran.err, "");
    assert_has(ran.out, "snapshots:\n  latest\nguest: command.elf\npages: ");
    assert_has(ran.out, "\nheap: 1048576 bytes\n");
    assert_has(ran.out, "  can_allocate(u64) -> bool\n");
    assert_has(ran.out, "imports:\n  HostPrint(string) -> i32\n");
    RUN(&ran, "snapshot", "inspect", "--json", place.layout);
    assert_has(ran.out, "{\"snapshots\": [\"latest\"], \"guest\": "
                        "\"command.elf\", \"pages\": ");
    assert_has(ran.out, "\"heap\": 1048576, ");
    directory_remove(place.root);
}

static void nothing_is_saved_of_a_guest_that_failed(void **state)
{
    static const struct {
        const char *guest, *function, *one, *two;
        int status;
    } rows[] = {
        { "command", "fail", "7", "no", 3 },
        { "command", "give_up", "7", "no", 4 },
        { "command", "recurse", "0", NULL, 5 },
        { "command", "write_constant", NULL, NULL, 5 },
        { "command", "nothing", NULL, NULL, 2 },
        { "init_fails", NULL, NULL, NULL, 4 },
    };
    struct place place;
    struct ran ran;

    (void)state;
    need_guests();
    make(&place);
    for (size_t i = 0; i < COUNT(rows); i++) {
        RUN(&ran, "snapshot", "save", harness_guest(rows[i].guest),
            place.layout, rows[i].function, rows[i].one, rows[i].two);
        if (ran.status != rows[i].status)
            fail_msg("row %zu: %d %s", i, ran.status, ran.err);
        assert_has(ran.err, "kaon snapshot save: ");
        assert_string_equal(ran.out, "");
        assert_int_equal(directory_count(place.root), 0);
    }
    directory_remove(place.root);
}

static void what_is_no_snapshot_is_refused(void **state)
{
    struct place place;
    struct ran ran;

    (void)state;
    make(&place);
    RUN(&ran, "snapshot", "inspect", place.layout);
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "kaon snapshot inspect: cannot open the snapshot in ");
    RUN(&ran, "snapshot", "run", place.root, "f");
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "blobs is missing");
    RUN(&ran, "snapshot", "run", "--json", place.root, "f");
    assert_has(ran.out, "{\"status\": \"KAON_ESNAPSHOT\", \"text\": \"");
    directory_remove(place.root);
}

TESTS(TEST_ROW(14, a_saved_guest_goes_on), TEST(several_have_names),
      TEST(inspect_shows_what_is_saved),
      TEST(nothing_is_saved_of_a_guest_that_failed),
      TEST_ROW(14, what_is_no_snapshot_is_refused), )

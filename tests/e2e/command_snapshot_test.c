/* SPDX-License-Identifier: Apache-2.0 */
/* kaon snapshot: guests go on where others were left. */
#include "command.h"
#include "e2e/e2e.h"
#include "support/directory.h"

#include <stdio.h>
#include <stdlib.h>
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

/* ---- With mappings ------------------------------------------------------ */

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* A guest with a file that it wrote its copy of, and a buffer, which the
 * command line cannot map. Returns where the file is. */
static uint64_t save_mapped(const struct place *place, const char *file,
                            bool buffer)
{
    struct kaon_sandbox *sandbox =
        e2e_sandbox("map", KAON_SANDBOX_OPTS(.isolation = KAON_ISOLATION_BEST));
    struct kaon_region *regions[2] = { NULL };
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    uint64_t at = 0, other;

    write_text(file, "abc");
    ASSERT_OK(kaon_region_open(&regions[0], file, 0, 0, &err));
    ASSERT_OK(kaon_region_create(&regions[1], 4096, &err));
    ASSERT_OK(kaon_sandbox_map(
        sandbox, &at, regions[0],
        KAON_MAP_OPTS(.name = "words", .mode = KAON_MAP_COPY), &err));
    ASSERT_OK(kaon_call(sandbox, &out, "write_byte",
                        KAON_ARGS(kaon_u64(at + 1), kaon_u32('x')), NULL,
                        &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    if (buffer)
        ASSERT_OK(kaon_sandbox_map(sandbox, &other, regions[1],
                                   KAON_MAP_OPTS(.name = "ring"), &err));
    snapshot = e2e_take(sandbox);
    ASSERT_OK(kaon_snapshot_save(snapshot, place->layout,
                                 KAON_SAVE_OPTS(.replace = 1), &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(regions[0]);
    kaon_region_destroy(regions[1]);
    return at;
}

static void mappings_are_shown_and_given_files(void **state)
{
    struct place place;
    struct ran ran;
    char file[PATH_SIZE + 8], map[PATH_SIZE + 16], address[24];
    uint64_t at;

    (void)state;
    need_guests();
    make(&place);
    snprintf(file, sizeof file, "%s/file", place.root);
    snprintf(map, sizeof map, "words=%s", file);
    at = save_mapped(&place, file, false);
    snprintf(address, sizeof address, "%llu", (unsigned long long)at + 1);
    RUN(&ran, "snapshot", "inspect", place.layout);
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "mappings:\n  words: copy, a file of 3 bytes, at 0x");
    assert_has(ran.out, ", 1 pages written\n");
    RUN(&ran, "snapshot", "inspect", "--json", place.layout);
    assert_has(ran.out, "\"mappings\": [{\"name\": \"words\", \"mode\": "
                        "\"copy\", \"kind\": \"file\", \"size\": 3, "
                        "\"offset\": 0, \"address\": ");
    RUN(&ran, "snapshot", "run", "--map", map, place.layout, "read_byte",
        address);
    assert_string_equal(ran.err, "");
    assert_string_equal(ran.out, "120\n");
    RUN(&ran, "snapshot", "run", place.layout, "read_byte", address);
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "has a mapping \"words\", and was opened without");
    directory_remove(place.root);
}

/* Where the first mapping is, as printed: "... at 0x1600000\n". */
static void place_of(char out[24], const char *text)
{
    const char *at = strstr(text, ", at 0x");

    assert_non_null(at);
    snprintf(out, 24, "0x%llx", strtoull(at + 5, NULL, 16));
}

static void files_are_mapped_and_saved_without_their_content(void **state)
{
    struct place place;
    struct ran ran;
    char file[PATH_SIZE + 8], map[PATH_SIZE + 24], copy[PATH_SIZE + 16];
    char address[24];

    (void)state;
    need_guests();
    make(&place);
    snprintf(file, sizeof file, "%s/file", place.root);
    snprintf(map, sizeof map, "--map=words=%s", file);
    snprintf(copy, sizeof copy, "own=%s", file);
    write_text(file, "abc");
    RUN(&ran, "snapshot", "save", "--map-copy", copy, map, harness_guest("map"),
        place.layout);
    assert_string_equal(ran.err, "");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "saved latest in ");
    assert_has(ran.out, "pages\nmappings:\n"
                        "  words: read, a file of 3 bytes, at 0x");
    assert_has(ran.out, "\n  own: copy, a file of 3 bytes, at 0x");
    place_of(address, ran.out);
    write_text(file, "xyz"); /* it is what it is now */
    RUN(&ran, "snapshot", "run", "--map", copy, map, place.layout, "read_byte",
        address);
    assert_string_equal(ran.err, "");
    assert_string_equal(ran.out, "120\n");
    RUN(&ran, "snapshot", "run", map, place.layout, "read_byte", address);
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "has a mapping \"own\", and was opened without");
    RUN(&ran, "snapshot", "run", "--map", copy, map, place.layout, "write_byte",
        address, "1");
    assert_int_equal(ran.status, 5);
    directory_remove(place.root);
}

static void a_function_writes_to_copies_before_it_is_saved(void **state)
{
    struct place place;
    struct ran ran;
    char file[PATH_SIZE + 8], copy[PATH_SIZE + 16], address[24];

    (void)state;
    need_guests();
    make(&place);
    snprintf(file, sizeof file, "%s/file", place.root);
    snprintf(copy, sizeof copy, "own=%s", file);
    write_text(file, "abc");
    RUN(&ran, "snapshot", "save", "--map-copy", copy, harness_guest("map"),
        place.layout);
    place_of(address, ran.out);
    RUN(&ran, "snapshot", "save", "--replace", "--json", "--map-copy", copy,
        harness_guest("map"), place.layout, "write_byte", address, "120");
    assert_string_equal(ran.err, "");
    assert_has(ran.out,
               "\"mappings\": [{\"name\": \"own\", \"mode\": \"copy\", "
               "\"kind\": \"file\", \"size\": 3, \"offset\": 0, "
               "\"address\": ");
    assert_has(ran.out, "\"pages\": 1}]}\n");
    RUN(&ran, "snapshot", "run", "--map", copy, place.layout, "read_byte",
        address);
    assert_string_equal(ran.out, "120\n");
    directory_remove(place.root);
}

static void what_cannot_be_mapped_is_refused(void **state)
{
    static const struct {
        const char *option, *name, *words;
        int status;
    } rows[] = {
        { "--map", "words", "--map and --map-copy take NAME=FILE", 2 },
        { "--map-copy", "words", "--map and --map-copy take NAME=FILE", 2 },
        { "--map", "words=", "is named \"words\": choose another name", 1 },
        { "--map", "=", "\"\" is no name for a mapping", 1 },
        { "--map", "-=", "\"-\" is no name for a mapping", 1 },
        { "--map",
          "a23456789012345678901234567890123456789012345678901234567890123_=",
          "is no name for a mapping: it may have 63 letters", 1 },
        { "--map", "other=/nowhere", "cannot open /nowhere", 1 },
        { "--map", "other=/dev", "/dev", 1 },
    };
    struct place place;
    struct ran ran;
    char file[PATH_SIZE + 8], map[PATH_SIZE + 88], first[PATH_SIZE + 16];

    (void)state;
    need_guests();
    make(&place);
    snprintf(file, sizeof file, "%s/file", place.root);
    snprintf(first, sizeof first, "words=%s", file);
    write_text(file, "abc");
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t length = strlen(rows[i].name);
        bool whole = rows[i].name[length - 1] != '=';

        snprintf(map, sizeof map, "%s%s", rows[i].name, whole ? "" : file);
        RUN(&ran, "snapshot", "save", "--map", first, rows[i].option, map,
            harness_guest("map"), place.layout);
        if (ran.status != rows[i].status)
            fail_msg("row %zu: %d %s", i, ran.status, ran.err);
        assert_has(ran.err, rows[i].words);
        assert_int_equal(directory_count(place.root), 1);
    }
    directory_remove(place.root);
}

static void what_is_not_that_mapping_is_refused(void **state)
{
    static const struct {
        const char *name, *words;
        int status;
    } rows[] = {
        { "words", "--map takes NAME=FILE", 2 },
        { "word=", "it has no mapping named \"word\"", 1 },
        { "=", "it has no mapping named \"\"", 1 },
        { "ring=", "offset 0 and size 4096 are not within", 1 },
    };
    struct place place;
    struct ran ran;
    char file[PATH_SIZE + 8], map[PATH_SIZE + 32];

    (void)state;
    need_guests();
    make(&place);
    snprintf(file, sizeof file, "%s/file", place.root);
    save_mapped(&place, file, true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(map, sizeof map, "%s%s", rows[i].name, i ? file : "");
        RUN(&ran, "snapshot", "run", "--map", map, place.layout, "read_byte",
            "0");
        assert_int_equal(ran.status, rows[i].status);
        assert_has(ran.err, rows[i].words);
    }
    snprintf(map, sizeof map, "ring=%s", harness_guest("map"));
    RUN(&ran, "snapshot", "run", "--map", map, place.layout, "read_byte", "0");
    assert_has(ran.err, "is a file: what was mapped is a buffer");
    snprintf(map, sizeof map, "words=%s/none", place.root);
    RUN(&ran, "snapshot", "run", "--map", map, place.layout, "read_byte", "0");
    assert_has(ran.err, "cannot open ");
    write_text(file, "a");
    snprintf(map, sizeof map, "words=%s", file);
    RUN(&ran, "snapshot", "run", "--map", map, place.layout, "read_byte", "0");
    assert_has(ran.err, "has 1 bytes: offset 0 and size 3 are not within");
    directory_remove(place.root);
}

/* ---- Refused ------------------------------------------------------------ */

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
      TEST(mappings_are_shown_and_given_files),
      TEST(files_are_mapped_and_saved_without_their_content),
      TEST(a_function_writes_to_copies_before_it_is_saved),
      TEST(what_cannot_be_mapped_is_refused),
      TEST(what_is_not_that_mapping_is_refused),
      TEST(nothing_is_saved_of_a_guest_that_failed),
      TEST_ROW(14, what_is_no_snapshot_is_refused), )

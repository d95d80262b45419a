/* SPDX-License-Identifier: Apache-2.0 */
/* The command line tool, as a user sees it: words in; text and status out. */
#include "command.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/isolation.h"

/* ---- Words ------------------------------------------------------------- */

static void without_words_kaon_says_what_to_type(void **state)
{
    struct ran ran;

    (void)state;
    run(&ran, (const char *const[]){ NULL });
    assert_int_equal(ran.status, 2);
    assert_string_equal(ran.out, "");
    assert_has(ran.err, "run, inspect, snapshot, doctor, bench");
}

static void the_version_is_told(void **state)
{
    struct ran ran;

    (void)state;
    RUN(&ran, "--version");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "kaon 0.");
}

static void each_subcommand_explains_itself(void **state)
{
    static const char *const names[] = { "run", "inspect", "snapshot", "doctor",
                                         "bench" };
    struct ran all, one, other;

    (void)state;
    RUN(&all, "--help");
    assert_int_equal(all.status, 0);
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_has(all.out, names[i]);
        RUN(&one, names[i], "--help");
        assert_int_equal(one.status, 0);
        assert_has(one.out, "Usage: kaon ");
        assert_has(one.out, "--json");
        RUN(&other, "help", names[i]);
        assert_int_equal(other.status, 0);
        assert_string_equal(one.out, other.out);
    }
}

static void what_is_misspelt_is_refused_with_the_nearest(void **state)
{
    static const struct {
        const char *words[4], *wanted;
    } rows[] = {
        { { "rum" }, "did you mean run?" },
        { { "help", "insepct" }, "did you mean inspect?" },
        { { "--versoin" }, "did you mean --version?" },
        { { "xyzzy" }, "there is no subcommand xyzzy: see kaon --help" },
        { { "run", "--jsn" }, "did you mean --json?" },
        { { "bench", "--only", "cal" }, "did you mean call?" },
        { { "inspect", "--xyzzy" }, "unknown option --xyzzy" },
        { { "run", "--heap" }, "--heap needs a value" },
        { { "run", "--heap=0" }, "--heap 0: it must be a size" },
        { { "run", "--heap", "1T" }, "it must be a size" },
        { { "run", "--heap", "99999999999G" }, "it must be a size" },
        { { "run", "--deadline", "500" }, "it must be a time" },
        { { "run", "--json=yes" }, "takes no value" },
        { { "run" }, "name a guest" },
        { { "inspect" }, "name one guest" },
        { { "snapshot" }, "name a subcommand: save, run or inspect" },
        { { "snapshot", "inpsect" }, "did you mean inspect?" },
        { { "snapshot", "xyzzy" }, "it must be save, run or inspect" },
        { { "snapshot", "save", "x" }, "name a guest and a directory" },
        { { "snapshot", "save", "--nam", "x" }, "did you mean --name?" },
        { { "snapshot", "run" }, "name a directory, a function" },
        { { "snapshot", "inspect" }, "name one directory" },
        { { "doctor", "please" }, "no operands" },
        { { "bench", "--backend", "magic" }, "no backend magic" },
    };
    struct ran ran;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        run(&ran, rows[i].words);
        assert_has(ran.err, rows[i].wanted);
        assert_int_equal(ran.status, 2);
        assert_string_equal(ran.out, "");
    }
}

static void a_full_disk_is_a_failure(void **state)
{
    const char *const words[] = { "--help", NULL };
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), err = file();
    char text[512];

    (void)state;
    if (full < 0)
        harness_skip("no /dev/full");
    assert_int_equal(run_into(words, full, err), 1);
    close(full);
    take(err, text, sizeof text);
    assert_has(text, "cannot write");
}

/* ---- inspect and doctor ------------------------------------------------ */

static void inspect_shows_what_the_guest_says_of_itself(void **state)
{
    struct ran ran;

    (void)state;
    RUN(&ran, "inspect", harness_guest("echo"));
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "add(i32, i32) -> i32\n");
    assert_has(ran.out, "nothing() -> void\n");
    assert_has(ran.out, "imports:\n  none\n");
    assert_has(ran.out, "r-x");
    assert_has(ran.out, "dynamic: no\n");
    RUN(&ran, "inspect", "--names", harness_guest("hello"));
    assert_string_equal(ran.out, "hello\n");
    RUN(&ran, "inspect", harness_guest("hello"), "--json");
    assert_has(ran.out, "{\"name\": \"hello.elf\", \"exports\": [{\"name\": "
                        "\"hello\", \"signature\": \"hello() -> i32\", "
                        "\"parameters\": [], \"result\": \"i32\"}], "
                        "\"imports\": [{\"name\": \"HostPrint\", ");
    assert_has(ran.out, "\"executable\": true");
    assert_has(ran.out, "\"dynamic\": false");
}

static void what_is_no_guest_is_refused(void **state)
{
    struct ran ran;

    (void)state;
    RUN(&ran, "inspect", command());
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "kaon inspect: ");
    assert_string_equal(ran.out, "");
    RUN(&ran, "run", "/nowhere/at/all", "f");
    assert_int_equal(ran.status, 1);
    assert_has(ran.err, "/nowhere/at/all");
    RUN(&ran, "run", "--json", "/", "f");
    assert_int_equal(ran.status, 1);
    assert_has(ran.out, "{\"status\": \"KAON_EIO\", \"text\": \"");
}

static void the_doctor_knows_whether_guests_run(void **state)
{
    const char *why;
    bool have = harness_have_kvm(&why);
    struct ran ran;

    (void)state;
    need_processes();
    RUN(&ran, "doctor", "--isolation", "vm");
    assert_int_equal(ran.status, have ? 0 : 1);
    assert_has(ran.out, have ? "\nGuests can run here, in VMs"
                             : "no guest can run in a VM: ");
    if (!have)
        assert_has(ran.out, "->");
    RUN(&ran, "doctor", "--json", "--isolation=vm");
    assert_has(ran.out, have ? "{\"ok\": true, \"vm\": true, "
                             : "{\"ok\": false, \"vm\": false, ");
}

/* ---- bench ------------------------------------------------------------- */

static void bench_measures_what_it_is_told_to(void **state)
{
    char path[] = "/tmp/kaon-command-XXXXXX", page[16384];
    struct ran ran;
    int fd;

    (void)state;
    need_guests();
    fd = mkstemp(path);
    assert_true(fd >= 0);
    RUN(&ran, "bench", "--quick", "--json", "--only", "call", "--only",
        "create_vm_first", "--only", "restore_call_16", "--html", path);
    take(fd, page, sizeof page);
    unlink(path);
    assert_string_equal(ran.err, "");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "{\"name\": \"call\", \"unit\": \"us\", \"floor\": ");
    assert_has(ran.out, isolation_is_process()
                            ? "\"target\": 1.25, \"better\": \"lower\""
                            : "\"target\": 1.05, \"better\": \"lower\"");
    assert_has(ran.out, "\n{\"name\": \"create_vm_first\", ");
    assert_has(ran.out, "\n{\"name\": \"restore_call_16\", ");
    assert_has_not(ran.out, "switch_1000");
    assert_has(page, "<h2>call</h2>");
    assert_has(page, "</svg>");
    assert_has(page, "</html>");
}

static void bench_measures_processes_against_a_bare_one(void **state)
{
    struct ran ran;

    (void)state;
    need_processes();
    RUN(&ran, "bench", "--backend", "process", "--quick", "--json", "--only",
        "spinning_call", "--only", "create_in_domain", "--only",
        "call_callback");
    assert_string_equal(ran.err, "");
    assert_int_equal(ran.status, 0);
    assert_has(ran.out, "{\"name\": \"spinning_call\", \"");
    assert_has(ran.out, "\n{\"name\": \"create_in_domain\", \"unit\": \"us\", "
                        "\"floor\": ");
    RUN(&ran, "bench", "--only", "spinning_calls");
    assert_int_equal(ran.status, 2);
}

/* clang-format off */
TESTS(
    TEST(without_words_kaon_says_what_to_type),
    TEST(the_version_is_told),
    TEST(each_subcommand_explains_itself),
    TEST(what_is_misspelt_is_refused_with_the_nearest),
    TEST(a_full_disk_is_a_failure),
    TEST(inspect_shows_what_the_guest_says_of_itself),
    TEST_ROW(28, what_is_no_guest_is_refused),
    TEST_ROW(27, the_doctor_knows_whether_guests_run),
    TEST_LIMIT(120, bench_measures_what_it_is_told_to),
    TEST_LIMIT(120, bench_measures_processes_against_a_bare_one),
)

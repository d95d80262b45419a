/* SPDX-License-Identifier: Apache-2.0 */
/* State that is saved, and gone on from: by others, elsewhere, later. */
#include "e2e/e2e.h"
#include "support/directory.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_page(struct kaon_sandbox *sandbox, uint32_t page,
                       uint64_t value)
{
    e2e_ask(sandbox, "write_page", KAON_ARGS(kaon_u32(page), kaon_u64(value)));
}

static uint64_t read_page(struct kaon_sandbox *sandbox, uint32_t page)
{
    return e2e_ask(sandbox, "read_page", KAON_ARGS(kaon_u32(page)));
}

static struct kaon_snapshot *open_it(const char *path,
                                     const struct kaon_open_opts *opts)
{
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_snapshot_open(&snapshot, path, opts, &err));
    return snapshot;
}

/* A layout with a guest of which page n holds 100 + n, up to 40. */
struct saved {
    char root[PATH_SIZE], path[PATH_SIZE + 8];
};

static void save(struct saved *saved)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("memory", NULL);
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot;

    directory_make(saved->root);
    snprintf(saved->path, sizeof saved->path, "%s/layout", saved->root);
    for (uint32_t page = 0; page < 40; page++)
        write_page(sandbox, page, 100 + page);
    snapshot = e2e_take(sandbox);
    ASSERT_OK(kaon_snapshot_save(snapshot, saved->path, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
}

static void assert_as_saved(struct kaon_sandbox *sandbox)
{
    for (uint32_t page = 0; page < 60; page++)
        assert_int_equal(read_page(sandbox, page), page < 40 ? 100 + page : 7);
}

/* ---- Going on ----------------------------------------------------------- */

static void a_saved_snapshot_goes_on(void **state)
{
    struct kaon_sandbox *first, *second;
    struct kaon_snapshot *opened;
    struct saved saved;

    (void)state;
    save(&saved);
    opened = open_it(saved.path, NULL);
    assert_string_equal(kaon_image_name(kaon_snapshot_image(opened)),
                        "memory.elf");
    first = e2e_create_from(opened, NULL);
    second = e2e_create_from(opened, NULL);
    assert_as_saved(first);
    for (int i = 0; i < 3; i++) {
        for (uint32_t page = 0; page < 60; page += 3)
            write_page(first, page, 1);
        assert_as_saved(second);
        e2e_restore(first, opened);
        assert_as_saved(first);
    }
    kaon_sandbox_destroy(first);
    kaon_snapshot_destroy(opened);
    directory_remove(saved.root);
    assert_as_saved(second); /* the files live as long as they are open */
    kaon_sandbox_destroy(second);
}

static int go_on_there(void *user)
{
    const struct saved *saved = user;
    struct kaon_snapshot *opened = NULL;
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    CHILD_CHECK(!kaon_snapshot_open(&opened, saved->path, NULL, &err));
    CHILD_CHECK(!kaon_sandbox_create_from(&sandbox, opened, NULL, &err));
    for (uint32_t page = 0; page < 60; page++) {
        CHILD_CHECK(!kaon_call(sandbox, &out, "read_page",
                               KAON_ARGS(kaon_u32(page)), NULL, &err));
        CHILD_CHECK(out.kind == KAON_RETURNED);
        CHILD_CHECK(out.value.u64 == (page < 40 ? 100 + page : 7));
    }
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(opened);
    return 0;
}

static void another_process_goes_on(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    e2e_in_child(go_on_there, &saved, 30);
    directory_remove(saved.root);
}

static void sandboxes_of_the_image_can_be_restored(void **state)
{
    struct kaon_image *image = e2e_image("memory");
    struct kaon_image *other = e2e_image("basics");
    struct kaon_snapshot *opened, *refused = NULL;
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };
    struct saved saved;

    (void)state;
    save(&saved);
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    write_page(sandbox, 50, 1);
    opened = open_it(saved.path, NULL);
    ASSERT_REFUSED(KAON_EINVAL, "another image",
                   kaon_sandbox_restore(sandbox, opened, &err));
    kaon_snapshot_destroy(opened);
    ASSERT_REFUSED(KAON_EINVAL, "another ELF file than the image basics.elf",
                   kaon_snapshot_open(&refused, saved.path,
                                      KAON_OPEN_OPTS(.image = other), &err));
    assert_int_equal(read_page(sandbox, 50), 1);
    opened = open_it(saved.path, KAON_OPEN_OPTS(.image = image));
    e2e_restore(sandbox, opened);
    assert_as_saved(sandbox);
    kaon_snapshot_destroy(opened);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(other);
    kaon_image_destroy(image);
    directory_remove(saved.root);
}

static void host_functions_are_asked_for_by_name(void **state)
{
    struct kaon_host_functions *functions = e2e_functions();
    struct kaon_sandbox *origin = e2e_basics(), *made = NULL;
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot;
    char root[PATH_SIZE];

    (void)state;
    directory_make(root);
    ASSERT_RETURNS(1, origin, "count", KAON_NO_ARGS);
    snapshot = e2e_take(origin);
    ASSERT_OK(kaon_snapshot_save(snapshot, root, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(origin);
    snapshot = open_it(root, NULL);
    ASSERT_REFUSED(KAON_EIMPORT, "HostAdd",
                   kaon_sandbox_create_from(&made, snapshot, NULL, &err));
    ASSERT_OK(kaon_sandbox_create_from(
        &made, snapshot, KAON_SANDBOX_OPTS(.host_functions = functions), &err));
    ASSERT_RETURNS(2, made, "count", KAON_NO_ARGS);
    ASSERT_RETURNS(123, made, "init_order", KAON_NO_ARGS);
    kaon_sandbox_destroy(made);
    kaon_host_functions_destroy(functions);
    kaon_snapshot_destroy(snapshot);
    directory_remove(root);
}

static void the_write_set_is_saved_with_it(void **state)
{
    struct kaon_sandbox *sandbox;
    struct kaon_snapshot_stats stats;
    struct kaon_snapshot *opened;
    struct kaon_sandbox_stats did;
    struct kaon_error err = { 0 };
    struct saved saved;

    (void)state;
    save(&saved);
    opened = open_it(saved.path, NULL);
    sandbox = e2e_create_from(opened, NULL);
    for (uint32_t page = 0; page < 16; page++)
        write_page(sandbox, page, 1);
    kaon_sandbox_destroy(sandbox);
    ASSERT_OK(kaon_snapshot_save(opened, saved.path,
                                 KAON_SAVE_OPTS(.replace = 1), &err));
    kaon_snapshot_destroy(opened);
    opened = open_it(saved.path, NULL);
    assert_int_equal(kaon_snapshot_stats(opened, &stats), KAON_OK);
    if (!isolation_is_process())
        assert_true(stats.write_set >= 16);
    sandbox = e2e_create_from(opened, NULL);
    for (uint32_t page = 0; page < 16; page++)
        write_page(sandbox, page, 2);
    assert_int_equal(kaon_sandbox_stats(sandbox, &did), KAON_OK);
    assert_int_equal(did.page_faults, 0);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(opened);
    directory_remove(saved.root);
}

/* All of its few pages are there from the start, however it was opened. */
static void a_small_snapshot_costs_no_exit(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("echo", NULL);
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox_stats did;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char root[PATH_SIZE];

    (void)state;
    directory_make(root);
    ASSERT_OK(kaon_sandbox_init(sandbox, &out, NULL, &err));
    snapshot = e2e_take(sandbox);
    ASSERT_OK(kaon_snapshot_save(snapshot, root, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
    snapshot = open_it(root, NULL);
    sandbox = e2e_create_from(snapshot, NULL);
    ASSERT_RETURNS(7, sandbox, "add", KAON_ARGS(kaon_i32(3), kaon_i32(4)));
    assert_int_equal(kaon_sandbox_stats(sandbox, &did), KAON_OK);
    assert_int_equal(did.exits, 1);
    assert_int_equal(did.page_faults, 0);
    e2e_restore(sandbox, snapshot);
    ASSERT_RETURNS(7, sandbox, "add", KAON_ARGS(kaon_i32(3), kaon_i32(4)));
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    directory_remove(root);
}

/* Its image is copied by the first VM, and shared by all others. */
static void a_small_guest_goes_on_in_many_vms(void **state)
{
    struct kaon_sandbox *origin = e2e_sandbox("echo", NULL), *made[4];
    struct kaon_domain *domain = NULL;
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot;
    char root[PATH_SIZE];

    (void)state;
    directory_make(root);
    snapshot = e2e_take(origin);
    ASSERT_OK(kaon_snapshot_save(snapshot, root, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(origin);
    ASSERT_OK(kaon_domain_create(&domain, NULL, &err));
    for (unsigned in_domain = 0; in_domain < 4; in_domain++) {
        snapshot = open_it(root, NULL);
        for (unsigned i = 0; i < 4; i++)
            made[i] = e2e_create_from(snapshot, i == in_domain ? domain : NULL);
        kaon_snapshot_destroy(snapshot);
        for (unsigned i = 0; i < 4; i++) {
            ASSERT_RETURNS(7, made[i], "add",
                           KAON_ARGS(kaon_i32(3), kaon_i32(4)));
            kaon_sandbox_destroy(made[i]);
        }
    }
    kaon_domain_destroy(domain);
    directory_remove(root);
}

static uint64_t size_of_blobs;

static void add_size(const char *file, void *user)
{
    struct stat info;

    (void)user;
    assert_int_equal(stat(file, &info), 0);
    size_of_blobs += (uint64_t)info.st_size;
}

static void a_layered_snapshot_shares_its_pages_on_disk(void **state)
{
    struct kaon_snapshot *opened, *second;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct saved saved;
    uint64_t before;

    (void)state;
    save(&saved);
    size_of_blobs = 0;
    directory_each(saved.path, add_size, NULL);
    before = size_of_blobs;
    opened = open_it(saved.path, NULL);
    sandbox = e2e_create_from(opened, NULL);
    write_page(sandbox, 5, 1);
    second = e2e_take(sandbox);
    ASSERT_OK(kaon_snapshot_save(second, saved.path,
                                 KAON_SAVE_OPTS(.name = "second"), &err));
    size_of_blobs = 0;
    directory_each(saved.path, add_size, NULL);
    assert_in_range(size_of_blobs - before, 4096, 12 * 4096);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(second);
    kaon_snapshot_destroy(opened);

    second = open_it(saved.path, KAON_OPEN_OPTS(.name = "second"));
    sandbox = e2e_create_from(second, NULL);
    for (uint32_t page = 0; page < 40; page++)
        assert_int_equal(read_page(sandbox, page), page == 5 ? 1 : 100 + page);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(second);
    opened = open_it(saved.path, KAON_OPEN_OPTS(.name = "latest"));
    sandbox = e2e_create_from(opened, NULL);
    assert_as_saved(sandbox);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(opened);
    directory_remove(saved.root);
}

/* ---- What others do to the files ----------------------------------------- */

static void shrink(const char *file, void *user)
{
    (void)user;
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(truncate(file, 0), 0);
}

/* The guest may be told anything, and may fault: an outcome, never a status. */
static void use(struct kaon_sandbox *sandbox)
{
    for (uint32_t page = 0; page < 60; page += 7) {
        struct kaon_error err = { 0 };
        struct kaon_outcome out;
        enum kaon_status status =
            kaon_call(sandbox, &out, "write_page",
                      KAON_ARGS(kaon_u32(page), kaon_u64(1)), NULL, &err);

        if (!status)
            status = kaon_call(sandbox, &out, "read_page",
                               KAON_ARGS(kaon_u32(page + 1)), NULL, &err);
        if (status && status != KAON_EPOISONED)
            fail_msg("%s", err.text);
    }
}

static void files_that_shrink_while_open_harm_no_host(void **state)
{
    struct kaon_sandbox *early, *late;
    struct kaon_snapshot *opened, *taken;
    struct saved saved;

    (void)state;
    save(&saved);
    opened = open_it(saved.path, NULL);
    early = e2e_create_from(opened, NULL);
    assert_int_equal(read_page(early, 3), 103);
    write_page(early, 4, 1);
    directory_each(saved.path, shrink, NULL);
    use(early);
    e2e_restore(early, opened);
    use(early);
    late = e2e_create_from(opened, NULL);
    use(late);
    e2e_restore(late, opened);
    taken = e2e_take(late);
    kaon_snapshot_destroy(taken);
    kaon_sandbox_destroy(early);
    kaon_sandbox_destroy(late);
    kaon_snapshot_destroy(opened);
    directory_remove(saved.root);
}

static void scramble(const char *file, void *user)
{
    size_t size;
    char *bytes = file_read(file, &size);
    FILE *to;

    (void)user;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(bytes[i] + (char)(i * 7 + 1));
    assert_int_equal(chmod(file, 0600), 0);
    to = fopen(file, "r+be");
    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, size, to), size);
    fclose(to);
    free(bytes);
}

static void files_that_change_while_open_harm_no_host(void **state)
{
    struct kaon_snapshot *opened;
    struct kaon_sandbox *sandbox;
    struct saved saved;

    (void)state;
    save(&saved);
    opened = open_it(saved.path, NULL);
    directory_each(saved.path, scramble, NULL);
    sandbox = e2e_create_from(opened, NULL);
    use(sandbox);
    e2e_restore(sandbox, opened);
    use(sandbox);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(opened);
    directory_remove(saved.root);
}

/* With digests skipped every page is whatever somebody wrote there: the guest
 * is then a hostile one, as all are taken to be. */
static void scrambled_pages_are_a_hostile_guest(void **state)
{
    struct kaon_snapshot *opened;
    struct kaon_sandbox *sandbox;
    struct saved saved;
    char blobs[PATH_SIZE * 2];
    unsigned runs = 0;

    (void)state;
    save(&saved);
    opened = open_it(saved.path, NULL);
    kaon_snapshot_destroy(opened);
    snprintf(blobs, sizeof blobs, "%s/blobs", saved.path);
    directory_each(blobs, scramble, NULL);
    opened = NULL;
    /* Manifest and config are checked in any case. */
    assert_int_equal(kaon_snapshot_open(&opened, saved.path,
                                        KAON_OPEN_OPTS(.skip_digests = 1),
                                        NULL),
                     KAON_ESNAPSHOT);
    assert_null(opened);
    directory_remove(saved.root);

    for (unsigned round = 0; round < 3; round++) {
        struct kaon_error err = { 0 };

        save(&saved);
        opened = open_it(saved.path, NULL);
        sandbox = e2e_create_from(opened, NULL);
        directory_each(saved.path, scramble, NULL);
        if (!kaon_sandbox_restore(sandbox, opened, &err))
            runs++;
        use(sandbox);
        kaon_sandbox_destroy(sandbox);
        kaon_snapshot_destroy(opened);
        directory_remove(saved.root);
    }
    assert_int_equal(runs, 3);
}

/* ---- Full disks ---------------------------------------------------------- */

static int save_to_a_small_disk(void *user)
{
    const char *root = user;
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_image *image = NULL;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    char path[PATH_SIZE * 2];

    if (unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", root, "tmpfs", 0, "size=64k") != 0)
        return CHILD_SKIP;
    CHILD_CHECK(!kaon_image_open(&image, harness_guest("memory"), &err));
    CHILD_CHECK(!kaon_sandbox_create(&sandbox, image, NULL, &err));
    CHILD_CHECK(
        !kaon_call(sandbox, &out, "step_all", KAON_NO_ARGS, NULL, &err));
    CHILD_CHECK(!kaon_snapshot_take(&snapshot, sandbox, &err));
    snprintf(path, sizeof path, "%s/full", root);
    CHILD_CHECK(kaon_snapshot_save(snapshot, path, NULL, &err) == KAON_EIO);
    CHILD_CHECK(err.sys_errno == ENOSPC);
    CHILD_CHECK(strstr(err.text, "make room on that disk"));
    CHILD_CHECK(rmdir(path) != 0 && errno == ENOENT);
    /* Nothing is left: the same fits once there is room. */
    CHILD_CHECK(mount("none", root, "tmpfs", MS_REMOUNT, "size=8m") == 0);
    CHILD_CHECK(!kaon_snapshot_save(snapshot, path, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

static void a_full_disk_is_a_status(void **state)
{
    char root[PATH_SIZE];
    bool ran;

    (void)state;
    directory_make(root);
    ran = e2e_in_child(save_to_a_small_disk, root, 30);
    directory_remove(root);
    if (!ran)
        harness_skip("no permission to mount a small disk");
}

TESTS_NEED_KVM(TEST_ROW(14, a_saved_snapshot_goes_on),
               TEST_ROW(14, another_process_goes_on),
               TEST_ROW(12, sandboxes_of_the_image_can_be_restored),
               TEST(host_functions_are_asked_for_by_name),
               TEST(the_write_set_is_saved_with_it),
               TEST(a_small_snapshot_costs_no_exit),
               TEST(a_small_guest_goes_on_in_many_vms),
               TEST(a_layered_snapshot_shares_its_pages_on_disk),
               TEST_ROW(14, files_that_shrink_while_open_harm_no_host),
               TEST_ROW(14, files_that_change_while_open_harm_no_host),
               TEST_ROW(14, scrambled_pages_are_a_hostile_guest),
               TEST(a_full_disk_is_a_status), )

/* SPDX-License-Identifier: Apache-2.0 */
/* Saved snapshots of guests with mappings, and the regions that are given. */
#include "e2e/e2e.h"
#include "support/directory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)

/* A layout with a guest that has three mappings: a file to read, the same to
 * copy, of which it wrote page 1, and a buffer to write. */
struct saved {
    char root[PATH_SIZE], path[PATH_SIZE + 8], file[PATH_SIZE + 8];
    uint64_t at[3];
};

static const char *const names[] = { "words", "table", "ring" };

static void write_file(const struct saved *saved, int value)
{
    unsigned char bytes[3 * PAGE + 5];
    int fd = open(saved->file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    memset(bytes, value, sizeof bytes);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    close(fd);
}

/* The regions are the caller's to close. */
struct regions {
    struct kaon_named_region list[3];
};

static struct regions open_regions(const struct saved *saved, int value)
{
    struct regions regions = { .list = { { .name = NULL } } };
    struct kaon_error err = { 0 };

    for (int i = 0; i < 3; i++)
        regions.list[i] =
            (struct kaon_named_region){ .name = names[i],
                                        .mode = (enum kaon_map_mode)i };
    for (int i = 0; i < 2; i++)
        ASSERT_OK(
            kaon_region_open(&regions.list[i].region, saved->file, 0, 0, &err));
    ASSERT_OK(kaon_region_create(&regions.list[2].region, PAGE, &err));
    memset(kaon_region_data(regions.list[2].region), value, PAGE);
    return regions;
}

static void close_regions(const struct regions *regions)
{
    for (int i = 0; i < 3; i++)
        kaon_region_destroy(regions->list[i].region);
}

static uint32_t peek(struct kaon_sandbox *sandbox, uint64_t address)
{
    return (uint32_t)e2e_ask(sandbox, "read_byte",
                             KAON_ARGS(kaon_u64(address)));
}

static void poke(struct kaon_sandbox *sandbox, uint64_t address, uint32_t value)
{
    e2e_ask(sandbox, "write_byte",
            KAON_ARGS(kaon_u64(address), kaon_u32(value)));
}

static struct kaon_sandbox *make_sandbox(struct saved *saved,
                                         const struct regions *regions)
{
    struct kaon_sandbox *sandbox =
        e2e_sandbox("map", KAON_SANDBOX_OPTS(.map_bytes = 8 * MIB));
    struct kaon_error err = { 0 };

    for (int i = 0; i < 3; i++)
        ASSERT_OK(kaon_sandbox_map(
            sandbox, &saved->at[i], regions->list[i].region,
            KAON_MAP_OPTS(.mode = (enum kaon_map_mode)i, .name = names[i]),
            &err));
    return sandbox;
}

/* The file and the buffer are full of 1 and 2; the guest writes 50 and 60. */
static void save(struct saved *saved)
{
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;
    struct kaon_snapshot *snapshot;
    struct regions regions;

    directory_make(saved->root);
    snprintf(saved->path, sizeof saved->path, "%s/layout", saved->root);
    snprintf(saved->file, sizeof saved->file, "%s/file", saved->root);
    write_file(saved, 1);
    regions = open_regions(saved, 2);
    sandbox = make_sandbox(saved, &regions);
    poke(sandbox, saved->at[1] + PAGE, 50);
    poke(sandbox, saved->at[2], 60);
    snapshot = e2e_take(sandbox);
    ASSERT_OK(kaon_snapshot_save(snapshot, saved->path, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
    close_regions(&regions);
}

static struct kaon_snapshot *open_with(const struct saved *saved,
                                       const struct regions *regions,
                                       struct kaon_image *image)
{
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_snapshot_open(&snapshot, saved->path,
                                 KAON_OPEN_OPTS(.image = image,
                                                .regions = regions->list,
                                                .region_count = 3),
                                 &err));
    return snapshot;
}

/* What the guest wrote to its copy is there; all else is what the file and the
 * buffer have now. */
static void assert_as_saved(const struct saved *saved,
                            struct kaon_sandbox *sandbox, uint32_t in_file,
                            uint32_t in_buffer)
{
    assert_int_equal(peek(sandbox, saved->at[0]), in_file);
    assert_int_equal(peek(sandbox, saved->at[0] + 3 * PAGE + 4), in_file);
    assert_int_equal(peek(sandbox, saved->at[0] + 3 * PAGE + 5), 0);
    assert_int_equal(peek(sandbox, saved->at[1]), in_file);
    assert_int_equal(peek(sandbox, saved->at[1] + PAGE), 50);
    assert_int_equal(peek(sandbox, saved->at[1] + PAGE + 1), 1);
    assert_int_equal(peek(sandbox, saved->at[1] + 2 * PAGE), in_file);
    assert_int_equal(peek(sandbox, saved->at[2]), in_buffer);
}

/* ---- Going on ----------------------------------------------------------- */

static void a_saved_guest_goes_on_with_its_mappings(void **state)
{
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *a = NULL, *b = NULL;
    struct kaon_error err = { 0 };
    struct regions regions;
    struct saved saved;

    (void)state;
    save(&saved);
    write_file(&saved, 3);
    regions = open_regions(&saved, 4);
    snapshot = open_with(&saved, &regions, NULL);
    a = e2e_create_from(snapshot, NULL);
    b = e2e_create_from(snapshot, NULL);
    assert_as_saved(&saved, a, 3, 4);
    poke(a, saved.at[1] + PAGE, 51);
    poke(a, saved.at[1], 51);
    poke(a, saved.at[2], 61);
    assert_as_saved(&saved, b, 3, 61);
    assert_int_equal(*(unsigned char *)kaon_region_data(regions.list[2].region),
                     61);
    ASSERT_OK(kaon_sandbox_unmap(a, saved.at[0], &err));
    e2e_restore(a, snapshot);
    assert_as_saved(&saved, a, 3, 61);
    kaon_sandbox_destroy(a);
    kaon_sandbox_destroy(b);
    kaon_snapshot_destroy(snapshot);
    close_regions(&regions);
    directory_remove(saved.root);
}

/* Also one that has these mappings already, by other names. */
static void sandboxes_of_the_image_are_restored_to_it(void **state)
{
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_image *image = e2e_image("map");
    struct kaon_snapshot_mapping mapping;
    struct kaon_error err = { 0 };
    struct regions regions;
    struct saved saved;

    (void)state;
    save(&saved);
    regions = open_regions(&saved, 4);
    snapshot = open_with(&saved, &regions, image);
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    for (int i = 0; i < 3; i++) {
        uint64_t at;

        ASSERT_OK(
            kaon_sandbox_map(sandbox, &at, regions.list[i].region,
                             KAON_MAP_OPTS(.mode = (enum kaon_map_mode)i,
                                           .name = i == 1 ? "other" : NULL),
                             &err));
        assert_int_equal(at, saved.at[i]);
    }
    e2e_restore(sandbox, snapshot);
    assert_as_saved(&saved, sandbox, 1, 4);
    kaon_snapshot_destroy(snapshot);
    snapshot = e2e_take(sandbox);
    for (size_t i = 0; i < 3; i++) {
        assert_true(kaon_snapshot_mapping(snapshot, i, &mapping));
        assert_string_equal(mapping.name, names[i]);
        assert_int_equal(mapping.pages, i == 1);
    }
    ASSERT_OK(kaon_snapshot_save(snapshot, saved.path,
                                 KAON_SAVE_OPTS(.name = "again"), &err));
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    close_regions(&regions);
    directory_remove(saved.root);
}

static void a_pool_is_made_of_it(void **state)
{
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_pool *pool = NULL;
    struct kaon_error err = { 0 };
    struct regions regions;
    struct saved saved;

    (void)state;
    save(&saved);
    regions = open_regions(&saved, 4);
    snapshot = open_with(&saved, &regions, NULL);
    ASSERT_OK(
        kaon_pool_create_from(&pool, snapshot, KAON_POOL_OPTS(.max = 1), &err));
    kaon_snapshot_destroy(snapshot);
    close_regions(&regions);
    for (int i = 0; i < 4; i++) {
        sandbox = e2e_acquire(pool);
        assert_as_saved(&saved, sandbox, 1, 4);
        poke(sandbox, saved.at[1] + (unsigned)i * PAGE, 9);
        if (i % 2)
            ASSERT_OK(kaon_sandbox_unmap(sandbox, saved.at[i - 1], &err));
        assert_int_equal(kaon_pool_release(pool, sandbox), KAON_OK);
    }
    kaon_pool_destroy(pool);
    directory_remove(saved.root);
}

static int go_on_elsewhere(void *user)
{
    const struct saved *saved = user;
    struct kaon_named_region list[3] = { { .name = NULL } };
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;

    for (int i = 0; i < 3; i++)
        list[i] = (struct kaon_named_region){ .name = names[i],
                                              .mode = (enum kaon_map_mode)i };
    CHILD_CHECK(!kaon_region_open(&list[0].region, saved->file, 0, 0, NULL));
    list[1].region = kaon_region_hold(list[0].region);
    CHILD_CHECK(!kaon_region_create(&list[2].region, PAGE, NULL));
    CHILD_CHECK(!kaon_snapshot_open(
        &snapshot, saved->path,
        KAON_OPEN_OPTS(.regions = list, .region_count = 3), NULL));
    for (int i = 0; i < 3; i++)
        kaon_region_destroy(list[i].region);
    CHILD_CHECK(!kaon_sandbox_create_from(&sandbox, snapshot, NULL, NULL));
    CHILD_CHECK(!kaon_call(sandbox, &out, "read_byte",
                           KAON_ARGS(kaon_u64(saved->at[1] + PAGE)), NULL,
                           NULL));
    CHILD_CHECK(out.kind == KAON_RETURNED && out.value.u32 == 50);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    return 0;
}

static void another_process_gives_its_own_regions(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    e2e_in_child(go_on_elsewhere, &saved, 30);
    directory_remove(saved.root);
}

/* ---- Refused ----------------------------------------------------------- */

static void without_a_region_nothing_is_made_of_it(void **state)
{
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_sandbox *sandbox = NULL, *made = NULL;
    struct kaon_image *image = e2e_image("map");
    struct kaon_pool *pool = NULL;
    struct kaon_error err = { 0 };
    struct regions regions;
    struct saved saved;
    uint64_t at = 0;

    (void)state;
    save(&saved);
    regions = open_regions(&saved, 4);
    ASSERT_OK(kaon_snapshot_open(&snapshot, saved.path,
                                 KAON_OPEN_OPTS(.image = image,
                                                .regions = regions.list,
                                                .region_count = 2),
                                 &err));
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    ASSERT_OK(
        kaon_sandbox_map(sandbox, &at, regions.list[0].region, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "a mapping \"ring\", and was opened without",
                   kaon_sandbox_create_from(&made, snapshot, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "a mapping \"ring\", and was opened without",
                   kaon_pool_create_from(&pool, snapshot, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "a mapping \"ring\", and was opened without",
                   kaon_sandbox_restore(sandbox, snapshot, &err));
    /* It is as it was, and can be used. */
    assert_int_equal(peek(sandbox, at), 1);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    kaon_image_destroy(image);
    close_regions(&regions);
    directory_remove(saved.root);
}

static void names_are_good_and_differ(void **state)
{
    char name[KAON_MAP_NAME_MAX + 2] = "";
    const char *const bad[] = { "", ".", "-a", "a b", "a/b", "\x1b", name };
    struct kaon_sandbox *sandbox = e2e_sandbox("map", NULL);
    struct kaon_region *region = NULL;
    struct kaon_error err = { 0 };
    uint64_t at = 0, other = 0;

    (void)state;
    memset(name, 'x', sizeof name - 1);
    ASSERT_OK(kaon_region_create(&region, PAGE, &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ASSERT_REFUSED(KAON_EINVAL, "is no name for a mapping",
                       kaon_sandbox_map(sandbox, &at, region,
                                        KAON_MAP_OPTS(.name = bad[i]), &err));
    ASSERT_OK(kaon_sandbox_map(sandbox, &at, region,
                               KAON_MAP_OPTS(.name = name + 1), &err));
    ASSERT_REFUSED(KAON_EINVAL, "choose another name",
                   kaon_sandbox_map(sandbox, &other, region,
                                    KAON_MAP_OPTS(.name = name + 1), &err));
    ASSERT_OK(kaon_sandbox_map(sandbox, &other, region,
                               KAON_MAP_OPTS(.name = name + 2), &err));
    ASSERT_OK(kaon_sandbox_unmap(sandbox, at, &err));
    ASSERT_OK(kaon_sandbox_map(sandbox, &at, region,
                               KAON_MAP_OPTS(.name = name + 1), &err));
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(region);
}

static void what_has_no_name_cannot_be_saved(void **state)
{
    struct kaon_sandbox *sandbox = e2e_sandbox("map", NULL);
    struct kaon_region *region = NULL;
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot;
    char root[PATH_SIZE];
    uint64_t address = 0;

    (void)state;
    directory_make(root);
    ASSERT_OK(kaon_region_create(&region, PAGE, &err));
    ASSERT_OK(kaon_sandbox_map(sandbox, &address, region, NULL, &err));
    snapshot = e2e_take(sandbox);
    ASSERT_REFUSED(KAON_EINVAL, "unmap it before the snapshot is taken",
                   kaon_snapshot_save(snapshot, root, NULL, &err));
    assert_int_equal(directory_count(root), 0);
    kaon_snapshot_destroy(snapshot);
    ASSERT_OK(kaon_sandbox_unmap(sandbox, address, &err));
    snapshot = e2e_take(sandbox);
    ASSERT_OK(kaon_snapshot_save(snapshot, root, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    kaon_region_destroy(region);
    kaon_sandbox_destroy(sandbox);
    directory_remove(root);
}

/* Its sandboxes have the same window, unless they say otherwise. */
static void a_window_is_saved_with_it(void **state)
{
    struct kaon_sandbox *sandbox =
        e2e_sandbox("map", KAON_SANDBOX_OPTS(.map_bytes = 3072 * MIB));
    struct kaon_named_region region = { .name = "far" };
    struct kaon_snapshot *snapshot;
    struct kaon_error err = { 0 };
    char root[PATH_SIZE];
    uint64_t low = 0, far;

    (void)state;
    directory_make(root);
    ASSERT_OK(kaon_region_create(&region.region, PAGE, &err));
    memset(kaon_region_data(region.region), 7, PAGE);
    ASSERT_OK(kaon_sandbox_map(sandbox, &low, region.region, NULL, &err));
    ASSERT_OK(kaon_sandbox_unmap(sandbox, low, &err));
    ASSERT_OK(kaon_sandbox_map(
        sandbox, &far, region.region,
        KAON_MAP_OPTS(.address = low + 3000 * MIB, .name = "far"), &err));
    snapshot = e2e_take(sandbox);
    kaon_sandbox_destroy(sandbox);
    ASSERT_OK(kaon_snapshot_save(snapshot, root, NULL, &err));
    kaon_snapshot_destroy(snapshot);
    ASSERT_OK(kaon_snapshot_open(
        &snapshot, root, KAON_OPEN_OPTS(.regions = &region, .region_count = 1),
        &err));
    ASSERT_REFUSED(KAON_EINVAL, "raise map_bytes",
                   kaon_sandbox_create_from(&sandbox, snapshot,
                                            KAON_SANDBOX_OPTS(.map_bytes = MIB),
                                            &err));
    sandbox = e2e_create_from(snapshot, NULL);
    assert_int_equal(peek(sandbox, far), 7);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    kaon_region_destroy(region.region);
    directory_remove(root);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW(22, a_saved_guest_goes_on_with_its_mappings),
    TEST_ROW(12, sandboxes_of_the_image_are_restored_to_it),
    TEST_ROW(25, a_pool_is_made_of_it),
    TEST_ROW(22, another_process_gives_its_own_regions),
    TEST_ROW(14, without_a_region_nothing_is_made_of_it),
    TEST(names_are_good_and_differ),
    TEST(what_has_no_name_cannot_be_saved),
    TEST(a_window_is_saved_with_it),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots on disk: what is saved is what is opened, what is wrong is
 * refused, and whatever fails, nothing is left behind.
 */
#include "host/image.h"
#include "host/layer.h"
#include "host/snapshot.h"
#include "host/store.h"
#include "support/directory.h"
#include "support/elf_builder.h"
#include "support/fail_nth.h"
#include "support/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PAGE KAON_PAGE_SIZE

static struct kaon_error err;

static void assert_says(const char *words)
{
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in: %s", words, err.text);
}

static void good(enum kaon_status status)
{
    if (status)
        fail_msg("%s", err.text);
}

static struct kaon_image *make_image(void)
{
    struct elf_file *file = elf_build_sample();
    struct kaon_image *image = NULL;

    good(kaon_image_parse(&image, file->bytes, file->size, &err));
    free(file);
    return image;
}

#define LARGE (KAON_SMALL_PAGES + UINT64_C(1)) /* pages of a layer */

static void add_layer(struct kaon_snapshot *snapshot, uint64_t pages,
                      unsigned char value)
{
    struct kaon_layer *layer;

    good(kaon__layer_create(&layer, pages * PAGE, &err));
    for (uint64_t i = 0; i < pages; i++)
        memset(layer->memory + i * PAGE, value + (int)i, PAGE);
    good(kaon__layer_seal(layer, &err));
    snapshot->layers[snapshot->layer_count++] = layer;
}

/* One with two layers, three runs and a write set. Opened, the larger layer is
 * mapped, the other read. */
static struct kaon_snapshot *make_snapshot(struct kaon_image *image)
{
    struct kaon_snapshot *snapshot = kaon__snapshot_new(image);
    struct kaon_places at;

    assert_non_null(snapshot);
    snapshot->sizes = (struct kaon_sizes){ 16 * PAGE, 8 * PAGE, 3 * PAGE, 0 };
    at = kaon__memory_places(image, &snapshot->sizes);
    snapshot->pointers.fs_base = 0x1230;
    snapshot->pointers.gs_base = 0x4560;
    snapshot->generation = 41;
    add_layer(snapshot, LARGE, 10);
    add_layer(snapshot, 2, 20);
    snapshot->runs = calloc(3, sizeof *snapshot->runs);
    assert_non_null(snapshot->runs);
    snapshot->runs[0] = (struct kaon_run){ at.stack + PAGE, 1, PAGE, 0 };
    snapshot->runs[1] = (struct kaon_run){ at.heap, 2, 0, 1 };
    snapshot->runs[2] = (struct kaon_run){ at.heap + 2 * PAGE, 1, 0, 0 };
    snapshot->run_count = 3;
    kaon__snapshot_learn(snapshot, at.heap + 5 * PAGE);
    kaon__snapshot_learn(snapshot, at.stack);
    return snapshot;
}

/* A directory with a snapshot saved in it, and what belongs to that. */
struct saved {
    char root[PATH_SIZE], path[PATH_SIZE * 2];
    struct kaon_image *image;
    struct kaon_snapshot *snapshot;
};

static void save(struct saved *saved)
{
    saved->image = make_image();
    saved->snapshot = make_snapshot(saved->image);
    directory_make(saved->root);
    snprintf(saved->path, sizeof saved->path, "%s/layout", saved->root);
    good(kaon_snapshot_save(saved->snapshot, saved->path, NULL, &err));
}

static void end(struct saved *saved)
{
    directory_remove(saved->root);
    kaon_snapshot_destroy(saved->snapshot);
    kaon_image_destroy(saved->image);
}

static enum kaon_status open_it(const char *path,
                                const struct kaon_open_opts *opts)
{
    struct kaon_snapshot *snapshot = NULL;
    enum kaon_status status = kaon_snapshot_open(&snapshot, path, opts, &err);

    assert_int_equal(status == KAON_OK, snapshot != NULL);
    kaon_snapshot_destroy(snapshot);
    return status;
}

/* ---- What is saved is what is opened ------------------------------------ */

static void assert_same(const struct kaon_snapshot *a,
                        const struct kaon_snapshot *b)
{
    assert_memory_equal(&a->sizes, &b->sizes, sizeof a->sizes);
    assert_int_equal(a->pointers.fs_base, b->pointers.fs_base);
    assert_int_equal(a->pointers.gs_base, b->pointers.gs_base);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->run_count, b->run_count);
    for (uint32_t i = 0; i < a->run_count; i++) {
        const struct kaon_run *run = &a->runs[i];
        unsigned char one[PAGE], two[PAGE];

        assert_int_equal(run->address, b->runs[i].address);
        assert_int_equal(run->pages, b->runs[i].pages);
        for (uint64_t k = 0; k < run->pages; k++) {
            uint64_t address = run->address + k * PAGE;

            kaon__snapshot_read(a, kaon__snapshot_page(a, address), one, PAGE);
            kaon__snapshot_read(b, kaon__snapshot_page(b, address), two, PAGE);
            assert_memory_equal(one, two, PAGE);
        }
    }
}

static void what_is_saved_is_what_is_opened(void **state)
{
    struct saved saved;
    struct kaon_snapshot *opened;
    uint64_t set[KAON_WRITE_SET_MAX];
    struct kaon_signature import;

    (void)state;
    save(&saved);
    good(kaon_snapshot_open(&opened, saved.path, NULL, &err));
    assert_same(saved.snapshot, opened);
    assert_int_equal(kaon__snapshot_write_set(opened, set), 2);
    assert_true(set[0] < set[1]);
    assert_int_equal(opened->own_pages, 4);
    assert_string_equal(kaon_image_name(opened->image), "guest");
    assert_true(kaon_image_import(opened->image, 0, &import));
    assert_string_equal(import.name, "HostPrint");
    kaon_snapshot_destroy(opened);
    end(&saved);
}

static void an_opened_snapshot_can_be_saved_again(void **state)
{
    struct saved saved;
    struct kaon_snapshot *opened, *again;
    char copy[PATH_SIZE * 2];

    (void)state;
    save(&saved);
    snprintf(copy, sizeof copy, "%s/copy/", saved.root);
    good(kaon_snapshot_open(&opened, saved.path, NULL, &err));
    good(kaon_snapshot_save(opened, copy, NULL, &err));
    assert_int_equal(directory_count(copy), directory_count(saved.path));
    good(kaon_snapshot_open(&again, copy, NULL, &err));
    assert_same(opened, again);
    kaon_snapshot_destroy(again);
    kaon_snapshot_destroy(opened);
    end(&saved);
}

static void an_image_of_the_same_file_is_taken(void **state)
{
    struct elf_file *file = elf_build(&(struct elf_spec){ 0 });
    struct kaon_image *other = NULL;
    struct kaon_snapshot *opened;
    struct saved saved;

    (void)state;
    save(&saved);
    good(kaon_snapshot_open(&opened, saved.path,
                            KAON_OPEN_OPTS(.image = saved.image), &err));
    assert_ptr_equal(kaon_snapshot_image(opened), saved.image);
    kaon_snapshot_destroy(opened);
    good(kaon_image_parse(&other, file->bytes, file->size, &err));
    assert_int_equal(open_it(saved.path, KAON_OPEN_OPTS(.image = other)),
                     KAON_EINVAL);
    assert_says("another ELF file than the image guest");
    kaon_image_destroy(other);
    free(file);
    end(&saved);
}

/* ---- Several in a layout ------------------------------------------------ */

static void a_layout_holds_several(void **state)
{
    struct kaon_snapshot *more;
    struct saved saved;
    unsigned before;

    (void)state;
    save(&saved);
    more = make_snapshot(saved.image);
    before = directory_count(saved.path);
    assert_int_equal(kaon_snapshot_save(more, saved.path, NULL, &err),
                     KAON_EINVAL);
    assert_says("it has a snapshot named latest");
    assert_int_equal(directory_count(saved.path), before);

    /* The same once more has nothing new but a name. */
    good(kaon_snapshot_save(more, saved.path, KAON_SAVE_OPTS(.name = "again"),
                            &err));
    assert_int_equal(directory_count(saved.path), before);

    /* Another generation: another config, another manifest. */
    more->generation++;
    good(kaon_snapshot_save(more, saved.path, KAON_SAVE_OPTS(.name = "next"),
                            &err));
    assert_int_equal(directory_count(saved.path), before + 2);
    good(kaon_snapshot_save(more, saved.path, KAON_SAVE_OPTS(.replace = 1),
                            &err));
    assert_int_equal(directory_count(saved.path), before + 2);
    kaon_snapshot_destroy(more);

    good(kaon_snapshot_open(&more, saved.path, NULL, &err));
    assert_int_equal(more->generation, 42);
    kaon_snapshot_destroy(more);
    good(kaon_snapshot_open(&more, saved.path, KAON_OPEN_OPTS(.name = "again"),
                            &err));
    assert_int_equal(more->generation, 41);
    kaon_snapshot_destroy(more);
    assert_int_equal(open_it(saved.path, KAON_OPEN_OPTS(.name = "none")),
                     KAON_ESNAPSHOT);
    assert_says("no snapshot named \"none\"");
    end(&saved);
}

static void a_damaged_blob_is_healed_by_who_saves_it(void **state)
{
    struct saved saved;
    char blob[PATH_SIZE * 4], name[KAON_SHA256_TEXT];
    struct kaon_digest digest;

    (void)state;
    save(&saved);
    digest = kaon__sha256(saved.snapshot->layers[0]->memory,
                          saved.snapshot->layers[0]->size);
    kaon__digest_format(&digest, name);
    snprintf(blob, sizeof blob, "%s/blobs/sha256/%s", saved.path, name);
    file_write(blob, "damaged", 7);
    assert_int_equal(open_it(saved.path, NULL), KAON_ESNAPSHOT);
    assert_says("has 7 bytes: it should have 36864");
    good(kaon_snapshot_save(saved.snapshot, saved.path,
                            KAON_SAVE_OPTS(.replace = 1), &err));
    good(open_it(saved.path, NULL));
    end(&saved);
}

static void where_it_cannot_be_saved_is_said(void **state)
{
    static const char *const names[] = { "", "a b", ".x", "a/b", "-" };
    struct saved saved;
    char path[PATH_SIZE * 3];

    (void)state;
    save(&saved);
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/x", saved.root);
        assert_int_equal(kaon_snapshot_save(saved.snapshot, path,
                                            KAON_SAVE_OPTS(.name = names[i]),
                                            &err),
                         KAON_EINVAL);
        assert_says("is no name for a snapshot");
    }
    snprintf(path, sizeof path, "%s/none/x", saved.root);
    assert_int_equal(kaon_snapshot_save(saved.snapshot, path, NULL, &err),
                     KAON_EIO);
    assert_says("the directory that it is in: No such file");
    assert_int_equal(err.sys_errno, ENOENT);
    snprintf(path, sizeof path, "%s/oci-layout", saved.path);
    assert_int_equal(kaon_snapshot_save(saved.snapshot, path, NULL, &err),
                     KAON_EIO);
    assert_says("Not a directory");
    assert_int_equal(kaon_snapshot_save(saved.snapshot, saved.root, NULL, &err),
                     KAON_ESNAPSHOT);
    assert_says("oci-layout is missing");
    assert_int_equal(kaon_snapshot_save(saved.snapshot, "/", NULL, &err),
                     KAON_ESNAPSHOT);
    assert_int_equal(kaon_snapshot_save(saved.snapshot, "", NULL, &err),
                     KAON_EINVAL);
    assert_int_equal(kaon_snapshot_save(NULL, path, NULL, &err), KAON_EINVAL);
    assert_int_equal(open_it(NULL, NULL), KAON_EINVAL);
    assert_int_equal(kaon_snapshot_open(NULL, saved.path, NULL, &err),
                     KAON_EINVAL);
    assert_int_equal(directory_count(saved.root),
                     1 + directory_count(saved.path));
    end(&saved);
}

static void an_empty_directory_is_filled(void **state)
{
    struct saved saved;
    char path[PATH_SIZE * 3];

    (void)state;
    save(&saved);
    snprintf(path, sizeof path, "%s/empty", saved.root);
    assert_int_equal(mkdir(path, 0777), 0);
    good(kaon_snapshot_save(saved.snapshot, path, NULL, &err));
    good(open_it(path, NULL));
    end(&saved);
}

static void two_do_not_save_at_once(void **state)
{
    struct saved saved;
    int lock;

    (void)state;
    save(&saved);
    lock = open(saved.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_int_equal(kaon_snapshot_save(saved.snapshot, saved.path,
                                        KAON_SAVE_OPTS(.name = "x"), &err),
                     KAON_EBUSY);
    assert_says("somebody else is saving there");
    close(lock);
    good(kaon_snapshot_save(saved.snapshot, saved.path,
                            KAON_SAVE_OPTS(.name = "x"), &err));
    end(&saved);
}

/* ---- Failures of the system -------------------------------------------- */

/* Each allocation and system call fails once. What is found afterwards is a
 * whole layout, or nothing. */
static void what_fails_leaves_nothing_new(void **state)
{
    struct saved saved;
    unsigned n = 0;
    bool failed;
    char path[PATH_SIZE * 2];

    (void)state;
    save(&saved);
    snprintf(path, sizeof path, "%s/new", saved.root);
    do {
        enum kaon_status status;

        fail_nth_arm(++n);
        status = kaon_snapshot_save(saved.snapshot, path, NULL, &err);
        failed = fail_nth_disarm();
        if (access(path, F_OK) == 0) {
            good(open_it(path, NULL));
            directory_remove(path);
        } else if (!status) {
            fail_msg("%s failed, and nobody noticed", fail_nth_name());
        }
        assert_int_equal(directory_count(saved.root),
                         1 + directory_count(saved.path));
    } while (failed);
    assert_true(n > 50);
    end(&saved);
}

/* Some failures only mean more work, such as writing a blob again. */
static void what_fails_leaves_a_layout_as_it_was(void **state)
{
    const struct kaon_save_opts *opts = KAON_SAVE_OPTS(.name = "more");
    struct saved saved;
    unsigned n = 0, before;
    bool failed;
    char path[PATH_SIZE * 3];

    (void)state;
    save(&saved);
    before = directory_count(saved.path);
    snprintf(path, sizeof path, "%s/work", saved.root);
    saved.snapshot->generation++;
    do {
        enum kaon_status status;

        directory_copy(saved.path, path);
        fail_nth_arm(++n);
        status = kaon_snapshot_save(saved.snapshot, path, opts, &err);
        failed = fail_nth_disarm();
        good(open_it(path, KAON_OPEN_OPTS(.name = "latest")));
        if (open_it(path, KAON_OPEN_OPTS(.name = "more"))) {
            assert_int_not_equal(status, KAON_OK);
            assert_int_equal(directory_count(path), before);
        } else {
            assert_int_equal(directory_count(path), before + 2);
        }
        directory_remove(path);
    } while (failed);
    assert_true(n > 40);
    end(&saved);
}

static void what_fails_opens_nothing(void **state)
{
    struct saved saved;
    enum kaon_status status;
    unsigned n = 0;

    (void)state;
    save(&saved);
    do {
        fail_nth_arm(++n);
        status = open_it(saved.path, NULL);
        if (fail_nth_disarm() && status == KAON_OK)
            fail_msg("%s failed, and nobody noticed", fail_nth_name());
    } while (status);
    assert_true(n > 40);
    end(&saved);
}

/* Whoever exceeds it is ended by a signal: so nobody does. */
static void a_limit_on_files_is_a_status(void **state)
{
    struct rlimit before, limit;
    struct saved saved;
    char path[PATH_SIZE * 2];
    enum kaon_status status;

    (void)state;
    save(&saved);
    snprintf(path, sizeof path, "%s/new", saved.root);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 2 * PAGE;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    status = kaon_snapshot_save(saved.snapshot, path, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, KAON_EIO);
    assert_says("raise ulimit -f");
    assert_int_equal(directory_count(saved.root),
                     1 + directory_count(saved.path));
    end(&saved);
}

/* ---- Damage ------------------------------------------------------------ */

struct flips {
    const struct saved *saved;
    unsigned tried, taken;
};

/* Of blobs every flip is seen. What others may add to the two texts we pass
 * over: then it must be the same snapshot still. */
static void flip_each_byte(const char *file, void *user)
{
    struct flips *flips = user;
    bool is_blob = strstr(file, "/blobs/") != NULL;
    size_t size;
    char *bytes = file_read(file, &size);
    size_t step = size > 4096 ? 611 : 1;

    for (size_t at = 0; at < size; at += step) {
        struct kaon_snapshot *opened = NULL;

        bytes[at] = (char)(bytes[at] ^ (1 << at % 8));
        file_write(file, bytes, size);
        if (!kaon_snapshot_open(&opened, flips->saved->path, NULL, &err)) {
            if (is_blob)
                fail_msg("byte %zu of %s was not missed", at, file);
            assert_same(opened, flips->saved->snapshot);
            kaon_snapshot_destroy(opened);
            flips->taken++;
        }
        bytes[at] = (char)(bytes[at] ^ (1 << at % 8));
        flips->tried++;
    }
    file_write(file, bytes, size);
    free(bytes);
}

static void a_flipped_byte_is_refused(void **state)
{
    struct saved saved;
    struct flips flips = { .saved = &saved };

    (void)state;
    save(&saved);
    directory_each(saved.path, flip_each_byte, &flips);
    assert_true(flips.tried > 1000 && flips.taken < flips.tried / 10);
    good(open_it(saved.path, NULL));
    end(&saved);
}

static void cut_everywhere(const char *file, void *user)
{
    const struct saved *saved = user;
    size_t size;
    char *bytes = file_read(file, &size);
    size_t step = size > 4096 ? 611 : 1;

    for (size_t at = 0; at < size; at += step) {
        file_write(file, bytes, at);
        if (!open_it(saved->path, NULL))
            fail_msg("%s was cut at %zu, and taken", file, at);
    }
    file_write(file, bytes, size);
    free(bytes);
}

static void a_cut_file_is_refused(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    directory_each(saved.path, cut_everywhere, &saved);
    good(open_it(saved.path, NULL));
    end(&saved);
}

/* Whatever it is that takes a file's place, nobody waits for it, and nothing
 * outside is read: the right bytes behind a link are refused, too. */
static void replace_by_strangers(const char *file, void *user)
{
    const struct saved *saved = user;
    char aside[PATH_SIZE * 3];

    snprintf(aside, sizeof aside, "%s/aside", saved->root);
    assert_int_equal(rename(file, aside), 0);
    assert_int_equal(open_it(saved->path, NULL), KAON_ESNAPSHOT);
    assert_says("is missing");
    assert_int_equal(symlink(aside, file), 0);
    assert_int_equal(open_it(saved->path, NULL), KAON_ESNAPSHOT);
    assert_says("symbolic link");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkfifo(file, 0666), 0);
    assert_int_equal(open_it(saved->path, NULL), KAON_ESNAPSHOT);
    assert_says("no regular file");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0777), 0);
    assert_int_equal(open_it(saved->path, NULL), KAON_ESNAPSHOT);
    assert_says("no regular file");
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(rename(aside, file), 0);
}

static void only_regular_files_are_opened(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    directory_each(saved.path, replace_by_strangers, &saved);
    good(open_it(saved.path, NULL));
    end(&saved);
}

static void directories_are_no_links(void **state)
{
    static const char *const names[] = { "blobs", "blobs/sha256" };
    struct saved saved;

    (void)state;
    save(&saved);
    for (size_t i = 0; i < COUNT(names); i++) {
        char from[PATH_SIZE * 3], aside[PATH_SIZE * 3];

        snprintf(from, sizeof from, "%s/%s", saved.path, names[i]);
        snprintf(aside, sizeof aside, "%s/aside", saved.root);
        assert_int_equal(rename(from, aside), 0);
        assert_int_equal(symlink(aside, from), 0);
        assert_int_equal(open_it(saved.path, NULL), KAON_ESNAPSHOT);
        assert_says("symbolic link");
        assert_int_equal(kaon_snapshot_save(saved.snapshot, saved.path,
                                            KAON_SAVE_OPTS(.name = "x"), &err),
                         KAON_ESNAPSHOT);
        assert_int_equal(unlink(from), 0);
        assert_int_equal(rename(aside, from), 0);
    }
    good(open_it(saved.path, NULL));
    end(&saved);
}

static void what_is_too_much_is_refused(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    assert_int_equal(open_it(saved.path, KAON_OPEN_OPTS(.size_max = 5 * PAGE)),
                     KAON_ESNAPSHOT);
    assert_says("(size_max)");
    good(open_it(saved.path, KAON_OPEN_OPTS(.size_max = 100 * PAGE)));
    end(&saved);
}

/* ---- Hostile, with the right digests ------------------------------------ */

/* Saves a snapshot that no sandbox can have had. Is it refused? */
static void assert_refused(struct saved *saved, const char *words)
{
    char path[PATH_SIZE * 2];

    snprintf(path, sizeof path, "%s/hostile", saved->root);
    good(kaon_snapshot_save(saved->snapshot, path, NULL, &err));
    assert_int_equal(open_it(path, NULL), KAON_ESNAPSHOT);
    assert_says(words);
    assert_int_equal(open_it(path, KAON_OPEN_OPTS(.skip_digests = 1)),
                     KAON_ESNAPSHOT);
    assert_says(words);
    directory_remove(path);
}

static void pages_lie_where_the_guest_may_write(void **state)
{
    struct saved saved;
    struct kaon_run *run, kept;
    struct kaon_places at;
    uint64_t text, exchange;

    (void)state;
    save(&saved);
    run = &saved.snapshot->runs[0];
    kept = *run;
    at = kaon__memory_places(saved.image, &saved.snapshot->sizes);
    text = saved.image->regions[0].address;
    exchange = at.exchange;
    {
        const struct kaon_run wrong[] = {
            { 0, 1, 0, 0 },
            { 0x200000, 1, 0, 0 }, /* the gate */
            { 0x201000, 1, 0, 0 }, /* for CPL 0 alone */
            { text, 1, 0, 0 },
            { at.stack - PAGE, 1, 0, 0 }, /* the guard */
            { at.stack - PAGE, 3, 0, 0 },
            { exchange, 1, 0, 0 },
            { exchange - PAGE, 2, 0, 0 },
            { at.stack + 1, 1, 0, 0 },
            { at.stack, 0, 0, 0 },
            { at.stack, 1, 1, 0 },
            { at.stack, 1, LARGE * PAGE, 0 },
            { at.stack, 2, (LARGE - 1) * PAGE, 0 },
            { at.stack, 1, -PAGE, 0 },
            { at.stack, UINT32_MAX, 0, 0 },
            { at.stack, 1, 0, 2 },
            { at.stack, 1, 0, UINT32_MAX },
            { at.heap + PAGE, 1, 0, 0 }, /* not in order */
            { -PAGE, 1, 0, 0 },
            { -PAGE, 2, 0, 0 },
            { UINT64_C(1) << 47, 1, 0, 0 },
        };

        for (size_t i = 0; i < COUNT(wrong); i++) {
            *run = wrong[i];
            assert_refused(&saved, "the map is damaged: entry ");
        }
    }
    *run = kept;
    saved.snapshot->runs[2].address = at.heap + 16 * PAGE;
    assert_refused(&saved, "the map is damaged: entry 2 ");
    end(&saved);
}

static void registers_and_sizes_are_a_guests(void **state)
{
    static const struct kaon_sizes wrong[] = {
        { 0, 8 * PAGE, 3 * PAGE, 0 },
        { 16 * PAGE + 1, 8 * PAGE, 3 * PAGE, 0 },
        { UINT64_C(17) << 30, 8 * PAGE, 3 * PAGE, 0 },
        { 16 * PAGE, PAGE, 3 * PAGE, 0 },
        { 16 * PAGE, -PAGE, 3 * PAGE, 0 },
        { 16 * PAGE, 8 * PAGE, PAGE, 0 },
        { 16 * PAGE, 8 * PAGE, 0, 0 },
        { 16 * PAGE, 8 * PAGE, 1, 0 },
    };
    struct saved saved;
    struct kaon_sizes kept;

    (void)state;
    save(&saved);
    kept = saved.snapshot->sizes;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        saved.snapshot->sizes = wrong[i];
        assert_refused(&saved, "no sandbox can have its sizes");
    }
    saved.snapshot->sizes = kept;
    saved.snapshot->pointers.fs_base = UINT64_C(1) << 47;
    assert_refused(&saved, "FS or GS base is no address");
    saved.snapshot->pointers.fs_base = 0;
    saved.snapshot->pointers.gs_base = UINT64_MAX;
    assert_refused(&saved, "FS or GS base is no address");
    end(&saved);
}

static void a_write_set_is_a_guests(void **state)
{
    struct kaon_written_page *pages;
    struct saved saved;

    (void)state;
    save(&saved);
    pages = saved.snapshot->write_set.pages;
    pages[0].address = 0x201000;
    assert_refused(&saved, "its write set");
    pages[0].address = pages[1].address;
    assert_refused(&saved, "its write set");
    pages[0].address = pages[1].address + 1;
    assert_refused(&saved, "its write set");
    end(&saved);
}

/* With the digests skipped all that is in map and ELF reaches the parsers. */
static void open_unseen(const char *file, void *user)
{
    const struct saved *saved = user;

    (void)file;
    open_it(saved->path, KAON_OPEN_OPTS(.skip_digests = 1));
}

static void flip_unseen(const char *file, void *user)
{
    file_each_damage(file, 97, open_unseen, user);
}

static void unseen_damage_harms_nobody(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    directory_each(saved.path, flip_unseen, &saved);
    good(open_it(saved.path, NULL));
    end(&saved);
}

/* ---- Files that change while they are open ------------------------------ */

static void shrink(const char *file, void *user)
{
    (void)user;
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(truncate(file, 0), 0);
}

static void a_file_that_shrinks_has_zeroes(void **state)
{
    struct kaon_snapshot *opened;
    struct saved saved;
    unsigned char page[PAGE] = { 0 };
    const unsigned char *content;

    (void)state;
    save(&saved);
    good(kaon_snapshot_open(&opened, saved.path, NULL, &err));
    content = kaon__snapshot_page(opened, opened->runs[0].address);
    kaon__snapshot_read(opened, content, page, PAGE / 2); /* not kept, so */
    assert_int_equal(page[100], 11);
    directory_each(saved.path, shrink, NULL);
    kaon__snapshot_read(opened, content, page, PAGE / 2);
    for (size_t i = 0; i < PAGE; i++)
        assert_int_equal(page[i], 0);
    assert_true(kaon__snapshot_equal(opened, content, page));
    assert_int_equal(kaon_snapshot_save(opened, saved.root, NULL, &err),
                     KAON_ESNAPSHOT);
    strcat(saved.path, "-2");
    assert_int_equal(kaon_snapshot_save(opened, saved.path, NULL, &err),
                     KAON_EIO);
    assert_says("shrank");
    kaon_snapshot_destroy(opened);
    end(&saved);
}

TESTS(TEST(what_is_saved_is_what_is_opened),
      TEST(an_opened_snapshot_can_be_saved_again),
      TEST(an_image_of_the_same_file_is_taken), TEST(a_layout_holds_several),
      TEST(a_damaged_blob_is_healed_by_who_saves_it),
      TEST(where_it_cannot_be_saved_is_said),
      TEST(an_empty_directory_is_filled), TEST(two_do_not_save_at_once),
      TEST_LIMIT(120, what_fails_leaves_nothing_new),
      TEST_LIMIT(120, what_fails_leaves_a_layout_as_it_was),
      TEST_LIMIT(120, what_fails_opens_nothing),
      TEST(a_limit_on_files_is_a_status),
      TEST_ROW_LIMIT(14, 120, a_flipped_byte_is_refused),
      TEST_ROW_LIMIT(14, 120, a_cut_file_is_refused),
      TEST(only_regular_files_are_opened), TEST(directories_are_no_links),
      TEST_ROW(14, what_is_too_much_is_refused),
      TEST(pages_lie_where_the_guest_may_write),
      TEST(registers_and_sizes_are_a_guests), TEST(a_write_set_is_a_guests),
      TEST_LIMIT(120, unseen_damage_harms_nobody),
      TEST(a_file_that_shrinks_has_zeroes), )

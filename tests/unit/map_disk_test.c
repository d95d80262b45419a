/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings of saved snapshots: what is saved of them is what is opened, with
 * the regions that the caller gives; what is forged is refused.
 */
#include "host/layer.h"
#include "host/memory_map.h"
#include "host/region.h"
#include "host/snapshot.h"
#include "host/store.h"
#include "support/directory.h"
#include "support/elf_builder.h"
#include "support/fail_nth.h"
#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PAGE KAON_PAGE_SIZE
#define WINDOW (UINT64_C(2) << 20)

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

/* ---- A snapshot with mappings ------------------------------------------ */

enum { WORDS, TABLE, RING, PAD, MAPPINGS };

/* A layout with it, and the regions. The guest wrote pages of two. */
struct saved {
    char root[PATH_SIZE], path[PATH_SIZE * 2];
    struct kaon_region *file, *buffer;
    struct kaon_snapshot *snapshot;
    uint64_t window;
    struct kaon_named_region regions[MAPPINGS];
};

static void make_regions(struct saved *saved)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 6 * PAGE + 7), 0);
    good(kaon_region_open_fd(&saved->file, fileno(file), PAGE, 0, &err));
    good(kaon_region_create(&saved->buffer, 4 * PAGE, &err));
    fclose(file);
}

/* Ends where the next may begin. */
static uint64_t keep(struct saved *saved, uint64_t address, const char *name,
                     struct kaon_region *region, enum kaon_map_mode mode)
{
    uint32_t i = saved->snapshot->kept_count++;
    struct kaon_kept_mapping *kept = &saved->snapshot->kept[i];

    *kept = (struct kaon_kept_mapping){
        .region = kaon_region_hold(region),
        .size = region->size,
        .offset = region->offset,
        .file = region->file,
        .address = address,
        .mode = mode,
    };
    strcpy(kept->name, name);
    saved->regions[i] = (struct kaon_named_region){ kept->name, region, mode };
    return address + kaon__kept_mapping_room(kept);
}

static void write_to(struct saved *saved, int mapping, const uint64_t *pages,
                     size_t count)
{
    struct kaon_kept_mapping *kept = &saved->snapshot->kept[mapping];

    kept->pages = malloc(count * sizeof *pages);
    assert_non_null(kept->pages);
    memcpy(kept->pages, pages, count * sizeof *pages);
    kept->page_count = count;
}

static void make_snapshot(struct saved *saved)
{
    struct elf_file *file = elf_build_sample();
    struct kaon_image *image = NULL;
    struct kaon_snapshot *snapshot;
    struct kaon_places places;

    good(kaon_image_parse(&image, file->bytes, file->size, &err));
    free(file);
    snapshot = kaon__snapshot_new(image);
    kaon_image_destroy(image);
    assert_non_null(snapshot);
    snapshot->sizes =
        (struct kaon_sizes){ 16 * PAGE, 8 * PAGE, 3 * PAGE, WINDOW };
    places = kaon__memory_places(image, &snapshot->sizes);
    good(kaon__layer_create(&snapshot->layers[0], PAGE, &err));
    good(kaon__layer_seal(snapshot->layers[0], &err));
    snapshot->layer_count = snapshot->run_count = 1;
    snapshot->runs = calloc(1, sizeof *snapshot->runs);
    snapshot->kept = calloc(MAPPINGS, sizeof *snapshot->kept);
    assert_true(snapshot->runs && snapshot->kept);
    snapshot->runs[0] = (struct kaon_run){ places.heap, 1, 0, 0 };
    saved->snapshot = snapshot;
    saved->window = places.window;
}

static void map_all(struct saved *saved)
{
    uint64_t at = saved->window;
    unsigned char *content = malloc(6 * PAGE);

    at = keep(saved, at, "words", saved->file, KAON_MAP_READ);
    at = keep(saved, at, "table", saved->file, KAON_MAP_COPY);
    at = keep(saved, at + 3 * PAGE, "ring-1", saved->buffer, KAON_MAP_WRITE);
    keep(saved, at, "pad.2", saved->buffer, KAON_MAP_COPY);
    write_to(saved, TABLE, (const uint64_t[]){ 0, 1, 3, 5 }, 4);
    write_to(saved, PAD, (const uint64_t[]){ 2, 3 }, 2);
    assert_non_null(content);
    for (int i = 0; i < 6; i++)
        memset(content + i * PAGE, 100 + i, PAGE);
    saved->snapshot->kept_content = content;
    kaon__snapshot_place_content(saved->snapshot);
}

static void save(struct saved *saved)
{
    *saved = (struct saved){ .root = "" };
    make_regions(saved);
    make_snapshot(saved);
    map_all(saved);
    directory_make(saved->root);
    snprintf(saved->path, sizeof saved->path, "%s/layout", saved->root);
    good(kaon_snapshot_save(saved->snapshot, saved->path, NULL, &err));
}

static void end(struct saved *saved)
{
    directory_remove(saved->root);
    kaon_snapshot_destroy(saved->snapshot);
    kaon_region_destroy(saved->file);
    kaon_region_destroy(saved->buffer);
}

static enum kaon_status open_with(struct kaon_snapshot **out, const char *path,
                                  const struct saved *saved, bool skip_digests)
{
    return kaon_snapshot_open(
        out, path,
        KAON_OPEN_OPTS(.regions = saved->regions,
                       .region_count = saved->snapshot->kept_count,
                       .skip_digests = skip_digests),
        &err);
}

/* Opens it, with all regions or none, and forgets it. */
static enum kaon_status try(const char *path, const struct saved *saved,
                            bool regions, bool skip_digests)
{
    struct kaon_snapshot *snapshot = NULL;
    enum kaon_status status =
        regions
            ? open_with(&snapshot, path, saved, skip_digests)
            : kaon_snapshot_open(&snapshot, path,
                                 KAON_OPEN_OPTS(.skip_digests = skip_digests),
                                 &err);

    assert_int_equal(status == KAON_OK, snapshot != NULL);
    kaon_snapshot_destroy(snapshot);
    return status;
}

/* ---- What is saved is what is opened ------------------------------------ */

static void what_is_mapped_is_opened_with_its_regions(void **state)
{
    struct kaon_snapshot *opened;
    struct saved saved;

    (void)state;
    save(&saved);
    good(open_with(&opened, saved.path, &saved, false));
    assert_int_equal(opened->sizes.map, WINDOW);
    assert_int_equal(opened->run_count, 1);
    assert_int_equal(opened->kept_count, MAPPINGS);
    for (int i = 0; i < MAPPINGS; i++) {
        const struct kaon_kept_mapping *a = &saved.snapshot->kept[i];
        const struct kaon_kept_mapping *b = &opened->kept[i];

        assert_ptr_equal(a->region, b->region);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->address, b->address);
        assert_int_equal(a->size, b->size);
        assert_int_equal(a->offset, b->offset);
        assert_int_equal(a->file, b->file);
        assert_int_equal(a->mode, b->mode);
        assert_int_equal(a->page_count, b->page_count);
        for (uint64_t k = 0; k < a->page_count; k++) {
            assert_int_equal(a->pages[k], b->pages[k]);
            assert_memory_equal(a->content + k * PAGE, b->content + k * PAGE,
                                PAGE);
        }
    }
    kaon_snapshot_destroy(opened);
    end(&saved);
}

/* The same bytes, so nothing but a name is new. */
static void an_opened_one_is_saved_as_it_was(void **state)
{
    struct kaon_snapshot *opened;
    struct saved saved;
    unsigned before;

    (void)state;
    save(&saved);
    before = directory_count(saved.path);
    good(open_with(&opened, saved.path, &saved, false));
    good(kaon_snapshot_save(opened, saved.path, KAON_SAVE_OPTS(.name = "more"),
                            &err));
    assert_int_equal(directory_count(saved.path), before);
    kaon_snapshot_destroy(opened);
    end(&saved);
}

static void without_regions_it_can_only_be_looked_at(void **state)
{
    struct kaon_snapshot_mapping mapping;
    struct kaon_snapshot_stats stats;
    struct kaon_snapshot *opened;
    struct saved saved;

    (void)state;
    save(&saved);
    good(kaon_snapshot_open(
        &opened, saved.path,
        KAON_OPEN_OPTS(.regions = &saved.regions[RING], .region_count = 1),
        &err));
    assert_true(kaon_snapshot_mapping(opened, TABLE, &mapping));
    assert_string_equal(mapping.name, "table");
    assert_int_equal(mapping.address, saved.snapshot->kept[TABLE].address);
    assert_int_equal(mapping.mode, KAON_MAP_COPY);
    assert_int_equal(mapping.is_file, 1);
    assert_int_equal(mapping.size, 5 * PAGE + 7);
    assert_int_equal(mapping.offset, PAGE);
    assert_int_equal(mapping.pages, 4);
    assert_null(mapping.region);
    assert_true(kaon_snapshot_mapping(opened, RING, &mapping));
    assert_int_equal(mapping.is_file, 0);
    assert_ptr_equal(mapping.region, saved.buffer);
    assert_false(kaon_snapshot_mapping(opened, MAPPINGS, &mapping));
    assert_false(kaon_snapshot_mapping(NULL, 0, &mapping));
    good(kaon_snapshot_stats(opened, &stats));
    assert_int_equal(stats.pages, 7);
    assert_int_equal(kaon_snapshot_save(opened, saved.path,
                                        KAON_SAVE_OPTS(.name = "x"), &err),
                     KAON_EINVAL);
    assert_says("mapping \"words\", and was opened without its region");
    kaon_snapshot_destroy(opened);
    end(&saved);
}

static void what_cannot_be_saved_of_mappings_is_said(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    saved.snapshot->kept[RING].name[0] = '\0';
    assert_int_equal(kaon_snapshot_save(saved.snapshot, saved.path,
                                        KAON_SAVE_OPTS(.name = "x"), &err),
                     KAON_EINVAL);
    assert_says("has no name to be saved by");
    saved.snapshot->kept_count = KAON_OCI_MAPPINGS_MAX + 1;
    assert_int_equal(kaon_snapshot_save(saved.snapshot, saved.path,
                                        KAON_SAVE_OPTS(.name = "x"), &err),
                     KAON_EINVAL);
    assert_says("has 65 mappings: with more than 64");
    saved.snapshot->kept_count = MAPPINGS;
    end(&saved);
}

static void a_region_is_what_was_mapped(void **state)
{
    struct kaon_region *larger = NULL;
    struct saved saved;

    (void)state;
    save(&saved);
    good(kaon_region_create(&larger, 5 * PAGE, &err));
    {
        const struct {
            struct kaon_named_region region;
            const char *words;
        } wrong[] = {
            { { "other", saved.file, KAON_MAP_READ },
              "no mapping named \"other\"" },
            { { "", saved.file, KAON_MAP_READ }, "no mapping named \"\"" },
            { { "ring-1", saved.file, KAON_MAP_WRITE },
              "is a file: what was mapped is a buf" },
            { { "words", saved.buffer, KAON_MAP_READ },
              "is a buffer: what was mapped is a f" },
            { { "ring-1", larger, KAON_MAP_WRITE },
              "has 20480 bytes: what was mapped has 16384" },
            { { "ring-1", saved.buffer, KAON_MAP_READ },
              "given to read: it was mapped to write" },
            { { "words", saved.file, KAON_MAP_WRITE },
              "given to write: it was mapped to read" },
            { { "words", saved.file, (enum kaon_map_mode)3 },
              "given to do what is unknown: it was" },
            { { NULL, saved.file, KAON_MAP_READ }, "or its name is NULL" },
            { { "words", NULL, KAON_MAP_READ }, "or its name is NULL" },
            { { "table", saved.file, KAON_MAP_READ },
              "two regions are named \"table\"" },
        };

        for (size_t i = 0; i < COUNT(wrong); i++) {
            struct kaon_named_region given[] = { saved.regions[TABLE],
                                                 wrong[i].region };
            struct kaon_snapshot *opened = NULL;

            assert_int_equal(
                kaon_snapshot_open(
                    &opened, saved.path,
                    KAON_OPEN_OPTS(.regions = given, .region_count = 2), &err),
                KAON_EINVAL);
            assert_null(opened);
            assert_says(wrong[i].words);
        }
        assert_int_equal(kaon_snapshot_open(&saved.snapshot, saved.path,
                                            KAON_OPEN_OPTS(.region_count = 1),
                                            &err),
                         KAON_EINVAL);
        assert_says("regions are NULL");
    }
    kaon_region_destroy(larger);
    end(&saved);
}

/* ---- Hostile, with the right digests ------------------------------------ */

/* Saves what no sandbox can have had. Is it refused? */
static void assert_refused(const struct saved *saved, const char *words)
{
    char path[PATH_SIZE * 2];

    snprintf(path, sizeof path, "%s/hostile", saved->root);
    good(kaon_snapshot_save(saved->snapshot, path, NULL, &err));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(try(path, saved, i & 1, i & 2), KAON_ESNAPSHOT);
        assert_says(words);
    }
    directory_remove(path);
}

static void mappings_lie_in_the_window(void **state)
{
    struct kaon_kept_mapping *first, *last;
    struct saved saved;
    uint64_t low, high;

    (void)state;
    save(&saved);
    first = &saved.snapshot->kept[0];
    last = &saved.snapshot->kept[PAD];
    low = first->address;
    high = last->address;
    first->address = low - PAGE;
    assert_refused(&saved, "mapping \"words\" is not within its window");
    first->address = 0x200000; /* the gate */
    assert_refused(&saved, "mapping \"words\" is not within its window");
    first->address = saved.snapshot->runs[0].address;
    assert_refused(&saved, "mapping \"words\" is not within its window");
    first->address = low + 1;
    assert_refused(&saved, "a mapping's address is no page's");
    first->address = low + PAGE;
    assert_refused(&saved, "mappings overlap, or are not in order");
    first->address = high;
    assert_refused(&saved, "mappings overlap, or are not in order");
    first->address = low;
    last->address = saved.window + WINDOW - 3 * PAGE;
    assert_refused(&saved, "mapping \"pad.2\" is not within its window");
    last->address = saved.window + WINDOW;
    assert_refused(&saved, "mapping \"pad.2\" is not within its window");
    last->address = UINT64_C(1) << 46;
    assert_refused(&saved, "mapping \"pad.2\" is not within its window");
    last->address = -4 * PAGE;
    assert_refused(&saved, "a mapping's address is no page's");
    last->address = high;
    saved.snapshot->sizes.map = WINDOW - PAGE;
    assert_refused(&saved, "no sandbox can have its sizes");
    saved.snapshot->sizes.map = UINT64_C(65) << 30;
    assert_refused(&saved, "no sandbox can have its sizes");
    saved.snapshot->sizes.map = 0;
    assert_refused(&saved, "mapping \"words\" is not within its window");
    end(&saved);
}

static void what_is_said_of_a_region_is_possible(void **state)
{
    struct kaon_kept_mapping *words, *ring;
    struct saved saved;
    uint64_t size;

    (void)state;
    save(&saved);
    words = &saved.snapshot->kept[WORDS];
    ring = &saved.snapshot->kept[RING];
    size = words->size;
    words->size = 0;
    assert_refused(&saved, "a mapping's size is none");
    words->size = UINT64_MAX;
    assert_refused(&saved, "a mapping's size is none");
    words->size = (UINT64_C(64) << 30) + 1;
    assert_refused(&saved, "a mapping's size is none");
    words->size = size;
    words->offset = 1;
    assert_refused(&saved, "a mapping's offset is no page's");
    words->offset = -PAGE;
    assert_refused(&saved, "a mapping's offset is no page's");
    words->offset = PAGE;
    words->mode = KAON_MAP_WRITE;
    assert_refused(&saved, "a mapping is to write to a file");
    words->mode = KAON_MAP_READ;
    ring->offset = PAGE;
    assert_refused(&saved, "a mapping is of a part of a buffer");
    ring->offset = 0;
    ring->size--;
    assert_refused(&saved, "a mapping is of a part of a buffer");
    ring->size++;
    strcpy(ring->name, "words");
    assert_refused(&saved, "two mappings have one name");
    strcpy(ring->name, "../words");
    assert_refused(&saved, "a mapping's name is none");
    strcpy(ring->name, "a\x1b");
    assert_refused(&saved, "a mapping's name is none");
    memset(ring->name, 'x', sizeof ring->name); /* the config ends the name */
    ring->name[sizeof ring->name - 1] = '\0';
    good(kaon_snapshot_save(saved.snapshot, saved.path,
                            KAON_SAVE_OPTS(.replace = 1), &err));
    good(try(saved.path, &saved, true, false));
    end(&saved);
}

static void what_a_guest_wrote_lies_in_its_mapping(void **state)
{
    struct kaon_kept_mapping *table;
    struct saved saved;

    (void)state;
    save(&saved);
    table = &saved.snapshot->kept[TABLE];
    table->pages[3] = 6; /* between two mappings */
    assert_refused(&saved, "the map is damaged: entry 3 ");
    table->pages[3] = 9; /* a page of the next */
    assert_refused(&saved, "the map is damaged: entry 3 ");
    table->pages[3] = 3;
    assert_refused(&saved, "the map is damaged: entry 3 ");
    table->pages[3] = -UINT64_C(1); /* of the one before */
    assert_refused(&saved, "the map is damaged: entry 3 ");
    table->pages[3] = -UINT64_C(7); /* below the window */
    assert_refused(&saved, "the map is damaged: entry 3 ");
    table->pages[3] = 4;
    table->mode = saved.regions[TABLE].mode = KAON_MAP_READ;
    assert_refused(&saved, "the map is damaged: entry 1 ");
    end(&saved);
}

/* ---- Damaged ------------------------------------------------------------ */

/* The map: a run, three pieces of one mapping and one of the other. */
#define MAP_BYTES (5 * KAON_MAP_ENTRY_SIZE)

struct change {
    const struct saved *saved;
    uint64_t entry;
    struct kaon_map_entry to;
    unsigned made;
};

static void change_map(const char *file, void *user)
{
    struct change *change = user;
    size_t size;
    char *bytes = file_read(file, &size);

    if (size == MAP_BYTES) {
        struct kaon_map_entry was =
            kaon__oci_read_entry((const unsigned char *)bytes, change->entry);

        kaon__oci_write_entry((unsigned char *)bytes, change->entry,
                              &change->to);
        file_write(file, bytes, size);
        change->made++;
        for (int i = 0; i < 2; i++)
            assert_int_equal(try(change->saved->path, change->saved, i, true),
                             KAON_ESNAPSHOT);
        kaon__oci_write_entry((unsigned char *)bytes, change->entry, &was);
        file_write(file, bytes, size);
    }
    free(bytes);
}

static void a_map_has_each_page_of_mappings_once(void **state)
{
    struct saved saved;
    uint64_t table, pad;

    (void)state;
    save(&saved);
    table = saved.snapshot->kept[TABLE].address;
    pad = saved.snapshot->kept[PAD].address;
    {
        const struct {
            uint64_t entry;
            struct kaon_map_entry to;
            const char *words;
        } rows[] = {
            { 4, { pad + 2 * PAGE, 4 * PAGE, 1, 1 }, "leaves out pages" },
            { 4, { pad + 2 * PAGE, 4 * PAGE, 0, 1 }, "entry 4 " },
            { 4, { pad + 2 * PAGE, 4 * PAGE, 3, 1 }, "entry 4 " },
            { 4, { pad + 2 * PAGE, 4 * PAGE, UINT32_MAX, 1 }, "entry 4 " },
            { 4, { pad + PAGE, 4 * PAGE, 3, 1 }, "entry 4 " },
            { 4, { pad + 2 * PAGE, 3 * PAGE, 2, 1 }, "entry 4 " },
            { 4, { pad + 2 * PAGE, -PAGE, 2, 1 }, "entry 4 " },
            { 4, { pad + 2 * PAGE, 4 * PAGE, 2, 0 }, "entry 4 " },
            { 4, { pad + 2 * PAGE, 4 * PAGE, 2, 2 }, "entry 4 " },
            { 4, { pad + 2 * PAGE + 1, 4 * PAGE, 2, 1 }, "entry 4 " },
            { 4, { -PAGE, 4 * PAGE, 2, 1 }, "entry 4 " },
            { 1, { table, 0, 3, 1 }, "entry 2 " },
            { 1, { table + 2 * PAGE, 0, 2, 1 }, "entry 2 " },
            { 0, { table, 0, 1, 1 }, "entry 1 " },
        };

        for (size_t i = 0; i < COUNT(rows); i++) {
            struct change change = { &saved, rows[i].entry, rows[i].to, 0 };

            directory_each(saved.path, change_map, &change);
            assert_int_equal(change.made, 1);
            assert_says(rows[i].words);
        }
    }
    good(try(saved.path, &saved, true, false));
    end(&saved);
}

static void try_damaged(const char *file, void *user)
{
    const struct saved *saved = user;

    for (int regions = 0; regions < 2; regions++) {
        assert_true(try(saved->path, saved, regions, false) != KAON_OK ||
                    strstr(file, "oci-layout") || strstr(file, "index.json"));
        try(saved->path, saved, regions, true);
    }
}

static void flip(const char *file, void *user)
{
    file_each_damage(file, 509, try_damaged, user);
}

static void damage_is_seen_or_harms_nobody(void **state)
{
    struct saved saved;

    (void)state;
    save(&saved);
    directory_each(saved.path, flip, &saved);
    good(try(saved.path, &saved, true, false));
    end(&saved);
}

/* ---- Failures of the system -------------------------------------------- */

static void what_fails_saves_and_opens_nothing(void **state)
{
    struct saved saved;
    enum kaon_status status;
    unsigned n = 0;
    bool failed;
    char path[PATH_SIZE * 2];

    (void)state;
    save(&saved);
    snprintf(path, sizeof path, "%s/new", saved.root);
    do {
        fail_nth_arm(++n);
        status = kaon_snapshot_save(saved.snapshot, path, NULL, &err);
        failed = fail_nth_disarm();
        if (access(path, F_OK) == 0) {
            good(try(path, &saved, true, false));
            directory_remove(path);
        } else if (!status) {
            fail_msg("%s failed, and nobody noticed", fail_nth_name());
        }
    } while (failed);
    assert_true(n > 50);
    n = 0;
    do {
        fail_nth_arm(++n);
        status = try(saved.path, &saved, true, false);
        if (fail_nth_disarm() && status == KAON_OK)
            fail_msg("%s failed, and nobody noticed", fail_nth_name());
    } while (status);
    assert_true(n > 30);
    end(&saved);
}

TESTS(TEST(what_is_mapped_is_opened_with_its_regions),
      TEST(an_opened_one_is_saved_as_it_was),
      TEST(without_regions_it_can_only_be_looked_at),
      TEST(what_cannot_be_saved_of_mappings_is_said),
      TEST(a_region_is_what_was_mapped),
      TEST_ROW(14, mappings_lie_in_the_window),
      TEST_ROW(14, what_is_said_of_a_region_is_possible),
      TEST_ROW(14, what_a_guest_wrote_lies_in_its_mapping),
      TEST_ROW(14, a_map_has_each_page_of_mappings_once),
      TEST_ROW_LIMIT(14, 120, damage_is_seen_or_harms_nobody),
      TEST_LIMIT(120, what_fails_saves_and_opens_nothing), )

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings on the scripted backend, which knows what may be edited in a space
 * that ran, and what must be detached before it runs again; and each failure
 * of a life with mappings.
 */
#include "play.h"

#include "host/arena.h"
#include "host/error.h"
#include "host/memory_mapping.h"
#include "support/fail_nth.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE KAON_PAGE_SIZE

/* What the guest is to do with its next call. */
struct access {
    uint64_t address;
    int write; /* this byte; -1: read */
    int got;
};

static enum kaon_status accesses(struct kaon_scripted_guest *guest,
                                 struct kaon_exit *exit, void *user)
{
    struct access *access = ((struct play *)user)->user;
    unsigned char *at =
        play_touch(guest, exit, access->address,
                   access->write < 0 ? KAON_ACCESS_READ : KAON_ACCESS_WRITE);

    if (!at)
        return KAON_OK;
    if (access->write >= 0)
        *at = (unsigned char)access->write;
    access->got = *at;
    return play_return_void(guest, exit);
}

static int read_byte(struct play *play, uint64_t address)
{
    struct access access = { .address = address, .write = -1 };

    play->user = &access;
    play_call(play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    return access.got;
}

static void write_byte(struct play *play, uint64_t address, int byte)
{
    struct access access = { .address = address, .write = byte };

    play->user = &access;
    play_call(play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
}

/* A buffer each page of which begins with its number, plus some. */
static struct kaon_region *numbered(uint64_t pages, uint64_t more)
{
    struct kaon_region *region;
    unsigned char *data;

    assert_int_equal(kaon_region_create(&region, pages * PAGE, NULL), KAON_OK);
    data = kaon_region_data(region);
    for (uint64_t i = 0; i < pages; i++)
        data[i * PAGE] = (unsigned char)(i + more);
    return region;
}

static uint64_t map(struct play *play, struct kaon_region *region,
                    enum kaon_map_mode mode)
{
    uint64_t at;

    if (kaon_sandbox_map(play->sandbox, &at, region,
                         KAON_MAP_OPTS(.mode = mode), &play->err))
        fail_msg("%s", play->err.text);
    return at;
}

static void unmap(struct play *play, uint64_t address)
{
    if (kaon_sandbox_unmap(play->sandbox, address, &play->err))
        fail_msg("%s", play->err.text);
}

/* ---- The window -------------------------------------------------------- */

static void the_window_has_page_tables_of_its_own(void **state)
{
    struct play play = { .guest = accesses };
    const struct kaon_memory *memory;

    (void)state;
    play.opts.heap_bytes = 12345678;
    play_begin(&play);
    memory = play.sandbox->memory;
    assert_int_equal(memory->window.low % (2 << 20), 0);
    assert_true(memory->window.low - memory->heap.high >= 65536);
    assert_true(memory->window.low - memory->heap.high < 65536 + (2 << 20));
    assert_int_equal(memory->window.high - memory->window.low, 1 << 30);
    play_end(&play);
}

/* Any number of pages, so that pieces end within words and at their ends. */
static void pages_are_copied_one_by_one(void **state)
{
    static const uint64_t sizes[] = { 1, 2, 63, 64, 65, 128, 130 };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct play play = { .guest = accesses };
        struct kaon_region *region = numbered(sizes[i], 1);
        unsigned char *data = kaon_region_data(region);
        uint64_t at, pages = sizes[i];
        bool written[130] = { false };

        play_begin(&play);
        at = map(&play, region, KAON_MAP_COPY);
        srandom((unsigned)i);
        for (uint64_t k = 0; k < 2 * pages; k++) {
            uint64_t page = (uint64_t)random() % pages;

            if (random() % 2)
                write_byte(&play, at + page * PAGE, 200);
            written[page] |= read_byte(&play, at + page * PAGE) == 200;
            assert_int_equal(read_byte(&play, at + page * PAGE),
                             written[page] ? 200 : data[page * PAGE]);
        }
        for (uint64_t page = 0; page < pages; page++)
            assert_int_equal(data[page * PAGE], page + 1);
        play_end(&play);
        kaon_region_destroy(region);
    }
}

static void mappings_come_and_go_in_any_order(void **state)
{
    enum { COUNT = 8 };
    struct play play = { .guest = accesses };
    struct kaon_region *regions[COUNT];
    uint64_t at[COUNT] = { 0 }, used = 0;

    (void)state;
    play_begin(&play);
    for (unsigned i = 0; i < COUNT; i++)
        regions[i] = numbered(1 + i, 10 * i);
    srandom(3);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned i = (unsigned)random() % COUNT;

        if (at[i]) {
            assert_int_equal(read_byte(&play, at[i] + i * PAGE), 11 * i);
            unmap(&play, at[i]);
            at[i] = 0;
        } else {
            at[i] = map(&play, regions[i], (enum kaon_map_mode)(random() % 3));
        }
        if (round == 100)
            used = kaon__arena_used(play.domain->machine->arena);
    }
    /* Its tables are kept, and serve again. */
    assert_int_equal(kaon__arena_used(play.domain->machine->arena), used);
    play_end(&play);
    for (unsigned i = 0; i < COUNT; i++)
        kaon_region_destroy(regions[i]);
}

/* ---- Snapshots against a model ----------------------------------------- */

enum { PAGES = 70, SNAPSHOTS = 6 };

struct model {
    int mode; /* -1: not mapped */
    unsigned char bytes[PAGES];
};

static void check_model(struct play *play, uint64_t at,
                        const struct model *model)
{
    if (model->mode < 0)
        return;
    for (uint64_t page = 0; page < PAGES; page += 3)
        assert_int_equal(read_byte(play, at + page * PAGE), model->bytes[page]);
}

static void snapshots_are_what_a_simple_model_says(void **state)
{
    struct play play = { .guest = accesses };
    struct kaon_region *region = numbered(PAGES, 1);
    struct kaon_snapshot *snapshots[SNAPSHOTS] = { NULL };
    struct model now = { .mode = -1 }, kept[SNAPSHOTS];
    uint64_t at = 0;

    (void)state;
    play_begin(&play);
    srandom(11);
    for (unsigned round = 0; round < 2000; round++) {
        unsigned which = (unsigned)random() % SNAPSHOTS;
        uint64_t page = (uint64_t)random() % PAGES;

        switch (random() % 8) {
        case 0:
            if (now.mode >= 0)
                unmap(&play, at);
            now.mode = -1;
            break;
        case 1:
            if (now.mode >= 0)
                break;
            now.mode = random() % 2 ? KAON_MAP_COPY : KAON_MAP_READ;
            at = map(&play, region, (enum kaon_map_mode)now.mode);
            for (unsigned i = 0; i < PAGES; i++)
                now.bytes[i] = (unsigned char)(i + 1);
            break;
        case 2:
            kaon_snapshot_destroy(snapshots[which]);
            assert_int_equal(
                kaon_snapshot_take(&snapshots[which], play.sandbox, &play.err),
                KAON_OK);
            kept[which] = now;
            break;
        case 3:
            if (!snapshots[which])
                break;
            if (kaon_sandbox_restore(play.sandbox, snapshots[which], &play.err))
                fail_msg("%s", play.err.text);
            now = kept[which];
            break;
        case 4: check_model(&play, at, &now); break;
        default:
            if (now.mode != KAON_MAP_COPY)
                break;
            now.bytes[page] = (unsigned char)random();
            write_byte(&play, at + page * PAGE, now.bytes[page]);
        }
    }
    check_model(&play, at, &now);
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        kaon_snapshot_destroy(snapshots[i]);
    play_end(&play);
    kaon_region_destroy(region);
}

/* ---- What the host reads ----------------------------------------------- */

static void the_host_reads_what_the_guest_sees(void **state)
{
    struct play play = { .guest = accesses };
    struct kaon_region *region = numbered(3, 1);
    unsigned char bytes[2 * PAGE];
    uint64_t at;

    (void)state;
    play_begin(&play);
    at = map(&play, region, KAON_MAP_COPY);
    write_byte(&play, at + PAGE + 1, 77);
    assert_true(
        kaon__memory_read(play.sandbox->memory, at + 100, bytes, sizeof bytes));
    assert_int_equal(bytes[PAGE - 100], 2);
    assert_int_equal(bytes[PAGE - 99], 77);
    assert_false(kaon__memory_read(play.sandbox->memory, at + 2 * PAGE, bytes,
                                   sizeof bytes));
    assert_false(kaon__memory_read(play.sandbox->memory, at - 1, bytes, 1));
    play_end(&play);
    kaon_region_destroy(region);
}

/* ---- Failures ---------------------------------------------------------- */

/* It imports nothing. */
static struct kaon_image *make_image(void)
{
    struct elf_file *file = elf_build(&(struct elf_spec){ 0 });
    struct kaon_image *image = NULL;

    assert_int_equal(kaon_image_parse(&image, file->bytes, file->size, NULL),
                     KAON_OK);
    free(file);
    return image;
}

struct life {
    struct kaon_image *image;
    struct kaon_domain *domain;
    struct kaon_sandbox *sandbox, *made, *mapped;
    struct kaon_region *file, *buffer;
    struct kaon_snapshot *snapshot;
    struct kaon_error err;
};

static enum kaon_status create_mapped(struct life *life)
{
    const struct kaon_sandbox_mapping list[] = {
        { life->file, KAON_MAP_OPTS(.mode = KAON_MAP_COPY), NULL },
        { life->buffer, KAON_MAP_OPTS(.mode = KAON_MAP_WRITE), NULL },
    };

    return kaon_sandbox_create(&life->mapped, life->image,
                               KAON_SANDBOX_OPTS(.domain = life->domain,
                                                 .mappings = list,
                                                 .mapping_count = 2),
                               &life->err);
}

static enum kaon_status step(struct life *life, int number, int fd)
{
    static uint64_t at[3]; /* from one step to the next */

    switch (number) {
    case 0: return kaon_region_open_fd(&life->file, fd, 0, 0, &life->err);
    case 1: return kaon_region_create(&life->buffer, 2 * PAGE, &life->err);
    case 2:
        return kaon_sandbox_create(&life->sandbox, life->image,
                                   KAON_SANDBOX_OPTS(.domain = life->domain),
                                   &life->err);
    case 3:
        return kaon_sandbox_map(life->sandbox, &at[0], life->file, NULL,
                                &life->err);
    case 4:
        return kaon_sandbox_map(life->sandbox, &at[1], life->file,
                                KAON_MAP_OPTS(.mode = KAON_MAP_COPY),
                                &life->err);
    case 5:
        return kaon_sandbox_map(life->sandbox, &at[2], life->buffer,
                                KAON_MAP_OPTS(.mode = KAON_MAP_WRITE),
                                &life->err);
    case 6:
        if (kaon__memory_fault(life->sandbox->memory, at[1],
                               KAON_ACCESS_WRITE) != KAON_FAULT_PROVIDED)
            return kaon__fail(&life->err, KAON_EIO, "a page was not read");
        life->sandbox->memory->mappings->next->copy->memory[0] = 3;
        return kaon_snapshot_take(&life->snapshot, life->sandbox, &life->err);
    case 7: return kaon_sandbox_unmap(life->sandbox, at[0], &life->err);
    case 8: return kaon_sandbox_unmap(life->sandbox, at[1], &life->err);
    case 9:
        return kaon_sandbox_restore(life->sandbox, life->snapshot, &life->err);
    case 10:
        return kaon_sandbox_create_from(
            &life->made, life->snapshot,
            KAON_SANDBOX_OPTS(.domain = life->domain), &life->err);
    case 11: return create_mapped(life);
    }
    return KAON_OK;
}

enum { STEPS = 12 };

static void end_life(struct life *life)
{
    kaon_sandbox_destroy(life->mapped);
    kaon_sandbox_destroy(life->made);
    kaon_sandbox_destroy(life->sandbox);
    kaon_region_destroy(life->file);
    kaon_region_destroy(life->buffer);
    kaon_snapshot_destroy(life->snapshot);
    kaon_domain_destroy(life->domain);
    kaon_image_destroy(life->image);
}

/* Each call of each step fails in turn. What failed is tried once more, which
 * succeeds, and so does all that follows. */
static void fail_each(enum kaon_status (*make_domain)(struct life *life))
{
    FILE *file = tmpfile();
    unsigned failed = 0;
    bool more = true;

    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 5 * PAGE + 1), 0);
    for (unsigned nth = 1; more; nth++) {
        struct life life = { .image = make_image() };
        enum kaon_status status;

        assert_int_equal(make_domain(&life), KAON_OK);
        fail_nth_arm(nth);
        for (int i = 0; i < STEPS; i++) {
            unsigned before = fail_nth_count();

            status = step(&life, i, fileno(file));
            if (!status)
                continue;
            if (!life.err.text[0])
                fail_msg("%s in step %d: no words", fail_nth_name(), i);
            assert_in_range(nth, before + 1, fail_nth_count());
            failed++;
            if (step(&life, i, fileno(file)))
                fail_msg("after %s in step %d: %s", fail_nth_name(), i,
                         life.err.text);
        }
        more = fail_nth_disarm();
        end_life(&life);
    }
    assert_true(failed > 25);
    fclose(file);
}

static enum kaon_status scripted_domain(struct life *life)
{
    return kaon__scripted_domain(&life->domain, 2 << 20, NULL, NULL,
                                 &life->err);
}

static enum kaon_status kvm_domain(struct life *life)
{
    return kaon_domain_create(
        &life->domain, KAON_DOMAIN_OPTS(.memory_bytes = 2 << 20), &life->err);
}

static void what_failed_on_the_scripted_backend_can_be_tried_again(void **state)
{
    (void)state;
    fail_each(scripted_domain);
}

static void what_failed_on_kvm_can_be_tried_again(void **state)
{
    const char *why;

    (void)state;
    if (!harness_have_kvm(&why))
        harness_skip("%s", why);
    fail_each(kvm_domain);
}

/* The domain has no page for a table: an error, and all is as before. */
static void a_full_domain_maps_nothing(void **state)
{
    struct play play = { .guest = accesses, .memory_bytes = 2 << 20 };
    struct kaon_region *region = numbered(2000, 0);
    struct kaon_arena *arena;
    uint64_t at, pages[600];
    unsigned count = 0, left = 0;

    (void)state;
    play_begin(&play);
    arena = play.domain->machine->arena;
    while ((pages[count] = kaon__arena_page(arena)))
        count++;
    /* One more page each time, until its four tables and two above fit. */
    while (kaon_sandbox_map(play.sandbox, &at, region, NULL, &play.err)) {
        assert_int_equal(play.err.status, KAON_ENOMEM);
        assert_null(play.sandbox->memory->mappings);
        kaon__arena_page_free(arena, pages[--count]);
        left++;
    }
    assert_in_range(left, 4, 6);
    assert_int_equal(read_byte(&play, at + 1999 * PAGE), 1999 % 256);
    while (count)
        kaon__arena_page_free(arena, pages[--count]);
    play_end(&play);
    kaon_region_destroy(region);
}

/* clang-format off */
TESTS(
    TEST(the_window_has_page_tables_of_its_own),
    TEST_ROW(22, pages_are_copied_one_by_one),
    TEST_ROW(23, mappings_come_and_go_in_any_order),
    TEST(snapshots_are_what_a_simple_model_says),
    TEST(the_host_reads_what_the_guest_sees),
    TEST_ROW(27, what_failed_on_the_scripted_backend_can_be_tried_again),
    TEST_ROW(27, what_failed_on_kvm_can_be_tried_again),
    TEST_ROW(27, a_full_domain_maps_nothing),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's memory without a guest: its layout, its reset, how much of the
 * arena it can need at most, and that each failure gives everything back.
 */
#include "play.h"

#include "host/arena.h"
#include "host/image.h"
#include "host/memory.h"
#include "host/seed.h"
#include "host/view.h"
#include "support/fail_nth.h"

#include <stdlib.h>
#include <string.h>

#define PAGE KAON_PAGE_SIZE
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

struct fixture {
    struct kaon_backend backend; /* may differ from the scripted one */
    struct kaon_machine *machine;
    struct kaon_image *image;
    struct kaon_view *view;
};

static const struct kaon_sizes small = { 64 * KIB, 32 * KIB, 32 * KIB, 0 };

/* A machine, and the image as it shows it. */
static void begin(struct fixture *f, uint64_t memory_bytes, uint64_t data_bytes)
{
    const struct kaon_machine_config config = { .memory_bytes = memory_bytes };
    struct kaon_error err;

    f->backend = kaon__backend_scripted;
    f->image = play_image(data_bytes, 0);
    if (f->backend.machine_create(&f->machine, &config, &err) ||
        kaon__view_create(&f->view, f->machine, f->image, NULL, NULL, &err) ||
        kaon__view_show(f->view, f->machine, &err))
        fail_msg("%s", err.text);
    f->machine->backend = &f->backend;
}

static void end(struct fixture *f)
{
    f->backend.machine_destroy(f->machine);
    kaon__view_destroy(f->view);
    kaon_image_destroy(f->image);
}

static const struct kaon_seed seed;

static struct kaon_memory *make(struct fixture *f,
                                const struct kaon_sizes *sizes)
{
    struct kaon_memory *memory;
    struct kaon_error err;

    if (kaon__memory_create(&memory, f->machine, f->view, sizes, &err))
        fail_msg("%s", err.text);
    kaon__memory_begin(memory, &seed);
    return memory;
}

static uint64_t used(const struct fixture *f)
{
    return kaon__arena_used(f->machine->arena);
}

/* Where the host sees a page that the guest may write; NULL if it may not. */
static unsigned char *writable(const struct fixture *f,
                               const struct kaon_memory *memory,
                               uint64_t address)
{
    uint64_t physical;
    unsigned protection;

    if (!f->backend.space_look(f->machine, memory->space, address, &physical,
                               &protection) ||
        !(protection & KAON_PROTECT_WRITE))
        return NULL;
    return kaon__arena_at(f->machine->arena, physical);
}

/* Writes to a page as a guest does; false if there is no page for it. */
static bool touch(const struct fixture *f, struct kaon_memory *memory,
                  uint64_t address)
{
    unsigned char *at = writable(f, memory, address & -PAGE);

    if (!at) {
        enum kaon_fault_answer answer =
            kaon__memory_fault(memory, address, KAON_ACCESS_WRITE);

        assert_int_not_equal(answer, KAON_FAULT_DENIED);
        if (answer == KAON_FAULT_NO_PAGE)
            return false;
        at = writable(f, memory, address & -PAGE);
    }
    assert_non_null(at);
    memset(at, 0x5a, PAGE);
    return true;
}

/* All that the guest may write, from the image's data to the heap's end. */
static bool touch_all(const struct fixture *f, struct kaon_memory *memory)
{
    for (uint32_t i = 0; i < f->image->region_count; i++) {
        const struct kaon_image_region *region = &f->image->regions[i];

        for (uint64_t k = 0; region->writable && k < region->pages; k++)
            if (!touch(f, memory, region->address + k * PAGE))
                return false;
    }
    for (uint64_t at = memory->stack.low; at < memory->heap.high; at += PAGE)
        if (!touch(f, memory, at))
            return false;
    return true;
}

/* ---- Layout ------------------------------------------------------------ */

static void regions_follow_each_other(void **state)
{
    struct kaon_memory *memory;
    struct fixture f;

    (void)state;
    begin(&f, 2 * MIB, 0);
    memory = make(&f, &small);
    assert_true(memory->guard >= ELF_DATA + 3 * PAGE);
    assert_int_equal(memory->stack.low, memory->guard + 64 * KIB);
    assert_int_equal(memory->stack.high, memory->stack.low + 32 * KIB);
    assert_int_equal(memory->mailbox, memory->stack.high);
    assert_int_equal(memory->heap.low, memory->mailbox + 32 * KIB);
    assert_int_equal(memory->heap.high, memory->heap.low + 64 * KIB);
    assert_int_equal(memory->stack.low % PAGE, 0);
    /* The mailbox, the stack's first page, three pages of data. */
    assert_int_equal(kaon__memory_bytes(memory), 5 * PAGE);
    assert_null(memory->area);
    kaon__memory_release(memory);
    end(&f);
}

static void text_and_rodata_are_the_images_own(void **state)
{
    struct kaon_memory *one, *two;
    uint64_t first, second;
    unsigned protection;
    struct fixture f;

    (void)state;
    begin(&f, 2 * MIB, 0);
    one = make(&f, &small);
    two = make(&f, &small);
    assert_true(f.backend.space_look(f.machine, one->space, ELF_TEXT, &first,
                                     &protection));
    assert_int_equal(protection, KAON_PROTECT_EXECUTE);
    assert_true(f.backend.space_look(f.machine, two->space, ELF_TEXT, &second,
                                     &protection));
    assert_int_equal(first, second);
    assert_int_equal(first, f.view->attachments[0].physical);
    assert_true(f.backend.space_look(f.machine, one->space, ELF_RODATA, &first,
                                     &protection));
    assert_int_equal(protection, KAON_PROTECT_READ);
    assert_null(writable(&f, one, ELF_TEXT));
    kaon__memory_release(one);
    kaon__memory_release(two);
    end(&f);
}

static void a_small_sandbox_costs_few_tables(void **state)
{
    struct kaon_memory *memory;
    struct fixture f;
    uint64_t before;

    (void)state;
    begin(&f, 2 * MIB, 0);
    before = used(&f);
    memory = make(&f, &small);
    /* Its own pages, a root, and a table of each lower level. */
    assert_int_equal(used(&f) - before, (5 + 4) * PAGE);
    kaon__memory_release(memory);
    assert_int_equal(used(&f), before);
    end(&f);
}

/* ---- Reset ------------------------------------------------------------- */

/* Everything that a guest can see, at each page: as it starts with. */
static void expect_fresh(const struct fixture *f,
                         const struct kaon_memory *memory)
{
    const struct kaon_mailbox expected = {
        .magic = KAON_MAILBOX_MAGIC,
        .abi_version = KAON_ABI_VERSION,
        .exchange_size = (uint32_t)memory->sizes.exchange,
        .heap = memory->heap.low,
        .heap_size = memory->sizes.heap,
        .stack_low = memory->stack.low,
        .stack_high = memory->stack.high,
    };
    static unsigned char bytes[PAGE];
    static const unsigned char zero[PAGE];

    for (uint32_t i = 0; i < f->image->region_count; i++) {
        const struct kaon_image_region *region = &f->image->regions[i];

        for (uint64_t k = 0; k < region->pages; k++) {
            assert_true(kaon__memory_read(memory, region->address + k * PAGE,
                                          bytes, PAGE));
            assert_memory_equal(
                bytes, f->image->memory + region->offset + k * PAGE, PAGE);
        }
    }
    for (uint64_t at = memory->stack.low; at < memory->heap.high; at += PAGE)
        if (kaon__memory_read(memory, at, bytes, PAGE))
            assert_memory_equal(
                bytes,
                at == memory->mailbox ? (const unsigned char *)&expected : zero,
                PAGE);
    assert_int_equal(memory->faults | memory->copied | memory->zeroed, 0);
}

static void reset_after(uint64_t data_bytes, unsigned touches, bool area)
{
    struct kaon_memory *memory;
    struct fixture f;
    uint64_t before;

    begin(&f, 8 * MIB, data_bytes);
    memory = make(&f, &(struct kaon_sizes){ 4 * MIB, MIB, 64 * KIB, 0 });
    expect_fresh(&f, memory);
    for (int round = 0; round < 3; round++) {
        memset(memory->mailbox_page, 0xa5, PAGE);
        for (unsigned i = 0; i < touches; i++)
            assert_true(
                touch(&f, memory,
                      memory->heap.low + (uint64_t)(random() % 1000) * PAGE));
        for (unsigned i = 0; i < touches / 4; i++) {
            assert_true(
                touch(&f, memory, memory->stack.high - (1 + i % 256) * PAGE));
            assert_true(
                touch(&f, memory, ELF_DATA + i * PAGE % (data_bytes & -PAGE)));
        }
        if (area)
            for (unsigned i = 1; i < 16; i++)
                assert_true(touch(&f, memory, memory->mailbox + i * PAGE));
        before = used(&f);
        kaon__memory_reset(memory);
        kaon__memory_begin(memory, &seed);
        expect_fresh(&f, memory);
        assert_int_equal(used(&f), before);
    }
    kaon__memory_release(memory);
    end(&f);
}

static void a_reset_restores_all_that_was_written(void **state)
{
    (void)state;
    srandom(5);
    reset_after(3 * PAGE, 4, false); /* cleared page by page */
    reset_after(16 * PAGE, 20, true);
    reset_after(3 * PAGE, 400, false); /* given back to the host */
    reset_after(16 * PAGE, 400, true);
}

/* The next guest grows as slowly as the first did. */
static void a_reset_forgets_how_the_last_guest_grew(void **state)
{
    struct kaon_memory *memory;
    struct fixture f;

    (void)state;
    begin(&f, 8 * MIB, 0);
    memory = make(&f, &(struct kaon_sizes){ 4 * MIB, MIB, 64 * KIB, 0 });
    for (int round = 0; round < 2; round++) {
        /* The second time where the last guest's next page would be. */
        uint64_t at = memory->heap.low + (uint64_t)round * 3 * PAGE;

        assert_true(touch(&f, memory, at));
        assert_int_equal(memory->zeroed, 1);
        assert_true(touch(&f, memory, at + PAGE));
        assert_int_equal(memory->zeroed, 3);
        assert_int_equal(memory->faults, 2);
        kaon__memory_reset(memory);
        kaon__memory_begin(memory, &seed);
    }
    kaon__memory_release(memory);
    end(&f);
}

/* ---- How much it can need ---------------------------------------------- */

/* What a machine has of its own: the gate, a vCPU's page, and their tables. */
#define MACHINE_PAGES 6

static void fits_in_its_bound(uint64_t data_bytes, struct kaon_sizes sizes,
                              bool grows)
{
    struct kaon_memory *memory;
    struct fixture f;

    f.image = play_image(data_bytes, 0);
    const uint64_t bound = kaon__memory_bound(f.image, &sizes);

    kaon_image_destroy(f.image);
    begin(&f, bound, data_bytes);
    f.backend.spaces_grow = grows;
    for (int i = 0; i < MACHINE_PAGES; i++)
        assert_int_not_equal(kaon__arena_page(f.machine->arena), 0);
    memory = make(&f, &sizes);
    if (grows)
        assert_true(touch_all(&f, memory));
    /* It is not much more than is of use, either. */
    assert_true(bound - used(&f) <= 64 * PAGE + bound / 256);
    kaon__memory_release(memory);
    end(&f);
}

static void the_bound_is_enough_for_a_guest_that_touches_all(void **state)
{
    static const struct kaon_sizes cases[] = {
        { PAGE, 16 * KIB, 4 * KIB, 0 },
        { PAGE, 16 * KIB, 8 * KIB, 0 },
        { 64 * KIB, 256 * KIB, MIB, 0 },
        { 16 * MIB, 256 * KIB, MIB, 0 },
        { 20 * MIB, 4 * MIB, 3 * MIB, 0 },
        { 3 * PAGE, 5 * PAGE, 7 * MIB, 0 },
        { 2 * MIB - PAGE, 16 * KIB, 4 * KIB, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t data = PAGE; data < 8 * MIB; data = 5 * data + PAGE) {
            fits_in_its_bound(data, cases[i], true);
            fits_in_its_bound(data, cases[i], false);
        }
}

/* Its page tables are then more than what the machine has to spare. */
static void the_bound_is_enough_for_a_large_guest(void **state)
{
    (void)state;
    fits_in_its_bound(40 * MIB, (struct kaon_sizes){ 150 * MIB, MIB, MIB, 0 },
                      true);
}

/* ---- Too little -------------------------------------------------------- */

static void a_full_arena_gives_all_back(void **state)
{
    struct kaon_image *image = play_image(3 * PAGE, 0);
    const struct kaon_machine_config config = { .memory_bytes = 64 * PAGE };
    bool done = false;

    (void)state;
    for (uint64_t room = 0; !done; room++) {
        struct kaon_machine *machine;
        struct kaon_view *view = NULL;
        struct kaon_memory *memory = NULL;
        struct kaon_error err = { 0 };
        enum kaon_status status;
        uint64_t before;

        kaon__backend_scripted.machine_create(&machine, &config, &err);
        for (uint64_t i = room; i < 64; i++)
            kaon__arena_page(machine->arena);
        before = kaon__arena_used(machine->arena);
        assert_int_equal(
            kaon__view_create(&view, machine, image, NULL, NULL, &err),
            KAON_OK);
        status = kaon__view_show(view, machine, &err);
        if (status) {
            assert_true(view->space.root == 0);
            assert_int_equal(kaon__arena_used(machine->arena), before);
        } else {
            before = kaon__arena_used(machine->arena);
            status = kaon__memory_create(&memory, machine, view, &small, &err);
        }
        if (status) {
            assert_int_equal(status, KAON_ENOMEM);
            assert_true(strlen(err.text) > 10);
            assert_null(memory);
            assert_int_equal(kaon__arena_used(machine->arena), before);
        } else {
            kaon__memory_release(memory);
            assert_int_equal(kaon__arena_used(machine->arena), before);
            /* The view's root and tables, the sandbox's, and its pages. */
            assert_int_equal(room, 5 + 4 + 5);
            done = true;
        }
        kaon__backend_scripted.machine_destroy(machine);
        kaon__view_destroy(view);
    }
    kaon_image_destroy(image);
}

static void each_failing_allocation_gives_all_back(void **state)
{
    struct kaon_memory *memory = NULL;
    unsigned nth = 1;
    struct fixture f;
    uint64_t before;

    (void)state;
    begin(&f, 2 * MIB, 3 * PAGE);
    before = used(&f);
    for (;; nth++) {
        struct kaon_error err = { 0 };
        enum kaon_status status;

        fail_nth_arm(nth);
        status = kaon__memory_create(&memory, f.machine, f.view, &small, &err);
        if (!fail_nth_disarm())
            break;
        assert_int_equal(status, KAON_ENOMEM);
        assert_null(memory);
        assert_true(strlen(err.text) > 10);
        assert_int_equal(used(&f), before);
    }
    assert_true(nth > 2);
    kaon__memory_release(memory);
    assert_int_equal(used(&f), before);
    end(&f);
}

/* The host runs out of room for its notes, and not out of pages. */
static void no_room_to_note_a_page_is_no_page(void **state)
{
    enum kaon_fault_answer answer = KAON_FAULT_PROVIDED;
    struct kaon_memory *memory;
    struct fixture f;
    uint64_t at;

    (void)state;
    begin(&f, 2 * MIB, 0);
    memory = make(&f, &small);
    fail_nth_arm(1);
    for (at = memory->heap.high; answer == KAON_FAULT_PROVIDED;) {
        at -= PAGE;
        answer = kaon__memory_fault(memory, at, KAON_ACCESS_WRITE);
    }
    assert_true(fail_nth_disarm());
    assert_int_equal(answer, KAON_FAULT_NO_PAGE);
    assert_true(touch(&f, memory, at));
    kaon__memory_release(memory);
    end(&f);
}

/*
 * An area whose leaf tables do not all find room is mapped in part. What is
 * there the guest may write, so the next guest must not see it; and once
 * there is room, the rest must come.
 */
static void an_area_that_is_mapped_in_part_is_no_leak(void **state)
{
    const struct kaon_sizes sizes = { PAGE, 16 * KIB, 5 * MIB, 0 };
    uint64_t kept[4096], count = 0;
    struct kaon_memory *memory;
    struct fixture f;
    uint64_t at;

    (void)state;
    begin(&f, 16 * MIB, 0);
    memory = make(&f, &sizes);
    /* Room for the area and for one of its two new tables. */
    while (f.machine->arena->high - f.machine->arena->low >
           5 * MIB - PAGE + PAGE)
        kept[count++] = kaon__arena_page(f.machine->arena);
    assert_int_not_equal(kaon__memory_need_area(memory, 5 * MIB, NULL),
                         KAON_OK);
    assert_null(memory->area);
    at = memory->mailbox + PAGE;
    assert_non_null(writable(&f, memory, at));
    assert_null(writable(&f, memory, memory->heap.low - PAGE));
    for (; writable(&f, memory, at); at += PAGE)
        memset(writable(&f, memory, at), 0x77, PAGE);
    kaon__memory_reset(memory);
    kaon__memory_begin(memory, &seed);
    expect_fresh(&f, memory);

    assert_int_not_equal(kaon__memory_need_area(memory, 5 * MIB, NULL),
                         KAON_OK);
    kaon__arena_page_free(f.machine->arena, kept[--count]);
    assert_int_equal(kaon__memory_need_area(memory, 5 * MIB, NULL), KAON_OK);
    for (at = memory->mailbox + PAGE; at < memory->heap.low; at += PAGE)
        assert_non_null(writable(&f, memory, at));
    while (count)
        kaon__arena_page_free(f.machine->arena, kept[--count]);
    assert_true(touch_all(&f, memory));
    kaon__memory_release(memory);
    end(&f);
}

/* ---- Reading ----------------------------------------------------------- */

static void reading_stops_where_nothing_is(void **state)
{
    struct kaon_memory *memory;
    unsigned char bytes[64];
    struct fixture f;

    (void)state;
    begin(&f, 2 * MIB, 0);
    memory = make(&f, &small);
    memset(memory->mailbox_page, 'm', 32);
    memset(writable(&f, memory, memory->stack.high - PAGE) + PAGE - 32, 's',
           32);
    /* Across pages that do not follow each other in the arena. */
    assert_true(kaon__memory_read(memory, memory->mailbox - 32, bytes, 64));
    assert_int_equal(bytes[0], 's');
    assert_int_equal(bytes[31], 's');
    assert_int_equal(bytes[32], 'm');
    assert_int_equal(bytes[63], 'm');
    assert_true(kaon__memory_read(memory, ELF_DATA, bytes, 48));
    assert_int_equal(bytes[47], 'd');
    assert_true(kaon__memory_read(memory, ELF_TEXT, bytes, 16));
    assert_int_equal(bytes[0], 0xcc);
    assert_true(kaon__memory_read(memory, 0, bytes, 0));
    assert_false(kaon__memory_read(memory, 0, bytes, 1));
    assert_false(kaon__memory_read(memory, ELF_TEXT - 1, bytes, 2));
    assert_false(kaon__memory_read(memory, memory->heap.low, bytes, 1));
    assert_false(kaon__memory_read(memory, UINT64_C(1) << 47, bytes, 1));
    assert_false(kaon__memory_read(memory, UINT64_MAX, bytes, 64));
    kaon__memory_release(memory);
    end(&f);
}

/* clang-format off */
TESTS(
    TEST(regions_follow_each_other),
    TEST(text_and_rodata_are_the_images_own),
    TEST(a_small_sandbox_costs_few_tables),
    TEST_ROW(25, a_reset_restores_all_that_was_written),
    TEST(a_reset_forgets_how_the_last_guest_grew),
    TEST_LIMIT(120, the_bound_is_enough_for_a_guest_that_touches_all),
    TEST(the_bound_is_enough_for_a_large_guest),
    TEST_ROW(27, a_full_arena_gives_all_back),
    TEST_ROW(27, each_failing_allocation_gives_all_back),
    TEST(no_room_to_note_a_page_is_no_page),
    TEST_ROW(25, an_area_that_is_mapped_in_part_is_no_leak),
    TEST(reading_stops_where_nothing_is),
)

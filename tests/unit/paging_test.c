/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables, against a model; what spaces share and what they own; and that
 * no guest can reach a table.
 */
#include "backend/backend.h"
#include "backend/kvm/x86_64.h"
#include "backend/paging_x86_64.h"
#include "host/arena.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

#define PHYSICAL UINT64_C(0x200000)
#define PAGE KAON_PAGE_SIZE
#define ARENA_PAGES 512

/* Frames that leaves show: none of the arena, so that no table is among them.
 */
#define FRAMES (UINT64_C(1) << 40)

static void begin(struct kaon_arena *arena, size_t pages)
{
    void *memory = calloc(pages, PAGE);

    assert_non_null(memory);
    kaon__arena_init(arena, memory, pages * PAGE, PHYSICAL);
}

static void end(struct kaon_arena *arena)
{
    assert_int_equal(kaon__arena_used(arena), 0);
    free(arena->base);
    kaon__arena_finish(arena);
}

static uint64_t pages_used(struct kaon_arena *arena)
{
    return kaon__arena_used(arena) / PAGE;
}

static void map(struct kaon_arena *arena, uint64_t root, uint64_t address,
                uint64_t physical, uint64_t pages, unsigned protection)
{
    assert_true(kaon__paging_map(arena, root, address, physical, pages,
                                 protection, false));
}

static void expect(struct kaon_arena *arena, uint64_t root, uint64_t address,
                   uint64_t physical, unsigned protection)
{
    uint64_t got;
    unsigned as;

    assert_true(kaon__paging_look(arena, root, address, &got, &as));
    assert_int_equal(got, physical);
    assert_int_equal(as, protection);
}

static void expect_nothing(struct kaon_arena *arena, uint64_t root,
                           uint64_t address)
{
    uint64_t got;
    unsigned as;

    assert_false(kaon__paging_look(arena, root, address, &got, &as));
}

static void a_new_space_shows_nothing(void **state)
{
    struct kaon_arena arena;
    uint64_t root;

    (void)state;
    begin(&arena, ARENA_PAGES);
    root = kaon__paging_create(&arena, 0);
    expect_nothing(&arena, root, 0);
    expect_nothing(&arena, root, 0x400000);
    expect_nothing(&arena, root, (UINT64_C(1) << 47) - PAGE);
    assert_int_equal(pages_used(&arena), 1);
    kaon__paging_destroy(&arena, root);
    end(&arena);
}

static void a_space_shows_what_was_mapped_as_it_was(void **state)
{
    struct kaon_arena arena;
    uint64_t root;

    (void)state;
    begin(&arena, ARENA_PAGES);
    root = kaon__paging_create(&arena, 0);
    map(&arena, root, 0x400000, FRAMES, 2, KAON_PROTECT_EXECUTE);
    map(&arena, root, 0x402000, FRAMES + 0x8000, 1, KAON_PROTECT_READ);
    map(&arena, root, 0x403000, FRAMES + 0x4000, 1, KAON_PROTECT_WRITE);
    expect_nothing(&arena, root, 0x3ff000);
    expect(&arena, root, 0x400000, FRAMES, KAON_PROTECT_EXECUTE);
    expect(&arena, root, 0x401000, FRAMES + PAGE, KAON_PROTECT_EXECUTE);
    expect(&arena, root, 0x402000, FRAMES + 0x8000, KAON_PROTECT_READ);
    expect(&arena, root, 0x403000, FRAMES + 0x4000, KAON_PROTECT_WRITE);
    expect_nothing(&arena, root, 0x404000);
    assert_int_equal(pages_used(&arena), 4);
    kaon__paging_destroy(&arena, root);
    end(&arena);
}

/* Tables of each level have a border within this range. */
static void a_range_may_cross_tables_of_every_level(void **state)
{
    const uint64_t start = (UINT64_C(1) << 39) - 600 * PAGE;
    struct kaon_arena arena;
    uint64_t root;

    (void)state;
    begin(&arena, ARENA_PAGES);
    root = kaon__paging_create(&arena, 0);
    map(&arena, root, start, FRAMES, 1200, KAON_PROTECT_WRITE);
    for (uint64_t i = 0; i < 1200; i++)
        expect(&arena, root, start + i * PAGE, FRAMES + i * PAGE,
               KAON_PROTECT_WRITE);
    expect_nothing(&arena, root, start - PAGE);
    expect_nothing(&arena, root, start + 1200 * PAGE);
    /* The root; on each side two leaf tables and one of the two above. */
    assert_int_equal(pages_used(&arena), 1 + 2 * 4);
    kaon__paging_destroy(&arena, root);
    end(&arena);
}

static void a_supervisor_page_is_not_the_guests(void **state)
{
    struct kaon_arena arena;
    uint64_t root;

    (void)state;
    begin(&arena, ARENA_PAGES);
    root = kaon__paging_create(&arena, 0);
    assert_true(kaon__paging_map(&arena, root, 0x400000, FRAMES, 1,
                                 KAON_PROTECT_WRITE, true));
    map(&arena, root, 0x401000, FRAMES + PAGE, 1, KAON_PROTECT_READ);
    expect_nothing(&arena, root, 0x400000);
    expect(&arena, root, 0x401000, FRAMES + PAGE, KAON_PROTECT_READ);
    kaon__paging_destroy(&arena, root);
    end(&arena);
}

static void a_child_shows_its_parents_pages_with_one_table(void **state)
{
    struct kaon_arena arena;
    uint64_t parent, child;

    (void)state;
    begin(&arena, ARENA_PAGES);
    parent = kaon__paging_create(&arena, 0);
    map(&arena, parent, 0x400000, FRAMES, 8, KAON_PROTECT_READ);
    assert_int_equal(pages_used(&arena), 4);
    child = kaon__paging_create(&arena, parent);
    assert_int_equal(pages_used(&arena), 5);
    for (uint64_t i = 0; i < 8; i++)
        expect(&arena, child, 0x400000 + i * PAGE, FRAMES + i * PAGE,
               KAON_PROTECT_READ);
    kaon__paging_destroy(&arena, child);
    assert_int_equal(pages_used(&arena), 4);
    expect(&arena, parent, 0x407000, FRAMES + 7 * PAGE, KAON_PROTECT_READ);
    kaon__paging_destroy(&arena, parent);
    end(&arena);
}

static void a_childs_changes_are_its_own(void **state)
{
    struct kaon_arena arena;
    uint64_t parent, child, sibling;

    (void)state;
    begin(&arena, ARENA_PAGES);
    parent = kaon__paging_create(&arena, 0);
    map(&arena, parent, 0x400000, FRAMES, 8, KAON_PROTECT_READ);
    child = kaon__paging_create(&arena, parent);
    sibling = kaon__paging_create(&arena, parent);
    map(&arena, child, 0x402000, FRAMES * 2, 1, KAON_PROTECT_WRITE);
    map(&arena, child, 0x40000000, FRAMES * 2 + PAGE, 1, KAON_PROTECT_WRITE);
    expect(&arena, child, 0x402000, FRAMES * 2, KAON_PROTECT_WRITE);
    expect(&arena, child, 0x403000, FRAMES + 3 * PAGE, KAON_PROTECT_READ);
    expect(&arena, parent, 0x402000, FRAMES + 2 * PAGE, KAON_PROTECT_READ);
    expect(&arena, sibling, 0x402000, FRAMES + 2 * PAGE, KAON_PROTECT_READ);
    expect_nothing(&arena, parent, 0x40000000);
    expect_nothing(&arena, sibling, 0x40000000);
    /* Roots and the parent's 3; the child's 3, and 2 for the new gigabyte. */
    assert_int_equal(pages_used(&arena), 3 + 3 + 3 + 2);
    kaon__paging_destroy(&arena, child);
    assert_int_equal(pages_used(&arena), 5);
    expect(&arena, sibling, 0x402000, FRAMES + 2 * PAGE, KAON_PROTECT_READ);
    kaon__paging_destroy(&arena, sibling);
    kaon__paging_destroy(&arena, parent);
    end(&arena);
}

/* Tables that a copy shares with its model must not be taken for its own. */
static void a_grandchild_owns_nothing_of_a_child(void **state)
{
    struct kaon_arena arena;
    uint64_t parent, child, grandchild;

    (void)state;
    begin(&arena, ARENA_PAGES);
    parent = kaon__paging_create(&arena, 0);
    map(&arena, parent, 0x400000, FRAMES, 1, KAON_PROTECT_READ);
    child = kaon__paging_create(&arena, parent);
    map(&arena, child, 0x600000, FRAMES + PAGE, 1, KAON_PROTECT_WRITE);
    grandchild = kaon__paging_create(&arena, child);
    map(&arena, grandchild, 0x601000, FRAMES + 2 * PAGE, 1, KAON_PROTECT_WRITE);
    kaon__paging_destroy(&arena, grandchild);
    expect(&arena, child, 0x600000, FRAMES + PAGE, KAON_PROTECT_WRITE);
    expect_nothing(&arena, child, 0x601000);
    kaon__paging_destroy(&arena, child);
    expect(&arena, parent, 0x400000, FRAMES, KAON_PROTECT_READ);
    kaon__paging_destroy(&arena, parent);
    end(&arena);
}

static void what_is_unmapped_is_gone_and_its_tables_stay(void **state)
{
    const uint64_t at = 0x40000000 - 3 * PAGE;
    struct kaon_arena arena;
    uint64_t parent, child, used;

    (void)state;
    begin(&arena, ARENA_PAGES);
    parent = kaon__paging_create(&arena, 0);
    map(&arena, parent, 0x400000, FRAMES, 2, KAON_PROTECT_READ);
    child = kaon__paging_create(&arena, parent);
    map(&arena, child, at, FRAMES, 1030, KAON_PROTECT_READ);
    used = pages_used(&arena);
    kaon__paging_unmap(&arena, child, at + PAGE, 1028);
    expect(&arena, child, at, FRAMES, KAON_PROTECT_READ);
    for (uint64_t i = 1; i < 1029; i++)
        expect_nothing(&arena, child, at + i * PAGE);
    expect(&arena, child, at + 1029 * PAGE, FRAMES + 1029 * PAGE,
           KAON_PROTECT_READ);
    assert_int_equal(pages_used(&arena), used);
    map(&arena, child, at + PAGE, FRAMES, 1028, KAON_PROTECT_WRITE);
    expect(&arena, child, at + 5 * PAGE, FRAMES + 4 * PAGE, KAON_PROTECT_WRITE);
    assert_int_equal(pages_used(&arena), used);
    /* What a space shares is not its own to clear; what is not there is fine.
     */
    kaon__paging_unmap(&arena, child, 0x400000, 2);
    expect(&arena, child, 0x400000, FRAMES, KAON_PROTECT_READ);
    kaon__paging_unmap(&arena, child, UINT64_C(1) << 40, 5000);
    kaon__paging_destroy(&arena, child);
    kaon__paging_destroy(&arena, parent);
    end(&arena);
}

static void a_full_arena_ends_a_mapping_and_breaks_nothing(void **state)
{
    struct kaon_arena arena;

    (void)state;
    for (size_t pages = 0; pages < 9; pages++) {
        uint64_t root;

        begin(&arena, pages ? pages : 1);
        if (!pages)
            assert_int_not_equal(kaon__arena_page(&arena), 0);
        root = kaon__paging_create(&arena, 0);
        assert_int_equal(root != 0, pages != 0);
        if (!pages) {
            kaon__arena_page_free(&arena, PHYSICAL);
            end(&arena);
            continue;
        }
        /* Two leaf tables in different gigabytes: six tables and the root. */
        assert_int_equal(kaon__paging_map(&arena, root,
                                          (UINT64_C(1) << 39) - PAGE, FRAMES, 2,
                                          KAON_PROTECT_READ, false),
                         pages >= 7);
        if (pages >= 4)
            expect(&arena, root, (UINT64_C(1) << 39) - PAGE, FRAMES,
                   KAON_PROTECT_READ);
        if (pages < 7)
            expect_nothing(&arena, root, UINT64_C(1) << 39);
        kaon__paging_destroy(&arena, root);
        end(&arena);
    }
}

/* ---- Random lives, against a model ------------------------------------- */

/* Some pages on both sides of borders of each level. */
#define SPOTS 5
#define SPOT_PAGES 24
#define SPACES 6

static const uint64_t spots[SPOTS] = {
    0x400000 - 12 * PAGE,
    (UINT64_C(1) << 21) * 7 - 4 * PAGE,
    (UINT64_C(1) << 30) - 12 * PAGE,
    (UINT64_C(1) << 39) - 12 * PAGE,
    (UINT64_C(1) << 46) - 12 * PAGE,
};

struct model {
    uint64_t root; /* 0: no such space now */
    bool is_parent;
    struct {
        uint64_t physical; /* 0: nothing */
        unsigned protection;
    } pages[SPOTS][SPOT_PAGES];
};

static void compare(struct kaon_arena *arena, const struct model *model)
{
    for (int s = 0; s < SPOTS; s++)
        for (uint64_t i = 0; i < SPOT_PAGES; i++) {
            uint64_t address = spots[s] + i * PAGE;

            if (model->pages[s][i].physical)
                expect(arena, model->root, address, model->pages[s][i].physical,
                       model->pages[s][i].protection);
            else
                expect_nothing(arena, model->root, address);
        }
}

static void map_somewhere(struct kaon_arena *arena, struct model *model)
{
    static const unsigned protections[] = { KAON_PROTECT_READ,
                                            KAON_PROTECT_WRITE,
                                            KAON_PROTECT_EXECUTE };
    int s = (int)(random() % SPOTS);
    uint64_t first = (uint64_t)random() % SPOT_PAGES;
    uint64_t count = 1 + (uint64_t)random() % (SPOT_PAGES - first);
    uint64_t physical = FRAMES + (uint64_t)random() % 100000 * PAGE;
    unsigned protection = protections[random() % 3];

    map(arena, model->root, spots[s] + first * PAGE, physical, count,
        protection);
    for (uint64_t i = 0; i < count; i++) {
        model->pages[s][first + i].physical = physical + i * PAGE;
        model->pages[s][first + i].protection = protection;
    }
}

static void spaces_are_what_a_simple_model_says(void **state)
{
    static struct model models[SPACES]; /* static: they are large */
    struct kaon_arena arena;

    (void)state;
    memset(models, 0, sizeof models);
    begin(&arena, ARENA_PAGES);
    models[0].root = kaon__paging_create(&arena, 0);
    srandom(2);
    for (int i = 0; i < 40; i++)
        map_somewhere(&arena, &models[0]);
    models[0].is_parent = true; /* it must not change any more */
    for (int i = 0; i < 3000; i++) {
        struct model *model = &models[1 + random() % (SPACES - 1)];

        if (!model->root) {
            *model = models[0];
            model->root = kaon__paging_create(&arena, models[0].root);
        } else if (random() % 20 == 0) {
            kaon__paging_destroy(&arena, model->root);
            model->root = 0;
        } else {
            map_somewhere(&arena, model);
        }
        if (i % 16 == 0)
            for (int k = 0; k < SPACES; k++)
                if (models[k].root)
                    compare(&arena, &models[k]);
    }
    for (int i = SPACES - 1; i >= 0; i--)
        if (models[i].root)
            kaon__paging_destroy(&arena, models[i].root);
    end(&arena);
}

/* ---- What a CPU at CPL 3 would see ------------------------------------- */

struct walk {
    const struct kaon_arena *arena;
    bool is_table[ARENA_PAGES];
    bool is_shown[ARENA_PAGES]; /* to the guest */
    bool user;                  /* all entries on the way let the guest pass */
    unsigned leaves;
};

/*
 * An independent walk, by the manual: bits 0, 2 and 12 to 51 of each entry.
 * The largest page of memory that the manual has is not expected: bit 7.
 */
static void visit(struct walk *walk, uint64_t table, int level)
{
    const uint64_t *entries = kaon__arena_at(walk->arena, table);
    bool user = walk->user;

    walk->is_table[(table - PHYSICAL) / PAGE] = true;
    for (int i = 0; i < 512; i++) {
        uint64_t next = entries[i] & UINT64_C(0x000ffffffffff000);

        if (!(entries[i] & 1))
            continue;
        walk->user = user && entries[i] & 4;
        if (level > 0) {
            assert_false(entries[i] & 0x80);
            visit(walk, next, level - 1);
            continue;
        }
        walk->leaves++;
        if (walk->user && next - PHYSICAL < ARENA_PAGES * PAGE)
            walk->is_shown[(next - PHYSICAL) / PAGE] = true;
    }
    walk->user = user;
}

static void a_guest_reaches_no_table_and_no_system_page(void **state)
{
    const uint64_t system = kaon__kvm_system_address(0);
    struct walk walk = { .user = true };
    struct kaon_arena arena;
    uint64_t base, view, roots[4], system_page;

    (void)state;
    begin(&arena, ARENA_PAGES);
    base = kaon__paging_create(&arena, 0);
    map(&arena, base, KAON_GATE_ADDRESS, kaon__arena_page(&arena), 1,
        KAON_PROTECT_EXECUTE);
    view = kaon__paging_create(&arena, base);
    map(&arena, view, 0x400000, FRAMES, 16, KAON_PROTECT_READ);
    for (uint64_t i = 0; i < 4; i++) {
        roots[i] = kaon__paging_create(&arena, view);
        for (uint64_t k = 0; k < 8; k++)
            map(&arena, roots[i], 0x404000 + k * PAGE * (1 + 200 * i),
                kaon__arena_page(&arena), 1, KAON_PROTECT_WRITE);
    }
    /* As a vCPU does that is made while sandboxes live: all see its page. */
    system_page = kaon__arena_page(&arena);
    assert_true(kaon__paging_map(&arena, base, system, system_page, 1,
                                 KAON_PROTECT_WRITE | KAON_PROTECT_EXECUTE,
                                 true));
    walk.arena = &arena;
    visit(&walk, base, 3);
    visit(&walk, view, 3);
    for (int i = 0; i < 4; i++) {
        walk.leaves = 0;
        visit(&walk, roots[i], 3);
        /* The image and the gate, the system page; maybe pages past both. */
        assert_true(walk.leaves >= 16 + 2 && walk.leaves <= 16 + 2 + 8);
        expect_nothing(&arena, roots[i], system);
    }
    assert_true(walk.is_table[(roots[0] - PHYSICAL) / PAGE]);
    assert_false(walk.is_shown[(system_page - PHYSICAL) / PAGE]);
    for (int i = 0; i < ARENA_PAGES; i++)
        assert_false(walk.is_table[i] && walk.is_shown[i]);

    for (int i = 0; i < 4; i++)
        kaon__paging_destroy(&arena, roots[i]);
    kaon__paging_destroy(&arena, view);
    kaon__paging_destroy(&arena, base);
    /* The gate, the system page, and what the four were given. */
    assert_int_equal(pages_used(&arena), 2 + 4 * 8);
    free(arena.base);
    kaon__arena_finish(&arena);
}

/* clang-format off */
TESTS(
    TEST(a_new_space_shows_nothing),
    TEST(a_space_shows_what_was_mapped_as_it_was),
    TEST(a_range_may_cross_tables_of_every_level),
    TEST(a_supervisor_page_is_not_the_guests),
    TEST(a_child_shows_its_parents_pages_with_one_table),
    TEST(a_childs_changes_are_its_own),
    TEST(a_grandchild_owns_nothing_of_a_child),
    TEST(what_is_unmapped_is_gone_and_its_tables_stay),
    TEST(a_full_arena_ends_a_mapping_and_breaks_nothing),
    TEST(spaces_are_what_a_simple_model_says),
    TEST(a_guest_reaches_no_table_and_no_system_page),
)

/* SPDX-License-Identifier: Apache-2.0 */
/* Builds and walks page tables; owns them through the arena they lie in. */
#include "backend/paging_x86_64.h"

#include <string.h>

#include "backend/backend.h"
#include "host/arena.h"

/* Bits of an entry (AMD64 manual, volume 2, section 5.4). */
#define ENTRY_PRESENT UINT64_C(0x1)
#define ENTRY_WRITE UINT64_C(0x2)
#define ENTRY_USER UINT64_C(0x4)
#define ENTRY_ACCESSED UINT64_C(0x20)
#define ENTRY_DIRTY UINT64_C(0x40)
#define ENTRY_OWNED UINT64_C(0x200) /* ours: the space owns the next table */
#define ENTRY_NO_EXECUTE (UINT64_C(1) << 63)
#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

/* Leads to a table; the leaves alone decide what the guest may do. */
#define TO_TABLE \
    (ENTRY_PRESENT | ENTRY_WRITE | ENTRY_USER | ENTRY_ACCESSED | ENTRY_DIRTY)

#define ENTRIES 512u
#define LEAF_LEVEL 0
#define TOP_LEVEL 3

static uint64_t *table_at(const struct kaon_arena *arena, uint64_t entry)
{
    return kaon__arena_at(arena, entry & ENTRY_ADDRESS);
}

static unsigned index_of(uint64_t address, int level)
{
    return (unsigned)(address >> (12 + 9 * level)) % ENTRIES;
}

/* A copy of a shared table, whose own children become shared in the copy. */
static uint64_t copy_table(struct kaon_arena *arena, uint64_t entry, int level)
{
    uint64_t page = kaon__arena_page(arena);

    if (!page)
        return 0;

    uint64_t *to = table_at(arena, page);

    memcpy(to, table_at(arena, entry), KAON_PAGE_SIZE);
    if (level > LEAF_LEVEL)
        for (unsigned i = 0; i < ENTRIES; i++)
            to[i] &= ~ENTRY_OWNED;
    return page;
}

/* The next lower table through *entry, made or copied if not owned. */
static uint64_t *own_table(struct kaon_arena *arena, uint64_t *entry, int level)
{
    uint64_t page;

    if (*entry & ENTRY_OWNED)
        return table_at(arena, *entry);
    page = *entry & ENTRY_PRESENT ? copy_table(arena, *entry, level - 1)
                                  : kaon__arena_page(arena);
    if (!page)
        return NULL;
    *entry = page | TO_TABLE | ENTRY_OWNED;
    return table_at(arena, page);
}

/* The leaf table of an address, all tables on the way there owned. */
static uint64_t *own_leaf_table(struct kaon_arena *arena, uint64_t root,
                                uint64_t address)
{
    uint64_t *table = table_at(arena, root);

    for (int level = TOP_LEVEL; table && level > LEAF_LEVEL; level--)
        table = own_table(arena, &table[index_of(address, level)], level);
    return table;
}

/*
 * Accessed and dirty are preset: a CPU or a shadow pager that finds them set
 * need not write them, which it does at a cost (3.5 instead of 23 us for the
 * first touch on PVM).
 */
static uint64_t leaf_flags(unsigned protection, bool supervisor)
{
    uint64_t flags = ENTRY_PRESENT | ENTRY_ACCESSED;

    if (!supervisor)
        flags |= ENTRY_USER;
    if (protection & KAON_PROTECT_WRITE)
        flags |= ENTRY_WRITE | ENTRY_DIRTY;
    if (!(protection & KAON_PROTECT_EXECUTE))
        flags |= ENTRY_NO_EXECUTE;
    return flags;
}

uint64_t kaon__paging_create(struct kaon_arena *arena, uint64_t parent)
{
    return parent ? copy_table(arena, parent, TOP_LEVEL)
                  : kaon__arena_page(arena);
}

bool kaon__paging_map(struct kaon_arena *arena, uint64_t root, uint64_t address,
                      uint64_t physical, uint64_t pages, unsigned protection,
                      bool supervisor)
{
    uint64_t flags = leaf_flags(protection, supervisor);
    uint64_t *table = NULL;

    for (; pages; pages--) {
        unsigned index = index_of(address, LEAF_LEVEL);

        if (!table || index == 0)
            table = own_leaf_table(arena, root, address);
        if (!table)
            return false;
        table[index] = physical | flags;
        address += KAON_PAGE_SIZE;
        physical += KAON_PAGE_SIZE;
    }
    return true;
}

/* The leaf table of an address, if all tables on the way there are owned. */
static uint64_t *owned_leaf_table(struct kaon_arena *arena, uint64_t root,
                                  uint64_t address)
{
    uint64_t *table = table_at(arena, root);

    for (int level = TOP_LEVEL; level > LEAF_LEVEL; level--) {
        uint64_t entry = table[index_of(address, level)];

        if (!(entry & ENTRY_OWNED))
            return NULL;
        table = table_at(arena, entry);
    }
    return table;
}

void kaon__paging_unmap(struct kaon_arena *arena, uint64_t root,
                        uint64_t address, uint64_t pages)
{
    while (pages) {
        uint64_t *table = owned_leaf_table(arena, root, address);
        unsigned index = index_of(address, LEAF_LEVEL);
        uint64_t count = ENTRIES - index;

        if (count > pages)
            count = pages;
        if (table)
            memset(&table[index], 0, count * sizeof *table);
        address += count * KAON_PAGE_SIZE;
        pages -= count;
    }
}

bool kaon__paging_look(const struct kaon_arena *arena, uint64_t root,
                       uint64_t address, uint64_t *physical,
                       unsigned *protection)
{
    uint64_t entry = root;

    for (int level = TOP_LEVEL; level >= LEAF_LEVEL; level--) {
        entry = table_at(arena, entry)[index_of(address, level)];
        if (!(entry & ENTRY_PRESENT))
            return false;
    }
    if (!(entry & ENTRY_USER))
        return false;
    *physical = entry & ENTRY_ADDRESS;
    *protection = (entry & ENTRY_WRITE ? KAON_PROTECT_WRITE : 0u) |
                  (entry & ENTRY_NO_EXECUTE ? 0u : KAON_PROTECT_EXECUTE);
    return true;
}

/* Recursion is as deep as the tables: the guest has no say in it. */
static void free_tables(struct kaon_arena *arena, uint64_t entry, int level)
{
    const uint64_t *table = table_at(arena, entry);

    if (level > LEAF_LEVEL)
        for (unsigned i = 0; i < ENTRIES; i++)
            if (table[i] & ENTRY_OWNED)
                free_tables(arena, table[i], level - 1);
    kaon__arena_page_free(arena, entry & ENTRY_ADDRESS);
}

void kaon__paging_destroy(struct kaon_arena *arena, uint64_t root)
{
    free_tables(arena, root, TOP_LEVEL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory's mappings: where they may be, which there are, and what a snapshot
 * keeps of them. Owns the list.
 *
 * Invariant: a page of the window shows what its one mapping has there, or
 * nothing.
 */
#include "host/memory_map.h"

#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/memory_mapping.h"
#include "host/memory_page.h"
#include "host/snapshot.h"

static uint64_t end_of(const struct kaon_mapping *mapping)
{
    return mapping->address + mapping->pages * KAON_PAGE_SIZE;
}

/* The mapping that an address is in; NULL if none is there. */
static struct kaon_mapping *find(const struct kaon_memory *memory,
                                 uint64_t address)
{
    struct kaon_mapping *mapping = memory->mappings;

    while (mapping && end_of(mapping) <= address)
        mapping = mapping->next;
    return mapping && mapping->address <= address ? mapping : NULL;
}

/* Shows and lists it; or ends it. */
static enum kaon_status add(struct kaon_memory *memory,
                            struct kaon_mapping *mapping,
                            struct kaon_error *err)
{
    struct kaon_mapping **at = &memory->mappings;
    enum kaon_status status = kaon__mapping_show(memory, mapping, err);

    if (status) {
        kaon__mapping_end(memory, mapping);
        return status;
    }
    while (*at && (*at)->address < mapping->address)
        at = &(*at)->next;
    mapping->next = *at;
    *at = mapping;
    memory->remapped++;
    return KAON_OK;
}

/* ---- Places ------------------------------------------------------------ */

#define U(number) ((unsigned long long)(number))

/* The lowest place that is large enough; 0 if there is none. */
static uint64_t find_room(const struct kaon_memory *memory, uint64_t size)
{
    uint64_t address = memory->window.low;

    for (const struct kaon_mapping *mapping = memory->mappings; mapping;
         mapping = mapping->next) {
        if (mapping->address - address >= size)
            return address;
        address = end_of(mapping);
    }
    return memory->window.high - address >= size ? address : 0;
}

static enum kaon_status pick(const struct kaon_memory *memory,
                             uint64_t *address, uint64_t size,
                             struct kaon_error *err)
{
    *address = find_room(memory, size);
    if (*address)
        return KAON_OK;
    return kaon__fail(err, KAON_ENOMEM,
                      "no room to map %llu KiB: the sandbox's map_bytes are "
                      "%llu KiB; raise them, or unmap something",
                      U(size) >> 10,
                      U(memory->window.high - memory->window.low) >> 10);
}

static enum kaon_status check_window(const struct kaon_memory *memory,
                                     uint64_t address, uint64_t size,
                                     struct kaon_error *err)
{
    if (address % KAON_PAGE_SIZE)
        return kaon__fail(err, KAON_EINVAL,
                          "address %#llx is not a page's: it must be a "
                          "multiple of 4096",
                          U(address));
    if (address < memory->window.low)
        return kaon__fail(err, KAON_EINVAL,
                          "address %#llx is among the sandbox's own memory: "
                          "mappings go from %#llx to %#llx",
                          U(address), U(memory->window.low),
                          U(memory->window.high));
    if (address >= memory->window.high || size > memory->window.high - address)
        return kaon__fail(err, KAON_EINVAL,
                          "%llu KiB at %#llx are not within the window, %#llx "
                          "to %#llx: map lower, or raise map_bytes",
                          U(size) >> 10, U(address), U(memory->window.low),
                          U(memory->window.high));
    return KAON_OK;
}

static enum kaon_status check_place(const struct kaon_memory *memory,
                                    uint64_t address, uint64_t size,
                                    struct kaon_error *err)
{
    enum kaon_status status = check_window(memory, address, size, err);

    for (const struct kaon_mapping *mapping = memory->mappings;
         !status && mapping; mapping = mapping->next)
        if (address < end_of(mapping) && mapping->address < address + size)
            status = kaon__fail(err, KAON_EINVAL,
                                "%#llx to %#llx overlaps a mapping, %#llx to "
                                "%#llx: unmap that, or give address 0",
                                U(address), U(address + size),
                                U(mapping->address), U(end_of(mapping)));
    return status;
}

static enum kaon_status check_name(const struct kaon_memory *memory,
                                   const char *name, struct kaon_error *err)
{
    for (const struct kaon_mapping *mapping = memory->mappings; mapping;
         mapping = mapping->next)
        if (strcmp(mapping->name, name) == 0)
            return kaon__fail(err, KAON_EINVAL,
                              "the mapping at %#llx is named \"%s\": choose "
                              "another name",
                              U(mapping->address), name);
    return KAON_OK;
}

enum kaon_status kaon__memory_map(struct kaon_memory *memory, uint64_t *address,
                                  struct kaon_region *region,
                                  const struct kaon_map_opts *opts,
                                  struct kaon_error *err)
{
    struct kaon_kept_mapping as = {
        .region = region,
        .address = opts->address,
        .mode = opts->mode,
    };
    uint64_t size = kaon__region_pages(region) * KAON_PAGE_SIZE;
    struct kaon_mapping *mapping;
    enum kaon_status status = as.address
                                  ? check_place(memory, as.address, size, err)
                                  : pick(memory, &as.address, size, err);

    if (!status && opts->name) {
        strncpy(as.name, opts->name, sizeof as.name - 1);
        status = check_name(memory, as.name, err);
    }
    if (!status)
        status = kaon__mapping_create(memory, &mapping, &as, err);
    if (!status)
        status = add(memory, mapping, err);
    if (!status)
        *address = as.address;
    return status;
}

/* ---- Taking them away -------------------------------------------------- */

static enum kaon_status unmap(struct kaon_memory *memory,
                              struct kaon_mapping *mapping,
                              struct kaon_error *err)
{
    struct kaon_mapping **from = &memory->mappings;
    enum kaon_status status;

    memory->remapped++;
    status = kaon__mapping_hide(memory, mapping, err);
    if (status)
        return status;
    while (*from != mapping)
        from = &(*from)->next;
    *from = mapping->next;
    kaon__mapping_free(mapping);
    return KAON_OK;
}

enum kaon_status kaon__memory_unmap(struct kaon_memory *memory,
                                    uint64_t address, struct kaon_error *err)
{
    struct kaon_mapping *mapping = find(memory, address);

    if (!mapping || mapping->address != address)
        return kaon__fail(err, KAON_EINVAL,
                          "no mapping begins at %#llx: give the address that "
                          "kaon_sandbox_map() gave",
                          U(address));
    return unmap(memory, mapping, err);
}

enum kaon_status kaon__memory_unmap_all(struct kaon_memory *memory,
                                        struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    while (!status && memory->mappings)
        status = unmap(memory, memory->mappings, err);
    return status;
}

void kaon__memory_forget_mappings(struct kaon_memory *memory)
{
    while (memory->mappings) {
        struct kaon_mapping *mapping = memory->mappings;

        memory->mappings = mapping->next;
        kaon__mapping_free(mapping);
    }
}

void kaon__memory_release_mappings(struct kaon_memory *memory)
{
    while (memory->mappings) {
        struct kaon_mapping *mapping = memory->mappings;

        memory->mappings = mapping->next;
        kaon__mapping_end(memory, mapping);
    }
}

/* ---- What snapshots keep ----------------------------------------------- */

static const struct kaon_kept_mapping *
find_kept(const struct kaon_snapshot *snapshot, uint64_t address)
{
    for (uint32_t i = 0; i < snapshot->kept_count; i++)
        if (snapshot->kept[i].address == address)
            return &snapshot->kept[i];
    return NULL;
}

/* The same; and pages that the guest is to find as it wrote them do not show
 * the region, where it may have seen that. */
static bool fits(const struct kaon_mapping *mapping,
                 const struct kaon_kept_mapping *kept)
{
    if (!kept || kept->region != mapping->region ||
        kept->mode != mapping->mode || strcmp(kept->name, mapping->name) != 0)
        return false;
    for (uint64_t i = 0; i < kept->page_count; i++)
        if (!kaon__mapping_is_copied(mapping, kept->pages[i]))
            return false;
    return true;
}

/* Something of the mapping was taken from the machine, and that failed. */
static bool is_broken(const struct kaon_memory *memory,
                      const struct kaon_mapping *mapping)
{
    uint64_t physical;
    unsigned protection;

    return !backend_of(memory)->space_look(memory->machine, memory->space,
                                           mapping->address, &physical,
                                           &protection);
}

static enum kaon_status unmap_others(struct kaon_memory *memory,
                                     const struct kaon_snapshot *snapshot,
                                     struct kaon_error *err)
{
    struct kaon_mapping *mapping = memory->mappings, *next;
    enum kaon_status status = KAON_OK;

    for (; !status && mapping; mapping = next) {
        next = mapping->next;
        if (is_broken(memory, mapping) ||
            !fits(mapping, find_kept(snapshot, mapping->address)))
            status = unmap(memory, mapping, err);
    }
    return status;
}

static enum kaon_status map_kept(struct kaon_memory *memory,
                                 const struct kaon_kept_mapping *kept,
                                 struct kaon_error *err)
{
    struct kaon_mapping *mapping;
    enum kaon_status status = kaon__mapping_create(memory, &mapping, kept, err);

    if (status)
        return status;
    for (uint64_t i = 0; i < kept->page_count; i++)
        kaon__mapping_set_copied(mapping, kept->pages[i]);
    return add(memory, mapping, err);
}

enum kaon_status kaon__memory_remap(struct kaon_memory *memory,
                                    const struct kaon_snapshot *snapshot,
                                    struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    for (uint32_t i = 0; !status && i < snapshot->kept_count; i++)
        status = check_window(memory, snapshot->kept[i].address,
                              kaon__kept_mapping_room(&snapshot->kept[i]), err);
    if (!status)
        status = unmap_others(memory, snapshot, err);
    for (uint32_t i = 0; !status && i < snapshot->kept_count; i++)
        if (!find(memory, snapshot->kept[i].address))
            status = map_kept(memory, &snapshot->kept[i], err);
    for (struct kaon_mapping *mapping = memory->mappings; !status && mapping;
         mapping = mapping->next)
        if (mapping->copied_count)
            status = kaon__mapping_renew(
                mapping, find_kept(snapshot, mapping->address), err);
    return status;
}

/* Does a copied page differ from the region's? */
static bool is_changed(const struct kaon_mapping *mapping, uint64_t page)
{
    unsigned char was[KAON_PAGE_SIZE];

    return kaon__region_read(mapping->region, page * KAON_PAGE_SIZE, was,
                             sizeof was) < 0 ||
           memcmp(was, kaon__mapping_copy_at(mapping, page), sizeof was) != 0;
}

/* Which they are; what they hold goes to *content, the next place behind. */
static bool keep_pages(const struct kaon_mapping *mapping,
                       struct kaon_kept_mapping *kept, unsigned char **content)
{
    uint64_t page;

    if (mapping->copied_count == 0)
        return true;
    kept->pages = malloc(mapping->copied_count * sizeof *kept->pages);
    if (!kept->pages)
        return false;
    for (page = kaon__mapping_next(mapping, 0, true); page < mapping->pages;
         page = kaon__mapping_next(mapping, page + 1, true)) {
        if (!is_changed(mapping, page))
            continue;
        kept->pages[kept->page_count++] = page;
        memcpy(*content, kaon__mapping_copy_at(mapping, page), KAON_PAGE_SIZE);
        *content += KAON_PAGE_SIZE;
    }
    return true;
}

static void keep(const struct kaon_mapping *mapping,
                 struct kaon_kept_mapping *kept)
{
    kept->region = kaon_region_hold(mapping->region);
    kept->size = mapping->region->size;
    kept->offset = mapping->region->offset;
    kept->file = mapping->region->file;
    kept->address = mapping->address;
    kept->mode = mapping->mode;
    memcpy(kept->name, mapping->name, sizeof kept->name);
}

/* For all mappings, and for what the guest may have written. */
static bool make_room(const struct kaon_memory *memory,
                      struct kaon_snapshot *snapshot)
{
    uint64_t count = 0, most = 0;

    for (const struct kaon_mapping *m = memory->mappings; m; m = m->next) {
        count++;
        most += m->copied_count;
    }
    snapshot->kept = calloc(count, sizeof *snapshot->kept);
    snapshot->kept_content = most ? malloc(most * KAON_PAGE_SIZE) : NULL;
    return snapshot->kept && (most == 0 || snapshot->kept_content);
}

/* In a process all pages are copied, and few of them written. */
static void shrink_content(struct kaon_snapshot *snapshot)
{
    uint64_t size = kaon__snapshot_map_pages(snapshot) * KAON_PAGE_SIZE;
    unsigned char *shrunk;

    if (size == 0) {
        free(snapshot->kept_content);
        snapshot->kept_content = NULL;
        return;
    }
    shrunk = realloc(snapshot->kept_content, size);
    if (shrunk)
        snapshot->kept_content = shrunk;
}

enum kaon_status kaon__memory_keep_mappings(const struct kaon_memory *memory,
                                            struct kaon_snapshot *snapshot,
                                            struct kaon_error *err)
{
    unsigned char *content;
    bool had;

    if (!memory->mappings)
        return KAON_OK;
    had = make_room(memory, snapshot);
    content = snapshot->kept_content;
    for (const struct kaon_mapping *m = memory->mappings; had && m;
         m = m->next) {
        struct kaon_kept_mapping *kept = &snapshot->kept[snapshot->kept_count];

        keep(m, kept);
        snapshot->kept_count++;
        had = keep_pages(m, kept, &content);
    }
    if (!had)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a snapshot");
    if (snapshot->kept_content)
        shrink_content(snapshot);
    kaon__snapshot_place_content(snapshot);
    return KAON_OK;
}

void kaon__kept_mapping_finish(struct kaon_kept_mapping *kept)
{
    kaon_region_destroy(kept->region);
    free(kept->pages);
}

/* ---- The guest's accesses, and the host's ------------------------------ */

/* A page that the file does not have any more, or that cannot be read, cannot
 * be copied. */
enum kaon_fault_answer kaon__memory_map_fault(struct kaon_memory *memory,
                                              uint64_t address,
                                              enum kaon_access access)
{
    struct kaon_mapping *mapping = find(memory, address);
    uint64_t page;

    if (!mapping || mapping->mode != KAON_MAP_COPY ||
        access != KAON_ACCESS_WRITE)
        return KAON_FAULT_DENIED;
    page = (address - mapping->address) / KAON_PAGE_SIZE;
    if (kaon__region_read(mapping->region, page * KAON_PAGE_SIZE,
                          kaon__mapping_copy_at(mapping, page),
                          KAON_PAGE_SIZE) <= 0)
        return KAON_FAULT_DENIED;
    if (backend_of(memory)->space_map(memory->machine, memory->space, address,
                                      mapping->copy_physical +
                                          page * KAON_PAGE_SIZE,
                                      1, KAON_PROTECT_WRITE, NULL))
        return KAON_FAULT_NO_PAGE;
    kaon__mapping_set_copied(mapping, page);
    memory->copied++;
    memory->stale = 0;
    return KAON_FAULT_PROVIDED;
}

bool kaon__memory_map_read(const struct kaon_memory *memory, uint64_t address,
                           void *to, size_t size)
{
    const struct kaon_mapping *mapping = find(memory, address);
    uint64_t offset;

    if (!mapping)
        return false;
    offset = address - mapping->address;
    if (!kaon__mapping_is_copied(mapping, offset / KAON_PAGE_SIZE))
        return kaon__region_read(mapping->region, offset, to, size) > 0 ||
               offset >= mapping->region->size;
    memcpy(to, mapping->copy->memory + offset, size);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mapping. Owns a reference to its region, what is attached to the machine
 * for it, and the copies of pages that the guest wrote.
 *
 * Invariant: where spaces grow, a copied page is copied for as long as the
 * mapping lives, and the guest saw the region's page there before, or nothing.
 * Elsewhere all pages are copied from the start. What a region holds is copied
 * by kaon__region_read(), never from a file's mapping.
 */
#include "host/memory_mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/memory_page.h"

#define WORD_BITS 64u

/* ---- Copied pages ------------------------------------------------------ */

bool kaon__mapping_is_copied(const struct kaon_mapping *mapping, uint64_t page)
{
    return mapping->copy &&
           mapping->copied[page / WORD_BITS] >> page % WORD_BITS & 1;
}

void kaon__mapping_set_copied(struct kaon_mapping *mapping, uint64_t page)
{
    if (kaon__mapping_is_copied(mapping, page))
        return;
    mapping->copied[page / WORD_BITS] |= UINT64_C(1) << page % WORD_BITS;
    mapping->copied_count++;
}

/* The first page from `page` on that is copied, or else is not; the number of
 * pages if there is none. */
uint64_t kaon__mapping_next(const struct kaon_mapping *mapping, uint64_t page,
                            bool copied)
{
    uint64_t invert = copied ? 0 : UINT64_MAX;

    if (!mapping->copy)
        return copied ? mapping->pages : page;
    while (page < mapping->pages) {
        uint64_t word = mapping->copied[page / WORD_BITS] ^ invert;

        word >>= page % WORD_BITS;
        if (word) {
            page += (uint64_t)__builtin_ctzll(word);
            return page < mapping->pages ? page : mapping->pages;
        }
        page = (page / WORD_BITS + 1) * WORD_BITS;
    }
    return mapping->pages;
}

static enum kaon_status copy_pages(struct kaon_mapping *mapping, uint64_t page,
                                   uint64_t end, struct kaon_error *err)
{
    if (kaon__region_read(mapping->region, page * KAON_PAGE_SIZE,
                          kaon__mapping_copy_at(mapping, page),
                          (end - page) * KAON_PAGE_SIZE) < 0)
        return kaon__fail_errno(err, KAON_EIO,
                                "cannot read a file that is mapped: %s",
                                strerror(errno));
    return KAON_OK;
}

/* Gives copied pages what the region has, but for those that are kept. */
enum kaon_status kaon__mapping_renew(struct kaon_mapping *mapping,
                                     const struct kaon_kept_mapping *kept,
                                     struct kaon_error *err)
{
    uint64_t page = kaon__mapping_next(mapping, 0, true), k = 0;
    enum kaon_status status = KAON_OK;

    while (!status && page < mapping->pages) {
        uint64_t end = kaon__mapping_next(mapping, page, false);

        while (k < kept->page_count && kept->pages[k] < page)
            k++;
        if (k < kept->page_count && kept->pages[k] == page) {
            memcpy(kaon__mapping_copy_at(mapping, page),
                   kept->content + k * KAON_PAGE_SIZE, KAON_PAGE_SIZE);
            page = kaon__mapping_next(mapping, page + 1, true);
            continue;
        }
        if (k < kept->page_count && kept->pages[k] < end)
            end = kept->pages[k];
        status = copy_pages(mapping, page, end, err);
        page = kaon__mapping_next(mapping, end, true);
    }
    return status;
}

/* ---- Attaching and showing --------------------------------------------- */

void kaon__mapping_free(struct kaon_mapping *mapping)
{
    kaon_region_destroy(mapping->copy);
    kaon_region_destroy(mapping->region);
    free(mapping);
}

static enum kaon_status detach_one(const struct kaon_memory *memory,
                                   uint64_t *physical, struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    if (*physical)
        status =
            backend_of(memory)->machine_detach(memory->machine, *physical, err);
    if (!status)
        *physical = 0;
    return status;
}

static enum kaon_status detach(const struct kaon_memory *memory,
                               struct kaon_mapping *mapping,
                               struct kaon_error *err)
{
    enum kaon_status status = detach_one(memory, &mapping->physical, err);

    return status ? status : detach_one(memory, &mapping->copy_physical, err);
}

/* Ends one that is in no list. What the machine would not let go of must stay
 * for ever; that takes two failures in a row. */
void kaon__mapping_end(const struct kaon_memory *memory,
                       struct kaon_mapping *mapping)
{
    if (detach(memory, mapping, NULL) == KAON_OK)
        kaon__mapping_free(mapping);
}

static enum kaon_status attach_region(const struct kaon_memory *memory,
                                      const struct kaon_region *region,
                                      bool writable, uint64_t *physical,
                                      struct kaon_error *err)
{
    const struct kaon_host_memory shown = {
        .at = region->memory,
        .fd = region->fd,
        .offset = region->offset,
        .size = kaon__region_pages(region) * KAON_PAGE_SIZE,
        .writable = writable,
    };

    return backend_of(memory)->machine_attach(memory->machine, &shown, physical,
                                              err);
}

/* Where spaces do not grow, nobody sees the region's own pages if they are to
 * be copied. */
static enum kaon_status attach(const struct kaon_memory *memory,
                               struct kaon_mapping *mapping,
                               struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    if (mapping->copy)
        status = attach_region(memory, mapping->copy, true,
                               &mapping->copy_physical, err);
    if (!status && (!mapping->copy || backend_of(memory)->spaces_grow))
        status = attach_region(memory, mapping->region,
                               mapping->mode == KAON_MAP_WRITE,
                               &mapping->physical, err);
    return status;
}

static enum kaon_status map(const struct kaon_memory *memory,
                            const struct kaon_mapping *mapping,
                            struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    for (uint64_t page = 0, end; !status && page < mapping->pages; page = end) {
        bool copied = kaon__mapping_is_copied(mapping, page);
        uint64_t offset = page * KAON_PAGE_SIZE;

        end = kaon__mapping_next(mapping, page, !copied);
        status = backend_of(memory)->space_map(
            memory->machine, memory->space, mapping->address + offset,
            (copied ? mapping->copy_physical : mapping->physical) + offset,
            end - page,
            copied || mapping->mode == KAON_MAP_WRITE ? KAON_PROTECT_WRITE
                                                      : KAON_PROTECT_READ,
            err);
    }
    return status;
}

static void unmap(const struct kaon_memory *memory,
                  const struct kaon_mapping *mapping)
{
    backend_of(memory)->space_unmap(memory->machine, memory->space,
                                    mapping->address, mapping->pages);
}

enum kaon_status kaon__mapping_show(const struct kaon_memory *memory,
                                    struct kaon_mapping *mapping,
                                    struct kaon_error *err)
{
    enum kaon_status status = attach(memory, mapping, err);

    if (!status) {
        status = map(memory, mapping, err);
        if (status)
            unmap(memory, mapping);
    }
    return status;
}

enum kaon_status kaon__mapping_hide(const struct kaon_memory *memory,
                                    struct kaon_mapping *mapping,
                                    struct kaon_error *err)
{
    unmap(memory, mapping);
    return detach(memory, mapping, err);
}

/* ---- Making one -------------------------------------------------------- */

static enum kaon_status make_copy(const struct kaon_memory *memory,
                                  struct kaon_mapping *mapping,
                                  struct kaon_error *err)
{
    const struct kaon_kept_mapping nothing = { 0 };
    enum kaon_status status = kaon_region_create(
        &mapping->copy, mapping->pages * KAON_PAGE_SIZE, err);

    if (status || backend_of(memory)->spaces_grow)
        return status;
    for (uint64_t page = 0; page < mapping->pages; page++)
        kaon__mapping_set_copied(mapping, page);
    return kaon__mapping_renew(mapping, &nothing, err);
}

/* Of a region as it is; not attached yet, and shown nowhere. */
enum kaon_status kaon__mapping_create(const struct kaon_memory *memory,
                                      struct kaon_mapping **out,
                                      const struct kaon_kept_mapping *as,
                                      struct kaon_error *err)
{
    uint64_t pages = kaon__region_pages(as->region);
    uint64_t words =
        as->mode == KAON_MAP_COPY ? (pages + WORD_BITS - 1) / WORD_BITS : 0;
    struct kaon_mapping *mapping =
        calloc(1, sizeof *mapping + words * sizeof *mapping->copied);
    enum kaon_status status = KAON_OK;

    if (!mapping)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a mapping");
    mapping->region = kaon_region_hold(as->region);
    mapping->address = as->address;
    mapping->pages = pages;
    mapping->mode = as->mode;
    memcpy(mapping->name, as->name, sizeof mapping->name);
    if (as->mode == KAON_MAP_COPY)
        status = make_copy(memory, mapping, err);
    if (status)
        kaon__mapping_free(mapping);
    else
        *out = mapping;
    return status;
}

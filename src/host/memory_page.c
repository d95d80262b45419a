/* SPDX-License-Identifier: Apache-2.0 */
/* A memory's pages. Owns them, through the arena. */
#include "host/memory_page.h"

#include <stdlib.h>
#include <string.h>

#include "host/arena.h"
#include "host/image.h"
#include "host/snapshot.h"
#include "host/view.h"

const unsigned char *kaon__memory_content_in(const struct kaon_memory *memory,
                                             const struct kaon_snapshot *state,
                                             uint64_t address)
{
    const unsigned char *page = kaon__snapshot_page(state, address);

    return page ? page : kaon__image_initial(memory->view->image, address);
}

const unsigned char *kaon__memory_content(const struct kaon_memory *memory,
                                          uint64_t address)
{
    return kaon__memory_content_in(memory, memory->state, address);
}

/* Room to note one more extent, so that noting cannot fail later. */
static bool make_room(struct kaon_memory *memory)
{
    uint32_t room = memory->extent_room ? 2 * memory->extent_room : 8;
    struct kaon_extent *extents;

    if (memory->extent_count < memory->extent_room)
        return true;
    if (room > UINT32_MAX / 4)
        return false;
    extents = realloc(memory->extents, room * sizeof *extents);
    if (!extents)
        return false;
    memory->extents = extents;
    memory->extent_room = room;
    return true;
}

static uint64_t take(struct kaon_arena *arena, uint64_t pages)
{
    return pages == 1 ? kaon__arena_page(arena) : kaon__arena_run(arena, pages);
}

void kaon__memory_give(const struct kaon_memory *memory, uint64_t physical,
                       uint64_t pages)
{
    struct kaon_arena *arena = memory->machine->arena;

    if (pages == 1) {
        kaon__arena_page_free(arena, physical);
    } else {
        backend_of(memory)->discard(memory->machine, physical, pages);
        kaon__arena_run_free(arena, physical, pages);
    }
}

unsigned char *kaon__memory_provide(struct kaon_memory *memory,
                                    uint64_t address, uint64_t pages)
{
    const unsigned char *content =
        pages == 1 ? kaon__memory_content(memory, address) : NULL;
    uint64_t physical;
    unsigned char *at;

    memory->stale = 0;
    if (!make_room(memory))
        return NULL;
    physical = take(memory->machine->arena, pages);
    if (!physical)
        return NULL;
    at = kaon__arena_at(memory->machine->arena, physical);
    if (content)
        kaon__snapshot_read(memory->state, content, at, KAON_PAGE_SIZE);
    /* Mapped in part, they may be mapped still: they stay the sandbox's. */
    memory->extents[memory->extent_count++] = (struct kaon_extent){
        .address = address,
        .physical = physical,
        .pages = pages,
        .content = content,
    };
    if (backend_of(memory)->space_map(memory->machine, memory->space, address,
                                      physical, pages, KAON_PROTECT_WRITE,
                                      NULL))
        return NULL;
    if (content)
        memory->copied += pages;
    else
        memory->zeroed += pages;
    return at;
}

bool kaon__memory_owns(const struct kaon_memory *memory, uint64_t address)
{
    uint64_t physical;
    unsigned protection;

    return backend_of(memory)->space_look(memory->machine, memory->space,
                                          address, &physical, &protection) &&
           protection & KAON_PROTECT_WRITE;
}

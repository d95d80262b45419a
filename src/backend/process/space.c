/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spaces of the process backend: what a process is to map.
 *
 * Owns the list of maps and the pages of the process's control page and signal
 * stack. Sealing makes the process, which maps all of it. A process never
 * changes what it maps: when the list changes, it ends, and the next call gets
 * another.
 */
#include "backend/process/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend/process/spawn.h"
#include "host/error.h"

enum kaon_status kaon__process_space_create(struct kaon_machine *machine,
                                            struct kaon_space *out,
                                            struct kaon_space parent,
                                            struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    enum kaon_status status = kaon__process_machine_check(machine, err);
    struct process_space *space;

    if (status)
        return status;
    space = calloc(1, sizeof *space);
    if (!space)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
    space->parent = space_of(parent);
    space->witness = space->tokens = space->pidfd = -1;
    space->spin = m->spin;
    pthread_mutex_lock(&m->lock);
    space->next = m->spaces;
    space->back = &m->spaces;
    if (space->next)
        space->next->back = &space->next;
    m->spaces = space;
    pthread_mutex_unlock(&m->lock);
    out->root = (uintptr_t)space;
    return KAON_OK;
}

void kaon__process_space_free(struct process_machine *m,
                              struct process_space *space)
{
    if (kaon__process_is_mine(m))
        kaon__process_end(space);
    else if (space->pidfd >= 0)
        close(space->pidfd);
    if (space->witness >= 0)
        close(space->witness);
    if (space->tokens >= 0)
        close(space->tokens);
    if (space->control)
        atomic_fetch_sub(&m->sealed_count, 1);
    if (space->control_physical) {
        kaon__process_discard(&m->machine, space->control_physical,
                              1 + STACK_PAGES);
        kaon__arena_run_free(&m->arena, space->control_physical,
                             1 + STACK_PAGES);
    }
    pthread_mutex_lock(&m->lock);
    *space->back = space->next;
    if (space->next)
        space->next->back = space->back;
    pthread_mutex_unlock(&m->lock);
    kaon__process_touched_finish(space);
    free(space->maps);
    free(space);
}

void kaon__process_space_destroy(struct kaon_machine *machine,
                                 struct kaon_space space)
{
    if (space.root)
        kaon__process_space_free(process_machine(machine), space_of(space));
}

static bool is_sealed(const struct process_space *space)
{
    return space->control;
}

/* Its process maps something else than the space shows now. */
static void retire(struct process_machine *m, struct process_space *space)
{
    if (!is_sealed(space) || !kaon__process_is_mine(m))
        return;
    kaon__process_end(space);
    atomic_store(&space->killed, true);
}

static enum kaon_status fail_maps(struct kaon_error *err)
{
    return kaon__fail(err, KAON_EBACKEND,
                      "a sandbox's process maps %d memories in %d pieces at "
                      "most, image and mappings together: unmap something",
                      KAON_SPAWN_MEMORIES, KAON_SPAWN_MAPS);
}

enum kaon_status kaon__process_space_map(struct kaon_machine *machine,
                                         struct kaon_space handle,
                                         uint64_t address, uint64_t physical,
                                         uint64_t pages, unsigned protection,
                                         struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    struct process_space *space = space_of(handle);

    if (space->map_count == space->map_room) {
        unsigned room = space->map_room ? 2 * space->map_room : 4;
        struct map *maps = realloc(space->maps, room * sizeof *maps);

        if (!maps)
            return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
        space->maps = maps;
        space->map_room = room;
    }
    space->maps[space->map_count++] =
        (struct map){ address, physical, pages, protection };
    if (is_sealed(space) && !kaon__process_fits(m, space)) {
        space->map_count--;
        return fail_maps(err);
    }
    retire(m, space);
    return KAON_OK;
}

void kaon__process_space_unmap(struct kaon_machine *machine,
                               struct kaon_space handle, uint64_t address,
                               uint64_t pages)
{
    struct process_space *space = space_of(handle);
    unsigned kept = 0;

    /* First the process: what it had is nobody's business then. */
    retire(process_machine(machine), space);
    for (unsigned i = 0; i < space->map_count; i++) {
        const struct map *map = &space->maps[i];

        if (map->address - address >= pages * KAON_PAGE_SIZE)
            space->maps[kept++] = *map;
    }
    space->map_count = kept;
}

/* The newest map that shows an address, the parent's after its own. */
static const struct map *find(const struct process_space *space,
                              uint64_t address)
{
    for (; space; space = space->parent)
        for (unsigned i = space->map_count; i-- > 0;) {
            const struct map *map = &space->maps[i];

            if (address - map->address < map->pages * KAON_PAGE_SIZE)
                return map;
        }
    return NULL;
}

bool kaon__process_space_look(struct kaon_machine *machine,
                              struct kaon_space space, uint64_t address,
                              uint64_t *physical, unsigned *protection)
{
    const struct map *map = find(space_of(space), address);

    (void)machine;
    if (!map)
        return false;
    *physical = map->physical + ((address - map->address) & -KAON_PAGE_SIZE);
    *protection = map->protection;
    return true;
}

enum kaon_status kaon__process_space_seal(struct kaon_machine *machine,
                                          struct kaon_space handle,
                                          struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    struct process_space *space = space_of(handle);
    int fd;

    space->control_physical = kaon__arena_run(&m->arena, 1 + STACK_PAGES);
    if (!space->control_physical)
        return kaon__fail(err, KAON_ENOMEM,
                          "the domain's memory is used up: raise "
                          "memory_bytes, or destroy sandboxes");
    space->control = kaon__arena_at(&m->arena, space->control_physical);
    atomic_fetch_add(&m->sealed_count, 1);
    /* The process sleeps on what it reads, and nobody on what it writes. */
    fd = eventfd(0, m->by_token ? EFD_CLOEXEC : EFD_CLOEXEC | EFD_NONBLOCK);
    *(m->by_token ? &space->tokens : &space->witness) = fd;
    if (fd < 0)
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "cannot make a descriptor for a sandbox's "
                                "process (eventfd: %s): raise `ulimit -n`",
                                strerror(errno));
    return kaon__process_launch(m, space, err);
}

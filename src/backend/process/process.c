/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A space's process: launched with all that the space shows, waited for, ended.
 *
 * A process holds no state that its memory does not, so it can be replaced.
 *
 * Owns the processes (by pidfd). What they write is hostile, whosever turn it
 * is.
 */
#include "backend/process/inside.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/process/launch.h"
#include "gate/gate.h"
#include "host/error.h"

#define READY_LOOKS 250 /* 5 s, for a new process on a loaded machine */

/* A request to the zygote, as it is put together. */
struct request {
    struct kaon_spawn spawn;
    int memories[KAON_SPAWN_MEMORIES];
};

static int protection_bits(unsigned protection)
{
    return PROT_READ | (protection & KAON_PROTECT_WRITE ? PROT_WRITE : 0) |
           (protection & KAON_PROTECT_EXECUTE ? PROT_EXEC : 0);
}

/* The index of a descriptor among those of the request; -1: no place left. */
static int memory_index(struct request *request, int fd)
{
    for (unsigned i = 0; i < request->spawn.memory_count; i++)
        if (request->memories[i] == fd)
            return (int)i;
    if (request->spawn.memory_count == KAON_SPAWN_MEMORIES)
        return -1;
    request->memories[request->spawn.memory_count] = fd;
    return (int)request->spawn.memory_count++;
}

static bool add_map(const struct process_machine *m, struct request *request,
                    const struct map *map)
{
    struct kaon_spawn *spawn = &request->spawn;
    uint64_t offset = map->physical - ARENA_PHYSICAL;
    int fd = m->memfd, memory;

    for (unsigned i = 0; i < m->attached_count; i++)
        if (map->physical - m->attached[i].physical < m->attached[i].size) {
            fd = m->attached[i].fd;
            offset = m->attached[i].offset +
                     (map->physical - m->attached[i].physical);
        }
    memory = memory_index(request, fd);
    if (memory < 0 || spawn->map_count == KAON_SPAWN_MAPS)
        return false;
    spawn->maps[spawn->map_count++] = (struct kaon_spawn_map){
        .address = map->address,
        .size = map->pages * KAON_PAGE_SIZE,
        .offset = offset,
        .memory = (uint32_t)memory,
        .protection = (uint32_t)protection_bits(map->protection),
    };
    return true;
}

/* Recursion is as deep as spaces have parents: once. */
static bool add_maps(const struct process_machine *m, struct request *request,
                     const struct process_space *space)
{
    if (space->parent && !add_maps(m, request, space->parent))
        return false;
    for (unsigned i = 0; i < space->map_count; i++)
        if (!add_map(m, request, &space->maps[i]))
            return false;
    return true;
}

static uint64_t in_gate(const unsigned char *place)
{
    return KAON_PROCESS_GATE + (uint64_t)(place - kaon__gate_process);
}

static bool fill_request(struct process_machine *m, struct request *request,
                         const struct process_space *space)
{
    const struct map gate = { KAON_PROCESS_GATE, m->gate, 1,
                              KAON_PROTECT_EXECUTE };
    const struct map control = { KAON_PROCESS_CONTROL, space->control_physical,
                                 1, KAON_PROTECT_WRITE };
    const struct map stack = { KAON_PROCESS_STACK,
                               space->control_physical + KAON_PAGE_SIZE,
                               STACK_PAGES, KAON_PROTECT_WRITE };
    bool fits;
    int kept;

    memset(request, 0, sizeof *request);
    request->spawn.start = in_gate(kaon__gate_process_start);
    request->spawn.handler = in_gate(kaon__gate_process_signal);
    pthread_mutex_lock(&m->lock);
    fits = add_maps(m, request, space) && add_map(m, request, &gate) &&
           add_map(m, request, &control) && add_map(m, request, &stack);
    pthread_mutex_unlock(&m->lock);
    kept = memory_index(request, m->by_token ? space->tokens : space->witness);
    request->spawn.kept = (uint32_t)kept;
    request->spawn.by_token = m->by_token;
    return fits && kept >= 0;
}

bool kaon__process_fits(struct process_machine *m,
                        const struct process_space *space)
{
    struct request request;

    return fill_request(m, &request, space);
}

static enum kaon_status fail_ready(const struct process_space *space, bool gone,
                                   struct kaon_error *err)
{
    if (space->control->error) {
        errno = -(int)space->control->error;
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "the kernel refused the seccomp filter that "
                                "locks a sandbox's process in (%s): without "
                                "it there is no process isolation here",
                                strerror(errno));
    }
    return kaon__fail(err, KAON_EBACKEND,
                      gone ? "a sandbox's process ended before it was ready: "
                             "was it killed, or is its memory limited "
                             "(`ulimit -v`)?"
                           : "a sandbox's process was not ready after 5 s: is "
                             "it stopped, or the machine overloaded?");
}

/* The same by token: its end would be heard, too. */
static enum kaon_status await_told(struct process_space *space,
                                   struct kaon_error *err)
{
    struct pollfd poll_for = { .fd = space->witness, .events = POLLIN };
    const atomic_bool kicked = false;
    int told;

    do
        told = poll(&poll_for, 1, READY_LOOKS * (LOOK_NS / 1000000));
    while (told < 0 && errno == EINTR);
    if (told > 0 && kaon__process_await_told(space, &kicked))
        return KAON_OK;
    return fail_ready(space, told > 0, err);
}

/* A new process has locked itself in, or it could not. */
static enum kaon_status await_ready(struct process_space *space,
                                    struct kaon_error *err)
{
    for (int look = 0; !kaon__process_my_turn(space); look++) {
        bool gone = kaon__process_is_gone(space);

        if (kaon__process_my_turn(space))
            break;
        if (gone || look == READY_LOOKS)
            return fail_ready(space, gone, err);
        kaon__process_sleep(space, LOOK_NS);
    }
    return KAON_OK;
}

enum kaon_status kaon__process_launch(struct process_machine *m,
                                      struct process_space *space,
                                      struct kaon_error *err)
{
    struct launched launched;
    struct request request;
    enum kaon_status status;

    kaon__process_end(space);
    space->touched.known = false;
    space->near = NULL;
    kaon__process_scrub(m, space);
    *space->control =
        (struct kaon_control){ .turn = KAON_TURN_ENTER, .spin = space->spin };
    if (!fill_request(m, &request, space))
        return kaon__fail(err, KAON_EBACKEND,
                          "the image has too many segments for a process: "
                          "link it with fewer");
    if (m->by_token)
        kaon__process_forget_token(space);
    status = kaon__launch(&request.spawn, request.memories, &launched, err);
    if (!status) {
        space->pidfd = launched.pidfd;
        if (m->by_token)
            space->witness = launched.witness;
        status = m->by_token ? await_told(space, err) : await_ready(space, err);
    }
    space->parked = space->proved = space->left = false;
    if (!m->by_token)
        kaon__process_forget_witness(space);
    atomic_store(&space->killed, status != KAON_OK);
    return status;
}

bool kaon__process_kill(struct process_space *space)
{
    if (atomic_exchange(&space->killed, true))
        return false;
    if (space->pidfd >= 0)
        kaon__launch_kill(space->pidfd);
    return true;
}

void kaon__process_end(struct process_space *space)
{
    if (space->pidfd >= 0)
        kaon__launch_end(space->pidfd);
    space->pidfd = -1;
    space->stands = false;
    if (space->tokens >= 0 && space->witness >= 0) { /* the process's own */
        close(space->witness);
        space->witness = -1;
    }
}

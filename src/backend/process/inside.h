/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the process backend share: machine.c, space.c (what a
 * space shows), process.c (its process), turn.c and token.c, park.c, touched.c
 * and vcpu.c.
 */
#ifndef KAON_SRC_BACKEND_PROCESS_INSIDE_H
#define KAON_SRC_BACKEND_PROCESS_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend/process/control.h"
#include "backend/process/process.h"
#include "host/arena.h"
#include "host/patience.h"
#include "host/pause.h"

#define ARENA_PHYSICAL UINT64_C(0x200000)
#define STACK_PAGES (KAON_PROCESS_STACK_SIZE / KAON_PAGE_SIZE)

struct attached {
    uint64_t physical, size;
    uint64_t offset; /* in the file */
    int fd;          /* borrowed */
};

struct process_machine {
    struct kaon_machine machine;
    struct kaon_arena arena;
    int memfd;
    uint64_t gate;  /* physical */
    uint64_t owner; /* the number of the process that made it */
    uint32_t spin;  /* what is usual */
    bool by_token;  /* how its processes take turns: token.c */
    uint32_t frame; /* at a signal stack's top: what the kernel may write there
                       for a handler; whole pages */
    atomic_uint_fast64_t holes; /* how often pages were taken from the memfd */
    atomic_uint sealed_count;   /* spaces that have, or had, a process */
    pthread_mutex_t lock;       /* guards the rest */
    struct attached *attached;
    unsigned attached_count;
    uint64_t next_physical;
    struct process_space *spaces;
};

struct map {
    uint64_t address, physical, pages;
    unsigned protection;
};

/* Adjacent pages. */
struct page_run {
    uint64_t first, count; /* physical */
};

/* All pages of the machine that were ever touched: touched.c. */
struct touched_pages {
    struct page_run *runs; /* upwards */
    unsigned run_count, room;
    uint64_t pages; /* in all runs; 0 if there is no list */
    uint64_t holes; /* the machine's, when it was made */
    bool known;     /* complete, until a guest runs */
};

struct process_space {
    struct process_space *next, **back;
    const struct process_space *parent;
    struct map *maps;
    unsigned map_count, map_room;
    int witness;        /* what only its process writes, and the kernel when it
                           ended (zygote.c); or -1 */
    int tokens;         /* by token: an eventfd that only we write; or -1 */
    bool stands;        /* by token: its process waits for one, for certain */
    int pidfd;          /* -1 before it is sealed */
    atomic_bool killed; /* by us: to be replaced before it runs again */
    bool parked;        /* since it ran last, when it was asked to: park.c */
    bool proved;        /* the same, as it left through the gate */
    bool proves;        /* leaving makes the witness's call */
    bool left;          /* through the gate, as its process says, which is the
                           same since and was not asked to park */
    uint32_t in_a_row;  /* calls that followed one which left so */
    uint32_t *near;     /* the turn's other place, or NULL: turn.c */
    uint64_t turns;     /* that its guest was given, and */
    uint64_t calls;     /* that the witness had, since it was forgotten */
    uint32_t spin;      /* how often to look before sleeping */
    struct kaon_patience patience;
    struct touched_pages touched;
    uint64_t control_physical;
    struct kaon_control *control;
};

static inline struct process_machine *
process_machine(struct kaon_machine *machine)
{
    return (struct process_machine *)machine;
}

static inline struct process_space *space_of(struct kaon_space space)
{
    return (struct process_space *)(uintptr_t)space.root;
}

/* ---- Machines ---------------------------------------------------------- */

/*
 * In a child of fork(), memory and processes are the parent's still. What the
 * child does to its copy of all the rest must not reach them.
 */
bool kaon__process_is_mine(struct process_machine *m);

enum kaon_status
kaon__process_machine_create(struct kaon_machine **out,
                             const struct kaon_machine_config *config,
                             struct kaon_error *err);
void kaon__process_machine_destroy(struct kaon_machine *machine);
enum kaon_status kaon__process_machine_check(struct kaon_machine *machine,
                                             struct kaon_error *err);
enum kaon_status
kaon__process_machine_attach(struct kaon_machine *machine,
                             const struct kaon_host_memory *memory,
                             uint64_t *physical, struct kaon_error *err);
enum kaon_status kaon__process_machine_detach(struct kaon_machine *machine,
                                              uint64_t physical,
                                              struct kaon_error *err);
void kaon__process_discard(struct kaon_machine *machine, uint64_t physical,
                           uint64_t pages);
enum kaon_status kaon__process_machine_reclaim(struct kaon_machine *machine,
                                               struct kaon_error *err);

/* ---- Spaces ------------------------------------------------------------ */

/* Before any of its memory is used again, the process is gone. */
void kaon__process_space_free(struct process_machine *m,
                              struct process_space *space);

enum kaon_status kaon__process_space_create(struct kaon_machine *machine,
                                            struct kaon_space *out,
                                            struct kaon_space parent,
                                            struct kaon_error *err);
enum kaon_status kaon__process_space_map(struct kaon_machine *machine,
                                         struct kaon_space handle,
                                         uint64_t address, uint64_t physical,
                                         uint64_t pages, unsigned protection,
                                         struct kaon_error *err);
void kaon__process_space_unmap(struct kaon_machine *machine,
                               struct kaon_space handle, uint64_t address,
                               uint64_t pages);
bool kaon__process_space_look(struct kaon_machine *machine,
                              struct kaon_space space, uint64_t address,
                              uint64_t *physical, unsigned *protection);
enum kaon_status kaon__process_space_seal(struct kaon_machine *machine,
                                          struct kaon_space handle,
                                          struct kaon_error *err);
void kaon__process_space_destroy(struct kaon_machine *machine,
                                 struct kaon_space space);

/* ---- What was touched -------------------------------------------------- */

/* The space's guest stands still: what it touched is asked for below. */
void kaon__process_touched_know(struct process_machine *m,
                                struct process_space *space);
void kaon__process_touched_finish(struct process_space *space);

/* The first in a row of these that were touched: from the space's list, or, if
 * that is not complete or `space` is NULL, as the kernel has it now. */
bool kaon__process_touched(const struct process_machine *m,
                           const struct process_space *space,
                           const struct page_run *in, struct page_run *out);

bool kaon__process_space_touched(struct kaon_machine *machine,
                                 struct kaon_space handle, uint64_t physical,
                                 uint64_t pages, uint64_t *first,
                                 uint64_t *count);

/* ---- A space's process ------------------------------------------------- */

/* The space's process, the first or another; locked in and ready. */
enum kaon_status kaon__process_launch(struct process_machine *m,
                                      struct process_space *space,
                                      struct kaon_error *err);

/* Can a process map all that the space shows? */
bool kaon__process_fits(struct process_machine *m,
                        const struct process_space *space);

/* Tells it to end, so that another takes its place before the guest runs again:
 * false if it was told before. From any thread. */
bool kaon__process_kill(struct process_space *space);

/* Kills it, if there is one, and waits until it is gone. */
void kaon__process_end(struct process_space *space);

/* ---- Its turn ---------------------------------------------------------- */

bool kaon__process_is_gone(const struct process_space *space);

/* Sleeps until it may be the host's turn, or it is time to look around, as
 * whether the process still lives. */
void kaon__process_sleep(struct process_space *space, long nanoseconds);
#define LOOK_NS 20000000

/* Gives it away: what for, a KAON_TURN_ says. */
void kaon__process_give_turn(struct process_space *space, uint32_t to);

/* Has the host find that its turn has come: from any thread. */
void kaon__process_take_turn(struct process_space *space);

/* Waits for the host's turn; false if it never comes: somebody kicked, or the
 * process is gone. Says whether it slept. */
bool kaon__process_await_turn(struct process_space *space,
                              const atomic_bool *kicked, bool *slept);

/* By token: gives one, and waits until the process tells. False if it never
 * will: somebody kicked, or it is gone. */
bool kaon__process_give_token(struct process_space *space, uint32_t to,
                              const atomic_bool *kicked);

/* Waits only: a new process tells without one. */
bool kaon__process_await_told(struct process_space *space,
                              const atomic_bool *kicked);

/* Takes back what a process that is gone left. */
void kaon__process_forget_token(const struct process_space *space);

void kaon__process_space_spin(struct kaon_machine *machine,
                              struct kaon_space handle, uint32_t looks);

static inline bool kaon__process_my_turn(const struct process_space *space)
{
    uint32_t turn = __atomic_load_n(&space->control->turn, __ATOMIC_ACQUIRE);

    if (turn == KAON_TURN_CALL && space->near)
        turn = __atomic_load_n(space->near, __ATOMIC_ACQUIRE);
    return turn == KAON_TURN_HOST;
}

/* ---- Parking ----------------------------------------------------------- */

bool kaon__process_space_park(struct kaon_machine *machine,
                              struct kaon_space handle);
bool kaon__process_space_is_still(struct kaon_machine *machine,
                                  struct kaon_space handle);
void kaon__process_space_halt(struct kaon_machine *machine,
                              struct kaon_space handle);

/* Nothing of before counts as its process's word. */
void kaon__process_forget_witness(struct process_space *space);

/* A parked process is as a new one, its control page and signal stack too.
 * False if it is not, being gone, or the host is kicked. */
bool kaon__process_unpark(struct process_machine *m,
                          struct process_space *space,
                          const atomic_bool *kicked);

/* Clears what a guest left in control page and signal stack, but for the words
 * of the turn. It must not run. */
void kaon__process_scrub(struct process_machine *m,
                         const struct process_space *space);

/* ---- vCPUs ------------------------------------------------------------- */

enum kaon_status kaon__process_vcpu_create(struct kaon_vcpu **out,
                                           struct kaon_machine *machine,
                                           uint32_t index,
                                           struct kaon_error *err);
void kaon__process_vcpu_destroy(struct kaon_vcpu *vcpu);
void kaon__process_vcpu_bind(struct kaon_vcpu *vcpu);
enum kaon_status
kaon__process_vcpu_enter(struct kaon_vcpu *vcpu, struct kaon_space handle,
                         bool fresh, const struct kaon_entry *entry,
                         const struct kaon_thread_pointers *pointers,
                         struct kaon_exit *exit, struct kaon_error *err);
enum kaon_status kaon__process_vcpu_resume(struct kaon_vcpu *vcpu,
                                           struct kaon_exit *exit,
                                           struct kaon_error *err);
void kaon__process_vcpu_registers(const struct kaon_vcpu *vcpu,
                                  struct kaon_registers *registers);
struct kaon_thread_pointers
kaon__process_vcpu_pointers(const struct kaon_vcpu *vcpu);
enum kaon_status kaon__process_kick_ready(struct kaon_machine *machine,
                                          struct kaon_error *err);
void kaon__process_vcpu_kick(struct kaon_vcpu *vcpu);
void kaon__process_vcpu_unkick(struct kaon_vcpu *vcpu);

#endif

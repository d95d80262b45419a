/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that run nothing of their guest: parked, for certain, or ended.
 *
 * That a process handed over its turn proves nothing: it may go on. What proves
 * something is a system call, since the filter lets each be made in the gate
 * only. So there is one just for that: it adds to an eventfd, the
 * *witness*, that none but the process and the host have. The host empties the
 * witness, asks the gate to park (KAON_TURN_PARK), waits for its turn, and asks
 * the witness whether the call was made since.
 *
 * From that call on the process executes nothing but the gate, whatever its
 * registers and the control page hold. It has one thread. What comes after the
 * call is the gate's (kaon__gate_process_parked), or the handler of a signal,
 * which is the gate's too: the filter keeps the guest from changing handlers or
 * their stack, and from a return to what a signal interrupted. Both give the
 * turn to the host before they look at it, so that nothing a guest once wrote
 * there counts, and then wait for a turn in the control page, and nowhere else
 * (turn.c). To park is no way out, so a question that comes late does no harm;
 * the way out is KAON_TURN_ENTER, which the host writes when it enters, after
 * all that the gate goes by then.
 *
 * To be asked takes a hand-over of its own. So a process that was parked once
 * makes the call whenever it leaves through the gate, too (`prove` in the
 * control page), until it was called some times in a row; and the host counts
 * the turns that it gives. A guest gets to run once for each, and then can make
 * the call once: to do anything after it takes another turn. Hence as many
 * calls as turns mean that each ended with the call, the last one among them:
 * the process has left for good (`proved`), if it is only given the turn to
 * enter afresh. A trap may still come late, and bring it to the gate's handler.
 * The gate, which alone knows what came before what, enters only if no handler
 * wrote its reason since the host cleared it; and says that it entered, which
 * no guest can, as none runs. If it did not, the host clears all once more, and
 * gives it another turn.
 *
 * All this is for turns that are taken by looking. Where they are taken by
 * token (token.c), a process whose turn is over stands still, and only the late
 * traps are left to deal with.
 *
 * A guest that makes the call unasked, then, has parked. One that prepares a
 * trap for the gate (the trap flag; a protection key) gets the gate's handler,
 * with flags and keys as the kernel gives them to handlers. Hence a process is
 * told to park again until it says, on its way to the host's turn, that it has
 * its own registers behind it: a word that only the gate can write by now.
 */
#include "backend/process/inside.h"

#include <string.h>
#include <unistd.h>

/* Who waits as it should answers in a microsecond, if it has a CPU. */
#define PARK_SLEEPS 4
#define PARK_SLEEP_NS 500000

/* Turns to park in: one to meet each trap that may be in the way. */
#define PARK_TURNS 4

/* Empties the witness: how often was the call made since the last time? */
static uint64_t ask_witness(const struct process_space *space)
{
    uint64_t calls;

    if (read(space->witness, &calls, sizeof calls) != sizeof calls)
        return 0;
    return calls / KAON_PROCESS_WORD;
}

void kaon__process_forget_witness(struct process_space *space)
{
    ask_witness(space);
    space->turns = space->calls = 0;
}

/* The call comes before the turn: who gave the turn without it did not park. */
static bool parks(struct process_space *space, uint32_t looks)
{
    kaon__process_forget_witness(space);
    kaon__process_give_turn(space, KAON_TURN_PARK);
    for (uint32_t i = 0; i < looks && !kaon__process_my_turn(space); i++)
        kaon__pause();
    for (int i = 0; i < PARK_SLEEPS && !kaon__process_my_turn(space); i++)
        kaon__process_sleep(space, PARK_SLEEP_NS);
    return ask_witness(space) > 0;
}

/* Did each turn since the witness was forgotten end with the call? */
static bool has_proved(struct process_space *space)
{
    if (!space->proves || space->parked)
        return false;
    space->calls += ask_witness(space);
    return space->calls == space->turns;
}

static bool is_still(const struct process_machine *m,
                     struct process_space *space)
{
    if (atomic_load(&space->killed))
        return false;
    if (m->by_token)
        space->proved = space->stands;
    else
        space->proved = space->proved || has_proved(space);
    return space->proved;
}

static bool stands_still(const struct process_machine *m,
                         struct process_space *space)
{
    if (is_still(m, space))
        return true;
    if (m->by_token || atomic_load(&space->killed))
        return false;
    space->parked =
        space->parked ? !kaon__process_is_gone(space) : parks(space, m->spin);
    return space->parked;
}

bool kaon__process_space_is_still(struct kaon_machine *machine,
                                  struct kaon_space handle)
{
    struct process_machine *m = process_machine(machine);
    struct process_space *space = space_of(handle);

    if (!kaon__process_is_mine(m) || !is_still(m, space))
        return false;
    kaon__process_touched_know(m, space);
    return true;
}

bool kaon__process_space_park(struct kaon_machine *machine,
                              struct kaon_space handle)
{
    struct process_machine *m = process_machine(machine);
    struct process_space *space = space_of(handle);

    if (!kaon__process_is_mine(m))
        return false;
    space->left = false;
    space->near = NULL;
    if (!stands_still(m, space)) {
        kaon__process_end(space);
        atomic_store(&space->killed, true);
    }
    kaon__process_touched_know(m, space);
    return true;
}

/* Most of its pages were never touched. */
static void scrub_stack(struct process_machine *m,
                        const struct process_space *space, uint64_t start,
                        uint64_t end)
{
    struct page_run rest = { start, (end - start) / KAON_PAGE_SIZE }, run;

    while (kaon__process_touched(m, space, &rest, &run)) {
        memset(kaon__arena_at(&m->arena, run.first), 0,
               run.count * KAON_PAGE_SIZE);
        rest.first = run.first + run.count * KAON_PAGE_SIZE;
        rest.count = (end - rest.first) / KAON_PAGE_SIZE;
    }
}

/*
 * By token, a handler may be about to look at its frame: the gate clears that
 * on its way in, if it was touched. One that comes later makes the gate ask for
 * another turn. By looking, the list does not hold: a late trap may just have
 * touched a page.
 */
static void scrub_all_stack(struct process_machine *m,
                            const struct process_space *space)
{
    const uint64_t stack = space->control_physical + KAON_PAGE_SIZE;
    const uint64_t end = stack + KAON_PROCESS_STACK_SIZE;
    const struct page_run frame = { end - m->frame, m->frame / KAON_PAGE_SIZE };
    struct page_run run;

    if (!m->by_token || space->pidfd < 0) {
        scrub_stack(m, NULL, stack, end);
        return;
    }
    if (kaon__process_touched(m, space, &frame, &run))
        space->control->frame = m->frame;
    scrub_stack(m, space, stack, frame.first);
}

void kaon__process_scrub(struct process_machine *m,
                         const struct process_space *space)
{
    unsigned char *page = (unsigned char *)space->control;

    memset(page + CONTROL_ERROR, 0, KAON_PAGE_SIZE - CONTROL_ERROR);
    space->control->host_sleeps = 0;
    scrub_all_stack(m, space);
}

bool kaon__process_unpark(struct process_machine *m,
                          struct process_space *space,
                          const atomic_bool *kicked)
{
    bool slept;

    for (int turn = 0; turn < PARK_TURNS; turn++) {
        if (!kaon__process_await_turn(space, kicked, &slept))
            return false;
        if (space->control->reason == KAON_REASON_PARKED) {
            kaon__process_scrub(m, space);
            space->control->spin = space->spin;
            space->parked = false;
            kaon__process_forget_witness(space);
            space->proves = true;
            return true;
        }
        kaon__process_give_turn(space, KAON_TURN_PARK);
    }
    return false;
}

void kaon__process_space_halt(struct kaon_machine *machine,
                              struct kaon_space handle)
{
    struct process_space *space = space_of(handle);

    if (kaon__process_is_mine(process_machine(machine)))
        kaon__process_kill(space);
}

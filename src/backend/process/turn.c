/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn: a word that whoever does not have it looks at for a while, until he
 * says that he sleeps, looks once more, and waits to be woken.
 *
 * The word is in the control page. But a cache line that one CPU wrote and the
 * other reads takes as long as a hundred instructions, and a call writes to the
 * mailbox anyway. So for calls in a row the turn stays CALL in the control
 * page, which nobody writes to then; what changes is another word, in the line
 * of the mailbox's frame (`near`). Who looks at that looks at the control page
 * as well: there the host asks it to park or enters it afresh, and there it
 * hands over if it faults. None of this is for processes that are to prove that
 * they left: from the witness's call on, a mailbox whose address the guest gave
 * must mean nothing (park.c).
 *
 * The process may write either word, and those beside them, at any time: it can
 * let the host believe that its turn has come, and it can miss its own. Neither
 * keeps the host from anything, as it sleeps only for a moment at a time.
 */
#include "backend/process/inside.h"

#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>

/* So does one that looks for its turn for long: after a millisecond or so. */
#define LOOKS_AROUND 65536

bool kaon__process_is_gone(const struct process_space *space)
{
    struct pollfd poll_for = { .fd = space->pidfd, .events = POLLIN };

    return poll(&poll_for, 1, 0) > 0;
}

void kaon__process_sleep(struct process_space *space, long nanoseconds)
{
    const struct timespec look = { .tv_nsec = nanoseconds };
    uint32_t *sleeps = &space->control->host_sleeps;

    __atomic_exchange_n(sleeps, 1, __ATOMIC_SEQ_CST);
    if (!kaon__process_my_turn(space))
        syscall(SYS_futex, sleeps, FUTEX_WAIT, 1, &look, NULL, 0);
    __atomic_store_n(sleeps, 0, __ATOMIC_RELAXED);
}

/* Who said that it sleeps, in this word. */
static void wake(uint32_t *sleeps)
{
    __atomic_store_n(sleeps, 0, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, sleeps, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Where to give it: in the mailbox, if the gate waits there. */
static uint32_t *place_of_turn(const struct process_space *space, uint32_t to)
{
    uint32_t *turn = &space->control->turn;

    if (!space->near)
        return turn;
    if (__atomic_load_n(turn, __ATOMIC_RELAXED) == KAON_TURN_CALL)
        return space->near;
    __atomic_store_n(space->near, to, __ATOMIC_RELAXED); /* not the host's */
    return turn;
}

void kaon__process_give_turn(struct process_space *space, uint32_t to)
{
    space->touched.known = false;
    __atomic_exchange_n(place_of_turn(space, to), to, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&space->control->guest_sleeps, __ATOMIC_SEQ_CST))
        wake(&space->control->guest_sleeps);
}

void kaon__process_take_turn(struct process_space *space)
{
    __atomic_exchange_n(&space->control->turn, KAON_TURN_HOST,
                        __ATOMIC_SEQ_CST);
    wake(&space->control->host_sleeps);
}

void kaon__process_space_spin(struct kaon_machine *machine,
                              struct kaon_space handle, uint32_t looks)
{
    struct process_space *space = space_of(handle);

    space->spin = looks ? looks : process_machine(machine)->spin;
    __atomic_store_n(&space->control->spin, space->spin, __ATOMIC_RELAXED);
}

/* The turn may never come, and to look for it may take long. */
static bool is_hopeless(const struct process_space *space,
                        const atomic_bool *kicked)
{
    return atomic_load(kicked) || kaon__process_is_gone(space);
}

bool kaon__process_await_turn(struct process_space *space,
                              const atomic_bool *kicked, bool *slept)
{
    *slept = false;
    kaon__patience_wait(&space->patience);
    for (uint32_t i = 0; i < space->spin; i++) {
        if (kaon__process_my_turn(space)) {
            kaon__patience_learn(&space->patience, i);
            return true;
        }
        if (i % LOOKS_AROUND == LOOKS_AROUND - 1 && is_hopeless(space, kicked))
            return kaon__process_my_turn(space);
        kaon__pause();
    }
    *slept = true;
    while (!atomic_load(kicked)) {
        kaon__process_sleep(space, LOOK_NS);
        if (kaon__process_my_turn(space))
            return true;
        if (kaon__process_is_gone(space))
            return kaon__process_my_turn(space);
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn: one word of the control page, on which whoever does not have it
 * looks for a while and then sleeps.
 *
 * The process may write the word, and those beside it, at any time: it can let
 * the host believe that its turn has come, and it can miss its own. Neither
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
    uint32_t turn;

    __atomic_exchange_n(&space->control->host_sleeps, 1, __ATOMIC_SEQ_CST);
    turn = __atomic_load_n(&space->control->turn, __ATOMIC_SEQ_CST);
    if (turn != KAON_TURN_HOST)
        syscall(SYS_futex, &space->control->turn, FUTEX_WAIT, turn, &look, NULL,
                0);
    __atomic_store_n(&space->control->host_sleeps, 0, __ATOMIC_RELAXED);
}

void kaon__process_wake(struct process_space *space)
{
    syscall(SYS_futex, &space->control->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void kaon__process_give_turn(struct process_space *space, uint32_t to)
{
    space->touched.known = false;
    __atomic_exchange_n(&space->control->turn, to, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&space->control->guest_sleeps, __ATOMIC_SEQ_CST))
        kaon__process_wake(space);
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

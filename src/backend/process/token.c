/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns by token: where there is one CPU to run on, to look for one's turn is
 * of no use, and turns are given and taken by system calls alone.
 *
 * To leave, the gate writes to the *witness*, which the host sleeps on, and
 * then reads a *token*, one of which the host writes to an eventfd for each
 * turn. The filter lets each be done in one place, and between the two there is
 * nothing that a guest could change: who wrote takes a token before it does
 * anything else. It cannot write without that a second time, and there are no
 * tokens but those that the host gave. So as many words from the witness as
 * there were turns (the launch is one, with READY as its word) mean that the
 * process waits, whatever ran in it: an exit is one, as that of a virtual
 * machine. Here they alternate: a token, a word.
 *
 * What is left are signals: most of all the trap that a guest can have come
 * right after the call. One that comes while the gate waits is the gate's
 * handler's, which waits on: it can tell by the address and the result that the
 * kernel wrote for it, and does not write to the witness once more. So the host
 * does not clear what may be written there (`frame`), the gate does on its way
 * in. If the guest's stack pointer was in the signal stack already, that lies
 * anywhere in it, and may come after the host cleared all there. So the gate,
 * which knows that it waits in a handler, does not enter then but takes another
 * turn, before which the host clears all once more; and if it finds the frame
 * cleared, it told. All else that a handler leaves behind is park.c's. (A
 * second signal in the same few instructions would take somebody who may kill
 * the process as well.)
 *
 * If the process ends, the witness tells that, too (zygote.c). An eventfd has
 * an odd number then, once: the kernel adds 1 to it, and a word is 2. A pipe
 * has an end: nobody else has the side of it that is written to. So the host
 * sleeps without looking around; but not again if it was told of an end.
 */
#include "backend/process/inside.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Two words at once, which cannot be, are none; nor is one beside the process's
 * end. Not by read(), in which a thread may be cancelled.
 */
bool kaon__process_await_told(struct process_space *space,
                              const atomic_bool *kicked)
{
    uint64_t words[2];
    long size;

    do
        size = syscall(SYS_read, space->witness, words, sizeof words);
    while (size < 0 && errno == EINTR && !atomic_load(kicked));
    space->stands =
        size == KAON_PROCESS_WITNESS_SIZE && words[0] == KAON_PROCESS_WORD;
    return space->stands;
}

bool kaon__process_give_token(struct process_space *space, uint32_t to,
                              const atomic_bool *kicked)
{
    const uint64_t one = 1;

    space->stands = space->touched.known = false;
    __atomic_store_n(&space->control->turn, to, __ATOMIC_RELEASE);
    if (syscall(SYS_write, space->tokens, &one, sizeof one) != sizeof one)
        return false;
    return kaon__process_await_told(space, kicked);
}

void kaon__process_forget_token(const struct process_space *space)
{
    struct pollfd poll_for = { .fd = space->tokens, .events = POLLIN };
    uint64_t count;

    if (poll(&poll_for, 1, 0) > 0)
        (void)!read(space->tokens, &count, sizeof count);
}

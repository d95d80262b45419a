/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping a thread that runs a guest: one real-time signal with an empty
 * handler, whose only effect is that a system call in that thread ends with
 * EINTR.
 *
 * The handler belongs to the process, so it is counted: installed by the first
 * machine that needs it, and gone with the last. What is left behind is
 * SIG_IGN, as a signal may still be on its way.
 */
#ifndef KAON_SRC_BACKEND_KICK_H
#define KAON_SRC_BACKEND_KICK_H

#include <pthread.h>
#include <stdbool.h>
#include <kaon/error.h>

struct kaon_kick {
    int signal;
    bool installed; /* this machine is counted; guarded by kick.c's lock */
};

void kaon__kick_init(struct kaon_kick *kick, int signal);
void kaon__kick_finish(struct kaon_kick *kick);

/* Installs the handler, unless the program has one of its own. */
enum kaon_status kaon__kick_install(struct kaon_kick *kick,
                                    struct kaon_error *err);

/* Lets the calling thread be stopped. */
void kaon__kick_admit(const struct kaon_kick *kick);

/* Stops a thread; only after install. */
void kaon__kick_send(const struct kaon_kick *kick, pthread_t thread);

#endif

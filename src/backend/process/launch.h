/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launching sandboxes' processes, through a zygote that is started by the
 * first machine of the process that needs it, and ended with the last.
 */
#ifndef KAON_SRC_BACKEND_PROCESS_LAUNCH_H
#define KAON_SRC_BACKEND_PROCESS_LAUNCH_H

#include <kaon/error.h>

#include "backend/process/spawn.h"

/* Counts a user; the first starts the zygote. */
enum kaon_status kaon__launch_open(struct kaon_error *err);
void kaon__launch_close(void);

/* The caller owns the descriptors. */
struct launched {
    int pidfd;
    int witness; /* by token: to read from; or -1 */
};

/*
 * Makes a process that maps the given memories (descriptors) as the request
 * says, and goes to its start address.
 */
enum kaon_status kaon__launch(struct kaon_spawn *spawn, const int *memories,
                              struct launched *out, struct kaon_error *err);

/* Kills a process. */
void kaon__launch_kill(int pidfd);

/* The same, and waits until it is gone. Closes the pidfd. */
void kaon__launch_end(int pidfd);

#endif

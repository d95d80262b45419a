/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resident guest inside the library: a vCPU whose thread stays in it; or,
 * where guests hand over in shared memory anyway, two sides that look for each
 * other for longer.
 *
 * All of these are for who has the sandbox claimed.
 */
#ifndef KAON_SRC_HOST_RESIDENT_H
#define KAON_SRC_HOST_RESIDENT_H

#include "host/sandbox.h"

struct kaon_resident;

/*
 * Lets the guest run until it hands over its turn, with the kind GATE, or
 * until it leaves for another reason: what vcpu_enter() and vcpu_resume() are
 * to others. The host's frame is in its place.
 */
enum kaon_status kaon__resident_run(struct kaon_resident *resident,
                                    struct kaon_exit *exit,
                                    struct kaon_error *err);

/* The vCPU, for looking at its registers and for kicks. */
struct kaon_vcpu_slot *
kaon__resident_slot(const struct kaon_resident *resident);

/* Takes back a kick that nobody waits for any more. */
void kaon__resident_unkick(struct kaon_resident *resident);

/* Makes the guest leave, if it is inside; it goes on with run(). Returns the
 * vCPU, which nobody runs until then. */
struct kaon_vcpu_slot *kaon__resident_halt(struct kaon_resident *resident);

/*
 * Makes the guest leave, between calls: once this returns, no instruction of it
 * is executed, and none will be of what it was doing. Sets sandbox->pointers,
 * and clears the gate's words in the mailbox. Its memory and registers may
 * then be another guest's: go() enters anew. Does nothing if no thread is in
 * the guest.
 */
void kaon__resident_pause(struct kaon_sandbox *sandbox);

/* Enters the guest anew, to wait for its first call before any instruction of
 * its own; after pause(). Returns at once. run() does it if nobody did. Does
 * nothing if it is not resident. */
void kaon__resident_go(struct kaon_sandbox *sandbox);

/* Ends that, and the thread. Does nothing if it is not resident. */
void kaon__resident_end(struct kaon_sandbox *sandbox);

#endif

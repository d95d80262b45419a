/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend that runs nothing: a function of the test plays the guest.
 *
 * For unit tests and fuzzers, not part of libkaon. Machines are ordinary
 * memory, spaces are page tables, and each enter or resume asks the machine's
 * player for the next exit. Everything above the seam runs as it does over KVM.
 */
#ifndef KAON_SRC_BACKEND_SCRIPTED_H
#define KAON_SRC_BACKEND_SCRIPTED_H

#include "backend/backend.h"

struct kaon_domain;

/* What a player sees of the guest that it plays. */
struct kaon_scripted_guest {
    struct kaon_vcpu *vcpu;
    struct kaon_machine *machine;
    struct kaon_space space;
    struct kaon_entry entry;
    unsigned turn; /* 0 until it left through the gate, then 1, and so on */
    bool fresh;    /* what the host said when it entered */
    struct kaon_registers registers; /* as the player leaves them */
    struct kaon_thread_pointers pointers;
};

/*
 * Plays until the next exit, from its turn on: after a fault or a kick it is
 * asked for the same turn again. A status other than KAON_OK is the host's. A
 * guest that is kicked while it does not run exits without being asked.
 */
typedef enum kaon_status (*kaon_scripted_player)(
    struct kaon_scripted_guest *guest, struct kaon_exit *exit, void *user);

/* A domain whose guests are all played by one function. */
enum kaon_status kaon__scripted_domain(struct kaon_domain **out,
                                       uint64_t memory_bytes,
                                       kaon_scripted_player player, void *user,
                                       struct kaon_error *err);

/*
 * Where a player finds guest memory: NULL if the guest may not access the
 * address so. At most up to the end of the page.
 */
void *kaon__scripted_at(const struct kaon_scripted_guest *guest,
                        uint64_t address, enum kaon_access access);

/* Fills an exit: a page fault; or a departure through the gate. */
void kaon__scripted_fault(struct kaon_exit *exit, uint64_t address,
                          enum kaon_access access);
void kaon__scripted_leave(struct kaon_exit *exit);

/* Did somebody kick the guest? A player that waits may look. */
bool kaon__scripted_kicked(const struct kaon_scripted_guest *guest);

/* Runs until somebody kicks the guest, and fills that exit. */
void kaon__scripted_spin(const struct kaon_scripted_guest *guest,
                         struct kaon_exit *exit);

extern const struct kaon_backend kaon__backend_scripted;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: the page of code that the host puts into every guest, at
 * KAON_GATE_ADDRESS. It is versioned with the library, not with the guest.
 * A convenience for the guest, never a guard for the host: a guest may jump
 * anywhere into it.
 *
 * A guest leaves by an exit; or, if it is resident, by its turn alone, a word
 * that it shares with the host. host/resident.c has the other half of that.
 */
#ifndef KAON_SRC_GATE_H
#define KAON_SRC_GATE_H

/*
 * Places in the page, as offsets.
 *
 * ENTRY    Where the host enters: sets the FS and GS bases from r8 and r9,
 *          clears what the vCPU's last borrower left in the FPU and vector
 *          registers, then jumps to the address in r11.
 * LEAVE    What the guest calls to leave (KAON_GATE_LEAVE in kaon/abi.h), with
 *          the mailbox's address in rdi; tells the bases in r8 and r9, which
 *          stay there while it waits.
 * SYSCALL  Where a guest's `syscall` lands on KVMs that cannot make it an
 *          invalid opcode: an invalid opcode.
 * WAIT     Where a resident guest is entered at, by way of ENTRY: waits for
 *          its first turn.
 */
#define KAON_GATE_ENTRY 0x00
#define KAON_GATE_LEAVE_OFFSET 0x80
#define KAON_GATE_SYSCALL 0xc0
#define KAON_GATE_WAIT 0x100

/* What the gate has in the mailbox, as offsets from that: the host's to write
 * before it enters the guest; but for the turn, never read by it. */
#define KAON_GATE_CALL 104
#define KAON_GATE_STACK 112
#define KAON_GATE_LOOKS 120
#define KAON_GATE_TURN 156

/*
 * Whose turn it is: who may use the exchange. The other side looks at the word
 * until that changes, or not any more.
 *
 *     HOST_ALONE   the guest has left, or is about to
 *     GUEST_ALONE  the host sleeps: an exit is to wake it
 *
 * A guest's turn is odd. What else a guest writes there makes it the host's.
 * (In a process the word has the values of backend/process/control.h.)
 */
#define KAON_TURN_OF_HOST 0
#define KAON_TURN_OF_GUEST 1
#define KAON_TURN_OF_HOST_ALONE 2
#define KAON_TURN_OF_GUEST_ALONE 3

/* What else it reads there, which is the contract's. */
#define KAON_GATE_FRAME_KIND 128

/* Flags that no call finds set: ID, AC, NT, DF, TF. */
#define KAON_GATE_FLAGS 0x244500

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

#include <kaon/abi.h>

struct kaon_gate_words {
    uint64_t call;  /* where each call enters the guest, */
    uint64_t stack; /* with this stack pointer */
    uint32_t looks; /* at turn, before it leaves; 0: it is not resident */
    uint32_t reserved;
};
#define AT(field, offset)                                             \
    _Static_assert(offsetof(struct kaon_mailbox, gate) +              \
                           offsetof(struct kaon_gate_words, field) == \
                       (offset),                                      \
                   "assembly relies on it")
AT(call, KAON_GATE_CALL);
AT(stack, KAON_GATE_STACK);
AT(looks, KAON_GATE_LOOKS);
#undef AT
_Static_assert(sizeof(struct kaon_gate_words) ==
                       sizeof((struct kaon_mailbox *)0)->gate &&
                   offsetof(struct kaon_mailbox, turn) == KAON_GATE_TURN &&
                   offsetof(struct kaon_mailbox, frame) == KAON_GATE_FRAME_KIND,
               "assembly relies on it");

/* The page's contents for KVM. */
extern const unsigned char kaon__gate_kvm[], kaon__gate_kvm_end[];
#endif

/* The one port that a guest under KVM may write to. */
#define KAON_GATE_PORT 0x40

#endif

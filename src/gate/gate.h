/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: the page of code that the host puts into every guest, at
 * KAON_GATE_ADDRESS. It is versioned with the library, not with the guest.
 * A convenience for the guest, never a guard for the host: a guest may jump
 * anywhere into it.
 */
#ifndef KAON_SRC_GATE_H
#define KAON_SRC_GATE_H

/*
 * Places in the page, as offsets.
 *
 * ENTRY    Where the host enters: sets the FS and GS bases from r8 and r9,
 *          clears what the vCPU's last borrower left in the FPU and vector
 *          registers, then jumps to the address in r11.
 * LEAVE    What the guest calls to leave (KAON_GATE_LEAVE in kaon/abi.h);
 *          tells the bases in rcx and rdx.
 * SYSCALL  Where a guest's `syscall` lands on KVMs that cannot make it an
 *          invalid opcode: an invalid opcode.
 */
#define KAON_GATE_ENTRY 0x00
#define KAON_GATE_LEAVE_OFFSET 0x80
#define KAON_GATE_SYSCALL 0xc0

#ifndef __ASSEMBLER__
/* The page's contents for KVM. */
extern const unsigned char kaon__gate_kvm[], kaon__gate_kvm_end[];
#endif

/* The one port that a guest under KVM may write to. */
#define KAON_GATE_PORT 0x40

#endif

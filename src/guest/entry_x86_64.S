/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the host enters, and what the ELF says of itself (kaon_info).
 *
 * At each entry: rdi is the mailbox, rsp the stack's end (a multiple of 16),
 * the other registers are zero, and so is the direction flag. The call leaves
 * a frame with rbp and return address that end a backtrace here.
 */
#include "abi/x87_x86_64.h"
#include "guest/entry_x86_64.h"

    .section .text.kaon_guest_entry, "ax", @progbits
    .globl kaon_guest_entry
    .type kaon_guest_entry, @function
kaon_guest_entry:
    call kaon__dispatch
    ud2
    .size kaon_guest_entry, . - kaon_guest_entry

/*
 * kaon__restart(stack_high, function): the same for the next call of a batch.
 * What the call before left in the vector registers is the guest's own.
 */
    .section .text.kaon__restart, "ax", @progbits
    .globl kaon__restart
    .type kaon__restart, @function
kaon__restart:
    mov %rdi, %rsp
    xor %ebp, %ebp
    cld
    ldmxcsr mxcsr_at_reset(%rip)
    reset_x87
    call *%rsi
    ud2
    .size kaon__restart, . - kaon__restart

    .section .rodata.kaon__restart, "a", @progbits
    .balign 4
mxcsr_at_reset:
    .long 0x1f80

/*
 * That it takes batches is said always. The other flags are the value of a weak
 * symbol: 0 unless dynamic.c, which defines
 * it as KAON_INFO_DYNAMIC, is linked in for what else it has. A weak reference
 * alone takes nothing out of an archive.
 */
    .weak kaon__info_flags

    .section kaon_info, "a", @progbits
    .balign 8
    .globl kaon__info
    .type kaon__info, @object
kaon__info:
    .quad KAON__ENTRY_INFO_MAGIC
    .long KAON__ENTRY_ABI_VERSION
    .long kaon__info_flags + KAON__ENTRY_INFO_BATCH
    .quad kaon_guest_entry
    .fill 5, 8, 0
    .size kaon__info, . - kaon__info

    .section .note.GNU-stack, "", @progbits

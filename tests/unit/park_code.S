/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests for park_test.c. They are copied to GUEST_CODE, and have GUEST_DATA,
 * whose first word they count in; rdi is the entry's argument.
 */
#include "gate/gate.h"

#include "backend/process/control.h"

#define GUEST_DATA 0x500000
#define MAILBOX (GUEST_DATA + 0x200)
#define CONTROL(offset) (KAON_PROCESS_CONTROL + (offset))
#define TAIL CONTROL(0x800)         /* behind all that is in use there */
#define DEEP (KAON_PROCESS_STACK + 0x2008)
#define TRAP_FLAG 0x100

        .section .rodata, "a"
        .globl  park_code, park_waits, park_runs_on, park_flickers
        .globl  park_sleeps_stepping, park_parks_stepping, park_leaves_things
        .globl  park_looks, park_proves_stepping, park_touches
        .globl  park_leaves_nested, park_searches, park_runs_on_in_mailbox
        .globl  park_flickers_in_mailbox, park_prepares
        .globl  park_prepares_to_park, park_code_end

park_code:

/* As guests should: leaves, again and again. */
park_waits:
        incq    GUEST_DATA
        mov     $MAILBOX, %edi
        mov     $KAON_PROCESS_GATE + KAON_GATE_LEAVE_OFFSET, %eax
        call    *%rax
        jmp     park_waits

/* Writes to a page (rdi), and leaves. */
park_touches:
        incq    (%rdi)
        jmp     park_waits

/* Says that it left, and goes on. */
park_runs_on:
        movl    $KAON_REASON_GATE, CONTROL(CONTROL_REASON)
        movl    $KAON_TURN_HOST, CONTROL(CONTROL_TURN)
1:      incq    GUEST_DATA
        jmp     1b

/* The same, and takes the turn whenever it likes. */
park_flickers:
        movl    $KAON_REASON_GATE, CONTROL(CONTROL_REASON)
1:      movl    $KAON_TURN_HOST, CONTROL(CONTROL_TURN)
        incq    GUEST_DATA
        movl    $KAON_TURN_RESUME, CONTROL(CONTROL_TURN)
        movl    $0, CONTROL(CONTROL_SPIN)
        jmp     1b

/* The same of one whose turn is in the mailbox. */
park_runs_on_in_mailbox:
        movl    $KAON_TURN_HOST, MAILBOX + KAON_GATE_TURN
1:      incq    GUEST_DATA
        jmp     1b
park_flickers_in_mailbox:
1:      movl    $KAON_TURN_HOST, MAILBOX + KAON_GATE_TURN
        incq    GUEST_DATA
        movl    $KAON_TURN_CALL, MAILBOX + KAON_GATE_TURN
        movl    $KAON_TURN_CALL, CONTROL(CONTROL_TURN)
        movl    $0, CONTROL(CONTROL_GUEST_SLEEPS)
        jmp     1b

/* Makes a call of the witness (rdi: where) with all prepared to be called by
 * the mailbox, in which it is its turn already: as it leaves, or when it is
 * asked to park. What to write there, the test left in its data. */
park_prepares_to_park:
        movl    $KAON_REASON_GATE, CONTROL(CONTROL_REASON)
        movl    $KAON_TURN_HOST, CONTROL(CONTROL_TURN)
1:      cmpl    $KAON_TURN_PARK, CONTROL(CONTROL_TURN)
        jne     1b
park_prepares:
        mov     %rdi, %rbx
        incq    GUEST_DATA
        movl    $KAON_REASON_GATE, CONTROL(CONTROL_REASON)
        movl    $KAON_TURN_CALL, MAILBOX + KAON_GATE_TURN
        movl    $KAON_TURN_CALL, CONTROL(CONTROL_TURN)
        movl    $0, CONTROL(CONTROL_GUEST_SLEEPS)
        mov     $MAILBOX, %r9d
        mov     $1, %r8d
        mov     $KAON_PROCESS_WITNESS, %edi
        mov     GUEST_DATA + 64, %rsi
        mov     $KAON_PROCESS_WITNESS_SIZE, %edx
        mov     $1, %eax                /* write */
        jmp     *%rbx

/* Jumps to a system call of the gate (rbx) with the trap flag set, which iretq
 * does for the very next instruction. Its other registers are set. */
call_stepping:
        mov     %ss, %r8d
        push    %r8
        lea     8(%rsp), %r8
        push    %r8
        pushf
        orl     $TRAP_FLAG, (%rsp)
        mov     %cs, %r8d
        push    %r8
        push    %rbx
        iretq

/* Sleeps as the gate does (rdi: where), but with a trap to come. */
park_sleeps_stepping:
        mov     %rdi, %rbx
        movl    $1, CONTROL(CONTROL_GUEST_SLEEPS)
        movl    $KAON_REASON_GATE, CONTROL(CONTROL_REASON)
        mov     $CONTROL(CONTROL_GUEST_SLEEPS), %edi
        xor     %esi, %esi              /* FUTEX_WAIT */
        mov     $1, %edx
        xor     %r10d, %r10d
        mov     $202, %eax              /* futex */
        movl    $KAON_TURN_HOST, CONTROL(CONTROL_TURN)
        jmp     call_stepping

/* Waits to be parked, and makes the gate's call for that, with a trap to come
 * (rdi: where). What to write there, the test left in its data. */
park_parks_stepping:
        mov     %rdi, %rbx
        movl    $KAON_REASON_GATE, CONTROL(CONTROL_REASON)
        movl    $KAON_TURN_HOST, CONTROL(CONTROL_TURN)
1:      cmpl    $KAON_TURN_PARK, CONTROL(CONTROL_TURN)
        jne     1b
        mov     $KAON_PROCESS_WITNESS, %edi
        mov     GUEST_DATA + 64, %rsi
        mov     $KAON_PROCESS_WITNESS_SIZE, %edx
        mov     $1, %eax                /* write */
        jmp     call_stepping

/* Leaves things, and makes the call of one that leaves for good (rdi: where),
 * with a trap to come. */
park_proves_stepping:
        mov     %rdi, %rbx
        movq    $0x5ec3e7, DEEP
        mov     $0x5ec3e7, %r15
        movl    $KAON_REASON_GATE, CONTROL(CONTROL_REASON)
        mov     $KAON_PROCESS_WITNESS, %edi
        mov     GUEST_DATA + 64, %rsi
        mov     $KAON_PROCESS_WITNESS_SIZE, %edx
        mov     $1, %eax                /* write */
        movl    $KAON_TURN_HOST, CONTROL(CONTROL_TURN)
        jmp     call_stepping

/* Leaves with a page of the signal stack (rdi) as its own. */
park_leaves_nested:
        lea     4096(%rdi), %rsp
        mov     $0x5ec3e7, %r15
        mov     $KAON_PROCESS_GATE + KAON_GATE_LEAVE_OFFSET, %eax
        jmp     *%rax

/* Counts the words of what is not its memory, but for the turn's, that have
 * what was left there. */
park_searches:
        xor     %eax, %eax
        mov     $0x5ec3e7, %edx
        mov     $CONTROL(0), %esi
        mov     $4096 / 8, %ecx
        call    1f
        mov     $KAON_PROCESS_STACK, %esi
        mov     $KAON_PROCESS_STACK_SIZE / 8, %ecx
        call    1f
        mov     %rax, GUEST_DATA + 8
        jmp     park_waits
1:      xor     %ebx, %ebx
        cmp     %rdx, (%rsi)
        sete    %bl
        add     %rbx, %rax
        add     $8, %rsi
        loop    1b
        ret

/* In places that are not its memory, and in registers. */
park_leaves_things:
        movq    $0x5ec3e7, TAIL
        movq    $0x5ec3e7, DEEP
        movl    $1, CONTROL(CONTROL_CODE)
        movl    $5, CONTROL(CONTROL_SPIN)
        movl    $1, CONTROL(CONTROL_HOST_SLEEPS)
        movl    $1, CONTROL(CONTROL_GUEST_SLEEPS)
        mov     %ss, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     $-1, %rax
        movq    %rax, %xmm7
        mov     $0x5ec3e7, %r15
        jmp     park_waits

/* Writes down what it finds there, behind the count. */
park_looks:
        mov     TAIL, %rax
        mov     %rax, GUEST_DATA + 8
        mov     DEEP, %rax
        mov     %rax, GUEST_DATA + 16
        mov     CONTROL(CONTROL_CODE), %eax
        mov     %rax, GUEST_DATA + 24
        mov     %ds, %eax
        mov     %es, %ecx
        or      %rcx, %rax
        mov     %rax, GUEST_DATA + 32
        movq    %xmm7, GUEST_DATA + 40
        mov     %r15, GUEST_DATA + 48
        pushf
        pop     %rax
        and     $0xd00, %eax            /* trap, direction, overflow */
        mov     %rax, GUEST_DATA + 56
        jmp     park_waits
park_code_end:

        .section .note.GNU-stack, "", @progbits

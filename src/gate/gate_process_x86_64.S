/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate page for process isolation on x86-64: the only code in a sandbox's
 * process that can make a system call, and only those that the filter allows
 * (backend/process/filter.c), at the places marked here.
 *
 * All registers, the control page and the signal stack are the guest's to
 * forge: this code decides nothing that the host relies on. It takes what it
 * needs from the control page after the host's turn, which wrote it anew.
 */
#include <asm/unistd.h>

#include "abi/x87_x86_64.h"
#include "backend/process/control.h"
#include "gate/gate.h"

#define AT(offset)                                                            \
        (kaon__gate_process + KAON_PROCESS_CONTROL - KAON_PROCESS_GATE +      \
         (offset))(%rip)

/* From headers that assembly cannot include. */
#define EINTR 4
#define SIGTRAP 5
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define SECCOMP_SET_MODE_FILTER 1

/* ucontext: flags, link, stack (3 words), then the general registers. */
#define UCONTEXT_REGISTERS 40
#define UCONTEXT_RAX (UCONTEXT_REGISTERS + 13 * 8)
#define UCONTEXT_RIP (UCONTEXT_REGISTERS + 16 * 8)
#define SIGINFO_CODE 8
#define XSTATE_SSE_AVX 6
#define SIGINFO_ARCH 28 /* of SIGSYS */

        .section .rodata, "a"
        .balign 64
        .globl  kaon__gate_process
        .hidden kaon__gate_process

kaon__gate_process:

/* What is written to the witness. */
        .org    kaon__gate_process + KAON_GATE_LEAVE_OFFSET - 0x40
        .globl  kaon__gate_process_word
        .hidden kaon__gate_process_word
kaon__gate_process_word:
word:
        .quad   KAON_PROCESS_WORD

/* Not 0: turns are taken by token. The host's to set, before any guest. */
        .globl  kaon__gate_process_by_token
        .hidden kaon__gate_process_by_token
kaon__gate_process_by_token:
by_token:
        .long   0

/* Not 0: the CPU says what of its state is in use, and has AVX. */
        .globl  kaon__gate_process_knows_use
        .hidden kaon__gate_process_knows_use
kaon__gate_process_knows_use:
knows_use:
        .long   0

mxcsr:
        .long   0x1f80

/* Leave: the guest's way out. Keeps what a function call keeps. */
        .org    kaon__gate_process + KAON_GATE_LEAVE_OFFSET
        rdfsbase %rcx
        rdgsbase %rdx
        cmpl    $0, by_token(%rip)
        je      leave_by_looking
        mov     %rcx, AT(CONTROL_FS)
        mov     %rdx, AT(CONTROL_GS)
        movl    $KAON_REASON_GATE, AT(CONTROL_REASON)

/*
 * Hands over by token. There is no way from the witness's call but to wait for
 * a token, which is the kernel's to give: so who made the call stands still.
 * Between the two labels nothing is read or written, and nothing decided. Who
 * waits in the handler of a late trap (r8d is not 0) does not enter: there is a
 * frame then, in a place that the guest chose, if its stack was ours.
 *
 * (What a call by token runs is together, up to here and as far as it enters:
 * the caches are the kernel's in between.)
 */
tell:   mov     $KAON_PROCESS_WITNESS, %edi
        lea     word(%rip), %rsi
        mov     $KAON_PROCESS_WITNESS_SIZE, %edx
        mov     $__NR_write, %eax
        syscall
        .globl  kaon__gate_process_told
        .hidden kaon__gate_process_told
kaon__gate_process_told:
        xor     %r8d, %r8d
wait:   mov     $KAON_PROCESS_TOKENS, %edi
        lea     AT(CONTROL_TOKEN), %rsi
        mov     $KAON_PROCESS_TOKEN_SIZE, %edx
        mov     $__NR_read, %eax
        syscall
        .globl  kaon__gate_process_taken
        .hidden kaon__gate_process_taken
kaon__gate_process_taken:
        cmp     $-EINTR, %rax
        je      wait
        test    %r8d, %r8d
        jne     1f
        cmpl    $KAON_TURN_RESUME, AT(CONTROL_TURN)
        jne     enter
        ret
1:      cmpl    $KAON_TURN_RESUME, AT(CONTROL_TURN)
        jne     kaon__gate_process_parked
        ret

/*
 * Enter the guest afresh: all registers from the control page, or clear. The
 * host wrote no reason: if there is one, a trap came late, and what it left
 * behind is to go first. What the kernel wrote for a handler goes here, if the
 * host says how much that may be.
 */
enter:
        cmpl    $0, AT(CONTROL_REASON)
        jne     kaon__gate_process_parked
        mov     AT(CONTROL_FRAME), %ecx
        test    %ecx, %ecx
        je      1f
        movabs  $KAON_PROCESS_STACK + KAON_PROCESS_STACK_SIZE, %rdi
        sub     %rcx, %rdi
        shr     $3, %ecx
        xor     %eax, %eax
        cld
        rep stosq
1:      movl    $1, AT(CONTROL_ENTERED)
        movl    $0, AT(CONTROL_GUEST_SLEEPS)
        xor     %eax, %eax
        mov     %ds, %ecx               /* to look takes no time, to load does */
        mov     %es, %edx
        or      %edx, %ecx
        mov     %fs, %edx
        or      %edx, %ecx
        mov     %gs, %edx
        or      %edx, %ecx
        jz      2f
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
2:      mov     AT(CONTROL_FS), %rax
        wrfsbase %rax
        mov     AT(CONTROL_GS), %rax
        wrgsbase %rax
        mov     AT(CONTROL_SP), %rsp
        pushq   $2
        popfq
        cmpl    $0, knows_use(%rip)
        je      3f
        mov     $1, %ecx
        xgetbv                          /* what is not as it begins */
        and     $~XSTATE_SSE_AVX, %eax
        or      %edx, %eax
        jne     3f
        vzeroall                        /* a fifth of the time */
        ldmxcsr mxcsr(%rip)
        jmp     4f
3:      mov     $-1, %eax
        mov     $-1, %edx
        xrstor  initial_state(%rip)
        jmp     4f

/*
 * The same for one that left before, and ran nothing else since: it has what is
 * set above, as far as it did not change that itself. A call finds what it
 * would after entering, but for vector registers, which no function expects
 * anything of.
 */
call_again:
        mov     AT(CONTROL_SP), %rsp
        pushfq
        popq    %rax
        test    $KAON_GATE_FLAGS, %eax
        jz      1f
        pushq   $2                      /* takes longer than to look */
        popfq
1:      reset_x87
        ldmxcsr mxcsr(%rip)
4:      mov     AT(CONTROL_ARGUMENT), %rdi
        mov     AT(CONTROL_IP), %r11
        xor     %eax, %eax
        xor     %ebx, %ebx
        xor     %ecx, %ecx
        xor     %edx, %edx
        xor     %esi, %esi
        xor     %ebp, %ebp
        xor     %r8d, %r8d
        xor     %r9d, %r9d
        xor     %r10d, %r10d
        xor     %r12d, %r12d
        xor     %r13d, %r13d
        xor     %r14d, %r14d
        xor     %r15d, %r15d
        jmp     *%r11

/* Writes only what is not there: a line that nobody writes need not cross. */
leave_by_looking:
        cmp     %rcx, AT(CONTROL_FS)
        je      1f
        mov     %rcx, AT(CONTROL_FS)
1:      cmp     %rdx, AT(CONTROL_GS)
        je      1f
        mov     %rdx, AT(CONTROL_GS)
1:      cmpl    $KAON_REASON_GATE, AT(CONTROL_REASON)
        je      1f
        movl    $KAON_REASON_GATE, AT(CONTROL_REASON)
1:      cmpl    $0, AT(CONTROL_PROVE)
        je      1f
        mov     $KAON_PROCESS_WITNESS, %edi
        lea     word(%rip), %rsi
        mov     $KAON_PROCESS_WITNESS_SIZE, %edx
        mov     $__NR_write, %eax
        syscall
        .globl  kaon__gate_process_proved
        .hidden kaon__gate_process_proved
kaon__gate_process_proved:
        jmp     hand_over
1:      cmpl    $KAON_TURN_CALL, AT(CONTROL_TURN)
        jne     hand_over
        mov     %rdi, %r9
        xor     %eax, %eax
        xchg    %eax, KAON_GATE_TURN(%r9)
        jmp     handed_over

/*
 * Hands the turn to the host and waits for it: in the mailbox (r9), if that is
 * not 0, for as long as the control page says so. Who made the witness's call
 * goes by the control page alone. Returns if the host resumes, goes to the
 * entry if it enters. Uses caller-saved registers only, and no stack but to
 * return.
 */
hand_over:
        cmpl    $0, by_token(%rip)
        jne     tell
        xor     %r9d, %r9d
        xor     %eax, %eax
        xchg    %eax, AT(CONTROL_TURN)
handed_over:
        cmpl    $0, AT(CONTROL_HOST_SLEEPS)
        je      look
        movl    $0, AT(CONTROL_HOST_SLEEPS)
        lea     AT(CONTROL_HOST_SLEEPS), %rdi
        mov     $FUTEX_WAKE, %esi
        mov     $1, %edx
        xor     %r10d, %r10d
        mov     $__NR_futex, %eax
        syscall
        .globl  kaon__gate_process_wake
        .hidden kaon__gate_process_wake
kaon__gate_process_wake:
look:   xor     %r8d, %r8d              /* not 0: it said that it sleeps */
        mov     AT(CONTROL_SPIN), %ecx
1:      mov     AT(CONTROL_TURN), %eax
        test    %r9, %r9
        je      2f
        cmp     $KAON_TURN_CALL, %eax
        jne     3f
        mov     KAON_GATE_TURN(%r9), %eax
2:      test    %eax, %eax              /* KAON_TURN_HOST */
        jne     my_turn
        pause
        sub     $1, %ecx
        ja      1b
        test    %r8d, %r8d
        jne     4f
        mov     $1, %r8d                /* from here on, it is woken */
        mov     $1, %eax
        xchg    %eax, AT(CONTROL_GUEST_SLEEPS)
        jmp     1b
3:      xor     %r9d, %r9d
        jmp     1b
4:      lea     AT(CONTROL_GUEST_SLEEPS), %rdi
        mov     $FUTEX_WAIT, %esi
        mov     $1, %edx
        xor     %r10d, %r10d
        mov     $__NR_futex, %eax
        syscall
        .globl  kaon__gate_process_wait
        .hidden kaon__gate_process_wait
kaon__gate_process_wait:
        movl    $0, AT(CONTROL_GUEST_SLEEPS)
        jmp     look

my_turn:
        test    %r8d, %r8d
        je      1f
        movl    $0, AT(CONTROL_GUEST_SLEEPS)
1:      cmp     $KAON_TURN_CALL, %eax
        je      call_again
        cmp     $KAON_TURN_ENTER, %eax
        je      enter
        cmp     $KAON_TURN_PARK, %eax
        je      park
        ret

/*
 * Whatever the guest was doing is over. The system call proves to the host that
 * the process is here (backend/process/park.c); from it on, nothing leads out
 * but a turn that the host gives after it. Then what entering does not set is
 * set: the stack, the flags, the selectors; and the word that only we write.
 */
park:
        mov     $KAON_PROCESS_WITNESS, %edi
        lea     word(%rip), %rsi
        mov     $KAON_PROCESS_WITNESS_SIZE, %edx
        mov     $__NR_write, %eax
        syscall
        .globl  kaon__gate_process_parked
        .hidden kaon__gate_process_parked
kaon__gate_process_parked:
        lea     AT(KAON_PROCESS_CONTROL_SIZE), %rsp
        pushq   $2
        popfq
        xor     %eax, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        movl    $0, AT(CONTROL_GUEST_SLEEPS)
        movl    $KAON_REASON_PARKED, AT(CONTROL_REASON)
        jmp     5f

/*
 * Every fault: rdi the signal's number, rsi the siginfo, rdx the context. It
 * never returns to what faulted: the host enters afresh, if ever.
 */
        .globl  kaon__gate_process_signal
        .hidden kaon__gate_process_signal
kaon__gate_process_signal:
        mov     %edi, %r8d
        mov     %edi, AT(CONTROL_SIGNAL)
        mov     SIGINFO_CODE(%rsi), %r9d
        mov     %r9d, AT(CONTROL_CODE)
        mov     SIGINFO_ARCH(%rsi), %eax
        mov     %eax, AT(CONTROL_ARCH)
        lea     UCONTEXT_REGISTERS(%rdx), %rsi
        lea     AT(CONTROL_CONTEXT), %rdi
        mov     $CONTROL_CONTEXT_WORDS, %ecx
        cld
        rep movsq
        movl    $KAON_REASON_SIGNAL, AT(CONTROL_REASON)
        cmpl    $0, by_token(%rip)
        jne     late
5:      call    hand_over
        jmp     5b

/*
 * By token: a second call of the witness would be one too many for one that
 * told and waits. So who was interrupted in that waits on. The host leaves alone
 * what the kernel wrote for us at the stack's top. It may clear that elsewhere,
 * but only of one that told: so who finds zeroes waits, too. A code above zero
 * is the kernel's own: of a system call that was not made, unless the guest told
 * with the trap flag set. At the end of waiting, it is over if a token came.
 */
late:   cmp     $SIGTRAP, %r8d
        je      7f
        test    %r9d, %r9d
        jg      5b
7:      mov     UCONTEXT_RIP(%rdx), %rax
        test    %rax, %rax
        je      8f
        lea     kaon__gate_process_told(%rip), %rcx
        cmp     %rcx, %rax
        jb      5b
        lea     kaon__gate_process_taken(%rip), %rcx
        cmp     %rcx, %rax
        ja      5b
        jb      8f
        cmpq    $KAON_PROCESS_TOKEN_SIZE, UCONTEXT_RAX(%rdx)
        je      5b
8:      mov     $1, %r8d
        call    wait
        jmp     5b

/*
 * A new process comes here from the zygote, which has mapped all that it may
 * ever see. It drops the zygote's own memory, then all other system calls.
 * Should one of the two fail, it ends here and the host sees that.
 */
        .globl  kaon__gate_process_start
        .hidden kaon__gate_process_start
kaon__gate_process_start:
        movabs  $KAON_PROCESS_ZYGOTE, %rdi
        mov     $KAON_PROCESS_ZYGOTE_SIZE, %esi
        mov     $__NR_munmap, %eax
        syscall
        test    %rax, %rax
        jne     6f
        mov     $__NR_seccomp, %eax
        mov     $SECCOMP_SET_MODE_FILTER, %edi
        xor     %esi, %esi
        lea     kaon__gate_process_program(%rip), %rdx
        syscall
        test    %rax, %rax
        jne     6f
        movl    $KAON_REASON_READY, AT(CONTROL_REASON)
        lea     AT(KAON_PROCESS_CONTROL_SIZE), %rsp
        jmp     5b
6:      mov     %eax, AT(CONTROL_ERROR)
        mov     $__NR_exit_group, %eax
        mov     $1, %edi
        syscall
        ud2

/* An XSAVE area: x87 control word 0x37f, MXCSR 0x1f80, all else initial. */
        .balign 64
initial_state:
        .short  KAON_X87_CONTROL
        .skip   22
        .long   0x1f80
        .skip   512 - 28
        .skip   64

/* struct sock_fprog, and the filter, which the host fills in. */
        .balign 16
        .globl  kaon__gate_process_program
        .hidden kaon__gate_process_program
kaon__gate_process_program:
        .globl  kaon__gate_process_end
        .hidden kaon__gate_process_end
kaon__gate_process_end:

        .section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: Apache-2.0 */
/* The gate page for KVM on x86-64: data to the host, code to the guest. */
#include "abi/x87_x86_64.h"
#include "gate/gate.h"

#define FRAME_CALL 1 /* KAON_FRAME_* */
#define FRAME_BATCH 10

        .section .rodata, "a"
        .balign 64
        .globl  kaon__gate_kvm
        .hidden kaon__gate_kvm
        .globl  kaon__gate_kvm_end
        .hidden kaon__gate_kvm_end

kaon__gate_kvm:
/*
 * Entry. The host has set all general registers: r8 and r9 hold the guest's
 * FS and GS bases, which cost KVM hundreds of instructions to carry along as
 * segments. XRSTOR with every feature
 * requested and none in the image's XSTATE_BV puts each into its initial
 * state, AVX-512 included; MXCSR comes from the image. It works at CPL 3 and
 * takes 0.2 us, where KVM_SET_XSAVE is a system call.
 *
 * Segment selectors are what the guest loaded last, before a restore too: they
 * become null, and the bases, which some CPUs clear with that, are set again.
 * (The first instruction must set one: there the host sees a CPU that cannot.)
 */
        .org    kaon__gate_kvm + KAON_GATE_ENTRY
        wrfsbase %r8
        wrgsbase %r9
        mov     $-1, %eax
        mov     $-1, %edx
        xrstor  initial_state(%rip)
        xor     %eax, %eax
        xor     %edx, %edx
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        wrfsbase %r8
        wrgsbase %r9
        jmp     *%r11

/*
 * Leave: one exit, or none if the guest is resident. The guest goes on after
 * it if the host lets it. What it says of its bases, the host gives back to it
 * and to nobody else.
 */
        .org    kaon__gate_kvm + KAON_GATE_LEAVE_OFFSET
        rdfsbase %r8
        rdgsbase %r9
        cmpl    $0, KAON_GATE_LOOKS(%rdi)
        jne     hand_over
        out     %eax, $KAON_GATE_PORT
        ret

        .org    kaon__gate_kvm + KAON_GATE_SYSCALL
        ud2

/* Hand over the turn; to a host that sleeps, by an exit. */
hand_over:
        xor     %eax, %eax /* KAON_TURN_OF_HOST */
        xchg    %eax, KAON_GATE_TURN(%rdi)
        cmp     $KAON_TURN_OF_GUEST_ALONE, %eax
        je      sleep
        jmp     wait

/* Wait for the turn. The host gives it after all that it wrote for it, and
 * loads are in order. */
        .org    kaon__gate_kvm + KAON_GATE_WAIT
wait:
        mov     KAON_GATE_LOOKS(%rdi), %r10d
1:      testl   $1, KAON_GATE_TURN(%rdi)
        jnz     my_turn
        pause
        dec     %r10d
        jnz     1b

/*
 * Nobody came: leave, unless the turn comes just now. The host sees by the
 * exit that it has to let the guest go on.
 */
sleep:
        xor     %eax, %eax /* KAON_TURN_OF_HOST */
        mov     $KAON_TURN_OF_HOST_ALONE, %ecx
        lock cmpxchg %ecx, KAON_GATE_TURN(%rdi)
        testl   $1, KAON_GATE_TURN(%rdi)
        jnz     my_turn
        out     %eax, $KAON_GATE_PORT
        jmp     wait

/* An answer goes back to who left. A call finds what ENTRY gives it, but for
 * vector registers, which no function expects anything of. */
my_turn:
        mov     KAON_GATE_FRAME_KIND(%rdi), %eax
        cmp     $FRAME_CALL, %eax
        je      2f
        cmp     $FRAME_BATCH, %eax
        je      2f
        ret
2:      mov     KAON_GATE_STACK(%rdi), %rsp
        pushfq
        popq    %rax
        test    $KAON_GATE_FLAGS, %eax
        jnz     4f
3:      reset_x87
        ldmxcsr initial_state + 24(%rip)
        mov     KAON_GATE_CALL(%rdi), %r11
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
4:      pushq   $2 /* takes longer than all else here, and is not usual */
        popfq
        jmp     3b

/* An XSAVE area: x87 control word 0x37f, MXCSR 0x1f80, all else initial. */
        .org    kaon__gate_kvm + 0x200
initial_state:
        .short  KAON_X87_CONTROL
        .skip   22
        .long   0x1f80
        .skip   512 - 28
        .skip   64
kaon__gate_kvm_end:

        .section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: Apache-2.0 */
/* The gate page for KVM on x86-64: data to the host, code to the guest. */
#include "gate/gate.h"

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
 */
        .org    kaon__gate_kvm + KAON_GATE_ENTRY
        wrfsbase %r8
        wrgsbase %r9
        mov     $-1, %eax
        mov     $-1, %edx
        xrstor  initial_state(%rip)
        xor     %eax, %eax
        xor     %edx, %edx
        jmp     *%r11

/*
 * Leave: one exit. The guest goes on after it if the host lets it. What it
 * says of its bases, the host gives back to it and to nobody else.
 */
        .org    kaon__gate_kvm + KAON_GATE_LEAVE_OFFSET
        rdfsbase %rcx
        rdgsbase %rdx
        out     %eax, $KAON_GATE_PORT
        ret

        .org    kaon__gate_kvm + KAON_GATE_SYSCALL
        ud2

/* An XSAVE area: x87 control word 0x37f, MXCSR 0x1f80, all else initial. */
        .org    kaon__gate_kvm + 0x100
initial_state:
        .short  0x37f
        .skip   22
        .long   0x1f80
        .skip   512 - 28
        .skip   64
kaon__gate_kvm_end:

        .section .note.GNU-stack, "", @progbits

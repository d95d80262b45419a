/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Position-independent, and data to the test. At entry rdi is the mailbox;
 * nothing else is certain, nor may anything be changed before it is told.
 */
#include "leftovers.h"

#define FUNCTION 132 /* kaon_mailbox.frame.function */
#define FRAME 128
#define TOLD 0x200 /* in the mailbox page */
#define SLOT 0x100
#define BYTES 9
#define RESULT 2

        .section .rodata, "a"
        .balign 64
        .globl  leftovers_code
        .globl  leftovers_code_end
leftovers_code:
        jmp     start
        .balign 8
has:
        .long   0, 0

start:
        cmpl    $TELL, FUNCTION(%rdi)
        je      tell
        cmpl    $SEARCH, FUNCTION(%rdi)
        je      search
        cmpl    $TAKE, FUNCTION(%rdi)
        je      take
        cmpl    $PEEK, FUNCTION(%rdi)
        je      peek
        cmpl    $DRAIN, FUNCTION(%rdi)
        je      drain
        cmpl    $LIE, FUNCTION(%rdi)
        je      lie

/* ---- fill ---------------------------------------------------------------- */
fill:
        mov     %rdi, %rbx
        mov     $0xa5a5a5a5a5a5a5a5, %rax
        cld
        mov     0x10(%rbx), %rdi        /* heap */
        mov     0x18(%rbx), %rcx
        shr     $3, %rcx
        rep stosq
        mov     0x20(%rbx), %rdi        /* stack */
        mov     0x28(%rbx), %rcx
        sub     %rdi, %rcx
        shr     $3, %rcx
        rep stosq
        lea     0x100(%rbx), %rdi       /* the page's payload, and the area */
        mov     8(%rbx), %ecx
        sub     $0x100, %ecx
        shr     $3, %ecx
        rep stosq
        mov     $DATA_ZEROES, %rdi
        mov     $DATA_END - DATA_ZEROES, %ecx
        shr     $3, %ecx
        rep stosq

        mov     FUNCTION(%rbx), %r15d
        movl    $RESULT, FRAME(%rbx)
        movl    $0, FRAME + 4(%rbx)
        movq    $0, FRAME + 8(%rbx)
        movq    $0, FRAME + 16(%rbx)
        movq    $0, FRAME + 24(%rbx)

        xor     %ecx, %ecx
        xgetbv
        mov     %eax, %r14d
        and     $0xe6, %eax
        cmp     $0xe6, %eax
        je      fill_512
        and     $6, %eax
        cmp     $6, %eax
        je      fill_256
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movdqu  secret(%rip), %xmm\n
        .endr
        jmp     fill_x87
fill_256:
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu secret(%rip), %ymm\n
        .endr
        jmp     fill_x87
fill_512:
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu64 secret(%rip), %zmm\n
        .endr
        .irp    n, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        vmovdqu64 secret(%rip), %zmm\n
        .endr
        .irp    n, 0,1,2,3,4,5,6,7
        kmovw   secret(%rip), %k\n
        .endr

fill_x87:
        fninit
        .rept   7
        fldt    secret_x87(%rip)
        .endr
        fldcw   secret_control(%rip)
        fldz                            /* an exception is pending now */
        fdivrp  %st, %st(1)
        ldmxcsr secret_mxcsr(%rip)

        mov     $3, %eax                /* a null selector, but not 0 */
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        mov     secret(%rip), %rax
        testl   $HAS_FSGSBASE, has(%rip)
        jz      0f
        mov     base(%rip), %rcx
        wrfsbase %rcx
        wrgsbase %rcx
0:
        mov     %rbx, %rdi
        lea     0x800(%rdi), %rsp
        push    $0x240ed5               /* CF PF AF ZF SF TF:0 DF OF AC ID */
        mov     base(%rip), %r8         /* as the gate would have it */
        mov     %r8, %r9
        mov     %rax, %rbx
        mov     %rax, %rcx
        mov     %rax, %rdx
        mov     %rax, %rsi
        mov     %rax, %rbp
        mov     %rax, %r10
        mov     %rax, %r11
        mov     %rax, %r12
        mov     %rax, %r13
        mov     %rax, %r14
        cmp     $FILL_FAULT, %r15d
        je      1f
        cmp     $FILL_SPIN, %r15d
        je      2f
        mov     %rax, %r15
        popfq
        mov     %rax, %rsp
        mov     %rax, %rdi
        out     %eax, $0x40
        ud2
1:      mov     %rax, %r15
        popfq
        mov     %rax, %rdi
        ud2
2:      mov     %rax, %r15
        popfq
        mov     %rax, %rsp
        mov     %rax, %rdi
3:      jmp     3b

/* ---- tell ---------------------------------------------------------------- */
tell:
        mov     %rax, TOLD + 0x00(%rdi)
        mov     %rbx, TOLD + 0x08(%rdi)
        mov     %rcx, TOLD + 0x10(%rdi)
        mov     %rdx, TOLD + 0x18(%rdi)
        mov     %rsi, TOLD + 0x20(%rdi)
        mov     %rdi, TOLD + 0x28(%rdi)
        mov     %rbp, TOLD + 0x30(%rdi)
        mov     %rsp, TOLD + 0x38(%rdi)
        mov     %r8, TOLD + 0x40(%rdi)
        mov     %r9, TOLD + 0x48(%rdi)
        mov     %r10, TOLD + 0x50(%rdi)
        mov     %r11, TOLD + 0x58(%rdi)
        mov     %r12, TOLD + 0x60(%rdi)
        mov     %r13, TOLD + 0x68(%rdi)
        mov     %r14, TOLD + 0x70(%rdi)
        mov     %r15, TOLD + 0x78(%rdi)
        pushfq
        pop     TOLD + TOLD_FLAGS(%rdi)
        mov     %rdi, %rbx              /* what is not told is zero */
        lea     TOLD + TOLD_SEGMENTS(%rdi), %rdi
        xor     %eax, %eax
        mov     $(TOLD_SIZE - TOLD_SEGMENTS) / 8, %ecx
        cld
        rep stosq
        mov     %rbx, %rdi
        mov     %cs, TOLD + TOLD_SEGMENTS(%rdi)
        mov     %ds, TOLD + TOLD_SEGMENTS + 2(%rdi)
        mov     %es, TOLD + TOLD_SEGMENTS + 4(%rdi)
        mov     %fs, TOLD + TOLD_SEGMENTS + 6(%rdi)
        mov     %gs, TOLD + TOLD_SEGMENTS + 8(%rdi)
        mov     %ss, TOLD + TOLD_SEGMENTS + 10(%rdi)
        fxsave64 TOLD + TOLD_FXSAVE(%rdi)
        fnstenv TOLD + TOLD_FENV(%rdi)
        testl   $HAS_FSGSBASE, has(%rip)
        jz      0f
        rdfsbase %rax
        mov     %rax, TOLD + TOLD_FS_BASE(%rdi)
        rdgsbase %rax
        mov     %rax, TOLD + TOLD_GS_BASE(%rdi)
0:
        xor     %ecx, %ecx
        xgetbv
        mov     %eax, %edx
        and     $0xe6, %eax
        cmp     $0xe6, %eax
        je      tell_512
        and     $6, %edx
        cmp     $6, %edx
        jne     told
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu %ymm\n, TOLD + TOLD_VECTORS + \n * 64(%rdi)
        .endr
        jmp     told
tell_512:
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu64 %zmm\n, TOLD + TOLD_VECTORS + \n * 64(%rdi)
        .endr
        .irp    n, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        vmovdqu64 %zmm\n, TOLD + TOLD_VECTORS + \n * 64(%rdi)
        .endr
        .irp    n, 0,1,2,3,4,5,6,7
        kmovw   %k\n, TOLD + TOLD_MASKS + \n * 8(%rdi)
        .endr
told:
        mov     $TOLD_SIZE, %eax
answer: /* eax bytes at TOLD */
        movl    $BYTES, SLOT(%rdi)
        mov     %eax, SLOT + 4(%rdi)
        movq    $TOLD, SLOT + 8(%rdi)
        movl    $RESULT, FRAME(%rdi)
        movl    $0, FRAME + 4(%rdi)
        movl    $1, FRAME + 8(%rdi)
        movl    $0, FRAME + 12(%rdi)
        movl    $SLOT, FRAME + 16(%rdi)
        movq    $0, FRAME + 20(%rdi)
        movl    $0, FRAME + 28(%rdi)
        jmp     *gate(%rip)             /* it has no return address to use */
        ud2

/* ---- search -------------------------------------------------------------- */

/* From rsi, rcx bytes: rax becomes the number that are not zero. */
count:
        xor     %eax, %eax
0:      test    %rcx, %rcx
        jz      1f
        cmpb    $1, (%rsi)
        sbb     $-1, %rax
        inc     %rsi
        dec     %rcx
        jmp     0b
1:      jmp     *%rbp

#define COUNT(to)                                                             \
        lea     0f(%rip), %rbp;                                               \
        jmp     count;                                                        \
0:      mov     %rax, to

search:
        lea     0x100(%rdi), %rsi
        mov     $0x1000 - 0x100, %ecx
        COUNT(%r8)
        lea     0x1000(%rdi), %rsi
        mov     8(%rdi), %ecx
        sub     $0x1000, %ecx
        COUNT(%r9)
        mov     0x10(%rdi), %rsi
        mov     0x18(%rdi), %rcx
        COUNT(%r10)
        mov     0x20(%rdi), %rsi
        mov     0x28(%rdi), %rcx
        sub     %rsi, %rcx
        COUNT(%r11)
        mov     $DATA_ZEROES, %esi
        mov     $DATA_END - DATA_ZEROES, %ecx
        COUNT(%r12)
        mov     %r8, TOLD + 8 * FOUND_MAILBOX(%rdi)
        mov     %r9, TOLD + 8 * FOUND_AREA(%rdi)
        mov     %r10, TOLD + 8 * FOUND_HEAP(%rdi)
        mov     %r11, TOLD + 8 * FOUND_STACK(%rdi)
        mov     %r12, TOLD + 8 * FOUND_DATA(%rdi)
        mov     $8 * FOUND_COUNT, %eax
        jmp     answer

/* ---- of a part ---------------------------------------------------------- */

take:
        mov     %rdi, %rbx
        lea     0x1000(%rdi), %rdi
        mov     $PART / 8, %ecx
        mov     secret(%rip), %rax
        rep stosq
        mov     %rbx, %rdi
        xor     %eax, %eax
        jmp     answer

peek:
        lea     0x1000(%rdi), %rsi
        mov     $PART, %ecx
        COUNT(%r8)
        mov     %r8, TOLD(%rdi)
        mov     $8, %eax
        jmp     answer

drain:
        mov     0x10(%rdi), %rax
        mov     0x18(%rdi), %rcx
0:      sub     $0x1000, %rcx
        jb      1f
        movb    $1, (%rax,%rcx)
        jmp     0b
1:      xor     %eax, %eax
        jmp     answer

/* Leaves with bases that no CPU would take. */
lie:
        mov     secret(%rip), %r8
        mov     %r8, %r9
        movl    $RESULT, FRAME(%rdi)
        movl    $0, FRAME + 4(%rdi)
        movl    $0, FRAME + 8(%rdi)
        out     %eax, $0x40
        ud2

        .balign 64
secret:
        .rept   8
        .quad   0x5ec4e75ec4e75ec4
        .endr
gate:
        .quad   0x200080
base:
        .quad   0x5ec4e75ec4e7
secret_x87:
        .quad   0xdec4e75ec4e75ec4
        .short  0x3fff
secret_control:
        .short  0x0360
        .balign 4
secret_mxcsr:
        .long   0xe03f                  /* all unmasked, raised; round to 0 */
leftovers_code_end:

        .section .note.GNU-stack, "", @progbits

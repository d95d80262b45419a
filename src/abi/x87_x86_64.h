/* SPDX-License-Identifier: Apache-2.0 */
/* For assembly of both sides. */
#ifndef KAON_SRC_ABI_X87_X86_64_H
#define KAON_SRC_ABI_X87_X86_64_H

#define KAON_X87_CONTROL 0x37f

/*
 * Puts the x87 into the state after reset; uses ax and 8 bytes below the stack
 * pointer. FNINIT takes longer than most calls, and most need none: if no
 * exception is left, EMMS (which would raise it) empties the stack, and only the
 * control word is to be looked at.
 */
        .macro  reset_x87
        fnstsw  %ax
        test    %ax, %ax
        jne     .Lreset\@
        emms
        fnstcw  -8(%rsp)
        cmpw    $KAON_X87_CONTROL, -8(%rsp)
        je      .Lis_reset\@
.Lreset\@:
        fninit
.Lis_reset\@:
        .endm

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file as data of a program or library, so that it needs no file to run.
 * FILE is what to embed; NAME and NAME_end are its ends.
 */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

        .section .rodata, "a"
        .balign 16
        .globl  NAME, JOIN(NAME, _end)
        .hidden NAME, JOIN(NAME, _end)
NAME:
        .incbin FILE
JOIN(NAME, _end):

        .section .note.GNU-stack, "", @progbits

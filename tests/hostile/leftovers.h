/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code of a guest that fills what it can reach, or tells what it finds.
 * Which, the frame at its entry says: the function's index.
 */
#ifndef KAON_TESTS_LEFTOVERS_H
#define KAON_TESTS_LEFTOVERS_H

#define FILL 0       /* everything, then an empty result */
#define FILL_FAULT 1 /* everything, then an invalid opcode */
#define FILL_SPIN 2  /* everything, then on and on */
#define TELL 3       /* all registers as they are at the first instruction */
#define SEARCH 4     /* how many bytes of memory are not as they begin */
#define TAKE 5       /* any bytes; fills the area's first PART bytes */
#define PEEK 6       /* how many bytes there are not zero */
#define DRAIN 7      /* each page of the heap, from the last to the first */
#define LIE 8        /* about its FS and GS bases, as it leaves */
#define PART 65536

/* Flags of the host, in the code's second word. */
#define HAS_FSGSBASE 1

/* TELL: offsets in its result. */
#define TOLD_REGISTERS 0x000 /* rax rbx rcx rdx rsi rdi rbp rsp r8-r15 */
#define TOLD_FLAGS 0x080
#define TOLD_SEGMENTS 0x088 /* cs ds es fs gs ss, 2 bytes each */
#define TOLD_FS_BASE 0x0a0
#define TOLD_GS_BASE 0x0a8
#define TOLD_FXSAVE 0x100
#define TOLD_VECTORS 0x300 /* 32 of 64 bytes */
#define TOLD_MASKS 0xb00   /* k0-k7 */
#define TOLD_FENV 0xb40
#define TOLD_SIZE 0xb60

/* SEARCH: numbers of bytes, in this order. */
#define FOUND_MAILBOX 0
#define FOUND_AREA 1
#define FOUND_HEAP 2
#define FOUND_STACK 3
#define FOUND_DATA 4
#define FOUND_COUNT 5

/* Where the guest has data: ELF_DATA + what the file has for it. */
#define DATA_ZEROES 0x600030
#define DATA_END 0x602800

#ifndef __ASSEMBLER__
extern const unsigned char leftovers_code[], leftovers_code_end[];
#endif

#endif

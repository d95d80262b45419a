/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries to get at the system: each way into a kernel, with registers as told.
 * Where an instruction must fault, it is the first of its function, so that a
 * fault names the function and an offset of 0.
 */
#include <kaon/guest.h>

#define ALONE(name, code)                                                     \
    __asm__(".pushsection .text\n.globl " name "\n.type " name                \
            ", @function\n.balign 16\n" name ":\n" code "\n ret\n.size " name \
            ", . - " name "\n.popsection")

ALONE("system_call", "syscall");
ALONE("interrupt_call", "int $0x80");
ALONE("enter_call", "sysenter");
void system_call(void);
void interrupt_call(void);
void enter_call(void);

/* Goes to a place with these in the registers of a system call. */
static uint64_t go(uint64_t place, uint64_t number, uint64_t a, uint64_t b,
                   uint64_t c, uint64_t d)
{
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = 0;
    register uint64_t r9 __asm__("r9") = 0;

    __asm__ volatile("call *%[place]"
                     : "+a"(number)
                     : [place] "b"(place), "D"(a), "S"(b), "d"(c), "r"(r10),
                       "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return number;
}
KAON_EXPORT(go, u64, u64, u64, u64, u64, u64, u64);

/* 0 syscall, 1 int 0x80, 2 sysenter; with pointers to plenty of memory. */
static unsigned char room[4096] __attribute__((aligned(4096)));

static uint64_t place_of(uint32_t which)
{
    switch (which) {
    case 0: return (uint64_t)system_call;
    case 1: return (uint64_t)interrupt_call;
    case 2: return (uint64_t)enter_call;
    default: return (uint64_t)room;
    }
}
KAON_EXPORT(place_of, u64, u32);

/* The page of the gate as the guest sees it. */
static struct kaon_span gate(void)
{
    __builtin_memcpy(room, (const void *)KAON_GATE_ADDRESS, sizeof room);
    return (struct kaon_span){ (char *)room, sizeof room };
}
KAON_EXPORT(gate, bytes);

/* Writes a name where system calls find it. */
static uint64_t keep(struct kaon_span what)
{
    __builtin_memcpy(room, what.data, what.size < 4096 ? what.size : 4096);
    return (uint64_t)room;
}
KAON_EXPORT(keep, u64, bytes);

/*
 * Leaves without stopping: takes its turn to be over, by hand, and goes on
 * writing over all that the host may be reading.
 */
static uint32_t hand_over_and_scribble(struct kaon_span what, uint64_t turn,
                                       uint32_t times)
{
    struct kaon_mailbox *mailbox =
        (void *)((uintptr_t)what.data & ~(uintptr_t)4095);
    volatile uint32_t *words = (void *)turn;
    volatile uint64_t *slots = (void *)((char *)mailbox + 2048);
    volatile struct kaon_frame *frame = &mailbox->frame;

    slots[0] = KAON_TYPE_STRING | (uint64_t)16 << 32;
    slots[1] = 2100;
    *(struct kaon_frame *)&mailbox->frame = (struct kaon_frame){
        .kind = KAON_FRAME_ERROR, .count = 1, .slots = 2048
    };
    words[16] = 2; /* the reason: through the gate */
    words[0] = 0;
    for (uint32_t i = 0; i < times; i++) {
        frame->kind = i % 11;
        frame->count = i % 3;
        frame->slots = 2048 + i % 16;
        slots[0] = KAON_TYPE_STRING + i % 2 + ((uint64_t)(i % 4096) << 32);
        slots[1] = i % 2 ? 2100 : i;
        ((volatile char *)mailbox)[2100 + i % 1000] = (char)(i % 7);
        words[16] = i % 64 ? 2 : i; /* the reason; signal, code, arch */
        words[17 + i % 3] = i;
        words[20 + i % 40] = i * 0x9e3779b9;
        words[0] = 0;
        words[2] = i % 2; /* the host sleeps, or does not */
    }
    return times;
}
KAON_EXPORT(hand_over_and_scribble, u32, bytes, u64, u32);

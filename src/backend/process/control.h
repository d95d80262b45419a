/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host and a sandbox's process share: the control page, and where the
 * gate's parts lie in the process.
 *
 * The process may write all of the control page at any time, whatever its
 * turn is: the host copies what it reads, once, and believes none of it.
 *
 * Included by assembly too.
 */
#ifndef KAON_SRC_BACKEND_PROCESS_CONTROL_H
#define KAON_SRC_BACKEND_PROCESS_CONTROL_H

/* Guest addresses: behind the gate page, in the same 2 MiB. */
#define KAON_PROCESS_GATE 0x200000
#define KAON_PROCESS_CONTROL 0x201000
#define KAON_PROCESS_CONTROL_SIZE 0x1000 /* the gate's own stack ends there */
#define KAON_PROCESS_STACK 0x210000      /* signals run on it */
#define KAON_PROCESS_STACK_SIZE 0x10000

/* The process's descriptors: what it writes to, what and how; what it reads
 * from, if turns are taken by token. */
#define KAON_PROCESS_WITNESS 0
#define KAON_PROCESS_WITNESS_SIZE 8
#define KAON_PROCESS_WORD 2 /* what it writes; the kernel may add 1 to it */
#define KAON_PROCESS_TOKENS 1
#define KAON_PROCESS_TOKEN_SIZE 8

/* Where the zygote is linked; each child unmaps it last. */
#define KAON_PROCESS_ZYGOTE 0x7ffe00000000
#define KAON_PROCESS_ZYGOTE_SIZE 0x100000

/*
 * Whose turn it is, in `turn`: the host's, or the process's, and what for.
 *
 *     ENTER   the guest is to be entered, afresh
 *     PARK    the gate's, not the guest's: park.c
 *     RESUME  it left through the gate, and goes on
 *     CALL    it left through the gate, and is to be entered again: it keeps
 *             what no function expects anything of, and what it has already.
 *             As long as this stands here, and it has nothing to prove, it
 *             hands over in the mailbox, and waits for the next turn there:
 *             KAON_GATE_TURN, with the values of this list
 */
#define KAON_TURN_HOST 0
#define KAON_TURN_ENTER 1
#define KAON_TURN_PARK 2
#define KAON_TURN_RESUME 3
#define KAON_TURN_CALL 4

/* Why it is the host's turn, in `reason`. */
#define KAON_REASON_READY 1  /* locked in, ran no guest yet */
#define KAON_REASON_GATE 2   /* the guest left through the gate */
#define KAON_REASON_SIGNAL 3 /* a fault: signal, code, arch, context */
#define KAON_REASON_PARKED 4

/* Offsets in the control page, for assembly. What a call needs that goes well
 * is in the first two lines of the cache; in a row, it writes none of it. */
#define CONTROL_TURN 0
#define CONTROL_GUEST_SLEEPS 4
#define CONTROL_HOST_SLEEPS 8
#define CONTROL_SPIN 12
#define CONTROL_ERROR 16
#define CONTROL_IP 24
#define CONTROL_SP 32
#define CONTROL_ARGUMENT 40
#define CONTROL_FS 48
#define CONTROL_GS 56
#define CONTROL_REASON 64
#define CONTROL_PROVE 68
#define CONTROL_ENTERED 72
#define CONTROL_FRAME 76
#define CONTROL_TOKEN 80
#define CONTROL_SIGNAL 88
#define CONTROL_CODE 92
#define CONTROL_ARCH 96
#define CONTROL_CONTEXT 104
#define CONTROL_CONTEXT_WORDS 23 /* gregset_t of <sys/ucontext.h> */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct kaon_control {
    uint32_t turn; /* the next two, futexes, say who sleeps till it changes */
    uint32_t guest_sleeps;
    uint32_t host_sleeps;
    uint32_t spin;  /* how often to look before sleeping */
    uint32_t error; /* -errno, if it could not lock itself in */
    uint32_t reserved0;
    uint64_t ip, sp, argument, fs_base, gs_base;
    uint32_t reason;
    uint32_t prove;   /* to leave, make the witness's call first: park.c */
    uint32_t entered; /* the guest was entered, by the gate, in this turn */
    uint32_t frame;   /* bytes at the signal stack's top to clear as it enters */
    uint64_t token;   /* where it is read to; means nothing */
    uint32_t signal, code, arch, reserved1;
    uint64_t context[CONTROL_CONTEXT_WORDS];
};
#define AT(field, offset)                                            \
    _Static_assert(offsetof(struct kaon_control, field) == (offset), \
                   "assembly relies on it")
AT(guest_sleeps, CONTROL_GUEST_SLEEPS);
AT(host_sleeps, CONTROL_HOST_SLEEPS);
AT(spin, CONTROL_SPIN);
AT(error, CONTROL_ERROR);
AT(ip, CONTROL_IP);
AT(sp, CONTROL_SP);
AT(argument, CONTROL_ARGUMENT);
AT(fs_base, CONTROL_FS);
AT(gs_base, CONTROL_GS);
AT(reason, CONTROL_REASON);
AT(signal, CONTROL_SIGNAL);
AT(code, CONTROL_CODE);
AT(arch, CONTROL_ARCH);
AT(context, CONTROL_CONTEXT);
AT(prove, CONTROL_PROVE);
AT(entered, CONTROL_ENTERED);
AT(token, CONTROL_TOKEN);
AT(frame, CONTROL_FRAME);
#undef AT

/* The gate page for processes; offsets of its parts from kaon__gate_process. */
extern const unsigned char kaon__gate_process[], kaon__gate_process_end[],
    kaon__gate_process_start[],  /* a new process locks itself in */
    kaon__gate_process_signal[], /* the handler of all faults */
    kaon__gate_process_wake[],   /* right after each system call */
    kaon__gate_process_wait[], kaon__gate_process_parked[],
    kaon__gate_process_proved[], kaon__gate_process_told[],
    kaon__gate_process_taken[],
    kaon__gate_process_word[],     /* what is written to the witness */
    kaon__gate_process_by_token[], /* a word */
    kaon__gate_process_knows_use[], /* a word */
    kaon__gate_process_program[];  /* the seccomp filter's place: the length
                                      and pointer, then instructions */
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/outcome.h - what the guest did with a call
 *
 * A call has three channels that never mix. The *status* says whether the
 * host could make the call (kaon/error.h). If it could, the *outcome* says
 * how the guest answered, and, if it returned, the *value* is the result.
 */
#ifndef KAON_OUTCOME_H
#define KAON_OUTCOME_H

#include <stdint.h>
#include <kaon/value.h>
#include <kaon/version.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kaon_outcome_kind {
    /* The sandbox is ready for the next call: */
    KAON_RETURNED = 0,  /* outcome.value is the result */
    KAON_GUEST_ERROR,   /* the function failed: outcome.code, .text */
    KAON_GUEST_REFUSED, /* the guest knows no such function: .code, .text */
    /* The sandbox is poisoned: */
    KAON_ABORT,          /* the guest gave up: .code, .text */
    KAON_FAULT,          /* an illegal instruction or access: .fault, .text */
    KAON_STACK_OVERFLOW, /* a fault below the stack: .fault, .text */
    KAON_PROTOCOL,       /* the guest broke the contract: .text says how */
    KAON_CANCELLED,      /* kaon_sandbox_interrupt() */
    KAON_DEADLINE,       /* the call's deadline passed */
    KAON_OUT_OF_MEMORY,  /* no page left for what the guest may use: .text */
    KAON_NOT_RUN,        /* of a batch: a call before it poisoned the sandbox */
};

/* What an instruction did wrong. */
enum kaon_fault_kind {
    KAON_FAULT_PAGE = 0,   /* touched memory that it may not touch so */
    KAON_FAULT_PROTECTION, /* general protection: privileged, bad address */
    KAON_FAULT_OPCODE,     /* invalid opcode; also a system call */
    KAON_FAULT_DIVIDE,     /* division by zero, or overflow of one */
    KAON_FAULT_BREAKPOINT, /* int3 */
    KAON_FAULT_DEBUG,      /* single step */
    KAON_FAULT_FLOAT,      /* unmasked x87 or SSE exception */
    KAON_FAULT_ALIGNMENT,  /* unaligned access with alignment checks on */
    KAON_FAULT_STACK,      /* stack segment: a stack pointer beyond reach */
    KAON_FAULT_MACHINE,    /* anything else that stops a CPU, triple faults */
};

enum kaon_access {
    KAON_ACCESS_NONE = 0, /* the fault has no address */
    KAON_ACCESS_READ,
    KAON_ACCESS_WRITE,
    KAON_ACCESS_EXECUTE,
};

/* The guest's x86-64 registers where it faulted. */
struct kaon_registers {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
};

/* Return addresses of a fault's backtrace at most. */
#define KAON_BACKTRACE_MAX 16

struct kaon_fault {
    enum kaon_fault_kind kind;
    enum kaon_access access;
    uint64_t address;   /* what was accessed, unless access is NONE */
    uint64_t ip;        /* the instruction */
    const char *symbol; /* the function of ip, or NULL; the image owns it */
    uint64_t symbol_offset;
    uint32_t vector;     /* the CPU's number for the exception */
    uint32_t error_code; /* the CPU's error code, or 0 */
    struct kaon_registers registers;
    /* Callers of ip, innermost first, found by frame pointers: a guest built
     * without them, or a hostile one, shows few or wrong ones. */
    uint32_t backtrace_count;
    uint64_t backtrace[KAON_BACKTRACE_MAX];
};

/* Bytes of kaon_outcome.text, its NUL included. Longer texts are cut. */
#define KAON_OUTCOME_TEXT 512

/*
 * Filled by each call. Only the members that the kind names are meaningful.
 * `text` is always NUL-terminated and, for every kind but RETURNED, a
 * sentence or what the guest said. What the guest said may hold any bytes
 * but NUL: escape it before it meets a terminal.
 */
struct kaon_outcome {
    enum kaon_outcome_kind kind;
    int32_t code;            /* of GUEST_ERROR, GUEST_REFUSED and ABORT */
    struct kaon_value value; /* string and bytes: see kaon/call.h */
    char text[KAON_OUTCOME_TEXT];
    struct kaon_fault fault;
};

/**
 * kaon_outcome_name - the name of a kind, such as "FAULT"
 *
 * Returns: a static string; "?" for what is no kind.
 * Threads: any.
 */
KAON_API const char *kaon_outcome_name(enum kaon_outcome_kind kind);

/**
 * kaon_fault_name - a kind of fault in words, such as "page fault"
 *
 * Returns: a static string; "fault" for what is no kind.
 * Threads: any.
 */
KAON_API const char *kaon_fault_name(enum kaon_fault_kind kind);

#ifdef __cplusplus
}
#endif

#endif

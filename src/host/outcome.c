/* SPDX-License-Identifier: Apache-2.0 */
/* Says what a guest did, in sentences that a person can act on. */
#include "host/outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/image.h"
#include "host/memory.h"
#include "host/view.h"

/* x86 exceptions. */
enum {
    VECTOR_DIVIDE = 0,
    VECTOR_DEBUG = 1,
    VECTOR_BREAKPOINT = 3,
    VECTOR_OPCODE = 6,
    VECTOR_STACK = 12,
    VECTOR_PROTECTION = 13,
    VECTOR_PAGE = 14,
    VECTOR_X87 = 16,
    VECTOR_ALIGNMENT = 17,
    VECTOR_SIMD = 19,
};

/* Bits of a page fault's error code. */
#define PAGE_WRITE 0x2u
#define PAGE_FETCH 0x10u

const char *kaon_outcome_name(enum kaon_outcome_kind kind)
{
    switch (kind) {
    case KAON_RETURNED: return "RETURNED";
    case KAON_GUEST_ERROR: return "GUEST_ERROR";
    case KAON_GUEST_REFUSED: return "GUEST_REFUSED";
    case KAON_ABORT: return "ABORT";
    case KAON_FAULT: return "FAULT";
    case KAON_STACK_OVERFLOW: return "STACK_OVERFLOW";
    case KAON_PROTOCOL: return "PROTOCOL";
    case KAON_CANCELLED: return "CANCELLED";
    case KAON_DEADLINE: return "DEADLINE";
    case KAON_OUT_OF_MEMORY: return "OUT_OF_MEMORY";
    case KAON_NOT_RUN: return "NOT_RUN";
    }
    return "?";
}

const char *kaon_fault_name(enum kaon_fault_kind kind)
{
    switch (kind) {
    case KAON_FAULT_PAGE: return "page fault";
    case KAON_FAULT_PROTECTION: return "general protection fault";
    case KAON_FAULT_OPCODE: return "invalid opcode";
    case KAON_FAULT_DIVIDE: return "division error";
    case KAON_FAULT_BREAKPOINT: return "breakpoint";
    case KAON_FAULT_DEBUG: return "debug exception";
    case KAON_FAULT_FLOAT: return "floating-point exception";
    case KAON_FAULT_ALIGNMENT: return "alignment check";
    case KAON_FAULT_STACK: return "stack-segment fault";
    case KAON_FAULT_MACHINE: return "machine fault";
    }
    return "fault";
}

void kaon__outcome_say(struct kaon_outcome *out, enum kaon_outcome_kind kind,
                       const char *format, ...)
{
    va_list args;

    out->kind = kind;
    out->code = 0;
    va_start(args, format);
    vsnprintf(out->text, sizeof out->text, format, args);
    va_end(args);
}

void kaon__outcome_quote(struct kaon_outcome *out, enum kaon_outcome_kind kind,
                         int32_t code, const char *text, size_t size)
{
    if (size > sizeof out->text - 1)
        size = sizeof out->text - 1;
    out->kind = kind;
    out->code = code;
    if (size)
        memcpy(out->text, text, size);
    out->text[size] = '\0';
}

static enum kaon_fault_kind kind_of(uint32_t vector)
{
    switch (vector) {
    case VECTOR_DIVIDE: return KAON_FAULT_DIVIDE;
    case VECTOR_DEBUG: return KAON_FAULT_DEBUG;
    case VECTOR_BREAKPOINT: return KAON_FAULT_BREAKPOINT;
    case VECTOR_OPCODE: return KAON_FAULT_OPCODE;
    case VECTOR_STACK: return KAON_FAULT_STACK;
    case VECTOR_PROTECTION: return KAON_FAULT_PROTECTION;
    case VECTOR_PAGE: return KAON_FAULT_PAGE;
    case VECTOR_X87:
    case VECTOR_SIMD: return KAON_FAULT_FLOAT;
    case VECTOR_ALIGNMENT: return KAON_FAULT_ALIGNMENT;
    default: return KAON_FAULT_MACHINE;
    }
}

enum kaon_access kaon__exit_access(const struct kaon_exit *exit)
{
    if (exit->kind != KAON_EXIT_FAULT || exit->vector != VECTOR_PAGE)
        return KAON_ACCESS_NONE;
    if (exit->error_code & PAGE_FETCH)
        return KAON_ACCESS_EXECUTE;
    return exit->error_code & PAGE_WRITE ? KAON_ACCESS_WRITE : KAON_ACCESS_READ;
}

/*
 * Follows frame pointers, upwards only, so that it ends. int3 and traps
 * report the instruction after; close enough for a symbol.
 */
static void walk_stack(struct kaon_fault *fault,
                       const struct kaon_memory *memory)
{
    uint64_t frame = fault->registers.rbp, words[2]; /* caller's, return */

    fault->backtrace_count = 0;
    while (fault->backtrace_count < KAON_BACKTRACE_MAX &&
           kaon__memory_read(memory, frame, words, sizeof words) && words[1]) {
        fault->backtrace[fault->backtrace_count++] = words[1];
        if (words[0] <= frame)
            break;
        frame = words[0];
    }
}

static const char *verb(enum kaon_access access)
{
    switch (access) {
    case KAON_ACCESS_READ: return "reading";
    case KAON_ACCESS_WRITE: return "writing";
    case KAON_ACCESS_EXECUTE: return "executing";
    case KAON_ACCESS_NONE: break;
    }
    return "at";
}

/* "page fault writing 0x20000 at parse_header+0x1c (guest.elf)" */
static void describe(struct kaon_outcome *out, const struct kaon_image *image,
                     const char *what)
{
    const struct kaon_fault *fault = &out->fault;
    char access[48] = "", place[160];

    if (fault->access != KAON_ACCESS_NONE)
        snprintf(access, sizeof access, " %s %#llx", verb(fault->access),
                 (unsigned long long)fault->address);
    if (fault->symbol)
        snprintf(place, sizeof place, "%.120s+%#llx", fault->symbol,
                 (unsigned long long)fault->symbol_offset);
    else
        snprintf(place, sizeof place, "%#llx", (unsigned long long)fault->ip);
    snprintf(out->text, sizeof out->text, "%s%s at %s (%s)", what, access,
             place, image->name);
}

void kaon__outcome_fault(struct kaon_outcome *out,
                         const struct kaon_memory *memory,
                         const struct kaon_exit *exit,
                         const struct kaon_registers *registers)
{
    const struct kaon_image *image = memory->view->image;
    struct kaon_fault *fault = &out->fault;
    bool stopped = exit->kind != KAON_EXIT_FAULT;
    bool overflow;

    *fault = (struct kaon_fault){
        .kind = stopped ? KAON_FAULT_MACHINE : kind_of(exit->vector),
        .access = kaon__exit_access(exit),
        .address = exit->address,
        .ip = registers->rip,
        .vector = exit->vector,
        .error_code = exit->error_code,
        .registers = *registers,
    };
    if (fault->access == KAON_ACCESS_NONE)
        fault->address = 0;
    fault->symbol = kaon_image_symbol(image, fault->ip, &fault->symbol_offset);
    walk_stack(fault, memory);

    /* A stack fault has no address: what it names is the stack pointer, or
     * any register that the guest has made of it. */
    overflow =
        fault->kind == KAON_FAULT_PAGE
            ? kaon__memory_is_overflow(memory, fault->address, registers->rsp)
            : fault->kind == KAON_FAULT_STACK &&
                  kaon__memory_is_overflow(memory, registers->rsp,
                                           registers->rsp);
    out->kind = overflow ? KAON_STACK_OVERFLOW : KAON_FAULT;
    out->code = 0;
    describe(out, image,
             stopped    ? exit->reason
             : overflow ? "stack overflow"
                        : kaon_fault_name(fault->kind));
}

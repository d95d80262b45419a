/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the seccomp filter. Keeps nothing. */
#include "backend/process/filter.h"

#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>

#include "backend/process/control.h"

#define FIELD(name) ((uint32_t)offsetof(struct seccomp_data, name))
#define LOW(value) ((uint32_t)((uint64_t)(value)&0xffffffff))
#define HIGH(value) ((uint32_t)((uint64_t)(value) >> 32))

/* Seccomp sees the address after the `syscall` instruction. */
static uint64_t place(const unsigned char *after)
{
    return KAON_PROCESS_GATE + (uint64_t)(after - kaon__gate_process);
}

struct program {
    struct sock_filter *at, *end;
};

static void emit(struct program *p, uint16_t code, uint8_t if_true,
                 uint8_t if_false, uint32_t value)
{
    if (p->at < p->end)
        *p->at = (struct sock_filter){ code, if_true, if_false, value };
    p->at++;
}

static void load(struct program *p, uint32_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
}

/* Traps unless the 32 bits at offset are `value`. */
static void require(struct program *p, uint32_t offset, uint32_t value)
{
    load(p, offset);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
    emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
}

static void require64(struct program *p, uint32_t offset, uint64_t value)
{
    require(p, offset, LOW(value));
    require(p, offset + 4, HIGH(value));
}

/* Skips what `body` emits unless the 32 bits at offset are `value`. */
static void when(struct program *p, uint32_t offset, uint32_t value,
                 void (*body)(struct program *p))
{
    struct sock_filter *jump;

    load(p, offset);
    jump = p->at;
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, value);
    body(p);
    if (jump < p->end)
        jump->jf = (uint8_t)(p->at - jump - 1);
}

static void allow(struct program *p)
{
    emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

static void wake(struct program *p)
{
    require64(p, FIELD(instruction_pointer), place(kaon__gate_process_wake));
    require64(p, FIELD(args[0]), KAON_PROCESS_CONTROL + CONTROL_HOST_SLEEPS);
    require64(p, FIELD(args[2]), 1);
    allow(p);
}

static void wait(struct program *p)
{
    require64(p, FIELD(instruction_pointer), place(kaon__gate_process_wait));
    require64(p, FIELD(args[0]), KAON_PROCESS_CONTROL + CONTROL_GUEST_SLEEPS);
    require64(p, FIELD(args[2]), 1);
    require64(p, FIELD(args[3]), 0);
    allow(p);
}

static void futex(struct program *p)
{
    when(p, FIELD(args[1]), FUTEX_WAKE, wake);
    when(p, FIELD(args[1]), FUTEX_WAIT, wait);
}

/* The two places that make the call are in one page. */
static void require_witness_place(struct program *p)
{
    uint64_t parked = place(kaon__gate_process_parked);

    require(p, FIELD(instruction_pointer) + 4, HIGH(parked));
    load(p, FIELD(instruction_pointer));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, LOW(parked));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0,
         LOW(place(kaon__gate_process_proved)));
    emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
}

static void witness(struct program *p)
{
    require_witness_place(p);
    require64(p, FIELD(args[0]), KAON_PROCESS_WITNESS);
    require64(p, FIELD(args[1]), place(kaon__gate_process_word));
    require64(p, FIELD(args[2]), KAON_PROCESS_WITNESS_SIZE);
    allow(p);
}

/* Whoever made the call goes on to wait for a token, and nothing else. */
static void tell(struct program *p)
{
    require64(p, FIELD(instruction_pointer), place(kaon__gate_process_told));
    require64(p, FIELD(args[0]), KAON_PROCESS_WITNESS);
    require64(p, FIELD(args[1]), place(kaon__gate_process_word));
    require64(p, FIELD(args[2]), KAON_PROCESS_WITNESS_SIZE);
    allow(p);
}

static void take(struct program *p)
{
    require64(p, FIELD(instruction_pointer), place(kaon__gate_process_taken));
    require64(p, FIELD(args[0]), KAON_PROCESS_TOKENS);
    require64(p, FIELD(args[1]), KAON_PROCESS_CONTROL + CONTROL_TOKEN);
    require64(p, FIELD(args[2]), KAON_PROCESS_TOKEN_SIZE);
    allow(p);
}

size_t kaon__filter_write(void *to, size_t room, unsigned long address,
                          bool by_token)
{
    const size_t head = sizeof(struct sock_fprog);
    unsigned char *bytes = to;
    struct sock_filter *first = (void *)(bytes + head);
    struct program p = {
        first, first + (room > head ? (room - head) / sizeof *first : 0)
    };
    struct sock_fprog program;

    require(&p, FIELD(arch), AUDIT_ARCH_X86_64);
    if (by_token) {
        when(&p, FIELD(nr), SYS_read, take);
        when(&p, FIELD(nr), SYS_write, tell);
    } else {
        when(&p, FIELD(nr), SYS_futex, futex);
        when(&p, FIELD(nr), SYS_write, witness);
    }
    emit(&p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
    if (p.at > p.end)
        return 0;
    memset(&program, 0, sizeof program);
    program.len = (unsigned short)(p.at - first);
    program.filter = (struct sock_filter *)(address + head);
    memcpy(to, &program, sizeof program);
    return (size_t)((unsigned char *)p.at - bytes);
}

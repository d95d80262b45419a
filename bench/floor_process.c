/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A minimal sandbox in a process: a fork that keeps nothing of the program but
 * memory shared through a memfd, a seccomp filter that lets futex() through
 * and nothing else, and a word that says whose turn it is. Shares no line with
 * Kaon, so that it measures the kernel and nothing else.
 *
 * Each side wakes the other and sleeps, always: no spinning. start() has the
 * guest spin instead, until stop(): that is the least that a hand-over between
 * two CPUs can take.
 */
#include "floor.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#if defined __has_include
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif
#endif

/* As much memory as a sandbox has by default. */
#define MEMORY_SIZE ((size_t)18 << 20)

/* Where the guest has it: the code, then the word and the filter. */
#define BASE UINT64_C(0x10000000)
#define CONTROL 0x1000
#define USER_END UINT64_C(0x7ffffffff000)

struct control {
    struct floor_words words;
    struct sock_fprog program;
    struct sock_filter filter[6];
};

/*
 * rbx: struct control. Drops the memory below and above what it shares with
 * the host, locks itself in, and from then on hands over what it is handed.
 */
extern const unsigned char floor_code[], floor_code_end[];
__asm__(".pushsection .rodata\n"
        ".globl floor_code, floor_code_end\n"
        "floor_code:\n"
        "    xor %edi, %edi\n"
        "    mov %r12, %rsi\n" /* where the shared memory begins ... */
        "    mov $11, %eax\n"  /* munmap */
        "    syscall\n"
        "    mov %r13, %rdi\n" /* ... and ends */
        "    mov %r14, %rsi\n"
        "    sub %r13, %rsi\n"
        "    mov $11, %eax\n"
        "    syscall\n"
        "    mov $317, %eax\n" /* seccomp(SECCOMP_SET_MODE_FILTER) */
        "    mov $1, %edi\n"
        "    xor %esi, %esi\n"
        "    lea 8(%rbx), %rdx\n"
        "    syscall\n"
        "    test %eax, %eax\n"
        "    jz 1f\n"
        "    ud2\n"
        "1:  xor %eax, %eax\n"
        "    xchg %eax, (%rbx)\n"
        "    mov $202, %eax\n" /* futex(FUTEX_WAKE) */
        "    mov %rbx, %rdi\n"
        "    mov $1, %esi\n"
        "    mov $1, %edx\n"
        "    syscall\n"
        "2:  cmpl $0, (%rbx)\n"
        "    jne 3f\n"
        "    mov $202, %eax\n" /* futex(FUTEX_WAIT) */
        "    mov %rbx, %rdi\n"
        "    xor %esi, %esi\n"
        "    xor %edx, %edx\n"
        "    xor %r10d, %r10d\n"
        "    syscall\n"
        "    jmp 2b\n"
        "3:  cmpl $0, 4(%rbx)\n"
        "    je 1b\n"
        "    movl $0, (%rbx)\n"
        "4:  cmpl $0, (%rbx)\n"
        "    jne 3b\n"
        "    pause\n"
        "    jmp 4b\n"
        "floor_code_end:\n"
        ".popsection\n");

_Static_assert(offsetof(struct control, words) == 0 &&
                   offsetof(struct floor_words, spins) == 4 &&
                   offsetof(struct control, program) == 8,
               "the code relies on it");
_Static_assert(SYS_munmap == 11 && SYS_futex == 202 && SYS_seccomp == 317 &&
                   FUTEX_WAIT == 0 && FUTEX_WAKE == 1,
               "the code relies on it");

static struct control *control_of(const struct floor_guest *guest)
{
    return (struct control *)(guest->memory + CONTROL);
}

static bool learn(const char **what)
{
    (void)what;
    return true;
}

static void fill_memory(struct floor_guest *guest)
{
    const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct control *control = control_of(guest);

    memcpy(guest->memory, floor_code, (size_t)(floor_code_end - floor_code));
    memcpy(control->filter, filter, sizeof filter);
    control->program = (struct sock_fprog){
        sizeof filter / sizeof *filter,
        (struct sock_filter *)(BASE + CONTROL +
                               offsetof(struct control, filter)),
    };
    control->words.turn = FLOOR_GUEST;
}

/*
 * The C library has told the kernel of a place in its memory to write to when
 * the thread is preempted (rseq), which is to be gone. Its size is what the
 * library chose: the least, or as much as the kernel can use.
 */
static bool forget_rseq(void)
{
#ifdef RSEQ_SIG
    void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    const unsigned long sizes[] = { 32, getauxval(27 /* its size */) };

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (syscall(SYS_rseq, area, sizes[i], RSEQ_FLAG_UNREGISTER, RSEQ_SIG) ==
            0)
            return true;
    return __rseq_size == 0;
#else
    return true;
#endif
}

/* In the child: all that can be done before its own code must go on. */
static _Noreturn void become_guest(int memory)
{
    void *base = (void *)(uintptr_t)BASE;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mmap(base, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             memory, 0) != base ||
        mprotect(base, CONTROL, PROT_READ | PROT_EXEC) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_close_range, 0, ~0u, 0) != 0 || !forget_rseq())
        _exit(1);
    __asm__ volatile("mov %0, %%rbx\n"
                     "mov %1, %%r12\n"
                     "mov %2, %%r13\n"
                     "mov %3, %%r14\n"
                     "jmp *%1\n"
                     :
                     : "a"(BASE + CONTROL), "c"(BASE), "d"(BASE + MEMORY_SIZE),
                       "S"(USER_END)
                     : "rbx", "r12", "r13", "r14", "memory");
    __builtin_unreachable();
}

/* Is there no one to wait for? Reaps who is dead. */
static bool is_dead(struct floor_guest *guest)
{
    if (guest->process > 0 && waitpid(guest->process, NULL, WNOHANG) == 0)
        return false;
    guest->process = -1;
    errno = ECHILD;
    return true;
}

static bool await_turn(struct floor_guest *guest)
{
    const struct timespec look = { .tv_sec = 1 };
    uint32_t *turn = &control_of(guest)->words.turn;

    while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) != FLOOR_HOST)
        if (syscall(SYS_futex, turn, FUTEX_WAIT, FLOOR_GUEST, &look, NULL, 0) !=
                0 &&
            errno == ETIMEDOUT && is_dead(guest))
            return false;
    return true;
}

static void destroy(struct floor_guest *guest)
{
    if (guest->process > 0) {
        kill(guest->process, SIGKILL);
        waitpid(guest->process, NULL, 0);
    }
    if (guest->memory != MAP_FAILED)
        munmap(guest->memory, MEMORY_SIZE);
    if (guest->fd >= 0)
        close(guest->fd);
}

static bool make_memory(struct floor_guest *guest, const char **what)
{
    *what = "a memfd";
    guest->fd = memfd_create("floor", MFD_CLOEXEC);
    if (guest->fd < 0 || ftruncate(guest->fd, MEMORY_SIZE) != 0)
        return false;
    guest->memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_NORESERVE, guest->fd, 0);
    return guest->memory != MAP_FAILED;
}

static bool create(struct floor_guest *guest, const char **what)
{
    *guest = FLOOR_GUEST_NONE;
    if (make_memory(guest, what)) {
        fill_memory(guest);
        *what = "a process";
        guest->process = (int)syscall(SYS_clone, SIGCHLD, 0, NULL, NULL, 0);
        if (guest->process == 0)
            become_guest(guest->fd);
        if (guest->process > 0 && await_turn(guest))
            return true;
    }
    int saved = errno;
    destroy(guest);
    errno = saved;
    return false;
}

static bool trip(struct floor_guest *guest, const char **what)
{
    uint32_t *turn = &control_of(guest)->words.turn;

    *what = "a hand-over";
    __atomic_exchange_n(turn, FLOOR_GUEST, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    return await_turn(guest);
}

/* ---- Spinning ---------------------------------------------------------- */

/* It sleeps, and will not wake us: its first answer comes spinning. */
static struct floor_words *start(struct floor_guest *guest, const char **what)
{
    struct floor_words *words = &control_of(guest)->words;

    *what = "a hand-over";
    __atomic_store_n(&words->spins, 1, __ATOMIC_RELAXED);
    __atomic_exchange_n(&words->turn, FLOOR_GUEST, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &words->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    return floor_ping(words) ? words : NULL;
}

static bool stop(struct floor_guest *guest, const char **what)
{
    __atomic_store_n(&control_of(guest)->words.spins, 0, __ATOMIC_RELAXED);
    return trip(guest, what);
}

const struct floor floor_process = {
    .backend = "process",
    .learn = learn,
    .create = create,
    .trip = trip,
    .destroy = destroy,
    .start = start,
    .stop = stop,
};

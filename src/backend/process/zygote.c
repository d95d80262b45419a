/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The zygote: a program of its own, that forks a process for each sandbox.
 *
 * Started once for a host, it holds nothing of the host: no memory, no
 * descriptors but the two of spawn.h. Freestanding and static, it has all of
 * its code and data at KAON_PROCESS_ZYGOTE, out of every guest's way. It ends
 * when the host does, and its children with it.
 *
 * Errors that weaken only a second line of defence (namespaces, Landlock) are
 * ignored: an ordinary user in a container may have neither.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <asm/signal.h>
#include <linux/aio_abi.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/landlock.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/socket.h>

#include "backend/process/control.h"
#include "backend/process/spawn.h"

#define USER_END UINT64_C(0x7ffffffff000)
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define ESRCH 3
#define EINTR 4
#define EFD_CLOEXEC O_CLOEXEC
#define EMFILE 24
#define RLIMIT_CORE 4
#define SLICE_NS 300000

void _start(void);
void zygote_main(void);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);

/* ---- The system, without a C library ----------------------------------- */

static long call6(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                  uint64_t e, uint64_t f)
{
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
                       "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define CALL(number, a, b, c, d)                                              \
    call6(number, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), \
          0, 0)

static _Noreturn void leave(int code)
{
    for (;;)
        CALL(SYS_exit_group, code, 0, 0, 0);
}

/* What compilers emit calls to. */
void *memcpy(void *to, const void *from, size_t size)
{
    void *at = to;

    __asm__ volatile("rep movsb"
                     : "+D"(at), "+S"(from), "+c"(size)
                     :
                     : "memory");
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(byte) : "memory");
    return to;
}

/* As the kernel has them. */
struct io_vector {
    void *base;
    uint64_t size;
};

struct message {
    void *name;
    uint32_t name_size, pad;
    struct io_vector *vectors;
    uint64_t vector_count;
    void *control;
    uint64_t control_size;
    uint32_t flags;
};

struct rights {
    uint64_t size;
    int32_t level, type;
    int32_t fds[KAON_SPAWN_MEMORIES];
};

#define RIGHTS_HEAD offsetof(struct rights, fds)

static uint64_t rights_size(unsigned count)
{
    return RIGHTS_HEAD + count * sizeof(int32_t);
}

/* ---- Becoming small ---------------------------------------------------- */

/* All address space but the zygote's own; the vsyscall page cannot go. */
static void drop_memory(void)
{
    uint64_t end = KAON_PROCESS_ZYGOTE + KAON_PROCESS_ZYGOTE_SIZE;

    CALL(SYS_munmap, 0, KAON_PROCESS_ZYGOTE, 0, 0);
    CALL(SYS_munmap, end, USER_END - end, 0, 0);
}

/* No file system, as far as Landlock knows to forbid it. */
static void drop_files(void)
{
    struct {
        uint64_t files;
    } rules = { (UINT64_C(1) << 13) - 1 }; /* the 13 rights of ABI 1 */
    long fd = CALL(SYS_landlock_create_ruleset, &rules, sizeof rules, 0, 0);

    if (fd < 0)
        return;
    CALL(SYS_landlock_restrict_self, fd, 0, 0, 0);
    CALL(SYS_close, fd, 0, 0, 0);
}

static void drop_privileges(void)
{
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    const uint64_t no_core[2] = { 0, 0 };

    CALL(SYS_setsid, 0, 0, 0, 0); /* no signals of the host's terminal */
    CALL(SYS_chdir, "/", 0, 0, 0);
    CALL(SYS_unshare,
         CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
             CLONE_NEWUTS,
         0, 0, 0);
    CALL(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0);
    CALL(SYS_setrlimit, RLIMIT_CORE, no_core, 0, 0);
    CALL(SYS_capset, &head, none, 0, 0);
    if (CALL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0) != 0)
        leave(2);
}

struct kernel_sigaction {
    uint64_t handler, flags, restorer, mask;
};

static void set_action(unsigned signal, const struct kernel_sigaction *action)
{
    CALL(SYS_rt_sigaction, signal, action, 0, sizeof action->mask);
}

static void reset_signals(void)
{
    const struct kernel_sigaction ignore = { .handler = (uint64_t)SIG_IGN };
    const struct kernel_sigaction usual = { .handler = (uint64_t)SIG_DFL };
    const uint64_t none = 0;

    for (unsigned signal = 1; signal <= 64; signal++)
        set_action(signal, &usual);
    set_action(SIGCHLD, &ignore); /* no zombies */
    CALL(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
}

/* ---- A child ----------------------------------------------------------- */

static const unsigned char faults[] = { SIGSEGV, SIGBUS,  SIGILL,
                                        SIGFPE,  SIGTRAP, SIGSYS };

/*
 * Nothing is blocked while a handler runs: it never returns, as the filter
 * allows no rt_sigreturn(), but is where the next call enters the guest.
 */
static void handle_signals(const struct kaon_spawn *spawn)
{
    const struct kernel_sigaction action = {
        .handler = spawn->handler,
        .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER,
    };
    const struct {
        uint64_t base;
        int32_t flags, pad;
        uint64_t size;
    } stack = { KAON_PROCESS_STACK, 0, 0, KAON_PROCESS_STACK_SIZE };

    CALL(SYS_sigaltstack, &stack, 0, 0, 0);
    for (unsigned i = 0; i < sizeof faults; i++)
        set_action(faults[i], &action);
}

static void map_all(const struct kaon_spawn *spawn, const int32_t *fds)
{
    for (uint32_t i = 0; i < spawn->map_count; i++) {
        const struct kaon_spawn_map *map = &spawn->maps[i];
        long at = call6(SYS_mmap, map->address, map->size, map->protection,
                        MAP_SHARED | MAP_FIXED, (uint64_t)fds[map->memory],
                        map->offset);

        if ((uint64_t)at != map->address)
            leave(3);
    }
}

/* All descriptors but the first ones. */
static void close_from(unsigned first)
{
    if (CALL(SYS_close_range, first, ~0u, 0, 0) == 0)
        return;
    for (unsigned other = first; other < 64; other++)
        CALL(SYS_close, other, 0, 0, 0);
}

/* Out of the way of the numbers that the gate knows. */
static long move_up(int32_t fd)
{
    return CALL(SYS_fcntl, fd, F_DUPFD, KAON_PROCESS_TOKENS + 1, 0);
}

static void put_at(long fd, long number)
{
    if (fd < 0 || CALL(SYS_dup2, fd, number, 0, 0) != number)
        leave(5);
}

/* By token, the witness is a new one. */
static void keep_descriptors(const struct kaon_spawn *spawn, int32_t kept,
                             int32_t witness)
{
    long first = move_up(spawn->by_token ? witness : kept);
    long second = spawn->by_token ? move_up(kept) : -1;

    put_at(first, KAON_PROCESS_WITNESS);
    if (spawn->by_token)
        put_at(second, KAON_PROCESS_TOKENS);
    close_from(KAON_PROCESS_WITNESS + 1 + spawn->by_token);
}

/* As <linux/sched/types.h> has it first. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice, deadline, period;
};

/*
 * On one CPU, whoever gives the turn away is to be preempted at once, instead
 * of going to sleep first: Linux does so, since 6.12, for who asks for shorter
 * slices. It takes nobody's share of the CPU.
 */
static void ask_for_short_slices(void)
{
    struct scheduling scheduling = { 0 };

    if (CALL(SYS_sched_getattr, 0, &scheduling, sizeof scheduling, 0) != 0)
        return;
    scheduling.slice = SLICE_NS;
    CALL(SYS_sched_setattr, 0, &scheduling, 0, 0);
}

static _Noreturn void child(const struct kaon_spawn *spawn, const int32_t *fds,
                            int32_t witness, long zygote)
{
    CALL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    if (CALL(SYS_getppid, 0, 0, 0, 0) != zygote)
        leave(4);
    if (spawn->by_token) {
        ask_for_short_slices();
        drop_memory(); /* the kernel's rings */
    }
    map_all(spawn, fds);
    handle_signals(spawn);
    keep_descriptors(spawn, fds[spawn->kept], witness);
    __asm__ volatile("jmp *%0" : : "r"(spawn->start) : "memory");
    __builtin_unreachable();
}

/* ---- A child's end ----------------------------------------------------- */

/*
 * By token, the host sleeps on the witness alone, and must hear there that the
 * process is gone. A pipe has an end for that, but takes longer than an eventfd
 * for each turn. So the witness is an eventfd, and asynchronous I/O adds 1 to
 * it when it ends: a poll of the process here, which ends with us, too, if we
 * are first. Where there is none of it to be had (any more), it is a pipe.
 */
#define CONTEXTS_MAX 8
#define CONTEXT_ROOM 64 /* in the first; in the next, twice as many */
#define EVENTS 32

static aio_context_t contexts[CONTEXTS_MAX];
static unsigned context_count;
static int pipes_only;

static int add_context(void)
{
    if (context_count == CONTEXTS_MAX ||
        CALL(SYS_io_setup, CONTEXT_ROOM << context_count,
             &contexts[context_count], 0, 0) != 0)
        return 0;
    context_count++;
    return 1;
}

/* Makes room for as many as have ended. */
static void forget_ended(aio_context_t context)
{
    const uint64_t at_once[2] = { 0, 0 };
    static struct io_event events[EVENTS];

    while (call6(SYS_io_getevents, context, 0, EVENTS, (uint64_t)events,
                 (uint64_t)at_once, 0) == EVENTS)
        continue;
}

static int tell_end(int32_t pidfd, int32_t witness)
{
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_POLL,
        .aio_fildes = (uint32_t)pidfd,
        .aio_buf = POLLIN,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)witness,
    };
    struct iocb *requests[1] = { &request };

    for (unsigned i = 0; i < context_count || add_context(); i++) {
        forget_ended(contexts[i]);
        if (CALL(SYS_io_submit, contexts[i], 1, requests, 0) == 1)
            return 1;
    }
    return 0;
}

/* A new witness: the ends that are read and written, or -1 if that is one. */
static long make_witness(int32_t ends[2])
{
    long fd;

    if (pipes_only)
        return CALL(SYS_pipe2, ends, O_CLOEXEC, 0, 0);
    fd = CALL(SYS_eventfd2, 0, EFD_CLOEXEC, 0, 0);
    ends[0] = (int32_t)fd;
    return fd < 0 ? fd : 0;
}

/* ---- Requests ---------------------------------------------------------- */

/* Answers with errno, or with what the host is to have of a new process: its
 * pidfd and, if there is one, its witness. */
static void answer(uint64_t id, long error, int32_t pidfd, int32_t witness)
{
    struct kaon_spawned spawned = { id, (int32_t)error, 0 };
    struct io_vector vector = { &spawned, sizeof spawned };
    struct rights rights = { rights_size(witness < 0 ? 1 : 2),
                             SOL_SOCKET,
                             SCM_RIGHTS,
                             { pidfd, witness } };
    struct message message = { .vectors = &vector, .vector_count = 1 };

    if (!error) {
        message.control = &rights;
        message.control_size = rights.size;
    }
    CALL(SYS_sendmsg, KAON_ZYGOTE_SOCKET, &message, MSG_NOSIGNAL, 0);
}

/* A child, its pidfd and, by token, its witness; or -errno. */
static long make_child(const struct kaon_spawn *spawn, const int32_t *fds,
                       long zygote, int32_t *pidfd, int32_t witness[2])
{
    long pid = spawn->by_token ? make_witness(witness) : 0;

    /* clone3() is what older container runtimes refuse. */
    if (pid == 0)
        pid = CALL(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, pidfd, 0);
    if (pid == 0)
        child(spawn, fds, witness[1] < 0 ? witness[0] : witness[1], zygote);
    return pid;
}

static void close_all(const int32_t *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (fds[i] >= 0)
            CALL(SYS_close, fds[i], 0, 0, 0);
}

/* The pidfd of the last child, for a host that did not get it. Both are zero
 * at first: a section of data would take a page of the library. */
static int32_t last;
static int has_last;

static void keep_last(int32_t pidfd)
{
    close_all(&last, (unsigned)has_last);
    last = pidfd;
    has_last = pidfd >= 0;
}

/* Until it is gone: it has memory that will be another's. */
static void end_last(void)
{
    struct pollfd end = { .fd = last, .events = POLLIN };

    if (!has_last)
        return;
    CALL(SYS_pidfd_send_signal, last, SIGKILL, 0, 0);
    while (CALL(SYS_poll, &end, 1, -1, 0) == -EINTR)
        continue;
    keep_last(-1);
}

/* Nobody but the child keeps the end of a pipe that is written to. False if
 * its end would not be heard: then there is none, and the next has a pipe. */
static int spawn_child(const struct kaon_spawn *spawn, const int32_t *fds,
                       long zygote)
{
    int32_t pidfd = -1, witness[2] = { -1, -1 };
    long pid;
    int heard;

    pipes_only |= spawn->pipe != 0;
    pid = make_child(spawn, fds, zygote, &pidfd, witness);
    heard = pid < 0 || !spawn->by_token || pipes_only ||
            tell_end(pidfd, witness[0]);

    if (heard)
        answer(spawn->id, pid < 0 ? -pid : 0, pidfd, witness[0]);
    else
        CALL(SYS_pidfd_send_signal, pidfd, SIGKILL, 0, 0);
    pipes_only |= !heard;
    close_all(witness, 2);
    keep_last(pidfd);
    return heard;
}

/* Descriptors get lost on their way if there is no place for them here. */
static void serve(const struct kaon_spawn *spawn, const int32_t *fds,
                  uint64_t fd_count, long zygote)
{
    if (fd_count < spawn->memory_count) {
        answer(spawn->id, EMFILE, -1, -1);
    } else if (spawn->map_count) {
        if (!spawn_child(spawn, fds, zygote))
            spawn_child(spawn, fds, zygote);
    } else if (spawn->memory_count == 0) {
        end_last();
        answer(spawn->id, ESRCH, -1, -1);
    } else {
        CALL(SYS_pidfd_send_signal, fds[0], SIGKILL, 0, 0);
        answer(spawn->id, ESRCH, -1, -1);
    }
}

static struct kaon_spawn request;
static struct rights received;

/* One request; false if the host has gone. */
static int serve_one(long zygote)
{
    struct io_vector vector = { &request, sizeof request };
    struct message message = {
        .vectors = &vector,
        .vector_count = 1,
        .control = &received,
        .control_size = sizeof received,
    };
    long size =
        CALL(SYS_recvmsg, KAON_ZYGOTE_SOCKET, &message, MSG_CMSG_CLOEXEC, 0);
    uint64_t fds = 0;

    if (size == -EINTR)
        return 1;
    if (size != sizeof request || request.map_count > KAON_SPAWN_MAPS ||
        request.kept >= KAON_SPAWN_MEMORIES)
        return 0;
    if (message.control_size >= RIGHTS_HEAD)
        fds = (received.size - RIGHTS_HEAD) / sizeof(int32_t);
    serve(&request, received.fds, fds, zygote);
    for (uint64_t i = 0; i < fds; i++)
        CALL(SYS_close, received.fds[i], 0, 0, 0);
    return 1;
}

void zygote_main(void)
{
    struct pollfd poll[2] = {
        { .fd = KAON_ZYGOTE_SOCKET, .events = POLLIN },
        { .fd = KAON_ZYGOTE_HOST, .events = POLLIN },
    };
    long zygote;

    drop_memory();
    reset_signals();
    drop_privileges();
    drop_files();
    zygote = CALL(SYS_getpid, 0, 0, 0, 0);
    for (;;) {
        long ready = CALL(SYS_poll, poll, 2, -1, 0);

        if (ready == -EINTR)
            continue;
        if (ready < 0 || poll[1].revents || !(poll[0].revents & POLLIN) ||
            !serve_one(zygote))
            leave(0);
    }
}

/* The kernel's stack is not ours for long. */
static unsigned char stack[16384] __attribute__((aligned(16), used));

__asm__(".globl _start\n"
        "_start:\n"
        "    lea stack+16384(%rip), %rsp\n"
        "    xor %ebp, %ebp\n"
        "    call zygote_main\n"
        "    ud2\n");

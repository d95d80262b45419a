/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the zygote: the process's, so counted for all. A new one is started
 * should it be gone; what the old one launched is gone with it.
 *
 * The zygote is nobody's child: a process that lives for a moment only is its
 * parent, and itself one that no plain wait() of the program sees. So the
 * program gets no SIGCHLD and no exit status that it did not expect.
 */
#include "backend/process/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/error.h"
#include "host/locks.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

#define STACK_SIZE 65536
#define ANSWER_SECONDS 10
#define FIRST_SPARE_FD 10 /* above what the zygote is to have */

/* The zygote's ELF file, embedded by the build. */
extern const unsigned char kaon__zygote[], kaon__zygote_end[];

static struct {
    pid_t owner; /* whose zygote it is: not a child's of fork() */
    unsigned users;
    bool running;
    bool was_ours;     /* the last one: a child when it ended */
    int socket, pidfd; /* if running */
    uint64_t last_id;  /* of a request */
} zygote;

/* ---- Starting it ------------------------------------------------------- */

/* What the new process needs before it is another program. */
struct start {
    int program, socket, host;
    char *stack;
    int pidfd, error; /* out */
};

/*
 * For what runs in a child that shares our memory: system calls only, made
 * without the C library's functions, as sanitizers know these and would take
 * what the child does with its stack, descriptors and life for our doing.
 */
#define IN_LENT_MEMORY \
    __attribute__((no_sanitize_address, no_sanitize_thread, noinline))

/* clone() with a function that the child runs on a stack of its own. */
IN_LENT_MEMORY static long clone_to(int (*function)(void *), void *user,
                                    char *stack_end, uint64_t flags, int *pidfd)
{
    register uint64_t r10 __asm__("r10") = 0;
    register uint64_t r8 __asm__("r8") = 0;
    long result = SYS_clone;

    __asm__ volatile("syscall\n"
                     "test %%rax, %%rax\n"
                     "jnz 1f\n"
                     "xor %%ebp, %%ebp\n"
                     "mov %[user], %%rdi\n"
                     "call *%[function]\n"
                     "mov %%eax, %%edi\n"
                     "mov %[exit], %%eax\n"
                     "syscall\n"
                     "hlt\n"
                     "1:"
                     : "+a"(result)
                     : "D"(flags), "S"(stack_end), "d"(pidfd), "r"(r10),
                       "r"(r8), [function] "r"(function), [user] "r"(user),
                       [exit] "i"(SYS_exit)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

/*
 * Runs in the child that shares our memory until it execs. Descriptors go to
 * where the zygote wants them; all others are closed.
 */
IN_LENT_MEMORY static int become_zygote(void *user)
{
    const struct start *start = user;
    char *const none[] = { NULL };
    long socket = syscall(SYS_fcntl, start->socket, F_DUPFD, FIRST_SPARE_FD);
    long host = syscall(SYS_fcntl, start->host, F_DUPFD, FIRST_SPARE_FD);
    long program = syscall(SYS_fcntl, start->program, F_DUPFD, FIRST_SPARE_FD);

    if (socket < 0 || host < 0 || program < 0 ||
        syscall(SYS_dup2, socket, KAON_ZYGOTE_SOCKET) < 0 ||
        syscall(SYS_dup2, host, KAON_ZYGOTE_HOST) < 0 ||
        syscall(SYS_dup3, program, KAON_ZYGOTE_HOST + 1, O_CLOEXEC) < 0)
        return 1;
    for (int fd = 0; fd < 3; fd++)
        syscall(SYS_close, fd);
    if (syscall(SYS_close_range, KAON_ZYGOTE_HOST + 2, ~0u, 0) != 0)
        for (int fd = KAON_ZYGOTE_HOST + 2; fd < (int)sysconf(_SC_OPEN_MAX);
             fd++)
            syscall(SYS_close, fd);
    syscall(SYS_execveat, KAON_ZYGOTE_HOST + 1, "", none, none, AT_EMPTY_PATH);
    return 1;
}

/* Shares our memory and descriptors, and so leaves the pidfd to us. */
IN_LENT_MEMORY static int be_parent_for_a_moment(void *user)
{
    struct start *start = user;
    long child =
        clone_to(become_zygote, start, start->stack + STACK_SIZE,
                 CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &start->pidfd);

    if (child < 0)
        start->error = (int)-child;
    return 0;
}

static bool reap(int pidfd);
static void await_end(int pidfd);

/* Somebody killed the zygote's parent, perhaps before it had made the zygote.
 * Whoever still runs in our memory must be gone before its stack is. */
static void abandon(struct start *start)
{
    if (start->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, start->pidfd, SIGKILL, NULL, 0);
        await_end(start->pidfd);
    }
    start->error = ECHILD;
}

/* With all signals blocked: a handler must not run in the children. */
static bool clone_zygote(struct start *start)
{
    sigset_t all, before;
    int ended = 0;
    long parent;

    start->stack = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (start->stack == MAP_FAILED)
        return false;
    start->error = 0;
    start->pidfd = -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    parent =
        clone_to(be_parent_for_a_moment, start, start->stack + 2 * STACK_SIZE,
                 CLONE_VM | CLONE_VFORK | CLONE_FILES, NULL);
    if (parent < 0)
        start->error = (int)-parent;
    else
        while (waitpid((pid_t)parent, &ended, __WALL) < 0 && errno == EINTR)
            ;
    if (!start->error && (ended != 0 || start->pidfd < 0))
        abandon(start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(start->stack, 2 * STACK_SIZE);
    errno = start->error;
    return errno == 0;
}

static int write_program(void)
{
    size_t size = (size_t)(kaon__zygote_end - kaon__zygote);
    int fd = memfd_create("kaon-zygote", MFD_CLOEXEC | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* MFD_EXEC is of Linux 6.3 */
        fd = memfd_create("kaon-zygote", MFD_CLOEXEC);

    if (fd >= 0 && write(fd, kaon__zygote, size) != (ssize_t)size) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static enum kaon_status fail_process(struct kaon_error *err, const char *what)
{
    switch (errno) {
    case EMFILE:
    case ENFILE:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "out of file descriptors (%s): a sandbox in a "
                                "process takes 5; raise `ulimit -n`",
                                what);
    case EAGAIN:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "no more processes allowed (%s): raise `ulimit "
                                "-u` or the container's pids limit, or use "
                                "fewer sandboxes",
                                what);
    case ENOMEM:
        return kaon__fail_errno(err, KAON_ENOMEM,
                                "out of memory for a process (%s)", what);
    case ECHILD:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "the process that starts sandboxes' processes "
                                "ended: was it killed, or may it not run "
                                "(execveat of a memfd)?");
    default:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "cannot start a process for a sandbox (%s): "
                                "%s",
                                what, strerror(errno));
    }
}

/* A zygote that is stopped must not stop the program. */
static void limit_waiting(int socket)
{
    const struct timeval limit = { .tv_sec = ANSWER_SECONDS };

    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static enum kaon_status start_zygote(struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;
    struct start start;
    int ends[2];

    start.program = write_program();
    if (start.program < 0)
        return fail_process(err, "memfd_create");
    start.host = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (start.host < 0) {
        status = fail_process(err, "pidfd_open, which Linux has since 5.3");
        goto close_program;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        status = fail_process(err, "socketpair");
        goto close_host;
    }
    limit_waiting(ends[0]);
    start.socket = ends[1];
    if (clone_zygote(&start)) {
        zygote.socket = ends[0];
        zygote.pidfd = start.pidfd;
        zygote.running = true;
    } else {
        status = fail_process(err, "clone");
        close(ends[0]);
    }
    close(ends[1]);
close_host:
    close(start.host);
close_program:
    close(start.program);
    return status;
}

/*
 * With what it asked of asynchronous I/O, it takes the kernel some 20 ms to end
 * it. Who is to reap it waits for that, and so goes on with pipes.
 */
static void end_zygote(void)
{
    if (!zygote.running)
        return;
    zygote.running = false;
    /* It ends by this, even if we may not kill it any more. */
    shutdown(zygote.socket, SHUT_RDWR);
    close(zygote.socket);
    syscall(SYS_pidfd_send_signal, zygote.pidfd, SIGKILL, NULL, 0);
    zygote.was_ours = reap(zygote.pidfd);
    close(zygote.pidfd);
}

/* In a child of fork(), the parent's zygote is none of our business. */
static void lock_own(void)
{
    kaon__lock(KAON_LOCK_ZYGOTE);
    if (zygote.owner == getpid())
        return;
    if (zygote.running) {
        close(zygote.socket);
        close(zygote.pidfd);
    }
    zygote.running = false;
    zygote.users = 0;
    zygote.owner = getpid();
}

enum kaon_status kaon__launch_open(struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    lock_own();
    if (!zygote.running)
        status = start_zygote(err);
    if (!status)
        zygote.users++;
    kaon__unlock(KAON_LOCK_ZYGOTE);
    return status;
}

void kaon__launch_close(void)
{
    lock_own();
    if (--zygote.users == 0)
        end_zygote();
    kaon__unlock(KAON_LOCK_ZYGOTE);
}

/* ---- Asking it --------------------------------------------------------- */

static bool send_request(const struct kaon_spawn *spawn, const int *memories,
                         uint32_t count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(KAON_SPAWN_MEMORIES * sizeof(int))];
    } control = { .head = { .cmsg_len = CMSG_LEN(count * sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS } };
    struct iovec vector = { (void *)(uintptr_t)spawn, sizeof *spawn };
    const struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(count * sizeof(int)),
    };
    ssize_t sent;

    memcpy(CMSG_DATA(&control.head), memories, count * sizeof(int));
    do
        sent = sendmsg(zygote.socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof *spawn;
}

/* An answer; with its descriptors, or -1. False if none came. */
static bool receive_answer(struct kaon_spawned *spawned, struct launched *out)
{
    int fds[2] = { -1, -1 };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof fds)];
    } control;
    struct iovec vector = { spawned, sizeof *spawned };
    struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    const struct cmsghdr *head;
    ssize_t size;

    do
        size = recvmsg(zygote.socket, &message, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size != (ssize_t)sizeof *spawned) {
        errno = size < 0 && errno == EAGAIN ? ETIMEDOUT : ECHILD;
        return false;
    }
    head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len <= CMSG_LEN(sizeof fds))
        memcpy(fds, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
    *out = (struct launched){ .pidfd = fds[0], .witness = fds[1] };
    return true;
}

/* Nobody waits for it. */
static void drop(const struct launched *launched)
{
    if (launched->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, launched->pidfd, SIGKILL, NULL, 0);
        close(launched->pidfd);
    }
    if (launched->witness >= 0)
        close(launched->witness);
}

/*
 * Asks, and waits for the answer to just that: one that an earlier request
 * did not wait for is dropped. Returns errno. The lock is held.
 */
static int ask(struct kaon_spawn *spawn, const int *memories,
               struct launched *out)
{
    struct kaon_spawn end_last = { 0 };
    struct kaon_spawned spawned;

    if (!zygote.running)
        return ECHILD;
    spawn->id = ++zygote.last_id;
    spawn->pipe = zygote.was_ours;
    if (!send_request(spawn, memories, spawn->memory_count))
        return errno == EAGAIN ? ETIMEDOUT : ECHILD;
    for (;;) {
        if (!receive_answer(&spawned, out))
            return errno;
        if (spawned.id == spawn->id)
            break;
        drop(out);
    }
    if (spawned.error)
        return spawned.error;
    if (out->pidfd >= 0 && (out->witness >= 0 || !spawn->by_token))
        return 0;
    drop(out); /* the kernel had no place for them here */
    ask(&end_last, &out->pidfd, out);
    return EMFILE;
}

enum kaon_status kaon__launch(struct kaon_spawn *spawn, const int *memories,
                              struct launched *out, struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;
    int error;

    lock_own();
    error = ask(spawn, memories, out);
    if (error == ECHILD) {
        end_zygote();
        status = start_zygote(err);
        if (!status)
            error = ask(spawn, memories, out);
    }
    kaon__unlock(KAON_LOCK_ZYGOTE);
    if (status || !error)
        return status;
    errno = error;
    return fail_process(err, "its zygote");
}

/* ---- Ending ------------------------------------------------------------ */

void kaon__launch_kill(int pidfd)
{
    struct kaon_spawn kill = { .memory_count = 1 };
    struct launched none;

    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0 ||
        errno != EPERM)
        return;
    /* Once we were another user: its equal may still. */
    lock_own();
    ask(&kill, &pidfd, &none);
    kaon__unlock(KAON_LOCK_ZYGOTE);
}

/* Our child only if orphans are: for a container's first process. */
static bool reap(int pidfd)
{
    siginfo_t info;
    int result;

    do
        result =
            waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

static void await_end(int pidfd)
{
    struct pollfd poll_for = { .fd = pidfd, .events = POLLIN };

    while (poll(&poll_for, 1, -1) < 0 && errno == EINTR)
        ;
    reap(pidfd);
    close(pidfd);
}

void kaon__launch_end(int pidfd)
{
    kaon__launch_kill(pidfd);
    await_end(pidfd);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process backend: a sandbox is a process that owns nothing but the
 * guest's memory and can do nothing but compute and hand over its turn.
 *
 * A machine is a memfd, its arena. A space is a list of what a process is to
 * map; sealing it makes the process, which then never changes. A vCPU is only
 * the right to give a process its turn and to wait for it.
 *
 * A process holds no state that its memory does not, so it can be replaced.
 * Hence a kick is the one thing that no guest can parry: it kills the process.
 * Should its sandbox be called again, it gets another.
 *
 * Owns the memfd, the processes (by pidfd) and their control pages. What the
 * processes write is hostile, whosever turn it is: a word of the control page
 * is read once, and an exit says only what a guest could have caused.
 */
#include "backend/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <time.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/futex.h>

#include "backend/process/control.h"
#include "backend/process/filter.h"
#include "backend/process/launch.h"
#include "gate/gate.h"
#include "host/arena.h"
#include "host/error.h"

#define ARENA_PHYSICAL UINT64_C(0x200000)
#define ATTACH_ALIGN (UINT64_C(1) << 30)

/* How often to look for the turn before sleeping: some 20 us. */
#define SPIN 1000

/* A sleeping host looks now and then whether the process still lives. */
#define LOOK_NS 20000000
#define READY_LOOKS 250 /* 5 s, for a new process on a loaded machine */

#define HWCAP2_FSGSBASE 2 /* of <asm/hwcap2.h> */

#define STACK_PAGES (KAON_PROCESS_STACK_SIZE / KAON_PAGE_SIZE)

struct attached {
    uint64_t physical, size;
    int fd; /* borrowed */
};

struct process_machine {
    struct kaon_machine machine;
    struct kaon_arena arena;
    int memfd;
    uint64_t gate;                /* physical */
    volatile unsigned char *mine; /* a page that is 0 in a child of fork() */
    int spin;
    pthread_mutex_t lock; /* guards the rest */
    struct attached *attached;
    unsigned attached_count;
    uint64_t next_physical;
    struct process_space *spaces;
};

struct map {
    uint64_t address, physical, pages;
    unsigned protection;
};

struct process_space {
    struct process_space *next, **back;
    const struct process_space *parent;
    struct map *maps;
    unsigned map_count, map_room;
    int pidfd;          /* -1 before it is sealed */
    atomic_bool killed; /* by us: to be replaced before it runs again */
    uint64_t control_physical;
    struct kaon_control *control;
};

struct kaon_vcpu {
    struct process_machine *machine;
    _Atomic(struct process_space *) space; /* whose process a kick kills */
    atomic_bool kicked;
    struct kaon_registers registers;
    struct kaon_thread_pointers pointers;
};

static struct process_machine *process_machine(struct kaon_machine *machine)
{
    return (struct process_machine *)machine;
}

/* ---- Machines ---------------------------------------------------------- */

/* The gate page: the code, and the filter that it installs. */
static enum kaon_status make_gate(struct process_machine *m,
                                  struct kaon_error *err)
{
    const size_t size = (size_t)(kaon__gate_process_end - kaon__gate_process);
    const size_t program =
        (size_t)(kaon__gate_process_program - kaon__gate_process);
    unsigned char *page;

    m->gate = kaon__arena_page(&m->arena);
    if (!m->gate)
        return kaon__fail(err, KAON_ENOMEM, "memory_bytes is too small");
    page = kaon__arena_at(&m->arena, m->gate);
    memcpy(page, kaon__gate_process, size);
    if (!kaon__filter_write(page + program, KAON_PAGE_SIZE - program,
                            KAON_PROCESS_GATE + program))
        return kaon__fail(err, KAON_EBACKEND, "the gate does not fit its page");
    return KAON_OK;
}

static void *reserve(int memfd, uint64_t size)
{
    void *memory;

    if (ftruncate(memfd, (off_t)size) != 0)
        return NULL;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE, memfd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* A page by which a child of fork() knows itself. */
static volatile unsigned char *mark_owner(void)
{
    unsigned char *page = mmap(NULL, KAON_PAGE_SIZE, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, KAON_PAGE_SIZE, MADV_WIPEONFORK) != 0) {
        munmap(page, KAON_PAGE_SIZE);
        return NULL;
    }
    *page = 1;
    return page;
}

/*
 * In a child of fork(), memory and processes are the parent's still. What the
 * child does to its copy of all the rest must not reach them.
 */
static bool is_mine(struct process_machine *m)
{
    if (*m->mine)
        return true;
    mmap(m->arena.base, m->arena.size, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, m->memfd, 0);
    return false;
}

static enum kaon_status machine_check(struct kaon_machine *machine,
                                      struct kaon_error *err)
{
    if (is_mine(process_machine(machine)))
        return KAON_OK;
    return kaon__fail(err, KAON_EBACKEND,
                      "the sandbox belongs to another process: after fork(), "
                      "make new sandboxes in the child");
}

/* Looking longer is of use only if the process runs meanwhile. */
static int choose_spin(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1)
        return 0;
    return SPIN;
}

static enum kaon_status machine_create(struct kaon_machine **out,
                                       const struct kaon_machine_config *config,
                                       struct kaon_error *err)
{
    struct process_machine *m = calloc(1, sizeof *m);
    enum kaon_status status;
    void *memory;

    if (!m)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a domain");
    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) {
        status = kaon__fail(err, KAON_EBACKEND,
                            "process isolation needs the FSGSBASE "
                            "instructions: Linux 5.9 and an Intel CPU since "
                            "2012 or AMD since 2015");
        goto free_machine;
    }
    status = kaon__launch_open(err);
    if (status)
        goto free_machine;
    m->memfd = memfd_create("kaon-arena", MFD_CLOEXEC);
    if (m->memfd < 0) {
        status = kaon__fail_errno(err, KAON_EBACKEND,
                                  "cannot make memory for a domain "
                                  "(memfd_create: %s): raise `ulimit -n`",
                                  strerror(errno));
        goto close_launch;
    }
    memory = reserve(m->memfd, config->memory_bytes);
    m->mine = memory ? mark_owner() : NULL;
    if (!m->mine) {
        status = kaon__fail_errno(
            err, KAON_ENOMEM,
            "cannot reserve %llu MiB for a domain: lower memory_bytes, or the "
            "sandbox's heap_bytes, or raise `ulimit -v`",
            (unsigned long long)config->memory_bytes >> 20);
        goto unmap;
    }
    kaon__arena_init(&m->arena, memory, config->memory_bytes, ARENA_PHYSICAL);
    pthread_mutex_init(&m->lock, NULL);
    m->machine.backend = &kaon__backend_process;
    m->machine.arena = &m->arena;
    m->spin = choose_spin();
    m->next_physical =
        (ARENA_PHYSICAL + config->memory_bytes + ATTACH_ALIGN - 1) &
        -ATTACH_ALIGN;
    status = make_gate(m, err);
    if (status)
        goto finish_arena;
    *out = &m->machine;
    return KAON_OK;

finish_arena:
    pthread_mutex_destroy(&m->lock);
    kaon__arena_finish(&m->arena);
    munmap((void *)(uintptr_t)m->mine, KAON_PAGE_SIZE);
unmap:
    if (memory)
        munmap(memory, config->memory_bytes);
    close(m->memfd);
close_launch:
    kaon__launch_close();
free_machine:
    free(m);
    return status;
}

static void free_space(struct process_machine *m, struct process_space *space);

static void machine_destroy(struct kaon_machine *machine)
{
    struct process_machine *m = process_machine(machine);
    bool mine = is_mine(m);

    while (m->spaces)
        free_space(m, m->spaces);
    munmap(m->arena.base, m->arena.size);
    munmap((void *)(uintptr_t)m->mine, KAON_PAGE_SIZE);
    close(m->memfd);
    kaon__arena_finish(&m->arena);
    pthread_mutex_destroy(&m->lock);
    free(m->attached);
    if (mine)
        kaon__launch_close();
    free(m);
}

static enum kaon_status machine_attach(struct kaon_machine *machine,
                                       const void *memory, int fd,
                                       uint64_t size, uint64_t *physical,
                                       struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    struct attached *attached;

    (void)memory;
    pthread_mutex_lock(&m->lock);
    attached = realloc(m->attached, (m->attached_count + 1) * sizeof *attached);
    if (attached) {
        *physical = m->next_physical;
        m->next_physical += (size + ATTACH_ALIGN - 1) & -ATTACH_ALIGN;
        m->attached = attached;
        attached[m->attached_count++] =
            (struct attached){ .physical = *physical, .size = size, .fd = fd };
    }
    pthread_mutex_unlock(&m->lock);
    if (!attached)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for an image");
    return KAON_OK;
}

static void discard(struct kaon_machine *machine, uint64_t physical,
                    uint64_t pages)
{
    struct process_machine *m = process_machine(machine);
    size_t size = pages * KAON_PAGE_SIZE;

    if (!is_mine(m))
        return; /* nobody gets them any more */
    if (fallocate(m->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(physical - ARENA_PHYSICAL), (off_t)size) != 0)
        memset(kaon__arena_at(&m->arena, physical), 0, size);
}

static enum kaon_status machine_reclaim(struct kaon_machine *machine,
                                        struct kaon_error *err)
{
    (void)machine; /* a process that is gone remembers nothing */
    (void)err;
    return KAON_OK;
}

/* ---- Spaces ------------------------------------------------------------ */

static struct process_space *space_of(struct kaon_space space)
{
    return (struct process_space *)(uintptr_t)space.root;
}

static enum kaon_status space_create(struct kaon_machine *machine,
                                     struct kaon_space *out,
                                     struct kaon_space parent,
                                     struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    enum kaon_status status = machine_check(machine, err);
    struct process_space *space;

    if (status)
        return status;
    space = calloc(1, sizeof *space);
    if (!space)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
    space->parent = space_of(parent);
    space->pidfd = -1;
    pthread_mutex_lock(&m->lock);
    space->next = m->spaces;
    space->back = &m->spaces;
    if (space->next)
        space->next->back = &space->next;
    m->spaces = space;
    pthread_mutex_unlock(&m->lock);
    out->root = (uintptr_t)space;
    return KAON_OK;
}

static void end(struct process_space *space)
{
    if (space->pidfd >= 0)
        kaon__launch_end(space->pidfd);
    space->pidfd = -1;
}

/* Before any of its memory is used again, the process is gone. */
static void free_space(struct process_machine *m, struct process_space *space)
{
    if (is_mine(m))
        end(space);
    else if (space->pidfd >= 0)
        close(space->pidfd);
    if (space->control_physical) {
        discard(&m->machine, space->control_physical, 1 + STACK_PAGES);
        kaon__arena_run_free(&m->arena, space->control_physical,
                             1 + STACK_PAGES);
    }
    pthread_mutex_lock(&m->lock);
    *space->back = space->next;
    if (space->next)
        space->next->back = space->back;
    pthread_mutex_unlock(&m->lock);
    free(space->maps);
    free(space);
}

static void space_destroy(struct kaon_machine *machine, struct kaon_space space)
{
    if (space.root)
        free_space(process_machine(machine), space_of(space));
}

static enum kaon_status space_map(struct kaon_machine *machine,
                                  struct kaon_space handle, uint64_t address,
                                  uint64_t physical, uint64_t pages,
                                  unsigned protection, struct kaon_error *err)
{
    struct process_space *space = space_of(handle);

    (void)machine;
    if (space->map_count == space->map_room) {
        unsigned room = space->map_room ? 2 * space->map_room : 4;
        struct map *maps = realloc(space->maps, room * sizeof *maps);

        if (!maps)
            return kaon__fail(err, KAON_ENOMEM, "out of memory for a sandbox");
        space->maps = maps;
        space->map_room = room;
    }
    space->maps[space->map_count++] =
        (struct map){ address, physical, pages, protection };
    return KAON_OK;
}

/* The newest map that shows an address, the parent's after its own. */
static const struct map *find(const struct process_space *space,
                              uint64_t address)
{
    for (; space; space = space->parent)
        for (unsigned i = space->map_count; i-- > 0;) {
            const struct map *map = &space->maps[i];

            if (address - map->address < map->pages * KAON_PAGE_SIZE)
                return map;
        }
    return NULL;
}

static bool space_look(struct kaon_machine *machine, struct kaon_space space,
                       uint64_t address, uint64_t *physical,
                       unsigned *protection)
{
    const struct map *map = find(space_of(space), address);

    (void)machine;
    if (!map)
        return false;
    *physical = map->physical + ((address - map->address) & -KAON_PAGE_SIZE);
    *protection = map->protection;
    return true;
}

/* ---- A space's process ------------------------------------------------- */

/* A request to the zygote, as it is put together. */
struct request {
    struct kaon_spawn spawn;
    int memories[KAON_SPAWN_MEMORIES];
};

static int protection_bits(unsigned protection)
{
    return PROT_READ | (protection & KAON_PROTECT_WRITE ? PROT_WRITE : 0) |
           (protection & KAON_PROTECT_EXECUTE ? PROT_EXEC : 0);
}

/* The index of a descriptor among those of the request; -1: no place left. */
static int memory_index(struct request *request, int fd)
{
    for (unsigned i = 0; i < request->spawn.memory_count; i++)
        if (request->memories[i] == fd)
            return (int)i;
    if (request->spawn.memory_count == KAON_SPAWN_MEMORIES)
        return -1;
    request->memories[request->spawn.memory_count] = fd;
    return (int)request->spawn.memory_count++;
}

static bool add_map(const struct process_machine *m, struct request *request,
                    const struct map *map)
{
    struct kaon_spawn *spawn = &request->spawn;
    uint64_t offset = map->physical - ARENA_PHYSICAL;
    int fd = m->memfd, memory;

    for (unsigned i = 0; i < m->attached_count; i++)
        if (map->physical - m->attached[i].physical < m->attached[i].size) {
            fd = m->attached[i].fd;
            offset = map->physical - m->attached[i].physical;
        }
    memory = memory_index(request, fd);
    if (memory < 0 || spawn->map_count == KAON_SPAWN_MAPS)
        return false;
    spawn->maps[spawn->map_count++] = (struct kaon_spawn_map){
        .address = map->address,
        .size = map->pages * KAON_PAGE_SIZE,
        .offset = offset,
        .memory = (uint32_t)memory,
        .protection = (uint32_t)protection_bits(map->protection),
    };
    return true;
}

/* Recursion is as deep as spaces have parents: once. */
static bool add_maps(const struct process_machine *m, struct request *request,
                     const struct process_space *space)
{
    if (space->parent && !add_maps(m, request, space->parent))
        return false;
    for (unsigned i = 0; i < space->map_count; i++)
        if (!add_map(m, request, &space->maps[i]))
            return false;
    return true;
}

static uint64_t in_gate(const unsigned char *place)
{
    return KAON_PROCESS_GATE + (uint64_t)(place - kaon__gate_process);
}

static bool fill_request(struct process_machine *m, struct request *request,
                         const struct process_space *space)
{
    const struct map gate = { KAON_PROCESS_GATE, m->gate, 1,
                              KAON_PROTECT_EXECUTE };
    const struct map control = { KAON_PROCESS_CONTROL, space->control_physical,
                                 1, KAON_PROTECT_WRITE };
    const struct map stack = { KAON_PROCESS_STACK,
                               space->control_physical + KAON_PAGE_SIZE,
                               STACK_PAGES, KAON_PROTECT_WRITE };
    bool fits;

    memset(request, 0, sizeof *request);
    request->spawn.start = in_gate(kaon__gate_process_start);
    request->spawn.handler = in_gate(kaon__gate_process_signal);
    pthread_mutex_lock(&m->lock);
    fits = add_maps(m, request, space) && add_map(m, request, &gate) &&
           add_map(m, request, &control) && add_map(m, request, &stack);
    pthread_mutex_unlock(&m->lock);
    return fits;
}

static bool is_gone(const struct process_space *space)
{
    struct pollfd poll_for = { .fd = space->pidfd, .events = POLLIN };

    return poll(&poll_for, 1, 0) > 0;
}

static bool my_turn(const struct process_space *space)
{
    return __atomic_load_n(&space->control->turn, __ATOMIC_ACQUIRE) !=
           KAON_TURN_GUEST;
}

/* Sleeps until it may be the host's turn, or it is time to look around. */
static void sleep_on(struct process_space *space)
{
    const struct timespec look = { .tv_nsec = LOOK_NS };

    __atomic_exchange_n(&space->control->host_sleeps, 1, __ATOMIC_SEQ_CST);
    if (!my_turn(space))
        syscall(SYS_futex, &space->control->turn, FUTEX_WAIT, KAON_TURN_GUEST,
                &look, NULL, 0);
    __atomic_store_n(&space->control->host_sleeps, 0, __ATOMIC_RELAXED);
}

static enum kaon_status fail_ready(const struct process_space *space, bool gone,
                                   struct kaon_error *err)
{
    if (space->control->error) {
        errno = -(int)space->control->error;
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "the kernel refused the seccomp filter that "
                                "locks a sandbox's process in (%s): without "
                                "it there is no process isolation here",
                                strerror(errno));
    }
    return kaon__fail(err, KAON_EBACKEND,
                      gone ? "a sandbox's process ended before it was ready: "
                             "was it killed, or is its memory limited "
                             "(`ulimit -v`)?"
                           : "a sandbox's process was not ready after 5 s: is "
                             "it stopped, or the machine overloaded?");
}

/* A new process has locked itself in, or it could not. */
static enum kaon_status await_ready(struct process_space *space,
                                    struct kaon_error *err)
{
    for (int look = 0; !my_turn(space); look++) {
        bool gone = is_gone(space);

        if (my_turn(space))
            break;
        if (gone || look == READY_LOOKS)
            return fail_ready(space, gone, err);
        sleep_on(space);
    }
    return KAON_OK;
}

/* The space's process, the first or another. */
static enum kaon_status launch(struct process_machine *m,
                               struct process_space *space,
                               struct kaon_error *err)
{
    struct request request;
    enum kaon_status status;

    end(space);
    *space->control = (struct kaon_control){ .turn = KAON_TURN_GUEST,
                                             .spin = (uint32_t)m->spin };
    if (!fill_request(m, &request, space))
        return kaon__fail(err, KAON_EBACKEND,
                          "the image has too many segments for a process: "
                          "link it with fewer");
    status = kaon__launch(&request.spawn, request.memories, &space->pidfd, err);
    if (!status)
        status = await_ready(space, err);
    atomic_store(&space->killed, status != KAON_OK);
    return status;
}

static enum kaon_status space_seal(struct kaon_machine *machine,
                                   struct kaon_space handle,
                                   struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    struct process_space *space = space_of(handle);

    space->control_physical = kaon__arena_run(&m->arena, 1 + STACK_PAGES);
    if (!space->control_physical)
        return kaon__fail(err, KAON_ENOMEM,
                          "the domain's memory is used up: raise "
                          "memory_bytes, or destroy sandboxes");
    space->control = kaon__arena_at(&m->arena, space->control_physical);
    return launch(m, space, err);
}

/* ---- vCPUs ------------------------------------------------------------- */

static enum kaon_status vcpu_create(struct kaon_vcpu **out,
                                    struct kaon_machine *machine,
                                    uint32_t index, struct kaon_error *err)
{
    struct kaon_vcpu *vcpu = calloc(1, sizeof *vcpu);

    (void)index;
    if (!vcpu)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a vCPU");
    vcpu->machine = process_machine(machine);
    *out = vcpu;
    return KAON_OK;
}

static void vcpu_destroy(struct kaon_vcpu *vcpu)
{
    free(vcpu);
}

static void vcpu_bind(struct kaon_vcpu *vcpu)
{
    (void)vcpu;
}

static void stopped(struct kaon_exit *exit, const char *reason)
{
    exit->kind = KAON_EXIT_STOPPED;
    exit->reason = reason;
}

/* What the process says of its registers, which may be anything. */
static void copy_context(struct kaon_vcpu *vcpu, const uint64_t *c)
{
    vcpu->registers = (struct kaon_registers){
        c[REG_RAX], c[REG_RBX], c[REG_RCX], c[REG_RDX], c[REG_RSI], c[REG_RDI],
        c[REG_RBP], c[REG_RSP], c[REG_R8],  c[REG_R9],  c[REG_R10], c[REG_R11],
        c[REG_R12], c[REG_R13], c[REG_R14], c[REG_R15], c[REG_RIP], c[REG_EFL],
    };
}

/* A system call that was not made: the fault it is under KVM. */
static void on_system_call(struct kaon_vcpu *vcpu, const struct kaon_control *c,
                           struct kaon_exit *exit)
{
    bool native = c->signal != SIGSYS || c->arch == AUDIT_ARCH_X86_64;

    exit->kind = KAON_EXIT_FAULT;
    exit->vector = native ? 6 : 13;
    exit->error_code = native ? 0 : 0x80 * 8 + 2; /* of `int 0x80` */
    vcpu->registers.rip -= 2; /* all of its entries are two bytes */
}

static void on_signal(struct kaon_vcpu *vcpu, const struct kaon_control *c,
                      struct kaon_exit *exit)
{
    copy_context(vcpu, c->context);
    switch (c->signal) {
    case SIGSYS: on_system_call(vcpu, c, exit); return;
    case SIGILL:
        /* The kernel's answer to uretprobe(), which no filter sees. */
        if (c->context[REG_TRAPNO] != 6) {
            on_system_call(vcpu, c, exit);
            return;
        }
        break;
    case SIGBUS:
        if (c->context[REG_TRAPNO] == 14) {
            exit->kind = KAON_EXIT_MEMORY;
            exit->reason = "the host has no page behind what it touched";
            return;
        }
        break;
    }
    if (c->context[REG_TRAPNO] >= 32) {
        stopped(exit, "its process got a signal that no fault explains");
        return;
    }
    exit->kind = KAON_EXIT_FAULT;
    exit->vector = (uint32_t)c->context[REG_TRAPNO];
    exit->error_code = (uint32_t)c->context[REG_ERR];
    exit->address = c->context[REG_CR2];
}

/* One copy of what the process says, then only the copy. */
static void read_exit(struct kaon_vcpu *vcpu, const struct process_space *space,
                      struct kaon_exit *exit)
{
    struct kaon_control c;

    memcpy(&c, space->control, sizeof c);
    vcpu->pointers = (struct kaon_thread_pointers){ c.fs_base, c.gs_base };
    switch (c.reason) {
    case KAON_REASON_GATE: exit->kind = KAON_EXIT_GATE; return;
    case KAON_REASON_SIGNAL: on_signal(vcpu, &c, exit); return;
    }
    vcpu->registers = (struct kaon_registers){ 0 };
    stopped(exit, "its process handed over for no reason");
}

/* Waits for the host's turn; false if it never comes. */
static bool await_turn(struct kaon_vcpu *vcpu, struct process_space *space)
{
    for (int i = 0; i < vcpu->machine->spin; i++) {
        if (my_turn(space))
            return true;
        __builtin_ia32_pause();
    }
    while (!atomic_load(&vcpu->kicked)) {
        sleep_on(space);
        if (my_turn(space))
            return true;
        if (is_gone(space))
            return my_turn(space);
    }
    return false;
}

static void run(struct kaon_vcpu *vcpu, struct process_space *space,
                struct kaon_exit *exit)
{
    bool came;

    *exit = (struct kaon_exit){ 0 };
    __atomic_exchange_n(&space->control->turn, KAON_TURN_GUEST,
                        __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&space->control->guest_sleeps, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, &space->control->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    came = await_turn(vcpu, space);
    if (atomic_load(&vcpu->kicked)) {
        exit->kind = KAON_EXIT_KICKED;
    } else if (came) {
        read_exit(vcpu, space, exit);
    } else {
        vcpu->registers = (struct kaon_registers){ 0 };
        stopped(exit, "its process was killed");
    }
}

static enum kaon_status vcpu_enter(struct kaon_vcpu *vcpu,
                                   struct kaon_space handle, bool fresh,
                                   const struct kaon_entry *entry,
                                   const struct kaon_thread_pointers *pointers,
                                   struct kaon_exit *exit,
                                   struct kaon_error *err)
{
    struct process_space *space = space_of(handle);
    struct kaon_control *control = space->control;

    (void)fresh;
    if (atomic_load(&space->killed)) {
        enum kaon_status status = launch(vcpu->machine, space, err);

        if (status)
            return status;
    }
    control->mode = KAON_MODE_ENTER;
    control->ip = entry->ip;
    control->sp = entry->sp;
    control->argument = entry->argument;
    control->fs_base = pointers->fs_base;
    control->gs_base = pointers->gs_base;
    /* Either a kick sees the space, or this sees the kick. */
    atomic_store(&vcpu->space, space);
    if (atomic_load(&vcpu->kicked))
        *exit = (struct kaon_exit){ .kind = KAON_EXIT_KICKED };
    else
        run(vcpu, space, exit);
    return KAON_OK;
}

/* After GATE only: faults are final, and who was kicked is dead. */
static enum kaon_status vcpu_resume(struct kaon_vcpu *vcpu,
                                    struct kaon_exit *exit,
                                    struct kaon_error *err)
{
    struct process_space *space = atomic_load(&vcpu->space);

    (void)err;
    space->control->mode = KAON_MODE_RESUME;
    run(vcpu, space, exit);
    return KAON_OK;
}

static void vcpu_registers(const struct kaon_vcpu *vcpu,
                           struct kaon_registers *registers)
{
    *registers = vcpu->registers;
}

static struct kaon_thread_pointers vcpu_pointers(const struct kaon_vcpu *vcpu)
{
    return vcpu->pointers;
}

/* ---- Kicks ------------------------------------------------------------- */

static enum kaon_status kick_ready(struct kaon_machine *machine,
                                   struct kaon_error *err)
{
    (void)machine; /* it takes nothing of ours */
    (void)err;
    return KAON_OK;
}

/*
 * Kills the process, and wakes who waits for it: he finds his turn has come,
 * unless the guest is quick to take it back, and then looks a little later.
 */
static void vcpu_kick(struct kaon_vcpu *vcpu)
{
    struct process_space *space;

    atomic_store(&vcpu->kicked, true);
    space = atomic_load(&vcpu->space);
    if (!space || atomic_exchange(&space->killed, true))
        return;
    kaon__launch_kill(space->pidfd);
    __atomic_exchange_n(&space->control->turn, KAON_TURN_HOST,
                        __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &space->control->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void vcpu_unkick(struct kaon_vcpu *vcpu)
{
    atomic_store(&vcpu->kicked, false);
    atomic_store(&vcpu->space, NULL);
}

const struct kaon_backend kaon__backend_process = {
    .name = "process",
    .exit_stops_guest = false,
    .spaces_grow = false,
    .machine_create = machine_create,
    .machine_destroy = machine_destroy,
    .machine_check = machine_check,
    .machine_attach = machine_attach,
    .discard = discard,
    .machine_reclaim = machine_reclaim,
    .space_create = space_create,
    .space_map = space_map,
    .space_look = space_look,
    .space_seal = space_seal,
    .space_destroy = space_destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .vcpu_bind = vcpu_bind,
    .vcpu_enter = vcpu_enter,
    .vcpu_resume = vcpu_resume,
    .vcpu_registers = vcpu_registers,
    .vcpu_pointers = vcpu_pointers,
    .kick_ready = kick_ready,
    .vcpu_kick = vcpu_kick,
    .vcpu_unkick = vcpu_unkick,
};

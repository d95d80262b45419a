/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines of the process backend: the memory that a domain's processes share
 * with the host.
 *
 * Owns the memfd that is the arena, and the gate page in it; counts as a user
 * of the zygote. Borrows the files of what is attached. In a child of fork() it
 * owns nothing: what is the parent's is left alone.
 */
#include "backend/process/inside.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/process/filter.h"
#include "backend/process/launch.h"
#include "gate/gate.h"
#include "host/error.h"
#include "host/locks.h"
#include "host/memory_file.h"

#define ATTACH_ALIGN (UINT64_C(1) << 30)

/* How often to look for the turn before sleeping: some 20 us. */
#define SPIN 1000

#define HWCAP2_FSGSBASE 2 /* of <asm/hwcap2.h> */

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51 /* of Linux 5.14 */
#endif

/* What the gate needs to clear registers without XRSTOR: AVX, and XGETBV that
 * says which components of the state are in use. */
static bool cpu_knows_use(void)
{
    unsigned eax, ebx, ecx, edx;

    return __builtin_cpu_supports("avx") &&
           __get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx) && eax & 1u << 2;
}

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
    page[kaon__gate_process_by_token - kaon__gate_process] = m->by_token;
    page[kaon__gate_process_knows_use - kaon__gate_process] = cpu_knows_use();
    if (!kaon__filter_write(page + program, KAON_PAGE_SIZE - program,
                            KAON_PROCESS_GATE + program, m->by_token))
        return kaon__fail(err, KAON_EBACKEND, "the gate does not fit its page");
    return KAON_OK;
}

static enum kaon_status check_file_limit(uint64_t size, struct kaon_error *err)
{
    if (kaon__memory_file_may_have(size))
        return KAON_OK;
    return kaon__fail_errno(err, KAON_EBACKEND,
                            "a domain's memory is a file in memory, of %llu "
                            "MiB, and files may not be as large here: raise "
                            "`ulimit -f`, or lower memory_bytes or heap_bytes",
                            (unsigned long long)size >> 20);
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

/*
 * A page by which a child of fork() knows itself: it has 0 there, or the number
 * of its own that it wrote when it made a machine. There as long as machines
 * are.
 */
static struct {
    unsigned machines;
    volatile uint64_t *number; /* if there are any */
    uint64_t last;             /* of all ancestors, too */
} process;

static volatile uint64_t *map_number(void)
{
    void *page = mmap(NULL, KAON_PAGE_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, KAON_PAGE_SIZE, MADV_WIPEONFORK) != 0) {
        munmap(page, KAON_PAGE_SIZE);
        return NULL;
    }
    return page;
}

/* This process's number, for one more machine; 0 if there is no memory. */
static uint64_t know_process(void)
{
    uint64_t number = 0;

    kaon__lock(KAON_LOCK_PROCESS);
    if (process.machines == 0)
        process.number = map_number();
    if (process.number) {
        process.machines++;
        if (*process.number == 0)
            *process.number = ++process.last;
        number = *process.number;
    }
    kaon__unlock(KAON_LOCK_PROCESS);
    return number;
}

static void forget_process(void)
{
    kaon__lock(KAON_LOCK_PROCESS);
    if (--process.machines == 0) {
        munmap((void *)(uintptr_t)process.number, KAON_PAGE_SIZE);
        process.number = NULL;
    }
    kaon__unlock(KAON_LOCK_PROCESS);
}

bool kaon__process_is_mine(struct process_machine *m)
{
    if (*process.number == m->owner)
        return true;
    mmap(m->arena.base, m->arena.size, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, m->memfd, 0);
    return false;
}

enum kaon_status kaon__process_machine_check(struct kaon_machine *machine,
                                             struct kaon_error *err)
{
    if (kaon__process_is_mine(process_machine(machine)))
        return KAON_OK;
    return kaon__fail(err, KAON_EBACKEND,
                      "the sandbox belongs to another process: after fork(), "
                      "make new sandboxes in the child");
}

/* Looking longer is of use only if the process runs meanwhile. */
static uint32_t choose_spin(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1)
        return 0;
    return SPIN;
}

/* The signal frame, and the little that the gate's handler pushes. */
static uint32_t choose_frame(void)
{
    const uint64_t most = KAON_PROCESS_STACK_SIZE / 2;
    uint64_t least = getauxval(AT_MINSIGSTKSZ) + KAON_PAGE_SIZE / 8;

    if (least > most)
        least = most;
    return (uint32_t)((least + KAON_PAGE_SIZE - 1) & -KAON_PAGE_SIZE);
}

enum kaon_status
kaon__process_machine_create(struct kaon_machine **out,
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
                            "2012 or AMD since 2017");
        goto free_machine;
    }
    status = check_file_limit(config->memory_bytes, err);
    if (!status)
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
    m->owner = know_process();
    if (!memory || !m->owner) {
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
    m->by_token = m->spin == 0;
    m->frame = choose_frame();
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
unmap:
    if (m->owner)
        forget_process();
    if (memory)
        munmap(memory, config->memory_bytes);
    close(m->memfd);
close_launch:
    kaon__launch_close();
free_machine:
    free(m);
    return status;
}

void kaon__process_machine_destroy(struct kaon_machine *machine)
{
    struct process_machine *m = process_machine(machine);
    bool mine = kaon__process_is_mine(m);

    while (m->spaces)
        kaon__process_space_free(m, m->spaces);
    munmap(m->arena.base, m->arena.size);
    forget_process();
    close(m->memfd);
    kaon__arena_finish(&m->arena);
    pthread_mutex_destroy(&m->lock);
    free(m->attached);
    if (mine)
        kaon__launch_close();
    free(m);
}

enum kaon_status
kaon__process_machine_attach(struct kaon_machine *machine,
                             const struct kaon_host_memory *memory,
                             uint64_t *physical, struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    struct attached *attached;

    pthread_mutex_lock(&m->lock);
    attached = realloc(m->attached, (m->attached_count + 1) * sizeof *attached);
    if (attached) {
        *physical = m->next_physical;
        m->next_physical += (memory->size + ATTACH_ALIGN - 1) & -ATTACH_ALIGN;
        m->attached = attached;
        attached[m->attached_count++] =
            (struct attached){ .physical = *physical,
                               .size = memory->size,
                               .offset = memory->offset,
                               .fd = memory->fd };
    }
    pthread_mutex_unlock(&m->lock);
    if (!attached)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a mapping");
    return KAON_OK;
}

/* Physical addresses are no more than names here: none is used again. */
enum kaon_status kaon__process_machine_detach(struct kaon_machine *machine,
                                              uint64_t physical,
                                              struct kaon_error *err)
{
    struct process_machine *m = process_machine(machine);
    unsigned i = 0;

    (void)err;
    pthread_mutex_lock(&m->lock);
    while (m->attached[i].physical != physical)
        i++;
    m->attached[i] = m->attached[--m->attached_count];
    pthread_mutex_unlock(&m->lock);
    return KAON_OK;
}

void kaon__process_discard(struct kaon_machine *machine, uint64_t physical,
                           uint64_t pages)
{
    struct process_machine *m = process_machine(machine);
    size_t size = pages * KAON_PAGE_SIZE;

    if (!kaon__process_is_mine(m))
        return; /* nobody gets them any more */
    atomic_fetch_add(&m->holes, 1);
    if (fallocate(m->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(physical - ARENA_PHYSICAL), (off_t)size) != 0)
        memset(kaon__arena_at(&m->arena, physical), 0, size);
    atomic_fetch_add(&m->holes, 1);
}

enum kaon_status kaon__process_machine_reclaim(struct kaon_machine *machine,
                                               struct kaon_error *err)
{
    (void)machine; /* a process that is gone remembers nothing */
    (void)err;
    return KAON_OK;
}

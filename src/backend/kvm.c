/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM backend: a machine is a VM, a vCPU a vCPU.
 *
 * Owns the VM's and the vCPUs' descriptors, the arena's memory, and the tables
 * of all spaces (through paging_x86_64.c). Never makes a system call in enter
 * or resume but KVM_RUN, nor any at all in the space functions.
 *
 * The arena is the first memslot; each attached memory is one more, where there
 * is room behind it, but for one that rides with the arena. All machines' base
 * space shows the gate and, to CPL 0 only, the vCPUs' system pages; every other
 * space grows from it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "backend/backend.h"
#include "backend/kick.h"
#include "backend/kvm_x86_64.h"
#include "backend/paging_x86_64.h"
#include "gate/gate.h"
#include "host/arena.h"
#include "host/error.h"

#define HUGE_PAGE (UINT64_C(2) << 20)
#define ARENA_PHYSICAL HUGE_PAGE /* not 0: no page has physical address 0 */
#define ARENA_SLOT 0
#define ATTACH_ALIGN HUGE_PAGE

/* What is larger is better shown where the host has it already. */
#define RIDE_MAX (UINT64_C(64) * KAON_PAGE_SIZE)

/* CR3's page-level write-through bit; see load_sregs(). */
#define CR3_PWT UINT64_C(0x8)

#define RFLAGS_TRAP UINT64_C(0x100)

#define MSR_LSTAR 0xc0000082u

/* Memory that is a memslot; or a number that waits for one. */
struct attachment {
    struct attachment *next;
    uint64_t physical, size;
    uint32_t slot;
};

struct kvm_machine {
    struct kaon_machine machine;
    struct kaon_arena arena;
    int vm;
    bool shared;
    uint64_t base_root;
    const volatile unsigned char *gate; /* all zero in a child of fork() */
    unsigned char *system_pages;        /* by index of vCPU */
    struct kaon_kick kick;
    atomic_bool arena_absent; /* no memslot yet, or lost by a failed reclaim */
    uint64_t rider;           /* bytes before the arena, in its memslot */
    pthread_mutex_t lock;     /* guards the rest, and edits of the base space */
    struct attachment *attached; /* by physical address */
    struct attachment *spare;    /* whose slots are free */
    uint32_t next_slot;
    uint64_t attach_from; /* physical: what is below is the arena's */
    uint32_t next_vcpu;   /* KVM never gives a number twice, closed or not */
};

struct kaon_vcpu {
    struct kvm_machine *machine;
    int fd;
    struct kvm_run *run;
    unsigned char *system_page;
    struct kvm_sregs sregs; /* what a guest starts with, but for CR3 */
    uint64_t loaded_cr3;    /* last written */
    enum kaon_exit_kind last;
    struct kvm_sregs at_fault; /* if last is FAULT */
    pthread_t thread;
};

/* ---- What there is to know of /dev/kvm, read once ---------------------- */

/*
 * Constant for a running kernel, and slow to ask for (0.3 ms): kept for the
 * process once it has been read in full.
 */
static struct {
    pthread_mutex_t lock;
    bool known;
    size_t run_size;
    struct kaon_kvm_cpu cpu;
} facts = { .lock = PTHREAD_MUTEX_INITIALIZER };

static enum kaon_status fail_open(struct kaon_error *err)
{
    switch (errno) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return kaon__fail_errno(
            err, KAON_EBACKEND,
            "there is no /dev/kvm; enable virtualization in firmware or cloud, "
            "load kvm_amd or kvm_intel, in a container pass --device "
            "/dev/kvm, or choose weaker isolation (KAON_ISOLATION_PROCESS): "
            "`kaon doctor` tells more");
    case EACCES:
    case EPERM:
        return kaon__fail_errno(
            err, KAON_EBACKEND,
            "no permission to open /dev/kvm; add the user to its group, as "
            "in `sudo usermod -aG kvm $USER`, and log in anew, or choose "
            "weaker isolation (KAON_ISOLATION_PROCESS): `kaon doctor` tells "
            "more");
    case EMFILE:
    case ENFILE:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "out of file descriptors: a domain takes 1 "
                                "and each vCPU 1; raise `ulimit -n`");
    default:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "cannot open /dev/kvm: %s; see to that or "
                                "choose weaker isolation "
                                "(KAON_ISOLATION_PROCESS): `kaon doctor` "
                                "tells more",
                                strerror(errno));
    }
}

static enum kaon_status fail_kvm(struct kaon_error *err, const char *what)
{
    if (errno == EMFILE || errno == ENFILE)
        return fail_open(err);
    if (errno == ENOMEM)
        return kaon__fail_errno(err, KAON_ENOMEM,
                                "KVM is out of memory (%s): use fewer "
                                "domains, or give the machine more memory",
                                what);
    return kaon__fail_errno(err, KAON_EBACKEND,
                            "KVM refused %s: %s; `kaon doctor` tells more",
                            what, strerror(errno));
}

static enum kaon_status learn(int kvm, struct kaon_error *err)
{
    const unsigned long wanted =
        KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
    int run_size, sync;

    if (version != KVM_API_VERSION)
        return kaon__fail(err, KAON_EBACKEND,
                          "/dev/kvm speaks version %d where 12 is known: is "
                          "it KVM?",
                          version);
    sync = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
    if (sync < 0 || ((unsigned long)sync & wanted) != wanted ||
        ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0 ||
        ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0)
        return kaon__fail(err, KAON_EBACKEND,
                          "this KVM is too old: it needs KVM_CAP_SYNC_REGS, "
                          "KVM_CAP_READONLY_MEM and KVM_CAP_IMMEDIATE_EXIT, "
                          "which Linux has since 4.17");
    run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < (int)sizeof(struct kvm_run))
        return fail_kvm(err, "KVM_GET_VCPU_MMAP_SIZE");
    facts.cpu.cpuid.head.nent = KAON_KVM_CPUID_MAX;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &facts.cpu.cpuid.head) < 0)
        return fail_kvm(err, "KVM_GET_SUPPORTED_CPUID");
    kaon__kvm_cpu_learn(&facts.cpu);
    facts.run_size = (size_t)run_size;
    facts.known = true;
    return KAON_OK;
}

/* A descriptor of /dev/kvm, with `facts` filled in. */
static enum kaon_status open_kvm(int *out, struct kaon_error *err)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    enum kaon_status status = KAON_OK;

    if (kvm < 0)
        return fail_open(err);
    pthread_mutex_lock(&facts.lock);
    if (!facts.known)
        status = learn(kvm, err);
    pthread_mutex_unlock(&facts.lock);
    if (status)
        close(kvm);
    else
        *out = kvm;
    return status;
}

/* ---- Machines ---------------------------------------------------------- */

static struct kvm_machine *kvm_machine(struct kaon_machine *machine)
{
    return (struct kvm_machine *)machine;
}

static int set_slot(const struct kvm_machine *m, uint32_t slot,
                    uint64_t physical, const void *memory, uint64_t size,
                    uint32_t flags)
{
    const struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = flags,
        .guest_phys_addr = physical,
        .memory_size = size,
        .userspace_addr = (uintptr_t)memory,
    };

    return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static void *map_memory(uint64_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static unsigned char *map_aligned(uint64_t size)
{
    unsigned char *memory = map_memory(size + HUGE_PAGE);
    size_t before;

    if (!memory)
        return NULL;
    before = (size_t)(-(uintptr_t)memory % HUGE_PAGE);
    if (before)
        munmap(memory, before);
    munmap(memory + before + size, HUGE_PAGE - before);
    return memory + before;
}

/*
 * Reserves the arena. A shared domain wants huge pages; in a small one, one
 * touched page would cost 2 MiB. (Advice, so failure is none.) A child of
 * fork() sees zeroes: it can neither run nor read guests.
 */
static void *reserve(uint64_t size, bool shared)
{
    unsigned char *memory = shared ? map_aligned(size) : map_memory(size);

    if (!memory)
        return NULL;
    if (madvise(memory, size, MADV_WIPEONFORK) != 0) {
        munmap(memory, size);
        return NULL;
    }
    /* Argument areas come from the top, and are mostly not used in full. */
    if (shared)
        madvise(memory, size - size / 4, MADV_HUGEPAGE);
    else
        madvise(memory, size, MADV_NOHUGEPAGE);
    return memory;
}

/*
 * The space that all others grow from: the gate, and the system pages of all
 * vCPUs that there may ever be. It never changes, as small guests have copies
 * of its tables; and a full arena does not keep a vCPU from being made.
 */
static enum kaon_status make_base(struct kvm_machine *m, uint32_t vcpus_max,
                                  struct kaon_error *err)
{
    uint64_t gate = kaon__arena_page(&m->arena);
    uint64_t system = kaon__arena_run(&m->arena, vcpus_max);
    unsigned char *page;

    m->base_root = kaon__paging_create(&m->arena, 0);
    if (!gate || !system || !m->base_root ||
        !kaon__paging_map(&m->arena, m->base_root, KAON_GATE_ADDRESS, gate, 1,
                          KAON_PROTECT_EXECUTE, false) ||
        !kaon__paging_map(&m->arena, m->base_root, kaon__kvm_system_address(0),
                          system, vcpus_max,
                          KAON_PROTECT_WRITE | KAON_PROTECT_EXECUTE, true))
        return kaon__fail(err, KAON_ENOMEM,
                          "memory_bytes is too small for a domain's tables");
    page = kaon__arena_at(&m->arena, gate);
    memcpy(page, kaon__gate_kvm, (size_t)(kaon__gate_kvm_end - kaon__gate_kvm));
    m->gate = page;
    m->system_pages = kaon__arena_at(&m->arena, system);
    return KAON_OK;
}

/*
 * Where KVM shadows page tables it keeps at most 2 % of memory's pages as
 * shadow pages: too few for a domain full of sandboxes, and it thrashes
 * silently. This is a bound on what it may use, not a reservation.
 */
static int raise_shadow_limit(const struct kvm_machine *m)
{
    return ioctl(m->vm, KVM_SET_NR_MMU_PAGES,
                 (unsigned long)(m->arena.size / KAON_PAGE_SIZE));
}

/* Gives the VM its arena, if it does not have it. */
static enum kaon_status give_arena(struct kvm_machine *m,
                                   struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    pthread_mutex_lock(&m->lock);
    if (atomic_load(&m->arena_absent) &&
        set_slot(m, ARENA_SLOT, ARENA_PHYSICAL - m->rider,
                 m->arena.base - m->rider, m->arena.size + m->rider, 0) < 0)
        status = fail_kvm(err, "memory for a domain");
    else
        atomic_store(&m->arena_absent, false);
    pthread_mutex_unlock(&m->lock);
    return status;
}

static enum kaon_status make_vm(struct kvm_machine *m, struct kaon_error *err)
{
    int kvm = -1;
    enum kaon_status status = open_kvm(&kvm, err);

    if (status)
        return status;
    do
        m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    while (m->vm < 0 && errno == EINTR);
    if (m->vm < 0)
        status = fail_kvm(err, "KVM_CREATE_VM");
    close(kvm);
    return status;
}

static enum kaon_status machine_create(struct kaon_machine **out,
                                       const struct kaon_machine_config *config,
                                       struct kaon_error *err)
{
    struct kvm_machine *m = calloc(1, sizeof *m);
    enum kaon_status status;
    void *memory;

    if (!m)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a domain");
    status = make_vm(m, err);
    if (status)
        goto free_machine;
    memory = reserve(config->memory_bytes, config->shared);
    if (!memory) {
        status = kaon__fail_errno(
            err, KAON_ENOMEM,
            "cannot reserve %llu MiB for a domain: lower memory_bytes, or the "
            "sandbox's heap_bytes, or raise `ulimit -v`",
            (unsigned long long)config->memory_bytes >> 20);
        goto close_vm;
    }
    kaon__arena_init(&m->arena, memory, config->memory_bytes, ARENA_PHYSICAL);
    pthread_mutex_init(&m->lock, NULL);
    kaon__kick_init(&m->kick, config->kick_signal);
    m->shared = config->shared;
    m->machine.backend = &kaon__backend_kvm;
    m->machine.arena = &m->arena;
    m->next_slot = ARENA_SLOT + 1;
    m->attach_from =
        (ARENA_PHYSICAL + config->memory_bytes + ATTACH_ALIGN - 1) &
        -ATTACH_ALIGN;
    atomic_init(&m->arena_absent, true);

    if (config->shared && raise_shadow_limit(m) < 0) {
        status = fail_kvm(err, "KVM_SET_NR_MMU_PAGES");
        goto free_arena;
    }
    status = make_base(m, config->vcpus_max, err);
    if (status)
        goto free_arena;
    *out = &m->machine;
    return KAON_OK;

free_arena:
    pthread_mutex_destroy(&m->lock);
    kaon__arena_finish(&m->arena);
    munmap(memory, config->memory_bytes);
close_vm:
    close(m->vm);
free_machine:
    free(m);
    return status;
}

/* The parent shares vCPUs and memory: do not touch them. */
static enum kaon_status machine_check(struct kaon_machine *machine,
                                      struct kaon_error *err)
{
    if (*kvm_machine(machine)->gate)
        return KAON_OK;
    return kaon__fail(err, KAON_EBACKEND,
                      "the VM belongs to another process: after fork(), make "
                      "new sandboxes in the child");
}

static void free_attachments(struct attachment *list)
{
    while (list) {
        struct attachment *attachment = list;

        list = attachment->next;
        free(attachment);
    }
}

static void machine_destroy(struct kaon_machine *machine)
{
    struct kvm_machine *m = kvm_machine(machine);

    free_attachments(m->attached);
    free_attachments(m->spare);
    kaon__kick_finish(&m->kick);
    close(m->vm);
    munmap(m->arena.base - m->rider, m->arena.size + m->rider);
    kaon__arena_finish(&m->arena);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/*
 * KVM takes 20 us for each memslot, and at times milliseconds. So what a VM of
 * one sandbox is given before its first vCPU is mapped right before the arena,
 * if nothing else is there, and is in its memslot. That this one can be
 * written is no matter: no table lets a guest write there, nor does the
 * mapping.
 */
static bool ride(struct kvm_machine *m, const struct kaon_host_memory *memory,
                 uint64_t *physical)
{
    unsigned char *before = m->arena.base - memory->size;
    void *mapped;

    if (m->shared || m->rider || !atomic_load(&m->arena_absent) ||
        memory->writable || memory->size > RIDE_MAX)
        return false;
    mapped =
        mmap(before, memory->size, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE,
             memory->fd, (off_t)memory->offset);
    if (mapped == MAP_FAILED)
        return false;
    if (mapped != before) { /* it was mapped by a kernel before 4.17 */
        munmap(mapped, memory->size);
        return false;
    }
    m->rider = memory->size;
    *physical = ARENA_PHYSICAL - m->rider;
    return true;
}

/* It stays in the memslot, but nothing is there any more. */
static bool alight(struct kvm_machine *m)
{
    return mprotect(m->arena.base - m->rider, m->rider, PROT_NONE) == 0;
}

/* The first place between what is attached that is large enough: where in the
 * list it is, and its physical address. */
static struct attachment **find_room(struct kvm_machine *m, uint64_t size,
                                     uint64_t *physical)
{
    struct attachment **at = &m->attached;

    *physical = m->attach_from;
    while (*at && (*at)->physical - *physical < size) {
        *physical = (*at)->physical + (*at)->size;
        at = &(*at)->next;
    }
    return at;
}

/* With a slot's number, in no list. */
static struct attachment *take_attachment(struct kvm_machine *m)
{
    struct attachment *attachment = m->spare;

    if (attachment) {
        m->spare = attachment->next;
        return attachment;
    }
    attachment = calloc(1, sizeof *attachment);
    if (attachment)
        attachment->slot = m->next_slot++;
    return attachment;
}

static void spare_attachment(struct kvm_machine *m,
                             struct attachment *attachment)
{
    attachment->next = m->spare;
    m->spare = attachment;
}

/* The lock is held. */
static enum kaon_status attach(struct kvm_machine *m,
                               const struct kaon_host_memory *memory,
                               uint64_t *physical, struct kaon_error *err)
{
    uint32_t flags = memory->writable ? 0 : KVM_MEM_READONLY;
    uint64_t room = (memory->size + ATTACH_ALIGN - 1) & -ATTACH_ALIGN;
    struct attachment **at = find_room(m, room, physical);
    struct attachment *attachment;

    if (room > facts.cpu.physical_end ||
        *physical > facts.cpu.physical_end - room)
        return kaon__fail(err, KAON_ENOMEM,
                          "the domain's VM has no place for %llu MiB more: its "
                          "CPU addresses %llu GiB",
                          (unsigned long long)room >> 20,
                          (unsigned long long)facts.cpu.physical_end >> 30);
    attachment = take_attachment(m);
    if (!attachment)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a memslot");
    if (set_slot(m, attachment->slot, *physical, memory->at, memory->size,
                 flags) < 0) {
        enum kaon_status status = fail_kvm(err, "one more memslot");

        spare_attachment(m, attachment);
        return status;
    }
    attachment->physical = *physical;
    attachment->size = room;
    attachment->next = *at;
    *at = attachment;
    return KAON_OK;
}

static enum kaon_status machine_attach(struct kaon_machine *machine,
                                       const struct kaon_host_memory *memory,
                                       uint64_t *physical,
                                       struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);
    enum kaon_status status;
    uint64_t found;

    pthread_mutex_lock(&m->lock);
    status = ride(m, memory, &found) ? KAON_OK : attach(m, memory, &found, err);
    if (!status)
        *physical = found;
    pthread_mutex_unlock(&m->lock);
    return status;
}

static bool detach(struct kvm_machine *m, uint64_t physical)
{
    struct attachment **at = &m->attached, *attachment;

    while ((*at)->physical != physical)
        at = &(*at)->next;
    attachment = *at;
    if (set_slot(m, attachment->slot, physical, NULL, 0, 0) < 0)
        return false;
    *at = attachment->next;
    spare_attachment(m, attachment);
    return true;
}

/*
 * When a memslot goes, KVM drops what any vCPU and any shadow table knows of
 * it, and more, while others run. So its place may serve for something else.
 */
static enum kaon_status machine_detach(struct kaon_machine *machine,
                                       uint64_t physical,
                                       struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);
    bool done;

    pthread_mutex_lock(&m->lock);
    done = physical < ARENA_PHYSICAL ? alight(m) : detach(m, physical);
    pthread_mutex_unlock(&m->lock);
    return done ? KAON_OK : fail_kvm(err, "to take a memslot away");
}

static void discard(struct kaon_machine *machine, uint64_t physical,
                    uint64_t pages)
{
    void *at = kaon__arena_at(machine->arena, physical);
    size_t size = pages * KAON_PAGE_SIZE;

    if (madvise(at, size, MADV_DONTNEED) != 0)
        memset(at, 0, size);
}

/* Should the second half fail, who runs next tries it again. */
static enum kaon_status machine_reclaim(struct kaon_machine *machine,
                                        struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);

    if (!atomic_load(&m->arena_absent) &&
        set_slot(m, ARENA_SLOT, ARENA_PHYSICAL - m->rider, NULL, 0, 0) < 0)
        return fail_kvm(err, "to take a domain's memory away");
    atomic_store(&m->arena_absent, true);
    return give_arena(m, err);
}

/* ---- Spaces ------------------------------------------------------------ */

/*
 * A machine that is not shared has one sandbox: its one space is the base
 * itself, which saves it five pages of tables.
 */

static enum kaon_status fail_arena(struct kaon_error *err)
{
    return kaon__fail(err, KAON_ENOMEM,
                      "the domain's memory is used up: raise memory_bytes, or "
                      "destroy sandboxes");
}

static enum kaon_status space_create(struct kaon_machine *machine,
                                     struct kaon_space *out,
                                     struct kaon_space parent,
                                     struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);
    uint64_t root = m->base_root;

    if (m->shared)
        root = kaon__paging_create(&m->arena, parent.root ? parent.root : root);
    if (!root)
        return fail_arena(err);
    out->root = root;
    return KAON_OK;
}

static enum kaon_status space_map(struct kaon_machine *machine,
                                  struct kaon_space space, uint64_t address,
                                  uint64_t physical, uint64_t pages,
                                  unsigned protection, struct kaon_error *err)
{
    if (!kaon__paging_map(machine->arena, space.root, address, physical, pages,
                          protection, false))
        return fail_arena(err);
    return KAON_OK;
}

static void space_unmap(struct kaon_machine *machine, struct kaon_space space,
                        uint64_t address, uint64_t pages)
{
    kaon__paging_unmap(machine->arena, space.root, address, pages);
}

static bool space_look(struct kaon_machine *machine, struct kaon_space space,
                       uint64_t address, uint64_t *physical,
                       unsigned *protection)
{
    return kaon__paging_look(machine->arena, space.root, address, physical,
                             protection);
}

static enum kaon_status space_seal(struct kaon_machine *machine,
                                   struct kaon_space space,
                                   struct kaon_error *err)
{
    (void)machine; /* its tables are all there is to it */
    (void)space;
    (void)err;
    return KAON_OK;
}

static void space_destroy(struct kaon_machine *machine, struct kaon_space space)
{
    if (space.root && kvm_machine(machine)->shared)
        kaon__paging_destroy(machine->arena, space.root);
}

/* ---- vCPUs ------------------------------------------------------------- */

/* What SYNC_REGS cannot carry. */
static enum kaon_status set_up(const struct kaon_vcpu *vcpu,
                               struct kaon_error *err)
{
    const struct kvm_xcrs xcrs = {
        .nr_xcrs = 1,
        .xcrs[0] = { .xcr = 0, .value = facts.cpu.xcr0 },
    };
    /* PVM ignores EFER.SCE and jumps to LSTAR, at CPL 3. */
    union {
        struct kvm_msrs head;
        unsigned char
            room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
    } msrs = { .head.nmsrs = 1 };

    msrs.head.entries[0] = (struct kvm_msr_entry){
        .index = MSR_LSTAR,
        .data = KAON_GATE_ADDRESS + KAON_GATE_SYSCALL,
    };

    if (ioctl(vcpu->fd, KVM_SET_CPUID2, &facts.cpu.cpuid.head) < 0)
        return fail_kvm(err, "KVM_SET_CPUID2");
    if (facts.cpu.xcr0 && ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs) < 0)
        return fail_kvm(err, "KVM_SET_XCRS");
    if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) != 1)
        return fail_kvm(err, "KVM_SET_MSRS");
    return KAON_OK;
}

static enum kaon_status vcpu_create(struct kaon_vcpu **out,
                                    struct kaon_machine *machine,
                                    uint32_t index, struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);
    struct kaon_vcpu *vcpu;
    enum kaon_status status = give_arena(m, err);

    if (status)
        return status;
    vcpu = calloc(1, sizeof *vcpu);
    if (!vcpu)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a vCPU");
    vcpu->machine = m;
    vcpu->fd = ioctl(m->vm, KVM_CREATE_VCPU, (unsigned long)m->next_vcpu);
    if (vcpu->fd >= 0)
        m->next_vcpu++;
    if (vcpu->fd < 0) {
        status = fail_kvm(err, "KVM_CREATE_VCPU");
        goto free_vcpu;
    }
    vcpu->run = mmap(NULL, facts.run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                     vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        status = fail_kvm(err, "to map a vCPU's state");
        goto close_fd;
    }
    status = set_up(vcpu, err);
    if (status)
        goto unmap_run;
    vcpu->system_page = m->system_pages + index * KAON_PAGE_SIZE;
    kaon__kvm_system_page(vcpu->system_page, kaon__kvm_system_address(index));
    kaon__kvm_sregs(&vcpu->sregs, &facts.cpu, kaon__kvm_system_address(index));
    vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    *out = vcpu;
    return KAON_OK;

unmap_run:
    munmap(vcpu->run, facts.run_size);
close_fd:
    close(vcpu->fd);
free_vcpu:
    free(vcpu);
    return status;
}

static void vcpu_destroy(struct kaon_vcpu *vcpu)
{
    munmap(vcpu->run, facts.run_size);
    close(vcpu->fd);
    free(vcpu);
}

static void vcpu_bind(struct kaon_vcpu *vcpu)
{
    vcpu->thread = pthread_self();
    kaon__kick_admit(&vcpu->machine->kick);
}

/*
 * Completes what an exit left pending. A guest's `in`, say, would else write
 * its result into the registers of whoever is entered next.
 */
static void settle(struct kaon_vcpu *vcpu)
{
    vcpu->run->immediate_exit = 1;
    ioctl(vcpu->fd, KVM_RUN, 0);
    vcpu->run->immediate_exit = 0;
}

static void stopped(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                    const char *reason)
{
    settle(vcpu);
    exit->kind = KAON_EXIT_STOPPED;
    exit->reason = reason;
}

/*
 * The special registers are wanted after a fault only: to copy them out at
 * each exit would cost every call 700 instructions of the kernel.
 */
static enum kaon_status on_fault(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                                 struct kaon_error *err)
{
    struct kvm_regs *regs = &vcpu->run->s.regs.regs;
    struct kaon_kvm_frame frame;

    if (ioctl(vcpu->fd, KVM_GET_SREGS, &vcpu->at_fault) < 0)
        return fail_kvm(err, "KVM_GET_SREGS");
    exit->kind = KAON_EXIT_FAULT;
    exit->vector = vcpu->run->io.port - KAON_KVM_FAULT_PORT;
    exit->address = vcpu->at_fault.cr2;
    kaon__kvm_frame(&frame, vcpu->system_page, exit->vector);
    exit->error_code = (uint32_t)frame.error_code;
    regs->rip = frame.rip;
    regs->rsp = frame.rsp;
    regs->rflags = frame.rflags;
    /* PVM took a `syscall` to the gate, its address in rcx: put it back. */
    if (exit->vector == KAON_KVM_INVALID_OPCODE &&
        regs->rip == KAON_GATE_ADDRESS + KAON_GATE_SYSCALL)
        regs->rip = regs->rcx - 2;
    if (exit->vector == KAON_KVM_INVALID_OPCODE &&
        frame.rip == KAON_GATE_ADDRESS + KAON_GATE_ENTRY)
        return kaon__fail(err, KAON_EBACKEND,
                          "this CPU lacks FSGSBASE, which Intel's have since "
                          "2012 and AMD's since 2017; `kaon doctor` tells "
                          "more");
    return KAON_OK;
}

static enum kaon_status on_port(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                                struct kaon_error *err)
{
    const struct kvm_run *run = vcpu->run;
    bool out = run->io.direction == KVM_EXIT_IO_OUT && run->io.count == 1;

    /* With the trap flag set a trap is due, which the next borrower of the
     * vCPU is not to meet (VMX would not even enter): it comes first. */
    if (out && run->io.port == KAON_GATE_PORT && run->io.size == 4)
        exit->kind = run->s.regs.regs.rflags & RFLAGS_TRAP ? KAON_EXIT_KICKED
                                                           : KAON_EXIT_GATE;
    else if (out && run->io.port >= KAON_KVM_FAULT_PORT &&
             run->io.port < KAON_KVM_FAULT_PORT + KAON_KVM_VECTORS)
        return on_fault(vcpu, exit, err);
    else
        stopped(vcpu, exit, "it used an I/O instruction of its own");
    return KAON_OK;
}

static enum kaon_status on_error(struct kaon_exit *exit, struct kaon_error *err)
{
    switch (errno) {
    case EINTR:
    case EAGAIN: exit->kind = KAON_EXIT_KICKED; return KAON_OK;
    case EFAULT:
        exit->kind = KAON_EXIT_MEMORY;
        exit->reason = KAON_NO_HOST_PAGE;
        return KAON_OK;
    default: return fail_kvm(err, "KVM_RUN");
    }
}

static enum kaon_status run(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                            struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    *exit = (struct kaon_exit){ 0 };
    if (atomic_load_explicit(&vcpu->machine->arena_absent,
                             memory_order_relaxed)) {
        status = give_arena(vcpu->machine, err);
        if (status) {
            vcpu->last = KAON_EXIT_STOPPED;
            return status;
        }
    }
    if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
        status = on_error(exit, err);
    } else {
        switch (vcpu->run->exit_reason) {
        case KVM_EXIT_IO: status = on_port(vcpu, exit, err); break;
        case KVM_EXIT_INTR: exit->kind = KAON_EXIT_KICKED; break;
        case KVM_EXIT_SHUTDOWN:
            stopped(vcpu, exit, "its CPU shut down (a triple fault)");
            break;
        case KVM_EXIT_MMIO:
            stopped(vcpu, exit, "it touched memory that does not exist");
            break;
        case KVM_EXIT_INTERNAL_ERROR:
            stopped(vcpu, exit, "KVM cannot emulate an instruction of it");
            break;
        case KVM_EXIT_FAIL_ENTRY:
            status = kaon__fail(err, KAON_EBACKEND,
                                "the CPU refused to enter the guest (reason "
                                "%#llx); `kaon doctor` tells more",
                                (unsigned long long)vcpu->run->fail_entry
                                    .hardware_entry_failure_reason);
            break;
        default:
            stopped(vcpu, exit, "its CPU stopped for a reason unknown here");
        }
    }
    vcpu->last = status ? KAON_EXIT_STOPPED : exit->kind;
    return status;
}

/*
 * Sends the special registers along. KVM flushes the TLB when CR3 changes;
 * where it must forget what it knows of a space and the root is the same, a
 * bit of CR3 that does not matter to it changes instead.
 */
static void load_sregs(struct kaon_vcpu *vcpu, uint64_t cr3)
{
    vcpu->run->s.regs.sregs = vcpu->sregs;
    vcpu->run->s.regs.sregs.cr3 = cr3;
    vcpu->loaded_cr3 = cr3;
    vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

/*
 * A kick may have come while the CPU delivered an exception: KVM would deliver
 * it again, to whoever is entered next.
 */
static void drop_events(struct kaon_vcpu *vcpu)
{
    memset(&vcpu->run->s.regs.events, 0, sizeof vcpu->run->s.regs.events);
    vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
}

static enum kaon_status vcpu_enter(struct kaon_vcpu *vcpu,
                                   struct kaon_space space, bool fresh,
                                   const struct kaon_entry *entry,
                                   const struct kaon_thread_pointers *pointers,
                                   struct kaon_exit *exit,
                                   struct kaon_error *err)
{
    bool same = (vcpu->loaded_cr3 & ~CR3_PWT) == space.root;

    vcpu->run->s.regs.regs = (struct kvm_regs){
        .rip = KAON_GATE_ADDRESS + KAON_GATE_ENTRY,
        .rsp = entry->sp,
        .rdi = entry->argument,
        .r8 = pointers->fs_base,
        .r9 = pointers->gs_base,
        .r11 = entry->ip,
        .rflags = 2,
    };
    if (same && fresh && vcpu->last == KAON_EXIT_GATE)
        vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    else
        load_sregs(vcpu,
                   same && !fresh ? vcpu->loaded_cr3 ^ CR3_PWT : space.root);
    if (vcpu->last == KAON_EXIT_KICKED)
        drop_events(vcpu);
    return run(vcpu, exit, err);
}

static enum kaon_status vcpu_resume(struct kaon_vcpu *vcpu,
                                    struct kaon_exit *exit,
                                    struct kaon_error *err)
{
    if (vcpu->last == KAON_EXIT_FAULT) {
        load_sregs(vcpu, vcpu->loaded_cr3);
        vcpu->run->s.regs.sregs.fs.base = vcpu->at_fault.fs.base;
        vcpu->run->s.regs.sregs.gs.base = vcpu->at_fault.gs.base;
    }
    return run(vcpu, exit, err);
}

static void vcpu_registers(const struct kaon_vcpu *vcpu,
                           struct kaon_registers *registers)
{
    const struct kvm_regs *r = &vcpu->run->s.regs.regs;

    *registers = (struct kaon_registers){
        r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi,
        r->rbp, r->rsp, r->r8,  r->r9,  r->r10, r->r11,
        r->r12, r->r13, r->r14, r->r15, r->rip, r->rflags,
    };
}

/* As the gate's leave code tells them. */
static struct kaon_thread_pointers vcpu_pointers(const struct kaon_vcpu *vcpu)
{
    const struct kvm_regs *r = &vcpu->run->s.regs.regs;

    return (struct kaon_thread_pointers){ r->r8, r->r9 };
}

/* ---- Kicks ------------------------------------------------------------- */

static enum kaon_status kick_ready(struct kaon_machine *machine,
                                   struct kaon_error *err)
{
    return kaon__kick_install(&kvm_machine(machine)->kick, err);
}

/*
 * A vCPU that is about to run sees immediate_exit; one that runs is stopped
 * by the signal. KVM looks at the former before the latter can get lost.
 */
static void vcpu_kick(struct kaon_vcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    kaon__kick_send(&vcpu->machine->kick, vcpu->thread);
}

static void vcpu_unkick(struct kaon_vcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

const struct kaon_backend kaon__backend_kvm = {
    .name = "kvm",
    .exit_stops_guest = true,
    .spaces_grow = true,
    .machine_create = machine_create,
    .machine_destroy = machine_destroy,
    .machine_check = machine_check,
    .machine_attach = machine_attach,
    .machine_detach = machine_detach,
    .discard = discard,
    .machine_reclaim = machine_reclaim,
    .space_create = space_create,
    .space_map = space_map,
    .space_unmap = space_unmap,
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

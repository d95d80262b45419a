/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the host's memory a VM has: memslots.
 *
 * Owns the arena's memory. It is the first memslot; each attached memory is one
 * more, where there is room behind it, but for one that rides with the arena.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>

#include "backend/kvm/inside.h"
#include "host/error.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#define HUGE_PAGE (UINT64_C(2) << 20)
#define ARENA_SLOT 0
#define ATTACH_ALIGN HUGE_PAGE

/* What is larger is better shown where the host has it already. */
#define RIDE_MAX (UINT64_C(64) * KAON_PAGE_SIZE)

/* Memory that is a memslot; or a number that waits for one. */
struct attachment {
    struct attachment *next;
    uint64_t physical, size;
    uint32_t slot;
};

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

/* Of the arena of a domain of its own: what its machine, its view and the
 * sandbox's first pages take at least, before anything is called. */
#define FIRST_PAGES 8

/*
 * Reserves the arena. A shared domain wants huge pages; in a small one, one
 * touched page would cost 2 MiB. (Advice, so failure is none.) A child of
 * fork() sees zeroes: it can neither run nor read guests. What a small one uses
 * for certain comes at once, in place of a fault for each page, and one more
 * for each that is read before it is written.
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
    if (shared) {
        madvise(memory, size - size / 4, MADV_HUGEPAGE);
    } else {
        madvise(memory, size, MADV_NOHUGEPAGE);
        madvise(memory, FIRST_PAGES * KAON_PAGE_SIZE, MADV_POPULATE_WRITE);
    }
    return memory;
}

enum kaon_status kaon__kvm_memory_init(struct kvm_machine *m, uint64_t size,
                                       struct kaon_error *err)
{
    void *memory = reserve(size, m->shared);

    if (!memory)
        return kaon__fail_errno(
            err, KAON_ENOMEM,
            "cannot reserve %llu MiB for a domain: lower memory_bytes, or the "
            "sandbox's heap_bytes, or raise `ulimit -v`",
            (unsigned long long)size >> 20);
    kaon__arena_init(&m->arena, memory, size, ARENA_PHYSICAL);
    m->machine.arena = &m->arena;
    m->next_slot = ARENA_SLOT + 1;
    m->attach_from = (ARENA_PHYSICAL + size + ATTACH_ALIGN - 1) & -ATTACH_ALIGN;
    atomic_init(&m->arena_absent, true);
    return KAON_OK;
}

static void free_attachments(struct attachment *list)
{
    while (list) {
        struct attachment *attachment = list;

        list = attachment->next;
        free(attachment);
    }
}

void kaon__kvm_memory_finish(struct kvm_machine *m)
{
    free_attachments(m->attached);
    free_attachments(m->spare);
    munmap(m->arena.base - m->rider, m->arena.size + m->rider);
    kaon__arena_finish(&m->arena);
}

enum kaon_status kaon__kvm_give_arena(struct kvm_machine *m,
                                      struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    pthread_mutex_lock(&m->lock);
    if (atomic_load(&m->arena_absent) &&
        set_slot(m, ARENA_SLOT, ARENA_PHYSICAL - m->rider,
                 m->arena.base - m->rider, m->arena.size + m->rider, 0) < 0)
        status = kaon__kvm_fail(err, "memory for a domain");
    else
        atomic_store(&m->arena_absent, false);
    pthread_mutex_unlock(&m->lock);
    return status;
}

static void *map_before(const struct kvm_machine *m,
                        const struct kaon_host_memory *memory)
{
    void *at = m->arena.base - memory->size;
    void *mapped;

    if (memory->fd >= 0)
        return mmap(at, memory->size, PROT_READ,
                    MAP_SHARED | MAP_FIXED_NOREPLACE, memory->fd,
                    (off_t)memory->offset);
    mapped =
        mmap(at, memory->size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE,
             -1, 0);
    if (mapped == at)
        memcpy(mapped, memory->at, memory->size);
    return mapped;
}

/*
 * KVM takes 20 us for each memslot, and at times milliseconds. So what a VM of
 * one sandbox is given before its first vCPU is mapped right before the arena,
 * if nothing else is there, and is in its memslot. That this one can be
 * written is no matter: no table lets a guest write there, and the mapping does
 * only if it is of a copy that is this VM's alone.
 */
static bool ride(struct kvm_machine *m, const struct kaon_host_memory *memory,
                 uint64_t *physical)
{
    unsigned char *before = m->arena.base - memory->size;
    void *mapped;

    if (m->shared || m->rider || !atomic_load(&m->arena_absent) ||
        memory->writable || memory->size > RIDE_MAX)
        return false;
    mapped = map_before(m, memory);
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
    uint64_t end = kaon__kvm_facts()->cpu.physical_end;
    struct attachment **at = find_room(m, room, physical);
    struct attachment *attachment;

    if (room > end || *physical > end - room)
        return kaon__fail(err, KAON_ENOMEM,
                          "the domain's VM has no place for %llu MiB more: its "
                          "CPU addresses %llu GiB",
                          (unsigned long long)room >> 20,
                          (unsigned long long)end >> 30);
    attachment = take_attachment(m);
    if (!attachment)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a memslot");
    if (set_slot(m, attachment->slot, *physical, memory->at, memory->size,
                 flags) < 0) {
        enum kaon_status status = kaon__kvm_fail(err, "one more memslot");

        spare_attachment(m, attachment);
        return status;
    }
    attachment->physical = *physical;
    attachment->size = room;
    attachment->next = *at;
    *at = attachment;
    return KAON_OK;
}

enum kaon_status kaon__kvm_machine_attach(struct kaon_machine *machine,
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
enum kaon_status kaon__kvm_machine_detach(struct kaon_machine *machine,
                                          uint64_t physical,
                                          struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);
    bool done;

    pthread_mutex_lock(&m->lock);
    done = physical < ARENA_PHYSICAL ? alight(m) : detach(m, physical);
    pthread_mutex_unlock(&m->lock);
    return done ? KAON_OK : kaon__kvm_fail(err, "to take a memslot away");
}

void kaon__kvm_discard(struct kaon_machine *machine, uint64_t physical,
                       uint64_t pages)
{
    void *at = kaon__arena_at(machine->arena, physical);
    size_t size = pages * KAON_PAGE_SIZE;

    if (madvise(at, size, MADV_DONTNEED) != 0)
        memset(at, 0, size);
}

/* Should the second half fail, who runs next tries it again. */
enum kaon_status kaon__kvm_machine_reclaim(struct kaon_machine *machine,
                                           struct kaon_error *err)
{
    struct kvm_machine *m = kvm_machine(machine);

    if (!atomic_load(&m->arena_absent) &&
        set_slot(m, ARENA_SLOT, ARENA_PHYSICAL - m->rider, NULL, 0, 0) < 0)
        return kaon__kvm_fail(err, "to take a domain's memory away");
    atomic_store(&m->arena_absent, true);
    return kaon__kvm_give_arena(m, err);
}

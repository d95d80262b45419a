/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs and their spaces. Owns the VM's descriptor, and the tables of all spaces
 * (through paging_x86_64.c). Makes no system call in the space functions.
 *
 * Every VM's base space shows the gate and, to CPL 0 only, the vCPUs' system
 * pages; every other space grows from it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "backend/kvm/inside.h"
#include "backend/paging_x86_64.h"
#include "gate/gate.h"
#include "host/error.h"

/* ---- Machines ---------------------------------------------------------- */

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

static enum kaon_status make_vm(struct kvm_machine *m, struct kaon_error *err)
{
    int kvm = -1;
    enum kaon_status status = kaon__kvm_open(&kvm, err);

    if (status)
        return status;
    do
        m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    while (m->vm < 0 && errno == EINTR);
    if (m->vm < 0)
        status = kaon__kvm_fail(err, "KVM_CREATE_VM");
    close(kvm);
    return status;
}

enum kaon_status
kaon__kvm_machine_create(struct kaon_machine **out,
                         const struct kaon_machine_config *config,
                         struct kaon_error *err)
{
    struct kvm_machine *m = calloc(1, sizeof *m);
    enum kaon_status status;

    if (!m)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a domain");
    m->machine.backend = &kaon__backend_kvm;
    m->shared = config->shared;
    status = make_vm(m, err);
    if (status)
        goto free_machine;
    status = kaon__kvm_memory_init(m, config->memory_bytes, err);
    if (status)
        goto close_vm;
    m->machine.vcpus_stay = kaon__kvm_facts()->vcpus_stay;
    pthread_mutex_init(&m->lock, NULL);
    kaon__kick_init(&m->kick, config->kick_signal);
    if (config->shared && raise_shadow_limit(m) < 0)
        status = kaon__kvm_fail(err, "KVM_SET_NR_MMU_PAGES");
    else
        status = make_base(m, config->vcpus_max, err);
    if (status)
        goto finish_memory;
    *out = &m->machine;
    return KAON_OK;

finish_memory:
    pthread_mutex_destroy(&m->lock);
    kaon__kvm_memory_finish(m);
close_vm:
    close(m->vm);
free_machine:
    free(m);
    return status;
}

/* The parent shares vCPUs and memory: do not touch them. */
enum kaon_status kaon__kvm_machine_check(struct kaon_machine *machine,
                                         struct kaon_error *err)
{
    if (*kvm_machine(machine)->gate)
        return KAON_OK;
    return kaon__fail(err, KAON_EBACKEND,
                      "the VM belongs to another process: after fork(), make "
                      "new sandboxes in the child");
}

void kaon__kvm_machine_destroy(struct kaon_machine *machine)
{
    struct kvm_machine *m = kvm_machine(machine);

    kaon__kick_finish(&m->kick);
    close(m->vm);
    kaon__kvm_memory_finish(m);
    pthread_mutex_destroy(&m->lock);
    free(m);
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

enum kaon_status kaon__kvm_space_create(struct kaon_machine *machine,
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

enum kaon_status kaon__kvm_space_map(struct kaon_machine *machine,
                                     struct kaon_space space, uint64_t address,
                                     uint64_t physical, uint64_t pages,
                                     unsigned protection,
                                     struct kaon_error *err)
{
    if (!kaon__paging_map(machine->arena, space.root, address, physical, pages,
                          protection, false))
        return fail_arena(err);
    return KAON_OK;
}

void kaon__kvm_space_unmap(struct kaon_machine *machine,
                           struct kaon_space space, uint64_t address,
                           uint64_t pages)
{
    kaon__paging_unmap(machine->arena, space.root, address, pages);
}

bool kaon__kvm_space_look(struct kaon_machine *machine, struct kaon_space space,
                          uint64_t address, uint64_t *physical,
                          unsigned *protection)
{
    return kaon__paging_look(machine->arena, space.root, address, physical,
                             protection);
}

enum kaon_status kaon__kvm_space_seal(struct kaon_machine *machine,
                                      struct kaon_space space,
                                      struct kaon_error *err)
{
    (void)machine; /* its tables are all there is to it */
    (void)space;
    (void)err;
    return KAON_OK;
}

void kaon__kvm_space_destroy(struct kaon_machine *machine,
                             struct kaon_space space)
{
    if (space.root && kvm_machine(machine)->shared)
        kaon__paging_destroy(machine->arena, space.root);
}

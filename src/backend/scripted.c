/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripted backend. Owns the machine's memory and vCPUs.
 *
 * Spaces are page tables in the arena, as they are over KVM, so that what is
 * above the seam meets the same shortages. It is stricter than KVM where that
 * helps to find mistakes: breaking a rule of backend.h is an assertion.
 */
#include "backend/scripted.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backend/paging_x86_64.h"
#include "host/arena.h"
#include "host/domain.h"
#include "host/error.h"

#define ARENA_PHYSICAL UINT64_C(0x100000)
#define ATTACH_PHYSICAL (UINT64_C(1) << 40)
#define ATTACH_STEP (UINT64_C(1) << 32)
#define ATTACHED_MAX 1024
#define PAGE_FAULT 14

struct attached {
    const void *memory; /* NULL: none */
    bool writable;
    bool unmapped; /* some space showed it, and must not run before it goes */
};

struct scripted_machine {
    struct kaon_machine machine;
    struct kaon_arena arena;
    kaon_scripted_player player;
    void *user;
    struct attached attached[ATTACHED_MAX];
};

struct kaon_vcpu {
    struct scripted_machine *machine;
    struct kaon_scripted_guest guest;
    enum kaon_exit_kind last;
    bool bound;
    atomic_bool kicked;
};

static struct scripted_machine *scripted(struct kaon_machine *machine)
{
    return (struct scripted_machine *)machine;
}

/* ---- Machines ---------------------------------------------------------- */

static enum kaon_status machine_create(struct kaon_machine **out,
                                       const struct kaon_machine_config *config,
                                       struct kaon_error *err)
{
    struct scripted_machine *m = calloc(1, sizeof *m);
    void *memory = m ? calloc(1, config->memory_bytes) : NULL;

    if (!memory) {
        free(m);
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a machine");
    }
    kaon__arena_init(&m->arena, memory, config->memory_bytes, ARENA_PHYSICAL);
    m->machine.backend = &kaon__backend_scripted;
    m->machine.arena = &m->arena;
    *out = &m->machine;
    return KAON_OK;
}

static enum kaon_status machine_check(struct kaon_machine *machine,
                                      struct kaon_error *err)
{
    (void)machine;
    (void)err;
    return KAON_OK;
}

static void machine_destroy(struct kaon_machine *machine)
{
    struct scripted_machine *m = scripted(machine);

    free(m->arena.base);
    kaon__arena_finish(&m->arena);
    free(m);
}

static enum kaon_status machine_attach(struct kaon_machine *machine,
                                       const struct kaon_host_memory *memory,
                                       uint64_t *physical,
                                       struct kaon_error *err)
{
    struct scripted_machine *m = scripted(machine);
    unsigned i = 0;

    assert(memory->size <= ATTACH_STEP);
    while (i < ATTACHED_MAX && m->attached[i].memory)
        i++;
    if (i == ATTACHED_MAX)
        return kaon__fail(err, KAON_EBACKEND, "no room to attach more");
    *physical = ATTACH_PHYSICAL + i * ATTACH_STEP;
    m->attached[i] = (struct attached){ memory->at, memory->writable, false };
    return KAON_OK;
}

static struct attached *attached_at(struct scripted_machine *m,
                                    uint64_t physical)
{
    uint64_t i = (physical - ATTACH_PHYSICAL) / ATTACH_STEP;

    assert(i < ATTACHED_MAX && m->attached[i].memory);
    return &m->attached[i];
}

static enum kaon_status machine_detach(struct kaon_machine *machine,
                                       uint64_t physical,
                                       struct kaon_error *err)
{
    (void)err;
    *attached_at(scripted(machine), physical) = (struct attached){ 0 };
    return KAON_OK;
}

static enum kaon_status machine_reclaim(struct kaon_machine *machine,
                                        struct kaon_error *err)
{
    (void)machine;
    (void)err;
    return KAON_OK;
}

static void discard(struct kaon_machine *machine, uint64_t physical,
                    uint64_t pages)
{
    memset(kaon__arena_at(machine->arena, physical), 0, pages * KAON_PAGE_SIZE);
}

/* ---- Spaces ------------------------------------------------------------ */

static enum kaon_status fail_arena(struct kaon_error *err)
{
    return kaon__fail(err, KAON_ENOMEM,
                      "the scripted machine has no page left");
}

static enum kaon_status space_create(struct kaon_machine *machine,
                                     struct kaon_space *out,
                                     struct kaon_space parent,
                                     struct kaon_error *err)
{
    uint64_t root = kaon__paging_create(machine->arena, parent.root);

    if (!root)
        return fail_arena(err);
    out->root = root;
    return KAON_OK;
}

static bool space_look(struct kaon_machine *machine, struct kaon_space space,
                       uint64_t address, uint64_t *physical,
                       unsigned *protection)
{
    return kaon__paging_look(machine->arena, space.root, address, physical,
                             protection);
}

/* A guest may have run in it: told by the root's last entry, which is not
 * present, and of an address that no guest has. */
static uint64_t *seal_of(struct kaon_machine *machine, struct kaon_space space)
{
    return (uint64_t *)kaon__arena_at(machine->arena, space.root) + 511;
}

/* Where the host has a page of the arena, or of what is attached. */
static const unsigned char *page_at(const struct scripted_machine *m,
                                    uint64_t physical)
{
    if (physical < ATTACH_PHYSICAL)
        return kaon__arena_at(&m->arena, physical);
    physical -= ATTACH_PHYSICAL;
    return (const unsigned char *)m->attached[physical / ATTACH_STEP].memory +
           physical % ATTACH_STEP;
}

static bool is_copy(const struct scripted_machine *m, uint64_t old,
                    uint64_t physical)
{
    return memcmp(page_at(m, old), page_at(m, physical), KAON_PAGE_SIZE) == 0;
}

/* Only absent to present, or read-only to a writable copy of the same. Once
 * more is no change. */
static void check_growth(struct kaon_machine *machine, struct kaon_space space,
                         uint64_t address, uint64_t physical, uint64_t pages,
                         unsigned protection)
{
    const unsigned both = (unsigned)KAON_PROTECT_WRITE | KAON_PROTECT_EXECUTE;
    struct scripted_machine *m = scripted(machine);
    uint64_t old;
    unsigned before;

    assert((address | physical) % KAON_PAGE_SIZE == 0);
    assert(protection != both);
    for (uint64_t i = 0; i < pages; i++, physical += KAON_PAGE_SIZE) {
        bool present = space_look(machine, space, address + i * KAON_PAGE_SIZE,
                                  &old, &before);

        assert(physical < ATTACH_PHYSICAL ||
               (!attached_at(m, physical)->unmapped &&
                (!(protection & KAON_PROTECT_WRITE) ||
                 attached_at(m, physical)->writable)));
        assert(!present || !*seal_of(machine, space) ||
               (old == physical && before == protection) ||
               (!(before & KAON_PROTECT_WRITE) &&
                protection & KAON_PROTECT_WRITE && is_copy(m, old, physical)));
        (void)present;
        (void)m;
        (void)is_copy;
    }
}

static enum kaon_status space_map(struct kaon_machine *machine,
                                  struct kaon_space space, uint64_t address,
                                  uint64_t physical, uint64_t pages,
                                  unsigned protection, struct kaon_error *err)
{
    check_growth(machine, space, address, physical, pages, protection);
    if (!kaon__paging_map(machine->arena, space.root, address, physical, pages,
                          protection, false))
        return fail_arena(err);
    return KAON_OK;
}

static void space_unmap(struct kaon_machine *machine, struct kaon_space space,
                        uint64_t address, uint64_t pages)
{
    uint64_t physical;
    unsigned protection;

    for (uint64_t i = 0; i < pages; i++)
        if (space_look(machine, space, address + i * KAON_PAGE_SIZE, &physical,
                       &protection))
            attached_at(scripted(machine), physical)->unmapped = true;
    kaon__paging_unmap(machine->arena, space.root, address, pages);
}

static enum kaon_status space_seal(struct kaon_machine *machine,
                                   struct kaon_space space,
                                   struct kaon_error *err)
{
    (void)err;
    assert(space.root);
    *seal_of(machine, space) = 2;
    return KAON_OK;
}

static void space_destroy(struct kaon_machine *machine, struct kaon_space space)
{
    if (space.root)
        kaon__paging_destroy(machine->arena, space.root);
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
    vcpu->machine = scripted(machine);
    *out = vcpu;
    return KAON_OK;
}

static void vcpu_destroy(struct kaon_vcpu *vcpu)
{
    free(vcpu);
}

static void vcpu_bind(struct kaon_vcpu *vcpu)
{
    vcpu->bound = true;
}

static enum kaon_status play(struct kaon_vcpu *vcpu, struct kaon_exit *exit,
                             struct kaon_error *err)
{
    struct scripted_machine *m = vcpu->machine;
    enum kaon_status status = KAON_OK;

    assert(vcpu->bound);
    for (unsigned i = 0; i < ATTACHED_MAX; i++)
        assert(!m->attached[i].unmapped);
    *exit = (struct kaon_exit){ 0 };
    if (atomic_load(&vcpu->kicked))
        exit->kind = KAON_EXIT_KICKED;
    else
        status = m->player(&vcpu->guest, exit, m->user);
    vcpu->last = status ? KAON_EXIT_STOPPED : exit->kind;
    if (status)
        kaon__fail(err, status, "the player says that the host failed");
    return status;
}

static enum kaon_status vcpu_enter(struct kaon_vcpu *vcpu,
                                   struct kaon_space space, bool fresh,
                                   const struct kaon_entry *entry,
                                   const struct kaon_thread_pointers *pointers,
                                   struct kaon_exit *exit,
                                   struct kaon_error *err)
{
    vcpu->guest = (struct kaon_scripted_guest){
        .vcpu = vcpu,
        .machine = &vcpu->machine->machine,
        .space = space,
        .entry = *entry,
        .fresh = fresh,
        .registers = { .rip = entry->ip, .rsp = entry->sp },
        .pointers = *pointers,
    };
    return play(vcpu, exit, err);
}

static enum kaon_status vcpu_resume(struct kaon_vcpu *vcpu,
                                    struct kaon_exit *exit,
                                    struct kaon_error *err)
{
    assert(vcpu->last != KAON_EXIT_MEMORY && vcpu->last != KAON_EXIT_STOPPED);
    if (vcpu->last == KAON_EXIT_GATE)
        vcpu->guest.turn++;
    return play(vcpu, exit, err);
}

static void vcpu_registers(const struct kaon_vcpu *vcpu,
                           struct kaon_registers *registers)
{
    *registers = vcpu->guest.registers;
}

static struct kaon_thread_pointers vcpu_pointers(const struct kaon_vcpu *vcpu)
{
    return vcpu->guest.pointers;
}

static enum kaon_status kick_ready(struct kaon_machine *machine,
                                   struct kaon_error *err)
{
    (void)machine;
    (void)err;
    return KAON_OK;
}

static void vcpu_kick(struct kaon_vcpu *vcpu)
{
    atomic_store(&vcpu->kicked, true);
}

static void vcpu_unkick(struct kaon_vcpu *vcpu)
{
    atomic_store(&vcpu->kicked, false);
}

/* ---- For players ------------------------------------------------------- */

static bool allowed(unsigned protection, enum kaon_access access)
{
    switch (access) {
    case KAON_ACCESS_WRITE: return protection & KAON_PROTECT_WRITE;
    case KAON_ACCESS_EXECUTE: return protection & KAON_PROTECT_EXECUTE;
    case KAON_ACCESS_NONE:
    case KAON_ACCESS_READ: break;
    }
    return true;
}

void *kaon__scripted_at(const struct kaon_scripted_guest *guest,
                        uint64_t address, enum kaon_access access)
{
    const struct scripted_machine *m = scripted(guest->machine);
    uint64_t physical, within = address % KAON_PAGE_SIZE;
    unsigned protection;

    if (!space_look(guest->machine, guest->space, address, &physical,
                    &protection) ||
        !allowed(protection, access))
        return NULL;
    return (unsigned char *)(uintptr_t)page_at(m, physical) + within;
}

void kaon__scripted_fault(struct kaon_exit *exit, uint64_t address,
                          enum kaon_access access)
{
    exit->kind = KAON_EXIT_FAULT;
    exit->vector = PAGE_FAULT;
    exit->address = address;
    exit->error_code = 4u | (access == KAON_ACCESS_WRITE ? 2u : 0u) |
                       (access == KAON_ACCESS_EXECUTE ? 16u : 0u);
}

void kaon__scripted_leave(struct kaon_exit *exit)
{
    exit->kind = KAON_EXIT_GATE;
}

bool kaon__scripted_kicked(const struct kaon_scripted_guest *guest)
{
    return atomic_load(&guest->vcpu->kicked);
}

void kaon__scripted_spin(const struct kaon_scripted_guest *guest,
                         struct kaon_exit *exit)
{
    while (!kaon__scripted_kicked(guest))
        sched_yield();
    exit->kind = KAON_EXIT_KICKED;
}

enum kaon_status kaon__scripted_domain(struct kaon_domain **out,
                                       uint64_t memory_bytes,
                                       kaon_scripted_player player, void *user,
                                       struct kaon_error *err)
{
    const struct kaon_domain_opts opts = { .size = sizeof opts,
                                           .memory_bytes = memory_bytes };
    enum kaon_status status =
        kaon__domain_create_on(out, &kaon__backend_scripted, &opts, err);

    if (status)
        return status;
    scripted((*out)->machine)->player = player;
    scripted((*out)->machine)->user = user;
    return KAON_OK;
}

const struct kaon_backend kaon__backend_scripted = {
    .name = "scripted",
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the KVM backend share: device.c (what /dev/kvm says),
 * machine.c (VMs and spaces), memory.c (what of the host's memory a VM has)
 * and vcpu.c.
 */
#ifndef KAON_SRC_BACKEND_KVM_INSIDE_H
#define KAON_SRC_BACKEND_KVM_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/kick.h"
#include "backend/kvm/x86_64.h"
#include "host/arena.h"

#define ARENA_PHYSICAL (UINT64_C(2) << 20) /* not 0, as no page is there */

struct attachment;

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

static inline struct kvm_machine *kvm_machine(struct kaon_machine *machine)
{
    return (struct kvm_machine *)machine;
}

/* ---- The device -------------------------------------------------------- */

struct kaon_kvm_facts {
    size_t run_size; /* of a vCPU's state */
    bool vcpus_stay; /* see struct kaon_machine */
    struct kaon_kvm_cpu cpu;
};

/* A new descriptor of /dev/kvm; from then on there are facts. */
enum kaon_status kaon__kvm_open(int *out, struct kaon_error *err);
const struct kaon_kvm_facts *kaon__kvm_facts(void);

/* By errno, after what KVM refused to do. */
enum kaon_status kaon__kvm_fail(struct kaon_error *err, const char *what);

/* ---- Memory ------------------------------------------------------------ */

/* Reserves and initialises the arena; and gives it back, with what is attached,
 * when the VM is closed. */
enum kaon_status kaon__kvm_memory_init(struct kvm_machine *m, uint64_t size,
                                       struct kaon_error *err);
void kaon__kvm_memory_finish(struct kvm_machine *m);

/* Gives the VM its arena, if it does not have it. */
enum kaon_status kaon__kvm_give_arena(struct kvm_machine *m,
                                      struct kaon_error *err);

enum kaon_status kaon__kvm_machine_attach(struct kaon_machine *machine,
                                          const struct kaon_host_memory *memory,
                                          uint64_t *physical,
                                          struct kaon_error *err);
enum kaon_status kaon__kvm_machine_detach(struct kaon_machine *machine,
                                          uint64_t physical,
                                          struct kaon_error *err);
void kaon__kvm_discard(struct kaon_machine *machine, uint64_t physical,
                       uint64_t pages);
enum kaon_status kaon__kvm_machine_reclaim(struct kaon_machine *machine,
                                           struct kaon_error *err);

/* ---- Machines and spaces ----------------------------------------------- */

enum kaon_status
kaon__kvm_machine_create(struct kaon_machine **out,
                         const struct kaon_machine_config *config,
                         struct kaon_error *err);
void kaon__kvm_machine_destroy(struct kaon_machine *machine);
enum kaon_status kaon__kvm_machine_check(struct kaon_machine *machine,
                                         struct kaon_error *err);
enum kaon_status kaon__kvm_space_create(struct kaon_machine *machine,
                                        struct kaon_space *out,
                                        struct kaon_space parent,
                                        struct kaon_error *err);
enum kaon_status kaon__kvm_space_map(struct kaon_machine *machine,
                                     struct kaon_space space, uint64_t address,
                                     uint64_t physical, uint64_t pages,
                                     unsigned protection,
                                     struct kaon_error *err);
void kaon__kvm_space_unmap(struct kaon_machine *machine,
                           struct kaon_space space, uint64_t address,
                           uint64_t pages);
bool kaon__kvm_space_look(struct kaon_machine *machine, struct kaon_space space,
                          uint64_t address, uint64_t *physical,
                          unsigned *protection);
enum kaon_status kaon__kvm_space_seal(struct kaon_machine *machine,
                                      struct kaon_space space,
                                      struct kaon_error *err);
void kaon__kvm_space_destroy(struct kaon_machine *machine,
                             struct kaon_space space);

/* ---- vCPUs ------------------------------------------------------------- */

enum kaon_status kaon__kvm_vcpu_create(struct kaon_vcpu **out,
                                       struct kaon_machine *machine,
                                       uint32_t index, struct kaon_error *err);
void kaon__kvm_vcpu_destroy(struct kaon_vcpu *vcpu);
void kaon__kvm_vcpu_bind(struct kaon_vcpu *vcpu);
enum kaon_status
kaon__kvm_vcpu_enter(struct kaon_vcpu *vcpu, struct kaon_space space,
                     bool fresh, const struct kaon_entry *entry,
                     const struct kaon_thread_pointers *pointers,
                     struct kaon_exit *exit, struct kaon_error *err);
enum kaon_status kaon__kvm_vcpu_resume(struct kaon_vcpu *vcpu,
                                       struct kaon_exit *exit,
                                       struct kaon_error *err);
void kaon__kvm_vcpu_registers(const struct kaon_vcpu *vcpu,
                              struct kaon_registers *registers);
struct kaon_thread_pointers
kaon__kvm_vcpu_pointers(const struct kaon_vcpu *vcpu);
enum kaon_status kaon__kvm_kick_ready(struct kaon_machine *machine,
                                      struct kaon_error *err);
void kaon__kvm_vcpu_kick(struct kaon_vcpu *vcpu);
void kaon__kvm_vcpu_unkick(struct kaon_vcpu *vcpu);

#endif

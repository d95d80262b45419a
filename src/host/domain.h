/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain inside the library: a machine, the images it shows, the vCPUs it
 * lends, and the memories that ended sandboxes left for the next.
 */
#ifndef KAON_SRC_HOST_DOMAIN_H
#define KAON_SRC_HOST_DOMAIN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <kaon/domain.h>

#include "host/memory.h"
#include "host/seed.h"

/* A vCPU and who has it. */
struct kaon_vcpu_slot {
    atomic_bool lent;
    _Atomic(uint64_t) thread; /* that had it last; 0: none */
    struct kaon_vcpu *vcpu;
};

struct kaon_domain {
    atomic_uint references;
    struct kaon_machine *machine;
    struct kaon_domain_opts opts; /* defaults filled in */
    bool shared;                  /* many sandboxes may be in it */
    struct kaon_seeder seeder;

    struct kaon_vcpu_slot *slots; /* opts.vcpus_max of them */
    atomic_uint slot_count;       /* that have a vCPU */

    pthread_mutex_t lock; /* guards what follows, and making vCPUs */
    struct kaon_view *views;
    uint64_t view_count, view_limit; /* past that many, to tidy up */
    uint64_t sandboxes;
};

/* kaon_domain_create() on a backend whatever the isolation asked for. */
enum kaon_status kaon__domain_create_on(struct kaon_domain **out,
                                        const struct kaon_backend *backend,
                                        const struct kaon_domain_opts *theirs,
                                        struct kaon_error *err);

/* A domain with room for one sandbox of this image. */
enum kaon_status kaon__domain_create_own(struct kaon_domain **out,
                                         const struct kaon_image *image,
                                         const struct kaon_sizes *sizes,
                                         int32_t kick_signal,
                                         enum kaon_isolation isolation,
                                         struct kaon_error *err);

/* A number for the calling thread, never used again: a pthread_t is, and what
 * vcpu_bind() did for a thread that ended would be taken as done for the next.
 */
uint64_t kaon__thread_number(void);

struct kaon_domain *kaon__domain_hold(struct kaon_domain *domain);

/* A clean memory for a sandbox, as the image starts or a snapshot (which may
 * be NULL) goes on: makes no system call if the domain knows it. */
enum kaon_status kaon__domain_take_memory(struct kaon_domain *domain,
                                          struct kaon_memory **out,
                                          struct kaon_image *image,
                                          struct kaon_snapshot *snapshot,
                                          const struct kaon_sizes *sizes,
                                          struct kaon_error *err);

/* Puts a sandbox's memory into a snapshot's state; or gives it another memory
 * that is, in place of *memory. Unchanged on failure. */
enum kaon_status kaon__domain_restore_memory(struct kaon_domain *domain,
                                             struct kaon_memory **memory,
                                             struct kaon_snapshot *snapshot,
                                             struct kaon_error *err);

/* Takes a sandbox's memory back and cleans it. */
void kaon__domain_give_memory(struct kaon_domain *domain,
                              struct kaon_memory *memory);

/*
 * The domain's memory is used up: takes back what ended sandboxes left for
 * others like them. `mine` is a slot that the caller has, or NULL. False if
 * there is nothing to take, or a guest runs in another thread.
 */
bool kaon__domain_make_room(struct kaon_domain *domain,
                            const struct kaon_vcpu_slot *mine);

/* Makes the first vCPU ahead of the first call, on whatever thread. */
enum kaon_status kaon__domain_need_vcpu(struct kaon_domain *domain,
                                        struct kaon_error *err);

/* Lends the calling thread a vCPU, if possible the one it had last. */
enum kaon_status kaon__domain_borrow(struct kaon_domain *domain,
                                     struct kaon_vcpu_slot **out,
                                     struct kaon_error *err);
static inline void kaon__domain_return(struct kaon_vcpu_slot *slot)
{
    atomic_store_explicit(&slot->lent, false, memory_order_release);
}

#endif

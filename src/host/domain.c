/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains. Owns the machine, its views and vCPUs, and spare memories.
 *
 * Invariant: slots[0 .. slot_count) have a vCPU and keep it; who sets `lent`
 * from false to true has it alone until he sets it back.
 */
#include "host/domain.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "backend/process/process.h"
#include "host/arena.h"
#include "host/error.h"
#include "host/image.h"
#include "host/memory_map.h"
#include "host/options.h"
#include "host/snapshot.h"
#include "host/view.h"

#define MEMORY_MIN (UINT64_C(2) << 20)
#define MEMORY_DEFAULT (UINT64_C(1) << 30)
#define MEMORY_MAX (UINT64_C(64) << 30)
#define VCPUS_DEFAULT 64
#define VCPUS_MAX 256

/* Of a sandbox with a domain of its own, which takes one: a few threads may
 * have one each, where they are not passed on. */
#define VCPUS_OWN 8

/* Images and snapshots that a domain gathers before it looks which are gone. */
#define VIEWS_MANY 64

/* Far from SIGRTMIN, which programs reach for first, and below glibc's and
 * valgrind's favourites at the other end. */
#define KICK_SIGNAL_DEFAULT (SIGRTMIN + 7)

static enum kaon_status take_kick_signal(int32_t *signal,
                                         struct kaon_error *err)
{
    if (*signal == 0)
        *signal = KICK_SIGNAL_DEFAULT;
    if (*signal < SIGRTMIN || *signal > SIGRTMAX)
        return kaon__fail(err, KAON_EINVAL,
                          "kick_signal is %d: it must be from SIGRTMIN (%d) "
                          "to SIGRTMAX (%d)",
                          *signal, SIGRTMIN, SIGRTMAX);
    return KAON_OK;
}

static enum kaon_status check_isolation(enum kaon_isolation isolation,
                                        struct kaon_error *err)
{
    if ((unsigned)isolation > KAON_ISOLATION_BEST)
        return kaon__fail(err, KAON_EINVAL,
                          "isolation is %d: it must be KAON_ISOLATION_VM, "
                          "_PROCESS or _BEST",
                          (int)isolation);
    return KAON_OK;
}

static enum kaon_status fill_defaults(struct kaon_domain_opts *opts,
                                      struct kaon_error *err)
{
    enum kaon_status status = check_isolation(opts->isolation, err);

    if (status)
        return status;
    if (opts->memory_bytes == 0)
        opts->memory_bytes = MEMORY_DEFAULT;
    if (opts->vcpus_max == 0)
        opts->vcpus_max = VCPUS_DEFAULT;
    if (opts->memory_bytes < MEMORY_MIN || opts->memory_bytes > MEMORY_MAX)
        return kaon__fail(err, KAON_EINVAL,
                          "memory_bytes is %llu: it must be from 2 MiB to 64 "
                          "GiB",
                          (unsigned long long)opts->memory_bytes);
    if (opts->vcpus_max > VCPUS_MAX)
        return kaon__fail(err, KAON_EINVAL,
                          "vcpus_max is %u: it must be from 1 to %d",
                          opts->vcpus_max, VCPUS_MAX);
    opts->memory_bytes =
        (opts->memory_bytes + KAON_PAGE_SIZE - 1) & -KAON_PAGE_SIZE;
    return take_kick_signal(&opts->kick_signal, err);
}

/* opts are complete and good. */
static enum kaon_status create(struct kaon_domain **out,
                               const struct kaon_backend *backend,
                               const struct kaon_domain_opts *opts, bool shared,
                               struct kaon_error *err)
{
    const struct kaon_machine_config config = {
        .memory_bytes = opts->memory_bytes,
        .shared = shared,
        .vcpus_max = opts->vcpus_max,
        .kick_signal = opts->kick_signal,
    };
    struct kaon_domain *domain = calloc(1, sizeof *domain);
    enum kaon_status status;

    if (!domain)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a domain");
    domain->slots = calloc(opts->vcpus_max, sizeof *domain->slots);
    if (!domain->slots) {
        status = kaon__fail(err, KAON_ENOMEM, "out of memory for a domain");
        goto free_domain;
    }
    status = kaon__seeder_init(&domain->seeder, err);
    if (!status)
        status = backend->machine_create(&domain->machine, &config, err);
    if (status)
        goto free_slots;
    domain->opts = *opts;
    domain->shared = shared;
    domain->view_limit = VIEWS_MANY;
    atomic_init(&domain->references, 1);
    pthread_mutex_init(&domain->lock, NULL);
    *out = domain;
    return KAON_OK;

free_slots:
    free(domain->slots);
free_domain:
    free(domain);
    return status;
}

/* A shortage of descriptors passes: it must not lower the wall. */
static bool is_without_hypervisor(enum kaon_status status,
                                  const struct kaon_error *why)
{
    return status == KAON_EBACKEND && why->sys_errno != EMFILE &&
           why->sys_errno != ENFILE;
}

/* By the isolation asked for; opts are complete and good. */
static enum kaon_status create_isolated(struct kaon_domain **out,
                                        const struct kaon_domain_opts *opts,
                                        bool shared, struct kaon_error *err)
{
    struct kaon_error why = { 0 };
    enum kaon_status status;

    if (opts->isolation == KAON_ISOLATION_PROCESS)
        return create(out, &kaon__backend_process, opts, shared, err);
    status = create(out, &kaon__backend_kvm, opts, shared, &why);
    if (opts->isolation == KAON_ISOLATION_BEST &&
        is_without_hypervisor(status, &why))
        return create(out, &kaon__backend_process, opts, shared, err);
    if (status && err)
        *err = why;
    return status;
}

static enum kaon_status take_opts(struct kaon_domain_opts *opts,
                                  const struct kaon_domain_opts *theirs,
                                  struct kaon_error *err)
{
    enum kaon_status status =
        kaon__options_adopt(opts, sizeof *opts, theirs, "domain options", err);

    return status ? status : fill_defaults(opts, err);
}

enum kaon_status kaon__domain_create_on(struct kaon_domain **out,
                                        const struct kaon_backend *backend,
                                        const struct kaon_domain_opts *theirs,
                                        struct kaon_error *err)
{
    struct kaon_domain_opts opts;
    enum kaon_status status = take_opts(&opts, theirs, err);

    return status ? status : create(out, backend, &opts, true, err);
}

enum kaon_status kaon_domain_create(struct kaon_domain **out,
                                    const struct kaon_domain_opts *theirs,
                                    struct kaon_error *err)
{
    struct kaon_domain_opts opts;
    enum kaon_status status;

    if (!out)
        return kaon__fail(err, KAON_EINVAL, "out is NULL");
    status = take_opts(&opts, theirs, err);
    return status ? status : create_isolated(out, &opts, true, err);
}

enum kaon_status kaon__domain_create_own(struct kaon_domain **out,
                                         const struct kaon_image *image,
                                         const struct kaon_sizes *sizes,
                                         int32_t kick_signal,
                                         enum kaon_isolation isolation,
                                         struct kaon_error *err)
{
    struct kaon_domain_opts opts = {
        .size = sizeof opts,
        .memory_bytes = kaon__memory_bound(image, sizes),
        .vcpus_max = VCPUS_OWN,
        .kick_signal = kick_signal,
        .isolation = isolation,
    };
    enum kaon_status status = check_isolation(isolation, err);

    if (!status)
        status = take_kick_signal(&opts.kick_signal, err);
    return status ? status : create_isolated(out, &opts, false, err);
}

struct kaon_domain *kaon__domain_hold(struct kaon_domain *domain)
{
    atomic_fetch_add(&domain->references, 1);
    return domain;
}

static void free_spares(struct kaon_domain *domain,
                        void (*free_memory)(struct kaon_memory *))
{
    for (struct kaon_view *view = domain->views; view; view = view->next)
        while (view->spare) {
            struct kaon_memory *memory = view->spare;

            view->spare = memory->next;
            free_memory(memory);
        }
}

void kaon_domain_destroy(struct kaon_domain *domain)
{
    if (!domain || atomic_fetch_sub(&domain->references, 1) != 1)
        return;

    const struct kaon_backend *backend = domain->machine->backend;

    for (unsigned i = 0; i < atomic_load(&domain->slot_count); i++)
        backend->vcpu_destroy(domain->slots[i].vcpu);
    free_spares(domain, kaon__memory_destroy);
    backend->machine_destroy(domain->machine);
    while (domain->views) {
        struct kaon_view *view = domain->views;

        domain->views = view->next;
        kaon__view_destroy(view);
    }
    pthread_mutex_destroy(&domain->lock);
    free(domain->slots);
    free(domain);
}

enum kaon_status kaon_domain_stats(struct kaon_domain *domain,
                                   struct kaon_domain_stats *out)
{
    if (!domain || !out)
        return KAON_EINVAL;
    pthread_mutex_lock(&domain->lock);
    *out = (struct kaon_domain_stats){
        .sandboxes = domain->sandboxes,
        .vcpus = atomic_load(&domain->slot_count),
        .memory_bytes = domain->opts.memory_bytes,
        .memory_used_bytes = kaon__arena_used(domain->machine->arena),
    };
    pthread_mutex_unlock(&domain->lock);
    return KAON_OK;
}

/* ---- Memories ---------------------------------------------------------- */

static bool try_lend(struct kaon_vcpu_slot *slot)
{
    return !atomic_load_explicit(&slot->lent, memory_order_relaxed) &&
           !atomic_exchange(&slot->lent, true);
}

/* The view of a snapshot on the view of its image; of an image, if the two
 * are NULL. */
static enum kaon_status
find_view(struct kaon_domain *domain, struct kaon_view **out,
          struct kaon_image *image, struct kaon_snapshot *snapshot,
          struct kaon_view *base, struct kaon_error *err)
{
    struct kaon_view *view = domain->views;
    enum kaon_status status = KAON_OK;

    while (view && (view->image != image || view->snapshot != snapshot))
        view = view->next;
    if (!view) {
        status = kaon__view_create(&view, domain->machine, image, snapshot,
                                   base, err);
        if (status)
            return status;
        view->next = domain->views;
        domain->views = view;
        domain->view_count++;
    }
    if (!view->space.root)
        status = kaon__view_show(view, domain->machine, err);
    *out = view;
    return status;
}

static struct kaon_memory *take_spare(struct kaon_view *view,
                                      const struct kaon_sizes *sizes)
{
    for (struct kaon_memory **from = &view->spare; *from;
         from = &(*from)->next) {
        struct kaon_memory *memory = *from;

        if (memory->sizes.heap != sizes->heap ||
            memory->sizes.stack != sizes->stack ||
            memory->sizes.exchange != sizes->exchange ||
            memory->sizes.map != sizes->map ||
            kaon__memory_unmap_all(memory,
                                   NULL)) /* what failed when it ended */
            continue;
        *from = memory->next;
        return memory;
    }
    return NULL;
}

/* What ended sandboxes left, or showed. */
static bool has_leftovers(const struct kaon_domain *domain)
{
    for (const struct kaon_view *view = domain->views; view; view = view->next)
        if (view->spare || (view->users == 0 && kaon__view_is_orphan(view)))
            return true;
    return false;
}

/* Views that show nothing, of what nobody else has. The newest come first: a
 * snapshot's before its image's, which it is on. */
static void drop_orphans(struct kaon_domain *domain)
{
    struct kaon_view **from = &domain->views;

    while (*from) {
        struct kaon_view *view = *from;

        if (view->space.root || !kaon__view_is_orphan(view) ||
            !kaon__view_detach(view, domain->machine)) {
            from = &view->next;
            continue;
        }
        *from = view->next;
        domain->view_count--;
        kaon__view_destroy(view);
    }
}

/*
 * The arena is full, and what is spare fits nobody: have the machine forget
 * it. Only if no vCPU is in a guest, and so that none gets there meanwhile:
 * all are lent to us, or are `mine` already.
 */
static bool reclaim(struct kaon_domain *domain,
                    const struct kaon_vcpu_slot *mine)
{
    unsigned count = atomic_load(&domain->slot_count), lent = 0;
    bool done;

    if (!has_leftovers(domain))
        return false;

    while (lent < count &&
           (&domain->slots[lent] == mine || try_lend(&domain->slots[lent])))
        lent++;
    done = lent == count && domain->machine->backend->machine_reclaim(
                                domain->machine, NULL) == KAON_OK;
    while (lent--)
        if (&domain->slots[lent] != mine)
            kaon__domain_return(&domain->slots[lent]);
    if (!done)
        return false;
    free_spares(domain, kaon__memory_release);
    /* A snapshot's before its image's: the newest come first. */
    for (struct kaon_view *view = domain->views; view; view = view->next)
        if (view->users == 0)
            kaon__view_hide(view, domain->machine);
    drop_orphans(domain);
    kaon__arena_compact(domain->machine->arena);
    return true;
}

bool kaon__domain_make_room(struct kaon_domain *domain,
                            const struct kaon_vcpu_slot *mine)
{
    bool made;

    pthread_mutex_lock(&domain->lock);
    made = reclaim(domain, mine);
    pthread_mutex_unlock(&domain->lock);
    return made;
}

/* Whoever takes and drops snapshots leaves views: when many have gathered, it
 * is time to see which are of use. Later, if a guest runs now. */
static void tidy_up(struct kaon_domain *domain)
{
    if (domain->view_count < domain->view_limit)
        return;
    reclaim(domain, NULL);
    domain->view_limit = domain->view_count + VIEWS_MANY;
}

static enum kaon_status
make_memory(struct kaon_domain *domain, struct kaon_memory **out,
            struct kaon_image *image, struct kaon_snapshot *snapshot,
            const struct kaon_sizes *sizes, struct kaon_error *err)
{
    struct kaon_view *view;
    enum kaon_status status = find_view(domain, &view, image, NULL, NULL, err);

    if (!status && snapshot)
        status = find_view(domain, &view, image, snapshot, view, err);
    if (status)
        return status;
    *out = take_spare(view, sizes);
    if (*out)
        return KAON_OK;
    return kaon__memory_create(out, domain->machine, view, sizes, err);
}

enum kaon_status kaon__domain_take_memory(struct kaon_domain *domain,
                                          struct kaon_memory **out,
                                          struct kaon_image *image,
                                          struct kaon_snapshot *snapshot,
                                          const struct kaon_sizes *sizes,
                                          struct kaon_error *err)
{
    struct kaon_seed seed = kaon__seeder_next(&domain->seeder);
    struct kaon_memory *taken;
    enum kaon_status status;

    pthread_mutex_lock(&domain->lock);
    tidy_up(domain);
    status = make_memory(domain, &taken, image, snapshot, sizes, err);
    if (status == KAON_ENOMEM && reclaim(domain, NULL))
        status = make_memory(domain, &taken, image, snapshot, sizes, err);
    if (!status) {
        taken->view->users++;
        domain->sandboxes++;
    }
    pthread_mutex_unlock(&domain->lock);
    if (status)
        return status;
    if (snapshot)
        status = kaon__memory_remap(taken, snapshot, err);
    if (status) {
        kaon__domain_give_memory(domain, taken);
        return status;
    }
    kaon__memory_begin(taken, &seed);
    *out = taken;
    return KAON_OK;
}

/*
 * Where spaces grow, their pages can serve nothing but the same view again:
 * cleaned here, before anybody can get them. Elsewhere they are free.
 */
void kaon__domain_give_memory(struct kaon_domain *domain,
                              struct kaon_memory *memory)
{
    bool keep = domain->machine->backend->spaces_grow;
    struct kaon_view *view = memory->view;

    /* The machine of a domain of its own is about to end. */
    if (keep && domain->shared)
        kaon__memory_unmap_all(memory, NULL);
    if (keep)
        kaon__memory_reset(memory);
    else
        kaon__memory_release(memory);
    pthread_mutex_lock(&domain->lock);
    if (keep) {
        memory->next = view->spare;
        view->spare = memory;
    }
    view->users--;
    domain->sandboxes--;
    pthread_mutex_unlock(&domain->lock);
}

/* The only sandbox of a domain has it to itself: no guest runs meanwhile. */
static enum kaon_status make_fit(struct kaon_domain *domain,
                                 struct kaon_memory *memory,
                                 const struct kaon_snapshot *snapshot,
                                 struct kaon_error *err)
{
    enum kaon_status status = kaon__memory_make_fit(memory, snapshot, err);
    enum kaon_status forgotten = domain->machine->backend->machine_reclaim(
        domain->machine, status ? NULL : err);

    return status ? status : forgotten;
}

/* Takes another memory where the sandbox's own cannot be edited. */
static enum kaon_status exchange_memory(struct kaon_domain *domain,
                                        struct kaon_memory **memory,
                                        struct kaon_snapshot *snapshot,
                                        struct kaon_error *err)
{
    struct kaon_memory *before = *memory, *after = NULL;
    enum kaon_status status = kaon__domain_take_memory(
        domain, &after, before->view->image, snapshot, &before->sizes, err);

    if (status)
        return status;
    after->faults = before->faults;
    after->copied = before->copied;
    after->zeroed = before->zeroed;
    if (after->generation <= before->generation)
        after->generation = before->generation + 1;
    kaon__domain_give_memory(domain, before);
    *memory = after;
    return KAON_OK;
}

enum kaon_status kaon__domain_restore_memory(struct kaon_domain *domain,
                                             struct kaon_memory **memory,
                                             struct kaon_snapshot *snapshot,
                                             struct kaon_error *err)
{
    struct kaon_seed seed = kaon__seeder_next(&domain->seeder);
    bool fits = kaon__memory_fits(*memory, snapshot);
    enum kaon_status status = KAON_OK;

    if (!fits && domain->shared)
        status = exchange_memory(domain, memory, snapshot, err);
    else if (!fits)
        status = make_fit(domain, *memory, snapshot, err);
    if (!status)
        status = kaon__memory_remap(*memory, snapshot, err);
    if (status)
        return status;
    if (fits || !domain->shared)
        kaon__memory_restore(*memory, snapshot);
    kaon__memory_begin(*memory, &seed);
    return KAON_OK;
}

/* ---- vCPUs ------------------------------------------------------------- */

uint64_t kaon__thread_number(void)
{
    static atomic_uint_fast64_t last;
    static _Thread_local uint64_t mine
        __attribute__((tls_model("initial-exec")));

    if (!mine)
        mine = atomic_fetch_add(&last, 1) + 1;
    return mine;
}

/* One that this thread had last, or for 0, nobody had yet. */
static struct kaon_vcpu_slot *lend_of(struct kaon_domain *domain,
                                      uint64_t thread)
{
    unsigned count = atomic_load(&domain->slot_count);

    for (unsigned i = 0; i < count; i++) {
        struct kaon_vcpu_slot *slot = &domain->slots[i];

        if (atomic_load(&slot->thread) == thread && try_lend(slot))
            return slot;
    }
    return NULL;
}

static struct kaon_vcpu_slot *lend_idle(struct kaon_domain *domain)
{
    unsigned count = atomic_load(&domain->slot_count);

    for (unsigned i = 0; i < count; i++)
        if (try_lend(&domain->slots[i]))
            return &domain->slots[i];
    return NULL;
}

/* One more vCPU, already lent. The domain's lock is held. */
static enum kaon_status add_vcpu(struct kaon_domain *domain,
                                 struct kaon_vcpu_slot **out,
                                 struct kaon_error *err)
{
    unsigned index = atomic_load(&domain->slot_count);
    struct kaon_vcpu_slot *slot = &domain->slots[index];
    enum kaon_status status;

    if (index == domain->opts.vcpus_max)
        return kaon__fail(err, KAON_EBUSY,
                          "all %u vCPUs of the domain are in calls: raise "
                          "vcpus_max, or call from fewer threads at once",
                          domain->opts.vcpus_max);
    status = domain->machine->backend->vcpu_create(&slot->vcpu, domain->machine,
                                                   index, err);
    if (status)
        return status;
    atomic_store(&slot->lent, true);
    atomic_store(&domain->slot_count, index + 1);
    *out = slot;
    return KAON_OK;
}

enum kaon_status kaon__domain_need_vcpu(struct kaon_domain *domain,
                                        struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;
    struct kaon_vcpu_slot *slot;

    pthread_mutex_lock(&domain->lock);
    if (atomic_load(&domain->slot_count) == 0) {
        status = add_vcpu(domain, &slot, err);
        if (!status)
            kaon__domain_return(slot);
    }
    pthread_mutex_unlock(&domain->lock);
    return status;
}

/* The thread has none to go on with. Where vCPUs stay with their threads, one
 * more is better than another's; if there can be none, that has to do. */
static enum kaon_status find_vcpu(struct kaon_domain *domain,
                                  struct kaon_vcpu_slot **out,
                                  struct kaon_error *err)
{
    bool stay = domain->machine->vcpus_stay;
    struct kaon_vcpu_slot *slot = stay ? lend_of(domain, 0) : lend_idle(domain);
    enum kaon_status status = KAON_OK;

    if (!slot) {
        /* One may have come back; or all were lent to reclaim(). */
        pthread_mutex_lock(&domain->lock);
        slot = stay ? NULL : lend_idle(domain);
        if (!slot)
            status = add_vcpu(domain, &slot, err);
        if (status && stay && (slot = lend_idle(domain)))
            status = KAON_OK;
        pthread_mutex_unlock(&domain->lock);
    }
    *out = slot;
    return status;
}

enum kaon_status kaon__domain_borrow(struct kaon_domain *domain,
                                     struct kaon_vcpu_slot **out,
                                     struct kaon_error *err)
{
    uint64_t thread = kaon__thread_number();
    struct kaon_vcpu_slot *slot = lend_of(domain, thread);
    enum kaon_status status = KAON_OK;

    if (!slot)
        status = find_vcpu(domain, &slot, err);
    if (status)
        return status;
    if (atomic_load(&slot->thread) != thread) {
        domain->machine->backend->vcpu_bind(slot->vcpu);
        atomic_store(&slot->thread, thread);
    }
    *out = slot;
    return KAON_OK;
}

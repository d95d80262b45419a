/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/sandbox.h - one guest, ready to be called
 *
 * A sandbox is one guest's address space and state. Its life:
 *
 *     create -> ready <-> running -> poisoned -> restore -> ready -> destroy
 *
 * State persists from call to call. An outcome that leaves the guest in the
 * middle of something (a fault, a cancelled call, ...) poisons the sandbox: it
 * refuses calls until it is restored from a snapshot (kaon/snapshot.h).
 *
 * What a sandbox owns is what it may write, and the page tables that lead
 * there. Text, read-only data and the initial data are the image's one copy.
 * A page that the guest writes is copied, one of heap or stack that it
 * touches is added, as it goes.
 *
 * Threads: any thread may call an idle sandbox, and may be another each time.
 * A second thread gets KAON_EBUSY. Only kaon_sandbox_interrupt() and the
 * getters are for use while a call runs.
 *
 * fork(): a child must not use, and need not destroy, sandboxes or domains of
 * its parent; a call from there is KAON_EBACKEND.
 */
#ifndef KAON_SANDBOX_H
#define KAON_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/domain.h>
#include <kaon/error.h>
#include <kaon/host.h>
#include <kaon/image.h>
#include <kaon/outcome.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kaon_sandbox;
struct kaon_sandbox_mapping; /* kaon/region.h */

/* Options of a sandbox; make them with KAON_SANDBOX_OPTS(). 0 is default. */
struct kaon_sandbox_opts {
    size_t size; /* sizeof(struct kaon_sandbox_opts) */

    /* The domain to live in; NULL: one of its own, made with kick_signal. */
    struct kaon_domain *domain;

    /* What the guest may call; NULL: only HostPrint, to standard output. */
    struct kaon_host_functions *host_functions;

    /* Each is rounded up to whole pages, and costs memory as it is used. */
    uint64_t heap_bytes;     /* up to 16 GiB; default 16 MiB */
    uint64_t stack_bytes;    /* 16 KiB to 1 GiB; default 256 KiB */
    uint64_t exchange_bytes; /* largest arguments or result of a call, plus 16
                                bytes for each value and 1 for each string: 4
                                KiB to 1 GiB; default 1 MiB */

    /* Longest time for each call, host functions included; 0: no limit. */
    uint64_t deadline_ns;

    /* As in kaon_domain_opts; only for a domain of its own. */
    int32_t kick_signal;
    enum kaon_isolation isolation;

    /* Room for mappings (kaon/region.h): up to 64 GiB of address space,
     * default 1 GiB, rounded up to 2 MiB. Costs nothing until used. */
    uint64_t map_bytes;

    /* What is mapped from the start (kaon/region.h): the guest's constructors
     * and its kaon_guest_init() find it. Borrowed until it is created; the
     * sandbox, or pool, keeps references to the regions. */
    const struct kaon_sandbox_mapping *mappings;
    size_t mapping_count;
};
#define KAON_SANDBOX_OPTS(...)                                              \
    (&(struct kaon_sandbox_opts){ .size = sizeof(struct kaon_sandbox_opts), \
                                  __VA_ARGS__ })

/**
 * kaon_sandbox_create - make a sandbox from an image
 *
 * Does not run the guest: its constructors and kaon_guest_init() run at the
 * first call, in the same entry, or in kaon_sandbox_init(). The sandbox keeps
 * references to the image, the domain and the host functions; all three may
 * be released by the caller.
 *
 * Out:     out    the sandbox. Release with kaon_sandbox_destroy().
 * Returns: KAON_OK, KAON_EINVAL, KAON_EIMPORT (the guest imports functions
 *          that the set lacks or has with other types: err lists them),
 *          KAON_ENOMEM, KAON_EBACKEND; of a mapping also KAON_EIO: err begins
 *          with its index.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_sandbox_create(struct kaon_sandbox **out, struct kaon_image *image,
                    const struct kaon_sandbox_opts *opts,
                    struct kaon_error *err);

/**
 * kaon_sandbox_destroy - end a sandbox and free what it owns
 *
 * NULL is fine. No call may be running.
 *
 * Threads: one, after all others are done with it.
 */
KAON_API void kaon_sandbox_destroy(struct kaon_sandbox *sandbox);

/**
 * kaon_sandbox_interrupt - stop the call that runs now
 *
 * The call ends as KAON_CANCELLED, at once if the guest runs, or when it
 * would go on if it is in a host function; the sandbox is poisoned. If no
 * call runs, nothing happens, and the next call is not affected.
 *
 * The guest is stopped with the domain's kick_signal, sent to the thread that
 * made the call; the first interrupt or deadline installs an empty handler
 * for it, with SA_RESTART. The first call of each thread unblocks it there.
 * With process isolation the guest's process is ended instead, without one.
 *
 * Returns: KAON_OK; KAON_EINVAL (NULL); KAON_EBACKEND (the program has
 *          another handler for the signal: choose another with kick_signal).
 * Threads: any.
 */
KAON_API enum kaon_status kaon_sandbox_interrupt(struct kaon_sandbox *sandbox,
                                                 struct kaon_error *err);

enum kaon_sandbox_state {
    KAON_SANDBOX_READY,
    KAON_SANDBOX_RUNNING,
    KAON_SANDBOX_POISONED,
};

/**
 * kaon_sandbox_state - is it ready, running or poisoned?
 *
 * Returns: the state; POISONED for NULL.
 * Threads: any; another thread may change it at any time.
 */
KAON_API enum kaon_sandbox_state
kaon_sandbox_state(const struct kaon_sandbox *sandbox);

/**
 * kaon_sandbox_backend - what runs the guest: "kvm" or "process"
 *
 * Returns: a static string; "" for NULL.
 * Threads: any.
 */
KAON_API const char *kaon_sandbox_backend(const struct kaon_sandbox *sandbox);

/* What a sandbox did since it was created, or acquired from a pool. The counts
 * are exact. */
struct kaon_sandbox_stats {
    uint64_t calls;        /* that entered the guest */
    uint64_t host_calls;   /* of the guest to the host */
    uint64_t exits;        /* from the guest, for whatever reason */
    uint64_t page_faults;  /* answered with one or more pages */
    uint64_t copied_pages; /* private copies of shared pages */
    uint64_t zero_pages;   /* pages of heap, stack and exchange */
    uint64_t memory_bytes; /* private pages now, without page tables */
};

/**
 * kaon_sandbox_stats - read the counters
 *
 * Returns: KAON_OK, KAON_EINVAL.
 * Threads: not while a call runs in another thread.
 */
KAON_API enum kaon_status kaon_sandbox_stats(const struct kaon_sandbox *sandbox,
                                             struct kaon_sandbox_stats *out);

#ifdef __cplusplus
}
#endif

#endif

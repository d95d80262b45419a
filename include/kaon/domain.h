/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/domain.h - a virtual machine that sandboxes live in
 *
 * A domain is one VM: a trust boundary. By default each sandbox gets a domain
 * of its own and need not know this header. A program that wants many
 * sandboxes of one tenant creates a domain and names it in their options:
 * making a sandbox in a living domain is memory work of some microseconds,
 * without a system call.
 *
 * With process isolation each sandbox has a process of its own, whatever
 * domain it is in; making one takes as long as a fork.
 *
 * Sandboxes of one domain cannot reach each other's memory: the guest never
 * controls its page tables. But they share a VM, and the CPU's predictors are
 * flushed between VMs, not within one. Put what distrusts each other into
 * domains of its own (SECURITY.md).
 *
 * Threads: a domain may be used by any number of threads at once. Calls to
 * its sandboxes run in parallel, each on a vCPU that it borrows.
 */
#ifndef KAON_DOMAIN_H
#define KAON_DOMAIN_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kaon_domain;

/*
 * What keeps a guest in. The default never falls back to less: a program that
 * wants that says so. SECURITY.md tells what a process does not give, and
 * kaon_sandbox_backend() what a sandbox got. BEST takes a hypervisor that is
 * not there, not allowed or that refuses for none; that descriptors or memory
 * are short is an error with it too.
 */
enum kaon_isolation {
    KAON_ISOLATION_VM = 0,  /* a hypervisor's VM, or an error */
    KAON_ISOLATION_PROCESS, /* a process that may do nothing but compute */
    KAON_ISOLATION_BEST,    /* a VM if there is a hypervisor, else a process */
};

/* Options of a domain; make them with KAON_DOMAIN_OPTS(). 0 is the default. */
struct kaon_domain_opts {
    size_t size; /* sizeof(struct kaon_domain_opts) */

    /* Guest-physical memory for all of its sandboxes' private pages and page
     * tables: 2 MiB to 64 GiB, default 1 GiB. It is reserved, not used: only
     * pages that sandboxes touch cost memory, and 0.3 % of it the kernel. With
     * process isolation each sandbox takes all that it may ever have at once:
     * 17.3 MiB by default. */
    uint64_t memory_bytes;

    /* Threads that can be in calls at once: 1 to 256, default 64. A vCPU is
     * made when one more thread than ever before calls; on Linux before 6.13,
     * whose KVM takes 15 ms to pass one on, also when another thread does. A
     * sandbox with a domain of its own can have 8 so. */
    uint32_t vcpus_max;

    /* The real-time signal that stops a running guest, for deadlines and
     * kaon_sandbox_interrupt(): SIGRTMIN to SIGRTMAX, default SIGRTMIN + 7.
     * Its handler is installed when it is first needed. */
    int32_t kick_signal;

    enum kaon_isolation isolation;
};
#define KAON_DOMAIN_OPTS(...)                                             \
    (&(struct kaon_domain_opts){ .size = sizeof(struct kaon_domain_opts), \
                                 __VA_ARGS__ })

/**
 * kaon_domain_create - make a VM for sandboxes
 *
 * Out:     out   the domain. Release with kaon_domain_destroy().
 * Returns: KAON_OK, KAON_EINVAL, KAON_ENOMEM, KAON_EBACKEND (no hypervisor,
 *          no permission, or it refused: err says what to do).
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_domain_create(struct kaon_domain **out,
                   const struct kaon_domain_opts *opts, struct kaon_error *err);

/**
 * kaon_domain_destroy - give the caller's reference back
 *
 * Sandboxes keep their domain alive; the VM ends with the last of them. NULL
 * is fine.
 *
 * Threads: any.
 */
KAON_API void kaon_domain_destroy(struct kaon_domain *domain);

/* What a domain holds now. */
struct kaon_domain_stats {
    uint64_t sandboxes;
    uint64_t vcpus;
    uint64_t memory_bytes;      /* the option */
    uint64_t memory_used_bytes; /* pages in use, page tables included */
};

/**
 * kaon_domain_stats - count what a domain holds
 *
 * Returns: KAON_OK, KAON_EINVAL.
 * Threads: any.
 */
KAON_API enum kaon_status kaon_domain_stats(struct kaon_domain *domain,
                                            struct kaon_domain_stats *out);

#ifdef __cplusplus
}
#endif

#endif

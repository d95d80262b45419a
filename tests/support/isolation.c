/* SPDX-License-Identifier: Apache-2.0 */
/* Stands between tests and library where they create. Keeps nothing. */
#include "support/isolation.h"

#include <stdlib.h>
#include <string.h>
#include <kaon.h>

enum kaon_status
__wrap_kaon_sandbox_create(struct kaon_sandbox **out, struct kaon_image *image,
                           const struct kaon_sandbox_opts *opts,
                           struct kaon_error *err);
enum kaon_status
__real_kaon_sandbox_create(struct kaon_sandbox **out, struct kaon_image *image,
                           const struct kaon_sandbox_opts *opts,
                           struct kaon_error *err);
enum kaon_status __wrap_kaon_domain_create(struct kaon_domain **out,
                                           const struct kaon_domain_opts *opts,
                                           struct kaon_error *err);
enum kaon_status __real_kaon_domain_create(struct kaon_domain **out,
                                           const struct kaon_domain_opts *opts,
                                           struct kaon_error *err);

enum kaon_status __wrap_kaon_sandbox_create_from(
    struct kaon_sandbox **out, struct kaon_snapshot *snapshot,
    const struct kaon_sandbox_opts *opts, struct kaon_error *err);
enum kaon_status __real_kaon_sandbox_create_from(
    struct kaon_sandbox **out, struct kaon_snapshot *snapshot,
    const struct kaon_sandbox_opts *opts, struct kaon_error *err);

enum kaon_status __wrap_kaon_pool_create(struct kaon_pool **pool,
                                         struct kaon_outcome *out,
                                         struct kaon_image *image,
                                         const struct kaon_pool_opts *opts,
                                         struct kaon_error *err);
enum kaon_status __real_kaon_pool_create(struct kaon_pool **pool,
                                         struct kaon_outcome *out,
                                         struct kaon_image *image,
                                         const struct kaon_pool_opts *opts,
                                         struct kaon_error *err);
enum kaon_status __wrap_kaon_pool_create_from(struct kaon_pool **pool,
                                              struct kaon_snapshot *snapshot,
                                              const struct kaon_pool_opts *opts,
                                              struct kaon_error *err);
enum kaon_status __real_kaon_pool_create_from(struct kaon_pool **pool,
                                              struct kaon_snapshot *snapshot,
                                              const struct kaon_pool_opts *opts,
                                              struct kaon_error *err);

bool isolation_is_process(void)
{
    const char *name = getenv("KAON_TEST_ISOLATION");

    return name && strcmp(name, "process") == 0;
}

bool isolation_is_resident(void)
{
    const char *name = getenv("KAON_TEST_RESIDENT");

    return name && strcmp(name, "yes") == 0;
}

bool isolation_copies(void)
{
    return isolation_is_process() || isolation_is_resident();
}

/* Short enough for both sides to sleep and be woken now and then. */
#define SPIN_NS 20000

/* Where all vCPUs are taken, it is not resident: there are other tests that
 * it can be. */
static enum kaon_status make_resident(struct kaon_sandbox **sandbox,
                                      struct kaon_error *err)
{
    enum kaon_status status = kaon_sandbox_start_resident(
        *sandbox, KAON_RESIDENT_OPTS(.spin_ns = SPIN_NS), err);

    if (status == KAON_OK || status == KAON_EBUSY)
        return KAON_OK;
    kaon_sandbox_destroy(*sandbox);
    *sandbox = NULL;
    return status;
}

uint64_t isolation_memory(uint64_t bytes)
{
    return isolation_is_process() ? 8 * bytes : bytes;
}

/* Options of a size that the library does not know are left for it to judge. */
enum kaon_status
__wrap_kaon_sandbox_create(struct kaon_sandbox **out, struct kaon_image *image,
                           const struct kaon_sandbox_opts *theirs,
                           struct kaon_error *err)
{
    struct kaon_sandbox_opts opts = { .size = sizeof opts };

    if (theirs && theirs->size <= sizeof opts)
        memcpy(&opts, theirs, theirs->size);
    if (isolation_is_process() && (!theirs || theirs->size == sizeof opts) &&
        !opts.domain && !opts.isolation) {
        opts.isolation = KAON_ISOLATION_PROCESS;
        theirs = &opts;
    }
    struct kaon_sandbox *sandbox;
    enum kaon_status status;

    if (!isolation_is_resident() || !out)
        return __real_kaon_sandbox_create(out, image, theirs, err);
    status = __real_kaon_sandbox_create(&sandbox, image, theirs, err);
    if (!status)
        status = make_resident(&sandbox, err);
    if (!status)
        *out = sandbox;
    return status;
}

enum kaon_status
__wrap_kaon_domain_create(struct kaon_domain **out,
                          const struct kaon_domain_opts *theirs,
                          struct kaon_error *err)
{
    struct kaon_domain_opts opts = { .size = sizeof opts };

    if (theirs && theirs->size <= sizeof opts)
        memcpy(&opts, theirs, theirs->size);
    if (isolation_is_process() && (!theirs || theirs->size == sizeof opts) &&
        !opts.isolation) {
        opts.isolation = KAON_ISOLATION_PROCESS;
        theirs = &opts;
    }
    /* A vCPU for each resident sandbox, beside those that tests count on. */
    if (isolation_is_resident() && opts.vcpus_max && opts.vcpus_max < 200 &&
        theirs->size == sizeof opts) {
        opts.vcpus_max += 50;
        theirs = &opts;
    }
    return __real_kaon_domain_create(out, theirs, err);
}

enum kaon_status __wrap_kaon_sandbox_create_from(
    struct kaon_sandbox **out, struct kaon_snapshot *snapshot,
    const struct kaon_sandbox_opts *theirs, struct kaon_error *err)
{
    struct kaon_sandbox_opts opts = { .size = sizeof opts };

    if (theirs && theirs->size == sizeof opts)
        opts = *theirs;
    if (isolation_is_process() && (!theirs || theirs->size == sizeof opts) &&
        !opts.domain && !opts.isolation) {
        opts.isolation = KAON_ISOLATION_PROCESS;
        theirs = &opts;
    }
    return __real_kaon_sandbox_create_from(out, snapshot, theirs, err);
}

/* A pool's options with sandboxes' options that say so; both in the caller's
 * memory. */
static const struct kaon_pool_opts *
pool_opts(const struct kaon_pool_opts *theirs, struct kaon_pool_opts *opts,
          struct kaon_sandbox_opts *sandbox)
{
    *opts = (struct kaon_pool_opts){ .size = sizeof *opts };
    *sandbox = (struct kaon_sandbox_opts){ .size = sizeof *sandbox };
    if (!isolation_is_process() || (theirs && theirs->size != sizeof *opts))
        return theirs;
    if (theirs)
        *opts = *theirs;
    if (opts->sandbox && opts->sandbox->size != sizeof *sandbox)
        return theirs;
    if (opts->sandbox)
        *sandbox = *opts->sandbox;
    if (!sandbox->domain && !sandbox->isolation)
        sandbox->isolation = KAON_ISOLATION_PROCESS;
    opts->sandbox = sandbox;
    return opts;
}

enum kaon_status __wrap_kaon_pool_create(struct kaon_pool **pool,
                                         struct kaon_outcome *out,
                                         struct kaon_image *image,
                                         const struct kaon_pool_opts *theirs,
                                         struct kaon_error *err)
{
    struct kaon_sandbox_opts sandbox;
    struct kaon_pool_opts opts;

    return __real_kaon_pool_create(pool, out, image,
                                   pool_opts(theirs, &opts, &sandbox), err);
}

enum kaon_status __wrap_kaon_pool_create_from(
    struct kaon_pool **pool, struct kaon_snapshot *snapshot,
    const struct kaon_pool_opts *theirs, struct kaon_error *err)
{
    struct kaon_sandbox_opts sandbox;
    struct kaon_pool_opts opts;

    return __real_kaon_pool_create_from(
        pool, snapshot, pool_opts(theirs, &opts, &sandbox), err);
}

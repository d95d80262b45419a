/* SPDX-License-Identifier: Apache-2.0 */
/* Stands between tests and library where they create. Keeps nothing. */
#include "support/isolation.h"

#include <stdlib.h>
#include <string.h>
#include <kaon.h>

enum kaon_status __wrap_kaon_sandbox_create(
    struct kaon_sandbox **out, struct kaon_image *image,
    const struct kaon_sandbox_opts *opts, struct kaon_error *err);
enum kaon_status __real_kaon_sandbox_create(
    struct kaon_sandbox **out, struct kaon_image *image,
    const struct kaon_sandbox_opts *opts, struct kaon_error *err);
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

bool isolation_is_process(void)
{
    const char *name = getenv("KAON_TEST_ISOLATION");

    return name && strcmp(name, "process") == 0;
}

uint64_t isolation_memory(uint64_t bytes)
{
    return isolation_is_process() ? 8 * bytes : bytes;
}

/* Options of a size that the library does not know are left for it to judge. */
enum kaon_status __wrap_kaon_sandbox_create(
    struct kaon_sandbox **out, struct kaon_image *image,
    const struct kaon_sandbox_opts *theirs, struct kaon_error *err)
{
    struct kaon_sandbox_opts opts = { .size = sizeof opts };

    if (theirs && theirs->size <= sizeof opts)
        memcpy(&opts, theirs, theirs->size);
    if (isolation_is_process() && (!theirs || theirs->size == sizeof opts) &&
        !opts.domain && !opts.isolation) {
        opts.isolation = KAON_ISOLATION_PROCESS;
        theirs = &opts;
    }
    return __real_kaon_sandbox_create(out, image, theirs, err);
}

enum kaon_status __wrap_kaon_domain_create(
    struct kaon_domain **out, const struct kaon_domain_opts *theirs,
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

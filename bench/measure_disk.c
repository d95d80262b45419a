/* SPDX-License-Identifier: Apache-2.0 */
/* From a snapshot on disk to its first result, in a new domain. */
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What an end leaves to the kernel to do is not timed: wait. */
#define SETTLE_US 3000

static bool save_warm(struct context *context, const char *directory)
{
    struct kaon_snapshot *snapshot;
    struct kaon_error err;
    bool good;

    if (kaon_snapshot_take(&snapshot, context->sandbox, &err))
        return fail(context, "%s", err.text);
    good = kaon_snapshot_save(snapshot, directory, NULL, &err) == KAON_OK ||
           fail(context, "%s", err.text);
    kaon_snapshot_destroy(snapshot);
    return good;
}

static bool make_from(struct context *context, struct kaon_sandbox **out,
                      const char *directory)
{
    struct kaon_snapshot *snapshot;
    struct kaon_error err;
    enum kaon_status status =
        kaon_snapshot_open(&snapshot, directory, NULL, &err);

    if (!status) {
        status = kaon_sandbox_create_from(
            out, snapshot,
            KAON_SANDBOX_OPTS(.host_functions = context->functions,
                              .isolation = context->suite->isolation),
            &err);
        kaon_snapshot_destroy(snapshot);
    }
    return !status || fail(context, "%s", err.text);
}

static bool sample_bare(struct context *context, struct result *result)
{
    struct floor_guest bare;
    double start;
    bool good;

    usleep(SETTLE_US);
    start = now_us();
    if (!make_bare(context, &bare))
        return false;
    good = trip(context, &bare);
    samples_add(&result->floor, now_us() - start);
    context->floor->destroy(&bare);
    return good;
}

/* By name: the function of another image of the same file is another. */
static bool sample_opened(struct context *context, struct result *result,
                          const char *directory)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_error err;
    enum kaon_status status;
    double start;

    usleep(SETTLE_US);
    start = now_us();
    if (!make_from(context, &sandbox, directory))
        return false;
    status = kaon_call(sandbox, &out, "add",
                       KAON_ARGS(kaon_i32(2), kaon_i32(3)), NULL, &err);
    sample_ours(result, now_us() - start);
    kaon_sandbox_destroy(sandbox);
    if (status)
        return fail(context, "%s", err.text);
    return (out.kind == KAON_RETURNED && out.value.i32 == 5) ||
           fail(context, "the guest from disk does not add: %s", out.text);
}

static int remove_one(const char *path, const struct stat *status, int kind,
                      struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

bool measure_open(struct context *context, struct result *result)
{
    char directory[] = "/tmp/kaon-bench-XXXXXX";
    bool good;

    if (!mkdtemp(directory))
        return fail(context, "%s: %s", directory, strerror(errno));
    good = save_warm(context, directory);
    for (unsigned round = rounds(context, 200); good && round; round--)
        good = sample_bare(context, result) &&
               sample_opened(context, result, directory);
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return good;
}

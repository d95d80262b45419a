/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps regions into sandboxes that are between calls. Owns nothing: a mapping
 * is the memory's.
 */
#include "host/error.h"
#include "host/memory_map.h"
#include "host/options.h"
#include "host/region.h"
#include "host/resident.h"
#include "host/sandbox.h"

static enum kaon_status take_opts(struct kaon_map_opts *opts,
                                  const struct kaon_map_opts *theirs,
                                  const struct kaon_region *region,
                                  struct kaon_error *err)
{
    enum kaon_status status =
        kaon__options_adopt(opts, sizeof *opts, theirs, "map options", err);

    if (status)
        return status;
    if ((unsigned)opts->mode > KAON_MAP_WRITE)
        return kaon__fail(err, KAON_EINVAL,
                          "mode is %d: it must be KAON_MAP_READ, _COPY or "
                          "_WRITE",
                          (int)opts->mode);
    if (opts->mode == KAON_MAP_WRITE && region->file)
        return kaon__fail(err, KAON_EINVAL,
                          "a file is never written: map it with "
                          "KAON_MAP_COPY, or map a buffer "
                          "(kaon_region_create)");
    return KAON_OK;
}

static void release(struct kaon_sandbox *sandbox)
{
    kaon__resident_go(sandbox);
    kaon__sandbox_release(sandbox, false);
}

/* The guest runs not one more instruction with the mappings that it had; and
 * whichever vCPU runs the sandbox next forgets what it knew of its space. */
static enum kaon_status claim(struct kaon_sandbox *sandbox,
                              struct kaon_error *err)
{
    enum kaon_status status = kaon__sandbox_claim(sandbox, err);

    if (status)
        return status;
    status = kaon__sandbox_park(sandbox, err);
    sandbox->last_slot = NULL;
    if (status)
        release(sandbox);
    return status;
}

/* The page tables of a mapping are the domain's memory. */
static enum kaon_status map(struct kaon_sandbox *sandbox, uint64_t *address,
                            struct kaon_region *region, enum kaon_map_mode mode,
                            struct kaon_error *err)
{
    enum kaon_status status =
        kaon__memory_map(sandbox->memory, region, address, mode, err);

    if (status == KAON_ENOMEM && kaon__domain_make_room(sandbox->domain, NULL))
        status = kaon__memory_map(sandbox->memory, region, address, mode, err);
    return status;
}

enum kaon_status kaon_sandbox_map(struct kaon_sandbox *sandbox,
                                  uint64_t *address, struct kaon_region *region,
                                  const struct kaon_map_opts *theirs,
                                  struct kaon_error *err)
{
    struct kaon_map_opts opts;
    enum kaon_status status;

    if (!sandbox || !address || !region)
        return kaon__fail(err, KAON_EINVAL,
                          "sandbox, address and region must not be NULL");
    status = take_opts(&opts, theirs, region, err);
    if (!status)
        status = claim(sandbox, err);
    if (status)
        return status;
    status = map(sandbox, &opts.address, region, opts.mode, err);
    release(sandbox);
    if (!status)
        *address = opts.address;
    return status;
}

enum kaon_status kaon_sandbox_unmap(struct kaon_sandbox *sandbox,
                                    uint64_t address, struct kaon_error *err)
{
    enum kaon_status status;

    if (!sandbox)
        return kaon__fail(err, KAON_EINVAL, "sandbox must not be NULL");
    status = claim(sandbox, err);
    if (status)
        return status;
    status = kaon__memory_unmap(sandbox->memory, address, err);
    release(sandbox);
    return status;
}

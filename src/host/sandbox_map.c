/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps regions into sandboxes that are new or between calls. Owns nothing: a
 * mapping is the memory's.
 */
#include "host/error.h"
#include "host/memory_map.h"
#include "host/oci.h"
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
    if (opts->name && !kaon__oci_is_mapping(opts->name))
        return kaon__fail(err, KAON_EINVAL,
                          "\"%.64s\" is no name for a mapping: it may have "
                          "%d letters, digits, _ and, not first, . and -",
                          opts->name, KAON_MAP_NAME_MAX);
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
                            struct kaon_region *region,
                            const struct kaon_map_opts *opts,
                            struct kaon_error *err)
{
    enum kaon_status status =
        kaon__memory_map(sandbox->memory, address, region, opts, err);

    if (status == KAON_ENOMEM && kaon__domain_make_room(sandbox->domain, NULL))
        status = kaon__memory_map(sandbox->memory, address, region, opts, err);
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
    status = map(sandbox, address, region, &opts, err);
    release(sandbox);
    return status;
}

/* ---- From the start ---------------------------------------------------- */

static enum kaon_status map_one(struct kaon_sandbox *sandbox,
                                const struct kaon_sandbox_mapping *mapping,
                                bool with_address, struct kaon_error *err)
{
    struct kaon_map_opts opts;
    enum kaon_status status;
    uint64_t address;

    if (!mapping->region)
        return kaon__fail(err, KAON_EINVAL, "region must not be NULL");
    status = take_opts(&opts, mapping->opts, mapping->region, err);
    if (status || with_address != (opts.address != 0))
        return status;
    status = map(sandbox, &address, mapping->region, &opts, err);
    if (!status && mapping->address)
        *mapping->address = address;
    return status;
}

static enum kaon_status map_some(struct kaon_sandbox *sandbox,
                                 const struct kaon_sandbox_mapping *mappings,
                                 size_t count, bool with_address,
                                 struct kaon_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct kaon_error why = { 0 };

        if (map_one(sandbox, &mappings[i], with_address, &why))
            return kaon__fail_because(err, &why, "mappings[%zu]: %s", i,
                                      why.text);
    }
    return KAON_OK;
}

/* Who wants an address comes before who would take it by chance. */
enum kaon_status
kaon__sandbox_map_listed(struct kaon_sandbox *sandbox,
                         const struct kaon_sandbox_mapping *mappings,
                         size_t count, struct kaon_error *err)
{
    enum kaon_status status;

    if (count && !mappings)
        return kaon__fail(err, KAON_EINVAL,
                          "mapping_count is %zu, and mappings are NULL", count);
    status = map_some(sandbox, mappings, count, true, err);
    return status ? status : map_some(sandbox, mappings, count, false, err);
}

/* ---- Unmapping --------------------------------------------------------- */

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

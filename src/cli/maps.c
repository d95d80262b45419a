/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the files of mappings. Owns the regions, until maps_close(). */
#include "cli/maps.h"

#include <stdio.h>
#include <string.h>

bool maps_are_given(const struct option_list *given)
{
    for (size_t i = 0; i < given->count; i++)
        if (!strchr(given->items[i], '='))
            return false;
    return true;
}

/* The mapping has what of the file is mapped: its size may be 0, for all. */
static enum kaon_status add(struct maps *maps, const char *path,
                            const struct kaon_snapshot_mapping *mapping,
                            struct kaon_error *err)
{
    struct kaon_named_region *region = &maps->list[maps->count];
    enum kaon_status status = kaon_region_open(
        &region->region, path, mapping->offset, mapping->size, err);

    region->name = maps->names[maps->count];
    region->mode = mapping->mode;
    maps->count += !status;
    return status;
}

/* Returns where the file begins. The name is that of the next to be added. */
static const char *split(struct maps *maps, const char *map)
{
    const char *path = strchr(map, '=') + 1;

    snprintf(maps->names[maps->count], sizeof maps->names[0], "%.*s",
             (int)(path - 1 - map), map);
    return path;
}

enum kaon_status maps_add(struct maps *maps, const struct option_list *given,
                          enum kaon_map_mode mode, struct kaon_error *err)
{
    const struct kaon_snapshot_mapping whole = { .mode = mode };
    enum kaon_status status = KAON_OK;

    for (size_t i = 0; !status && i < given->count; i++)
        status = add(maps, split(maps, given->items[i]), &whole, err);
    return status;
}

static struct kaon_snapshot_mapping find(const struct kaon_snapshot *snapshot,
                                         const char *name)
{
    struct kaon_snapshot_mapping mapping;

    for (size_t i = 0; kaon_snapshot_mapping(snapshot, i, &mapping); i++)
        if (strcmp(mapping.name, name) == 0)
            return mapping; /* none lets the guest write to a file */
    return (struct kaon_snapshot_mapping){ .size = 0 };
}

enum kaon_status maps_add_as_in(struct maps *maps,
                                const struct option_list *given,
                                const struct kaon_snapshot *snapshot,
                                struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    for (size_t i = 0; !status && i < given->count; i++) {
        const char *path = split(maps, given->items[i]);
        struct kaon_snapshot_mapping mapping =
            find(snapshot, maps->names[maps->count]);

        status = add(maps, path, &mapping, err);
    }
    return status;
}

void maps_close(struct maps *maps)
{
    while (maps->count)
        kaon_region_destroy(maps->list[--maps->count].region);
}

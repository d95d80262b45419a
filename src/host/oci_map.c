/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map: where the content of each page of a snapshot lies.
 */
#include "host/oci.h"

#include <inttypes.h>
#include <string.h>

#include "host/error.h"

enum kaon_status kaon__oci_map_count(uint64_t *out, uint64_t size,
                                     struct kaon_error *err)
{
    if (size % KAON_MAP_ENTRY_SIZE)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the map is damaged: it has %" PRIu64
                          " bytes, and entries have %" PRIu64,
                          size, KAON_MAP_ENTRY_SIZE);
    *out = size / KAON_MAP_ENTRY_SIZE;
    return KAON_OK;
}

/* Little-endian, as this machine is. */
_Static_assert(sizeof(struct kaon_map_entry) == KAON_MAP_ENTRY_SIZE &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "an entry is in memory what it is in the file");

struct kaon_map_entry kaon__oci_read_entry(const unsigned char *map,
                                           uint64_t index)
{
    struct kaon_map_entry entry;

    memcpy(&entry, map + index * sizeof entry, sizeof entry);
    return entry;
}

void kaon__oci_write_entry(unsigned char *map, uint64_t index,
                           const struct kaon_map_entry *entry)
{
    memcpy(map + index * sizeof *entry, entry, sizeof *entry);
}

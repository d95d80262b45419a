/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot that is being opened gets to know of its mappings, in this
 * order: what was mapped, the regions for it, and what guests wrote to them.
 */
#ifndef KAON_SRC_HOST_SNAPSHOT_MAPPING_H
#define KAON_SRC_HOST_SNAPSHOT_MAPPING_H

#include "host/snapshot.h"
#include "host/store.h"

/* The config's; its sizes are the snapshot's already. */
enum kaon_status kaon__snapshot_adopt_mappings(struct kaon_snapshot *snapshot,
                                               const struct kaon_config *config,
                                               uint64_t window,
                                               struct kaon_error *err);

/* The caller's; so what is wrong with them is the caller's fault: KAON_EINVAL.
 * There may be fewer than mappings. */
enum kaon_status
kaon__snapshot_adopt_regions(struct kaon_snapshot *snapshot,
                             const struct kaon_named_region *regions,
                             size_t count, struct kaon_error *err);

/* Is an entry of the map good, of pages that guests wrote, of which the blob
 * has `size` bytes? If so, it can be adopted: false if memory runs out. */
bool kaon__snapshot_can_adopt_written(const struct kaon_snapshot *snapshot,
                                      const struct kaon_map_entry *entry,
                                      uint64_t size);
bool kaon__snapshot_adopt_written(struct kaon_snapshot *snapshot,
                                  const struct kaon_map_entry *entry);

/* What they wrote, once all entries are adopted. `check`: its digest, too. */
enum kaon_status kaon__snapshot_adopt_content(struct kaon_snapshot *snapshot,
                                              const struct kaon_store *store,
                                              const struct kaon_blob *blob,
                                              bool check,
                                              struct kaon_error *err);

#endif

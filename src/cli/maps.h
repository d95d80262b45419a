/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a command line names for mappings, as NAME=FILE.
 */
#ifndef KAON_SRC_CLI_MAPS_H
#define KAON_SRC_CLI_MAPS_H

#include <stdbool.h>
#include <kaon/region.h>
#include <kaon/snapshot.h>

#include "cli/options.h"

#define MAPS_MAX (2 * OPTION_LIST_MAX)

/* Zero is empty. To look at; in the order in which they were added. */
struct maps {
    char names[MAPS_MAX][KAON_MAP_NAME_MAX + 2]; /* one too long stays so */
    struct kaon_named_region list[MAPS_MAX];
    size_t count;
};

/* Is each of the form NAME=FILE? */
bool maps_are_given(const struct option_list *given);

/* Opens all of each file, for mappings of this mode. */
enum kaon_status maps_add(struct maps *maps, const struct option_list *given,
                          enum kaon_map_mode mode, struct kaon_error *err);

/* Opens what the mappings of the snapshot show of their files; all of a file
 * whose mapping is not there: to open the snapshot with that is then refused.
 */
enum kaon_status maps_add_as_in(struct maps *maps,
                                const struct option_list *given,
                                const struct kaon_snapshot *snapshot,
                                struct kaon_error *err);

void maps_close(struct maps *maps);

#endif

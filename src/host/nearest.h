/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean ...?": which of some names is nearest to a misspelt one. */
#ifndef KAON_SRC_HOST_NEAREST_H
#define KAON_SRC_HOST_NEAREST_H

#include <stddef.h>

/* Bytes of a name that are looked at. */
#define KAON_NEAREST_MAX 127u

struct kaon_nearest {
    const char *name; /* misspelt */
    size_t length;    /* of it, as far as it counts */
    size_t limit;     /* farther names are no help */
    const char *best; /* NULL: none so far */
};

/* Begins a search: then offer each name, then read `best`. */
struct kaon_nearest kaon__nearest_to(const char *name);
void kaon__nearest_offer(struct kaon_nearest *nearest, const char *name);

#endif

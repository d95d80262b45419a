/* SPDX-License-Identifier: Apache-2.0 */
/* Levenshtein's distance, and the names that it makes worth suggesting. */
#include "host/nearest.h"

#include <string.h>

static unsigned min(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/*
 * The distance of two names, `other` being of KAON_NEAREST_MAX bytes at most.
 * One row of the table at a time: row[j] is the distance of the name's first i
 * bytes to the other's first j.
 */
static unsigned distance(const char *name, size_t length, const char *other,
                         size_t other_length)
{
    unsigned row[KAON_NEAREST_MAX + 1];

    for (unsigned j = 0; j <= other_length; j++)
        row[j] = j;
    for (unsigned i = 1; i <= length; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= other_length; j++) {
            unsigned replaced = diagonal + (name[i - 1] != other[j - 1]);

            diagonal = row[j];
            row[j] = min(replaced, min(row[j], row[j - 1]) + 1);
        }
    }
    return row[other_length];
}

struct kaon_nearest kaon__nearest_to(const char *name)
{
    size_t length = strnlen(name, 2 * KAON_NEAREST_MAX);

    return (struct kaon_nearest){
        .name = name,
        .length = length,
        .limit = length / 3 > 2 ? length / 3 : 2,
    };
}

/* Names without a letter in common are no help either. */
void kaon__nearest_offer(struct kaon_nearest *nearest, const char *name)
{
    size_t length = strnlen(name, KAON_NEAREST_MAX);
    size_t longer = length > nearest->length ? length : nearest->length;
    size_t shorter = length > nearest->length ? nearest->length : length;
    size_t got;

    if (longer - shorter > nearest->limit)
        return;
    got = distance(nearest->name, nearest->length, name, length);
    if (got > nearest->limit || got == longer ||
        (nearest->best && got == nearest->limit))
        return;
    nearest->best = name;
    nearest->limit = got;
}

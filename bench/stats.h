/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples of one quantity, and what they say.
 */
#ifndef KAON_BENCH_STATS_H
#define KAON_BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>

struct samples {
    double *values;
    size_t count, room;
    bool sorted;
};

void samples_add(struct samples *samples, double value);

/* The value that a share (0 to 1) of the samples does not exceed; 0 if none. */
double samples_at(struct samples *samples, double share);
double samples_median(struct samples *samples);

void samples_free(struct samples *samples);

/* Microseconds of the monotonic clock. */
double now_us(void);

#endif

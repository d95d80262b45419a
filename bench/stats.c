/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps samples; sorts them when it is asked. */
#include "stats.h"

#include <err.h>
#include <stdlib.h>
#include <time.h>

/* A program of its own may give up where a library may not. */
void samples_add(struct samples *samples, double value)
{
    if (samples->count == samples->room) {
        size_t room = samples->room ? 2 * samples->room : 64;
        double *values = realloc(samples->values, room * sizeof *values);

        if (!values)
            err(1, "kaon bench");
        samples->values = values;
        samples->room = room;
    }
    samples->values[samples->count++] = value;
    samples->sorted = false;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double samples_at(struct samples *samples, double share)
{
    size_t at;

    if (samples->count == 0)
        return 0;
    if (!samples->sorted)
        qsort(samples->values, samples->count, sizeof *samples->values,
              compare);
    samples->sorted = true;
    at = (size_t)(share * (double)(samples->count - 1) + 0.5);
    return samples->values[at];
}

double samples_median(struct samples *samples)
{
    return samples_at(samples, 0.5);
}

void samples_free(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples){ 0 };
}

double now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

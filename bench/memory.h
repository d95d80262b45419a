/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What memory there is in use: what the process has and holds, and what the
 * kernel keeps, for the whole machine.
 */
#ifndef KAON_BENCH_MEMORY_H
#define KAON_BENCH_MEMORY_H

#include "bench.h"

struct memory {
    double process, kernel; /* KiB */
};

bool memory_now(struct context *context, struct memory *out);

/*
 * What was closed is freed later, by and by. Waits until the kernel's memory
 * stands still, but no longer than two seconds.
 */
void memory_settle(void);

#endif

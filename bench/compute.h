/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work of the benchmark `compute`. Compiled once: host and guest are
 * linked with the same object, so the machine code is the same.
 */
#ifndef KAON_BENCH_COMPUTE_H
#define KAON_BENCH_COMPUTE_H

#include <stdint.h>

/* 256 KiB: what second-level caches hold. */
#define COMPUTE_WORDS 32768u

/* Integers, doubles and dependent loads, so many rounds of them. */
uint64_t compute(uint64_t *words, uint32_t rounds);

#endif

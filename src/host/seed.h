/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds for guests' random generators: new ones for each sandbox and each
 * restore, without a system call.
 *
 * A domain asks the kernel for a key once and makes seeds from it by ChaCha20.
 * Threads: any.
 */
#ifndef KAON_SRC_HOST_SEED_H
#define KAON_SRC_HOST_SEED_H

#include <stdatomic.h>
#include <stdint.h>
#include <kaon/error.h>

#include "abi/chacha20.h"

/* Random numbers for a guest, from which it makes others. */
struct kaon_seed {
    uint64_t words[4];
};

struct kaon_seeder {
    uint32_t key[KAON_CHACHA20_KEY_WORDS];
    _Atomic(uint64_t) count;
};

enum kaon_status kaon__seeder_init(struct kaon_seeder *seeder,
                                   struct kaon_error *err);
struct kaon_seed kaon__seeder_next(struct kaon_seeder *seeder);

#endif

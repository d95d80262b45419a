/* SPDX-License-Identifier: Apache-2.0 */
/* Makes seeds. Owns a key, which no guest sees. */
#include "host/seed.h"

#include <string.h>
#include <sys/random.h>

#include "host/error.h"

enum kaon_status kaon__seeder_init(struct kaon_seeder *seeder,
                                   struct kaon_error *err)
{
    atomic_init(&seeder->count, 0);
    if (getentropy(seeder->key, sizeof seeder->key) != 0)
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "the kernel gives no random numbers "
                                "(getrandom): Linux has them since 3.17");
    return KAON_OK;
}

struct kaon_seed kaon__seeder_next(struct kaon_seeder *seeder)
{
    uint32_t block[KAON_CHACHA20_BLOCK_WORDS];
    struct kaon_seed seed;

    kaon_chacha20_block(block, seeder->key,
                        atomic_fetch_add(&seeder->count, 1));
    memcpy(&seed, block, sizeof seed);
    return seed;
}

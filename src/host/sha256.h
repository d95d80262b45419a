/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), of bytes that come in pieces; and digests as text. */
#ifndef KAON_SRC_HOST_SHA256_H
#define KAON_SRC_HOST_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KAON_SHA256_SIZE 32u
#define KAON_SHA256_BLOCK 64u
#define KAON_SHA256_TEXT 65u /* hexadecimal digits and a NUL */

struct kaon_digest {
    uint8_t bytes[KAON_SHA256_SIZE];
};

/* Takes whole blocks into a state. */
typedef void (*kaon_sha256_blocks)(uint32_t state[8], const uint8_t *bytes,
                                   size_t blocks);

struct kaon_sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    kaon_sha256_blocks blocks;
    uint8_t rest[KAON_SHA256_BLOCK]; /* length % 64 bytes of it are used */
};

void kaon__sha256_init(struct kaon_sha256 *hash);
void kaon__sha256_add(struct kaon_sha256 *hash, const void *bytes, size_t size);
void kaon__sha256_finish(struct kaon_sha256 *hash, struct kaon_digest *out);

/* All at once. */
struct kaon_digest kaon__sha256(const void *bytes, size_t size);

bool kaon__digest_equal(const struct kaon_digest *a,
                        const struct kaon_digest *b);

/* As 64 lower-case hexadecimal digits; and back, false if `text` is not just
 * that. */
void kaon__digest_format(const struct kaon_digest *digest,
                         char text[KAON_SHA256_TEXT]);
bool kaon__digest_parse(struct kaon_digest *out, const char *text);

/* For tests: what every CPU can do, and what some can (NULL: not this one). */
void kaon__sha256_plain(uint32_t state[8], const uint8_t *bytes, size_t blocks);
kaon_sha256_blocks kaon__sha256_fast(void);

#endif

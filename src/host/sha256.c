/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256, with the CPU's instructions for it where there are any.
 *
 * Pure: owns nothing, allocates nothing, calls no system. Not made to keep
 * secrets: what we hash is public, and nothing is wiped.
 */
#include "host/sha256.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <string.h>

static const uint32_t start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t rounds[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* ---- Any CPU ----------------------------------------------------------- */

static uint32_t load_be32(const uint8_t *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof word);
    return __builtin_bswap32(word);
}

static uint32_t rotate(uint32_t word, unsigned by)
{
    return word >> by | word << (32 - by);
}

/* The message schedule, as far back as it is still needed. */
static uint32_t next_word(uint32_t words[16], unsigned at)
{
    uint32_t old = words[(at + 1) % 16], young = words[(at + 14) % 16];
    uint32_t small0 = rotate(old, 7) ^ rotate(old, 18) ^ old >> 3;
    uint32_t small1 = rotate(young, 17) ^ rotate(young, 19) ^ young >> 10;

    return words[at % 16] += small0 + words[(at + 9) % 16] + small1;
}

/* The eight variables stay where they are, and change their names instead: in
 * round i, variable n of the standard is s[(n - i) % 8]. */
#define S(n) s[((n) + 64 - i) % 8]

static void take_block(uint32_t state[8], const uint8_t *bytes)
{
    uint32_t words[16], s[8];

    memcpy(s, state, sizeof s);
    for (unsigned i = 0; i < 16; i++)
        words[i] = load_be32(bytes + 4 * i);
#pragma GCC unroll 16
    for (unsigned i = 0; i < 64; i++) {
        uint32_t word = i < 16 ? words[i] : next_word(words, i);
        uint32_t big1 = rotate(S(4), 6) ^ rotate(S(4), 11) ^ rotate(S(4), 25);
        uint32_t big0 = rotate(S(0), 2) ^ rotate(S(0), 13) ^ rotate(S(0), 22);
        uint32_t choice = (S(4) & S(5)) ^ (~S(4) & S(6));
        uint32_t majority = (S(0) & S(1)) ^ (S(0) & S(2)) ^ (S(1) & S(2));
        uint32_t sum = S(7) + big1 + choice + rounds[i] + word;

        S(3) += sum;
        S(7) = sum + big0 + majority;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += s[i];
}
#undef S

void kaon__sha256_plain(uint32_t state[8], const uint8_t *bytes, size_t blocks)
{
    for (; blocks; blocks--, bytes += KAON_SHA256_BLOCK)
        take_block(state, bytes);
}

/* ---- CPUs with SHA-NI -------------------------------------------------- */

#define WITH_SHA __attribute__((target("sha,sse4.1")))

/* The next four words of the schedule, of the sixteen before. */
WITH_SHA static inline __m128i next_words(const __m128i words[4], unsigned at)
{
    __m128i last = words[(at + 3) % 4], sum;

    sum = _mm_sha256msg1_epu32(words[at % 4], words[(at + 1) % 4]);
    sum = _mm_add_epi32(sum, _mm_alignr_epi8(last, words[(at + 2) % 4], 4));
    return _mm_sha256msg2_epu32(sum, last);
}

WITH_SHA static void take_block_fast(__m128i *abef, __m128i *cdgh,
                                     const uint8_t *bytes)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i words[4], one = *abef, two = *cdgh;

#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; i++) {
        __m128i sum;

        words[i % 4] =
            i < 4 ? _mm_shuffle_epi8(
                        _mm_loadu_si128((const __m128i *)bytes + i), swap)
                  : next_words(words, i);
        sum = _mm_add_epi32(words[i % 4],
                            _mm_load_si128((const __m128i *)rounds + i));
        two = _mm_sha256rnds2_epu32(two, one, sum);
        one = _mm_sha256rnds2_epu32(one, two, _mm_shuffle_epi32(sum, 0x0e));
    }
    *abef = _mm_add_epi32(*abef, one);
    *cdgh = _mm_add_epi32(*cdgh, two);
}

/* The instructions want the state as ABEF and CDGH, highest word first. */
WITH_SHA static void take_blocks_fast(uint32_t state[8], const uint8_t *bytes,
                                      size_t blocks)
{
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4],
                                 (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6],
                                 (int)state[7]);

    for (; blocks; blocks--, bytes += KAON_SHA256_BLOCK)
        take_block_fast(&abef, &cdgh, bytes);
    state[0] = (uint32_t)_mm_extract_epi32(abef, 3);
    state[1] = (uint32_t)_mm_extract_epi32(abef, 2);
    state[2] = (uint32_t)_mm_extract_epi32(cdgh, 3);
    state[3] = (uint32_t)_mm_extract_epi32(cdgh, 2);
    state[4] = (uint32_t)_mm_extract_epi32(abef, 1);
    state[5] = (uint32_t)_mm_extract_epi32(abef, 0);
    state[6] = (uint32_t)_mm_extract_epi32(cdgh, 1);
    state[7] = (uint32_t)_mm_extract_epi32(cdgh, 0);
}

kaon_sha256_blocks kaon__sha256_fast(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) ||
        !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_SHA))
        return NULL;
    return take_blocks_fast;
}

/* Asked once in a process: under a hypervisor CPUID costs as much as hashing
 * a page. All threads store the same. */
static kaon_sha256_blocks choose(void)
{
    static _Atomic(kaon_sha256_blocks) chosen;
    kaon_sha256_blocks blocks =
        atomic_load_explicit(&chosen, memory_order_relaxed);

    if (!blocks) {
        blocks = kaon__sha256_fast();
        blocks = blocks ? blocks : kaon__sha256_plain;
        atomic_store_explicit(&chosen, blocks, memory_order_relaxed);
    }
    return blocks;
}

/* ---- Pieces ------------------------------------------------------------ */

void kaon__sha256_init(struct kaon_sha256 *hash)
{
    memcpy(hash->state, start, sizeof start);
    hash->length = 0;
    hash->blocks = choose();
}

void kaon__sha256_add(struct kaon_sha256 *hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    size_t used = hash->length % KAON_SHA256_BLOCK;

    hash->length += size;
    if (used) {
        size_t room = KAON_SHA256_BLOCK - used;
        size_t taken = size < room ? size : room;

        memcpy(hash->rest + used, at, taken);
        at += taken;
        size -= taken;
        if (taken < room)
            return;
        hash->blocks(hash->state, hash->rest, 1);
    }
    hash->blocks(hash->state, at, size / KAON_SHA256_BLOCK);
    if (size % KAON_SHA256_BLOCK)
        memcpy(hash->rest, at + size - size % KAON_SHA256_BLOCK,
               size % KAON_SHA256_BLOCK);
}

/* A one bit, zeroes, and the length in bits at the end of a block. */
void kaon__sha256_finish(struct kaon_sha256 *hash, struct kaon_digest *out)
{
    static const uint8_t padding[KAON_SHA256_BLOCK] = { 0x80 };
    uint64_t bits = __builtin_bswap64(hash->length * 8);
    size_t used = hash->length % KAON_SHA256_BLOCK;

    kaon__sha256_add(hash, padding, (used < 56 ? 56 : 120) - used);
    kaon__sha256_add(hash, &bits, sizeof bits);
    for (unsigned i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(hash->state[i]);

        memcpy(out->bytes + 4 * i, &word, sizeof word);
    }
}

struct kaon_digest kaon__sha256(const void *bytes, size_t size)
{
    struct kaon_sha256 hash;
    struct kaon_digest digest;

    kaon__sha256_init(&hash);
    kaon__sha256_add(&hash, bytes, size);
    kaon__sha256_finish(&hash, &digest);
    return digest;
}

/* ---- Digests as text --------------------------------------------------- */

bool kaon__digest_equal(const struct kaon_digest *a,
                        const struct kaon_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void kaon__digest_format(const struct kaon_digest *digest,
                         char text[KAON_SHA256_TEXT])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < KAON_SHA256_SIZE; i++) {
        text[2 * i] = digits[digest->bytes[i] >> 4];
        text[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    text[2 * KAON_SHA256_SIZE] = '\0';
}

/* The digit's worth, or -1. Capitals are none: a digest has one spelling. */
static int worth(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool kaon__digest_parse(struct kaon_digest *out, const char *text)
{
    for (size_t i = 0; i < KAON_SHA256_SIZE; i++) {
        int high = worth(text[2 * i]);
        int low = high < 0 ? -1 : worth(text[2 * i + 1]);

        if (low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * KAON_SHA256_SIZE] == '\0';
}

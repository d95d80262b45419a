/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256: the standard's own examples, in all pieces, on any CPU. */
#include "host/sha256.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *text, *digest;
} vectors[] = {
    { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc",
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
      "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
};

static void check(const struct kaon_digest *digest, const char *expected)
{
    char text[KAON_SHA256_TEXT];

    kaon__digest_format(digest, text);
    assert_string_equal(text, expected);
}

static void the_standards_examples_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(vectors); i++) {
        const char *text = vectors[i].text;
        struct kaon_digest digest = kaon__sha256(text, strlen(text));

        check(&digest, vectors[i].digest);
    }
}

static void a_million_times_a_holds(void **state)
{
    struct kaon_digest digest;
    struct kaon_sha256 hash;
    char piece[1000];

    (void)state;
    memset(piece, 'a', sizeof piece);
    kaon__sha256_init(&hash);
    for (unsigned i = 0; i < 1000; i++)
        kaon__sha256_add(&hash, piece, sizeof piece);
    kaon__sha256_finish(&hash, &digest);
    check(&digest, "cdc76e5c9914fb9281a1c7e284d73e67"
                   "f1809a48a497200e046d39ccc7112cd0");
}

/* Every length around the padding's corners, cut in two at every place. */
static void pieces_do_not_matter(void **state)
{
    uint8_t bytes[200];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 1);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        struct kaon_digest whole = kaon__sha256(bytes, size);

        for (size_t cut = 0; cut <= size; cut++) {
            struct kaon_sha256 hash;
            struct kaon_digest pieces;

            kaon__sha256_init(&hash);
            kaon__sha256_add(&hash, bytes, cut);
            kaon__sha256_add(&hash, bytes + cut, size - cut);
            kaon__sha256_finish(&hash, &pieces);
            assert_true(kaon__digest_equal(&whole, &pieces));
        }
    }
}

static void every_cpu_gets_the_same(void **state)
{
    kaon_sha256_blocks fast = kaon__sha256_fast();
    uint32_t one[8], two[8];
    uint8_t bytes[64 * 16];

    (void)state;
    if (!fast)
        harness_skip("this CPU has no SHA instructions");
    srandom(1);
    for (unsigned round = 0; round < 100; round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)random();
        for (size_t i = 0; i < 8; i++)
            one[i] = two[i] = (uint32_t)random() * 2u + (round & 1);
        kaon__sha256_plain(one, bytes, round % 17);
        fast(two, bytes, round % 17);
        assert_memory_equal(one, two, sizeof one);
    }
}

/* As every CPU without the instructions computes it. */
static void the_plain_way_holds_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(vectors); i++) {
        const char *text = vectors[i].text;
        struct kaon_digest digest;
        struct kaon_sha256 hash;

        kaon__sha256_init(&hash);
        hash.blocks = kaon__sha256_plain;
        kaon__sha256_add(&hash, text, strlen(text));
        kaon__sha256_finish(&hash, &digest);
        check(&digest, vectors[i].digest);
    }
}

static void a_digest_has_one_spelling(void **state)
{
    static const char good[] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct kaon_digest digest;
    char text[80];

    (void)state;
    assert_true(kaon__digest_parse(&digest, good));
    check(&digest, good);
    for (size_t i = 0; i < 64; i++) {
        static const char wrong[] = "ABFg/:G `\n\x80";

        for (size_t j = 0; j < sizeof wrong; j++) {
            strcpy(text, good);
            text[i] = wrong[j]; /* the NUL, too: then it is too short */
            assert_false(kaon__digest_parse(&digest, text));
        }
    }
    strcpy(text, good);
    strcat(text, "0");
    assert_false(kaon__digest_parse(&digest, text));
}

TESTS(TEST(the_standards_examples_hold), TEST(the_plain_way_holds_too),
      TEST(a_million_times_a_holds), TEST(pieces_do_not_matter),
      TEST(every_cpu_gets_the_same), TEST(a_digest_has_one_spelling), )

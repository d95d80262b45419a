/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's allocator, on memory of the host. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/heap.h"
#include "support/harness.h"

#define HEAP_SIZE ((size_t)1 << 20)

static void *memory_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    /* Pages are to be counted one by one. */
    madvise(memory, size, MADV_NOHUGEPAGE);
    return memory;
}

/* Pages of memory that were ever touched. */
static size_t pages_touched(void *memory, size_t size)
{
    size_t pages = size / 4096, touched = 0;
    unsigned char *resident = malloc(pages);

    assert_int_equal(mincore(memory, size, resident), 0);
    for (size_t i = 0; i < pages; i++)
        touched += resident[i] & 1;
    free(resident);
    return touched;
}

/* Everything is free again, and in one piece. */
static void assert_all_free(const struct kaon__heap *heap, size_t available)
{
    assert_int_equal(heap->used, 0);
    assert_int_equal(heap->top, heap->low);
    for (size_t i = 0; i < KAON__HEAP_MAP_WORDS; i++)
        assert_true(heap->map[i] == 0);
    assert_int_equal(kaon__heap_available(heap), available);
}

struct fixture {
    void *memory;
    struct kaon__heap heap;
    size_t available;
};

static void begin(struct fixture *f, size_t size)
{
    f->memory = memory_map(size);
    kaon__heap_init(&f->heap, f->memory, size);
    f->available = kaon__heap_available(&f->heap);
}

static void end(struct fixture *f, size_t size)
{
    munmap(f->memory, size);
}

static void blocks_are_aligned_and_apart(void **state)
{
    struct fixture f;
    unsigned char *blocks[200];

    (void)state;
    begin(&f, HEAP_SIZE);
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = kaon__heap_alloc(&f.heap, i);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal(blocks[i][j], (unsigned char)i);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(kaon__heap_free(&f.heap, blocks[i * 7 % 200]), 0);
    assert_all_free(&f.heap, f.available);
    end(&f, HEAP_SIZE);
}

static void what_does_not_fit_is_null(void **state)
{
    static const size_t sizes[] = { HEAP_SIZE,       HEAP_SIZE * 2,
                                    (size_t)1 << 40, ((size_t)1 << 40) + 1,
                                    SIZE_MAX - 16,   SIZE_MAX };
    struct fixture f;

    (void)state;
    begin(&f, HEAP_SIZE);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_null(kaon__heap_alloc(&f.heap, sizes[i]));
        assert_null(kaon__heap_alloc_zero(&f.heap, sizes[i]));
        assert_null(kaon__heap_alloc_aligned(&f.heap, 64, sizes[i]));
    }
    assert_all_free(&f.heap, f.available);
    end(&f, HEAP_SIZE);
}

static void the_whole_heap_can_be_one_block(void **state)
{
    struct fixture f;
    unsigned char *all;

    (void)state;
    begin(&f, HEAP_SIZE);
    for (int round = 0; round < 3; round++) {
        all = kaon__heap_alloc(&f.heap, f.available - sizeof(size_t));
        assert_non_null(all);
        assert_int_equal(kaon__heap_available(&f.heap), 0);
        assert_null(kaon__heap_alloc(&f.heap, 0));
        memset(all, 0xff, f.available - sizeof(size_t));
        assert_int_equal(kaon__heap_free(&f.heap, all), 0);
        assert_all_free(&f.heap, f.available);
    }
    end(&f, HEAP_SIZE);
}

static void a_heap_may_be_tiny_or_nothing(void **state)
{
    _Alignas(16) unsigned char memory[256] = { 0 };

    (void)state;
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t size = 0; size < 200; size++) {
            struct kaon__heap heap;
            unsigned char *block;

            kaon__heap_init(&heap, memory + offset, size);
            block = kaon__heap_alloc(&heap, 1);
            if (size < 32)
                assert_null(block);
            if (size >= 64)
                assert_non_null(block);
            if (!block)
                continue;
            assert_true(block >= memory + offset);
            assert_true(block + 24 <= memory + offset + size);
            assert_int_equal(kaon__heap_free(&heap, block), 0);
        }
    }
}

static void freed_neighbours_become_one(void **state)
{
    struct fixture f;
    void *a, *b, *c, *wall, *whole;

    (void)state;
    /* Each order of freeing three neighbours. */
    for (int order = 0; order < 6; order++) {
        static const char orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 },
                                           { 1, 0, 2 }, { 1, 2, 0 },
                                           { 2, 0, 1 }, { 2, 1, 0 } };
        void *blocks[3];

        begin(&f, HEAP_SIZE);
        blocks[0] = a = kaon__heap_alloc(&f.heap, 1000);
        blocks[1] = b = kaon__heap_alloc(&f.heap, 1000);
        blocks[2] = c = kaon__heap_alloc(&f.heap, 1000);
        wall = kaon__heap_alloc(&f.heap, 1000);
        for (int i = 0; i < 3; i++)
            assert_int_equal(
                kaon__heap_free(&f.heap, blocks[(int)orders[order][i]]), 0);
        whole = kaon__heap_alloc(&f.heap, 3 * 1008 - 8);
        assert_ptr_equal(whole, a);
        assert_true(b < c && c < wall);
        assert_int_equal(kaon__heap_free(&f.heap, whole), 0);
        assert_int_equal(kaon__heap_free(&f.heap, wall), 0);
        assert_all_free(&f.heap, f.available);
        end(&f, HEAP_SIZE);
    }
}

static void the_last_fitting_block_is_found(void **state)
{
    struct fixture f;
    void *small[40], *walls[40], *fits, *wall, *rest;

    (void)state;
    begin(&f, HEAP_SIZE);
    fits = kaon__heap_alloc(&f.heap, 5100);
    wall = kaon__heap_alloc(&f.heap, 1);
    for (int i = 0; i < 40; i++) {
        small[i] = kaon__heap_alloc(&f.heap, 5000);
        walls[i] = kaon__heap_alloc(&f.heap, 1);
    }
    while ((rest = kaon__heap_alloc(&f.heap, 64)))
        ;
    /* They share a bin, in which the one that fits now comes last. */
    assert_int_equal(kaon__heap_free(&f.heap, fits), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(kaon__heap_free(&f.heap, small[i]), 0);
    assert_ptr_equal(kaon__heap_alloc(&f.heap, 5100), fits);
    assert_non_null(wall);
    assert_non_null(walls[0]);
    end(&f, HEAP_SIZE);
}

static void aligned_blocks_are_aligned(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, HEAP_SIZE);
    assert_null(kaon__heap_alloc_aligned(&f.heap, 0, 1));
    assert_null(kaon__heap_alloc_aligned(&f.heap, 24, 1));
    assert_null(kaon__heap_alloc_aligned(&f.heap, SIZE_MAX, 1));
    assert_null(kaon__heap_alloc_aligned(&f.heap, (SIZE_MAX >> 1) + 1, 1));
    for (size_t alignment = 1; alignment <= 65536; alignment *= 2) {
        unsigned char *blocks[3];

        for (size_t i = 0; i < 3; i++) {
            blocks[i] = kaon__heap_alloc_aligned(&f.heap, alignment, 100 * i);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % alignment, 0);
            memset(blocks[i], 0xff, 100 * i);
        }
        assert_int_equal(kaon__heap_free(&f.heap, blocks[1]), 0);
        assert_int_equal(kaon__heap_free(&f.heap, blocks[0]), 0);
        assert_int_equal(kaon__heap_free(&f.heap, blocks[2]), 0);
        assert_all_free(&f.heap, f.available);
    }
    end(&f, HEAP_SIZE);
}

static void zeroed_blocks_are_zero_after_any_use(void **state)
{
    struct fixture f;
    unsigned char *block;

    (void)state;
    begin(&f, HEAP_SIZE);
    for (size_t size = 1; size < 40000; size = size * 3 + 1) {
        unsigned char *dirty = kaon__heap_alloc(&f.heap, size);

        memset(dirty, 0xff, size);
        assert_int_equal(kaon__heap_free(&f.heap, dirty), 0);
        block = kaon__heap_alloc_zero(&f.heap, size * 2);
        for (size_t i = 0; i < size * 2; i++)
            assert_int_equal(block[i], 0);
        memset(block, 0xff, size * 2);
        assert_int_equal(kaon__heap_free(&f.heap, block), 0);
    }
    end(&f, HEAP_SIZE);
}

static void untouched_memory_stays_untouched(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, HEAP_SIZE);
    assert_int_equal(pages_touched(f.memory, HEAP_SIZE), 0);
    assert_non_null(kaon__heap_alloc(&f.heap, 100));
    assert_int_equal(pages_touched(f.memory, HEAP_SIZE), 1);
    /* Fresh memory is zero already. */
    assert_non_null(kaon__heap_alloc_zero(&f.heap, HEAP_SIZE / 2));
    assert_int_equal(pages_touched(f.memory, HEAP_SIZE), 1);
    end(&f, HEAP_SIZE);
}

static void resizing_keeps_the_content(void **state)
{
    struct fixture f;
    void *block, *moved, *wall;

    (void)state;
    begin(&f, HEAP_SIZE);
    block = kaon__heap_alloc(&f.heap, 100);
    memset(block, 7, 100);
    /* In place at the top, then out of the way, then smaller in place. */
    assert_int_equal(kaon__heap_resize(&f.heap, block, 5000, &moved), 0);
    assert_ptr_equal(moved, block);
    wall = kaon__heap_alloc(&f.heap, 16);
    assert_int_equal(kaon__heap_resize(&f.heap, block, 9000, &moved), 0);
    assert_ptr_not_equal(moved, block);
    for (int i = 0; i < 100; i++)
        assert_int_equal(((unsigned char *)moved)[i], 7);
    block = moved;
    assert_int_equal(kaon__heap_resize(&f.heap, block, 50, &moved), 0);
    assert_ptr_equal(moved, block);

    /* Into a free neighbour. */
    assert_int_equal(kaon__heap_free(&f.heap, wall), 0);
    wall = kaon__heap_alloc(&f.heap, 5000);
    assert_non_null(wall);
    assert_int_equal(kaon__heap_resize(&f.heap, block, 2 * HEAP_SIZE, &moved),
                     0);
    assert_null(moved);
    assert_int_equal(((unsigned char *)block)[49], 7);
    assert_int_equal(kaon__heap_resize(&f.heap, block, SIZE_MAX, &moved), 0);
    assert_null(moved);
    assert_int_equal(kaon__heap_free(&f.heap, block), 0);
    assert_int_equal(kaon__heap_free(&f.heap, wall), 0);
    assert_all_free(&f.heap, f.available);
    end(&f, HEAP_SIZE);
}

static void what_must_not_be_freed_is_told_apart(void **state)
{
    struct fixture f;
    unsigned char *a, *b, *wall;
    void *out;

    (void)state;
    begin(&f, HEAP_SIZE);
    a = kaon__heap_alloc(&f.heap, 100);
    b = kaon__heap_alloc(&f.heap, 100);
    wall = kaon__heap_alloc(&f.heap, 100);
    assert_int_equal(kaon__heap_free(&f.heap, a + 8), KAON__HEAP_FOREIGN);
    assert_int_equal(kaon__heap_free(&f.heap, &f), KAON__HEAP_FOREIGN);
    assert_int_equal(kaon__heap_free(&f.heap, wall + HEAP_SIZE / 2),
                     KAON__HEAP_FOREIGN);

    assert_int_equal(kaon__heap_free(&f.heap, a), KAON__HEAP_OK);
    assert_int_equal(kaon__heap_free(&f.heap, a), KAON__HEAP_TWICE);
    assert_int_equal(kaon__heap_free(&f.heap, b), KAON__HEAP_OK);
    assert_int_equal(kaon__heap_free(&f.heap, b), KAON__HEAP_TWICE);
    assert_int_equal(kaon__heap_resize(&f.heap, b, 1, &out), KAON__HEAP_TWICE);
    assert_int_equal(kaon__heap_free(&f.heap, wall), KAON__HEAP_OK);
    assert_int_equal(kaon__heap_free(&f.heap, wall), KAON__HEAP_TWICE);
    assert_all_free(&f.heap, f.available);
    end(&f, HEAP_SIZE);
}

static void an_overrun_is_seen_when_freed(void **state)
{
    struct fixture f;
    unsigned char *a, *b;

    (void)state;
    begin(&f, HEAP_SIZE);
    a = kaon__heap_alloc(&f.heap, 24);
    b = kaon__heap_alloc(&f.heap, 24);
    memset(a, 0, 24 + sizeof(size_t));
    assert_int_equal(kaon__heap_free(&f.heap, a), KAON__HEAP_DAMAGED);
    assert_int_equal(kaon__heap_free(&f.heap, b), KAON__HEAP_TWICE);
    end(&f, HEAP_SIZE);
}

/* Walks all blocks and compares them with what the heap says of itself. */
static void assert_sound(const struct kaon__heap *heap)
{
    size_t used = 0;
    int before_used = 1;

    for (uintptr_t at = heap->low; at != heap->top;) {
        size_t head = *(const size_t *)at, size = head & ~(size_t)15;
        int in_use = (int)(head & 1);

        assert_true(at < heap->top && size >= 32);
        assert_int_equal((head >> 1) & 1, before_used);
        assert_true(in_use || before_used);
        if (in_use)
            used += size;
        else
            assert_int_equal(*(const size_t *)(at + size - 8), size);
        at += size;
        before_used = in_use;
    }
    assert_true(before_used);
    assert_int_equal(used, heap->used);
}

static uint32_t random_next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void random_use_keeps_the_heap_sound(void **state)
{
    enum { SLOTS = 128, ROUNDS = 60000 };
    struct fixture f;
    unsigned char *blocks[SLOTS] = { NULL };
    size_t sizes[SLOTS] = { 0 };
    uint32_t random = 1;

    (void)state;
    begin(&f, HEAP_SIZE);
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = random_next(&random) % SLOTS;
        size_t size = random_next(&random) % (1u << random_next(&random) % 16);
        unsigned char *block;
        void *moved;

        for (size_t j = 0; j < sizes[i]; j += 97)
            assert_int_equal(blocks[i][j], (unsigned char)i);
        if (!blocks[i]) {
            block =
                round % 3
                    ? kaon__heap_alloc(&f.heap, size)
                    : kaon__heap_alloc_aligned(&f.heap, 16u << round % 8, size);
        } else if (round % 2) {
            assert_int_equal(
                kaon__heap_resize(&f.heap, blocks[i], size, &moved), 0);
            block = moved ? moved : blocks[i];
            size = moved ? size : sizes[i];
        } else {
            assert_int_equal(kaon__heap_free(&f.heap, blocks[i]), 0);
            block = NULL;
        }
        blocks[i] = block;
        sizes[i] = block ? size : 0;
        if (block)
            memset(block, (int)i, size);
        if (round % 64 == 0)
            assert_sound(&f.heap);
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (blocks[i])
            assert_int_equal(kaon__heap_free(&f.heap, blocks[i]), 0);
    assert_all_free(&f.heap, f.available);
    end(&f, HEAP_SIZE);
}

/* clang-format off */
TESTS(
    TEST(blocks_are_aligned_and_apart),
    TEST(what_does_not_fit_is_null),
    TEST(the_whole_heap_can_be_one_block),
    TEST(a_heap_may_be_tiny_or_nothing),
    TEST(freed_neighbours_become_one),
    TEST(the_last_fitting_block_is_found),
    TEST(aligned_blocks_are_aligned),
    TEST(zeroed_blocks_are_zero_after_any_use),
    TEST(untouched_memory_stays_untouched),
    TEST(resizing_keeps_the_content),
    TEST(what_must_not_be_freed_is_told_apart),
    TEST(an_overrun_is_seen_when_freed),
    TEST(random_use_keeps_the_heap_sound),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocator: segregated bins of free blocks with boundary tags.
 *
 * Owns the memory between low and high. Never touches a page before a block
 * of it is given out, for the host only pays for pages that were touched.
 * Nothing here takes longer than a bounded number of steps, but for copying,
 * clearing, and the last look around before the heap is called exhausted.
 *
 * Memory from low up to top is one block after the other. A block is a header
 * of one word, its size with two flags, and the payload, aligned to 16. While
 * it is free, its payload begins with the links of its bin and ends with its
 * size once more, which is how the block behind it finds it.
 *
 * Invariants: sizes are multiples of 16, at least BLOCK_MIN; two free blocks
 * are never neighbours; the block below top is in use. From top on there is
 * no header: that the block before is in use is known.
 */
#include "guest/heap.h"

#define USED ((size_t)1)        /* this block is in use */
#define BEFORE_USED ((size_t)2) /* the block before it is in use */
#define FLAGS ((size_t)15)
#define HEADER sizeof(size_t)
#define GRAIN ((size_t)16)
#define BLOCK_MIN ((size_t)32) /* header, two links, and the size again */
#define SIZE_MAX_HERE ((size_t)1 << 40)
#define LOOKS ((size_t)16) /* blocks looked at in a bin, at first */

struct kaon__heap_block {
    size_t head;                              /* size and flags */
    struct kaon__heap_block *next, *previous; /* while free */
};

static size_t block_size(const struct kaon__heap_block *block)
{
    return block->head & ~FLAGS;
}

static struct kaon__heap_block *block_at(uintptr_t address)
{
    return (struct kaon__heap_block *)address;
}

static uintptr_t block_end(const struct kaon__heap_block *block)
{
    return (uintptr_t)block + block_size(block);
}

static void *payload(struct kaon__heap_block *block)
{
    return (char *)block + HEADER;
}

static struct kaon__heap_block *block_of(void *memory)
{
    return (struct kaon__heap_block *)(void *)((char *)memory - HEADER);
}

/* The word before a block is the size of the free block before it. */
static size_t *size_before(uintptr_t address)
{
    return (size_t *)(address - HEADER);
}

/* The size of the block for so many bytes, or 0 if they are absurdly many. */
static size_t size_for(size_t bytes)
{
    size_t size;

    if (bytes > SIZE_MAX_HERE)
        return 0;
    size = (bytes + HEADER + GRAIN - 1) & ~(GRAIN - 1);
    return size < BLOCK_MIN ? BLOCK_MIN : size;
}

/* Bins grow with the size: its power of two, and the two bits after it. */
static unsigned bin_of(size_t size)
{
    unsigned power = 63 - (unsigned)__builtin_clzll(size);
    unsigned quarter = (unsigned)(size >> (power - 2)) & 3;
    unsigned bin = (power - 5) * 4 + quarter;

    return bin < KAON__HEAP_BINS ? bin : KAON__HEAP_BINS - 1;
}

/* The first bin from `bin` on that is not empty, or KAON__HEAP_BINS. */
static unsigned bin_next(const struct kaon__heap *heap, unsigned bin)
{
    unsigned word = bin / 64;
    uint64_t bits;

    if (bin >= KAON__HEAP_BINS)
        return KAON__HEAP_BINS;
    bits = heap->map[word] & ~UINT64_C(0) << bin % 64;
    while (!bits) {
        if (++word == KAON__HEAP_MAP_WORDS)
            return KAON__HEAP_BINS;
        bits = heap->map[word];
    }
    return word * 64 + (unsigned)__builtin_ctzll(bits);
}

static void bin_insert(struct kaon__heap *heap, struct kaon__heap_block *block)
{
    unsigned bin = bin_of(block_size(block));

    block->previous = NULL;
    block->next = heap->bins[bin];
    if (block->next)
        block->next->previous = block;
    heap->bins[bin] = block;
    heap->map[bin / 64] |= UINT64_C(1) << bin % 64;
}

static void bin_remove(struct kaon__heap *heap, struct kaon__heap_block *block)
{
    unsigned bin = bin_of(block_size(block));

    if (block->next)
        block->next->previous = block->previous;
    if (block->previous)
        block->previous->next = block->next;
    else
        heap->bins[bin] = block->next;
    if (!heap->bins[bin])
        heap->map[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

/*
 * A free block of at least that size, out of its bin, or NULL. In a bin of
 * mixed sizes only so many blocks are looked at; any in a later bin will do.
 */
static struct kaon__heap_block *bin_take(struct kaon__heap *heap, size_t size,
                                         size_t looks)
{
    unsigned bin = bin_of(size);
    struct kaon__heap_block *block = heap->bins[bin];

    for (; block && looks; looks--, block = block->next) {
        if (block_size(block) >= size) {
            bin_remove(heap, block);
            return block;
        }
    }
    bin = bin_next(heap, bin + 1);
    if (bin == KAON__HEAP_BINS)
        return NULL;
    block = heap->bins[bin];
    bin_remove(heap, block);
    return block;
}

/* Says to the block at address, if there is one, whether its neighbour is. */
static void tell_next(struct kaon__heap *heap, uintptr_t address, int used)
{
    struct kaon__heap_block *next = block_at(address);

    if (address == heap->top)
        return;
    next->head = used ? next->head | BEFORE_USED : next->head & ~BEFORE_USED;
}

/*
 * Makes a free block of [address, address + size), whose neighbour before is
 * in use, merging it with what is free behind it. At top it just ends there.
 */
static void release(struct kaon__heap *heap, uintptr_t address, size_t size)
{
    struct kaon__heap_block *block = block_at(address);
    uintptr_t end = address + size;

    /* Seen by who frees it again, even if it is part of another by then. */
    block->head = size | BEFORE_USED;
    if (end != heap->top && !(block_at(end)->head & USED)) {
        bin_remove(heap, block_at(end));
        end = block_end(block_at(end));
    }
    if (end == heap->top) {
        heap->top = address;
        return;
    }
    block->head = (end - address) | BEFORE_USED;
    *size_before(end) = end - address;
    tell_next(heap, end, 0);
    bin_insert(heap, block);
}

/* Gives back what a block in use has beyond size, if that makes a block. */
static void trim(struct kaon__heap *heap, struct kaon__heap_block *block,
                 size_t size)
{
    size_t rest = block_size(block) - size;

    if (rest < BLOCK_MIN)
        return;
    block->head -= rest;
    heap->used -= rest;
    release(heap, block_end(block), rest);
}

/* Moves top up over a new block. */
static struct kaon__heap_block *top_take(struct kaon__heap *heap, size_t size)
{
    struct kaon__heap_block *block = block_at(heap->top);

    if (size > heap->high - heap->top)
        return NULL;
    heap->top += size;
    if (heap->fresh < heap->top)
        heap->fresh = heap->top;
    block->head = size | BEFORE_USED;
    return block;
}

void kaon__heap_init(struct kaon__heap *heap, void *memory, size_t size)
{
    uintptr_t start = (uintptr_t)memory;
    uintptr_t end = start + size;

    *heap = (struct kaon__heap){ 0 };
    /* Payloads are aligned, so headers are one word before. */
    heap->low = ((start + HEADER + GRAIN - 1) & ~(GRAIN - 1)) - HEADER;
    heap->high = (end & ~(GRAIN - 1)) - HEADER;
    if (size < BLOCK_MIN || heap->high < heap->low)
        heap->high = heap->low;
    heap->top = heap->fresh = heap->low;
}

void *kaon__heap_alloc(struct kaon__heap *heap, size_t bytes)
{
    size_t size = size_for(bytes);
    struct kaon__heap_block *block;

    if (!size)
        return NULL;
    block = bin_take(heap, size, LOOKS);
    if (!block)
        block = top_take(heap, size);
    if (!block)
        block = bin_take(heap, size, SIZE_MAX);
    if (!block)
        return NULL;
    block->head |= USED;
    tell_next(heap, block_end(block), 1);
    heap->used += block_size(block);
    trim(heap, block, size);
    return payload(block);
}

void *kaon__heap_alloc_zero(struct kaon__heap *heap, size_t bytes)
{
    uintptr_t fresh = heap->fresh;
    char *memory = kaon__heap_alloc(heap, bytes);

    if (!memory)
        return NULL;
    if ((uintptr_t)memory >= fresh)
        return memory;
    if (bytes > fresh - (uintptr_t)memory)
        bytes = fresh - (uintptr_t)memory;
    __builtin_memset(memory, 0, bytes);
    return memory;
}

void *kaon__heap_alloc_aligned(struct kaon__heap *heap, size_t alignment,
                               size_t bytes)
{
    struct kaon__heap_block *block, *aligned;
    uintptr_t at, address;
    size_t size = size_for(bytes), front;

    if (!alignment || alignment & (alignment - 1))
        return NULL;
    if (alignment <= GRAIN)
        return kaon__heap_alloc(heap, bytes);
    if (!size || alignment > SIZE_MAX_HERE)
        return NULL;
    /* Room for a whole free block before the aligned one. */
    at = (uintptr_t)kaon__heap_alloc(heap, size + alignment + BLOCK_MIN);
    if (!at)
        return NULL;

    block = block_of((void *)at);
    address = (at + alignment - 1) & ~(alignment - 1);
    if (address != at && address - at < BLOCK_MIN)
        address += alignment;
    front = address - at;
    aligned = block_of((void *)address);
    if (front) {
        aligned->head = (block_size(block) - front) | USED | BEFORE_USED;
        heap->used -= front;
        release(heap, (uintptr_t)block, front);
    }
    trim(heap, aligned, size);
    return (void *)address;
}

/* Whether memory is the payload of a block in use, as far as can be told. */
static enum kaon__heap_status judge(const struct kaon__heap *heap,
                                    const void *memory)
{
    uintptr_t at = (uintptr_t)memory - HEADER;
    const struct kaon__heap_block *block = block_at(at);

    if ((uintptr_t)memory % GRAIN || at < heap->low || at >= heap->fresh)
        return KAON__HEAP_FOREIGN;
    /* Above top nothing is in use, so it was once, if ever. */
    if (at >= heap->top || !(block->head & USED))
        return KAON__HEAP_TWICE;
    if (block_size(block) < BLOCK_MIN || block_size(block) > heap->top - at)
        return KAON__HEAP_DAMAGED;
    if (block_end(block) != heap->top &&
        !(block_at(block_end(block))->head & BEFORE_USED))
        return KAON__HEAP_DAMAGED;
    return KAON__HEAP_OK;
}

enum kaon__heap_status kaon__heap_free(struct kaon__heap *heap, void *memory)
{
    enum kaon__heap_status status = judge(heap, memory);
    struct kaon__heap_block *block;
    uintptr_t address;
    size_t size;

    if (status)
        return status;
    block = block_of(memory);
    address = (uintptr_t)block;
    size = block_size(block);
    heap->used -= size;
    block->head &= ~USED;
    if (!(block->head & BEFORE_USED)) {
        size += *size_before(address);
        address -= *size_before(address);
        bin_remove(heap, block_at(address));
    }
    release(heap, address, size);
    return KAON__HEAP_OK;
}

/* Grows a block in place by what is free behind it; 0 if that is too little. */
static int grow(struct kaon__heap *heap, struct kaon__heap_block *block,
                size_t size)
{
    struct kaon__heap_block *next = block_at(block_end(block));
    size_t more = size - block_size(block);

    if ((uintptr_t)next == heap->top) {
        if (!top_take(heap, more))
            return 0;
    } else {
        if (next->head & USED || block_size(next) < more)
            return 0;
        bin_remove(heap, next);
        more = block_size(next);
        tell_next(heap, block_end(next), 1);
    }
    block->head += more;
    heap->used += more;
    trim(heap, block, size);
    return 1;
}

enum kaon__heap_status kaon__heap_resize(struct kaon__heap *heap, void *memory,
                                         size_t bytes, void **out)
{
    enum kaon__heap_status status = judge(heap, memory);
    size_t size = size_for(bytes), old;
    struct kaon__heap_block *block;
    void *other;

    if (status)
        return status;
    *out = NULL;
    if (!size)
        return KAON__HEAP_OK;
    block = block_of(memory);
    old = block_size(block);
    if (size <= old || grow(heap, block, size)) {
        if (size < old)
            trim(heap, block, size);
        *out = memory;
        return KAON__HEAP_OK;
    }
    other = kaon__heap_alloc(heap, bytes);
    if (!other)
        return KAON__HEAP_OK;
    __builtin_memcpy(other, memory, old - HEADER);
    *out = other;
    return kaon__heap_free(heap, memory);
}

size_t kaon__heap_available(const struct kaon__heap *heap)
{
    return heap->high - heap->low - heap->used;
}

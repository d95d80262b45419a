/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's heap under its usual names.
 *
 * Owns the one heap, in the memory that the mailbox names. A guest that frees
 * what it must not is stopped here, before damage spreads.
 */
#include "guest/exchange.h"
#include "guest/heap.h"

static struct kaon__heap the_heap;

static struct kaon__heap *heap(void)
{
    const struct kaon_mailbox *mailbox = kaon__exchange.mailbox;

    if (!the_heap.low)
        kaon__heap_init(&the_heap, (void *)(uintptr_t)mailbox->heap,
                        mailbox->heap_size);
    return &the_heap;
}

static void check(enum kaon__heap_status status)
{
    switch (status) {
    case KAON__HEAP_OK: return;
    case KAON__HEAP_FOREIGN:
        kaon_abort(0, "free or realloc of what is not from malloc");
    case KAON__HEAP_TWICE:
        kaon_abort(0, "free or realloc of memory that is free already");
    case KAON__HEAP_DAMAGED:
        kaon_abort(0, "the heap is damaged: something wrote past its memory");
    }
}

void *kaon_malloc(size_t size)
{
    return kaon__heap_alloc(heap(), size);
}

void *kaon_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return kaon__heap_alloc_zero(heap(), bytes);
}

void kaon_free(void *memory)
{
    if (memory)
        check(kaon__heap_free(heap(), memory));
}

void *kaon_realloc(void *memory, size_t size)
{
    void *moved;

    if (!memory)
        return kaon_malloc(size);
    if (!size) {
        kaon_free(memory);
        return NULL;
    }
    check(kaon__heap_resize(heap(), memory, size, &moved));
    return moved;
}

void *kaon_aligned_alloc(size_t alignment, size_t size)
{
    return kaon__heap_alloc_aligned(heap(), alignment, size);
}

size_t kaon_heap_free(void)
{
    return kaon__heap_available(heap());
}

#ifndef KAON__HOSTED_TEST
#define ALSO(name) weak, alias(#name)
void *malloc(size_t size)
    __attribute__((ALSO(kaon_malloc), malloc, alloc_size(1)));
void *calloc(size_t count, size_t size)
    __attribute__((ALSO(kaon_calloc), malloc, alloc_size(1, 2)));
void *realloc(void *memory, size_t size)
    __attribute__((ALSO(kaon_realloc), alloc_size(2)));
void free(void *memory) __attribute__((ALSO(kaon_free)));
void *aligned_alloc(size_t alignment, size_t size)
    __attribute__((ALSO(kaon_aligned_alloc), malloc, alloc_size(2)));
#endif

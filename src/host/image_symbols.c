/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image's symbols: which function or object holds an address.
 *
 * Owns them. They are read from the ELF when somebody first asks, which most
 * never do: only a fault has a place to be named.
 */
#include "host/image.h"

#include <stdlib.h>

#include "host/elf.h"

/* The size of one that has none in the ELF reaches to the next symbol. */
struct symbol {
    uint64_t address, size;
    const char *name; /* in the image's file */
};

/* Never changes once it is in its place. */
struct kaon_image_symbols {
    uint32_t count;
    struct symbol list[]; /* ascending addresses, all different */
};

/* ---- Reading ----------------------------------------------------------- */

/*
 * Ascending addresses. Of several symbols at one address the largest comes
 * first, and one without a size last; the rest only makes the order certain.
 */
static int by_address(const void *left, const void *right)
{
    const struct symbol *a = left, *b = right;

    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return a->name < b->name ? -1 : a->name > b->name;
}

/*
 * Drops the second name of an address, and labels within a function: neither
 * says where somebody is. `symbols` are in order. Returns how many are left.
 */
static uint32_t drop_shadowed(struct symbol *symbols, uint32_t count)
{
    const struct symbol *last = NULL;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct symbol symbol = symbols[i];

        if (last &&
            (symbol.address == last->address ||
             (symbol.size == 0 && symbol.address - last->address < last->size)))
            continue;
        symbols[kept] = symbol;
        last = &symbols[kept++];
    }
    return kept;
}

/* Lets a symbol without a size reach to the next, or to its segment's end. */
static void extend_labels(struct kaon_image_symbols *symbols,
                          const struct kaon_elf_segment *segment)
{
    for (uint32_t i = 0; i < symbols->count; i++) {
        struct symbol *symbol = &symbols->list[i];
        uint64_t end;

        while (symbol->address - segment->address >= segment->size)
            segment++;
        end = segment->address + segment->size;
        if (i + 1 < symbols->count && symbol[1].address < end)
            end = symbol[1].address;
        if (symbol->size == 0)
            symbol->size = end - symbol->address;
    }
}

static void read_symbols(struct kaon_image_symbols *symbols,
                         const struct kaon_elf *elf)
{
    const char *strings = (const char *)elf->bytes + elf->strings;
    uint32_t count = 0;

    for (uint32_t i = 0; i < elf->symbols.count; i++) {
        struct kaon_elf_symbol symbol;

        if (!kaon__elf_symbol(elf, i, &symbol))
            continue;
        symbols->list[count++] = (struct symbol){
            .address = symbol.address,
            .size = symbol.size,
            .name = strings + symbol.name,
        };
    }
    qsort(symbols->list, count, sizeof *symbols->list, by_address);
    symbols->count = drop_shadowed(symbols->list, count);
    extend_labels(symbols, elf->segments);
}

/* The file was judged when the image was made, and is no other since. */
static struct kaon_image_symbols *make_symbols(const struct kaon_image *image)
{
    struct kaon_elf elf = {
        .bytes = image->file,
        .size = image->file_size,
        .name = image->name,
    };
    struct kaon_image_symbols *symbols;

    if (kaon__elf_parse(&elf))
        return NULL;
    symbols =
        malloc(sizeof *symbols + elf.symbols.count * sizeof *symbols->list);
    if (symbols)
        read_symbols(symbols, &elf);
    return symbols;
}

/* Two threads may both make them; one keeps its own, the other frees them. */
static const struct kaon_image_symbols *
symbols_of(const struct kaon_image *image)
{
    /* An image never changes, for whoever looks at it. */
    struct kaon_image *maker = (struct kaon_image *)image;
    struct kaon_image_symbols *known = atomic_load(&maker->symbols), *mine;

    if (known)
        return known;
    mine = make_symbols(image);
    if (!mine || atomic_compare_exchange_strong(&maker->symbols, &known, mine))
        return mine;
    free(mine);
    return known;
}

/* ---- Asking ------------------------------------------------------------ */

const char *kaon_image_symbol(const struct kaon_image *image, uint64_t address,
                              uint64_t *offset)
{
    const struct kaon_image_symbols *symbols = image ? symbols_of(image) : NULL;
    uint32_t low = 0, high = symbols ? symbols->count : 0;
    const struct symbol *symbol;

    /* All symbols below `low` begin at or before the address. */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (symbols->list[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    symbol = &symbols->list[low - 1];
    if (address - symbol->address >= symbol->size)
        return NULL;
    if (offset)
        *offset = address - symbol->address;
    return symbol->name;
}

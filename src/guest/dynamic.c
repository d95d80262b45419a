/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that the ELF does not name: registered at run time, or answered
 * by a fallback dispatcher. Linked in only if the guest uses either, and then
 * marks the guest as dynamic (entry_x86_64.S says how).
 *
 * Owns the table of registered functions and the names in it, on the heap.
 * Invariant: the table is sorted by name, and no name is in it twice.
 */
#include "guest/dispatch.h"

struct registered {
    char *name; /* owned */
    kaon_dynamic_function function;
    void *user;
    struct kaon_guest_signature signature;
};

static struct {
    struct registered *entries;
    size_t count, capacity;
} table;

const char kaon__dynamic_anchor;

extern const struct kaon__fallback kaon__fallback __attribute__((weak));

#ifndef KAON__HOSTED_TEST
#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define INFO_DYNAMIC 1
_Static_assert(INFO_DYNAMIC == KAON_INFO_DYNAMIC, "said twice, for assembly");
__asm__(".globl kaon__info_flags\n"
        ".set kaon__info_flags, " STRING(INFO_DYNAMIC));
#endif

/* Where a name is in the table, or where it would be. */
static size_t position(const char *name, int *found)
{
    size_t low = 0, high = table.count;

    *found = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = __builtin_strcmp(name, table.entries[middle].name);

        if (!order) {
            *found = 1;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool signature_good(const struct kaon_guest_signature *signature)
{
    if (signature->count > KAON_PARAMS_MAX ||
        signature->result >= KAON_TYPE_COUNT)
        return false;
    for (uint32_t i = 0; i < signature->count; i++)
        if (signature->params[i] == KAON_TYPE_VOID ||
            signature->params[i] >= KAON_TYPE_COUNT)
            return false;
    return true;
}

static void remove(size_t at)
{
    struct registered *entry = &table.entries[at];

    kaon_free(entry->name);
    table.count--;
    __builtin_memmove(entry, entry + 1,
                      (table.count - at) * sizeof table.entries[0]);
}

/* Makes room for one more entry, or returns false. */
static bool grow(void)
{
    size_t capacity = table.capacity ? table.capacity * 2 : 16;
    struct registered *entries;

    if (table.count < table.capacity)
        return true;
    entries = kaon_realloc(table.entries, capacity * sizeof entries[0]);
    if (!entries)
        return false;
    table.entries = entries;
    table.capacity = capacity;
    return true;
}

/* Opens a gap at `at` for a function of that name, or returns false. */
static bool insert(size_t at, const char *name, size_t length)
{
    char *copy;

    if (!grow())
        return false;
    copy = kaon_malloc(length + 1);
    if (!copy)
        return false;
    __builtin_memcpy(copy, name, length + 1);
    __builtin_memmove(&table.entries[at + 1], &table.entries[at],
                      (table.count - at) * sizeof table.entries[0]);
    table.entries[at].name = copy;
    table.count++;
    return true;
}

int kaon_register(const char *name, kaon_dynamic_function function, void *user,
                  struct kaon_guest_signature signature)
{
    size_t length = name ? __builtin_strlen(name) : 0;
    int found;
    size_t at;

    if (!length || length > KAON_NAME_MAX || !signature_good(&signature))
        return -1;
    at = position(name, &found);
    if (!function) {
        if (found)
            remove(at);
        return 0;
    }
    if (!found && !insert(at, name, length))
        return -1;
    table.entries[at].function = function;
    table.entries[at].user = user;
    table.entries[at].signature = signature;
    return 0;
}

bool kaon__registered_call(const struct kaon__named_call *call,
                           struct kaon_value *result)
{
    struct registered entry;
    int found;
    size_t at = position(call->name, &found);

    if (!found)
        return false;
    /* A copy: the function may register others, which moves the table. */
    entry = table.entries[at];
    kaon__arguments_check(call, entry.signature.params, entry.signature.count);
    entry.function(call->args, call->count, result, entry.user);
    if (result->type != entry.signature.result)
        kaon_abort(0, "a registered function left a result of another type");
    return true;
}

bool kaon__fallback_call(const struct kaon__named_call *call,
                         struct kaon_value *result)
{
    return &kaon__fallback &&
           kaon__fallback.function(call->name, call->args, call->count, result);
}

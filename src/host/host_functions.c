/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of host functions. Owns their names; borrows their users.
 *
 * A set is built by one thread, then used and only read by many.
 */
#include "host/host_functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/error.h"
#include "host/image.h"
#include "host/signature.h"

#define PRINT_NAME "HostPrint"

/* ---- HostPrint --------------------------------------------------------- */

/* The user of HostPrint's entry. */
struct printer {
    kaon_print_function print;
    void *user;
};

static int32_t print_to_stdout(const char *text, size_t size, void *user)
{
    (void)user;
    return (int32_t)fwrite(text, 1, size, stdout);
}

static int host_print(struct kaon_host_call *call,
                      const struct kaon_value *args, struct kaon_value *result,
                      void *user)
{
    const struct printer *printer = user;
    size_t size = args[0].span.size;

    (void)call;
    *result = kaon_i32(
        printer->print ? printer->print(args[0].span.data, size, printer->user)
                       : (int32_t)size);
    return 0;
}

static enum kaon_status add_print(struct kaon_host_functions *set,
                                  struct kaon_error *err)
{
    struct printer *printer = malloc(sizeof *printer);
    enum kaon_status status;

    if (!printer)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for host functions");
    *printer = (struct printer){ .print = print_to_stdout };
    status = kaon_host_functions_add(set, PRINT_NAME, KAON_TYPE_I32,
                                     KAON_PARAMS(KAON_TYPE_STRING), host_print,
                                     printer, err);
    if (status)
        free(printer);
    return status;
}

/* ---- Sets -------------------------------------------------------------- */

enum kaon_status kaon_host_functions_create(struct kaon_host_functions **out,
                                            struct kaon_error *err)
{
    struct kaon_host_functions *set;
    enum kaon_status status;

    if (!out)
        return kaon__fail(err, KAON_EINVAL, "out is NULL");
    set = calloc(1, sizeof *set);
    if (!set)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for host functions");
    atomic_init(&set->references, 1);
    atomic_init(&set->in_use, false);
    status = add_print(set, err);
    if (status) {
        kaon_host_functions_destroy(set);
        return status;
    }
    *out = set;
    return KAON_OK;
}

void kaon_host_functions_destroy(struct kaon_host_functions *set)
{
    if (!set || atomic_fetch_sub(&set->references, 1) != 1)
        return;
    for (size_t i = 0; i < set->count; i++) {
        if (set->entries[i].function == host_print)
            free(set->entries[i].user);
        free(set->entries[i].name);
    }
    free(set->entries);
    free(set);
}

enum kaon_status kaon__host_functions_use(struct kaon_host_functions **out,
                                          struct kaon_host_functions *set,
                                          struct kaon_error *err)
{
    if (set) {
        atomic_fetch_add(&set->references, 1);
        *out = set;
    } else {
        enum kaon_status status = kaon_host_functions_create(out, err);

        if (status)
            return status;
    }
    atomic_store(&(*out)->in_use, true);
    return KAON_OK;
}

/* Where a name is, or would be. */
static size_t position(const struct kaon_host_functions *set, const char *name)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(set->entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct kaon_host_entry *
kaon__host_functions_find(const struct kaon_host_functions *set,
                          const char *name)
{
    size_t at = position(set, name);

    if (at < set->count && strcmp(set->entries[at].name, name) == 0)
        return &set->entries[at];
    return NULL;
}

static enum kaon_status check_entry(const struct kaon_host_functions *set,
                                    const char *name, uint32_t result,
                                    const uint32_t *params, size_t count,
                                    kaon_host_function function,
                                    struct kaon_error *err)
{
    if (!set || !name || !function || (count && !params))
        return kaon__fail(err, KAON_EINVAL,
                          "set, name, function and params must not be NULL");
    if (atomic_load(&set->in_use))
        return kaon__fail(err, KAON_EINVAL,
                          "a sandbox uses the set already: add %s before the "
                          "first kaon_sandbox_create(), or make another set",
                          name);
    if (!*name || strnlen(name, KAON_NAME_MAX + 1) > KAON_NAME_MAX)
        return kaon__fail(err, KAON_EINVAL,
                          "a host function's name has 1 to %u bytes",
                          KAON_NAME_MAX);
    if (count > KAON_PARAMS_MAX)
        return kaon__fail(err, KAON_EINVAL,
                          "%s has %zu parameters, at most %u are possible",
                          name, count, KAON_PARAMS_MAX);
    if (result >= KAON_TYPE_COUNT)
        return kaon__fail(err, KAON_EINVAL, "the result of %s has no type",
                          name);
    for (size_t i = 0; i < count; i++)
        if (params[i] == KAON_TYPE_VOID || params[i] >= KAON_TYPE_COUNT)
            return kaon__fail(err, KAON_EINVAL,
                              "parameter %zu of %s has no type", i + 1, name);
    if (kaon__host_functions_find(set, name))
        return kaon__fail(
            err, KAON_EINVAL, "the set has a function %s already%s", name,
            strcmp(name, PRINT_NAME) == 0 ? ": direct prints with "
                                            "kaon_host_functions_print()"
                                          : "");
    return KAON_OK;
}

/* Room for one more entry. */
static bool grow(struct kaon_host_functions *set)
{
    size_t room = set->room ? 2 * set->room : 4;
    struct kaon_host_entry *entries;

    if (set->count < set->room)
        return true;
    entries = realloc(set->entries, room * sizeof *entries);
    if (!entries)
        return false;
    set->entries = entries;
    set->room = room;
    return true;
}

enum kaon_status kaon_host_functions_add(struct kaon_host_functions *set,
                                         const char *name, uint32_t result,
                                         const uint32_t *params, size_t count,
                                         kaon_host_function function,
                                         void *user, struct kaon_error *err)
{
    enum kaon_status status =
        check_entry(set, name, result, params, count, function, err);
    struct kaon_host_entry entry = { .function = function, .user = user };
    size_t at;

    if (status)
        return status;
    entry.name = strdup(name);
    if (!entry.name || !grow(set)) {
        free(entry.name);
        return kaon__fail(err, KAON_ENOMEM, "out of memory for host functions");
    }
    entry.signature = (struct kaon_signature){
        .name = entry.name,
        .result = result,
        .count = (uint32_t)count,
    };
    for (size_t i = 0; i < count; i++)
        entry.signature.params[i] = (uint8_t)params[i];
    at = position(set, name);
    memmove(&set->entries[at + 1], &set->entries[at],
            (set->count - at) * sizeof entry);
    set->entries[at] = entry;
    set->count++;
    return KAON_OK;
}

enum kaon_status kaon_host_functions_print(struct kaon_host_functions *set,
                                           kaon_print_function print,
                                           void *user, struct kaon_error *err)
{
    if (!set)
        return kaon__fail(err, KAON_EINVAL, "set is NULL");
    if (atomic_load(&set->in_use))
        return kaon__fail(err, KAON_EINVAL,
                          "a sandbox uses the set already: direct its prints "
                          "before the first kaon_sandbox_create()");

    struct printer *printer = set->entries[position(set, PRINT_NAME)].user;

    *printer = (struct printer){ .print = print, .user = user };
    return KAON_OK;
}

/* ---- Imports ----------------------------------------------------------- */

static enum kaon_status fail_type(const struct kaon_signature *import,
                                  const struct kaon_host_entry *entry,
                                  struct kaon_error *err)
{
    char wanted[100], given[100];

    kaon_signature_format(import, wanted, sizeof wanted);
    kaon_signature_format(&entry->signature, given, sizeof given);
    return kaon__fail(err, KAON_EIMPORT,
                      "the guest imports %s, but the host has %s", wanted,
                      given);
}

static enum kaon_status fail_missing(const struct kaon_host_functions *set,
                                     const struct kaon_image *image,
                                     struct kaon_error *err)
{
    char names[160] = "";
    size_t length = 0;

    for (uint32_t i = 0; i < image->import_count; i++) {
        const char *name = image->imports[i].name;

        if (kaon__host_functions_find(set, name))
            continue;
        if (length < sizeof names)
            length += (size_t)snprintf(names + length, sizeof names - length,
                                       "%s%s", length ? ", " : "", name);
    }
    if (length >= sizeof names)
        memcpy(names + sizeof names - 4, "...", 4);
    return kaon__fail(err, KAON_EIMPORT,
                      "the host lacks what %s imports: %s: add them with "
                      "kaon_host_functions_add()",
                      image->name, names);
}

enum kaon_status kaon__host_functions_resolve(
    const struct kaon_host_functions *set, const struct kaon_image *image,
    const struct kaon_host_entry **entries, struct kaon_error *err)
{
    for (uint32_t i = 0; i < image->import_count; i++) {
        const struct kaon_signature *import = &image->imports[i];

        entries[i] = kaon__host_functions_find(set, import->name);
        if (!entries[i])
            return fail_missing(set, image, err);
        if (!kaon__signature_equal(import, &entries[i]->signature))
            return fail_type(import, entries[i], err);
    }
    return KAON_OK;
}

/* ---- For host functions ------------------------------------------------ */

int kaon_host_fail(struct kaon_host_call *call, int32_t code, const char *text)
{
    if (!call)
        return -1;
    call->failed = true;
    call->code = code;
    snprintf(call->text, sizeof call->text, "%s", text ? text : "");
    return -1;
}

/* The first offset not below `offset` that slots may begin at. */
static uint32_t align_up(uint64_t offset)
{
    return (uint32_t)((offset + 15) & ~UINT64_C(15));
}

/* Is there as much from where the free space begins? That is what the guest
 * made it. Gives the exchange more if it takes that. */
static bool has_area(struct kaon_host_call *call, uint64_t size)
{
    uint64_t from = call->free.area - (uint64_t)KAON_MAILBOX_SIZE;

    if (call->free.area < KAON_MAILBOX_SIZE)
        return false;
    return size + from <= call->wire.area_size ||
           (call->need_area(call, &call->wire, size + from) &&
            size + from <= call->wire.area_size);
}

void *kaon_host_buffer(struct kaon_host_call *call, size_t size)
{
    /* Behind the buffer, or in the page, stands at least the result's slot. */
    const size_t slot = sizeof(struct kaon_slot);
    size_t behind = 15;

    if (!call || size > UINT32_MAX / 2)
        return NULL;
    /* Where the free space begins is what the guest made it. */
    if (call->free.page <= KAON_MAILBOX_SIZE &&
        size + slot + 15 <= KAON_MAILBOX_SIZE - call->free.page) {
        uint32_t at = call->free.page;

        call->free.page = align_up(at + size);
        return call->wire.page + at;
    }
    if (call->free.page > KAON_MAILBOX_SIZE - slot)
        behind += slot;
    if (!has_area(call, size + behind))
        return NULL;

    uint32_t at = call->free.area;

    call->free.area = align_up(at + size);
    return call->wire.area + (at - KAON_MAILBOX_SIZE);
}

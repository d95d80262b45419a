/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host functions with state: a key-value store that guests may use.
 *
 *     key_value [guest.elf]
 *
 * The library has checked number and types of the arguments before a host
 * function runs. What they say is still a stranger's word: sizes and counts
 * are limited here, so that a guest cannot fill the host's memory.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <kaon.h>

enum { NO_SUCH_KEY = 1, TOO_LARGE = 2, STORE_FULL = 3 };

struct entry {
    char key[32];
    unsigned char value[64];
    size_t size;
};

struct store {
    struct entry entries[3];
    size_t count;
};

static struct entry *find(struct store *store, const char *key)
{
    for (size_t i = 0; i < store->count; i++)
        if (strcmp(store->entries[i].key, key) == 0)
            return &store->entries[i];
    return NULL;
}

/* store_get(string) -> bytes. The result borrows the entry: it stays. */
static int store_get(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    const struct entry *entry = find(user, args[0].span.data);

    if (!entry)
        return kaon_host_fail(call, NO_SUCH_KEY, "no such key");
    *result = kaon_bytes(entry->value, entry->size);
    return 0;
}

/* store_put(string, bytes). Arguments are gone when it returns: it copies. */
static int store_put(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    const struct kaon_span key = args[0].span, value = args[1].span;
    struct store *store = user;
    struct entry *entry = find(store, key.data);

    (void)result; /* void, as it is */
    if (key.size >= sizeof entry->key || value.size > sizeof entry->value)
        return kaon_host_fail(call, TOO_LARGE, "the key or value is too large");
    if (!entry) {
        if (store->count == sizeof store->entries / sizeof store->entries[0])
            return kaon_host_fail(call, STORE_FULL, "the store is full");
        entry = &store->entries[store->count++];
        memcpy(entry->key, key.data, key.size + 1);
    }
    memcpy(entry->value, value.data, value.size);
    entry->size = value.size;
    return 0;
}

/* A sandbox for one visit: the next has nothing of it but the store. */
static void visit(struct kaon_image *image, struct kaon_host_functions *set,
                  const char *who)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_error err;

    if (kaon_sandbox_create(&sandbox, image,
                            KAON_SANDBOX_OPTS(.host_functions = set), &err) ||
        kaon_call(sandbox, &out, "visit", KAON_ARGS(kaon_string(who)), NULL,
                  &err))
        errx(1, "%s", err.text);
    if (out.kind == KAON_RETURNED)
        printf("%s: visit %" PRIu32 "\n", who, out.value.u32);
    else /* the text is the guest's: crash.c shows how to print it safely */
        printf("%s: %s: %s\n", who, kaon_outcome_name(out.kind), out.text);
    kaon_sandbox_destroy(sandbox);
}

int main(int argc, char **argv)
{
    static const char *const visitors[] = { "ada", "bob",  "ada",
                                            "eve", "mary", "ada" };
    struct store store = { .count = 0 }; /* outlives the sandboxes */
    struct kaon_image *image;
    struct kaon_host_functions *set;
    struct kaon_error err;
    char path[4096];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err) ||
        kaon_host_functions_create(&set, &err) ||
        kaon_host_functions_add(set, "store_get", KAON_TYPE_BYTES,
                                KAON_PARAMS(KAON_TYPE_STRING), store_get,
                                &store, &err) ||
        kaon_host_functions_add(set, "store_put", KAON_TYPE_VOID,
                                KAON_PARAMS(KAON_TYPE_STRING, KAON_TYPE_BYTES),
                                store_put, &store, &err))
        errx(1, "%s", err.text);

    for (size_t i = 0; i < sizeof visitors / sizeof visitors[0]; i++)
        visit(image, set, visitors[i]);

    kaon_host_functions_destroy(set);
    kaon_image_destroy(image);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many sandboxes in one domain.
 *
 *     many [guest.elf]
 *
 * A domain is a VM. A sandbox in a domain that lives already is page tables
 * and a few pages: some microseconds and some KiB, where a VM of its own is a
 * hundred times that. The sandboxes cannot reach each other's memory, but
 * they share one VM: keep to one tenant in a domain (SECURITY.md).
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <kaon.h>

#define COUNT 1000

/* Calls a function that was found before; its result. */
static struct kaon_value call(struct kaon_sandbox *sandbox,
                              struct kaon_function function,
                              const struct kaon_value *args, size_t count)
{
    struct kaon_outcome out;
    struct kaon_error err;

    if (kaon_function_call(sandbox, &out, function, args, count, NULL, &err))
        errx(1, "%s", err.text);
    if (out.kind != KAON_RETURNED)
        errx(1, "the guest did not return: %s", kaon_outcome_name(out.kind));
    return out.value;
}

int main(int argc, char **argv)
{
    static struct kaon_sandbox *sandboxes[COUNT];
    struct kaon_image *image;
    struct kaon_domain *domain;
    struct kaon_domain_stats stats;
    struct kaon_function put, get;
    struct kaon_error err;
    uint64_t sum = 0;
    char path[4096];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err) ||
        kaon_function_find(&put, image, "put", &err) ||
        kaon_function_find(&get, image, "get", &err) ||
        kaon_domain_create(&domain, NULL, &err))
        errx(1, "%s", err.text);

    for (size_t i = 0; i < COUNT; i++)
        if (kaon_sandbox_create(&sandboxes[i], image,
                                KAON_SANDBOX_OPTS(.domain = domain), &err))
            errx(1, "%s", err.text);

    /* Each keeps its own number, whatever the others do. */
    for (size_t i = 0; i < COUNT; i++)
        call(sandboxes[i], put, KAON_ARGS(kaon_u64(i)));
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t got = call(sandboxes[i], get, KAON_NO_ARGS).u64;

        if (got != i)
            errx(1, "sandbox %zu holds %" PRIu64, i, got);
        sum += got;
    }
    if (kaon_domain_stats(domain, &stats))
        errx(1, "no statistics");
    printf("%" PRIu64 " sandboxes on %" PRIu64 " vCPU hold %" PRIu64
           " together, and %" PRIu64 " KiB of memory each\n",
           stats.sandboxes, stats.vcpus, sum,
           stats.memory_used_bytes / stats.sandboxes / 1024);

    for (size_t i = 0; i < COUNT; i++)
        kaon_sandbox_destroy(sandboxes[i]);
    kaon_domain_destroy(domain);
    kaon_image_destroy(image);
    return 0;
}

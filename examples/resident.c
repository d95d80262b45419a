/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter that looks at every packet: calls too frequent for an exit each.
 *
 *     resident [guest.elf]
 *
 * The guest stays inside its VM between calls, on a CPU of its own, so that a
 * call is a few cache lines there and back. Nothing else about it changes, so a
 * program may start and stop that as its load comes and goes. Where there is no
 * second CPU, calls are as ever.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <kaon.h>

#define PACKETS 100000

static uint64_t exits(const struct kaon_sandbox *sandbox)
{
    struct kaon_sandbox_stats stats;

    if (kaon_sandbox_stats(sandbox, &stats))
        return 0;
    return stats.exits;
}

/* How many of so many packets the guest lets pass. */
static unsigned filter(struct kaon_sandbox *sandbox, struct kaon_function allow,
                       unsigned packets)
{
    unsigned passed = 0;

    for (unsigned i = 0; i < packets; i++) {
        struct kaon_outcome out;
        struct kaon_error err;

        if (kaon_function_call(
                sandbox, &out, allow,
                KAON_ARGS(kaon_u32(0x0a000000u + i), kaon_u32(i % 1024)), NULL,
                &err))
            errx(1, "%s", err.text);
        if (out.kind != KAON_RETURNED)
            errx(1, "%s: %s", kaon_outcome_name(out.kind), out.text);
        passed += out.value.boolean;
    }
    return passed;
}

int main(int argc, char **argv)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_function allow;
    struct kaon_error err;
    char path[4096];
    uint64_t before;

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err) ||
        kaon_function_find(&allow, image, "allow", &err) ||
        kaon_sandbox_create(&sandbox, image, NULL, &err))
        errx(1, "%s", err.text);

    /* Who finds nothing to do leaves after a while: here after a second. */
    if (kaon_sandbox_start_resident(
            sandbox, KAON_RESIDENT_OPTS(.spin_ns = 1000000000), &err))
        errx(1, "%s", err.text);
    filter(sandbox, allow, 1); /* the first call brings the guest up */
    before = exits(sandbox);
    printf("%u of %d packets passed\n", filter(sandbox, allow, PACKETS),
           PACKETS);
    /* Some may be made by a machine that has much else to do. */
    if (kaon_sandbox_is_resident(sandbox) &&
        exits(sandbox) - before > PACKETS / 100)
        errx(1, "it left %" PRIu64 " times", exits(sandbox) - before);

    if (kaon_sandbox_stop_resident(sandbox, &err))
        errx(1, "%s", err.text);
    printf("%u of 10 passed\n", filter(sandbox, allow, 10));
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does not come back, and what a deadline makes of it.
 *
 *     deadline [guest.elf]
 *
 * A guest may compute as long as it likes, so who calls a stranger's code
 * sets a deadline: for all calls of a sandbox, or for one. (From another
 * thread, kaon_sandbox_interrupt() does the same at any time.) A guest that
 * was stopped is in the middle of something: it cannot be called again.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <kaon.h>

#define MILLISECOND UINT64_C(1000000)

static struct kaon_sandbox *create(struct kaon_image *image)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_sandbox_create(
            &sandbox, image,
            KAON_SANDBOX_OPTS(.deadline_ns = 2000 * MILLISECOND), &err))
        errx(1, "%s", err.text);
    return sandbox;
}

/* Prints what became of steps(n). */
static void count(struct kaon_sandbox *sandbox, uint64_t n,
                  const struct kaon_call_opts *opts)
{
    struct kaon_outcome out;
    struct kaon_error err;

    printf("steps from %" PRIu64 ": ", n);
    if (kaon_call(sandbox, &out, "steps", KAON_ARGS(kaon_u64(n)), opts, &err))
        printf("not called, %s\n", err.text);
    else if (out.kind == KAON_RETURNED)
        printf("%" PRIu64 "\n", out.value.u64);
    else
        printf("%s, %s\n", kaon_outcome_name(out.kind), out.text);
}

int main(int argc, char **argv)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_error err;
    char path[4096];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err))
        errx(1, "%s", err.text);
    sandbox = create(image);

    count(sandbox, 27, NULL);

    /* From 0 there is no way to 1. This call may take 100 ms, not 2 s. */
    count(sandbox, 0, KAON_CALL_OPTS(.deadline_ns = 100 * MILLISECOND));

    /* The sandbox is poisoned. Its host is not: another takes its place. */
    count(sandbox, 27, NULL);
    kaon_sandbox_destroy(sandbox);
    sandbox = create(image);
    count(sandbox, 27, NULL);

    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

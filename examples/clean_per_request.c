/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clean sandbox for each request, for about the price of a call.
 *
 *     clean_per_request [guest.elf]
 *
 * The guest starts once, slowly. A snapshot keeps what it became, and a restore
 * puts the sandbox back after each request, whatever that did: it copies the
 * pages that the sandbox wrote, and makes no system call. More sandboxes come
 * from the same snapshot, and share what they do not write.
 */
#include <err.h>
#include <stdio.h>
#include <kaon.h>

static void answer(struct kaon_sandbox *sandbox, const char *function,
                   const struct kaon_value *args, size_t count)
{
    struct kaon_outcome out;
    struct kaon_error err;

    printf("  %s: ", function);
    if (kaon_call(sandbox, &out, function, args, count, NULL, &err))
        printf("not called, %s\n", err.text);
    else if (out.kind != KAON_RETURNED)
        printf("%s\n", kaon_outcome_name(out.kind));
    else if (out.value.type == KAON_TYPE_U32)
        printf("%u\n", out.value.u32);
    else
        printf("done\n");
}

/* One request, and what a stranger could see of it afterwards. */
static void serve(struct kaon_sandbox *sandbox, struct kaon_snapshot *snapshot,
                  uint32_t number, uint32_t value)
{
    struct kaon_error err;

    printf("request %u\n", number);
    answer(sandbox, "look_up", KAON_ARGS(kaon_u32(1999)));
    answer(sandbox, "update", KAON_ARGS(kaon_u32(number), kaon_u32(value)));
    if (kaon_sandbox_restore(sandbox, snapshot, &err))
        errx(1, "%s", err.text);
    answer(sandbox, "seen", KAON_NO_ARGS);
}

static uint64_t token_of(struct kaon_sandbox *sandbox)
{
    struct kaon_outcome out;
    struct kaon_error err;

    if (kaon_call(sandbox, &out, "token", KAON_NO_ARGS, NULL, &err))
        errx(1, "%s", err.text);
    return out.value.u64;
}

int main(int argc, char **argv)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox, *another;
    struct kaon_snapshot *snapshot;
    struct kaon_outcome out;
    struct kaon_error err;
    char path[4096];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err) ||
        kaon_sandbox_create(&sandbox, image, NULL, &err) ||
        kaon_sandbox_init(sandbox, &out, NULL, &err))
        errx(1, "%s", err.text);
    if (out.kind != KAON_RETURNED)
        errx(1, "the guest does not start: %s", out.text);
    if (kaon_snapshot_take(&snapshot, sandbox, &err))
        errx(1, "%s", err.text);

    serve(sandbox, snapshot, 1999, 1); /* spoils the table for the next */
    serve(sandbox, snapshot, 3000000000u, 1); /* writes where nothing is */
    serve(sandbox, snapshot, 1, 2);

    /* What must differ in two sandboxes of one state does. */
    if (kaon_sandbox_create_from(&another, snapshot, NULL, &err))
        errx(1, "%s", err.text);
    printf("a sandbox of the same snapshot\n");
    answer(another, "look_up", KAON_ARGS(kaon_u32(1999)));
    printf("  the same tokens: %s\n",
           token_of(sandbox) == token_of(another) ? "yes" : "no");

    kaon_sandbox_destroy(another);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    kaon_image_destroy(image);
    return 0;
}

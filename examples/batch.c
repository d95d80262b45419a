/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many calls in one entry.
 *
 *     batch [guest.elf]
 *
 * What a call costs is the exit. A batch of calls is one, with an outcome for
 * each; what the guest logs meanwhile comes with it.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <kaon.h>

#define COUNT 5

static void tell(const struct kaon_outcome *out)
{
    if (out->kind != KAON_RETURNED)
        printf("%s, code %" PRId32 ": %s\n", kaon_outcome_name(out->kind),
               out->code, out->text);
    else if (out->value.type == KAON_TYPE_U32)
        printf("%" PRIu32 " cents\n", out->value.u32);
    else
        printf("%" PRIu64 " cents together\n", out->value.u64);
}

static uint64_t exits(const struct kaon_sandbox *sandbox)
{
    struct kaon_sandbox_stats stats;

    if (kaon_sandbox_stats(sandbox, &stats))
        errx(1, "no statistics");
    return stats.exits;
}

int main(int argc, char **argv)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_function order, sum;
    struct kaon_outcome out[COUNT];
    struct kaon_error e;
    uint64_t before;
    char path[4096];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &e) ||
        kaon_function_find(&order, image, "order", &e) ||
        kaon_function_find(&sum, image, "sum", &e) ||
        kaon_sandbox_create(&sandbox, image, NULL, &e))
        errx(1, "%s", e.text);

    const struct kaon_batch_call calls[COUNT] = {
        { order, KAON_ARGS(kaon_string("tea"), kaon_u32(2)) },
        { order, KAON_ARGS(kaon_string("cake"), kaon_u32(1)) },
        { order, KAON_ARGS(kaon_string("soup"), kaon_u32(1)) },
        { order, KAON_ARGS(kaon_string("coffee"), kaon_u32(3)) },
        { sum, KAON_NO_ARGS },
    };

    /* The first entry also makes the guest touch its memory: exits, too. */
    for (int round = 0; round < 2; round++) {
        before = exits(sandbox);
        if (kaon_call_batch(sandbox, out, calls, COUNT, NULL, &e))
            errx(1, "%s", e.text);
        for (int i = 0; i < COUNT; i++)
            tell(&out[i]);
    }
    printf("%d calls, %d texts logged, %" PRIu64 " exit\n", COUNT,
           3 * (COUNT - 1), exits(sandbox) - before);

    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <err.h>
#include <stdio.h>
#include <kaon.h>

int main(int argc, char **argv)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_error e;

    if (argc != 2)
        errx(2, "usage: %s guest.elf", argv[0]);
    if (kaon_image_open(&image, argv[1], &e) ||
        kaon_sandbox_create(&sandbox, image, NULL, &e) ||
        kaon_call(sandbox, &out, "greet", KAON_ARGS(kaon_string("World")),
                  KAON_CALL_OPTS(.deadline_ns = 1000000000), &e))
        errx(1, "the host could not: %s", e.text);
    if (out.kind != KAON_RETURNED)
        errx(1, "the guest did not: %s", kaon_outcome_name(out.kind));
    printf("greet returned %d\n", out.value.i32);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

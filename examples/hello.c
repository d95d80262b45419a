/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest host: one guest, one call.
 *
 *     hello [guest.elf]
 *
 * Each function of the host API returns a status: KAON_OK, or the host failed
 * and err.text says why. What the guest did with the call is another matter,
 * and another variable: the outcome.
 */
#include <err.h>
#include <stdio.h>
#include <kaon.h>

int main(int argc, char **argv)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_error err;
    char path[4096];

    /* By default, the guest that lies beside this program. */
    snprintf(path, sizeof path, "%s.elf", argv[0]);

    /* An image is a parsed guest: nothing of it has run yet. */
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err))
        errx(1, "%s", err.text);

    /*
     * A sandbox is a running instance of it, here in a VM of its own. By
     * default a guest may do nothing but print, to our standard output.
     */
    if (kaon_sandbox_create(&sandbox, image, NULL, &err))
        errx(1, "%s", err.text);

    /* The call enters the VM. hello takes no arguments and no options. */
    if (kaon_call(sandbox, &out, "hello", KAON_NO_ARGS, NULL, &err))
        errx(1, "%s", err.text);
    if (out.kind != KAON_RETURNED)
        errx(1, "the guest did not return: %s", kaon_outcome_name(out.kind));

    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

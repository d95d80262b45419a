/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that a guest sees without a copy.
 *
 *     count_lines [guest.elf [file]]
 *
 * Mapped to read, it is counted; a write would be a fault. Mapped to copy, the
 * guest changes what it sees, and nobody else sees that, nor does the file.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <kaon.h>

/* A text of a thousand lines, without a name. */
static int make_text(void)
{
    char path[] = "/tmp/count_lines.XXXXXX";
    int fd = mkstemp(path);

    if (fd < 0)
        err(1, "%s", path);
    unlink(path);
    for (int i = 1; i <= 1000; i++)
        if (dprintf(fd, "line %d of a text\n", i) < 0)
            err(1, "%s", path);
    return fd;
}

/* What a function of the guest says of the file, mapped in a way. */
static uint64_t ask(struct kaon_sandbox *sandbox, struct kaon_region *file,
                    enum kaon_map_mode mode, const char *function)
{
    struct kaon_outcome out;
    struct kaon_error e;
    uint64_t address;

    if (kaon_sandbox_map(sandbox, &address, file, KAON_MAP_OPTS(.mode = mode),
                         &e) ||
        kaon_call(
            sandbox, &out, function,
            KAON_ARGS(kaon_u64(address), kaon_u64(kaon_region_size(file))),
            NULL, &e) ||
        kaon_sandbox_unmap(sandbox, address, &e))
        errx(1, "%s", e.text);
    if (out.kind != KAON_RETURNED)
        errx(1, "%s", out.text);
    return out.value.u64;
}

int main(int argc, char **argv)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_region *file;
    struct kaon_error e;
    char path[4096];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (argc > 2 ? kaon_region_open(&file, argv[2], 0, 0, &e)
                 : kaon_region_open_fd(&file, make_text(), 0, 0, &e))
        errx(1, "%s", e.text);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &e) ||
        kaon_sandbox_create(&sandbox, image, NULL, &e))
        errx(1, "%s", e.text);

    printf("%" PRIu64 " lines\n",
           ask(sandbox, file, KAON_MAP_READ, "count_lines"));
    for (int i = 0; i < 2; i++)
        printf("%" PRIu64 " small letters\n",
               ask(sandbox, file, KAON_MAP_COPY, "shout"));

    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    kaon_region_destroy(file);
    return 0;
}

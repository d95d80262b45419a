/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ELF that an image was made of, kept for snapshots that are saved.
 *
 * It lies in the image's memfd, behind what guests can see, and is read from
 * there: nothing maps it.
 */
#include "host/elf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/error.h"
#include "host/sha256.h"

#define PIECE_SIZE (UINT64_C(64) << 10)

enum kaon_status kaon__image_keep_file(struct kaon_image *image,
                                       const struct kaon_elf *elf)
{
    uint64_t done = 0;

    while (done < elf->size) {
        ssize_t wrote =
            pwrite(image->memory_fd, elf->bytes + done, elf->size - done,
                   (off_t)(image->memory_size + done));

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return kaon__fail_errno(elf->err, KAON_ENOMEM,
                                    "cannot keep the file of %.64s: %s",
                                    elf->name, strerror(errno));
        done += (uint64_t)wrote;
    }
    image->file_size = elf->size;
    return KAON_OK;
}

enum kaon_status kaon__image_read_file(const struct kaon_image *image,
                                       uint64_t offset, void *to, size_t size,
                                       struct kaon_error *err)
{
    char *at = to;

    offset += image->memory_size;
    while (size) {
        ssize_t got = pread(image->memory_fd, at, size, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return kaon__fail_errno(
                err, KAON_EIO, "cannot read the file of %.64s: %s", image->name,
                got ? strerror(errno) : "it shrank");
        at += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return KAON_OK;
}

static enum kaon_status hash_file(const struct kaon_image *image,
                                  struct kaon_digest *out,
                                  struct kaon_error *err)
{
    char *piece = malloc(PIECE_SIZE);
    enum kaon_status status = KAON_OK;
    struct kaon_sha256 hash;

    if (!piece)
        return kaon__fail(err, KAON_ENOMEM, "out of memory");
    kaon__sha256_init(&hash);
    for (uint64_t at = 0; !status && at < image->file_size; at += PIECE_SIZE) {
        uint64_t left = image->file_size - at;
        size_t size = left < PIECE_SIZE ? left : PIECE_SIZE;

        status = kaon__image_read_file(image, at, piece, size, err);
        if (!status)
            kaon__sha256_add(&hash, piece, size);
    }
    free(piece);
    kaon__sha256_finish(&hash, out);
    return status;
}

/* Two threads may both make it; one keeps its own, the other frees it. */
enum kaon_status kaon__image_digest(struct kaon_image *image,
                                    struct kaon_digest *out,
                                    struct kaon_error *err)
{
    struct kaon_digest *known = atomic_load(&image->digest), *mine;
    enum kaon_status status;

    if (known) {
        *out = *known;
        return KAON_OK;
    }
    mine = malloc(sizeof *mine);
    if (!mine)
        return kaon__fail(err, KAON_ENOMEM, "out of memory");
    status = hash_file(image, mine, err);
    if (!status)
        *out = *mine;
    if (status || !atomic_compare_exchange_strong(&image->digest, &known, mine))
        free(mine);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: made from a file or from memory, shared, ended.
 *
 * Owns the count of references, and the file while it is read: its descriptor
 * does not outlive kaon_image_open(). An image that is half
 * made is zero where it has nothing yet, so one function can end any image.
 */
#include "host/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/elf.h"
#include "host/error.h"
#include "host/read.h"
#include "host/sha256.h"

/* No linked program is nearly as large, and we must hold it in memory. */
#define FILE_SIZE_MAX (1 << 30)

static void free_image(struct kaon_image *image)
{
    kaon__image_free_memory(image);
    free(atomic_load(&image->digest));
    free(atomic_load(&image->symbols));
    free(image->file);
    free(image->names);
    free(image->exports_by_name);
    free(image->imports);
    free(image->exports);
    free(image->segments);
    free(image->regions);
    free(image->name);
    free(image);
}

static enum kaon_status make_image(struct kaon_image **out,
                                   struct kaon_elf *elf)
{
    struct kaon_image *image;
    enum kaon_status status = kaon__elf_parse(elf);

    if (status)
        return status;
    image = calloc(1, sizeof *image);
    if (!image)
        return kaon__fail(elf->err, KAON_ENOMEM,
                          "out of memory for an image of %.64s", elf->name);
    atomic_init(&image->references, 1);
    atomic_init(&image->memory_fd, -1);
    status = kaon__image_load(image, elf);
    if (status) {
        free_image(image);
        return status;
    }
    *out = image;
    return KAON_OK;
}

enum kaon_status kaon__image_adopt(struct kaon_image **out, void *bytes,
                                   size_t size, const char *name, bool heap,
                                   struct kaon_error *err)
{
    struct kaon_elf elf = {
        .bytes = bytes,
        .size = size,
        .name = name,
        .err = err,
        .heap = heap,
    };
    enum kaon_status status = make_image(out, &elf);

    if (!status) {
        (*out)->file = bytes;
        (*out)->file_size = size;
    }
    return status;
}

enum kaon_status kaon_image_parse(struct kaon_image **out, const void *bytes,
                                  size_t size, struct kaon_error *err)
{
    enum kaon_status status;
    void *copy;

    if (!out || !bytes)
        return kaon__fail(err, KAON_EINVAL, "%s is NULL",
                          out ? "bytes" : "out");
    copy = malloc(size ? size : 1);
    if (!copy)
        return kaon__fail(err, KAON_ENOMEM,
                          "out of memory for the %zu bytes of a guest", size);
    memcpy(copy, bytes, size);
    status = kaon__image_adopt(out, copy, size, "guest", false, err);
    if (status)
        free(copy);
    return status;
}

/* Two threads may both make it; one keeps its own, the other frees it. */
enum kaon_status kaon__image_digest(struct kaon_image *image,
                                    struct kaon_digest *out,
                                    struct kaon_error *err)
{
    struct kaon_digest *known = atomic_load(&image->digest), *mine;

    if (known) {
        *out = *known;
        return KAON_OK;
    }
    mine = malloc(sizeof *mine);
    if (!mine)
        return kaon__fail(err, KAON_ENOMEM, "out of memory");
    *out = *mine = kaon__sha256(image->file, image->file_size);
    if (!atomic_compare_exchange_strong(&image->digest, &known, mine))
        free(mine);
    return KAON_OK;
}

static enum kaon_status fail_io(struct kaon_error *err, const char *verb,
                                const char *path)
{
    const char *advice = errno == EMFILE || errno == ENFILE
                             ? "; close some files or raise ulimit -n"
                             : "";

    return kaon__fail_errno(err, KAON_EIO, "cannot %s %.128s: %s%s", verb, path,
                            strerror(errno), advice);
}

/* Only a regular file has a size, and can be read without waiting. */
static enum kaon_status check_file(int fd, const char *path, size_t *size,
                                   struct kaon_error *err)
{
    struct stat file;

    if (fstat(fd, &file) != 0)
        return fail_io(err, "examine", path);
    if (S_ISDIR(file.st_mode))
        return kaon__fail(err, KAON_EIO, "%.128s is a directory, not a guest",
                          path);
    if (!S_ISREG(file.st_mode))
        return kaon__fail(err, KAON_EIO, "%.128s is not a regular file", path);
    if (file.st_size > FILE_SIZE_MAX)
        return kaon__fail(err, KAON_EIMAGE,
                          "%.128s has %jd MiB; a guest's file has at most %d; "
                          "strip it with strip",
                          path, (intmax_t)file.st_size >> 20,
                          FILE_SIZE_MAX >> 20);
    *size = (size_t)file.st_size;
    return KAON_OK;
}

/* Reads up to *size bytes; *size is then what the file had. */
static enum kaon_status read_file(int fd, const char *path,
                                  unsigned char *bytes, size_t *size,
                                  struct kaon_error *err)
{
    size_t done = kaon__read_at(fd, bytes, *size, 0);

    if (done < *size && errno)
        return fail_io(err, "read", path);
    *size = done;
    return KAON_OK;
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static enum kaon_status open_image(struct kaon_image **out, int fd,
                                   const char *path, struct kaon_error *err)
{
    unsigned char *bytes;
    size_t size = 0;
    enum kaon_status status = check_file(fd, path, &size, err);

    if (status)
        return status;
    bytes = malloc(size ? size : 1);
    if (!bytes)
        return kaon__fail(err, KAON_ENOMEM,
                          "out of memory for the %zu bytes of %.128s", size,
                          path);
    status = read_file(fd, path, bytes, &size, err);
    if (!status)
        status = kaon__image_adopt(out, bytes, size, last_component(path),
                                   false, err);
    if (status)
        free(bytes);
    return status;
}

enum kaon_status kaon_image_open(struct kaon_image **out, const char *path,
                                 struct kaon_error *err)
{
    enum kaon_status status;
    int fd;

    if (!out || !path)
        return kaon__fail(err, KAON_EINVAL, "%s is NULL", out ? "path" : "out");
    /* Non-blocking, since opening a FIFO would wait for its writer. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_io(err, "open", path);
    status = open_image(out, fd, path, err);
    close(fd);
    return status;
}

struct kaon_image *kaon__image_hold(struct kaon_image *image)
{
    atomic_fetch_add_explicit(&image->references, 1, memory_order_relaxed);
    return image;
}

void kaon_image_destroy(struct kaon_image *image)
{
    /* Release what this thread did with the image, acquire what others did,
     * before the last one frees it. */
    if (image && atomic_fetch_sub_explicit(&image->references, 1,
                                           memory_order_acq_rel) == 1)
        free_image(image);
}

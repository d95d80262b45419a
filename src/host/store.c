/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads an OCI image layout. Owns its descriptors, and what it reads until it
 * is handed over.
 *
 * A file may change, shrink or vanish while we read it. So it is read, never
 * mapped, and what was read is what is checked and used.
 */
#include "host/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/error.h"
#include "host/read.h"

/* What is hashed at a time: within most caches, and less than what malloc()
 * would map and unmap each time. */
#define PIECE_SIZE (UINT64_C(64) << 10)

/* Opening a FIFO must not wait for its writer. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

#define BLOB_NAME_SIZE (13 + KAON_SHA256_TEXT)

/* For messages. */
static void name_blob(const struct kaon_blob *blob, char name[BLOB_NAME_SIZE])
{
    strcpy(name, "blobs/sha256/");
    kaon__digest_format(&blob->digest, name + 13);
}

/* The path's end says more than its beginning, if there is not enough room. */
enum kaon_status kaon__store_blame(struct kaon_error *err,
                                   const struct kaon_error *why,
                                   const char *what, const char *directory)
{
    size_t length = strlen(directory);
    bool cut = length > 60;

    return kaon__fail_because(err, why, "%s %s%s: %s", what, cut ? "..." : "",
                              cut ? directory + length - 57 : directory,
                              why->text);
}

/* ---- The directory ----------------------------------------------------- */

static enum kaon_status fail_open(const char *name, struct kaon_error *err)
{
    switch (errno) {
    case ENOENT: return kaon__fail(err, KAON_ESNAPSHOT, "%s is missing", name);
    case ELOOP:
    case ENOTDIR:
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "%s is a symbolic link, or no directory where there "
                          "must be one",
                          name);
    case ENXIO:
        return kaon__fail(err, KAON_ESNAPSHOT, "%s is no regular file", name);
    default:
        return kaon__fail_errno(err, KAON_EIO, "cannot open %s: %s%s", name,
                                strerror(errno),
                                errno == EMFILE || errno == ENFILE
                                    ? "; close some files or raise ulimit -n"
                                    : "");
    }
}

/* One directory, in one that is open. */
static enum kaon_status descend(int *out, int directory, const char *name,
                                const char *called, bool make,
                                struct kaon_error *err)
{
    if (make && mkdirat(directory, name, 0777) != 0 && errno != EEXIST)
        return kaon__fail_errno(err, KAON_EIO, "cannot make %s: %s", called,
                                strerror(errno));
    *out = openat(directory, name, OPEN_FLAGS | O_DIRECTORY);
    return *out < 0 ? fail_open(called, err) : KAON_OK;
}

enum kaon_status kaon__store_open_blobs(struct kaon_store *store, bool make,
                                        struct kaon_error *err)
{
    int blobs;
    enum kaon_status status =
        descend(&blobs, store->directory, "blobs", "blobs", make, err);

    if (status)
        return status;
    status = descend(&store->blobs, blobs, "sha256", "blobs/sha256", make, err);
    close(blobs);
    return status;
}

enum kaon_status kaon__store_open(struct kaon_store *out, const char *path,
                                  struct kaon_error *err)
{
    struct kaon_store store = { -1, -1 };
    enum kaon_status status;

    store.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store.directory < 0)
        return kaon__fail_errno(err, KAON_EIO, "cannot open it: %s%s",
                                strerror(errno),
                                errno == EMFILE || errno == ENFILE
                                    ? "; close some files or raise ulimit -n"
                                    : "");
    status = kaon__store_open_blobs(&store, false, err);
    if (status)
        kaon__store_close(&store);
    else
        *out = store;
    return status;
}

void kaon__store_close(struct kaon_store *store)
{
    if (store->blobs >= 0)
        close(store->blobs);
    if (store->directory >= 0)
        close(store->directory);
    store->blobs = store->directory = -1;
}

/* ---- Files ------------------------------------------------------------- */

static enum kaon_status open_file(int directory, const char *name,
                                  const char *called, int *fd, uint64_t *size,
                                  struct kaon_error *err)
{
    struct stat file;
    int opened = openat(directory, name, OPEN_FLAGS);

    if (opened < 0)
        return fail_open(called, err);
    if (fstat(opened, &file) != 0) {
        enum kaon_status status = kaon__fail_errno(
            err, KAON_EIO, "cannot examine %s: %s", called, strerror(errno));

        close(opened);
        return status;
    }
    if (!S_ISREG(file.st_mode)) {
        close(opened);
        return kaon__fail(err, KAON_ESNAPSHOT, "%s is no regular file", called);
    }
    *fd = opened;
    *size = (uint64_t)file.st_size;
    return KAON_OK;
}

/* Just so many bytes from an offset on. */
static enum kaon_status read_exactly(int fd, const char *called, void *to,
                                     size_t size, uint64_t offset,
                                     struct kaon_error *err)
{
    if (kaon__read_at(fd, to, size, offset) == size)
        return KAON_OK;
    if (errno)
        return kaon__fail_errno(err, KAON_EIO, "cannot read %s: %s", called,
                                strerror(errno));
    return kaon__fail(err, KAON_ESNAPSHOT, "%s shrank while it was read",
                      called);
}

/* Reads all of a file into memory, and closes it. */
static enum kaon_status slurp(int fd, const char *called, uint64_t size,
                              char **bytes, struct kaon_error *err)
{
    char *memory = malloc(size ? size : 1);
    enum kaon_status status;

    if (memory)
        status = read_exactly(fd, called, memory, size, 0, err);
    else
        status = kaon__fail(err, KAON_ENOMEM,
                            "out of memory for the %" PRIu64 " bytes of %s",
                            size, called);
    close(fd);
    if (status)
        free(memory);
    else
        *bytes = memory;
    return status;
}

static enum kaon_status fail_too_big(const char *called, uint64_t size,
                                     struct kaon_error *err)
{
    return kaon__fail(err, KAON_ESNAPSHOT,
                      "%s has %" PRIu64 " bytes: it may have %" PRIu64 " MiB",
                      called, size, KAON_OCI_TEXT_MAX >> 20);
}

enum kaon_status kaon__store_read(const struct kaon_store *store,
                                  const char *name, char **bytes, size_t *size,
                                  struct kaon_error *err)
{
    uint64_t has;
    int fd;
    enum kaon_status status =
        open_file(store->directory, name, name, &fd, &has, err);

    if (status)
        return status;
    if (has > KAON_OCI_TEXT_MAX) {
        close(fd);
        return fail_too_big(name, has, err);
    }
    status = slurp(fd, name, has, bytes, err);
    if (!status)
        *size = has;
    return status;
}

/* ---- Blobs ------------------------------------------------------------- */

enum kaon_status kaon__store_open_blob(const struct kaon_store *store,
                                       const struct kaon_blob *blob, int *fd,
                                       struct kaon_error *err)
{
    char name[BLOB_NAME_SIZE];
    uint64_t size;
    int opened;
    enum kaon_status status;

    name_blob(blob, name);
    status = open_file(store->blobs, name + 13, name, &opened, &size, err);
    if (status)
        return status;
    if (size != blob->size) {
        close(opened);
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "%s has %" PRIu64 " bytes: it should have %" PRIu64,
                          name, size, blob->size);
    }
    *fd = opened;
    return KAON_OK;
}

static enum kaon_status compare(const struct kaon_digest *digest,
                                const struct kaon_blob *blob,
                                struct kaon_error *err)
{
    char name[BLOB_NAME_SIZE];

    if (kaon__digest_equal(digest, &blob->digest))
        return KAON_OK;
    name_blob(blob, name);
    return kaon__fail(err, KAON_ESNAPSHOT,
                      "%s is damaged: its content has another digest", name);
}

enum kaon_status kaon__store_check(int fd, const struct kaon_blob *blob,
                                   struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;
    struct kaon_digest digest;
    struct kaon_sha256 hash;
    char name[BLOB_NAME_SIZE];
    char *piece = malloc(PIECE_SIZE);

    if (!piece)
        return kaon__fail(err, KAON_ENOMEM, "out of memory");
    name_blob(blob, name);
    kaon__sha256_init(&hash);
    for (uint64_t at = 0; !status && at < blob->size; at += PIECE_SIZE) {
        uint64_t left = blob->size - at;
        size_t size = left < PIECE_SIZE ? left : PIECE_SIZE;

        status = read_exactly(fd, name, piece, size, at, err);
        if (!status)
            kaon__sha256_add(&hash, piece, size);
    }
    free(piece);
    kaon__sha256_finish(&hash, &digest);
    return status ? status : compare(&digest, blob, err);
}

/* The bytes are all of the blob's file. */
static enum kaon_status check_bytes(const struct kaon_blob *blob,
                                    const void *bytes, struct kaon_error *err)
{
    const struct kaon_digest digest = kaon__sha256(bytes, blob->size);

    return compare(&digest, blob, err);
}

enum kaon_status kaon__store_fill(const struct kaon_store *store,
                                  const struct kaon_blob *blob, bool check,
                                  void *to, struct kaon_error *err)
{
    char name[BLOB_NAME_SIZE];
    int fd;
    enum kaon_status status = kaon__store_open_blob(store, blob, &fd, err);

    if (status)
        return status;
    name_blob(blob, name);
    status = read_exactly(fd, name, to, blob->size, 0, err);
    close(fd);
    return status || !check ? status : check_bytes(blob, to, err);
}

enum kaon_status kaon__store_read_blob(const struct kaon_store *store,
                                       const struct kaon_blob *blob, bool check,
                                       char **bytes, struct kaon_error *err)
{
    char name[BLOB_NAME_SIZE];
    int fd;
    enum kaon_status status = kaon__store_open_blob(store, blob, &fd, err);

    if (status)
        return status;
    name_blob(blob, name);
    status = slurp(fd, name, blob->size, bytes, err);
    if (status || !check)
        return status;
    status = check_bytes(blob, *bytes, err);
    if (status)
        free(*bytes);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an OCI image layout.
 *
 * A new layout is made beside its place and renamed into it. To one that is
 * there, blobs are added under temporary names and renamed, and the index,
 * which alone makes them part of it, is replaced last. At each step all that
 * the next one relies on is on the disk. So whatever fails, or whoever pulls
 * the plug: under a final name there is all of a file, or none of it.
 */
#include "host/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/error.h"
#include "host/memory_file.h"

/* What is hashed or written at a time. */
#define PIECE_SIZE (UINT64_C(128) << 10)

#define TEMPORARY_SIZE 32

static enum kaon_status fail_io(const char *verb, const char *what,
                                struct kaon_error *err)
{
    const char *advice = errno == ENOSPC || errno == EDQUOT
                             ? "; make room on that disk"
                         : errno == EMFILE || errno == ENFILE
                             ? "; close some files or raise ulimit -n"
                         : errno == EFBIG ? "; raise ulimit -f"
                                          : "";

    return kaon__fail_errno(err, KAON_EIO, "cannot %s %s: %s%s", verb, what,
                            strerror(errno), advice);
}

/* A name that nobody has, for what has no name yet. */
static void name_temporary(char name[TEMPORARY_SIZE])
{
    uint64_t number = 0;

    /* It only has to be rare: O_EXCL and mkdir() see to the rest. */
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) < 0)
        number = (uint64_t)getpid();
    snprintf(name, TEMPORARY_SIZE, ".tmp-%016" PRIx64, number);
}

/* ---- Beginning --------------------------------------------------------- */

/* Opens what leads to the last component of a path. */
static enum kaon_status open_parent(struct kaon_store_writer *writer,
                                    struct kaon_error *err)
{
    char *slash = strrchr(writer->path, '/');

    writer->name = slash ? slash + 1 : writer->path;
    if (strlen(writer->name) > NAME_MAX - TEMPORARY_SIZE)
        return kaon__fail(err, KAON_EINVAL, "its name is too long");
    if (!slash) {
        writer->parent = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else if (slash == writer->path) {
        writer->parent = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else {
        *slash = '\0';
        writer->parent = open(writer->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (writer->parent < 0)
        return fail_io("open", "the directory that it is in", err);
    return KAON_OK;
}

/* A copy without the slashes at its end. */
static char *copy_path(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    return strndup(path, length);
}

static enum kaon_status begin_new(struct kaon_store_writer *writer,
                                  struct kaon_error *err)
{
    char suffix[TEMPORARY_SIZE], name[sizeof writer->temporary];

    name_temporary(suffix);
    snprintf(name, sizeof name, "%s%s", writer->name, suffix);
    if (mkdirat(writer->parent, name, 0777) != 0)
        return fail_io("make", name, err);
    memcpy(writer->temporary, name, sizeof name);
    writer->store.directory =
        openat(writer->parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (writer->store.directory < 0)
        return fail_io("open", name, err);
    return kaon__store_open_blobs(&writer->store, true, err);
}

/* Adding to what somebody else is adding to would lose one's index. */
static enum kaon_status begin_more(struct kaon_store_writer *writer,
                                   struct kaon_error *err)
{
    char *text;
    size_t size;
    enum kaon_status status;

    if (flock(writer->store.directory, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return kaon__fail(err, KAON_EBUSY,
                              "somebody else is saving there: try again");
        return fail_io("lock", "it", err);
    }
    status =
        kaon__store_read(&writer->store, KAON_STORE_LAYOUT, &text, &size, err);
    if (status)
        return status;
    status = kaon__oci_read_layout(text, size, err);
    free(text);
    return status ? status : kaon__store_open_blobs(&writer->store, true, err);
}

static bool is_empty(int directory)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    unsigned count = 0;

    if (!stream) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    while (count < 3 && (entry = readdir(stream)))
        count++;
    closedir(stream);
    return count < 3; /* "." and ".." */
}

static enum kaon_status begin(struct kaon_store_writer *writer,
                              struct kaon_error *err)
{
    int directory = openat(writer->parent, *writer->name ? writer->name : ".",
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0 && errno != ENOENT)
        return fail_io("open", "it", err);
    if (directory >= 0 && !is_empty(directory)) {
        writer->store.directory = directory;
        return begin_more(writer, err);
    }
    if (directory >= 0)
        close(directory);
    return begin_new(writer, err);
}

enum kaon_status kaon__store_begin(struct kaon_store_writer *out,
                                   const char *path, struct kaon_error *err)
{
    enum kaon_status status;

    *out = (struct kaon_store_writer){ .store = { -1, -1 }, .parent = -1 };
    out->path = copy_path(path);
    if (!out->path)
        return kaon__fail(err, KAON_ENOMEM, "out of memory");
    status = open_parent(out, err);
    if (!status)
        status = begin(out, err);
    if (status)
        kaon__store_end(out, false);
    return status;
}

bool kaon__store_was_there(const struct kaon_store_writer *writer)
{
    return !writer->temporary[0];
}

/* ---- Blobs ------------------------------------------------------------- */

static enum kaon_status write_exactly(int fd, const char *at, size_t size,
                                      struct kaon_error *err)
{
    while (size) {
        ssize_t done = write(fd, at, size);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail_io("write", "a blob", err);
        at += done;
        size -= (size_t)done;
    }
    return KAON_OK;
}

/* Goes through the source once: what is its digest? Writes it to a file, too,
 * unless fd is -1. */
static enum kaon_status pass(int fd, kaon_store_source source, void *user,
                             uint64_t size, struct kaon_digest *out,
                             struct kaon_error *err)
{
    char *piece = malloc(PIECE_SIZE);
    enum kaon_status status = KAON_OK;
    struct kaon_sha256 hash;

    if (!piece)
        return kaon__fail(err, KAON_ENOMEM, "out of memory");
    kaon__sha256_init(&hash);
    for (uint64_t at = 0; !status && at < size; at += PIECE_SIZE) {
        size_t now = size - at < PIECE_SIZE ? size - at : PIECE_SIZE;

        status = source(user, at, piece, now, err);
        if (!status)
            kaon__sha256_add(&hash, piece, now);
        if (!status && fd >= 0)
            status = write_exactly(fd, piece, now, err);
    }
    free(piece);
    kaon__sha256_finish(&hash, out);
    return status;
}

/* What is in a file that is complete must be on the disk before its name. */
static enum kaon_status write_file(int directory, const char *name, int fd,
                                   kaon_store_source source, void *user,
                                   const struct kaon_blob *blob,
                                   const char *final, struct kaon_error *err)
{
    struct kaon_digest digest;
    enum kaon_status status = pass(fd, source, user, blob->size, &digest, err);

    if (!status && fsync(fd) != 0)
        status = fail_io("write", "a blob", err);
    if (close(fd) != 0 && !status)
        status = fail_io("write", "a blob", err);
    if (!status && !kaon__digest_equal(&digest, &blob->digest))
        status = kaon__fail(err, KAON_EIO, "it changed while it was saved");
    if (!status && renameat(directory, name, directory, final) != 0)
        status = fail_io("rename a file to", final, err);
    return status;
}

/* A file of what the source has, under its final name or not at all. */
static enum kaon_status make_file(int directory, mode_t mode,
                                  kaon_store_source source, void *user,
                                  const struct kaon_blob *blob,
                                  const char *final, struct kaon_error *err)
{
    char name[TEMPORARY_SIZE];
    enum kaon_status status;
    int fd;

    name_temporary(name);
    fd = openat(directory, name,
                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return fail_io("make", "a file", err);
    if (kaon__memory_file_may_have(blob->size)) {
        status =
            write_file(directory, name, fd, source, user, blob, final, err);
    } else {
        status = fail_io("write", "a blob", err);
        close(fd);
    }
    if (status)
        unlinkat(directory, name, 0);
    return status;
}

/* Does the layout have the blob, undamaged? */
static bool has(const struct kaon_store *store, const struct kaon_blob *blob)
{
    bool good;
    int fd;

    if (kaon__store_open_blob(store, blob, &fd, NULL))
        return false;
    good = !kaon__store_check(fd, blob, NULL);
    close(fd);
    return good;
}

enum kaon_status kaon__store_put(struct kaon_store_writer *writer,
                                 struct kaon_blob *out,
                                 kaon_store_source source, void *user,
                                 uint64_t size, struct kaon_error *err)
{
    char name[KAON_SHA256_TEXT];
    enum kaon_status status;
    bool was_there;

    out->size = size;
    status = pass(-1, source, user, size, &out->digest, err);
    if (status || has(&writer->store, out))
        return status;
    kaon__digest_format(&out->digest, name);
    /* One that is damaged is replaced, but is not ours to remove later. */
    was_there = fstatat(writer->store.blobs, name, &(struct stat){ 0 },
                        AT_SYMLINK_NOFOLLOW) == 0;
    /* Nobody is to write to a blob ever again. */
    status = make_file(writer->store.blobs, 0444, source, user, out, name, err);
    if (!status && !was_there)
        writer->added[writer->added_count++] = out->digest;
    return status;
}

static enum kaon_status from_memory(void *user, uint64_t offset, void *to,
                                    size_t size, struct kaon_error *err)
{
    (void)err;
    memcpy(to, *(const char *const *)user + offset, size);
    return KAON_OK;
}

enum kaon_status kaon__store_put_bytes(struct kaon_store_writer *writer,
                                       struct kaon_blob *out, const void *bytes,
                                       uint64_t size, struct kaon_error *err)
{
    return kaon__store_put(writer, out, from_memory, &bytes, size, err);
}

/* ---- The end ----------------------------------------------------------- */

static enum kaon_status put_text(struct kaon_store_writer *writer,
                                 const char *name, const char *text,
                                 size_t size, struct kaon_error *err)
{
    struct kaon_blob blob = { kaon__sha256(text, size), size };

    return make_file(writer->store.directory, 0666, from_memory, &text, &blob,
                     name, err);
}

static enum kaon_status sync_directory(int directory, struct kaon_error *err)
{
    /* Some file systems know no fsync() of directories, and need none. */
    if (fsync(directory) != 0 && errno != EINVAL)
        return fail_io("write", "a directory", err);
    return KAON_OK;
}

/* What leads from the layout to its blobs. */
static enum kaon_status sync_way(const struct kaon_store *store,
                                 struct kaon_error *err)
{
    int blobs = openat(store->directory, "blobs",
                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    enum kaon_status status;

    if (blobs < 0)
        return fail_io("open", "blobs", err);
    status = sync_directory(blobs, err);
    close(blobs);
    return status;
}

/* From here on all of it can be seen, so that nothing is removed if the disk
 * fails now. Takes the place of an empty directory too, and of nothing else. */
static enum kaon_status move_in(struct kaon_store_writer *writer,
                                struct kaon_error *err)
{
    if (renameat(writer->parent, writer->temporary, writer->parent,
                 writer->name) != 0)
        return fail_io("rename the new directory to", "it", err);
    writer->temporary[0] = '\0';
    writer->added_count = 0;
    return sync_directory(writer->parent, err);
}

enum kaon_status kaon__store_commit(struct kaon_store_writer *writer,
                                    const char *index, size_t size,
                                    struct kaon_error *err)
{
    bool is_new = !kaon__store_was_there(writer);
    enum kaon_status status = sync_directory(writer->store.blobs, err);

    if (!status && is_new)
        status = sync_way(&writer->store, err);
    if (!status && is_new)
        status = put_text(writer, KAON_STORE_LAYOUT, kaon__oci_layout,
                          strlen(kaon__oci_layout), err);
    if (!status)
        status = put_text(writer, KAON_STORE_INDEX, index, size, err);
    if (!status && !is_new)
        writer->added_count = 0;
    if (!status)
        status = sync_directory(writer->store.directory, err);
    if (!status && is_new)
        status = move_in(writer, err);
    return status;
}

static void remove_added(const struct kaon_store_writer *writer)
{
    for (uint32_t i = 0; i < writer->added_count; i++) {
        char name[KAON_SHA256_TEXT];

        kaon__digest_format(&writer->added[i], name);
        unlinkat(writer->store.blobs, name, 0);
    }
}

/* All of a new layout that can be there. */
static void remove_new(const struct kaon_store_writer *writer)
{
    int directory = writer->store.directory;

    unlinkat(directory, KAON_STORE_INDEX, 0);
    unlinkat(directory, KAON_STORE_LAYOUT, 0);
    unlinkat(directory, "blobs/sha256", AT_REMOVEDIR);
    unlinkat(directory, "blobs", AT_REMOVEDIR);
    unlinkat(writer->parent, writer->temporary, AT_REMOVEDIR);
}

void kaon__store_end(struct kaon_store_writer *writer, bool committed)
{
    if (!committed) {
        remove_added(writer);
        if (writer->temporary[0])
            remove_new(writer);
    }
    kaon__store_close(&writer->store);
    if (writer->parent >= 0)
        close(writer->parent);
    free(writer->path);
}

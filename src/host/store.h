/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCI image layout as a directory of files.
 *
 * store.c reads, store_write.c writes. Neither takes a path from what a file
 * says: there are two names that every layout has, and blobs are named by
 * their digests. Each component of a path is opened by itself and must not be
 * a symbolic link, so that nothing outside of the directory is ever opened.
 * Only regular files are, and without waiting for anybody.
 */
#ifndef KAON_SRC_HOST_STORE_H
#define KAON_SRC_HOST_STORE_H

#include <kaon/error.h>

#include "host/oci.h"

#define KAON_STORE_LAYOUT "oci-layout"
#define KAON_STORE_INDEX "index.json"

struct kaon_store {
    int directory; /* the layout */
    int blobs;     /* blobs/sha256 in it */
};

/* The directory is the user's word: it may be a symbolic link. */
enum kaon_status kaon__store_open(struct kaon_store *out, const char *path,
                                  struct kaon_error *err);
void kaon__store_close(struct kaon_store *store);

/* A whole file of at most KAON_OCI_TEXT_MAX bytes, in memory that the caller
 * frees: one of the two, or a blob, which is checked against its digest if
 * `check` says so. */
enum kaon_status kaon__store_read(const struct kaon_store *store,
                                  const char *name, char **bytes, size_t *size,
                                  struct kaon_error *err);
enum kaon_status kaon__store_read_blob(const struct kaon_store *store,
                                       const struct kaon_blob *blob, bool check,
                                       char **bytes, struct kaon_error *err);

/* The same into blob->size bytes that the caller has. */
enum kaon_status kaon__store_fill(const struct kaon_store *store,
                                  const struct kaon_blob *blob, bool check,
                                  void *to, struct kaon_error *err);

/* A blob's file: regular, of just its size. The caller closes it. */
enum kaon_status kaon__store_open_blob(const struct kaon_store *store,
                                       const struct kaon_blob *blob, int *fd,
                                       struct kaon_error *err);

/* Reads all of a blob's file. Is it what its digest says? */
enum kaon_status kaon__store_check(int fd, const struct kaon_blob *blob,
                                   struct kaon_error *err);

/* Passes a failure on, saying what could not be done with which directory. */
enum kaon_status kaon__store_blame(struct kaon_error *err,
                                   const struct kaon_error *why,
                                   const char *what, const char *directory);

/* Opens store->blobs, having made it if `make` says so. */
enum kaon_status kaon__store_open_blobs(struct kaon_store *store, bool make,
                                        struct kaon_error *err);

/* ---- Writing ----------------------------------------------------------- */

/* Where a blob's bytes come from: fills size bytes at `to`, or fails. */
typedef enum kaon_status (*kaon_store_source)(void *user, uint64_t offset,
                                              void *to, size_t size,
                                              struct kaon_error *err);

/* A snapshot has a config, a manifest, a guest, a map and what guests wrote
 * to its mappings besides. */
#define KAON_STORE_ADDED_MAX (KAON_OCI_LAYERS_MAX + 5u)

/*
 * A layout being written: a new one under a temporary name, or more blobs in
 * one that is there. Until kaon__store_commit() nobody sees any of it.
 */
struct kaon_store_writer {
    struct kaon_store store;
    int parent; /* the directory that the layout's directory is in */
    char *path;
    const char *name;    /* the last component of the path */
    char temporary[280]; /* what it is called until then; "": it was there */
    struct kaon_digest added[KAON_STORE_ADDED_MAX];
    uint32_t added_count;
};

/* KAON_EBUSY if somebody else is writing to it. */
enum kaon_status kaon__store_begin(struct kaon_store_writer *out,
                                   const char *path, struct kaon_error *err);

/* Is it one that was there, so that it has an index? */
bool kaon__store_was_there(const struct kaon_store_writer *writer);

/* Adds a blob, unless the layout has it; *out then names it. */
enum kaon_status kaon__store_put(struct kaon_store_writer *writer,
                                 struct kaon_blob *out,
                                 kaon_store_source source, void *user,
                                 uint64_t size, struct kaon_error *err);
enum kaon_status kaon__store_put_bytes(struct kaon_store_writer *writer,
                                       struct kaon_blob *out, const void *bytes,
                                       uint64_t size, struct kaon_error *err);

/* Puts the index in place, and all else that makes it a layout: all is on the
 * disk when this returns. */
enum kaon_status kaon__store_commit(struct kaon_store_writer *writer,
                                    const char *index, size_t size,
                                    struct kaon_error *err);

/* Ends it. What was not committed is removed. */
void kaon__store_end(struct kaon_store_writer *writer, bool committed);

#endif

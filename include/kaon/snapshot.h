/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/snapshot.h - a sandbox's state, kept
 *
 *     kaon_sandbox_create(&sandbox, image, NULL, &err);
 *     kaon_sandbox_init(sandbox, &out, NULL, &err);      // slow, once
 *     kaon_snapshot_take(&snapshot, sandbox, &err);
 *     for (;;) {
 *         kaon_call(sandbox, ...);                       // any request
 *         kaon_sandbox_restore(sandbox, snapshot, &err); // as if it never was
 *     }
 *
 * A snapshot is what a guest's memory and registers were between two calls.
 * It never changes, whatever becomes of the sandbox that it was taken of. It
 * serves to put a sandbox back, a poisoned one too, and to make new ones.
 *
 * What it costs. A snapshot holds the pages that differ from the image. One
 * taken of a sandbox that came from another snapshot, or of which one was
 * taken before, shares the unchanged pages with that. To restore a sandbox is
 * to copy the pages that it owns; nothing is unmapped. A sandbox made from a
 * snapshot owns what it writes and shares all else, however large it is: the
 * snapshot remembers (up to 512) pages that its sandboxes wrote, and the next
 * one gets its copies of these at once; what none of some hundred writes again,
 * it forgets. With process isolation a sandbox copies all of the snapshot.
 *
 * What it leaves out. The exchange: arguments and results of calls before are
 * gone. Host functions and what they keep are the host's.
 *
 * The guest can tell: kaon_generation() differs after each restore, and
 * kaon_random() starts from a new seed (kaon/guest.h). A guest that has keys
 * or a random generator of its own in its memory has the same ones in each
 * sandbox made from the snapshot: it should look at the generation.
 *
 * Threads: a snapshot may be used by any number of threads at once.
 */
#ifndef KAON_SNAPSHOT_H
#define KAON_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/image.h>
#include <kaon/region.h>
#include <kaon/sandbox.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kaon_snapshot;

/**
 * kaon_snapshot_take - keep a sandbox's state
 *
 * The sandbox stays as it is. The snapshot keeps a reference to its image.
 *
 * Out:     out    the snapshot. Release with kaon_snapshot_destroy().
 * Returns: KAON_OK, KAON_EINVAL, KAON_EBUSY (a call runs), KAON_EPOISONED,
 *          KAON_ENOMEM, KAON_EBACKEND (no file descriptor left: it takes 1).
 * Threads: any, as for a call.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_snapshot_take(struct kaon_snapshot **out, struct kaon_sandbox *sandbox,
                   struct kaon_error *err);

/**
 * kaon_snapshot_hold - one more reference
 *
 * Returns: snapshot. Each reference wants a kaon_snapshot_destroy().
 * Threads: any.
 */
KAON_API struct kaon_snapshot *
kaon_snapshot_hold(struct kaon_snapshot *snapshot);

/**
 * kaon_snapshot_destroy - give a reference back
 *
 * Sandboxes that came from it live on. NULL is fine.
 *
 * Threads: any.
 */
KAON_API void kaon_snapshot_destroy(struct kaon_snapshot *snapshot);

/**
 * kaon_sandbox_restore - put a sandbox into a snapshot's state
 *
 * The snapshot may be of another sandbox, in whatever domain, if that had the
 * same image and the same heap_bytes, stack_bytes and exchange_bytes. A
 * poisoned sandbox is ready again. Results that were borrowed from the
 * sandbox, and its kaon_sandbox_buffer(), are gone. On failure the sandbox is
 * as it was, but for its mappings (kaon/region.h).
 *
 * Returns: KAON_OK, KAON_EINVAL (another image or layout: err says which),
 *          KAON_EBUSY (a call runs), KAON_ENOMEM, KAON_EBACKEND, KAON_EIO (a
 *          file that is mapped cannot be read).
 * Threads: any, as for a call.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_sandbox_restore(struct kaon_sandbox *sandbox,
                     struct kaon_snapshot *snapshot, struct kaon_error *err);

/**
 * kaon_sandbox_create_from - make a sandbox in a snapshot's state
 *
 * As kaon_sandbox_create(), but the guest goes on where the snapshot was
 * taken: its initialisation does not run again.
 *
 * Out:     out    the sandbox. Release with kaon_sandbox_destroy().
 * In:      opts   heap_bytes, stack_bytes and exchange_bytes are the
 *                 snapshot's: 0, or the same.
 * Returns: as kaon_sandbox_create().
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status kaon_sandbox_create_from(
    struct kaon_sandbox **out, struct kaon_snapshot *snapshot,
    const struct kaon_sandbox_opts *opts, struct kaon_error *err);

/**
 * kaon_snapshot_image - the image that a snapshot is of
 *
 * Returns: borrowed, until the snapshot ends; NULL for NULL.
 * Threads: any.
 */
KAON_API struct kaon_image *
kaon_snapshot_image(const struct kaon_snapshot *snapshot);

/* What a snapshot holds. */
struct kaon_snapshot_stats {
    uint64_t pages;     /* that differ from the image, in 4 KiB */
    uint64_t own_pages; /* of these, not shared with earlier snapshots */
    uint64_t layers;    /* pieces of memory that hold them: up to 16 */
    uint64_t write_set; /* pages that sandboxes from it are given at once */

    /* What sandboxes from it have. */
    uint64_t heap_bytes, stack_bytes, exchange_bytes;
};

/**
 * kaon_snapshot_stats - count what a snapshot holds
 *
 * Returns: KAON_OK, KAON_EINVAL.
 * Threads: any.
 */
KAON_API enum kaon_status kaon_snapshot_stats(struct kaon_snapshot *snapshot,
                                              struct kaon_snapshot_stats *out);

/* What a snapshot keeps of a mapping (kaon/region.h). */
struct kaon_snapshot_mapping {
    const char *name; /* borrowed, until the snapshot ends; "": none */
    uint64_t address;
    enum kaon_map_mode mode;
    int32_t is_file; /* a part of a file, or else a buffer: */
    uint64_t size;   /* its bytes, and */
    uint64_t offset; /* where they begin in the file */
    uint64_t pages;  /* of KAON_MAP_COPY: that the guest wrote */

    /* Borrowed, until the snapshot ends; NULL if it was opened without. */
    struct kaon_region *region;
};

/**
 * kaon_snapshot_mapping - a snapshot's mappings, by index
 *
 * They are in the order of their addresses.
 *
 * Returns: 1 and fills *out, or 0 if there is no such index.
 * Threads: any.
 */
KAON_API int kaon_snapshot_mapping(const struct kaon_snapshot *snapshot,
                                   size_t index,
                                   struct kaon_snapshot_mapping *out);

/* ---- On disk -----------------------------------------------------------
 *
 * A snapshot is saved as an OCI image layout: a directory of small files that
 * describe it and of blobs named by their SHA-256. Tools such as skopeo copy
 * it to any registry and back. It is self-contained, the guest's ELF file
 * included, but for what was mapped; docs/snapshot-format.md describes all of
 * it. A layout may hold several snapshots, each under a name; what they have in
 * common is there once.
 *
 * What is read from a layout is not trusted: a damaged or hostile one is
 * refused with the reason, and nothing outside of its directory is opened. But
 * who can write to a layout decides what its guests do.
 *
 * While a snapshot is open, its pages stay in their files, and all processes
 * that have it open share the system's copies of them; those of a small layer,
 * and up to 512 of each other that sandboxes own, are kept in memory besides.
 * So these files should not change: replace a layout, do not write to its
 * blobs (kaon_snapshot_save() never does). Should one change or shrink
 * nevertheless, after it was checked, the host survives it: guests get what is
 * there, zeroes where nothing is any more, or end with KAON_FAULT.
 */

/* Options of a save; make them with KAON_SAVE_OPTS(). 0 is default. */
struct kaon_save_opts {
    size_t size; /* sizeof(struct kaon_save_opts) */

    /* What the snapshot is called in its layout: letters, digits and "_.-",
     * none of the last two first, up to 128. NULL: "latest". */
    const char *name;

    /* Take the name from a snapshot that has it. */
    int32_t replace;
};
#define KAON_SAVE_OPTS(...)                                           \
    (&(struct kaon_save_opts){ .size = sizeof(struct kaon_save_opts), \
                               __VA_ARGS__ })

/**
 * kaon_snapshot_save - write a snapshot to a directory
 *
 * The directory is made, or is empty, or is a layout already; then the
 * snapshot is added to that. Whatever fails, the directory is as it was, or
 * is not there; and when this returns, all of it is on the disk.
 *
 * Of mappings (kaon/region.h) it has what was mapped where, by their names, and
 * the pages of KAON_MAP_COPY that the guest wrote; not what the regions hold.
 * So each must have a name. There may be 64.
 *
 * In:      directory  its parent must exist.
 * Returns: KAON_OK; KAON_EINVAL (also: the name is taken, or a mapping has
 *          none); KAON_EIO (the file system said no: a full disk, for
 *          example); KAON_ESNAPSHOT (the directory holds something else, or a
 *          damaged layout); KAON_EBUSY (somebody else is saving there);
 *          KAON_ENOMEM.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_snapshot_save(struct kaon_snapshot *snapshot, const char *directory,
                   const struct kaon_save_opts *opts, struct kaon_error *err);

/* A region for the mapping of that name. The mode is what that had: so no
 * layout can let a guest write to what it should read. */
struct kaon_named_region {
    const char *name;
    struct kaon_region *region;
    enum kaon_map_mode mode;
};

/* Options of an open; make them with KAON_OPEN_OPTS(). 0 is default. */
struct kaon_open_opts {
    size_t size; /* sizeof(struct kaon_open_opts) */

    /* Which snapshot of the layout; NULL: the only one, or "latest". */
    const char *name;

    /* The image to use, so that sandboxes of it can be restored: made of the
     * same ELF file, or the snapshot is refused. NULL: the layout's. */
    struct kaon_image *image;

    /* Refuse a snapshot of which guest, map and pages are larger together. */
    uint64_t size_max; /* bytes; default: no limit */

    /* Believe that guest, map and pages are what they were when they were
     * saved, and do not read all of them to see. What is needed to keep the
     * host safe is checked nevertheless. */
    int32_t skip_digests;

    /* What its mappings are to show: of each, a region of the same kind (file
     * or buffer) and just as many bytes. What these hold is for the caller to
     * know: pages that the guest did not write show what is there now. The
     * snapshot keeps references.
     *
     * Without the regions of all its mappings a snapshot can be looked at, but
     * not be saved again, and no sandbox be made of it or restored to it. */
    const struct kaon_named_region *regions;
    size_t region_count;
};
#define KAON_OPEN_OPTS(...)                                           \
    (&(struct kaon_open_opts){ .size = sizeof(struct kaon_open_opts), \
                               __VA_ARGS__ })

/**
 * kaon_snapshot_open - open a snapshot that was saved
 *
 * Checks all that is recorded with it: architecture, ABI version, the guest's
 * ELF, its layout in memory, and the host functions that it imports.
 *
 * Out:     out    the snapshot. Release with kaon_snapshot_destroy(). It
 *                 takes a file descriptor for each layer (up to 16) and, with
 *                 its own image, one more.
 * In:      directory  the layout.
 * Returns: KAON_OK; KAON_EINVAL (also: opts->image is another, or a region
 *          is not what was mapped); KAON_EIO (a file cannot be read);
 *          KAON_ESNAPSHOT (the reason is in err); KAON_EABI (saved for another
 *          version of kaon/abi.h); KAON_EIMAGE; KAON_ENOMEM.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_snapshot_open(struct kaon_snapshot **out, const char *directory,
                   const struct kaon_open_opts *opts, struct kaon_error *err);

/**
 * kaon_snapshot_names - call a function for each snapshot of a layout
 *
 * With its name, in the order of the index. If the index is damaged it may
 * have been called for some before that is seen.
 *
 * In:      function, user  what to call; the name is borrowed until it
 *                  returns, printable ASCII, and whoever wrote the layout
 *                  chose it.
 * Returns: KAON_OK, KAON_EINVAL, KAON_EIO, KAON_ESNAPSHOT, KAON_ENOMEM.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_snapshot_names(const char *directory,
                    void (*function)(const char *name, void *user), void *user,
                    struct kaon_error *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/region.h - files and buffers that sandboxes can see
 *
 *     kaon_region_open(&region, "words.txt", 0, 0, &err);
 *     kaon_sandbox_map(sandbox, &address, region, NULL, &err);
 *     kaon_call(sandbox, &out, "count_lines",
 *               KAON_ARGS(kaon_u64(address),
 *                         kaon_u64(kaon_region_size(region))), NULL, &err);
 *     kaon_sandbox_unmap(sandbox, address, &err);
 *
 * A region is memory of the host's: a part of a file, or a buffer. Mapped into
 * a sandbox, it is there at an address, without a copy. The guest is told
 * where by the host, as an argument or however else. What a guest wants to
 * find when it starts, its sandbox is created with:
 *
 *     const struct kaon_sandbox_mapping words[] = {
 *         { .region = region, .address = &address },
 *     };
 *     kaon_sandbox_create(&sandbox, image,
 *                         KAON_SANDBOX_OPTS(.mappings = words,
 *                                           .mapping_count = 1), &err);
 *
 * The same options make each sandbox of a pool have it, whenever it is
 * acquired.
 *
 * How it is mapped is the sandbox's own:
 *
 *     KAON_MAP_READ   the guest reads it; a write is a fault there
 *     KAON_MAP_COPY   the guest writes, but to copies of the pages, which
 *                     nobody else sees: the file never changes
 *     KAON_MAP_WRITE  of a buffer: what guest and host write, both see
 *
 * None is ever executable. Mappings lie in the sandbox's *window*, behind its
 * heap (map_bytes in kaon_sandbox_opts), where nothing else is. A mapping
 * takes whole pages: behind the end of a file, the last one is zero.
 *
 * What a guest may write is hostile: what the host reads in a buffer that is
 * mapped with KAON_MAP_WRITE can change while it reads, on any CPU, for as
 * long as it is mapped, also between calls if the guest is in a process. Copy
 * it once, check the copy, use the copy. And who maps one buffer into two
 * sandboxes has let these talk to each other.
 *
 * A file shows what is in it now, whoever writes it. If it becomes shorter
 * than what is mapped, a guest that touches the missing pages ends its call
 * with the outcome KAON_FAULT; the host's program gets no SIGBUS.
 *
 * Snapshots (kaon/snapshot.h) keep which regions are mapped where and how, a
 * reference to each, and the pages of KAON_MAP_COPY that the guest wrote: not
 * what the regions hold. Restoring makes the sandbox's mappings those of the
 * snapshot; so does making a sandbox from one. If all of them have names (in
 * kaon_map_opts), it can be saved: whoever opens it gives their regions.
 *
 * What it costs. A file or buffer takes a descriptor and address space, and so
 * does each mapping with KAON_MAP_COPY. To map into a VM is one system call, or
 * a few to copy, and 8 bytes of page tables for each page. To unmap takes some
 * tenths of a millisecond, and makes KVM forget what it has cached of all of
 * the domain's memory. A restore that finds the mappings as they were makes no
 * system call, but to read a file's pages again that the guest wrote. With
 * process isolation each change of mappings costs the sandbox its process: the
 * next call starts another; and KAON_MAP_COPY copies all of the region at once,
 * and again with each restore.
 *
 * Threads: a region may be used by any number of threads and sandboxes.
 */
#ifndef KAON_REGION_H
#define KAON_REGION_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/sandbox.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kaon_region;

/**
 * kaon_region_open - a part of a file
 *
 * The file is held open, to read only.
 *
 * Out:     out     the region. Release with kaon_region_destroy().
 * In:      path    of a regular file.
 *          offset  where it begins: a multiple of 4096.
 *          size    in bytes; 0: up to the file's end. Whole pages, unless it
 *                  ends where the file does: guests see whole pages.
 * Returns: KAON_OK, KAON_EINVAL (not a regular file, empty, or offset and
 *          size are not within it: err says which), KAON_EIO (it cannot be
 *          opened), KAON_ENOMEM.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_region_open(struct kaon_region **out, const char *path, uint64_t offset,
                 uint64_t size, struct kaon_error *err);

/**
 * kaon_region_open_fd - the same, of a file that is open
 *
 * In:      fd      open for reading; the region has a descriptor of its own.
 * Returns: as kaon_region_open().
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_region_open_fd(struct kaon_region **out, int fd, uint64_t offset,
                    uint64_t size, struct kaon_error *err);

/**
 * kaon_region_create - a buffer of the host's
 *
 * All zero at first; costs memory as it is touched.
 *
 * Out:     out   the region. Release with kaon_region_destroy().
 * In:      size  in bytes; rounded up to whole pages.
 * Returns: KAON_OK, KAON_EINVAL (0, or absurd), KAON_ENOMEM, KAON_EBACKEND (no
 *          file descriptor left: it takes 1).
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_region_create(struct kaon_region **out, uint64_t size,
                   struct kaon_error *err);

/**
 * kaon_region_hold - one more reference
 *
 * Returns: region. Each reference wants a kaon_region_destroy().
 * Threads: any.
 */
KAON_API struct kaon_region *kaon_region_hold(struct kaon_region *region);

/**
 * kaon_region_destroy - give a reference back
 *
 * Where it is mapped, it stays. NULL is fine.
 *
 * Threads: any.
 */
KAON_API void kaon_region_destroy(struct kaon_region *region);

/**
 * kaon_region_data - a buffer's memory
 *
 * Returns: borrowed, until the region ends; NULL for a file, and for NULL.
 * Threads: any; between them, and with guests, it is for the program to agree
 *          on who writes what when.
 */
KAON_API void *kaon_region_data(const struct kaon_region *region);

/**
 * kaon_region_size - bytes of a region
 *
 * Returns: what was asked for; of a buffer, in whole pages; 0 for NULL.
 * Threads: any.
 */
KAON_API uint64_t kaon_region_size(const struct kaon_region *region);

enum kaon_map_mode {
    KAON_MAP_READ = 0,
    KAON_MAP_COPY,
    KAON_MAP_WRITE, /* buffers only */
};

/* How to map; make them with KAON_MAP_OPTS(). 0 is the default. */
struct kaon_map_opts {
    size_t size; /* sizeof(struct kaon_map_opts) */

    /* Where: a multiple of 4096 within the window; 0: where there is room. */
    uint64_t address;

    enum kaon_map_mode mode;

    /* What saved snapshots call it: letters, digits and "_.-", none of the last
     * two first, up to KAON_MAP_NAME_MAX; no two mappings of a sandbox have the
     * same. Copied. NULL: none; snapshots of the sandbox cannot be saved. */
    const char *name;
};
#define KAON_MAP_NAME_MAX 63
#define KAON_MAP_OPTS(...)                                          \
    (&(struct kaon_map_opts){ .size = sizeof(struct kaon_map_opts), \
                              __VA_ARGS__ })

/**
 * kaon_sandbox_map - show a region to a guest
 *
 * The sandbox keeps a reference to the region. It must be ready: map into a
 * new one before its first call, or into any between calls. One region can be
 * mapped into many sandboxes, and more than once.
 *
 * Out:     address  where the guest has it.
 * Returns: KAON_OK, KAON_EINVAL (the address is unaligned, taken, or outside
 *          of the window; a file with KAON_MAP_WRITE; a name that is taken,
 *          or none: err says what is free),
 *          KAON_EBUSY (a call runs), KAON_EPOISONED, KAON_ENOMEM (also: no
 *          room in window or domain), KAON_EBACKEND (the kernel refused; a
 *          process has some 28 mappings at most).
 * Threads: any, as for a call.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_sandbox_map(struct kaon_sandbox *sandbox, uint64_t *address,
                 struct kaon_region *region, const struct kaon_map_opts *opts,
                 struct kaon_error *err);

/*
 * A mapping that a sandbox is created with: one of `mappings` in its options.
 * Those with an address in `opts` are given that, then the others the lowest
 * places that are left, in their order: equal sandboxes have equal addresses.
 *
 * A sandbox made from a snapshot has the snapshot's mappings and these beside
 * them: they must not overlap. As all that is mapped, they are the sandbox's
 * state: restoring it to a snapshot that lacks them takes them away.
 */
struct kaon_sandbox_mapping {
    struct kaon_region *region;
    const struct kaon_map_opts *opts; /* NULL: all defaults */

    /* Where to write its address, before anything of the guest runs: for a
     * host function that tells the guest. Of a pool, until that is created,
     * and once for all its sandboxes. NULL: nowhere. */
    uint64_t *address;
};

/**
 * kaon_sandbox_unmap - take a mapping from a guest
 *
 * All of it. A guest that touches it afterwards faults.
 *
 * In:      address  what kaon_sandbox_map() gave.
 * Returns: KAON_OK, KAON_EINVAL (nothing is mapped from there on), KAON_EBUSY,
 *          KAON_EPOISONED, KAON_ENOMEM or KAON_EBACKEND (the kernel refused:
 *          try again; until it succeeds the guest may or may not have it).
 * Threads: any, as for a call.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_sandbox_unmap(struct kaon_sandbox *sandbox, uint64_t address,
                   struct kaon_error *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions. Owns their descriptors and mappings.
 *
 * A file's mapping is made for the machines that attach it, and never touched
 * here: somebody may cut the file at any time.
 */
#include "host/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/error.h"
#include "host/memory_file.h"
#include "host/read.h"

/* What an address space, a file and a page table can have, and then some. */
#define SIZE_MAX_BYTES (UINT64_C(1) << 46)

static enum kaon_status fail_memory(struct kaon_error *err)
{
    return kaon__fail(err, KAON_ENOMEM, "out of memory for a region");
}

static enum kaon_status fail_map(const struct kaon_region *region,
                                 struct kaon_error *err)
{
    return kaon__fail_errno(
        err, errno == EACCES ? KAON_EINVAL : KAON_ENOMEM,
        "cannot map the %llu KiB of a region: %s%s",
        (unsigned long long)region->size >> 10, strerror(errno),
        errno == EACCES  ? "; its file must be open for reading"
        : errno == EFBIG ? "; raise `ulimit -f`"
                         : "");
}

static enum kaon_status map_memory(struct kaon_region *region, int protection,
                                   struct kaon_error *err)
{
    void *memory =
        mmap(NULL, kaon__region_pages(region) * KAON_PAGE_SIZE, protection,
             MAP_SHARED | MAP_NORESERVE, region->fd, (off_t)region->offset);

    if (memory == MAP_FAILED)
        return fail_map(region, err);
    region->memory = memory;
    return KAON_OK;
}

static struct kaon_region *new_region(void)
{
    struct kaon_region *region = calloc(1, sizeof *region);

    if (region) {
        atomic_init(&region->references, 1);
        region->fd = -1;
    }
    return region;
}

/* ---- Files ------------------------------------------------------------- */

static enum kaon_status fail_file(struct kaon_error *err, const char *name)
{
    return kaon__fail_errno(err, KAON_EIO, "cannot open %.128s: %s", name,
                            strerror(errno));
}

/* size is 0 for all that there is from offset on. */
static enum kaon_status check_part(const char *name, uint64_t offset,
                                   uint64_t *size, uint64_t file_size,
                                   struct kaon_error *err)
{
    if (offset % KAON_PAGE_SIZE)
        return kaon__fail(err, KAON_EINVAL,
                          "offset %llu is not a page's: it must be a multiple "
                          "of 4096",
                          (unsigned long long)offset);
    if (file_size == 0)
        return kaon__fail(err, KAON_EINVAL, "%.128s is empty", name);
    if (offset >= file_size || *size > file_size - offset)
        return kaon__fail(err, KAON_EINVAL,
                          "%.128s has %llu bytes: offset %llu and size %llu "
                          "are not within",
                          name, (unsigned long long)file_size,
                          (unsigned long long)offset,
                          (unsigned long long)*size);
    if (*size == 0)
        *size = file_size - offset;
    if (*size % KAON_PAGE_SIZE && *size != file_size - offset)
        return kaon__fail(err, KAON_EINVAL,
                          "size %llu ends within a page, and %.128s goes on: "
                          "it must be a multiple of 4096, as guests see whole "
                          "pages",
                          (unsigned long long)*size, name);
    return KAON_OK;
}

/* Takes the descriptor, with a name to call it in errors. */
static enum kaon_status open_file(struct kaon_region **out, int fd,
                                  const char *name, uint64_t offset,
                                  uint64_t size, struct kaon_error *err)
{
    struct kaon_region *region = new_region();
    enum kaon_status status;
    struct stat file;

    if (!region) {
        close(fd);
        return fail_memory(err);
    }
    region->fd = fd;
    region->file = true;
    if (fstat(fd, &file) != 0)
        status = fail_file(err, name);
    else if (!S_ISREG(file.st_mode))
        status = kaon__fail(err, KAON_EINVAL,
                            "%.128s is not a regular file: read it into a "
                            "buffer (kaon_region_create)",
                            name);
    else
        status = check_part(name, offset, &size, (uint64_t)file.st_size, err);
    region->offset = offset;
    region->size = size;
    if (!status)
        status = map_memory(region, PROT_READ, err);
    if (status)
        kaon_region_destroy(region);
    else
        *out = region;
    return status;
}

enum kaon_status kaon_region_open(struct kaon_region **out, const char *path,
                                  uint64_t offset, uint64_t size,
                                  struct kaon_error *err)
{
    int fd;

    if (!out || !path)
        return kaon__fail(err, KAON_EINVAL, "out and path must not be NULL");
    /* What is no regular file is not waited for. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_file(err, path);
    return open_file(out, fd, path, offset, size, err);
}

enum kaon_status kaon_region_open_fd(struct kaon_region **out, int fd,
                                     uint64_t offset, uint64_t size,
                                     struct kaon_error *err)
{
    int mine;

    if (!out)
        return kaon__fail(err, KAON_EINVAL, "out must not be NULL");
    mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (mine < 0)
        return fail_file(err, "the descriptor");
    return open_file(out, mine, "the file", offset, size, err);
}

/* ---- Buffers ----------------------------------------------------------- */

static enum kaon_status make_buffer(struct kaon_region *region,
                                    struct kaon_error *err)
{
    region->fd = memfd_create("kaon-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->fd < 0)
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "cannot make a region (memfd_create: %s): a "
                                "region takes 1 descriptor; raise `ulimit -n`",
                                strerror(errno));
    if (!kaon__memory_file_may_have(region->size) ||
        ftruncate(region->fd, (off_t)region->size) != 0)
        return fail_map(region, err);
    fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return map_memory(region, PROT_READ | PROT_WRITE, err);
}

enum kaon_status kaon_region_create(struct kaon_region **out, uint64_t size,
                                    struct kaon_error *err)
{
    struct kaon_region *region;
    enum kaon_status status;

    if (!out)
        return kaon__fail(err, KAON_EINVAL, "out must not be NULL");
    if (size == 0 || size > SIZE_MAX_BYTES)
        return kaon__fail(err, KAON_EINVAL,
                          "size is %llu: a region has from 1 byte to 64 TiB",
                          (unsigned long long)size);
    region = new_region();
    if (!region)
        return fail_memory(err);
    region->size = (size + KAON_PAGE_SIZE - 1) & -KAON_PAGE_SIZE;
    status = make_buffer(region, err);
    if (status)
        kaon_region_destroy(region);
    else
        *out = region;
    return status;
}

/* ---- Either ------------------------------------------------------------ */

struct kaon_region *kaon_region_hold(struct kaon_region *region)
{
    if (region)
        atomic_fetch_add(&region->references, 1);
    return region;
}

void kaon_region_destroy(struct kaon_region *region)
{
    if (!region || atomic_fetch_sub(&region->references, 1) != 1)
        return;
    if (region->memory)
        munmap(region->memory, kaon__region_pages(region) * KAON_PAGE_SIZE);
    if (region->fd >= 0)
        close(region->fd);
    free(region);
}

void *kaon_region_data(const struct kaon_region *region)
{
    return region && !region->file ? region->memory : NULL;
}

uint64_t kaon_region_size(const struct kaon_region *region)
{
    return region ? region->size : 0;
}

/* Until size is had, or the file ends; -1 if it cannot be read. */
static ssize_t read_file(const struct kaon_region *region, uint64_t offset,
                         void *to, size_t size)
{
    size_t had = kaon__read_at(region->fd, to, size, region->offset + offset);

    return had < size && errno ? -1 : (ssize_t)had;
}

ssize_t kaon__region_read(const struct kaon_region *region, uint64_t offset,
                          void *to, size_t size)
{
    uint64_t left = offset < region->size ? region->size - offset : 0;
    size_t part = size < left ? size : (size_t)left;
    ssize_t had = (ssize_t)part;

    if (region->file)
        had = read_file(region, offset, to, part);
    else
        memcpy(to, region->memory + offset, part);
    if (had >= 0)
        memset((unsigned char *)to + had, 0, size - (size_t)had);
    return had;
}

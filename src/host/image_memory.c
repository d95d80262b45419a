/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image's memory: the pages of all regions in order, written here once.
 *
 * Owns it, and the file that it is, so that all machines that show the image
 * share its pages; then it is mapped read-only. But a file takes longer to make
 * than all else of a small image. One that is made to be shown once, as that of
 * a saved snapshot is, lies in memory of malloc()'s, and its first machine
 * copies it: it becomes a file for the second.
 */
#include "host/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/error.h"
#include "host/memory_file.h"

/* What of memory of malloc()'s is copied sooner than shared. */
#define HEAP_MAX (16 * KAON_ELF_PAGE)

/* Where in the image's memory a segment begins. `region` is the one of the
 * segment before, or the first. */
static uint64_t place_of(const struct kaon_elf_segment *segment,
                         const struct kaon_image_region **region)
{
    while (segment->address - (*region)->address >=
           (*region)->pages * KAON_ELF_PAGE)
        ++*region;
    return (*region)->offset + (segment->address - (*region)->address);
}

/* ---- Files ------------------------------------------------------------- */

static enum kaon_status fail_file(uint64_t size, const char *name,
                                  struct kaon_error *err)
{
    return kaon__fail_errno(
        err, KAON_ENOMEM,
        "cannot map %" PRIu64 " KiB for the image of %.64s: %s%s", size >> 10,
        name, strerror(errno), errno == EFBIG ? "; raise `ulimit -f`" : "");
}

/* One that holds no page for zeroes that nobody reads. */
static bool make_file(int *fd, uint64_t size)
{
    *fd = memfd_create("kaon-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return *fd >= 0 && kaon__memory_file_may_have(size) &&
           ftruncate(*fd, (off_t)size) == 0;
}

/* Nobody is given the descriptor; should somebody get it, it is of no use.
 * Older kernels lack one of the seals: then it is only ours to guard. */
static void seal(int fd)
{
    fcntl(fd, F_ADD_SEALS,
          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}

/* Written to the file rather than to a mapping of it, which would fault for
 * each page. */
static bool write_all(int fd, const unsigned char *bytes, uint64_t size,
                      uint64_t offset)
{
    while (size) {
        ssize_t done = pwrite(fd, bytes, size, (off_t)offset);

        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            bytes += done;
            size -= (uint64_t)done;
            offset += (uint64_t)done;
        }
    }
    return true;
}

static bool write_segments(int fd, const struct kaon_elf *elf)
{
    const struct kaon_image_region *region = elf->regions;

    for (uint32_t i = 0; i < elf->segment_count; i++) {
        const struct kaon_elf_segment *segment = &elf->segments[i];

        if (!write_all(fd, elf->bytes + segment->offset, segment->file_size,
                       place_of(segment, &region)))
            return false;
    }
    return true;
}

/*
 * Touches each page that the file has bytes for, so that no guest's first
 * access has to wait for the host to find it. One fault maps those around it.
 */
static void touch(const struct kaon_image *image, const struct kaon_elf *elf)
{
    const volatile unsigned char *memory = image->memory;
    const struct kaon_image_region *region = elf->regions;

    for (uint32_t i = 0; i < elf->segment_count; i++) {
        uint64_t at = place_of(&elf->segments[i], &region);
        uint64_t end = at + elf->segments[i].file_size;

        for (at &= -KAON_ELF_PAGE; at < end; at += KAON_ELF_PAGE)
            (void)memory[at];
    }
}

static enum kaon_status load_file(struct kaon_image *image,
                                  const struct kaon_elf *elf)
{
    uint64_t size = elf->memory_size;
    void *memory = MAP_FAILED;
    int fd;

    if (make_file(&fd, size) && write_segments(fd, elf))
        memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    atomic_init(&image->memory_fd, fd);
    if (memory == MAP_FAILED)
        return fail_file(size, elf->name, elf->err);
    image->memory = memory;
    image->memory_size = size;
    touch(image, elf);
    seal(fd);
    return KAON_OK;
}

/* ---- Memory of malloc()'s ---------------------------------------------- */

static enum kaon_status load_heap(struct kaon_image *image,
                                  const struct kaon_elf *elf)
{
    const struct kaon_image_region *region = elf->regions;
    unsigned char *memory = aligned_alloc(KAON_ELF_PAGE, elf->memory_size);

    if (!memory)
        return kaon__fail(elf->err, KAON_ENOMEM,
                          "out of memory for an image of %.64s", elf->name);
    memset(memory, 0, elf->memory_size);
    for (uint32_t i = 0; i < elf->segment_count; i++) {
        const struct kaon_elf_segment *segment = &elf->segments[i];

        memcpy(memory + place_of(segment, &region),
               elf->bytes + segment->offset, segment->file_size);
    }
    image->memory = memory;
    image->memory_size = elf->memory_size;
    image->heap = true;
    return KAON_OK;
}

/* Two threads may both make it; one keeps its own, the other closes it. */
static enum kaon_status make_shared(struct kaon_image *image, int *out,
                                    struct kaon_error *err)
{
    int fd, nobody = -1;
    enum kaon_status status = KAON_OK;

    if (make_file(&fd, image->memory_size) &&
        write_all(fd, image->memory, image->memory_size, 0))
        seal(fd);
    else
        status = fail_file(image->memory_size, image->name, err);
    if (!status &&
        atomic_compare_exchange_strong(&image->memory_fd, &nobody, fd)) {
        *out = fd;
        return KAON_OK;
    }
    if (fd >= 0)
        close(fd);
    *out = nobody;
    return status;
}

/* ---- For all ----------------------------------------------------------- */

enum kaon_status kaon__image_load_memory(struct kaon_image *image,
                                         const struct kaon_elf *elf)
{
    return elf->heap && elf->memory_size <= HEAP_MAX ? load_heap(image, elf)
                                                     : load_file(image, elf);
}

void kaon__image_free_memory(struct kaon_image *image)
{
    int fd = atomic_load(&image->memory_fd);

    if (fd >= 0)
        close(fd);
    if (image->heap)
        free(image->memory);
    else if (image->memory)
        munmap(image->memory, image->memory_size);
}

enum kaon_status kaon__image_show(struct kaon_image *image, bool copied,
                                  int *fd, struct kaon_error *err)
{
    bool again = atomic_exchange(&image->shown, true);

    *fd = atomic_load(&image->memory_fd);
    if (*fd >= 0 || (copied && !again))
        return KAON_OK;
    return make_shared(image, fd, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and ends layers. Owns their memory and descriptors. */
#include "host/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/backend.h"
#include "host/error.h"
#include "host/memory_file.h"
#include "host/read.h"

/* Never changes once it is in its place. */
struct kaon_kept_page {
    uint64_t offset;
    unsigned char bytes[KAON_PAGE_SIZE];
};

static enum kaon_status fail(struct kaon_error *err, const char *what)
{
    if (errno == EMFILE || errno == ENFILE)
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "out of file descriptors: a snapshot takes 1; "
                                "raise `ulimit -n`");
    if (errno == EFBIG)
        return kaon__fail_errno(err, KAON_ENOMEM,
                                "a snapshot is a file in memory, larger than "
                                "files may be here: raise `ulimit -f`");
    return kaon__fail_errno(err, KAON_ENOMEM,
                            "out of memory for a snapshot (%s)", what);
}

static enum kaon_status make_memory(struct kaon_layer *layer,
                                    struct kaon_error *err)
{
    void *memory;

    layer->fd = memfd_create("kaon-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (layer->fd < 0)
        return fail(err, "memfd_create");
    if (!kaon__memory_file_may_have(layer->size) ||
        ftruncate(layer->fd, (off_t)layer->size) != 0)
        return fail(err, "ftruncate");
    memory = mmap(NULL, layer->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                  layer->fd, 0);
    if (memory == MAP_FAILED)
        return fail(err, "mmap");
    layer->memory = memory;
    return KAON_OK;
}

static struct kaon_layer *allocate(uint64_t size, unsigned kept,
                                   struct kaon_error *err)
{
    struct kaon_layer *layer =
        calloc(1, sizeof *layer + kept * sizeof *layer->kept);

    if (!layer) {
        kaon__fail(err, KAON_ENOMEM, "out of memory for a snapshot");
        return NULL;
    }
    atomic_init(&layer->references, 1);
    layer->size = size;
    layer->fd = -1;
    return layer;
}

enum kaon_status kaon__layer_create(struct kaon_layer **out, uint64_t size,
                                    struct kaon_error *err)
{
    struct kaon_layer *layer = allocate(size, 0, err);
    enum kaon_status status;

    if (!layer)
        return KAON_ENOMEM;
    status = make_memory(layer, err);
    if (status)
        kaon__layer_destroy(layer);
    else
        *out = layer;
    return status;
}

enum kaon_status kaon__layer_allocate(struct kaon_layer **out, uint64_t size,
                                      struct kaon_error *err)
{
    struct kaon_layer *layer = allocate(size, 0, err);

    if (!layer)
        return KAON_ENOMEM;
    layer->heap = true;
    layer->memory = aligned_alloc(KAON_PAGE_SIZE, size);
    if (!layer->memory) {
        free(layer);
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a snapshot");
    }
    *out = layer;
    return KAON_OK;
}

enum kaon_status kaon__layer_open(struct kaon_layer **out, int fd,
                                  uint64_t size, struct kaon_error *err)
{
    struct kaon_layer *layer = allocate(size, KAON_KEPT_MAX, err);
    void *memory;

    if (!layer)
        return KAON_ENOMEM;
    memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        free(layer);
        return kaon__fail_errno(err, errno == ENOMEM ? KAON_ENOMEM : KAON_EIO,
                                "cannot map the file of a layer: %s",
                                strerror(errno));
    }
    layer->memory = memory;
    layer->fd = fd;
    layer->file = true;
    *out = layer;
    return KAON_OK;
}

static bool read_file(const struct kaon_layer *layer, uint64_t offset, void *to,
                      size_t size)
{
    size_t had = kaon__read_at(layer->fd, to, size, offset);

    memset((char *)to + had, 0, size - had);
    return had == size;
}

/* Reads it into a page of its own first: `to` is where a guest can write. */
static bool read_and_keep(struct kaon_layer *layer, uint64_t offset, void *to,
                          _Atomic(struct kaon_kept_page *) *place)
{
    struct kaon_kept_page *page = malloc(sizeof *page), *nobody = NULL;
    bool whole;

    if (!page)
        return read_file(layer, offset, to, KAON_PAGE_SIZE);
    page->offset = offset;
    whole = read_file(layer, offset, page->bytes, KAON_PAGE_SIZE);
    memcpy(to, page->bytes, KAON_PAGE_SIZE);
    if (!whole || !atomic_compare_exchange_strong(place, &nobody, page))
        free(page);
    return whole;
}

static bool read_page(struct kaon_layer *layer, uint64_t offset, void *to)
{
    _Atomic(struct kaon_kept_page *) *place =
        &layer->kept[offset / KAON_PAGE_SIZE % KAON_KEPT_MAX];
    const struct kaon_kept_page *page =
        atomic_load_explicit(place, memory_order_acquire);

    if (!page)
        return read_and_keep(layer, offset, to, place);
    if (page->offset != offset)
        return read_file(layer, offset, to, KAON_PAGE_SIZE);
    memcpy(to, page->bytes, KAON_PAGE_SIZE);
    return true;
}

bool kaon__layer_read(struct kaon_layer *layer, uint64_t offset, void *to,
                      size_t size)
{
    if (layer->file)
        return size == KAON_PAGE_SIZE && offset % KAON_PAGE_SIZE == 0
                   ? read_page(layer, offset, to)
                   : read_file(layer, offset, to, size);
    memcpy(to, layer->memory + offset, size);
    return true;
}

enum kaon_status kaon__layer_seal(struct kaon_layer *layer,
                                  struct kaon_error *err)
{
    if (mprotect(layer->memory, layer->size, PROT_READ) != 0)
        return fail(err, "mprotect");
    /* As for images: older kernels lack one of the seals. */
    fcntl(layer->fd, F_ADD_SEALS,
          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    return KAON_OK;
}

struct kaon_layer *kaon__layer_hold(struct kaon_layer *layer)
{
    atomic_fetch_add(&layer->references, 1);
    return layer;
}

void kaon__layer_destroy(struct kaon_layer *layer)
{
    if (!layer || atomic_fetch_sub(&layer->references, 1) != 1)
        return;
    if (layer->heap)
        free(layer->memory);
    else if (layer->memory)
        munmap(layer->memory, layer->size);
    if (layer->fd >= 0)
        close(layer->fd);
    for (unsigned i = 0; layer->file && i < KAON_KEPT_MAX; i++)
        free(atomic_load(&layer->kept[i]));
    free(layer);
}

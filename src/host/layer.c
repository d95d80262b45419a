/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and ends layers. Owns their memory and descriptors. */
#include "host/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/error.h"

static enum kaon_status fail(struct kaon_error *err, const char *what)
{
    if (errno == EMFILE || errno == ENFILE)
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "out of file descriptors: a snapshot takes 1; "
                                "raise `ulimit -n`");
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
    if (ftruncate(layer->fd, (off_t)layer->size) != 0)
        return fail(err, "ftruncate");
    memory = mmap(NULL, layer->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                  layer->fd, 0);
    if (memory == MAP_FAILED)
        return fail(err, "mmap");
    layer->memory = memory;
    return KAON_OK;
}

enum kaon_status kaon__layer_create(struct kaon_layer **out, uint64_t size,
                                    struct kaon_error *err)
{
    struct kaon_layer *layer = calloc(1, sizeof *layer);
    enum kaon_status status;

    if (!layer)
        return kaon__fail(err, KAON_ENOMEM, "out of memory for a snapshot");
    atomic_init(&layer->references, 1);
    layer->size = size;
    status = make_memory(layer, err);
    if (status)
        kaon__layer_destroy(layer);
    else
        *out = layer;
    return status;
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
    if (layer->memory)
        munmap(layer->memory, layer->size);
    if (layer->fd >= 0)
        close(layer->fd);
    free(layer);
}

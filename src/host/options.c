/* SPDX-License-Identifier: Apache-2.0 */
/* Adopts callers' options structs. Keeps nothing. */
#include "host/options.h"

#include <string.h>

#include "host/error.h"

/* No options struct will ever be as large. */
#define ABSURD 65536

enum kaon_status kaon__options_adopt(void *mine, size_t size,
                                     const void *theirs, const char *what,
                                     struct kaon_error *err)
{
    const unsigned char *bytes = theirs;
    size_t given;

    memset(mine, 0, size);
    if (!theirs) {
        memcpy(mine, &size, sizeof size);
        return KAON_OK;
    }
    memcpy(&given, theirs, sizeof given);
    if (given < sizeof given || given > ABSURD)
        return kaon__fail(err, KAON_EINVAL,
                          "%s.size is %zu: make the options with the macro "
                          "that goes with them",
                          what, given);
    for (size_t i = size; i < given; i++)
        if (bytes[i])
            return kaon__fail(err, KAON_EINVAL,
                              "%s uses an option that this libkaon (%s) does "
                              "not know: update the library",
                              what, KAON_VERSION);
    memcpy(mine, theirs, given < size ? given : size);
    memcpy(mine, &size, sizeof size);
    return KAON_OK;
}

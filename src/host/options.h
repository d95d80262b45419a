/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options structs of callers that were compiled with another version of the
 * headers: each starts with its size, zero means default, and they only grow.
 */
#ifndef KAON_SRC_HOST_OPTIONS_H
#define KAON_SRC_HOST_OPTIONS_H

#include <stddef.h>
#include <kaon/error.h>

/*
 * Copies *theirs (NULL: all defaults) into the struct at `mine`, which has
 * `size` bytes and a leading size_t. An older, shorter struct is padded with
 * zeroes; a newer one is refused if it uses what is not known here.
 */
enum kaon_status kaon__options_adopt(void *mine, size_t size,
                                     const void *theirs, const char *what,
                                     struct kaon_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request does. Compiled twice: into the guest, and into the server,
 * which has it without a sandbox to compare with.
 */
#ifndef HTTP_FUNCTIONS_HANDLER_H
#define HTTP_FUNCTIONS_HANDLER_H

#include <stddef.h>
#include <stdint.h>

#define HANDLER_ROOM 512

/* What the handler keeps from request to request, if it lives as long. */
struct handler {
    uint32_t requests;
    uint64_t seen; /* words, in all requests */
};

/* Writes the answer, with a NUL: returns its size without that. */
size_t handler_answer(struct handler *handler, const char *path,
                      const unsigned char *body, size_t size,
                      char answer[HANDLER_ROOM]);

#endif

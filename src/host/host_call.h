/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions, as a guest calls them. */
#ifndef KAON_SRC_HOST_HOST_CALL_H
#define KAON_SRC_HOST_HOST_CALL_H

#include "host/call.h"

/* Runs the host function that a HOST_CALL frame asks for, and answers. The
 * frame is a copy. */
enum kaon_step kaon__host_call(struct kaon_call *call,
                               const struct kaon_frame *frame);

/* Runs the host functions of an array of HOST_CALL frames, without an answer.
 * GO_ON if the guest kept to the contract. */
enum kaon_step kaon__host_serve_posted(struct kaon_call *call,
                                       const struct kaon_posted *posted);

/* The same with what the guest posted, if it did; all guests pass here at each
 * exit, few have. */
static inline enum kaon_step kaon__host_posted(struct kaon_call *call)
{
    struct kaon_posted posted;

    return kaon__memory_take_posted(call->memory, &posted)
               ? kaon__host_serve_posted(call, &posted)
               : KAON_STEP_GO_ON;
}

#endif

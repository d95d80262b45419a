/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions, as a guest calls them. */
#ifndef KAON_SRC_HOST_HOST_CALL_H
#define KAON_SRC_HOST_HOST_CALL_H

#include "host/call.h"

/* Runs the host function that a HOST_CALL frame asks for, and answers. The
 * frame is a copy. */
enum kaon_step kaon__host_call(struct kaon_call *call,
                               const struct kaon_frame *frame);

#endif

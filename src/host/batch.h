/* SPDX-License-Identifier: Apache-2.0 */
/* Many calls in one entry. */
#ifndef KAON_SRC_HOST_BATCH_H
#define KAON_SRC_HOST_BATCH_H

#include "host/call.h"

/*
 * Takes the answers that a guest has left in its batch. From here on `call` is
 * the first of which there is none, or the last one; it is no batch any more.
 * GO_ON if there is one without an answer.
 */
enum kaon_step kaon__batch_settle(struct kaon_call *call);

/* The guest left a batch with a frame other than HOST_CALL. */
enum kaon_step kaon__batch_over(struct kaon_call *call,
                                const struct kaon_frame *frame);

#endif

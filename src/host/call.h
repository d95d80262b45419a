/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call that is being made. call.c has its life, exchange.c moves its values,
 * host_call.c runs the host functions that its guest calls.
 */
#ifndef KAON_SRC_HOST_CALL_H
#define KAON_SRC_HOST_CALL_H

#include <kaon/call.h>

#include "host/outcome.h"
#include "host/sandbox.h"

struct kaon_signature;

/* Lives on the stack of who calls. */
struct kaon_call {
    struct kaon_sandbox *sandbox;
    const struct kaon_backend *backend;
    struct kaon_memory *memory;
    struct kaon_vcpu_slot *slot;
    const struct kaon_signature *signature; /* NULL: not known to the host */
    const char *name;                       /* of the function */
    bool has_spans; /* strings or bytes among the arguments */
    struct kaon_outcome *out;
    struct kaon_error *err;
};

/* What follows an exit. */
enum kaon_step {
    KAON_STEP_GO_ON,  /* with the guest */
    KAON_STEP_DONE,   /* the outcome is there */
    KAON_STEP_FAILED, /* the host failed: err says how */
};

/* The guest broke the contract: that is the outcome. */
static inline enum kaon_step
kaon__call_protocol(struct kaon_call *call, const char *what, const char *why)
{
    kaon__outcome_say(call->out, KAON_PROTOCOL,
                      "the guest broke the contract: %s %s", what, why);
    return KAON_STEP_DONE;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call that is being made. call.c has its life, exchange.c moves its values,
 * host_call.c runs the host functions that its guest calls, batch.c makes many
 * at once.
 */
#ifndef KAON_SRC_HOST_CALL_H
#define KAON_SRC_HOST_CALL_H

#include <kaon/call.h>

#include "host/outcome.h"
#include "host/sandbox.h"

struct kaon_signature;
struct kaon_batch;

/* Lives on the stack of who calls. */
struct kaon_call {
    struct kaon_sandbox *sandbox;
    const struct kaon_backend *backend;
    struct kaon_memory *memory;             /* once the sandbox is claimed */
    struct kaon_vcpu_slot *slot;            /* NULL before it began */
    const struct kaon_signature *signature; /* NULL: not known to the host */
    const char *name;                       /* of the function */
    uint64_t deadline_ns;                   /* 0: none */
    bool has_spans;           /* strings or bytes among the arguments */
    bool keeps;               /* its result outlives what the guest does next */
    struct kaon_batch *batch; /* whose calls the guest makes, or NULL */
    enum kaon_status failure; /* the host's, after a step that FAILED */
    struct kaon_outcome *out;
    struct kaon_error *err;
};

/* May the guest run while it is the host's turn? Then what it handed over is
 * copied before it is looked at. */
static inline bool kaon__call_races(const struct kaon_call *call)
{
    return !call->backend->exit_stops_guest || call->sandbox->resident;
}

/* What follows an exit. */
enum kaon_step {
    KAON_STEP_GO_ON,  /* with the guest */
    KAON_STEP_DONE,   /* the outcome is there */
    KAON_STEP_FAILED, /* the host failed: err says how */
};

static inline struct kaon_call kaon__call(struct kaon_sandbox *sandbox,
                                          const char *name,
                                          struct kaon_outcome *out,
                                          struct kaon_error *err)
{
    return (struct kaon_call){
        .sandbox = sandbox,
        .backend = sandbox->domain->machine->backend,
        .name = name,
        .out = out,
        .err = err,
    };
}

/* Checks arguments against a function, before anything else is done. */
enum kaon_status kaon__call_check(struct kaon_call *call,
                                  const struct kaon_signature *signature,
                                  const struct kaon_value *args, size_t count);

/*
 * A call's life. What is claimed is released; what began is ended, once the
 * arguments were put and kaon__call_run() ran the guest to an outcome.
 */
enum kaon_status kaon__call_claim(struct kaon_call *call,
                                  const struct kaon_call_opts *opts);
enum kaon_status kaon__call_begin(struct kaon_call *call);
enum kaon_status kaon__call_run(struct kaon_call *call);
void kaon__call_end(struct kaon_call *call);
void kaon__call_release(struct kaon_call *call, enum kaon_status status);

/* What the guest's frame, which is a copy, says: a result; a code and a text,
 * or none. The outcome is there. */
enum kaon_step kaon__call_result(struct kaon_call *call,
                                 const struct kaon_frame *frame);
enum kaon_step kaon__call_words(struct kaon_call *call,
                                const struct kaon_frame *frame,
                                enum kaon_outcome_kind kind);

/* The guest broke the contract: that is the outcome. */
enum kaon_step kaon__call_protocol(struct kaon_call *call, const char *what,
                                   const char *why);

/* What kaon__exchange_get() could not take. It is TOO_LARGE only for want of
 * memory to copy it to: a failure of the host's. */
enum kaon_step kaon__call_unread(struct kaon_call *call, const char *what,
                                 enum kaon_wire_status bad);

#endif

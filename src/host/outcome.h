/* SPDX-License-Identifier: Apache-2.0 */
/* Filling in outcomes: each function sets the kind and what goes with it. */
#ifndef KAON_SRC_HOST_OUTCOME_H
#define KAON_SRC_HOST_OUTCOME_H

#include <kaon/outcome.h>

#include "backend/backend.h"

struct kaon_memory;

/* A kind with a sentence. */
void kaon__outcome_say(struct kaon_outcome *out, enum kaon_outcome_kind kind,
                       const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A kind with what the guest said: text may be NULL if size is 0. */
void kaon__outcome_quote(struct kaon_outcome *out, enum kaon_outcome_kind kind,
                         int32_t code, const char *text, size_t size);

/* A fault, with symbol and backtrace; a stack overflow if it is one. */
void kaon__outcome_fault(struct kaon_outcome *out,
                         const struct kaon_memory *memory,
                         const struct kaon_exit *exit,
                         const struct kaon_registers *registers);

/* What a faulting instruction tried, by vector and error code. */
enum kaon_access kaon__exit_access(const struct kaon_exit *exit);

#endif

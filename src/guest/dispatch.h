/* SPDX-License-Identifier: Apache-2.0 */
/* From the entry to the functions of the guest. */
#ifndef KAON_SRC_GUEST_DISPATCH_H
#define KAON_SRC_GUEST_DISPATCH_H

#include "guest/exchange.h"

/* Handles the frame in the mailbox. The entry's only call. */
__attribute__((noreturn)) void kaon__dispatch(struct kaon_mailbox *mailbox);

/* Makes the call of a CALL frame. */
__attribute__((noreturn)) void kaon__call(const struct kaon_frame *frame);

/* Makes the calls of a BATCH frame. */
__attribute__((noreturn)) void kaon__batch_run(const struct kaon_frame *frame);

/* Takes the answer to a call of the batch, and goes on with the next. Weak, as
 * the exchange alone needs no dispatcher. */
__attribute__((noreturn, weak)) void
kaon__batch_answer(const struct kaon_frame *frame);

/* Goes on as after an entry: on an empty stack that ends at stack_high, and
 * with the floating-point unit as after reset. */
__attribute__((noreturn)) void kaon__restart(uint64_t stack_high,
                                             void (*function)(void));

/* Runs the constructors that the linker collected, in their order. */
void kaon__constructors_run(void);

/* A call by name: the arguments, decoded and as they lie in the exchange. */
struct kaon__named_call {
    const char *name;
    const struct kaon_value *args;
    const struct kaon_slot *slots;
    uint32_t count;
};

/* Ends the call as REFUSED unless the arguments have the types given. */
void kaon__arguments_check(const struct kaon__named_call *call,
                           const uint8_t *params, uint32_t count);

/*
 * The dynamic half of the library, if it is linked in. Each calls the function
 * of that name and returns true, or returns false if it knows none.
 */
bool kaon__registered_call(const struct kaon__named_call *call,
                           struct kaon_value *result) __attribute__((weak));
bool kaon__fallback_call(const struct kaon__named_call *call,
                         struct kaon_value *result) __attribute__((weak));

#endif

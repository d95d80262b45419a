/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange as the guest sees it, and the ways to leave.
 *
 * Its free space is a stack: the call's arguments, then what kaon_reserve()
 * gave (both stay for the whole call), then the last host call's arguments
 * and answer (which stay until the next one). In a batch all arguments come
 * first, then the results of the calls that are over. Posted calls lie in a
 * reservation of the library's own.
 */
#ifndef KAON_SRC_GUEST_EXCHANGE_H
#define KAON_SRC_GUEST_EXCHANGE_H

#include <kaon/guest.h>
#include "abi/wire.h"
#include "guest/text.h"

struct kaon__exchange {
    struct kaon_mailbox *mailbox;
    struct kaon_wire wire;
    struct kaon_wire_free kept; /* behind what outlives the call */
    struct kaon_wire_free call; /* behind arguments and reservations */
    struct kaon_wire_free last; /* behind the last host answer as well */
    struct kaon_span answer;    /* the last host answer's data, NUL and all */
    struct kaon_host_failure failure;
    /* The array of a batch, as an offset, and which of it is the call. */
    struct {
        uint32_t frames, count, next;
    } batch; /* count 0: it is none */
    /* Where posted calls go: frames upwards, their values downwards. */
    struct {
        uint32_t start, high, end;
    } posts; /* end 0: nowhere yet */
    /* How far the guest is. STARTING, seen at an entry, is a start that did
     * not finish. */
    enum { KAON__NEW, KAON__STARTING, KAON__READY } life;
};

extern struct kaon__exchange kaon__exchange;

/* Begins a call: the frame is the host's. */
void kaon__exchange_open(struct kaon_mailbox *mailbox,
                         const struct kaon_frame *frame);

/* Gives up what was reserved since kaon__exchange.call was as it is given, but
 * for a host answer that came later. */
void kaon__reservation_end(struct kaon_wire_free call);

/* Puts a frame into the mailbox and leaves; comes back with the answer. */
void kaon__leave(struct kaon_frame *frame);

/* Why values do not fit, and the host's option that would make them fit. */
void kaon__text_too_large(struct kaon__text *text, const char *what,
                          const struct kaon_value *values, uint32_t count);

/* Finds a place for posted calls, if there is one. */
void kaon__posts_open(void);

/*
 * Ends the call with a RESULT, or with one of the frames that carry code and
 * text. A text that does not fit is cut.
 */
__attribute__((noreturn)) void kaon__answer(const struct kaon_value *result);
__attribute__((noreturn)) void kaon__answer_text(uint32_t kind, int32_t code,
                                                 const char *text);

#endif

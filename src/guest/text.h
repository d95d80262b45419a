/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short sentences for the host, put together without the formatter, which
 * would double the size of a guest that does not print numbers.
 */
#ifndef KAON_SRC_GUEST_TEXT_H
#define KAON_SRC_GUEST_TEXT_H

#include <stdint.h>

/* What does not fit is cut. data is always NUL-terminated. */
struct kaon__text {
    uint32_t length;
    char data[252];
};

void kaon__text_begin(struct kaon__text *text);
void kaon__text_add(struct kaon__text *text, const char *more);
void kaon__text_add_number(struct kaon__text *text, uint64_t number);

/* The word for a KAON_TYPE_*: "i32". */
const char *kaon__type_name(uint32_t type);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Short sentences. Owns nothing; needs no other part of the library. */
#include "guest/text.h"

#include <kaon/abi.h>

void kaon__text_begin(struct kaon__text *text)
{
    text->length = 0;
    text->data[0] = 0;
}

void kaon__text_add(struct kaon__text *text, const char *more)
{
    while (*more && text->length < sizeof text->data - 1)
        text->data[text->length++] = *more++;
    text->data[text->length] = 0;
}

void kaon__text_add_number(struct kaon__text *text, uint64_t number)
{
    char digits[21];
    char *at = digits + sizeof digits - 1;

    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    kaon__text_add(text, at);
}

const char *kaon__type_name(uint32_t type)
{
    static const char names[KAON_TYPE_COUNT][8] = {
        [KAON_TYPE_VOID] = "void",     [KAON_TYPE_I32] = "i32",
        [KAON_TYPE_U32] = "u32",       [KAON_TYPE_I64] = "i64",
        [KAON_TYPE_U64] = "u64",       [KAON_TYPE_F32] = "f32",
        [KAON_TYPE_F64] = "f64",       [KAON_TYPE_BOOL] = "bool",
        [KAON_TYPE_STRING] = "string", [KAON_TYPE_BYTES] = "bytes",
    };

    return type < KAON_TYPE_COUNT ? names[type] : "an unknown type";
}

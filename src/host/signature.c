/* SPDX-License-Identifier: Apache-2.0 */
/* Compares, checks and formats types and signatures. Keeps nothing. */
#include "host/signature.h"

#include <stdio.h>
#include <string.h>

#include "host/error.h"

const char *kaon_type_name(uint32_t type)
{
    static const char *const names[KAON_TYPE_COUNT] = {
        "void", "i32", "u32",  "i64",    "u64",
        "f32",  "f64", "bool", "string", "bytes",
    };

    return type < KAON_TYPE_COUNT ? names[type] : "?";
}

size_t kaon_signature_format(const struct kaon_signature *signature,
                             char *buffer, size_t size)
{
    size_t length = 0;

    if (!signature || (!buffer && size))
        return 0;

/* snprintf() into what is left, counting what did not fit too. */
#define APPEND(...)                                           \
    (length +=                                                \
     (size_t)snprintf(length < size ? buffer + length : NULL, \
                      length < size ? size - length : 0, __VA_ARGS__))
    APPEND("%s(", signature->name ? signature->name : "");
    for (uint32_t i = 0; i < signature->count && i < KAON_PARAMS_MAX; i++)
        APPEND("%s%s", i ? ", " : "", kaon_type_name(signature->params[i]));
    APPEND(") -> %s", kaon_type_name(signature->result));
#undef APPEND
    return length;
}

bool kaon__signature_equal(const struct kaon_signature *a,
                           const struct kaon_signature *b)
{
    return a->count == b->count && a->result == b->result &&
           memcmp(a->params, b->params, a->count) == 0;
}

enum kaon_status kaon__value_check(const struct kaon_value *value,
                                   const char *what, struct kaon_error *err)
{
    if (value->type == KAON_TYPE_VOID || value->type >= KAON_TYPE_COUNT)
        return kaon__fail(err, KAON_EINVAL,
                          "%s has no type: make values with kaon_i32() and "
                          "its kin",
                          what);
    if (value->type < KAON_TYPE_STRING)
        return KAON_OK;
    if (value->span.size && !value->span.data)
        return kaon__fail(err, KAON_EINVAL, "%s has a size but no data", what);
    if (value->span.size > UINT32_MAX / 2)
        return kaon__fail(err, KAON_ETOOBIG,
                          "%s has %zu bytes: no exchange can hold more than "
                          "1 GiB",
                          what, value->span.size);
    if (value->type == KAON_TYPE_STRING && value->span.size &&
        memchr(value->span.data, 0, value->span.size))
        return kaon__fail(err, KAON_EARGS,
                          "%s is a string with a NUL inside: pass it as bytes",
                          what);
    return KAON_OK;
}

/* Out of line, for its text is on the stack. */
__attribute__((noinline)) static enum kaon_status
fail_count(const struct kaon_signature *signature, size_t count,
           struct kaon_error *err)
{
    char text[160];

    kaon_signature_format(signature, text, sizeof text);
    return kaon__fail(err, KAON_EARGS, "%s takes %u arguments, not %zu: %s",
                      signature->name, signature->count, count, text);
}

enum kaon_status kaon__signature_check(const struct kaon_signature *signature,
                                       const struct kaon_value *values,
                                       size_t count, struct kaon_error *err)
{
    if (count != signature->count)
        return fail_count(signature, count, err);
    for (uint32_t i = 0; i < count; i++)
        if (values[i].type != signature->params[i])
            return kaon__fail(err, KAON_EARGS,
                              "argument %u of %s is %s, expected %s", i + 1,
                              signature->name, kaon_type_name(values[i].type),
                              kaon_type_name(signature->params[i]));
    return KAON_OK;
}

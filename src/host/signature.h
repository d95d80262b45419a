/* SPDX-License-Identifier: Apache-2.0 */
/* Types and signatures, compared and in words. */
#ifndef KAON_SRC_HOST_SIGNATURE_H
#define KAON_SRC_HOST_SIGNATURE_H

#include <stdbool.h>
#include <kaon/image.h>

/* Same parameter and result types? Names do not matter. */
bool kaon__signature_equal(const struct kaon_signature *a,
                           const struct kaon_signature *b);

/* Do values fit the parameters? Otherwise err says which does not. */
enum kaon_status kaon__signature_check(const struct kaon_signature *signature,
                                       const struct kaon_value *values,
                                       size_t count, struct kaon_error *err);

/* Can one value cross: its type known, its string without NUL and in size? */
enum kaon_status kaon__value_check(const struct kaon_value *value,
                                   const char *what, struct kaon_error *err);

#endif

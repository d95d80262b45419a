/* SPDX-License-Identifier: Apache-2.0 */
/* Answers whatever name it is called by, but for "unknown". */
#include <kaon/guest.h>

static int32_t known(void)
{
    return 1;
}
KAON_EXPORT(known, i32);

static bool answer(const char *name, const struct kaon_value *args,
                   uint32_t count, struct kaon_value *result)
{
    static char text[256];

    if (__builtin_strcmp(name, "unknown") == 0)
        return false;
    /* sum: of i32 arguments, however many. */
    if (__builtin_strcmp(name, "sum") == 0) {
        int32_t sum = 0;

        for (uint32_t i = 0; i < count; i++)
            sum += args[i].type == KAON_TYPE_I32 ? args[i].i32 : 0;
        *result = kaon_i32(sum);
        return true;
    }
    kaon_snprintf(text, sizeof text, "fallback: %s with %u arguments", name,
                  count);
    *result = kaon_string(text);
    return true;
}
KAON_FALLBACK(answer);

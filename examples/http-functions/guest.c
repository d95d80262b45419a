/* SPDX-License-Identifier: Apache-2.0 */
/* The guest: the handler, and some bad manners to show. */
#include <kaon/guest.h>

#include "handler.h"

static struct handler handler;

static const char *handle(const char *path, struct kaon_span body)
{
    static char answer[HANDLER_ROOM];

    handler_answer(&handler, path, body.data, body.size, answer);
    return answer;
}
KAON_EXPORT(handle, string, string, bytes);

static void crash(void)
{
    int *volatile nowhere = (int *)8;

    *nowhere = 1;
}
KAON_EXPORT(crash, void);

static void spin(void)
{
    for (;;)
        __asm__ volatile("");
}
KAON_EXPORT(spin, void);

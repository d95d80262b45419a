/* SPDX-License-Identifier: Apache-2.0 */
/* Reads --isolation, and tells of fallbacks. Owns nothing. */
#include "cli/isolation.h"

#include <stdio.h>
#include <string.h>
#include <kaon.h>

static const char *const names[] = {
    [KAON_ISOLATION_VM] = "vm",
    [KAON_ISOLATION_PROCESS] = "process",
    [KAON_ISOLATION_BEST] = "best",
};

bool isolation_read(enum kaon_isolation *out, const char *text)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum kaon_isolation)i;
            return true;
        }
    return false;
}

/* The library's sentence, without what to do: the doctor knows that better. */
static void say_why(void)
{
    struct kaon_domain *domain;
    struct kaon_error err;

    if (kaon_domain_create(&domain, NULL, &err)) {
        err.text[strcspn(err.text, ";")] = '\0';
        fprintf(stderr, ": %s", err.text);
        return;
    }
    kaon_domain_destroy(domain); /* there is one now */
}

void isolation_say(const char *name, enum kaon_isolation asked,
                   const struct kaon_sandbox *sandbox)
{
    if (asked != KAON_ISOLATION_BEST ||
        strcmp(kaon_sandbox_backend(sandbox), "process") != 0)
        return;
    fprintf(stderr,
            "kaon %s: the guest runs in a process, which is a thinner "
            "wall than a VM",
            name);
    say_why();
    fputs("; `kaon doctor` tells more\n", stderr);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --isolation: what may keep a guest in, and a word when it is less than a VM.
 *
 * The library never lowers the wall unasked. The command line does, where
 * there is no hypervisor, and says so each time.
 */
#ifndef KAON_SRC_CLI_ISOLATION_H
#define KAON_SRC_CLI_ISOLATION_H

#include <stdbool.h>
#include <kaon/domain.h>
#include <kaon/sandbox.h>

/* "vm", "process" or "best"; false for any other text, which leaves *out. */
bool isolation_read(enum kaon_isolation *out, const char *text);

/*
 * Says in one line on the standard error, as kaon NAME, that the sandbox is a
 * process and why, if BEST was asked for and it is one.
 */
void isolation_say(const char *name, enum kaon_isolation asked,
                   const struct kaon_sandbox *sandbox);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest, called from a command line: what kaon run and kaon snapshot
 * share. The guest gets HostPrint and nothing else.
 */
#ifndef KAON_SRC_CLI_SESSION_H
#define KAON_SRC_CLI_SESSION_H

#include <stdbool.h>
#include <kaon.h>

#include "cli/options.h"
#include "cli/value.h"

/* What one guest needs. Zero but for `name` and `isolation` is empty. */
struct session {
    const char *name; /* of the subcommand, for messages */

    bool json, verbose;
    bool can_size; /* it has the options of SESSION_SIZES() */
    enum kaon_isolation isolation;
    uint64_t deadline, heap, stack, exchange;
    const struct kaon_sandbox_mapping *mappings; /* borrowed, for its sandbox */
    size_t mapping_count;

    struct kaon_image *image; /* borrowed, until session_finish() */
    struct kaon_host_functions *functions;
    struct kaon_sandbox *sandbox;
    struct argument args[KAON_PARAMS_MAX];
    size_t count;
    char last; /* what the guest printed last */
};

/* Rows of a table of options: of every session, and of one that makes a
 * sandbox from an image, whose sizes can be chosen. */
#define SESSION_OPTIONS(to)                                                         \
    { "json",      0,    OPTION_FLAG,                                               \
      &(to)->json, NULL, "print the outcome as one JSON object" },                  \
        { "verbose",      'v',  OPTION_FLAG,                                        \
          &(to)->verbose, NULL, "after a fault, show registers and a backtrace" },  \
        { "deadline",      0,      OPTION_TIME,                                     \
          &(to)->deadline, "TIME", "stop the guest after this time, as in 500ms" }, \
    {                                                                               \
        "isolation", 0, OPTION_ISOLATION, &(to)->isolation, "KIND",                 \
            "vm, process, or best: a VM where possible (default)"                   \
    }
#define SESSION_SIZES(to)                                                  \
    { "heap",      0,      OPTION_SIZE,                                    \
      &(to)->heap, "SIZE", "heap of the guest, as in 64M (default 16M)" }, \
        { "stack",      0,      OPTION_SIZE,                               \
          &(to)->stack, "SIZE", "stack of the guest (default 256K)" },     \
    {                                                                      \
        "exchange", 0, OPTION_SIZE, &(to)->exchange, "SIZE",               \
            "room for arguments and results (default 1M)"                  \
    }

/* Tells a failure of the host. Returns EXIT_HOST. */
int session_fail(const struct session *session, const struct kaon_error *err);

/* Lists the image's functions on the standard error. Returns EXIT_USAGE. */
int session_list(const struct session *session, const char *path);

/* Judges a function and its arguments, before a sandbox is made. Returns
 * EXIT_GOOD, or what to exit with. */
int session_prepare(struct session *session, const char *function, int argc,
                    char **argv);

/* Makes the sandbox: of the image or, if it is not NULL, from a snapshot. */
enum kaon_status session_create(struct session *session,
                                struct kaon_snapshot *snapshot,
                                struct kaon_error *err);

/* Makes the call that was prepared, or with NULL runs the guest's
 * initialisation. Returns EXIT_GOOD, whatever the guest did, or EXIT_HOST. */
int session_call(struct session *session, const char *function,
                 struct kaon_outcome *out);

/* Tells what the guest did. Returns what to exit with. */
int session_tell(const struct session *session, const char *function,
                 const struct kaon_outcome *outcome);

void session_finish(struct session *session);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands of kaon(1) share: their shape, and how they end.
 */
#ifndef KAON_SRC_CLI_COMMAND_H
#define KAON_SRC_CLI_COMMAND_H

#include <kaon/error.h>

/* How kaon exits. The manual pages list these: they do not change. */
enum {
    EXIT_GOOD = 0,
    EXIT_HOST = 1,    /* the host could not: no /dev/kvm, a bad file, ... */
    EXIT_USAGE = 2,   /* the command line makes no sense */
    EXIT_GUEST = 3,   /* the function failed, or the guest does not know it */
    EXIT_ABORT = 4,   /* the guest gave up */
    EXIT_FAULT = 5,   /* fault, stack overflow, protocol, out of memory */
    EXIT_STOPPED = 6, /* deadline or interrupt */
};

struct command {
    const char *name;
    const char *operands; /* of the usage line */
    const char *summary;  /* one line, without a full stop */
    const char *about;    /* for --help: lines of 78 columns at most */

    /* argv[0] is the subcommand's name. Returns one of the above. */
    int (*run)(int argc, char **argv);
};

extern const struct command command_bench, command_doctor, command_inspect,
    command_run, command_snapshot;

/* Says "kaon NAME: ..." on the standard error. Returns EXIT_USAGE. */
int usage_error(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says the library's sentence likewise. Returns EXIT_HOST. */
int host_error(const char *name, const struct kaon_error *err);

/* Flushes the standard output; code, or EXIT_HOST if it cannot be written. */
int finish_output(const char *name, int code);

#endif

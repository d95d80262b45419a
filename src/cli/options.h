/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a subcommand: one table that parses, explains and suggests.
 */
#ifndef KAON_SRC_CLI_OPTIONS_H
#define KAON_SRC_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/command.h"

enum option_kind {
    OPTION_FLAG, /* bool: no value */
    OPTION_TEXT, /* const char * */
    OPTION_SIZE, /* uint64_t: bytes, as in 64M */
    OPTION_TIME, /* uint64_t: nanoseconds, as in 500ms */
    OPTION_LIST, /* struct option_list: may be given again */

    OPTION_ISOLATION, /* enum kaon_isolation */
};

#define OPTION_LIST_MAX 32u

struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t count;
};

struct option {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* a short form, or 0 */
    enum option_kind kind;
    void *to;          /* of the type that the kind says */
    const char *value; /* what --help calls the value */
    const char *help;
};

/* What options_parse() returns besides a number of operands. */
#define OPTIONS_HELPED (-1) /* --help was asked for and given */
#define OPTIONS_BAD (-2)    /* said so on the standard error */

/*
 * Takes the options out of argv and leaves the operands in argv[1 ...].
 * Options end at "--", and with `first_only` at the first operand: what
 * follows it is not kaon's to judge.
 *
 * Returns: how many operands there are, or one of the above.
 */
int options_parse(const struct command *command, const struct option *options,
                  bool first_only, int argc, char **argv);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parses options; owns nothing, and points into argv. */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "cli/isolation.h"
#include "cli/number.h"
#include "host/nearest.h"

static const struct option *find(const struct option *options, const char *name,
                                 size_t length)
{
    for (; options->name; options++)
        if (strlen(options->name) == length &&
            memcmp(options->name, name, length) == 0)
            return options;
    return NULL;
}

static const struct option *find_letter(const struct option *options,
                                        const char *text)
{
    for (; options->name; options++)
        if (options->letter && text[0] == options->letter && !text[1])
            return options;
    return NULL;
}

static int fail_unknown(const struct command *command,
                        const struct option *options, const char *given)
{
    struct kaon_nearest nearest = kaon__nearest_to(given + strspn(given, "-"));

    kaon__nearest_offer(&nearest, "help");
    for (; options->name; options++)
        kaon__nearest_offer(&nearest, options->name);
    if (nearest.best)
        usage_error(command->name, "unknown option %s: did you mean --%s?",
                    given, nearest.best);
    else
        usage_error(command->name, "unknown option %s: see kaon %s --help",
                    given, command->name);
    return OPTIONS_BAD;
}

static void help(const struct command *command, const struct option *options)
{
    printf("Usage: kaon %s [options] %s\n\n%s\nOptions:\n", command->name,
           command->operands, command->about);
    for (; options->name; options++) {
        char left[40];

        snprintf(left, sizeof left, "--%s%s%s", options->name,
                 options->value ? " " : "",
                 options->value ? options->value : "");
        if (options->letter)
            printf("  -%c, %-20s %s\n", options->letter, left, options->help);
        else
            printf("      %-20s %s\n", left, options->help);
    }
    printf("  -h, %-20s %s\n", "--help", "explain this subcommand");
}

static bool add(struct option_list *list, const char *item)
{
    if (list->count == OPTION_LIST_MAX)
        return false;
    list->items[list->count++] = item;
    return true;
}

/* Stores the value. Returns NULL, or what would have been good. */
static const char *store(const struct option *option, const char *value)
{
    switch (option->kind) {
    case OPTION_FLAG: *(bool *)option->to = true; return NULL;
    case OPTION_TEXT: *(const char **)option->to = value; return NULL;
    case OPTION_SIZE:
        return number_size(option->to, value)
                   ? NULL
                   : "a size of at least 1, such as 4096, 64K, 16M or 1G";
    case OPTION_TIME:
        return number_time(option->to, value)
                   ? NULL
                   : "a time of at least 1ns, such as 250us, 500ms, 2s or 1m";
    case OPTION_LIST:
        return add(option->to, value) ? NULL : "given fewer times";
    case OPTION_ISOLATION:
        return isolation_read(option->to, value) ? NULL : "vm, process or best";
    }
    return NULL;
}

/*
 * Takes the option in argv[*at], and moves on to its value if it is the next
 * argument. Returns false, having said why, if it is none.
 */
static bool take(const struct command *command, const struct option *options,
                 int argc, char **argv, int *at)
{
    const char *given = argv[*at];
    bool is_long = given[1] == '-';
    const char *equals = is_long ? strchr(given, '=') : NULL;
    size_t length = equals ? (size_t)(equals - given) : strlen(given);
    const struct option *option = is_long ? find(options, given + 2, length - 2)
                                          : find_letter(options, given + 1);
    const char *value = equals ? equals + 1 : NULL, *wanted;

    if (!option) {
        fail_unknown(command, options, given);
        return false;
    }
    if (option->kind == OPTION_FLAG && value) {
        usage_error(command->name, "--%s takes no value", option->name);
        return false;
    }
    if (option->kind != OPTION_FLAG && !value) {
        if (*at + 1 == argc) {
            usage_error(command->name, "--%s needs a value: %s", option->name,
                        option->value);
            return false;
        }
        value = argv[++*at];
    }
    wanted = store(option, value);
    if (wanted)
        usage_error(command->name, "--%s %s: it must be %s", option->name,
                    value, wanted);
    return !wanted;
}

int options_parse(const struct command *command, const struct option *options,
                  bool first_only, int argc, char **argv)
{
    int operands = 0;
    bool open = true; /* options may still come */

    for (int i = 1; i < argc; i++) {
        if (!open || argv[i][0] != '-' || !argv[i][1]) {
            argv[++operands] = argv[i];
            open = open && !first_only;
        } else if (strcmp(argv[i], "--") == 0) {
            open = false;
        } else if (strcmp(argv[i], "--help") == 0 ||
                   strcmp(argv[i], "-h") == 0) {
            help(command, options);
            return OPTIONS_HELPED;
        } else if (!take(command, options, argc, argv, &i)) {
            return OPTIONS_BAD;
        }
    }
    return operands;
}

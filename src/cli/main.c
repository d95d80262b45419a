/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon(1): finds the subcommand and gets out of its way.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <kaon/version.h>

#include "cli/command.h"
#include "cli/text.h"
#include "host/nearest.h"

/* clang-format off */
static const struct command *const commands[] = {
    &command_run,
    &command_inspect,
    &command_snapshot,
    &command_doctor,
    &command_bench,
};
/* clang-format on */
#define COMMANDS (sizeof commands / sizeof commands[0])

/* ---- What all subcommands say ------------------------------------------ */

/* The sentence may quote an argument, which may hold anything. */
int usage_error(const char *name, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "kaon%s%s: ", *name ? " " : "", name);
    text_put(stderr, text);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

int host_error(const char *name, const struct kaon_error *err)
{
    fprintf(stderr, "kaon %s: ", name);
    text_put(stderr, err->text);
    fputc('\n', stderr);
    return EXIT_HOST;
}

int finish_output(const char *name, int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "kaon%s%s: cannot write to the standard output: %s\n",
            *name ? " " : "", name, strerror(errno));
    return EXIT_HOST;
}

/* ---- The command itself ------------------------------------------------ */

static int help(void)
{
    puts("Usage: kaon subcommand [options] [operands]\n"
         "\n"
         "Runs untrusted code in micro virtual machines.\n"
         "\n"
         "Subcommands:");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
    puts("  help     explain a subcommand\n"
         "\n"
         "Options:\n"
         "  -h, --help     show this\n"
         "      --version  show the version of kaon and its library");
    return finish_output("", EXIT_GOOD);
}

static int version(void)
{
    printf("kaon %s", KAON_VERSION);
    if (strcmp(kaon_version(), KAON_VERSION) != 0)
        printf(" (with libkaon %s)", kaon_version());
    putchar('\n');
    return finish_output("", EXIT_GOOD);
}

static int fail_unknown(const char *name)
{
    struct kaon_nearest nearest = kaon__nearest_to(name);
    bool option = name[0] == '-';

    for (size_t i = 0; i < COMMANDS; i++)
        kaon__nearest_offer(&nearest, commands[i]->name);
    kaon__nearest_offer(&nearest, option ? "--help" : "help");
    if (option)
        kaon__nearest_offer(&nearest, "--version");
    if (nearest.best)
        return usage_error("", "there is no %s %s: did you mean %s?",
                           option ? "option" : "subcommand", name,
                           nearest.best);
    return usage_error("", "there is no %s %s: see kaon --help",
                       option ? "option" : "subcommand", name);
}

static int dispatch(int argc, char **argv)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[0], commands[i]->name) == 0)
            return commands[i]->run(argc, argv);
    return fail_unknown(argv[0]);
}

static int help_about(int argc, char **argv)
{
    char option[] = "--help";
    char *words[] = { argv[1], option, NULL };

    if (argc == 1)
        return help();
    if (argc > 2)
        return usage_error("help", "name one subcommand");
    return finish_output("help", dispatch(2, words));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage_error("", "name a subcommand: run, inspect, snapshot, doctor, "
                        "bench or help");
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return version();
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help();
    if (strcmp(argv[1], "help") == 0)
        return help_about(argc - 1, argv + 1);
    return dispatch(argc - 1, argv + 1);
}

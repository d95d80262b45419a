/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon run: one call of one function of one guest, in a sandbox of its own.
 *
 * The guest gets HostPrint and nothing else.
 */
#include <stdio.h>
#include <string.h>
#include <kaon.h>

#include "cli/command.h"
#include "cli/isolation.h"
#include "cli/options.h"
#include "cli/outcome.h"
#include "cli/text.h"
#include "cli/value.h"

struct settings {
    bool json, verbose;
    enum kaon_isolation isolation;
    uint64_t deadline, heap, stack, exchange;
};

/* Everything that a run needs, and cleans up. Zero is empty. */
struct run {
    struct settings settings;
    struct kaon_image *image;
    struct kaon_host_functions *functions;
    struct kaon_sandbox *sandbox;
    struct argument args[KAON_PARAMS_MAX];
    size_t count;
    char last; /* what the guest printed last */
};

static const char *hint(const struct run *run, enum kaon_status status)
{
    switch (status) {
    case KAON_ETOOBIG: return " (here: --exchange SIZE)";
    case KAON_EIMPORT: return " (kaon run offers HostPrint alone)";
    case KAON_EBACKEND:
        return run->settings.isolation == KAON_ISOLATION_VM
                   ? " (here: --isolation process)"
                   : "";
    default: return "";
    }
}

static int fail(const struct run *run, const struct kaon_error *err)
{
    if (run->settings.json) {
        failure_json(err);
    } else {
        fputs("kaon run: ", stderr);
        text_put(stderr, err->text);
        fprintf(stderr, "%s\n", hint(run, err->status));
    }
    return EXIT_HOST;
}

/* ---- The function and its arguments ------------------------------------ */

static int list_functions(const struct run *run, const char *path)
{
    struct kaon_signature function;

    usage_error("run", "name a function of %s:", path);
    for (size_t i = 0; kaon_image_export(run->image, i, &function); i++) {
        char text[512];

        kaon_signature_format(&function, text, sizeof text);
        fputs("  ", stderr);
        text_put(stderr, text);
        fputc('\n', stderr);
    }
    return EXIT_USAGE;
}

static int read_arguments(struct run *run,
                          const struct kaon_signature *function, int argc,
                          char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct argument *argument = &run->args[i];
        const char *wrong =
            function ? argument_read(argument, function->params[i], argv[i])
                     : argument_read_typed(argument, argv[i]);

        if (wrong)
            return usage_error("run", "argument %d, \"%s\": %s", i + 1, argv[i],
                               wrong);
        run->count++;
    }
    return EXIT_GOOD;
}

static int fail_count(const struct kaon_signature *function, int given)
{
    char text[512];

    kaon_signature_format(function, text, sizeof text);
    return usage_error("run", "%s takes %u argument%s, not %d", text,
                       function->count, function->count == 1 ? "" : "s", given);
}

/* Judges the command line before a VM is made. */
static int prepare(struct run *run, const char *name, int argc, char **argv)
{
    struct kaon_signature signature;
    struct kaon_function function;
    struct kaon_error err;

    if (!kaon_function_find(&function, run->image, name, &err) &&
        kaon_image_export(run->image, function.index, &signature))
        return (unsigned)argc == signature.count
                   ? read_arguments(run, &signature, argc, argv)
                   : fail_count(&signature, argc);
    if (!kaon_image_dynamic(run->image))
        return usage_error("run", "%s", err.text);
    if ((unsigned)argc > KAON_PARAMS_MAX)
        return usage_error("run", "a function has at most %u arguments",
                           KAON_PARAMS_MAX);
    return read_arguments(run, NULL, argc, argv);
}

/* ---- The call ---------------------------------------------------------- */

/* With --json the standard output is for the outcome alone. */
static int32_t print(const char *text, size_t size, void *user)
{
    struct run *run = user;

    text_write(run->settings.json ? stderr : stdout, text, size);
    if (size)
        run->last = text[size - 1];
    return (int32_t)size;
}

static enum kaon_status create(struct run *run, struct kaon_error *err)
{
    enum kaon_status status = kaon_host_functions_create(&run->functions, err);

    if (!status)
        status = kaon_host_functions_print(run->functions, print, run, err);
    if (!status)
        status = kaon_sandbox_create(
            &run->sandbox, run->image,
            KAON_SANDBOX_OPTS(.host_functions = run->functions,
                              .heap_bytes = run->settings.heap,
                              .stack_bytes = run->settings.stack,
                              .exchange_bytes = run->settings.exchange,
                              .deadline_ns = run->settings.deadline,
                              .isolation = run->settings.isolation),
            err);
    if (!status)
        isolation_say("run", run->settings.isolation, run->sandbox);
    return status;
}

/* A print without a line's end must not run into what kaon says. */
static void end_line(const struct run *run)
{
    if (run->last && run->last != '\n')
        fputc('\n', run->settings.json ? stderr : stdout);
    fflush(stdout);
}

static void report(const struct run *run, const struct kaon_outcome *outcome,
                   const char *function)
{
    if (run->settings.json) {
        outcome_json(outcome, run->image,
                     kaon_sandbox_backend(run->sandbox));
    } else if (outcome->kind != KAON_RETURNED) {
        outcome_say(outcome, function, run->image, run->settings.verbose);
    } else if (outcome->value.type != KAON_TYPE_VOID) {
        value_write(stdout, &outcome->value);
        putchar('\n');
    }
}

static int call(struct run *run, const char *function)
{
    struct kaon_value values[KAON_PARAMS_MAX];
    struct kaon_outcome outcome;
    struct kaon_error err;
    enum kaon_status status = create(run, &err);

    for (size_t i = 0; i < run->count; i++)
        values[i] = run->args[i].value;
    if (!status)
        status = kaon_call(run->sandbox, &outcome, function, values, run->count,
                           NULL, &err);
    end_line(run);
    if (status)
        return fail(run, &err);
    report(run, &outcome, function);
    return outcome_exit(&outcome);
}

static void clean_up(struct run *run)
{
    kaon_sandbox_destroy(run->sandbox);
    kaon_host_functions_destroy(run->functions);
    kaon_image_destroy(run->image);
    for (size_t i = 0; i < run->count; i++)
        argument_free(&run->args[i]);
}

/* words: guest.elf function args... */
static int run_guest(struct run *run, int count, char **words)
{
    struct kaon_error err;
    int code;

    if (count == 0)
        return usage_error("run", "name a guest, a function and its "
                                  "arguments: see kaon run --help");
    if (kaon_image_open(&run->image, words[0], &err))
        return fail(run, &err);
    if (count == 1)
        return list_functions(run, words[0]);
    code = prepare(run, words[1], count - 2, words + 2);
    return code ? code : call(run, words[1]);
}

static int run_main(int argc, char **argv)
{
    struct run run = { .settings.isolation = KAON_ISOLATION_BEST };
    struct settings *to = &run.settings;
    const struct option options[] = {
        { "json", 0, OPTION_FLAG, &to->json, NULL,
          "print the outcome as one JSON object" },
        { "verbose", 'v', OPTION_FLAG, &to->verbose, NULL,
          "after a fault, show registers and a backtrace" },
        { "deadline", 0, OPTION_TIME, &to->deadline, "TIME",
          "stop the guest after this time, as in 500ms" },
        { "isolation", 0, OPTION_ISOLATION, &to->isolation, "KIND",
          "vm, process, or best: a VM where possible (default)" },
        { "heap", 0, OPTION_SIZE, &to->heap, "SIZE",
          "heap of the guest, as in 64M (default 16M)" },
        { "stack", 0, OPTION_SIZE, &to->stack, "SIZE",
          "stack of the guest (default 256K)" },
        { "exchange", 0, OPTION_SIZE, &to->exchange, "SIZE",
          "room for arguments and results (default 1M)" },
        { 0 },
    };
    int count = options_parse(&command_run, options, true, argc, argv), code;

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    code = run_guest(&run, count, argv + 1);
    clean_up(&run);
    return finish_output("run", code);
}

const struct command command_run = {
    .name = "run",
    .operands = "guest.elf function [argument ...]",
    .summary = "call a function of a guest in a sandbox",
    .about =
        "Calls a function that the guest exports, and prints its result.\n"
        "\n"
        "Arguments are read as the types that the guest lists: decimal or 0x\n"
        "numbers, true or false, strings as they are, bytes in hexadecimal "
        "or\n"
        "as @file. What the guest prints goes to the standard output.\n"
        "\n"
        "The guest runs in a VM. Where there is no hypervisor it runs in a\n"
        "process, a thinner wall, and a line says so; --isolation vm forbids "
        "it.\n"
        "\n"
        "Exit status: 0 returned, 1 the host could not, 2 bad usage, 3 the\n"
        "function failed, 4 the guest aborted, 5 it faulted, 6 it was "
        "stopped.\n",
    .run = run_main,
};

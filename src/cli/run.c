/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon run: one call of one function of one guest, in a sandbox of its own.
 */
#include "cli/command.h"
#include "cli/session.h"

static int call(struct session *session, const char *function)
{
    struct kaon_outcome outcome;
    struct kaon_error err;
    int code;

    if (session_create(session, NULL, &err))
        return session_fail(session, &err);
    code = session_call(session, function, &outcome);
    return code ? code : session_tell(session, function, &outcome);
}

/* words: guest.elf function args... */
static int run_guest(struct session *session, int count, char **words)
{
    int code;

    if (count == 1)
        return session_list(session, words[0]);
    code = session_prepare(session, words[1], count - 2, words + 2);
    return code ? code : call(session, words[1]);
}

static int run_main(int argc, char **argv)
{
    struct session session = {
        .name = "run",
        .can_size = true,
        .isolation = KAON_ISOLATION_BEST,
    };
    const struct option options[] = {
        SESSION_OPTIONS(&session),
        SESSION_SIZES(&session),
        { 0 },
    };
    int count = options_parse(&command_run, options, true, argc, argv), code;
    struct kaon_error err;

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count == 0)
        return usage_error("run", "name a guest, a function and its "
                                  "arguments: see kaon run --help");
    if (kaon_image_open(&session.image, argv[1], &err))
        return session_fail(&session, &err);
    code = run_guest(&session, count, argv + 1);
    session_finish(&session);
    kaon_image_destroy(session.image);
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

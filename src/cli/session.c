/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges a call's words, makes the sandbox and the call, tells what came of
 * it. Owns what is in its struct.
 */
#include "cli/session.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/functions.h"
#include "cli/isolation.h"
#include "cli/outcome.h"
#include "cli/text.h"

static const char *hint(const struct session *session, enum kaon_status status)
{
    switch (status) {
    case KAON_ETOOBIG:
        return session->can_size ? " (here: --exchange SIZE)" : "";
    case KAON_EIMPORT: return " (kaon offers HostPrint alone)";
    case KAON_EBACKEND:
        return session->isolation == KAON_ISOLATION_VM
                   ? " (here: --isolation process)"
                   : "";
    default: return "";
    }
}

int session_fail(const struct session *session, const struct kaon_error *err)
{
    if (session->json) {
        failure_json(err);
    } else {
        fprintf(stderr, "kaon %s: ", session->name);
        text_put(stderr, err->text);
        fprintf(stderr, "%s\n", hint(session, err->status));
    }
    return EXIT_HOST;
}

/* ---- The function and its arguments ------------------------------------ */

int session_list(const struct session *session, const char *path)
{
    usage_error(session->name, "name a function of %s:", path);
    functions_lines(stderr, session->image, kaon_image_export);
    return EXIT_USAGE;
}

static int read_arguments(struct session *session,
                          const struct kaon_signature *function, int argc,
                          char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct argument *argument = &session->args[i];
        const char *wrong =
            function ? argument_read(argument, function->params[i], argv[i])
                     : argument_read_typed(argument, argv[i]);

        if (wrong)
            return usage_error(session->name, "argument %d, \"%s\": %s", i + 1,
                               argv[i], wrong);
        session->count++;
    }
    return EXIT_GOOD;
}

static int fail_count(const struct session *session,
                      const struct kaon_signature *function, int given)
{
    char text[512];

    kaon_signature_format(function, text, sizeof text);
    return usage_error(session->name, "%s takes %u argument%s, not %d", text,
                       function->count, function->count == 1 ? "" : "s", given);
}

int session_prepare(struct session *session, const char *name, int argc,
                    char **argv)
{
    struct kaon_signature signature;
    struct kaon_function function;
    struct kaon_error err;

    if (!kaon_function_find(&function, session->image, name, &err) &&
        kaon_image_export(session->image, function.index, &signature))
        return (unsigned)argc == signature.count
                   ? read_arguments(session, &signature, argc, argv)
                   : fail_count(session, &signature, argc);
    if (!kaon_image_dynamic(session->image))
        return usage_error(session->name, "%s", err.text);
    if ((unsigned)argc > KAON_PARAMS_MAX)
        return usage_error(session->name, "a function has at most %u arguments",
                           KAON_PARAMS_MAX);
    return read_arguments(session, NULL, argc, argv);
}

/* ---- The call ---------------------------------------------------------- */

/* With --json the standard output is for the outcome alone. */
static int32_t print(const char *text, size_t size, void *user)
{
    struct session *session = user;

    text_write(session->json ? stderr : stdout, text, size);
    if (size)
        session->last = text[size - 1];
    return (int32_t)size;
}

enum kaon_status session_create(struct session *session,
                                struct kaon_snapshot *snapshot,
                                struct kaon_error *err)
{
    struct kaon_sandbox_opts *opts =
        KAON_SANDBOX_OPTS(.heap_bytes = session->heap,
                          .stack_bytes = session->stack,
                          .exchange_bytes = session->exchange,
                          .deadline_ns = session->deadline,
                          .isolation = session->isolation,
                          .mappings = session->mappings,
                          .mapping_count = session->mapping_count);
    enum kaon_status status =
        kaon_host_functions_create(&session->functions, err);

    opts->host_functions = session->functions;
    if (!status)
        status =
            kaon_host_functions_print(session->functions, print, session, err);
    if (!status)
        status = snapshot ? kaon_sandbox_create_from(&session->sandbox,
                                                     snapshot, opts, err)
                          : kaon_sandbox_create(&session->sandbox,
                                                session->image, opts, err);
    if (!status)
        isolation_say(session->name, session->isolation, session->sandbox);
    return status;
}

/* A print without a line's end must not run into what kaon says. */
static void end_line(const struct session *session)
{
    if (session->last && session->last != '\n')
        fputc('\n', session->json ? stderr : stdout);
    fflush(stdout);
}

int session_call(struct session *session, const char *function,
                 struct kaon_outcome *out)
{
    struct kaon_value values[KAON_PARAMS_MAX];
    struct kaon_error err;
    enum kaon_status status;

    for (size_t i = 0; i < session->count; i++)
        values[i] = session->args[i].value;
    status = function ? kaon_call(session->sandbox, out, function, values,
                                  session->count, NULL, &err)
                      : kaon_sandbox_init(session->sandbox, out, NULL, &err);
    end_line(session);
    return status ? session_fail(session, &err) : EXIT_GOOD;
}

int session_tell(const struct session *session, const char *function,
                 const struct kaon_outcome *outcome)
{
    if (session->json) {
        outcome_json(outcome, session->image,
                     kaon_sandbox_backend(session->sandbox));
    } else if (outcome->kind != KAON_RETURNED) {
        outcome_say(session->name, outcome, function, session->image,
                    session->verbose);
    } else if (outcome->value.type != KAON_TYPE_VOID) {
        value_write(stdout, &outcome->value);
        putchar('\n');
    }
    return outcome_exit(outcome);
}

void session_finish(struct session *session)
{
    kaon_sandbox_destroy(session->sandbox);
    kaon_host_functions_destroy(session->functions);
    for (size_t i = 0; i < session->count; i++)
        argument_free(&session->args[i]);
}

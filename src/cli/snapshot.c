/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon snapshot: a guest's state, saved to a directory; and gone on from.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <kaon.h>

#include "cli/command.h"
#include "cli/functions.h"
#include "cli/json.h"
#include "cli/maps.h"
#include "cli/session.h"
#include "cli/text.h"
#include "host/nearest.h"

static const struct command command_save, command_go_on, command_show;

static const struct command *const commands[] = {
    &command_save,
    &command_go_on,
    &command_show,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

/* ---- Mappings ---------------------------------------------------------- */

static const char *const modes[] = { "read", "copy", "write" };

/* A name has letters, digits and few other characters. */
static void mappings_text(const struct kaon_snapshot *snapshot)
{
    struct kaon_snapshot_mapping mapping;

    if (kaon_snapshot_mapping(snapshot, 0, &mapping))
        puts("mappings:");
    for (size_t i = 0; kaon_snapshot_mapping(snapshot, i, &mapping); i++) {
        printf("  %s: %s, a %s of %" PRIu64 " bytes", mapping.name,
               modes[mapping.mode], mapping.is_file ? "file" : "buffer",
               mapping.size);
        if (mapping.offset)
            printf(" from %" PRIu64 " on", mapping.offset);
        printf(", at %#" PRIx64, mapping.address);
        if (mapping.pages)
            printf(", %" PRIu64 " pages written", mapping.pages);
        putchar('\n');
    }
}

static void mappings_json(struct json *json,
                          const struct kaon_snapshot *snapshot)
{
    struct kaon_snapshot_mapping mapping;

    json_array(json, "mappings");
    for (size_t i = 0; kaon_snapshot_mapping(snapshot, i, &mapping); i++) {
        json_object(json, NULL);
        json_string(json, "name", mapping.name);
        json_string(json, "mode", modes[mapping.mode]);
        json_string(json, "kind", mapping.is_file ? "file" : "buffer");
        json_unsigned(json, "size", mapping.size);
        json_unsigned(json, "offset", mapping.offset);
        json_unsigned(json, "address", mapping.address);
        json_unsigned(json, "pages", mapping.pages);
        json_object_end(json);
    }
    json_array_end(json);
}

/* ---- save -------------------------------------------------------------- */

struct saving {
    struct session session;
    const char *name;
    bool replace;
    struct option_list read, copy; /* NAME=FILE */
    struct maps maps;
    struct kaon_map_opts how[MAPS_MAX];
    struct kaon_sandbox_mapping mappings[MAPS_MAX];
};

/* The session's sandbox begins with them. */
static enum kaon_status add_mappings(struct saving *saving,
                                     struct kaon_error *err)
{
    struct maps *maps = &saving->maps;
    enum kaon_status status = maps_add(maps, &saving->read, KAON_MAP_READ, err);

    if (!status)
        status = maps_add(maps, &saving->copy, KAON_MAP_COPY, err);
    for (size_t i = 0; i < maps->count; i++) {
        saving->how[i] = *KAON_MAP_OPTS(.name = maps->list[i].name,
                                        .mode = maps->list[i].mode);
        saving->mappings[i] = (struct kaon_sandbox_mapping){
            .region = maps->list[i].region,
            .opts = &saving->how[i],
        };
    }
    saving->session.mappings = saving->mappings;
    saving->session.mapping_count = maps->count;
    return status;
}

static void tell_saved(const struct saving *saving, const char *directory,
                       struct kaon_snapshot *snapshot)
{
    const char *name = saving->name ? saving->name : "latest";
    struct kaon_snapshot_stats stats = { 0 };
    struct json json = { .out = stdout };

    if (kaon_snapshot_stats(snapshot, &stats))
        return;
    if (!saving->session.json) {
        printf("saved %s in %s: %" PRIu64 " pages\n", name, directory,
               stats.pages);
        mappings_text(snapshot);
        return;
    }
    json_object(&json, NULL);
    json_string(&json, "status", "KAON_OK");
    json_string(&json, "name", name);
    json_unsigned(&json, "pages", stats.pages);
    mappings_json(&json, snapshot);
    json_object_end(&json);
    putchar('\n');
}

static int write_snapshot(struct saving *saving, const char *directory)
{
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_error err;
    enum kaon_status status =
        kaon_snapshot_take(&snapshot, saving->session.sandbox, &err);

    if (!status)
        status = kaon_snapshot_save(
            snapshot, directory,
            KAON_SAVE_OPTS(.name = saving->name, .replace = saving->replace),
            &err);
    if (!status)
        tell_saved(saving, directory, snapshot);
    kaon_snapshot_destroy(snapshot);
    return status ? session_fail(&saving->session, &err) : EXIT_GOOD;
}

/* Of a guest that did not return there is nothing to keep. */
static int step(struct session *session, const char *function, bool *returned)
{
    struct kaon_outcome outcome;
    int code = session_call(session, function, &outcome);

    *returned = !code && outcome.kind == KAON_RETURNED;
    if (code || (*returned && (session->json || !function)))
        return code;
    return session_tell(session, function ? function : "the initialisation",
                        &outcome);
}

/* words: guest.elf directory [function args...] */
static int save_guest(struct saving *saving, int count, char **words)
{
    struct session *session = &saving->session;
    const char *function = count > 2 ? words[2] : NULL;
    struct kaon_error err;
    bool returned;
    int code = function
                   ? session_prepare(session, function, count - 3, words + 3)
                   : EXIT_GOOD;

    if (code)
        return code;
    if (add_mappings(saving, &err) || session_create(session, NULL, &err))
        return session_fail(session, &err);
    code = step(session, NULL, &returned);
    if (returned && function)
        code = step(session, function, &returned);
    return returned ? write_snapshot(saving, words[1]) : code;
}

static int save_main(int argc, char **argv)
{
    struct saving saving = {
        .session = { .name = command_save.name,
                     .can_size = true,
                     .isolation = KAON_ISOLATION_BEST },
    };
    struct session *session = &saving.session;
    const struct option options[] = {
        { "name", 0, OPTION_TEXT, &saving.name, "NAME",
          "what to call it in the directory (default latest)" },
        { "replace", 0, OPTION_FLAG, &saving.replace, NULL,
          "take the name from a snapshot that has it" },
        { "map", 0, OPTION_LIST, &saving.read, "NAME=FILE",
          "map a file for the guest to read (may be repeated)" },
        { "map-copy", 0, OPTION_LIST, &saving.copy, "NAME=FILE",
          "the same, and let it write to its own copy" },
        SESSION_OPTIONS(session),
        SESSION_SIZES(session),
        { 0 },
    };
    int count = options_parse(&command_save, options, true, argc, argv), code;
    struct kaon_error err;

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count < 2)
        return usage_error(command_save.name,
                           "name a guest and a directory: see kaon snapshot "
                           "save --help");
    if (!maps_are_given(&saving.read) || !maps_are_given(&saving.copy))
        return usage_error(command_save.name,
                           "--map and --map-copy take NAME=FILE, under a name "
                           "that you choose");
    if (kaon_image_open(&session->image, argv[1], &err))
        return session_fail(session, &err);
    code = save_guest(&saving, count, argv + 1);
    session_finish(session);
    maps_close(&saving.maps);
    kaon_image_destroy(session->image);
    return code;
}

static const struct command command_save = {
    .name = "snapshot save",
    .operands = "guest.elf directory [function [argument ...]]",
    .summary = "run a guest's initialisation and save its state",
    .about =
        "Runs the guest's initialisation and then, if there is one, the\n"
        "function, and saves the state that they leave. The directory is made,\n"
        "or the snapshot is added to those in it. It is an OCI image layout,\n"
        "which skopeo copies to registries.\n"
        "\n"
        "It tells where the guest has the files that are mapped. These are not\n"
        "saved: kaon snapshot run is given them again.\n"
        "\n"
        "Exit status: as for kaon run. Nothing is saved unless it is 0.\n",
    .run = save_main,
};

/* ---- run --------------------------------------------------------------- */

/* Which snapshot of which directory, and how it is opened. */
struct source {
    const char *name;
    bool believe;
    struct option_list maps; /* NAME=FILE */
};

#define SOURCE_OPTIONS(to)                                                      \
    {                                                                           \
        "name",      0,      OPTION_TEXT,                                       \
        &(to)->name, "NAME", "which snapshot (default the only one, or latest)" \
    },                                                                          \
    {                                                                           \
        "skip-digests", 0, OPTION_FLAG, &(to)->believe, NULL,                   \
            "believe that its files are what was saved"                         \
    }

static enum kaon_status open_source(struct kaon_snapshot **out,
                                    const struct source *source,
                                    const struct maps *maps,
                                    const char *directory,
                                    struct kaon_error *err)
{
    return kaon_snapshot_open(
        out, directory,
        KAON_OPEN_OPTS(.name = source->name, .skip_digests = source->believe,
                       .regions = maps->list, .region_count = maps->count),
        err);
}

static const struct maps no_maps;

static enum kaon_status open_maps(struct maps *maps,
                                  const struct source *source,
                                  const char *directory, struct kaon_error *err)
{
    /* Only to see what was mapped: it is checked when it is opened for good. */
    const struct source look = { .name = source->name, .believe = true };
    struct kaon_snapshot *snapshot;
    enum kaon_status status = KAON_OK;

    if (source->maps.count)
        status = open_source(&snapshot, &look, &no_maps, directory, err);
    if (status || source->maps.count == 0)
        return status;
    status = maps_add_as_in(maps, &source->maps, snapshot, err);
    kaon_snapshot_destroy(snapshot);
    return status;
}

/* With the files for its mappings. */
static enum kaon_status open_mapped(struct kaon_snapshot **out,
                                    const struct source *source,
                                    const char *directory,
                                    struct kaon_error *err)
{
    struct maps maps = { .count = 0 };
    enum kaon_status status = open_maps(&maps, source, directory, err);

    if (!status)
        status = open_source(out, source, &maps, directory, err);
    maps_close(&maps);
    return status;
}

/* words: directory [function args...] */
static int go_on(struct session *session, struct kaon_snapshot *snapshot,
                 int count, char **words)
{
    struct kaon_outcome outcome;
    struct kaon_error err;
    int code;

    if (count == 1)
        return session_list(session, words[0]);
    code = session_prepare(session, words[1], count - 2, words + 2);
    if (code)
        return code;
    if (session_create(session, snapshot, &err))
        return session_fail(session, &err);
    code = session_call(session, words[1], &outcome);
    return code ? code : session_tell(session, words[1], &outcome);
}

static int go_on_main(int argc, char **argv)
{
    struct session session = {
        .name = command_go_on.name,
        .isolation = KAON_ISOLATION_BEST,
    };
    struct source source = { 0 };
    const struct option options[] = {
        SOURCE_OPTIONS(&source),
        { "map", 0, OPTION_LIST, &source.maps, "NAME=FILE",
          "the file for a mapping of the snapshot's (may be repeated)" },
        SESSION_OPTIONS(&session),
        { 0 },
    };
    int count = options_parse(&command_go_on, options, true, argc, argv), code;
    struct kaon_snapshot *snapshot;
    struct kaon_error err;

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count == 0)
        return usage_error(command_go_on.name,
                           "name a directory, a function and its arguments: "
                           "see kaon snapshot run --help");
    if (!maps_are_given(&source.maps))
        return usage_error(command_go_on.name,
                           "--map takes NAME=FILE: see kaon snapshot inspect "
                           "for the names");
    if (open_mapped(&snapshot, &source, argv[1], &err))
        return session_fail(&session, &err);
    session.image = kaon_snapshot_image(snapshot);
    code = go_on(&session, snapshot, count, argv + 1);
    session_finish(&session);
    kaon_snapshot_destroy(snapshot);
    return code;
}

static const struct command command_go_on = {
    .name = "snapshot run",
    .operands = "directory function [argument ...]",
    .summary = "call a function of a guest in a saved state",
    .about = "Opens a snapshot, calls a function of its guest, and prints the "
             "result.\n"
             "All else is as for kaon run; the snapshot stays as it is.\n"
             "If it has mappings, --map names the file that each is to show.\n",
    .run = go_on_main,
};

/* ---- inspect ----------------------------------------------------------- */

static void name_text(const char *name, void *user)
{
    (void)user;
    printf("  %s\n", name);
}

static void name_json(const char *name, void *user)
{
    json_string(user, NULL, name);
}

static int show_text(const char *directory, struct kaon_snapshot *snapshot,
                     const struct kaon_snapshot_stats *stats,
                     struct kaon_error *err)
{
    const struct kaon_image *image = kaon_snapshot_image(snapshot);

    puts("snapshots:");
    if (kaon_snapshot_names(directory, name_text, NULL, err))
        return EXIT_HOST;
    fputs("guest: ", stdout);
    text_put(stdout, kaon_image_name(image));
    printf("\npages: %" PRIu64 " of 4096 bytes\n"
           "layers: %" PRIu64 "\n"
           "write set: %" PRIu64 " pages\n"
           "heap: %" PRIu64 " bytes\n"
           "stack: %" PRIu64 " bytes\n"
           "exchange: %" PRIu64 " bytes\n",
           stats->pages, stats->layers, stats->write_set, stats->heap_bytes,
           stats->stack_bytes, stats->exchange_bytes);
    mappings_text(snapshot);
    functions_text("exports", image, kaon_image_export);
    functions_text("imports", image, kaon_image_import);
    return EXIT_GOOD;
}

static int show_json(const char *directory, struct kaon_snapshot *snapshot,
                     const struct kaon_snapshot_stats *stats,
                     struct kaon_error *err)
{
    const struct kaon_image *image = kaon_snapshot_image(snapshot);
    const char *name = kaon_image_name(image);
    struct json json = { .out = stdout };

    json_object(&json, NULL);
    json_array(&json, "snapshots");
    if (kaon_snapshot_names(directory, name_json, &json, err))
        return EXIT_HOST;
    json_array_end(&json);
    json_text(&json, "guest", "guest_hex", name, strlen(name));
    json_unsigned(&json, "pages", stats->pages);
    json_unsigned(&json, "layers", stats->layers);
    json_unsigned(&json, "write_set", stats->write_set);
    json_unsigned(&json, "heap", stats->heap_bytes);
    json_unsigned(&json, "stack", stats->stack_bytes);
    json_unsigned(&json, "exchange", stats->exchange_bytes);
    mappings_json(&json, snapshot);
    functions_json(&json, "exports", image, kaon_image_export);
    functions_json(&json, "imports", image, kaon_image_import);
    json_object_end(&json);
    putchar('\n');
    return EXIT_GOOD;
}

static int show_main(int argc, char **argv)
{
    struct source source = { 0 };
    bool json = false;
    const struct option options[] = {
        SOURCE_OPTIONS(&source),
        { "json", 0, OPTION_FLAG, &json, NULL, "print one JSON object" },
        { 0 },
    };
    int count = options_parse(&command_show, options, false, argc, argv), code;
    struct kaon_snapshot_stats stats;
    struct kaon_snapshot *snapshot;
    struct kaon_error err;

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count != 1)
        return usage_error(command_show.name, "name one directory: see kaon "
                                              "snapshot inspect --help");
    if (open_source(&snapshot, &source, &no_maps, argv[1], &err))
        return host_error(command_show.name, &err);
    code = kaon_snapshot_stats(snapshot, &stats) ? EXIT_HOST : EXIT_GOOD;
    if (!code)
        code = (json ? show_json : show_text)(argv[1], snapshot, &stats, &err);
    if (code)
        host_error(command_show.name, &err);
    kaon_snapshot_destroy(snapshot);
    return code;
}

static const struct command command_show = {
    .name = "snapshot inspect",
    .operands = "directory",
    .summary = "check a saved state and show what it holds",
    .about = "Opens a snapshot, with all checks, and shows what it holds and "
             "what its\n"
             "guest exports and imports. Nothing is run.\n",
    .run = show_main,
};

/* ---- The three --------------------------------------------------------- */

/* The word of its own: "save" of "snapshot save". */
static const char *word_of(const struct command *command)
{
    return strchr(command->name, ' ') + 1;
}

static int help(void)
{
    puts("Usage: kaon snapshot subcommand [options] [operands]\n"
         "\n"
         "Keeps the state of a guest in a directory.\n"
         "\n"
         "Subcommands:");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-8s %s\n", word_of(commands[i]), commands[i]->summary);
    puts("\n"
         "Each has the options --json and --help.");
    return EXIT_GOOD;
}

static int fail_unknown(const char *word)
{
    struct kaon_nearest nearest = kaon__nearest_to(word);

    for (size_t i = 0; i < COMMANDS; i++)
        kaon__nearest_offer(&nearest, word_of(commands[i]));
    if (nearest.best)
        return usage_error("snapshot",
                           "there is no subcommand %s: did you "
                           "mean %s?",
                           word, nearest.best);
    return usage_error("snapshot",
                       "there is no subcommand %s: it must be save, "
                       "run or inspect",
                       word);
}

static int snapshot_main(int argc, char **argv)
{
    if (argc < 2)
        return usage_error("snapshot",
                           "name a subcommand: save, run or inspect");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return finish_output("snapshot", help());
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], word_of(commands[i])) == 0)
            return finish_output(commands[i]->name,
                                 commands[i]->run(argc - 1, argv + 1));
    return fail_unknown(argv[1]);
}

const struct command command_snapshot = {
    .name = "snapshot",
    .operands = "save|run|inspect",
    .summary = "save a guest's state, and go on from it",
    .run = snapshot_main,
};

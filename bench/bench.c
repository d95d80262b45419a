/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon bench: the subcommand that runs the benchmarks of a backend.
 */
#include "bench.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "host/nearest.h"

static const struct suite *const suites[] = { &suite_kvm, &suite_process };

struct settings {
    bool json, quick;
    const char *html, *backend;
    struct option_list only;
};

static bool is_wanted(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->only.count; i++)
        if (strcmp(settings->only.items[i], name) == 0)
            return true;
    return settings->only.count == 0;
}

static int check_name(const struct suite *suite, const char *name)
{
    struct kaon_nearest nearest = kaon__nearest_to(name);

    for (size_t i = 0; i < suite->count; i++) {
        if (strcmp(suite->benchmarks[i].name, name) == 0)
            return EXIT_GOOD;
        kaon__nearest_offer(&nearest, suite->benchmarks[i].name);
    }
    usage_error("bench", "there is no benchmark %s%s%s%s", name,
                nearest.best ? ": did you mean " : ". There are:",
                nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    for (size_t i = 0; !nearest.best && i < suite->count; i++)
        fprintf(stderr, "  %s\n", suite->benchmarks[i].name);
    return EXIT_USAGE;
}

static const struct suite *find_suite(const char *backend)
{
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (strcmp(suites[i]->floor->backend, backend) == 0)
            return suites[i];
    return NULL;
}

static bool run(struct context *context, const struct settings *settings,
                struct result *results)
{
    if (!settings->json)
        report_head();
    for (size_t i = 0; i < context->suite->count; i++) {
        const struct benchmark *benchmark = &context->suite->benchmarks[i];
        struct result *result = &results[i];

        if (!is_wanted(settings, benchmark->name))
            continue;
        if (!benchmark->measure(context, result))
            return false;
        result->value = benchmark->judge ? benchmark->judge(result)
                                         : samples_median(&result->ratios);
        if (settings->json)
            report_json(benchmark, result);
        else
            report_row(benchmark, result);
        fflush(stdout);
    }
    return true;
}

static int measure(const struct settings *settings, const struct suite *suite)
{
    struct context context = { .suite = suite, .quick = settings->quick };
    struct result *results = calloc(suite->count, sizeof *results);
    int code = EXIT_GOOD;

    if (!results)
        err(EXIT_HOST, "kaon bench");
    if (!context_init(&context) || !run(&context, settings, results)) {
        fprintf(stderr, "kaon bench: %s\n", context.error);
        code = EXIT_HOST;
    } else if (settings->html && !report_html(settings->html, suite, results)) {
        fprintf(stderr, "kaon bench: cannot write %s: %s\n", settings->html,
                strerror(errno));
        code = EXIT_HOST;
    }
    context_finish(&context);
    for (size_t i = 0; i < suite->count; i++) {
        samples_free(&results[i].floor);
        samples_free(&results[i].ours);
        samples_free(&results[i].ratios);
        samples_free(&results[i].kernel);
    }
    free(results);
    return code;
}

static int bench_main(int argc, char **argv)
{
    struct settings settings = { .backend = "kvm" };
    const struct option options[] = {
        { "json", 0, OPTION_FLAG, &settings.json, NULL,
          "print a line of JSON for each benchmark" },
        { "html", 0, OPTION_TEXT, &settings.html, "FILE",
          "write a page with plots as well" },
        { "only", 0, OPTION_LIST, &settings.only, "NAME",
          "measure this one; may be given again" },
        { "quick", 0, OPTION_FLAG, &settings.quick, NULL,
          "take a fifth of the samples" },
        { "backend", 0, OPTION_TEXT, &settings.backend, "NAME",
          "what runs the guests: kvm (default) or process" },
        { 0 },
    };
    int count = options_parse(&command_bench, options, false, argc, argv);
    const struct suite *suite = find_suite(settings.backend);

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count > 0)
        return usage_error("bench", "it takes no operands: --only NAME "
                                    "chooses a benchmark");
    if (!suite)
        return usage_error("bench",
                           "there is no backend %s: it must be kvm or process",
                           settings.backend);
    for (size_t i = 0; i < settings.only.count; i++)
        if (check_name(suite, settings.only.items[i]))
            return EXIT_USAGE;
    return finish_output("bench", measure(&settings, suite));
}

const struct command command_bench = {
    .name = "bench",
    .operands = "",
    .summary = "measure this machine, against a bare floor",
    .about = "Measures calls, restores, new sandboxes, memory and computing, "
             "in turns with\n"
             "the bare minimum that the machine allows, and prints medians. "
             "Takes about a\n"
             "minute. Only the ratios mean something on another machine.\n",
    .run = bench_main,
};

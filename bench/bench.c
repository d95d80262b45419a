/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon bench: the list of benchmarks, and the subcommand that runs them.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "host/nearest.h"

static double judge_ours(struct result *result)
{
    return samples_median(&result->ours);
}

static double judge_speed(struct result *result)
{
    return 1 / samples_median(&result->ratios);
}

#define WARM_CALL "a warm call"

const struct benchmark benchmarks[] = {
    { "call", "us", "a typed call with two i32", "an exit and re-entry", NULL,
      1.05, false, measure_call, NULL },
    { "call_callback", "us", "a call that calls the host", "two exits", NULL,
      1.05, false, measure_callback, NULL },
    { "create_vm_first", "us", "a new sandbox and its first call",
      "a new VM and its first exit", NULL, 1.25, false, measure_create_vm,
      NULL },
    { "create_in_domain", "us", "a new sandbox in a living domain", NULL,
      "ours", 10, false, measure_create, judge_ours },
    { "create_in_domain_first", "us", "the same and its first call", WARM_CALL,
      NULL, 3.0, false, measure_create_first, NULL },
    { "switch_1000", "us", "a call to the next of 1000 sandboxes", WARM_CALL,
      NULL, 1.3, false, measure_switch, NULL },
    { "echo_1KiB", "us", "1 KiB to the guest and back",
      "a warm call and two memcpy", NULL, 1.2, false, measure_echo_small,
      NULL },
    { "echo_1MiB", "us", "1 MiB to the guest and back",
      "a warm call and two memcpy", NULL, 1.2, false, measure_echo_large,
      NULL },
    { "compute", "ms", "computing in the guest", "the same on the host",
      "speed", 0.97, true, measure_compute, judge_speed },
    { "idle_kib_own", "KiB", "an idle sandbox with its own domain",
      "an idle VM", NULL, 1.2, false, measure_idle_own, NULL },
    { "idle_kib_shared", "KiB", "an idle sandbox of 2000 in a domain", NULL,
      "ours", 32, false, measure_idle_shared, judge_ours },
};
#define COUNT (sizeof benchmarks / sizeof benchmarks[0])
const size_t benchmark_count = COUNT;

static const struct floor *const floors[] = { &floor_kvm };

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

static int check_name(const char *name)
{
    struct kaon_nearest nearest = kaon__nearest_to(name);

    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(benchmarks[i].name, name) == 0)
            return EXIT_GOOD;
        kaon__nearest_offer(&nearest, benchmarks[i].name);
    }
    usage_error("bench", "there is no benchmark %s%s%s%s", name,
                nearest.best ? ": did you mean " : ". There are:",
                nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    for (size_t i = 0; !nearest.best && i < COUNT; i++)
        fprintf(stderr, "  %s\n", benchmarks[i].name);
    return EXIT_USAGE;
}

static const struct floor *find_floor(const char *backend)
{
    for (size_t i = 0; i < sizeof floors / sizeof floors[0]; i++)
        if (strcmp(floors[i]->backend, backend) == 0)
            return floors[i];
    return NULL;
}

static bool run(struct context *context, const struct settings *settings,
                struct result *results)
{
    if (!settings->json)
        report_head();
    for (size_t i = 0; i < COUNT; i++) {
        const struct benchmark *benchmark = &benchmarks[i];
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

static int measure(const struct settings *settings, const struct floor *floor)
{
    struct context context = { .floor = floor, .quick = settings->quick };
    struct result results[COUNT] = { 0 };
    int code = EXIT_GOOD;

    if (!context_init(&context) || !run(&context, settings, results)) {
        fprintf(stderr, "kaon bench: %s\n", context.error);
        code = EXIT_HOST;
    } else if (settings->html && !report_html(settings->html, results)) {
        fprintf(stderr, "kaon bench: cannot write %s: %s\n", settings->html,
                strerror(errno));
        code = EXIT_HOST;
    }
    context_finish(&context);
    for (size_t i = 0; i < COUNT; i++) {
        samples_free(&results[i].floor);
        samples_free(&results[i].ours);
        samples_free(&results[i].ratios);
        samples_free(&results[i].kernel);
    }
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
          "what runs the guests: kvm" },
        { 0 },
    };
    int count = options_parse(&command_bench, options, false, argc, argv);
    const struct floor *floor = find_floor(settings.backend);

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count > 0)
        return usage_error("bench", "it takes no operands: --only NAME "
                                    "chooses a benchmark");
    if (!floor)
        return usage_error("bench", "there is no backend %s: it must be kvm",
                           settings.backend);
    for (size_t i = 0; i < settings.only.count; i++)
        if (check_name(settings.only.items[i]))
            return EXIT_USAGE;
    return finish_output("bench", measure(&settings, floor));
}

const struct command command_bench = {
    .name = "bench",
    .operands = "",
    .summary = "measure this machine, against a bare floor",
    .about = "Measures calls, new sandboxes, memory and computing, in turns "
             "with the bare\n"
             "minimum that the machine allows, and prints medians. Takes less "
             "than a\n"
             "minute. Only the ratios mean something on another machine.\n",
    .run = bench_main,
};

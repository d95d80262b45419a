/* SPDX-License-Identifier: Apache-2.0 */
/* The table, and the lines of JSON. */
#include "bench.h"

#include <stdio.h>

#include "cli/json.h"

bool is_met(const struct benchmark *benchmark, const struct result *result)
{
    return benchmark->higher ? result->value >= benchmark->target
                             : result->value <= benchmark->target;
}

void report_head(void)
{
    printf("%-23s %10s %10s %-3s  %19s  %8s %9s\n", "", "floor", "ours", "",
           "ours, p10 to p90", "value", "target");
}

void report_row(const struct benchmark *benchmark, struct result *result)
{
    char floor[32] = "-", target[32], spread[32];

    if (result->skipped) {
        printf("%-23s not measured: %s\n", benchmark->name, result->skipped);
        return;
    }
    if (benchmark->floor)
        snprintf(floor, sizeof floor, "%.2f", samples_median(&result->floor));
    snprintf(spread, sizeof spread, "%.2f to %.2f",
             samples_at(&result->ours, 0.1), samples_at(&result->ours, 0.9));
    snprintf(target, sizeof target, "%s %.4g",
             benchmark->higher ? ">=" : "<=", benchmark->target);
    printf("%-23s %10s %10.2f %-3s  %19s  %8.3f %9s%s\n", benchmark->name,
           floor, samples_median(&result->ours), benchmark->unit, spread,
           result->value, target, is_met(benchmark, result) ? "" : "  missed");
    if (result->kernel.count)
        printf("%-23s %10s %10.2f KiB\n", "  of the kernel", "",
               samples_median(&result->kernel));
}

static void spread_json(struct json *json, const char *low, const char *high,
                        struct samples *samples)
{
    json_double(json, low, samples_at(samples, 0.1), 6);
    json_double(json, high, samples_at(samples, 0.9), 6);
}

void report_json(const struct benchmark *benchmark, struct result *result)
{
    struct json json = { .out = stdout };

    json_object(&json, NULL);
    json_string(&json, "name", benchmark->name);
    if (result->skipped) {
        json_string(&json, "skipped", result->skipped);
        json_object_end(&json);
        putchar('\n');
        return;
    }
    json_string(&json, "unit", benchmark->unit);
    if (benchmark->floor)
        json_double(&json, "floor", samples_median(&result->floor), 6);
    else
        json_null(&json, "floor");
    json_double(&json, "ours", samples_median(&result->ours), 6);
    json_double(&json, "value", result->value, 6);
    json_double(&json, "target", benchmark->target, 6);
    json_string(&json, "better", benchmark->higher ? "higher" : "lower");
    if (benchmark->floor)
        spread_json(&json, "floor_p10", "floor_p90", &result->floor);
    spread_json(&json, "ours_p10", "ours_p90", &result->ours);
    if (result->kernel.count)
        json_double(&json, "kernel_kib", samples_median(&result->kernel), 6);
    json_object_end(&json);
    putchar('\n');
}

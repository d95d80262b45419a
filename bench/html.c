/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page with plots: one file, no scripts, nothing from elsewhere. All of
 * its text is ours, so nothing needs escaping.
 */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/utsname.h>

/* The plots' geometry, in pixels. */
#define WIDTH 640.0
#define LEFT 60.0
#define ROW 34.0
#define BOX 16.0

static const char head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>kaon bench</title>\n"
    "<style>\n"
    "body { font: 15px/1.4 sans-serif; max-width: 46em; margin: 2em auto;\n"
    "       padding: 0 1em; color: #222; background: #fff; }\n"
    "h2 { margin: 2em 0 0; font-size: 1.1em; }\n"
    "p { margin: .3em 0; }\n"
    ".good { color: #1a7f37; } .missed { color: #c62828; }\n"
    "svg { width: 100%; height: auto; } text { font: 12px sans-serif; }\n"
    ".axis { stroke: #999; } .whisker { stroke: #555; }\n"
    ".floor { fill: #b0b8c4; } .ours { fill: #4c8dd6; }\n"
    ".median { stroke: #111; stroke-width: 2; }\n"
    ".target { stroke: #c62828; stroke-dasharray: 4 3; }\n"
    "</style></head><body>\n"
    "<h1>kaon bench</h1>\n"
    "<p>Boxes reach from the first to the third quartile, whiskers from p10 "
    "to p90; the\nblack line is the median, the dashed red one the target. "
    "Only ratios mean something\non another machine.</p>\n";

/* A step of 1, 2 or 5 times a power of ten, about five of them in `high`. */
static double step_of(double high)
{
    double step = 1;

    while (step > high / 5)
        step /= 10;
    while (step * 10 <= high / 5)
        step *= 10;
    if (step * 5 <= high / 4)
        return step * 5;
    return step * 2 <= high / 4 ? step * 2 : step;
}

struct plot {
    FILE *out;
    double high; /* the value at the right end */
};

static double x_of(const struct plot *plot, double value)
{
    double x = LEFT + (WIDTH - LEFT - 20) * value / plot->high;

    return x < WIDTH ? x : WIDTH;
}

static void box(const struct plot *plot, double top, const char *what,
                struct samples *samples)
{
    double middle = top + BOX / 2, low = x_of(plot, samples_at(samples, 0.25)),
           high = x_of(plot, samples_at(samples, 0.75)),
           median = x_of(plot, samples_median(samples));

    fprintf(plot->out,
            "<text x=\"0\" y=\"%.1f\">%s</text>\n"
            "<line class=\"whisker\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
            "y2=\"%.1f\"/>\n"
            "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
            "height=\"%.1f\"/>\n"
            "<line class=\"median\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
            "y2=\"%.1f\"/>\n",
            middle + 4, what, x_of(plot, samples_at(samples, 0.1)),
            x_of(plot, samples_at(samples, 0.9)), middle, middle, what, low,
            top, high - low, BOX, median, median, top - 2, top + BOX + 2);
}

static void axis(const struct plot *plot, double y, const char *unit)
{
    double step = step_of(plot->high);

    fprintf(plot->out,
            "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
            "y2=\"%.1f\"/>\n",
            LEFT, WIDTH, y, y);
    for (int i = 0; i * step <= plot->high; i++)
        fprintf(plot->out,
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g%s%s"
                "</text>\n",
                x_of(plot, i * step), y + 16, i * step, i ? "" : " ",
                i ? "" : unit);
}

/* Where the target lies among ours: it may be a ratio to the floor. */
static double target_of(const struct benchmark *benchmark,
                        struct result *result)
{
    if (!benchmark->floor)
        return benchmark->target;
    return benchmark->higher
               ? samples_median(&result->floor) / benchmark->target
               : samples_median(&result->floor) * benchmark->target;
}

/* The right end; noise far out may leave the picture. */
static double highest(const struct benchmark *benchmark, struct result *result)
{
    double high = target_of(benchmark, result);

    double widest = 3 * fmax(high, samples_median(&result->ours));

    high = fmax(high, samples_at(&result->ours, 0.9));
    if (benchmark->floor)
        high = fmax(high, samples_at(&result->floor, 0.9));
    return fmin(high, widest) * 1.05;
}

static void plot(FILE *out, const struct benchmark *benchmark,
                 struct result *result)
{
    const struct plot plot = { out, highest(benchmark, result) };
    double y = 4, target = x_of(&plot, target_of(benchmark, result));
    double bottom = benchmark->floor ? 2 * ROW : ROW;

    fprintf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH + 20,
            bottom + 24);
    if (benchmark->floor) {
        box(&plot, y, "floor", &result->floor);
        y += ROW;
    }
    box(&plot, y, "ours", &result->ours);
    fprintf(out,
            "<line class=\"target\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" "
            "y2=\"%.1f\"/>\n",
            target, target, bottom);
    axis(&plot, bottom, benchmark->unit);
    fputs("</svg>\n", out);
}

static void section(FILE *out, const struct benchmark *benchmark,
                    struct result *result)
{
    bool met = is_met(benchmark, result);

    fprintf(out, "<h2>%s</h2>\n<p>Ours: %s, %.4g %s.%s%s", benchmark->name,
            benchmark->ours, samples_median(&result->ours), benchmark->unit,
            benchmark->floor ? " Floor: " : "",
            benchmark->floor ? benchmark->floor : "");
    if (benchmark->floor)
        fprintf(out, ", %.4g %s.", samples_median(&result->floor),
                benchmark->unit);
    if (result->kernel.count)
        fprintf(out, " Of the kernel: %.4g KiB.",
                samples_median(&result->kernel));
    fprintf(out, "</p>\n<p>%s: <b class=\"%s\">%.3f</b>, target %s %.4g</p>\n",
            benchmark->value ? benchmark->value : "ours / floor",
            met ? "good" : "missed", result->value,
            benchmark->higher ? "&ge;" : "&le;", benchmark->target);
    plot(out, benchmark, result);
}

bool report_html(const char *path, const struct suite *suite,
                 struct result *results)
{
    FILE *out = fopen(path, "we");
    struct utsname name;
    bool good;

    if (!out)
        return false;
    fputs(head, out);
    if (uname(&name) == 0)
        fprintf(out, "<p>Kaon %s, backend %s, on %s %s, %s.</p>\n",
                kaon_version(), suite->floor->backend, name.sysname,
                name.release, name.machine);
    for (size_t i = 0; i < suite->count; i++)
        if (results[i].ours.count)
            section(out, &suite->benchmarks[i], &results[i]);
    fputs("</body></html>\n", out);
    good = !ferror(out);
    return fclose(out) == 0 && good;
}

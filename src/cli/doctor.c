/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon doctor: what this machine has, what it lacks, and what to type.
 *
 * Each check is a finding. For VMs and for processes the last one decides: it
 * runs a guest. The others explain why it could not, or what will be in the
 * way later. Changes nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <kaon.h>

#include "cli/command.h"
#include "cli/doctor.h"
#include "cli/json.h"
#include "cli/options.h"

/* Descriptors that a program with many domains may well need: 2 for each. */
#define DESCRIPTORS_GOOD 4096

/* The embedded guest_doctor.elf. */
extern const unsigned char guest_doctor[], guest_doctor_end[];

/* ---- Findings ---------------------------------------------------------- */

struct finding *found(struct diagnosis *d, const char *name, enum state state,
                      const char *format, ...)
{
    struct finding *finding = &d->findings[d->count++];
    va_list args;

    finding->about = d->about;
    finding->name = name;
    finding->state = state;
    va_start(args, format);
    vsnprintf(finding->text, sizeof finding->text, format, args);
    va_end(args);
    return finding;
}

void advise(struct finding *finding, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(finding->advice, sizeof finding->advice, format, args);
    va_end(args);
}

void read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");

    line[0] = '\0';
    if (!file)
        return;
    if (!fgets(line, (int)size, file))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(file);
}

/* ---- What is in the way later ------------------------------------------ */

static void check_descriptors(struct diagnosis *d)
{
    struct rlimit limit;
    struct finding *finding;
    bool few;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    few = limit.rlim_cur < DESCRIPTORS_GOOD;
    finding = found(d, "descriptors", few ? NOTE : GOOD,
                    "a process may have %llu descriptors open: about %llu "
                    "sandboxes with a domain of their own",
                    (unsigned long long)limit.rlim_cur,
                    (unsigned long long)limit.rlim_cur / 2);
    if (few)
        advise(finding, "for more: ulimit -n %llu",
               limit.rlim_max < 65536 ? (unsigned long long)limit.rlim_max
                                      : 65536ull);
}

static void check_huge_pages(struct diagnosis *d)
{
    char line[80];
    bool never;

    read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line);
    never = !line[0] || strstr(line, "[never]");
    if (never)
        advise(found(d, "huge pages", NOTE,
                     "transparent huge pages are off: "
                     "sandboxes of shared domains "
                     "start slower"),
               "echo madvise | sudo tee "
               "/sys/kernel/mm/transparent_hugepage/enabled");
    else
        found(d, "huge pages", GOOD, "transparent huge pages can be had (%s)",
              line);
}

static void check_overcommit(struct diagnosis *d)
{
    char line[16];

    read_line("/proc/sys/vm/overcommit_memory", line, sizeof line);
    if (line[0] == '2')
        advise(found(d, "overcommit", NOTE,
                     "the kernel never overcommits memory: each domain counts "
                     "in full, used or not"),
               "sudo sysctl vm.overcommit_memory=0, or small memory_bytes and "
               "heap_bytes");
}

/* ---- The proof --------------------------------------------------------- */

static enum kaon_status try(enum kaon_isolation isolation,
                            struct kaon_outcome *out, struct kaon_error *err)
{
    struct kaon_image *image = NULL;
    struct kaon_sandbox *sandbox = NULL;
    enum kaon_status status = kaon_image_parse(
        &image, guest_doctor, (size_t)(guest_doctor_end - guest_doctor), err);

    if (!status)
        status = kaon_sandbox_create(
            &sandbox, image,
            KAON_SANDBOX_OPTS(.deadline_ns = UINT64_C(10000000000),
                              .isolation = isolation),
            err);
    if (!status)
        status = kaon_call(sandbox, out, "add",
                           KAON_ARGS(kaon_i32(2), kaon_i32(3)), NULL, err);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return status;
}

static double milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* `place` is what it runs in: "VM" or "process". Does it run? */
static bool check_guest(struct diagnosis *d, enum kaon_isolation isolation,
                        const char *place)
{
    struct kaon_outcome out;
    struct kaon_error err;
    double before = milliseconds();

    if (try(isolation, &out, &err)) {
        found(d, "guest", BAD, "no guest can run in a %s: %s", place, err.text);
        return false;
    }
    if (out.kind != KAON_RETURNED || out.value.i32 != 5) {
        advise(found(d, "guest", BAD, "a guest went wrong in a %s (%s): %s",
                     place, kaon_outcome_name(out.kind), out.text),
               "report it as a bug, with this output");
        return false;
    }
    found(d, "guest", GOOD, "a guest ran in a new %s and answered in %.1f ms",
          place, milliseconds() - before);
    return true;
}

/* Where guests run, what the CPU and the modules show is as it should be. */
static void forget_explanations(struct diagnosis *d)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->findings[i].name, "cpu") == 0 ||
            strcmp(d->findings[i].name, "module") == 0)
            d->findings[i].advice[0] = '\0';
}

static void examine(struct diagnosis *d)
{
    d->about = ABOUT_VM;
    check_kvm(d);
    d->vm = check_guest(d, KAON_ISOLATION_VM, "VM");
    if (d->vm)
        forget_explanations(d);
    d->about = ABOUT_PROCESS;
    check_process(d);
    d->process = check_guest(d, KAON_ISOLATION_PROCESS, "process");
    d->about = ABOUT_MACHINE;
    check_descriptors(d);
    check_huge_pages(d);
    check_overcommit(d);
}

/* ---- The report -------------------------------------------------------- */

static const char *verdict(const struct diagnosis *d)
{
    if (d->vm)
        return d->process ? "Guests can run here, in VMs and in processes."
                          : "Guests can run here, in VMs.";
    if (d->process)
        return "Guests can run here in processes, but not in VMs. `kaon run` "
               "does that by\nitself; a program has to ask for it, with "
               "KAON_ISOLATION_BEST or _PROCESS.";
    return "Guests cannot run here yet.";
}

static void report_text(const struct diagnosis *d)
{
    static const char *const marks[] = { "ok", "note", "BAD" };
    static const char *const heads[] = {
        "Virtual machines (what Kaon is for):",
        "Processes (a thinner wall, where there is no hypervisor):",
        "For programs with many sandboxes:",
    };

    for (size_t i = 0; i < d->count; i++) {
        const struct finding *finding = &d->findings[i];

        if (i == 0 || finding->about != finding[-1].about)
            printf("%s%s\n", i ? "\n" : "", heads[finding->about]);
        printf("%-4s  %s\n", marks[finding->state], finding->text);
        if (finding->advice[0])
            printf("      -> %s\n", finding->advice);
    }
    printf("\n%s\n", verdict(d));
}

static void finding_json(struct json *json, const struct finding *finding)
{
    static const char *const states[] = { "good", "note", "bad" };
    static const char *const abouts[] = { "vm", "process", "machine" };

    json_object(json, NULL);
    json_string(json, "about", abouts[finding->about]);
    json_string(json, "name", finding->name);
    json_string(json, "state", states[finding->state]);
    json_string(json, "text", finding->text);
    if (finding->advice[0])
        json_string(json, "advice", finding->advice);
    else
        json_null(json, "advice");
    json_object_end(json);
}

static void report_json(const struct diagnosis *d, bool good)
{
    struct json json = { .out = stdout };

    json_object(&json, NULL);
    json_bool(&json, "ok", good);
    json_bool(&json, "vm", d->vm);
    json_bool(&json, "process", d->process);
    json_array(&json, "findings");
    for (size_t i = 0; i < d->count; i++)
        finding_json(&json, &d->findings[i]);
    json_array_end(&json);
    json_object_end(&json);
    putchar('\n');
}

static bool is_good(const struct diagnosis *d, enum kaon_isolation wanted)
{
    return (d->vm && wanted != KAON_ISOLATION_PROCESS) ||
           (d->process && wanted != KAON_ISOLATION_VM);
}

static int doctor_main(int argc, char **argv)
{
    enum kaon_isolation wanted = KAON_ISOLATION_BEST;
    bool json = false;
    const struct option options[] = {
        { "json", 0, OPTION_FLAG, &json, NULL, "print one JSON object" },
        { "isolation", 0, OPTION_ISOLATION, &wanted, "KIND",
          "what decides: vm, process, or best: either (default)" },
        { 0 },
    };
    int count = options_parse(&command_doctor, options, false, argc, argv);
    struct diagnosis d = { .count = 0 };

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count > 0)
        return usage_error("doctor", "it takes no operands");
    examine(&d);
    if (json)
        report_json(&d, is_good(&d, wanted));
    else
        report_text(&d);
    return finish_output("doctor", is_good(&d, wanted) ? EXIT_GOOD : EXIT_HOST);
}

const struct command command_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "say whether guests can run here, and what is missing",
    .about = "Looks at what VMs need (the CPU, /dev/kvm), what processes need "
             "(seccomp and\n"
             "more of the kernel) and the limits of this machine, and runs a "
             "guest in both.\n"
             "For all that is missing it says what to type.\n"
             "\n"
             "Exit status: 0 if guests can run, 1 if not.\n",
    .run = doctor_main,
};

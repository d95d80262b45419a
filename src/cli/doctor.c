/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon doctor: what this machine has, what it lacks, and what to type.
 *
 * Each check is a finding; the last one decides: it runs a guest. The others
 * explain why it could not, or what will be in the way later. Changes nothing.
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

/* The first line of a small file; "" if it cannot be read. */
static void read_line(const char *path, char *line, size_t size)
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

/* ---- The CPU and the modules ------------------------------------------- */

static bool has_word(const char *line, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = line; (at = strstr(at, word)); at += length)
        if (at != line && at[-1] == ' ' && (!at[length] || at[length] == ' '))
            return true;
    return false;
}

static void check_cpu(struct diagnosis *d)
{
    static char line[8192];
    FILE *file = fopen("/proc/cpuinfo", "re");
    bool virtual = false;

    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "flags", 5) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        d->amd = has_word(line, "svm");
        d->intel = has_word(line, "vmx");
        virtual = has_word(line, "hypervisor");
        break;
    }
    if (file)
        fclose(file);

    if (d->amd || d->intel) {
        found(d, "cpu", GOOD, "the CPU has %s%s",
              d->amd ? "AMD-V (svm)" : "Intel VT-x (vmx)",
              virtual ? ", passed on to this virtual machine" : "");
        return;
    }
    advise(found(d, "cpu", NOTE, "the CPU shows neither svm nor vmx%s",
                 virtual ? ", and this is a virtual machine" : ""),
           virtual ? "unless KVM works without them here, as with kvm_pvm: "
                     "enable nested virtualization on the host, or choose an "
                     "instance that has it"
                   : "enable virtualization (AMD-V, SVM, VT-x) in the "
                     "firmware's setup");
}

static bool module_is_there(const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "/sys/module/%s", name);
    return access(path, F_OK) == 0;
}

static void check_nested(struct diagnosis *d, const char *module)
{
    char path[80], line[16];

    snprintf(path, sizeof path, "/sys/module/%s/parameters/nested", module);
    read_line(path, line, sizeof line);
    if (line[0])
        found(d, "nested", GOOD, "guests of virtual machines on this host %s",
              strchr("1Y", line[0]) ? "can use KVM too"
                                    : "cannot use KVM; Kaon does not need it");
}

static void check_modules(struct diagnosis *d)
{
    static const char *const modules[] = { "kvm_amd", "kvm_intel", "kvm_pvm" };

    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
        if (module_is_there(modules[i])) {
            found(d, "module", GOOD, "the module %s is loaded", modules[i]);
            check_nested(d, modules[i]);
            return;
        }
    advise(found(d, "module", NOTE,
                 "none of kvm_amd, kvm_intel and kvm_pvm "
                 "shows as loaded"),
           "sudo modprobe %s", d->amd ? "kvm_amd" : "kvm_intel");
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

static enum kaon_status try(struct kaon_outcome *out, struct kaon_error *err)
{
    struct kaon_image *image = NULL;
    struct kaon_sandbox *sandbox = NULL;
    enum kaon_status status = kaon_image_parse(
        &image, guest_doctor, (size_t)(guest_doctor_end - guest_doctor), err);

    if (!status)
        status = kaon_sandbox_create(
            &sandbox, image,
            KAON_SANDBOX_OPTS(.deadline_ns = UINT64_C(10000000000)), err);
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

static void check_guest(struct diagnosis *d)
{
    struct kaon_outcome out;
    struct kaon_error err;
    double before = milliseconds();

    if (try(&out, &err)) {
        found(d, "guest", BAD, "no guest can run: %s", err.text);
    } else if (out.kind != KAON_RETURNED || out.value.i32 != 5) {
        advise(found(d, "guest", BAD, "a guest went wrong (%s): %s",
                     kaon_outcome_name(out.kind), out.text),
               "report it as a bug, with this output");
    } else {
        found(d, "guest", GOOD,
              "a guest ran in a new VM and answered in %.1f ms",
              milliseconds() - before);
        d->healthy = true;
    }
}

/* Where guests run, what the CPU and the modules show is as it should be. */
static void forget_explanations(struct diagnosis *d)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->findings[i].name, "cpu") == 0 ||
            strcmp(d->findings[i].name, "module") == 0)
            d->findings[i].advice[0] = '\0';
}

/* ---- The report -------------------------------------------------------- */

static void report_text(const struct diagnosis *d)
{
    static const char *const marks[] = { "ok", "note", "BAD" };

    for (size_t i = 0; i < d->count; i++) {
        const struct finding *finding = &d->findings[i];

        printf("%-4s  %s\n", marks[finding->state], finding->text);
        if (finding->advice[0])
            printf("      -> %s\n", finding->advice);
    }
    puts(d->healthy ? "\nGuests can run here."
                    : "\nGuests cannot run here yet.");
}

static void report_json(const struct diagnosis *d)
{
    static const char *const states[] = { "good", "note", "bad" };
    struct json json = { .out = stdout };

    json_object(&json, NULL);
    json_bool(&json, "ok", d->healthy);
    json_array(&json, "findings");
    for (size_t i = 0; i < d->count; i++) {
        const struct finding *finding = &d->findings[i];

        json_object(&json, NULL);
        json_string(&json, "name", finding->name);
        json_string(&json, "state", states[finding->state]);
        json_string(&json, "text", finding->text);
        if (finding->advice[0])
            json_string(&json, "advice", finding->advice);
        else
            json_null(&json, "advice");
        json_object_end(&json);
    }
    json_array_end(&json);
    json_object_end(&json);
    putchar('\n');
}

static int doctor_main(int argc, char **argv)
{
    bool json = false;
    const struct option options[] = {
        { "json", 0, OPTION_FLAG, &json, NULL, "print one JSON object" },
        { 0 },
    };
    int count = options_parse(&command_doctor, options, false, argc, argv);
    struct diagnosis d = { .count = 0 };

    if (count < 0)
        return count == OPTIONS_HELPED ? EXIT_GOOD : EXIT_USAGE;
    if (count > 0)
        return usage_error("doctor", "it takes no operands");
    check_cpu(&d);
    check_modules(&d);
    check_kvm(&d);
    check_descriptors(&d);
    check_huge_pages(&d);
    check_overcommit(&d);
    check_guest(&d);
    if (d.healthy)
        forget_explanations(&d);
    if (json)
        report_json(&d);
    else
        report_text(&d);
    return finish_output("doctor", d.healthy ? EXIT_GOOD : EXIT_HOST);
}

const struct command command_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "say whether guests can run here, and what is missing",
    .about = "Looks at the CPU, /dev/kvm and the limits of this machine, and "
             "runs a guest.\n"
             "For all that is missing it says what to type.\n"
             "\n"
             "Exit status: 0 if guests can run, 1 if not.\n",
    .run = doctor_main,
};

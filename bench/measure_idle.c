/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of idle guests that have run once: what the process has and holds,
 * and what the kernel keeps for it. The kernel's part is the whole machine's,
 * so many guests are made at once, and the rounds' median counts.
 */
#include "bench.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN 100
#define SHARED 2000

struct memory {
    double process, kernel; /* KiB */
};

/* Memory without a name that a descriptor of ours holds: arenas, images. */
static double read_held(void)
{
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;
    blkcnt_t blocks = 0;

    while (directory && (entry = readdir(directory))) {
        struct stat status;

        if (fstat(atoi(entry->d_name), &status) == 0 &&
            S_ISREG(status.st_mode) && status.st_nlink == 0)
            blocks += status.st_blocks;
    }
    if (directory)
        closedir(directory);
    return (double)blocks / 2;
}

/*
 * What this process has resident that is its own, and what it holds for
 * others: a guest's memory may be touched by another process alone.
 */
static bool read_process(double *kib)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long resident = 0, shared = 0;
    bool good = file && fscanf(file, "%*u %lu %lu", &resident, &shared) == 2;

    if (file)
        fclose(file);
    *kib = (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE) / 1024 +
           read_held();
    return good;
}

static bool is_kernel_memory(const char *line)
{
    static const char *const keys[] = { "Slab:", "SecPageTables:",
                                        "KernelStack:", "VmallocUsed:",
                                        "PageTables:" };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strncmp(line, keys[i], strlen(keys[i])) == 0)
            return true;
    return false;
}

static bool read_kernel(double *kib)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];

    *kib = 0;
    if (!file)
        return false;
    while (fgets(line, sizeof line, file))
        if (is_kernel_memory(line))
            *kib += strtod(strchr(line, ':') + 1, NULL);
    fclose(file);
    return *kib > 0;
}

static bool memory_now(struct context *context, struct memory *out)
{
    if (!read_process(&out->process) || !read_kernel(&out->kernel))
        return fail(context, "cannot read /proc/self/statm or /proc/meminfo");
    return true;
}

/*
 * What was closed is freed later, by and by. Waits until the kernel's memory
 * stands still, but no longer than two seconds.
 */
static void settle(void)
{
    const double still = 128; /* KiB in a tenth of a second */
    double before = 0, after = 0;

    read_kernel(&after);
    for (unsigned i = 0; i < 20; i++) {
        before = after;
        usleep(100000);
        if (!read_kernel(&after) || fabs(after - before) < still)
            break;
    }
}

/* ---- A VM each --------------------------------------------------------- */

static bool fill_bare(struct context *context, struct floor_guest *guests,
                      unsigned *made)
{
    while (*made < OWN) {
        if (!make_bare(context, &guests[*made]))
            return false;
        ++*made;
        if (!trip(context, &guests[*made - 1]))
            return false;
    }
    return true;
}

static bool idle_bare(struct context *context, struct result *result)
{
    static struct floor_guest guests[OWN];
    struct memory before, after;
    unsigned made = 0;
    bool good;

    settle();
    good = memory_now(context, &before) &&
           fill_bare(context, guests, &made) && memory_now(context, &after);
    while (made)
        context->floor->destroy(&guests[--made]);
    if (good)
        samples_add(&result->floor, (after.process - before.process +
                                     after.kernel - before.kernel) /
                                        OWN);
    return good;
}

/* ---- Ours -------------------------------------------------------------- */

static bool fill(struct context *context, struct kaon_sandbox **sandboxes,
                 unsigned count, struct kaon_domain *domain)
{
    for (unsigned i = 0; i < count; i++)
        if (!make_sandbox(context, &sandboxes[i], domain) ||
            !call_adder(context, sandboxes[i], context->add))
            return false;
    return true;
}

/* Makes `count` sandboxes, and says what each of them takes. */
static bool idle_ours(struct context *context, unsigned count,
                      struct kaon_domain *domain, struct memory *each)
{
    struct kaon_sandbox **sandboxes = calloc(count, sizeof(*sandboxes));
    struct memory before, after;
    bool good;

    if (!sandboxes)
        return fail(context, "out of memory");
    settle();
    good = memory_now(context, &before) &&
           fill(context, sandboxes, count, domain) &&
           memory_now(context, &after);
    for (unsigned i = 0; i < count; i++)
        kaon_sandbox_destroy(sandboxes[i]);
    free(sandboxes);
    if (good)
        *each = (struct memory){ (after.process - before.process) / count,
                                 (after.kernel - before.kernel) / count };
    return good;
}

bool measure_idle_own(struct context *context, struct result *result)
{
    for (unsigned round = rounds(context, 5); round; round--) {
        struct memory each;

        if (!idle_bare(context, result) ||
            !idle_ours(context, OWN, NULL, &each))
            return false;
        sample_ours(result, each.process + each.kernel);
        samples_add(&result->kernel, each.kernel);
    }
    return true;
}

/* For backends where a sandbox of a shared domain is a process all the same. */
bool measure_idle_processes(struct context *context, struct result *result)
{
    for (unsigned round = rounds(context, 5); round; round--) {
        struct kaon_domain *domain;
        struct memory each;
        bool good;

        if (!idle_bare(context, result) || !make_domain(context, &domain))
            return false;
        good = idle_ours(context, OWN, domain, &each);
        kaon_domain_destroy(domain);
        if (!good)
            return false;
        sample_ours(result, each.process + each.kernel);
        samples_add(&result->kernel, each.kernel);
    }
    return true;
}

bool measure_idle_shared(struct context *context, struct result *result)
{
    for (unsigned round = rounds(context, 3); round; round--) {
        struct kaon_domain *domain;
        struct memory each;
        bool good;

        if (!make_domain(context, &domain))
            return false;
        good = idle_ours(context, SHARED, domain, &each);
        kaon_domain_destroy(domain);
        if (!good)
            return false;
        sample_ours(result, each.process);
        samples_add(&result->kernel, each.kernel);
    }
    return true;
}

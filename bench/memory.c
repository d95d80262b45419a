/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc. Keeps nothing. */
#include "memory.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    static const char *const keys[] = {
        "Slab:", "SecPageTables:", "KernelStack:", "VmallocUsed:", "PageTables:"
    };

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

bool memory_now(struct context *context, struct memory *out)
{
    if (!read_process(&out->process) || !read_kernel(&out->kernel))
        return fail(context, "cannot read /proc/self/statm or /proc/meminfo");
    return true;
}

void memory_settle(void)
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

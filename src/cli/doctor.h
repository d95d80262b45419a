/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon doctor's findings: what there is, and what to type if it will not do.
 */
#ifndef KAON_SRC_CLI_DOCTOR_H
#define KAON_SRC_CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum state { GOOD, NOTE, BAD };

/* What a finding is about, in the order of the report. */
enum about { ABOUT_VM, ABOUT_PROCESS, ABOUT_MACHINE };

struct finding {
    enum about about;
    const char *name;
    enum state state;
    char text[320];   /* what there is */
    char advice[320]; /* what to type or do; "" if nothing */
};

struct diagnosis {
    struct finding findings[32];
    size_t count;
    enum about about; /* of the next finding */
    bool amd, intel;  /* what the CPU's flags say */
    bool vm, process; /* a guest ran there */
};

struct finding *found(struct diagnosis *d, const char *name, enum state state,
                      const char *format, ...)
    __attribute__((format(printf, 4, 5)));

void advise(struct finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The first line of a small file; "" if it cannot be read. */
void read_line(const char *path, char *line, size_t size);

/* Looks at CPU, module and /dev/kvm, up to whether it makes a VM. */
void check_kvm(struct diagnosis *d);

/* Tries each thing of the kernel that a sandbox's process is made with. */
void check_process(struct diagnosis *d);

#endif

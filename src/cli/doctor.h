/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon doctor's findings: what there is, and what to type if it will not do.
 */
#ifndef KAON_SRC_CLI_DOCTOR_H
#define KAON_SRC_CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum state { GOOD, NOTE, BAD };

struct finding {
    const char *name;
    enum state state;
    char text[320];   /* what there is */
    char advice[320]; /* what to type or do; "" if nothing */
};

struct diagnosis {
    struct finding findings[16];
    size_t count;
    bool amd, intel; /* what the CPU's flags say */
    bool healthy;    /* a guest ran */
};

struct finding *found(struct diagnosis *d, const char *name, enum state state,
                      const char *format, ...)
    __attribute__((format(printf, 4, 5)));

void advise(struct finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Looks at /dev/kvm, from whether it is there to whether it makes a VM. */
void check_kvm(struct diagnosis *d);

#endif

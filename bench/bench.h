/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon bench: what is measured, against what, and what is known of it after.
 *
 * Each benchmark takes the floor's samples and ours in turns, so that what
 * else the machine does meets both. Only ratios travel between machines.
 */
#ifndef KAON_BENCH_BENCH_H
#define KAON_BENCH_BENCH_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <kaon.h>

#include "floor.h"
#include "stats.h"

struct benchmark;

/* All that is measured of one backend. */
struct suite {
    const struct floor *floor;
    enum kaon_isolation isolation;

    /* Everything runs on one CPU, so that nobody spins. Only measurements that
     * are about spinning change that, between use_all_cpus() and
     * use_usual_cpus(). */
    bool one_cpu;

    uint64_t domain_bytes; /* of a domain for many sandboxes; 0: the default */
    unsigned copies;       /* the least that bytes there and back must take */
    const struct benchmark *benchmarks;
    size_t count;
};

extern const struct suite suite_kvm, suite_process;

/* What all benchmarks share, made before the first one. */
struct context {
    const struct suite *suite;
    const struct floor *floor; /* the suite's */
    bool quick;
    cpu_set_t cpus; /* that we may use */
    struct kaon_image *image;
    struct kaon_host_functions *functions;
    struct kaon_function add, add_by_host, echo, compute, dirty, fill, visit;

    /* Warm: a bare guest, and a sandbox with a domain of its own. Both stay
     * until the end, so that no benchmark makes the system's first VM. */
    bool have_bare;
    struct floor_guest bare;
    struct kaon_sandbox *sandbox;

    char error[320]; /* why a benchmark failed */
};

/* Needs `suite` and `quick`; ours is loaded and has run once. */
bool context_init(struct context *context);
void context_finish(struct context *context); /* also after a failed init */

struct result {
    struct samples floor; /* none: `floor` of the benchmark is NULL */
    struct samples ours;
    struct samples ratios; /* each of ours to the floor's last before it */
    struct samples kernel; /* KiB of the kernel in ours, where that matters */
    double value;          /* what the target speaks of */
    const char *skipped;   /* why it could not be measured; or NULL */
};

struct benchmark {
    const char *name;
    const char *unit;         /* of floor and ours */
    const char *ours, *floor; /* what these are */
    const char *value;        /* what the value is, if not ours / floor */
    double target;
    bool higher; /* is better */

    /* Fills the samples, or `skipped`. Returns false with context->error. */
    bool (*measure)(struct context *context, struct result *result);

    /* From the samples; NULL: the ratios' median. */
    double (*judge)(struct result *result);
};

/* The measurements, by what they are about. */
bool measure_call(struct context *context, struct result *result);
bool measure_callback(struct context *context, struct result *result);
bool measure_batch(struct context *context, struct result *result);
bool measure_spinning(struct context *context, struct result *result);
bool measure_resident_call(struct context *context, struct result *result);
bool measure_resident_callback(struct context *context, struct result *result);
bool measure_echo_small(struct context *context, struct result *result);
bool measure_echo_large(struct context *context, struct result *result);
bool measure_compute(struct context *context, struct result *result);
bool measure_restore_1(struct context *context, struct result *result);
bool measure_restore_16(struct context *context, struct result *result);
bool measure_restore_1_copied(struct context *context, struct result *result);
bool measure_restore_16_copied(struct context *context, struct result *result);
bool measure_restore_256(struct context *context, struct result *result);
bool measure_pool(struct context *context, struct result *result);
bool measure_pool_resident(struct context *context, struct result *result);
bool measure_two_threads(struct context *context, struct result *result);
bool measure_create_from(struct context *context, struct result *result);
bool measure_create_from_first(struct context *context, struct result *result);
bool measure_open(struct context *context, struct result *result);
bool measure_switch_from(struct context *context, struct result *result);
bool measure_idle_from(struct context *context, struct result *result);
bool measure_create_vm(struct context *context, struct result *result);
bool measure_create(struct context *context, struct result *result);
bool measure_create_first(struct context *context, struct result *result);
bool measure_fork(struct context *context, struct result *result);
bool measure_fork_first(struct context *context, struct result *result);
bool measure_switch(struct context *context, struct result *result);
bool measure_switch_processes(struct context *context, struct result *result);
bool measure_idle_own(struct context *context, struct result *result);
bool measure_idle_shared(struct context *context, struct result *result);
bool measure_idle_processes(struct context *context, struct result *result);

/* ---- For measurements -------------------------------------------------- */

/*
 * One more of ours, and its ratio to the floor's sample of just before. What
 * else the machine does changes by the second: neighbours share it, medians
 * of the whole run may not.
 */
void sample_ours(struct result *result, double value);

/* So many rounds, or a fifth in a hurry; at least one. */
unsigned rounds(const struct context *context, unsigned count);

/* A sandbox of the image; in a domain of its own if `domain` is NULL. */
bool make_sandbox(struct context *context, struct kaon_sandbox **out,
                  struct kaon_domain *domain);
bool make_domain(struct context *context, struct kaon_domain **out);

/* Calls a function with two i32, and checks that it adds them. */
bool call_adder(struct context *context, struct kaon_sandbox *sandbox,
                struct kaon_function function);

/* Calls any function of the image, and checks that it returned. */
bool call(struct context *context, struct kaon_sandbox *sandbox,
          struct kaon_function function, const struct kaon_value *args,
          size_t count, struct kaon_outcome *out);

bool make_bare(struct context *context, struct floor_guest *out);
bool trip(struct context *context, struct floor_guest *bare);

/*
 * For what takes two CPUs. If the suite runs on one, the warm bare guest and
 * the warm sandbox are made anew, so that they may run on all, and back.
 * use_all_cpus() may skip the benchmark: see `skipped`.
 */
bool use_all_cpus(struct context *context, struct result *result);
bool use_usual_cpus(struct context *context);

/* Says why; returns false. */
bool fail(struct context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- For reports ------------------------------------------------------- */

/* A row of the table, or a line of JSON. */
void report_head(void);
void report_row(const struct benchmark *benchmark, struct result *result);
void report_json(const struct benchmark *benchmark, struct result *result);
bool is_met(const struct benchmark *benchmark, const struct result *result);

/* One self-contained page. results[i] is of the suite's benchmarks[i], if it
 * has samples. Returns false with errno. */
bool report_html(const char *path, const struct suite *suite,
                 struct result *results);

#endif

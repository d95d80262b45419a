/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is measured of each backend, against what, and what is to be reached.
 * The same name means the same work of ours; the floor is the backend's.
 */
#include "bench.h"

static double judge_ours(struct result *result)
{
    return samples_median(&result->ours);
}

static double judge_speed(struct result *result)
{
    return 1 / samples_median(&result->ratios);
}

/* How much more two of them do in the same time. */
static double judge_threads(struct result *result)
{
    return 2 / samples_median(&result->ratios);
}

#define WARM_CALL "a warm call"

static const struct benchmark on_kvm[] = {
    { "call", "us", "a typed call with two i32", "an exit and re-entry", NULL,
      1.05, false, measure_call, NULL },
    { "call_callback", "us", "a call that calls the host", "two exits", NULL,
      1.05, false, measure_callback, NULL },
    { "resident_call", "us", "a typed call of a resident guest",
      "a spinning exchange", NULL, 2, false, measure_resident_call, NULL },
    { "resident_callback", "us", "the same that calls the host", NULL, "ours",
      2, false, measure_resident_callback, judge_ours },
    { "batch_16", "us", "16 calls in one entry", WARM_CALL, NULL, 1.3, false,
      measure_batch, NULL },
    { "restore_call_1", "us", "a restore and a call, 1 page written", WARM_CALL,
      NULL, 1.15, false, measure_restore_1, NULL },
    { "restore_call_16", "us", "a restore and a call, 16 pages written",
      WARM_CALL, NULL, 1.15, false, measure_restore_16, NULL },
    { "restore_call_256", "us", "a restored page of 256, beyond the call",
      "memcpy of a page", NULL, 2, false, measure_restore_256, NULL },
    { "two_threads", "us", "the same with 16 pages on two threads at once",
      "on one", "speed", 1.9, true, measure_two_threads, judge_threads },
    { "pool_call", "us", "a call in a clean sandbox of a pool", WARM_CALL, NULL,
      1.15, false, measure_pool, NULL },
    { "pool_call_resident", "us", "the same, up to the result, one inside",
      NULL, "ours", 2, false, measure_pool_resident, judge_ours },
    { "create_vm_first", "us", "a new sandbox and its first call",
      "a new VM and its first exit", NULL, 1.25, false, measure_create_vm,
      NULL },
    { "snapshot_open_first", "us", "a saved snapshot opened, and a first call",
      "a new VM and its first exit", NULL, 1.3, false, measure_open, NULL },
    { "create_in_domain", "us", "a new sandbox in a living domain", NULL,
      "ours", 10, false, measure_create, judge_ours },
    { "create_in_domain_first", "us", "the same and its first call", WARM_CALL,
      NULL, 3.0, false, measure_create_first, NULL },
    { "create_from_64MiB", "us", "a new sandbox from a 64 MiB snapshot", NULL,
      "ours", 15, false, measure_create_from, judge_ours },
    { "create_from_64MiB_first", "us", "the same and its first call", WARM_CALL,
      NULL, 6, false, measure_create_from_first, NULL },
    { "switch_1000", "us", "a call to the next of 1000 sandboxes", WARM_CALL,
      NULL, 1.3, false, measure_switch, NULL },
    { "switch_from_64MiB", "us", "a call to the next of 1000 from a snapshot",
      WARM_CALL, NULL, 1.3, false, measure_switch_from, NULL },
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
    { "idle_kib_from_64MiB", "KiB", "an idle sandbox of 10,000 from a snapshot",
      NULL, "ours", 160, false, measure_idle_from, judge_ours },
};

const struct suite suite_kvm = {
    .floor = &floor_kvm,
    .isolation = KAON_ISOLATION_VM,
    .domain_bytes = UINT64_C(4) << 30,
    .copies = 2,
    .benchmarks = on_kvm,
    .count = sizeof on_kvm / sizeof on_kvm[0],
};

#define NEW_PROCESS "a new process, locked in"
#define NEW_PROCESS_FIRST "a new process and its first hand-over"

static const struct benchmark on_process[] = {
    { "call", "us", "a typed call with two i32", "a hand-over and back", NULL,
      1.25, false, measure_call, NULL },
    { "call_callback", "us", "a call that calls the host", "two hand-overs",
      NULL, 1.25, false, measure_callback, NULL },
    { "resident_call", "us", "a typed call of a resident guest",
      "a spinning hand-over", NULL, 2, false, measure_resident_call, NULL },
    { "resident_callback", "us", "the same that calls the host", NULL, "ours",
      2, false, measure_resident_callback, judge_ours },
    { "batch_16", "us", "16 calls in one entry", WARM_CALL, NULL, 1.3, false,
      measure_batch, NULL },
    { "spinning_call", "us", "a typed call, both sides awake",
      "a spinning hand-over", NULL, 2, false, measure_spinning, NULL },
    { "restore_call_1", "us", "a restore and a call, 1 page written",
      "memcpy of it and a hand-over", NULL, 1.25, false,
      measure_restore_1_copied, NULL },
    { "restore_call_16", "us", "a restore and a call, 16 pages written",
      "memcpy of these and a hand-over", NULL, 1.25, false,
      measure_restore_16_copied, NULL },
    { "restore_call_256", "us", "a restored page of 256, beyond the call",
      "memcpy of a page", NULL, 2, false, measure_restore_256, NULL },
    { "create_vm_first", "us", "a new sandbox and its first call",
      NEW_PROCESS_FIRST, NULL, 1.25, false, measure_create_vm, NULL },
    { "snapshot_open_first", "us", "a saved snapshot opened, and a first call",
      NEW_PROCESS_FIRST, NULL, 1.3, false, measure_open, NULL },
    { "create_in_domain", "us", "a new sandbox in a living domain", NEW_PROCESS,
      NULL, 1.25, false, measure_fork, NULL },
    { "create_in_domain_first", "us", "the same and its first call",
      NEW_PROCESS_FIRST, NULL, 1.25, false, measure_fork_first, NULL },
    { "switch_1000", "us", "a call to the next of 1000 sandboxes",
      "a hand-over to the next of 1000 processes", NULL, 1.25, false,
      measure_switch_processes, NULL },
    { "echo_1KiB", "us", "1 KiB to the guest and back",
      "a warm call and three memcpy", NULL, 1.2, false, measure_echo_small,
      NULL },
    { "echo_1MiB", "us", "1 MiB to the guest and back",
      "a warm call and three memcpy", NULL, 1.2, false, measure_echo_large,
      NULL },
    { "compute", "ms", "computing in the guest", "the same on the host",
      "speed", 0.97, true, measure_compute, judge_speed },
    { "idle_kib_own", "KiB", "an idle sandbox with its own domain",
      "an idle process", NULL, 1.25, false, measure_idle_own, NULL },
    { "idle_kib_shared", "KiB", "an idle sandbox of 100 in a domain",
      "an idle process", NULL, 1.25, false, measure_idle_processes, NULL },
};

const struct suite suite_process = {
    .floor = &floor_process,
    .isolation = KAON_ISOLATION_PROCESS,
    .one_cpu = true,
    .domain_bytes = UINT64_C(32) << 30, /* each takes all it may have at once */
    .copies = 3, /* what a running guest can change is copied out first */
    .benchmarks = on_process,
    .count = sizeof on_process / sizeof on_process[0],
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/isolation.h - the same tests on each backend
 *
 * KAON_TEST_ISOLATION=process in the environment makes every sandbox and
 * domain that a test creates without a word on isolation one of processes. It
 * takes support/isolation.wrap among the linker's arguments.
 *
 * KAON_TEST_RESIDENT=yes makes every sandbox resident, as far as there are
 * vCPUs, and more of those.
 */
#ifndef KAON_TESTS_ISOLATION_H
#define KAON_TESTS_ISOLATION_H

#include <stdbool.h>
#include <stdint.h>

/* Do guests run in processes? */
bool isolation_is_process(void);

/* Are guests resident? */
bool isolation_is_resident(void);

/* For the few tests that are about a hypervisor. Give the reason. */
#define SKIP_ON_PROCESSES(reason)                      \
    do {                                               \
        if (isolation_is_process())                    \
            harness_skip("on processes %s", (reason)); \
    } while (0)

/* Does the host copy strings and bytes of a guest, as it may run on? */
bool isolation_copies(void);

/* For what another thread at work, or its vCPU, would spoil. */
#define SKIP_ON_RESIDENTS(reason)                  \
    do {                                           \
        if (isolation_is_resident())               \
            harness_skip("resident %s", (reason)); \
    } while (0)

/*
 * For a domain that is to hold what fits into `bytes` under a hypervisor,
 * which takes pages as they are touched: in processes a sandbox claims all
 * that its sizes allow, at once.
 */
uint64_t isolation_memory(uint64_t bytes);

#endif

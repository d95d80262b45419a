/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/hostile/stage.h - where hostile guests are let loose
 *
 * A stage is a domain with one vCPU and a living neighbour in it, the witness.
 * Whatever a hostile guest did to the vCPU, the witness runs on it next, and
 * says whether its registers, FPU and host calls are what they have to be.
 *
 * Each function fails the running test if what it promises does not hold. So
 * a test needs no cleanup of its own on the way out.
 */
#ifndef KAON_TESTS_STAGE_H
#define KAON_TESTS_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <kaon.h>

#include "support/isolation.h"

struct stage {
    struct kaon_domain *domain;
    struct kaon_host_functions *functions;
    struct kaon_image *image;    /* of the hostile guest */
    struct kaon_snapshot *clean; /* of a sandbox of it, initialised */
    struct kaon_sandbox *witness;
    uint64_t seed; /* of the witness's next sum */
};

/* Opens a stage for the guest of that name, NULL for none. */
void stage_open(struct stage *stage, const char *guest);
void stage_close(struct stage *stage);

/* A new sandbox of the stage's image, in its domain. */
struct kaon_sandbox *stage_sandbox(const struct stage *stage);
struct kaon_sandbox *stage_sandbox_of(const struct stage *stage,
                                      struct kaon_image *image);

/*
 * Makes a call, with a deadline of a second. The status must be KAON_OK: no
 * guest makes the host fail. The sandbox must be poisoned or ready as the
 * outcome says.
 */
void stage_call(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
                const char *function, const struct kaon_value *args,
                size_t count);

/* The same with a deadline in milliseconds. */
void stage_call_for(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
                    const char *function, const struct kaon_value *args,
                    size_t count, unsigned milliseconds);

/*
 * One call in a sandbox of its own, and then the witness. Whatever the guest
 * did, a restore then makes its sandbox answer as it should, and the witness is
 * fine once more.
 */
void stage_try(struct stage *stage, struct kaon_outcome *out,
               const char *function, const struct kaon_value *args,
               size_t count);

/* Puts a sandbox of the stage's image back, and calls it. */
void stage_heal(struct stage *stage, struct kaon_sandbox *sandbox);

/* The witness is as it has to be. */
void stage_check(struct stage *stage);

/* Where a page is, seen by a guest of the stage: the host's supervisor pages
 * behind the gate. */
uint64_t stage_system_page(unsigned index);

/* Is this CPU QEMU's emulator? It lacks some checks that CPUs make. */
bool stage_is_emulated(void);

/* What a fault was, for assertions that speak. */
void assert_fault(const struct kaon_outcome *out, enum kaon_fault_kind kind,
                  enum kaon_access access);

/* As many rounds of a random test: `base`, multiplied by KAON_TEST_SCALE if
 * that is set, fewer on slow machines. */
unsigned stage_rounds(unsigned base);

/* The seed of a random test: KAON_TEST_SEED, or one of this moment. Prints
 * it. */
uint64_t stage_seed(const char *test);

/* The next number of a sequence (SplitMix64). */
uint64_t stage_random(uint64_t *state);

/*
 * An image of machine code alone: `code` is mapped executable at CODE_START +
 * `offset` of a page-aligned segment that ends with the page, and is the
 * entry. Release with kaon_image_destroy(). Functions are exported in order,
 * so that the frame at entry says which is called.
 */
#define CODE_START UINT64_C(0x700000)
struct elf_function;
struct kaon_image *code_image(const void *code, size_t size, size_t offset,
                              const struct elf_function *exports,
                              uint32_t export_count);

#endif

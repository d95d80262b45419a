/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance as a guest: bytes that nobody meant as instructions. Each such guest
 * ends in an outcome, and its neighbour does not notice. Row 17.
 */
#include <stdio.h>
#include <string.h>

#include "stage.h"
#include "support/elf_builder.h"
#include "support/harness.h"

#define PAGE 4096u

/* Each image takes a gibibyte of the addresses of its VM, of which emulated
 * machines have a thousand. */
#define PER_STAGE 64

static const struct elf_function run = { "run", KAON_TYPE_VOID, 0, { 0 } };

/* Instructions that chance alone would seldom make. */
static const struct {
    unsigned char size, bytes[11];
} spices[] = {
    { 2, { 0xe7, 0x40 } },                             /* out %eax, $0x40 */
    { 2, { 0xe6, 0x8e } },                             /* out %al, $0x8e */
    { 2, { 0xe5, 0x40 } },                             /* in $0x40, %eax */
    { 2, { 0xf3, 0x6f } },                             /* rep outsl */
    { 2, { 0xf3, 0x6d } },                             /* rep insl */
    { 4, { 0x66, 0xba, 0x40, 0x00 } },                 /* mov $0x40, %dx */
    { 2, { 0x0f, 0x05 } },                             /* syscall */
    { 2, { 0x0f, 0x34 } },                             /* sysenter */
    { 2, { 0xcd, 0x80 } },                             /* int $0x80 */
    { 1, { 0xcc } },                                   /* int3 */
    { 1, { 0xf1 } },                                   /* int1 */
    { 3, { 0x0f, 0x01, 0xd9 } },                       /* vmmcall */
    { 3, { 0x0f, 0x01, 0xc1 } },                       /* vmcall */
    { 2, { 0x0f, 0xa2 } },                             /* cpuid */
    { 2, { 0x0f, 0x31 } },                             /* rdtsc */
    { 3, { 0x0f, 0x01, 0xd0 } },                       /* xgetbv */
    { 2, { 0x48, 0xcb } },                             /* lretq */
    { 2, { 0x48, 0xcf } },                             /* iretq */
    { 1, { 0x9d } },                                   /* popf */
    { 2, { 0x8e, 0xd0 } },                             /* mov %eax, %ss */
    { 2, { 0x8e, 0xe8 } },                             /* mov %eax, %gs */
    { 5, { 0xf3, 0x48, 0x0f, 0xae, 0xd0 } },           /* wrfsbase %rax */
    { 4, { 0x0f, 0xae, 0x6f, 0x00 } },                 /* xrstor 0(%rdi) */
    { 3, { 0x0f, 0xae, 0x0f } },                       /* fxrstor (%rdi) */
    { 3, { 0x48, 0x89, 0xfe } },                       /* mov %rdi, %rsi */
    { 3, { 0x48, 0x89, 0xf8 } },                       /* mov %rdi, %rax */
    { 7, { 0xc7, 0x87, 0x80, 0, 0, 0, 2 } },           /* a RESULT, nearly */
    { 10, { 0xc7, 0x87, 0x80, 0, 0, 0, 5, 0, 0, 0 } }, /* a HOST_CALL */
    { 10, { 0xc7, 0x87, 0x84, 0, 0, 0, 0xff, 0xff, 0xff, 0xff } },
    { 2, { 0xeb, 0xfe } },       /* jmp to itself */
    { 2, { 0xeb, 0xf0 } },       /* jmp backwards */
    { 2, { 0xf3, 0x90 } },       /* pause */
    { 2, { 0xf3, 0xaa } },       /* rep stosb */
    { 2, { 0xf3, 0xa4 } },       /* rep movsb */
    { 3, { 0xc8, 0xff, 0x1f } }, /* enter, with what follows */
    { 1, { 0xf0 } },             /* lock */
    { 1, { 0x67 } },             /* address size */
};

static void make_code(unsigned char *code, size_t size, uint64_t *chance)
{
    uint64_t spice = stage_random(chance) % 4; /* none, or one of 8, 16, 32 */

    for (size_t i = 0; i < size; i++)
        code[i] = (unsigned char)stage_random(chance);
    for (size_t i = 0; spice && i + 16 < size;
         i += stage_random(chance) % (UINT64_C(4) << spice)) {
        size_t k = stage_random(chance) % (sizeof spices / sizeof spices[0]);

        memcpy(code + i, spices[k].bytes, spices[k].size);
        i += spices[k].size;
    }
}

static void call_code(struct kaon_sandbox *sandbox, uint64_t seed,
                      unsigned *outcomes)
{
    struct kaon_outcome out;
    struct kaon_error err;
    uint64_t limit = 20 * UINT64_C(1000000) * harness_slowness();

    if (kaon_call(sandbox, &out, "run", KAON_NO_ARGS,
                  KAON_CALL_OPTS(.deadline_ns = limit), &err))
        fail_msg("code of %#llx made the host fail: %s",
                 (unsigned long long)seed, err.text);
    if (out.kind > KAON_OUT_OF_MEMORY || out.kind == KAON_CANCELLED)
        fail_msg("code of %#llx: %s", (unsigned long long)seed,
                 kaon_outcome_name(out.kind));
    outcomes[out.kind]++;
}

static struct kaon_image *random_image(uint64_t seed)
{
    unsigned char code[PAGE];
    uint64_t chance = seed;

    make_code(code, sizeof code, &chance);
    return code_image(code, sizeof code, 0, &run, 1);
}

static void tell_outcomes(const unsigned *outcomes)
{
    for (unsigned i = 0; i <= KAON_OUT_OF_MEMORY; i++)
        if (outcomes[i])
            printf("# %s: %u\n", kaon_outcome_name(i), outcomes[i]);
    assert_true(outcomes[KAON_FAULT] > 0);
}

static void random_code_in_one_domain_ends_in_an_outcome(void **state)
{
    uint64_t chance = stage_seed("random code in one domain");
    unsigned rounds = stage_rounds(4000);
    unsigned outcomes[KAON_OUT_OF_MEMORY + 1] = { 0 };
    struct stage stage;

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t seed = stage_random(&chance);
        struct kaon_image *image = random_image(seed);
        struct kaon_sandbox *sandbox;

        if (i % PER_STAGE == 0)
            stage_open(&stage, NULL);
        sandbox = stage_sandbox_of(&stage, image);
        call_code(sandbox, seed, outcomes);
        stage_check(&stage);
        if (kaon_sandbox_state(sandbox) == KAON_SANDBOX_READY) {
            call_code(sandbox, seed, outcomes);
            stage_check(&stage);
        }
        kaon_sandbox_destroy(sandbox);
        kaon_image_destroy(image);
        if (i % PER_STAGE == PER_STAGE - 1 || i == rounds - 1)
            stage_close(&stage);
    }
    tell_outcomes(outcomes);
}

static void random_code_in_domains_of_its_own_ends_in_an_outcome(void **state)
{
    uint64_t chance = stage_seed("random code in domains of its own");
    unsigned rounds = stage_rounds(300);
    unsigned outcomes[KAON_OUT_OF_MEMORY + 1] = { 0 };

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t seed = stage_random(&chance);
        struct kaon_image *image = random_image(seed);
        struct kaon_sandbox *sandbox;
        struct kaon_error err;

        if (kaon_sandbox_create(&sandbox, image,
                                KAON_SANDBOX_OPTS(.heap_bytes = 1 << 20), &err))
            fail_msg("no sandbox: %s", err.text);
        kaon_image_destroy(image);
        call_code(sandbox, seed, outcomes);
        kaon_sandbox_destroy(sandbox);
    }
    tell_outcomes(outcomes);
}

/*
 * Each first byte, and each second byte behind 0f, as the last of the text:
 * what wants more bytes finds an unmapped page. One sandbox for all that need
 * no operand, so the deadline is short.
 */
static void an_instruction_cut_off_by_the_texts_end_faults(void **state)
{
    unsigned outcomes[KAON_OUT_OF_MEMORY + 1] = { 0 };
    unsigned step = harness_slowness() > 4 ? 7 : 1;
    struct stage stage;

    (void)state;
    for (unsigned i = 0; i < 512; i += step) {
        const unsigned char code[] = { 0x0f, (unsigned char)i };
        size_t size = i < 256 ? 1 : 2;
        struct kaon_image *image =
            code_image(code + 2 - size, size, PAGE - size, &run, 1);
        struct kaon_sandbox *sandbox;

        stage_open(&stage, NULL);
        sandbox = stage_sandbox_of(&stage, image);
        call_code(sandbox, i, outcomes);
        stage_check(&stage);
        kaon_sandbox_destroy(sandbox);
        kaon_image_destroy(image);
        stage_close(&stage);
    }
    assert_int_equal(outcomes[KAON_RETURNED], 0);
    tell_outcomes(outcomes);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW_LIMIT(17, 300, random_code_in_one_domain_ends_in_an_outcome),
    TEST_ROW_LIMIT(17, 300,
                   random_code_in_domains_of_its_own_ends_in_an_outcome),
    TEST_ROW_LIMIT(17, 120, an_instruction_cut_off_by_the_texts_end_faults),
)

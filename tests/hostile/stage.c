/* SPDX-License-Identifier: Apache-2.0 */
/* The stage of the hostile tests. Owns what struct stage names. */
#include "stage.h"

#include <cpuid.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/elf_builder.h"
#include "support/harness.h"

#include "guests/hostile_witness.h"

#define PAGE UINT64_C(4096)
#define ARENA (UINT64_C(64) << 20)

/* ---- The witness ------------------------------------------------------- */

static int host_mix(struct kaon_host_call *call, const struct kaon_value *args,
                    struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = kaon_u64(witness_mix(args[0].u64));
    return 0;
}

static bool overlap(const void *a, size_t a_size, const void *b, size_t b_size)
{
    uintptr_t from = (uintptr_t)a, other = (uintptr_t)b;

    return a_size && b_size && from < other + b_size && other < from + a_size;
}

/*
 * What the hostile guests may call, besides printing: reads every byte that
 * it is given, and answers with some of them, built in place if `room` is
 * odd.
 */
static int host_take(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    const char *text = args[0].span.data;
    const unsigned char *bytes = args[1].span.data;
    size_t size = args[1].span.size, sum = 0;
    uint32_t room = args[2].u32;
    unsigned char *buffer;

    (void)user;
    if (strlen(text) != args[0].span.size)
        return kaon_host_fail(call, 1, "the string's length is wrong");
    for (size_t i = 0; i < size; i++)
        sum += bytes[i];
    if (room % 16 == 0)
        return kaon_host_fail(call, (int32_t)sum, text);
    if (room % 2 == 0) {
        *result = kaon_bytes(bytes, size);
        return 0;
    }
    buffer = kaon_host_buffer(call, room % 100000);
    if (!buffer)
        return kaon_host_fail(call, 2, "no room for a buffer");
    /* Or a guest could change its arguments after they were looked at. */
    if (overlap(buffer, room % 100000, text, args[0].span.size + 1) ||
        overlap(buffer, room % 100000, bytes, size))
        fail_msg("a host function's buffer lies over its arguments");
    memset(buffer, (int)sum, room % 100000);
    *result = kaon_bytes(buffer, room % 100000);
    return 0;
}

static struct kaon_host_functions *make_functions(void)
{
    struct kaon_host_functions *set;

    assert_int_equal(kaon_host_functions_create(&set, NULL), KAON_OK);
    assert_int_equal(kaon_host_functions_add(set, "HostMix", KAON_TYPE_U64,
                                             KAON_PARAMS(KAON_TYPE_U64),
                                             host_mix, NULL, NULL),
                     KAON_OK);
    assert_int_equal(
        kaon_host_functions_add(
            set, "HostTake", KAON_TYPE_BYTES,
            KAON_PARAMS(KAON_TYPE_STRING, KAON_TYPE_BYTES, KAON_TYPE_U32),
            host_take, NULL, NULL),
        KAON_OK);
    assert_int_equal(kaon_host_functions_print(set, NULL, NULL, NULL), KAON_OK);
    return set;
}

static struct kaon_image *open_guest(const char *name)
{
    struct kaon_image *image;
    struct kaon_error err;

    if (kaon_image_open(&image, harness_guest(name), &err))
        fail_msg("%s: %s", name, err.text);
    return image;
}

/* ---- The stage --------------------------------------------------------- */

struct kaon_sandbox *stage_sandbox_of(const struct stage *stage,
                                      struct kaon_image *image)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_sandbox_create(
            &sandbox, image,
            KAON_SANDBOX_OPTS(.domain = stage->domain,
                              .host_functions = stage->functions,
                              .heap_bytes = 1 << 20, .stack_bytes = 64 << 10,
                              .exchange_bytes = 64 << 10),
            &err))
        fail_msg("no sandbox: %s", err.text);
    return sandbox;
}

struct kaon_sandbox *stage_sandbox(const struct stage *stage)
{
    return stage_sandbox_of(stage, stage->image);
}

void stage_open(struct stage *stage, const char *guest)
{
    struct kaon_image *witness = open_guest("hostile_witness");
    struct kaon_error err;

    *stage = (struct stage){ .seed = 1 };
    if (kaon_domain_create(
            &stage->domain,
            KAON_DOMAIN_OPTS(.memory_bytes = ARENA, .vcpus_max = 1), &err))
        fail_msg("no domain: %s", err.text);
    stage->functions = make_functions();
    stage->witness = stage_sandbox_of(stage, witness);
    kaon_image_destroy(witness);
    if (guest)
        stage->image = open_guest(guest);
    stage_check(stage);
}

void stage_close(struct stage *stage)
{
    stage_check(stage);
    kaon_sandbox_destroy(stage->witness);
    kaon_snapshot_destroy(stage->clean);
    kaon_image_destroy(stage->image);
    kaon_host_functions_destroy(stage->functions);
    kaon_domain_destroy(stage->domain);
}

void stage_call_for(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
                    const char *function, const struct kaon_value *args,
                    size_t count, unsigned milliseconds)
{
    uint64_t nanoseconds = milliseconds * UINT64_C(1000000);
    struct kaon_error err = { .text = "" };
    enum kaon_status status =
        kaon_call(sandbox, out, function, args, count,
                  KAON_CALL_OPTS(.deadline_ns = nanoseconds), &err);

    if (status)
        fail_msg("%s made the host fail: %s: %s", function,
                 kaon_status_name(status), err.text);
    assert_in_range(out->kind, KAON_RETURNED, KAON_OUT_OF_MEMORY);
    assert_int_equal(kaon_sandbox_state(sandbox), out->kind >= KAON_ABORT
                                                      ? KAON_SANDBOX_POISONED
                                                      : KAON_SANDBOX_READY);
    if (out->kind != KAON_RETURNED)
        assert_non_null(memchr(out->text, 0, sizeof out->text));
}

void stage_call(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
                const char *function, const struct kaon_value *args,
                size_t count)
{
    stage_call_for(sandbox, out, function, args, count,
                   1000 * harness_slowness());
}

void stage_try(struct stage *stage, struct kaon_outcome *out,
               const char *function, const struct kaon_value *args,
               size_t count)
{
    struct kaon_sandbox *sandbox = stage_sandbox(stage);

    stage_call(sandbox, out, function, args, count);
    stage_check(stage);
    stage_heal(stage, sandbox);
    stage_check(stage);
    kaon_sandbox_destroy(sandbox);
}

/* Every guest answers to that. */
static void initialise(struct kaon_sandbox *sandbox)
{
    struct kaon_outcome out;
    struct kaon_error err;

    if (kaon_sandbox_init(sandbox, &out, NULL, &err))
        fail_msg("a clean guest made the host fail: %s", err.text);
    if (out.kind != KAON_RETURNED)
        fail_msg("a clean guest: %s: %s", kaon_outcome_name(out.kind),
                 out.text);
}

static void take_clean(struct stage *stage)
{
    struct kaon_sandbox *sandbox = stage_sandbox(stage);
    struct kaon_error err;

    initialise(sandbox);
    if (kaon_snapshot_take(&stage->clean, sandbox, &err))
        fail_msg("no snapshot: %s", err.text);
    kaon_sandbox_destroy(sandbox);
}

void stage_heal(struct stage *stage, struct kaon_sandbox *sandbox)
{
    struct kaon_error err;

    if (!stage->clean)
        take_clean(stage);
    if (kaon_sandbox_restore(sandbox, stage->clean, &err))
        fail_msg("no restore: %s", err.text);
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_READY);
    initialise(sandbox);
}

void stage_check(struct stage *stage)
{
    uint64_t seed = stage->seed++;
    struct kaon_outcome out;
    struct kaon_error err;

    if (kaon_call(stage->witness, &out, "witness", KAON_ARGS(kaon_u64(seed)),
                  NULL, &err))
        fail_msg("the neighbour's call made the host fail: %s", err.text);
    if (out.kind != KAON_RETURNED)
        fail_msg("the neighbour saw: %s: %s", kaon_outcome_name(out.kind),
                 out.text);
    assert_true(out.value.u64 == witness_sum(seed, witness_mix(seed)));
}

uint64_t stage_system_page(unsigned index)
{
    return KAON_GATE_ADDRESS + (index + 1) * PAGE;
}

bool stage_is_emulated(void)
{
    unsigned eax, ebx, ecx, edx, name[3];

    __cpuid(1, eax, ebx, ecx, edx);
    if (!(ecx & (1u << 31))) /* not under a hypervisor */
        return false;
    __cpuid(0x40000000, eax, name[0], name[1], name[2]);
    return memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
}

void assert_fault(const struct kaon_outcome *out, enum kaon_fault_kind kind,
                  enum kaon_access access)
{
    if (out->kind != KAON_FAULT)
        fail_msg("no fault: %s: %s", kaon_outcome_name(out->kind), out->text);
    if (out->fault.kind != kind || out->fault.access != access)
        fail_msg("not a %s, access %d, but: %s", kaon_fault_name(kind),
                 (int)access, out->text);
}

/* ---- Chance ------------------------------------------------------------ */

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

unsigned stage_rounds(unsigned base)
{
    uint64_t rounds =
        base * from_environment("KAON_TEST_SCALE", 1) / harness_slowness();

    return rounds ? (unsigned)rounds : 1;
}

uint64_t stage_seed(const char *test)
{
    struct timespec now;
    uint64_t seed;

    clock_gettime(CLOCK_REALTIME, &now);
    seed = from_environment("KAON_TEST_SEED", (uint64_t)now.tv_sec * 1000003 +
                                                  (uint64_t)now.tv_nsec);
    printf("# %s: KAON_TEST_SEED=%#" PRIx64 "\n", test, seed);
    return seed;
}

uint64_t stage_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* ---- Machine code as a guest ------------------------------------------- */

struct kaon_image *code_image(const void *code, size_t size, size_t offset,
                              const struct elf_function *exports,
                              uint32_t export_count)
{
    struct elf_file *file = elf_build(&(struct elf_spec){
        .exports = exports,
        .export_count = export_count,
        .spare_headers = 1,
    });
    size_t memory = (offset + size + PAGE - 1) & -PAGE, total;
    struct kaon_image *image;
    struct kaon_error err;
    unsigned char *bytes;

    *elf_segment(file, 3) = (Elf64_Phdr){
        .p_type = PT_LOAD,
        .p_flags = PF_R | PF_X,
        .p_offset = file->size,
        .p_vaddr = CODE_START,
        .p_filesz = memory,
        .p_memsz = memory,
    };
    elf_info(file)->entry = CODE_START + offset;
    total = file->size + memory;
    bytes = calloc(1, total);
    assert_non_null(bytes);
    memcpy(bytes, file->bytes, file->size);
    memcpy(bytes + file->size + offset, code, size);
    if (kaon_image_parse(&image, bytes, total, &err))
        fail_msg("the image of code is refused: %s", err.text);
    free(bytes);
    free(file);
    return image;
}

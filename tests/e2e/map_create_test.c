/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings that a sandbox is created with. */
#include "e2e/e2e.h"

#include <stdlib.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)

/*
 * What each sandbox of these tests is given, in this order: a file to read, a
 * buffer to copy and one to write. Their first bytes are 10, 11 and 12.
 */
struct things {
    struct kaon_image *image;
    struct kaon_host_functions *functions;
    struct kaon_region *regions[3];
    uint64_t at[3];
    struct kaon_sandbox_mapping list[3];
};

static int place_of(struct kaon_host_call *call, const struct kaon_value *args,
                    struct kaon_value *result, void *user)
{
    const struct things *things = user;

    (void)call;
    *result = kaon_u64(args[0].u32 < 3 ? things->at[args[0].u32] : 0);
    return 0;
}

static struct kaon_region *file_region(uint64_t size, int first)
{
    char path[] = "/tmp/kaon-map-create-XXXXXX";
    unsigned char byte = (unsigned char)first;
    struct kaon_region *region = NULL;
    struct kaon_error err = { 0 };
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    ASSERT_OK(kaon_region_open_fd(&region, fd, 0, 0, &err));
    close(fd);
    return region;
}

static struct kaon_region *buffer_region(uint64_t size, int first)
{
    struct kaon_region *region = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_region_create(&region, size, &err));
    *(unsigned char *)kaon_region_data(region) = (unsigned char)first;
    return region;
}

/* The lists point to it: it must not move. */
static void begin(struct things *things)
{
    static const struct kaon_map_opts opts[] = {
        { .size = sizeof *opts, .mode = KAON_MAP_READ },
        { .size = sizeof *opts, .mode = KAON_MAP_COPY },
        { .size = sizeof *opts, .mode = KAON_MAP_WRITE },
    };
    struct kaon_error err = { 0 };

    *things = (struct things){ .image = e2e_image("map_init") };
    ASSERT_OK(kaon_host_functions_create(&things->functions, &err));
    ASSERT_OK(kaon_host_functions_add(things->functions, "place_of",
                                      KAON_TYPE_U64, KAON_PARAMS(KAON_TYPE_U32),
                                      place_of, things, &err));
    things->regions[0] = file_region(5 * PAGE, 10);
    things->regions[1] = buffer_region(3 * PAGE, 11);
    things->regions[2] = buffer_region(2 * PAGE, 12);
    for (int i = 0; i < 3; i++)
        things->list[i] = (struct kaon_sandbox_mapping){
            .region = things->regions[i],
            .opts = &opts[i],
            .address = &things->at[i],
        };
}

static void end(struct things *things)
{
    for (int i = 0; i < 3; i++)
        kaon_region_destroy(things->regions[i]);
    kaon_host_functions_destroy(things->functions);
    kaon_image_destroy(things->image);
}

#define OPTS(things, ...)                                             \
    KAON_SANDBOX_OPTS(.host_functions = (things)->functions,          \
                      .mappings = (things)->list, .mapping_count = 3, \
                      ##__VA_ARGS__)

static struct kaon_domain *make_domain(bool shared)
{
    struct kaon_domain *domain = NULL;
    struct kaon_error err = { 0 };

    if (shared)
        ASSERT_OK(kaon_domain_create(
            &domain,
            KAON_DOMAIN_OPTS(.memory_bytes = isolation_memory(64 * MIB)),
            &err));
    return domain;
}

static uint32_t peek(struct kaon_sandbox *sandbox, uint64_t address)
{
    return (uint32_t)e2e_ask(sandbox, "read_byte",
                             KAON_ARGS(kaon_u64(address)));
}

static void poke(struct kaon_sandbox *sandbox, uint64_t address, uint32_t value)
{
    e2e_ask(sandbox, "write_byte",
            KAON_ARGS(kaon_u64(address), kaon_u32(value)));
}

static void assert_faults(struct kaon_sandbox *sandbox, uint64_t address)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, "read_byte",
                        KAON_ARGS(kaon_u64(address)), NULL, &err));
    ASSERT_OUTCOME(KAON_FAULT, out);
    assert_int_equal(out.fault.address, address);
}

/* As the guest left it when it started. */
static void assert_fresh(const struct things *things,
                         struct kaon_sandbox *sandbox)
{
    const unsigned char *buffer = kaon_region_data(things->regions[1]);
    const unsigned char *shared = kaon_region_data(things->regions[2]);

    assert_int_equal(e2e_ask(sandbox, "seen_at_start", KAON_ARGS(kaon_u32(0))),
                     10);
    assert_int_equal(e2e_ask(sandbox, "seen_at_start", KAON_ARGS(kaon_u32(1))),
                     11);
    for (int i = 0; i < 3; i++)
        assert_int_equal(peek(sandbox, things->at[i]), 10 + i);
    assert_int_equal(peek(sandbox, things->at[1] + 1), 41);
    assert_int_equal(peek(sandbox, things->at[1] + PAGE), 0);
    assert_int_equal(buffer[1], 0);
    assert_int_equal(shared[1], 42);
}

/* ---- One sandbox ------------------------------------------------------- */

static void a_guest_finds_its_mappings_when_it_starts(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = make_domain(shared);
        struct kaon_sandbox *sandbox = NULL;
        struct kaon_error err = { 0 };
        struct things things;

        begin(&things);
        for (int i = 0; i < 3; i++) {
            ASSERT_OK(kaon_sandbox_create(
                &sandbox, things.image, OPTS(&things, .domain = domain), &err));
            assert_fresh(&things, sandbox);
            poke(sandbox, things.at[1] + PAGE, 1);
            /* They are as any others. */
            ASSERT_OK(kaon_sandbox_unmap(sandbox, things.at[0], &err));
            assert_faults(sandbox, things.at[0]);
            kaon_sandbox_destroy(sandbox);
        }
        end(&things);
        kaon_domain_destroy(domain);
    }
}

/* The second wants the place that the first would have been given. */
static void who_wants_an_address_comes_first(void **state)
{
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };
    struct things things;
    uint64_t lowest;

    (void)state;
    begin(&things);
    ASSERT_OK(kaon_sandbox_create(&sandbox, things.image, OPTS(&things), &err));
    kaon_sandbox_destroy(sandbox);
    lowest = things.at[0];
    things.list[1].opts =
        KAON_MAP_OPTS(.mode = KAON_MAP_COPY, .address = lowest);
    ASSERT_OK(kaon_sandbox_create(&sandbox, things.image, OPTS(&things), &err));
    assert_int_equal(things.at[1], lowest);
    assert_int_equal(things.at[0], lowest + 3 * PAGE);
    assert_int_equal(things.at[2], lowest + 8 * PAGE);
    assert_fresh(&things, sandbox);
    kaon_sandbox_destroy(sandbox);
    end(&things);
}

/* ---- Snapshots --------------------------------------------------------- */

static void a_snapshot_has_them_and_more_come_beside_them(void **state)
{
    struct kaon_region *more = buffer_region(PAGE, 99);
    struct kaon_sandbox *sandbox = NULL, *made = NULL;
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_error err = { 0 };
    struct things things;
    uint64_t at = 0;
    struct kaon_sandbox_mapping beside = { .region = more, .address = &at };

    (void)state;
    begin(&things);
    ASSERT_OK(kaon_sandbox_create(&sandbox, things.image, OPTS(&things), &err));
    assert_fresh(&things, sandbox);
    snapshot = e2e_take(sandbox);
    ASSERT_OK(kaon_sandbox_create_from(
        &made, snapshot,
        KAON_SANDBOX_OPTS(.host_functions = things.functions,
                          .mappings = &beside, .mapping_count = 1),
        &err));
    assert_fresh(&things, made);
    assert_int_equal(peek(made, at), 99);
    /* They are of its state: another takes them away. */
    e2e_restore(made, snapshot);
    assert_fresh(&things, made);
    assert_faults(made, at);
    kaon_sandbox_destroy(made);
    /* What the snapshot has there is named, and nothing is lost. */
    beside.opts = KAON_MAP_OPTS(.address = things.at[1]);
    ASSERT_REFUSED(
        KAON_EINVAL, "mappings[0]: ",
        kaon_sandbox_create_from(
            &made, snapshot,
            KAON_SANDBOX_OPTS(.host_functions = things.functions,
                              .mappings = &beside, .mapping_count = 1),
            &err));
    ASSERT_CONTAINS(err.text, "overlaps a mapping");
    e2e_restore(sandbox, snapshot);
    assert_fresh(&things, sandbox);
    kaon_sandbox_destroy(sandbox);
    kaon_snapshot_destroy(snapshot);
    kaon_region_destroy(more);
    end(&things);
}

/* ---- Pools ------------------------------------------------------------- */

/* Whatever its users do to them: some unmap, some fault, so that others are
 * made. */
static void use(const struct things *things, struct kaon_pool *pool, int turn)
{
    struct kaon_sandbox *sandbox = e2e_acquire(pool);
    struct kaon_error err = { 0 };

    assert_fresh(things, sandbox);
    poke(sandbox, things->at[1], 1);
    poke(sandbox, things->at[1] + PAGE, 1);
    if (turn % 3 == 0)
        ASSERT_OK(kaon_sandbox_unmap(sandbox, things->at[turn % 9 / 3], &err));
    if (turn % 4 == 0)
        assert_faults(sandbox, 16);
    assert_int_equal(kaon_pool_release(pool, sandbox), KAON_OK);
}

static void each_sandbox_of_a_pool_has_them(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = make_domain(shared);
        struct kaon_pool *pool = NULL;
        struct kaon_error err = { 0 };
        struct kaon_outcome out;
        struct things things;

        begin(&things);
        ASSERT_OK(kaon_pool_create(
            &pool, &out, things.image,
            KAON_POOL_OPTS(.min = 2, .max = 2,
                           .sandbox = OPTS(&things, .domain = domain)),
            &err));
        ASSERT_OUTCOME(KAON_RETURNED, out);
        memset(things.list, 0, sizeof things.list); /* it needs them no more */
        for (int i = 0; i < 18; i++)
            use(&things, pool, i);
        kaon_pool_destroy(pool);
        end(&things);
        kaon_domain_destroy(domain);
    }
}

static void a_pool_of_a_snapshot_has_them_beside_its_own(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = make_domain(shared);
        struct kaon_region *more = buffer_region(PAGE, 99);
        struct kaon_sandbox *sandbox = NULL;
        struct kaon_snapshot *snapshot = NULL;
        struct kaon_pool *pool = NULL;
        struct kaon_error err = { 0 };
        struct things things;
        uint64_t at = 0;
        struct kaon_sandbox_mapping beside = { .region = more, .address = &at };
        struct kaon_pool_opts opts = {
            .size = sizeof opts,
            .max = 2,
            .sandbox = KAON_SANDBOX_OPTS(.domain = domain, .mappings = &beside,
                                         .mapping_count = 1),
        };

        begin(&things);
        ((struct kaon_sandbox_opts *)opts.sandbox)->host_functions =
            things.functions;
        ASSERT_OK(kaon_sandbox_create(&sandbox, things.image,
                                      OPTS(&things, .domain = domain), &err));
        assert_fresh(&things, sandbox);
        snapshot = e2e_take(sandbox);
        kaon_sandbox_destroy(sandbox);
        ASSERT_OK(kaon_pool_create_from(&pool, snapshot, &opts, &err));
        for (int i = 0; i < 12; i++) {
            sandbox = e2e_acquire(pool);
            assert_int_equal(peek(sandbox, at), 99);
            if (i % 2)
                ASSERT_OK(kaon_sandbox_unmap(sandbox, at, &err));
            assert_int_equal(kaon_pool_release(pool, sandbox), KAON_OK);
            use(&things, pool, i);
        }
        kaon_pool_destroy(pool);
        pool = NULL;
        beside.opts = KAON_MAP_OPTS(.address = things.at[2]);
        ASSERT_REFUSED(KAON_EINVAL, "mappings[0]: ",
                       kaon_pool_create_from(&pool, snapshot, &opts, &err));
        assert_null(pool);
        kaon_snapshot_destroy(snapshot);
        kaon_region_destroy(more);
        end(&things);
        kaon_domain_destroy(domain);
    }
}

/* ---- Refused ----------------------------------------------------------- */

static void what_cannot_be_mapped_is_refused_by_its_index(void **state)
{
    static const struct {
        struct kaon_map_opts opts;
        int region; /* -1: none */
        const char *words;
    } bad[] = {
        { { .mode = KAON_MAP_READ }, -1, "region must not be NULL" },
        { { .mode = (enum kaon_map_mode)3 }, 0, "mode is 3" },
        { { .mode = KAON_MAP_WRITE }, 0, "a file is never written" },
        { { .address = 1 }, 1, "multiple of 4096" },
        { { .address = 4096 }, 1, "among the sandbox's own memory" },
        { { .address = UINT64_C(1) << 46 }, 1, "not within the window" },
        { { .size = 3 }, 1, "map options" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kaon_map_opts opts = bad[i].opts;
        struct kaon_sandbox *sandbox = NULL;
        struct kaon_pool *pool = NULL;
        struct kaon_error err = { 0 };
        struct kaon_outcome out;
        struct things things;

        begin(&things);
        opts.size = opts.size ? opts.size : sizeof opts;
        things.list[2].opts = &opts;
        things.list[2].region =
            bad[i].region < 0 ? NULL : things.regions[bad[i].region];
        ASSERT_REFUSED(
            KAON_EINVAL, "mappings[2]: ",
            kaon_sandbox_create(&sandbox, things.image, OPTS(&things), &err));
        ASSERT_CONTAINS(err.text, bad[i].words);
        assert_null(sandbox);
        ASSERT_REFUSED(
            KAON_EINVAL, bad[i].words,
            kaon_pool_create(&pool, &out, things.image,
                             KAON_POOL_OPTS(.sandbox = OPTS(&things)), &err));
        assert_null(pool);
        end(&things);
    }
}

static void mappings_that_do_not_fit_together_are_refused(void **state)
{
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };
    struct things things;

    (void)state;
    begin(&things);
    ASSERT_OK(kaon_sandbox_create(&sandbox, things.image, OPTS(&things), &err));
    kaon_sandbox_destroy(sandbox);
    sandbox = NULL;
    things.list[0].opts = KAON_MAP_OPTS(.address = things.at[0]);
    things.list[1].opts = KAON_MAP_OPTS(.address = things.at[0] + 4 * PAGE);
    ASSERT_REFUSED(
        KAON_EINVAL, "mappings[1]: ",
        kaon_sandbox_create(&sandbox, things.image, OPTS(&things), &err));
    ASSERT_REFUSED(KAON_EINVAL, "mappings are NULL",
                   kaon_sandbox_create(
                       &sandbox, things.image,
                       KAON_SANDBOX_OPTS(.host_functions = things.functions,
                                         .mapping_count = 1),
                       &err));
    /* More than the window has. */
    things.list[1] = things.list[0];
    things.list[1].region = buffer_region(3 * MIB, 0);
    things.list[1].opts = NULL;
    ASSERT_REFUSED(KAON_ENOMEM, "mappings[1]: no room",
                   kaon_sandbox_create(&sandbox, things.image,
                                       OPTS(&things, .map_bytes = 2 * MIB),
                                       &err));
    assert_null(sandbox);
    kaon_region_destroy(things.list[1].region);
    end(&things);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW(22, a_guest_finds_its_mappings_when_it_starts),
    TEST_ROW(22, who_wants_an_address_comes_first),
    TEST_ROW(22, a_snapshot_has_them_and_more_come_beside_them),
    TEST_ROW(25, each_sandbox_of_a_pool_has_them),
    TEST_ROW(25, a_pool_of_a_snapshot_has_them_beside_its_own),
    TEST(what_cannot_be_mapped_is_refused_by_its_index),
    TEST(mappings_that_do_not_fit_together_are_refused),
)

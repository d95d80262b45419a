/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Row 25, for pools: users from many threads leave secrets everywhere, end in
 * every way, and search for what others left. The guest is leftovers_code.S.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "leftovers.h"
#include "stage.h"
#include "support/elf_builder.h"
#include "support/harness.h"

#define THREADS 8
#define USES 100000

static const struct elf_function functions[] = {
    [FILL] = { "fill", KAON_TYPE_VOID, 0, { 0 } },
    [FILL_FAULT] = { "fill_fault", KAON_TYPE_VOID, 0, { 0 } },
    [FILL_SPIN] = { "fill_spin", KAON_TYPE_VOID, 0, { 0 } },
    [TELL] = { "tell", KAON_TYPE_BYTES, 0, { 0 } },
    [SEARCH] = { "search", KAON_TYPE_BYTES, 0, { 0 } },
};

/* What a guest sees at its first instruction where nobody was before, and how
 * many bytes it finds: what the gate pushed is on the stack. */
struct sight {
    unsigned char told[TOLD_SIZE];
    uint64_t found[FOUND_COUNT];
};

struct reference {
    struct kaon_snapshot *snapshot;
    struct sight sights[2]; /* of ordinary sandboxes, and of resident ones */
};

/* QEMU's emulator keeps the last x87 instruction's address. CPUs do not. */
static void forget_emulated(unsigned char *told)
{
    static int emulated = -1;

    if (emulated < 0)
        emulated = stage_is_emulated();
    if (emulated)
        memset(told + TOLD_FENV + 12, 0, 12);
}

static struct kaon_image *make_image(void)
{
    size_t size = (size_t)(leftovers_code_end - leftovers_code);
    uint32_t has = getauxval(AT_HWCAP2) & 2 ? HAS_FSGSBASE : 0;
    unsigned char code[4096];

    assert_in_range(size, 1, sizeof code);
    memcpy(code, leftovers_code, size);
    memcpy(code + 8, &has, sizeof has);
    return code_image(code, size, 0, functions, ELF_COUNT(functions));
}

/* Small enough to be searched often. */
static struct kaon_sandbox *make_sandbox(struct kaon_image *image)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_sandbox_create(&sandbox, image,
                            KAON_SANDBOX_OPTS(.heap_bytes = 32 << 10,
                                              .stack_bytes = 16 << 10,
                                              .exchange_bytes = 32 << 10),
                            &err))
        fail_msg("%s", err.text);
    return sandbox;
}

static struct kaon_sandbox *make_like(struct kaon_image *image, bool resident)
{
    struct kaon_sandbox *sandbox = make_sandbox(image);
    struct kaon_error err;

    if (resident && kaon_sandbox_start_resident(sandbox, NULL, &err))
        fail_msg("%s", err.text);
    return sandbox;
}

static void look(struct sight *sight, struct kaon_image *image, bool resident)
{
    struct kaon_sandbox *sandbox = make_like(image, resident);
    struct kaon_outcome out;

    stage_call(sandbox, &out, "tell", KAON_NO_ARGS);
    assert_int_equal(out.kind, KAON_RETURNED);
    assert_int_equal(out.value.span.size, TOLD_SIZE);
    memcpy(sight->told, out.value.span.data, TOLD_SIZE);
    forget_emulated(sight->told);
    kaon_sandbox_destroy(sandbox);

    sandbox = make_like(image, resident);
    stage_call(sandbox, &out, "search", KAON_NO_ARGS);
    assert_int_equal(out.kind, KAON_RETURNED);
    assert_int_equal(out.value.span.size, sizeof sight->found);
    memcpy(sight->found, out.value.span.data, sizeof sight->found);
    kaon_sandbox_destroy(sandbox);
    for (unsigned i = 0; i < FOUND_COUNT; i++)
        assert_in_range(sight->found[i], 0, i == FOUND_STACK ? 16 : 0);
}

static void learn(struct reference *reference)
{
    struct kaon_image *image = make_image();
    struct kaon_sandbox *sandbox = make_sandbox(image);
    struct kaon_error err;

    if (kaon_snapshot_take(&reference->snapshot, sandbox, &err))
        fail_msg("%s", err.text);
    kaon_sandbox_destroy(sandbox);
    look(&reference->sights[0], image, false);
    look(&reference->sights[1], image, true);
    kaon_image_destroy(image);
}

/* ---- A user ------------------------------------------------------------ */

struct user {
    struct kaon_pool *pool;
    const struct reference *reference;
    uint64_t random;
    unsigned turns;
    unsigned ends[KAON_OUT_OF_MEMORY + 1];
    unsigned failed, stray, dirty; /* what must not be */
    char why[512];                 /* of the first of these */
};

static const struct sight *expected(const struct user *user,
                                    const struct kaon_sandbox *sandbox)
{
    return &user->reference->sights[kaon_sandbox_is_resident(sandbox)];
}

static void note(struct user *user, unsigned *count, const char *why)
{
    if (user->failed + user->stray + user->dirty == 0)
        snprintf(user->why, sizeof user->why, "%s", why);
    ++*count;
}

static bool call(struct user *user, struct kaon_sandbox *sandbox,
                 struct kaon_outcome *out, unsigned function,
                 uint64_t deadline_ns)
{
    struct kaon_error err;

    if (kaon_call(sandbox, out, functions[function].name, KAON_NO_ARGS,
                  KAON_CALL_OPTS(.deadline_ns = deadline_ns), &err)) {
        note(user, &user->failed, err.text);
        return false;
    }
    user->ends[out->kind]++;
    return true;
}

/* A call that nobody stops, in a sandbox that nobody used. */
static bool call_first(struct user *user, struct kaon_sandbox *sandbox,
                       struct kaon_outcome *out, unsigned function)
{
    if (!call(user, sandbox, out, function, 0))
        return false;
    if (out->kind == KAON_RETURNED)
        return true;
    note(user, &user->stray, out->text);
    return false;
}

static void look_at_memory(struct user *user, struct kaon_sandbox *sandbox)
{
    static const char *const places[FOUND_COUNT] = {
        [FOUND_MAILBOX] = "the mailbox page",
        [FOUND_AREA] = "the area",
        [FOUND_HEAP] = "the heap",
        [FOUND_STACK] = "the stack",
        [FOUND_DATA] = "the data",
    };
    struct kaon_outcome out;

    if (!call_first(user, sandbox, &out, SEARCH))
        return;
    for (unsigned i = 0; i < FOUND_COUNT; i++) {
        uint64_t found;

        memcpy(&found, (const char *)out.value.span.data + 8 * i, 8);
        if (found != expected(user, sandbox)->found[i])
            note(user, &user->dirty, places[i]);
    }
}

static void look_at_registers(struct user *user, struct kaon_sandbox *sandbox)
{
    unsigned char told[TOLD_SIZE];
    struct kaon_outcome out;
    char why[80];

    if (!call_first(user, sandbox, &out, TELL))
        return;
    memcpy(told, out.value.span.data, TOLD_SIZE);
    forget_emulated(told);
    for (unsigned i = 0; i < TOLD_SIZE; i++) {
        if (told[i] == expected(user, sandbox)->told[i])
            continue;
        snprintf(why, sizeof why, "byte %#x of what was told is %#x", i,
                 told[i]);
        note(user, &user->dirty, why);
        return;
    }
}

static void leave_secrets(struct user *user, struct kaon_sandbox *sandbox)
{
    uint64_t random = stage_random(&user->random) >> 8;
    struct kaon_outcome out;

    if (random % 64 == 0)
        call(user, sandbox, &out, FILL_SPIN, 200000 + random % 2000000);
    else if (random % 4 == 0)
        call(user, sandbox, &out, FILL_FAULT, 0);
    else if (random % 4 == 1) /* by chance in time */
        call(user, sandbox, &out, FILL, 1 + random % 500000);
    else
        call(user, sandbox, &out, FILL, 0);
}

static void *use(void *data)
{
    struct user *user = data;

    for (unsigned i = 0; i < user->turns; i++) {
        struct kaon_sandbox *sandbox;
        struct kaon_error err;

        if (kaon_pool_acquire(user->pool, &sandbox, KAON_FOREVER, &err)) {
            note(user, &user->failed, err.text);
            continue;
        }
        if (stage_random(&user->random) % 2)
            look_at_memory(user, sandbox);
        else
            look_at_registers(user, sandbox);
        leave_secrets(user, sandbox);
        if (kaon_pool_release(user->pool, sandbox))
            note(user, &user->failed, "the release was refused");
    }
    return NULL;
}

/* ---- All of them ------------------------------------------------------- */

static void judge(const struct user *users, unsigned turns)
{
    unsigned ends[KAON_OUT_OF_MEMORY + 1] = { 0 };

    for (unsigned i = 0; i < THREADS; i++) {
        if (users[i].failed + users[i].stray + users[i].dirty)
            fail_msg("%u failures, %u stray ends, %u dirty: %s",
                     users[i].failed, users[i].stray, users[i].dirty,
                     users[i].why);
        for (unsigned kind = 0; kind <= KAON_OUT_OF_MEMORY; kind++)
            ends[kind] += users[i].ends[kind];
    }
    assert_int_equal(ends[KAON_RETURNED] + ends[KAON_FAULT] +
                         ends[KAON_DEADLINE],
                     2 * THREADS * turns);
    assert_true(ends[KAON_FAULT] > 0 || turns < 100);
    assert_true(ends[KAON_DEADLINE] > 0 || turns < 100);
}

static void let_loose(struct kaon_domain *domain, unsigned resident,
                      unsigned uses)
{
    static struct user users[THREADS];
    struct reference reference;
    struct kaon_pool_stats stats;
    pthread_t threads[THREADS];
    struct kaon_pool *pool;
    struct kaon_error err;
    uint64_t seed = stage_seed("users of a pool");
    unsigned turns = uses / THREADS + 1;

    learn(&reference);
    if (kaon_pool_create_from(
            &pool, reference.snapshot,
            KAON_POOL_OPTS(.min = 2, .max = 6, .resident = resident,
                           .sandbox = KAON_SANDBOX_OPTS(.domain = domain)),
            &err))
        fail_msg("%s", err.text);
    for (unsigned i = 0; i < THREADS; i++) {
        users[i] = (struct user){ .pool = pool,
                                  .reference = &reference,
                                  .random = seed + i,
                                  .turns = turns };
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    judge(users, turns);
    assert_int_equal(kaon_pool_stats(pool, &stats), KAON_OK);
    assert_int_equal(stats.acquired, THREADS * turns);
    assert_int_equal(stats.in_use, 0);
    assert_in_range(stats.sandboxes, 1, 6);
    kaon_pool_destroy(pool);
    kaon_snapshot_destroy(reference.snapshot);
}

/* Processes take their time, all the more as they are ended and made. */
static unsigned uses(unsigned base)
{
    if (harness_sanitized())
        base /= 20;
    return stage_rounds(isolation_is_process() ? base / 5 : base);
}

static void users_of_one_domain_see_nothing_of_each_other(void **state)
{
    struct kaon_domain *domain;
    struct kaon_error err;

    (void)state;
    if (kaon_domain_create(
            &domain,
            KAON_DOMAIN_OPTS(.memory_bytes = isolation_memory(64 << 20)), &err))
        fail_msg("%s", err.text);
    let_loose(domain, 0, uses(USES / 2));
    kaon_domain_destroy(domain);
}

static void users_of_domains_of_their_own_see_nothing_either(void **state)
{
    (void)state;
    let_loose(NULL, 0, uses(USES / 2));
}

static void users_of_guests_that_wait_inside_see_nothing_either(void **state)
{
    (void)state;
    let_loose(NULL, 2, uses(USES / 20));
}

TESTS_NEED_KVM(
    TEST_ROW_LIMIT(25, 300, users_of_one_domain_see_nothing_of_each_other),
    TEST_ROW_LIMIT(25, 300, users_of_domains_of_their_own_see_nothing_either),
    TEST_ROW_LIMIT(25, 300,
                   users_of_guests_that_wait_inside_see_nothing_either))

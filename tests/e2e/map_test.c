/* SPDX-License-Identifier: Apache-2.0 */
/* Files and buffers that guests see. */
#include "e2e/e2e.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)

/* ---- Files ------------------------------------------------------------- */

/* A file of this test alone, which has a name for as long as it is open. */
struct file {
    char path[64];
    int fd;
    uint64_t size;
};

static unsigned char byte_at(uint64_t offset)
{
    return (unsigned char)(offset * 7 + offset / PAGE + 1);
}

static void write_bytes(const struct file *file, uint64_t size)
{
    unsigned char *bytes = malloc(size ? size : 1);

    for (uint64_t i = 0; i < size; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(pwrite(file->fd, bytes, size, 0), size);
    free(bytes);
}

static struct file make_file(uint64_t size)
{
    struct file file = { .path = "/tmp/kaon-map-XXXXXX", .size = size };

    file.fd = mkstemp(file.path);
    assert_true(file.fd >= 0);
    write_bytes(&file, size);
    return file;
}

static void end_file(const struct file *file)
{
    close(file->fd);
    unlink(file->path);
}

static uint64_t digest_of(const unsigned char *bytes, uint64_t size)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < size; i++)
        sum = sum * 31 + bytes[i];
    return sum;
}

/* What the file has on disk. */
static uint64_t digest_file(const struct file *file)
{
    unsigned char *bytes = malloc(file->size);
    uint64_t sum;

    assert_int_equal(pread(file->fd, bytes, file->size, 0), file->size);
    sum = digest_of(bytes, file->size);
    free(bytes);
    return sum;
}

static struct kaon_region *open_region(const struct file *file)
{
    struct kaon_region *region = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_region_open(&region, file->path, 0, 0, &err));
    return region;
}

static struct kaon_region *make_buffer(uint64_t size)
{
    struct kaon_region *region = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_region_create(&region, size, &err));
    return region;
}

/* ---- Mapping and calling ----------------------------------------------- */

static uint64_t map_at(struct kaon_sandbox *sandbox, struct kaon_region *region,
                       enum kaon_map_mode mode, uint64_t address)
{
    struct kaon_error err = { 0 };
    uint64_t got = 0;

    ASSERT_OK(kaon_sandbox_map(sandbox, &got, region,
                               KAON_MAP_OPTS(.mode = mode, .address = address),
                               &err));
    assert_true(got % PAGE == 0 && got != 0);
    assert_true(address == 0 || got == address);
    return got;
}

static uint64_t map(struct kaon_sandbox *sandbox, struct kaon_region *region,
                    enum kaon_map_mode mode)
{
    return map_at(sandbox, region, mode, 0);
}

static void unmap(struct kaon_sandbox *sandbox, uint64_t address)
{
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_sandbox_unmap(sandbox, address, &err));
}

static uint64_t digest(struct kaon_sandbox *sandbox, uint64_t address,
                       uint64_t size)
{
    return e2e_ask(sandbox, "digest",
                   KAON_ARGS(kaon_u64(address), kaon_u64(size)));
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

/* The call ends in a page fault right there. */
static void assert_faults(struct kaon_sandbox *sandbox, enum kaon_access access,
                          const char *function, uint64_t address,
                          const struct kaon_value *args, size_t count)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, function, args, count, NULL, &err));
    ASSERT_OUTCOME(KAON_FAULT, out);
    assert_int_equal(out.fault.kind, KAON_FAULT_PAGE);
    assert_int_equal(out.fault.access, access);
    assert_int_equal(out.fault.address, address);
    assert_int_equal(kaon_sandbox_state(sandbox), KAON_SANDBOX_POISONED);
}

#define ASSERT_READ_FAULTS(sandbox, address)                           \
    assert_faults((sandbox), KAON_ACCESS_READ, "read_byte", (address), \
                  KAON_ARGS(kaon_u64(address)))
#define ASSERT_WRITE_FAULTS(sandbox, address)                            \
    assert_faults((sandbox), KAON_ACCESS_WRITE, "write_byte", (address), \
                  KAON_ARGS(kaon_u64(address), kaon_u32(1)))

/* Of an image that others are of, too. */
static struct kaon_sandbox *sandbox_of(struct kaon_image *image,
                                       struct kaon_domain *domain,
                                       uint64_t map_bytes)
{
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.domain = domain, .map_bytes = map_bytes), &err));
    return sandbox;
}

/* In a domain of its own, or in one that is there. */
static struct kaon_sandbox *sandbox_in(struct kaon_domain *domain)
{
    return e2e_sandbox("map", KAON_SANDBOX_OPTS(.domain = domain));
}

static struct kaon_domain *make_domain(void)
{
    struct kaon_domain *domain = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_domain_create(
        &domain, KAON_DOMAIN_OPTS(.memory_bytes = isolation_memory(64 * MIB)),
        &err));
    return domain;
}

/* ---- What is seen ------------------------------------------------------ */

static void a_file_is_seen_as_it_is(void **state)
{
    static const uint64_t sizes[] = { 1,        PAGE - 1, PAGE,
                                      PAGE + 1, 5 * PAGE, 3 * MIB + 123 };
    struct kaon_sandbox *sandbox = sandbox_in(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct file file = make_file(sizes[i]);
        struct kaon_region *region = open_region(&file);

        assert_int_equal(kaon_region_size(region), sizes[i]);
        assert_null(kaon_region_data(region));
        for (int mode = KAON_MAP_READ; mode <= KAON_MAP_COPY; mode++) {
            uint64_t at = map(sandbox, region, (enum kaon_map_mode)mode);

            assert_int_equal(digest(sandbox, at, sizes[i]), digest_file(&file));
            /* Behind it, up to the end of the page, nothing. */
            if (sizes[i] % PAGE)
                assert_int_equal(
                    digest(sandbox, at + sizes[i], PAGE - sizes[i] % PAGE), 0);
            unmap(sandbox, at);
        }
        kaon_region_destroy(region);
        end_file(&file);
    }
    kaon_sandbox_destroy(sandbox);
}

static void a_part_of_a_file_is_seen_from_its_offset_on(void **state)
{
    struct file file = make_file(10 * PAGE + 7);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    struct kaon_region *middle = NULL, *end = NULL;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_OK(kaon_region_open(&middle, file.path, 3 * PAGE, 2 * PAGE, &err));
    ASSERT_OK(kaon_region_open_fd(&end, file.fd, 9 * PAGE, 0, &err));
    assert_int_equal(kaon_region_size(end), PAGE + 7);
    for (int mode = KAON_MAP_READ; mode <= KAON_MAP_COPY; mode++) {
        uint64_t at = map(sandbox, middle, (enum kaon_map_mode)mode);

        assert_int_equal(peek(sandbox, at + 5), byte_at(3 * PAGE + 5));
        assert_int_equal(peek(sandbox, at + 2 * PAGE - 1),
                         byte_at(5 * PAGE - 1));
        at = map(sandbox, end, (enum kaon_map_mode)mode);
        assert_int_equal(peek(sandbox, at + PAGE + 6), byte_at(10 * PAGE + 6));
        assert_int_equal(peek(sandbox, at + PAGE + 7), 0);
    }
    kaon_region_destroy(middle);
    kaon_region_destroy(end);
    kaon_sandbox_destroy(sandbox);
    end_file(&file);
}

static void a_write_to_what_is_read_only_faults_there(void **state)
{
    struct file file = make_file(3 * PAGE);
    struct kaon_region *regions[] = { open_region(&file),
                                      make_buffer(3 * PAGE) };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kaon_sandbox *sandbox = sandbox_in(NULL);
        struct kaon_snapshot *snapshot = e2e_take(sandbox);
        uint64_t at = map(sandbox, regions[i], KAON_MAP_READ);

        peek(sandbox, at + PAGE);
        ASSERT_WRITE_FAULTS(sandbox, at + PAGE + 5);
        e2e_restore(sandbox, snapshot);
        at = map(sandbox, regions[i], KAON_MAP_READ);
        ASSERT_WRITE_FAULTS(sandbox, at + 3 * PAGE - 1); /* untouched before */
        kaon_snapshot_destroy(snapshot);
        kaon_sandbox_destroy(sandbox);
        kaon_region_destroy(regions[i]);
    }
    assert_int_equal(lseek(file.fd, 0, SEEK_END), 3 * PAGE);
    end_file(&file);
}

static void nothing_that_is_mapped_can_be_executed(void **state)
{
    struct kaon_region *region = make_buffer(PAGE);

    (void)state;
    memset(kaon_region_data(region), 0xc3, PAGE); /* ret */
    for (int mode = KAON_MAP_READ; mode <= KAON_MAP_WRITE; mode++) {
        struct kaon_sandbox *sandbox = sandbox_in(NULL);
        uint64_t at = map(sandbox, region, (enum kaon_map_mode)mode);

        assert_faults(sandbox, KAON_ACCESS_EXECUTE, "jump", at,
                      KAON_ARGS(kaon_u64(at)));
        kaon_sandbox_destroy(sandbox);
    }
    kaon_region_destroy(region);
}

static void copy_on_write_never_changes_the_file(void **state)
{
    struct file file = make_file(600 * PAGE);
    uint64_t before = digest_file(&file), at, other_at;
    struct kaon_domain *domain = make_domain();
    struct kaon_region *region = open_region(&file);
    struct kaon_sandbox *sandbox = sandbox_in(domain);
    struct kaon_sandbox *other = sandbox_in(domain);
    struct kaon_sandbox_stats was, is;

    (void)state;
    at = map(sandbox, region, KAON_MAP_COPY);
    other_at = map(other, region, KAON_MAP_COPY);
    assert_int_equal(digest(sandbox, at, file.size), before);
    kaon_sandbox_stats(sandbox, &was);
    e2e_ask(sandbox, "write_pages",
            KAON_ARGS(kaon_u64(at + 100 * PAGE), kaon_u32(20), kaon_u32(0xee)));
    kaon_sandbox_stats(sandbox, &is);
    if (!isolation_is_process()) {
        assert_int_equal(is.copied_pages - was.copied_pages, 20);
        assert_int_equal(is.memory_bytes - was.memory_bytes, 20 * PAGE);
    }
    for (uint64_t page = 99; page < 121; page++) {
        bool written = page >= 100 && page < 120;

        assert_int_equal(peek(sandbox, at + page * PAGE),
                         written ? 0xee : byte_at(page * PAGE));
        assert_int_equal(peek(sandbox, at + page * PAGE + 1),
                         byte_at(page * PAGE + 1));
    }
    assert_int_equal(digest_file(&file), before);
    assert_int_equal(digest(other, other_at, file.size), before);
    unmap(sandbox, at);
    at = map(sandbox, region, KAON_MAP_COPY);
    assert_int_equal(digest(sandbox, at, file.size), before);
    kaon_sandbox_destroy(sandbox);
    kaon_sandbox_destroy(other);
    kaon_region_destroy(region);
    kaon_domain_destroy(domain);
    end_file(&file);
}

static void what_the_host_writes_to_a_buffer_the_guest_reads(void **state)
{
    static const enum kaon_map_mode modes[] = { KAON_MAP_READ, KAON_MAP_WRITE };
    struct kaon_region *region = make_buffer(100 * PAGE);
    unsigned char *data = kaon_region_data(region);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);

    (void)state;
    assert_int_equal(kaon_region_size(region), 100 * PAGE);
    for (size_t i = 0; i < 2; i++) {
        uint64_t at = map(sandbox, region, modes[i]);

        for (uint64_t round = 0; round < 5; round++) {
            for (uint64_t k = 0; k < 100 * PAGE; k += 100)
                data[k] = (unsigned char)(k / 100 + round);
            assert_int_equal(digest(sandbox, at, 100 * PAGE),
                             digest_of(data, 100 * PAGE));
        }
        unmap(sandbox, at);
    }
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(region);
}

static void what_a_guest_writes_to_a_buffer_all_see(void **state)
{
    struct kaon_region *region = make_buffer(600 * PAGE);
    unsigned char *data = kaon_region_data(region);
    struct kaon_sandbox *a = sandbox_in(NULL), *b = sandbox_in(NULL);
    uint64_t in_a = map(a, region, KAON_MAP_WRITE);
    uint64_t in_b = map(b, region, KAON_MAP_READ);

    (void)state;
    e2e_ask(a, "write_pages",
            KAON_ARGS(kaon_u64(in_a), kaon_u32(600), kaon_u32(0x77)));
    for (uint64_t page = 0; page < 600; page++)
        assert_int_equal(data[page * PAGE], 0x77);
    assert_int_equal(digest(b, in_b, 600 * PAGE), digest_of(data, 600 * PAGE));
    poke(a, in_a + 5, 6);
    data[7] = 8;
    assert_int_equal(data[5], 6);
    assert_int_equal(peek(b, in_b + 5), 6);
    assert_int_equal(peek(a, in_a + 7), 8);
    kaon_sandbox_destroy(a);
    /* It stays as long as somebody has it. */
    kaon_region_destroy(region);
    assert_int_equal(peek(b, in_b + 5), 6);
    kaon_sandbox_destroy(b);
}

/* Changes a byte again and again: a guest may take its time to come there. */
struct changer {
    unsigned char *byte;
    bool stop;
};

static void *change(void *user)
{
    struct changer *changer = user;

    while (!__atomic_load_n(&changer->stop, __ATOMIC_ACQUIRE)) {
        e2e_sleep(20 * MILLISECOND);
        __atomic_add_fetch(changer->byte, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void a_guest_sees_a_buffer_change_while_it_runs(void **state)
{
    struct kaon_region *region = make_buffer(PAGE);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    uint64_t at = map(sandbox, region, KAON_MAP_READ);
    struct changer changer = { .byte = kaon_region_data(region) };
    pthread_t thread;

    (void)state;
    pthread_create(&thread, NULL, change, &changer);
    e2e_ask(sandbox, "watch", KAON_ARGS(kaon_u64(at)));
    __atomic_store_n(&changer.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(region);
}

/* ---- Unmapping --------------------------------------------------------- */

static void what_is_unmapped_is_gone(void **state)
{
    struct kaon_region *region = make_buffer(3 * PAGE);

    (void)state;
    for (int mode = KAON_MAP_READ; mode <= KAON_MAP_WRITE; mode++)
        for (int shared = 0; shared < 2; shared++) {
            struct kaon_domain *domain = shared ? make_domain() : NULL;
            struct kaon_sandbox *sandbox = sandbox_in(domain);
            uint64_t at = map(sandbox, region, (enum kaon_map_mode)mode);

            if (mode != KAON_MAP_READ)
                poke(sandbox, at + PAGE, 5);
            digest(sandbox, at, 3 * PAGE);
            unmap(sandbox, at);
            ASSERT_READ_FAULTS(sandbox, at + PAGE);
            kaon_sandbox_destroy(sandbox);
            kaon_domain_destroy(domain);
        }
    kaon_region_destroy(region);
}

/* A neighbour in the same VM, which runs all the time and must not notice. */
struct neighbour {
    struct kaon_sandbox *sandbox;
    uint64_t address, size, expected;
    bool stop;
    unsigned calls, wrong;
};

static void *live_next_door(void *user)
{
    struct neighbour *n = user;

    while (!__atomic_load_n(&n->stop, __ATOMIC_ACQUIRE) || n->calls == 0) {
        struct kaon_outcome out;

        if (kaon_call(n->sandbox, &out, "digest",
                      KAON_ARGS(kaon_u64(n->address), kaon_u64(n->size)), NULL,
                      NULL) ||
            out.kind != KAON_RETURNED || out.value.u64 != n->expected)
            n->wrong++;
        n->calls++;
    }
    return NULL;
}

static void another_mapping_at_the_same_address_is_seen(void **state)
{
    enum { REGIONS = 4, PAGES = 5 };
    struct kaon_domain *domain = make_domain();
    struct kaon_sandbox *sandbox = sandbox_in(domain);
    struct kaon_region *regions[REGIONS];
    struct neighbour neighbour = { .sandbox = sandbox_in(domain),
                                   .size = PAGES * PAGE };
    uint64_t first = 0;
    pthread_t thread;

    (void)state;
    for (unsigned i = 0; i < REGIONS; i++) {
        regions[i] = make_buffer(PAGES * PAGE);
        memset(kaon_region_data(regions[i]), (int)(10 + i), PAGES * PAGE);
    }
    neighbour.address = map(neighbour.sandbox, regions[0], KAON_MAP_COPY);
    neighbour.expected = digest_of(kaon_region_data(regions[0]), PAGES * PAGE);
    pthread_create(&thread, NULL, live_next_door, &neighbour);
    for (unsigned i = 0; i < e2e_scaled(200); i++) {
        struct kaon_region *region = regions[i % REGIONS];
        uint64_t at = map(sandbox, region, (enum kaon_map_mode)(i % 3));

        if (first == 0)
            first = at;
        assert_int_equal(at, first);
        for (uint64_t page = 0; page < PAGES; page++)
            assert_int_equal(peek(sandbox, at + page * PAGE), 10 + i % REGIONS);
        if (i % 3 == KAON_MAP_COPY) {
            poke(sandbox, at + PAGE, 200);
            assert_int_equal(peek(sandbox, at + PAGE), 200);
        }
        unmap(sandbox, at);
    }
    __atomic_store_n(&neighbour.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_int_equal(neighbour.wrong, 0);
    kaon_sandbox_destroy(neighbour.sandbox);
    kaon_sandbox_destroy(sandbox);
    for (unsigned i = 0; i < REGIONS; i++)
        kaon_region_destroy(regions[i]);
    kaon_domain_destroy(domain);
}

/* A second thread, with a vCPU of its own, that calls when it is asked to. */
struct partner {
    struct kaon_sandbox *other, *sandbox;
    uint64_t other_at, at;
    pthread_barrier_t turn;
    unsigned rounds, wrong;
    uint32_t expected;
};

static void partner_calls(struct partner *p, struct kaon_sandbox *sandbox,
                          const char *function, uint64_t address,
                          const uint32_t *expected)
{
    struct kaon_outcome out;

    if (kaon_call(sandbox, &out, function, KAON_ARGS(kaon_u64(address)), NULL,
                  NULL) ||
        out.kind != KAON_RETURNED || (expected && out.value.u32 != *expected))
        p->wrong++;
}

static void *be_partner(void *user)
{
    struct partner *p = user;

    pthread_barrier_wait(&p->turn);
    partner_calls(p, p->other, "watch", p->other_at, NULL);
    for (unsigned i = 0; i < p->rounds; i++) {
        pthread_barrier_wait(&p->turn);
        partner_calls(p, p->sandbox, "read_byte", p->at, &p->expected);
        pthread_barrier_wait(&p->turn);
    }
    return NULL;
}

static void each_vcpu_that_ran_it_forgets_what_is_unmapped(void **state)
{
    struct kaon_region *regions[] = { make_buffer(2 * PAGE),
                                      make_buffer(2 * PAGE) };
    struct kaon_region *signal = make_buffer(PAGE);
    struct kaon_domain *domain = make_domain();
    struct partner p = { .other = sandbox_in(domain),
                         .sandbox = sandbox_in(domain),
                         .rounds = e2e_scaled(100) };
    struct kaon_domain_stats stats;
    pthread_t thread;

    (void)state;
    *(unsigned char *)kaon_region_data(regions[0]) = 1;
    *(unsigned char *)kaon_region_data(regions[1]) = 2;
    p.other_at = map(p.other, signal, KAON_MAP_READ);
    pthread_barrier_init(&p.turn, NULL, 2);
    pthread_create(&thread, NULL, be_partner, &p);
    pthread_barrier_wait(&p.turn);
    /* Both are in a call at once, so that each thread has a vCPU. */
    do {
        e2e_ask(p.sandbox, "digest",
                KAON_ARGS(kaon_u64(0x310000), kaon_u64(64)));
        kaon_domain_stats(domain, &stats);
    } while (stats.vcpus < 2);
    while (kaon_sandbox_state(p.other) == KAON_SANDBOX_RUNNING) {
        __atomic_add_fetch((unsigned char *)kaon_region_data(signal), 1,
                           __ATOMIC_RELEASE);
        e2e_sleep(MILLISECOND);
    }
    for (unsigned i = 0; i < p.rounds; i++) {
        p.at = map(p.sandbox, regions[i % 2], (enum kaon_map_mode)(i % 3));
        p.expected = 1 + i % 2;
        assert_int_equal(peek(p.sandbox, p.at), p.expected);
        pthread_barrier_wait(&p.turn);
        pthread_barrier_wait(&p.turn);
        unmap(p.sandbox, p.at);
    }
    pthread_join(thread, NULL);
    assert_int_equal(p.wrong, 0);
    pthread_barrier_destroy(&p.turn);
    kaon_sandbox_destroy(p.other);
    kaon_sandbox_destroy(p.sandbox);
    kaon_domain_destroy(domain);
    kaon_region_destroy(regions[0]);
    kaon_region_destroy(regions[1]);
    kaon_region_destroy(signal);
}

/* The harness looks for descriptors, mappings and heap. */
static void ten_thousand_cycles_leak_nothing(void **state)
{
    unsigned cycles = e2e_scaled(isolation_is_process() ? 600 : 10000);
    struct file file = make_file(10 * PAGE);
    struct kaon_region *regions[] = { open_region(&file), open_region(&file),
                                      make_buffer(7 * PAGE) };
    struct kaon_domain *domain = make_domain();
    struct kaon_sandbox *sandbox = sandbox_in(domain);
    struct kaon_domain_stats first = { 0 }, last;
    uint64_t where[3] = { 0 };

    (void)state;
    for (unsigned i = 0; i < cycles; i++) {
        int mode = (int)(i % 3);
        uint64_t at = map(sandbox, regions[mode], (enum kaon_map_mode)mode);

        if (i < 3)
            where[mode] = at;
        assert_int_equal(at, where[mode]);
        if (i % 10 == 0)
            peek(sandbox, at + 6 * PAGE);
        if (i % 10 == 1 && mode != KAON_MAP_READ)
            poke(sandbox, at + 2 * PAGE, i % 256);
        unmap(sandbox, at);
        if (i == 9)
            kaon_domain_stats(domain, &first);
    }
    kaon_domain_stats(domain, &last);
    assert_int_equal(last.memory_used_bytes, first.memory_used_bytes);
    kaon_sandbox_destroy(sandbox);
    kaon_domain_destroy(domain);
    for (int i = 0; i < 3; i++)
        kaon_region_destroy(regions[i]);
    end_file(&file);
}

/* ---- What is refused --------------------------------------------------- */

static void what_is_no_region_is_refused_by_name(void **state)
{
    struct file file = make_file(3 * PAGE + 5), empty = make_file(0);
    struct kaon_region *region = NULL;
    struct kaon_error err = { 0 };
    char fifo[80];
    int fd;

    (void)state;
    ASSERT_REFUSED(KAON_EINVAL, "is empty",
                   kaon_region_open(&region, empty.path, 0, 0, &err));
    ASSERT_CONTAINS(err.text, empty.path);
    ASSERT_REFUSED(KAON_EINVAL, "offset 100 is not a page's",
                   kaon_region_open(&region, file.path, 100, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "has 12293 bytes",
                   kaon_region_open(&region, file.path, 4 * PAGE, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "not within",
                   kaon_region_open(&region, file.path, PAGE, 3 * PAGE, &err));
    ASSERT_REFUSED(
        KAON_EINVAL, "not within",
        kaon_region_open(&region, file.path, PAGE, UINT64_MAX, &err));
    ASSERT_REFUSED(KAON_EINVAL, "not within",
                   kaon_region_open(&region, file.path, -PAGE, 2 * PAGE, &err));
    ASSERT_REFUSED(KAON_EINVAL, "ends within a page",
                   kaon_region_open(&region, file.path, 0, PAGE + 1, &err));
    ASSERT_REFUSED(KAON_EINVAL, "not a regular file",
                   kaon_region_open(&region, "/tmp", 0, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "not a regular file",
                   kaon_region_open(&region, "/dev/zero", 0, 0, &err));
    snprintf(fifo, sizeof fifo, "%s.fifo", file.path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    ASSERT_REFUSED(KAON_EINVAL, "not a regular file",
                   kaon_region_open(&region, fifo, 0, 0, &err));
    unlink(fifo);
    ASSERT_REFUSED(
        KAON_EIO, "/tmp/kaon-not-there",
        kaon_region_open(&region, "/tmp/kaon-not-there", 0, 0, &err));
    ASSERT_REFUSED(KAON_EIO, "descriptor",
                   kaon_region_open_fd(&region, -1, 0, 0, &err));
    fd = open(file.path, O_WRONLY | O_CLOEXEC);
    ASSERT_REFUSED(KAON_EINVAL, "open for reading",
                   kaon_region_open_fd(&region, fd, 0, 0, &err));
    close(fd);
    ASSERT_REFUSED(KAON_EINVAL, "size is 0",
                   kaon_region_create(&region, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "64 TiB",
                   kaon_region_create(&region, UINT64_MAX, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_region_open(NULL, file.path, 0, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_region_open(&region, NULL, 0, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_region_open_fd(NULL, file.fd, 0, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL", kaon_region_create(NULL, 1, &err));
    assert_null(region);
    kaon_region_destroy(NULL);
    assert_null(kaon_region_hold(NULL));
    assert_null(kaon_region_data(NULL));
    assert_int_equal(kaon_region_size(NULL), 0);
    end_file(&file);
    end_file(&empty);
}

/* Refused, and the sandbox goes on as before. */
static void assert_refused(struct kaon_sandbox *sandbox,
                           struct kaon_region *region, uint64_t address,
                           int mode, enum kaon_status status, const char *words)
{
    struct kaon_error err = { 0 };
    uint64_t got = 17;

    ASSERT_REFUSED(
        status, words,
        kaon_sandbox_map(
            sandbox, &got, region,
            KAON_MAP_OPTS(.address = address, .mode = (enum kaon_map_mode)mode),
            &err));
    assert_int_equal(got, 17);
}

static void what_cannot_be_mapped_there_is_refused_by_name(void **state)
{
    struct file file = make_file(PAGE);
    struct kaon_region *of_file = open_region(&file);
    struct kaon_region *region = make_buffer(4 * PAGE);
    struct kaon_region *large = make_buffer(9 * MIB);
    struct kaon_sandbox *sandbox =
        e2e_sandbox("map", KAON_SANDBOX_OPTS(.map_bytes = 7 * MIB + 1));
    struct kaon_error err = { 0 };
    uint64_t low = map(sandbox, region, KAON_MAP_READ), at, after;

    (void)state;
    assert_refused(sandbox, region, low + 1, 0, KAON_EINVAL, "not a page's");
    assert_refused(sandbox, region, low + 100 * PAGE + 2048, 0, KAON_EINVAL,
                   "multiple of 4096");
    for (uint64_t i = 0; i < 4; i++)
        assert_refused(sandbox, region, low + i * PAGE, 0, KAON_EINVAL,
                       "overlaps a mapping");
    assert_refused(sandbox, of_file, low + 2 * PAGE, 0, KAON_EINVAL,
                   "overlaps a mapping");
    /* Its own memory: gate, text, stack, heap, or nothing. */
    assert_refused(sandbox, region, 0x200000, 0, KAON_EINVAL,
                   "the sandbox's own memory");
    assert_refused(sandbox, region, 0x310000, 0, KAON_EINVAL, "own memory");
    assert_refused(sandbox, region, PAGE, 0, KAON_EINVAL, "own memory");
    assert_refused(sandbox, region, low - PAGE, 0, KAON_EINVAL, "own memory");
    assert_refused(sandbox, region, low - 20 * PAGE, 0, KAON_EINVAL,
                   "own memory");
    /* The window is 8 MiB: rounded up. */
    assert_refused(sandbox, region, low + 8 * MIB, 0, KAON_EINVAL,
                   "raise map_bytes");
    assert_refused(sandbox, region, low + 8 * MIB - 3 * PAGE, 0, KAON_EINVAL,
                   "not within the window");
    assert_refused(sandbox, region, UINT64_C(1) << 47, 0, KAON_EINVAL,
                   "the window");
    assert_refused(sandbox, region, -PAGE, 0, KAON_EINVAL, "the window");
    assert_refused(sandbox, large, 0, 0, KAON_ENOMEM, "map_bytes are 8192 KiB");
    assert_refused(sandbox, of_file, 0, KAON_MAP_WRITE, KAON_EINVAL,
                   "never written");
    assert_refused(sandbox, region, 0, 3, KAON_EINVAL, "mode is 3");
    assert_refused(sandbox, region, 0, -1, KAON_EINVAL, "KAON_MAP_READ");
    assert_refused(NULL, region, 0, 0, KAON_EINVAL, "NULL");
    assert_refused(sandbox, NULL, 0, 0, KAON_EINVAL, "NULL");
    ASSERT_REFUSED(KAON_EINVAL, "NULL",
                   kaon_sandbox_map(sandbox, NULL, region, NULL, &err));
    ASSERT_REFUSED(KAON_EINVAL, "NULL", kaon_sandbox_unmap(NULL, low, &err));
    ASSERT_REFUSED(KAON_EINVAL, "no mapping begins at",
                   kaon_sandbox_unmap(sandbox, low + PAGE, &err));
    ASSERT_REFUSED(KAON_EINVAL, "no mapping begins at",
                   kaon_sandbox_unmap(sandbox, 0, &err));
    ASSERT_REFUSED(KAON_EINVAL, "no mapping begins at",
                   kaon_sandbox_unmap(sandbox, 0x310000, &err));
    /* Adjacent is fine, on either side. */
    after = map_at(sandbox, of_file, KAON_MAP_COPY, low + 4 * PAGE);
    at = map_at(sandbox, region, KAON_MAP_WRITE, low + 8 * MIB - 4 * PAGE);
    map_at(sandbox, of_file, KAON_MAP_READ, at - PAGE);
    poke(sandbox, after, 1);
    poke(sandbox, at, 2);
    assert_int_equal(peek(sandbox, low), 2);
    assert_int_equal(peek(sandbox, at - PAGE), byte_at(0));
    unmap(sandbox, low);
    assert_int_equal(peek(sandbox, after), 1);
    ASSERT_READ_FAULTS(sandbox, low + 3 * PAGE);
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(large);
    kaon_region_destroy(region);
    kaon_region_destroy(of_file);
    end_file(&file);
}

static void map_bytes_out_of_range_are_refused_by_name(void **state)
{
    struct kaon_image *image = e2e_image("map");
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_REFUSED(KAON_EINVAL, "map_bytes is",
                   kaon_sandbox_create(
                       &sandbox, image,
                       KAON_SANDBOX_OPTS(.map_bytes = (UINT64_C(64) << 30) + 1),
                       &err));
    kaon_image_destroy(image);
}

/* Its guest waits inside the VM: it leaves, and comes back to the new pages. */
static void a_resident_sandbox_is_mapped_into(void **state)
{
    struct kaon_region *region = make_buffer(3 * PAGE);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    struct kaon_error err = { 0 };
    uint64_t at = 0;

    (void)state;
    ASSERT_OK(kaon_sandbox_start_resident(sandbox, NULL, &err));
    for (unsigned i = 0; i < e2e_scaled(50); i++) {
        bool was = kaon_sandbox_is_resident(sandbox);

        *(unsigned char *)kaon_region_data(region) = (unsigned char)i;
        at = map(sandbox, region, (enum kaon_map_mode)(i % 3));
        assert_int_equal(peek(sandbox, at), i % 256);
        if (i % 3)
            poke(sandbox, at + PAGE, i % 256);
        unmap(sandbox, at);
        assert_int_equal(digest(sandbox, 0x310000, 100) != 0, true);
        assert_int_equal(kaon_sandbox_is_resident(sandbox), was);
    }
    ASSERT_READ_FAULTS(sandbox, at);
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(region);
}

/* So many that something must give. */
static void many_mappings_are_had_or_refused(void **state)
{
    struct kaon_region *regions[40];
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    struct kaon_error err = { 0 };
    uint64_t at[40];
    unsigned count = 0;

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        regions[i] = make_buffer(PAGE);
        *(unsigned char *)kaon_region_data(regions[i]) = (unsigned char)(i + 1);
    }
    while (count < 40 &&
           !kaon_sandbox_map(sandbox, &at[count], regions[count], NULL, &err))
        count++;
    if (isolation_is_process()) {
        assert_in_range(count, 25, 32);
        ASSERT_CONTAINS(err.text, "32 memories");
    } else {
        assert_int_equal(count, 40);
    }
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(peek(sandbox, at[i]), i + 1);
    kaon_sandbox_destroy(sandbox);
    for (unsigned i = 0; i < 40; i++)
        kaon_region_destroy(regions[i]);
}

static void a_poisoned_sandbox_is_not_mapped_into(void **state)
{
    struct kaon_region *region = make_buffer(PAGE);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    struct kaon_snapshot *snapshot = e2e_take(sandbox);
    uint64_t at = map(sandbox, region, KAON_MAP_READ);
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_WRITE_FAULTS(sandbox, at);
    assert_refused(sandbox, region, 0, 0, KAON_EPOISONED, "poisoned");
    ASSERT_REFUSED(KAON_EPOISONED, "poisoned",
                   kaon_sandbox_unmap(sandbox, at, &err));
    e2e_restore(sandbox, snapshot);
    map(sandbox, region, KAON_MAP_READ);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(region);
}

/* Maps while a guest spins, and then lets it go on. */
struct intruder {
    struct kaon_sandbox *sandbox;
    struct kaon_region *region;
    uint64_t at;
    struct changer changer;
    enum kaon_status mapped, unmapped;
};

static void *intrude(void *user)
{
    struct intruder *i = user;
    uint64_t got;

    while (kaon_sandbox_state(i->sandbox) != KAON_SANDBOX_RUNNING)
        e2e_sleep(MILLISECOND);
    i->mapped = kaon_sandbox_map(i->sandbox, &got, i->region, NULL, NULL);
    i->unmapped = kaon_sandbox_unmap(i->sandbox, i->at, NULL);
    return change(&i->changer);
}

static void nobody_maps_while_a_call_runs(void **state)
{
    struct kaon_region *region = make_buffer(PAGE);
    struct intruder intruder = {
        .sandbox = sandbox_in(NULL),
        .region = region,
        .changer = { .byte = kaon_region_data(region) },
    };
    pthread_t thread;

    (void)state;
    intruder.at = map(intruder.sandbox, region, KAON_MAP_READ);
    pthread_create(&thread, NULL, intrude, &intruder);
    e2e_ask(intruder.sandbox, "watch", KAON_ARGS(kaon_u64(intruder.at)));
    __atomic_store_n(&intruder.changer.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_int_equal(intruder.mapped, KAON_EBUSY);
    assert_int_equal(intruder.unmapped, KAON_EBUSY);
    kaon_sandbox_destroy(intruder.sandbox);
    kaon_region_destroy(region);
}

/* ---- Files that change ------------------------------------------------- */

/* Whatever the guest does with what is gone: a fault, and the host lives. */
static void a_file_that_shrinks_is_the_guests_fault(void **state)
{
    (void)state;
    for (int mode = KAON_MAP_READ; mode <= KAON_MAP_COPY; mode++)
        for (int touched = 0; touched < 2; touched++) {
            struct file file = make_file(8 * PAGE);
            struct kaon_region *region = open_region(&file);
            struct kaon_sandbox *sandbox = sandbox_in(NULL);
            struct kaon_snapshot *snapshot = e2e_take(sandbox);
            struct kaon_error err = { 0 };
            struct kaon_outcome out;
            uint64_t at;

            /* In a process, what is copied is copied: nothing can be gone. */
            bool copied = mode == KAON_MAP_COPY && isolation_is_process();

            at = map(sandbox, region, (enum kaon_map_mode)mode);
            if (touched)
                digest(sandbox, at, 8 * PAGE);
            assert_int_equal(ftruncate(file.fd, 2 * PAGE + 5), 0);
            assert_int_equal(peek(sandbox, at + PAGE), byte_at(PAGE));
            ASSERT_OK(kaon_call(sandbox, &out, "read_byte",
                                KAON_ARGS(kaon_u64(at + 5 * PAGE)), NULL,
                                &err));
            ASSERT_OUTCOME(copied ? KAON_RETURNED : KAON_FAULT, out);
            if (!copied) {
                ASSERT_CONTAINS(out.text, "was a mapped file cut?");
                e2e_restore(sandbox, snapshot);
                at = map_at(sandbox, region, (enum kaon_map_mode)mode, at);
            }
            /* The host looks there for a backtrace. */
            ASSERT_OK(kaon_call(sandbox, &out, "fault_with_frame",
                                KAON_ARGS(kaon_u64(at + 4 * PAGE)), NULL,
                                &err));
            ASSERT_OUTCOME(KAON_FAULT, out);
            e2e_restore(sandbox, snapshot);
            at = map_at(sandbox, region, (enum kaon_map_mode)mode, at);
            ASSERT_OK(kaon_call(sandbox, &out, "write_byte",
                                KAON_ARGS(kaon_u64(at + 5 * PAGE), kaon_u32(1)),
                                NULL, &err));
            ASSERT_OUTCOME(copied ? KAON_RETURNED : KAON_FAULT, out);
            e2e_restore(sandbox, snapshot);
            assert_int_equal(digest(sandbox, 0x310000, 100) != 0, true);
            kaon_snapshot_destroy(snapshot);
            kaon_sandbox_destroy(sandbox);
            kaon_region_destroy(region);
            end_file(&file);
        }
}

static void a_file_shows_what_is_in_it_now(void **state)
{
    struct file file = make_file(4 * PAGE);
    struct kaon_region *region = open_region(&file);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    uint64_t at = map(sandbox, region, KAON_MAP_READ);

    (void)state;
    assert_int_equal(peek(sandbox, at + PAGE), byte_at(PAGE));
    assert_int_equal(pwrite(file.fd, "x", 1, PAGE), 1);
    assert_int_equal(peek(sandbox, at + PAGE), 'x');
    unlink(file.path); /* the file is there, for as long as somebody has it */
    assert_int_equal(digest(sandbox, at, file.size), digest_file(&file));
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(region);
    close(file.fd);
}

/* ---- Snapshots --------------------------------------------------------- */

static void a_restore_makes_the_mappings_those_of_the_snapshot(void **state)
{
    struct file file = make_file(20 * PAGE);
    struct kaon_region *region = open_region(&file);
    struct kaon_region *buffer = make_buffer(3 * PAGE);

    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct kaon_domain *domain = shared ? make_domain() : NULL;
        struct kaon_sandbox *sandbox = sandbox_in(domain);
        struct kaon_snapshot *none = e2e_take(sandbox), *two;
        uint64_t copy = map(sandbox, region, KAON_MAP_COPY), other, both;

        poke(sandbox, copy + 3 * PAGE, 33);
        poke(sandbox, copy + 4 * PAGE, 44);
        both = map(sandbox, buffer, KAON_MAP_WRITE);
        two = e2e_take(sandbox);
        for (int round = 0; round < 3; round++) {
            poke(sandbox, copy + 3 * PAGE, 1);
            poke(sandbox, copy + 4 * PAGE + 1, 1);
            poke(sandbox, copy + 5 * PAGE, 1);
            poke(sandbox, both, 50 + (uint32_t)round);
            other = map(sandbox, region, KAON_MAP_READ);
            if (round == 1)
                unmap(sandbox, copy);
            if (round == 2)
                e2e_restore(sandbox, none);
            e2e_restore(sandbox, two);
            assert_int_equal(peek(sandbox, copy + 3 * PAGE), 33);
            assert_int_equal(peek(sandbox, copy + 4 * PAGE), 44);
            assert_int_equal(peek(sandbox, copy + 4 * PAGE + 1),
                             byte_at(4 * PAGE + 1));
            assert_int_equal(peek(sandbox, copy + 5 * PAGE), byte_at(5 * PAGE));
            assert_int_equal(peek(sandbox, both), 50 + (uint32_t)round);
            ASSERT_READ_FAULTS(sandbox, other);
            e2e_restore(sandbox, two);
        }
        e2e_restore(sandbox, none);
        ASSERT_READ_FAULTS(sandbox, copy);
        kaon_snapshot_destroy(none);
        kaon_snapshot_destroy(two);
        kaon_sandbox_destroy(sandbox);
        kaon_domain_destroy(domain);
    }
    kaon_region_destroy(region);
    kaon_region_destroy(buffer);
    end_file(&file);
}

/* Another sandbox has seen the file's page where the snapshot has a copy. */
static void a_snapshot_with_mappings_fits_other_sandboxes(void **state)
{
    struct file file = make_file(20 * PAGE);
    struct kaon_region *region = open_region(&file);
    struct kaon_domain *domain = make_domain();
    struct kaon_image *image = e2e_image("map");
    struct kaon_sandbox *origin = sandbox_of(image, NULL, 0), *made[4], *seen;
    uint64_t at = map(origin, region, KAON_MAP_COPY);
    struct kaon_snapshot *snapshot;
    struct kaon_snapshot_stats stats;

    (void)state;
    poke(origin, at + 7 * PAGE, 77);
    peek(origin, at + 8 * PAGE);
    snapshot = e2e_take(origin);
    kaon_snapshot_stats(snapshot, &stats);
    assert_in_range(stats.pages, 1, 16);
    kaon_sandbox_destroy(origin);
    seen = sandbox_of(image, domain, 0);
    map_at(seen, region, KAON_MAP_COPY, at);
    assert_int_equal(peek(seen, at + 7 * PAGE), byte_at(7 * PAGE));
    e2e_restore(seen, snapshot);
    kaon_region_destroy(region); /* the snapshot has it */
    assert_int_equal(peek(seen, at + 7 * PAGE), 77);
    for (int i = 0; i < 4; i++) {
        made[i] = e2e_create_from(snapshot, i < 2 ? domain : NULL);
        assert_int_equal(peek(made[i], at + 7 * PAGE), 77);
        assert_int_equal(peek(made[i], at + 8 * PAGE), byte_at(8 * PAGE));
        poke(made[i], at + 8 * PAGE, (uint32_t)(80 + i));
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(peek(made[i], at + 8 * PAGE), 80 + i);
        e2e_restore(made[i], snapshot);
        assert_int_equal(peek(made[i], at + 8 * PAGE), byte_at(8 * PAGE));
        kaon_sandbox_destroy(made[i]);
    }
    kaon_sandbox_destroy(seen);
    kaon_image_destroy(image);
    kaon_snapshot_destroy(snapshot);
    kaon_domain_destroy(domain);
    end_file(&file);
}

static void the_next_sandbox_sees_no_mapping_of_the_last(void **state)
{
    struct kaon_region *region = make_buffer(10 * PAGE);
    struct kaon_domain *domain = make_domain();

    (void)state;
    for (int i = 0; i < 10; i++) {
        struct kaon_sandbox *sandbox = sandbox_in(domain);
        uint64_t at = map(sandbox, region, (enum kaon_map_mode)(i % 3));

        if (i % 3)
            poke(sandbox, at, 5);
        digest(sandbox, at, 10 * PAGE);
        kaon_sandbox_destroy(sandbox);
        sandbox = sandbox_in(domain);
        ASSERT_READ_FAULTS(sandbox, at);
        kaon_sandbox_destroy(sandbox);
    }
    kaon_domain_destroy(domain);
    kaon_region_destroy(region);
}

/* Whoever has a sandbox of a pool next has its mappings as they were. */
static void
a_pool_gives_sandboxes_with_the_mappings_of_their_snapshot(void **state)
{
    struct kaon_region *region = make_buffer(10 * PAGE);
    struct kaon_region *secret = make_buffer(PAGE);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot;
    struct kaon_pool *pool = NULL;
    uint64_t at, other;

    (void)state;
    *(unsigned char *)kaon_region_data(region) = 9;
    at = map(sandbox, region, KAON_MAP_COPY);
    poke(sandbox, at + PAGE, 8);
    snapshot = e2e_take(sandbox);
    kaon_sandbox_destroy(sandbox);
    ASSERT_OK(kaon_pool_create_from(
        &pool, snapshot,
        KAON_POOL_OPTS(.max = 1,
                       .sandbox =
                           KAON_SANDBOX_OPTS(.isolation =
                                                 isolation_is_process()
                                                     ? KAON_ISOLATION_PROCESS
                                                     : 0)),
        &err));
    kaon_snapshot_destroy(snapshot);
    for (int i = 0; i < 10; i++) {
        ASSERT_OK(kaon_pool_acquire(pool, &sandbox, 10 * SECOND, &err));
        assert_int_equal(peek(sandbox, at), 9);
        assert_int_equal(peek(sandbox, at + PAGE), 8);
        other = map(sandbox, secret, KAON_MAP_WRITE);
        poke(sandbox, at + PAGE, 1);
        poke(sandbox, at + 2 * PAGE, 1);
        if (i % 3 == 0)
            unmap(sandbox, at);
        kaon_pool_release(pool, sandbox);
        ASSERT_OK(kaon_pool_acquire(pool, &sandbox, 10 * SECOND, &err));
        assert_int_equal(peek(sandbox, at + 2 * PAGE), 0);
        ASSERT_READ_FAULTS(sandbox, other);
        kaon_pool_release(pool, sandbox);
    }
    kaon_pool_destroy(pool);
    kaon_region_destroy(region);
    kaon_region_destroy(secret);
}

static void a_window_that_is_too_small_for_a_snapshot_is_refused(void **state)
{
    struct kaon_region *region = make_buffer(5 * MIB);
    struct kaon_image *image = e2e_image("map");
    struct kaon_sandbox *origin = sandbox_of(image, NULL, 0), *made = NULL;
    struct kaon_sandbox *small = sandbox_of(image, NULL, 1);
    struct kaon_error err = { 0 };
    struct kaon_snapshot *snapshot;

    (void)state;
    map(origin, region, KAON_MAP_READ);
    snapshot = e2e_take(origin);
    ASSERT_REFUSED(KAON_EINVAL, "raise map_bytes",
                   kaon_sandbox_restore(small, snapshot, &err));
    ASSERT_REFUSED(KAON_EINVAL, "raise map_bytes",
                   kaon_sandbox_create_from(&made, snapshot,
                                            KAON_SANDBOX_OPTS(.map_bytes = 1),
                                            &err));
    assert_int_equal(digest(small, 0x310000, 100) != 0, true);
    kaon_snapshot_destroy(snapshot);
    kaon_sandbox_destroy(origin);
    kaon_sandbox_destroy(small);
    kaon_image_destroy(image);
    kaon_region_destroy(region);
}

/* A guest touches each page of some megabytes, in each way. */
static void a_large_mapping_is_seen_to_its_end(void **state)
{
    struct kaon_region *region = make_buffer(70 * MIB);
    struct kaon_sandbox *sandbox = sandbox_in(NULL);
    unsigned char *data = kaon_region_data(region);
    uint64_t at;

    (void)state;
    for (uint64_t i = 0; i < 70 * MIB; i += PAGE)
        data[i] = byte_at(i);
    at = map(sandbox, region, KAON_MAP_READ);
    for (uint64_t i = 0; i < 70 * MIB; i += 997 * PAGE)
        assert_int_equal(peek(sandbox, at + i), byte_at(i));
    assert_int_equal(peek(sandbox, at + 70 * MIB - PAGE),
                     byte_at(70 * MIB - PAGE));
    ASSERT_READ_FAULTS(sandbox, at + 70 * MIB);
    kaon_sandbox_destroy(sandbox);
    kaon_region_destroy(region);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW(22, a_file_is_seen_as_it_is),
    TEST_ROW(22, a_part_of_a_file_is_seen_from_its_offset_on),
    TEST_ROW(22, a_write_to_what_is_read_only_faults_there),
    TEST_ROW(22, nothing_that_is_mapped_can_be_executed),
    TEST_ROW(22, copy_on_write_never_changes_the_file),
    TEST_ROW(22, what_the_host_writes_to_a_buffer_the_guest_reads),
    TEST_ROW(22, what_a_guest_writes_to_a_buffer_all_see),
    TEST_ROW(22, a_guest_sees_a_buffer_change_while_it_runs),
    TEST_ROW(22, a_large_mapping_is_seen_to_its_end),
    TEST_ROW(23, what_is_unmapped_is_gone),
    TEST_ROW(23, another_mapping_at_the_same_address_is_seen),
    TEST_ROW(23, each_vcpu_that_ran_it_forgets_what_is_unmapped),
    TEST_ROW_LIMIT(23, 300, ten_thousand_cycles_leak_nothing),
    TEST_ROW(23, what_is_no_region_is_refused_by_name),
    TEST_ROW(23, what_cannot_be_mapped_there_is_refused_by_name),
    TEST_ROW(23, map_bytes_out_of_range_are_refused_by_name),
    TEST_ROW(23, many_mappings_are_had_or_refused),
    TEST(a_resident_sandbox_is_mapped_into),
    TEST_ROW(11, a_poisoned_sandbox_is_not_mapped_into),
    TEST(nobody_maps_while_a_call_runs),
    TEST(a_file_that_shrinks_is_the_guests_fault),
    TEST(a_file_shows_what_is_in_it_now),
    TEST(a_restore_makes_the_mappings_those_of_the_snapshot),
    TEST(a_snapshot_with_mappings_fits_other_sandboxes),
    TEST_ROW(25, the_next_sandbox_sees_no_mapping_of_the_last),
    TEST_ROW(25,
             a_pool_gives_sandboxes_with_the_mappings_of_their_snapshot),
    TEST(a_window_that_is_too_small_for_a_snapshot_is_refused),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No hypervisor, no permission, no descriptors, no memory: a status and a
 * sentence that says what to do, and nothing is lost. Each happens to a child
 * process.
 */
#include "e2e/e2e.h"
#include "support/isolation.h"
#include "support/leaks.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

/* What a child is given. */
struct world {
    struct kaon_image *image;
    bool knows_kvm; /* the library has used /dev/kvm before */
};

/* Does it contain all words? */
static bool says(const struct kaon_error *err, enum kaon_status status,
                 const char *words)
{
    if (err->status == status && strstr(err->text, words))
        return true;
    fprintf(stderr, "# %s, no \"%s\" in: %s\n", kaon_status_name(err->status),
            words, err->text);
    return false;
}

/* Creates, calls once, and destroys. */
static enum kaon_status use(struct kaon_image *image, struct kaon_error *err)
{
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    enum kaon_status status = kaon_sandbox_create(&sandbox, image, NULL, err);

    if (status)
        return status;
    status = kaon_call(sandbox, &out, "add",
                       KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL, err);
    kaon_sandbox_destroy(sandbox);
    if (!status && (out.kind != KAON_RETURNED || out.value.i32 != 3))
        fprintf(stderr, "# add(1, 2) is not 3\n");
    return status;
}

/*
 * Nothing is held after `times` attempts that was not held before. The first
 * may leave what is made once.
 */
static bool fails_without_leak(struct kaon_image *image,
                               enum kaon_status status, const char *words)
{
    static struct leaks_census before, after;
    struct kaon_domain *domain;
    struct kaon_error err;
    char text[512];

    for (int i = 0; i < 3; i++) {
        memset(&err, 0, sizeof err);
        if (use(image, &err) != status || !says(&err, status, words))
            return false;
        memset(&err, 0, sizeof err);
        if (kaon_domain_create(&domain, NULL, &err) != status ||
            !says(&err, status, words))
            return false;
        if (i == 0)
            leaks_take(&before, NULL);
    }
    leaks_take(&after, &before);
    if (!leaks_found(&before, &after, text, sizeof text))
        return true;
    fprintf(stderr, "# leaked: %s\n", text);
    return false;
}

/* A mount namespace of the child's own, in which it may mount. */
static bool own_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ||
           errno == EINVAL; /* a root that is no mount point */
}

static void run(int (*child)(void *user), bool knows_kvm, const char *needs)
{
    struct world world = { .knows_kvm = knows_kvm };
    bool ran;

    if (isolation_is_process())
        harness_skip("this is about KVM");
    world.image = e2e_image("echo");
    ran = e2e_in_child(child, &world, 30);
    kaon_image_destroy(world.image);
    if (!ran)
        harness_skip("%s", needs);
}

/* ---- /dev/kvm ---------------------------------------------------------- */

static int without_kvm(void *user)
{
    struct world *world = user;
    struct kaon_error err;

    if (world->knows_kvm)
        CHILD_CHECK(use(world->image, &err) == KAON_OK);
    if (!own_mounts() || mount("none", "/dev", "tmpfs", 0, NULL) != 0)
        return CHILD_SKIP;
    CHILD_CHECK(fails_without_leak(world->image, KAON_EBACKEND, "no /dev/kvm"));
    CHILD_CHECK(fails_without_leak(world->image, KAON_EBACKEND, "kaon doctor"));
    return 0;
}

static void without_dev_kvm_the_error_says_what_to_do(void **state)
{
    (void)state;
    run(without_kvm, false, "this process may not mount");
    run(without_kvm, true, "this process may not mount");
}

static int with_another_device(void *user)
{
    struct world *world = user;
    struct kaon_error err;

    if (world->knows_kvm)
        CHILD_CHECK(use(world->image, &err) == KAON_OK);
    if (!own_mounts() ||
        mount("/dev/null", "/dev/kvm", NULL, MS_BIND, NULL) != 0)
        return CHILD_SKIP;
    CHILD_CHECK(fails_without_leak(world->image, KAON_EBACKEND,
                                   world->knows_kvm ? "refused" : "is it KVM"));
    return 0;
}

static void a_device_that_is_not_kvm_is_refused(void **state)
{
    (void)state;
    run(with_another_device, false, "this process may not mount");
    run(with_another_device, true, "this process may not mount");
}

static int without_permission(void *user)
{
    struct world *world = user;

    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return CHILD_SKIP;
    if (access("/dev/kvm", R_OK | W_OK) == 0)
        return CHILD_SKIP;
    CHILD_CHECK(
        fails_without_leak(world->image, KAON_EBACKEND, "no permission"));
    CHILD_CHECK(fails_without_leak(world->image, KAON_EBACKEND, "usermod"));
    return 0;
}

static void without_permission_the_error_says_how_to_get_it(void **state)
{
    (void)state;
    run(without_permission, false,
        "this process is not root, or /dev/kvm is open to all");
}

/* ---- Descriptors ------------------------------------------------------- */

static int next_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd;
}

/* One descriptor more each time, until there are enough. */
static int short_of_descriptors(void *user)
{
    struct world *world = user;
    struct rlimit limit;
    int free_fd = next_descriptor(), failures = 0;

    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int more = 0; more < 10; more++) {
        struct kaon_error err = { 0 };
        enum kaon_status status;

        limit.rlim_cur = (rlim_t)(free_fd + more);
        CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        status = use(world->image, &err);
        if (status == KAON_OK) {
            CHILD_CHECK(failures >= 2);
            return 0;
        }
        CHILD_CHECK(says(&err, KAON_EBACKEND, "ulimit -n"));
        CHILD_CHECK(err.sys_errno == EMFILE);
        CHILD_CHECK(more == 0 || next_descriptor() == free_fd);
        failures++;
    }
    fprintf(stderr, "# ten descriptors are not enough\n");
    return 1;
}

static void at_the_limit_of_descriptors_the_error_says_so(void **state)
{
    (void)state;
    run(short_of_descriptors, false, "");
    run(short_of_descriptors, true, "");
}

/* A sandbox that could not get its vCPU gets it later. */
static int descriptor_for_a_vcpu(void *user)
{
    struct world *world = user;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct rlimit limit, less;

    CHILD_CHECK(kaon_sandbox_create(&sandbox, world->image, NULL, &err) ==
                KAON_OK);
    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    less = limit;
    less.rlim_cur = (rlim_t)next_descriptor();
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &less) == 0);
    for (int i = 0; i < 3; i++) {
        CHILD_CHECK(kaon_call(sandbox, &out, "add",
                              KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL,
                              &err) == KAON_EBACKEND);
        CHILD_CHECK(says(&err, KAON_EBACKEND, "ulimit -n"));
        CHILD_CHECK(kaon_sandbox_state(sandbox) == KAON_SANDBOX_READY);
    }
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHILD_CHECK(kaon_call(sandbox, &out, "add",
                          KAON_ARGS(kaon_i32(1), kaon_i32(2)), NULL,
                          &err) == KAON_OK);
    CHILD_CHECK(out.kind == KAON_RETURNED && out.value.i32 == 3);
    kaon_sandbox_destroy(sandbox);
    return 0;
}

static void a_call_that_found_no_descriptor_works_later(void **state)
{
    (void)state;
    run(descriptor_for_a_vcpu, false, "");
}

/* ---- Memory ------------------------------------------------------------ */

static rlim_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file) {
        if (fscanf(file, "%lu", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    return (rlim_t)pages * 4096;
}

/* A little more address space each time, until there is enough. */
static int short_of_memory(void *user)
{
    struct world *world = user;
    struct rlimit limit, less;
    rlim_t now;
    int failures = 0;

    CHILD_CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    now = address_space();
    CHILD_CHECK(now != 0);
    for (rlim_t more = 0; more < 256 << 20;
         more += more < 65536 ? 4096 : 2 << 20) {
        struct kaon_error err = { 0 };
        enum kaon_status status;
        int fd = next_descriptor();

        less = limit;
        less.rlim_cur = now + more;
        CHILD_CHECK(setrlimit(RLIMIT_AS, &less) == 0);
        status = use(world->image, &err);
        CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
        CHILD_CHECK(next_descriptor() == fd);
        if (status == KAON_OK) {
            CHILD_CHECK(failures >= 2);
            CHILD_CHECK(use(world->image, &err) == KAON_OK);
            return 0;
        }
        CHILD_CHECK(says(&err, KAON_ENOMEM, "memory") ||
                    says(&err, KAON_ENOMEM, "ulimit -v"));
        failures++;
    }
    fprintf(stderr, "# 256 MiB are not enough\n");
    return 1;
}

static void where_memory_is_refused_the_error_says_so(void **state)
{
    (void)state;
    if (harness_sanitized())
        harness_skip("sanitizers need all the address space");
    run(short_of_memory, false, "");
    run(short_of_memory, true, "");
}

static int memory_for_a_vcpu(void *user)
{
    struct world *world = user;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;
    struct rlimit limit, less;
    int fd;

    CHILD_CHECK(kaon_sandbox_create(&sandbox, world->image, NULL, &err) ==
                KAON_OK);
    fd = next_descriptor();
    CHILD_CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    less = limit;
    less.rlim_cur = address_space();
    CHILD_CHECK(setrlimit(RLIMIT_AS, &less) == 0);
    for (int i = 0; i < 3; i++) {
        enum kaon_status status =
            kaon_call(sandbox, &out, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)),
                      NULL, &err);

        CHILD_CHECK(status != KAON_OK);
        CHILD_CHECK(says(&err, KAON_ENOMEM, "memory"));
        CHILD_CHECK(kaon_sandbox_state(sandbox) == KAON_SANDBOX_READY);
        CHILD_CHECK(next_descriptor() == fd);
    }
    CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    if (kaon_call(sandbox, &out, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)),
                  NULL, &err)) {
        fprintf(stderr, "# now that there is memory: %s\n", err.text);
        return 1;
    }
    CHILD_CHECK(out.kind == KAON_RETURNED && out.value.i32 == 3);
    kaon_sandbox_destroy(sandbox);
    return 0;
}

static void a_call_that_found_no_memory_works_later(void **state)
{
    (void)state;
    if (harness_sanitized())
        harness_skip("sanitizers need all the address space");
    run(memory_for_a_vcpu, false, "");
}

TESTS_NEED_KVM(TEST_ROW(27, without_dev_kvm_the_error_says_what_to_do),
               TEST_ROW(27, a_device_that_is_not_kvm_is_refused),
               TEST_ROW(27, without_permission_the_error_says_how_to_get_it),
               TEST_ROW(27, at_the_limit_of_descriptors_the_error_says_so),
               TEST_ROW(27, a_call_that_found_no_descriptor_works_later),
               TEST_ROW(27, where_memory_is_refused_the_error_says_so),
               TEST_ROW(27, a_call_that_found_no_memory_works_later))

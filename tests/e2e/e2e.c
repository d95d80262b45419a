/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the end-to-end tests. Keeps nothing from test to test. */
#include "e2e/e2e.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Assertions -------------------------------------------------------- */

__attribute__((format(printf, 3, 4), noreturn)) static void
fail_at(const char *file, int line, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("# %s\n", text);
    _fail(file, line);
    __builtin_unreachable();
}

void e2e_assert_status(enum kaon_status got, enum kaon_status expected,
                       const char *words, const struct kaon_error *err,
                       const char *call, const char *file, int line)
{
    if (got != expected)
        fail_at(file, line, "%s: %s instead of %s: %s", call,
                kaon_status_name(got), kaon_status_name(expected),
                got ? err->text : "");
    if (!got)
        return;
    if (err->status != got)
        fail_at(file, line, "%s: returned %s, but err has %s: %s", call,
                kaon_status_name(got), kaon_status_name(err->status),
                err->text);
    if (strlen(err->text) < 8)
        fail_at(file, line, "%s: \"%s\" is no sentence", call, err->text);
    if (words && !strstr(err->text, words))
        fail_at(file, line, "%s: no \"%s\" in: %s", call, words, err->text);
}

void e2e_assert_outcome(const struct kaon_outcome *out,
                        enum kaon_outcome_kind expected, const char *file,
                        int line)
{
    if (out->kind != expected)
        fail_at(file, line, "%s instead of %s: %s",
                kaon_outcome_name(out->kind), kaon_outcome_name(expected),
                out->kind == KAON_RETURNED ? "" : out->text);
    if (out->kind != KAON_RETURNED && !memchr(out->text, 0, sizeof out->text))
        fail_at(file, line, "the outcome's text has no end");
}

void e2e_assert_contains(const char *text, const char *words, const char *file,
                         int line)
{
    if (!strstr(text, words))
        fail_at(file, line, "no \"%s\" in: %s", words, text);
}

void e2e_assert_returns(int32_t expected, struct kaon_sandbox *sandbox,
                        const char *file, int line, const char *function,
                        const struct kaon_value *args, size_t count)
{
    struct kaon_outcome out;
    struct kaon_error err = { 0 };

    e2e_assert_status(
        kaon_call(sandbox, &out, function, args, count, NULL, &err), KAON_OK,
        NULL, &err, function, file, line);
    e2e_assert_outcome(&out, KAON_RETURNED, file, line);
    if (out.value.type != KAON_TYPE_I32 || out.value.i32 != expected)
        fail_at(file, line, "%s returned %s %d instead of %d", function,
                kaon_type_name(out.value.type), out.value.i32, expected);
}

/* ---- Guests ------------------------------------------------------------ */

struct kaon_image *e2e_image(const char *guest)
{
    struct kaon_error err = { 0 };
    struct kaon_image *image;

    ASSERT_OK(kaon_image_open(&image, harness_guest(guest), &err));
    return image;
}

static int host_add(struct kaon_host_call *call, const struct kaon_value *args,
                    struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = kaon_i32(args[0].i32 + args[1].i32);
    return 0;
}

static int host_fail(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    (void)args;
    (void)result;
    (void)user;
    return kaon_host_fail(call, 7, "no luck");
}

static int host_echo(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = args[0];
    return 0;
}

struct kaon_host_functions *e2e_functions(void)
{
    struct kaon_error err = { 0 };
    struct kaon_host_functions *set;

    ASSERT_OK(kaon_host_functions_create(&set, &err));
    ASSERT_OK(kaon_host_functions_print(set, NULL, NULL, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostAdd", KAON_TYPE_I32,
                                      KAON_PARAMS(KAON_TYPE_I32, KAON_TYPE_I32),
                                      host_add, NULL, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostFail", KAON_TYPE_VOID,
                                      KAON_NO_PARAMS, host_fail, NULL, &err));
    ASSERT_OK(kaon_host_functions_add(set, "HostEcho", KAON_TYPE_STRING,
                                      KAON_PARAMS(KAON_TYPE_STRING), host_echo,
                                      NULL, &err));
    return set;
}

struct kaon_sandbox *e2e_sandbox(const char *guest,
                                 const struct kaon_sandbox_opts *opts)
{
    struct kaon_image *image = e2e_image(guest);
    struct kaon_error err = { 0 };
    struct kaon_sandbox *sandbox;

    ASSERT_OK(kaon_sandbox_create(&sandbox, image, opts, &err));
    kaon_image_destroy(image);
    return sandbox;
}

struct kaon_sandbox *e2e_basics(void)
{
    struct kaon_host_functions *set = e2e_functions();
    struct kaon_sandbox *sandbox =
        e2e_sandbox("basics", KAON_SANDBOX_OPTS(.host_functions = set));

    kaon_host_functions_destroy(set);
    return sandbox;
}

uint64_t e2e_ask(struct kaon_sandbox *sandbox, const char *function,
                 const struct kaon_value *args, size_t count)
{
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    ASSERT_OK(kaon_call(sandbox, &out, function, args, count, NULL, &err));
    ASSERT_OUTCOME(KAON_RETURNED, out);
    switch (out.value.type) {
    case KAON_TYPE_VOID: return 0;
    case KAON_TYPE_BOOL: return out.value.boolean;
    case KAON_TYPE_U32: return out.value.u32;
    default: assert_int_equal(out.value.type, KAON_TYPE_U64);
    }
    return out.value.u64;
}

struct kaon_sandbox_stats e2e_stats(const struct kaon_sandbox *sandbox)
{
    struct kaon_sandbox_stats stats;

    assert_int_equal(kaon_sandbox_stats(sandbox, &stats), KAON_OK);
    return stats;
}

struct kaon_snapshot *e2e_take(struct kaon_sandbox *sandbox)
{
    struct kaon_snapshot *snapshot = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_snapshot_take(&snapshot, sandbox, &err));
    return snapshot;
}

void e2e_restore(struct kaon_sandbox *sandbox, struct kaon_snapshot *snapshot)
{
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_sandbox_restore(sandbox, snapshot, &err));
}

struct kaon_sandbox *e2e_create_from(struct kaon_snapshot *snapshot,
                                     struct kaon_domain *domain)
{
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_sandbox_create_from(
        &sandbox, snapshot, KAON_SANDBOX_OPTS(.domain = domain), &err));
    return sandbox;
}

struct kaon_sandbox *e2e_acquire(struct kaon_pool *pool)
{
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };

    ASSERT_OK(kaon_pool_acquire(pool, &sandbox, KAON_FOREVER, &err));
    return sandbox;
}

/* ---- Time -------------------------------------------------------------- */

unsigned int e2e_scaled(unsigned int full)
{
    unsigned int scaled = full / harness_slowness();

    return scaled ? scaled : 1;
}

uint64_t e2e_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void e2e_sleep(uint64_t nanoseconds)
{
    uint64_t end = e2e_now() + nanoseconds;
    const struct timespec until = { .tv_sec = (time_t)(end / SECOND),
                                    .tv_nsec = (long)(end % SECOND) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) ==
           EINTR)
        ;
}

/* ---- Children ---------------------------------------------------------- */

bool e2e_in_child(int (*function)(void *user), void *user, unsigned int limit)
{
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(limit * harness_slowness());
        _exit(function(user));
    }
    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    if (WIFSIGNALED(status))
        fail_msg("the child was killed by signal %d%s", WTERMSIG(status),
                 WTERMSIG(status) == SIGALRM ? ": over its time limit" : "");
    if (WEXITSTATUS(status) == CHILD_SKIP)
        return false;
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library loaded and unloaded, by a program that is not linked with it.
 * Afterwards neither a thread nor a handler of it may be left.
 */
#include "support/harness.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <kaon.h>

#ifndef LIBRARY
#error "LIBRARY is the path of libkaon.so"
#endif

/* The functions that the test calls. */
struct library {
    void *handle;
    __typeof__(&kaon_image_open) image_open;
    __typeof__(&kaon_image_destroy) image_destroy;
    __typeof__(&kaon_sandbox_create) sandbox_create;
    __typeof__(&kaon_sandbox_destroy) sandbox_destroy;
    __typeof__(&kaon_call) call;
};

static void *find(void *handle, const char *name)
{
    void *found = dlsym(handle, name);

    if (!found)
        fail_msg("%s", dlerror());
    return found;
}

static void load(struct library *library)
{
    library->handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library->handle)
        fail_msg("%s", dlerror());
    *(void **)&library->image_open = find(library->handle, "kaon_image_open");
    *(void **)&library->image_destroy =
        find(library->handle, "kaon_image_destroy");
    *(void **)&library->sandbox_create =
        find(library->handle, "kaon_sandbox_create");
    *(void **)&library->sandbox_destroy =
        find(library->handle, "kaon_sandbox_destroy");
    *(void **)&library->call = find(library->handle, "kaon_call");
}

static bool is_mapped(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[4096];
    bool found = false;

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        found |= strstr(line, "libkaon") != NULL;
    fclose(maps);
    return found;
}

/* As support/isolation.c chooses for tests that are linked with the library. */
static enum kaon_isolation isolation(void)
{
    const char *name = getenv("KAON_TEST_ISOLATION");

    return name && strcmp(name, "process") == 0 ? KAON_ISOLATION_PROCESS
                                                : KAON_ISOLATION_VM;
}

/* Spins until its deadline, so that the library's thread and handler are. */
static void use(const struct library *library, uint64_t deadline_ns)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_error err = { 0 };
    struct kaon_outcome out;

    if (library->image_open(&image, harness_guest("spin"), &err) ||
        library->sandbox_create(&sandbox, image,
                                KAON_SANDBOX_OPTS(.isolation = isolation()),
                                &err) ||
        library->call(sandbox, &out, "spin", KAON_NO_ARGS,
                      KAON_CALL_OPTS(.deadline_ns = deadline_ns), &err))
        fail_msg("%s", err.text);
    assert_int_equal(out.kind, KAON_DEADLINE);
    library->sandbox_destroy(sandbox);
    library->image_destroy(image);
}

static void the_library_can_be_loaded_and_unloaded(void **state)
{
    (void)state;
    assert_false(is_mapped());
    for (int i = 0; i < 20; i++) {
        struct library library;

        load(&library);
        assert_true(is_mapped());
        if (i % 2)
            use(&library, 1000000);
        assert_int_equal(dlclose(library.handle), 0);
        if (!harness_sanitized()) /* which may keep it */
            assert_false(is_mapped());
    }
}

static void no_handler_is_left_behind(void **state)
{
    struct library library;

    (void)state;
    load(&library);
    use(&library, 1000000);
    assert_int_equal(dlclose(library.handle), 0);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        struct sigaction action;

        assert_int_equal(sigaction(number, NULL, &action), 0);
        assert_true(action.sa_handler == SIG_DFL ||
                    action.sa_handler == SIG_IGN);
    }
    /* As of a kick that came late; processes are not stopped by signals. */
    if (isolation() == KAON_ISOLATION_VM)
        assert_int_equal(raise(SIGRTMIN + 7), 0);
}

TESTS_NEED_KVM(TEST_ROW(29, the_library_can_be_loaded_and_unloaded),
               TEST_ROW(29, no_handler_is_left_behind))

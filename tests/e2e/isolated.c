/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the tests of process isolation. Keeps nothing. */
#include "e2e/isolated.h"

#include <sys/wait.h>
#include <unistd.h>

#include "support/processes.h"

enum kaon_status isolated_create(struct kaon_sandbox **out,
                                 struct kaon_image *image,
                                 struct kaon_error *err)
{
    return kaon_sandbox_create(
        out, image,
        KAON_SANDBOX_OPTS(.isolation = KAON_ISOLATION_PROCESS,
                          .heap_bytes = 1 << 20),
        err);
}

bool isolated_adds(struct kaon_sandbox *sandbox)
{
    struct kaon_outcome out;

    return kaon_call(sandbox, &out, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)),
                     NULL, NULL) == KAON_OK &&
           out.kind == KAON_RETURNED && out.value.i32 == 3;
}

int isolated_use_one(void *user)
{
    struct kaon_image *image = user;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };

    if (isolated_create(&sandbox, image, &err)) {
        fprintf(stderr, "# in a child: %s\n", err.text);
        return 1;
    }
    CHILD_CHECK(strcmp(kaon_sandbox_backend(sandbox), "process") == 0);
    CHILD_CHECK(isolated_adds(sandbox));
    CHILD_CHECK(isolated_adds(sandbox));
    kaon_sandbox_destroy(sandbox);
    return 0;
}

void isolated_await(size_t count)
{
    for (int i = 0; i < 3000; i++) {
        siginfo_t info = { 0 };

        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid)
            info.si_pid = 0;
        if (processes_of(getpid(), NULL, 0) <= count)
            return;
        e2e_sleep(10 * MILLISECOND);
    }
    fail_msg("%zu processes are left", processes_of(getpid(), NULL, 0));
}

void isolated_in_children(const struct isolated_check *checks, size_t count)
{
    struct kaon_image *image = e2e_image("echo");

    for (size_t i = 0; i < count; i++)
        if (!e2e_in_child(checks[i].function, image, 120))
            print_message("# skipped here: %s\n", checks[i].name);
    kaon_image_destroy(image);
    isolated_await(0);
}

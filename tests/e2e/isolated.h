/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/e2e/isolated.h - what the tests of process isolation share
 *
 * Sandboxes of the guest "echo" or another, in a process each; and checks that
 * run in a child, whose system may then be made a worse one.
 */
#ifndef KAON_TESTS_ISOLATED_H
#define KAON_TESTS_ISOLATED_H

#include "e2e/e2e.h"

enum kaon_status isolated_create(struct kaon_sandbox **out,
                                 struct kaon_image *image,
                                 struct kaon_error *err);

/* Does it (a sandbox of "echo") work? */
bool isolated_adds(struct kaon_sandbox *sandbox);

/* One from start to end, as a child's check: 0 if all is well. user is the
 * image. */
int isolated_use_one(void *user);

/* Waits until no more than `count` processes of ours are left. */
void isolated_await(size_t count);

/* A check for a child, of the image "echo": 0 or CHILD_SKIP; with its name. */
struct isolated_check {
    int (*function)(void *image);
    const char *name;
};

/* Runs checks in a child each, and waits until nobody is left of it. Says which
 * were skipped. */
void isolated_in_children(const struct isolated_check *checks, size_t count);

#define IN_CHILDREN(...)                                               \
    do {                                                               \
        static const struct isolated_check checks[] = { __VA_ARGS__ }; \
                                                                       \
        isolated_in_children(checks, sizeof checks / sizeof *checks);  \
    } while (0)
#define CHECK(function)     \
    {                       \
        function, #function \
    }

#endif

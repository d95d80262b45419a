/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/e2e/command.h - runs the command line tool, as a shell would
 */
#ifndef KAON_TESTS_COMMAND_H
#define KAON_TESTS_COMMAND_H

#include "support/harness.h"

#define WORDS_MAX 24 /* that one run can have */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The path of the command: KAON_TEST_COMMAND, or where the build leaves it. */
const char *command(void);

/* What a run of the command left. The texts are NUL-terminated. */
struct ran {
    int status;
    char out[16384], err[16384];
};

/*
 * Runs kaon with words, the last of them NULL. A crash fails the test. Where
 * guests of tests run in processes, those of `kaon run` and `kaon bench` do.
 */
void run(struct ran *ran, const char *const *words);
#define RUN(ran, ...) run(ran, (const char *const[]){ __VA_ARGS__, NULL })

/*
 * As above, after the new process has made a world for it: prepare() returns
 * false if it cannot, and run_where() then too, without having run anything.
 */
bool run_where(struct ran *ran, bool (*prepare)(void),
               const char *const *words);

/* As above with other descriptors as its output. Returns the exit status. */
int run_into(const char *const *words, int out, int err);

/* As above with a terminal as its output, and what that got. */
void run_on_terminal(const char *const *words, char *text, size_t size);

/* An empty file without a name; take() reads what it got, and closes it. */
int file(void);
void take(int fd, char *text, size_t size);

/* Ends the test as skipped if no guest can run here, as it is to run. */
void need_guests(void);

/* The same of processes: ThreadSanitizer loses track of locks at a clone() that
 * shares memory, and then sees races that are none. */
void need_processes(void);

void assert_has(const char *text, const char *part);
void assert_has_not(const char *text, const char *part);

#endif

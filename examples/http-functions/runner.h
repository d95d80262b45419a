/* SPDX-License-Identifier: Apache-2.0 */
/* Runs requests, in one of several ways. */
#ifndef HTTP_FUNCTIONS_RUNNER_H
#define HTTP_FUNCTIONS_RUNNER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <kaon.h>

#include "handler.h"

/* What becomes of a guest between two requests. */
enum mode {
    MODE_POOL,          /* a clean one for each, from a pool */
    MODE_POOL_RESIDENT, /* the same, and some wait inside */
    MODE_VM,            /* a new one in a new VM for each */
    MODE_REUSE,         /* each thread keeps one as it is */
    MODE_RESIDENT,      /* the same, and it waits inside */
    MODE_NATIVE,        /* there is none: the server runs the handler */
    MODES,
};

extern const char *const mode_names[MODES];

struct runner_opts {
    const char *guest; /* path of the image */
    enum mode mode;
    enum kaon_isolation isolation;
    unsigned threads; /* that will run requests, at most */
};

struct runner {
    struct runner_opts opts;
    struct kaon_image *image;
    struct kaon_pool *pool;
    struct kaon_function handle, crash, spin;

    pthread_mutex_t lock; /* guards the rest */
    struct kept *kept;    /* what threads keep, until the end */
};

struct request {
    const char *path;
    const void *body;
    size_t size;
};

/* Gets an HTTP status and a text, which is gone when it returns. */
typedef void (*answer_function)(void *user, unsigned status, const char *text,
                                size_t size);

/* Says on standard error why not. */
bool runner_open(struct runner *runner, const struct runner_opts *opts);
void runner_close(struct runner *runner);

/* From any thread. */
void runner_run(struct runner *runner, const struct request *request,
                answer_function answer, void *user);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request and a guest. What a server wants is MODE_POOL, which is
 * kaon_pool_acquire(), kaon_function_call() and kaon_pool_release(); all else
 * is here to be compared with.
 */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_DEADLINE KAON_MS(500)
#define POOL_WAIT KAON_MS(1000)

const char *const mode_names[MODES] = {
    [MODE_POOL] = "pool",
    [MODE_POOL_RESIDENT] = "pool-resident",
    [MODE_VM] = "vm",
    [MODE_REUSE] = "reuse",
    [MODE_RESIDENT] = "resident",
    [MODE_NATIVE] = "native",
};

/* What a thread keeps from one request to the next. */
struct kept {
    struct kept *next;
    struct kaon_sandbox *sandbox; /* NULL until there is one */
    struct handler handler;       /* of MODE_NATIVE */
};

struct call {
    struct runner *runner;
    const struct request *request;
    answer_function answer;
    void *user;
};

static void say(const struct call *call, unsigned status, const char *text)
{
    call->answer(call->user, status, text, strlen(text));
}

/* ---- What a guest answers ---------------------------------------------- */

static void answer_outcome(const struct call *call,
                           const struct kaon_outcome *out)
{
    char text[KAON_OUTCOME_TEXT + 40];

    if (out->kind == KAON_RETURNED) {
        call->answer(call->user, 200, out->value.span.data,
                     out->value.span.size);
        return;
    }
    snprintf(text, sizeof text, "%s: %s\n", kaon_outcome_name(out->kind),
             out->text);
    say(call, out->kind == KAON_DEADLINE ? 504 : 500, text);
}

static void call_guest(const struct call *call, struct kaon_sandbox *sandbox)
{
    const struct request *request = call->request;
    const struct runner *runner = call->runner;
    struct kaon_function function = runner->handle;
    const struct kaon_value args[] = {
        kaon_string(request->path),
        kaon_bytes(request->body, request->size),
    };
    size_t count = 2;
    struct kaon_outcome out;
    struct kaon_error err;

    if (strcmp(request->path, "/crash") == 0) {
        function = runner->crash;
        count = 0;
    } else if (strcmp(request->path, "/spin") == 0) {
        function = runner->spin;
        count = 0;
    }
    if (kaon_function_call(sandbox, &out, function, args, count,
                           KAON_CALL_OPTS(.deadline_ns = REQUEST_DEADLINE),
                           &err))
        say(call, err.status == KAON_ETOOBIG ? 413 : 503, err.text);
    else
        answer_outcome(call, &out);
}

/* ---- Which guest ------------------------------------------------------- */

static void run_in_pool(const struct call *call)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_pool_acquire(call->runner->pool, &sandbox, POOL_WAIT, &err)) {
        say(call, 503, err.text);
        return;
    }
    call_guest(call, sandbox);
    kaon_pool_release(call->runner->pool, sandbox);
}

static void run_in_new(const struct call *call)
{
    const struct runner_opts *opts = &call->runner->opts;
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_sandbox_create(&sandbox, call->runner->image,
                            KAON_SANDBOX_OPTS(.isolation = opts->isolation),
                            &err)) {
        say(call, 503, err.text);
        return;
    }
    call_guest(call, sandbox);
    kaon_sandbox_destroy(sandbox);
}

/* The calling thread's; NULL if there is no memory. */
static struct kept *my_kept(struct runner *runner)
{
    static _Thread_local struct kept *mine;

    if (mine)
        return mine;
    mine = calloc(1, sizeof *mine);
    if (!mine)
        return NULL;
    pthread_mutex_lock(&runner->lock);
    mine->next = runner->kept;
    runner->kept = mine;
    pthread_mutex_unlock(&runner->lock);
    return mine;
}

static void run_in_kept(const struct call *call)
{
    struct runner *runner = call->runner;
    struct kept *kept = my_kept(runner);
    struct kaon_error err;

    if (!kept) {
        say(call, 503, "out of memory");
        return;
    }
    if (!kept->sandbox &&
        kaon_pool_acquire(runner->pool, &kept->sandbox, POOL_WAIT, &err)) {
        say(call, 503, err.text);
        return;
    }
    if (runner->opts.mode == MODE_RESIDENT &&
        !kaon_sandbox_is_resident(kept->sandbox) &&
        kaon_sandbox_start_resident(kept->sandbox, NULL, &err))
        say(call, 503, err.text);
    else
        call_guest(call, kept->sandbox);
    if (kaon_sandbox_state(kept->sandbox) == KAON_SANDBOX_READY)
        return;
    kaon_pool_release(runner->pool, kept->sandbox);
    kept->sandbox = NULL;
}

static void run_here(const struct call *call)
{
    const struct request *request = call->request;
    struct kept *kept = my_kept(call->runner);
    char text[HANDLER_ROOM];
    size_t size;

    if (!kept) {
        say(call, 503, "out of memory");
        return;
    }
    size = handler_answer(&kept->handler, request->path, request->body,
                          request->size, text);
    call->answer(call->user, 200, text, size);
}

void runner_run(struct runner *runner, const struct request *request,
                answer_function answer, void *user)
{
    const struct call call = { runner, request, answer, user };

    switch (runner->opts.mode) {
    case MODE_POOL:
    case MODE_POOL_RESIDENT: run_in_pool(&call); break;
    case MODE_VM: run_in_new(&call); break;
    case MODE_REUSE:
    case MODE_RESIDENT: run_in_kept(&call); break;
    case MODE_NATIVE:
    case MODES: run_here(&call); break;
    }
}

/* ---- Life -------------------------------------------------------------- */

static bool open_pool(struct runner *runner, struct kaon_error *err)
{
    const struct runner_opts *opts = &runner->opts;
    const uint32_t resident = opts->mode == MODE_POOL_RESIDENT;
    struct kaon_outcome out;

    if (kaon_pool_create(
            &runner->pool, &out, runner->image,
            KAON_POOL_OPTS(.min = opts->threads, .max = 2 * opts->threads + 2,
                           .resident = resident, .spin_ns = KAON_MS(1),
                           .sandbox =
                               KAON_SANDBOX_OPTS(.isolation = opts->isolation)),
            err))
        return false;
    if (!runner->pool)
        snprintf(err->text, sizeof err->text, "the guest did not start: %.200s",
                 out.text);
    return runner->pool != NULL;
}

bool runner_open(struct runner *runner, const struct runner_opts *opts)
{
    struct kaon_error err;

    *runner = (struct runner){ .opts = *opts };
    pthread_mutex_init(&runner->lock, NULL);
    if (opts->mode == MODE_NATIVE)
        return true;
    if (!kaon_image_open(&runner->image, opts->guest, &err) &&
        !kaon_function_find(&runner->handle, runner->image, "handle", &err) &&
        !kaon_function_find(&runner->crash, runner->image, "crash", &err) &&
        !kaon_function_find(&runner->spin, runner->image, "spin", &err) &&
        (opts->mode == MODE_VM || open_pool(runner, &err)))
        return true;
    fprintf(stderr, "%s\n", err.text);
    runner_close(runner);
    return false;
}

/* After the threads that ran requests have ended. */
void runner_close(struct runner *runner)
{
    while (runner->kept) {
        struct kept *kept = runner->kept;

        runner->kept = kept->next;
        kaon_pool_release(runner->pool, kept->sandbox);
        free(kept);
    }
    kaon_pool_destroy(runner->pool);
    kaon_image_destroy(runner->image);
    pthread_mutex_destroy(&runner->lock);
}

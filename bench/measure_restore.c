/* SPDX-License-Identifier: Apache-2.0 */
/* Clean again for each request: a restore and a call. */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 8 /* in one sample */
#define PAGE ((size_t)4096)
#define PAGES_MAX 256

/* A sandbox that can be put back, and what its calls write. */
struct restored {
    struct kaon_sandbox *sandbox;
    struct kaon_snapshot *snapshot;
    uint32_t pages;
};

static bool call_dirty(struct context *context, const struct restored *r)
{
    struct kaon_outcome out;

    return call(context, r->sandbox, context->dirty,
                KAON_ARGS(kaon_u32(r->pages)), &out);
}

static bool restore(struct context *context, const struct restored *r)
{
    struct kaon_error err;

    if (kaon_sandbox_restore(r->sandbox, r->snapshot, &err))
        return fail(context, "%s", err.text);
    return true;
}

static void restored_finish(struct restored *r)
{
    kaon_snapshot_destroy(r->snapshot);
    kaon_sandbox_destroy(r->sandbox);
}

/* Its guest has run before, and its pages have been written once. */
static bool restored_init(struct context *context, struct restored *r,
                          uint32_t pages)
{
    struct kaon_error err;

    *r = (struct restored){ .pages = pages };
    if (!make_sandbox(context, &r->sandbox, NULL) ||
        !call_adder(context, r->sandbox, context->add))
        goto finish;
    if (kaon_snapshot_take(&r->snapshot, r->sandbox, &err)) {
        fail(context, "%s", err.text);
        goto finish;
    }
    if (call_dirty(context, r) && restore(context, r) && call_dirty(context, r))
        return true;
finish:
    restored_finish(r);
    return false;
}

static bool restore_and_call(struct context *context, const struct restored *r)
{
    return restore(context, r) && call_dirty(context, r);
}

/* ---- Copies by hand ---------------------------------------------------- */

struct copies {
    unsigned char *from, *to;
};

static bool copies_init(struct context *context, struct copies *copies)
{
    copies->from = malloc(2 * PAGES_MAX * PAGE);
    if (!copies->from)
        return fail(context, "out of memory");
    memset(copies->from, 1, 2 * PAGES_MAX * PAGE);
    copies->to = copies->from + PAGES_MAX * PAGE;
    return true;
}

static void copy(const struct copies *copies, uint32_t pages)
{
    for (uint32_t i = 0; i < pages; i++)
        memcpy(copies->to + i * PAGE, copies->from + i * PAGE, PAGE);
}

/* ---- A few pages ------------------------------------------------------- */

typedef bool enter_function(struct context *context, const struct restored *r,
                            const struct copies *copies);

/* What a restore and a call are compared with: a call alone, ... */
static bool enter_warm(struct context *context, const struct restored *r,
                       const struct copies *copies)
{
    (void)r;
    (void)copies;
    return call_adder(context, context->sandbox, context->add);
}

/* ... or the bare guest, after as much as is restored was copied. */
static bool enter_copied(struct context *context, const struct restored *r,
                         const struct copies *copies)
{
    copy(copies, r->pages);
    return trip(context, &context->bare);
}

static bool enter_restored(struct context *context, const struct restored *r,
                           const struct copies *copies)
{
    (void)copies;
    return restore_and_call(context, r);
}

/* Microseconds of one of a batch; the first of all is not timed. */
static bool time_batch(struct context *context, enter_function *enter,
                       const struct restored *r, const struct copies *copies,
                       double *each)
{
    double start = 0;

    for (int i = -1; i < BATCH; i++) {
        if (i == 0)
            start = now_us();
        if (!enter(context, r, copies))
            return false;
    }
    *each = (now_us() - start) / BATCH;
    return true;
}

static bool measure_turns(struct context *context, struct result *result,
                          enter_function *floor, const struct restored *r,
                          const struct copies *copies)
{
    for (unsigned round = rounds(context, 300); round; round--) {
        double bare, ours;

        if (!time_batch(context, floor, r, copies, &bare) ||
            !time_batch(context, enter_restored, r, copies, &ours))
            return false;
        samples_add(&result->floor, bare);
        sample_ours(result, ours);
    }
    return true;
}

/* What a page costs beyond the call, against memcpy() of one. */
static bool measure_pages(struct context *context, struct result *result,
                          const struct restored *r, const struct copies *copies)
{
    for (unsigned round = rounds(context, 300); round; round--) {
        double warm, ours, start, copied;

        copy(copies, r->pages);
        start = now_us();
        copy(copies, r->pages);
        copied = (now_us() - start) / r->pages;
        if (!time_batch(context, enter_warm, r, copies, &warm) ||
            !time_batch(context, enter_restored, r, copies, &ours))
            return false;
        samples_add(&result->floor, copied);
        sample_ours(result, (ours - warm) / r->pages);
    }
    return true;
}

/* A floor, or none for what a page costs. */
static bool measure(struct context *context, struct result *result,
                    enter_function *floor, uint32_t pages)
{
    struct restored r;
    struct copies copies;
    bool good;

    if (!copies_init(context, &copies))
        return false;
    good = restored_init(context, &r, pages);
    if (good) {
        good = floor ? measure_turns(context, result, floor, &r, &copies)
                     : measure_pages(context, result, &r, &copies);
        restored_finish(&r);
    }
    free(copies.from);
    return good;
}

bool measure_restore_1(struct context *context, struct result *result)
{
    return measure(context, result, enter_warm, 1);
}

bool measure_restore_16(struct context *context, struct result *result)
{
    return measure(context, result, enter_warm, 16);
}

bool measure_restore_1_copied(struct context *context, struct result *result)
{
    return measure(context, result, enter_copied, 1);
}

bool measure_restore_16_copied(struct context *context, struct result *result)
{
    return measure(context, result, enter_copied, 16);
}

bool measure_restore_256(struct context *context, struct result *result)
{
    return measure(context, result, NULL, PAGES_MAX);
}

/* ---- Two at once ------------------------------------------------------- */

#define TURNS 400 /* of each thread, in one sample */

/* A thread that lives as long as the benchmark, as a server's do, on a CPU of
 * its own: what it takes to make one or to move it is not measured. */
struct worker {
    struct context context; /* its own, for the error */
    struct restored restored;
    pthread_t thread;
    int cpu;
    sem_t begin, end; /* of a sample */
    bool over;        /* instead of another sample */
    bool good;
    double each; /* microseconds of a turn */
};

static void work(struct worker *worker)
{
    double start = now_us();

    for (unsigned i = 0; worker->good && i < TURNS; i++)
        worker->good = restore_and_call(&worker->context, &worker->restored);
    worker->each = (now_us() - start) / TURNS;
}

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

static void *worker_main(void *user)
{
    struct worker *worker = user;
    cpu_set_t cpu;

    CPU_ZERO(&cpu);
    CPU_SET(worker->cpu, &cpu);
    pthread_setaffinity_np(pthread_self(), sizeof cpu, &cpu);
    for (;;) {
        await(&worker->begin);
        if (worker->over)
            return NULL;
        work(worker);
        sem_post(&worker->end);
    }
}

static bool worker_start(struct context *context, struct worker *worker,
                         int cpu)
{
    *worker = (struct worker){ .context = *context, .cpu = cpu, .good = true };
    sem_init(&worker->begin, 0, 0);
    sem_init(&worker->end, 0, 0);
    if (!restored_init(context, &worker->restored, 16))
        return false;
    if (pthread_create(&worker->thread, NULL, worker_main, worker) == 0)
        return true;
    restored_finish(&worker->restored);
    return fail(context, "cannot start a thread");
}

static void worker_stop(struct worker *worker)
{
    worker->over = true;
    sem_post(&worker->begin);
    pthread_join(worker->thread, NULL);
    restored_finish(&worker->restored);
}

static double sample_one(struct worker *worker)
{
    sem_post(&worker->begin);
    await(&worker->end);
    return worker->each;
}

/* The slower one's turn. */
static double sample_both(struct worker *a, struct worker *b)
{
    sem_post(&a->begin);
    sem_post(&b->begin);
    await(&a->end);
    await(&b->end);
    return a->each > b->each ? a->each : b->each;
}

static bool measure_workers(struct context *context, struct result *result,
                            struct worker workers[2])
{
    for (unsigned round = rounds(context, 50); round; round--) {
        samples_add(&result->floor, sample_one(&workers[round % 2]));
        sample_ours(result, sample_both(&workers[0], &workers[1]));
        for (unsigned i = 0; i < 2; i++)
            if (!workers[i].good)
                return fail(context, "%s", workers[i].context.error);
    }
    return true;
}

static int next_cpu(const struct context *context, int cpu)
{
    do
        cpu++;
    while (!CPU_ISSET(cpu, &context->cpus));
    return cpu;
}

bool measure_two_threads(struct context *context, struct result *result)
{
    struct worker workers[2];
    bool good = false;
    int cpu;

    if (CPU_COUNT(&context->cpus) < 2) {
        result->skipped = "it takes two CPUs";
        return true;
    }
    cpu = next_cpu(context, -1);
    if (!worker_start(context, &workers[0], cpu))
        return false;
    if (worker_start(context, &workers[1], next_cpu(context, cpu))) {
        good = measure_workers(context, result, workers);
        worker_stop(&workers[1]);
    }
    worker_stop(&workers[0]);
    return good;
}

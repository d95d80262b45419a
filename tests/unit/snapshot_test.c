/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots on the scripted backend: what sandboxes hold is compared with a
 * model of it, at random; each failure leaves its target as it was; layers,
 * runs and write sets stay in their bounds.
 */
#include "play.h"

#include "host/arena.h"
#include "host/domain.h"
#include "host/layer.h"
#include "host/memory.h"
#include "host/snapshot.h"
#include "support/fail_nth.h"

#include <stdlib.h>
#include <string.h>

#define PAGE KAON_PAGE_SIZE
#define KIB UINT64_C(1024)
#define WITHIN 2048 /* where in a page the guest reads and writes */
#define AREA_SIZE (16 * KIB)
#define DIRT 0xaa

/* Pages that guests use: of data, of the stack, and of a heap that is wide. */
enum { DATA_PAGES = 8, STACK_PAGES = 4, HEAP_PAGES = 24 };
#define PAGES (DATA_PAGES + STACK_PAGES + HEAP_PAGES)
#define HEAP_STEP 41

/* ---- The guest --------------------------------------------------------- */

struct access {
    unsigned page;
    bool write;
    uint64_t value;
};

/* What the guest is to do in a call, and what it saw. */
struct work {
    const struct kaon_memory *memory;
    struct access *accesses;
    unsigned count, next;
};

static uint64_t address_of(const struct kaon_memory *memory, unsigned page)
{
    if (page < DATA_PAGES)
        return ELF_DATA + page * PAGE + WITHIN;
    page -= DATA_PAGES;
    if (page < STACK_PAGES)
        return memory->stack.low + page * PAGE + WITHIN;
    page -= STACK_PAGES;
    return memory->heap.low + page * HEAP_STEP * PAGE + WITHIN;
}

/* Leaves something in the exchange, too. */
static enum kaon_status works(struct kaon_scripted_guest *guest,
                              struct kaon_exit *exit, void *user)
{
    const struct play *play = user;
    struct work *work = play->user;

    for (; work && work->next < work->count; work->next++) {
        struct access *access = &work->accesses[work->next];
        uint64_t *at =
            play_touch(guest, exit, address_of(work->memory, access->page),
                       access->write ? KAON_ACCESS_WRITE : KAON_ACCESS_READ);

        if (!at)
            return KAON_OK;
        if (access->write)
            *at = access->value;
        else
            access->value = *at;
    }
    memset(play_mailbox(guest)->payload + 1024, DIRT, 1024);
    return play_return_void(guest, exit);
}

/* Returns what became of the call. */
static enum kaon_outcome_kind do_work(struct play *play,
                                      struct kaon_sandbox *sandbox,
                                      struct access *accesses, unsigned count)
{
    struct work work = { sandbox->memory, accesses, count, 0 };

    play->user = &work;
    if (kaon_call(sandbox, &play->out, "nothing", NULL, 0, NULL, &play->err))
        fail_msg("%s", play->err.text);
    play->user = NULL;
    return play->out.kind;
}

static void poke(struct play *play, struct kaon_sandbox *sandbox, unsigned page,
                 uint64_t value)
{
    struct access access = { page, true, value };

    assert_int_equal(do_work(play, sandbox, &access, 1), KAON_RETURNED);
}

static uint64_t peek(struct play *play, struct kaon_sandbox *sandbox,
                     unsigned page)
{
    struct access access = { page, false, 0 };

    assert_int_equal(do_work(play, sandbox, &access, 1), KAON_RETURNED);
    return access.value;
}

static const struct kaon_mailbox *mailbox_of(const struct kaon_sandbox *sandbox)
{
    return (const struct kaon_mailbox *)(const void *)
        sandbox->memory->mailbox_page;
}

/* ---- Makers ------------------------------------------------------------ */

static struct kaon_sandbox_opts opts_of(const struct play *play,
                                        struct kaon_domain *domain)
{
    return (struct kaon_sandbox_opts){
        .size = sizeof(struct kaon_sandbox_opts),
        .domain = domain,
        .host_functions = play->functions,
        .heap_bytes = HEAP_PAGES * HEAP_STEP * PAGE,
        .stack_bytes = 32 * KIB,
        .exchange_bytes = AREA_SIZE,
    };
}

static struct kaon_domain *domain_of(struct play *play, uint64_t memory_bytes,
                                     bool shared)
{
    struct kaon_domain *domain;

    if (kaon__scripted_domain(&domain, memory_bytes, works, play, &play->err))
        fail_msg("%s", play->err.text);
    domain->shared = shared;
    return domain;
}

/* Of the image, or from a snapshot. */
static enum kaon_status make(struct play *play, struct kaon_sandbox **out,
                             struct kaon_domain *domain,
                             struct kaon_snapshot *snapshot)
{
    const struct kaon_sandbox_opts opts = opts_of(play, domain);

    return snapshot ? kaon_sandbox_create_from(out, snapshot, &opts, &play->err)
                    : kaon_sandbox_create(out, play->image, &opts, &play->err);
}

static struct kaon_sandbox *make_good(struct play *play,
                                      struct kaon_domain *domain,
                                      struct kaon_snapshot *snapshot)
{
    struct kaon_sandbox *sandbox = NULL;

    if (make(play, &sandbox, domain, snapshot))
        fail_msg("%s", play->err.text);
    return sandbox;
}

static struct kaon_snapshot *take(struct play *play,
                                  struct kaon_sandbox *sandbox)
{
    struct kaon_snapshot *snapshot = NULL;

    if (kaon_snapshot_take(&snapshot, sandbox, &play->err))
        fail_msg("%s", play->err.text);
    return snapshot;
}

static void restore(struct play *play, struct kaon_sandbox *sandbox,
                    struct kaon_snapshot *snapshot)
{
    if (kaon_sandbox_restore(sandbox, snapshot, &play->err))
        fail_msg("%s", play->err.text);
}

static void begin(struct play *play)
{
    *play = (struct play){ .guest = works, .data_bytes = DATA_PAGES * PAGE };
    play->opts = opts_of(play, NULL);
    play_begin(play);
}

/* What every snapshot must be. */
static void check_snapshot(const struct kaon_snapshot *snapshot)
{
    uint64_t end = 0, own = 0;
    bool used[KAON_LAYERS_MAX] = { false };

    assert_true(snapshot->layer_count <= KAON_LAYERS_MAX);
    assert_true(snapshot->write_set.count <= KAON_WRITE_SET_MAX);
    for (uint32_t i = 0; i < snapshot->run_count; i++) {
        const struct kaon_run *run = &snapshot->runs[i];
        const struct kaon_run *before = i ? run - 1 : NULL;

        assert_true(run->pages > 0 && run->address >= end);
        end = run->address + run->pages * PAGE;
        assert_true(run->layer < snapshot->layer_count);
        used[run->layer] = true;
        own += run->pages;
        assert_true(run->offset + run->pages * PAGE <=
                    snapshot->layers[run->layer]->size);
        if (before && before->layer == run->layer &&
            before->address + before->pages * PAGE == run->address)
            assert_true(before->offset + before->pages * PAGE != run->offset);
    }
    assert_true(snapshot->own_pages <= own);
    for (uint32_t i = 0; i < snapshot->layer_count; i++)
        assert_true(used[i]);
}

/* ---- At random, against a model ---------------------------------------- */

enum { BOXES = 6, KEPT = 10, DOMAINS = 2, SEEDS_MAX = 100000 };

struct model {
    uint64_t values[PAGES];
    uint64_t seen; /* the last generation that its guest can have seen */
};

struct box {
    struct kaon_sandbox *sandbox;
    struct kaon_domain *own; /* NULL: it is in a shared one */
    struct model model;
};

struct kept {
    struct kaon_snapshot *snapshot;
    struct model model;
};

struct world {
    struct play play;
    struct kaon_domain *domains[DOMAINS];
    struct box boxes[BOXES];
    struct kept kept[KEPT];
    struct model start;
    uint64_t random;
    uint64_t seeds[SEEDS_MAX];
    unsigned seed_count;
    unsigned refused, poisoned, layered; /* that it came to that at all */
};

static unsigned draw(struct world *w, unsigned below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (unsigned)((w->random >> 20) % below);
}

static bool is_ready(const struct box *box)
{
    return box->sandbox &&
           kaon_sandbox_state(box->sandbox) == KAON_SANDBOX_READY;
}

/* Nothing of calls before is in the exchange, and the guest can tell. */
static void check_new_life(struct world *w, struct box *box)
{
    static const unsigned char zero[AREA_SIZE];
    const struct kaon_memory *memory = box->sandbox->memory;
    const struct kaon_mailbox *mailbox = mailbox_of(box->sandbox);

    assert_memory_equal(mailbox->payload, zero, sizeof mailbox->payload);
    if (memory->area)
        assert_memory_equal(memory->area, zero, sizeof zero);
    assert_true(w->seed_count < SEEDS_MAX);
    w->seeds[w->seed_count++] = mailbox->seed[0];
}

static void check_generation(struct box *box)
{
    const struct kaon_mailbox *mailbox = mailbox_of(box->sandbox);

    assert_true(mailbox->generation > box->model.seen);
    box->model.seen = mailbox->generation;
}

static void step_work(struct world *w, struct box *box)
{
    struct access accesses[6];
    unsigned count = 1 + draw(w, 6);

    if (!is_ready(box))
        return;
    for (unsigned i = 0; i < count; i++)
        accesses[i] =
            (struct access){ draw(w, PAGES), draw(w, 2), draw(w, 1000000) };
    /* In the order of the pages, some in rows. */
    if (draw(w, 2))
        for (unsigned i = 1; i < count; i++)
            accesses[i].page = (accesses[0].page + i) % PAGES;
    if (do_work(&w->play, box->sandbox, accesses, count) != KAON_RETURNED) {
        assert_int_equal(w->play.out.kind, KAON_OUT_OF_MEMORY);
        w->poisoned++;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (accesses[i].write)
            box->model.values[accesses[i].page] = accesses[i].value;
        else
            assert_int_equal(accesses[i].value,
                             box->model.values[accesses[i].page]);
    }
}

static void step_soil_area(struct world *w, struct box *box)
{
    void *area;

    if (is_ready(box) && kaon_sandbox_buffer(box->sandbox, &area, AREA_SIZE,
                                             &w->play.err) == KAON_OK)
        memset(area, DIRT, AREA_SIZE);
}

static void step_take(struct world *w, struct box *box, struct kept *kept)
{
    if (!is_ready(box))
        return;
    kaon_snapshot_destroy(kept->snapshot);
    kept->snapshot = take(&w->play, box->sandbox);
    kept->model = box->model;
    check_snapshot(kept->snapshot);
    w->layered += kept->snapshot->layer_count > 2;
}

static void step_restore(struct world *w, struct box *box, struct kept *kept)
{
    if (!box->sandbox || !kept->snapshot)
        return;
    if (kaon_sandbox_restore(box->sandbox, kept->snapshot, &w->play.err)) {
        assert_int_equal(w->play.err.status, KAON_ENOMEM);
        w->refused++;
        return;
    }
    assert_true(is_ready(box));
    box->model = kept->model;
    check_new_life(w, box);
    check_generation(box);
}

static void end_box(struct box *box)
{
    kaon_sandbox_destroy(box->sandbox);
    kaon_domain_destroy(box->own);
    *box = (struct box){ 0 };
}

static void step_create(struct world *w, struct box *box, struct kept *kept)
{
    unsigned where = draw(w, DOMAINS + 1);
    enum kaon_status status;

    end_box(box);
    if (where == DOMAINS)
        box->own = domain_of(&w->play, 2048 * KIB, false);
    status = make(&w->play, &box->sandbox,
                  box->own ? box->own : w->domains[where], kept->snapshot);
    if (status) {
        assert_int_equal(status, KAON_ENOMEM);
        w->refused++;
        end_box(box);
        return;
    }
    box->model = kept->snapshot ? kept->model : w->start;
    check_new_life(w, box);
    if (kept->snapshot)
        check_generation(box);
}

static void step(struct world *w)
{
    struct box *box = &w->boxes[draw(w, BOXES)];
    struct kept *kept = &w->kept[draw(w, KEPT)];
    unsigned what = draw(w, 100);

    if (what < 50)
        step_work(w, box);
    else if (what < 54)
        step_soil_area(w, box);
    else if (what < 64)
        step_take(w, box, kept);
    else if (what < 86)
        step_restore(w, box, kept);
    else if (what < 94)
        step_create(w, box, kept);
    else if (what < 97)
        end_box(box);
    else {
        kaon_snapshot_destroy(kept->snapshot);
        *kept = (struct kept){ 0 };
    }
}

static void check_all(struct world *w)
{
    for (unsigned i = 0; i < BOXES; i++)
        for (unsigned page = 0; page < PAGES; page++) {
            struct access access = { page, false, 0 };

            if (!is_ready(&w->boxes[i]))
                continue;
            if (do_work(&w->play, w->boxes[i].sandbox, &access, 1) ==
                KAON_RETURNED)
                assert_int_equal(access.value, w->boxes[i].model.values[page]);
        }
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void check_seeds(struct world *w)
{
    qsort(w->seeds, w->seed_count, sizeof *w->seeds, by_value);
    for (unsigned i = 1; i < w->seed_count; i++)
        assert_int_not_equal(w->seeds[i - 1], w->seeds[i]);
}

static void live(struct world *w, uint64_t seed, unsigned steps)
{
    memset(w, 0, sizeof *w);
    w->random = seed;
    begin(&w->play);
    for (unsigned page = 0; page < PAGES; page++)
        w->start.values[page] = peek(&w->play, w->play.sandbox, page);
    for (unsigned i = 0; i < DOMAINS; i++)
        w->domains[i] = domain_of(&w->play, 2048 * KIB, true);
    for (unsigned i = 0; i < 440; i++) /* one has little room */
        kaon__arena_page(w->domains[0]->machine->arena);
    for (unsigned i = 0; i < steps; i++)
        step(w);
    check_all(w);
    check_seeds(w);
    for (unsigned i = 0; i < BOXES; i++)
        end_box(&w->boxes[i]);
    for (unsigned i = 0; i < KEPT; i++)
        kaon_snapshot_destroy(w->kept[i].snapshot);
    for (unsigned i = 0; i < DOMAINS; i++)
        kaon_domain_destroy(w->domains[i]);
    play_end(&w->play);
}

static void sandboxes_hold_what_a_model_says(void **state)
{
    struct world *w = malloc(sizeof *w);
    unsigned refused = 0, poisoned = 0, layered = 0;

    (void)state;
    assert_non_null(w);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        live(w, seed * UINT64_C(0x9e3779b97f4a7c15), 3000);
        refused += w->refused;
        poisoned += w->poisoned;
        layered += w->layered;
    }
    /* It came to all of that. */
    assert_true(refused > 0);
    assert_true(poisoned > 0);
    assert_true(layered > 0);
    free(w);
}

/* ---- Failures ---------------------------------------------------------- */

/* What is made to fail. */
enum attempt {
    TAKE,
    RESTORE_IN_PLACE,
    RESTORE_OWN,      /* pages that others share become its own */
    RESTORE_EXCHANGE, /* another memory takes the place of its own */
    CREATE,
    ATTEMPTS
};

/* A snapshot in which some pages are 100 and more, and a target of its image
 * in which one is 7 and one 8. */
struct scene {
    struct play play;
    enum attempt attempt;
    struct kaon_domain *domain; /* the target's */
    struct kaon_sandbox *target, *made;
    struct kaon_snapshot *snapshot, *taken;
};

enum { SAME = 1, DATA = 3, HEAP = 20 }; /* pages; in SAME none differs */

static void scene_begin(struct scene *scene, enum attempt attempt)
{
    struct play *play = &scene->play;

    memset(scene, 0, sizeof *scene);
    scene->attempt = attempt;
    begin(play);
    poke(play, play->sandbox, DATA, 103);
    poke(play, play->sandbox, HEAP, 120);
    scene->snapshot = take(play, play->sandbox);
    scene->domain = domain_of(play, 8192 * KIB, attempt != RESTORE_OWN);
    scene->target = make_good(play, scene->domain, NULL);
    for (unsigned page = 0; page < PAGES; page++)
        peek(play, scene->target, page); /* it has seen them all */
    if (attempt == RESTORE_IN_PLACE)
        restore(play, scene->target, scene->snapshot);
    peek(play, scene->target, HEAP);
    if (attempt == RESTORE_IN_PLACE)
        poke(play, scene->target, DATA, 7);
    poke(play, scene->target, HEAP, 8);
}

static enum kaon_status scene_try(struct scene *scene)
{
    struct play *play = &scene->play;

    memset(&play->err, 0, sizeof play->err);
    switch (scene->attempt) {
    case TAKE:
        return kaon_snapshot_take(&scene->taken, scene->target, &play->err);
    case RESTORE_IN_PLACE:
    case RESTORE_OWN:
    case RESTORE_EXCHANGE:
        return kaon_sandbox_restore(scene->target, scene->snapshot, &play->err);
    case CREATE:
    case ATTEMPTS: break;
    }
    return make(play, &scene->made, scene->domain, scene->snapshot);
}

static bool is_restore(const struct scene *scene)
{
    return scene->attempt != TAKE && scene->attempt != CREATE;
}

/* As it was, usable, and nothing came of it. */
static void check_failed(struct scene *scene)
{
    struct play *play = &scene->play;

    assert_true(strlen(play->err.text) > 10);
    assert_null(scene->taken);
    assert_null(scene->made);
    assert_int_equal(peek(play, scene->target, SAME), 0);
    assert_int_equal(peek(play, scene->target, DATA),
                     scene->attempt == RESTORE_IN_PLACE ? 7 : 0);
    assert_int_equal(peek(play, scene->target, HEAP), 8);
    assert_int_equal(peek(play, play->sandbox, DATA), 103);
}

static void check_done(struct scene *scene)
{
    struct play *play = &scene->play;
    struct kaon_sandbox *restored =
        is_restore(scene) ? scene->target : scene->made;

    if (scene->attempt == TAKE) {
        check_snapshot(scene->taken);
        poke(play, scene->target, HEAP, 9);
        restore(play, scene->target, scene->taken);
        assert_int_equal(peek(play, scene->target, HEAP), 8);
        return;
    }
    assert_int_equal(peek(play, restored, SAME), 0);
    assert_int_equal(peek(play, restored, DATA), 103);
    assert_int_equal(peek(play, restored, HEAP), 120);
    poke(play, restored, DATA, 5);
    assert_int_equal(peek(play, play->sandbox, DATA), 103);
}

static void scene_end(struct scene *scene)
{
    kaon_sandbox_destroy(scene->target);
    kaon_sandbox_destroy(scene->made);
    kaon_snapshot_destroy(scene->snapshot);
    kaon_snapshot_destroy(scene->taken);
    kaon_domain_destroy(scene->domain);
    play_end(&scene->play);
}

static void what_fails_leaves_the_target_as_it_was(void **state)
{
    (void)state;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        bool failed = true;

        for (unsigned nth = 1; failed; nth++) {
            struct scene scene;
            enum kaon_status status;

            scene_begin(&scene, (enum attempt)attempt);
            fail_nth_arm(nth);
            status = scene_try(&scene);
            failed = fail_nth_disarm();
            if (status && !failed)
                fail_msg("%d: %s", attempt, scene.play.err.text);
            if (status)
                check_failed(&scene);
            else
                check_done(&scene);
            scene_end(&scene);
            assert_true(nth < 100);
            /* One in place has nothing that can fail. */
            if (attempt == RESTORE_IN_PLACE)
                assert_int_equal(nth, 1);
        }
    }
}

/* The domain has so many pages left, one more each time. */
static void a_full_domain_leaves_the_target_as_it_was(void **state)
{
    (void)state;
    for (int attempt = RESTORE_OWN; attempt < ATTEMPTS; attempt++) {
        enum kaon_status status = KAON_ENOMEM;

        for (unsigned room = 0; status; room++) {
            struct scene scene;
            struct kaon_arena *arena;
            uint64_t left, used;

            scene_begin(&scene, (enum attempt)attempt);
            arena = scene.domain->machine->arena;
            left = (arena->size - kaon__arena_used(arena)) / PAGE;
            while (left-- > room)
                assert_true(kaon__arena_page(arena) != 0);
            status = scene_try(&scene);
            if (status) {
                assert_int_equal(status, KAON_ENOMEM);
                check_failed(&scene);
                used = kaon__arena_used(arena);
                assert_int_equal(scene_try(&scene), KAON_ENOMEM);
                check_failed(&scene);
                assert_int_equal(kaon__arena_used(arena), used);
            }
            scene_end(&scene);
            assert_true(room < 100);
        }
    }
}

/* ---- Bounds ------------------------------------------------------------ */

static void a_chain_of_snapshots_keeps_to_its_layers(void **state)
{
    struct kaon_snapshot *chain[50];
    struct play play;

    (void)state;
    begin(&play);
    for (unsigned i = 0; i < 50; i++) {
        poke(&play, play.sandbox, i % DATA_PAGES, 1000 + i);
        chain[i] = take(&play, play.sandbox);
        check_snapshot(chain[i]);
        assert_true(kaon__snapshot_pages(chain[i]) <= DATA_PAGES);
    }
    for (unsigned i = 0; i < 50; i++) {
        restore(&play, play.sandbox, chain[i]);
        for (unsigned page = 0; page < DATA_PAGES; page++) {
            uint64_t last = i - (i + DATA_PAGES - page) % DATA_PAGES;

            assert_int_equal(peek(&play, play.sandbox, page),
                             page <= i ? 1000 + last : 0);
        }
        kaon_snapshot_destroy(chain[i]);
    }
    play_end(&play);
}

static void what_is_out_of_date_is_let_go(void **state)
{
    struct kaon_snapshot *before = NULL;
    struct play play;

    (void)state;
    begin(&play);
    for (unsigned round = 0; round < 20; round++) {
        struct kaon_snapshot *snapshot;
        uint64_t held = 0;

        for (unsigned page = 0; page < DATA_PAGES - round % 3; page++)
            poke(&play, play.sandbox, page, 100 * round + page);
        snapshot = take(&play, play.sandbox);
        check_snapshot(snapshot);
        kaon_snapshot_destroy(before);
        before = snapshot;
        for (uint32_t i = 0; i < snapshot->layer_count; i++)
            held += snapshot->layers[i]->size / PAGE;
        assert_true(held <= 2 * kaon__snapshot_pages(snapshot));
    }
    kaon_snapshot_destroy(before);
    play_end(&play);
}

static void a_snapshot_of_no_change_is_empty(void **state)
{
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *made;
    struct play play;

    (void)state;
    begin(&play);
    assert_int_equal(peek(&play, play.sandbox, DATA), 0);
    snapshot = take(&play, play.sandbox);
    check_snapshot(snapshot);
    assert_int_equal(kaon__snapshot_pages(snapshot), 0);
    assert_int_equal(snapshot->layer_count, 0);
    poke(&play, play.sandbox, DATA, 5);
    restore(&play, play.sandbox, snapshot);
    assert_int_equal(peek(&play, play.sandbox, DATA), 0);
    made = make_good(&play, play.domain, snapshot);
    assert_int_equal(peek(&play, made, DATA), 0);
    poke(&play, made, HEAP, 5);
    kaon_sandbox_destroy(made);
    kaon_snapshot_destroy(snapshot);
    play_end(&play);
}

static void a_write_set_is_bounded(void **state)
{
    struct kaon_snapshot *snapshot;
    struct kaon_sandbox *made;
    struct play play;
    uint64_t heap;

    (void)state;
    begin(&play);
    heap = play.sandbox->memory->heap.low;
    snapshot = take(&play, play.sandbox);
    for (uint64_t page = 0; page < 700; page += 1) {
        struct kaon_memory *memory = play.sandbox->memory;
        uint64_t address = heap + (page * 389 % 900) * PAGE;

        if (!kaon__memory_read(memory, address, &(char){ 0 }, 1))
            assert_int_equal(
                kaon__memory_fault(memory, address, KAON_ACCESS_WRITE),
                KAON_FAULT_PROVIDED);
    }
    check_snapshot(snapshot);
    assert_int_equal(snapshot->write_set.count, KAON_WRITE_SET_MAX);
    made = make_good(&play, play.domain, snapshot);
    assert_in_range(made->memory->extent_count, KAON_WRITE_SET_MAX,
                    KAON_WRITE_SET_MAX + 2);
    poke(&play, made, HEAP, 1);
    kaon_sandbox_destroy(made);
    kaon_snapshot_destroy(snapshot);
    play_end(&play);
}

/* ---- Who may, and when ------------------------------------------------- */

/* A host function that puts the sandbox back which calls it. */
static enum kaon_status calls_handle(struct kaon_scripted_guest *guest,
                                     struct kaon_exit *exit, void *user)
{
    (void)user;
    return guest->turn == 0 ? play_host_call(guest, exit, PLAY_HANDLE,
                                             KAON_ARGS(kaon_bytes("", 0)))
                            : play_return_void(guest, exit);
}

static int restores_and_takes(struct kaon_host_call *call,
                              const struct kaon_value *args,
                              struct kaon_value *result, void *user)
{
    struct play *play = user;
    struct kaon_snapshot *none = NULL;

    (void)call;
    assert_int_equal(
        kaon_sandbox_restore(play->sandbox, play->user, &play->err),
        KAON_EBUSY);
    assert_int_equal(kaon_snapshot_take(&none, play->sandbox, &play->err),
                     KAON_EBUSY);
    assert_null(none);
    *result = args[0];
    return 0;
}

static void a_sandbox_that_runs_is_busy(void **state)
{
    struct play play;

    (void)state;
    begin(&play);
    play.user = NULL;
    play.handler = restores_and_takes;
    play.user = take(&play, play.sandbox);
    play.guest = calls_handle;
    play_call(&play, KAON_RETURNED, "nothing", NULL, 0);
    kaon_snapshot_destroy(play.user);
    play_end(&play);
}

static void an_interrupt_of_a_restore_stops_no_call(void **state)
{
    struct kaon_snapshot *snapshot;
    struct play play;

    (void)state;
    begin(&play);
    snapshot = take(&play, play.sandbox);
    /* As it is in the middle of a restore. */
    assert_int_equal(kaon__sandbox_claim(play.sandbox, &play.err), KAON_OK);
    assert_int_equal(kaon_sandbox_interrupt(play.sandbox, &play.err), KAON_OK);
    kaon__sandbox_release(play.sandbox, false);
    restore(&play, play.sandbox, snapshot);
    play_call(&play, KAON_RETURNED, "nothing", NULL, 0);
    kaon_snapshot_destroy(snapshot);
    play_end(&play);
}

TESTS(TEST(sandboxes_hold_what_a_model_says),
      TEST_ROW(13, what_fails_leaves_the_target_as_it_was),
      TEST(a_full_domain_leaves_the_target_as_it_was),
      TEST(a_chain_of_snapshots_keeps_to_its_layers),
      TEST(what_is_out_of_date_is_let_go),
      TEST(a_snapshot_of_no_change_is_empty), TEST(a_write_set_is_bounded),
      TEST(a_sandbox_that_runs_is_busy),
      TEST(an_interrupt_of_a_restore_stops_no_call))

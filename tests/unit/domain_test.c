/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains and the making of sandboxes: options, what lives how long, vCPUs,
 * and what ended sandboxes leave for the next.
 */
#include "play.h"

#include "host/arena.h"
#include "host/image.h"
#include "support/fail_nth.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static enum kaon_status make_domain(struct kaon_domain_opts opts,
                                    struct kaon_domain **out,
                                    struct kaon_error *err)
{
    opts.size = sizeof opts;
    return kaon__domain_create_on(out, &kaon__backend_scripted, &opts, err);
}

static void options_out_of_range_are_refused_by_name(void **state)
{
    static const struct {
        struct kaon_domain_opts opts;
        const char *words;
    } cases[] = {
        { { .memory_bytes = 1 }, "memory_bytes is 1" },
        { { .memory_bytes = (2 << 20) - 1 }, "2 MiB to 64" },
        { { .memory_bytes = (UINT64_C(64) << 30) + 1 }, "memory_bytes" },
        { { .memory_bytes = UINT64_MAX }, "memory_bytes" },
        { { .vcpus_max = 257 }, "vcpus_max is 257" },
        { { .vcpus_max = UINT32_MAX }, "1 to 256" },
        { { .kick_signal = 1 }, "kick_signal is 1" },
        { { .kick_signal = -1 }, "SIGRTMIN" },
        { { .kick_signal = 65 }, "SIGRTMAX" },
        { { .isolation = KAON_ISOLATION_BEST + 1 }, "isolation is" },
    };
    struct kaon_domain *domain = NULL;
    struct kaon_error err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(make_domain(cases[i].opts, &domain, &err),
                         KAON_EINVAL);
        play_words(err.text, cases[i].words);
        assert_null(domain);
    }
    assert_int_equal(kaon_domain_create(NULL, NULL, &err), KAON_EINVAL);
    kaon_domain_destroy(NULL);
}

static void options_have_defaults_and_whole_pages(void **state)
{
    struct kaon_domain_stats stats;
    struct kaon_domain *domain;
    struct kaon_error err;

    (void)state;
    assert_int_equal(
        make_domain((struct kaon_domain_opts){ .memory_bytes = (2 << 20) + 1 },
                    &domain, &err),
        KAON_OK);
    assert_int_equal(domain->opts.vcpus_max, 64);
    assert_int_equal(domain->opts.kick_signal, SIGRTMIN + 7);
    assert_int_equal(kaon_domain_stats(domain, &stats), KAON_OK);
    assert_int_equal(stats.memory_bytes, (2 << 20) + 4096);
    assert_int_equal(stats.sandboxes, 0);
    assert_int_equal(stats.vcpus, 0);
    assert_int_equal(stats.memory_used_bytes, 0);
    assert_int_equal(kaon_domain_stats(NULL, &stats), KAON_EINVAL);
    assert_int_equal(kaon_domain_stats(domain, NULL), KAON_EINVAL);
    kaon_domain_destroy(domain);
}

/* ---- Sandboxes --------------------------------------------------------- */

static void sizes_out_of_range_are_refused_by_name(void **state)
{
    static const struct {
        struct kaon_sandbox_opts opts;
        const char *words;
    } cases[] = {
        { { .heap_bytes = (UINT64_C(16) << 30) + 1 }, "heap_bytes is" },
        { { .heap_bytes = UINT64_MAX }, "heap_bytes is" },
        { { .stack_bytes = 1 }, "stack_bytes is 1: it must be from 16384" },
        { { .stack_bytes = (UINT64_C(1) << 30) + 1 }, "stack_bytes is" },
        { { .stack_bytes = UINT64_MAX }, "stack_bytes is" },
        { { .exchange_bytes = 4095 }, "exchange_bytes is 4095" },
        { { .exchange_bytes = (UINT64_C(1) << 30) + 1 }, "exchange_bytes is" },
        { { .exchange_bytes = UINT64_MAX }, "exchange_bytes is" },
        { { .kick_signal = 40 }, "kick_signal and isolation are the" },
        { { .isolation = KAON_ISOLATION_BEST }, "isolation are the domain's" },
    };
    struct kaon_sandbox *sandbox = NULL;
    struct play play = { 0 };

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kaon_sandbox_opts opts = cases[i].opts;

        opts.size = sizeof opts;
        opts.domain = play.domain;
        opts.host_functions = play.functions;
        assert_int_equal(
            kaon_sandbox_create(&sandbox, play.image, &opts, &play.err),
            KAON_EINVAL);
        play_words(play.err.text, cases[i].words);
        assert_null(sandbox);
    }
    assert_int_equal(kaon_sandbox_create(NULL, play.image, NULL, &play.err),
                     KAON_EINVAL);
    assert_int_equal(kaon_sandbox_create(&sandbox, NULL, NULL, &play.err),
                     KAON_EINVAL);
    kaon_sandbox_destroy(NULL);
    play_end(&play);
}

static void missing_imports_are_refused_before_anything_is_made(void **state)
{
    struct play play = { 0 };
    struct kaon_sandbox *sandbox = NULL;
    struct kaon_domain_stats before, after;

    (void)state;
    play_begin(&play);
    kaon_domain_stats(play.domain, &before);
    assert_int_equal(kaon_sandbox_create(
                         &sandbox, play.image,
                         KAON_SANDBOX_OPTS(.domain = play.domain), &play.err),
                     KAON_EIMPORT);
    play_words(play.err.text, "triple, handle");
    kaon_domain_stats(play.domain, &after);
    assert_memory_equal(&before, &after, sizeof before);
    play_end(&play);
}

static void a_sandbox_keeps_what_it_needs_alive(void **state)
{
    struct play play = { 0 };

    (void)state;
    play_begin(&play);
    kaon_domain_destroy(play.domain);
    kaon_host_functions_destroy(play.functions);
    kaon_image_destroy(play.image);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    kaon_sandbox_destroy(play.sandbox);
}

/* ---- vCPUs ------------------------------------------------------------- */

static enum kaon_status tells_its_vcpu(struct kaon_scripted_guest *guest,
                                       struct kaon_exit *exit, void *user)
{
    struct play *play = user;

    play->user = guest->vcpu;
    return play_return(guest, exit, kaon_i32(guest->fresh));
}

static void *call_once(void *user)
{
    struct play *play = user;

    play_call(play, KAON_RETURNED, "add", KAON_ARGS(kaon_i32(0), kaon_i32(0)));
    return NULL;
}

static void call_elsewhere(struct play *play)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, call_once, play), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void a_thread_gets_its_vcpu_again(void **state)
{
    struct play play = { .guest = tells_its_vcpu };
    struct kaon_domain_stats stats;
    void *first;

    (void)state;
    play_begin(&play);
    call_once(&play);
    first = play.user;
    assert_int_equal(play.out.value.i32, 0); /* nobody ran it before */
    call_once(&play);
    assert_ptr_equal(play.user, first);
    assert_int_equal(play.out.value.i32, 1);
    /* An idle vCPU is lent to another thread before one more is made. */
    call_elsewhere(&play);
    assert_ptr_equal(play.user, first);
    kaon_domain_stats(play.domain, &stats);
    assert_int_equal(stats.vcpus, 1);
    play_end(&play);
}

/* What a vCPU caches of a space is old if another ran the space meanwhile. */
static void a_space_is_fresh_only_where_it_ran_last(void **state)
{
    struct play play = { .guest = tells_its_vcpu };
    struct kaon_vcpu_slot *lent;

    (void)state;
    play_begin(&play);
    call_once(&play);
    assert_int_equal(kaon__domain_borrow(play.domain, &lent, NULL), KAON_OK);
    call_once(&play); /* on a second one */
    assert_int_equal(play.out.value.i32, 0);
    call_once(&play);
    assert_int_equal(play.out.value.i32, 1);
    kaon__domain_return(lent);
    do
        call_elsewhere(&play);
    while (play.user != lent->vcpu); /* back on the first */
    assert_int_equal(play.out.value.i32, 0);
    play_end(&play);
}

static void when_all_vcpus_are_lent_it_says_so(void **state)
{
    struct kaon_vcpu_slot *lent[3];
    struct kaon_domain *domain;
    struct kaon_error err;

    (void)state;
    assert_int_equal(
        make_domain((struct kaon_domain_opts){ .memory_bytes = 2 << 20,
                                               .vcpus_max = 2 },
                    &domain, &err),
        KAON_OK);
    assert_int_equal(kaon__domain_borrow(domain, &lent[0], &err), KAON_OK);
    assert_int_equal(kaon__domain_borrow(domain, &lent[1], &err), KAON_OK);
    assert_ptr_not_equal(lent[0], lent[1]);
    assert_int_equal(kaon__domain_borrow(domain, &lent[2], &err), KAON_EBUSY);
    play_words(err.text, "all 2 vCPUs");
    play_words(err.text, "vcpus_max");
    kaon__domain_return(lent[0]);
    assert_int_equal(kaon__domain_borrow(domain, &lent[2], &err), KAON_OK);
    assert_ptr_equal(lent[2], lent[0]);
    kaon__domain_return(lent[1]);
    kaon__domain_return(lent[2]);
    kaon_domain_destroy(domain);
}

static void *borrow_and_return(void *user)
{
    struct kaon_vcpu_slot *slot = NULL;
    struct kaon_error err;

    if (kaon__domain_borrow(user, &slot, &err) == KAON_OK)
        kaon__domain_return(slot);
    return slot;
}

/* The slot that a thread gets which has had none. */
static struct kaon_vcpu_slot *slot_of_another(struct kaon_domain *domain)
{
    pthread_t thread;
    void *slot;

    assert_int_equal(pthread_create(&thread, NULL, borrow_and_return, domain),
                     0);
    assert_int_equal(pthread_join(thread, &slot), 0);
    assert_non_null(slot);
    return slot;
}

/* Where it is dear to pass a vCPU on, each thread has its own while there can
 * be more. */
static void vcpus_stay_with_their_threads_if_they_should(void **state)
{
    struct kaon_vcpu_slot *mine, *others;

    (void)state;
    for (int stay = 0; stay < 2; stay++) {
        struct kaon_domain *domain;
        struct kaon_error err;

        assert_int_equal(
            make_domain((struct kaon_domain_opts){ .memory_bytes = 2 << 20,
                                                   .vcpus_max = 2 },
                        &domain, &err),
            KAON_OK);
        domain->machine->vcpus_stay = stay;
        assert_int_equal(kaon__domain_need_vcpu(domain, &err), KAON_OK);
        mine = borrow_and_return(domain);
        assert_ptr_equal(mine, &domain->slots[0]); /* nobody's until then */
        others = slot_of_another(domain);
        assert_ptr_equal(others, &domain->slots[stay]);
        if (stay)
            assert_ptr_equal(borrow_and_return(domain), mine);
        assert_non_null(slot_of_another(domain)); /* there are no more */
        assert_int_equal(domain->slot_count, 1 + stay);
        kaon_domain_destroy(domain);
    }
}

/* ---- What ended sandboxes leave ---------------------------------------- */

static uint64_t used(const struct play *play)
{
    return kaon__arena_used(play->domain->machine->arena);
}

static void a_sandbox_of_the_same_kind_takes_what_was_left(void **state)
{
    struct play play = { 0 };
    uint64_t before;

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    before = used(&play);
    for (int i = 0; i < 10; i++) {
        kaon_sandbox_destroy(play.sandbox);
        assert_int_equal(used(&play), before);
        play.sandbox = play_sandbox(&play);
        assert_int_equal(used(&play), before);
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    }
    play_end(&play);
}

/* Each size of heap is a kind of its own, and so leaves something else. */
static void what_fits_nobody_is_reclaimed_when_the_domain_is_full(void **state)
{
    struct play play = { .memory_bytes = 2 << 20 };

    (void)state;
    play_begin(&play);
    for (uint64_t i = 1; i < 300; i++) {
        kaon_sandbox_destroy(play.sandbox);
        play.opts.heap_bytes = i * KAON_PAGE_SIZE;
        play.sandbox = play_sandbox(&play);
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    }
    play_end(&play);
}

static void a_domain_that_is_full_says_so(void **state)
{
    struct kaon_sandbox *sandboxes[200];
    struct play play = { .memory_bytes = 2 << 20 };
    struct kaon_sandbox_opts opts = { .size = sizeof opts };
    enum kaon_status status = KAON_OK;
    unsigned count = 0;

    (void)state;
    play_begin(&play);
    opts.domain = play.domain;
    opts.host_functions = play.functions;
    while (!status && count < 200) {
        status = kaon_sandbox_create(&sandboxes[count], play.image, &opts,
                                     &play.err);
        count += !status;
    }
    assert_int_equal(status, KAON_ENOMEM);
    play_words(play.err.text, "raise memory_bytes");
    assert_true(count > 40);
    kaon_sandbox_destroy(sandboxes[--count]);
    assert_int_equal(
        kaon_sandbox_create(&sandboxes[count++], play.image, &opts, &play.err),
        KAON_OK);
    while (count)
        kaon_sandbox_destroy(sandboxes[--count]);
    play_end(&play);
}

static void a_domain_shows_several_images(void **state)
{
    struct play play = { 0 };
    struct kaon_image *images[5];
    struct kaon_sandbox *sandboxes[5];

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 5; i++) {
        struct kaon_image *first = play.image;

        images[i] = play_image(0, 0);
        play.image = images[i];
        sandboxes[i] = play_sandbox(&play);
        play.image = first;
        kaon_image_destroy(images[i]);
    }
    for (int i = 0; i < 5; i++) {
        struct kaon_outcome out;

        assert_int_equal(
            kaon_call(sandboxes[i], &out, "nothing", KAON_NO_ARGS, NULL, NULL),
            KAON_OK);
        assert_int_equal(out.kind, KAON_RETURNED);
        kaon_sandbox_destroy(sandboxes[i]);
    }
    play_end(&play);
}

/* ---- What nobody knows any more ---------------------------------------- */

/* Writes a page of data. */
static enum kaon_status writes(struct kaon_scripted_guest *guest,
                               struct kaon_exit *exit, void *user)
{
    unsigned char *at = play_touch(guest, exit, ELF_DATA, KAON_ACCESS_WRITE);

    (void)user;
    if (!at)
        return KAON_OK;
    ++*at;
    return play_return_void(guest, exit);
}

/* A sandbox from a snapshot that has a layer of its own. */
static struct kaon_sandbox *go_on(struct play *play,
                                  struct kaon_snapshot **snapshot)
{
    struct kaon_sandbox *made = NULL;

    play_call(play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    if (kaon_snapshot_take(snapshot, play->sandbox, &play->err) ||
        kaon_sandbox_create_from(
            &made, *snapshot,
            KAON_SANDBOX_OPTS(.domain = play->domain,
                              .host_functions = play->functions),
            &play->err))
        fail_msg("%s", play->err.text);
    return made;
}

/* The machine has room to attach 64 memories, and a view takes at least 3
 * pages of the 2 MiB. */
static void ten_thousand_snapshots_come_and_go_in_a_domain(void **state)
{
    struct play play = { .guest = writes, .memory_bytes = 2 << 20 };
    struct kaon_snapshot *kept, *snapshot;
    struct kaon_sandbox *made;

    (void)state;
    play_begin(&play);
    kaon_sandbox_destroy(go_on(&play, &kept));
    for (unsigned i = 0; i < 10000; i++) {
        made = go_on(&play, &snapshot);
        kaon_snapshot_destroy(snapshot);
        kaon_sandbox_destroy(made);
        assert_in_range(play.domain->view_count, 2, 128);
    }
    /* What somebody has is shown still, or again. */
    if (kaon_sandbox_create_from(
            &made, kept,
            KAON_SANDBOX_OPTS(.domain = play.domain,
                              .host_functions = play.functions),
            &play.err))
        fail_msg("%s", play.err.text);
    kaon_sandbox_destroy(made);
    kaon_snapshot_destroy(kept);
    play_end(&play);
}

static void thousands_of_images_come_and_go_in_a_domain(void **state)
{
    struct play play = { .memory_bytes = 2 << 20 };

    (void)state;
    play_begin(&play);
    for (unsigned i = 0; i < 3000; i++) {
        struct kaon_image *mine = play.image;
        struct kaon_sandbox *made;

        play.image = play_image(0, 0);
        made = play_sandbox(&play);
        kaon_image_destroy(play.image);
        kaon_sandbox_destroy(made);
        play.image = mine;
        assert_in_range(play.domain->view_count, 1, 128);
    }
    play_end(&play);
}

/* A view of what somebody uses stays: here each sandbox lives on. */
static void what_is_in_use_is_not_tidied_up(void **state)
{
    struct play play = { .guest = writes };
    struct kaon_snapshot *snapshots[50];
    struct kaon_sandbox *made[50];
    struct kaon_outcome out;

    (void)state;
    play_begin(&play);
    for (unsigned i = 0; i < 50; i++)
        made[i] = go_on(&play, &snapshots[i]);
    for (unsigned i = 0; i < 50; i++)
        kaon_snapshot_destroy(snapshots[i]);
    assert_true(kaon__domain_make_room(play.domain, NULL) == false);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(
            kaon_call(made[i], &out, "nothing", KAON_NO_ARGS, NULL, NULL),
            KAON_OK);
        kaon_sandbox_destroy(made[i]);
    }
    assert_true(kaon__domain_make_room(play.domain, NULL));
    /* The image's, and that of the state which play.sandbox is in. */
    assert_int_equal(play.domain->view_count, 2);
    play_end(&play);
}

/* A snapshot of a sandbox that wrote to its heap, without any guest. */
static struct kaon_snapshot *take_written(struct kaon_sandbox *sandbox,
                                          unsigned char byte)
{
    struct kaon_memory *memory = sandbox->memory;
    struct kaon_snapshot *snapshot = NULL;
    uint64_t physical;
    unsigned protection;

    assert_int_equal(
        kaon__memory_fault(memory, memory->heap.low, KAON_ACCESS_WRITE),
        KAON_FAULT_PROVIDED);
    assert_true(memory->machine->backend->space_look(
        memory->machine, memory->space, memory->heap.low, &physical,
        &protection));
    *(unsigned char *)kaon__arena_at(memory->machine->arena, physical) = byte;
    if (kaon_snapshot_take(&snapshot, sandbox, NULL))
        fail_msg("there is no snapshot");
    return snapshot;
}

/* What cannot be taken from the VM now stays, and goes the next time. */
static void what_a_vm_would_not_let_go_of_goes_the_next_time(void **state)
{
    struct elf_file *file = elf_build(&(struct elf_spec){ 0 });
    struct kaon_image *image = NULL;
    const char *why;
    bool failed = true;

    (void)state;
    if (!harness_have_kvm(&why))
        harness_skip("%s", why);
    assert_int_equal(kaon_image_parse(&image, file->bytes, file->size, NULL),
                     KAON_OK);
    free(file);
    for (unsigned nth = 1; failed; nth++) {
        struct kaon_sandbox *sandbox, *made;
        struct kaon_domain *domain;

        assert_int_equal(kaon_domain_create(&domain, NULL, NULL), KAON_OK);
        assert_int_equal(
            kaon_sandbox_create(&sandbox, image,
                                KAON_SANDBOX_OPTS(.domain = domain), NULL),
            KAON_OK);
        for (unsigned char i = 1; i < 6; i++) {
            struct kaon_snapshot *snapshot = take_written(sandbox, i);

            assert_int_equal(
                kaon_sandbox_create_from(
                    &made, snapshot, KAON_SANDBOX_OPTS(.domain = domain), NULL),
                KAON_OK);
            kaon_sandbox_destroy(made);
            kaon_snapshot_destroy(snapshot);
        }
        kaon_sandbox_destroy(sandbox);
        assert_int_equal(domain->view_count, 6);
        fail_nth_arm(nth);
        kaon__domain_make_room(domain, NULL);
        failed = fail_nth_disarm();
        if (failed)
            kaon__domain_make_room(domain, NULL);
        assert_int_equal(domain->view_count, 1); /* the test has the image */
        kaon_domain_destroy(domain);
    }
    kaon_image_destroy(image);
}

/* clang-format off */
TESTS(
    TEST(options_out_of_range_are_refused_by_name),
    TEST(options_have_defaults_and_whole_pages),
    TEST(sizes_out_of_range_are_refused_by_name),
    TEST_ROW(5, missing_imports_are_refused_before_anything_is_made),
    TEST(a_sandbox_keeps_what_it_needs_alive),
    TEST(a_thread_gets_its_vcpu_again),
    TEST(a_space_is_fresh_only_where_it_ran_last),
    TEST(when_all_vcpus_are_lent_it_says_so),
      TEST(vcpus_stay_with_their_threads_if_they_should),
    TEST(a_sandbox_of_the_same_kind_takes_what_was_left),
    TEST(what_fits_nobody_is_reclaimed_when_the_domain_is_full),
    TEST(a_domain_that_is_full_says_so),
    TEST(a_domain_shows_several_images),
    TEST(ten_thousand_snapshots_come_and_go_in_a_domain),
    TEST(thousands_of_images_come_and_go_in_a_domain),
    TEST(what_is_in_use_is_not_tidied_up),
    TEST_ROW(27, what_a_vm_would_not_let_go_of_goes_the_next_time),
)

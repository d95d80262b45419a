/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults: the pages that a guest gets when it touches them, and those that it
 * does not; what the outcome says of the others.
 */
#include "play.h"

#include "host/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE KAON_PAGE_SIZE
#define GUARD (UINT64_C(64) << 10)
#define DATA_PAGES 8

/* What a guest touches, one after the other, until it faults for good. */
struct touch {
    uint64_t address;
    enum kaon_access access;
    unsigned char expected; /* what must be there before */
};

struct walk {
    const struct touch *touches;
    size_t count, done;
    uint64_t sp; /* the guest's stack pointer, if not 0 */
};

static enum kaon_status walks(struct kaon_scripted_guest *guest,
                              struct kaon_exit *exit, void *user)
{
    struct walk *walk = ((struct play *)user)->user;

    if (walk->sp)
        guest->registers.rsp = walk->sp;
    for (; walk->done < walk->count; walk->done++) {
        const struct touch *touch = &walk->touches[walk->done];
        unsigned char *at =
            play_touch(guest, exit, touch->address, touch->access);

        if (!at)
            return KAON_OK;
        assert_int_equal(*at, touch->expected);
        if (touch->access == KAON_ACCESS_WRITE)
            *at = 0xee;
    }
    return play_return_void(guest, exit);
}

static void go(struct play *play, struct walk *walk,
               enum kaon_outcome_kind kind)
{
    play->guest = walks;
    play->user = walk;
    play_call(play, kind, "nothing", KAON_NO_ARGS);
}

/* One touch, in a sandbox of its own, which then has an outcome of its own. */
static void touch_once(struct play *play, struct touch touch,
                       enum kaon_outcome_kind kind)
{
    struct walk walk = { &touch, 1, 0, 0 };

    kaon_sandbox_destroy(play->sandbox);
    play->sandbox = play_sandbox(play);
    go(play, &walk, kind);
}

static struct kaon_sandbox_stats stats_of(struct play *play)
{
    struct kaon_sandbox_stats stats;

    assert_int_equal(kaon_sandbox_stats(play->sandbox, &stats), KAON_OK);
    return stats;
}

/* ---- Pages that come --------------------------------------------------- */

static void the_heap_is_zero_and_writable(void **state)
{
    struct play play = { .opts.heap_bytes = 64 * PAGE };
    struct walk walk = { 0 };
    struct touch touches[128];
    uint64_t heap;

    (void)state;
    play_begin(&play);
    heap = play.sandbox->memory->heap.low;
    for (unsigned i = 0; i < 64; i++) {
        touches[i] = (struct touch){ heap + i * PAGE, KAON_ACCESS_WRITE, 0 };
        touches[64 + i] =
            (struct touch){ heap + i * PAGE, KAON_ACCESS_READ, 0xee };
    }
    walk = (struct walk){ touches, 128, 0, 0 };
    go(&play, &walk, KAON_RETURNED);
    assert_int_equal(walk.done, 128);
    assert_int_equal(stats_of(&play).zero_pages, 64);
    /* In sequence: 1, then 2, 4, 8, ..., the rest. */
    assert_int_equal(stats_of(&play).page_faults, 7);
    play_end(&play);
}

static void the_stack_grows_downwards_in_windows(void **state)
{
    struct play play = { .opts.stack_bytes = 64 * PAGE };
    struct touch touches[64];
    struct walk walk = { touches, 64, 0, 0 };

    (void)state;
    play_begin(&play);
    for (unsigned i = 0; i < 64; i++)
        touches[i] =
            (struct touch){ play.sandbox->memory->stack.high - (i + 1) * PAGE,
                            KAON_ACCESS_WRITE, 0 };
    go(&play, &walk, KAON_RETURNED);
    assert_int_equal(walk.done, 64);
    assert_int_equal(stats_of(&play).zero_pages, 63); /* one was there */
    assert_int_equal(stats_of(&play).page_faults, 6);
    play_end(&play);
}

static void touches_here_and_there_cost_a_page_each(void **state)
{
    struct play play = { 0 };
    struct touch touches[32];
    struct walk walk = { touches, 32, 0, 0 };

    (void)state;
    play_begin(&play);
    for (unsigned i = 0; i < 32; i++)
        touches[i] = (struct touch){ play.sandbox->memory->heap.low +
                                         (i * 37 % 32) * 5 * PAGE,
                                     KAON_ACCESS_WRITE, 0 };
    go(&play, &walk, KAON_RETURNED);
    assert_int_equal(stats_of(&play).zero_pages, 32);
    assert_int_equal(stats_of(&play).page_faults, 32);
    play_end(&play);
}

static void a_window_ends_at_what_is_there(void **state)
{
    struct play play = { .opts.heap_bytes = 16 * PAGE };
    uint64_t heap;

    (void)state;
    play_begin(&play);
    heap = play.sandbox->memory->heap.low;
    struct touch touches[] = {
        { heap + 6 * PAGE, KAON_ACCESS_WRITE, 0 },
        { heap, KAON_ACCESS_WRITE, 0 },
        { heap + PAGE, KAON_ACCESS_WRITE, 0 },
        { heap + 3 * PAGE, KAON_ACCESS_WRITE, 0 }, /* 4 pages: only 3 */
        { heap + 6 * PAGE, KAON_ACCESS_READ, 0xee },
        { heap + 7 * PAGE, KAON_ACCESS_WRITE, 0 },
        { heap + 15 * PAGE, KAON_ACCESS_WRITE, 0 },
    };
    struct walk walk = { touches, ELF_COUNT(touches), 0, 0 };

    go(&play, &walk, KAON_RETURNED);
    assert_int_equal(walk.done, ELF_COUNT(touches));
    play_end(&play);
}

static void a_page_of_data_is_copied_when_it_is_written(void **state)
{
    struct play play = { .data_bytes = DATA_PAGES * PAGE };
    struct kaon_sandbox *other;

    (void)state;
    play_begin(&play);
    assert_int_equal(stats_of(&play).memory_bytes, 2 * PAGE);
    struct touch touches[] = {
        { ELF_DATA, KAON_ACCESS_READ, 'd' },
        { ELF_DATA + 5 * PAGE, KAON_ACCESS_READ, 0 },
        { ELF_DATA, KAON_ACCESS_WRITE, 'd' },
        { ELF_DATA, KAON_ACCESS_READ, 0xee },
        { ELF_DATA + 1, KAON_ACCESS_READ, 'd' },
        { ELF_DATA + 7 * PAGE, KAON_ACCESS_WRITE, 0 },
    };
    struct walk walk = { touches, ELF_COUNT(touches), 0, 0 };

    go(&play, &walk, KAON_RETURNED);
    assert_int_equal(stats_of(&play).copied_pages, 2);
    assert_int_equal(stats_of(&play).page_faults, 2);
    assert_int_equal(stats_of(&play).memory_bytes, 4 * PAGE);

    /* Neither the image nor another sandbox of it has changed. */
    other = play.sandbox;
    play.sandbox = play_sandbox(&play);
    walk.done = 0;
    go(&play, &walk, KAON_RETURNED);
    kaon_sandbox_destroy(other);
    play_end(&play);
}

static void little_data_is_copied_at_once(void **state)
{
    struct touch touches[] = {
        { ELF_DATA, KAON_ACCESS_WRITE, 'd' },
        { ELF_DATA + PAGE, KAON_ACCESS_WRITE, 0 },
        { ELF_DATA + 2 * PAGE, KAON_ACCESS_WRITE, 0 },
    };
    struct walk walk = { touches, ELF_COUNT(touches), 0, 0 };
    struct play play = { 0 };

    (void)state;
    play_begin(&play);
    go(&play, &walk, KAON_RETURNED);
    assert_int_equal(stats_of(&play).page_faults, 0);
    assert_int_equal(stats_of(&play).copied_pages, 0); /* created so */
    assert_int_equal(stats_of(&play).memory_bytes, (2 + 3) * PAGE);
    play_end(&play);
}

static void a_small_area_comes_as_a_whole(void **state)
{
    struct play play = { .opts.exchange_bytes = 15 * PAGE };
    uint64_t area;

    (void)state;
    play_begin(&play);
    area = play.sandbox->memory->mailbox + PAGE;
    assert_null(play.sandbox->memory->area);
    struct touch touches[] = {
        { area + 7 * PAGE, KAON_ACCESS_WRITE, 0 },
        { area, KAON_ACCESS_WRITE, 0 },
        { area + 15 * PAGE - 1, KAON_ACCESS_WRITE, 0 },
    };
    struct walk walk = { touches, ELF_COUNT(touches), 0, 0 };

    go(&play, &walk, KAON_RETURNED);
    assert_non_null(play.sandbox->memory->area);
    assert_int_equal(play.sandbox->memory->area[7 * PAGE], 0xee);
    assert_int_equal(stats_of(&play).page_faults, 1);
    assert_int_equal(stats_of(&play).zero_pages, 15);
    assert_int_equal(stats_of(&play).memory_bytes, (5 + 15) * PAGE);
    play_end(&play);
}

/* What is there is cleared at each restore: it is to be little. */
static void a_large_area_grows_as_it_is_needed(void **state)
{
    static const struct {
        unsigned page, pages; /* touched, and there then */
    } steps[] = { { 3, 16 },    { 15, 16 },   { 16, 32 },  { 100, 128 },
                  { 127, 128 }, { 200, 255 }, { 254, 255 } };
    static const unsigned char zero[PAGE];
    struct play play = { .opts.exchange_bytes = 255 * PAGE };
    struct kaon_snapshot *snapshot;
    struct kaon_memory *memory;

    (void)state;
    play_begin(&play);
    assert_int_equal(kaon_snapshot_take(&snapshot, play.sandbox, &play.err),
                     KAON_OK);
    memory = play.sandbox->memory;
    for (size_t i = 0; i < ELF_COUNT(steps); i++) {
        struct touch touch = { memory->mailbox + (1 + steps[i].page) * PAGE,
                               KAON_ACCESS_WRITE, 0 };
        struct walk walk = { &touch, 1, 0, 0 };

        go(&play, &walk, KAON_RETURNED);
        assert_int_equal(memory->area_pages, steps[i].pages);
        assert_int_equal(memory->area[steps[i].page * PAGE], 0xee);
        assert_int_equal(stats_of(&play).memory_bytes,
                         (5 + steps[i].pages) * PAGE);
        memory->area[steps[i].page * PAGE] = 0; /* for the next to expect */
    }
    memset(memory->area, 0x77, 255 * PAGE);
    assert_int_equal(kaon_sandbox_restore(play.sandbox, snapshot, &play.err),
                     KAON_OK);
    kaon_snapshot_destroy(snapshot);
    assert_int_equal(memory->area_pages, 255);
    for (unsigned i = 0; i < 255; i++)
        assert_memory_equal(memory->area + i * PAGE, zero, PAGE);
    play_end(&play);
}

/* An answer in place, most of which nobody ever wrote. */
static enum kaon_status answers_with_nothing(struct kaon_scripted_guest *guest,
                                             struct kaon_exit *exit, void *user)
{
    const struct kaon_slot slot = { KAON_TYPE_BYTES, 200 * PAGE,
                                    KAON_MAILBOX_SIZE };
    unsigned char *page = (unsigned char *)play_mailbox(guest);

    (void)user;
    if (!play_touch(guest, exit, guest->entry.argument + KAON_MAILBOX_SIZE,
                    KAON_ACCESS_WRITE))
        return KAON_OK;
    memcpy(page + KAON_MAILBOX_FREE, &slot, sizeof slot);
    *play_frame(guest) = (struct kaon_frame){ .kind = KAON_FRAME_RESULT,
                                              .count = 1,
                                              .slots = KAON_MAILBOX_FREE };
    kaon__scripted_leave(exit);
    return KAON_OK;
}

static void bytes_that_the_guest_never_touched_are_zero(void **state)
{
    struct play play = { .guest = answers_with_nothing,
                         .opts.exchange_bytes = 255 * PAGE };
    const unsigned char *bytes;

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "echo_bytes", KAON_ARGS(kaon_bytes("", 0)));
    assert_int_equal(play.out.value.span.size, 200 * PAGE);
    bytes = play.out.value.span.data;
    for (unsigned i = 0; i < 200 * PAGE; i++)
        assert_int_equal(bytes[i], 0);
    play_end(&play);
}

/* ---- Pages that do not ------------------------------------------------- */

static void what_a_guest_may_not_touch_so_is_a_fault(void **state)
{
    struct play play = { .data_bytes = DATA_PAGES * PAGE,
                         .opts.heap_bytes = 16 * PAGE };
    const struct kaon_memory *memory;
    uint64_t low, high;

    (void)state;
    play_begin(&play);
    memory = play.sandbox->memory;
    low = memory->heap.low;
    high = memory->heap.high;
    const struct touch touches[] = {
        { 0, KAON_ACCESS_READ, 0 },
        { 8, KAON_ACCESS_WRITE, 0 },
        { 0, KAON_ACCESS_EXECUTE, 0 },
        { ELF_TEXT, KAON_ACCESS_WRITE, 0 },
        { ELF_TEXT + PAGE, KAON_ACCESS_READ, 0 },
        { ELF_RODATA, KAON_ACCESS_WRITE, 0 },
        { ELF_RODATA, KAON_ACCESS_EXECUTE, 0 },
        { ELF_DATA, KAON_ACCESS_EXECUTE, 0 },
        { ELF_DATA + 5 * PAGE, KAON_ACCESS_EXECUTE, 0 },
        { ELF_DATA - 1, KAON_ACCESS_WRITE, 0 },
        { memory->mailbox, KAON_ACCESS_EXECUTE, 0 },
        { memory->stack.high - 8, KAON_ACCESS_EXECUTE, 0 },
        { memory->stack.low, KAON_ACCESS_EXECUTE, 0 },
        { low, KAON_ACCESS_EXECUTE, 0 },
        { high, KAON_ACCESS_READ, 0 },
        { high, KAON_ACCESS_WRITE, 0 },
        { KAON_GATE_ADDRESS + PAGE, KAON_ACCESS_READ, 0 },
        { UINT64_C(0x7ffffffff000), KAON_ACCESS_READ, 0 },
        { UINT64_C(0x800000000000), KAON_ACCESS_READ, 0 },
        { UINT64_C(0xffff800000000000), KAON_ACCESS_WRITE, 0 },
        { UINT64_MAX, KAON_ACCESS_READ, 0 },
    };

    for (size_t i = 0; i < ELF_COUNT(touches); i++) {
        uint64_t before, after;

        before = kaon__memory_bytes(play.sandbox->memory);
        touch_once(&play, touches[i], KAON_FAULT);
        after = kaon__memory_bytes(play.sandbox->memory);
        assert_int_equal(before, after);
        assert_int_equal(play.out.fault.kind, KAON_FAULT_PAGE);
        assert_int_equal(play.out.fault.address, touches[i].address);
        assert_int_equal(play.out.fault.access, touches[i].access);
        assert_int_equal(play.out.fault.vector, 14);
        assert_int_equal(kaon_sandbox_state(play.sandbox),
                         KAON_SANDBOX_POISONED);
        assert_int_equal(stats_of(&play).page_faults, 0);
    }
    play_end(&play);
}

static void the_ends_of_what_grows_are_exact(void **state)
{
    struct play play = { .opts.heap_bytes = 16 * PAGE };
    const struct kaon_memory *memory;
    struct touch last, past, lowest;

    (void)state;
    play_begin(&play);
    memory = play.sandbox->memory;
    last = (struct touch){ memory->heap.high - 1, KAON_ACCESS_WRITE, 0 };
    past = (struct touch){ memory->heap.high, KAON_ACCESS_WRITE, 0 };
    lowest = (struct touch){ memory->stack.low, KAON_ACCESS_WRITE, 0 };
    touch_once(&play, last, KAON_RETURNED);
    touch_once(&play, past, KAON_FAULT);
    touch_once(&play, lowest, KAON_RETURNED);
    play_end(&play);
}

/* ---- The stack's end --------------------------------------------------- */

static void the_guard_is_told_apart(void **state)
{
    struct play play = { 0 };
    uint64_t guard, low;

    (void)state;
    play_begin(&play);
    guard = play.sandbox->memory->guard;
    low = play.sandbox->memory->stack.low;
    assert_int_equal(low - guard, GUARD);
    assert_int_equal(guard % PAGE, 0);
    touch_once(&play, (struct touch){ low - 1, KAON_ACCESS_WRITE, 0 },
               KAON_STACK_OVERFLOW);
    play_words(play.out.text, "stack overflow writing");
    assert_int_equal(play.out.fault.address, low - 1);
    touch_once(&play, (struct touch){ guard, KAON_ACCESS_READ, 0 },
               KAON_STACK_OVERFLOW);
    /* Nobody's stack ends here. */
    touch_once(&play, (struct touch){ guard - 1, KAON_ACCESS_READ, 0 },
               KAON_FAULT);
    play_end(&play);
}

struct leap {
    uint64_t sp, address;
    enum kaon_outcome_kind kind;
};

/* Frames larger than the guard, of guests that are built without probes. */
static void a_stack_pointer_far_below_the_stack_is_an_overflow(void **state)
{
    struct play play = { .opts.stack_bytes = 64 << 10 };
    const struct kaon_memory *memory;

    (void)state;
    play_begin(&play);
    memory = play.sandbox->memory;
    const uint64_t below = UINT64_C(0x10000000), heap = memory->heap.low;
    const struct leap leaps[] = {
        /* It has leapt over guard and image, and writes where it points. */
        { ELF_TEXT - (1 << 20), ELF_TEXT - (1 << 20), KAON_STACK_OVERFLOW },
        { ELF_TEXT - (1 << 20), ELF_TEXT - (1 << 20) + 4096,
          KAON_STACK_OVERFLOW },
        /* It writes elsewhere. */
        { ELF_TEXT - (1 << 20), heap + (UINT64_C(1) << 40), KAON_FAULT },
        /* It points into the stack: a stray pointer. */
        { memory->stack.high - 64, below, KAON_FAULT },
        { memory->stack.low, below, KAON_FAULT },
        { memory->stack.high, below, KAON_FAULT },
        /* It points to memory that is there: a coroutine's stack. */
        { ELF_DATA + 64, ELF_DATA - 64, KAON_FAULT },
    };

    for (size_t i = 0; i < ELF_COUNT(leaps); i++) {
        struct touch touch = { leaps[i].address, KAON_ACCESS_WRITE, 0 };
        struct walk walk = { &touch, 1, 0, leaps[i].sp };

        kaon_sandbox_destroy(play.sandbox);
        play.sandbox = play_sandbox(&play);
        go(&play, &walk, leaps[i].kind);
    }
    play_end(&play);
}

/* ---- A domain that is full --------------------------------------------- */

static void no_page_left_is_an_outcome_of_its_own(void **state)
{
    struct play play = { .memory_bytes = 2 << 20 };
    struct touch *touches = calloc(1024, sizeof *touches);
    struct walk walk = { touches, 1024, 0, 0 };

    (void)state;
    play_begin(&play);
    for (unsigned i = 0; i < 1024; i++)
        touches[i] = (struct touch){ play.sandbox->memory->heap.low + i * PAGE,
                                     KAON_ACCESS_WRITE, 0 };
    go(&play, &walk, KAON_OUT_OF_MEMORY);
    play_words(play.out.text, "raise memory_bytes");
    /* All of the 512 pages but for tables went to the guest. */
    assert_true(walk.done > 480 && walk.done < 512);
    assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_POISONED);

    /* What it had is for the next. */
    kaon_sandbox_destroy(play.sandbox);
    play.sandbox = play_sandbox(&play);
    walk.done = 0;
    walk.count = 400;
    go(&play, &walk, KAON_RETURNED);
    free(touches);
    play_end(&play);
}

static void a_full_domain_has_no_private_copy_either(void **state)
{
    struct play play = { .memory_bytes = 2 << 20,
                         .data_bytes = DATA_PAGES * PAGE };
    const struct touch touch = { ELF_DATA, KAON_ACCESS_WRITE, 'd' };
    struct walk walk = { &touch, 1, 0, 0 };

    (void)state;
    play_begin(&play);
    while (kaon__arena_page(play.domain->machine->arena))
        continue;
    go(&play, &walk, KAON_OUT_OF_MEMORY);
    play_end(&play);
}

/* ---- Faults for what is there ------------------------------------------ */

/* Claims that a page is not there which is: as a CPU does that caches. */
static enum kaon_status faults_in_vain(struct kaon_scripted_guest *guest,
                                       struct kaon_exit *exit, void *user)
{
    unsigned *left = ((struct play *)user)->user;

    if (*left == 0)
        return play_return_void(guest, exit);
    (*left)--;
    kaon__scripted_fault(exit, guest->entry.argument, KAON_ACCESS_WRITE);
    return KAON_OK;
}

static void a_stale_fault_is_tried_again_but_not_for_ever(void **state)
{
    unsigned left = 10;
    struct play play = { .guest = faults_in_vain, .user = &left };

    (void)state;
    play_begin(&play);
    play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    assert_int_equal(left, 0);
    left = UINT32_MAX;
    play_call(&play, KAON_FAULT, "nothing", KAON_NO_ARGS);
    assert_int_equal(play.out.fault.access, KAON_ACCESS_WRITE);
    play_end(&play);
}

/* A sandbox that lives long sees some, over many calls. */
static void stale_faults_do_not_add_up_over_calls(void **state)
{
    unsigned left;
    struct play play = { .guest = faults_in_vain, .user = &left };

    (void)state;
    play_begin(&play);
    for (int i = 0; i < 100; i++) {
        left = 3;
        play_call(&play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
    }
    play_end(&play);
}

/* ---- Other faults, and what is said of them ---------------------------- */

struct raised {
    struct kaon_exit exit;
    uint64_t sp; /* 0: in the stack */
};

static enum kaon_status raises(struct kaon_scripted_guest *guest,
                               struct kaon_exit *exit, void *user)
{
    const struct raised *raised = ((struct play *)user)->user;

    *exit = raised->exit;
    guest->registers = (struct kaon_registers){
        .rax = 0xa,
        .r15 = 0xf,
        .rip = ELF_TEXT + 0x4c,
        .rsp = raised->sp ? raised->sp : guest->entry.sp,
    };
    return KAON_OK;
}

static void each_exception_is_a_fault_of_its_kind(void **state)
{
    static const struct {
        uint32_t vector;
        enum kaon_outcome_kind outcome;
        enum kaon_fault_kind kind;
        const char *text;
        uint64_t sp;
    } cases[] = {
        { 0, KAON_FAULT, KAON_FAULT_DIVIDE, "division error", 0 },
        { 1, KAON_FAULT, KAON_FAULT_DEBUG, "debug exception", 0 },
        { 3, KAON_FAULT, KAON_FAULT_BREAKPOINT, "breakpoint", 0 },
        { 6, KAON_FAULT, KAON_FAULT_OPCODE, "invalid opcode", 0 },
        { 12, KAON_FAULT, KAON_FAULT_STACK, "stack-segment fault", 0 },
        { 12, KAON_STACK_OVERFLOW, KAON_FAULT_STACK, "stack overflow",
          UINT64_C(0xffff700000000000) },
        { 13, KAON_FAULT, KAON_FAULT_PROTECTION, "general protection fault",
          0 },
        { 16, KAON_FAULT, KAON_FAULT_FLOAT, "floating-point exception", 0 },
        { 17, KAON_FAULT, KAON_FAULT_ALIGNMENT, "alignment check", 0 },
        { 19, KAON_FAULT, KAON_FAULT_FLOAT, "floating-point exception", 0 },
        { 8, KAON_FAULT, KAON_FAULT_MACHINE, "machine fault", 0 },
        { 31, KAON_FAULT, KAON_FAULT_MACHINE, "machine fault", 0 },
    };
    struct play play = { .guest = raises };

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < ELF_COUNT(cases); i++) {
        struct raised raised = { { .kind = KAON_EXIT_FAULT,
                                   .vector = cases[i].vector,
                                   .error_code = 0x55,
                                   .address = 77 },
                                 cases[i].sp };
        char text[96];

        play.user = &raised;
        kaon_sandbox_destroy(play.sandbox);
        play.sandbox = play_sandbox(&play);
        play_call(&play, cases[i].outcome, "nothing", KAON_NO_ARGS);
        snprintf(text, sizeof text, "%s at parse+0xc (guest)", cases[i].text);
        assert_string_equal(play.out.text, text);
        assert_int_equal(play.out.fault.kind, cases[i].kind);
        assert_int_equal(play.out.fault.access, KAON_ACCESS_NONE);
        assert_int_equal(play.out.fault.address, 0);
        assert_int_equal(play.out.fault.vector, cases[i].vector);
        assert_int_equal(play.out.fault.error_code, 0x55);
        assert_int_equal(play.out.fault.ip, ELF_TEXT + 0x4c);
        assert_string_equal(play.out.fault.symbol, "parse");
        assert_int_equal(play.out.fault.symbol_offset, 0xc);
        assert_int_equal(play.out.fault.registers.rax, 0xa);
        assert_int_equal(play.out.fault.registers.r15, 0xf);
    }
    play_end(&play);
}

static void a_guest_that_breaks_its_cpu_is_a_fault(void **state)
{
    static const enum kaon_exit_kind kinds[] = { KAON_EXIT_STOPPED,
                                                 KAON_EXIT_MEMORY };
    struct play play = { .guest = raises };

    (void)state;
    play_begin(&play);
    for (size_t i = 0; i < ELF_COUNT(kinds); i++) {
        struct raised raised = { .exit = { .kind = kinds[i],
                                           .reason = "it set the CPU on "
                                                     "fire" } };

        play.user = &raised;
        kaon_sandbox_destroy(play.sandbox);
        play.sandbox = play_sandbox(&play);
        play_call(&play, KAON_FAULT, "nothing", KAON_NO_ARGS);
        play_words(play.out.text, "it set the CPU on fire at parse+0xc");
        assert_int_equal(play.out.fault.kind, KAON_FAULT_MACHINE);
    }
    play_end(&play);
}

/* ---- Backtraces -------------------------------------------------------- */

/* Frames on the stack: where each is, its caller's, the return address. */
struct frames {
    uint64_t rbp;
    unsigned count;
    uint64_t words[40][3]; /* offsets below the stack's top; 0: as it is */
};

static enum kaon_status faults_in_frames(struct kaon_scripted_guest *guest,
                                         struct kaon_exit *exit, void *user)
{
    const struct frames *frames = ((struct play *)user)->user;
    uint64_t top = guest->entry.sp;

    for (unsigned i = 0; i < frames->count; i++) {
        uint64_t pair[2] = { top - frames->words[i][1], frames->words[i][2] };
        uint64_t at = top - frames->words[i][0];

        memcpy(kaon__scripted_at(guest, at, KAON_ACCESS_WRITE), pair,
               sizeof pair);
    }
    guest->registers.rbp =
        frames->rbp ? frames->rbp : top - frames->words[0][0];
    exit->kind = KAON_EXIT_FAULT;
    exit->vector = 6;
    return KAON_OK;
}

static void expect_backtrace(struct frames frames, uint32_t count)
{
    struct play play = { .guest = faults_in_frames, .user = &frames };

    play_begin(&play);
    play_call(&play, KAON_FAULT, "nothing", KAON_NO_ARGS);
    assert_int_equal(play.out.fault.backtrace_count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(play.out.fault.backtrace[i], frames.words[i][2]);
    play_end(&play);
}

static void a_backtrace_follows_the_frames(void **state)
{
    (void)state;
    expect_backtrace((struct frames){ .count = 3,
                                      .words = { { 96, 64, 0x401000 },
                                                 { 64, 32, 0x402000 },
                                                 { 32, 32, 0x403000 } } },
                     3);
    /* A return address of 0 is where it began. */
    expect_backtrace(
        (struct frames){ .count = 2,
                         .words = { { 96, 64, 0x401000 }, { 64, 32, 0 } } },
        1);
}

static void a_hostile_chain_of_frames_ends(void **state)
{
    struct frames deep = { .count = 40 };

    (void)state;
    /* Round in a circle; downwards; to nowhere; at the end of memory. */
    expect_backtrace((struct frames){ .count = 2,
                                      .words = { { 96, 64, 0x401000 },
                                                 { 64, 96, 0x402000 } } },
                     2);
    expect_backtrace(
        (struct frames){ .count = 1, .words = { { 96, 4000, 0x401000 } } }, 1);
    expect_backtrace((struct frames){ .rbp = 8 }, 0);
    expect_backtrace((struct frames){ .rbp = UINT64_MAX - 3 }, 0);
    expect_backtrace((struct frames){ .rbp = UINT64_C(0x7ffffffffff8) }, 0);
    for (unsigned i = 0; i < 40; i++) {
        deep.words[i][0] = 3200 - i * 64;
        deep.words[i][1] = 3200 - (i + 1) * 64;
        deep.words[i][2] = 0x400000 + i;
    }
    expect_backtrace(deep, KAON_BACKTRACE_MAX);
}

/* clang-format off */
TESTS(
    TEST(the_heap_is_zero_and_writable),
    TEST(the_stack_grows_downwards_in_windows),
    TEST(touches_here_and_there_cost_a_page_each),
    TEST(a_window_ends_at_what_is_there),
    TEST(a_page_of_data_is_copied_when_it_is_written),
    TEST(little_data_is_copied_at_once),
    TEST(a_small_area_comes_as_a_whole),
    TEST(a_large_area_grows_as_it_is_needed),
    TEST(bytes_that_the_guest_never_touched_are_zero),
    TEST_ROW(16, what_a_guest_may_not_touch_so_is_a_fault),
    TEST(the_ends_of_what_grows_are_exact),
    TEST_ROW(15, the_guard_is_told_apart),
    TEST_ROW(15, a_stack_pointer_far_below_the_stack_is_an_overflow),
    TEST(no_page_left_is_an_outcome_of_its_own),
    TEST(a_full_domain_has_no_private_copy_either),
    TEST(a_stale_fault_is_tried_again_but_not_for_ever),
    TEST(stale_faults_do_not_add_up_over_calls),
    TEST_ROW(16, each_exception_is_a_fault_of_its_kind),
    TEST(a_guest_that_breaks_its_cpu_is_a_fault),
    TEST(a_backtrace_follows_the_frames),
    TEST(a_hostile_chain_of_frames_ends),
)

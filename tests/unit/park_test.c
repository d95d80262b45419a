/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that are to run nothing for a while: parked, halted, and how the
 * next entry finds them. The guests are park_code.S, alone in their process.
 *
 * With KAON_TEST_TURNS=token, turns are taken as on a machine with one CPU; on
 * such a machine, always.
 */
#include "backend/process/inside.h"
#include "support/harness.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <kaon/abi.h>

#include "gate/gate.h"

#define GUEST_CODE UINT64_C(0x400000)
#define GUEST_DATA UINT64_C(0x500000)
#define DATA_PAGES 8
#define MAILBOX 0x200 /* in the data */

extern const unsigned char park_code[], park_code_end[], park_waits[],
    park_runs_on[], park_flickers[], park_sleeps_stepping[],
    park_parks_stepping[], park_leaves_things[], park_looks[],
    park_proves_stepping[], park_touches[], park_leaves_nested[],
    park_searches[], park_runs_on_in_mailbox[], park_flickers_in_mailbox[],
    park_prepares[], park_prepares_to_park[];

static const struct kaon_backend *const backend = &kaon__backend_process;

/* A machine with one space in it. */
struct stage {
    struct kaon_machine *machine;
    struct kaon_space space;
    struct kaon_vcpu *vcpu;
    uint64_t data; /* physical */
    volatile uint64_t *words;
};

static void assert_ok(enum kaon_status status, const struct kaon_error *err)
{
    if (status)
        fail_msg("%s", err->text);
}

static bool by_token(void)
{
    const char *turns = getenv("KAON_TEST_TURNS");
    cpu_set_t cpus;

    return (turns && strcmp(turns, "token") == 0) ||
           (sched_getaffinity(0, sizeof cpus, &cpus) == 0 &&
            CPU_COUNT(&cpus) == 1);
}

/* About guests that a turn by looking lets do what they do. */
static void skip_by_token(void)
{
    if (by_token())
        harness_skip("by token, it never gets that far");
}

/* Whose turns are to be taken so; its processes have all CPUs. */
static void create_machine(struct kaon_machine **out,
                           const struct kaon_machine_config *config)
{
    struct kaon_error err = { 0 };
    cpu_set_t all, one;

    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    if (by_token())
        sched_setaffinity(0, sizeof one, &one);
    assert_ok(backend->machine_create(out, config, &err), &err);
    sched_setaffinity(0, sizeof all, &all);
}

static void stage_open(struct stage *stage)
{
    const struct kaon_machine_config config = { .memory_bytes = 1 << 20,
                                                .vcpus_max = 1 };
    struct kaon_error err = { 0 };
    struct kaon_machine *m;
    uint64_t code;

    create_machine(&m, &config);
    code = kaon__arena_page(m->arena);
    stage->machine = m;
    stage->data = kaon__arena_run(m->arena, DATA_PAGES);
    stage->words = kaon__arena_at(m->arena, stage->data);
    memcpy(kaon__arena_at(m->arena, code), park_code,
           (size_t)(park_code_end - park_code));
    assert_ok(
        backend->space_create(m, &stage->space, (struct kaon_space){ 0 }, &err),
        &err);
    assert_ok(backend->space_map(m, stage->space, GUEST_CODE, code, 1,
                                 KAON_PROTECT_EXECUTE, &err),
              &err);
    assert_ok(backend->space_map(m, stage->space, GUEST_DATA, stage->data,
                                 DATA_PAGES, KAON_PROTECT_WRITE, &err),
              &err);
    assert_ok(backend->space_seal(m, stage->space, &err), &err);
    assert_ok(backend->vcpu_create(&stage->vcpu, m, 0, &err), &err);
    backend->vcpu_bind(stage->vcpu);
}

static void stage_close(struct stage *stage)
{
    backend->vcpu_destroy(stage->vcpu);
    backend->space_destroy(stage->machine, stage->space);
    backend->machine_destroy(stage->machine);
}

static uint64_t in_gate(const unsigned char *place)
{
    return KAON_PROCESS_GATE + (uint64_t)(place - kaon__gate_process);
}

static uint32_t *turn_of(const struct stage *stage)
{
    unsigned char *data = (unsigned char *)(uintptr_t)stage->words;

    return (uint32_t *)(void *)(data + MAILBOX + KAON_GATE_TURN);
}

static struct kaon_exit
enter_with(struct stage *stage, const unsigned char *guest, uint64_t argument)
{
    const struct kaon_entry entry = {
        .ip = GUEST_CODE + (uint64_t)(guest - park_code),
        .sp = GUEST_DATA + KAON_PAGE_SIZE,
        .argument = argument,
        .turn = turn_of(stage),
    };
    const struct kaon_thread_pointers pointers = { 0 };
    struct kaon_exit exit = { 0 };
    struct kaon_error err = { 0 };

    assert_ok(backend->vcpu_enter(stage->vcpu, stage->space, true, &entry,
                                  &pointers, &exit, &err),
              &err);
    return exit;
}

static struct kaon_exit enter(struct stage *stage, const unsigned char *guest)
{
    return enter_with(stage, guest, 0);
}

static void assert_leaves(struct stage *stage, const unsigned char *guest)
{
    assert_int_equal(enter(stage, guest).kind, KAON_EXIT_GATE);
}

static int process_of(const struct stage *stage)
{
    return space_of(stage->space)->pidfd;
}

static void sleep_ms(unsigned ms)
{
    const struct timespec time = { .tv_sec = ms / 1000,
                                   .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&time, NULL);
}

static void assert_stands_still(const struct stage *stage)
{
    uint64_t before = stage->words[0];

    sleep_ms(10);
    assert_int_equal(stage->words[0], before);
}

static void park(struct stage *stage)
{
    assert_true(backend->space_park(stage->machine, stage->space));
}

static bool is_still(const struct stage *stage)
{
    return backend->space_is_still(stage->machine, stage->space);
}

/* Parks a guest in its process for certain: on a loaded machine it may have
 * been ended, as it had no CPU to answer on. */
static void park_alive_with(struct stage *stage, const unsigned char *guest,
                            uint64_t argument)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        struct kaon_exit exit = enter_with(stage, guest, argument);

        assert_int_equal(exit.kind, KAON_EXIT_GATE);
        park(stage);
        if (process_of(stage) >= 0)
            return;
    }
    fail_msg("it never parked");
}

static void park_alive(struct stage *stage, const unsigned char *guest)
{
    park_alive_with(stage, guest, 0);
}

/* What park_looks() wrote down. */
static void assert_nothing_left(const struct stage *stage)
{
    for (int i = 1; i < 8; i++)
        if (stage->words[i])
            fail_msg("word %d is %#llx", i,
                     (unsigned long long)stage->words[i]);
}

/* ---- Parking ----------------------------------------------------------- */

static void a_guest_that_waits_is_parked_and_goes_on(void **state)
{
    struct stage stage;
    int process;

    (void)state;
    stage_open(&stage);
    park(&stage); /* before its first entry */
    assert_leaves(&stage, park_waits);
    assert_int_equal(stage.words[0], 1);
    park_alive(&stage, park_waits);
    process = process_of(&stage);
    assert_stands_still(&stage);
    for (uint64_t i = stage.words[0]; i < 1000; i++) {
        assert_leaves(&stage, park_waits);
        assert_int_equal(stage.words[0], i + 1);
        park(&stage);
        park(&stage); /* once more is no more */
        assert_int_equal(stage.words[0], i + 1);
        if (process_of(&stage) < 0) /* no CPU to answer on */
            process = -1;
        else if (process >= 0)
            assert_int_equal(process_of(&stage), process);
    }
    stage_close(&stage);
}

static void a_guest_that_sleeps_long_is_parked_at_once(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    for (int i = 0; i < 20; i++) {
        assert_leaves(&stage, park_waits);
        sleep_ms(i);
        park(&stage);
        assert_stands_still(&stage);
    }
    stage_close(&stage);
}

static void assert_ended(const unsigned char *guest)
{
    struct stage stage;

    stage_open(&stage);
    for (int i = 0; i < 5; i++) {
        assert_leaves(&stage, guest);
        assert_false(is_still(&stage));
        park(&stage);
        assert_false(is_still(&stage));
        assert_int_equal(process_of(&stage), -1);
        assert_stands_still(&stage);
        assert_leaves(&stage, park_waits); /* in another process */
        park(&stage);
    }
    stage_close(&stage);
}

static void a_guest_that_runs_on_is_ended_and_replaced(void **state)
{
    (void)state;
    skip_by_token();
    assert_ended(park_runs_on);
}

static void a_guest_that_takes_its_turn_back_is_ended_and_replaced(void **state)
{
    (void)state;
    skip_by_token();
    assert_ended(park_flickers);
}

/* The trap is met by the gate, which knows nothing of the question then. */
static void a_guest_that_sleeps_with_a_trap_to_come_is_no_trouble(void **state)
{
    const uint64_t wait = in_gate(kaon__gate_process_wait) - 2;
    struct stage stage;

    (void)state;
    skip_by_token();
    stage_open(&stage);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(enter_with(&stage, park_sleeps_stepping, wait).kind,
                         KAON_EXIT_GATE);
        park(&stage);
        assert_leaves(&stage, park_looks);
        assert_nothing_left(&stage);
    }
    stage_close(&stage);
}

/* Without parking, it comes: the guest of the test above does as it says. */
static void a_trap_to_come_is_met_by_a_plain_entry(void **state)
{
    const uint64_t wait = in_gate(kaon__gate_process_wait) - 2;
    struct kaon_exit exit;
    struct stage stage;

    (void)state;
    skip_by_token();
    stage_open(&stage);
    exit = enter_with(&stage, park_sleeps_stepping, wait);
    assert_int_equal(exit.kind, KAON_EXIT_GATE);
    exit = enter(&stage, park_waits);
    assert_int_equal(exit.kind, KAON_EXIT_FAULT);
    assert_int_equal(exit.vector, 1);
    stage_close(&stage);
}

static void a_guest_that_parks_with_a_trap_to_come_is_parked(void **state)
{
    const uint64_t call = in_gate(kaon__gate_process_parked) - 2;
    struct stage stage;

    (void)state;
    skip_by_token();
    stage_open(&stage);
    for (int i = 0; i < 20; i++) {
        int process;

        stage.words[8] = in_gate(kaon__gate_process_word);
        park_alive_with(&stage, park_parks_stepping, call);
        process = process_of(&stage);
        assert_leaves(&stage, park_looks); /* and meets no trap */
        assert_int_equal(process_of(&stage), process);
        assert_nothing_left(&stage);
    }
    stage_close(&stage);
}

/* Once it was asked to park, it need not be asked again. */
static void a_guest_that_left_through_the_gate_is_believed(void **state)
{
    const struct process_space *space;
    struct stage stage;

    (void)state;
    stage_open(&stage);
    space = space_of(stage.space);
    park_alive(&stage, park_waits);
    assert_int_equal(space->proved, by_token());
    for (int i = 0; i < 1000; i++) {
        assert_leaves(&stage, park_waits);
        if (i % 2)
            assert_true(is_still(&stage));
        park(&stage);
        assert_true(space->proved);
        if (!by_token())
            assert_int_equal(space->control->turn, KAON_TURN_HOST);
    }
    assert_stands_still(&stage);
    stage_close(&stage);
}

/* The trap comes before the host looks, or after, or as it enters. */
static void a_guest_that_leaves_with_a_trap_to_come_is_no_trouble(void **state)
{
    const uint64_t call = in_gate(by_token() ? kaon__gate_process_told
                                             : kaon__gate_process_proved) -
                          2;
    struct stage stage;
    int proved = 0, halted = 0;

    (void)state;
    stage_open(&stage);
    park_alive(&stage, park_waits);
    stage.words[8] = in_gate(kaon__gate_process_word);
    for (int i = 0; i < 2000; i++) {
        struct kaon_exit exit = enter_with(&stage, park_proves_stepping, call);

        if (exit.kind == KAON_EXIT_FAULT) { /* the trap was first */
            backend->space_halt(stage.machine, stage.space);
            halted++;
        }
        for (int k = 0; k < i % 50; k++)
            __builtin_ia32_pause();
        park(&stage);
        proved += space_of(stage.space)->proved;
        assert_leaves(&stage, park_looks);
        assert_nothing_left(&stage);
        stage.words[8] = in_gate(kaon__gate_process_word);
    }
    printf("# %d of 2000 were believed\n", proved);
    if (by_token())
        assert_int_equal(proved + halted, 2000);
    stage_close(&stage);
}

/* How long a guest waits before it sleeps is the host's to say. */
static void what_the_last_use_wrote_of_waiting_is_forgotten(void **state)
{
    const struct kaon_control *control;
    struct process_space *space;
    struct stage stage;

    (void)state;
    stage_open(&stage);
    space = space_of(stage.space);
    control = space->control;
    assert_leaves(&stage, park_leaves_things);
    assert_int_equal(control->spin, 5);
    assert_int_not_equal(space->spin, 5);
    park_alive(&stage, park_leaves_things);
    assert_leaves(&stage, park_waits);
    assert_int_equal(control->spin, space->spin);
    assert_int_equal(control->host_sleeps, 0);
    stage_close(&stage);
}

static void nothing_of_the_last_use_is_seen_after_parking(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    for (int i = 0; i < 20; i++) {
        park_alive(&stage, park_leaves_things);
        memset((void *)(uintptr_t)stage.words, 0x55, 64);
        assert_leaves(&stage, park_looks);
        assert_nothing_left(&stage);
    }
    stage_close(&stage);
}

/* That it is still is asked for to clean it: it counts as parked. */
static void nothing_of_one_that_was_found_still_is_seen(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    for (int i = 0; i < 20; i++) {
        park_alive(&stage, park_waits);
        assert_leaves(&stage, park_leaves_things);
        if (!is_still(&stage))
            continue;
        memset((void *)(uintptr_t)stage.words, 0x55, 64);
        assert_leaves(&stage, park_looks);
        assert_nothing_left(&stage);
    }
    stage_close(&stage);
}

static void nothing_of_the_last_use_is_seen_in_another_process(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    assert_leaves(&stage, park_leaves_things);
    backend->space_halt(stage.machine, stage.space);
    park(&stage);
    assert_int_equal(process_of(&stage), -1);
    memset((void *)(uintptr_t)stage.words, 0x55, 64);
    assert_leaves(&stage, park_looks);
    assert_nothing_left(&stage);
    stage_close(&stage);
}

/* What is looked for can be found, or the two tests above show nothing. */
static void what_the_last_use_left_is_seen_without_parking(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    assert_leaves(&stage, park_leaves_things);
    assert_leaves(&stage, park_looks);
    for (int i = 1; i <= 3; i++)
        assert_int_not_equal(stage.words[i], 0);
    stage_close(&stage);
}

/* ---- Turns in the mailbox ---------------------------------------------- */

/* Calls it until its turns are there; `spin` looks before it sleeps. */
static void call_in_mailbox(struct stage *stage, uint32_t spin)
{
    const struct kaon_control *control = space_of(stage->space)->control;

    backend->space_spin(stage->machine, stage->space, spin);
    for (int i = 0; i < 20 || control->turn != KAON_TURN_CALL; i++) {
        assert_in_range(i, 0, 40);
        assert_leaves(stage, park_waits);
    }
    assert_ptr_equal(space_of(stage->space)->near, turn_of(stage));
}

/* What the host does not write, the CPU that runs the guest need not ask it
 * for: here, it cannot. That it looks for long is not to count as never. */
static void a_call_in_a_row_leaves_the_control_page_alone(void **state)
{
    struct kaon_control *control;
    struct stage stage;
    uint64_t before;

    (void)state;
    skip_by_token();
    stage_open(&stage);
    for (int use = 0; use < 3; use++) {
        call_in_mailbox(&stage, UINT32_MAX);
        control = space_of(stage.space)->control;
        assert_int_equal(mprotect(control, KAON_PAGE_SIZE, PROT_READ), 0);
        before = stage.words[0];
        for (uint64_t i = 1; i <= 1000; i++) {
            assert_leaves(&stage, park_waits);
            assert_int_equal(stage.words[0], before + i);
        }
        assert_int_equal(
            mprotect(control, KAON_PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
        sleep_ms(10);
        assert_int_equal(control->guest_sleeps, 0);
        park(&stage);
        assert_stands_still(&stage);
    }
    stage_close(&stage);
}

static void await_sleep(const struct stage *stage)
{
    const volatile struct kaon_control *control =
        space_of(stage->space)->control;

    for (int ms = 0; !control->guest_sleeps; ms++) {
        assert_in_range(ms, 0, 30000);
        sleep_ms(1);
    }
}

static void a_guest_that_sleeps_by_the_mailbox_is_woken_and_parked(void **state)
{
    struct stage stage;
    uint64_t before;
    int process;

    (void)state;
    skip_by_token();
    stage_open(&stage);
    for (int use = 0; use < 10; use++) {
        call_in_mailbox(&stage, 1);
        for (uint64_t i = 1; i <= 5; i++) {
            before = stage.words[0];
            await_sleep(&stage);
            assert_leaves(&stage, park_waits);
            assert_int_equal(stage.words[0], before + 1);
        }
        await_sleep(&stage);
        process = process_of(&stage);
        park(&stage);
        assert_stands_still(&stage);
        if (process_of(&stage) >= 0) /* it had a CPU to answer on */
            assert_int_equal(process_of(&stage), process);
        assert_leaves(&stage, park_looks);
        assert_nothing_left(&stage);
        assert_null(space_of(stage.space)->near);
    }
    stage_close(&stage);
}

static void assert_ended_in_mailbox(const unsigned char *guest)
{
    struct stage stage;

    skip_by_token();
    stage_open(&stage);
    for (int i = 0; i < 5; i++) {
        call_in_mailbox(&stage, 0);
        assert_leaves(&stage, guest);
        park(&stage);
        assert_int_equal(process_of(&stage), -1);
        assert_stands_still(&stage);
        assert_leaves(&stage, park_looks); /* in another process */
        assert_nothing_left(&stage);
        park(&stage);
    }
    stage_close(&stage);
}

static void a_guest_that_lies_in_the_mailbox_is_ended(void **state)
{
    (void)state;
    assert_ended_in_mailbox(park_runs_on_in_mailbox);
    assert_ended_in_mailbox(park_flickers_in_mailbox);
}

static void use_prepared(struct stage *stage, const unsigned char *guest,
                         const unsigned char *place)
{
    uint64_t before = stage->words[0];
    int process = process_of(stage);

    stage->words[8] = in_gate(kaon__gate_process_word);
    assert_int_equal(enter_with(stage, guest, in_gate(place) - 2).kind,
                     KAON_EXIT_GATE);
    park(stage);
    assert_in_range(stage->words[0], before, before + 1);
    assert_stands_still(stage);
    if (process_of(stage) >= 0)
        assert_int_equal(process_of(stage), process);
    assert_leaves(stage, park_looks);
    assert_nothing_left(stage);
}

/* From the witness's call on, the mailbox counts for nothing. */
static void what_is_prepared_in_the_mailbox_sets_nobody_loose(void **state)
{
    struct stage stage;

    (void)state;
    skip_by_token();
    stage_open(&stage);
    for (int i = 0; i < 20; i++) {
        park_alive(&stage, park_waits); /* from now on, it is to prove */
        use_prepared(&stage, park_prepares, kaon__gate_process_proved);
        call_in_mailbox(&stage, 0); /* and not any more */
        use_prepared(&stage, park_prepares_to_park, kaon__gate_process_parked);
        call_in_mailbox(&stage, 0);
        use_prepared(&stage, park_prepares_to_park, kaon__gate_process_proved);
    }
    stage_close(&stage);
}

/* ---- Parked, and then -------------------------------------------------- */

static void send(const struct stage *stage, int signal)
{
    syscall(SYS_pidfd_send_signal, process_of(stage), signal, NULL, 0);
}

/* Before it waits it is replaced; later it was killed between calls. */
static void a_parked_process_that_was_killed_is_replaced(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    for (int i = 0; i < 20; i++) {
        struct kaon_exit exit;

        park_alive(&stage, park_waits);
        send(&stage, SIGKILL);
        exit = enter(&stage, park_waits);
        if (exit.kind != KAON_EXIT_GATE) {
            assert_int_equal(exit.kind, KAON_EXIT_STOPPED);
            backend->space_halt(stage.machine, stage.space);
            assert_leaves(&stage, park_waits);
        }
    }
    stage_close(&stage);
}

/* It may come when the guest runs again: then it is a fault of the guest's. */
static void a_parked_process_that_gets_a_signal_is_parked_still(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    for (int i = 0; i < 20; i++) {
        struct kaon_exit exit;

        park_alive(&stage, park_leaves_things);
        send(&stage, i % 2 ? SIGTRAP : SIGSEGV);
        sleep_ms(i % 4);
        exit = enter(&stage, park_looks);
        if (exit.kind != KAON_EXIT_GATE) {
            park(&stage);
            assert_leaves(&stage, park_looks);
        }
        assert_nothing_left(&stage);
    }
    stage_close(&stage);
}

/* What the kernel writes for a handler lies below the stack pointer, if that is
 * in the signal stack already: here, in a page that nobody touched before. */
static void a_signal_while_parked_leaves_nothing_anywhere(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    park_alive(&stage, park_waits);
    for (uint64_t page = 1; page < 11; page++) {
        const uint64_t stack = KAON_PROCESS_STACK + page * KAON_PAGE_SIZE;
        struct kaon_exit exit;

        park_alive_with(&stage, park_leaves_nested, stack);
        send(&stage, SIGTRAP);
        sleep_ms(1);
        exit = enter(&stage, park_searches);
        if (exit.kind != KAON_EXIT_GATE) {
            park(&stage);
            assert_leaves(&stage, park_searches);
        }
        assert_int_equal(stage.words[1], 0);
    }
    stage_close(&stage);
}

static void a_parked_process_that_is_stopped_can_be_kicked(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    park_alive(&stage, park_waits);
    send(&stage, SIGSTOP);
    backend->vcpu_kick(stage.vcpu);
    assert_int_equal(enter(&stage, park_waits).kind, KAON_EXIT_KICKED);
    backend->vcpu_unkick(stage.vcpu);
    send(&stage, SIGCONT);
    assert_leaves(&stage, park_waits);
    stage_close(&stage);
}

static void a_parked_process_may_be_destroyed(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    park(&stage);
    stage_close(&stage);
    stage_open(&stage);
    assert_leaves(&stage, by_token() ? park_waits : park_runs_on);
    park(&stage);
    stage_close(&stage);
}

/* ---- Turns by token ---------------------------------------------------- */

/* Kicks in a moment, unless the guest leaves before. */
static void *kick_later(void *user)
{
    const struct stage *stage = user;

    sleep_ms(20);
    backend->vcpu_kick(stage->vcpu);
    return NULL;
}

static void assert_never_leaves(struct stage *stage, const unsigned char *guest)
{
    pthread_t kicker;

    assert_int_equal(pthread_create(&kicker, NULL, kick_later, stage), 0);
    assert_int_equal(enter(stage, guest).kind, KAON_EXIT_KICKED);
    pthread_join(kicker, NULL);
    backend->vcpu_unkick(stage->vcpu);
    park(stage);
    assert_stands_still(stage);
    assert_leaves(stage, park_waits);
}

static void a_guest_that_only_says_that_it_left_has_not(void **state)
{
    struct stage stage;

    (void)state;
    if (!by_token())
        harness_skip("by looking, it is believed until it is to be parked");
    stage_open(&stage);
    assert_never_leaves(&stage, park_runs_on);
    assert_never_leaves(&stage, park_flickers);
    stage_close(&stage);
}

/* They are the gate's to deal with, which tells no more than once a turn. */
static void signals_while_it_waits_let_no_guest_run(void **state)
{
    struct stage stage;

    (void)state;
    if (!by_token())
        harness_skip("by looking, a guest may run until it is parked");
    stage_open(&stage);
    for (int i = 0; i < 500; i++) {
        struct kaon_exit exit;

        if (process_of(&stage) >= 0)
            syscall(SYS_pidfd_send_signal, process_of(&stage),
                    i % 2 ? SIGTRAP : SIGSEGV, NULL, 0);
        for (int k = 0; k < i % 50; k++)
            __builtin_ia32_pause();
        exit = enter(&stage, park_waits);
        assert_int_not_equal(exit.kind, KAON_EXIT_STOPPED);
        if (i % 50 == 0)
            assert_stands_still(&stage);
        if (exit.kind == KAON_EXIT_GATE && i % 3)
            continue;
        park(&stage);
        assert_leaves(&stage, park_looks);
        assert_nothing_left(&stage);
    }
    stage_close(&stage);
}

/* ---- Halting ----------------------------------------------------------- */

static void a_halted_guest_ends_and_is_replaced(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    for (int i = 0; i < 5; i++) {
        struct pollfd end = { .events = POLLIN };

        assert_leaves(&stage, by_token() ? park_waits : park_runs_on);
        end.fd = process_of(&stage);
        backend->space_halt(stage.machine, stage.space);
        backend->space_halt(stage.machine, stage.space);
        assert_int_equal(poll(&end, 1, 30000), 1);
        assert_stands_still(&stage);
        assert_leaves(&stage, park_waits);
    }
    stage_close(&stage);
}

static void a_halted_guest_is_parked(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    assert_leaves(&stage, by_token() ? park_waits : park_runs_on);
    backend->space_halt(stage.machine, stage.space);
    assert_false(is_still(&stage));
    park(&stage);
    assert_stands_still(&stage);
    assert_leaves(&stage, park_waits);
    stage_close(&stage);
}

/* ---- What was touched -------------------------------------------------- */

/* The first in a row of data pages from one on, by number. */
static void assert_touched(const struct stage *stage, uint64_t from,
                           uint64_t pages, uint64_t first, uint64_t count)
{
    uint64_t at, found;

    assert_true(backend->space_touched(stage->machine, stage->space,
                                       stage->data + from * KAON_PAGE_SIZE,
                                       pages, &at, &found));
    assert_int_equal(at, stage->data + first * KAON_PAGE_SIZE);
    assert_int_equal(found, count);
}

static void assert_untouched(const struct stage *stage, uint64_t from,
                             uint64_t pages)
{
    uint64_t at, found;

    assert_false(backend->space_touched(stage->machine, stage->space,
                                        stage->data + from * KAON_PAGE_SIZE,
                                        pages, &at, &found));
}

static bool is_listed(const struct stage *stage)
{
    return space_of(stage->space)->touched.known;
}

static void touch(const struct stage *stage, uint64_t page)
{
    stage->words[page * KAON_PAGE_SIZE / 8] = page;
}

static void assert_first_and_others_touched(const struct stage *stage)
{
    assert_touched(stage, 0, DATA_PAGES, 0, 1);
    assert_touched(stage, 1, DATA_PAGES - 1, 3, 2);
    assert_touched(stage, 4, 1, 4, 1); /* not beyond what was asked */
    assert_untouched(stage, 5, 2);
    assert_touched(stage, 5, 3, 7, 1);
    assert_untouched(stage, 0, 0);
}

static void touched_pages_are_told_from_others(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    assert_untouched(&stage, 0, DATA_PAGES);
    assert_leaves(&stage, park_waits); /* touches the first */
    touch(&stage, 3);
    touch(&stage, 4);
    touch(&stage, 7);
    assert_false(is_listed(&stage)); /* the kernel says it */
    assert_first_and_others_touched(&stage);
    park(&stage);
    assert_true(is_listed(&stage)); /* the list says the same */
    assert_first_and_others_touched(&stage);

    backend->discard(stage.machine, stage.data, DATA_PAGES);
    park(&stage);
    assert_true(is_listed(&stage));
    assert_untouched(&stage, 0, DATA_PAGES);
    stage_close(&stage);
}

/* As many pages as before, but others. */
static void a_page_for_each_that_was_taken_is_noticed(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    park_alive(&stage, park_waits);
    for (uint64_t i = 1; i < 100; i++) {
        const uint64_t page = i % DATA_PAGES;

        backend->discard(stage.machine, stage.data, DATA_PAGES);
        touch(&stage, page);
        park(&stage);
        assert_true(is_listed(&stage));
        assert_touched(&stage, 0, DATA_PAGES, page, 1);
    }
    stage_close(&stage);
}

static void what_a_guest_touches_next_is_noticed(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage);
    park_alive(&stage, park_waits);
    assert_touched(&stage, 0, DATA_PAGES, 0, 1);
    for (uint64_t page = 1; page < DATA_PAGES; page++) {
        struct kaon_exit exit = enter_with(&stage, park_touches,
                                           GUEST_DATA + page * KAON_PAGE_SIZE);

        assert_int_equal(exit.kind, KAON_EXIT_GATE);
        assert_false(is_listed(&stage));
        park(&stage);
        assert_true(is_listed(&stage));
        assert_touched(&stage, 0, DATA_PAGES, 0, page + 1);
    }
    stage_close(&stage);
}

/* What no fault needs takes no memory, and need not be cleared. */
static void a_signal_stack_is_touched_by_signals_only(void **state)
{
    uint64_t stack, first, count;
    struct stage stage;

    (void)state;
    stage_open(&stage);
    stack = space_of(stage.space)->control_physical + KAON_PAGE_SIZE;
    for (int i = 0; i < 20; i++) {
        park_alive(&stage, park_waits);
        assert_false(backend->space_touched(stage.machine, stage.space, stack,
                                            STACK_PAGES, &first, &count));
    }
    assert_int_equal(enter_with(&stage, park_touches, 0).kind, KAON_EXIT_FAULT);
    assert_true(backend->space_touched(stage.machine, stage.space, stack,
                                       STACK_PAGES, &first, &count));
    stage_close(&stage);
}

/* A list of all that thousands touched would take long to make. */
static void two_spaces_of_a_machine_have_no_list(void **state)
{
    struct kaon_space second;
    struct kaon_error err = { 0 };
    struct stage stage;

    (void)state;
    stage_open(&stage);
    assert_leaves(&stage, park_waits);
    assert_ok(backend->space_create(stage.machine, &second,
                                    (struct kaon_space){ 0 }, &err),
              &err);
    assert_ok(backend->space_seal(stage.machine, second, &err), &err);
    park(&stage);
    assert_false(is_listed(&stage));
    assert_touched(&stage, 0, DATA_PAGES, 0, 1);
    backend->space_destroy(stage.machine, second);
    park(&stage);
    assert_true(is_listed(&stage));
    assert_touched(&stage, 0, DATA_PAGES, 0, 1);
    stage_close(&stage);
}

TESTS(TEST(a_guest_that_waits_is_parked_and_goes_on),
      TEST(a_guest_that_sleeps_long_is_parked_at_once),
      TEST(a_guest_that_runs_on_is_ended_and_replaced),
      TEST(a_guest_that_takes_its_turn_back_is_ended_and_replaced),
      TEST(a_guest_that_sleeps_with_a_trap_to_come_is_no_trouble),
      TEST(a_trap_to_come_is_met_by_a_plain_entry),
      TEST(a_guest_that_parks_with_a_trap_to_come_is_parked),
      TEST(a_guest_that_left_through_the_gate_is_believed),
      TEST(a_guest_that_leaves_with_a_trap_to_come_is_no_trouble),
      TEST(what_the_last_use_wrote_of_waiting_is_forgotten),
      TEST(nothing_of_the_last_use_is_seen_after_parking),
      TEST(nothing_of_one_that_was_found_still_is_seen),
      TEST(nothing_of_the_last_use_is_seen_in_another_process),
      TEST(what_the_last_use_left_is_seen_without_parking),
      TEST(a_call_in_a_row_leaves_the_control_page_alone),
      TEST(a_guest_that_sleeps_by_the_mailbox_is_woken_and_parked),
      TEST(a_guest_that_lies_in_the_mailbox_is_ended),
      TEST(what_is_prepared_in_the_mailbox_sets_nobody_loose),
      TEST(a_parked_process_that_was_killed_is_replaced),
      TEST(a_parked_process_that_gets_a_signal_is_parked_still),
      TEST(a_signal_while_parked_leaves_nothing_anywhere),
      TEST(a_parked_process_that_is_stopped_can_be_kicked),
      TEST(a_parked_process_may_be_destroyed),
      TEST(a_guest_that_only_says_that_it_left_has_not),
      TEST(signals_while_it_waits_let_no_guest_run),
      TEST(a_halted_guest_ends_and_is_replaced), TEST(a_halted_guest_is_parked),
      TEST(touched_pages_are_told_from_others),
      TEST(a_page_for_each_that_was_taken_is_noticed),
      TEST(what_a_guest_touches_next_is_noticed),
      TEST(a_signal_stack_is_touched_by_signals_only),
      TEST(two_spaces_of_a_machine_have_no_list), )

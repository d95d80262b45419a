/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's half of residency, against a thread that does what the gate's code
 * does (src/gate/gate_kvm_x86_64.S). ThreadSanitizer sees both of them: what
 * one side writes for the other is ordered by the turn and by nothing else.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "gate/gate.h"
#include "host/resident.h"
#include "play.h"
#include "support/fail_nth.h"

#define FOR_EVER KAON_SECONDS(60)

/* ---- The gate ---------------------------------------------------------- */

static struct kaon_gate_words *words_of(const struct kaon_scripted_guest *guest)
{
    return (struct kaon_gate_words *)(void *)play_mailbox(guest)->gate;
}

static uint32_t *turn_of(const struct kaon_scripted_guest *guest)
{
    return &play_mailbox(guest)->turn;
}

static bool guests_turn(const struct kaon_scripted_guest *guest)
{
    return __atomic_load_n(turn_of(guest), __ATOMIC_ACQUIRE) & 1;
}

/* WAIT: false if the guest is out; it begins here again when it is resumed. */
static bool await_turn(const struct kaon_scripted_guest *guest,
                       struct kaon_exit *exit, bool look)
{
    uint32_t turn = KAON_TURN_OF_HOST;

    for (uint32_t i = words_of(guest)->looks; look && i; i--) {
        if (guests_turn(guest))
            return true;
        if (kaon__scripted_kicked(guest)) {
            exit->kind = KAON_EXIT_KICKED;
            return false;
        }
        sched_yield();
    }
    __atomic_compare_exchange_n(turn_of(guest), &turn, KAON_TURN_OF_HOST_ALONE,
                                false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    if (guests_turn(guest))
        return true;
    kaon__scripted_leave(exit);
    return false;
}

/* LEAVE: returns whether the host sleeps, and so is to be woken by an exit. */
static bool hand_over(const struct kaon_scripted_guest *guest)
{
    return __atomic_exchange_n(turn_of(guest), KAON_TURN_OF_HOST,
                               __ATOMIC_ACQ_REL) == KAON_TURN_OF_GUEST_ALONE;
}

/* ---- The guest --------------------------------------------------------- */

/* Answers what is in the mailbox. `nothing` calls the host first. */
static void answer(struct kaon_scripted_guest *guest)
{
    const struct kaon_frame *frame = play_frame(guest);
    struct kaon_exit left;

    if (frame->kind == KAON_FRAME_HOST_RESULT)
        play_return_void(guest, &left);
    else if (frame->function == PLAY_ADD)
        play_return(guest, &left,
                    kaon_i32(play_received(guest, 0).i32 +
                             play_received(guest, 1).i32));
    else if (frame->function == PLAY_ECHO)
        play_return(guest, &left, play_received(guest, 0));
    else
        play_host_call(guest, &left, PLAY_TRIPLE, KAON_ARGS(kaon_i32(14)));
}

/* Echoing bytes, it never comes back. */
static enum kaon_status guest_stays(struct kaon_scripted_guest *guest,
                                    struct kaon_exit *exit, void *user)
{
    bool look = true;

    (void)user;
    while (await_turn(guest, exit, look)) {
        if (play_frame(guest)->kind == KAON_FRAME_CALL &&
            play_frame(guest)->function == PLAY_ECHO_BYTES) {
            kaon__scripted_spin(guest, exit);
            return KAON_OK;
        }
        answer(guest);
        look = !hand_over(guest);
    }
    return KAON_OK;
}

/* ---- The tests --------------------------------------------------------- */

static void begin(struct play *play, uint64_t spin_ns)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) < 2)
        harness_skip("guest and host need a CPU each");
    *play = (struct play){ .guest = guest_stays };
    play_begin(play);
    if (kaon_sandbox_start_resident(
            play->sandbox, KAON_RESIDENT_OPTS(.spin_ns = spin_ns), &play->err))
        fail_msg("%s", play->err.text);
    assert_true(kaon_sandbox_is_resident(play->sandbox));
}

static void call_all(struct play *play, int32_t i)
{
    play_call(play, KAON_RETURNED, "add", KAON_ARGS(kaon_i32(i), kaon_i32(1)));
    assert_int_equal(play->out.value.i32, i + 1);
    play_call(play, KAON_RETURNED, "echo", KAON_ARGS(kaon_string("echo")));
    assert_string_equal(play->out.value.span.data, "echo");
    play_call(play, KAON_RETURNED, "nothing", KAON_NO_ARGS);
}

static uint64_t exits_of(const struct play *play)
{
    struct kaon_sandbox_stats stats;

    assert_int_equal(kaon_sandbox_stats(play->sandbox, &stats), KAON_OK);
    return stats.exits;
}

static void calls_cross_without_an_exit(void **state)
{
    struct play play;

    (void)state;
    begin(&play, FOR_EVER);
    for (int32_t i = 0; i < 300; i++)
        call_all(&play, i);
    assert_int_equal(exits_of(&play), 0);
    play_end(&play);
}

static void both_sides_sleep_and_are_woken(void **state)
{
    struct play play;

    (void)state;
    begin(&play, 1);
    for (int32_t i = 0; i < 300; i++)
        call_all(&play, i);
    assert_true(exits_of(&play) > 0);
    play_end(&play);
}

struct kicker {
    const struct play *play;
    atomic_bool done;
};

/* Now and then: without a pause there may be no CPU left for who makes the
 * calls. */
static void *kick(void *user)
{
    const struct timespec pause = { .tv_nsec = 20000 };
    struct kicker *kicker = user;
    struct kaon_vcpu *vcpu = kicker->play->domain->slots[0].vcpu;

    while (!atomic_load(&kicker->done)) {
        kaon__backend_scripted.vcpu_kick(vcpu);
        sched_yield();
        kaon__backend_scripted.vcpu_unkick(vcpu);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* As a signal of somebody else's is one. */
static void stray_kicks_change_nothing(void **state)
{
    struct kicker kicker = { .done = false };
    struct play play;
    pthread_t thread;

    (void)state;
    begin(&play, 1000);
    kicker.play = &play;
    assert_int_equal(pthread_create(&thread, NULL, kick, &kicker), 0);
    for (int32_t i = 0; i < 200; i++)
        call_all(&play, i);
    atomic_store(&kicker.done, true);
    pthread_join(thread, NULL);
    play_end(&play);
}

static void a_guest_that_stays_is_kicked_at_the_deadline(void **state)
{
    struct play play;

    (void)state;
    begin(&play, 1000);
    call_all(&play, 1);
    assert_int_equal(
        kaon_call(
            play.sandbox, &play.out, "echo_bytes", KAON_ARGS(kaon_bytes("", 0)),
            KAON_CALL_OPTS(.deadline_ns = KAON_MS(20) * harness_slowness()),
            &play.err),
        KAON_OK);
    assert_int_equal(play.out.kind, KAON_DEADLINE);
    play_fail(&play, KAON_EPOISONED, "poisoned", "nothing", KAON_NO_ARGS);
    assert_int_equal(kaon_sandbox_stop_resident(play.sandbox, &play.err),
                     KAON_OK);
    play_end(&play);
}

/* In between, all that the guest has is the host's: it would be a race. */
static void a_paused_guest_touches_nothing(void **state)
{
    struct play play;

    (void)state;
    for (uint64_t spin = 1; spin <= FOR_EVER; spin *= 60000000000) {
        begin(&play, spin);
        for (int32_t i = 0; i < 100; i++) {
            unsigned char *page = play.sandbox->memory->mailbox_page;
            unsigned char copy[KAON_MAILBOX_SIZE];

            call_all(&play, i);
            assert_int_equal(kaon__sandbox_claim(play.sandbox, &play.err),
                             KAON_OK);
            kaon__resident_pause(play.sandbox);
            memcpy(copy, page, sizeof copy);
            memset(page, 0xff, sizeof copy);
            memcpy(page, copy, sizeof copy);
            if (i % 2)
                kaon__resident_go(play.sandbox);
            kaon__sandbox_release(play.sandbox, false);
        }
        play_end(&play);
    }
}

static void each_failure_to_start_is_told(void **state)
{
    struct play play = { .guest = guest_stays };
    unsigned failures = 0;

    (void)state;
    for (unsigned nth = 1;; nth++) {
        enum kaon_status status;

        play_begin(&play);
        fail_nth_arm(nth);
        status = kaon_sandbox_start_resident(play.sandbox, NULL, &play.err);
        if (!fail_nth_disarm())
            break;
        failures++;
        assert_int_equal(status, KAON_ENOMEM);
        assert_true(strlen(play.err.text) > 8);
        assert_false(kaon_sandbox_is_resident(play.sandbox));
        assert_int_equal(kaon_sandbox_state(play.sandbox), KAON_SANDBOX_READY);
        play_end(&play);
    }
    assert_true(failures >= 3); /* its memory, its thread, its vCPU */
    play_end(&play);
}

/* clang-format off */
TESTS(
    TEST(calls_cross_without_an_exit),
    TEST(both_sides_sleep_and_are_woken),
    TEST(stray_kicks_change_nothing),
    TEST(a_guest_that_stays_is_kicked_at_the_deadline),
    TEST(a_paused_guest_touches_nothing),
    TEST(each_failure_to_start_is_told),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each allocation and each system call of a whole life fails in turn: image,
 * domain, sandbox, a call with a deadline and a host call, the end. Whatever
 * fails is told by a status with a sentence, or makes no difference; what it
 * leaves behind is for the harness to find.
 *
 * On the scripted backend, and, where there is KVM, with a guest of code.
 */
#include "play.h"

#include "support/fail_nth.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE UINT64_C(60000000000)

/* No life has as many calls that can fail. */
#define FAILURES_MAX 1000

/* How one life ended. */
struct life {
    struct elf_file *file;
    struct kaon_image *image;
    struct kaon_domain *domain; /* NULL: the sandbox has one of its own */
    struct kaon_host_functions *functions;
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_error err;
};

static int triple(struct kaon_host_call *call, const struct kaon_value *args,
                  struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = kaon_i32(3 * args[0].i32);
    return 0;
}

static enum kaon_status make_functions(struct life *life)
{
    enum kaon_status status =
        kaon_host_functions_create(&life->functions, &life->err);

    return status ? status
                  : kaon_host_functions_add(
                        life->functions, "triple", KAON_TYPE_I32,
                        KAON_PARAMS(KAON_TYPE_I32), triple, NULL, &life->err);
}

static enum kaon_status make_sandbox(struct life *life)
{
    const struct kaon_sandbox_opts opts = {
        .size = sizeof opts,
        .domain = life->domain,
        .host_functions = life->functions,
        .heap_bytes = 64 << 10,
        .exchange_bytes = 64 << 10,
        .deadline_ns = MINUTE,
    };

    return kaon_sandbox_create(&life->sandbox, life->image, &opts, &life->err);
}

/* Twice: the second call finds things that the first one made. */
static enum kaon_status call_it(struct life *life)
{
    static const char text[10000];
    enum kaon_status status =
        kaon_call(life->sandbox, &life->out, "use", KAON_ARGS(kaon_i32(14)),
                  NULL, &life->err);

    if (status || life->out.kind != KAON_RETURNED)
        return status;
    return kaon_call(life->sandbox, &life->out, "take",
                     KAON_ARGS(kaon_bytes(text, sizeof text)), NULL,
                     &life->err);
}

static void end_life(struct life *life)
{
    kaon_sandbox_destroy(life->sandbox);
    kaon_domain_destroy(life->domain);
    kaon_host_functions_destroy(life->functions);
    kaon_image_destroy(life->image);
}

typedef enum kaon_status (*domain_maker)(struct life *life);

static enum kaon_status live(struct life *life, domain_maker make_domain)
{
    enum kaon_status status = kaon_image_parse(&life->image, life->file->bytes,
                                               life->file->size, &life->err);

    if (!status)
        status = make_functions(life);
    if (!status && make_domain)
        status = make_domain(life);
    if (!status)
        status = make_sandbox(life);
    if (!status)
        status = call_it(life);
    if (!status && life->out.kind == KAON_RETURNED)
        status = kaon_sandbox_interrupt(life->sandbox, &life->err);
    return status;
}

/* Out of memory may be the guest's outcome; that it faults, say, may not. */
static void check_end(const struct life *life, enum kaon_status status)
{
    const char *failed = fail_nth_name();

    if (status) {
        if (life->err.status != status || strlen(life->err.text) < 10)
            fail_msg("after %s: %s: \"%s\"", failed, kaon_status_name(status),
                     life->err.text);
        if (status != KAON_ENOMEM && status != KAON_EBACKEND)
            fail_msg("after %s: %s: \"%s\"", failed, kaon_status_name(status),
                     life->err.text);
    } else if (life->out.kind != KAON_RETURNED &&
               life->out.kind != KAON_OUT_OF_MEMORY) {
        fail_msg("after %s: %s: %s", failed, kaon_outcome_name(life->out.kind),
                 life->out.text);
    }
}

/* Lives until nothing fails any more. Returns how much did. */
static unsigned fail_each(struct elf_file *file, domain_maker make_domain)
{
    bool failed = true;
    unsigned nth;

    for (nth = 0; failed; nth++) {
        struct life life = { .file = file };
        enum kaon_status status;

        fail_nth_arm(nth + 1);
        status = live(&life, make_domain);
        failed = fail_nth_disarm();
        check_end(&life, status);
        if (!failed) {
            assert_int_equal(status, KAON_OK);
            assert_int_equal(life.out.kind, KAON_RETURNED);
        }
        end_life(&life);
        assert_true(nth < FAILURES_MAX);
    }
    return nth - 1;
}

static const struct elf_function exports[] = {
    { "use", KAON_TYPE_I32, 1, { KAON_TYPE_I32 } },
    { "take", KAON_TYPE_VOID, 1, { KAON_TYPE_BYTES } },
};
static const struct elf_function imports[] = {
    { "HostPrint", KAON_TYPE_I32, 1, { KAON_TYPE_STRING } },
    { "triple", KAON_TYPE_I32, 1, { KAON_TYPE_I32 } },
};
static const struct elf_symbol symbols[] = {
    { "entry", ELF_TEXT, 64, STT_FUNC },
};

static struct elf_file *make_file(void)
{
    struct elf_file *file = elf_build(&(struct elf_spec){
        .exports = exports,
        .export_count = ELF_COUNT(exports),
        .imports = imports,
        .import_count = ELF_COUNT(imports),
        .symbols = symbols,
        .symbol_count = ELF_COUNT(symbols),
    });

    elf_segment(file, 2)->p_memsz = 8 * KAON_PAGE_SIZE; /* copied later */
    return file;
}

/* ---- On the scripted backend ------------------------------------------- */

/* Touches heap, stack and data, calls the host, and returns. */
static enum kaon_status uses(struct kaon_scripted_guest *guest,
                             struct kaon_exit *exit, void *user)
{
    const struct kaon_mailbox *mailbox = play_mailbox(guest);
    const uint64_t touched[] = { mailbox->heap, mailbox->heap + 0x8000,
                                 mailbox->stack_low, ELF_DATA,
                                 ELF_DATA + 0x5000 };

    (void)user;
    if (play_frame(guest)->kind == KAON_FRAME_CALL &&
        play_frame(guest)->function == 1)
        return play_return_void(guest, exit);
    for (size_t i = 0; i < sizeof touched / sizeof *touched; i++) {
        unsigned char *at =
            play_touch(guest, exit, touched[i], KAON_ACCESS_WRITE);

        if (!at)
            return KAON_OK;
        *at = 1;
    }
    if (guest->turn == 0)
        return play_host_call(guest, exit, 1,
                              KAON_ARGS(play_received(guest, 0)));
    return play_return(guest, exit, play_received(guest, 0));
}

static enum kaon_status scripted_domain(struct life *life)
{
    return kaon__scripted_domain(&life->domain, 2 << 20, uses, NULL,
                                 &life->err);
}

static void each_failure_of_a_scripted_life_is_told(void **state)
{
    struct elf_file *file = make_file();

    (void)state;
    /* 10 for the image, and some for each other thing. */
    assert_true(fail_each(file, scripted_domain) > 25);
    free(file);
}

/* ---- On KVM ------------------------------------------------------------ */

/*
 * A guest by hand, with the same life: it touches data, calls triple by its
 * index, and returns what it got; "take" returns at once. In:  rdi, the
 * mailbox, whose frame is at 0x80. The stack comes from the host.
 */
#define LEAVE_AT 5 /* where the gate's address goes */
static const unsigned char code[] = {
    0x48, 0x89, 0xfb,                   /* mov %rdi, %rbx */
    0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, /* mov $LEAVE, %rax */
    0x49, 0x89, 0xc4,                   /* mov %rax, %r12 */
    0xc6, 0x04, 0x25, 0, 0, 0x60, 0, 1, /* movb $1, ELF_DATA */
    0x48, 0x8b, 0x4b, 0x10,             /* mov 0x10(%rbx), %rcx: heap */
    0xc6, 0x01, 1,                      /* movb $1, (%rcx) */
    0x83, 0xbb, 0x84, 0, 0, 0, 0,       /* cmpl $0, frame.function */
    0x75, 0x26,                         /* jne take */
    /* The frame's slots, and so the argument, are left where they are. */
    0xc7, 0x83, 0x80, 0, 0, 0, 5, 0, 0, 0, /* movl $HOST_CALL, kind */
    0xc7, 0x83, 0x84, 0, 0, 0, 1, 0, 0, 0, /* movl $1, function */
    0x41, 0xff, 0xd4,                      /* call *%r12 */
    /* The answer's slot becomes the result's. */
    0xc7, 0x83, 0x80, 0, 0, 0, 2, 0, 0, 0, /* movl $RESULT, kind */
    0x41, 0xff, 0xd4,                      /* call *%r12 */
    0x0f, 0x0b,                            /* ud2 */
    /* take: */
    0xc7, 0x83, 0x80, 0, 0, 0, 2, 0, 0, 0, /* movl $RESULT, kind */
    0xc7, 0x83, 0x88, 0, 0, 0, 0, 0, 0, 0, /* movl $0, count */
    0xc7, 0x83, 0x90, 0, 0, 0, 0, 0, 0, 0, /* movl $0, slots */
    0x41, 0xff, 0xd4,                      /* call *%r12 */
    0x0f, 0x0b,                            /* ud2 */
};

static struct elf_file *make_code(void)
{
    const uint64_t leave = KAON_GATE_LEAVE;
    struct elf_file *file = make_file();

    memcpy(elf_at(file, ELF_TEXT), code, sizeof code);
    memcpy(elf_at(file, ELF_TEXT + LEAVE_AT), &leave, sizeof leave);
    return file;
}

static void need_kvm(void)
{
    const char *why;

    if (!harness_have_kvm(&why))
        harness_skip("%s", why);
}

static enum kaon_status shared_domain(struct life *life)
{
    return kaon_domain_create(
        &life->domain, KAON_DOMAIN_OPTS(.memory_bytes = 16 << 20), &life->err);
}

static void each_failure_of_a_life_on_kvm_is_told(void **state)
{
    struct elf_file *file;

    (void)state;
    need_kvm();
    file = make_code();
    assert_true(fail_each(file, NULL) > 40);
    free(file);
}

static void each_failure_in_a_shared_domain_is_told(void **state)
{
    struct elf_file *file;

    (void)state;
    need_kvm();
    file = make_code();
    assert_true(fail_each(file, shared_domain) > 40);
    free(file);
}

/*
 * What failed once may succeed the next time: the domain and the sandbox that
 * saw the failure are as good as new, unless the guest was in it.
 */
static void
a_call_that_failed_before_the_guest_ran_can_be_made_again(void **state)
{
    struct elf_file *file;
    unsigned failed = 0;

    (void)state;
    need_kvm();
    file = make_code();
    for (unsigned nth = 1;; nth++) {
        struct life life = { .file = file };
        enum kaon_status status;

        if (kaon_image_parse(&life.image, file->bytes, file->size, &life.err) ||
            make_functions(&life) || shared_domain(&life) ||
            make_sandbox(&life))
            fail_msg("%s", life.err.text);
        fail_nth_arm(nth);
        status = call_it(&life);
        if (!fail_nth_disarm()) {
            end_life(&life);
            break;
        }
        check_end(&life, status);
        if (kaon_sandbox_state(life.sandbox) == KAON_SANDBOX_READY) {
            failed++;
            if (call_it(&life))
                fail_msg("after %s: %s", fail_nth_name(), life.err.text);
            assert_int_equal(life.out.kind, KAON_RETURNED);
        }
        end_life(&life);
    }
    /* The vCPU: its memory, its descriptor, its state, three settings; the
     * deadline's signal and thread. */
    assert_true(failed >= 8);
    free(file);
}

/* clang-format off */
TESTS(
    TEST_ROW(27, each_failure_of_a_scripted_life_is_told),
    TEST_ROW_LIMIT(27, 120, each_failure_of_a_life_on_kvm_is_told),
    TEST_ROW_LIMIT(27, 120, each_failure_in_a_shared_domain_is_told),
    TEST_ROW_LIMIT(27, 120,
                   a_call_that_failed_before_the_guest_ran_can_be_made_again),
)

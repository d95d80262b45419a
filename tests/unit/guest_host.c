/* SPDX-License-Identifier: Apache-2.0 */
/* Plays the host for a guest that is part of this program. */
#include "guest_host.h"

#include <string.h>
#include <sys/mman.h>

_Alignas(4096) unsigned char exchange[KAON_MAILBOX_SIZE + AREA_SIZE];
_Alignas(16) unsigned char heap[HEAP_SIZE];
struct kaon_mailbox *const mailbox = (struct kaon_mailbox *)exchange;
const struct kaon_wire wire = { exchange, exchange + KAON_MAILBOX_SIZE,
                                AREA_SIZE };

void (*host)(uint32_t function, const struct kaon_value *args, uint32_t count,
             struct answer *answer);
unsigned int host_calls, posted_calls, exits, restarts;
bool host_answers_badly;
jmp_buf answered;

/* Where the guest goes on, on a stack that is as at its entry. */
static jmp_buf restarted;
static void (*restart_at)(void);

/* In place of the library's, which is for a stack of the guest's own. */
void kaon__restart(uint64_t stack_high, void (*function)(void))
{
    assert_true(stack_high == mailbox->stack_high);
    restarts++;
    restart_at = function;
    longjmp(restarted, 1);
}

static void take_posted(void)
{
    struct kaon_posted posted = mailbox->posted;

    mailbox->posted.count = 0;
    assert_in_range(posted.count, 0, KAON_POSTED_MAX);
    assert_int_equal(kaon_wire_check_frames(&wire, posted.frames, posted.count),
                     KAON_WIRE_OK);
    for (uint32_t i = 0; i < posted.count; i++) {
        struct kaon_value args[KAON_PARAMS_MAX + 1];
        struct kaon_frame frame;

        kaon_wire_read_frame(&wire, posted.frames, i, &frame);
        assert_int_equal(frame.kind, KAON_FRAME_HOST_CALL);
        assert_int_equal(
            kaon_wire_get(&wire, &frame, args, KAON_PARAMS_MAX + 1),
            KAON_WIRE_OK);
        posted_calls++;
        host(frame.function, args, frame.count, NULL);
    }
    /* What was taken may be overwritten, and the guest must not mind. */
    for (uint32_t i = 0; i < posted.count; i++)
        kaon_wire_write_frame(&wire, posted.frames, i,
                              &(struct kaon_frame){ .kind = 0xdead });
}

static void host_function(void)
{
    struct kaon_frame frame = mailbox->frame;
    struct kaon_value args[KAON_PARAMS_MAX + 1];
    struct answer answer = { .kind = KAON_FRAME_HOST_RESULT };

    host_calls++;
    assert_int_equal(kaon_wire_get(&wire, &frame, args, KAON_PARAMS_MAX + 1),
                     KAON_WIRE_OK);
    host(frame.function, args, frame.count, &answer);

    struct kaon_frame back = { .kind = answer.kind, .code = answer.code };
    assert_int_equal(kaon_wire_put(&wire, kaon_wire_offer(&wire, &frame),
                                   &answer.value,
                                   answer.value.type != KAON_TYPE_VOID, &back),
                     KAON_WIRE_OK);
    if (host_answers_badly)
        back.slots = 8;
    mailbox->frame = back;
}

/* What the gate does on a hypervisor, without one. */
static void gate(void)
{
    exits++;
    if (mailbox->posted.count)
        take_posted();
    if (mailbox->frame.kind == KAON_FRAME_HOST_CALL)
        host_function();
    else
        longjmp(answered, 1);
}

/* movabs $gate, %rax; jmp *%rax. */
static void gate_map(void)
{
    static bool mapped;
    const uint64_t target = (uintptr_t)gate;
    unsigned char code[12] = { 0x48, 0xb8 };
    unsigned char *page;

    if (mapped)
        return;
    page = mmap((void *)KAON_GATE_ADDRESS, 4096, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page != (void *)KAON_GATE_ADDRESS)
        harness_skip("the gate's address is taken in this process");
    memcpy(code + 2, &target, sizeof target);
    code[10] = 0xff;
    code[11] = 0xe0;
    memcpy(page + (KAON_GATE_LEAVE - KAON_GATE_ADDRESS), code, sizeof code);
    assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
    mapped = true;
}

void guest_host_begin(void)
{
    gate_map();
    memset(exchange, 0, sizeof exchange);
    *mailbox = (struct kaon_mailbox){
        .magic = KAON_MAILBOX_MAGIC,
        .abi_version = KAON_ABI_VERSION,
        .exchange_size = sizeof exchange,
        .heap = (uintptr_t)heap,
        .heap_size = sizeof heap,
        .stack_low = (uintptr_t)__builtin_frame_address(0) - (1 << 20),
        .stack_high = (uintptr_t)__builtin_frame_address(0),
    };
    kaon__exchange = (struct kaon__exchange){ 0 };
    host = NULL;
    host_calls = posted_calls = exits = restarts = 0;
    host_answers_badly = false;
}

void run_guest(void)
{
    if (setjmp(answered))
        return;
    if (setjmp(restarted))
        restart_at();
    else
        kaon__dispatch(mailbox);
}

struct kaon_frame enter(uint32_t function, const struct kaon_value *args,
                        uint32_t count, struct kaon_value *result)
{
    struct kaon_frame frame = { .kind = KAON_FRAME_CALL, .function = function };

    assert_int_equal(
        kaon_wire_put(&wire, kaon_wire_all_free(), args, count, &frame),
        KAON_WIRE_OK);
    mailbox->frame = frame;
    run_guest();
    frame = mailbox->frame;
    *result = kaon_void();
    assert_int_equal(kaon_wire_get(&wire, &frame, result, 1), KAON_WIRE_OK);
    return frame;
}

uint32_t index_of(const char *name)
{
    const struct kaon__record *at = __start_kaon_exports;

    while (at < __stop_kaon_exports && strcmp(at->name, name) != 0)
        at++;
    assert_true(at < __stop_kaon_exports);
    return (uint32_t)(at - __start_kaon_exports);
}

struct kaon_value call(const char *name, const struct kaon_value *args,
                       uint32_t count)
{
    struct kaon_value result;
    struct kaon_frame frame = enter(index_of(name), args, count, &result);

    if (frame.kind != KAON_FRAME_RESULT)
        fail_msg("%s: frame %u, code %d, %s", name, frame.kind, frame.code,
                 frame.count ? (const char *)result.span.data : "no text");
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes a call from end to end: a guest, played from the input, writes what
 * it likes where it may, faults where it likes, and leaves with any frame.
 * The host must get an outcome each time, its host functions only arguments
 * that lie in the exchange, and no status but KAON_OK.
 *
 * Input: a byte that says which function is called, or that all of them are, in
 * a batch; then steps of the guest:
 *
 *   0 frame[32]               leaves with it
 *   1 at[2] size[1] bytes     writes into the exchange (touches its pages)
 *   2 access[1] address[8]    page fault
 *   3 vector[1] error[1]      another exception
 *   4                         interrupted by nobody
 *   5, 6                      no memory behind it; its CPU stopped
 *   7 which[1] value[8]       sets a register that faults tell about
 *
 * What is missing at the end is zero, and then the guest leaves with an empty
 * RESULT.
 */
#include <stdlib.h>
#include <string.h>
#include <kaon.h>

#include "backend/scripted.h"
#include "host/sandbox.h"
#include "support/elf_builder.h"

#define KIB UINT64_C(1024)
#define AREA (16 * KIB)
#define EXCHANGE (KAON_MAILBOX_SIZE + AREA)
#define CALLS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* The input that is left; and the sandbox, for what a host function checks. */
struct play {
    const uint8_t *data;
    size_t size;
    struct kaon_sandbox *sandbox;
};

static void take(struct play *play, void *to, size_t size)
{
    size_t taken = size < play->size ? size : play->size;

    memset(to, 0, size);
    if (taken)
        memcpy(to, play->data, taken);
    play->data += taken;
    play->size -= taken;
}

static uint64_t take_number(struct play *play, size_t size)
{
    uint64_t number = 0;

    take(play, &number, size);
    return number;
}

/* ---- The guest --------------------------------------------------------- */

/* Where the guest sees a byte of the exchange; NULL, and the fault that asks
 * for it, if it is not there yet. */
static unsigned char *at_offset(const struct kaon_scripted_guest *guest,
                                uint64_t offset, struct kaon_exit *exit)
{
    uint64_t address = guest->entry.argument + offset;
    unsigned char *at = kaon__scripted_at(guest, address, KAON_ACCESS_WRITE);

    if (!at)
        kaon__scripted_fault(exit, address, KAON_ACCESS_WRITE);
    return at;
}

/* Returns whether it faulted. The bytes of the input are gone either way. */
static bool scribble(struct play *play, const struct kaon_scripted_guest *guest,
                     struct kaon_exit *exit)
{
    uint64_t at = take_number(play, 2) % EXCHANGE;
    uint64_t size = take_number(play, 1);
    unsigned char bytes[256];

    take(play, bytes, size);
    for (uint64_t i = 0; i < size && at + i < EXCHANGE; i++) {
        unsigned char *byte = at_offset(guest, at + i, exit);

        if (!byte)
            return true;
        *byte = bytes[i];
    }
    return false;
}

static void leave(struct play *play, const struct kaon_scripted_guest *guest,
                  struct kaon_exit *exit, bool ends)
{
    struct kaon_frame frame = { .kind = KAON_FRAME_RESULT };
    unsigned char *at =
        at_offset(guest, offsetof(struct kaon_mailbox, frame), exit);

    check(at != NULL);
    if (!ends)
        take(play, &frame, sizeof frame);
    memcpy(at, &frame, sizeof frame);
    kaon__scripted_leave(exit);
}

static void set_register(struct play *play, struct kaon_registers *registers)
{
    uint64_t which = take_number(play, 1);
    uint64_t value = take_number(play, 8);

    switch (which % 3) {
    case 0: registers->rip = value; break;
    case 1: registers->rsp = value; break;
    case 2: registers->rbp = value; break;
    }
}

static enum kaon_status play_guest(struct kaon_scripted_guest *guest,
                                   struct kaon_exit *exit, void *user)
{
    struct play *play = *(struct play **)user;
    uint64_t access;

    for (;;) {
        if (play->size == 0) {
            leave(play, guest, exit, true);
            return KAON_OK;
        }
        switch (take_number(play, 1) % 8) {
        case 0: leave(play, guest, exit, false); return KAON_OK;
        case 1:
            if (scribble(play, guest, exit))
                return KAON_OK;
            break;
        case 2:
            access = take_number(play, 1) % 3;
            kaon__scripted_fault(exit, take_number(play, 8),
                                 access == 0   ? KAON_ACCESS_READ
                                 : access == 1 ? KAON_ACCESS_WRITE
                                               : KAON_ACCESS_EXECUTE);
            return KAON_OK;
        case 3:
            exit->kind = KAON_EXIT_FAULT;
            exit->vector = (uint32_t)take_number(play, 1) % 32;
            exit->error_code = (uint32_t)take_number(play, 1);
            return KAON_OK;
        case 4: exit->kind = KAON_EXIT_KICKED; return KAON_OK;
        case 5: /* as a backend says them: with a reason */
        case 6:
            exit->kind = play->size % 2 ? KAON_EXIT_MEMORY : KAON_EXIT_STOPPED;
            exit->reason = "chance stopped it";
            return KAON_OK;
        case 7: set_register(play, &guest->registers); break;
        }
    }
}

/* ---- The host ---------------------------------------------------------- */

/* Sums the bytes, so that a sanitizer sees each, and checks where they lie. */
static uint32_t check_span(const struct play *play,
                           const struct kaon_value *value)
{
    struct kaon_wire wire = kaon__memory_wire(play->sandbox->memory);
    const unsigned char *bytes = value->span.data;
    size_t size = value->span.size + (value->type == KAON_TYPE_STRING);
    uintptr_t in_page = (uintptr_t)bytes - (uintptr_t)wire.page;
    uintptr_t in_area = (uintptr_t)bytes - (uintptr_t)wire.area;
    uint32_t sum = 0;

    check((in_page >= KAON_MAILBOX_FREE && in_page <= KAON_MAILBOX_SIZE &&
           size <= KAON_MAILBOX_SIZE - in_page) ||
          (wire.area && in_area <= wire.area_size &&
           size <= wire.area_size - in_area));
    for (size_t i = 0; i < size; i++)
        sum += bytes[i];
    if (value->type == KAON_TYPE_STRING)
        check(strlen((const char *)bytes) == value->span.size);
    return sum;
}

static void check_value(const struct play *play, const struct kaon_value *value)
{
    check(value->type < KAON_TYPE_COUNT);
    if (value->type >= KAON_TYPE_STRING)
        check_span(play, value);
}

/* What a host function builds must not change what it was given. */
static void check_apart(const struct kaon_value *a, const struct kaon_value *b)
{
    uintptr_t from = (uintptr_t)a->span.data, other = (uintptr_t)b->span.data;

    check(!a->span.size || !b->span.size || from >= other + b->span.size ||
          other >= from + a->span.size);
}

/* (string, bytes, u32) -> bytes: fails, gives back its argument, or builds an
 * answer in place. */
static int host_take(struct kaon_host_call *call, const struct kaon_value *args,
                     struct kaon_value *result, void *user)
{
    struct play *play = *(struct play **)user;
    uint32_t sum = check_span(play, &args[0]) + check_span(play, &args[1]);
    uint32_t room = args[2].u32 / 4 % (uint32_t)(EXCHANGE + 64);
    unsigned char *buffer;

    switch (args[2].u32 % 4) {
    case 0: return kaon_host_fail(call, (int32_t)sum, args[0].span.data);
    case 1:
        *result = kaon_bytes(args[1].span.data, args[1].span.size);
        return 0;
    case 2: return 1; /* without a word */
    }
    buffer = kaon_host_buffer(call, room);
    if (!buffer)
        return kaon_host_fail(call, 7, "no room");
    *result = kaon_bytes(buffer, room);
    check_span(play, result);
    memset(buffer, (int)sum, room);
    check_apart(result, &args[0]);
    check_apart(result, &args[1]);
    return 0;
}

/* Without parameters, or with numbers alone. */
static int host_number(struct kaon_host_call *call,
                       const struct kaon_value *args, struct kaon_value *result,
                       void *user)
{
    (void)call;
    (void)user;
    *result = kaon_u64(args[0].u64 + args[1].boolean);
    return 0;
}

static struct play *current; /* what guest and host functions work on */

static struct kaon_image *make_image(void)
{
    static const struct elf_function exports[] = {
        { "nothing", KAON_TYPE_VOID, 0, { 0 } },
        { "number", KAON_TYPE_U64, 0, { 0 } },
        { "text", KAON_TYPE_STRING, 0, { 0 } },
        { "bytes", KAON_TYPE_BYTES, 1, { KAON_TYPE_BYTES } },
        { "truth", KAON_TYPE_BOOL, 0, { 0 } },
    };
    static const struct elf_function imports[] = {
        { "HostTake",
          KAON_TYPE_BYTES,
          3,
          { KAON_TYPE_STRING, KAON_TYPE_BYTES, KAON_TYPE_U32 } },
        { "HostNumber", KAON_TYPE_U64, 2, { KAON_TYPE_U64, KAON_TYPE_BOOL } },
    };
    struct elf_file *file = elf_build(&(struct elf_spec){
        .exports = exports,
        .export_count = ELF_COUNT(exports),
        .imports = imports,
        .import_count = ELF_COUNT(imports),
        .flags = KAON_INFO_DYNAMIC | KAON_INFO_BATCH,
    });
    struct kaon_image *image;

    check(!kaon_image_parse(&image, file->bytes, file->size, NULL));
    free(file);
    return image;
}

static struct kaon_host_functions *make_functions(void)
{
    struct kaon_host_functions *set;

    check(!kaon_host_functions_create(&set, NULL));
    check(!kaon_host_functions_print(set, NULL, NULL, NULL));
    check(!kaon_host_functions_add(
        set, "HostTake", KAON_TYPE_BYTES,
        KAON_PARAMS(KAON_TYPE_STRING, KAON_TYPE_BYTES, KAON_TYPE_U32),
        host_take, &current, NULL));
    check(!kaon_host_functions_add(set, "HostNumber", KAON_TYPE_U64,
                                   KAON_PARAMS(KAON_TYPE_U64, KAON_TYPE_BOOL),
                                   host_number, NULL, NULL));
    return set;
}

/* In a domain of its own: nothing of one input is left for the next. */
static struct kaon_sandbox *make_sandbox(void)
{
    static struct kaon_host_functions *functions;
    static struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_domain *domain;

    if (!image) {
        functions = make_functions();
        image = make_image();
    }
    check(!kaon__scripted_domain(&domain, 2048 * KIB, play_guest, &current,
                                 NULL));
    check(!kaon_sandbox_create(
        &sandbox, image,
        KAON_SANDBOX_OPTS(.domain = domain, .host_functions = functions,
                          .heap_bytes = 64 * KIB, .stack_bytes = 16 * KIB,
                          .exchange_bytes = AREA),
        NULL));
    kaon_domain_destroy(domain);
    return sandbox;
}

static const uint32_t results[] = { KAON_TYPE_VOID, KAON_TYPE_U64,
                                    KAON_TYPE_STRING, KAON_TYPE_BYTES,
                                    KAON_TYPE_BOOL };
#define EXPORTS (sizeof results / sizeof *results)

static void check_outcome(const struct play *play,
                          const struct kaon_outcome *out, uint64_t which)
{
    if (out->kind == KAON_RETURNED) {
        check_value(play, &out->value);
        if (which < EXPORTS)
            check(out->value.type == results[which]);
    } else {
        check(memchr(out->text, 0, sizeof out->text) != NULL);
    }
}

static enum kaon_outcome_kind call(struct play *play, uint64_t which)
{
    static const char *const functions[] = { "nothing", "number", "text",
                                             "bytes",   "truth",  "unknown" };
    struct kaon_value bytes = kaon_bytes("some bytes", 10);
    struct kaon_outcome out;
    enum kaon_status status =
        which == 6 ? kaon_sandbox_init(play->sandbox, &out, NULL, NULL)
                   : kaon_call(play->sandbox, &out, functions[which], &bytes,
                               which == 3, NULL, NULL);

    check(status == KAON_OK);
    check_outcome(play, &out, which);
    return out.kind;
}

/* Each export twice. */
static enum kaon_outcome_kind call_batch(struct play *play)
{
    struct kaon_value bytes = kaon_bytes("some bytes", 10);
    struct kaon_batch_call calls[2 * EXPORTS];
    struct kaon_outcome outs[2 * EXPORTS];
    enum kaon_outcome_kind worst = KAON_RETURNED;

    for (uint32_t i = 0; i < 2 * EXPORTS; i++)
        calls[i] = (struct kaon_batch_call){
            .function = { play->sandbox->image, i % EXPORTS },
            .args = &bytes,
            .count = i % EXPORTS == 3,
        };
    check(kaon_call_batch(play->sandbox, outs, calls, 2 * EXPORTS, NULL,
                          NULL) == KAON_OK);
    for (uint32_t i = 0; i < 2 * EXPORTS; i++) {
        check(worst < KAON_ABORT || outs[i].kind == KAON_NOT_RUN);
        check(worst >= KAON_ABORT || outs[i].kind < KAON_NOT_RUN);
        check_outcome(play, &outs[i], i % EXPORTS);
        if (worst < KAON_ABORT)
            worst = outs[i].kind;
    }
    return worst;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum kaon_outcome_kind kind = KAON_RETURNED;
    struct play play = { .data = data, .size = size };

    play.sandbox = make_sandbox();
    current = &play;
    for (unsigned i = 0; i < CALLS && play.size && kind < KAON_ABORT; i++) {
        uint64_t which = take_number(&play, 1) % 8;

        kind = which == 7 ? call_batch(&play) : call(&play, which);
        check(
            kaon_sandbox_state(play.sandbox) ==
            (kind >= KAON_ABORT ? KAON_SANDBOX_POISONED : KAON_SANDBOX_READY));
    }
    kaon_sandbox_destroy(play.sandbox);
    current = NULL;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sets a scripted sandbox up, and speaks the guest's half of the contract. */
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct elf_function exports[] = {
    [PLAY_NOTHING] = { "nothing", KAON_TYPE_VOID, 0, { 0 } },
    [PLAY_ADD] = { "add", KAON_TYPE_I32, 2, { KAON_TYPE_I32, KAON_TYPE_I32 } },
    [PLAY_ECHO] = { "echo", KAON_TYPE_STRING, 1, { KAON_TYPE_STRING } },
    [PLAY_ECHO_BYTES] = { "echo_bytes",
                          KAON_TYPE_BYTES,
                          1,
                          { KAON_TYPE_BYTES } },
};

static const struct elf_function imports[PLAY_IMPORTS] = {
    [PLAY_PRINT] = { "HostPrint", KAON_TYPE_I32, 1, { KAON_TYPE_STRING } },
    [PLAY_TRIPLE] = { "triple", KAON_TYPE_I32, 1, { KAON_TYPE_I32 } },
    [PLAY_HANDLE] = { "handle", KAON_TYPE_BYTES, 1, { KAON_TYPE_BYTES } },
};

static const struct elf_symbol symbols[] = {
    { "entry", ELF_TEXT, 64, STT_FUNC },
    { "parse", ELF_TEXT + 64, 64, STT_FUNC },
};

struct kaon_image *play_image(uint64_t data_bytes, uint32_t flags)
{
    struct elf_file *file = elf_build(&(struct elf_spec){
        .exports = exports,
        .export_count = ELF_COUNT(exports),
        .imports = imports,
        .import_count = ELF_COUNT(imports),
        .symbols = symbols,
        .symbol_count = ELF_COUNT(symbols),
        .flags = flags,
    });
    struct kaon_image *image = NULL;
    struct kaon_error err;

    if (data_bytes)
        elf_segment(file, 2)->p_memsz = data_bytes;
    if (kaon_image_parse(&image, file->bytes, file->size, &err))
        fail_msg("%s", err.text);
    free(file);
    return image;
}

/* ---- Host functions ---------------------------------------------------- */

static int32_t keep_print(const char *text, size_t size, void *user)
{
    struct play *play = user;

    assert_int_equal(text[size], '\0');
    snprintf(play->printed, sizeof play->printed, "%s", text);
    return (int32_t)size;
}

static int triple(struct kaon_host_call *call, const struct kaon_value *args,
                  struct kaon_value *result, void *user)
{
    (void)call;
    (void)user;
    *result = kaon_i32(3 * args[0].i32);
    return 0;
}

static int handle(struct kaon_host_call *call, const struct kaon_value *args,
                  struct kaon_value *result, void *user)
{
    struct play *play = user;

    assert_non_null(play->handler);
    return play->handler(call, args, result, user);
}

static void make_functions(struct play *play)
{
    if (kaon_host_functions_create(&play->functions, &play->err) ||
        kaon_host_functions_print(play->functions, keep_print, play,
                                  &play->err) ||
        kaon_host_functions_add(play->functions, "triple", KAON_TYPE_I32,
                                KAON_PARAMS(KAON_TYPE_I32), triple, NULL,
                                &play->err) ||
        kaon_host_functions_add(play->functions, "handle", KAON_TYPE_BYTES,
                                KAON_PARAMS(KAON_TYPE_BYTES), handle, play,
                                &play->err))
        fail_msg("%s", play->err.text);
}

/* ---- Life -------------------------------------------------------------- */

static enum kaon_status trampoline(struct kaon_scripted_guest *guest,
                                   struct kaon_exit *exit, void *user)
{
    struct play *play = user;

    return play->guest ? play->guest(guest, exit, play)
                       : play_return_void(guest, exit);
}

struct kaon_sandbox *play_sandbox(struct play *play)
{
    struct kaon_sandbox_opts opts = play->opts;
    struct kaon_sandbox *sandbox;

    opts.size = sizeof opts;
    opts.domain = play->domain;
    opts.host_functions = play->functions;
    if (kaon_sandbox_create(&sandbox, play->image, &opts, &play->err))
        fail_msg("%s", play->err.text);
    return sandbox;
}

void play_begin(struct play *play)
{
    uint64_t memory = play->memory_bytes ? play->memory_bytes : 8u << 20;

    play->image = play_image(play->data_bytes, play->image_flags);
    make_functions(play);
    if (kaon__scripted_domain(&play->domain, memory, trampoline, play,
                              &play->err))
        fail_msg("%s", play->err.text);
    play->sandbox = play_sandbox(play);
}

void play_end(struct play *play)
{
    kaon_sandbox_destroy(play->sandbox);
    kaon_domain_destroy(play->domain);
    kaon_host_functions_destroy(play->functions);
    kaon_image_destroy(play->image);
}

void play_call(struct play *play, enum kaon_outcome_kind kind, const char *name,
               const struct kaon_value *args, size_t count)
{
    if (kaon_call(play->sandbox, &play->out, name, args, count, NULL,
                  &play->err))
        fail_msg("%s: %s", name, play->err.text);
    if (play->out.kind != kind)
        fail_msg("%s: %s, not %s: %s", name, kaon_outcome_name(play->out.kind),
                 kaon_outcome_name(kind), play->out.text);
}

void play_words(const char *sentence, const char *words)
{
    if (!strstr(sentence, words))
        fail_msg("\"%s\" is not in \"%s\"", words, sentence);
}

void play_fail(struct play *play, enum kaon_status status, const char *words,
               const char *name, const struct kaon_value *args, size_t count)
{
    enum kaon_status got = kaon_call(play->sandbox, &play->out, name, args,
                                     count, NULL, &play->err);

    if (got != status)
        fail_msg("%s: %s, not %s", name ? name : "NULL", kaon_status_name(got),
                 kaon_status_name(status));
    assert_int_equal(play->err.status, status);
    play_words(play->err.text, words);
}

/* ---- For guests -------------------------------------------------------- */

struct kaon_mailbox *play_mailbox(const struct kaon_scripted_guest *guest)
{
    void *mailbox =
        kaon__scripted_at(guest, guest->entry.argument, KAON_ACCESS_WRITE);

    assert_non_null(mailbox);
    return mailbox;
}

struct kaon_frame *play_frame(const struct kaon_scripted_guest *guest)
{
    return &play_mailbox(guest)->frame;
}

struct kaon_wire play_wire(const struct kaon_scripted_guest *guest)
{
    struct kaon_mailbox *mailbox = play_mailbox(guest);
    struct kaon_wire wire = { .page = (unsigned char *)mailbox };
    uint64_t area = guest->entry.argument + KAON_MAILBOX_SIZE;
    uint32_t most = mailbox->exchange_size - KAON_MAILBOX_SIZE;

    if (most) /* else that is the heap */
        wire.area = kaon__scripted_at(guest, area, KAON_ACCESS_WRITE);
    while (wire.area_size < most &&
           kaon__scripted_at(guest, area + wire.area_size, KAON_ACCESS_WRITE))
        wire.area_size += KAON_PAGE_SIZE;
    return wire;
}

struct kaon_value play_received(const struct kaon_scripted_guest *guest,
                                uint32_t index)
{
    struct kaon_value values[KAON_PARAMS_MAX + 1];
    struct kaon_wire wire = play_wire(guest);
    const struct kaon_frame *frame = play_frame(guest);

    assert_int_equal(kaon_wire_get(&wire, frame, values, KAON_PARAMS_MAX + 1),
                     KAON_WIRE_OK);
    assert_true(index < frame->count);
    return values[index];
}

bool play_need_area(const struct kaon_scripted_guest *guest,
                    struct kaon_exit *exit, const struct kaon_wire *wire)
{
    uint64_t behind = KAON_MAILBOX_SIZE + wire->area_size;

    if (behind == play_mailbox(guest)->exchange_size)
        return false;
    kaon__scripted_fault(exit, guest->entry.argument + behind,
                         KAON_ACCESS_WRITE);
    return true;
}

static enum kaon_status leave(struct kaon_scripted_guest *guest,
                              struct kaon_exit *exit, struct kaon_frame frame,
                              const struct kaon_value *values, uint32_t count)
{
    struct kaon_wire wire = play_wire(guest);
    struct kaon_wire_free free = kaon_wire_offer(&wire, play_frame(guest));
    enum kaon_wire_status status =
        kaon_wire_put(&wire, free, values, count, &frame);

    if (status == KAON_WIRE_TOO_LARGE && play_need_area(guest, exit, &wire))
        return KAON_OK;
    assert_int_equal(status, KAON_WIRE_OK);
    *play_frame(guest) = frame;
    kaon__scripted_leave(exit);
    return KAON_OK;
}

enum kaon_status play_leave(struct kaon_scripted_guest *guest,
                            struct kaon_exit *exit, uint32_t kind, int32_t code,
                            const struct kaon_value *value)
{
    const struct kaon_frame frame = { .kind = kind, .code = code };

    return leave(guest, exit, frame, value, value != NULL);
}

enum kaon_status play_return(struct kaon_scripted_guest *guest,
                             struct kaon_exit *exit, struct kaon_value value)
{
    return play_leave(guest, exit, KAON_FRAME_RESULT, 0, &value);
}

enum kaon_status play_return_void(struct kaon_scripted_guest *guest,
                                  struct kaon_exit *exit)
{
    return play_leave(guest, exit, KAON_FRAME_RESULT, 0, NULL);
}

enum kaon_status play_host_call(struct kaon_scripted_guest *guest,
                                struct kaon_exit *exit, uint32_t function,
                                const struct kaon_value *args, size_t count)
{
    const struct kaon_frame frame = { .kind = KAON_FRAME_HOST_CALL,
                                      .function = function };

    return leave(guest, exit, frame, args, (uint32_t)count);
}

void *play_touch(const struct kaon_scripted_guest *guest,
                 struct kaon_exit *exit, uint64_t address,
                 enum kaon_access access)
{
    void *at = kaon__scripted_at(guest, address, access);

    if (!at)
        kaon__scripted_fault(exit, address, access);
    return at;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/play.h - a sandbox whose guest is a function of the test
 *
 *     static enum kaon_status returns_seven(struct kaon_scripted_guest *guest,
 *                                           struct kaon_exit *exit, void *user)
 *     {
 *         return play_return(guest, exit, kaon_i32(7));
 *     }
 *
 *     struct play play = { .guest = returns_seven };
 *
 *     play_begin(&play);
 *     play_call(&play, KAON_RETURNED, "add", KAON_ARGS(...));
 *     play_end(&play);
 *
 * Such a function plays the guest until its next exit, by guest->turn: turn 0
 * starts with the call, 1 with the answer to the first host call, and so on.
 * Its user is the struct play.
 */
#ifndef KAON_TESTS_PLAY_H
#define KAON_TESTS_PLAY_H

#include <kaon.h>

#include "abi/wire.h"
#include "backend/scripted.h"
#include "host/sandbox.h"
#include "support/elf_builder.h"
#include "support/harness.h"

/* The image's functions, in their order. */
enum play_export {
    PLAY_NOTHING,    /* nothing() -> void */
    PLAY_ADD,        /* add(i32, i32) -> i32 */
    PLAY_ECHO,       /* echo(string) -> string */
    PLAY_ECHO_BYTES, /* echo_bytes(bytes) -> bytes */
};

enum play_import {
    PLAY_PRINT,   /* HostPrint(string) -> i32 */
    PLAY_TRIPLE,  /* triple(i32) -> i32: three times the number */
    PLAY_HANDLE,  /* handle(bytes) -> bytes: what play.handler does */
    PLAY_IMPORTS, /* as many */
};

struct play {
    /* Set before play_begin(), if at all: */
    kaon_scripted_player guest;    /* default: returns void; may change later */
    void *user;                    /* the test's own */
    uint64_t memory_bytes;         /* of the domain, default 8 MiB */
    uint64_t data_bytes;           /* of the image, default ELF_DATA_MEMORY */
    uint32_t image_flags;          /* KAON_INFO_* */
    struct kaon_sandbox_opts opts; /* without domain and host_functions */
    kaon_host_function handler; /* of "handle": gets the struct play as user */

    /* Made by it: */
    struct kaon_image *image;
    struct kaon_domain *domain;
    struct kaon_host_functions *functions;
    struct kaon_sandbox *sandbox;

    /* Filled by calls: */
    struct kaon_outcome out;
    struct kaon_error err;
    char printed[256]; /* by HostPrint */
};

void play_begin(struct play *play);
void play_end(struct play *play);

/* An image with play's exports and imports; release as any. */
struct kaon_image *play_image(uint64_t data_bytes, uint32_t flags);

/* One more sandbox of the play's image and domain. */
struct kaon_sandbox *play_sandbox(struct play *play);

/* Calls, and fails the test unless the outcome is of this kind. */
void play_call(struct play *play, enum kaon_outcome_kind kind, const char *name,
               const struct kaon_value *args, size_t count);

/* Calls, and fails the test unless it fails so, with these words. */
void play_fail(struct play *play, enum kaon_status status, const char *words,
               const char *name, const struct kaon_value *args, size_t count);

/* Fails the test unless a sentence has these words in it. */
void play_words(const char *sentence, const char *words);

/* ---- For guests -------------------------------------------------------- */

/* Where the frame is, the guest's to read and to spoil. */
struct kaon_frame *play_frame(const struct kaon_scripted_guest *guest);
struct kaon_mailbox *play_mailbox(const struct kaon_scripted_guest *guest);

/* The exchange, as far as the guest has it. */
struct kaon_wire play_wire(const struct kaon_scripted_guest *guest);

/* Touches what is behind the area, to get more: false if that is all. In *exit
 * is the page fault: return KAON_OK, to be asked for the same turn again. */
bool play_need_area(const struct kaon_scripted_guest *guest,
                    struct kaon_exit *exit, const struct kaon_wire *wire);

/* What the host sent: an argument, or the only value of its answer. */
struct kaon_value play_received(const struct kaon_scripted_guest *guest,
                                uint32_t index);

/*
 * Leaves with a frame of this kind; value may be NULL. A guest whose page is
 * full touches its area first: the same turn is then played again.
 */
enum kaon_status play_leave(struct kaon_scripted_guest *guest,
                            struct kaon_exit *exit, uint32_t kind, int32_t code,
                            const struct kaon_value *value);
enum kaon_status play_return(struct kaon_scripted_guest *guest,
                             struct kaon_exit *exit, struct kaon_value value);
enum kaon_status play_return_void(struct kaon_scripted_guest *guest,
                                  struct kaon_exit *exit);
enum kaon_status play_host_call(struct kaon_scripted_guest *guest,
                                struct kaon_exit *exit, uint32_t function,
                                const struct kaon_value *args, size_t count);

/*
 * Where the guest's memory is, if it may access it so; else NULL, with the
 * page fault in *exit: return KAON_OK, to be asked for the same turn again.
 */
void *play_touch(const struct kaon_scripted_guest *guest,
                 struct kaon_exit *exit, uint64_t address,
                 enum kaon_access access);

#endif

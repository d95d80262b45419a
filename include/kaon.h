/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon.h - run untrusted code in micro virtual machines, call it like a
 * library
 *
 *     struct kaon_image *image;
 *     struct kaon_sandbox *sandbox;
 *     struct kaon_outcome out;
 *     struct kaon_error err;
 *
 *     if (kaon_image_open(&image, "guest.elf", &err) ||
 *         kaon_sandbox_create(&sandbox, image, NULL, &err) ||
 *         kaon_call(sandbox, &out, "add",
 *                   KAON_ARGS(kaon_i32(2), kaon_i32(3)), NULL, &err))
 *         errx(1, "%s", err.text);
 *     if (out.kind == KAON_RETURNED)
 *         printf("%d\n", out.value.i32);
 *     kaon_sandbox_destroy(sandbox);
 *     kaon_image_destroy(image);
 *
 * An image is a parsed guest program. A sandbox is one running instance of
 * it. Its exported functions can be called; it can call the host functions
 * that were given to it, and reach nothing else. A domain is the VM that one
 * or more sandboxes live in.
 *
 * One header per noun, each its own manual:
 *
 *     kaon/error.h     statuses and sentences: how the host fails
 *     kaon/outcome.h   what a guest did with a call
 *     kaon/value.h     arguments and results
 *     kaon/image.h     guest programs
 *     kaon/host.h      what guests may call
 *     kaon/domain.h    the VM, if sandboxes are to share one
 *     kaon/sandbox.h   guests that are ready to be called
 *     kaon/call.h      calling them
 *     kaon/resident.h  calling one often: it waits without leaving
 *     kaon/snapshot.h  a guest's state, kept
 *     kaon/pool.h      a clean sandbox for each use
 *     kaon/region.h    files and buffers that guests can see
 *     kaon/version.h   which Kaon this is
 *     kaon/abi.h       the contract between host and guest
 *     kaon/guest.h     for guests: not included here
 *
 * The library never exits, and prints nothing but by HostPrint's default. It
 * keeps no mutable globals, with three exceptions, all on demand: deadlines
 * share one thread in the process, stopping a guest in a VM needs one signal
 * handler, and with process isolation one process starts those of all guests
 * (and one page tells a child of fork() that it is none of theirs).
 * Each pool, and each resident sandbox in a VM, has a thread of its own.
 */
#ifndef KAON_H
#define KAON_H

#include <kaon/abi.h>
#include <kaon/call.h>
#include <kaon/domain.h>
#include <kaon/error.h>
#include <kaon/host.h>
#include <kaon/image.h>
#include <kaon/outcome.h>
#include <kaon/pool.h>
#include <kaon/region.h>
#include <kaon/resident.h>
#include <kaon/sandbox.h>
#include <kaon/snapshot.h>
#include <kaon/value.h>
#include <kaon/version.h>

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp filter of a sandbox's process.
 *
 * Allowed are three system calls, each from the instructions of the gate that
 * make it, with the arguments that it has there: waking the host, and waiting
 * to be woken (in one place each, on a word each), and writing a constant to
 * the one descriptor that there is (in two: parking, and leaving). Or, where
 * turns are taken by token, two: that writing, in another place, and reading a
 * token from a second descriptor. Any other, by any entry (int 0x80, x32), is
 * not made but becomes a SIGSYS: a fault. Not even returning from a signal is
 * allowed, with which a guest could block signals or move its signal stack.
 */
#ifndef KAON_SRC_BACKEND_PROCESS_FILTER_H
#define KAON_SRC_BACKEND_PROCESS_FILTER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Writes struct sock_fprog and the filter to `to`, which the process will see
 * at guest address `address`. Returns the bytes written; 0 if room is short.
 */
size_t kaon__filter_write(void *to, size_t room, unsigned long address,
                          bool by_token);

#endif

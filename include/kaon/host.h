/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/host.h - host functions: what a guest may ask of the host
 *
 * A guest can call the functions of its sandbox's set and nothing else. A set
 * is built once, then given to any number of sandboxes (kaon_sandbox_opts).
 * Without one, a guest may only print, through HostPrint.
 *
 * The library checks the number and types of the arguments before a host
 * function runs. What they say is still the guest's word: check it as you
 * would a stranger's.
 */
#ifndef KAON_HOST_H
#define KAON_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/value.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kaon_host_functions;
struct kaon_host_call;

/*
 * Runs on the thread that called the guest, while the guest waits. It may
 * call other sandboxes; a call to the same one is KAON_EBUSY.
 *
 * A guest may also post calls (KAON_IMPORT_POSTED in kaon/guest.h). Such a call
 * runs at the guest's next exit, in its order, and before the guest's outcome
 * is there; at most KAON_POSTED_MAX of them run after a guest faulted, or its
 * deadline passed. There is no answer: what the function returns is dropped,
 * and kaon_host_buffer() has no room for it.
 *
 * In:      call    this call; for kaon_host_fail() and kaon_host_buffer().
 *          args    as many, and of those types, as registered; strings and
 *                  bytes borrow from the exchange until the function returns.
 *          user    what was registered.
 * Out:     result  preset to void; set it to a value of the registered type.
 *                  What a string or bytes result points to must live until
 *                  the next call of this function, or be kaon_host_buffer()'s.
 * Returns: 0, or what kaon_host_fail() returned.
 */
typedef int (*kaon_host_function)(struct kaon_host_call *call,
                                  const struct kaon_value *args,
                                  struct kaon_value *result, void *user);

/*
 * What HostPrint does with a guest's text. A NUL follows it and none is in it:
 * that was checked. Returns what the guest gets as its result, by custom the
 * number of bytes printed.
 */
typedef int32_t (*kaon_print_function)(const char *text, size_t size,
                                       void *user);

/**
 * kaon_host_functions_create - an empty set of host functions
 *
 * The set already holds HostPrint (string -> i32), which writes to the
 * standard output; kaon_host_functions_print() directs it elsewhere.
 *
 * Out:     out   the set. Release with kaon_host_functions_destroy().
 * Returns: KAON_OK, KAON_EINVAL, KAON_ENOMEM.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_host_functions_create(struct kaon_host_functions **out,
                           struct kaon_error *err);

/**
 * kaon_host_functions_add - let guests call a function
 *
 * In:      name    1 to KAON_NAME_MAX bytes; copied.
 *          result  KAON_TYPE_*, void included.
 *          params, count  types of the parameters, at most KAON_PARAMS_MAX;
 *                  copied; NULL is good if count is 0.
 *          function, user  what to call. user must outlive the sandboxes
 *                  that use the set.
 * Returns: KAON_OK; KAON_EINVAL: wrong name or types, a name that the set
 *          has, or a set that a sandbox already uses; KAON_ENOMEM.
 * Threads: one at a time for each set.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_host_functions_add(struct kaon_host_functions *set, const char *name,
                        uint32_t result, const uint32_t *params, size_t count,
                        kaon_host_function function, void *user,
                        struct kaon_error *err);

/* Parameter types, written where they are used, as for KAON_ARGS(). */
#define KAON_PARAMS(...)               \
    (const uint32_t[]){ __VA_ARGS__ }, \
        sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t)
#define KAON_NO_PARAMS NULL, 0

/**
 * kaon_host_functions_print - where guests' prints go
 *
 * In:      print   what HostPrint calls, or NULL: prints are dropped, and
 *                  the guest gets the text's size.
 *          user    passed on. Must outlive the sandboxes that use the set.
 * Returns: KAON_OK; KAON_EINVAL (NULL, or a sandbox already uses the set).
 * Threads: one at a time for each set.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_host_functions_print(struct kaon_host_functions *set,
                          kaon_print_function print, void *user,
                          struct kaon_error *err);

/**
 * kaon_host_functions_destroy - give the caller's reference back
 *
 * Sandboxes keep their set alive. NULL is fine.
 *
 * Threads: any.
 */
KAON_API void kaon_host_functions_destroy(struct kaon_host_functions *set);

/**
 * kaon_host_fail - fail a host function
 *
 * The guest gets code and text as an error value and goes on; the sandbox is
 * not poisoned. Use it as: return kaon_host_fail(call, 7, "no such key").
 *
 * In:      code    any number; the guest sees it as it is.
 *          text    copied, cut after KAON_OUTCOME_TEXT - 1 bytes; NULL is "".
 * Returns: non-zero.
 * Threads: the one that runs the host function.
 */
KAON_API KAON_MUST_CHECK int kaon_host_fail(struct kaon_host_call *call,
                                            int32_t code, const char *text);

/**
 * kaon_host_buffer - room in the exchange to build a result in place
 *
 * A string or bytes result that lies in it crosses without a copy. Ask once:
 * a second buffer replaces the first.
 *
 * In:      size    bytes; a string's NUL is the caller's to count and write.
 * Returns: the buffer, until the host function returns; NULL if the exchange
 *          has less room (raise kaon_sandbox_opts.exchange_bytes).
 * Threads: the one that runs the host function.
 */
KAON_API void *kaon_host_buffer(struct kaon_host_call *call, size_t size);

#ifdef __cplusplus
}
#endif

#endif

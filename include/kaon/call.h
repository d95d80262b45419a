/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/call.h - calling guest functions
 *
 *     struct kaon_outcome out;
 *     struct kaon_error err;
 *
 *     if (kaon_call(sb, &out, "add", KAON_ARGS(kaon_i32(2), kaon_i32(3)),
 *                   NULL, &err))
 *         return complain(err.text);       // the host could not
 *     if (out.kind != KAON_RETURNED)
 *         return complain(out.text);       // the guest did not
 *     use(out.value.i32);
 *
 * The name, the number and the types of the arguments are checked against the
 * image's export table before the guest is entered. A wrong one is a status;
 * the sandbox is as it was.
 *
 * Arguments are copied into the exchange, once. A string or bytes result
 * borrows from the exchange until the next call to the sandbox, its restore or
 * its end; nothing changes it meanwhile.
 */
#ifndef KAON_CALL_H
#define KAON_CALL_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/outcome.h>
#include <kaon/sandbox.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Options of one call; make them with KAON_CALL_OPTS(). 0 is the default. */
struct kaon_call_opts {
    size_t size; /* sizeof(struct kaon_call_opts) */

    /* Longest time for this call, host functions included; 0: the sandbox's
     * default. At the deadline the guest is stopped as by
     * kaon_sandbox_interrupt(), and the outcome is KAON_DEADLINE. What it
     * posted before still runs (kaon/host.h). */
    uint64_t deadline_ns;
};
#define KAON_CALL_OPTS(...)                                           \
    (&(struct kaon_call_opts){ .size = sizeof(struct kaon_call_opts), \
                               __VA_ARGS__ })

/* For deadline_ns, here and in kaon_sandbox_opts. */
#define KAON_MS(milliseconds) ((uint64_t)(milliseconds)*1000000)
#define KAON_SECONDS(seconds) ((uint64_t)(seconds)*1000000000)

/**
 * kaon_call - call a guest function by name
 *
 * Out:     out     how the guest answered. Written only if KAON_OK.
 * In:      function  the exported name; with a dynamic image (kaon_image_
 *                  dynamic()), any.
 *          args, count  KAON_ARGS(...) or KAON_NO_ARGS.
 *          opts    KAON_CALL_OPTS(...), or NULL.
 * Returns: KAON_OK: out says what the guest did; KAON_EINVAL; KAON_ENOFUNC
 *          (err has the nearest name); KAON_EARGS (err names function, index,
 *          expected and given type); KAON_ETOOBIG (err names the limit and
 *          the option); KAON_EBUSY (another call runs, or all vCPUs of the
 *          domain are in calls); KAON_EPOISONED; KAON_ENOMEM; KAON_EBACKEND.
 * Threads: any, one at a time for each sandbox.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_call(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
          const char *function, const struct kaon_value *args, size_t count,
          const struct kaon_call_opts *opts, struct kaon_error *err);

/* A guest function, resolved: valid for each sandbox of its image. */
struct kaon_function {
    const struct kaon_image *image; /* borrowed */
    uint32_t index;
};

/**
 * kaon_function_find - resolve an exported function once
 *
 * Out:     out     valid as long as the image.
 * Returns: KAON_OK, KAON_EINVAL, KAON_ENOFUNC.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_function_find(struct kaon_function *out, const struct kaon_image *image,
                   const char *name, struct kaon_error *err);

/**
 * kaon_function_call - call a resolved function
 *
 * As kaon_call(), without the search for the name. KAON_EINVAL if function is
 * of another image.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_function_call(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
                   struct kaon_function function, const struct kaon_value *args,
                   size_t count, const struct kaon_call_opts *opts,
                   struct kaon_error *err);

/* One call of a batch. */
struct kaon_batch_call {
    struct kaon_function function;
    const struct kaon_value *args; /* KAON_ARGS(...) or KAON_NO_ARGS */
    size_t count;
};

/**
 * kaon_call_batch - make several calls in one entry
 *
 * The calls run in their order, each as kaon_function_call() would run it, at
 * the price of one exit. All are checked before the first one runs: if one is
 * refused, none runs. A call that fails (KAON_GUEST_ERROR, KAON_GUEST_REFUSED)
 * does not stop the others. One that poisons the sandbox ends the batch: those
 * before it keep their results, those after it are KAON_NOT_RUN.
 *
 * String and bytes results all borrow until the next call. They and the
 * arguments share the exchange: a result for which there is no room left is
 * KAON_GUEST_REFUSED. A deadline is for the whole batch.
 *
 * A guest that knows no batches (KAON_INFO_BATCH in kaon/abi.h; libkaon-guest
 * does) is entered once for each call, with the same results.
 *
 * Out:     outcomes  of each call, `count` of them. Written only if KAON_OK.
 * In:      calls, count  functions of the sandbox's image with their
 *                  arguments; none at all is fine.
 *          opts    KAON_CALL_OPTS(...), or NULL.
 * Returns: as kaon_function_call(); err says which call is wrong.
 *          KAON_ETOOBIG if the calls do not fit the exchange together.
 * Threads: as for kaon_call().
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_call_batch(struct kaon_sandbox *sandbox, struct kaon_outcome *outcomes,
                const struct kaon_batch_call *calls, size_t count,
                const struct kaon_call_opts *opts, struct kaon_error *err);

/**
 * kaon_sandbox_init - run the guest's initialisation now
 *
 * Otherwise it runs at the start of the first call. Once it has run, this
 * enters the guest and does nothing.
 *
 * Out, Returns, Threads: as for kaon_call().
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_sandbox_init(struct kaon_sandbox *sandbox, struct kaon_outcome *out,
                  const struct kaon_call_opts *opts, struct kaon_error *err);

/**
 * kaon_sandbox_buffer - room in the exchange to build an argument in place
 *
 * A bytes or string argument of the next call that lies in it is not copied.
 * Ask once: a second buffer replaces the first. The guest may have left
 * anything in it.
 *
 * Out:     out     the buffer, until the next call.
 * In:      size    bytes; a string's NUL is the caller's to count and write.
 * Returns: KAON_OK, KAON_EINVAL, KAON_ETOOBIG, KAON_EBUSY, KAON_EPOISONED,
 *          KAON_ENOMEM.
 * Threads: as for kaon_call().
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_sandbox_buffer(struct kaon_sandbox *sandbox, void **out, size_t size,
                    struct kaon_error *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/guest.h - what a guest is written with
 *
 * A guest is a freestanding program without main: a set of functions that a
 * host calls by name, each call on a fresh stack, with the guest's memory kept
 * from one call to the next. It runs in a micro virtual machine that has
 * nothing but memory; what else it may do is what the host's own functions
 * do for it. A whole guest:
 *
 *     #include <kaon/guest.h>
 *
 *     static int32_t add(int32_t a, int32_t b)
 *     {
 *         return a + b;
 *     }
 *     KAON_EXPORT(add, i32, i32, i32);
 *
 * and how it is built:
 *
 *     cc add.c -o add.elf $(pkg-config --cflags --libs kaon-guest)
 *
 * Types are named by one word each, in macros, with the result first:
 *
 *     void    nothing; as a result only
 *     i32     int32_t            u32     uint32_t
 *     i64     int64_t            u64     uint64_t
 *     f32     float              f64     double
 *     bool    bool
 *     string  const char *       NUL-terminated; NULL is sent as ""
 *     bytes   struct kaon_span   any bytes, and how many
 *
 * Arguments are not copied: a string or bytes argument lies in the exchange,
 * memory that guest and host share, and stays there for the whole call. The
 * guest may write to it through a cast, for nobody else reads it. A string or
 * bytes result is copied into the exchange when the function returns, unless
 * it lies there already (an argument, the result of a host function, memory
 * of kaon_reserve()).
 *
 * Before the first call constructors run, then kaon_guest_init() if the guest
 * defines it. There is one thread, and no signal, interrupt or preemption.
 * Floating point, SSE, AVX and what else the CPU has just work. Variables of
 * thread storage duration, C++ exceptions and RTTI are not available.
 *
 * Besides what is declared here, libkaon-guest defines what compilers emit
 * calls to and what little C code expects: memcpy memmove memset memcmp bcmp
 * memchr strlen strnlen strcmp strncmp strchr strrchr strcpy strncpy, malloc
 * calloc realloc free aligned_alloc, abort, __assert_fail, and C++'s new and
 * delete. A guest may define its own.
 *
 * Freestanding C11 or C++11, gcc or clang.
 */
#ifndef KAON_GUEST_H
#define KAON_GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <kaon/abi.h>
#include <kaon/value.h>
#include <kaon/guest_macros.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * KAON_EXPORT(function, result, parameters...) - let the host call a function
 *
 * At file scope, after the function. Writes its name and types into the
 * guest's export table, which the host reads from the ELF. That the function
 * has exactly these types is checked when the guest is compiled. At most
 * KAON_PARAMS_MAX parameters.
 *
 * KAON_EXPORT_AS("name", function, result, parameters...) gives it another
 * name than the one it has in C; at most KAON_NAME_MAX bytes.
 */
#define KAON_EXPORT(function, ...) \
    KAON__EXPORT(#function, function, __VA_ARGS__)
#define KAON_EXPORT_AS(name, function, ...) \
    KAON__EXPORT(name, function, __VA_ARGS__)

/**
 * KAON_IMPORT(function, result, parameters...) - use a function of the host
 *
 * At file scope. Writes the function's name and types into the guest's import
 * table; a host that does not offer it refuses to create the sandbox. Defines
 *
 *     static inline int function(R *result, parameters...)
 *
 * or, for void, the same without `result`. It may be declared in many files.
 *
 * Out:     result  written if KAON_HOST_OK is returned; may be NULL. Strings
 *                  and bytes in it stay valid until the next host call of
 *                  this call (they may be arguments of that one).
 * Returns: KAON_HOST_OK, KAON_HOST_FAILED, KAON_HOST_REFUSED. What went wrong
 *          is in kaon_host_error().
 */
#define KAON_IMPORT(function, ...) \
    KAON__IMPORT(#function, function, __VA_ARGS__)

/**
 * KAON_IMPORT_POSTED(function, result, parameters...) - the same, for later
 *
 * For host functions whose answers the guest does not need, such as logging:
 * a call is queued, and the host runs it at the guest's next exit, together
 * with the others and before all else that happens there. An exit that would
 * have been for each is one for all. Defines
 *
 *     static inline int function(parameters...)
 *
 * Strings and bytes are copied. The order among posted calls, and with host
 * calls that are not posted, is kept. What was posted runs, too, if the guest
 * fails, aborts, faults or is stopped after it. Its result is dropped; that it
 * failed nobody tells the guest. If the queue is full the call is made at once,
 * which may end the life of the last host call's result, as any host call.
 *
 * Returns: KAON_HOST_OK; KAON_HOST_REFUSED if the arguments do not fit the
 *          exchange at all (kaon_host_error() says so).
 */
#define KAON_IMPORT_POSTED(function, ...) \
    KAON__IMPORT_POSTED(#function, function, __VA_ARGS__)

/* What became of a host call. A guest goes on after each of them. */
#define KAON_HOST_OK 0      /* the result is there */
#define KAON_HOST_FAILED 1  /* the host's function failed: its code and text */
#define KAON_HOST_REFUSED 2 /* it was not called: KAON_REFUSED_*, and why */

struct kaon_host_failure {
    int32_t code;
    const char *text; /* valid until the next host call; never NULL */
};

/**
 * kaon_host_error - why the last host call failed
 *
 * Returns: what the last host call that did not return KAON_HOST_OK left;
 *          code 0 and "" before the first of this call.
 */
struct kaon_host_failure kaon_host_error(void);

/**
 * kaon_host_call - call a host function by a name known at run time only
 *
 * Out:     result  as in KAON_IMPORT, of whatever type the function has; void
 *                  if it has none. May be NULL.
 * In:      name    the host function. If there is none of that name, or it
 *                  takes other types, the call is refused.
 *          args, count  its arguments, at most KAON_PARAMS_MAX.
 * Returns: as KAON_IMPORT.
 */
int kaon_host_call(const char *name, struct kaon_value *result,
                   const struct kaon_value *args, size_t count);

/**
 * kaon_fail - the exported function fails, with a code and a text
 *
 * The host gets both as the call's outcome, GUEST_ERROR. Does not return; the
 * stack is left as it is, so nothing that is kept may be half done. The guest
 * can be called again. During initialisation this is kaon_abort().
 *
 * In:      text  at most 64 KiB of it, and what fits the exchange, are sent;
 *                NULL is "".
 */
__attribute__((noreturn)) void kaon_fail(int32_t code, const char *text);

/**
 * kaon_abort - the guest gives up, with a code and a text
 *
 * The host gets both as the outcome ABORT and does not call this guest again
 * before it is restored. Otherwise as kaon_fail().
 */
__attribute__((noreturn)) void kaon_abort(int32_t code, const char *text);

/**
 * kaon_print, kaon_printf, kaon_vprintf - print through the host
 *
 * The text goes to the host function HostPrint(string) -> i32 in one piece.
 * A guest that uses one of these imports HostPrint. Each is a host call.
 *
 * Formats are C's: flags - + space # 0, width, precision and * for either,
 * h hh l ll z t j, and d i u x X o c s p f F e E g G %. Doubles are exact and
 * rounded to even, as in a good C library. There is no %n, %a, long double or
 * locale. An unknown conversion is printed as it stands.
 *
 * Returns: what HostPrint returned; -1 if it failed, or if the text does not
 *          fit the exchange.
 */
int kaon_print(const char *text);
int kaon_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int kaon_vprintf(const char *format, va_list args)
    __attribute__((format(printf, 1, 0)));

/**
 * kaon_log, kaon_logf, kaon_vlogf - print through the host, at the next exit
 *
 * As kaon_print() and its kin, but the text is posted (KAON_IMPORT_POSTED): a
 * guest may print many lines for the price of none, and in its order with
 * kaon_print(). The host has all of it before it has the call's outcome.
 *
 * Returns: 0; -1 if the text does not fit the exchange.
 */
int kaon_log(const char *text);
int kaon_logf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int kaon_vlogf(const char *format, va_list args)
    __attribute__((format(printf, 1, 0)));

/**
 * kaon_snprintf, kaon_vsnprintf - print into memory
 *
 * Formats as kaon_printf(). At most size bytes are written, the last of them
 * a NUL, and none if size is 0.
 *
 * Returns: the length of the whole text, without the NUL, written or not.
 */
int kaon_snprintf(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int kaon_vsnprintf(char *out, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/**
 * kaon_malloc, kaon_calloc, kaon_realloc, kaon_free, kaon_aligned_alloc
 *
 * The heap, whose size the host chooses; malloc and its kin are the same
 * functions. Memory is aligned to 16 bytes, and counts against the host only
 * from its first use. kaon_realloc(p, 0) frees p and returns NULL. Freeing
 * twice, or what is not of the heap, is kaon_abort().
 *
 * Returns: NULL if the heap is exhausted, the size absurd, or the alignment
 *          no power of two.
 */
void *kaon_malloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *kaon_calloc(size_t count, size_t size)
    __attribute__((malloc, alloc_size(1, 2)));
void *kaon_realloc(void *memory, size_t size) __attribute__((alloc_size(2)));
void kaon_free(void *memory);
void *kaon_aligned_alloc(size_t alignment, size_t size)
    __attribute__((malloc, alloc_size(2)));

/**
 * kaon_heap_free - bytes of the heap that are not in use
 *
 * They need not be in one piece.
 */
size_t kaon_heap_free(void);

/**
 * kaon_stack_free - bytes of stack left below the caller
 *
 * Running past them is the outcome STACK_OVERFLOW.
 */
size_t kaon_stack_free(void);

/**
 * kaon_random - random bytes
 *
 * Of ChaCha20, from a seed of the host's: as good as a kernel's. No exit is
 * made. Two sandboxes that go on from one snapshot, and one that was restored,
 * get bytes of their own. (What was drawn before a snapshot was taken is in
 * its memory, and so the same in all of them: see kaon_generation().)
 *
 * Out:     buffer  size bytes.
 */
void kaon_random(void *buffer, size_t size);

/**
 * kaon_generation - how often this guest's state was put back
 *
 * Another number after each restore, and in each sandbox made from a
 * snapshot, than the guest saw before; the same as long as it just goes on. A
 * guest with secrets that must not exist twice (keys, nonces, a random
 * generator of its own) keeps the number beside them, and makes them anew when
 * it differs. Two sandboxes may have the same.
 */
uint64_t kaon_generation(void);

/**
 * kaon_reserve - memory in the exchange, for the rest of this call
 *
 * A large result, or argument of a host function, that is built here is not
 * copied any more. A string needs its NUL inside of the reserved memory.
 *
 * Returns: size bytes aligned to 16 with any content, or NULL if the exchange
 *          has no room for them beside the call's arguments.
 */
void *kaon_reserve(size_t size);

/*
 * Functions that are made as the guest runs: an interpreter's. The host does
 * not know them from the ELF, so it calls them by name with whatever types
 * its caller gave.
 */

/* The types of a function: KAON_SIGNATURE(result, parameters...). */
struct kaon_guest_signature {
    uint32_t result;
    uint32_t count;
    uint8_t params[KAON_PARAMS_MAX];
};
#define KAON_SIGNATURE(...)                   \
    ((struct kaon_guest_signature){           \
        KAON__FIRST(KAON__TYPE, __VA_ARGS__), \
        KAON__COUNT(__VA_ARGS__),             \
        { KAON__EACH(0, KAON__PARAM, KAON__PARAM_NEXT, __VA_ARGS__) } })

/*
 * A function called with values. *result comes as void; what is left there
 * must have the type that the function was registered with. It may borrow
 * memory that lives until the function returns for good, such as static
 * memory, the heap, or the exchange.
 */
typedef void (*kaon_dynamic_function)(const struct kaon_value *args,
                                      uint32_t count, struct kaon_value *result,
                                      void *user);

/**
 * kaon_register - let the host call a function by name, from now on
 *
 * It goes before an exported function of that name, and replaces what was
 * registered under it. Count and types of arguments are checked before the
 * function is called. To call this at all marks the guest as dynamic: the
 * host then enters it with names that are not in the export table.
 *
 * In:      name       copied; 1 to KAON_NAME_MAX bytes.
 *          function   NULL takes the name back.
 *          user       handed to the function.
 * Returns: 0, or -1 if the heap is exhausted, or name or signature is bad.
 */
int kaon_register(const char *name, kaon_dynamic_function function, void *user,
                  struct kaon_guest_signature signature);

/*
 * A function that gets each call of a name that is neither registered nor
 * exported. Returns false if it does not know the name either.
 */
typedef bool (*kaon_fallback_function)(const char *name,
                                       const struct kaon_value *args,
                                       uint32_t count,
                                       struct kaon_value *result);

/**
 * KAON_FALLBACK(function) - install a fallback dispatcher
 *
 * At file scope, once in a guest. Marks the guest as dynamic.
 */
#define KAON_FALLBACK(function)                              \
    const struct kaon__fallback kaon__fallback = { function, \
                                                   &kaon__dynamic_anchor }

/* Called once before the first call, after constructors, if defined. */
void kaon_guest_init(void);

#ifdef __cplusplus
}
#endif

#endif

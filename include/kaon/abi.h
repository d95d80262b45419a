/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/abi.h - the contract between host and guest
 *
 * Everything that both sides must agree on, and nothing else: the layout of
 * the exchange, of the frames that cross it, and of the tables that a guest
 * ELF carries. Host and guest are compiled apart, perhaps years apart, so
 * each integer here has a fixed width, each padding is spelled out, and the
 * sizes are asserted. No pointer, size_t, bool, enum or bit-field crosses.
 *
 * A call, in short. The host writes a CALL frame into the exchange and enters
 * the guest at kaon_guest_info.entry. The guest answers with a RESULT, ERROR,
 * REFUSED or ABORT frame in the same place and leaves through the gate. Before
 * that it may leave with HOST_CALL frames; the host answers each in place and
 * lets it go on. Only one side runs at a time. A BATCH is many calls in one
 * entry, and posted calls are many host calls in one exit.
 *
 * The host trusts none of this: it copies each header and slot once, checks
 * the copy, and uses only the copy. What breaks these rules is a protocol
 * violation, an outcome of the call.
 */
#ifndef KAON_ABI_H
#define KAON_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define KAON_STATIC_ASSERT static_assert
#else
#define KAON_STATIC_ASSERT _Static_assert
#endif

/* A host runs a guest only if both were built for the same version. */
#define KAON_ABI_VERSION 1u

/*
 * The types of arguments and results. Each value is bit for bit what the
 * sender gave. A string has no NUL inside; bytes may hold anything.
 */
#define KAON_TYPE_VOID 0u /* as a result only */
#define KAON_TYPE_I32 1u
#define KAON_TYPE_U32 2u
#define KAON_TYPE_I64 3u
#define KAON_TYPE_U64 4u
#define KAON_TYPE_F32 5u
#define KAON_TYPE_F64 6u
#define KAON_TYPE_BOOL 7u
#define KAON_TYPE_STRING 8u
#define KAON_TYPE_BYTES 9u
#define KAON_TYPE_COUNT 10u

#define KAON_PARAMS_MAX 16u /* parameters of one function */
#define KAON_NAME_MAX 127u  /* bytes of a function's name, without the NUL */

/*
 * The gate: one page that the host puts into every guest at this address,
 * readable and executable, never writable. It alone knows how to leave, so
 * that one guest runs on every backend. It and what else the host keeps there
 * (up to KAON_IMAGE_LOW, kaon/image.h) lie below where programs are linked. A
 * guest leaves by calling KAON_GATE_LEAVE as a function of one argument, the
 * mailbox's address; it returns, with all callee-saved registers kept, when the
 * host has answered a HOST_CALL, and never after any other frame.
 */
#define KAON_GATE_ADDRESS UINT64_C(0x200000)
#define KAON_GATE_LEAVE (KAON_GATE_ADDRESS + 0x80)

/*
 * The exchange: the mailbox page, and the argument area that follows it in
 * guest addresses. Places in it are 32-bit offsets from the mailbox's start.
 * What one offset speaks of (the slots of a frame, one string) lies wholly in
 * the mailbox page or wholly in the area, never across their border.
 */
#define KAON_MAILBOX_SIZE 4096u
#define KAON_MAILBOX_FREE 160u         /* where payload may begin in it */
#define KAON_MAILBOX_MAGIC 0x4e4f414bu /* "KAON" */

/* What a frame is. Who sends it, and what its fields hold. */
#define KAON_FRAME_CALL 1u         /* host: call export `function` */
#define KAON_FRAME_RESULT 2u       /* guest: zero slots for void, or one */
#define KAON_FRAME_ERROR 3u        /* guest: the function failed: code, text */
#define KAON_FRAME_ABORT 4u        /* guest: gave up: code, text */
#define KAON_FRAME_HOST_CALL 5u    /* guest: call import `function` */
#define KAON_FRAME_HOST_RESULT 6u  /* host: zero slots for void, or one */
#define KAON_FRAME_HOST_ERROR 7u   /* host: the function failed: code, text */
#define KAON_FRAME_HOST_REFUSED 8u /* host: did not: KAON_REFUSED_*, text */
#define KAON_FRAME_REFUSED 9u      /* guest: did not: KAON_REFUSED_*, text */
#define KAON_FRAME_BATCH 10u       /* host: make these calls; see below */

/*
 * In place of an index into the export or import table: the first slot is a
 * string with the function's name, the arguments follow it.
 */
#define KAON_FUNCTION_BY_NAME 0xffffffffu

/*
 * Only initialise: run constructors and kaon_guest_init(), call nothing, answer
 * with an empty RESULT. Any other first frame initialises the guest as well.
 */
#define KAON_FUNCTION_INIT 0xfffffffeu

/* Why a function was not called (the code of a REFUSED frame). */
#define KAON_REFUSED_UNKNOWN 1   /* no function of that name or index */
#define KAON_REFUSED_ARGUMENTS 2 /* wrong count or types of arguments */
#define KAON_REFUSED_TOO_LARGE 3 /* the answer does not fit the exchange */

/* One frame: the header of what crosses. Lives at kaon_mailbox.frame, or in an
 * array of frames in the exchange: a batch, or posted calls. */
struct kaon_frame {
    uint32_t kind;      /* KAON_FRAME_* */
    uint32_t function;  /* table index or KAON_FUNCTION_*, in calls; else 0 */
    uint32_t count;     /* slots; at most KAON_PARAMS_MAX + 1. BATCH: frames */
    int32_t code;       /* of ERROR, ABORT, REFUSED kinds; else 0 */
    uint32_t slots;     /* offset of the slots, a multiple of 8; 0 if none.
                           BATCH: of the frames, a multiple of 16 */
    uint32_t free_page; /* the answer may use the mailbox page from here ... */
    uint32_t free_area; /* ... and the area from here; multiples of 16 */
};
KAON_STATIC_ASSERT(sizeof(struct kaon_frame) == 28, "wire layout is fixed");

/*
 * One value on the wire. Numbers lie in `bits`, zero-extended; a bool is 0 or
 * 1; `size` is then 0. For string and bytes `bits` is an offset and `size`
 * the length; after a string's last byte stands a NUL that `size` does not
 * count. A void result has no slot. ERROR, ABORT and REFUSED kinds carry one
 * slot, a string, or none.
 */
struct kaon_slot {
    uint32_t type; /* KAON_TYPE_* */
    uint32_t size;
    uint64_t bits;
};
KAON_STATIC_ASSERT(sizeof(struct kaon_slot) == 16, "wire layout is fixed");

/*
 * A batch: `count` CALL frames, one after the other in the exchange, with
 * slots and data behind them. The guest makes the calls in their order, each
 * on a fresh stack. As soon as one is over, the guest puts its RESULT, ERROR or
 * REFUSED in place of its CALL, `kind` last, and after the last it leaves with
 * an empty RESULT. All that these frames refer to stays until then; free_page
 * and free_area of the frames in the array mean nothing, those of the BATCH say
 * what is free for all of it. HOST_CALL and ABORT are of the first call whose
 * frame is still a CALL. Only a guest with KAON_INFO_BATCH is sent one.
 */

/*
 * Posted calls: host calls whose answers the guest does not need. It makes an
 * array of HOST_CALL frames anywhere in the exchange, says here where, and
 * goes on. At the guest's next exit through the gate, or when its call ends in
 * any other way, the host runs them in their order, before all else; it sets
 * `count` to 0 and answers none of them. So that each counts from when it is
 * complete, `count` is written last.
 */
#define KAON_POSTED_MAX 256u
struct kaon_posted {
    uint32_t frames; /* offset of the array, a multiple of 16 */
    uint32_t count;  /* at most KAON_POSTED_MAX; 0 if there are none */
};
KAON_STATIC_ASSERT(sizeof(struct kaon_posted) == 8, "wire layout is fixed");

/*
 * The mailbox page. The host fills it before the first entry and gives its
 * address in the first argument register (rdi on x86-64) at each entry. But
 * for the frame, posted calls and the payload, the host never reads what it
 * wrote here.
 */
struct kaon_mailbox {
    uint32_t magic;         /* KAON_MAILBOX_MAGIC */
    uint32_t abi_version;   /* the host's KAON_ABI_VERSION */
    uint32_t exchange_size; /* mailbox page and area, in bytes */
    uint32_t reserved0;     /* zero */
    uint64_t heap;          /* guest address of the heap: readable, writable */
    uint64_t heap_size;     /* bytes; all zero when the guest starts */
    uint64_t stack_low;     /* the stack's lowest usable byte */
    uint64_t stack_high; /* first byte above it; the stack pointer at entry */
    uint64_t generation; /* another after each restore of the guest's state */
    uint64_t seed[4]; /* random, and new with each generation: for generators */
    struct kaon_posted posted;
    uint64_t reserved1; /* zero */
    uint8_t gate[24];   /* the gate's own: guests leave it alone */

    /* What a small call needs, two slots included, is one cache line: each that
     * moves between two CPUs takes as long as a hundred instructions. No call
     * writes to the lines before, but for one that posts. */
    struct kaon_frame frame;
    uint32_t turn; /* the gate's, too */
    uint8_t payload[KAON_MAILBOX_SIZE - KAON_MAILBOX_FREE];
};
KAON_STATIC_ASSERT(offsetof(struct kaon_mailbox, posted) == 88,
                   "wire layout is fixed");
KAON_STATIC_ASSERT(offsetof(struct kaon_mailbox, frame) == 128,
                   "wire layout is fixed");
KAON_STATIC_ASSERT(offsetof(struct kaon_mailbox, turn) == 156,
                   "wire layout is fixed");
KAON_STATIC_ASSERT(offsetof(struct kaon_mailbox, payload) == KAON_MAILBOX_FREE,
                   "wire layout is fixed");
KAON_STATIC_ASSERT(sizeof(struct kaon_mailbox) == KAON_MAILBOX_SIZE,
                   "wire layout is fixed");

/*
 * What a guest ELF says of itself, in three sections that the host reads
 * without running the guest. Their names are C identifiers, so that any
 * linker script keeps them and names their ends (__start_, __stop_).
 *
 *   kaon_info     one struct kaon_guest_info; without it, no Kaon guest
 *   kaon_exports  an array of struct kaon_guest_function
 *   kaon_imports  an array of struct kaon_guest_function
 *
 * The array index of a function is what `function` in a frame means.
 */
#define KAON_INFO_MAGIC UINT64_C(0x54534555474e414b) /* "KANGUEST" */
#define KAON_INFO_SECTION "kaon_info"
#define KAON_EXPORTS_SECTION "kaon_exports"
#define KAON_IMPORTS_SECTION "kaon_imports"

/*
 * The guest answers names that are not in its export table: it registers
 * functions as it runs, or has a fallback dispatcher. Without this flag the
 * host refuses such a name before entering.
 */
#define KAON_INFO_DYNAMIC 1u

/* The guest takes BATCH frames. One without this flag is called once for each
 * call of a batch. */
#define KAON_INFO_BATCH 2u

struct kaon_guest_info {
    uint64_t magic;       /* KAON_INFO_MAGIC */
    uint32_t abi_version; /* KAON_ABI_VERSION that the guest was built for */
    uint32_t flags;       /* KAON_INFO_*; others zero */
    uint64_t entry;       /* guest address at which each call enters */
    uint64_t reserved[5]; /* zero */
};
KAON_STATIC_ASSERT(sizeof(struct kaon_guest_info) == 64, "ELF layout is fixed");

/* One exported or imported function. `code` is zero in imports. */
struct kaon_guest_function {
    uint64_t name;   /* guest address of a NUL-terminated name */
    uint64_t code;   /* guest address of what the dispatcher calls */
    uint32_t count;  /* parameters; at most KAON_PARAMS_MAX */
    uint32_t result; /* KAON_TYPE_* */
    uint8_t params[KAON_PARAMS_MAX]; /* KAON_TYPE_*; unused ones zero */
    uint8_t reserved[24];            /* zero */
};
KAON_STATIC_ASSERT(sizeof(struct kaon_guest_function) == 64,
                   "ELF layout is fixed");

#endif

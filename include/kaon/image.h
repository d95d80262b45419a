/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/image.h - a guest program, parsed
 *
 * An image is a guest ELF, checked and laid out in memory, ready to become
 * sandboxes. It is immutable and reference-counted: create it once, make any
 * number of sandboxes of it, in any domain, from any thread. Their text,
 * read-only data and initial data are the image's one physical copy.
 *
 * Everything below is read from the ELF without running any of it. The ELF is
 * not trusted: what is damaged or hostile is refused with the reason.
 *
 * What is accepted: ELF64, little-endian, x86-64, ET_EXEC, statically linked,
 * with the section kaon_info (kaon/abi.h); loadable segments page-separated,
 * within KAON_IMAGE_LOW and KAON_IMAGE_HIGH, none both writable and
 * executable, KAON_IMAGE_SIZE_MAX in all.
 */
#ifndef KAON_IMAGE_H
#define KAON_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/value.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kaon_image;

/* Guest addresses that an image may use: from behind the gate and what the
 * host keeps with it (GNU ld links at 0x400000), up to 64 TiB, half of what a
 * program may use. */
#define KAON_IMAGE_LOW UINT64_C(0x310000)
#define KAON_IMAGE_HIGH UINT64_C(0x400000000000)

/* From the first to the last address of an image's segments: 1 GiB. */
#define KAON_IMAGE_SIZE_MAX (UINT64_C(1) << 30)

/* A function that the guest exports or imports. */
struct kaon_signature {
    const char *name; /* borrowed from the image */
    uint32_t result;  /* KAON_TYPE_* */
    uint32_t count;   /* parameters */
    uint8_t params[KAON_PARAMS_MAX];
};

/* A loadable segment. */
struct kaon_segment {
    uint64_t address; /* where the guest sees it */
    uint64_t size;    /* bytes in memory, zero-filled past the file's */
    uint8_t readable, writable, executable;
};

/**
 * kaon_image_open - parse a guest image from a file
 *
 * The file is read once; later changes to it do not matter. The image keeps
 * its bytes, for snapshots that are saved.
 *
 * Out:     out   the image. Release with kaon_image_destroy().
 * In:      path  a regular file.
 * Returns: KAON_OK, KAON_EINVAL, KAON_EIO (cannot be read, or no regular
 *          file), KAON_EIMAGE (the reason is in err), KAON_EABI (both
 *          versions are in err), KAON_ENOMEM.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_image_open(struct kaon_image **out, const char *path,
                struct kaon_error *err);

/**
 * kaon_image_parse - parse a guest image from memory
 *
 * Copies what it needs; `bytes` may go when this returns.
 *
 * Out:     out   the image. Release with kaon_image_destroy().
 * In:      bytes, size  a whole ELF file.
 * Returns: as kaon_image_open(), without KAON_EIO.
 * Threads: any.
 */
KAON_API KAON_MUST_CHECK enum kaon_status
kaon_image_parse(struct kaon_image **out, const void *bytes, size_t size,
                 struct kaon_error *err);

/**
 * kaon_image_destroy - give the caller's reference back
 *
 * Sandboxes keep their image alive, so this may be called as soon as the last
 * of them is created. NULL is fine.
 *
 * Threads: any.
 */
KAON_API void kaon_image_destroy(struct kaon_image *image);

/**
 * kaon_image_export, kaon_image_import - the image's functions, by index
 *
 * Out:     out   borrowed until the image is gone.
 * Returns: 1, or 0 (and *out untouched) if index is past the last one.
 * Threads: any.
 */
KAON_API int kaon_image_export(const struct kaon_image *image, size_t index,
                               struct kaon_signature *out);
KAON_API int kaon_image_import(const struct kaon_image *image, size_t index,
                               struct kaon_signature *out);

/**
 * kaon_type_name - a type in words, such as "i32"
 *
 * Returns: a static string; "?" for what is no KAON_TYPE_*.
 * Threads: any.
 */
KAON_API const char *kaon_type_name(uint32_t type);

/**
 * kaon_signature_format - a signature in words: "add(i32, i32) -> i32"
 *
 * Out:     buffer  NUL-terminated if size is not 0; cut if too small.
 * Returns: the length of the whole text, as snprintf() does; 0 for NULL.
 * Threads: any.
 */
KAON_API size_t kaon_signature_format(const struct kaon_signature *signature,
                                      char *buffer, size_t size);

/**
 * kaon_image_segment - the image's loadable segments, by index
 *
 * Returns: 1, or 0 (and *out untouched) if index is past the last one.
 * Threads: any.
 */
KAON_API int kaon_image_segment(const struct kaon_image *image, size_t index,
                                struct kaon_segment *out);

/**
 * kaon_image_dynamic - does the guest answer names that it does not export?
 *
 * It does if it registers functions as it runs, or has a fallback dispatcher.
 * Calls by an unknown name then enter the guest instead of being refused.
 *
 * Returns: 1 or 0.
 * Threads: any.
 */
KAON_API int kaon_image_dynamic(const struct kaon_image *image);

/**
 * kaon_image_entry - the guest address at which calls enter
 *
 * Threads: any.
 */
KAON_API uint64_t kaon_image_entry(const struct kaon_image *image);

/**
 * kaon_image_symbol - the function or object that holds a guest address
 *
 * From the ELF's symbol table, which is read when somebody first asks; a
 * stripped image has none.
 *
 * Out:     offset  the address's distance from the symbol; may be NULL.
 * Returns: the symbol's name, borrowed until the image is gone, or NULL: none
 *          holds it, or memory ran out.
 * Threads: any.
 */
KAON_API const char *kaon_image_symbol(const struct kaon_image *image,
                                       uint64_t address, uint64_t *offset);

/**
 * kaon_image_name - what messages call the image
 *
 * The last component of the path it was opened from, or "guest".
 *
 * Returns: borrowed until the image is gone.
 * Threads: any.
 */
KAON_API const char *kaon_image_name(const struct kaon_image *image);

#ifdef __cplusplus
}
#endif

#endif

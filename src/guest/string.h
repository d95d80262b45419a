/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory and string functions. All are weak, so that a guest may
 * bring its own; a test on the host gives them other names.
 */
#ifndef KAON_SRC_GUEST_STRING_H
#define KAON_SRC_GUEST_STRING_H

#include <stddef.h>
#include <stdint.h>

#ifdef KAON__HOSTED_TEST
#define memcpy guest_memcpy
#define memmove guest_memmove
#define memset guest_memset
#define memcmp guest_memcmp
#define bcmp guest_bcmp
#define memchr guest_memchr
#define strlen guest_strlen
#define strnlen guest_strnlen
#define strcmp guest_strcmp
#define strncmp guest_strncmp
#define strchr guest_strchr
#define strrchr guest_strrchr
#define strcpy guest_strcpy
#define strncpy guest_strncpy
#define KAON__READS_WORDS __attribute__((no_sanitize("address")))
#else
#define KAON__READS_WORDS
#endif

#define KAON__WEAK __attribute__((weak))
KAON__WEAK void *memcpy(void *restrict to, const void *restrict from,
                        size_t size);
KAON__WEAK void *memmove(void *to, const void *from, size_t size);
KAON__WEAK void *memset(void *to, int byte, size_t size);
KAON__WEAK int memcmp(const void *a, const void *b, size_t size);
KAON__WEAK int bcmp(const void *a, const void *b, size_t size);
KAON__WEAK void *memchr(const void *memory, int byte, size_t size);
KAON__WEAK size_t strlen(const char *text);
KAON__WEAK size_t strnlen(const char *text, size_t size);
KAON__WEAK int strcmp(const char *a, const char *b);
KAON__WEAK int strncmp(const char *a, const char *b, size_t size);
KAON__WEAK char *strchr(const char *text, int byte);
KAON__WEAK char *strrchr(const char *text, int byte);
KAON__WEAK char *strcpy(char *restrict to, const char *restrict from);
KAON__WEAK char *strncpy(char *restrict to, const char *restrict from,
                         size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Is this build instrumented? gcc and clang say so in different ways. */
#ifndef KAON_TESTS_SANITIZERS_H
#define KAON_TESTS_SANITIZERS_H

#ifdef __has_feature
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#if defined __SANITIZE_THREAD__ || HAS_FEATURE(thread_sanitizer)
#define THREAD_SANITIZED 1
#else
#define THREAD_SANITIZED 0
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kaon/version.h - which Kaon this is
 *
 * Until 1.0 a minor version may change the API; CHANGES.md labels each
 * release. The host/guest contract has its own number, KAON_ABI_VERSION.
 */
#ifndef KAON_VERSION_H
#define KAON_VERSION_H

#define KAON_VERSION_MAJOR 0
#define KAON_VERSION_MINOR 1
#define KAON_VERSION_PATCH 0
#define KAON_VERSION "0.1.0"

/* What libkaon exports, and what callers must not ignore. */
#define KAON_API __attribute__((visibility("default")))
#define KAON_MUST_CHECK __attribute__((warn_unused_result))

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kaon_version - the version of the library that runs
 *
 * Returns: a static string like KAON_VERSION, which is the version of the
 *          headers that the program was compiled with.
 * Threads: any.
 */
KAON_API const char *kaon_version(void);

#ifdef __cplusplus
}
#endif

#endif

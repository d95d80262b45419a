/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest did with a call, told to a person or a program.
 */
#ifndef KAON_SRC_CLI_OUTCOME_H
#define KAON_SRC_CLI_OUTCOME_H

#include <stdbool.h>
#include <kaon/error.h>
#include <kaon/image.h>
#include <kaon/outcome.h>

/* What kaon exits with. */
int outcome_exit(const struct kaon_outcome *outcome);

/*
 * Everything but a result: a sentence of kaon NAME on the standard error and,
 * for a fault that the user wants to know all of, the registers and the
 * backtrace.
 */
void outcome_say(const char *name, const struct kaon_outcome *outcome,
                 const char *function, const struct kaon_image *image,
                 bool verbose);

/* One JSON object on the standard output, for each outcome and failure. */
void outcome_json(const struct kaon_outcome *outcome,
                  const struct kaon_image *image, const char *backend);
void failure_json(const struct kaon_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Process isolation: the backend for machines without a hypervisor. */
#ifndef KAON_SRC_BACKEND_PROCESS_PROCESS_H
#define KAON_SRC_BACKEND_PROCESS_PROCESS_H

#include "backend/backend.h"

extern const struct kaon_backend kaon__backend_process;

#endif

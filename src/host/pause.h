/* SPDX-License-Identifier: Apache-2.0 */
/* What a CPU is told in a loop that waits for another. */
#ifndef KAON_SRC_HOST_PAUSE_H
#define KAON_SRC_HOST_PAUSE_H

static inline void kaon__pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants of kaon/abi.h in a form that an assembler reads. dispatch.c
 * asserts that they are the same.
 */
#ifndef KAON_SRC_GUEST_ENTRY_X86_64_H
#define KAON_SRC_GUEST_ENTRY_X86_64_H

#define KAON__ENTRY_INFO_MAGIC 0x54534555474e414b
#define KAON__ENTRY_ABI_VERSION 1
#define KAON__ENTRY_INFO_BATCH 2

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64 page tables for the spaces of a KVM machine.
 *
 * A space is a four-level table, its root the physical address of the top.
 * Tables lie in the arena, where the guest cannot see them. A space owns the
 * tables that differ from its parent's and shares the rest: an entry that
 * leads to an owned table has ENTRY_OWNED set, in a bit that the CPU ignores.
 *
 * What KVM needs of us. Where it shadows page tables (PVM, or hardware
 * without nested paging) it caches what it read from a table page for as long
 * as it likes, under the page's physical address; a host's later edit of a
 * present entry goes unnoticed. So tables only change in ways that a guest's
 * own fault makes KVM read again (absent to present, read-only to a writable
 * copy), and a table's page becomes nothing else before machine_reclaim().
 * Entries are cleared only for memory that is then detached: deleting its
 * memslot makes KVM forget what it read from any table.
 */
#ifndef KAON_SRC_BACKEND_PAGING_X86_64_H
#define KAON_SRC_BACKEND_PAGING_X86_64_H

#include <stdbool.h>
#include <stdint.h>

struct kaon_arena;

/* A new root that shares all of parent's tables; 0 if the arena is full. */
uint64_t kaon__paging_create(struct kaon_arena *arena, uint64_t parent);

/*
 * Maps `pages` pages; supervisor pages are the host's own, out of the guest's
 * reach. Returns false if the arena is full: what was mapped so far stays.
 */
bool kaon__paging_map(struct kaon_arena *arena, uint64_t root, uint64_t address,
                      uint64_t physical, uint64_t pages, unsigned protection,
                      bool supervisor);

/* Clears the entries of `pages` pages, as far as the space owns their tables,
 * which it keeps. */
void kaon__paging_unmap(struct kaon_arena *arena, uint64_t root,
                        uint64_t address, uint64_t pages);

/* What an address shows the guest; false if nothing. */
bool kaon__paging_look(const struct kaon_arena *arena, uint64_t root,
                       uint64_t address, uint64_t *physical,
                       unsigned *protection);

/* Gives the owned tables back to the arena, the root among them. */
void kaon__paging_destroy(struct kaon_arena *arena, uint64_t root);

#endif

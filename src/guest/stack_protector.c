/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For objects compiled with -fstack-protector and
 * -mstack-protector-guard=global; without the latter the guard would lie in
 * thread-local storage, which a guest does not have. The guard is no secret:
 * it finds accidents, and the host does not rely on it.
 */
#include <kaon/guest.h>

extern uintptr_t __stack_chk_guard;
__attribute__((noreturn)) void __stack_chk_fail(void);

__attribute__((weak)) uintptr_t __stack_chk_guard = 0x00000aff0d2aff00;

__attribute__((weak)) void __stack_chk_fail(void)
{
    kaon_abort(0, "a function wrote past its local variables");
}

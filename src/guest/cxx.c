/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a C++ compiler calls, under its mangled names: new and delete, and the
 * hooks of static objects. A guest never ends, so their destructors never run.
 */
#include <kaon/guest.h>

extern void *const __dso_handle;
int __cxa_atexit(void (*destructor)(void *), void *object, void *dso);
__attribute__((noreturn)) void __cxa_pure_virtual(void);

void *operator_new(size_t size) __asm__("_Znwm");
void *operator_new_array(size_t size) __asm__("_Znam");
void operator_delete(void *memory) __asm__("_ZdlPv");
void operator_delete_array(void *memory) __asm__("_ZdaPv");
void operator_delete_sized(void *memory, size_t size) __asm__("_ZdlPvm");
void operator_delete_array_sized(void *memory, size_t size) __asm__("_ZdaPvm");

__attribute__((weak)) void *const __dso_handle = NULL;

__attribute__((weak)) int __cxa_atexit(void (*destructor)(void *), void *object,
                                       void *dso)
{
    (void)destructor;
    (void)object;
    (void)dso;
    return 0;
}

__attribute__((weak)) void __cxa_pure_virtual(void)
{
    kaon_abort(0, "a pure virtual function was called");
}

/* Without exceptions, new has no other way to say that it cannot. */
__attribute__((weak)) void *operator_new(size_t size)
{
    void *memory = kaon_malloc(size);

    if (!memory)
        kaon_abort(0, "operator new: the heap is exhausted");
    return memory;
}

__attribute__((weak)) void *operator_new_array(size_t size)
{
    return operator_new(size);
}

__attribute__((weak)) void operator_delete(void *memory)
{
    kaon_free(memory);
}

__attribute__((weak)) void operator_delete_array(void *memory)
{
    kaon_free(memory);
}

__attribute__((weak)) void operator_delete_sized(void *memory, size_t size)
{
    (void)size;
    kaon_free(memory);
}

__attribute__((weak)) void operator_delete_array_sized(void *memory,
                                                       size_t size)
{
    (void)size;
    kaon_free(memory);
}

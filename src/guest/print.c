/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing through the host. In an object of its own, so that only a guest
 * that prints imports HostPrint.
 */
#include <kaon/guest.h>

KAON_IMPORT(HostPrint, i32, string);

int kaon_print(const char *text)
{
    int32_t printed;

    return HostPrint(&printed, text) ? -1 : printed;
}

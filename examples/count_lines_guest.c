/* SPDX-License-Identifier: Apache-2.0 */
/* Reads text that the host has mapped, and writes it too, if it is told to. */
#include <kaon/guest.h>

static uint64_t count_lines(uint64_t address, uint64_t size)
{
    const char *text = (const char *)(uintptr_t)address;
    uint64_t lines = 0;

    for (uint64_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return lines;
}
KAON_EXPORT(count_lines, u64, u64, u64);

/* Makes small letters capital ones, and returns how many there were. */
static uint64_t shout(uint64_t address, uint64_t size)
{
    char *text = (char *)(uintptr_t)address;
    uint64_t changed = 0;

    for (uint64_t i = 0; i < size; i++) {
        if (text[i] < 'a' || text[i] > 'z')
            continue;
        text[i] = (char)(text[i] - 'a' + 'A');
        changed++;
    }
    return changed;
}
KAON_EXPORT(shout, u64, u64, u64);

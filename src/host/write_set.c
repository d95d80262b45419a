/* SPDX-License-Identifier: Apache-2.0 */
/* Learns and forgets pages. Pure. */
#include "host/write_set.h"

#include <stddef.h>

/* Of a large set more are left out with each new sandbox, so that one of pages
 * that nobody writes is gone soon. */
#define AT_ONCE(count) (1 + (count) / 32)

static struct kaon_written_page *find(struct kaon_write_set *set,
                                      uint64_t address)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->pages[i].address == address)
            return &set->pages[i];
    return NULL;
}

static struct kaon_written_page *find_room(struct kaon_write_set *set)
{
    if (set->count < KAON_WRITE_SET_MAX)
        return &set->pages[set->count++];
    for (uint32_t i = 0; i < set->count; i++)
        if (!set->pages[i].given)
            return &set->pages[i];
    return NULL;
}

/* How long to give a page that was left out. */
static uint64_t next_term(const struct kaon_write_set *set,
                          const struct kaon_written_page *page)
{
    bool soon = set->made - page->until <= KAON_WRITE_SET_TERM;

    return soon ? 2 * page->term : KAON_WRITE_SET_TERM;
}

void kaon__write_set_learn(struct kaon_write_set *set, uint64_t address)
{
    struct kaon_written_page *page = find(set, address);
    uint64_t term = KAON_WRITE_SET_TERM;

    if (page && page->given)
        return;
    if (page)
        term = next_term(set, page);
    else
        page = find_room(set);
    if (page)
        *page = (struct kaon_written_page){
            .address = address,
            .until = set->made + term,
            .term = term,
            .given = true,
        };
}

uint32_t kaon__write_set_list(const struct kaon_write_set *set, uint64_t *out)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < set->count; i++)
        if (set->pages[i].given)
            out[count++] = set->pages[i].address;
    return count;
}

static void leave_out(struct kaon_write_set *set)
{
    uint32_t left = AT_ONCE(set->count);

    for (uint32_t i = 0; i < set->count && left > 0; i++) {
        struct kaon_written_page *page = &set->pages[i];

        if (page->given && page->until <= set->made) {
            page->given = false;
            page->until = set->made;
            left--;
        }
    }
}

uint32_t kaon__write_set_give(struct kaon_write_set *set, uint64_t *out)
{
    leave_out(set);
    set->made++;
    return kaon__write_set_list(set, out);
}

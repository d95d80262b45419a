/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a machine's memory were ever touched: what a restore has to
 * put back, and nothing else.
 *
 * The kernel knows (SEEK_DATA), but takes a system call for each piece. So a
 * space keeps the list that it was told last, with the number of pages in it,
 * and asks for the number of all pages that the file has (st_blocks; or, which
 * takes less, for its size in memory). If they are equal, and no page was taken
 * from the file since, the list is complete.
 *
 * Why that is certain, though a guest may touch what it likes: the host wrote
 * to each page of the list. The kernel drops pages of a file in memory behind
 * everybody's back only while nobody wrote to them; others it can but swap out,
 * which SEEK_DATA and st_blocks do not tell from having them. So all pages of
 * the list are counted still, unless a hole was punched, as nobody but the host
 * can (`holes` changes before and after it). Then there is no other page if the
 * count is no larger. One that was dropped meanwhile, or will be, was never
 * written to.
 *
 * Holds as long as no guest of the space runs: what comes later is not on it.
 */
#include "backend/process/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCKS_PER_PAGE (KAON_PAGE_SIZE / 512) /* as stat() counts them */

#ifndef FIOQSIZE
#define FIOQSIZE 0x5460 /* of <asm/ioctls.h> */
#endif

/* The next pages in a row from an offset on that the file has. */
static bool next_data(const struct process_machine *m, off_t start, off_t end,
                      off_t *data, off_t *hole)
{
    if (start >= end)
        return false;
    *data = lseek(m->memfd, start, SEEK_DATA);
    if (*data < 0) /* if the kernel cannot tell, all may have been touched */
        *data = errno == ENXIO ? end : start;
    if (*data >= end)
        return false;
    *hole = lseek(m->memfd, *data, SEEK_HOLE);
    if (*hole <= *data || *hole > end)
        *hole = end;
    return true;
}

/* In pages; 0 if the kernel does not say. */
static uint64_t count_pages(const struct process_machine *m)
{
    struct stat file;

    if (fstat(m->memfd, &file) != 0)
        return 0;
    return (uint64_t)file.st_blocks / BLOCKS_PER_PAGE;
}

/*
 * The same number, or a larger one: of pages that the kernel dropped, it learns
 * as it answers stat(). 0 if it does not say.
 */
static uint64_t count_pages_soon(const struct process_machine *m)
{
    int64_t bytes;

    if (ioctl(m->memfd, FIOQSIZE, &bytes) != 0)
        return count_pages(m);
    return (uint64_t)bytes / KAON_PAGE_SIZE;
}

/* Writes to them what is there, at once: other guests may run. In assembly, as
 * compilers know that it changes nothing, and may leave it out. */
static void make_dirty(const struct process_machine *m,
                       const struct touched_pages *touched)
{
    for (unsigned i = 0; i < touched->run_count; i++) {
        const struct page_run *run = &touched->runs[i];
        unsigned char *at = kaon__arena_at(&m->arena, run->first);

        for (uint64_t k = 0; k < run->count; k++)
            __asm__ volatile("lock orb $0, %0" : "+m"(at[k * KAON_PAGE_SIZE]));
    }
}

static bool add_run(struct touched_pages *touched, struct page_run run)
{
    if (touched->run_count == touched->room) {
        unsigned room = touched->room ? 2 * touched->room : 16;
        struct page_run *runs = realloc(touched->runs, room * sizeof *runs);

        if (!runs)
            return false;
        touched->runs = runs;
        touched->room = room;
    }
    touched->runs[touched->run_count++] = run;
    touched->pages += run.count;
    return true;
}

static bool list_pages(const struct process_machine *m,
                       struct touched_pages *touched)
{
    const off_t end = (off_t)m->arena.size;
    off_t at = 0, data, hole;

    touched->run_count = 0;
    touched->pages = 0;
    for (; next_data(m, at, end, &data, &hole); at = hole) {
        const struct page_run run = {
            ARENA_PHYSICAL + (uint64_t)data,
            (uint64_t)(hole - data) / KAON_PAGE_SIZE,
        };

        if (!add_run(touched, run))
            return false;
    }
    return true;
}

/* A kernel that takes the whole file for touched is not to have it so. */
static bool make_list(const struct process_machine *m,
                      struct touched_pages *touched)
{
    if (!list_pages(m, touched) || count_pages(m) != touched->pages)
        return false;
    make_dirty(m, touched);
    return count_pages(m) == touched->pages;
}

static bool is_complete(const struct process_machine *m,
                        const struct touched_pages *touched, uint64_t holes)
{
    return touched->pages && touched->holes == holes &&
           count_pages_soon(m) == touched->pages;
}

/*
 * Where many sandboxes share the memory, somebody touches new pages all the
 * time, and to list all of theirs takes longer than to ask for one's own.
 */
void kaon__process_touched_know(struct process_machine *m,
                                struct process_space *space)
{
    struct touched_pages *touched = &space->touched;
    uint64_t holes = atomic_load(&m->holes);

    touched->known = false;
    if (atomic_load(&m->sealed_count) != 1)
        return;
    if (!is_complete(m, touched, holes)) {
        touched->holes = holes;
        if (!make_list(m, touched))
            touched->pages = 0;
    }
    touched->known = touched->pages && atomic_load(&m->holes) == holes;
}

void kaon__process_touched_finish(struct process_space *space)
{
    free(space->touched.runs);
}

/* The first pages in a row of the list that are in a range. */
static bool find_run(const struct touched_pages *touched,
                     const struct page_run *in, struct page_run *out)
{
    const uint64_t in_end = in->first + in->count * KAON_PAGE_SIZE;

    for (unsigned i = 0; i < touched->run_count; i++) {
        const struct page_run *run = &touched->runs[i];
        uint64_t first = run->first > in->first ? run->first : in->first;
        uint64_t end = run->first + run->count * KAON_PAGE_SIZE;

        if (end > in_end)
            end = in_end;
        if (first < end) {
            *out = (struct page_run){ first, (end - first) / KAON_PAGE_SIZE };
            return true;
        }
    }
    return false;
}

bool kaon__process_touched(const struct process_machine *m,
                           const struct process_space *space,
                           const struct page_run *in, struct page_run *out)
{
    off_t start = (off_t)(in->first - ARENA_PHYSICAL), data, hole;

    if (space && space->touched.known)
        return find_run(&space->touched, in, out);
    if (!next_data(m, start, start + (off_t)(in->count * KAON_PAGE_SIZE), &data,
                   &hole))
        return false;
    *out = (struct page_run){ ARENA_PHYSICAL + (uint64_t)data,
                              (uint64_t)(hole - data) / KAON_PAGE_SIZE };
    return true;
}

bool kaon__process_space_touched(struct kaon_machine *machine,
                                 struct kaon_space handle, uint64_t physical,
                                 uint64_t pages, uint64_t *first,
                                 uint64_t *count)
{
    const struct page_run in = { physical, pages };
    struct page_run out;

    if (!kaon__process_touched(process_machine(machine), space_of(handle), &in,
                               &out))
        return false;
    *first = out.first;
    *count = out.count;
    return true;
}

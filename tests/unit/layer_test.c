/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that are somebody's files: read, kept, and cut short. */
#include "support/harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/layer.h"

#define PAGE 4096
#define PAGES (KAON_KEPT_MAX + 2)

static void fill(int fd, unsigned page, unsigned char byte)
{
    unsigned char bytes[PAGE];

    memset(bytes, byte, sizeof bytes);
    assert_int_equal(pwrite(fd, bytes, PAGE, (off_t)page * PAGE), PAGE);
}

/* A file whose pages have their number as each byte; *fd can change it. */
static struct kaon_layer *open_layer(int *fd)
{
    struct kaon_error err = { 0 };
    struct kaon_layer *layer;

    *fd = memfd_create("layer", MFD_CLOEXEC);
    assert_true(*fd >= 0);
    for (unsigned i = 0; i < PAGES; i++)
        fill(*fd, i, (unsigned char)i);
    assert_false(kaon__layer_open(&layer, fcntl(*fd, F_DUPFD_CLOEXEC, 0),
                                  PAGES * PAGE, &err));
    return layer;
}

static void end(struct kaon_layer *layer, int fd)
{
    kaon__layer_destroy(layer);
    close(fd);
}

/* The only byte that a page has. */
static int read_page(struct kaon_layer *layer, unsigned page)
{
    unsigned char bytes[PAGE];

    memset(bytes, 0xee, sizeof bytes);
    if (!kaon__layer_read(layer, (uint64_t)page * PAGE, bytes, PAGE))
        return -1;
    for (unsigned i = 1; i < PAGE; i++)
        assert_int_equal(bytes[i], bytes[0]);
    return bytes[0];
}

static void a_page_is_read_once(void **state)
{
    struct kaon_layer *layer;
    int fd;

    (void)state;
    layer = open_layer(&fd);
    assert_int_equal(read_page(layer, 3), 3);
    fill(fd, 3, 99);
    fill(fd, 4, 99);
    assert_int_equal(read_page(layer, 3), 3);
    assert_int_equal(read_page(layer, 4), 99);
    end(layer, fd);
}

/* Where another is kept, it is read each time. */
static void two_pages_may_want_one_place(void **state)
{
    struct kaon_layer *layer;
    int fd;

    (void)state;
    layer = open_layer(&fd);
    assert_int_equal(read_page(layer, 1), 1);
    assert_int_equal(read_page(layer, KAON_KEPT_MAX + 1),
                     (KAON_KEPT_MAX + 1) % 256);
    fill(fd, KAON_KEPT_MAX + 1, 77);
    assert_int_equal(read_page(layer, KAON_KEPT_MAX + 1), 77);
    assert_int_equal(read_page(layer, 1), 1);
    end(layer, fd);
}

static void what_a_file_lost_is_zero_and_not_kept(void **state)
{
    unsigned char bytes[PAGE], zero[PAGE] = { 0 };
    struct kaon_layer *layer;
    int fd;

    (void)state;
    layer = open_layer(&fd);
    assert_int_equal(ftruncate(fd, 2 * PAGE + 100), 0);
    memset(bytes, 0xee, sizeof bytes);
    assert_false(kaon__layer_read(layer, 2 * PAGE, bytes, PAGE));
    assert_int_equal(bytes[99], 2);
    assert_memory_equal(bytes + 100, zero, PAGE - 100);
    assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
    fill(fd, 2, 5);
    assert_int_equal(read_page(layer, 2), 5);
    end(layer, fd);
}

static void a_layer_of_ours_is_read_where_it_is(void **state)
{
    struct kaon_error err = { 0 };
    struct kaon_layer *layer;

    (void)state;
    assert_false(kaon__layer_create(&layer, 2 * PAGE, &err));
    memset(layer->memory + PAGE, 8, PAGE);
    assert_false(kaon__layer_seal(layer, &err));
    assert_int_equal(read_page(layer, 0), 0);
    assert_int_equal(read_page(layer, 1), 8);
    kaon__layer_destroy(layer);
}

TESTS(TEST(a_page_is_read_once), TEST(two_pages_may_want_one_place),
      TEST(what_a_file_lost_is_zero_and_not_kept),
      TEST(a_layer_of_ours_is_read_where_it_is))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the seeds of corpus/wire_get and corpus/wire_put into the directory
 * DIRECTORY/wire_get and DIRECTORY/wire_put: wire_seeds DIRECTORY.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/wire.h"

#define AREA_SIZE 8192u

static _Alignas(16) unsigned char page[KAON_MAILBOX_SIZE], area[AREA_SIZE];
static const struct kaon_wire wire = { page, area, AREA_SIZE };

static void write_file(const char *directory, const char *name,
                       const void *const parts[], const size_t sizes[],
                       size_t count)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "wb");
    for (size_t i = 0; file && i < count; i++)
        fwrite(parts[i], 1, sizes[i], file);
    if (!file || fclose(file)) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

/* A frame with these values; *damage, if any, is done to it afterwards. */
static void get_seed(const char *directory, const char *name,
                     const struct kaon_value *values, uint32_t count,
                     void (*damage)(struct kaon_frame *frame))
{
    const uint16_t area_size = AREA_SIZE;
    struct kaon_frame frame = { .kind = KAON_FRAME_HOST_CALL };
    char path[4096];

    memset(page, 0, sizeof page);
    memset(area, 0, sizeof area);
    if (kaon_wire_put(&wire, kaon_wire_all_free(), values, count, &frame))
        abort();
    if (damage)
        damage(&frame);
    snprintf(path, sizeof path, "%s/wire_get", directory);
    write_file(
        path, name,
        (const void *[]){ &frame, &area_size, page + KAON_MAILBOX_FREE, area },
        (const size_t[]){ sizeof frame, sizeof area_size,
                          sizeof page - KAON_MAILBOX_FREE,
                          frame.slots < KAON_MAILBOX_SIZE ? 0 : AREA_SIZE },
        4);
}

static void slots_outside(struct kaon_frame *frame)
{
    frame->slots = KAON_MAILBOX_SIZE - 8;
}

static void count_huge(struct kaon_frame *frame)
{
    frame->count = 0xffffffff;
}

/* The host's answer would overlap the guest's arguments. */
static void offer_overlaps(struct kaon_frame *frame)
{
    frame->free_page = KAON_MAILBOX_FREE;
}

static void data_outside(struct kaon_frame *frame)
{
    struct kaon_slot slot = { KAON_TYPE_BYTES, 0xffffffff, UINT64_MAX - 15 };

    memcpy(page + frame->slots, &slot, sizeof slot);
}

static void put_seed(const char *directory, const char *name, const void *data,
                     size_t size)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/wire_put", directory);
    write_file(path, name, (const void *[]){ data }, (const size_t[]){ size },
               1);
}

int main(int argc, char **argv)
{
    static char large[5000];
    static const unsigned char each_type[] = {
        10, 0, 0, 1, 1, 2, 3,    4, 2, 5, 6, 7,   8,   3,   1,   2, 3,    4, 5,
        6,  7, 8, 4, 1, 2, 3,    4, 5, 6, 7, 8,   5,   0,   0,   0, 0x80, 6, 0,
        0,  0, 0, 0, 0, 0, 0x80, 7, 1, 8, 4, 't', 'e', 'x', 't', 9, 0,    8, 0,
    };
    static const unsigned char little_room[] = { 1, 240, 0, 8, 2, 'a', 'b' };
    static const unsigned char bad_type[] = { 0, 0, 0, 10, 1, 2, 3 };
    unsigned char to_area[4200] = { 255, 0, 0, 9, 127 };

    if (argc != 2) {
        fprintf(stderr, "usage: wire_seeds DIRECTORY\n");
        return EXIT_FAILURE;
    }
    const struct kaon_value mixed[] = {
        kaon_i32(-1),         kaon_u32(1),       kaon_i64(-1),
        kaon_u64(UINT64_MAX), kaon_f32(-0.0f),   kaon_f64(0.5),
        kaon_bool(true),      kaon_string("ab"), kaon_bytes("\0\1", 2),
    };
    const struct kaon_value bytes = kaon_bytes(large, sizeof large);

    get_seed(argv[1], "nothing", NULL, 0, NULL);
    get_seed(argv[1], "each-type", mixed, 9, NULL);
    get_seed(argv[1], "in-the-area", &bytes, 1, NULL);
    get_seed(argv[1], "slots-outside", mixed, 9, slots_outside);
    get_seed(argv[1], "count-huge", mixed, 9, count_huge);
    get_seed(argv[1], "offer-overlaps", mixed, 9, offer_overlaps);
    get_seed(argv[1], "data-outside", mixed, 9, data_outside);
    put_seed(argv[1], "nothing", "", 0);
    put_seed(argv[1], "each-type", each_type, sizeof each_type);
    put_seed(argv[1], "little-room", little_room, sizeof little_room);
    put_seed(argv[1], "bad-type", bad_type, sizeof bad_type);
    put_seed(argv[1], "to-the-area", to_area, sizeof to_area);
    return EXIT_SUCCESS;
}

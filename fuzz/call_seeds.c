/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the seeds of fuzz/corpus/call: call_seeds DIRECTORY. Lives of guests
 * that do things well, and some that do not; the fuzzer does the rest. To be
 * run again when kaon/abi.h changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <kaon/abi.h>

/* Steps, as call_fuzz.c reads them. */
enum { LEAVE, WRITE, PAGE_FAULT, EXCEPTION, KICKED, MEMORY, STOPPED, REGISTER };
/* Functions that it calls. */
enum { NOTHING, NUMBER, TEXT, BYTES, TRUTH, UNKNOWN, INIT, BATCH };

static unsigned char seed[4096];
static size_t length;

static void put(const void *bytes, size_t size)
{
    if (size > sizeof seed - length)
        abort();
    memcpy(seed + length, bytes, size);
    length += size;
}

static void put_byte(unsigned byte)
{
    unsigned char one = (unsigned char)byte;

    put(&one, 1);
}

static void write_at(uint16_t at, const void *bytes, unsigned size)
{
    put_byte(WRITE);
    put(&at, sizeof at);
    put_byte(size);
    put(bytes, size);
}

static void write_slot(uint16_t at, uint32_t type, uint32_t size, uint64_t bits)
{
    const struct kaon_slot slot = { type, size, bits };

    write_at(at, &slot, sizeof slot);
}

static void leave(uint32_t kind, uint32_t function, uint32_t count, int code)
{
    const struct kaon_frame frame = {
        .kind = kind,
        .function = function,
        .count = count,
        .code = code,
        .slots = count ? 512 : 0,
        .free_page = 1024,
        .free_area = 4096,
    };

    put_byte(LEAVE);
    put(&frame, sizeof frame);
}

static void page_fault(unsigned access, uint64_t address)
{
    put_byte(PAGE_FAULT);
    put_byte(access);
    put(&address, sizeof address);
}

/* Calls HostTake; `way` is how it is to answer, and with how many bytes. */
static void take(uint32_t function, uint32_t way)
{
    uint16_t at = 512;
    uint32_t more = function == KAON_FUNCTION_BY_NAME;

    if (more) {
        write_slot(at, KAON_TYPE_STRING, 8, 720);
        write_at(720, "HostTake", 9);
        at += 16;
    }
    write_slot(at, KAON_TYPE_STRING, 5, 700);
    write_slot((uint16_t)(at + 16), KAON_TYPE_BYTES, 6, 700);
    write_slot((uint16_t)(at + 32), KAON_TYPE_U32, 0, way);
    write_at(700, "words", 6);
    leave(KAON_FRAME_HOST_CALL, function, 3 + more, 0);
}

static void begin(unsigned function)
{
    length = 0;
    put_byte(function);
}

static void save(const char *directory, const char *name)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "wb");
    if (!file || fwrite(seed, 1, length, file) != length || fclose(file)) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void good_lives(const char *directory)
{
    begin(NOTHING);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    put_byte(NUMBER);
    write_slot(512, KAON_TYPE_U64, 0, UINT64_MAX);
    leave(KAON_FRAME_RESULT, 0, 1, 0);
    put_byte(TEXT);
    write_slot(512, KAON_TYPE_STRING, 5, 700);
    write_at(700, "words", 6);
    leave(KAON_FRAME_RESULT, 0, 1, 0);
    put_byte(TRUTH);
    write_slot(512, KAON_TYPE_BOOL, 0, 1);
    leave(KAON_FRAME_RESULT, 0, 1, 0);
    save(directory, "results");

    begin(BYTES);
    page_fault(1, 0);
    save(directory, "null-pointer");

    begin(BYTES);
    write_slot(512, KAON_TYPE_BYTES, 9, 8192);
    write_at(8192, "", 0);
    write_at(8192, "a", 1); /* the first touch of the area: a fault */
    write_at(8192, "area bytes", 10);
    put_byte(KICKED);
    leave(KAON_FRAME_RESULT, 0, 1, 0);
    save(directory, "area");

    begin(INIT);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    put_byte(UNKNOWN);
    leave(KAON_FRAME_REFUSED, 0, 0, KAON_REFUSED_UNKNOWN);
    put_byte(UNKNOWN);
    write_slot(512, KAON_TYPE_STRING, 5, 700);
    write_at(700, "words", 6);
    leave(KAON_FRAME_ERROR, 0, 1, -5);
    save(directory, "init-refused-error");
}

static void host_calls(const char *directory)
{
    begin(NOTHING);
    for (uint32_t way = 0; way < 4; way++)
        take(0, way | 400 << 2);
    take(KAON_FUNCTION_BY_NAME, 1);
    take(0, 3 | 5000 << 2);  /* an answer in the area */
    take(0, 3 | 20000 << 2); /* and one that nothing holds */
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    save(directory, "host-calls");

    begin(NOTHING);
    write_slot(512, KAON_TYPE_U64, 0, 40);
    write_slot(528, KAON_TYPE_BOOL, 0, 1);
    leave(KAON_FRAME_HOST_CALL, 1, 2, 0);
    leave(KAON_FRAME_HOST_CALL, 7, 0, 0);
    leave(KAON_FRAME_HOST_CALL, KAON_FUNCTION_BY_NAME, 0, 0);
    write_slot(512, KAON_TYPE_I32, 0, 40);
    leave(KAON_FRAME_HOST_CALL, 1, 2, 0);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    save(directory, "refused-host-calls");
}

/* Arguments that end where the page does, and where the area does. */
static void full_pieces(const char *directory)
{
    static const uint16_t ends[] = { 4096, 4096 + 16384 };
    static const char *const names[] = { "full-page", "full-area" };

    for (unsigned i = 0; i < 2; i++) {
        begin(NOTHING);
        write_at(4096, "a", 1); /* there shall be an area */
        write_slot(512, KAON_TYPE_STRING, 5, 700);
        write_slot(528, KAON_TYPE_BYTES, 16, ends[i] - 16u);
        write_slot(544, KAON_TYPE_U32, 0, 3 | 5000 << 2);
        write_at(700, "words", 6);
        leave(KAON_FRAME_HOST_CALL, 0, 3, 0);
        write_slot(544, KAON_TYPE_U32, 0, 3 | 100 << 2);
        leave(KAON_FRAME_HOST_CALL, 0, 3, 0);
        leave(KAON_FRAME_RESULT, 0, 0, 0);
        save(directory, names[i]);
    }
}

static void bad_ends(const char *directory)
{
    begin(TEXT);
    write_slot(512, KAON_TYPE_STRING, 5, 700);
    write_at(700, "words", 6);
    leave(KAON_FRAME_ABORT, 0, 1, 25);
    save(directory, "abort");

    begin(NUMBER);
    write_slot(512, KAON_TYPE_U64, 8, 7);
    leave(KAON_FRAME_RESULT, 0, 1, 0);
    save(directory, "bad-number");

    begin(TEXT);
    write_slot(512, KAON_TYPE_STRING, 0xffffffff, 700);
    leave(KAON_FRAME_RESULT, 0, 1, 0);
    save(directory, "bad-text");

    begin(NOTHING);
    leave(KAON_FRAME_CALL, 0, 0, 0);
    save(directory, "not-its-frame");

    begin(NOTHING);
    put_byte(REGISTER);
    put_byte(2);
    put(&(uint64_t){ 0x603000 }, 8);
    put_byte(EXCEPTION);
    put_byte(6);
    put_byte(0);
    save(directory, "invalid-opcode");

    begin(NOTHING);
    put_byte(MEMORY);
    save(directory, "no-memory");

    begin(NOTHING);
    put_byte(STOPPED);
    put_byte(0);
    save(directory, "stopped");
}

/* The answer to the i-th call of a batch, whose array begins the payload. */
static void answer(unsigned i, uint32_t kind, uint32_t count, uint32_t slots)
{
    const struct kaon_frame frame = {
        .kind = kind,
        .count = count,
        .slots = count ? slots : 0,
    };

    write_at((uint16_t)(KAON_MAILBOX_FREE + i * sizeof frame), &frame,
             sizeof frame);
}

/* Answers to the first `count` of ten calls, in whose results nothing is
 * wrong. */
static void answers(unsigned count)
{
    write_slot(2048, KAON_TYPE_U64, 0, 42);
    write_slot(2064, KAON_TYPE_STRING, 5, 2128);
    write_slot(2080, KAON_TYPE_BYTES, 9, 2144);
    write_slot(2096, KAON_TYPE_BOOL, 0, 1);
    write_at(2128, "words", 6);
    for (unsigned i = 0; i < count; i++)
        answer(i, KAON_FRAME_RESULT, i % 5 != 0, 2032 + 16 * (i % 5));
}

static void batches(const char *directory)
{
    begin(BATCH);
    answers(10);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    put_byte(BATCH);
    answers(10);
    answer(2, KAON_FRAME_ERROR, 1, 2064);
    answer(3, KAON_FRAME_REFUSED, 0, 0);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    save(directory, "batch");

    begin(BATCH);
    answers(6);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    save(directory, "batch-half");

    begin(BATCH);
    answers(4);
    page_fault(1, 0);
    save(directory, "batch-fault");

    begin(BATCH);
    answers(8);
    take(0, 1);
    answers(8);
    write_slot(512, KAON_TYPE_STRING, 5, 700);
    leave(KAON_FRAME_ABORT, 0, 1, 25);
    save(directory, "batch-abort");

    begin(BATCH);
    answers(10);
    answer(4, KAON_FRAME_RESULT, 1, 2048);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    save(directory, "batch-wrong-type");
}

/* An array of HOST_CALL frames at 1024, all to HostTake. */
static void post(uint32_t count, uint32_t said)
{
    const struct kaon_frame frame = {
        .kind = KAON_FRAME_HOST_CALL,
        .count = 3,
        .slots = 512,
    };
    const struct kaon_posted posted = { 1024, said };

    write_slot(512, KAON_TYPE_STRING, 5, 700);
    write_slot(528, KAON_TYPE_BYTES, 6, 700);
    write_slot(544, KAON_TYPE_U32, 0, 3 | 100 << 2);
    write_at(700, "words", 6);
    for (uint32_t i = 0; i < count; i++)
        write_at((uint16_t)(1024 + i * sizeof frame), &frame, sizeof frame);
    write_at(offsetof(struct kaon_mailbox, posted), &posted, sizeof posted);
}

static void posted_calls(const char *directory)
{
    begin(NOTHING);
    post(3, 3);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    put_byte(NOTHING);
    post(2, 2);
    take(0, 1);
    post(1, 1);
    page_fault(1, 0);
    save(directory, "posted");

    begin(NOTHING);
    post(1, 2);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    save(directory, "posted-no-frame");

    begin(NOTHING);
    post(1, KAON_POSTED_MAX + 1);
    leave(KAON_FRAME_RESULT, 0, 0, 0);
    save(directory, "posted-too-many");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return EXIT_FAILURE;
    }
    good_lives(argv[1]);
    host_calls(argv[1]);
    full_pieces(argv[1]);
    bad_ends(argv[1]);
    batches(argv[1]);
    posted_calls(argv[1]);
    return EXIT_SUCCESS;
}

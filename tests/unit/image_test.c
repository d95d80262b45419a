/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image says of its guest, where images come from, and what happens
 * when the host runs out. Damaged guests are in image_refused_test.c.
 */
#include "host/image.h"
#include "support/elf_builder.h"
#include "support/fail_nth.h"
#include "support/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The image of a built file, which is freed. */
static struct kaon_image *image_of(struct elf_file *file)
{
    struct kaon_image *image = NULL;
    struct kaon_error err;

    if (kaon_image_parse(&image, file->bytes, file->size, &err))
        fail_msg("%s", err.text);
    free(file);
    return image;
}

static void an_image_lists_its_exports(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_signature got;

    (void)state;
    assert_true(kaon_image_export(image, 0, &got));
    assert_string_equal(got.name, "greet");
    assert_int_equal(got.result, KAON_TYPE_VOID);
    assert_int_equal(got.count, 0);
    assert_true(kaon_image_export(image, 1, &got));
    assert_string_equal(got.name, "add");
    assert_int_equal(got.result, KAON_TYPE_I32);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.params[0], KAON_TYPE_I32);
    assert_int_equal(got.params[1], KAON_TYPE_I32);
    assert_int_equal(got.params[2], 0);
    assert_true(kaon_image_export(image, 2, &got));
    assert_false(kaon_image_export(image, 3, &got));
    assert_false(kaon_image_export(image, SIZE_MAX, &got));
    assert_string_equal(got.name, "echo_bytes");
    kaon_image_destroy(image);
}

static void an_image_lists_its_imports(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_signature got;

    (void)state;
    assert_true(kaon_image_import(image, 0, &got));
    assert_string_equal(got.name, "HostPrint");
    assert_int_equal(got.params[0], KAON_TYPE_STRING);
    assert_true(kaon_image_import(image, 1, &got));
    assert_string_equal(got.name, "now");
    assert_false(kaon_image_import(image, 2, &got));
    kaon_image_destroy(image);
}

static void an_image_lists_its_segments(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_segment got;

    (void)state;
    assert_true(kaon_image_segment(image, 0, &got));
    assert_int_equal(got.address, ELF_TEXT);
    assert_int_equal(got.size, ELF_TEXT_SIZE);
    assert_true(got.readable && !got.writable && got.executable);
    assert_true(kaon_image_segment(image, 1, &got));
    assert_int_equal(got.address, ELF_RODATA);
    assert_true(got.readable && !got.writable && !got.executable);
    assert_true(kaon_image_segment(image, 2, &got));
    assert_int_equal(got.address, ELF_DATA);
    assert_int_equal(got.size, ELF_DATA_MEMORY);
    assert_true(got.readable && got.writable && !got.executable);
    assert_false(kaon_image_segment(image, 3, &got));
    assert_int_equal(kaon_image_entry(image), ELF_TEXT);
    assert_string_equal(kaon_image_name(image), "guest");
    assert_false(kaon_image_dynamic(image));
    kaon_image_destroy(image);
}

static void a_guest_may_have_nothing_but_an_entry(void **state)
{
    struct kaon_image *image =
        image_of(elf_build(&(struct elf_spec){ .flags = KAON_INFO_DYNAMIC }));
    struct kaon_signature got;

    (void)state;
    assert_true(kaon_image_dynamic(image));
    assert_false(kaon_image_export(image, 0, &got));
    assert_false(kaon_image_import(image, 0, &got));
    assert_null(kaon_image_symbol(image, ELF_TEXT, NULL));
    assert_int_equal(kaon__image_find_export(image, "greet"), -1);
    assert_null(kaon__image_nearest_export(image, "greet"));
    kaon_image_destroy(image);
}

static bool all_are(const unsigned char *bytes, size_t size, unsigned char what)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != what)
            return false;
    return true;
}

static void memory_holds_the_segments_and_zeros(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    const struct kaon_image_region *regions = image->regions;
    const unsigned char *data;

    (void)state;
    assert_int_equal(image->region_count, 3);
    assert_int_equal(image->memory_size, 5 * 4096);
    assert_int_equal(regions[0].address, ELF_TEXT);
    assert_int_equal(regions[0].pages, 1);
    assert_true(regions[0].executable && !regions[0].writable);
    assert_int_equal(regions[1].offset, 4096);
    assert_int_equal(regions[2].address, ELF_DATA);
    assert_int_equal(regions[2].pages, 3);
    assert_int_equal(regions[2].offset, 2 * 4096);
    assert_true(regions[2].writable && !regions[2].executable);

    assert_true(all_are(image->memory, ELF_TEXT_SIZE, 0xcc));
    assert_true(
        all_are(image->memory + ELF_TEXT_SIZE, 4096 - ELF_TEXT_SIZE, 0));
    data = image->memory + regions[2].offset;
    assert_true(all_are(data, ELF_DATA_SIZE, 'd'));
    assert_true(all_are(data + ELF_DATA_SIZE, 3 * 4096 - ELF_DATA_SIZE, 0));
    kaon_image_destroy(image);
}

static void memory_cannot_be_written(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    (void)state;
    for (uint64_t at = 0; at < image->memory_size; at += 4096) {
        assert_int_equal(read(zero, image->memory + at, 1), -1);
        assert_int_equal(errno, EFAULT);
    }
    close(zero);
    kaon_image_destroy(image);
}

/* The sample's, as one that came with a snapshot. */
static struct kaon_image *heap_image(void)
{
    struct elf_file *file = elf_build_sample();
    void *bytes = malloc(file->size);
    struct kaon_image *image = NULL;

    assert_non_null(bytes);
    memcpy(bytes, file->bytes, file->size);
    assert_int_equal(
        kaon__image_adopt(&image, bytes, file->size, "its guest", true, NULL),
        KAON_OK);
    free(file);
    return image;
}

static void a_small_image_is_a_file_from_its_second_machine_on(void **state)
{
    struct kaon_image *usual = image_of(elf_build_sample());
    struct kaon_image *image = heap_image();
    unsigned char *copy = malloc(image->memory_size);
    int fd = 0, again = 0;

    (void)state;
    assert_non_null(copy);
    assert_int_equal(kaon__image_show(usual, true, &fd, NULL), KAON_OK);
    assert_true(fd >= 0);
    assert_int_equal(image->memory_size, usual->memory_size);
    assert_memory_equal(image->memory, usual->memory, usual->memory_size);

    assert_int_equal(kaon__image_show(image, true, &fd, NULL), KAON_OK);
    assert_int_equal(fd, -1);
    assert_int_equal(kaon__image_show(image, true, &fd, NULL), KAON_OK);
    assert_int_equal(pread(fd, copy, image->memory_size, 0),
                     image->memory_size);
    assert_memory_equal(copy, usual->memory, usual->memory_size);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1); /* sealed */
    assert_int_equal(kaon__image_show(image, true, &again, NULL), KAON_OK);
    assert_int_equal(again, fd);
    kaon_image_destroy(image);

    image = heap_image();
    assert_int_equal(kaon__image_show(image, false, &fd, NULL), KAON_OK);
    assert_true(fd >= 0); /* where it cannot be copied, at once */
    kaon_image_destroy(image);
    kaon_image_destroy(usual);
    free(copy);
}

/* Gives the sample's spare header to a segment and returns the image. */
static struct kaon_image *with_segment(uint64_t address, size_t like)
{
    struct elf_file *file = elf_build_sample();

    *elf_segment(file, 3) = *elf_segment(file, like);
    elf_segment(file, 3)->p_vaddr = address;
    return image_of(file);
}

static void segments_of_one_protection_share_pages_and_regions(void **state)
{
    struct kaon_image *image = with_segment(ELF_DATA + ELF_DATA_MEMORY + 64, 2);

    (void)state;
    assert_int_equal(image->segment_count, 4);
    assert_int_equal(image->region_count, 3);
    assert_int_equal(image->regions[2].pages, 6);
    assert_int_equal(image->memory_size, 8 * 4096);
    assert_true(all_are(image->memory + 2 * 4096 + ELF_DATA_MEMORY + 64,
                        ELF_DATA_SIZE, 'd'));
    kaon_image_destroy(image);

    image = with_segment(ELF_DATA + 3 * 4096, 2);
    assert_int_equal(image->region_count, 3);
    assert_int_equal(image->regions[2].pages, 6);
    kaon_image_destroy(image);

    image = with_segment(ELF_DATA + 4 * 4096, 2);
    assert_int_equal(image->region_count, 4);
    assert_int_equal(image->regions[3].address, ELF_DATA + 4 * 4096);
    kaon_image_destroy(image);
}

static void segments_come_in_any_order(void **state)
{
    struct kaon_image *image = with_segment(KAON_IMAGE_LOW, 0);
    struct kaon_segment got;

    (void)state;
    assert_true(kaon_image_segment(image, 0, &got));
    assert_int_equal(got.address, KAON_IMAGE_LOW);
    assert_int_equal(image->regions[0].address, KAON_IMAGE_LOW);
    assert_true(all_are(image->memory, ELF_TEXT_SIZE, 0xcc));
    kaon_image_destroy(image);
}

static void a_segment_without_memory_is_none(void **state)
{
    struct elf_file *file = elf_build_sample();
    struct kaon_image *image;

    (void)state;
    *elf_segment(file, 3) = *elf_segment(file, 0);
    elf_segment(file, 3)->p_filesz = 0;
    elf_segment(file, 3)->p_memsz = 0;
    image = image_of(file);
    assert_int_equal(image->segment_count, 3);
    kaon_image_destroy(image);
}

static void a_huge_bss_costs_no_memory(void **state)
{
    struct elf_file *file = elf_build_sample();
    struct kaon_image *image;

    (void)state;
    elf_segment(file, 2)->p_memsz = KAON_IMAGE_SIZE_MAX - (ELF_DATA - ELF_TEXT);
    image = image_of(file);
    assert_true(image->memory_size >
                KAON_IMAGE_SIZE_MAX - (ELF_DATA - ELF_TEXT));
    kaon_image_destroy(image);
}

/* What kaon_image_symbol() says, as text. */
static const char *where(const struct kaon_image *image, uint64_t address)
{
    static char text[128];
    uint64_t offset;
    const char *name = kaon_image_symbol(image, address, &offset);

    if (!name)
        return "nowhere";
    assert_ptr_equal(kaon_image_symbol(image, address, NULL), name);
    snprintf(text, sizeof text, "%s+%llu", name, (unsigned long long)offset);
    return text;
}

static void addresses_have_the_name_of_their_symbol(void **state)
{
    static const struct elf_symbol symbols[] = {
        { "late", ELF_TEXT + 64, 16, STT_FUNC },
        { "early", ELF_TEXT + 16, 16, STT_FUNC },
        { "alias", ELF_TEXT + 16, 8, STT_FUNC },
        { "start", ELF_TEXT + 16, 0, STT_NOTYPE },
        { "inside", ELF_TEXT + 20, 0, STT_NOTYPE },
        { "assembly", ELF_TEXT + 128, 0, STT_NOTYPE },
        { "object", ELF_DATA + 8, 8, STT_OBJECT },
        { "bss", ELF_DATA + 0x1000, 0, STT_OBJECT },
        { "guest.c", ELF_TEXT, 4096, STT_FILE },
        { "outside", ELF_TEXT - 16, 4096, STT_FUNC },
        { "end", ELF_DATA + ELF_DATA_MEMORY, 0, STT_NOTYPE },
        { "bell\a", ELF_TEXT, 16, STT_FUNC },
    };
    struct kaon_image *image = image_of(elf_build(&(struct elf_spec){
        .symbols = symbols, .symbol_count = ELF_COUNT(symbols) }));

    (void)state;
    assert_string_equal(where(image, 0), "nowhere");
    assert_string_equal(where(image, ELF_TEXT), "nowhere");
    assert_string_equal(where(image, ELF_TEXT + 15), "nowhere");
    assert_string_equal(where(image, ELF_TEXT + 16), "early+0");
    assert_string_equal(where(image, ELF_TEXT + 20), "early+4");
    assert_string_equal(where(image, ELF_TEXT + 31), "early+15");
    assert_string_equal(where(image, ELF_TEXT + 32), "nowhere");
    assert_string_equal(where(image, ELF_TEXT + 64), "late+0");
    assert_string_equal(where(image, ELF_TEXT + 80), "nowhere");
    assert_string_equal(where(image, ELF_TEXT + 128), "assembly+0");
    assert_string_equal(where(image, ELF_TEXT + 255), "assembly+127");
    assert_string_equal(where(image, ELF_TEXT + 256), "nowhere");
    assert_string_equal(where(image, ELF_DATA + 7), "nowhere");
    assert_string_equal(where(image, ELF_DATA + 15), "object+7");
    assert_string_equal(where(image, ELF_DATA + 0x1fff), "bss+4095");
    assert_string_equal(where(image, ELF_DATA + ELF_DATA_MEMORY), "nowhere");
    assert_string_equal(where(image, UINT64_MAX), "nowhere");
    kaon_image_destroy(image);
}

static void a_label_reaches_to_the_next_symbol(void **state)
{
    static const struct elf_symbol symbols[] = {
        { "one", ELF_TEXT, 0, STT_NOTYPE },
        { "two", ELF_TEXT + 100, 0, STT_NOTYPE },
    };
    struct kaon_image *image = image_of(elf_build(&(struct elf_spec){
        .symbols = symbols, .symbol_count = ELF_COUNT(symbols) }));

    (void)state;
    assert_string_equal(where(image, ELF_TEXT + 99), "one+99");
    assert_string_equal(where(image, ELF_TEXT + 100), "two+0");
    kaon_image_destroy(image);
}

static void a_symbol_without_a_usable_name_is_left_out(void **state)
{
    struct elf_file *file = elf_build_sample();
    struct kaon_image *image;

    (void)state;
    elf_symbol(file, 1)->st_name = UINT32_MAX;
    elf_symbol(file, 2)->st_shndx = SHN_UNDEF;
    image = image_of(file);
    assert_string_equal(where(image, ELF_TEXT), "nowhere");
    assert_string_equal(where(image, ELF_TEXT + 16), "nowhere");
    assert_string_equal(where(image, ELF_TEXT + 33), "add+1");
    kaon_image_destroy(image);
}

static void exports_are_found_by_name(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());

    (void)state;
    assert_int_equal(kaon__image_find_export(image, "greet"), 0);
    assert_int_equal(kaon__image_find_export(image, "add"), 1);
    assert_int_equal(kaon__image_find_export(image, "echo_bytes"), 2);
    assert_int_equal(kaon__image_find_export(image, "HostPrint"), -1);
    assert_int_equal(kaon__image_find_export(image, "ad"), -1);
    assert_int_equal(kaon__image_find_export(image, ""), -1);
    kaon_image_destroy(image);
}

static void a_wrong_name_has_a_nearest_one(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    char huge[4096];

    (void)state;
    memset(huge, 'a', sizeof huge);
    huge[sizeof huge - 1] = '\0';
#define NEAREST(name) kaon__image_nearest_export(image, name)
    assert_string_equal(NEAREST("ad"), "add");
    assert_string_equal(NEAREST("Greet"), "greet");
    assert_string_equal(NEAREST("reeet"), "greet");
    assert_null(NEAREST("echo"));
    assert_string_equal(NEAREST("echobyte"), "echo_bytes");
    assert_null(NEAREST("multiply"));
    assert_null(NEAREST(""));
    assert_null(NEAREST("x"));
    assert_null(NEAREST(huge));
#undef NEAREST
    kaon_image_destroy(image);
}

static void thousands_of_exports_are_told_apart(void **state)
{
    static struct elf_function functions[4096];
    static char names[4096][128];
    struct kaon_image *image;

    (void)state;
    for (int i = 0; i < 4096; i++) {
        /* The difference at the end: the worst for comparisons. */
        memset(names[i], 'n', 120);
        snprintf(names[i] + 120, 8, "%06d", i ^ 0x555);
        functions[i].name = names[i];
    }
    image = image_of(elf_build(
        &(struct elf_spec){ .exports = functions, .export_count = 4096 }));
    for (int i = 0; i < 4096; i++)
        assert_int_equal(kaon__image_find_export(image, names[i]), i);
    names[7][125] = 'x';
    assert_non_null(kaon__image_nearest_export(image, names[7]));
    kaon_image_destroy(image);
}

static void many_symbols_with_long_names_take_little_time(void **state)
{
    enum { COUNT = 100000 };
    struct elf_symbol *symbols = calloc(COUNT, sizeof *symbols);
    static char name[400];
    struct elf_file *file;
    struct kaon_image *image;
    uint64_t offset;

    (void)state;
    assert_non_null(symbols);
    memset(name, 's', sizeof name - 1);
    for (size_t i = 0; i < COUNT; i++) {
        symbols[i].name = i ? "" : name;
        symbols[i].address = ELF_DATA + (i * 7919) % ELF_DATA_MEMORY;
    }
    file = elf_build(
        &(struct elf_spec){ .symbols = symbols, .symbol_count = COUNT });
    /* A hostile file: all of them are of the one name. */
    for (size_t i = 0; i < COUNT; i++)
        elf_symbol(file, i + 1)->st_name = 1;
    image = image_of(file);
    for (uint64_t at = 0; at < ELF_DATA_MEMORY; at++) {
        assert_non_null(kaon_image_symbol(image, ELF_DATA + at, &offset));
        assert_int_equal(offset, 0);
    }
    kaon_image_destroy(image);
    free(symbols);
}

static void what_is_null_is_no_crash(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    struct kaon_image *none = NULL;
    struct kaon_error err;

    (void)state;
    assert_int_equal(kaon_image_open(NULL, "guest.elf", &err), KAON_EINVAL);
    assert_string_equal(err.text, "out is NULL");
    assert_int_equal(kaon_image_open(&none, NULL, NULL), KAON_EINVAL);
    assert_int_equal(kaon_image_parse(NULL, "x", 1, NULL), KAON_EINVAL);
    assert_int_equal(kaon_image_parse(&none, NULL, 0, NULL), KAON_EINVAL);
    assert_int_equal(kaon_image_parse(&none, "x", 1, NULL), KAON_EIMAGE);
    assert_null(none);
    kaon_image_destroy(NULL);
    assert_false(kaon_image_export(NULL, 0, &(struct kaon_signature){ 0 }));
    assert_false(kaon_image_import(NULL, 0, &(struct kaon_signature){ 0 }));
    assert_false(kaon_image_segment(NULL, 0, &(struct kaon_segment){ 0 }));
    assert_false(kaon_image_export(image, 0, NULL));
    assert_false(kaon_image_import(image, 0, NULL));
    assert_false(kaon_image_segment(image, 0, NULL));
    assert_null(kaon_image_symbol(NULL, 0, NULL));
    assert_false(kaon_image_dynamic(NULL));
    assert_int_equal(kaon_image_entry(NULL), 0);
    assert_string_equal(kaon_image_name(NULL), "guest");
    kaon_image_destroy(image);
}

static void *hold_and_destroy(void *image)
{
    for (int i = 0; i < 10000; i++)
        kaon_image_destroy(kaon__image_hold(image));
    return NULL;
}

static void an_image_lives_as_long_as_somebody_holds_it(void **state)
{
    struct kaon_image *image = image_of(elf_build_sample());
    pthread_t thread;

    (void)state;
    assert_ptr_equal(kaon__image_hold(image), image);
    kaon_image_destroy(image);
    assert_int_equal(pthread_create(&thread, NULL, hold_and_destroy, image), 0);
    hold_and_destroy(image);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(kaon__image_find_export(image, "add"), 1);
    kaon_image_destroy(image);
}

/* A directory of the test's own, with one file in it. */
struct place {
    char directory[32];
    char file[64];
};

static struct place make_place(const void *bytes, size_t size)
{
    struct place place = { .directory = "/tmp/kaon-image-XXXXXX" };
    int fd;

    assert_non_null(mkdtemp(place.directory));
    snprintf(place.file, sizeof place.file, "%s/hello.elf", place.directory);
    fd = open(place.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
    return place;
}

static void remove_place(const struct place *place)
{
    assert_int_equal(unlink(place->file), 0);
    assert_int_equal(rmdir(place->directory), 0);
}

static void a_file_becomes_an_image_of_its_name(void **state)
{
    struct elf_file *file = elf_build_sample();
    struct place place = make_place(file->bytes, file->size);
    struct kaon_image *image;
    struct kaon_error err;

    (void)state;
    if (kaon_image_open(&image, place.file, &err))
        fail_msg("%s", err.text);
    remove_place(&place);
    assert_string_equal(kaon_image_name(image), "hello.elf");
    assert_int_equal(kaon__image_find_export(image, "add"), 1);
    kaon_image_destroy(image);
    free(file);
}

/* Fails unless the path is refused with this status and these words. */
static void expect_no_image(const char *path, enum kaon_status status,
                            int sys_errno, const char *words)
{
    struct kaon_image *image = NULL;
    struct kaon_error err;

    assert_int_equal(kaon_image_open(&image, path, &err), status);
    assert_null(image);
    assert_int_equal(err.sys_errno, sys_errno);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

static void what_is_no_file_is_refused(void **state)
{
    struct place place = make_place("", 0);

    (void)state;
    expect_no_image("/nonexistent/guest.elf", KAON_EIO, ENOENT,
                    "cannot open /nonexistent/guest.elf: No such file");
    expect_no_image("", KAON_EIO, ENOENT, "No such file");
    expect_no_image(place.directory, KAON_EIO, 0, "is a directory");
    expect_no_image("/dev/null", KAON_EIO, 0, "is not a regular file");
    expect_no_image(place.file, KAON_EIMAGE, 0, "hello.elf is empty");
    assert_int_equal(truncate(place.file, (1 << 30) + 1), 0);
    expect_no_image(place.file, KAON_EIMAGE, 0, "has at most 1024");
    assert_int_equal(truncate(place.file, 100), 0);
    expect_no_image(place.file, KAON_EIMAGE, 0, "hello.elf is not an ELF");
    assert_int_equal(unlink(place.file), 0);
    assert_int_equal(mkfifo(place.file, 0600), 0);
    expect_no_image(place.file, KAON_EIO, 0, "is not a regular file");
    remove_place(&place);
}

/*
 * Lets the nth call fail, for each n. Each failure must be told, and what it
 * leaves behind is for the harness to find.
 */
static void every_failing_call_is_told_and_leaks_nothing(void **state)
{
    struct elf_file *file = elf_build_sample();
    struct place place = make_place(file->bytes, file->size);
    struct kaon_image *image = NULL;
    unsigned int nth = 1;

    (void)state;
    for (;; nth++) {
        struct kaon_error err = { 0 };
        enum kaon_status status;

        fail_nth_arm(nth);
        status = kaon_image_open(&image, place.file, &err);
        if (!fail_nth_disarm())
            break;
        if (status != KAON_ENOMEM && status != KAON_EIO)
            fail_msg("%s failed and the status was %s", fail_nth_name(),
                     kaon_status_name(status));
        assert_null(image);
        assert_int_equal(err.status, status);
        assert_true(strlen(err.text) > 10);
    }
    /* One name, seven arrays of tables, and so on. */
    assert_true(nth > 12);
    assert_non_null(image);
    kaon_image_destroy(image);
    remove_place(&place);
    free(file);
}

/* Symbols are read when somebody first asks. */
static void without_memory_an_address_has_no_name_for_now(void **state)
{
    static const struct elf_symbol symbols[] = {
        { "one", ELF_TEXT, 16, STT_FUNC },
    };
    struct kaon_image *image = image_of(
        elf_build(&(struct elf_spec){ .symbols = symbols, .symbol_count = 1 }));

    (void)state;
    fail_nth_arm(1);
    assert_null(kaon_image_symbol(image, ELF_TEXT, NULL));
    assert_true(fail_nth_disarm());
    assert_string_equal(where(image, ELF_TEXT + 1), "one+1");
    kaon_image_destroy(image);
}

static void what_makes_no_file_of_an_image_is_told(void **state)
{
    struct kaon_image *image = heap_image();
    unsigned int nth = 1;
    int fd;

    (void)state;
    for (;; nth++) {
        struct kaon_error err = { 0 };
        enum kaon_status status;

        fail_nth_arm(nth);
        status = kaon__image_show(image, false, &fd, &err);
        if (!fail_nth_disarm())
            break;
        if (!status) /* the seal alone, which older kernels lack */
            break;
        assert_int_equal(status, KAON_ENOMEM);
        assert_non_null(strstr(err.text, "its guest"));
    }
    assert_true(nth > 2);
    assert_int_equal(kaon__image_show(image, false, &fd, NULL), KAON_OK);
    assert_true(fd >= 0);
    kaon_image_destroy(image);
}

static void out_of_descriptors_says_what_to_do(void **state)
{
    struct kaon_image *image = NULL;
    struct kaon_error err = { 0 };

    (void)state;
    fail_nth_arm(1);
    assert_int_equal(kaon_image_open(&image, "/bin/sh", &err), KAON_EIO);
    assert_true(fail_nth_disarm());
    assert_int_equal(err.sys_errno, EMFILE);
    assert_non_null(strstr(err.text, "raise ulimit -n"));
}

/* clang-format off */
TESTS(
    TEST(an_image_lists_its_exports),
    TEST(an_image_lists_its_imports),
    TEST(an_image_lists_its_segments),
    TEST(a_guest_may_have_nothing_but_an_entry),
    TEST(memory_holds_the_segments_and_zeros),
    TEST(memory_cannot_be_written),
    TEST(a_small_image_is_a_file_from_its_second_machine_on),
    TEST(segments_of_one_protection_share_pages_and_regions),
    TEST(segments_come_in_any_order),
    TEST(a_segment_without_memory_is_none),
    TEST(a_huge_bss_costs_no_memory),
    TEST(addresses_have_the_name_of_their_symbol),
    TEST(a_label_reaches_to_the_next_symbol),
    TEST(a_symbol_without_a_usable_name_is_left_out),
    TEST(exports_are_found_by_name),
    TEST_ROW(3, a_wrong_name_has_a_nearest_one),
    TEST(thousands_of_exports_are_told_apart),
    TEST(many_symbols_with_long_names_take_little_time),
    TEST(what_is_null_is_no_crash),
    TEST(an_image_lives_as_long_as_somebody_holds_it),
    TEST(a_file_becomes_an_image_of_its_name),
    TEST_ROW(28, what_is_no_file_is_refused),
    TEST_ROW(27, every_failing_call_is_told_and_leaks_nothing),
    TEST_ROW(27, without_memory_an_address_has_no_name_for_now),
    TEST_ROW(27, what_makes_no_file_of_an_image_is_told),
    TEST_ROW(27, out_of_descriptors_says_what_to_do),
)

/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are no guests, or damaged ones, through the public API. */
#include "e2e/e2e.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A good guest's file, to be damaged, and where damaged ones are written. */
struct bench {
    unsigned char *bytes;
    size_t size;
    char directory[64];
    char path[96];
};

static void bench_open(struct bench *bench)
{
    FILE *file = fopen(harness_guest("echo"), "re");
    long size;

    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    assert_true(size > (long)sizeof(Elf64_Ehdr));
    bench->size = (size_t)size;
    bench->bytes = malloc(bench->size);
    assert_non_null(bench->bytes);
    assert_int_equal(fread(bench->bytes, 1, bench->size, file), bench->size);
    fclose(file);
    strcpy(bench->directory, "/tmp/kaon-test-XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    snprintf(bench->path, sizeof bench->path, "%s/guest.elf", bench->directory);
}

static void bench_close(struct bench *bench)
{
    unlink(bench->path);
    rmdir(bench->directory);
    free(bench->bytes);
}

static void write_file(struct bench *bench, const void *bytes, size_t size)
{
    int fd = open(bench->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

/* From the file and from memory: the same refusal, in a sentence. */
static void assert_bad(struct bench *bench, const void *bytes, size_t size,
                       const char *words)
{
    struct kaon_image *image = (struct kaon_image *)bench;
    struct kaon_error err = { 0 };

    write_file(bench, bytes, size);
    ASSERT_REFUSED(KAON_EIMAGE, words,
                   kaon_image_open(&image, bench->path, &err));
    ASSERT_CONTAINS(err.text, "guest.elf");
    ASSERT_REFUSED(KAON_EIMAGE, words,
                   kaon_image_parse(&image, bytes, size, &err));
    assert_ptr_equal(image, bench); /* untouched */
}

static Elf64_Ehdr *header_of(unsigned char *bytes)
{
    return (Elf64_Ehdr *)(void *)bytes;
}

static Elf64_Phdr *loads_of(unsigned char *bytes)
{
    return (Elf64_Phdr *)(void *)(bytes + header_of(bytes)->e_phoff);
}

/* Damages a copy and has it refused. */
static void check(struct bench *bench, void (*damage)(unsigned char *bytes),
                  const char *words)
{
    unsigned char *copy = malloc(bench->size);

    assert_non_null(copy);
    memcpy(copy, bench->bytes, bench->size);
    damage(copy);
    assert_bad(bench, copy, bench->size, words);
    free(copy);
}

static void files_that_are_no_elf_are_refused(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_bad(&bench, "", 0, "empty");
    assert_bad(&bench, "\x7f", 1, "not an ELF");
    assert_bad(&bench, "#!/bin/sh\nexit 0\n", 17, "not an ELF");
    assert_bad(&bench,
               "\x7f"
               "ELF",
               4, "truncated");
    bench_close(&bench);
}

static void things_that_are_no_files_are_refused(void **state)
{
    struct kaon_image *image;
    struct kaon_error err = { 0 };
    struct bench bench;

    (void)state;
    bench_open(&bench);
    ASSERT_REFUSED(KAON_EIO, "guest.elf",
                   kaon_image_open(&image, bench.path, &err));
    assert_int_equal(err.sys_errno, ENOENT);
    ASSERT_REFUSED(KAON_EIO, "directory",
                   kaon_image_open(&image, bench.directory, &err));
    ASSERT_REFUSED(KAON_EIO, "not a regular file",
                   kaon_image_open(&image, "/dev/null", &err));
    ASSERT_REFUSED(KAON_EIO, NULL, kaon_image_open(&image, "", &err));
    assert_int_equal(mkfifo(bench.path, 0600), 0);
    ASSERT_REFUSED(KAON_EIO, "not a regular file",
                   kaon_image_open(&image, bench.path, &err));
    bench_close(&bench);
}

/* The test itself: an ELF of this machine, but linked like any program. */
static void a_program_of_the_host_is_no_guest(void **state)
{
    struct kaon_image *image;
    struct kaon_error err = { 0 };

    (void)state;
    ASSERT_REFUSED(KAON_EIMAGE, "link it",
                   kaon_image_open(&image, "/proc/self/exe", &err));
}

static void a_truncated_guest_is_refused_wherever_it_ends(void **state)
{
    struct kaon_image *image = NULL;
    struct kaon_error err = { 0 };
    struct bench bench;

    (void)state;
    bench_open(&bench);
    for (size_t size = 0; size < bench.size;
         size += size < 1024 ? 1 : 101 * harness_slowness())
        ASSERT_REFUSED(KAON_EIMAGE, NULL,
                       kaon_image_parse(&image, bench.bytes, size, &err));
    assert_bad(&bench, bench.bytes, bench.size - 1, NULL);
    assert_bad(&bench, bench.bytes, bench.size / 2, NULL);
    assert_bad(&bench, bench.bytes, sizeof(Elf64_Ehdr), NULL);
    assert_null(image);
    bench_close(&bench);
}

static void make_32_bit(unsigned char *bytes)
{
    bytes[EI_CLASS] = ELFCLASS32;
}

static void make_big_endian(unsigned char *bytes)
{
    bytes[EI_DATA] = ELFDATA2MSB;
}

static void make_arm(unsigned char *bytes)
{
    header_of(bytes)->e_machine = EM_AARCH64;
}

static void make_shared(unsigned char *bytes)
{
    header_of(bytes)->e_type = ET_DYN;
}

static void make_object(unsigned char *bytes)
{
    header_of(bytes)->e_type = ET_REL;
}

static void make_core(unsigned char *bytes)
{
    header_of(bytes)->e_type = ET_CORE;
}

static void wrong_classes_machines_and_types_are_refused(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    check(&bench, make_32_bit, "64-bit");
    check(&bench, make_big_endian, "little-endian");
    check(&bench, make_arm, "x86-64");
    check(&bench, make_shared, "position-independent");
    check(&bench, make_object, "object file");
    check(&bench, make_core, "no executable");
    bench_close(&bench);
}

static void overlap_segments(unsigned char *bytes)
{
    loads_of(bytes)[1].p_vaddr = loads_of(bytes)[0].p_vaddr + 64;
    loads_of(bytes)[1].p_flags = loads_of(bytes)[0].p_flags;
}

static void mix_protections_on_a_page(unsigned char *bytes)
{
    loads_of(bytes)[1].p_vaddr =
        loads_of(bytes)[0].p_vaddr + loads_of(bytes)[0].p_memsz;
}

static void put_segment_at_zero(unsigned char *bytes)
{
    loads_of(bytes)[0].p_vaddr = 0;
}

static void put_segment_above(unsigned char *bytes)
{
    loads_of(bytes)[2].p_vaddr = UINT64_C(0x7ffffffff000);
}

static void wrap_segment(unsigned char *bytes)
{
    loads_of(bytes)[2].p_memsz = UINT64_MAX - 4096;
}

static void make_segment_huge(unsigned char *bytes)
{
    loads_of(bytes)[2].p_memsz = UINT64_C(1) << 40;
}

static void reach_past_the_file(unsigned char *bytes)
{
    loads_of(bytes)[0].p_offset = UINT64_MAX - 16;
}

static void make_writable_text(unsigned char *bytes)
{
    loads_of(bytes)[0].p_flags |= PF_W;
}

static void shrink_memory(unsigned char *bytes)
{
    loads_of(bytes)[0].p_memsz = 1;
}

static void segments_that_cannot_be_are_refused(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    check(&bench, overlap_segments, "overlapping");
    check(&bench, mix_protections_on_a_page, "different protection");
    check(&bench, put_segment_at_zero, "outside of");
    check(&bench, put_segment_above, "outside of");
    check(&bench, wrap_segment, "outside of");
    check(&bench, make_segment_huge, "MiB");
    check(&bench, reach_past_the_file, "past the end");
    check(&bench, make_writable_text, "writable and executable");
    check(&bench, shrink_memory, "larger in the file");
    bench_close(&bench);
}

static void forget_sections(unsigned char *bytes)
{
    header_of(bytes)->e_shnum = 0;
}

static void misplace_sections(unsigned char *bytes)
{
    header_of(bytes)->e_shoff = UINT64_MAX - 64;
}

static void misname_sections(unsigned char *bytes)
{
    header_of(bytes)->e_shstrndx = 0;
}

static void bad_sections_are_refused(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    check(&bench, forget_sections, "kaon_info");
    check(&bench, misplace_sections, "section");
    check(&bench, misname_sections, "section names");
    bench_close(&bench);
}

/* Finds kaon_info by its magic number: it stands there once. */
static struct kaon_guest_info *info_of(unsigned char *bytes, size_t size)
{
    const uint64_t magic = KAON_INFO_MAGIC;
    struct kaon_guest_info *found = NULL;

    for (size_t i = 0; i + sizeof *found <= size; i += 8)
        if (memcmp(bytes + i, &magic, sizeof magic) == 0)
            found = (struct kaon_guest_info *)(void *)(bytes + i);
    assert_non_null(found);
    return found;
}

static void another_abi_is_refused_with_both_versions(void **state)
{
    struct kaon_image *image;
    struct kaon_error err = { 0 };
    struct bench bench;

    (void)state;
    bench_open(&bench);
    info_of(bench.bytes, bench.size)->abi_version = 4711;
    write_file(&bench, bench.bytes, bench.size);
    ASSERT_REFUSED(KAON_EABI, "4711",
                   kaon_image_open(&image, bench.path, &err));
    ASSERT_CONTAINS(err.text, "1");
    ASSERT_CONTAINS(err.text, "guest.elf");
    bench_close(&bench);
}

/* Whatever a byte becomes: refused, or a guest that ends in an outcome. */
static void a_guest_with_any_byte_changed_does_no_harm(void **state)
{
    uint32_t seed = 28;
    unsigned int good = 0;
    struct bench bench;

    (void)state;
    bench_open(&bench);
    for (unsigned int i = 0; i < e2e_scaled(1500); i++) {
        struct kaon_image *image;
        struct kaon_sandbox *sandbox;
        struct kaon_error err = { 0 };
        struct kaon_outcome out;
        unsigned char *byte, old;

        seed = seed * 1664525 + 1013904223;
        byte = &bench.bytes[(uint64_t)seed * bench.size >> 32];
        old = *byte;
        *byte = (unsigned char)(old ^ (1u << (seed >> 8) % 8));
        if (kaon_image_parse(&image, bench.bytes, bench.size, &err)) {
            assert_true(err.status == KAON_EIMAGE || err.status == KAON_EABI);
            assert_true(strlen(err.text) > 8);
        } else {
            if (kaon_sandbox_create(&sandbox, image, NULL, &err) == KAON_OK) {
                enum kaon_status status = kaon_call(
                    sandbox, &out, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)),
                    KAON_CALL_OPTS(.deadline_ns = 50 * MILLISECOND), &err);

                assert_true(status == KAON_OK || status == KAON_ENOFUNC ||
                            status == KAON_EARGS);
                good += !status;
                kaon_sandbox_destroy(sandbox);
            }
            kaon_image_destroy(image);
        }
        *byte = old;
    }
    assert_true(good > 0);
    bench_close(&bench);
}

static void a_file_may_change_once_it_is_read(void **state)
{
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_error err = { 0 };
    struct bench bench;

    (void)state;
    bench_open(&bench);
    write_file(&bench, bench.bytes, bench.size);
    ASSERT_OK(kaon_image_open(&image, bench.path, &err));
    write_file(&bench, "", 0);
    unlink(bench.path);
    memset(bench.bytes, 0xcc, bench.size);
    ASSERT_OK(kaon_sandbox_create(&sandbox, image, NULL, &err));
    kaon_image_destroy(image);
    ASSERT_RETURNS(3, sandbox, "add", KAON_ARGS(kaon_i32(1), kaon_i32(2)));
    kaon_sandbox_destroy(sandbox);
    bench_close(&bench);
}

TESTS_NEED_KVM(TEST_ROW(28, files_that_are_no_elf_are_refused),
               TEST_ROW(28, things_that_are_no_files_are_refused),
               TEST_ROW(28, a_program_of_the_host_is_no_guest),
               TEST_ROW(28, a_truncated_guest_is_refused_wherever_it_ends),
               TEST_ROW(28, wrong_classes_machines_and_types_are_refused),
               TEST_ROW(28, segments_that_cannot_be_are_refused),
               TEST_ROW(28, bad_sections_are_refused),
               TEST_ROW(28, another_abi_is_refused_with_both_versions),
               TEST_ROW(28, a_guest_with_any_byte_changed_does_no_harm),
               TEST_ROW(28, a_file_may_change_once_it_is_read))

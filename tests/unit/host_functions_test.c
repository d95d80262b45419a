/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of host functions: built, fixed, resolved against a guest's imports. */
#include "host/host_functions.h"

#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int does_nothing(struct kaon_host_call *call,
                        const struct kaon_value *args,
                        struct kaon_value *result, void *user)
{
    (void)call;
    (void)args;
    (void)result;
    (void)user;
    return 0;
}

static struct kaon_host_functions *make_set(void)
{
    struct kaon_host_functions *set;
    struct kaon_error err;

    if (kaon_host_functions_create(&set, &err))
        fail_msg("%s", err.text);
    return set;
}

static enum kaon_status add(struct kaon_host_functions *set, const char *name,
                            struct kaon_error *err)
{
    return kaon_host_functions_add(set, name, KAON_TYPE_VOID, KAON_NO_PARAMS,
                                   does_nothing, NULL, err);
}

static void expect_refused(enum kaon_status status,
                           const struct kaon_error *err, const char *words)
{
    assert_int_equal(status, KAON_EINVAL);
    play_words(err->text, words);
}

static void a_new_set_can_print(void **state)
{
    struct kaon_host_functions *set = make_set();
    const struct kaon_host_entry *entry =
        kaon__host_functions_find(set, "HostPrint");

    (void)state;
    assert_non_null(entry);
    assert_int_equal(entry->signature.result, KAON_TYPE_I32);
    assert_int_equal(entry->signature.count, 1);
    assert_int_equal(entry->signature.params[0], KAON_TYPE_STRING);
    assert_null(kaon__host_functions_find(set, "hostprint"));
    kaon_host_functions_destroy(set);
    kaon_host_functions_destroy(NULL);
}

static void functions_are_found_in_any_order(void **state)
{
    struct kaon_host_functions *set = make_set();
    struct kaon_error err;
    char name[16];

    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "f%u", i * 211 % 500);
        if (add(set, name, &err))
            fail_msg("%s", err.text);
    }
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "f%u", i);
        assert_string_equal(kaon__host_functions_find(set, name)->name, name);
    }
    assert_null(kaon__host_functions_find(set, ""));
    assert_null(kaon__host_functions_find(set, "f"));
    assert_null(kaon__host_functions_find(set, "f500"));
    assert_null(kaon__host_functions_find(set, "zzz"));
    kaon_host_functions_destroy(set);
}

static void what_is_wrong_is_not_added(void **state)
{
    struct kaon_host_functions *set = make_set();
    const uint32_t types[KAON_PARAMS_MAX + 1] = { KAON_TYPE_I32 };
    const uint32_t none[2] = { KAON_TYPE_I32, KAON_TYPE_VOID };
    const uint32_t unknown[1] = { KAON_TYPE_COUNT };
    char name[KAON_NAME_MAX + 2];
    struct kaon_error err;

    (void)state;
#define ADD(set, name, result, params, count, function)                       \
    kaon_host_functions_add(set, name, result, params, count, function, NULL, \
                            &err)
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    expect_refused(ADD(NULL, "f", 0, NULL, 0, does_nothing), &err, "NULL");
    expect_refused(ADD(set, NULL, 0, NULL, 0, does_nothing), &err, "NULL");
    expect_refused(ADD(set, "f", 0, NULL, 0, NULL), &err, "NULL");
    expect_refused(ADD(set, "f", 0, NULL, 1, does_nothing), &err, "NULL");
    expect_refused(ADD(set, "", 0, NULL, 0, does_nothing), &err, "1 to 127");
    expect_refused(ADD(set, name, 0, NULL, 0, does_nothing), &err, "1 to 127");
    expect_refused(ADD(set, "f", 0, types, KAON_PARAMS_MAX + 1, does_nothing),
                   &err, "at most 16");
    expect_refused(ADD(set, "f", 0, types, SIZE_MAX, does_nothing), &err,
                   "at most 16");
    expect_refused(ADD(set, "f", KAON_TYPE_COUNT, NULL, 0, does_nothing), &err,
                   "the result of f has no type");
    expect_refused(ADD(set, "f", 0, none, 2, does_nothing), &err,
                   "parameter 2 of f has no type");
    expect_refused(ADD(set, "f", 0, unknown, 1, does_nothing), &err,
                   "parameter 1 of f has no type");
    name[KAON_NAME_MAX] = '\0';
    assert_int_equal(ADD(set, name, 0, NULL, 0, does_nothing), KAON_OK);
#undef ADD
    assert_int_equal(kaon_host_functions_create(NULL, &err), KAON_EINVAL);
    assert_int_equal(kaon_host_functions_print(NULL, NULL, NULL, &err),
                     KAON_EINVAL);
    kaon_host_functions_destroy(set);
}

static void a_name_is_added_once(void **state)
{
    struct kaon_host_functions *set = make_set();
    struct kaon_error err;

    (void)state;
    assert_int_equal(add(set, "now", &err), KAON_OK);
    expect_refused(add(set, "now", &err), &err, "now already");
    expect_refused(add(set, "HostPrint", &err), &err,
                   "kaon_host_functions_print()");
    kaon_host_functions_destroy(set);
}

static void a_set_in_use_is_fixed(void **state)
{
    struct kaon_host_functions *set = make_set(), *same;
    struct kaon_error err;

    (void)state;
    assert_int_equal(kaon__host_functions_use(&same, set, &err), KAON_OK);
    assert_ptr_equal(same, set);
    expect_refused(add(set, "late", &err), &err, "uses the set already");
    expect_refused(kaon_host_functions_print(set, NULL, NULL, &err), &err,
                   "uses the set already");
    kaon_host_functions_destroy(set);
    assert_non_null(kaon__host_functions_find(same, "HostPrint"));
    kaon_host_functions_destroy(same);
}

static void without_a_set_there_is_print_alone(void **state)
{
    struct kaon_host_functions *set;

    (void)state;
    assert_int_equal(kaon__host_functions_use(&set, NULL, NULL), KAON_OK);
    assert_int_equal(set->count, 1);
    assert_non_null(kaon__host_functions_find(set, "HostPrint"));
    kaon_host_functions_destroy(set);
}

/* ---- Prints ------------------------------------------------------------ */

static int32_t print(struct kaon_host_functions *set, const char *text)
{
    const struct kaon_host_entry *entry =
        kaon__host_functions_find(set, "HostPrint");
    const struct kaon_value arg = kaon_string(text);
    struct kaon_value result = kaon_void();

    assert_int_equal(entry->function(NULL, &arg, &result, entry->user), 0);
    assert_int_equal(result.type, KAON_TYPE_I32);
    return result.i32;
}

static int32_t count_calls(const char *text, size_t size, void *user)
{
    (void)text;
    *(int *)user += 1;
    return -(int32_t)size;
}

static void prints_go_where_they_are_directed(void **state)
{
    struct kaon_host_functions *set = make_set();
    int calls = 0;

    (void)state;
    assert_int_equal(kaon_host_functions_print(set, count_calls, &calls, NULL),
                     KAON_OK);
    assert_int_equal(print(set, "four"), -4);
    assert_int_equal(calls, 1);
    assert_int_equal(kaon_host_functions_print(set, NULL, NULL, NULL), KAON_OK);
    assert_int_equal(print(set, "dropped"), 7);
    assert_int_equal(calls, 1);
    kaon_host_functions_destroy(set);
}

/* ---- Imports ----------------------------------------------------------- */

static enum kaon_status resolve(struct kaon_host_functions *set,
                                const struct elf_function *imports,
                                uint32_t count, struct kaon_error *err)
{
    static const struct elf_function export = { .name = "nothing" };
    struct elf_file *file = elf_build(&(struct elf_spec){
        .exports = &export,
        .export_count = 1,
        .imports = imports,
        .import_count = count,
    });
    const struct kaon_host_entry *entries[8] = { 0 };
    struct kaon_image *image;
    enum kaon_status status;

    if (kaon_image_parse(&image, file->bytes, file->size, err))
        fail_msg("%s", err->text);
    status = kaon__host_functions_resolve(set, image, entries, err);
    for (uint32_t i = 0; !status && i < count; i++)
        assert_string_equal(entries[i]->name, imports[i].name);
    kaon_image_destroy(image);
    free(file);
    return status;
}

static void imports_are_resolved_by_index(void **state)
{
    static const struct elf_function imports[] = {
        { "now", KAON_TYPE_VOID, 0, { 0 } },
        { "HostPrint", KAON_TYPE_I32, 1, { KAON_TYPE_STRING } },
        { "early", KAON_TYPE_VOID, 0, { 0 } },
    };
    struct kaon_host_functions *set = make_set();
    struct kaon_error err;

    (void)state;
    assert_int_equal(add(set, "now", &err), KAON_OK);
    assert_int_equal(add(set, "early", &err), KAON_OK);
    assert_int_equal(resolve(set, imports, 3, &err), KAON_OK);
    assert_int_equal(resolve(set, NULL, 0, &err), KAON_OK);
    kaon_host_functions_destroy(set);
}

static void all_that_is_missing_is_listed(void **state)
{
    static const struct elf_function imports[] = {
        { "alpha", KAON_TYPE_VOID, 0, { 0 } },
        { "HostPrint", KAON_TYPE_I32, 1, { KAON_TYPE_STRING } },
        { "beta", KAON_TYPE_VOID, 0, { 0 } },
    };
    struct kaon_host_functions *set = make_set();
    struct kaon_error err;

    (void)state;
    assert_int_equal(resolve(set, imports, 3, &err), KAON_EIMPORT);
    play_words(err.text, "guest imports: alpha, beta");
    play_words(err.text, "kaon_host_functions_add()");
    kaon_host_functions_destroy(set);
}

static void a_list_that_is_too_long_is_cut(void **state)
{
    struct kaon_host_functions *set = make_set();
    struct elf_function imports[8] = { 0 };
    char names[8][64];
    struct kaon_error err;

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        memset(names[i], (int)('a' + i), 63);
        names[i][63] = '\0';
        imports[i].name = names[i];
    }
    assert_int_equal(resolve(set, imports, 8, &err), KAON_EIMPORT);
    play_words(err.text, "...");
    play_words(err.text, "kaon_host_functions_add()");
    kaon_host_functions_destroy(set);
}

static void an_import_of_another_type_shows_both(void **state)
{
    static const struct elf_function imports[] = {
        { "HostPrint", KAON_TYPE_VOID, 1, { KAON_TYPE_BYTES } },
    };
    struct kaon_host_functions *set = make_set();
    struct kaon_error err;

    (void)state;
    assert_int_equal(resolve(set, imports, 1, &err), KAON_EIMPORT);
    play_words(err.text, "HostPrint(bytes) -> void");
    play_words(err.text, "HostPrint(string) -> i32");
    kaon_host_functions_destroy(set);
}

/* clang-format off */
TESTS(
    TEST(a_new_set_can_print),
    TEST(functions_are_found_in_any_order),
    TEST(what_is_wrong_is_not_added),
    TEST(a_name_is_added_once),
    TEST(a_set_in_use_is_fixed),
    TEST(without_a_set_there_is_print_alone),
    TEST(prints_go_where_they_are_directed),
    TEST(imports_are_resolved_by_index),
    TEST_ROW(5, all_that_is_missing_is_listed),
    TEST_ROW(5, a_list_that_is_too_long_is_cut),
    TEST_ROW(5, an_import_of_another_type_shows_both),
)

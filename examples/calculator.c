/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every type, as argument and as result.
 *
 *     calculator [guest.elf]
 *
 * Number and types of arguments are checked against what the guest's ELF says
 * before the guest is entered. A guest that fails says so with a code and a
 * text, and can be called again.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <kaon.h>

static void print_value(const struct kaon_value *value)
{
    switch (value->type) {
    case KAON_TYPE_VOID: printf("nothing"); break;
    case KAON_TYPE_I32: printf("%" PRId32, value->i32); break;
    case KAON_TYPE_U32: printf("%#" PRIx32, value->u32); break;
    case KAON_TYPE_I64: printf("%" PRId64, value->i64); break;
    case KAON_TYPE_U64: printf("%" PRIu64, value->u64); break;
    case KAON_TYPE_F32: printf("%.9g", (double)value->f32); break;
    case KAON_TYPE_F64: printf("%.17g", value->f64); break;
    case KAON_TYPE_BOOL: printf(value->boolean ? "true" : "false"); break;
    case KAON_TYPE_STRING: /* crash.c shows how to print it safely */
        printf("\"%s\"", (const char *)value->span.data);
        break;
    case KAON_TYPE_BYTES:
        for (size_t i = 0; i < value->span.size; i++)
            printf("%02x", ((const uint8_t *)value->span.data)[i]);
        break;
    }
}

static void calculate(struct kaon_sandbox *sandbox, const char *function,
                      const struct kaon_value *args, size_t count)
{
    struct kaon_outcome out;
    struct kaon_error err;

    printf("%s: ", function);
    if (kaon_call(sandbox, &out, function, args, count, NULL, &err)) {
        printf("not called: %s\n", err.text);
    } else if (out.kind == KAON_RETURNED) {
        print_value(&out.value);
        printf("\n");
    } else {
        printf("%s, code %" PRId32 ": %s\n", kaon_outcome_name(out.kind),
               out.code, out.text);
    }
}

int main(int argc, char **argv)
{
    const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff }, one[] = { 1 };
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_signature signature;
    struct kaon_error err;
    char path[4096], text[256];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err) ||
        kaon_sandbox_create(&sandbox, image, NULL, &err))
        errx(1, "%s", err.text);

    printf("The guest exports\n");
    for (size_t i = 0; kaon_image_export(image, i, &signature); i++) {
        kaon_signature_format(&signature, text, sizeof text);
        printf("    %s\n", text);
    }

    calculate(sandbox, "add", KAON_ARGS(kaon_i32(2), kaon_i32(-3)));
    calculate(sandbox, "rotate", KAON_ARGS(kaon_u32(0x80000001), kaon_u32(4)));
    calculate(sandbox, "multiply",
              KAON_ARGS(kaon_i64(-3000000000), kaon_i64(3)));
    calculate(sandbox, "gcd", KAON_ARGS(kaon_u64(1071), kaon_u64(462)));
    calculate(sandbox, "half", KAON_ARGS(kaon_f32(0.5f)));
    calculate(sandbox, "divide", KAON_ARGS(kaon_f64(1), kaon_f64(3)));
    calculate(sandbox, "and", KAON_ARGS(kaon_bool(true), kaon_bool(false)));
    calculate(sandbox, "hexadecimal", KAON_ARGS(kaon_string("cafe")));
    calculate(sandbox, "roman", KAON_ARGS(kaon_u32(492)));
    calculate(
        sandbox, "add_long",
        KAON_ARGS(kaon_bytes(huge, sizeof huge), kaon_bytes(one, sizeof one)));
    calculate(sandbox, "store", KAON_ARGS(kaon_f64(1.5)));
    calculate(sandbox, "recall", KAON_NO_ARGS);

    /* The guest fails; then the caller does, and the guest is not entered. */
    calculate(sandbox, "divide", KAON_ARGS(kaon_f64(1), kaon_f64(0)));
    calculate(sandbox, "half", KAON_ARGS(kaon_f64(1)));
    calculate(sandbox, "roma", KAON_ARGS(kaon_u32(492)));

    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

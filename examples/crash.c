/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that crashes, and a host that serves on.
 *
 *     crash [guest.elf]
 *
 * A fault is an outcome like others. It says what happened, where, and how
 * the guest got there; the sandbox is poisoned, and nothing else is.
 */
#include <ctype.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <kaon.h>

/* What a guest says must not drive the terminal. */
static void print_safely(const char *text)
{
    for (; *text; text++)
        putchar(isprint((unsigned char)*text) ? *text : '?');
}

static void print_place(const struct kaon_image *image, uint64_t address)
{
    uint64_t offset;
    const char *symbol = kaon_image_symbol(image, address, &offset);

    printf("    %#" PRIx64, address);
    if (symbol) {
        putchar(' ');
        print_safely(symbol);
        printf("+%#" PRIx64, offset);
    }
    putchar('\n');
}

static void print_fault(const struct kaon_image *image,
                        const struct kaon_fault *fault)
{
    const struct kaon_registers *r = &fault->registers;

    printf("  rax %016" PRIx64 "  rdi %016" PRIx64 "  rsi %016" PRIx64 "\n"
           "  rip %016" PRIx64 "  rsp %016" PRIx64 "  rbp %016" PRIx64 "\n",
           r->rax, r->rdi, r->rsi, r->rip, r->rsp, r->rbp);
    print_place(image, fault->ip);

    /* These are return addresses: the call is the instruction before. */
    for (uint32_t i = 0; i < fault->backtrace_count; i++)
        print_place(image, fault->backtrace[i] - 1);
}

static void print_outcome(const struct kaon_image *image,
                          const struct kaon_outcome *out)
{
    if (out->kind == KAON_RETURNED) {
        printf("%" PRIu32 " words\n", out->value.u32);
        return;
    }
    printf("%s: ", kaon_outcome_name(out->kind));
    print_safely(out->text);
    putchar('\n');
    if (out->kind == KAON_FAULT || out->kind == KAON_STACK_OVERFLOW)
        print_fault(image, &out->fault);
}

static struct kaon_sandbox *create(struct kaon_image *image)
{
    struct kaon_sandbox *sandbox;
    struct kaon_error err;

    if (kaon_sandbox_create(&sandbox, image,
                            KAON_SANDBOX_OPTS(.heap_bytes = 1 << 20), &err))
        errx(1, "%s", err.text);
    return sandbox;
}

int main(int argc, char **argv)
{
    static const struct kaon_span inputs[] = {
        { "\x0b\0\0\0three words", 15 },
        { "\x01", 1 },
        { "\0\0\0\x7fthe length is a lie", 23 },
        { "\x05\0\0\0again", 9 },
    };
    struct kaon_image *image;
    struct kaon_sandbox *sandbox;
    struct kaon_outcome out;
    struct kaon_error err;
    char path[4096];

    snprintf(path, sizeof path, "%s.elf", argv[0]);
    if (kaon_image_open(&image, argc > 1 ? argv[1] : path, &err))
        errx(1, "%s", err.text);
    sandbox = create(image);

    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        if (kaon_call(sandbox, &out, "parse",
                      KAON_ARGS(kaon_bytes(inputs[i].data, inputs[i].size)),
                      KAON_CALL_OPTS(.deadline_ns = 1000000000), &err))
            errx(1, "%s", err.text);
        print_outcome(image, &out);

        if (kaon_sandbox_state(sandbox) == KAON_SANDBOX_POISONED) {
            kaon_sandbox_destroy(sandbox);
            sandbox = create(image);
        }
    }

    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
    return 0;
}

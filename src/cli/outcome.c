/* SPDX-License-Identifier: Apache-2.0 */
/* Tells outcomes. What the guest said goes through text.h and json.h. */
#include "cli/outcome.h"

#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/json.h"
#include "cli/text.h"
#include "cli/value.h"

int outcome_exit(const struct kaon_outcome *outcome)
{
    switch (outcome->kind) {
    case KAON_RETURNED: return EXIT_GOOD;
    case KAON_GUEST_ERROR:
    case KAON_GUEST_REFUSED: return EXIT_GUEST;
    case KAON_ABORT: return EXIT_ABORT;
    case KAON_FAULT:
    case KAON_STACK_OVERFLOW:
    case KAON_PROTOCOL:
    case KAON_OUT_OF_MEMORY: return EXIT_FAULT;
    case KAON_CANCELLED:
    case KAON_DEADLINE:
    case KAON_NOT_RUN: return EXIT_STOPPED;
    }
    return EXIT_HOST;
}

static bool is_fault(const struct kaon_outcome *outcome)
{
    return outcome->kind == KAON_FAULT || outcome->kind == KAON_STACK_OVERFLOW;
}

/* ---- To a person ------------------------------------------------------- */

/* "fail failed with code 7: no such key" */
static void say_words(const struct kaon_outcome *outcome, const char *function,
                      const char *did)
{
    text_put(stderr, function);
    fprintf(stderr, " %s %" PRId32 "%s", did, outcome->code,
            outcome->text[0] ? ": " : "");
    text_put(stderr, outcome->text);
}

static void say_place(uint64_t address, const char *symbol, uint64_t offset)
{
    fprintf(stderr, "  %#018" PRIx64 "  ", address);
    if (symbol) {
        text_put(stderr, symbol);
        fprintf(stderr, "+%#" PRIx64, offset);
    }
    fputc('\n', stderr);
}

/* A return address may be the first byte of the next function. */
static const char *caller(const struct kaon_image *image, uint64_t address,
                          uint64_t *offset)
{
    const char *symbol = kaon_image_symbol(image, address - 1, offset);

    ++*offset;
    return symbol;
}

static void say_backtrace(const struct kaon_fault *fault,
                          const struct kaon_image *image)
{
    fputs("backtrace:\n", stderr);
    say_place(fault->ip, fault->symbol, fault->symbol_offset);
    for (uint32_t i = 0; i < fault->backtrace_count; i++) {
        uint64_t offset = 0;
        const char *symbol = caller(image, fault->backtrace[i], &offset);

        say_place(fault->backtrace[i], symbol, offset);
    }
}

/* Names and values of the registers, in the order people expect. */
#define REGISTER(name)                               \
    {                                                \
#name, offsetof(struct kaon_registers, name) \
    }
static const struct {
    const char *name;
    size_t offset;
} registers[] = {
    REGISTER(rax), REGISTER(rbx),    REGISTER(rcx), REGISTER(rdx),
    REGISTER(rsi), REGISTER(rdi),    REGISTER(rbp), REGISTER(rsp),
    REGISTER(r8),  REGISTER(r9),     REGISTER(r10), REGISTER(r11),
    REGISTER(r12), REGISTER(r13),    REGISTER(r14), REGISTER(r15),
    REGISTER(rip), REGISTER(rflags),
};
#define REGISTERS (sizeof registers / sizeof registers[0])

static uint64_t register_value(const struct kaon_fault *fault, size_t index)
{
    uint64_t value;

    memcpy(&value, (const char *)&fault->registers + registers[index].offset,
           sizeof value);
    return value;
}

static void say_registers(const struct kaon_fault *fault)
{
    fputs("registers:\n", stderr);
    for (size_t i = 0; i < REGISTERS; i++)
        fprintf(stderr, "  %-6s %016" PRIx64 "%s", registers[i].name,
                register_value(fault, i),
                i % 3 == 2 || i + 1 == REGISTERS ? "\n" : "");
}

void outcome_say(const char *name, const struct kaon_outcome *outcome,
                 const char *function, const struct kaon_image *image,
                 bool verbose)
{
    fprintf(stderr, "kaon %s: ", name);
    switch (outcome->kind) {
    case KAON_GUEST_ERROR:
        say_words(outcome, function, "failed with code");
        break;
    case KAON_GUEST_REFUSED:
        say_words(outcome, function, "was refused by the guest with code");
        break;
    case KAON_ABORT:
        say_words(outcome, function, "aborted the guest with code");
        break;
    default: text_put(stderr, outcome->text); break;
    }
    fputc('\n', stderr);
    if (verbose && is_fault(outcome)) {
        say_registers(&outcome->fault);
        say_backtrace(&outcome->fault, image);
    }
}

/* ---- To a program ------------------------------------------------------ */

static void place_json(struct json *json, const char *key, uint64_t address,
                       const char *symbol, uint64_t offset)
{
    json_object(json, key);
    json_address(json, "address", address);
    if (symbol) {
        json_text(json, "symbol", "symbol_hex", symbol, strlen(symbol));
        json_unsigned(json, "offset", offset);
    }
    json_object_end(json);
}

static const char *access_name(enum kaon_access access)
{
    switch (access) {
    case KAON_ACCESS_READ: return "read";
    case KAON_ACCESS_WRITE: return "write";
    case KAON_ACCESS_EXECUTE: return "execute";
    case KAON_ACCESS_NONE: break;
    }
    return "none";
}

static void fault_json(struct json *json, const struct kaon_fault *fault,
                       const struct kaon_image *image)
{
    json_object(json, "fault");
    json_string(json, "kind", kaon_fault_name(fault->kind));
    json_string(json, "access", access_name(fault->access));
    if (fault->access != KAON_ACCESS_NONE)
        json_address(json, "address", fault->address);
    place_json(json, "at", fault->ip, fault->symbol, fault->symbol_offset);
    json_unsigned(json, "vector", fault->vector);
    json_unsigned(json, "error_code", fault->error_code);
    json_object(json, "registers");
    for (size_t i = 0; i < REGISTERS; i++)
        json_address(json, registers[i].name, register_value(fault, i));
    json_object_end(json);
    json_array(json, "backtrace");
    for (uint32_t i = 0; i < fault->backtrace_count; i++) {
        uint64_t offset = 0;
        const char *symbol = caller(image, fault->backtrace[i], &offset);

        place_json(json, NULL, fault->backtrace[i], symbol, offset);
    }
    json_array_end(json);
    json_object_end(json);
}

static bool has_code(const struct kaon_outcome *outcome)
{
    return outcome->kind == KAON_GUEST_ERROR ||
           outcome->kind == KAON_GUEST_REFUSED || outcome->kind == KAON_ABORT;
}

void outcome_json(const struct kaon_outcome *outcome,
                  const struct kaon_image *image, const char *backend)
{
    struct json json = { .out = stdout };

    json_object(&json, NULL);
    json_string(&json, "status", kaon_status_name(KAON_OK));
    json_string(&json, "backend", backend);
    json_string(&json, "outcome", kaon_outcome_name(outcome->kind));
    if (outcome->kind == KAON_RETURNED) {
        value_json(&json, &outcome->value);
    } else {
        if (has_code(outcome))
            json_signed(&json, "code", outcome->code);
        json_text(&json, "text", "text_hex", outcome->text,
                  strlen(outcome->text));
    }
    if (is_fault(outcome))
        fault_json(&json, &outcome->fault, image);
    json_object_end(&json);
    putchar('\n');
}

void failure_json(const struct kaon_error *err)
{
    struct json json = { .out = stdout };

    json_object(&json, NULL);
    json_string(&json, "status", kaon_status_name(err->status));
    json_text(&json, "text", "text_hex", err->text, strlen(err->text));
    json_object_end(&json);
    putchar('\n');
}

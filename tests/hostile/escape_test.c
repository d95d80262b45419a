/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that try to get at the system around them. Every way into a kernel
 * must be a fault, at the instruction, and have no effect; under a hypervisor
 * there is no kernel, in a process all of its doors are shut.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stage.h"
#include "support/harness.h"
#include "support/processes.h"

#define NUMBERS 600 /* more than any kernel has */
#define X32 UINT64_C(0x40000000)
#define CONTROL (KAON_GATE_ADDRESS + 0x1000) /* in a process */

static uint64_t ask(struct stage *stage, const char *function,
                    const struct kaon_value *args, size_t count)
{
    struct kaon_sandbox *sandbox = stage_sandbox(stage);
    struct kaon_outcome out;

    stage_call(sandbox, &out, function, args, count);
    assert_int_equal(out.kind, KAON_RETURNED);
    kaon_sandbox_destroy(sandbox);
    return out.value.u64;
}

/* In a sandbox of its own: what becomes of going there. */
static void go(struct stage *stage, struct kaon_outcome *out, uint64_t place,
               uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    stage_try(stage, out, "go",
              KAON_ARGS(kaon_u64(place), kaon_u64(number), kaon_u64(a),
                        kaon_u64(b), kaon_u64(c), kaon_u64(d)));
}

/*
 * Kernels let uprobe() pass all filters, to say that it is not for this
 * caller (ENXIO) and nothing else.
 */
#define UPROBE 336

static bool is_uprobe(const struct kaon_outcome *out, uint64_t number)
{
    return isolation_is_process() && number == UPROBE &&
           out->kind == KAON_RETURNED && out->value.u64 == (uint64_t)-ENXIO;
}

static void assert_shut(const struct kaon_outcome *out, uint64_t number,
                        enum kaon_fault_kind kind, uint64_t ip)
{
    if (is_uprobe(out, number))
        return;
    if (kind == KAON_FAULT_PROTECTION && out->fault.kind == KAON_FAULT_OPCODE &&
        !isolation_is_process())
        kind = KAON_FAULT_OPCODE; /* what PVM makes of int 0x80 */
    if (out->kind != KAON_FAULT || out->fault.kind != kind ||
        out->fault.ip != ip)
        fail_msg("number %llu: %s: %s", (unsigned long long)number,
                 kaon_outcome_name(out->kind), out->text);
}

/* ---- The guest's own instructions -------------------------------------- */

static void every_system_call_is_an_invalid_opcode(void **state)
{
    struct kaon_outcome out;
    struct stage stage;
    uint64_t place, room;

    (void)state;
    stage_open(&stage, "hostile_escape");
    place = ask(&stage, "place_of", KAON_ARGS(kaon_u32(0)));
    room = ask(&stage, "place_of", KAON_ARGS(kaon_u32(3)));
    for (uint64_t n = 0; n <= NUMBERS; n++) {
        go(&stage, &out, place, n, 0, 0, 0, 0);
        assert_shut(&out, n, KAON_FAULT_OPCODE, place);
        go(&stage, &out, place, n, room, room, 4096, 1);
        assert_shut(&out, n, KAON_FAULT_OPCODE, place);
        go(&stage, &out, place, X32 + n, room, room, 1, 1);
        assert_shut(&out, n, KAON_FAULT_OPCODE, place);
    }
    for (int bit = 10; bit < 64; bit++) {
        go(&stage, &out, place, SYS_getpid + (UINT64_C(1) << bit), 0, 0, 0, 0);
        assert_shut(&out, (uint64_t)bit, KAON_FAULT_OPCODE, place);
    }
    stage_close(&stage);
}

static void every_old_system_call_is_a_protection_fault(void **state)
{
    struct kaon_outcome out;
    struct stage stage;
    uint64_t place, room;

    (void)state;
    stage_open(&stage, "hostile_escape");
    place = ask(&stage, "place_of", KAON_ARGS(kaon_u32(1)));
    room = ask(&stage, "place_of", KAON_ARGS(kaon_u32(3)));
    for (uint64_t n = 0; n <= 450; n++) {
        go(&stage, &out, place, n, 0, 0, 0, 0);
        assert_shut(&out, n, KAON_FAULT_PROTECTION, place);
        go(&stage, &out, place, n, room, room, 4096, 1);
        assert_shut(&out, n, KAON_FAULT_PROTECTION, place);
    }
    stage_close(&stage);
}

/* Where it comes out is the kernel's choice; that it does not get in, ours. */
static void every_sysenter_is_some_fault(void **state)
{
    struct kaon_outcome out;
    struct stage stage;
    uint64_t place;

    (void)state;
    stage_open(&stage, "hostile_escape");
    place = ask(&stage, "place_of", KAON_ARGS(kaon_u32(2)));
    for (uint64_t n = 0; n <= 450; n++) {
        go(&stage, &out, place, n, 0, 0, 0, 0);
        if (out.kind != KAON_FAULT)
            fail_msg("number %llu: %s: %s", (unsigned long long)n,
                     kaon_outcome_name(out.kind), out.text);
    }
    stage_close(&stage);
}

static void the_old_time_calls_are_faults(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_escape");
    for (uint64_t at = 0; at < 4096; at += 1024) {
        go(&stage, &out, UINT64_C(0xffffffffff600000) + at, 0, 0, 0, 0, 0);
        assert_int_equal(out.kind, KAON_FAULT);
    }
    stage_close(&stage);
}

/* ---- With arguments that would hurt ------------------------------------ */

static void what_would_hurt_has_no_effect(void **state)
{
    static const char file[] = "/tmp/kaon-escaped";
    const uint64_t host = (uint64_t)getpid();
    struct stage stage;
    uint64_t place, name;

    (void)state;
    stage_open(&stage, "hostile_escape");
    place = ask(&stage, "place_of", KAON_ARGS(kaon_u32(0)));
    name = ask(&stage, "keep", KAON_ARGS(kaon_bytes(file, sizeof file)));
    const uint64_t calls[][5] = {
        { SYS_kill, host, SIGKILL },
        { SYS_tgkill, host, host, SIGKILL },
        { SYS_rt_sigqueueinfo, host, SIGKILL, name },
        { SYS_ptrace, 16 /* attach */, host },
        { SYS_process_vm_readv, host, name, 1, name },
        { SYS_process_vm_writev, host, name, 1, name },
        { SYS_pidfd_open, host, 0 },
        { SYS_open, name, O_CREAT | O_WRONLY, 0600 },
        { SYS_openat, (uint64_t)AT_FDCWD, name, O_CREAT | O_WRONLY, 0600 },
        { SYS_creat, name, 0600 },
        { SYS_mkdir, name, 0700 },
        { SYS_execve, name, 0, 0 },
        { SYS_execveat, 0, name, 0, 0 },
        { SYS_fork },
        { SYS_vfork },
        { SYS_clone, SIGCHLD },
        { SYS_clone3, name, 88 },
        { SYS_mmap, 0, 4096, 7, 0x22 },
        { SYS_mprotect, name, 4096, 7 },
        { SYS_pkey_mprotect, name, 4096, 7, 0 },
        { SYS_mremap, name, 4096, 8192, 1 },
        { SYS_memfd_create, name, 0 },
        { SYS_socket, 1, 1, 0 },
        { SYS_socketpair, 1, 1, 0, name },
        { SYS_pipe, name },
        { SYS_prctl, 22 /* seccomp */, 0 },
        { SYS_seccomp, 1, 0, name },
        { SYS_arch_prctl, 0x1002, name },
        { SYS_rt_sigaction, SIGSEGV, name, 0, 8 },
        { SYS_rt_sigprocmask, 0, name, 0, 8 },
        { SYS_rt_sigreturn },
        { SYS_sigaltstack, name, 0 },
        { SYS_futex, name, 0, 0, 0 },
        { SYS_futex, CONTROL, 0, 0, 0 },
        { SYS_setrlimit, 7, name },
        { SYS_unshare, 0x10000000 },
        { SYS_setns, 0, 0 },
        { SYS_io_uring_setup, 8, name },
        { SYS_bpf, 0, name, 64 },
        { SYS_userfaultfd, 1 },
        { SYS_perf_event_open, name, 0, ~UINT64_C(0), ~UINT64_C(0) },
        { SYS_modify_ldt, 1, name, 16 },
        { SYS_restart_syscall },
        { SYS_exit, 0 },
        { SYS_exit_group, 0 },
    };

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct kaon_sandbox *sandbox = stage_sandbox(&stage);
        const uint64_t *call = calls[i];
        struct kaon_outcome out;

        stage_call(sandbox, &out, "keep",
                   KAON_ARGS(kaon_bytes(file, sizeof file)));
        stage_call(sandbox, &out, "go",
                   KAON_ARGS(kaon_u64(place), kaon_u64(call[0]),
                             kaon_u64(call[1]), kaon_u64(call[2]),
                             kaon_u64(call[3]), kaon_u64(call[4])));
        assert_shut(&out, call[0], KAON_FAULT_OPCODE, place);
        stage_check(&stage);
        kaon_sandbox_destroy(sandbox);
        assert_int_not_equal(access(file, F_OK), 0);
    }
    stage_close(&stage);
}

static void the_hosts_memory_is_not_there(void **state)
{
    void *heap = malloc(64);
    const uint64_t places[] = {
        (uint64_t)(uintptr_t)&heap,
        (uint64_t)(uintptr_t)heap,
        (uint64_t)(uintptr_t)getpid,
        (uint64_t)(uintptr_t)kaon_call,
        (uint64_t)(uintptr_t)the_hosts_memory_is_not_there,
    };
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    stage_open(&stage, "hostile_escape");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        go(&stage, &out, places[i], 0, 0, 0, 0, 0);
        assert_shut(&out, i, KAON_FAULT_PAGE, places[i]);
        assert_int_equal(out.fault.address, places[i]);
    }
    stage_close(&stage);
    free(heap);
}

/* ---- The gate's instructions ------------------------------------------- */

static const char in_processes[] = "only a process has such a gate";

/* What of the gate a guest can find by reading it. */
struct gate {
    uint64_t calls[16]; /* where its system calls are */
    size_t call_count;
    uint64_t word; /* the number that parking writes to the witness */
};

static void read_gate(struct stage *stage, struct gate *gate)
{
    struct kaon_sandbox *sandbox = stage_sandbox(stage);
    struct kaon_outcome out;
    const unsigned char *page;
    const uint64_t word = 2;

    *gate = (struct gate){ 0 };
    stage_call(sandbox, &out, "gate", KAON_NO_ARGS);
    assert_int_equal(out.kind, KAON_RETURNED);
    assert_int_equal(out.value.span.size, 4096);
    page = out.value.span.data;
    for (size_t i = 0; i + 1 < 4096 && gate->call_count < 16; i++)
        if (page[i] == 0x0f && page[i + 1] == 0x05)
            gate->calls[gate->call_count++] = KAON_GATE_ADDRESS + i;
    for (size_t i = 0; i < 4096 && !gate->word; i += 8)
        if (memcmp(page + i, &word, 8) == 0)
            gate->word = KAON_GATE_ADDRESS + i;
    assert_in_range(gate->call_count, 3, 10);
    assert_int_not_equal(gate->word, 0);
    kaon_sandbox_destroy(sandbox);
}

static void the_gates_system_calls_serve_nothing_else(void **state)
{
    struct kaon_outcome out;
    struct stage stage;
    struct gate gate;
    uint64_t room;

    (void)state;
    if (!isolation_is_process())
        harness_skip("%s", in_processes);
    stage_open(&stage, "hostile_escape");
    room = ask(&stage, "place_of", KAON_ARGS(kaon_u32(3)));
    read_gate(&stage, &gate);
    for (size_t i = 0; i < gate.call_count; i++) {
        const uint64_t *places = gate.calls;

        for (uint64_t n = 0; n <= NUMBERS; n++) {
            if (n == UPROBE)
                continue; /* it is made, and the gate goes on */
            go(&stage, &out, places[i], n, room, room, 1, 0);
            assert_shut(&out, n, KAON_FAULT_OPCODE, places[i]);
            go(&stage, &out, places[i], X32 + n, CONTROL, 0, 0, 0);
            assert_shut(&out, n, KAON_FAULT_OPCODE, places[i]);
        }
        for (uint64_t op = 0; op < 16; op++) { /* futexes of other kinds */
            go(&stage, &out, places[i], SYS_futex, CONTROL, op | 128, 1, 0);
            assert_shut(&out, op, KAON_FAULT_OPCODE, places[i]);
            go(&stage, &out, places[i], SYS_futex, CONTROL, op, 1, 0);
            assert_shut(&out, op, KAON_FAULT_OPCODE, places[i]);
            go(&stage, &out, places[i], SYS_futex, CONTROL + 4, op, 1, room);
            assert_shut(&out, op, KAON_FAULT_OPCODE, places[i]);
            for (uint64_t at = CONTROL + 4; at <= CONTROL + 8; at += 4) {
                if (at == (op ? CONTROL + 8 : CONTROL + 4))
                    continue; /* to wait (0) or to wake (1): is made */
                go(&stage, &out, places[i], SYS_futex, at, op, 1, 0);
                assert_shut(&out, op, KAON_FAULT_OPCODE, places[i]);
            }
            for (uint64_t at = CONTROL + 4; at <= CONTROL + 8; at += 4) {
                go(&stage, &out, places[i], SYS_futex, at, op, 2, 0);
                assert_shut(&out, op, KAON_FAULT_OPCODE, places[i]);
            }
        }
        go(&stage, &out, places[i], SYS_rt_sigreturn, 0, 0, 0, 0);
        assert_shut(&out, 0, KAON_FAULT_OPCODE, places[i]);
    }
    stage_close(&stage);
}

/* How sandboxes' processes take turns where there is one CPU. */
static bool is_by_token(void)
{
    cpu_set_t cpus;

    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 &&
           CPU_COUNT(&cpus) == 1;
}

/* Writing to the witness is allowed in one place, in one way, and leads back to
 * the gate. */
static void the_witness_hears_of_parking_only(void **state)
{
    struct kaon_outcome out;
    struct stage stage;
    struct gate gate;
    size_t heard = 0;

    (void)state;
    if (!isolation_is_process())
        harness_skip("%s", in_processes);
    stage_open(&stage, "hostile_escape");
    read_gate(&stage, &gate);
    for (size_t i = 0; i < gate.call_count; i++) {
        const uint64_t wrong[][3] = {
            { 1, gate.word, 8 },
            { 2, gate.word, 8 },
            { UINT32_MAX, gate.word, 8 },
            { 0, gate.word, 7 },
            { 0, gate.word, 9 },
            { 0, gate.word, 0 },
            { 0, CONTROL, 8 },
            { 0, gate.word + 8, 8 },
            { 0, gate.word - 8, 8 },
            { 0, 0, 8 },
            { X32, gate.word, 8 },
            { UINT64_C(1) << 32, gate.word, 8 },
            { 0, gate.word + (UINT64_C(1) << 32), 8 },
            { 0, gate.word, 8 + (UINT64_C(1) << 32) },
        };

        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            go(&stage, &out, gate.calls[i], SYS_write, wrong[k][0], wrong[k][1],
               wrong[k][2], 0);
            assert_shut(&out, k, KAON_FAULT_OPCODE, gate.calls[i]);
        }
        go(&stage, &out, gate.calls[i], SYS_write, 0, gate.word, 8, 0);
        if (out.kind == KAON_FAULT && out.fault.kind == KAON_FAULT_OPCODE)
            continue;
        assert_int_equal(out.kind, KAON_FAULT);
        assert_non_null(strstr(out.text, "for no reason"));
        heard++;
    }
    /* Asked to, and on its way out; by token there is no asking. */
    assert_int_equal(heard, is_by_token() ? 1 : 2);
    stage_close(&stage);
}

/* Every byte of the gate is a place to jump to. */
static void a_jump_anywhere_into_the_gate_harms_nobody(void **state)
{
    struct kaon_outcome out;
    struct stage stage;

    (void)state;
    if (!isolation_is_process())
        harness_skip("%s", in_processes);
    stage_open(&stage, "hostile_escape");
    for (uint64_t at = 0; at < 1536; at++) {
        struct kaon_sandbox *sandbox = stage_sandbox(&stage);

        stage_call_for(sandbox, &out, "go",
                       KAON_ARGS(kaon_u64(KAON_GATE_ADDRESS + at),
                                 kaon_u64(at % 300), kaon_u64(CONTROL),
                                 kaon_u64(CONTROL), kaon_u64(CONTROL),
                                 kaon_u64(0)),
                       3 * harness_slowness());
        stage_check(&stage);
        kaon_sandbox_destroy(sandbox);
    }
    stage_close(&stage);
}

/* ---- A guest that does not stop ---------------------------------------- */

static void what_a_guest_changes_behind_its_turn_harms_nobody(void **state)
{
    unsigned seen[KAON_OUT_OF_MEMORY + 1] = { 0 };
    struct stage stage;

    (void)state;
    if (!isolation_is_process())
        harness_skip("an exit stops the guest");
    stage_open(&stage, "hostile_escape");
    for (unsigned i = 0; i < stage_rounds(60); i++) {
        struct kaon_sandbox *sandbox = stage_sandbox(&stage);
        struct kaon_outcome out = { .kind = KAON_RETURNED };

        for (int call = 0; call < 4 && out.kind < KAON_ABORT; call++) {
            stage_call_for(sandbox, &out, "hand_over_and_scribble",
                           KAON_ARGS(kaon_bytes("", 0), kaon_u64(CONTROL),
                                     kaon_u32(1u << (18 + i % 7))),
                           300 * harness_slowness());
            seen[out.kind]++;
        }
        kaon_sandbox_destroy(sandbox);
    }
    for (int kind = 0; kind <= KAON_OUT_OF_MEMORY; kind++)
        if (seen[kind])
            printf("# %s: %u\n", kaon_outcome_name(kind), seen[kind]);
    stage_close(&stage);
}

/* ---- What the kernel says of it ---------------------------------------- */

static size_t read_all(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    size_t used = 0;
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    while ((got = read(fd, text + used, size - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    close(fd);
    return used;
}

static void assert_line(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("no line \"%s\" in:\n%s", line, text);
}

/* A process's descriptor, or "". */
static void read_descriptor(pid_t pid, int fd, char *text, size_t size)
{
    char path[64];
    ssize_t length;

    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    length = readlink(path, text, size - 1);
    if (length < 0)
        assert_int_equal(errno, ENOENT);
    text[length > 0 ? length : 0] = '\0';
}

/* A witness and, by token, what that is read from. */
static void assert_descriptors(pid_t pid)
{
    static const char eventfd[] = "anon_inode:[eventfd]";
    char text[64];

    read_descriptor(pid, 0, text, sizeof text);
    if (!is_by_token() || strncmp(text, "pipe:", 5) != 0)
        assert_string_equal(text, eventfd);
    read_descriptor(pid, 1, text, sizeof text);
    assert_string_equal(text, is_by_token() ? eventfd : "");
    for (int fd = 2; fd < 1024; fd++) {
        read_descriptor(pid, fd, text, sizeof text);
        assert_string_equal(text, "");
    }
}

/* Its own memory and nothing of anybody else's. */
static void assert_maps(char *maps)
{
    unsigned count = 0;

    for (char *line = strtok(maps, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long long start;
        char mode[5];

        assert_int_equal(sscanf(line, "%llx-%*x %4s", &start, mode), 2);
        if (strstr(line, "[vsyscall]"))
            continue;
        count++;
        if (!strstr(line, "/memfd:kaon-") || strstr(line, "zygote") ||
            mode[3] != 's' || (mode[1] == 'w' && mode[2] == 'x'))
            fail_msg("what is this? %s", line);
    }
    assert_in_range(count, 4, 16);
}

static void the_kernel_sees_a_process_with_next_to_nothing(void **state)
{
    static char text[65536];
    struct kaon_sandbox *sandbox;
    struct kaon_image *image;
    struct kaon_outcome out;
    pid_t zygote, child;

    (void)state;
    if (!isolation_is_process())
        harness_skip("a VM is no process");
    if (geteuid() != 0)
        harness_skip("only root may look into it");
    assert_int_equal(kaon_image_open(&image, harness_guest("hello"), NULL),
                     KAON_OK);
    assert_int_equal(kaon_sandbox_create(&sandbox, image, NULL, NULL), KAON_OK);
    assert_int_equal(kaon_call(sandbox, &out, "no_such", NULL, 0, NULL, NULL),
                     KAON_ENOFUNC);
    child = processes_sandbox(&zygote);

    read_all(child, "status", text, sizeof text);
    assert_line(text, "\nSeccomp:\t2\n");
    assert_line(text, "\nNoNewPrivs:\t1\n");
    assert_line(text, "\nCapEff:\t0000000000000000\n");
    assert_line(text, "\nCapPrm:\t0000000000000000\n");
    assert_line(text, "\nThreads:\t1\n");
    assert_line(text, "\nSigBlk:\t0000000000000000\n");
    read_all(child, "maps", text, sizeof text);
    assert_maps(text);
    assert_descriptors(child);
    kaon_sandbox_destroy(sandbox);
    kaon_image_destroy(image);
}

/* clang-format off */
TESTS_NEED_KVM(
    TEST_ROW_LIMIT(17, 120, every_system_call_is_an_invalid_opcode),
    TEST_ROW(17, every_old_system_call_is_a_protection_fault),
    TEST_ROW(17, every_sysenter_is_some_fault),
    TEST_ROW(17, the_old_time_calls_are_faults),
    TEST_ROW(17, what_would_hurt_has_no_effect),
    TEST_ROW(17, the_hosts_memory_is_not_there),
    TEST_ROW_LIMIT(17, 120, the_gates_system_calls_serve_nothing_else),
    TEST_ROW(17, the_witness_hears_of_parking_only),
    TEST_ROW(17, a_jump_anywhere_into_the_gate_harms_nobody),
    TEST_ROW_LIMIT(18, 120, what_a_guest_changes_behind_its_turn_harms_nobody),
    TEST_ROW(17, the_kernel_sees_a_process_with_next_to_nothing),
)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A minimal KVM program: one vCPU at CPL 3 in 64-bit mode with its FPU
 * enabled, page tables of its own, and one port that its TSS opens. Shares no
 * line with Kaon, so that it measures KVM and nothing else.
 *
 * It has as much memory as a sandbox by default, since KVM's bookkeeping
 * grows with it; of that it touches what is listed below.
 */
#include "floor.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

#define MEMORY_SIZE ((size_t)18 << 20)
#define PORT 0x40
#define CPUID_MAX 256

/* Guest-physical pages, and the addresses they are seen at. */
enum {
    SYSTEM = 0x1000, /* GDT at 0, TSS at 0x40 */
    LEVEL4 = 0x2000,
    LEVEL3 = 0x3000,
    LEVEL2 = 0x4000,
    LEVEL1 = 0x5000,
    CODE = 0x6000,
    SPIN = 0x6040,
    STACK = 0x7000, /* and struct floor_words */
};

#define TSS (SYSTEM + 0x40)
#define TSS_LIMIT (0x68 + PORT / 8 + 1)

/* What KVM says once for all. */
static struct {
    size_t run_size;
    uint64_t xcr0;
    bool tcg;
    union {
        struct kvm_cpuid2 table;
        unsigned char room[sizeof(struct kvm_cpuid2) +
                           CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
    } cpuid;
} facts;

/* QEMU's emulator wants an available TSS where CPUs want a busy one. */
static bool is_tcg(void)
{
    unsigned a, b, c, d, name[3];

    __cpuid(1, a, b, c, d);
    if (!(c >> 31))
        return false;
    __cpuid(0x40000000, a, name[0], name[1], name[2]);
    return memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
}

static bool learn(const char **what)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int size, got;

    *what = "/dev/kvm";
    if (kvm < 0)
        return false;
    size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    facts.cpuid.table.nent = CPUID_MAX;
    got = ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &facts.cpuid.table);
    close(kvm);
    *what = "KVM_GET_SUPPORTED_CPUID";
    if (size < 0 || got < 0)
        return false;
    facts.run_size = (size_t)size;
    facts.tcg = is_tcg();
    for (uint32_t i = 0; i < facts.cpuid.table.nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &facts.cpuid.table.entries[i];

        if (entry->function == 0xd && entry->index == 0)
            facts.xcr0 = entry->eax & 0xe7; /* as far as AVX-512 */
    }
    return true;
}

static void put(unsigned char *memory, uint64_t at, uint64_t value)
{
    memcpy(memory + at, &value, sizeof value);
}

static void fill_memory(unsigned char *memory)
{
    /* 1: out %eax, $PORT; jmp 1b */
    static const unsigned char code[] = { 0xe7, PORT, 0xeb, 0xfc };
    /* From SPIN on, with rbx at the words; to the above when they say so. */
    static const unsigned char spin[] = {
        0xc7, 0x03, 0,    0,    0, 0, /* 1: movl $FLOOR_HOST, (%rbx) */
        0x83, 0x3b, 0x00,             /* 2: cmpl $FLOOR_HOST, (%rbx) */
        0x75, 0x04,                   /*    jne 3f */
        0xf3, 0x90,                   /*    pause */
        0xeb, 0xf7,                   /*    jmp 2b */
        0x83, 0x7b, 0x04, 0x00,       /* 3: cmpl $0, 4(%rbx) */
        0x75, 0xeb,                   /*    jne 1b */
        0xeb, 0xa9,                   /*    jmp CODE */
    };
    const uint64_t user = 0x67, read_only = 0x25, system = 0x63;

    put(memory, SYSTEM + 0x08, 0x00cff3000000ffff); /* 0x0b: user data */
    put(memory, SYSTEM + 0x10, 0x00affb000000ffff); /* 0x13: user code */
    put(memory, SYSTEM + 0x18,
        TSS_LIMIT | (uint64_t)TSS << 16 | UINT64_C(0x8b) << 40);
    memory[TSS + 0x66] = 0x68;
    memset(memory + TSS + 0x68, 0xff, PORT / 8 + 2);
    memory[TSS + 0x68 + PORT / 8] = 0xf0;

    put(memory, LEVEL4, LEVEL3 | user);
    put(memory, LEVEL3, LEVEL2 | user);
    put(memory, LEVEL2, LEVEL1 | user);
    put(memory, LEVEL1 + 8 * (SYSTEM >> 12), SYSTEM | system);
    put(memory, LEVEL1 + 8 * (CODE >> 12), CODE | read_only);
    put(memory, LEVEL1 + 8 * (STACK >> 12), STACK | user);
    memcpy(memory + CODE, code, sizeof code);
    memcpy(memory + SPIN, spin, sizeof spin);
}

static bool set_registers(int vcpu)
{
    const struct kvm_segment data = {
        .limit = 0xffffffff,
        .selector = 0x0b,
        .type = 3,
        .present = 1,
        .dpl = 3,
        .db = 1,
        .s = 1,
        .g = 1,
    };
    const struct kvm_sregs sregs = {
        .cs = { .limit = 0xffffffff,
                .selector = 0x13,
                .type = 11,
                .present = 1,
                .dpl = 3,
                .s = 1,
                .l = 1,
                .g = 1 },
        .ds = data,
        .es = data,
        .fs = data,
        .gs = data,
        .ss = data,
        .tr = { .base = TSS,
                .limit = TSS_LIMIT,
                .selector = 0x18,
                .type = facts.tcg ? 9 : 11,
                .present = 1 },
        .ldt = { .unusable = 1 },
        .gdt = { .base = SYSTEM, .limit = 0x27 },
        .cr0 = 0x80050033, /* PG AM WP NE ET MP PE */
        .cr3 = LEVEL4,
        .cr4 = facts.xcr0 ? 0x40620 : 0x620, /* OSXSAVE, SSE, PAE */
        .efer = 0xd00,
        .apic_base = 0xfee00900,
    };
    const struct kvm_regs regs = { .rip = CODE,
                                   .rsp = STACK + 0x1000,
                                   .rflags = 2 };

    return ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 &&
           ioctl(vcpu, KVM_SET_REGS, &regs) == 0;
}

static bool make_vm(struct floor_guest *guest, const char **what)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    *what = "KVM_CREATE_VM";
    if (kvm < 0)
        return false;
    guest->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    close(kvm);
    return guest->vm >= 0;
}

static bool make_memory(struct floor_guest *guest, const char **what)
{
    struct kvm_userspace_memory_region region = { .memory_size = MEMORY_SIZE };

    guest->memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *what = "a memslot";
    if (guest->memory == MAP_FAILED)
        return false;
    madvise(guest->memory, MEMORY_SIZE, MADV_NOHUGEPAGE);
    fill_memory(guest->memory);
    region.userspace_addr = (uintptr_t)guest->memory;
    return ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static bool make_vcpu(struct floor_guest *guest, const char **what)
{
    const struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = facts.xcr0 };

    *what = "a vCPU";
    guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
    if (guest->vcpu < 0)
        return false;
    guest->run = mmap(NULL, facts.run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      guest->vcpu, 0);
    if (guest->run == MAP_FAILED ||
        ioctl(guest->vcpu, KVM_SET_CPUID2, &facts.cpuid.table) < 0 ||
        (facts.xcr0 && ioctl(guest->vcpu, KVM_SET_XCRS, &xcrs) < 0))
        return false;
    return set_registers(guest->vcpu);
}

static void destroy(struct floor_guest *guest)
{
    if (guest->run != MAP_FAILED)
        munmap(guest->run, facts.run_size);
    if (guest->vcpu >= 0)
        close(guest->vcpu);
    if (guest->vm >= 0)
        close(guest->vm);
    if (guest->memory != MAP_FAILED)
        munmap(guest->memory, MEMORY_SIZE);
}

static bool create(struct floor_guest *guest, const char **what)
{
    *guest = FLOOR_GUEST_NONE;
    if (make_vm(guest, what) && make_memory(guest, what) &&
        make_vcpu(guest, what))
        return true;
    int saved = errno;
    destroy(guest);
    errno = saved;
    return false;
}

static bool trip(struct floor_guest *guest, const char **what)
{
    const struct kvm_run *run = guest->run;

    *what = "KVM_RUN";
    if (ioctl(guest->vcpu, KVM_RUN, 0) < 0)
        return false;
    errno = EPROTO;
    return run->exit_reason == KVM_EXIT_IO && run->io.port == PORT;
}

/* ---- Spinning ---------------------------------------------------------- */

static void *run_guest(void *user)
{
    struct floor_guest *guest = user;

    ioctl(guest->vcpu, KVM_RUN, 0);
    return NULL;
}

/* An exit is complete only once the guest is entered again; then it may go
 * elsewhere. */
static bool go_to(struct floor_guest *guest, uint64_t address)
{
    const struct kvm_regs regs = {
        .rip = address, .rbx = STACK, .rsp = STACK + 0x1000, .rflags = 2
    };
    struct kvm_run *run = guest->run;

    run->immediate_exit = 1;
    ioctl(guest->vcpu, KVM_RUN, 0);
    run->immediate_exit = 0;
    return ioctl(guest->vcpu, KVM_SET_REGS, &regs) == 0;
}

static struct floor_words *words_of(const struct floor_guest *guest)
{
    return (struct floor_words *)(guest->memory + STACK);
}

static struct floor_words *start(struct floor_guest *guest, const char **what)
{
    struct floor_words *words = words_of(guest);

    *what = "a spinning guest";
    *words = (struct floor_words){ FLOOR_GUEST, 1 };
    if (!go_to(guest, SPIN))
        return NULL;
    errno = pthread_create(&guest->thread, NULL, run_guest, guest);
    if (errno)
        return NULL;
    return floor_ping(words) ? words : NULL;
}

static bool stop(struct floor_guest *guest, const char **what)
{
    const struct kvm_run *run = guest->run;
    struct floor_words *words = words_of(guest);

    __atomic_store_n(&words->spins, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&words->turn, FLOOR_GUEST, __ATOMIC_RELEASE);
    pthread_join(guest->thread, NULL);
    *what = "a spinning guest";
    errno = EPROTO;
    return run->exit_reason == KVM_EXIT_IO && run->io.port == PORT;
}

const struct floor floor_kvm = {
    .backend = "kvm",
    .learn = learn,
    .create = create,
    .trip = trip,
    .destroy = destroy,
    .start = start,
    .stop = stop,
};

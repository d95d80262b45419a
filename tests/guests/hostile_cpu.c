/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executes what a guest at CPL 3 has no business to: privileged, odd and
 * undefined instructions. The exports' names say what may become of them:
 *
 *   "fault: ..."  must fault, on every backend
 *   "real: ..."   must fault, but QEMU's emulator forgets it
 *   "any: ..."    may fault or do nothing of note
 *
 * and those with parameters leave it to the test.
 */
#include <kaon/guest.h>

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

/* All registers are fair game: what is broken is the call's, not ours. */
#define CLOBBERS \
    "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc"

static uint64_t room[512] __attribute__((aligned(64)));

/* In rsi a page of memory; all other argument registers are zero. */
#define INSTRUCTION(label, code)                                    \
    static void PASTE(do_, __LINE__)(void)                          \
    {                                                               \
        __asm__ volatile("xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\t" \
                         "xor %%edx, %%edx\n\txor %%edi, %%edi\n\t" \
                         "lea %0, %%rsi\n\t" code                   \
                         :                                          \
                         : "m"(room)                                \
                         : CLOBBERS);                               \
    }                                                               \
    KAON_EXPORT_AS(label, PASTE(do_, __LINE__), void)
#define MUST_FAULT(code) INSTRUCTION("fault: " code, code)
#define REAL_FAULT(code) INSTRUCTION("real: " code, code)
#define MAY_RETURN(code) INSTRUCTION("any: " code, code)
#define BYTES_FAULT(name, bytes) INSTRUCTION("fault: " name, ".byte " bytes)
#define BYTES_ANY(name, bytes) INSTRUCTION("any: " name, ".byte " bytes)

/* Privileged */
MUST_FAULT("hlt");
MUST_FAULT("cli");
MUST_FAULT("sti");
MUST_FAULT("clts");
MUST_FAULT("invd");
MUST_FAULT("wbinvd");
MUST_FAULT("invlpg (%%rsi)");
MUST_FAULT("rdmsr");
MUST_FAULT("wrmsr");
MUST_FAULT("mov $0xc0000080, %%ecx; rdmsr");
MUST_FAULT("mov $0xc0000080, %%ecx; wrmsr");
MUST_FAULT("mov $0x1b, %%ecx; wrmsr");
MUST_FAULT("swapgs");
MUST_FAULT("sysretq");
MUST_FAULT("sysexit");
MUST_FAULT("mov %%cr0, %%rax");
MUST_FAULT("mov %%cr2, %%rax");
MUST_FAULT("mov %%cr3, %%rax");
MUST_FAULT("mov %%cr4, %%rax");
MUST_FAULT("mov %%cr8, %%rax");
MUST_FAULT("mov %%rax, %%cr0");
MUST_FAULT("mov %%rax, %%cr2");
MUST_FAULT("mov %%rax, %%cr3");
MUST_FAULT("mov %%rax, %%cr4");
MUST_FAULT("mov %%rax, %%cr8");
MUST_FAULT("mov %%dr0, %%rax");
MUST_FAULT("mov %%dr6, %%rax");
MUST_FAULT("mov %%dr7, %%rax");
MUST_FAULT("mov %%rax, %%dr0");
MUST_FAULT("mov %%rax, %%dr7");
MUST_FAULT("lgdt (%%rsi)");
MUST_FAULT("lidt (%%rsi)");
MUST_FAULT("lldt %%ax");
MUST_FAULT("ltr %%ax");
MUST_FAULT("lmsw %%ax");
MUST_FAULT("xsetbv");
MUST_FAULT("invpcid (%%rsi), %%rax");
MUST_FAULT("xsaves (%%rsi)");
MUST_FAULT("xrstors (%%rsi)");
MUST_FAULT("rsm");

/* Virtualization, SGX, SMX, TDX and SEV */
MUST_FAULT("vmlaunch");
MUST_FAULT("vmresume");
MUST_FAULT("vmxoff");
MUST_FAULT("vmxon (%%rsi)");
MUST_FAULT("vmptrld (%%rsi)");
MUST_FAULT("vmclear (%%rsi)");
MUST_FAULT("vmread %%rax, %%rcx");
MUST_FAULT("vmwrite %%rax, %%rcx");
MUST_FAULT("invept (%%rsi), %%rax");
MUST_FAULT("invvpid (%%rsi), %%rax");
MUST_FAULT("vmrun");
MUST_FAULT("vmload");
MUST_FAULT("vmsave");
MUST_FAULT("stgi");
MUST_FAULT("clgi");
MUST_FAULT("skinit");
MUST_FAULT("invlpga");
MUST_FAULT("getsec");
BYTES_FAULT("encls", "0x0f, 0x01, 0xcf");
BYTES_ANY("enclu", "0x0f, 0x01, 0xd7");
BYTES_ANY("vmfunc", "0x0f, 0x01, 0xd4");
BYTES_ANY("vmcall", "0x0f, 0x01, 0xc1");
BYTES_ANY("vmmcall", "0x0f, 0x01, 0xd9");
BYTES_ANY("vmgexit", "0xf3, 0x0f, 0x01, 0xd9");
BYTES_ANY("tdcall", "0x66, 0x0f, 0x01, 0xcc");
BYTES_ANY("seamcall", "0x66, 0x0f, 0x01, 0xcf");
BYTES_ANY("pvalidate", "0xf2, 0x0f, 0x01, 0xff");

/* Ways into a kernel */
MUST_FAULT("syscall");
MUST_FAULT("mov $60, %%eax; syscall");
MUST_FAULT("mov $60, %%eax; int $0x80");
MUST_FAULT("sysenter");
MUST_FAULT("int3");
MUST_FAULT("int $3");
BYTES_FAULT("int1", "0xf1");
BYTES_FAULT("into", "0xce");
BYTES_FAULT("call to a gate of 32-bit code", "0x9a");

/* Undefined, or no instruction at all */
MUST_FAULT("ud2");
BYTES_FAULT("ud1", "0x0f, 0xb9, 0xc0");
BYTES_FAULT("ud0", "0x0f, 0xff, 0xc0");
BYTES_FAULT("lock nop", "0xf0, 0x90");
INSTRUCTION("real: lock mov", ".byte 0xf0, 0x48, 0x89, 0x06");
BYTES_FAULT("lock add to a register", "0xf0, 0x01, 0xc0");
BYTES_FAULT("lock cmp", "0xf0, 0x39, 0x06");
BYTES_FAULT("lock cmpxchg8b of a register (f00f)", "0xf0, 0x0f, 0xc7, 0xc8");
BYTES_FAULT("16 prefixes", "0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,"
                           "0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90");
BYTES_FAULT("16 bytes with rep and segments",
            "0xf3, 0xf2, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65,"
            "0x66, 0x67, 0xf0, 0xf3, 0xf2, 0x66, 0x67, 0x90");
BYTES_FAULT("push es", "0x06");
BYTES_FAULT("pop ds", "0x1f");
BYTES_FAULT("daa", "0x27");
BYTES_FAULT("pusha", "0x60");
BYTES_FAULT("salc", "0xd6");
BYTES_ANY("les or vex2", "0xc5, 0x06, 0x00, 0x00");
BYTES_ANY("bound or evex", "0x62, 0x06, 0x00, 0x00, 0x00, 0x00");
BYTES_FAULT("aam 0", "0xd4, 0x00");
BYTES_FAULT("evex with a reserved bit", "0x62, 0xff, 0xff, 0xff, 0xff, 0xff");
BYTES_FAULT("vex with lock", "0xf0, 0xc5, 0xf8, 0x77");

/* Unprivileged, and not of a guest's business; none may harm */
MAY_RETURN("rdtsc");
MAY_RETURN("rdtscp");
MAY_RETURN("rdpmc");
MAY_RETURN("rdrand %%rax");
MAY_RETURN("rdseed %%rax");
MAY_RETURN("rdpid %%rax");
MAY_RETURN("push %%rbx; cpuid; pop %%rbx");
MAY_RETURN("push %%rbx; mov $0x40000000, %%eax; cpuid; pop %%rbx");
MAY_RETURN("xgetbv");
MAY_RETURN("mov $1, %%ecx; xgetbv");
MAY_RETURN("mov $99, %%ecx; xgetbv");
MAY_RETURN("sgdt (%%rsi)");
MAY_RETURN("sidt (%%rsi)");
MAY_RETURN("sldt (%%rsi)");
MAY_RETURN("str (%%rsi)");
MAY_RETURN("smsw (%%rsi)");
MAY_RETURN("pause");
MAY_RETURN("mov $100000, %%ecx; 1: pause; dec %%ecx; jnz 1b");
MAY_RETURN("clflush (%%rsi)");
MAY_RETURN("clflush (%%rip)");
MAY_RETURN("clflushopt (%%rsi)");
MAY_RETURN("clwb (%%rsi)");
MAY_RETURN("cldemote (%%rsi)");
MAY_RETURN("prefetchw (%%rsi)");
MAY_RETURN("prefetcht0 0");
MAY_RETURN("mov %%rsi, %%rax; clzero");
MAY_RETURN("monitor");
MAY_RETURN("mwait");
MAY_RETURN("monitorx");
MAY_RETURN("mov %%rsi, %%rax; monitorx; xor %%eax, %%eax; mwaitx");
MAY_RETURN("mov %%rsi, %%rax; umonitor %%rax");
MAY_RETURN("mov $-1, %%eax; mov $-1, %%edx; umwait %%ecx");
MAY_RETURN("mov $-1, %%eax; mov $-1, %%edx; tpause %%ecx");
MAY_RETURN("rdpkru");
MAY_RETURN("wrpkru");
MAY_RETURN("mov $-1, %%eax; wrpkru");
MAY_RETURN("xbegin 1f; ud2; 1:");
MAY_RETURN("xend");
MAY_RETURN("xabort $1");
MAY_RETURN("xtest");
MAY_RETURN("serialize");
MAY_RETURN("sfence; lfence; mfence");
MAY_RETURN("mov $-1, %%eax; mov $-1, %%edx; xsave (%%rsi)");
MAY_RETURN("mov $-1, %%eax; mov $-1, %%edx; xsavec (%%rsi)");
MAY_RETURN("mov $-1, %%eax; mov $-1, %%edx; xrstor (%%rsi)");
MAY_RETURN("movq $-1, 512(%%rsi); mov $-1, %%eax; mov $-1, %%edx; "
           "xrstor (%%rsi)");
MAY_RETURN("movl $0xffffffff, 24(%%rsi); fxrstor (%%rsi)");
MAY_RETURN("movl $0x1f00, (%%rsi); ldmxcsr (%%rsi)");
MAY_RETURN("lock addl $1, 62(%%rsi)"); /* over two cache lines */
MAY_RETURN("lock cmpxchg16b (%%rsi)");
MAY_RETURN("mov $0x1000, %%ecx; rep stosb");
MAY_RETURN("std; mov %%rsi, %%rdi; lodsb");
MAY_RETURN("rdsspq %%rax");
MAY_RETURN("incsspq %%rax");
MAY_RETURN("endbr64");
MAY_RETURN("clui");
MAY_RETURN("stui");
MAY_RETURN("senduipi %%rax");
MAY_RETURN("ptwrite %%eax");
MAY_RETURN("enqcmd (%%rsi), %%rsi");
MAY_RETURN("movdir64b (%%rsi), %%rsi");
MAY_RETURN("hreset $0");
MAY_RETURN("llwpcb %%rax");
MAY_RETURN("wrfsbase %%rsi; wrgsbase %%rsi");
MAY_RETURN("mov %%cs, %%ax; mov %%ss, %%ax; mov %%ds, %%ax");

/* Flags: trap, nested task, alignment check, I/O privilege, VM86, ID, IF */
#define SET_FLAGS(bits) "pushfq; orq $" STRING(bits) ", (%%rsp); popfq; "
MAY_RETURN(SET_FLAGS(0x100) "nop");
MAY_RETURN(SET_FLAGS(0x100) "syscall");
MAY_RETURN(SET_FLAGS(0x100) "mov %%ss, %%ax; mov %%ax, %%ss; syscall");
MAY_RETURN(SET_FLAGS(0x100) "mov %%ss, %%ax; mov %%ax, %%ss; int3");
MAY_RETURN(SET_FLAGS(0x100) "push %%rbx; cpuid; pop %%rbx");
MAY_RETURN(SET_FLAGS(0x200) "nop");
MAY_RETURN(SET_FLAGS(0x400) "nop");
MAY_RETURN(SET_FLAGS(0x3000) "cli");
MAY_RETURN(SET_FLAGS(0x3000) "out %%al, $0x80");
MAY_RETURN(SET_FLAGS(0x4000) "nop");
MAY_RETURN(SET_FLAGS(0x20000) "nop");
REAL_FAULT(SET_FLAGS(0x40000) "incl 1(%%rsi)");
MAY_RETURN(SET_FLAGS(0x180000) "nop");
MAY_RETURN(SET_FLAGS(0x200000) "nop");
MUST_FAULT(SET_FLAGS(0x4000) "iretq");

/* Unmasked exceptions, and what they leave pending */
MUST_FAULT("xor %%ecx, %%ecx; div %%ecx");
MUST_FAULT("mov $0x80000000, %%eax; cdq; mov $-1, %%ecx; idiv %%ecx");
MUST_FAULT("movw $0x360, (%%rsi); fldcw (%%rsi); fld1; fldz; fdivrp; fwait");
MAY_RETURN("movw $0x360, (%%rsi); fldcw (%%rsi); fld1; fldz; fdivrp");
REAL_FAULT("movl $0x1f00, (%%rsi); ldmxcsr (%%rsi); "
           "xorps %%xmm1, %%xmm1; divps %%xmm1, %%xmm1");
MUST_FAULT("movaps 8(%%rsi), %%xmm0");

/* A segment base, a pointer or a target that is not canonical */
REAL_FAULT("mov $0x800000000000, %%rax; wrfsbase %%rax");
REAL_FAULT("mov $0x800000000000, %%rax; wrgsbase %%rax");
MUST_FAULT("mov $0x800000000000, %%rax; mov (%%rax), %%al");
MUST_FAULT("mov $0x800000000000, %%rsp; push %%rax");
MUST_FAULT("mov $0x800000000000, %%rax; jmp *%%rax");
MUST_FAULT("mov $0x800000000000, %%rax; push %%rax; ret");
MUST_FAULT("mov $0x7fffffffffff, %%rax; jmp *%%rax");
MUST_FAULT("mov $-4096, %%rax; mov (%%rax), %%al");
MUST_FAULT("xor %%esp, %%esp; push %%rax");
MUST_FAULT("xor %%esp, %%esp; ud2");
MUST_FAULT("mov $-1, %%rsp; int3");

/* int n, for each n: 0xcd n, ret, nop */
__asm__(".pushsection .text\n"
        "int_table:\n"
        ".set n, 0\n"
        ".rept 256\n"
        ".byte 0xcd, n, 0xc3, 0x90\n"
        ".set n, n + 1\n"
        ".endr\n"
        ".popsection");
extern const unsigned char int_table[];

static void jump(const unsigned char *code, uint64_t size)
{
    __asm__ volatile("call *%[code]"
                     : "+D"(size)
                     : [code] "b"(code), "a"(0), "d"(KAON_GATE_ADDRESS)
                     : "rcx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void interrupt(uint32_t n)
{
    jump(int_table + n % 256 * 4, 0);
}
KAON_EXPORT(interrupt, void, u32);

/*
 * I/O with the port in the instruction: `how` is in8 in32 out8 out32 (e4 to
 * e7), and with an operand size prefix.
 */
#define PORT_TABLE(name, bytes)                                     \
    __asm__(".pushsection .text\n" name ":\n.set n, 0\n.rept 256\n" \
            ".byte " bytes ", n, 0xc3\n.balign 4, 0x90\n"           \
            ".set n, n + 1\n.endr\n.popsection")
PORT_TABLE("in8_table", "0xe4");
PORT_TABLE("in32_table", "0xe5");
PORT_TABLE("in16_table", "0x66, 0xe5");
PORT_TABLE("out8_table", "0xe6");
PORT_TABLE("out32_table", "0xe7");
PORT_TABLE("out16_table", "0x66, 0xe7");
extern const unsigned char in8_table[], in16_table[], in32_table[],
    out8_table[], out16_table[], out32_table[];

static void io_immediate(uint32_t how, uint32_t port)
{
    static const unsigned char *const tables[] = {
        in8_table, in16_table, in32_table, out8_table, out16_table, out32_table,
    };

    jump(tables[how % 6] + port % 256 * 4, 0);
}
KAON_EXPORT(io_immediate, void, u32, u32);

/* I/O with the port in dx: in, out, ins, outs, rep ins, rep outs, each 8, 16
 * and 32 bits wide. The strings lie at `address`, or in memory of ours if
 * that is 0. */
#define PORT_DX(label, code) label ": " code "\n ret\n .balign 8, 0x90\n"
/* clang-format off */
__asm__(".pushsection .text\n .balign 8, 0x90\n dx_table:\n"
        PORT_DX("dx0", "in %dx, %al") PORT_DX("dx1", "in %dx, %ax")
        PORT_DX("dx2", "in %dx, %eax") PORT_DX("dx3", "out %al, %dx")
        PORT_DX("dx4", "out %ax, %dx") PORT_DX("dx5", "out %eax, %dx")
        PORT_DX("dx6", "insb") PORT_DX("dx7", "insw") PORT_DX("dx8", "insl")
        PORT_DX("dx9", "outsb") PORT_DX("dx10", "outsw")
        PORT_DX("dx11", "outsl") PORT_DX("dx12", "rep insb")
        PORT_DX("dx13", "rep insw") PORT_DX("dx14", "rep insl")
        PORT_DX("dx15", "rep outsb") PORT_DX("dx16", "rep outsw")
        PORT_DX("dx17", "rep outsl")
        ".popsection");
/* clang-format on */
extern const unsigned char dx_table[];

static void io(uint32_t how, uint32_t port, uint64_t count, uint64_t address)
{
    void *memory = address ? (void *)address : (void *)room;
    void *source = memory;

    __asm__ volatile("call *%[code]"
                     : "+D"(memory), "+S"(source), "+c"(count)
                     : [code] "b"(dx_table + how % 18 * 8), "a"(0), "d"(port)
                     : "r8", "r9", "r10", "r11", "memory", "cc");
}
KAON_EXPORT(io, void, u32, u32, u64, u64);

/* Loads a segment register: ds es fs gs ss, by mov; fs gs, by pop; ds es fs gs
 * ss again, by lds and its kin where they exist. */
static void load_segment(uint32_t which, uint32_t selector)
{
    struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) far = { 0, (uint16_t)selector };

    switch (which % 10) {
    case 0: __asm__ volatile("mov %0, %%ds" : : "r"(selector)); break;
    case 1: __asm__ volatile("mov %0, %%es" : : "r"(selector)); break;
    case 2: __asm__ volatile("mov %0, %%fs" : : "r"(selector)); break;
    case 3: __asm__ volatile("mov %0, %%gs" : : "r"(selector)); break;
    case 4: __asm__ volatile("mov %0, %%ss" : : "r"(selector)); break;
    case 5: __asm__ volatile("push %q0; pop %%fs" : : "r"(selector)); break;
    case 6: __asm__ volatile("push %q0; pop %%gs" : : "r"(selector)); break;
    case 7: __asm__ volatile("lfs %0, %%eax" : : "m"(far) : "rax"); break;
    case 8: __asm__ volatile("lgs %0, %%eax" : : "m"(far) : "rax"); break;
    case 9: __asm__ volatile("lss %0, %%eax" : : "m"(far) : "rax"); break;
    }
}
KAON_EXPORT(load_segment, void, u32, u32);

/* lar, lsl, verr, verw: they only look. */
static uint64_t look_at_segment(uint32_t selector)
{
    uint64_t rights = 0, limit = 0;

    __asm__ volatile("lar %2, %0\n\tlsl %2, %1\n\tverr %w2\n\tverw %w2"
                     : "+r"(rights), "+r"(limit)
                     : "r"((uint64_t)selector)
                     : "cc");
    return rights ^ limit << 32;
}
KAON_EXPORT(look_at_segment, u64, u32);

/*
 * Goes to `landed` with another code segment: by far return, by iret, by far
 * jump and far call through memory (16:32 and 16:64). If that works and the
 * mode is ours still, the function returns.
 */
__asm__(".pushsection .text\n"
        "landed: mov %rbp, %rsp\n pop %rbp\n ret\n"
        ".globl go_far\n"
        "go_far:\n" /* edi: how, esi: selector, rdx: ss for iret */
        " push %rbp\n mov %rsp, %rbp\n"
        " sub $16, %rsp\n movl $landed, (%rsp)\n movw %si, 4(%rsp)\n"
        " cmp $1, %edi\n jb 0f\n je 1f\n cmp $3, %edi\n jb 2f\n je 3f\n"
        " cmp $4, %edi\n je 4f\n ud2\n"
        "0: push %rsi\n push $landed\n lretq\n"
        "1: mov %rsp, %rax\n push %rdx\n push %rax\n pushfq\n push %rsi\n"
        " push $landed\n iretq\n"
        "2: ljmp *(%rsp)\n"
        "3: lcall *(%rsp)\n"
        "4: movq $landed, (%rsp)\n mov %si, 8(%rsp)\n"
        " .byte 0x48, 0xff, 0x2c, 0x24\n" /* rex.w ljmp *(%rsp) */
        ".popsection");
void go_far(uint32_t how, uint64_t selector, uint64_t stack_selector);

static void far_transfer(uint32_t how, uint32_t selector,
                         uint32_t stack_selector)
{
    go_far(how, selector, stack_selector);
}
KAON_EXPORT(far_transfer, void, u32, u32, u32);

/*
 * 32-bit code, where the host has a segment for it (PVM has its host's): it
 * leaves with the frame that is there, or looks for the ways into a kernel
 * that 64-bit code has not.
 */
__asm__(".pushsection .text\n"
        "to_32: push %rdi\n push %rsi\n lretq\n" /* selector, address */
        ".code32\n"
        "leave_32: out %eax, $0x40\n ud2\n"
        "syscall_32: mov $20, %eax\n syscall\n ud2\n"
        "sysenter_32: mov $20, %eax\n mov %esp, %ebp\n sysenter\n ud2\n"
        "int80_32: mov $20, %eax\n int $0x80\n ud2\n"
        "into_32: mov $0x7fffffff, %eax\n inc %eax\n into\n ud2\n"
        "bound_32: mov $1, %eax\n bound %eax, (%esp)\n ud2\n"
        "ldt_32: push $0x17\n pop %ds\n mov (%eax), %eax\n ud2\n"
        "spin_32: jmp spin_32\n"
        ".code64\n.popsection");
extern const unsigned char leave_32[], syscall_32[], sysenter_32[], int80_32[],
    into_32[], bound_32[], ldt_32[], spin_32[];

static void run_32(uint32_t what, uint32_t selector, struct kaon_span anything)
{
    static const unsigned char *const codes[] = {
        leave_32,
        syscall_32,
        sysenter_32,
        int80_32,
        into_32,
        bound_32,
        ldt_32,
        spin_32,
        (const unsigned char *)KAON_GATE_ADDRESS,
        (const unsigned char *)KAON_GATE_LEAVE,
    };
    struct kaon_mailbox *mailbox =
        (void *)((uintptr_t)anything.data & ~(uintptr_t)4095);

    mailbox->frame = (struct kaon_frame){ .kind = KAON_FRAME_RESULT };
    __asm__ volatile("jmp to_32"
                     :
                     : "D"((uint64_t)selector), "S"(codes[what % 10])
                     : "memory");
}
KAON_EXPORT(run_32, void, u32, u32, bytes);

/*
 * Leaves with a good empty result, but with these flags, and under the
 * shadow of a load of ss if `shadowed`: what is pending then is not to hit
 * whoever runs next. The frame is told where by any bytes that were sent.
 */
static void leave_with_flags(uint64_t flags, bool shadowed,
                             struct kaon_span anything)
{
    struct kaon_mailbox *mailbox =
        (void *)((uintptr_t)anything.data & ~(uintptr_t)4095);

    mailbox->frame = (struct kaon_frame){ .kind = KAON_FRAME_RESULT };
    if (shadowed)
        __asm__ volatile("mov %%ss, %%eax\n\t"
                         "push %0\n\tpopfq\n\t"
                         "mov %%eax, %%ss\n\t"
                         "out %%eax, $0x40"
                         :
                         : "r"(flags)
                         : "rax", "cc", "memory");
    else
        __asm__ volatile("push %0\n\tpopfq\n\tout %%eax, $0x40"
                         :
                         : "r"(flags)
                         : "cc", "memory");
}
KAON_EXPORT(leave_with_flags, void, u64, bool, bytes);

/* For the call after. */
static uint64_t add(uint64_t a, uint64_t b)
{
    return a + b;
}
KAON_EXPORT(add, u64, u64, u64);

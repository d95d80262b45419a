/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lies about whose turn it is. Knows where the gate keeps its words, and is
 * told where the mailbox is by any bytes that are sent.
 */
#include <kaon/guest.h>

KAON_IMPORT(HostTake, bytes, string, bytes, u32);

struct words {
    volatile uint64_t call, stack;
    volatile uint32_t looks;
};

enum { HOST, GUEST, HOST_ALONE, GUEST_ALONE };

static struct kaon_mailbox *mailbox_of(const void *in_it)
{
    return (void *)((uintptr_t)in_it & ~(uintptr_t)4095);
}

static volatile uint32_t *turn_of(const void *in_it)
{
    return &mailbox_of(in_it)->turn;
}

static void pause_for(uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++)
        __asm__ volatile("pause");
}

__attribute__((noreturn)) static void stay(void)
{
    for (;;)
        __asm__ volatile("pause");
}

/* An empty result, handed over without the gate. */
static void answer(struct kaon_mailbox *mailbox, uint32_t turn)
{
    mailbox->frame = (struct kaon_frame){ .kind = KAON_FRAME_RESULT };
    __asm__ volatile("" : : : "memory");
    *turn_of(mailbox) = turn;
}

/* The host's own frame is still there. */
static void hand_over_nothing(struct kaon_span anything, uint32_t turn)
{
    *turn_of(anything.data) = turn;
    stay();
}
KAON_EXPORT(hand_over_nothing, void, bytes, u32);

/* A good answer; and it never looks for its turn again. */
static void answer_and_stay(struct kaon_span anything, uint32_t turn)
{
    answer(mailbox_of(anything.data), turn);
    stay();
}
KAON_EXPORT(answer_and_stay, void, bytes, u32);

/* A good answer, and then it works on, on what the host may be reading. */
static void answer_and_scribble(struct kaon_span anything)
{
    struct kaon_mailbox *mailbox = mailbox_of(anything.data);

    answer(mailbox, HOST);
    for (uint64_t i = 0;; i++) {
        mailbox->frame.kind = (uint32_t)i;
        mailbox->frame.count = (uint32_t)(i >> 3);
        mailbox->frame.slots = (uint32_t)i * 8;
        *turn_of(mailbox) = (uint32_t)i;
    }
}
KAON_EXPORT(answer_and_scribble, void, bytes);

/* A string and bytes that change all the time, to a host function. */
static struct kaon_span hand_over_changing(struct kaon_span anything,
                                           uint32_t rounds)
{
    struct kaon_mailbox *mailbox = mailbox_of(anything.data);
    volatile uint32_t *turn = turn_of(anything.data);
    struct kaon_slot *slots = (void *)((unsigned char *)mailbox + 1024);
    volatile unsigned char *text = (unsigned char *)mailbox + 2048;

    for (uint32_t i = 0; i < rounds; i++) {
        mailbox->frame = (struct kaon_frame){ .kind = KAON_FRAME_HOST_CALL,
                                              .count = 3,
                                              .slots = 1024,
                                              .free_page = 3072 };
        for (uint32_t k = 0; k < 512; k++)
            text[k] = 'x';
        text[512] = 0;
        slots[0] = (struct kaon_slot){ KAON_TYPE_STRING, 512, 2048 };
        slots[1] = (struct kaon_slot){ KAON_TYPE_BYTES, 512, 2048 };
        slots[2] = (struct kaon_slot){ KAON_TYPE_U32, 0, 2 };
        __asm__ volatile("" : : : "memory");
        *turn = HOST;
        while (*turn == HOST) {
            text[i % 512] ^= 'x'; /* a NUL, or none */
            slots[0].size = i * 7 % 1024;
            slots[1].bits = 2048 + i % 64;
            mailbox->frame.slots = i % 4 ? 1024 : i;
        }
    }
    answer(mailbox, HOST);
    stay();
}
KAON_EXPORT(hand_over_changing, bytes, bytes, u32);

/* Leaves by the port, so many times, and it is its turn all the time. */
static void leave_without_handing_over(struct kaon_span anything,
                                       uint32_t times)
{
    while (times--)
        __asm__ volatile("out %%eax, $0x40" : : : "memory");
    answer(mailbox_of(anything.data), HOST);
    stay();
}
KAON_EXPORT(leave_without_handing_over, void, bytes, u32);

/* Spoils what its own gate goes by, and leaves as it should. */
static void spoil_gate(struct kaon_span anything, uint64_t looks, uint64_t call,
                       uint64_t stack)
{
    struct words *words = (void *)mailbox_of(anything.data)->gate;

    words->looks = (uint32_t)looks;
    words->call = call;
    words->stack = stack;
}
KAON_EXPORT(spoil_gate, void, bytes, u64, u64, u64);

/* Answers, then faults behind the host's back. */
static void answer_and_fault(struct kaon_span anything)
{
    answer(mailbox_of(anything.data), HOST);
    pause_for(1000);
    __asm__ volatile("movl $1, 16" : : : "memory");
}
KAON_EXPORT(answer_and_fault, void, bytes);

static uint64_t chance(uint64_t *seed)
{
    uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Flips the turn by chance, changes frames by chance, now and then pauses. */
static void flip(struct kaon_span anything, uint64_t seed, uint32_t times)
{
    struct kaon_mailbox *mailbox = mailbox_of(anything.data);
    volatile uint32_t *turn = turn_of(anything.data);

    for (uint32_t i = 0; i < times; i++) {
        uint64_t x = chance(&seed);

        mailbox->frame.kind = x >> 8 & 7 ? KAON_FRAME_HOST_CALL : x & 15;
        mailbox->frame.count = (uint32_t)(x >> 16 & 3);
        mailbox->frame.slots = x >> 20 & 1 ? 1024 : (uint32_t)(x >> 32);
        *turn = x & 16 ? (uint32_t)(x >> 24 & 3) : (uint32_t)(x >> 40);
        pause_for(x >> 50 & 63);
    }
    answer(mailbox, HOST);
    stay();
}
KAON_EXPORT(flip, void, bytes, u64, u32);

/* Writes by chance to what else a process and its host go by; and returns as
 * it should, if it gets there. */
static void flip_control(struct kaon_span anything, uint64_t control,
                         uint64_t seed, uint32_t times)
{
    volatile uint32_t *turn = turn_of(anything.data);
    volatile uint32_t *words = (void *)control;

    for (uint32_t i = 0; i < times; i++) {
        uint64_t x = chance(&seed);
        uint32_t small = (uint32_t)(x >> 40 & 7);

        switch (x & 7) {
        case 0: *turn = small; break;
        case 1: words[0] = small; break;                    /* the turn, too */
        case 2: words[1 + (x >> 8 & 1)] = small & 1; break; /* who sleeps */
        case 3:
            words[3] = (uint32_t)(x >> 32) >> small * 4; /* looks */
            break;
        case 4: words[6 + (x >> 8) % 10] = (uint32_t)(x >> 30); break;
        default: words[16 + (x >> 8) % 12] = small; break; /* the reason, ... */
        }
        pause_for(x >> 50 & 63);
    }
}
KAON_EXPORT(flip_control, void, bytes, u64, u64, u32);

static uint64_t add(uint64_t a, uint64_t b)
{
    return a + b;
}
KAON_EXPORT(add, u64, u64, u64);

static const char *text(uint32_t size)
{
    char *to = kaon_reserve(size + 1);

    if (!to)
        kaon_fail(1, "too long");
    __builtin_memset(to, 't', size);
    to[size] = 0;
    return to;
}
KAON_EXPORT(text, string, u32);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam: what runs guests, behind one table of functions.
 *
 * Above it, a guest's world is guest addresses, pages of an arena, and exits.
 * Below it, an OS and a hypervisor. A new backend is one implementation of
 * struct kaon_backend and one line in backend.c.
 *
 * Words. A *machine* is what a domain is made of: a VM. Its *physical*
 * addresses name pages of its arena or of other memory attached to it. A
 * *space* is one guest's view of those pages: what it can address, and how. A
 * *vCPU* runs one space at a time and belongs to one thread at a time.
 *
 * Where spaces grow, a space only ever grows: a page that a guest may have seen
 * at an address is replaced there only by a copy of itself that may also be
 * written, after the guest's own write to it faulted. (Shadow paging does not
 * see other edits; see paging_x86_64.c.) What a space was made of is used again
 * by giving the space to the next guest with the same view, or by
 * machine_reclaim(). The exception is what was attached to the machine: taken
 * from all spaces that show it, and then from the machine, it is forgotten,
 * and what comes next at its addresses is seen.
 */
#ifndef KAON_SRC_BACKEND_H
#define KAON_SRC_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <kaon/error.h>
#include <kaon/outcome.h>

#define KAON_PAGE_SIZE UINT64_C(4096)

struct kaon_arena;

/* What a guest may do with a page; it may always read. */
enum kaon_protection {
    KAON_PROTECT_READ = 0,
    KAON_PROTECT_WRITE = 1,
    KAON_PROTECT_EXECUTE = 2,
};

/* The backend's handle of a space; 0 is none. */
struct kaon_space {
    uint64_t root;
};

/* Where and how a guest is entered. */
struct kaon_entry {
    uint64_t ip;       /* first instruction, after the gate's scrub */
    uint64_t sp;       /* stack pointer */
    uint64_t argument; /* in the first argument register; all others zero */
    uint32_t *turn;    /* the backend's, where the guest has what the argument
                          speaks of (gate/gate.h); or NULL */
};

/* What of a guest's registers lasts from call to call. */
struct kaon_thread_pointers {
    uint64_t fs_base, gs_base;
};

/* Why a guest no longer runs. */
enum kaon_exit_kind {
    KAON_EXIT_GATE,    /* it left through the gate */
    KAON_EXIT_FAULT,   /* exit.vector, .error_code, .address */
    KAON_EXIT_KICKED,  /* kick(), or a stray signal */
    KAON_EXIT_MEMORY,  /* the host has no page behind what it touched */
    KAON_EXIT_STOPPED, /* it broke its CPU: exit.reason says how */
};

struct kaon_exit {
    enum kaon_exit_kind kind;
    uint32_t vector; /* x86 exception numbers */
    uint32_t error_code;
    uint64_t address;   /* of a page fault */
    const char *reason; /* static */
    bool crossed; /* in memory alone, as a resident guest's do: uncounted */
};

/* The reason of a MEMORY exit. */
#define KAON_NO_HOST_PAGE \
    "the host has no page behind what it touched (was a mapped file cut?)"

struct kaon_machine {
    const struct kaon_backend *backend;
    struct kaon_arena *arena;
    bool vcpus_stay; /* to give one to another thread takes milliseconds */
};

struct kaon_machine_config {
    uint64_t memory_bytes; /* size of the arena: whole pages */
    bool shared;           /* many sandboxes are to come, or one and no more */
    uint32_t vcpus_max;
    int kick_signal;
};

/* Memory of the host that spaces may show: whole pages. */
struct kaon_host_memory {
    void *at;        /* where the host has it */
    int fd;          /* of the file that it maps, -1: where spaces grow, it need
                      * be none, and may be copied, since it never changes */
    uint64_t offset; /* from there on, in the file */
    uint64_t size;
    bool writable;
};

struct kaon_vcpu;

struct kaon_backend {
    const char *name;

    /* May the host use guest memory in place while a call is between entry
     * and entry? True where an exit stops the guest for certain. */
    bool exit_stops_guest;

    /* May a space be given more after it ran, in answer to a fault? If not,
     * it is given all that the guest may have before space_seal(). */
    bool spaces_grow;

    /* A machine with an empty arena. */
    enum kaon_status (*machine_create)(struct kaon_machine **out,
                                       const struct kaon_machine_config *config,
                                       struct kaon_error *err);
    void (*machine_destroy)(struct kaon_machine *machine);

    /* Asked before the host uses the arena for a sandbox: KAON_EBACKEND in a
     * child of fork(), whose parent has it. */
    enum kaon_status (*machine_check)(struct kaon_machine *machine,
                                      struct kaon_error *err);

    /* Makes host memory known to spaces, from physical address *physical on.
     * It must stay until it is detached, or the machine is destroyed. Safe
     * while guests run. */
    enum kaon_status (*machine_attach)(struct kaon_machine *machine,
                                       const struct kaon_host_memory *memory,
                                       uint64_t *physical,
                                       struct kaon_error *err);

    /* Takes it from the machine, which forgets all translations to it. No
     * space shows it any more: space_unmap(), or the space is gone. Safe while
     * guests run. On failure it is attached still, and must stay. */
    enum kaon_status (*machine_detach)(struct kaon_machine *machine,
                                       uint64_t physical,
                                       struct kaon_error *err);

    /* Makes pages of the arena zero, and costs no memory until touched. */
    void (*discard)(struct kaon_machine *machine, uint64_t physical,
                    uint64_t pages);

    /* Forgets every translation, so that pages of dead spaces can be used
     * again for anything. No guest may run meanwhile. */
    enum kaon_status (*machine_reclaim)(struct kaon_machine *machine,
                                        struct kaon_error *err);

    /* A space that shows what parent shows (or nothing, if its root is 0).
     * parent must not change any more, and must live as long. */
    enum kaon_status (*space_create)(struct kaon_machine *machine,
                                     struct kaon_space *out,
                                     struct kaon_space parent,
                                     struct kaon_error *err);

    /* Shows `pages` pages from physical on at a guest address. */
    enum kaon_status (*space_map)(struct kaon_machine *machine,
                                  struct kaon_space space, uint64_t address,
                                  uint64_t physical, uint64_t pages,
                                  unsigned protection, struct kaon_error *err);

    /* Shows nothing there any more. For what is attached to the machine, and
     * to be detached before a guest runs in the space again. */
    void (*space_unmap)(struct kaon_machine *machine, struct kaon_space space,
                        uint64_t address, uint64_t pages);

    /* What a guest address shows: false if nothing. */
    bool (*space_look)(struct kaon_machine *machine, struct kaon_space space,
                       uint64_t address, uint64_t *physical,
                       unsigned *protection);

    /* The space is complete, but for growth; a guest may run in it. */
    enum kaon_status (*space_seal)(struct kaon_machine *machine,
                                   struct kaon_space space,
                                   struct kaon_error *err);

    /* Gives the space's own pages (not those it shows) to the arena. Where
     * spaces grow: only one that never ran, or before machine_reclaim(). */
    void (*space_destroy)(struct kaon_machine *machine,
                          struct kaon_space space);

    /*
     * The next four are about guests that an exit does not stop for certain:
     * all are NULL where exit_stops_guest. The caller has the space: nobody
     * enters it meanwhile.
     *
     * space_halt: what of the guest still runs is told to end, and does so in
     * a moment, of which there is no proof. It is the end of what it was doing:
     * the next entry is a slow one.
     */
    void (*space_halt)(struct kaon_machine *machine, struct kaon_space space);

    /* Makes certain that no guest instruction runs in the space from here to
     * its next entry, which finds nothing of its registers or of what else it
     * kept outside of its own pages. Cheap for a guest that waits as it should;
     * one that goes on running for a millisecond is ended. False: the host
     * failed to, so its memory must not be relied on. */
    bool (*space_park)(struct kaon_machine *machine, struct kaon_space space);

    /* Is that certain already, so that to park takes a microsecond, and nobody
     * is waited for or ended? */
    bool (*space_is_still)(struct kaon_machine *machine,
                           struct kaon_space space);

    /* Which of these pages of the arena, which the space shows, were ever
     * touched: the first ones in a row, false if there are none. All others
     * read as zeroes, and cost no memory until they are touched. NULL too where
     * spaces grow: there the pages of a space are those that were mapped. No
     * guest runs in the space: it is parked, or not sealed yet. */
    bool (*space_touched)(struct kaon_machine *machine, struct kaon_space space,
                          uint64_t physical, uint64_t pages, uint64_t *first,
                          uint64_t *count);

    /* Where guests hand over in shared memory as it is: sets how often both
     * sides look for their turn before they sleep, 0 being what is usual. NULL
     * where they leave by an exit: a guest that is to stay needs a thread. */
    void (*space_spin)(struct kaon_machine *machine, struct kaon_space space,
                       uint32_t looks);

    /* One vCPU at a time, each with the next index. */
    enum kaon_status (*vcpu_create)(struct kaon_vcpu **out,
                                    struct kaon_machine *machine,
                                    uint32_t index, struct kaon_error *err);
    void (*vcpu_destroy)(struct kaon_vcpu *vcpu);

    /* The calling thread is the next to run the vCPU. */
    void (*vcpu_bind)(struct kaon_vcpu *vcpu);

    /*
     * Enters a space afresh: registers are those of entry and of pointers and
     * else clear, FPU and vector state as after reset; but vector registers
     * of a guest that left through the gate, and was left alone since, may be
     * its own still. `fresh` says that no vCPU but this ran the space since
     * its last run here. Returns at the next exit. A failure says that the
     * host failed, not the guest.
     */
    enum kaon_status (*vcpu_enter)(struct kaon_vcpu *vcpu,
                                   struct kaon_space space, bool fresh,
                                   const struct kaon_entry *entry,
                                   const struct kaon_thread_pointers *pointers,
                                   struct kaon_exit *exit,
                                   struct kaon_error *err);

    /* Goes on after any exit but MEMORY and STOPPED, with registers as they
     * were; after a FAULT, with the instruction that faulted. */
    enum kaon_status (*vcpu_resume)(struct kaon_vcpu *vcpu,
                                    struct kaon_exit *exit,
                                    struct kaon_error *err);

    /* The guest's registers at the last exit. */
    void (*vcpu_registers)(const struct kaon_vcpu *vcpu,
                           struct kaon_registers *registers);

    /* To enter the guest with next; after a GATE exit. Its own word. */
    struct kaon_thread_pointers (*vcpu_pointers)(const struct kaon_vcpu *vcpu);

    /* Prepares for kicks: KAON_EBACKEND says why there can be none. */
    enum kaon_status (*kick_ready)(struct kaon_machine *machine,
                                   struct kaon_error *err);

    /* From any thread, while the vCPU is bound: makes the current or next
     * enter or resume end as KICKED. unkick() takes it back. */
    void (*vcpu_kick)(struct kaon_vcpu *vcpu);
    void (*vcpu_unkick)(struct kaon_vcpu *vcpu);
};

extern const struct kaon_backend kaon__backend_kvm;

#endif

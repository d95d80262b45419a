/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm: opens it, and knows what it says. Owns that, read once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "backend/kvm/inside.h"
#include "host/error.h"
#include "host/locks.h"

/*
 * Constant for a running kernel, and slow to ask for (0.3 ms): kept for the
 * process once it has been read in full.
 */
static struct {
    bool known;
    struct kaon_kvm_facts facts;
} device;

static enum kaon_status fail_open(struct kaon_error *err)
{
    switch (errno) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return kaon__fail_errno(
            err, KAON_EBACKEND,
            "there is no /dev/kvm; enable virtualization in firmware or cloud, "
            "load kvm_amd or kvm_intel, in a container pass --device "
            "/dev/kvm, or choose weaker isolation (KAON_ISOLATION_PROCESS): "
            "`kaon doctor` tells more");
    case EACCES:
    case EPERM:
        return kaon__fail_errno(
            err, KAON_EBACKEND,
            "no permission to open /dev/kvm; add the user to its group, as "
            "in `sudo usermod -aG kvm $USER`, and log in anew, or choose "
            "weaker isolation (KAON_ISOLATION_PROCESS): `kaon doctor` tells "
            "more");
    case EMFILE:
    case ENFILE:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "out of file descriptors: a domain takes 1 "
                                "and each vCPU 1; raise `ulimit -n`");
    default:
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "cannot open /dev/kvm: %s; see to that or "
                                "choose weaker isolation "
                                "(KAON_ISOLATION_PROCESS): `kaon doctor` "
                                "tells more",
                                strerror(errno));
    }
}

enum kaon_status kaon__kvm_fail(struct kaon_error *err, const char *what)
{
    if (errno == EMFILE || errno == ENFILE)
        return fail_open(err);
    if (errno == ENOMEM)
        return kaon__fail_errno(err, KAON_ENOMEM,
                                "KVM is out of memory (%s): use fewer "
                                "domains, or give the machine more memory",
                                what);
    return kaon__fail_errno(err, KAON_EBACKEND,
                            "KVM refused %s: %s; `kaon doctor` tells more",
                            what, strerror(errno));
}

/*
 * Before Linux 6.13 KVM waited for an RCU grace period whenever another thread
 * than before ran a vCPU: some 15 ms.
 */
static bool vcpus_stay(void)
{
    struct utsname name;
    unsigned major, minor;

    return uname(&name) == 0 &&
           sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
           (major < 6 || (major == 6 && minor < 13));
}

static enum kaon_status learn(int kvm, struct kaon_error *err)
{
    const unsigned long wanted =
        KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
    int run_size, sync;

    if (version != KVM_API_VERSION)
        return kaon__fail(err, KAON_EBACKEND,
                          "/dev/kvm speaks version %d where 12 is known: is "
                          "it KVM?",
                          version);
    sync = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
    if (sync < 0 || ((unsigned long)sync & wanted) != wanted ||
        ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0 ||
        ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0)
        return kaon__fail(err, KAON_EBACKEND,
                          "this KVM is too old: it needs KVM_CAP_SYNC_REGS, "
                          "KVM_CAP_READONLY_MEM and KVM_CAP_IMMEDIATE_EXIT, "
                          "which Linux has since 4.17");
    run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < (int)sizeof(struct kvm_run))
        return kaon__kvm_fail(err, "KVM_GET_VCPU_MMAP_SIZE");
    device.facts.cpu.cpuid.head.nent = KAON_KVM_CPUID_MAX;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &device.facts.cpu.cpuid.head) < 0)
        return kaon__kvm_fail(err, "KVM_GET_SUPPORTED_CPUID");
    kaon__kvm_cpu_learn(&device.facts.cpu);
    device.facts.run_size = (size_t)run_size;
    device.facts.vcpus_stay = vcpus_stay();
    device.known = true;
    return KAON_OK;
}

enum kaon_status kaon__kvm_open(int *out, struct kaon_error *err)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    enum kaon_status status = KAON_OK;

    if (kvm < 0)
        return fail_open(err);
    kaon__lock(KAON_LOCK_DEVICE);
    if (!device.known)
        status = learn(kvm, err);
    kaon__unlock(KAON_LOCK_DEVICE);
    if (status)
        close(kvm);
    else
        *out = kvm;
    return status;
}

const struct kaon_kvm_facts *kaon__kvm_facts(void)
{
    return &device.facts;
}

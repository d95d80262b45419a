/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kaon doctor finds out about VMs: the CPU, the module and /dev/kvm. Asks
 * it itself, not through the library, whose first failure would hide the
 * others.
 */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/kvm.h>

#define KVM_PATH "/dev/kvm"

/* ---- The CPU and the modules ------------------------------------------- */

static bool has_word(const char *line, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = line; (at = strstr(at, word)); at += length)
        if (at != line && at[-1] == ' ' && (!at[length] || at[length] == ' '))
            return true;
    return false;
}

static void check_cpu(struct diagnosis *d)
{
    static char line[8192];
    FILE *file = fopen("/proc/cpuinfo", "re");
    bool virtual = false;

    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "flags", 5) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        d->amd = has_word(line, "svm");
        d->intel = has_word(line, "vmx");
        virtual = has_word(line, "hypervisor");
        break;
    }
    if (file)
        fclose(file);

    if (d->amd || d->intel) {
        found(d, "cpu", GOOD, "the CPU has %s%s",
              d->amd ? "AMD-V (svm)" : "Intel VT-x (vmx)",
              virtual ? ", passed on to this virtual machine" : "");
        return;
    }
    advise(found(d, "cpu", NOTE, "the CPU shows neither svm nor vmx%s",
                 virtual ? ", and this is a virtual machine" : ""),
           virtual ? "unless KVM works without them here, as with kvm_pvm: "
                     "enable nested virtualization on the host, or choose an "
                     "instance that has it"
                   : "enable virtualization (AMD-V, SVM, VT-x) in the "
                     "firmware's setup");
}

static bool module_is_there(const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "/sys/module/%s", name);
    return access(path, F_OK) == 0;
}

static void check_nested(struct diagnosis *d, const char *module)
{
    char path[80], line[16];

    snprintf(path, sizeof path, "/sys/module/%s/parameters/nested", module);
    read_line(path, line, sizeof line);
    if (line[0])
        found(d, "nested", GOOD, "guests of virtual machines on this host %s",
              strchr("1Y", line[0]) ? "can use KVM too"
                                    : "cannot use KVM; Kaon does not need it");
}

static void check_modules(struct diagnosis *d)
{
    static const char *const modules[] = { "kvm_amd", "kvm_intel", "kvm_pvm" };

    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
        if (module_is_there(modules[i])) {
            found(d, "module", GOOD, "the module %s is loaded", modules[i]);
            check_nested(d, modules[i]);
            return;
        }
    advise(found(d, "module", NOTE,
                 "none of kvm_amd, kvm_intel and kvm_pvm "
                 "shows as loaded"),
           "sudo modprobe %s", d->amd ? "kvm_amd" : "kvm_intel");
}

/* ---- The device -------------------------------------------------------- */

/* As far as one can tell from inside. */
static bool in_container(void)
{
    return access("/.dockerenv", F_OK) == 0 ||
           access("/run/.containerenv", F_OK) == 0 ||
           access("/run/secrets/kubernetes.io", F_OK) == 0;
}

static void no_device(struct diagnosis *d)
{
    struct finding *finding =
        found(d, "device", BAD, "there is no %s", KVM_PATH);

    if (in_container())
        advise(finding,
               "start the container with --device %s (docker, "
               "podman); in Kubernetes use a device plugin",
               KVM_PATH);
    else if (d->amd || d->intel)
        advise(finding, "sudo modprobe %s", d->amd ? "kvm_amd" : "kvm_intel");
    else
        advise(finding, "use a machine with virtualization, or enable it");
}

static void no_permission(struct diagnosis *d, const struct stat *status)
{
    const struct group *group = getgrgid(status->st_gid);
    bool by_group = status->st_mode & S_IWGRP && status->st_gid != 0;
    struct finding *finding =
        found(d, "device", BAD,
              "no permission on %s: its mode is %04o, its "
              "group %u (%s)",
              KVM_PATH, status->st_mode & 07777u, (unsigned)status->st_gid,
              group ? group->gr_name : "without a name");

    if (in_container())
        advise(finding, "start the container with --group-add %u as well",
               (unsigned)status->st_gid);
    else if (by_group && group)
        advise(finding, "sudo usermod -aG %s $USER, then log in anew",
               group->gr_name);
    else
        advise(finding,
               "sudo chgrp kvm %s && sudo chmod 660 %s, and sudo "
               "usermod -aG kvm $USER, then log in anew",
               KVM_PATH, KVM_PATH);
}

/* Returns a descriptor, or -1 with a finding. */
static int open_device(struct diagnosis *d)
{
    struct stat status;
    int kvm = open(KVM_PATH, O_RDWR | O_CLOEXEC);
    int error = errno;

    if (kvm >= 0)
        found(d, "device", GOOD, "%s can be opened", KVM_PATH);
    else if (stat(KVM_PATH, &status) < 0 || error == ENXIO || error == ENODEV)
        no_device(d);
    else if (error == EACCES || error == EPERM)
        no_permission(d, &status);
    else
        advise(found(d, "device", BAD, "%s cannot be opened: %s", KVM_PATH,
                     strerror(error)),
               error == EMFILE ? "ulimit -n 65536"
                               : "see dmesg for what KVM says");
    return kvm;
}

struct capability {
    long number;
    const char *name;
    int bits; /* that it must report; 1 for those that are there or not */
};

static void check_capabilities(struct diagnosis *d, int kvm)
{
    static const struct capability needed[] = {
        { KVM_CAP_USER_MEMORY, "USER_MEMORY", 1 },
        { KVM_CAP_READONLY_MEM, "READONLY_MEM", 1 },
        { KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", 1 },
        { KVM_CAP_SYNC_REGS, "SYNC_REGS",
          KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS },
    };
    char missing[160] = "";

    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        int got = ioctl(kvm, KVM_CHECK_EXTENSION, needed[i].number);
        size_t used = strlen(missing);

        if (got < 0 || (got & needed[i].bits) != needed[i].bits)
            snprintf(missing + used, sizeof missing - used, " KVM_CAP_%s",
                     needed[i].name);
    }
    if (missing[0])
        advise(found(d, "capabilities", BAD, "this KVM lacks%s", missing),
               "use Linux 4.17 or newer");
    else
        found(d, "capabilities", GOOD,
              "KVM has what Kaon needs, with up to %d memory slots and %d "
              "vCPUs for a domain",
              ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS),
              ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS));
}

static void check_vm(struct diagnosis *d, int kvm)
{
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    int error = errno;

    if (vm >= 0) {
        close(vm);
        found(d, "vm", GOOD, "KVM creates virtual machines");
        return;
    }
    advise(found(d, "vm", BAD, "KVM creates no virtual machine: %s",
                 strerror(error)),
           error == EBUSY ? "another hypervisor (VirtualBox, VMware) has the "
                            "CPU: stop it"
                          : "see dmesg for what KVM says");
}

static void check_device(struct diagnosis *d)
{
    int kvm = open_device(d), version;

    if (kvm < 0)
        return;
    version = ioctl(kvm, KVM_GET_API_VERSION, 0);
    if (version == KVM_API_VERSION) {
        found(d, "api", GOOD, "KVM speaks version %d of its API", version);
        check_capabilities(d, kvm);
        check_vm(d, kvm);
    } else {
        advise(found(d, "api", BAD, "%s answers version %d, not %d", KVM_PATH,
                     version, KVM_API_VERSION),
               "find out what %s is: it is not KVM", KVM_PATH);
    }
    close(kvm);
}

void check_kvm(struct diagnosis *d)
{
    check_cpu(d);
    check_modules(d);
    check_device(d);
}

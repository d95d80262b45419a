/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM backend: a machine is a VM (machine.c), its arena and what is
 * attached are memslots (memory.c), a space is page tables that only the host
 * writes, and a vCPU is a vCPU (vcpu.c).
 */
#include "backend/kvm/inside.h"

const struct kaon_backend kaon__backend_kvm = {
    .name = "kvm",
    .exit_stops_guest = true,
    .spaces_grow = true,
    .machine_create = kaon__kvm_machine_create,
    .machine_destroy = kaon__kvm_machine_destroy,
    .machine_check = kaon__kvm_machine_check,
    .machine_attach = kaon__kvm_machine_attach,
    .machine_detach = kaon__kvm_machine_detach,
    .discard = kaon__kvm_discard,
    .machine_reclaim = kaon__kvm_machine_reclaim,
    .space_create = kaon__kvm_space_create,
    .space_map = kaon__kvm_space_map,
    .space_unmap = kaon__kvm_space_unmap,
    .space_look = kaon__kvm_space_look,
    .space_seal = kaon__kvm_space_seal,
    .space_destroy = kaon__kvm_space_destroy,
    .vcpu_create = kaon__kvm_vcpu_create,
    .vcpu_destroy = kaon__kvm_vcpu_destroy,
    .vcpu_bind = kaon__kvm_vcpu_bind,
    .vcpu_enter = kaon__kvm_vcpu_enter,
    .vcpu_resume = kaon__kvm_vcpu_resume,
    .vcpu_registers = kaon__kvm_vcpu_registers,
    .vcpu_pointers = kaon__kvm_vcpu_pointers,
    .kick_ready = kaon__kvm_kick_ready,
    .vcpu_kick = kaon__kvm_vcpu_kick,
    .vcpu_unkick = kaon__kvm_vcpu_unkick,
};

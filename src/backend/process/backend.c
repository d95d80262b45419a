/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process backend: a sandbox is a process that owns nothing but the
 * guest's memory and can do nothing but compute and hand over its turn.
 *
 * A machine is a memfd, its arena (machine.c). A space is a list of what a
 * process is to map (space.c); sealing it makes the process, which then never
 * changes (process.c, by way of the zygote, launch.c). A vCPU is only the right
 * to give a process its turn and to wait for it (vcpu.c).
 */
#include "backend/process/inside.h"

const struct kaon_backend kaon__backend_process = {
    .name = "process",
    .exit_stops_guest = false,
    .spaces_grow = false,
    .machine_create = kaon__process_machine_create,
    .machine_destroy = kaon__process_machine_destroy,
    .machine_check = kaon__process_machine_check,
    .machine_attach = kaon__process_machine_attach,
    .machine_detach = kaon__process_machine_detach,
    .discard = kaon__process_discard,
    .machine_reclaim = kaon__process_machine_reclaim,
    .space_create = kaon__process_space_create,
    .space_map = kaon__process_space_map,
    .space_unmap = kaon__process_space_unmap,
    .space_look = kaon__process_space_look,
    .space_seal = kaon__process_space_seal,
    .space_destroy = kaon__process_space_destroy,
    .space_halt = kaon__process_space_halt,
    .space_park = kaon__process_space_park,
    .space_is_still = kaon__process_space_is_still,
    .space_touched = kaon__process_space_touched,
    .space_spin = kaon__process_space_spin,
    .vcpu_create = kaon__process_vcpu_create,
    .vcpu_destroy = kaon__process_vcpu_destroy,
    .vcpu_bind = kaon__process_vcpu_bind,
    .vcpu_enter = kaon__process_vcpu_enter,
    .vcpu_resume = kaon__process_vcpu_resume,
    .vcpu_registers = kaon__process_vcpu_registers,
    .vcpu_pointers = kaon__process_vcpu_pointers,
    .kick_ready = kaon__process_kick_ready,
    .vcpu_kick = kaon__process_vcpu_kick,
    .vcpu_unkick = kaon__process_vcpu_unkick,
};

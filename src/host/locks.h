/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks for what the whole process has one of. In a child of fork() all of them
 * are free: threads that held them in the parent are not there to let them go.
 * So what a lock guards may be half changed there, and must bear that.
 */
#ifndef KAON_SRC_HOST_LOCKS_H
#define KAON_SRC_HOST_LOCKS_H

enum kaon_lock {
    KAON_LOCK_DEVICE,  /* backend/kvm/device.c */
    KAON_LOCK_KICK,    /* backend/kick.c */
    KAON_LOCK_PROCESS, /* backend/process/machine.c */
    KAON_LOCK_ZYGOTE,  /* backend/process/launch.c */
    KAON_LOCKS,
};

void kaon__lock(enum kaon_lock lock);
void kaon__unlock(enum kaon_lock lock);

#endif

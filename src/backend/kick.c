/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the handlers of kick signals: the process's, so counted for all. */
#include "backend/kick.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "host/error.h"
#include "host/locks.h"

#define SIGNALS 65 /* Linux: 1 to 64 */

static unsigned users[SIGNALS];

static void do_nothing(int signal)
{
    (void)signal;
}

void kaon__kick_init(struct kaon_kick *kick, int signal)
{
    *kick = (struct kaon_kick){ .signal = signal };
}

/* Another handler than ours, or none, is not touched. */
static bool is_free(const struct sigaction *action)
{
    return !(action->sa_flags & SA_SIGINFO) &&
           (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN ||
            action->sa_handler == do_nothing);
}

static enum kaon_status install(int signal, struct kaon_error *err)
{
    struct sigaction action;

    if (sigaction(signal, NULL, &action) != 0)
        return kaon__fail_errno(err, KAON_EBACKEND, "cannot use signal %d: %s",
                                signal, strerror(errno));
    if (!is_free(&action))
        return kaon__fail(err, KAON_EBACKEND,
                          "the program handles signal %d itself: choose "
                          "another with kick_signal",
                          signal);
    action =
        (struct sigaction){ .sa_handler = do_nothing, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, NULL) != 0)
        return kaon__fail_errno(err, KAON_EBACKEND,
                                "cannot handle signal %d: %s", signal,
                                strerror(errno));
    return KAON_OK;
}

enum kaon_status kaon__kick_install(struct kaon_kick *kick,
                                    struct kaon_error *err)
{
    enum kaon_status status = KAON_OK;

    kaon__lock(KAON_LOCK_KICK);
    if (!kick->installed) {
        if (users[kick->signal] == 0)
            status = install(kick->signal, err);
        if (!status) {
            users[kick->signal]++;
            kick->installed = true;
        }
    }
    kaon__unlock(KAON_LOCK_KICK);
    return status;
}

/* Unless the program has put a handler of its own in our place. */
static void uninstall(int number)
{
    struct sigaction action;

    if (sigaction(number, NULL, &action) == 0 &&
        !(action.sa_flags & SA_SIGINFO) && action.sa_handler == do_nothing)
        signal(number, SIG_IGN);
}

void kaon__kick_finish(struct kaon_kick *kick)
{
    kaon__lock(KAON_LOCK_KICK);
    if (kick->installed && --users[kick->signal] == 0)
        uninstall(kick->signal);
    kaon__unlock(KAON_LOCK_KICK);
}

void kaon__kick_admit(const struct kaon_kick *kick)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, kick->signal);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void kaon__kick_send(const struct kaon_kick *kick, pthread_t thread)
{
    pthread_kill(thread, kick->signal);
}

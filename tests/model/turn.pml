/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a resident guest and its host hand over: a model for spin(1). The host's
 * half is src/host/resident.c, the guest's src/gate/gate_kvm_x86_64.S; each
 * step here is one access to shared memory there.
 *
 * Checked: neither side uses the exchange while the other does; each sees what
 * the other wrote for it; nobody sleeps for ever; once the host has made the
 * guest leave, it runs no more. With -DHOSTILE the guest does to the turn what
 * it likes, and the caller still gets out by its deadline.
 *
 * The CPU's order of accesses (TSO) matters in one place: the host gives the
 * turn by a plain store, which others may see late. So the frame and the turn
 * wait in a buffer here, until it is emptied: at any moment, and before each
 * atomic exchange and system call of the host.
 */
#ifndef CALLS
#define CALLS 3
#endif
#ifndef KICKS
#define KICKS 2 /* stray ones, at any moment */
#endif

#define HOST 0
#define GUEST 1
#define HOST_ALONE 2
#define GUEST_ALONE 3

#define OUT 0
#define ENTER 1
#define RESUME 2
#define QUIT 3

#define NO_EXIT 0
#define GATE 1
#define KICKED 2

/* Shared memory. */
byte turn = HOST;
byte frame;             /* the number of the call; of its answer, and 100 */
byte job = OUT;
byte why = NO_EXIT;     /* the exit, while the job is OUT */
bool pending;

/* The host's store buffer. */
bool buffered;
byte buffered_frame;

/* The hypervisor's. */
bool inside;            /* the vCPU executes the guest */
bool anew;              /* from the gate's WAIT on */
bool kick;              /* immediate_exit, and the signal */

/* What is said about all of that. */
byte call;              /* that is being made */
bool host_uses, guest_uses;
bool stopped;           /* by a deadline or an interrupt */
bool over, ended;

#define MINE (!buffered && turn != GUEST && turn != GUEST_ALONE)

/* ---- The CPU and the hypervisor ---------------------------------------- */

active proctype Buffer()
{
end:
    do
    :: atomic { buffered -> frame = buffered_frame }
       atomic { turn = GUEST; buffered = false }
    od
}

/* A kick ends the guest's run, wherever it is. */
active proctype Hypervisor()
{
end:
    do
    :: atomic { inside && kick -> kick = false; why = KICKED; inside = false }
    od
}

/* Kicks that nobody waits for: of an interrupt that came late, or a signal of
 * the program's own. */
active proctype Stray()
{
    byte i;

    for (i : 1 .. KICKS) {
        kick = true
    }
}

#ifdef HOSTILE
active proctype Deadline()
{
    atomic { stopped = true; kick = true }
}
#endif

active proctype Runner()
{
    do
    :: job == QUIT -> break
    :: atomic { job == ENTER || job == RESUME ->
                anew = (job == ENTER -> true : anew); why = NO_EXIT;
                inside = true }
       !inside;
       pending = true;
       job = OUT /* and wakes */
    od
}

/* ---- The guest --------------------------------------------------------- */

#ifdef HOSTILE
active proctype Guest()
{
end:
    do
    :: inside -> anew = false
    :: atomic { inside -> turn = HOST }
    :: atomic { inside -> turn = GUEST }
    :: atomic { inside -> turn = HOST_ALONE }
    :: atomic { inside -> turn = GUEST_ALONE }
    :: atomic { inside -> frame = 77 }
    :: atomic { inside -> why = GATE; inside = false }
    od
}
#else
active proctype Guest()
{
    byte old;

restart:
    {
        goto wait;
hand_over:
        atomic { inside -> old = turn; turn = HOST }
        if
        :: old == GUEST_ALONE -> goto sleep
        :: else
        fi;
wait:
        /* So many looks; two are as good as any number. */
        if
        :: atomic { inside && (turn == GUEST || turn == GUEST_ALONE) } ->
           goto my_turn
        :: atomic { inside && (turn == HOST || turn == HOST_ALONE) }
        fi;
        if
        :: atomic { inside && (turn == GUEST || turn == GUEST_ALONE) } ->
           goto my_turn
        :: atomic { inside && (turn == HOST || turn == HOST_ALONE) }
        fi;
sleep:
        atomic { inside -> turn = (turn == HOST -> HOST_ALONE : turn) }
        if
        :: atomic { inside && (turn == GUEST || turn == GUEST_ALONE) } ->
           goto my_turn
        :: atomic { inside && (turn == HOST || turn == HOST_ALONE) ->
                    why = GATE; inside = false } /* out; waits till resumed */
        fi;
        goto wait;
my_turn:
        atomic { inside -> guest_uses = true; assert(!host_uses);
                 assert(frame == call) }
        atomic { inside -> frame = call + 100 }
        atomic { inside -> assert(!host_uses); guest_uses = false }
        goto hand_over
    } unless { atomic { inside && anew -> anew = false; guest_uses = false } }
    goto restart
}
#endif

/* ---- The host ---------------------------------------------------------- */

/* set_job(): a store that empties the buffer, and a wake-up. */
inline set_job(what)
{
    atomic { !buffered -> job = what }
}

inline await_out()
{
    job == OUT
}

inline halt()
{
    if
    :: job != OUT -> atomic { !buffered -> kick = true } await_out();
                     kick = false
    :: job == OUT
    fi
}

/* Between calls: the guest is out, for certain, until go(). */
inline pause()
{
    halt();
    assert(!inside);
    pending = false;
    atomic { !buffered -> turn = HOST }
    assert(!inside)
}

inline go()
{
    assert(!inside);
    turn = HOST;
    kick = false;
    my_turn = true;
    set_job(ENTER)
}

/* kaon__resident_run(), and the loop of call.c around it. */
inline make_call()
{
    call++;
    host_uses = true;
    assert(!guest_uses || stopped);
    buffered_frame = call;
    host_uses = false;
    over = false;
    do
    :: over -> break
    :: !over && stopped -> break
    :: !over && !stopped ->
       if
       :: my_turn -> atomic { !buffered -> buffered = true; my_turn = false }
       :: !my_turn
       fi;
       if
       :: job == OUT && !pending -> set_job(RESUME)
       :: !(job == OUT && !pending)
       fi;
look:
       if
       :: job == OUT -> /* take_exit() */
          pending = false;
          if
          :: why == GATE && MINE -> my_turn = true; over = true;
             set_job(RESUME)
          :: why == GATE && !MINE -> atomic { !buffered }
             if /* the buffer may have hidden what it is */
             :: MINE -> my_turn = true; over = true; set_job(RESUME)
             :: !MINE
             fi
          :: why == KICKED
          fi
       :: job != OUT && MINE -> my_turn = true; over = true
       :: job != OUT && !MINE -> /* gives up looking: sleeps */
          atomic { !buffered ->
                   if
                   :: turn == GUEST -> turn = GUEST_ALONE; asleep = true
                   :: turn == GUEST_ALONE -> asleep = true
                   :: turn == HOST || turn == HOST_ALONE -> asleep = false
                   fi }
          if
          :: asleep -> await_out()
          :: !asleep
          fi;
          goto look
       fi
    od;
    if
    :: over && !stopped ->
       host_uses = true;
#ifndef HOSTILE
       assert(!guest_uses);
       assert(frame == call + 100);
#endif
       host_uses = false
    :: else
    fi
}

/* When nothing can go on, all is done: else somebody sleeps for ever. */
active proctype Watch()
{
    timeout -> assert(ended && job == QUIT && !inside)
}

active proctype Caller()
{
    bool my_turn, asleep;
    byte i;

    go();
    for (i : 1 .. CALLS) {
        make_call();
        if
        :: stopped -> break
        :: !stopped
        fi;
        if /* restored behind the caller's back, or not */
        :: pause(); go()
        :: true
        fi
    }
    pause();
    set_job(QUIT);
    ended = true
}

ltl gets_out { <> ended }

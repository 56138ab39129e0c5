/* sched/idle.h: Ms without work and Ps without an M: who sleeps, who spins, who waits for
 * descriptors and timers, and how one of them is woken without ever losing work.
 *
 * Two sides meet over every piece of work:
 *   who submits  (A) makes it visible (a ring's tail, the global queue, a timer heap's next_ns)
 *                (B) full barrier
 *                (C) looks: nobody spinning, and a P idle (or in a blocking call)? Then wakes one M.
 *   who gives up (D) puts its P on the idle list and raises the idle count; stops being a spinner
 *                (E) full barrier
 *                (F) looks at every queue again, and takes a P back if there is something; then takes
 *                the poll role, which looks at every heap, or finds it taken. (Who hands a P off
 *                without searching looks at the role, too: its holder may just have left it.)
 * Whichever barrier comes second, its owner sees what the other made visible before its own: either
 * (C) sees the idle P or the spinner gone, or (F) sees the work. A spinner found at (C) is as good as
 * an M woken: it gives up through (D) to (F), and when it finds something else instead, it stops
 * spinning, passes a barrier, looks at every queue and wakes the next one if anything is left. So
 * waking spreads as a chain and never as a herd.
 *   (G) A waker that has counted itself as the spinner and then finds no P was, for a moment, a
 *       spinner that would not look: it stops, and starts again at (B).
 * tests/runtime/test_idle_model.c tries every interleaving, and each of these rules left out.
 *
 * What is *not* submitted that way, on purpose: a single G in a P's `next`. Its P's M runs it at its
 * next turn, which is cheaper than waking anybody; if that takes long, sysmon marks it (old_next)
 * and wakes a thief.
 *
 * One M at a time, without a P, takes the poll role: it waits for descriptors, and until the
 * earliest timer of all heaps. Who arms an earlier timer wakes it: (T1) arms, barrier, reads
 * poll_until_ns; (T2) the role's holder stores "wake me for anything", barrier, reads the heaps,
 * stores what it found, waits. A wake sticks until the next wait, so none is lost between:
 * tests/runtime/test_poll_role_model.c, with sysmon's part and the role's end.
 * While every P computes no M is without work, and sysmon stands in, for a millisecond at most. Who
 * found the role taken by it is woken when it leaves. */
#pragma once
#include "runtime/sched/gmp.h"

/* Work was made visible: wake an M if that helps.  Context: any thread; never parks. */
void idle_wake_one(void);

/* A timer was armed for when_ns: see that somebody waits no longer than that. */
void idle_timer_armed(int64_t when_ns);

/* Out of work: spin, then give up the P and sleep. True with a P and something likely to be found;
 * false when the runtime stops (the P is gone).  Context: scheduler's stack; blocks the thread. */
bool idle_find_or_sleep(struct m *m);
/* We have something to run: stop spinning if we did, and pass the search on. */
void idle_found(struct m *m);

/* Without a P: sleep among the idle Ms until one is handed to us; or wait for one that is meant for
 * this M alone. False when the runtime stops.  Context: scheduler's stack; blocks the thread. */
bool idle_sleep(struct m *m);
bool idle_await_p(struct m *m);

/* Give our P to somebody who has use for it, or to the idle list. */
void idle_hand_off(struct p *p);
/* Hand `p` to that very M, which sleeps or is about to. */
void idle_give(struct m *m, struct p *p, bool spinning);

/* Is anything queued that an M without work could run? A hint, but see (F). */
bool idle_work_is_visible(void);

/* Take a P that nobody uses, or one whose M is in a blocking call; NULL: none. */
struct p *idle_take_p(void);
/* Would there be one to take? */
bool idle_p_is_free(void);
/* Take that one from its blocking call, if it still is in one. */
bool idle_retake(struct p *p);
void idle_attach(struct m *m, struct p *p);

/* Take the poll role until latest_ns at most, or until there is something to run, which is queued then.
 * False: somebody has it.  Context: a thread without a P; blocks it. */
bool idle_stand_in(struct m *m, int64_t latest_ns);

/* Look at the poller, without waiting, and queue what it readied. */
int idle_poll(struct m *m);
/* We leave our P without looking at the poller: what it has collected for P goes now. */
void idle_leave_poller(struct p *p);
/* Queue what was readied while we had no P. */
void idle_flush_ready(struct m *m);
/* Make whoever waits in the poll role look around. */
void idle_break_poll(void);

/* The earliest timer of all Ps. */
int64_t idle_next_timer_ns(void);

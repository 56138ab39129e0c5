/* sched/spill.h: a goroutine that is parked for long keeps its stack as a compact copy, and has it
 * back, at the same address, before it runs. Four kilobytes become some six hundred bytes.
 *
 *     in its slot ---- spill: guard over the pages, copy out of the file, punch a hole ----> copy
 *     copy ---- switched to, or touched by a stranger: fill the file, lift the guard ---> in its slot
 *
 * The arena is then a memory file, mapped shared: a guard takes the mapping away and leaves the page
 * in the file, and the file is written before the guard is lifted. So whoever touches the stack
 * meanwhile sees either the right bytes or a trap, and the trap (fault.c) brings the stack back. With
 * private memory a write could fall between copy and guard, and be lost. Needs guards on shared
 * memory, Linux 6.15; without them, and where a stack must stay as it is for the tools
 * (AddressSanitizer, ThreadSanitizer, valgrind) or nothing is parked for real (a simulated world),
 * spilling is off and spill_why says so.
 *
 * Who may spill, and how ready races with it. Each slot has a lock (in a table of its own) and its G
 * a mark, `away`. The spiller
 *     1. takes the slot's lock, sets `away`, has every thread pass a barrier (membarrier);
 *     2. (C) CAS parking: PARKED -> PARKED, acquire and release, a change to the same. If it fails,
 *        somebody has the G: clears `away`, gives up. If it succeeds, whatever takes the word out
 *        of PARKED ((B) of gmp.h) comes later. A locked instruction sees what came before, so who
 *        is about to run the G sees `away`. So does he after a plain store (proc.c, ready_usual):
 *        had he, who made the store or was given the G by who made it, looked at `away` before 1,
 *        the store would have been seen here, for his barrier came between;
 *     3. looks at what the G waits for (written before it parked), spills, releases the lock.
 * Who is about to run a G (life_switch_in) looks at `away`, and if it is set takes the lock and puts
 * the stack back. So between 2 and the release nobody can run it, however often it is readied; a G
 * may be runnable and still be spilled. A stranger's trap takes the same lock. The lock is held for
 * some microseconds, by code that touches no goroutine's stack but through the file, so it never
 * traps with it; it is taken with other locks held (a channel's, a timer heap's), and no lock is
 * taken under it but the pool's of copies.
 *
 * Not spilled: a goroutine with something of the kernel's on its stack (in a blocking call, waiting
 * for a file), one that is wired to a thread, one that uses more than SPILL_MOST bytes (of such a
 * one only the pages below its stack pointer are given back). One whose stack a stranger touched
 * stays where it is until it has run: who was there once comes again.
 *
 * The kernel does not trap: a system call that is to write into another goroutine's spilled stack
 * gets EFAULT. Hand such a buffer to spill_touch first, or after the EFAULT, and call again, as
 * poll/sys.c does (libraries do not). A child
 * made by fork does not have the arena at all; posix_spawn is the way. */
#pragma once
#include "runtime/sched/gmp.h"
#include "runtime/sched/stack.h"
#include <stddef.h>

enum {
    SPILL_MOST = 3 << 10, // bytes in use: more than this would save little
    SPILL_AFTER_MS = 1000,
};

/* ---- of a run ---- */

/* What this run's options and KVD_SPILL ask for: is a memory file wanted? Then stack.c makes one, or
 * says why it cannot ("off: ..."). Called in this order: wanted, refuse perhaps, start, stop. */
bool spill_is_wanted(void);
void spill_refuse(const char *why);
/* 0 or -errno: no room for the table of slots. */
int spill_start(uint32_t slots);
void spill_stop(void);

/* The thread that finds who is parked for long; returns when the runtime stops. Woken by break. */
void spill_run(void);
void spill_break(void);

/* Is this run one that can spill; the same and why, in a few words. spill_after_ns: how long a
 * goroutine is parked before; RT_FOREVER: never; 0: at every park, before its P does anything else.
 * Context: any thread. */
bool spill_is_able(void);
const char *spill_why(void);
void spill_set_after_ns(int64_t ns);
int64_t spill_get_after_ns(void);

struct spill_stats {
    uint64_t spilled, restored, strays; // how often; a stray is a restore for a stranger
    uint64_t away, away_bytes;          // now: goroutines, and what their copies take
    uint64_t trimmed;                   // stacks of which pages below the stack pointer went
};
void spill_read_stats(struct spill_stats *out);

/* ---- of a goroutine ---- */

/* Spill gp now, if it is parked and may be; true when it is away. What the policy adds (how long it is
 * parked, whether a stranger was there) is not asked.  Context: any thread; never parks. */
bool spill_try(struct g *gp);

/* Bytes of gp's stack that lie in a copy; 0 when the stack is in its slot.  Context: signal-safe. */
size_t spill_bytes_of(const struct g *gp);

/* The bytes at [at, at + len) are about to be given to the kernel, or were and it said EFAULT: the
 * stacks of others that they lie in are brought back, and stay until those goroutines have run.
 * False when they lie in none.  Context: any; never parks; signal-safe. */
bool spill_touch(const void *at, size_t len);

/* A trap at gp's stack, above the guard. True: the stack is there (now, or again already), the
 * instruction may be tried once more.  Context: signal handler. */
bool spill_serve_trap(struct g *gp, uintptr_t at);

/* mem/gc.h: the collector's parts, as they see each other. Private to mem/.
 *
 *     gc.c       the door: objects, roots, pins, settings, figures
 *     barrier.c  rt_gc_write, rt_gc_copy
 *     mark.c     grey objects and what makes them black
 *     cycle.c    the collector's goroutine: the phases of a cycle, in each mode
 *     pace.c     when a cycle begins, who has to help, who has to wait
 *     sweep.c    what happens to the dead
 *     verify.c   no black object points to a white one
 *
 * An object is a block of a managed span: one word, its type (and a bit: an array), then what the
 * program sees. White: not marked. Grey: marked, and in a chunk of objects still to be looked into.
 * Black: marked, and in none. The mark lies in the span, so objects without pointers are never
 * touched.
 *
 * Each P has spans of its own to allocate from and a chunk of its own for what its barrier greys
 * (struct gc_p): no lock on the fast paths, since code of the runtime is never preempted. */
#pragma once
#include "rt/gc.h"
#include "rt/go.h"
#include "rt/hdr.h"
#include "rt/sync.h"
#include "runtime/mem/span.h"
#include "runtime/sched/park.h"

/* The word in front of each object. */
enum { GC_HEADER_BYTES = 8, GC_IS_ARRAY = 1 };

enum { GC_CHUNK_OBJECTS = 254 };
struct gc_chunk {
    struct gc_chunk *next; // shared lock, or its owner
    uint64_t count;
    uintptr_t *object[GC_CHUNK_OBJECTS]; // headers
};

struct gc_p {
    // owner P
    struct span *spans[SIZECLASS_COUNT][2]; // by class, noscan; NULL: none
    struct gc_chunk *grey;
    bool marks; // new objects are marked, from the first handshake of a cycle to its last
    uint32_t mark_gen;
    // owner P; others read
    _Atomic uint64_t allocated_bytes, allocated_objects, shades, assists;
} __attribute__((aligned(64)));

enum gc_phase { GC_OFF, GC_MARKING };

struct gc {
    _Atomic bool barrier_on;  // rt_gc_write greys; the one thing its fast path looks at
    _Atomic bool deletes_too; // and what is overwritten, too
    _Atomic bool
        alloc_grey;        // new objects are to be looked into: some P may not know the barrier yet
    _Atomic uint8_t phase; // enum gc_phase
    _Atomic uint32_t mark_gen; // the generation of spans that this cycle marks in
    _Atomic bool checked;

    // cycle.c
    struct rt_mutex lock; // started, ended; where waiting for a cycle begins
    struct rt_cond cycle_ended;
    uint64_t started;        // lock
    _Atomic uint64_t ended;  // lock; read without
    _Atomic uint64_t wanted; // a cycle with at least this number is to run
    _Atomic bool kicked;
    struct rt_sem kick;
    _Atomic bool alive; // the collector's goroutine exists
    _Atomic int mode, percent;
    _Atomic size_t limit_bytes;

    struct gc_p *_Atomic ps[RT_PROCS_MAX];

    // mark.c
    struct spinlock grey_lock;
    struct gc_chunk *grey, *spare; // grey_lock
    _Atomic uint32_t grey_chunks;  // grey_lock; read without
    _Atomic uint64_t grey_moves;   // grey objects changed hands outside the collector, or may have
    _Atomic uint32_t spare_count;  // grey_lock
    _Atomic uint64_t marked_bytes, marked_objects; // this cycle's, then the last one's

    // gc.c
    struct spinlock root_lock;
    struct gc_root *roots;         // root_lock
    uint32_t root_count, root_cap; // root_lock
    struct gc_pin *pins;           // root_lock: open addressing, a power of two
    uint32_t pin_count, pin_cap;   // root_lock

    // pace.c
    _Atomic int64_t added_bytes;  // blocks of spans that Ps took, less what they gave back unused
    _Atomic int64_t live_bytes;   // at the end of the last cycle
    _Atomic int64_t added_at_end; // added_bytes then
    int64_t added_at_mark;        // collector
    int64_t allocated_at_end;     // of a simulated world, where one thread runs
    _Atomic int64_t goal_bytes, trigger_bytes;
    _Atomic int64_t work_expected; // bytes to be marked by this cycle, about

    // figures
    struct rt_hdr *stops, *holds;
    _Atomic uint64_t freed_bytes, freed_objects, cycles_forced, world_stops, handshakes,
        stacks_again, checks;
    _Atomic int64_t mark_ns, last_mark_ns, longest_stop_ns, longest_hold_ns;
};
extern struct gc gc;

/* ---- gc.c ---- */

struct gc_root {
    void **slots;
    size_t count;
};
struct gc_pin {
    uintptr_t *object; // its header; NULL: a free place
    uint64_t count;
};

/* The calling P's part; made when it has none.  Context: goroutine, or any holder of P number p. */
struct gc_p *gc_here(void);
struct gc_p *gc_p_of(unsigned p);
void gc_start_once(void);
/* Give p's spans back, in order to be swept.  Context: who has P number p. */
void gc_p_give_spans(struct gc_p *pc);
/* Call slot for each root slot and pin for each pinned object's header. No lock is held for longer than
 * a batch; what comes or goes meanwhile is greyed by who adds or takes it, so every P knows the barrier,
 * or the world is stopped.  Context: goroutine; may be preempted. */
void gc_each_root(void (*slot)(void **slot, void *arg), void (*pin)(uintptr_t *header, void *arg),
                  void *arg);

/* ---- mark.c ---- */

/* The object that the word `p` points to, into, or one past the end of. */
bool gc_find(uintptr_t p, struct span **span, uint32_t *index);

/* Somebody who turns white objects grey. Zero it, use it, give it back. */
struct gc_greyer {
    struct gc_chunk *out;
    uint64_t bytes, objects;
};
void gc_grey(struct gc_greyer *w, uintptr_t p);
void gc_greyer_done(struct gc_greyer *w);
/* Words of memory, any of which may be a pointer. Text of the runtime, touches nothing but them. */
void gc_grey_words(const void *low, const void *high);
/* A P's own chunk joins the others, if it holds something.  Context: who has that P. */
void gc_p_give_grey(struct gc_p *pc);
void gc_p_push_grey(struct gc_p *pc, uintptr_t *header);
/* Make grey objects black until there are none that others can see. `polite`: stop for others now and
 * then.  Context: the collector. */
void gc_drain(bool polite);
/* The same for about so many bytes, looking at no more than is usual for them; big objects are left to
 * the collector. How many it were.  Context: goroutine; never parks. */
int64_t gc_drain_some(int64_t bytes);
void gc_free_chunks(void);

/* Call visit for each pointer slot of the object. */
static inline const struct rt_gc_type *gc_type_of(uintptr_t header)
{
    return (const struct rt_gc_type *)(header & ~(uintptr_t)GC_IS_ARRAY);
}
/* How many elements of its type the object may have. */
size_t gc_elements_of(const uintptr_t *object, uintptr_t header);

/* ---- pace.c ---- */

int64_t gc_heap_bytes(void); // marked by the last cycle, plus allocated since
void gc_pace_marking(void);  // a cycle begins to mark
void gc_pace_ended(void);    // it has marked all
void gc_pace_set(void);      // the percentage or the limit was changed
/* About to take `bytes` more: ask for a cycle, help, or wait. False: over the limit.
 * Context: goroutine; parks. */
bool gc_pace_allocate(size_t bytes);
bool gc_pace_is_due(void); // a cycle
/* In a simulated world: something was allocated.  Context: goroutine; parks. */
void gc_pace_simulated(void);

/* ---- cycle.c ---- */

void gc_collector(void *arg); // a goroutine, until the run ends
void gc_kick(void);           // a cycle is due
/* A whole cycle that begins from now on; forced: swept, too. */
void gc_wait_cycle(void);

/* ---- sweep.c, verify.c ---- */

extern const struct span_hooks gc_sweep_hooks;
void gc_sweep_all(bool polite);
/* With the world stopped and nothing grey. */
void gc_verify(void);

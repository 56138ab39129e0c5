/* rt/gc.h: a managed heap: objects that nobody frees. For those that ask for it; rt_alloc and arenas
 * stay what they are.
 *
 *     struct node { struct node *left, *right; int value; };
 *     static const uint32_t node_pointers[] = {offsetof(struct node, left), offsetof(struct node, right)};
 *     static const struct rt_gc_type node_type = {"node", sizeof(struct node), 2, node_pointers};
 *
 *     struct node *n = rt_gc_new(&node_type);
 *     rt_gc_write(&n->left, other);
 *
 * An object lives as long as it can be reached, by pointers to it or into it (or one past its end),
 * from a registered root, a pin, the stack or the registers of a goroutine, or another managed
 * object's pointer slot. Stacks are looked at conservatively, word by word; objects precisely, by
 * their type. Objects never move. The collector runs beside the program, as a goroutine.
 *
 * What the program owes it:
 *   1. A pointer slot of a managed object or of a root is written by rt_gc_write only (reading is
 *      plain), also the first time. So is a variable on the stack of another goroutine: a result, or
 *      whatever else it was lent for; the collector may have looked at that stack already. Other
 *      fields, and one's own stack, are written as one likes.
 *   2. A managed pointer that lies only where the collector does not look is lost: in malloc'd
 *      memory, a channel's buffer, on its way through a channel or a mailbox, on the stack of a
 *      thread that is no goroutine, disguised. Register the place (rt_gc_root_add) or pin the object
 *      while it is there (rt_gc_pin). The argument of rt_go is looked at.
 *   3. Between entry and return of an rt_blocking call nothing managed is allocated, and no managed
 *      pointer is stored anywhere; what its caller holds stays alive.
 *   4. Everything here is called from goroutines, and ends with the run: rt_run's return frees it. The
 *      first call of a run starts the collector, and may park while another one does so. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_hdr_counts;

/* What an object, or an element of an array, looks like. Const and longer-lived than its objects. */
struct rt_gc_type {
    const char *name;         // for statistics and reports
    uint32_t size_bytes;      // 1 to RT_GC_TYPE_MAX_BYTES
    uint32_t pointer_count;   // 0: holds no managed pointer, and is never looked into
    const uint32_t *pointers; // offsets of its pointer slots: multiples of 8, ascending
};
enum { RT_GC_TYPE_MAX_BYTES = 1 << 20, RT_GC_ROOTS_MAX = 1 << 16 };

/* A new object, all zero, aligned to 8 bytes. NULL when out of memory or over the limit
 * (rt_gc_set_limit), after a collection has tried to help.  Context: goroutine; parks. */
void *rt_gc_new(const struct rt_gc_type *type);
/* n of them in a row (n of at least 1); NULL also when the size is absurd.  Context: as above. */
void *rt_gc_new_array(const struct rt_gc_type *type, size_t n);

/* *slot = pointer, told to the collector. `slot` is a pointer slot of a managed object or of a root, or
 * lies on a stack, as void **; `pointer` points to or into an object, or to nothing managed. A release
 * store: who reads the pointer sees the object behind it.  Context: goroutine; never parks. */
void rt_gc_write_slot(void **slot, void *pointer);
#define rt_gc_write(slot, pointer) rt_gc_write_slot((void **)(slot), (pointer))

/* Copy n elements of `type` between arrays or single objects, their pointer slots with what
 * rt_gc_write does. They may overlap.  Context: goroutine; never parks. */
void rt_gc_copy(const struct rt_gc_type *type, void *to, const void *from, size_t n);

/* Make sure that the compiler holds `pointer` up to here: for whoever works on the inside of an
 * object through an integer or an offset. */
#define rt_gc_keep(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

/* `count` pointer slots outside the managed heap from where objects are reached, until removed. 0,
 * -EEXIST when the first slot is registered, -ENOSPC beyond RT_GC_ROOTS_MAX.
 * Context: goroutine; never parks. */
int rt_gc_root_add(void **slots, size_t count);
/* -ENOENT when it was not added.  Context: as above. */
int rt_gc_root_remove(void **slots);

/* Keep the object that `pointer` points into, whatever reaches it, until as many unpins. For pointers
 * that leave what the collector sees: pin before, unpin after they came back.
 * Context: goroutine; never parks. */
void rt_gc_pin(void *pointer);
void rt_gc_unpin(void *pointer);

/* The object that `pointer` points to or into; NULL: none. `bytes_out` may be NULL: the size of its
 * block.  Context: goroutine; never parks. */
void *rt_gc_object_of(const void *pointer, size_t *bytes_out);

/* ---- when and how ---- */

/* HYBRID    marks beside the program; the write barrier greys what is overwritten (Yuasa) and what is
 *           written (Dijkstra). Each stack is looked at once, no stop of the world at all: each P
 *           passes the phases at a turn of its own.
 * DIJKSTRA  marks beside the program; the barrier greys only what is written, so a pointer may move
 *           from the heap to a stack unseen: the world stops at the end to look at all stacks again.
 * STOPPED   everything in one stop of the world: to compare. */
enum rt_gc_mode { RT_GC_HYBRID, RT_GC_DIJKSTRA, RT_GC_STOPPED, RT_GC_MODES };
const char *rt_gc_mode_name(enum rt_gc_mode mode);

/* From the next cycle on. The first mode is HYBRID. In a simulated world every cycle is STOPPED: when
 * objects are reached must not decide who runs.  Context: goroutine; never parks. */
void rt_gc_set_mode(enum rt_gc_mode mode);
enum rt_gc_mode rt_gc_get_mode(void);

/* A cycle is paced to end when the heap has grown by `percent` over what the last one found alive (at
 * least 4 MiB at 100); negative: only rt_gc_collect collects. First 100, or what KVD_GC_PERCENT
 * says.  Context: goroutine; never parks. */
void rt_gc_set_percent(int percent);
int rt_gc_get_percent(void);

/* The blocks of managed objects may take this many bytes, the dead ones that no cycle has found yet
 * included; 0: no limit. (heap_system_bytes may be more: spans that are partly free.) Near it cycles
 * come as often as needed; beyond it rt_gc_new is refused. (In a simulated world, too: then what the
 * conservative look at stacks keeps alive, and so addresses, may decide.)  Context: goroutine; never parks. */
void rt_gc_set_limit(size_t bytes);

/* Run a whole cycle that begins after the call, sweeping included.  Context: goroutine; parks. */
void rt_gc_collect(void);

/* Check each cycle before its sweep, with the world stopped: everything reachable is marked, no
 * marked object points to one that is not. A violation is rt_fatal. For tests: it costs a whole mark
 * of its own, and a stop.  Context: goroutine; never parks. */
void rt_gc_set_checked(bool on);

/* ---- what it did ---- */

struct rt_gc_stats {
    enum rt_gc_mode mode;
    int percent;
    uint64_t cycles, cycles_forced;        // ended; of them asked for by rt_gc_collect
    uint64_t heap_live_bytes;              // marked by the last cycle plus allocated since
    uint64_t heap_goal_bytes;              // where the next cycle should have ended
    uint64_t heap_system_bytes;            // in spans of this heap
    uint64_t marked_bytes, marked_objects; // by the last cycle
    uint64_t allocated_bytes, freed_bytes; // in whole blocks, since the start
    uint64_t allocated_objects, freed_objects;
    uint64_t world_stops, handshakes;      // all Ps at once; each P at its own turn
    uint64_t stacks_scanned, stacks_again; // again: in a stop at the end of marking
    uint64_t barrier_shades;               // objects greyed by rt_gc_write
    uint64_t assists;                      // times an allocating goroutine had to help marking
    uint64_t checks;                       // rt_gc_set_checked: cycles that were checked
    int64_t mark_ns, last_mark_ns;         // from the first phase to the last, all and last cycle
    int64_t longest_stop_ns, longest_hold_ns;
    uint64_t roots, pins;
};
/* Context: goroutine; never parks. */
void rt_gc_stats(struct rt_gc_stats *out);

/* Add to `stops` every stop of the world, from the request to the release, and to `holds` for how long
 * a handshake or the scan of its stack kept one P or one goroutine back. Either may be NULL.
 * Context: goroutine; never parks. */
void rt_gc_pauses(struct rt_hdr_counts *stops, struct rt_hdr_counts *holds);

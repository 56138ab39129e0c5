/* mem/gc.c: the door of the managed heap: objects, roots and pins, settings, figures. */
#include "runtime/mem/gc.h"
#include "rt/alloc.h"
#include "rt/parse.h"
#include "runtime/mem/heap.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/stack.h"
#include "runtime/sched/stop.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_PERCENT = 100,
    ARRAY_MAX_BYTES_SHIFT = 40,
    PINS_FIRST = 64,
    CLEAR_AT_ONCE_BYTES = 256 << 10,
    ROOTS_AT_ONCE = 1024, // slots and places of pins that are looked at under one hold of the lock
};

struct gc gc;

const char *rt_gc_mode_name(enum rt_gc_mode mode)
{
    static const char *const names[RT_GC_MODES] = {"hybrid", "dijkstra", "stopped"};
    return mode < RT_GC_MODES ? names[mode] : "?";
}

/* ---- beginning and end ---- */

static int percent_at_start(void)
{
    const char *text = getenv("KVD_GC_PERCENT");
    uint64_t percent;
    if (text && strcmp(text, "off") == 0)
        return -1;
    bool good = text && rt_parse_u64(text, &percent) == 0 && percent <= 100000;
    return good ? (int)percent : DEFAULT_PERCENT;
}

/* A goroutine was clearing a large block when the run ended. */
static bool give_abandoned(struct span *s, void *arg)
{
    (void)arg;
    if (load_relaxed(&s->kind) == SPAN_MANAGED)
        heap_give(s);
    return true;
}

/* No goroutine runs any more: everything goes. */
static void at_end(void)
{
    store_relaxed(&gc.barrier_on, false);
    for (unsigned p = 0; p < RT_PROCS_MAX; p++) {
        struct gc_p *pc = load_relaxed(&gc.ps[p]);
        store_relaxed(&gc.ps[p], NULL);
        if (!pc)
            continue;
        gc_p_give_spans(pc);
        gc_p_give_grey(pc);
        rt_free(pc);
    }
    gc_free_chunks();
    store_relaxed(&gc.checked, false);
    gc_sweep_all(false);
    heap_sweep_gen_raise();
    store_relaxed(&gc.phase, GC_OFF);
    store_relaxed(&gc.mode, RT_GC_MODES); // for the sweep: nothing is marked
    gc_sweep_all(false);
    heap_each_span(give_abandoned, NULL);
    rt_hdr_free(gc.stops);
    rt_hdr_free(gc.holds);
    rt_free(gc.roots);
    rt_free(gc.pins);
    memset((void *)&gc, 0, sizeof(gc));
}

static void start(void)
{
    heap_init(); // sanitized builds have not used it before
    span_hooks_set(&gc_sweep_hooks);
    bool first = stop_at_end(at_end);
    assert(first);
    store_relaxed(&gc.percent, percent_at_start());
    gc.stops = rt_hdr_new();
    gc.holds = rt_hdr_new();
    gc_pace_set();
    if (rt_go("gc", gc_collector, NULL) != 0)
        rt_fatal("no goroutine left for the garbage collector");
}

void gc_start_once(void)
{
    if (__builtin_expect(load_acquire(&gc.alive), true))
        return;
    assert(g_self()); // everything of rt/gc.h is called from goroutines
    rt_mutex_lock(&gc.lock);
    if (!load_relaxed(&gc.alive)) {
        start();
        store_release(&gc.alive, true);
    }
    rt_mutex_unlock(&gc.lock);
}

/* ---- a P's part ---- */

struct gc_p *gc_p_of(unsigned p)
{
    struct gc_p *pc = load_acquire(&gc.ps[p]);
    if (__builtin_expect(!pc, false)) {
        pc = rt_alloc_aligned(64, sizeof(*pc));
        memset((void *)pc, 0, sizeof(*pc));
        pc->marks = load_acquire(&gc.phase) == GC_MARKING;
        pc->mark_gen = load_acquire(&gc.mark_gen);
        store_release(&gc.ps[p], pc);
    }
    return pc;
}

struct gc_p *gc_here(void)
{
    struct g *gp = stack_g_of((uintptr_t)__builtin_frame_address(0));
    return gc_p_of(gp->m->p->index);
}

static int64_t room_of(const struct span *s)
{
    return (int64_t)(s->elems - s->used) * s->elem_bytes;
}

void gc_p_give_spans(struct gc_p *pc)
{
    for (unsigned class = 0; class < SIZECLASS_COUNT; class ++)
        for (unsigned noscan = 0; noscan < 2; noscan++) {
            struct span *s = pc->spans[class][noscan];
            if (!s)
                continue;
            pc->spans[class][noscan] = NULL;
            atomic_fetch_sub(&gc.added_bytes, room_of(s));
            central_managed_give(s);
        }
}

/* ---- objects ---- */

/* A block of an owned span becomes an object: sound before anybody can find it. */
static inline void *make(struct gc_p *pc, struct span *s, uint32_t i, uintptr_t header)
{
    uintptr_t *object = span_block(s, i);
    *object = header;
    // White where the next cycle has begun already: then this span was swept for it.
    bool marked = pc->marks && load_relaxed(&s->sweep_gen) == pc->mark_gen;
    if (__builtin_expect(marked, false))
        span_mark(s, i);
    span_managed_commit(s, i);
    if (__builtin_expect(marked && load_relaxed(&gc.alloc_grey) && !s->noscan, false))
        gc_p_push_grey(pc, object);
    size_t bytes = span_block_bytes(s);
    count_up(&pc->allocated_bytes, bytes);
    count_up(&pc->allocated_objects, 1);
    return object + 1;
}

static inline void check_type(const struct rt_gc_type *type)
{
    assert(type);
    assert(type->size_bytes > 0);
    assert(type->size_bytes <= RT_GC_TYPE_MAX_BYTES);
    assert(((uintptr_t)type & GC_IS_ARRAY) == 0);
}

/* Now and then: it costs a look at the offsets. */
static void check_offsets(const struct rt_gc_type *type)
{
    uint32_t least = 0;
    for (uint32_t k = 0; k < type->pointer_count; k++) {
        assert(type->pointers[k] % sizeof(void *) == 0);
        assert(type->pointers[k] >= least);
        least = type->pointers[k] + sizeof(void *);
    }
    assert(least <= type->size_bytes);
}

/* A span with room for the calling P, whichever that is by then. */
__attribute__((noinline)) static bool refill(uintptr_t header, unsigned class, bool noscan)
{
    check_offsets(gc_type_of(header));
    if (!gc_pace_allocate((size_t)sizeclass[class].pages * SPAN_PAGE_BYTES))
        return false;
    struct gc_p *pc = gc_here();
    struct span *old = pc->spans[class][noscan];
    pc->spans[class][noscan] = NULL;
    if (old) {
        atomic_fetch_sub(&gc.added_bytes, room_of(old));
        central_managed_give(old);
    }
    struct span *s = central_managed_take(class, noscan);
    if (!s)
        return false;
    atomic_fetch_add(&gc.added_bytes, room_of(s));
    pc->spans[class][noscan] = s;
    return true;
}

/* Others have their turns meanwhile: megabytes take milliseconds. */
static void clear(struct span *s)
{
    for (size_t at = 0; at < s->large_bytes; at += CLEAR_AT_ONCE_BYTES) {
        size_t left = s->large_bytes - at;
        memset((char *)s->start + at, 0, left < CLEAR_AT_ONCE_BYTES ? left : CLEAR_AT_ONCE_BYTES);
        if (!sched.simulated) // whether pages come as zeros there must not decide who runs
            g_check_preempt();
    }
}

__attribute__((noinline)) static void *new_large(uintptr_t header, size_t bytes, bool noscan)
{
    if (!gc_pace_allocate(bytes))
        return NULL;
    struct span *s = central_managed_large(bytes, noscan);
    if (!s)
        return NULL;
    if (!s->zeroed)
        clear(s);
    // It may be another P and another generation by now. Nothing lies in the span yet: no marks that
    // a sweep would have to turn into anything.
    store_relaxed(&s->sweep_gen, heap_sweep_gen());
    void *object = make(gc_here(), s, 0, header);
    atomic_fetch_add(&gc.added_bytes, (int64_t)s->large_bytes);
    central_managed_give(s);
    return object;
}

static inline void *new_small(uintptr_t header, size_t bytes, bool noscan)
{
    void *object = NULL;
    unsigned class = sizeclass_of(bytes);
    do {
        struct gc_p *pc = gc_here();
        struct span *s = pc->spans[class][noscan];
        uint32_t i;
        void *block = s ? span_managed_peek(s, &i) : NULL;
        if (!block)
            continue;
        if (!s->zeroed)
            memset(block, 0, s->elem_bytes);
        object = make(pc, s, i, header);
    } while (!object && refill(header, class, noscan));
    return object;
}

static inline void *allocate(uintptr_t header, size_t bytes, bool noscan)
{
    gc_start_once();
    bytes += GC_HEADER_BYTES;
    fiber_acquire_all(&gc);
    quiet_begin(); // what belongs to a P passes from thread to thread unseen by ThreadSanitizer
    void *object = bytes <= SIZECLASS_SMALL_MAX ? new_small(header, bytes, noscan)
                                                : new_large(header, bytes, noscan);
    if (__builtin_expect(sched.simulated, 0))
        gc_pace_simulated();
    quiet_end();
    g_check_preempt();
    return object;
}

void *rt_gc_new(const struct rt_gc_type *type)
{
    check_type(type);
    return allocate((uintptr_t)type, type->size_bytes, type->pointer_count == 0);
}

void *rt_gc_new_array(const struct rt_gc_type *type, size_t n)
{
    check_type(type);
    assert(n > 0);
    assert(type->pointer_count == 0 || type->size_bytes % sizeof(void *) == 0);
    if (n > ((size_t)1 << ARRAY_MAX_BYTES_SHIFT) / type->size_bytes)
        return NULL;
    return allocate((uintptr_t)type | GC_IS_ARRAY, n * type->size_bytes, type->pointer_count == 0);
}

void *rt_gc_object_of(const void *pointer, size_t *bytes_out)
{
    struct span *s;
    uint32_t i;
    quiet_begin();
    bool found = gc_find((uintptr_t)pointer, &s, &i);
    quiet_end();
    if (!found)
        return NULL;
    if (bytes_out)
        *bytes_out = span_block_bytes(s) - GC_HEADER_BYTES;
    return (uintptr_t *)span_block(s, i) + 1;
}

/* ---- roots ---- */

static uint32_t root_at_locked(void **slots)
{
    uint32_t i = 0;
    while (i < gc.root_count && gc.roots[i].slots != slots)
        i++;
    return i;
}

/* What becomes reachable by being registered, or is no longer, while somebody marks. */
static void grey_slots(void **slots, size_t count)
{
    quiet_begin();
    if (load_acquire(&gc.barrier_on))
        gc_grey_words(slots, slots + count);
    quiet_end();
}

int rt_gc_root_add(void **slots, size_t count)
{
    assert(slots);
    assert(count > 0);
    gc_start_once();
    g_nopreempt_begin();
    spin_lock(&gc.root_lock);
    int err = 0;
    if (root_at_locked(slots) < gc.root_count) {
        err = -EEXIST;
    } else if (gc.root_count == RT_GC_ROOTS_MAX) {
        err = -ENOSPC;
    } else {
        if (gc.root_count == gc.root_cap) {
            gc.root_cap = gc.root_cap ? gc.root_cap * 2 : 16;
            gc.roots = rt_realloc(gc.roots, gc.root_cap * sizeof(*gc.roots));
            if (!gc.roots)
                rt_fatal("out of memory: %u roots", gc.root_cap);
        }
        gc.roots[gc.root_count++] = (struct gc_root){slots, count};
    }
    spin_unlock(&gc.root_lock);
    if (!err)
        grey_slots(slots, count);
    g_nopreempt_end();
    return err;
}

int rt_gc_root_remove(void **slots)
{
    gc_start_once();
    g_nopreempt_begin();
    spin_lock(&gc.root_lock);
    uint32_t i = root_at_locked(slots);
    size_t count = 0;
    if (i < gc.root_count) {
        count = gc.roots[i].count;
        gc.roots[i] = gc.roots[--gc.root_count];
    }
    spin_unlock(&gc.root_lock);
    grey_slots(slots, count); // whoever read them before goes on with what they held
    g_nopreempt_end();
    return count ? 0 : -ENOENT;
}

static struct gc_pin *pin_place(struct gc_pin *pins, uint32_t cap, const uintptr_t *object)
{
    uint32_t at = (uint32_t)(((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15ull >> 32) & (cap - 1);
    while (pins[at].object && pins[at].object != object)
        at = (at + 1) & (cap - 1);
    return &pins[at];
}

static void pins_resize_locked(uint32_t cap)
{
    struct gc_pin *old = gc.pins, *pins = rt_alloc_zero(cap * sizeof(*pins));
    if (!pins)
        rt_fatal("out of memory: %u pins", cap);
    for (uint32_t i = 0; i < gc.pin_cap; i++)
        if (old[i].object)
            *pin_place(pins, cap, old[i].object) = old[i];
    gc.pins = pins;
    gc.pin_cap = cap;
    rt_free(old);
}

static void grey_pinned(uintptr_t *object)
{
    void *pointer = object + 1;
    grey_slots(&pointer, 1);
}

/* Take the place out and close the gap: whoever comes behind it in its run moves up, perhaps to where
 * gc_each_root has been already. */
static void pin_remove_locked(struct gc_pin *pin)
{
    uint32_t at = (uint32_t)(pin - gc.pins), mask = gc.pin_cap - 1;
    gc.pins[at] = (struct gc_pin){NULL, 0};
    for (uint32_t i = (at + 1) & mask; gc.pins[i].object; i = (i + 1) & mask) {
        struct gc_pin moved = gc.pins[i];
        gc.pins[i] = (struct gc_pin){NULL, 0};
        *pin_place(gc.pins, gc.pin_cap, moved.object) = moved;
        grey_pinned(moved.object);
    }
    gc.pin_count--;
}

static uintptr_t *pinned_object(void *pointer)
{
    struct span *s;
    uint32_t i;
    quiet_begin();
    bool found = gc_find((uintptr_t)pointer, &s, &i);
    quiet_end();
    assert(found); // only managed objects are pinned
    return span_block(s, i);
}

void rt_gc_pin(void *pointer)
{
    g_nopreempt_begin();
    uintptr_t *object = pinned_object(pointer);
    spin_lock(&gc.root_lock);
    if (gc.pin_count * 2 >= gc.pin_cap)
        pins_resize_locked(gc.pin_cap ? gc.pin_cap * 2 : PINS_FIRST);
    struct gc_pin *pin = pin_place(gc.pins, gc.pin_cap, object);
    gc.pin_count += !pin->object;
    pin->object = object;
    pin->count++;
    spin_unlock(&gc.root_lock);
    grey_slots(&pointer, 1);
    g_nopreempt_end();
}

void rt_gc_unpin(void *pointer)
{
    g_nopreempt_begin();
    uintptr_t *object = pinned_object(pointer);
    spin_lock(&gc.root_lock);
    struct gc_pin *pin = gc.pin_cap ? pin_place(gc.pins, gc.pin_cap, object) : NULL;
    assert(pin); // unpinned more often than pinned
    assert(pin->object);
    if (--pin->count == 0)
        pin_remove_locked(pin);
    spin_unlock(&gc.root_lock);
    grey_slots(&pointer, 1); // whoever took it over holds it on a stack that may be done with
    g_nopreempt_end();
}

/* How far gc_each_root is. */
struct root_walk {
    void (*slot)(void **slot, void *arg);
    void (*pin)(uintptr_t *header, void *arg);
    void *arg;
    uint32_t root; // those from here on were seen
    void **slots;  // of the one before them, which is under way; NULL: none
    size_t done;   // of its slots
    uint32_t place, pin_cap;
};

/* False: there are no more. */
static bool roots_locked(struct root_walk *w)
{
    for (unsigned budget = ROOTS_AT_ONCE; budget > 0; budget--) {
        if (w->root > gc.root_count)
            w->root = gc.root_count;
        if (w->root == 0)
            return false;
        const struct gc_root *r = &gc.roots[w->root - 1];
        if (r->slots != w->slots) { // the next one, or one that came to this place
            w->slots = r->slots;
            w->done = 0;
        }
        if (w->done < r->count)
            w->slot(&r->slots[w->done++], w->arg);
        if (w->done >= r->count) {
            w->root--;
            w->slots = NULL;
        }
    }
    return true;
}

static bool pins_locked(struct root_walk *w)
{
    if (w->pin_cap != gc.pin_cap) { // they have other places now; the table only grows
        w->pin_cap = gc.pin_cap;
        w->place = 0;
    }
    for (unsigned budget = ROOTS_AT_ONCE; budget > 0 && w->place < gc.pin_cap; budget--) {
        uintptr_t *object = gc.pins[w->place++].object;
        if (object)
            w->pin(object, w->arg);
    }
    return w->place < gc.pin_cap;
}

static void in_batches(struct root_walk *w, bool (*batch_locked)(struct root_walk *w))
{
    bool more;
    do {
        g_nopreempt_begin();
        spin_lock(&gc.root_lock);
        more = batch_locked(w);
        spin_unlock(&gc.root_lock);
        g_nopreempt_end(); // others have their turns
    } while (more);
}

/* Nothing is missed that was registered before and still is, although others come and go between two
 * batches:
 * - Roots are seen from the last to the first. A root changes its place only when one before it goes and
 *   it is the last: then it moves to the front, where it is seen (again). One that goes while it is
 *   under way, and one that comes, has its slots greyed by who takes or adds it (grey_slots), since
 *   all know the barrier.
 * - A pin changes its place when another one goes: then it is greyed by who moves it. When the table
 *   grows all are seen again. One that comes or goes is greyed by its caller. */
void gc_each_root(void (*slot)(void **slot, void *arg), void (*pin)(uintptr_t *header, void *arg),
                  void *arg)
{
    struct root_walk w = {.slot = slot, .pin = pin, .arg = arg, .root = UINT32_MAX};
    in_batches(&w, roots_locked);
    in_batches(&w, pins_locked);
}

/* ---- settings ---- */

void rt_gc_set_mode(enum rt_gc_mode mode)
{
    assert(mode < RT_GC_MODES);
    gc_start_once();
    store_relaxed(&gc.mode, mode);
}

enum rt_gc_mode rt_gc_get_mode(void) { return (enum rt_gc_mode)load_relaxed(&gc.mode); }

void rt_gc_set_percent(int percent)
{
    gc_start_once();
    store_relaxed(&gc.percent, percent < 0 ? -1 : percent);
    gc_pace_set();
}

int rt_gc_get_percent(void)
{
    gc_start_once();
    return load_relaxed(&gc.percent);
}

void rt_gc_set_limit(size_t bytes)
{
    gc_start_once();
    store_relaxed(&gc.limit_bytes, bytes);
    gc_pace_set();
}

void rt_gc_set_checked(bool on)
{
    gc_start_once();
    store_relaxed(&gc.checked, on);
}

void rt_gc_collect(void)
{
    gc_start_once();
    atomic_fetch_add(&gc.cycles_forced, 1);
    gc_wait_cycle();
    quiet_begin();
    gc_sweep_all(!sched.simulated);
    quiet_end();
}

/* ---- figures ---- */

void rt_gc_stats(struct rt_gc_stats *out)
{
    gc_start_once();
    int64_t goal = load_relaxed(&gc.goal_bytes);
    *out = (struct rt_gc_stats){
        .mode = rt_gc_get_mode(),
        .percent = load_relaxed(&gc.percent),
        .cycles = load_acquire(&gc.ended),
        .cycles_forced = load_relaxed(&gc.cycles_forced),
        .heap_live_bytes = (uint64_t)gc_heap_bytes(),
        .heap_goal_bytes = goal == INT64_MAX ? 0 : (uint64_t)goal,
        .heap_system_bytes = heap_managed_bytes(),
        .marked_bytes = load_relaxed(&gc.marked_bytes),
        .marked_objects = load_relaxed(&gc.marked_objects),
        .freed_bytes = load_relaxed(&gc.freed_bytes),
        .freed_objects = load_relaxed(&gc.freed_objects),
        .world_stops = load_relaxed(&gc.world_stops),
        .handshakes = load_relaxed(&gc.handshakes),
        .stacks_scanned = stop_looks(),
        .stacks_again = load_relaxed(&gc.stacks_again),
        .checks = load_relaxed(&gc.checks),
        .mark_ns = load_relaxed(&gc.mark_ns),
        .last_mark_ns = load_relaxed(&gc.last_mark_ns),
        .longest_stop_ns = load_relaxed(&gc.longest_stop_ns),
        .longest_hold_ns = load_relaxed(&gc.longest_hold_ns),
    };
    for (unsigned p = 0; p < RT_PROCS_MAX; p++) {
        struct gc_p *pc = load_acquire(&gc.ps[p]);
        if (!pc)
            continue;
        out->allocated_bytes += load_relaxed(&pc->allocated_bytes);
        out->allocated_objects += load_relaxed(&pc->allocated_objects);
        out->barrier_shades += load_relaxed(&pc->shades);
        out->assists += load_relaxed(&pc->assists);
    }
    g_nopreempt_begin();
    spin_lock(&gc.root_lock);
    out->roots = gc.root_count;
    out->pins = gc.pin_count;
    spin_unlock(&gc.root_lock);
    g_nopreempt_end();
}

void rt_gc_pauses(struct rt_hdr_counts *stops, struct rt_hdr_counts *holds)
{
    gc_start_once();
    if (stops)
        rt_hdr_read(gc.stops, stops);
    if (holds)
        rt_hdr_read(gc.holds, holds);
}

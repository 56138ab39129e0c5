/* rt/defer.h: defer, panic, recover. A scope's deferred calls live in its frame, no allocation;
 * they run last in, first out, at the scope's end, on return, and when a panic passes.
 *
 *     RT_DEFER_SCOPE(4);                 // up to four defers in this block
 *     rt_defer(close_it, it);
 *
 * A panic unwinds to the nearest rt_try of the goroutine, running deferred calls on the way; with
 * none it is fatal. Only for what is a bug in one request and must not end the process.
 * Context of all: goroutine; parks where what was deferred does. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct rt_defer_slot {
    void (*fn)(void *arg);
    void *arg;
};
struct rt_defer_scope {
    struct rt_defer_scope *outer;
    struct rt_defer_slot *slots;
    uint32_t count, cap;
};
void rt_defer_scope_enter(struct rt_defer_scope *s);
void rt_defer_scope_leave(struct rt_defer_scope *s); // runs them
/* RT_DEFER_SCOPE(max) of this block is too small, or there is nothing to call. */
_Noreturn void rt_defer_refuse(const struct rt_defer_scope *s);

/* Data of the calling goroutine's own frame and nothing else, so it may be preempted anywhere. `slots`
 * and `max` are the scope's: named once more, compilers need not read them again. */
static inline void rt_defer_push(struct rt_defer_scope *s, struct rt_defer_slot *slots,
                                 uint32_t max, void (*fn)(void *arg), void *arg)
{
    if (__builtin_expect(s->count >= max || !fn, 0))
        rt_defer_refuse(s);
    slots[s->count].fn = fn;
    slots[s->count].arg = arg;
    s->count++;
}

// A scope inside another one hides it, on purpose: rt_defer means the innermost.
#define RT_DEFER_SCOPE(max)                                                                        \
    _Pragma("GCC diagnostic push") _Pragma(                                                        \
        "GCC diagnostic ignored \"-Wshadow\"") struct rt_defer_slot rt_defer_slots_[(max)];        \
    __attribute__((cleanup(rt_defer_scope_leave))) struct rt_defer_scope rt_defer_scope_ = {       \
        .slots = rt_defer_slots_, .cap = (max)};                                                   \
    _Pragma("GCC diagnostic pop") rt_defer_scope_enter(&rt_defer_scope_);                          \
    rt_defer_scope_.count = 0 /* it is: but here compilers see it */
#define rt_defer(fn, arg)                                                                          \
    rt_defer_push(&rt_defer_scope_, rt_defer_slots_,                                               \
                  (uint32_t)(sizeof(rt_defer_slots_) / sizeof(rt_defer_slots_[0])), (fn), (arg))

/* Run fn(arg); false when it panicked, with the message in `text` (cut to cap). Context: parks. */
bool rt_try(void (*fn)(void *arg), void *arg, char *text, uint32_t cap);
_Noreturn void rt_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

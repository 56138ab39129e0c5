/* panic/panic.c: deferred calls, and a panic that runs them on its way to the nearest rt_try.
 *
 * A scope lies in the frame of the block that opened it; a goroutine's scopes form a list, innermost
 * first. rt_try remembers the innermost scope at its start. A panic stays on top of the stack that
 * panicked, so that all frames are whole while it runs the deferred calls of every scope down to
 * that mark; then the frames are left in one jump.
 *
 * Invariant: a call is taken off its scope before it runs, and a scope off the list when it is
 * empty. So a panic in a deferred call goes on with those that are left, and none runs twice. */
#include "rt/defer.h"
#include "runtime/panic/catch.h"
#include "runtime/panic/fatal.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/here.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef RT_ASAN
#include <sanitizer/asan_interface.h>
/* The frames that the jump leaves keep their red zones marked unless this is said first. */
#define LEAVE_FRAMES() __asan_handle_no_return()
#else
#define LEAVE_FRAMES() ((void)0)
#endif

enum { PANIC_TEXT_BYTES = 512 };

struct
try {
    struct try *outer;
    struct rt_defer_scope *scopes; // the innermost one at its start
    uint32_t nopreempt;            // of the goroutine at its start
    struct catch catch;
    char text[PANIC_TEXT_BYTES];
};

/* What a goroutine has in its struct g; threads that run none (a test, a main function before
 * rt_run) have it here. Not inlined: the address of a thread-local must not outlive a switch. */
struct local {
    void **defers, **tries;
};

static __attribute__((noinline)) struct local local(void)
{
    static __thread void *thread_defers, *thread_tries;
    struct g *gp = g_here();
    return gp ? (struct local){&gp->defers, &gp->tries}
              : (struct local){&thread_defers, &thread_tries};
}

/* The list of scopes. It stays where it is as long as the stack does: a goroutine's moves with it
 * from thread to thread, and what has no goroutine does not move. */
static inline void **scopes(void)
{
    struct g *gp = g_here();
    return likely(gp) ? &gp->defers : local().defers;
}

void rt_defer_scope_enter(struct rt_defer_scope *s)
{
    void **defers = scopes();
    s->outer = *defers;
    s->count = 0;
    *defers = s;
}

void rt_defer_refuse(const struct rt_defer_scope *s)
{
    assert(s->count < s->cap); // RT_DEFER_SCOPE(max) of this block is too small
    rt_fatal("there is nothing to defer");
}

/* Run what is left of the innermost scope and take it off the list. */
static inline void run_scope(struct rt_defer_scope *s, void **defers)
{
    const struct rt_defer_slot *slots = s->slots;
    for (uint32_t left = s->count; left > 0;) { // a call that panics does not come back here
        s->count = --left;
        slots[left].fn(slots[left].arg);
    }
    assert(*defers == s);
    *defers = s->outer;
}

void rt_defer_scope_leave(struct rt_defer_scope *s)
{
    void **defers = scopes();
    assert(*defers == s); // blocks end in order
    run_scope(s, defers);
}

bool rt_try(void (*fn)(void *arg), void *arg, char *text, uint32_t cap)
{
    struct local l = local();
    struct g *gp = g_self();
    struct try t = {.outer = *l.tries, .scopes = *l.defers, .nopreempt = gp ? gp->nopreempt : 0};
    *l.tries = &t;
    bool panicked = catch_call(&t.catch, fn, arg);
    l = local();
    assert(*l.tries == &t);
    assert(*l.defers == t.scopes);
    *l.tries = t.outer;
    if (!panicked)
        return true;
    if (gp && gp->nopreempt != t.nopreempt) {
        // It panicked between rt_nopreempt_begin and end. One too many until the end below, which
        // honours a request that came meanwhile.
        gp->nopreempt = t.nopreempt;
        g_nopreempt_begin();
        g_nopreempt_end();
    }
    if (text && cap > 0) {
        size_t len = strlen(t.text);
        len = len < cap ? len : cap - 1;
        memcpy(text, t.text, len);
        text[len] = 0;
    }
    return false;
}

void rt_panic(const char *format, ...)
{
    struct try *t = *local().tries;
    char text[PANIC_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!t)
        rt_fatal("panic: %s", text); // the frames are whole: the dump shows where
    void **defers = scopes();
    for (struct rt_defer_scope *s; (s = *defers) != t->scopes;)
        run_scope(s, defers);
    // A try that a deferred call opened has ended; one that it panicked out of is cut off.
    assert(*local().tries == t);
    memcpy(t->text, text, sizeof(text));
    LEAVE_FRAMES();
    catch_return(&t->catch);
}

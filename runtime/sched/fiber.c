/* sched/fiber.c: AddressSanitizer wants to know the bounds of each stack, ThreadSanitizer a fiber for
 * each goroutine; the latter's call must come from a function that is not instrumented, or its
 * shadow of the call stack underflows. Its switches carry no ordering: our atomics show the real
 * edges, or races between goroutines on one P would be hidden. */
#include "runtime/sched/fiber.h"
#include "runtime/sched/stack.h"
#include "runtime/sched/switch.h"

#ifdef RT_ASAN
#include <sanitizer/common_interface_defs.h>

__attribute__((no_sanitize("address"), noinline)) void
fiber_switch(void **save, struct g *from, bool dying, void *to_sp, struct g *to, struct m *m)
{
    void **fake = from ? &from->fiber : &m->fiber;
    const void *bottom = to ? (void *)(stack_slot_of(to) + STACK_GUARD) : m->stack_bottom;
    size_t size = to ? STACK_SLOT - STACK_GUARD : m->stack_size;
    __sanitizer_start_switch_fiber(dying ? NULL : fake, bottom, size);
    switch_stack(save, to_sp);
    __sanitizer_finish_switch_fiber(*fake, NULL, NULL);
}

__attribute__((no_sanitize("address"))) _Noreturn void
fiber_end(void **save, struct g *from, void *to_sp, struct g *to, struct m *m)
{
    fiber_switch(save, from, true, to_sp, to, m);
    __builtin_unreachable();
}

__attribute__((no_sanitize("address"))) void fiber_started(struct g *gp)
{
    (void)gp;
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
}

void fiber_new(struct g *gp) { gp->fiber = NULL; }

void fiber_thread(struct m *m)
{
    pthread_attr_t attr;
    void *bottom;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &bottom, &m->stack_size);
    pthread_attr_destroy(&attr);
    m->stack_bottom = bottom;
}

void fiber_free_all(void) {}

#elif defined(RT_TSAN)
#include <sanitizer/tsan_interface.h>

void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);

static void be_quiet(unsigned levels)
{
    for (unsigned i = 0; i < levels; i++) {
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    }
}

static void be_heard(unsigned levels)
{
    for (unsigned i = 0; i < levels; i++) {
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    }
}

/* Counted by goroutine: one may end while it is away, and must not be quiet then. */
__attribute__((no_sanitize("thread"))) void quiet_begin(void)
{
    struct g *gp = g_self();
    if (gp)
        gp->quiet++;
    be_quiet(1);
}

__attribute__((no_sanitize("thread"))) void quiet_end(void)
{
    struct g *gp = g_self();
    if (gp)
        gp->quiet--;
    be_heard(1);
}

__attribute__((no_sanitize("thread"), noinline)) void
fiber_switch(void **save, struct g *from, bool dying, void *to_sp, struct g *to, struct m *m)
{
    unsigned levels = from ? from->quiet : 1;
    be_heard(levels);
    if (dying)
        from->quiet = 0;
    __tsan_switch_to_fiber(to ? to->fiber : m->fiber, __tsan_switch_to_fiber_no_sync);
    switch_stack(save, to_sp);
    be_quiet(levels);
}

__attribute__((no_sanitize("thread"))) _Noreturn void
fiber_end(void **save, struct g *from, void *to_sp, struct g *to, struct m *m)
{
    fiber_switch(save, from, true, to_sp, to, m);
    __builtin_unreachable();
}

void fiber_started(struct g *gp) { (void)gp; }

void fiber_new(struct g *gp)
{
    if (!gp->fiber) // it stays with the slot: a fiber is as dear as a thread
        gp->fiber = __tsan_create_fiber(0);
}

void fiber_thread(struct m *m) { m->fiber = __tsan_get_current_fiber(); }

void fiber_release_all(void *what)
{
    for (uint32_t i = 0; i < stack_used_slots(); i++)
        fiber_acquire(&stack_table[i]);
    __tsan_release(what);
}

void fiber_free_all(void)
{
    for (uint32_t i = 0; i < stack_used_slots(); i++) {
        fiber_acquire(&stack_table[i]); // what it did comes before the return of rt_run
        if (stack_table[i].fiber)
            __tsan_destroy_fiber(stack_table[i].fiber);
    }
}

#endif

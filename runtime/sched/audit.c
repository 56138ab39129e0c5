/* sched/audit.c: ours is the executable's own text: the section rt_go, a goroutine's first frames, and
 * this runtime where it calls the program on purpose and holds nothing (rt_once, rt_try, deferred
 * calls). Libraries are shared objects and lie elsewhere. The chain ends in goroutine_first, whose
 * frame pointer is zero. Compilers give a leaf no frame: one that is interrupted is passed over
 * together with its caller, so what is found is a callback that calls something itself. */
#include "runtime/sched/audit.h"
#include "rt/why.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/stack.h"
#include <stdlib.h>
#include <string.h>

extern char __executable_start[] __attribute__((visibility("hidden")));
extern char __etext[] __attribute__((visibility("hidden")));

static bool is_on; // set before start, then const

void audit_start(void)
{
    const char *text = getenv("KVD_TORTURE");
    is_on = text && *text && *text != '0' && strcmp(text, "storm") != 0;
}

static bool is_ours(uintptr_t pc)
{
    return pc >= (uintptr_t)__executable_start && pc < (uintptr_t)__etext;
}

__attribute__((no_sanitize("address"), no_sanitize("thread"))) void audit_frames(void *frame)
{
    if (!is_on)
        return;
    struct g *gp = g_self();
    uintptr_t top = stack_slot_of(gp) + STACK_SLOT, at = (uintptr_t)frame, last = 0;
    while (at > last && at % sizeof(void *) == 0 && at <= top - 2 * sizeof(void *)) {
        const uintptr_t *words = (const uintptr_t *)at;
        if (!is_ours(words[1]))
            rt_fatal(
                "goroutine %llu (%s) was preempted with a library below it (return address 0x%lx):"
                " put rt_nopreempt_begin and rt_nopreempt_end around the call that calls back",
                (unsigned long long)gp->id, gp->name ? gp->name : "?", (unsigned long)words[1]);
        last = at;
        at = words[0];
    }
}

/* sched/audit.c: ours is the executable's own text: the section rt_go, a goroutine's first frames, and
 * this runtime where it calls the program on purpose and holds nothing (rt_once, rt_try, deferred
 * calls). Libraries are shared objects and lie elsewhere; one that is linked statically passes for
 * ours, since nothing tells its text from this runtime's. The chain ends in goroutine_first, whose
 * frame pointer is zero, or where cmocka calls a test: that is the one library that calls program text
 * to have it do whatever it likes. Compilers give a leaf no frame: one that is interrupted is passed
 * over together with its caller, so what is found is a callback that calls something itself. */
#include "runtime/sched/audit.h"
#include "rt/why.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/stack.h"
#include <link.h>
#include <stdlib.h>
#include <string.h>

extern char __executable_start[] __attribute__((visibility("hidden")));
extern char __etext[] __attribute__((visibility("hidden")));

static struct {
    bool is_on;
    uintptr_t tester_begin, tester_end; // text of cmocka; none: 0, 0
} audit;                                // set before start, then const

static int find_tester(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (!strstr(object->dlpi_name, "libcmocka."))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            audit.tester_begin = object->dlpi_addr + part->p_vaddr;
            audit.tester_end = audit.tester_begin + part->p_memsz;
        }
    }
    return 1;
}

void audit_start(void)
{
    const char *text = getenv("KVD_TORTURE");
    audit.is_on = text && *text && *text != '0' && strcmp(text, "storm") != 0;
    if (audit.is_on)
        dl_iterate_phdr(find_tester, NULL);
}

static bool is_ours(uintptr_t pc)
{
    return pc >= (uintptr_t)__executable_start && pc < (uintptr_t)__etext;
}

__attribute__((no_sanitize("address"), no_sanitize("thread"))) void audit_frames(void *frame)
{
    if (!audit.is_on)
        return;
    struct g *gp = g_self();
    uintptr_t top = stack_slot_of(gp) + STACK_SLOT, at = (uintptr_t)frame, last = 0;
    while (at > last && at % sizeof(void *) == 0 && at <= top - 2 * sizeof(void *)) {
        const uintptr_t *words = (const uintptr_t *)at;
        if (words[1] >= audit.tester_begin && words[1] < audit.tester_end)
            return;
        if (!is_ours(words[1]))
            rt_fatal(
                "goroutine %llu (%s) was preempted with a library below it (return address 0x%lx):"
                " put rt_nopreempt_begin and rt_nopreempt_end around the call that calls back",
                (unsigned long long)gp->id, gp->name ? gp->name : "?", (unsigned long)words[1]);
        last = at;
        at = words[0];
    }
}

/* sync/note.c: a one-shot event. All of it is one word: see waitword.h. */
#include "rt/sync.h"
#include "runtime/sched/here.h"
#include "runtime/sync/waitword.h"
#include <errno.h>

enum { NOTE_SET = 1 };

int rt_note_wait(struct rt_note *n, int64_t deadline_ns)
{
    return waitword_wait(&n->state, deadline_ns, PARK_NOTE) ? 0 : -ETIMEDOUT;
}

void rt_note_set(struct rt_note *n)
{
    waitword_set(&n->state, NOTE_SET);
    g_exit_call(g_here()); // also from threads without a P
}

bool rt_note_is_set(const struct rt_note *n)
{
    g_exit_call(g_here());
    return (atomic_load_explicit(&n->state, memory_order_acquire) & NOTE_SET) != 0;
}

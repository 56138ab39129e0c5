/* kv/service/require_leader.c: streams whose clients would rather be told that there is no leader than
 * go on with a member that is cut off ("hasleader: true"). They hang in a list; one goroutine waits
 * for the leader to be gone for three election timeouts and then wakes them all. */
#include "kv/service/serve.h"
#include "rt/go.h"

void leader_call_enter(struct service *s, struct leader_call *l, struct grpc_call *call)
{
    *l = (struct leader_call){.call = call};
    if (!grpc_call_needs_leader(call))
        return;
    rt_mutex_lock(&s->leader_calls_lock);
    l->next = s->leader_calls;
    l->link = &s->leader_calls;
    if (l->next)
        l->next->link = &l->next;
    s->leader_calls = l;
    rt_mutex_unlock(&s->leader_calls_lock);
}

void leader_call_leave(struct service *s, struct leader_call *l)
{
    if (!grpc_call_needs_leader(l->call)) // `link` is written by others that leave
        return;
    rt_mutex_lock(&s->leader_calls_lock);
    *l->link = l->next;
    if (l->next)
        l->next->link = l->link;
    rt_mutex_unlock(&s->leader_calls_lock);
}

static void tell_all(struct service *s)
{
    rt_mutex_lock(&s->leader_calls_lock);
    for (struct leader_call *l = s->leader_calls; l; l = l->next) {
        atomic_store(&l->lost, true);
        grpc_call_wake(l->call);
    }
    rt_mutex_unlock(&s->leader_calls_lock);
}

void leader_calls_watch(void *arg)
{
    struct service *s = arg;
    while (!atomic_load(&s->stopping)) {
        int err = member_wait_no_leader(s->member, rt_after_ns(RT_SECOND));
        if (err == MEMBER_STOPPED)
            break;
        if (err)
            continue; // there is one
        tell_all(s);
        rt_sleep_ns(s->config.election_ms * RT_MS);
    }
    rt_note_set(&s->leader_watch_ended);
}

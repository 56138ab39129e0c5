/* kv/member/lease_clock.c: see lease_clock.h.
 *
 * A leader that hangs (a stuck disk, a stopped process) may have been replaced without knowing. Before
 * it answers for a lease it makes sure that its raft goroutine had its ticks within three heartbeats of
 * one another, up to now; if not, it asks the cluster by a read barrier first. That they come in time
 * again proves nothing: what tells us of a new leader may still be in a socket. */
#include "kv/member/lease_clock.h"
#include "kv/member/parts.h"
#include "proto/fields.h"
#include <assert.h>
#include <rt/go.h>

enum {
    SCAN_MS = 500,
    CHECKPOINT_S = 300,
    RETRY_MS = 50,
    ASK_MS = 1000, // an answer that does not come in this time is asked for again
};

/* ---- Do we still lead? ---- */

static int64_t patience_ns(const struct member *m) { return 3 * m->config.heartbeat_ms * RT_MS; }

void lease_clock_tick(struct member *m, int64_t now_ns)
{
    struct lease_clock *l = &m->leases;
    if (now_ns - atomic_load(&l->tick_ns) > patience_ns(m))
        atomic_store(&l->stalled_ns, now_ns); // before tick_ns: who sees that one sees this
    atomic_store(&l->tick_ns, now_ns);
}

static bool must_ask(struct member *m, int64_t now_ns)
{
    struct lease_clock *l = &m->leases;
    int64_t tick = atomic_load(&l->tick_ns);
    return now_ns - tick > patience_ns(m) ||
           atomic_load(&l->stalled_ns) > atomic_load(&l->confirmed_ns);
}

/* Ask the cluster whether we lead. */
static int confirm(struct member *m, int64_t deadline_ns)
{
    int64_t began_ns = rt_now_ns();
    int err = member_read_barrier(m, deadline_ns);
    if (!err && atomic_load(&m->leases.confirmed_ns) < began_ns)
        atomic_store(&m->leases.confirmed_ns, began_ns);
    return err;
}

/* ---- The leader's own clock ---- */

static bool leads_all_known(struct member *m, uint64_t *term)
{
    *term = atomic_load(&m->core.term);
    return atomic_load(&m->core.is_leader) && atomic_load(&m->leases.applied_term) == *term;
}

static void follow_leadership(struct member *m)
{
    uint64_t term;
    bool leads = leads_all_known(m, &term);
    uint64_t promoted = m->leases.promoted_term;
    if (promoted && (!leads || promoted != term)) {
        store_lease_demote(m->store);
        m->leases.promoted_term = 0;
    }
    if (leads && m->leases.promoted_term != term) {
        store_lease_promote(m->store, rt_now_ns(), m->config.election_ms * RT_MS);
        m->leases.promoted_term = term;
    }
}

static void revoke_expired(struct member *m)
{
    int64_t *ids = rt_alloc(MEMBER_REVOKES_PER_PASS * sizeof(*ids));
    uint32_t n = store_lease_expired(m->store, rt_now_ns(), ids, MEMBER_REVOKES_PER_PASS);
    struct rt_string body = {0};
    for (uint32_t i = 0; i < n; i++) {
        body.len = 0;
        field_add_int(&body, 1, ids[i]); // LeaseRevokeRequest.ID
        member_propose_silently(m, STORE_LEASE_REVOKE, rt_bytes(body.data, body.len), true,
                                m->leases.promoted_term);
    }
    rt_string_deinit(&body);
    rt_free(ids);
}

static void replicate_remaining(struct member *m)
{
    struct store_checkpoint *due = rt_alloc(MEMBER_CHECKPOINTS_PER_ENTRY * sizeof(*due));
    uint32_t n = store_lease_due_checkpoints(m->store, rt_now_ns(), CHECKPOINT_S * RT_SECOND, due,
                                             MEMBER_CHECKPOINTS_PER_ENTRY);
    struct rt_string body = {0};
    for (uint32_t i = 0; i < n; i++) { // LeaseCheckpointRequest
        size_t mark = field_begin(&body, 1);
        field_add_int(&body, 1, due[i].lease);
        field_add_int(&body, 2, due[i].remaining_ttl_s);
        field_end(&body, mark);
    }
    if (n)
        member_propose_silently(m, STORE_LEASE_CHECKPOINT, rt_bytes(body.data, body.len), true,
                                m->leases.promoted_term);
    rt_string_deinit(&body);
    rt_free(due);
}

static void lease_clock_main(void *arg)
{
    struct member *m = arg;
    while (!atomic_load(&m->stopping)) {
        follow_leadership(m);
        if (m->leases.promoted_term && must_ask(m, rt_now_ns()))
            (void)confirm(m, rt_after_ns(SCAN_MS * RT_MS)); // if not, it is tried again
        if (m->leases.promoted_term) {
            revoke_expired(m);
            replicate_remaining(m);
        }
        struct rt_mail *none = rt_mailbox_take(&m->leases.wake, rt_after_ns(SCAN_MS * RT_MS));
        assert(!none);
    }
    if (m->leases.promoted_term)
        store_lease_demote(m->store);
    rt_note_set(&m->leases.ended);
}

void lease_clock_start(struct member *m)
{
    int err = rt_go("lease-clock", lease_clock_main, m); // ends by m->stopping
    assert(!err);
}

void lease_clock_wake(struct member *m) { rt_mailbox_wake(&m->leases.wake); }

void lease_clock_stop(struct member *m)
{
    lease_clock_wake(m);
    rt_note_wait(&m->leases.ended, RT_FOREVER);
}

/* ---- Answers of a leader ---- */

/* One try. Never parks but for locks; PEER_LEASE_LATER: ask again. */
static struct peer_lease_answer answer_now(struct member *m, uint32_t what, int64_t lease)
{
    struct peer_lease_answer a = {.code = PEER_LEASE_LATER};
    if (!atomic_load(&m->core.is_leader)) {
        a.code = PEER_LEASE_NOT_LEADER;
        return a;
    }
    if (must_ask(m, rt_now_ns())) { // followers ask again when the lease goroutine has asked
        lease_clock_wake(m);
        return a;
    }
    if (what == PEER_LEASE_TTL) {
        uint64_t term;
        if (!leads_all_known(m, &term))
            return a;
        int err = store_lease_ttl(m->store, lease, rt_now_ns(), &a.ttl_s, &a.granted_s);
        a.code = err ? PEER_LEASE_UNKNOWN : PEER_LEASE_DONE;
        return a;
    }
    switch (store_lease_renew(m->store, lease, rt_now_ns(), &a.ttl_s)) {
    case 0:
        a.code = PEER_LEASE_DONE;
        break;
    case STORE_LEASE_NOT_FOUND:
        a.code = PEER_LEASE_UNKNOWN;
        break;
    default:
        break; // expired: until the revocation is applied; not promoted yet
    }
    return a;
}

void lease_clock_asked(struct member *m, uint64_t from, const struct peer_lease_call *call)
{
    struct peer_lease_answer a = answer_now(m, call->what, call->lease);
    a.id = call->id;
    peers_send_lease_answer(m, from, &a);
}

/* ---- Questions of a follower ---- */

static bool add_call(struct lease_clock *l, struct lease_call *call)
{
    rt_mutex_lock(&l->calls_lock);
    bool room = l->call_count < MEMBER_LEASE_CALLS;
    if (room) {
        call->id = ++l->next_call;
        call->next = l->calls;
        l->calls = call;
        l->call_count++;
    }
    rt_mutex_unlock(&l->calls_lock);
    return room;
}

/* True when it was still there: then nobody will touch it any more. */
static bool remove_call(struct lease_clock *l, uint64_t id, struct lease_call **out)
{
    bool found = false;
    rt_mutex_lock(&l->calls_lock);
    for (struct lease_call **at = &l->calls; *at; at = &(*at)->next) {
        if ((*at)->id == id) {
            *out = *at;
            *at = (*at)->next;
            l->call_count--;
            found = true;
            break;
        }
    }
    rt_mutex_unlock(&l->calls_lock);
    return found;
}

void lease_clock_answered(struct member *m, const struct peer_lease_answer *answer)
{
    struct lease_call *call;
    if (!remove_call(&m->leases, answer->id, &call))
        return; // its caller has gone
    call->answer = *answer;
    rt_note_set(&call->done);
}

static struct peer_lease_answer ask_leader(struct member *m, uint64_t leader, uint32_t what,
                                           int64_t lease, int64_t deadline_ns)
{
    struct lease_call call = {.answer.code = PEER_LEASE_LATER};
    struct lease_call *mine;
    if (!add_call(&m->leases, &call))
        return call.answer;
    struct peer_lease_call question = {.id = call.id, .what = what, .lease = lease};
    int64_t until = rt_after_ns(ASK_MS * RT_MS);
    if (until > deadline_ns)
        until = deadline_ns;
    if (!peers_send_lease_call(m, leader, &question))
        until = 0;
    if (rt_note_wait(&call.done, until) && !remove_call(&m->leases, call.id, &mine))
        rt_note_wait(&call.done, RT_FOREVER); // being answered this instant
    return call.answer;
}

static int ask(struct member *m, uint32_t what, int64_t lease, int64_t deadline_ns,
               struct peer_lease_answer *out)
{
    while (!atomic_load(&m->stopping)) {
        uint64_t leader = atomic_load(&m->core.leader);
        *out = (struct peer_lease_answer){.code = PEER_LEASE_LATER};
        if (leader == m->id) {
            if (must_ask(m, rt_now_ns())) {
                int err = confirm(m, deadline_ns);
                if (err)
                    return err;
            }
            *out = answer_now(m, what, lease);
        } else if (leader != RAFT_NONE) {
            *out = ask_leader(m, leader, what, lease, deadline_ns);
        }
        if (out->code == PEER_LEASE_DONE)
            return 0;
        if (out->code == PEER_LEASE_UNKNOWN)
            return MEMBER_NO_LEASE;
        if (rt_now_ns() >= deadline_ns)
            return leader == RAFT_NONE ? MEMBER_NO_LEADER : MEMBER_TIMEOUT;
        rt_sleep_ns(RETRY_MS * RT_MS);
    }
    return MEMBER_STOPPED;
}

int member_lease_renew(struct member *m, int64_t lease, int64_t deadline_ns, int64_t *ttl_s)
{
    struct peer_lease_answer a;
    rt_waitgroup_add(&m->callers, 1);
    int err = ask(m, PEER_LEASE_RENEW, lease, deadline_ns, &a);
    rt_waitgroup_done(&m->callers);
    if (!err)
        *ttl_s = a.ttl_s;
    return err;
}

int member_lease_ttl(struct member *m, int64_t lease, int64_t deadline_ns, int64_t *remaining_s,
                     int64_t *granted_s)
{
    struct peer_lease_answer a;
    rt_waitgroup_add(&m->callers, 1);
    int err = ask(m, PEER_LEASE_TTL, lease, deadline_ns, &a);
    rt_waitgroup_done(&m->callers);
    if (!err) {
        *remaining_s = a.ttl_s;
        *granted_s = a.granted_s;
    }
    return err;
}

/* kv/member/latency.c: see latency.h.
 *
 * A put's way is cut where one stage ends and the next begins. Its stamps come from several goroutines
 * and, being of one clock, rise along the way; where one is missing (an entry that was not written
 * here, a span that was dropped) the time goes to the next stage. So the cut is made by walking: each
 * stage takes what lies between where the walk stands and its own end, never less than nothing, and
 * the stages always add up to the whole.
 *
 * One that failed ends in the middle. What is left is not the answer's: it is the time of the stage that
 * the walk did not see the end of. */
#include "kv/member/latency.h"
#include "kv/member/parts.h"
#include <assert.h>
#include <inttypes.h>
#include <rt/inspect.h>
#include <stdio.h>

/* 50 us to 10 s. */
static const int64_t bounds_ns[] = {
    50000,     100000,     250000,     500000,     1000000,     2500000,
    5000000,   10000000,   25000000,   50000000,   100000000,   250000000,
    500000000, 1000000000, 2500000000, 5000000000, 10000000000,
};
enum { BOUNDS = sizeof(bounds_ns) / sizeof(bounds_ns[0]) };

static const char *const names[MEMBER_STAGES] = {
    [STAGE_DECODE] = "decode", [STAGE_QUEUED] = "queued",   [STAGE_FORWARD] = "forward",
    [STAGE_APPEND] = "A",      [STAGE_WRITE] = "B",         [STAGE_SYNC] = "C",
    [STAGE_SEND] = "D",        [STAGE_FOLLOW] = "E",        [STAGE_COMMIT] = "F",
    [STAGE_APPLY] = "apply",   [STAGE_ANSWER] = "answer",   [STAGE_E_NETWORK] = "E.network",
    [STAGE_E_WAIT] = "E.wait", [STAGE_E_WRITE] = "E.write", [STAGE_E_SYNC] = "E.sync",
    [STAGE_TOTAL] = "total",
};

const char *member_stage_name(enum member_stage stage)
{
    assert(stage < MEMBER_STAGES);
    return names[stage];
}

/* ---- One put ---- */

struct walk {
    int64_t at_ns, end_ns;
};

static int64_t walk_to(struct walk *w, int64_t to_ns)
{
    if (to_ns > w->end_ns)
        to_ns = w->end_ns;
    if (to_ns <= w->at_ns)
        return 0;
    int64_t took = to_ns - w->at_ns;
    w->at_ns = to_ns;
    return took;
}

static int64_t between(int64_t from_ns, int64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

/* B ends, and C begins, where the call that writes returned; when that call also syncs, B is building
 * the batch and the call is C. */
static int64_t end_of_write(const struct member_stages *s)
{
    return s->written_ns == s->synced_ns ? s->writing_ns : s->written_ns;
}

static void split_follower(const struct member_stages *s, struct member_split *out)
{
    int64_t e = between(s->sent_ns, s->answered_ns);
    int64_t parts[] = {s->peer_wait_ns, s->peer_write_ns, s->peer_sync_ns};
    out->took_ns[STAGE_SEND] = between(s->appended_ns, s->sent_ns);
    out->took_ns[STAGE_FOLLOW] = e;
    for (int i = 0; i < 3; i++) { // another machine's word: it cannot have taken longer than E
        if (parts[i] > e)
            parts[i] = e;
        e -= parts[i];
        out->took_ns[STAGE_E_WAIT + i] = parts[i];
    }
    out->took_ns[STAGE_E_NETWORK] = e;
}

/* The stage that one that failed never left. From A on only a leader knows; of two that run side by side
 * its own sync is named first. */
static enum member_stage unfinished_stage(const struct member_stages *s)
{
    if (!s->queued_ns)
        return STAGE_DECODE;
    if (!s->taken_ns)
        return STAGE_QUEUED;
    if (!s->led)
        return STAGE_FORWARD;
    if (s->is_committed)
        return STAGE_APPLY;
    if (s->appended_ns && !s->synced_ns)
        return STAGE_SYNC;
    return s->answered_ns ? STAGE_COMMIT : STAGE_FOLLOW;
}

void member_split_stages(const struct member_stages *s, struct member_split *out)
{
    int64_t start = s->arrived_ns ? s->arrived_ns : s->queued_ns;
    int64_t end = s->replied_ns ? s->replied_ns : s->failed_ns;
    struct walk w = {start, end > start ? end : start};
    *out = (struct member_split){.longest = STAGE_DECODE, .failed = !s->applied_ns};
    out->unfinished = out->failed ? unfinished_stage(s) : STAGE_ANSWER;
    int64_t *path = out->path_ns;
    path[STAGE_DECODE] = walk_to(&w, s->queued_ns);
    path[STAGE_QUEUED] = walk_to(&w, s->taken_ns);
    path[s->led ? STAGE_APPEND : STAGE_FORWARD] = walk_to(&w, s->appended_ns);
    if (s->led && s->answered_ns > s->synced_ns) {
        path[STAGE_SEND] = walk_to(&w, s->sent_ns);
        path[STAGE_FOLLOW] = walk_to(&w, s->answered_ns);
    } else {
        path[STAGE_QUEUED] += walk_to(&w, s->building_ns);
        path[STAGE_WRITE] = walk_to(&w, end_of_write(s));
        path[STAGE_SYNC] = walk_to(&w, s->synced_ns);
    }
    path[STAGE_COMMIT] = walk_to(&w, s->committed_ns);
    path[STAGE_APPLY] = walk_to(&w, s->applied_ns);
    path[out->unfinished] += walk_to(&w, w.end_ns);
    for (int i = 0; i < STAGE_PATH; i++) {
        out->took_ns[i] = path[i];
        if (path[i] > path[out->longest])
            out->longest = (enum member_stage)i;
    }
    for (int i = STAGE_WRITE; i <= STAGE_FOLLOW; i++)
        out->took_ns[i] = -1;
    for (int i = STAGE_E_NETWORK; i <= STAGE_E_SYNC; i++)
        out->took_ns[i] = -1;
    out->took_ns[s->led ? STAGE_FORWARD : STAGE_APPEND] = -1;
    if (s->synced_ns) {
        out->took_ns[STAGE_WRITE] = between(s->building_ns, end_of_write(s));
        out->took_ns[STAGE_SYNC] = between(end_of_write(s), s->synced_ns);
    }
    if (s->led && s->answered_ns && s->sent_ns)
        split_follower(s, out);
    out->took_ns[STAGE_TOTAL] = w.end_ns - start;
}

/* ---- Slow requests ---- */

static void log_slow(struct member *m, uint32_t kind, const struct member_split *split)
{
    static const char *const kinds[] = {
        [STORE_PUT] = "put", [STORE_DELETE_RANGE] = "delete", [STORE_TXN] = "txn"};
    enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };
    const char *what = kind < KINDS && kinds[kind] ? kinds[kind] : "other";
    struct rt_log_field fields[STAGE_PATH + 5];
    int n = 0;
    fields[n++] = rt_f_str("request", what);
    fields[n++] = rt_f_duration("took", split->took_ns[STAGE_TOTAL]);
    if (split->failed) {
        fields[n++] = rt_f_bool("failed", true);
        fields[n++] = rt_f_str("unfinished", names[split->unfinished]);
    }
    fields[n++] = rt_f_str("longest", names[split->longest]);
    for (int i = 0; i < STAGE_PATH; i++)
        if (split->path_ns[i] > 0)
            fields[n++] = rt_f_duration(names[i], split->path_ns[i]);
    rt_log_at(m->log, RT_LOG_WARN, "kv/member/latency.c", "slow request", fields, n);
}

void latency_take_times(struct member_stages *s, const struct stage_times *t)
{
    s->led = t->led;
    s->appended_ns = t->appended_ns;
    s->building_ns = t->building_ns;
    s->writing_ns = t->writing_ns;
    s->written_ns = t->written_ns;
    s->synced_ns = t->synced_ns;
    s->sent_ns = t->answer.sent_ns;
    s->answered_ns = t->answered_ns;
    s->peer_wait_ns = (int64_t)t->answer.wait_ns;
    s->peer_write_ns = (int64_t)t->answer.write_ns;
    s->peer_sync_ns = (int64_t)t->answer.sync_ns;
}

/* The stages that a failed one had passed by the time it failed, as far as this leader knows. A search
 * under the raft goroutine's lock: for the few that are logged. */
static void look_up_failed(struct member *m, struct member_stages *s)
{
    struct stage_times t;
    if (!s->index || s->is_committed || !stage_spans_find(&m->core.spans, s->index, &t))
        return;
    if (!t.led || t.appended_ns > s->failed_ns)
        return; // another entry has the index now
    if (t.synced_ns > s->failed_ns)
        t.building_ns = t.writing_ns = t.written_ns = t.synced_ns = 0;
    if (t.answered_ns > s->failed_ns) {
        t.answered_ns = 0;
        t.answer = (struct peer_stamps){0};
    }
    latency_take_times(s, &t);
}

static void tell_slow(struct member *m, uint32_t kind, struct member_stages *stages)
{
    struct member_split split;
    if (!rt_log_gate_open(&m->latency.slow_gate, MEMBER_SLOW_LOG_MS * RT_MS))
        return;
    if (!stages->applied_ns)
        look_up_failed(m, stages);
    member_split_stages(stages, &split);
    log_slow(m, kind, &split);
}

/* ---- Counting ---- */

/* What each put has for itself, in the order of `latency.own`; it shares the rest with its batch. */
static const enum member_stage own_stages[LATENCY_OWN] = {STAGE_DECODE, STAGE_QUEUED, STAGE_ANSWER,
                                                          STAGE_TOTAL};

void member_replied(struct member *m, uint32_t kind, struct member_stages *s)
{
    if (!STAGE_STAMPS)
        return;
    struct latency *l = &m->latency;
    s->replied_ns = rt_now_ns();
    int64_t start = s->arrived_ns ? s->arrived_ns : s->queued_ns;
    int64_t total = between(start, s->replied_ns);
    int64_t slow_ns = atomic_load_explicit(&l->slow_ns, memory_order_relaxed);
    if (slow_ns && total >= slow_ns)
        tell_slow(m, kind, s);
    if (kind != STORE_PUT || !s->applied_ns)
        return;
    const int64_t own_ns[LATENCY_OWN] = {between(start, s->queued_ns),
                                         between(s->queued_ns, s->taken_ns) + s->log_turn_ns,
                                         between(s->applied_ns, s->replied_ns), total};
    rt_hdr_record_each(l->own, own_ns, LATENCY_OWN, 1);
}

int64_t latency_applied(struct latency *l, const struct member_stages *s, uint32_t puts)
{
    assert(s->taken_ns && s->applied_ns >= s->taken_ns);
    struct member_stages shared = *s;
    struct member_split split;
    shared.arrived_ns = shared.queued_ns = s->taken_ns;
    shared.replied_ns = s->applied_ns;
    member_split_stages(&shared, &split);
    for (int i = 0; i < LATENCY_OWN; i++)
        split.took_ns[own_stages[i]] = -1;
    rt_hdr_record_each(l->took, split.took_ns, MEMBER_STAGES, puts);
    bool followed = s->led && s->answered_ns > s->synced_ns;
    int first = followed ? STAGE_SEND : STAGE_WRITE; // B and C, or D and E
    rt_hdr_record_each(l->detour + (first - STAGE_WRITE), split.path_ns + first, 2, puts);
    return split.path_ns[STAGE_QUEUED];
}

/* ---- Followers ---- */

void follower_answered(struct follower_latency *f, int64_t now_ns, const struct peer_stamps *answer)
{
    struct member_stages s = {
        .led = true,
        .sent_ns = answer->sent_ns,
        .answered_ns = now_ns,
        .peer_wait_ns = (int64_t)(answer->wait_ns & INT64_MAX),
        .peer_write_ns = (int64_t)(answer->write_ns & INT64_MAX),
        .peer_sync_ns = (int64_t)(answer->sync_ns & INT64_MAX),
    };
    // a stamp that we cannot have sent: from before our start, or not from us
    if (!STAGE_STAMPS || s.sent_ns <= 0 || s.sent_ns > now_ns)
        return;
    struct member_split split;
    split_follower(&s, &split);
    rt_hdr_record(f->part[0], split.took_ns[STAGE_FOLLOW]);
    rt_hdr_record_each(f->part + 1, split.took_ns + STAGE_E_NETWORK,
                       STAGE_E_SYNC - STAGE_E_NETWORK + 1, 1);
    rt_counter_add(f->appends, 1);
}

void follower_stalled(struct follower_latency *f, bool stalled, int64_t now_ns)
{
    if (stalled == (f->stalled_since_ns != 0))
        return;
    if (stalled) {
        f->stalled_since_ns = now_ns;
        rt_counter_add(f->stalls, 1);
        return;
    }
    rt_counter_add(f->stall_ns, between(f->stalled_since_ns, now_ns));
    f->stalled_since_ns = 0;
}

/* ---- Reading ---- */

static const struct rt_hdr *path_of(const struct latency *l, int stage)
{
    if (stage >= STAGE_PATH)
        return NULL;
    bool detour = stage >= STAGE_WRITE && stage <= STAGE_FOLLOW;
    return detour ? l->detour[stage - STAGE_WRITE] : l->took[stage];
}

bool member_latency(struct member *m, void (*each)(void *arg, const struct member_latency_row *row),
                    void *arg)
{
    if (!STAGE_STAMPS)
        return false;
    struct latency *l = &m->latency;
    for (int i = 0; i < MEMBER_STAGES; i++)
        each(arg, &(struct member_latency_row){
                      .stage = (enum member_stage)i, .took = l->took[i], .path = path_of(l, i)});
    uint32_t count = atomic_load_explicit(&m->peers.count, memory_order_acquire);
    for (uint32_t p = 0; p < count; p++) {
        const struct follower_latency *f = &m->peers.peer[p]->latency;
        for (int i = 0; i <= STAGE_TOTAL - STAGE_PATH; i++) {
            int stage = i ? STAGE_E_NETWORK + i - 1 : STAGE_FOLLOW;
            each(arg, &(struct member_latency_row){.stage = (enum member_stage)stage,
                                                   .peer = m->peers.peer[p]->id,
                                                   .took = f->part[i]});
        }
    }
    return true;
}

void member_counters(struct member *m,
                     void (*each)(void *arg, const char *name, uint64_t peer, int64_t value,
                                  bool gauge),
                     void *arg)
{
    struct latency *l = &m->latency;
    struct wal_stats w;
    struct rt_stats rt;
    wal_stats(m->wal, &w);
    rt_stats(&rt);
    const struct {
        const char *name;
        uint64_t value; // as kept
        bool gauge;
    } all[] = {
        {"append_batches", (uint64_t)atomic_load_explicit(&l->batches, memory_order_relaxed),
         false},
        {"append_entries", (uint64_t)atomic_load_explicit(&l->entries, memory_order_relaxed),
         false},
        {"propose_batches", (uint64_t)atomic_load_explicit(&l->proposals, memory_order_relaxed),
         false},
        {"wal_batches", w.batches, false},
        {"wal_entries", w.entries, false},
        {"wal_syncs", w.syncs, false},
        {"wal_written_bytes", w.written_bytes, false},
        {"wal_sync_overruns", w.sync_overruns, false},
        {"wal_direct", w.direct, true},
        {"goroutines", rt.goroutines, true},
        {"sched_switches", rt.switches, false},
        {"sched_preempted_slice", rt.preempted_slice, false},
        {"sched_preempted_need", rt.preempted_need, false},
        {"sched_preempt_refused", rt.preempt_refused, false},
        {"sched_steals", rt.steals, false},
        {"sched_handoffs", rt.handoffs, false},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        each(arg, all[i].name, 0, (int64_t)all[i].value, all[i].gauge);
    uint32_t count = atomic_load_explicit(&m->peers.count, memory_order_acquire);
    for (uint32_t p = 0; p < count; p++) {
        struct follower_latency *f = &m->peers.peer[p]->latency;
        uint64_t id = m->peers.peer[p]->id;
        each(arg, "appends_answered", id, rt_counter_get(f->appends), false);
        each(arg, "window_stalls", id, rt_counter_get(f->stalls), false);
        each(arg, "window_stall_ns", id, rt_counter_get(f->stall_ns), false);
    }
}

int64_t member_started_ns(const struct member *m) { return m->latency.started_ns; }

/* ---- Life ---- */

static struct rt_hdr *make(struct rt_metrics *metrics, const char *name, const char *labels,
                           const char *help)
{
    return metrics ? rt_metrics_hdr(metrics, name, labels, help, bounds_ns, BOUNDS) : rt_hdr_new();
}

void latency_init(struct latency *l, struct rt_metrics *metrics)
{
    char labels[64];
    l->owns_histograms = !metrics;
    l->started_ns = rt_now_ns();
    if (!STAGE_STAMPS)
        return;
    for (int i = 0; i < MEMBER_STAGES; i++) {
        snprintf(labels, sizeof(labels), "stage=\"%s\"", names[i]);
        l->took[i] = make(metrics, "kvd_put_stage_seconds", labels,
                          "How long each stage of a put took on this member, waited for or not.");
    }
    for (int i = 0; i < LATENCY_OWN; i++)
        l->own[i] = l->took[own_stages[i]];
    for (int i = 0; i < LATENCY_DETOURS; i++) {
        snprintf(labels, sizeof(labels), "stage=\"%s\"", names[STAGE_WRITE + i]);
        l->detour[i] = make(metrics, "kvd_put_path_seconds", labels,
                            "How long puts waited for a stage that they need not wait for.");
    }
}

void latency_deinit(struct latency *l)
{
    if (!l->owns_histograms)
        return;
    for (int i = 0; i < MEMBER_STAGES; i++)
        rt_hdr_free(l->took[i]);
    for (int i = 0; i < LATENCY_DETOURS; i++)
        rt_hdr_free(l->detour[i]);
}

void follower_latency_init(struct follower_latency *f, struct rt_metrics *metrics, uint64_t id)
{
    static const char *const counted[3][2] = {
        {"kvd_follower_appends_answered_total", "Appends to a follower that it answered."},
        {"kvd_window_stalls_total", "How often something had to wait for a full MaxInflightMsgs."},
        {"kvd_window_stall_nanoseconds_total", "How long something waited for it."},
    };
    struct rt_counter **const counters[3] = {&f->appends, &f->stalls, &f->stall_ns};
    char labels[96];
    snprintf(labels, sizeof(labels), "To=\"%" PRIx64 "\"", id);
    for (int i = 0; i < 3; i++)
        *counters[i] = metrics ? rt_metrics_counter(metrics, counted[i][0], labels, counted[i][1])
                               : &f->own[i];
    if (!STAGE_STAMPS)
        return;
    for (int i = 0; i <= STAGE_TOTAL - STAGE_PATH; i++) {
        const char *name = names[i ? STAGE_E_NETWORK + i - 1 : STAGE_FOLLOW];
        snprintf(labels, sizeof(labels), "To=\"%" PRIx64 "\",stage=\"%s\"", id, name);
        f->part[i] = make(metrics, "kvd_follower_append_seconds", labels,
                          "From the sending of an append to its answer, and where the time went.");
    }
}

void follower_latency_deinit(struct follower_latency *f, struct rt_metrics *metrics)
{
    for (int i = 0; i <= STAGE_TOTAL - STAGE_PATH && !metrics; i++)
        rt_hdr_free(f->part[i]);
}

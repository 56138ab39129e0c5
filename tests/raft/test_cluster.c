/* tests/raft/test_cluster.c: whole clusters under a seeded storm: messages lost, doubled and reordered,
 * members cut off, crashed and restarted with only what their disks were given, logs compacted, members
 * added and removed, leadership handed around. After every step the promises of Raft are checked from
 * outside, by what the members do, not by what they believe:
 *
 *   election safety       a term has one leader; a member grants one vote a term, in all its lives
 *   log matching          the same (index, term) is the same entry, after the same entry, everywhere
 *   leader completeness   a new leader's log holds everything that was ever committed
 *   state machine safety  what is applied at an index is what was committed there, once, in order
 *   durability            what a leader commits is on the disks of a quorum at that moment
 *   reads                 a confirmed read sees all that was committed when it was asked for
 *
 * Then the network heals, and everybody must agree and go on. KVD_SEED=n runs that one seed. */
#include "tests/raft/one.h"
#include <inttypes.h>

enum { N_MAX = 5, BAG_MAX = 400, INDEX_MAX = 1 << 14, TERM_MAX = 1 << 14, QUEUE_MAX = 1024 };

struct work { // a persist batch: written, then reported
    struct raft_persist p;
    bool written;
};

struct member {
    uint64_t id;
    struct raft *r; // NULL: crashed
    struct disk disk;
    struct raft_snapshot
        durable; // checkpoint of the state machine (no block: its hash is in `hash_at`)
    struct work work[QUEUE_MAX];
    size_t work_count;
    struct raft_apply apply[QUEUE_MAX];
    size_t apply_count;
    struct raft_fetch fetch[QUEUE_MAX];
    size_t fetch_count;
    uint64_t applied;
    struct raft_conf_state conf; // as applied
    uint64_t seen_term, seen_commit;
    bool cut_off;
};

struct fact {
    uint64_t term, payload, prev_term;
};

struct world {
    uint64_t seed, random, step, payload;
    size_t n;
    struct member m[N_MAX];
    struct raft_message bag[BAG_MAX];
    size_t bag_count;
    bool calm; // nothing goes wrong any more
    uint64_t leader_of[TERM_MAX];
    uint64_t vote_of[N_MAX + 1][TERM_MAX];
    struct fact committed[INDEX_MAX];
    uint64_t committed_to;
    struct fact *known[INDEX_MAX]; // every entry ever written at an index, one a term
    size_t known_count[INDEX_MAX];
    uint64_t read_at[QUEUE_MAX * 64]; // committed_to when the read was asked for
    uint64_t reads;
    uint64_t elections, commits, crashes, answered, snapshots,
        changes; // to see that something happened
};

#define CHECK(w, ok, ...)                                                                          \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            char text_[256];                                                                       \
            snprintf(text_, sizeof(text_), __VA_ARGS__);                                           \
            fail_msg("KVD_SEED=%" PRIu64 " step %" PRIu64 ": %s", (w)->seed, (w)->step, text_);    \
        }                                                                                          \
    } while (0)

static uint64_t draw(struct world *w, uint64_t bound)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % bound;
}

static bool chance(struct world *w, uint64_t per_mille)
{
    return !w->calm && draw(w, 1000) < per_mille;
}

static uint64_t payload_of(const struct raft_entry *e)
{
    uint64_t v = 0;
    if (e->len >= sizeof(v))
        memcpy(&v, e->data + e->len - sizeof(v), sizeof(v));
    return v + e->kind;
}

/* ---- What must hold */

/* An entry that a member writes. */
static void check_entry(struct world *w, const struct raft_entry *e, uint64_t prev_term)
{
    struct fact f = {e->term, payload_of(e), prev_term};
    CHECK(w, e->index < INDEX_MAX, "the log outgrew the test");
    for (size_t i = 0; i < w->known_count[e->index]; i++) {
        struct fact *k = &w->known[e->index][i];
        if (k->term != f.term)
            continue;
        CHECK(w, k->payload == f.payload, "entry %" PRIu64 "/%" PRIu64 " is two entries", f.term,
              e->index);
        CHECK(w, k->prev_term == prev_term, "entry %" PRIu64 "/%" PRIu64 " follows two logs",
              f.term, e->index);
        return;
    }
    w->known[e->index] = realloc(w->known[e->index], (w->known_count[e->index] + 1) * sizeof(f));
    assert_non_null(w->known[e->index]);
    w->known[e->index][w->known_count[e->index]++] = f;
}

static void check_written(struct world *w, struct member *m, const struct raft_persist *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct raft_entry_info info = {0};
        if (i > 0)
            info.term = p->entries[i - 1].term;
        else if (raft_log_info(&m->r->log, p->entries[0].index - 1, &info))
            continue; // compacted: nothing to compare with
        check_entry(w, &p->entries[i], info.term);
    }
}

static bool has_durably(const struct member *m, uint64_t index, uint64_t term)
{
    struct raft_entry_info info;
    if (index <= m->disk.start)
        return true;
    return disk_info((void *)&m->disk, index, &info) == 0 && info.term == term;
}

static bool quorum_has(const struct world *w, const struct raft_ids *voters, uint64_t index,
                       uint64_t term)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < voters->count; i++)
        have += has_durably(&w->m[voters->id[i] - 1], index, term);
    return voters->count == 0 || have > voters->count / 2;
}

static void check_commit(struct world *w, struct member *m)
{
    struct raft *r = m->r;
    uint64_t commit = raft_committed(r), term;
    CHECK(w, commit >= m->seen_commit, "member %" PRIu64 " forgot commits", m->id);
    for (uint64_t i = m->seen_commit + 1; i <= commit; i++) {
        if (raft_log_term(&r->log, i, &term))
            continue; // covered by a snapshot
        if (i <= w->committed_to) {
            CHECK(w, w->committed[i].term == 0 || w->committed[i].term == term,
                  "entry %" PRIu64 " committed in terms %" PRIu64 " and %" PRIu64, i,
                  w->committed[i].term, term);
        }
        w->committed[i].term = term;
    }
    if (commit > w->committed_to) {
        CHECK(w, raft_role(r) == RAFT_LEADER,
              "member %" PRIu64 " committed first and does not lead", m->id);
        raft_log_term(&r->log, commit, &term);
        CHECK(w, quorum_has(w, &r->members.conf.voters, commit, term),
              "%" PRIu64 " is not durable on a quorum", commit);
        CHECK(w, quorum_has(w, &r->members.conf.outgoing, commit, term),
              "%" PRIu64 " is not durable on the old quorum", commit);
        w->commits += commit - w->committed_to;
        w->committed_to = commit;
    }
    m->seen_commit = commit;
}

static void check_leader(struct world *w, struct member *m)
{
    uint64_t term = raft_term(m->r);
    CHECK(w, term >= m->seen_term, "member %" PRIu64 " went back in term", m->id);
    CHECK(w, term < TERM_MAX, "too many terms for the test");
    m->seen_term = term;
    if (raft_role(m->r) != RAFT_LEADER)
        return;
    CHECK(w, w->leader_of[term] == 0 || w->leader_of[term] == m->id, "two leaders in term %" PRIu64,
          term);
    if (w->leader_of[term])
        return;
    w->leader_of[term] = m->id;
    w->elections++;
    for (uint64_t i = raft_log_first_index(&m->r->log); i <= w->committed_to; i++)
        CHECK(w, w->committed[i].term == 0 || raft_log_matches(&m->r->log, i, w->committed[i].term),
              "leader %" PRIu64 " of term %" PRIu64 " lacks committed entry %" PRIu64, m->id, term,
              i);
}

static void check_message(struct world *w, const struct raft_message *m)
{
    uint64_t *vote = &w->vote_of[m->from][m->term < TERM_MAX ? m->term : 0];
    if (m->type != RAFT_MSG_VOTE_RESP || m->reject)
        return;
    CHECK(w, *vote == 0 || *vote == m->to, "member %" PRIu64 " votes twice in term %" PRIu64,
          m->from, m->term);
    *vote = m->to;
}

static void check_applied(struct world *w, struct member *m, const struct raft_entry *e)
{
    struct fact *f = &w->committed[e->index];
    CHECK(w, e->index == m->applied + 1, "member %" PRIu64 " applies %" PRIu64 " after %" PRIu64,
          m->id, e->index, m->applied);
    CHECK(w, f->term == e->term, "member %" PRIu64 " applies another entry %" PRIu64, m->id,
          e->index);
    CHECK(w, f->payload == 0 || f->payload == payload_of(e) + 1,
          "entry %" PRIu64 " has two payloads", e->index);
    CHECK(w, has_durably(m, e->index, e->term), "member %" PRIu64 " applies what it has not stored",
          m->id);
    f->payload = payload_of(e) + 1;
    m->applied = e->index;
}

static void check_read(struct world *w, const struct raft_read *read)
{
    CHECK(w, read->index >= w->read_at[read->read_id],
          "read %" PRIu64 " misses what was committed before it", read->read_id);
    w->answered++;
}

/* ---- What members do */

static void forget_message(struct world *w, size_t at)
{
    struct raft_message *m = &w->bag[at];
    raft_messages_free(&w->m[m->from - 1].disk.env, NULL, 0);
    raft_entries_free(&w->m[m->from - 1].disk.env, m->entries, m->count);
    raft_snapshot_free(&w->m[m->from - 1].disk.env, m->snapshot);
    *m = w->bag[--w->bag_count];
}

static uint64_t carrier(const struct raft_message *m, const struct member *from)
{
    return m->from == from->id ? m->to : from->id;
}

static void post(struct world *w, struct member *from, struct raft_message *m)
{
    bool lost = from->cut_off || m->to > w->n || w->m[m->to - 1].cut_off || chance(w, 50) ||
                w->bag_count >= BAG_MAX;
    check_message(w, m);
    // A forwarded message keeps its sender: its memory is still the forwarder's.
    if (lost || carrier(m, from) == from->id) {
        raft_entries_free(&from->disk.env, m->entries, m->count);
        raft_snapshot_free(&from->disk.env, m->snapshot);
        if (lost && m->type == RAFT_MSG_SNAP && from->r)
            raft_report_snapshot(from->r, m->to, false);
    } else {
        w->bag[w->bag_count++] = *m;
    }
    memset(m, 0, sizeof(*m));
}

/* After every call that may have changed the core. */
static void look(struct world *w, struct member *m)
{
    if (!m->r)
        return;
    check_commit(w, m);
    check_leader(w, m);
}

static void take_ready(struct world *w, struct member *m)
{
    struct raft_ready rd;
    if (!m->r || !raft_has_ready(m->r))
        return;
    raft_ready(m->r, &rd);
    check_written(w, m, &rd.persist);
    for (size_t i = 0; i < rd.message_count; i++)
        post(w, m, &rd.messages[i]);
    for (size_t i = 0; i < rd.read_count; i++)
        check_read(w, &rd.reads[i]);
    for (size_t i = 0; i < rd.fetch_count; i++)
        m->fetch[m->fetch_count++] = rd.fetches[i];
    if (rd.persist.needed) {
        CHECK(w, m->work_count < QUEUE_MAX, "too much to write");
        m->work[m->work_count++] = (struct work){.p = rd.persist};
        memset(&rd.persist, 0, sizeof(rd.persist));
    }
    if (rd.apply.count) {
        m->apply[m->apply_count++] = rd.apply;
        memset(&rd.apply, 0, sizeof(rd.apply));
    }
    raft_ready_free(&m->disk.env, &rd);
}

static void apply_one(struct world *w, struct member *m)
{
    struct raft_apply a = m->apply[0];
    if (m->apply_count == 0)
        return;
    memmove(m->apply, m->apply + 1, --m->apply_count * sizeof(a));
    for (size_t i = 0; i < a.count; i++) {
        check_applied(w, m, &a.entries[i]);
        if (a.entries[i].kind != RAFT_ENTRY_NORMAL)
            w->changes += raft_apply_conf_change(m->r, &a.entries[i], &m->conf, NULL) == 0;
    }
    disk_set_newest(&m->disk, m->applied, a.entries[a.count - 1].term, &m->conf, NULL, 0);
    look(w, m);
    raft_apply_done(m->r, m->applied, a.size_bytes);
    raft_entries_free(&m->disk.env, a.entries, a.count);
}

static void install(struct world *w, struct member *m, const struct raft_snapshot *s)
{
    while (m->apply_count)
        apply_one(w, m);
    disk_install(&m->disk, s);
    disk_set_newest(&m->disk, s->index, s->term, &s->conf, NULL, 0);
    m->durable = *s;
    m->durable.block = NULL;
    m->applied = s->index;
    m->conf = s->conf;
    w->snapshots++;
}

static void write_one(struct world *w, struct member *m, size_t at)
{
    struct work *k = &m->work[at];
    if (k->written)
        return;
    if (k->p.has_hard_state)
        m->disk.hard = k->p.hard_state;
    if (k->p.snapshot)
        install(w, m, k->p.snapshot);
    disk_append(&m->disk, k->p.entries, k->p.count);
    k->written = true;
}

static void report_one(struct world *w, struct member *m)
{
    struct raft_persist p = m->work[0].p;
    memmove(m->work, m->work + 1, --m->work_count * sizeof(m->work[0]));
    for (size_t i = 0; i < p.promise_count; i++) {
        if (p.promises[i].to == m->id) {
            check_message(w, &p.promises[i]);
            raft_step(m->r, &p.promises[i]);
            look(w, m);
        } else {
            post(w, m, &p.promises[i]);
        }
    }
    raft_append_done(m->r, &p.completion);
    raft_persist_free(&m->disk.env, &p);
}

/* Write some batches, in order, and report some of those that are written. */
static void disk_work(struct world *w, struct member *m)
{
    size_t upto = m->work_count ? 1 + draw(w, m->work_count) : 0;
    for (size_t i = 0; i < upto && (i == 0 || !m->work[i].p.snapshot); i++)
        write_one(w, m, i);
    while (m->work_count && m->work[0].written && !chance(w, 300))
        report_one(w, m);
}

static void answer_fetch(struct world *w, struct member *m)
{
    struct raft_fetch f = m->fetch[0];
    size_t n = 0;
    if (m->fetch_count == 0)
        return;
    memmove(m->fetch, m->fetch + 1, --m->fetch_count * sizeof(f));
    if (f.lo > m->disk.start && f.lo <= m->disk.start + m->disk.count) {
        n = m->disk.start + m->disk.count + 1 - f.lo;
        if (n > f.hi - f.lo)
            n = f.hi - f.lo;
        n = 1 + draw(w, n);
    }
    raft_entries_arrived(m->r, &f, n ? &m->disk.log[f.lo - m->disk.start - 1] : NULL, n);
}

static void start(struct world *w, struct member *m)
{
    struct raft_config c = {.id = m->id,
                            .election_ticks = 10,
                            .heartbeat_ticks = 1 + w->seed % 2,
                            .pre_vote = w->seed % 3 != 0,
                            .check_quorum = w->seed % 5 != 0,
                            .step_down_on_removal = true,
                            .max_size_per_msg = w->seed % 4 ? 200 : 0,
                            .max_inflight_msgs = 1 + w->seed % 7,
                            .max_inflight_bytes = w->seed % 2 ? 0 : 500,
                            .max_uncommitted_bytes = 4000,
                            .max_apply_bytes = 300,
                            .log_level = RAFT_SILENT,
                            .hard_state = m->disk.hard,
                            .conf = m->durable.conf,
                            .applied = m->durable.index};
    m->disk.random = draw(w, UINT32_MAX) + 1;
    m->applied = m->durable.index;
    m->conf = m->durable.conf;
    m->seen_commit = m->durable.index;
    disk_set_newest(&m->disk, m->applied, m->durable.term, &m->conf, NULL, 0);
    int err = raft_new(&m->disk.env, &c, &m->r);
    CHECK(w, err == 0, "member %" PRIu64 " does not start again", m->id);
    CHECK(w, raft_term(m->r) <= m->seen_term, "a term from nowhere");
    m->seen_term = raft_term(m->r); // what was not durable is forgotten, and was promised to nobody
}

static void crash(struct world *w, struct member *m)
{
    if (!m->r)
        return;
    for (size_t i = 0; i < m->work_count; i++)
        raft_persist_free(&m->disk.env, &m->work[i].p);
    for (size_t i = 0; i < m->apply_count; i++)
        raft_entries_free(&m->disk.env, m->apply[i].entries, m->apply[i].count);
    m->work_count = m->apply_count = m->fetch_count = 0;
    raft_free(m->r);
    m->r = NULL;
    w->crashes++;
}

static void deliver_one(struct world *w)
{
    size_t at = w->bag_count ? draw(w, w->calm ? 1 : w->bag_count) : 0;
    struct member *to;
    struct raft_message *m = &w->bag[at];
    bool arrives;
    if (w->bag_count == 0)
        return;
    to = &w->m[m->to - 1];
    arrives = to->r && !to->cut_off && !w->m[m->from - 1].cut_off;
    if (arrives) {
        int err = raft_step(to->r, m);
        CHECK(w, err != RAFT_BAD_MESSAGE && err != RAFT_LOCAL_MESSAGE, "a member sent nonsense: %s",
              raft_message_type_text(m->type));
        look(w, to);
    }
    if (m->type == RAFT_MSG_SNAP && w->m[m->from - 1].r) // always told: the leader waits for it
        raft_report_snapshot(w->m[m->from - 1].r, m->to, arrives);
    if (!chance(w, 50)) // else it comes again
        forget_message(w, at);
    take_ready(w, to);
}

static void propose(struct world *w, struct member *m)
{
    uint64_t id = ++w->payload << 8;
    struct block *b = block_new(&m->disk, &id, sizeof(id));
    struct raft_entry e = {.data = b->bytes, .len = b->len, .block = b};
    raft_propose(m->r, &e, 1, NULL);
    disk_unref(&m->disk, b);
}

static void propose_change(struct world *w, struct member *m)
{
    struct raft_conf_change cc = {.transition = (enum raft_transition)draw(w, 3),
                                  .count = (uint32_t)draw(w, 3)};
    uint8_t bytes[64];
    uint64_t id = ++w->payload << 8;
    // Two voters stay: a leader that leaves a group of two with the longer log stops it for good, as in
    // etcd (raft/README.md, "Tried and rejected").
    uint32_t may_leave = m->conf.voters.count > 2 ? m->conf.voters.count - 2 : 0;
    for (uint32_t i = 0; i < cc.count; i++) {
        static const enum raft_conf_op op[] = {RAFT_ADD_VOTER, RAFT_ADD_VOTER, RAFT_ADD_VOTER,
                                               RAFT_REMOVE, RAFT_ADD_LEARNER};
        cc.change[i].op = op[draw(w, 5)];
        if (cc.change[i].op != RAFT_ADD_VOTER && may_leave == 0)
            cc.change[i].op = RAFT_ADD_VOTER;
        else if (cc.change[i].op != RAFT_ADD_VOTER)
            may_leave--;
        cc.change[i].id = 1 + draw(w, w->n);
    }
    if (cc.count) { // the last bytes of the payload tell entries apart
        cc.context = (const uint8_t *)&id;
        cc.context_len = sizeof(id);
    } else {
        cc.transition = RAFT_TRANSITION_AUTO;
    }
    size_t len = raft_conf_change_encode(&cc, bytes, sizeof(bytes));
    struct block *b = block_new(&m->disk, bytes, len);
    struct raft_entry e = {
        .kind = RAFT_ENTRY_CONF_CHANGE_V2, .data = b->bytes, .len = b->len, .block = b};
    raft_propose(m->r, &e, 1, NULL);
    disk_unref(&m->disk, b);
}

static void compact(struct world *w, struct member *m)
{
    m->durable = m->disk.newest; // what is applied becomes durable
    m->durable.block = NULL;
    uint64_t upto = m->durable.index < raft_compactable(m->r) || draw(w, 2)
                        ? m->durable.index
                        : raft_compactable(m->r);
    if (upto > m->disk.start + 1 && upto < m->r->log.offset)
        disk_compact(&m->disk, m->disk.start + 1 + draw(w, upto - m->disk.start));
    m->disk.in_memory_from = m->disk.start + draw(w, m->disk.count + 1);
    if (w->calm || draw(w, 2))
        m->disk.in_memory_from = 0;
}

static void act(struct world *w, struct member *m)
{
    uint64_t what = draw(w, 1000);
    if (!m->r) {
        if (w->calm || what < 200)
            start(w, m);
        return;
    }
    if (what < 300)
        raft_tick(m->r);
    else if (what < 550)
        disk_work(w, m);
    else if (what < 700)
        apply_one(w, m);
    else if (what < (w->calm ? 710 : 800))
        propose(w, m);
    else if (what < 840)
        answer_fetch(w, m);
    else if (what < 880 && w->reads + 1 < QUEUE_MAX * 64) {
        w->read_at[++w->reads] = w->committed_to;
        raft_read_index(m->r, w->reads);
    } else if (what < 900)
        compact(w, m);
    else if (w->calm)
        return;
    else if (what < 910)
        propose_change(w, m);
    else if (what < 915)
        raft_transfer(m->r, 1 + draw(w, w->n));
    else if (what < 920)
        raft_report_unreachable(m->r, 1 + draw(w, w->n));
    else if (what < 924)
        raft_set_max_inflight_msgs(m->r, 1 + draw(w, 8));
    else if (what < 926)
        raft_forget_leader(m->r);
    else if (what < 930)
        m->cut_off = !m->cut_off;
    else if (what < 933)
        crash(w, m);
}

static void one_step_of(struct world *w)
{
    struct member *m = &w->m[draw(w, w->n)];
    w->step++;
    for (uint64_t i = draw(w, 4); i > 0; i--)
        deliver_one(w);
    act(w, m);
    look(w, m);
    if (m->r && !chance(w, 300))
        take_ready(w, m);
}

/* ---- A run */

static bool agreed(const struct world *w)
{
    const struct member *leader = NULL;
    for (size_t i = 0; i < w->n; i++)
        if (w->m[i].r && raft_role(w->m[i].r) == RAFT_LEADER)
            leader = &w->m[i];
    if (!leader || leader->applied < w->committed_to || raft_conf_is_joint(&leader->conf))
        return false;
    for (size_t i = 0; i < w->n; i++)
        if (raft_ids_has(&leader->conf.voters, w->m[i].id) ||
            raft_ids_has(&leader->conf.learners, w->m[i].id))
            if (w->m[i].applied + 20 < leader->applied ||
                memcmp(&w->m[i].conf, &leader->conf, sizeof(leader->conf)))
                return false;
    return true;
}

static void leave_explicit_joint(struct world *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->m[i].r && raft_role(w->m[i].r) == RAFT_LEADER && raft_conf_is_joint(&w->m[i].conf)) {
            struct raft_entry leave = {.kind = RAFT_ENTRY_CONF_CHANGE_V2};
            raft_propose(w->m[i].r, &leave, 1, NULL);
        }
}

static void heal(struct world *w)
{
    uint64_t goal = w->committed_to + 50;
    w->calm = true;
    for (size_t i = 0; i < w->n; i++) {
        w->m[i].cut_off = false;
        w->m[i].disk.in_memory_from = 0;
        if (w->m[i].r)
            raft_set_max_inflight_msgs(w->m[i].r, 8);
    }
    for (uint64_t i = 0; i < 40000; i++) {
        one_step_of(w);
        if (i % 500 == 499)
            leave_explicit_joint(w);
        if (w->committed_to >= goal && i % 100 == 0 && agreed(w))
            return;
    }
    for (size_t i = 0; i < w->n; i++)
        if (w->m[i].r) {
            char conf[256];
            struct raft *r = w->m[i].r;
            raft_describe_config(&w->m[i].conf, conf, sizeof(conf));
            print_message("# %" PRIu64 ": %s of %" PRIu64 ", term %" PRIu64 ", applied %" PRIu64
                          ", committed %" PRIu64 ", last %" PRIu64 ", %s\n",
                          w->m[i].id, raft_role_text(r->role), r->leader, r->term, w->m[i].applied,
                          r->log.committed, raft_log_last_index(&r->log), conf);
            for (uint32_t j = 0; r->role == RAFT_LEADER && j < r->members.peer_count; j++)
                print_message("#    %" PRIu64 " %s\n", r->members.peer[j]->id,
                              raft_text_of_progress(r, r->members.peer[j]));
        }
    CHECK(w, false, "healed, and still %s",
          w->committed_to >= goal ? "not agreed" : "nothing is committed");
}

static void end(struct world *w)
{
    long bytes = 0, blocks = 0;
    while (w->bag_count)
        forget_message(w, 0);
    for (size_t i = 0; i < w->n; i++) {
        crash(w, &w->m[i]);
        disk_deinit(&w->m[i].disk);
    }
    for (size_t i = 0; i < w->n; i++) {
        bytes += w->m[i].disk.allocated;
        blocks += w->m[i].disk.blocks;
    }
    CHECK(w, bytes == 0 && blocks == 0, "%ld bytes, %ld blocks were not given back", bytes, blocks);
    for (size_t i = 0; i < INDEX_MAX; i++)
        free(w->known[i]);
}

static void run(struct world *total, size_t n, uint64_t seed, uint64_t steps)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->seed = seed;
    w->random = seed * 0x9e3779b97f4a7c15u + 1;
    w->n = n;
    for (size_t i = 0; i < n; i++) {
        w->m[i].id = i + 1;
        disk_init(&w->m[i].disk);
        w->m[i].durable.conf = voters(n);
        start(w, &w->m[i]);
    }
    while (w->step < steps)
        one_step_of(w);
    heal(w);
    end(w);
    total->elections += w->elections;
    total->commits += w->commits;
    total->crashes += w->crashes;
    total->answered += w->answered;
    total->snapshots += w->snapshots;
    total->changes += w->changes;
    free(w);
}

static void storm(size_t n)
{
    const char *one_seed = getenv("KVD_SEED"), *count = getenv("KVD_RAFT_SEEDS");
    uint64_t seeds = count ? strtoull(count, NULL, 10) : 60;
    struct world *total = calloc(1, sizeof(*total));
    assert_non_null(total);
    if (one_seed)
        run(total, n, strtoull(one_seed, NULL, 10), 20000);
    for (uint64_t seed = 1; !one_seed && seed <= seeds; seed++)
        run(total, n, seed, 20000);
    print_message("# %zu members: %" PRIu64 " leaders, %" PRIu64 " commits, %" PRIu64
                  " reads, %" PRIu64 " snapshots, %" PRIu64 " conf changes, %" PRIu64 " crashes\n",
                  n, total->elections, total->commits, total->answered, total->snapshots,
                  total->changes, total->crashes);
    if (!one_seed) { // a storm in which nothing happens proves nothing
        assert_true(total->elections > seeds);
        assert_true(total->commits > 100 * seeds);
        assert_true(total->answered > seeds);
        assert_true(n == 1 || total->snapshots > seeds / 4);
        assert_true(total->changes > seeds);
    }
    free(total);
}

static void three_members_keep_every_promise_through_a_storm(void **state)
{
    (void)state;
    storm(3);
}
static void five_members_keep_every_promise_through_a_storm(void **state)
{
    (void)state;
    storm(5);
}
static void one_member_keeps_every_promise_through_a_storm(void **state)
{
    (void)state;
    storm(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_member_keeps_every_promise_through_a_storm),
        cmocka_unit_test(three_members_keep_every_promise_through_a_storm),
        cmocka_unit_test(five_members_keep_every_promise_through_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

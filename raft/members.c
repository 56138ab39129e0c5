/* raft/members.c: changes are worked out on a copy of the configuration, which is a plain value; only
 * when all of it is allowed does it take effect. */
#include "raft/members.h"
#include "raft/ids.h"
#include "raft/memory.h"
#include <assert.h>
#include <string.h>

bool raft_conf_is_joint(const struct raft_conf_state *conf) { return conf->outgoing.count > 0; }

bool raft_conf_wants_leave(const struct raft_conf_change *cc)
{
    return cc->count == 0 && cc->transition == RAFT_TRANSITION_AUTO;
}

static bool is_tracked(const struct raft_conf_state *c, uint64_t id)
{
    return raft_ids_has(&c->voters, id) || raft_ids_has(&c->outgoing, id) ||
           raft_ids_has(&c->learners, id);
}

static void remove_member(struct raft_conf_state *c, uint64_t id, struct raft_ids *renewed)
{
    if (!is_tracked(c, id))
        return;
    raft_ids_remove(&c->voters, id);
    raft_ids_remove(&c->learners, id);
    raft_ids_remove(&c->learners_next, id);
    if (!raft_ids_has(&c->outgoing, id))
        raft_ids_add(renewed, id); // if it is added again below
}

static bool add_voter(struct raft_conf_state *c, uint64_t id)
{
    raft_ids_remove(&c->learners, id);
    raft_ids_remove(&c->learners_next, id);
    return raft_ids_add(&c->voters, id);
}

static bool add_learner(struct raft_conf_state *c, uint64_t id)
{
    if (raft_ids_has(&c->learners, id))
        return true;
    raft_ids_remove(&c->voters, id);
    raft_ids_remove(&c->learners_next, id);
    if (raft_ids_has(&c->outgoing, id))
        return raft_ids_add(&c->learners_next, id);
    return raft_ids_add(&c->learners, id);
}

static bool fits(const struct raft_conf_state *c)
{
    struct raft_ids all = c->voters;
    return raft_ids_add_all(&all, &c->outgoing) && raft_ids_add_all(&all, &c->learners);
}

static const char *change_each(struct raft_conf_state *c, const struct raft_conf_change *cc,
                               struct raft_ids *renewed)
{
    for (uint32_t i = 0; i < cc->count; i++) {
        uint64_t id = cc->change[i].id;
        bool room = true;
        if (id == RAFT_NONE)
            continue;
        switch (cc->change[i].op) {
        case RAFT_ADD_VOTER:
            room = add_voter(c, id);
            break;
        case RAFT_ADD_LEARNER:
            room = add_learner(c, id);
            break;
        case RAFT_REMOVE:
            remove_member(c, id, renewed);
            break;
        case RAFT_UPDATE:
            break;
        }
        if (!room)
            return "too many members";
    }
    if (c->voters.count == 0)
        return "removed all voters";
    return fits(c) ? NULL : "too many members";
}

const char *raft_conf_simple(struct raft_conf_state *conf, const struct raft_conf_change *cc,
                             struct raft_ids *renewed)
{
    struct raft_conf_state c = *conf;
    const char *why;
    if (raft_conf_is_joint(conf))
        return "can't apply simple config change in joint config";
    why = change_each(&c, cc, renewed);
    if (why)
        return why;
    if (raft_ids_differing(&conf->voters, &c.voters) > 1)
        return "more than one voter changed without entering joint config";
    *conf = c;
    return NULL;
}

const char *raft_conf_enter_joint(struct raft_conf_state *conf, bool auto_leave,
                                  const struct raft_conf_change *cc, struct raft_ids *renewed)
{
    struct raft_conf_state c = *conf;
    const char *why;
    if (raft_conf_is_joint(conf))
        return "config is already joint";
    if (conf->voters.count == 0)
        return "can't make a zero-voter config joint";
    c.outgoing = c.voters;
    why = change_each(&c, cc, renewed);
    if (why)
        return why;
    c.auto_leave = auto_leave;
    *conf = c;
    return NULL;
}

const char *raft_conf_leave_joint(struct raft_conf_state *conf)
{
    if (!raft_conf_is_joint(conf))
        return "can't leave a non-joint config";
    if (!raft_ids_add_all(&conf->learners, &conf->learners_next))
        return "too many members"; // cannot be: they were counted as voters of the outgoing half
    conf->learners_next = (struct raft_ids){0};
    conf->outgoing = (struct raft_ids){0};
    conf->auto_leave = false;
    return NULL;
}

const char *raft_conf_apply(struct raft_conf_state *conf, const struct raft_conf_change *cc,
                            struct raft_ids *renewed)
{
    renewed->count = 0;
    if (raft_conf_wants_leave(cc))
        return raft_conf_leave_joint(conf);
    if (cc->count > 1 || cc->transition != RAFT_TRANSITION_AUTO)
        return raft_conf_enter_joint(conf, cc->transition != RAFT_TRANSITION_EXPLICIT, cc, renewed);
    return raft_conf_simple(conf, cc, renewed);
}

bool raft_conf_is_sound(const struct raft_conf_state *conf)
{
    if (!raft_ids_are_sound(&conf->voters) || !raft_ids_are_sound(&conf->outgoing) ||
        !raft_ids_are_sound(&conf->learners) || !raft_ids_are_sound(&conf->learners_next) ||
        !fits(conf))
        return false;
    for (uint32_t i = 0; i < conf->learners.count; i++)
        if (raft_ids_has(&conf->voters, conf->learners.id[i]) ||
            raft_ids_has(&conf->outgoing, conf->learners.id[i]))
            return false;
    for (uint32_t i = 0; i < conf->learners_next.count; i++)
        if (!raft_ids_has(&conf->outgoing, conf->learners_next.id[i]) ||
            raft_ids_has(&conf->voters, conf->learners_next.id[i]))
            return false;
    return raft_conf_is_joint(conf) || !conf->auto_leave;
}

struct raft_progress *raft_members_find(const struct raft_members *ms, uint64_t id)
{
    for (uint32_t i = 0; i < ms->peer_count; i++)
        if (ms->peer[i]->id == id)
            return ms->peer[i];
    return NULL;
}

struct raft_quorum raft_members_quorum(const struct raft_members *ms)
{
    return (struct raft_quorum){&ms->conf.voters, &ms->conf.outgoing};
}

bool raft_members_is_voter(const struct raft_members *ms, uint64_t id)
{
    return raft_ids_has(&ms->conf.voters, id) || raft_ids_has(&ms->conf.outgoing, id);
}

static void forget_progress(struct raft_progress *p, const struct raft_env *env)
{
    raft_progress_deinit(p, env);
    raft_release(env, p, sizeof(*p));
}

/* The progress of id as it was in old, taken out of there, or a new one. */
static struct raft_progress *keep_or_make(struct raft_progress **old, uint32_t old_count,
                                          uint64_t id, bool renew, const struct raft_env *env,
                                          uint64_t last_index)
{
    struct raft_progress *p;
    for (uint32_t i = 0; i < old_count; i++) {
        if (!old[i] || old[i]->id != id || renew)
            continue;
        p = old[i];
        old[i] = NULL;
        return p;
    }
    p = raft_alloc(env, sizeof(*p));
    p->id = id;
    p->next = last_index > 1 ? last_index : 1; // probably the entry that added it
    p->recently_active = true; // or the next CheckQuorum deposes the leader that added it
    return p;
}

void raft_members_set(struct raft_members *ms, const struct raft_env *env,
                      const struct raft_conf_state *conf, const struct raft_ids *renewed,
                      uint64_t last_index)
{
    struct raft_progress *old[RAFT_MEMBERS_MAX];
    uint32_t old_count = ms->peer_count;
    struct raft_ids all = conf->voters;
    bool room = raft_ids_add_all(&all, &conf->outgoing) && raft_ids_add_all(&all, &conf->learners);
    assert(room);
    memcpy(old, ms->peer, sizeof(old));
    for (uint32_t i = 0; i < all.count; i++) {
        bool renew = renewed && raft_ids_has(renewed, all.id[i]);
        ms->peer[i] = keep_or_make(old, old_count, all.id[i], renew, env, last_index);
        ms->peer[i]->is_learner = raft_ids_has(&conf->learners, all.id[i]);
    }
    ms->peer_count = all.count;
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i])
            forget_progress(old[i], env);
    ms->conf = *conf;
}

void raft_members_deinit(struct raft_members *ms, const struct raft_env *env)
{
    for (uint32_t i = 0; i < ms->peer_count; i++)
        forget_progress(ms->peer[i], env);
    ms->peer_count = 0;
}

static uint64_t match_of(const void *ctx, uint64_t id)
{
    const struct raft_progress *p = raft_members_find(ctx, id);
    return p ? p->match : 0;
}

uint64_t raft_members_committed(const struct raft_members *ms)
{
    struct raft_quorum q = raft_members_quorum(ms);
    return raft_quorum_committed(&q, match_of, ms);
}

bool raft_members_quorum_active(const struct raft_members *ms)
{
    struct raft_quorum q = raft_members_quorum(ms);
    struct raft_ids yes = {0}, no = {0};
    for (uint32_t i = 0; i < ms->peer_count; i++)
        if (!ms->peer[i]->is_learner)
            raft_ids_add(ms->peer[i]->recently_active ? &yes : &no, ms->peer[i]->id);
    return raft_quorum_vote(&q, &yes, &no) == RAFT_VOTE_WON;
}

void raft_members_reset_votes(struct raft_members *ms)
{
    ms->granted.count = 0;
    ms->rejected.count = 0;
}

void raft_members_record_vote(struct raft_members *ms, uint64_t id, bool granted)
{
    if (raft_ids_has(&ms->granted, id) || raft_ids_has(&ms->rejected, id) ||
        !raft_members_find(ms, id))
        return;
    raft_ids_add(granted ? &ms->granted : &ms->rejected, id);
}

enum raft_vote_result raft_members_tally(const struct raft_members *ms, uint32_t *granted,
                                         uint32_t *rejected)
{
    struct raft_quorum q = raft_members_quorum(ms);
    *granted = *rejected = 0;
    for (uint32_t i = 0; i < ms->peer_count; i++) {
        if (ms->peer[i]->is_learner)
            continue;
        *granted += raft_ids_has(&ms->granted, ms->peer[i]->id);
        *rejected += raft_ids_has(&ms->rejected, ms->peer[i]->id);
    }
    return raft_quorum_vote(&q, &ms->granted, &ms->rejected);
}

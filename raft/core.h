/* raft/core.h: the state that the rules of the algorithm work on. raft.c owns terms and roles, election.c
 * the votes, replicate.c the log's way to the followers, read_index.c the reads; ready.c tells what came
 * of it. Modules below these (log, members, progress, inflights, quorum) do not know it. */
#pragma once
#include "raft/log.h"
#include "raft/members.h"
#include "raft/memory.h"
#include "raft/read_index.h"

struct raft {
    const struct raft_env *env;
    struct raft_config config;
    uint64_t id;

    uint64_t term, vote; // with log.committed: the hard state
    enum raft_role role;
    uint64_t leader;     // RAFT_NONE: not known
    uint64_t transferee; // leader: who is to take over; RAFT_NONE: nobody
    bool is_learner;
    uint32_t
        election_elapsed; // ticks since the leader was heard; a leader's: since the last CheckQuorum
    uint32_t heartbeat_elapsed; // leader only
    uint32_t election_timeout;  // drawn anew whenever the role is reset

    struct raft_log log;
    struct raft_members members;
    struct raft_window window;
    uint64_t pending_conf_index; // leader: no other conf change is proposed until this is applied
    uint64_t uncommitted_bytes;  // leader: payload in (committed, last]
    struct raft_reads reads;

    struct raft_outbox messages; // may leave at once
    struct raft_outbox promises; // wait for storage
    struct raft_soft_state last_soft;
    struct raft_hard_state last_hard;
    struct raft_voice voice;
};

/* ---- raft.c */

/* Queue m; who it is from, and its term unless it carries one or needs none, are filled in. Takes over
 * m's entries and snapshot. Promises wait for storage, all else leaves with the next ready. */
void raft_send(struct raft *r, struct raft_message m);
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader);
void raft_become_candidate(struct raft *r);
void raft_become_pre_candidate(struct raft *r);
void raft_become_leader(struct raft *r);

/* ---- reconfigure.c */
void raft_switch_conf(struct raft *r, const struct raft_conf_state *conf,
                      const struct raft_ids *renewed);

/* ---- election.c */
enum raft_campaign_kind { RAFT_CAMPAIGN_PRE, RAFT_CAMPAIGN_REAL, RAFT_CAMPAIGN_TRANSFER };
void raft_election_hup(struct raft *r, bool transfer); // stand, if we may
bool raft_election_is_promotable(const struct raft *r);
bool raft_election_is_sticky(const struct raft *r); // a leader was heard: votes are refused
void raft_election_handle_vote(struct raft *r, const struct raft_message *m);
void raft_election_refuse(struct raft *r, const struct raft_message *m, bool say);
void raft_election_handle_answer(struct raft *r, const struct raft_message *m);
void raft_election_check_quorum(struct raft *r);

/* ---- replicate.c */
/* A leader's proposal: see raft_propose. */
int raft_replicate_propose(struct raft *r, const struct raft_entry *entries, size_t count,
                           uint64_t *first_out);
bool raft_replicate_append_own(struct raft *r, struct raft_entry *entries, size_t count);
void raft_replicate_to(struct raft *r, struct raft_progress *p);
bool raft_replicate_more_to(struct raft *r,
                            struct raft_progress *p); // only with entries; false: nothing sent
void raft_replicate_to_all(struct raft *r);
void raft_replicate_heartbeat_all(struct raft *r);
bool raft_replicate_advance_commit(struct raft *r);
int raft_replicate_handle_append(struct raft *r, const struct raft_message *m);
void raft_replicate_handle_heartbeat(struct raft *r, const struct raft_message *m);
void raft_replicate_handle_snapshot(struct raft *r, const struct raft_message *m);
void raft_replicate_handle_append_answer(struct raft *r, struct raft_progress *p,
                                         const struct raft_message *m);
void raft_replicate_handle_heartbeat_answer(struct raft *r, struct raft_progress *p,
                                            const struct raft_message *m);
void raft_replicate_handle_transfer(struct raft *r, struct raft_progress *p);

/* ---- describe.c: into r->voice.part, valid until the next of them */
const char *raft_text_of_conf(struct raft *r);
const char *raft_text_of_progress(struct raft *r, const struct raft_progress *p);
const char *raft_text_of_change(struct raft *r, const struct raft_conf_change *cc);
size_t raft_describe_config(const struct raft_conf_state *conf, char *buf, size_t cap);
size_t raft_describe_progress(const struct raft_progress *p, const struct raft_window *w, char *buf,
                              size_t cap);

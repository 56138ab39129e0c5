/* tests/raft/test_safety.c: the rules whose breach the conversations do not show. Each test fails when the
 * fault it is named after is put in. */
#include "tests/raft/one.h"

/* A follower of leader 2 in `term`, with that log. */
static void follow(struct one *o, uint64_t term, uint64_t commit)
{
    assert_int_equal(
        one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = term, .commit = commit)), 0);
    one_forget_sent(o);
}

static void an_entry_of_an_older_term_is_not_committed_by_counting(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1));
    one_start(o);
    one_lead(o); // term 2, entry 3
    one_ack(o, 2, 2);
    assert_int_equal(raft_committed(o->r), 0);
    one_ack(o, 2, 3);
    assert_int_equal(raft_committed(o->r), 3);
}

static void one_term_sees_one_vote(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 2, .term = 1));
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 3, .term = 1));
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 2, .term = 1)); // asked again
    assert_true(one_last(o, RAFT_MSG_VOTE_RESP, 3)->reject);
    assert_false(one_last(o, RAFT_MSG_VOTE_RESP, 2)->reject);
}

static void no_vote_is_granted_in_the_term_of_a_known_leader(void **state)
{
    struct one *o = *state;
    one_start(o);
    follow(o, 1, 0);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 3, .term = 1));
    assert_true(one_last(o, RAFT_MSG_VOTE_RESP, 3)->reject);
}

static void a_vote_needs_an_up_to_date_log(void **state)
{
    static const struct {
        uint64_t log_term, index;
        bool granted;
    } rows[] = {
        {2, 2, true}, {2, 3, true}, {3, 1, true}, {2, 1, false}, {1, 9, false},
    };
    struct one *o = *state;
    one_log(o, TERMS(1, 2));
    one_start(o);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 2, .term = 10 + i,
                        .log_term = rows[i].log_term, .index = rows[i].index));
        assert_int_equal(!one_last(o, RAFT_MSG_VOTE_RESP, 2)->reject, rows[i].granted);
    }
}

static void a_joint_election_needs_both_halves(void **state)
{
    struct one *o = *state;
    for (uint64_t id = 4; id <= 6; id++)
        raft_ids_add(&o->config.conf.outgoing, id);
    one_start(o);
    raft_campaign(o->r);
    one_drain(o);
    one_step(o, MSG(.type = RAFT_MSG_VOTE_RESP, .from = 2, .term = 1));
    one_step(o, MSG(.type = RAFT_MSG_VOTE_RESP, .from = 3, .term = 1));
    one_step(o, MSG(.type = RAFT_MSG_VOTE_RESP, .from = 4, .term = 1));
    assert_int_equal(raft_role(o->r), RAFT_CANDIDATE);
    one_step(o, MSG(.type = RAFT_MSG_VOTE_RESP, .from = 5, .term = 1));
    assert_int_equal(raft_role(o->r), RAFT_LEADER);
}

static void a_joint_commit_needs_both_halves(void **state)
{
    struct one *o = *state;
    raft_ids_add(&o->config.conf.outgoing, 4);
    raft_ids_add(&o->config.conf.outgoing, 5);
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    one_ack(o, 3, 1);
    one_ack(o, 4, 1);
    assert_int_equal(raft_committed(o->r), 0);
    one_ack(o, 5, 1);
    assert_int_equal(raft_committed(o->r), 1);
}

static struct raft_entry entry(uint64_t term, uint64_t index)
{
    return (struct raft_entry){.term = term, .index = index};
}

static void a_follower_commits_no_further_than_the_message_covers(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1)); // 3 may be a dead leader's
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 2, .index = 1, .log_term = 1,
                    .commit = 3, .entries = (struct raft_entry[]){entry(1, 2)}, .count = 1));
    assert_int_equal(raft_committed(o->r), 2);
    assert_int_equal(one_last(o, RAFT_MSG_APP_RESP, 2)->index, 2);
}

static void a_late_shorter_append_truncates_nothing(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1));
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 1, .index = 0, .log_term = 0,
                    .entries = (struct raft_entry[]){entry(1, 1)}, .count = 1));
    assert_int_equal(last_index(o), 3);
}

static void what_replaces_a_write_under_way_is_written_too(void **state)
{
    struct one *o = *state;
    one_start(o);
    o->hold_storage = true;
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 1,
                    .entries = (struct raft_entry[]){entry(1, 1), entry(1, 2), entry(1, 3)},
                    .count = 3));
    assert_int_equal(o->held[0].count, 3);
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 3, .term = 2, .index = 1, .log_term = 1,
                    .entries = (struct raft_entry[]){entry(2, 2)}, .count = 1));
    assert_int_equal(o->held_count, 2);
    assert_int_equal(o->held[1].count, 1);
    assert_int_equal(o->held[1].entries[0].term, 2);
    assert_int_equal(o->held[1].entries[0].index, 2);
}

static void a_completion_of_an_older_term_makes_nothing_stable(void **state)
{
    struct one *o = *state;
    one_start(o);
    o->hold_storage = true;
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 1,
                    .entries = (struct raft_entry[]){entry(1, 1)}, .count = 1));
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 2));
    one_complete_next(o); // term 1's write: (1, 1) is what the log holds, and yet
    assert_int_equal(o->r->log.offset, 1);
    one_complete_next(o); // term 2's hard state attests the tail again
    assert_int_equal(o->r->log.offset, 2);
}

static void a_conf_change_waits_for_the_one_before_it(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    assert_int_equal(one_propose_change(o, RAFT_ADD_VOTER, 4), 0);
    assert_int_equal(one_propose_change(o, RAFT_ADD_VOTER, 5), 0);
    struct raft_entry_info info;
    raft_log_info(&o->r->log, 2, &info);
    assert_int_equal(info.kind, RAFT_ENTRY_CONF_CHANGE_V2);
    raft_log_info(&o->r->log, 3, &info);
    assert_int_equal(info.kind, RAFT_ENTRY_NORMAL); // in the log, as nothing
    assert_int_equal(info.len, 0);
    one_ack(o, 2, 3);
    assert_true(raft_ids_has(&o->r->members.conf.voters, 4));
    assert_false(raft_ids_has(&o->r->members.conf.voters, 5));
}

static void a_new_leader_takes_no_conf_change_before_its_log_is_applied(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1));
    one_start(o);
    one_lead(o);
    one_propose_change(o, RAFT_ADD_VOTER, 4);
    struct raft_entry_info info;
    raft_log_info(&o->r->log, 3, &info);
    assert_int_equal(info.kind, RAFT_ENTRY_NORMAL);
}

static void nobody_campaigns_with_an_unapplied_conf_change(void **state)
{
    struct one *o = *state;
    struct raft_entry e = {.term = 1, .index = 1, .kind = RAFT_ENTRY_CONF_CHANGE_V2};
    one_start(o);
    o->hold_apply = true;
    one_step(
        o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 1, .commit = 1, .entries = &e, .count = 1));
    assert_int_equal(raft_committed(o->r), 1);
    raft_campaign(o->r);
    one_ticks(o, 40);
    assert_int_equal(raft_role(o->r), RAFT_FOLLOWER);
    struct raft_apply a = o->held_apply[0];
    o->held_apply_count = 0;
    one_apply(o, &a); // an empty change outside a joint configuration: nothing, on every member
    assert_int_equal(o->conf_errors, 1);
    raft_campaign(o->r);
    assert_int_equal(raft_role(o->r), RAFT_CANDIDATE);
}

static void a_new_voter_counts_as_heard_from(void **state)
{
    struct one *o = *state;
    o->config.check_quorum = true;
    o->config.conf = voters(1);
    one_start(o);
    one_lead(o);
    one_propose_change(o, RAFT_ADD_VOTER, 2);
    one_ticks(o, 10);
    assert_int_equal(raft_role(o->r), RAFT_LEADER); // its first check
    one_ticks(o, 10);
    assert_int_equal(raft_role(o->r), RAFT_FOLLOWER); // it had its time
}

static void a_pre_vote_of_a_lower_term_is_answered_with_ours(void **state)
{
    struct one *o = *state;
    o->config.pre_vote = true;
    o->config.hard_state.term = 5;
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_PRE_VOTE, .from = 2, .term = 3));
    assert_true(one_last(o, RAFT_MSG_PRE_VOTE_RESP, 2)->reject);
    assert_int_equal(one_last(o, RAFT_MSG_PRE_VOTE_RESP, 2)->term, 5);
}

static void a_vote_in_a_transfer_is_granted_although_the_leader_was_heard(void **state)
{
    struct one *o = *state;
    o->config.check_quorum = true;
    one_start(o);
    follow(o, 1, 0);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 3, .term = 2));
    assert_int_equal(raft_term(o->r), 1); // not even the term is taken
    assert_int_equal(o->sent_count, 0);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 3, .term = 2, .transfer = true));
    assert_false(one_last(o, RAFT_MSG_VOTE_RESP, 3)->reject);
}

static void learners_do_not_keep_a_leader_in_office(void **state)
{
    struct one *o = *state;
    o->config.check_quorum = true;
    raft_ids_add(&o->config.conf.learners, 4);
    raft_ids_add(&o->config.conf.learners, 5);
    one_start(o);
    one_lead(o);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 4, .term = 1));
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 5, .term = 1));
    one_ticks(o, 10);
    assert_int_equal(raft_role(o->r), RAFT_FOLLOWER);
}

static void learners_do_not_commit(void **state)
{
    struct one *o = *state;
    raft_ids_add(&o->config.conf.learners, 4);
    one_start(o);
    one_lead(o);
    one_ack(o, 4, 1);
    assert_int_equal(raft_committed(o->r), 0);
}

static void a_stale_rejection_does_not_move_a_probe(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1, 1));
    one_start(o);
    one_lead(o); // next = 5
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 2,
                    .reject_hint = 0));
    assert_int_equal(one_peer(o, 2)->next, 5);
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 4,
                    .reject_hint = 1, .log_term = 1));
    assert_int_equal(one_peer(o, 2)->next, 2);
}

static void a_stale_rejection_does_not_stop_replication(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1));
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 4);
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 3,
                    .reject_hint = 1));
    assert_int_equal(one_peer(o, 2)->flow, RAFT_REPLICATE);
    assert_int_equal(one_peer(o, 2)->next, 5);
}

static void an_append_below_the_commit_index_is_answered_with_it(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1));
    one_start(o);
    follow(o, 1, 3);
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 1, .index = 1, .log_term = 1));
    assert_int_equal(one_last(o, RAFT_MSG_APP_RESP, 2)->index, 3);
    assert_false(one_last(o, RAFT_MSG_APP_RESP, 2)->reject);
}

static void a_snapshot_that_the_log_holds_only_moves_the_commit_index(void **state)
{
    struct one *o = *state;
    struct raft_snapshot s = {.index = 2, .term = 1, .conf = voters(3)};
    one_log(o, TERMS(1, 1, 1));
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_SNAP, .from = 2, .term = 1, .snapshot = &s));
    assert_int_equal(last_index(o), 3);
    assert_int_equal(raft_committed(o->r), 2);
    assert_null(o->r->log.snapshot);
    assert_int_equal(one_last(o, RAFT_MSG_APP_RESP, 2)->index, 2);
}

static void a_snapshot_behind_the_commit_index_is_answered_with_that(void **state)
{
    struct one *o = *state;
    struct raft_snapshot s = {.index = 2, .term = 1, .conf = voters(3)};
    one_log(o, TERMS(1, 1, 1));
    one_start(o);
    follow(o, 1, 3);
    one_step(o, MSG(.type = RAFT_MSG_SNAP, .from = 2, .term = 1, .snapshot = &s));
    assert_int_equal(one_last(o, RAFT_MSG_APP_RESP, 2)->index, 3);
}

static void a_snapshot_replaces_the_log_and_is_applied_when_installed(void **state)
{
    struct one *o = *state;
    struct raft_snapshot s = {.index = 9, .term = 2, .conf = voters(4)};
    one_log(o, TERMS(1, 1, 1));
    one_start(o);
    o->hold_storage = true;
    one_step(o, MSG(.type = RAFT_MSG_SNAP, .from = 2, .term = 2, .snapshot = &s));
    assert_int_equal(raft_committed(o->r), 9);
    assert_int_equal(o->r->log.applied, 0);
    raft_campaign(o->r);
    assert_int_equal(raft_role(o->r), RAFT_FOLLOWER); // its state is not there yet
    assert_int_equal(one_count(o, RAFT_MSG_APP_RESP, 2), 0);
    while (o->held_count)
        one_complete_next(o);
    assert_int_equal(o->r->log.applied, 9);
    assert_int_equal(one_last(o, RAFT_MSG_APP_RESP, 2)->index, 9);
    assert_true(raft_ids_has(&o->r->members.conf.voters, 4));
    o->applied = 9;
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 2, .index = 9, .log_term = 2,
                    .entries = (struct raft_entry[]){entry(2, 10)}, .count = 1));
    assert_int_equal(last_index(o), 10);
}

static void a_snapshot_for_others_is_ignored(void **state)
{
    struct one *o = *state;
    struct raft_snapshot s = {.index = 9, .term = 2, .conf = voters(3)};
    raft_ids_remove(&s.conf.voters, 1);
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_SNAP, .from = 2, .term = 2, .snapshot = &s));
    assert_int_equal(raft_committed(o->r), 0);
}

static void apply_gets_no_more_than_its_share_at_once(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1, 1));
    o->config.max_apply_bytes = 2 * raft_entry_size(&o->disk.log[0]);
    one_start(o);
    o->hold_apply = true;
    follow(o, 1, 4);
    assert_int_equal(o->held_apply_count, 1);
    assert_int_equal(o->held_apply[0].count, 2);
    struct raft_apply a = o->held_apply[0];
    o->held_apply_count = 0;
    one_apply(o, &a);
    one_drain(o);
    assert_int_equal(o->held_apply[0].count, 2);
}

static void nothing_is_applied_before_our_own_write_of_it_is_durable(void **state)
{
    struct one *o = *state;
    one_start(o);
    o->hold_storage = o->hold_apply = true;
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 1, .commit = 1,
                    .entries = (struct raft_entry[]){entry(1, 1)}, .count = 1));
    assert_int_equal(raft_committed(o->r), 1);
    assert_int_equal(o->held_apply_count, 0);
    while (o->held_count)
        one_complete_next(o);
    one_drain(o);
    assert_int_equal(o->held_apply_count, 1);
}

static void a_leaders_messages_restart_the_election_timer(void **state)
{
    struct one *o = *state;
    struct raft_snapshot s = {.index = 2, .term = 1, .conf = voters(3)};
    one_start(o);
    for (int i = 0; i < 9; i++) {
        one_ticks(o, 5);
        if (i % 3 == 0)
            one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1));
        else if (i % 3 == 1)
            one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 1));
        else
            one_step(o, MSG(.type = RAFT_MSG_SNAP, .from = 2, .term = 1, .snapshot = &s));
        assert_int_equal(raft_role(o->r), RAFT_FOLLOWER);
        s.index += 2;
        o->applied = o->r->log.applied;
    }
    one_ticks(o, 10);
    assert_int_equal(raft_role(o->r), RAFT_CANDIDATE);
}

static void a_vote_survives_a_restart(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 2, .term = 4));
    assert_false(one_last(o, RAFT_MSG_VOTE_RESP, 2)->reject);
    raft_free(o->r);
    o->config.hard_state = o->disk.hard; // only what was stored
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 3, .term = 4));
    assert_true(one_last(o, RAFT_MSG_VOTE_RESP, 3)->reject);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 3, .term = 3));
    assert_int_equal(raft_term(o->r), 4);
}

static void every_change_of_term_vote_and_commit_is_handed_to_storage(void **state)
{
    struct one *o = *state;
    struct raft_ready rd;
    one_start(o);
    raft_step(o->r, MSG(.type = RAFT_MSG_VOTE, .from = 2, .to = 1, .term = 4));
    raft_ready(o->r, &rd);
    assert_true(rd.persist.has_hard_state);
    assert_int_equal(rd.persist.hard_state.term, 4);
    assert_int_equal(rd.persist.hard_state.vote, 2);
    assert_true(rd.persist.must_sync);
    assert_int_equal(rd.persist.promise_count, 1); // the vote goes with it, not before
    assert_int_equal(rd.message_count, 0);
    raft_ready_free(&o->disk.env, &rd);
}

static void a_vote_waits_until_it_is_durable(void **state)
{
    struct one *o = *state;
    one_start(o);
    o->hold_storage = true;
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 2, .term = 1));
    assert_int_equal(o->sent_count, 0);
    one_complete_next(o);
    assert_int_equal(one_count(o, RAFT_MSG_VOTE_RESP, 2), 1);
}

static void a_single_voter_neither_wins_nor_commits_before_its_disk(void **state)
{
    struct one *o = *state;
    o->config.conf = voters(1);
    one_start(o);
    o->hold_storage = true;
    raft_campaign(o->r);
    one_drain(o);
    assert_int_equal(raft_role(o->r), RAFT_CANDIDATE);
    one_complete_next(o);
    assert_int_equal(raft_role(o->r), RAFT_LEADER);
    one_drain(o);
    assert_int_equal(one_propose(o, "x"), 0);
    assert_int_equal(raft_committed(o->r), 0);
    one_complete_next(o); // the empty entry
    assert_int_equal(raft_committed(o->r), 1);
    one_drain(o);
    one_complete_next(o);
    assert_int_equal(raft_committed(o->r), 2);
}

static void a_leader_counts_itself_only_when_its_own_write_is_durable(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    o->hold_storage = true;
    one_propose(o, "x");
    one_ack(o, 2, 2);
    assert_int_equal(raft_committed(o->r), 1);
    one_complete_next(o);
    while (o->held_count)
        one_complete_next(o);
    assert_int_equal(raft_committed(o->r), 2);
}

static void a_heartbeat_carries_no_more_than_the_follower_matched(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1));
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 3);
    assert_int_equal(raft_committed(o->r), 3);
    one_forget_sent(o);
    one_ticks(o, 1);
    assert_int_equal(one_last(o, RAFT_MSG_HEARTBEAT, 2)->commit, 3);
    assert_int_equal(one_last(o, RAFT_MSG_HEARTBEAT, 3)->commit, 0);
}

static void a_pre_vote_changes_neither_term_nor_vote_nor_timer(void **state)
{
    struct one *o = *state;
    o->config.pre_vote = true;
    one_start(o);
    one_ticks(o, 5);
    one_step(o, MSG(.type = RAFT_MSG_PRE_VOTE, .from = 2, .term = 7));
    assert_false(one_last(o, RAFT_MSG_PRE_VOTE_RESP, 2)->reject);
    assert_int_equal(one_last(o, RAFT_MSG_PRE_VOTE_RESP, 2)->term, 7);
    assert_int_equal(raft_term(o->r), 0);
    assert_int_equal(o->r->vote, 0);
    assert_int_equal(o->r->election_elapsed, 5);
}

static void a_stale_leader_hears_of_the_newer_term(void **state)
{
    struct one *o = *state;
    o->config.check_quorum = true;
    o->config.hard_state.term = 5;
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3));
    assert_int_equal(one_last(o, RAFT_MSG_APP_RESP, 2)->term, 5);
}

static void who_left_the_voters_still_protects_what_it_stored(void **state)
{
    struct one *o = *state;
    o->config.conf = (struct raft_conf_state){.voters = {2, {2, 3}}};
    o->config.applied = o->applied = 2; // the change that removed us
    one_log(o,
            TERMS(1, 1, 1)); // 2 may have committed 3 with our acknowledgement before it applied 2
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 3, .term = 2, .log_term = 1, .index = 2));
    assert_true(one_last(o, RAFT_MSG_VOTE_RESP, 3)->reject);
    one_step(o, MSG(.type = RAFT_MSG_VOTE, .from = 2, .term = 3, .log_term = 1, .index = 3));
    assert_false(one_last(o, RAFT_MSG_VOTE_RESP, 2)->reject);
}

static int setup(void **state)
{
    struct one *o = calloc(1, sizeof(*o));
    *state = o;
    if (!o)
        return -1;
    one_init(o, 3);
    return 0;
}

static int teardown(void **state)
{
    struct one *o = *state;
    one_end(o);
    free(o);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_entry_of_an_older_term_is_not_committed_by_counting),
        T(one_term_sees_one_vote),
        T(no_vote_is_granted_in_the_term_of_a_known_leader),
        T(a_vote_needs_an_up_to_date_log),
        T(a_joint_election_needs_both_halves),
        T(a_joint_commit_needs_both_halves),
        T(a_follower_commits_no_further_than_the_message_covers),
        T(a_late_shorter_append_truncates_nothing),
        T(what_replaces_a_write_under_way_is_written_too),
        T(a_completion_of_an_older_term_makes_nothing_stable),
        T(a_conf_change_waits_for_the_one_before_it),
        T(a_new_leader_takes_no_conf_change_before_its_log_is_applied),
        T(nobody_campaigns_with_an_unapplied_conf_change),
        T(a_new_voter_counts_as_heard_from),
        T(a_pre_vote_of_a_lower_term_is_answered_with_ours),
        T(a_vote_in_a_transfer_is_granted_although_the_leader_was_heard),
        T(learners_do_not_keep_a_leader_in_office),
        T(learners_do_not_commit),
        T(a_stale_rejection_does_not_move_a_probe),
        T(a_stale_rejection_does_not_stop_replication),
        T(an_append_below_the_commit_index_is_answered_with_it),
        T(a_snapshot_that_the_log_holds_only_moves_the_commit_index),
        T(a_snapshot_behind_the_commit_index_is_answered_with_that),
        T(a_snapshot_replaces_the_log_and_is_applied_when_installed),
        T(a_snapshot_for_others_is_ignored),
        T(apply_gets_no_more_than_its_share_at_once),
        T(nothing_is_applied_before_our_own_write_of_it_is_durable),
        T(a_leaders_messages_restart_the_election_timer),
        T(a_vote_survives_a_restart),
        T(every_change_of_term_vote_and_commit_is_handed_to_storage),
        T(a_vote_waits_until_it_is_durable),
        T(a_single_voter_neither_wins_nor_commits_before_its_disk),
        T(a_leader_counts_itself_only_when_its_own_write_is_durable),
        T(a_heartbeat_carries_no_more_than_the_follower_matched),
        T(a_pre_vote_changes_neither_term_nor_vote_nor_timer),
        T(a_stale_leader_hears_of_the_newer_term),
        T(who_left_the_voters_still_protects_what_it_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/raft/test_flow.c: proposals and why they are refused, windows, snapshots, old entries, transfer,
 * conf changes at apply, and what a hostile peer may send. */
#include "tests/raft/one.h"

static void a_refused_proposal_says_why(void **state)
{
    struct one *o = *state;
    o->config.max_uncommitted_bytes = 5;
    one_start(o);
    assert_int_equal(one_propose(o, "x"), RAFT_NO_LEADER); // follower of nobody
    raft_campaign(o->r);
    assert_int_equal(one_propose(o, "x"), RAFT_NO_LEADER); // candidate
    one_lead(o);
    one_ack(o, 2, 1);
    assert_int_equal(one_propose(o, "123"), 0);
    assert_int_equal(one_propose(o, "456"), RAFT_FULL);
    assert_int_equal(raft_transfer(o->r, 3), 0);
    assert_int_equal(one_propose(o, "4"), RAFT_TRANSFERRING);
    one_ticks(o, 10); // it had its election timeout
    assert_int_equal(one_propose(o, "4"), 0);
    one_ack(o, 2, 3);
    assert_int_equal(one_propose_change(o, RAFT_REMOVE, 1), 0);
    one_ack(o, 2, 4);
    one_ack(o, 3, 4);
    assert_int_equal(raft_role(o->r),
                     RAFT_LEADER); // it leads on without itself, unless told to step down
    assert_int_equal(one_propose(o, "x"), RAFT_NOT_A_MEMBER);
}

static void a_follower_forwards_or_says_that_it_does_not_lead(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1));
    assert_int_equal(one_propose(o, "abc"), 0);
    const struct raft_message *m = one_last(o, RAFT_MSG_PROP, 2);
    assert_int_equal(m->term, 0);
    assert_int_equal(m->count, 1);
    assert_memory_equal(m->entries[0].data, "abc", 3);
    o->r->config.no_proposal_forwarding = true;
    assert_int_equal(one_propose(o, "abc"), RAFT_NOT_LEADER);
}

static void the_uncommitted_tail_is_bounded_but_never_wedged(void **state)
{
    struct one *o = *state;
    o->config.max_uncommitted_bytes = 4;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    assert_int_equal(one_propose(o, "any size when the tail is empty"), 0);
    assert_int_equal(one_propose(o, "x"), RAFT_FULL);
    assert_int_equal(one_propose(o, ""), 0); // no payload is never refused
    assert_int_equal(o->r->uncommitted_bytes, 31);
    one_ack(o, 2, 3);
    assert_int_equal(o->r->uncommitted_bytes, 0);
    assert_int_equal(one_propose(o, "x"), 0);
}

static void a_new_leader_counts_the_tail_it_inherits(void **state)
{
    struct one *o = *state;
    o->config.max_uncommitted_bytes = 7;
    one_log(o, TERMS(1, 1));
    one_start(o);
    one_lead(o);
    assert_int_equal(o->r->uncommitted_bytes, 6);
    assert_int_equal(one_propose(o, "xy"), RAFT_FULL);
    one_ack(o, 2, 3);
    assert_int_equal(o->r->uncommitted_bytes, 0);
}

static void a_refused_conf_change_leaves_room_for_the_next(void **state)
{
    struct one *o = *state;
    o->config.max_uncommitted_bytes = 1;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    assert_int_equal(one_propose(o, "x"), 0);
    assert_int_equal(one_propose_change(o, RAFT_ADD_VOTER, 4), RAFT_FULL);
    one_ack(o, 2, 2);
    assert_int_equal(one_propose_change(o, RAFT_ADD_VOTER, 4), 0);
    struct raft_entry_info info;
    raft_log_info(&o->r->log, 3, &info);
    assert_int_equal(info.kind, RAFT_ENTRY_CONF_CHANGE_V2);
}

/* ---- Windows */

static void no_more_messages_are_under_way_than_the_window_allows(void **state)
{
    struct one *o = *state;
    o->config.max_inflight_msgs = 2;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    one_forget_sent(o);
    for (int i = 0; i < 5; i++)
        one_propose(o, "x");
    assert_int_equal(one_count(o, RAFT_MSG_APP, 2), 2); // entries 2 and 3
    assert_int_equal(one_peer(o, 2)->inflights.count, 2);
    one_ack(o, 2, 2);
    assert_int_equal(one_peer(o, 2)->inflights.count, 2); // one freed, one used
    assert_int_equal(one_last(o, RAFT_MSG_APP, 2)->index + one_last(o, RAFT_MSG_APP, 2)->count, 6);
    one_ack(o, 2, 6);
    assert_int_equal(one_peer(o, 2)->inflights.count, 0);
    assert_int_equal(one_peer(o, 2)->inflights.bytes, 0);
}

static void a_window_may_change_while_running(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    for (int i = 0; i < 20; i++)
        one_propose(o, "x");
    assert_int_equal(one_peer(o, 2)->inflights.count, 20);
    raft_set_max_inflight_msgs(o->r, 1); // stop and wait
    one_ack(o, 2, 20);
    assert_int_equal(one_peer(o, 2)->inflights.count, 1);
    one_forget_sent(o);
    one_propose(o, "x");
    assert_int_equal(one_count(o, RAFT_MSG_APP, 2), 0);
    one_ack(o, 2, 21);
    assert_int_equal(one_count(o, RAFT_MSG_APP, 2), 1);
    assert_int_equal(one_last(o, RAFT_MSG_APP, 2)->entries[0].index, 22);
}

static void bytes_under_way_are_bounded(void **state)
{
    struct one *o = *state;
    o->config.max_size_per_msg = 8;
    o->config.max_inflight_bytes = 10;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    one_forget_sent(o);
    for (int i = 0; i < 5; i++)
        one_propose(o, "123456");
    assert_int_equal(one_peer(o, 2)->inflights.bytes, 12); // the last one may go over
    assert_int_equal(one_peer(o, 2)->inflights.count, 2);
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 1, .reject = true, .index = 2,
                    .reject_hint = 1,
                    .log_term = 1)); // all of it lost
    assert_int_equal(one_peer(o, 2)->inflights.bytes, 0);
    one_ack(o, 2, 2);
    assert_int_equal(one_peer(o, 2)->inflights.bytes, 12);
}

static void a_stalled_window_restarts_by_a_heartbeats_answer(void **state)
{
    struct one *o = *state;
    o->config.max_inflight_msgs = 1;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    one_propose(o, "x"); // fills the window, and is lost
    one_propose(o, "y");
    one_forget_sent(o);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 1));
    const struct raft_message *m = one_last(o, RAFT_MSG_APP, 2);
    assert_int_equal(m->count, 0); // empty: its rejection will tell
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 1, .reject = true,
                    .index = m->index, .reject_hint = 1, .log_term = 1));
    m = one_last(o, RAFT_MSG_APP, 2);
    assert_int_equal(m->index, 1);
    assert_int_equal(m->count, 2);
}

static void a_message_holds_no_more_than_its_size(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1, 1, 1));
    o->config.max_size_per_msg = 2 * raft_entry_size(&o->disk.log[0]);
    one_start(o);
    one_lead(o);
    one_forget_sent(o);
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 5,
                    .reject_hint = 0));
    assert_int_equal(one_last(o, RAFT_MSG_APP, 2)->count, 2);
}

static void a_whole_term_is_skipped_by_one_rejection(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 4, 4, 4, 4, 4));
    one_start(o);
    one_lead(o); // term 5; the follower's log is 1 1 2 2 2 2 2 2
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 5, .reject = true, .index = 7,
                    .reject_hint = 7, .log_term = 2));
    assert_int_equal(one_last(o, RAFT_MSG_APP, 2)->index,
                     2); // the largest of ours whose term is <= 2
}

static void a_follower_skips_its_whole_term_in_one_answer(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 3, 3, 3, 3));
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 4, .index = 4, .log_term = 2));
    const struct raft_message *m = one_last(o, RAFT_MSG_APP_RESP, 2);
    assert_true(m->reject);
    assert_int_equal(m->index, 4);
    assert_int_equal(m->reject_hint, 1);
    assert_int_equal(m->log_term, 1);
}

/* ---- Snapshots and old entries */

static void need_snapshot(struct one *o) // follower 2 needs what the log no longer has
{
    struct raft_conf_state c = voters(3);
    one_log(o, TERMS(1, 1, 1, 1));
    disk_set_newest(&o->disk, 3, 1, &c, "abc", 3);
    disk_compact(&o->disk, 3);
    o->config.applied = 3;
    o->applied = 3;
    one_start(o);
    one_lead(o);
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 4,
                    .reject_hint = 0));
}

static void a_follower_that_fell_behind_gets_a_snapshot_and_nothing_else(void **state)
{
    struct one *o = *state;
    need_snapshot(o);
    assert_int_equal(one_last(o, RAFT_MSG_SNAP, 2)->snapshot->index, 3);
    assert_int_equal(one_peer(o, 2)->flow, RAFT_SNAPSHOT);
    one_forget_sent(o);
    one_propose(o, "x");
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 2));
    assert_int_equal(one_count(o, RAFT_MSG_APP, 2), 0);
    raft_report_snapshot(o->r, 2, true);
    assert_int_equal(one_peer(o, 2)->flow, RAFT_PROBE);
    assert_int_equal(one_peer(o, 2)->next, 4);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 2));
    assert_int_equal(one_last(o, RAFT_MSG_APP, 2)->index, 3);
}

static void a_failed_snapshot_is_tried_again_later(void **state)
{
    struct one *o = *state;
    need_snapshot(o);
    one_forget_sent(o);
    raft_report_snapshot(o->r, 2, false);
    assert_int_equal(one_peer(o, 2)->next, 1);
    assert_int_equal(one_count(o, RAFT_MSG_SNAP, 2), 0); // not at once
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 2));
    assert_int_equal(one_count(o, RAFT_MSG_SNAP, 2), 1);
    raft_report_snapshot(o->r, 3, true); // not in that state: ignored
    assert_int_equal(one_peer(o, 3)->flow, RAFT_PROBE);
    assert_int_equal(one_peer(o, 3)->next, 5);
}

static void a_snapshot_is_not_sent_to_the_silent_nor_made_of_nothing(void **state)
{
    struct one *o = *state;
    need_snapshot(o);
    raft_report_snapshot(o->r, 2, false);
    one_forget_sent(o);
    o->disk.no_snapshot = true;
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 2));
    assert_int_equal(one_count(o, RAFT_MSG_SNAP, 2), 0);
    o->disk.no_snapshot = false;
    one_peer(o, 2)->recently_active = false;
    one_peer(o, 2)->paused = false;
    one_propose(o, "x");
    assert_int_equal(one_count(o, RAFT_MSG_SNAP, 2), 0);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 2));
    assert_int_equal(one_count(o, RAFT_MSG_SNAP, 2), 1);
}

static void entries_out_of_memory_are_fetched_and_only_that_follower_waits(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1, 1));
    one_start(o);
    one_lead(o);
    one_ack(o, 3, 5);
    o->disk.in_memory_from = 4;
    one_forget_sent(o);
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 4,
                    .reject_hint = 1, .log_term = 1));
    assert_int_equal(o->fetch_count, 1);
    assert_int_equal(o->fetches[0].to, 2);
    assert_int_equal(o->fetches[0].lo, 2);
    one_propose(o, "x");
    assert_int_equal(o->fetch_count, 1);                                 // asked once
    assert_int_equal(one_last(o, RAFT_MSG_APP, 3)->entries[0].index, 6); // others go on
    one_forget_sent(o);
    raft_entries_arrived(o->r, &o->fetches[0], &o->disk.log[1], 2); // entries 2 and 3
    one_drain(o);
    const struct raft_message *m = one_last(o, RAFT_MSG_APP, 2);
    assert_int_equal(m->index, 1);
    assert_int_equal(m->count, 2);
    one_ack(o, 2, 3);
    assert_int_equal(one_last(o, RAFT_MSG_APP, 2)->entries[0].index, 4); // from memory again
    one_forget_sent(o);
    raft_entries_arrived(o->r, &o->fetches[0], &o->disk.log[1], 2); // late, and repeated
    one_drain(o);
    assert_int_equal(o->sent_count, 0);
}

static void entries_read_from_a_log_that_changed_meanwhile_are_not_sent(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1, 1));
    one_start(o);
    one_lead(o);
    o->disk.in_memory_from = 4;
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 4,
                    .reject_hint = 1, .log_term = 1));
    one_forget_sent(o);
    struct raft_entry read[2] = {o->disk.log[1], o->disk.log[2]};
    read[1].term = 9; // what was there once
    read[0].block = read[1].block = NULL;
    raft_entries_arrived(o->r, &o->fetches[0], read, 2);
    one_drain(o);
    assert_int_equal(one_last(o, RAFT_MSG_APP, 2)->count, 1);
}

static void a_fetch_that_finds_nothing_leads_to_a_snapshot(void **state)
{
    struct one *o = *state;
    struct raft_conf_state c = voters(3);
    one_log(o, TERMS(1, 1, 1, 1));
    disk_set_newest(&o->disk, 4, 1, &c, "abc", 3);
    one_start(o);
    one_lead(o);
    o->disk.in_memory_from = 4;
    one_step(o, MSG(.type = RAFT_MSG_APP_RESP, .from = 2, .term = 2, .reject = true, .index = 4,
                    .reject_hint = 1, .log_term = 1));
    raft_entries_arrived(o->r, &o->fetches[0], NULL, 0);
    one_drain(o);
    assert_int_equal(one_count(o, RAFT_MSG_SNAP, 2), 1);
}

static void apply_waits_for_entries_out_of_memory(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1, 1));
    o->config.hard_state.commit = 4;
    o->disk.in_memory_from = 3;
    one_start(o);
    one_drain(o);
    assert_int_equal(o->applied, 0);
    assert_int_equal(o->fetch_count, 1);
    assert_int_equal(o->fetches[0].to, 1);
    assert_int_equal(o->fetches[0].lo, 1);
    assert_int_equal(o->fetches[0].hi, 5);
    raft_entries_arrived(o->r, &o->fetches[0], o->disk.log, 2);
    one_drain(o);
    assert_int_equal(o->applied, 4);
}

/* ---- Transfer, removal */

static void a_transfer_waits_until_its_target_is_level(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    one_propose(o, "x");
    assert_int_equal(raft_transfer(o->r, 2), 0);
    one_drain(o);
    assert_int_equal(one_count(o, RAFT_MSG_TIMEOUT_NOW, 2), 0);
    one_ack(o, 2, 2);
    assert_int_equal(one_count(o, RAFT_MSG_TIMEOUT_NOW, 2), 1);
}

static void leadership_goes_only_to_voters(void **state)
{
    struct one *o = *state;
    raft_ids_add(&o->config.conf.learners, 4);
    one_start(o);
    assert_int_equal(raft_transfer(o->r, 2), RAFT_NO_LEADER);
    one_lead(o);
    assert_int_equal(raft_transfer(o->r, 4), RAFT_NOT_A_MEMBER);
    assert_int_equal(raft_transfer(o->r, 7), RAFT_NOT_A_MEMBER);
    assert_int_equal(o->r->transferee, RAFT_NONE);
}

static void a_follower_told_to_take_over_skips_the_pre_vote(void **state)
{
    struct one *o = *state;
    o->config.pre_vote = o->config.check_quorum = true;
    one_start(o);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1));
    one_step(o, MSG(.type = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 1));
    assert_int_equal(raft_role(o->r), RAFT_CANDIDATE);
    assert_true(one_last(o, RAFT_MSG_VOTE, 3)->transfer);
}

static void a_removed_leader_steps_down(void **state)
{
    struct one *o = *state;
    o->config.step_down_on_removal = true;
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    one_propose_change(o, RAFT_REMOVE, 1);
    one_ack(o, 2, 2);
    assert_int_equal(raft_role(o->r), RAFT_FOLLOWER);
    one_ticks(o, 50);
    assert_int_equal(raft_role(o->r), RAFT_FOLLOWER); // and stays out
}

static void a_conf_change_that_is_not_possible_changes_nothing_at_apply(void **state)
{
    struct one *o = *state;
    struct raft_conf_change cc = {.count = 2, .change = {{RAFT_REMOVE, 2}, {RAFT_REMOVE, 3}}};
    struct raft_conf_state before, after;
    const char *why = NULL;
    uint8_t bytes[64];
    struct raft_entry e = {.kind = RAFT_ENTRY_CONF_CHANGE, .data = bytes, .index = 1, .term = 1};
    one_start(o);
    before = o->r->members.conf;
    cc.change[0].id = 1;
    cc.change[1].id = 2;
    cc.count = 1;
    e.len = (uint32_t)raft_conf_change_encode(&cc, bytes, sizeof(bytes));
    bytes[0] = 99; // another version's
    assert_int_equal(raft_apply_conf_change(o->r, &e, &after, &why), RAFT_BAD_CONF_CHANGE);
    assert_non_null(why);
    assert_memory_equal(&before, &after, sizeof(before));
    e.kind = RAFT_ENTRY_CONF_CHANGE_V2;
    e.len = 0; // leave a joint configuration that nobody entered
    assert_int_equal(raft_apply_conf_change(o->r, &e, &after, &why), RAFT_BAD_CONF_CHANGE);
    assert_memory_equal(&before, &after, sizeof(before));
}

static void more_members_than_fit_are_refused(void **state)
{
    struct one *o = *state;
    struct raft_conf_state c = voters(RAFT_MEMBERS_MAX);
    struct raft_conf_change cc = {.count = 1, .change = {{RAFT_ADD_LEARNER, 99}}};
    struct raft_ids renewed;
    one_start(o);
    assert_string_equal(raft_conf_apply(&c, &cc, &renewed), "too many members");
    assert_int_equal(c.learners.count, 0);
}

/* ---- What peers may make up */

static void garbage_from_a_peer_changes_nothing(void **state)
{
    static struct raft_entry gap[] = {{.term = 1, .index = 6}},
                             back[] = {{.term = 2, .index = 4}, {.term = 1, .index = 5}},
                             kind[] = {{.term = 1, .index = 4, .kind = 9}},
                             late[] = {{.term = 9, .index = 4}},
                             clash[] = {{.term = 3, .index = 3}};
    static struct raft_snapshot unsorted = {.index = 9, .term = 1, .conf = {.voters = {2, {2, 1}}}},
                                crowded = {.index = 9,
                                           .term = 1,
                                           .conf = {.voters = {RAFT_MEMBERS_MAX + 1, {1}}}};
    const struct {
        const char *what;
        struct raft_message m;
        int err;
    } rows[] = {
        {"a type that is none", {.type = 77, .from = 2, .term = 3}, RAFT_LOCAL_MESSAGE},
        {"no sender", {.type = RAFT_MSG_HEARTBEAT, .term = 3}, RAFT_BAD_MESSAGE},
        {"no term", {.type = RAFT_MSG_HEARTBEAT, .from = 2}, RAFT_BAD_MESSAGE},
        {"our own id", {.type = RAFT_MSG_HEARTBEAT, .from = 1, .term = 3}, RAFT_BAD_MESSAGE},
        {"an answer of a stranger",
         {.type = RAFT_MSG_APP_RESP, .from = 9, .term = 3},
         RAFT_UNKNOWN_PEER},
        {"a hole in the entries",
         {.type = RAFT_MSG_APP,
          .from = 2,
          .term = 3,
          .index = 3,
          .log_term = 1,
          .entries = gap,
          .count = 1},
         RAFT_BAD_MESSAGE},
        {"terms that fall",
         {.type = RAFT_MSG_APP,
          .from = 2,
          .term = 3,
          .index = 3,
          .log_term = 1,
          .entries = back,
          .count = 2},
         RAFT_BAD_MESSAGE},
        {"an entry of a later term",
         {.type = RAFT_MSG_APP,
          .from = 2,
          .term = 3,
          .index = 3,
          .log_term = 1,
          .entries = late,
          .count = 1},
         RAFT_BAD_MESSAGE},
        {"an unknown kind",
         {.type = RAFT_MSG_APP,
          .from = 2,
          .term = 3,
          .index = 3,
          .log_term = 1,
          .entries = kind,
          .count = 1},
         RAFT_BAD_MESSAGE},
        {"a commit index we do not have",
         {.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3, .commit = 4},
         RAFT_BAD_MESSAGE},
        {"a snapshot without one", {.type = RAFT_MSG_SNAP, .from = 2, .term = 3}, RAFT_BAD_MESSAGE},
        {"unsorted members",
         {.type = RAFT_MSG_SNAP, .from = 2, .term = 3, .snapshot = &unsorted},
         RAFT_BAD_MESSAGE},
        {"too many members",
         {.type = RAFT_MSG_SNAP, .from = 2, .term = 3, .snapshot = &crowded},
         RAFT_BAD_MESSAGE},
        {"no proposal", {.type = RAFT_MSG_PROP, .from = 2}, RAFT_BAD_MESSAGE},
        {"another entry where one is committed",
         {.type = RAFT_MSG_APP,
          .from = 2,
          .term = 3,
          .index = 3,
          .log_term = 1,
          .entries = clash,
          .count = 1},
         RAFT_BAD_MESSAGE},
    };
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1));
    o->config.hard_state.commit = 3;
    one_start(o);
    one_drain(o);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (one_step(o, &rows[i].m) != rows[i].err)
            fail_msg("%s: was not refused as it should be", rows[i].what);
        assert_int_equal(raft_committed(o->r), 3);
        assert_int_equal(last_index(o), 3);
        assert_int_equal(raft_term(o->r), 1);
    }
}

static void a_committed_entry_is_never_replaced(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1));
    o->config.hard_state.commit = 2;
    one_start(o);
    one_drain(o);
    struct raft_entry e[] = {{.term = 1, .index = 3}, {.term = 2, .index = 4}};
    assert_int_equal(one_step(o, MSG(.type = RAFT_MSG_APP, .from = 2, .term = 2, .index = 2,
                                     .log_term = 1, .entries = e, .count = 2, .commit = 3)),
                     0);
    assert_int_equal(raft_committed(o->r), 3);
    struct raft_entry clash = {.term = 3, .index = 4};
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .commit = 4));
    assert_int_equal(one_step(o, MSG(.type = RAFT_MSG_APP, .from = 3, .term = 3, .index = 3,
                                     .log_term = 1, .entries = &clash, .count = 1)),
                     0); // below the commit index: acked with it
    assert_int_equal(one_last(o, RAFT_MSG_APP_RESP, 3)->index, 4);
    assert_int_equal(raft_log_term_or_zero(&o->r->log, 4), 2);
}

static void an_ack_of_what_we_never_sent_is_refused(void **state)
{
    struct one *o = *state;
    one_start(o);
    one_lead(o);
    assert_int_equal(one_ack(o, 2, 7), RAFT_BAD_MESSAGE);
    assert_int_equal(one_peer(o, 2)->match, 0);
}

static void settings_that_contradict_each_other_are_refused(void **state)
{
    struct one *o = *state;
    struct raft_config good = o->config, c;
    struct raft *r = NULL;
    one_log(o, TERMS(1, 1));
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        c = good;                                                                                  \
        change;                                                                                    \
        assert_int_equal(raft_new(&o->disk.env, &c, &r), RAFT_BAD_CONFIG);                         \
    } while (0)
    REFUSED(c.id = 0);
    REFUSED(c.heartbeat_ticks = 0);
    REFUSED(c.election_ticks = 1);
    REFUSED(c.max_inflight_msgs = 0);
    REFUSED(c.max_inflight_bytes = 1);
    REFUSED(c.hard_state.commit = 3); // the log is shorter than what was committed
    REFUSED(c.applied = 3);
    REFUSED(c.conf.learners = c.conf.voters);
    assert_null(r);
    one_start(o);
}

static void conf_changes_survive_their_encoding_and_garbage_is_refused(void **state)
{
    struct one *o = *state;
    struct raft_conf_change cc = {.transition = RAFT_TRANSITION_EXPLICIT,
                                  .count = 2,
                                  .change = {{RAFT_ADD_LEARNER, UINT64_MAX}, {RAFT_REMOVE, 2}},
                                  .context = (const uint8_t *)"url",
                                  .context_len = 3},
                            back;
    uint8_t b[64];
    size_t n = raft_conf_change_encode(&cc, b, sizeof(b));
    one_start(o);
    assert_int_equal(raft_conf_change_encode(&cc, b, 3), n); // says what it needs
    assert_int_equal(raft_conf_change_decode(b, n, &back), 0);
    assert_int_equal(back.transition, cc.transition);
    assert_int_equal(back.count, 2);
    assert_true(back.change[0].id == UINT64_MAX);
    assert_int_equal(back.change[1].op, RAFT_REMOVE);
    assert_memory_equal(back.context, "url", 3);
    for (size_t i = 1; i < n - 3; i++) // cut anywhere but in the context
        assert_int_equal(raft_conf_change_decode(b, i, &back), RAFT_BAD_CONF_CHANGE);
    b[4] = 9; // no such op
    assert_int_equal(raft_conf_change_decode(b, n, &back), RAFT_BAD_CONF_CHANGE);
}

static void the_log_may_be_compacted_up_to_the_slowest_live_follower(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1, 1, 1));
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 4);
    assert_int_equal(raft_compactable(o->r), 4); // 3 is silent
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 3, .term = 2));
    assert_int_equal(raft_compactable(o->r), 0);
    one_ack(o, 3, 2);
    assert_int_equal(raft_compactable(o->r), 2);
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
        T(a_refused_proposal_says_why),
        T(a_follower_forwards_or_says_that_it_does_not_lead),
        T(the_uncommitted_tail_is_bounded_but_never_wedged),
        T(a_new_leader_counts_the_tail_it_inherits),
        T(a_refused_conf_change_leaves_room_for_the_next),
        T(no_more_messages_are_under_way_than_the_window_allows),
        T(a_window_may_change_while_running),
        T(bytes_under_way_are_bounded),
        T(a_stalled_window_restarts_by_a_heartbeats_answer),
        T(a_message_holds_no_more_than_its_size),
        T(a_whole_term_is_skipped_by_one_rejection),
        T(a_follower_skips_its_whole_term_in_one_answer),
        T(a_follower_that_fell_behind_gets_a_snapshot_and_nothing_else),
        T(a_failed_snapshot_is_tried_again_later),
        T(a_snapshot_is_not_sent_to_the_silent_nor_made_of_nothing),
        T(entries_out_of_memory_are_fetched_and_only_that_follower_waits),
        T(entries_read_from_a_log_that_changed_meanwhile_are_not_sent),
        T(a_fetch_that_finds_nothing_leads_to_a_snapshot),
        T(apply_waits_for_entries_out_of_memory),
        T(a_transfer_waits_until_its_target_is_level),
        T(leadership_goes_only_to_voters),
        T(a_follower_told_to_take_over_skips_the_pre_vote),
        T(a_removed_leader_steps_down),
        T(a_conf_change_that_is_not_possible_changes_nothing_at_apply),
        T(more_members_than_fit_are_refused),
        T(garbage_from_a_peer_changes_nothing),
        T(a_committed_entry_is_never_replaced),
        T(an_ack_of_what_we_never_sent_is_refused),
        T(settings_that_contradict_each_other_are_refused),
        T(conf_changes_survive_their_encoding_and_garbage_is_refused),
        T(the_log_may_be_compacted_up_to_the_slowest_live_follower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

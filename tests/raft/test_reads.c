/* tests/raft/test_reads.c: a linearizable read must see everything acknowledged before it began. Each test
 * is a way in which a round of heartbeats can seem to confirm that and does not. */
#include "tests/raft/one.h"

/* Leader of term 1, entry 1 committed. */
static void lead(struct one *o)
{
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    assert_int_equal(raft_committed(o->r), 1);
    one_forget_sent(o);
}

static int ask(struct one *o, uint64_t read_id)
{
    int err = raft_read_index(o->r, read_id);
    one_drain(o);
    return err;
}

static void beat_back(struct one *o, uint64_t from, uint64_t round)
{
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = from, .term = raft_term(o->r),
                    .read_round = round));
}

static uint64_t round_sent(struct one *o) { return one_last(o, RAFT_MSG_HEARTBEAT, 2)->read_round; }

static void a_read_is_answered_when_a_quorum_confirms_the_leader(void **state)
{
    struct one *o = *state;
    lead(o);
    assert_int_equal(ask(o, 77), 0);
    assert_int_equal(o->read_count, 0);
    beat_back(o, 2, round_sent(o));
    assert_int_equal(o->read_count, 1);
    assert_int_equal(o->reads[0].read_id, 77);
    assert_int_equal(o->reads[0].index, 1);
}

static void a_read_waits_for_a_commit_of_this_term(void **state)
{
    struct one *o = *state;
    one_log(o, TERMS(1));
    one_start(o);
    one_lead(o);
    assert_int_equal(ask(o, 1), 0);
    one_ticks(o, 1);
    beat_back(o, 2, round_sent(o));
    beat_back(o, 2, 1);
    assert_int_equal(o->read_count, 0); // held, not dropped
    one_ack(o, 2, 2);
    beat_back(o, 2, round_sent(o));
    assert_int_equal(o->read_count, 1);
    assert_int_equal(o->reads[0].index, 2);
}

static void answers_from_before_the_read_confirm_nothing(void **state)
{
    struct one *o = *state;
    lead(o);
    one_ticks(o, 1);
    uint64_t before = round_sent(o);
    ask(o, 1);
    beat_back(o, 2, before);
    assert_int_equal(o->read_count, 0);
}

static void a_late_answer_to_an_older_round_confirms_nothing(void **state)
{
    struct one *o = *state;
    lead(o);
    ask(o, 1);
    uint64_t first = round_sent(o);
    beat_back(o, 2, first);
    ask(o, 1); // the same name again: a retry
    assert_true(round_sent(o) != first);
    beat_back(o, 3, first); // delayed until now
    assert_int_equal(o->read_count, 1);
    beat_back(o, 3, round_sent(o));
    assert_int_equal(o->read_count, 2);
}

static void a_round_number_never_used_confirms_nothing(void **state)
{
    struct one *o = *state;
    lead(o);
    ask(o, 1);
    beat_back(o, 2, UINT64_MAX);
    beat_back(o, 2, round_sent(o) + 1);
    assert_int_equal(o->read_count, 0);
}

static void reads_that_come_during_a_round_wait_for_the_next_together(void **state)
{
    struct one *o = *state;
    lead(o);
    ask(o, 1);
    uint64_t first = round_sent(o);
    one_propose(o, "x");
    one_ack(o, 2, 2);
    ask(o, 2);
    ask(o, 3);
    assert_int_equal(round_sent(o), first); // one round at a time
    beat_back(o, 2, first);
    assert_int_equal(o->read_count, 1);
    assert_int_equal(o->reads[0].index, 1);
    assert_int_equal(round_sent(o), first + 1);
    beat_back(o, 2, first + 1);
    assert_int_equal(o->read_count, 3);
    assert_int_equal(o->reads[1].index, 2);
    assert_int_equal(o->reads[2].index, 2);
}

static void a_lost_round_is_repeated_by_the_next_heartbeat(void **state)
{
    struct one *o = *state;
    lead(o);
    ask(o, 1);
    uint64_t round = round_sent(o);
    one_forget_sent(o);
    one_ticks(o, 1);
    assert_int_equal(round_sent(o), round);
}

static void the_answers_of_learners_and_strangers_do_not_count(void **state)
{
    struct one *o = *state;
    raft_ids_add(&o->config.conf.learners, 4);
    lead(o);
    ask(o, 1);
    beat_back(o, 4, round_sent(o));
    beat_back(o, 9, round_sent(o));
    assert_int_equal(o->read_count, 0);
}

static void a_deposed_leader_answers_no_read(void **state)
{
    struct one *o = *state;
    lead(o);
    ask(o, 1);
    uint64_t round = round_sent(o);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 2));
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 1, .read_round = round));
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 2, .read_round = round));
    assert_int_equal(o->read_count, 0);
}

static void a_token_of_an_earlier_term_of_ours_confirms_nothing(void **state)
{
    struct one *o = *state;
    lead(o);
    ask(o, 1);
    uint64_t round = round_sent(o);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 2));
    one_lead(o); // term 3
    one_ack(o, 2, last_index(o));
    ask(o, 2);
    assert_int_equal(round_sent(o), round); // the counter starts again: the term tells them apart
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 1, .read_round = round));
    assert_int_equal(o->read_count, 0);
    beat_back(o, 2, round);
    assert_int_equal(o->read_count, 1);
    assert_int_equal(o->reads[0].read_id, 2);
}

static void a_joint_read_needs_both_halves(void **state)
{
    struct one *o = *state;
    raft_ids_add(&o->config.conf.outgoing, 4);
    raft_ids_add(&o->config.conf.outgoing, 5);
    one_start(o);
    one_lead(o);
    one_ack(o, 2, 1);
    one_ack(o, 4, 1);
    one_ack(o, 5, 1);
    ask(o, 1);
    beat_back(o, 2, round_sent(o));
    beat_back(o, 4, round_sent(o));
    assert_int_equal(o->read_count, 0);
    beat_back(o, 5, round_sent(o));
    assert_int_equal(o->read_count, 1);
}

static void a_single_voter_answers_after_its_first_commit_only(void **state)
{
    struct one *o = *state;
    o->config.conf = voters(1);
    one_log(o, TERMS(1, 1)); // perhaps acknowledged, before a crash that lost the commit index
    one_start(o);
    o->hold_storage = true;
    raft_campaign(o->r);
    one_drain(o);
    one_complete_next(o);
    one_drain(o);
    assert_int_equal(raft_role(o->r), RAFT_LEADER);
    assert_int_equal(ask(o, 1), 0);
    assert_int_equal(o->read_count, 0);
    one_complete_next(o);
    one_drain(o);
    assert_int_equal(o->read_count, 1);
    assert_int_equal(o->reads[0].index, 3);
}

static void a_follower_asks_its_leader(void **state)
{
    struct one *o = *state;
    one_start(o);
    assert_int_equal(ask(o, 5), RAFT_NO_LEADER);
    one_step(o, MSG(.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1));
    assert_int_equal(ask(o, 5), 0);
    assert_int_equal(one_last(o, RAFT_MSG_READ_INDEX, 2)->read_id, 5);
    one_step(o,
             MSG(.type = RAFT_MSG_READ_INDEX_RESP, .from = 2, .term = 1, .read_id = 5, .index = 3));
    assert_int_equal(o->read_count, 1);
    assert_int_equal(o->reads[0].index, 3);
}

static void a_leader_answers_a_followers_read_by_message(void **state)
{
    struct one *o = *state;
    lead(o);
    one_step(o, MSG(.type = RAFT_MSG_READ_INDEX, .from = 3, .read_id = 9));
    beat_back(o, 2, round_sent(o));
    assert_int_equal(o->read_count, 0);
    assert_int_equal(one_last(o, RAFT_MSG_READ_INDEX_RESP, 3)->read_id, 9);
    assert_int_equal(one_last(o, RAFT_MSG_READ_INDEX_RESP, 3)->index, 1);
}

static void too_many_waiting_reads_are_refused(void **state)
{
    struct one *o = *state;
    lead(o);
    for (uint64_t i = 0; i < RAFT_READS_MAX; i++)
        assert_int_equal(raft_read_index(o->r, i), 0);
    assert_int_equal(raft_read_index(o->r, 1), RAFT_FULL);
    one_drain(o);
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
        T(a_read_is_answered_when_a_quorum_confirms_the_leader),
        T(a_read_waits_for_a_commit_of_this_term),
        T(answers_from_before_the_read_confirm_nothing),
        T(a_late_answer_to_an_older_round_confirms_nothing),
        T(a_round_number_never_used_confirms_nothing),
        T(reads_that_come_during_a_round_wait_for_the_next_together),
        T(a_lost_round_is_repeated_by_the_next_heartbeat),
        T(the_answers_of_learners_and_strangers_do_not_count),
        T(a_deposed_leader_answers_no_read),
        T(a_token_of_an_earlier_term_of_ours_confirms_nothing),
        T(a_joint_read_needs_both_halves),
        T(a_single_voter_answers_after_its_first_commit_only),
        T(a_follower_asks_its_leader),
        T(a_leader_answers_a_followers_read_by_message),
        T(too_many_waiting_reads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

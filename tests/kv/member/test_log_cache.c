/* The stable log in memory, and the times of its batches. */
#include "kv/member/log_cache.h"
#include "kv/member/stages.h"
#include "tests/support/rt_test.h"
#include <rt/alloc.h>

static void append(struct log_cache *c, uint64_t from, uint64_t to, uint64_t term, uint32_t len)
{
    for (uint64_t i = from; i <= to; i++) {
        struct rt_buf *block = rt_buf_new(len);
        block->len = len;
        memset(block->data, (int)(i & 0xff), len);
        struct raft_entry e = {
            .term = term, .index = i, .data = block->data, .block = block, .len = len};
        log_cache_append(c, &e, 1);
        rt_buf_unref(block);
    }
}

static void drop(struct raft_entry *entries, int count)
{
    for (int i = 0; i < count; i++)
        rt_buf_unref(entries[i].block);
}

static void entries_come_back_within_the_limits(void **state)
{
    (void)state;
    struct log_cache c;
    struct raft_entry out[10];
    struct raft_entry_info info;
    log_cache_init(&c, 1 << 20);
    append(&c, 1, 3000, 1, 100); // grows on the way
    assert_int_equal(log_cache_entries(&c, 10, 15, UINT64_MAX, out, 10), 5);
    for (int i = 0; i < 5; i++)
        assert_true(out[i].index == 10u + (unsigned)i && out[i].data[99] == 10 + i);
    drop(out, 5);
    assert_int_equal(log_cache_entries(&c, 10, 100, 0, out, 10), 1); // the first always fits
    drop(out, 1);
    assert_int_equal(log_cache_entries(&c, 10, 100, UINT64_MAX, out, 10), 10);
    drop(out, 10);
    assert_int_equal(log_cache_entries(&c, 3001, 3002, 1, out, 10), RAFT_UNAVAILABLE);
    assert_int_equal(log_cache_info(&c, 3000, &info), 0);
    assert_int_equal(info.len, 100);
    assert_int_equal(log_cache_info(&c, 3001, &info), RAFT_UNAVAILABLE);
    log_cache_deinit(&c);
}

static void what_is_released_is_gone_but_its_last_term(void **state)
{
    (void)state;
    struct log_cache c;
    struct raft_entry out[4];
    struct raft_entry_info info;
    log_cache_init(&c, 1 << 20);
    append(&c, 1, 50, 1, 10);
    append(&c, 51, 100, 2, 10);
    log_cache_release(&c, 60);
    assert_int_equal(c.first, 61);
    assert_int_equal(log_cache_info(&c, 60, &info), 0);
    assert_int_equal(info.term, 2);
    assert_int_equal(log_cache_info(&c, 59, &info), RAFT_COMPACTED);
    assert_int_equal(log_cache_entries(&c, 60, 62, 100, out, 4), RAFT_COMPACTED);
    log_cache_release(&c, 30); // lower than before: nothing
    assert_int_equal(c.first, 61);
    log_cache_release(&c, 100);
    assert_true(c.first == 101 && c.last == 100 && c.payload_bytes == 0 && c.total_bytes == 0);
    append(&c, 101, 110, 3, 10);
    assert_int_equal(log_cache_entries(&c, 101, 103, 1000, out, 4), 2);
    drop(out, 2);
    log_cache_deinit(&c);
}

static void an_entry_replaces_what_is_stored_from_its_index_on(void **state)
{
    (void)state;
    struct log_cache c;
    struct raft_entry_info info;
    log_cache_init(&c, 1 << 20);
    append(&c, 1, 10, 1, 10);
    append(&c, 6, 6, 2, 20);
    assert_int_equal(c.last, 6);
    assert_int_equal(log_cache_info(&c, 6, &info), 0);
    assert_true(info.term == 2 && info.len == 20);
    assert_int_equal(c.payload_bytes, 5 * 10 + 20);
    log_cache_reset(&c, 40, 7);
    assert_true(c.first == 41 && c.last == 40);
    assert_int_equal(log_cache_info(&c, 40, &info), 0);
    assert_int_equal(info.term, 7);
    log_cache_deinit(&c);
}

static void old_payloads_are_left_to_the_wal(void **state)
{
    (void)state;
    struct log_cache c;
    struct raft_entry out[4];
    struct raft_entry_info info;
    log_cache_init(&c, 1000);
    append(&c, 1, 100, 1, 100);
    assert_true(c.payload_bytes <= 1000);
    assert_int_equal(log_cache_entries(&c, 1, 3, 1000, out, 4), RAFT_LATER);
    assert_int_equal(log_cache_info(&c, 1, &info), 0); // terms stay
    assert_int_equal(log_cache_entries(&c, 99, 101, 1000, out, 4), 2);
    drop(out, 2);
    log_cache_deinit(&c);
}

static void the_excess_is_the_oldest_that_does_not_fit(void **state)
{
    (void)state;
    struct log_cache c;
    log_cache_init(&c, 1 << 20);
    append(&c, 1, 100, 1, 100);
    uint64_t one = c.total_bytes / 100;
    assert_int_equal(log_cache_excess(&c, c.total_bytes), 0);
    assert_int_equal(log_cache_excess(&c, c.total_bytes - 1), 1);
    assert_int_equal(log_cache_excess(&c, 40 * one), 60);
    assert_int_equal(log_cache_excess(&c, 0), 99); // the newest stays
    log_cache_deinit(&c);
}

static void spans_give_their_times_once_in_order(void **state)
{
    (void)state;
    struct stage_spans s = {0};
    struct stage_run t[4];
    struct stage_span *a = stage_spans_begin(&s, 1, 10, true, 100);
    struct stage_span *b = stage_spans_begin(&s, 11, 20, true, 200);
    a->times.synced_ns = 150;
    assert_int_equal(stage_spans_take(&s, 15, t, 4), 2);
    assert_true(t[0].last == 10 && t[0].times.appended_ns == 100 && t[0].times.synced_ns == 150);
    assert_true(t[1].last == 15 && t[1].times.appended_ns == 200);
    assert_int_equal(stage_spans_take(&s, 20, t, 4), 1);
    assert_int_equal(t[0].last, 20);
    assert_int_equal(stage_spans_take(&s, 30, t, 4), 0);
    stage_span_unref(a);
    stage_span_unref(b);
}

static void replaced_entries_lose_their_spans(void **state)
{
    (void)state;
    struct stage_spans s = {0};
    struct stage_run t[4];
    stage_span_unref(stage_spans_begin(&s, 1, 10, true, 100));
    stage_span_unref(stage_spans_begin(&s, 11, 20, true, 200));
    stage_span_unref(stage_spans_begin(&s, 6, 8, true, 300));
    assert_int_equal(stage_spans_take(&s, 8, t, 4), 2);
    assert_true(t[0].last == 5 && t[0].times.appended_ns == 100);
    assert_true(t[1].last == 8 && t[1].times.appended_ns == 300);
    assert_int_equal(s.count, 0);
    for (uint64_t i = 1; i <= STAGE_SPANS + 10; i++)
        stage_span_unref(stage_spans_begin(&s, i, i, true, 1));
    assert_int_equal(s.count, STAGE_SPANS);
    stage_spans_clear(&s);
}

static void the_quorums_answer_is_the_one_that_completes_it(void **state)
{
    (void)state;
    struct stage_spans s = {0};
    struct stage_run t[4];
    stage_span_unref(stage_spans_begin(&s, 1, 10, true, 100));
    stage_span_unref(stage_spans_begin(&s, 11, 20, true, 200));
    // five members: two answers and our own copy
    stage_spans_answered(&s, 0, 10, 2, 300, &(struct peer_stamps){.sent_ns = 110});
    stage_spans_answered(&s, 0, 10, 2, 310, &(struct peer_stamps){.sent_ns = 120}); // again
    stage_spans_answered(&s, 3, 15, 2, 320, &(struct peer_stamps){.sent_ns = 130});
    stage_spans_answered(&s, 1, 20, 2, 330,
                         &(struct peer_stamps){.sent_ns = 140}); // too late for 1
    assert_int_equal(stage_spans_take(&s, 20, t, 4), 2);
    assert_int_equal(t[0].times.answered_ns, 320);
    assert_int_equal(t[0].times.answer.sent_ns, 130);
    assert_int_equal(t[1].times.answered_ns, 0); // 3 has half of it, so only one answered
}

/* A peer's next answer goes on where its last one ended: what went away meanwhile must not be looked at,
 * and what was written anew must be. */
static void an_answer_counts_for_all_up_to_it_whatever_went_before(void **state)
{
    (void)state;
    struct stage_spans s = {0};
    struct stage_run t[8];
    for (uint64_t i = 1; i <= 5; i++)
        stage_span_unref(stage_spans_begin(&s, i, i, true, 100));
    stage_spans_answered(&s, 0, 3, 1, 310, &(struct peer_stamps){.sent_ns = 1});
    assert_int_equal(stage_spans_take(&s, 4, t, 8), 4); // 3 was its newest, and is gone
    assert_int_equal(t[2].times.answered_ns, 310);
    assert_int_equal(t[3].times.answered_ns, 0);
    stage_spans_answered(&s, 0, 4, 1, 320, &(struct peer_stamps){.sent_ns = 2});
    stage_spans_answered(&s, 0, 5, 1, 330, &(struct peer_stamps){.sent_ns = 3});
    stage_span_unref(stage_spans_begin(&s, 6, 9, true, 100));
    stage_spans_answered(&s, 0, 9, 1, 340, &(struct peer_stamps){.sent_ns = 4});
    stage_span_unref(stage_spans_begin(&s, 8, 12, true, 100)); // 8 and 9 are other entries now
    stage_spans_answered(&s, 1, 9, 1, 345, &(struct peer_stamps){.sent_ns = 5});
    stage_spans_answered(&s, 0, 12, 1, 350, &(struct peer_stamps){.sent_ns = 6});
    assert_int_equal(stage_spans_take(&s, 12, t, 8), 3);
    assert_int_equal(t[0].times.answered_ns, 330); // 5
    assert_int_equal(t[1].times.answered_ns, 340); // 6 and 7: the first answer stays
    assert_int_equal(t[2].times.answered_ns, 350); // 8 to 12
    stage_spans_clear(&s);
}

static void an_entry_that_was_never_applied_tells_what_is_known_of_it(void **state)
{
    (void)state;
    struct stage_spans s = {0};
    struct stage_times t = {0};
    struct stage_run runs[4];
    assert_false(stage_spans_find(&s, 1, &t));
    struct stage_span *a = stage_spans_begin(&s, 5, 10, true, 100);
    struct stage_span *b = stage_spans_begin(&s, 11, 20, false, 200);
    a->times.synced_ns = 150; // the WAL goroutine is about to say so
    assert_false(stage_spans_find(&s, 4, &t));
    assert_false(stage_spans_find(&s, 21, &t));
    assert_true(stage_spans_find(&s, 10, &t));
    assert_true(t.led && t.appended_ns == 100 && t.synced_ns == 0 && t.answered_ns == 0);
    atomic_store(&a->durable, true);
    stage_spans_answered(&s, 0, 10, 1, 300, &(struct peer_stamps){.sent_ns = 110});
    assert_true(stage_spans_find(&s, 5, &t));
    assert_true(t.synced_ns == 150 && t.answered_ns == 300 && t.answer.sent_ns == 110);
    assert_true(stage_spans_find(&s, 11, &t));
    assert_true(!t.led && t.appended_ns == 200 && t.synced_ns == 0);
    assert_int_equal(stage_spans_count(&s, 4), 0);
    assert_int_equal(stage_spans_count(&s, 5), 1);
    assert_int_equal(stage_spans_count(&s, 11), 2);
    assert_int_equal(stage_spans_take(&s, 10, runs, 4), 1);
    assert_false(stage_spans_find(&s, 10, &t));
    stage_spans_clear(&s);
    stage_span_unref(a);
    stage_span_unref(b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(entries_come_back_within_the_limits),
    cmocka_unit_test(what_is_released_is_gone_but_its_last_term),
    cmocka_unit_test(an_entry_replaces_what_is_stored_from_its_index_on),
    cmocka_unit_test(old_payloads_are_left_to_the_wal),
    cmocka_unit_test(the_excess_is_the_oldest_that_does_not_fit),
    cmocka_unit_test(spans_give_their_times_once_in_order),
    cmocka_unit_test(the_quorums_answer_is_the_one_that_completes_it),
    cmocka_unit_test(an_entry_that_was_never_applied_tells_what_is_known_of_it),
    cmocka_unit_test(an_answer_counts_for_all_up_to_it_whatever_went_before),
    cmocka_unit_test(replaced_entries_lose_their_spans),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }

/* Where the time of a put goes: the arithmetic, and real puts. */
#include "kv/member/core_stages.h"
#include "kv/member/latency.h"
#include "kv/member/peer_io.h"
#include "proto/fields.h"
#include "tests/kv/member/member_fixture.h"

static int64_t sum_of_path(const struct member_split *s)
{
    int64_t sum = 0;
    for (int i = 0; i < STAGE_PATH; i++)
        sum += s->path_ns[i];
    return sum;
}

/* A put whose stages took 1, 2, 4, 8, ... as far as each is passed. */
static const struct member_stages whole = {
    .led = true,
    .arrived_ns = 1000,
    .queued_ns = 1001,    // decode 1
    .taken_ns = 1003,     // queued 2
    .appended_ns = 1007,  // A 4
    .building_ns = 1015,  // waiting for the sync before: 8
    .writing_ns = 1031,   // 16: B where the call also syncs
    .written_ns = 1063,   // B 48 else
    .synced_ns = 1127,    // C 64, or 96
    .sent_ns = 1020,      // D 13
    .answered_ns = 1100,  // E 80
    .committed_ns = 1255, // F 128
    .applied_ns = 1511,   // apply 256
    .replied_ns = 2023,   // answer 512
    .peer_wait_ns = 10,
    .peer_write_ns = 20,
    .peer_sync_ns = 30,
};

static void a_put_waits_for_its_own_sync_when_that_is_the_later(void **state)
{
    (void)state;
    struct member_split s;
    member_split_stages(&whole, &s);
    static const int64_t path[STAGE_PATH] = {
        [STAGE_DECODE] = 1, [STAGE_QUEUED] = 2 + 8, [STAGE_APPEND] = 4,  [STAGE_WRITE] = 48,
        [STAGE_SYNC] = 64,  [STAGE_COMMIT] = 128,   [STAGE_APPLY] = 256, [STAGE_ANSWER] = 512};
    assert_memory_equal(s.path_ns, path, sizeof path);
    assert_int_equal(sum_of_path(&s), 1023);
    assert_int_equal(s.took_ns[STAGE_TOTAL], 1023);
    assert_int_equal(s.longest, STAGE_ANSWER);
    // what was not waited for is known all the same
    assert_int_equal(s.took_ns[STAGE_SEND], 13);
    assert_int_equal(s.took_ns[STAGE_FOLLOW], 80);
    assert_int_equal(s.took_ns[STAGE_E_WAIT], 10);
    assert_int_equal(s.took_ns[STAGE_E_WRITE], 20);
    assert_int_equal(s.took_ns[STAGE_E_SYNC], 30);
    assert_int_equal(s.took_ns[STAGE_E_NETWORK], 20);
    assert_int_equal(s.took_ns[STAGE_FORWARD], -1);
}

static void a_put_waits_for_the_quorums_answer_when_that_is_the_later(void **state)
{
    (void)state;
    struct member_stages late = whole;
    struct member_split s;
    late.answered_ns = 1200;
    member_split_stages(&late, &s);
    static const int64_t path[STAGE_PATH] = {
        [STAGE_DECODE] = 1,   [STAGE_QUEUED] = 2,  [STAGE_APPEND] = 4,  [STAGE_SEND] = 13,
        [STAGE_FOLLOW] = 180, [STAGE_COMMIT] = 55, [STAGE_APPLY] = 256, [STAGE_ANSWER] = 512};
    assert_memory_equal(s.path_ns, path, sizeof path);
    assert_int_equal(s.took_ns[STAGE_WRITE], 48);
    assert_int_equal(s.took_ns[STAGE_SYNC], 64);
    assert_int_equal(s.took_ns[STAGE_E_NETWORK], 120);
}

static void one_call_that_writes_and_syncs_is_all_sync(void **state)
{
    (void)state;
    struct member_stages one = whole;
    struct member_split s;
    one.written_ns = one.synced_ns;
    member_split_stages(&one, &s);
    assert_int_equal(s.path_ns[STAGE_WRITE], 16);
    assert_int_equal(s.path_ns[STAGE_SYNC], 96);
    assert_int_equal(sum_of_path(&s), 1023);
}

static void a_follower_knows_its_own_copy_and_calls_the_rest_forward_and_commit(void **state)
{
    (void)state;
    struct member_stages here = whole;
    struct member_split s;
    here.led = false;
    here.answered_ns = here.sent_ns = 0;
    member_split_stages(&here, &s);
    assert_int_equal(s.path_ns[STAGE_FORWARD], 4);
    assert_int_equal(s.path_ns[STAGE_APPEND], 0);
    assert_int_equal(s.path_ns[STAGE_SYNC], 64);
    assert_int_equal(s.took_ns[STAGE_FOLLOW], -1);
    assert_int_equal(sum_of_path(&s), 1023);
}

/* Whatever is missing, in whatever order the stamps are: no stage is negative, the sum is the whole. */
static void stages_add_up_to_the_whole_whatever_stamps_there_are(void **state)
{
    (void)state;
    uint64_t seed = 77;
    for (int round = 0; round < 20000; round++) {
        struct member_stages s = {.led = round % 3 != 0};
        int64_t *const stamps[] = {
            &s.arrived_ns,    &s.queued_ns,   &s.taken_ns,  &s.appended_ns, &s.building_ns,
            &s.writing_ns,    &s.written_ns,  &s.synced_ns, &s.sent_ns,     &s.answered_ns,
            &s.committed_ns,  &s.applied_ns,  &s.failed_ns, &s.replied_ns,  &s.peer_wait_ns,
            &s.peer_write_ns, &s.peer_sync_ns};
        for (size_t i = 0; i < ARRAY_LEN(stamps); i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            if (seed >> 62)
                *stamps[i] = (int64_t)(seed >> 40 & 0xffff);
        }
        struct member_split split;
        member_split_stages(&s, &split);
        for (int i = 0; i < STAGE_PATH; i++)
            assert_true(split.path_ns[i] >= 0);
        assert_true(split.took_ns[STAGE_TOTAL] >= 0);
        assert_int_equal(sum_of_path(&split), split.took_ns[STAGE_TOTAL]);
        int64_t e = split.took_ns[STAGE_FOLLOW], parts = 0;
        for (int i = STAGE_E_NETWORK; i <= STAGE_E_SYNC; i++)
            parts += split.took_ns[i];
        assert_true(e == -1 ? parts == -4 : parts == e);
    }
}

/* Its deadline passed: what is left belongs to the stage that it was in, not to the answer. */
static void a_put_that_failed_spent_the_rest_where_it_hung(void **state)
{
    (void)state;
    static const struct {
        const char *when;
        struct member_stages s;
        enum member_stage unfinished;
        int64_t its_ns;
    } rows[] = {
        {"it was refused at once", {.arrived_ns = 1000}, STAGE_DECODE, 9000},
        {"it was refused at once", {.arrived_ns = 1000}, STAGE_DECODE, 9000},
        {"no leader took it", {.arrived_ns = 1000, .queued_ns = 1001}, STAGE_QUEUED, 8999},
        {"the leader did not bring it back",
         {.arrived_ns = 1000, .queued_ns = 1001, .taken_ns = 1003},
         STAGE_FORWARD,
         8997},
        {"the leader knows only that it appended it",
         {.arrived_ns = 1000, .queued_ns = 1001, .taken_ns = 1003, .led = true, .index = 7},
         STAGE_FOLLOW,
         8997},
        {"its own disk hangs",
         {.arrived_ns = 1000,
          .queued_ns = 1001,
          .taken_ns = 1003,
          .appended_ns = 1007,
          .led = true,
          .index = 7},
         STAGE_SYNC,
         8993},
        {"its own disk hangs, and a quorum answered",
         {.arrived_ns = 1000,
          .queued_ns = 1001,
          .taken_ns = 1003,
          .appended_ns = 1007,
          .sent_ns = 1020,
          .answered_ns = 1100,
          .led = true,
          .index = 7},
         STAGE_SYNC,
         8900},
        {"no quorum answers",
         {.arrived_ns = 1000,
          .queued_ns = 1001,
          .taken_ns = 1003,
          .appended_ns = 1007,
          .building_ns = 1015,
          .writing_ns = 1031,
          .written_ns = 1063,
          .synced_ns = 1127,
          .led = true,
          .index = 7},
         STAGE_FOLLOW,
         8873},
        {"raft does not count",
         {.arrived_ns = 1000,
          .queued_ns = 1001,
          .taken_ns = 1003,
          .appended_ns = 1007,
          .building_ns = 1015,
          .writing_ns = 1031,
          .written_ns = 1063,
          .synced_ns = 1127,
          .sent_ns = 1020,
          .answered_ns = 1200,
          .led = true,
          .index = 7},
         STAGE_COMMIT,
         8800},
        {"it is not applied",
         {.arrived_ns = 1000,
          .queued_ns = 1001,
          .taken_ns = 1003,
          .led = true,
          .index = 7,
          .is_committed = true},
         STAGE_APPLY,
         8997},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct member_stages s = rows[i].s;
        struct member_split split;
        s.failed_ns = 9900;
        s.replied_ns = 10000;
        member_split_stages(&s, &split);
        if (!split.failed || split.unfinished != rows[i].unfinished ||
            split.longest != rows[i].unfinished || split.path_ns[STAGE_ANSWER] != 0)
            fail_msg("when %s: %s is unfinished, %s the longest", rows[i].when,
                     member_stage_name(split.unfinished), member_stage_name(split.longest));
        assert_int_equal(split.path_ns[split.unfinished], rows[i].its_ns);
        assert_int_equal(sum_of_path(&split), 9000);
        assert_int_equal(split.took_ns[STAGE_TOTAL], 9000);
    }
    struct member_split split;
    member_split_stages(&whole, &split);
    assert_false(split.failed);
}

/* ---- Stamps that travel ---- */

static void hear_append(struct member *m, uint64_t from, uint64_t last, int64_t sent_ns)
{
    struct raft_entry entry = {.index = last};
    struct peer_inbound in = {.message = {.type = RAFT_MSG_APP, .from = from, .index = last - 1},
                              .stamps = {.sent_ns = sent_ns}};
    struct core_message message = {.in = &in, .received_ns = 2 * sent_ns};
    in.message.entries = &entry;
    in.message.count = 1;
    core_note_message(m, &message);
}

/* What the answer to `to` that we have everything up to `index` takes back. */
static int64_t answer_to(struct member *m, uint64_t to, uint64_t index)
{
    struct raft_message promise = {.type = RAFT_MSG_APP_RESP, .to = to, .index = index};
    struct persist_job job = {.persist = {.promises = &promise, .promise_count = 1}};
    core_note_promises(m, &job);
    int64_t sent_ns = persist_stamps(&job, 0).sent_ns;
    rt_free(job.echoes);
    return sent_ns;
}

static void an_answer_takes_back_the_stamps_of_the_append_that_it_answers(void **state)
{
    (void)state;
    struct member *m = calloc(1, sizeof *m);
    m->id = 1;
    m->core.echoes = calloc(CORE_ECHOES, sizeof *m->core.echoes);
    hear_append(m, 2, 10, 100);
    assert_int_equal(answer_to(m, 2, 10), 100);
    assert_int_equal(answer_to(m, 2, 10), 0); // another answer to the same
    hear_append(m, 2, 11, 200);               // not taken: there is no 10 here
    m->core.turns++;
    assert_int_equal(answer_to(m, 2, 11), 0); // to an empty one, which asked whether 11 is here
    hear_append(m, 2, 12, 300);               // from who leads no more
    assert_int_equal(answer_to(m, 3, 12), 0); // the other's clock is not its
    free(m->core.echoes);
    free(m);
}

/* ---- Real puts ---- */

/* Put once through member `i`, with a deadline, and stamp it as the service does. 0 or why not. */
static int try_put(struct cluster *c, int i, int64_t deadline_ns, struct member_stages *stages)
{
    struct rt_string body = {0};
    struct store_result result = {0};
    struct member *m = c->member[i];
    field_add_text(&body, 1, "k");
    field_add_text(&body, 2, "v");
    struct member_proposal p = {
        .kind = STORE_PUT, .body = rt_bytes(body.data, body.len), .deadline_ns = deadline_ns};
    struct member_outcome out = {.result = &result};
    int64_t arrived_ns = rt_now_ns();
    int err = member_propose(m, &p, &out);
    out.stages.arrived_ns = arrived_ns;
    member_replied(m, STORE_PUT, &out.stages);
    *stages = out.stages;
    if (!err)
        rt_buf_unref(out.command);
    store_result_deinit(member_store(m), &result);
    rt_string_deinit(&body);
    return err;
}

static void put_through(struct cluster *c, int i, struct member_stages *stages)
{
    int err = try_put(c, i, patience(), stages);
    if (err)
        fail_msg("the put ended with %d, %s", err, member_error_words(err));
}

struct rows {
    uint64_t peer; // which rows
    int64_t sum_ns[MEMBER_STAGES], path_ns;
    uint64_t count[MEMBER_STAGES];
    int64_t min_ns[MEMBER_STAGES];
    struct rt_hdr_counts *c;
};

static void add_row(void *arg, const struct member_latency_row *row)
{
    struct rows *r = arg;
    if (row->peer != r->peer)
        return;
    rt_hdr_counts_reset(r->c);
    rt_hdr_read(row->took, r->c);
    r->sum_ns[row->stage] = r->c->sum_ns;
    r->count[row->stage] = r->c->count;
    r->min_ns[row->stage] = r->c->min_ns;
    if (!row->path)
        return;
    rt_hdr_counts_reset(r->c);
    rt_hdr_read(row->path, r->c);
    r->path_ns += r->c->sum_ns;
}

static struct rows read_rows(struct member *m, uint64_t peer)
{
    struct rows r = {.peer = peer, .c = rt_hdr_counts_new()};
    assert_true(member_latency(m, add_row, &r));
    rt_free(r.c);
    return r;
}

static void real_puts_add_up_to_the_servers_own_time_on_every_member(void **state)
{
    (void)state;
    enum { PUTS = 60 };
    struct cluster c;
    cluster_init(&c, 3);
    cluster_up(&c);
    for (int i = 0; i < 3; i++) {
        int64_t whole_ns = 0;
        for (int n = 0; n < PUTS; n++) {
            struct member_stages s;
            struct member_split split;
            put_through(&c, i, &s);
            member_split_stages(&s, &split);
            assert_true(s.arrived_ns <= s.queued_ns && s.queued_ns <= s.taken_ns);
            assert_true(s.taken_ns <= s.appended_ns && s.appended_ns <= s.building_ns);
            assert_true(s.building_ns <= s.writing_ns && s.writing_ns <= s.written_ns);
            assert_true(s.written_ns <= s.synced_ns && s.synced_ns <= s.committed_ns);
            assert_true(s.committed_ns <= s.applied_ns && s.applied_ns <= s.replied_ns);
            if (s.led && s.answered_ns) {
                assert_true(s.appended_ns <= s.sent_ns && s.sent_ns < s.answered_ns);
                assert_true(s.answered_ns <= s.committed_ns);
            }
            assert_int_equal(sum_of_path(&split), s.replied_ns - s.arrived_ns);
            whole_ns += s.replied_ns - s.arrived_ns;
        }
        struct rows r = read_rows(c.member[i], 0);
        assert_int_equal(r.count[STAGE_TOTAL], PUTS);
        assert_int_equal(r.sum_ns[STAGE_TOTAL], whole_ns);
        assert_int_equal(r.path_ns, whole_ns); // the stages of all puts, too
    }
    cluster_deinit(&c);
}

static void set_all(struct cluster *c, const char *knob, const char *value)
{
    for (int i = 0; i < c->count; i++) {
        struct member_knob now;
        char previous[MEMBER_KNOB_BYTES];
        struct why why = {{0}};
        if (member_knob_set(c->member[i], knob, value, false, &now, previous, &why))
            fail_msg("%s", why.text);
    }
}

/* One put at a time through the leader with a delay in force: at least so long are these. */
static void assert_delayed(const char *knob, const char *value, int64_t least_ns,
                           enum member_stage own, enum member_stage followers,
                           int64_t least_follower_ns)
{
    enum { PUTS = 12 };
    struct cluster c;
    cluster_init(&c, 3);
    cluster_up(&c);
    set_all(&c, knob, value);
    int seen = 0;
    for (int n = 0; n < PUTS; n++) {
        struct member_stages s;
        struct member_split split;
        int leader = leader_of(&c);
        if (leader < 0)
            leader = 0;
        put_through(&c, leader, &s);
        member_split_stages(&s, &split);
        if (!s.led || !s.answered_ns || n == 0)
            continue; // leadership moved, or what was under way before the knob
        seen++;
        if (own != MEMBER_STAGES)
            assert_true(split.took_ns[own] >= least_ns);
        assert_true(split.took_ns[followers] >= least_follower_ns);
        assert_true(split.took_ns[STAGE_TOTAL] >= least_ns);
    }
    assert_true(seen > 0);
    set_all(&c, knob, "0");
    cluster_deinit(&c);
}

static void a_slower_disk_shows_in_c_and_in_the_followers_sync(void **state)
{
    (void)state;
    assert_delayed("debug-fsync-delay", "5ms", 5 * RT_MS, STAGE_SYNC, STAGE_E_SYNC, 5 * RT_MS);
}

static void a_slower_network_shows_in_the_network_part_of_e(void **state)
{
    (void)state;
    // each member delays what it sends: there and back again
    assert_delayed("debug-network-delay", "5ms", 10 * RT_MS, MEMBER_STAGES, STAGE_E_NETWORK,
                   10 * RT_MS);
}

static void a_put_without_a_quorum_hangs_where_it_waits_for_one(void **state)
{
    (void)state;
    struct cluster c;
    struct member_stages s;
    struct member_split split;
    cluster_init(&c, 3);
    cluster_up(&c);
    set_all(&c, "slow-request-threshold", "1ms");
    int at = 0;
    while (!member_is_leader(c.member[at]))
        at = (at + 1) % 3;
    for (int i = 0; i < 3; i++)
        if (i != at)
            member_down(&c, i);
    // it leads for as long as it takes to miss the others: then this is appended, and synced
    assert_int_not_equal(try_put(&c, at, rt_after_ns(100 * RT_MS), &s), 0);
    member_split_stages(&s, &split);
    assert_true(split.failed);
    if (!s.led)
        assert_int_equal(split.unfinished, STAGE_QUEUED);
    else
        assert_int_equal(split.unfinished, s.synced_ns ? STAGE_FOLLOW : STAGE_SYNC);
    assert_true(!s.led || s.appended_ns >= s.taken_ns);
    assert_int_equal(s.answered_ns, 0);
    assert_int_equal(split.path_ns[STAGE_ANSWER], 0);
    assert_int_equal(sum_of_path(&split), s.replied_ns - s.arrived_ns);
    struct member_status status;
    for (member_status(c.member[at], &status); status.leader; member_status(c.member[at], &status))
        rt_sleep_ns(RT_MS); // polls: nothing depends on how long
    assert_int_not_equal(try_put(&c, at, rt_after_ns(20 * RT_MS), &s), 0);
    member_split_stages(&s, &split);
    assert_int_equal(split.unfinished, STAGE_QUEUED);
    assert_int_equal(split.longest, STAGE_QUEUED);
    assert_int_equal(sum_of_path(&split), s.replied_ns - s.arrived_ns);
    cluster_deinit(&c);
}

struct one_put {
    struct cluster *c;
    struct member_stages stages;
    struct rt_waitgroup *done;
};
static void put_one(void *arg)
{
    struct one_put *p = arg;
    put_through(p->c, 0, &p->stages);
    rt_waitgroup_done(p->done);
}

/* While a slow sync runs, each put comes to raft in a turn of its own; then all are durable at once. */
static void every_put_of_a_big_batch_has_its_stamps(void **state)
{
    (void)state;
    enum { PUTS = 200 };
    struct cluster c;
    struct rt_waitgroup done = {0};
    struct one_put *p = calloc(PUTS, sizeof *p);
    cluster_init(&c, 1);
    cluster_up(&c);
    set_all(&c, "debug-fsync-delay", "200ms");
    rt_waitgroup_add(&done, PUTS);
    for (int i = 0; i < PUTS; i++) {
        p[i].c = &c;
        p[i].done = &done;
        assert_int_equal(rt_go("putter", put_one, &p[i]), 0);
        rt_sleep_ns(RT_MS / 5);
    }
    rt_waitgroup_wait(&done, RT_FOREVER);
    for (int i = 0; i < PUTS; i++)
        if (!p[i].stages.led || !p[i].stages.appended_ns || !p[i].stages.synced_ns)
            fail_msg("put %d of %d has no stamps of its batch", i, PUTS);
    cluster_deinit(&c);
    free(p);
}

struct stalls {
    int64_t count, ns;
};
static void add_stalls(void *arg, const char *name, uint64_t peer, int64_t value, bool gauge)
{
    struct stalls *s = arg;
    (void)peer;
    assert_false(gauge && strncmp(name, "window", 6) == 0);
    if (strcmp(name, "window_stalls") == 0)
        s->count += value;
    if (strcmp(name, "window_stall_ns") == 0)
        s->ns += value;
}

/* ---- Many puts at once ---- */

enum { PUTTERS = 8, PUTS_EACH = 20 };
struct putter {
    struct cluster *c;
    int at, puts;
    struct rt_waitgroup *done;
    int64_t whole_ns; // out: of all its puts
};
static void put_many(void *arg)
{
    struct putter *p = arg;
    for (int i = 0; i < p->puts; i++) {
        struct member_stages s;
        put_through(p->c, p->at, &s);
        p->whole_ns += s.replied_ns - s.arrived_ns;
    }
    rt_waitgroup_done(p->done);
}

/* Through member `at`. Returns how long the server took for all of them, added up. */
static int64_t put_at_once(struct cluster *c, int at)
{
    struct rt_waitgroup done = {0};
    struct putter p[PUTTERS];
    int64_t whole_ns = 0;
    rt_waitgroup_add(&done, PUTTERS);
    for (int i = 0; i < PUTTERS; i++) {
        p[i] = (struct putter){c, at, PUTS_EACH, &done, 0};
        assert_int_equal(rt_go("putter", put_many, &p[i]), 0);
    }
    rt_waitgroup_wait(&done, RT_FOREVER);
    for (int i = 0; i < PUTTERS; i++)
        whole_ns += p[i].whole_ns;
    return whole_ns;
}

static void puts_that_share_a_batch_add_up_and_each_is_counted_in_each_stage(void **state)
{
    (void)state;
    static const enum member_stage passed[] = {
        STAGE_DECODE, STAGE_QUEUED, STAGE_APPEND, STAGE_WRITE, STAGE_SYNC,
        STAGE_COMMIT, STAGE_APPLY,  STAGE_ANSWER, STAGE_TOTAL,
    };
    struct cluster c;
    cluster_init(&c, 1);
    cluster_up(&c);
    set_all(&c, "debug-fsync-delay", "1ms"); // who waits for one sync comes back together
    int64_t whole_ns = put_at_once(&c, 0);
    struct rows r = read_rows(c.member[0], 0);
    for (size_t i = 0; i < ARRAY_LEN(passed); i++)
        assert_int_equal(r.count[passed[i]], PUTTERS * PUTS_EACH);
    assert_int_equal(r.sum_ns[STAGE_TOTAL], whole_ns);
    assert_int_equal(r.path_ns, whole_ns);
    cluster_deinit(&c);
}

/* The stalls of the leader's windows under some load. */
static struct stalls stalls_under_load(const char *window)
{
    struct cluster c;
    cluster_init(&c, 3);
    cluster_up(&c);
    set_all(&c, "max-inflight-msgs", window);
    set_all(&c, "debug-network-delay", "2ms"); // so that an answer is not back before the next put
    int leader = leader_of(&c);
    put_at_once(&c, leader < 0 ? 0 : leader);
    struct stalls s = {0};
    for (int i = 0; i < 3; i++)
        member_counters(c.member[i], add_stalls, &s);
    cluster_deinit(&c);
    return s;
}

static void a_window_of_one_stalls_and_the_default_does_not(void **state)
{
    (void)state;
    struct stalls one = stalls_under_load("1");
    assert_true(one.count > 0);
    assert_true(one.ns > 0);
    struct stalls many = stalls_under_load("512");
    assert_int_equal(many.count, 0);
    assert_int_equal(many.ns, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_put_waits_for_its_own_sync_when_that_is_the_later),
    cmocka_unit_test(a_put_waits_for_the_quorums_answer_when_that_is_the_later),
    cmocka_unit_test(one_call_that_writes_and_syncs_is_all_sync),
    cmocka_unit_test(a_follower_knows_its_own_copy_and_calls_the_rest_forward_and_commit),
    cmocka_unit_test(stages_add_up_to_the_whole_whatever_stamps_there_are),
    cmocka_unit_test(a_put_that_failed_spent_the_rest_where_it_hung),
    cmocka_unit_test(a_put_without_a_quorum_hangs_where_it_waits_for_one),
    cmocka_unit_test(real_puts_add_up_to_the_servers_own_time_on_every_member),
    cmocka_unit_test(every_put_of_a_big_batch_has_its_stamps),
    cmocka_unit_test(an_answer_takes_back_the_stamps_of_the_append_that_it_answers),
    cmocka_unit_test(puts_that_share_a_batch_add_up_and_each_is_counted_in_each_stage),
    cmocka_unit_test(a_slower_disk_shows_in_c_and_in_the_followers_sync),
    cmocka_unit_test(a_slower_network_shows_in_the_network_part_of_e),
    cmocka_unit_test(a_window_of_one_stalls_and_the_default_does_not),
};

RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }

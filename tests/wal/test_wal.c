/* The log as its users see it: append and complete, reopen, read back, release, in both forms of
 * I/O. */
#include "tests/wal/log_fixture.h"

static const enum wal_io forms[] = {WAL_IO_DIRECT, WAL_IO_BUFFERED};

static void what_is_completed_is_there_after_reopening(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct log_fixture *f = fixture_new(forms[i]);
        fixture_must_open(f);
        assert_true(f->recovered.is_new);
        assert_int_equal(f->recovered.direct, forms[i] == WAL_IO_DIRECT);
        fixture_append(f, 1, 10, 1, 100);
        fixture_append(f, 11, 11, 2, 0);
        fixture_append(f, 12, 300, 3, 333);
        fixture_reopen(f);
        assert_false(f->recovered.is_new);
        assert_int_equal(f->recovered.base_index, 0);
        assert_int_equal(f->recovered.last_term, 3);
        assert_int_equal(f->recovered.hard_state.term, 3);
        assert_int_equal(f->recovered.hard_state.vote, 7);
        assert_int_equal(f->recovered.hard_state.commit, 11);
        assert_true(f->recovered.segments > 1);
        assert_true(f->recovered.torn_offset == UINT64_MAX);
        fixture_append(f, 301, 310, 3, 10);
        fixture_reopen(f);
        fixture_free(f);
    }
}

static void an_empty_log_opens_again_and_again(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    fixture_must_open(f);
    fixture_reopen(f);
    assert_false(f->recovered.is_new);
    fixture_reopen(f);
    fixture_free(f);
}

static void what_queues_during_a_sync_is_one_batch(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct append *a[200];
    struct wal_stats before, after;
    fixture_must_open(f);
    wal_stats(f->wal, &before);
    for (uint64_t i = 0; i < ARRAY_LEN(a); i++) { // all but the first meet a busy disk
        a[i] = append_new(f, i + 1, i + 1, 1, 50);
        wal_append(f->wal, &a[i]->request);
    }
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        append_wait(a[i]);
    wal_stats(f->wal, &after);
    assert_int_equal(after.entries - before.entries, 200);
    if (after.batches - before.batches >= 100)
        fail_msg("%" PRIu64 " batches for 200 entries", after.batches - before.batches);
    assert_int_equal(after.queue_bytes, 0);
    assert_int_equal(after.last_index, 200);
    fixture_reopen(f);
    fixture_free(f);
}

static void with_a_sync_timeout_every_entry_has_a_sync_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct log_fixture *f = fixture_new(forms[i]);
        struct append *a[5];
        struct wal_stats before, after;
        fixture_must_open(f);
        wal_set_sync_timeout(f->wal, RT_SECOND * 3600);
        wal_stats(f->wal, &before);
        for (uint64_t n = 0; n < ARRAY_LEN(a); n++) {
            a[n] = append_new(f, 10 * n + 1, 10 * n + 10, 1, 20);
            wal_append(f->wal, &a[n]->request);
        }
        for (size_t n = 0; n < ARRAY_LEN(a); n++) {
            rt_note_wait(&a[n]->done, RT_FOREVER);
            const struct wal_times *t = &a[n]->request.times;
            assert_true(t->taken_ns <= t->begun_ns);
            assert_true(t->begun_ns < t->written_ns); // B and C apart
            assert_true(t->written_ns < t->synced_ns);
            append_wait(a[n]);
        }
        wal_stats(f->wal, &after);
        assert_int_equal(after.syncs - before.syncs, 50);
        assert_int_equal(after.entries - before.entries, 50);
        assert_int_equal(after.sync_overruns, 0);
        assert_false(wal_is_slow(f->wal));
        wal_set_sync_timeout(f->wal, 1); // no disk does this
        fixture_append(f, 51, 51 + WAL_SLOW_RUN, 1, 10);
        wal_stats(f->wal, &after);
        assert_int_equal(after.sync_overruns, WAL_SLOW_RUN + 1);
        assert_true(after.slow);
        wal_set_sync_timeout(f->wal, RT_SECOND * 3600);
        fixture_append(f, f->last + 1, f->last + WAL_SLOW_RUN, 1, 10);
        assert_false(wal_is_slow(f->wal));
        fixture_reopen(f);
        fixture_free(f);
    }
}

/* One call or two: that written_ns equals synced_ns is how readers of the times know. */
static void a_batch_that_begins_a_segment_says_by_how_many_calls_it_was_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct log_fixture *f = fixture_new(forms[i]);
        struct wal_stats s;
        fixture_must_open(f);
        bool first_is_one_call = false;
        uint64_t before = 1, rolled = 0;
        for (uint64_t n = 1; rolled < 3; n++) {
            struct append *a = append_new(f, n, n, 1, 20000); // three to a segment
            wal_append(f->wal, &a->request);
            rt_note_wait(&a->done, RT_FOREVER);
            const struct wal_times *t = &a->request.times;
            bool one_call = t->written_ns == t->synced_ns;
            assert_true(t->building_ns <= t->begun_ns && t->begun_ns <= t->written_ns);
            assert_true(t->written_ns <= t->synced_ns);
            wal_stats(f->wal, &s);
            if (n == 1)
                first_is_one_call = one_call;
            if (one_call != first_is_one_call)
                fail_msg("entry %" PRIu64 " of %s I/O, which %s a segment: %s", n,
                         forms[i] == WAL_IO_DIRECT ? "direct" : "buffered",
                         s.segments > before ? "begins" : "does not begin",
                         one_call ? "one call" : "two calls");
            rolled += s.segments > before;
            before = s.segments;
            append_wait(a);
        }
        assert_true(forms[i] == WAL_IO_DIRECT || !first_is_one_call);
        fixture_free(f);
    }
}

struct order {
    struct wal_request request;
    int *next;
    int place; // in the order of completion
    struct rt_note done;
};

static void note_order(struct wal_request *r)
{
    struct order *o = r->arg;
    o->place = (*o->next)++;
    rt_note_set(&o->done);
}

static void requests_complete_in_the_order_they_were_appended_lazy_ones_too(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    static const uint8_t payload[3];
    enum { COUNT = 60 };
    struct order *o = calloc(COUNT, sizeof *o);
    struct wal_record *record = calloc(COUNT, sizeof *record);
    int next = 0;
    uint64_t index = 0;
    fixture_must_open(f);
    for (size_t i = 0; i < COUNT; i++) {
        o[i] = (struct order){.next = &next, .request = {.done = note_order}};
        o[i].request.arg = &o[i];
        if (i % 3 == 0) { // an entry, a commit index that is not worth a sync, a bare promise
            record[i] = (struct wal_record){.term = 1, .index = ++index, .data = payload, .len = 3};
            o[i].request.records = &record[i];
            o[i].request.count = 1;
        } else if (i % 3 == 1) {
            o[i].request.has_hard_state = o[i].request.lazy = true;
            o[i].request.hard_state = (struct wal_hard_state){1, 2, index};
        }
        wal_append(f->wal, &o[i].request);
    }
    for (size_t i = 0; i < COUNT; i++) {
        rt_note_wait(&o[i].done, RT_FOREVER);
        assert_int_equal(o[i].request.result, 0);
        assert_int_equal(o[i].place, i);
    }
    free(o);
    free(record);
    fixture_free(f);
}

static void a_lazy_request_causes_no_write_and_is_kept_at_close(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct wal_stats before, after;
    fixture_must_open(f);
    fixture_append(f, 1, 5, 1, 10);
    wal_stats(f->wal, &before);
    struct append *a = append_new(f, 1, 0, 0, 0);
    f->last = 5;
    a->request.has_hard_state = a->request.lazy = true;
    a->request.hard_state = (struct wal_hard_state){1, 7, 5};
    wal_append(f->wal, &a->request);
    append_wait(a);
    wal_stats(f->wal, &after);
    assert_int_equal(after.batches, before.batches);
    fixture_reopen(f);
    assert_int_equal(f->recovered.hard_state.commit, 5);
    fixture_free(f);
}

static void a_vote_alone_is_durable_when_completed(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct wal_stats before, after;
    fixture_must_open(f);
    wal_stats(f->wal, &before);
    struct append *a = append_new(f, 1, 0, 0, 0);
    f->last = 0;
    a->request.has_hard_state = true;
    a->request.hard_state = (struct wal_hard_state){9, 3, 0};
    wal_append(f->wal, &a->request);
    append_wait(a);
    wal_stats(f->wal, &after);
    assert_int_equal(after.batches, before.batches + 1);
    fixture_reopen(f);
    assert_int_equal(f->recovered.hard_state.term, 9);
    assert_int_equal(f->recovered.hard_state.vote, 3);
    fixture_free(f);
}

static void entries_are_replaced_from_an_index_on(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    uint64_t seed = test_seed();
    printf("# KVD_SEED=%" PRIu64 "\n", seed);
    seed |= 1;
    fixture_must_open(f);
    for (uint64_t term = 1; term <= 60; term++) {
        uint64_t from =
            f->last < 3 ? f->last + 1 : f->last + 1 - draw(&seed, f->last < 40 ? 3 : 40);
        uint64_t to = from + draw(&seed, 60);
        fixture_append(f, from, to, term, (uint32_t)draw(&seed, 700));
        uint64_t lo = 1 + draw(&seed, f->last), hi = lo + 1 + draw(&seed, f->last + 1 - lo);
        int told = fixture_read(f, lo, hi, UINT64_MAX);
        if (told != (int)(hi - lo))
            fail_msg("read [%" PRIu64 ", %" PRIu64 "): %d %s", lo, hi, told, f->why.text);
        if (term % 10 == 0)
            fixture_reopen(f);
    }
    fixture_free(f);
}

static void entries_replaced_inside_one_batch_are_gone(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct append *a[4];
    fixture_must_open(f);
    a[0] = append_new(f, 1, 3, 1, 10); // keeps the disk busy; the rest queues
    a[1] = append_new(f, 4, 9, 1, 10);
    a[2] = append_new(f, 6, 7, 2, 11);
    a[3] = append_new(f, 8, 12, 2, 12);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        wal_append(f->wal, &a[i]->request);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        append_wait(a[i]);
    assert_int_equal(fixture_read(f, 1, 13, UINT64_MAX), 12);
    fixture_reopen(f);
    assert_int_equal(fixture_read(f, 5, 9, UINT64_MAX), 4);
    fixture_free(f);
}

static void a_snapshot_replaces_the_log(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct wal_record marker = {.term = 5, .index = 100, .kind = WAL_SNAPSHOT};
    fixture_must_open(f);
    fixture_append(f, 1, 30, 4, 10);
    struct append *a = append_new(f, 1, 0, 0, 0);
    a->request.records = &marker;
    a->request.count = 1;
    a->request.has_hard_state = true;
    a->request.hard_state = (struct wal_hard_state){5, 0, 100};
    wal_append(f->wal, &a->request);
    append_wait(a);
    f->first = 101;
    f->last = 100;
    assert_int_equal(wal_read(f->wal, 30, 31, 1, tell_read, f, &f->why), WAL_COMPACTED);
    assert_int_equal(wal_read(f->wal, 101, 102, 1, tell_read, f, &f->why), WAL_UNAVAILABLE);
    fixture_reopen(f);
    assert_int_equal(f->recovered.base_index, 100);
    assert_int_equal(f->recovered.base_term, 5);
    fixture_append(f, 101, 120, 6, 10);
    fixture_reopen(f);
    assert_int_equal(f->recovered.base_index, 100);
    assert_int_equal(fixture_read(f, 101, 121, UINT64_MAX), 20);
    fixture_free(f);
}

static void big_and_many_records_are_spread_over_batches_and_segments(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    fixture_must_open(f);
    uint64_t max = wal_record_bytes_max(f->wal);
    assert_int_equal(max, WAL_SEGMENT_BYTES_MIN - WAL_BLOCK_BYTES);
    fixture_append(f, 1, 3, 1, (uint32_t)max); // each fills a segment alone
    fixture_append(f, 4, 400, 1, 1000);        // 400 kB in one request, segments of 64 KiB
    fixture_append(f, 401, 401, 1, (uint32_t)max);
    assert_int_equal(fixture_read(f, 1, 402, UINT64_MAX), 401);
    fixture_reopen(f);
    f->options.segment_bytes = 4 << 20; // new segments are bigger from now on
    fixture_reopen(f);
    fixture_append(f, 402, 402, 1, 3 << 20); // bigger than a batch
    fixture_append(f, 403, 1500, 2, 2000);   // a request of several batches in one segment
    assert_int_equal(fixture_read(f, 400, 1501, UINT64_MAX), 1101);
    fixture_reopen(f);
    fixture_free(f);
}

static void a_read_stops_at_its_limit_and_gives_at_least_one(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    fixture_must_open(f);
    fixture_append(f, 1, 400, 1, 1000);
    assert_int_equal(fixture_read(f, 5, 400, 0), 1);
    assert_int_equal(fixture_read(f, 5, 400, 1), 1);
    assert_int_equal(fixture_read(f, 5, 400, 3000), 3);
    assert_int_equal(fixture_read(f, 5, 400, 3999), 3);
    assert_int_equal(fixture_read(f, 5, 7, 1 << 20), 2);
    assert_int_equal(fixture_read(f, 399, 500, 1 << 20), 2);
    assert_int_equal(fixture_read(f, 401, 500, 1 << 20), WAL_UNAVAILABLE);
    fixture_free(f);
}

struct file_count {
    uint32_t segments, spares, others;
};

static void count_file(void *arg, const char *name)
{
    struct file_count *c = arg;
    c->segments += strstr(name, ".seg") != NULL;
    c->spares += strstr(name, ".spare") != NULL;
    c->others += strcmp(name, "LOCK") != 0 && !strstr(name, ".seg") && !strstr(name, ".spare");
}

/* Let the keeper work until only so many segments are left. */
static void wait_for_segments(struct log_fixture *f, uint64_t most)
{
    struct wal_stats s;
    for (wal_stats(f->wal, &s); s.segments > most; wal_stats(f->wal, &s))
        rt_sleep_ns(RT_MS); // polls: nothing depends on how long
}

static void release_lets_go_of_whole_segments_and_keeps_the_rest(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct wal_stats s;
    fixture_must_open(f);
    for (uint64_t i = 1; i <= 600; i += 4)
        fixture_append(f, i, i + 3, 1, 900);
    wal_stats(f->wal, &s);
    assert_true(s.segments > 8);
    assert_int_equal(s.first_index, 1);
    wal_release(f->wal, 300);
    wait_for_segments(f, s.segments / 2 + 2);
    fixture_close(f); // the keeper is done with it
    fixture_must_open(f);
    wal_stats(f->wal, &s);
    assert_true(s.first_index <= 301); // what was not released is there,
    assert_true(s.first_index > 200);  // and most of what was is not
    assert_int_equal(f->recovered.base_index, s.first_index - 1);
    assert_int_equal(f->recovered.base_term, 1);
    assert_int_equal(fixture_read(f, s.first_index, 601, UINT64_MAX), 601 - s.first_index);
    assert_int_equal(fixture_read(f, s.first_index - 1, 601, 1), WAL_COMPACTED);
    wal_release(f->wal, 100);     // lower than before: nothing
    wal_release(f->wal, 5000000); // more than there is: the segment in use stays
    wait_for_segments(f, 1);
    fixture_append(f, 601, 640, 2, 50);
    fixture_reopen(f);
    struct file_count files = {0};
    fixture_close(f);
    rt_list_dir(f->dir, count_file, &files);
    assert_int_equal(files.segments, 1);
    assert_true(files.spares >= 1);
    assert_true(files.spares <= WAL_SPARES_MAX);
    assert_int_equal(files.others, 0);
    fixture_free(f);
}

static void a_log_that_goes_round_uses_no_more_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct log_fixture *f = fixture_new(forms[i]);
        fixture_must_open(f);
        for (uint64_t n = 1; n <= 3000; n += 20) {
            fixture_append(f, n, n + 19, 1 + n / 100, 900);
            if (f->last > 200) {
                wal_release(f->wal, f->last - 100);
                wait_for_segments(f, 5);
            }
            if (n % 500 == 1)
                fixture_reopen(f);
        }
        fixture_reopen(f);
        struct wal_stats s;
        wal_stats(f->wal, &s);
        assert_true(s.first_index <= 2901);
        assert_int_equal(fixture_read(f, s.first_index, 3001, UINT64_MAX), 3001 - s.first_index);
        fixture_free(f);
    }
}

static void entries_replaced_below_a_released_segment_still_open(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct wal_stats s;
    fixture_must_open(f);
    uint64_t segments;
    do { // end just behind the beginning of a segment
        wal_stats(f->wal, &s);
        segments = s.segments;
        fixture_append(f, f->last + 1, f->last + 4, 1, 900);
        wal_stats(f->wal, &s);
    } while (segments < 3 || s.segments == segments);
    uint64_t from = f->last - 8; // of the segment before
    fixture_append(f, from, from + 20, 2, 100);
    fixture_reopen(f);
    wal_release(f->wal, f->last - 3);
    wait_for_segments(f, 1);
    fixture_reopen(f);
    wal_stats(f->wal, &s);
    assert_true(s.first_index <= f->last - 2);
    assert_int_equal(fixture_read(f, f->last - 2, f->last + 1, UINT64_MAX), 3);
    fixture_append(f, f->last + 1, f->last + 9, 3, 100);
    fixture_reopen(f);
    fixture_free(f);
}

struct race {
    struct log_fixture *f;
    _Atomic uint64_t durable, kept; // entries kept..durable can be read
    _Atomic bool stop;
    _Atomic int bad;
    struct rt_waitgroup readers;
};

struct race_read {
    struct race *race;
    uint64_t next;
};

static int check_race(void *arg, const struct wal_record *r)
{
    struct race_read *read = arg;
    if (r->index != read->next++ || r->len != 700)
        return -EBADMSG;
    for (uint32_t i = 0; i < r->len; i++)
        if (r->data[i] != payload_byte(r->index, r->term, i))
            return -EILSEQ;
    return 0;
}

static void read_in_a_loop(void *arg)
{
    struct race *race = arg;
    uint64_t seed = rt_go_id() * 2 + 1;
    struct why why;
    while (!race->stop) {
        uint64_t high = race->durable, low = race->kept;
        struct race_read read = {race, low + draw(&seed, high - low + 1)};
        uint64_t lo = read.next;
        int told = wal_read(race->f->wal, lo, high + 1, 50000, check_race, &read, &why);
        if (told < 1 && told != WAL_COMPACTED) // let go of since we looked
            race->bad = told;
    }
    rt_waitgroup_done(&race->readers);
}

static void readers_append_and_release_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct race race = {.f = f, .kept = 1, .durable = 40};
    fixture_must_open(f);
    fixture_append(f, 1, 40, 1, 700);
    rt_waitgroup_add(&race.readers, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rt_go("reader", read_in_a_loop, &race), 0);
    while (f->last < 4000) {
        fixture_append(f, f->last + 1, f->last + 40, 1, 700);
        race.durable = f->last;
        if (f->last > 400) {
            race.kept = f->last - 300;
            wal_release(f->wal, f->last - 301);
        }
    }
    race.stop = true;
    rt_waitgroup_wait(&race.readers, RT_FOREVER);
    if (race.bad)
        fail_msg("a reader got %d", race.bad);
    fixture_reopen(f);
    fixture_free(f);
}

static void a_full_queue_asks_to_hold(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    f->options.queue_limit_bytes = 20000;
    fixture_must_open(f);
    struct append *a[2] = {append_new(f, 1, 30, 1, 1000), append_new(f, 31, 31, 1, 1)};
    assert_true(wal_append(f->wal, &a[0]->request));
    wal_append(f->wal, &a[1]->request); // taken all the same
    append_wait(a[0]);
    append_wait(a[1]);
    assert_false(wal_should_hold(f->wal));
    fixture_free(f);
}

static void a_directory_in_use_is_refused(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct wal *second = NULL;
    struct wal_recovered recovered;
    fixture_must_open(f);
    assert_int_equal(wal_open(&f->options, NULL, &second, &recovered, &f->why), WAL_IN_USE);
    assert_null(second);
    assert_non_null(strstr(f->why.text, "in use by another process"));
    assert_non_null(strstr(f->why.text, f->dir));
    fixture_reopen(f);
    fixture_free(f);
}

static void the_log_of_another_member_or_cluster_is_refused(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    fixture_must_open(f);
    fixture_append(f, 1, 5, 1, 10);
    fixture_close(f);
    f->options.member_id++;
    assert_int_equal(fixture_open(f), WAL_FOREIGN);
    assert_non_null(strstr(f->why.text, "belongs to member 8e9e05c52164694d of cluster c1"));
    f->options.member_id--;
    f->options.cluster_id++;
    assert_int_equal(fixture_open(f), WAL_FOREIGN);
    f->options.cluster_id--;
    fixture_must_open(f);
    fixture_free(f);
}

static void settings_out_of_bounds_are_refused_with_words(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    static const uint64_t bad[] = {1, 4096, WAL_SEGMENT_BYTES_MIN - 4096, WAL_SEGMENT_BYTES_MIN + 1,
                                   WAL_SEGMENT_BYTES_MAX + 4096};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f->options.segment_bytes = bad[i];
        assert_int_equal(fixture_open(f), WAL_BAD_OPTION);
        assert_non_null(strstr(f->why.text, "wal-segment-bytes"));
    }
    f->options.segment_bytes = 0;
    f->options.sync_timeout_ns = -1;
    assert_int_equal(fixture_open(f), WAL_BAD_OPTION);
    f->options.sync_timeout_ns = 0;
    char path[WAL_PATH_BYTES];
    memset(path, 'a', sizeof path - 1); // longer than a name may be
    path[sizeof path - 1] = 0;
    f->options.dir = path;
    assert_int_equal(fixture_open(f), WAL_BAD_OPTION);
    f->options.dir = "/proc/self/wal";
    assert_true(fixture_open(f) < 0);
    assert_non_null(strstr(f->why.text, "/proc/self/wal"));
    f->options.dir = f->dir;
    fixture_free(f);
}

static void direct_io_is_refused_where_the_file_system_has_none(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_DIRECT);
    f->options.dir = "/proc"; // a file system that takes neither
    assert_true(fixture_open(f) < 0);
    assert_null(f->wal);
    f->options.dir = f->dir;
    fixture_free(f);
}

static void every_error_has_words(void **state)
{
    (void)state;
    assert_string_equal(wal_error_words(WAL_DAMAGED), "the log is damaged");
    assert_null(wal_error_words(-EIO));
    assert_null(wal_error_words(0));
}

static void metrics_tell_what_was_written(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct rt_string text = {NULL, 0, 0};
    f->options.metrics = rt_metrics_new();
    fixture_must_open(f);
    fixture_append(f, 1, 5, 1, 10);
    rt_metrics_write(f->options.metrics, &text);
    const char *t = rt_string_cstr(&text);
    assert_non_null(strstr(t, "etcd_disk_wal_fsync_duration_seconds_count 2")); // open wrote one
    assert_non_null(strstr(t, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"}"));
    assert_non_null(strstr(t, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"}"));
    assert_non_null(strstr(t, "etcd_disk_wal_write_bytes_total 8192"));
    assert_non_null(strstr(t, "kvd_wal_batch_entries_sum 5"));
    assert_non_null(strstr(t, "kvd_wal_queue_bytes 0"));
    assert_non_null(strstr(t, "kvd_wal_sync_overruns_total 0"));
    rt_string_deinit(&text);
    struct rt_metrics *m = f->options.metrics;
    fixture_free(f);
    rt_metrics_free(m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_completed_is_there_after_reopening),
    cmocka_unit_test(an_empty_log_opens_again_and_again),
    cmocka_unit_test(what_queues_during_a_sync_is_one_batch),
    cmocka_unit_test(with_a_sync_timeout_every_entry_has_a_sync_of_its_own),
    cmocka_unit_test(a_batch_that_begins_a_segment_says_by_how_many_calls_it_was_written),
    cmocka_unit_test(requests_complete_in_the_order_they_were_appended_lazy_ones_too),
    cmocka_unit_test(a_lazy_request_causes_no_write_and_is_kept_at_close),
    cmocka_unit_test(a_vote_alone_is_durable_when_completed),
    cmocka_unit_test(entries_are_replaced_from_an_index_on),
    cmocka_unit_test(entries_replaced_inside_one_batch_are_gone),
    cmocka_unit_test(a_snapshot_replaces_the_log),
    cmocka_unit_test(big_and_many_records_are_spread_over_batches_and_segments),
    cmocka_unit_test(a_read_stops_at_its_limit_and_gives_at_least_one),
    cmocka_unit_test(release_lets_go_of_whole_segments_and_keeps_the_rest),
    cmocka_unit_test(a_log_that_goes_round_uses_no_more_files),
    cmocka_unit_test(entries_replaced_below_a_released_segment_still_open),
    cmocka_unit_test(readers_append_and_release_do_not_disturb_each_other),
    cmocka_unit_test(a_full_queue_asks_to_hold),
    cmocka_unit_test(a_directory_in_use_is_refused),
    cmocka_unit_test(the_log_of_another_member_or_cluster_is_refused),
    cmocka_unit_test(settings_out_of_bounds_are_refused_with_words),
    cmocka_unit_test(direct_io_is_refused_where_the_file_system_has_none),
    cmocka_unit_test(every_error_has_words),
    cmocka_unit_test(metrics_tell_what_was_written),
};

RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }

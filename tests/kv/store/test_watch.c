/* Watches: the answers to creates, and the contract: every watch gets each event of its range once, in
 * order, those of a revision together, however slowly its stream is read. */
#include "tests/kv/store/model.h"
#include <rt/go.h>
#include <rt/sync.h>

/* ---- Batches as text ---- */

static void describe_event(struct rt_string *out, struct rt_bytes event)
{
    struct fields f = fields_of(event);
    struct field it;
    assert_int_equal(fields_next(&f, &it), 1); // the tag it has in a WatchResponse
    assert_int_equal(it.number, 11);
    f = fields_of(it.bytes);
    const char *what = "PUT";
    while (fields_next(&f, &it) > 0) {
        if (it.number == 1)
            what = "DELETE";
        else {
            rt_string_printf(out, it.number == 2 ? " %s " : " was ", what);
            describe_kv(out, it.bytes);
        }
    }
}

static void describe_batch(struct rt_string *out, const struct store_watch_batch *b)
{
    static const char *const kinds[] = {"created", "events", "progress", "compacted", "canceled"};
    rt_string_printf(out, "%s %lld @%lld", kinds[b->kind], (long long)b->id,
                     (long long)b->revision);
    if (b->code)
        rt_string_printf(out, " code=%d", b->code);
    if (b->compact_revision)
        rt_string_printf(out, " compact=%lld", (long long)b->compact_revision);
    for (uint32_t i = 0; i < b->event_count; i++)
        describe_event(out, b->events[i]);
}

#define expect_batch(w, wanted)                                                                    \
    do {                                                                                           \
        struct store_watch_batch batch_;                                                           \
        struct rt_string text_ = {NULL, 0, 0};                                                     \
        assert_int_equal(store_watch_next((w), rt_after_ns(20 * RT_SECOND), &batch_), 0);          \
        describe_batch(&text_, &batch_);                                                           \
        store_watch_batch_deinit(&batch_);                                                         \
        expect_text(text_, wanted);                                                                \
    } while (0)

static void expect_silence(struct store_watch_stream *w)
{
    struct store_watch_batch b;
    assert_int_equal(store_watch_next(w, rt_after_ns(20 * RT_MS), &b), STORE_TIMEOUT);
}

#define W(...)                                                                                     \
    &(struct store_watch_options) { __VA_ARGS__ }

static void a_create_is_answered_as_in_etcd(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    for (int i = 0; i < 4; i++)
        put(&b, "a", "1"); // revisions 2 to 5
    compact(&b, 3);
    struct store_watch_stream *w = store_watch_open(b.s);
    store_watch_create(w, W(.key = B("x")));
    expect_batch(w, "created 0 @5");
    store_watch_create(w, W(.key = B("x"), .id = 7));
    expect_batch(w, "created 7 @5");
    assert_int_equal(store_watch_create(w, W(.key = B("x"), .id = 7)), STORE_WATCH_DUPLICATE_ID);
    expect_batch(w, "created -1 @5 code=-5225");
    store_watch_create(w, W(.key = B("x"), .id = 1));
    expect_batch(w, "created 1 @5");
    store_watch_create(w, W(.key = B("x")));
    expect_batch(w, "created 2 @5"); // 1 is taken
    assert_int_equal(store_watch_create(w, W(.key = B("x"), .range_end = B("x"))),
                     STORE_WATCH_EMPTY_RANGE);
    expect_batch(w, "created -1 @5 code=-5226");
    assert_int_equal(store_watch_create(w, W(.key = B("x"), .start_revision = -1)),
                     STORE_COMPACTED);
    expect_batch(w, "created -1 @5 code=-5201");
    store_watch_create(w, W(.key = B("x"), .start_revision = 2));
    expect_batch(w, "created 3 @1");
    expect_batch(w, "compacted 3 @0 code=-5201 compact=3");
    store_watch_cancel(w, 7);
    expect_batch(w, "canceled 7 @5");
    store_watch_cancel(w, 7); // unknown by now: silence
    expect_silence(w);
    store_watch_close(w);
    bench_close(&b);
}

static void events_carry_what_their_watch_asked_for(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "1");
    struct store_watch_stream *w = store_watch_open(b.s);
    store_watch_create(w, W(.key = B("a"), .prev_kv = true));
    expect_batch(w, "created 0 @2");
    put(&b, "a", "2");
    expect_batch(w, "events 0 @3 PUT a=2@2.3.2 was a=1@2.2.1");
    put(&b, "b", "2"); // not its key
    del(&b, "a");
    expect_batch(w, "events 0 @5 DELETE a=@0.5.0 was a=2@2.3.2");
    put(&b, "a", "3"); // a creation has nothing before it
    expect_batch(w, "events 0 @6 PUT a=3@6.6.1");
    store_watch_cancel(w, 0);
    expect_batch(w, "canceled 0 @6");
    store_watch_create(w, W(.key = B("a"), .range_end = B("c"), .filters = STORE_WATCH_NO_PUT,
                            .start_revision = 2));
    expect_batch(w, "created 1 @1");
    expect_batch(w, "events 1 @6 DELETE a=@0.5.0");
    store_watch_create(w, W(.range_end = FROM_HERE, .filters = STORE_WATCH_NO_DELETE));
    expect_batch(w, "created 2 @6");
    del(&b, "b");
    expect_batch(w, "events 1 @7 DELETE b=@0.7.0");
    put(&b, "zz", "1");
    expect_batch(w, "events 2 @8 PUT zz=1@8.8.1");
    store_watch_close(w);
    bench_close(&b);
}

static void history_comes_in_one_batch_and_joins_the_present(void **state)
{
    (void)state;
    for (int from_disk = 0; from_disk < 2; from_disk++) {
        struct bench b = {.s = NULL};
        bench_open(&b);
        put(&b, "a", "1");
        put(&b, "b", "2");
        put(&b, "a", "3");
        if (from_disk)
            bench_restart(&b); // the recent log is empty now
        struct store_watch_stream *w = store_watch_open(b.s);
        store_watch_create(w, W(.key = B("a"), .start_revision = 2));
        expect_batch(w, "created 0 @1");
        expect_batch(w, "events 0 @4 PUT a=1@2.2.1 PUT a=3@2.4.2");
        put(&b, "a", "4");
        expect_batch(w, "events 0 @5 PUT a=4@2.5.3");
        store_watch_close(w);
        bench_close(&b);
    }
}

static void a_watch_from_the_future_hears_nothing_older(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    struct store_watch_stream *w = store_watch_open(b.s);
    store_watch_create(w, W(.key = B("a"), .start_revision = 4, .progress_notify = true));
    expect_batch(w, "created 0 @1");
    store_watch_ask_progress(w); // not before its start is reached
    put(&b, "a", "2");
    store_watch_tick(w);
    expect_silence(w);
    put(&b, "a", "3");
    expect_batch(w, "progress -1 @3");
    put(&b, "a", "4");
    expect_batch(w, "events 0 @4 PUT a=4@2.4.3");
    store_watch_close(w);
    bench_close(&b);
}

static void progress_comes_after_the_events_it_speaks_of(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    struct store_watch_stream *w = store_watch_open(b.s);
    store_watch_ask_progress(w); // nothing is watched: nothing is said
    expect_silence(w);
    store_watch_create(w, W(.key = B("a"), .progress_notify = true));
    expect_batch(w, "created 0 @1");
    put(&b, "a", "2");
    put(&b, "b", "3");
    store_watch_ask_progress(w);
    expect_batch(w, "events 0 @2 PUT a=2@2.2.1");
    expect_batch(w, "progress -1 @3");
    store_watch_tick(w); // it had an event since the last tick
    expect_silence(w);
    store_watch_tick(w);
    expect_batch(w, "progress 0 @3");
    store_watch_close(w);
    bench_close(&b);
}

static void the_events_of_one_revision_stay_together(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    struct store_watch_stream *w = store_watch_open(b.s);
    grant(&b, 60, 9);
    for (int i = 0; i < 3; i++) {
        char key[8];
        model_key(key, i);
        put_full(&b, (struct put_args){.key = key, .value = "x", .lease = 9});
    }
    store_watch_create(w, W(.key = B("k"), .range_end = B("l")));
    expect_batch(w, "created 0 @4");
    revoke_lease(&b, 9);
    expect_batch(w, "events 0 @5 DELETE k00=@0.5.0 DELETE k01=@0.5.0 DELETE k02=@0.5.0");
    store_watch_close(w);
    bench_close(&b);
}

/* ---- The contract under load ---- */

enum { READERS = 6, WATCHES_EACH = 4, LOAD = 4000 };

struct heard {
    int64_t revision;
    bool deleted;
    char key[8];
    int64_t prev; // mod revision of prev_kv; 0: none
};

struct reader {
    struct store_watch_stream *w;
    struct {
        struct store_watch_options o;
        char from[8], to[8];
        struct heard *events;
        uint32_t count, cap;
        int64_t served; // revision of the last batch
        int64_t compacted;
    } watch[WATCHES_EACH];
    struct rt_sem permits; // a slow reader takes one for each batch
    _Atomic bool slow;
    _Atomic int64_t final; // leave at the progress that reaches it
    const char *broken;    // the promise that was
    struct rt_waitgroup *done;
};

static void parse_event(struct rt_bytes bytes, struct heard *h)
{
    struct fields f = fields_of(bytes), kv;
    struct field it, x;
    memset(h, 0, sizeof *h);
    fields_next(&f, &it);
    f = fields_of(it.bytes);
    while (fields_next(&f, &it) > 0) {
        if (it.number == 1)
            h->deleted = it.value;
        if (it.wire != FIELD_LEN)
            continue;
        kv = fields_of(it.bytes);
        while (fields_next(&kv, &x) > 0) {
            if (x.number == 1 && it.number == 2)
                memcpy(h->key, x.bytes.data, x.bytes.len < 7 ? x.bytes.len : 7);
            if (x.number == 3)
                *(it.number == 2 ? &h->revision : &h->prev) = (int64_t)x.value;
        }
    }
}

static void take_events(struct reader *r, const struct store_watch_batch *b)
{
    int64_t before = r->watch[b->id].served;
    for (uint32_t i = 0; i < b->event_count; i++) {
        if (r->watch[b->id].count == r->watch[b->id].cap) {
            r->watch[b->id].cap = r->watch[b->id].cap ? 2 * r->watch[b->id].cap : 256;
            r->watch[b->id].events =
                realloc(r->watch[b->id].events, r->watch[b->id].cap * sizeof(struct heard));
        }
        struct heard *h = &r->watch[b->id].events[r->watch[b->id].count++];
        parse_event(b->events[i], h);
        if (h->revision <= before)
            r->broken = "a revision came in two batches, or again";
        if (h->revision > b->revision)
            r->broken = "an event is newer than its batch says";
    }
    r->watch[b->id].served = b->revision;
}

static void read_stream(void *arg)
{
    struct reader *r = arg;
    for (int over = 0;;) {
        struct store_watch_batch b;
        if (atomic_load(&r->slow))
            rt_sem_acquire(&r->permits, 1, RT_FOREVER);
        int err = store_watch_next(r->w, rt_after_ns(60 * RT_SECOND), &b);
        if (err) {
            r->broken = "a stream fell silent before its end";
            break;
        }
        bool last = false;
        if (b.kind == STORE_WATCH_EVENTS)
            take_events(r, &b);
        else if (b.kind == STORE_WATCH_COMPACTED) {
            r->watch[b.id].compacted = b.compact_revision;
            last = ++over == WATCHES_EACH; // nothing is left that could have progress
        } else if (b.kind == STORE_WATCH_PROGRESS)
            last = atomic_load(&r->final) && b.revision >= atomic_load(&r->final);
        store_watch_batch_deinit(&b);
        if (last)
            break;
    }
    rt_waitgroup_done(r->done);
}

static uint64_t random_state;
static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void load(struct bench *b, struct model *m)
{
    char from[8], to[8];
    model_begin(m);
    model_key(from, (int)draw(MODEL_KEYS));
    if (draw(5) == 0) {
        model_key(to, (int)draw(MODEL_KEYS + 1));
        model_delete(m, from, to);
        delete_full(b, (struct delete_args){.key = from, .end = B(to)});
    } else {
        model_put(m, from, "v", 0);
        put(b, from, "v");
    }
    model_end(m);
}

/* What a watch should have heard: every row of the model that it wants, up to where it was cut. */
static const char *check_watch(const struct model *m, struct reader *r, int k)
{
    uint32_t next = 0;
    const struct store_watch_options *o = &r->watch[k].o;
    int64_t cut = r->watch[k].compacted ? r->watch[k].served : INT64_MAX;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_row *row = &m->rows[i];
        if (row->main < o->start_revision || row->main > cut)
            continue;
        if (strcmp(row->key, r->watch[k].from) < 0 || strcmp(row->key, r->watch[k].to) >= 0)
            continue;
        if (o->filters & (row->tombstone ? STORE_WATCH_NO_DELETE : STORE_WATCH_NO_PUT))
            continue;
        if (next == r->watch[k].count)
            return "an event is missing at the end";
        const struct heard *h = &r->watch[k].events[next++];
        if (h->revision != row->main || strcmp(h->key, row->key) || h->deleted != row->tombstone)
            return "an event is missing or out of order";
        const struct model_row *prev = model_find(m, row->key, row->main, 0);
        if (o->prev_kv && prev && prev->main > m->compact && h->prev != prev->main)
            return "the pair before an event is wrong";
        if (h->prev && (!o->prev_kv || !prev || prev->main != h->prev))
            return "an event has a pair before it that it should not have";
    }
    return next == r->watch[k].count ? NULL : "an event too many";
}

static void create_watches(struct reader *r, const struct model *m)
{
    for (int k = 0; k < WATCHES_EACH; k++) {
        int first = (int)draw(MODEL_KEYS);
        bool one = draw(3) == 0;
        model_key(r->watch[k].from, first);
        model_key(r->watch[k].to, one ? first + 1 : first + 1 + (int)draw(MODEL_KEYS));
        r->watch[k].o = (struct store_watch_options){
            .id = k,
            .key = B(r->watch[k].from),
            .range_end = one ? B("") : B(r->watch[k].to),
            .start_revision = m->compact + (int64_t)draw((uint64_t)(m->revision - m->compact) + 5),
            .filters = draw(4) == 0 ? 1 + (uint32_t)draw(2) : 0,
            .prev_kv = draw(2),
        };
        if (r->watch[k].o.start_revision <= 0)
            r->watch[k].o.start_revision = 1;
        assert_int_equal(store_watch_create(r->w, &r->watch[k].o), 0);
    }
}

static void every_watch_hears_every_event_once_and_in_order(void **state)
{
    (void)state;
    const char *seed = getenv("KVD_SEED");
    struct bench b = {
        .options = {.recent_bytes = 64 << 10, .flush_interval_ms = 1, .compact_slice_rows = 50}};
    struct model m;
    struct rt_waitgroup done = {.count = 0};
    struct reader *readers = calloc(READERS, sizeof *readers);
    uint64_t first = seed ? strtoull(seed, NULL, 0) : 2;
    random_state = first * 2 + 1;
    printf("# KVD_SEED=%llu\n", (unsigned long long)first);
    bench_open(&b);
    model_init(&m);
    for (int i = 0; i < 300; i++)
        load(&b, &m);
    for (int i = 0; i < READERS; i++) {
        readers[i].w = store_watch_open(b.s);
        readers[i].slow = i % 2;
        readers[i].done = &done;
        create_watches(&readers[i], &m);
        rt_waitgroup_add(&done, 1);
        assert_int_equal(rt_go("reader", read_stream, &readers[i]), 0);
    }
    for (int i = 0; i < LOAD; i++) {
        load(&b, &m);
        if (i % 6 == 0)
            for (int k = 0; k < READERS; k++)
                rt_sem_release(&readers[k].permits, 1);
        if (i == LOAD / 2) {
            m.compact = m.revision - 550;
            assert_int_equal(compact(&b, m.compact), 0);
        }
    }
    for (int i = 0; i < READERS; i++) {
        // A slow one goes at full speed from here, and leaves at the progress that covers all.
        readers[i].final = m.revision;
        atomic_store(&readers[i].slow, false);
        rt_sem_release(&readers[i].permits, 1 << 20);
        store_watch_ask_progress(readers[i].w);
    }
    assert_int_equal(rt_waitgroup_wait(&done, rt_after_ns(120 * RT_SECOND)), 0);
    uint64_t events = 0, compacted = 0;
    for (int i = 0; i < READERS; i++) {
        if (readers[i].broken)
            fail_msg("reader %d: %s", i, readers[i].broken);
        for (int k = 0; k < WATCHES_EACH; k++) {
            const char *wrong = check_watch(&m, &readers[i], k);
            if (wrong)
                fail_msg("reader %d, watch %d [%s, %s) from %lld: %s", i, k,
                         readers[i].watch[k].from, readers[i].watch[k].to,
                         (long long)readers[i].watch[k].o.start_revision, wrong);
            events += readers[i].watch[k].count;
            compacted += readers[i].watch[k].compacted != 0;
            free(readers[i].watch[k].events);
        }
        store_watch_close(readers[i].w);
    }
    printf("# %llu events to %d watches, %llu overtaken by the compaction\n",
           (unsigned long long)events, READERS * WATCHES_EACH, (unsigned long long)compacted);
    bench_close(&b);
    free(readers);
    free(m.rows);
}

RT_TEST_GROUP(group, ((const struct CMUnitTest[]){
                         cmocka_unit_test(a_create_is_answered_as_in_etcd),
                         cmocka_unit_test(events_carry_what_their_watch_asked_for),
                         cmocka_unit_test(history_comes_in_one_batch_and_joins_the_present),
                         cmocka_unit_test(a_watch_from_the_future_hears_nothing_older),
                         cmocka_unit_test(progress_comes_after_the_events_it_speaks_of),
                         cmocka_unit_test(the_events_of_one_revision_stay_together),
                         cmocka_unit_test(every_watch_hears_every_event_once_and_in_order),
                     }))

int main(void) { return rt_test_main(NULL, group); }

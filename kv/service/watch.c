/* kv/service/watch.c: the Watch service. A stream is two goroutines: the call's own reads requests and
 * turns them into watches; another takes batches from the store and sends them.
 *
 *     client --> receive: create, cancel, progress --> store_watch_stream --> send --> client
 *
 * A sender that cannot go on says why and wakes the receiver; the receiver, when it is over for
 * whatever reason, shuts the store's stream, waits for the sender and cleans up. The store answers creates in the order of the requests, so a
 * ring of "may be fragmented" bits goes along with them. */
#include "kv/service/serve.h"
#include "rt/go.h"
#include <assert.h>
#include <errno.h>

struct watch_call {
    struct service *s;
    struct grpc_call *call;
    struct store_watch_stream *stream;
    struct leader_call watched;
    _Atomic int ended; // 0, or why the sender is over: a code, or -errno
    struct rt_note sender_ended;
    struct rt_sem creates; // places in the ring
    _Atomic uint64_t
        may_fragment[SERVICE_CREATES_MAX / 64]; // a place is written before its create is
                                                // made; its neighbours are read meanwhile
    uint32_t created_at;                        // receiver only: next place to write
    uint32_t answered_at;                       // sender only: next place to read
    int64_t *fragmented;                        // sender only: ids of watches that may be cut
    uint32_t fragmented_count, fragmented_cap;
};

/* ---- The sender ---- */

static const char *refusal(int code)
{
    switch (code) {
    case STORE_WATCH_DUPLICATE_ID:
        return "mvcc: duplicate watch ID provided on the WatchStream";
    case STORE_WATCH_EMPTY_RANGE:
        return "mvcc: watcher range is empty";
    case STORE_COMPACTED:
        return service_status_text(STATUS_COMPACTED);
    default:
        return store_error_words(code);
    }
}

static void learn_fragment(struct watch_call *w, const struct store_watch_batch *batch)
{
    uint32_t place = w->answered_at++ % SERVICE_CREATES_MAX;
    bool may = atomic_load(&w->may_fragment[place / 64]) >> place % 64 & 1;
    rt_sem_release(&w->creates, 1);
    if (!may || batch->code)
        return;
    if (w->fragmented_count == w->fragmented_cap) {
        w->fragmented_cap = w->fragmented_cap ? 2 * w->fragmented_cap : 4;
        w->fragmented = rt_realloc(w->fragmented, w->fragmented_cap * sizeof *w->fragmented);
    }
    w->fragmented[w->fragmented_count++] = batch->id;
}

static bool is_fragmented(const struct watch_call *w, int64_t id)
{
    for (uint32_t i = 0; i < w->fragmented_count; i++)
        if (w->fragmented[i] == id)
            return true;
    return false;
}

static void forget_fragment(struct watch_call *w, int64_t id)
{
    for (uint32_t i = 0; i < w->fragmented_count; i++)
        if (w->fragmented[i] == id) {
            w->fragmented[i] = w->fragmented[--w->fragmented_count];
            return;
        }
}

/* Everything of a WatchResponse but its events. */
static void add_head(struct watch_call *w, struct rt_string *out, const struct store_watch_batch *b,
                     bool fragment)
{
    serve_add_header(w->s, out, b->kind == STORE_WATCH_COMPACTED ? 0 : b->revision);
    bool refused = b->kind == STORE_WATCH_CREATED && b->code;
    field_add_int(out, 2, b->id);
    field_add_uint(out, 3, b->kind == STORE_WATCH_CREATED);
    field_add_uint(out, 4,
                   refused || b->kind == STORE_WATCH_CANCELED || b->kind == STORE_WATCH_COMPACTED);
    if (b->kind == STORE_WATCH_COMPACTED)
        field_add_int(out, 5, b->compact_revision);
    if (refused)
        field_add_text(out, 6, refusal(b->code));
    field_add_uint(out, 7, fragment);
}

/* Events [from, to) as parts that stay where they are; neighbours in memory become one. How many, or 0
 * when they are scattered too widely: then no reference is held. */
static uint32_t gather_events(const struct store_watch_batch *b, uint32_t from, uint32_t to,
                              struct grpc_part *parts, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = from; i < to; i++) {
        struct rt_bytes event = b->events[i];
        struct rt_bytes *last = count ? &parts[count - 1].bytes : NULL;
        if (last && last->data + last->len == event.data) {
            last->len += event.len;
        } else if (count < max) {
            parts[count++] = (struct grpc_part){.bytes = event, .owner = rt_buf_ref(b->buf)};
        } else {
            while (count > 0)
                rt_buf_unref(parts[--count].owner);
            break;
        }
    }
    return count;
}

/* Send events [from, to) of a batch, which may be none, as one message. */
static int send_events(struct watch_call *w, const struct store_watch_batch *b, uint32_t from,
                       uint32_t to)
{
    struct grpc_part parts[SERVICE_PARTS_MAX];
    struct rt_string head = {0};
    add_head(w, &head, b, to < b->event_count);
    uint32_t count = gather_events(b, from, to, parts + 1, SERVICE_PARTS_MAX - 1);
    for (uint32_t i = from; i < to && count == 0; i++)
        rt_string_append(&head, b->events[i].data, b->events[i].len);
    parts[0] = (struct grpc_part){.bytes = rt_bytes(head.data, head.len)};
    int err = grpc_send(w->call, parts, count + 1, RT_FOREVER);
    rt_string_deinit(&head);
    return err;
}

static int send_batch(struct watch_call *w, const struct store_watch_batch *b)
{
    if (b->kind == STORE_WATCH_CREATED)
        learn_fragment(w, b);
    if (b->kind == STORE_WATCH_CANCELED || b->kind == STORE_WATCH_COMPACTED)
        forget_fragment(w, b->id);
    size_t limit = w->s->config.max_request_bytes + (size_t)SERVICE_FRAGMENT_EXTRA;
    if (b->event_bytes <= limit || !is_fragmented(w, b->id))
        return send_events(w, b, 0, b->event_count);
    uint32_t from = 0;
    while (from < b->event_count) { // at least one event each: a single one is never cut
        uint32_t to = from;
        size_t bytes = 0;
        while (to < b->event_count && (to == from || bytes + b->events[to].len <= limit))
            bytes += b->events[to++].len;
        int err = send_events(w, b, from, to);
        if (err)
            return err;
        from = to;
    }
    return 0;
}

/* Progress is told at an interval and up to a tenth of it, so that streams do not tick together. */
static int64_t next_tick_ns(const struct service *s)
{
    int64_t interval = s->config.progress_notify_ns;
    return rt_after_ns(interval + (int64_t)(rt_random_u64() % (uint64_t)(interval / 10 + 1)));
}

/* The next batch to the client. 0, or why the stream is over. */
static int send_next(struct watch_call *w, int64_t *tick_ns)
{
    // Checked first, so that a busy watch does not silence the idle ones beside it.
    if (rt_now_ns() >= *tick_ns) {
        store_watch_tick(w->stream);
        *tick_ns = next_tick_ns(w->s);
    }
    struct store_watch_batch batch;
    int err = store_watch_next(w->stream, *tick_ns, &batch);
    if (err)
        return err == STORE_TIMEOUT ? 0 : err;
    err = send_batch(w, &batch);
    store_watch_batch_deinit(&batch);
    return err;
}

static void send_all(void *arg)
{
    struct watch_call *w = arg;
    int64_t tick_ns = next_tick_ns(w->s);
    int err = 0;
    while (err == 0)
        err = send_next(w, &tick_ns);
    atomic_store(&w->ended, err);
    rt_sem_release(&w->creates, SERVICE_CREATES_MAX); // the receiver waits no more
    grpc_call_wake(w->call);
    rt_note_set(&w->sender_ended); // and it may return now
}

/* ---- The receiver ---- */

/* Unknown filters are of a newer API: ignored, as etcd does. */
static uint32_t filter_of(uint64_t value)
{
    return value == 0 ? STORE_WATCH_NO_PUT : value == 1 ? STORE_WATCH_NO_DELETE : 0;
}

static int read_packed_filters(struct rt_bytes packed, uint32_t *filters)
{
    struct fields f = fields_of(packed);
    uint64_t value;
    int err = 0;
    while (err == 0 && f.next < f.end) {
        err = fields_varint(&f, &value);
        if (err == 0)
            *filters |= filter_of(value);
    }
    return err;
}

static int read_create(struct rt_bytes message, struct store_watch_options *o, bool *may_fragment)
{
    struct fields f = fields_of(message);
    struct field it;
    int more;
    while ((more = fields_next(&f, &it)) > 0) {
        int err = 0;
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN):
            o->key = it.bytes;
            break;
        case FIELD_KEY(2, FIELD_LEN):
            o->range_end = it.bytes;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            o->start_revision = (int64_t)it.value;
            break;
        case FIELD_KEY(4, FIELD_VARINT):
            o->progress_notify = it.value != 0;
            break;
        case FIELD_KEY(5, FIELD_VARINT):
            o->filters |= filter_of(it.value);
            break;
        case FIELD_KEY(5, FIELD_LEN):
            err = read_packed_filters(it.bytes, &o->filters);
            break;
        case FIELD_KEY(6, FIELD_VARINT):
            o->prev_kv = it.value != 0;
            break;
        case FIELD_KEY(7, FIELD_VARINT):
            o->id = (int64_t)it.value;
            break;
        case FIELD_KEY(8, FIELD_VARINT):
            *may_fragment = it.value != 0;
            break;
        }
        if (err)
            return err;
    }
    return more;
}

static int create(struct watch_call *w, struct rt_bytes message)
{
    struct store_watch_options options = {0};
    bool may_fragment = false;
    int err = read_create(message, &options, &may_fragment);
    if (err)
        return err;
    rt_sem_acquire(&w->creates, 1, RT_FOREVER);
    uint32_t place = w->created_at++ % SERVICE_CREATES_MAX;
    uint64_t bit = UINT64_C(1) << place % 64;
    if (may_fragment)
        atomic_fetch_or(&w->may_fragment[place / 64], bit);
    else
        atomic_fetch_and(&w->may_fragment[place / 64], ~bit);
    store_watch_create(w->stream, &options); // its answer, also a refusal, comes as a batch
    return 0;
}

static int cancel(struct watch_call *w, struct rt_bytes message)
{
    uint64_t id;
    int err = serve_read_numbers(message, &id, 1);
    if (err == 0)
        store_watch_cancel(w->stream, (int64_t)id);
    return err;
}

/* WatchRequest: a oneof, so the last member counts. */
static int take_request(struct watch_call *w, struct rt_bytes message)
{
    struct fields f = fields_of(message);
    struct field it, last = {0};
    int more;
    while ((more = fields_next(&f, &it)) > 0)
        if (it.wire == FIELD_LEN && it.number >= 1 && it.number <= 3)
            last = it;
    if (more < 0)
        return more;
    switch (last.number) {
    case 1:
        return create(w, last.bytes);
    case 2:
        return cancel(w, last.bytes);
    case 3:
        store_watch_ask_progress(w->stream);
        return 0;
    default:
        return 0;
    }
}

/* Requests until the client has no more: 0; or why the stream is over. */
static int receive_all(struct watch_call *w)
{
    for (;;) {
        struct rt_buf *request = NULL;
        int got = grpc_recv(w->call, &request, RT_FOREVER);
        if (got != 1 && got != -EAGAIN)
            return got;
        int err = atomic_load(&w->ended);
        if (err == 0 && atomic_load(&w->watched.lost))
            err = MEMBER_NO_LEADER;
        if (err == 0 && got == 1)
            err = take_request(w, rt_buf_bytes(request));
        rt_buf_unref(request);
        if (err)
            return err;
    }
}

enum grpc_done serve_watch(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    (void)message; // they come by grpc_recv
    struct watch_call *w = rt_alloc_zero(sizeof *w);
    w->s = s;
    w->call = call;
    w->creates.count = SERVICE_CREATES_MAX;
    w->stream = store_watch_open(s->store);
    int err = rt_go("watch-sender", send_all, w); // ends when the store's stream is shut
    if (err) {
        err = MEMBER_TOO_MANY;
    } else {
        leader_call_enter(s, &w->watched, call);
        err = receive_all(w);
        leader_call_leave(s, &w->watched);
        store_watch_shut(w->stream);
        rt_note_wait(&w->sender_ended, RT_FOREVER);
    }
    store_watch_close(w->stream);
    rt_free(w->fragmented);
    rt_free(w);
    if (err)
        serve_fail(s, call, err);
    return GRPC_DONE;
}

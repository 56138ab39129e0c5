/* kv/member/snapshot.c: the leader's side: an image is opened when raft asks, streamed when raft sends.
 *
 * An image that nobody takes is closed when a newer one is asked for, or with the member. A stream is
 * throttled so that it leaves the network and the disk to the heartbeats and the log. */
#include "kv/member/snapshot.h"
#include "kv/member/core_ready.h"
#include "kv/member/crc.h"
#include "kv/member/parts.h"
#include "kv/member/peer_io.h"
#include <assert.h>
#include <inttypes.h>
#include <rt/go.h>

enum {
    STREAM_BYTES_PER_S = 100 << 20,
    WRITE_MS = 10000,      // for one chunk
    RESULT_MS = 60000,     // the follower makes the image durable before it answers
    FRESH_ENTRIES = 50000, // an image that lags no more than this behind the durable store is good
};

static struct snapshot_image *image_of(struct rt_buf *block)
{
    return (struct snapshot_image *)block->data;
}

static void image_release(struct rt_buf *block)
{
    struct snapshot_image *it = image_of(block);
    if (it->image)
        store_image_close(it->image);
    rt_free(block);
}

/* ---- Opening ---- */

static void open_main(void *arg)
{
    struct member *m = arg;
    struct snapshots *s = &m->snapshots;
    struct store_image *image;
    struct store_image_meta meta;
    struct rt_buf *block = NULL;
    int err = store_image_open(m->store, &image, &meta);
    if (!err && meta.index) {
        block = rt_buf_new(sizeof(struct snapshot_image));
        block->len = sizeof(struct snapshot_image);
        block->release = image_release;
        *image_of(block) = (struct snapshot_image){
            .m = m, .image = image, .index = meta.index, .term = meta.term, .bytes = meta.bytes};
    } else if (!err) {
        store_image_close(image); // nothing durable yet: the log has everything
    } else {
        rt_log(m->log, RT_LOG_WARN, "cannot read the store for a snapshot",
               rt_f_str("why", store_error_words(err)));
    }
    rt_mutex_lock(&s->lock);
    struct rt_buf *old = s->ready;
    s->ready = block;
    s->opening = false;
    rt_mutex_unlock(&s->lock);
    rt_buf_unref(old);
    core_post_event(m, CORE_IMAGE_READY, RAFT_NONE, block != NULL);
    rt_waitgroup_done(&m->helpers);
}

static void open_in_background(struct member *m)
{
    rt_waitgroup_add(&m->helpers, 1);
    if (rt_go("snapshot-open", open_main, m)) { // ends when the image is open
        m->snapshots.opening = false;
        rt_waitgroup_done(&m->helpers);
    }
}

/* An image that can still be followed by entries of the log, and is not much older than it could be. */
static bool is_good(struct member *m, const struct rt_buf *block)
{
    const struct snapshot_image *it = (const struct snapshot_image *)block->data;
    return it->index + 1 >= m->core.log.first &&
           it->index + FRESH_ENTRIES >= store_durable_index(m->store);
}

int snapshot_for_raft(struct member *m, uint64_t to, struct raft_snapshot *out)
{
    struct snapshots *s = &m->snapshots;
    struct rt_buf *block = NULL;
    (void)to;
    rt_mutex_lock(&s->lock);
    if (s->ready && s->streams < MEMBER_SNAPSHOTS_OUT && is_good(m, s->ready)) {
        block = s->ready;
        s->ready = NULL;
    } else if (!s->opening && s->streams < MEMBER_SNAPSHOTS_OUT && !atomic_load(&m->stopping)) {
        s->opening = true;
        open_in_background(m);
    }
    rt_mutex_unlock(&s->lock);
    if (!block)
        return RAFT_LATER;
    struct snapshot_image *it = image_of(block);
    struct raft_conf_state conf;
    if (!core_conf_at(m, it->index, &conf)) {
        rt_buf_unref(block);
        return RAFT_LATER;
    }
    *out =
        (struct raft_snapshot){.index = it->index, .term = it->term, .conf = conf, .block = block};
    return 0;
}

/* ---- Streaming ---- */

struct stream {
    struct member *m;
    struct raft_message message;
    struct raft_snapshot snapshot; // holds the block's reference
};

static int wait_result(struct rt_conn *conn, struct why *why)
{
    struct frame frame;
    struct rt_buf *payload;
    struct peer_snapshot_result result;
    rt_conn_set_read_deadline(conn, rt_after_ns(RESULT_MS * RT_MS));
    int err = peer_read_frame(conn, PEER_TALK_BYTES, &frame, &payload);
    if (err) {
        why_set(why, "the follower did not say that it has it all");
        return err;
    }
    if (frame.kind != FRAME_SNAPSHOT_RESULT ||
        peer_get_snapshot_result(rt_buf_bytes(payload), &result)) {
        why_set(why, "the follower answers what no member answers");
        err = MEMBER_MALFORMED;
    } else if (!result.installed) {
        why_set(why, "the follower refuses it: %s", result.why);
        err = MEMBER_REFUSED;
    }
    rt_buf_unref(payload);
    return err;
}

static int stream_rows(struct stream *s, struct rt_conn *conn, struct frame_batch *batch,
                       struct why *why)
{
    struct snapshot_image *it = image_of(s->snapshot.block);
    struct rt_string chunk = {0};
    struct peer_snapshot_end end = {0};
    int64_t begun = rt_now_ns();
    int more, err = 0;
    while (!err && (more = store_image_next(it->image, MEMBER_SNAPSHOT_CHUNK_BYTES, &chunk)) == 1) {
        assert(chunk.len <= MEMBER_FRAME_BYTES);
        frame_begin(batch, FRAME_SNAPSHOT_ROWS);
        frame_add_view(batch, rt_bytes(chunk.data, chunk.len));
        frame_end(batch);
        end.bytes += chunk.len;
        end.crc = member_crc32c(end.crc, chunk.data, chunk.len);
        rt_conn_set_write_deadline(conn, rt_after_ns(WRITE_MS * RT_MS));
        err = peer_write_batch(conn, batch);
        chunk.len = 0;
        if (!err && atomic_load(&s->m->stopping))
            err = MEMBER_STOPPED;
        rt_sleep_until(begun + (int64_t)(end.bytes * 1000 / (STREAM_BYTES_PER_S / 1000000)));
    }
    rt_string_deinit(&chunk);
    if (err) {
        why_set(why, "the stream broke after %" PRIu64 " bytes", end.bytes);
        return err;
    }
    if (more < 0) {
        why_set(why, "the store's image ended early: %s", store_error_words(more));
        return more;
    }
    peer_put_snapshot_end(batch, &end);
    err = peer_write_batch(conn, batch);
    return err ? err : wait_result(conn, why);
}

/* Where snapshots_stop finds the connection of a stream. False: it was there already. */
static bool enlist(struct snapshots *s, struct rt_conn *conn)
{
    rt_mutex_lock(&s->lock);
    bool go_on = !s->stopped;
    for (int i = 0; i < MEMBER_SNAPSHOTS_OUT && go_on; i++)
        if (!s->out[i]) {
            s->out[i] = conn;
            break;
        }
    rt_mutex_unlock(&s->lock);
    return go_on;
}

static void delist(struct snapshots *s, struct rt_conn *conn)
{
    rt_mutex_lock(&s->lock);
    for (int i = 0; i < MEMBER_SNAPSHOTS_OUT; i++)
        if (s->out[i] == conn)
            s->out[i] = NULL;
    rt_mutex_unlock(&s->lock);
}

void snapshots_stop(struct member *m)
{
    struct snapshots *s = &m->snapshots;
    rt_mutex_lock(&s->lock);
    s->stopped = true;
    for (int i = 0; i < MEMBER_SNAPSHOTS_OUT; i++)
        if (s->out[i])
            rt_conn_close(s->out[i]);
    rt_mutex_unlock(&s->lock);
}

static int stream_to(struct stream *s, struct peer *p, struct why *why)
{
    struct rt_conn *conn;
    struct frame_batch batch = {0};
    int err = peer_connect(p, PEER_STREAM_SNAPSHOT, &conn, why);
    if (err)
        return err;
    struct raft_message begin = s->message;
    begin.snapshot = &s->snapshot;
    peer_put_snapshot_begin(&batch, &begin);
    rt_conn_set_write_deadline(conn, rt_after_ns(WRITE_MS * RT_MS));
    err = enlist(&s->m->snapshots, conn) ? peer_write_batch(conn, &batch) : MEMBER_STOPPED;
    if (!err)
        err = stream_rows(s, conn, &batch, why);
    delist(&s->m->snapshots, conn);
    frame_batch_deinit(&batch);
    rt_conn_close(conn);
    rt_conn_unref(conn);
    return err;
}

static void stream_main(void *arg)
{
    struct stream *s = arg;
    struct member *m = s->m;
    struct why why = {{0}};
    int64_t begun = rt_now_ns();
    uint64_t to = s->message.to;
    struct peer *p = peers_find(m, to);
    int err = p ? stream_to(s, p, &why) : MEMBER_REFUSED;
    if (err)
        rt_log(m->log, RT_LOG_WARN, "a snapshot did not reach its follower", rt_f_hex("to", to),
               rt_f_uint("snapshot-index", s->snapshot.index), rt_f_str("why", why.text));
    else
        rt_log(m->log, RT_LOG_INFO, "sent merged snapshot", rt_f_hex("to", to),
               rt_f_uint("snapshot-index", s->snapshot.index),
               rt_f_duration("took", rt_now_ns() - begun));
    rt_buf_unref(s->snapshot.block);
    rt_free(s);
    rt_mutex_lock(&m->snapshots.lock);
    m->snapshots.streams--;
    rt_mutex_unlock(&m->snapshots.lock);
    core_post_event(m, CORE_SNAPSHOT_SENT, to, err == 0);
    rt_waitgroup_done(&m->helpers);
}

void snapshot_send(struct member *m, struct raft_message *message)
{
    struct stream *s = rt_alloc(sizeof(*s));
    assert(message->snapshot);
    *s = (struct stream){.m = m, .message = *message, .snapshot = *message->snapshot};
    s->message.snapshot = NULL;
    s->message.entries = NULL;
    s->message.count = 0;
    rt_buf_ref(s->snapshot.block); // the message gives its own reference back
    rt_mutex_lock(&m->snapshots.lock);
    m->snapshots.streams++;
    rt_mutex_unlock(&m->snapshots.lock);
    rt_waitgroup_add(&m->helpers, 1);
    if (rt_go("snapshot-send", stream_main, s)) { // ends with the stream
        rt_buf_unref(s->snapshot.block);
        core_post_event(m, CORE_SNAPSHOT_SENT, s->message.to, false);
        rt_free(s);
        rt_mutex_lock(&m->snapshots.lock);
        m->snapshots.streams--;
        rt_mutex_unlock(&m->snapshots.lock);
        rt_waitgroup_done(&m->helpers);
    }
}

void snapshots_deinit(struct member *m)
{
    rt_buf_unref(m->snapshots.ready);
    m->snapshots.ready = NULL;
}

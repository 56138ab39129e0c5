/* kv/member/snapshot_in.c: the follower's side: rows go into an install beside the store. Only a complete
 * image, its checksum right, reaches raft; only one that raft accepts is installed (apply.c). */
#include "kv/member/crc.h"
#include "kv/member/parts.h"
#include "kv/member/peer_io.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    READ_MS = 30000, // without a chunk for so long the stream is over
    WRITE_MS = 5000,
};

static void in_release(struct rt_buf *block)
{
    struct snapshot_in *in = (struct snapshot_in *)block->data;
    if (in->install)
        store_install_abort(in->install); // raft did not want it
    rt_mutex_lock(&in->m->snapshots.lock);
    in->m->snapshots.receiving = false;
    rt_mutex_unlock(&in->m->snapshots.lock);
    rt_free(block);
}

static bool begin_receiving(struct member *m)
{
    rt_mutex_lock(&m->snapshots.lock);
    bool first = !m->snapshots.receiving;
    m->snapshots.receiving = true;
    rt_mutex_unlock(&m->snapshots.lock);
    return first;
}

static int read_rows(struct rt_conn *conn, struct store_install *install, struct why *why)
{
    uint64_t bytes = 0;
    uint32_t crc = 0;
    for (;;) {
        struct frame frame;
        struct rt_buf *payload;
        rt_conn_set_read_deadline(conn, rt_after_ns(READ_MS * RT_MS));
        int err = peer_read_frame(conn, MEMBER_FRAME_BYTES, &frame, &payload);
        if (err) {
            why_set(why, "the stream ended after %" PRIu64 " bytes", bytes);
            return err;
        }
        if (frame.kind == FRAME_SNAPSHOT_ROWS) {
            bytes += payload->len;
            crc = member_crc32c(crc, payload->data, payload->len);
            err = store_install_chunk(install, rt_buf_bytes(payload), why);
            rt_buf_unref(payload);
            if (err)
                return err;
            continue;
        }
        struct peer_snapshot_end end;
        bool whole = frame.kind == FRAME_SNAPSHOT_END &&
                     peer_get_snapshot_end(rt_buf_bytes(payload), &end) == 0 &&
                     end.bytes == bytes && end.crc == crc;
        rt_buf_unref(payload);
        if (whole)
            return 0;
        why_set(why, "the rows are not those that were sent");
        return MEMBER_MALFORMED;
    }
}

static void answer(struct rt_conn *conn, bool installed, const char *why)
{
    struct frame_batch batch = {0};
    struct peer_snapshot_result result = {.installed = installed};
    snprintf(result.why, sizeof(result.why), "%s", why);
    peer_put_snapshot_result(&batch, &result);
    rt_conn_set_write_deadline(conn, rt_after_ns(WRITE_MS * RT_MS));
    (void)peer_write_batch(conn, &batch); // a lost answer: the leader sends another snapshot
    frame_batch_deinit(&batch);
}

/* Hand message and image to raft. */
static void deliver(struct member *m, struct peer_inbound *begin, struct rt_buf *block)
{
    struct core_message *message = rt_alloc(sizeof(*message));
    *message = (struct core_message){
        .item.kind = CORE_MESSAGE,
        .in = begin,
        .snapshot = block,
        .received_ns = rt_now_ns(),
    };
    core_post(m, &message->item);
}

/* Apply believes the message: what was streamed must be what it speaks of. */
static int check_image(const struct store_install *install, const struct raft_snapshot *wanted,
                       struct why *why)
{
    struct store_image_meta meta;
    store_install_meta(install, &meta);
    if (meta.index == wanted->index && meta.term == wanted->term)
        return 0;
    why_set(why,
            "the image ends at index %" PRIu64 " of term %" PRIu64
            ", the message speaks of %" PRIu64 " of term %" PRIu64,
            meta.index, meta.term, wanted->index, wanted->term);
    return MEMBER_MALFORMED;
}

static int receive(struct member *m, uint64_t from, struct rt_conn *conn, struct why *why)
{
    struct frame frame;
    struct rt_buf *payload;
    struct peer_inbound *begin;
    struct store_install *install;
    rt_conn_set_read_deadline(conn, rt_after_ns(READ_MS * RT_MS));
    int err = peer_read_frame(conn, PEER_TALK_BYTES, &frame, &payload);
    if (err)
        return err;
    err = frame.kind == FRAME_SNAPSHOT_BEGIN
              ? peer_get_snapshot_begin(payload, rt_buf_bytes(payload), &begin)
              : MEMBER_MALFORMED;
    rt_buf_unref(payload);
    if (err)
        return err;
    if (begin->message.from != from || begin->message.to != m->id) {
        peer_inbound_free(begin);
        return MEMBER_MALFORMED;
    }
    err = store_install_begin(m->store, &install, why);
    if (!err) {
        err = read_rows(conn, install, why);
        if (!err)
            err = check_image(install, &begin->snapshot, why);
        if (err)
            store_install_abort(install);
    }
    if (err) {
        peer_inbound_free(begin);
        return err;
    }
    struct rt_buf *block = rt_buf_new(sizeof(struct snapshot_in));
    block->len = sizeof(struct snapshot_in);
    block->release = in_release;
    *(struct snapshot_in *)block->data = (struct snapshot_in){
        .m = m,
        .install = install,
        .index = begin->snapshot.index,
        .term = begin->snapshot.term,
        .from = from,
    };
    deliver(m, begin, block);
    return 0;
}

void snapshot_receive(struct member *m, uint64_t from, struct rt_conn *conn)
{
    struct why why = {{0}};
    if (!begin_receiving(m)) {
        answer(conn, false, "another snapshot is on its way in");
        return;
    }
    rt_log(m->log, RT_LOG_INFO, "receiving a snapshot", rt_f_hex("from", from));
    int err = receive(m, from, conn, &why);
    if (err) {
        rt_mutex_lock(&m->snapshots.lock);
        m->snapshots.receiving = false;
        rt_mutex_unlock(&m->snapshots.lock);
        rt_log(m->log, RT_LOG_WARN, "a snapshot did not arrive", rt_f_hex("from", from),
               rt_f_str("why", why.text));
    }
    answer(conn, err == 0, why.text);
}

/* kv/member/peer_codec.c: raft's messages to frames and back; the small messages are in
 * peer_talk.c. */
#include "kv/member/peer_codec.h"
#include "kv/member/errors.h"
#include "kv/member/limits.h"
#include "kv/member/peer_fields.h"
#include <assert.h>

/* Fields of RaftMessage, but for the entries. */
void peer_put_raft_fields(struct rt_string *s, const struct raft_message *m)
{
    field_add_uint(s, 1, (uint64_t)m->type);
    field_add_uint(s, 2, m->reject);
    field_add_uint(s, 3, m->transfer);
    peer_add_fixed64(s, 4, m->to);
    peer_add_fixed64(s, 5, m->from);
    field_add_uint(s, 6, m->term);
    field_add_uint(s, 7, m->log_term);
    field_add_uint(s, 8, m->index);
    field_add_uint(s, 9, m->commit);
    field_add_uint(s, 10, m->reject_hint);
    field_add_uint(s, 11, m->read_round);
    peer_add_fixed64(s, 12, m->read_id);
    if (m->snapshot) {
        size_t meta = field_begin(s, 13);
        field_add_uint(s, 1, m->snapshot->index);
        field_add_uint(s, 2, m->snapshot->term);
        size_t conf = field_begin(s, 3);
        peer_put_conf(s, &m->snapshot->conf);
        field_end(s, conf);
        field_end(s, meta);
    }
}

static void put_entry(struct frame_batch *b, const struct raft_entry *e)
{
    struct rt_string *s = &b->own;
    size_t len = field_uint_size(1, e->kind) + field_uint_size(2, e->term) +
                 field_uint_size(3, e->index) + (e->len ? field_bytes_size(4, e->len) : 0);
    field_add_len(s, 15, len);
    field_add_uint(s, 1, e->kind);
    field_add_uint(s, 2, e->term);
    field_add_uint(s, 3, e->index);
    if (!e->len)
        return;
    field_add_len(s, 4, e->len);
    if (e->len >= PEER_SPLICE_BYTES)
        frame_add_view(b, rt_bytes(e->data, e->len));
    else
        rt_string_append(s, e->data, e->len);
}

static void put_stamps(struct rt_string *s, const struct peer_stamps *stamps)
{
    peer_add_fixed64(s, 16, (uint64_t)stamps->sent_ns);
    field_add_uint(s, 17, stamps->wait_ns);
    field_add_uint(s, 18, stamps->write_ns);
    field_add_uint(s, 19, stamps->sync_ns);
}

void peer_put_raft(struct frame_batch *b, const struct raft_message *m,
                   const struct peer_stamps *stamps)
{
    frame_begin(b, FRAME_RAFT);
    peer_put_raft_fields(&b->own, m);
    for (uint32_t i = 0; i < m->count; i++)
        put_entry(b, &m->entries[i]);
    if (stamps && stamps->sent_ns)
        put_stamps(&b->own, stamps);
    frame_end(b);
}

/* Count the entries, so that the message can be made in one piece. */
static int count_entries(struct rt_bytes bytes, uint32_t *count)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *count = 0;
    while ((more = fields_next(&f, &it)) > 0)
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(15, FIELD_LEN))
            ++*count;
    return more < 0 || *count > MEMBER_MESSAGE_ENTRIES ? MEMBER_MALFORMED : 0;
}

static int get_entry(struct rt_buf *frame, struct rt_bytes bytes, struct raft_entry *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    struct rt_bytes data = {0};
    uint64_t kind = 0;
    int more;
    *out = (struct raft_entry){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            kind = it.value;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            out->term = it.value;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            out->index = it.value;
            break;
        case FIELD_KEY(4, FIELD_LEN):
            data = it.bytes;
            break;
        }
    }
    if (more < 0 || kind > RAFT_ENTRY_CONF_CHANGE_V2)
        return MEMBER_MALFORMED;
    out->kind = (uint8_t)kind;
    out->len = (uint32_t)data.len;
    if (data.len) {
        out->data = data.data;
        out->block = rt_buf_ref(frame);
    }
    return 0;
}

static int get_snapshot(struct rt_bytes bytes, struct raft_snapshot *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more, err = 0;
    *out = (struct raft_snapshot){0};
    while (!err && (more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->index = it.value;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            out->term = it.value;
            break;
        case FIELD_KEY(3, FIELD_LEN):
            err = peer_get_conf(it.bytes, &out->conf);
            break;
        }
    }
    return err || more < 0 ? MEMBER_MALFORMED : 0;
}

static int get_fields(struct peer_inbound *in, struct rt_bytes bytes)
{
    struct raft_message *m = &in->message;
    struct fields f = fields_of(bytes);
    struct field it;
    uint64_t type = 0;
    int more, err = 0;
    while (!err && (more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            type = it.value;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            m->reject = it.value != 0;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            m->transfer = it.value != 0;
            break;
        case FIELD_KEY(4, FIELD_I64):
            m->to = it.value;
            break;
        case FIELD_KEY(5, FIELD_I64):
            m->from = it.value;
            break;
        case FIELD_KEY(6, FIELD_VARINT):
            m->term = it.value;
            break;
        case FIELD_KEY(7, FIELD_VARINT):
            m->log_term = it.value;
            break;
        case FIELD_KEY(8, FIELD_VARINT):
            m->index = it.value;
            break;
        case FIELD_KEY(9, FIELD_VARINT):
            m->commit = it.value;
            break;
        case FIELD_KEY(10, FIELD_VARINT):
            m->reject_hint = it.value;
            break;
        case FIELD_KEY(11, FIELD_VARINT):
            m->read_round = it.value;
            break;
        case FIELD_KEY(12, FIELD_I64):
            m->read_id = it.value;
            break;
        case FIELD_KEY(16, FIELD_I64):
            in->stamps.sent_ns = (int64_t)(it.value & INT64_MAX);
            break;
        case FIELD_KEY(17, FIELD_VARINT):
            in->stamps.wait_ns = it.value;
            break;
        case FIELD_KEY(18, FIELD_VARINT):
            in->stamps.write_ns = it.value;
            break;
        case FIELD_KEY(19, FIELD_VARINT):
            in->stamps.sync_ns = it.value;
            break;
        case FIELD_KEY(13, FIELD_LEN):
            err = get_snapshot(it.bytes, &in->snapshot);
            m->snapshot = &in->snapshot;
            break;
        case FIELD_KEY(15, FIELD_LEN):
            err = get_entry(in->frame, it.bytes, &m->entries[m->count]);
            m->count += !err;
            break;
        }
    }
    if (err || more < 0 || type < RAFT_MSG_APP || type > RAFT_MSG_TIMEOUT_NOW)
        return MEMBER_MALFORMED;
    m->type = (enum raft_message_type)type;
    if ((m->type == RAFT_MSG_SNAP) != (m->snapshot != NULL))
        return MEMBER_MALFORMED;
    if (m->count && m->type != RAFT_MSG_APP && m->type != RAFT_MSG_PROP)
        return MEMBER_MALFORMED;
    return 0;
}

/* One reference to the buffer that the message is to be a view of. Entries stay in the log's cache, so
 * few bytes of a big buffer are copied out of it: a cache of small writes would hold many times its
 * limit. */
static struct rt_buf *frame_to_keep(struct rt_buf *frame, struct rt_bytes *bytes)
{
    enum { WORTH_KEEPING = 8 };
    if (bytes->len >= frame->cap / WORTH_KEEPING)
        return rt_buf_ref(frame);
    struct rt_buf *copy = rt_buf_copy(bytes->data, bytes->len);
    *bytes = rt_buf_bytes(copy);
    return copy;
}

int peer_get_raft(struct rt_buf *frame, struct rt_bytes bytes, struct peer_inbound **out)
{
    uint32_t count;
    int err = count_entries(bytes, &count);
    if (err)
        return err;
    struct peer_inbound *in = rt_alloc(sizeof(*in) + count * sizeof(struct raft_entry));
    if (!in)
        return MEMBER_MALFORMED; // more entries than any correct peer puts into a frame
    *in = (struct peer_inbound){.frame = count ? frame_to_keep(frame, &bytes) : rt_buf_ref(frame)};
    in->message.entries = in->entries;
    err = get_fields(in, bytes);
    if (err) {
        peer_inbound_free(in);
        return err;
    }
    if (!in->message.count)
        in->message.entries = NULL;
    *out = in;
    return 0;
}

void peer_inbound_free(struct peer_inbound *in)
{
    for (uint32_t i = 0; i < in->message.count; i++)
        if (in->entries[i].block)
            rt_buf_unref(in->entries[i].block);
    rt_buf_unref(in->frame);
    rt_free(in);
}

static void put_ids(struct rt_string *s, uint32_t number, const struct raft_ids *ids)
{
    if (!ids->count)
        return;
    field_add_len(s, number, 8 * (size_t)ids->count);
    for (uint32_t i = 0; i < ids->count; i++)
        peer_add_u64(s, ids->id[i]);
}

void peer_put_conf(struct rt_string *s, const struct raft_conf_state *conf)
{
    put_ids(s, 1, &conf->voters);
    put_ids(s, 2, &conf->outgoing);
    put_ids(s, 3, &conf->learners);
    put_ids(s, 4, &conf->learners_next);
    field_add_uint(s, 5, conf->auto_leave);
}

static int get_ids(struct rt_bytes bytes, struct raft_ids *out)
{
    *out = (struct raft_ids){0};
    if (bytes.len % 8 || bytes.len / 8 > RAFT_MEMBERS_MAX)
        return MEMBER_MALFORMED;
    for (size_t at = 0; at < bytes.len; at += 8) {
        uint64_t id = peer_read_u64(bytes.data + at);
        if (id == RAFT_NONE || (out->count && id <= out->id[out->count - 1]))
            return MEMBER_MALFORMED; // sorted, without repetition
        out->id[out->count++] = id;
    }
    return 0;
}

int peer_get_conf(struct rt_bytes bytes, struct raft_conf_state *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more, err = 0;
    *out = (struct raft_conf_state){0};
    while (!err && (more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN):
            err = get_ids(it.bytes, &out->voters);
            break;
        case FIELD_KEY(2, FIELD_LEN):
            err = get_ids(it.bytes, &out->outgoing);
            break;
        case FIELD_KEY(3, FIELD_LEN):
            err = get_ids(it.bytes, &out->learners);
            break;
        case FIELD_KEY(4, FIELD_LEN):
            err = get_ids(it.bytes, &out->learners_next);
            break;
        case FIELD_KEY(5, FIELD_VARINT):
            out->auto_leave = it.value != 0;
            break;
        }
    }
    return err || more < 0 ? MEMBER_MALFORMED : 0;
}

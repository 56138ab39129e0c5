/* kv/member/peer_talk.c: the small messages of members, to frames and back. */
#include "kv/member/errors.h"
#include "kv/member/peer_codec.h"
#include "kv/member/peer_fields.h"

static void copy_text(char *to, size_t cap, struct rt_bytes from)
{
    size_t len = from.len < cap - 1 ? from.len : cap - 1;
    for (size_t i = 0; i < len; i++)
        to[i] = from.data[i] < ' ' || from.data[i] == 0x7F ? '?' : (char)from.data[i];
    to[len] = 0;
}

void peer_put_hello(struct frame_batch *b, const struct peer_hello *h)
{
    frame_begin(b, FRAME_HELLO);
    field_add_uint(&b->own, 1, h->format);
    peer_add_fixed64(&b->own, 2, h->cluster_id);
    peer_add_fixed64(&b->own, 3, h->from);
    peer_add_fixed64(&b->own, 4, h->to);
    field_add_uint(&b->own, 5, h->generation);
    peer_add_fixed64(&b->own, 6, h->life);
    field_add_uint(&b->own, 7, h->stream);
    frame_end(b);
}

int peer_get_hello(struct rt_bytes bytes, struct peer_hello *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_hello){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->format = (uint32_t)it.value;
            break;
        case FIELD_KEY(2, FIELD_I64):
            out->cluster_id = it.value;
            break;
        case FIELD_KEY(3, FIELD_I64):
            out->from = it.value;
            break;
        case FIELD_KEY(4, FIELD_I64):
            out->to = it.value;
            break;
        case FIELD_KEY(5, FIELD_VARINT):
            out->generation = it.value;
            break;
        case FIELD_KEY(6, FIELD_I64):
            out->life = it.value;
            break;
        case FIELD_KEY(7, FIELD_VARINT):
            out->stream = (uint32_t)it.value;
            break;
        }
    }
    return more < 0 ? MEMBER_MALFORMED : 0;
}

void peer_put_welcome(struct frame_batch *b, const struct peer_welcome *w)
{
    frame_begin(b, FRAME_WELCOME);
    field_add_uint(&b->own, 1, w->format);
    peer_add_fixed64(&b->own, 2, w->from);
    field_add_uint(&b->own, 3, w->generation);
    peer_add_fixed64(&b->own, 4, w->life);
    frame_end(b);
}

int peer_get_welcome(struct rt_bytes bytes, struct peer_welcome *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_welcome){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->format = (uint32_t)it.value;
            break;
        case FIELD_KEY(2, FIELD_I64):
            out->from = it.value;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            out->generation = it.value;
            break;
        case FIELD_KEY(4, FIELD_I64):
            out->life = it.value;
            break;
        }
    }
    return more < 0 ? MEMBER_MALFORMED : 0;
}

void peer_put_refusal(struct frame_batch *b, const struct peer_refusal *r)
{
    frame_begin(b, FRAME_REFUSAL);
    field_add_uint(&b->own, 1, r->reason);
    field_add_text(&b->own, 2, r->text);
    frame_end(b);
}

int peer_get_refusal(struct rt_bytes bytes, struct peer_refusal *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_refusal){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->reason = (uint32_t)it.value;
            break;
        case FIELD_KEY(2, FIELD_LEN):
            copy_text(out->text, sizeof(out->text), it.bytes);
            break;
        }
    }
    return more < 0 ? MEMBER_MALFORMED : 0;
}

void peer_put_lease_call(struct frame_batch *b, const struct peer_lease_call *c)
{
    frame_begin(b, FRAME_LEASE_CALL);
    field_add_uint(&b->own, 1, c->id);
    field_add_uint(&b->own, 2, c->what);
    field_add_int(&b->own, 3, c->lease);
    frame_end(b);
}

int peer_get_lease_call(struct rt_bytes bytes, struct peer_lease_call *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_lease_call){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->id = it.value;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            out->what = (uint32_t)it.value;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            out->lease = (int64_t)it.value;
            break;
        }
    }
    if (out->what != PEER_LEASE_RENEW && out->what != PEER_LEASE_TTL)
        return MEMBER_MALFORMED;
    return more < 0 ? MEMBER_MALFORMED : 0;
}

void peer_put_lease_answer(struct frame_batch *b, const struct peer_lease_answer *a)
{
    frame_begin(b, FRAME_LEASE_ANSWER);
    field_add_uint(&b->own, 1, a->id);
    field_add_uint(&b->own, 2, a->code);
    field_add_int(&b->own, 3, a->ttl_s);
    field_add_int(&b->own, 4, a->granted_s);
    frame_end(b);
}

int peer_get_lease_answer(struct rt_bytes bytes, struct peer_lease_answer *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_lease_answer){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->id = it.value;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            out->code = (uint32_t)it.value;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            out->ttl_s = (int64_t)it.value;
            break;
        case FIELD_KEY(4, FIELD_VARINT):
            out->granted_s = (int64_t)it.value;
            break;
        }
    }
    return more < 0 || out->code > PEER_LEASE_LATER ? MEMBER_MALFORMED : 0;
}

void peer_put_ping(struct frame_batch *b, const struct peer_ping *p)
{
    frame_begin(b, FRAME_PING);
    peer_add_fixed64(&b->own, 1, p->sent_ns);
    field_add_uint(&b->own, 2, p->answer);
    frame_end(b);
}

int peer_get_ping(struct rt_bytes bytes, struct peer_ping *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_ping){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_I64):
            out->sent_ns = it.value;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            out->answer = it.value != 0;
            break;
        }
    }
    return more < 0 ? MEMBER_MALFORMED : 0;
}

void peer_put_snapshot_begin(struct frame_batch *b, const struct raft_message *m)
{
    frame_begin(b, FRAME_SNAPSHOT_BEGIN);
    size_t mark = field_begin(&b->own, 1);
    peer_put_raft_fields(&b->own, m);
    field_end(&b->own, mark);
    frame_end(b);
}

int peer_get_snapshot_begin(struct rt_buf *frame, struct rt_bytes bytes, struct peer_inbound **out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    struct rt_bytes message = {0};
    int more;
    while ((more = fields_next(&f, &it)) > 0)
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(1, FIELD_LEN))
            message = it.bytes;
    if (more < 0)
        return MEMBER_MALFORMED;
    struct peer_inbound *in;
    int err = peer_get_raft(frame, message, &in);
    if (err)
        return err;
    if (in->message.type != RAFT_MSG_SNAP) {
        peer_inbound_free(in);
        return MEMBER_MALFORMED;
    }
    *out = in;
    return 0;
}

void peer_put_snapshot_end(struct frame_batch *b, const struct peer_snapshot_end *e)
{
    frame_begin(b, FRAME_SNAPSHOT_END);
    field_add_uint(&b->own, 1, e->bytes);
    field_add_uint(&b->own, 2, e->crc);
    frame_end(b);
}

int peer_get_snapshot_end(struct rt_bytes bytes, struct peer_snapshot_end *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_snapshot_end){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->bytes = it.value;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            out->crc = (uint32_t)it.value;
            break;
        }
    }
    return more < 0 ? MEMBER_MALFORMED : 0;
}

void peer_put_snapshot_result(struct frame_batch *b, const struct peer_snapshot_result *r)
{
    frame_begin(b, FRAME_SNAPSHOT_RESULT);
    field_add_uint(&b->own, 1, r->installed);
    field_add_text(&b->own, 2, r->why);
    frame_end(b);
}

int peer_get_snapshot_result(struct rt_bytes bytes, struct peer_snapshot_result *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct peer_snapshot_result){0};
    while ((more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->installed = it.value != 0;
            break;
        case FIELD_KEY(2, FIELD_LEN):
            copy_text(out->why, sizeof(out->why), it.bytes);
            break;
        }
    }
    return more < 0 ? MEMBER_MALFORMED : 0;
}

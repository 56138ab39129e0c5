/* tests/raft/one.h: one core alone, spoken to by hand: the test plays its peers, its disk and its clock.
 * Storage completes at once, or when the test says so (hold_storage, hold_apply). */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/core.h"
#include "raft/ids.h"
#include "tests/raft/disk.h"
#include <cmocka.h>

enum { SENT_MAX = 512, HELD_MAX = 64, READS_MAX = 64 };

struct one {
    struct disk disk;
    struct raft *r;
    struct raft_config config;
    struct raft_message sent[SENT_MAX];
    size_t sent_count;
    bool hold_storage, hold_apply;
    struct raft_persist held[HELD_MAX];
    size_t held_count;
    struct raft_apply held_apply[HELD_MAX];
    size_t held_apply_count;
    uint64_t applied;
    struct raft_read reads[READS_MAX];
    size_t read_count;
    struct raft_fetch fetches[READS_MAX];
    size_t fetch_count;
    int conf_errors;
};

#define MSG(...) (&(struct raft_message){__VA_ARGS__})

static inline struct raft_conf_state voters(size_t n)
{
    struct raft_conf_state c = {0};
    for (uint64_t id = 1; id <= n; id++)
        raft_ids_add(&c.voters, id);
    return c;
}

/* Member 1 of n voters, with what members run with. */
static inline void one_init(struct one *o, size_t n)
{
    memset(o, 0, sizeof(*o));
    disk_init(&o->disk);
    o->config = (struct raft_config){.id = 1,
                                     .election_ticks = 10,
                                     .heartbeat_ticks = 1,
                                     .pre_vote = false,
                                     .check_quorum = false,
                                     .max_size_per_msg = 1 << 20,
                                     .max_inflight_msgs = 256,
                                     .log_level = RAFT_DEBUG,
                                     .conf = voters(n)};
}

/* A log, already durable: entry i+1 has term terms[i], and three bytes. */
static inline void one_log(struct one *o, size_t count, const uint64_t *terms)
{
    for (size_t i = 0; i < count; i++) {
        struct block *b = block_new(&o->disk, "old", 3);
        struct raft_entry e = {.term = terms[i],
                               .index = o->disk.start + o->disk.count + 1,
                               .data = b->bytes,
                               .len = 3,
                               .block = b};
        disk_append(&o->disk, &e, 1);
        disk_unref(&o->disk, b);
    }
    o->config.hard_state.term = count ? terms[count - 1] : 0;
}
#define TERMS(...)                                                                                 \
    sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]) { __VA_ARGS__ }

static inline void one_start(struct one *o)
{
    assert_int_equal(raft_new(&o->disk.env, &o->config, &o->r), 0);
}

static inline void one_sent(struct one *o, struct raft_message *m)
{
    assert_true(o->sent_count < SENT_MAX);
    o->sent[o->sent_count++] = *m;
    memset(m, 0, sizeof(*m));
}

static inline void one_complete(struct one *o, struct raft_persist *p)
{
    if (p->has_hard_state)
        o->disk.hard = p->hard_state;
    if (p->snapshot)
        disk_install(&o->disk, p->snapshot);
    disk_append(&o->disk, p->entries, p->count);
    for (size_t i = 0; i < p->promise_count; i++) {
        if (p->promises[i].to == o->config.id)
            raft_step(o->r, &p->promises[i]);
        else
            one_sent(o, &p->promises[i]);
    }
    raft_append_done(o->r, &p->completion);
    raft_persist_free(&o->disk.env, p);
}

static inline void one_apply(struct one *o, struct raft_apply *a)
{
    uint64_t last = a->entries[a->count - 1].index;
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->entries[i].index, o->applied + 1);
        o->applied++;
        if (a->entries[i].kind != RAFT_ENTRY_NORMAL)
            o->conf_errors += raft_apply_conf_change(o->r, &a->entries[i], NULL, NULL) != 0;
    }
    raft_entries_free(&o->disk.env, a->entries, a->count);
    raft_apply_done(o->r, last, a->size_bytes);
}

/* Take every ready; send, store and apply. */
static inline void one_drain(struct one *o)
{
    while (raft_has_ready(o->r)) {
        struct raft_ready rd;
        raft_ready(o->r, &rd);
        for (size_t i = 0; i < rd.message_count; i++)
            one_sent(o, &rd.messages[i]);
        for (size_t i = 0; i < rd.read_count; i++)
            o->reads[o->read_count++] = rd.reads[i];
        for (size_t i = 0; i < rd.fetch_count; i++)
            o->fetches[o->fetch_count++] = rd.fetches[i];
        if (rd.persist.needed && o->hold_storage)
            o->held[o->held_count++] = rd.persist;
        else if (rd.persist.needed)
            one_complete(o, &rd.persist);
        if (rd.apply.count && o->hold_apply)
            o->held_apply[o->held_apply_count++] = rd.apply;
        else if (rd.apply.count)
            one_apply(o, &rd.apply);
        memset(&rd.persist, 0, sizeof(rd.persist));
        memset(&rd.apply, 0, sizeof(rd.apply));
        raft_ready_free(&o->disk.env, &rd);
    }
}

static inline void one_complete_next(struct one *o)
{
    struct raft_persist p = o->held[0];
    assert_true(o->held_count > 0);
    memmove(o->held, o->held + 1, --o->held_count * sizeof(p));
    one_complete(o, &p);
}

static inline void one_forget_sent(struct one *o)
{
    for (size_t i = 0; i < o->sent_count; i++) {
        raft_entries_free(&o->disk.env, o->sent[i].entries, o->sent[i].count);
        raft_snapshot_free(&o->disk.env, o->sent[i].snapshot);
    }
    o->sent_count = 0;
}

/* Everything given back? Ends the life of o. */
static inline void one_end(struct one *o)
{
    one_forget_sent(o);
    for (size_t i = 0; i < o->held_count; i++)
        raft_persist_free(&o->disk.env, &o->held[i]);
    for (size_t i = 0; i < o->held_apply_count; i++)
        raft_entries_free(&o->disk.env, o->held_apply[i].entries, o->held_apply[i].count);
    raft_free(o->r);
    disk_deinit(&o->disk);
    assert_int_equal(o->disk.allocated, 0);
    assert_int_equal(o->disk.blocks, 0);
}

static inline int one_step(struct one *o, const struct raft_message *m)
{
    struct raft_message copy = *m;
    if (copy.to == RAFT_NONE)
        copy.to = o->config.id;
    int err = raft_step(o->r, &copy);
    one_drain(o);
    return err;
}

static inline void one_ticks(struct one *o, int n)
{
    while (n-- > 0)
        raft_tick(o->r);
    one_drain(o);
}

static inline int one_propose(struct one *o, const char *text)
{
    struct block *b = block_new(&o->disk, text, strlen(text));
    struct raft_entry e = {.data = b->bytes, .len = b->len, .block = b};
    int err = raft_propose(o->r, &e, 1, NULL);
    disk_unref(&o->disk, b);
    one_drain(o);
    return err;
}

static inline int one_propose_change(struct one *o, enum raft_conf_op op, uint64_t id)
{
    struct raft_conf_change cc = {.count = 1, .change = {{op, id}}};
    uint8_t bytes[64];
    struct block *b =
        block_new(&o->disk, bytes, raft_conf_change_encode(&cc, bytes, sizeof(bytes)));
    memcpy(b->bytes, bytes, b->len);
    struct raft_entry e = {
        .kind = RAFT_ENTRY_CONF_CHANGE_V2, .data = b->bytes, .len = b->len, .block = b};
    int err = raft_propose(o->r, &e, 1, NULL);
    disk_unref(&o->disk, b);
    one_drain(o);
    return err;
}

/* Win an election with every other voter's vote. */
static inline void one_lead(struct one *o)
{
    raft_campaign(o->r);
    one_drain(o);
    for (uint64_t id = 2; id <= 9 && raft_role(o->r) != RAFT_LEADER; id++)
        one_step(o, MSG(.type = RAFT_MSG_VOTE_RESP, .from = id, .term = raft_term(o->r)));
    assert_int_equal(raft_role(o->r), RAFT_LEADER);
}

static inline int one_ack(struct one *o, uint64_t from, uint64_t index)
{
    return one_step(
        o, MSG(.type = RAFT_MSG_APP_RESP, .from = from, .term = raft_term(o->r), .index = index));
}

static inline size_t one_count(const struct one *o, enum raft_message_type type, uint64_t to)
{
    size_t n = 0;
    for (size_t i = 0; i < o->sent_count; i++)
        n += o->sent[i].type == type && o->sent[i].to == to;
    return n;
}

/* The last message of this type to this peer. */
static inline const struct raft_message *one_last(const struct one *o, enum raft_message_type type,
                                                  uint64_t to)
{
    for (size_t i = o->sent_count; i > 0; i--)
        if (o->sent[i - 1].type == type && o->sent[i - 1].to == to)
            return &o->sent[i - 1];
    fail_msg("no %s was sent to %d", raft_message_type_text(type), (int)to);
    abort();
}

static inline struct raft_progress *one_peer(const struct one *o, uint64_t id)
{
    struct raft_progress *p = raft_members_find(&o->r->members, id);
    assert_non_null(p);
    return p;
}

static inline uint64_t last_index(const struct one *o) { return raft_log_last_index(&o->r->log); }

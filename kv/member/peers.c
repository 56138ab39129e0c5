/* kv/member/peers.c: who the peers are, and what is sent to them. The sender is in peer_sender.c, the
 * other direction in peer_reader.c. */
#include "kv/member/peers.h"
#include "kv/member/parts.h"
#include "kv/member/peer_io.h"
#include <assert.h>
#include <inttypes.h>
#include <rt/go.h>
#include <stdio.h>

/* ---- Outboxes ---- */

struct peer *peers_find(struct member *m, uint64_t id)
{
    uint32_t count = atomic_load_explicit(&m->peers.count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (m->peers.peer[i]->id == id)
            return m->peers.peer[i];
    return NULL;
}

bool peers_is_connected(struct member *m, uint64_t id)
{
    struct peer *p = peers_find(m, id);
    return p && atomic_load_explicit(&p->connected, memory_order_relaxed);
}

uint64_t peers_any_connected(struct member *m)
{
    uint32_t count = atomic_load_explicit(&m->peers.count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (atomic_load(&m->peers.peer[i]->connected))
            return m->peers.peer[i]->id;
    return RAFT_NONE;
}

void peer_outbound_free(struct member *m, struct peer_outbound *out)
{
    raft_entries_free(&m->env, out->message.entries, out->message.count);
    rt_free(out);
}

/* Take it in when the link is up and the queue has room; heartbeats and votes are small and always
 * welcome up to the count. */
static bool post(struct peer *p, struct peer_outbound *out)
{
    if (!atomic_load_explicit(&p->connected, memory_order_acquire) ||
        atomic_load_explicit(&p->queued_msgs, memory_order_relaxed) >= MEMBER_PEER_QUEUE_MSGS ||
        (out->bytes > 0 &&
         atomic_load_explicit(&p->queued_bytes, memory_order_relaxed) >= MEMBER_PEER_QUEUE_BYTES)) {
        if (p->sent_failures)
            rt_counter_add(p->sent_failures, 1);
        return false;
    }
    atomic_fetch_add_explicit(&p->queued_msgs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->queued_bytes, (int64_t)out->bytes, memory_order_relaxed);
    rt_mailbox_put(&p->outbox, &out->mail);
    return true;
}

static bool send_to(struct member *m, uint64_t to, struct peer_outbound *out)
{
    struct peer *p = peers_find(m, to);
    if (p && post(p, out))
        return true;
    peer_outbound_free(m, out);
    return false;
}

bool peers_send(struct member *m, struct raft_message *message, const struct peer_stamps *stamps)
{
    struct peer_outbound *out = rt_alloc_zero(sizeof(*out));
    out->kind = FRAME_RAFT;
    out->message = *message;
    message->entries = NULL;
    message->count = 0;
    assert(!out->message.snapshot);
    if (stamps)
        out->stamps = *stamps;
    for (uint32_t i = 0; i < out->message.count; i++)
        out->bytes += out->message.entries[i].len + 32;
    return send_to(m, out->message.to, out);
}

bool peers_send_lease_call(struct member *m, uint64_t to, const struct peer_lease_call *call)
{
    struct peer_outbound *out = rt_alloc_zero(sizeof(*out));
    out->kind = FRAME_LEASE_CALL;
    out->call = *call;
    return send_to(m, to, out);
}

bool peers_send_lease_answer(struct member *m, uint64_t to, const struct peer_lease_answer *answer)
{
    struct peer_outbound *out = rt_alloc_zero(sizeof(*out));
    out->kind = FRAME_LEASE_ANSWER;
    out->answer = *answer;
    return send_to(m, to, out);
}

void peers_send_pong(struct member *m, uint64_t to, uint64_t sent_ns)
{
    struct peer_outbound *out = rt_alloc_zero(sizeof(*out));
    out->kind = FRAME_PING;
    out->ping = (struct peer_ping){.sent_ns = sent_ns, .answer = true};
    send_to(m, to, out);
}

/* ---- Who they are ---- */

static void make_metrics(struct peer *p)
{
    struct rt_metrics *r = p->m->config.metrics;
    char to[48], from[48], both[96];
    if (!r)
        return;
    snprintf(to, sizeof(to), "To=\"%" PRIx64 "\"", p->id);
    snprintf(from, sizeof(from), "From=\"%" PRIx64 "\"", p->id);
    snprintf(both, sizeof(both), "Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"", p->m->id, p->id);
    p->sent_bytes = rt_metrics_counter(r, "etcd_network_peer_sent_bytes_total", to,
                                       "The total number of bytes sent to peers.");
    p->sent_failures = rt_metrics_counter(r, "etcd_network_peer_sent_failures_total", to,
                                          "The total number of send failures from peers.");
    p->received_bytes = rt_metrics_counter(r, "etcd_network_peer_received_bytes_total", from,
                                           "The total number of bytes received from peers.");
    p->received_failures = rt_metrics_counter(r, "etcd_network_peer_received_failures_total", from,
                                              "The total number of receive failures from peers.");
    p->disconnected = rt_metrics_counter(r, "etcd_network_disconnected_peers_total", both,
                                         "The total number of disconnections from peers.");
    p->active =
        rt_metrics_gauge(r, "etcd_network_active_peers", both, "Whether the link to a peer is up.");
    p->round_trip = rt_metrics_histogram(r, "etcd_network_peer_round_trip_time_seconds", to,
                                         "Round-Trip-Time histogram between peers.", 0.0001, 2, 16);
}

static void set_addresses(struct peer *p, const struct member_urls *urls)
{
    p->address_count = urls->count;
    p->address = rt_alloc_zero((urls->count + 1) * sizeof(*p->address));
    for (uint32_t i = 0; i < urls->count; i++) {
        char buf[MEMBER_URL_BYTES];
        p->address[i] = rt_strdup(member_url_address(urls->url[i], buf));
    }
}

/* membership.lock is held by the caller for the entry. */
static void add_locked(struct member *m, const struct membership_entry *e)
{
    struct peers *ps = &m->peers;
    assert(ps->count < RAFT_MEMBERS_MAX);
    struct peer *p = rt_alloc_zero(sizeof(*p));
    p->m = m;
    p->id = e->id;
    set_addresses(p, &e->peer_urls);
    make_metrics(p);
    follower_latency_init(&p->latency, m->config.metrics, p->id);
    ps->peer[ps->count] = p;
    atomic_fetch_add_explicit(&ps->count, 1, memory_order_release);
    peer_sender_start(p);
}

void peers_follow_membership(struct member *m)
{
    struct membership *ms = &m->membership;
    rt_mutex_lock(&ms->lock);
    rt_mutex_lock(&m->peers.lock);
    for (uint32_t i = 0; i < ms->count; i++)
        if (ms->entry[i].id != m->id && !peers_find(m, ms->entry[i].id) && !m->peers.stopped &&
            m->peers.count < RAFT_MEMBERS_MAX)
            add_locked(m, &ms->entry[i]);
    rt_mutex_unlock(&m->peers.lock);
    rt_mutex_unlock(&ms->lock);
}

/* ---- Start and stop ---- */

int peers_listen(struct member *m, struct why *why)
{
    struct peers *ps = &m->peers;
    for (uint32_t i = 0; i < m->listen_peer.count; i++) {
        char address[MEMBER_URL_BYTES];
        int err = rt_listen(member_url_address(m->listen_peer.url[i], address),
                            &ps->listener[ps->listener_count], why);
        if (err) {
            why_prefix(why, "--listen-peer-urls");
            return err;
        }
        rt_log(m->log, RT_LOG_INFO, "serving peer traffic",
               rt_f_str("address", rt_listener_address(ps->listener[ps->listener_count])));
        ps->listener_count++;
    }
    return 0;
}

void peers_start(struct member *m)
{
    peer_readers_start(m);
    peers_follow_membership(m);
}

void peers_stop(struct member *m)
{
    struct peers *ps = &m->peers;
    rt_mutex_lock(&ps->lock);
    ps->stopped = true;
    rt_mutex_unlock(&ps->lock);
    for (uint32_t i = 0; i < ps->listener_count; i++)
        rt_listener_close(ps->listener[i]);
    ps->listener_count = 0;
    for (uint32_t i = 0; i < ps->count; i++)
        peer_sender_stop(ps->peer[i]);
    peer_readers_stop(m);
}

static void free_peer(struct member *m, struct peer *p)
{
    struct rt_mail *mail = rt_mailbox_take(&p->outbox, 0);
    while (mail) {
        struct peer_outbound *out = (struct peer_outbound *)mail;
        mail = mail->next;
        peer_outbound_free(m, out);
    }
    for (uint32_t i = 0; i < p->address_count; i++)
        rt_free(p->address[i]);
    rt_free(p->address);
    frame_batch_deinit(&p->batch);
    follower_latency_deinit(&p->latency, m->config.metrics);
    rt_free(p);
}

void peers_deinit(struct member *m)
{
    struct peers *ps = &m->peers;
    for (uint32_t i = 0; i < ps->listener_count; i++)
        rt_listener_close(ps->listener[i]); // a start that failed
    for (uint32_t i = 0; i < ps->count; i++)
        free_peer(m, ps->peer[i]);
    ps->count = 0;
}

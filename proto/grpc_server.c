/* proto/grpc_server.c: the server as a whole: its connections, and its end. */
#include "proto/grpc_server.h"
#include "proto/http1_conn.h"
#include "proto/sniff.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>

static void or_default_u32(uint32_t *value, uint32_t otherwise)
{
    if (!*value)
        *value = otherwise;
}

static void or_default_ns(int64_t *value, int64_t otherwise)
{
    if (!*value)
        *value = otherwise;
}

static void add_metrics(struct grpc_server *s, struct rt_metrics *m)
{
    s->received_bytes = rt_metrics_counter(m, "etcd_network_client_grpc_received_bytes_total", "",
                                           "The total number of bytes received from grpc clients.");
    s->sent_bytes = rt_metrics_counter(m, "etcd_network_client_grpc_sent_bytes_total", "",
                                       "The total number of bytes sent to grpc clients.");
    s->open_calls = rt_metrics_gauge(m, "kvd_grpc_calls", "", "Calls and streams being served.");
    s->open_conns =
        rt_metrics_gauge(m, "kvd_grpc_connections", "", "HTTP/2 connections being served.");
    s->refused =
        rt_metrics_counter(m, "kvd_grpc_refused_total", "",
                           "Calls refused with REFUSED_STREAM because too many are served.");
}

struct grpc_server *grpc_server_new(const struct grpc_server_options *options)
{
    struct grpc_server *s = rt_alloc_zero(sizeof *s);
    s->options = *options;
    or_default_u32(&s->options.max_receive_bytes, 2 << 20);
    or_default_u32(&s->options.max_calls, 65536);
    or_default_u32(&s->options.max_connections, 16384);
    if (!s->options.max_unread_bytes)
        s->options.max_unread_bytes = 512 << 20;
    or_default_ns(&s->options.ping_min_ns, 5 * RT_SECOND);
    or_default_ns(&s->options.ping_interval_ns, 7200 * RT_SECOND);
    or_default_ns(&s->options.ping_timeout_ns, 20 * RT_SECOND);
    or_default_ns(&s->options.handshake_ns, HTTP2_HANDSHAKE_NS);
    if (options->http1)
        s->http1 = *options->http1;
    methods_init(&s->methods, options->methods, options->method_count, options->metrics);
    s->options.methods = NULL; // the copies count
    s->options.http1 = NULL;
    if (options->metrics)
        add_metrics(s, options->metrics);
    s->callbacks = grpc_serve_callbacks();
    s->option = http2_new_option();
    if (!s->option)
        rt_fatal("out of memory for nghttp2's options");
    // Its checks refuse what etcd's clients send: grpc_serve.c, header_is_valid.
    nghttp2_option_set_no_http_messaging(s->option, 1);
    return s;
}

void grpc_server_free(struct grpc_server *s)
{
    assert(!s->conns);
    nghttp2_session_callbacks_del(s->callbacks);
    nghttp2_option_del(s->option);
    methods_deinit(&s->methods);
    rt_free(s);
}

static void serve(struct grpc_server *s, struct grpc_served *me, struct transport *t)
{
    uint8_t first[SNIFF_BYTES];
    size_t len = 0;
    enum sniffed speaks = sniff(t, first, &len, rt_after_ns(s->options.handshake_ns));
    atomic_store(&me->idle, false);
    if (speaks == SNIFFED_HTTP2)
        grpc_serve_http2(s, t, first, len);
    else if (speaks == SNIFFED_HTTP1 && s->http1.serve)
        http1_conn_run(&s->http1, t, first, len, &s->draining, &me->idle);
    else
        transport_free(t);
}

static void enter(struct grpc_server *s, struct grpc_served *me)
{
    rt_waitgroup_add(&s->serving, 1);
    rt_mutex_lock(&s->conns_lock);
    me->next = s->conns;
    if (s->conns)
        s->conns->prev = me;
    s->conns = me;
    rt_mutex_unlock(&s->conns_lock);
}

static void leave(struct grpc_server *s, struct grpc_served *me)
{
    rt_mutex_lock(&s->conns_lock);
    if (me->next)
        me->next->prev = me->prev;
    if (me->prev)
        me->prev->next = me->next;
    else
        s->conns = me->next;
    rt_mutex_unlock(&s->conns_lock);
    rt_conn_unref(me->conn);
    rt_waitgroup_done(&s->serving); // who drains may free the server from here on
}

void grpc_serve(struct grpc_server *s, struct rt_conn *conn)
{
    struct grpc_served me = {.conn = rt_conn_ref(conn), .idle = true};
    // In the list before draining is looked at: who drains sets it before walking the list.
    enter(s, &me);
    uint32_t others = atomic_fetch_add(&s->connections, 1);
    struct transport *t = transport_plain(conn);
    if (others < s->options.max_connections && !atomic_load(&s->draining)) {
        serve(s, &me, t);
    } else {
        if (rt_log_gate_open(&s->gate, 10 * RT_SECOND))
            rt_log(s->options.log, RT_LOG_WARN, "refused a client connection",
                   rt_f_str("remote", rt_conn_remote(conn)), rt_f_uint("connections", others));
        transport_free(t);
    }
    atomic_fetch_sub(&s->connections, 1);
    leave(s, &me);
}

struct accepted {
    struct grpc_server *server;
    struct rt_conn *conn;
};

static void serve_accepted(void *arg)
{
    struct accepted a = *(struct accepted *)arg;
    rt_free(arg);
    grpc_serve(a.server, a.conn);
}

void grpc_accept(struct grpc_server *s, struct rt_listener *listener)
{
    for (;;) {
        struct rt_conn *conn;
        int err = rt_accept(listener, &conn);
        if (err == -ECANCELED)
            return;
        if (err) { // out of descriptors or memory: later there may be some
            if (rt_log_gate_open(&s->gate, 10 * RT_SECOND)) {
                char words[64];
                rt_log(s->options.log, RT_LOG_WARN,
                       "cannot accept a client connection; trying again",
                       rt_f_str("error", why_errno(err, words, sizeof words)));
            }
            rt_sleep_ns(50 * RT_MS);
            continue;
        }
        struct accepted *a = rt_alloc(sizeof *a);
        *a = (struct accepted){s, conn};
        if (rt_go("grpc-conn", serve_accepted, a)) {
            rt_free(a);
            rt_conn_close(conn);
            rt_conn_unref(conn);
        }
    }
}

/* Let every connection see what has changed; close those that nobody misses, or all. */
static void stir(struct grpc_server *s, bool all)
{
    rt_mutex_lock(&s->conns_lock);
    for (struct grpc_served *it = s->conns; it; it = it->next) {
        if (all || atomic_load(&it->idle))
            rt_conn_close(it->conn);
        else
            rt_conn_wake(it->conn);
    }
    rt_mutex_unlock(&s->conns_lock);
}

void grpc_server_drain(struct grpc_server *s, int64_t deadline_ns)
{
    atomic_store(&s->draining, true);
    stir(s, false);
    if (rt_waitgroup_wait(&s->serving, deadline_ns) == 0)
        return;
    stir(s, true);
    rt_waitgroup_wait(&s->serving, RT_FOREVER); // closed connections cancel their calls, then go
}

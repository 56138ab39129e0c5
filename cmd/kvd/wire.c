/* cmd/kvd/wire.c: start the parts in the order in which they depend on each other, stop them in the
 * other. */
#include "cmd/kvd/wire.h"
#include "cmd/kvd/addresses.h"
#include "kv/member/member.h"
#include "kv/service/service.h"
#include "rt/go.h"
#include "rt/inspect.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/net.h"
#include "rt/process.h"
#include "rt/sync.h"
#include <assert.h>
#include <errno.h>

struct kvd_port {
    struct kvd *kvd;
    struct rt_listener *listener;
    const char *url;
    bool is_metrics;
};

struct kvd {
    struct rt_arena arena;
    struct rt_log *log;
    struct rt_metrics *metrics;
    struct member *member;
    struct service *service;
    struct kvd_port ports[2 * KVD_LISTENERS_MAX];
    uint32_t port_count;
    struct rt_waitgroup accepting;
    struct rt_note ready_ended;
};

struct rt_log *kvd_log(struct kvd *k) { return k->log; }

/* Clients must be told where to reach us; only the default needs no telling. */
static int check_advertised(const struct kvd_flags *f, struct why *why)
{
    if (*f->advertise_client_urls || strcmp(f->listen_client_urls, "http://localhost:2379") == 0)
        return 0;
    why_set(why, "--advertise-client-urls is required when --listen-client-urls is set explicitly");
    return -EINVAL;
}

static enum member_wal_io wal_io_of(const char *text)
{
    if (strcmp(text, "direct") == 0)
        return MEMBER_WAL_DIRECT;
    return strcmp(text, "buffered") == 0 ? MEMBER_WAL_BUFFERED : MEMBER_WAL_AUTO;
}

static int start_member(struct kvd *k, const struct kvd_flags *f, struct why *why)
{
    struct member_config config = {
        .name = f->name,
        .data_dir = f->data_dir,
        .wal_dir = f->wal_dir,
        .listen_peer_urls = f->listen_peer_urls,
        .advertise_peer_urls = *f->initial_advertise_peer_urls ? f->initial_advertise_peer_urls
                                                               : "http://localhost:2380",
        .advertise_client_urls =
            *f->advertise_client_urls ? f->advertise_client_urls : "http://localhost:2379",
        .initial_cluster = *f->initial_cluster ? f->initial_cluster : NULL,
        .initial_cluster_token = f->initial_cluster_token,
        .initial_cluster_existing = strcmp(f->initial_cluster_state, "existing") == 0,
        .heartbeat_ms = (uint32_t)f->heartbeat_ms,
        .election_ms = (uint32_t)f->election_ms,
        .snapshot_count = (uint64_t)f->snapshot_count,
        .catchup_entries = (uint64_t)f->snapshot_catchup_entries,
        .max_request_bytes = (uint32_t)f->max_request_bytes,
        .max_txn_ops = (uint32_t)f->max_txn_ops,
        .quota_bytes = f->quota_backend_bytes,
        .wal_io = wal_io_of(f->wal_io),
        .wal_segment_bytes = (uint64_t)f->wal_segment_bytes,
        .max_inflight_msgs = (uint32_t)f->max_inflight_msgs,
        .sync_timeout_ns = f->sync_timeout_ns,
        .log = k->log,
        .metrics = k->metrics,
    };
    return member_start(&config, &k->member, why);
}

/* Listen before the member starts: a port in use must not leave a half-made data directory. */
static int listen_on(struct kvd *k, const char *flag, const char *urls, bool is_metrics,
                     struct why *why)
{
    struct kvd_addresses addresses;
    int err = kvd_addresses_read(flag, urls, &k->arena, &addresses, why);
    for (uint32_t i = 0; err == 0 && i < addresses.count; i++) {
        struct kvd_port *port = &k->ports[k->port_count];
        *port = (struct kvd_port){.kvd = k, .url = addresses.url[i], .is_metrics = is_metrics};
        err = rt_listen(addresses.address[i], &port->listener, why);
        if (err == 0) {
            k->port_count++;
        } else if (err == -EADDRINUSE) {
            why_set(
                why,
                "cannot listen on %s: address already in use; stop what listens there or set --%s",
                addresses.address[i], flag);
        } else {
            why_prefix(why, "cannot listen on %s (--%s)", addresses.address[i], flag);
        }
    }
    return err;
}

static void accept_all(void *arg)
{
    struct kvd_port *port = arg;
    if (port->is_metrics)
        service_accept_metrics(port->kvd->service, port->listener);
    else
        service_accept_clients(port->kvd->service, port->listener);
    rt_listener_unref(port->listener);
    rt_waitgroup_done(&port->kvd->accepting);
}

static void accept_on(struct kvd *k)
{
    for (uint32_t i = 0; i < k->port_count; i++) {
        struct kvd_port *port = &k->ports[i];
        rt_waitgroup_add(&k->accepting, 1);
        rt_listener_ref(port->listener); // accept_all's own: closing gives up ours
        int err = rt_go(port->is_metrics ? "accept-metrics" : "accept-clients", accept_all,
                        port); // ends when closed
        assert(err == 0);      // the first goroutines of a process
        rt_log(k->log, RT_LOG_INFO,
               port->is_metrics
                   ? "serving metrics traffic insecurely"
                   : "serving client traffic insecurely; this is strongly discouraged!",
               rt_f_str("address", rt_listener_address(port->listener)));
    }
}

static void release(struct kvd *k)
{
    if (k->service)
        service_free(k->service);
    rt_metrics_free(k->metrics);
    rt_log_free(k->log);
    rt_arena_deinit(&k->arena);
    rt_free(k);
}

/* Once the cluster knows this member's name, say so to the log and the supervisor. Ends then, or when
 * the member stops. */
static void tell_ready(void *arg)
{
    struct kvd *k = arg;
    if (member_wait_published(k->member, RT_FOREVER) == 0) {
        rt_log(k->log, RT_LOG_INFO, "ready to serve client requests");
        int err = rt_notify_supervisor("READY=1");
        char words[128];
        if (err)
            rt_log(k->log, RT_LOG_WARN, "cannot tell the supervisor that the member is ready",
                   rt_f_str("error", why_errno(err, words, sizeof words)));
    }
    rt_note_set(&k->ready_ended);
}

/* Said once we listen: that chose the poller. What this system does not allow the runtime shows here. */
static void log_start(struct kvd *k, const struct kvd_flags *f)
{
    struct rt_stats stats;
    rt_stats(&stats);
    rt_log(k->log, RT_LOG_INFO, "starting kvd", rt_f_str("version", KVD_VERSION),
           rt_f_str("name", f->name), rt_f_str("data-dir", f->data_dir),
           rt_f_uint("procs", rt_procs()), rt_f_str("poller", stats.poller),
           rt_f_str("poller-why", stats.poller_why), rt_f_str("stacks", stats.stack_guards),
           rt_f_str("spilling", stats.spilling), rt_f_str("preemption", stats.preemption));
}

int kvd_start(const struct kvd_flags *flags, struct kvd **out, struct why *why)
{
    struct kvd *k = rt_alloc_zero(sizeof *k);
    enum rt_log_level level = RT_LOG_INFO;
    rt_log_level_parse(flags->log_level, &level); // checked by the flag's choices
    rt_arena_init(&k->arena);
    k->log = rt_log_new(2, level);
    k->metrics = rt_metrics_new();
    rt_metrics_add_runtime(k->metrics);
    int err = check_advertised(flags, why);
    if (err == 0)
        err = listen_on(k, "listen-client-urls", flags->listen_client_urls, false, why);
    if (err == 0)
        err = listen_on(k, "listen-metrics-urls", flags->listen_metrics_urls, true, why);
    if (err == 0) {
        log_start(k, flags);
        err = start_member(k, flags, why);
    }
    if (err) {
        for (uint32_t i = 0; i < k->port_count; i++)
            rt_listener_close(k->ports[i].listener);
        release(k);
        return err;
    }
    k->service = service_new(&(struct service_config){
        .member = k->member,
        .log = k->log,
        .metrics = k->metrics,
        .max_request_bytes = (uint32_t)flags->max_request_bytes,
        .max_txn_ops = (uint32_t)flags->max_txn_ops,
        .election_ms = (uint32_t)flags->election_ms,
        .progress_notify_ns = flags->watch_progress_notify_ns,
    });
    accept_on(k);
    err = rt_go("ready", tell_ready, k);
    assert(err == 0); // the first goroutines of a process
    *out = k;
    return 0;
}

void kvd_stop(struct kvd *k, int64_t deadline_ns)
{
    rt_notify_supervisor("STOPPING=1"); // nothing depends on it
    for (uint32_t i = 0; i < k->port_count; i++)
        rt_listener_close(k->ports[i].listener);
    rt_waitgroup_wait(&k->accepting, deadline_ns);
    // Leadership goes while calls are still answered, so that writers lose nothing.
    member_transfer_leadership(k->member, 0,
                               rt_after_ns(RT_SECOND)); // alone, or no leader: we just stop
    int64_t drained_ns = rt_after_ns(3 * RT_SECOND);
    service_stop(k->service, drained_ns < deadline_ns ? drained_ns : deadline_ns);
    member_begin_stop(k->member);
    rt_note_wait(&k->ready_ended, RT_FOREVER);
    service_free(k->service);
    k->service = NULL;
    member_stop(k->member, deadline_ns);
    rt_log(k->log, RT_LOG_INFO, "closed kvd server");
    release(k);
}

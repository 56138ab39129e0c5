#include "proto/methods.h"
#include <assert.h>
#include <stdio.h>

/* FNV-1a. Paths are ours, so nobody can make them collide. */
static uint32_t hash_more(uint32_t h, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}
#define HASH_START 2166136261u

static uint32_t method_hash(const struct grpc_method *rpc)
{
    uint32_t h = hash_more(HASH_START, "/", 1);
    h = hash_more(h, rpc->service, strlen(rpc->service));
    h = hash_more(h, "/", 1);
    return hash_more(h, rpc->name, strlen(rpc->name));
}

static void add_counters(struct method *m, struct rt_metrics *metrics)
{
    static const char *const types[] = {"unary", "server_stream", "bidi_stream"};
    char base[192], coded[256];
    snprintf(base, sizeof base, "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
             m->rpc.name, m->rpc.service, types[m->rpc.shape]);
    m->started = rt_metrics_counter(metrics, "grpc_server_started_total", base,
                                    "Total number of RPCs started on the server.");
    m->received = rt_metrics_counter(metrics, "grpc_server_msg_received_total", base,
                                     "Total number of RPC stream messages received on the server.");
    m->sent = rt_metrics_counter(metrics, "grpc_server_msg_sent_total", base,
                                 "Total number of gRPC stream messages sent by the server.");
    for (int code = 0; code < GRPC_CODES; code++) {
        snprintf(coded, sizeof coded, "grpc_code=\"%s\",%s", grpc_code_name(code), base);
        m->handled[code] = rt_metrics_counter(
            metrics, "grpc_server_handled_total", coded,
            "Total number of RPCs completed on the server, regardless of success or failure.");
    }
}

void methods_init(struct methods *m, const struct grpc_method *all, uint32_t count,
                  struct rt_metrics *metrics)
{
    uint32_t slots = 4;
    while (slots < 2 * count)
        slots *= 2;
    *m = (struct methods){.count = count, .slot_mask = slots - 1};
    m->all = rt_alloc_zero((count + 1) * sizeof *m->all);
    m->slots = rt_alloc_zero(slots * sizeof *m->slots);
    for (uint32_t i = 0; i < count; i++) {
        m->all[i].rpc = all[i];
        m->all[i].path_hash = method_hash(&all[i]);
        uint32_t slot = m->all[i].path_hash & m->slot_mask;
        while (m->slots[slot])
            slot = (slot + 1) & m->slot_mask;
        m->slots[slot] = i + 1;
        if (metrics)
            add_counters(&m->all[i], metrics);
    }
}

void methods_deinit(struct methods *m)
{
    rt_free(m->all);
    rt_free(m->slots);
}

static bool has_path(const struct method *m, struct rt_bytes path)
{
    size_t service = strlen(m->rpc.service), name = strlen(m->rpc.name);
    return path.len == service + name + 2 && path.data[0] == '/' &&
           memcmp(path.data + 1, m->rpc.service, service) == 0 && path.data[1 + service] == '/' &&
           memcmp(path.data + 2 + service, m->rpc.name, name) == 0;
}

const struct method *methods_find(const struct methods *m, struct rt_bytes path)
{
    uint32_t hash = hash_more(HASH_START, path.data, path.len);
    for (uint32_t slot = hash & m->slot_mask; m->slots[slot]; slot = (slot + 1) & m->slot_mask) {
        const struct method *it = &m->all[m->slots[slot] - 1];
        if (it->path_hash == hash && has_path(it, path))
            return it;
    }
    return NULL;
}

void methods_explain(const struct methods *m, const char *path, char *out, size_t cap)
{
    const char *cut = strrchr(path, '/');
    if (path[0] != '/' || cut == path) {
        snprintf(out, cap, "malformed method name: \"%s\"", path);
        return;
    }
    int service_len = (int)(cut - path - 1);
    for (uint32_t i = 0; i < m->count; i++) {
        const char *service = m->all[i].rpc.service;
        if (strlen(service) == (size_t)service_len &&
            !memcmp(service, path + 1, (size_t)service_len)) {
            snprintf(out, cap, "unknown method %s for service %s", cut + 1, service);
            return;
        }
    }
    snprintf(out, cap, "unknown service %.*s", service_len, path + 1);
}

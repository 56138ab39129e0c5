/* kv/service/http.c: what both ports answer to HTTP/1.1: /version, /health, /metrics; the metrics port
 * also shows the insides of the process. Shapes are etcd's (3.5 and later). */
#include "kv/service/serve.h"

static bool is_path(const struct http1_request *r, const char *path)
{
    return r->path.len == strlen(path) && memcmp(r->path.data, path, r->path.len) == 0;
}

static bool is_get(const struct http1_request *r, struct http1_response *out)
{
    if (rt_bytes_equal(r->method, RT_BYTES("GET")) || rt_bytes_equal(r->method, RT_BYTES("HEAD")))
        return true;
    out->status = 405;
    out->allow = "GET";
    out->content_type = "text/plain; charset=utf-8";
    rt_string_printf(&out->body, "Method Not Allowed\n");
    return false;
}

static void serve_version(struct service *s, struct http1_response *out)
{
    char version[16];
    member_cluster_version(s->member, version);
    out->content_type = "application/json";
    rt_string_printf(
        &out->body, "{\"etcdserver\":\"%s\",\"etcdcluster\":\"%s\",\"storage\":\"%s\"}",
        SERVICE_API_VERSION, *version ? version : "not_decided", SERVICE_STORAGE_VERSION);
}

static bool has_query(const struct http1_request *r, const char *name, const char *value)
{
    char text[64];
    for (unsigned n = 0; http1_query(r, name, n, text, sizeof text) >= 0; n++)
        if (strcmp(text, value) == 0)
            return true;
    return false;
}

/* Why this member is not healthy, or "". The order of the checks is etcd's. */
static const char *complaint(struct service *s, const struct http1_request *r)
{
    if (store_has_alarm(s->store, STORE_ALARM_NOSPACE) && !has_query(r, "exclude", "NOSPACE"))
        return "ALARM NOSPACE";
    if (store_has_alarm(s->store, STORE_ALARM_CORRUPT) && !has_query(r, "exclude", "CORRUPT"))
        return "ALARM CORRUPT";
    if (has_query(r, "serializable", "true"))
        return "";
    struct member_status status;
    member_status(s->member, &status);
    if (!status.leader)
        return "RAFT NO LEADER";
    int err = member_read_barrier(s->member, rt_after_ns(SERVICE_REQUEST_TIMEOUT_MS * RT_MS));
    if (err)
        return "RANGE ERROR:the member cannot read linearizably";
    return "";
}

static void serve_health(struct service *s, const struct http1_request *r,
                         struct http1_response *out)
{
    const char *reason = complaint(s, r);
    out->status = *reason ? 503 : 200;
    out->content_type = "application/json";
    rt_string_printf(&out->body, "{\"health\":\"%s\",\"reason\":\"%s\"}",
                     *reason ? "false" : "true", reason);
    if (*reason && rt_log_gate_open(&s->health_gate, RT_SECOND))
        rt_log(s->config.log, RT_LOG_WARN, "serving /health false", rt_f_str("reason", reason));
}

static void serve_metrics(struct service *s, struct http1_response *out)
{
    out->content_type = "text/plain; version=0.0.4; charset=utf-8";
    rt_metrics_write(s->config.metrics, &out->body);
}

static void not_found(struct http1_response *out)
{
    out->status = 404;
    out->content_type = "text/plain; charset=utf-8";
    rt_string_printf(&out->body, "404 page not found\n");
}

/* What both ports serve. False when the path is none of it. */
static bool serve_common(struct service *s, const struct http1_request *r,
                         struct http1_response *out)
{
    bool is_health = is_path(r, "/health");
    if (!is_health && !is_path(r, "/metrics"))
        return false;
    if (!is_get(r, out))
        return true;
    if (is_health)
        serve_health(s, r, out);
    else
        serve_metrics(s, out);
    return true;
}

void serve_http_client(void *ctx, const struct http1_request *request,
                       struct http1_response *response)
{
    struct service *s = ctx;
    if (serve_common(s, request, response))
        return;
    if (!is_path(request, "/version"))
        not_found(response);
    else if (is_get(request, response))
        serve_version(s, response);
}

void serve_http_metrics(void *ctx, const struct http1_request *request,
                        struct http1_response *response)
{
    struct service *s = ctx;
    if (serve_common(s, request, response))
        return;
    if (!debug_serve(s->debug, request, response))
        not_found(response);
}

/* cmd/kvlab/client.c: calls. */
#include "cmd/kvlab/client.h"
#include "proto/fields.h"
#include <rt/net.h>
#include <rt/parse.h>
#include <stdio.h>

enum { DIAL_MS = 3000, CALL_MS = 15000 };

int client_dial(const char *endpoint, struct client *out, struct why *why)
{
    out->endpoint = endpoint;
    out->grpc = NULL;
    if (grpc_client_dial(endpoint, NULL, rt_after_ns(DIAL_MS * RT_MS), &out->grpc, why) == 0)
        return 0;
    out->grpc = NULL;
    why_prefix(why, "cannot reach %s", endpoint);
    return -1;
}

void client_close(struct client *c)
{
    if (c->grpc)
        grpc_client_close(c->grpc);
    c->grpc = NULL;
}

/* One call; frees `request`. */
static int call(struct client *c, const char *path, struct rt_string *request,
                const ProtobufCMessageDescriptor *type, struct rt_arena *arena,
                ProtobufCMessage **out, struct why *why)
{
    struct grpc_status status;
    struct rt_buf *answer = NULL;
    int code = grpc_client_call(c->grpc, path, rt_bytes(request->data, request->len), NULL, 0,
                                rt_after_ns(CALL_MS * RT_MS), &answer, &status);
    rt_string_deinit(request);
    if (code) {
        why_set(why, "%s, %s: %s (%s)", c->endpoint, path + 1, status.text,
                grpc_code_name(status.code));
        return -1;
    }
    int err = 0;
    if (out)
        err = fields_unpack(type, rt_buf_bytes(answer), arena, SIZE_MAX, out);
    rt_buf_unref(answer);
    if (err)
        why_set(why, "%s, %s: the answer is no %s: %s", c->endpoint, path + 1, type->short_name,
                fields_error_text(err));
    return err ? -1 : 0;
}

int client_status(struct client *c, struct rt_arena *arena, Etcdserverpb__StatusResponse **out,
                  struct why *why)
{
    struct rt_string none = {0};
    ProtobufCMessage *m;
    int err = call(c, "/etcdserverpb.Maintenance/Status", &none,
                   &etcdserverpb__status_response__descriptor, arena, &m, why);
    if (!err)
        *out = (Etcdserverpb__StatusResponse *)m;
    return err;
}

int client_range(struct client *c, struct rt_bytes key, struct rt_bytes end, struct rt_arena *arena,
                 Etcdserverpb__RangeResponse **out, struct why *why)
{
    struct rt_string request = {0};
    ProtobufCMessage *m;
    field_add_bytes(&request, 1, key);
    if (end.len)
        field_add_bytes(&request, 2, end);
    int err = call(c, "/etcdserverpb.KV/Range", &request, &etcdserverpb__range_response__descriptor,
                   arena, &m, why);
    if (!err)
        *out = (Etcdserverpb__RangeResponse *)m;
    return err;
}

int client_put(struct client *c, struct rt_bytes key, struct rt_bytes value, int64_t *revision_out,
               struct why *why)
{
    struct rt_string request = {0};
    struct rt_arena arena;
    ProtobufCMessage *m;
    field_add_bytes(&request, 1, key);
    field_add_bytes(&request, 2, value);
    rt_arena_init(&arena);
    int err = call(c, "/etcdserverpb.KV/Put", &request, &etcdserverpb__put_response__descriptor,
                   &arena, &m, why);
    if (!err && revision_out)
        *revision_out = ((Etcdserverpb__PutResponse *)m)->header->revision;
    rt_arena_deinit(&arena);
    return err;
}

int client_delete_range(struct client *c, struct rt_bytes key, struct rt_bytes end, struct why *why)
{
    struct rt_string request = {0};
    field_add_bytes(&request, 1, key);
    field_add_bytes(&request, 2, end);
    return call(c, "/etcdserverpb.KV/DeleteRange", &request,
                &etcdserverpb__delete_range_response__descriptor, NULL, NULL, why);
}

int client_revision(struct client *c, int64_t *out, struct why *why)
{
    struct rt_arena arena;
    Etcdserverpb__RangeResponse *r;
    rt_arena_init(&arena);
    int err = client_range(c, RT_BYTES("kvlab"), (struct rt_bytes){0}, &arena, &r, why);
    if (!err)
        *out = r->header->revision;
    rt_arena_deinit(&arena);
    return err;
}

int client_latency(struct client *c, struct rt_arena *arena, Kvdpb__LatencyResponse **out,
                   struct why *why)
{
    struct rt_string request = {0};
    ProtobufCMessage *m;
    field_add_uint(&request, 1, 1);
    int err = call(c, "/kvdpb.Insight/Latency", &request, &kvdpb__latency_response__descriptor,
                   arena, &m, why);
    if (!err)
        *out = (Kvdpb__LatencyResponse *)m;
    return err;
}

int client_knobs(struct client *c, struct rt_arena *arena, Kvdpb__KnobListResponse **out,
                 struct why *why)
{
    struct rt_string none = {0};
    ProtobufCMessage *m;
    int err = call(c, "/kvdpb.Insight/KnobList", &none, &kvdpb__knob_list_response__descriptor,
                   arena, &m, why);
    if (!err)
        *out = (Kvdpb__KnobListResponse *)m;
    return err;
}

int client_set_knob(struct client *c, const char *name, const char *value, char *previous,
                    size_t cap, struct why *why)
{
    struct rt_string request = {0};
    struct rt_arena arena;
    ProtobufCMessage *m;
    field_add_text(&request, 1, name);
    field_add_text(&request, 2, value);
    rt_arena_init(&arena);
    int err = call(c, "/kvdpb.Insight/KnobSet", &request, &kvdpb__knob_set_response__descriptor,
                   &arena, &m, why);
    if (!err && previous)
        snprintf(previous, cap, "%s", ((Kvdpb__KnobSetResponse *)m)->previous);
    rt_arena_deinit(&arena);
    return err;
}

int client_watch(struct client *c, struct rt_bytes key, struct rt_bytes end,
                 struct grpc_stream **out, struct why *why)
{
    enum { SEND_S = 60 };
    struct grpc_status status;
    struct grpc_stream *stream;
    struct rt_string request = {0};
    if (grpc_stream_open(c->grpc, "/etcdserverpb.Watch/Watch", NULL, 0, RT_FOREVER, &stream,
                         &status)) {
        why_set(why, "%s: no watch stream: %s", c->endpoint, status.text);
        return -1;
    }
    size_t mark = field_begin(&request, 1);
    field_add_bytes(&request, 1, key);
    field_add_bytes(&request, 2, end);
    field_end(&request, mark);
    struct grpc_part part = {.bytes = rt_bytes(request.data, request.len)};
    int err = grpc_stream_send(stream, &part, 1, rt_after_ns(SEND_S * RT_SECOND));
    rt_string_deinit(&request);
    if (err) {
        why_set(why, "%s: a watch stream takes no request", c->endpoint);
        grpc_stream_close(stream);
        return -1;
    }
    *out = stream;
    return 0;
}

/* ---- /metrics ---- */

double metric_of(const char *text, const char *name)
{
    double sum = 0, value;
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, name, len) != 0 || (line[len] != ' ' && line[len] != '{'))
            continue;
        const char *end = line + strcspn(line, "\r\n"), *at = end;
        while (at > line && at[-1] != ' ')
            at--;
        char number[48];
        snprintf(number, sizeof number, "%.*s", (int)(end - at), at);
        if (rt_parse_double(number, &value) == 0)
            sum += value;
    }
    return sum;
}

/* ---- HTTP ---- */

int client_http(const char *endpoint, const char *method, const char *target,
                struct http_answer *answer, struct why *why)
{
    struct rt_conn *conn;
    char request[320], buf[2048];
    ssize_t n = 1;
    if (rt_dial(endpoint, rt_after_ns(DIAL_MS * RT_MS), &conn, why)) {
        why_prefix(why, "cannot reach http://%s%s", endpoint, target);
        return -1;
    }
    int len = snprintf(request, sizeof request,
                       "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", method, target,
                       endpoint, strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
    rt_conn_set_read_deadline(conn, rt_after_ns(CALL_MS * RT_MS));
    http_answer_begin(answer);
    bool ok = rt_conn_write(conn, request, (size_t)len) == 0;
    while (ok && answer->phase != HTTP_DONE && (n = rt_conn_read(conn, buf, sizeof buf)) > 0)
        ok = http_answer_take(answer, buf, (size_t)n) == n;
    ok = ok && n >= 0 && (answer->phase == HTTP_DONE || http_answer_ended(answer));
    rt_conn_close(conn);
    rt_conn_unref(conn);
    if (!ok)
        why_set(why, "http://%s%s does not answer", endpoint, target);
    return ok ? 0 : -1;
}

int client_metrics(const char *endpoint, const char *const *names, double *out, uint32_t count,
                   struct why *why)
{
    struct http_answer answer = {0};
    int err = client_http(endpoint, "GET", "/metrics", &answer, why);
    if (!err && answer.status != 200) {
        why_set(why, "http://%s/metrics answers with status %d", endpoint, answer.status);
        err = -1;
    }
    for (uint32_t i = 0; i < count && !err; i++)
        out[i] = metric_of(rt_string_cstr(&answer.body), names[i]);
    http_answer_deinit(&answer);
    return err;
}

int client_metric(const char *endpoint, const char *name, double *out, struct why *why)
{
    return client_metrics(endpoint, &name, out, 1, why);
}

int client_preemptions(const char *endpoint, double *out, struct why *why)
{
    static const char *const names[] = {"kvd_runtime_preempted_slice_total",
                                        "kvd_runtime_preempted_need_total"};
    double values[2];
    int err = client_metrics(endpoint, names, values, 2, why);
    if (!err)
        *out = values[0] + values[1];
    return err;
}

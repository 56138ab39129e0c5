/* kv/service/dispatch.c: from the table of methods to the handlers, and what every handler needs: a
 * deadline, a header, a proposal, a way to fail. One method is one line of rpc.def. */
#include "kv/service/serve.h"
#include "rt/go.h"
#include <assert.h>
#include <errno.h>

#define SHAPE_UNARY  GRPC_UNARY
#define SHAPE_SERVER GRPC_SERVER_STREAM
#define SHAPE_BIDI   GRPC_BIDI

typedef enum grpc_done handler(void *ctx, struct grpc_call *call, struct rt_bytes message);
static const struct {
    const char *service, *name;
    enum grpc_shape shape;
    handler *serve; // NULL: not built yet
} methods[] = {
#define RPC(service, method, request, response, shape, needs, serve)                               \
    {service, #method, SHAPE_##shape, serve},
#include "proto/rpc.def"
};
enum { METHODS = sizeof(methods) / sizeof(methods[0]) };

/* Every call of a client begins here. What is checked holds for all methods; the first to complain is
 * heard, in etcd's order. */
static enum grpc_done dispatch(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    const char *version = grpc_call_client_version(call);
    if (version && !fields_utf8_is_valid(rt_bytes(version, strlen(version)))) {
        serve_fail_status(call, STATUS_BAD_CLIENT_VERSION);
        return GRPC_DONE;
    }
    struct member_status status;
    member_status(s->member, &status);
    if (grpc_call_needs_leader(call) && !status.leader) {
        serve_fail(s, call, MEMBER_NO_LEADER);
        return GRPC_DONE;
    }
    uint32_t method = grpc_call_tag(call);
    assert(method < METHODS);
    return methods[method].serve(s, call, message);
}

/* The methods that have a handler; of the others proto says that they are unknown (Unimplemented). */
static uint32_t list_built(struct grpc_method *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < METHODS; i++)
        if (methods[i].serve)
            out[count++] = (struct grpc_method){
                .service = methods[i].service,
                .name = methods[i].name,
                .shape = methods[i].shape,
                .serve = dispatch,
                .tag = i,
            };
    return count;
}

struct service *service_new(const struct service_config *config)
{
    struct service *s = rt_alloc_zero(sizeof *s);
    s->config = *config;
    s->member = config->member;
    s->store = member_store(config->member);
    s->cluster_id = member_cluster_id(config->member);
    s->member_id = member_id(config->member);
    struct http1_options http = {.serve = serve_http_client, .ctx = s, .log = config->log};
    s->metrics_http = http;
    s->metrics_http.serve = serve_http_metrics;
    s->debug = debug_new(config->log);

    struct grpc_method built[METHODS];
    uint32_t count = list_built(built);
    s->grpc = grpc_server_new(&(struct grpc_server_options){
        .methods = built,
        .method_count = count,
        .ctx = s,
        .http1 = &http,
        .max_receive_bytes = config->max_request_bytes + SERVICE_RECEIVE_EXTRA,
        .log = config->log,
        .metrics = config->metrics,
    });
    int err =
        rt_go("leader-watch", leader_calls_watch, s); // ends when the member or the service stops
    if (err)
        rt_fatal("no goroutine to watch the leader: the service cannot start");
    return s;
}

void service_accept_clients(struct service *s, struct rt_listener *listener)
{
    grpc_accept(s->grpc, listener);
}

void service_accept_metrics(struct service *s, struct rt_listener *listener)
{
    http1_accept(&s->metrics_http, listener, SERVICE_METRICS_CONNECTIONS);
}

void service_stop(struct service *s, int64_t deadline_ns)
{
    atomic_store(&s->stopping, true);
    grpc_server_drain(s->grpc, deadline_ns);
}

void service_free(struct service *s)
{
    assert(atomic_load(&s->stopping));
    rt_note_wait(&s->leader_watch_ended, RT_FOREVER);
    assert(s->leader_calls == NULL);
    grpc_server_free(s->grpc);
    debug_free(s->debug);
    rt_free(s);
}

int64_t serve_deadline_ns(const struct service *s, const struct grpc_call *call)
{
    int64_t ours =
        rt_after_ns((SERVICE_REQUEST_TIMEOUT_MS + 2 * (int64_t)s->config.election_ms) * RT_MS);
    int64_t theirs = grpc_call_deadline_ns(call);
    return theirs < ours ? theirs : ours;
}

void serve_fail_status(struct grpc_call *call, enum service_status status)
{
    grpc_fail(call, (enum grpc_code)service_status_code(status), service_status_text(status));
}

/* A status that no table foresaw is our mistake: whoever sees it at a client finds it in the log. */
static void log_bug(struct service *s, const struct grpc_call *call, int err)
{
    const struct grpc_method *method = grpc_call_method(call);
    if (rt_log_gate_open(&s->bug_gate, RT_SECOND))
        rt_log(s->config.log, RT_LOG_ERROR,
               "a call ended with a code that clients have no status for",
               rt_f_str("service", method->service), rt_f_str("method", method->name),
               rt_f_int("code", err));
}

void serve_fail(struct service *s, struct grpc_call *call, int err)
{
    assert(err != 0);
    int ended = grpc_call_err(call);
    if (ended == -ETIMEDOUT || ended == -ECANCELED)
        err = ended;
    enum service_status status = service_status_of(err);
    if (status == STATUS_INTERNAL)
        log_bug(s, call, err);
    serve_fail_status(call, status);
}

int serve_read_numbers(struct rt_bytes message, uint64_t *out, uint32_t count)
{
    struct fields f = fields_of(message);
    struct field it;
    int more;
    for (uint32_t i = 0; i < count; i++)
        out[i] = 0;
    while ((more = fields_next(&f, &it)) > 0)
        if (it.wire == FIELD_VARINT && it.number <= count)
            out[it.number - 1] = it.value;
    return more;
}

bool serve_numbers(struct service *s, struct grpc_call *call, struct rt_bytes message,
                   uint64_t *out, uint32_t count)
{
    int err = serve_read_numbers(message, out, count);
    if (err)
        serve_fail(s, call, err);
    return err == 0;
}

void serve_add_header(struct service *s, struct rt_string *out, int64_t revision)
{
    struct member_status status;
    member_status(s->member, &status);
    size_t len = field_uint_size(1, s->cluster_id) + field_uint_size(2, s->member_id) +
                 field_uint_size(3, (uint64_t)revision) + field_uint_size(4, status.term);
    field_add_len(out, 1, len);
    field_add_uint(out, 1, s->cluster_id);
    field_add_uint(out, 2, s->member_id);
    field_add_uint(out, 3, (uint64_t)revision);
    field_add_uint(out, 4, status.term);
}

static void release_body(struct rt_buf *owner)
{
    void *bytes;
    memcpy(&bytes, owner->data, sizeof bytes);
    rt_free(bytes);
    rt_free(owner);
}

/* A buffer whose release frees the string's bytes, so that they need not be copied. */
static struct rt_buf *own_body(struct rt_string *body)
{
    struct rt_buf *owner = rt_buf_new(sizeof(void *));
    memcpy(owner->data, &body->data, sizeof body->data);
    owner->len = sizeof body->data;
    owner->release = release_body;
    *body = (struct rt_string){0};
    return owner;
}

void serve_answer(struct service *s, struct grpc_call *call, int64_t revision,
                  struct rt_string *body)
{
    struct rt_string header = {0};
    serve_add_header(s, &header, revision);
    struct grpc_part parts[2] = {{.bytes = rt_bytes(header.data, header.len)},
                                 {.bytes = rt_bytes(body->data, body->len)}};
    if (body->len > SERVICE_COPY_BYTES)
        parts[1].owner = own_body(body);
    grpc_reply(call, parts, body->len || parts[1].owner ? 2 : 1);
    rt_string_deinit(&header);
    rt_string_deinit(body);
}

bool serve_propose(struct service *s, struct grpc_call *call, enum store_command_kind kind,
                   struct rt_bytes request, struct store_result *result, struct member_outcome *out)
{
    *result = (struct store_result){0};
    *out = (struct member_outcome){.result = result};
    if (request.len + SERVICE_ENTRY_OVERHEAD > s->config.max_request_bytes) {
        serve_fail(s, call, MEMBER_TOO_LARGE);
        return false;
    }
    struct member_proposal proposal = {
        .kind = kind, .body = request, .deadline_ns = serve_deadline_ns(s, call)};
    int err = member_propose(s->member, &proposal, out);
    if (err == 0 && result->code == 0)
        return true;
    serve_fail(s, call, err ? err : result->code);
    if (err == 0)
        serve_release(s, result, out);
    return false;
}

void serve_release(struct service *s, struct store_result *result, struct member_outcome *out)
{
    store_result_deinit(s->store, result);
    rt_buf_unref(out->command);
}

bool serve_barrier(struct service *s, struct grpc_call *call)
{
    int err = member_read_barrier(s->member, serve_deadline_ns(s, call));
    if (err)
        serve_fail(s, call, err);
    return err == 0;
}

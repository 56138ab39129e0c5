/* cmd/kvctl/client.c: from a request to an answer, over the endpoints in the order given. */
#include "cmd/kvctl/kvctl.h"
#include <stdio.h>

void kvctl_hang_up(struct kvctl *k)
{
    if (k->client)
        grpc_client_close(k->client);
    k->client = NULL;
}

/* "http://host:port" and "host:port" name the same. NULL with why for what we cannot speak. */
static const char *address_of(const char *endpoint, struct why *why)
{
    if (strncmp(endpoint, "http://", 7) == 0)
        return endpoint + 7;
    if (strncmp(endpoint, "https://", 8) == 0) {
        why_set(why, "%s: TLS is not built yet; use http://", endpoint);
        return NULL;
    }
    return endpoint;
}

static int dial(struct kvctl *k, const char *endpoint, struct why *why)
{
    if (k->client && k->client_endpoint == endpoint && grpc_client_is_alive(k->client))
        return 0;
    kvctl_hang_up(k);
    const char *address = address_of(endpoint, why);
    if (!address)
        return -1;
    int err = grpc_client_dial(address, NULL, rt_after_ns(k->dial_timeout_ns), &k->client, why);
    if (err) {
        why_prefix(why, "cannot reach %s", endpoint);
        k->client = NULL;
        return err;
    }
    k->client_endpoint = endpoint;
    return 0;
}

static int unpack(struct kvctl *k, struct rt_bytes bytes, const ProtobufCMessageDescriptor *type,
                  void *answer_out)
{
    ProtobufCMessage *message;
    int err = fields_unpack(type, bytes, &k->answers, SIZE_MAX, &message);
    if (err == 0)
        memcpy(answer_out, &message, sizeof message);
    return err;
}

int kvctl_unpack(struct kvctl *k, struct rt_bytes bytes, const ProtobufCMessageDescriptor *type,
                 void *answer_out)
{
    int err = unpack(k, bytes, type, answer_out);
    return err ? kvctl_fail(KVCTL_ERROR, "%s sent an answer that is no %s: %s", k->client_endpoint,
                            type->short_name, fields_error_text(err))
               : 0;
}

int kvctl_call_at(struct kvctl *k, const char *endpoint, const char *path,
                  const struct rt_string *request, const ProtobufCMessageDescriptor *type,
                  void *answer_out, struct grpc_status *status)
{
    struct why why = {{0}};
    if (dial(k, endpoint, &why)) {
        status->code = GRPC_UNAVAILABLE;
        snprintf(status->text, sizeof status->text, "%s", why.text);
        return status->code;
    }
    struct rt_buf *answer = NULL;
    int code = grpc_client_call(k->client, path, rt_bytes(request->data, request->len), NULL, 0,
                                rt_after_ns(k->command_timeout_ns), &answer, status);
    if (code)
        return code;
    int err = unpack(k, rt_buf_bytes(answer), type, answer_out);
    rt_buf_unref(answer);
    if (err) {
        status->code = GRPC_INTERNAL;
        snprintf(status->text, sizeof status->text, "the answer is no %s: %s", type->short_name,
                 fields_error_text(err));
    }
    return err ? GRPC_INTERNAL : 0;
}

int kvctl_call(struct kvctl *k, const char *path, const struct rt_string *request,
               const ProtobufCMessageDescriptor *type, void *answer_out)
{
    struct why first = {{0}};
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        struct why why = {{0}};
        if (dial(k, k->endpoints[i], &why)) {
            if (i == 0)
                first = why;
            continue; // nothing left this machine: another endpoint may do it
        }
        struct grpc_status status;
        int code = kvctl_call_at(k, k->endpoints[i], path, request, type, answer_out, &status);
        return code ? kvctl_fail(KVCTL_ERROR, "%s", status.text) : 0;
    }
    return kvctl_fail(KVCTL_ERROR,
                      k->endpoint_count > 1 ? "no endpoint answers: %s, and so on" : "%s",
                      first.text);
}

int kvctl_stream(struct kvctl *k, const char *path, struct grpc_stream **out)
{
    struct why first = {{0}};
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        struct why why = {{0}};
        if (dial(k, k->endpoints[i], &why)) {
            if (i == 0)
                first = why;
            continue;
        }
        struct grpc_status status;
        int code = grpc_stream_open(k->client, path, NULL, 0, RT_FOREVER, out, &status);
        return code ? kvctl_fail(KVCTL_ERROR, "%s", status.text) : 0;
    }
    return kvctl_fail(KVCTL_ERROR,
                      k->endpoint_count > 1 ? "no endpoint answers: %s, and so on" : "%s",
                      first.text);
}

int kvctl_flush(struct kvctl *k)
{
    size_t written = fwrite(k->out.data, 1, k->out.len, stdout);
    bool ok = written == k->out.len && fflush(stdout) == 0;
    k->out.len = 0;
    return ok ? KVCTL_OK : KVCTL_IO;
}

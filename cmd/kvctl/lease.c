/* cmd/kvctl/lease.c: lease grant, revoke, timetolive, list, keep-alive. */
#include "cmd/kvctl/kvctl.h"
#include "rt/parse.h"
#include <inttypes.h>

static bool read_id(struct kvctl *k, int64_t *id)
{
    uint64_t value;
    if (rt_parse_hex(k->args[0], &value))
        return kvctl_over(
            k, KVCTL_BAD_ARGS,
            "bad lease id \"%s\": it is a hexadecimal number, as lease grant prints it",
            k->args[0]);
    *id = (int64_t)value;
    return true;
}

/* In JSON, a lease's header stands flat beside its fields, as in Go's client. */
static void add_json_header(struct rt_string *out, const Etcdserverpb__ResponseHeader *h)
{
    struct rt_string header = {0};
    if (h)
        print_json_message(&header, &h->base);
    if (header.len > 2) { // without the braces, and with a comma
        rt_string_append(out, header.data + 1, header.len - 2);
        rt_string_append(out, ",", 1);
    }
    rt_string_deinit(&header);
}

int command_lease_grant(struct kvctl *k)
{
    int64_t ttl_s;
    if (kvctl_refuse_table(k) || !kvctl_options(k, NULL, 0, 1, 1, "lease grant <ttl in seconds>"))
        return k->exit;
    if (rt_parse_i64(k->args[0], &ttl_s))
        return kvctl_fail(KVCTL_BAD_ARGS, "bad TTL \"%s\": it is a whole number of seconds",
                          k->args[0]);
    struct rt_string request = {0};
    Etcdserverpb__LeaseGrantResponse *r;
    field_add_int(&request, 1, ttl_s);
    int status = kvctl_call(k, "/etcdserverpb.Lease/LeaseGrant", &request,
                            &etcdserverpb__lease_grant_response__descriptor, &r);
    rt_string_deinit(&request);
    if (status)
        return status;
    if (k->format == FORMAT_JSON) {
        rt_string_printf(&k->out, "{");
        add_json_header(&k->out, r->header);
        rt_string_printf(&k->out, "\"ID\":%" PRId64 ",\"TTL\":%" PRId64 ",\"Error\":\"%s\"}\n",
                         r->id, r->ttl, r->error);
    } else if (k->format == FORMAT_FIELDS) {
        print_fields_header(&k->out, r->header);
        rt_string_printf(&k->out, "\"ID\" : %" PRId64 "\n\"TTL\" : %" PRId64 "\n", r->id, r->ttl);
    } else {
        rt_string_printf(&k->out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n", r->id,
                         r->ttl);
    }
    return kvctl_flush(k);
}

int command_lease_revoke(struct kvctl *k)
{
    int64_t id = 0;
    if (kvctl_refuse_table(k) || !kvctl_options(k, NULL, 0, 1, 1, "lease revoke <lease id>") ||
        !read_id(k, &id))
        return k->exit;
    struct rt_string request = {0};
    Etcdserverpb__LeaseRevokeResponse *r;
    field_add_int(&request, 1, id);
    int status = kvctl_call(k, "/etcdserverpb.Lease/LeaseRevoke", &request,
                            &etcdserverpb__lease_revoke_response__descriptor, &r);
    rt_string_deinit(&request);
    if (status)
        return status;
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
    } else if (k->format == FORMAT_FIELDS) {
        print_fields_header(&k->out, r->header);
    } else {
        rt_string_printf(&k->out, "lease %016" PRIx64 " revoked\n", id);
    }
    return kvctl_flush(k);
}

static void ttl_simple(struct kvctl *k, const Etcdserverpb__LeaseTimeToLiveResponse *r, bool keys)
{
    if (r->grantedttl == 0 && r->ttl == -1) {
        rt_string_printf(&k->out, "lease %016" PRIx64 " already expired\n", r->id);
        return;
    }
    rt_string_printf(&k->out,
                     "lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)",
                     r->id, r->grantedttl, r->ttl);
    if (keys) {
        rt_string_printf(&k->out, ", attached keys([");
        for (size_t i = 0; i < r->n_keys; i++) {
            if (i)
                rt_string_append(&k->out, " ", 1);
            print_bytes(k, kvctl_blob(r->keys[i]));
        }
        rt_string_printf(&k->out, "])");
    }
    rt_string_append(&k->out, "\n", 1);
}

int command_lease_timetolive(struct kvctl *k)
{
    bool keys = false;
    const struct option options[] = {
        {"keys", 0, OPTION_SWITCH, &keys, "also the keys that are attached"}};
    int64_t id = 0;
    if (kvctl_refuse_table(k) ||
        !kvctl_options(k, options, 1, 1, 1, "lease timetolive [options] <lease id>") ||
        !read_id(k, &id))
        return k->exit;
    struct rt_string request = {0};
    Etcdserverpb__LeaseTimeToLiveResponse *r;
    field_add_int(&request, 1, id);
    field_add_uint(&request, 2, keys);
    int status = kvctl_call(k, "/etcdserverpb.Lease/LeaseTimeToLive", &request,
                            &etcdserverpb__lease_time_to_live_response__descriptor, &r);
    rt_string_deinit(&request);
    if (status)
        return status;
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
    } else if (k->format == FORMAT_FIELDS) {
        print_fields_header(&k->out, r->header);
        rt_string_printf(
            &k->out, "\"ID\" : %" PRId64 "\n\"TTL\" : %" PRId64 "\n\"GrantedTTL\" : %" PRId64 "\n",
            r->id, r->ttl, r->grantedttl);
        for (size_t i = 0; i < r->n_keys; i++) {
            rt_string_printf(&k->out, "\"Key\" : ");
            print_go_quoted(&k->out, kvctl_blob(r->keys[i]));
            rt_string_append(&k->out, "\n", 1);
        }
    } else {
        ttl_simple(k, r, keys);
    }
    return kvctl_flush(k);
}

int command_lease_list(struct kvctl *k)
{
    if (kvctl_refuse_table(k) || !kvctl_options(k, NULL, 0, 0, 0, "lease list"))
        return k->exit;
    struct rt_string request = {0};
    Etcdserverpb__LeaseLeasesResponse *r;
    int status = kvctl_call(k, "/etcdserverpb.Lease/LeaseLeases", &request,
                            &etcdserverpb__lease_leases_response__descriptor, &r);
    if (status)
        return status;
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
        return kvctl_flush(k);
    }
    if (k->format == FORMAT_FIELDS)
        print_fields_header(&k->out, r->header);
    else
        rt_string_printf(&k->out, "found %zu leases\n", r->n_leases);
    for (size_t i = 0; i < r->n_leases; i++)
        rt_string_printf(&k->out,
                         k->format == FORMAT_FIELDS ? "\"ID\" : %" PRId64 "\n" : "%016" PRIx64 "\n",
                         r->leases[i]->id);
    return kvctl_flush(k);
}

static void print_keep_alive(struct kvctl *k, const Etcdserverpb__LeaseKeepAliveResponse *r)
{
    if (k->format == FORMAT_JSON) {
        rt_string_printf(&k->out, "{");
        add_json_header(&k->out, r->header);
        rt_string_printf(&k->out, "\"ID\":%" PRId64 ",\"TTL\":%" PRId64 "}\n", r->id, r->ttl);
    } else if (k->format == FORMAT_FIELDS) {
        print_fields_header(&k->out, r->header);
        rt_string_printf(&k->out, "\"ID\" : %" PRId64 "\n\"TTL\" : %" PRId64 "\n", r->id, r->ttl);
    } else if (r->ttl > 0) {
        rt_string_printf(&k->out, "lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n", r->id,
                         r->ttl);
    } else {
        rt_string_printf(&k->out, "lease %016" PRIx64 " expired or revoked.\n", r->id);
    }
}

/* Renew once on an open stream. -1: done, go on; else an exit status. */
static int renew(struct kvctl *k, struct grpc_stream *stream, int64_t id, int64_t *ttl_s)
{
    struct rt_string request = {0};
    field_add_int(&request, 1, id);
    grpc_stream_send(stream, &(struct grpc_part){.bytes = rt_bytes(request.data, request.len)}, 1,
                     RT_FOREVER); // recv tells
    rt_string_deinit(&request);
    struct rt_buf *message;
    int got = grpc_stream_recv(stream, &message, rt_after_ns(k->command_timeout_ns));
    if (got != 1)
        return kvctl_fail(KVCTL_ERROR, "%s",
                          got == 0 ? grpc_stream_status(stream)->text : "no answer in time");
    Etcdserverpb__LeaseKeepAliveResponse *answer;
    int status = kvctl_unpack(k, rt_buf_bytes(message),
                              &etcdserverpb__lease_keep_alive_response__descriptor, &answer);
    rt_buf_unref(message);
    if (status)
        return status;
    print_keep_alive(k, answer);
    *ttl_s = answer->ttl;
    status = kvctl_flush(k);
    return status ? status : -1;
}

int command_lease_keep_alive(struct kvctl *k)
{
    bool once = false;
    const struct option options[] = {{"once", 0, OPTION_SWITCH, &once, "renew once and end"}};
    int64_t id = 0, ttl_s = 1;
    if (kvctl_refuse_table(k) ||
        !kvctl_options(k, options, 1, 1, 1, "lease keep-alive [options] <lease id>") ||
        !read_id(k, &id))
        return k->exit;
    struct grpc_stream *stream;
    int status = kvctl_stream(k, "/etcdserverpb.Lease/LeaseKeepAlive", &stream);
    if (status)
        return status;
    while ((status = renew(k, stream, id, &ttl_s)) == -1 && !once && ttl_s > 0) {
        rt_sleep_ns(ttl_s * RT_SECOND / 3);
        rt_arena_reset(&k->answers);
    }
    grpc_stream_close(stream);
    return status == -1 ? KVCTL_OK : status;
}

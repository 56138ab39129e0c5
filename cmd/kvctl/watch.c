/* cmd/kvctl/watch.c: watch a key or a range until interrupted, cancelled, or the stream breaks; then
 * open it again after the last revision seen, at whichever endpoint answers. */
#include "cmd/kvctl/kvctl.h"
#include <inttypes.h>
#include <stdio.h>

struct watch_asked {
    bool prefix, prev_kv, progress_notify;
    int64_t rev;
    struct rt_bytes key, end;
};

/* The same rules as a range's. */
static bool read_asked(struct kvctl *k, struct watch_asked *w)
{
    const struct option options[] = {
        {"prefix", 0, OPTION_SWITCH, &w->prefix, "all keys that begin with the key"},
        {"rev", 0, OPTION_INT, &w->rev, "from this revision on"},
        {"prev-kv", 0, OPTION_SWITCH, &w->prev_kv, "print what was there before, too"},
        {"progress-notify", 0, OPTION_SWITCH, &w->progress_notify,
         "print progress of an idle watch"},
    };
    if (!kvctl_options(k, options, 4, 1, 2, "watch [options] <key> [range_end]"))
        return false;
    w->key = kvctl_text(k->args[0]);
    if (k->arg_count == 2 && w->prefix)
        return kvctl_over(k, KVCTL_BAD_ARGS,
                          "`range_end` and `--prefix` cannot be set at the same time, choose one");
    if (k->arg_count == 2)
        w->end = kvctl_text(k->args[1]);
    if (!w->prefix)
        return true;
    uint8_t *end = rt_arena_copy(&k->arena, w->key.data, w->key.len);
    size_t len = w->key.len;
    while (len > 0 && end[len - 1] == 0xff)
        len--;
    if (len)
        end[len - 1]++;
    w->end = len ? rt_bytes(end, len) : RT_BYTES("\0");
    return true;
}

static int send_create(const struct watch_asked *w, int64_t rev, struct grpc_stream *stream)
{
    struct rt_string request = {0};
    size_t mark = field_begin(&request, 1);
    field_add_bytes(&request, 1, w->key);
    field_add_bytes(&request, 2, w->end);
    field_add_int(&request, 3, rev);
    field_add_uint(&request, 4, w->progress_notify);
    field_add_uint(&request, 6, w->prev_kv);
    field_end(&request, mark);
    int err = grpc_stream_send(
        stream, &(struct grpc_part){.bytes = rt_bytes(request.data, request.len)}, 1, RT_FOREVER);
    rt_string_deinit(&request);
    return err;
}

/* One answer. -1: go on; else an exit status. */
static int take_answer(struct kvctl *k, const Etcdserverpb__WatchResponse *r, int64_t *next_rev)
{
    if (r->canceled) {
        const char *reason = r->compact_revision
                                 ? "etcdserver: mvcc: required revision has been compacted"
                                 : r->cancel_reason;
        fprintf(stderr, "watch was canceled (%s)\n", reason);
        return kvctl_fail(KVCTL_UNHEALTHY, "watch is canceled by the server");
    }
    if (r->n_events) {
        *next_rev = r->events[r->n_events - 1]->kv->mod_revision + 1;
        print_watch(k, r);
    } else if (r->created) {
        if (!*next_rev && r->header)
            *next_rev = r->header->revision + 1;
    } else if (r->header) {
        if (r->header->revision >= *next_rev)
            *next_rev = r->header->revision + 1;
        if (k->format == FORMAT_JSON)
            print_watch(k, r);
        else
            rt_string_printf(&k->out, "progress notify: %" PRId64 "\n", r->header->revision);
    }
    int status = kvctl_flush(k);
    return status ? status : -1;
}

/* One stream to its end. -1: open another; else an exit status. */
static int follow(struct kvctl *k, const struct watch_asked *w, int64_t *next_rev)
{
    struct grpc_stream *stream;
    int status = kvctl_stream(k, "/etcdserverpb.Watch/Watch", &stream);
    if (status)
        return status;
    send_create(w, *next_rev, stream); // a failure shows in recv
    status = -1;
    struct rt_buf *message;
    while (status == -1 && grpc_stream_recv(stream, &message, RT_FOREVER) == 1) {
        Etcdserverpb__WatchResponse *answer;
        status = kvctl_unpack(k, rt_buf_bytes(message), &etcdserverpb__watch_response__descriptor,
                              &answer);
        rt_buf_unref(message);
        if (status == 0)
            status = take_answer(k, answer, next_rev);
        rt_arena_reset(&k->answers);
    }
    if (status == -1) {
        const struct grpc_status *end = grpc_stream_status(stream);
        if (end->code != GRPC_UNAVAILABLE)
            status = kvctl_fail(KVCTL_ERROR, "%s", end->text);
    }
    grpc_stream_close(stream);
    return status;
}

int command_watch(struct kvctl *k)
{
    struct watch_asked w = {0};
    if (!read_asked(k, &w))
        return k->exit;
    if (kvctl_refuse_table(k))
        return k->exit;
    int64_t next_rev = w.rev;
    int status;
    while ((status = follow(k, &w, &next_rev)) == -1) {
        kvctl_hang_up(k);
        rt_sleep_ns(100 * RT_MS); // the member stopped: the next one, or the same a moment later
    }
    return status;
}

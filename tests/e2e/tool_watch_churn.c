/* tests/e2e/tool_watch_churn.c: watch streams that come and go:
 *
 *     tool_watch_churn ENDPOINTS STOP-FILE [STREAMS]
 *
 * Each of STREAMS (100) goroutines opens a watch, waits until it is there, holds it for 50 to 700 ms,
 * closes it, and begins again: every second one on a connection of its own, made anew each time, the
 * others over a connection for each endpoint. Ends when STOP-FILE exists, and says how many watches there
 * were; says "churning" when every goroutine has closed two. Exit status 0 when all of them worked. */
#include "proto/fields.h"
#include "proto/grpc.h"
#include <inttypes.h>
#include <rt/file.h>
#include <rt/go.h>
#include <rt/parse.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdio.h>

enum { ENDPOINTS_MAX = 9, STREAMS_MAX = 1000, CALL_S = 20, HOLD_LEAST_MS = 50, HOLD_SPAN_MS = 650 };

struct churn {
    char *endpoints[ENDPOINTS_MAX];
    uint32_t endpoint_count;
    const char *stop_file;
    uint64_t streams;
    struct grpc_client *shared[ENDPOINTS_MAX];
    struct rt_waitgroup all;
    _Atomic uint64_t watches, churning;
    _Atomic bool stop, failed;
};

struct watcher {
    struct churn *churn;
    uint32_t id;
};

static int send_create(struct grpc_stream *stream)
{
    struct rt_string request = {0};
    size_t mark = field_begin(&request, 1);
    field_add_bytes(&request, 1, RT_BYTES("churn"));
    field_end(&request, mark);
    int err =
        grpc_stream_send(stream, &(struct grpc_part){.bytes = rt_bytes(request.data, request.len)},
                         1, rt_after_ns(CALL_S * RT_SECOND));
    rt_string_deinit(&request);
    return err;
}

static bool watch_once(struct grpc_client *client)
{
    struct grpc_stream *stream;
    struct grpc_status status;
    struct rt_buf *created;
    if (grpc_stream_open(client, "/etcdserverpb.Watch/Watch", NULL, 0, RT_FOREVER, &stream,
                         &status))
        return false;
    bool good = send_create(stream) == 0 &&
                grpc_stream_recv(stream, &created, rt_after_ns(CALL_S * RT_SECOND)) == 1;
    if (good) {
        rt_buf_unref(created);
        rt_sleep_ns((HOLD_LEAST_MS + (int64_t)(rt_random_u64() % HOLD_SPAN_MS)) * RT_MS);
    }
    grpc_stream_close(stream);
    return good;
}

static bool watch_on_a_connection_of_its_own(const char *endpoint)
{
    struct grpc_client *client;
    struct why why;
    if (grpc_client_dial(endpoint, NULL, rt_after_ns(CALL_S * RT_SECOND), &client, &why))
        return false;
    bool good = watch_once(client);
    grpc_client_close(client);
    return good;
}

static void come_and_go(void *arg)
{
    struct watcher *w = arg;
    struct churn *c = w->churn;
    uint32_t at = w->id / 2 % c->endpoint_count;
    for (int i = 0; !atomic_load(&c->stop); i++) {
        bool good = w->id % 2 ? watch_on_a_connection_of_its_own(c->endpoints[at])
                              : watch_once(c->shared[at]);
        if (!good)
            atomic_store(&c->failed, true);
        atomic_fetch_add(&c->watches, 1);
        if (i == 1 && atomic_fetch_add(&c->churning, 1) + 1 == c->streams)
            fprintf(stderr, "churning\n");
    }
    rt_waitgroup_done(&c->all);
}

static bool dial_shared(struct churn *c)
{
    struct why why;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        if (grpc_client_dial(c->endpoints[i], NULL, rt_after_ns(CALL_S * RT_SECOND), &c->shared[i],
                             &why)) {
            fprintf(stderr, "cannot reach %s: %s\n", c->endpoints[i], why.text);
            return false;
        }
    return true;
}

static int run(void *arg)
{
    struct churn *c = arg;
    struct watcher *watchers = rt_alloc_zero(c->streams * sizeof *watchers);
    if (!dial_shared(c))
        return 1;
    for (uint32_t i = 0; i < c->streams; i++) {
        watchers[i] = (struct watcher){c, i};
        rt_waitgroup_add(&c->all, 1);
        if (rt_go("watcher", come_and_go, &watchers[i])) // ends with the stop file
            return 1;
    }
    while (rt_exists(c->stop_file) != 1)
        rt_sleep_ns(50 * RT_MS);
    atomic_store(&c->stop, true);
    rt_waitgroup_wait(&c->all, RT_FOREVER);
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        grpc_client_close(c->shared[i]);
    rt_free(watchers);
    printf("%" PRIu64 " watches\n", atomic_load(&c->watches));
    return atomic_load(&c->failed);
}

static void split(struct churn *c, char *list)
{
    while (*list && c->endpoint_count < ENDPOINTS_MAX) {
        size_t len = strcspn(list, ",");
        c->endpoints[c->endpoint_count++] = list;
        char *end = list + len;
        list = end + (*end ? 1 : 0);
        *end = 0;
    }
}

int main(int argc, char **argv)
{
    struct churn *c = rt_alloc_zero(sizeof *c);
    struct why why;
    int status = 1;
    c->streams = 100;
    if (argc >= 3)
        split(c, argv[1]);
    if (argc < 3 || argc > 4 || !c->endpoint_count ||
        (argc == 4 && (rt_parse_u64(argv[3], &c->streams) || !c->streams)) ||
        c->streams > STREAMS_MAX) {
        fprintf(stderr, "usage: tool_watch_churn ENDPOINTS STOP-FILE [STREAMS]\n");
        return 2;
    }
    c->stop_file = argv[2];
    if (rt_run(NULL, run, c, &status, &why))
        fprintf(stderr, "%s\n", why.text);
    rt_free(c);
    return status;
}

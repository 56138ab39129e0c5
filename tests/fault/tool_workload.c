/* tests/fault/tool_workload.c: a steady write load through all endpoints while somebody kills members,
 * and the proof afterwards that nothing acknowledged was lost.
 *
 *     tool_workload ENDPOINTS STOP-FILE [WRITERS]
 *
 * Each writer puts keys of its own, each once (w/<writer>/<number>), through one endpoint, and notes the
 * revision of each acknowledged put; a put whose outcome is unknown is never repeated. A watcher follows
 * the prefix from its first revision on and, when its stream breaks, resumes after the last revision
 * seen. When STOP-FILE exists the writers stop, and when the watcher has come to the end:
 *     every acknowledged write is there, with the revision that was acknowledged;
 *     no writer ever saw a revision go back;
 *     the watcher saw every key that is there exactly once, in order of revision.
 * Prints TAP, and the longest time without any acknowledgement. Exit status 0 when all hold. */
#include "proto/fields.h"
#include "proto/grpc.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/file.h>
#include <rt/go.h>
#include <rt/parse.h>
#include <rt/sync.h>
#include <stdio.h>

enum { ENDPOINTS_MAX = 9, WRITERS_MAX = 64, CALL_MS = 3000, VERIFY_MS = 30000 };

struct acked { // one acknowledged put
    uint32_t number;
    int64_t revision;
};

struct writer {
    struct load *load;
    uint32_t id;
    uint32_t tried, acked_count, acked_cap;
    struct acked *acked; // in order of number
    bool went_back;
};

struct seen { // one event of the watcher
    uint32_t writer, number;
    int64_t revision;
};

struct load {
    const char *endpoints[ENDPOINTS_MAX];
    uint32_t endpoint_count;
    const char *stop_file;
    struct writer writers[WRITERS_MAX];
    uint32_t writer_count;
    _Atomic bool stop;
    _Atomic int64_t last_ack_ns, longest_gap_ns;
    struct rt_waitgroup writing;
    // the watcher's
    struct seen *seen;
    uint32_t seen_count, seen_cap;
    _Atomic int64_t seen_revision;
    _Atomic bool watch_stop;
    uint32_t out_of_order, reconnects;
    struct rt_note watch_ended;
};

static int failures;
static void verdict(bool ok, const char *what, const char *detail)
{
    printf("%sok - %s%s%s\n", ok ? "" : "not ", what, *detail ? " # " : "", detail);
    failures += !ok;
}

static int64_t varint_field(struct rt_bytes message, uint32_t number)
{
    struct fields f = fields_of(message);
    struct field it;
    int64_t value = 0;
    while (fields_next(&f, &it) > 0)
        if (it.number == number && it.wire == FIELD_VARINT)
            value = (int64_t)it.value;
    return value;
}

static struct rt_bytes bytes_field(struct rt_bytes message, uint32_t number)
{
    struct fields f = fields_of(message);
    struct field it;
    struct rt_bytes value = {0};
    while (fields_next(&f, &it) > 0)
        if (it.number == number && it.wire == FIELD_LEN)
            value = it.bytes;
    return value;
}

/* ---- Writers ---- */

static void note_ack(struct writer *w, int64_t revision)
{
    struct load *l = w->load;
    if (w->acked_count && revision <= w->acked[w->acked_count - 1].revision)
        w->went_back = true;
    if (w->acked_count == w->acked_cap) {
        w->acked_cap = w->acked_cap ? 2 * w->acked_cap : 1024;
        w->acked = rt_realloc(w->acked, w->acked_cap * sizeof *w->acked);
    }
    w->acked[w->acked_count++] = (struct acked){w->tried, revision};
    int64_t now = rt_now_ns(), before = atomic_exchange(&l->last_ack_ns, now);
    int64_t longest = atomic_load(&l->longest_gap_ns);
    while (before && now - before > longest &&
           !atomic_compare_exchange_weak(&l->longest_gap_ns, &longest, now - before))
        ;
}

static void write_keys(void *arg)
{
    struct writer *w = arg;
    struct load *l = w->load;
    const char *endpoint = l->endpoints[w->id % l->endpoint_count];
    struct grpc_client *client = NULL;
    struct grpc_status status;
    struct why why;
    while (!atomic_load(&l->stop)) {
        if (!client && grpc_client_dial(endpoint, NULL, rt_after_ns(RT_SECOND), &client, &why)) {
            client = NULL;
            rt_sleep_ns(20 * RT_MS);
            continue;
        }
        char key[64];
        struct rt_string request = {0};
        struct rt_buf *answer;
        snprintf(key, sizeof key, "w/%02u/%08u", w->id, ++w->tried);
        field_add_text(&request, 1, key);
        field_add_text(&request, 2, key);
        int code =
            grpc_client_call(client, "/etcdserverpb.KV/Put", rt_bytes(request.data, request.len),
                             NULL, 0, rt_after_ns(CALL_MS * RT_MS), &answer, &status);
        rt_string_deinit(&request);
        if (code == 0) {
            note_ack(w, varint_field(bytes_field(rt_buf_bytes(answer), 1), 3));
            rt_buf_unref(answer);
        } else if (!grpc_client_is_alive(client)) {
            grpc_client_close(client);
            client = NULL;
        } else {
            rt_sleep_ns(5 * RT_MS);
        }
    }
    if (client)
        grpc_client_close(client);
    rt_waitgroup_done(&l->writing);
}

/* ---- The watcher ---- */

/* "w/<2 digits>/<8 digits>" */
static bool read_key(struct rt_bytes key, uint32_t *writer, uint32_t *number)
{
    char text[16];
    uint64_t a, b;
    if (key.len != 13 || key.data[4] != '/')
        return false;
    memcpy(text, key.data, 13);
    text[4] = text[13] = 0;
    if (rt_parse_u64(text + 2, &a) || rt_parse_u64(text + 5, &b))
        return false;
    *writer = (uint32_t)a;
    *number = (uint32_t)b;
    return true;
}

static void note_event(struct load *l, struct rt_bytes event)
{
    struct rt_bytes kv = bytes_field(event, 2);
    struct seen seen = {.revision = varint_field(kv, 3)};
    if (!read_key(bytes_field(kv, 1), &seen.writer, &seen.number) ||
        (l->seen_count && seen.revision <= l->seen[l->seen_count - 1].revision))
        l->out_of_order++;
    if (l->seen_count == l->seen_cap) {
        l->seen_cap = l->seen_cap ? 2 * l->seen_cap : 4096;
        l->seen = rt_realloc(l->seen, l->seen_cap * sizeof *l->seen);
    }
    l->seen[l->seen_count++] = seen;
    atomic_store(&l->seen_revision, seen.revision);
}

static void follow(struct load *l, struct grpc_client *client)
{
    struct grpc_stream *stream;
    struct grpc_status status;
    if (grpc_stream_open(client, "/etcdserverpb.Watch/Watch", NULL, 0, RT_FOREVER, &stream,
                         &status))
        return;
    struct rt_string request = {0};
    size_t mark = field_begin(&request, 1);
    field_add_text(&request, 1, "w/");
    field_add_text(&request, 2, "w0");
    field_add_int(&request, 3, atomic_load(&l->seen_revision) + 1);
    field_end(&request, mark);
    grpc_stream_send(stream, &(struct grpc_part){.bytes = rt_bytes(request.data, request.len)}, 1,
                     RT_FOREVER);
    rt_string_deinit(&request);
    while (!atomic_load(&l->watch_stop)) {
        struct rt_buf *message;
        int got = grpc_stream_recv(stream, &message, rt_after_ns(100 * RT_MS));
        if (got == -ETIMEDOUT)
            continue;
        if (got != 1)
            break;
        struct fields f = fields_of(rt_buf_bytes(message));
        struct field it;
        while (fields_next(&f, &it) > 0)
            if (it.number == 11 && it.wire == FIELD_LEN)
                note_event(l, it.bytes);
        bool canceled = varint_field(rt_buf_bytes(message), 4) != 0;
        rt_buf_unref(message);
        if (canceled)
            break;
    }
    grpc_stream_close(stream);
}

static void watch_keys(void *arg)
{
    struct load *l = arg;
    struct why why;
    for (uint32_t turn = 0; !atomic_load(&l->watch_stop); turn++) {
        struct grpc_client *client;
        if (grpc_client_dial(l->endpoints[turn % l->endpoint_count], NULL, rt_after_ns(RT_SECOND),
                             &client, &why) == 0) {
            follow(l, client);
            grpc_client_close(client);
            l->reconnects++;
        }
        rt_sleep_ns(20 * RT_MS);
    }
    rt_note_set(&l->watch_ended);
}

/* ---- The proof ---- */

/* One page of the final keys from `from` on, linearizably. The number of keys, or -1. */
static int read_page(struct load *l, struct grpc_client *client, const char *from,
                     struct rt_buf **answer)
{
    (void)l;
    struct grpc_status status;
    struct rt_string request = {0};
    field_add_text(&request, 1, from);
    field_add_text(&request, 2, "w0");
    field_add_int(&request, 3, 5000);
    int code =
        grpc_client_call(client, "/etcdserverpb.KV/Range", rt_bytes(request.data, request.len),
                         NULL, 0, rt_after_ns(VERIFY_MS * RT_MS), answer, &status);
    rt_string_deinit(&request);
    if (code)
        printf("# range: %s\n", status.text);
    return code ? -1 : 0;
}

/* All final keys with their revisions, in order of key. False when the endpoint does not answer. */
static bool read_all(struct load *l, const char *endpoint, struct seen **out, uint32_t *count)
{
    struct grpc_client *client;
    struct why why;
    if (grpc_client_dial(endpoint, NULL, rt_after_ns(VERIFY_MS * RT_MS), &client, &why)) {
        printf("# %s: %s\n", endpoint, why.text);
        return false;
    }
    char from[64] = "w/";
    uint32_t cap = 0;
    bool more = true, ok = true;
    *out = NULL;
    *count = 0;
    while (more && ok) {
        struct rt_buf *answer;
        ok = read_page(l, client, from, &answer) == 0;
        if (!ok)
            break;
        more = varint_field(rt_buf_bytes(answer), 3) != 0;
        struct fields f = fields_of(rt_buf_bytes(answer));
        struct field it;
        while (fields_next(&f, &it) > 0) {
            struct seen kv = {0};
            if (it.number != 2 || it.wire != FIELD_LEN)
                continue;
            struct rt_bytes key = bytes_field(it.bytes, 1);
            kv.revision = varint_field(it.bytes, 3);
            ok = ok && read_key(key, &kv.writer, &kv.number);
            if (*count == cap) {
                cap = cap ? 2 * cap : 4096;
                *out = rt_realloc(*out, cap * sizeof **out);
            }
            (*out)[(*count)++] = kv;
            snprintf(from, sizeof from, "%.*s!", (int)key.len,
                     (const char *)key.data); // '!' sorts after the end
        }
        rt_buf_unref(answer);
    }
    grpc_client_close(client);
    return ok;
}

static const struct seen *find_key(const struct seen *keys, uint32_t count, uint32_t writer,
                                   uint32_t number)
{
    uint32_t low = 0;
    while (low < count) {
        uint32_t middle = low + (count - low) / 2;
        const struct seen *k = &keys[middle];
        if (k->writer == writer && k->number == number)
            return k;
        if (k->writer < writer || (k->writer == writer && k->number < number))
            low = middle + 1;
        else
            count = middle;
    }
    return NULL;
}

static void check_endpoint(struct load *l, const char *endpoint)
{
    struct seen *keys;
    uint32_t count, missing = 0, moved = 0;
    char what[160], detail[160];
    if (!read_all(l, endpoint, &keys, &count)) {
        verdict(false, "every member answers at the end", endpoint);
        return;
    }
    uint64_t acked = 0;
    for (uint32_t i = 0; i < l->writer_count; i++)
        for (uint32_t j = 0; j < l->writers[i].acked_count; j++) {
            const struct seen *k = find_key(keys, count, i, l->writers[i].acked[j].number);
            acked++;
            missing += !k;
            moved += k && k->revision != l->writers[i].acked[j].revision;
        }
    snprintf(what, sizeof what, "every acknowledged write is on %s", endpoint);
    snprintf(detail, sizeof detail,
             "%" PRIu64 " acknowledged, %u keys, %u missing, %u with another revision", acked,
             count, missing, moved);
    verdict(missing == 0 && moved == 0 && acked > 0, what, detail);

    uint32_t unseen = 0, strange = 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < l->seen_count; i++) {
        const struct seen *k = find_key(keys, count, l->seen[i].writer, l->seen[i].number);
        strange += !k || k->revision != l->seen[i].revision;
        known += k != NULL;
    }
    unseen = count > known ? count - known : 0;
    snprintf(what, sizeof what, "the watcher saw each event once and in order, compared with %s",
             endpoint);
    snprintf(detail, sizeof detail,
             "%u events over %u streams, %u out of order, %u unseen, %u strange", l->seen_count,
             l->reconnects + 1, l->out_of_order, unseen, strange);
    verdict(l->out_of_order == 0 && unseen == 0 && strange == 0 && l->seen_count == count, what,
            detail);
    rt_free(keys);
}

static int64_t newest_ack(const struct load *l)
{
    int64_t newest = 0;
    for (uint32_t i = 0; i < l->writer_count; i++)
        if (l->writers[i].acked_count &&
            l->writers[i].acked[l->writers[i].acked_count - 1].revision > newest)
            newest = l->writers[i].acked[l->writers[i].acked_count - 1].revision;
    return newest;
}

/* Every member has applied everything once a linearizable read was answered by it; the watcher is at the
 * end when a quiet while has passed after the newest acknowledged revision. */
static void wait_watcher(struct load *l)
{
    int64_t deadline_ns = rt_after_ns(VERIFY_MS * RT_MS);
    while (atomic_load(&l->seen_revision) < newest_ack(l) && rt_now_ns() < deadline_ns)
        rt_sleep_ns(20 * RT_MS);
    int64_t last;
    do { // puts of unknown outcome may come after the newest acknowledged one
        last = atomic_load(&l->seen_revision);
        rt_sleep_ns(RT_SECOND);
    } while (last != atomic_load(&l->seen_revision));
    atomic_store(&l->watch_stop, true);
    rt_note_wait(&l->watch_ended, RT_FOREVER);
}

static int run(void *arg)
{
    struct load *l = arg;
    for (uint32_t i = 0; i < l->writer_count; i++) {
        l->writers[i].load = l;
        l->writers[i].id = i;
        rt_waitgroup_add(&l->writing, 1);
        int err = rt_go("writer", write_keys, &l->writers[i]);
        assert(err == 0);
    }
    int err = rt_go("watcher", watch_keys, l);
    assert(err == 0);
    while (rt_exists(l->stop_file) != 1)
        rt_sleep_ns(50 * RT_MS);
    atomic_store(&l->stop, true);
    rt_waitgroup_wait(&l->writing, RT_FOREVER);
    wait_watcher(l);
    bool back = false;
    for (uint32_t i = 0; i < l->writer_count; i++)
        back |= l->writers[i].went_back;
    verdict(!back, "revisions never go back", "");
    for (uint32_t i = 0; i < l->endpoint_count; i++)
        check_endpoint(l, l->endpoints[i]);
    printf("# longest time without an acknowledged write: %" PRId64 " ms\n",
           atomic_load(&l->longest_gap_ns) / RT_MS);
    return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: tool_workload ENDPOINTS STOP-FILE [WRITERS]\n");
        return 2;
    }
    struct load *l = rt_alloc_zero(sizeof *l);
    uint64_t writers = 12;
    l->stop_file = argv[2];
    for (char *at = argv[1]; *at && l->endpoint_count < ENDPOINTS_MAX;) {
        l->endpoints[l->endpoint_count++] = at;
        at += strcspn(at, ",");
        if (*at)
            *at++ = 0;
    }
    if (argc > 3 && (rt_parse_u64(argv[3], &writers) || writers < 1 || writers > WRITERS_MAX)) {
        fprintf(stderr, "tool_workload: WRITERS is a number from 1 to %d\n", WRITERS_MAX);
        return 2;
    }
    l->writer_count = (uint32_t)writers;
    struct why why;
    int status = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (rt_run(&(struct rt_options){.procs = 1}, run, l, &status, &why)) {
        fprintf(stderr, "tool_workload: %s\n", why.text);
        return 1;
    }
    return status;
}

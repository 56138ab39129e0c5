/* cmd/kvlab/load.c: the load generator.
 *
 * Client w owns the keys kvlab/load/WWWW/K, so the last acknowledged value of each is known without
 * a lock. A value is "w=W n=N ", N counting this client's puts, and letters to its full length. */
#include "cmd/kvlab/load.h"
#include "proto/fields.h"
#include <assert.h>
#include <inttypes.h>
#include <rt/file.h>
#include <rt/go.h>
#include <stdio.h>

enum {
    KEYS_PER_CLIENT = 4,
    CLIENTS_PER_CONNECTION = 16,
    CALL_TIMEOUT_S = 20,
    BIG_VALUE_BYTES = 4096
};

struct load {
    struct cluster *cluster;
    const struct load_spec *spec;
    struct client *connections;
    uint32_t connection_count, keys_per_client;
    int64_t start_ns;         // set before the clients start, then const
    _Atomic uint64_t next;    // open loop: the next request that is due
    _Atomic uint64_t samples; // taken so far
    struct rt_hdr *every;     // latencies, the warm-up's too
    _Atomic bool over;        // a failure, or the user wants to stop
    struct rt_waitgroup running;
    struct rt_mutex failure_lock;
    struct why failure; // failure_lock; the first counts
};

/* One client; written by its goroutine, read when all have ended. */
struct worker {
    struct load *load;
    uint32_t number;
    uint64_t sent, acknowledged;
    uint64_t last[KEYS_PER_CLIENT]; // of each key, the N of the last acknowledged value; 0: none
    struct load_sample *samples;
    size_t count, cap;
    char *value;
    struct rt_string request;
    void *connection; // of LOAD_OTHER
};

static void fail(struct load *l, const char *text)
{
    rt_mutex_lock(&l->failure_lock);
    if (!atomic_load(&l->over))
        why_set(&l->failure, "%s", text);
    atomic_store(&l->over, true);
    rt_mutex_unlock(&l->failure_lock);
}

static int key_of(char *buf, size_t cap, uint32_t worker, uint32_t key)
{
    return snprintf(buf, cap, "kvlab/load/%04u/%u", worker, key);
}

/* The same N gives the same bytes. */
static void fill_value(char *value, uint32_t bytes, uint32_t worker, uint64_t n)
{
    int len = snprintf(value, bytes, "w=%u n=%" PRIu64 " ", worker, n);
    assert(len > 0);
    assert((uint32_t)len < bytes);
    memset(value + len, 'a' + (int)(n % 26), bytes - (uint32_t)len);
}

/* Keep a sample. False when there would be too many. */
static bool keep(struct worker *w, int64_t due_ns, int64_t latency_ns)
{
    struct load *l = w->load;
    rt_hdr_record(l->every, latency_ns);
    if (due_ns - l->start_ns < l->spec->warmup_ns)
        return true;
    if (atomic_fetch_add(&l->samples, 1) >= LOAD_SAMPLES_MAX) {
        fail(l, "more samples than kvlab keeps of one trial; make it shorter");
        return false;
    }
    if (w->count == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 1024;
        w->samples = rt_realloc(w->samples, w->cap * sizeof *w->samples);
    }
    w->samples[w->count++] = (struct load_sample){due_ns - l->start_ns, latency_ns};
    return true;
}

/* The value of the only key of a RangeResponse. */
static struct rt_bytes answered_value(struct rt_bytes response)
{
    struct rt_bytes kv = {0}, value = {0};
    struct field it;
    struct fields f = fields_of(response);
    while (fields_next(&f, &it) > 0)
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(2, FIELD_LEN))
            kv = it.bytes;
    f = fields_of(kv);
    while (fields_next(&f, &it) > 0)
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(5, FIELD_LEN))
            value = it.bytes;
    return value;
}

static void prepare(struct worker *w, uint32_t key)
{
    char name[48];
    const struct load_spec *spec = w->load->spec;
    int len = key_of(name, sizeof name, w->number, spec->kind == LOAD_PUT ? key : 0);
    w->request.len = 0;
    field_add_bytes(&w->request, 1, rt_bytes(name, (size_t)len));
    if (spec->kind == LOAD_PUT) {
        fill_value(w->value, spec->value_bytes, w->number, w->sent + 1);
        field_add_bytes(&w->request, 2, rt_bytes(w->value, spec->value_bytes));
    } else if (spec->kind == LOAD_GET_SERIALIZABLE) {
        field_add_uint(&w->request, 7, 1);
    }
}

static bool request_other(struct worker *w, int64_t due_ns)
{
    struct load *l = w->load;
    struct why why = {{0}};
    if (!l->spec->target->request(w->connection, &why)) {
        fail(l, why.text);
        return false;
    }
    w->acknowledged++;
    return keep(w, due_ns, rt_now_ns() - due_ns);
}

/* One request that was due at due_ns. False: the run is over. */
static bool request(struct worker *w, int64_t due_ns)
{
    struct load *l = w->load;
    struct grpc_status status;
    struct rt_buf *answer = NULL;
    if (l->spec->kind == LOAD_OTHER)
        return request_other(w, due_ns);
    uint32_t key = (uint32_t)(w->sent % l->keys_per_client);
    bool is_put = l->spec->kind == LOAD_PUT;
    prepare(w, key);
    w->sent++;
    int code = grpc_client_call(l->connections[w->number % l->connection_count].grpc,
                                is_put ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range",
                                rt_bytes(w->request.data, w->request.len), NULL, 0,
                                rt_after_ns(CALL_TIMEOUT_S * RT_SECOND), &answer, &status);
    int64_t latency_ns = rt_now_ns() - due_ns;
    if (code) {
        char text[400];
        snprintf(text, sizeof text, "a %s failed: %.300s (%s)", is_put ? "put" : "get", status.text,
                 grpc_code_name(status.code));
        fail(l, text);
        return false;
    }
    bool right = is_put || rt_bytes_equal(answered_value(rt_buf_bytes(answer)),
                                          rt_bytes(w->value, l->spec->value_bytes));
    rt_buf_unref(answer);
    if (!right) {
        fail(l, "a get did not answer what was put");
        return false;
    }
    w->acknowledged++;
    w->last[key] = w->sent;
    return keep(w, due_ns, latency_ns);
}

static bool wants_more(struct load *l, int64_t due_ns)
{
    return due_ns < l->start_ns + l->spec->length_ns && !atomic_load(&l->over) &&
           !lab_is_stopped(l->cluster->lab) && !atomic_load(&l->cluster->broken);
}

static void run_worker(void *arg)
{
    struct worker *w = arg;
    struct load *l = w->load;
    bool is_open = l->spec->rate > 0;
    rt_sleep_until(l->start_ns);
    for (;;) {
        int64_t due = rt_now_ns();
        if (is_open)
            due = l->start_ns +
                  (int64_t)((double)atomic_fetch_add(&l->next, 1) * 1e9 / l->spec->rate);
        if (!wants_more(l, due))
            break;
        if (is_open)
            rt_sleep_until(due);
        if (!request(w, due))
            break;
    }
    rt_waitgroup_done(&l->running);
}

/* ---- Results ---- */

static void summarise(struct load_result *r, const struct load_spec *spec)
{
    r->sorted_ms = rt_alloc(r->count * sizeof *r->sorted_ms + 1);
    for (size_t i = 0; i < r->count; i++)
        r->sorted_ms[i] = (double)r->samples[i].latency_ns / 1e6;
    stat_sort(r->sorted_ms, r->count);
    r->p50_ms = stat_quantile(r->sorted_ms, r->count, 0.5);
    r->p90_ms = stat_quantile(r->sorted_ms, r->count, 0.9);
    r->p95_ms = stat_quantile(r->sorted_ms, r->count, 0.95);
    r->p99_ms = stat_quantile(r->sorted_ms, r->count, 0.99);
    r->p999_ms = stat_quantile(r->sorted_ms, r->count, 0.999);
    r->max_ms = stat_quantile(r->sorted_ms, r->count, 1);
    r->mean_ms = stat_mean(r->sorted_ms, r->count);
    r->stddev_ms = stat_stddev(r->sorted_ms, r->count);
    int64_t last = spec->length_ns; // the end, or when the last answer came after it
    for (size_t i = 0; i < r->count; i++)
        if (r->samples[i].at_ns + r->samples[i].latency_ns > last)
            last = r->samples[i].at_ns + r->samples[i].latency_ns;
    r->per_s = (double)r->count / ((double)(last - spec->warmup_ns) / 1e9);
}

static struct load_result *collect(struct load *l, struct worker *workers)
{
    struct load_result *r = rt_alloc_zero(sizeof *r);
    r->started_ns = l->start_ns;
    for (uint32_t i = 0; i < l->spec->clients; i++)
        r->count += workers[i].count;
    r->samples = rt_alloc(r->count * sizeof *r->samples + 1);
    size_t at = 0;
    for (uint32_t i = 0; i < l->spec->clients; i++) {
        if (workers[i].count)
            memcpy(r->samples + at, workers[i].samples, workers[i].count * sizeof *r->samples);
        at += workers[i].count;
        r->acknowledged += workers[i].acknowledged;
    }
    r->every = rt_hdr_counts_new();
    rt_hdr_read(l->every, r->every);
    summarise(r, l->spec);
    return r;
}

void load_free(struct load_result *r)
{
    if (!r)
        return;
    rt_free(r->samples);
    rt_free(r->sorted_ms);
    rt_free(r->every);
    rt_free(r);
}

/* ---- Were the answers right? ---- */

static bool read_back(struct load *l, const struct worker *w, struct rt_arena *arena,
                      struct why *why)
{
    char first[48], end[48];
    Etcdserverpb__RangeResponse *r;
    int len = snprintf(first, sizeof first, "kvlab/load/%04u/", w->number);
    snprintf(end, sizeof end, "kvlab/load/%04u0", w->number);
    if (client_range(&cluster_leader(l->cluster)->client, rt_bytes(first, (size_t)len),
                     rt_bytes(end, (size_t)len), arena, &r, why))
        return false;
    for (uint32_t k = 0; k < l->keys_per_client; k++) {
        char name[48];
        size_t name_len = (size_t)key_of(name, sizeof name, w->number, k);
        bool found = w->last[k] == 0;
        for (size_t i = 0; i < r->n_kvs && !found; i++) {
            if (!rt_bytes_equal(rt_bytes(r->kvs[i]->key.data, r->kvs[i]->key.len),
                                rt_bytes(name, name_len)))
                continue;
            fill_value(w->value, l->spec->value_bytes, w->number, w->last[k]);
            found = rt_bytes_equal(rt_bytes(r->kvs[i]->value.data, r->kvs[i]->value.len),
                                   rt_bytes(w->value, l->spec->value_bytes));
        }
        if (!found) {
            why_set(why, "%s: the last acknowledged value of %s is not read back", l->cluster->name,
                    name);
            return false;
        }
    }
    return true;
}

static bool check_answers(struct load *l, const struct worker *workers, int64_t before,
                          struct why *why)
{
    struct rt_arena arena;
    int64_t after;
    uint64_t acknowledged = 0;
    bool ok = true;
    if (l->spec->kind != LOAD_PUT)
        return true; // each answer was compared when it came
    if (client_revision(&cluster_leader(l->cluster)->client, &after, why))
        return false;
    for (uint32_t i = 0; i < l->spec->clients; i++)
        acknowledged += workers[i].acknowledged;
    if ((uint64_t)(after - before) != acknowledged) {
        why_set(why,
                "%s: %" PRIu64 " acknowledged puts raised the revision by %" PRId64
                " (does somebody else write?)",
                l->cluster->name, acknowledged, after - before);
        return false;
    }
    rt_arena_init(&arena);
    for (uint32_t i = 0; i < l->spec->clients && ok; i++) {
        ok = read_back(l, &workers[i], &arena, why);
        rt_arena_reset(&arena);
    }
    rt_arena_deinit(&arena);
    return ok;
}

/* ---- A run ---- */

/* What a get reads must be there; the value stays in w->value for comparing. */
static bool put_what_gets_read(struct load *l, struct worker *w, struct why *why)
{
    char name[48];
    int len = key_of(name, sizeof name, w->number, 0);
    fill_value(w->value, l->spec->value_bytes, w->number, 1);
    return client_put(&cluster_leader(l->cluster)->client, rt_bytes(name, (size_t)len),
                      rt_bytes(w->value, l->spec->value_bytes), NULL, why) == 0;
}

/* What a client needs before its first request. */
static bool prepare_worker(struct load *l, struct worker *w, struct why *why)
{
    switch (l->spec->kind) {
    case LOAD_PUT:
        return true;
    case LOAD_GET:
    case LOAD_GET_SERIALIZABLE:
        return put_what_gets_read(l, w, why);
    case LOAD_OTHER:
        w->connection = l->spec->target->open(l->spec->target->arg, why);
        return w->connection != NULL;
    }
    return false;
}

static bool start_workers(struct load *l, struct worker *workers, struct why *why)
{
    for (uint32_t i = 0; i < l->spec->clients; i++) {
        workers[i] =
            (struct worker){.load = l, .number = i, .value = rt_alloc(l->spec->value_bytes + 1)};
        if (!prepare_worker(l, &workers[i], why))
            return false;
    }
    l->start_ns = rt_after_ns(2 * RT_MS);
    for (uint32_t i = 0; i < l->spec->clients; i++) {
        rt_waitgroup_add(&l->running, 1);
        if (rt_go("client", run_worker, &workers[i])) { // ends with the run
            rt_waitgroup_done(&l->running);
            fail(l, "no goroutine for a client");
        }
    }
    return true;
}

static bool dial_all(struct load *l, struct why *why)
{
    for (uint32_t i = 0; i < l->connection_count; i++)
        if (client_dial(cluster_leader(l->cluster)->endpoint, &l->connections[i], why))
            return false;
    return true;
}

/* Run the clients. NULL with why. */
static struct load_result *run_clients(struct load *l, struct worker *workers, struct why *why)
{
    int64_t before = 0;
    if (l->spec->kind == LOAD_PUT &&
        client_revision(&cluster_leader(l->cluster)->client, &before, why))
        return NULL;
    if (!start_workers(l, workers, why))
        return NULL;
    rt_waitgroup_wait(&l->running, RT_FOREVER);
    if (!cluster_is_whole(l->cluster, why))
        return NULL;
    if (atomic_load(&l->over)) {
        *why = l->failure;
        why_prefix(why, "%s", l->cluster->name);
        return NULL;
    }
    return check_answers(l, workers, before, why) ? collect(l, workers) : NULL;
}

struct load_result *load_run(struct cluster *c, const struct load_spec *spec, struct why *why)
{
    assert(spec->value_bytes >= 32);
    assert(spec->clients > 0);
    assert((spec->kind == LOAD_OTHER) == (spec->target != NULL));
    struct load *l = rt_alloc_zero(sizeof *l);
    struct worker *workers = rt_alloc_zero(spec->clients * sizeof *workers);
    struct load_result *result = NULL;
    l->cluster = c;
    l->spec = spec;
    l->every = rt_hdr_new();
    l->keys_per_client = spec->value_bytes > BIG_VALUE_BYTES ? 1 : KEYS_PER_CLIENT;
    l->connection_count =
        spec->connections ? spec->connections
                          : (spec->clients + CLIENTS_PER_CONNECTION - 1) / CLIENTS_PER_CONNECTION;
    l->connections = rt_alloc_zero(l->connection_count * sizeof *l->connections);
    if (spec->kind == LOAD_OTHER || dial_all(l, why))
        result = run_clients(l, workers, why);
    struct why dead;
    if (!result && !cluster_is_whole(c, &dead))
        *why = dead; // the cause; what the clients saw of it is only its effect
    for (uint32_t i = 0; i < l->connection_count; i++)
        client_close(&l->connections[i]);
    for (uint32_t i = 0; i < spec->clients; i++) {
        if (workers[i].connection)
            spec->target->close(workers[i].connection);
        rt_free(workers[i].samples);
        rt_free(workers[i].value);
        rt_string_deinit(&workers[i].request);
    }
    rt_hdr_free(l->every);
    rt_free(l->connections);
    rt_free(workers);
    rt_free(l);
    return result;
}

/* ---- Forms ---- */

/* The fastest and the slowest of each of `spans` equal spans of time. */
static void draw_extremes(const struct load_result *r, uint32_t spans, struct plot_series *to)
{
    const struct load_sample **ends = rt_alloc_zero(2 * spans * sizeof(*ends));
    int64_t after_ns = 1;
    for (size_t i = 0; i < r->count; i++)
        if (r->samples[i].at_ns >= after_ns)
            after_ns = r->samples[i].at_ns + 1;
    for (size_t i = 0; i < r->count; i++) {
        const struct load_sample *at = &r->samples[i];
        size_t span = (size_t)((double)at->at_ns / (double)after_ns * spans);
        const struct load_sample **fastest = &ends[2 * (span < spans ? span : spans - 1)],
                                 **slowest = fastest + 1;
        if (!*fastest || at->latency_ns < (*fastest)->latency_ns)
            *fastest = at;
        if (!*slowest || at->latency_ns > (*slowest)->latency_ns)
            *slowest = at;
    }
    for (uint32_t i = 0; i < 2 * spans; i++)
        if (ends[i] && (i % 2 == 0 || ends[i] != ends[i - 1])) // one alone is both
            plot_add(to, (double)ends[i]->at_ns / 1e9, (double)ends[i]->latency_ns / 1e6);
    rt_free(ends);
}

bool load_draw(const struct load_result *r, struct plot_series *to)
{
    bool all = r->count <= to->cap;
    if (!all)
        draw_extremes(r, to->cap / 2, to);
    for (size_t i = 0; i < r->count && all; i++)
        plot_add(to, (double)r->samples[i].at_ns / 1e9, (double)r->samples[i].latency_ns / 1e6);
    return !all;
}

bool load_write_raw(struct lab *lab, const struct load_result *r, const char *name, struct why *why)
{
    char path[160];
    struct rt_string text = {0};
    struct rt_hdr_counts *h = rt_hdr_counts_new();
    for (size_t i = 0; i < r->count; i++)
        rt_hdr_counts_add(h, r->samples[i].latency_ns, 1);
    rt_string_printf(&text, "from_ns,below_ns,count\n");
    for (uint32_t b = 0; b < RT_HDR_BUCKETS; b++)
        if (h->buckets[b])
            rt_string_printf(&text, "%" PRId64 ",%" PRId64 ",%" PRIu64 "\n", rt_hdr_bucket_low(b),
                             rt_hdr_bucket_high(b), h->buckets[b]);
    rt_free(h);
    snprintf(path, sizeof path, "raw/%s.csv", name);
    return lab_write(lab, path, &text, why);
}

/* proto/http1.c: connections of HTTP/1.1. One goroutine reads a request, runs its handler and writes
 * the answer; then the next. Buffers are allocated for a request and given back between requests. */
#include "proto/http1.h"
#include "proto/http1_conn.h"
#include "proto/http1_parse.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>
#include <rt/sync.h>
#include <stdio.h>

const char *http1_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {100, "Continue"},
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == status)
            return known[i].text;
    return "Unknown";
}

int http1_query(const struct http1_request *r, const char *name, unsigned nth, char *buf,
                size_t cap)
{
    struct rt_bytes rest = r->query;
    size_t name_len = strlen(name);
    assert(cap > 0);
    while (rest.len) {
        const uint8_t *amp = memchr(rest.data, '&', rest.len);
        size_t n = amp ? (size_t)(amp - rest.data) : rest.len;
        struct rt_bytes pair = rt_bytes(rest.data, n);
        n += amp ? 1 : 0;
        rest = rt_bytes(rest.data + n, rest.len - n);
        bool bare = pair.len == name_len;
        if (pair.len < name_len || memcmp(pair.data, name, name_len) != 0 ||
            (!bare && pair.data[name_len] != '='))
            continue;
        if (nth--)
            continue;
        struct rt_bytes value =
            bare ? rt_bytes(NULL, 0) : rt_bytes(pair.data + name_len + 1, pair.len - name_len - 1);
        int len = http1_decode(value, true, buf, cap - 1);
        if (len < 0)
            return -EINVAL;
        buf[len] = 0;
        return len;
    }
    return -ENOENT;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7). Days to a date by Hinnant's method: years that
 * begin in March, eras of 400 years. */
static void format_date(int64_t wall_ns, char out[32])
{
    static const char days[] = "ThuFriSatSunMonTueWed",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t seconds = wall_ns / RT_SECOND, day = seconds / 86400, rest = seconds % 86400;
    int64_t shifted = day + 719468, era = shifted / 146097, of_era = shifted % 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * of_year + 2) / 153, date = of_year - (153 * march_month + 2) / 5 + 1;
    int64_t month = march_month < 10 ? march_month + 2 : march_month - 10; // from 0
    int64_t year = year_of_era + era * 400 + (month < 2);
    snprintf(out, 32, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * (day % 7),
             (unsigned)date % 100, months + 3 * month, (unsigned)year % 10000,
             (unsigned)(rest / 3600), (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
}

static int write_response(struct transport *t, const struct http1_response *r, bool head_only,
                          bool keep_alive)
{
    char date[32];
    struct rt_string head = {0};
    format_date(rt_wall_ns(), date);
    rt_string_printf(&head, "HTTP/1.1 %d %s\r\nDate: %s\r\n", r->status,
                     http1_status_text(r->status), date);
    if (r->content_type)
        rt_string_printf(&head, "Content-Type: %s\r\n", r->content_type);
    if (r->allow)
        rt_string_printf(&head, "Allow: %s\r\n", r->allow);
    if (!keep_alive)
        rt_string_printf(&head, "Connection: close\r\n");
    rt_string_append(&head, r->headers.data, r->headers.len);
    rt_string_printf(&head, "Content-Length: %zu\r\n\r\n", r->body.len);
    struct iovec parts[] = {{head.data, head.len}, {r->body.data, head_only ? 0 : r->body.len}};
    int err = transport_writev(t, parts, parts[1].iov_len ? 2 : 1, rt_after_ns(HTTP1_WRITE_NS));
    rt_string_deinit(&head);
    return err;
}

static void refuse(struct transport *t, int status)
{
    struct http1_response r = {.status = status, .content_type = "text/plain; charset=utf-8"};
    rt_string_printf(&r.body, "%d %s\n", status, http1_status_text(status));
    write_response(t, &r, false, false); // the connection ends here, written or not
    rt_string_deinit(&r.body);
}

/* What a connection carries from request to request. */
struct http1_conn {
    const struct http1_options *options;
    struct transport *transport;
    struct rt_string input; // bytes read and not used up
    struct http1_head *head;
};

/* Read more into `input`: 0, or not. */
static int read_more(struct http1_conn *c, int64_t deadline_ns)
{
    uint8_t buf[2048];
    ssize_t n = transport_read(c->transport, buf, sizeof buf, deadline_ns);
    if (n <= 0)
        return n ? (int)n : -EPIPE;
    rt_string_append(&c->input, buf, (size_t)n);
    return 0;
}

/* A whole head: 0; a status to refuse with; or -1: the peer is gone. */
static int read_head(struct http1_conn *c)
{
    if (!c->input.len && read_more(c, rt_after_ns(HTTP1_IDLE_NS)))
        return -1;
    int64_t deadline_ns = rt_after_ns(HTTP1_HEAD_NS);
    for (;;) {
        int got = http1_parse(c->input.data, c->input.len, c->head);
        if (got > 0)
            return 0;
        if (got < 0)
            return -got;
        int err = read_more(c, deadline_ns);
        if (err)
            return err == -ETIMEDOUT ? 408 : -1;
    }
}

/* The body's bytes behind the head: 0, a status, or -1. The input may move, so the head is parsed
 * again by who called. */
static int read_body(struct http1_conn *c)
{
    uint64_t want = c->head->content_length;
    uint32_t most = c->options->max_body_bytes ? c->options->max_body_bytes : 2u << 20;
    if (want > most)
        return 413;
    if (want && c->head->expects_continue) {
        struct iovec go_on = {(void *)(uintptr_t) "HTTP/1.1 100 Continue\r\n\r\n", 25};
        if (transport_writev(c->transport, &go_on, 1, rt_after_ns(HTTP1_WRITE_NS)))
            return -1;
    }
    int64_t deadline_ns = rt_after_ns(HTTP1_BODY_NS);
    while (c->input.len - c->head->head_bytes < want) {
        int err = read_more(c, deadline_ns);
        if (err)
            return err == -ETIMEDOUT ? 408 : -1;
    }
    return 0;
}

/* The head was parsed in place into views of the input; growing the input moves it. */
static void move_views(struct http1_head *head, const uint8_t *from, const uint8_t *to)
{
    struct http1_request *r = &head->request;
    struct rt_bytes *views[] = {&r->method, &r->path, &r->query};
    for (size_t i = 0; i < 3; i++)
        if (views[i]->data)
            views[i]->data = to + (views[i]->data - from);
    for (uint32_t i = 0; i < r->header_count; i++) {
        head->headers[i].name.data = to + (head->headers[i].name.data - from);
        head->headers[i].value.data = to + (head->headers[i].value.data - from);
    }
}

/* One request. True: the connection goes on. */
static bool serve_one(struct http1_conn *c, const _Atomic bool *draining, _Atomic bool *idle)
{
    if (idle)
        atomic_store(idle, c->input.len == 0);
    int status = read_head(c);
    if (idle)
        atomic_store(idle, false);
    uintptr_t before = (uintptr_t)c->input.data;
    if (status == 0)
        status = read_body(c);
    if (status) {
        if (status > 0)
            refuse(c->transport, status);
        return false;
    }
    if ((uintptr_t)c->input.data != before)
        move_views(c->head, (const uint8_t *)before, c->input.data);
    struct http1_request *request = &c->head->request;
    request->body = rt_bytes(c->input.data + c->head->head_bytes, (size_t)c->head->content_length);
    request->remote = rt_conn_remote(c->transport->conn);
    struct http1_response response = {.status = 200};
    c->options->serve(c->options->ctx, request, &response);
    bool keep_alive = c->head->keep_alive && !(draining && atomic_load(draining));
    bool head_only = rt_bytes_equal(request->method, RT_BYTES("HEAD"));
    int err = write_response(c->transport, &response, head_only, keep_alive);
    rt_string_deinit(&response.body);
    rt_string_deinit(&response.headers);
    size_t used = c->head->head_bytes + (size_t)c->head->content_length;
    memmove(c->input.data, c->input.data + used, c->input.len - used);
    c->input.len -= used;
    return !err && keep_alive;
}

void http1_conn_run(const struct http1_options *options, struct transport *t, const uint8_t *first,
                    size_t first_len, const _Atomic bool *draining, _Atomic bool *idle)
{
    struct http1_conn c = {.options = options, .transport = t};
    c.head = rt_alloc(sizeof *c.head);
    rt_string_append(&c.input, first, first_len);
    while (serve_one(&c, draining, idle) && !(draining && atomic_load(draining))) {
        if (c.input.len == 0) {
            rt_string_deinit(&c.input); // an idle connection keeps no buffer
            c.input = (struct rt_string){0};
        }
    }
    rt_string_deinit(&c.input);
    rt_free(c.head);
    transport_free(t);
}

void http1_serve(const struct http1_options *options, struct rt_conn *conn)
{
    http1_conn_run(options, transport_plain(conn), NULL, 0, NULL, NULL);
}

/* ---- The listener ---- */

struct http1_accepting {
    const struct http1_options *options;
    struct rt_waitgroup serving;
    _Atomic uint32_t connections;
    struct rt_mutex lock; // guards `first`
    struct http1_accepted *first;
};

struct http1_accepted {
    struct http1_accepting *of;
    struct rt_conn *conn; // a reference of its own, to close it at the end
    struct http1_accepted *next, *prev;
};

static void serve_accepted(void *arg)
{
    struct http1_accepted *a = arg;
    struct http1_accepting *of = a->of;
    http1_serve(of->options, rt_conn_ref(a->conn));
    rt_mutex_lock(&of->lock);
    if (a->next)
        a->next->prev = a->prev;
    if (a->prev)
        a->prev->next = a->next;
    else
        of->first = a->next;
    rt_mutex_unlock(&of->lock);
    rt_conn_unref(a->conn);
    rt_free(a);
    atomic_fetch_sub(&of->connections, 1);
    rt_waitgroup_done(&of->serving);
}

static void start_one(struct http1_accepting *of, struct rt_conn *conn, uint32_t max_connections)
{
    if (atomic_load(&of->connections) >= max_connections) {
        rt_conn_close(conn);
        rt_conn_unref(conn);
        return;
    }
    struct http1_accepted *a = rt_alloc(sizeof *a);
    rt_waitgroup_add(&of->serving, 1);
    atomic_fetch_add(&of->connections, 1);
    rt_mutex_lock(&of->lock);
    *a = (struct http1_accepted){of, conn, of->first, NULL};
    if (of->first)
        of->first->prev = a;
    of->first = a;
    rt_mutex_unlock(&of->lock);
    if (rt_go("http1-conn", serve_accepted, a)) // no goroutine to be had: serve it ourselves
        serve_accepted(a);
}

void http1_accept(const struct http1_options *options, struct rt_listener *listener,
                  uint32_t max_connections)
{
    struct http1_accepting of = {.options = options};
    for (;;) {
        struct rt_conn *conn;
        int err = rt_accept(listener, &conn);
        if (err == -ECANCELED)
            break;
        if (err)
            rt_sleep_ns(50 * RT_MS); // out of descriptors or memory: later there may be some
        else
            start_one(&of, conn, max_connections ? max_connections : 256);
    }
    rt_mutex_lock(&of.lock);
    for (struct http1_accepted *a = of.first; a; a = a->next)
        rt_conn_close(a->conn);
    rt_mutex_unlock(&of.lock);
    rt_waitgroup_wait(&of.serving, RT_FOREVER);
}

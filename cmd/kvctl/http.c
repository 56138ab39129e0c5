/* cmd/kvctl/http.c: one request a connection: the answer ends where the connection does, and its
 * Content-Length says whether that was all of it. */
#include "cmd/kvctl/http.h"
#include "rt/net.h"
#include "rt/parse.h"
#include <errno.h>
#include <stdio.h>

enum { READ_BYTES = 64 << 10, STATUS_AT = 9 }; // "HTTP/1.1 200"

static const char *address_of(struct kvctl *k, const char *endpoint)
{
    if (strncmp(endpoint, "http://", 7) == 0)
        endpoint += 7;
    return rt_arena_printf(&k->arena, "%.*s", (int)strcspn(endpoint, "/"), endpoint);
}

/* Everything that comes, as text. 0 or -errno; -EFBIG beyond HTTP_BODY_MAX. */
static int read_all(struct rt_conn *conn, struct rt_string *out)
{
    char *piece = rt_alloc(READ_BYTES);
    ssize_t n;
    while ((n = rt_conn_read(conn, piece, READ_BYTES)) > 0) {
        if (out->len > HTTP_BODY_MAX) {
            n = -EFBIG;
            break;
        }
        rt_string_append(out, piece, (size_t)n);
    }
    rt_free(piece);
    return n < 0 ? (int)n : 0;
}

static int exchange(const char *address, const char *method, const char *target,
                    int64_t dial_until_ns, int64_t until_ns, struct rt_string *answer,
                    struct why *why)
{
    struct rt_conn *conn;
    int err = rt_dial(address, dial_until_ns, &conn, why);
    if (err)
        return err;
    struct rt_string request = {0};
    rt_string_printf(&request,
                     "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                     method, target, address);
    rt_conn_set_read_deadline(conn, until_ns);
    rt_conn_set_write_deadline(conn, until_ns);
    err = rt_conn_write(conn, request.data, request.len);
    if (!err)
        err = read_all(conn, answer);
    char words[128];
    if (err)
        why_set(why, "%s", why_errno(err, words, sizeof words));
    rt_string_deinit(&request);
    rt_conn_unref(conn);
    return err;
}

/* The value of a header in the head, or NULL. */
static const char *header(const char *head, const char *end, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = head; (at = strstr(at, "\r\n")) && at < end;) {
        at += 2;
        if (strncasecmp(at, name, len) == 0)
            return at + len;
    }
    return NULL;
}

/* Split `answer` into status and body. False: it is no whole answer of HTTP. */
static bool take_apart(struct rt_string *answer, int *status, struct rt_string *body)
{
    const char *text = rt_string_cstr(answer);
    const char *end = strstr(text, "\r\n\r\n");
    if (!end || strncmp(text, "HTTP/1.", 7) != 0)
        return false;
    const char *length = header(text, end, "content-length:");
    uint64_t wanted = 0;
    if (length && *length == ' ')
        length++;
    for (; length && *length >= '0' && *length <= '9'; length++)
        wanted = wanted * 10 + (uint64_t)(*length - '0');
    size_t head_bytes = (size_t)(end + 4 - text);
    *status = 0;
    for (const char *at = text + STATUS_AT; *at >= '0' && *at <= '9'; at++)
        *status = *status * 10 + (*at - '0');
    rt_string_append(body, text + head_bytes, answer->len - head_bytes);
    return length && wanted == body->len;
}

int kvctl_http(struct kvctl *k, const char *endpoint, const char *method, const char *target,
               int64_t patience_ns, struct rt_string *body)
{
    struct why why = {{0}};
    struct rt_string answer = {0};
    if (strncmp(endpoint, "https://", 8) == 0)
        return kvctl_fail(KVCTL_BAD_ARGS, "%s: the debug commands do not speak TLS", endpoint);
    const char *address = address_of(k, endpoint);
    int err = exchange(address, method, target, rt_after_ns(k->dial_timeout_ns),
                       rt_after_ns(k->command_timeout_ns + patience_ns), &answer, &why);
    int status = 0;
    if (err)
        err = kvctl_fail(KVCTL_ERROR, "cannot ask %s: %s", endpoint, why.text);
    else if (!take_apart(&answer, &status, body))
        err = kvctl_fail(KVCTL_ERROR, "%s does not speak HTTP, or its answer was cut short",
                         endpoint);
    else if (status == 404)
        err = kvctl_fail(KVCTL_ERROR,
                         "%s has no debug pages: give the address of its --listen-metrics-urls",
                         endpoint);
    else if (status != 200)
        err = kvctl_fail(KVCTL_ERROR, "%s: %.*s", endpoint,
                         (int)strcspn(rt_string_cstr(body), "\n"), rt_string_cstr(body));
    rt_string_deinit(&answer);
    return err;
}

/* cmd/kvlab/https.c: OpenSSL between two buffers in memory: what it wants to send is taken out and
 * written, what arrives is put in.
 *
 * OpenSSL keeps its errors in thread-local storage, so a call and the question what became of it must
 * stay on one thread: preemption is off between them, and nothing parks there. */
#include "cmd/kvlab/https.h"
#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <rt/go.h>
#include <string.h>

enum { READ_BYTES = 16 << 10 };

struct https_trust {
    SSL_CTX *context;
};
struct https {
    struct rt_conn *conn;
    SSL *ssl;
    BIO *in, *out; // the SSL's: what came, what is to go
    char *bytes;   // READ_BYTES
    struct rt_string request, to_send;
    struct http_answer answer;
    const char *address;
};

/* What OpenSSL says went wrong.  Context: preemption off. */
static void read_error(struct why *why)
{
    char text[200] = "an unknown reason";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    why_set(why, "%s", text);
}

int https_trust_new(const char *certificate_path, struct https_trust **out, struct why *why)
{
    rt_nopreempt_begin();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    bool ok = context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) &&
              SSL_CTX_load_verify_locations(context, certificate_path, NULL);
    if (ok) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        // The certificate of the file itself will do; who signed it may be unknown.
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
    } else {
        read_error(why);
        why_prefix(why, "cannot read a certificate from %s", certificate_path);
        SSL_CTX_free(context);
    }
    rt_nopreempt_end();
    if (!ok)
        return -1;
    *out = rt_alloc_zero(sizeof **out);
    (*out)->context = context;
    return 0;
}

void https_trust_free(struct https_trust *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->context);
    rt_free(t);
}

/* ---- Steps: each asks OpenSSL once, sends what that gave, and waits when it needs more ---- */

enum tls_step { TLS_HANDSHAKE, TLS_WRITE, TLS_READ };

/* One call of OpenSSL. Its result; *want_more: it must be repeated when more bytes have come.  Context:
 * never parks. */
static int ask(struct https *h, enum tls_step step, void *bytes, size_t len, bool *want_more,
               struct why *why)
{
    rt_nopreempt_begin();
    ERR_clear_error();
    int n = step == TLS_HANDSHAKE ? SSL_do_handshake(h->ssl)
            : step == TLS_WRITE   ? SSL_write(h->ssl, bytes, (int)len)
                                  : SSL_read(h->ssl, bytes, (int)len);
    int error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(h->ssl, n);
    *want_more = error == SSL_ERROR_WANT_READ;
    if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_ZERO_RETURN)
        read_error(why);
    char *out;
    long out_len = BIO_get_mem_data(h->out, &out);
    if (out_len > 0)
        rt_string_append(&h->to_send, out, (size_t)out_len);
    (void)BIO_reset(h->out); // of memory: cannot fail
    rt_nopreempt_end();
    return error == SSL_ERROR_ZERO_RETURN || *want_more ? 0 : n > 0 ? n : -1;
}

/* Bytes from the socket into OpenSSL: how many, 0 at the end of the connection, -1 with why. */
static int receive(struct https *h, struct why *why)
{
    char words[64];
    ssize_t n = rt_conn_read(h->conn, h->bytes, READ_BYTES);
    if (n < 0) {
        why_set(why, "%s", why_errno((int)n, words, sizeof words));
        return -1;
    }
    rt_nopreempt_begin();
    int put = n ? BIO_write(h->in, h->bytes, (int)n) : 0;
    rt_nopreempt_end();
    assert(put == n); // a buffer in memory takes all
    return put;
}

/* Repeat a step until it is done: its result, 0 at the end of the connection, or -1 with why. */
static int tls(struct https *h, enum tls_step step, void *bytes, size_t len, struct why *why)
{
    for (;;) {
        bool want_more;
        char words[64];
        int n = ask(h, step, bytes, len, &want_more, why);
        if (h->to_send.len) {
            int err = rt_conn_write(h->conn, h->to_send.data, h->to_send.len);
            h->to_send.len = 0;
            if (err) {
                why_set(why, "%s", why_errno(err, words, sizeof words));
                return -1;
            }
        }
        if (n || !want_more)
            return n;
        n = receive(h, why);
        if (n <= 0)
            return n;
    }
}

/* ---- Connections ---- */

static bool make_ssl(struct https *h, const struct https_trust *t, struct why *why)
{
    rt_nopreempt_begin();
    h->ssl = SSL_new(t->context);
    h->in = BIO_new(BIO_s_mem());
    h->out = BIO_new(BIO_s_mem());
    bool ok = h->ssl && h->in && h->out;
    if (ok) {
        SSL_set_bio(h->ssl, h->in, h->out); // its own from now on
        SSL_set_connect_state(h->ssl);
    } else {
        read_error(why);
        BIO_free(h->in);
        BIO_free(h->out);
    }
    rt_nopreempt_end();
    return ok;
}

static void set_deadline(struct https *h, int64_t deadline_ns)
{
    rt_conn_set_read_deadline(h->conn, deadline_ns);
    rt_conn_set_write_deadline(h->conn, deadline_ns);
}

struct https *https_dial(const struct https_trust *t, const char *address, int64_t deadline_ns,
                         struct why *why)
{
    struct https *h = rt_alloc_zero(sizeof *h);
    h->address = address;
    h->bytes = rt_alloc(READ_BYTES);
    bool ok = rt_dial(address, deadline_ns, &h->conn, why) == 0 && make_ssl(h, t, why);
    if (ok) {
        set_deadline(h, deadline_ns);
        int done = tls(h, TLS_HANDSHAKE, NULL, 0, why);
        if (done == 0)
            why_set(why, "it closed the connection");
        ok = done > 0;
    }
    if (ok)
        return h;
    why_prefix(why, "cannot reach https://%s", address);
    https_close(h);
    return NULL;
}

void https_close(struct https *h)
{
    if (!h)
        return;
    if (h->conn) {
        rt_conn_close(h->conn);
        rt_conn_unref(h->conn);
    }
    rt_nopreempt_begin();
    SSL_free(h->ssl);
    rt_nopreempt_end();
    http_answer_deinit(&h->answer);
    rt_string_deinit(&h->request);
    rt_string_deinit(&h->to_send);
    rt_free(h->bytes);
    rt_free(h);
}

static void write_request(struct https *h, const struct https_request *r)
{
    struct rt_string *out = &h->request;
    out->len = 0;
    rt_string_printf(
        out, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kvlab\r\nAccept: application/json\r\n",
        r->method, r->target, h->address);
    if (r->token)
        rt_string_printf(out, "Authorization: Bearer %s\r\n", r->token);
    if (r->body.len)
        rt_string_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                         r->body.len);
    rt_string_append(out, "\r\n", 2);
    if (r->body.len)
        rt_string_append(out, r->body.data, r->body.len);
}

static bool read_answer(struct https *h, struct why *why)
{
    char bytes[2048];
    http_answer_begin(&h->answer);
    while (h->answer.phase != HTTP_DONE) {
        int n = tls(h, TLS_READ, bytes, sizeof bytes, why);
        if (n < 0)
            return false;
        if (n == 0 && !http_answer_ended(&h->answer)) {
            why_set(why, "the connection ended in the middle of an answer");
            return false;
        }
        if (n > 0 && http_answer_take(&h->answer, bytes, (size_t)n) != n) {
            why_set(why, "what it answered is no HTTP, or too much");
            return false;
        }
    }
    return true;
}

const struct http_answer *https_call(struct https *h, const struct https_request *request,
                                     int64_t deadline_ns, struct why *why)
{
    set_deadline(h, deadline_ns);
    write_request(h, request);
    if (tls(h, TLS_WRITE, h->request.data, h->request.len, why) > 0 && read_answer(h, why))
        return &h->answer;
    if (!why->text[0])
        why_set(why, "the connection ended");
    why_prefix(why, "https://%s%.80s", h->address, request->target);
    return NULL;
}

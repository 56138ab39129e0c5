/* tests/runtime/test_torture_tls.h: OpenSSL. Its error queue belongs to the thread, so an operation and
 * the question why it failed lie in one window without preemption; everything else may move between
 * threads from call to call. Connections run over sockets, TLS over memory BIOs. */
#pragma once
#include "tests/runtime/test_torture.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <rt/net.h>

/* ---- digests, ciphers, signatures ---- */

enum { MESSAGE = 4000, MESSAGES = 4 };

static struct {
    uint8_t message[MESSAGES][MESSAGE];
    uint8_t sha256[MESSAGES][32], sha512[MESSAGES][64];
    EVP_PKEY *key; // P-256
    X509 *certificate;
} crypto; // set before the storm, then const

static void certificate_make(void)
{
    crypto.key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 24 * 3600);
    X509_set_pubkey(x, crypto.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"torture", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_sign(x, crypto.key, EVP_sha256());
    crypto.certificate = x;
}

/* On a plain thread, where nobody interrupts. */
static void crypto_expect(void)
{
    certificate_make();
    for (int i = 0; i < MESSAGES; i++) {
        pattern_fill(crypto.message[i], MESSAGE, (uint64_t)i * 77777 + 5);
        EVP_Digest(crypto.message[i], MESSAGE, crypto.sha256[i], NULL, EVP_sha256(), NULL);
        EVP_Digest(crypto.message[i], MESSAGE, crypto.sha512[i], NULL, EVP_sha512(), NULL);
    }
}

static bool digest_in_pieces(struct tortured *t, int which)
{
    bool wide = draw_below(t, 2);
    uint8_t digest[64];
    unsigned len = 0;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    int ok = EVP_DigestInit_ex(c, wide ? EVP_sha512() : EVP_sha256(), NULL);
    for (size_t at = 0; at < MESSAGE;) {
        size_t n = draw_below(t, 700) + 1;
        n = n < MESSAGE - at ? n : MESSAGE - at;
        ok &= EVP_DigestUpdate(c, crypto.message[which] + at, n);
        at += n;
        stroll(t);
    }
    ok &= EVP_DigestFinal_ex(c, digest, &len);
    EVP_MD_CTX_free(c);
    const uint8_t *want = wide ? crypto.sha512[which] : crypto.sha256[which];
    if (!ok || len != (wide ? 64u : 32u) || memcmp(digest, want, len) != 0)
        return torture_wrong(t, "a digest is wrong");
    return true;
}

static bool seal_and_open(struct tortured *t, int which)
{
    uint8_t *buf = rt_alloc(2 * MESSAGE), key[32], iv[12], tag[16];
    uint8_t *clear = buf + MESSAGE;
    int n, ok = 1;
    pattern_fill(key, sizeof(key), draw(t));
    pattern_fill(iv, sizeof(iv), draw(t));
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    ok &= EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, iv);
    for (size_t at = 0; at < MESSAGE; at += MESSAGE / 4) {
        ok &= EVP_EncryptUpdate(c, buf + at, &n, crypto.message[which] + at, MESSAGE / 4);
        stroll(t);
    }
    ok &= EVP_EncryptFinal_ex(c, buf, &n);
    ok &= EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag);
    stroll(t);
    bool spoil = draw_below(t, 4) == 0;
    if (spoil)
        buf[draw_below(t, MESSAGE)] ^= 1;
    ok &= EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, iv);
    for (size_t at = 0; at < MESSAGE; at += MESSAGE / 4) {
        ok &= EVP_DecryptUpdate(c, clear + at, &n, buf + at, MESSAGE / 4);
        stroll(t);
    }
    ok &= EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag);
    bool accepted = EVP_DecryptFinal_ex(c, clear, &n) > 0;
    bool same = memcmp(clear, crypto.message[which], MESSAGE) == 0;
    EVP_CIPHER_CTX_free(c);
    rt_free(buf);
    if (!ok || accepted == spoil || same == spoil)
        return torture_wrong(t, "a sealed message %s",
                             spoil ? "was taken although spoilt" : "is lost");
    return true;
}

struct signing {
    int which;
    uint8_t bytes[160];
    size_t len;
    bool good;
};

static int64_t sign(void *arg)
{
    struct signing *s = arg;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    s->len = sizeof(s->bytes);
    int ok = EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, crypto.key);
    ok = ok > 0 ? EVP_DigestSign(c, s->bytes, &s->len, crypto.message[s->which], MESSAGE) : ok;
    EVP_MD_CTX_free(c);
    return ok;
}

static int64_t verify(void *arg)
{
    struct signing *s = arg;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    ERR_clear_error();
    int ok = EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, crypto.key);
    s->good =
        ok > 0 && EVP_DigestVerify(c, s->bytes, s->len, crypto.message[s->which], MESSAGE) == 1;
    ERR_clear_error();
    EVP_MD_CTX_free(c);
    return ok;
}

/* Long calls: with the P handed on. */
static bool sign_and_verify(struct tortured *t, int which)
{
    struct signing s = {.which = which};
    if (rt_blocking(sign, &s) <= 0)
        return torture_wrong(t, "cannot sign");
    bool spoil = draw_below(t, 3) == 0;
    if (spoil)
        s.which = (which + 1) % MESSAGES;
    stroll(t);
    if (rt_blocking(verify, &s) <= 0 || s.good == spoil)
        return torture_wrong(t, "a signature %s", spoil ? "fits another message" : "does not fit");
    return true;
}

/* An error is found in the queue of the thread that made it. */
static bool error_is_there(struct tortured *t)
{
    const unsigned char garbage[8] = {0x30, 0x06, 0xff};
    const unsigned char *at = garbage;
    stroll(t);
    rt_nopreempt_begin();
    ERR_clear_error();
    X509 *x = d2i_X509(NULL, &at, sizeof(garbage));
    unsigned long error = ERR_get_error();
    unsigned long next = ERR_peek_error();
    ERR_clear_error();
    rt_nopreempt_end();
    X509_free(x);
    if (x || error == 0 || ERR_GET_LIB(error) != ERR_LIB_ASN1 ||
        (next && ERR_GET_LIB(next) != ERR_LIB_ASN1))
        return torture_wrong(t, "the error queue of a thread has other errors: %lx, %lx", error,
                             next);
    return true;
}

static bool crypto_round(struct tortured *t)
{
    int which = (int)draw_below(t, MESSAGES);
    switch (draw_below(t, 8)) {
    case 0:
        return sign_and_verify(t, which);
    case 1:
    case 2:
        return seal_and_open(t, which);
    case 3:
        return error_is_there(t);
    default:
        return digest_in_pieces(t, which);
    }
}

/* ---- TLS: handshake, a message there and back, goodbye ---- */

enum { TLS_CHUNK = 4096, TLS_MESSAGE_MAX = 20000 };

struct tls_fixture {
    SSL_CTX *client, *server;
    char address[200];
};

struct tls_end {
    struct tortured *t;
    struct rt_conn *conn;
    SSL *ssl;
    uint8_t chunk[TLS_CHUNK];
    uint8_t data[TLS_MESSAGE_MAX];
    size_t len;
    const char *failed; // NULL: all is well
};

static void *tls_open(const char *folder)
{
    struct tls_fixture *f = rt_alloc_zero(sizeof(*f));
    snprintf(f->address, sizeof(f->address), "unix:%s/tls", folder);
    f->client = SSL_CTX_new(TLS_client_method());
    f->server = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(f->server, crypto.certificate);
    SSL_CTX_use_PrivateKey(f->server, crypto.key);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(f->client), crypto.certificate);
    SSL_CTX_set_verify(f->client, SSL_VERIFY_PEER, NULL);
    return f;
}

static bool tls_close(void *shared, char *wrong, size_t cap)
{
    (void)wrong;
    (void)cap;
    struct tls_fixture *f = shared;
    SSL_CTX_free(f->client);
    SSL_CTX_free(f->server);
    rt_free(f);
    return true;
}

/* What TLS wants to send leaves; 0 or -errno. */
static int tls_flush(struct tls_end *e)
{
    int n;
    while ((n = BIO_read(SSL_get_wbio(e->ssl), e->chunk, TLS_CHUNK)) > 0) {
        int err = rt_conn_write(e->conn, e->chunk, (size_t)n);
        if (err)
            return err;
    }
    return 0;
}

enum tls_verb { TLS_SHAKE, TLS_READ, TLS_WRITE };

/* One operation until it is done: its count, or 0 at a failure or the end of the stream. */
static int tls_do(struct tls_end *e, enum tls_verb verb, void *data, size_t len)
{
    for (;;) {
        rt_nopreempt_begin();
        ERR_clear_error();
        int n = verb == TLS_SHAKE  ? SSL_do_handshake(e->ssl)
                : verb == TLS_READ ? SSL_read(e->ssl, data, (int)len)
                                   : SSL_write(e->ssl, data, (int)len);
        int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(e->ssl, n);
        ERR_clear_error();
        rt_nopreempt_end();
        if (tls_flush(e) != 0)
            return 0;
        if (n > 0)
            return n;
        stroll(e->t);
        if (why != SSL_ERROR_WANT_READ)
            return 0;
        ssize_t got = rt_conn_read(e->conn, e->chunk, TLS_CHUNK);
        if (got <= 0)
            return 0;
        BIO_write(SSL_get_rbio(e->ssl), e->chunk, (int)got);
    }
}

static bool tls_begin(struct tls_end *e, SSL_CTX *ctx, bool server)
{
    e->ssl = SSL_new(ctx);
    SSL_set_bio(e->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (server)
        SSL_set_accept_state(e->ssl);
    else
        SSL_set_connect_state(e->ssl);
    rt_conn_set_read_deadline(e->conn, TORTURE_LATE);
    if (tls_do(e, TLS_SHAKE, NULL, 0) <= 0)
        e->failed = "the handshake";
    return !e->failed;
}

static bool tls_read_all(struct tls_end *e, size_t len)
{
    for (e->len = 0; e->len < len;) {
        int n = tls_do(e, TLS_READ, e->data + e->len, len - e->len);
        if (n <= 0)
            return false;
        e->len += (size_t)n;
    }
    return true;
}

static void tls_end_it(struct tls_end *e)
{
    rt_nopreempt_begin();
    SSL_shutdown(e->ssl);
    ERR_clear_error();
    rt_nopreempt_end();
    tls_flush(e);
    SSL_free(e->ssl);
    rt_conn_close(e->conn);
    rt_conn_unref(e->conn);
}

struct tls_server {
    struct tls_end end;
    struct rt_listener *listener;
};

static bool tls_read_length(struct tls_end *e, uint32_t *len)
{
    if (!tls_read_all(e, sizeof(*len)))
        return false;
    memcpy(len, e->data, sizeof(*len));
    return *len <= TLS_MESSAGE_MAX;
}

/* Takes one connection: reads a length and as many bytes, sends them back turned. */
static void tls_serve(void *arg)
{
    struct tls_server *s = arg;
    struct tls_end *e = &s->end;
    struct tls_fixture *f = e->t->shared;
    uint32_t len = 0;
    if (rt_accept(s->listener, &e->conn) != 0) {
        e->failed = "accepting";
        return;
    }
    if (tls_begin(e, f->server, true)) {
        if (!tls_read_length(e, &len))
            e->failed = "reading the length";
        else if (!tls_read_all(e, len))
            e->failed = "reading the message";
        for (uint32_t i = 0; i < len && !e->failed; i++)
            e->data[i] = turned(e->data[i]);
        if (!e->failed && tls_do(e, TLS_WRITE, e->data, len) != (int)len)
            e->failed = "answering";
    }
    tls_end_it(e);
}

static void tls_call(struct tls_end *e, uint32_t len, uint64_t seed)
{
    struct tls_fixture *f = e->t->shared;
    if (tls_begin(e, f->client, false)) {
        pattern_fill(e->data, len, seed);
        if (tls_do(e, TLS_WRITE, &len, sizeof(len)) != sizeof(len) ||
            tls_do(e, TLS_WRITE, e->data, len) != (int)len)
            e->failed = "sending";
        else if (!tls_read_all(e, len))
            e->failed = "reading the answer";
        for (uint32_t i = 0; i < len && !e->failed; i++)
            if (turned(e->data[i]) != pattern_at(seed, i))
                e->failed = "the bytes of the answer";
    }
    tls_end_it(e);
}

static bool tls_round(struct tortured *t)
{
    struct tls_fixture *f = t->shared;
    struct why why = {""};
    struct helpers helpers = {.busy = {.count = 0}};
    char address[220];
    snprintf(address, sizeof(address), "%s-%d", f->address, t->who);
    struct tls_server *s = t->own ? t->own : rt_alloc_zero(sizeof(*s) + sizeof(struct tls_end));
    struct tls_end *c = (struct tls_end *)(s + 1);
    t->own = s;
    s->end.t = c->t = t;
    s->end.failed = c->failed = NULL;
    if (!s->listener && rt_listen(address, &s->listener, &why) != 0)
        return torture_wrong(t, "cannot listen on %s: %s", address, why.text);
    struct tortured of_server = *t; // a sequence of its own
    of_server.random = draw(t) | 1;
    s->end.t = &of_server;
    if (!helper_start(&helpers, tls_serve, s))
        return torture_wrong(t, "too many goroutines");
    if (rt_dial(address, TORTURE_LATE, &c->conn, &why) != 0)
        rt_fatal("cannot dial %s: %s", address, why.text);
    tls_call(c, (uint32_t)draw_below(t, TLS_MESSAGE_MAX) + 1, draw(t));
    if (!helpers_wait(&helpers))
        rt_fatal("a TLS server does not end");
    const char *failed = c->failed ? c->failed : s->end.failed;
    return failed ? torture_wrong(t, "TLS: %s failed", failed) : true;
}

static void tls_leave(struct tortured *t)
{
    struct tls_server *s = t->own;
    if (s && s->listener)
        rt_listener_close(s->listener);
    rt_free(s);
}

static const struct work crypto_works[] = {
    {"OpenSSL's digests and ciphers", 3, NULL, crypto_round, NULL, NULL},
    {"TLS", 2, tls_open, tls_round, tls_leave, tls_close},
};

/* What a hostile or broken peer may do on the client port: each ends in an error on that connection
 * or stream, and the server goes on serving others. Frames are made by hand. */
#include "proto/limits.h"
#include "tests/proto/grpc_fixture.h"
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#define SOON    rt_after_ns(60 * RT_SECOND)
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static struct grpc_status status;

struct raw {
    struct rt_conn *conn;
    struct rt_string in;
    size_t at; // parsed up to here
    bool ended;
};

static void raw_open(struct raw *r, struct fixture *f)
{
    struct why why;
    *r = (struct raw){0};
    if (rt_dial(f->address, SOON, &r->conn, &why))
        fail_msg("%s", why.text);
}

static void raw_close(struct raw *r)
{
    rt_conn_close(r->conn);
    rt_conn_unref(r->conn);
    rt_string_deinit(&r->in);
}

/* May fail: the server is free to hang up first. */
static int raw_write(struct raw *r, const void *data, size_t len)
{
    rt_conn_set_write_deadline(r->conn, SOON);
    return rt_conn_write(r->conn, data, len);
}

static int raw_text(struct raw *r, const char *text) { return raw_write(r, text, strlen(text)); }

static int raw_frame(struct raw *r, uint8_t type, uint8_t flags, uint32_t stream,
                     const void *payload, size_t len)
{
    struct rt_string s = {0};
    uint8_t head[9] = {(uint8_t)(len >> 16),
                       (uint8_t)(len >> 8),
                       (uint8_t)len,
                       type,
                       flags,
                       (uint8_t)(stream >> 24),
                       (uint8_t)(stream >> 16),
                       (uint8_t)(stream >> 8),
                       (uint8_t)stream};
    rt_string_append(&s, head, 9);
    rt_string_append(&s, payload, len);
    int err = raw_write(r, s.data, s.len);
    rt_string_deinit(&s);
    return err;
}

static bool raw_more(struct raw *r)
{
    uint8_t buf[1024];
    rt_conn_set_read_deadline(r->conn, SOON);
    ssize_t n = rt_conn_read(r->conn, buf, sizeof buf);
    if (n > 0) {
        rt_string_append(&r->in, buf, (size_t)n);
        return true;
    }
    assert_true(n != -ETIMEDOUT);
    r->ended = true;
    return false;
}

struct frame {
    uint8_t type, flags;
    uint32_t stream;
    struct rt_bytes payload;
};

static bool raw_next(struct raw *r, struct frame *out)
{
    for (;;) {
        if (r->in.len - r->at >= 9) {
            const uint8_t *p = r->in.data + r->at;
            size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
            if (r->in.len - r->at >= 9 + len) {
                *out = (struct frame){p[3], p[4],
                                      (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 |
                                          (uint32_t)p[7] << 8 | p[8],
                                      rt_bytes(p + 9, len)};
                r->at += 9 + len;
                return true;
            }
        }
        if (!raw_more(r))
            return false;
    }
}

/* Skip to the first frame of this type; false at the end of the connection. */
static bool raw_find(struct raw *r, uint8_t type, struct frame *out)
{
    while (raw_next(r, out))
        if (out->type == type)
            return true;
    return false;
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void raw_hello(struct raw *r, struct fixture *f)
{
    raw_open(r, f);
    assert_int_equal(raw_write(r, PREFACE, 24), 0);
    assert_int_equal(raw_frame(r, NGHTTP2_SETTINGS, 0, 0, "", 0), 0);
}

/* HPACK, literal without indexing. */
static void add_header(struct rt_string *s, const char *name, const char *value, size_t value_len)
{
    uint8_t n = (uint8_t)strlen(name), buf[8];
    rt_string_append(s, "\0", 1);
    rt_string_append(s, &n, 1);
    rt_string_append(s, name, n);
    size_t len = 0, rest = value_len;
    if (rest < 127) {
        buf[len++] = (uint8_t)rest;
    } else {
        buf[len++] = 127;
        for (rest -= 127; rest >= 128; rest >>= 7)
            buf[len++] = (uint8_t)(rest | 0x80);
        buf[len++] = (uint8_t)rest;
    }
    rt_string_append(s, buf, len);
    rt_string_append(s, value, value_len);
}

static void request_headers(struct rt_string *s, const char *method, const char *path,
                            const char *type)
{
    add_header(s, ":method", method, strlen(method));
    add_header(s, ":scheme", "http", 4);
    add_header(s, ":path", path, strlen(path));
    add_header(s, ":authority", "a", 1);
    if (type)
        add_header(s, "content-type", type, strlen(type));
}

static void raw_request(struct raw *r, uint32_t stream, uint8_t flags, const char *path)
{
    struct rt_string s = {0};
    request_headers(&s, "POST", path, "application/grpc");
    raw_frame(r, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | flags, stream, s.data, s.len);
    rt_string_deinit(&s);
}

/* Somebody else is still served, on a fresh connection. */
static void assert_serves(struct fixture *f)
{
    struct grpc_client *c = fixture_dial(f);
    struct rt_buf *answer = NULL;
    assert_int_equal(
        grpc_client_call(c, "/test.Echo/Echo", RT_BYTES("alive"), NULL, 0, SOON, &answer, &status),
        0);
    rt_buf_unref(answer);
    grpc_client_close(c);
}

static void frames_that_break_the_protocol_end_their_connection(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint8_t type, flags;
        uint32_t stream;
        const char *payload;
        size_t len;
        uint32_t code;
    } rows[] = {
        {"SETTINGS on a stream", NGHTTP2_SETTINGS, 0, 1, "", 0, NGHTTP2_PROTOCOL_ERROR},
        {"SETTINGS of 5 bytes", NGHTTP2_SETTINGS, 0, 0, "\0\1\0\0\0", 5, NGHTTP2_FRAME_SIZE_ERROR},
        {"an impossible window", NGHTTP2_SETTINGS, 0, 0, "\0\4\xff\xff\xff\xff", 6,
         NGHTTP2_FLOW_CONTROL_ERROR},
        {"DATA on stream 0", NGHTTP2_DATA, 0, 0, "x", 1, NGHTTP2_PROTOCOL_ERROR},
        {"DATA on an idle stream", NGHTTP2_DATA, 0, 1, "x", 1, NGHTTP2_PROTOCOL_ERROR},
        {"HEADERS on stream 0", NGHTTP2_HEADERS, 4, 0, "", 0, NGHTTP2_PROTOCOL_ERROR},
        {"HEADERS on an even stream", NGHTTP2_HEADERS, 4, 2, "\x82", 1, NGHTTP2_PROTOCOL_ERROR},
        {"broken HPACK", NGHTTP2_HEADERS, 4, 1, "\xff\xff\xff\xff\xff\xff", 6,
         NGHTTP2_COMPRESSION_ERROR},
        {"an index that is not there", NGHTTP2_HEADERS, 4, 1, "\xfe", 1, NGHTTP2_COMPRESSION_ERROR},
        {"padding longer than the frame", NGHTTP2_HEADERS, 12, 1, "\x7f", 1,
         NGHTTP2_PROTOCOL_ERROR},
        {"CONTINUATION of nothing", NGHTTP2_CONTINUATION, 4, 1, "", 0, NGHTTP2_PROTOCOL_ERROR},
        {"RST_STREAM of an idle stream", NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\0", 4,
         NGHTTP2_PROTOCOL_ERROR},
        {"RST_STREAM of 3 bytes", NGHTTP2_RST_STREAM, 0, 1, "\0\0\0", 3, NGHTTP2_FRAME_SIZE_ERROR},
        {"PING of 7 bytes", NGHTTP2_PING, 0, 0, "1234567", 7, NGHTTP2_FRAME_SIZE_ERROR},
        {"PING on a stream", NGHTTP2_PING, 0, 1, "12345678", 8, NGHTTP2_PROTOCOL_ERROR},
        {"WINDOW_UPDATE by 0", NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\0", 4, NGHTTP2_PROTOCOL_ERROR},
        {"a window over 2^31-1", NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4,
         NGHTTP2_FLOW_CONTROL_ERROR},
        {"PUSH_PROMISE of a client", NGHTTP2_PUSH_PROMISE, 4, 1, "\0\0\0\2", 4,
         NGHTTP2_PROTOCOL_ERROR},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct raw r;
        struct frame got;
        raw_hello(&r, &f);
        raw_frame(&r, rows[i].type, rows[i].flags, rows[i].stream, rows[i].payload, rows[i].len);
        if (!raw_find(&r, NGHTTP2_GOAWAY, &got))
            fail_msg("%s: no GOAWAY", rows[i].what);
        if (u32(got.payload.data + 4) != rows[i].code)
            fail_msg("%s: code %u", rows[i].what, u32(got.payload.data + 4));
        while (raw_next(&r, &got))
            continue;
        raw_close(&r);
    }
    assert_serves(&f);
    fixture_stop(&f);
}

static void a_frame_over_16_kib_ends_its_connection(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    uint8_t *big = rt_alloc_zero(16385);
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    raw_request(&r, 1, 0, "/test.Echo/Echo");
    raw_frame(&r, NGHTTP2_DATA, 0, 1, big, 16385);
    assert_true(raw_find(&r, NGHTTP2_GOAWAY, &got));
    assert_int_equal(u32(got.payload.data + 4), NGHTTP2_FRAME_SIZE_ERROR);
    raw_close(&r);
    rt_free(big);
    assert_serves(&f);
    fixture_stop(&f);
}

static void a_wrong_preface_is_answered_as_http_1_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        {"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "HTTP/1.1 505 "},
        {"\x16\x03\x01\x02\x01\r\n\r\n", "HTTP/1.1 400 "},
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"nonsense\n\n", "HTTP/1.1 400 "},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct raw r;
        raw_open(&r, &f);
        raw_write(&r, rows[i].bytes, strlen(rows[i].bytes));
        while (raw_more(&r))
            continue;
        if (strncmp(rt_string_cstr(&r.in), rows[i].want, strlen(rows[i].want)) != 0)
            fail_msg("row %zu: %s", i, rt_string_cstr(&r.in));
        raw_close(&r);
    }
    assert_serves(&f);
    fixture_stop(&f);
}

static void who_says_nothing_or_half_a_header_is_hung_up_on(void **state)
{
    (void)state;
    struct fixture f;
    struct frame got;
    fixture_start(&f, &(struct grpc_server_options){.handshake_ns = 100 * RT_MS});
    struct raw silent, half_preface, no_settings, half_headers;
    raw_open(&silent, &f);
    raw_open(&half_preface, &f);
    raw_write(&half_preface, PREFACE, 20);
    raw_open(&no_settings, &f);
    raw_write(&no_settings, PREFACE, 24);
    raw_hello(&half_headers, &f);
    raw_frame(&half_headers, NGHTTP2_HEADERS, 0, 1, "\x82", 1); // no END_HEADERS
    assert_false(raw_more(&silent));
    assert_false(raw_more(&half_preface));
    while (raw_next(&no_settings, &got))
        continue;
    while (raw_next(&half_headers, &got))
        continue;
    raw_close(&silent);
    raw_close(&half_preface);
    raw_close(&no_settings);
    raw_close(&half_headers);
    assert_serves(&f);
    fixture_stop(&f);
}

static void too_many_header_bytes_end_the_stream_not_the_connection(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    struct rt_string block = {0};
    char *value = rt_alloc(16000);
    memset(value, 'v', 16000);
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    request_headers(&block, "POST", "/test.Echo/Echo", "application/grpc");
    for (int i = 0; i < 5; i++)
        add_header(&block, "x-long", value, 16000);
    size_t at = 0;
    for (int i = 0; at < block.len; i++) {
        size_t n = block.len - at < 16384 ? block.len - at : 16384;
        raw_frame(&r, i ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS, at + n == block.len ? 4 : 0, 1,
                  block.data + at, n);
        at += n;
    }
    assert_true(raw_find(&r, NGHTTP2_RST_STREAM, &got));
    assert_int_equal(got.stream, 1);
    raw_request(&r, 3, 0, "/test.Echo/Echo"); // the same connection goes on
    raw_frame(&r, NGHTTP2_DATA, 1, 3, "\0\0\0\0\2hi", 7);
    assert_true(raw_find(&r, NGHTTP2_DATA, &got));
    assert_true(rt_bytes_equal(got.payload, RT_BYTES("\0\0\0\0\2hi")));
    raw_close(&r);
    rt_string_deinit(&block);
    rt_free(value);
    fixture_stop(&f);
}

static void a_flood_of_continuations_ends_the_connection(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    raw_frame(&r, NGHTTP2_HEADERS, 0, 1, "\x82", 1);
    for (int i = 0; i < 1000; i++)
        if (raw_frame(&r, NGHTTP2_CONTINUATION, 0, 1, "", 0))
            break;
    while (raw_next(&r, &got))
        continue;
    raw_close(&r);
    assert_serves(&f);
    fixture_stop(&f);
}

static void rapid_resets_end_the_connection(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    for (uint32_t i = 0; i < 5000; i++) {
        raw_request(&r, 1 + 2 * i, 0, "/test.Echo/Park");
        if (raw_frame(&r, NGHTTP2_RST_STREAM, 0, 1 + 2 * i, "\0\0\0\x08", 4))
            break;
    }
    while (raw_next(&r, &got))
        continue;
    raw_close(&r);
    assert_serves(&f);
    fixture_stop(&f);
}

static void settings_that_nobody_reads_the_answers_of_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    rt_conn_set_write_deadline(r.conn, rt_after_ns(2 * RT_SECOND));
    uint8_t *many = rt_alloc_zero(9 * 10000);
    for (int i = 0; i < 10000; i++)
        many[9 * i + 3] = NGHTTP2_SETTINGS;
    for (int i = 0; i < 20; i++) // 200,000 of them; the server reads, answers, or hangs up
        if (rt_conn_write(r.conn, many, 9 * 10000))
            break;
    assert_serves(&f);
    raw_close(&r);
    rt_free(many);
    fixture_stop(&f);
}

static void needless_pings_are_answered_with_too_many_pings(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    for (int i = 0; i < 10; i++)
        if (raw_frame(&r, NGHTTP2_PING, 0, 0, "12345678", 8))
            break;
    assert_true(raw_find(&r, NGHTTP2_GOAWAY, &got));
    assert_int_equal(u32(got.payload.data + 4), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(rt_bytes_equal(rt_bytes(got.payload.data + 8, got.payload.len - 8),
                               RT_BYTES("too_many_pings")));
    while (raw_next(&r, &got))
        continue;
    raw_close(&r);
    fixture_stop(&f);
}

static void pings_beside_traffic_are_taken(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    for (uint32_t i = 0; i < 10; i++) { // as grpc-go's bandwidth probes: one after each answer
        raw_request(&r, 1 + 2 * i, 0, "/test.Echo/Echo");
        raw_frame(&r, NGHTTP2_DATA, 1, 1 + 2 * i, "\0\0\0\0\2hi", 7);
        assert_true(raw_find(&r, NGHTTP2_DATA, &got));
        raw_frame(&r, NGHTTP2_PING, 0, 0, "12345678", 8);
        assert_true(raw_find(&r, NGHTTP2_PING, &got));
        assert_int_equal(got.flags, NGHTTP2_FLAG_ACK);
    }
    raw_close(&r);
    fixture_stop(&f);
}

static void a_client_that_answers_no_ping_is_hung_up_on(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    fixture_start(&f, &(struct grpc_server_options){.ping_interval_ns = 50 * RT_MS,
                                                    .ping_timeout_ns = 50 * RT_MS});
    raw_hello(&r, &f);
    assert_true(raw_find(&r, NGHTTP2_PING, &got));
    while (raw_next(&r, &got))
        continue;
    raw_close(&r);
    fixture_stop(&f);
}

/* The value of grpc-status in a header block that our server made: it sends the name as a literal
 * or from its table, so look for the answer by nghttp2. */
static int status_of(nghttp2_hd_inflater *hd, struct rt_bytes block, int *http_status)
{
    int code = -1;
    const uint8_t *in = block.data;
    size_t left = block.len;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(hd, &nv, &flags, in, left, 1);
        assert_true(n >= 0);
        in += n;
        left -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            if (nv.namelen == 11 && !memcmp(nv.name, "grpc-status", 11))
                code = atoi((char *)nv.value);
            if (nv.namelen == 7 && !memcmp(nv.name, ":status", 7))
                *http_status = atoi((char *)nv.value);
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(hd);
            return code;
        }
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !left)
            return code;
    }
}

static void broken_requests_get_their_status(void **state)
{
    (void)state;
    static const struct {
        const char *what, *method, *path, *type, *extra, *extra_value, *data;
        size_t len;
        int code, http;
    } rows[] = {
        {"GET", "GET", "/test.Echo/Echo", "application/grpc", NULL, NULL, "", 0, GRPC_INTERNAL,
         405},
        {"no content type", "POST", "/test.Echo/Echo", NULL, NULL, NULL, "", 0,
         GRPC_INVALID_ARGUMENT, 415},
        {"another content type", "POST", "/test.Echo/Echo", "application/json", NULL, NULL, "", 0,
         GRPC_INVALID_ARGUMENT, 415},
        {"almost the content type", "POST", "/test.Echo/Echo", "application/grpcx", NULL, NULL, "",
         0, GRPC_INVALID_ARGUMENT, 415},
        {"its sub type", "POST", "/test.Echo/Echo", "application/grpc+proto", NULL, NULL,
         "\0\0\0\0\0", 5, GRPC_OK, 200},
        {"a bad timeout", "POST", "/test.Echo/Echo", "application/grpc", "grpc-timeout", "10x", "",
         0, GRPC_INTERNAL, 200},
        {"a timeout of nine digits", "POST", "/test.Echo/Echo", "application/grpc", "grpc-timeout",
         "123456789S", "", 0, GRPC_INTERNAL, 200},
        {"gzip", "POST", "/test.Echo/Echo", "application/grpc", "grpc-encoding", "gzip",
         "\1\0\0\0\1x", 6, GRPC_UNIMPLEMENTED, 200},
        {"identity", "POST", "/test.Echo/Echo", "application/grpc", "grpc-encoding", "identity",
         "\0\0\0\0\1x", 6, GRPC_OK, 200},
        {"compressed without saying how", "POST", "/test.Echo/Echo", "application/grpc", NULL, NULL,
         "\1\0\0\0\1x", 6, GRPC_INTERNAL, 200},
        {"no message", "POST", "/test.Echo/Echo", "application/grpc", NULL, NULL, "", 0,
         GRPC_INTERNAL, 200},
        {"half a prefix", "POST", "/test.Echo/Echo", "application/grpc", NULL, NULL, "\0\0", 2,
         GRPC_INTERNAL, 200},
        {"half a message", "POST", "/test.Echo/Echo", "application/grpc", NULL, NULL,
         "\0\0\0\0\5ab", 7, GRPC_INTERNAL, 200},
        {"half a message in a stream", "POST", "/test.Streams/Chat", "application/grpc", NULL, NULL,
         "\0\0\0\0\5ab", 7, GRPC_INTERNAL, 200},
        {"a huge message in a stream", "POST", "/test.Streams/Chat", "application/grpc", NULL, NULL,
         "\0\xff\xff\xff\xff"
         "ab",
         7, GRPC_RESOURCE_EXHAUSTED, 200},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct raw r;
        struct frame got;
        struct rt_string block = {0};
        nghttp2_hd_inflater *hd;
        int http = 0, code = -1;
        raw_hello(&r, &f);
        nghttp2_hd_inflate_new(&hd);
        request_headers(&block, rows[i].method, rows[i].path, rows[i].type);
        if (rows[i].extra)
            add_header(&block, rows[i].extra, rows[i].extra_value, strlen(rows[i].extra_value));
        raw_frame(&r, NGHTTP2_HEADERS, 4, 1, block.data, block.len);
        raw_frame(&r, NGHTTP2_DATA, 1, 1, rows[i].data, rows[i].len);
        while (code < 0 && raw_find(&r, NGHTTP2_HEADERS, &got))
            code = status_of(hd, got.payload, &http);
        if (code != rows[i].code || http != rows[i].http)
            fail_msg("%s: grpc-status %d, HTTP %d", rows[i].what, code, http);
        nghttp2_hd_inflate_del(hd);
        rt_string_deinit(&block);
        raw_close(&r);
    }
    assert_serves(&f);
    fixture_stop(&f);
}

static void malformed_headers_end_their_stream(void **state)
{
    (void)state;
    static const struct {
        const char *what, *name, *value;
        size_t value_len;
    } rows[] = {
        {"a name with a capital", "Token", "x", 1},
        {"no name", "", "x", 1},
        {"a line's end in a value", "token", "a\r\nb", 4},
        {"a NUL in a value", "token", "a\0b", 3},
        {"a second :path", ":path", "/test.Echo/Echo", 15},
        {"a pseudo header of answers", ":status", "200", 3},
        {"an unknown pseudo header", ":token", "x", 1},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct raw r;
        struct frame got;
        struct rt_string block = {0};
        raw_hello(&r, &f);
        request_headers(&block, "POST", "/test.Echo/Echo", NULL);
        add_header(&block, rows[i].name, rows[i].value, rows[i].value_len);
        add_header(&block, "content-type", "application/grpc", 16);
        raw_frame(&r, NGHTTP2_HEADERS, 4, 1, block.data, block.len);
        raw_frame(&r, NGHTTP2_DATA, 1, 1, "\0\0\0\0\2hi", 7);
        if (!raw_find(&r, NGHTTP2_RST_STREAM, &got) || got.stream != 1)
            fail_msg("%s: the stream is not reset", rows[i].what);
        rt_string_deinit(&block);
        raw_close(&r);
    }
    assert_serves(&f);
    fixture_stop(&f);
}

/* As etcd's clients of before 3.5 send in the calls of Maintenance when an endpoint has a scheme. */
static void an_authority_may_be_a_url(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    struct rt_string block = {0};
    static const char authority[] = "http://127.0.0.1:2379", path[] = "/test.Echo/Echo";
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    add_header(&block, ":method", "POST", 4);
    add_header(&block, ":scheme", "http", 4);
    add_header(&block, ":path", path, sizeof path - 1);
    add_header(&block, ":authority", authority, sizeof authority - 1);
    add_header(&block, "content-type", "application/grpc", 16);
    raw_frame(&r, NGHTTP2_HEADERS, 4, 1, block.data, block.len);
    raw_frame(&r, NGHTTP2_DATA, 1, 1, "\0\0\0\0\2hi", 7);
    assert_true(raw_find(&r, NGHTTP2_DATA, &got));
    assert_true(rt_bytes_equal(got.payload, RT_BYTES("\0\0\0\0\2hi")));
    rt_string_deinit(&block);
    raw_close(&r);
    fixture_stop(&f);
}

static void settings_advertise_what_clients_of_etcd_expect(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    struct frame got;
    uint32_t streams = 0;
    fixture_start(&f, NULL);
    raw_hello(&r, &f);
    assert_true(raw_find(&r, NGHTTP2_SETTINGS, &got));
    for (size_t i = 0; i + 6 <= got.payload.len; i += 6)
        if (got.payload.data[i + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            streams = u32(got.payload.data + i + 2);
    assert_int_equal(streams, UINT32_MAX);
    raw_close(&r);
    fixture_stop(&f);
}

static void http_1_is_served_on_the_same_port(void **state)
{
    (void)state;
    struct fixture f;
    struct raw r;
    fixture_start(&f, NULL);
    raw_open(&r, &f);
    static const char requests[] =
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\n" // pipelined
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        "HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n"
        "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (size_t i = 0; i < sizeof requests - 1;
         i++) // byte by byte: heads and bodies come in pieces
        assert_int_equal(raw_write(&r, requests + i, 1), 0);
    while (raw_more(&r))
        continue;
    char *text = (char *)(uintptr_t)rt_string_cstr(&r.in), *second, *third, *fourth;
    assert_int_equal(strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0);
    second = strstr(text, "\r\n\r\n{\"health\":\"true\"}HTTP/1.1 200 OK");
    assert_non_null(second);
    third = strstr(second, "\r\n\r\nhelloHTTP/1.1 200 OK");
    assert_non_null(third);
    assert_non_null(strstr(third, "Content-Length: 17\r\n\r\nHTTP/1.1 404 Not Found"));
    fourth = strstr(third, "404");
    assert_non_null(strstr(fourth, "Connection: close"));
    raw_close(&r);
    fixture_stop(&f);
}

static void idle_connections_do_not_hold_up_a_drain(void **state)
{
    (void)state;
    struct fixture f;
    struct raw silent, http1, http2;
    struct frame got;
    fixture_start(&f, &(struct grpc_server_options){.handshake_ns = 7200 * RT_SECOND});
    f.drain_ns =
        7200 * RT_SECOND; // nothing is cut: if one of them held it up, this test would hang
    raw_open(&silent, &f);
    raw_open(&http1, &f);
    raw_text(&http1, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(raw_more(&http1));
    raw_hello(&http2, &f);
    assert_true(raw_find(&http2, NGHTTP2_SETTINGS, &got));
    fixture_stop(&f);
    assert_true(raw_find(&http2, NGHTTP2_GOAWAY, &got));
    assert_int_equal(u32(got.payload.data + 4), NGHTTP2_NO_ERROR);
    raw_close(&silent);
    raw_close(&http1);
    raw_close(&http2);
}

struct plain {
    struct rt_listener *listener;
    struct rt_note ended;
};

static void accept_plain(void *arg)
{
    struct plain *p = arg;
    http1_accept(&fixture_http1_options, p->listener, 2);
    rt_note_set(&p->ended);
}

static void a_listener_may_speak_http_1_only(void **state)
{
    (void)state;
    struct plain p = {0};
    struct raw r, h2, idle;
    struct why why;
    assert_int_equal(rt_listen("127.0.0.1:0", &p.listener, &why), 0);
    struct fixture f = {.address = rt_strdup(rt_listener_address(p.listener))};
    assert_int_equal(rt_go("test-http1", accept_plain, &p), 0);
    raw_open(&r, &f);
    raw_text(&r, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    while (raw_more(&r))
        continue;
    assert_non_null(strstr(rt_string_cstr(&r.in), "{\"health\":\"true\"}"));
    raw_close(&r);
    raw_open(&h2, &f);
    raw_write(&h2, PREFACE, 24);
    while (raw_more(&h2))
        continue;
    assert_int_equal(strncmp(rt_string_cstr(&h2.in), "HTTP/1.1 505 ", 13), 0);
    raw_close(&h2);
    raw_open(&idle, &f); // does not hold up the end
    rt_listener_close(p.listener);
    assert_int_equal(rt_note_wait(&p.ended, SOON), 0);
    raw_close(&idle);
    rt_free((void *)(uintptr_t)f.address);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(frames_that_break_the_protocol_end_their_connection),
    cmocka_unit_test(a_frame_over_16_kib_ends_its_connection),
    cmocka_unit_test(a_wrong_preface_is_answered_as_http_1_or_not_at_all),
    cmocka_unit_test(who_says_nothing_or_half_a_header_is_hung_up_on),
    cmocka_unit_test(too_many_header_bytes_end_the_stream_not_the_connection),
    cmocka_unit_test(a_flood_of_continuations_ends_the_connection),
    cmocka_unit_test(rapid_resets_end_the_connection),
    cmocka_unit_test(settings_that_nobody_reads_the_answers_of_are_bounded),
    cmocka_unit_test(needless_pings_are_answered_with_too_many_pings),
    cmocka_unit_test(pings_beside_traffic_are_taken),
    cmocka_unit_test(a_client_that_answers_no_ping_is_hung_up_on),
    cmocka_unit_test(broken_requests_get_their_status),
    cmocka_unit_test(malformed_headers_end_their_stream),
    cmocka_unit_test(an_authority_may_be_a_url),
    cmocka_unit_test(settings_advertise_what_clients_of_etcd_expect),
    cmocka_unit_test(http_1_is_served_on_the_same_port),
    cmocka_unit_test(idle_connections_do_not_hold_up_a_drain),
    cmocka_unit_test(a_listener_may_speak_http_1_only),
};
RT_TEST_GROUP(run, tests)

int main(void) { return rt_test_main(NULL, run); }

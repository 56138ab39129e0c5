/* HTTP/1.1 heads: what is taken, and what is refused with which status. */
#include "proto/http1_parse.h"
#include "tests/support/rt_test.h"
#include <errno.h>
#include <stdlib.h>

#define HOST "Host: a\r\n"

static int parse(const char *text, size_t len, struct http1_head *head, uint8_t **copy)
{
    *copy = malloc(len ? len : 1);
    memcpy(*copy, text, len);
    return http1_parse(*copy, len, head);
}

static void heads_are_judged_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
        int want;
    } rows[] = {
        {"a plain GET", "GET /health HTTP/1.1\r\n" HOST "\r\n", 1},
        {"HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n", 1},
        {"an empty line first", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 1},
        {"absolute form", "GET http://h:1/metrics HTTP/1.1\r\n" HOST "\r\n", 1},
        {"tabs round a value", "GET / HTTP/1.1\r\nHost:\ta\t\r\n\r\n", 1},
        {"half a line", "GET / HT", 0},
        {"a head without its end", "GET / HTTP/1.1\r\n" HOST, 0},
        {"nothing", "", 0},
        {"no host", "GET / HTTP/1.1\r\n\r\n", -400},
        {"two hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", -400},
        {"bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", -400},
        {"one bare line feed", "GET / HTTP/1.1\n" HOST "\r\n", -400},
        {"a carriage return in a value", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", -400},
        {"a folded header", "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", -400},
        {"a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", -400},
        {"an empty name", "GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", -400},
        {"no colon", "GET / HTTP/1.1\r\n" HOST "abc\r\n\r\n", -400},
        {"a control character in a value", "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", -400},
        {"two spaces", "GET  / HTTP/1.1\r\n" HOST "\r\n", -400},
        {"no version", "GET /\r\n" HOST "\r\n", -400},
        {"a small version", "GET / http/1.1\r\n" HOST "\r\n", -400},
        {"HTTP/2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", -505},
        {"HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", -505},
        {"an unknown method", "BREW / HTTP/1.1\r\n" HOST "\r\n", -501},
        {"a small method", "get / HTTP/1.1\r\n" HOST "\r\n", -501},
        {"a relative path", "GET health HTTP/1.1\r\n" HOST "\r\n", -400},
        {"a NUL in the path", "GET /%00 HTTP/1.1\r\n" HOST "\r\n", -400},
        {"half an escape", "GET /%4 HTTP/1.1\r\n" HOST "\r\n", -400},
        {"a broken escape", "GET /%zz HTTP/1.1\r\n" HOST "\r\n", -400},
        {"chunks", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", -501},
        {"chunks and a length",
         "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
         -400},
        {"two lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
         -400},
        {"a signed length", "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", -400},
        {"a length list", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", -400},
        {"a huge length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n",
         -400},
        {"an empty length", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", -400},
        {"an expectation", "POST / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n", -417},
    };
    struct http1_head head;
    uint8_t *copy;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int got = parse(rows[i].text, strlen(rows[i].text), &head, &copy);
        if (got != rows[i].want)
            fail_msg("%s: wanted %d, got %d", rows[i].what, rows[i].want, got);
        free(copy);
    }
}

static void a_head_says_what_was_asked(void **state)
{
    (void)state;
    static const char text[] =
        "POST /v3/kv%2Frange?a=b%20c&d=1+2&a=&flag HTTP/1.1\r\nHOST: x\r\n"
        "Content-Length: 12\r\nX-Thing:  spaced out \r\nConnection: Close\r\n"
        "Expect: 100-Continue\r\n\r\nbody";
    struct http1_head head;
    uint8_t *copy;
    char value[16];
    assert_int_equal(parse(text, sizeof text - 1, &head, &copy), 1);
    assert_true(rt_bytes_equal(head.request.method, RT_BYTES("POST")));
    assert_true(rt_bytes_equal(head.request.path, RT_BYTES("/v3/kv/range")));
    assert_int_equal(head.content_length, 12);
    assert_int_equal(head.head_bytes, sizeof text - 1 - 4);
    assert_false(head.keep_alive);
    assert_true(head.expects_continue);
    assert_true(rt_bytes_equal(http1_header(&head.request, "x-thing"), RT_BYTES("spaced out")));
    assert_null(http1_header(&head.request, "x-other").data);
    assert_int_equal(http1_query(&head.request, "a", 0, value, sizeof value), 3);
    assert_string_equal(value, "b c");
    assert_int_equal(http1_query(&head.request, "a", 1, value, sizeof value), 0);
    assert_int_equal(http1_query(&head.request, "a", 2, value, sizeof value), -ENOENT);
    assert_int_equal(http1_query(&head.request, "d", 0, value, sizeof value), 3);
    assert_string_equal(value, "1 2");
    assert_int_equal(http1_query(&head.request, "flag", 0, value, sizeof value), 0);
    assert_int_equal(http1_query(&head.request, "a", 0, value, 3), -EINVAL); // no room
    free(copy);
}

static void a_head_cut_anywhere_waits_for_more(void **state)
{
    (void)state;
    static const char text[] = "GET /version?x=%41 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    struct http1_head head;
    uint8_t *copy;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        assert_int_equal(parse(text, len, &head, &copy), 0);
        free(copy);
    }
}

static void heads_are_bounded(void **state)
{
    (void)state;
    struct http1_head head;
    uint8_t *copy;
    struct rt_string s = {0};
    rt_string_printf(&s, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < HTTP1_HEADERS_MAX; i++)
        rt_string_printf(&s, "h%d: v\r\n", i);
    rt_string_printf(&s, "\r\n");
    assert_int_equal(parse((char *)s.data, s.len, &head, &copy), -431);
    free(copy);
    s.len = 0;
    rt_string_printf(&s, "GET / HTTP/1.1\r\nHost: a\r\nlong: ");
    while (s.len < HTTP1_HEAD_BYTES)
        rt_string_append(&s, "x", 1);
    assert_int_equal(parse((char *)s.data, s.len, &head, &copy), -431);
    free(copy);
    rt_string_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_judged_strictly),
        cmocka_unit_test(a_head_says_what_was_asked),
        cmocka_unit_test(a_head_cut_anywhere_waits_for_more),
        cmocka_unit_test(heads_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

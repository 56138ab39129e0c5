/* How kvlab reads HTTP/1.1 responses: whole, byte by byte, and what it refuses. */
#include "cmd/kvlab/http_answer.h"
#include "tests/support/rt_test.h"
#include <string.h>

/* Feed `text` in pieces of `step` bytes, then end the connection. False: refused, or not whole. */
static bool read_all(struct http_answer *a, const char *text, size_t step)
{
    size_t len = strlen(text);
    http_answer_begin(a);
    for (size_t at = 0; at < len && a->phase != HTTP_DONE; at += step) {
        size_t n = len - at < step ? len - at : step;
        ssize_t took = http_answer_take(a, text + at, n);
        if (took < 0)
            return false;
        if ((size_t)took < n) // what follows belongs to the next response
            return a->phase == HTTP_DONE;
    }
    return a->phase == HTTP_DONE || http_answer_ended(a);
}

static void a_response_is_the_same_however_its_bytes_come(void **state)
{
    (void)state;
    static const struct {
        const char *when, *text, *body;
        int status;
        bool keeps_open;
    } rows[] = {
        {"it has a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200,
         true},
        {"it has no body", "HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n", "", 404, true},
        {"it comes in chunks",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00A;x=y\r\n, "
         "chunks!!\r\n0\r\nTrailer: t\r\n\r\n",
         "hello, chunks!!", 200, true},
        {"the server closes", "HTTP/1.1 500 X\r\nConnection:  close \r\nContent-Length: 1\r\n\r\n!",
         "!", 500, false},
        {"the end of the connection ends it", "HTTP/1.1 200 OK\r\n\r\nto the end", "to the end",
         200, false},
        {"status 204 has no body", "HTTP/1.1 204 No Content\r\n\r\n", "", 204, true},
        {"another follows", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500", "ok", 200,
         true},
    };
    struct http_answer a = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t step = 1; step <= 64; step *= 4) {
            bool whole = read_all(&a, rows[i].text, step);
            if (!whole || a.status != rows[i].status || a.keeps_open != rows[i].keeps_open ||
                strcmp(rt_string_cstr(&a.body), rows[i].body) != 0)
                fail_msg("when %s, %zu bytes at a time: %s, status %d, \"%s\"", rows[i].when, step,
                         whole ? "whole" : "refused", a.status, rt_string_cstr(&a.body));
        }
    http_answer_deinit(&a);
}

static void what_is_no_response_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\n!",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 123456789012345678901234567890\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    };
    struct http_answer a = {0};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        for (size_t step = 1; step <= 64; step *= 4)
            if (read_all(&a, texts[i], step))
                fail_msg("taken, %zu bytes at a time: %s", step, texts[i]);
    http_answer_deinit(&a);
}

static void a_head_without_end_or_with_a_nul_is_refused(void **state)
{
    (void)state;
    struct http_answer a = {0};
    http_answer_begin(&a);
    ssize_t n = http_answer_take(&a, "HTTP/1.1 200 OK\r\n", 17);
    for (int i = 0; i < 10000 && n >= 0; i++)
        n = http_answer_take(&a, "name: a value\r\n", 15);
    assert_int_equal(n, -1);
    http_answer_begin(&a);
    assert_int_equal(http_answer_take(&a, "HTTP/1.1 200 OK\r\na\0b: c\r\n\r\n", 28), -1);
    http_answer_deinit(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_response_is_the_same_however_its_bytes_come),
    cmocka_unit_test(what_is_no_response_is_refused),
    cmocka_unit_test(a_head_without_end_or_with_a_nul_is_refused),
};
RT_TEST_GROUP(group, tests)
int main(void) { return rt_test_main(NULL, group); }

/* cmd/kvlab/http_answer.c: one state for each part of a response; lines are gathered, bodies copied. */
#include "cmd/kvlab/http_answer.h"
#include <rt/parse.h>
#include <string.h>

enum { LINE_MAX_BYTES = 8 << 10 };

void http_answer_begin(struct http_answer *a)
{
    a->phase = HTTP_HEAD;
    a->status = 0;
    a->keeps_open = true;
    a->left = 0;
    a->line.len = a->body.len = 0;
}

void http_answer_deinit(struct http_answer *a)
{
    rt_string_deinit(&a->line);
    rt_string_deinit(&a->body);
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static bool same(const char *text, size_t len, const char *word)
{
    size_t i = 0;
    while (i < len && word[i] && lower(text[i]) == word[i])
        i++;
    return i == len && !word[i];
}

/* A line of `name: value`; names and the values we look at have no case. False: malformed. */
static bool read_header(struct http_answer *a, const char *line, size_t len, bool *chunked,
                        bool *counted)
{
    const char *colon = memchr(line, ':', len);
    if (!colon || colon == line)
        return false;
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t name_len = (size_t)(colon - line), value_len = (size_t)(end - value);
    if (same(line, name_len, "content-length")) {
        char digits[24];
        if (value_len >= sizeof digits)
            return false;
        memcpy(digits, value, value_len);
        digits[value_len] = 0;
        *counted = true;
        return rt_parse_u64(digits, &a->left) == 0 && a->left <= HTTP_BODY_MAX;
    }
    if (same(line, name_len, "transfer-encoding")) {
        *chunked = same(value, value_len, "chunked");
        return *chunked; // others we did not ask for
    }
    if (same(line, name_len, "connection") && same(value, value_len, "close"))
        a->keeps_open = false;
    return true;
}

/* The head is whole: lines of \r\n, the last one empty. */
static bool read_head(struct http_answer *a)
{
    const char *at = rt_string_cstr(&a->line), *end = at + a->line.len;
    bool chunked = false, counted = false;
    if (a->line.len < 14 || memcmp(at, "HTTP/1.1 ", 9) != 0 || memchr(at, 0, a->line.len))
        return false;
    for (int i = 9; i < 12; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        a->status = a->status * 10 + (at[i] - '0');
    }
    for (at = strstr(at, "\r\n") + 2; at + 2 < end; at = strstr(at, "\r\n") + 2)
        if (!read_header(a, at, (size_t)(strstr(at, "\r\n") - at), &chunked, &counted))
            return false;
    a->line.len = 0;
    if (a->status < 200 || a->status == 204 || a->status == 304)
        a->phase = HTTP_DONE;
    else if (chunked)
        a->phase = HTTP_CHUNK_SIZE;
    else if (!counted)
        a->phase = HTTP_TO_THE_END;
    else
        a->phase = a->left ? HTTP_COUNTED : HTTP_DONE;
    return true;
}

static bool read_chunk_size(struct http_answer *a)
{
    const char *text = rt_string_cstr(&a->line);
    uint64_t size = 0;
    size_t i = 0;
    for (; i < 8; i++) {
        char c = lower(text[i]);
        if (c >= '0' && c <= '9')
            size = size * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            size = size * 16 + (uint64_t)(c - 'a' + 10);
        else
            break;
    }
    if (i == 0 || (text[i] != '\r' && text[i] != ';' && text[i] != ' '))
        return false;
    a->left = size;
    a->line.len = 0;
    a->phase = size ? HTTP_CHUNK : HTTP_TRAILER;
    return a->body.len + size <= HTTP_BODY_MAX;
}

/* A whole line has come. False: malformed. */
static bool read_line(struct http_answer *a)
{
    switch (a->phase) {
    case HTTP_CHUNK_SIZE:
        return read_chunk_size(a);
    case HTTP_CHUNK_END:
        a->phase = HTTP_CHUNK_SIZE;
        break;
    case HTTP_TRAILER:
        a->phase = a->line.len == 2 ? HTTP_DONE : HTTP_TRAILER;
        break;
    default: // the head ends with an empty line
        if (a->line.len >= 4 && memcmp(a->line.data + a->line.len - 4, "\r\n\r\n", 4) == 0)
            return read_head(a);
        return a->line.len != 2 && a->line.len <= HTTP_HEAD_MAX;
    }
    bool right = a->phase != HTTP_CHUNK_SIZE || a->line.len == 2;
    a->line.len = 0;
    return right;
}

/* Up to and with the next "\n", at most. */
static ssize_t take_line(struct http_answer *a, const char *bytes, size_t len)
{
    const char *end = memchr(bytes, '\n', len);
    size_t n = end ? (size_t)(end - bytes) + 1 : len;
    rt_string_append(&a->line, bytes, n);
    if (a->line.len > (a->phase == HTTP_HEAD ? (size_t)HTTP_HEAD_MAX : (size_t)LINE_MAX_BYTES))
        return -1;
    if (end && (a->line.len < 2 || a->line.data[a->line.len - 2] != '\r'))
        return -1;
    return !end || read_line(a) ? (ssize_t)n : -1;
}

static ssize_t take_body(struct http_answer *a, const char *bytes, size_t len)
{
    size_t n = a->phase != HTTP_TO_THE_END && len > a->left ? (size_t)a->left : len;
    if (a->body.len + n > HTTP_BODY_MAX)
        return -1;
    rt_string_append(&a->body, bytes, n);
    if (a->phase == HTTP_TO_THE_END)
        return (ssize_t)n;
    a->left -= n;
    if (!a->left)
        a->phase = a->phase == HTTP_CHUNK ? HTTP_CHUNK_END : HTTP_DONE;
    return (ssize_t)n;
}

ssize_t http_answer_take(struct http_answer *a, const char *bytes, size_t len)
{
    size_t taken = 0;
    while (taken < len && a->phase != HTTP_DONE) {
        bool in_body =
            a->phase == HTTP_COUNTED || a->phase == HTTP_TO_THE_END || a->phase == HTTP_CHUNK;
        ssize_t n = in_body ? take_body(a, bytes + taken, len - taken)
                            : take_line(a, bytes + taken, len - taken);
        if (n < 0)
            return -1;
        taken += (size_t)n;
    }
    return (ssize_t)taken;
}

bool http_answer_ended(struct http_answer *a)
{
    if (a->phase == HTTP_TO_THE_END)
        a->phase = HTTP_DONE;
    a->keeps_open = false;
    return a->phase == HTTP_DONE;
}

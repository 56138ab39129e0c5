/* proto/http1_parse.c: strict on purpose. What two readers could understand differently (a bare LF,
 * a folded header, two lengths, a space before the colon) is refused, for that is how requests are
 * smuggled past proxies. */
#include "proto/http1_parse.h"
#include <assert.h>

static bool is_token(uint8_t c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return true;
    return c && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

static bool is_word(struct rt_bytes a, const char *word) // ASCII, any case
{
    size_t len = strlen(word);
    if (a.len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (lower(a.data[i]) != (uint8_t)word[i])
            return false;
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http1_decode(struct rt_bytes text, bool plus_is_space, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (n == cap)
            return -1;
        if (c == '%') {
            if (text.len - i < 3)
                return -1;
            int high = hex_digit(text.data[i + 1]), low = hex_digit(text.data[i + 2]);
            if (high < 0 || low < 0 || (high == 0 && low == 0)) // no NULs in what become C strings
                return -1;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = (char)c;
    }
    return (int)n;
}

/* The line at *at without its CRLF; 1, 0: not whole yet, -400: a bare LF or CR in it. */
static int next_line(uint8_t *bytes, size_t len, size_t *at, struct rt_bytes *line)
{
    uint8_t *begin = bytes + *at;
    uint8_t *lf = memchr(begin, '\n', len - *at);
    if (!lf)
        return 0;
    if (lf == begin || lf[-1] != '\r')
        return -400;
    *line = rt_bytes(begin, (size_t)(lf - 1 - begin));
    if (memchr(line->data, '\r', line->len) || memchr(line->data, 0, line->len))
        return -400;
    *at = (size_t)(lf + 1 - bytes);
    return 1;
}

static int parse_target(uint8_t *bytes, struct rt_bytes target, struct http1_request *r)
{
    for (size_t i = 0; i < target.len; i++)
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f)
            return -400;
    if (target.len > 7 && memcmp(target.data, "http://", 7) == 0) { // absolute form, from proxies
        const uint8_t *slash = memchr(target.data + 7, '/', target.len - 7);
        if (!slash)
            return -400;
        target = rt_bytes(slash, (size_t)(target.data + target.len - slash));
    }
    if (!target.len || target.data[0] != '/')
        return -400;
    const uint8_t *mark = memchr(target.data, '?', target.len);
    size_t path_len = mark ? (size_t)(mark - target.data) : target.len;
    if (mark)
        r->query = rt_bytes(mark + 1, target.len - path_len - 1);
    uint8_t *path = bytes + (target.data - bytes);
    int n = http1_decode(rt_bytes(path, path_len), false, (char *)path, path_len);
    if (n < 0)
        return -400;
    r->path = rt_bytes(path, (size_t)n);
    return 0;
}

static int parse_request_line(uint8_t *bytes, struct rt_bytes line, struct http1_head *out)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"};
    const uint8_t *end = line.data + line.len;
    const uint8_t *space = memchr(line.data, ' ', line.len);
    if (!space || space == line.data)
        return -400;
    out->request.method = rt_bytes(line.data, (size_t)(space - line.data));
    for (size_t i = 0; i < out->request.method.len; i++)
        if (!is_token(line.data[i]))
            return -400;
    const uint8_t *target = space + 1;
    const uint8_t *space2 = memchr(target, ' ', (size_t)(end - target));
    if (!space2)
        return -400;
    struct rt_bytes version = rt_bytes(space2 + 1, (size_t)(end - space2 - 1));
    if (version.len != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.')
        return -400;
    if (version.data[5] != '1' || (version.data[7] != '0' && version.data[7] != '1'))
        return -505;
    out->keep_alive = version.data[7] == '1';
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (rt_bytes_equal(out->request.method, rt_bytes(methods[i], strlen(methods[i]))))
            return parse_target(bytes, rt_bytes(target, (size_t)(space2 - target)), &out->request);
    return -501;
}

static int parse_length(struct rt_bytes value, uint64_t *out)
{
    uint64_t n = 0;
    if (!value.len || value.len > 18)
        return -400;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return -400;
        n = n * 10 + (value.data[i] - '0');
    }
    *out = n;
    return 0;
}

static struct rt_bytes trimmed(struct rt_bytes s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = rt_bytes(s.data + 1, s.len - 1);
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static void parse_connection(struct rt_bytes value, struct http1_head *out)
{
    while (value.len) {
        const uint8_t *comma = memchr(value.data, ',', value.len);
        size_t n = comma ? (size_t)(comma - value.data) : value.len;
        struct rt_bytes word = trimmed(rt_bytes(value.data, n));
        if (is_word(word, "close"))
            out->keep_alive = false;
        else if (is_word(word, "keep-alive"))
            out->keep_alive = true;
        n += comma ? 1 : 0;
        value = rt_bytes(value.data + n, value.len - n);
    }
}

static int parse_header(uint8_t *bytes, struct rt_bytes line, struct http1_head *out)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (!colon || colon == line.data) // a folded line begins with a space, which is no token either
        return -400;
    struct rt_bytes name = rt_bytes(line.data, (size_t)(colon - line.data));
    uint8_t *rewrite = bytes + (name.data - bytes);
    for (size_t i = 0; i < name.len; i++) {
        if (!is_token(rewrite[i]))
            return -400;
        rewrite[i] = lower(rewrite[i]);
    }
    if (out->request.header_count == HTTP1_HEADERS_MAX)
        return -431;
    struct rt_bytes value =
        trimmed(rt_bytes(colon + 1, (size_t)(line.data + line.len - colon - 1)));
    for (size_t i = 0; i < value.len; i++)
        if ((value.data[i] < 0x20 && value.data[i] != '\t') || value.data[i] == 0x7f)
            return -400;
    out->headers[out->request.header_count++] = (struct http1_header){name, value};
    return 0;
}

/* What the headers say together. */
static int check_headers(struct http1_head *out, bool is_1_1)
{
    unsigned hosts = 0, lengths = 0;
    bool coded = false;
    for (uint32_t i = 0; i < out->request.header_count; i++) {
        const struct http1_header *h = &out->headers[i];
        if (is_word(h->name, "host")) {
            hosts++;
        } else if (is_word(h->name, "content-length")) {
            int err = parse_length(h->value, &out->content_length);
            if (err)
                return err;
            lengths++;
        } else if (is_word(h->name, "transfer-encoding")) {
            coded = true;
        } else if (is_word(h->name, "expect")) {
            if (!is_word(h->value, "100-continue"))
                return -417;
            out->expects_continue = true;
        } else if (is_word(h->name, "connection")) {
            parse_connection(h->value, out);
        }
    }
    if (lengths > 1 || hosts > 1 || (coded && lengths) || (is_1_1 && !hosts))
        return -400;
    return coded ? -501 : 0;
}

int http1_parse(uint8_t *bytes, size_t len, struct http1_head *out)
{
    size_t at = 0;
    struct rt_bytes line;
    if (len >= 2 && bytes[0] == '\r' && bytes[1] == '\n') // RFC 9112, 2.2: some clients add one
        at = 2;
    // Only a whole head is worth work, and only once: look for its end before anything is changed.
    uint8_t *end = memmem(bytes + at, len - at, "\r\n\r\n", 4);
    if (!end) {
        uint8_t *bare = memmem(bytes + at, len - at, "\n\n", 2);
        return bare ? -400 : len >= HTTP1_HEAD_BYTES ? -431 : 0;
    }
    len = (size_t)(end + 4 - bytes);
    if (len > HTTP1_HEAD_BYTES)
        return -431;
    memset(out, 0, sizeof *out);
    out->head_bytes = len;
    int got = next_line(bytes, len, &at, &line);
    if (got < 0)
        return got;
    assert(got == 1);
    int err = parse_request_line(bytes, line, out);
    if (err)
        return err;
    bool is_1_1 = out->keep_alive;
    for (;;) {
        got = next_line(bytes, len, &at, &line);
        if (got <= 0)
            return -400;
        if (!line.len)
            break;
        err = parse_header(bytes, line, out);
        if (err)
            return err;
    }
    out->request.headers = out->headers;
    err = check_headers(out, is_1_1);
    return err ? err : 1;
}

struct rt_bytes http1_header(const struct http1_request *r, const char *name)
{
    for (uint32_t i = 0; i < r->header_count; i++)
        if (is_word(r->headers[i].name, name))
            return r->headers[i].value;
    return rt_bytes(NULL, 0);
}

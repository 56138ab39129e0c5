/* inspect/log.c: one JSON object a line, made on the caller's stack and written by one write(2), so
 * that lines of several goroutines and processes never mix.
 *
 * The line looks as etcd's: level, ts (RFC 3339 with microseconds and the local offset), caller,
 * msg, fields in the order given. A line that outgrows the stack continues on the heap; beyond
 * LINE_MAX_BYTES its texts are cut, so that nobody can fill the disk by one line. One that the
 * descriptor has no room for is dropped: a full pipe must not stop the work that the line tells of. */
#include "rt/log.h"
#include "rt/alloc.h"
#include "rt/parse.h"
#include "rt/time.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { LINE_STACK_BYTES = 2048, LINE_MAX_BYTES = 64 << 10, LINE_TAIL_BYTES = 64 };

struct rt_log {
    int fd;
    _Atomic int level;
};

struct line {
    char *text;
    size_t len, cap;
    char small[LINE_STACK_BYTES];
};

struct rt_log *rt_log_new(int fd, enum rt_log_level level)
{
    struct rt_log *log = rt_alloc_zero(sizeof(*log));
    log->fd = fd;
    atomic_init(&log->level, (int)level);
    return log;
}

void rt_log_free(struct rt_log *log) { rt_free(log); }

void rt_log_set_level(struct rt_log *log, enum rt_log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

static const char *const level_names[] = {"debug", "info", "warn", "error", "fatal"};

bool rt_log_level_parse(const char *text, enum rt_log_level *out)
{
    for (int i = RT_LOG_DEBUG; i <= RT_LOG_FATAL; i++)
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum rt_log_level)i;
            return true;
        }
    if (strcmp(text, "panic") == 0) { // one of etcd's; we have one way to die
        *out = RT_LOG_FATAL;
        return true;
    }
    return false;
}

/* False when the line is as long as a line may be. */
static bool line_room(struct line *l, size_t more)
{
    if (l->len + more <= l->cap)
        return true;
    if (l->len + more > LINE_MAX_BYTES)
        return false;
    size_t cap = l->cap * 2 > l->len + more ? l->cap * 2 : l->len + more;
    char *text = rt_realloc(l->text == l->small ? NULL : l->text, cap);
    if (l->text == l->small)
        memcpy(text, l->small, l->len);
    l->text = text;
    l->cap = cap;
    return true;
}

/* All that is not a field's text: short, so that it always fits behind the texts' limit. */
static void put(struct line *l, const char *text)
{
    size_t len = strlen(text);
    if (!line_room(l, len))
        return;
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

/* Length of the valid UTF-8 sequence at `at`, or 0 (RFC 3629: no overlong form, no surrogate,
 * nothing above U+10FFFF). */
static size_t utf8_len(const uint8_t *at, size_t left)
{
    static const struct {
        uint8_t first, last; // of the lead byte
        uint8_t second_lo, second_hi;
        uint8_t len;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (at[0] < forms[i].first || at[0] > forms[i].last)
            continue;
        if (left < forms[i].len)
            return 0;
        if (forms[i].len > 1 && (at[1] < forms[i].second_lo || at[1] > forms[i].second_hi))
            return 0;
        for (size_t k = 2; k < forms[i].len; k++)
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].len;
    }
    return 0;
}

/* One character of a JSON string into out (at most 6 bytes); returns how many bytes of the text it
 * stands for. */
static size_t json_char(const uint8_t *at, size_t left, char *out, size_t *out_len)
{
    size_t len = utf8_len(at, left);
    const char *escaped = at[0] == '"'    ? "\\\""
                          : at[0] == '\\' ? "\\\\"
                          : at[0] == '\n' ? "\\n"
                          : at[0] == '\r' ? "\\r"
                          : at[0] == '\t' ? "\\t"
                          : len == 0      ? "\\ufffd"
                                          : NULL;
    if (escaped) {
        *out_len = strlen(escaped);
        memcpy(out, escaped, *out_len);
        return 1;
    }
    if (at[0] < 0x20) {
        static const char hex[] = "0123456789abcdef";
        memcpy(out, "\\u00", 4);
        out[4] = hex[at[0] >> 4];
        out[5] = hex[at[0] & 15];
        *out_len = 6;
        return 1;
    }
    memcpy(out, at, len);
    *out_len = len;
    return len;
}

static void put_json_string(struct line *l, struct rt_bytes text)
{
    put(l, "\"");
    for (size_t i = 0; i < text.len;) {
        char out[8];
        size_t out_len;
        i += json_char(text.data + i, text.len - i, out, &out_len);
        if (l->len + out_len + LINE_TAIL_BYTES > LINE_MAX_BYTES || !line_room(l, out_len))
            break; // cut, but still a string
        memcpy(l->text + l->len, out, out_len);
        l->len += out_len;
    }
    put(l, "\"");
}

static void put_json_cstr(struct line *l, const char *text)
{
    put_json_string(l, rt_bytes(text ? text : "", text ? strlen(text) : 0));
}

static void put_timestamp(struct line *l, int64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / RT_SECOND);
    struct tm tm;
    localtime_r(&seconds, &tm);
    long offset = tm.tm_gmtoff / 60;
    long size = offset < 0 ? -offset : offset;
    char text[96];
    snprintf(text, sizeof(text), "\"%04d-%02d-%02dT%02d:%02d:%02d.%06d%c%02ld%02ld\"",
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
             (int)(wall_ns % RT_SECOND / 1000), offset < 0 ? '-' : '+', size / 60, size % 60);
    put(l, text);
}

static void put_field(struct line *l, const struct rt_log_field *f)
{
    char text[48];
    if (l->len + 4 * LINE_TAIL_BYTES > LINE_MAX_BYTES)
        return; // a field whole or not at all
    put(l, ",");
    put_json_cstr(l, f->name);
    put(l, ":");
    switch (f->kind) {
    case RT_F_INT:
        snprintf(text, sizeof(text), "%" PRId64, f->i);
        put(l, text);
        break;
    case RT_F_UINT:
        snprintf(text, sizeof(text), "%" PRIu64, f->u);
        put(l, text);
        break;
    case RT_F_HEX:
        snprintf(text, sizeof(text), "\"%" PRIx64 "\"", f->u);
        put(l, text);
        break;
    case RT_F_BOOL:
        put(l, f->i ? "true" : "false");
        break;
    case RT_F_STR:
        put_json_cstr(l, f->s);
        break;
    case RT_F_BYTES:
        put_json_string(l, f->b);
        break;
    case RT_F_DURATION:
        put_json_cstr(l, rt_format_duration(f->i, text));
        break;
    }
}

/* Lines dropped because nobody took them. */
static _Atomic uint64_t dropped;

uint64_t rt_log_dropped(void) { return atomic_load_explicit(&dropped, memory_order_relaxed); }

/* A pipe's buffers are pages; a write goes on in the last one where it fits there whole. So two
 * neighbours hold more than a page, and of what is unread at most twice the pages are in use. */
static bool pipe_has_room(int fd, size_t len)
{
    int size = fcntl(fd, F_GETPIPE_SZ), unread;
    if (size < 0 || ioctl(fd, FIONREAD, &unread) != 0)
        return true; // no pipe
    return unread == 0 ? len <= (size_t)size
                       : 2 * (size_t)unread + len + 2 * PIPE_BUF <= (size_t)size;
}

/* The descriptor was inherited, and others may share it, so it stays as it is: a blocking one is asked
 * whether it would block. One that is writable takes PIPE_BUF bytes. Nobody there to read is no reason:
 * that write ends at once. */
static bool has_room(int fd, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int n = poll(&p, 1, 0);
    return n > 0 ? len <= PIPE_BUF || pipe_has_room(fd, len) : n < 0;
}

static void write_line(int fd, const char *text, size_t len)
{
    if (!has_room(fd, len)) {
        atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
        return;
    }
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; // a log nobody can take must not stop the work it tells about
        text += n;
        len -= (size_t)n;
    }
}

void rt_log_at(struct rt_log *log, enum rt_log_level level, const char *caller, const char *msg,
               const struct rt_log_field *fields, int count)
{
    assert(level >= RT_LOG_DEBUG && level <= RT_LOG_FATAL);
    if (!log || (int)level < atomic_load_explicit(&log->level, memory_order_relaxed))
        return;
    struct line l;
    l.text = l.small;
    l.len = 0;
    l.cap = sizeof(l.small);
    put(&l, "{\"level\":\"");
    put(&l, level_names[level]);
    put(&l, "\",\"ts\":");
    put_timestamp(&l, rt_wall_ns());
    put(&l, ",\"caller\":");
    put_json_cstr(&l, caller);
    put(&l, ",\"msg\":");
    put_json_cstr(&l, msg);
    for (int i = 0; i < count; i++)
        put_field(&l, &fields[i]);
    put(&l, "}\n");
    write_line(log->fd, l.text, l.len);
    if (l.text != l.small)
        rt_free(l.text);
}

bool rt_log_gate_open(struct rt_log_gate *gate, int64_t interval_ns)
{
    int64_t now = rt_now_ns(), next = atomic_load_explicit(&gate->next_ns, memory_order_relaxed);
    // Zero is "never opened": the first line always passes, whatever the clock's origin.
    if ((next == 0 || now >= next) &&
        atomic_compare_exchange_strong_explicit(&gate->next_ns, &next, now + interval_ns,
                                                memory_order_relaxed, memory_order_relaxed))
        return true;
    atomic_fetch_add_explicit(&gate->dropped, 1, memory_order_relaxed);
    return false;
}

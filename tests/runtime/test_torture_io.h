/* tests/runtime/test_torture_io.h: sockets and files. */
#pragma once
#include "tests/runtime/test_torture.h"
#include <errno.h>
#include <rt/file.h>
#include <rt/net.h>

/* ---- one TCP connection for each goroutine, used for ever: a message there and back ---- */

enum { ECHO_MAX = 30000 };

struct echo_pair {
    struct helpers helpers;
    struct rt_listener *listener;
    struct rt_conn *client;
    uint8_t sent[ECHO_MAX], got[ECHO_MAX];
};

static void echo_serve(void *arg)
{
    struct echo_pair *p = arg;
    struct rt_conn *c;
    uint8_t buf[2000];
    ssize_t n;
    if (rt_accept(p->listener, &c) != 0)
        return;
    while ((n = rt_conn_read(c, buf, sizeof(buf))) > 0)
        if (rt_conn_write(c, buf, (size_t)n) != 0)
            break;
    rt_conn_close(c);
    rt_conn_unref(c);
}

static struct echo_pair *echo_pair_new(void)
{
    struct echo_pair *p = rt_alloc_zero(sizeof(*p));
    struct why why = {""};
    if (rt_listen("127.0.0.1:0", &p->listener, &why) != 0 ||
        !helper_start(&p->helpers, echo_serve, p) ||
        rt_dial(rt_listener_address(p->listener), TORTURE_LATE, &p->client, &why) != 0)
        rt_fatal("no connection on loopback: %s", why.text);
    return p;
}

struct echo_write {
    struct echo_pair *pair;
    size_t len;
    int err;
};

static void echo_write(void *arg)
{
    struct echo_write *w = arg;
    w->err = rt_conn_write(w->pair->client, w->pair->sent, w->len);
}

/* Nothing was sent: a read ends at its deadline and takes nothing away. */
static bool echo_times_out(struct tortured *t, struct echo_pair *p)
{
    rt_conn_set_read_deadline(p->client, rt_now_ns() + (int64_t)draw_below(t, 300000));
    ssize_t n = rt_conn_read(p->client, p->got, ECHO_MAX);
    return n == -ETIMEDOUT ? true : torture_wrong(t, "a read that has to time out gave %zd", n);
}

static bool echo_round(struct tortured *t)
{
    struct echo_pair *p = t->own ? t->own : echo_pair_new();
    t->own = p;
    if (draw_below(t, 8) == 0)
        return echo_times_out(t, p);
    struct helpers helpers = {.busy = {.count = 0}};
    struct echo_write w = {
        p, draw_below(t, 4) ? draw_below(t, 200) + 1 : draw_below(t, ECHO_MAX) + 1, 0};
    pattern_fill(p->sent, w.len, draw(t));
    helper_start(&helpers, echo_write, &w);
    rt_conn_set_read_deadline(p->client, TORTURE_LATE);
    for (size_t at = 0; at < w.len;) {
        ssize_t n = rt_conn_read(p->client, p->got + at, w.len - at);
        if (n <= 0)
            rt_fatal("an echo ends after %zu bytes of %zu: %zd", at, w.len, n);
        at += (size_t)n;
    }
    if (!helpers_wait(&helpers))
        rt_fatal("a write does not end");
    if (w.err != 0 || memcmp(p->sent, p->got, w.len) != 0)
        return torture_wrong(t, "an echo of %zu bytes is not what was sent", w.len);
    return true;
}

static void echo_leave(struct tortured *t)
{
    struct echo_pair *p = t->own;
    if (!p)
        return;
    rt_conn_close(p->client);
    if (!helpers_wait(&p->helpers))
        rt_fatal("an echo server does not end");
    rt_conn_unref(p->client);
    rt_listener_close(p->listener);
    rt_free(p);
}

/* ---- a file for each goroutine ---- */

enum { PAGE = 4096, PAGES = 16 };

struct pages {
    struct rt_file *file;
    uint64_t seeds[PAGES];
    uint8_t buf[PAGE];
    char path[256];
};

struct folder {
    char path[200];
};

static void *files_open(const char *folder)
{
    struct folder *f = rt_alloc_zero(sizeof(*f));
    snprintf(f->path, sizeof(f->path), "%s", folder);
    return f;
}

static bool files_close(void *shared, char *wrong, size_t cap)
{
    (void)wrong;
    (void)cap;
    rt_free(shared);
    return true;
}

static bool pages_begin(struct tortured *t)
{
    struct pages *p = rt_alloc_zero(sizeof(*p));
    struct folder *folder = t->shared;
    t->own = p;
    snprintf(p->path, sizeof(p->path), "%s/pages-%d", folder->path, t->who);
    int err = rt_file_open(p->path, RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &p->file);
    return err == 0 ? true : torture_wrong(t, "cannot make %s: %d", p->path, err);
}

static bool files_round(struct tortured *t)
{
    if (!t->own && !pages_begin(t))
        return false;
    struct pages *p = t->own;
    size_t page = draw_below(t, PAGES);
    if (p->seeds[page]) {
        ssize_t n = rt_file_pread(p->file, p->buf, PAGE, page * PAGE);
        if (n != PAGE || !pattern_holds(p->buf, PAGE, p->seeds[page]))
            return torture_wrong(t, "page %zu of a file is not what was written: %zd", page, n);
    }
    p->seeds[page] = draw(t);
    pattern_fill(p->buf, PAGE, p->seeds[page]);
    int err = rt_file_pwrite(p->file, p->buf, PAGE, page * PAGE);
    return err == 0 ? true : torture_wrong(t, "cannot write a page: %d", err);
}

static void files_leave(struct tortured *t)
{
    struct pages *p = t->own;
    if (p && p->file)
        rt_file_close(p->file);
    if (p)
        rt_unlink(p->path);
    rt_free(p);
}

static const struct work io_works[] = {
    {"sockets", 3, NULL, echo_round, echo_leave, NULL},
    {"files", 2, files_open, files_round, files_leave, files_close},
};

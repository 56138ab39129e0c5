/* sim/simnet.c: streams in memory. A connection is two pipes, one a direction; what is written
 * arrives after a drawn time, never before what was written earlier (it is TCP that is simulated),
 * and is read in pieces of any size. A full pipe makes the writer wait, as a full window does.
 *
 *     writer --- bytes, each segment with the time it arrives ---> ring --- reader
 *
 * Words: `arrived` bytes are there to be read, the rest is under way. The end of the stream is the
 * last segment, of no length. A reset takes effect at once in both directions.
 *
 * An edge and a timer are points of preemption (yields at random come there, if any). Nobody shall
 * see a call half done, so whoever uses them does so with preemption held off. */
#include "rt/alloc.h"
#include "runtime/poll/address.h"
#include "runtime/poll/conn.h"
#include "runtime/sim/driver.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

enum { PIPE_BYTES = 64 << 10, SEGMENTS = 64, BACKLOG = 128, FIRST_PORT = 32768 };

struct segment {
    int64_t arrives_ns;
    uint32_t len; // 0: the end
};

struct pipe {
    struct sim *sim;
    struct rt_timer timer;       // armed while segments are under way
    struct end *reader, *writer; // NULL: gone
    struct segment segment[SEGMENTS];
    uint32_t first, count;       // of the segments under way
    uint32_t arrived, under_way; // bytes
    uint32_t read_pos;
    bool ended;    // the end has arrived
    bool end_sent; // the writer said it
    bool writer_waits;
    uint8_t ring[PIPE_BYTES];
};

struct link {
    struct simnet *net;
    struct link *next, *previous;
    uint64_t number;
    bool reset;
    int ends;            // not freed yet
    struct pipe pipe[2]; // [i] is written by end i
};

/* One end: what a program holds. */
struct end {
    struct rt_conn base;
    struct link *link;
    struct poll_word read, write;
    int side;
};

struct sim_listener {
    struct rt_listener base;
    struct simnet *net;
    struct sim_listener *next;
    struct poll_word word;
    char host[ADDRESS_HOST_MAX];
    uint16_t port;
    uint64_t number;
    bool shut;
    uint32_t first, count;
    struct end *backlog[BACKLOG];
};

struct simnet {
    struct sim *sim;
    struct link *links;
    struct sim_listener *listeners;
    uint64_t numbers; // of links and listeners: never an address in the digest
    uint16_t next_port;
};

static struct end *end_of(struct rt_conn *c)
{
    assert(c->net == &net_simulated);
    struct end *e = (struct end *)(void *)c;
    sim_turn(e->link->net->sim);
    return e;
}

static struct sim_listener *listener_of(struct rt_listener *base)
{
    assert(base->net == &net_simulated);
    struct sim_listener *l = (struct sim_listener *)(void *)base;
    sim_turn(l->net->sim);
    return l;
}

static struct pipe *out_of(struct end *e) { return &e->link->pipe[e->side]; }
static struct pipe *in_of(struct end *e) { return &e->link->pipe[!e->side]; }

static uint64_t name_of(const struct end *e) { return e->link->number * 2 + (uint64_t)e->side; }

/* ---- bytes under way --------------------------------------------------------------------- */

static void arrive(void *arg);

static void arm(struct pipe *p)
{
    rt_timer_start(&p->timer, p->segment[p->first].arrives_ns, arrive, p);
}

static void arrive(void *arg)
{
    struct pipe *p = arg;
    sim_turn(p->sim);
    int64_t now = p->sim->now_ns;
    while (p->count && p->segment[p->first].arrives_ns <= now) {
        struct segment *s = &p->segment[p->first];
        p->arrived += s->len;
        p->under_way -= s->len;
        p->ended |= s->len == 0;
        p->first = (p->first + 1) % SEGMENTS;
        p->count--;
    }
    if (p->count)
        arm(p);
    if (p->reader)
        poll_word_edge(&p->reader->read);
    if (p->writer_waits && p->writer) {
        p->writer_waits = false;
        poll_word_edge(&p->writer->write);
    }
    sim_turn(p->sim);
}

/* One more segment; there is room for it. */
static void send_segment(struct sim *s, struct pipe *p, uint32_t len)
{
    assert(p->count < SEGMENTS);
    int64_t arrives =
        s->now_ns + (int64_t)sim_draw_between(s, SIM_NET, (uint64_t)s->faults.net_latency_min_ns,
                                              (uint64_t)s->faults.net_latency_max_ns);
    if (p->count) {
        int64_t before = p->segment[(p->first + p->count - 1) % SEGMENTS].arrives_ns;
        if (arrives < before)
            arrives = before;
    }
    p->segment[(p->first + p->count) % SEGMENTS] = (struct segment){arrives, len};
    p->under_way += len;
    if (p->count++ == 0)
        arm(p);
}

/* The last place among the segments is kept for the end. */
static uint32_t room_in(const struct pipe *p)
{
    return p->count >= SEGMENTS - 1 ? 0 : PIPE_BYTES - p->arrived - p->under_way;
}

static void send_end(struct sim *s, struct pipe *p)
{
    if (p->end_sent)
        return;
    p->end_sent = true;
    send_segment(s, p, 0);
}

static void reset_link(struct link *l)
{
    l->reset = true;
    for (int i = 0; i < 2; i++) {
        rt_timer_stop(&l->pipe[i].timer);
        if (l->pipe[i].writer) {
            poll_word_edge(&l->pipe[i].writer->read);
            poll_word_edge(&l->pipe[i].writer->write);
        }
    }
}

/* ---- connections ------------------------------------------------------------------------- */

static ssize_t read_end(struct end *e, uint8_t *buf, size_t len)
{
    struct sim *s = e->link->net->sim;
    struct pipe *p = in_of(e);
    if (!e->link->reset && sim_chance(s, SIM_NET, s->faults.reset_ppm))
        reset_link(e->link);
    if (e->link->reset)
        return -ECONNRESET;
    if (p->arrived == 0)
        return p->ended ? 0 : -EAGAIN;
    uint32_t n = len < p->arrived ? (uint32_t)len : p->arrived;
    if (n > 1 && sim_chance(s, SIM_NET, s->faults.short_read_ppm))
        n = (uint32_t)sim_draw_between(s, SIM_NET, 1, n - 1);
    for (uint32_t done = 0; done < n;) {
        uint32_t part = PIPE_BYTES - p->read_pos;
        if (part > n - done)
            part = n - done;
        memcpy(buf + done, p->ring + p->read_pos, part);
        p->read_pos = (p->read_pos + part) % PIPE_BYTES;
        done += part;
    }
    p->arrived -= n;
    if (p->writer_waits && p->writer) {
        p->writer_waits = false;
        poll_word_edge(&p->writer->write);
    }
    return n;
}

static ssize_t net_try_read(struct rt_conn *c, void *buf, size_t len)
{
    struct end *e = end_of(c);
    g_nopreempt_begin();
    ssize_t n = read_end(e, buf, len);
    sim_event(e->link->net->sim, "read", name_of(e), n);
    g_nopreempt_end();
    return n;
}

static void put_bytes(struct pipe *p, const uint8_t *from, uint32_t len)
{
    uint32_t at = (p->read_pos + p->arrived + p->under_way) % PIPE_BYTES;
    uint32_t part = PIPE_BYTES - at < len ? PIPE_BYTES - at : len;
    memcpy(p->ring + at, from, part);
    memcpy(p->ring, from + part, len - part);
}

static ssize_t write_end(struct end *e, const struct iovec *parts, int count)
{
    struct sim *s = e->link->net->sim;
    struct pipe *p = out_of(e);
    if (!e->link->reset && sim_chance(s, SIM_NET, s->faults.reset_ppm))
        reset_link(e->link);
    if (e->link->reset)
        return -ECONNRESET;
    if (p->end_sent || !p->reader)
        return -EPIPE;
    uint64_t wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += parts[i].iov_len;
    if (wanted == 0)
        return 0;
    uint32_t n = room_in(p);
    if (n == 0) {
        p->writer_waits = true;
        return -EAGAIN;
    }
    if (wanted < n)
        n = (uint32_t)wanted;
    if (n > 1 && sim_chance(s, SIM_NET, s->faults.short_write_ppm))
        n = (uint32_t)sim_draw_between(s, SIM_NET, 1, n - 1);
    uint32_t left = n;
    for (int i = 0; left > 0; i++) {
        uint32_t part = parts[i].iov_len < left ? (uint32_t)parts[i].iov_len : left;
        put_bytes(p, parts[i].iov_base, part);
        p->under_way += part; // counted as it goes in; send_segment adds it as a whole below
        left -= part;
    }
    p->under_way -= n;
    send_segment(s, p, n);
    return n;
}

static ssize_t net_try_writev(struct rt_conn *c, const struct iovec *parts, int count)
{
    struct end *e = end_of(c);
    g_nopreempt_begin();
    ssize_t n = write_end(e, parts, count);
    sim_event(e->link->net->sim, "write", name_of(e), n);
    g_nopreempt_end();
    return n;
}

/* A short read may be one of the world's own making. */
static bool net_is_drained(struct rt_conn *c)
{
    (void)c;
    return false;
}

static bool net_is_readable(struct rt_conn *c)
{
    struct end *e = end_of(c);
    bool readable = e->link->reset || in_of(e)->arrived || in_of(e)->ended;
    sim_turn(e->link->net->sim);
    return readable;
}

static int net_shut_write(struct rt_conn *c)
{
    struct end *e = end_of(c);
    int err = e->link->reset ? -ENOTCONN : 0;
    g_nopreempt_begin();
    if (!err)
        send_end(e->link->net->sim, out_of(e));
    sim_event(e->link->net->sim, "shut write", name_of(e), err);
    g_nopreempt_end();
    return err;
}

/* Closing with bytes unread makes TCP reset the connection; else the peer sees the end, and a
 * broken pipe when it writes. */
static void net_shut(struct rt_conn *c)
{
    struct end *e = end_of(c);
    struct pipe *in = in_of(e);
    bool was_reset = e->link->reset;
    g_nopreempt_begin();
    if (!was_reset && (in->arrived || in->under_way)) {
        reset_link(e->link);
    } else if (!was_reset) {
        send_end(e->link->net->sim, out_of(e));
        in->reader = NULL;
        if (in->writer)
            poll_word_edge(&in->writer->write);
    }
    sim_event(e->link->net->sim, "close", name_of(e), was_reset);
    g_nopreempt_end();
}

static void unlink_link(struct link *l)
{
    if (l->next)
        l->next->previous = l->previous;
    if (l->previous)
        l->previous->next = l->next;
    else
        l->net->links = l->next;
}

static void net_free(struct rt_conn *c)
{
    struct end *e = end_of(c);
    struct link *l = e->link;
    struct sim *s = l->net->sim;
    g_nopreempt_begin();
    out_of(e)->writer = NULL;
    in_of(e)->reader = NULL;
    conn_deinit(c);
    rt_free(e);
    if (--l->ends == 0) {
        rt_timer_stop(&l->pipe[0].timer);
        rt_timer_stop(&l->pipe[1].timer);
        unlink_link(l);
        rt_free(l);
    }
    sim_turn(s);
    g_nopreempt_end();
}

static struct end *new_end(struct link *l, int side, const char *local, const char *remote)
{
    struct end *e = rt_alloc_zero(sizeof *e);
    e->link = l;
    e->side = side;
    l->pipe[side].writer = e;
    l->pipe[!side].reader = e;
    l->ends++;
    conn_init(&e->base, &net_simulated, &e->read, &e->write);
    conn_set_names(&e->base, local, remote);
    return e;
}

static struct link *new_link(struct simnet *net)
{
    struct link *l = rt_alloc_zero(sizeof *l);
    l->net = net;
    l->number = ++net->numbers;
    l->pipe[0].sim = l->pipe[1].sim = net->sim;
    l->next = net->links;
    if (l->next)
        l->next->previous = l;
    net->links = l;
    return l;
}

/* ---- listening and dialling -------------------------------------------------------------- */

/* "localhost" is 127.0.0.1; other names stand for themselves. unix:PATH is a host without port. */
static int parse(const char *text, char host[ADDRESS_HOST_MAX], uint16_t *port_out, struct why *why)
{
    if (strncmp(text, "unix:", 5) == 0) {
        if (strlen(text) >= ADDRESS_HOST_MAX || !text[5]) {
            why_set(why, "\"%s\": the path is empty or too long", text);
            return -EINVAL;
        }
        memcpy(host, text, strlen(text) + 1);
        *port_out = 1;
        return 0;
    }
    int err = address_split(text, host, port_out, why);
    if (!err && strcmp(host, "localhost") == 0)
        memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
    return err;
}

static bool is_any(const char *host)
{
    return !*host || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "::") == 0;
}

static struct sim_listener *find(struct simnet *net, const char *host, uint16_t port)
{
    for (struct sim_listener *l = net->listeners; l; l = l->next)
        if (!l->shut && l->port == port &&
            (is_any(l->host) || is_any(host) || strcmp(l->host, host) == 0))
            return l;
    return NULL;
}

static void write_address(char *text, size_t cap, const char *host, uint16_t port)
{
    if (strncmp(host, "unix:", 5) == 0)
        snprintf(text, cap, "%s", host);
    else
        snprintf(text, cap, strchr(host, ':') ? "[%s]:%u" : "%s:%u",
                 is_any(host) ? "0.0.0.0" : host, port);
}

static uint16_t free_port(struct simnet *net, const char *host)
{
    do
        net->next_port = net->next_port == UINT16_MAX ? FIRST_PORT : net->next_port + 1;
    while (find(net, host, net->next_port));
    return net->next_port;
}

static int net_listen(void *state, const char *address, struct rt_listener **out, struct why *why)
{
    struct sim *s = state;
    struct simnet *net = s->net;
    char host[ADDRESS_HOST_MAX], text[ADDRESS_HOST_MAX + 8];
    uint16_t port;
    sim_begin_run(s);
    int err = parse(address, host, &port, why);
    if (!err && port && find(net, host, port)) {
        err = -EADDRINUSE;
        why_set(why, "address already in use");
    }
    sim_event(s, "listen", sim_hash_text(address), err);
    if (err)
        return err;
    struct sim_listener *l = rt_alloc_zero(sizeof *l);
    l->net = net;
    l->number = ++net->numbers;
    memcpy(l->host, host, sizeof host);
    l->port = port ? port : free_port(net, host);
    l->next = net->listeners;
    net->listeners = l;
    write_address(text, sizeof text, l->host, l->port);
    conn_listener_init(&l->base, &net_simulated, &l->word, text);
    *out = &l->base;
    return 0;
}

static int net_try_accept(struct rt_listener *base, struct rt_conn **out)
{
    struct sim_listener *l = listener_of(base);
    int err = l->count ? 0 : -EAGAIN;
    if (!err) {
        struct end *e = l->backlog[l->first];
        l->first = (l->first + 1) % BACKLOG;
        l->count--;
        *out = &e->base;
    }
    sim_event(l->net->sim, "accept", l->number, err);
    return err;
}

static void net_listener_shut(struct rt_listener *base)
{
    struct sim_listener *l = listener_of(base);
    uint32_t waiting = l->count;
    g_nopreempt_begin();
    l->shut = true;
    for (; l->count; l->count--) {
        rt_conn_unref(&l->backlog[l->first]->base);
        l->first = (l->first + 1) % BACKLOG;
    }
    sim_event(l->net->sim, "unlisten", l->number, waiting);
    g_nopreempt_end();
}

static void free_listener(struct sim_listener *l)
{
    struct sim_listener **at = &l->net->listeners;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    rt_free(l->base.address);
    rt_free(l);
}

static void net_listener_free(struct rt_listener *base)
{
    struct sim_listener *l = listener_of(base);
    struct sim *s = l->net->sim;
    conn_side_deinit(&base->accept);
    free_listener(l);
    sim_turn(s);
}

/* The way there and back takes time before anything is known. */
static int wait_for_answer(struct sim *s, int64_t deadline_ns)
{
    int64_t took = (int64_t)sim_draw_between(s, SIM_NET, (uint64_t)s->faults.net_latency_min_ns,
                                             (uint64_t)s->faults.net_latency_max_ns);
    int64_t until = s->now_ns + took;
    sim_turn(s);
    rt_sleep_until(until < deadline_ns ? until : deadline_ns);
    sim_turn(s);
    return until < deadline_ns ? 0 : -ETIMEDOUT;
}

static int connect_to(struct sim *s, const char *host, uint16_t port, struct rt_conn **out)
{
    struct simnet *net = s->net;
    struct sim_listener *l = find(net, host, port);
    if (!l || sim_chance(s, SIM_NET, s->faults.refuse_ppm) || l->count == BACKLOG)
        return -ECONNREFUSED;
    char here[ADDRESS_HOST_MAX + 8], there[ADDRESS_HOST_MAX + 8];
    write_address(here, sizeof here, is_any(host) ? "127.0.0.1" : host, free_port(net, host));
    write_address(there, sizeof there, is_any(host) ? "127.0.0.1" : host, port);
    struct link *link = new_link(net);
    struct end *mine = new_end(link, 0, here, there);
    struct end *theirs = new_end(link, 1, there, here);
    l->backlog[(l->first + l->count++) % BACKLOG] = theirs;
    poll_word_edge(&l->word);
    *out = &mine->base;
    return 0;
}

static int net_dial(void *state, const char *address, int64_t deadline_ns, struct rt_conn **out,
                    struct why *why)
{
    struct sim *s = state;
    char host[ADDRESS_HOST_MAX], text[128];
    uint16_t port;
    sim_begin_run(s);
    int err = parse(address, host, &port, why);
    if (err)
        return err;
    err = wait_for_answer(s, deadline_ns);
    g_nopreempt_begin();
    if (!err)
        err = connect_to(s, host, port, out);
    sim_event(s, "dial", sim_hash_text(address), err);
    g_nopreempt_end();
    if (err)
        why_set(why, "%s", why_errno(err, text, sizeof text));
    return err;
}

/* ---- life -------------------------------------------------------------------------------- */

struct simnet *simnet_new(struct sim *s)
{
    struct simnet *net = rt_alloc_zero(sizeof *net);
    net->sim = s;
    net->next_port = FIRST_PORT;
    return net;
}

/* No goroutine and no timer is left: only memory. */
void simnet_end_run(struct sim *s)
{
    struct simnet *net = s->net;
    while (net->listeners)
        free_listener(net->listeners);
    while (net->links) {
        struct link *l = net->links;
        net->links = l->next;
        for (int i = 0; i < 2; i++) {
            struct end *e = l->pipe[i].writer;
            if (!e)
                continue;
            rt_free(e->base.local);
            rt_free(e->base.remote);
            rt_free(e);
        }
        rt_free(l);
    }
}

void simnet_free(struct simnet *net)
{
    assert(!net->links);
    assert(!net->listeners);
    rt_free(net);
}

const struct rt_net_world net_simulated = {
    .listen = net_listen,
    .try_accept = net_try_accept,
    .listener_shut = net_listener_shut,
    .listener_free = net_listener_free,
    .dial = net_dial,
    .try_read = net_try_read,
    .try_writev = net_try_writev,
    .is_drained = net_is_drained,
    .is_readable = net_is_readable,
    .shut_write = net_shut_write,
    .shut = net_shut,
    .conn_free = net_free,
};

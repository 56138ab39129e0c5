/* Sockets over both forms of the poller. */
#include "tests/support/rt_test.h"
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <rt/alloc.h>
#include <rt/chan.h>
#include <rt/inspect.h>
#include <rt/net.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LONG (60 * RT_SECOND)

/* A pair of connected ends, through a listener that is gone afterwards. */
struct pair {
    struct rt_conn *a, *b;
};

struct acceptor {
    struct rt_listener *l;
    struct rt_conn *conn;
    int err;
    struct rt_note done;
};

static void accept_one(void *arg)
{
    struct acceptor *a = arg;
    a->err = rt_accept(a->l, &a->conn);
    rt_note_set(&a->done);
}

static struct pair connected_pair(const char *address)
{
    struct acceptor a = {0};
    struct why why = {""};
    struct pair p;
    assert_int_equal(rt_listen(address, &a.l, &why), 0);
    assert_int_equal(rt_go("acceptor", accept_one, &a), 0);
    assert_int_equal(rt_dial(rt_listener_address(a.l), rt_after_ns(LONG), &p.a, &why), 0);
    assert_int_equal(rt_note_wait(&a.done, rt_after_ns(LONG)), 0);
    assert_int_equal(a.err, 0);
    p.b = a.conn;
    rt_listener_close(a.l);
    return p;
}

static void close_pair(struct pair p)
{
    rt_conn_close(p.a);
    rt_conn_unref(p.a);
    rt_conn_close(p.b);
    rt_conn_unref(p.b);
}

/* ---- echo ---- */

struct echo_server {
    struct rt_listener *l;
    struct rt_waitgroup all;
};

struct echo_conn {
    struct echo_server *server;
    struct rt_conn *c;
};

static void echo(void *arg)
{
    struct echo_conn *e = arg;
    char buf[256];
    ssize_t n;
    while ((n = rt_conn_read(e->c, buf, sizeof buf)) > 0)
        if (rt_conn_write(e->c, buf, (size_t)n))
            break;
    rt_conn_unref(e->c);
    rt_waitgroup_done(&e->server->all);
    rt_free(e);
}

static void echo_accept(void *arg)
{
    struct echo_server *s = arg;
    struct rt_conn *c;
    int err;
    while ((err = rt_accept(s->l, &c)) == 0) {
        struct echo_conn *e = rt_alloc(sizeof *e);
        *e = (struct echo_conn){s, c};
        rt_waitgroup_add(&s->all, 1);
        int go_err = rt_go("echo", echo, e);
        assert(go_err == 0);
    }
    assert(err == -ECANCELED);
    rt_listener_unref(s->l);
    rt_waitgroup_done(&s->all);
}

enum { CONNECTIONS = 200, ROUNDS = 30 };

struct echo_client {
    const char *address;
    int number, rounds;
    struct rt_waitgroup *done;
    int failed;
};

static void echo_client(void *arg)
{
    struct echo_client *e = arg;
    struct rt_conn *c;
    if (rt_dial(e->address, rt_after_ns(LONG), &c, NULL)) {
        e->failed = 1;
        rt_waitgroup_done(e->done);
        return;
    }
    rt_conn_set_read_deadline(c, rt_after_ns(LONG));
    for (; e->rounds < ROUNDS && !e->failed; e->rounds++) {
        uint64_t sent[8] = {(uint64_t)e->number, (uint64_t)e->rounds}, got[8];
        e->failed |= rt_conn_write(c, sent, sizeof sent) != 0;
        for (size_t have = 0; have < sizeof got && !e->failed;) {
            ssize_t n = rt_conn_read(c, (char *)got + have, sizeof got - have);
            e->failed |= n <= 0;
            have += n > 0 ? (size_t)n : 0;
        }
        e->failed |= memcmp(sent, got, sizeof sent) != 0;
    }
    rt_conn_close(c);
    rt_conn_unref(c);
    rt_waitgroup_done(e->done);
}

static void two_hundred_connections_get_back_what_they_sent(void **state)
{
    (void)state;
    struct echo_server s = {0};
    struct rt_waitgroup done = {0};
    struct echo_client *clients = rt_alloc_zero(CONNECTIONS * sizeof *clients);
    assert_int_equal(rt_listen("127.0.0.1:0", &s.l, NULL), 0);
    rt_listener_ref(s.l);
    rt_waitgroup_add(&s.all, 1);
    assert_int_equal(rt_go("echo-accept", echo_accept, &s), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        clients[i] =
            (struct echo_client){.address = rt_listener_address(s.l), .number = i, .done = &done};
        rt_waitgroup_add(&done, 1);
        assert_int_equal(rt_go("echo-client", echo_client, &clients[i]), 0);
    }
    assert_int_equal(rt_waitgroup_wait(&done, rt_after_ns(LONG)), 0);
    rt_listener_close(s.l);
    assert_int_equal(rt_waitgroup_wait(&s.all, rt_after_ns(LONG)), 0);
    for (int i = 0; i < CONNECTIONS; i++)
        if (clients[i].failed || clients[i].rounds != ROUNDS)
            fail_msg("client %d failed in round %d", i, clients[i].rounds);
    rt_free(clients);
}

/* ---- deadlines, closing, ends ---- */

static void a_read_ends_at_its_deadline_and_later_ones_go_on(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    char byte;
    int64_t before = rt_now_ns();
    rt_conn_set_read_deadline(p.a, rt_after_ns(20 * RT_MS));
    assert_int_equal(rt_conn_read(p.a, &byte, 1), -ETIMEDOUT);
    assert_true(rt_now_ns() - before >= 20 * RT_MS);
    assert_int_equal(rt_conn_write(p.b, "x", 1), 0);
    assert_int_equal(rt_conn_read(p.a, &byte, 1), -ETIMEDOUT); // it is still past
    rt_conn_set_read_deadline(p.a, RT_FOREVER);
    assert_int_equal(rt_conn_read(p.a, &byte, 1), 1);
    rt_conn_set_read_deadline(p.a, rt_after_ns(LONG)); // earlier than the next one
    rt_conn_set_read_deadline(p.a, rt_after_ns(5 * RT_MS));
    assert_int_equal(rt_conn_read(p.a, &byte, 1), -ETIMEDOUT);
    close_pair(p);
}

static void a_write_to_a_peer_that_does_not_read_ends_at_its_deadline(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    size_t len = 16 << 20;
    char *big = rt_alloc_zero(len);
    rt_conn_set_write_deadline(p.a, rt_after_ns(30 * RT_MS));
    assert_int_equal(rt_conn_write(p.a, big, len), -ETIMEDOUT);
    rt_free(big);
    close_pair(p);
}

struct reader {
    struct rt_conn *c;
    ssize_t result;
    struct rt_note begun, done;
};

static void read_once(void *arg)
{
    struct reader *r = arg;
    char buf[64];
    rt_note_set(&r->begun);
    r->result = rt_conn_read(r->c, buf, sizeof buf);
    rt_note_set(&r->done);
}

static void closing_wakes_whoever_reads(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct pair p = connected_pair("127.0.0.1:0");
        struct reader r = {.c = p.a};
        assert_int_equal(rt_go("reader", read_once, &r), 0);
        assert_int_equal(rt_note_wait(&r.begun, rt_after_ns(LONG)), 0);
        if (i % 2)
            rt_yield();
        rt_conn_close(p.a);
        assert_int_equal(rt_note_wait(&r.done, rt_after_ns(LONG)), 0);
        assert_int_equal(r.result, -ECANCELED);
        char byte;
        assert_int_equal(rt_conn_read(p.a, &byte, 1), -ECANCELED);
        assert_int_equal(rt_conn_write(p.a, "x", 1), -ECANCELED);
        assert_int_equal(rt_conn_wait(p.a, RT_CONN_READABLE, RT_FOREVER), -ECANCELED);
        close_pair(p);
    }
}

static void a_half_closed_stream_still_carries_the_answer(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    char buf[8];
    assert_int_equal(rt_conn_write(p.a, "ask", 3), 0);
    assert_int_equal(rt_conn_shut_write(p.a), 0);
    assert_int_equal(rt_conn_read(p.b, buf, sizeof buf), 3);
    assert_int_equal(rt_conn_read(p.b, buf, sizeof buf), 0);
    assert_int_equal(rt_conn_write(p.b, "answer", 6), 0);
    assert_int_equal(rt_conn_read(p.a, buf, sizeof buf), 6);
    assert_memory_equal(buf, "answer", 6);
    assert_int_equal(rt_conn_write(p.a, "x", 1), -EPIPE);
    close_pair(p);
}

static void a_peer_that_closes_with_unread_bytes_resets_the_stream(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    char buf[8];
    assert_int_equal(rt_conn_write(p.a, "unread", 6), 0);
    assert_int_equal(rt_conn_wait(p.b, RT_CONN_READABLE, rt_after_ns(LONG)), 0);
    assert_int_equal(rt_conn_try_read(p.b, buf, 1), 1);
    rt_conn_close(p.b);
    rt_conn_unref(p.b);
    rt_conn_set_read_deadline(p.a, rt_after_ns(LONG));
    ssize_t n;
    do
        n = rt_conn_read(p.a, buf, sizeof buf);
    while (n == 0 && rt_conn_write(p.a, "x", 1) == 0);
    assert_true(n == -ECONNRESET || n == 0);
    rt_conn_unref(p.a);
}

/* ---- much data ---- */

enum { BIG = 8 << 20 };

struct slow_reader {
    struct rt_conn *c;
    uint64_t sum;
    size_t total;
    struct rt_note done;
};

static void read_slowly(void *arg)
{
    struct slow_reader *r = arg;
    uint8_t *buf = rt_alloc(4096);
    ssize_t n;
    while ((n = rt_conn_read(r->c, buf, 4096)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            r->sum += buf[i] * (r->total + (size_t)i + 1);
        r->total += (size_t)n;
        if (r->total % 7 == 0)
            rt_yield();
    }
    rt_free(buf);
    rt_note_set(&r->done);
}

static void a_big_write_arrives_whole_at_a_slow_reader(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    uint8_t *big = rt_alloc(BIG);
    uint64_t sum = 0;
    for (size_t i = 0; i < BIG; i++) {
        big[i] = (uint8_t)(i * 31 + (i >> 9));
        sum += big[i] * (i + 1);
    }
    struct slow_reader r = {.c = p.b};
    assert_int_equal(rt_go("slow-reader", read_slowly, &r), 0);
    struct iovec parts[100];
    for (int i = 0; i < 100; i++) // empty ones among them
        parts[i] = (struct iovec){big + (size_t)i / 2 * (BIG / 50), i % 2 ? BIG / 50 : 0};
    parts[99].iov_len = BIG - 49 * (size_t)(BIG / 50);
    assert_int_equal(rt_conn_writev(p.a, parts, 100), 0);
    rt_conn_shut_write(p.a);
    assert_int_equal(rt_note_wait(&r.done, rt_after_ns(LONG)), 0);
    assert_int_equal(r.total, BIG);
    assert_true(r.sum == sum);
    rt_free(big);
    close_pair(p);
}

/* ---- wait and wake ---- */

enum { WAKES = 20000 };

struct storm {
    struct rt_conn *c, *peer;
    _Atomic uint32_t posted;
    uint32_t taken, bytes;
    struct rt_note done, written;
};

static void storm_taker(void *arg)
{
    struct storm *s = arg;
    uint8_t buf[512];
    while (s->taken < WAKES || s->bytes < WAKES) {
        int err = rt_conn_wait(s->c, RT_CONN_READABLE, rt_after_ns(LONG));
        if (err)
            break;
        s->taken += atomic_exchange(&s->posted, 0);
        ssize_t n;
        while ((n = rt_conn_try_read(s->c, buf, sizeof buf)) > 0)
            s->bytes += (uint32_t)n;
    }
    rt_note_set(&s->done);
}

static void storm_writer(void *arg)
{
    struct storm *s = arg;
    for (int i = 0; i < WAKES; i++) {
        int err = rt_conn_write(s->peer, "x", 1);
        assert(err == 0);
    }
    rt_note_set(&s->written);
}

static void no_wake_is_lost_among_bytes(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    struct storm s = {.c = p.a, .peer = p.b};
    assert_int_equal(rt_go("taker", storm_taker, &s), 0);
    assert_int_equal(rt_go("writer", storm_writer, &s), 0);
    for (int i = 0; i < WAKES; i++) {
        atomic_fetch_add(&s.posted, 1);
        rt_conn_wake(p.a);
        if (i % 64 == 0)
            rt_yield();
    }
    assert_int_equal(rt_note_wait(&s.written, rt_after_ns(2 * LONG)), 0);
    assert_int_equal(rt_note_wait(&s.done, rt_after_ns(2 * LONG)), 0);
    assert_int_equal(s.taken, WAKES);
    assert_int_equal(s.bytes, WAKES);
    close_pair(p);
}

/* Waits may end early, and what the kernel said about an unconnected socket may come late: wait
 * until nothing comes any more. */
static int wait_in_vain(struct rt_conn *c, int flags)
{
    int err = 0;
    for (int i = 0; i < 100 && err == 0; i++) {
        char byte;
        assert_int_equal(rt_conn_try_read(c, &byte, 1), -EAGAIN);
        err = rt_conn_wait(c, flags, rt_after_ns(5 * RT_MS));
    }
    return err;
}

static void a_wait_returns_for_what_it_asked_only(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    char buf[16];
    assert_int_equal(wait_in_vain(p.a, RT_CONN_READABLE), -ETIMEDOUT);
    rt_conn_wake(p.a);
    assert_int_equal(rt_conn_wait(p.a, RT_CONN_READABLE, rt_after_ns(LONG)), 0);
    assert_int_equal(rt_conn_write(p.b, "x", 1), 0);
    assert_int_equal(rt_conn_wait(p.a, 0, rt_after_ns(5 * RT_MS)), -ETIMEDOUT);
    assert_int_equal(rt_conn_wait(p.a, RT_CONN_READABLE, rt_after_ns(LONG)), 0);
    assert_int_equal(rt_conn_try_read(p.a, buf, sizeof buf), 1);
    assert_int_equal(rt_conn_try_read(p.a, buf, sizeof buf), -EAGAIN);
    rt_conn_wake(p.a); // and a try in between does not eat it
    assert_int_equal(rt_conn_try_read(p.a, buf, sizeof buf), -EAGAIN);
    assert_int_equal(rt_conn_wait(p.a, RT_CONN_READABLE, rt_after_ns(LONG)), 0);
    close_pair(p);
}

struct drain {
    struct rt_conn *c;
    size_t wanted;
    struct rt_note done;
};

static void drain(void *arg)
{
    struct drain *d = arg;
    uint8_t *buf = rt_alloc(65536);
    for (size_t got = 0; got < d->wanted;) {
        ssize_t n = rt_conn_read(d->c, buf, 65536);
        assert(n > 0);
        got += (size_t)n;
    }
    rt_free(buf);
    rt_note_set(&d->done);
}

static void a_wait_for_both_directions_sees_room_and_wakes(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    size_t sent = 0;
    ssize_t n;
    char *buf = rt_alloc_zero(65536);
    struct iovec part = {buf, 65536};
    while ((n = rt_conn_try_writev(p.a, &part, 1)) > 0)
        sent += (size_t)n;
    assert_int_equal(n, -EAGAIN);
    int both = RT_CONN_READABLE | RT_CONN_WRITABLE;
    for (int i = 0; i < 100 && n; i++) {
        assert_int_equal(rt_conn_try_read(p.a, buf, 1), -EAGAIN);
        while ((n = rt_conn_try_writev(p.a, &part, 1)) > 0)
            sent += (size_t)n; // the receiver's window may still have grown
        n = rt_conn_wait(p.a, both, rt_after_ns(5 * RT_MS)) == -ETIMEDOUT ? 0 : -EAGAIN;
    }
    assert_int_equal(n, 0);
    assert_int_equal(rt_conn_try_read(p.a, buf, 1), -EAGAIN);
    rt_conn_wake(p.a);
    assert_int_equal(rt_conn_wait(p.a, both, rt_after_ns(LONG)), 0);
    struct drain d = {.c = p.b, .wanted = sent};
    assert_int_equal(rt_go("drain", drain, &d), 0);
    do {
        assert_int_equal(rt_conn_wait(p.a, both, rt_after_ns(LONG)), 0);
        n = rt_conn_try_writev(p.a, &(struct iovec){buf, 1}, 1);
    } while (n == -EAGAIN);
    assert_int_equal(n, 1);
    assert_int_equal(rt_note_wait(&d.done, rt_after_ns(LONG)), 0);
    rt_free(buf);
    close_pair(p);
}

static void put_one(void *arg)
{
    int value = 7;
    int err = rt_chan_send(arg, &value, RT_FOREVER);
    assert(err == 0);
}

static void a_select_waits_for_bytes_beside_a_channel(void **state)
{
    (void)state;
    struct pair p = connected_pair("127.0.0.1:0");
    struct rt_chan *c = rt_chan_new(sizeof(int), 0);
    int value = 0;
    struct rt_case cases[] = {{.kind = RT_CASE_RECV, .chan = c, .value = &value},
                              {.kind = RT_CASE_READABLE, .conn = p.a}};
    assert_int_equal(wait_in_vain(p.a, RT_CONN_READABLE), -ETIMEDOUT);
    assert_int_equal(rt_select(cases, 2, 0), -EAGAIN);
    assert_int_equal(rt_select(cases, 2, rt_after_ns(RT_MS)), -ETIMEDOUT);
    assert_int_equal(rt_go("put-one", put_one, c), 0);
    assert_int_equal(rt_select(cases, 2, rt_after_ns(LONG)), 0);
    assert_int_equal(value, 7);
    assert_int_equal(rt_conn_write(p.b, "x", 1), 0);
    assert_int_equal(rt_select(cases, 2, rt_after_ns(LONG)), 1);
    char byte;
    assert_int_equal(rt_conn_read(p.a, &byte, 1), 1);
    rt_conn_wake(p.a);
    assert_int_equal(rt_select(cases, 2, rt_after_ns(LONG)), 1);
    close_pair(p);
    rt_chan_free(c);
}

/* ---- listening and dialling ---- */

static void accept_until_closed(void *arg)
{
    struct acceptor *a = arg;
    struct rt_conn *c;
    while ((a->err = rt_accept(a->l, &c)) == 0)
        rt_conn_unref(c);
    rt_listener_unref(a->l);
    rt_note_set(&a->done);
}

static void closing_a_listener_wakes_accept_and_frees_the_port(void **state)
{
    (void)state;
    char address[64];
    struct why why = {""};
    struct acceptor a = {0};
    assert_int_equal(rt_listen("127.0.0.1:0", &a.l, NULL), 0);
    snprintf(address, sizeof address, "%s", rt_listener_address(a.l));
    struct rt_listener *second;
    assert_int_equal(rt_listen(address, &second, &why), -EADDRINUSE);
    assert_string_equal(why.text, "address already in use");
    for (int i = 0; i < 20; i++) {
        rt_listener_ref(a.l);
        assert_int_equal(rt_go("acceptor", accept_until_closed, &a), 0);
        if (i % 2)
            rt_yield();
        rt_listener_close(a.l);
        assert_int_equal(rt_note_wait(&a.done, rt_after_ns(LONG)), 0);
        assert_int_equal(a.err, -ECANCELED);
        a = (struct acceptor){0};
        assert_int_equal(rt_listen(address, &a.l, &why), 0);
    }
    rt_listener_close(a.l);
}

static void accept_without_a_free_descriptor_says_so_and_works_later(void **state)
{
    (void)state;
    struct rt_listener *l;
    struct rt_conn *a, *b;
    struct rlimit before, none;
    assert_int_equal(rt_listen("127.0.0.1:0", &l, NULL), 0);
    assert_int_equal(rt_dial(rt_listener_address(l), rt_after_ns(LONG), &a, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int refused = rt_accept(l, &b);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(refused, -EMFILE);
    assert_int_equal(rt_accept(l, &b), 0);
    rt_listener_close(l);
    close_pair((struct pair){a, b});
}

/* The resolver of this program: for one name it answers when it is told to. */
static _Atomic bool resolver_may_answer, resolver_asked, resolver_answered;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (strcmp(node, "slow.test") == 0) {
        atomic_store(&resolver_asked, true);
        for (int i = 0; i < 10000 && !atomic_load(&resolver_may_answer); i++)
            usleep(1000);
        atomic_store(&resolver_answered, true);
        return EAI_NONAME;
    }
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}

static void a_dial_gives_up_at_its_deadline_while_the_name_is_looked_up(void **state)
{
    (void)state;
    struct rt_conn *c;
    struct why why = {""};
    atomic_store(&resolver_may_answer, false);
    atomic_store(&resolver_asked, false);
    atomic_store(&resolver_answered, false);
    assert_int_equal(rt_dial("slow.test:1", rt_after_ns(20 * RT_MS), &c, &why), -ETIMEDOUT);
    assert_false(atomic_load(&resolver_answered));
    assert_non_null(strstr(why.text, "slow.test"));
    atomic_store(&resolver_may_answer, true);
    while (atomic_load(&resolver_asked) && !atomic_load(&resolver_answered))
        rt_yield();
    assert_int_equal(rt_dial("slow.test:1", rt_after_ns(LONG), &c, &why), -ENOENT);
    assert_int_equal(rt_dial("slow.test:1", RT_FOREVER, &c, &why), -ENOENT);
}

static void a_dial_to_nobody_is_refused(void **state)
{
    (void)state;
    struct rt_listener *l;
    struct rt_conn *c;
    struct why why = {""};
    char address[64];
    assert_int_equal(rt_listen("127.0.0.1:0", &l, NULL), 0);
    snprintf(address, sizeof address, "%s", rt_listener_address(l));
    rt_listener_close(l);
    for (int i = 0; i < 10; i++)
        assert_int_equal(rt_dial(address, rt_after_ns(LONG), &c, &why), -ECONNREFUSED);
    assert_string_equal(why.text, "connection refused");
}

static void what_is_no_address_is_told_so(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        int err;
        const char *says;
    } rows[] = {
        {"127.0.0.1", -EINVAL, "must end in :PORT"},
        {"127.0.0.1:", -EINVAL, "must end in :PORT"},
        {"127.0.0.1:65536", -EINVAL, "must end in :PORT"},
        {"127.0.0.1:http", -EINVAL, "must end in :PORT"},
        {"127.0.0.1:-1", -EINVAL, "must end in :PORT"},
        {"::1:80", -EINVAL, "goes in brackets"},
        {"[::1:80", -EINVAL, "without"},
        {"unix:", -EINVAL, "unix socket"},
        {"", -EINVAL, "must end in :PORT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_listener *l;
        struct rt_conn *c;
        struct why listens = {""}, dials = {""};
        int listen_err = rt_listen(rows[i].address, &l, &listens);
        int dial_err = rt_dial(rows[i].address, rt_after_ns(LONG), &c, &dials);
        if (listen_err != rows[i].err || dial_err != rows[i].err)
            fail_msg("\"%s\": listen %d, dial %d", rows[i].address, listen_err, dial_err);
        if (!strstr(listens.text, rows[i].says) || !strstr(dials.text, rows[i].says))
            fail_msg("\"%s\": %s; %s", rows[i].address, listens.text, dials.text);
    }
}

static void every_kind_of_address_carries_bytes(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "unix:/tmp/rt-test-%016llx.sock",
             (unsigned long long)rt_random_u64());
    const char *rows[] = {"127.0.0.1:0", "[::1]:0", "localhost:0", path};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_listener *probe;
        char buf[4];
        if (rt_listen(rows[i], &probe, NULL) == -EADDRNOTAVAIL) {
            print_message("# no %s here\n", rows[i]);
            continue;
        }
        rt_listener_close(probe);
        struct pair p = connected_pair(rows[i]);
        assert_int_equal(rt_conn_write(p.a, "hey", 3), 0);
        assert_int_equal(rt_conn_read(p.b, buf, sizeof buf), 3);
        if (strchr(rows[i], '/') == NULL)
            assert_string_equal(rt_conn_remote(p.a), rt_conn_local(p.b));
        close_pair(p);
    }
    struct rt_listener *any;
    assert_int_equal(rt_listen("*:0", &any, NULL), 0);
    rt_listener_close(any);
}

static void a_unix_socket_that_a_dead_process_left_is_replaced(void **state)
{
    (void)state;
    char path[64];
    struct rt_listener *first, *second;
    struct why why = {""};
    snprintf(path, sizeof path, "unix:/tmp/rt-test-%016llx.sock",
             (unsigned long long)rt_random_u64());
    assert_int_equal(rt_listen(path, &first, &why), 0);
    assert_int_equal(rt_listen(path, &second, &why), -EADDRINUSE);
    char moved[80];
    snprintf(moved, sizeof moved, "%s.left", path + 5);
    assert_int_equal(rename(path + 5, moved), 0); // closing removes the name it knows only
    rt_listener_close(first);
    assert_int_equal(rename(moved, path + 5), 0);
    assert_int_equal(rt_listen(path, &second, &why), 0);
    rt_listener_close(second);
    assert_int_equal(access(path + 5, F_OK), -1);
}

static void the_poller_that_was_asked_for_runs(void **state)
{
    struct rt_stats stats;
    rt_stats(&stats);
    assert_string_equal(stats.poller, *(const char **)*state);
    assert_true(strncmp(stats.poller_why, "asked for by the program", 24) == 0);
}

static const char *expected_poller;
static int remember_poller(void **state)
{
    *state = &expected_poller;
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(two_hundred_connections_get_back_what_they_sent),
    cmocka_unit_test(a_read_ends_at_its_deadline_and_later_ones_go_on),
    cmocka_unit_test(a_write_to_a_peer_that_does_not_read_ends_at_its_deadline),
    cmocka_unit_test(closing_wakes_whoever_reads),
    cmocka_unit_test(a_half_closed_stream_still_carries_the_answer),
    cmocka_unit_test(a_peer_that_closes_with_unread_bytes_resets_the_stream),
    cmocka_unit_test(a_big_write_arrives_whole_at_a_slow_reader),
    cmocka_unit_test(no_wake_is_lost_among_bytes),
    cmocka_unit_test(a_wait_returns_for_what_it_asked_only),
    cmocka_unit_test(a_wait_for_both_directions_sees_room_and_wakes),
    cmocka_unit_test(a_select_waits_for_bytes_beside_a_channel),
    cmocka_unit_test(closing_a_listener_wakes_accept_and_frees_the_port),
    cmocka_unit_test(accept_without_a_free_descriptor_says_so_and_works_later),
    cmocka_unit_test(a_dial_gives_up_at_its_deadline_while_the_name_is_looked_up),
    cmocka_unit_test(a_dial_to_nobody_is_refused),
    cmocka_unit_test(what_is_no_address_is_told_so),
    cmocka_unit_test(every_kind_of_address_carries_bytes),
    cmocka_unit_test(a_unix_socket_that_a_dead_process_left_is_replaced),
    cmocka_unit_test_setup(the_poller_that_was_asked_for_runs, remember_poller),
};
RT_TEST_GROUP(group, tests)

int main(void)
{
    static const struct {
        enum rt_poller poller;
        const char *name, *features;
    } forms[] = {
        {RT_POLLER_EPOLL, "epoll", ""},
        {RT_POLLER_URING, "io_uring", "recv,accept,write"},
        {RT_POLLER_URING, "io_uring", "recv"},
        {RT_POLLER_URING, "io_uring", "readiness"},
    };
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        printf("# over %s %s\n", forms[i].name, forms[i].features);
        setenv("KVD_URING", forms[i].features, 1);
        expected_poller = forms[i].name;
        failed += rt_test_main(&(struct rt_options){.poller = forms[i].poller, .procs = 2}, group);
    }
    return failed != 0;
}

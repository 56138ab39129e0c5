/* Streams at their edges, over both forms of the poller: ends right behind bytes, urgent bytes,
 * readers that stop. */
#include "runtime/poll/conn.h"
#include "tests/support/rt_test.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <rt/alloc.h>
#include <rt/inspect.h>
#include <rt/net.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONG (60 * RT_SECOND)

static struct rt_listener *listen_somewhere(void)
{
    struct rt_listener *l;
    struct why why = {""};
    if (rt_listen("127.0.0.1:0", &l, &why) != 0)
        fail_msg("%s", why.text);
    return l;
}

/* ---- the end right behind the last bytes ---- */

enum { STREAMS = 600 };

struct short_streams {
    const char *address;
    struct rt_waitgroup done;
    int refused;
};

/* Some bytes and the end, at once or with a pause between in which the reader may or may not come. */
static void write_short_streams(void *arg)
{
    struct short_streams *s = arg;
    for (int i = 0; i < STREAMS; i++) {
        struct rt_conn *c;
        if (rt_dial(s->address, rt_after_ns(LONG), &c, NULL) != 0 ||
            rt_conn_write(c, "hello", 5) != 0) {
            s->refused++;
            break;
        }
        for (int n = 0; n < i % 7; n++)
            rt_yield();
        if (i % 2)
            rt_conn_close(c);
        else
            (void)rt_conn_shut_write(c); // then the unref closes
        rt_conn_unref(c);
    }
    rt_waitgroup_done(&s->done);
}

static void an_end_right_behind_the_bytes_is_seen(void **state)
{
    (void)state;
    struct rt_listener *l = listen_somewhere();
    struct short_streams s = {.address = rt_listener_address(l)};
    rt_waitgroup_add(&s.done, 1);
    assert_int_equal(rt_go("writer", write_short_streams, &s), 0);
    for (int i = 0; i < STREAMS; i++) {
        struct rt_conn *c;
        char buf[64];
        size_t have = 0;
        ssize_t n;
        assert_int_equal(rt_accept(l, &c), 0);
        rt_conn_set_read_deadline(c, rt_after_ns(LONG));
        for (int turns = 0; turns < i % 5; turns++)
            rt_yield();
        while ((n = rt_conn_read(c, buf + have, sizeof(buf) - have)) > 0)
            have += (size_t)n;
        if (n != 0 || have != 5)
            fail_msg("stream %d ended with %zd after %zu bytes", i, n, have);
        rt_conn_unref(c);
    }
    assert_int_equal(rt_waitgroup_wait(&s.done, rt_after_ns(LONG)), 0);
    assert_int_equal(s.refused, 0);
    rt_listener_close(l);
}

/* A client without the runtime: what a peer may do that we never do. */
static int raw_client(const struct rt_listener *l)
{
    const char *port = strrchr(rt_listener_address(l), ':') + 1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(port)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* The urgent byte itself is lost, as the socket interface has it; nothing else is, and nobody waits. */
static void bytes_behind_an_urgent_one_are_read(void **state)
{
    (void)state;
    struct rt_listener *l = listen_somewhere();
    for (int i = 0; i < 20; i++) {
        int fd = raw_client(l);
        struct rt_conn *c;
        char buf[64] = "";
        assert_int_equal(rt_accept(l, &c), 0);
        rt_conn_set_read_deadline(c, rt_after_ns(LONG));
        assert_int_equal(send(fd, "ab", 2, 0), 2);
        assert_int_equal(send(fd, "!", 1, MSG_OOB), 1);
        assert_int_equal(send(fd, "cd", 2, 0), 2);
        for (size_t have = 0; have < 4;) {
            ssize_t n = rt_conn_read(c, buf + have, sizeof(buf) - have - 1);
            if (n <= 0)
                fail_msg("read gave %zd after \"%s\"", n, buf);
            have += (size_t)n;
        }
        assert_string_equal(buf, "abcd");
        close(fd);
        rt_conn_unref(c);
    }
    rt_listener_close(l);
}

/* ---- readers that stop ---- */

/* Does the form receive before anybody reads? Then it must stop when nobody does. */
static bool receives_ahead(void)
{
    struct rt_stats stats;
    rt_stats(&stats);
    return strcmp(stats.poller, "io_uring") == 0 && strstr(stats.poller_why, "multishot receive");
}

/* The receive of a connection that nobody reads was ended for that, not for want of buffers. */
static void expect_held_back(const struct rt_conn *c)
{
    enum { PIECES_MOST = 16, ON_THEIR_WAY = 112 };
    struct poll_desc *d =
        (struct poll_desc *)((char *)c->read.word - offsetof(struct poll_desc, read));
    spin_lock(&d->uring.lock);
    bool held_back = d->uring.held_back, under_way = d->uring.recv != NULL;
    unsigned count = d->uring.count;
    spin_unlock(&d->uring.lock);
    if (!held_back || under_way || count < PIECES_MOST || count > PIECES_MOST + ON_THEIR_WAY)
        fail_msg("the receive is %s and %s after %u pieces", held_back ? "held back" : "let go on",
                 under_way ? "under way" : "over", count);
}

/* What a peer can send before nobody takes it any more is bounded, by the kernel's buffers and ours;
 * when the reader comes back, every byte is there. */
static void a_reader_that_stops_stops_its_peer(void **state)
{
    (void)state;
    enum { PIECE = 16384, SOCKET_BUFFERS_MAX = 16 << 20 };
    struct rt_listener *l = listen_somewhere();
    struct rt_conn *reader, *writer;
    assert_int_equal(rt_dial(rt_listener_address(l), rt_after_ns(LONG), &writer, NULL), 0);
    assert_int_equal(rt_accept(l, &reader), 0);
    rt_conn_set_read_deadline(reader, rt_after_ns(LONG));
    uint8_t *piece = rt_alloc(PIECE), *got = rt_alloc(PIECE);
    size_t sent = 0, read = 0;
    assert_int_equal(rt_conn_read(reader, got, rt_conn_write(writer, "x", 1) == 0), 1);
    assert_int_equal(rt_conn_try_read(reader, got, 1), -EAGAIN); // a receive is under way, perhaps
    for (;;) { // until half a second brings no room
        for (size_t i = 0; i < PIECE; i++)
            piece[i] = (uint8_t)((sent + i) * 31 >> 3);
        ssize_t n = rt_conn_try_writev(writer, &(struct iovec){piece, PIECE}, 1);
        if (n == -EAGAIN &&
            rt_conn_wait(writer, RT_CONN_WRITABLE, rt_after_ns(500 * RT_MS)) == -ETIMEDOUT)
            break;
        assert_true(n > 0 || n == -EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        assert_true(sent < SOCKET_BUFFERS_MAX);
        rt_sleep_ns(100 * 1000); // what came meanwhile is seen before more comes
    }
    if (receives_ahead())
        expect_held_back(reader);
    assert_int_equal(rt_conn_shut_write(writer), 0);
    for (ssize_t n; (n = rt_conn_read(reader, got, PIECE)) != 0;) {
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            if (got[i] != (uint8_t)((read + (size_t)i) * 31 >> 3))
                fail_msg("byte %zu is wrong", read + (size_t)i);
        read += (size_t)n;
    }
    assert_int_equal(read, sent);
    rt_free(piece);
    rt_free(got);
    rt_conn_unref(writer);
    rt_conn_unref(reader);
    rt_listener_close(l);
}

/* Two hundred stopped readers have more waiting than there are buffers to receive into; a stream beside
 * them goes on, and what they left is there when they come back. */
static void stopped_readers_do_not_stop_others(void **state)
{
    (void)state;
    enum { STOPPED = 200, EACH = 64 << 10, ROUNDS = 200 };
    struct rt_listener *l = listen_somewhere();
    struct rt_conn *reader[STOPPED + 1], *writer[STOPPED + 1];
    uint8_t *bytes = rt_alloc_zero(EACH);
    for (int i = 0; i <= STOPPED; i++) {
        assert_int_equal(rt_dial(rt_listener_address(l), rt_after_ns(LONG), &writer[i], NULL), 0);
        assert_int_equal(rt_accept(l, &reader[i]), 0);
        rt_conn_set_read_deadline(reader[i], rt_after_ns(LONG));
        rt_conn_set_write_deadline(writer[i], rt_after_ns(LONG));
        assert_int_equal(rt_conn_try_read(reader[i], bytes, 1), -EAGAIN); // it has begun to read
    }
    for (int i = 0; i < STOPPED; i++)
        for (int n = 0; n < EACH / 1024; n++) // in pieces: each takes a buffer
            assert_int_equal(rt_conn_write(writer[i], bytes, 1024), 0);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t sent = (uint64_t)i * 77, got = 0;
        assert_int_equal(rt_conn_write(writer[STOPPED], &sent, sizeof(sent)), 0);
        assert_int_equal(rt_conn_read(reader[STOPPED], &got, sizeof(got)), sizeof(got));
        assert_int_equal(sent, got);
    }
    for (int i = 0; i < STOPPED; i++)
        for (size_t have = 0; have < EACH;) {
            ssize_t n = rt_conn_read(reader[i], bytes, EACH - have);
            assert_true(n > 0);
            have += (size_t)n;
        }
    for (int i = 0; i <= STOPPED; i++) {
        rt_conn_unref(writer[i]);
        rt_conn_unref(reader[i]);
    }
    rt_free(bytes);
    rt_listener_close(l);
}

/* ---- closing, deadlines ---- */

enum { WAITS_TO_READ, WAITS_TO_WRITE, WAITS_FOR_EITHER, WAITS_FOR_A_WAKE, WAITERS };

struct waiter {
    struct rt_conn *c;
    int kind, result;
    struct rt_waitgroup *ready, *done;
};

static void wait_in_some_way(void *arg)
{
    struct waiter *w = arg;
    char byte;
    uint8_t *much = rt_alloc_zero(1 << 20);
    if (w->kind == WAITS_TO_WRITE || w->kind == WAITS_FOR_EITHER) // fill the way to the peer
        while (rt_conn_try_writev(w->c, &(struct iovec){much, 1 << 20}, 1) > 0)
            ;
    if (w->kind != WAITS_TO_WRITE)
        (void)rt_conn_try_read(w->c, &byte, 1);
    rt_waitgroup_done(w->ready);
    switch (w->kind) {
    case WAITS_TO_READ:
        w->result = (int)rt_conn_read(w->c, &byte, 1);
        break;
    case WAITS_TO_WRITE:
        for (int i = 0; i < 64 && w->result == 0; i++)
            w->result = rt_conn_write(w->c, much, 1 << 20);
        break;
    case WAITS_FOR_EITHER:
        while (w->result == 0) { // room may come once more while the kernel settles
            w->result = rt_conn_wait(w->c, RT_CONN_READABLE | RT_CONN_WRITABLE, RT_FOREVER);
            while (rt_conn_try_writev(w->c, &(struct iovec){much, 1 << 20}, 1) > 0)
                ;
        }
        break;
    default:
        w->result = rt_conn_wait(w->c, 0, RT_FOREVER);
    }
    rt_free(much);
    rt_waitgroup_done(w->done);
}

static void closing_wakes_whoever_waits_in_any_way(void **state)
{
    (void)state;
    struct rt_listener *l = listen_somewhere();
    struct rt_waitgroup ready = {0}, done = {0};
    struct waiter w[WAITERS];
    struct rt_conn *peer[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        assert_int_equal(rt_dial(rt_listener_address(l), rt_after_ns(LONG), &peer[i], NULL), 0);
        w[i] = (struct waiter){.kind = i, .ready = &ready, .done = &done};
        assert_int_equal(rt_accept(l, &w[i].c), 0);
        rt_waitgroup_add(&ready, 1);
        rt_waitgroup_add(&done, 1);
        assert_int_equal(rt_go("waits", wait_in_some_way, &w[i]), 0);
    }
    assert_int_equal(rt_waitgroup_wait(&ready, rt_after_ns(LONG)), 0);
    for (int i = 0; i < WAITERS; i++)
        rt_conn_close(w[i].c);
    assert_int_equal(rt_waitgroup_wait(&done, rt_after_ns(LONG)), 0);
    for (int i = 0; i < WAITERS; i++) {
        if (w[i].result != -ECANCELED)
            fail_msg("waiter %d got %d", i, w[i].result);
        rt_conn_unref(w[i].c);
        rt_conn_unref(peer[i]);
    }
    rt_listener_close(l);
}

static void an_accept_ends_at_its_deadline_and_later_ones_go_on(void **state)
{
    (void)state;
    struct rt_listener *l = listen_somewhere();
    struct rt_conn *a, *b;
    rt_listener_set_deadline(l, rt_after_ns(RT_MS));
    assert_int_equal(rt_accept(l, &a), -ETIMEDOUT);
    assert_int_equal(rt_accept(l, &a), -ETIMEDOUT);
    rt_listener_set_deadline(l, rt_after_ns(LONG));
    assert_int_equal(rt_dial(rt_listener_address(l), rt_after_ns(LONG), &b, NULL), 0);
    assert_int_equal(rt_accept(l, &a), 0);
    rt_conn_unref(a);
    rt_conn_unref(b);
    rt_listener_close(l);
}

/* ---- thousands ---- */

enum { ANSWERS = 20 };

struct crowd {
    const char *address;
    struct rt_waitgroup done;
    _Atomic uint32_t answers;
};

static struct rt_waitgroup serving; // who must be through before the run ends

static void serve_number(void *arg)
{
    struct rt_conn *c = arg;
    uint64_t number;
    while (rt_conn_read(c, &number, sizeof(number)) == sizeof(number) &&
           rt_conn_write(c, &number, sizeof(number)) == 0)
        ;
    rt_conn_unref(c);
    rt_waitgroup_done(&serving);
}

static void accept_crowd(void *arg)
{
    struct rt_listener *l = arg;
    struct rt_conn *c;
    while (rt_accept(l, &c) == 0) {
        rt_waitgroup_add(&serving, 1);
        if (rt_go("serve", serve_number, c) != 0) {
            rt_conn_unref(c);
            rt_waitgroup_done(&serving);
        }
    }
    rt_listener_unref(l);
    rt_waitgroup_done(&serving);
}

static void ask_often(void *arg)
{
    struct crowd *crowd = arg;
    struct rt_conn *c;
    if (rt_dial(crowd->address, rt_after_ns(2 * LONG), &c, NULL) == 0) {
        rt_conn_set_read_deadline(c, rt_after_ns(2 * LONG));
        for (uint64_t i = 0, got = 1; i < ANSWERS && rt_conn_write(c, &i, sizeof(i)) == 0; i++)
            if (rt_conn_read(c, &got, sizeof(got)) == sizeof(got) && got == i)
                atomic_fetch_add(&crowd->answers, 1);
        rt_conn_unref(c);
    }
    rt_waitgroup_done(&crowd->done);
}

static void each_of_thousands_of_connections_gets_all_its_answers(void **state)
{
    (void)state;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int count = limit.rlim_cur < 4200 ? (int)limit.rlim_cur / 2 - 100 : 2000;
    struct rt_listener *l = listen_somewhere();
    struct crowd crowd = {.address = rt_listener_address(l)};
    rt_waitgroup_add(&serving, 1);
    assert_int_equal(rt_go("accept", accept_crowd, rt_listener_ref(l)), 0);
    rt_waitgroup_add(&crowd.done, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(rt_go("asks", ask_often, &crowd), 0);
    assert_int_equal(rt_waitgroup_wait(&crowd.done, rt_after_ns(2 * LONG)), 0);
    assert_int_equal(atomic_load(&crowd.answers), count * ANSWERS);
    rt_listener_close(l);
    assert_int_equal(rt_waitgroup_wait(&serving, rt_after_ns(LONG)), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_end_right_behind_the_bytes_is_seen),
    cmocka_unit_test(bytes_behind_an_urgent_one_are_read),
    cmocka_unit_test(a_reader_that_stops_stops_its_peer),
    cmocka_unit_test(stopped_readers_do_not_stop_others),
    cmocka_unit_test(closing_wakes_whoever_waits_in_any_way),
    cmocka_unit_test(an_accept_ends_at_its_deadline_and_later_ones_go_on),
    cmocka_unit_test(each_of_thousands_of_connections_gets_all_its_answers),
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
        failed += rt_test_main(&(struct rt_options){.poller = forms[i].poller, .procs = 2}, group);
    }
    return failed != 0;
}

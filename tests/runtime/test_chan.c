/* Channels: order, hand-off, close, deadlines. */
#include "tests/runtime/crew.h"
#include <errno.h>
#include <rt/chan.h>
#include <rt/defer.h>
#include <string.h>

static void a_buffer_keeps_order_and_says_when_it_is_full(void **state)
{
    (void)state;
    struct rt_chan *c = rt_chan_new(sizeof(int), 3);
    int v = 0;
    assert_int_equal(rt_chan_recv(c, &v, 0), -EAGAIN);
    for (int round = 0; round < 5; round++) { // round the ring's end
        for (int i = 0; i < 3; i++)
            assert_int_equal(rt_chan_send(c, &i, RT_FOREVER), 0);
        assert_int_equal(rt_chan_len(c), 3);
        assert_int_equal(rt_chan_send(c, &v, 0), -EAGAIN);
        assert_int_equal(rt_chan_send(c, &v, rt_after_ns(RT_MS)), -ETIMEDOUT);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(rt_chan_recv(c, &v, 0), 0);
            assert_int_equal(v, i);
        }
        v = 9;
        assert_int_equal(rt_chan_send(c, &v, 0), 0);
        assert_int_equal(rt_chan_recv(c, &v, 0), 0);
        assert_int_equal(v, 2);
        assert_int_equal(rt_chan_recv(c, &v, 0), 0);
        assert_int_equal(v, 9);
    }
    rt_chan_free(c);
}

static void a_closed_channel_is_drained_first(void **state)
{
    (void)state;
    struct rt_chan *c = rt_chan_new(sizeof(int), 2);
    int v = 5;
    assert_int_equal(rt_chan_send(c, &v, 0), 0);
    rt_chan_close(c);
    assert_int_equal(rt_chan_send(c, &v, RT_FOREVER), -EPIPE);
    v = 0;
    assert_int_equal(rt_chan_recv(c, &v, RT_FOREVER), 0);
    assert_int_equal(v, 5);
    assert_int_equal(rt_chan_recv(c, &v, RT_FOREVER), -EPIPE);
    assert_int_equal(rt_chan_recv(c, &v, 0), -EPIPE);
    assert_int_equal(v, 5); // untouched
    rt_chan_free(c);
}

static void close_again(void *c) { rt_chan_close(c); }

static void a_second_close_is_a_panic(void **state)
{
    (void)state;
    struct rt_chan *c = rt_chan_new(0, 0);
    char text[64];
    rt_chan_close(c);
    assert_false(rt_try(close_again, c, text, sizeof(text)));
    assert_string_equal(text, "a channel was closed twice");
    rt_chan_free(c);
}

struct pair {
    struct rt_chan *there, *back;
};

static void echo(int who, void *arg)
{
    struct pair *p = arg;
    uint64_t v[4];
    (void)who;
    while (rt_chan_recv(p->there, v, RT_FOREVER) == 0) {
        int err = rt_chan_send(p->back, v, CREW_LATE);
        assert(err == 0);
    }
}

static void an_unbuffered_value_goes_from_hand_to_hand(void **state)
{
    (void)state;
    struct pair p = {rt_chan_new(32, 0), rt_chan_new(32, 0)};
    struct crew crew;
    crew_start(&crew, 1, echo, &p);
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t out[4] = {i, ~i, i * 3, 7}, in[4] = {0};
        assert_int_equal(rt_chan_send(p.there, out, CREW_LATE), 0);
        assert_int_equal(rt_chan_recv(p.back, in, CREW_LATE), 0);
        assert_memory_equal(in, out, sizeof(out));
    }
    rt_chan_close(p.there);
    crew_wait(&crew);
    rt_chan_free(p.there);
    rt_chan_free(p.back);
}

enum { SENDERS = 6, RECEIVERS = 4, VALUES = 1500 };

/* Everybody is impatient; what was sent with 0 must be received exactly once. */
struct storm {
    struct rt_chan *c;
    struct rt_waitgroup senders;
    _Atomic uint8_t received[SENDERS * VALUES];
    uint8_t sent[SENDERS * VALUES]; // each by its sender, read after it has ended
    _Atomic int timeouts;
    bool closes;
};

static void send_impatiently(struct storm *s, int who)
{
    uint32_t x = (uint32_t)who;
    for (int i = 0; i < VALUES; i++) {
        int v = who * VALUES + i, err = -ETIMEDOUT;
        int64_t patience = next_random(&x) % 100000;
        if (i % 4 == 0)
            err = rt_chan_send(s->c, &v, rt_after_ns(patience));
        else if (i % 4 == 1)
            err = rt_chan_send(s->c, &v, 0);
        else
            err = rt_chan_send(s->c, &v, CREW_LATE);
        if (err == -EPIPE)
            break;
        assert(err == 0 || (i % 4 < 2 && (err == -ETIMEDOUT || err == -EAGAIN)));
        s->sent[v] = err == 0;
        if (err)
            atomic_fetch_add(&s->timeouts, 1);
    }
    rt_waitgroup_done(&s->senders);
}

static void receive_impatiently(struct storm *s, int who)
{
    uint32_t x = (uint32_t)who * 31;
    for (int i = 0;; i++) {
        int v = -1;
        int err = rt_chan_recv(s->c, &v, i % 3 ? CREW_LATE : rt_after_ns(next_random(&x) % 50000));
        if (err == -EPIPE)
            return;
        if (err == 0) {
            int before = atomic_fetch_add(&s->received[v], 1);
            assert(before == 0);
        } else {
            assert(err == -ETIMEDOUT);
        }
    }
}

static void send_or_receive(int who, void *arg)
{
    struct storm *s = arg;
    if (who < SENDERS)
        send_impatiently(s, who);
    else
        receive_impatiently(s, who);
}

static void run_storm(uint32_t cap, bool close_early)
{
    static struct storm s; // 18 KB: too much for a stack
    struct crew crew;
    memset(&s, 0, sizeof(s));
    s.c = rt_chan_new(sizeof(int), cap);
    rt_waitgroup_add(&s.senders, SENDERS);
    crew_start(&crew, SENDERS + RECEIVERS, send_or_receive, &s);
    if (close_early)
        rt_sleep_ns(2 * RT_MS);
    else
        assert_int_equal(rt_waitgroup_wait(&s.senders, CREW_LATE), 0);
    rt_chan_close(s.c);
    crew_wait(&crew);
    for (int i = 0; i < SENDERS * VALUES; i++)
        if (s.sent[i] != atomic_load(&s.received[i]))
            fail_msg("value %d: sent %d times, received %d times", i, s.sent[i], s.received[i]);
    assert_int_equal(rt_chan_len(s.c), 0);
    rt_chan_free(s.c);
}

static void what_was_sent_is_received_exactly_once(void **state)
{
    (void)state;
    run_storm(0, false);
    run_storm(1, false);
    run_storm(64, false);
}

static void closing_in_the_middle_loses_nothing_that_was_sent(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        run_storm(i % 3 == 0 ? 0 : 8, true);
}

static void receive_until_closed(int who, void *arg)
{
    int err = rt_chan_recv(arg, NULL, CREW_LATE);
    (void)who;
    assert(err == -EPIPE);
}

static void closing_wakes_everyone_who_waits(void **state)
{
    (void)state;
    struct rt_chan *c = rt_chan_new(0, 0);
    struct crew crew;
    crew_start_in_line(&crew, 10, receive_until_closed, c);
    rt_chan_close(c);
    crew_wait(&crew);
    rt_chan_free(c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_buffer_keeps_order_and_says_when_it_is_full),
    cmocka_unit_test(a_closed_channel_is_drained_first),
    cmocka_unit_test(a_second_close_is_a_panic),
    cmocka_unit_test(an_unbuffered_value_goes_from_hand_to_hand),
    cmocka_unit_test(what_was_sent_is_received_exactly_once),
    cmocka_unit_test(closing_in_the_middle_loses_nothing_that_was_sent),
    cmocka_unit_test(closing_wakes_everyone_who_waits),
};
RT_TEST_GROUP(group, tests)

int main(void) { return on_one_and_four(group); }

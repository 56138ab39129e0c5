/* Select: fair, whole, deadlock-free, over channels and connections. */
#include "tests/runtime/crew.h"
#include <errno.h>
#include <rt/chan.h>
#include <rt/net.h>

static void of_several_ready_cases_each_is_chosen(void **state)
{
    (void)state;
    struct rt_chan *c[4];
    int chosen[4] = {0}, v = 1;
    for (int i = 0; i < 4; i++) {
        c[i] = rt_chan_new(sizeof(int), 1);
        assert_int_equal(rt_chan_send(c[i], &v, 0), 0);
    }
    for (int round = 0; round < 1000; round++) {
        struct rt_case cases[4];
        for (int i = 0; i < 4; i++)
            cases[i] = (struct rt_case){.kind = RT_CASE_RECV, .chan = c[i], .value = &v};
        int pos = rt_select(cases, 4, RT_FOREVER);
        assert_in_range(pos, 0, 3);
        assert_int_equal(cases[pos].result, 0);
        chosen[pos]++;
        assert_int_equal(rt_chan_send(c[pos], &v, 0), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_in_range(chosen[i], 100, 500); // 250, and ten deviations to each side
        rt_chan_free(c[i]);
    }
}

static void nothing_ready_is_told_at_once_or_at_the_deadline(void **state)
{
    (void)state;
    struct rt_chan *c = rt_chan_new(sizeof(int), 0);
    int v = 1;
    struct rt_case cases[] = {
        {.kind = RT_CASE_RECV, .chan = c, .value = &v},
        {.kind = RT_CASE_SEND, .chan = c, .value = &v}, // never meets itself
        {.kind = RT_CASE_RECV, .chan = NULL},           // never ready, as Go's nil channel
        {.kind = RT_CASE_NONE},
    };
    assert_int_equal(rt_select(cases, 4, 0), -EAGAIN);
    assert_int_equal(rt_select(cases, 4, rt_after_ns(RT_MS)), -ETIMEDOUT);
    assert_int_equal(rt_select(NULL, 0, rt_after_ns(RT_MS)), -ETIMEDOUT);
    assert_int_equal(rt_select(NULL, 0, 0), -EAGAIN);
    rt_chan_free(c);
}

static void a_closed_channel_is_always_ready(void **state)
{
    (void)state;
    struct rt_chan *c = rt_chan_new(0, 0);
    rt_chan_close(c);
    struct rt_case cases[] = {{.kind = RT_CASE_RECV, .chan = c}};
    assert_int_equal(rt_select(cases, 1, RT_FOREVER), 0);
    assert_int_equal(cases[0].result, -EPIPE);
    cases[0].kind = RT_CASE_SEND;
    assert_int_equal(rt_select(cases, 1, 0), 0);
    assert_int_equal(cases[0].result, -EPIPE);
    rt_chan_free(c);
}

static void close_it(void *c) { rt_chan_close(c); }

static void closing_wakes_a_select(void **state)
{
    (void)state;
    struct rt_chan *c = rt_chan_new(0, 0), *other = rt_chan_new(0, 0);
    struct rt_timer timer = {0};
    struct rt_case cases[] = {{.kind = RT_CASE_SEND, .chan = other},
                              {.kind = RT_CASE_RECV, .chan = c}};
    rt_timer_start(&timer, rt_after_ns(3 * RT_MS), close_it, c);
    assert_int_equal(rt_select(cases, 2, CREW_LATE), 1);
    assert_int_equal(cases[1].result, -EPIPE);
    assert_int_equal(rt_select(cases, 1, 0), -EAGAIN); // it left the other queue
    rt_timer_stop(&timer);
    rt_chan_free(c);
    rt_chan_free(other);
}

enum { PLAYERS = 8, ROUNDS = 1500, CHANNELS = 3 };

/* Players send and receive over the same channels by selects that lock them in every order. */
struct game {
    struct rt_chan *c[CHANNELS];
    _Atomic int64_t sent_sum, received_sum;
    _Atomic int sent, received, gave_up;
    _Atomic int playing;
};

static void play(int who, void *arg)
{
    struct game *g = arg;
    uint32_t x = (uint32_t)who;
    for (int i = 0; i < ROUNDS; i++) {
        int out = who * ROUNDS + i, in[CHANNELS];
        struct rt_case cases[CHANNELS * 2];
        for (int k = 0; k < CHANNELS; k++) {
            int at = (int)((next_random(&x) + (unsigned)k) % CHANNELS);
            cases[2 * k] = (struct rt_case){.kind = RT_CASE_SEND, .chan = g->c[at], .value = &out};
            cases[2 * k + 1] = (struct rt_case){
                .kind = RT_CASE_RECV, .chan = g->c[CHANNELS - 1 - at], .value = &in[k]};
        }
        int64_t deadline = i % 3 == 0 ? 0 : rt_after_ns(next_random(&x) % 200000);
        int pos = rt_select(cases, CHANNELS * 2, deadline);
        if (pos < 0) {
            assert(pos == (i % 3 == 0 ? -EAGAIN : -ETIMEDOUT));
            atomic_fetch_add(&g->gave_up, 1);
        } else if (cases[pos].kind == RT_CASE_SEND) {
            atomic_fetch_add(&g->sent, 1);
            atomic_fetch_add(&g->sent_sum, out);
        } else {
            atomic_fetch_add(&g->received, 1);
            atomic_fetch_add(&g->received_sum, in[pos / 2]);
        }
    }
    atomic_fetch_sub(&g->playing, 1);
}

static void a_select_does_exactly_one_case_exactly_once(void **state)
{
    (void)state;
    for (uint32_t cap = 0; cap < 3; cap++) {
        struct game g = {.playing = PLAYERS};
        for (int i = 0; i < CHANNELS; i++)
            g.c[i] = rt_chan_new(sizeof(int), cap);
        crew_run(PLAYERS, play, &g);
        for (int i = 0; i < CHANNELS; i++) {
            int v;
            while (rt_chan_recv(g.c[i], &v, 0) == 0) { // what is left in the buffers
                g.received++;
                g.received_sum += v;
            }
            rt_chan_free(g.c[i]);
        }
        assert_int_equal(atomic_load(&g.sent), atomic_load(&g.received));
        assert_true(atomic_load(&g.sent_sum) == atomic_load(&g.received_sum));
        assert_true(atomic_load(&g.sent) > 0);
    }
}

struct wire {
    struct rt_conn *near, *far;
    struct rt_chan *c;
};

static void send_bytes_or_a_value(int who, void *arg)
{
    struct wire *w = arg;
    uint32_t x = (uint32_t)who + 1;
    int v = 7;
    for (int i = 0; i < 200; i++) {
        if (who == 0) {
            int err = rt_conn_write(w->far, "b", 1);
            assert(err == 0);
        } else {
            int err = rt_chan_send(w->c, &v, CREW_LATE);
            assert(err == 0);
        }
        if (next_random(&x) % 2)
            rt_sleep_ns(next_random(&x) % 30000);
    }
}

static void connect_wire(struct wire *w)
{
    struct rt_listener *l;
    struct why why;
    if (rt_listen("127.0.0.1:0", &l, &why))
        fail_msg("%s", why.text);
    if (rt_dial(rt_listener_address(l), CREW_LATE, &w->far, &why))
        fail_msg("%s", why.text);
    assert_int_equal(rt_accept(l, &w->near), 0);
    rt_listener_close(l);
    w->c = rt_chan_new(sizeof(int), 0);
}

static void a_select_hears_bytes_and_values(void **state)
{
    (void)state;
    struct wire w;
    struct crew crew;
    int values = 0, v = 0;
    size_t bytes = 0;
    connect_wire(&w);
    struct rt_case cases[] = {{.kind = RT_CASE_READABLE, .conn = w.near},
                              {.kind = RT_CASE_RECV, .chan = w.c, .value = &v}};
    assert_int_equal(rt_select(cases, 2, 0), -EAGAIN);
    assert_int_equal(rt_select(cases, 2, rt_after_ns(RT_MS)), -ETIMEDOUT);
    crew_start(&crew, 2, send_bytes_or_a_value, &w);
    while (values < 200 || bytes < 200) {
        char buf[16];
        int pos = rt_select(cases, 2, CREW_LATE);
        assert_in_range(pos, 0, 1);
        if (pos == 1) {
            assert_int_equal(v, 7);
            values++;
            continue;
        }
        ssize_t n = rt_conn_try_read(w.near, buf, sizeof(buf));
        assert_true(n > 0 || n == -EAGAIN);
        bytes += n > 0 ? (size_t)n : 0;
    }
    crew_wait(&crew);
    rt_conn_wake(w.near);
    assert_int_equal(rt_select(cases, 2, CREW_LATE), 0); // there is something besides bytes
    assert_int_equal(rt_conn_try_read(w.near, (char[4]){0}, 4), -EAGAIN);
    rt_conn_close(w.far);
    rt_conn_unref(w.far);
    assert_int_equal(rt_select(cases, 2, CREW_LATE), 0); // the end of the stream
    assert_int_equal(rt_conn_try_read(w.near, (char[4]){0}, 4), 0);
    rt_conn_close(w.near);
    rt_conn_unref(w.near);
    rt_chan_free(w.c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(of_several_ready_cases_each_is_chosen),
    cmocka_unit_test(nothing_ready_is_told_at_once_or_at_the_deadline),
    cmocka_unit_test(a_closed_channel_is_always_ready),
    cmocka_unit_test(closing_wakes_a_select),
    cmocka_unit_test(a_select_does_exactly_one_case_exactly_once),
    cmocka_unit_test(a_select_hears_bytes_and_values),
};
RT_TEST_GROUP(group, tests)

int main(void) { return on_one_and_four(group); }

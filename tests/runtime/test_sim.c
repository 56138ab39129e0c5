/* The simulated world: the same seed gives the same run, and faults do what they say. Programs run
 * as goroutines inside it; cmocka stays outside and looks at what they return. */
#include "tests/support/rt_test.h"
#include <assert.h>
#include <errno.h>
#include <rt/alloc.h>
#include <rt/chan.h>
#include <rt/file.h>
#include <rt/net.h>
#include <rt/sim.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdlib.h>
#include <string.h>

#define LONG (60 * RT_SECOND)

/* TSan takes the goroutines of one run and whatever comes after it for strangers: hand over. */
struct program {
    int (*fn)(void *arg);
    void *arg;
};
static _Atomic uint32_t turns;
static uint64_t random_yield; // seed, or 0

static int in_turn(void *arg)
{
    struct program *p = arg;
    atomic_fetch_add(&turns, 1);
    int result = p->fn(p->arg);
    atomic_fetch_add(&turns, 1);
    return result;
}

static int run_in(struct rt_world *world, int (*fn)(void *arg), void *arg)
{
    struct why why = {""};
    int result = -1;
    atomic_fetch_add(&turns, 1);
    struct rt_options options = {.world = world, .random_yield = random_yield};
    int err = rt_run(&options, in_turn, &(struct program){fn, arg}, &result, &why);
    atomic_fetch_add(&turns, 1);
    if (err)
        fail_msg("the runtime does not start: %s", why.text);
    return result;
}

/* ---- a program that uses everything ---- */

enum { CLIENTS = 5, REQUESTS = 20 };

struct everything {
    struct rt_listener *l;
    struct rt_chan *results;
    struct rt_waitgroup all;
    uint64_t sum;
};

struct served {
    struct everything *e;
    struct rt_conn *c;
    int number;
};

static void serve(void *arg)
{
    struct served *s = arg;
    struct everything *e = s->e;
    uint8_t buf[64];
    ssize_t n;
    char path[32];
    struct rt_file *f;
    snprintf(path, sizeof path, "/data/%d", s->number);
    int err = rt_file_open(path, RT_OPEN_WRITE | RT_OPEN_CREATE | RT_OPEN_APPEND, 0600, &f);
    assert(err == 0);
    while ((n = rt_conn_read(s->c, buf, sizeof buf)) > 0) {
        err = rt_file_pwrite_durable(f, buf, (size_t)n, 0);
        assert(err == 0);
        if (rt_conn_write(s->c, buf, (size_t)n))
            break;
    }
    rt_file_close(f);
    rt_conn_unref(s->c);
    rt_free(s);
    rt_waitgroup_done(&e->all); // the last: then the run may end
}

static void accept_all(void *arg)
{
    struct everything *e = arg;
    struct rt_conn *c;
    for (int i = 0; rt_accept(e->l, &c) == 0; i++) {
        struct served *s = rt_alloc(sizeof *s);
        *s = (struct served){e, c, i};
        rt_waitgroup_add(&e->all, 1);
        int err = rt_go("serve", serve, s);
        assert(err == 0);
    }
    rt_listener_unref(e->l);
    rt_waitgroup_done(&e->all);
}

static void ask(void *arg)
{
    struct everything *e = arg;
    struct rt_conn *c = NULL;
    uint64_t sum = 0;
    int err = rt_dial(rt_listener_address(e->l), rt_after_ns(LONG), &c, NULL);
    for (int i = 0; i < REQUESTS && !err; i++) {
        uint64_t sent = rt_random_u64(), got;
        err = rt_conn_write(c, &sent, sizeof sent);
        rt_conn_set_read_deadline(c, rt_after_ns(LONG));
        for (size_t have = 0; have < sizeof got && !err;) {
            ssize_t n = rt_conn_read(c, (char *)&got + have, sizeof got - have);
            if (n <= 0)
                err = n ? (int)n : -EPIPE;
            else
                have += (size_t)n;
        }
        if (!err) {
            assert(got == sent);
            sum += got;
            rt_sleep_ns((int64_t)(got % (2 * RT_MS)));
        }
    }
    if (c) {
        rt_conn_close(c);
        rt_conn_unref(c);
    }
    err = rt_chan_send(e->results, &sum, RT_FOREVER);
    assert(err == 0);
}

static int everything(void *arg)
{
    struct everything *e = arg;
    *e = (struct everything){.results = rt_chan_new(sizeof(uint64_t), 2)};
    int err = rt_exists("/data") ? 0 : rt_mkdir("/data", 0700);
    assert(err == 0);
    err = rt_listen("127.0.0.1:0", &e->l, NULL);
    assert(err == 0);
    rt_listener_ref(e->l);
    rt_waitgroup_add(&e->all, 1);
    err = rt_go("accept-all", accept_all, e);
    assert(err == 0);
    for (int i = 0; i < CLIENTS; i++) {
        err = rt_go("ask", ask, e);
        assert(err == 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        uint64_t sum;
        err = rt_chan_recv(e->results, &sum, RT_FOREVER);
        assert(err == 0);
        e->sum = e->sum * 31 + sum;
    }
    rt_listener_close(e->l);
    err = rt_waitgroup_wait(&e->all, rt_after_ns(LONG));
    assert(err == 0);
    rt_chan_free(e->results);
    return 0;
}

struct outcome {
    uint64_t digest, events, sum;
    int64_t ended_ns;
};

static const struct rt_sim_faults unkind = {
    .net_latency_min_ns = 10000,
    .net_latency_max_ns = 3 * RT_MS,
    .disk_latency_min_ns = 1000,
    .disk_latency_max_ns = 5 * RT_MS,
    .starve_ppm = 20000,
    .starve_max_ns = 20 * RT_MS,
    .short_read_ppm = 300000,
    .short_write_ppm = 300000,
};

static struct outcome run_everything(uint64_t seed, const struct rt_sim_faults *faults)
{
    struct rt_world *world = rt_sim_new(seed);
    struct everything e;
    if (faults)
        rt_sim_set_faults(world, faults);
    assert_int_equal(run_in(world, everything, &e), 0);
    struct outcome o = {rt_sim_digest(world), rt_sim_events(world), e.sum,
                        world->now_ns(world->state)};
    rt_sim_free(world);
    return o;
}

static void one_seed_gives_one_run(void **state)
{
    (void)state;
    const char *setting = getenv("KVD_SEED");
    uint64_t first = setting ? strtoull(setting, NULL, 0) : 1;
    uint64_t last_digest = 0, all = 0;
    for (uint64_t seed = first; seed < first + 20; seed++) {
        const struct rt_sim_faults *faults = seed % 2 ? &unkind : NULL;
        struct outcome one = run_everything(seed, faults), two = run_everything(seed, faults);
        if (one.digest != two.digest || one.events != two.events || one.sum != two.sum ||
            one.ended_ns != two.ended_ns)
            fail_msg("seed %llu gave two runs: %llu and %llu events", (unsigned long long)seed,
                     (unsigned long long)one.events, (unsigned long long)two.events);
        assert_true(one.events > CLIENTS * REQUESTS * 4);
        assert_true(one.digest != last_digest);
        last_digest = one.digest;
        all = all * 31 + one.digest;
    }
    print_message("# digest of seeds %llu to %llu: %016llx\n", (unsigned long long)first,
                  (unsigned long long)first + 19, (unsigned long long)all);
}

/* Of seeds 1, 2, ...: whatever compiler, machine or day. They change with what the program or the
 * simulated world does, and then all at once. */
static const uint64_t digests[] = {0xe2c27f9f58f1f4f1, 0x8817a748520dcb14, 0xd57724a5b77dc063,
                                   0xf79e6ae5309978ed, 0xf4f731cfbb39640a};

static void the_run_of_a_seed_is_the_same_in_every_build(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ARRAY_LEN(digests); seed++) {
        struct outcome one = run_everything(seed, seed % 2 ? &unkind : NULL);
        if (one.digest != digests[seed - 1])
            fail_msg("the digest of seed %llu is 0x%016llx", (unsigned long long)seed,
                     (unsigned long long)one.digest);
    }
}

/* Yields come in the middle of what the world does for a program, too: it must not be seen half done. */
static void yields_at_random_belong_to_the_run_of_a_seed(void **state)
{
    (void)state;
    struct rt_sim_faults faults = unkind;
    faults.reset_ppm = 20000;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct outcome kind = run_everything(seed, &faults);
        random_yield = seed;
        struct outcome one = run_everything(seed, &faults), two = run_everything(seed, &faults);
        random_yield = 0;
        assert_true(one.digest == two.digest);
        assert_true(one.digest != kind.digest);
    }
}

static void resets_and_refusals_end_in_errors_and_not_in_hangs(void **state)
{
    (void)state;
    struct rt_sim_faults faults = unkind;
    faults.reset_ppm = 20000;
    faults.refuse_ppm = 200000;
    for (uint64_t seed = 100; seed < 120; seed++) {
        struct outcome one = run_everything(seed, &faults), two = run_everything(seed, &faults);
        assert_true(one.digest == two.digest);
    }
}

/* ---- time ---- */

static int sleep_a_day(void *arg)
{
    (void)arg;
    int64_t before = rt_now_ns(), wall = rt_wall_ns(), day = 86400 * RT_SECOND;
    rt_sleep_ns(day);
    int64_t took = rt_now_ns() - before;
    return took >= day && took < day + RT_SECOND && rt_wall_ns() - wall == took ? 0 : 1;
}

static void a_day_passes_at_once(void **state)
{
    (void)state;
    struct rt_world *world = rt_sim_new(3);
    assert_int_equal(run_in(world, sleep_a_day, NULL), 0);
    rt_sim_free(world);
}

static int draw_random(void *arg)
{
    rt_random(arg, 32);
    return 0;
}

static void random_bytes_come_from_the_seed(void **state)
{
    (void)state;
    uint8_t drawn[3][32];
    static const uint64_t seeds[] = {5, 5, 6};
    for (int i = 0; i < 3; i++) {
        struct rt_world *world = rt_sim_new(seeds[i]);
        run_in(world, draw_random, drawn[i]);
        rt_sim_free(world);
    }
    assert_memory_equal(drawn[0], drawn[1], 32);
    assert_memory_not_equal(drawn[0], drawn[2], 32);
}

/* ---- starving ---- */

enum { WORKERS = 4, TURNS = 2000 };

struct worker {
    uint64_t *ticks;
    int64_t longest_ns;
    struct rt_waitgroup *done;
};

static void work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < TURNS; i++) {
        int64_t before = rt_now_ns();
        rt_yield();
        int64_t waited = rt_now_ns() - before;
        if (waited > w->longest_ns)
            w->longest_ns = waited;
    }
    rt_waitgroup_done(w->done);
}

static int workers(void *arg)
{
    int64_t *longest = arg;
    struct worker w[WORKERS] = {0};
    struct rt_waitgroup done = {0};
    rt_waitgroup_add(&done, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        w[i].done = &done;
        int err = rt_go("work", work, &w[i]);
        assert(err == 0);
    }
    int err = rt_waitgroup_wait(&done, RT_FOREVER);
    *longest = 0;
    for (int i = 0; i < WORKERS; i++)
        if (w[i].longest_ns > *longest)
            *longest = w[i].longest_ns;
    return err;
}

static void a_starved_goroutine_waits_while_others_run(void **state)
{
    (void)state;
    int64_t fair, starved;
    struct rt_world *world = rt_sim_new(9);
    assert_int_equal(run_in(world, workers, &fair), 0);
    rt_sim_free(world);
    world = rt_sim_new(9);
    rt_sim_set_faults(world,
                      &(struct rt_sim_faults){.starve_ppm = 2000, .starve_max_ns = RT_SECOND});
    assert_int_equal(run_in(world, workers, &starved), 0);
    rt_sim_free(world);
    assert_true(fair < RT_MS);
    assert_true(starved > 5 * fair);
}

/* ---- streams ---- */

static void send_bytes(void *arg)
{
    uint8_t *buf = rt_alloc(1 << 20);
    for (int i = 0; i < 1 << 20; i++)
        buf[i] = (uint8_t)(i * 7 + (i >> 8));
    int err = rt_conn_write(arg, buf, 1 << 20);
    assert(err == 0);
    rt_conn_shut_write(arg);
    rt_free(buf);
}

static int connect_pair(struct rt_conn **a, struct rt_conn **b)
{
    struct rt_listener *l;
    int err = rt_listen("[::1]:0", &l, NULL);
    if (!err)
        err = rt_dial(rt_listener_address(l), rt_after_ns(LONG), a, NULL);
    if (!err)
        err = rt_accept(l, b);
    rt_listener_close(l);
    return err;
}

static int receive_bytes(void *arg)
{
    struct rt_conn *a, *b;
    uint8_t buf[1000];
    ssize_t n;
    int *reads = arg, total = 0;
    int err = connect_pair(&a, &b);
    assert(err == 0);
    err = rt_go("send", send_bytes, a);
    assert(err == 0);
    for (*reads = 0; (n = rt_conn_read(b, buf, sizeof buf)) > 0; ++*reads)
        for (ssize_t i = 0; i < n; i++, total++)
            if (buf[i] != (uint8_t)(total * 7 + (total >> 8)))
                return 1;
    rt_conn_unref(b);
    return n == 0 && total == 1 << 20 ? 0 : 2;
}

static void a_stream_arrives_whole_in_pieces_of_any_size(void **state)
{
    (void)state;
    int kind_reads, unkind_reads;
    struct rt_world *world = rt_sim_new(11);
    assert_int_equal(run_in(world, receive_bytes, &kind_reads), 0);
    rt_sim_free(world);
    world = rt_sim_new(11);
    rt_sim_set_faults(world, &unkind);
    assert_int_equal(run_in(world, receive_bytes, &unkind_reads), 0);
    rt_sim_free(world);
    assert_true(unkind_reads > kind_reads + 50);
}

static int ends_of_streams(void *arg)
{
    (void)arg;
    struct rt_conn *a, *b, *c;
    struct rt_listener *l;
    char buf[8];
    int err = connect_pair(&a, &b);
    assert(err == 0);
    rt_conn_set_read_deadline(a, rt_after_ns(RT_SECOND));
    assert(rt_conn_read(a, buf, 8) == -ETIMEDOUT);
    rt_conn_set_read_deadline(a, RT_FOREVER);
    assert(rt_conn_write(a, "ask", 3) == 0);
    assert(rt_conn_shut_write(a) == 0);
    assert(rt_conn_write(a, "x", 1) == -EPIPE);
    assert(rt_conn_read(b, buf, 8) == 3);
    assert(rt_conn_read(b, buf, 8) == 0);
    assert(rt_conn_write(b, "answer", 6) == 0);
    assert(rt_conn_read(a, buf, 8) == 6);
    rt_conn_wake(a);
    assert(rt_conn_wait(a, RT_CONN_READABLE, RT_FOREVER) == 0);
    rt_conn_close(b);
    rt_conn_unref(b);
    assert(rt_conn_read(a, buf, 8) == 0);
    rt_conn_close(a);
    assert(rt_conn_read(a, buf, 8) == -ECANCELED);
    rt_conn_unref(a);
    assert(rt_dial("127.0.0.1:1", rt_after_ns(RT_SECOND), &c, NULL) == -ECONNREFUSED);
    assert(rt_dial("127.0.0.1:1", rt_now_ns(), &c, NULL) == -ETIMEDOUT);
    assert(rt_listen("*:80", &l, NULL) == 0);
    struct rt_listener *again;
    assert(rt_listen("127.0.0.1:80", &again, NULL) == -EADDRINUSE);
    assert(rt_dial("localhost:80", RT_FOREVER, &c, NULL) == 0);
    rt_listener_close(l);
    assert(rt_conn_read(c, buf, 8) == 0);
    rt_conn_unref(c);
    return 0;
}

static void streams_end_as_tcp_ends_them(void **state)
{
    (void)state;
    struct rt_world *world = rt_sim_new(12);
    assert_int_equal(run_in(world, ends_of_streams, NULL), 0);
    rt_sim_free(world);
}

/* Abandoned goroutines leave sockets and files behind; the next run must not see them. */
static void hold_for_ever(void *arg)
{
    (void)arg;
    struct rt_listener *l;
    struct rt_conn *c;
    int err = rt_listen("127.0.0.1:99", &l, NULL);
    assert(err == 0);
    (void)rt_accept(l, &c);
}

static int abandon(void *arg)
{
    (void)arg;
    struct rt_file *f;
    int err = rt_go("holder", hold_for_ever, NULL);
    assert(err == 0);
    rt_sleep_ns(RT_MS);
    struct rt_conn *c;
    assert(rt_dial("127.0.0.1:99", RT_FOREVER, &c, NULL) == 0);
    assert(rt_file_open("/lock", RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f) == 0);
    assert(rt_file_lock(f) == 0);
    return 0;
}

static void what_a_run_abandons_is_gone_in_the_next(void **state)
{
    (void)state;
    struct rt_world *world = rt_sim_new(13);
    for (int i = 0; i < 3; i++)
        assert_int_equal(run_in(world, abandon, NULL), 0);
    rt_sim_free(world);
}

/* ---- disks ---- */

enum { DISK_SEEDS = 200 };

struct disk_run {
    struct rt_world *world;
    int dirty_lost, dirty_kept, mixed, name_lost, name_kept;
};

static void fill(uint8_t *page, uint8_t with) { memset(page, with, 4096); }

static int power_loss(void *arg)
{
    struct disk_run *d = arg;
    struct rt_file *f;
    uint8_t *page = rt_alloc(4096), *data;
    size_t len;
    assert(rt_mkdir("/wal", 0700) == 0);
    assert(rt_sync_dir("/") == 0);
    assert(rt_replace_file("/wal/state", "old", 3, 0600) == 0);
    assert(rt_file_open("/wal/log", RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f) == 0);
    assert(rt_sync_dir("/wal") == 0);
    fill(page, 1);
    assert(rt_file_pwrite_durable(f, page, 4096, 0) == 0);
    fill(page, 2);
    assert(rt_file_pwrite(f, page, 4096, 4096) == 0);
    assert(rt_file_datasync(f) == 0);
    fill(page, 3);
    assert(rt_file_pwrite(f, page, 4096, 0) == 0); // not synced: may be lost
    struct rt_file *other;
    assert(rt_file_open("/wal/new", RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &other) == 0);
    assert(rt_file_pwrite_durable(other, page, 4096, 0) == 0); // its name is not
    rt_sim_power_loss(d->world, "/wal");
    assert(rt_file_pread(f, page, 4096, 0) == -EIO);
    assert(rt_file_datasync(other) == -EIO);
    rt_file_close(f);
    rt_file_close(other);
    rt_free(page);

    assert(rt_read_file("/wal/state", 100, &data, &len) == 0);
    assert(len == 3);
    assert(memcmp(data, "old", 3) == 0);
    rt_free(data);
    assert(rt_read_file("/wal/log", 1 << 20, &data, &len) == 0);
    assert(len == 8192);
    int ones = 0, threes = 0;
    for (int i = 0; i < 4096; i += 512) {
        for (int j = 1; j < 512; j++)
            assert(data[i + j] == data[i]);
        ones += data[i] == 1;
        threes += data[i] == 3;
        assert(data[4096 + i] == 2);
    }
    assert(ones + threes == 8);
    d->dirty_lost += threes == 0;
    d->dirty_kept += ones == 0;
    d->mixed += ones && threes;
    rt_free(data);
    int exists = rt_exists("/wal/new");
    d->name_kept += exists == 1;
    d->name_lost += exists == 0;
    return 0;
}

static void what_was_synced_survives_and_the_rest_in_any_subset(void **state)
{
    (void)state;
    struct disk_run d = {0};
    for (uint64_t seed = 1; seed <= DISK_SEEDS; seed++) {
        d.world = rt_sim_new(seed);
        assert_int_equal(run_in(d.world, power_loss, &d), 0);
        rt_sim_free(d.world);
    }
    assert_true(d.mixed > DISK_SEEDS / 2);
    assert_true(d.name_lost > DISK_SEEDS / 4);
    assert_true(d.name_kept > DISK_SEEDS / 4);
}

static int replace_and_lose(void *arg)
{
    struct disk_run *d = arg;
    uint8_t *data;
    size_t len;
    assert(rt_replace_file("/state", "first", 5, 0600) == 0);
    struct rt_file *f; // the same steps, cut before the directory is synced
    assert(rt_file_open("/state.tmp", RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f) == 0);
    assert(rt_file_pwrite(f, "second", 6, 0) == 0);
    assert(rt_file_datasync(f) == 0);
    rt_file_close(f);
    assert(rt_rename("/state.tmp", "/state") == 0);
    rt_sim_power_loss(d->world, "/");
    assert(rt_read_file("/state", 100, &data, &len) == 0);
    bool old = len == 5 && memcmp(data, "first", 5) == 0;
    bool new = len == 6 && memcmp(data, "second", 6) == 0;
    assert(old || new);
    d->name_lost += old;
    d->name_kept += new;
    rt_free(data);
    return 0;
}

static void a_replaced_file_is_the_old_or_the_new_one(void **state)
{
    (void)state;
    struct disk_run d = {0};
    for (uint64_t seed = 1; seed <= DISK_SEEDS; seed++) {
        d.world = rt_sim_new(seed);
        assert_int_equal(run_in(d.world, replace_and_lose, &d), 0);
        rt_sim_free(d.world);
    }
    assert_true(d.name_lost > 0);
    assert_true(d.name_kept > 0);
}

static int full_and_broken(void *arg)
{
    struct rt_world *world = arg;
    struct rt_file *f;
    uint8_t *page = rt_alloc_zero(4096);
    page[0] = 1;
    uint64_t left;
    rt_sim_set_disk_bytes(world, 4 * 4096);
    assert(rt_file_open("/f", RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f) == 0);
    assert(rt_file_allocate(f, 0, 3 * 4096) == 0);
    assert(rt_free_bytes("/", &left) == 0);
    assert(left == 4096);
    for (int i = 0; i < 4; i++)
        assert(rt_file_pwrite(f, page, 4096, (uint64_t)i * 4096) == 0);
    assert(rt_file_pwrite(f, page, 4096, 4 * 4096) == -ENOSPC);
    assert(rt_file_truncate(f, 100) == 0);
    assert(rt_file_pwrite(f, page, 4096, 4096) == 0);
    uint64_t size;
    assert(rt_file_size(f, &size) == 0);
    assert(size == 8192);
    assert(rt_file_pread(f, page, 200, 0) == 200);
    assert(page[0] == 1);
    assert(page[100] == 0);
    rt_sim_set_faults(world, &(struct rt_sim_faults){.sync_eio_ppm = 1000000});
    assert(rt_file_datasync(f) == -EIO);
    assert(rt_file_pwrite_durable(f, page, 4096, 0) == -EIO);
    rt_sim_set_faults(world,
                      &(struct rt_sim_faults){.read_eio_ppm = 1000000, .write_eio_ppm = 1000000});
    assert(rt_file_pread(f, page, 1, 0) == -EIO);
    assert(rt_file_pwrite(f, page, 1, 0) == -EIO);
    rt_sim_set_faults(world, &(struct rt_sim_faults){.write_enospc_ppm = 1000000});
    assert(rt_file_pwrite(f, page, 1, 0) == 0);
    assert(rt_file_allocate(f, 0, 4096) == -ENOSPC);
    rt_file_close(f);
    rt_free(page);
    return 0;
}

static void a_full_or_broken_disk_says_so(void **state)
{
    (void)state;
    struct rt_world *world = rt_sim_new(21);
    assert_int_equal(run_in(world, full_and_broken, world), 0);
    rt_sim_free(world);
}

struct names {
    char text[128];
};

static void note_name(void *arg, const char *name)
{
    struct names *n = arg;
    size_t len = strlen(n->text);
    snprintf(n->text + len, sizeof n->text - len, "%s ", name);
}

static int names_and_locks(void *arg)
{
    (void)arg;
    struct rt_file *f, *g;
    struct names n = {""};
    assert(rt_mkdir("a", 0700) == 0);
    assert(rt_mkdir("a/b/c", 0700) == -ENOENT);
    assert(rt_mkdir("a", 0700) == -EEXIST);
    assert(rt_mkdir("/a/z", 0700) == 0);
    assert(rt_mkdir("/a/./y", 0700) == 0);
    assert(rt_file_open("a/x", RT_OPEN_WRITE, 0600, &f) == -ENOENT);
    assert(rt_file_open("a/x", RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f) == 0);
    assert(rt_file_open("a/x", RT_OPEN_WRITE | RT_OPEN_CREATE | RT_OPEN_EXCLUSIVE, 0600, &g) ==
           -EEXIST);
    assert(rt_file_open("a/../a/x", RT_OPEN_READ, 0, &g) == 0);
    assert(rt_file_lock(f) == 0);
    assert(rt_file_lock(g) == -EAGAIN);
    rt_file_close(f);
    assert(rt_file_lock(g) == 0);
    rt_file_close(g);
    assert(rt_list_dir("a", note_name, &n) == 0);
    assert(strcmp(n.text, "x y z ") == 0);
    assert(rt_rename("a/x", "a/z") == -EISDIR);
    assert(rt_rename("a", "a/z/q") == -EINVAL);
    assert(rt_rename("a/x", "q") == 0);
    assert(rt_rmdir("a") == -ENOTEMPTY);
    assert(rt_unlink("a/z") == -EISDIR);
    assert(rt_rmdir("a/z") == 0);
    assert(rt_rmdir("a/y") == 0);
    assert(rt_rmdir("a") == 0);
    assert(rt_exists("q") == 1);
    assert(rt_unlink("q") == 0);
    assert(rt_exists("q") == 0);
    assert(rt_list_dir("q", note_name, &n) == -ENOENT);
    return 0;
}

static void names_behave_as_in_a_file_system(void **state)
{
    (void)state;
    struct rt_world *world = rt_sim_new(22);
    assert_int_equal(run_in(world, names_and_locks, NULL), 0);
    rt_sim_free(world);
}

int main(void)
{
    unsetenv("KVD_RANDOM_YIELD"); // only where it is asked for
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_gives_one_run),
        cmocka_unit_test(the_run_of_a_seed_is_the_same_in_every_build),
        cmocka_unit_test(yields_at_random_belong_to_the_run_of_a_seed),
        cmocka_unit_test(resets_and_refusals_end_in_errors_and_not_in_hangs),
        cmocka_unit_test(a_day_passes_at_once),
        cmocka_unit_test(random_bytes_come_from_the_seed),
        cmocka_unit_test(a_starved_goroutine_waits_while_others_run),
        cmocka_unit_test(a_stream_arrives_whole_in_pieces_of_any_size),
        cmocka_unit_test(streams_end_as_tcp_ends_them),
        cmocka_unit_test(what_a_run_abandons_is_gone_in_the_next),
        cmocka_unit_test(what_was_synced_survives_and_the_rest_in_any_subset),
        cmocka_unit_test(a_replaced_file_is_the_old_or_the_new_one),
        cmocka_unit_test(a_full_or_broken_disk_says_so),
        cmocka_unit_test(names_behave_as_in_a_file_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

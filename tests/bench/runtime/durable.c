/* durable alone|beside [DIRECTORY]: how long a write of 4 KiB takes until it is durable, into blocks
 * written before, O_DIRECT where the file system takes it; alone, or beside a pair of goroutines that
 * pass a value to and fro all the time. KVD_POLLER=uring writes through the ring, with
 * KVD_URING=recv,accept or KVD_POLLER=epoll by the system call in rt_blocking. */
#include "tests/bench/runtime/bench.h"
#include <errno.h>
#include <rt/alloc.h>
#include <rt/chan.h>
#include <rt/file.h>
#include <rt/net.h>

enum { BLOCK = 4096, WRITES = 400, FILE_BLOCKS = 1024 };

struct pair {
    struct rt_chan *there, *back;
    bool stop;
};

static void answer(void *arg)
{
    struct pair *p = arg;
    int value;
    while (rt_chan_recv(p->there, &value, RT_FOREVER) == 0)
        if (rt_chan_send(p->back, &value, RT_FOREVER) != 0)
            return;
}

static void ask(void *arg)
{
    struct pair *p = arg;
    for (int value = 0; !__atomic_load_n(&p->stop, __ATOMIC_RELAXED); value++)
        if (rt_chan_send(p->there, &value, RT_FOREVER) != 0 ||
            rt_chan_recv(p->back, &value, RT_FOREVER) != 0)
            return;
}

static int run(char **words, bool beside)
{
    char path[256];
    struct rt_file *f;
    struct rt_listener *l;
    static const int flags = RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE;
    snprintf(path, sizeof(path), "%s/bench-durable.tmp", words[0] ? words[0] : ".");
    if (rt_listen("127.0.0.1:0", &l, NULL) != 0) // starts the poller
        bench_fail("cannot listen");
    int err = rt_file_open(path, flags | RT_OPEN_DIRECT, 0600, &f);
    if (err == -EOPNOTSUPP)
        err = rt_file_open(path, flags, 0600, &f);
    if (err)
        bench_fail("%s: error %d", path, err);
    uint8_t *memory = rt_alloc_zero(2 * BLOCK), *block;
    block = (uint8_t *)(((uintptr_t)memory + BLOCK - 1) & ~(uintptr_t)(BLOCK - 1));
    for (uint64_t i = 0; i < FILE_BLOCKS && !err; i++)
        err = rt_file_pwrite(f, block, BLOCK, i * BLOCK);
    if (err || rt_file_sync(f) != 0)
        bench_fail("cannot fill %s", path);
    struct pair p = {rt_chan_new(sizeof(int), 0), rt_chan_new(sizeof(int), 0), false};
    if (beside && (rt_go("answer", answer, &p) != 0 || rt_go("ask", ask, &p) != 0))
        bench_fail("too many goroutines");
    int64_t *took = rt_alloc(WRITES * sizeof(*took));
    for (uint64_t i = 0; i < WRITES; i++) {
        block[0] = (uint8_t)i;
        int64_t start = rt_now_ns();
        err = rt_file_pwrite_durable(f, block, BLOCK, i * BLOCK);
        took[i] = rt_now_ns() - start;
        if (err)
            bench_fail("durable write: error %d", err);
    }
    __atomic_store_n(&p.stop, true, __ATOMIC_RELAXED);
    bench_latencies("durable", took, WRITES);
    (void)rt_file_close(f);
    (void)rt_unlink(path);
    return 0;
}

static int alone(void *arg) { return run(arg, false); }
static int beside(void *arg) { return run(arg, true); }

static const struct bench_work works[] = {{"alone", alone}, {"beside", beside}};
BENCH_MAIN(works, NULL)
